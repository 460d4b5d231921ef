//! Given a file that holds an archive uncompressed, reads ranges of it; never the archive's form.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::entry::Stored;
use super::input::Input;
use crate::source::{Readable, is_unchanged};
use crate::sys;
use crate::tree::{Access, Content, ContentKey, ContentReader, ContentSource, DataMap};

/// The bit of a key that says that the rest is the number of a map; else it is the place of a file
/// that has no holes.
const HAS_HOLES: ContentKey = 1 << 63;

/// How much is read at once.
const BUFFER: usize = 1 << 16;

/// Where each range of a file's data begins, in the file and in the archive.
type Starts = Arc<[(u64, u64)]>;

/// A file that holds an uncompressed archive, and the contents in it.
#[derive(Debug)]
pub(in crate::source) struct StoredFile {
    file: Arc<File>,
    /// For people.
    name: Vec<u8>,
    /// What it was at first, of a file that others may change.
    before: Option<Metadata>,
    /// Of every file with holes.
    maps: Mutex<Vec<Starts>>,
}

/// How an archive's file may be found later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum FileUse {
    /// Others may write to it.
    Shared,
    /// It has no name.
    Private,
}

impl StoredFile {
    /// The archive in `file`, called `name` for people.
    ///
    /// # Errors
    /// Where the file does not say how long it is.
    pub(in crate::source) fn new(
        file: Arc<File>,
        name: impl Into<Vec<u8>>,
        held: FileUse,
    ) -> io::Result<Self> {
        let before = match held {
            FileUse::Shared => Some(file.metadata()?),
            FileUse::Private => None,
        };
        Ok(Self {
            file,
            name: name.into(),
            before,
            maps: Mutex::default(),
        })
    }

    /// The file itself.
    #[cfg(feature = "oci")]
    pub(in crate::source) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// The content that is stored at a place of the archive.
    pub(in crate::source) fn content(self: &Arc<Self>, stored: Stored) -> Content {
        let key = match &stored.data {
            DataMap::Whole => stored.place.start,
            DataMap::Ranges(ranges) => {
                let mut place = stored.place.start;
                let starts = ranges.iter().map(|range| {
                    let start = place;
                    place += range.end - range.start;
                    (range.start, start)
                });
                let starts = starts.collect();
                let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
                maps.push(starts);
                HAS_HOLES | u64::try_from(maps.len() - 1).unwrap_or(!HAS_HOLES)
            }
        };
        Content {
            size_bytes: stored.size_bytes,
            data: stored.data,
            source: self.clone(),
            key,
        }
    }

    /// The archive's bytes from the first on.
    pub(in crate::source) fn input(self: &Arc<Self>) -> io::Result<FileInput> {
        Ok(FileInput {
            size: self.file.metadata()?.len(),
            stored: self.clone(),
            at: 0,
            buffer: vec![0; BUFFER].into(),
            filled: 0..0,
        })
    }
}

impl ContentSource for StoredFile {
    fn access(&self, _key: ContentKey) -> Access {
        Access::Anywhere
    }

    fn lies_in(&self, _key: ContentKey, file: &File) -> bool {
        sys::are_one_file(&self.file, file)
    }

    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        let map = match key & HAS_HOLES {
            0 => [(0, key)].into(),
            _ => {
                let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
                let map = usize::try_from(key & !HAS_HOLES).ok();
                let map = map.and_then(|number| maps.get(number));
                map.ok_or(io::ErrorKind::NotFound)?.clone()
            }
        };
        Ok(Box::new(Reader { stored: self, map }))
    }

    fn describe(&self, key: ContentKey) -> Vec<u8> {
        let place = match key & HAS_HOLES {
            0 => key,
            _ => {
                let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
                let map = usize::try_from(key & !HAS_HOLES).ok();
                let first = map.and_then(|number| maps.get(number)?.first().copied());
                first.map_or(0, |(_, place)| place)
            }
        };
        format!("{}, data at byte {place}", Readable(&self.name)).into_bytes()
    }

    fn path(&self, _key: ContentKey) -> Vec<u8> {
        self.name.clone()
    }
}

struct Reader<'a> {
    stored: &'a StoredFile,
    map: Starts,
}

impl ContentReader for Reader<'_> {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        // What is data lies in one range, since no two of them touch.
        let after = self.map.partition_point(|(start, _)| *start <= offset);
        let range = after.checked_sub(1).and_then(|at| self.map.get(at));
        let (start, place) = range.ok_or(io::ErrorKind::UnexpectedEof)?;
        let read = sys::read_exact_at(&self.stored.file, place + (offset - start), buffer);
        // Where others changed the file, that is why.
        read.or_else(|error| self.finish().and(Err(error)))
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(before) = &self.stored.before else {
            return Ok(());
        };
        if is_unchanged(before, &self.stored.file.metadata()?) {
            Ok(())
        } else {
            let text = "the archive changed while it was read";
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
    }
}

/// The bytes of a file in turn, of which those that nobody wants are not read.
#[derive(Debug)]
pub(in crate::source) struct FileInput {
    stored: Arc<StoredFile>,
    /// Of the file, in bytes.
    size: u64,
    /// The place of the first byte behind the buffer.
    at: u64,
    buffer: Box<[u8]>,
    /// The bytes of the buffer that were not given yet.
    filled: std::ops::Range<usize>,
}

impl Read for FileInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.filled.is_empty() {
            let count = sys::read_some_at(&self.stored.file, self.at, &mut self.buffer)?;
            self.at += u64::try_from(count).unwrap_or(u64::MAX);
            self.filled = 0..count;
        }
        let count = self.filled.len().min(buffer.len());
        let start = self.filled.start;
        buffer[..count].copy_from_slice(&self.buffer[start..start + count]);
        self.filled.start += count;
        Ok(count)
    }
}

impl Input for FileInput {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let held = usize::try_from(bytes).unwrap_or(usize::MAX);
        let held = held.min(self.filled.len());
        self.filled.start += held;
        let beyond = bytes - u64::try_from(held).unwrap_or(0);
        self.at = self
            .at
            .checked_add(beyond)
            .filter(|at| *at <= self.size)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}
