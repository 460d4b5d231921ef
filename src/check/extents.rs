//! Given an inode with an extent tree, gives where its blocks are and judges the tree; never what the
//! blocks hold.
//!
//! Layout: the kernel's documentation, "Extent Tree"; rules as in the kernel's
//! `__ext4_ext_check` and e2fsck's `scan_extent_node`.

use super::finding::{Area, Fault, Owner, Place};
use super::maps::{Claiming, Mapped, Piece};
use super::volume::{Volume, index, read, word};
use crate::ondisk::checksum::crc32c;
use crate::ondisk::extent::{
    ExtentHeader, ExtentRecord, IndexRecord, MAGIC, MAX_BLOCKS, RECORD_BYTES, ROOT_MAX, node_max,
};
use crate::units::{Block, Run};

/// The most levels of nodes below the root (`EXT4_MAX_EXTENT_DEPTH`).
const MOST_LEVELS: u16 = 5;

/// A tree in the walk.
struct Tree<'a, 'c> {
    volume: &'a Volume<'a>,
    claiming: &'c mut Claiming,
    ino: u32,
    seed: u32,
    mapped: Mapped,
    /// The first logical block that may come next.
    next: u64,
}

/// What is known of a node before it is read.
struct Expected {
    /// How many levels are below.
    depth: u16,
    /// The first logical block, where an index says it.
    first: Option<u64>,
    /// The first logical block behind.
    end: u64,
}

/// Walks the tree whose root is `root`.
pub(super) fn walk(
    volume: &Volume<'_>,
    claiming: &mut Claiming,
    (ino, generation): (u32, u32),
    root: &[u8],
) -> Mapped {
    let mut tree = Tree {
        volume,
        claiming,
        ino,
        seed: volume.inode_seed(ino, generation),
        mapped: Mapped::default(),
        next: 0,
    };
    let place = Place::inode(ino);
    let header: ExtentHeader = read(root, 0).unwrap_or_default();
    if tree.is_node(place, &header, ROOT_MAX) {
        if header.eh_depth.get() > MOST_LEVELS {
            volume.rule(Area::Extents, place, "the tree is deeper than five levels");
        } else {
            let expected = Expected {
                depth: header.eh_depth.get(),
                first: None,
                end: 1 << 32,
            };
            tree.node(place, root, &expected);
        }
    }
    tree.mapped
}

impl Tree<'_, '_> {
    fn rule(&self, place: Place, rule: &'static str) {
        self.volume.rule(Area::Extents, place, rule);
    }

    /// Whether a header makes sense in a node with room for `most` records.
    fn is_node(&self, place: Place, header: &ExtentHeader, most: u16) -> bool {
        let (entries, max) = (header.eh_entries.get(), header.eh_max.get());
        if header.eh_magic.get() != MAGIC {
            self.rule(place, "a node lacks its magic number");
        } else if max > most || max < most.saturating_sub(2) || entries > max {
            self.rule(place, "a node counts more records than it has room for");
        } else {
            return true;
        }
        false
    }

    fn node(&mut self, place: Place, bytes: &[u8], expected: &Expected) {
        let header: ExtentHeader = read(bytes, 0).unwrap_or_default();
        if header.eh_depth.get() != expected.depth {
            self.rule(
                place,
                "a node is of another depth than its place in the tree",
            );
            return;
        }
        let entries = usize::from(header.eh_entries.get());
        if entries == 0 && (expected.depth > 0 || expected.first.is_some()) {
            self.rule(place, "a node below or above others is empty");
        }
        if let Some(first) = expected.first
            && entries > 0
            && first != u64::from(word(bytes, RECORD_BYTES))
        {
            self.rule(
                place,
                "a node begins with another block than the one above says",
            );
        }
        for number in 1..=entries {
            let at = number * RECORD_BYTES;
            match expected.depth {
                0 => {
                    let record: ExtentRecord = read(bytes, at).unwrap_or_default();
                    self.leaf_record(place, &record, expected.end);
                }
                depth => {
                    let record: IndexRecord = read(bytes, at).unwrap_or_default();
                    let behind = if number < entries {
                        word(bytes, at + RECORD_BYTES).into()
                    } else {
                        expected.end
                    };
                    let below = Expected {
                        depth: depth - 1,
                        first: Some(record.ei_block.get().into()),
                        end: behind,
                    };
                    self.index_record(place, &record, &below);
                }
            }
        }
    }

