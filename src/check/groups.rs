//! Given the geometry, gives every group's descriptor and who has the blocks of its tables; judges
//! descriptors by themselves, and never what the bitmaps hold.
//!
//! Layout: the kernel's `group_descr.rst`; bounds as in e2fsck's `check_super_block`.

use super::claims::Claims;
use super::finding::{Area, FindingKind, Location, Owner};
use super::volume::{Volume, index, length};
use crate::feature::Feature;
pub(super) use crate::read::Group as Desc;
use crate::read::groups::checksums;
use crate::units::{Group, Run};

/// How many descriptors may be broken before the rest is taken to be none.
const MOST_BROKEN: u32 = 64;

/// Reads and judges every descriptor; `None` where too many are broken for the rest to
/// mean anything.
pub(super) fn read_all(volume: &Volume<'_>) -> Option<Vec<Desc>> {
    let mut descs = Vec::new();
    let mut broken = 0;
    let per_block = volume.descs_per_block();
    for first in (0..volume.groups).step_by(index(per_block.into())) {
        let block = volume.descriptor_block(first).get();
        let at = (Area::Descriptor, Location::group(first));
        let bytes = volume.block(at, block)?;
        let end = first.saturating_add(per_block).min(volume.groups);
        for (group, stored) in (first..end).zip(bytes.chunks_exact(volume.desc_size)) {
            let desc = Desc::decode(group, stored);
            let is_sound = check(volume, stored, &desc);
            broken += u32::from(!is_sound);
            if broken > MOST_BROKEN {
                let rule =
                    "too many descriptors point outside the filesystem; nothing else is checked";
                volume.rule(Area::Descriptor, Location::group(group), rule);
                return None;
            }
            descs.push(desc);
        }
    }
    (broken == 0).then_some(descs)
}

/// Judges one descriptor, and says whether its tables are inside the filesystem.
fn check(volume: &Volume<'_>, stored: &[u8], desc: &Desc) -> bool {
    let group = desc.number;
    let at = (Area::Descriptor, Location::group(group));
    if let Some((found, needed)) = checksums(volume, group, stored) {
        volume.sum(at, "bg_checksum", (found.into(), needed.into()));
    }
    check_lazy(volume, group, desc);
    let mut sound = true;
    for (run, _) in tables(volume, desc) {
        let inside = volume.is_inside(run);
        let run_of_group = volume.group_run(group);
        let inside_group = run.start >= run_of_group.start && run.end() <= run_of_group.end();
        if !inside {
            volume.note(at.0, at.1, FindingKind::Outside(run));
            sound = false;
        } else if !inside_group && !volume.has(Feature::FlexBg) {
            volume.rule(at.0, at.1, "a table lies in another group without flex_bg");
        }
    }
    sound
}

fn check_lazy(volume: &Volume<'_>, group: u32, desc: &Desc) {
    let at = (Area::Descriptor, Location::group(group));
    let is_lazy = !desc.has_block_bitmap() || !desc.has_inodes() || desc.itable_unused != 0;
    if !volume.features.has_group_desc_csum() {
        if is_lazy {
            let rule = "something is not initialized, in a filesystem without descriptor checksums";
            volume.rule(at.0, at.1, rule);
        }
        return;
    }
    if !desc.has_block_bitmap() && group + 1 == volume.groups {
        volume.rule(
            at.0,
            at.1,
            "the last group's block bitmap is not initialized",
        );
    }
    let most = desc.free_inodes.min(volume.inodes_per_group);
    let found = desc.itable_unused.into();
    volume.within(at, "bg_itable_unused", found, 0..=most.into());
}

/// The blocks of a group's bitmaps and inode table.
pub(super) fn tables(volume: &Volume<'_>, desc: &Desc) -> [(Run, Owner); 3] {
    let group = Group::new(desc.number);
    let [block_bitmap, inode_bitmap, inode_table] = desc.tables(volume);
    [
        (block_bitmap, Owner::BlockBitmap(group)),
        (inode_bitmap, Owner::InodeBitmap(group)),
        (inode_table, Owner::InodeTable(group)),
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
        for (run, owner) in copies(volume, group).chain(tables(volume, desc)) {
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
        let (first, blocks) = match is_spread {
            // The group that begins a stretch holds the primary descriptors.
            true if group % per_block == 0 => continue,
            true => (number * per_block, run.len),
            false => (0, run.len.min(volume.desc_blocks().into())),
        };
        // A copy that is longer than its group lies over those of other groups, which is told.
        let blocks = blocks.min(volume.group_run(group).len);
        for step in 0..blocks {
            let from = index(u64::from(first) + step * u64::from(per_block));
            let known = descs.get(from..).unwrap_or_default();
            let block = run.start.get() + step;
            compare_block(volume, group, block, known);
        }
    }
}

fn compare_block(volume: &Volume<'_>, group: u32, block: u64, known: &[Desc]) {
    let at = (Area::Backup, Location::group(group));
    let Some(bytes) = volume.block(at, block) else {
        return;
    };
    let copies = bytes.chunks_exact(volume.desc_size).zip(known);
    let differ = copies.filter(|(copy, known)| {
        let places = |desc: &Desc| (desc.block_bitmap, desc.inode_bitmap, desc.inode_table);
        places(&Desc::decode(group, copy)) != places(known)
    });
    let found = length(differ.count());
    let what = "the number of descriptors with other locations";
    volume.equal((at.0, at.1.at(block)), what, (found, 0));
}
