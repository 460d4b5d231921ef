//! Given what is wrong with wishes, or merely remarkable, says it; never what to do about it.

use std::fmt;

use super::compat::Misfit;
use super::extended::ExtendedOptionError;
use super::profile::SyntaxError;
use crate::feature::Feature;

/// Why no settings can be made of the options.
///
/// Its text is one sentence that says what is needed.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsError {
    pub(super) kind: Box<SettingsErrorKind>,
    pub(super) warnings: Vec<SettingsWarning>,
}

impl SettingsError {
    /// What was remarkable until then.
    pub fn warnings(&self) -> &[SettingsWarning] {
        &self.warnings
    }

    #[cfg_attr(
        not(feature = "cli"),
        expect(dead_code, reason = "what mke2fs's words need")
    )]
    pub(crate) fn kind(&self) -> &SettingsErrorKind {
        &self.kind
    }
}

impl SettingsError {
    /// Which option is wrong, by the name it has for the command, and its value; empty where several
    /// contradict each other, or where it is not the value that is wrong.
    pub(crate) fn option(&self) -> (&str, String) {
        match &*self.kind {
            SettingsErrorKind::Conf(ConfError::Unreadable { path, .. })
            | SettingsErrorKind::Conf(ConfError::Syntax { path, .. }) => {
                ("MKE2FS_CONFIG", path.clone())
            }
            SettingsErrorKind::BlockSize(bytes) => ("-b", bytes.to_string()),
            SettingsErrorKind::BlockBelowSector { block_size, .. }
            | SettingsErrorKind::BlockAbovePage { block_size, .. } => {
                ("-b", block_size.to_string())
            }
            SettingsErrorKind::LabelTooLong(bytes) => ("-L", format!("{bytes} bytes")),
            SettingsErrorKind::LastMountedTooLong(bytes) => ("-M", format!("{bytes} bytes")),
            SettingsErrorKind::NulInText { option, .. } => (option, String::new()),
            SettingsErrorKind::ReservedPercent(percent) => ("-m", percent.to_string()),
            SettingsErrorKind::InodeRatio(bytes) => ("-i", bytes.to_string()),
            SettingsErrorKind::GroupsPerFlex(groups) => ("-G", groups.to_string()),
            SettingsErrorKind::BlocksPerGroup { asked, .. } => ("-g", asked.to_string()),
            SettingsErrorKind::ClusterSize(bytes) => ("-C", bytes.to_string()),
            SettingsErrorKind::InodeSize { asked, .. } => ("-I", asked.to_string()),
            SettingsErrorKind::TooManyInodes(inodes) => ("-N", inodes.to_string()),
            SettingsErrorKind::TypeUndefined(name) => ("-t", name.clone()),
            SettingsErrorKind::Features { text, .. } => ("-O", text.clone()),
            SettingsErrorKind::UnknownOs(name) => ("-o", name.clone()),
            SettingsErrorKind::Conf(ConfError::MountOptions(text)) => {
                ("default_mntopts", text.clone())
            }
            SettingsErrorKind::Conf(ConfError::Encoding(name)) => ("encoding", name.clone()),
            SettingsErrorKind::Conf(ConfError::EncodingFlags(text)) => {
                ("encoding_flags", text.clone())
            }
            SettingsErrorKind::Conf(ConfError::Errors(text)) => ("errors", text.clone()),
            SettingsErrorKind::Length(LengthError::Above32Bits { blocks, .. })
            | SettingsErrorKind::Length(LengthError::TooManyBlocks { blocks, .. }) => {
                ("SIZE", blocks.to_string())
            }
            SettingsErrorKind::Length(LengthError::OffsetPastEnd { offset, .. })
            | SettingsErrorKind::Length(LengthError::EndPastOffsets { offset, .. }) => {
                ("offset", offset.to_string())
            }
            SettingsErrorKind::Length(LengthError::NoBlocks)
            | SettingsErrorKind::Length(LengthError::NoOutputAndNoSize)
            | SettingsErrorKind::Length(LengthError::OutputIsEmpty) => ("SIZE", String::new()),
            SettingsErrorKind::Extended { errors, last } => match &errors[..] {
                [error] => error.option().unwrap_or(("-E", last.clone())),
                _ => ("-E", last.clone()),
            },
            SettingsErrorKind::Revision(error) | SettingsErrorKind::EncodingFlag(error) => {
                error.option().unwrap_or(("-E", String::new()))
            }
            SettingsErrorKind::TooManyInodesByRatio(_) => ("-i", String::new()),
            SettingsErrorKind::JournalBlocksTooSmall { least, .. } => ("-b", format!("-{least}")),
            SettingsErrorKind::JournalBlockSize { block_size, .. } => {
                ("-b", block_size.to_string())
            }
            SettingsErrorKind::NotCompatible(misfit) => ("-O", misfit.feature.name().to_owned()),
            SettingsErrorKind::NotOnHurd(feature) => ("-O", feature.name().to_owned()),
            _ => ("", String::new()),
        }
    }
}

