//! Given the groups, judges every inode in use by itself, claims its blocks, and gathers what the
//! checks of the whole filesystem need; never follows a name.
//!
//! Layout: the kernel's `inodes.rst`; rules as in e2fsck's first pass.

use std::collections::HashSet;

use super::bitmaps;
use super::content;
use super::finding::{Area, Location};
use super::groups::Desc;
use super::inventory::{Inventory, Known, is_own};
use super::node::Node;
use super::volume::{Volume, half, index, join, length};
use crate::feature::Feature;
use crate::read;
use crate::units::Ino;

/// Bytes of an inode table that are read at once.
const CHUNK: u64 = 1 << 16;

/// Walks every inode table.
pub(super) fn scan(volume: &Volume<'_>, descs: &[Desc], inventory: &mut Inventory) {
    let mut free_total = 0;
    let overlapping = overlapping_tables(volume, descs);
    for (group, desc) in (0..).zip(descs) {
        if overlapping.contains(&group) {
            let rule = "its inode table overlaps another's; its inodes are not checked";
            volume.rule(Area::Descriptor, Location::group(group), rule);
            continue;
        }
        let counts = scan_group(volume, desc, inventory);
        let free = u64::from(volume.inodes_per_group.saturating_sub(counts.used));
        free_total += free;
        let at = (Area::Descriptor, Location::group(group));
        let pairs = [
            ("bg_free_inodes_count", desc.free_inodes, free),
            ("bg_used_dirs_count", desc.used_dirs, counts.dirs.into()),
        ];
        for (what, found, needed) in pairs {
            volume.equal(at, what, (found.into(), needed));
        }
    }
    let found = u64::from(volume.sb.s_free_inodes_count.get());
    let at = (Area::Superblock, Location::WHOLE);
    volume.equal(at, "s_free_inodes_count", (found, free_total));
}

/// The groups whose inode table begins within that of another group. Inodes that many groups have in
/// common are read for one of them: thousands of groups can share a table of thousands.
fn overlapping_tables(volume: &Volume<'_>, descs: &[Desc]) -> HashSet<u32> {
    let blocks = volume.table_blocks();
    let tables = (0..)
        .zip(descs)
        .map(|(group, desc)| (desc.inode_table, group));
    let mut tables: Vec<(u64, u32)> = tables.collect();
    tables.sort_unstable();
    let pairs = tables.iter().zip(tables.iter().skip(1));
    let overlapping = pairs.filter(|(before, after)| after.0 - before.0 < blocks);
    overlapping.map(|(_, (_, group))| *group).collect()
}

#[derive(Clone, Copy, Default)]
struct Counts {
    used: u32,
    dirs: u32,
}

fn scan_group(volume: &Volume<'_>, desc: &Desc, inventory: &mut Inventory) -> Counts {
    let group = desc.number;
    let mut counts = Counts::default();
    let has_lazy = volume.features.has_group_desc_csum();
    if has_lazy && !desc.has_inodes() {
        return counts;
    }
    let unused = if has_lazy { desc.itable_unused } else { 0 };
    let count = volume.inodes_per_group.saturating_sub(unused);
    let size = length(volume.inode_size);
    let table = desc
        .inode_table
        .saturating_mul(volume.block_size.bytes_u64());
    let mut bitmap = vec![0; volume.block_size.bytes_usize()];
    let per_chunk = (CHUNK / size).max(1);
    for first in (0..u64::from(count)).step_by(index(per_chunk)) {
        let many = per_chunk.min(u64::from(count) - first);
        let offset = table.saturating_add(first * size);
        let reserved = group == 0 && first < u64::from(volume.first_ino);
        if !reserved && volume.is_hole(offset, many * size) {
            continue;
        }
        let at = (Area::Inode, Location::group(group));
        let Some(bytes) = volume.bytes(at, offset, index(many * size)) else {
            break;
        };
        for (bit, stored) in (first..).zip(bytes.chunks_exact(volume.inode_size)) {
            let number = u64::from(group) * u64::from(volume.inodes_per_group) + bit + 1;
            let Ok(ino) = u32::try_from(number) else {
                break;
            };
            if is_used(volume, ino, stored) {
                bitmaps::set(&mut bitmap, bit, bit + 1);
                counts.used += 1;
                counts.dirs += u32::from(inode(volume, ino, stored, inventory));
            }
        }
    }
    bitmaps::check_inodes(volume, desc, &bitmap);
    counts
}

/// Whether an inode is in use: it has a name, or is the filesystem's own.
fn is_used(volume: &Volume<'_>, ino: u32, stored: &[u8]) -> bool {
    if ino < volume.first_ino || is_own(volume, ino) || half(stored, 0x1a) != 0 {
        return true;
    }
    let (mode, dtime) = (half(stored, 0), super::volume::word(stored, 0x14));
    if mode != 0 && dtime == 0 {
        let rule = "it has no name and was never deleted";
        volume.rule(Area::Inode, Location::inode(ino), rule);
    }
    false
}

/// Judges an inode in use; true if it is a directory.
fn inode(volume: &Volume<'_>, ino: u32, stored: &[u8], inventory: &mut Inventory) -> bool {
    let inode = read::Inode::decode(volume, Ino::new(ino), stored);
    let node = Node::new(inode);
    let it = node.it;
    check_checksum(volume, &node);
    check_fields(volume, &node);
    content::check(volume, &node, inventory);
    // What nothing may lead to is not known to the walk over directories.
    if !is_own(volume, ino) {
        inventory.known.push(Known {
            ino,
            file_type: node.file_type(),
            links: it.i_links_count.get(),
            is_indexed: node.has_flag(crate::ondisk::inode::FLAG_INDEX),
            counted: 0,
            parent: 0,
        });
    }
    node.is_directory()
}

fn check_checksum(volume: &Volume<'_>, node: &Node) {
    if let Some(pair) = node.inode.checksums(volume) {
        let at = (Area::Inode, Location::inode(node.ino));
        volume.sum(at, "i_checksum", pair);
    }
}

fn check_fields(volume: &Volume<'_>, node: &Node) {
    let it = &node.it;
    let place = Location::inode(node.ino);
    let say = |rule| volume.rule(Area::Inode, place, rule);
    let is_hurd = volume.sb.s_creator_os.get() == 1;
    if !node.inode.is_extra_sound() {
        say("i_extra_isize is not a multiple of 4 within the inode");
    }
    if it.i_dtime.get() != 0 && it.i_links_count.get() != 0 {
        say("it is in use but has a deletion time");
    }
    if it.i_faddr.get() != 0 {
        say("i_faddr is not zero");
    }
    if !is_hurd && it.i_file_acl_hi.get() != 0 && !volume.has(Feature::SixtyFourBit) {
        say("i_file_acl_hi is not zero, in a filesystem without 64bit");
    }
    let is_huge = node.has_flag(crate::ondisk::inode::FLAG_HUGE_FILE);
    if !is_hurd && it.i_blocks_hi.get() != 0 && !volume.has(Feature::HugeFile) {
        say("i_blocks_hi is not zero, in a filesystem without huge_file");
    }
    if is_huge && !volume.has(Feature::HugeFile) {
        say("it counts its blocks as a huge file, in a filesystem without huge_file");
    }
    if node.is_directory() && it.i_size_hi.get() != 0 && !volume.has(Feature::LargeDir) {
        say("i_size_hi of a directory is not zero");
    }
    let size = join(it.i_size_lo.get(), it.i_size_hi.get());
    if node.is_regular() && size >= 1 << 31 && !volume.has(Feature::LargeFile) {
        say("it is larger than 2 GiB, in a filesystem without large_file");
    }
}
