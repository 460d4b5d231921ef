//! Given an open filesystem, tells a grid which blocks its groups and inodes have, and counts what is damaged;
//! never what is in them.

use std::collections::HashSet;
use std::ops::Range;

use super::grid::Grid;
use super::{BlockOwner, Damage};
use crate::feature::Feature;
use crate::ondisk::inode::FLAG_EA_INODE;
use crate::read::{self, Error, Extent, Filesystem, Inode, Result, Superblock};
use crate::units::{Block, Group, Ino, Run};

/// The feature of images whose files share blocks, which Android makes (kernel doc `super.rst`,
/// `RO_COMPAT_SHARED_BLOCKS`).
const SHARED_BLOCKS: u32 = 0x4000;

/// How often the blocks of such an image are claimed, on average.
const MOST_SHARES: u64 = 256;

/// What files have claimed so far.
struct Claiming<'a> {
    sb: &'a Superblock,
    grid: &'a mut Grid,
    claimed: u64,
    /// Whether files claimed more blocks than there are, which ends their counting.
    is_full: bool,
    /// Blocks of extended attributes, which inodes share.
    xattr_blocks: HashSet<Block>,
}

/// Claims everything that has an owner.
pub(super) fn claim_all(filesystem: &Filesystem<'_>, grid: &mut Grid, damage: &mut Option<Damage>) {
    let sb = filesystem.superblock();
    for number in 0..sb.groups_count() {
        claim_copies(sb, number, grid);
        match filesystem.group(Group::new(number)) {
            Ok(group) => claim_tables(sb, &group, grid),
            Err(error) => Damage::add(damage, error),
        }
    }
    let mmp = sb.stored().s_mmp_block.get();
    if sb.has(Feature::Mmp) {
        grid.claim(Run::one(Block::new(mmp)), BlockOwner::System);
    }
    let mut claiming = Claiming {
        sb,
        grid,
        claimed: 0,
        is_full: false,
        xattr_blocks: HashSet::new(),
    };
    for inode in filesystem.inodes() {
        let claimed = match inode {
            Ok(inode) => claiming.inode(filesystem, &inode),
            // Those of damaged groups are told of by the groups.
            Err(error) if is_of_damaged_group(filesystem, &error) => Ok(()),
            Err(error) => Err(error),
        };
        claimed.unwrap_or_else(|error| Damage::add(damage, error));
        if claiming.is_full {
            return;
        }
    }
    for ino in [Ino::BAD_BLOCKS, Ino::RESIZE] {
        let claimed = claiming.nameless(filesystem, ino);
        claimed.unwrap_or_else(|error| Damage::add(damage, error));
    }
}

/// Tells the grid what the block bitmaps have in use.
pub(super) fn count_used(
    filesystem: &Filesystem<'_>,
    grid: &mut Grid,
    damage: &mut Option<Damage>,
) {
    let sb = filesystem.superblock();
    let ratio = sb.cluster_ratio();
    for number in 0..sb.groups_count() {
        let run = sb.group_run(number);
        let group = filesystem.group(Group::new(number));
        let bitmap = group.ok().and_then(|group| {
            let bitmap = filesystem.block_bitmap(&group);
            bitmap.map_err(|error| Damage::add(damage, error)).ok()
        });
        let Some(bitmap) = bitmap else {
            grid.mark_unknown(run);
            continue;
        };
        let clusters = run.len.div_ceil(ratio);
        let mut start = next(&bitmap, 0..clusters, Bit::Set);
        while start < clusters {
            let end = next(&bitmap, start..clusters, Bit::Clear);
            let blocks = start * ratio..(end * ratio).min(run.len);
            let used = Run::new(run.start.plus(blocks.start), blocks.end - blocks.start);
            grid.mark_used(used);
            start = next(&bitmap, end..clusters, Bit::Set);
        }
    }
}