impl SettingsError {
    /// Says it to a program, which has no flags: what would mend it by the names that its options have there.
    pub(crate) fn say_to_program(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.say_to_program(f)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for SettingsError {}

/// The kinds of [`SettingsError`], in the order in which they are looked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SettingsErrorKind {
    /// The configuration file is not what it has to be.
    Conf(ConfError),
    /// The filesystem cannot have its length.
    Length(LengthError),
    /// Two things that cannot be together, or one without another that it needs.
    Conflict(Conflict),
    /// A block size that ext4 does not have, in bytes.
    BlockSize(u64),
    /// A label longer than its field, in bytes.
    LabelTooLong(usize),
    /// A mount point longer than its field, in bytes.
    LastMountedTooLong(usize),
    /// A text with a NUL, where it would end.
    NulInText {
        option: &'static str,
        what: &'static str,
    },
    /// Not a share that may be reserved, in percent.
    ReservedPercent(f64),
    /// Bytes per inode out of range.
    InodeRatio(u64),
    /// Groups per flex group that are no power of two.
    GroupsPerFlex(u64),
    /// The configuration has no such type.
    TypeUndefined(String),
    /// A list of features, and the word in it that names none.
    Features { text: String, word: String },
    /// Blocks smaller than the device's sectors, in bytes.
    BlockBelowSector { block_size: u32, sector_size: u32 },
    /// Blocks larger than a page, in bytes, without force.
    BlockAbovePage { block_size: u32, page_size: u32 },
    /// Extended options, and the last of them that is unknown or has no value.
    Extended {
        errors: Vec<ExtendedOptionError>,
        last: String,
    },
    /// A revision that there is not.
    Revision(ExtendedOptionError),
    /// A flag that no encoding has.
    EncodingFlag(ExtendedOptionError),
    /// A feature that the Hurd does not know.
    NotOnHurd(Feature),
    /// An operating system without a number.
    UnknownOs(String),
    /// Blocks per group out of range.
    BlocksPerGroup { asked: u64, most: u32 },
    /// A cluster size that ext4 does not have, in bytes.
    ClusterSize(u64),
    /// An inode size that ext4 does not have, in bytes.
    InodeSize { asked: i64, most: u32 },
    /// Too many inodes by the ratio.
    TooManyInodesByRatio(u64),
    /// Too many inodes by their number.
    TooManyInodes(u64),
    /// The inodes alone would fill the filesystem.
    InodesFillAll {
        inode_size: u32,
        inodes: u32,
        blocks: u64,
    },
    /// A journal's device with blocks smaller than asked for, in bytes.
    JournalBlocksTooSmall { journal: u32, least: u32 },
    /// A journal's device with other blocks than the filesystem's, in bytes.
    JournalBlockSize { journal: u32, block_size: u32 },
    /// A feature that a target cannot have.
    NotCompatible(Misfit),
    /// What no reproducible image can have, and what mends it.
    NotReproducible(&'static str, &'static str),
    /// Something that a later version takes.
    NotYet(String),
}

impl From<Misfit> for SettingsErrorKind {
    fn from(misfit: Misfit) -> Self {
        Self::NotCompatible(misfit)
    }
}

/// What is wrong with the configuration file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ConfError {
    /// The configuration file cannot be read.
    Unreadable { path: String, reason: String },
    /// The configuration file has a fault.
    Syntax { path: String, error: SyntaxError },
    /// Mount options in the configuration that are none.
    MountOptions(String),
    /// An encoding of the configuration that there is not.
    Encoding(String),
    /// Flags of the configuration that the encoding has not.
    EncodingFlags(String),
    /// Neither continue, remount-ro nor panic, in the configuration.
    Errors(String),
}

