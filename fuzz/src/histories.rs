//! Given a tree and what becomes of it step by step, checks that an image made with the one before as its
//! base is sound, holds what one without a base holds, and made once more is the same byte for byte; and that the
//! one before becomes the same in place, whether or not its sources say which files are unchanged, unless the disk is
//! full: then nothing is left that can be opened, and an image made there holds what it is to hold.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use mke4fs::check::{CheckOptions, Finding, FindingKind, check_with};
use mke4fs::diff::{Attribute, diff};
use mke4fs::feature::Feature;
use mke4fs::options::{Environment, Options, Size};
use mke4fs::raw::ondisk::dirhash::{DirHasher, HashVersion, Signedness};
use mke4fs::raw::units::{Ino, Timestamp};
use mke4fs::read::{Filesystem, Inode};
use mke4fs::sink::{Memory, ReadAt, Sink};
use mke4fs::tree::{Access, ContentKey, ContentReader, ContentSource, DataMap, NodeId, Tree};
use mke4fs::{Base, Builder, Image, Metadata, Source};

/// How many files there are at most.
const MOST_FILES: usize = 3000;
/// How many bytes of data there are at most.
const MOST_DATA: usize = 6 << 20;
/// How many steps a history has at most.
const MOST_STEPS: usize = 10;
/// The hash seed of all images.
const HASH_SEED: [u8; 16] = *b"histories' seed.";
/// Among how many names those are looked for that hash alike.
const HASHED_NAMES: u64 = 400_000;
/// The features that are switched on or off.
const FEATURES: [Feature; 16] = [
    Feature::HasJournal,
    Feature::Extent,
    Feature::DirIndex,
    Feature::InlineData,
    Feature::EaInode,
    Feature::Bigalloc,
    Feature::Quota,
    Feature::MetadataCsum,
    Feature::FlexBg,
    Feature::SixtyFourBit,
    Feature::OrphanFile,
    Feature::Mmp,
    Feature::Casefold,
    Feature::LargeDir,
    Feature::ResizeInode,
    Feature::SparseSuper2,
];

#[derive(Arbitrary, Debug)]
struct Input {
    log_block_size: u8,
    log_inode_size: u8,
    mebibytes: u8,
    features: Vec<(u8, bool)>,
    inodes: Option<u16>,
    first: Changes,
    steps: Steps,
}

/// As many changes as their number says, if there are bytes for them.
#[derive(Debug)]
struct Changes(Vec<Change>);

#[derive(Debug)]
struct Steps(Vec<Changes>);

impl<'a> Arbitrary<'a> for Changes {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let many = u8::arbitrary(bytes)? % 40;
        let changes = (0..many).map_while(|_| {
            let is_left = !bytes.is_empty();
            is_left.then(|| Change::arbitrary(bytes))
        });
        changes.collect::<arbitrary::Result<_>>().map(Self)
    }
}

impl<'a> Arbitrary<'a> for Steps {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let steps = (0..MOST_STEPS).map_while(|_| {
            let is_left = !bytes.is_empty();
            is_left.then(|| Changes::arbitrary(bytes))
        });
        steps.collect::<arbitrary::Result<_>>().map(Self)
    }
}

#[derive(Arbitrary, Debug, Clone)]
enum Change {
    Put(Path, What, Attributes),
    Resize(u16, u32),
    Touch(u16, Attributes),
    Remove(u16),
    /// Many small files in one directory; of every eighth crowd the names hash alike, two and two.
    Crowd(u8, u16, u8),
    Link(u16, Path),
}

#[derive(Arbitrary, Debug, Clone)]
struct Path {
    directory: u8,
    name: u16,
    length: u8,
}

#[derive(Arbitrary, Debug, Clone)]
enum What {
    Directory,
    File(u16),
    Large(u8),
    Holes(u8),
    Symlink(u8),
    Fifo,
}

