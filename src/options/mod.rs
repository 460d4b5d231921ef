//! Given wishes, gives [`Settings`]; never a count that depends on another count.
//!
//! [`Options`] is what somebody asks for, every wish optional. [`Environment`] is what the world says: the
//! clock, randomness, the environment and the output as it is. [`Options::resolve`] makes
//! [`Settings`] of both, by the rules and in the order of mke2fs, and validates them once.

#[cfg(feature = "cli")]
pub(crate) mod choices;
mod compat;
mod environment;
mod error;
mod extended;
mod features;
mod inherited;
mod journal_device;
mod profile;
mod resolve;
mod settings;
mod size;

pub use compat::{CompatTarget, Verdict, name_of_bit};
pub use environment::{Conf, Device, Environment, Target, TargetKind};
pub use error::{SettingsError, SettingsWarning};
pub use journal_device::JournalDeviceError;
pub(crate) use settings::NoFiles;
pub use settings::{Errors, JournalDevice, QuotaType, QuotaTypes, Settings};
pub use size::{Size, SizeError};

#[cfg(feature = "cli")]
pub(crate) use {
    error::{ConfError, Conflict, LengthError, SettingsErrorKind, SettingsWarningKind},
    extended::ExtendedOptionError,
    journal_device::JournalFault,
    profile::SyntaxFault,
    size::number,
};

use crate::feature::{Feature, FeatureSet};
use extended::{DescSize, Extended};
use features::edit_features;
pub(crate) use inherited::Inherited;
#[cfg(feature = "cli")]
pub(crate) use settings::UndoRule;
pub(crate) use settings::{HugeFilesOptions, JournalLength, MmpInfo};

/// A size that holds whatever is asked for: 1 TiB.
const ANY_SIZE: Size = Size::Kibibytes(1 << 30);

/// Why blocks are smaller than is wished for by [`Options::large_blocks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoLargeBlocks {
    /// The content would not fit.
    Content,
    /// The journal would not.
    Journal,
}

/// What [`Options::large_blocks`] wishes for.
const LARGE_BLOCK_BYTES: u32 = 4096;

/// What is asked of a filesystem. What is not asked for follows mke2fs's rules.
///
/// Setters take any value; [`resolve`](Self::resolve) says what is wrong with one.
///
/// ```
/// use mke4fs::feature::Feature;
/// use mke4fs::options::{Environment, Options, Size};
///
/// let mut options = Options::new();
/// options
///     .size(Size::Bytes(64 << 20))
///     .label("boot")
///     .without_feature(Feature::HasJournal);
/// let resolved = options.resolve(&Environment::detect())?;
/// assert_eq!(resolved.settings.blocks_count(), 65536);
/// assert_eq!(resolved.settings.label(), *b"boot\0\0\0\0\0\0\0\0\0\0\0\0");
/// # Ok::<(), mke4fs::options::SettingsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    size: Option<Size>,
    block_size: Option<BlockSizeOption>,
    fs_type: Option<TypeOption>,
    usage_types: Option<String>,
    features: Vec<FeatureOption>,
    inode_size: Option<u32>,
    inode_ratio: Option<u32>,
    inodes_count: Option<u64>,
    reserved_percent: Option<f64>,
    label: Option<Vec<u8>>,
    last_mounted: Option<Vec<u8>>,
    uuid: Option<UuidOption>,
    errors: Option<Errors>,
    groups_per_flex: Option<u32>,
    blocks_per_group: Option<u32>,
    cluster_size: Option<u32>,
    journal: Option<JournalLength>,
    keep_old_data: bool,
    fast_commit_kibibytes: Option<u32>,
    journal_location: Option<String>,
    journal_v1: bool,
    creator_os: Option<String>,
    extended: Vec<ExtendedOption>,
    force: bool,
    dry_run: bool,
    super_only: bool,
    undoable: bool,
    any_size: bool,
    large_blocks: bool,
    reproducible: bool,
    seed_by_uuid: bool,
    compat: Vec<CompatTarget>,
    inherited: Option<Box<Inherited>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum BlockSizeOption {
    Exactly(u32),
    AtLeast(u32),
}

