//! Given the bytes of a virtual disk in ascending order, has a format give each its place in a file, and writes
//! them; never opens, names or removes that file: that is [`Output`](super::Output)'s.
//!
//! A [`Container`] says where pieces go, and what is written around them once they are all there. What makes
//! the file one of its format is written last, so that nothing reads a file that is not finished. Here is
//! what all of them need: zeros are left out, places are taken in order, whatever thread comes first, and
//! bytes are written in any.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::compress::compress;
use super::container::{Compression, Container, Disk};
use super::format::Format;
use super::{Extent, File, Prepared, Sink};
use super::{index, length_of, out_of_order, range_within};
use crate::units::is_zero;

/// A disk in a container in a file, as a sink whose bytes come in order.
pub struct Contained<'a> {
    size_bytes: u64,
    file: &'a File,
    unit_bytes: u64,
    compression: Compression,
    state: Mutex<State>,
}

struct State {
    container: Box<dyn Container>,
    /// Behind the last byte that has its place.
    at: u64,
}

impl fmt::Debug for Contained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contained")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl<'a> Contained<'a> {
    /// `disk` in `file`, which is empty; `None` for a format that is [flat](Format::is_flat).
    pub fn new(format: Format, disk: Disk, file: &'a File) -> Option<Self> {
        let size_bytes = disk.size_bytes();
        let container = format.container(disk)?;
        Some(Self {
            size_bytes,
            file,
            unit_bytes: container.unit_bytes(),
            compression: container.compression(),
            state: Mutex::new(State { container, at: 0 }),
        })
    }

    /// Writes the tables, once all bytes are there. What it gives is what makes the file one of its format.
    ///
    /// With `sync`, all that is written by then is on stable storage afterwards.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn write_tables(self, sync: bool) -> io::Result<Naming<'a>> {
        let file = self.file;
        // What comes last waits until the rest is there, the file's length included.
        let mut last: Option<(u64, Vec<u8>)> = None;
        let mut write = |offset, bytes: &[u8]| match last.replace((offset, bytes.to_vec())) {
            Some((offset, bytes)) => file.write_new(offset, &bytes),
            None => Ok(()),
        };
        let length = self.state().container.finish(&mut write)?;
        file.set_length(length)?;
        if sync {
            file.sync()?;
        }
        Ok(Naming { file, last, sync })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The extents in pieces that lie in one unit each, but for those of zeros.
    fn pieces(&self, extents: &[Extent<'_>]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (extent, number) in extents.iter().zip(0..) {
            let mut start = 0;
            while start < extent.bytes.len() {
                let offset = extent.offset + length_of(&extent.bytes[..start]);
                let room = index(self.unit_bytes - offset % self.unit_bytes);
                let end = extent.bytes.len().min(start.saturating_add(room));
                if !is_zero(&extent.bytes[start..end]) {
                    pieces.push(Piece {
                        offset,
                        bytes: Bytes::Of(number, start..end),
                        place: None,
                    });
                }
                start = end;
            }
        }
        pieces
    }

    /// The same, but for those units that are shorter once they are compressed.
    fn compressed(&self, extents: &[Extent<'_>]) -> Vec<Piece> {
        let pieces = self.pieces(extents);
        let unit_of = |piece: &Piece| piece.offset / self.unit_bytes;
        let mut found = Vec::new();
        for unit in pieces.chunk_by(|one, other| unit_of(one) == unit_of(other)) {
            let offset = unit_of(&unit[0]) * self.unit_bytes;
            let mut bytes = vec![0; index(self.unit_bytes)];
            for piece in unit {
                let at = index(piece.offset - offset);
                let part = piece.bytes.slice(extents);
                bytes[at..at + part.len()].copy_from_slice(part);
            }
            match compress(self.compression, &bytes) {
                Some(compressed) => found.push(Piece {
                    offset,
                    bytes: Bytes::Compressed(compressed),
                    place: None,
                }),
                None => found.extend_from_slice(unit),
            }
        }
        found
    }
}

