//! Given the inode that keeps descriptor blocks for growing, judges where it leads; never grows.
//!
//! Its double indirect block leads to the kept blocks of the first group, and each of those to its
//! namesakes in the groups with copies (e2fsck's `check_resize_inode`).

use super::finding::{Area, FindingKind, Location, Owner};
use super::inventory::Inventory;
use super::usage::size_of_file;
use super::volume::{Volume, index, join, length, word};
use crate::feature::Feature;
use crate::units::{Block, Ino, Run};

/// Where `i_block` has the double indirect block, in bytes.
const DOUBLE: usize = 13 * 4;

/// Judges the inode and claims its double indirect block.
pub(super) fn check(volume: &Volume<'_>, inventory: &mut Inventory) {
    let ino = Ino::RESIZE.get();
    let place = Location::inode(ino);
    let say = |rule| volume.rule(Area::Resize, place, rule);
    let Some(file) = inventory.own.get(&ino) else {
        if volume.has(Feature::ResizeInode) {
            say("it is empty");
        }
        return;
    };
    let it = file.node;
    if !volume.has(Feature::ResizeInode) {
        say("it is not empty, in a filesystem without resize_inode");
        return;
    }
    let double = word(&it.i_block, DOUBLE);
    let rest = it.i_block.iter().enumerate();
    let is_only = rest
        .filter(|(at, _)| !(DOUBLE..DOUBLE + 4).contains(at))
        .all(|(_, byte)| *byte == 0);
    let run = Run::one(Block::new(double.into()));
    if !is_only || !volume.is_inside(run) {
        say("its map is not one double indirect block");
        return;
    }
    let owner = Owner::Map(Ino::new(ino));
    inventory.claiming.claims.add(run, owner);
    let backups: Vec<u32> = (1..volume.groups)
        .filter(|group| volume.has_superblock(*group))
        .collect();
    let kept = u64::from(volume.sb.s_reserved_gdt_blocks.get());
    let sectors = volume.block_size.bytes_u64() / 512;
    let clusters = 1 + kept * (1 + length(backups.len()));
    let at = (Area::Resize, place);
    let found = join(it.i_blocks_lo.get(), it.i_blocks_hi.get().into());
    let ratio = volume.cluster_ratio;
    volume.equal(at, "i_blocks", (found, clusters * ratio * sectors));
    if size_of_file(&it) == 0 {
        say("it has no size");
    }
    if let Some(bytes) = volume.block(at, double.into()) {
        check_kept(volume, place.at(double.into()), &bytes, &backups);
    }
}

/// Judges every pointer to a kept block, and those within.
fn check_kept(volume: &Volume<'_>, place: Location, bytes: &[u8], backups: &[u32]) {
    let all = volume.descriptor_run(0);
    let desc_blocks = u64::from(volume.desc_blocks());
    let pointers = volume.block_size.bytes_u64() / 4;
    let mut needed = vec![0_u64; index(pointers)];
    let mut told = 0;
    for step in desc_blocks..all.len {
        let block = all.start.get() + step;
        if let Some(slot) = needed.get_mut(index(step % pointers)) {
            *slot = block;
        }
        let at = (Area::Resize, Location::inode(Ino::RESIZE.get()));
        let Some(kept) = volume.block(at, block) else {
            return;
        };
        let wanted = backups
            .iter()
            .map(|group| block + u64::from(*group) * volume.blocks_per_group)
            .chain(std::iter::repeat(0));
        if !leads_to(&kept, wanted) {
            let rule = "a reserved GDT block does not point to its backups";
            volume.rule(Area::Resize, at.1.at(block), rule);
            told += 1;
        }
        if told > 16 {
            return;
        }
    }
    if !leads_to(bytes, needed.into_iter()) {
        let fault = FindingKind::Rule("it does not point to the reserved GDT blocks");
        volume.note(Area::Resize, place, fault);
    }
}

fn leads_to(block: &[u8], needed: impl Iterator<Item = u64>) -> bool {
    let (words, _) = block.as_chunks::<4>();
    let mut found = words
        .iter()
        .map(|four| u64::from(u32::from_le_bytes(*four)));
    let mut needed = needed;
    found.all(|pointer| needed.next() == Some(pointer))
}
