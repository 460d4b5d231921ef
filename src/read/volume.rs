//! Given an image and where the filesystem begins in it, gives its bytes by block, those of a journal that
//! waits among them; never what they mean.

use super::error::{Error, ErrorDetail, Result};
use super::replay::{Copy, Replay};
use super::superblock::Superblock;
use crate::cancel::Cancel;
use crate::ondisk::superblock::{OFFSET, Superblock as Stored};
use crate::sink::ReadAt;
use crate::units::{Block, Run};

/// A filesystem's bytes and its geometry.
pub(crate) struct Volume<'a> {
    image: Box<dyn ReadAt + 'a>,
    base: u64,
    pub(crate) sb: Superblock,
    replay: Replay,
    cancel: Cancel,
}

impl<'a> Volume<'a> {
    pub(crate) fn new(image: Box<dyn ReadAt + 'a>, base: u64, sb: Superblock) -> Self {
        Self {
            image,
            base,
            sb,
            replay: Replay::default(),
            cancel: Cancel::new(),
        }
    }

    /// Stops whoever reads once `cancel` asks for it.
    pub(crate) fn set_cancel(&mut self, cancel: &Cancel) {
        self.cancel = cancel.clone();
    }

    /// Says whether to go on.
    ///
    /// # Errors
    /// Where it was asked to stop.
    pub(crate) fn check_cancelled(&self) -> Result<()> {
        let stopped = |_| Error::new(ErrorDetail::Cancelled);
        self.cancel.check().map_err(stopped)
    }

    /// Puts the blocks of a journal over those of the filesystem, the superblock among them.
    ///
    /// # Errors
    /// Where the superblock is none with them.
    pub(crate) fn set_replay(&mut self, replay: Replay) -> Result<()> {
        self.replay = replay;
        let mut bytes = vec![0; size_of::<Stored>()];
        self.read(OFFSET, &mut bytes)?;
        let sb = super::decode_superblock(&bytes)?;
        if sb.block_size != self.sb.block_size {
            let rule = "the journal has the superblock of another filesystem";
            return Err(Error::rule(rule));
        }
        self.sb = sb;
        Ok(())
    }

    /// What a journal's blocks replace.
    pub(crate) fn replay(&self) -> &Replay {
        &self.replay
    }

    /// How many bytes the image has from the filesystem's first on.
    pub(crate) fn image_bytes(&self) -> u64 {
        self.image.size_bytes().saturating_sub(self.base)
    }

    /// Whether bytes of the filesystem surely are zeros that nobody wrote.
    pub(crate) fn is_hole(&self, offset: u64, length: u64) -> bool {
        let Some(offset) = self.base.checked_add(offset) else {
            return false;
        };
        let end = offset.saturating_add(length).min(self.image.size_bytes());
        self.replay.is_empty() && self.image.next_data(offset).is_some_and(|next| next >= end)
    }

    /// Fills `buffer` from `offset` bytes behind the filesystem's first.
    ///
    /// # Errors
    /// Where the storage fails or ends before.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_stored(offset, buffer)?;
        if self.replay.is_empty() || buffer.is_empty() {
            return Ok(());
        }
        let size = self.sb.block_size.bytes_u64();
        let end = offset.saturating_add(super::bytes::length(buffer.len()));
        let blocks = offset / size..end.div_ceil(size);
        for (block, place) in self.replay.over(blocks) {
            let copy = self.read_replayed(place)?;
            let start = block * size;
            // The part of the block that the buffer has, counted in both.
            let from = start.max(offset);
            let to = (start + size).min(end);
            let of_copy = super::bytes::index(from - start)..super::bytes::index(to - start);
            let of_buffer = super::bytes::index(from - offset)..super::bytes::index(to - offset);
            if let (Some(slots), Some(bytes)) = (buffer.get_mut(of_buffer), copy.get(of_copy)) {
                slots.copy_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn read_replayed(&self, place: Copy) -> Result<Vec<u8>> {
        let mut bytes = self.stored_block(place.block)?;
        if place.is_escaped
            && let Some(first) = bytes.first_chunk_mut()
        {
            *first = crate::ondisk::jbd2::MAGIC.to_be_bytes();
        }
        Ok(bytes)
    }

    /// Fills `buffer` with what is stored, whatever a journal has for it.
    fn read_stored(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check_cancelled()?;
        let size = self.sb.block_size.bytes_u64();
        let failed = |error| Error::new(ErrorDetail::Io(error)).in_block(Block::new(offset / size));
        let place = self.base.checked_add(offset);
        let place = place.ok_or_else(|| failed(std::io::ErrorKind::UnexpectedEof.into()))?;
        crate::work::add_bytes(buffer.len());
        self.image.read_exact_at(place, buffer).map_err(failed)
    }

    /// A block as it is stored, whatever a journal has for it.
    pub(crate) fn stored_block(&self, block: Block) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.sb.block_size.bytes_usize()];
        self.read_stored(self.offset_of(block)?, &mut bytes)?;
        Ok(bytes)
    }

    /// A block.
    ///
    /// # Errors
    /// Where it is outside the filesystem or cannot be read.
    pub(crate) fn block(&self, block: Block) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.sb.block_size.bytes_usize()];
        self.read(self.offset_of(block)?, &mut bytes)?;
        Ok(bytes)
    }

    /// Where a block is in the image, in bytes from the image's first; `None` where the journal has a newer one
    /// of any block.
    ///
    /// # Errors
    /// Where it is outside the filesystem.
    pub(super) fn place_of(&self, block: Block) -> Result<Option<u64>> {
        if !self.replay.is_empty() {
            return Ok(None);
        }
        Ok(self.base.checked_add(self.offset_of(block)?))
    }

    /// Where a block begins, in bytes from the filesystem's first.
    pub(crate) fn offset_of(&self, block: Block) -> Result<u64> {
        let outside = || Error::new(ErrorDetail::Outside(Run::one(block)));
        if block.get() >= self.sb.blocks_count {
            return Err(outside());
        }
        let size = self.sb.block_size.bytes_u64();
        block.get().checked_mul(size).ok_or_else(outside)
    }
}