/// Why a filesystem cannot have the length that is asked for or found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LengthError {
    /// The size asked for is no block long.
    NoBlocks,
    /// There is no output and no size for a new one.
    NoOutputAndNoSize,
    /// The output has no size of its own.
    OutputIsEmpty,
    /// Too many blocks without 64bit.
    Above32Bits { blocks: u64, block_size: u32 },
    /// Too many blocks for any filesystem.
    TooManyBlocks { blocks: u64, block_size: u32 },
    /// The offset leaves no room.
    OffsetPastEnd { offset: u64, size: u64 },
    /// An image whose end no offset of 63 bits reaches.
    EndPastOffsets {
        offset: u64,
        blocks: u64,
        block_size: u32,
    },
}

/// What cannot be together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// 64bit without extents.
    SixtyFourBitWithoutExtents,
    /// Verified content without extents.
    VerityWithoutExtents,
    /// Clusters smaller than blocks.
    ClusterBelowBlock,
    /// A cluster size without bigalloc.
    ClusterWithoutBigalloc,
    /// bigalloc without extents.
    BigallocWithoutExtents,
    /// Inodes of 128 bytes without room for a project's number.
    InodesTooSmallForProjects,
    /// Features, in a filesystem of revision 0.
    FeaturesWithRevision0,
    /// A journal, in a filesystem of revision 0.
    JournalWithRevision0,
    /// Room for growing, in a filesystem of revision 0.
    ResizeWithRevision0,
    /// Flags without an encoding.
    EncodingFlagsAlone,
    /// Two ways to keep descriptors for growing.
    MetaBgWithResizeInode,
    /// Descriptors kept for growing in every group.
    ResizeInodeWithoutSparseSuper,
    /// A flex group's size without flex groups.
    FlexSizeWithoutFlexBg,
    /// inline_data in inodes of 128 bytes.
    InlineDataInSmallInodes,
    /// A checksum seed without checksums.
    SeedWithoutMetadataCsum,
}

