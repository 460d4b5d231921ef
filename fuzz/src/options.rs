//! Given any options, checks that they are refused or give a layout whose ledger covers each block
//! at most once, whose counts add up, and whose rendered metadata decodes to itself.

use arbitrary::Arbitrary;
use mke4fs::feature::Feature;
use mke4fs::options::{
    Conf, Device, Environment, Errors, Options, QuotaType, QuotaTypes, Settings, Size, TargetKind,
};
use mke4fs::raw::geometry::Geometry;
use mke4fs::raw::layout::{Layout, Owner};
use mke4fs::raw::units::Group;
use mke4fs::tree::{Metadata, Tree};

use super::image;

/// Layouts of more groups are left out: they are like others, and slow.
const MOST_GROUPS: u64 = 1 << 12;
/// Layouts of longer orphan files are left out.
const MOST_ORPHAN_BLOCKS: u64 = 1 << 12;
/// Images with more metadata are not rendered, in bytes.
const MOST_METADATA: u64 = 16 << 20;

#[derive(Arbitrary, Debug)]
struct Input {
    wishes: Vec<Wish>,
    world: World,
    /// Whether the storage holds old data and cannot discard it.
    dirty: bool,
}

/// A number, most often one near those that matter.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Number {
    Small(u8),
    Medium(u16),
    NearPowerOfTwo(u8, i8),
    Any(u64),
}

impl Number {
    fn get(self) -> u64 {
        match self {
            Self::Small(number) => number.into(),
            Self::Medium(number) => number.into(),
            Self::NearPowerOfTwo(power, off) => {
                (1_u64 << (power % 64)).saturating_add_signed(off.into())
            }
            Self::Any(number) => number,
        }
    }

    fn narrow(self) -> u32 {
        u32::try_from(self.get()).unwrap_or(u32::MAX)
    }
}

#[derive(Arbitrary, Debug)]
enum Unit {
    Blocks,
    Kibibytes,
    Mebibytes,
    Sectors,
    Bytes,
}

#[derive(Arbitrary, Debug)]
struct Length(Unit, Number);

