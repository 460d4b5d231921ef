//! Given contents as they arrive and their places, writes them there; never chooses a place.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Scope};

use super::batch::BATCH_BYTES;
use super::{EmitError, Out, Writing};
use crate::layout::placed_pieces;
use crate::tree::Content;
use crate::units::Run;

/// How much is read before the next look whether the caller wants to stop.
const STEP_BYTES: usize = 1 << 18;

/// Writes file data to its places. Neighbours gather, and are written at once; by a thread of its own
/// where there may be two, so that more can be read meanwhile.
pub struct DataWriter<'a> {
    out: &'a Out<'a>,
    writing: &'a Writing<'a>,
    gathered: Batch,
    writer: Option<Writer>,
}

/// Neighbouring bytes.
#[derive(Default)]
struct Batch {
    /// Where they go, in bytes from the image's first.
    offset: u64,
    bytes: Vec<u8>,
}

/// How many batches wait for the writer, or are being written, before the next must wait.
const MOST_WAITING: usize = 2;

/// The other side of the thread that writes. It ends with its first error, or with this.
struct Writer {
    full: Sender<Batch>,
    /// The batches that were written, for their room.
    done: Receiver<thread::Result<Result<Batch, EmitError>>>,
    waiting: usize,
}

impl Writer {
    /// Starts the thread; none where the system has no more.
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        out: &'scope Out<'scope>,
        writing: &'scope Writing<'scope>,
    ) -> Option<Self> {
        let (full, batches) = channel::<Batch>();
        let (empty, done) = channel();
        let work = move || {
            for batch in batches {
                // A sink that panics does so where the batch is waited for: here nobody would learn why.
                let written = catch_unwind(AssertUnwindSafe(|| batch.write(out, writing)));
                let failed = !matches!(written, Ok(Ok(())));
                let written = written.map(|written| written.map(|()| batch));
                if empty.send(written).is_err() || failed {
                    return;
                }
            }
        };
        let builder = thread::Builder::new().name("writer".into());
        builder.spawn_scoped(scope, work).ok()?;
        Some(Self {
            full,
            done,
            waiting: 0,
        })
    }

    /// Hands `batch` over, and gives the room of another.
    fn write(&mut self, batch: Batch) -> Result<Batch, EmitError> {
        // Where nobody takes it, the reason waits among what is done.
        if self.full.send(batch).is_ok() {
            self.waiting += 1;
        }
        if self.waiting > MOST_WAITING {
            self.wait()
        } else {
            Ok(Batch::default())
        }
    }

    /// Waits for the batch that was handed over first.
    fn wait(&mut self) -> Result<Batch, EmitError> {
        self.waiting -= 1;
        let written = self.done.recv();
        let written = written.expect("the thread tells of each batch until its first error");
        written.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Waits for all of them.
    fn finish(&mut self) -> Result<(), EmitError> {
        while self.waiting > 0 {
            self.wait()?;
        }
        Ok(())
    }
}

impl Batch {
    fn write(&self, out: &Out<'_>, writing: &Writing<'_>) -> Result<(), EmitError> {
        out.write(self.offset, &self.bytes)?;
        let written = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        (writing.progress)(written);
        Ok(())
    }
}

impl fmt::Debug for DataWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gathered = self.gathered.bytes.len();
        f.debug_struct("DataWriter")
            .field("offset", &self.gathered.offset)
            .field("gathered", &gathered)
            .finish_non_exhaustive()
    }
}

/// Why the data of a file did not get to its place.
#[derive(Debug)]
pub enum DataWriteError {
    /// It cannot be read.
    Read(io::Error),
    /// It cannot be written.
    Write(EmitError),
}

impl From<EmitError> for DataWriteError {
    fn from(error: EmitError) -> Self {
        Self::Write(error)
    }
}

impl<'a> DataWriter<'a> {
    pub(super) fn new(
        scope: &'a Scope<'a, '_>,
        out: &'a Out<'a>,
        writing: &'a Writing<'a>,
    ) -> Self {
        let writer = match writing.threads.get() {
            1 => None,
            _ => Writer::start(scope, out, writing),
        };
        Self {
            out,
            writing,
            gathered: Batch::default(),
            writer,
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
    ) -> Result<(), DataWriteError> {
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

    /// Says whether to go on.
    ///
    /// # Errors
    /// Where the caller cancels.
    pub fn check(&self) -> io::Result<()> {
        if self.writing.cancel.load(Ordering::Relaxed) {
            return Err(io::Error::other(EmitError::Cancelled));
        }
        Ok(())
    }

    /// Writes what has gathered, and waits until all is written.
    ///
    /// # Errors
    /// Where the sink fails.
    pub fn finish(mut self) -> Result<(), EmitError> {
        self.hand_over()?;
        match &mut self.writer {
            Some(writer) => writer.finish(),
            None => Ok(()),
        }
    }

    /// Writes what has gathered, or has it written.
    fn hand_over(&mut self) -> Result<(), EmitError> {
        if self.gathered.bytes.is_empty() {
            return Ok(());
        }
        match &mut self.writer {
            Some(writer) => self.gathered = writer.write(std::mem::take(&mut self.gathered))?,
            None => self.gathered.write(self.out, self.writing)?,
        }
        self.gathered.bytes.clear();
        Ok(())
    }

    /// How many more bytes may gather, once what gathered is what lies before `place`.
    fn room(&mut self, place: u64) -> Result<u64, EmitError> {
        let gathered = u64::try_from(self.gathered.bytes.len()).unwrap_or(u64::MAX);
        if self.gathered.offset + gathered != place || gathered >= BATCH_BYTES {
            self.hand_over()?;
            self.gathered.offset = place;
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
    ) -> Result<(), DataWriteError> {
        let place = |at: u64| usize::try_from(at - within.start).expect("within a batch");
        let gathered = &mut self.gathered.bytes;
        let before = gathered.len();
        gathered.resize(before + place(within.end), 0);
        for data in content.data_in(within.clone()) {
            let wanted = before + place(data.start)..before + place(data.end);
            for step in gathered[wanted].chunks_mut(STEP_BYTES) {
                if self.writing.cancel.load(Ordering::Relaxed) {
                    return Err(EmitError::Cancelled.into());
                }
                source.read_exact(step).map_err(DataWriteError::Read)?;
            }
        }
        Ok(())
    }
}
