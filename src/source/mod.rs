//! Given something that holds files, declares them into a [`Tree`]; never knows where they will lie.
//!
//! A [`Source`] is a host directory ([`dir::Directory`]), a tar archive (`tar::Tar`) or a type of the program's own: whatever can
//! name nodes, say how long their contents are, and read them later.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::base::Base;
use crate::cancel::Cancel;
use crate::sys;
use crate::tree::{Metadata, NodeId, Tree, TreeError};
pub(crate) use crate::units::Readable;

#[cfg(feature = "tar")]
mod archive;
mod base64;
mod by_hand;
pub mod copy;
mod data;
pub mod dir;
mod host_files;
pub mod image;
mod inspect;
mod listed;
#[cfg_attr(
    not(all(feature = "cli", feature = "tar")),
    allow(dead_code, reason = "each asks for a part of it")
)]
pub(crate) mod magic;
#[cfg(feature = "oci")]
pub mod oci;
pub(crate) mod options;
mod overlay;
pub mod patterns;
mod place;
mod prefetch;
pub mod rules;
mod store;
#[cfg(feature = "tar")]
pub mod tar;
mod verity;

#[cfg(feature = "tar")]
pub use archive::{Oddity, decompress};
pub use options::AclNames;
use options::clamped;
use rules::{OwnerRules, XattrFilter};
pub use store::ContentStore;

use magic::NotTar;

/// What can declare files.
///
/// ```
/// use mke4fs::source::{Declared, Source, SourceError};
/// use mke4fs::tree::{Content, Metadata, NodeId, Tree};
///
/// struct Greeting;
///
/// impl Source for Greeting {
///     fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
///         let metadata = Metadata::default().with_permissions(0o644);
///         tree.file_at(at, b"greeting", metadata, Content::from_bytes(*b"hello\n"))?;
///         Ok(Declared::default())
///     }
/// }
///
/// let mut tree = Tree::with_root(Metadata::default());
/// Greeting.declare(&mut tree, NodeId::ROOT)?;
/// assert_eq!(tree.len(), 2);
/// # Ok::<(), SourceError>(())
/// ```
///
/// A [`Tree`] that was built by hand is a source as well.
pub trait Source: Send {
    /// Declares all it holds into the directory `at` of `tree`.
    ///
    /// The extended attributes of the source's own root go to `at`; its metadata is handed back, for
    /// the caller to apply or not.
    ///
    /// # Errors
    /// Where something cannot be read or stored. The tree is then of no use.
    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError>;

    /// Says which extended attributes are kept, before anything is declared: a source that heeds it
    /// reads no value of the others, and does not fail for one that cannot be read. What it declares
    /// all the same is left out later.
    fn filter_xattrs(&mut self, filter: &XattrFilter) {
        let _ = filter;
    }

    /// Says which owners are replaced, before anything is declared: a source that heeds it does not fail
    /// for an owner that no filesystem can hold where a rule then replaces it.
    fn replace_owners(&mut self, owners: &OwnerRules) {
        let _ = owners;
    }

    /// Hands over what the image holds that is [updated](crate::Builder::update_file), before anything is
    /// declared into the root: a source that can tell for sure that a file is unchanged does not read it.
    fn set_base(&mut self, base: &Arc<Base>) {
        let _ = base;
    }

    /// Hands over the wish to stop, before anything is declared: a source that heeds it ends with any error
    /// soon after somebody has that wish. Of one that does not, what it declares is thrown away once it is
    /// done.
    fn set_cancel(&mut self, cancel: &Cancel) {
        let _ = cancel;
    }

    /// Says where the image goes, before anything is declared: a source leaves that file out where it comes
    /// upon it, keeps temporary files beside it, and fails where it is all read from that file.
    fn for_output(&mut self, output: &Path) {
        let _ = output;
    }

    /// Whether contents can be read only in their order and only once, while they are declared. Then
    /// [`declare_stream`](Self::declare_stream) is asked for them where that spares keeping them.
    fn is_stream(&self) -> bool {
        false
    }

