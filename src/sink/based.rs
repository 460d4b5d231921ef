//! Given an image that another is based on, has the other share what both hold at the same place; never a byte that
//! differs, and never anything of an image that changes meanwhile.
//!
//! What is written is compared with the old image, and long runs of equal blocks of the storage are shared instead.
//! So the bytes are the same as without, and nothing of the old image shows where nothing is written.

use std::fs::{self, Metadata};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ImageFile, ReadAt, SHARE_LEAST_BYTES, Sink, index, length_of};

/// How much of the old image is read at once, unless the storage shares by more.
const PIECE_BYTES: u64 = 64 << 10;

/// Where in an image the primary superblock begins, which is written last.
const SUPERBLOCK: u64 = 1024;

/// Where an image is: in which file, and at which byte of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OldImage<'a> {
    pub(crate) file: &'a ImageFile,
    pub(crate) start: u64,
}

/// A sink on the storage of an old image, which holds much of what is written.
pub(crate) struct Based<'a> {
    sink: &'a dyn Sink,
    /// Where the image begins in the sink.
    start: u64,
    old: OldImage<'a>,
    /// What the system said of the old image at first.
    before: Metadata,
    unit: u64,
    /// Whether the storage has not refused yet.
    shares: AtomicBool,
}

impl<'a> Based<'a> {
    /// An image at the byte `start` of `sink`, which shares what `old` holds at the same place; none where the
    /// storage cannot.
    ///
    /// # Errors
    /// Where the system says nothing of the old image.
    pub(crate) fn new(
        sink: &'a dyn Sink,
        start: u64,
        old: OldImage<'a>,
    ) -> io::Result<Option<Self>> {
        let is_even = |unit: &u64| start.abs_diff(old.start).is_multiple_of(*unit);
        let Some(unit) = sink.share_unit().filter(is_even) else {
            return Ok(None);
        };
        Ok(Some(Self {
            sink,
            start,
            old,
            before: old.file.metadata()?,
            unit,
            shares: AtomicBool::new(true),
        }))
    }

    /// Where the old image has what is at `offset` here.
    fn old_place(&self, offset: u64) -> Option<u64> {
        let within = offset.checked_sub(self.start)?;
        self.old.start.checked_add(within)
    }

    /// The runs of whole units of `bytes`, which go to `offset`, that the old image has at the same place and
    /// that are long enough, counted from `offset`.
    fn equal_runs(&self, offset: u64, bytes: &[u8]) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        let unit = self.unit;
        let piece = PIECE_BYTES.next_multiple_of(unit);
        let mut buffer = vec![0; index(piece)];
        let mut at = offset.next_multiple_of(unit) - offset;
        while at + unit <= length_of(bytes) {
            let length = (length_of(bytes) - at).min(piece) / unit * unit;
            let (old, new) = (&mut buffer[..index(length)], &bytes[index(at)..]);
            let place = self.old_place(offset + at);
            // What cannot be read, such as what lies behind its end, is not the same.
            if place.is_none_or(|place| self.old.file.read_exact_at(place, old).is_err()) {
                break;
            }
            let units = old.chunks_exact(index(unit));
            for (old, new) in units.zip(new.chunks_exact(index(unit))) {
                match runs.last_mut() {
                    _ if old != new => {}
                    Some(last) if last.end == at => last.end += unit,
                    _ => runs.push(at..at + unit),
                }
                at += unit;
            }
        }
        runs.retain(|run| run.end - run.start >= SHARE_LEAST_BYTES);
        runs
    }

    /// Shares a run of bytes at `offset`; false where the storage refuses.
    fn share_old(&self, offset: u64, length: u64) -> bool {
        let Some(place) = self.old_place(offset) else {
            return false;
        };
        let old = place..place.saturating_add(length);
        let shared = self.sink.share(offset, self.old.file.handle(), old);
        shared.is_ok() || {
            self.shares.store(false, Ordering::Relaxed);
            false
        }
    }

    /// Refuses an old image to which somebody wrote.
    fn check_unchanged(&self) -> io::Result<()> {
        let now = self.old.file.metadata()?;
        let times = |metadata: &Metadata| metadata.modified().ok();
        if times(&now) == times(&self.before) && now.len() == self.before.len() {
            return Ok(());
        }
        let text = "the image that this one is based on changed while it was read";
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

impl Sink for Based<'_> {
    fn size_bytes(&self) -> u64 {
        self.sink.size_bytes()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset == self.start.saturating_add(SUPERBLOCK) {
            self.check_unchanged()?;
        }
        if length_of(bytes) < SHARE_LEAST_BYTES || !self.shares.load(Ordering::Relaxed) {
            return self.sink.write_at(offset, bytes);
        }
        let mut written = 0;
        let mut write_to = |end: u64, next: u64| {
            let rest = &bytes[index(written)..index(end)];
            let place = offset + written;
            written = next;
            if rest.is_empty() {
                Ok(())
            } else {
                self.sink.write_at(place, rest)
            }
        };
        for run in self.equal_runs(offset, bytes) {
            if self.share_old(offset + run.start, run.end - run.start) {
                write_to(run.start, run.end)?;
            }
        }
        write_to(length_of(bytes), length_of(bytes))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.sink.zero(offset, length)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.sink.discard(offset, length)
    }

    fn discard_zeroes(&self) -> bool {
        self.sink.discard_zeroes()
    }

    fn share_unit(&self) -> Option<u64> {
        self.sink.share_unit()
    }

    fn share(&self, offset: u64, file: &fs::File, range: Range<u64>) -> io::Result<()> {
        self.sink.share(offset, file, range)
    }

    fn unknown(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.sink.unknown(range)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.sink.read_at(offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        self.sink.sync()
    }
}