impl fmt::Display for SettingsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet(what) => write!(f, "{what} is not supported"),
            Self::NotCompatible(misfit) => {
                let (name, words) = (misfit.feature.name(), misfit.verdict.words());
                let target = misfit.target.name();
                write!(
                    f,
                    "the {name} feature is not for --compat {target}, which {words}; use -O ^{name}"
                )
            }
            Self::NotReproducible(what, mend) => {
                write!(f, "a reproducible image cannot have {what}; {mend}")
            }
            Self::TypeUndefined(name) => write!(
                f,
                "unknown filesystem type '{name}': MKE2FS_CONFIG does not define it; use -F to create it anyway"
            ),
            Self::Features { word, .. } => write!(
                f,
                "invalid feature '{word}': expected feature names, with ^ to disable one"
            ),
            Self::Extended { errors, .. } => join(f, errors),
            Self::Revision(error) | Self::EncodingFlag(error) => error.fmt(f),
            Self::NotOnHurd(feature) => {
                write!(
                    f,
                    "the Hurd does not support the {} feature; use -O ^{}",
                    feature.name(),
                    feature.name()
                )
            }
            Self::UnknownOs(name) => write!(
                f,
                "invalid creator OS '{name}': must be linux, hurd, freebsd, lites or a number"
            ),
            Self::Conf(error) => error.fmt(f),
            Self::Length(error) => error.fmt(f),
            Self::Conflict(conflict) => conflict.fmt(f),
            Self::NulInText { what, .. } => {
                write!(f, "invalid {what}: must be without NUL")
            }
            Self::LabelTooLong(_)
            | Self::LastMountedTooLong(_)
            | Self::ReservedPercent(_)
            | Self::InodeRatio(_)
            | Self::GroupsPerFlex(_)
            | Self::BlockSize(_)
            | Self::BlocksPerGroup { .. }
            | Self::ClusterSize(_)
            | Self::InodeSize { .. } => self.of_range(f),
            Self::BlockBelowSector { .. }
            | Self::JournalBlocksTooSmall { .. }
            | Self::JournalBlockSize { .. }
            | Self::BlockAbovePage { .. }
            | Self::TooManyInodesByRatio(_)
            | Self::TooManyInodes(_)
            | Self::InodesFillAll { .. } => self.of_fit(f),
        }
    }
}