    /// Looks at what a stream begins with, so that what can be of no use is refused before anything is
    /// overwritten for it. Nobody has to ask for that.
    ///
    /// # Errors
    /// Where it cannot be read, or is not what the source reads.
    fn probe(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Declares the same as [`declare`](Self::declare), with contents that `store` keeps.
    ///
    /// # Errors
    /// As those of [`declare`](Self::declare), and where `store` fails: its error may be wrapped in
    /// any other.
    fn declare_stream(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
        store: &mut dyn ContentStore,
    ) -> Result<Declared, SourceError> {
        let _ = store;
        self.declare(tree, at)
    }
}

/// What a source says once it has declared its files.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Declared {
    /// The mode, owner, times and flags of the source's root, if it has one.
    pub root: Option<Metadata>,
    /// What was left out.
    pub warnings: Vec<SourceWarning>,
}

/// Something of a source that the tree has not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceWarning {
    /// A file that was to be left out, such as the image itself.
    LeftOut {
        /// Where it was found.
        path: Vec<u8>,
    },
    /// Extended attributes whose name ext4 cannot store.
    AttributeSkipped {
        /// The attribute's name.
        name: Vec<u8>,
        /// The first file that has it.
        path: Vec<u8>,
        /// How many files have it.
        files: u64,
    },
    /// Extended attributes that may not be read, or whose filesystem does not tell their values.
    AttributeUnread {
        /// The attribute's name; none where even the names cannot be listed.
        name: Option<Vec<u8>>,
        /// The first file that has it.
        path: Vec<u8>,
        /// How many files have it.
        files: u64,
        /// Why, in the system's words.
        reason: String,
    },
    /// A pattern of what to leave out that no file matched.
    PatternUnmatched(Vec<u8>),
    /// A rule, or a part of one, that found nothing to do.
    RuleUnmatched(String),
    /// An archive without the mark that it is whole.
    NoEnd {
        /// The archive.
        path: Vec<u8>,
    },
    /// Files that fs-verity protects in a way that the host does not tell.
    VerityLost {
        /// The first file.
        path: Vec<u8>,
        /// How many files.
        files: u64,
        /// Why, in the system's words.
        reason: String,
    },
    /// An archive or image that holds no file.
    NoEntries {
        /// The archive or image.
        path: Vec<u8>,
    },
    /// Bytes behind a compressed stream that are no part of it.
    Ignored {
        /// The compressed file.
        path: Vec<u8>,
        /// How many bytes follow the stream.
        bytes: u64,
    },
    /// Something in an archive that may not be what was meant.
    #[cfg(feature = "tar")]
    Odd {
        /// What it is.
        oddity: Oddity,
        /// The first entry that has it, or the archive.
        path: Vec<u8>,
        /// How many entries have it.
        entries: u64,
    },
}

impl fmt::Display for SourceWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut { path } => write!(f, "{} is left out", Readable(path)),
            Self::PatternUnmatched(pattern) => {
                write!(f, "exclude pattern {} matches nothing", Readable(pattern))
            }
            Self::RuleUnmatched(rule) => write!(f, "rule {rule} matches nothing"),
            Self::AttributeSkipped { name, path, files } => {
                let (name, path) = (Readable(name), Readable(path));
                let count = Files(*files);
                write!(f, "{count} lost {name} (first: {path}): ")?;
                f.write_str("ext4 has no xattrs of that namespace")
            }
            Self::VerityLost {
                path,
                files,
                reason,
            } => {
                let (count, path) = (Files(*files), Readable(path));
                write!(f, "{count} lost fs-verity (first: {path}): {reason}")
            }
            Self::AttributeUnread {
                name,
                path,
                files,
                reason,
            } => {
                let (count, path) = (Files(*files), Readable(path));
                let name = name.as_deref().map(|name| Readable(name).to_string());
                let name = name.unwrap_or_else(|| "all extended attributes".to_owned());
                write!(f, "{count} lost {name} (first: {path}): {reason}")
            }
            Self::NoEnd { path } => {
                write!(f, "{}: no end-of-archive marker; ", Readable(path))?;
                f.write_str("the archive may have been truncated")
            }
            Self::NoEntries { path } => write!(f, "{}: the archive has no entries", Readable(path)),
            Self::Ignored { path, bytes } => {
                let noun = if *bytes == 1 { "byte" } else { "bytes" };
                write!(
                    f,
                    "{}: ignored {bytes} {noun} after its compressed data",
                    Readable(path)
                )
            }
            #[cfg(feature = "tar")]
            Self::Odd {
                oddity,
                path,
                entries,
            } => oddity.say(f, *entries, path),
        }
    }
}

