//! Given an inode with data, gives the data by range, its holes and where its blocks are; never more
//! memory than the caller's buffer and the map's nodes on the way.

use std::ops::Range;

use super::bytes::{index, length};
use super::error::{Error, ErrorDetail, ErrorKind, Result};
use super::inode::Inode;
use super::mapped::Extent;
use super::volume::Volume;
use crate::ondisk::inode::FLAG_EXTENTS;

/// The first bytes of inline data, which are where pointers to blocks would be.
const INLINE_BYTES: usize = 60;

/// A regular file that is open for reading; several threads may read it at once.
#[derive(Clone)]
pub struct File<'a> {
    volume: &'a Volume<'a>,
    inode: Inode,
    /// Data that is in the inode.
    inline: Option<Vec<u8>>,
}

/// Data of a file that lies side by side in the image.
#[derive(Debug)]
pub(crate) struct StoredData {
    /// The bytes of the file, whole blocks.
    pub(crate) bytes: Range<u64>,
    /// Where they begin in the image.
    pub(crate) place: u64,
}

impl std::fmt::Debug for File<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("inode", &self.inode).finish()
    }
}

impl<'a> File<'a> {
    pub(crate) fn open(volume: &'a Volume<'a>, inode: Inode) -> Result<Self> {
        let ino = inode.ino();
        if inode.is_dir() {
            return Err(Error::not(ErrorKind::IsADirectory).in_inode(ino));
        }
        if !inode.is_file() {
            return Err(Error::not(ErrorKind::NotAFile).in_inode(ino));
        }
        if inode.is_encrypted() {
            return Err(Error::not(ErrorKind::Encrypted).in_inode(ino));
        }
        let inline = if inode.has_inline_data() {
            Some(volume.inline_data(&inode)?)
        } else {
            None
        };
        Ok(Self {
            volume,
            inode,
            inline,
        })
    }

    /// Its inode.
    pub fn inode(&self) -> &Inode {
        &self.inode
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.inode.size()
    }

