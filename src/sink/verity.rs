//! Given a sink, hashes what is written to it on the way and writes the dm-verity tree of all of it; never
//! reads a byte again that it has seen whole.
//!
//! The superblock of the filesystem is held back until the tree is there: what is not finished does not
//! mount. The format is the kernel's, admin-guide/device-mapper/verity: version 1, SHA-256 over salt and
//! block, blocks of 4 KiB, the tree's levels from the root down behind a block for the superblock.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::{Extent, Prepared, Sink, index, length_of};
use crate::units::{is_zero, uuid_from};

/// The bytes of a block, of data and of hashes.
pub const VERITY_BLOCK_BYTES: u64 = 4096;

const HASH_BYTES: usize = 32;
const MOST_SALT_BYTES: usize = 256;
/// How many hashes a block has room for.
const FANOUT: u64 = 128;
/// Where the superblock of the filesystem is in it.
const SUPERBLOCK: Range<u64> = 1024..2048;
/// How much of the tree is written at once.
const PIECE_BYTES: usize = 256 << 10;

type Hash = [u8; HASH_BYTES];
type Block = [u8; 4096];
const ZEROS: Block = [0; 4096];

/// What of a verity device is a matter of choice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerityOptions {
    /// Up to 256 bytes that each block is hashed with.
    pub salt: Vec<u8>,
    /// The device's own UUID.
    pub uuid: [u8; 16],
}

impl VerityOptions {
    /// Salt and UUID that follow from the UUID of the filesystem, so that equal input gives an equal tree.
    pub fn of(filesystem: [u8; 16]) -> Self {
        let salt = Sha256::new()
            .chain_update(b"mke4fs verity salt")
            .chain_update(filesystem)
            .finalize();
        Self {
            salt: salt.to_vec(),
            uuid: uuid_from(filesystem, "verity"),
        }
    }
}

/// What a verity device is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerityTree {
    /// The hash of the tree's root.
    pub root_hash: [u8; 32],
    /// How many blocks of 4 KiB have data.
    pub data_blocks: u64,
    /// How many blocks of 4 KiB the tree has, without the superblock's.
    pub hash_blocks: u64,
    /// What each block was hashed with.
    pub salt: Vec<u8>,
    /// The device's UUID.
    pub uuid: [u8; 16],
}

/// How long superblock and tree are for `size_bytes` of data.
pub fn verity_bytes(size_bytes: u64) -> u64 {
    let blocks = size_bytes.div_ceil(VERITY_BLOCK_BYTES);
    (1 + levels(blocks).iter().sum::<u64>()) * VERITY_BLOCK_BYTES
}

/// How many blocks each level of the tree has over `data_blocks`, from the lowest up.
fn levels(data_blocks: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut blocks = data_blocks;
    while blocks > 1 {
        blocks = blocks.div_ceil(FANOUT);
        levels.push(blocks);
    }
    levels
}

/// A sink around a sink that hashes what is written.
pub struct Verity<'a> {
    sink: &'a dyn Sink,
    /// Where the filesystem begins, and how long it is.
    base: u64,
    size_bytes: u64,
    options: VerityOptions,
    hashes: Mutex<Hashes>,
    /// The filesystem's superblock, which is not in the sink yet.
    superblock: Mutex<Option<Vec<u8>>>,
}

impl fmt::Debug for Verity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verity")
            .field("base", &self.base)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

/// The hashes of blocks that are known.
#[derive(Default)]
struct Hashes {
    /// By the block of the tree that they are in.
    leaves: HashMap<u64, Leaf>,
}

/// A block of the lowest level.
struct Leaf {
    hashes: Box<Block>,
    /// Which are known: a bit each.
    known: u128,
}

impl Hashes {
    fn set(&mut self, block: u64, hash: &Hash) {
        let leaf = self.leaves.entry(block / FANOUT).or_insert_with(|| Leaf {
            hashes: Box::new(ZEROS),
            known: 0,
        });
        let at = index(block % FANOUT);
        leaf.hashes[at * HASH_BYTES..(at + 1) * HASH_BYTES].copy_from_slice(hash);
        leaf.known |= 1 << at;
    }

