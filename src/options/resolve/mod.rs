//! Given options and the host, gives settings; never looks at the world itself.
//!
//! The rules, their arithmetic and their order are those of `PRS` in e2fsprogs' mke2fs.c, because
//! each may read what those before it left. What mke2fs takes and this version does not is refused
//! last, so that what mke2fs refuses is refused for the same reason.

mod blocks;
mod extend;
mod huge;
mod inodes;
mod kinds;
mod length;
mod start;

use super::compat;
use super::error::{
    Conflict, SettingsError, SettingsErrorKind, SettingsWarning, SettingsWarningKind,
};
use super::settings::Settings;
use super::{BlockSizeOption, Environment, Options, Resolved, TargetKind, UuidOption};
use crate::feature::{Feature, FeatureSet};
use crate::units::BlockSize;
use blocks::{Blocks, check_end, check_page, share, size_clusters, take_off_offset, topology};
use extend::{encode, extend};
use huge::huge_files;
use inodes::{check_project, count_inodes, size_inodes};
use kinds::{Choice, creator};
use length::Length;
use start::start;

/// `EXT4_MMP_UPDATE_INTERVAL`: seconds between updates.
const MMP_UPDATE_INTERVAL: u16 = 5;

pub(super) fn resolve(options: &Options, host: &Environment) -> Result<Resolved, SettingsError> {
    let mut warnings = Vec::new();
    let mut warn = |warn| warnings.push(SettingsWarning(warn));
    let anonymous = options.reproducible.then(|| host.anonymous());
    let host = anonymous.as_ref().unwrap_or(host);
    let told = check_texts(options);
    let inherited = options.with_inherited();
    let options = inherited.as_ref().unwrap_or(options);
    let resolved = match told.and_then(|()| of_journal(options, host)) {
        Ok(Some(options)) => settings(&options, host, &mut warn),
        Ok(None) => settings(options, host, &mut warn),
        Err(refusal) => Err(refusal),
    };
    match resolved {
        Ok(settings) => Ok(Resolved { settings, warnings }),
        Err(refusal) => Err(SettingsError {
            kind: Box::new(refusal),
            warnings,
        }),
    }
}

/// The options with the block size of the journal's device, unless they say one.
fn of_journal(options: &Options, host: &Environment) -> Result<Option<Options>, SettingsErrorKind> {
    let Some(journal) = host.journal_device else {
        return Ok(None);
    };
    if options.reproducible {
        return Err(SettingsErrorKind::NotReproducible(
            "an external journal, of which the image holds the device number",
            "leave out -J device=",
        ));
    }
    let journal = journal.block_size.bytes();
    match options.block_size {
        Some(BlockSizeOption::Exactly(_)) => return Ok(None),
        Some(BlockSizeOption::AtLeast(least)) if journal < least => {
            return Err(SettingsErrorKind::JournalBlocksTooSmall { journal, least });
        }
        Some(BlockSizeOption::AtLeast(_)) | None => {}
    }
    let mut options = options.clone();
    options.block_size(journal);
    Ok(Some(options))
}

/// What is asked for, and the world it is asked in.
#[derive(Clone, Copy)]
struct Asked<'a> {
    options: &'a Options,
    host: &'a Environment,
}

/// Where to note what is remarkable.
type Warn<'a> = &'a mut dyn FnMut(SettingsWarningKind);

