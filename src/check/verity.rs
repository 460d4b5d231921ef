//! Given an inode whose data fs-verity protects, judges the descriptor and the Merkle tree and whether the
//! data are what it says; never more than one pass over what the image has room for.

use super::finding::{Area, Location};
use super::maps::{Mapped, find};
use super::node::Node;
use super::volume::{Volume, index, length, read};
use crate::feature::Feature;
use crate::ondisk::fsverity::{BlockHasher, Descriptor, TreeShape};
use crate::ondisk::inode::{FLAG_ENCRYPT, FLAG_EXTENTS, FLAG_VERITY};
use crate::read::verity::{VerityPlace, descriptor_place, holds, tree_place};
use crate::units::is_zero;

/// How much data was hashed so far, in bytes. Blocks that many inodes claim are told of; to hash them again
/// for each would cost more than the image holds.
#[derive(Default)]
pub(super) struct Hashed {
    bytes: u64,
}

/// A file and its tree.
struct Protected<'a> {
    volume: &'a Volume<'a>,
    at: (Area, Location),
    mapped: &'a Mapped,
    shape: TreeShape,
    place: VerityPlace,
    size: u64,
    hasher: BlockHasher,
}

/// Judges what protects the data of `node`, if anything does.
pub(super) fn check(volume: &Volume<'_>, node: &Node, mapped: &Mapped, hashed: &mut Hashed) {
    if !node.has_flag(FLAG_VERITY) {
        return;
    }
    let at = (Area::Verity, Location::inode(node.ino));
    let say = |rule| volume.rule(at.0, at.1, rule);
    if !volume.has(Feature::Verity) {
        say("it has fs-verity, in a filesystem without verity");
    }
    if !node.is_regular() || !node.has_flag(FLAG_EXTENTS) {
        say("it has fs-verity but is not a regular file with extents");
        return;
    }
    let Some((descriptor, place)) = descriptor(volume, node, mapped) else {
        return;
    };
    if let Some(rule) = descriptor.fault(node.size()) {
        say(rule);
        return;
    }
    if length(size_of::<Descriptor>()) + u64::from(descriptor.sig_size.get())
        > place.end - place.start
    {
        say("its fs-verity signature is truncated");
    }
    let (shape, place) = match tree_place(&descriptor, place) {
        Ok(found) => found,
        Err(rule) => return say(rule),
    };
    let all = place.tree.start..place.descriptor.end;
    let block_bytes = volume.block_size.bytes_u64();
    if !holds(&mapped.pieces, &all, block_bytes) {
        return say("its fs-verity tree has a hole");
    }
    let needed = place.tree.end.next_multiple_of(block_bytes);
    volume.equal(
        at,
        "place of its descriptor",
        (place.descriptor.start, needed),
    );
    let most = volume.blocks_count.saturating_mul(block_bytes);
    let held: u64 = mapped.pieces.iter().map(|piece| piece.run.len).sum();
    hashed.bytes = hashed
        .bytes
        .saturating_add(held.saturating_mul(block_bytes));
    let (Some(hash), Some(salt)) = (descriptor.algorithm(), descriptor.salt()) else {
        return;
    };
    // What is encrypted was hashed before.
    if hashed.bytes > most || node.has_flag(FLAG_ENCRYPT) {
        return;
    }
    let file = Protected {
        volume,
        at,
        mapped,
        shape,
        place,
        size: node.size(),
        hasher: BlockHasher::new(hash, salt),
    };
    let root = &descriptor.root_hash[..hash.bytes()];
    if let Some(rule) = file.fault(root) {
        say(rule);
    }
}

/// The descriptor and where it is.
fn descriptor(
    volume: &Volume<'_>,
    node: &Node,
    mapped: &Mapped,
) -> Option<(Descriptor, std::ops::Range<u64>)> {
    let at = (Area::Verity, Location::inode(node.ino));
    let block_bytes = volume.block_size.bytes_u64();
    let last = mapped.end().checked_sub(1);
    let last = last.and_then(|last| find(&mapped.pieces, last));
    let Some(last) = last else {
        volume.rule(at.0, at.1, "it has fs-verity and no descriptor");
        return None;
    };
    let block = volume.block(at, last.get())?;
    let stored_length = block.last_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
    let allocated = mapped.end().saturating_mul(block_bytes);
    match descriptor_place(node.size(), allocated, stored_length, block_bytes) {
        Ok(place) => {
            let first = find(&mapped.pieces, place.start / block_bytes)?;
            let block = volume.block(at, first.get())?;
            Some((read(&block, 0)?, place))
        }
        Err(rule) => {
            volume.rule(at.0, at.1, rule);
            None
        }
    }
}

