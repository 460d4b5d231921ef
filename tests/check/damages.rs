//! Given a sound image, plants one damage in it; never judges who finds it.

use super::image::{Image, SB};

/// What kind of filesystem a damage is planted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Without checksums: what is damaged has only its own sense to betray it.
    Plain,
    /// With metadata_csum.
    Sums,
    /// With uninit_bg.
    Crc16,
    /// ext2: block maps, no journal.
    Ext2,
    Inline,
    EaInode,
    Quota,
    Bigalloc,
    Mmp,
    Casefold,
}

impl Kind {
    /// The words that ask for it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Plain => "-T ext4 -b 1024 -N 512 -O ^metadata_csum 10M",
            Self::Sums => "-T ext4 -b 1024 -N 512 10M",
            Self::Crc16 => "-T ext4 -b 1024 -N 512 -O ^metadata_csum,uninit_bg 10M",
            Self::Ext2 => {
                "-b 1024 -N 512 -O ^extent,^64bit,^has_journal,^metadata_csum,^orphan_file,^flex_bg 10M"
            }
            Self::Inline => "-b 1024 -N 512 -O ^metadata_csum,inline_data 10M",
            Self::EaInode => "-b 1024 -N 512 -O ^metadata_csum,ea_inode 10M",
            Self::Quota => "-b 1024 -N 512 -O ^metadata_csum,quota 10M",
            Self::Bigalloc => "-b 1024 -N 512 -O ^metadata_csum,bigalloc,^resize_inode 24M",
            Self::Mmp => "-b 1024 -N 512 -O mmp 10M",
            Self::Casefold => "-b 1024 -N 512 -O ^metadata_csum,casefold 10M",
        }
    }
}

/// A damage.
pub(crate) struct Damage {
    pub(crate) name: &'static str,
    /// What it is, in a line.
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    pub(crate) plant: fn(&mut Image),
}

macro_rules! damages {
    ($($name:literal $kind:ident $about:literal: $plant:expr;)+) => {
        /// Every damage.
        pub(crate) const DAMAGES: &[Damage] = &[$(Damage {
            name: $name,
            about: $about,
            kind: Kind::$kind,
            plant: $plant,
        },)+];
    };
}

