//! Given nothing, says who owns a run of blocks; never which run.

use std::fmt;

use crate::options::QuotaType;
use crate::tree::NodeIndex;
use crate::units::{Group, LogicalBlock};

/// Who owns a run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The copy of the superblock in a group.
    Superblock(Group),
    /// The copy of all descriptors in a group.
    GroupDescs(Group),
    /// With meta_bg, a copy of the `index`th block of descriptors.
    MetaBgDescs {
        /// Which block of descriptors.
        index: u32,
    },
    /// The block before the primary superblock, where clusters make it part of group 0.
    BootBlock,
    /// What is left of a cluster that is in use.
    ClusterSlack,
    /// The descriptor blocks kept for growing behind a group's copy.
    ReservedGdt(Group),
    /// A group's block bitmap.
    BlockBitmap(Group),
    /// A group's inode bitmap.
    InodeBitmap(Group),
    /// A group's inode table.
    InodeTable(Group),
    /// lost+found from a block of it on, where the tree has none of its own.
    LostFound(LogicalBlock),
    /// A node of lost+found's extent tree or block map, in the order of allocation.
    LostFoundNode(u32),
    /// The resize inode's double indirect block.
    ResizeDoubleIndirect,
    /// The journal from a block of it on.
    Journal(LogicalBlock),
    /// A node of the journal's extent tree or block map, in the order of allocation.
    JournalNode(u32),
    /// The block of multiple mount protection.
    Mmp,
    /// A quota file from a block of it on.
    QuotaFile(QuotaType, LogicalBlock),
    /// A node of a quota file's extent tree or block map, in the order of allocation.
    QuotaFileNode(QuotaType, u32),
    /// The orphan file from a block of it on.
    OrphanFile(LogicalBlock),
    /// A node of the orphan file's extent tree or block map, in the order of allocation.
    OrphanFileNode(u32),
    /// A huge file from a block of it on; its place says which.
    HugeFile(LogicalBlock),
    /// A node of a huge file's extent tree, in the order of allocation.
    HugeFileNode(u32),
    /// A directory that leads to huge files, by its depth below the root, at a block of it; of the
    /// root what it grew by.
    HugeDirectory(u32, LogicalBlock),
    /// A node of such a directory's extent tree.
    HugeDirectoryNode(u32, u32),
    /// A directory of the tree, the root included, from a block of it on.
    Directory(NodeIndex, LogicalBlock),
    /// The target of a symbolic link.
    Symlink(NodeIndex),
    /// The data of a regular file from a block of it on.
    File(NodeIndex, LogicalBlock),
    /// A node of a tree node's extent tree or block map.
    MapNode(NodeIndex, u32),
    /// A block of extended attributes, by its number in [`XattrPlans`](super::XattrPlans).
    Xattrs(u32),
    /// An attribute's value that has an inode of its own, by its number in [`XattrPlans`](super::XattrPlans), from a
    /// block of it on.
    Value(u32, LogicalBlock),
    /// A node of such a value's extent tree or block map.
    ValueMapNode(u32, u32),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock(group) => write!(f, "the superblock in group {group}"),
            Self::GroupDescs(group) => write!(f, "the group descriptors in group {group}"),
            Self::MetaBgDescs { index } => write!(f, "block {index} of the group descriptors"),
            Self::BootBlock => f.write_str("the boot block"),
            Self::ClusterSlack => f.write_str("the rest of a cluster"),
            Self::ReservedGdt(group) => write!(f, "the reserved GDT blocks in group {group}"),
            Self::BlockBitmap(group) => write!(f, "the block bitmap of group {group}"),
            Self::InodeBitmap(group) => write!(f, "the inode bitmap of group {group}"),
            Self::InodeTable(group) => write!(f, "the inode table of group {group}"),
            Self::LostFound(_) | Self::LostFoundNode(_) => f.write_str("lost+found"),
            Self::ResizeDoubleIndirect => f.write_str("the resize inode"),
            Self::Journal(_) | Self::JournalNode(_) => f.write_str("the journal"),
            Self::Mmp => f.write_str("the MMP block"),
            Self::QuotaFile(..) | Self::QuotaFileNode(..) => f.write_str("a quota file"),
            Self::OrphanFile(_) | Self::OrphanFileNode(_) => f.write_str("the orphan file"),
            Self::HugeFile(_) | Self::HugeFileNode(_) => f.write_str("a huge file"),
            Self::HugeDirectory(..) | Self::HugeDirectoryNode(..) => {
                f.write_str("the directory of huge files")
            }
            Self::Directory(..) => f.write_str("a directory"),
            Self::Symlink(_) => f.write_str("a symbolic link's target"),
            Self::File(..) => f.write_str("a file's data"),
            Self::MapNode(..) => f.write_str("a file's block map"),
            Self::Xattrs(_) | Self::Value(..) | Self::ValueMapNode(..) => {
                f.write_str("extended attributes")
            }
        }
    }
}