/// So many files, in words.
struct Files(u64);

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0 == 1 { "file" } else { "files" };
        write!(f, "{} {noun}", self.0)
    }
}

/// Why a source could not declare its files.
///
/// Its text says what is wrong and where; what caused it is its [`source`](std::error::Error::source). `{:#}` says
/// both.
pub struct SourceError(Box<Kind>);

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

#[derive(Debug)]
enum Kind {
    Read {
        path: Vec<u8>,
        error: io::Error,
    },
    Attribute {
        path: Vec<u8>,
        name: Vec<u8>,
        error: io::Error,
    },
    Changed {
        path: Vec<u8>,
    },
    Store {
        path: Vec<u8>,
        error: TreeError,
    },
    Declare(TreeError),
    NoArchive {
        path: Vec<u8>,
        found: NotTar,
    },
    /// Of an archive, with what the archive itself can explain.
    Of {
        path: Vec<u8>,
        error: SourceError,
    },
    /// Of what the error itself names.
    About {
        path: Vec<u8>,
        error: Box<dyn Error + Send + Sync>,
    },
    Other(Box<dyn Error + Send + Sync>),
}

impl SourceError {
    /// `path` cannot be read because of `error`.
    pub fn read(path: impl Into<Vec<u8>>, error: io::Error) -> Self {
        let path = path.into();
        Self::new(Kind::Read { path, error })
    }

    /// `path` is not what it was when it was first looked at.
    pub fn changed(path: impl Into<Vec<u8>>) -> Self {
        Self::new(Kind::Changed { path: path.into() })
    }

    /// The tree cannot hold `path` because of `error`.
    pub fn store(path: impl Into<Vec<u8>>, error: TreeError) -> Self {
        let path = path.into();
        Self::new(Kind::Store { path, error })
    }

    /// `path` is no archive of a form that is known.
    pub fn no_archive(path: impl Into<Vec<u8>>) -> Self {
        Self::not_tar(path, NotTar::default())
    }

    /// `path` is `found`, and needs to be an archive.
    fn not_tar(path: impl Into<Vec<u8>>, found: NotTar) -> Self {
        let path = path.into();
        Self::new(Kind::NoArchive { path, found })
    }

    /// The same, of the archive `path`.
    #[must_use]
    pub fn of(self, path: &[u8]) -> Self {
        Self::new(Kind::Of {
            path: path.to_vec(),
            error: self,
        })
    }

