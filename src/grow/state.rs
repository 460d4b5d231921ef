//! Given a filesystem, says whether it may be grown, and knows the mark of one whose growth was cut off;
//! never writes.

use bytemuck::Zeroable;

use super::error::ErrorKind;
use crate::feature::{Feature, Word};
use crate::ondisk::mmp::{MAGIC, MmpBlock, SEQUENCE_CLEAN};
use crate::ondisk::superblock::{STATE_ERROR, STATE_VALID, Superblock as Stored};
use crate::read::superblock::{ORPHAN_PRESENT, RECOVER, unknown_bits, word_of};
use crate::read::{Filesystem, Superblock};
use crate::units::Block;

use super::GrowError;

/// What stands where the kernel names the function that found an error (`s_first_error_func` and
/// `s_last_error_func`) while a filesystem grows.
const MARK: &[u8] = b"mke4fs grow";
/// Where in `s_error_details` the two are.
const FUNCTIONS: [usize; 2] = [16, 72];

/// Whether a filesystem may be grown: as it is, or on from where its growth was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Clean,
    Unfinished,
}

/// The superblock, marked as one whose filesystem is changing.
///
/// Neither clean nor without errors: the kernel warns of it, and e2fsck checks it.
pub(super) fn marked(sb: &Stored) -> Stored {
    let mut sb = *sb;
    sb.s_state = ((sb.s_state.get() & !STATE_VALID) | STATE_ERROR).into();
    sb.s_error_count = 1.into();
    for at in FUNCTIONS {
        let name = sb.s_error_details.get_mut(at..at + MARK.len());
        name.expect("both names are in the details")
            .copy_from_slice(MARK);
    }
    sb
}

/// The superblock without the mark.
pub(super) fn unmarked(sb: &Stored) -> Stored {
    let mut sb = *sb;
    if is_marked(&sb) {
        sb.s_state = ((sb.s_state.get() | STATE_VALID) & !STATE_ERROR).into();
        sb.s_error_count = 0.into();
        sb.s_error_details = Zeroable::zeroed();
    }
    sb
}

fn is_marked(sb: &Stored) -> bool {
    let is_named = |at: usize| {
        let rest = sb.s_error_details.get(at..).unwrap_or_default();
        rest.starts_with(MARK)
    };
    sb.s_state.get() & STATE_ERROR != 0 && FUNCTIONS.into_iter().all(is_named)
}

/// Refuses what would not be sound after it grew.
pub(super) fn check(filesystem: &Filesystem<'_>) -> Result<Start, GrowError> {
    let sb = filesystem.superblock();
    let stored = sb.stored();
    check_features(sb)?;
    if word_of(stored, Word::Incompat) & RECOVER != 0 || filesystem.replayed_blocks() > 0 {
        return Err(ErrorKind::NotClean("its journal waits to be replayed").into());
    }
    let has_orphans = word_of(stored, Word::RoCompat) & ORPHAN_PRESENT != 0;
    if has_orphans || stored.s_last_orphan.get() != 0 {
        return Err(ErrorKind::NotClean("it has orphaned inodes").into());
    }
    check_mmp(filesystem)?;
    if is_marked(stored) {
        return Ok(Start::Unfinished);
    }
    if stored.s_state.get() & STATE_VALID == 0 {
        return Err(ErrorKind::NotClean("it was not cleanly unmounted").into());
    }
    if stored.s_state.get() & STATE_ERROR != 0 {
        return Err(ErrorKind::NotClean("the kernel recorded errors in it").into());
    }
    Ok(Start::Clean)
}

fn check_features(sb: &Superblock) -> Result<(), GrowError> {
    let words = [
        (Word::Compat, "s_feature_compat"),
        (Word::RoCompat, "s_feature_ro_compat"),
    ];
    for (word, name) in words {
        let bits = unknown_bits(sb.stored(), word);
        if bits != 0 {
            return Err(ErrorKind::UnknownFeatures { word: name, bits }.into());
        }
    }
    let reserved = sb.stored().s_reserved_gdt_blocks.get();
    if sb.has(Feature::ResizeInode) && sb.has(Feature::MetaBg) {
        return Err(ErrorKind::Damaged("it has both resize_inode and meta_bg").into());
    }
    if !sb.has(Feature::ResizeInode) && reserved != 0 {
        return Err(ErrorKind::Damaged("it has reserved GDT blocks without resize_inode").into());
    }
    Ok(())
}

/// Refuses a filesystem that another host may have mounted.
fn check_mmp(filesystem: &Filesystem<'_>) -> Result<(), GrowError> {
    let sb = filesystem.superblock();
    if !sb.has(Feature::Mmp) {
        return Ok(());
    }
    let block = filesystem.block(Block::new(sb.stored().s_mmp_block.get()))?;
    let mmp: MmpBlock = crate::read::bytes::pod_or_zeros(&block);
    if mmp.mmp_magic.get() != MAGIC {
        return Err(ErrorKind::Damaged("its MMP block is invalid").into());
    }
    if mmp.mmp_seq.get() != SEQUENCE_CLEAN {
        return Err(ErrorKind::NotClean("its MMP block says that it is in use").into());
    }
    Ok(())
}