#[derive(Arbitrary, Debug, Clone, Default, PartialEq, Eq)]
struct Attributes {
    mode: u16,
    owner: u8,
    time: u16,
    atime: u16,
    xattrs: Vec<(u8, u8, u16)>,
}

/// What there is at a path.
#[derive(Clone)]
enum Entry {
    Directory(Attributes),
    File(Vec<u8>, Attributes),
    Holes(u8, Attributes),
    Symlink(Vec<u8>, Attributes),
    Fifo(Attributes),
    Link(Vec<u8>),
}

/// What was made of a history.
pub struct Made {
    /// How many steps it had.
    pub steps: usize,
    /// How many images were made.
    pub images: usize,
    /// How long making them took, without what was found out about them.
    pub making: Duration,
}

/// Checks the history that `bytes` stand for, and shows the image after each step to `judge`; none where the first
/// image is refused.
pub fn run(bytes: &[u8], mut judge: impl FnMut(&[u8])) -> Option<Made> {
    let input: Input = super::value(bytes)?;
    let mut history = History {
        options: input.options(),
        entries: BTreeMap::new(),
        data: 0,
        counter: 0,
        before: BTreeMap::new(),
        made: Made {
            steps: 0,
            images: 0,
            making: Duration::ZERO,
        },
    };
    history.apply(&input.first.0);
    history.before = history.files();
    let mut old = history.build(None).ok()?;
    check_image(&old);
    judge(&old);
    same(&old, history.build(Some(&old)));
    for step in &input.steps.0 {
        history.apply(&step.0);
        if let Some(new) = history.step(&old) {
            judge(&new);
            old = new;
        }
        history.made.steps += 1;
    }
    Some(history.made)
}

/// A disk that is full once `left` bytes were written to it.
struct Full<'a> {
    disk: &'a Memory,
    left: AtomicU64,
}

impl Sink for Full<'_> {
    fn size_bytes(&self) -> u64 {
        Sink::size_bytes(self.disk)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let wanted = bytes.len() as u64;
        let took = |left: u64| left.checked_sub(wanted);
        if self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, took)
            .is_err()
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.write_at(offset, bytes)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.disk.zero(offset, length)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.disk.discard(offset, length)
    }

    fn discard_zeroes(&self) -> bool {
        self.disk.discard_zeroes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        Sink::read_at(self.disk, offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
}

impl ReadAt for Full<'_> {
    fn size_bytes(&self) -> u64 {
        Sink::size_bytes(self.disk)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        Sink::read_at(self.disk, offset, buffer)
    }
}

/// Names of 120 letters of which each two hash alike in half MD4.
fn names_alike() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let hasher = DirHasher::new(HashVersion::HalfMd4, Signedness::Signed, HASH_SEED);
        let name = |number: u64| format!("{number:0120}");
        let mut seen = HashMap::new();
        (0..HASHED_NAMES)
            .filter_map(|number| {
                let hash = hasher.hash(name(number).as_bytes()).major;
                let first = seen.insert(hash, number)?;
                Some([name(first), name(number)])
            })
            .flatten()
            .collect()
    })
}

/// File data of which the source may know where the image before has it.
struct Held {
    bytes: Vec<u8>,
    ino: Option<Ino>,
}

impl ContentSource for Held {
    fn open(&self, _key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        Ok(Box::new(HeldReader(&self.bytes)))
    }

    fn access(&self, _key: ContentKey) -> Access {
        Access::Anywhere
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        b"data of a history".to_vec()
    }

    fn unchanged(&self, _key: ContentKey) -> Option<Ino> {
        self.ino
    }
}

struct HeldReader<'a>(&'a [u8]);

impl ContentReader for HeldReader<'_> {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An image made once more, with itself as its base, is the same.
fn same(old: &[u8], new: Result<Vec<u8>, mke4fs::Error>) {
    let new = new.expect("it fits as before");
    let blocks = old.chunks(1024).zip(new.chunks(1024));
    let differing = blocks.enumerate().filter(|(_, (old, new))| old != new);
    let differing: Vec<usize> = differing.map(|(number, _)| number).collect();
    let features = Filesystem::open(old)
        .expect("it is sound")
        .superblock()
        .features();
    assert!(
        differing.is_empty() && old.len() == new.len(),
        "KiB that differ: {differing:?}; {features:?}"
    );
}