#[derive(Clone, Debug, PartialEq)]
enum TypeOption {
    Named(String),
    ByProgram(String),
    ByConf,
}

#[derive(Clone, Debug, PartialEq)]
enum FeatureOption {
    With(Feature),
    Without(Feature),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum UuidOption {
    Exactly([u8; 16]),
    OfTheTime,
    Random,
}

#[derive(Clone, Debug, PartialEq)]
enum ExtendedOption {
    One(Extended),
    Text(String),
}

impl ExtendedOption {
    /// The value of the size `name`, if it is there.
    fn value_of(&self, name: &str) -> Option<String> {
        match self {
            Self::One(Extended::OrphanFileSize(size)) if name == "orphan_file_size" => {
                Some(size.as_asked())
            }
            Self::One(Extended::Resize(size)) if name == "resize" => Some(size.as_asked()),
            Self::One(_) => None,
            Self::Text(text) => {
                let values = text.rsplit(',').filter_map(|option| option.split_once('='));
                let mut named = values.filter(|(other, _)| *other == name);
                named.next().map(|(_, value)| value.to_owned())
            }
        }
    }
}

impl FeatureOption {
    /// The features that this makes of `set`.
    ///
    /// # Errors
    /// Where text is no list of features.
    fn edit(&self, set: FeatureSet) -> Result<FeatureSet, error::SettingsErrorKind> {
        match self {
            Self::With(feature) => Ok(set.with(*feature)),
            Self::Without(feature) => Ok(set.without(*feature)),
            Self::Text(text) => edit_features(set, text),
        }
    }
}

/// Settings, and what was remarkable on the way to them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Resolved {
    /// Every setting.
    pub settings: Settings,
    /// What a person may want to know, in the order of mke2fs.
    pub warnings: Vec<SettingsWarning>,
}

impl Options {
    /// No wish at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes settings of the wishes.
    ///
    /// # Errors
    ///
    /// Where a wish is out of range, contradicts another or asks for what is not supported.
    pub fn resolve(&self, host: &Environment) -> Result<Resolved, SettingsError> {
        resolve::resolve(self, host)
    }

    /// The cluster size in bytes, with the bigalloc feature.
    pub fn cluster_size(&mut self, bytes: u32) -> &mut Self {
        self.cluster_size = Some(bytes);
        self
    }

    /// The value that was asked for of the option that the command or mke2fs.conf calls `name`, where what
    /// is refused is only what became of it.
    pub(crate) fn asked(&self, name: &str) -> Option<String> {
        let mut extended = self.extended.iter().rev();
        match name {
            "SIZE" => self.size.map(Size::as_asked),
            "-i" => self.inode_ratio.map(|bytes| bytes.to_string()),
            "-J" => {
                let length = self.journal.and_then(|length| match length {
                    JournalLength::Mebibytes(mebibytes) => Some(format!("size={mebibytes}")),
                    JournalLength::ByFilesystem => None,
                });
                let of_fast_commit = |kibibytes| format!("fast_commit_size={kibibytes}");
                let fast_commit = self.fast_commit_kibibytes.map(of_fast_commit);
                let asked: Vec<String> = length.into_iter().chain(fast_commit).collect();
                (!asked.is_empty()).then(|| asked.join(","))
            }
            "orphan_file_size" | "resize" => extended.find_map(|option| option.value_of(name)),
            _ => None,
        }
    }

    /// Whether a block size is asked for.
    pub(crate) fn asks_for_block_size(&self) -> bool {
        self.block_size.is_some() || self.inherited.is_some()
    }

