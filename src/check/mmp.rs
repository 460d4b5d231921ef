//! Given a filesystem with multiple mount protection, judges its block; never waits to see whether it
//! changes.

use super::claims::Claims;
use super::finding::{Area, FindingKind, Location, Owner};
use super::volume::{Volume, read};
use crate::feature::Feature;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::mmp::{MAGIC, MmpBlock, SEQUENCE_CLEAN};
use crate::units::{Block, Run};

/// Judges the block and claims it.
pub(super) fn check(volume: &Volume<'_>, claims: &mut Claims) {
    if !volume.has(Feature::Mmp) {
        return;
    }
    let number = volume.sb.s_mmp_block.get();
    let run = Run::one(Block::new(number));
    if !volume.is_inside(run) {
        volume.note(Area::Mmp, Location::WHOLE, FindingKind::Outside(run));
        return;
    }
    claims.add(run, Owner::Mmp);
    let Some(bytes) = volume.block((Area::Mmp, Location::WHOLE), number) else {
        return;
    };
    let Some(block) = read::<MmpBlock>(&bytes, 0) else {
        return;
    };
    let at = (Area::Mmp, Location::WHOLE.at(number));
    let magic = (block.mmp_magic.get().into(), MAGIC.into());
    volume.equal(at, "mmp_magic", magic);
    if block.mmp_seq.get() != SEQUENCE_CLEAN {
        volume.rule(at.0, at.1, "it is mounted, or was not unmounted");
    }
    if volume.has_checksums() {
        let covered = bytes.get(..size_of::<MmpBlock>() - 4).unwrap_or_default();
        let needed = crc32c(volume.seed, covered);
        volume.sum(at, "mmp_checksum", (block.mmp_checksum.get(), needed));
    }
}
