//! Given a sink and a file, keeps in the file what of the sink is overwritten, in the form that
//! `e2undo` reads; never knows why it is overwritten.
//!
//! Whatever ends the process, and at whatever moment, what was overwritten by then can be restored:
//!
//! - Data and the keys that lead to them are written first, and the header that counts the keys behind
//!   them; only then is anything overwritten. So the header never says more than the file holds, and
//!   never less than was overwritten.
//! - A key that the header counts is never written again with another value, and a block of keys is one
//!   page of memory (where the filesystem's blocks are no longer than that): a write that is cut short
//!   changes it as a whole or not at all.
//! - e2undo restores nothing where the superblock is not the one that the undo file has a copy of, unless
//!   it is forced to. The copy of a new one is written beside that of the old one, and the header chooses
//!   between them: only where the process ends between the superblock and the header, `-f` is needed.
//!
//! What a file had no bytes of is not kept.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytemuck::{Zeroable, bytes_of, bytes_of_mut};

use super::error::StorageError;
use super::ranges::RangeSet;
use super::{Sink, length_of, range_within};
use crate::ondisk::checksum::{INITIAL, crc32c};
use crate::ondisk::int::{Le32, Le64};
use crate::ondisk::superblock::{self, Superblock};
use crate::ondisk::undo::{
    BLOCK_BYTES, COMPAT_FS_OFFSET, MAGIC, MOST_BLOCKS_OF_KEY, STATE_FINISHED, UndoHeader, UndoKey,
    inverted, key_block, keys_of, keys_per_block,
};
use crate::sys;

/// The least bytes of a new undo file's block. mke2fs takes 32 KiB.
const LEAST_BLOCK_BYTES: u32 = 4096;
/// How much is read at once at most, and one key stands for, where the blocks allow it.
const PIECE_BYTES: u64 = 2 << 20;
/// How much is kept at once at most that nobody asked for.
const MOST_AHEAD_BYTES: u64 = 16 << 20;
/// Where a new undo file has the two copies of the superblock and the first keys, in its blocks.
const SUPERBLOCK_BLOCKS: [u64; 2] = [1, 2];
const FIRST_KEY_BLOCK: u64 = 3;
/// Where mke2fs has the first keys, behind one copy of the superblock. It goes on with an undo file
/// that has no keys only where they would be there.
const FIRST_KEY_BLOCK_OF_MKE2FS: u64 = 2;

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
    /// The file belongs to another user and lies where anybody may put it, such as in `/tmp`.
    Anothers,
}

impl fmt::Display for UndoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => {
                write!(f, "the undo file cannot be used: {}", sys::reason(error))
            }
            Self::Corrupt => f.write_str("the undo file must be empty, or an undo file that is complete"),
            Self::Wrong => f.write_str("the undo file is for another state of the filesystem"),
            Self::IsOutput => f.write_str("the undo file must be another file than the output"),
            Self::Anothers => f.write_str(
                "the undo file belongs to another user, in a directory that anybody can write to; name another file",
            ),
        }
    }
}

impl std::error::Error for UndoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text is told already.
            Self::Io(error) => error.source(),
            Self::Corrupt | Self::Wrong | Self::IsOutput | Self::Anothers => None,
        }
    }
}

impl UndoError {
    /// The same, with the name of the file that failed.
    fn about(self, path: &Path) -> Self {
        match self {
            Self::Io(error) => {
                let text = format!("{}: {}", path.display(), sys::reason(&error));
                Self::Io(io::Error::new(error.kind(), text))
            }
            other => other,
        }
    }
}

impl From<io::Error> for UndoError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens the undo file `path`, or makes one. Another user could have it written over another file, or
/// read in it what was on the output.
fn open(path: &Path) -> Result<fs::File, UndoError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let path = sys::absolute(path)?;
    match fs::symlink_metadata(&path) {
        Ok(named) if sys::is_anothers_in_shared_directory(&path, &named) => {
            return Err(UndoError::Anothers);
        }
        // A link of one's own may lead to where there is none yet.
        Ok(_) => options.create(true),
        // Whoever puts one there meanwhile makes this fail.
        Err(error) if error.kind() == io::ErrorKind::NotFound => options.create_new(true),
        Err(error) => return Err(error.into()),
    };
    Ok(options.open(path)?)
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
///
/// When dropped, one that was created is removed, unless something may have been overwritten that it
/// keeps, or it was [finished](Self::finish).
#[derive(Debug)]
pub struct Undo {
    file: fs::File,
    path: PathBuf,
    /// The filesystem's first byte in the sink.
    base: u64,
    /// The bytes that the sink had before anything was written.
    old_end: u64,
    /// Whether the file was not there before, or was empty.
    is_new: bool,
    is_needed: AtomicBool,
    is_durable: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the file holds, as far as it counts.
    index: Index,
    /// What is kept, in bytes from the filesystem's first.
    kept: RangeSet,
    /// The superblock that the file is for, once it says so.
    noted: Option<Superblock>,
    /// Whether writing to the file failed: nothing more is kept then.
    has_failed: bool,
}

