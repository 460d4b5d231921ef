//! Given what happened, gives the words of mke2fs 1.47.2 for it; never prints them.
//!
//! These lines are an interface: scripts read them. All were recorded by running that program, and
//! all are in this file. Lines of ours that stand beside them say so.

use std::num::NonZero;

use super::existing::Existing;
use super::flags::{FlagError, FlagValue};
use crate::feature::{Feature, FeatureSet};
use crate::geometry::{Geometry, GeometryError};
use crate::layout::Owner;
use crate::options::{
    ConfError, Conflict, ExtendedOptionError, LengthError, SettingsErrorKind, SettingsWarning,
    SettingsWarningKind, SyntaxFault,
};
use crate::sink::UndoError;
use crate::units::Group;

/// Which of the two streams a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// Programs parse this line for the version whose options and messages they may count on.
pub(super) const BANNER: &str = "mke2fs 1.47.2 (1-Jan-2025)\n";

/// Ours: mke2fs names the version of its library here.
pub(super) const USING: &str = concat!("\tUsing mke4fs version ", env!("CARGO_PKG_VERSION"), "\n");

pub(super) fn label_truncated(label: &str) -> String {
    format!("Warning: label too long; will be truncated to '{label}'\n\n")
}

pub(super) fn block_size_not_usable(bytes: u32) -> String {
    format!("Warning: blocksize {bytes} not usable on most systems.\n")
}

pub(super) fn invalid_blocks(value: &str, device: &str) -> String {
    format!("invalid blocks '{value}' on device '{device}'")
}

pub(super) fn no_file_and_no_size(device: &str) -> String {
    format!("The file {device} does not exist and no size was specified.\n")
}

pub(super) fn creating_file(device: &str) -> String {
    format!("Creating regular file {device}\n")
}

pub(super) const COULD_NOT_ERASE: &str = "Warning: could not erase sector 2: Attempt to read \
    block from filesystem resulted in short read\n";
pub(super) const COULD_NOT_READ: &str = "Warning: could not read block 0: Attempt to read \
    block from filesystem resulted in short read\n";
pub(super) const ZEROING_HUGE_FILES: &str = "Huge files will be zero'ed\n";

pub(super) fn creating_huge_files(files: usize, blocks_each: Option<u64>) -> String {
    let each = blocks_each.map(|blocks| format!("with {blocks} blocks each"));
    format!(
        "Creating {files} huge file(s) {}: ",
        each.unwrap_or_default()
    )
}

pub(super) fn can_be_undone(undo: &str, device: &str) -> String {
    format!(
        "Overwriting existing filesystem; this can be undone using the command:\n    \
         e2undo {undo} {device}\n\n"
    )
}

pub(super) fn cannot_delete_undo(reason: &str, undo: &str) -> [String; 2] {
    [
        format!("{reason} while trying to delete {undo}"),
        format!("{reason} while trying to setup undo file\n"),
    ]
}

/// What of an undo file's older content stands in the way, as mke2fs tells it.
pub(super) fn undo_fault(error: &UndoError) -> Option<&'static str> {
    match error {
        UndoError::Corrupt => Some("Undo file corrupt"),
        UndoError::Wrong => Some("Wrong undo file for this filesystem"),
        _ => None,
    }
}

pub(super) fn could_not_parse_uuid(value: &str) -> String {
    format!("could not parse UUID: {value}\n")
}

pub(super) fn contains(device: &str, existing: &Existing) -> (Stream, String) {
    match existing {
        Existing::Filesystem { kind, label } if label.is_empty() => (
            Stream::Out,
            format!("{device} contains a {kind} file system\n"),
        ),
        Existing::Filesystem { kind, label } => (
            Stream::Out,
            format!("{device} contains a {kind} file system labelled '{label}'\n"),
        ),
        Existing::Partitions { kind } => (
            Stream::Err,
            format!("Found a {kind} partition table in {device}\n"),
        ),
    }
}

pub(super) fn using_journal_block_size(bytes: u32) -> String {
    format!("Using journal device's blocksize: {bytes}\n")
}

pub(super) fn not_a_block_device(device: &str) -> String {
    format!("{device} is not a block special device.\n")
}

pub(super) fn cannot_open_journal(reason: &str, device: &str) -> String {
    format!("{reason} while trying to open journal device {device}\n")
}

pub(super) fn cannot_add_journal(reason: &str, device: &str) -> String {
    format!("{reason} \n\twhile trying to add journal to device {device}")
}

pub(super) fn adding_journal(device: &str) -> String {
    format!("Adding journal to device {device}: ")
}

pub(super) fn journal_in_use(device: &str, mounted: bool) -> String {
    in_use(device, mounted).replace("a filesystem", "a journal")
}

pub(super) fn in_use(device: &str, mounted: bool) -> String {
    let how = if mounted {
        "mounted"
    } else {
        "apparently in use by the system"
    };
    format!("{device} is {how}; will not make a filesystem here!\n")
}

