//! Given a sink and a file, keeps in the file what of the sink is overwritten, in the form that
//! `e2undo` reads; never knows why it is overwritten.
//!
//! Blocks of 32 KiB or more are kept whole, each once and before anything is written to it. What a
//! file had no bytes of is not kept. The index is written behind each piece, so what was kept so far
//! can be restored even if the process ends at once.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use bytemuck::{Zeroable, bytes_of, bytes_of_mut};

use super::error::StorageError;
use super::ranges::RangeSet;
use super::{Sink, index, length_of, range_within};
use crate::ondisk::checksum::{INITIAL, crc32c};
use crate::ondisk::int::{Le32, Le64};
use crate::ondisk::superblock::{self, Superblock};
use crate::ondisk::undo::{
    BLOCK_BYTES, COMPAT_FS_OFFSET, MAGIC, MOST_BLOCKS_OF_KEY, STATE_FINISHED, UndoHeader, UndoKey,
    inverted, key_block, keys_of, keys_per_block,
};
use crate::sys;

/// How much is read at once, at least.
const PIECE_BYTES: u64 = 1 << 20;
/// Where a new undo file has the copy of the superblock and the first keys, in its blocks.
const SUPERBLOCK_BLOCK: u64 = 1;
const FIRST_KEY_BLOCK: u64 = 2;

/// Why an undo file cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum UndoError {
    /// The file failed.
    Io(io::Error),
    /// The file is neither empty nor an undo file that is whole.
    Corrupt,
    /// The file is for another filesystem, or for another state of this one.
    Wrong,
    /// The file is the output itself.
    IsOutput,
}

impl fmt::Display for UndoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => {
                write!(f, "the undo file cannot be used: {}", sys::reason(error))
            }
            Self::Corrupt => f.write_str("the undo file needs to be empty, or one that is whole"),
            Self::Wrong => f.write_str("the undo file is for another state of the filesystem"),
            Self::IsOutput => f.write_str("the undo file needs to be another file than the output"),
        }
    }
}

impl std::error::Error for UndoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Corrupt | Self::Wrong | Self::IsOutput => None,
        }
    }
}

impl From<io::Error> for UndoError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where a filesystem lies in a sink.
#[derive(Clone, Copy, Debug)]
pub struct UndoPlace {
    /// Its first byte.
    pub offset_bytes: u64,
    /// Its blocks' size in bytes.
    pub block_bytes: u32,
}

/// An undo file that is being written.
#[derive(Debug)]
pub struct Undo {
    file: fs::File,
    path: PathBuf,
    /// The filesystem's first byte in the sink.
    base: u64,
    /// The bytes that the sink had before anything was written.
    old_end: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    header: UndoHeader,
    /// What is kept, in bytes from the filesystem's first.
    kept: RangeSet,
    /// The keys of the last key block.
    keys: Vec<UndoKey>,
    /// The last key block's place, and that of the block behind all data.
    key_block: u64,
    next: u64,
}