    /// Reads from `offset` on as much as `buffer` holds and the file has; holes are zeros. Gives the
    /// number of bytes read, 0 at the end and behind it.
    ///
    /// # Errors
    /// Where the map of the file's blocks is damaged or the storage cannot be read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let left = self.size().saturating_sub(offset);
        let count = buffer.len().min(index(left));
        let buffer = buffer.get_mut(..count).unwrap_or_default();
        match &self.inline {
            Some(bytes) => {
                let held = bytes.get(index(offset)..).unwrap_or_default();
                let held = held.get(..count).unwrap_or(held);
                let (data, rest) = buffer.split_at_mut(held.len());
                data.copy_from_slice(held);
                rest.fill(0);
            }
            None => {
                let read = self.volume.read_file(&self.inode, offset, buffer);
                read.map_err(|error| error.in_inode(self.inode.ino()))?;
            }
        }
        Ok(count)
    }

    /// Fills `buffer` from `offset` on, as if the file had no end: what lies behind it is not data.
    pub(super) fn read_behind(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let read = self.volume.read_file(&self.inode, offset, buffer);
        read.map_err(|error| error.in_inode(self.inode.ino()))
    }

    /// The bytes of a block of the filesystem.
    pub(super) fn block_bytes(&self) -> u64 {
        self.volume.sb.block_size.bytes_u64()
    }

    /// The parts of the file that hold data, in bytes, in order, neighbours joined; all else are holes,
    /// and so are blocks that were never written.
    ///
    /// Data in the inode counts as data. Memory: the ranges, and the map of the file's blocks.
    ///
    /// # Errors
    /// Where the map of the file's blocks is damaged or cannot be read.
    pub fn data_ranges(&self) -> Result<Vec<Range<u64>>> {
        let size = self.size();
        if let Some(bytes) = &self.inline {
            let held = (!bytes.is_empty()).then(|| 0..length(bytes.len()));
            return Ok(held.into_iter().collect());
        }
        let block = self.volume.sb.block_size.bytes_u64();
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for extent in self.extents()? {
            let start = extent.logical.saturating_mul(block);
            let end = extent.end().saturating_mul(block).min(size);
            if extent.is_unwritten || start >= end {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        Ok(ranges)
    }

    /// The data that lies in the image as it is, in order: the bytes of the file, and where they begin in the
    /// image. Data in the inode does not, nor does any where a journal has newer blocks.
    ///
    /// # Errors
    /// Where the map of the file's blocks is damaged or cannot be read.
    pub(crate) fn stored(&self) -> Result<Vec<StoredData>> {
        let block = self.block_bytes();
        let mut stored: Vec<StoredData> = Vec::new();
        if self.inline.is_some() {
            return Ok(stored);
        }
        for extent in self.extents()? {
            let bytes = extent.logical.saturating_mul(block)..extent.end().saturating_mul(block);
            let Some(place) = self.volume.place_of(extent.run.start)? else {
                return Ok(Vec::new());
            };
            let behind = |last: &&mut StoredData| {
                let length = last.bytes.end - last.bytes.start;
                last.bytes.end == bytes.start && last.place + length == place
            };
            if extent.is_unwritten {
                continue;
            }
            match stored.last_mut().filter(behind) {
                Some(last) => last.bytes.end = bytes.end,
                None => stored.push(StoredData { bytes, place }),
            }
        }
        Ok(stored)
    }

    /// Where all its blocks are, those that count as zeros and those behind its end included; none where
    /// the data is in the inode.
    ///
    /// # Errors
    /// Where the map of the file's blocks is damaged or cannot be read.
    pub fn extents(&self) -> Result<Vec<Extent>> {
        self.volume.extents(&self.inode, 0..u64::MAX)
    }
}

impl Volume<'_> {
    /// Fills `buffer` with what the file has from `offset` on, as if it had no end.
    fn read_file(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<()> {
        // Of a hole no byte of the image is read.
        self.check_cancelled()?;
        let block = self.sb.block_size.bytes_u64();
        let end = offset.saturating_add(length(buffer.len()));
        let blocks = offset / block..end.div_ceil(block);
        // The first byte that nobody has filled.
        let mut next = offset;
        for extent in self.extents(inode, blocks)? {
            let start = (extent.logical * block).max(offset);
            let stop = (extent.end() * block).min(end);
            if let Some(hole) = part(buffer, next - offset..start - offset) {
                hole.fill(0);
            }
            if let Some(data) = part(buffer, start - offset..stop - offset) {
                if extent.is_unwritten {
                    data.fill(0);
                } else {
                    let first = self.offset_of(extent.run.start)?;
                    self.read(first + (start - extent.logical * block), data)?;
                }
            }
            next = stop;
        }
        if let Some(hole) = part(buffer, next - offset..end - offset) {
            hole.fill(0);
        }
        Ok(())
    }

    /// Fills `buffer` from the start of a file that has no holes as far as that.
    pub(crate) fn read_written(&self, inode: &Inode, buffer: &mut [u8]) -> Result<()> {
        let block = self.sb.block_size.bytes_u64();
        let blocks = length(buffer.len()).div_ceil(block);
        let extents = self.extents(inode, 0..blocks)?;
        let written = extents.iter().filter(|extent| !extent.is_unwritten);
        if written.map(|extent| extent.run.len).sum::<u64>() != blocks {
            return Err(Error::rule("it has a hole where there must be none").in_inode(inode.ino()));
        }
        let read = self.read_file(inode, 0, buffer);
        read.map_err(|error| error.in_inode(inode.ino()))
    }

    /// All inline data of an inode; of a file that is longer what is behind are zeros.
    pub(crate) fn inline_data(&self, inode: &Inode) -> Result<Vec<u8>> {
        if inode.has_flag(FLAG_EXTENTS) {
            let rule = "it has both inline data and extents";
            return Err(Error::rule(rule).in_inode(inode.ino()));
        }
        let mut bytes = inode.stored().i_block.to_vec();
        if inode.size() > length(INLINE_BYTES) {
            bytes.extend(self.inline_rest(inode)?);
        }
        // Of files that hold nothing mke2fs makes such ones of any size, and the kernel reads zeros.
        if inode.size() > length(bytes.len()) && !inode.is_file() {
            let rule = "it is longer than the space in the inode";
            return Err(Error::rule(rule).in_inode(inode.ino()));
        }
        bytes.truncate(index(inode.size()));
        Ok(bytes)
    }

    /// All of a file's data at once.
    pub(crate) fn read_whole(&self, inode: Inode) -> Result<Vec<u8>> {
        let file = File {
            volume: self,
            ..File::open(self, inode)?
        };
        let most = self.image_bytes();
        let size = file.size();
        let too_large = || {
            let fault = ErrorDetail::TooLarge { bytes: size, most };
            Error::new(fault).in_inode(file.inode.ino())
        };
        if size > most {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let length = usize::try_from(size).map_err(|_| too_large())?;
        bytes.try_reserve_exact(length).map_err(|_| too_large())?;
        bytes.resize(length, 0);
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Where a symbolic link leads.
    pub(crate) fn link_target(&self, inode: &Inode) -> Result<Vec<u8>> {
        let ino = inode.ino();
        if !inode.is_symlink() {
            return Err(Error::not(ErrorKind::NotASymlink).in_inode(ino));
        }
        if inode.is_encrypted() {
            return Err(Error::not(ErrorKind::Encrypted).in_inode(ino));
        }
        let size = inode.size();
        if size == 0 || size > self.sb.block_size.bytes_u64() {
            let rule = "the target of a symbolic link is empty or longer than a block";
            return Err(Error::rule(rule).in_inode(ino));
        }
        let target = if inode.has_inline_data() {
            self.inline_data(inode)?
        } else if size < length(INLINE_BYTES) {
            let held = inode.stored().i_block.get(..index(size));
            held.unwrap_or_default().to_vec()
        } else {
            let mut bytes = vec![0; index(size)];
            self.read_written(inode, &mut bytes)?;
            bytes
        };
        if target.contains(&0) {
            let rule = "the target of a symbolic link is not as long as i_size says";
            return Err(Error::rule(rule).in_inode(ino));
        }
        Ok(target)
    }
}

/// A part of a buffer, given by bytes from its start.
fn part(buffer: &mut [u8], range: Range<u64>) -> Option<&mut [u8]> {
    buffer.get_mut(index(range.start)..index(range.end))
}
