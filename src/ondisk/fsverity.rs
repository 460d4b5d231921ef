//! Given what a file's Merkle tree is made with, gives its shape, the hashes of its blocks and the
//! descriptor of fs-verity; never where they lie on disk.
//!
//! The format is the kernel's, `Documentation/filesystems/fsverity.rst`: the levels of the tree from the
//! root's down, each padded to whole blocks, and a descriptor whose hash is the file's digest.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable, bytes_of};
use sha2::{Digest, Sha256, Sha512};

use super::int::{Le32, Le64};
use crate::units::{VerityHash, is_zero};

/// Tree and descriptor of a file begin at a multiple of this many bytes, at or past its end
/// (`ext4_verity_metadata_pos`).
pub const METADATA_ALIGN: u64 = 1 << 16;
/// The longest signature (`FS_VERITY_MAX_SIGNATURE_SIZE`).
pub const MOST_SIGNATURE_BYTES: usize = 16384 - size_of::<Descriptor>();
/// The longest salt.
pub const MOST_SALT_BYTES: usize = 32;
/// The smallest block of a tree.
pub const LEAST_BLOCK_BYTES: u32 = 1024;
/// The largest that is made: that of the page on most machines, which the kernel does not go beyond.
pub const USUAL_BLOCK_BYTES: u32 = 4096;
/// The most levels that the kernel takes (`FS_VERITY_MAX_LEVELS`).
const MOST_LEVELS: usize = 8;

/// `fsverity_descriptor`; a signature follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "each field is documented by its name in fsverity.rst"
)]
pub struct Descriptor {
    pub version: u8,
    pub hash_algorithm: u8,
    pub log_blocksize: u8,
    pub salt_size: u8,
    pub sig_size: Le32,
    pub data_size: Le64,

    pub root_hash: [u8; 64],

    pub salt: [u8; MOST_SALT_BYTES],

    pub reserved: [u8; 144],
}

const _: () = assert!(size_of::<Descriptor>() == 256);
const _: () = assert!(offset_of!(Descriptor, root_hash) == 16);
const _: () = assert!(offset_of!(Descriptor, salt) == 80);

/// The number by which a descriptor names `hash`.
pub fn algorithm_number(hash: VerityHash) -> u8 {
    match hash {
        VerityHash::Sha256 => 1,
        VerityHash::Sha512 => 2,
    }
}

/// The hash that `number` names in a descriptor.
pub fn algorithm_of(number: u8) -> Option<VerityHash> {
    match number {
        1 => Some(VerityHash::Sha256),
        2 => Some(VerityHash::Sha512),
        _ => None,
    }
}

impl Descriptor {
    /// The hash that it names, if that is known.
    pub fn algorithm(&self) -> Option<VerityHash> {
        algorithm_of(self.hash_algorithm)
    }

    /// The bytes of a block of its tree, if they are a number of bytes that the format has.
    pub fn block_bytes(&self) -> Option<u32> {
        (10..=16)
            .contains(&self.log_blocksize)
            .then(|| 1 << self.log_blocksize)
    }

    /// The salt, if it is no longer than the room for it.
    pub fn salt(&self) -> Option<&[u8]> {
        self.salt.get(..usize::from(self.salt_size))
    }

    /// What is wrong with it in a file of `size_bytes`, whatever the tree is.
    pub fn fault(&self, size_bytes: u64) -> Option<&'static str> {
        let Some(algorithm) = self.algorithm() else {
            return Some("its fs-verity descriptor has an unknown hash algorithm");
        };
        let salt = self.salt();
        let unused_root = &self.root_hash[algorithm.bytes()..];
        let unused_salt = salt.map_or(&[][..], |salt| &self.salt[salt.len()..]);
        if self.version != 1 {
            Some("its fs-verity descriptor is not of version 1")
        } else if self.block_bytes().is_none() {
            Some("its fs-verity descriptor has an invalid block size")
        } else if salt.is_none() {
            Some("its fs-verity descriptor has too long a salt")
        } else if self.data_size.get() != size_bytes {
            Some("its fs-verity descriptor is for a file of another size")
        } else if !is_zero(unused_root) || !is_zero(unused_salt) || !is_zero(&self.reserved) {
            Some("its fs-verity descriptor has bytes set that are reserved")
        } else {
            None
        }
    }

    /// The file's digest, which the kernel measures and a signature signs.
    pub fn digest(&self) -> Option<Hash> {
        let unsigned = Self {
            sig_size: Le32::new(0),
            ..*self
        };
        let hasher = BlockHasher::new(self.algorithm()?, &[]);
        Some(hasher.hash(bytes_of(&unsigned)))
    }
}

/// A hash of one of the algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    bytes: [u8; 64],
    len: usize,
}

impl Hash {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Its bytes as the descriptor has a root's, with zeros behind.
    pub fn padded(&self) -> [u8; 64] {
        self.bytes
    }