impl Undo {
    /// Begins the undo file `path` for the filesystem at `place` in `sink`, or goes on with one that
    /// ends where this begins.
    ///
    /// # Errors
    /// Where `path` cannot be used, holds something else, or is for another state of the filesystem.
    pub fn open(path: &Path, sink: &super::File, place: UndoPlace) -> Result<Self, UndoError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        let metadata = file.metadata()?;
        let identity = sys::identity(&metadata);
        if identity.is_some() && identity == sys::identity(&sink.handle().metadata()?) {
            return Err(UndoError::IsOutput);
        }
        let reader = Reader {
            file: &file,
            length: metadata.len(),
        };
        let state = match metadata.len() {
            0 => State::new(place),
            _ => reader.state(sink, place)?,
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            base: place.offset_bytes,
            old_end: sink.size_bytes().saturating_sub(place.offset_bytes),
            state: Mutex::new(state),
        })
    }

    /// A sink over `sink` that keeps what is overwritten, and discards nothing.
    pub fn over<'a>(&'a self, sink: &'a dyn Sink) -> Undoable<'a> {
        Undoable { undo: self, sink }
    }

    /// Keeps what `sink` has at `range`, as far as it is not kept.
    ///
    /// # Errors
    /// Where either cannot be read or written.
    pub fn keep(&self, sink: &dyn Sink, range: Range<u64>) -> io::Result<()> {
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        let start = range.start.checked_sub(self.base).ok_or_else(outside)?;
        let end = range.end.checked_sub(self.base).ok_or_else(outside)?;
        let end = end.min(self.old_end);
        if start >= end {
            return Ok(());
        }
        let mut state = self.state();
        let block = state.block_bytes();
        let whole = start / block * block..end.next_multiple_of(block);
        let missing = state.kept.missing_from(whole);
        for part in &missing {
            let mut at = part.start;
            while at < part.end {
                let piece = PIECE_BYTES.max(block).min(part.end - at);
                let bytes = piece.min(self.old_end - at);
                let mut old = vec![0; index(bytes)];
                sink.read_at(self.base + at, &mut old)?;
                self.append(&mut state, at, &old)?;
                state.kept.insert(at..at + piece);
                at += piece;
            }
        }
        match missing.is_empty() {
            true => Ok(()),
            false => self.write_index(&mut state, sink),
        }
    }

    /// Notes the superblock that `sink` has now: e2undo restores nothing where there is another.
    ///
    /// # Errors
    /// Where either cannot be read or written.
    pub fn note(&self, sink: &dyn Sink) -> io::Result<()> {
        self.write_index(&mut self.state(), sink)
    }

    /// Notes that `sink` is finished as it is.
    ///
    /// # Errors
    /// Where either cannot be read or written.
    pub fn finish(&self, sink: &dyn Sink) -> io::Result<()> {
        let mut state = self.state();
        state.header.state = Le32::new(STATE_FINISHED);
        self.write_index(&mut state, sink)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What fails between two changes fails the whole run.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Adds `old`, which was at `at` from the filesystem's first byte.
    fn append(&self, state: &mut State, at: u64, old: &[u8]) -> io::Result<()> {
        let block = state.block_bytes();
        let unit = u64::from(state.header.fs_block_size.get());
        let most = block * u64::from(MOST_BLOCKS_OF_KEY);
        let extends = state.keys.last().is_some_and(|key| {
            let size = u64::from(key.size.get());
            key.fsblk.get() * unit + size == at
                && size.is_multiple_of(block)
                && size + length_of(old) <= most
        });
        if !extends {
            if state.keys.len() == keys_per_block(index(block)) {
                self.write_keys(state)?;
                state.keys.clear();
                state.key_block = state.next;
                state.next += 1;
            }
            state.keys.push(UndoKey {
                fsblk: Le64::new(at / unit),
                blk_crc: Le32::new(INITIAL),
                size: Le32::new(0),
            });
            state.header.num_keys = Le64::new(state.header.num_keys.get() + 1);
        }
        if let Some(key) = state.keys.last_mut() {
            key.blk_crc = Le32::new(crc32c(key.blk_crc.get(), old));
            let length = u32::try_from(old.len()).map_err(io::Error::other)?;
            key.size = Le32::new(key.size.get() + length);
        }
        // Zeros stay a hole: behind `next` nothing was ever written.
        if old.iter().any(|byte| *byte != 0) {
            self.write(state.next * block, old)?;
        }
        state.next += length_of(old).div_ceil(block);
        Ok(())
    }

    fn write_keys(&self, state: &State) -> io::Result<()> {
        let block = state.block_bytes();
        let bytes = key_block(&state.keys, index(block));
        self.write(state.key_block * block, &bytes)
    }

    /// Writes what leads to the data, and the superblock that there is now.
    fn write_index(&self, state: &mut State, sink: &dyn Sink) -> io::Result<()> {
        let block = state.block_bytes();
        let length = state.next * block;
        if self.file.metadata()?.len() < length {
            let grown = self.file.set_len(length);
            grown.map_err(|error| self.cannot("be made longer", error))?;
        }
        if !state.keys.is_empty() {
            self.write_keys(state)?;
        }
        let superblock = superblock_of(sink, self.base)?;
        state.header.sb_crc = Le32::new(crc32c(INITIAL, bytes_of(&superblock)));
        state.header.seal();
        self.write(0, bytes_of(&state.header))?;
        let place = state.header.super_offset.get() * block;
        self.write(place, bytes_of(&inverted(superblock)))
    }

    fn write(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = sys::write_some_at(&self.file, offset, bytes)
                .map_err(|error| self.cannot("be written", error))?;
            bytes = &bytes[written..];
            offset += u64::try_from(written).expect("a slice's length fits 64 bits");
        }
        Ok(())
    }

    fn cannot(&self, what: &str, error: io::Error) -> io::Error {
        StorageError::wrap(&self.path, format!("let the undo file {what}"), error)
    }
}

