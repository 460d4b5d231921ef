//! Given options and the host, gives settings; never looks at the world itself.
//!
//! The rules, their arithmetic and their order are those of `PRS` in e2fsprogs' mke2fs.c, because
//! each may read what those before it left. What mke2fs takes and this version does not is refused
//! last, so that what mke2fs refuses is refused for the same reason.

use std::borrow::Cow;

use super::error::{Notice, Refusal, Remark, SettingsError};
use super::extended::{self, Complaint, DescSize, Extended};
use super::features::{edit_features, edit_mount_options};
use super::profile::{Profile, Rules};
use super::settings::{Errors, JournalLength, Maker, QuotaType, QuotaTypes, Settings};
use super::size::Size;
use super::{
    BlockSizeWish, Device, ExtendedWish, FeatureWish, Host, Options, Settled, TargetKind, TypeWish,
    UuidWish,
};
use crate::feature::{Feature, FeatureSet};
use crate::units::BlockSize;

/// The features that this version makes.
const SUPPORTED: &[Feature] = &[
    Feature::Bigalloc,
    Feature::InlineData,
    Feature::SparseSuper2,
    Feature::StableInodes,
    Feature::MetaBg,
    Feature::LargeDir,
    Feature::GdtCsum,
    Feature::Verity,
    Feature::EaInode,
    Feature::HasJournal,
    Feature::ExtAttr,
    Feature::ResizeInode,
    Feature::DirIndex,
    Feature::OrphanFile,
    Feature::Filetype,
    Feature::Extent,
    Feature::SixtyFourBit,
    Feature::FastCommit,
    Feature::Mmp,
    Feature::Encrypt,
    Feature::Casefold,
    Feature::Project,
    Feature::Quota,
    Feature::FlexBg,
    Feature::MetadataCsumSeed,
    Feature::SparseSuper,
    Feature::LargeFile,
    Feature::HugeFile,
    Feature::DirNlink,
    Feature::ExtraIsize,
    Feature::MetadataCsum,
];

/// The types that this version makes.
const SUPPORTED_TYPES: [&str; 3] = ["ext2", "ext3", "ext4"];

/// Seconds between checks, and mounts between them at least, where a file asks for checks at all:
/// EXT2_DFL_CHECKINTERVAL and EXT2_DFL_MAX_MNT_COUNT.
const CHECK_INTERVAL: u32 = 180 * 86400;
const MAX_MNT_COUNT: u16 = 20;

/// EXT2_GOOD_OLD_INODE_SIZE, in bytes.
const GOOD_OLD_INODE_SIZE: u32 = 128;
/// `EXT4_MMP_UPDATE_INTERVAL`: seconds between updates.
const MMP_UPDATE_INTERVAL: u16 = 5;

pub(super) fn settle(options: &Options, host: &Host) -> Result<Settled, SettingsError> {
    let mut notices = Vec::new();
    let mut remark = |remark| notices.push(Notice(remark));
    let settings = settings(options, host, &mut remark);
    match settings {
        Ok(settings) => Ok(Settled { settings, notices }),
        Err(refusal) => Err(SettingsError {
            refusal: Box::new(refusal),
            notices,
        }),
    }
}

/// `EXT2_OS_HURD`.
const HURD: u32 = 1;
/// What the Hurd does not know, in the order in which mke2fs looks for it.
const NOT_ON_HURD: [Feature; 4] = [
    Feature::Filetype,
    Feature::HugeFile,
    Feature::MetadataCsum,
    Feature::EaInode,
];

/// `s_creator_os` of the operating system called `name`, which may be a number.
fn creator(name: &str) -> Option<u32> {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = name.trim_start_matches('0');
        let end = digits.find(|c: char| !c.is_ascii_digit());
        let digits = &digits[..end.unwrap_or(digits.len())];
        return Some(digits.parse().unwrap_or(0));
    }
    match name.to_ascii_lowercase().as_str() {
        "linux" => Some(0),
        "gnu" | "hurd" => Some(HURD),
        "freebsd" => Some(3),
        "lites" => Some(4),
        _ => None,
    }
}

type Remarks<'a> = &'a mut dyn FnMut(Remark);

fn settings(options: &Options, host: &Host, remark: Remarks<'_>) -> Result<Settings, Refusal> {
    check_wishes(options)?;
    let profile = host.profile()?;
    let length = Length::new(options, host)?;
    let rules = Choice::new(options, host, &length, profile, remark)?;
    let features = rules.features(options)?;
    let mount_options = rules.mount_options()?;
    let blocks = Blocks::new(options, host, &length, &rules, remark)?;
    let features = blocks.check_count(features, &rules)?;
    remark(Remark::Types(rules.types.clone()));
    let features = match options.journal_mebibytes {
        Some(_) => features.with(Feature::HasJournal),
        None => features,
    };
    let reserved_percent = rules.reserved_percent(options)?;
    if features.has(Feature::SixtyFourBit) && !features.has(Feature::Extent) {
        return Err(Refusal::SixtyFourBitWithoutExtents);
    }
    if features.has(Feature::Verity) && !features.has(Feature::Extent) {
        return Err(Refusal::VerityWithoutExtents);
    }
    let mut settings = start(&Start {
        options,
        host,
        rules: &rules,
        blocks: &blocks,
    })?;
    settings.features = features;
    size_clusters(&mut settings, options, &rules)?;
    settings.default_mount_opts = mount_options;
    if features.has(Feature::SixtyFourBit) {
        settings.desc_size = Some(64);
    }
    topology(&mut settings, host, remark);
    check_page(&settings, options, host, remark)?;
    encode(&mut settings, &rules)?;
    extend(&mut settings, options, host, remark, &rules)?;
    check_revision(&mut settings, options)?;
    take_off_offset(&mut settings, &length, remark)?;
    check_project(&mut settings, options)?;
    check_features(&mut settings)?;
    check_groups(&mut settings, options, &rules)?;
    size_inodes(&mut settings, options, &rules, remark)?;
    count_inodes(&mut settings, options, &rules)?;
    if settings.revision == 0 {
        settings.inode_size = 128;
    }
    settings.reserved_blocks = share(settings.blocks_count, reserved_percent);
    settings.discard &= length.output_units > 0;
    finish(settings, &rules)
}

