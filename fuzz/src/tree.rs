//! Given any tree and some options, checks that they are refused or give an image that our own
//! reader and ext4-view read back entry by entry: names, types, owners, times, sizes, targets and contents.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use arbitrary::Arbitrary;
use ext4_view::{Ext4, Ext4Read, FileType, Path, PathBuf};
use mke4fs::check::{CheckOptions, Finding, FindingKind, check_with};
use mke4fs::feature::Feature;
use mke4fs::options::{Options, Settings, Size};
use mke4fs::raw::geometry::Geometry;
use mke4fs::raw::layout::{Layout, LayoutError};
use mke4fs::raw::units::{Ino, Timestamp};
use mke4fs::sink::{Memory, Sink};
use mke4fs::tree::{
    Content, ContentKey, DataMap, Device, Flags, Kind, Metadata, Node, NodeId, Special, Tree, Xattr,
};

use super::image::{self, Storage};
use super::options::{check_layout, host};
use super::pattern::{Pattern, expected_byte};
use super::read_back;

/// How many nodes and names a tree has at most.
const MOST_NAMES: usize = 4000;
/// How many bytes of data a tree has at most.
const MOST_DATA: u64 = 8 << 20;
/// The longest file whose content is read back, in blocks.
const MOST_BLOCKS: u64 = 1 << 15;
/// How many bytes an image may have.
const MOST_BYTES: u64 = 256 << 20;

#[derive(Arbitrary, Debug)]
struct Input {
    options: Wishes,
    /// Seconds that ext4-view cannot read are then left as they are, and it is not asked.
    odd_times: bool,
    root: Attributes,
    declarations: Vec<Declaration>,
}

#[derive(Arbitrary, Debug)]
struct Wishes {
    log_block_size: u8,
    log_inode_size: u8,
    /// The type: ext4 more often than the others.
    kind: u8,
    /// Features to switch on or off, by their place among all.
    features: Vec<(u8, bool)>,
    mebibytes: u8,
    extra_kibibytes: u16,
    log_cluster: Option<u8>,
    inodes: Option<u16>,
    blocks_per_group: Option<u8>,
    dirty: bool,
    lazy: bool,
    hash_seed: u64,
}

/// What ext4-view reads around.
const UNKNOWN: [Feature; 8] = [
    Feature::Bigalloc,
    Feature::MetaBg,
    Feature::Mmp,
    Feature::EaInode,
    Feature::LargeDir,
    Feature::InlineData,
    Feature::Encrypt,
    Feature::Casefold,
];

#[derive(Arbitrary, Debug)]
struct Declaration {
    parent: u8,
    name: Name,
    what: What,
    attributes: Attributes,
}

#[derive(Arbitrary, Debug)]
enum Name {
    Short(u16),
    Long(u8, u16),
    Bytes(Vec<u8>),
    LostFound,
}

#[derive(Arbitrary, Debug)]
enum What {
    Directory,
    File(File),
    Symlink(u16),
    SymlinkTo(Vec<u8>),
    CharDevice(u32, u32),
    BlockDevice(u16, u32),
    Fifo,
    Socket,
    Link(u8),
    /// A directory of many names of about the same length.
    Crowd(u16, u8),
}