pub(super) const K_IS_DEPRECATED: &str = "Warning: -K option is deprecated and should not be \
    used anymore. Use '-E nodiscard' extended option instead!\n";
const S_IS_REMOVED: &str = "the -s option has been removed.\n\n\
    Use the -O option to set or clear the sparse_super feature.\n";

pub(super) fn r_is_deprecated(program: &str) -> String {
    format!("{program}: '-R' is deprecated, use '-E' instead\n")
}

pub(super) const WHILE_SIZING: &str = "while trying to determine filesystem size";
pub(super) const NO_SECTOR_SIZE: &str =
    "No such file or directory while trying to determine hardware sector size";
pub(super) const WHILE_SETTING_UP: &str = "while setting up superblock";
pub(super) const PROCEED: &str = "Proceed anyway? (y,N) ";
pub(super) const PROCEEDING: &str = "<proceeding>\n";

pub(super) fn proceed_or_wait(seconds: NonZero<u64>) -> String {
    format!("Proceed anyway (or wait {seconds} seconds to proceed) ? (y,N) ")
}

pub(super) const DEVICE_HAS_NO_SIZE: &str = "Device size reported to be zero.  \
    Invalid partition specified, or\n\tpartition table wasn't reread after running fdisk, \
    due to\n\ta modified partition being busy and in use.  You may need to reboot\n\t\
    to re-read your partition table.\n";

const JOURNAL_USAGE: &str = "\nBad journal options specified.\n\n\
    Journal options are separated by commas, and may take an argument which\n\
    \tis set off by an equals ('=') sign.\n\nValid journal options are:\n\
    \tsize=<journal size in megabytes>\n\tdevice=<journal device>\n\
    \tlocation=<journal location>\n\n\
    The journal size must be between 1024 and 10240000 filesystem blocks.\n\n";

const EXTENDED_USAGE: &str = "Extended options are separated by commas, \
    and may take an argument which\n\tis set off by an equals ('=') sign.\n\n\
    Valid extended options are:\n\tmmp_update_interval=<interval>\n\
    \tnum_backup_sb=<0|1|2>\n\tstride=<RAID per-disk data chunk in blocks>\n\
    \tstripe-width=<RAID stride * data disks in blocks>\n\
    \toffset=<offset to create the file system>\n\
    \tresize=<resize maximum size in blocks>\n\
    \tpacked_meta_blocks=<0 to disable, 1 to enable>\n\
    \tlazy_itable_init=<0 to disable, 1 to enable>\n\
    \tlazy_journal_init=<0 to disable, 1 to enable>\n\
    \troot_owner=<uid of root dir>:<gid of root dir>\n\
    \troot_perms=<octal root directory permissions>\n\ttest_fs\n\tdiscard\n\tnodiscard\n\
    \trevision=<revision>\n\tencoding=<encoding>\n\tencoding_flags=<flags>\n\
    \tquotatype=<quota type(s) to be enabled>\n\
    \tassume_storage_prezeroed=<0 to disable, 1 to enable>\n\n";

pub(super) fn usage(program: &str) -> String {
    format!(
        "Usage: {program} [-c|-l filename] [-b block-size] [-C cluster-size]\n\
         \t[-i bytes-per-inode] [-I inode-size] [-J journal-options]\n\
         \t[-G flex-group-size] [-N number-of-inodes] [-d root-directory|tarball]\n\
         \t[-m reserved-blocks-percentage] [-o creator-os]\n\
         \t[-g blocks-per-group] [-L volume-label] [-M last-mounted-directory]\n\
         \t[-O feature[,...]] [-E extended-option[,...]] [-t fs-type]\n\
         \t[-T usage-type ] [-U UUID] [-e errors_behavior][-z undo_file]\n\
         \t[-jnqvDFSV] device [blocks-count]\n"
    )
}

/// What stands before a message of mke2fs's: com_err puts the program or the device there.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) program: &'a str,
    pub(super) device: &'a str,
    /// The size as it was given.
    pub(super) size: &'a str,
    /// The journal's device.
    pub(super) journal: &'a str,
}

/// What mke2fs says where a flag's value cannot be. What is no flag of its own is told in our words.
pub(super) fn fault(fault: &FlagError, program: &str) -> String {
    let text = match fault {
        FlagError::Value { what, text, kind } => value(*what, text, kind.as_deref()),
        FlagError::Twice(letter) => format!("The -{letter} option may only be used once"),
        FlagError::BlocksPerGroup(_) => "blocks per group must be multiple of 8".to_owned(),
        FlagError::RevisionTooHigh(number) => revision_too_high(*number),
        FlagError::RevisionRemoved => REVISION_REMOVED.to_owned(),
        FlagError::SparseSuperRemoved => S_IS_REMOVED.to_owned(),
        FlagError::JournalOption(_) => return JOURNAL_USAGE.to_owned(),
        FlagError::NoSuchJournal(name) => {
            return format!("\nCould not find journal device matching {name}\n{JOURNAL_USAGE}");
        }
        FlagError::NotSupported(_) | FlagError::Own(_) => fault.to_string(),
    };
    match fault {
        FlagError::Value {
            what: FlagValue::Errors,
            ..
        } => format!("{program}: {text}\n{}", usage(program)),
        _ => format!("{program}: {text}\n"),
    }
}