    fn leaf_record(&mut self, place: Place, record: &ExtentRecord, end: u64) {
        let stored = record.ee_len.get();
        let is_unwritten = stored > MAX_BLOCKS;
        let len = u64::from(if is_unwritten {
            stored - MAX_BLOCKS
        } else {
            stored
        });
        let logical = u64::from(record.ee_block.get());
        let run = Run::new(record.physical(), len);
        if len == 0 {
            self.rule(place, "an extent has no blocks");
            return;
        }
        if logical < self.next {
            self.rule(place, "extents are out of order or overlap");
        } else if logical + len > end {
            self.rule(
                place,
                "an extent reaches past the end that the node above says",
            );
        }
        self.next = self.next.max(logical + len);
        if !self.volume.is_inside(run) {
            self.volume.note(Area::Extents, place, Fault::Outside(run));
            return;
        }
        let piece = Piece {
            logical,
            run,
            is_unwritten,
        };
        self.mapped.add(self.volume, self.ino, piece);
        self.claiming.claims.add(run, owner(self.ino));
    }

    fn index_record(&mut self, place: Place, record: &IndexRecord, below: &Expected) {
        let volume = self.volume;
        let node = record.node();
        let first = u64::from(record.ei_block.get());
        if first < self.next || below.end < first {
            self.rule(place, "nodes are out of order");
        }
        if !volume.is_inside(Run::one(node)) {
            let fault = Fault::Outside(Run::one(node));
            volume.note(Area::Extents, place, fault);
            return;
        }
        let ino = crate::units::Ino::new(self.ino);
        self.claiming.claims.add(Run::one(node), Owner::Map(ino));
        self.mapped.clusters += 1;
        if !self.claiming.visit(node) {
            // Claimed twice, which is told; read once, which bounds the walk.
            return;
        }
        let at = (Area::Extents, Place::inode(self.ino));
        let Some(bytes) = volume.block(at, node.get()) else {
            return;
        };
        let place = Place::inode(self.ino).at(node.get());
        let header: ExtentHeader = read(&bytes, 0).unwrap_or_default();
        if !self.is_node(place, &header, node_max(volume.block_size)) {
            return;
        }
        self.check_tail(place, &bytes, &header);
        self.node(place, &bytes, below);
    }

    fn check_tail(&self, place: Place, bytes: &[u8], header: &ExtentHeader) {
        if !self.volume.has_checksums() {
            return;
        }
        let end = RECORD_BYTES * (1 + usize::from(header.eh_max.get()));
        let needed = crc32c(self.seed, bytes.get(..end).unwrap_or(bytes));
        let pair = (word(bytes, end), needed);
        self.volume
            .sum((Area::Extents, place), "a node's checksum", pair);
    }
}

fn owner(ino: u32) -> Owner {
    Owner::Content(crate::units::Ino::new(ino))
}

/// The physical block of a logical one.
pub(super) fn find(pieces: &[Piece], logical: u64) -> Option<Block> {
    let at = pieces.partition_point(|piece| piece.logical + piece.run.len <= logical);
    let piece = pieces.get(at).filter(|piece| piece.logical <= logical)?;
    Some(piece.run.start.plus(logical - piece.logical))
}

/// Every physical block of the pieces with its logical one.
pub(super) fn blocks(pieces: &[Piece]) -> impl Iterator<Item = (u64, u64)> {
    pieces.iter().flat_map(|piece| {
        let start = piece.run.start.get();
        (0..piece.run.len).map(move |step| (piece.logical + step, start + step))
    })
}

/// How many pointers of `width` bytes a block holds.
pub(super) fn pointers(volume: &Volume<'_>, width: u64) -> usize {
    index(volume.block_size.bytes_u64() / width)
}
