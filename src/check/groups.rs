//! Given the geometry, gives every group's descriptor and who has the blocks of its tables; judges
//! descriptors by themselves, and never what the bitmaps hold.
//!
//! Layout: the kernel's `group_descr.rst`; bounds as in e2fsck's `check_super_block`.

use super::claims::Claims;
use super::finding::{Area, Fault, Owner, Place};
use super::volume::{Volume, index, join, length, read};
use crate::feature::Feature;
use crate::ondisk::group_desc::{
    BLOCK_UNINIT, GroupDesc, INODE_UNINIT, checksum_crc16, checksum_crc32c,
};
use crate::units::{Block, Group, Run};

/// How many descriptors may be broken before the rest is taken to be none.
const MOST_BROKEN: u32 = 64;

/// What a descriptor says.
#[derive(Clone, Copy)]
pub(super) struct Desc {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) used_dirs: u32,
    pub(super) itable_unused: u32,
    pub(super) flags: u16,
    pub(super) block_bitmap_csum: u32,
    pub(super) inode_bitmap_csum: u32,
}

impl Desc {
    pub(super) fn has_block_bitmap(&self) -> bool {
        self.flags & BLOCK_UNINIT == 0
    }

    pub(super) fn has_inodes(&self) -> bool {
        self.flags & INODE_UNINIT == 0
    }
}

/// Reads and judges every descriptor; `None` where so many are broken that nothing can be said of
/// the rest.
pub(super) fn read_all(volume: &Volume<'_>) -> Option<Vec<Desc>> {
    let mut descs = Vec::new();
    let mut broken = 0;
    let per_block = volume.descs_per_block();
    for first in (0..volume.groups).step_by(index(per_block.into())) {
        let block = primary_block(volume, first);
        let at = (Area::Descriptor, Place::group(first));
        let bytes = volume.block(at, block)?;
        let end = first.saturating_add(per_block).min(volume.groups);
        for (group, stored) in (first..end).zip(bytes.chunks_exact(volume.desc_size)) {
            let desc = parse(stored)?;
            let is_sound = check(volume, (group, stored), &desc);
            broken += u32::from(!is_sound);
            if broken > MOST_BROKEN {
                let rule = "too many descriptors lead nowhere; nothing else is checked";
                volume.rule(Area::Descriptor, Place::group(group), rule);
                return None;
            }
            descs.push(desc);
        }
    }
    (broken == 0).then_some(descs)
}

/// The block that holds the descriptors of `group` and its neighbours.
fn primary_block(volume: &Volume<'_>, group: u32) -> u64 {
    let per_block = volume.descs_per_block();
    let number = group / per_block;
    let is_spread = volume.has(Feature::MetaBg) && number >= volume.sb.s_first_meta_bg.get();
    if is_spread {
        volume.descriptor_run(number * per_block).start.get()
    } else {
        let boot = u64::from(volume.first_data_block == 0 && volume.is_small_block());
        volume.first_data_block + boot + 1 + u64::from(number)
    }
}

fn parse(stored: &[u8]) -> Option<Desc> {
    let mut whole = [0; size_of::<GroupDesc>()];
    for (slot, byte) in whole.iter_mut().zip(stored) {
        *slot = *byte;
    }
    let it: GroupDesc = read(&whole, 0)?;
    let wide = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
    Some(Desc {
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
    })
}

/// Judges one descriptor, and says whether its tables are inside the filesystem.
fn check(volume: &Volume<'_>, (group, stored): (u32, &[u8]), desc: &Desc) -> bool {
    let at = (Area::Descriptor, Place::group(group));
    let sum = super::volume::half(stored, 0x1e);
    if volume.has_checksums() {
        let needed = checksum_crc32c(volume.seed, group, stored);
        volume.sum(at, "bg_checksum", (sum.into(), needed.into()));
    } else if volume.has(Feature::GdtCsum) {
        let needed = checksum_crc16(&volume.sb.s_uuid, group, stored);
        volume.sum(at, "bg_checksum", (sum.into(), needed.into()));
    }
    check_lazy(volume, group, desc);
    let mut sound = true;
    for (run, _) in tables(volume, group, desc) {
        let inside = volume.is_inside(run);
        let run_of_group = volume.group_run(group);
        let inside_group = run.start >= run_of_group.start && run.end() <= run_of_group.end();
        if !inside {
            volume.note(at.0, at.1, Fault::Outside(run));
            sound = false;
        } else if !inside_group && !volume.has(Feature::FlexBg) {
            volume.rule(at.0, at.1, "a table lies in another group without flex_bg");
        }
    }
    sound
}

