//! Given why a filesystem cannot be grown, says it in one sentence with its numbers; never looks at one.

use std::fmt;
use std::io;

use crate::read;

/// Why a filesystem was not grown.
#[derive(Debug)]
pub struct GrowError(ErrorKind);

/// What kind of trouble a [`GrowError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GrowErrorKind {
    /// The size asked for is less than the filesystem has.
    Smaller,
    /// It was not cleanly unmounted, has errors, or somebody may have it mounted.
    NotClean,
    /// It has something that growing does not know.
    Unsupported,
    /// The descriptors of more groups have no place.
    NoReservedGdtBlocks,
    /// Its block or inode numbers do not reach that far.
    TooLarge,
    /// What is stored contradicts itself.
    Damaged,
    /// It cannot be read.
    Read,
    /// It could not be written, and is as it was.
    Write,
    /// It could not be written, nor be made what it was: it says that it is unfinished, and growing it
    /// again goes on.
    Unfinished,
}

#[derive(Debug)]
pub(super) enum ErrorKind {
    Smaller {
        asked_bytes: u64,
        has_bytes: u64,
    },
    NotClean(&'static str),
    Unsupported(&'static str),
    UnknownFeatures {
        word: &'static str,
        bits: u32,
    },
    NoReservedGdtBlocks {
        needed: u32,
        left: u32,
        most_bytes: u64,
    },
    TooManyBlocks {
        blocks: u64,
        most: u64,
    },
    TooManyInodes {
        inodes: u64,
    },
    Damaged(&'static str),
    Read(read::Error),
    Write(io::Error),
    Unfinished(io::Error),
}

impl GrowError {
    /// What kind of trouble it is.
    pub fn kind(&self) -> GrowErrorKind {
        match self.0 {
            ErrorKind::Smaller { .. } => GrowErrorKind::Smaller,
            ErrorKind::NotClean(_) => GrowErrorKind::NotClean,
            ErrorKind::Unsupported(_) | ErrorKind::UnknownFeatures { .. } => {
                GrowErrorKind::Unsupported
            }
            ErrorKind::NoReservedGdtBlocks { .. } => GrowErrorKind::NoReservedGdtBlocks,
            ErrorKind::TooManyBlocks { .. } | ErrorKind::TooManyInodes { .. } => {
                GrowErrorKind::TooLarge
            }
            ErrorKind::Damaged(_) => GrowErrorKind::Damaged,
            ErrorKind::Read(_) => GrowErrorKind::Read,
            ErrorKind::Write(_) => GrowErrorKind::Write,
            ErrorKind::Unfinished(_) => GrowErrorKind::Unfinished,
        }
    }
}

impl From<ErrorKind> for GrowError {
    fn from(cause: ErrorKind) -> Self {
        Self(cause)
    }
}

impl From<read::Error> for GrowError {
    fn from(error: read::Error) -> Self {
        Self(ErrorKind::Read(error))
    }
}

impl fmt::Display for GrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ErrorKind::Smaller {
                asked_bytes,
                has_bytes,
            } => write!(
                f,
                "cannot shrink in place: the filesystem has {}, asked for {}",
                Bytes(*has_bytes),
                Bytes(*asked_bytes)
            ),
            ErrorKind::NotClean(why) => write!(f, "the filesystem is not clean: {why}"),
            ErrorKind::Unsupported(what) => f.write_str(what),
            ErrorKind::UnknownFeatures { word, bits } => {
                write!(f, "unknown features: {word} has the bits {bits:#x}")
            }
            ErrorKind::NoReservedGdtBlocks {
                needed,
                left,
                most_bytes,
            } => write!(
                f,
                "too few reserved GDT blocks: {needed} needed, {left} left, enough for {}",
                Bytes(*most_bytes)
            ),
            ErrorKind::TooManyBlocks { blocks, most } => write!(
                f,
                "{blocks} blocks are too many for its block numbers: at most {most}"
            ),
            ErrorKind::TooManyInodes { inodes } => write!(
                f,
                "it would have {inodes} inodes: at most {} can be numbered",
                u32::MAX
            ),
            ErrorKind::Damaged(what) => write!(f, "the filesystem is damaged: {what}"),
            ErrorKind::Read(error) => error.fmt(f),
            ErrorKind::Write(error) => write!(f, "{error}; the filesystem is as it was"),
            ErrorKind::Unfinished(error) => write!(
                f,
                "{error}; the filesystem is marked as unfinished: grow it again to finish"
            ),
        }
    }
}

impl std::error::Error for GrowError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            // Their text is told already.
            ErrorKind::Read(error) => error.source(),
            ErrorKind::Write(error) | ErrorKind::Unfinished(error) => error.source(),
            _ => None,
        }
    }
}

/// A size for people: in the largest unit that it has a whole one of, with at most one decimal.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let unit = units.into_iter().find(|(shift, _)| self.0 >> shift > 0);
        let Some((shift, name)) = unit else {
            return write!(f, "{} bytes", self.0);
        };
        let tenths = (u128::from(self.0) * 10) >> shift;
        let (whole, tenth) = (tenths / 10, tenths % 10);
        if tenth == 0 {
            write!(f, "{whole} {name}")
        } else {
            write!(f, "{whole}.{tenth} {name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn sizes_are_told_in_the_largest_unit() {
        for (bytes, text) in [
            (1023, "1023 bytes"),
            (64 << 20, "64 MiB"),
            (1536 << 10, "1.5 MiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (3 << 40, "3 TiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
