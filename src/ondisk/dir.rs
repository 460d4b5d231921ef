//! Given a directory's names and numbers, gives its entries, htree headers and their checksums; never an order.
//!
//! The layouts are those of the kernel's documentation, "Directory Entries": linear blocks of
//! entries whose lengths fill the block, and the root and nodes of a hash tree, which hide behind
//! entries that span them.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable, bytes_of};

use super::checksum::crc32c;
use super::dirhash::HashVersion;
use super::int::{Le16, Le32};
use crate::units::{BlockSize, Ino};

/// What an entry leads to: the code in `file_type`, which the `filetype` feature adds to entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A symbolic link.
    Symlink,
}

impl FileType {
    /// The code stored for it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }

    /// The type that is stored as `number`; none for 0 and for what is no type.
    pub const fn of_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::CharDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => return None,
        })
    }

    /// The type that the highest four bits of `i_mode` say.
    pub const fn of_mode(mode: u16) -> Option<Self> {
        Some(match mode >> 12 {
            0x1 => Self::Fifo,
            0x2 => Self::CharDevice,
            0x4 => Self::Directory,
            0x6 => Self::BlockDevice,
            0x8 => Self::Regular,
            0xa => Self::Symlink,
            0xc => Self::Socket,
            _ => return None,
        })
    }
}

/// An entry without its name: `ext4_dir_entry_2` up to `name`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DirEntry {
    /// What the entry leads to; 0 where the entry is unused.
    pub inode: Le32,
    /// The distance to the next entry, as [`rec_len`] stores it.
    pub rec_len: Le16,
    /// The name's length in bytes.
    pub name_len: u8,
    /// A [`FileType`]'s number; 0 without the `filetype` feature.
    pub file_type: u8,
}

/// The checksum at the end of a block of entries: `ext4_dir_entry_tail`, an unused entry to
/// whoever does not know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DirEntryTail {
    /// 0, where an entry has its inode.
    pub det_reserved_zero1: Le32,
    /// 12.
    pub det_rec_len: Le16,
    /// 0, where an entry has its name's length.
    pub det_reserved_zero2: u8,
    /// 0xDE, where an entry has its file type.
    pub det_reserved_ft: u8,
    /// The checksum of the block up to the tail.
    pub det_checksum: Le32,
}

/// An entry with the room for `.` or `..`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DotEntry {
    /// The entry.
    pub entry: DirEntry,
    /// The name, padded with zeros.
    pub name: [u8; 4],
}

/// What a hash tree's root says of the tree: `dx_root_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DxRootInfo {
    /// 0.
    pub reserved_zero: Le32,
    /// A [`HashVersion`]'s number.
    pub hash_version: u8,
    /// This structure's length, 8.
    pub info_length: u8,
    /// How many levels of nodes lie between the root and the leaves.
    pub indirect_levels: u8,
    /// 0.
    pub unused_flags: u8,
}

/// A hash tree's first block up to its index entries: `dx_root`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DxRoot {
    /// `.`, which ends where `..` begins.
    pub dot: DotEntry,

    /// `..`, which spans the rest of the block.
    pub dotdot: DotEntry,
    /// About the tree.
    pub info: DxRootInfo,
}

/// An index entry: `dx_entry`. In a block's first one, a [`DxCountLimit`] takes the hash's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DxEntry {
    /// The lowest hash in the block, with bit 0 set where the names of that hash begin in the
    /// block before.
    pub hash: Le32,
    /// The logical block of a leaf or of a node.
    pub block: Le32,
}

/// How many index entries a block has: `dx_countlimit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DxCountLimit {
    /// How many would fit, the first included.
    pub limit: Le16,
    /// How many there are, the first included.
    pub count: Le16,
}

/// The checksum after the last index entry that would fit: `dx_tail`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DxTail {
    /// 0.
    pub dt_reserved: Le32,
    /// The checksum of the block up to its last index entry, and of this tail.
    pub dt_checksum: Le32,
}