impl SettingsErrorKind {
    fn say_to_program(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TypeUndefined(name) => write!(
                f,
                "unknown filesystem type '{name}': no configuration defines it; use Options::force to \
                 create it anyway"
            ),
            Self::Length(LengthError::NoOutputAndNoSize) => {
                f.write_str("there is neither a size nor a source that says how much is needed; give a size")
            }
            Self::Length(LengthError::OutputIsEmpty) => {
                f.write_str("the output has no room for a single block; give a size")
            }
            Self::InodesFillAll { blocks: 0, .. } => f.write_str(
                "the output has no room for a single block, after the offset if there is one; give a size",
            ),
            Self::TooManyInodesByRatio(inodes) => write!(
                f,
                "{inodes} inodes are more than 4294967295; use a larger inode_ratio"
            ),
            Self::InodesFillAll {
                inode_size,
                inodes,
                blocks,
            } => write!(
                f,
                "{inodes} inodes of {inode_size} bytes do not fit in {blocks} blocks; use fewer inodes or a \
                 larger inode_ratio"
            ),
            _ => {
                let said = self.to_string();
                let Some((wrong, _)) = said.split_once("; use -") else {
                    return f.write_str(&said);
                };
                match self.option_that_mends() {
                    Some(option) => write!(f, "{wrong}; use {option}"),
                    None => f.write_str(wrong),
                }
            }
        }
    }

    /// The call that would mend it, where there is one.
    fn option_that_mends(&self) -> Option<String> {
        let features = |text: &str| Some(format!("features(\"{text}\")"));
        match self {
            Self::BlockAbovePage { .. } => Some("Options::force to create it anyway".to_owned()),
            Self::BlockBelowSector { sector_size, .. } => {
                Some(format!("block_size({sector_size})"))
            }
            Self::JournalBlockSize { journal, .. } => Some(format!("block_size({journal})")),
            Self::NotCompatible(misfit) => features(&format!("^{}", misfit.feature.name())),
            Self::NotOnHurd(feature) => features(&format!("^{}", feature.name())),
            Self::Length(LengthError::Above32Bits { .. }) => features("64bit"),
            Self::Conflict(conflict) => conflict.option_that_mends(),
            _ => None,
        }
    }

    fn of_range(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LabelTooLong(bytes) => {
                write!(
                    f,
                    "invalid label of {bytes} bytes: must be at most 16 bytes"
                )
            }
            Self::LastMountedTooLong(bytes) => {
                write!(
                    f,
                    "invalid last mount point of {bytes} bytes: must be at most 64 bytes"
                )
            }
            Self::ReservedPercent(percent) => {
                write!(f, "invalid reserved percentage {percent}: must be 0 to 50")
            }
            Self::InodeRatio(bytes) => write!(
                f,
                "invalid inode ratio {bytes}: must be 1024 to 67108864 bytes per inode"
            ),
            Self::GroupsPerFlex(groups) => write!(
                f,
                "invalid flex group size {groups}: must be a power of two up to 2^31 groups"
            ),
            Self::BlocksPerGroup { asked, most } => write!(
                f,
                "invalid blocks per group {asked}: must be a multiple of 8 from 256 to {most}"
            ),
            Self::ClusterSize(bytes) => write!(
                f,
                "invalid cluster size {bytes}: must be a power of two from 2048 to 536870912 bytes"
            ),
            Self::InodeSize { asked, most } => write!(
                f,
                "invalid inode size {asked}: must be a power of two from 128 to {most} bytes"
            ),
            Self::BlockSize(bytes) => write!(
                f,
                "invalid block size {bytes}: must be a power of two from 1024 to 65536 bytes"
            ),
            _ => Ok(()),
        }
    }

    fn of_fit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockBelowSector {
                block_size,
                sector_size,
            } => write!(
                f,
                "invalid block size {block_size}: the device has sectors of {sector_size} bytes; use -b \
                 {sector_size}"
            ),
            Self::JournalBlocksTooSmall { journal, least } => write!(
                f,
                "invalid minimum block size {least}: the journal device has blocks of {journal} bytes"
            ),
            Self::JournalBlockSize {
                journal,
                block_size,
            } => write!(
                f,
                "invalid block size {block_size}: the journal device has blocks of {journal} bytes; use \
                 -b {journal}"
            ),
            Self::BlockAbovePage {
                block_size,
                page_size,
            } => write!(
                f,
                "block size {block_size} is above the page size {page_size}, which many kernels cannot \
                 mount; use -F to create it anyway"
            ),
            Self::TooManyInodesByRatio(inodes) => write!(
                f,
                "{inodes} inodes are more than 4294967295; use a larger inode ratio (-i)"
            ),
            Self::TooManyInodes(inodes) => {
                write!(
                    f,
                    "invalid number of inodes {inodes}: must be at most 4294967295"
                )
            }
            Self::InodesFillAll { blocks: 0, .. } => f.write_str(
                "no space for a block after the offset; use a smaller offset, or a size",
            ),
            Self::InodesFillAll {
                inode_size,
                inodes,
                blocks,
            } => write!(
                f,
                "{inodes} inodes of {inode_size} bytes do not fit in {blocks} blocks; use fewer inodes \
                 (-N) or a larger inode ratio (-i)"
            ),
            _ => Ok(()),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, errors: &[ExtendedOptionError]) -> fmt::Result {
    for (index, error) in errors.iter().enumerate() {
        let comma = if index == 0 { "" } else { "; " };
        write!(f, "{comma}{error}")?;
    }
    Ok(())
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason } => {
                write!(f, "cannot read configuration file {path}: {reason}")
            }
            Self::Syntax { path, error } => write!(f, "{path}:{}: {}", error.line, error.fault),
            Self::MountOptions(text) => write!(
                f,
                "invalid default_mntopts '{text}' in MKE2FS_CONFIG: expected mount option names"
            ),
            Self::Encoding(name) => write!(
                f,
                "invalid encoding '{name}' in MKE2FS_CONFIG: must be utf8 or utf8-12.1"
            ),
            Self::EncodingFlags(text) => write!(
                f,
                "invalid encoding_flags '{text}' in MKE2FS_CONFIG: must be strict or nostrict"
            ),
            Self::Errors(text) => write!(
                f,
                "invalid errors '{text}' in MKE2FS_CONFIG: must be continue, remount-ro or panic"
            ),
        }
    }
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBlocks => f.write_str("invalid size: must be at least one block"),
            Self::NoOutputAndNoSize => f.write_str("the output does not exist; give a size"),
            Self::OutputIsEmpty => f.write_str("the output is empty; give a size"),
            Self::OffsetPastEnd { offset, size } => write!(
                f,
                "invalid offset {offset}: the output has {size} bytes; use a smaller offset, or a size"
            ),
            Self::EndPastOffsets {
                offset,
                blocks,
                block_size,
            } => write!(
                f,
                "{blocks} blocks of {block_size} bytes at offset {offset} end past byte 2^63 - 1, the \
                 last of an output; use fewer blocks or a smaller offset"
            ),
            Self::Above32Bits { blocks, block_size } => write!(
                f,
                "{blocks} blocks of {block_size} bytes need the 64bit feature; use -O 64bit"
            ),
            Self::TooManyBlocks { blocks, block_size } => write!(
                f,
                "{blocks} blocks of {block_size} bytes are more than ext4 supports; use larger blocks or a smaller size"
            ),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Conflict {
    /// The call that would mend it, where there is one.
    fn option_that_mends(self) -> Option<String> {
        let (call, text) = match self {
            Self::VerityWithoutExtents
            | Self::SixtyFourBitWithoutExtents
            | Self::BigallocWithoutExtents => ("features", "extent"),
            Self::ClusterWithoutBigalloc => ("features", "bigalloc"),
            Self::FeaturesWithRevision0
            | Self::JournalWithRevision0
            | Self::ResizeWithRevision0 => ("Options::extended", "revision=1"),
            Self::EncodingFlagsAlone => ("Options::extended", "encoding=utf8"),
            Self::MetaBgWithResizeInode | Self::ResizeInodeWithoutSparseSuper => {
                ("features", "^resize_inode")
            }
            Self::FlexSizeWithoutFlexBg => ("features", "flex_bg"),
            Self::SeedWithoutMetadataCsum => ("features", "metadata_csum"),
            Self::InodesTooSmallForProjects | Self::InlineDataInSmallInodes => {
                return Some("inode_size(256)".to_owned());
            }
            Self::ClusterBelowBlock => return None,
        };
        Some(format!("{call}(\"{text}\")"))
    }

    fn text(self) -> &'static str {
        match self {
            Self::VerityWithoutExtents => {
                "the verity feature needs the extent feature; use -O extent"
            }
            Self::SixtyFourBitWithoutExtents => {
                "the 64bit feature needs the extent feature; use -O extent or -O ^64bit"
            }
            Self::ClusterBelowBlock => "invalid cluster size: must be at least the block size",
            Self::ClusterWithoutBigalloc => {
                "a cluster size needs the bigalloc feature; use -O bigalloc"
            }
            Self::BigallocWithoutExtents => {
                "the bigalloc feature needs the extent feature; use -O extent"
            }
            Self::FeaturesWithRevision0 => {
                "revision 0 does not support features; use -E revision=1"
            }
            Self::JournalWithRevision0 => {
                "revision 0 does not support a journal; use -E revision=1"
            }
            Self::ResizeWithRevision0 => {
                "revision 0 does not support growing while mounted; use -E revision=1"
            }
            Self::EncodingFlagsAlone => "encoding flags need an encoding; use -E encoding=utf8",
            Self::InodesTooSmallForProjects => {
                "project IDs need inodes of at least 256 bytes; use -I 256"
            }
            Self::MetaBgWithResizeInode => {
                "the meta_bg and resize_inode features cannot be combined; use -O ^resize_inode"
            }
            Self::ResizeInodeWithoutSparseSuper => {
                "the resize_inode feature needs the sparse_super feature; use -O ^resize_inode"
            }
            Self::FlexSizeWithoutFlexBg => {
                "a flex group size needs the flex_bg feature; use -O flex_bg"
            }
            Self::InlineDataInSmallInodes => {
                "the inline_data feature needs inodes of at least 256 bytes; use -I 256"
            }
            Self::SeedWithoutMetadataCsum => {
                "the metadata_csum_seed feature needs the metadata_csum feature; use -O metadata_csum"
            }
        }
    }
}

