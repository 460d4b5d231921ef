//! Given a directory, gives its entries as they are stored, one block after the other; never follows
//! where they lead.
//!
//! Layout: the kernel's documentation, "Directory Entries". The nodes of a hash tree hide behind unused
//! entries, so that all names are found without it.

use std::collections::{HashSet, VecDeque};
use std::mem;

use super::bytes::{half, word};
use super::error::{Error, ErrorDetail, ErrorKind, Result};
use super::inode::Inode;
use super::mapped::Extent;
use super::superblock::Superblock;
use super::volume::Volume;
use crate::feature::Feature;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::dir::{DxEntry, FileType, TAIL_BYTES, entry_bytes};
use crate::ondisk::inode::{FLAG_ENCRYPT, FLAG_INDEX};
use crate::units::{Block, Ino};

/// The file type of a block's checksum.
const TAIL_FILE_TYPE: u8 = 0xde;
/// How many blocks are looked up in the map at once.
const WINDOW: u64 = 4096;
/// The bytes of an entry before its name.
const HEADER_BYTES: usize = 8;
/// Where the parent of inline entries is, and how many bytes it takes.
const INLINE_PARENT_BYTES: usize = 4;
/// The bytes of inline entries that are where pointers to blocks would be.
const INLINE_BYTES: usize = 60;
/// Where the index entries of a hash tree begin, in its root and in its nodes.
const ROOT_HEADER_BYTES: usize = 0x20;
const NODE_HEADER_BYTES: usize = 0x8;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    name: Vec<u8>,
    ino: Ino,
    file_type: Option<FileType>,
    is_encrypted: bool,
}

impl DirEntry {
    /// The name, as it is stored: neither empty nor `.` nor `..`, and without `/` and NUL unless it is
    /// encrypted.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The inode that it leads to.
    pub fn ino(&self) -> Ino {
        self.ino
    }

    /// What it leads to, as the entry says; `None` where entries do not say it.
    pub fn file_type(&self) -> Option<FileType> {
        self.file_type
    }

    /// Whether the name is what encryption made of it.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

/// An entry as it is stored.
pub(crate) struct StoredEntry<'b> {
    pub(crate) ino: u32,
    pub(crate) file_type: u8,
    /// Empty in an unused entry.
    pub(crate) name: &'b [u8],
    /// The hash that follows the name, where one does.
    pub(crate) stored_hash: u32,
    /// The distance to the next entry.
    pub(crate) rec_len: usize,
}

/// What entries are made of in a directory.
#[derive(Clone, Copy)]
pub(crate) struct EntryFormat {
    has_long_blocks: bool,
    /// Whether entries are followed by the hash of what cannot be read.
    has_stored_hashes: bool,
}

impl EntryFormat {
    /// That of a directory with these `i_flags`.
    pub(crate) fn new(sb: &Superblock, flags: u32) -> Self {
        let both = FLAG_ENCRYPT | crate::ondisk::inode::FLAG_CASEFOLD;
        Self {
            has_long_blocks: sb.block_size == crate::units::BlockSize::MAX,
            has_stored_hashes: flags & both == both,
        }
    }

    /// The entry at an offset, if it fits in `bytes`.
    pub(crate) fn entry_at<'b>(&self, bytes: &'b [u8], at: usize) -> Option<StoredEntry<'b>> {
        let rest = bytes.get(at..)?;
        let ino = word(rest.get(..HEADER_BYTES)?, 0);
        let stored = half(rest, 4);
        // Only an entry that fills a block of 64 KiB does not fit 16 bits.
        let rec_len = match stored {
            0 | u16::MAX if self.has_long_blocks => 65_536,
            _ => usize::from(stored),
        };
        let name_len = usize::from(*rest.get(6)?);
        let file_type = *rest.get(7)?;
        let name = rest.get(HEADER_BYTES..HEADER_BYTES + name_len);
        let is_dots = matches!(name, Some(b"." | b".."));
        let hash = if self.has_stored_hashes && ino != 0 && !is_dots {
            8
        } else {
            0
        };
        let needed = if ino == 0 {
            HEADER_BYTES
        } else {
            entry_bytes(name_len) + hash
        };
        let fits = rec_len >= needed && rec_len.is_multiple_of(4) && rec_len <= rest.len();
        let name = if ino == 0 { Some(&[][..]) } else { name };
        let stored_hash = if hash == 0 {
            0
        } else {
            word(rest, entry_bytes(name_len))
        };
        Some(StoredEntry {
            stored_hash,
            ino,
            file_type,
            name: name.filter(|_| fits)?,
            rec_len,
        })
    }
}