/// Our own checker finds nothing, but for what mke2fs does not count either: the blocks of the orphan file's
/// extent tree.
fn check_image(image: &[u8]) {
    let orphan_file = image
        .get(1024 + 0x280..)
        .and_then(|rest| rest.first_chunk());
    let orphan_file = orphan_file.map(|bytes| Ino::new(u32::from_le_bytes(*bytes)));
    let report = check_with(image, &CheckOptions::default());
    let is_known = |finding: &Finding| {
        let what = "i_blocks";
        let is_count = matches!(finding.kind, FindingKind::Value { what: it, .. } if it == what);
        finding.location.inode == orphan_file && is_count
    };
    let odd: Vec<&Finding> = report.findings.iter().filter(|it| !is_known(it)).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

/// Both images hold the same, but for the atime.
fn compare(plain: &[u8], new: &[u8]) {
    let read = |image: &[u8]| {
        let filesystem = Filesystem::open(image.to_vec()).expect("it is sound");
        let mut tree = Tree::with_root(Metadata::default());
        let mut source = Image::reading(Arc::new(filesystem), "image");
        let declared = source
            .declare(&mut tree, NodeId::ROOT)
            .expect("it is sound");
        let root = declared.root.expect("it has a root");
        tree.set_metadata(NodeId::ROOT, root)
            .expect("it is its own");
        tree.finish().expect("it is a tree");
        tree
    };
    let (plain, new) = (read(plain), read(new));
    let found = diff(&plain, &new).expect("both can be read");
    let odd: Vec<String> = found
        .iter()
        .filter(|it| it.finding.attribute() != Some(Attribute::Atime))
        .map(|it| format!("{it:?}"))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}

impl Input {
    fn options(&self) -> Options {
        let mut options = Options::new();
        options
            .size(Size::Bytes(u64::from(2 + self.mebibytes % 63) << 20))
            .hash_seed(HASH_SEED)
            .block_size(1024 << (self.log_block_size % 3))
            .inode_size(
                128 << (self.log_inode_size % 2 + u8::from(!self.log_inode_size.is_multiple_of(5))),
            )
            .force();
        for (number, with) in &self.features {
            let feature = FEATURES[usize::from(*number) % FEATURES.len()];
            if *with {
                options.with_feature(feature)
            } else {
                options.without_feature(feature)
            };
        }
        if let Some(inodes) = self.inodes {
            options.inodes_count(u64::from(inodes) + 16);
        }
        options
    }
}

struct History {
    options: Options,
    entries: BTreeMap<Vec<u8>, Entry>,
    data: usize,
    counter: u64,
    /// What the files of the image before hold.
    before: BTreeMap<Vec<u8>, Vec<u8>>,
    made: Made,
}

impl Path {
    fn get(&self, history: &History) -> Vec<u8> {
        let mut path = history.directory(self.directory);
        path.push(b'/');
        let name = format!("{}", self.name % 400);
        path.extend_from_slice(name.as_bytes());
        if self.length > 200 {
            path.resize(path.len() + usize::from(self.length - 10), b'l');
        }
        path
    }
}

impl History {
    /// The image that the one before becomes; none where it does not fit.
    fn step(&mut self, old: &[u8]) -> Option<Vec<u8>> {
        let plain = self.build(None);
        let new = self.build(Some(old));
        let Ok(plain) = plain else {
            assert!(new.is_err(), "a base makes nothing fit");
            return None;
        };
        let new = match new {
            Ok(new) => new,
            // How many inodes there are is the base's.
            Err(error) => {
                let has_more = inodes_count(&plain) > inodes_count(old);
                assert!(has_more, "it fits without a base: {error}");
                return None;
            }
        };
        check_image(&new);
        compare(&plain, &new);
        for knows in [false, true] {
            self.update(old, &new, knows);
        }
        self.fill(old, &new, &plain);
        self.before = self.files();
        let again = self.build(Some(&new));
        same(&new, again);
        Some(new)
    }

    /// The old image becomes the new one in place, and no more is written than that takes; where the sources say
    /// which files are unchanged if they know.
    fn update(&mut self, old: &[u8], new: &[u8], knows: bool) {
        let memory = holding(old);
        let filesystem = Filesystem::open(old).expect("it is sound");
        let known = knows.then_some(&filesystem);
        let builder = self.builder(self.tree_of(known));
        let summary = self.timed(|| builder.update(&memory));
        let summary = summary.expect("it fits as a base does");
        let updated = memory.into_bytes().expect("there is room");
        assert!(
            updated == new,
            "an update makes what a base does; sources know: {knows}"
        );
        let block = summary.block_size as usize;
        let differing = old
            .chunks(block)
            .zip(new.chunks(block))
            .filter(|(old, new)| old != new);
        let differing = differing.count() as u64;
        let written = summary.update.expect("it was updated").blocks_written;
        // The superblock is written again if anything is.
        assert!(
            (differing..=differing + u64::from(differing > 0)).contains(&written),
            "{written} blocks written, {differing} differ"
        );
    }

    /// An update of the old image on a disk that gets full leaves nothing that can be opened if it wrote anything;
    /// and an image made there anew is what it is elsewhere.
    fn fill(&mut self, old: &[u8], new: &[u8], plain: &[u8]) {
        let differing = old.iter().zip(new).filter(|(old, new)| old != new);
        let differing = differing.count() as u64;
        self.counter += 1;
        let left = self.counter.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (differing + 4096);
        let memory = holding(old);
        let disk = Full {
            disk: &memory,
            left: AtomicU64::new(left),
        };
        let builder = self.builder(self.tree());
        let result = self.timed(|| builder.update(&disk));
        let left = bytes_of(&memory);
        if result.is_ok() {
            assert!(left == new, "there was room");
            return;
        }
        assert!(
            left == old || Filesystem::open(&left[..]).is_err(),
            "an update that failed left what can be opened"
        );
        let builder = self.builder(self.tree());
        let summary = self.timed(|| builder.write_to(&memory));
        summary.expect("it fits");
        let bytes = memory.into_bytes().expect("there is room");
        check_image(&bytes);
        compare(plain, &bytes);
    }

    /// Does what makes an image, and counts it.
    fn timed<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let made = work();
        self.made.images += 1;
        self.made.making += begun.elapsed();
        made
    }

    /// The path of one of the directories, without a slash behind; empty for the root.
    fn directory(&self, number: u8) -> Vec<u8> {
        let directories: Vec<&Vec<u8>> = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Directory(_)))
            .map(|(path, _)| path)
            .collect();
        match usize::from(number) % (directories.len() + 1) {
            0 => Vec::new(),
            at => directories[at - 1].clone(),
        }
    }

    fn path_at(&self, number: u16) -> Option<Vec<u8>> {
        let at = usize::from(number) % self.entries.len().max(1);
        self.entries.keys().nth(at).cloned()
    }

    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.change(change);
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let length = length.min(MOST_DATA.saturating_sub(self.data));
        self.data += length;
        self.counter += 1;
        let mut state = self.counter;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn change(&mut self, change: &Change) {
        if self.entries.len() > MOST_FILES {
            return;
        }
        match change {
            Change::Put(path, what, attributes) => self.put(path, what, attributes.clone()),
            Change::Resize(number, length) => {
                let length = usize::try_from(length % 300_000).unwrap_or(0);
                let bytes = self.bytes(length);
                let path = self.path_at(*number);
                if let Some(Entry::File(data, _)) =
                    path.and_then(|path| self.entries.get_mut(&path))
                {
                    *data = bytes;
                }
            }
            Change::Touch(number, new) => {
                let path = self.path_at(*number);
                match path.and_then(|path| self.entries.get_mut(&path)) {
                    Some(
                        Entry::Directory(old)
                        | Entry::File(_, old)
                        | Entry::Holes(_, old)
                        | Entry::Symlink(_, old)
                        | Entry::Fifo(old),
                    ) => *old = new.clone(),
                    Some(Entry::Link(_)) | None => {}
                }
            }
            Change::Remove(number) => {
                if let Some(path) = self.path_at(*number) {
                    self.remove(&path);
                }
            }
            Change::Crowd(directory, many, length) => {
                let directory = self.directory(*directory);
                for number in 0..many % 700 {
                    let mut path = directory.clone();
                    path.push(b'/');
                    if many % 8 == 7 {
                        let names = names_alike();
                        let name = usize::from(number) % names.len();
                        path.extend_from_slice(names[name].as_bytes());
                    } else {
                        path.extend_from_slice(format!("crowd{many}-{number}").as_bytes());
                        path.resize(path.len() + usize::from(length % 60), b'c');
                    }
                    let attributes = Attributes::default();
                    self.entries
                        .entry(path)
                        .or_insert_with(|| Entry::File(vec![1; 3], attributes));
                }
            }
            Change::Link(number, path) => {
                let path = path.get(self);
                if let Some(target) = self.path_at(*number)
                    && matches!(self.entries.get(&target), Some(Entry::File(..)))
                {
                    self.entries.entry(path).or_insert(Entry::Link(target));
                }
            }
        }
    }

    fn put(&mut self, path: &Path, what: &What, attributes: Attributes) {
        let path = path.get(self);
        self.remove(&path);
        let entry = match what {
            What::Directory => Entry::Directory(attributes),
            What::File(length) => Entry::File(self.bytes((*length).into()), attributes),
            What::Large(length) => Entry::File(self.bytes(usize::from(*length) * 5000), attributes),
            What::Holes(many) => Entry::Holes(*many, attributes),
            What::Symlink(length) => {
                Entry::Symlink(vec![b't'; usize::from(*length) + 1], attributes)
            }
            What::Fifo => Entry::Fifo(attributes),
        };
        self.entries.insert(path, entry);
    }

    /// Removes what is at a path and below it, and links to what goes.
    fn remove(&mut self, path: &[u8]) {
        let below = |it: &[u8]| {
            it.strip_prefix(path)
                .is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        self.entries.retain(|it, _| it != path && !below(it));
        let there: Vec<Vec<u8>> = self.entries.keys().cloned().collect();
        self.entries.retain(|_, entry| match entry {
            Entry::Link(target) => there.binary_search(target).is_ok(),
            _ => true,
        });
    }

    /// What the files hold now.
    fn files(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let files = self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File(data, _) => Some((path.clone(), data.clone())),
            _ => None,
        });
        files.collect()
    }

    /// The data of a file, and where `known` has it if that is the image before and it is unchanged.
    fn content(&self, path: &[u8], data: &[u8], known: Option<&Filesystem<'_>>) -> mke4fs::Content {
        let is_same = self.before.get(path).is_some_and(|before| before == data);
        let known = known.filter(|_| is_same);
        let inode = known.and_then(|known| known.symlink_metadata(path).ok());
        let ino = inode.filter(Inode::is_file).map(|inode| inode.ino());
        let held = Held {
            bytes: data.to_vec(),
            ino,
        };
        mke4fs::Content::new(data.len() as u64, Arc::new(held), 0)
    }

    fn tree(&self) -> Tree {
        self.tree_of(None)
    }

    /// The tree, whose files say which inodes of `known` hold what they hold.
    fn tree_of(&self, known: Option<&Filesystem<'_>>) -> Tree {
        let mut tree = Tree::default();
        let mut links = Vec::new();
        for (path, entry) in &self.entries {
            let attributes = match entry {
                Entry::Directory(attributes) => {
                    let made = tree.directory(path).expect("it can be there");
                    made.metadata(attributes.metadata());
                    attributes
                }
                Entry::File(data, attributes) => {
                    let content = self.content(path, data, known);
                    let made = tree.file(path, content).expect("it can be there");
                    made.metadata(attributes.metadata());
                    attributes
                }
                Entry::Holes(many, attributes) => {
                    let holes = holes(*many);
                    let made = tree.file(path, holes).expect("it can be there");
                    made.metadata(attributes.metadata());
                    attributes
                }
                Entry::Symlink(target, attributes) => {
                    let made = tree.symlink(path, target).expect("it can be there");
                    made.metadata(attributes.metadata());
                    attributes
                }
                Entry::Fifo(attributes) => {
                    let fifo = mke4fs::tree::Special::Fifo;
                    let made = tree.special(path, fifo).expect("it can be there");
                    made.metadata(attributes.metadata());
                    attributes
                }
                Entry::Link(target) => {
                    links.push((path, target));
                    continue;
                }
            };
            let id = tree.find(path).ok().flatten().expect("it is there");
            tree.set_xattrs(id, attributes.xattrs())
                .expect("it is its own");
        }
        for (path, target) in links {
            tree.link(path, target).expect("its target is there");
        }
        tree
    }

    fn builder(&self, tree: Tree) -> Builder {
        Builder::from_options(self.options.clone())
            .environment(Environment::fixed(1_700_000_000))
            .source(tree)
    }

    /// The image with `base` as its base, or why it is refused.
    fn build(&mut self, base: Option<&[u8]>) -> Result<Vec<u8>, mke4fs::Error> {
        let builder = self.builder(self.tree());
        self.timed(|| {
            let builder = match base {
                Some(base) => builder.base(Base::read(base).expect("we made it")),
                None => builder,
            };
            builder.to_vec()
        })
    }
}