    /// OpenOptions for blocks of 4 KiB also below 512 MiB, where mke2fs makes them smaller, if what is put into
    /// the filesystem fits so and a journal it is to have does. A block size that is asked for, a usage type,
    /// a configuration file and the block size of a journal's device go before this. Without content it has
    /// no effect.
    pub fn large_blocks(&mut self) -> &mut Self {
        self.large_blocks = true;
        self
    }

    /// The same with large blocks, if that is wished for and changes anything.
    pub(crate) fn with_large_blocks(&self, host: &Environment) -> Option<Self> {
        let is_told = self.asks_for_block_size() || self.usage_types.is_some();
        let is_decided = is_told || host.conf.is_some() || host.journal_device.is_some();
        if !self.large_blocks || is_decided {
            return None;
        }
        let before = self.resolve(host).ok()?.settings.block_size;
        let mut options = self.clone();
        options.block_size = Some(BlockSizeOption::AtLeast(LARGE_BLOCK_BYTES));
        (before.bytes() < LARGE_BLOCK_BYTES).then_some(options)
    }

    /// Whether superblocks and descriptors alone are asked for.
    #[cfg(feature = "cli")]
    pub(crate) fn is_super_only(&self) -> bool {
        self.super_only
    }

    /// Makes of the hash seed a function of the UUID, and lets nothing of the machine into the image: neither
    /// its name and page size nor what an output reports or holds. A UUID that is not given is one of what
    /// stands for randomness in the [`Environment`]; a [`Builder`](crate::Builder) puts the content there.
    /// What cannot be had so is refused: a random UUID, one of the time, the user who runs the program as
    /// the root directory's owner, and a journal on another device.
    pub fn reproducible(&mut self) -> &mut Self {
        self.reproducible = true;
        self
    }

    /// Makes of the hash seed a function of the UUID where that is given, and no hash seed is. mke2fs makes it
    /// random.
    ///
    /// ```
    /// use mke4fs::options::{Environment, Options, Size};
    ///
    /// let mut options = Options::new();
    /// options.size(Size::Bytes(1 << 20)).uuid([7; 16]).hash_seed_by_uuid();
    /// let seed = || options.resolve(&Environment::detect()).map(|it| it.settings.hash_seed());
    /// assert_eq!(seed()?, seed()?);
    /// # Ok::<(), mke4fs::options::SettingsError>(())
    /// ```
    pub fn hash_seed_by_uuid(&mut self) -> &mut Self {
        self.seed_by_uuid = true;
        self
    }

    /// Leaves out what `target` does not take, unless it is asked for; with several targets, what any of them does
    /// not. What is asked for and makes the filesystem of no full use to it is refused. For
    /// `read-only`, no blocks are reserved either, and there are no more inodes than the content needs.
    ///
    /// ```
    /// use mke4fs::feature::Feature;
    /// use mke4fs::options::{CompatTarget, Environment, Options, Size};
    ///
    /// let grub = CompatTarget::from_name("grub-2.06").expect("it is known");
    /// let mut options = Options::new();
    /// options.size(Size::Bytes(64 << 20)).compat(grub);
    /// let settings = options.resolve(&Environment::fixed(0))?.settings;
    /// assert!(!settings.features().has(Feature::MetadataCsumSeed));
    /// let refused = options.with_feature(Feature::InlineData).resolve(&Environment::fixed(0));
    /// assert!(refused.is_err_and(|error| error.to_string().contains("grub-2.06")));
    /// # Ok::<(), mke4fs::options::SettingsError>(())
    /// ```
    pub fn compat(&mut self, target: CompatTarget) -> &mut Self {
        self.compat.push(target);
        self
    }

    /// The same without any wish for features, and for any kernel and tool.
    #[cfg(feature = "cli")]
    pub(crate) fn without_feature_options(&self) -> Self {
        Self {
            features: Vec::new(),
            journal: None,
            extended: Vec::new(),
            compat: Vec::new(),
            ..self.clone()
        }
    }

