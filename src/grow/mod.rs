//! Given a filesystem that [`read`](crate::read) opened and a size, gives the blocks that make it larger in
//! place, in an order that may be cut off anywhere; never moves what is there, and never reads a clock.
//!
//! [`Growth::new`] decides everything and refuses what cannot be; [`Growth::write`] writes it:
//!
//! 1. All that lies in new groups: their copies of superblock and descriptors, bitmaps, inode tables. The
//!    old superblock knows nothing of it.
//! 2. The mark: the primary superblock says that the filesystem is unfinished (not clean, with an error in
//!    `mke4fs grow`).
//! 3. What changes in place: the bitmap of the last old group, the resize inode, the copies and the
//!    descriptors of old groups.
//! 4. The new primary superblock.
//!
//! Each waits until the one before is on stable storage. A run that ends before 2 or after 4 leaves the old
//! or the new filesystem. One that ends between leaves a filesystem that says so, whose files can all be
//! read; growing it again goes on, also to the size that it has, which takes everything back.
//!
//! ```
//! use mke4fs::grow::Growth;
//! use mke4fs::read::Filesystem;
//! use mke4fs::sink::{Memory, Sink};
//!
//! let image = mke4fs::Builder::new().size_bytes(8 << 20).to_vec()?;
//! // A filesystem of 8 MiB, in memory that has room for 80.
//! let storage = Memory::new(80 << 20);
//! storage.write_at(0, &image)?;
//!
//! let growth = Growth::new(&Filesystem::open(&storage)?, 80 << 20)?;
//! growth.write(&storage, 0)?;
//! assert_eq!(growth.size_bytes(), 80 << 20);
//! # let report = mke4fs::check::check(&storage);
//! # assert!(report.is_clean(), "{report:?}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod descriptors;
mod error;
mod places;
mod resize_inode;
mod state;
mod write;

pub use error::{GrowError, GrowErrorKind};

#[cfg(feature = "cli")]
pub(crate) use error::Bytes;

use crate::feature::Feature;
use crate::ondisk::superblock::halves;
use crate::read::bytes::join;
use crate::read::{Filesystem, Superblock};
use crate::sink::ImageRange;
use descriptors::Descriptors;
use error::ErrorKind;
use resize_inode::ResizeInode;
use state::Start;

/// How a filesystem becomes larger: decided, and not yet written.
#[derive(Debug)]
pub struct Growth {
    old: Superblock,
    new: Superblock,
    descriptors: Descriptors,
    resize_inode: Option<ResizeInode>,
    start: Start,
}

impl Growth {
    /// Decides how a filesystem becomes `size_bytes` large: rounded down to whole blocks, and without a
    /// last group that would be too short for its own tables.
    ///
    /// # Errors
    /// Where it is not clean, has less than it asks for or features that are unknown, or cannot be that
    /// large in place. Then the way to another size is a new filesystem with its files.
    pub fn new(filesystem: &Filesystem<'_>, size_bytes: u64) -> Result<Self, GrowError> {
        let start = state::check(filesystem)?;
        let old = filesystem.superblock().clone();
        let mut new = larger(&old, size_bytes)?;
        check_descriptor_blocks(&old, &new)?;
        let descriptors = Descriptors::new(filesystem, &new, start)?;
        let resize_inode = ResizeInode::new(filesystem, &new, &descriptors, start)?;
        set_counts(&mut new, &old, &descriptors);
        Ok(Self {
            old,
            new,
            descriptors,
            resize_inode,
            start,
        })
    }

    /// How large the filesystem is, in bytes.
    pub fn old_size_bytes(&self) -> u64 {
        self.old.blocks_count() * self.old.block_size().bytes_u64()
    }

    /// How large it will be, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.new.blocks_count() * self.new.block_size().bytes_u64()
    }

    /// The bytes that it will have in a file in which it begins `offset_bytes` behind the first: what
    /// [`Output::make_room`](crate::sink::Output::make_room) takes.
    pub fn range(&self, offset_bytes: u64) -> ImageRange {
        ImageRange::new(offset_bytes..offset_bytes.saturating_add(self.size_bytes()))
    }

    /// The superblock that it will have.
    pub fn superblock(&self) -> &Superblock {
        &self.new
    }

    /// Whether there is nothing to do: it has that size already.
    pub fn is_nothing(&self) -> bool {
        self.start == Start::Clean && self.old.blocks_count() == self.new.blocks_count()
    }
}

/// The superblock of a filesystem of that size, its free counts and checksum still the old ones.
fn larger(old: &Superblock, size_bytes: u64) -> Result<Superblock, GrowError> {
    let block_bytes = old.block_size().bytes_u64();
    let mut blocks = size_bytes / block_bytes;
    if blocks < old.blocks_count() {
        return Err(ErrorKind::Smaller {
            asked_bytes: size_bytes,
            has_bytes: old.blocks_count() * block_bytes,
        }
        .into());
    }
    blocks = (blocks - blocks % old.cluster_ratio()).max(old.blocks_count());
    let most = if old.has(Feature::SixtyFourBit) {
        (1 << 48) - 1
    } else {
        u64::from(u32::MAX)
    };
    if blocks > most {
        return Err(ErrorKind::TooManyBlocks { blocks, most }.into());
    }
    let new = with_blocks(old, blocks)?;
    if new.groups_count() > old.groups_count() && places::is_last_group_too_short(&new) {
        return with_blocks(old, new.group_run(new.groups_count() - 1).start.get());
    }
    Ok(new)
}