fn value(what: FlagValue, text: &str, refusal: Option<&SettingsErrorKind>) -> String {
    match what {
        FlagValue::BlockSize => format!("invalid block size - {text}"),
        FlagValue::BlocksPerGroup => "Illegal number for blocks per group".to_owned(),
        FlagValue::ClusterSize => format!("invalid cluster size - {text}"),
        FlagValue::Errors => format!("bad error behavior - {text}"),
        FlagValue::FlexSize => match refusal {
            None => "Illegal number for flex_bg size".to_owned(),
            Some(SettingsErrorKind::GroupsPerFlex(groups)) if groups.is_power_of_two() => {
                format!("flex_bg size ({groups}) must be less than or equal to 2^31")
            }
            Some(_) => "flex_bg size must be a power of 2".to_owned(),
        },
        FlagValue::InodeRatio => format!("invalid inode ratio {text} (min 1024/max 67108864)"),
        FlagValue::InodeSize => format!("invalid inode size - {text}"),
        FlagValue::Inodes => format!("bad num inodes - {text}"),
        FlagValue::ReservedPercent => format!("invalid reserved blocks percent - {text}"),
        FlagValue::Revision => bad_revision(text),
    }
}

/// What mke2fs says of options that cannot be, and where.
pub(super) fn settings_error(error: &SettingsErrorKind, names: Names<'_>) -> (Stream, String) {
    let Names {
        program,
        journal: journal_device,
        ..
    } = names;
    let line = |text: String| (Stream::Err, format!("{program}: {text}\n"));
    let plain = |text: String| (Stream::Err, text);
    match error {
        SettingsErrorKind::Conf(error) => conf_error(error, program),
        SettingsErrorKind::Length(error) => length_error(error, names),
        SettingsErrorKind::Conflict(conflict) => conflict_of(*conflict, program),
        SettingsErrorKind::TypeUndefined(name) => {
            (Stream::Out, type_undefined(name) + "Aborting...\n")
        }
        SettingsErrorKind::Features { text, .. } => {
            plain(format!("Invalid filesystem option set: {text}\n"))
        }
        SettingsErrorKind::BlockBelowSector { .. } => {
            line("Invalid argument while setting blocksize; too small for device\n".to_owned())
        }
        SettingsErrorKind::ReservedPercent(percent) => {
            line(format!("invalid reserved blocks percent - {percent:.6}"))
        }
        SettingsErrorKind::BlockAbovePage {
            block_size,
            page_size,
        } => line(format!(
            "{block_size}-byte blocks too big for system (max {page_size})"
        )),
        SettingsErrorKind::Extended { errors, last } => plain(extended(errors, last)),
        SettingsErrorKind::Revision(fault) => line(revision(fault)),
        SettingsErrorKind::EncodingFlag(fault) => plain(self::error(fault)),
        SettingsErrorKind::NotOnHurd(feature) => plain(format!(
            "The HURD does not support the {} feature.\n",
            feature.name()
        )),
        SettingsErrorKind::UnknownOs(name) => line(format!("unknown os - {name}")),
        SettingsErrorKind::BlocksPerGroup { .. } => {
            line("blocks per group count out of range".to_owned())
        }
        SettingsErrorKind::ClusterSize(bytes) => line(format!("invalid cluster size - {bytes}")),
        SettingsErrorKind::InodeSize { asked, most } => {
            line(format!("invalid inode size {asked} (min 128/max {most})"))
        }
        SettingsErrorKind::TooManyInodesByRatio(count) => {
            line(format!("too many inodes ({count}), raise inode ratio?"))
        }
        SettingsErrorKind::TooManyInodes(count) => {
            line(format!("too many inodes ({count}), specify < 2^32 inodes"))
        }
        SettingsErrorKind::InodesFillAll {
            inode_size,
            inodes,
            blocks,
        } => line(format!(
            "inode_size ({inode_size}) * inodes_count ({inodes}) too big for a\n\t\
             filesystem with {blocks} blocks, specify higher inode_ratio (-i)\n\t\
             or lower inode count (-N).\n"
        )),
        SettingsErrorKind::JournalBlocksTooSmall { journal, least } => line(format!(
            "Journal dev blocksize ({journal}) smaller than minimum blocksize {least}\n"
        )),
        SettingsErrorKind::JournalBlockSize { .. } => line(format!(
            "Filesystem has unexpected block size while trying to open journal device {}\n",
            journal_device
        )),
        // mke2fs finds these while it reads the flags, hangs on them or does not know them.
        SettingsErrorKind::BlockSize(_)
        | SettingsErrorKind::LabelTooLong(_)
        | SettingsErrorKind::NulInText { .. }
        | SettingsErrorKind::LastMountedTooLong(_)
        | SettingsErrorKind::InodeRatio(_)
        | SettingsErrorKind::GroupsPerFlex(_)
        | SettingsErrorKind::NotReproducible(..)
        | SettingsErrorKind::NotCompatible(_)
        | SettingsErrorKind::NotYet(_) => line(error.to_string()),
    }
}

