//! Given options and the output, says how long the filesystem shall be; never in blocks that only the rules
//! decide.

use crate::options::error::{LengthError, SettingsErrorKind};
use crate::options::{BlockSizeOption, Environment, Options, TargetKind};

/// How long the filesystem shall be, in units of the block size asked for, or of 1 KiB.
pub(super) struct Length {
    pub(super) log_unit: u32,
    pub(super) units: u64,
    /// Whether the length was asked for, rather than taken from the output.
    pub(super) asked: bool,
    /// The output's own length.
    pub(super) output_units: u64,
}

impl Length {
    pub(super) fn new(options: &Options, host: &Environment) -> Result<Self, SettingsErrorKind> {
        let log_unit = match options.block_size {
            Some(BlockSizeOption::Exactly(bytes)) => log_block_size(bytes),
            Some(BlockSizeOption::AtLeast(_)) | None => 0,
        };
        let asked = options.size.map(|size| size.blocks(log_unit));
        if asked == Some(0) {
            return Err(SettingsErrorKind::Length(LengthError::NoBlocks));
        }
        let output_units = match (asked, host.target.kind) {
            (Some(units), _) if options.dry_run => units,
            (Some(_), TargetKind::Missing) => 0,
            (None, TargetKind::Missing) => {
                return Err(SettingsErrorKind::Length(LengthError::NoOutputAndNoSize));
            }
            (_, TargetKind::File { size_bytes }) => size_bytes >> (10 + log_unit),
            (_, TargetKind::Device(device)) => device.size_bytes >> (10 + log_unit),
            (_, TargetKind::Other) => 0,
        };
        if asked.is_none() && output_units == 0 {
            return Err(SettingsErrorKind::Length(LengthError::OutputIsEmpty));
        }
        let page_units = u64::from(host.page_size) >> (10 + log_unit);
        Ok(Self {
            log_unit,
            units: asked.unwrap_or_else(|| output_units - output_units % page_units.max(1)),
            asked: asked.is_some(),
            output_units,
        })
    }
}

/// log2 of a block size in KiB, as mke2fs rounds it.
pub(super) fn log_block_size(bytes: u32) -> u32 {
    (bytes >> 10).checked_ilog2().unwrap_or_default()
}
