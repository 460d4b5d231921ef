//! Given a directory's names, gives its blocks: how many, and any one of them rendered; never their place.
//!
//! A directory that fits one block is linear. One that does not is a hash tree where the filesystem
//! has them (`dir_index`): block 0 is the root, index nodes follow from the top level down, then the
//! leaves, all of them full, in the order of their names' hashes as `e2fsck -D` leaves them. One that
//! not even the deepest hash tree can hold is linear. So is one that folds case where no name of a leaf
//! has a folded form.
//!
//! A plan holds one number per name and one pair per leaf, so that any block can be rendered alone,
//! in any order and by any thread, once inode numbers are known.

mod kept_leaves;

use std::fmt;
use std::mem::offset_of;
use std::ops::Range;

use bytemuck::bytes_of;

use super::levels::{Fanout, Levels};
use crate::base;
use crate::ondisk::casefold::fold;
use crate::ondisk::dir::{
    BlockFormat, DOT_BYTES, DirEntry, DxCountLimit, DxEntry, DxRoot, DxRootInfo, FileType,
    IndexExtent, entry_bytes, rec_len,
};
use crate::ondisk::dirhash::{DirHasher, HashVersion};
use crate::ondisk::int::{Le16, Le32};
use crate::units::{BlockSize, Ino};
use kept_leaves::Deal;

/// The names of a directory in the order of their bytes, without `.` and `..`.
pub trait Names {
    /// How many there are.
    fn count(&self) -> usize;

    /// The name at `index`, from 0: 1 to 255 bytes.
    fn name(&self, index: usize) -> &[u8];
}

/// The names of a directory, and what each leads to.
pub trait Entries: Names {
    /// What the name at `index` leads to.
    fn file_type(&self, index: usize) -> FileType;

    /// The inode that the name at `index` leads to.
    fn ino(&self, index: usize) -> Ino;
}

/// How a filesystem keeps its directories.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryRules {
    /// How blocks are laid out.
    pub format: BlockFormat,
    /// The hash that orders a hash tree; `None` without `dir_index`.
    pub hasher: Option<DirHasher>,
    /// Whether hash trees may have a level more, and directories 4 GiB and more (`large_dir`).
    pub large_dir: bool,
}

/// What a directory's blocks are rendered from.
#[derive(Debug)]
pub struct Directory<'a, E: ?Sized> {
    /// What it was planned by.
    pub rules: &'a DirectoryRules,
    /// What it was planned from, now with inode numbers.
    pub entries: &'a E,
    /// The directory's own inode.
    pub this: Ino,
    /// Its parent's inode.
    pub parent: Ino,
    /// Its own seed for checksums; any where the filesystem has none.
    pub inode_seed: u32,
}

/// What a directory's blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Entries one after another.
    Linear,
    /// A hash tree: its inode has `EXT4_INDEX_FL`.
    Indexed,
    /// Entries one after another, since no hash tree of this filesystem can hold them: every
    /// look-up reads the directory from its start.
    Overgrown,
    /// Entries in the directory's own inode, and no blocks (`inline_data`).
    Inline,
}

/// A directory with more blocks than the filesystem can number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryTooLarge {
    /// How many names it has.
    pub names: usize,
    /// How many blocks a directory can have.
    pub most: u64,
}

impl fmt::Display for DirectoryTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, most } = self;
        write!(
            f,
            "a directory of {names} names needs more than the {most} blocks that one directory can have"
        )
    }
}

impl std::error::Error for DirectoryTooLarge {}

/// How many blocks a directory has, and which names are in each.
#[derive(Clone, Debug)]
pub struct DirectoryPlan {
    names: usize,
    /// The names' indices in the order in which they are stored; empty where that is their own.
    order: Box<[u32]>,
    /// The blocks that hold names; empty where one block does.
    leaves: Box<[Leaf]>,
    /// The hash tree above the leaves.
    tree: Option<Box<HashTree>>,
    origin: Origin,
    /// Where the blocks of a hash tree that hold names are in the directory.
    numbers: Numbers,
}

