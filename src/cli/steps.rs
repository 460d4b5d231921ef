//! Given what is being made, tells it in mke2fs's words and order; never makes it.
//!
//! All of it comes from settings and geometry, so it is told before anything is written.

use std::env;
use std::path::Path;

use super::messages::{self, Stats};
use super::request::Request;
use super::{Failed, existing, proceed, say, tell, warn};
use crate::feature::Feature;
use crate::geometry::{Geometry, GeometryError};
use crate::layout::{HugeFiles, Owner};
use crate::options::{Settings, TargetKind};

/// A run of mke2fs, as far as it is told.
pub(super) struct StepReport<'a> {
    pub(super) request: &'a Request,
    pub(super) device: &'a Path,
    /// The device's name, for people.
    pub(super) device_name: &'a str,
    /// Whether numbers are told while something goes on.
    pub(super) tells_progress: bool,
    pub(super) settings: &'a Settings,
    pub(super) geometry: &'a Geometry,
    pub(super) kind: TargetKind,
}

/// Bytes from a filesystem's first: the boot sector, the end of its superblock, and that of what is
/// erased with it.
const SECTOR: u64 = 512;
const SUPERBLOCK_END: u64 = 2048;
const ERASED_END: u64 = 4096;

/// What of the old file cannot be read.
#[derive(Default)]
struct ShortReads {
    superblock: bool,
    boot_block: bool,
}

/// A step of mke2fs that may fail after others were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Placing the groups' tables.
    Tables,
    /// Making the root directory and lost+found.
    Directories,
    /// Making the journal.
    Journal,
    /// Enabling multiple mount protection.
    Mmp,
    /// Making files, the filesystem's own or others.
    Content,
}

impl Step {
    /// The step that finds `fault`.
    pub(super) fn of_fault(fault: &GeometryError) -> Self {
        match fault {
            GeometryError::JournalTooShort { .. } | GeometryError::JournalDeviceTooShort { .. } => {
                Self::Journal
            }
            GeometryError::MmpInterval { .. } => Self::Mmp,
            _ => Self::Content,
        }
    }

    /// The step that finds no room for what `owner` has.
    pub(super) fn of_owner(owner: Owner) -> Self {
        match owner {
            Owner::BlockBitmap(_) | Owner::InodeBitmap(_) | Owner::InodeTable(_) => Self::Tables,
            Owner::Directory(..) | Owner::LostFound(_) | Owner::LostFoundNode(_) => {
                Self::Directories
            }
            Owner::Journal(_) | Owner::JournalNode(_) => Self::Journal,
            _ => Self::Content,
        }
    }
}

