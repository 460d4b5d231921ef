//! Given images whose few bytes lead to the same blocks again and again, proves that the checker reads
//! each a few times at most and says that they are not sound.

use mke4fs::check::{CheckOptions, check_with};

use super::within;

/// An image that is written byte by byte.
struct Image(Vec<u8>);

/// What a superblock says.
struct Superblock {
    blocks: u32,
    inodes: u32,
    per_group: u32,
    log_block_size: u32,
    inodes_per_group: u32,
    compat: u32,
    incompat: u32,
    ro_compat: u32,
}

const FILETYPE_EXTENTS: u32 = 0x42;
const FLEX_BG: u32 = 0x200;
const META_BG: u32 = 0x10;
const ORPHAN_FILE: u32 = 0x1000;
const SPARSE_SUPER: u32 = 0x1;
const QUOTA: u32 = 0x100;

impl Image {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    fn at(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn word(&mut self, offset: usize, value: usize) {
        let value = u32::try_from(value).expect("32 bits");
        self.at(offset, &value.to_le_bytes());
    }

    fn half(&mut self, offset: usize, value: u16) {
        self.at(offset, &value.to_le_bytes());
    }

    fn superblock(&mut self, it: &Superblock) {
        let log = it.log_block_size;
        let words = [
            (0x00, it.inodes),
            (0x04, it.blocks),
            (0x14, u32::from(log == 0)),
            (0x18, log),
            (0x1c, log),
            (0x20, it.per_group),
            (0x24, it.per_group),
            (0x28, it.inodes_per_group),
            (0x4c, 1),
            (0x54, 11),
            (0x5c, it.compat),
            (0x60, it.incompat),
            (0x64, it.ro_compat),
        ];
        for (offset, value) in words {
            self.at(1024 + offset, &value.to_le_bytes());
        }
        for (offset, value) in [(0x38, 0xef53), (0x3a, 1), (0x3c, 1), (0x58, 128)] {
            self.half(1024 + offset, value);
        }
    }

    fn descriptor(&mut self, offset: usize, places: [usize; 3]) {
        for (number, place) in places.into_iter().enumerate() {
            self.word(offset + 4 * number, place);
        }
    }

    /// An inode of one link and, in its root, one record of an extent tree.
    fn inode(&mut self, offset: usize, mode: u16, record: &[u8; 12], depth: u16) {
        self.half(offset, mode);
        self.half(offset + 0x1a, 1);
        self.word(offset + 0x20, 0x8_0000);
        for (number, value) in [0xf30a, 1, 4, depth].into_iter().enumerate() {
            self.half(offset + 0x28 + 2 * number, value);
        }
        self.at(offset + 0x34, record);
    }

    /// The check costs what the image is, and finds fault with it.
    fn assert_bounded(&self, about: &str) {
        let options = CheckOptions::default();
        let report = within(about, (self.0.len(), 0), || {
            check_with(&self.0[..], &options)
        });
        assert!(!report.is_clean(), "{about}");
    }
}

/// A record of an extent that maps `len` blocks from the file's block `logical` on to `block`.
fn extent(logical: usize, len: u16, block: usize) -> [u8; 12] {
    let mut record = [0; 12];
    record[..4].copy_from_slice(&u32::try_from(logical).expect("32 bits").to_le_bytes());
    record[4..6].copy_from_slice(&len.to_le_bytes());
    record[8..].copy_from_slice(&u32::try_from(block).expect("32 bits").to_le_bytes());
    record
}

/// A record of an index that leads to the node `block`.
fn index(logical: usize, block: usize) -> [u8; 12] {
    let mut record = [0; 12];
    record[..4].copy_from_slice(&u32::try_from(logical).expect("32 bits").to_le_bytes());
    record[4..8].copy_from_slice(&u32::try_from(block).expect("32 bits").to_le_bytes());
    record
}

/// Groups of eight blocks of 1 KiB, whose descriptors all lead to the same bitmap and inode table.
fn tiny_groups(groups: u32, inodes_per_group: u32, incompat: u32) -> Image {
    let count = usize::try_from(groups).expect("a few");
    let table = 3 + count * 32 / 1024;
    let table_blocks = usize::try_from(inodes_per_group).expect("a few") * 128 / 1024;
    let blocks = (groups * 8 + 1).max(u32::try_from(table + table_blocks).expect("a few"));
    let mut image = Image::new((table + table_blocks) * 1024);
    image.superblock(&Superblock {
        blocks,
        inodes: groups * inodes_per_group,
        per_group: 8,
        log_block_size: 0,
        inodes_per_group,
        compat: 0,
        incompat,
        ro_compat: SPARSE_SUPER,
    });
    for group in 0..count {
        image.descriptor(2048 + 32 * group, [table - 1, table - 1, table]);
    }
    image
}

#[test]
fn inode_tables_that_groups_share_are_read_once() {
    let mut image = tiny_groups(4096, 8192, FLEX_BG | 2);
    let table = (3 + 4096 * 32 / 1024) * 1024;
    for inode in 0..8192 {
        image.half(table + 128 * inode, 0x81a4);
        image.half(table + 128 * inode + 0x1a, 1);
    }
    image.assert_bounded("shared inode tables");
}

#[test]
fn copies_of_descriptors_are_read_as_far_as_a_group_goes() {
    let mut image = tiny_groups(16_384, 8, FLEX_BG | 2);
    let size = 1024 * (16_384 * 8 + 1);
    image.0.resize(size, 0);
    image.at(1024 + 0x64, &0_u32.to_le_bytes());
    image.assert_bounded("copies of descriptors");
    let mut image = tiny_groups(16_384, 8, FLEX_BG | META_BG | 2);
    image.0.resize(size, 0);
    image.at(1024 + 0x64, &0_u32.to_le_bytes());
    image.word(1024 + 0x104, 512);
    image.assert_bounded("copies of descriptors before the first meta group");
}

#[test]
fn bitmaps_that_groups_share_are_read_once() {
    // Blocks of 64 KiB, and descriptors of 32 bytes.
    let (groups, block) = (8192_u32, 65_536);
    let count = usize::try_from(groups).expect("a few");
    let mut image = Image::new(16 * block);
    image.superblock(&Superblock {
        blocks: groups * 8,
        inodes: groups * 512,
        per_group: 8,
        log_block_size: 6,
        inodes_per_group: 512,
        compat: 0,
        incompat: FLEX_BG | 2,
        ro_compat: SPARSE_SUPER,
    });
    for group in 0..count {
        image.descriptor(block + 32 * group, [6, 7, 8 + group]);
    }
    image.assert_bounded("shared bitmaps");
}

/// One group of blocks of 4 KiB: the table in block 4, `inodes` in it.
fn one_group(blocks: usize, inodes: u32, features: [u32; 3]) -> Image {
    let mut image = Image::new(blocks * 4096);
    let [compat, incompat, ro_compat] = features;
    image.superblock(&Superblock {
        blocks: u32::try_from(blocks).expect("a few"),
        inodes,
        per_group: 32_768,
        log_block_size: 2,
        inodes_per_group: inodes,
        compat,
        incompat,
        ro_compat,
    });
    image.descriptor(4096, [2, 3, 4]);
    image
}

fn inode_place(ino: usize) -> usize {
    4 * 4096 + 128 * (ino - 1)
}

/// A file whose extents, in one leaf for each of `leaves`, all are the `len` blocks from `data` on.
fn repeated_extents(
    image: &mut Image,
    ino: usize,
    (root, leaves): (usize, usize),
    (data, len): (usize, u16),
) {
    image.inode(inode_place(ino), 0x8180, &index(0, root), 2);
    let header = [0xf30a, u16::try_from(leaves).expect("a few"), 340, 1];
    for (number, value) in header.into_iter().enumerate() {
        image.half(root * 4096 + 2 * number, value);
    }
    let mut logical = 0;
    for leaf in 0..leaves {
        let node = root + 1 + leaf;
        image.at(root * 4096 + 12 * (leaf + 1), &index(logical, node));
        for (number, value) in [0xf30a, 340, 340, 0].into_iter().enumerate() {
            image.half(node * 4096 + 2 * number, value);
        }
        for record in 1..=340 {
            image.at(node * 4096 + 12 * record, &extent(logical, len, data));
            logical += usize::from(len);
        }
    }
}

#[test]
fn an_orphan_file_of_shared_extents_comes_to_an_end() {
    let data = 10 + 340;
    let mut image = one_group(data + 110, 128, [ORPHAN_FILE, FILETYPE_EXTENTS, 1]);
    image.word(1024 + 0x280, 12);
    repeated_extents(&mut image, 12, (8, 340), (data, 100));
    for block in data..data + 100 {
        image.word(block * 4096 + 4096 - 8, 0x0b10_ca04);
    }
    image.assert_bounded("an orphan file of shared extents");
}

#[test]
fn a_quota_tree_of_shared_extents_is_read_once() {
    let data = 10 + 340;
    let mut image = one_group(data + 10, 128, [0, FILETYPE_EXTENTS, SPARSE_SUPER | QUOTA]);
    image.word(1024 + 0x240, 3);
    repeated_extents(&mut image, 3, (8, 340), (data, 1));
    image.word(inode_place(3) + 4, 340 * 340 * 4096);
    // Every pointer of every block leads to another place of the file, which is the same block.
    for pointer in 0..1024 {
        image.word(data * 4096 + 4 * pointer, 5 + 113 * pointer);
    }
    image.assert_bounded("a quota tree of shared extents");
}

#[test]
fn symbolic_links_that_share_a_block_read_it_once() {
    let inodes = 8192_u32;
    let data = 4 + 8192 * 128 / 4096;
    let mut image = one_group(data + 1, inodes, [0, FILETYPE_EXTENTS, 1]);
    for ino in 12..8192 {
        image.inode(inode_place(ino), 0xa1ff, &extent(0, 1, data), 0);
        image.word(inode_place(ino) + 4, 4000);
    }
    image.at(data * 4096, &[b't'; 4000]);
    image.assert_bounded("symbolic links that share a block");
}

#[test]
fn directories_that_share_blocks_read_them_once() {
    let inodes = 4096_u32;
    let data = 4 + 4096 * 128 / 4096;
    let mut image = one_group(data + 9, inodes, [0, FILETYPE_EXTENTS, 1]);
    for ino in 12..4096 {
        image.inode(inode_place(ino), 0x41ed, &extent(0, 8, data), 0);
        image.word(inode_place(ino) + 4, 8 * 4096);
    }
    image.assert_bounded("directories that share blocks");
}
