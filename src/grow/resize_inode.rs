//! Given the superblock of a filesystem that grew, gives the inode of its reserved GDT blocks; never the
//! descriptors that some of them became.
//!
//! Its double indirect block leads to the reserved blocks of group 0, and each of those to its namesakes in
//! the groups that keep copies. Blocks that became descriptors are taken out, groups that came are put in,
//! and `i_blocks` counts what is left, as resize2fs has it.

use super::GrowError;
use super::descriptors::Descriptors;
use super::error::ErrorKind;
use super::state::Start;
use crate::feature::Feature;
use crate::ondisk::inode::{self, Inode as Stored, set_checksum};
use crate::ondisk::superblock::halves_16;
use crate::read::bytes::{half, index, length, pod_or_zeros, word};
use crate::read::{Filesystem, Superblock};
use crate::units::{Block, Ino, Run};

/// Where `i_blocks_lo`, `i_block`'s double indirect block, `i_blocks_hi` and the checksum's halves are.
const BLOCKS_LO: std::ops::Range<usize> = 0x1c..0x20;
const DOUBLE: usize = 0x28 + 13 * 4;
const BLOCKS_HI: std::ops::Range<usize> = 0x74..0x76;
const CHECKSUM_LO: std::ops::Range<usize> = 0x7c..0x7e;
const CHECKSUM_HI: std::ops::Range<usize> = 0x82..0x84;
/// Where `i_extra_isize` is.
const EXTRA_ISIZE: usize = 0x80;

/// What belongs to the resize inode.
#[derive(Debug)]
pub(super) struct ResizeInode {
    /// The reserved blocks of group 0 that are left, which are its indirect blocks.
    pub(super) kept: Run,
    /// What they hold.
    pub(super) pointers: Vec<u8>,
    /// Its double indirect block, and what that holds.
    pub(super) double: (Block, Vec<u8>),
    /// The block of the inode table that it is in, and what that holds.
    pub(super) table: (Block, Vec<u8>),
}

impl ResizeInode {
    /// The inode as it becomes; `None` where nothing is reserved.
    pub(super) fn new(
        filesystem: &Filesystem<'_>,
        new: &Superblock,
        descriptors: &Descriptors,
        start: Start,
    ) -> Result<Option<Self>, GrowError> {
        let old = filesystem.superblock();
        if !old.has(Feature::ResizeInode) || old.stored().s_reserved_gdt_blocks.get() == 0 {
            return Ok(None);
        }
        let place = u64::from(Ino::RESIZE.get() - 1) * length(old.inode_size());
        let block_bytes = old.block_size().bytes_u64();
        let block = descriptors.group(0).inode_table().plus(place / block_bytes);
        let mut table = filesystem.block(block)?;
        let at = index(place % block_bytes);
        let damaged =
            || ErrorKind::Damaged("its resize inode does not point to its reserved GDT blocks");
        let stored = table.get_mut(at..at.saturating_add(old.inode_size()));
        let stored = stored.ok_or_else(damaged)?;
        let double = Block::new(word(stored, DOUBLE).into());
        if start == Start::Clean {
            filesystem.inode(Ino::RESIZE)?;
            if filesystem.block(double)? != double_pointers(old)? {
                return Err(damaged().into());
            }
        } else if !old.is_inside(Run::one(double)) {
            return Err(damaged().into());
        }
        let backups = backups(new);
        set_blocks(new, stored, length(backups.len()));
        Ok(Some(Self {
            kept: kept(new),
            pointers: pointers(new, &backups)?,
            double: (double, double_pointers(new)?),
            table: (block, table),
        }))
    }
}

/// The groups behind the first that keep copies.
fn backups(sb: &Superblock) -> Vec<u32> {
    let groups = 1..sb.groups_count();
    groups.filter(|group| sb.has_superblock(*group)).collect()
}

/// The reserved blocks of group 0.
fn kept(sb: &Superblock) -> Run {
    let run = sb.descriptor_run(0);
    let descriptors = u64::from(sb.desc_blocks());
    Run::new(run.start.plus(descriptors), run.len - descriptors)
}

/// What the double indirect block holds: each reserved block where its number among all descriptor blocks
/// says, modulo the pointers of a block.
fn double_pointers(sb: &Superblock) -> Result<Vec<u8>, GrowError> {
    let kept = kept(sb);
    let count = sb.block_size().bytes_u64() / 4;
    let mut words = vec![0; index(count)];
    for step in 0..kept.len {
        let slot = (u64::from(sb.desc_blocks()) + step) % count;
        words[index(slot)] = pointer(kept.start.get() + step)?;
    }
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}

/// What the reserved blocks of group 0 hold, one after the other.
fn pointers(sb: &Superblock, backups: &[u32]) -> Result<Vec<u8>, GrowError> {
    let kept = kept(sb);
    let size = sb.block_size().bytes_usize();
    if backups.len() > size / 4 && kept.len > 0 {
        let what = "its resize inode has no room for the backups of that many groups";
        return Err(ErrorKind::Unsupported(what).into());
    }
    let mut bytes = Vec::new();
    for step in 0..kept.len {
        let block = kept.start.get() + step;
        let end = bytes.len() + size;
        for group in backups {
            let namesake = pointer(block + u64::from(*group) * sb.blocks_per_group())?;
            bytes.extend(namesake.to_le_bytes());
        }
        bytes.resize(end, 0);
    }
    Ok(bytes)
}

fn pointer(block: u64) -> Result<u32, GrowError> {
    let what = "its resize inode cannot point to blocks past 2^32";
    u32::try_from(block).map_err(|_| ErrorKind::Unsupported(what).into())
}

/// Sets `i_blocks` of the inode that is stored, and its checksum: the double indirect block and every
/// reserved one, a cluster each.
fn set_blocks(sb: &Superblock, stored: &mut [u8], backups: u64) {
    let blocks = 1 + kept(sb).len * (1 + backups);
    let sectors = blocks * sb.cluster_ratio() * (sb.block_size().bytes_u64() / 512);
    let (low, high) = crate::ondisk::superblock::halves(sectors);
    let high = halves_16(high.get()).0;
    stored[BLOCKS_LO].copy_from_slice(&low.get().to_le_bytes());
    if sb.has(Feature::HugeFile) {
        stored[BLOCKS_HI].copy_from_slice(&high.get().to_le_bytes());
    }
    if !sb.has_checksums() {
        return;
    }
    let generation = pod_or_zeros::<Stored>(stored).i_generation.get();
    stored[CHECKSUM_LO].fill(0);
    if stored.len() > inode::GOOD_OLD_SIZE && half(stored, EXTRA_ISIZE) >= 4 {
        stored[CHECKSUM_HI].fill(0);
    }
    set_checksum(stored, sb.inode_seed(Ino::RESIZE.get(), generation));
}
