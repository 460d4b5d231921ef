//! Given options, the output and the rules, gives the sizes of blocks, clusters and stripes and the
//! length in blocks; never an inode.

use super::kinds::Choice;
use super::length::{Length, log_block_size};
use super::{Asked, Warn};
use crate::feature::{Feature, FeatureSet};
use crate::options::error::{Conflict, LengthError, SettingsErrorKind, SettingsWarningKind};
use crate::options::settings::Settings;
use crate::options::{BlockSizeOption, Device, Environment, Options, TargetKind};
use crate::units::BlockSize;

/// The block size, and the length in blocks.
pub(super) struct Blocks {
    pub(super) size: BlockSize,
    pub(super) count: u64,
}

impl Blocks {
    pub(super) fn new(
        asked: Asked<'_>,
        length: &Length,
        rules: &Choice,
        warn: Warn<'_>,
    ) -> Result<Self, SettingsErrorKind> {
        let Asked { options, host } = asked;
        let (sector_size, physical) = sector_sizes(host);
        let bytes = match options.block_size {
            Some(BlockSizeOption::Exactly(bytes)) if bytes < sector_size => {
                return Err(SettingsErrorKind::BlockBelowSector {
                    block_size: bytes,
                    sector_size,
                });
            }
            Some(BlockSizeOption::Exactly(bytes)) => {
                if bytes < physical && physical <= host.page_size {
                    warn(SettingsWarningKind::BlockBelowPhysicalSector {
                        block_size: bytes,
                        sector_size: physical,
                    });
                }
                bytes
            }
            wish => {
                let by_rules = match rules.find(|rules| rules.blocksize) {
                    Some(-1) => i64::from(host.page_size),
                    Some(bytes) => bytes,
                    None => 4096,
                };
                let least = match wish {
                    Some(BlockSizeOption::AtLeast(bytes)) => bytes,
                    _ => 0,
                };
                u32::try_from(by_rules)
                    .unwrap_or(0)
                    .max(sector_size)
                    .max(least)
            }
        };
        // mke2fs rounds a size that is no power of two down, but counts blocks by whole KiB of it.
        let size = BlockSize::new(1024 << log_block_size(bytes))
            .filter(|_| bytes >= 1024)
            .ok_or(SettingsErrorKind::BlockSize(bytes.into()))?;
        let count = match options.block_size {
            Some(BlockSizeOption::Exactly(_)) => length.units,
            _ => length.units / u64::from(bytes / 1024),
        };
        Ok(Self { size, count })
    }

    /// Whether this count of blocks can be numbered; a filesystem past 32 bits has no resize inode.
    pub(super) fn check_count(
        &self,
        features: FeatureSet,
        rules: &Choice,
    ) -> Result<FeatureSet, SettingsErrorKind> {
        let (blocks, block_size) = (self.count, self.size.bytes());
        let mut features = features;
        if blocks > u64::from(u32::MAX) {
            if rules.find(|rules| rules.auto_64bit) == Some(true) {
                features = features.with(Feature::SixtyFourBit);
            }
            if !features.has(Feature::SixtyFourBit) {
                return Err(SettingsErrorKind::Length(LengthError::Above32Bits {
                    blocks,
                    block_size,
                }));
            }
            features = features.without(Feature::ResizeInode);
        }
        // As many groups as 32 bits number, each as long as a block has bits.
        if blocks >= 1 << (10 + self.size.log() + 3 + 32) {
            return Err(SettingsErrorKind::Length(LengthError::TooManyBlocks {
                blocks,
                block_size,
            }));
        }
        Ok(features)
    }
}

/// The output's logical and physical sector sizes in bytes; 0 for unknown.
pub(super) fn sector_sizes(host: &Environment) -> (u32, u32) {
    let device = device(host).unwrap_or_default();
    let logical = host.sector_size.unwrap_or(device.sector_size);
    let physical = host
        .physical_sector_size
        .unwrap_or(device.physical_sector_size);
    (logical, if physical == 0 { logical } else { physical })
}

pub(super) fn device(host: &Environment) -> Option<Device> {
    match host.target.kind {
        TargetKind::Device(device) => Some(device),
        TargetKind::Missing | TargetKind::File { .. } | TargetKind::Other => None,
    }
}

