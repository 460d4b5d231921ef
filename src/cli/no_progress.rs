//! Given how far a run is where there is no terminal to show it on, shows nothing; never counts either.

use std::io::{self, Read};

use super::request::Request;
use crate::Summary;

/// Standard input, of which nobody asks how much came.
#[cfg(feature = "tar")]
pub(super) struct Counted<R>(pub(super) R);

#[cfg(feature = "tar")]
impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// A line that nobody sees.
#[derive(Clone)]
pub(super) struct Hidden;

impl Hidden {
    pub(super) fn inc(&self, _bytes: u64) {}

    pub(super) fn finish_and_clear(&self) {}
}

/// That sources are read.
pub(super) fn reading(_request: &Request) -> Hidden {
    Hidden
}

/// How far an image is written.
pub(super) fn writing(_request: &Request, _summary: Option<Summary>) -> Hidden {
    Hidden
}
