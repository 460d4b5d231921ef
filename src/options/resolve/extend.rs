//! Given settings, applies extended options and what names are encoded in; never reads their text.

use super::kinds::Choice;
use super::{Asked, Warn};
use crate::feature::Feature;
use crate::options::error::{ConfError, Conflict, SettingsErrorKind, SettingsWarningKind};
use crate::options::extended::{self, DescSize, Extended, ExtendedOptionError};
use crate::options::settings::{RootOwner, Settings};
use crate::options::size::Size;
use crate::options::{Environment, ExtendedOption};

/// What names are in, where their case can be folded.
pub(super) fn encode(settings: &mut Settings, rules: &Choice) -> Result<(), SettingsErrorKind> {
    if !settings.features.has(Feature::Casefold) {
        return Ok(());
    }
    let name = rules.text(|rules| rules.encoding.as_deref());
    let name = name.unwrap_or("utf8");
    settings.encoding = extended::encoding(name)
        .ok_or_else(|| SettingsErrorKind::Conf(ConfError::Encoding(name.to_owned())))?;
    if let Some(text) = rules.text(|rules| rules.encoding_flags.as_deref()) {
        settings.encoding_flags = extended::read_encoding_flags(text)
            .map_err(|_| SettingsErrorKind::Conf(ConfError::EncodingFlags(text.to_owned())))?;
    }
    Ok(())
}

/// Applies the extended options of the rules, type by type, and then those asked for.
pub(super) fn extend(
    settings: &mut Settings,
    asked: Asked<'_>,
    rules: &Choice,
    warn: Warn<'_>,
) -> Result<(), SettingsErrorKind> {
    let Asked { options, host } = asked;
    options.set_inherited(settings);
    // A resize wish asks for the blocks per group, which the last check resolves.
    settings.blocks_per_group = options.blocks_per_group;
    for name in &rules.types {
        let rules = rules.profile.fs_type(name);
        if let Some(text) = rules.and_then(|rules| rules.options.as_deref()) {
            extend_by(settings, host, extended::parse(text).collect(), warn)?;
        }
    }
    let wishes: Vec<_> = options
        .extended
        .iter()
        .flat_map(|wish| match wish {
            ExtendedOption::One(option) => vec![Ok(option.clone())],
            ExtendedOption::Text(text) => extended::parse(text).collect(),
        })
        // What it may grow to is compared with its size, which is still to be found.
        .filter(|wish| !options.any_size || !matches!(wish, Ok(Extended::Resize(_))))
        .collect();
    if options.is_reproducible() && wishes.contains(&Ok(Extended::RootOwner(None))) {
        return Err(SettingsErrorKind::NotReproducible(
            "the user who runs mke4fs as the owner of its root directory",
            "use -E root_owner=UID:GID",
        ));
    }
    if wishes.is_empty() {
        Ok(())
    } else {
        extend_by(settings, host, wishes, warn)
    }
}

