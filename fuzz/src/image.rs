//! Given a layout, renders its image in memory and checks that its metadata says what the layout
//! says; never uses the structs that rendered it.
//!
//! Offsets are those of the kernel's Documentation/filesystems/ext4.

use mke4fs::feature::{Feature, Word};
use mke4fs::options::Settings;
use mke4fs::raw::emit::{Writing, emit};
use mke4fs::raw::layout::Layout;
use mke4fs::raw::ondisk::checksum::crc32c;
use mke4fs::raw::units::{Block, Group, Run};
use mke4fs::sink::{Memory, Sink};
use mke4fs::tree::Tree;

/// What the storage holds before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Zeros.
    Zeros,
    /// Old data, which it cannot discard.
    OldData,
}

/// The image of `layout`.
pub fn render(settings: &Settings, layout: &Layout, tree: &Tree, storage: Storage) -> Memory {
    let geometry = &layout.geometry;
    let bytes = settings
        .offset_bytes()
        .checked_add(geometry.blocks_count * geometry.block_size.bytes_u64())
        .expect("settings leave no offset past the end of everything");
    let memory = match storage {
        Storage::Zeros => Memory::new(bytes),
        Storage::OldData => Memory::filled(bytes, 0xD1).without_discard(),
    };
    let writing = Writing::default();
    emit(settings, layout, tree, &memory, &writing).expect("memory does not fail");
    memory
}

/// Checks superblocks, descriptors and bitmaps of `image` against `layout`.
pub fn check(image: &Memory, settings: &Settings, layout: &Layout) {
    let view = View {
        image,
        settings,
        layout,
    };
    view.check_superblock();
    view.check_backups();
    for group in layout.geometry.all_groups() {
        view.check_group(group);
    }
}

struct View<'a> {
    image: &'a Memory,
    settings: &'a Settings,
    layout: &'a Layout,
}

