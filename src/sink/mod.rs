//! Given bytes and their place, keeps them; never knows what they mean.
//!
//! [`ReadAt`] is what only reads. [`File`] keeps them in a regular file or on a block device, whose life
//! [`Output`] guards; [`Memory`] keeps them in this process, [`Checked`] proves how a program writes, and
//! [`Undo`] keeps what was there before, while an update writes only what differs from it. [`Contained`]
//! is a disk in a [`Format`] with tables of its own, [`Stream`] hands bytes on in their order, and
//! [`Verity`] hashes them on their way.

/// What a sink answers that takes its bytes in order, and in which nothing was before. It has a field
/// `size_bytes`.
macro_rules! in_order_from_nothing {
    () => {
        fn is_in_order(&self) -> bool {
            true
        }

        /// What is not written reads as zeros.
        fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
            range_within(self.size_bytes, offset, length).map(drop)
        }

        fn discard(&self, _offset: u64, _length: u64) -> io::Result<bool> {
            Ok(true)
        }

        fn discard_zeroes(&self) -> bool {
            true
        }

        /// What was there before: nothing.
        fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            buffer.fill(0);
            Ok(())
        }
    };
}

mod android_sparse;
mod based;
mod bmap;
mod checked;
mod compress;
mod contained;
mod container;
mod error;
mod file;
mod format;
mod image;
#[cfg(feature = "cli")]
mod inside;
mod memory;
mod ordered;
mod output;
mod qcow2;
mod ranges;
mod stream;
mod undo;
mod update;
mod verity;
mod vhd;
mod vhdx;

use std::fs;
use std::io;
use std::ops::Range;

pub use crate::sys::Identity;
pub(crate) use based::{Based, OldImage};
pub use bmap::bmap;
pub use checked::{Checked, InjectedFault};
pub use contained::{Contained, Naming};
pub use container::{Compression, Disk};
pub use error::{OpenError, OpenErrorKind};
pub use file::File;
#[cfg(feature = "cli")]
pub(crate) use file::UNFINISHED;
pub use format::{Format, FormatError};
pub use image::{ImageFile, ReadAt};
pub use memory::Memory;
pub use ordered::{Ordered, Piece};
pub use output::{IfBusy, ImageRange, Output, UnfinishedOutput};
pub use stream::Stream;
pub use undo::{Undo, UndoError, UndoPlace, Undoable};
pub(crate) use update::{Tables, Update};
pub use verity::{VERITY_BLOCK_BYTES, Verity, VerityOptions, VerityTree, verity_bytes};

use error::StorageError;