/// What there is to a directory beside its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Nothing.
    Made,
    /// No hash tree could hold it.
    Overgrown,
    /// It is in its inode.
    Inline,
    /// It was in its inode when it was empty: an unused entry follows `..`.
    MovedOut,
}

/// The order of a hash tree's blocks of names in their directory, where it is not that of their hashes.
#[derive(Clone, Debug, Default)]
struct Numbers {
    /// By leaf, which of those blocks it is.
    of_leaf: Box<[u32]>,
    /// By block, which leaf it is.
    leaf_at: Box<[u32]>,
}

impl Numbers {
    /// Leaves stay the blocks that they were, `before`, where these are behind the first `first` blocks and
    /// no block is behind the last; the others fill what is left.
    fn new(before: &[Option<u32>], first: usize) -> Self {
        let mut leaf_at = vec![None; before.len()];
        let place = |block: &Option<u32>| {
            let block = usize::try_from((*block)?).ok()?;
            block.checked_sub(first)
        };
        let mut others = Vec::new();
        for (leaf, block) in (0_u32..).zip(before) {
            match place(block).and_then(|place| leaf_at.get_mut(place)) {
                Some(free @ None) => *free = Some(leaf),
                _ => others.push(leaf),
            }
        }
        let mut others = others.into_iter();
        let leaf_at = leaf_at
            .into_iter()
            .map(|leaf| leaf.or_else(|| others.next()));
        let leaf_at: Box<[u32]> = leaf_at.map(Option::unwrap_or_default).collect();
        let mut of_leaf = vec![0; leaf_at.len()].into_boxed_slice();
        for (place, leaf) in (0..).zip(&leaf_at) {
            of_leaf[index(*leaf)] = place;
        }
        Self { of_leaf, leaf_at }
    }

    fn of_leaf(&self, leaf: usize) -> usize {
        self.of_leaf.get(leaf).map_or(leaf, |place| index(*place))
    }

