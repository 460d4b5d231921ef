//! Given contents as they arrive and their places, writes them there; never chooses a place.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::batch::BATCH_BYTES;
use super::{EmitError, Out, Writing};
use crate::layout::placed_pieces;
use crate::tree::Content;
use crate::units::Run;

/// How much is read before the next look whether the caller wants to stop.
const STEP_BYTES: usize = 1 << 16;

/// Writes contents to their places. Neighbours gather, and are written at once.
pub struct Arriving<'a> {
    out: &'a Out<'a>,
    writing: &'a Writing<'a>,
    /// Where what gathered goes, in bytes from the image's first.
    offset: u64,
    bytes: Vec<u8>,
}

impl fmt::Debug for Arriving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gathered = self.bytes.len();
        f.debug_struct("Arriving")
            .field("offset", &self.offset)
            .field("gathered", &gathered)
            .finish_non_exhaustive()
    }
}

/// Why a content did not get to its place.
#[derive(Debug)]
pub enum ArrivalError {
    /// It cannot be read.
    Read(io::Error),
    /// It cannot be written.
    Write(EmitError),
}

impl From<EmitError> for ArrivalError {
    fn from(error: EmitError) -> Self {
        Self::Write(error)
    }
}

impl<'a> Arriving<'a> {
    pub(super) fn new(out: &'a Out<'a>, writing: &'a Writing<'a>) -> Self {
        Self {
            out,
            writing,
            offset: 0,
            bytes: Vec::new(),
        }
    }

    /// Writes `content` to `runs`, the places of its blocks. `source` gives its data, one range after
    /// the other, and nothing between them.
    ///
    /// # Errors
    /// Where `source` fails or ends early, the sink fails, or the caller cancels.
    pub fn write(
        &mut self,
        content: &Content,
        runs: &[Run],
        source: &mut dyn Read,
    ) -> Result<(), ArrivalError> {
        let block_bytes = self.out.block_size.bytes_u64();
        for (at, run) in placed_pieces(content, runs, self.out.block_size) {
            let mut start = u64::from(at.get()) * block_bytes;
            let mut place = self.out.offset(run.start);
            let end = start + run.len * block_bytes;
            while start < end {
                let room = self.room(place)?;
                let next = end.min(start + room);
                self.read(content, start..next, source)?;
                place += next - start;
                start = next;
            }
        }
        Ok(())
    }

    /// Writes what has gathered.
    ///
    /// # Errors
    /// Where the sink fails.
    pub fn flush(&mut self) -> Result<(), EmitError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        self.out.write(self.offset, &self.bytes)?;
        let written = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        (self.writing.progress)(written);
        self.bytes.clear();
        Ok(())
    }

    /// How many more bytes may gather, once what gathered is what lies before `place`.
    fn room(&mut self, place: u64) -> Result<u64, EmitError> {
        let gathered = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        if self.offset + gathered != place || gathered >= BATCH_BYTES {
            self.flush()?;
            self.offset = place;
            return Ok(BATCH_BYTES);
        }
        Ok(BATCH_BYTES - gathered)
    }

    /// Gathers the bytes of `content` in `within`. What is no data there is zeros.
    fn read(
        &mut self,
        content: &Content,
        within: Range<u64>,
        source: &mut dyn Read,
    ) -> Result<(), ArrivalError> {
        let place = |at: u64| usize::try_from(at - within.start).expect("within a batch");
        let before = self.bytes.len();
        self.bytes.resize(before + place(within.end), 0);
        for data in content.data_in(within.clone()) {
            let wanted = before + place(data.start)..before + place(data.end);
            for step in self.bytes[wanted].chunks_mut(STEP_BYTES) {
                if self.writing.cancel.load(Ordering::Relaxed) {
                    return Err(EmitError::Cancelled.into());
                }
                source.read_exact(step).map_err(ArrivalError::Read)?;
            }
        }
        Ok(())
    }
}