fn check_lazy(volume: &Volume<'_>, group: u32, desc: &Desc) {
    let at = (Area::Descriptor, Place::group(group));
    let is_lazy = !desc.has_block_bitmap() || !desc.has_inodes() || desc.itable_unused != 0;
    if !volume.features.has_group_desc_csum() {
        if is_lazy {
            let rule = "something is not initialised, in a filesystem without descriptor checksums";
            volume.rule(at.0, at.1, rule);
        }
        return;
    }
    if !desc.has_block_bitmap() && group + 1 == volume.groups {
        volume.rule(
            at.0,
            at.1,
            "the last group's block bitmap is not initialised",
        );
    }
    let most = desc.free_inodes.min(volume.inodes_per_group);
    if desc.itable_unused > most {
        let fault = Fault::Bounds {
            what: "bg_itable_unused",
            found: desc.itable_unused.into(),
            least: 0,
            most: most.into(),
        };
        volume.note(at.0, at.1, fault);
    }
}

/// The blocks of a group's bitmaps and inode table.
pub(super) fn tables(volume: &Volume<'_>, group: u32, desc: &Desc) -> [(Run, Owner); 3] {
    let group = Group::new(group);
    let one = |block| Run::one(Block::new(block));
    let table = Run::new(Block::new(desc.inode_table), volume.table_blocks());
    [
        (one(desc.block_bitmap), Owner::BlockBitmap(group)),
        (one(desc.inode_bitmap), Owner::InodeBitmap(group)),
        (table, Owner::InodeTable(group)),
    ]
}

/// The superblock and the descriptors that a group keeps.
pub(super) fn copies(volume: &Volume<'_>, group: u32) -> impl Iterator<Item = (Run, Owner)> {
    let number = Group::new(group);
    let start = volume.group_run(group).start;
    // With blocks of 1 KiB in clusters, the boot block belongs to the first group too.
    let boot = u64::from(group == 0 && volume.first_data_block == 0 && volume.is_small_block());
    let superblock = volume
        .has_superblock(group)
        .then(|| (Run::new(start, 1 + boot), Owner::Superblock(number)));
    let descriptors = volume.descriptor_run(group);
    let room = volume.blocks_count.saturating_sub(descriptors.start.get());
    let kept = Run::new(descriptors.start, descriptors.len.min(room));
    let descriptors = (kept.len > 0).then_some((kept, Owner::Descriptors(number)));
    superblock.into_iter().chain(descriptors)
}

/// Claims what every group keeps.
pub(super) fn claim(volume: &Volume<'_>, descs: &[Desc], claims: &mut Claims) {
    for (group, desc) in (0..).zip(descs) {
        for (run, owner) in copies(volume, group).chain(tables(volume, group, desc)) {
            claims.add(run, owner);
        }
    }
}

/// Compares the places in every copy of the descriptors with the primary ones. Their counts and
/// flags grow old: nobody keeps them.
pub(super) fn check_backups(volume: &Volume<'_>, descs: &[Desc]) {
    for group in 1..volume.groups {
        let per_block = volume.descs_per_block();
        let number = group / per_block;
        let run = volume.descriptor_run(group);
        let is_spread = volume.has(Feature::MetaBg) && number >= volume.sb.s_first_meta_bg.get();
        // The group that begins a stretch holds the primary descriptors.
        if is_spread && group % per_block == 0 {
            continue;
        }
        let (first, blocks) = if is_spread {
            (number * per_block, run.len)
        } else {
            (0, run.len.min(volume.desc_blocks().into()))
        };
        // A copy that is longer than its group lies over those of other groups, which is told.
        let blocks = blocks.min(volume.group_run(group).len);
        for step in 0..blocks {
            let from = index(u64::from(first) + step * u64::from(per_block));
            let known = descs.get(from..).unwrap_or_default();
            let block = run.start.get() + step;
            compare_block(volume, (group, block), known);
        }
    }
}

fn compare_block(volume: &Volume<'_>, (group, block): (u32, u64), known: &[Desc]) {
    let at = (Area::Backup, Place::group(group));
    let Some(bytes) = volume.block(at, block) else {
        return;
    };
    let copies = bytes.chunks_exact(volume.desc_size).map(parse);
    let differ = copies.zip(known).filter(|(copy, known)| {
        let places = |desc: &Desc| (desc.block_bitmap, desc.inode_bitmap, desc.inode_table);
        copy.is_none_or(|copy| places(&copy) != places(known))
    });
    let found = length(differ.count());
    let what = "the number of descriptors that lead elsewhere";
    volume.equal((at.0, at.1.at(block)), what, (found, 0));
}
