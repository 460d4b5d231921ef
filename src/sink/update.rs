//! Given a sink that holds an image, has another take its place so that only what differs is written; never
//! knows what either holds.
//!
//! Before the first byte is written, the place of the primary superblock is overwritten with [`UNFINISHED`],
//! and the new superblock comes last, as in an image that is made anew. Where nothing differs, nothing is
//! written.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::file::UNFINISHED;
use super::ranges::RangeSet;
use super::{ImageRange, ReadAt, Sink, index, length_of, range_within};
use crate::units::is_zero;

/// How long a superblock is, in bytes.
const SUPERBLOCK_BYTES: u64 = 1024;
/// The same, as the bytes of one.
const SUPERBLOCK: usize = 1024;
/// How much is compared at once, in bytes: whole blocks, and no more than memory that is not given back to
/// the system each time.
const PIECE_BYTES: u64 = 64 << 10;

/// Where differences are noted by less than a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    /// Bytes of the image, ascending.
    pub(crate) places: Vec<Range<u64>>,
    /// The bytes of what lies in them, one after the other.
    pub(crate) unit: u64,
}

/// An image over another, of which only differences are written.
pub(crate) struct Update<'a, S> {
    sink: &'a S,
    image: Range<u64>,
    block_bytes: u64,
    tables: Tables,
    /// The superblock that was there.
    old_superblock: [u8; SUPERBLOCK],
    sync: bool,
    is_begun: AtomicBool,
    begins: Mutex<()>,
    blocks_written: AtomicU64,
    /// The bytes of the image that differ.
    changed: Mutex<RangeSet>,
}

impl<'a, S: Sink + ReadAt> Update<'a, S> {
    /// An image in blocks of `block_bytes` over what `sink` holds in `image`, and with `sync` on stable storage
    /// in the order in which it is written.
    ///
    /// # Errors
    /// Where the superblock cannot be read.
    pub(crate) fn new(
        sink: &'a S,
        image: &ImageRange,
        block_bytes: u64,
        sync: bool,
    ) -> io::Result<Self> {
        let mut old_superblock = [0; SUPERBLOCK];
        sink.read_at(image.superblock().start, &mut old_superblock)?;
        Ok(Self {
            sink,
            image: image.bytes(),
            block_bytes,
            tables: Tables::default(),
            old_superblock,
            sync,
            is_begun: AtomicBool::new(false),
            begins: Mutex::default(),
            blocks_written: AtomicU64::new(0),
            changed: Mutex::default(),
        })
    }

    /// The same, which notes differences in `tables` by less than a block.
    pub(crate) fn with_tables(mut self, tables: Tables) -> Self {
        self.tables = tables;
        self
    }

    /// How many blocks were written or cleared.
    pub(crate) fn blocks_written(&self) -> u64 {
        self.blocks_written.load(Ordering::Relaxed)
    }

    /// Whether any of `range` of the image's bytes differs from what was there.
    pub(crate) fn has_changed(&self, range: Range<u64>) -> bool {
        self.changed().meets(range)
    }

    /// Makes what is there no filesystem, unless that was done.
    ///
    /// # Errors
    /// Where the storage fails.
    pub(crate) fn begin(&self) -> io::Result<()> {
        if self.is_begun.load(Ordering::Acquire) {
            return Ok(());
        }
        let _begins = self.begins.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_begun.load(Ordering::Acquire) {
            return Ok(());
        }
        self.take_superblock()?;
        self.is_begun.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes what is no superblock in the place of one, in one go.
    fn take_superblock(&self) -> io::Result<()> {
        let mut mark = [0; SUPERBLOCK];
        mark[..UNFINISHED.len()].copy_from_slice(UNFINISHED);
        self.sink.write_at(self.superblock().start, &mark)?;
        if self.sync { self.sink.sync() } else { Ok(()) }
    }

    fn superblock(&self) -> Range<u64> {
        let start = self.image.start + SUPERBLOCK_BYTES;
        start..start + SUPERBLOCK_BYTES
    }

    fn is_superblock(&self, range: &Range<u64>) -> bool {
        let place = self.superblock();
        range.start < place.end && place.start < range.end
    }

    /// Writes the superblock, unless it is the one that is there.
    fn write_superblock(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let is_begun = self.is_begun.load(Ordering::Acquire);
        if !is_begun && bytes == self.old_superblock {
            return Ok(());
        }
        self.begin()?;
        self.blocks_written.fetch_add(1, Ordering::Relaxed);
        self.sink.write_at(offset, bytes)
    }

    /// Has `act` take the runs of blocks of `range` in which `differs` says so, of at most [`PIECE_BYTES`].
    ///
    /// What `differs` gets is what is there, and its place in `range`.
    fn each_difference(
        &self,
        range: Range<u64>,
        differs: impl Fn(&[u8], Range<usize>) -> bool,
        act: impl Fn(Range<u64>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut old = vec![0; index(PIECE_BYTES.min(range.end - range.start))];
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + PIECE_BYTES);
            let old = &mut old[..index(end - at)];
            self.sink.read_at(at, old)?;
            let place = |offset: u64| index(offset - range.start);
            if differs(old, place(at)..place(end)) {
                self.each_run(
                    at..end,
                    |block| {
                        let within = index(block.start - at)..index(block.end - at);
                        differs(&old[within], place(block.start)..place(block.end))
                    },
                    &act,
                )?;
            }
            at = end;
        }
        Ok(())
    }

