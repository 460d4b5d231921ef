//! Given a filesystem that was unmounted, judges that it has no orphans; never deletes one.
//!
//! Layout: the kernel's `orphan.rst`.

use super::finding::{Area, Location};
use super::inventory::Inventory;
use super::maps;
use super::volume::{Volume, word};
use crate::feature::Feature;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::orphan::MAGIC;

/// How many blocks may be broken before the rest is left alone.
const MOST_BROKEN: u32 = 16;

/// Judges the list of orphans and the orphan file.
pub(super) fn check(volume: &Volume<'_>, inventory: &Inventory) {
    let sb = &volume.sb;
    if sb.s_last_orphan.get() != 0 {
        volume.rule(
            Area::Orphans,
            Location::WHOLE,
            "the list of orphans is not empty",
        );
    }
    if !volume.has(Feature::OrphanFile) {
        return;
    }
    let ino = sb.s_orphan_file_inum.get();
    let place = Location::inode(ino);
    let Some(file) = inventory.own.get(&ino) else {
        volume.rule(Area::Orphans, place, "the orphan file is empty");
        return;
    };
    if file.mapped.pieces.is_empty() || file.mapped.has_holes() {
        volume.rule(Area::Orphans, place, "the orphan file has holes");
    }
    let bytes = volume.block_size.bytes_u64();
    let at = (Area::Orphans, place);
    let size = super::usage::size_of_file(&file.node);
    volume.equal(at, "i_size", (size, file.mapped.end() * bytes));
    let seed = volume.inode_seed(ino, file.node.i_generation.get());
    let mut broken = 0;
    for (_, block) in maps::blocks(&file.mapped.pieces) {
        if !volume.is_first(at.0, block) {
            volume.rule(
                at.0,
                at.1,
                "it has one block twice; the rest is not checked",
            );
            return;
        }
        let is_sound = volume
            .block(at, block)
            .is_some_and(|bytes| check_block(volume, place.at(block), &bytes, seed));
        broken += u32::from(!is_sound);
        if broken > MOST_BROKEN {
            volume.rule(
                at.0,
                at.1,
                "too many blocks are damaged; the rest is not checked",
            );
            return;
        }
    }
}

fn check_block(volume: &Volume<'_>, place: Location, bytes: &[u8], seed: u32) -> bool {
    let before = volume.found();
    let (entries, tail) = bytes.split_at(bytes.len().saturating_sub(8));
    let at = (Area::Orphans, place);
    if word(tail, 0) != MAGIC {
        volume.rule(at.0, at.1, "a block lacks its magic number");
        return false;
    }
    if entries.iter().any(|byte| *byte != 0) {
        volume.rule(at.0, at.1, "an orphan waits to be deleted");
    }
    let needed = match place.block {
        Some(block) if volume.has_checksums() => {
            crc32c(crc32c(seed, &block.get().to_le_bytes()), entries)
        }
        _ => 0,
    };
    volume.sum(at, "a block's checksum", (word(tail, 4), needed));
    volume.found() == before
}
