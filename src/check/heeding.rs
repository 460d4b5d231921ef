//! Given an image and a wish to stop, gives its bytes until somebody has that wish; never judges them.

use std::io;

use crate::cancel::{Cancel, Cancelled};
use crate::sink::ReadAt;

/// An image that cannot be read any more once somebody asked to stop: whatever would be read of it is
/// left alone then.
pub(super) struct Heeding<'a> {
    pub(super) image: &'a dyn ReadAt,
    pub(super) cancel: &'a Cancel,
}

impl ReadAt for Heeding<'_> {
    fn size_bytes(&self) -> u64 {
        self.image.size_bytes()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.cancel.check()?;
        self.image.read_exact_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> Option<u64> {
        match self.cancel.check() {
            Ok(()) => self.image.next_data(offset),
            // Where nothing can be read, nothing is worth a look.
            Err(Cancelled) => Some(self.size_bytes()),
        }
    }
}