fn revision(error: &ExtendedOptionError) -> String {
    match error {
        ExtendedOptionError::RevisionTooHigh(number) => revision_too_high(*number),
        ExtendedOptionError::Revision(text) => bad_revision(text),
        other => other.to_string(),
    }
}

fn conf_error(error: &ConfError, program: &str) -> (Stream, String) {
    let line = |text: String| (Stream::Err, format!("{program}: {text}\n"));
    let plain = |text: String| (Stream::Err, text);
    match error {
        ConfError::Syntax { path, error } => plain(format!(
            "Syntax error in mke2fs config file ({path}, line #{})\n\t{}\n",
            error.line,
            syntax(error.fault)
        )),
        ConfError::MountOptions(text) => plain(format!("Invalid mount option set: {text}\n")),
        ConfError::Encoding(name) => {
            line(format!("Unknown filename encoding from profile: {name}"))
        }
        ConfError::EncodingFlags(text) => {
            line(format!("Unknown encoding flags from profile: {text}"))
        }
        ConfError::Errors(text) => {
            let text = format!("bad error behavior in profile - {text}");
            plain(format!("{program}: {text}\n{}", usage(program)))
        }
        // mke2fs hangs on it or does not know it.
        ConfError::Unreadable { .. } => line(error.to_string()),
    }
}

fn length_error(error: &LengthError, names: Names<'_>) -> (Stream, String) {
    let Names {
        program,
        device,
        size,
        ..
    } = names;
    let line = |text: String| (Stream::Err, format!("{program}: {text}\n"));
    let plain = |text: String| (Stream::Err, text);
    match error {
        LengthError::NoBlocks => line(invalid_blocks(size, device)),
        LengthError::NoOutputAndNoSize => plain(no_file_and_no_size(device)),
        LengthError::OutputIsEmpty => line(DEVICE_HAS_NO_SIZE.to_owned()),
        LengthError::Above32Bits { blocks, block_size } => plain(format!(
            "{program}: Size of device (0x{blocks:x} blocks) {device} too big to be expressed\n\t\
             in 32 bits using a blocksize of {block_size}.\n"
        )),
        LengthError::TooManyBlocks { blocks, block_size } => plain(format!(
            "{program}: Size of device (0x{blocks:x} blocks) {device} too big to create\n\t\
             a filesystem using a blocksize of {block_size}.\n"
        )),
        LengthError::OffsetPastEnd { .. } | LengthError::EndPastOffsets { .. } => {
            line(error.to_string())
        }
    }
}

fn conflict_of(conflict: Conflict, program: &str) -> (Stream, String) {
    let line = |text: &str| (Stream::Err, format!("{program}: {text}\n"));
    let plain = |text: &str| (Stream::Err, text.to_owned());
    let out = |text: &str| (Stream::Out, text.to_owned());
    match conflict {
        Conflict::SixtyFourBitWithoutExtents => {
            out("Extents MUST be enabled for a 64-bit filesystem.  Pass -O extents to rectify.\n")
        }
        Conflict::VerityWithoutExtents => {
            out("Extents MUST be enabled for fs-verity support.  Pass -O extents to rectify.\n")
        }
        Conflict::FeaturesWithRevision0 => {
            plain("Filesystem features not supported with revision 0 filesystems\n")
        }
        Conflict::JournalWithRevision0 => {
            plain("Journals not supported with revision 0 filesystems\n")
        }
        Conflict::ResizeWithRevision0 => {
            plain("On-line resizing not supported with revision 0 filesystems\n")
        }
        Conflict::EncodingFlagsAlone => {
            plain("error: An encoding must be explicitly specified when passing encoding-flags\n")
        }
        Conflict::InodesTooSmallForProjects => {
            line("128 byte inodes are too small for project quota")
        }
        Conflict::MetaBgWithResizeInode => plain(
            "The resize_inode and meta_bg features are not compatible.\n\
             They can not be both enabled simultaneously.\n",
        ),
        Conflict::ResizeInodeWithoutSparseSuper => {
            line("reserved online resize blocks not supported on non-sparse filesystem")
        }
        Conflict::ClusterBelowBlock => {
            line("The cluster size may not be smaller than the block size.\n")
        }
        Conflict::ClusterWithoutBigalloc => {
            line("specifying a cluster size requires the bigalloc feature")
        }
        Conflict::BigallocWithoutExtents => {
            line("Can't support bigalloc feature without extents feature")
        }
        Conflict::FlexSizeWithoutFlexBg => {
            line("Flex_bg feature not enabled, so flex_bg size may not be specified")
        }
        Conflict::InlineDataInSmallInodes => {
            line("128 byte inodes are too small for inline data; specify larger size")
        }
        Conflict::SeedWithoutMetadataCsum => {
            out("The metadata_csum_seed feature requires the metadata_csum feature.\n")
        }
    }
}

