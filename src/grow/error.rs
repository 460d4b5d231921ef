//! Given why a filesystem cannot be grown, says it in one sentence with its numbers; never looks at one.

use std::fmt;
use std::io;

use crate::read;

/// Why a filesystem was not grown.
#[derive(Debug)]
pub struct GrowError(Cause);

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
pub(super) enum Cause {
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
            Cause::Smaller { .. } => GrowErrorKind::Smaller,
            Cause::NotClean(_) => GrowErrorKind::NotClean,
            Cause::Unsupported(_) | Cause::UnknownFeatures { .. } => GrowErrorKind::Unsupported,
            Cause::NoReservedGdtBlocks { .. } => GrowErrorKind::NoReservedGdtBlocks,
            Cause::TooManyBlocks { .. } | Cause::TooManyInodes { .. } => GrowErrorKind::TooLarge,
            Cause::Damaged(_) => GrowErrorKind::Damaged,
            Cause::Read(_) => GrowErrorKind::Read,
            Cause::Write(_) => GrowErrorKind::Write,
            Cause::Unfinished(_) => GrowErrorKind::Unfinished,
        }
    }
}

impl From<Cause> for GrowError {
    fn from(cause: Cause) -> Self {
        Self(cause)
    }
}

impl From<read::Error> for GrowError {
    fn from(error: read::Error) -> Self {
        Self(Cause::Read(error))
    }
}

impl fmt::Display for GrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Smaller {
                asked_bytes,
                has_bytes,
            } => write!(
                f,
                "cannot shrink in place: the filesystem has {}, asked for {}",
                Bytes(*has_bytes),
                Bytes(*asked_bytes)
            ),
            Cause::NotClean(why) => write!(f, "the filesystem is not clean: {why}"),
            Cause::Unsupported(what) => f.write_str(what),
            Cause::UnknownFeatures { word, bits } => {
                write!(f, "unknown features: {word} has the bits {bits:#x}")
            }
            Cause::NoReservedGdtBlocks {
                needed,
                left,
                most_bytes,
            } => write!(
                f,
                "too few reserved GDT blocks: {needed} needed, {left} left, enough for {}",
                Bytes(*most_bytes)
            ),
            Cause::TooManyBlocks { blocks, most } => write!(
                f,
                "{blocks} blocks are too many for its block numbers: at most {most}"
            ),
            Cause::TooManyInodes { inodes } => write!(
                f,
                "it would have {inodes} inodes: at most {} can be numbered",
                u32::MAX
            ),
            Cause::Damaged(what) => write!(f, "the filesystem is damaged: {what}"),
            Cause::Read(error) => error.fmt(f),
            Cause::Write(error) => write!(f, "{error}; the filesystem is as it was"),
            Cause::Unfinished(error) => write!(
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
            Cause::Read(error) => error.source(),
            Cause::Write(error) | Cause::Unfinished(error) => error.source(),
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
