//! Given an image, says what is wrong in its filesystem; never writes, and never asks how it was made.
//!
//! It judges what [`read`](crate::read) finds in the bytes, and knows nothing of
//! [`layout`](crate::raw::layout) or [`emit`](crate::raw::emit). What it takes for wrong is what e2fsck would
//! mend, and more: fields in which copies differ, hash trees whose names would not be found, values
//! whose hashes are not theirs.
//!
//! ```
//! use mke4fs::check::{CheckOptions, check};
//!
//! let empty = vec![0; 1 << 20];
//! let report = check(&empty[..]);
//! assert!(!report.is_clean());
//! assert_eq!(report.findings[0].to_string(), "superblock: s_magic is 0x0000, expected 0xef53");
//! ```
//!
//! Time and memory grow with what an image holds, and not with what it claims: a block of any tree is
//! read once, what lies in holes or was never initialised is passed over, and a structure that is
//! broken in many places is left alone.

mod bitmaps;
mod claims;
mod content;
mod directory;
mod finding;
mod groups;
mod heeding;
mod htree;
mod inodes;
mod inventory;
mod journal;
mod links;
mod maps;
mod mmp;
mod node;
mod orphans;
mod quota;
mod references;
mod resize;
mod superblock;
mod usage;
mod verity;
mod volume;
mod xattrs;

pub use crate::sink::{ImageFile, ReadAt};
pub use finding::{Area, Finding, FindingKind, Location, Owner, Report};

use crate::cancel::{Cancel, Cancelled};
use crate::feature::Feature;
use heeding::Heeding;
use inventory::Inventory;
use volume::Storage;

/// How to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckOptions {
    /// Where the filesystem begins in the image, in bytes.
    pub offset_bytes: u64,
    /// How many findings are kept; those past it are counted.
    pub most_findings: usize,
}

impl CheckOptions {
    /// Those of [`check`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets where the filesystem begins in the image.
    #[must_use]
    pub fn offset_bytes(self, offset_bytes: u64) -> Self {
        Self {
            offset_bytes,
            ..self
        }
    }

    /// Sets how many findings are kept.
    #[must_use]
    pub fn most_findings(self, most_findings: usize) -> Self {
        Self {
            most_findings,
            ..self
        }
    }
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            offset_bytes: 0,
            most_findings: 1000,
        }
    }
}

/// Checks the filesystem that `image` begins with.
pub fn check<I: ReadAt + ?Sized>(image: &I) -> Report {
    check_with(image, &CheckOptions::default())
}

/// Checks the filesystem in `image` as `options` say.
pub fn check_with<I: ReadAt + ?Sized>(image: &I, options: &CheckOptions) -> Report {
    check_all(&image, options)
}

/// Checks the filesystem in `image`, as [`check_with`] does, unless somebody asks to stop.
///
/// # Errors
/// Soon after somebody asked to stop.
pub fn check_until<I: ReadAt + ?Sized>(
    image: &I,
    options: &CheckOptions,
    cancel: &Cancel,
) -> Result<Report, Cancelled> {
    let heeding = Heeding {
        image: &image,
        cancel,
    };
    let report = check_all(&heeding, options);
    cancel.check()?;
    Ok(report)
}

fn check_all(image: &dyn ReadAt, options: &CheckOptions) -> Report {
    let storage = Storage {
        image,
        base: options.offset_bytes,
        most_findings: options.most_findings,
    };
    let volume = match superblock::open(storage) {
        Ok(volume) => volume,
        Err(report) => return report,
    };
    if volume.has(Feature::JournalDev) {
        journal::check_device(&volume);
        return volume.into_report();
    }
    superblock::check(&volume, &storage);
    let Some(descs) = groups::read_all(&volume) else {
        return volume.into_report();
    };
    superblock::check_backups(&volume);
    groups::check_backups(&volume, &descs);
    let mut inventory = Inventory::default();
    groups::claim(&volume, &descs, &mut inventory.claiming.claims);
    mmp::check(&volume, &mut inventory.claiming.claims);
    inodes::scan(&volume, &descs, &mut inventory);
    resize::check(&volume, &mut inventory);
    journal::check(&volume, &inventory);
    orphans::check(&volume, &inventory);
    quota::check(&volume, &inventory);
    let claims = std::mem::take(&mut inventory.claiming.claims);
    bitmaps::check_blocks(&volume, &descs, &claims.settle(&volume));
    let parents = directory::walk_all(&volume, &mut inventory);
    references::check(&volume, &mut inventory);
    links::check(&volume, &inventory, &parents);
    volume.into_report()
}
