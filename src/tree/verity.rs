//! Given how fs-verity shall protect a file, says so; never hashes a byte of it.

use crate::units::VerityHash;

/// How a file is protected by fs-verity: the kernel then reads nothing of it whose hash is another, and
/// nobody can write to it.
///
/// ```
/// use mke4fs::tree::{Content, Verity};
/// use mke4fs::{Builder, Tree};
///
/// let mut tree = Tree::default();
/// let program = Content::from_bytes(*b"#!/bin/sh\n").with_verity(Verity::default());
/// tree.file("/init", program)?;
/// let image = Builder::new().with(|options| options.features("verity")).source(tree).to_vec()?;
/// # assert!(mke4fs::check::check(&image[..]).is_clean());
/// # Ok::<(), mke4fs::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verity {
    /// What its blocks are hashed with.
    pub hash: VerityHash,
    /// The bytes of a block of the Merkle tree: 1024 to the filesystem's block size. 4096, or a block of
    /// the filesystem where that is smaller, by default.
    pub block_bytes: Option<u32>,
    /// Up to 32 bytes that each block is hashed with.
    pub salt: Vec<u8>,
    /// A signature of the file's digest in the form that the kernel takes, up to 16,128 bytes; none where
    /// it is empty.
    pub signature: Vec<u8>,
    /// The hash of the tree's root, where it is known: data that has another is refused.
    pub root_hash: Option<Vec<u8>>,
}
