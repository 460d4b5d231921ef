//! Given what the walk over the inodes finds, keeps what the checks of the whole filesystem need; never
//! judges it.

use std::collections::HashMap;

use super::maps::{Claiming, Mapped, Piece};
use super::usage::Usage;
use super::verity::Hashed;
use super::volume::Volume;
use super::xattrs::Xattrs;
use crate::feature::Feature;
use crate::ondisk::inode::{FLAG_CASEFOLD, FLAG_ENCRYPT, Inode};
use crate::units::Ino;

/// What the check of the whole filesystem knows of an inode in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) ino: u32,
    /// What a directory entry that leads to it has as its file type.
    pub(super) file_type: u8,
    /// `i_links_count`.
    pub(super) links: u16,
    pub(super) is_indexed: bool,
    /// How many names lead to it.
    pub(super) counted: u32,
    /// The directory that has it, if it is a directory.
    pub(super) parent: u32,
}

/// A file of the filesystem's own, or one with an attribute's value.
pub(super) struct OwnFile {
    pub(super) mapped: Mapped,
    pub(super) node: Inode,
}

/// What is known of all inodes.
#[derive(Default)]
pub(super) struct Inventory {
    pub(super) claiming: Claiming,
    /// In the order of numbers.
    pub(super) known: Vec<Known>,
    pub(super) dirs: Vec<Dir>,
    pub(super) own: HashMap<u32, OwnFile>,
    pub(super) xattrs: Xattrs,
    pub(super) usage: Usage,
    pub(super) hashed: Hashed,
}

impl Inventory {
    /// What is known of an inode, if it is in use.
    pub(super) fn known(&mut self, ino: u32) -> Option<&mut Known> {
        let at = self.known.binary_search_by_key(&ino, |known| known.ino);
        self.known.get_mut(at.ok()?)
    }

    /// Counts a name that leads to an inode.
    pub(super) fn count_name(&mut self, ino: u32) {
        if let Some(known) = self.known(ino) {
            known.counted = known.counted.saturating_add(1);
        }
    }
}

/// A directory that is to be read.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) ino: u32,
    pub(super) generation: u32,
    pub(super) flags: u32,
    pub(super) data: DirData,
}

/// Where a directory's entries are.
#[derive(Debug)]
pub(super) enum DirData {
    Blocks(Vec<Piece>),
    /// In `i_block`, and in an attribute's value.
    Inline([u8; 60], Vec<u8>),
}

impl Dir {
    pub(super) fn has_flag(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether entries are followed by the hash of what cannot be read.
    pub(super) fn has_stored_hashes(&self) -> bool {
        self.has_flag(FLAG_ENCRYPT) && self.has_flag(FLAG_CASEFOLD)
    }
}

/// Whether the filesystem keeps an inode for itself.
pub(super) fn is_own(volume: &Volume<'_>, ino: u32) -> bool {
    let sb = &volume.sb;
    ino < volume.first_ino && ino != Ino::ROOT.get()
        || volume.has(Feature::OrphanFile) && ino == sb.s_orphan_file_inum.get()
        || volume.has(Feature::Project) && ino == sb.s_prj_quota_inum.get()
}