    /// What the blocks `range` hold is not known any more.
    fn forget(&mut self, range: Range<u64>) {
        let mut block = range.start;
        while block < range.end {
            let end = range.end.min((block / FANOUT + 1) * FANOUT);
            if let Some(leaf) = self.leaves.get_mut(&(block / FANOUT)) {
                for at in block..end {
                    leaf.known &= !(1 << (at % FANOUT));
                }
            }
            block = end;
        }
    }
}

impl<'a> Verity<'a> {
    /// Hashes the filesystem of `size_bytes` that is written to `sink` from the byte `base` on, which is a
    /// multiple of 4096.
    ///
    /// # Errors
    /// Where the salt is longer than 256 bytes, or the place is no such multiple.
    pub fn new(sink: &'a dyn Sink, image: Range<u64>, options: VerityOptions) -> io::Result<Self> {
        let invalid = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if options.salt.len() > MOST_SALT_BYTES {
            return invalid("a verity salt has at most 256 bytes");
        }
        if !image.start.is_multiple_of(VERITY_BLOCK_BYTES) {
            return invalid("verity needs an offset that is a multiple of 4096 bytes");
        }
        Ok(Self {
            sink,
            base: image.start,
            size_bytes: image.end - image.start,
            options,
            hashes: Mutex::default(),
            superblock: Mutex::default(),
        })
    }