/// What mke2fs calls the operating system of this number.
fn os_name(number: u32) -> &'static str {
    let names = ["Linux", "Hurd", "Masix", "FreeBSD", "Lites"];
    let known = usize::try_from(number).ok().and_then(|at| names.get(at));
    known.copied().unwrap_or("(unknown os)")
}

fn bad_revision(text: &str) -> String {
    format!("bad revision level - {text}")
}

fn revision_too_high(number: u32) -> String {
    format!("Filesystem revision too high while trying to create revision {number}")
}

const REVISION_REMOVED: &str = "the -r option has been removed.\n\n\
    If you really need compatibility with pre-1995 Linux systems, use the\n\
    command-line option \"-E revision=0\".\n";

fn syntax(fault: SyntaxFault) -> &'static str {
    match fault {
        SyntaxFault::SectionNotAtTop => "Profile section header not at top level",
        SyntaxFault::SectionHeader => "Syntax error in profile section header",
        SyntaxFault::Relation => "Syntax error in profile relation",
        SyntaxFault::ExtraClosingBrace => "Extra closing brace in profile",
        SyntaxFault::MissingOpeningBrace => "Missing open brace in profile",
    }
}

fn type_undefined(name: &str) -> String {
    let mut text = format!("\nYour mke2fs.conf file does not define the {name} filesystem type.\n");
    if ["ext3", "ext4", "ext4dev"].contains(&name) {
        text.push_str("You probably need to install an updated mke2fs.conf file.\n\n");
    }
    text
}

fn extended(errors: &[ExtendedOptionError], last: &str) -> String {
    let mut text: String = errors.iter().map(error).collect();
    text.push_str(&format!(
        "\nBad option(s) specified: {last}\n\n{EXTENDED_USAGE}"
    ));
    text
}

fn error(error: &ExtendedOptionError) -> String {
    match error {
        ExtendedOptionError::Invalid { name, value } => match *name {
            "hash_seed" => format!("Invalid hash seed: {value}\n"),
            "num_backup_sb" => format!("Invalid # of backup superblocks: {value}\n"),
            "orphan_file_size" => format!("Invalid size of orphan file {value}\n"),
            "resize" => format!("Invalid resize parameter: {value}\n"),
            "root_owner" => format!("Invalid root_owner: '{value}'\n"),
            "stride" => format!("Invalid stride parameter: {value}\n"),
            "stripe-width" | "stripe_width" => {
                format!("Invalid stripe-width parameter: {value}\n")
            }
            "encoding" => format!("Invalid encoding: {value}"),
            "desc_size" | "desc-size" => format!("Invalid desc_size: '{value}'\n"),
            name => format!("Invalid {name}: {value}\n"),
        },
        ExtendedOptionError::ResizeNotLarger { .. } => {
            "The resize maximum must be greater than the filesystem size.\n".to_owned()
        }
        ExtendedOptionError::DescSizeWithout64Bit(name) => format!("{name} requires '-O 64bit'\n"),
        ExtendedOptionError::DescSizeAfterResize { name, blocks } => {
            format!("'{name}' must be before 'resize={blocks}'\n")
        }
        ExtendedOptionError::EncodingFlag(word) => {
            format!("error: Invalid encoding flag: {word}\n")
        }
        ExtendedOptionError::QuotaType(word) => format!("Failed to parse quota type at {word}"),
        ExtendedOptionError::Revision(_)
        | ExtendedOptionError::RevisionTooHigh(_)
        | ExtendedOptionError::Unknown(_)
        | ExtendedOptionError::NoValue(_) => String::new(),
    }
}