    /// The hash that is all zeros, as an empty file's root is.
    pub fn zero(algorithm: VerityHash) -> Self {
        Self::of(&[0; 64][..algorithm.bytes()])
    }

    /// The hash that `hash`, of at most 64 bytes, is.
    pub fn of(hash: &[u8]) -> Self {
        let mut bytes = [0; 64];
        bytes[..hash.len()].copy_from_slice(hash);
        Self {
            bytes,
            len: hash.len(),
        }
    }
}

/// Hashes blocks, with the salt in front.
#[derive(Clone)]
pub struct BlockHasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl BlockHasher {
    /// What hashes by `algorithm` with `salt`, which is padded to a block of the algorithm.
    pub fn new(algorithm: VerityHash, salt: &[u8]) -> Self {
        let mut padded = salt.to_vec();
        Self(match algorithm {
            VerityHash::Sha256 => {
                padded.resize(salt.len().next_multiple_of(64), 0);
                State::Sha256(Sha256::new().chain_update(padded))
            }
            VerityHash::Sha512 => {
                padded.resize(salt.len().next_multiple_of(128), 0);
                State::Sha512(Sha512::new().chain_update(padded))
            }
        })
    }

    /// The hash of `block`.
    pub fn hash(&self, block: &[u8]) -> Hash {
        match &self.0 {
            State::Sha256(salted) => Hash::of(&salted.clone().chain_update(block).finalize()),
            State::Sha512(salted) => Hash::of(&salted.clone().chain_update(block).finalize()),
        }
    }
}

/// The shape of a Merkle tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeShape {
    /// The bytes of a block, of data and of the tree.
    pub block_bytes: u64,
    /// How many blocks of data there are.
    pub data_blocks: u64,
    /// How many blocks each level has, from the lowest up.
    levels: Vec<u64>,
    hash_bytes: u64,
}

impl TreeShape {
    /// The tree over `size_bytes` of data; none where it has more levels than the kernel takes, or its
    /// blocks have a size that the format has not.
    pub fn new(size_bytes: u64, block_bytes: u32, algorithm: VerityHash) -> Option<Self> {
        let sizes = LEAST_BLOCK_BYTES..=1 << 16;
        if !block_bytes.is_power_of_two() || !sizes.contains(&block_bytes) {
            return None;
        }
        let hash_bytes = u64::try_from(algorithm.bytes()).unwrap_or(64);
        let block_bytes = u64::from(block_bytes);
        let data_blocks = size_bytes.div_ceil(block_bytes);
        let mut levels = Vec::new();
        let mut blocks = data_blocks;
        while blocks > 1 {
            blocks = blocks.div_ceil(block_bytes / hash_bytes);
            levels.push(blocks);
        }
        (levels.len() <= MOST_LEVELS).then_some(Self {
            block_bytes,
            data_blocks,
            levels,
            hash_bytes,
        })
    }

    /// How many levels there are; none where all data is in one block.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// The bytes of the whole tree.
    pub fn bytes(&self) -> u64 {
        self.levels.iter().sum::<u64>() * self.block_bytes
    }

    /// Which bytes of the tree are those of `level`, counted from the lowest.
    pub fn level_bytes(&self, level: usize) -> std::ops::Range<u64> {
        let above: u64 = self.levels.iter().skip(level + 1).sum();
        let blocks = self.levels.get(level).copied().unwrap_or(0);
        above * self.block_bytes..(above + blocks) * self.block_bytes
    }

    /// The bytes of a hash.
    pub fn hash_bytes(&self) -> u64 {
        self.hash_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_are_those_that_the_kernel_counts() {
        let levels = |size, block, hash| TreeShape::new(size, block, hash).map(|it| it.levels);
        use VerityHash::{Sha256, Sha512};
        assert_eq!(levels(0, 4096, Sha256), Some(vec![]));
        assert_eq!(levels(4096, 4096, Sha256), Some(vec![]));
        assert_eq!(levels(4097, 4096, Sha256), Some(vec![1]));
        assert_eq!(levels(128 * 4096, 4096, Sha256), Some(vec![1]));
        assert_eq!(levels(128 * 4096 + 1, 4096, Sha256), Some(vec![2, 1]));
        assert_eq!(levels(64 * 4096 + 1, 4096, Sha512), Some(vec![2, 1]));
        assert_eq!(levels(u64::MAX, 1024, Sha512), None);
        assert_eq!(levels(1, 512, Sha256), None);
        let shape = TreeShape::new(128 * 4096 + 1, 4096, Sha256).unwrap();
        assert_eq!(shape.level_bytes(1), 0..4096);
        assert_eq!(shape.level_bytes(0), 4096..3 * 4096);
        assert_eq!(shape.bytes(), 3 * 4096);
    }
}
