//! Given a growth that was decided, writes it in its order, or takes back what was written; never decides
//! a value.

use std::io;

use bytemuck::bytes_of;

use super::descriptors::free_inode_bitmap;
use super::error::ErrorKind;
use super::{GrowError, Growth, state};
use crate::feature::Feature;
use crate::ondisk::superblock::{OFFSET, Superblock as Stored};
use crate::read::Superblock;
use crate::sink::Sink;
use crate::units::{Block, Run};

impl Growth {
    /// Makes the filesystem that begins `offset_bytes` behind the sink's first byte larger. The sink has to
    /// have room for it, and nobody else may change it meanwhile.
    ///
    /// # Errors
    /// Where the storage fails or is full. Then the filesystem is as it was, or where that fails too, says
    /// that it is unfinished: [`GrowErrorKind`](super::GrowErrorKind) tells which.
    pub fn write(&self, sink: &dyn Sink, offset_bytes: u64) -> Result<(), GrowError> {
        let storage = Storage {
            sink,
            base: offset_bytes,
            block_bytes: self.new.block_size().bytes_u64(),
        };
        let made = self.write_new_groups(&storage).and_then(|()| sink.sync());
        made.map_err(ErrorKind::Write)?;
        let mut in_place = InPlace {
            storage: &storage,
            before: Vec::new(),
        };
        let Err(error) = self.switch(&mut in_place) else {
            return Ok(());
        };
        Err(match in_place.restore() {
            Ok(()) => ErrorKind::Write(error).into(),
            Err(_) => ErrorKind::Unfinished(error).into(),
        })
    }

    /// Writes what the old superblock knows nothing of.
    fn write_new_groups(&self, storage: &Storage<'_>) -> io::Result<()> {
        let sb = &self.new;
        let inode_bitmap = free_inode_bitmap(sb);
        for number in self.old.groups_count()..sb.groups_count() {
            if sb.has_superblock(number) {
                let mut block = vec![0; sb.block_size().bytes_usize()];
                block[..size_of::<Stored>()].copy_from_slice(&self.backup(number));
                storage.write(sb.group_run(number).start, &block)?;
            }
            let (run, first) = self.descriptor_blocks(number);
            for step in 0..run.len {
                let block = self.descriptors.block(sb, first + narrow(step));
                storage.write(run.start.plus(step), &block)?;
            }
            let group = self.descriptors.group(number);
            if let Some(bitmap) = self.descriptors.block_bitmap(sb, number) {
                storage.write(group.block_bitmap(), &bitmap)?;
            }
            if !sb.features().has_group_desc_csum() {
                storage.write(group.inode_bitmap(), &inode_bitmap)?;
            }
            storage.zero(Run::new(group.inode_table(), sb.table_blocks()))?;
        }
        Ok(())
    }

    /// Changes what the old superblock knows, and then the superblock.
    fn switch(&self, in_place: &mut InPlace<'_>) -> io::Result<()> {
        let sync = |in_place: &InPlace<'_>| in_place.storage.sink.sync();
        in_place.write(OFFSET, &sealed(&self.old, state::marked(self.old.stored())))?;
        sync(in_place)?;
        let (block, bitmap) = &self.descriptors.last_bitmap;
        in_place.write_block(*block, bitmap)?;
        if let Some(inode) = &self.resize_inode {
            in_place.write_block(inode.kept.start, &inode.pointers)?;
            in_place.write_block(inode.double.0, &inode.double.1)?;
            in_place.write_block(inode.table.0, &inode.table.1)?;
        }
        // A descriptor says that the bitmap is initialised, so the bitmap is first.
        sync(in_place)?;
        self.switch_copies(in_place)?;
        sync(in_place)?;
        in_place.write(OFFSET, &sealed(&self.new, *self.new.stored()))?;
        sync(in_place)
    }

    /// The copies in old groups, and the descriptors themselves.
    fn switch_copies(&self, in_place: &mut InPlace<'_>) -> io::Result<()> {
        let sb = &self.new;
        let per_block = sb.descs_per_block().max(1);
        let first_changed = (self.old.groups_count() - 1) / per_block;
        for group in (0..self.old.groups_count()).rev() {
            if group > 0 && sb.has_superblock(group) {
                let offset = sb.group_run(group).start.get() * sb.block_size().bytes_u64();
                in_place.write(offset, &self.backup(group))?;
            }
            let (run, first) = self.descriptor_blocks(group);
            for number in first_changed.max(first)..first.saturating_add(narrow(run.len)) {
                let block = run.start.plus(u64::from(number - first));
                in_place.write_block(block, &self.descriptors.block(sb, number))?;
            }
        }
        Ok(())
    }

    /// The descriptor blocks that a group has, and the number of the first.
    fn descriptor_blocks(&self, group: u32) -> (Run, u32) {
        let sb = &self.new;
        let run = sb.descriptor_run(group);
        let first_meta = sb.stored().s_first_meta_bg.get();
        let number = group / sb.descs_per_block().max(1);
        if sb.has(Feature::MetaBg) && number >= first_meta {
            return (run, number);
        }
        let len = run.len.min(sb.desc_blocks().into());
        (Run::new(run.start, len), 0)
    }

    /// A group's copy of the superblock.
    fn backup(&self, group: u32) -> Vec<u8> {
        let mut sb = *self.new.stored();
        // It has 16 bits: of later groups the low ones.
        sb.s_block_group_nr = crate::ondisk::superblock::halves_16(group).0;
        sealed(&self.new, sb)
    }
}

/// A superblock's bytes, with their checksum.
fn sealed(of: &Superblock, mut sb: Stored) -> Vec<u8> {
    if of.has_checksums() {
        sb.s_checksum = sb.checksum().into();
    }
    bytes_of(&sb).to_vec()
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A filesystem's bytes, by block.
struct Storage<'a> {
    sink: &'a dyn Sink,
    base: u64,
    block_bytes: u64,
}

impl Storage<'_> {
    fn offset(&self, block: Block) -> u64 {
        block.get().saturating_mul(self.block_bytes)
    }

    fn write(&self, block: Block, bytes: &[u8]) -> io::Result<()> {
        let offset = self.base.saturating_add(self.offset(block));
        self.sink.write_at(offset, bytes)
    }

    fn zero(&self, run: Run) -> io::Result<()> {
        let offset = self.base.saturating_add(self.offset(run.start));
        self.sink
            .zero(offset, run.len.saturating_mul(self.block_bytes))
    }
}

/// Writes over what is there, and keeps it until it is no longer needed.
struct InPlace<'a> {
    storage: &'a Storage<'a>,
    before: Vec<(u64, Vec<u8>)>,
}

impl InPlace<'_> {
    fn write_block(&mut self, block: Block, bytes: &[u8]) -> io::Result<()> {
        self.write(self.storage.offset(block), bytes)
    }

    /// Writes `bytes` at `offset` from the filesystem's first.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = self.storage.base.saturating_add(offset);
        let mut before = vec![0; bytes.len()];
        self.storage.sink.read_at(offset, &mut before)?;
        if before == bytes {
            return Ok(());
        }
        self.before.push((offset, before));
        self.storage.sink.write_at(offset, bytes)
    }

    /// Makes everything what it was, the superblock last.
    fn restore(&self) -> io::Result<()> {
        let sink = self.storage.sink;
        let Some((first, rest)) = self.before.split_first() else {
            return Ok(());
        };
        for (offset, bytes) in rest.iter().rev() {
            sink.write_at(*offset, bytes)?;
        }
        sink.sync()?;
        sink.write_at(first.0, &first.1)?;
        sink.sync()
    }
}
