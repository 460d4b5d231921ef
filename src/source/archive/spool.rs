//! Given bytes that come but once, keeps them in a file without a name while they are read; never in
//! memory, and never longer than the process lives.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::input::Input;
use super::stored::{FileUse, StoredFile};
use crate::sys;
use crate::units::is_zero;

/// How much is taken and kept at once.
const BUFFER: usize = 1 << 17;
/// How much may follow an archive's end, which only fills a last record, in bytes.
const MOST_BEHIND: u64 = 1 << 30;

/// A reader whose bytes are kept as they are read, at the same places of a file.
#[derive(Debug)]
pub(in crate::source) struct Spool<R> {
    reader: R,
    file: Arc<File>,
    /// How many bytes were kept.
    at: u64,
    buffer: Box<[u8]>,
    /// The bytes of the buffer that were not given yet.
    filled: Range<usize>,
}

impl<R: Read> Spool<R> {
    /// Keeps what `reader` gives in a file without a name in `directory`, called `name` for people.
    pub(in crate::source) fn new(
        reader: R,
        directory: &Path,
        name: &[u8],
    ) -> io::Result<(Self, Arc<StoredFile>)> {
        let spool = Self {
            reader,
            file: Arc::new(sys::unnamed_file(directory)?),
            at: 0,
            buffer: vec![0; BUFFER].into(),
            filled: 0..0,
        };
        let stored = StoredFile::new(Arc::clone(&spool.file), name, FileUse::Private)?;
        Ok((spool, Arc::new(stored)))
    }

    /// Ends the file behind what was read: what was zeros to the end is no part of it yet.
    pub(in crate::source) fn close(&self) -> io::Result<()> {
        self.file.set_len(self.at)
    }

    /// The same, and reads what is left without keeping it.
    pub(in crate::source) fn drain(&mut self) -> io::Result<()> {
        self.close()?;
        drain(&mut self.reader)
    }

    fn fill(&mut self) -> io::Result<()> {
        let count = loop {
            match self.reader.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => break count?,
            }
        };
        let mut bytes = &self.buffer[..count];
        // Zeros are what a file has where nothing was written.
        if is_zero(bytes) {
            bytes = &[];
        }
        let mut at = self.at;
        while !bytes.is_empty() {
            let written = sys::write_some_at(&self.file, at, bytes).map_err(unkept)?;
            at += u64::try_from(written).unwrap_or(u64::MAX);
            bytes = &bytes[written..];
        }
        self.at += u64::try_from(count).unwrap_or(u64::MAX);
        self.filled = 0..count;
        Ok(())
    }
}

/// Reads what follows an archive's end: a program at the other end of a pipe shall not find it closed, and
/// it tells whether a compressed stream is whole.
pub(in crate::source) fn drain(reader: &mut impl Read) -> io::Result<()> {
    let drained = io::copy(&mut reader.take(MOST_BEHIND), &mut io::sink())?;
    if drained < MOST_BEHIND {
        return Ok(());
    }
    Err(io::Error::other(
        "more than 1 GiB follows the archive's end",
    ))
}

fn unkept(error: io::Error) -> io::Error {
    let reason = sys::reason(&error);
    io::Error::new(
        error.kind(),
        format!("no place to keep it unpacked: {reason}"),
    )
}

impl<R: Read> Read for Spool<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.filled.is_empty() {
            self.fill()?;
        }
        let count = self.filled.len().min(buffer.len());
        let start = self.filled.start;
        buffer[..count].copy_from_slice(&self.buffer[start..start + count]);
        self.filled.start += count;
        Ok(count)
    }
}

impl<R: Read> Input for Spool<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            if self.filled.is_empty() {
                self.fill()?;
            }
            if self.filled.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let held = usize::try_from(left).unwrap_or(usize::MAX);
            let held = held.min(self.filled.len());
            self.filled.start += held;
            left -= u64::try_from(held).unwrap_or(left);
        }
        Ok(())
    }
}