    fn hashes(&self) -> MutexGuard<'_, Hashes> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data_blocks(&self) -> u64 {
        self.size_bytes.div_ceil(VERITY_BLOCK_BYTES)
    }

    fn salted(&self) -> Sha256 {
        Sha256::new().chain_update(&self.options.salt)
    }

    fn hash(&self, salted: &Sha256, block: &[u8]) -> Hash {
        salted.clone().chain_update(block).finalize().into()
    }

    /// The blocks that `range` of the sink has a byte of, but for those outside of the filesystem.
    fn touched(&self, range: Range<u64>) -> Range<u64> {
        let end = self.base + self.size_bytes;
        let within = |at: u64| at.clamp(self.base, end) - self.base;
        within(range.start) / VERITY_BLOCK_BYTES..within(range.end).div_ceil(VERITY_BLOCK_BYTES)
    }

    /// Hashes the blocks that `extent` has all of. Those of which it has a part are read again at the end.
    fn note(&self, extent: Extent<'_>) {
        let end = extent.offset + length_of(extent.bytes);
        let salted = self.salted();
        let mut found = Vec::new();
        for block in self.touched(extent.offset..end) {
            let start = self.base + block * VERITY_BLOCK_BYTES;
            let is_whole = start >= extent.offset && start + VERITY_BLOCK_BYTES <= end;
            found.push(is_whole.then(|| {
                let at = index(start - extent.offset);
                self.hash(&salted, &extent.bytes[at..at + ZEROS.len()])
            }));
        }
        let mut hashes = self.hashes();
        for (block, hash) in (self.touched(extent.offset..end)).zip(found) {
            match hash {
                Some(hash) => hashes.set(block, &hash),
                None => hashes.forget(block..block + 1),
            }
        }
    }

    /// The same for extents of which several may lie in a block that has no other bytes.
    fn note_all(&self, extents: &[Extent<'_>]) {
        let mut rest = extents;
        while let [first, others @ ..] = rest {
            rest = others;
            let end = first.offset + length_of(first.bytes);
            let is_whole = |at: u64| (at - self.base).is_multiple_of(VERITY_BLOCK_BYTES);
            if is_whole(first.offset) && is_whole(end) {
                self.note(*first);
                continue;
            }
            rest = self.note_split(first, others);
        }
    }

    /// Hashes `first` and as many of `others` as lie in one of its blocks; gives the rest.
    fn note_split<'b, 'c>(&self, first: &Extent<'_>, others: &'c [Extent<'b>]) -> &'c [Extent<'b>] {
        let block_of = |at: u64| (at - self.base) / VERITY_BLOCK_BYTES;
        let start = self.base + block_of(first.offset) * VERITY_BLOCK_BYTES;
        let mut end = first.offset + length_of(first.bytes);
        let mut bytes = vec![0; index(first.offset - start)];
        bytes.extend_from_slice(first.bytes);
        let mut rest = others;
        while let [next, further @ ..] = rest
            && block_of(next.offset) <= block_of(end.saturating_sub(1))
        {
            bytes.resize(index(next.offset - start), 0);
            bytes.extend_from_slice(next.bytes);
            end = next.offset + length_of(next.bytes);
            rest = further;
        }
        let whole = bytes.len().next_multiple_of(ZEROS.len());
        bytes.resize(whole, 0);
        self.note(Extent::new(start, &bytes));
        rest
    }

    /// The hash of `block`, whose bytes are not known.
    fn read(&self, block: u64) -> io::Result<Block> {
        let start = block * VERITY_BLOCK_BYTES;
        let length = index(VERITY_BLOCK_BYTES.min(self.size_bytes - start));
        let mut bytes = ZEROS;
        if !self.sink.is_in_order() {
            self.sink.read_at(self.base + start, &mut bytes[..length])?;
        }
        Ok(bytes)
    }

    /// Writes superblock and tree from the byte `place` of `sink` on, which may be the one that has the
    /// data. What is left is [`finish`](Self::finish).
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn write_tree(&self, sink: &dyn Sink, place: u64) -> io::Result<VerityTree> {
        let held = self.superblock().clone();
        // The rest of the last block belongs to no block of the filesystem, but to what is hashed.
        let rest = self.data_blocks() * VERITY_BLOCK_BYTES - self.size_bytes;
        self.sink.zero(self.base + self.size_bytes, rest)?;
        if !self.sink.is_in_order() {
            self.complete(held.as_deref())?;
        }
        let salted = self.salted();
        let tree = Tree::new(self, &salted);
        tree.write(sink, place, &self.superblock_block())?;
        Ok(VerityTree {
            root_hash: tree.root,
            data_blocks: self.data_blocks(),
            hash_blocks: levels(self.data_blocks()).iter().sum(),
            salt: self.options.salt.clone(),
            uuid: self.options.uuid,
        })
    }

    /// Writes the filesystem's superblock, which was held back until now.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn finish(self) -> io::Result<()> {
        let held = self.superblock().take();
        held.map_or(Ok(()), |superblock| {
            self.sink
                .write_at(self.base + SUPERBLOCK.start, &superblock)
        })
    }

    fn superblock(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.superblock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes what was written in part, or not at all where something may have been before.
    fn complete(&self, superblock: Option<&[u8]>) -> io::Result<()> {
        let salted = self.salted();
        let mut hashes = self.hashes();
        let image = self.base..self.base + self.size_bytes;
        for range in self.sink.unknown(image) {
            for block in self.touched(range) {
                let leaf = hashes.leaves.get(&(block / FANOUT));
                if leaf.is_some_and(|leaf| leaf.known >> (block % FANOUT) & 1 == 1) {
                    continue;
                }
                let bytes = self.read(block)?;
                if !is_zero(&bytes) {
                    hashes.set(block, &self.hash(&salted, &bytes));
                }
            }
        }
        // The sink does not have it yet, whatever it knows of the place.
        if let Some(superblock) = superblock {
            let mut bytes = self.read(0)?;
            let at = index(SUPERBLOCK.start);
            bytes[at..at + superblock.len()].copy_from_slice(superblock);
            hashes.set(0, &self.hash(&salted, &bytes));
        }
        Ok(())
    }

    /// The block with verity's own superblock.
    fn superblock_block(&self) -> Block {
        let mut bytes = ZEROS;
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, b"verity\0\0");
        put(8, &1_u32.to_le_bytes());
        // Version 1 of the format, which the kernel calls normal.
        put(12, &1_u32.to_le_bytes());
        put(16, &self.options.uuid);
        put(32, b"sha256");
        put(64, &4096_u32.to_le_bytes());
        put(68, &4096_u32.to_le_bytes());
        put(72, &self.data_blocks().to_le_bytes());
        let salt = &self.options.salt;
        put(
            80,
            &u16::try_from(salt.len()).unwrap_or_default().to_le_bytes(),
        );
        put(88, salt);
        bytes
    }
}

/// The tree over hashes that are all known.
struct Tree<'a> {
    hashes: MutexGuard<'a, Hashes>,
    data_blocks: u64,
    /// The hash of a block of zeros.
    zero: Hash,
    /// The levels but the lowest, from there up.
    upper: Vec<Vec<u8>>,
    root: Hash,
}

