//! Given why no filesystem can have a geometry, gives the sentence that says it; never decides whether it can.

use std::fmt;

use crate::ondisk::{jbd2, mmp};

/// Why no filesystem can have the geometry asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryError {
    /// No block, or not enough for one group's metadata.
    TooSmall {
        /// The blocks there are.
        blocks: u64,
        /// The blocks that one group's metadata needs.
        needed: u64,
        /// The block size, in bytes.
        block_size: u32,
    },
    /// More inodes than fit into the groups.
    TooManyInodes {
        /// The inodes asked for.
        inodes: u32,
    },
    /// A count that contradicts the others.
    InvalidArgument,
    /// More descriptor blocks to keep than one block can point to.
    ReservedGdtBlocks {
        /// The blocks asked for.
        blocks: u32,
    },
    /// A journal that is too short or too long for any filesystem.
    JournalLength {
        /// The blocks asked for.
        blocks: u64,
    },
    /// A journal that is too short but for what fast commits have of it.
    JournalTooShort {
        /// The blocks that are left.
        blocks: u64,
    },
    /// A device too short for the journal it is to be.
    JournalDeviceTooShort {
        /// Its blocks.
        blocks: u64,
    },
    /// A journal longer than half of the free blocks.
    JournalTooBig {
        /// The blocks asked for.
        blocks: u64,
        /// The most there may be.
        most: u64,
    },
    /// Multiple mount protection updated too seldom.
    MmpInterval {
        /// The seconds asked for.
        seconds: u16,
    },
    /// An orphan file longer than the filesystem or than any file.
    OrphanFileTooBig {
        /// The blocks asked for.
        blocks: u64,
        /// The most there may be.
        most: u64,
    },
    /// An orphan file asked for without a journal.
    OrphanFileWithoutJournal,
}

impl GeometryError {
    /// Says it to a program, which has no flags: what would mend it by the names that its options have there.
    pub(crate) fn say_to_program(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.to_string();
        let wrong = said.split_once("; use ").map_or(&*said, |(wrong, _)| wrong);
        f.write_str(wrong)?;
        f.write_str(match self {
            Self::TooManyInodes { .. } => "; use fewer inodes or a larger size",
            Self::ReservedGdtBlocks { .. } => "; use a smaller Options::resize",
            Self::JournalTooBig { .. } => "; use Options::journal_mebibytes",
            Self::OrphanFileWithoutJournal => {
                "; use features(\"^orphan_file\") or features(\"has_journal\")"
            }
            _ => "",
        })
    }
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { blocks, needed, .. } => write!(
                f,
                "the filesystem has {blocks} block{}; its metadata alone needs at least {needed}",
                if *blocks == 1 { "" } else { "s" }
            ),
            Self::TooManyInodes { inodes } => write!(
                f,
                "{inodes} inodes do not fit in the block groups; use fewer inodes (-N) or a larger size"
            ),
            Self::InvalidArgument => {
                f.write_str("invalid combination of block size, cluster size and group size")
            }
            Self::ReservedGdtBlocks { blocks } => write!(
                f,
                "{blocks} reserved GDT blocks are more than one block can point to; use a smaller -E resize"
            ),
            Self::JournalLength { blocks } => write!(
                f,
                "invalid journal size of {blocks} blocks: must be {} to {} blocks",
                jbd2::MIN_BLOCKS,
                jbd2::MAX_BLOCKS
            ),
            Self::JournalTooShort { blocks } => write!(
                f,
                "invalid journal size of {blocks} blocks without the fast commit area: must be at least {} blocks",
                jbd2::MIN_BLOCKS
            ),
            Self::JournalDeviceTooShort { blocks } => write!(
                f,
                "the journal device has {blocks} blocks: a journal needs at least {}",
                jbd2::MIN_BLOCKS
            ),
            Self::JournalTooBig { blocks, most } => write!(
                f,
                "invalid journal size of {blocks} blocks: must be at most {most} blocks in this filesystem; use -J size="
            ),
            Self::MmpInterval { seconds } => write!(
                f,
                "invalid MMP update interval {seconds}: must be at most {} seconds",
                mmp::MAX_UPDATE_INTERVAL
            ),
            Self::OrphanFileTooBig { blocks, most } => write!(
                f,
                "invalid orphan file size of {blocks} blocks: must be at most {most} blocks in this filesystem"
            ),
            Self::OrphanFileWithoutJournal => f.write_str(
                "the orphan_file feature needs a journal; use -O ^orphan_file or -O has_journal",
            ),
        }
    }
}

impl std::error::Error for GeometryError {}
