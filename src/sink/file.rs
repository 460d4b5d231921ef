//! Given an open file or block device, keeps bytes in it and its holes holes; never opens, names or
//! removes one: that is [`Output`](super::Output)'s.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::ranges::RangeSet;
use super::{DISCARD_STEP_BYTES, Sink, StorageError, index, length_of, range_within};
use crate::sys;
use crate::units::Timestamp;

/// What a file keeps no room for where all of it is zero.
const PAGE_BYTES: u64 = 4096;
/// How much is left in the page cache where little shall be.
const MOST_CACHED_BYTES: u64 = 32 << 20;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// A regular file or a block device as a sink.
///
/// It knows which of its bytes read as zeros already, because the file is new, was grown or was
/// discarded. Pages of zeros are not written there, so that the file takes no more room than its
/// content. It comes from [`Output`](super::Output).
#[derive(Debug)]
pub struct File {
    file: fs::File,
    path: PathBuf,
    medium: Medium,
    size_bytes: u64,
    /// How many bytes were written since the page cache was emptied of them, where that is asked
    /// for.
    cached_bytes: Option<AtomicU64>,
    /// Bytes that surely read as zeros, but for those a write is on its way to.
    known_zero: Mutex<RangeSet>,
    mark: Option<Mark>,
}

/// Where [`UNFINISHED`] is.
#[derive(Debug)]
struct Mark {
    at: u64,
    /// Whether nothing else was written there yet.
    stays: AtomicBool,
}

/// What an image begins with until it is written as a whole: where the primary superblock will be, or in the
/// first bytes of a container. What a killed run left is known by it, so that the next one need not take it for
/// somebody's data. What is written over it at last is longer in every format.
pub(crate) const UNFINISHED: &[u8] = b"mke4fs: unfinished\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Medium {
    Regular,
    /// A device zeroes and discards whole sectors, whose size in bytes is a power of two.
    BlockDevice {
        sector_bytes: u32,
    },
}