/// What leads to the data of an undo file.
#[derive(Clone, Debug)]
struct Index {
    header: UndoHeader,
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
        if sys::is_same_file(path, sink.path()) {
            return Err(UndoError::IsOutput);
        }
        let file = open(path).map_err(|error| error.about(path))?;
        let metadata = file.metadata()?;
        let identity = sys::identity_of(&file);
        if identity.is_some() && identity == sys::identity_of(sink.handle()) {
            return Err(UndoError::IsOutput);
        }
        let reader = Reader {
            file: &file,
            length: metadata.len(),
        };
        let old_end = sink.size_bytes().saturating_sub(place.offset_bytes);
        let state = match (metadata.len(), old_end) {
            (0, 0) => State::new(place, FIRST_KEY_BLOCK_OF_MKE2FS),
            (0, _) => State::new(place, FIRST_KEY_BLOCK),
            _ => reader.state(sink, place)?,
        };
        Ok(Self {
            file,
            path: sys::absolute(path)?,
            base: place.offset_bytes,
            old_end,
            is_new: metadata.len() == 0,
            is_needed: AtomicBool::new(false),
            is_durable: false,
            state: Mutex::new(state),
        })
    }

    /// Waits for stable storage before anything is overwritten: then not even a power cut leaves
    /// something overwritten that cannot be restored.
    pub fn wait_for_storage(&mut self) {
        self.is_durable = true;
    }

    /// Lets an abort of the process remove the file if dropping it would.
    ///
    /// It is for commands, after [`fail_on_abort`](crate::fail_on_abort), and for one undo file
    /// at a time.
    ///
    /// # Errors
    /// Where the system does not tell which file it is.
    #[cfg(all(any(unix, windows), feature = "cli"))]
    pub fn remove_on_abort(&self) -> io::Result<()> {
        if self.is_new {
            sys::remove_on_abort(&self.file, &self.path)
        } else {
            Ok(())
        }
    }

    /// From now on the file stays.
    fn need(&self) {
        #[cfg(all(any(unix, windows), feature = "cli"))]
        sys::remove_nothing();
        self.is_needed.store(true, Ordering::Relaxed);
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
        let block = state.index.block_bytes();
        let whole = start / block * block..end.next_multiple_of(block);
        let missing = state.kept.missing_from(whole);
        let missing = match missing.last() {
            Some(last) => state
                .kept
                .missing_from(missing[0].start..self.ahead(&state, last)),
            None => return Ok(()),
        };
        if state.has_failed {
            return Err(self.cannot("be written", io::Error::other("it failed before")));
        }
        let added = self.add(&mut state, sink, &missing);
        state.has_failed = added.is_err();
        added
    }

    /// Makes ready for the zeroing of the superblock that `sink` has at `range`: keeps it, and says
    /// that there is none, so that there is no moment at which e2undo would find another than the undo
    /// file has.
    ///
    /// # Errors
    /// Where either cannot be read or written.
    pub fn before_zeroing(&self, sink: &dyn Sink, range: Range<u64>) -> io::Result<()> {
        self.keep(sink, range)?;
        let mut state = self.state();
        self.note(&mut state, Superblock::zeroed())?;
        if state.index.header.num_keys.get() > 0 {
            self.need();
        }
        Ok(())
    }

    /// Notes that `sink` is finished as it is.
    ///
    /// # Errors
    /// Where either cannot be read or written.
    pub fn finish(&self, sink: &dyn Sink) -> io::Result<()> {
        let mut state = self.state();
        let superblock = superblock_of(sink, self.base)?;
        // What needs no writing cannot fail: a new undo file says so from the beginning.
        let is_finished = Le32::new(STATE_FINISHED);
        if state.index.header.state != is_finished {
            state.index.header.state = is_finished;
            state.noted = None;
        }
        self.note(&mut state, superblock)?;
        self.need();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What fails between two changes fails the whole run.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Up to where is kept what is missing up to the end of `last`. Where each piece costs waiting for
    /// the storage, more of what is overwritten in one go is kept at once.
    fn ahead(&self, state: &State, last: &Range<u64>) -> u64 {
        if !self.is_durable {
            return last.end;
        }
        let before = last.start - state.kept.start_of_what_ends_at(last.start);
        let end = last.end.saturating_add(before.min(MOST_AHEAD_BYTES));
        let old_end = self.old_end.next_multiple_of(state.index.block_bytes());
        end.min(old_end).max(last.end)
    }

    /// Adds what `sink` has at `ranges`, in bytes from the filesystem's first, and none of which is
    /// kept: data, then keys, then the header.
    fn add(&self, state: &mut State, sink: &dyn Sink, ranges: &[Range<u64>]) -> io::Result<()> {
        if state.noted.is_none() {
            self.note(state, superblock_of(sink, self.base)?)?;
        }
        let mut index = state.index.clone();
        let block = index.block_bytes();
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let piece = index.most_of_key().min(range.end - at);
                let mut old = vec![0; super::index(piece.min(self.old_end - at))];
                sink.read_at(self.base + at, &mut old)?;
                self.append(&mut index, at, &old)?;
                at += piece;
            }
        }
        let length = index.next * block;
        if self.file.metadata()?.len() < length {
            let grown = self.file.set_len(length);
            grown.map_err(|error| self.cannot("be made longer", error))?;
        }
        self.write_keys(&index)?;
        self.wait()?;
        self.write_header(&mut index)?;
        state.index = index;
        for range in ranges {
            state.kept.insert(range.clone());
        }
        Ok(())
    }

    /// Adds `old`, which was at `at` from the filesystem's first byte, as one key.
    fn append(&self, index: &mut Index, at: u64, old: &[u8]) -> io::Result<()> {
        let block = index.block_bytes();
        let unit = u64::from(index.header.fs_block_size.get());
        if index.keys.len() == keys_per_block(super::index(block)) {
            self.write_keys(index)?;
            index.keys.clear();
            index.key_block = index.next;
            index.next += 1;
        }
        index.keys.push(UndoKey {
            fsblk: Le64::new(at / unit),
            blk_crc: Le32::new(crc32c(INITIAL, old)),
            size: Le32::new(u32::try_from(old.len()).map_err(io::Error::other)?),
        });
        index.header.num_keys = Le64::new(index.header.num_keys.get() + 1);
        // Zeros stay a hole: behind `next` the header counts nothing, and what failed is over.
        if old.iter().any(|byte| *byte != 0) {
            self.write(index.next * block, old)?;
        }
        index.next += length_of(old).div_ceil(block);
        Ok(())
    }

    fn write_keys(&self, index: &Index) -> io::Result<()> {
        let block = index.block_bytes();
        let bytes = key_block(&index.keys, super::index(block));
        self.write(index.key_block * block, &bytes)
    }

    fn write_header(&self, index: &mut Index) -> io::Result<()> {
        index.header.seal();
        self.write(0, bytes_of(&index.header))?;
        self.wait()
    }

    /// Notes that `superblock` is the one that there is: e2undo restores nothing where there is another.
    fn note(&self, state: &mut State, superblock: Superblock) -> io::Result<()> {
        let is_same = |noted: &Superblock| bytes_of(noted) == bytes_of(&superblock);
        if state.noted.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let mut index = state.index.clone();
        let block = index.block_bytes();
        let copy = inverted(superblock);
        for place in index.superblock_places(state.noted.is_none()) {
            self.write(place * block, bytes_of(&copy))?;
            index.header.super_offset = Le64::new(place);
        }
        let length = index.next * block;
        if self.file.metadata()?.len() < length {
            let grown = self.file.set_len(length);
            grown.map_err(|error| self.cannot("be made longer", error))?;
        }
        self.wait()?;
        index.header.sb_crc = Le32::new(crc32c(INITIAL, bytes_of(&superblock)));
        self.write_header(&mut index)?;
        state.index = index;
        state.noted = Some(superblock);
        Ok(())
    }

    /// Waits for stable storage, where that is asked for.
    fn wait(&self) -> io::Result<()> {
        if !self.is_durable {
            return Ok(());
        }
        let synced = self.file.sync_data();
        synced.map_err(|error| self.cannot("be synced", error))
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

impl Drop for Undo {
    /// Where the file cannot be removed there is nobody left to tell.
    fn drop(&mut self) {
        if !self.is_new || *self.is_needed.get_mut() {
            return;
        }
        #[cfg(all(any(unix, windows), feature = "cli"))]
        sys::remove_nothing();
        if sys::is_name_of(&self.path, &self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl State {
    fn new(place: UndoPlace, first_key_block: u64) -> Self {
        let [first_copy, _] = SUPERBLOCK_BLOCKS;
        let mut header = UndoHeader {
            magic: MAGIC,
            super_offset: Le64::new(first_copy),
            key_offset: Le64::new(first_key_block),
            block_size: Le32::new(place.block_bytes.max(LEAST_BLOCK_BYTES)),
            fs_block_size: Le32::new(place.block_bytes),
            // At no moment is anything missing. Where this is not set, e2undo marks the filesystem that
            // it restored as one to be checked.
            state: Le32::new(STATE_FINISHED),
            ..UndoHeader::zeroed()
        };
        if place.offset_bytes > 0 {
            header.f_compat = Le32::new(COMPAT_FS_OFFSET);
            header.fs_offset = Le64::new(place.offset_bytes);
        }
        Self {
            index: Index {
                header,
                keys: Vec::new(),
                key_block: first_key_block,
                next: first_key_block + 1,
            },
            kept: RangeSet::default(),
            noted: None,
            has_failed: false,
        }
    }
}

impl Index {
    fn block_bytes(&self) -> u64 {
        self.header.block_size.get().into()
    }

    /// How many bytes one key stands for at most. The blocks of another program's file may be shorter
    /// than ours, and e2undo refuses a file with a longer key.
    fn most_of_key(&self) -> u64 {
        PIECE_BYTES.min(self.block_bytes() * u64::from(MOST_BLOCKS_OF_KEY))
    }

    /// Where the next copy of the superblock goes, and the last of them leads there: beside the one
    /// that counts, in an undo file of ours; `all` where none counts yet, so that there is room for
    /// both from the beginning.
    fn superblock_places(&self, all: bool) -> Vec<u64> {
        let counts = self.header.super_offset.get();
        let is_ours = self.header.key_offset.get() == FIRST_KEY_BLOCK;
        let other = SUPERBLOCK_BLOCKS.into_iter().find(|place| *place != counts);
        match other.filter(|_| is_ours) {
            Some(other) if all => vec![other, counts],
            Some(other) => vec![other],
            None => vec![counts],
        }
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
        let key_block = header.key_offset.get();
        if key_block
            .checked_mul(block_size.into())
            .is_none_or(|at| at > self.length)
        {
            return Err(UndoError::Corrupt);
        }
        let mut state = State {
            index: Index {
                key_block,
                next: key_block + 1,
                header,
                keys: Vec::new(),
            },
            kept: RangeSet::default(),
            noted: Some(now),
            has_failed: false,
        };
        self.read_keys(&mut state)?;
        let index = &state.index;
        let length = index.next.checked_mul(index.block_bytes());
        self.file.set_len(length.ok_or(UndoError::Corrupt)?)?;
        Ok(state)
    }

    fn read_keys(&self, state: &mut State) -> Result<(), UndoError> {
        let State { index, kept, .. } = state;
        let block = index.block_bytes();
        let mut bytes = vec![0; super::index(block)];
        let most = keys_per_block(bytes.len());
        let mut left = index.header.num_keys.get();
        let mut at = index.header.key_offset.get();
        while left > 0 {
            let offset = at.checked_mul(block).ok_or(UndoError::Corrupt)?;
            self.read(offset, &mut bytes)?;
            let count = usize::try_from(left).map_or(most, |left| left.min(most));
            let keys = keys_of(&bytes, count).ok_or(UndoError::Corrupt)?;
            index.key_block = at;
            at += 1;
            for key in &keys {
                let range = kept_range(key, &index.header).ok_or(UndoError::Corrupt)?;
                at += (range.end - range.start) / block;
                kept.insert(range);
            }
            left -= u64::try_from(keys.len()).unwrap_or(left);
            index.keys = keys;
            index.next = at;
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

impl Undoable<'_> {
    /// Notes the superblock that there is now, if `range`, which was written to, has a part of it.
    fn note_superblock(&self, range: &Range<u64>) -> io::Result<()> {
        let start = self.undo.base.saturating_add(superblock::OFFSET);
        let length = u64::try_from(size_of::<Superblock>()).expect("it is small");
        if range.end <= start || start.saturating_add(length) <= range.start {
            return Ok(());
        }
        let superblock = superblock_of(self.sink, self.undo.base)?;
        self.undo.note(&mut self.undo.state(), superblock)
    }
}

impl Sink for Undoable<'_> {
    fn size_bytes(&self) -> u64 {
        self.sink.size_bytes()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = range_within(self.size_bytes(), offset, length_of(bytes))?;
        self.undo.keep(self.sink, range.clone())?;
        let written = self.sink.write_at(offset, bytes);
        self.note_superblock(&range)?;
        written
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let range = range_within(self.size_bytes(), offset, length)?;
        self.undo.keep(self.sink, range.clone())?;
        let zeroed = self.sink.zero(offset, length);
        self.note_superblock(&range)?;
        zeroed
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
