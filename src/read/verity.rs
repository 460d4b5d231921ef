//! Given a file that fs-verity protects, gives what its Merkle tree is made with and its digest; never
//! looks whether the data are what the tree says.
//!
//! Layout: the kernel's `fs/ext4/verity.c` by its description in `Documentation/filesystems/fsverity.rst`:
//! the length of the descriptor is in the last bytes that are allocated, the descriptor in whole blocks
//! before, and before that the tree, which begins at a multiple of 64 KiB.

use std::ops::Range;

use super::bytes::{index, length, pod};
use super::error::{Error, Result};
use super::file::File;
use super::mapped::Extent;
use crate::ondisk::fsverity::{Descriptor, METADATA_ALIGN, MOST_SIGNATURE_BYTES, TreeShape};
use crate::ondisk::inode::{FLAG_EXTENTS, FLAG_VERITY};
use crate::units::VerityHash;

/// What protects a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verity {
    descriptor: Descriptor,
    hash: VerityHash,
    block_bytes: u32,
    signature: Vec<u8>,
}

impl Verity {
    /// What the bytes of a descriptor say of a file of `size_bytes`, with a signature beside it.
    pub(crate) fn of(
        descriptor: &[u8],
        signature: Vec<u8>,
        size_bytes: u64,
    ) -> std::result::Result<Self, &'static str> {
        let descriptor: Option<Descriptor> = pod(descriptor, 0);
        let descriptor = descriptor.ok_or("its fs-verity descriptor is truncated")?;
        if let Some(rule) = descriptor.fault(size_bytes) {
            return Err(rule);
        }
        let (hash, block_bytes) = descriptor
            .algorithm()
            .zip(descriptor.block_bytes())
            .ok_or("its fs-verity descriptor has an unknown hash algorithm")?;
        Ok(Self {
            descriptor,
            hash,
            block_bytes,
            signature,
        })
    }

    /// What its blocks are hashed with.
    pub fn hash(&self) -> VerityHash {
        self.hash
    }

    /// The bytes of a block of the tree.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// What each block is hashed with, of up to 32 bytes.
    pub fn salt(&self) -> &[u8] {
        self.descriptor.salt().unwrap_or_default()
    }

    /// The hash of the tree's root.
    pub fn root_hash(&self) -> &[u8] {
        &self.descriptor.root_hash[..self.hash.bytes()]
    }

    /// The signature of the digest; empty where there is none.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The digest that the kernel measures.
    pub fn digest(&self) -> Vec<u8> {
        let digest = self.descriptor.digest();
        digest.map_or(Vec::new(), |digest| digest.as_bytes().to_vec())
    }
}

/// Where tree and descriptor are in a file, in bytes from its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerityPlace {
    pub(crate) tree: Range<u64>,
    pub(crate) descriptor: Range<u64>,
}

/// Where the descriptor of a file of `size` bytes is whose last `allocated` byte ends a length.
pub(crate) fn descriptor_place(
    size: u64,
    allocated: u64,
    stored_length: u32,
    block_bytes: u64,
) -> std::result::Result<Range<u64>, &'static str> {
    let least = size_of::<Descriptor>();
    let most = least + MOST_SIGNATURE_BYTES;
    let stored = usize::try_from(stored_length).unwrap_or(usize::MAX);
    if !(least..=most).contains(&stored) {
        return Err("the length of its fs-verity descriptor is invalid");
    }
    let start = allocated
        .checked_sub(length(size_of::<u32>() + stored))
        .map(|start| start - start % block_bytes);
    let first = size.checked_next_multiple_of(METADATA_ALIGN);
    match (start, first) {
        (Some(start), Some(first)) if start >= first => Ok(start..start + u64::from(stored_length)),
        _ => Err("its fs-verity descriptor is not past the end of its data"),
    }
}

/// Where the tree is that `descriptor`, which lies at `place`, is of.
pub(crate) fn tree_place(
    descriptor: &Descriptor,
    place: Range<u64>,
) -> std::result::Result<(TreeShape, VerityPlace), &'static str> {
    let size = descriptor.data_size.get();
    let shape = descriptor
        .block_bytes()
        .zip(descriptor.algorithm())
        .and_then(|(block_bytes, hash)| TreeShape::new(size, block_bytes, hash))
        .ok_or("its fs-verity tree has more levels than there can be")?;
    let first = size
        .checked_next_multiple_of(METADATA_ALIGN)
        .unwrap_or(u64::MAX);
    let end = first.saturating_add(shape.bytes());
    if end > place.start {
        return Err("its fs-verity tree reaches into the descriptor");
    }
    let tree = first..end;
    let descriptor = place;
    Ok((shape, VerityPlace { tree, descriptor }))
}

/// Whether `extents` have all blocks of `range`, in bytes.
pub(crate) fn holds(extents: &[Extent], range: &Range<u64>, block_bytes: u64) -> bool {
    let blocks = range.start / block_bytes..range.end.div_ceil(block_bytes);
    let mut next = blocks.start;
    for extent in extents.iter().filter(|extent| !extent.is_unwritten) {
        if extent.logical <= next && next < extent.end() {
            next = extent.end();
        }
    }
    next >= blocks.end
}

impl File<'_> {
    /// How fs-verity protects the file, if it does.
    ///
    /// # Errors
    /// Where the tree or its descriptor is missing, in part or whole, or the descriptor breaks a rule of the
    /// format.
    pub fn verity(&self) -> Result<Option<Verity>> {
        let inode = self.inode();
        if !inode.has_flag(FLAG_VERITY) {
            return Ok(None);
        }
        let broken = |rule| Error::rule(rule).in_inode(inode.ino());
        if !inode.has_flag(FLAG_EXTENTS) {
            return Err(broken("it has fs-verity and no extents"));
        }
        let block_bytes = self.block_bytes();
        let extents = self.extents()?;
        let blocks = extents.last().map_or(0, Extent::end);
        let allocated = blocks.saturating_mul(block_bytes);
        let mut stored_length = [0; size_of::<u32>()];
        let end = allocated.checked_sub(length(stored_length.len()));
        let end = end.ok_or_else(|| broken("it has fs-verity and no descriptor"))?;
        self.read_behind(end, &mut stored_length)?;
        let stored_length = u32::from_le_bytes(stored_length);
        let place = descriptor_place(inode.size(), allocated, stored_length, block_bytes);
        let place = place.map_err(broken)?;
        let mut bytes = vec![0; index(place.end - place.start)];
        self.read_behind(place.start, &mut bytes)?;
        let (descriptor, rest) = bytes.split_at(size_of::<Descriptor>().min(bytes.len()));
        let verity = Verity::of(descriptor, Vec::new(), inode.size()).map_err(broken)?;
        let signature = rest.get(..index(verity.descriptor.sig_size.get().into()));
        let signature = signature.ok_or_else(|| broken("its fs-verity signature is truncated"))?;
        let (_, place) = tree_place(&verity.descriptor, place).map_err(broken)?;
        // Whoever makes a tree again for it then spends no more than this image holds.
        if !holds(
            &extents,
            &(place.tree.start..place.descriptor.end),
            block_bytes,
        ) {
            return Err(broken("its fs-verity tree has a hole"));
        }
        Ok(Some(Verity {
            signature: signature.to_vec(),
            ..verity
        }))
    }
}