    /// Has `act` take the runs of blocks of `range` for which `is_wanted`.
    fn each_run(
        &self,
        range: Range<u64>,
        is_wanted: impl Fn(&Range<u64>) -> bool,
        act: impl Fn(Range<u64>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut run = range.start..range.start;
        for block in self.blocks(range) {
            if !is_wanted(&block) {
                continue;
            }
            if block.start != run.end && !run.is_empty() {
                act(run.clone())?;
            }
            let start = if block.start == run.end && !run.is_empty() {
                run.start
            } else {
                block.start
            };
            run = start..block.end;
        }
        if run.is_empty() { Ok(()) } else { act(run) }
    }

    /// The blocks of `range`, the first and the last of which may be parts of one.
    fn blocks(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let (first, block_bytes) = (self.image.start, self.block_bytes);
        let mut at = range.start;
        std::iter::from_fn(move || {
            let number = (at - first) / block_bytes;
            let end = range.end.min(first + (number + 1) * block_bytes);
            let block = at..end;
            at = end;
            (!block.is_empty()).then_some(block)
        })
    }

    fn count(&self, run: &Range<u64>) {
        let blocks = (run.end - run.start).div_ceil(self.block_bytes);
        self.blocks_written.fetch_add(blocks, Ordering::Relaxed);
    }

    /// Notes that `run` is to differ, in tables only the units in which `differs` says so.
    fn note(&self, run: &Range<u64>, differs: impl Fn(Range<u64>) -> bool) {
        let image = run.start - self.image.start..run.end - self.image.start;
        let tables = &self.tables.places;
        let at = tables.partition_point(|table| table.end <= image.start);
        let is_table = tables.get(at).is_some_and(|table| table.start < image.end);
        if !is_table {
            self.changed().insert(image);
            return;
        }
        let mut start = image.start;
        while start < image.end {
            let end = image.end.min(start + self.tables.unit.max(1));
            if differs(self.image.start + start..self.image.start + end) {
                self.changed().insert(start..end);
            }
            start = end;
        }
    }

    fn changed(&self) -> MutexGuard<'_, RangeSet> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a run of blocks, as holes where all of them are zero.
    fn write_run(&self, run: Range<u64>, bytes: &[u8]) -> io::Result<()> {
        self.begin()?;
        self.count(&run);
        let part = |range: &Range<u64>| {
            &bytes[index(range.start - run.start)..index(range.end - run.start)]
        };
        self.each_run(
            run.clone(),
            |block| is_zero(part(block)),
            |zeros| self.sink.zero(zeros.start, zeros.end - zeros.start),
        )?;
        self.each_run(
            run.clone(),
            |block| !is_zero(part(block)),
            |data| self.sink.write_at(data.start, part(&data)),
        )
    }

    /// Makes `range` read as zeros; what does so is not written.
    ///
    /// # Errors
    /// Where the storage fails.
    pub(crate) fn clear(&self, range: Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            at = ReadAt::next_data(self.sink, at).unwrap_or(at).max(at);
            let end = range.end.min(at.saturating_add(PIECE_BYTES));
            if at >= end {
                break;
            }
            self.each_difference(
                at..end,
                |old, _| !is_zero(old),
                |run| {
                    self.begin()?;
                    self.count(&run);
                    self.note(&run, |_| true);
                    self.sink.zero(run.start, run.end - run.start)
                },
            )?;
            at = end;
        }
        Ok(())
    }
}

impl<S: Sink + ReadAt> Sink for Update<'_, S> {
    fn size_bytes(&self) -> u64 {
        Sink::size_bytes(self.sink)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = range_within(Sink::size_bytes(self.sink), offset, length_of(bytes))?;
        if self.is_superblock(&range) {
            return self.write_superblock(offset, bytes);
        }
        let differs = |old: &[u8], place: Range<usize>| *old != bytes[place];
        let start = range.start;
        self.each_difference(range, differs, |run| {
            let new = &bytes[index(run.start - start)..index(run.end - start)];
            let mut old = vec![0; new.len()];
            self.sink.read_at(run.start, &mut old)?;
            self.note(&run, |unit| {
                let within = index(unit.start - run.start)..index(unit.end - run.start);
                old[within.clone()] != new[within]
            });
            self.write_run(run.clone(), new)
        })
    }

    /// The place of the superblock is taken once something differs. If that was so, a superblock that could
    /// not be written goes again.
    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let range = range_within(Sink::size_bytes(self.sink), offset, length)?;
        if !self.is_superblock(&range) {
            return self.clear(range);
        }
        if self.is_begun.load(Ordering::Acquire) {
            self.take_superblock()
        } else {
            Ok(())
        }
    }

    /// What is not written is [cleared](Self::clear) by whoever knows it.
    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        range_within(Sink::size_bytes(self.sink), offset, length).map(|_| true)
    }

    fn discard_zeroes(&self) -> bool {
        self.sink.discard_zeroes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.sink.read_at(offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_begun.load(Ordering::Acquire) {
            self.sink.sync()
        } else {
            Ok(())
        }
    }
}
