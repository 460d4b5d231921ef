//! Given a group's number, gives its descriptor and its bitmaps; never what they should hold.
//!
//! Layout: the kernel's `group_descr.rst` and `bitmaps.rst`.

use super::bytes::{half, index, join, length, pod_or_zeros};
use super::error::{Error, ErrorDetail, Result};
use super::superblock::Superblock;
use super::volume::Volume;
use crate::feature::Feature;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::group_desc::{
    BLOCK_UNINIT, GroupDesc, INODE_UNINIT, checksum_crc16, checksum_crc32c,
};
use crate::units::{self, Block, Run};

/// A block group, as its descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub(crate) number: u32,
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
    pub(crate) free_blocks: u32,
    pub(crate) free_inodes: u32,
    pub(crate) used_dirs: u32,
    pub(crate) itable_unused: u32,
    pub(crate) flags: u16,
    pub(crate) block_bitmap_csum: u32,
    pub(crate) inode_bitmap_csum: u32,
}

impl Group {
    /// What a descriptor says, whether or not it can be.
    pub(crate) fn decode(number: u32, stored: &[u8]) -> Self {
        let it: GroupDesc = pod_or_zeros(stored);
        let wide = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        Self {
            number,
            block_bitmap: join(it.bg_block_bitmap_lo.get(), it.bg_block_bitmap_hi.get()),
            inode_bitmap: join(it.bg_inode_bitmap_lo.get(), it.bg_inode_bitmap_hi.get()),
            inode_table: join(it.bg_inode_table_lo.get(), it.bg_inode_table_hi.get()),
            free_blocks: wide(
                it.bg_free_blocks_count_lo.get(),
                it.bg_free_blocks_count_hi.get(),
            ),
            free_inodes: wide(
                it.bg_free_inodes_count_lo.get(),
                it.bg_free_inodes_count_hi.get(),
            ),
            used_dirs: wide(
                it.bg_used_dirs_count_lo.get(),
                it.bg_used_dirs_count_hi.get(),
            ),
            itable_unused: wide(it.bg_itable_unused_lo.get(), it.bg_itable_unused_hi.get()),
            flags: it.bg_flags.get(),
            block_bitmap_csum: wide(
                it.bg_block_bitmap_csum_lo.get(),
                it.bg_block_bitmap_csum_hi.get(),
            ),
            inode_bitmap_csum: wide(
                it.bg_inode_bitmap_csum_lo.get(),
                it.bg_inode_bitmap_csum_hi.get(),
            ),
        }
    }

    /// Its number.
    pub fn number(&self) -> units::Group {
        units::Group::new(self.number)
    }

    /// The block of its block bitmap.
    pub fn block_bitmap(&self) -> Block {
        Block::new(self.block_bitmap)
    }

    /// The block of its inode bitmap.
    pub fn inode_bitmap(&self) -> Block {
        Block::new(self.inode_bitmap)
    }

    /// The first block of its inode table.
    pub fn inode_table(&self) -> Block {
        Block::new(self.inode_table)
    }

    /// How many of its clusters are free.
    pub fn free_clusters(&self) -> u32 {
        self.free_blocks
    }

    /// How many of its inodes are free.
    pub fn free_inodes(&self) -> u32 {
        self.free_inodes
    }

    /// How many of its inodes are directories.
    pub fn used_dirs(&self) -> u32 {
        self.used_dirs
    }

    /// How many inodes at the end of its table were never used.
    pub fn unused_inodes(&self) -> u32 {
        self.itable_unused
    }

    /// Whether its block bitmap is initialised.
    pub fn has_block_bitmap(&self) -> bool {
        self.flags & BLOCK_UNINIT == 0
    }

    /// Whether its inode bitmap and table are initialised.
    pub fn has_inodes(&self) -> bool {
        self.flags & INODE_UNINIT == 0
    }

    /// Its bitmaps and its inode table.
    pub(crate) fn tables(&self, sb: &Superblock) -> [Run; 3] {
        [
            Run::one(self.block_bitmap()),
            Run::one(self.inode_bitmap()),
            Run::new(self.inode_table(), sb.table_blocks()),
        ]
    }

    /// How many inodes of its table can be in use.
    pub(crate) fn initialised_inodes(&self, sb: &Superblock) -> u32 {
        if !sb.features.has_group_desc_csum() {
            return sb.inodes_per_group;
        }
        if !self.has_inodes() {
            return 0;
        }
        sb.inodes_per_group.saturating_sub(self.itable_unused)
    }
}

/// The checksum that a descriptor has and the one it needs; `None` where it has none.
pub(crate) fn checksums(sb: &Superblock, group: u32, stored: &[u8]) -> Option<(u16, u16)> {
    let needed = if sb.has_checksums() {
        checksum_crc32c(sb.seed, group, stored)
    } else if sb.has(Feature::GdtCsum) {
        checksum_crc16(&sb.sb.s_uuid, group, stored)
    } else {
        return None;
    };
    Some((half(stored, 0x1e), needed))
}

