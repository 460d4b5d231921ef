//! Given an indexed directory, judges its index blocks and gives each leaf the bounds of its hashes;
//! never reads a leaf.
//!
//! Layout: the kernel's documentation, "Hash Tree Directories"; rules as in e2fsck's
//! `parse_int_node` and the kernel's `dx_probe`.

use std::collections::{BTreeMap, HashSet};

use super::finding::{Area, Location};
use super::inventory::Dir;
use super::maps::{self, Piece};
use super::volume::{Volume, half, length, read, word};
use crate::feature::Feature;
use crate::ondisk::dir::{DirEntry, DxRoot, DxRootInfo};
use crate::ondisk::dirhash::{DirHasher, HashVersion, Signedness};
use crate::ondisk::inode::FLAG_CASEFOLD;
use crate::read::directory::index_checksums;

/// `DX_HASH_SIPHASH`: hashes stand beside the entries.
const SIPHASH: u8 = 6;
/// `EXT2_FLAGS_UNSIGNED_HASH`.
const UNSIGNED: u32 = 0x2;
/// The bits of an index entry's block that number it (`EXT4_DX_BLOCK_MASK`).
const BLOCK_MASK: u32 = 0x0fff_ffff;
/// The bytes of an index entry, of a count and limit, and of a tail.
const ENTRY_BYTES: usize = 8;

/// How a tree hashes names.
#[derive(Clone, Copy)]
pub(super) enum Hashing {
    By(DirHasher),
    /// The hash stands behind the name.
    Stored,
}

impl Hashing {
    /// The hash that orders a name.
    pub(super) fn of(&self, name: &[u8], stored: u32) -> u32 {
        match self {
            Self::By(hasher) => hasher.hash(name).major,
            Self::Stored => stored & !1,
        }
    }
}

/// The hashes that may be in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The lowest.
    first: u32,
    /// The highest.
    last: u32,
}

impl Bounds {
    pub(super) fn hold(self, hash: u32) -> bool {
        (self.first..=self.last).contains(&hash)
    }
}

/// An index that was read.
pub(super) struct Tree {
    /// Logical blocks by number: bounds for a leaf, none for a block of the index.
    blocks: BTreeMap<u64, Option<Bounds>>,
    pub(super) hashing: Option<Hashing>,
}

impl Tree {
    /// Whether a logical block belongs to the index.
    pub(super) fn is_index(&self, logical: u64) -> bool {
        matches!(self.blocks.get(&logical), Some(None))
    }

    pub(super) fn bounds(&self, logical: u64) -> Option<Bounds> {
        self.blocks.get(&logical).copied().flatten()
    }
}

/// A block of the index.
#[derive(Clone, Copy)]
struct IndexBlock<'b> {
    bytes: &'b [u8],
    place: Location,
    /// How many bytes its records follow.
    header: usize,
    /// How many levels are below it.
    levels: u8,
}

struct Reading<'a> {
    volume: &'a Volume<'a>,
    dir: &'a Dir,
    pieces: &'a [Piece],
    blocks: BTreeMap<u64, Option<Bounds>>,
    /// Physical blocks of directories that were read.
    visited: &'a mut HashSet<u64>,
}

/// Reads a directory's index; `None` where its root is none.
pub(super) fn read_tree(
    volume: &Volume<'_>,
    dir: &Dir,
    pieces: &[Piece],
    visited: &mut HashSet<u64>,
) -> Option<Tree> {
    let place = Location::inode(dir.ino);
    let root_block = maps::find(pieces, 0)?.get();
    let bytes = volume.block((Area::Htree, place), root_block)?;
    let place = place.at(root_block);
    let root: DxRoot = read(&bytes, 0)?;
    let say = |rule| volume.rule(Area::Htree, place, rule);
    let levels = root.info.indirect_levels;
    let most_levels = if volume.has(Feature::LargeDir) { 2 } else { 1 };
    let info = &root.info;
    if info.info_length != 8 || info.reserved_zero.get() != 0 || info.unused_flags & 1 != 0 {
        say("its root block is invalid");
        return None;
    }
    if levels > most_levels {
        say("it has more levels than a tree may have");
        return None;
    }
    let hashing = hashing(volume, dir, info);
    if hashing.is_none() {
        say("its hash version is unknown");
    }
    let mut reading = Reading {
        volume,
        dir,
        pieces,
        blocks: BTreeMap::from([(0, None)]),
        visited,
    };
    let all = Bounds {
        first: 0,
        last: u32::MAX,
    };
    let block = IndexBlock {
        bytes: &bytes,
        place,
        header: size_of::<DxRoot>(),
        levels,
    };
    reading.node(block, all);
    let end = pieces.last().map_or(0, |last| last.logical + last.run.len);
    let found = length(reading.blocks.len());
    let what = "the number of blocks in its index";
    volume.equal((Area::Htree, place), what, (found, end));
    Some(Tree {
        blocks: reading.blocks,
        hashing,
    })
}

