//! Given what a source knows of a file's bytes, says how many they are, where they are and who reads
//! them; never reads one itself.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{TreeError, Verity};
use crate::units::{Ino, Run};

/// Which content a [`ContentSource`] shall open; each source numbers its own.
pub type ContentKey = u64;

/// How a file's bytes can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// At any place, by several readers at a time.
    Anywhere,
    /// From the first byte on, by one reader at a time; another can begin anew.
    InOrder,
    /// From the first byte on, by the only reader there is.
    Once,
}

/// A source's promise to read a file's bytes when they are asked for.
///
/// What an image's writer asks for, whatever the number of threads:
///
/// - Each file that has data is opened when the first of its bytes are needed, and not at all before.
///   Where [`access`](Self::access) says [`Anywhere`](Access::Anywhere), up to as many readers are open
///   at a time as there are threads; else there is one, which goes from thread to thread.
/// - A reader is asked for ranges that were declared as data alone, each byte once. Unless it may be read
///   anywhere, the ranges come in ascending order.
/// - Once all of a file was read, each of its readers is asked once to [`finish`](ContentReader::finish),
///   and dropped. Where a run fails or is cancelled, readers are dropped without that.
/// - Files are opened about in the order in which their data lie in the image, and several at a time.
/// - A plan that looks for blocks of zeros ([`Sparse`](crate::Sparse)) reads a file once more before, in
///   order, unless it can be read but [`Once`](Access::Once).
pub trait ContentSource: Send + Sync {
    /// Opens the content `key`.
    ///
    /// # Errors
    /// Where it cannot be read, or is not what was declared.
    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>>;

    /// How the content `key` can be read: in order, by default.
    fn access(&self, _key: ContentKey) -> Access {
        Access::InOrder
    }

    /// The content's name for people, for errors.
    fn describe(&self, key: ContentKey) -> Vec<u8>;

    /// The path of what holds the content `key`, for programs that act on [errors](crate::ErrorKind): its name,
    /// by default. Of a content that is part of a file it is the path of that file.
    fn path(&self, key: ContentKey) -> Vec<u8> {
        self.describe(key)
    }

    /// Hears at which path of a tree the content `key` was declared, where it was declared
    /// [by its path](super::Tree::file), and at which path it is in the image once it cannot be read: a source
    /// whose contents have no name of their own can say that.
    fn set_path(&self, _key: ContentKey, _path: &[u8]) {}

    /// Whether the content `key` lies in `file`, as far as the source can tell: no image is written over what it is
    /// made of.
    fn lies_in(&self, _key: ContentKey, _file: &File) -> bool {
        false
    }

    /// Where the content `key` lies in the image, if it was written there when it was declared: the
    /// blocks of its data in the order of the file. It is then never opened.
    fn placed(&self, _key: ContentKey) -> Option<&[Run]> {
        None
    }

    /// The inode of the image that is [updated](crate::Builder::update_file) which surely holds the content `key`
    /// already, if there is one. If it stays in its blocks, the content is never opened.
    fn unchanged(&self, _key: ContentKey) -> Option<Ino> {
        None
    }

    /// How fs-verity protects the content `key`, if it does: its blocks are then hashed as they are read.
    /// Where the image is written in order and the hashes lie before the data, the content is read once more
    /// before.
    fn verity(&self, _key: ContentKey) -> Option<&Verity> {
        None
    }
}

/// An open content. It may go from one thread to another.
pub trait ContentReader: Send {
    /// Fills `buffer` from `offset`: bytes that were declared as data.
    ///
    /// # Errors
    /// Where the content cannot be read, ends early (`UnexpectedEof`), or is known to have changed (`InvalidData`).
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Hears that the bytes up to `offset` are asked for no more, if any are left: a hole, or all of the rest. One
    /// that has to read them all the same does it here, and ends with an error soon after `cancel` is set.
    ///
    /// # Errors
    /// As those of [`read_exact_at`](Self::read_exact_at), and where `cancel` is set.
    fn pass(&mut self, _offset: u64, _cancel: &AtomicBool) -> io::Result<()> {
        Ok(())
    }

    /// Where the first of the bytes `range` lie in an open file as they are, and how many of them lie there
    /// side by side: a filesystem that can lets the image share them. `None` where they do not, unless told
    /// otherwise. It is asked only of content that can be read [`Anywhere`](Access::Anywhere).
    ///
    /// # Errors
    /// Where the content cannot be read.
    fn stored(&mut self, _range: Range<u64>) -> io::Result<Option<Stored<'_>>> {
        Ok(None)
    }

    /// Says, once all was read, whether the content is still what was declared.
    ///
    /// # Errors
    /// Where it changed meanwhile.
    fn finish(&mut self) -> io::Result<()>;
}

/// Bytes of file data that lie in a file as they are.
#[derive(Debug)]
pub struct Stored<'a> {
    /// The file, open for reading.
    pub file: &'a File,
    /// Where they are in it, in bytes.
    pub range: Range<u64>,
}

/// A regular file's bytes: how many, which of them are data, and who reads them.
#[derive(Clone)]
pub struct Content {
    /// The size in bytes, holes included.
    pub(crate) size_bytes: u64,
    /// The data as byte ranges in ascending order, none empty, none touching; the rest are holes.
    pub(crate) data: DataMap,
    /// Who reads it.
    pub(crate) source: Arc<dyn ContentSource>,
    /// What the source calls it.
    pub(crate) key: ContentKey,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("size_bytes", &self.size_bytes)
            .field("data", &self.data)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Which bytes of a file are data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataMap {
    /// All of them.
    Whole,
    /// These ranges of bytes.
    Ranges(DataRanges),
}

/// The ranges of bytes that a file with holes has. Of a million files few have any, so they take no
/// more room in the others than a pointer does.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DataRanges(Box<Box<[Range<u64>]>>);

impl fmt::Debug for DataRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

impl Deref for DataRanges {
    type Target = [Range<u64>];