const _: () = assert!(size_of::<DirEntry>() == 8);
const _: () = assert!(offset_of!(DirEntry, rec_len) == 4);
const _: () = assert!(offset_of!(DirEntry, name_len) == 6);
const _: () = assert!(offset_of!(DirEntry, file_type) == 7);
const _: () = assert!(size_of::<DirEntryTail>() == TAIL_BYTES);
const _: () = assert!(offset_of!(DirEntryTail, det_reserved_ft) == 7);
const _: () = assert!(offset_of!(DirEntryTail, det_checksum) == 8);
const _: () = assert!(size_of::<DxRoot>() == 0x20);
const _: () = assert!(offset_of!(DxRoot, dotdot) == 0x0c);
const _: () = assert!(offset_of!(DxRoot, info) == 0x18);
const _: () = assert!(offset_of!(DxRootInfo, hash_version) == 4);
const _: () = assert!(offset_of!(DxRootInfo, indirect_levels) == 6);
const _: () = assert!(size_of::<DxEntry>() == 8);
const _: () = assert!(size_of::<DxCountLimit>() == 4);
const _: () = assert!(size_of::<DxTail>() == 8);

/// The bytes of a [`DirEntryTail`].
pub const TAIL_BYTES: usize = 12;

/// The bytes of the entry for `.`, and those that the one for `..` needs.
pub const DOT_BYTES: usize = 12;

/// What 64 KiB are stored as in 16 bits (`EXT4_MAX_REC_LEN`).
const REC_LEN_64K: u16 = u16::MAX;

/// The file type that marks a [`DirEntryTail`] (`EXT4_FT_DIR_CSUM`).
const TAIL_FILE_TYPE: u8 = 0xDE;

/// The bytes that an entry with a name of `name_len` bytes needs: a multiple of four.
pub const fn entry_bytes(name_len: usize) -> usize {
    (size_of::<DirEntry>() + name_len).next_multiple_of(4)
}

/// An entry's length as it is stored. Only an entry that fills a block of 64 KiB is too long for
/// 16 bits.
pub fn rec_len(bytes: usize) -> Le16 {
    Le16::new(u16::try_from(bytes).unwrap_or(REC_LEN_64K))
}

/// What a directory has to offer its blocks: their size, and whether they end in a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFormat {
    /// The filesystem's block size.
    pub block_size: BlockSize,
    /// Whether directory blocks carry checksums (`metadata_csum`).
    pub checksums: bool,
    /// Whether entries say what they lead to (`filetype`).
    pub file_types: bool,
}

impl BlockFormat {
    /// How many bytes of a block hold entries.
    pub fn entry_space(self) -> usize {
        let tail = if self.checksums { TAIL_BYTES } else { 0 };
        self.block_size.bytes_usize() - tail
    }

    /// How many index entries the root can have (the kernel's `dx_root_limit`).
    pub fn dx_root_limit(self) -> u16 {
        self.dx_limit(size_of::<DxRoot>())
    }

    /// How many index entries a node can have (the kernel's `dx_node_limit`).
    pub fn dx_node_limit(self) -> u16 {
        self.dx_limit(size_of::<DirEntry>())
    }

    fn dx_limit(self, header: usize) -> u16 {
        let tail = if self.checksums {
            size_of::<DxTail>()
        } else {
            0
        };
        let space = self.block_size.bytes_usize() - header - tail;
        u16::try_from(space / size_of::<DxEntry>()).expect("64 KiB hold 8,192 index entries")
    }

    /// The code in an entry that leads to a `file_type`.
    pub fn file_type(self, file_type: FileType) -> u8 {
        if self.file_types {
            file_type.number()
        } else {
            0
        }
    }

    /// An entry for the directory `ino` called `.` or `..`, `bytes` long.
    pub fn dot_entry(self, name: &[u8], ino: Ino, bytes: usize) -> DotEntry {
        let mut padded = [0; 4];
        for (slot, byte) in padded.iter_mut().zip(name) {
            *slot = *byte;
        }
        DotEntry {
            entry: DirEntry {
                inode: Le32::new(ino.get()),
                rec_len: rec_len(bytes),
                name_len: u8::try_from(name.len()).unwrap_or(u8::MAX),
                file_type: self.file_type(FileType::Directory),
            },
            name: padded,
        }
    }