    /// The strictest target about a feature, if there is a target.
    #[cfg(feature = "cli")]
    pub(crate) fn strictest(&self, feature: Feature) -> Option<(CompatTarget, Verdict)> {
        compat::strictest(&self.compat, feature)
    }

    /// Whether only a filesystem that nobody writes is asked for.
    fn is_for_reading(&self) -> bool {
        self.compat.iter().any(|target| target.is_read_only())
    }

    /// The features that are asked for, whatever else there is.
    pub(crate) fn asked_features(&self) -> FeatureSet {
        // Text that is no list of features is refused elsewhere.
        let edited = |set, wish: &FeatureOption| wish.edit(set).unwrap_or(set);
        let features = self.features.iter().fold(FeatureSet::EMPTY, edited);
        match self.journal {
            Some(_) => features.with(Feature::HasJournal),
            None => features,
        }
    }

    /// Whether a feature is to be left out by name.
    pub(crate) fn leaves_out(&self, feature: Feature) -> bool {
        let edited = |set, wish: &FeatureOption| wish.edit(set).unwrap_or(set);
        let all = FeatureSet::EMPTY.with(feature);
        !self.features.iter().fold(all, edited).has(feature)
    }

    /// `features` without what a target does not take. One that is asked for all the same is refused before what
    /// it needs is; those that other options bring are looked at in the end.
    fn fit_targets(&self, features: FeatureSet) -> Result<FeatureSet, error::SettingsErrorKind> {
        let asked = self.asked_features();
        let asks = |feature| asked.has(feature);
        let leaves_out = |feature| self.leaves_out(feature);
        let fitting = compat::fit(&self.compat, features, asks, leaves_out);
        compat::check(&self.compat, fitting)?;
        Ok(fitting)
    }

    /// Whether the UUID itself is given.
    fn has_uuid(&self) -> bool {
        matches!(self.uuid, Some(UuidOption::Exactly(_)))
    }

    /// Whether a reproducible image is asked for.
    pub(crate) fn is_reproducible(&self) -> bool {
        self.reproducible
    }

    /// Whether the UUID is left to chance.
    pub(crate) fn leaves_uuid_to_chance(&self) -> bool {
        self.uuid.is_none() && self.inherited.is_none()
    }

    /// Whether an inode size is asked for.
    pub(crate) fn asks_for_inode_size(&self) -> bool {
        self.inode_size.is_some() || self.inherited.is_some()
    }

    /// Whether a number or a ratio of inodes is asked for.
    pub(crate) fn asks_for_inodes(&self) -> bool {
        let is_asked = self.inodes_count.is_some() || self.inode_ratio.is_some();
        is_asked || self.inherited.is_some()
    }

    /// The filesystem's size. Without it, an output that is there is filled.
    pub fn size(&mut self, size: Size) -> &mut Self {
        self.size = Some(size);
        self
    }

    /// The block size in bytes: a power of two from 1024 to 65536. One above the page size, which many kernels
    /// cannot mount, needs [`force`](Self::force) as well.
    pub fn block_size(&mut self, bytes: u32) -> &mut Self {
        self.block_size = Some(BlockSizeOption::Exactly(bytes));
        self
    }

    /// The least block size in bytes, where another rule says less.
    pub fn block_size_at_least(&mut self, bytes: u32) -> &mut Self {
        self.block_size = Some(BlockSizeOption::AtLeast(bytes));
        self
    }

    /// The type, by the name it has in mke2fs.conf: ext4 by default.
    pub fn fs_type(&mut self, name: impl Into<String>) -> &mut Self {
        self.fs_type = Some(TypeOption::Named(name.into()));
        self
    }

    /// The type that a program's name stands for, unless the configuration file has one for the
    /// output or the creator is the Hurd.
    pub fn fs_type_by_program(&mut self, name: impl Into<String>) -> &mut Self {
        self.fs_type = Some(TypeOption::ByProgram(name.into()));
        self
    }