/// Looks for wishes that no filesystem can grant: what a command line cannot even say.
fn check_wishes(options: &Options) -> Result<(), Refusal> {
    if let Some(BlockSizeWish::Exactly(bytes) | BlockSizeWish::AtLeast(bytes)) = options.block_size
        && BlockSize::new(bytes).is_none()
    {
        return Err(Refusal::BlockSize(bytes.into()));
    }
    if let Some(label) = options.label.as_ref().filter(|label| label.len() > 16) {
        return Err(Refusal::LabelTooLong(label.len()));
    }
    if let Some(path) = options.last_mounted.as_ref().filter(|path| path.len() > 64) {
        return Err(Refusal::LastMountedTooLong(path.len()));
    }
    if let Some(percent) = options.reserved_percent {
        check_percent(percent)?;
    }
    if let Some(bytes) = options.inode_ratio
        && !(1024..=65536 * 1024).contains(&bytes)
    {
        return Err(Refusal::InodeRatio(bytes.into()));
    }
    if let Some(groups) = options.groups_per_flex
        && !groups.is_power_of_two()
    {
        return Err(Refusal::GroupsPerFlex(groups.into()));
    }
    Ok(())
}

fn check_percent(percent: f64) -> Result<f64, Refusal> {
    match (0.0..=50.0).contains(&percent) {
        true => Ok(percent),
        false => Err(Refusal::ReservedPercent(percent)),
    }
}

/// How long the filesystem shall be, in units of the block size asked for, or of 1 KiB.
struct Length {
    log_unit: u32,
    units: u64,
    /// Whether the length was asked for, rather than taken from the output.
    asked: bool,
    /// The output's own length.
    output_units: u64,
}