impl State {
    fn new(place: UndoPlace) -> Self {
        // As mke2fs sets `tdb_data_size`.
        let block_size = match place.block_bytes {
            0..=4096 => 32768,
            larger => larger.saturating_mul(8),
        };
        let mut header = UndoHeader {
            magic: MAGIC,
            super_offset: Le64::new(SUPERBLOCK_BLOCK),
            key_offset: Le64::new(FIRST_KEY_BLOCK),
            block_size: Le32::new(block_size),
            fs_block_size: Le32::new(place.block_bytes),
            ..UndoHeader::zeroed()
        };
        if place.offset_bytes > 0 {
            header.f_compat = Le32::new(COMPAT_FS_OFFSET);
            header.fs_offset = Le64::new(place.offset_bytes);
        }
        Self {
            header,
            kept: RangeSet::default(),
            keys: Vec::new(),
            key_block: FIRST_KEY_BLOCK,
            next: FIRST_KEY_BLOCK + 1,
        }
    }

    fn block_bytes(&self) -> u64 {
        self.header.block_size.get().into()
    }
}

/// An undo file that is there.
struct Reader<'a> {
    file: &'a fs::File,
    length: u64,
}

impl Reader<'_> {
    /// What is kept by now. What lies behind it is cut off.
    fn state(&self, sink: &dyn Sink, place: UndoPlace) -> Result<State, UndoError> {
        let mut header = UndoHeader::zeroed();
        self.read(0, bytes_of_mut(&mut header))?;
        let unit = header.fs_block_size.get();
        let block_size = header.block_size.get();
        if !header.is_sound()
            || !BLOCK_BYTES.contains(&block_size)
            || unit == 0
            || !block_size.is_multiple_of(unit)
        {
            return Err(UndoError::Corrupt);
        }
        let mut noted = Superblock::zeroed();
        let at = header
            .super_offset
            .get()
            .checked_mul(block_size.into())
            .ok_or(UndoError::Corrupt)?;
        self.read(at, bytes_of_mut(&mut noted))?;
        let now = superblock_of(sink, place.offset_bytes)?;
        let is_offset = header.f_compat.get() & COMPAT_FS_OFFSET != 0;
        let offset = is_offset.then(|| header.fs_offset.get());
        if bytes_of(&inverted(noted)) != bytes_of(&now)
            || header.sb_crc.get() != crc32c(INITIAL, bytes_of(&now))
            || offset.unwrap_or_default() != place.offset_bytes
        {
            return Err(UndoError::Wrong);
        }
        header.state = Le32::new(header.state.get() & !STATE_FINISHED);
        let key_block = header.key_offset.get();
        if key_block
            .checked_mul(block_size.into())
            .is_none_or(|at| at > self.length)
        {
            return Err(UndoError::Corrupt);
        }
        let mut state = State {
            key_block,
            next: key_block.max(FIRST_KEY_BLOCK) + 1,
            header,
            kept: RangeSet::default(),
            keys: Vec::new(),
        };
        self.read_keys(&mut state)?;
        let length = state.next.checked_mul(state.block_bytes());
        self.file.set_len(length.ok_or(UndoError::Corrupt)?)?;
        Ok(state)
    }

    fn read_keys(&self, state: &mut State) -> Result<(), UndoError> {
        let block = state.block_bytes();
        let mut bytes = vec![0; index(block)];
        let most = keys_per_block(bytes.len());
        let mut left = state.header.num_keys.get();
        let mut at = state.header.key_offset.get();
        while left > 0 {
            let offset = at.checked_mul(block).ok_or(UndoError::Corrupt)?;
            self.read(offset, &mut bytes)?;
            let count = usize::try_from(left).map_or(most, |left| left.min(most));
            let keys = keys_of(&bytes, count).ok_or(UndoError::Corrupt)?;
            state.key_block = at;
            at += 1;
            for key in &keys {
                let range = kept_range(key, &state.header).ok_or(UndoError::Corrupt)?;
                at += (range.end - range.start) / block;
                state.kept.insert(range);
            }
            left -= u64::try_from(keys.len()).unwrap_or(left);
            state.keys = keys;
            state.next = at;
        }
        Ok(())
    }

    fn read(&self, offset: u64, mut buffer: &mut [u8]) -> Result<(), UndoError> {
        let end = offset.checked_add(length_of(buffer));
        if end.is_none_or(|end| end > self.length) {
            return Err(UndoError::Corrupt);
        }
        let mut at = offset;
        while !buffer.is_empty() {
            let read = sys::read_some_at(self.file, at, buffer)?;
            if read == 0 {
                return Err(UndoError::Corrupt);
            }
            buffer = &mut buffer[read..];
            at += u64::try_from(read).expect("a slice's length fits 64 bits");
        }
        Ok(())
    }
}