impl From<ConfError> for SettingsErrorKind {
    fn from(error: ConfError) -> Self {
        Self::Conf(error)
    }
}

impl From<LengthError> for SettingsErrorKind {
    fn from(error: LengthError) -> Self {
        Self::Length(error)
    }
}

impl From<Conflict> for SettingsErrorKind {
    fn from(error: Conflict) -> Self {
        Self::Conflict(error)
    }
}

/// Something that a person may want to know and that stops nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsWarning(pub(super) SettingsWarningKind);

impl SettingsWarning {
    #[cfg_attr(
        not(feature = "cli"),
        expect(dead_code, reason = "what mke2fs's words need")
    )]
    pub(crate) fn kind(&self) -> &SettingsWarningKind {
        &self.0
    }

    /// Whether it warns of something, rather than reports a choice that was made.
    pub fn is_warning(&self) -> bool {
        !matches!(self.0, SettingsWarningKind::Types(_))
    }
}

impl fmt::Display for SettingsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kinds of [`SettingsWarning`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SettingsWarningKind {
    /// The configuration does not define the type, and force says go on.
    TypeUndefined(String),
    /// The configuration does not define a usage type, which counts for nothing then.
    UsageUndefined(String),
    /// Blocks smaller than the device's physical sectors, in bytes.
    BlockBelowPhysicalSector { block_size: u32, sector_size: u32 },
    /// The types whose rules apply.
    Types(Vec<String>),
    /// Nothing is known of how the device likes to be written.
    NoTopology,
    /// The device begins inside a physical sector: the distance in bytes from its start.
    Misaligned(u32),
    /// Blocks that are no page keep the device from being mapped into memory.
    NoDax { block_size: u32, page_size: u32 },
    /// Blocks larger than a page, in bytes.
    BlockAbovePage { block_size: u32, page_size: u32 },
    /// A stripe that is no multiple of the stride.
    UnevenStripe { stripe_width: u32, stride: u16 },
    /// The offset was taken off the output's size.
    OffsetWithoutSize { blocks: u64 },
    /// Inodes of 128 bytes have no room for later times.
    TimesEndIn2038,
    /// Clusters of more than 16 blocks.
    LargeClusters,
}

impl fmt::Display for SettingsWarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TypeUndefined(name) => {
                write!(f, "unknown filesystem type '{name}'; using the defaults")
            }
            Self::UsageUndefined(name) => {
                write!(f, "unknown usage type '{name}'; using the defaults")
            }
            Self::BlockBelowPhysicalSector {
                block_size,
                sector_size,
            } => write!(
                f,
                "block size {block_size} is below the device's physical sector size {sector_size}, which \
                 makes writing slow"
            ),
            Self::Types(types) => write!(f, "usage types: {}", types.join(", ")),
            Self::NoTopology => f.write_str("the device reports no I/O topology"),
            Self::Misaligned(bytes) => write!(
                f,
                "the device is misaligned by {bytes} bytes, which makes writing slow"
            ),
            Self::NoDax {
                block_size,
                page_size,
            } => write!(
                f,
                "block size {block_size} rules out DAX, which needs the page size {page_size}"
            ),
            Self::BlockAbovePage {
                block_size,
                page_size,
            } => write!(
                f,
                "block size {block_size} is above the page size {page_size}, which many kernels cannot \
                 mount"
            ),
            Self::UnevenStripe {
                stripe_width,
                stride,
            } => write!(
                f,
                "stripe width {stripe_width} is not a multiple of the stride {stride}"
            ),
            Self::OffsetWithoutSize { blocks } => write!(
                f,
                "offset without a size: the filesystem gets the {blocks} blocks after it"
            ),
            Self::TimesEndIn2038 => f.write_str("inodes of 128 bytes cannot store times past 2038"),
            Self::LargeClusters => f.write_str("clusters of more than 16 blocks are experimental"),
        }
    }
}