damages! {
    "sb-magic" Plain "s_magic is another": |it| it.put16(SB + 0x38, 0x1234);
    "sb-blocks" Plain "s_blocks_count is past the image's end": |it| it.add(SB + 4, 4096);
    "sb-inodes" Plain "s_inodes_count is not that of all groups": |it| it.add(SB, 8);
    "sb-inodes-per-group" Plain "s_inodes_per_group is doubled": |it| it.put(SB + 0x28, it.get(SB + 0x28) * 2);
    "sb-first-block" Plain "s_first_data_block is 0 with blocks of 1 KiB": |it| it.put(SB + 0x14, 0);
    "sb-cluster" Plain "s_log_cluster_size differs without bigalloc": |it| it.put(SB + 0x1c, 3);
    "sb-first-ino" Plain "s_first_ino is reserved": |it| it.put(SB + 0x54, 5);
    "sb-inode-size" Plain "s_inode_size is no power of two": |it| it.put16(SB + 0x58, 384);
    "sb-desc-size" Plain "s_desc_size is no power of two": |it| it.put16(SB + 0xfe, 96);
    "sb-unknown-feature" Plain "an incompatible feature that nobody knows": |it| it.put(SB + 0x60, it.get(SB + 0x60) | 1 << 30);
    "sb-reserved" Plain "more blocks are reserved than half of all": |it| it.put(SB + 8, 9000);
    "sb-free-blocks" Plain "s_free_blocks_count is one too many": |it| it.add(SB + 0xc, 1);
    "sb-free-inodes" Plain "s_free_inodes_count is one too many": |it| it.add(SB + 0x10, 1);
    "sb-64bit-no-extents" Plain "64bit without extent": |it| it.put(SB + 0x60, it.get(SB + 0x60) & !0x40);
    "sb-csum-seed" Plain "metadata_csum_seed without metadata_csum": |it| it.put(SB + 0x60, it.get(SB + 0x60) | 0x2000);
    "sb-extra-isize" Plain "s_min_extra_isize is larger than the inode": |it| it.put16(SB + 0x15c, 400);
    "sb-checksum" Sums "a byte of the label, and not the checksum": |it| it.bytes[SB + 0x78] ^= 1;
    "sb-last-orphan" Plain "the list of orphans begins with a file": |it| it.put(SB + 0xe8, it.ino("file"));
    "sb-backup" Plain "the UUID of a copy is another": |it| { let at = it.block(8193); it.bytes[at + 0x68] ^= 1; };
    "gd-checksum" Sums "a descriptor's checksum": |it| it.add16(it.desc(0) + 0x1e, 1);
    "gd-crc16" Crc16 "a descriptor's CRC-16": |it| it.add16(it.desc(0) + 0x1e, 1);
    "gd-free-blocks" Plain "bg_free_blocks_count is one too many": |it| it.add16(it.desc(0) + 0xc, 1);
    "gd-free-inodes" Plain "bg_free_inodes_count is one too few": |it| it.add16(it.desc(0) + 0xe, u16::MAX);
    "gd-used-dirs" Plain "bg_used_dirs_count is one too many": |it| it.add16(it.desc(0) + 0x10, 1);
    "gd-unused" Plain "inodes are called unused without descriptor checksums": |it| it.put16(it.desc(0) + 0x1c, 10);
    "gd-uninit" Plain "a bitmap is called uninitialised without descriptor checksums": |it| it.put16(it.desc(0) + 0x12, 2);
    "gd-bitmap-outside" Plain "a block bitmap lies outside": |it| it.put(it.desc(0), 1 << 24);
    "gd-table-outside" Plain "an inode table lies outside": |it| it.put(it.desc(0) + 8, 1 << 24);
    "gd-same-bitmaps" Plain "both bitmaps are one block": |it| it.put(it.desc(0) + 4, it.get(it.desc(0)));
    "bb-cleared" Plain "a block in use is marked as free": |it| { let at = it.block_bitmap(); it.bytes[at] &= !2; };
    "bb-set" Plain "a free block is marked as in use": |it| { let at = it.block_bitmap(); it.bytes[at + 1023] |= 128; };
    "bb-padding" Plain "the padding of the last block bitmap is clear": |it| {
        let at = it.block(it.get(it.desc(1)));
        it.bytes[at + 1023] = 0;
    };
    "bb-checksum" Sums "a block bitmap's checksum": |it| it.add16(it.desc(0) + 0x18, 1);
    "ib-cleared" Plain "an inode in use is marked as free": |it| { let at = it.inode_bitmap(); it.bytes[at + 1] &= !8; };
    "ib-set" Plain "a free inode is marked as in use": |it| { let at = it.inode_bitmap(); it.bytes[at + 30] |= 128; };
    "ib-padding" Plain "the padding of an inode bitmap is clear": |it| { let at = it.inode_bitmap(); it.bytes[at + 1023] = 0; };
    "ib-checksum" Sums "an inode bitmap's checksum": |it| it.add16(it.desc(0) + 0x1a, 1);
    "in-type" Plain "i_mode says no type": |it| it.put16(it.at("file"), 0o644);
    "in-other-type" Plain "a file calls itself a pipe": |it| it.put16(it.at("file"), 0o010_644);
    "in-links" Plain "i_links_count of a file is one too many": |it| it.add16(it.at("file") + 0x1a, 1);
    "in-links-dir" Plain "i_links_count of a directory is one too few": |it| it.add16(it.at("dir") + 0x1a, u16::MAX);
    "in-links-none" Plain "i_links_count of a file with a name is 0": |it| it.put16(it.at("file") + 0x1a, 0);
    "in-blocks" Plain "i_blocks is one block too many": |it| it.add(it.at("file") + 0x1c, 2);
    "in-size" Plain "i_size of a file is before its last block": |it| it.put(it.at("file") + 4, 1000);
    "in-size-dir" Plain "i_size of a directory is no multiple of a block": |it| it.put(it.at("dir") + 4, 1000);
    "in-size-pipe" Plain "a pipe has a size": |it| it.put(it.at("pipe") + 4, 1);
    "in-deleted" Plain "a file in use has a time of deletion": |it| it.put(it.at("file") + 0x14, 1_600_000_000);
    "in-extra" Plain "i_extra_isize is no multiple of four": |it| it.put16(it.at("file") + 0x80, 30);
    "in-faddr" Plain "i_faddr is set": |it| it.put(it.at("file") + 0x70, 7);
    "in-acl-outside" Plain "i_file_acl is outside": |it| it.put(it.at("file") + 0x68, 1 << 24);
    "in-index" Plain "a file has the flag of a hash tree": |it| it.put(it.at("file") + 0x20, it.get(it.at("file") + 0x20) | 0x1000);
    "in-no-extents" Plain "a file with extents lacks the flag": |it| it.put(it.at("file") + 0x20, 0);
    "in-inline" Plain "a file has inline data without inline_data": |it| it.put(it.at("file") + 0x20, 0x1000_0000);
    "in-casefold" Plain "a directory folds case without casefold": |it| it.put(it.at("dir") + 0x20, it.get(it.at("dir") + 0x20) | 0x4000_0000);
    "in-checksum" Sums "a byte of an inode, and not its checksum": |it| it.add(it.at("file") + 0x10, 1);
    "in-root" Plain "the root is a file": |it| it.put16(it.inode(2), 0o100_755);
    "ex-magic" Plain "the root of an extent tree lacks its magic number": |it| it.put16(it.at("file") + 0x28, 0);
    "ex-entries" Plain "a root counts more extents than fit": |it| it.put16(it.at("file") + 0x2a, 9);
    "ex-order" Plain "two extents begin with one block": |it| { let at = it.leaf(it.at("pieces")); it.put(at + 24, it.get(at + 12)); };
    "ex-length" Plain "an extent has no blocks": |it| it.put16(it.at("file") + 0x38, 0);
    "ex-outside" Plain "an extent is outside": |it| it.put(it.at("file") + 0x3c, 1 << 24);
    "ex-shared" Plain "two files have one extent": |it| it.put(it.at("file") + 0x3c, it.get(it.leaf(it.at("pieces")) + 20));
    "ex-metadata" Plain "an extent lies on the inode table": |it| it.put(it.at("file") + 0x3c, it.get(it.desc(0) + 8));
    "ex-index-outside" Plain "an index leads outside": |it| it.put(it.at("pieces") + 0x38, 1 << 24);
    "ex-index-first" Plain "an index says another first block than its leaf": |it| it.put(it.at("pieces") + 0x34, 1);
    "ex-leaf-magic" Plain "a leaf lacks its magic number": |it| it.put16(it.leaf(it.at("pieces")), 0);
    "ex-leaf-depth" Plain "a leaf calls itself an index": |it| it.put16(it.leaf(it.at("pieces")) + 6, 1);
    "ex-checksum" Sums "a leaf's checksum": |it| it.add(it.leaf(it.at("pieces")) + 12 * 85, 1);
    "bm-outside" Ext2 "a pointer leads outside": |it| it.put(it.at("file") + 0x28, 1 << 24);
    "bm-shared" Ext2 "two pointers are one": |it| it.put(it.at("file") + 0x2c, it.get(it.at("file") + 0x28));
    "bm-indirect" Ext2 "an indirect block is outside": |it| it.put(it.at("pieces") + 0x28 + 48, 1 << 24);
    "bm-within" Ext2 "a pointer in an indirect block leads outside": |it| it.put(it.block(it.get(it.at("pieces") + 0x28 + 48)) + 16, 1 << 24);
    "di-length" Plain "an entry's length is no multiple of four": |it| it.add16(it.entry("dir/ab") + 4, 1);
    "di-name-length" Plain "a name is longer than its entry": |it| { let at = it.entry("dir/ab"); it.bytes[at + 6] = 200; };
    "di-no-inode" Plain "an entry leads past the last inode": |it| it.put(it.entry("dir/ab"), 1 << 20);
    "di-unused" Plain "an entry leads to an unused inode": |it| it.put(it.entry("dir/ab"), 500);
    "di-reserved" Plain "an entry leads to the journal": |it| it.put(it.entry("dir/ab"), 8);
    "di-type" Plain "an entry's file type is another": |it| { let at = it.entry("dir/ab"); it.bytes[at + 7] = 1; };
    "di-dot" Plain "'.' leads elsewhere": |it| it.put(it.entry("dir/."), 2);
    "di-dot-name" Plain "the first entry is not '.'": |it| { let at = it.entry("dir/."); it.bytes[at + 8] = b'x'; };
    "di-dot-dot" Plain "'..' leads elsewhere": |it| it.put(it.entry("dir/sub/.."), 2);
    "di-twice" Plain "a name stands twice": |it| { let at = it.entry("dir/cd"); it.bytes[at + 8..at + 10].copy_from_slice(b"ab"); };
    "di-slash" Plain "a name has a slash": |it| { let at = it.entry("dir/ab"); it.bytes[at + 8] = b'/'; };
    "di-unlinked" Plain "no name leads to a file": |it| it.unlink("dir/ab");
    "di-unlinked-dir" Plain "no name leads to a directory": |it| it.unlink("dir/sub");
    "di-two-names" Plain "a directory has two names": |it| {
        let sub = it.ino("dir/sub");
        let at = it.entry("dir/ab");
        it.put(at, sub);
        it.bytes[at + 7] = 2;
    };
    "di-circle" Plain "a directory lies in its own subdirectory": |it| {
        let sub = it.ino("dir/sub");
        let at = it.entry("dir/sub/subsub");
        it.unlink("dir/sub");
        it.put(at, sub);
    };
    "di-hole" Plain "a directory's second block is none": |it| {
        let at = it.at("many") + 0x28;
        it.put(at + 12, 1);
    };
    "di-checksum" Sums "the checksum of a block of entries": |it| { let at = it.content(it.at("dir"), 0); it.add(at + 1020, 1); };
    "di-no-tail" Sums "a block of entries has no checksum": |it| { let at = it.content(it.at("dir"), 0); it.bytes[at + 1019] = 0; };
    "ht-version" Plain "a hash tree of an unknown hash": |it| { let at = it.content(it.at("many"), 0); it.bytes[at + 0x1c] = 9; };
    "ht-levels" Plain "a hash tree of too many levels": |it| { let at = it.content(it.at("many"), 0); it.bytes[at + 0x1e] = 3; };
    "ht-limit" Plain "a limit that is not the block's": |it| { let at = it.content(it.at("many"), 0); it.add16(at + 0x20, 1); };
    "ht-count" Plain "more index entries than fit": |it| { let at = it.content(it.at("many"), 0); it.put16(at + 0x22, 2000); };
    "ht-block" Plain "an index entry leads past the directory": |it| { let at = it.content(it.at("many"), 0); it.put(at + 0x2c, 900); };
    "ht-block-twice" Plain "two index entries lead to one block": |it| { let at = it.content(it.at("many"), 0); it.put(at + 0x2c, it.get(at + 0x24)); };
    "ht-hash-low" Plain "an index entry's hash is lower than the one before": |it| { let at = it.content(it.at("many"), 0); it.put(at + 0x30, 2); };
    "ht-hash-high" Plain "an index entry's hash is higher than those of its block": |it| { let at = it.content(it.at("many"), 0); it.add(at + 0x28, 0x0800_0000); };
    "ht-name" Plain "a name whose hash belongs elsewhere": |it| {
        let leaf = it.content(it.at("many"), 1);
        it.bytes[leaf + 8..leaf + 11].copy_from_slice(b"zzz");
        let leaf = it.content(it.at("many"), 2);
        it.bytes[leaf + 8..leaf + 11].copy_from_slice(b"zzy");
    };
    "ht-checksum" Sums "an index block's checksum": |it| { let at = it.content(it.at("many"), 0); it.add(at + 1020, 1); };
    "xa-magic" Plain "an attribute block lacks its magic number": |it| it.put(it.xattrs(it.at("one")), 0);
    "xa-refcount" Plain "h_refcount is one too many": |it| it.add(it.xattrs(it.at("one")) + 4, 1);
    "xa-blocks" Plain "h_blocks is 2": |it| it.put(it.xattrs(it.at("one")) + 8, 2);
    "xa-hash" Plain "the hash of an attribute": |it| it.add(it.xattrs(it.at("one")) + 32 + 12, 1);
    "xa-name" Plain "a name longer than the block": |it| { let at = it.xattrs(it.at("one")); it.bytes[at + 32] = 255; it.bytes[at + 33] = 0; };
    "xa-value" Plain "a value outside the block": |it| it.put16(it.xattrs(it.at("one")) + 32 + 2, 1020);
    "xa-checksum" Sums "an attribute block's checksum": |it| it.add(it.xattrs(it.at("one")) + 16, 1);
    "xa-inode-value" Plain "a value outside the inode": |it| it.put16(it.at("small") + 128 + 32 + 4 + 2, 250);
    "xa-inode-size" Plain "a value longer than the inode": |it| it.put(it.at("small") + 128 + 32 + 4 + 8, 5000);
    "ea-target" EaInode "a value is in an ordinary file": |it| {
        let file = it.ino("file");
        let at = huge(it);
        it.put(at + 4, file);
    };
    "ea-hash" EaInode "the hash of an attribute with its value in an inode": |it| { let at = huge(it); it.add(at + 12, 1); };
    "ea-references" EaInode "a value's inode counts a reference too many": |it| {
        let at = huge(it);
        let value = it.inode(it.get(at + 4));
        it.add(value + 0x24, 1);
    };
    "ea-flag" EaInode "a value's inode lacks the flag": |it| {
        let at = huge(it);
        let value = it.inode(it.get(at + 4));
        it.put(value + 0x20, 0x8_0000);
    };
    "sl-fast" Plain "a short link is longer than its target": |it| it.add(it.at("short") + 4, 3);
    "sl-slow" Plain "a long link is longer than its target": |it| it.add(it.at("long") + 4, 3);
    "jo-magic" Plain "the journal has no superblock": |it| { let at = it.content(it.inode(8), 0); it.put(at, 0); };
    "jo-length" Plain "the journal is longer than its inode": |it| { let at = it.content(it.inode(8), 0); it.put(at + 0x10, u32::MAX); };
    "jo-feature" Plain "the journal has an unknown feature": |it| { let at = it.content(it.inode(8), 0); it.put(at + 0x28, 1); };
    "jo-mode" Plain "the journal is a directory": |it| it.put16(it.inode(8), 0o040_600);
    "jo-none" Plain "has_journal without a journal": |it| it.put(SB + 0xe0, 0);
    "jo-start" Plain "the journal holds changes, and the superblock does not say so": |it| { let at = it.content(it.inode(8), 0); it.put(at + 0x1c, 1 << 24); };
    "re-pointer" Plain "the resize inode's map leads elsewhere": |it| { let at = it.block(it.get(it.inode(7) + 0x28 + 52)); it.add(at + 8, 1); };
    "re-kept" Plain "a block kept for growing leads elsewhere": |it| { let at = it.block(4); it.add(at, 1); };
    "re-map" Plain "the resize inode has a direct block": |it| it.put(it.inode(7) + 0x28, 5000);
    "qu-space" Quota "a quota entry's bytes": |it| { let at = quota(it); it.add(at + 48, 1024); };
    "qu-inodes" Quota "a quota entry's inodes": |it| { let at = quota(it); it.add(at + 24, 1); };
    "qu-magic" Quota "a quota file's magic number": |it| { let at = it.content(it.inode(3), 0); it.put(at, 0); };
    "or-magic" Sums "a block of the orphan file lacks its magic number": |it| { let at = it.content(it.inode(it.get(SB + 0x280)), 0); it.put(at + 1016, 0); };
    "or-checksum" Sums "a block of the orphan file has another checksum": |it| { let at = it.content(it.inode(it.get(SB + 0x280)), 0); it.add(at + 1020, 1); };
    "or-no-sums" Plain "a block of the orphan file has a checksum without metadata_csum": |it| {
        let at = it.content(it.inode(it.get(SB + 0x280)), 0);
        it.add(at + 1020, 1);
    };
    "mm-magic" Mmp "the block of multiple mount protection lacks its magic number": |it| it.put(it.block(it.get(SB + 0x168)), 0);
    "mm-checksum" Mmp "its checksum": |it| it.add(it.block(it.get(SB + 0x168)) + 1020, 1);
    "il-attribute" Inline "inline data without its attribute": |it| {
        let at = it.at("small") + 128 + 32;
        it.bytes[at..at + 96].fill(0);
    };
    "il-entry" Inline "an entry in an inode does not fit": |it| it.put16(it.at("dir") + 0x28 + 4 + 4, 6);
    "ba-cluster" Bigalloc "an extent begins amid a cluster": |it| it.add(it.at("file") + 0x3c, 1);
    "cf-twice" Casefold "two names fold to one": |it| {
        let at = it.entry("folding/lower");
        it.bytes[at + 8..at + 13].copy_from_slice(b"UPPER");
    };
}

/// Where the entry of the attribute with its value in an inode begins.
fn huge(it: &Image) -> usize {
    let inode = it.at("huge");
    let in_inode = inode + 128 + 32 + 4;
    match it.get(in_inode + 4) {
        0 => it.xattrs(inode) + 32,
        _ => in_inode,
    }
}

/// Where the first entry of the users' quota file begins: its blocks are header, four levels, entries.
fn quota(it: &Image) -> usize {
    it.content(it.inode(3), 5) + 16
}