    fn leaf_at(&self, place: usize) -> usize {
        self.leaf_at.get(place).map_or(place, |leaf| index(*leaf))
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaf {
    /// The place of its first name in the stored order.
    first: u32,
    /// The hash of its first name, as index entries hold it; 0 in a linear directory.
    hash: u32,
}

#[derive(Clone, Debug)]
struct HashTree {
    version: HashVersion,
    levels: Levels,
}

/// A name's hash as a number to sort by, and the name's index.
type Hashed = (u64, u32);

/// What one block of a directory is.
enum Part<'a> {
    Linear(usize),
    Root(&'a HashTree),
    Node(&'a HashTree, usize, usize),
    Leaf(usize),
}

/// The index entries of one block: the children on the level below.
struct Index<'a> {
    levels: &'a Levels,
    level: usize,
    children: Range<usize>,
}

impl DirectoryPlan {
    /// Plans the directory of `names`.
    ///
    /// # Errors
    /// Where it would have more blocks than a directory can have.
    pub fn new(
        names: &(impl Names + ?Sized),
        rules: &DirectoryRules,
    ) -> Result<Self, DirectoryTooLarge> {
        Self::keeping(names, rules, &[])
    }

    /// The same, with the names of a hash tree in the blocks `before` where such names were, so that few
    /// blocks change.
    ///
    /// # Errors
    /// Where it would have more blocks than a directory can have.
    pub(crate) fn keeping(
        names: &(impl Names + ?Sized),
        rules: &DirectoryRules,
        before: &[base::Leaf],
    ) -> Result<Self, DirectoryTooLarge> {
        let mut plan = Self {
            names: names.count(),
            order: Box::default(),
            leaves: Box::default(),
            tree: None,
            origin: Origin::Made,
            numbers: Numbers::default(),
        };
        if fits_one_block(names, rules) {
            return Ok(plan);
        }
        if u32::try_from(plan.names).is_err() {
            return Err(plan.too_large(rules));
        }
        if let Some(hasher) = &rules.hasher {
            let hashed = hash_all(names, hasher);
            let deal = Deal {
                names,
                hashed: &hashed,
                space: rules.format.entry_space(),
            };
            let dealt = deal.by(before).filter(|_| !hasher.folds());
            let (leaves, before) = match dealt {
                Some(dealt) => (dealt.leaves.into(), dealt.before),
                None => (fill_leaves(names, &hashed, deal.space), Vec::new()),
            };
            let levels = Levels::new(leaves.len(), fanout(rules.format));
            let mut order: Box<[u32]> = hashed.into_iter().map(|(_, index)| index).collect();
            if hasher.folds() && !lead_by_folded(names, &mut order, &leaves) {
                plan.leaves = fill_linear(names, rules.format.entry_space());
                return plan.checked(rules);
            }
            if levels.depth() <= most_levels(rules) {
                let version = hasher.version();
                plan.order = order;
                plan.numbers = Numbers::new(&before, 1 + levels.total());
                plan.leaves = leaves;
                plan.tree = Some(Box::new(HashTree { version, levels }));
                return plan.checked(rules);
            }
            plan.origin = Origin::Overgrown;
        }
        plan.leaves = fill_linear(names, rules.format.entry_space());
        plan.checked(rules)
    }

    /// Plans lost+found as mke2fs makes it, empty with room for names: 16 KiB, but at least 2 and
    /// at most 12 blocks.
    pub fn lost_and_found(block_size: BlockSize) -> Self {
        Self::empty((16384 / block_size.bytes()).clamp(2, 12))
    }

    /// Plans a directory of `blocks` blocks without names; at least 1.
    pub fn empty(blocks: u32) -> Self {
        let leaf = Leaf { first: 0, hash: 0 };
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        Self {
            names: 0,
            order: Box::default(),
            leaves: vec![leaf; blocks].into_boxed_slice(),
            tree: None,
            origin: Origin::Made,
            numbers: Numbers::default(),
        }
    }

    /// Plans a directory of `blocks` blocks without names that began inside its inode, as libext2fs
    /// leaves it when it grows (`ext2fs_inline_data_convert_dir`).
    pub fn moved_out(blocks: u32) -> Self {
        Self {
            origin: Origin::MovedOut,
            ..Self::empty(blocks)
        }
    }

    /// Plans a directory that lies in its inode, whatever its names.
    pub fn inline() -> Self {
        Self {
            origin: Origin::Inline,
            ..Self::empty(0)
        }
    }

    /// The names that its blocks begin with, but for the first's, in the order of a linear directory.
    pub fn later_leaves(&self) -> impl Iterator<Item = usize> + '_ {
        let leaves = self.leaves.iter().skip(1);
        leaves.map(|leaf| usize::try_from(leaf.first).unwrap_or(usize::MAX))
    }

    /// How many blocks the directory has.
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.block_count()).unwrap_or(u32::MAX)
    }

    /// The directory's size in bytes: whole blocks.
    pub fn size_bytes(&self, rules: &DirectoryRules) -> u64 {
        u64::from(self.blocks()) * rules.format.block_size.bytes_u64()
    }

    /// What its blocks are.
    pub fn shape(&self) -> Shape {
        match self.tree {
            Some(_) => Shape::Indexed,
            None => match self.origin {
                Origin::Made | Origin::MovedOut => Shape::Linear,
                Origin::Overgrown => Shape::Overgrown,
                Origin::Inline => Shape::Inline,
            },
        }
    }

    /// Renders the directory's block `number`, from 0, into `block`, whatever that held.
    ///
    /// # Panics
    /// Where there is no such block, `block` is not one block long, or `directory` has other names
    /// or rules than the plan was made from.
    pub fn render_block<E: Entries + ?Sized>(
        &self,
        number: u32,
        block: &mut [u8],
        directory: &Directory<'_, E>,
    ) {
        block.fill(0);
        match self.part(number) {
            Part::Linear(leaf) => self.render_leaf(leaf, leaf == 0, block, directory),
            Part::Leaf(leaf) => self.render_leaf(leaf, false, block, directory),
            Part::Root(tree) => self.render_root(tree, block, directory),
            Part::Node(tree, level, place) => {
                let index = Index {
                    levels: &tree.levels,
                    level,
                    children: tree.levels.of_node(level, place, self.leaves.len()),
                };
                self.render_node(&index, block, directory);
            }
        }
    }

    fn block_count(&self) -> usize {
        if self.origin == Origin::Inline {
            return 0;
        }
        let index = self.tree.as_ref();
        index.map_or(0, |tree| 1 + tree.levels.total()) + self.leaves.len().max(1)
    }

    fn checked(self, rules: &DirectoryRules) -> Result<Self, DirectoryTooLarge> {
        let blocks = u64::try_from(self.block_count()).unwrap_or(u64::MAX);
        if blocks > most_blocks(rules) {
            return Err(self.too_large(rules));
        }
        Ok(self)
    }

    fn too_large(&self, rules: &DirectoryRules) -> DirectoryTooLarge {
        DirectoryTooLarge {
            names: self.names,
            most: most_blocks(rules),
        }
    }

    fn part(&self, number: u32) -> Part<'_> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(tree) = &self.tree else {
            return Part::Linear(number);
        };
        let Some(below_root) = number.checked_sub(1) else {
            return Part::Root(tree);
        };
        match tree.levels.find(below_root) {
            Some((level, place)) => Part::Node(tree, level, place),
            None => Part::Leaf(self.numbers.leaf_at(below_root - tree.levels.total())),
        }
    }

    /// The names of a leaf, as places in the stored order.
    fn places(&self, leaf: usize) -> Range<usize> {
        let start = |leaf: usize| {
            self.leaves
                .get(leaf)
                .map(|leaf| usize::try_from(leaf.first).unwrap_or(usize::MAX))
        };
        start(leaf).unwrap_or(0)..start(leaf + 1).unwrap_or(self.names)
    }

    /// The index of the name at a place in the stored order.
    fn index(&self, place: usize) -> usize {
        self.order
            .get(place)
            .map_or(place, |index| usize::try_from(*index).unwrap_or(usize::MAX))
    }

    fn render_leaf<E: Entries + ?Sized>(
        &self,
        leaf: usize,
        dots: bool,
        block: &mut [u8],
        directory: &Directory<'_, E>,
    ) {
        let format = directory.rules.format;
        let mut writer = EntryWriter::new(block, format.entry_space());
        if dots {
            let dot = format.dot_entry(b".", directory.this, DOT_BYTES);
            writer.entry(dot.entry, b".");
            let dotdot = format.dot_entry(b"..", directory.parent, DOT_BYTES);
            writer.entry(dotdot.entry, b"..");
            if self.origin == Origin::MovedOut {
                writer.entry(DirEntry::default(), b"");
            }
        }
        for place in self.places(leaf) {
            writer.entry_of(directory.entries, self.index(place), format);
        }
        writer.finish();
        format.seal_entries(block, directory.inode_seed);
    }

    fn render_root<E: ?Sized>(
        &self,
        tree: &HashTree,
        block: &mut [u8],
        directory: &Directory<'_, E>,
    ) {
        let format = directory.rules.format;
        let depth = tree.levels.depth();
        let info = DxRootInfo::new(tree.version, u8::try_from(depth).unwrap_or(u8::MAX));
        let header = format.dx_root(directory.this, directory.parent, info);
        block[..size_of::<DxRoot>()].copy_from_slice(bytes_of(&header));
        let index = Index {
            levels: &tree.levels,
            level: depth,
            children: tree.levels.of_root(self.leaves.len()),
        };
        let extent = index.extent(size_of::<DxRoot>(), format.dx_root_limit());
        self.render_index(&index, extent, block);
        format.seal_index(block, extent, directory.inode_seed);
    }

    fn render_node<E: ?Sized>(
        &self,
        index: &Index<'_>,
        block: &mut [u8],
        directory: &Directory<'_, E>,
    ) {
        let format = directory.rules.format;
        block[..size_of::<DirEntry>()].copy_from_slice(bytes_of(&format.dx_node()));
        let extent = index.extent(size_of::<DirEntry>(), format.dx_node_limit());
        self.render_index(index, extent, block);
        format.seal_index(block, extent, directory.inode_seed);
    }

    fn render_index(&self, index: &Index<'_>, extent: IndexExtent, block: &mut [u8]) {
        let entries = &mut block[extent.header_bytes..];
        let slots = entries.chunks_exact_mut(size_of::<DxEntry>());
        for (slot, child) in slots.zip(index.children.clone()) {
            let (number, leaf) = match index.level.checked_sub(1) {
                None => (index.levels.total() + self.numbers.of_leaf(child), child),
                Some(below) => (
                    index.levels.first(below) + child,
                    index.levels.first_item(below, child),
                ),
            };
            slot.copy_from_slice(bytes_of(&DxEntry {
                hash: Le32::new(self.leaves[leaf].hash),
                block: Le32::new(u32::try_from(1 + number).unwrap_or(u32::MAX)),
            }));
        }
        // Whoever comes here looks for no lower hash, so the first one's place serves for the count.
        let counts = DxCountLimit {
            limit: Le16::new(extent.limit),
            count: Le16::new(extent.count),
        };
        entries[..size_of::<DxCountLimit>()].copy_from_slice(bytes_of(&counts));
    }
}