    /// The type that the configuration file names as its default, or else ext2.
    pub fn fs_type_by_conf(&mut self) -> &mut Self {
        self.fs_type = Some(TypeOption::ByConf);
        self
    }

    /// What it is for: names of types in mke2fs.conf, divided by commas, such as `largefile`.
    pub fn usage_types(&mut self, names: impl Into<String>) -> &mut Self {
        self.usage_types = Some(names.into());
        self
    }

    /// Adds a feature.
    pub fn with_feature(&mut self, feature: Feature) -> &mut Self {
        self.features.push(FeatureOption::With(feature));
        self
    }

    /// Leaves a feature out.
    pub fn without_feature(&mut self, feature: Feature) -> &mut Self {
        self.features.push(FeatureOption::Without(feature));
        self
    }

    /// Adds and leaves out features by name, as `-O` does: `extent,^has_journal`.
    pub fn features(&mut self, text: impl Into<String>) -> &mut Self {
        self.features.push(FeatureOption::Text(text.into()));
        self
    }

    /// The inode size in bytes: a power of two from 128 to the block size.
    pub fn inode_size(&mut self, bytes: u32) -> &mut Self {
        self.inode_size = Some(bytes);
        self
    }

    /// Bytes per inode: 1024 to 67,108,864.
    pub fn inode_ratio(&mut self, bytes: u32) -> &mut Self {
        self.inode_ratio = Some(bytes);
        self
    }

    /// The number of inodes, rounded up to fill the inode tables; 0 is the least possible.
    pub fn inodes_count(&mut self, count: u64) -> &mut Self {
        self.inodes_count = Some(count);
        self
    }

    /// The share of the blocks that only root may fill, in percent: 0 to 50.
    pub fn reserved_percent(&mut self, percent: f64) -> &mut Self {
        self.reserved_percent = Some(percent);
        self
    }