impl StepReport<'_> {
    /// Tells what `-q` keeps quiet.
    fn tell(&self, text: &str) {
        if !self.request.quiet {
            tell(text);
        }
    }

    /// What stands for the numbers up to `most` that mke2fs counts.
    fn numbers(&self, most: u64) -> String {
        messages::numeric_progress(most, self.tells_progress)
    }

    /// Tells the numbers of the filesystem, even if quiet where nothing else is done.
    pub(super) fn stats(&self) {
        if self.request.quiet && !self.request.dry_run {
            return;
        }
        let stats = Stats {
            geometry: self.geometry,
            settings: self.settings,
        };
        if self.request.verbose {
            warn(&messages::unused_blocks(&stats));
        }
        tell(&messages::stats(&stats, self.request.verbose));
    }

    /// Tells all that comes before `step` is done.
    ///
    /// # Errors
    /// Where a person does not want it.
    pub(super) fn until(&self, step: Step) -> Result<(), Failed> {
        self.discarding();
        let short = self.short_reads();
        if short.superblock {
            warn(messages::COULD_NOT_ERASE);
        }
        self.stats();
        if self.geometry.is_journal_device() {
            self.journal_device(step);
            return Ok(());
        }
        self.tell(messages::ALLOCATING);
        let groups = self.geometry.groups.into();
        if !self.settings.packed_meta_blocks || !self.geometry.features.has(Feature::FlexBg) {
            self.tell(&match step {
                Step::Tables => messages::numeric_progress_begun(groups, self.tells_progress),
                _ => self.numbers(groups),
            });
        }
        if step == Step::Tables {
            return Ok(());
        }
        self.tell(messages::DONE_PADDED);
        if self.settings.super_only {
            return self.rescue();
        }
        if short.boot_block {
            warn(messages::COULD_NOT_READ);
        }
        self.tell(messages::WRITING_TABLES);
        self.tell(&self.numbers(groups));
        self.tell(messages::DONE_PADDED);
        if step > Step::Directories {
            self.files(step);
        }
        Ok(())
    }

    /// What mke2fs finds the file too short for, and says so: it reads whole blocks where it writes past
    /// the page cache, and the old superblock where it keeps what it overwrites.
    fn short_reads(&self) -> ShortReads {
        let old = match self.kind {
            TargetKind::File { size_bytes } => size_bytes,
            TargetKind::Missing => 0,
            _ => return ShortReads::default(),
        };
        let settings = self.settings;
        let has = |length: u64, bytes: u64| length >= settings.offset_bytes.saturating_add(bytes);
        let undo = self.request.undo_file.as_ref();
        if undo.is_some_and(|path| !path.is_empty()) {
            return ShortReads {
                superblock: !has(old, SUPERBLOCK_END),
                boot_block: !has(old, SECTOR),
            };
        }
        let erased = old.max(settings.offset_bytes.saturating_add(ERASED_END));
        ShortReads {
            superblock: false,
            boot_block: self.request.uncached && !has(erased, settings.block_size.bytes_u64()),
        }
    }

    fn discarding(&self) {
        let verbose = |text: &str| {
            if self.request.verbose {
                tell(text);
            }
        };
        if self.settings.assume_storage_prezeroed {
            verbose(messages::ASSUMING_PREZEROED);
        }
        if self.settings.discard {
            self.tell(messages::DISCARDING);
            self.tell(&self.numbers(self.geometry.blocks_count));
            self.tell(messages::DONE_PADDED);
            // No kernel since 4.12 promises that of a device.
            if !matches!(self.kind, TargetKind::Device(_)) {
                verbose(messages::DISCARD_ZEROES);
            }
        }
    }

    /// Tells how a journal's device is made; a fault of it is found before.
    fn journal_device(&self, step: Step) {
        if step != Step::Content {
            return;
        }
        if !self.settings.lazy_journal_init && !self.settings.assume_storage_prezeroed {
            let blocks = self.geometry.blocks_count;
            self.tell(messages::ZEROING_JOURNAL_DEVICE);
            let first = blocks.min(messages::JOURNAL_ZEROED_AT_ONCE);
            let numbers = messages::numeric_progress_from(first, blocks, self.tells_progress);
            self.tell(&numbers);
        }
        tell("\n");
    }

    /// Tells that the filesystem is listed on its journal's device, if that is so.
    fn adding_journal(&self) -> bool {
        let Some(device) = &self.request.journal_device else {
            return false;
        };
        self.tell(&messages::adding_journal(&device.display().to_string()));
        self.tell(messages::DONE);
        true
    }

    /// Tells what `-S` does, once it may: what is there may be lost by it.
    fn rescue(&self) -> Result<(), Failed> {
        if !self.settings.discard
            && let Ok(Some(existing)) = existing::look_beside_ext(self.device)
        {
            say(messages::contains(self.device_name, &existing));
        }
        tell(&messages::further_corrupted(self.device_name));
        if self.request.force == 0 {
            proceed(self.request.proceed_delay)?;
        }
        if !self.adding_journal() && self.geometry.features.has(Feature::HasJournal) {
            tell(messages::SKIPPING_JOURNAL);
        }
        Ok(())
    }

    /// Tells of the filesystem's own files.
    fn files(&self, step: Step) {
        let (settings, geometry) = (self.settings, self.geometry);
        self.adding_journal();
        if let Some(blocks) = geometry.journal_blocks {
            self.tell(&messages::creating_journal(blocks));
            let before_first = |block: &u64| *block < geometry.first_data_block;
            if let Some(block) = settings.journal_location.filter(before_first)
                && geometry.features.has(Feature::Extent)
            {
                warn(&messages::no_block_for_journal(block, self.device_name));
            }
            if step == Step::Journal {
                return;
            }
            self.tell(messages::DONE);
        }
        if step <= Step::Mmp {
            return;
        }
        if geometry.features.has(Feature::Mmp) {
            self.tell(&messages::mmp_enabled(settings.mmp_update_interval));
        }
    }

    /// Tells of huge files.
    pub(super) fn huge_files(&self, huge: &HugeFiles) {
        let wish = self.settings.huge_files.as_ref().and_then(|wish| wish.zero);
        let is_zeros = self.settings.assume_storage_prezeroed
            || self.settings.discard && !matches!(self.kind, TargetKind::Device(_));
        if self.request.verbose && wish.unwrap_or(!is_zeros) {
            self.tell(messages::ZEROING_HUGE_FILES);
        }
        self.tell(&messages::creating_huge_files(
            huge.files.len(),
            huge.blocks_each,
        ));
        self.tell(messages::DONE);
    }

    /// Tells that files are being copied.
    pub(super) fn copying(&self) {
        if !self.request.sources.is_empty() {
            self.tell(messages::COPYING);
        }
    }

    /// Tells the end.
    pub(super) fn end(&self) {
        if self.geometry.is_journal_device() {
            return;
        }
        if !self.request.sources.is_empty() {
            self.tell(messages::DONE);
        }
        self.tell(messages::WRITING_SUPERBLOCKS);
        self.tell(&self.numbers(self.geometry.groups.into()));
        self.tell(messages::DONE_AND_EMPTY_LINE);
        if env::var_os("MKE2FS_SKIP_CHECK_MSG").is_none() {
            self.tell(&messages::check_message(self.settings));
        }
    }
}
