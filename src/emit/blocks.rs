//! Given a claim, renders its blocks one by one; never what a file holds, and never a superblock.

use super::{EmitError, Image};
use crate::feature::Feature;
use crate::layout::directory::{Directory, DirectoryPlan};
use crate::layout::{Claim, HugeDirectory, NoEntries, Owner, StoredXattr};
use crate::ondisk::xattr::{XattrEntry, render_block, seal_block};
use crate::tree::{Kind, NodeId, NodeIndex};
use crate::units::{Block, Group, Ino, LogicalBlock};

/// `owner` of the blocks `count` further on in its run.
pub(super) fn further(owner: Owner, count: u64) -> Owner {
    let behind = |block: LogicalBlock| {
        let count = u32::try_from(count).expect("a file has fewer than 2^32 blocks");
        LogicalBlock::new(block.get() + count)
    };
    match owner {
        Owner::LostFound(block) => Owner::LostFound(behind(block)),
        Owner::Journal(block) => Owner::Journal(behind(block)),
        Owner::QuotaFile(quota_type, block) => Owner::QuotaFile(quota_type, behind(block)),
        Owner::OrphanFile(block) => Owner::OrphanFile(behind(block)),
        Owner::HugeFile(block) => Owner::HugeFile(behind(block)),
        Owner::HugeDirectory(number, block) => Owner::HugeDirectory(number, behind(block)),
        Owner::Directory(node, block) => Owner::Directory(node, behind(block)),
        Owner::File(node, block) => Owner::File(node, behind(block)),
        Owner::Value(number, block) => Owner::Value(number, behind(block)),
        Owner::Superblock(_)
        | Owner::BootBlock
        | Owner::ClusterSlack
        | Owner::GroupDescs(_)
        | Owner::MetaBgDescs { .. }
        | Owner::ReservedGdt(_)
        | Owner::BlockBitmap(_)
        | Owner::InodeBitmap(_)
        | Owner::InodeTable(_)
        | Owner::LostFoundNode(_)
        | Owner::ResizeDoubleIndirect
        | Owner::JournalNode(_)
        | Owner::Mmp
        | Owner::QuotaFileNode(_, _)
        | Owner::OrphanFileNode(_)
        | Owner::HugeFileNode(_)
        | Owner::HugeDirectoryNode(_, _)
        | Owner::Symlink(_)
        | Owner::MapNode(_, _)
        | Owner::Xattrs(_)
        | Owner::ValueMapNode(_, _) => owner,
    }
}

