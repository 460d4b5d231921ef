//! Given bytes and their place, keeps them; never knows what they mean.

use std::io;

/// Where an image goes: a file, a block device, memory, or a type of the program's own.
///
/// Offsets are bytes from the sink's first byte. Several threads write at once, always to places
/// that do not overlap.
pub trait Sink: Sync {
    /// How many bytes the sink holds; writing past them is an error.
    fn size_bytes(&self) -> u64;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Where the storage fails or is full.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes `length` bytes from `offset` on read as zeros, as cheaply as the storage can.
    ///
    /// # Errors
    /// Where the storage fails or is full.
    fn zero(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Tells the storage that `length` bytes from `offset` on are no longer needed.
    ///
    /// Storage that cannot discard does nothing.
    ///
    /// # Errors
    /// Where the storage can discard and fails at it.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Whether discarded bytes surely read as zeros.
    fn discard_zeroes(&self) -> bool;

    /// Reads `buffer` full from `offset`, as the storage was before.
    ///
    /// # Errors
    /// Where the storage fails or cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Waits until all that was written is on stable storage.
    ///
    /// # Errors
    /// Where the storage fails.
    fn sync(&self) -> io::Result<()>;
}