/// The whole blocks that `key` keeps, in bytes from the filesystem's first.
fn kept_range(key: &UndoKey, header: &UndoHeader) -> Option<Range<u64>> {
    let block = u64::from(header.block_size.get());
    let size = u64::from(key.size.get());
    let start = key
        .fsblk
        .get()
        .checked_mul(header.fs_block_size.get().into())?;
    let end = start.checked_add(size)?.checked_next_multiple_of(block)?;
    let most = block * u64::from(MOST_BLOCKS_OF_KEY);
    (start.is_multiple_of(block) && (1..=most).contains(&size)).then_some(start..end)
}

/// The superblock of the filesystem at `base`; zeros where the sink ends before.
fn superblock_of(sink: &dyn Sink, base: u64) -> io::Result<Superblock> {
    let mut found = Superblock::zeroed();
    let bytes = bytes_of_mut(&mut found);
    let place = base.saturating_add(superblock::OFFSET);
    if range_within(sink.size_bytes(), place, length_of(bytes)).is_ok() {
        sink.read_at(place, bytes)?;
    }
    Ok(found)
}

/// A sink of which nothing is overwritten before it is kept.
#[derive(Clone, Copy)]
pub struct Undoable<'a> {
    undo: &'a Undo,
    sink: &'a dyn Sink,
}

impl fmt::Debug for Undoable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undoable").finish_non_exhaustive()
    }
}

impl Sink for Undoable<'_> {
    fn size_bytes(&self) -> u64 {
        self.sink.size_bytes()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = range_within(self.size_bytes(), offset, length_of(bytes))?;
        self.undo.keep(self.sink, range)?;
        self.sink.write_at(offset, bytes)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let range = range_within(self.size_bytes(), offset, length)?;
        self.undo.keep(self.sink, range)?;
        self.sink.zero(offset, length)
    }

    fn discard(&self, _offset: u64, _length: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn discard_zeroes(&self) -> bool {
        false
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.sink.read_at(offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        // What is overwritten must be safe before what overwrites it.
        let kept = self.undo.file.sync_all();
        kept.map_err(|error| self.undo.cannot("be synced", error))?;
        self.sink.sync()
    }
}
