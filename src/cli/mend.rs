//! Given why there is no image, says it in the sizes that people use, and what would mend it; never mends it.

use super::request::{Request, SizeArg};
use super::sizes::{as_flag, for_people, to_compare};
use crate::Error;
use crate::emit::EmitError;
use crate::error::Kind;
use crate::geometry::GeometryError;
use crate::layout::{LayoutError, XattrFault};
use crate::options::{Settings, TargetKind};

/// What an image was to be that came to nothing.
pub(super) struct Wanted<'a> {
    pub(super) request: &'a Request,
    /// As far as no content changes them.
    pub(super) settings: &'a Settings,
    pub(super) target: TargetKind,
}

/// The largest block that every kernel mounts.
const LARGE_BLOCK: u64 = 4096;

/// What is said where a file's mode keeps out its own owner, who is not root.
#[cfg(unix)]
fn of_own_file(error: &Error) -> Option<String> {
    use std::io;
    use std::os::unix::fs::MetadataExt;

    use crate::{ErrorKind, sys};

    let ErrorKind::SourceUnreadable { path } = error.kind() else {
        return None;
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let is_denied = std::iter::from_fn(|| {
        let found = cause?;
        cause = found.source();
        Some(found)
    })
    .filter_map(|found| found.downcast_ref::<io::Error>())
    .any(|found| found.kind() == io::ErrorKind::PermissionDenied);
    let found = std::fs::symlink_metadata(crate::cli::flags::os_string(&path)).ok()?;
    let (user, _) = sys::user();
    (is_denied && user != 0 && found.uid() == user).then(|| {
        format!(
            "{error:#}; its mode keeps out its owner: run mke4fs under unshare -r, or use a tar archive that \
             root made"
        )
    })
}

#[cfg(not(unix))]
fn of_own_file(_error: &Error) -> Option<String> {
    None
}

impl Wanted<'_> {
    /// What is said of `error`.
    pub(super) fn say(&self, error: &Error) -> String {
        let said = match error.room() {
            Kind::Layout(fault) => self.of_layout(fault, error.size_that_fits()),
            Kind::Geometry(fault) => self.of_geometry(fault, error.size_that_fits()),
            Kind::Emit(EmitError::Unshared { .. }) => {
                Some(format!("{error:#}; use --reflink auto to copy it"))
            }
            _ => of_own_file(error),
        };
        said.unwrap_or_else(|| error.by_flags())
    }

    fn of_layout(&self, fault: &LayoutError, fits: Option<u64>) -> Option<String> {
        Some(match fault {
            LayoutError::ContentTooBig {
                needed,
                free,
                block_size,
            } => {
                let bytes = |blocks: &u64| blocks.saturating_mul(u64::from(*block_size));
                let (needed, free) = to_compare(bytes(needed), bytes(free));
                let size = self.size();
                let needs = match fits {
                    Some(_) => format!("needs {needed}"),
                    // Of a stream it is known only what came so far.
                    None => "does not fit".to_owned(),
                };
                let larger = self.larger(fits);
                format!("the content {needs}, the filesystem of {size} has {free} for it; {larger}")
            }
            LayoutError::NoRoom { .. } => format!(
                "a filesystem of {} has no room for its own structures; {}",
                self.size(),
                self.larger(fits)
            ),
            LayoutError::TooFewInodes { needed, inodes } => {
                let asked = if self.request.inodes_count.is_some() {
                    ", or no -N"
                } else if self.is_ratio_asked() {
                    ", or no -i"
                } else {
                    ""
                };
                format!(
                    "the content needs {needed} inodes, the filesystem has {inodes}; use -N {needed} or \
                     more{asked}"
                )
            }
            LayoutError::SymlinkTooLong { length, .. } if *length < LARGE_BLOCK => {
                format!("{fault}; use -b {LARGE_BLOCK}")
            }
            LayoutError::Xattr {
                fault: XattrFault::Space { needed, .. },
                ..
            } => {
                let needed = u64::try_from(*needed).unwrap_or(u64::MAX);
                if needed <= LARGE_BLOCK && self.block_bytes() < LARGE_BLOCK {
                    format!("{fault}; use -b {LARGE_BLOCK} or -O ea_inode")
                } else {
                    format!("{fault}; use -O ea_inode")
                }
            }
            LayoutError::FileTooBig { .. } if self.block_bytes() < LARGE_BLOCK => {
                format!("{fault}; use -b {LARGE_BLOCK} or -O extent")
            }
            LayoutError::FileTooBig { .. } => format!("{fault}; use -O extent"),
            LayoutError::DirectoryTooLarge { .. } => format!("{fault}; use -O large_dir"),
            _ => return None,
        })
    }

    fn of_geometry(&self, fault: &GeometryError, fits: Option<u64>) -> Option<String> {
        let bytes = |blocks: &u64| for_people(blocks.saturating_mul(self.block_bytes()));
        Some(match fault {
            GeometryError::TooSmall {
                needed, block_size, ..
            } => format!(
                "a filesystem of {} is too small, its own structures need {}; {}",
                self.size(),
                for_people(needed.saturating_mul(u64::from(*block_size))),
                self.larger(fits)
            ),
            GeometryError::JournalTooBig { blocks, most } => format!(
                "a journal of {} does not fit, the filesystem of {} has room for {}; use a smaller -J size, \
                 or {}",
                bytes(blocks),
                self.size(),
                bytes(most),
                self.larger(fits).trim_start_matches("use ")
            ),
            _ => return None,
        })
    }

    fn block_bytes(&self) -> u64 {
        self.settings.block_size.bytes_u64()
    }

    fn is_ratio_asked(&self) -> bool {
        self.request.options.asks_for_inodes()
    }

    /// The size of the filesystem that was wanted.
    fn size(&self) -> String {
        let blocks = self.settings.blocks_count;
        for_people(blocks.saturating_mul(self.block_bytes()))
    }

    /// That it needs to be larger, and how large if that is known.
    fn larger(&self, fits: Option<u64>) -> String {
        let (larger, size) = match fits {
            Some(bytes) => ("a", format!(" of {} or more", as_flag(bytes))),
            None => ("a larger", String::new()),
        };
        let has_base = self.request.base.is_some() || self.request.update;
        let is_by_base = has_base && self.request.size.is_none();
        let is_open = self.request.has_content() && self.request.size != Some(SizeArg::Keep);
        match self.target {
            TargetKind::Device(_) => format!("use {larger} device{size}"),
            // Without a size it is the base's.
            _ if is_by_base => match fits {
                Some(bytes) => format!("use --size {} or more", as_flag(bytes)),
                None => "use a larger --size".to_owned(),
            },
            _ if is_open => format!("use {larger} size{size}, or none"),
            _ => format!("use {larger} size{size}"),
        }
    }
}