impl<'a> Tree<'a> {
    fn new(verity: &'a Verity<'_>, salted: &Sha256) -> Self {
        let mut tree = Self {
            hashes: verity.hashes(),
            data_blocks: verity.data_blocks(),
            zero: verity.hash(salted, &ZEROS),
            upper: Vec::new(),
            root: [0; HASH_BYTES],
        };
        let levels = levels(tree.data_blocks);
        // Leaves over nothing but zeros are all the same.
        let of_zeros = verity.hash(salted, &tree.leaf(None, FANOUT));
        let mut below: Vec<u8> = Vec::new();
        for leaf in 0..levels.first().copied().unwrap_or_default() {
            let count = FANOUT.min(tree.data_blocks - leaf * FANOUT);
            let known = tree.hashes.leaves.get(&leaf).filter(|leaf| leaf.known != 0);
            let hash = if known.is_none() && count == FANOUT {
                of_zeros
            } else {
                verity.hash(salted, &tree.leaf(known, count))
            };
            below.extend_from_slice(&hash);
        }
        for _ in levels.iter().skip(1) {
            let whole = below.len().next_multiple_of(ZEROS.len());
            below.resize(whole, 0);
            let blocks = below.chunks(ZEROS.len());
            let above = blocks
                .flat_map(|block| verity.hash(salted, block))
                .collect();
            tree.upper.push(std::mem::replace(&mut below, above));
        }
        // A single block has no tree: its hash is the root.
        tree.root = below.first_chunk().copied().unwrap_or_else(|| {
            let leaf = tree.hashes.leaves.get(&0).filter(|leaf| leaf.known != 0);
            let first = leaf.and_then(|leaf| leaf.hashes.first_chunk());
            first.copied().unwrap_or(tree.zero)
        });
        tree
    }

    /// The block of the lowest level over the hashes of `leaf`, of which there are `count`.
    fn leaf(&self, leaf: Option<&Leaf>, count: u64) -> Block {
        let mut bytes = leaf.map_or(ZEROS, |leaf| *leaf.hashes);
        for (hash, at) in bytes.chunks_exact_mut(HASH_BYTES).zip(0..FANOUT) {
            if at >= count {
                hash.fill(0);
            } else if leaf.is_none_or(|leaf| leaf.known >> at & 1 == 0) {
                hash.copy_from_slice(&self.zero);
            }
        }
        bytes
    }

    /// Writes all of it, the root first.
    fn write(&self, sink: &dyn Sink, place: u64, superblock: &Block) -> io::Result<()> {
        let mut at = place;
        let mut bytes = superblock.to_vec();
        for level in self.upper.iter().rev() {
            bytes.extend_from_slice(level);
        }
        for leaf in 0..levels(self.data_blocks)
            .first()
            .copied()
            .unwrap_or_default()
        {
            if bytes.len() >= PIECE_BYTES {
                sink.write_at(at, &bytes)?;
                at += length_of(&bytes);
                bytes.clear();
            }
            let count = FANOUT.min(self.data_blocks - leaf * FANOUT);
            let known = self.hashes.leaves.get(&leaf).filter(|leaf| leaf.known != 0);
            bytes.extend_from_slice(&self.leaf(known, count));
        }
        sink.write_at(at, &bytes)
    }
}