    fn deref(&self) -> &[Range<u64>] {
        &self.0
    }
}

impl From<Vec<Range<u64>>> for DataRanges {
    fn from(ranges: Vec<Range<u64>>) -> Self {
        Self(Box::new(ranges.into()))
    }
}

impl<const N: usize> From<[Range<u64>; N]> for DataRanges {
    fn from(ranges: [Range<u64>; N]) -> Self {
        Self::from_iter(ranges)
    }
}

impl FromIterator<Range<u64>> for DataRanges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        Self(Box::new(ranges.into_iter().collect()))
    }
}

impl Content {
    /// `size_bytes` bytes, all of them data, that `source` reads and knows as `key`.
    pub fn new(size_bytes: u64, source: Arc<dyn ContentSource>, key: ContentKey) -> Self {
        Self {
            size_bytes,
            data: DataMap::Whole,
            source,
            key,
        }
    }

    /// The same, of which `data` are data: ranges of bytes in ascending order, none empty, none touching. The
    /// rest are holes.
    #[must_use]
    pub fn with_data(self, data: DataMap) -> Self {
        Self { data, ..self }
    }

    /// The size in bytes, holes included.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Which of them are data.
    pub fn data(&self) -> &DataMap {
        &self.data
    }

    /// What its source knows it as.
    pub fn key(&self) -> ContentKey {
        self.key
    }

    /// Its name for people, for errors.
    pub fn describe(&self) -> Vec<u8> {
        self.source.describe(self.key)
    }

    /// Opens it, to be read as its source [allows](ContentSource::access).
    ///
    /// # Errors
    /// Where it cannot be read, or is not what was declared.
    pub fn open(&self) -> io::Result<Box<dyn ContentReader + '_>> {
        self.source.open(self.key)
    }

    /// The bytes `bytes`, held in memory.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self::new(size_bytes, Arc::new(InMemory(bytes)), 0)
    }

    /// Where the blocks of its data lie in the image, in the order of the file, if they are written
    /// already.
    pub fn placed(&self) -> Option<&[Run]> {
        self.source.placed(self.key)
    }

    /// The inode of the image that is updated which holds it already, if one surely does.
    pub(crate) fn unchanged(&self) -> Option<Ino> {
        self.source.unchanged(self.key)
    }

    /// From the first byte of data to the last, if there is any.
    pub(crate) fn data_span(&self) -> Option<Range<u64>> {
        match &self.data {
            DataMap::Whole => (self.size_bytes > 0).then_some(0..self.size_bytes),
            DataMap::Ranges(ranges) => Some(ranges.first()?.start..ranges.last()?.end),
        }
    }

    /// The data's byte ranges.
    pub fn data_ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let (whole, ranges) = match &self.data {
            DataMap::Whole if self.size_bytes > 0 => (Some(0..self.size_bytes), &[][..]),
            DataMap::Whole => (None, &[][..]),
            DataMap::Ranges(ranges) => (None, &ranges[..]),
        };
        whole.into_iter().chain(ranges.iter().cloned())
    }

    /// The parts of the data's byte ranges that lie in `within`.
    pub fn data_in(&self, within: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = match &self.data {
            DataMap::Whole => 0,
            DataMap::Ranges(ranges) => ranges.partition_point(|range| range.end <= within.start),
        };
        let (start, end) = (within.start, within.end);
        self.data_ranges()
            .skip(first)
            .take_while(move |range| range.start < end)
            .map(move |range| range.start.max(start)..range.end.min(end))
            .filter(|range| !range.is_empty())
    }

    /// Refuses a map of data that contradicts itself or the size.
    ///
    /// # Errors
    /// Where a range is empty, touches the one before it, or ends past the size.
    pub fn check(&self) -> Result<(), TreeError> {
        let DataMap::Ranges(ranges) = &self.data else {
            return Ok(());
        };
        let mut at = None;
        for range in ranges.iter() {
            let ascending = at.is_none_or(|end| range.start > end);
            if !ascending || range.start >= range.end || range.end > self.size_bytes {
                return Err(TreeError::DataMap {
                    start: range.start,
                    end: range.end,
                });
            }
            at = Some(range.end);
        }
        Ok(())
    }
}

macro_rules! from_bytes {
    ($($bytes:ty),+) => {
        $(impl From<$bytes> for Content {
            fn from(bytes: $bytes) -> Self {
                let bytes: &[u8] = bytes.as_ref();
                Self::from_bytes(bytes)
            }
        })+
    };
}

from_bytes!(&[u8], &Vec<u8>, &str, &String, String);

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_bytes(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Content {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from_bytes(*bytes)
    }
}

struct InMemory(Arc<[u8]>);

struct InMemoryReader<'a>(&'a [u8]);

impl ContentSource for InMemory {
    fn open(&self, _key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        Ok(Box::new(InMemoryReader(&self.0)))
    }

    fn access(&self, _key: ContentKey) -> Access {
        Access::Anywhere
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        b"content in memory".to_vec()
    }
}

impl ContentReader for InMemoryReader<'_> {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.0.get(start..start.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
