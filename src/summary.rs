//! Given a layout, gives what was made in numbers; never words.

use crate::emit::Digests;
use crate::feature::{Feature, FeatureSet};
use crate::json::Object;
use crate::layout::Layout;
use crate::options::Settings;
use crate::tree::{Kind, Tree};
use crate::units::VerityHash;
use crate::warning::Warning;

/// What an image is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The filesystem's UUID.
    pub uuid: [u8; 16],
    /// Its label, without padding.
    pub label: Vec<u8>,
    /// Where in its output it begins, in bytes.
    pub offset_bytes: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The block size in bytes.
    pub block_size: u32,
    /// All blocks.
    pub blocks_count: u64,
    /// Blocks not in use.
    pub free_blocks: u64,
    /// Blocks kept for root.
    pub reserved_blocks: u64,
    /// Bytes per inode.
    pub inode_size: u16,
    /// All inodes.
    pub inodes_count: u32,
    /// Inodes not in use.
    pub free_inodes: u32,
    /// The journal's blocks; 0 for none.
    pub journal_blocks: u32,
    /// The features in force.
    pub features: FeatureSet,
    /// The nodes of the tree by kind.
    pub nodes: NodeCounts,
    /// The files that fs-verity protects, in the order of their paths; none before the image is written.
    pub fs_verity: Vec<FileDigest>,
    /// What stayed where the [base](crate::Builder::base) has it, if there is one.
    pub base: Option<BaseCounts>,
    /// What was written over the image before, where that was [updated](crate::Builder::update_file).
    pub update: Option<UpdateCounts>,
    /// What a person may want to know of how it was made.
    pub warnings: Vec<Warning>,
}

/// The digest of a file that fs-verity protects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct FileDigest {
    /// A path of the file in the image.
    pub path: Vec<u8>,
    /// What it is hashed with.
    pub hash: VerityHash,
    /// What the kernel measures (`FS_IOC_MEASURE_VERITY`) and `fsverity digest` prints.
    pub digest: Vec<u8>,
}

impl FileDigest {
    /// Those of `digests`, which are of files in `tree`, as `layout` has them.
    pub(crate) fn all(digests: &Digests, layout: &Layout, tree: &Tree) -> Vec<Self> {
        let files = digests.iter().filter_map(|(node, digest)| {
            let node = tree.id(*node);
            Some(Self {
                path: tree.path(node),
                hash: layout.content.verity_of(node)?.hash,
                digest: digest.as_bytes().to_vec(),
            })
        });
        let mut files: Vec<Self> = files.collect();
        files.sort();
        files
    }

    /// The digest in hexadecimal, with the name of the hash in front, such as `sha256:` and 64 digits.
    pub fn text(&self) -> String {
        let digits = self.digest.iter().map(|byte| format!("{byte:02x}"));
        format!("{}:{}", self.hash.name(), digits.collect::<String>())
    }
}

/// What of an image is where its base has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BaseCounts {
    /// Inodes at paths that the base has too, the root directory's included.
    pub inodes_kept: u64,
    /// Inodes at other paths.
    pub inodes_added: u64,
    /// Inodes of the base whose paths are gone.
    pub inodes_removed: u64,
    /// Blocks of files and directories, and of the filesystem's own files, that are where they were, whether
    /// or not they hold the same.
    pub blocks_kept: u64,
}

/// What became of an image that was updated in place. Files are all that have an inode: directories, symbolic
/// links and special files too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateCounts {
    /// Files of which nothing was written.
    pub files_kept: u64,
    /// Files at paths that were not there before.
    pub files_added: u64,
    /// Files that were there, and of which the inode, data, names or extended attributes were written.
    pub files_changed: u64,
    /// Files whose paths are gone.
    pub files_removed: u64,
    /// Blocks that were written or cleared, the filesystem's own included.
    pub blocks_written: u64,
    /// Bytes of file data that were read of the sources.
    pub bytes_read: u64,
    /// Why the image was made anew, if it was: all else is 0 then.
    pub made_anew: Option<String>,
}

impl UpdateCounts {
    /// Those of an image that was made anew.
    pub(crate) fn anew(reason: &str) -> Self {
        Self {
            made_anew: Some(reason.to_owned()),
            ..Self::default()
        }
    }

    fn put(&self, object: &mut Object) {
        match &self.made_anew {
            Some(reason) => object.text("made_anew", reason),
            None => object
                .number("files_kept", self.files_kept)
                .number("files_added", self.files_added)
                .number("files_changed", self.files_changed)
                .number("files_removed", self.files_removed)
                .number("blocks_written", self.blocks_written)
                .number("bytes_read", self.bytes_read),
        };
    }
}

/// How many nodes of each kind a tree has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeCounts {
    /// Directories, the root included.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, named pipes and sockets.
    pub special: u64,
    /// The bytes of all regular files, holes included.
    pub file_bytes: u64,
}