impl Protected<'_> {
    /// What is wrong with the tree or the data, of which the first fault is enough.
    fn fault(&self, root: &[u8]) -> Option<&'static str> {
        let levels = self.shape.levels();
        if self.shape.data_blocks == 0 {
            return (!is_zero(root))
                .then_some("it is empty, and its fs-verity root hash is not zero");
        }
        let zero = self.hasher.hash(&vec![0; index(self.shape.block_bytes)]);
        let data_is_wrong = "its data does not match its fs-verity tree";
        if levels == 0 {
            let block = self.data(0)?;
            let hash = block.map_or(zero, |block| self.hasher.hash(&block));
            return (hash.as_bytes() != root).then_some(data_is_wrong);
        }
        for level in (0..levels).rev() {
            let place = self.shape.level_bytes(level);
            let blocks = (place.end - place.start) / self.shape.block_bytes;
            for number in 0..blocks {
                let block = self.tree(place.start + number * self.shape.block_bytes)?;
                let expected = if level + 1 == levels {
                    root.to_vec()
                } else {
                    self.hash_at(level + 1, number)?
                };
                if self.hasher.hash(&block).as_bytes() != expected {
                    return Some("its fs-verity tree does not match its root hash");
                }
                if level == 0 && !self.data_match(number, &block, zero.as_bytes())? {
                    return Some(data_is_wrong);
                }
            }
        }
        None
    }

    /// Whether the data that the block `number` of the lowest level is of have the hashes in it.
    fn data_match(&self, number: u64, hashes: &[u8], zero: &[u8]) -> Option<bool> {
        let each = index(self.shape.hash_bytes());
        let first = number * (self.shape.block_bytes / self.shape.hash_bytes());
        for (block, expected) in (first..self.shape.data_blocks).zip(hashes.chunks_exact(each)) {
            let matches = match self.data(block)? {
                Some(bytes) => self.hasher.hash(&bytes).as_bytes() == expected,
                None => zero == expected,
            };
            if !matches {
                return Some(false);
            }
        }
        Some(true)
    }

    /// The hash of the block `number` of the level below `level`.
    fn hash_at(&self, level: usize, number: u64) -> Option<Vec<u8>> {
        let offset = self.shape.level_bytes(level).start + number * self.shape.hash_bytes();
        let block = self.tree(offset - offset % self.shape.block_bytes)?;
        let start = index(offset % self.shape.block_bytes);
        let hash = block.get(start..start + index(self.shape.hash_bytes()));
        hash.map(<[u8]>::to_vec)
    }

    /// The block of the tree at `offset` of it.
    fn tree(&self, offset: u64) -> Option<Vec<u8>> {
        let bytes = self.bytes(self.place.tree.start + offset)?;
        Some(bytes.unwrap_or_else(|| vec![0; index(self.shape.block_bytes)]))
    }

    /// The block `number` of data, what lies behind the file's end as zeros; nothing for a hole. None where it
    /// cannot be read, which is noted.
    fn data(&self, number: u64) -> Option<Option<Vec<u8>>> {
        let start = number * self.shape.block_bytes;
        let mut bytes = self.bytes(start)?;
        let left = index((self.size - start).min(self.shape.block_bytes));
        if let Some(behind) = bytes.as_mut().and_then(|bytes| bytes.get_mut(left..)) {
            behind.fill(0);
        }
        Some(bytes)
    }

    /// The bytes of a block of the tree's size at `offset` of the file; nothing in a hole.
    fn bytes(&self, offset: u64) -> Option<Option<Vec<u8>>> {
        let block_bytes = self.volume.block_size.bytes_u64();
        let logical = offset / block_bytes;
        let pieces = &self.mapped.pieces;
        let at = pieces.partition_point(|piece| piece.end() <= logical);
        let piece = pieces.get(at).filter(|piece| piece.logical <= logical);
        let Some(piece) = piece.filter(|piece| !piece.is_unwritten) else {
            return Some(None);
        };
        let block = piece.run.start.get() + (logical - piece.logical);
        let place = (block.checked_mul(block_bytes)?).checked_add(offset % block_bytes)?;
        let length = index(self.shape.block_bytes);
        let at = (self.at.0, self.at.1.at(block));
        self.volume.bytes(at, place, length).map(Some)
    }
}