/// What names the format, which is still to be written.
#[must_use = "without it the file is of no format"]
#[derive(Debug)]
pub struct Naming<'a> {
    file: &'a File,
    last: Option<(u64, Vec<u8>)>,
    sync: bool,
}

impl Naming<'_> {
    /// Writes it: the file is finished.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn finish(self) -> io::Result<()> {
        if let Some((offset, bytes)) = &self.last {
            self.file.write_new(*offset, bytes)?;
        }
        if self.sync {
            self.file.sync()?;
        }
        Ok(())
    }
}

/// Bytes on their way into the file.
#[derive(Clone)]
struct Piece {
    offset: u64,
    bytes: Bytes,
    /// Once it is known; none where no bytes of it are written.
    place: Option<u64>,
}

#[derive(Clone)]
enum Bytes {
    /// These of the extent of that number.
    Of(usize, Range<usize>),
    Compressed(Vec<u8>),
}

impl Bytes {
    fn slice<'b>(&'b self, extents: &'b [Extent<'_>]) -> &'b [u8] {
        match self {
            Self::Of(number, range) => &extents[*number].bytes[range.clone()],
            Self::Compressed(bytes) => bytes,
        }
    }

    /// Adds `next` if that follows in the same extent.
    fn join(&mut self, next: &Self) -> bool {
        match (self, next) {
            (Self::Of(one, range), Self::Of(other, behind))
                if one == other && range.end == behind.start =>
            {
                range.end = behind.end;
                true
            }
            _ => false,
        }
    }
}

/// Pieces that are given their places in their turn, and written then.
struct Placing<'b, 'c> {
    sink: &'b Contained<'c>,
    extents: &'b [Extent<'b>],
    pieces: Vec<Piece>,
}

impl Prepared for Placing<'_, '_> {
    fn take_turn(&mut self) -> io::Result<()> {
        let State { container, at } = &mut *self.sink.state();
        let ascends = |extent: &Extent<'_>| {
            let is_behind = extent.offset >= *at;
            *at = extent.offset + length_of(extent.bytes);
            is_behind
        };
        if !self.extents.iter().all(ascends) {
            return Err(out_of_order());
        }
        for piece in &mut self.pieces {
            piece.place = match &piece.bytes {
                Bytes::Compressed(bytes) => {
                    Some(container.place_compressed(piece.offset, length_of(bytes)))
                }
                bytes => container.place(piece.offset, bytes.slice(self.extents)),
            };
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self {
            sink,
            extents,
            pieces,
        } = *self;
        // What stays side by side is written at once.
        let mut runs: Vec<(u64, Bytes)> = Vec::new();
        for piece in pieces {
            let Some(place) = piece.place else { continue };
            if let Some((start, bytes)) = runs.last_mut()
                && *start + length_of(bytes.slice(extents)) == place
                && bytes.join(&piece.bytes)
            {
                continue;
            }
            runs.push((place, piece.bytes));
        }
        runs.iter()
            .try_for_each(|(place, bytes)| sink.file.write_new(*place, bytes.slice(extents)))
    }
}

impl Sink for Contained<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let extents = [Extent::new(offset, bytes)];
        let mut prepared = self.prepare(&extents)?;
        prepared.take_turn()?;
        prepared.finish()
    }

    in_order_from_nothing!();

    fn prepare<'b>(&'b self, extents: &'b [Extent<'b>]) -> io::Result<Box<dyn Prepared + 'b>> {
        for extent in extents {
            range_within(self.size_bytes, extent.offset, length_of(extent.bytes))?;
        }
        let pieces = match self.compression {
            Compression::None => self.pieces(extents),
            _ => self.compressed(extents),
        };
        Ok(Box::new(Placing {
            sink: self,
            extents,
            pieces,
        }))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
