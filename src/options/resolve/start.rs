//! Given options and rules, gives the settings that they say outright; never one that another decides.

use std::path::{Path, PathBuf};

use super::Asked;
use super::blocks::Blocks;
use super::kinds::Choice;
use crate::feature::FeatureSet;
use crate::options::error::{ConfError, SettingsErrorKind};
use crate::options::profile::Rules;
use crate::options::settings::{Errors, JournalLength, MmpInfo, QuotaTypes, Settings, UndoRule};
use crate::options::size::Size;
use crate::options::{Environment, Options, UuidOption};
use crate::units::{BlockSize, uuid_from};

/// Seconds between checks, and mounts between them at least, where a file asks for checks at all:
/// EXT2_DFL_CHECKINTERVAL and EXT2_DFL_MAX_MNT_COUNT.
const CHECK_INTERVAL: u32 = 180 * 86400;

const MAX_MNT_COUNT: u16 = 20;

/// Where mke2fs keeps undo files by default.
const UNDO_DIRECTORY: &str = "/var/lib/e2fsprogs";

/// `EXT2_HASH_HALF_MD4`.
const HALF_MD4: u8 = 1;

/// The number of the hash called `name`, as `e2p_string2hash` knows it; half_md4 for what it does
/// not.
fn hash_version(name: &str) -> u8 {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "legacy" => 0,
        "half_md4" => HALF_MD4,
        "tea" => 2,
        _ => name
            .strip_prefix("hashalg_")
            .and_then(|number| number.parse().ok())
            .unwrap_or(HALF_MD4),
    }
}

/// The settings as far as options and rules say them outright.
pub(super) fn start(
    asked: Asked<'_>,
    rules: &Choice,
    blocks: &Blocks,
) -> Result<Settings, SettingsErrorKind> {
    let Asked { options, host } = asked;
    let truth = |relation: fn(&Rules) -> Option<bool>| rules.find(relation);
    let uuid = uuid(options, host);
    let (max_mnt_count, check_interval) = match truth(|rules| rules.enable_periodic_fsck) {
        Some(true) => (mounts_between_checks(&uuid), CHECK_INTERVAL),
        _ => (u16::MAX, 0),
    };
    Ok(Settings {
        block_size: blocks.size,
        blocks_count: blocks.count,
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
        android_sparse: false,
        blocks_per_group: None,
        log_groups_per_flex: 0,
        desc_size: None,
        reserved_gdt_blocks: None,
        first_meta_bg: 0,
        num_backup_sb: backups(rules),
        packed_meta_blocks: has_packed_meta_blocks(rules),
        journal_length: options.journal.unwrap_or(JournalLength::ByFilesystem),
        fast_commit_kibibytes: options.fast_commit_kibibytes,
        journal_v1: options.journal_v1,
        journal_device: host.journal_device,
        journal_location: journal_location(options, rules, blocks.size),
        orphan_file_blocks: None,
        uuid,
        hash_seed: if options.reproducible || options.seed_by_uuid && options.has_uuid() {
            uuid_from(uuid, "hash seed")
        } else {
            random_uuid(host.random_hash_seed)
        },
        hash_version: rules
            .text(|rules| rules.hash_alg.as_deref())
            .map_or(HALF_MD4, hash_version),
        label: padded(options.label.as_deref()),
        last_mounted: padded(options.last_mounted.as_deref()),
        errors: errors(options, rules)?,
        default_mount_opts: 0,
        max_mnt_count,
        check_interval,
        raid_stride: 0,
        raid_stripe_width: 0,
        mmp_info: mmp_info(asked),
        mmp_update_interval: 0,
        quota_types: QuotaTypes::USER_AND_GROUP,
        root_owner: None,
        root_perms: None,
        root_selinux: None,
        clock: host.clock,
        latest_time: host.latest_time,
        // Left to the kernel, tables and the flags that say so are as the output was.
        lazy_itable_init: !options.reproducible
            && truth(|rules| rules.lazy_itable_init).unwrap_or(true),
        lazy_journal_init: truth(|rules| rules.lazy_journal_init).unwrap_or(false),
        discard: truth(|rules| rules.discard).unwrap_or(!options.keep_old_data),
        assume_storage_prezeroed: false,
        offset_bytes: 0,
        no_copy_xattrs: false,
        super_only: options.super_only,
        huge_files: None,
        undo: undo_rule(asked, rules),
    })
}

/// Where `mke2fs_setup_tdb` puts an undo file: what the environment says, or else the file.
fn undo_rule(asked: Asked<'_>, rules: &Choice) -> UndoRule {
    let by_rules = || {
        rules
            .profile
            .defaults
            .undo_dir
            .as_deref()
            .map(PathBuf::from)
    };
    let directory = asked.host.undo_directory.clone().or_else(by_rules);
    let directory = directory.unwrap_or_else(|| UNDO_DIRECTORY.into());
    let is_nowhere = [Path::new(""), Path::new("none")].contains(&directory.as_path());
    UndoRule {
        directory: (!is_nowhere).then_some(directory),
        automatic: false,
    }
}

fn backups(rules: &Choice) -> u8 {
    let count = rules.find(|rules| rules.num_backup_sb).unwrap_or(2);
    u8::try_from(count.clamp(0, 2)).unwrap_or(2)
}

fn has_packed_meta_blocks(rules: &Choice) -> bool {
    let found = rules.find(|rules| rules.packed_meta_blocks);
    found.unwrap_or(false)
}

fn mmp_info(asked: Asked<'_>) -> MmpInfo {
    MmpInfo {
        host_name: padded(Some(&asked.host.name)),
        device_name: padded(output_name(asked)),
        time: asked.host.real_clock.as_secs(),
    }
}

fn journal_location(options: &Options, rules: &Choice, block_size: BlockSize) -> Option<u64> {
    if has_packed_meta_blocks(rules) {
        return Some(0);
    }
    let by_rules = || rules.text(|rules| rules.journal_location.as_deref());
    let text = options.journal_location.as_deref().or_else(by_rules)?;
    let size = Size::parse(text).filter(|_| !text.is_empty());
    (!text.is_empty()).then(|| size.map_or(0, |size| size.blocks(block_size.log())))
}

fn uuid(options: &Options, host: &Environment) -> [u8; 16] {
    match options.uuid {
        Some(UuidOption::Exactly(uuid)) => uuid,
        Some(UuidOption::OfTheTime) => uuid_of_the_time(host),
        None if options.reproducible => uuid_from(host.random_uuid, "filesystem"),
        Some(UuidOption::Random) | None => random_uuid(host.random_uuid),
    }
}

/// The output's path, as multiple mount protection notes it.
fn output_name(asked: Asked<'_>) -> Option<&[u8]> {
    let path = asked.host.target.path.as_os_str().as_encoded_bytes();
    (!asked.options.reproducible).then_some(path)
}

/// A UUID of version 4, as libuuid marks it.
fn random_uuid(bytes: [u8; 16]) -> [u8; 16] {
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .into_bytes()
}

/// A UUID of version 1 whose node is random, as libuuid makes it without a network card.
fn uuid_of_the_time(host: &Environment) -> [u8; 16] {
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
fn errors(options: &Options, rules: &Choice) -> Result<Errors, SettingsErrorKind> {
    let by_rules = match rules.text(|rules| rules.errors.as_deref()) {
        None | Some("continue") => Errors::Continue,
        Some("remount-ro") => Errors::RemountReadOnly,
        Some("panic") => Errors::Panic,
        Some(other) => return Err(SettingsErrorKind::Conf(ConfError::Errors(other.to_owned()))),
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
