//! Given a filesystem, gives its inodes in the order of their tables, or its files in the order of their
//! directories; never goes in circles.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::vec;

use super::bytes::{index, length};
use super::directory::{DirEntry, ReadDir};
use super::error::{Error, Result};
use super::inode::Inode;
use super::volume::Volume;
use crate::units::Ino;

/// Bytes of an inode table that are read at once.
const CHUNK_BYTES: u64 = 1 << 16;
/// How many damaged descriptors are told before the rest is taken to be none.
const MOST_BROKEN: u32 = 64;

/// All inodes in use, by number, the filesystem's own among them.
///
/// An inode or a group that is damaged is an error, after which it goes on with the next; it ends where 64
/// groups are.
pub struct Inodes<'a> {
    volume: &'a Volume<'a>,
    group: u32,
    /// The next inode of the group, and the first behind those that can be in use.
    next: u32,
    end: u32,
    /// The first group behind those that are asked for.
    groups: u32,
    ready: Ready,
    table_offset: u64,
    /// Where the inode tables begin that were read.
    tables: BTreeSet<u64>,
    broken: u32,
}

impl std::fmt::Debug for Inodes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inodes")
            .field("group", &self.group)
            .finish()
    }
}

/// Inodes that were read and not given yet.
#[derive(Default)]
struct Ready {
    bytes: Vec<u8>,
    /// Where the next begins, and its number.
    at: usize,
    ino: u32,
}

impl Ready {
    /// The next, of `size` bytes.
    fn next(&mut self, size: usize) -> Option<(Ino, &[u8])> {
        let stored = self.bytes.get(self.at..self.at + size)?;
        let ino = Ino::new(self.ino);
        self.at += size;
        self.ino = self.ino.saturating_add(1);
        Some((ino, stored))
    }
}

impl<'a> Inodes<'a> {
    pub(crate) fn new(volume: &'a Volume<'a>) -> Self {
        Self::of_groups(volume, 0..volume.sb.groups)
    }

    /// Those of `groups` alone.
    pub(crate) fn of_groups(volume: &'a Volume<'a>, groups: Range<u32>) -> Self {
        Self {
            volume,
            group: groups.start,
            groups: groups.end.min(volume.sb.groups),
            next: 0,
            end: 0,
            ready: Ready::default(),
            table_offset: 0,
            tables: BTreeSet::new(),
            broken: 0,
        }
    }

    /// Whether a part of an inode table was read for another group: thousands of groups could share one.
    fn is_read(&mut self, table: u64) -> bool {
        let blocks = self.volume.sb.table_blocks();
        let near = table.saturating_sub(blocks.saturating_sub(1))..table.saturating_add(blocks);
        let is_read = self.tables.range(near).next().is_some();
        self.tables.insert(table);
        is_read
    }

    /// Reads on; false at the end.
    fn fill(&mut self) -> Result<bool> {
        let sb = &self.volume.sb;
        if self.next >= self.end {
            if self.group >= self.groups {
                return Ok(false);
            }
            let number = self.group;
            self.group += 1;
            (self.next, self.end) = (0, 0);
            let group = self.volume.group(number)?;
            if self.is_read(group.inode_table().get()) {
                let rule = "its inode table overlaps another's";
                return Err(Error::rule(rule).in_group(group.number()));
            }
            self.table_offset = self.volume.offset_of(group.inode_table())?;
            self.end = group.initialised_inodes(sb);
            return Ok(true);
        }
        let size = length(sb.inode_size);
        let first = self.next;
        let most = u32::try_from(CHUNK_BYTES / size).unwrap_or(1).max(1);
        let many = most.min(self.end - first);
        self.next = first + many;
        let offset = self.table_offset + u64::from(first) * size;
        let bytes = u64::from(many) * size;
        if self.volume.is_hole(offset, bytes) {
            return Ok(true);
        }
        let mut chunk = std::mem::take(&mut self.ready).bytes;
        chunk.resize(index(bytes), 0);
        self.volume.read(offset, &mut chunk)?;
        self.ready = Ready {
            bytes: chunk,
            at: 0,
            ino: (self.group - 1) * sb.inodes_per_group + first + 1,
        };
        Ok(true)
    }
}