impl Length {
    fn get(&self) -> Size {
        let number = self.1.get();
        match self.0 {
            Unit::Blocks => Size::Blocks(number),
            Unit::Kibibytes => Size::Kibibytes(number),
            Unit::Mebibytes => Size::Kibibytes(number.saturating_mul(1024)),
            Unit::Sectors => Size::Sectors(number),
            Unit::Bytes => Size::Bytes(number),
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Wish {
    Size(Length),
    BlockSize(u8),
    BlockSizeOf(Number),
    BlockSizeAtLeast(Number),
    ClusterSize(Number),
    FsType(String),
    FsTypeByConf,
    FsTypeByProgram(String),
    UsageType(u8),
    UsageTypes(String),
    With(u8),
    Without(u8),
    Features(String),
    InodeSize(u8),
    InodeSizeOf(Number),
    InodeRatio(Number),
    InodesCount(Number),
    ReservedPercent(f64),
    Label(Vec<u8>),
    LastMounted(Vec<u8>),
    Uuid([u8; 16]),
    UuidOfTheTime,
    ErrorsPanic,
    GroupsPerFlex(Number),
    BlocksPerGroup(Number),
    JournalMebibytes(Number),
    FastCommitKibibytes(Number),
    JournalLocation(Number),
    JournalV1,
    CreatorOs(String),
    Force,
    DryRun,
    Extended(String),
    HashSeed([u8; 16]),
    RootOwner(u32, u32),
    RootPerms(u16),
    LazyItableInit(bool),
    LazyJournalInit(bool),
    Discard(bool),
    Stride(u16),
    StripeWidth(Number),
    Resize(Length),
    Offset(Number),
    NumBackupSb(u8),
    PackedMetaBlocks(bool),
    OrphanFileSize(Length),
    AssumeStoragePrezeroed(bool),
    MmpUpdateInterval(u16),
    QuotaTypes(u8),
    DescSize(u16),
    TestFs,
}

const USAGE_TYPES: [&str; 7] = [
    "floppy",
    "small",
    "big",
    "huge",
    "news",
    "largefile",
    "largefile4",
];

impl Wish {
    fn apply(&self, options: &mut Options) {
        match self {
            Self::Size(length) => options.size(length.get()),
            Self::BlockSize(log) => options.block_size(1024 << (log % 7)),
            Self::BlockSizeOf(number) => options.block_size(number.narrow()),
            Self::BlockSizeAtLeast(number) => options.block_size_at_least(number.narrow()),
            Self::ClusterSize(number) => options.cluster_size(number.narrow()),
            Self::FsType(name) => options.fs_type(name),
            Self::FsTypeByProgram(name) => options.fs_type_by_program(name),
            Self::FsTypeByConf => options.fs_type_by_conf(),
            Self::UsageType(number) => {
                options.usage_types(USAGE_TYPES[usize::from(*number) % USAGE_TYPES.len()])
            }
            Self::UsageTypes(names) => options.usage_types(names),
            Self::With(number) => options.with_feature(feature(*number)),
            Self::Without(number) => options.without_feature(feature(*number)),
            Self::Features(text) => options.features(text),
            Self::InodeSize(log) => options.inode_size(128 << (log % 10)),
            Self::InodeSizeOf(number) => options.inode_size(number.narrow()),
            Self::InodeRatio(number) => options.inode_ratio(number.narrow()),
            Self::InodesCount(number) => options.inodes_count(number.get()),
            Self::ReservedPercent(percent) => options.reserved_percent(*percent),
            Self::Label(label) => options.label(&label[..]),
            Self::LastMounted(path) => options.last_mounted(&path[..]),
            Self::Uuid(uuid) => options.uuid(*uuid),
            Self::UuidOfTheTime => options.uuid_of_the_time(),
            Self::ErrorsPanic => options.errors(Errors::Panic),
            Self::GroupsPerFlex(number) => options.groups_per_flex(number.narrow()),
            Self::BlocksPerGroup(number) => options.blocks_per_group(number.narrow()),
            Self::JournalMebibytes(number) => options.journal_mebibytes(number.narrow()),
            Self::FastCommitKibibytes(number) => options.fast_commit_kibibytes(number.narrow()),
            Self::JournalLocation(number) => options.journal_location(number.get().to_string()),
            Self::JournalV1 => options.journal_v1(),
            Self::CreatorOs(name) => options.creator_os(name),
            Self::Force => options.force(),
            Self::DryRun => options.dry_run(),
            _ => self.apply_extended(options),
        };
    }

    fn apply_extended<'a>(&self, options: &'a mut Options) -> &'a mut Options {
        match self {
            Self::Extended(text) => options.extended(text),
            Self::HashSeed(seed) => options.hash_seed(*seed),
            Self::RootOwner(uid, gid) => options.root_owner(*uid, *gid),
            Self::RootPerms(perms) => options.root_perms(*perms),
            Self::LazyItableInit(lazy) => options.lazy_itable_init(*lazy),
            Self::LazyJournalInit(lazy) => options.lazy_journal_init(*lazy),
            Self::Discard(discard) => options.discard(*discard),
            Self::Stride(blocks) => options.stride(*blocks),
            Self::StripeWidth(blocks) => options.stripe_width(blocks.narrow()),
            Self::Resize(length) => options.resize(length.get()),
            Self::Offset(number) => options.offset(number.get()),
            Self::NumBackupSb(count) => options.num_backup_sb(*count),
            Self::PackedMetaBlocks(packed) => options.packed_meta_blocks(*packed),
            Self::OrphanFileSize(length) => options.orphan_file_size(length.get()),
            Self::MmpUpdateInterval(seconds) => options.mmp_update_interval(*seconds),
            Self::QuotaTypes(bits) => options.quota_types(quota_types(*bits)),
            Self::DescSize(bytes) => options.desc_size(*bytes),
            Self::TestFs => options.test_fs(),
            Self::AssumeStoragePrezeroed(zeroed) => options.assume_storage_prezeroed(*zeroed),
            _ => options,
        }
    }
}

fn quota_types(bits: u8) -> QuotaTypes {
    let wanted = (0..).zip(QuotaType::ALL);
    let wanted = wanted.filter(|(bit, _)| bits & (1 << bit) != 0);
    wanted.fold(QuotaTypes::NONE, |types, (_, one)| types.with(one))
}

fn feature(number: u8) -> Feature {
    Feature::ALL[usize::from(number) % Feature::ALL.len()]
}

#[derive(Arbitrary, Debug)]
struct World {
    clock: i64,
    latest_time: Option<i64>,
    page_size: u8,
    conf: Option<Vec<u8>>,
    sector_size: Option<u8>,
    physical_sector_size: Option<u32>,
    output: Output,
}

#[derive(Arbitrary, Debug)]
enum Output {
    Missing,
    File(Number),
    Device(Number, [u32; 5], bool),
    Other,
}

/// A host that is the same each time.
pub fn host() -> Environment {
    let mut host = Environment::fixed(1_700_000_000);
    host.user = (1000, 100);
    host
}

impl World {
    fn host(&self) -> Environment {
        let kind = match &self.output {
            Output::Missing => TargetKind::Missing,
            Output::File(bytes) => TargetKind::File {
                size_bytes: bytes.get(),
            },
            Output::Device(bytes, [sector, physical, least, best, off], dax) => {
                let mut device = Device::default();
                device.size_bytes = bytes.get();
                device.sector_size = *sector;
                device.physical_sector_size = *physical;
                device.minimum_io_size = *least;
                device.optimal_io_size = *best;
                device.alignment_offset = *off;
                device.dax = *dax;
                TargetKind::Device(device)
            }
            Output::Other => TargetKind::Other,
        };
        let mut host = host();
        host.clock = self.clock;
        host.latest_time = self.latest_time;
        host.page_size = 4096 << (self.page_size % 5);
        let conf = self.conf.as_ref();
        host.conf = conf.map(|text| Conf::new("mke2fs.conf", text.clone()));
        host.sector_size = self.sector_size.map(|log| 1 << (log % 17));
        host.physical_sector_size = self.physical_sector_size;
        host.target.path = "output".into();
        host.target.kind = kind;
        host
    }
}

/// Checks the options that `bytes` stand for.
pub fn run(bytes: &[u8]) {
    let Some(input) = super::value::<Input>(bytes) else {
        return;
    };
    let mut options = Options::new();
    for wish in &input.wishes {
        wish.apply(&mut options);
    }
    let resolved = match options.resolve(&input.world.host()) {
        Ok(resolved) => resolved,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let settings = resolved.settings;
    let Some(layout) = empty_layout(&settings) else {
        return;
    };
    check_layout(&settings, &layout);
    if metadata_bytes(&layout) <= MOST_METADATA {
        let tree = Tree::with_root(Metadata::default());
        let storage = if input.dirty {
            image::Storage::OldData
        } else {
            image::Storage::Zeros
        };
        let image = image::render(&settings, &layout, &tree, storage);
        image::check(&image, &settings, &layout);
    }
}

/// The layout of an empty filesystem, if there can be one and it is small enough to look at.
fn empty_layout(settings: &Settings) -> Option<Layout> {
    // The bits of a bitmap: blocks, or clusters.
    let bits = settings
        .blocks_per_group()
        .unwrap_or(settings.block_size().bytes() * 8);
    let per_group = u64::from(bits.max(1)) * settings.cluster_ratio();
    if settings.blocks_count() / per_group > MOST_GROUPS {
        return None;
    }
    let geometry = match Geometry::new(settings) {
        Ok(geometry) => geometry,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    check_geometry(settings, &geometry);
    if geometry.orphan_file_blocks.unwrap_or(0) > MOST_ORPHAN_BLOCKS {
        return None;
    }
    let tree = Tree::with_root(Metadata::default());
    match Layout::new(settings, geometry, &tree) {
        Ok(layout) => Some(layout),
        Err(error) => {
            assert!(
                !matches!(error, mke4fs::raw::layout::LayoutError::Claim(_)),
                "{error}"
            );
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

fn check_geometry(settings: &Settings, geometry: &Geometry) {
    assert!(geometry.blocks_count <= settings.blocks_count());
    assert!(geometry.reserved_blocks <= geometry.blocks_count);
    assert_eq!(
        u64::from(geometry.inodes_count),
        u64::from(geometry.groups) * u64::from(geometry.inodes_per_group)
    );
    assert!(geometry.inodes_per_group <= geometry.block_size.bytes() * 8);
    assert!(geometry.clusters_per_group() <= geometry.block_size.bytes() * 8);
    let in_groups: u64 = geometry
        .all_groups()
        .map(|group| geometry.group_run(group).len)
        .sum();
    // A journal's device is in no groups.
    let needed = if geometry.features.has(Feature::JournalDev) {
        0
    } else {
        geometry.blocks_count - geometry.first_data_block
    };
    assert_eq!(in_groups, needed);
}

/// Checks that no block has two owners and that all counts agree.
pub fn check_layout(settings: &Settings, layout: &Layout) {
    let geometry = &layout.geometry;
    let mut at = geometry.first_data_block;
    let mut claimed = 0;
    for claim in layout.ledger.claims() {
        assert!(claim.run().len > 0, "{claim:?} is empty");
        assert!(claim.run().start.get() >= at, "{claim:?} overlaps another");
        at = claim.run().end().get();
        claimed += claim.run().len;
    }
    assert!(at <= geometry.blocks_count);
    let free = layout.ledger.total_free();
    let blocks = geometry.blocks_count - geometry.first_data_block;
    assert_eq!(claimed + free, blocks);
    let free_by_group: u64 = geometry
        .all_groups()
        .map(|group| layout.ledger.count_free(geometry.group_run(group)))
        .sum();
    assert_eq!(free_by_group, free);
    assert!(layout.overhead_clusters <= geometry.blocks_count);
    assert!(layout.last_ino().get() <= geometry.inodes_count);
    let used_inodes: u32 = geometry
        .all_groups()
        .map(|group| u32::try_from(layout.used_inodes(group).len()).expect("32 bits"))
        .sum();
    assert_eq!(used_inodes, geometry.inodes_count - layout.free_inodes());
    let count = |is: fn(Owner) -> Option<Group>| {
        let claims = layout.ledger.claims().iter();
        claims.filter(|claim| is(claim.owner).is_some()).count()
    };
    let groups = usize::try_from(geometry.groups).expect("few groups");
    for is in [block_bitmap, inode_bitmap, inode_table] {
        assert_eq!(count(is), groups);
    }
    assert!(settings.features().has(Feature::HasJournal) || layout.system.journal.is_none());
}

fn block_bitmap(owner: Owner) -> Option<Group> {
    match owner {
        Owner::BlockBitmap(group) => Some(group),
        _ => None,
    }
}

fn inode_bitmap(owner: Owner) -> Option<Group> {
    match owner {
        Owner::InodeBitmap(group) => Some(group),
        _ => None,
    }
}

fn inode_table(owner: Owner) -> Option<Group> {
    match owner {
        Owner::InodeTable(group) => Some(group),
        _ => None,
    }
}

/// How many bytes of metadata may be rendered: all that is neither zeroed nor left alone.
fn metadata_bytes(layout: &Layout) -> u64 {
    let blocks: u64 = layout
        .ledger
        .claims()
        .iter()
        .filter(|claim| !matches!(claim.owner, Owner::InodeTable(_) | Owner::Journal(_)))
        .map(|claim| claim.run().len)
        .sum();
    blocks * layout.geometry.block_size.bytes_u64()
}
