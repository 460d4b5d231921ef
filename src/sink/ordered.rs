//! Given an image in the order of its bytes, hands it on piece by piece; never keeps any of it.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::{Sink, length_of, out_of_order, range_within};

/// A piece of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These bytes come next.
    Data(&'a [u8]),
    /// So many zeros come next.
    Hole(u64),
}

/// A sink that hands on what is written to it from the first byte to the last, and what is not as holes: by
/// whichever thread writes, never two at the same time.
///
/// ```
/// use mke4fs::sink::{Ordered, Piece};
///
/// let plan = mke4fs::Builder::new().size_bytes(8 << 20).plan()?;
/// let mut bytes = 0;
/// let sink = Ordered::new(plan.size_bytes(), |piece| {
///     bytes += match piece {
///         Piece::Data(data) => data.len() as u64,
///         Piece::Hole(length) => length,
///     };
///     Ok(())
/// });
/// plan.write_to(&sink)?;
/// sink.finish()?;
/// assert_eq!(bytes, 8 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ordered<F> {
    size_bytes: u64,
    state: Mutex<State<F>>,
}

struct State<F> {
    take: F,
    /// The byte that comes next.
    at: u64,
}

impl<F> fmt::Debug for Ordered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ordered")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(Piece<'_>) -> io::Result<()> + Send> Ordered<F> {
    /// A sink of `size_bytes` that hands on to `take`.
    pub fn new(size_bytes: u64, take: F) -> Self {
        let state = Mutex::new(State { take, at: 0 });
        Self { size_bytes, state }
    }

    /// Hands on what is left, which is a hole.
    ///
    /// # Errors
    /// Where whoever takes the pieces fails.
    pub fn finish(self) -> io::Result<()> {
        let mut state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        state.pass(self.size_bytes)
    }
}

impl<F: FnMut(Piece<'_>) -> io::Result<()>> State<F> {
    fn pass(&mut self, to: u64) -> io::Result<()> {
        match to.checked_sub(self.at) {
            None => Err(out_of_order()),
            Some(0) => Ok(()),
            Some(length) => {
                self.at = to;
                (self.take)(Piece::Hole(length))
            }
        }
    }
}

impl<F: FnMut(Piece<'_>) -> io::Result<()> + Send> Sink for Ordered<F> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = range_within(self.size_bytes, offset, length_of(bytes))?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pass(offset)?;
        state.at = range.end;
        (state.take)(Piece::Data(bytes))
    }

    in_order_from_nothing!();

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