impl Iterator for Inodes<'_> {
    type Item = Result<Inode>;

    fn next(&mut self) -> Option<Self::Item> {
        let sb = &self.volume.sb;
        loop {
            while let Some((ino, stored)) = self.ready.next(sb.inode_size) {
                let inode = Inode::decode(sb, ino, stored);
                if inode.is_in_use() {
                    return Some(inode.verified(sb));
                }
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.broken += 1;
                    if self.broken >= MOST_BROKEN {
                        (self.group, self.next) = (self.groups, self.end);
                    }
                    return Some(Err(error));
                }
            }
        }
    }
}

/// A file that a walk has come to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalkEntry {
    /// How many directories lie between it and the one that the walk began with.
    pub depth: usize,
    /// Its name, as its directory has it.
    pub entry: DirEntry,
    /// The inode that the name leads to.
    pub inode: Inode,
}

/// All files below a directory, each directory before what it holds; entries come as they are stored,
/// unless [`sorted`](Self::sorted).
///
/// Symbolic links are not followed. A directory that has two names, or that holds itself, is an error
/// where it is met again. After an error the walk goes on with what comes next.
pub struct Walk<'a> {
    volume: &'a Volume<'a>,
    open: Vec<Open<'a>>,
    /// The path of the entry that came last.
    path: Vec<u8>,
    seen: HashSet<Ino>,
    is_sorted: bool,
}

/// A directory that is being read, and the length of its path.
struct Open<'a> {
    entries: Entries<'a>,
    path_bytes: usize,
}

/// The entries of a directory that are to come.
enum Entries<'a> {
    Stored(Box<ReadDir<'a>>),
    Sorted(vec::IntoIter<DirEntry>),
}

impl Entries<'_> {
    /// Reads all of them, and puts them in the order of their names' bytes.
    fn sort(&mut self) -> Result<()> {
        let Self::Stored(stored) = self else {
            return Ok(());
        };
        let sorted: Result<Vec<DirEntry>> = stored.collect();
        // What cannot be read is told once.
        *self = Self::Sorted(Vec::new().into_iter());
        let mut sorted = sorted?;
        sorted.sort_by(|one, other| one.name().cmp(other.name()));
        *self = Self::Sorted(sorted.into_iter());
        Ok(())
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Stored(entries) => entries.next(),
            Self::Sorted(entries) => entries.next().map(Ok),
        }
    }
}

impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.escape_ascii().to_string();
        f.debug_struct("Walk").field("path", &path).finish()
    }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(volume: &'a Volume<'a>, dir: Inode) -> Result<Self> {
        let seen = HashSet::from([dir.ino(), Ino::ROOT]);
        let open = Open {
            entries: Entries::Stored(Box::new(ReadDir::open(volume, dir)?)),
            path_bytes: 0,
        };
        Ok(Self {
            volume,
            open: vec![open],
            path: Vec::new(),
            seen,
            is_sorted: false,
        })
    }

    /// The same, with the entries of each directory in the order of their names' bytes; of the directories
    /// on the way, all names that are to come are then in memory.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.is_sorted = true;
        self
    }

    /// Passes over what is below the entry that came last. To be called once for it at most.
    pub fn skip_below(&mut self) {
        // A directory with entries has just been opened: its path is that of the entry.
        if self
            .open
            .last()
            .is_some_and(|last| last.path_bytes == self.path.len())
        {
            self.open.pop();
        }
    }

    /// The path of the entry that came last: the names on the way from the directory that the walk began
    /// with, joined by slashes, without one before the first.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    fn enter(&mut self, entry: DirEntry) -> Result<WalkEntry> {
        let depth = self.open.len() - 1;
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(entry.name());
        let inode = self.volume.inode(entry.ino())?;
        if inode.is_dir() {
            if !self.seen.insert(inode.ino()) {
                let error = Error::rule("it is a directory with a second name");
                return Err(error.in_inode(inode.ino()));
            }
            self.open.push(Open {
                entries: Entries::Stored(Box::new(ReadDir::open(self.volume, inode.clone())?)),
                path_bytes: self.path.len(),
            });
        }
        Ok(WalkEntry {
            depth,
            entry,
            inode,
        })
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let dir = self.open.last_mut()?;
            self.path.truncate(dir.path_bytes);
            if self.is_sorted
                && let Err(error) = dir.entries.sort()
            {
                return Some(Err(error.on_path(&self.path)));
            }
            let Some(entry) = dir.entries.next() else {
                self.open.pop();
                continue;
            };
            let entered = entry.and_then(|entry| self.enter(entry));
            return Some(entered.map_err(|error| error.on_path(&self.path)));
        }
    }
}