impl Volume<'_> {
    /// A group's descriptor, sound and with its tables inside the filesystem.
    pub(crate) fn group(&self, number: u32) -> Result<Group> {
        let at = units::Group::new(number);
        self.read_group(number).map_err(|error| error.in_group(at))
    }

    fn read_group(&self, number: u32) -> Result<Group> {
        let sb = &self.sb;
        if number >= sb.groups {
            return Err(Error::not(super::ErrorKind::NotFound));
        }
        let block = sb.descriptor_block(number);
        let within = number % sb.descs_per_block().max(1);
        let offset = self.offset_of(block)? + u64::from(within) * length(sb.desc_size);
        let mut stored = vec![0; sb.desc_size];
        self.read(offset, &mut stored)?;
        if let Some((found, expected)) = checksums(sb, number, &stored)
            && found != expected
        {
            return Err(Error::new(ErrorDetail::Checksum {
                what: "bg_checksum",
                found: found.into(),
                expected: expected.into(),
            })
            .in_block(block));
        }
        let group = Group::decode(number, &stored);
        match group.tables(sb).into_iter().find(|run| !sb.is_inside(*run)) {
            Some(run) => Err(Error::new(ErrorDetail::Outside(run)).in_block(block)),
            None => Ok(group),
        }
    }

    /// A group's inode bitmap: a bit for each of its inodes, set if it is in use; sound.
    pub(crate) fn inode_bitmap(&self, group: &Group) -> Result<Vec<u8>> {
        let bits = self.sb.inodes_per_group;
        if self.sb.features.has_group_desc_csum() && !group.has_inodes() {
            return Ok(vec![0; index(u64::from(bits).div_ceil(8))]);
        }
        let at = group.inode_bitmap();
        let bitmap = self.block(at)?;
        let covered = index(u64::from(bits) / 8);
        let sum = group.inode_bitmap_csum;
        self.verify_bitmap(&bitmap, covered, sum)
            .map_err(|error| error.in_group(group.number()).in_block(at))?;
        Ok(bitmap)
    }

    /// A group's block bitmap: a bit for each of its clusters, set if it is in use; sound, and as the
    /// kernel makes it where it was never initialised.
    pub(crate) fn block_bitmap(&self, group: &Group) -> Result<Vec<u8>> {
        if self.sb.features.has_group_desc_csum() && !group.has_block_bitmap() {
            return Ok(self.initial_block_bitmap(group));
        }
        let at = group.block_bitmap();
        let bitmap = self.block(at)?;
        let clusters = self.sb.blocks_per_group / self.sb.cluster_ratio;
        let sum = group.block_bitmap_csum;
        self.verify_bitmap(&bitmap, index(clusters / 8), sum)
            .map_err(|error| error.in_group(group.number()).in_block(at))?;
        Ok(bitmap)
    }

    fn verify_bitmap(&self, bitmap: &[u8], covered: usize, found: u32) -> Result<()> {
        if !self.sb.has_checksums() {
            return Ok(());
        }
        let sum = crc32c(self.sb.seed, bitmap.get(..covered).unwrap_or(bitmap));
        // A short descriptor keeps the low half.
        let mask = if self.sb.desc_size < 64 {
            0xffff
        } else {
            u32::MAX
        };
        let expected = sum & mask;
        if found == expected {
            return Ok(());
        }
        Err(Error::new(ErrorDetail::Checksum {
            what: "the bitmap's checksum",
            found,
            expected,
        }))
    }

    /// What is in use in a group of which nobody used a block: superblock, descriptors, its own tables,
    /// and what lies behind its end (the kernel's `ext4_init_block_bitmap`).
    fn initial_block_bitmap(&self, group: &Group) -> Vec<u8> {
        let sb = &self.sb;
        let mut bitmap = vec![0_u8; sb.block_size.bytes_usize()];
        let run = sb.group_run(group.number);
        let (start, end) = (run.start.get(), run.end().get());
        let ratio = sb.cluster_ratio;
        let descriptors = sb.descriptor_run(group.number);
        let first = Run::new(run.start, descriptors.end().get() - start);
        let is_kept = sb.has_superblock(group.number) || descriptors.len > 0;
        let fixed = is_kept.then_some(first);
        for own in fixed.into_iter().chain(group.tables(sb)) {
            let from = own.start.get().clamp(start, end) - start;
            let to = own.end().get().clamp(start, end) - start;
            if from < to {
                set(&mut bitmap, from / ratio, to.div_ceil(ratio));
            }
        }
        let bits = length(bitmap.len()) * 8;
        set(&mut bitmap, run.len.div_ceil(ratio), bits);
        bitmap
    }
}

/// Sets the bits from `first` on, up to `end`.
pub(crate) fn set(bitmap: &mut [u8], first: u64, end: u64) {
    let mut bit = first;
    while bit < end {
        let Some(byte) = bitmap.get_mut(index(bit / 8)) else {
            return;
        };
        if bit.is_multiple_of(8) && end - bit >= 8 {
            *byte = u8::MAX;
            bit += 8;
        } else {
            *byte |= 1 << (bit % 8);
            bit += 1;
        }
    }
}