impl Index<'_> {
    fn extent(&self, header_bytes: usize, limit: u16) -> IndexExtent {
        IndexExtent {
            header_bytes,
            limit,
            count: u16::try_from(self.children.len()).unwrap_or(u16::MAX),
        }
    }
}

/// Writes entries one after another; the last one spans what is left.
pub(super) struct EntryWriter<'a> {
    space: &'a mut [u8],
    /// Where the last entry begins, and where its name ends.
    last: usize,
    end: usize,
}

impl<'a> EntryWriter<'a> {
    pub(super) fn new(block: &'a mut [u8], entry_space: usize) -> Self {
        Self {
            space: &mut block[..entry_space],
            last: 0,
            end: 0,
        }
    }

    /// The entry at `index` of `entries`.
    pub(super) fn entry_of<E: Entries + ?Sized>(
        &mut self,
        entries: &E,
        index: usize,
        format: BlockFormat,
    ) {
        let name = entries.name(index);
        let entry = DirEntry {
            inode: Le32::new(entries.ino(index).get()),
            rec_len: Le16::default(),
            name_len: u8::try_from(name.len()).expect("a name is at most 255 bytes"),
            file_type: format.file_type(entries.file_type(index)),
        };
        self.entry(entry, name);
    }

    fn entry(&mut self, entry: DirEntry, name: &[u8]) {
        let bytes = entry_bytes(name.len());
        let header = DirEntry {
            rec_len: rec_len(bytes),
            ..entry
        };
        let slot = &mut self.space[self.end..self.end + bytes];
        let (start, rest) = slot.split_at_mut(size_of::<DirEntry>());
        start.copy_from_slice(bytes_of(&header));
        rest[..name.len()].copy_from_slice(name);
        self.last = self.end;
        self.end += bytes;
    }