fn settings(
    options: &Options,
    host: &Environment,
    warn: Warn<'_>,
) -> Result<Settings, SettingsErrorKind> {
    check_wishes(options)?;
    let asked = Asked { options, host };
    let profile = host.profile()?;
    let length = Length::new(options, host)?;
    let rules = Choice::new(asked, &length, profile, warn)?;
    let features = options.fit_targets(rules.features(options)?)?;
    let mount_options = rules.mount_options()?;
    let blocks = Blocks::new(asked, &length, &rules, warn)?;
    let features = blocks.check_count(features, &rules)?;
    let mut rules = rules;
    let is_journal_device = features.has(Feature::JournalDev);
    if is_journal_device {
        rules.types = vec!["journal".to_owned()];
    }
    let rules = rules;
    warn(SettingsWarningKind::Types(rules.types.clone()));
    let features = match options.journal {
        Some(_) => features.with(Feature::HasJournal),
        None => features,
    };
    let mut reserved_percent = rules.reserved_percent(options)?;
    let mut features = features;
    if is_journal_device {
        reserved_percent = 0.0;
        let checksums = features.has(Feature::MetadataCsum);
        features = FeatureSet::EMPTY.with(Feature::JournalDev);
        if checksums {
            features = features.with(Feature::MetadataCsum);
        }
    }
    let features = features;
    if features.has(Feature::SixtyFourBit) && !features.has(Feature::Extent) {
        return Err(SettingsErrorKind::Conflict(
            Conflict::SixtyFourBitWithoutExtents,
        ));
    }
    if features.has(Feature::Verity) && !features.has(Feature::Extent) {
        return Err(SettingsErrorKind::Conflict(Conflict::VerityWithoutExtents));
    }
    let mut settings = start(asked, &rules, &blocks)?;
    settings.features = features;
    settings.super_only &= !is_journal_device;
    size_clusters(&mut settings, options, &rules)?;
    settings.default_mount_opts = mount_options;
    if features.has(Feature::MetaBg) {
        settings.first_meta_bg = host.first_meta_bg.unwrap_or(0);
    }
    if features.has(Feature::SixtyFourBit) {
        settings.desc_size = Some(64);
    }
    topology(&mut settings, host, warn);
    check_page(&settings, asked, warn)?;
    encode(&mut settings, &rules)?;
    extend(&mut settings, asked, &rules, warn)?;
    check_revision(&mut settings, options)?;
    take_off_offset(&mut settings, &length, warn)?;
    check_end(&settings)?;
    check_project(&mut settings, options)?;
    check_features(&mut settings, warn)?;
    check_groups(&mut settings, options, &rules)?;
    size_inodes(&mut settings, options, &rules, warn)?;
    count_inodes(&mut settings, options, &rules)?;
    if settings.revision == 0 {
        settings.inode_size = 128;
    }
    reserve_blocks(&mut settings, options, reserved_percent);
    settings.discard &= length.output_units > 0 && !options.undoable;
    settings.undo.automatic = is_undoable(&settings, &rules);
    if is_journal_device && let TargetKind::Device(device) = host.target.kind {
        // mke2fs tries that with a block of 1 KiB, and gives up.
        settings.discard &= device.sector_size <= BlockSize::MIN.bytes();
    }
    compat::check(&options.compat, settings.features)?;
    finish(settings, &rules, host)
}

/// Keeps blocks for root: so many percent, or as many as are inherited with all else that no option asks for.
fn reserve_blocks(settings: &mut Settings, options: &Options, percent: f64) {
    settings.reserved_blocks = share(settings.blocks_count, percent);
    options.set_inherited_at_last(settings);
}

/// Looks for wishes that no filesystem can grant, whatever else is asked for.
pub(super) fn check_wishes(options: &Options) -> Result<(), SettingsErrorKind> {
    if let Some(BlockSizeOption::Exactly(bytes) | BlockSizeOption::AtLeast(bytes)) =
        options.block_size
        && BlockSize::new(bytes).is_none()
    {
        return Err(SettingsErrorKind::BlockSize(bytes.into()));
    }
    if options.reproducible {
        check_reproducible(options)?;
    }
    if let Some(label) = options.label.as_ref().filter(|label| label.len() > 16) {
        return Err(SettingsErrorKind::LabelTooLong(label.len()));
    }
    if let Some(path) = options.last_mounted.as_ref().filter(|path| path.len() > 64) {
        return Err(SettingsErrorKind::LastMountedTooLong(path.len()));
    }
    if let Some(percent) = options.reserved_percent {
        check_percent(percent)?;
    }
    if let Some(bytes) = options.inode_ratio
        && !(1024..=65536 * 1024).contains(&bytes)
    {
        return Err(SettingsErrorKind::InodeRatio(bytes.into()));
    }
    if let Some(groups) = options.groups_per_flex
        && !groups.is_power_of_two()
    {
        return Err(SettingsErrorKind::GroupsPerFlex(groups.into()));
    }
    if let Some(bytes) = options.cluster_size
        && !(1025..=1 << 29).contains(&bytes)
    {
        return Err(SettingsErrorKind::ClusterSize(bytes.into()));
    }
    Ok(())
}

/// Refuses a NUL where whoever reads the superblock takes it for the end. No argument of a command has one, and what
/// is inherited stays as it is.
fn check_texts(options: &Options) -> Result<(), SettingsErrorKind> {
    let texts = [
        ("-L", "label", &options.label),
        ("-M", "last mount point", &options.last_mounted),
    ];
    for (option, what, text) in texts {
        if text.as_ref().is_some_and(|text| text.contains(&0)) {
            return Err(SettingsErrorKind::NulInText { option, what });
        }
    }
    Ok(())
}

/// Refuses what no reproducible image can have.
fn check_reproducible(options: &Options) -> Result<(), SettingsErrorKind> {
    match options.uuid {
        Some(UuidOption::Random) => Err(SettingsErrorKind::NotReproducible(
            "a random UUID",
            "use -U UUID, or no -U",
        )),
        Some(UuidOption::OfTheTime) => Err(SettingsErrorKind::NotReproducible(
            "a UUID of the time",
            "use -U UUID, or no -U",
        )),
        Some(UuidOption::Exactly(_)) | None => Ok(()),
    }
}