impl File {
    /// The open `file` of the name `path`.
    pub(super) fn new(file: fs::File, path: PathBuf) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let (medium, size_bytes) = if sys::is_block_device(&metadata) {
            let sector_bytes = sys::logical_sector_size(&file)
                .ok()
                .filter(|bytes| bytes.is_power_of_two())
                .unwrap_or(512);
            let medium = Medium::BlockDevice { sector_bytes };
            (medium, sys::block_device_size(&file)?)
        } else {
            (Medium::Regular, metadata.len())
        };
        Ok(Self {
            file,
            path,
            medium,
            size_bytes,
            cached_bytes: None,
            known_zero: Mutex::default(),
            mark: None,
        })
    }

    /// The open `file`, a regular one or a block device, of whatever name.
    ///
    /// # Errors
    /// Where the system says nothing of it, it is neither, or every write to it goes to its end.
    pub fn from_open(file: fs::File) -> io::Result<Self> {
        let opened = file.metadata()?;
        let refused = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if !opened.is_file() && !sys::is_block_device(&opened) {
            let kind = sys::kind_name(&opened);
            return refused(format!("{kind}: must be a file or a block device"));
        }
        if sys::writes_to_end(&file)? {
            return refused("must be open for writing, not for appending".to_owned());
        }
        Self::new(file, PathBuf::from("the output"))
    }

    /// Grows a regular file to `size_bytes` if it is shorter.
    ///
    /// # Errors
    /// Where it cannot be grown.
    pub fn make_room(&mut self, size_bytes: u64) -> io::Result<()> {
        if self.medium == Medium::Regular && size_bytes > self.size_bytes {
            self.grow(size_bytes)?;
        }
        Ok(())
    }

    /// Writes `bytes` at `offset`, where nothing was and the file may end before: it grows, and pages of
    /// zeros stay holes.
    pub(super) fn write_new(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = offset..offset + length_of(bytes);
        let runs = runs_to_write(range.clone(), std::slice::from_ref(&range), bytes);
        for run in runs {
            let part = index(run.start - offset)..index(run.end - offset);
            self.write_all(run.start, &bytes[part])?;
        }
        Ok(())
    }

    /// Puts [`UNFINISHED`] at `at`, where it stays until something else is written over it: zeroing and
    /// discarding leave it.
    pub(super) fn mark(&mut self, at: u64) -> io::Result<()> {
        let stays = AtomicBool::new(true);
        self.mark = Some(Mark { at, stays });
        self.mark_again()
    }

    /// The same where there was one before.
    pub(super) fn mark_again(&self) -> io::Result<()> {
        match &self.mark {
            Some(mark) => self.write_over(mark.at, UNFINISHED),
            None => Ok(()),
        }
    }

    /// The bytes of the mark, if it is there.
    fn marked(&self) -> Option<(&Mark, Range<u64>)> {
        let mark = self.mark.as_ref()?;
        let bytes = mark.at..mark.at + length_of(UNFINISHED);
        mark.stays.load(Ordering::Relaxed).then_some((mark, bytes))
    }

    /// `range` without the mark.
    fn unmarked(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let Range { start, end } = range;
        let mark = self.marked().map_or(end..end, |(_, mark)| mark);
        let parts = [
            start..mark.start.clamp(start, end),
            mark.end.clamp(start, end)..end,
        ];
        parts.into_iter().filter(|part| !part.is_empty())
    }

    /// Writes `bytes` at `offset`, but pages of zeros only where something else may be.
    fn write_over(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = range_within(self.size_bytes, offset, length_of(bytes))?;
        let fresh = {
            let mut known_zero = self.known_zero();
            let fresh = known_zero.within(range.clone());
            known_zero.remove(range.clone());
            fresh
        };
        for run in runs_to_write(range, &fresh, bytes) {
            let part = index(run.start - offset)..index(run.end - offset);
            self.write_all(run.start, &bytes[part])?;
        }
        Ok(())
    }

    /// Makes a regular file `length` bytes long.
    pub(super) fn set_length(&self, length: u64) -> io::Result<()> {
        let doing = || format!("make it {length} bytes long");
        let made = self.file.set_len(length);
        made.map_err(|error| StorageError::wrap(&self.path, doing(), error))
    }

    /// When a regular file was written last, as its filesystem has it.
    pub(crate) fn written(&self) -> Option<Timestamp> {
        if self.is_block_device() {
            return None;
        }
        sys::written(&self.file)
    }

    /// Cuts a regular file off.
    pub(crate) fn cut(&self, length: u64) -> io::Result<()> {
        self.set_length(length)
    }

    /// The file's name, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a block device.
    pub fn is_block_device(&self) -> bool {
        self.medium != Medium::Regular
    }

    /// Where data begins at or after `offset`, the file's end if none does; `None` where the system does not
    /// tell.
    pub(crate) fn next_data(&self, offset: u64) -> Option<u64> {
        let next = sys::seek_data(&self.file, offset).ok()?;
        Some(next.unwrap_or(self.size_bytes))
    }

    /// The holes in `range`, as far as the system tells.
    fn holes_in(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut holes = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let Ok(Some(start)) = sys::seek_hole(&self.file, at) else {
                break;
            };
            let Some(end) = self.next_data(start).map(|end| end.min(range.end)) else {
                break;
            };
            if start >= end {
                break;
            }
            holes.push(start..end);
            at = end;
        }
        holes
    }

    /// Keeps room for what is a hole in `ranges`, which ascend, so that writing there finds the storage full no
    /// more; where the storage cannot keep any, that is all that happens.
    ///
    /// # Errors
    /// Where it is full. Nothing is kept then.
    pub(crate) fn keep_room(&self, ranges: Vec<Range<u64>>) -> io::Result<Room<'_>> {
        let mut room = Room {
            file: self,
            ranges: Vec::new(),
        };
        if self.is_block_device() {
            return Ok(room);
        }
        let holes = ranges.into_iter().flat_map(|range| self.holes_in(range));
        let holes: Vec<Range<u64>> = holes.collect();
        let needed: u64 = holes.iter().map(|hole| hole.end - hole.start).sum();
        for hole in holes {
            room.ranges.push(hole.clone());
            match sys::keep_room(&self.file, hole.start, hole.end - hole.start) {
                Ok(()) => {}
                Err(error) if means_full(&error) => {
                    let kept = std::mem::take(&mut room.ranges);
                    kept.iter().for_each(|range| room.give_back(range));
                    let doing =
                        format!("make room for {needed} new bytes before anything is written");
                    return Err(StorageError::wrap(&self.path, doing, error));
                }
                Err(_) => break,
            }
        }
        Ok(room)
    }

    pub(crate) fn handle(&self) -> &fs::File {
        &self.file
    }

    /// Makes a regular file 0 bytes long: of what it held nothing can show any more.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        self.file
            .set_len(0)
            .map_err(|error| StorageError::wrap(&self.path, "empty it".to_owned(), error))?;
        self.size_bytes = 0;
        Ok(())
    }

    /// Makes a regular file `size_bytes` long; what it grows by is known to read as zeros.
    pub(super) fn grow(&mut self, size_bytes: u64) -> io::Result<()> {
        self.file.set_len(size_bytes).map_err(|error| {
            let doing = format!("make it {size_bytes} bytes long");
            StorageError::wrap(&self.path, doing, error)
        })?;
        let grown = self.size_bytes..size_bytes;
        self.known_zero().insert(grown);
        self.size_bytes = size_bytes;
        Ok(())
    }

    /// The bytes up to the last that was written or was there before.
    pub(super) fn written_bytes(&self) -> u64 {
        let unwritten = self.known_zero().missing_from(0..self.size_bytes);
        unwritten.last().map_or(0, |last| last.end)
    }

    fn known_zero(&self) -> MutexGuard<'_, RangeSet> {
        // Nothing panics between two changes that belong together.
        self.known_zero
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write_all(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = sys::write_some_at(&self.file, offset, bytes)
                .map_err(|error| self.cannot_write(offset..offset + length_of(bytes), error))?;
            bytes = &bytes[written..];
            let written = u64::try_from(written).expect("a slice's length fits 64 bits");
            offset += written;
            self.count_cached(written)?;
        }
        Ok(())
    }

    /// Leaves no more than some of what is written in the page cache.
    pub(super) fn leave_uncached(&mut self) {
        self.cached_bytes = Some(AtomicU64::new(0));
    }

    fn count_cached(&self, written: u64) -> io::Result<()> {
        let Some(cached) = &self.cached_bytes else {
            return Ok(());
        };
        if cached.fetch_add(written, Ordering::Relaxed) + written < MOST_CACHED_BYTES {
            return Ok(());
        }
        cached.store(0, Ordering::Relaxed);
        self.sync()
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        for piece in steps(range, length_of(&ZEROS)) {
            self.write_all(piece.start, &ZEROS[..index(piece.end - piece.start)])?;
        }
        Ok(())
    }

    /// Makes `range` read as zeros, which it is not known to do.
    fn zero_unknown(&self, range: Range<u64>) -> io::Result<()> {
        // Where the cheap way fails, for whatever reason, writing tells whether the storage works.
        match self.medium {
            Medium::Regular => {
                let length = range.end - range.start;
                if sys::punch_hole(&self.file, range.start, length).is_ok() {
                    return Ok(());
                }
                self.write_zeros(range)
            }
            Medium::BlockDevice { sector_bytes } => {
                let whole = whole_sectors(&range, sector_bytes);
                self.write_zeros(range.start..whole.start)?;
                for step in steps(whole.clone(), DISCARD_STEP_BYTES) {
                    let length = step.end - step.start;
                    if sys::zero_device(&self.file, step.start, length).is_err() {
                        self.write_zeros(step)?;
                    }
                }
                self.write_zeros(whole.end..range.end)
            }
        }
    }

    /// Discards `range`, all that can be of it; false if nothing can.
    fn discard_unknown(&self, range: Range<u64>) -> io::Result<bool> {
        let range = match self.medium {
            Medium::Regular => range,
            Medium::BlockDevice { sector_bytes } => whole_sectors(&range, sector_bytes),
        };
        for step in steps(range, DISCARD_STEP_BYTES) {
            let length = step.end - step.start;
            let answer = match self.medium {
                Medium::Regular => sys::punch_hole(&self.file, step.start, length),
                Medium::BlockDevice { .. } => sys::discard_device(&self.file, step.start, length),
            };
            match answer {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    if sys::HAS_HOLES || self.is_block_device() {
                        return Ok(false);
                    }
                    self.clear(step)?;
                }
                Err(error) => {
                    let doing = format!("discard bytes {} to {}", step.start, step.end);
                    return Err(StorageError::wrap(&self.path, doing, error));
                }
            }
        }
        Ok(true)
    }

    /// Makes `range` of a regular file read as zeros where the system punches no holes: what a hole would hold, on
    /// every system.
    ///
    /// Where nothing but zeros follows, the file is cut off and grown again, which writes nothing.
    fn clear(&self, range: Range<u64>) -> io::Result<()> {
        // Whoever writes to what follows takes it out of this set first, and so waits.
        let known_zero = self.known_zero();
        let rest = known_zero.missing_from(range.end..self.size_bytes);
        // Windows cuts no file that a program has mapped.
        if rest.is_empty() && self.file.set_len(range.start).is_ok() {
            return self.set_length(self.size_bytes);
        }
        drop(known_zero);
        self.write_zeros(range)
    }

    /// What, where, why, and if the storage is full, what it would have taken.
    fn cannot_write(&self, range: Range<u64>, error: io::Error) -> io::Error {
        let mut doing = format!("write {} bytes at {}", range.end - range.start, range.start);
        if means_full(&error)
            && let Ok(metadata) = self.file.metadata()
        {
            let missing = self
                .size_bytes
                .saturating_sub(sys::allocated_bytes(&metadata));
            // How long a container gets nobody knows yet, nor on some systems how much room a file takes.
            if self.size_bytes > 0 && missing > 0 {
                doing += &format!(
                    " of {}, which needs room for up to {missing} bytes more",
                    self.size_bytes
                );
            }
        }
        StorageError::wrap(&self.path, doing, error)
    }
}