impl View<'_> {
    fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.image
            .read_at(self.settings.offset_bytes() + offset, &mut bytes)
            .expect("memory does not fail");
        bytes
    }

    fn block(&self, block: Block) -> Vec<u8> {
        let size = self.layout.geometry.block_size;
        self.bytes(block.get() * size.bytes_u64(), size.bytes_usize())
    }

    fn has(&self, feature: Feature) -> bool {
        self.layout.geometry.features.has(feature)
    }

    fn check_superblock(&self) {
        let geometry = &self.layout.geometry;
        let sb = self.bytes(1024, 1024);
        let high = |low: usize, high: usize| (word(&sb, high) << 32) | word(&sb, low);
        assert_eq!(half(&sb, 0x38), 0xef53);
        assert_eq!(word(&sb, 0), u64::from(geometry.inodes_count));
        assert_eq!(high(0x4, 0x150), geometry.blocks_count);
        assert_eq!(high(0x8, 0x154), geometry.reserved_blocks);
        let free_blocks = self.layout.ledger.total_free();
        assert_eq!(high(0xc, 0x158), free_blocks);
        let free_inodes = self.layout.free_inodes();
        assert_eq!(word(&sb, 0x10), u64::from(free_inodes));
        assert_eq!(word(&sb, 0x14), geometry.first_data_block);
        assert_eq!(1024 << word(&sb, 0x18), geometry.block_size.bytes_u64());
        assert_eq!(word(&sb, 0x20), u64::from(geometry.blocks_per_group));
        assert_eq!(word(&sb, 0x24), u64::from(geometry.clusters_per_group()));
        assert_eq!(word(&sb, 0x28), u64::from(geometry.inodes_per_group));
        assert_eq!(half(&sb, 0x58), geometry.inode_size);
        for (offset, of) in [
            (0x5c, Word::Compat),
            (0x60, Word::Incompat),
            (0x64, Word::RoCompat),
        ] {
            assert_eq!(word(&sb, offset), u64::from(geometry.features.word(of)));
        }
        assert_eq!(sb[0x68..0x78], self.settings.uuid());
        assert_eq!(sb[0x78..0x88], self.settings.label());
        if self.has(Feature::MetadataCsum) {
            assert_eq!(word(&sb, 0x3fc), u64::from(crc32c(!0, &sb[..0x3fc])));
        }
    }

    /// Backups differ from the primary superblock in state, group and checksum alone.
    fn check_backups(&self) {
        let geometry = &self.layout.geometry;
        let stripped = |mut sb: Vec<u8>| {
            sb[0x3a..0x3c].fill(0);
            sb[0x5a..0x5c].fill(0);
            sb[0x3fc..].fill(0);
            sb
        };
        let primary = stripped(self.bytes(1024, 1024));
        for group in geometry.all_groups().skip(1) {
            if let Some(block) = geometry.backups(group).superblock {
                let mut backup = self.block(block);
                backup.truncate(1024);
                assert!(stripped(backup) == primary, "backup in group {group}");
            }
        }
    }

    fn descriptor(&self, group: Group) -> Vec<u8> {
        let geometry = &self.layout.geometry;
        let size = u64::from(geometry.desc_size);
        let number = u64::from(group.get());
        let per_block = u64::from(geometry.descs_per_block());
        let index = number / per_block;
        let block = if self.has(Feature::MetaBg) {
            let first = Group::new(group.get() - group.get() % geometry.descs_per_block());
            let (block, _) = geometry.backups(first).meta_bg.expect("a descriptor block");
            block
        } else {
            let all = geometry.backups(Group::new(0)).descriptors;
            all.expect("the first group has them").start.plus(index)
        };
        let offset = block.get() * geometry.block_size.bytes_u64() + number % per_block * size;
        self.bytes(offset, usize::from(geometry.desc_size))
    }

    fn check_group(&self, group: Group) {
        let geometry = &self.layout.geometry;
        let desc = self.descriptor(group);
        let wide = desc.len() >= 64;
        let place = |low: usize| {
            let high = if wide { word(&desc, 0x20 + low) } else { 0 };
            Block::new((high << 32) | word(&desc, low))
        };
        let count = |low: usize, high: usize| {
            let high = if wide { half(&desc, high) } else { 0 };
            (u32::from(high) << 16) | u32::from(half(&desc, low))
        };
        let tables = self.layout.tables_of(group);
        assert_eq!(place(0), tables.block_bitmap);
        assert_eq!(place(4), tables.inode_bitmap);
        assert_eq!(place(8), tables.inode_table);
        let run = geometry.group_run(group);
        let free = self.layout.ledger.count_free(run);
        let ratio = geometry.cluster_ratio();
        assert_eq!(u64::from(count(0xc, 0x2c)) * ratio, free);
        let used_inodes = self.layout.used_inodes(group);
        let used = used_inodes.end - used_inodes.start;
        assert_eq!(count(0xe, 0x2e), geometry.inodes_per_group - used);
        if self.has(Feature::MetadataCsum) {
            self.check_descriptor_checksum(group, &desc);
        }
        let flags = half(&desc, 0x12);
        if flags & 2 == 0 {
            self.check_block_bitmap(group, &self.block(tables.block_bitmap));
        } else {
            // The kernel finds a group's own tables without its bitmap (ext4_init_block_bitmap).
            let own = [
                Run::one(tables.block_bitmap),
                Run::one(tables.inode_bitmap),
                Run::new(tables.inode_table, geometry.inode_blocks_per_group.into()),
            ];
            let is_inside = |own: &&Run| own.start >= run.start && own.end() <= run.end();
            let own: u64 = own.iter().filter(is_inside).map(|own| own.len).sum();
            let own = own.next_multiple_of(ratio);
            assert_eq!(own, run.len - free, "group {group} is in use");
        }
        if flags & 1 == 0 {
            let bitmap = self.block(tables.inode_bitmap);
            for bit in 0..geometry.block_size.bytes() * 8 {
                let expected = used_inodes.contains(&bit) || bit >= geometry.inodes_per_group;
                assert_eq!(is_set(&bitmap, bit.into()), expected, "inode bit {bit}");
            }
        } else {
            assert!(used_inodes.is_empty());
        }
    }

    fn check_descriptor_checksum(&self, group: Group, desc: &[u8]) {
        let mut zeroed = desc.to_vec();
        zeroed[0x1e..0x20].fill(0);
        let seed = crc32c(!0, &self.settings.uuid());
        let checksum = crc32c(crc32c(seed, &group.get().to_le_bytes()), &zeroed);
        assert_eq!(u32::from(half(desc, 0x1e)), checksum & 0xffff);
    }

    fn check_block_bitmap(&self, group: Group, bitmap: &[u8]) {
        let geometry = &self.layout.geometry;
        let run = geometry.group_run(group);
        let mut expected = vec![0_u8; bitmap.len()];
        let mut set = |from: u64, to: u64| {
            for bit in from..to {
                let byte = usize::try_from(bit / 8).expect("a block is short");
                expected[byte] |= 1 << (bit % 8);
            }
        };
        let ratio = geometry.cluster_ratio();
        for used in self.layout.ledger.used_in(run) {
            let start = used.start.get() - run.start.get();
            set(start / ratio, (start + used.len).div_ceil(ratio));
        }
        set(run.len.div_ceil(ratio), geometry.block_size.bytes_u64() * 8);
        assert!(bitmap == expected, "block bitmap of group {group}");
    }
}

fn half(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn word(bytes: &[u8], offset: usize) -> u64 {
    let four = bytes[offset..].first_chunk().expect("four bytes");
    u64::from(u32::from_le_bytes(*four))
}

fn is_set(bitmap: &[u8], bit: u64) -> bool {
    let byte = usize::try_from(bit / 8).expect("a block is short");
    bitmap[byte] & (1 << (bit % 8)) != 0
}