/// The features that ext3 has; one beyond them makes an ext4.
const OF_EXT3: [Feature; 8] = [
    Feature::HasJournal,
    Feature::ExtAttr,
    Feature::ResizeInode,
    Feature::DirIndex,
    Feature::Filetype,
    Feature::MetaBg,
    Feature::SparseSuper,
    Feature::LargeFile,
];

impl Summary {
    /// The UUID as people write it, such as `01234567-89ab-4def-8123-456789abcdef`.
    pub fn uuid_text(&self) -> String {
        uuid::Uuid::from_bytes(self.uuid).to_string()
    }

    /// The names of the features in force, such as `has_journal`.
    pub fn feature_names(&self) -> impl Iterator<Item = &'static str> {
        self.features.iter().map(|feature| feature.name())
    }

    /// All but the warnings as a JSON object in one line, with the names that `mke4fs --json` gives. A byte
    /// of the label that is no UTF-8 is a backslash, an `x` and two digits, and a backslash is two.
    pub fn to_json(&self) -> String {
        let mut object = Object::new();
        self.put(&mut object);
        object.finish()
    }

    /// Adds it to `object`.
    pub(crate) fn put(&self, object: &mut Object) {
        object
            .text("type", self.fs_type())
            .text("uuid", &self.uuid_text())
            .bytes("label", &self.label)
            .number("size_bytes", self.size_bytes)
            .number("offset_bytes", self.offset_bytes)
            .number("block_size", self.block_size.into())
            .number("inode_size", self.inode_size.into())
            .number("blocks", self.blocks_count)
            .number("blocks_used", self.blocks_count - self.free_blocks)
            .number("blocks_free", self.free_blocks)
            .number("blocks_reserved", self.reserved_blocks)
            .number("inodes", self.inodes_count.into())
            .number(
                "inodes_used",
                u64::from(self.inodes_count - self.free_inodes),
            )
            .number("inodes_free", self.free_inodes.into())
            .number("journal_blocks", self.journal_blocks.into())
            .number("files", self.nodes.files)
            .number("directories", self.nodes.directories)
            .number("symlinks", self.nodes.symlinks)
            .number("special", self.nodes.special)
            .number("file_bytes", self.nodes.file_bytes)
            .texts("features", self.feature_names());
        let digests = self.fs_verity.iter().map(|file| {
            let mut object = Object::new();
            object
                .bytes("path", &file.path)
                .text("digest", &file.text());
            object
        });
        object.objects("fs_verity", digests);
        if let Some(base) = self.base {
            object
                .number("inodes_kept", base.inodes_kept)
                .number("inodes_added", base.inodes_added)
                .number("inodes_removed", base.inodes_removed)
                .number("blocks_kept", base.blocks_kept);
        }
        if let Some(update) = &self.update {
            update.put(object);
        }
    }

    /// Which of ext2, ext3 and ext4 the features make it.
    pub fn fs_type(&self) -> &'static str {
        if !self
            .features
            .iter()
            .all(|feature| OF_EXT3.contains(&feature))
        {
            "ext4"
        } else if self.features.has(Feature::HasJournal) {
            "ext3"
        } else {
            "ext2"
        }
    }

    pub(crate) fn new(settings: &Settings, layout: &Layout, tree: &Tree) -> Self {
        let geometry = &layout.geometry;
        let label = settings.label.split(|byte| *byte == 0).next();
        Self {
            uuid: settings.uuid,
            label: label.unwrap_or_default().to_vec(),
            offset_bytes: settings.offset_bytes,
            size_bytes: geometry.blocks_count * geometry.block_size.bytes_u64(),
            block_size: geometry.block_size.bytes(),
            blocks_count: geometry.blocks_count,
            free_blocks: layout.ledger.total_free(),
            reserved_blocks: geometry.reserved_blocks,
            inode_size: geometry.inode_size,
            inodes_count: geometry.inodes_count,
            free_inodes: layout.free_inodes(),
            journal_blocks: geometry.journal_blocks.unwrap_or(0),
            features: geometry.features,
            nodes: NodeCounts::of(tree),
            fs_verity: Vec::new(),
            base: layout.kept.map(|kept| BaseCounts {
                inodes_kept: kept.inodes,
                inodes_added: kept.inodes_added,
                inodes_removed: kept.inodes_removed,
                blocks_kept: kept.blocks,
            }),
            update: None,
            warnings: Vec::new(),
        }
    }
}

impl NodeCounts {
    fn of(tree: &Tree) -> Self {
        let mut counts = Self::default();
        for (_, node) in tree.nodes() {
            match &node.kind {
                Kind::Directory(_) => counts.directories += 1,
                Kind::File(content) => {
                    counts.files += 1;
                    counts.file_bytes = counts.file_bytes.saturating_add(content.size_bytes);
                }
                Kind::Symlink(_) => counts.symlinks += 1,
                Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo | Kind::Socket => {
                    counts.special += 1;
                }
            }
        }
        counts
    }
}
