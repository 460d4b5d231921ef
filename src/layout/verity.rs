//! Given files that fs-verity shall protect, decides which of them can be and how large their Merkle trees
//! are; never hashes a byte, and never says where one lies.

use std::collections::HashMap;
use std::ops::Range;

use super::warning::{LayoutWarning, VerityLoss};
use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::ondisk::fsverity::{
    Descriptor, LEAST_BLOCK_BYTES, METADATA_ALIGN, MOST_SALT_BYTES, MOST_SIGNATURE_BYTES,
    TreeShape, USUAL_BLOCK_BYTES, algorithm_number,
};
use crate::ondisk::int::{Le32, Le64};
use crate::tree::{Content, Kind, NodeId, Tree, Verity};
use crate::units::{BlockSize, VerityHash};
use bytemuck::Zeroable;

/// What a file has beside its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerityPlan {
    /// What its blocks are hashed with.
    pub hash: VerityHash,
    /// The salt.
    pub salt: Vec<u8>,
    /// The signature; none where it is empty.
    pub signature: Vec<u8>,
    /// The hash of the tree's root, if it must be this one.
    pub root_hash: Option<Vec<u8>>,
    /// The tree.
    pub shape: TreeShape,
    size_bytes: u64,
    block_size: BlockSize,
}

impl VerityPlan {
    fn new(verity: &Verity, content: &Content, block_size: BlockSize) -> Result<Self, VerityLoss> {
        let usual = USUAL_BLOCK_BYTES.min(block_size.bytes());
        let block_bytes = verity.block_bytes.unwrap_or(usual);
        if content.placed().is_some() {
            return Err(VerityLoss::Streamed);
        }
        if block_bytes > block_size.bytes() {
            return Err(VerityLoss::BlockSize {
                tree: block_bytes,
                filesystem: block_size.bytes(),
            });
        }
        let is_storable = block_bytes >= LEAST_BLOCK_BYTES
            && verity.salt.len() <= MOST_SALT_BYTES
            && verity.signature.len() <= MOST_SIGNATURE_BYTES;
        let shape = TreeShape::new(content.size_bytes, block_bytes, verity.hash);
        let shape = shape.filter(|_| is_storable);
        Ok(Self {
            hash: verity.hash,
            salt: verity.salt.clone(),
            signature: verity.signature.clone(),
            root_hash: verity.root_hash.clone(),
            shape: shape.ok_or(VerityLoss::Unstorable)?,
            size_bytes: content.size_bytes,
            block_size,
        })
    }

    /// Where tree and descriptor begin, in bytes from the file's first.
    pub fn start(&self) -> u64 {
        self.size_bytes
            .checked_next_multiple_of(METADATA_ALIGN)
            .unwrap_or(u64::MAX - METADATA_ALIGN)
    }

    /// The bytes of tree and descriptor with what fills their blocks: the tree, and from the next block on
    /// the descriptor and the signature, whose length is in the last bytes of their last block
    /// (`ext4_write_verity_descriptor`).
    pub fn bytes(&self) -> u64 {
        let block = self.block_size.bytes_u64();
        let length = u64::try_from(self.descriptor_bytes() + size_of::<Le32>()).unwrap_or(u64::MAX);
        self.shape.bytes().next_multiple_of(block) + length.next_multiple_of(block)
    }

    /// The logical blocks of tree and descriptor.
    pub fn blocks(&self) -> Range<u64> {
        let block = self.block_size.bytes_u64();
        let first = self.start() / block;
        first..first + self.bytes() / block
    }

    /// The length of descriptor and signature.
    pub fn descriptor_bytes(&self) -> usize {
        size_of::<Descriptor>() + self.signature.len()
    }

    /// The descriptor of a tree whose root's hash is `root_hash`.
    pub fn descriptor(&self, root_hash: [u8; 64]) -> Descriptor {
        let mut descriptor = Descriptor::zeroed();
        descriptor.version = 1;
        descriptor.hash_algorithm = algorithm_number(self.hash);
        let log = self.shape.block_bytes.trailing_zeros();
        descriptor.log_blocksize = u8::try_from(log).expect("a block size is below 2^64");
        let salt = self.salt.len();
        descriptor.salt_size = u8::try_from(salt).expect("a salt has at most 32 bytes");
        let signature = u32::try_from(self.signature.len());
        descriptor.sig_size = Le32::new(signature.expect("a signature has at most 16128 bytes"));
        descriptor.data_size = Le64::new(self.size_bytes);
        descriptor.root_hash = root_hash;
        descriptor.salt[..salt].copy_from_slice(&self.salt);
        descriptor
    }
}

/// The files that fs-verity protects.
#[derive(Clone, Debug, Default)]
pub struct VerityPlans(HashMap<NodeId, VerityPlan>);

impl VerityPlans {
    /// Those of `tree` in a filesystem of `geometry`.
    pub(super) fn new(geometry: &Geometry, tree: &Tree, warnings: &mut Vec<LayoutWarning>) -> Self {
        let has_feature = geometry.features.has(Feature::Verity);
        let mut plans = HashMap::new();
        let mut lost: Vec<(VerityLoss, u64, NodeId)> = Vec::new();
        for (id, node) in tree.nodes() {
            let Kind::File(content) = &node.kind else {
                continue;
            };
            let Some(verity) = content.verity() else {
                continue;
            };
            let plan = if has_feature {
                VerityPlan::new(verity, content, geometry.block_size)
            } else {
                Err(VerityLoss::Feature)
            };
            match plan {
                Ok(plan) => {
                    plans.insert(id, plan);
                }
                Err(why) => match lost.iter_mut().find(|(known, ..)| *known == why) {
                    Some((_, files, _)) => *files += 1,
                    None => lost.push((why, 1, id)),
                },
            }
        }
        warnings.extend(lost.into_iter().map(|(why, files, first)| {
            let first = tree.path(first);
            LayoutWarning::VerityLost { files, first, why }
        }));
        Self(plans)
    }

    /// That of the file `node`.
    pub fn of(&self, node: NodeId) -> Option<&VerityPlan> {
        self.0.get(&node)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