impl Image<'_> {
    /// How many blocks of a claim, from its first on, are written, now or as they arrived. The primary superblock is
    /// written by itself, and what reads as zeros or is left as it was is not written.
    pub(super) fn blocks_to_write(&self, claim: &Claim) -> u64 {
        let len = claim.run().len;
        match claim.owner {
            Owner::Superblock(group) if group.get() == 0 => 0,
            // Where old data would show, huge files are zeroed beforehand.
            Owner::BootBlock | Owner::ClusterSlack | Owner::HugeFile(_) => 0,
            Owner::ReservedGdt(group) => {
                if group.get() == 0 && self.layout.system.resize.is_some() {
                    len
                } else {
                    0
                }
            }
            Owner::BlockBitmap(group) => {
                let layout = self.layout;
                u64::from(layout.writes_block_bitmaps() && !layout.block_bitmap_uninit(group))
            }
            Owner::InodeBitmap(group) => {
                let layout = self.layout;
                u64::from(layout.writes_inode_bitmaps() && !layout.inode_bitmap_uninit(group))
            }
            Owner::InodeTable(group) => u64::from(self.used_table_blocks(group)),
            Owner::Journal(block) => u64::from(block.get() == 0),
            Owner::Superblock(_)
            | Owner::GroupDescs(_)
            | Owner::MetaBgDescs { .. }
            | Owner::LostFound(_)
            | Owner::LostFoundNode(_)
            | Owner::ResizeDoubleIndirect
            | Owner::JournalNode(_)
            | Owner::Mmp
            | Owner::QuotaFile(_, _)
            | Owner::QuotaFileNode(_, _)
            | Owner::OrphanFile(_)
            | Owner::OrphanFileNode(_)
            | Owner::HugeFileNode(_)
            | Owner::HugeDirectory(_, _)
            | Owner::HugeDirectoryNode(_, _)
            | Owner::Directory(_, _)
            | Owner::Symlink(_)
            | Owner::File(_, _)
            | Owner::MapNode(_, _)
            | Owner::Xattrs(_)
            | Owner::Value(_, _)
            | Owner::ValueMapNode(_, _) => len,
        }
    }

    /// Renders the block `offset` blocks into the piece that `owner` begins with, at `place`; `block` is
    /// zero until then.
    pub(super) fn render(&self, owner: Owner, offset: u64, place: Block, block: &mut [u8]) {
        let (layout, system) = (self.layout, &self.layout.system);
        match further(owner, offset) {
            Owner::GroupDescs(_) | Owner::MetaBgDescs { .. } => {
                block.copy_from_slice(self.descriptors_at(owner, place, block.len()));
            }
            Owner::ReservedGdt(_) => self.render_reserved_gdt(place, block),
            Owner::BlockBitmap(group) => self.render_block_bitmap(group, block),
            Owner::InodeBitmap(group) => self.render_inode_bitmap(group, block),
            Owner::LostFound(logical) => self.render_made_directory(logical, block),
            Owner::LostFoundNode(number) => {
                let file = system.lost_found.as_ref();
                self.render_appended_node(file, Ino::FIRST, number, block);
            }
            Owner::ResizeDoubleIndirect => self.render_resize_double_indirect(block),
            Owner::Journal(_) => self.render_journal_superblock(block),
            Owner::JournalNode(number) => {
                let file = system.journal.as_ref();
                self.render_appended_node(file, Ino::JOURNAL, number, block);
            }
            Owner::Mmp => self.render_mmp(block),
            Owner::QuotaFile(quota_type, logical) => {
                if let Some(file) = system.quota_file(quota_type) {
                    file.render_block(logical.get(), block);
                }
            }
            Owner::QuotaFileNode(quota_type, number) => {
                if let Some(quota) = system.quota_file(quota_type) {
                    self.render_appended_node(Some(&quota.file), quota.ino, number, block);
                }
            }
            Owner::OrphanFile(_) => self.render_orphan_block(place, block),
            Owner::OrphanFileNode(number) => {
                let ino = layout.geometry.orphan_ino().unwrap_or_default();
                self.render_appended_node(system.orphan_file.as_ref(), ino, number, block);
            }
            Owner::HugeFileNode(_) => self.render_huge_node(place, block),
            Owner::HugeDirectory(number, logical) => {
                self.render_huge_directory(number, logical, block);
            }
            Owner::HugeDirectoryNode(number, node) => {
                self.render_huge_directory_node(number, node, block);
            }
            Owner::Directory(NodeIndex::ROOT, logical) if system.huge.is_some() => {
                self.render_huge_directory(0, logical, block);
            }
            Owner::Directory(node, logical) => {
                self.render_directory(self.tree.id(node), logical, block);
            }
            Owner::Symlink(node) => {
                block.fill(0);
                if let Kind::Symlink(target) = &self.node(node).kind {
                    block[..target.len()].copy_from_slice(target);
                }
            }
            Owner::MapNode(node, number) => {
                let number = usize::try_from(number).expect("32 bits fit any usize");
                let node = self.tree.id(node);
                let seed = self.inode_seed(layout.content.ino_of(node));
                layout.content.map_of(node).render_node(number, block, seed);
            }
            Owner::Xattrs(number) => self.render_xattr_block(number, place, block),
            Owner::Value(value, logical) => self.render_value(value, logical, block),
            Owner::ValueMapNode(value, number) => {
                let number = usize::try_from(number).expect("32 bits fit any usize");
                let seed = self.inode_seed(layout.content.ino_of_value(value));
                let map = layout.content.map_of_value(value);
                map.render_node(number, block, seed);
            }
            // What can fail is not rendered here.
            Owner::Superblock(_)
            | Owner::BootBlock
            | Owner::ClusterSlack
            | Owner::InodeTable(_)
            | Owner::HugeFile(_)
            | Owner::File(_, _) => block.fill(0),
        }
    }

    /// The `length` bytes of descriptors that begin at the block `place` of `owner`.
    pub(super) fn descriptors_at(&self, owner: Owner, place: Block, length: usize) -> &[u8] {
        let geometry = &self.layout.geometry;
        let index = match owner {
            Owner::MetaBgDescs { index } => u64::from(index),
            _ => {
                let group = geometry.group_of_block(place);
                let copy = geometry.backups(group).descriptors;
                copy.map_or(0, |copy| place.get() - copy.start.get())
            }
        };
        let block_bytes = geometry.block_size.bytes_usize();
        let start = usize::try_from(index).expect("fits memory") * block_bytes;
        &self.descriptors[start..start + length]
    }

    /// A block of an attribute's value.
    fn render_value(&self, number: u32, logical: LogicalBlock, block: &mut [u8]) {
        let number = usize::try_from(number).expect("32 bits fit any usize");
        let value = &self.layout.xattrs.values()[number].bytes;
        let before = usize::try_from(logical.get()).expect("32 bits fit any usize");
        let rest = value.get(before * block.len()..).unwrap_or_default();
        let length = rest.len().min(block.len());
        block[..length].copy_from_slice(&rest[..length]);
        block[length..].fill(0);
    }

    /// Renders a block of an inode table, and reads the content that lies in inodes.
    pub(super) fn render_inode_table(
        &self,
        group: Group,
        place: Block,
        block: &mut [u8],
    ) -> Result<(), EmitError> {
        let geometry = &self.layout.geometry;
        let size = usize::from(geometry.inode_size);
        let per_block = geometry.block_size.bytes() / u32::from(geometry.inode_size);
        let table = self.layout.tables_of(group).inode_table;
        let before = u32::try_from(place.get() - table.get()).expect("a table is short");
        let first = geometry.group_first_ino(group).get() + before * per_block;
        let end = geometry.group_first_ino(group).get() + geometry.inodes_per_group;
        block.fill(0);
        for (ino, stored) in (first..end).zip(block.chunks_exact_mut(size)) {
            self.render_inode(Ino::new(ino), stored)?;
        }
        Ok(())
    }

    /// A block of the lost+found that the tree does not have.
    fn render_made_directory(&self, logical: LogicalBlock, block: &mut [u8]) {
        let blocks = self.layout.system.lost_found.as_ref();
        let blocks = blocks.map_or(1, |file| u32::try_from(file.blocks).unwrap_or(u32::MAX));
        let directory = self.directory(&NoEntries, Ino::FIRST, Ino::ROOT);
        let plan = if self.has(Feature::InlineData) {
            DirectoryPlan::moved_out(blocks)
        } else {
            DirectoryPlan::empty(blocks)
        };
        plan.render_block(logical.get(), block, &directory);
    }

    fn render_directory(&self, node: NodeId, logical: LogicalBlock, block: &mut [u8]) {
        let content = &self.layout.content;
        let planned = content.directory(node);
        let entries = content.entries(self.tree, node);
        let (this, parent) = (content.ino_of(node), content.ino_of(planned.parent));
        let directory = self.directory(&entries, this, parent);
        planned.plan.render_block(logical.get(), block, &directory);
    }

    fn huge_directory(&self, number: u32) -> Option<&HugeDirectory> {
        let number = usize::try_from(number).ok()?;
        self.layout.system.huge.as_ref()?.directories.get(number)
    }

    fn render_huge_directory(&self, number: u32, logical: LogicalBlock, block: &mut [u8]) {
        if let Some(found) = self.huge_directory(number) {
            let directory = self.directory(found, found.ino, found.parent);
            found.plan.render_block(logical.get(), block, &directory);
        }
    }

    fn render_huge_directory_node(&self, number: u32, node: u32, block: &mut [u8]) {
        if let Some(found) = self.huge_directory(number) {
            let node = usize::try_from(node).expect("32 bits fit any usize");
            let seed = self.inode_seed(found.ino);
            found.tree.render_block(node, block, seed);
        }
    }

    fn render_huge_node(&self, place: Block, block: &mut [u8]) {
        let huge = self.layout.system.huge.as_ref();
        if let Some((file, node, ino)) = huge.and_then(|huge| huge.node_at(place)) {
            file.render_node(node, block, self.inode_seed(ino));
        }
    }

    fn directory<'a, E>(&'a self, entries: &'a E, this: Ino, parent: Ino) -> Directory<'a, E> {
        Directory {
            rules: &self.layout.content.rules,
            entries,
            this,
            parent,
            inode_seed: self.inode_seed(this).unwrap_or_default(),
        }
    }

    fn render_xattr_block(&self, number: u32, place: Block, block: &mut [u8]) {
        let (xattrs, refcount) = self.layout.xattrs.block(number);
        let entries: Vec<XattrEntry<'_>> = xattrs.iter().map(StoredXattr::entry).collect();
        let rendered = render_block(&entries, block.len(), refcount)
            .expect("the layout chose what fits a block");
        block.copy_from_slice(&rendered);
        if self.has(Feature::MetadataCsum) {
            seal_block(self.seed, place.get(), block);
        }
    }
}