/// Where an image goes: a file, a block device, memory, or a type of the program's own.
///
/// Offsets are bytes from the sink's first byte. What a sink sees of an image, whatever the number of
/// threads:
///
/// - First the bytes 1024 to 4095 of the image are zeroed, by [`zero`](Self::zero), so that nothing mounts
///   that is not finished. Then, where old content is to be discarded, all of it is
///   [discarded](Self::discard), in steps of [`DISCARD_STEP_BYTES`], the last first.
/// - Every other byte is written or [shared](Self::share) at most once, or zeroed at most once. What is
///   neither reads as zeros in an image made anew, or does not matter. Nothing is read but the first 512 bytes, and inodes where only
///   superblocks are written.
/// - Several threads write and zero at a time, to places that do not overlap, in ascending order but for
///   the pieces that are with another thread: about 512 KiB for each. A sink that
///   [takes one at a time](Self::takes_one_at_a_time) is written to by one of them, whichever that is.
/// - The superblock comes last, and nothing after it but [`sync`](Self::sync), which is called before and
///   after it, and after the first zeroing, where a run waits for stable storage.
/// - Bytes outside of the image are never touched. After an error nothing more is written but the few pieces that
///   threads hold already, and the place of the superblock is zeroed again if it was the superblock that failed.
///
/// A sink that [is in order](Self::is_in_order) gets all but what is zeroed and discarded by
/// [`prepare`](Self::prepare), the superblock in its place.
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

    /// Whether bytes have to come in ascending order, each once. What is passed over then reads as zeros.
    /// Only an image whose blocks are all decided beforehand can come so.
    fn is_in_order(&self) -> bool {
        false
    }

    /// Whether writes wait for each other, as those to a regular file do. One thread then writes what the others
    /// rendered; else each writes its own.
    fn takes_one_at_a_time(&self) -> bool {
        false
    }

    /// Takes pieces of an image that comes in order: what needs no order is done here, by several threads
    /// at once, and the rest by what this gives.
    ///
    /// The pieces ascend, and lie behind all those whose turn comes before. A span of [`WINDOW_BYTES`] of
    /// the sink, which begins at a multiple of that, is never in two calls.
    ///
    /// # Errors
    /// Where the storage fails.
    fn prepare<'b>(&'b self, extents: &'b [Extent<'b>]) -> io::Result<Box<dyn Prepared + 'b>> {
        let write = move || {
            let mut extents = extents.iter();
            extents.try_for_each(|extent| self.write_at(extent.offset, extent.bytes))
        };
        Ok(Box::new(InTurn(Some(write))))
    }

    /// The unit of bytes that files can share with this sink, a power of two; `None` where they cannot.
    fn share_unit(&self) -> Option<u64> {
        None
    }

    /// Makes what is at `offset` the bytes `range` of `file`, without copying them. Places and lengths are
    /// multiples of [`share_unit`](Self::share_unit).
    ///
    /// # Errors
    /// Where `file` cannot share them. What the sink has there is not defined then.
    fn share(&self, _offset: u64, _file: &fs::File, _range: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The parts of `range` that may read as something else than zeros.
    fn unknown(&self, range: Range<u64>) -> Vec<Range<u64>> {
        vec![range]
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

/// Bytes at a place in a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent<'a> {
    /// Where they begin, in bytes from the sink's first.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Extent<'a> {
    /// `bytes` at `offset`.
    pub fn new(offset: u64, bytes: &'a [u8]) -> Self {
        Self { offset, bytes }
    }
}

/// Pieces of an image on their way into a sink that [is in order](Sink::is_in_order).
pub trait Prepared {
    /// Does what has to be done in order. One thread at a time calls it, in the order of the pieces.
    ///
    /// # Errors
    /// Where the storage fails.
    fn take_turn(&mut self) -> io::Result<()>;

    /// Does the rest, which has no order. It is called after [`take_turn`](Self::take_turn).
    ///
    /// # Errors
    /// Where the storage fails.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// All is done in order.
struct InTurn<F>(Option<F>);

impl<F: FnOnce() -> io::Result<()>> Prepared for InTurn<F> {
    fn take_turn(&mut self) -> io::Result<()> {
        self.0.take().map_or(Ok(()), |write| write())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
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

    fn takes_one_at_a_time(&self) -> bool {
        (**self).takes_one_at_a_time()
    }

    fn prepare<'b>(&'b self, extents: &'b [Extent<'b>]) -> io::Result<Box<dyn Prepared + 'b>> {
        (**self).prepare(extents)
    }

    fn share_unit(&self) -> Option<u64> {
        (**self).share_unit()
    }

    fn share(&self, offset: u64, file: &fs::File, range: Range<u64>) -> io::Result<()> {
        (**self).share(offset, file, range)
    }

    fn unknown(&self, range: Range<u64>) -> Vec<Range<u64>> {
        (**self).unknown(range)
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

/// From this number of contiguous bytes on it is faster to share them than to copy them, 64 KiB: a call takes
/// 12 µs on btrfs and on XFS whatever the length, and to copy 32 KiB takes as long.
pub(crate) const SHARE_LEAST_BYTES: u64 = 64 << 10;

/// No two calls of [`Sink::prepare`] have bytes of one such span: 64 KiB.
pub const WINDOW_BYTES: u64 = 64 << 10;

fn out_of_order() -> io::Error {
    io::Error::other("a file that can be read only in order lies in pieces that are not")
}

/// `length` bytes from `offset` on as a range, if a sink of `size_bytes` holds them.
fn range_within(size_bytes: u64, offset: u64, length: u64) -> io::Result<Range<u64>> {
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
