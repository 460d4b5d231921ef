//! Given what each room warns of, gives the one warning that programs see; never an error.

use std::fmt;

use crate::layout::{Claim, Layout, LayoutWarning, Owner};
use crate::options::{NoLargeBlocks, Settings, SettingsWarning};
use crate::source::SourceWarning;
use crate::units::LogicalBlock;

/// How long an orphan file Linux mounts, in blocks (`EXT4_MAX_ORPHAN_FILE_BLOCKS`): as long as
/// mke2fs makes it unless it is told otherwise.
const MOST_ORPHAN_BLOCKS: u64 = 512;

/// Something a person may want to know and that stops nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Of the options.
    Options(SettingsWarning),
    /// Of a source.
    Source(SourceWarning),
    /// Of what the format could not keep.
    Layout(LayoutWarning),
    /// The filesystem is too small for the journal it was to have.
    TooSmallForJournal,
    /// The orphan file has more blocks than Linux takes since 6.18, 512.
    LongOrphanFile {
        /// How many it has.
        blocks: u64,
    },
    /// The journal does not begin where it was to.
    JournalElsewhere {
        /// The block that was asked for.
        asked: u64,
        /// Where it begins.
        block: u64,
    },
    /// Blocks are smaller than [is wished for](crate::Options::large_blocks).
    SmallBlocks {
        /// Their size in bytes.
        block_size: u32,
        /// Why.
        why: NoLargeBlocks,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(warning) => warning.fmt(f),
            Self::Source(warning) => warning.fmt(f),
            Self::Layout(warning) => warning.fmt(f),
            Self::TooSmallForJournal => {
                f.write_str("the filesystem is too small for a journal and has none")
            }
            Self::LongOrphanFile { blocks } => write!(
                f,
                "the orphan file has {blocks} blocks; Linux from 6.18 on mounts none with more than \
                 {MOST_ORPHAN_BLOCKS}"
            ),
            Self::JournalElsewhere { asked, block } => write!(
                f,
                "the journal begins at block {block}: there is no room for it at block {asked}"
            ),
            Self::SmallBlocks { block_size, why } => {
                let kibibytes = block_size / 1024;
                let why = match why {
                    NoLargeBlocks::Content => "the content does not fit",
                    NoLargeBlocks::Journal => "there is no room for a journal",
                };
                write!(
                    f,
                    "block size is {kibibytes} KiB: with blocks of 4 KiB {why}"
                )
            }
        }
    }
}

impl Warning {
    /// Whether it warns of something, rather than reports a choice that was made.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Options(warning) => warning.is_warning(),
            Self::SmallBlocks { .. } => false,
            _ => true,
        }
    }

    /// What a person may want to know of `layout`.
    pub(crate) fn of_layout(settings: &Settings, layout: &Layout) -> Vec<Self> {
        let no_journal = layout.geometry.too_small_for_journal;
        let no_journal = no_journal.then_some(Self::TooSmallForJournal);
        let orphan_blocks = layout.geometry.orphan_file_blocks;
        let long_orphan_file = orphan_blocks
            .filter(|blocks| *blocks > MOST_ORPHAN_BLOCKS)
            .map(|blocks| Self::LongOrphanFile { blocks });
        let warnings = layout.warnings.iter().cloned().map(Self::Layout);
        let of_system = no_journal.into_iter().chain(long_orphan_file);
        let of_journal = journal_elsewhere(settings, layout);
        of_system.chain(of_journal).chain(warnings).collect()
    }
}

/// That the journal is not where it was to be, if so.
fn journal_elsewhere(settings: &Settings, layout: &Layout) -> Option<Warning> {
    let asked = settings.journal_location.filter(|block| *block > 0)?;
    let is_first = |claim: &&Claim| claim.owner == Owner::Journal(LogicalBlock::new(0));
    let first = layout.ledger.claims().iter().find(is_first)?;
    let block = first.run().start.get();
    (block != asked).then_some(Warning::JournalElsewhere { asked, block })
}