impl Sink for Verity<'_> {
    fn size_bytes(&self) -> u64 {
        self.sink.size_bytes()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let is_superblock = offset == self.base + SUPERBLOCK.start
            && length_of(bytes) == SUPERBLOCK.end - SUPERBLOCK.start;
        if is_superblock {
            *self.superblock() = Some(bytes.to_vec());
            return Ok(());
        }
        self.note(Extent::new(offset, bytes));
        self.sink.write_at(offset, bytes)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let touched = self.touched(offset..offset.saturating_add(length));
        self.hashes().forget(touched);
        self.sink.zero(offset, length)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        let touched = self.touched(offset..offset.saturating_add(length));
        self.hashes().forget(touched);
        self.sink.discard(offset, length)
    }

    fn discard_zeroes(&self) -> bool {
        self.sink.discard_zeroes()
    }

    fn is_in_order(&self) -> bool {
        self.sink.is_in_order()
    }

    fn prepare<'b>(&'b self, extents: &'b [Extent<'b>]) -> io::Result<Box<dyn Prepared + 'b>> {
        self.note_all(extents);
        self.sink.prepare(extents)
    }

    fn unknown(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.sink.unknown(range)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.sink.read_at(offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        self.sink.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Memory;

    /// A tree over few blocks, hashed in the plainest way.
    fn plain_root(bytes: &[u8], salt: &[u8]) -> Hash {
        let hash = |block: &[u8]| -> Hash {
            Sha256::new()
                .chain_update(salt)
                .chain_update(block)
                .finalize()
                .into()
        };
        let padded = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
            bytes
        };
        let mut level = padded(bytes);
        while level.len() > 4096 {
            let hashes: Vec<u8> = level.chunks(4096).flat_map(hash).collect();
            level = padded(&hashes);
        }
        hash(&level)
    }

    #[test]
    fn however_it_is_written_the_root_is_that_of_the_bytes() {
        let size: usize = 300 * 4096 + 1024;
        let size_bytes = u64::try_from(size).unwrap();
        let memory = Memory::new(size_bytes + verity_bytes(size_bytes) + 4096);
        let options = VerityOptions::of([7; 16]);
        let salt = options.salt.clone();
        let verity = Verity::new(&memory, 0..size_bytes, options).unwrap();
        verity.zero(1024, 3072).unwrap();
        verity.write_at(9000, &[3; 20_000]).unwrap();
        verity.write_at(4096, &[5; 1000]).unwrap();
        verity.write_at(size_bytes - 1024, &[9; 1024]).unwrap();
        verity.write_at(40_960, &[8; 8192]).unwrap();
        verity.zero(45_056, 4096).unwrap();
        verity.write_at(1024, &[1; 1024]).unwrap();
        let place = size_bytes.next_multiple_of(4096);
        let tree = verity.write_tree(&memory, place).unwrap();
        verity.finish().unwrap();
        assert_eq!(tree.data_blocks, 301);
        assert_eq!(tree.hash_blocks, 3 + 1);
        let mut bytes = vec![0; size];
        memory.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes[1024], 1, "the superblock is there");
        assert_eq!(tree.root_hash, plain_root(&bytes, &salt));
    }

    #[test]
    fn a_tree_has_as_many_levels_as_it_needs() {
        assert_eq!(levels(1), Vec::<u64>::new());
        assert_eq!(levels(128), [1]);
        assert_eq!(levels(129), [2, 1]);
        assert_eq!(levels(733), [6, 1]);
        assert_eq!(levels(1 << 28), [1 << 21, 1 << 14, 128, 1]);
    }
}