#[derive(Arbitrary, Debug)]
struct File {
    /// Gaps and lengths of data, in bytes.
    pieces: Vec<(Gap, u16)>,
    behind: Gap,
    whole: bool,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Gap {
    None,
    Bytes(u16),
    Blocks(u16),
    Far(u8),
}

#[derive(Arbitrary, Debug)]
struct Attributes {
    permissions: u16,
    uid: u32,
    gid: u32,
    times: [(i64, u32); 3],
    flags: u32,
    xattrs: Vec<(u8, u8, u16)>,
}

/// A tree and its image.
pub struct Made {
    pub image: Memory,
    pub tree: Tree,
    pub layout: Layout,
}

/// Checks the tree that `bytes` stand for, and hands back its image if it is not refused.
pub fn run(bytes: &[u8]) -> Option<Made> {
    let input: Input = super::value(bytes)?;
    let tree = Planter::plant(&input)?;
    let mut options = input.options.get();
    options.lazy_itable_init(input.options.lazy);
    let settings = options.resolve(&host()).ok()?.settings;
    let geometry = Geometry::new(&settings).ok()?;
    if geometry.blocks_count * geometry.block_size.bytes_u64() > MOST_BYTES {
        return None;
    }
    let layout = match Layout::new(&settings, geometry, &tree) {
        Ok(layout) => layout,
        Err(error) => {
            assert!(!matches!(error, LayoutError::Claim(_)), "{error}");
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    check_layout(&settings, &layout);
    let storage = if input.options.dirty {
        Storage::OldData
    } else {
        Storage::Zeros
    };
    let image = image::render(&settings, &layout, &tree, storage);
    image::check(&image, &settings, &layout);
    check_image(&image);
    if !layout.geometry.features.has(Feature::JournalDev) {
        read_back::check(&image, &tree, &layout);
    }
    let image = Arc::new(image);
    if !input.odd_times && is_known(&layout) {
        let view = Ext4::load(Box::new(Reader(Arc::clone(&image)))).expect("the image is sound");
        let comparison = Comparison {
            view,
            tree: &tree,
            settings: &settings,
        };
        comparison.directory(NodeId::ROOT, b"/");
    }
    Some(Made {
        image: Arc::into_inner(image).expect("the view is gone"),
        tree,
        layout,
    })
}

/// Our own checker finds nothing, but for what mke2fs does not count either: the blocks of the orphan
/// file's extent tree.
fn check_image(image: &Memory) {
    let mut orphan_file = [0; 4];
    let read = image.read_at(1024 + 0x280, &mut orphan_file);
    read.expect("memory does not fail");
    let orphan_file = Some(Ino::new(u32::from_le_bytes(orphan_file)));
    let report = check_with(image, &CheckOptions::default());
    let is_known = |finding: &Finding| {
        let is_orphan_file = finding.location.inode == orphan_file;
        is_orphan_file
            && matches!(
                finding.kind,
                FindingKind::Value {
                    what: "i_blocks",
                    ..
                }
            )
    };
    let odd: Vec<&Finding> = report.findings.iter().filter(|it| !is_known(it)).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

/// Whether ext4-view knows all that it needs of a filesystem.
fn is_known(layout: &Layout) -> bool {
    let features = layout.geometry.features;
    // It wants the high half of checksums, for which the smallest inodes have no room.
    let is_small = layout.geometry.inode_size == 128 && features.has(Feature::MetadataCsum);
    let known = UNKNOWN.iter().all(|feature| !features.has(*feature));
    known && features.has(Feature::Filetype) && !is_small
}

impl Wishes {
    fn get(&self) -> Options {
        let mut options = Options::new();
        let bytes =
            (u64::from(self.mebibytes % 64) << 20) + (u64::from(self.extra_kibibytes) << 10);
        let block_size = 1024 << (self.log_block_size % 4);
        options
            .size(Size::Bytes(bytes))
            .block_size(block_size)
            .inode_size(128 << (self.log_inode_size % 4))
            .force()
            .discard(!self.dirty);
        let seed = u128::from(self.hash_seed) << 32 | 1;
        options.hash_seed(seed.to_le_bytes());
        options.fs_type(match self.kind % 8 {
            0 => "ext2",
            1 => "ext3",
            _ => "ext4",
        });
        for (number, with) in &self.features {
            let feature = Feature::ALL[usize::from(*number) % Feature::ALL.len()];
            if *with {
                options.with_feature(feature)
            } else {
                options.without_feature(feature)
            };
        }
        if let Some(log) = self.log_cluster {
            options.cluster_size(block_size << (log % 6));
        }
        if let Some(inodes) = self.inodes {
            options.inodes_count(inodes.into());
        }
        if let Some(blocks) = self.blocks_per_group {
            options.blocks_per_group(256 + 8 * u32::from(blocks));
        }
        options
    }
}

struct Planter {
    tree: Tree,
    directories: Vec<NodeId>,
    others: Vec<NodeId>,
    names: usize,
    data: u64,
    odd_times: bool,
}

impl Planter {
    fn plant(input: &Input) -> Option<Tree> {
        let mut planter = Self {
            tree: Tree::with_root(Metadata::default()),
            directories: vec![NodeId::ROOT],
            others: Vec::new(),
            names: 0,
            data: 0,
            odd_times: input.odd_times,
        };
        let metadata = planter.metadata(&input.root);
        planter
            .tree
            .set_metadata(NodeId::ROOT, metadata)
            .expect("it is the tree's own");
        planter.attributes(NodeId::ROOT, &input.root);
        for declaration in &input.declarations {
            planter.declare(declaration)?;
        }
        planter.tree.finish().ok()?;
        Some(planter.tree)
    }

    fn declare(&mut self, declaration: &Declaration) -> Option<()> {
        let parent = self.directories[usize::from(declaration.parent) % self.directories.len()];
        let name = declaration.name.get();
        let metadata = self.metadata(&declaration.attributes);
        self.names += 1;
        if self.names > MOST_NAMES {
            return None;
        }
        let tree = &mut self.tree;
        let made = match &declaration.what {
            What::Directory => tree.directory_at(parent, &name, metadata),
            What::File(file) => {
                let content = file.content(u64::try_from(self.names).unwrap_or(0));
                self.data += content
                    .data_ranges()
                    .map(|data| data.end - data.start)
                    .sum::<u64>();
                if self.data > MOST_DATA {
                    return None;
                }
                tree.file_at(parent, &name, metadata, content)
            }
            What::Symlink(length) => {
                let target = vec![b't'; usize::from(length % 9000)];
                tree.symlink_at(parent, &name, metadata, &target)
            }
            What::SymlinkTo(target) => tree.symlink_at(parent, &name, metadata, target),
            What::CharDevice(major, minor) => {
                let device = Device {
                    major: *major,
                    minor: *minor,
                };
                tree.special_at(parent, &name, metadata, Special::CharDevice(device))
            }
            What::BlockDevice(major, minor) => {
                let device = Device {
                    major: (*major).into(),
                    minor: *minor,
                };
                tree.special_at(parent, &name, metadata, Special::BlockDevice(device))
            }
            What::Fifo => tree.special_at(parent, &name, metadata, Special::Fifo),
            What::Socket => tree.special_at(parent, &name, metadata, Special::Socket),
            What::Link(to) => {
                let to = self.others.get(usize::from(*to) % self.others.len().max(1));
                return tree.link_at(parent, &name, *to?).ok();
            }
            What::Crowd(count, length) => {
                let directory = tree.directory_at(parent, &name, metadata).ok()?;
                return self.crowd(directory, *count, *length);
            }
        };
        let node = made.ok()?;
        match declaration.what {
            What::Directory => self.directories.push(node),
            _ => self.others.push(node),
        }
        self.attributes(node, &declaration.attributes);
        Some(())
    }

    fn crowd(&mut self, directory: NodeId, count: u16, length: u8) -> Option<()> {
        self.directories.push(directory);
        self.names += usize::from(count);
        if self.names > MOST_NAMES {
            return None;
        }
        for number in 0..count {
            let name = Name::Long(length, number).get();
            let metadata = Metadata::default();
            let tree = &mut self.tree;
            tree.special_at(directory, &name, metadata, Special::Fifo)
                .ok()?;
        }
        Some(())
    }

    fn metadata(&self, attributes: &Attributes) -> Metadata {
        let [atime, mtime, ctime] = attributes.times.map(|(seconds, nanoseconds)| Timestamp {
            // ext4-view takes the low 32 bits of the seconds for a number without sign.
            seconds: if self.odd_times {
                seconds
            } else {
                seconds & 0x3_7fff_ffff
            },
            nanoseconds: nanoseconds % 1_000_000_000,
        });
        let mut metadata = Metadata::default()
            .with_permissions(attributes.permissions & 0o7777)
            .with_owner(attributes.uid, attributes.gid)
            .with_flags(Flags::of(attributes.flags));
        (metadata.atime, metadata.mtime, metadata.ctime) = (atime, mtime, ctime);
        metadata
    }

    fn attributes(&mut self, node: NodeId, attributes: &Attributes) {
        let mut xattrs: Vec<_> = attributes
            .xattrs
            .iter()
            .map(|(kind, name, length)| {
                let prefix = ["user.", "trusted.", "security."][usize::from(kind % 3)];
                Xattr {
                    name: format!("{prefix}{name}").into_bytes(),
                    value: vec![*name; usize::from(length % 600)],
                }
            })
            .collect();
        // A tree refuses two of one name; the first of them is kept.
        xattrs.sort_by(|one: &Xattr, other: &Xattr| one.name.cmp(&other.name));
        xattrs.dedup_by(|one, other| one.name == other.name);
        self.tree
            .set_xattrs(node, xattrs)
            .expect("each has a name of its own");
    }
}

impl Name {
    fn get(&self) -> Vec<u8> {
        match self {
            Self::Short(number) => format!("{number:x}").into_bytes(),
            Self::Long(length, number) => {
                let mut name = format!("{number:x}").into_bytes();
                name.resize(name.len().max(usize::from(*length)), b'_');
                name
            }
            Self::Bytes(bytes) => bytes.clone(),
            Self::LostFound => b"lost+found".to_vec(),
        }
    }
}

impl Gap {
    fn bytes(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.into(),
            Self::Blocks(blocks) => u64::from(blocks) << 12,
            Self::Far(log) => 1 << (log % 42),
        }
    }
}

impl File {
    fn content(&self, key: ContentKey) -> Content {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut at = 0_u64;
        for (gap, length) in &self.pieces {
            at += gap.bytes();
            let end = at + u64::from(*length);
            match ranges.last_mut() {
                Some(last) if last.end == at => last.end = end,
                _ if *length > 0 => ranges.push(at..end),
                _ => {}
            }
            at = end;
        }
        let size_bytes = at + self.behind.bytes();
        let is_short = size_bytes < MOST_DATA;
        let content = Content::new(size_bytes, Arc::new(Pattern), key);
        if self.whole && is_short {
            content
        } else {
            content.with_data(DataMap::Ranges(ranges.into()))
        }
    }
}

/// An image that ext4-view reads.
struct Reader(Arc<Memory>);

impl Ext4Read for Reader {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        Ok(self.0.read_at(start_byte, dst)?)
    }
}

struct Comparison<'a> {
    view: Ext4,
    tree: &'a Tree,
    settings: &'a Settings,
}

impl Comparison<'_> {
    /// Compares the directory at `path` and all below it.
    fn directory(&self, id: NodeId, path: &[u8]) {
        let mut pending = vec![(id, path.to_vec())];
        while let Some((id, path)) = pending.pop() {
            let found = self.names(&path);
            let entries = self.tree.entries(id);
            let made = usize::from(id == NodeId::ROOT && entries.search(b"lost+found").is_err());
            assert_eq!(found.len(), entries.len() + made, "names of {path:?}");
            for entry in entries {
                let node = self.tree.node(entry.node);
                assert_eq!(found.get(entry.name), Some(&file_type(node)));
                let mut path = path.clone();
                if path != b"/" {
                    path.push(b'/');
                }
                path.extend(entry.name);
                self.node(node, &path);
                if matches!(node.kind, Kind::Directory(_)) {
                    pending.push((entry.node, path));
                }
            }
        }
    }

