//! Given settings without inodes, gives their size and number; never where they are.

use super::Warn;
use super::kinds::Choice;
use crate::feature::Feature;
use crate::options::Options;
use crate::options::error::{Conflict, SettingsErrorKind, SettingsWarningKind};
use crate::options::settings::{QuotaType, Settings};

/// EXT2_GOOD_OLD_INODE_SIZE, in bytes.
const GOOD_OLD_INODE_SIZE: u32 = 128;

/// Projects are counted with their feature, and need inodes with room for a project's number.
pub(super) fn check_project(
    settings: &mut Settings,
    options: &Options,
) -> Result<(), SettingsErrorKind> {
    if settings.quota_types.has(QuotaType::Project) {
        settings.features = settings.features.with(Feature::Project);
    }
    if settings.features.has(Feature::Project) {
        settings.quota_types = settings.quota_types.with(QuotaType::Project);
        if options.inode_size == Some(GOOD_OLD_INODE_SIZE) {
            return Err(SettingsErrorKind::Conflict(
                Conflict::InodesTooSmallForProjects,
            ));
        }
    }
    Ok(())
}

pub(super) fn size_inodes(
    settings: &mut Settings,
    options: &Options,
    rules: &Choice,
    warn: Warn<'_>,
) -> Result<(), SettingsErrorKind> {
    let most = settings.block_size.bytes();
    let by_rules = || {
        rules
            .find(|rules| rules.inode_size)
            .filter(|bytes| *bytes != 0)
    };
    let by_rules = || {
        if settings.features.has(Feature::Project) {
            by_rules().max(Some(i64::from(2 * GOOD_OLD_INODE_SIZE)))
        } else {
            by_rules()
        }
    };
    // Where nothing says a size, ext2fs_initialize takes EXT2_GOOD_OLD_INODE_SIZE.
    let asked = options.inode_size.map(i64::from).or_else(by_rules);
    let bytes = asked.unwrap_or(128);
    let fits = |bytes: &u16| bytes.is_power_of_two() && *bytes >= 128 && u32::from(*bytes) <= most;
    let size = u16::try_from(bytes).ok();
    settings.inode_size = match settings.revision {
        // It is not looked at, though the inodes must fit.
        0 => size.unwrap_or(u16::MAX),
        _ => size
            .filter(fits)
            .ok_or(SettingsErrorKind::InodeSize { asked: bytes, most })?,
    };
    if asked == Some(128) && settings.features.has(Feature::InlineData) {
        return Err(SettingsErrorKind::Conflict(
            Conflict::InlineDataInSmallInodes,
        ));
    }
    let warns = || rules.find(|rules| rules.warn_y2038_dates) != Some(false);
    if asked == Some(128) && warns() {
        warn(SettingsWarningKind::TimesEndIn2038);
    }
    Ok(())
}

pub(super) fn count_inodes(
    settings: &mut Settings,
    options: &Options,
    rules: &Choice,
) -> Result<(), SettingsErrorKind> {
    const MOST: u64 = 0xffff_ffff;
    let bytes = settings
        .blocks_count
        .saturating_mul(settings.block_size.bytes_u64());
    let count = match options.inodes_count {
        Some(count) if count > MOST => return Err(SettingsErrorKind::TooManyInodes(count)),
        // A Settings without inodes leaves the count to the geometry.
        Some(count) => count.max(1),
        // The plan raises it to what the content needs.
        None if options.is_for_reading() && options.inode_ratio.is_none() => 1,
        None => {
            let ratio = inode_ratio(options, rules, settings);
            let count = bytes / ratio;
            if count > MOST && !settings.features.has(Feature::SixtyFourBit) {
                return Err(SettingsErrorKind::TooManyInodesByRatio(count));
            }
            count.min(MOST)
        }
    };
    settings.inodes_count = u32::try_from(count).unwrap_or(u32::MAX);
    if count.saturating_mul(settings.inode_size.into()) >= bytes {
        return Err(SettingsErrorKind::InodesFillAll {
            inode_size: settings.inode_size.into(),
            inodes: settings.inodes_count,
            blocks: settings.blocks_count,
        });
    }
    Ok(())
}

/// Bytes per inode; by the rules never less than a block or a cluster.
fn inode_ratio(options: &Options, rules: &Choice, settings: &Settings) -> u64 {
    let cluster_bytes = settings.block_size.bytes_u64() << settings.log_cluster_ratio;
    let by_rules = || {
        let ratio = rules.find(|rules| rules.inode_ratio).unwrap_or(8192);
        u64::try_from(ratio).unwrap_or(0).max(cluster_bytes)
    };
    options.inode_ratio.map_or_else(by_rules, u64::from)
}