    /// Without any entry, an unused one spans the whole.
    pub(super) fn finish(self) {
        let bytes = rec_len(self.space.len() - self.last);
        let at = self.last + offset_of!(DirEntry, rec_len);
        self.space[at..at + size_of::<Le16>()].copy_from_slice(bytes_of(&bytes));
    }
}

fn fits_one_block(names: &(impl Names + ?Sized), rules: &DirectoryRules) -> bool {
    let mut left = rules.format.entry_space() - 2 * DOT_BYTES;
    (0..names.count()).all(|index| {
        let fits = left.checked_sub(entry_bytes(names.name(index).len()));
        left = fits.unwrap_or(0);
        fits.is_some()
    })
}

fn hash_all(names: &(impl Names + ?Sized), hasher: &DirHasher) -> Vec<Hashed> {
    let mut hashed: Vec<Hashed> = (0..)
        .zip(0..names.count())
        .map(|(index, place)| {
            let hash = hasher.hash(names.name(place));
            let key = (u64::from(hash.major) << 32) | u64::from(hash.minor);
            (key, index)
        })
        .collect();
    hashed.sort_unstable();
    hashed
}

/// Packs names into leaves in the order of their hashes.
fn fill_leaves(
    names: &(impl Names + ?Sized),
    hashed: &[Hashed],
    entry_space: usize,
) -> Box<[Leaf]> {
    let mut leaves = Vec::new();
    let mut left = 0;
    let mut previous = None;
    for (first, (key, index)) in (0..).zip(hashed) {
        let index = usize::try_from(*index).unwrap_or(usize::MAX);
        let bytes = entry_bytes(names.name(index).len());
        let major = u32::try_from(key >> 32).unwrap_or(u32::MAX);
        if left < bytes {
            // Bit 0 says that a search for this hash began in the block before.
            let continued = u32::from(previous == Some(major));
            leaves.push(Leaf {
                first,
                hash: major | continued,
            });
            left = entry_space;
        }
        left -= bytes;
        previous = Some(major);
    }
    leaves.into_boxed_slice()
}

