//! Given the ids that own something, shapes quota files; never counts what they own, nor has a limit.
//!
//! The shape is the one that e2fsprogs' `qtree_write_dquot` leaves when it enters ids one by one in
//! ascending order: a block is numbered when it is first needed, a node of the tree before what is
//! below it.

use bytemuck::{Zeroable, bytes_of};

use super::appended::AppendedFile;
use crate::ondisk::int::{Le16, Le32, Le64};
use crate::ondisk::quota::{
    BLOCK_BYTES, DEPTH, ENTRIES_PER_BLOCK, EntriesHeader, Entry, GRACE, Header, MAGICS, ROOT,
    VERSION,
};
use crate::options::QuotaType;
use crate::tree::Metadata;
use crate::units::{BlockSize, Ino};

/// The most blocks of 1 KiB: e2fsprogs reads no quota file past 2 GiB.
const MAX_BLOCKS: u64 = 1 << 21;

/// The bytes of a quota file of a single id.
pub(super) const LEAST_QUOTA_FILE: u64 = 6 * 1024;

/// The bytes of a quota file without an id: its header.
const EMPTY_QUOTA_FILE: u64 = 32;

/// A quota file.
#[derive(Clone, Debug)]
pub struct QuotaFile {
    /// Whose usage it holds.
    pub quota_type: QuotaType,
    /// Its inode.
    pub ino: Ino,
    /// Where its blocks are.
    pub file: AppendedFile,
    shape: QuotaShape,
    /// What each id uses, in the order of the ids.
    usage: Vec<Usage>,
}

/// What an id uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The bytes of its blocks.
    pub bytes: u64,
    /// Its inodes.
    pub inodes: u64,
}

/// Which ids a quota file has, and in which of its blocks. Blocks are those of 1 KiB.
#[derive(Clone, Debug)]
pub(super) struct QuotaShape {
    /// In ascending order.
    ids: Vec<u32>,
    /// By parent.
    references: Vec<Reference>,
    /// The blocks of entries, in ascending order.
    leaves: Vec<u32>,
    blocks: u32,
}

/// That a node of the tree leads to another block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reference {
    parent: u32,
    index: u8,
    child: u32,
}

impl QuotaShape {
    /// The shape of a file of `ids`, which are in ascending order; `None` where they are too many.
    fn new(ids: Vec<u32>) -> Option<Self> {
        let mut references = Vec::new();
        let mut leaves = Vec::new();
        let mut blocks = u64::from(ROOT) + 1;
        let mut next = || {
            let block = blocks;
            blocks += 1;
            u32::try_from(block).ok().filter(|_| blocks <= MAX_BLOCKS)
        };
        let mut path = [ROOT; DEPTH];
        let mut before: Option<u32> = None;
        for (place, id) in ids.iter().enumerate() {
            let bytes = id.to_be_bytes();
            // Nodes are shared as far as ids begin alike.
            let same = before.map_or(0, |before| (before ^ id).leading_zeros() / 8);
            for depth in 1..DEPTH {
                if u32::try_from(depth).is_ok_and(|depth| depth > same) {
                    path[depth] = next()?;
                    references.push(Reference {
                        parent: path[depth - 1],
                        index: bytes[depth - 1],
                        child: path[depth],
                    });
                }
            }
            if place % ENTRIES_PER_BLOCK == 0 {
                leaves.push(next()?);
            }
            references.push(Reference {
                parent: path[DEPTH - 1],
                index: bytes[DEPTH - 1],
                child: *leaves.last()?,
            });
            before = Some(*id);
        }
        references.sort_by_key(|reference| reference.parent);
        Some(Self {
            ids,
            references,
            leaves,
            blocks: u32::try_from(blocks).ok()?,
        })
    }

    /// The shape of the file for what `owners` have, or else how many ids are too many.
    pub(super) fn of(
        quota_type: QuotaType,
        owners: impl Iterator<Item = OwnerIds>,
    ) -> Result<Self, usize> {
        let ids = ids(quota_type, owners);
        let count = ids.len();
        Self::new(ids).ok_or(count)
    }

    /// The file's size in bytes: without an id, e2fsprogs writes no root of the tree.
    fn size_bytes(&self) -> u64 {
        if self.ids.is_empty() {
            EMPTY_QUOTA_FILE
        } else {
            u64::from(self.blocks) * 1024
        }
    }

    /// The blocks of the filesystem that the file fills, in the order in which e2fsprogs writes
    /// them. The root of the tree is written last, after all that is below it; larger blocks hold
    /// it together with the header.
    pub(super) fn blocks_in_order(&self, block_size: BlockSize) -> Vec<u64> {
        let mut blocks: Vec<u64> = (0..self.blocks_in(block_size)).collect();
        if block_size == BlockSize::MIN && blocks.len() > FIRST_PATH {
            blocks[1..=FIRST_PATH].rotate_left(1);
        }
        blocks
    }

    /// How many blocks of the filesystem the file fills.
    pub(super) fn blocks_in(&self, block_size: BlockSize) -> u64 {
        block_size.blocks_for(self.size_bytes())
    }

    /// Renders block `number`.
    fn render(&self, number: u32, block: &mut [u8], usage: &[Usage], magic: u32) {
        if number == 0 {
            put(block, 0, bytes_of(&self.header(magic)));
        } else if let Ok(leaf) = self.leaves.binary_search(&number) {
            self.render_leaf(leaf, block, usage);
        } else {
            let first = self
                .references
                .partition_point(|reference| reference.parent < number);
            let references = self.references[first..].iter();
            for reference in references.take_while(|reference| reference.parent == number) {
                let child = Le32::new(reference.child);
                put(block, usize::from(reference.index) * 4, bytes_of(&child));
            }
        }
    }