/// The superblock of a filesystem of `blocks` blocks.
fn with_blocks(old: &Superblock, blocks: u64) -> Result<Superblock, GrowError> {
    let mut sb = state::unmarked(old.stored());
    let groups = (blocks - old.first_data_block().get()).div_ceil(old.blocks_per_group());
    let inodes = groups.saturating_mul(old.inodes_per_group().into());
    let inodes_count = u32::try_from(inodes).map_err(|_| ErrorKind::TooManyInodes { inodes })?;
    let groups = u32::try_from(groups).map_err(|_| ErrorKind::TooManyInodes { inodes })?;
    sb.set_blocks_count(blocks);
    sb.s_inodes_count = inodes_count.into();
    if !old.has(Feature::MetaBg) {
        let more = groups.div_ceil(old.descs_per_block().max(1)) - old.desc_blocks();
        let left = u32::from(sb.s_reserved_gdt_blocks.get()).saturating_sub(more);
        sb.s_reserved_gdt_blocks = u16::try_from(left).unwrap_or(u16::MAX).into();
    }
    let is_moved = groups > old.groups_count() && old.cluster_ratio() == 1;
    if old.has(Feature::SparseSuper2) && is_moved {
        sb.s_backup_bgs = backups(old, groups).map(Into::into);
    }
    Superblock::decode(sb).map_err(|_| ErrorKind::Damaged("its superblock is invalid").into())
}

/// Where the copies of sparse_super2 go: those in the last group move to the new last one, and a
/// filesystem of one group, which has none, gets them, as resize2fs has it.
fn backups(old: &Superblock, groups: u32) -> [u32; 2] {
    let last = groups - 1;
    let before = old.stored().s_backup_bgs.map(|group| group.get());
    if old.groups_count() == 1 {
        return [1, if last > 1 { last } else { 0 }];
    }
    before.map(|group| {
        if group == old.groups_count() - 1 {
            last
        } else {
            group
        }
    })
}

/// Refuses more descriptor blocks than have a place.
fn check_descriptor_blocks(old: &Superblock, new: &Superblock) -> Result<(), GrowError> {
    if old.has(Feature::MetaBg) {
        return Ok(());
    }
    let needed = new.desc_blocks() - old.desc_blocks();
    let left = u32::from(old.stored().s_reserved_gdt_blocks.get());
    if needed <= left {
        return Ok(());
    }
    let groups = u64::from(old.desc_blocks() + left) * u64::from(old.descs_per_block());
    let blocks = old.first_data_block().get() + groups * old.blocks_per_group();
    Err(ErrorKind::NoReservedGdtBlocks {
        needed,
        left,
        most_bytes: blocks.saturating_mul(old.block_size().bytes_u64()),
    }
    .into())
}

/// Sets what follows from the places of everything, and the checksum.
fn set_counts(new: &mut Superblock, old: &Superblock, descriptors: &Descriptors) {
    let has_wide = old.has(Feature::SixtyFourBit);
    let wide = |low: u32, high: u32| join(low, if has_wide { high } else { 0 });
    let sb = &mut new.sb;
    let free = wide(
        sb.s_free_blocks_count_lo.get(),
        sb.s_free_blocks_count_hi.get(),
    );
    let free = free.saturating_add(descriptors.freed_clusters() * old.cluster_ratio());
    // The high halves mean something else without 64bit.
    let [free_lo, free_hi] = <[_; 2]>::from(halves(free));
    sb.s_free_blocks_count_lo = free_lo;
    let reserved = wide(sb.s_r_blocks_count_lo.get(), sb.s_r_blocks_count_hi.get());
    let share =
        u128::from(reserved) * u128::from(new.blocks_count) / u128::from(old.blocks_count()).max(1);
    let [reserved_lo, reserved_hi] =
        <[_; 2]>::from(halves(u64::try_from(share).unwrap_or(u64::MAX)));
    sb.s_r_blocks_count_lo = reserved_lo;
    if has_wide {
        sb.s_free_blocks_count_hi = free_hi;
        sb.s_r_blocks_count_hi = reserved_hi;
    }
    let inodes = new.inodes_count - old.inodes_count();
    sb.s_free_inodes_count = (sb.s_free_inodes_count.get().saturating_add(inodes)).into();
    // A growth that is taken back changes nothing.
    if new.blocks_count != old.blocks_count() {
        sb.s_overhead_clusters = overhead(old, descriptors).into();
    }
    if old.has_checksums() {
        sb.s_checksum = sb.checksum().into();
    }
}

/// `s_overhead_clusters`: what the filesystem has for itself; 0 where the kernel shall count it, as with
/// clusters, whose metadata share some.
fn overhead(old: &Superblock, descriptors: &Descriptors) -> u32 {
    let before = old.stored().s_overhead_clusters.get();
    if before == 0 || old.cluster_ratio() > 1 {
        return 0;
    }
    let sum = i128::from(before) + descriptors.added_metadata_blocks();
    u32::try_from(sum).unwrap_or(0)
}