/// Whether the storage has no more room.
fn means_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Room that a file keeps for what is to be written; what was not written once this is dropped is a hole again.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    file: &'a File,
    ranges: Vec<Range<u64>>,
}

impl Room<'_> {
    /// Makes `range` a hole. Where that fails, the file takes more room than it needs.
    fn give_back(&self, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        let length = range.end - range.start;
        let _ = sys::punch_hole(&self.file.file, range.start, length);
    }
}

impl Drop for Room<'_> {
    /// Gives back what reads as zeros: once it was read, the system does not tell any more that it was never
    /// written.
    fn drop(&mut self) {
        let ranges = std::mem::take(&mut self.ranges);
        let mut bytes = vec![0; ZEROS.len()];
        for piece in ranges
            .into_iter()
            .flat_map(|it| steps(it, length_of(&ZEROS)))
        {
            let bytes = &mut bytes[..index(piece.end - piece.start)];
            if sys::read_exact_at(&self.file.file, piece.start, bytes).is_err() {
                continue;
            }
            let mut at = piece.start;
            for data in runs_to_write(piece.clone(), std::slice::from_ref(&piece), bytes) {
                self.give_back(&(at..data.start));
                at = data.end;
            }
            self.give_back(&(at..piece.end));
        }
    }
}

impl Sink for File {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(length_of(bytes));
        if let Some((mark, place)) = self.marked()
            && place.start < end
            && offset < place.end
        {
            mark.stays.store(false, Ordering::Relaxed);
        }
        self.write_over(offset, bytes)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let range = range_within(self.size_bytes, offset, length)?;
        for range in self.unmarked(range) {
            let unknown = self.known_zero().missing_from(range.clone());
            for part in unknown {
                self.zero_unknown(part)?;
            }
            self.known_zero().insert(range);
        }
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        let range = range_within(self.size_bytes, offset, length)?;
        for range in self.unmarked(range) {
            let unknown = self.known_zero().missing_from(range.clone());
            for part in unknown {
                if !self.discard_unknown(part)? {
                    return Ok(false);
                }
            }
            if self.discard_zeroes() {
                self.known_zero().insert(range);
            }
        }
        Ok(true)
    }

    fn discard_zeroes(&self) -> bool {
        // A hole reads as zeros. Linux has promised it of no block device since 4.12.
        self.medium == Medium::Regular
    }

    fn takes_one_at_a_time(&self) -> bool {
        self.medium == Medium::Regular
    }

    fn share_unit(&self) -> Option<u64> {
        (self.medium == Medium::Regular)
            .then(|| sys::share_unit(&self.file))
            .flatten()
    }

    fn share(&self, offset: u64, file: &fs::File, range: Range<u64>) -> io::Result<()> {
        let place = range_within(self.size_bytes, offset, range.end - range.start)?;
        let shared = sys::share_range(file, range, &self.file, offset);
        // Any other error may have come after a part was shared.
        let is_untouched = shared.as_ref().is_err_and(|error| {
            use io::ErrorKind::{CrossesDevices, InvalidInput, Unsupported};
            matches!(error.kind(), CrossesDevices | InvalidInput | Unsupported)
        });
        if !is_untouched {
            self.known_zero().remove(place);
        }
        shared
    }

    fn unknown(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.known_zero().missing_from(range)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = range_within(self.size_bytes, offset, length_of(buffer))?;
        let mut rest = buffer;
        let mut at = offset;
        while !rest.is_empty() {
            let read = sys::read_some_at(&self.file, at, rest)
                .and_then(|read| match read {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    read => Ok(read),
                })
                .map_err(|error| {
                    let doing = format!("read bytes {} to {}", range.start, range.end);
                    StorageError::wrap(&self.path, doing, error)
                })?;
            rest = &mut rest[read..];
            at += u64::try_from(read).expect("a slice's length fits 64 bits");
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file
            .sync_all()
            .map_err(|error| StorageError::wrap(&self.path, "sync".into(), error))?;
        if self.cached_bytes.is_some() {
            sys::drop_cached(&self.file);
        }
        Ok(())
    }
}

