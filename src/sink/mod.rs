//! Given bytes and their place, keeps them; never knows what they mean.
//!
//! [`ReadAt`] is what only reads. [`File`] keeps them in a regular file or on a block device, whose life [`Output`] guards;
//! [`Memory`] keeps them in this process, [`Checked`] proves how a program writes, and [`Undo`] keeps
//! what was there before.

mod checked;
mod error;
mod file;
mod image;
mod memory;
mod ordered;
mod output;
mod ranges;
mod undo;

use std::io;

pub use crate::sys::Identity;
pub use checked::{Checked, Fault};
pub use error::{OpenError, Refusal};
pub use file::File;
pub use image::{ImageFile, ReadAt};
pub use memory::Memory;
pub use ordered::{Ordered, Piece};
pub use output::{Draft, IfBusy, ImageRange, Output};
pub use undo::{Undo, UndoError, UndoPlace, Undoable};

use error::StorageError;

/// Where an image goes: a file, a block device, memory, or a type of the program's own.
///
/// Offsets are bytes from the sink's first byte. What a sink sees of an image, whatever the number of
/// threads:
///
/// - First the bytes 1024 to 4095 of the image are zeroed, by [`zero`](Self::zero), so that nothing mounts
///   that is not finished. Then, where old content is to be discarded, all of it is
///   [discarded](Self::discard), in steps of [`DISCARD_STEP_BYTES`].
/// - Every other byte is written at most once, or zeroed at most once. What is neither reads as zeros in
///   an image made anew, or does not matter. Nothing is read but the first 512 bytes, and inodes where only
///   superblocks are written.
/// - Several threads write and zero at a time, to places that do not overlap, in ascending order but for
///   the pieces that are with another thread: about 512 KiB for each.
/// - The superblock comes last, and nothing after it but [`sync`](Self::sync), which is called before and
///   after it, and after the first zeroing, where a run waits for stable storage.
/// - Bytes outside of the image are never touched. After an error nothing more is written, but that the
///   place of the superblock is zeroed again if it was the superblock that failed.
///
/// A sink that [is in order](Self::is_in_order) sees all from one thread, in ascending order, the
/// superblock in its place.
///
/// The bytes of an image depend on its options, sources, UUID, hash seed and clock alone, within one
/// version of this crate; another version may place things elsewhere.
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
    /// True if it was told, false if it cannot be: then the bytes are as they were. One call may
    /// take the storage long: whoever wants to be cancelled in time passes [`DISCARD_STEP_BYTES`]
    /// at most.
    ///
    /// # Errors
    /// Where the storage can discard and fails at it.
    fn discard(&self, offset: u64, length: u64) -> io::Result<bool>;

    /// Whether bytes that a [`discard`](Self::discard) took surely read as zeros.
    fn discard_zeroes(&self) -> bool;

    /// Whether bytes have to come in ascending order, each once and from one thread. What is passed over
    /// then reads as zeros. Only an image whose blocks are all decided beforehand can come so.
    fn is_in_order(&self) -> bool {
        false
    }

    /// Reads `buffer` full from `offset`, as the storage is.
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

impl<S: Sink + ?Sized> Sink for &S {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write_at(offset, bytes)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        (**self).zero(offset, length)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        (**self).discard(offset, length)
    }

    fn discard_zeroes(&self) -> bool {
        (**self).discard_zeroes()
    }

    fn is_in_order(&self) -> bool {
        (**self).is_in_order()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }
}

/// How much is discarded at once, 2 GiB (`DISCARD_STEP_MB` of mke2fs).
pub const DISCARD_STEP_BYTES: u64 = 2 << 30;

/// `length` bytes from `offset` on as a range, if a sink of `size_bytes` holds them.
fn range_within(size_bytes: u64, offset: u64, length: u64) -> io::Result<std::ops::Range<u64>> {
    match offset.checked_add(length) {
        Some(end) if end <= size_bytes => Ok(offset..end),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{length} bytes at {offset} are past the end of a sink of {size_bytes} bytes"),
        )),
    }
}

/// The length of `bytes`, for arithmetic on places.
fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a slice's length fits 64 bits")
}

/// A length below one of a slice that exists, as an index.
fn index(length: u64) -> usize {
    usize::try_from(length).expect("a place within a slice fits any usize")
}