    /// What only the source itself can explain.
    pub fn other(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Other(error.into()))
    }

    /// The same, whose text names what it is about: `path`.
    fn about(path: &[u8], error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::About {
            path: path.to_vec(),
            error: error.into(),
        })
    }

    /// The path that the error is about, if it is about one.
    pub fn path(&self) -> Option<&[u8]> {
        match &*self.0 {
            Kind::Read { path, .. }
            | Kind::Attribute { path, .. }
            | Kind::Changed { path }
            | Kind::NoArchive { path, .. }
            | Kind::Of { path, .. }
            | Kind::About { path, .. }
            | Kind::Store { path, .. } => Some(path),
            Kind::Declare(_) | Kind::Other(_) => None,
        }
    }

    fn attribute(path: Vec<u8>, name: Vec<u8>, error: io::Error) -> Self {
        Self::new(Kind::Attribute { path, name, error })
    }

    fn new(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl SourceError {
    /// Whether what it is about is not what it was.
    pub(crate) fn is_changed(&self) -> bool {
        match &*self.0 {
            Kind::Changed { .. } => true,
            Kind::Of { error, .. } => error.is_changed(),
            _ => false,
        }
    }

    /// What is wrong and why, where whatever can be a source was as good as an archive.
    pub(crate) fn of_any_source(&self) -> String {
        struct AnySource<'a>(&'a NotTar);

        impl fmt::Display for AnySource<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.say(f, magic::SOURCE)
            }
        }

        match &*self.0 {
            Kind::NoArchive { path, found } if !found.is_image() => {
                format!("{} {}", Readable(path), AnySource(found))
            }
            _ => format!("{self:#}"),
        }
    }

    /// Says what is wrong, but for its cause.
    pub(crate) fn say(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Read { path, .. } => write!(f, "cannot read {}", Readable(path)),
            Kind::Attribute { path, name, .. } => {
                let (name, path) = (Readable(name), Readable(path));
                write!(f, "cannot read xattr {name} of {path}")
            }
            Kind::Changed { path } => write!(f, "{} changed while it was read", Readable(path)),
            Kind::Store { path, .. } => write!(f, "cannot store {}", Readable(path)),
            Kind::Declare(error) => write!(f, "{error}"),
            Kind::NoArchive { path, found } => {
                write!(f, "{} ", Readable(path))?;
                if found.is_image() {
                    found.say_image(f)
                } else {
                    found.say(f, magic::ARCHIVE)
                }
            }
            Kind::Of { path, error } => {
                write!(f, "{}: ", Readable(path))?;
                error.say(f)
            }
            Kind::About { error, .. } | Kind::Other(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return self.say(f);
        }
        match &*self.0 {
            Kind::Read { error, .. } | Kind::Attribute { error, .. } => {
                self.say(f)?;
                write!(f, ": {}", sys::reason(error))
            }
            Kind::Store { error, .. } => {
                self.say(f)?;
                write!(f, ": {error}")
            }
            Kind::Of { path, error } => write!(f, "{}: {error:#}", Readable(path)),
            Kind::About { error, .. } | Kind::Other(error) => write!(f, "{error:#}"),
            Kind::Changed { .. } | Kind::Declare(_) | Kind::NoArchive { .. } => self.say(f),
        }
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Kind::Read { error, .. } | Kind::Attribute { error, .. } => Some(error),
            Kind::Store { error, .. } => Some(error),
            Kind::Changed { .. } | Kind::NoArchive { .. } => None,
            Kind::Of { error, .. } => error.source(),
            Kind::Declare(error) => error.source(),
            Kind::About { error, .. } | Kind::Other(error) => error.source(),
        }
    }
}

impl From<rules::RuleError> for SourceError {
    fn from(error: rules::RuleError) -> Self {
        Self::other(error)
    }
}

impl From<TreeError> for SourceError {
    fn from(error: TreeError) -> Self {
        Self::new(Kind::Declare(error))
    }
}

/// Whether ext4 has attributes called so.
///
/// Others are a filesystem's own view of something else, such as `system.nfs4_acl` or
/// `btrfs.compression`.
fn ext4_names(attribute: &[u8]) -> bool {
    let spaces = [&b"user."[..], b"trusted.", b"security."];
    attribute == b"system.posix_acl_access"
        || attribute == b"system.posix_acl_default"
        || spaces.iter().any(|space| attribute.starts_with(space))
}

/// Whether a file that others may write to is what it was, as far as its metadata tell.
fn is_unchanged(before: &std::fs::Metadata, now: &std::fs::Metadata) -> bool {
    let times = before.modified().ok().zip(now.modified().ok());
    times.is_none_or(|(before, now)| before == now) && before.len() == now.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_path_and_the_reason() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let read = SourceError::read(*b"etc/shadow", denied());
        assert_eq!(read.to_string(), "cannot read etc/shadow");
        assert_eq!(
            format!("{read:#}"),
            "cannot read etc/shadow: permission denied"
        );
        assert!(read.source().is_some());
        assert_eq!(read.path(), Some(&b"etc/shadow"[..]));
        assert_eq!(
            SourceError::changed(*b"log").to_string(),
            "log changed while it was read"
        );
        assert_eq!(
            format!(
                "{:#}",
                SourceError::store(*b"d/..", TreeError::NotADirectory)
            ),
            "cannot store d/..: only a directory can hold entries"
        );
        assert_eq!(SourceError::other("no more").to_string(), "no more");
    }
}