/// What mke2fs says of something remarkable, and where; a choice only where it shall tell more.
pub(super) fn warning(
    warning: &SettingsWarning,
    names: Names<'_>,
    verbose: bool,
) -> (Stream, String) {
    let device = names.device;
    let warn = |text: String| (Stream::Err, text);
    match warning.kind() {
        SettingsWarningKind::TypeUndefined(name) => (Stream::Out, type_undefined(name)),
        SettingsWarningKind::UsageUndefined(name) => warn(format!(
            "\nWarning: the fs_type {name} is not defined in mke2fs.conf\n\n"
        )),
        SettingsWarningKind::BlockBelowPhysicalSector {
            block_size,
            sector_size,
        } => warn(format!(
            "Warning: specified blocksize {block_size} is less than device physical sectorsize \
             {sector_size}\n"
        )),
        SettingsWarningKind::Types(_) if !verbose => (Stream::Out, String::new()),
        SettingsWarningKind::Types(types) => {
            let types: Vec<_> = types.iter().map(|name| format!("'{name}'")).collect();
            let types = types.join(", ");
            let text = format!("fs_types for mke2fs.conf resolution: {types}\n");
            (Stream::Out, text)
        }
        SettingsWarningKind::NoTopology => warn(format!(
            "warning: Unable to get device geometry for {device}\n"
        )),
        SettingsWarningKind::Misaligned(bytes) => (
            Stream::Out,
            format!(
                "{device} alignment is offset by {bytes} bytes.\n\
                 This may result in very poor performance, (re)-partitioning suggested.\n"
            ),
        ),
        SettingsWarningKind::NoDax {
            block_size,
            page_size,
        } => warn(format!(
            "{device} is capable of DAX but current block size {block_size} is different from \
             system page size {page_size} so filesystem will not support DAX.\n"
        )),
        SettingsWarningKind::BlockAbovePage {
            block_size,
            page_size,
        } => warn(format!(
            "Warning: {block_size}-byte blocks too big for system (max {page_size}), forced to \
             continue\n"
        )),
        SettingsWarningKind::UnevenStripe {
            stripe_width,
            stride,
        } => warn(format!(
            "\nWarning: RAID stripe-width {stripe_width} not an even multiple of stride \
             {stride}.\n\n"
        )),
        SettingsWarningKind::OffsetWithoutSize { blocks } => warn(format!(
            "\nWarning: offset specified without an explicit file system size.\n\
             Creating a file system with {blocks} blocks but this might\n\
             not be what you want.\n\n"
        )),
        SettingsWarningKind::TimesEndIn2038 => (
            Stream::Out,
            "128-byte inodes cannot handle dates beyond 2038 and are deprecated\n".to_owned(),
        ),
        SettingsWarningKind::LargeClusters => warn(
            "\nWarning: bigalloc file systems with a cluster size greater than\n\
             16 times the block size is considered experimental\n"
                .to_owned(),
        ),
    }
}

/// What mke2fs says of a geometry that cannot be.
pub(super) fn geometry_error(error: &GeometryError, names: Names<'_>) -> String {
    let Names {
        program, device, ..
    } = names;
    let setting_up = |text: &str| format!("{device}: {text} while setting up superblock\n");
    match error {
        GeometryError::TooSmall { .. } => {
            setting_up("Not enough space to build proposed filesystem")
        }
        GeometryError::TooManyInodes { .. } => {
            setting_up("Cannot create filesystem with requested number of inodes")
        }
        GeometryError::InvalidArgument => setting_up("Invalid argument passed to ext2 library"),
        GeometryError::ReservedGdtBlocks { .. } => {
            setting_up("Too many reserved group descriptor blocks")
        }
        GeometryError::JournalLength { blocks } => format!(
            "\nThe total requested journal size is {blocks} blocks; it must be\n\
             between 1024 and 10240000 blocks.  Aborting.\n"
        ),
        GeometryError::JournalTooShort { .. } => {
            format!(
                "{program}: Journal must be at least 1024 blocks \n\twhile trying to create journal\n"
            )
        }
        GeometryError::JournalDeviceTooShort { .. } => {
            "create_journal_dev: Journal must be at least \
             1024 blocks while splitting the journal size\n"
                .to_owned()
        }
        GeometryError::JournalTooBig { .. } => {
            "\nTotal journal size too big for filesystem.\n".to_owned()
        }
        GeometryError::MmpInterval { .. } => {
            "\nError while enabling multiple mount protection feature.".to_owned()
        }
        GeometryError::OrphanFileTooBig { .. } => format!(
            "{program}: Could not allocate block in ext2 filesystem while creating orphan file\n"
        ),
        GeometryError::OrphanFileWithoutJournal => {
            format!("{program}: cannot set orphan_file feature without a journal.\n")
        }
    }
}

/// What mke2fs says where it finds no room, of what it makes itself.
pub(super) fn no_room(owner: Owner, program: &str) -> Option<String> {
    let what = "Could not allocate block in ext2 filesystem";
    let doing = match owner {
        Owner::BlockBitmap(_) | Owner::InodeBitmap(_) | Owner::InodeTable(_) => {
            "while trying to allocate filesystem tables"
        }
        Owner::Directory(..) => {
            return Some(format!("ext2fs_mkdir: {what} while creating root dir\n"));
        }
        Owner::LostFound(_) | Owner::LostFoundNode(_) => {
            let while_creating = "while creating /lost+found";
            return Some(format!("ext2fs_mkdir: {what} {while_creating}\n"));
        }
        Owner::Journal(_) | Owner::JournalNode(_) => "\n\twhile trying to create journal",
        Owner::QuotaFile(..) | Owner::QuotaFileNode(..) => "while writing quota inodes",
        Owner::OrphanFile(_) | Owner::OrphanFileNode(_) => "while creating orphan file",
        Owner::HugeFile(_) | Owner::HugeFileNode(_) => {
            let text = "No space left on device while creating huge files";
            return Some(format!("{program}: {text}\n"));
        }
        _ => return None,
    };
    Some(format!("{program}: {what} {doing}\n"))
}