fn hashing(volume: &Volume<'_>, dir: &Dir, info: &DxRootInfo) -> Option<Hashing> {
    let version = match info.hash_version {
        0 => HashVersion::Legacy,
        1 => HashVersion::HalfMd4,
        2 => HashVersion::Tea,
        SIPHASH if dir.has_stored_hashes() => return Some(Hashing::Stored),
        _ => return None,
    };
    if dir.has_stored_hashes() {
        return None;
    }
    let signedness = match volume.sb.s_flags.get() & UNSIGNED {
        0 => Signedness::Signed,
        _ => Signedness::Unsigned,
    };
    let hasher = DirHasher::new(version, signedness, volume.sb.s_hash_seed);
    Some(Hashing::By(if dir.has_flag(FLAG_CASEFOLD) {
        hasher.folding()
    } else {
        hasher
    }))
}

impl Reading<'_> {
    fn rule(&self, place: Location, rule: &'static str) {
        self.volume.rule(Area::Htree, place, rule);
    }

    /// Judges an index block, and what it leads to.
    fn node(&mut self, block: IndexBlock<'_>, bounds: Bounds) {
        let IndexBlock {
            bytes,
            place,
            header,
            ..
        } = block;
        let has_sums = self.volume.has_checksums();
        let tail = if has_sums { ENTRY_BYTES } else { 0 };
        let room = (bytes.len() - header - tail) / ENTRY_BYTES;
        let (limit, count) = (half(bytes, header), half(bytes, header + 2));
        let at = (Area::Htree, place);
        self.volume.equal(at, "limit", (limit.into(), length(room)));
        let bounds_of_count = 1..=length(room);
        if !self
            .volume
            .within(at, "count", count.into(), bounds_of_count)
        {
            return;
        }
        let count = usize::from(count);
        if has_sums {
            self.check_sum(block);
        }
        let mut before = bounds.first;
        for number in 0..count {
            let record = header + number * ENTRY_BYTES;
            let hash = match number {
                0 => bounds.first,
                _ => word(bytes, record) & !1,
            };
            if hash < before || hash > bounds.last {
                self.rule(place, "its hashes are out of order");
            }
            before = hash;
            let last = if number + 1 < count {
                // Where names of one hash go on in the next block, its lowest bit says so.
                match word(bytes, record + ENTRY_BYTES) {
                    next if next & 1 == 1 => next & !1,
                    next => next.saturating_sub(1),
                }
            } else {
                bounds.last
            };
            let logical = word(bytes, record + 4) & BLOCK_MASK;
            let below = Bounds { first: hash, last };
            self.below(block, logical.into(), below);
        }
    }

    /// Judges the block that an index record leads to.
    fn below(&mut self, from: IndexBlock<'_>, logical: u64, bounds: Bounds) {
        let IndexBlock { place, levels, .. } = from;
        let Some(block) = maps::find(self.pieces, logical) else {
            self.rule(
                place,
                "it points to a block that the directory does not have",
            );
            return;
        };
        if self.blocks.contains_key(&logical) {
            self.rule(place, "it points to one block twice");
            return;
        }
        if levels == 0 {
            self.blocks.insert(logical, Some(bounds));
            return;
        }
        self.blocks.insert(logical, None);
        // Two directories with one block are told already; reading it once bounds the walk.
        if !self.visited.insert(block.get()) {
            return;
        }
        let at = (Area::Htree, Location::inode(self.dir.ino));
        let Some(bytes) = self.volume.block(at, block.get()) else {
            return;
        };
        let place = at.1.at(block.get());
        let fake: DirEntry = read(&bytes, 0).unwrap_or_default();
        if fake.inode.get() != 0 || fake.name_len != 0 {
            self.rule(place, "an index block does not begin with an empty entry");
        }
        let block = IndexBlock {
            bytes: &bytes,
            place,
            header: size_of::<DirEntry>(),
            levels: levels - 1,
        };
        self.node(block, bounds);
    }

    fn check_sum(&self, block: IndexBlock<'_>) {
        let seed = self.volume.inode_seed(self.dir.ino, self.dir.generation);
        match index_checksums(block.bytes, block.header, seed) {
            Some(pair) => self
                .volume
                .sum((Area::Htree, block.place), "a block's checksum", pair),
            None => self.rule(block.place, "a block of a hash tree has no checksum"),
        }
    }
}
