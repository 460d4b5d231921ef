//! Given the name of a format, gives its container and what it can hold; never places a byte.

use std::fmt;

#[cfg(feature = "cli")]
use super::ReadAt;
use super::container::{Compression, Container, Disk};
use super::{android_sparse, qcow2, vhd, vhdx};

/// The form of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// The bytes of the filesystem, and nothing around them.
    #[default]
    Raw,
    /// qcow2 version 3, with clusters of 64 KiB.
    Qcow2(Compression),
    /// A dynamic VHDX.
    Vhdx,
    /// A fixed VHD: the raw bytes and 512 behind them.
    Vhd,
    /// A dynamic VHD.
    VhdDynamic,
    /// An Android sparse image.
    AndroidSparse,
}

/// A disk that a format cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// It is larger than the format can say.
    TooLarge {
        /// The format's name.
        format: &'static str,
        /// The bytes of the disk.
        size_bytes: u64,
        /// The bytes that a disk has at most.
        most_bytes: u64,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::TooLarge {
            format,
            size_bytes,
            most_bytes,
        } = self;
        let most = most_bytes >> 30;
        write!(
            f,
            "{format} holds at most {most} GiB ({most_bytes} bytes); the image has {size_bytes} bytes"
        )
    }
}

impl std::error::Error for FormatError {}

impl Format {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2(_) => "qcow2",
            Self::Vhdx => "VHDX",
            Self::Vhd | Self::VhdDynamic => "VHD",
            Self::AndroidSparse => "an Android sparse image",
        }
    }

    /// Whether bytes are where they are in the filesystem.
    pub fn is_flat(self) -> bool {
        matches!(self, Self::Raw | Self::Vhd)
    }

    /// Looks whether a disk of `size_bytes` can be.
    ///
    /// # Errors
    /// Where the format cannot hold that many.
    pub fn check(self, size_bytes: u64) -> Result<(), FormatError> {
        let most_bytes = match self {
            Self::Raw => return Ok(()),
            Self::Qcow2(_) => qcow2::MOST_BYTES,
            Self::Vhdx => vhdx::MOST_BYTES,
            Self::Vhd | Self::VhdDynamic => vhd::MOST_BYTES,
            Self::AndroidSparse => android_sparse::MOST_BYTES,
        };
        if size_bytes <= most_bytes {
            return Ok(());
        }
        Err(FormatError::TooLarge {
            format: self.name(),
            size_bytes,
            most_bytes,
        })
    }

    /// What stands behind the bytes of `disk` in a format that is [flat](Self::is_flat).
    pub fn trailer(self, disk: &Disk) -> Vec<u8> {
        if self == Self::Vhd {
            vhd::fixed_footer(disk).to_vec()
        } else {
            Vec::new()
        }
    }

    /// The first 4 KiB of the disk in `file`, if that is a file as this format writes it: without a parent, a
    /// snapshot or a log that waits, and with nothing else in it than the disk. What is flat begins with its disk.
    #[cfg(feature = "cli")]
    pub(crate) fn disk_head(self, file: &dyn ReadAt) -> Option<Vec<u8>> {
        match self {
            Self::Raw | Self::Vhd => None,
            Self::Qcow2(_) => qcow2::disk_head(file),
            Self::Vhdx => vhdx::disk_head(file),
            Self::VhdDynamic => vhd::disk_head(file),
            Self::AndroidSparse => android_sparse::disk_head(file),
        }
    }

    /// The container of `disk`, unless the format is [flat](Self::is_flat).
    pub(super) fn container(self, disk: Disk) -> Option<Box<dyn Container>> {
        Some(match self {
            Self::Raw | Self::Vhd => return None,
            Self::Qcow2(compression) => Box::new(qcow2::Qcow2::new(&disk, compression)),
            Self::Vhdx => Box::new(vhdx::Vhdx::new(&disk)),
            Self::VhdDynamic => Box::new(vhd::Dynamic::new(&disk)),
            Self::AndroidSparse => Box::new(android_sparse::AndroidSparse::new(disk)),
        })
    }
}