fn check_percent(percent: f64) -> Result<f64, SettingsErrorKind> {
    if (0.0..=50.0).contains(&percent) {
        Ok(percent)
    } else {
        Err(SettingsErrorKind::ReservedPercent(percent))
    }
}

/// Whether mke2fs keeps what was there without being asked to (`should_do_undo`).
fn is_undoable(settings: &Settings, rules: &Choice) -> bool {
    let has = |feature| settings.features.has(feature);
    let is_lazy =
        settings.lazy_itable_init && (has(Feature::MetadataCsum) || has(Feature::GdtCsum));
    is_lazy || rules.find(|rules| rules.force_undo).unwrap_or(0) != 0
}

/// What mke2fs finds out later than the rest, and what it takes and this version does not.
fn finish(
    mut settings: Settings,
    rules: &Choice,
    host: &Environment,
) -> Result<Settings, SettingsErrorKind> {
    if settings.assume_storage_prezeroed {
        settings.lazy_itable_init = true;
        settings.lazy_journal_init = true;
    }
    if let Some(name) = &rules.creator_os {
        settings.creator_os =
            creator(name).ok_or_else(|| SettingsErrorKind::UnknownOs(name.clone()))?;
    }
    let makes_mmp = settings.features.has(Feature::Mmp) && !settings.super_only;
    if settings.mmp_update_interval == 0 && makes_mmp {
        settings.mmp_update_interval = MMP_UPDATE_INTERVAL;
    }
    if let Some(journal) = &settings.journal_device
        && journal.block_size != settings.block_size
    {
        return Err(SettingsErrorKind::JournalBlockSize {
            journal: journal.block_size.bytes(),
            block_size: settings.block_size.bytes(),
        });
    }
    let has = |feature| settings.features.has(feature);
    if has(Feature::MetadataCsumSeed) && !has(Feature::MetadataCsum) {
        return Err(SettingsErrorKind::Conflict(
            Conflict::SeedWithoutMetadataCsum,
        ));
    }
    settings.huge_files = huge_files(&settings, rules, host)?;
    Ok(settings)
}

/// A filesystem of revision 0 has no features.
fn check_revision(settings: &mut Settings, options: &Options) -> Result<(), SettingsErrorKind> {
    if settings.revision > 0 {
        return Ok(());
    }
    if !options.features.is_empty() {
        return Err(SettingsErrorKind::Conflict(Conflict::FeaturesWithRevision0));
    }
    if options.journal.is_some() {
        return Err(SettingsErrorKind::Conflict(Conflict::JournalWithRevision0));
    }
    settings.features = FeatureSet::EMPTY;
    settings.default_mount_opts = 0;
    Ok(())
}

fn check_features(settings: &mut Settings, warn: Warn<'_>) -> Result<(), SettingsErrorKind> {
    let has = |feature| settings.features.has(feature);
    if has(Feature::Bigalloc) && !has(Feature::Extent) {
        return Err(SettingsErrorKind::Conflict(
            Conflict::BigallocWithoutExtents,
        ));
    }
    if has(Feature::MetaBg) && has(Feature::ResizeInode) {
        return Err(SettingsErrorKind::Conflict(Conflict::MetaBgWithResizeInode));
    }
    if has(Feature::Bigalloc) && settings.log_cluster_ratio > 4 {
        warn(SettingsWarningKind::LargeClusters);
    }
    if has(Feature::ResizeInode) && !has(Feature::SparseSuper) {
        return Err(SettingsErrorKind::Conflict(
            Conflict::ResizeInodeWithoutSparseSuper,
        ));
    }
    if has(Feature::MetadataCsum) {
        settings.features = settings.features.without(Feature::GdtCsum);
    }
    Ok(())
}

fn check_groups(
    settings: &mut Settings,
    options: &Options,
    rules: &Choice,
) -> Result<(), SettingsErrorKind> {
    let most = 8 * settings.block_size.bytes();
    if let Some(blocks) = options.blocks_per_group
        && (!(256..=most).contains(&blocks) || blocks % 8 != 0)
    {
        let asked = blocks.into();
        return Err(SettingsErrorKind::BlocksPerGroup { asked, most });
    }
    let has_flex_bg = settings.features.has(Feature::FlexBg);
    let groups = match options.groups_per_flex {
        Some(_) if !has_flex_bg => {
            return Err(SettingsErrorKind::Conflict(Conflict::FlexSizeWithoutFlexBg));
        }
        Some(groups) => groups.into(),
        None if has_flex_bg => rules.find(|rules| rules.flex_bg_size).unwrap_or(16),
        None => 0,
    };
    let log = groups.checked_ilog2().unwrap_or_default();
    settings.log_groups_per_flex = u8::try_from(log).unwrap_or_default();
    Ok(())
}