impl Length {
    fn new(options: &Options, host: &Host) -> Result<Self, Refusal> {
        let log_unit = match options.block_size {
            Some(BlockSizeWish::Exactly(bytes)) => log_block_size(bytes),
            Some(BlockSizeWish::AtLeast(_)) | None => 0,
        };
        let asked = options.size.map(|size| size.blocks(log_unit));
        if asked == Some(0) {
            return Err(Refusal::NoBlocks);
        }
        let output_units = match (asked, host.target.kind) {
            (Some(units), _) if options.dry_run => units,
            (Some(_), TargetKind::Missing) => 0,
            (None, TargetKind::Missing) => return Err(Refusal::NoOutputAndNoSize),
            (_, TargetKind::File { size_bytes }) => size_bytes >> (10 + log_unit),
            (_, TargetKind::Device(device)) => device.size_bytes >> (10 + log_unit),
            (_, TargetKind::Other) => 0,
        };
        if asked.is_none() && output_units == 0 {
            return Err(Refusal::OutputIsEmpty);
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
fn log_block_size(bytes: u32) -> u32 {
    (bytes >> 10).checked_ilog2().unwrap_or_default()
}

/// The profile, and the types whose rules apply: later ones go before earlier ones.
struct Choice {
    profile: Profile,
    types: Vec<String>,
    /// The operating system that claims the filesystem, if one is named.
    creator_os: Option<String>,
    for_hurd: bool,
}

impl Choice {
    /// Chooses the types as `parse_fs_type` does.
    fn new(
        options: &Options,
        host: &Host,
        length: &Length,
        profile: Profile,
        remark: Remarks<'_>,
    ) -> Result<Self, Refusal> {
        let own = |text: &Option<Cow<'static, str>>| text.as_deref().map(str::to_owned);
        let device = profile.device(&host.target.path.to_string_lossy());
        let creator_os = options
            .creator_os
            .clone()
            .or_else(|| own(&profile.defaults.creator_os));
        let for_hurd = creator_os
            .as_deref()
            .is_some_and(|name| creator(name) == Some(HURD));
        let by_device = || device.and_then(|rules| own(&rules.fs_type));
        let by_hurd = || for_hurd.then(|| "ext2".to_owned());
        let fs_type = match &options.fs_type {
            Some(TypeWish::Named(name)) => name.clone(),
            None => by_hurd().unwrap_or_else(|| "ext4".to_owned()),
            Some(TypeWish::ByProgram(name)) => {
                by_device().or_else(by_hurd).unwrap_or_else(|| name.clone())
            }
            Some(TypeWish::ByConf) => by_device()
                .or_else(by_hurd)
                .or_else(|| own(&profile.defaults.fs_type))
                .unwrap_or_else(|| match options.journal_mebibytes {
                    Some(_) => "ext3".to_owned(),
                    None => "ext2".to_owned(),
                }),
        };
        if profile.fs_type(&fs_type).is_none() && fs_type != "ext2" {
            if !options.force {
                return Err(Refusal::TypeUndefined(fs_type));
            }
            remark(Remark::TypeUndefined(fs_type.clone()));
        }
        let usage_types = options
            .usage_types
            .clone()
            .or_else(|| device.and_then(|rules| own(&rules.usage_types)))
            .unwrap_or_else(|| size_type(length).to_owned());
        let mut types = vec![fs_type];
        for name in usage_types.split(',').filter(|name| !name.is_empty()) {
            if profile.fs_type(name).is_some() {
                types.push(name.to_owned());
            } else if name != "default" {
                remark(Remark::UsageUndefined(name.to_owned()));
            }
        }
        if for_hurd {
            types.push("hurd".to_owned());
        }
        Ok(Self {
            profile,
            types,
            creator_os,
            for_hurd,
        })
    }

    fn find<T>(&self, relation: impl Fn(&Rules) -> Option<T>) -> Option<T> {
        self.profile.find(&self.types, relation)
    }

    fn text(&self, relation: impl Fn(&Rules) -> Option<&str>) -> Option<&str> {
        self.profile.find(&self.types, relation)
    }

    /// The features of the rules, edited as the options ask.
    fn features(&self, options: &Options) -> Result<FeatureSet, Refusal> {
        let edit = |set, text: &str| {
            edit_features(set, text).ok_or_else(|| Refusal::Features(text.to_owned()))
        };
        let base = self
            .text(|rules| rules.base_features.as_deref())
            .unwrap_or("sparse_super,large_file,filetype,resize_inode,dir_index");
        let mut set = edit(FeatureSet::EMPTY, base)?;
        for name in &self.types {
            let rules = self.profile.fs_type(name);
            if let Some(text) = rules.and_then(|rules| rules.features.as_deref()) {
                set = edit(set, text)?;
            }
        }
        if self.for_hurd {
            let unknown = NOT_ON_HURD.iter().chain(&[Feature::Casefold]);
            set = unknown.fold(set, |set, feature| set.without(*feature));
        }
        if options.features.is_empty()
            && let Some(text) = self.text(|rules| rules.default_features.as_deref())
        {
            set = edit(set, text)?;
        }
        let before = set;
        for wish in &options.features {
            set = match wish {
                FeatureWish::With(feature) => set.with(*feature),
                FeatureWish::Without(feature) => set.without(*feature),
                FeatureWish::Text(text) => edit(set, text)?,
            };
        }
        // A feature that came by default goes without a word when what it needs was taken away.
        for (feature, needs) in [
            (Feature::OrphanFile, Feature::HasJournal),
            (Feature::MetadataCsumSeed, Feature::MetadataCsum),
        ] {
            if before.has(feature) && !set.has(needs) {
                set = set.without(feature);
            }
        }
        let unknown = NOT_ON_HURD.iter().find(|feature| set.has(**feature));
        match unknown.filter(|_| self.for_hurd) {
            Some(feature) => Err(Refusal::NotOnHurd(*feature)),
            None => Ok(set),
        }
    }

    fn mount_options(&self) -> Result<u32, Refusal> {
        let text = self
            .text(|rules| rules.default_mntopts.as_deref())
            .unwrap_or("acl,user_xattr");
        edit_mount_options(0, text).ok_or_else(|| Refusal::MountOptions(text.to_owned()))
    }

    fn reserved_percent(&self, options: &Options) -> Result<f64, Refusal> {
        let by_rules = || self.find(|rules| rules.reserved_ratio).unwrap_or(5.0);
        check_percent(options.reserved_percent.unwrap_or_else(by_rules))
    }
}

/// The usage type that mke2fs chooses by the length.
fn size_type(length: &Length) -> &'static str {
    let mebibyte = 1024 >> length.log_unit;
    match length.units / mebibyte {
        0..3 => "floppy",
        3..512 => "small",
        512..0x40_0000 => "default",
        0x40_0000..0x100_0000 => "big",
        _ => "huge",
    }
}

/// The block size, and the length in blocks.
struct Blocks {
    size: BlockSize,
    count: u64,
}

impl Blocks {
    fn new(
        options: &Options,
        host: &Host,
        length: &Length,
        rules: &Choice,
        remark: Remarks<'_>,
    ) -> Result<Self, Refusal> {
        let (sector_size, physical) = sector_sizes(host);
        let bytes = match options.block_size {
            Some(BlockSizeWish::Exactly(bytes)) if bytes < sector_size => {
                return Err(Refusal::BlockBelowSector {
                    block_size: bytes,
                    sector_size,
                });
            }
            Some(BlockSizeWish::Exactly(bytes)) => {
                if bytes < physical && physical <= host.page_size {
                    remark(Remark::BlockBelowPhysicalSector {
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
                    Some(BlockSizeWish::AtLeast(bytes)) => bytes,
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
            .ok_or(Refusal::BlockSize(bytes.into()))?;
        let count = match options.block_size {
            Some(BlockSizeWish::Exactly(_)) => length.units,
            _ => length.units / u64::from(bytes / 1024),
        };
        Ok(Self { size, count })
    }

    /// Whether so many blocks can be numbered; a filesystem past 32 bits has no resize inode.
    fn check_count(&self, features: FeatureSet, rules: &Choice) -> Result<FeatureSet, Refusal> {
        let (blocks, block_size) = (self.count, self.size.bytes());
        let mut features = features;
        if blocks > u64::from(u32::MAX) {
            if rules.find(|rules| rules.auto_64bit) == Some(true) {
                features = features.with(Feature::SixtyFourBit);
            }
            if !features.has(Feature::SixtyFourBit) {
                return Err(Refusal::Above32Bits { blocks, block_size });
            }
            features = features.without(Feature::ResizeInode);
        }
        // As many groups as 32 bits number, each as long as a block has bits.
        if blocks >= 1 << (10 + self.size.log() + 3 + 32) {
            return Err(Refusal::TooManyBlocks { blocks, block_size });
        }
        Ok(features)
    }
}

/// The output's logical and physical sector sizes in bytes; 0 for unknown.
fn sector_sizes(host: &Host) -> (u32, u32) {
    let device = device(host).unwrap_or_default();
    let logical = host.sector_size.unwrap_or(device.sector_size);
    let physical = host
        .physical_sector_size
        .unwrap_or(device.physical_sector_size);
    (logical, if physical == 0 { logical } else { physical })
}

fn device(host: &Host) -> Option<Device> {
    match host.target.kind {
        TargetKind::Device(device) => Some(device),
        TargetKind::Missing | TargetKind::File { .. } | TargetKind::Other => None,
    }
}

/// What settings start from.
struct Start<'a> {
    options: &'a Options,
    host: &'a Host,
    rules: &'a Choice,
    blocks: &'a Blocks,
}

/// The settings as far as options and rules say them outright.
fn start(from: &Start<'_>) -> Result<Settings, Refusal> {
    let (options, host, rules) = (from.options, from.host, from.rules);
    let truth = |relation: fn(&Rules) -> Option<bool>| rules.find(relation);
    let packed_meta_blocks = truth(|rules| rules.packed_meta_blocks).unwrap_or(false);
    let uuid = uuid(options, host);
    let (max_mnt_count, check_interval) = match truth(|rules| rules.enable_periodic_fsck) {
        Some(true) => (mounts_between_checks(&uuid), CHECK_INTERVAL),
        _ => (u16::MAX, 0),
    };
    Ok(Settings {
        block_size: from.blocks.size,
        blocks_count: from.blocks.count,
        reserved_blocks: 0,
        features: FeatureSet::EMPTY,
        inode_size: 0,
        inodes_count: 0,
        log_cluster_ratio: 0,
        revision: 1,
        creator_os: 0,
        encoding: 0,
        encoding_flags: 0,
        test_fs: false,
        blocks_per_group: None,
        log_groups_per_flex: 0,
        desc_size: None,
        reserved_gdt_blocks: None,
        num_backup_sb: backups(rules),
        packed_meta_blocks,
        journal_length: match options.journal_mebibytes {
            Some(mebibytes) => JournalLength::Mebibytes(mebibytes),
            None => JournalLength::ByFilesystem,
        },
        fast_commit_kibibytes: options.fast_commit_kibibytes,
        journal_v1: options.journal_v1,
        journal_location: match packed_meta_blocks {
            true => Some(0),
            false => journal_location(options, rules, from.blocks.size),
        },
        orphan_file_blocks: None,
        uuid,
        hash_seed: random_uuid(host.random_hash_seed),
        label: padded(options.label.as_deref()),
        last_mounted: padded(options.last_mounted.as_deref()),
        errors: errors(options, rules)?,
        default_mount_opts: 0,
        max_mnt_count,
        check_interval,
        raid_stride: 0,
        raid_stripe_width: 0,
        maker: Maker {
            host_name: padded(Some(&host.name)),
            device_name: padded(Some(host.target.path.as_os_str().as_encoded_bytes())),
            time: host.real_clock.as_secs(),
        },
        mmp_update_interval: 0,
        quota_types: QuotaTypes::USER_AND_GROUP,
        root_uid: 0,
        root_gid: 0,
        root_perms: 0o755,
        clock: host.clock,
        latest_time: host.latest_time,
        lazy_itable_init: truth(|rules| rules.lazy_itable_init).unwrap_or(true),
        lazy_journal_init: truth(|rules| rules.lazy_journal_init).unwrap_or(false),
        discard: truth(|rules| rules.discard).unwrap_or(true),
        assume_storage_prezeroed: false,
        offset_bytes: 0,
        no_copy_xattrs: false,
    })
}

fn backups(rules: &Choice) -> u8 {
    let count = rules.find(|rules| rules.num_backup_sb).unwrap_or(2);
    u8::try_from(count.clamp(0, 2)).unwrap_or(2)
}

fn journal_location(options: &Options, rules: &Choice, block_size: BlockSize) -> Option<u64> {
    let by_rules = || rules.text(|rules| rules.journal_location.as_deref());
    let text = options.journal_location.as_deref().or_else(by_rules)?;
    let size = Size::parse(text).filter(|_| !text.is_empty());
    (!text.is_empty()).then(|| size.map_or(0, |size| size.blocks(block_size.log())))
}

fn uuid(options: &Options, host: &Host) -> [u8; 16] {
    match options.uuid {
        Some(UuidWish::Exactly(uuid)) => uuid,
        Some(UuidWish::OfTheTime) => uuid_of_the_time(host),
        None => random_uuid(host.random_uuid),
    }
}

/// A UUID of version 4, as libuuid marks it.
fn random_uuid(bytes: [u8; 16]) -> [u8; 16] {
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .into_bytes()
}

/// A UUID of version 1 whose node is random, as libuuid makes it without a network card.
fn uuid_of_the_time(host: &Host) -> [u8; 16] {
    // Units of 100 ns since the Gregorian calendar began.
    const GREGORIAN_TO_1970: u128 = 0x01b2_1dd2_1381_4000;
    let ticks = host.real_clock.as_nanos() / 100 + GREGORIAN_TO_1970;
    let [a, b, c, d, e, f, counter @ .., _, _, _, _, _, _, _, _] = host.random_uuid;
    let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
    let node = [a | 1, b, c, d, e, f];
    uuid::Builder::from_gregorian_timestamp(ticks, u16::from_be_bytes(counter), &node)
        .into_uuid()
        .into_bytes()
}

/// Mounts between checks, spread by the UUID so that not all filesystems are checked at once.
fn mounts_between_checks(uuid: &[u8; 16]) -> u16 {
    let sum: u16 = uuid.iter().copied().map(u16::from).sum();
    MAX_MNT_COUNT + sum % MAX_MNT_COUNT
}

/// What to do about errors. The rules are read even where an option goes before them.
fn errors(options: &Options, rules: &Choice) -> Result<Errors, Refusal> {
    let by_rules = match rules.text(|rules| rules.errors.as_deref()) {
        None | Some("continue") => Errors::Continue,
        Some("remount-ro") => Errors::RemountReadOnly,
        Some("panic") => Errors::Panic,
        Some(other) => return Err(Refusal::ErrorsInConf(other.to_owned())),
    };
    Ok(options.errors.unwrap_or(by_rules))
}

fn padded<const N: usize>(bytes: Option<&[u8]>) -> [u8; N] {
    let mut field = [0; N];
    let bytes = bytes.unwrap_or_default();
    let len = bytes.len().min(N);
    field[..len].copy_from_slice(&bytes[..len]);
    field
}

/// Takes stride and stripe from what the device likes, as libblkid tells mke2fs.
fn topology(settings: &mut Settings, host: &Host, remark: Remarks<'_>) {
    let Some(device) = device(host) else {
        if host.target.kind == TargetKind::Other {
            remark(Remark::NoTopology);
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
        remark(Remark::Misaligned(device.alignment_offset));
    }
    if device.dax && block_size != host.page_size {
        remark(Remark::NoDax {
            block_size,
            page_size: host.page_size,
        });
    }
}

fn check_page(
    settings: &Settings,
    options: &Options,
    host: &Host,
    remark: Remarks<'_>,
) -> Result<(), Refusal> {
    let (block_size, page_size) = (settings.block_size.bytes(), host.page_size);
    if block_size <= page_size {
        return Ok(());
    }
    if !options.force {
        return Err(Refusal::BlockAbovePage {
            block_size,
            page_size,
        });
    }
    remark(Remark::BlockAbovePage {
        block_size,
        page_size,
    });
    Ok(())
}

/// Applies the extended options of the rules, type by type, and then those asked for.
fn extend(
    settings: &mut Settings,
    options: &Options,
    host: &Host,
    remark: Remarks<'_>,
    rules: &Choice,
) -> Result<(), Refusal> {
    // A resize wish asks for the blocks per group, which the last check settles.
    settings.blocks_per_group = options.blocks_per_group;
    for name in &rules.types {
        let rules = rules.profile.fs_type(name);
        if let Some(text) = rules.and_then(|rules| rules.options.as_deref()) {
            extend_by(settings, host, extended::parse(text).collect(), remark)?;
        }
    }
    let wishes: Vec<_> = options
        .extended
        .iter()
        .flat_map(|wish| match wish {
            ExtendedWish::One(option) => vec![Ok(*option)],
            ExtendedWish::Text(text) => extended::parse(text).collect(),
        })
        .collect();
    match wishes.is_empty() {
        true => Ok(()),
        false => extend_by(settings, host, wishes, remark),
    }
}

/// What names are in, where their case can be folded.
fn encode(settings: &mut Settings, rules: &Choice) -> Result<(), Refusal> {
    if !settings.features.has(Feature::Casefold) {
        return Ok(());
    }
    let name = rules.text(|rules| rules.encoding.as_deref());
    let name = name.unwrap_or("utf8");
    settings.encoding =
        extended::encoding(name).ok_or_else(|| Refusal::EncodingInConf(name.to_owned()))?;
    if let Some(text) = rules.text(|rules| rules.encoding_flags.as_deref()) {
        settings.encoding_flags = extended::read_encoding_flags(text)
            .map_err(|_| Refusal::EncodingFlagsInConf(text.to_owned()))?;
    }
    Ok(())
}

/// A filesystem of revision 0 has no features.
fn check_revision(settings: &mut Settings, options: &Options) -> Result<(), Refusal> {
    if settings.revision > 0 {
        return Ok(());
    }
    if !options.features.is_empty() {
        return Err(Refusal::FeaturesWithRevision0);
    }
    if options.journal_mebibytes.is_some() {
        return Err(Refusal::JournalWithRevision0);
    }
    settings.features = FeatureSet::EMPTY;
    settings.default_mount_opts = 0;
    Ok(())
}

fn extend_by(
    settings: &mut Settings,
    host: &Host,
    wishes: Vec<Result<Extended, Complaint>>,
    remark: Remarks<'_>,
) -> Result<(), Refusal> {
    let mut complaints = Vec::new();
    let mut last = String::new();
    let mut encoding_flags = None;
    for wish in wishes {
        let complaint = match wish {
            Ok(Extended::EncodingFlags(flags)) => {
                encoding_flags = Some(Ok(flags));
                continue;
            }
            Err(Complaint::EncodingFlag(word)) => {
                encoding_flags = Some(Err(Complaint::EncodingFlag(word)));
                continue;
            }
            wish => match wish.and_then(|option| apply(settings, host, option)) {
                Ok(()) if is_fixed_size_grown(settings) => {
                    return Err(Refusal::ResizeWithRevision0);
                }
                Ok(()) => continue,
                Err(complaint) => complaint,
            },
        };
        match &complaint {
            Complaint::Revision(_) | Complaint::RevisionTooHigh(_) => {
                return Err(Refusal::Revision(complaint));
            }
            Complaint::NotYet(name) => {
                return Err(Refusal::NotYet(format!("extended option {name}")));
            }
            Complaint::Unknown(name) => last.clone_from(name),
            Complaint::NoValue("encoding" | "encoding_flags") => {}
            Complaint::NoValue(name) => last = (*name).to_owned(),
            Complaint::QuotaType(_) => last = "quotatype".to_owned(),
            Complaint::Invalid { .. }
            | Complaint::DescSizeWithout64Bit(_)
            | Complaint::DescSizeAfterResize { .. }
            | Complaint::EncodingFlag(_)
            | Complaint::ResizeNotLarger { .. } => {}
        }
        complaints.push(complaint);
    }
    if !complaints.is_empty() {
        return Err(Refusal::Extended { complaints, last });
    }
    let (stride, stripe_width) = (settings.raid_stride, settings.raid_stripe_width);
    if stride != 0 && stripe_width % u32::from(stride) != 0 {
        remark(Remark::UnevenStripe {
            stripe_width,
            stride,
        });
    }
    flag_encoding(settings, encoding_flags)
}

/// Whether room for growing was reserved by a filesystem of revision 0, which cannot.
fn is_fixed_size_grown(settings: &Settings) -> bool {
    settings.revision == 0 && settings.reserved_gdt_blocks.is_some()
}

/// Takes flags where there is an encoding to have them; each text of options states them anew.
fn flag_encoding(
    settings: &mut Settings,
    flags: Option<Result<u16, Complaint>>,
) -> Result<(), Refusal> {
    if settings.features.has(Feature::Casefold) {
        let flags = flags.transpose().map_err(Refusal::EncodingFlag)?;
        settings.encoding_flags = flags.unwrap_or(0);
        return Ok(());
    }
    match flags {
        Some(_) => Err(Refusal::EncodingFlagsAlone),
        None => Ok(()),
    }
}

fn size_descriptors(settings: &mut Settings, wish: DescSize) -> Result<(), Complaint> {
    let DescSize { name, bytes } = wish;
    if !settings.features.has(Feature::SixtyFourBit) {
        return Err(Complaint::DescSizeWithout64Bit(name));
    }
    if let Some(blocks) = settings.reserved_gdt_blocks {
        return Err(Complaint::DescSizeAfterResize { name, blocks });
    }
    settings.desc_size = Some(bytes);
    Ok(())
}

fn apply(settings: &mut Settings, host: &Host, option: Extended) -> Result<(), Complaint> {
    match option {
        Extended::AssumeStoragePrezeroed(truth) => settings.assume_storage_prezeroed = truth,
        Extended::DescSize(wish) => size_descriptors(settings, wish)?,
        Extended::Encoding(encoding) => {
            settings.encoding = encoding;
            settings.features = settings.features.with(Feature::Casefold);
        }
        Extended::EncodingFlags(flags) => settings.encoding_flags = flags,
        Extended::Discard(truth) => settings.discard = truth,
        Extended::HashSeed(seed) => settings.hash_seed = seed,
        Extended::LazyItableInit(truth) => settings.lazy_itable_init = truth,
        // Once asked for, it stays.
        Extended::LazyJournalInit(truth) => settings.lazy_journal_init |= truth,
        Extended::MmpUpdateInterval(seconds) => settings.mmp_update_interval = seconds,
        Extended::NoCopyXattrs => settings.no_copy_xattrs = true,
        Extended::NumBackupSb(count) => settings.num_backup_sb = count,
        Extended::Offset(bytes) => settings.offset_bytes = bytes,
        Extended::OrphanFileSize(size) => {
            let blocks = size.blocks(settings.block_size.log());
            settings.orphan_file_blocks = Some(blocks);
            if blocks == 0 {
                return Err(too_short("orphan_file_size", size));
            }
        }
        Extended::PackedMetaBlocks(truth) => {
            settings.packed_meta_blocks = truth;
            if truth {
                settings.journal_location = Some(0);
            }
        }
        Extended::QuotaTypes(types) => settings.quota_types = types,
        Extended::Resize(size) => reserve_descriptors(settings, size)?,
        Extended::Revision(revision) => settings.revision = revision,
        Extended::TestFs => settings.test_fs = true,
        Extended::RootOwner(owner) => {
            (settings.root_uid, settings.root_gid) = owner.unwrap_or(host.user);
        }
        Extended::RootPerms(perms) => settings.root_perms = perms,
        Extended::Stride(blocks) => settings.raid_stride = blocks,
        Extended::StripeWidth(blocks) => settings.raid_stripe_width = blocks,
        Extended::Nothing => {}
    }
    Ok(())
}

fn too_short(name: &'static str, size: Size) -> Complaint {
    let value = match size {
        Size::Blocks(number) => number.to_string(),
        Size::Kibibytes(number) => format!("{number}K"),
        Size::Sectors(number) => format!("{number}s"),
        Size::Bytes(number) => format!("{number} bytes"),
    };
    Complaint::Invalid { name, value }
}

/// Keeps descriptor blocks so that the filesystem may grow to `size`.
fn reserve_descriptors(settings: &mut Settings, size: Size) -> Result<(), Complaint> {
    let blocks = size.blocks(settings.block_size.log());
    if blocks == 0 {
        return Err(too_short("resize", size));
    }
    let least = settings.blocks_count;
    if blocks <= least {
        return Err(Complaint::ResizeNotLarger { blocks, least });
    }
    let block_bytes = settings.block_size.bytes_u64();
    let per_group = settings
        .blocks_per_group
        .map_or(block_bytes * 8, u64::from)
        .max(1);
    let desc_size = match settings.features.has(Feature::SixtyFourBit) {
        true => settings.desc_size.map_or(64, u64::from),
        false => 32,
    };
    let per_block = block_bytes / desc_size;
    // mke2fs counts groups in 32 bits.
    let groups = |blocks: u64| blocks.div_ceil(per_group) & u64::from(u32::MAX);
    let desc_blocks = |blocks| groups(blocks).div_ceil(per_block);
    let more = desc_blocks(blocks).saturating_sub(desc_blocks(least));
    if more > 0 {
        settings.features = settings.features.with(Feature::ResizeInode);
        // One block of the resize inode points to them all.
        settings.reserved_gdt_blocks = u16::try_from(more.min(block_bytes / 4)).ok();
    }
    Ok(())
}

/// The blocks of a cluster: sixteen unless told otherwise.
fn size_clusters(
    settings: &mut Settings,
    options: &Options,
    rules: &Choice,
) -> Result<(), Refusal> {
    let asked = options.cluster_size;
    if let Some(bytes) = asked
        && !(1025..=1 << 29).contains(&bytes)
    {
        return Err(Refusal::ClusterSize(bytes.into()));
    }
    if !settings.features.has(Feature::Bigalloc) {
        return match asked {
            Some(_) => Err(Refusal::ClusterWithoutBigalloc),
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
        .ok_or(Refusal::ClusterBelowBlock)?;
    Ok(())
}

/// Where the length is the output's, what lies before the offset is not there to use.
fn take_off_offset(
    settings: &mut Settings,
    length: &Length,
    remark: Remarks<'_>,
) -> Result<(), Refusal> {
    if length.asked || settings.offset_bytes == 0 {
        return Ok(());
    }
    let before = settings.offset_bytes / settings.block_size.bytes_u64();
    let left = settings.blocks_count.checked_sub(before);
    settings.blocks_count = left
        .filter(|left| *left > 0)
        .ok_or(Refusal::OffsetPastEnd {
            offset: settings.offset_bytes,
            size: length.output_units << (10 + length.log_unit),
        })?;
    remark(Remark::OffsetWithoutSize {
        blocks: settings.blocks_count,
    });
    Ok(())
}

/// Projects are counted with their feature, and need inodes with room for a project's number.
fn check_project(settings: &mut Settings, options: &Options) -> Result<(), Refusal> {
    if settings.quota_types.has(QuotaType::Project) {
        settings.features = settings.features.with(Feature::Project);
    }
    if settings.features.has(Feature::Project) {
        settings.quota_types = settings.quota_types.with(QuotaType::Project);
        if options.inode_size == Some(GOOD_OLD_INODE_SIZE) {
            return Err(Refusal::InodesTooSmallForProjects);
        }
    }
    Ok(())
}

fn check_features(settings: &mut Settings) -> Result<(), Refusal> {
    let has = |feature| settings.features.has(feature);
    if has(Feature::Bigalloc) && !has(Feature::Extent) {
        return Err(Refusal::BigallocWithoutExtents);
    }
    if has(Feature::MetaBg) && has(Feature::ResizeInode) {
        return Err(Refusal::MetaBgWithResizeInode);
    }
    if has(Feature::ResizeInode) && !has(Feature::SparseSuper) {
        return Err(Refusal::ResizeInodeWithoutSparseSuper);
    }
    if has(Feature::MetadataCsum) {
        settings.features = settings.features.without(Feature::GdtCsum);
    }
    Ok(())
}

fn check_groups(settings: &mut Settings, options: &Options, rules: &Choice) -> Result<(), Refusal> {
    let most = 8 * settings.block_size.bytes();
    if let Some(blocks) = options.blocks_per_group
        && (!(256..=most).contains(&blocks) || blocks % 8 != 0)
    {
        let asked = blocks.into();
        return Err(Refusal::BlocksPerGroup { asked, most });
    }
    let has_flex_bg = settings.features.has(Feature::FlexBg);
    let groups = match options.groups_per_flex {
        Some(_) if !has_flex_bg => return Err(Refusal::FlexSizeWithoutFlexBg),
        Some(groups) => groups.into(),
        None if has_flex_bg => rules.find(|rules| rules.flex_bg_size).unwrap_or(16),
        None => 0,
    };
    let log = groups.checked_ilog2().unwrap_or_default();
    settings.log_groups_per_flex = u8::try_from(log).unwrap_or_default();
    Ok(())
}

fn size_inodes(
    settings: &mut Settings,
    options: &Options,
    rules: &Choice,
    remark: Remarks<'_>,
) -> Result<(), Refusal> {
    let most = settings.block_size.bytes();
    let by_rules = || {
        rules
            .find(|rules| rules.inode_size)
            .filter(|bytes| *bytes != 0)
    };
    let by_rules = || match settings.features.has(Feature::Project) {
        true => by_rules().max(Some(i64::from(2 * GOOD_OLD_INODE_SIZE))),
        false => by_rules(),
    };
    // Where nothing says a size, ext2fs_initialize takes EXT2_GOOD_OLD_INODE_SIZE.
    let asked = options.inode_size.map(i64::from).or_else(by_rules);
    let bytes = asked.unwrap_or(128);
    let fits = |bytes: &u16| bytes.is_power_of_two() && *bytes >= 128 && u32::from(*bytes) <= most;
    let size = u16::try_from(bytes).ok();
    settings.inode_size = match settings.revision {
        // It is not looked at, though the inodes must fit.
        0 => size.unwrap_or(u16::MAX),
        _ => size
            .filter(fits)
            .ok_or(Refusal::InodeSize { asked: bytes, most })?,
    };
    if asked == Some(128) && settings.features.has(Feature::InlineData) {
        return Err(Refusal::InlineDataInSmallInodes);
    }
    let warns = || rules.find(|rules| rules.warn_y2038_dates) != Some(false);
    if asked == Some(128) && warns() {
        remark(Remark::TimesEndIn2038);
    }
    Ok(())
}

fn count_inodes(settings: &mut Settings, options: &Options, rules: &Choice) -> Result<(), Refusal> {
    const MOST: u64 = 0xffff_ffff;
    let bytes = settings
        .blocks_count
        .saturating_mul(settings.block_size.bytes_u64());
    let count = match options.inodes_count {
        Some(count) if count > MOST => return Err(Refusal::TooManyInodes(count)),
        // A Settings without inodes leaves the count to the geometry.
        Some(count) => count.max(1),
        None => {
            let ratio = inode_ratio(options, rules, settings);
            let count = bytes / ratio;
            if count > MOST && !settings.features.has(Feature::SixtyFourBit) {
                return Err(Refusal::TooManyInodesByRatio(count));
            }
            count.min(MOST)
        }
    };
    settings.inodes_count = u32::try_from(count).unwrap_or(u32::MAX);
    if count.saturating_mul(settings.inode_size.into()) >= bytes {
        return Err(Refusal::InodesFillAll {
            inode_size: settings.inode_size.into(),
            inodes: settings.inodes_count,
            blocks: settings.blocks_count,
        });
    }
    Ok(())
}

/// Bytes per inode; by the rules never less than a block or a cluster.
fn inode_ratio(options: &Options, rules: &Choice, settings: &Settings) -> u64 {
    let cluster_bytes = settings.block_size.bytes_u64() << settings.log_cluster_ratio;
    let by_rules = || {
        let ratio = rules.find(|rules| rules.inode_ratio).unwrap_or(8192);
        u64::try_from(ratio).unwrap_or(0).max(cluster_bytes)
    };
    options.inode_ratio.map_or_else(by_rules, u64::from)
}

/// What mke2fs finds out later than the rest, and what it takes and this version does not.
fn finish(mut settings: Settings, rules: &Choice) -> Result<Settings, Refusal> {
    if settings.assume_storage_prezeroed {
        settings.lazy_itable_init = true;
        settings.lazy_journal_init = true;
    }
    if let Some(name) = &rules.creator_os {
        settings.creator_os = creator(name).ok_or_else(|| Refusal::UnknownOs(name.clone()))?;
    }
    if settings.mmp_update_interval == 0 && settings.features.has(Feature::Mmp) {
        settings.mmp_update_interval = MMP_UPDATE_INTERVAL;
    }
    let has = |feature| settings.features.has(feature);
    if has(Feature::MetadataCsumSeed) && !has(Feature::MetadataCsum) {
        return Err(Refusal::SeedWithoutMetadataCsum);
    }
    let not_yet = |what: String| Err(Refusal::NotYet(what));
    if let Some(name) = rules.types.first()
        && !SUPPORTED_TYPES.contains(&name.as_str())
    {
        return not_yet(format!("type {name}"));
    }
    let unsupported = |feature: &Feature| !SUPPORTED.contains(feature);
    if let Some(feature) = settings.features.iter().find(unsupported) {
        return not_yet(format!("feature {}", feature.name()));
    }
    for (asked, name) in [
        (
            rules.find(|rules| rules.make_hugefiles) == Some(true),
            "make_hugefiles",
        ),
        (
            rules
                .text(|rules| rules.hash_alg.as_deref())
                .is_some_and(|name| !name.eq_ignore_ascii_case("half_md4")),
            "hash_alg",
        ),
    ] {
        if asked {
            return not_yet(format!("{name} in the configuration file"));
        }
    }
    Ok(settings)
}

/// `percent` of `count`, in the floating point of mke2fs, rounded down.
#[expect(
    clippy::as_conversions,
    reason = "std has no other way between u64 and f64; the rounding is mke2fs's"
)]
fn share(count: u64, percent: f64) -> u64 {
    (percent * count as f64 / 100.0) as u64
}