fn extend_by(
    settings: &mut Settings,
    host: &Environment,
    wishes: Vec<Result<Extended, ExtendedOptionError>>,
    warn: Warn<'_>,
) -> Result<(), SettingsErrorKind> {
    let mut errors = Vec::new();
    let mut last = String::new();
    let mut encoding_flags = None;
    for wish in wishes {
        let error = match wish {
            Ok(Extended::EncodingFlags(flags)) => {
                encoding_flags = Some(Ok(flags));
                continue;
            }
            Err(ExtendedOptionError::EncodingFlag(word)) => {
                encoding_flags = Some(Err(ExtendedOptionError::EncodingFlag(word)));
                continue;
            }
            wish => match wish.and_then(|option| apply(settings, host, option)) {
                Ok(()) if is_fixed_size_grown(settings) => {
                    return Err(SettingsErrorKind::Conflict(Conflict::ResizeWithRevision0));
                }
                Ok(()) => continue,
                Err(error) => error,
            },
        };
        match &error {
            ExtendedOptionError::Revision(_) | ExtendedOptionError::RevisionTooHigh(_) => {
                return Err(SettingsErrorKind::Revision(error));
            }
            ExtendedOptionError::Unknown(name) => last.clone_from(name),
            ExtendedOptionError::NoValue("encoding" | "encoding_flags") => {}
            ExtendedOptionError::NoValue(name) => last = (*name).to_owned(),
            ExtendedOptionError::QuotaType(_) => last = "quotatype".to_owned(),
            ExtendedOptionError::Invalid { .. }
            | ExtendedOptionError::DescSizeWithout64Bit(_)
            | ExtendedOptionError::DescSizeAfterResize { .. }
            | ExtendedOptionError::EncodingFlag(_)
            | ExtendedOptionError::ResizeNotLarger { .. } => {}
        }
        errors.push(error);
    }
    if !errors.is_empty() {
        return Err(SettingsErrorKind::Extended { errors, last });
    }
    let (stride, stripe_width) = (settings.raid_stride, settings.raid_stripe_width);
    if stride != 0 && stripe_width % u32::from(stride) != 0 {
        warn(SettingsWarningKind::UnevenStripe {
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
    flags: Option<Result<u16, ExtendedOptionError>>,
) -> Result<(), SettingsErrorKind> {
    if settings.features.has(Feature::Casefold) {
        let flags = flags.transpose().map_err(SettingsErrorKind::EncodingFlag)?;
        settings.encoding_flags = flags.unwrap_or(0);
        return Ok(());
    }
    match flags {
        Some(_) => Err(SettingsErrorKind::Conflict(Conflict::EncodingFlagsAlone)),
        None => Ok(()),
    }
}

fn size_descriptors(settings: &mut Settings, wish: DescSize) -> Result<(), ExtendedOptionError> {
    let DescSize { name, bytes } = wish;
    if !extended::is_desc_size(&bytes) {
        let value = bytes.to_string();
        return Err(ExtendedOptionError::Invalid { name, value });
    }
    if !settings.features.has(Feature::SixtyFourBit) {
        return Err(ExtendedOptionError::DescSizeWithout64Bit(name));
    }
    if let Some(blocks) = settings.reserved_gdt_blocks {
        return Err(ExtendedOptionError::DescSizeAfterResize { name, blocks });
    }
    settings.desc_size = Some(bytes);
    Ok(())
}

fn apply(
    settings: &mut Settings,
    host: &Environment,
    option: Extended,
) -> Result<(), ExtendedOptionError> {
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
        Extended::RootSelinux(context) => settings.root_selinux = Some(context),
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
        Extended::AndroidSparse => settings.android_sparse = true,
        Extended::RootOwner(owner) => {
            let (uid, gid) = owner.unwrap_or(host.user);
            settings.root_owner = Some(RootOwner { uid, gid });
        }
        Extended::RootPerms(perms) => settings.root_perms = Some(perms),
        Extended::Stride(blocks) => settings.raid_stride = blocks,
        Extended::StripeWidth(blocks) => settings.raid_stripe_width = blocks,
        Extended::Nothing => {}
    }
    Ok(())
}

fn too_short(name: &'static str, size: Size) -> ExtendedOptionError {
    let value = match size {
        Size::Blocks(number) => number.to_string(),
        Size::Kibibytes(number) => format!("{number}K"),
        Size::Sectors(number) => format!("{number}s"),
        Size::Bytes(number) => format!("{number} bytes"),
    };
    ExtendedOptionError::Invalid { name, value }
}

/// Keeps descriptor blocks so that the filesystem may grow to `size`.
fn reserve_descriptors(settings: &mut Settings, size: Size) -> Result<(), ExtendedOptionError> {
    let blocks = size.blocks(settings.block_size.log());
    if blocks == 0 {
        return Err(too_short("resize", size));
    }
    let least = settings.blocks_count;
    if blocks <= least {
        return Err(ExtendedOptionError::ResizeNotLarger { blocks, least });
    }
    let block_bytes = settings.block_size.bytes_u64();
    let per_group = settings
        .blocks_per_group
        .map_or(block_bytes * 8, u64::from)
        .max(1);
    let desc_size = if settings.features.has(Feature::SixtyFourBit) {
        settings.desc_size.map_or(64, u64::from)
    } else {
        32
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
