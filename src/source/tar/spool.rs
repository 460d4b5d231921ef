//! Given bytes that come but once, keeps them in a file without a name while they are read; never in
//! memory, and never longer than the process lives.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::archive::Input;
use crate::sys;

/// How much is taken and kept at once.
const BUFFER: usize = 1 << 17;

/// A reader whose bytes are kept as they are read, at the same places of a file.
#[derive(Debug)]
pub struct Spool<R> {
    reader: R,
    file: File,
    /// How many bytes were kept.
    at: u64,
    buffer: Box<[u8]>,
    /// The bytes of the buffer that were not given yet.
    filled: Range<usize>,
}

impl<R: Read> Spool<R> {
    /// Keeps what `reader` gives in a file without a name in `directory`.
    ///
    /// # Errors
    /// Where there can be no such file.
    pub fn new(reader: R, directory: &Path) -> io::Result<Self> {
        Ok(Self {
            reader,
            file: sys::unnamed_file(directory)?,
            at: 0,
            buffer: vec![0; BUFFER].into(),
            filled: 0..0,
        })
    }

    /// A second handle of the file, in which the bytes that were read can be found.
    ///
    /// # Errors
    /// Where there can be no other handle.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Reads what is left without keeping it, at most `most` bytes, and says whether that was all.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn drain(&mut self, most: u64) -> io::Result<bool> {
        // What was zeros to the end is no part of the file yet.
        self.file.set_len(self.at)?;
        let drained = io::copy(&mut self.reader.by_ref().take(most), &mut io::sink())?;
        Ok(drained < most)
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
        if bytes.iter().all(|byte| *byte == 0) {
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