/// The entries of a block of them before its checksum, the checksum it has and the one it needs; `None`
/// where it has none.
pub(crate) fn checked_entries(bytes: &[u8], seed: u32) -> Option<(&[u8], u32, u32)> {
    let at = bytes.len().checked_sub(TAIL_BYTES)?;
    let (entries, tail) = bytes.split_at(at);
    let is_tail =
        word(tail, 0) == 0 && half(tail, 4) == 12 && tail.get(6..8) == Some(&[0, TAIL_FILE_TYPE]);
    is_tail.then(|| (entries, word(tail, 8), crc32c(seed, entries)))
}

/// The checksum that a hash tree's root or node has and the one it needs; `None` where its counts leave
/// no place for one. `header` is the bytes before its index entries.
pub(crate) fn index_checksums(bytes: &[u8], header: usize, seed: u32) -> Option<(u32, u32)> {
    let limit = usize::from(half(bytes, header));
    let count = usize::from(half(bytes, header + 2));
    let width = size_of::<DxEntry>();
    let tail = bytes.get(header + limit * width..)?;
    let (reserved, rest) = tail.split_at_checked(4)?;
    let used = bytes
        .get(..header + count * width)
        .filter(|_| count <= limit)?;
    let found = rest.first_chunk().map(|sum| u32::from_le_bytes(*sum))?;
    let needed = crc32c(crc32c(crc32c(seed, used), reserved), &[0; 4]);
    Some((found, needed))
}

/// The entries of a directory but for `.` and `..`, in the order in which they are stored.
///
/// It holds one block at a time. After an error it ends.
pub struct ReadDir<'a> {
    volume: &'a Volume<'a>,
    dir: Inode,
    seed: u32,
    format: EntryFormat,
    /// Entries that were read.
    ready: VecDeque<DirEntry>,
    rest: Rest,
    /// How many entries were met, unused ones too.
    met: u64,
}

impl std::fmt::Debug for ReadDir<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadDir").field("dir", &self.dir).finish()
    }
}

/// What is to be read.
enum Rest {
    /// The entries in an inode.
    Inline,
    Blocks(Blocks),
    Nothing,
}

/// Blocks of a directory that are to be read.
struct Blocks {
    /// The next logical block, and the first behind the last.
    next: u64,
    end: u64,
    /// Where the next blocks are, as far as they were looked up.
    extents: VecDeque<Extent>,
    /// The first logical block that was not looked up.
    looked_up: u64,
    /// A block that stands twice would be read for ever.
    seen: HashSet<u64>,
}