fn is_of_damaged_group(filesystem: &Filesystem<'_>, error: &Error) -> bool {
    let group = error.group().map(|group| filesystem.group(group));
    group.is_some_and(|group| group.is_err())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bit {
    Set,
    Clear,
}

/// The first bit in `range` that is as wanted, or else its end.
fn next(bitmap: &[u8], range: Range<u64>, wanted: Bit) -> u64 {
    // Most bytes of a bitmap are all or nothing.
    let passed = match wanted {
        Bit::Set => 0,
        Bit::Clear => u8::MAX,
    };
    let mut at = range.start;
    while at < range.end {
        let byte = usize::try_from(at / 8).ok();
        let byte = byte.and_then(|index| bitmap.get(index));
        let byte = byte.copied().unwrap_or(u8::MAX);
        if byte == passed && at.is_multiple_of(8) {
            at += 8;
            continue;
        }
        let is_set = byte & (1 << (at % 8)) != 0;
        if is_set == (wanted == Bit::Set) {
            return at;
        }
        at += 1;
    }
    range.end
}

fn claim_tables(sb: &Superblock, group: &read::Group, grid: &mut Grid) {
    let [block_bitmap, inode_bitmap, table] = group.tables(sb);
    grid.claim(block_bitmap, BlockOwner::Bitmap);
    grid.claim(inode_bitmap, BlockOwner::Bitmap);
    grid.claim(table, BlockOwner::InodeTable);
}

/// Claims a group's copies of the superblock and of the descriptors, which the geometry alone places.
fn claim_copies(sb: &Superblock, number: u32, grid: &mut Grid) {
    let kept = sb.descriptor_run(number);
    let first = sb.group_run(number).start;
    if sb.has_superblock(number) {
        // Behind a boot block, where the first group has one.
        let len = kept.start.get().saturating_sub(first.get());
        let superblock = Run::one(first.plus(len.saturating_sub(1)));
        grid.claim(superblock, BlockOwner::Superblock);
    }
    let descriptors = kept.len.min(sb.desc_blocks().into());
    grid.claim(Run::new(kept.start, descriptors), BlockOwner::Descriptors);
    let reserved = Run::new(kept.start.plus(descriptors), kept.len - descriptors);
    grid.claim(reserved, BlockOwner::ReservedGdt);
}

impl Claiming<'_> {
    /// Claims the blocks of an inode that has a name.
    fn inode(&mut self, filesystem: &Filesystem<'_>, inode: &Inode) -> Result<()> {
        let ino = inode.ino();
        if ino == Ino::RESIZE || ino == Ino::BAD_BLOCKS {
            return Ok(());
        }
        let owner = self.owner(inode);
        if let Some(block) = inode.xattr_block()
            && self.xattr_blocks.insert(block)
        {
            self.claim(inode, Run::one(block), BlockOwner::Xattr)?;
        }
        // A short target is where a map would be, and so are the numbers of a device.
        let is_fast = inode.is_symlink() && inode.size() < 60;
        if is_fast || !(inode.is_file() || inode.is_dir() || inode.is_symlink()) {
            return Ok(());
        }
        let (extents, nodes) = filesystem.extents_and_nodes(inode)?;
        for node in nodes {
            self.claim(inode, Run::one(node), BlockOwner::MapNode)?;
        }
        for Extent { run, .. } in extents {
            self.claim(inode, run, owner)?;
        }
        Ok(())
    }

    /// Claims what belongs to an inode without a name, but for what groups have claimed already: the
    /// resize inode lists the reserved GDT blocks of all groups.
    fn nameless(&mut self, filesystem: &Filesystem<'_>, ino: Ino) -> Result<()> {
        let inode = filesystem.any_inode(ino)?;
        let reserved = self.sb.descriptor_run(0);
        let is_reserved = |block: Block| reserved.start <= block && block < reserved.end();
        let (extents, nodes) = filesystem.extents_and_nodes(&inode)?;
        for node in nodes.into_iter().filter(|node| !is_reserved(*node)) {
            self.claim(&inode, Run::one(node), BlockOwner::System)?;
        }
        for Extent { run, .. } in extents.iter().filter(|_| ino == Ino::BAD_BLOCKS) {
            self.claim(&inode, *run, BlockOwner::System)?;
        }
        Ok(())
    }

    fn owner(&self, inode: &Inode) -> BlockOwner {
        let (sb, ino) = (self.sb, inode.ino());
        let stored = sb.stored();
        let is_quota = sb.has(Feature::Quota) && ino.get() == stored.s_prj_quota_inum.get();
        let is_orphans =
            sb.has(Feature::OrphanFile) && ino.get() == stored.s_orphan_file_inum.get();
        let is_reserved = ino != Ino::ROOT && ino.get() < sb.first_ino();
        if ino == Ino::JOURNAL {
            BlockOwner::Journal
        } else if is_reserved || is_quota || is_orphans {
            BlockOwner::System
        } else if inode.flags() & FLAG_EA_INODE != 0 {
            BlockOwner::Xattr
        } else if inode.is_dir() {
            BlockOwner::Directory
        } else {
            BlockOwner::FileData
        }
    }

    /// Counts blocks, of which files have no more than there are: those that many files claim would take
    /// any time to count.
    fn claim(&mut self, inode: &Inode, run: Run, owner: BlockOwner) -> Result<()> {
        self.claimed = self.claimed.saturating_add(run.len);
        let may_share = self.sb.stored().s_feature_ro_compat.get() & SHARED_BLOCKS != 0;
        let shares = if may_share { MOST_SHARES } else { 1 };
        if self.claimed > self.sb.blocks_count().saturating_mul(shares) {
            self.is_full = true;
            let rule = "blocks belong to several files, which have more of them than there are";
            return Err(Error::rule(rule).in_inode(inode.ino()));
        }
        self.grid.claim(run, owner);
        Ok(())
    }
}