pub(super) const TOO_SMALL_FOR_JOURNAL: &str = "\nFilesystem too small for a journal\n";

/// What mke2fs says where checksums could cover more.
pub(super) fn checksum_advice(features: FeatureSet) -> String {
    let is_filesystem = !features.has(Feature::JournalDev);
    let lacks =
        |feature| is_filesystem && features.has(Feature::MetadataCsum) && !features.has(feature);
    let mut text = String::new();
    if lacks(Feature::Extent) {
        text.push_str(
            "Extents are not enabled.  The file extent tree can be checksummed, whereas block \
             maps cannot.  Not enabling extents reduces the coverage of metadata checksumming.  \
             Pass -O extents to rectify.\n",
        );
    }
    if lacks(Feature::SixtyFourBit) {
        text.push_str(
            "64-bit filesystem support is not enabled.  The larger fields afforded by this \
             feature enable full-strength checksumming.  Pass -O 64bit to rectify.\n",
        );
    }
    text
}

/// The numbers that mke2fs tells before it begins.
pub(super) struct Stats<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) settings: &'a crate::options::Settings,
}

/// The one line about the filesystem, or with `-v` all; with the backups below it.
pub(super) fn stats(stats: &Stats<'_>, verbose: bool) -> String {
    let geometry = stats.geometry;
    let mut text = if verbose {
        details(stats)
    } else {
        format!(
            "Creating filesystem with {} {}k blocks and {} inodes\n",
            geometry.blocks_count,
            geometry.block_size.bytes() >> 10,
            geometry.inodes_count
        )
    };
    if geometry.groups == 1 {
        text.push('\n');
        return text;
    }
    if stats.settings.uuid != [0; 16] {
        let uuid = uuid::Uuid::from_bytes(stats.settings.uuid);
        text.push_str(&format!("Filesystem UUID: {uuid}\n"));
    }
    text.push_str("Superblock backups stored on blocks: ");
    text.push_str(&backups(geometry));
    text.push_str("\n\n");
    text
}

/// The blocks left over at the end, which `-v` warns of.
pub(super) fn unused_blocks(stats: &Stats<'_>) -> String {
    let asked = stats.settings.blocks_count;
    match asked - stats.geometry.blocks_count.min(asked) {
        0 => String::new(),
        unused => format!("warning: {unused} blocks unused.\n\n"),
    }
}

fn details(stats: &Stats<'_>) -> String {
    let (geometry, settings) = (stats.geometry, stats.settings);
    let (block_bytes, log) = (geometry.block_size.bytes(), geometry.block_size.log());
    let label = settings.label.split(|byte| *byte == 0).next();
    let label = String::from_utf8_lossy(label.unwrap_or_default());
    let plural = if geometry.groups > 1 { "s" } else { "" };
    let has_clusters = geometry.features.has(Feature::Bigalloc);
    let mut text = format!(
        "Filesystem label={label}\nOS type: {}\nBlock size={block_bytes} (log={log})\n\
         {cluster} size={cluster_bytes} (log={cluster_log})\nStride={} blocks, Stripe width={} blocks\n\
         {} inodes, {} blocks\n{} blocks ({:.2}%) reserved for the super user\n\
         First data block={}\n",
        os_name(settings.creator_os),
        settings.raid_stride,
        settings.raid_stripe_width,
        geometry.inodes_count,
        geometry.blocks_count,
        geometry.reserved_blocks,
        percent(geometry.reserved_blocks, geometry.blocks_count),
        geometry.first_data_block,
        cluster = if has_clusters { "Cluster" } else { "Fragment" },
        cluster_bytes = u64::from(block_bytes) << geometry.log_cluster_ratio,
        cluster_log = log + u32::from(geometry.log_cluster_ratio),
    );
    let owner = settings.root_owner.map(|owner| (owner.uid, owner.gid));
    if let Some((uid, gid)) = owner.filter(|owner| *owner != (0, 0)) {
        text.push_str(&format!("Root directory owner={uid}:{gid}\n"));
    }
    if geometry.reserved_gdt_blocks != 0 {
        let blocks = u64::from(geometry.reserved_gdt_blocks + geometry.desc_blocks)
            * u64::from(geometry.descs_per_block())
            * u64::from(geometry.blocks_per_group);
        text.push_str(&format!("Maximum filesystem blocks={blocks}\n"));
    }
    text.push_str(&format!(
        "{} block group{plural}\n{per_group} blocks per group, {clusters} {what} per group\n\
         {} inodes per group\n",
        geometry.groups,
        geometry.inodes_per_group,
        per_group = geometry.blocks_per_group,
        clusters = geometry.clusters_per_group(),
        what = if has_clusters {
            "clusters"
        } else {
            "fragments"
        },
    ));
    text
}