    /// The label: at most 16 bytes of any value.
    pub fn label(&mut self, label: impl Into<Vec<u8>>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    /// Where the filesystem was mounted last: at most 64 bytes of any value.
    pub fn last_mounted(&mut self, path: impl Into<Vec<u8>>) -> &mut Self {
        self.last_mounted = Some(path.into());
        self
    }

    /// The UUID: a random one by default.
    pub fn uuid(&mut self, uuid: [u8; 16]) -> &mut Self {
        self.uuid = Some(UuidOption::Exactly(uuid));
        self
    }

    /// A random UUID (version 4), whatever was asked for before.
    pub fn random_uuid(&mut self) -> &mut Self {
        self.uuid = Some(UuidOption::Random);
        self
    }

    /// A UUID of the time and random bytes (version 1).
    pub fn uuid_of_the_time(&mut self) -> &mut Self {
        self.uuid = Some(UuidOption::OfTheTime);
        self
    }

    /// What the kernel shall do when it meets an error.
    pub fn errors(&mut self, errors: Errors) -> &mut Self {
        self.errors = Some(errors);
        self
    }

    /// The number of groups in a flex group: a power of two.
    pub fn groups_per_flex(&mut self, groups: u32) -> &mut Self {
        self.groups_per_flex = Some(groups);
        self
    }

    /// The number of blocks in a group: a multiple of 8 from 256 to the bits of a block.
    pub fn blocks_per_group(&mut self, blocks: u32) -> &mut Self {
        self.blocks_per_group = Some(blocks);
        self
    }

    /// The journal's length in MiB. It brings a journal where there would be none.
    pub fn journal_mebibytes(&mut self, mebibytes: u32) -> &mut Self {
        self.journal = Some(JournalLength::Mebibytes(mebibytes));
        self
    }

    /// A journal of the usual length, where there would be none.
    pub fn with_journal(&mut self) -> &mut Self {
        self.journal = Some(JournalLength::ByFilesystem);
        self
    }

    /// Discards nothing, unless the rules or an extended option ask for it.
    pub fn keep_old_data(&mut self) -> &mut Self {
        self.keep_old_data = true;
        self
    }

    /// What the journal keeps for fast commits, in KiB, with the fast_commit feature: a 64th of its
    /// usual length by default.
    pub fn fast_commit_kibibytes(&mut self, kibibytes: u32) -> &mut Self {
        self.fast_commit_kibibytes = Some(kibibytes);
        self
    }

    /// Where the journal shall begin, as `-J location=` takes it: a bare number counts blocks.
    pub fn journal_location(&mut self, text: impl Into<String>) -> &mut Self {
        self.journal_location = Some(text.into());
        self
    }

    /// The operating system that claims the filesystem: linux, hurd, freebsd, lites or a number. The
    /// Hurd's has fewer features.
    pub fn creator_os(&mut self, name: impl Into<String>) -> &mut Self {
        self.creator_os = Some(name.into());
        self
    }

    /// Gives the journal a superblock of the old form.
    pub fn journal_v1(&mut self) -> &mut Self {
        self.journal_v1 = true;
        self
    }

    /// Goes on where mke2fs would ask whether to.
    pub fn force(&mut self) -> &mut Self {
        self.force = true;
        self
    }

    /// Writes superblocks and descriptors alone, as a last resort where all of a filesystem's own are
    /// lost: the options must be those that it was made with. What was there is kept only if it is
    /// not discarded.
    pub fn super_only(&mut self) -> &mut Self {
        self.super_only = true;
        self
    }

    /// What is overwritten will be kept for [`Undo`](crate::sink::Undo): nothing is discarded, whatever
    /// else is asked for.
    pub fn undoable(&mut self) -> &mut Self {
        self.undoable = true;
        self
    }

    /// Nothing will be written: a size counts as the output's own.
    pub fn dry_run(&mut self) -> &mut Self {
        self.dry_run = true;
        self
    }

    /// Extended options as `-E` takes them: `stride=16,lazy_itable_init=1`.
    pub fn extended(&mut self, text: impl Into<String>) -> &mut Self {
        self.extended.push(ExtendedOption::Text(text.into()));
        self
    }

    /// The seed of directory hashes: a random one by default.
    pub fn hash_seed(&mut self, seed: [u8; 16]) -> &mut Self {
        self.one(Extended::HashSeed(seed))
    }

    /// The root directory's user and group.
    pub fn root_owner(&mut self, uid: u32, gid: u32) -> &mut Self {
        self.one(Extended::RootOwner(Some((uid, gid))))
    }

    /// The root directory's permissions, the low twelve bits of a mode: 0o755 by default.
    pub fn root_perms(&mut self, perms: u16) -> &mut Self {
        self.one(Extended::RootPerms(perms & 0o7777))
    }

    /// The root directory's SELinux context, such as `system_u:object_r:root_t:s0`.
    pub fn root_selinux(&mut self, context: impl Into<String>) -> &mut Self {
        self.one(Extended::RootSelinux(context.into()))
    }

    /// Whether unused inode tables are left for the kernel to zero.
    pub fn lazy_itable_init(&mut self, lazy: bool) -> &mut Self {
        self.one(Extended::LazyItableInit(lazy))
    }

    /// Whether the journal's blocks are left as they are.
    pub fn lazy_journal_init(&mut self, lazy: bool) -> &mut Self {
        self.one(Extended::LazyJournalInit(lazy))
    }

    /// Whether the output's old content is discarded first.
    pub fn discard(&mut self, discard: bool) -> &mut Self {
        self.one(Extended::Discard(discard))
    }

    /// The stride of a RAID array, in blocks.
    pub fn stride(&mut self, blocks: u16) -> &mut Self {
        self.one(Extended::Stride(blocks))
    }

    /// The stripe width of a RAID array, in blocks.
    pub fn stripe_width(&mut self, blocks: u32) -> &mut Self {
        self.one(Extended::StripeWidth(blocks))
    }

    /// The size up to which the filesystem shall be able to grow while mounted.
    pub fn resize(&mut self, size: Size) -> &mut Self {
        self.one(Extended::Resize(size))
    }

    /// Where in the output the filesystem begins, in bytes.
    pub fn offset(&mut self, bytes: u64) -> &mut Self {
        self.one(Extended::Offset(bytes))
    }

    /// The number of backup superblocks with the sparse_super2 feature: 0 to 2.
    pub fn num_backup_sb(&mut self, count: u8) -> &mut Self {
        self.one(Extended::NumBackupSb(count))
    }

    /// Whether all bitmaps, inode tables and the journal lie at the front.
    pub fn packed_meta_blocks(&mut self, packed: bool) -> &mut Self {
        self.one(Extended::PackedMetaBlocks(packed))
    }

    /// The orphan file's size.
    pub fn orphan_file_size(&mut self, size: Size) -> &mut Self {
        self.one(Extended::OrphanFileSize(size))
    }

    /// Seconds between updates of the MMP block, while mounted: 5 by
    /// default, and at most 300.
    pub fn mmp_update_interval(&mut self, seconds: u16) -> &mut Self {
        self.one(Extended::MmpUpdateInterval(seconds))
    }

    /// Whose quota files the quota feature makes: users' and groups' by default. Projects
    /// bring the project feature.
    pub fn quota_types(&mut self, types: QuotaTypes) -> &mut Self {
        self.one(Extended::QuotaTypes(types))
    }

    /// Bytes per group descriptor with 64bit: a power of two from 64 to 1024.
    pub fn desc_size(&mut self, bytes: u16) -> &mut Self {
        self.one(Extended::DescSize(DescSize {
            name: "desc_size",
            bytes,
        }))
    }

    /// Marks the filesystem as one for tests of the kernel.
    pub fn test_fs(&mut self) -> &mut Self {
        self.one(Extended::TestFs)
    }

    /// Whether the output is known to read as zeros.
    pub fn assume_storage_prezeroed(&mut self, prezeroed: bool) -> &mut Self {
        self.one(Extended::AssumeStoragePrezeroed(prezeroed))
    }

    /// Leaves the extended attributes of the source behind.
    pub fn no_copy_xattrs(&mut self) -> &mut Self {
        self.one(Extended::NoCopyXattrs)
    }

    /// Says which of the wishes no filesystem can grant, if one is such.
    #[cfg(feature = "cli")]
    pub(crate) fn judge(&self) -> Result<(), error::SettingsErrorKind> {
        resolve::check_wishes(self)
    }

    /// Whether a size is asked for.
    pub fn has_size(&self) -> bool {
        self.size.is_some() || self.inherited.is_some()
    }

    /// The same for a filesystem whose size is still to be found: of one that is large, and without what
    /// only a known size can grant.
    pub(crate) fn of_any_size(&self) -> Self {
        let mut options = self.clone();
        options.size(ANY_SIZE);
        options.any_size = true;
        options
    }

    /// Whether a journal, or what works only with one, is asked for by more than a type's defaults.
    pub(crate) fn asks_for_journal(&self) -> bool {
        let by_type = match &self.fs_type {
            Some(TypeOption::Named(name) | TypeOption::ByProgram(name)) => name == "ext3",
            Some(TypeOption::ByConf) | None => false,
        };
        // Text that is no list of features is refused elsewhere.
        let edited = |set, wish: &FeatureOption| wish.edit(set).unwrap_or(set);
        let features = self.features.iter().fold(FeatureSet::EMPTY, edited);
        let with_journal = [
            Feature::HasJournal,
            Feature::OrphanFile,
            Feature::FastCommit,
        ];
        by_type
            || self.journal.is_some()
            || self.journal_location.is_some()
            || self.journal_v1
            || self.fast_commit_kibibytes.is_some()
            || with_journal.iter().any(|feature| features.has(*feature))
    }

    fn one(&mut self, option: Extended) -> &mut Self {
        self.extended.push(ExtendedOption::One(option));
        self
    }
}

/// The UUID that is all of `text`, in the form libuuid reads: five groups of hexadecimal digits.
pub(crate) fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let uuid = uuid::Uuid::try_parse(text).ok()?;
    (text.len() == 36).then(|| uuid.into_bytes())
}

