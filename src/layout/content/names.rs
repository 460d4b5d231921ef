//! Given a directory's entries, gives its names and what they lead to, lost+found among them; never
//! its blocks.

use super::Content;
use crate::layout::directory::{Entries, Names};
use crate::layout::lost_found::LOST_FOUND;
use crate::ondisk::dir::FileType;
use crate::tree::{self, Kind, Tree};
use crate::units::Ino;

/// A directory's names in the order of their bytes; the root has lost+found among them, which mke2fs
/// makes, where the tree has none.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamesIn<'a> {
    entries: &'a tree::Entries,
    /// Where the lost+found stands that the tree does not have.
    lost_found: Option<usize>,
}

impl<'a> NamesIn<'a> {
    pub(super) fn new(entries: &'a tree::Entries) -> Self {
        Self {
            entries,
            lost_found: None,
        }
    }

    pub(super) fn with_lost_found(entries: &'a tree::Entries) -> Self {
        let (Ok(place) | Err(place)) = entries.search(LOST_FOUND);
        Self {
            entries,
            lost_found: Some(place),
        }
    }

    /// The entry at `index`, or `None` for the lost+found that the tree does not have.
    fn entry(&self, index: usize) -> Option<tree::Entry<'a>> {
        match self.lost_found {
            Some(place) if index == place => None,
            Some(place) if index > place => Some(self.entries.at(index - 1)),
            _ => Some(self.entries.at(index)),
        }
    }
}

impl Names for NamesIn<'_> {
    fn count(&self) -> usize {
        self.entries.len() + usize::from(self.lost_found.is_some())
    }

    fn name(&self, index: usize) -> &[u8] {
        self.entry(index).map_or(LOST_FOUND, |entry| entry.name)
    }
}

/// A directory's entries with the inodes they lead to.
#[derive(Clone, Copy, Debug)]
pub struct EntriesIn<'a> {
    pub(super) names: NamesIn<'a>,
    pub(super) tree: &'a Tree,
    pub(super) content: &'a Content,
}

impl Names for EntriesIn<'_> {
    fn count(&self) -> usize {
        self.names.count()
    }

    fn name(&self, index: usize) -> &[u8] {
        self.names.name(index)
    }
}

impl Entries for EntriesIn<'_> {
    fn file_type(&self, index: usize) -> FileType {
        self.names
            .entry(index)
            .map_or(FileType::Directory, |entry| {
                file_type(&self.tree.node(entry.node).kind)
            })
    }

    fn ino(&self, index: usize) -> Ino {
        self.names
            .entry(index)
            .map_or(Ino::FIRST, |entry| self.content.ino_of(entry.node))
    }
}

/// The entries of a directory that has none.
#[derive(Clone, Copy, Debug)]
pub struct NoEntries;

impl Names for NoEntries {
    fn count(&self) -> usize {
        0
    }

    fn name(&self, _index: usize) -> &[u8] {
        &[]
    }
}

impl Entries for NoEntries {
    fn file_type(&self, _index: usize) -> FileType {
        FileType::Directory
    }

    fn ino(&self, _index: usize) -> Ino {
        Ino::default()
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Directory(_) => FileType::Directory,
        Kind::File(_) => FileType::Regular,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::CharDevice(_) => FileType::CharDevice,
        Kind::BlockDevice(_) => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    }
}
