//! Given what is wrong with a flag's value, says it in our own words; never in mke2fs's.

use std::fmt;

use crate::options::SettingsErrorKind;

/// Why a flag's value cannot be.
#[derive(Debug, PartialEq)]
pub(in crate::cli) enum FlagError {
    /// The value of one of mke2fs's flags is none, or one that the settings refuse.
    Value {
        what: FlagValue,
        text: String,
        kind: Option<Box<SettingsErrorKind>>,
    },
    /// A flag that can be given once.
    Twice(char),
    /// Blocks per group that are no multiple of 8.
    BlocksPerGroup(u64),
    /// A revision that there is not.
    RevisionTooHigh(u32),
    /// The revision of old, which `-r` made.
    RevisionRemoved,
    /// A part of what `-J` takes.
    JournalOption(String),
    /// No device has the label or the UUID of this journal.
    NoSuchJournal(String),
    /// What `-s` was for.
    SparseSuperRemoved,
    /// A flag of mke2fs's that is not supported.
    NotSupported(&'static str),
    /// The value of a flag of our own, in one line.
    Own(String),
}

/// What the value of one of mke2fs's flags is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum FlagValue {
    BlockSize,
    BlocksPerGroup,
    ClusterSize,
    Errors,
    FlexSize,
    InodeRatio,
    InodeSize,
    Inodes,
    ReservedPercent,
    Revision,
}

impl FlagValue {
    /// The value is none.
    pub(super) fn is_not(self, text: &str) -> FlagError {
        FlagError::Value {
            what: self,
            text: text.to_owned(),
            kind: None,
        }
    }

    /// The settings refuse the value.
    pub(super) fn is_refused(self, text: &str) -> impl FnOnce(SettingsErrorKind) -> FlagError {
        move |kind| FlagError::Value {
            what: self,
            text: text.to_owned(),
            kind: Some(Box::new(kind)),
        }
    }

    /// What it is called, and what it has to be.
    fn rule(self) -> (&'static str, &'static str) {
        match self {
            Self::BlockSize => (
                "block size",
                "must be a power of two from 1024 to 65536 bytes, or -BYTES for at least that",
            ),
            Self::BlocksPerGroup => ("blocks per group", "must be a multiple of 8"),
            Self::ClusterSize => (
                "cluster size",
                "must be a power of two from 2048 to 536870912 bytes",
            ),
            Self::Errors => ("error behavior", "must be continue, remount-ro or panic"),
            Self::FlexSize => (
                "flex group size",
                "must be a power of two up to 2^31 groups",
            ),
            Self::InodeRatio => ("inode ratio", "must be 1024 to 67108864 bytes per inode"),
            Self::InodeSize => ("inode size", "must be a power of two from 128 bytes on"),
            Self::Inodes => ("number of inodes", "must be a number up to 4294967295"),
            Self::ReservedPercent => ("reserved percentage", "must be 0 to 50"),
            Self::Revision => ("revision", "must be 1"),
        }
    }
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value {
                kind: Some(kind), ..
            } => kind.fmt(f),
            Self::Value { what, text, .. } => {
                let (name, needed) = what.rule();
                write!(f, "invalid {name} '{text}': {needed}")
            }
            Self::Twice(letter) => write!(f, "-{letter} is given twice: must be given once"),
            Self::BlocksPerGroup(blocks) => {
                write!(
                    f,
                    "invalid blocks per group {blocks}: must be a multiple of 8"
                )
            }
            Self::RevisionTooHigh(number) => write!(f, "invalid revision {number}: must be 1"),
            Self::RevisionRemoved => {
                f.write_str("invalid revision 0: must be 1; use -E revision=0")
            }
            Self::JournalOption(option) => write!(
                f,
                "invalid journal option '{option}': must be size=MIB, location=BLOCK, \
                 fast_commit_size=KIB, device=PATH or v1_superblock"
            ),
            Self::NoSuchJournal(name) => {
                write!(
                    f,
                    "no journal device with {name}; create it with -O journal_dev"
                )
            }
            Self::SparseSuperRemoved => {
                f.write_str("-s is not supported; use -O sparse_super or -O ^sparse_super")
            }
            Self::NotSupported(flag) => write!(f, "{flag} is not supported"),
            Self::Own(text) => f.write_str(text),
        }
    }
}