    /// The start of a hash tree's first block: `this` directory, its `parent`, and the tree.
    pub fn dx_root(self, this: Ino, parent: Ino, info: DxRootInfo) -> DxRoot {
        let rest = self.block_size.bytes_usize() - DOT_BYTES;
        DxRoot {
            dot: self.dot_entry(b".", this, DOT_BYTES),
            dotdot: self.dot_entry(b"..", parent, rest),
            info,
        }
    }

    /// The start of a node: an unused entry that spans the block.
    pub fn dx_node(self) -> DirEntry {
        DirEntry {
            rec_len: rec_len(self.block_size.bytes_usize()),
            ..DirEntry::default()
        }
    }

    /// Ends a block of entries with its checksum, if this filesystem has them. `inode_seed` is the
    /// directory's.
    pub fn seal_entries(self, block: &mut [u8], inode_seed: u32) {
        if !self.checksums {
            return;
        }
        let (entries, tail) = block.split_at_mut(self.entry_space());
        let sealed = DirEntryTail {
            det_rec_len: Le16::new(12),
            det_reserved_ft: TAIL_FILE_TYPE,
            det_checksum: Le32::new(crc32c(inode_seed, entries)),
            ..DirEntryTail::default()
        };
        tail.copy_from_slice(bytes_of(&sealed));
    }

    /// Ends a root or node with its checksum, if this filesystem has them. It covers what comes
    /// before the index entries, those that there are, and the tail with a checksum of zero (the
    /// kernel's `ext4_dx_csum`).
    pub fn seal_index(self, block: &mut [u8], index: IndexExtent, inode_seed: u32) {
        if !self.checksums {
            return;
        }
        let entries = |number: u16| usize::from(number) * size_of::<DxEntry>();
        let used = &block[..index.header_bytes + entries(index.count)];
        let unsealed = DxTail::default();
        let sealed = DxTail {
            dt_checksum: Le32::new(crc32c(crc32c(inode_seed, used), bytes_of(&unsealed))),
            ..unsealed
        };
        let at = index.header_bytes + entries(index.limit);
        block[at..at + size_of::<DxTail>()].copy_from_slice(bytes_of(&sealed));
    }
}

/// Which bytes of a block its index entries take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexExtent {
    /// The bytes before them.
    pub header_bytes: usize,
    /// How many would fit.
    pub limit: u16,
    /// How many there are.
    pub count: u16,
}

impl DxRootInfo {
    /// For a tree of names hashed by `version`, with `indirect_levels` levels of nodes.
    pub fn new(version: HashVersion, indirect_levels: u8) -> Self {
        Self {
            hash_version: version.number(),
            info_length: 8,
            indirect_levels,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(bytes: u32, checksums: bool) -> BlockFormat {
        BlockFormat {
            block_size: BlockSize::new(bytes).expect("a block size"),
            checksums,
            file_types: true,
        }
    }

    #[test]
    fn limits_are_the_kernels() {
        // (block size, root, node) without checksums; a checksum takes the place of one entry.
        for (bytes, root, node) in [
            (1024, 124, 127),
            (2048, 252, 255),
            (4096, 508, 511),
            (65536, 8188, 8191),
        ] {
            assert_eq!(format(bytes, false).dx_root_limit(), root);
            assert_eq!(format(bytes, false).dx_node_limit(), node);
            assert_eq!(format(bytes, true).dx_root_limit(), root - 1);
            assert_eq!(format(bytes, true).dx_node_limit(), node - 1);
        }
    }

    #[test]
    fn lengths_are_multiples_of_four_and_64k_fits() {
        assert_eq!([1, 4, 5, 255].map(entry_bytes), [12, 12, 16, 264]);
        assert_eq!(rec_len(12).get(), 12);
        assert_eq!(rec_len(65536).get(), 65535);
        assert_eq!(rec_len(65536 - 12).get(), 65524);
    }

    #[test]
    fn a_node_hides_behind_an_unused_entry() {
        assert_eq!(
            bytes_of(&format(4096, true).dx_node()),
            [0, 0, 0, 0, 0, 0x10, 0, 0]
        );
    }
}
