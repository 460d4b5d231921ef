//! Given the journal's inode or its device, judges it and the journal's superblock; never replays a
//! transaction.
//!
//! Layout: the kernel's `journal.rst`; rules as in the kernel's `journal_load_superblock` and e2fsck's
//! `e2fsck_journal_load`.

use super::finding::{Area, Location};
use super::inventory::{Inventory, OwnFile};
use super::usage::size_of_file;
use super::volume::{Volume, read};
use crate::feature::Feature;
use crate::ondisk::jbd2::{
    BLOCK_TYPE_SUPERBLOCK_V1, BLOCK_TYPE_SUPERBLOCK_V2, CHECKSUM_CRC32C, COMPAT_CHECKSUM,
    INCOMPAT_CSUM_V2, INCOMPAT_CSUM_V3, JournalSuperblock, KNOWN_INCOMPAT, MAGIC, MIN_BLOCKS,
};
use crate::read::journal::superblock_checksum;
use crate::read::mapped;
use crate::read::superblock::RECOVER;
use crate::units::Ino;

/// Checksums of blocks, in both their forms.
const CHECKSUMS: u32 = INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;

/// Judges the journal, where there is one.
pub(super) fn check(volume: &Volume<'_>, inventory: &Inventory) {
    let sb = &volume.sb;
    let ino = Ino::JOURNAL.get();
    let number = sb.s_journal_inum.get();
    let file = inventory.own.get(&ino);
    let place = Location::inode(ino);
    let say = |rule| volume.rule(Area::Journal, place, rule);
    let is_external = number == 0 && sb.s_journal_uuid != [0; 16];
    if !volume.has(Feature::HasJournal) || is_external {
        if file.is_some() {
            say("it is not empty, in a filesystem without a journal inside");
        }
        if number != 0 {
            say("s_journal_inum is set, in a filesystem without a journal inside");
        }
        return;
    }
    if number != ino {
        let at = (Area::Superblock, Location::WHOLE);
        volume.equal(at, "s_journal_inum", (number.into(), ino.into()));
        return;
    }
    match file {
        Some(file) => check_file(volume, file),
        None => say("it is empty, in a filesystem with a journal"),
    }
}

/// Judges a device that is the journal of other filesystems.
pub(super) fn check_device(volume: &Volume<'_>) {
    let at = (Area::Journal, Location::WHOLE);
    // Behind the superblock, which is in block 1 where blocks are small.
    let own = 1 + u64::from(volume.is_small_block());
    let Some(bytes) = volume.block(at, own) else {
        return;
    };
    let Some(journal) = read::<JournalSuperblock>(&bytes, 0) else {
        return;
    };
    let place = Location::WHOLE.at(own);
    let size = volume
        .blocks_count
        .saturating_mul(volume.block_size.bytes_u64());
    check_superblock(volume, place, &journal, size);
    if journal.s_uuid != volume.sb.s_uuid {
        volume.rule(Area::Journal, place, "its UUID is not the device's");
    }
}

fn check_file(volume: &Volume<'_>, file: &OwnFile) {
    let place = Location::inode(Ino::JOURNAL.get());
    let say = |rule| volume.rule(Area::Journal, place, rule);
    let it = &file.node;
    let size = size_of_file(it);
    let bytes = volume.block_size.bytes_u64();
    if it.i_links_count.get() == 0 {
        say("it has no links");
    }
    if it.i_mode.get() >> 12 != 8 {
        say("it is not a regular file");
    }
    let pieces = &file.mapped.pieces;
    let end = file.mapped.end();
    if file.mapped.has_holes() || end * bytes < size || pieces.iter().any(|it| it.is_unwritten) {
        say("it has holes");
    }
    if size < u64::from(MIN_BLOCKS) * bytes {
        say("it is too short for a journal");
    }
    let Some(block) = mapped::find(pieces, 0) else {
        return;
    };
    let Some(bytes) = volume.block((Area::Journal, place), block.get()) else {
        return;
    };
    if let Some(journal) = read::<JournalSuperblock>(&bytes, 0) {
        check_superblock(volume, place.at(block.get()), &journal, size);
    }
}

fn check_superblock(volume: &Volume<'_>, place: Location, journal: &JournalSuperblock, size: u64) {
    let at = (Area::Journal, place);
    let say = |rule| volume.rule(Area::Journal, place, rule);
    let kind = journal.h_blocktype.get();
    let kinds = [BLOCK_TYPE_SUPERBLOCK_V1, BLOCK_TYPE_SUPERBLOCK_V2];
    if journal.h_magic.get() != MAGIC || !kinds.contains(&kind) {
        say("it does not begin with a journal superblock");
        return;
    }
    let bytes = u64::from(volume.block_size.bytes());
    volume.equal(at, "s_blocksize", (journal.s_blocksize.get().into(), bytes));
    let length = u64::from(journal.s_maxlen.get());
    let bounds = |what, found: u32, least: u64, most: u64| {
        volume.within(at, what, found.into(), least..=most);
    };
    bounds(
        "s_maxlen",
        journal.s_maxlen.get(),
        MIN_BLOCKS.into(),
        size / bytes,
    );
    let last = length.saturating_sub(1);
    bounds("s_first", journal.s_first.get(), 1, last.max(1));
    bounds("s_start", journal.s_start.get(), 0, last);
    let is_inside = !volume.has(Feature::JournalDev);
    if is_inside && journal.s_start.get() != 0 && volume.sb.s_feature_incompat.get() & RECOVER == 0
    {
        say("it holds changes, and the superblock does not say so");
    }
    if journal.s_errno.get() != 0 {
        say("the kernel recorded an error in it");
    }
    if kind == BLOCK_TYPE_SUPERBLOCK_V1 {
        return;
    }
    bounds("s_num_fc_blks", journal.s_num_fc_blks.get(), 0, last);
    let incompat = journal.s_feature_incompat.get();
    let is_known = incompat & !KNOWN_INCOMPAT == 0
        && journal.s_feature_compat.get() & !COMPAT_CHECKSUM == 0
        && journal.s_feature_ro_compat.get() == 0;
    if !is_known {
        say("it has unknown features");
    }
    if incompat & CHECKSUMS == CHECKSUMS {
        say("it has checksums of two kinds");
    }
    if incompat & CHECKSUMS != 0 {
        volume.equal(
            at,
            "s_checksum_type",
            (journal.s_checksum_type.into(), CHECKSUM_CRC32C.into()),
        );
        let needed = superblock_checksum(journal);
        volume.sum(at, "s_checksum", (journal.s_checksum.get(), needed));
    }
}