fn inodes_count(image: &[u8]) -> u32 {
    let filesystem = Filesystem::open(image).expect("it is sound");
    filesystem.superblock().inodes_count()
}

/// Storage that holds an image.
fn holding(image: &[u8]) -> Memory {
    let memory = Memory::new(image.len() as u64);
    memory.write_at(0, image).expect("there is room");
    memory
}

/// All bytes that storage holds.
fn bytes_of(memory: &Memory) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(Sink::size_bytes(memory)).unwrap_or(0)];
    Sink::read_at(memory, 0, &mut bytes).expect("they are there");
    bytes
}

/// A file of pieces with holes between them.
fn holes(many: u8) -> mke4fs::Content {
    let pieces = (0..u64::from(many)).map(|number| number * 9000..number * 9000 + 700);
    let pieces: Vec<_> = pieces.collect();
    let size = usize::from(many) * 9000;
    let content = mke4fs::Content::from_bytes(vec![many; size]);
    content.with_data(DataMap::Ranges(pieces.into()))
}

impl Attributes {
    fn metadata(&self) -> Metadata {
        let time = |seconds: u16| Timestamp::from_seconds(1_600_000_000 + i64::from(seconds));
        let mut metadata = Metadata::default()
            .with_permissions(self.mode & 0o7777)
            .with_owner(self.owner.into(), (self.owner / 2).into())
            .with_time(time(self.time));
        metadata.atime = time(self.atime);
        metadata
    }

    fn xattrs(&self) -> Vec<mke4fs::tree::Xattr> {
        let xattrs = self.xattrs.iter().take(3).map(|(name, value, length)| {
            let name = format!("user.{}", name % 5).into_bytes();
            let length = usize::from(length % 3000);
            (name, vec![*value; length])
        });
        let named: BTreeMap<Vec<u8>, Vec<u8>> = xattrs.collect();
        let named = named.into_iter();
        named
            .map(|(name, value)| mke4fs::tree::Xattr { name, value })
            .collect()
    }
}
