//! Given a layout, counts what each id owns; never a limit.

use super::appended::AppendedFile;
use super::content::Content;
use super::quota::{OwnerIds, Usage};
use super::system::SystemFiles;
use super::xattrs::XattrPlans;
use crate::geometry::Geometry;
use crate::tree::{NodeId, Tree};

/// What the totals are taken of.
pub(super) struct Counted<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) tree: &'a Tree,
    pub(super) content: &'a Content,
    pub(super) xattrs: &'a XattrPlans,
}

impl Counted<'_> {
    /// Counts what each id uses, as e2fsck does: the root directory and all inodes that are not the
    /// filesystem's own, lost+found among them, with the blocks of their maps and attributes. An
    /// inode that holds an attribute's value is charged to each that names it.
    pub(super) fn count(&self, system: &mut SystemFiles) {
        if system.quota_files.is_empty() {
            return;
        }
        let made = system.lost_found.as_ref().map(|file| self.made(file));
        let nodes = self.content.nodes().map(|id| self.node(id));
        for (owners, usage) in nodes.chain(made) {
            for file in &mut system.quota_files {
                file.count(owners, usage);
            }
        }
    }

    fn node(&self, id: NodeId) -> (OwnerIds, Usage) {
        let owners = OwnerIds::of(&self.tree.node(id).metadata);
        let ratio = self.geometry.cluster_ratio();
        let (values, _) = self.xattrs.charged(id);
        let usage = Usage {
            bytes: self.content.all_blocks(id, self.xattrs, ratio) * self.block_bytes(),
            inodes: 1 + u64::from(values),
        };
        (owners, usage)
    }

    /// The lost+found that the tree does not have.
    fn made(&self, file: &AppendedFile) -> (OwnerIds, Usage) {
        let ratio = self.geometry.cluster_ratio();
        let blocks = file.blocks.next_multiple_of(ratio) + file.node_blocks() * ratio;
        let usage = Usage {
            bytes: blocks * self.block_bytes(),
            inodes: 1,
        };
        (OwnerIds::default(), usage)
    }

    fn block_bytes(&self) -> u64 {
        self.geometry.block_size.bytes_u64()
    }
}