impl Environment {
    /// After how many seconds a question counts as answered by yes, if the configuration says.
    #[cfg(feature = "cli")]
    pub(crate) fn proceed_delay(&self) -> Option<std::num::NonZero<u64>> {
        let delay = self.profile().ok()?.proceed_delay?;
        std::num::NonZero::new(delay.max(0).unsigned_abs())
    }

    /// The rules in force, or what is wrong with the file that should state them.
    fn profile(&self) -> Result<profile::Profile, error::SettingsErrorKind> {
        let Some(conf) = &self.conf else {
            return Ok(profile::Profile::built_in());
        };
        let text = conf.text.as_ref().map_err(|reason| {
            let reason = reason.clone();
            let path = conf.name.clone();
            error::SettingsErrorKind::Conf(error::ConfError::Unreadable { path, reason })
        })?;
        profile::Profile::parse(text).map_err(|error| {
            error::SettingsErrorKind::Conf(error::ConfError::Syntax {
                path: conf.name.clone(),
                error,
            })
        })
    }

    /// Says what is wrong with the configuration file, if anything is.
    ///
    /// # Errors
    ///
    /// Where it cannot be read or has a fault.
    pub fn check_conf(&self) -> Result<(), SettingsError> {
        match self.profile() {
            Ok(_) => Ok(()),
            Err(refusal) => Err(SettingsError {
                kind: Box::new(refusal),
                warnings: Vec::new(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_libuuid_is_a_uuid() {
        let text = "01234567-89ab-4def-8123-456789ABCDEF";
        let bytes = 0x0123_4567_89ab_4def_8123_4567_89ab_cdef_u128.to_be_bytes();
        assert_eq!(parse_uuid(text), Some(bytes));
        for text in [
            "",
            "0123456789ab4def8123456789abcdef",
            "{01234567-89ab-4def-8123-456789abcdef}",
            "01234567-89ab-4def-8123-456789abcde",
            "01234567-89ab-4def-8123-456789abcdeg",
        ] {
            assert_eq!(parse_uuid(text), None, "{text:?}");
        }
    }

    fn refusal(options: &Options) -> Option<String> {
        let resolved = options.resolve(&Environment::detect());
        resolved.err().map(|error| error.to_string())
    }

    #[test]
    fn descriptors_of_no_size_are_refused() {
        for bytes in [0, 32, 96, 2048] {
            let mut options = Options::new();
            options.size(Size::Kibibytes(65536)).desc_size(bytes);
            let expected = format!(
                "invalid value '{bytes}' for extended option desc_size: expected desc_size=BYTES"
            );
            assert_eq!(refusal(&options), Some(expected));
        }
    }

    #[test]
    fn an_image_ends_where_offsets_do() {
        let refused = |block_size: u32, blocks: u64, offset: u64| {
            let mut options = Options::new();
            options.size(Size::Blocks(blocks)).block_size(block_size);
            refusal(options.offset(offset).inodes_count(1).force())
        };
        let last = (1 << 63) - 1 - (4096 << 10);
        assert_eq!(refused(4096, 1 << 10, last), None);
        for (block_size, blocks, offset) in [
            (4096, 1 << 10, last + 1),
            (4096, 1 << 10, u64::MAX),
            (65536, 1 << 48, 0),
        ] {
            let expected = format!(
                "{blocks} blocks of {block_size} bytes at offset {offset} end past byte 2^63 - 1, the \
                 last of an output; use fewer blocks or a smaller offset"
            );
            assert_eq!(refused(block_size, blocks, offset), Some(expected));
        }
    }
}
