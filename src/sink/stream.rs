//! Given an image in the order of its bytes, writes it to something that only goes forward; never keeps
//! any of it.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use super::{Sink, index, length_of, out_of_order, range_within};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A sink that writes every byte once and from the first on, those that nobody wrote as zeros.
///
/// ```
/// use mke4fs::sink::Stream;
///
/// let plan = mke4fs::Builder::new().size_bytes(8 << 20).plan()?;
/// let stream = Stream::new(plan.size_bytes(), Vec::new());
/// plan.write_to(&stream)?;
/// assert_eq!(stream.finish()?.len(), 8 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stream<W> {
    size_bytes: u64,
    state: Mutex<State<W>>,
}

struct State<W> {
    writer: W,
    /// The byte that comes next.
    at: u64,
}

impl<W> fmt::Debug for Stream<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl<W: Write + Send> Stream<W> {
    /// A sink of `size_bytes` that writes to `writer`.
    pub fn new(size_bytes: u64, writer: W) -> Self {
        let state = Mutex::new(State { writer, at: 0 });
        Self { size_bytes, state }
    }

    /// Writes what is left, which is zeros, and gives the writer back.
    ///
    /// # Errors
    /// Where the writer fails.
    pub fn finish(self) -> io::Result<W> {
        let state = self.state.into_inner();
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.pass(self.size_bytes)?;
        state.writer.flush()?;
        Ok(state.writer)
    }
}

impl<W: Write> State<W> {
    fn pass(&mut self, to: u64) -> io::Result<()> {
        let Some(mut zeros) = to.checked_sub(self.at) else {
            return Err(out_of_order());
        };
        self.at = to;
        while zeros > 0 {
            let some = zeros.min(length_of(&ZEROS));
            self.writer.write_all(&ZEROS[..index(some)])?;
            zeros -= some;
        }
        Ok(())
    }
}

impl<W: Write + Send> Sink for Stream<W> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = range_within(self.size_bytes, offset, length_of(bytes))?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pass(offset)?;
        state.at = range.end;
        state.writer.write_all(bytes)
    }

    in_order_from_nothing!();

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