/// The parts of `range` that must be written: all but the pages of zeros where zeros are `fresh`.
///
/// A page lies at a multiple of its size in the file. Of a page that is only written in part, that
/// part counts. Neighbouring parts are one write.
fn runs_to_write(range: Range<u64>, fresh: &[Range<u64>], bytes: &[u8]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut add = |run: Range<u64>| match runs.last_mut() {
        _ if run.is_empty() => {}
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    };
    let mut at = range.start;
    for part in fresh {
        add(at..part.start);
        at = part.start;
        while at < part.end {
            let page_end = (at / PAGE_BYTES + 1).saturating_mul(PAGE_BYTES);
            let end = page_end.min(part.end);
            let page = &bytes[index(at - range.start)..index(end - range.start)];
            if page != &ZEROS[..page.len()] {
                add(at..end);
            }
            at = end;
        }
    }
    add(at..range.end);
    runs
}

/// `range` in pieces of at most `length`.
fn steps(range: Range<u64>, length: u64) -> impl Iterator<Item = Range<u64>> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let step = start..range.end.min(start.saturating_add(length));
        start = step.end;
        (!step.is_empty()).then_some(step)
    })
}

/// The whole sectors in `range`; where there is none, nothing at its end.
fn whole_sectors(range: &Range<u64>, sector_bytes: u32) -> Range<u64> {
    let sector_bytes = u64::from(sector_bytes);
    let start = range
        .start
        .div_ceil(sector_bytes)
        .saturating_mul(sector_bytes);
    let end = range.end / sector_bytes * sector_bytes;
    if start < end {
        start..end
    } else {
        range.end..range.end
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::{File, index, runs_to_write, whole_sectors};
    use crate::sink::Sink;

    #[test]
    fn pages_of_zeros_are_left_out_only_where_zeros_are_known() {
        let mut bytes = vec![0; 5 * 4096];
        bytes[2 * 4096] = 1;
        bytes[3 * 4096 + 4095] = 1;
        let page = |number: u64| number * 4096;
        type Bounds<'a> = &'a [(u64, u64)];
        let cases: [(Bounds<'_>, Bounds<'_>); 5] = [
            (&[], &[(page(1), page(6))]),
            (&[(page(1), page(6))], &[(page(3), page(5))]),
            (&[(page(1), page(2))], &[(page(2), page(6))]),
            (
                &[(page(2), 8200), (9000, page(3))],
                &[(page(1), page(2)), (8200, 9000), (page(3), page(6))],
            ),
            (
                &[(page(2), page(3)), (page(5), page(6))],
                &[(page(1), page(2)), (page(3), page(5))],
            ),
        ];
        for (fresh, expected) in cases {
            let fresh: Vec<_> = fresh.iter().map(|&(start, end)| start..end).collect();
            let runs = runs_to_write(page(1)..page(6), &fresh, &bytes);
            let runs: Vec<_> = runs.iter().map(|run| (run.start, run.end)).collect();
            assert_eq!(runs, expected, "{fresh:?}");
        }
    }

    proptest! {
        /// Whatever is left out is zero and fresh, and no page of the file that is both is kept.
        #[test]
        fn leaves_out_only_zeros(
            start in 0_u64..9000,
            marks in prop::collection::vec(0_usize..20000, 0..4),
            length in 1_usize..20000,
        ) {
            let mut bytes = vec![0_u8; length];
            for mark in marks.into_iter().filter(|mark| *mark < length) {
                bytes[mark] = 1;
            }
            let range = start..start + u64::try_from(length).unwrap();
            let runs = runs_to_write(range.clone(), std::slice::from_ref(&range), &bytes);
            let mut kept = vec![0_u8; length];
            for run in &runs {
                let part = index(run.start - start)..index(run.end - start);
                kept[part.clone()].copy_from_slice(&bytes[part]);
            }
            prop_assert_eq!(kept, bytes);
            prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }

    /// As systems without holes have it, whatever this one is.
    #[test]
    fn a_range_is_cleared_and_nothing_beside_it() {
        let cases = [
            (0..200_000, 200_000..200_000),
            (70_000..200_000, 200_000..200_000),
            (0..100_000, 100_000..200_000),
            (0..100_000, 150_000..200_000),
            (5..199_999, 200_000..200_000),
        ];
        for (range, zeroed) in cases {
            let mut handle = tempfile::tempfile().expect("a file");
            handle.write_all(&[0xd1; 200_000]).expect("it is written");
            let file = File::from_open(handle).expect("a sink");
            file.zero(zeroed.start, zeroed.end - zeroed.start)
                .expect("zeros");
            file.clear(range.clone()).expect("it is cleared");
            let mut bytes = vec![0; 200_000];
            file.read_at(0, &mut bytes).expect("all of it");
            for (at, byte) in (0..).zip(bytes) {
                let is_zero = range.contains(&at) || zeroed.contains(&at);
                assert_eq!(byte == 0, is_zero, "{at} of {range:?}, {zeroed:?}");
            }
        }
    }

    #[test]
    fn sectors_are_whole() {
        let cases = [
            (1024..4096, 512, 1024..4096),
            (1024..4096, 4096, 4096..4096),
            (1000..9000, 512, 1024..8704),
            (513..1023, 512, 1023..1023),
        ];
        for (range, sector_bytes, expected) in cases {
            assert_eq!(whole_sectors(&range, sector_bytes), expected);
        }
    }
}
