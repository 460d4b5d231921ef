//! Given the bytes of an image, gives its filesystem's geometry if the superblock makes sense, and
//! judges its fields and its copies; never looks behind the descriptors.
//!
//! The rules are those of the kernel's `super.rst` and of what mounting refuses; bounds as in
//! e2fsck's `check_super_block`.

use super::finding::{Area, Finding, FindingKind, Location, Report};
use super::volume::{Storage, Volume, read};
use crate::feature::{Feature, Word};
use crate::ondisk::superblock::{
    CHECKSUM_CRC32C, FLAG_SIGNED_HASH, MAGIC, OFFSET, STATE_VALID, Superblock,
};
use crate::read::superblock::{RECOVER, blocks_count, unknown_bits, word_of};

/// `EXT2_ERROR_FS`: the kernel came upon errors.
const STATE_ERROR: u16 = 0x2;
/// `EXT2_FLAGS_UNSIGNED_HASH`.
const FLAG_UNSIGNED_HASH: u32 = 0x2;

/// Reads the primary superblock.
///
/// # Errors
/// What was found, where nothing behind the superblock can be checked.
pub(super) fn open(storage: Storage<'_>) -> Result<Volume<'_>, Report> {
    let mut report = Report::default();
    let mut add = |fault| {
        let finding = Finding {
            area: Area::Superblock,
            location: Location::WHOLE,
            kind: fault,
        };
        report.add(finding, storage.most_findings);
    };
    let mut bytes = vec![0; size_of::<Superblock>()];
    let offset = storage.base.saturating_add(OFFSET);
    if let Err(error) = storage.image.read_exact_at(offset, &mut bytes) {
        add(FindingKind::Unreadable(error.kind()));
        return Err(report);
    }
    let Some(sb) = read::<Superblock>(&bytes, 0) else {
        return Err(report);
    };
    if sb.s_magic.get() == MAGIC {
        unknown_features(&sb).for_each(&mut add);
    }
    let superblock = match crate::read::Superblock::decode(sb) {
        Ok(superblock) => superblock,
        Err(faults) => {
            faults.into_iter().map(FindingKind::from).for_each(&mut add);
            return Err(report);
        }
    };
    if report.total > 0 {
        return Err(report);
    }
    Ok(Volume::new(storage, superblock, report))
}

fn unknown_features(sb: &Superblock) -> impl Iterator<Item = FindingKind> {
    let words = [Word::Compat, Word::Incompat, Word::RoCompat];
    let unknown = words.map(|word| (word, unknown_bits(sb, word)));
    let unknown = unknown.into_iter().filter(|(_, bits)| *bits != 0);
    unknown.map(|(word, bits)| {
        FindingKind::Told(format!(
            "feature bits {bits:#x} of {word} are unknown; what they mean is not checked"
        ))
    })
}

const AT: (Area, Location) = (Area::Superblock, Location::WHOLE);

/// Judges what the superblock says beside its geometry.
pub(super) fn check(volume: &Volume<'_>, storage: &Storage<'_>) {
    let sb = &volume.sb;
    let held =
        storage.image.size_bytes().saturating_sub(storage.base) / volume.block_size.bytes_u64();
    if held < volume.blocks_count {
        volume.equal(AT, "s_blocks_count", (volume.blocks_count, held));
    }
    if volume.has_checksums() {
        let type_ = u64::from(sb.s_checksum_type);
        volume.equal(AT, "s_checksum_type", (type_, CHECKSUM_CRC32C.into()));
        volume.sum(AT, "s_checksum", (sb.s_checksum.get(), sb.checksum()));
    }
    check_features(volume);
    check_state(volume);
    check_sizes(volume);
}

fn check_features(volume: &Volume<'_>) {
    let say = |rule| volume.rule(Area::Superblock, Location::WHOLE, rule);
    let has = |feature| volume.has(feature);
    if has(Feature::MetadataCsum) && has(Feature::GdtCsum) {
        say("metadata_csum and uninit_bg are both set");
    }
    if has(Feature::MetadataCsumSeed) && !has(Feature::MetadataCsum) {
        say("metadata_csum_seed is set without metadata_csum");
    }
    if has(Feature::SixtyFourBit) && !has(Feature::Extent) {
        say("64bit is set without extent");
    }
    if has(Feature::ResizeInode) && has(Feature::MetaBg) {
        say("resize_inode and meta_bg are both set");
    }
    if !has(Feature::ResizeInode) && volume.sb.s_reserved_gdt_blocks.get() != 0 {
        say("s_reserved_gdt_blocks is set without resize_inode");
    }
    let words = [Word::Compat, Word::Incompat, Word::RoCompat];
    let any = words.iter().any(|word| word_of(&volume.sb, *word) != 0);
    if volume.sb.s_rev_level.get() == 0 && any {
        say("features are set in a filesystem of revision 0");
    }
    let desc_blocks = u64::from(volume.desc_blocks());
    let first = u64::from(volume.sb.s_first_meta_bg.get());
    if has(Feature::MetaBg) {
        let at = (Area::Superblock, Location::WHOLE);
        volume.within(at, "s_first_meta_bg", first, 0..=desc_blocks);
    }
}

fn check_state(volume: &Volume<'_>) {
    let sb = &volume.sb;
    let say = |rule| volume.rule(Area::Superblock, Location::WHOLE, rule);
    if sb.s_state.get() & STATE_VALID == 0 {
        say("it was not cleanly unmounted");
    }
    if sb.s_state.get() & STATE_ERROR != 0 {
        say("the kernel recorded errors in it");
    }
    match sb.s_feature_incompat.get() & RECOVER != 0 {
        true if volume.has(Feature::HasJournal) => {
            say("its journal holds changes that wait to be replayed");
        }
        true => say("the journal waits to be replayed, but there is none"),
        false => {}
    }
    let both = FLAG_SIGNED_HASH | FLAG_UNSIGNED_HASH;
    if sb.s_flags.get() & both == both {
        say("names are hashed both as signed and as unsigned bytes");
    }
}

fn check_sizes(volume: &Volume<'_>) {
    let sb = &volume.sb;
    let at = (Area::Superblock, Location::WHOLE);
    let bounds = |what, found, least, most| {
        volume.within(at, what, found, least..=most);
    };
    let reserved = super::volume::join(sb.s_r_blocks_count_lo.get(), sb.s_r_blocks_count_hi.get());
    bounds("s_r_blocks_count", reserved, 0, volume.blocks_count / 2);
    bounds(
        "s_log_groups_per_flex",
        sb.s_log_groups_per_flex.into(),
        0,
        31,
    );
    bounds("s_def_hash_version", sb.s_def_hash_version.into(), 0, 6);
    if volume.inode_size > 128 {
        let most = super::volume::length(volume.inode_size - 128);
        for (what, found) in [
            ("s_min_extra_isize", sb.s_min_extra_isize.get()),
            ("s_want_extra_isize", sb.s_want_extra_isize.get()),
        ] {
            if found != 0 {
                bounds(what, found.into(), 4, most);
            }
            if found & 3 != 0 {
                let rule = "s_min_extra_isize or s_want_extra_isize is not a multiple of 4";
                volume.rule(Area::Superblock, Location::WHOLE, rule);
            }
        }
    }
    if volume.has(Feature::SparseSuper2) {
        for kept in sb.s_backup_bgs {
            bounds(
                "s_backup_bgs",
                kept.get().into(),
                0,
                u64::from(volume.groups) - 1,
            );
        }
    }
    if volume.has(Feature::Casefold) {
        bounds("s_encoding", sb.s_encoding.get().into(), 1, 1);
    }
}

/// Compares every copy of the superblock with the primary one, in what mounting does not change.
pub(super) fn check_backups(volume: &Volume<'_>) {
    for group in 1..volume.groups {
        if !volume.has_superblock(group) {
            continue;
        }
        let block = volume.group_run(group).start;
        let at = (Area::Backup, Location::group(group).at(block.get()));
        let offset = block.get().saturating_mul(volume.block_size.bytes_u64());
        let Some(bytes) = volume.bytes(at, offset, size_of::<Superblock>()) else {
            continue;
        };
        if let Some(backup) = read::<Superblock>(&bytes, 0) {
            check_backup(volume, group, at, &backup);
        }
    }
}

fn check_backup(volume: &Volume<'_>, group: u32, at: (Area, Location), backup: &Superblock) {
    if backup.s_magic.get() != MAGIC {
        volume.equal(at, "s_magic", (backup.s_magic.get().into(), MAGIC.into()));
        return;
    }
    let sb = &volume.sb;
    let fixed = |sb: &Superblock| {
        [
            ("s_inodes_count", u64::from(sb.s_inodes_count.get())),
            ("s_blocks_count", blocks_count(sb)),
            ("s_first_data_block", sb.s_first_data_block.get().into()),
            ("s_log_block_size", sb.s_log_block_size.get().into()),
            ("s_log_cluster_size", sb.s_log_cluster_size.get().into()),
            ("s_blocks_per_group", sb.s_blocks_per_group.get().into()),
            ("s_clusters_per_group", sb.s_clusters_per_group.get().into()),
            ("s_inodes_per_group", sb.s_inodes_per_group.get().into()),
            ("s_rev_level", sb.s_rev_level.get().into()),
            ("s_first_ino", sb.s_first_ino.get().into()),
            ("s_inode_size", sb.s_inode_size.get().into()),
            ("s_desc_size", sb.s_desc_size.get().into()),
            (
                "s_reserved_gdt_blocks",
                sb.s_reserved_gdt_blocks.get().into(),
            ),
            ("s_first_meta_bg", sb.s_first_meta_bg.get().into()),
            (
                "s_feature_incompat",
                (sb.s_feature_incompat.get() & !RECOVER).into(),
            ),
        ]
    };
    for ((what, found), (_, needed)) in fixed(backup).into_iter().zip(fixed(sb)) {
        volume.equal(at, what, (found, needed));
    }
    if backup.s_uuid != sb.s_uuid {
        volume.rule(at.0, at.1, "s_uuid is not the primary superblock's");
    }
    // It has 16 bits, and in later groups what is left of the number, or the most they hold.
    if let Ok(needed) = u16::try_from(group) {
        let found = backup.s_block_group_nr.get();
        volume.equal(at, "s_block_group_nr", (found.into(), needed.into()));
    }
    if volume.has_checksums() {
        volume.sum(
            at,
            "s_checksum",
            (backup.s_checksum.get(), backup.checksum()),
        );
    }
}