#[expect(
    clippy::as_conversions,
    reason = "std has no other way from u64 to f64, and a share is only told"
)]
fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// The first blocks of the groups with backups, in lines of at most 72 columns.
fn backups(geometry: &Geometry) -> String {
    let mut text = String::new();
    let mut left = 0;
    for number in 1..geometry.groups {
        let group = Group::new(number);
        if !geometry.has_superblock(group) {
            continue;
        }
        if number != 1 {
            text.push_str(", ");
        }
        let block = geometry.group_first_block(group).to_string();
        let needed = block.len() + 2;
        if needed > left {
            text.push_str("\n\t");
            left = 72;
        }
        left -= needed;
        text.push_str(&block);
    }
    text
}

/// What follows the name of a step whose progress is told in numbers, once it is done.
///
/// mke2fs tells the first number at once and others as seconds pass; then it rubs them out.
pub(super) fn numeric_progress(most: u64, told: bool) -> String {
    numeric_progress_from(0, most, told)
}

/// The same, where the first number told is `first`.
pub(super) fn numeric_progress_from(first: u64, most: u64, told: bool) -> String {
    let width = 2 * digits(most) + 1;
    let (spaces, back) = (" ".repeat(width), "\u{8}".repeat(width));
    let begun = if told {
        begun(first, most)
    } else {
        String::new()
    };
    begun + &spaces + &back
}

/// The same, of a step that is not done.
pub(super) fn numeric_progress_begun(most: u64, told: bool) -> String {
    if told { begun(0, most) } else { String::new() }
}

fn begun(first: u64, most: u64) -> String {
    let digits = digits(most);
    let back = "\u{8}".repeat(2 * digits + 1);
    format!("{first:>digits$}/{most:>digits$}{back}")
}

/// The digits that mke2fs makes room for: those of the lower half of the number.
fn digits(most: u64) -> usize {
    let lower = most & u64::from(u32::MAX);
    let digits = lower.checked_ilog10().map_or(0, |log| log + 1);
    usize::try_from(digits).unwrap_or_default()
}

pub(super) const DONE_PADDED: &str = "done                            \n";
pub(super) const DONE: &str = "done\n";
pub(super) const DONE_AND_EMPTY_LINE: &str = "done\n\n";
pub(super) const DISCARDING: &str = "Discarding device blocks: ";
pub(super) const ALLOCATING: &str = "Allocating group tables: ";
pub(super) const WRITING_TABLES: &str = "Writing inode tables: ";
pub(super) const COPYING: &str = "Copying files into the device: ";
pub(super) const WRITING_SUPERBLOCKS: &str =
    "Writing superblocks and filesystem accounting information: ";
pub(super) const ASSUMING_PREZEROED: &str =
    "Assuming the storage device is prezeroed - skipping inode table and journal wipe\n";
pub(super) const DISCARD_ZEROES: &str =
    "Discard succeeded and will return 0s - skipping inode table wipe\n";

pub(super) fn creating_journal(blocks: u32) -> String {
    format!("Creating journal ({blocks} blocks): ")
}

/// The journal shall begin before the first block there is; the first one is taken then.
pub(super) fn no_block_for_journal(block: u64, device: &str) -> String {
    format!(
        "Illegal block number passed to ext2fs_test_block_bitmap #{block} for block bitmap for \
         {device}\n"
    )
}

pub(super) fn mmp_enabled(seconds: u16) -> String {
    format!("Multiple mount protection is enabled with update interval {seconds} seconds.\n")
}

/// The output ends before the inode that `-S` must change.
pub(super) const SHORT_READ: &str = "Attempt to read block from filesystem resulted in short read \
     while creating orphan file";
/// How many blocks of a journal's device mke2fs zeroes before it tells a number.
pub(super) const JOURNAL_ZEROED_AT_ONCE: u64 = 1024;
pub(super) const ZEROING_JOURNAL_DEVICE: &str = "Zeroing journal device: ";
pub(super) const SKIPPING_JOURNAL: &str = "Skipping journal creation in super-only mode\n";

/// What `-S` is told to do is a last resort.
pub(super) fn further_corrupted(device: &str) -> String {
    format!("{device} may be further corrupted by superblock rewrite\n")
}

/// When the filesystem will be checked, where it will be at all.
pub(super) fn check_message(settings: &crate::options::Settings) -> String {
    let mounts = match settings.max_mnt_count {
        u16::MAX => 0,
        mounts => mounts,
    };
    let seconds = settings.check_interval;
    if mounts == 0 && seconds == 0 {
        return String::new();
    }
    let days = f64::from(seconds) / 86400.0;
    format!(
        "This filesystem will be automatically checked every {mounts} mounts or\n\
         {days} days, whichever comes first.  Use tune2fs -c or -i to override.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn numbers_past_32_bits_have_the_room_of_their_lower_half() {
        let cases = [
            (0, 0),
            (9, 1),
            (10, 2),
            (4_294_967_295, 10),
            (4_294_967_296, 0),
            (10_737_418_240, 10),
        ];
        for (number, room) in cases {
            assert_eq!(digits(number), room, "{number}");
        }
    }
}