    fn names(&self, path: &[u8]) -> BTreeMap<Box<[u8]>, FileType> {
        let entries = self.view.read_dir(Path::new(path)).expect("a directory");
        entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                let name: &[u8] = &[entry.file_name().as_ref()].concat();
                (name.into(), entry.file_type().expect("a type"))
            })
            .filter(|(name, _): &(Box<[u8]>, _)| &**name != b"." && &**name != b"..")
            .collect()
    }

    fn node(&self, node: &Node, path: &[u8]) {
        let path = Path::new(path);
        let found = self.view.symlink_metadata(path).expect("metadata");
        let expected = &node.metadata;
        assert_eq!(found.file_type(), file_type(node));
        assert_eq!(found.mode(), expected.permissions);
        assert_eq!((found.uid(), found.gid()), (expected.uid, expected.gid));
        for (found, expected) in [
            (found.accessed(), expected.atime),
            (found.modified(), expected.mtime),
        ] {
            assert_eq!((found.seconds(), found.nanoseconds()), self.kept(expected));
        }
        match &node.kind {
            Kind::File(content) => {
                assert_eq!(found.len(), content.size_bytes());
                if self.reads(content) {
                    self.content(content, path);
                }
            }
            Kind::Symlink(target) => {
                assert_eq!(found.len(), u64::try_from(target.len()).expect("short"));
                if let Ok(expected) = PathBuf::try_from(&target[..]) {
                    let found = self.view.read_link(path).expect("a target");
                    assert!(found == expected, "{found:?} for {expected:?}");
                }
            }
            _ => {}
        }
    }

    /// Whether ext4-view can read the content: it walks every block on its way, and in a block map
    /// takes a missing indirect block for block 0.
    fn reads(&self, content: &Content) -> bool {
        let blocks = content.size_bytes() / self.settings.block_size().bytes_u64();
        let is_whole = content.data() == &DataMap::Whole;
        let in_extents = self.settings.features().has(Feature::Extent);
        blocks < MOST_BLOCKS && (in_extents || is_whole || blocks < 12)
    }

    /// A time as inodes of this size keep it.
    fn kept(&self, time: Timestamp) -> (i64, u32) {
        match self.settings.inode_size() {
            128 => (time.seconds.min(i64::from(i32::MAX)), 0),
            _ => (time.seconds, time.nanoseconds),
        }
    }

    /// Reads the data and the bytes around it.
    fn content(&self, content: &Content, path: Path<'_>) {
        let mut file = self.view.open(path).expect("a file");
        let near =
            |range: Range<u64>| range.start.saturating_sub(5000)..range.end.saturating_add(5000);
        let parts = content
            .data_ranges()
            .map(near)
            .chain(std::iter::once(0..9000));
        for part in parts {
            let end = part.end.min(content.size_bytes());
            let mut at = part.start;
            file.seek_to(at).expect("a place in the file");
            let mut bytes = [0; 4096];
            while at < end {
                let read = file.read_bytes(&mut bytes).expect("readable");
                assert!(read > 0, "{path:?} ends at {at} of {end}");
                for (byte, place) in bytes[..read].iter().zip(at..) {
                    assert_eq!(
                        *byte,
                        expected_byte(content, place),
                        "byte {place} of {path:?}"
                    );
                }
                at += u64::try_from(read).expect("short");
            }
        }
    }
}

fn file_type(node: &Node) -> FileType {
    match node.kind {
        Kind::Directory(_) => FileType::Directory,
        Kind::File(_) => FileType::Regular,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::CharDevice(_) => FileType::CharacterDevice,
        Kind::BlockDevice(_) => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    }
}