    fn header(&self, magic: u32) -> Header {
        let is_full = self.ids.len().is_multiple_of(ENTRIES_PER_BLOCK);
        let open = self.leaves.last().filter(|_| !is_full);
        Header {
            dqh_magic: Le32::new(magic),
            dqh_version: Le32::new(VERSION),
            dqi_bgrace: Le32::new(GRACE),
            dqi_igrace: Le32::new(GRACE),
            dqi_blocks: Le32::new(self.blocks),
            dqi_free_entry: Le32::new(open.copied().unwrap_or(0)),
            ..Header::zeroed()
        }
    }

    fn render_leaf(&self, leaf: usize, block: &mut [u8], usage: &[Usage]) {
        let all = self.ids.iter().zip(usage);
        let own = all.skip(leaf * ENTRIES_PER_BLOCK).take(ENTRIES_PER_BLOCK);
        let mut entries = 0;
        let mut offset = size_of::<EntriesHeader>();
        for (id, usage) in own {
            let entry = Entry {
                dqb_id: Le32::new(*id),
                dqb_curinodes: Le64::new(usage.inodes),
                dqb_curspace: Le64::new(usage.bytes),
                ..Entry::zeroed()
            };
            put(block, offset, bytes_of(&entry));
            offset += size_of::<Entry>();
            entries += 1;
        }
        let header = EntriesHeader {
            dqdh_entries: Le16::new(entries),
            ..EntriesHeader::zeroed()
        };
        put(block, 0, bytes_of(&header));
    }
}

/// The block of the first id's entry: the header, the root and three nodes are before it.
const FIRST_PATH: usize = DEPTH + 1;

fn put(block: &mut [u8], offset: usize, bytes: &[u8]) {
    block[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl QuotaFile {
    /// The file of `shape` at `file`, before anything is counted.
    pub(super) fn new(
        quota_type: QuotaType,
        ino: Ino,
        shape: QuotaShape,
        file: AppendedFile,
    ) -> Self {
        Self {
            quota_type,
            ino,
            file,
            usage: vec![Usage::default(); shape.ids.len()],
            shape,
        }
    }

    /// The file's size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.shape.size_bytes()
    }

    /// What each id uses, in ascending order of ids.
    pub fn usage(&self) -> impl Iterator<Item = (u32, Usage)> + '_ {
        self.shape
            .ids
            .iter()
            .copied()
            .zip(self.usage.iter().copied())
    }

    /// Renders the file's block `logical`, which is as long as the filesystem's are.
    pub fn render_block(&self, logical: u32, block: &mut [u8]) {
        block.fill(0);
        let per_block = u32::try_from(block.len() / BLOCK_BYTES).unwrap_or(1);
        let numbers = logical * per_block..;
        let magic = MAGICS[self.quota_type.index()];
        for (number, part) in numbers.zip(block.chunks_exact_mut(BLOCK_BYTES)) {
            if number < self.shape.blocks {
                self.shape.render(number, part, &self.usage, magic);
            }
        }
    }

    /// Adds what one inode has.
    pub(super) fn count(&mut self, owner: OwnerIds, more: Usage) {
        let id = owner.id(self.quota_type);
        if let Ok(place) = self.shape.ids.binary_search(&id) {
            let usage = &mut self.usage[place];
            usage.bytes = usage.bytes.saturating_add(more.bytes);
            usage.inodes = usage.inodes.saturating_add(more.inodes);
        }
    }
}

/// Whom an inode belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnerIds {
    uid: u32,
    gid: u32,
}

impl OwnerIds {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            uid: metadata.uid,
            gid: metadata.gid,
        }
    }

    fn id(self, quota_type: QuotaType) -> u32 {
        match quota_type {
            QuotaType::User => self.uid,
            QuotaType::Group => self.gid,
            // Every inode is made in project 0.
            QuotaType::Project => 0,
        }
    }
}

/// The ids of `owners`, in ascending order.
fn ids(quota_type: QuotaType, owners: impl Iterator<Item = OwnerIds>) -> Vec<u32> {
    let mut ids: Vec<u32> = owners.map(|owners| owners.id(quota_type)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(ids: &[u32]) -> u32 {
        QuotaShape::new(ids.to_vec()).expect("few ids").blocks
    }

    #[test]
    fn ids_share_nodes_as_far_as_they_begin_alike() {
        assert_eq!(blocks(&[0]), 6);
        assert_eq!(blocks(&[0, 1, 255]), 6);
        assert_eq!(blocks(&[0, 256]), 7);
        assert_eq!(blocks(&[0, 65536]), 8);
        assert_eq!(blocks(&[0, u32::MAX - 1]), 9);
        assert_eq!(blocks(&(0..14).collect::<Vec<_>>()), 6);
        assert_eq!(blocks(&(0..15).collect::<Vec<_>>()), 7);
    }

    #[test]
    fn a_file_past_2_gib_is_refused() {
        let scattered: Vec<u32> = (0..1 << 21).map(|id| id << 8).collect();
        assert!(QuotaShape::new(scattered).is_none());
    }

    #[test]
    fn the_root_is_written_after_the_first_entry() {
        let shape = QuotaShape::new(vec![0, 256]).expect("few ids");
        let order = shape.blocks_in_order(BlockSize::MIN);
        assert_eq!(order, [0, 2, 3, 4, 5, 1, 6]);
        let larger = BlockSize::new(4096).expect("a block size");
        assert_eq!(shape.blocks_in_order(larger), [0, 1]);
    }
}