/// Takes stride and stripe from what the device likes, as libblkid tells mke2fs.
pub(super) fn topology(settings: &mut Settings, host: &Environment, warn: Warn<'_>) {
    let Some(device) = device(host) else {
        if host.target.kind == TargetKind::Other {
            warn(SettingsWarningKind::NoTopology);
        }
        return;
    };
    let block_size = settings.block_size.bytes();
    let (_, physical) = sector_sizes(host);
    let large = |size: u32| (size > block_size).then_some(size);
    let stated = |size: u32| (size > 0).then_some(size);
    let minimum = stated(device.minimum_io_size).or_else(|| large(physical));
    let optimal = stated(device.optimal_io_size)
        .or(minimum)
        .or_else(|| large(physical));
    if let Some(bytes) = minimum.and_then(large) {
        settings.raid_stride = u16::try_from(bytes / block_size).unwrap_or(u16::MAX);
    }
    if let Some(bytes) = optimal.and_then(large) {
        settings.raid_stripe_width = bytes / block_size;
    }
    if device.alignment_offset != 0 {
        warn(SettingsWarningKind::Misaligned(device.alignment_offset));
    }
    if device.dax && block_size != host.page_size {
        warn(SettingsWarningKind::NoDax {
            block_size,
            page_size: host.page_size,
        });
    }
}

pub(super) fn check_page(
    settings: &Settings,
    asked: Asked<'_>,
    warn: Warn<'_>,
) -> Result<(), SettingsErrorKind> {
    let Asked { options, host } = asked;
    let (block_size, page_size) = (settings.block_size.bytes(), host.page_size);
    if block_size <= page_size {
        return Ok(());
    }
    if !options.force {
        return Err(SettingsErrorKind::BlockAbovePage {
            block_size,
            page_size,
        });
    }
    warn(SettingsWarningKind::BlockAbovePage {
        block_size,
        page_size,
    });
    Ok(())
}

/// The blocks of a cluster: sixteen by default.
pub(super) fn size_clusters(
    settings: &mut Settings,
    options: &Options,
    rules: &Choice,
) -> Result<(), SettingsErrorKind> {
    let asked = options.cluster_size;
    if !settings.features.has(Feature::Bigalloc) {
        return match asked {
            Some(_) => Err(SettingsErrorKind::Conflict(
                Conflict::ClusterWithoutBigalloc,
            )),
            None => Ok(()),
        };
    }
    let block = settings.block_size.bytes();
    let by_rules = || rules.find(|rules| rules.cluster_size);
    let bytes = asked
        .or_else(|| by_rules().and_then(|bytes| u32::try_from(bytes).ok()))
        .unwrap_or(block * 16);
    // A size that is no power of two is rounded down to one.
    let log_in_kib = (bytes >> 10).checked_ilog2().unwrap_or_default();
    let log = match log_in_kib {
        0 => settings.block_size.log() + 4,
        log => log,
    };
    let ratio = log.checked_sub(settings.block_size.log());
    settings.log_cluster_ratio = ratio
        .and_then(|ratio| u8::try_from(ratio).ok())
        .ok_or(SettingsErrorKind::Conflict(Conflict::ClusterBelowBlock))?;
    Ok(())
}

/// Where the length is the output's, what lies before the offset is not there to use.
pub(super) fn take_off_offset(
    settings: &mut Settings,
    length: &Length,
    warn: Warn<'_>,
) -> Result<(), SettingsErrorKind> {
    if length.asked || settings.offset_bytes == 0 {
        return Ok(());
    }
    let before = settings.offset_bytes / settings.block_size.bytes_u64();
    let left = settings.blocks_count.checked_sub(before);
    // Where nothing is left, mke2fs finds out when it counts the inodes.
    settings.blocks_count = left.ok_or(SettingsErrorKind::Length(LengthError::OffsetPastEnd {
        offset: settings.offset_bytes,
        size: length.output_units << (10 + length.log_unit),
    }))?;
    warn(SettingsWarningKind::OffsetWithoutSize {
        blocks: settings.blocks_count,
    });
    Ok(())
}

/// An offset in a file has 63 bits: `off_t`.
pub(super) fn check_end(settings: &Settings) -> Result<(), SettingsErrorKind> {
    let bytes = settings
        .blocks_count
        .checked_mul(settings.block_size.bytes_u64());
    let end = bytes.and_then(|bytes| bytes.checked_add(settings.offset_bytes));
    if end.is_some_and(|end| i64::try_from(end).is_ok()) {
        return Ok(());
    }
    Err(SettingsErrorKind::Length(LengthError::EndPastOffsets {
        offset: settings.offset_bytes,
        blocks: settings.blocks_count,
        block_size: settings.block_size.bytes(),
    }))
}

/// `percent` of `count`, in the floating point of mke2fs, rounded down.
#[expect(
    clippy::as_conversions,
    reason = "std has no other way between u64 and f64; the rounding is mke2fs's"
)]
pub(super) fn share(count: u64, percent: f64) -> u64 {
    (percent * count as f64 / 100.0) as u64
}