impl<'a> ReadDir<'a> {
    pub(crate) fn open(volume: &'a Volume<'a>, dir: Inode) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::not(ErrorKind::NotADirectory).in_inode(dir.ino()));
        }
        let size = volume.sb.block_size.bytes_u64();
        let rest = if dir.has_inline_data() {
            Rest::Inline
        } else {
            Rest::Blocks(Blocks {
                next: 0,
                end: dir.size().div_ceil(size),
                extents: VecDeque::new(),
                looked_up: 0,
                seen: HashSet::new(),
            })
        };
        Ok(Self {
            volume,
            seed: dir.seed(&volume.sb),
            format: EntryFormat::new(&volume.sb, dir.flags()),
            dir,
            ready: VecDeque::new(),
            rest,
            met: 0,
        })
    }

    /// Reads on until there are entries; false at the end.
    fn fill(&mut self) -> Result<bool> {
        match mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Nothing => Ok(false),
            Rest::Inline => {
                let bytes = self.volume.inline_data(&self.dir)?;
                let (first, second) = bytes.split_at(bytes.len().min(INLINE_BYTES));
                let first = first.get(INLINE_PARENT_BYTES..).unwrap_or_default();
                // There are no entries for itself and for its parent.
                self.met = 2;
                self.take_entries(first)?;
                self.take_entries(second)?;
                Ok(true)
            }
            Rest::Blocks(mut blocks) => {
                let Some((logical, block)) = blocks.following(self.volume, &self.dir)? else {
                    return Ok(false);
                };
                self.take_block(logical, block)
                    .map_err(|error| error.in_block(block))?;
                self.rest = Rest::Blocks(blocks);
                Ok(true)
            }
        }
    }

    fn take_block(&mut self, logical: u64, block: Block) -> Result<()> {
        let bytes = self.volume.block(block)?;
        let is_indexed = self.dir.has_flag(FLAG_INDEX);
        if is_indexed && logical == 0 {
            // Behind the entries for itself and its parent is the root of the hash tree.
            self.verify_index(&bytes, ROOT_HEADER_BYTES)?;
            return self.take_entries(&bytes);
        }
        if !self.volume.sb.has_checksums() {
            return self.take_entries(&bytes);
        }
        // A block of entries ends in an entry for its checksum, so none fills it.
        let first = self.format.entry_at(&bytes, 0);
        let fills = first.is_some_and(|first| first.ino == 0 && first.rec_len == bytes.len());
        if is_indexed && fills {
            return self.verify_index(&bytes, NODE_HEADER_BYTES);
        }
        let Some((entries, found, expected)) = checked_entries(&bytes, self.seed) else {
            return Err(Error::rule("a block of entries has no checksum"));
        };
        if found != expected {
            return Err(checksum(found, expected));
        }
        self.take_entries(entries)
    }

    fn verify_index(&self, bytes: &[u8], header: usize) -> Result<()> {
        if !self.volume.sb.has_checksums() {
            return Ok(());
        }
        match index_checksums(bytes, header, self.seed) {
            Some((found, expected)) if found == expected => Ok(()),
            Some((found, expected)) => Err(checksum(found, expected)),
            None => Err(Error::rule("a block of a hash tree has no checksum")),
        }
    }

    fn take_entries(&mut self, bytes: &[u8]) -> Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            let Some(stored) = self.format.entry_at(bytes, at) else {
                return Err(Error::rule("an entry does not fit its place"));
            };
            at += stored.rec_len;
            // Itself and its parent come first.
            let is_dots = self.met < 2 && matches!(stored.name, b"." | b"..");
            self.met += 1;
            if stored.ino != 0 && !is_dots {
                let entry = self.entry(&stored)?;
                self.ready.push_back(entry);
            }
        }
        Ok(())
    }

    fn entry(&self, stored: &StoredEntry<'_>) -> Result<DirEntry> {
        let is_encrypted = self.dir.is_encrypted();
        let name = stored.name;
        let named = |rule| {
            let name = name.to_vec();
            Error::new(ErrorDetail::Named { rule, name })
        };
        if name.is_empty() || matches!(name, b"." | b"..") {
            return Err(named("is not a valid name for an entry"));
        }
        if !is_encrypted && name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(named("has a byte that is not allowed in a name"));
        }
        if stored.ino > self.volume.sb.inodes_count || stored.ino == Ino::ROOT.get() {
            return Err(named("points to an inode number that no file can have"));
        }
        let has_types = self.volume.sb.has(Feature::Filetype);
        let file_type = FileType::of_number(stored.file_type);
        Ok(DirEntry {
            name: name.to_vec(),
            ino: Ino::new(stored.ino),
            file_type: file_type.filter(|_| has_types),
            is_encrypted,
        })
    }
}

impl Iterator for ReadDir<'_> {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.rest = Rest::Nothing;
                    self.ready.clear();
                    return Some(Err(error.in_inode(self.dir.ino())));
                }
            }
        }
    }
}

impl Blocks {
    /// The next block and its logical number.
    fn following(&mut self, volume: &Volume<'_>, dir: &Inode) -> Result<Option<(u64, Block)>> {
        if self.next >= self.end {
            return Ok(None);
        }
        if self.extents.is_empty() && self.looked_up <= self.next {
            let end = self.end.min(self.next.saturating_add(WINDOW));
            self.extents = volume.extents(dir, self.next..end)?.into();
            self.looked_up = end;
        }
        let logical = self.next;
        let Some(extent) = self.extents.front_mut().filter(|it| it.logical == logical) else {
            return Err(Error::rule("a directory has a hole"));
        };
        if extent.is_unwritten {
            let rule = "a directory has unwritten blocks";
            return Err(Error::rule(rule).in_block(extent.run.start));
        }
        let block = extent.run.start;
        extent.logical += 1;
        extent.run.start = block.plus(1);
        extent.run.len -= 1;
        if extent.run.len == 0 {
            self.extents.pop_front();
        }
        self.next += 1;
        if !self.seen.insert(block.get()) {
            let rule = "a directory has a block twice";
            return Err(Error::rule(rule).in_block(block));
        }
        Ok(Some((logical, block)))
    }
}

fn checksum(found: u32, expected: u32) -> Error {
    Error::new(ErrorDetail::Checksum {
        what: "a directory block's checksum",
        found,
        expected,
    })
}