/// Brings a name that has a folded form to the front of each leaf, whose order is free; false where a
/// leaf has none. To the kernel it is all one; e2fsck cannot hash the others, and takes them for what
/// it hashed last, which a leaf that begins with one does not have (`check_dir_block`).
fn lead_by_folded(names: &(impl Names + ?Sized), order: &mut [u32], leaves: &[Leaf]) -> bool {
    let place = |leaf: &Leaf| usize::try_from(leaf.first).unwrap_or(usize::MAX);
    let folds = |index: &u32| {
        let index = usize::try_from(*index).unwrap_or(usize::MAX);
        fold(names.name(index)).is_some()
    };
    let ends = leaves.iter().skip(1).map(place).chain([order.len()]);
    let ends: Vec<usize> = ends.collect();
    leaves.iter().zip(ends).all(|(leaf, end)| {
        let leaf = &mut order[place(leaf)..end];
        let first = leaf.iter().position(folds);
        if let Some(first) = first {
            leaf.swap(0, first);
        }
        first.is_some()
    })
}

/// Packs names into blocks in their own order, the first block after `.` and `..`.
fn fill_linear(names: &(impl Names + ?Sized), entry_space: usize) -> Box<[Leaf]> {
    let mut leaves = vec![Leaf { first: 0, hash: 0 }];
    let mut left = entry_space - 2 * DOT_BYTES;
    for (first, index) in (0..).zip(0..names.count()) {
        let bytes = entry_bytes(names.name(index).len());
        if left < bytes {
            leaves.push(Leaf { first, hash: 0 });
            left = entry_space;
        }
        left -= bytes;
    }
    leaves.into_boxed_slice()
}

fn fanout(format: BlockFormat) -> Fanout {
    Fanout {
        root: usize::from(format.dx_root_limit()),
        node: usize::from(format.dx_node_limit()),
    }
}

/// How many levels of nodes a hash tree can have below its root (the kernel's
/// `ext4_dir_htree_level`, less the root).
fn most_levels(rules: &DirectoryRules) -> usize {
    if rules.large_dir { 2 } else { 1 }
}

/// Without `large_dir` a directory's size has 32 bits; with it, index entries number 2^28 blocks.
fn most_blocks(rules: &DirectoryRules) -> u64 {
    if rules.large_dir {
        1 << 28
    } else {
        u64::from(u32::MAX) / rules.format.block_size.bytes_u64()
    }
}

#[cfg(test)]
mod tests;
