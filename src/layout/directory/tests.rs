//! Given directories of every size, reads their blocks as the kernel would; never by the plan.

use super::*;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::dirhash::Signedness;
use crate::units::BlockSize;

const SEED: u32 = 0x9abc_def0;
const THIS: Ino = Ino::new(77);
const PARENT: Ino = Ino::new(2);
const TYPES: [FileType; 7] = [
    FileType::Regular,
    FileType::Directory,
    FileType::CharDevice,
    FileType::BlockDevice,
    FileType::Fifo,
    FileType::Socket,
    FileType::Symlink,
];

struct Listing(Vec<Vec<u8>>);

impl Names for Listing {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> &[u8] {
        &self.0[index]
    }
}

impl Entries for Listing {
    fn file_type(&self, index: usize) -> FileType {
        TYPES[index % TYPES.len()]
    }

    fn ino(&self, index: usize) -> Ino {
        Ino::new(u32::try_from(index + 1000).expect("a small index"))
    }
}

fn hasher() -> DirHasher {
    DirHasher::new(HashVersion::HalfMd4, Signedness::Signed, [0; 16])
}

fn rules(block_bytes: u32, checksums: bool) -> DirectoryRules {
    DirectoryRules {
        format: BlockFormat {
            block_size: BlockSize::new(block_bytes).expect("a block size"),
            checksums,
            file_types: true,
        },
        hasher: Some(hasher()),
        large_dir: false,
    }
}

/// Names of many lengths and any bytes.
fn mixed(count: u32) -> Listing {
    let mut names: Vec<Vec<u8>> = (0..count)
        .map(|number| {
            let mixed = number.wrapping_mul(2_654_435_761);
            let mut name = mixed.to_be_bytes().map(|byte| byte | 0x40).to_vec();
            name.extend(format!("-{number}").bytes());
            name.resize(name.len() + usize::from(mixed.to_le_bytes()[3] % 60), b'x');
            name
        })
        .collect();
    names.sort();
    Listing(names)
}

/// Names of 255 bytes.
fn long(count: u32) -> Listing {
    Listing((0..count).map(long_name).collect())
}

fn long_name(number: u32) -> Vec<u8> {
    format!("{number:0>255}").into_bytes()
}

struct Rendered {
    shape: Shape,
    rules: DirectoryRules,
    blocks: Vec<Vec<u8>>,
}

fn render(listing: &Listing, rules: DirectoryRules) -> Rendered {
    let plan = DirectoryPlan::new(listing, &rules).expect("a directory of fewer than 4 GiB");
    let directory = Directory {
        rules: &rules,
        entries: listing,
        this: THIS,
        parent: PARENT,
        inode_seed: SEED,
    };
    let mut blocks = vec![Vec::new(); usize::try_from(plan.blocks()).expect("few blocks")];
    for (number, block) in (0..plan.blocks()).zip(&mut blocks).rev() {
        *block = vec![0xD1; rules.format.block_size.bytes_usize()];
        plan.render_block(number, block, &directory);
    }
    Rendered {
        shape: plan.shape(),
        rules,
        blocks,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An entry as it is read: inode, file type, name.
type Found = (u32, u8, Vec<u8>);

impl Rendered {
    /// The entries in use of a block, whose lengths must add up to the block.
    fn entries(&self, number: usize) -> Vec<Found> {
        let block = &self.blocks[number];
        let mut found = Vec::new();
        let mut at = 0;
        while at < block.len() {
            let stored = u16_at(block, at + 4);
            let length = if stored == 65535 { 65536 } else { stored };
            let name_len = usize::from(block[at + 6]);
            assert!(length >= 8 + name_len && length.is_multiple_of(4));
            if u32_at(block, at) != 0 {
                let name = block[at + 8..at + 8 + name_len].to_vec();
                found.push((u32_at(block, at), block[at + 7], name));
            }
            at += length;
        }
        assert_eq!(at, block.len(), "block {number}");
        found
    }

    /// The index entries of a root or node: (hash, block), the first one's hash being 0.
    fn index(&self, number: usize, header: usize) -> Vec<(u32, usize)> {
        let block = &self.blocks[number];
        let (limit, count) = (u16_at(block, header), u16_at(block, header + 2));
        let tail = if self.rules.format.checksums { 8 } else { 0 };
        assert_eq!(limit, (block.len() - header - tail) / 8);
        assert!((1..=limit).contains(&count), "{count} of {limit}");
        if tail > 0 {
            let at = header + limit * 8;
            let used = crc32c(SEED, &block[..header + count * 8]);
            assert_eq!(u32_at(block, at), 0);
            assert_eq!(u32_at(block, at + 4), crc32c(used, &[0; 8]));
        }
        (0..count)
            .map(|entry| header + entry * 8)
            .map(|at| {
                let hash = if at == header { 0 } else { u32_at(block, at) };
                let number = usize::try_from(u32_at(block, at + 4)).expect("few blocks");
                (hash, number)
            })
            .collect()
    }

    fn levels(&self) -> u8 {
        let root = &self.blocks[0];
        assert_eq!(root[24..30], [0, 0, 0, 0, 1, 8], "half-MD4, 8 bytes");
        root[30]
    }

    /// Every leaf in the order of the index: its first hash, with the bit for continuation.
    fn leaves(&self) -> Vec<(u32, usize)> {
        let mut level = self.index(0, 32);
        for _ in 0..self.levels() {
            level = level
                .into_iter()
                .flat_map(|(hash, node)| {
                    assert!(self.entries(node).is_empty());
                    let mut below = self.index(node, 8);
                    below[0].0 = hash;
                    below
                })
                .collect();
        }
        level
    }

    fn check_leaf_checksum(&self, number: usize) {
        let block = &self.blocks[number];
        if !self.rules.format.checksums {
            return;
        }
        let (entries, tail) = block.split_at(block.len() - 12);
        assert_eq!(tail[..8], [0, 0, 0, 0, 12, 0, 0, 0xDE]);
        assert_eq!(u32_at(tail, 8), crc32c(SEED, entries));
    }

    /// Checks a hash tree and gives its names.
    fn check_tree(&self) -> Vec<Found> {
        let leaves = self.leaves();
        let mut numbers: Vec<usize> = leaves.iter().map(|(_, number)| *number).collect();
        let ends = leaves.iter().skip(1).map(|(hash, _)| *hash);
        let mut names = Vec::new();
        for ((start, number), end) in leaves.iter().zip(ends.chain([u32::MAX])) {
            self.check_leaf_checksum(*number);
            assert!(start & !1 <= end & !1);
            for found in self.entries(*number) {
                let hash = hasher().hash(&found.2).major;
                assert!(start & !1 <= hash);
                assert!(hash < end & !1 || (hash == end & !1 && end & 1 == 1));
                names.push(found);
            }
        }
        numbers.sort_unstable();
        let first = self.blocks.len() - numbers.len();
        assert!(numbers.into_iter().eq(first..self.blocks.len()));
        names
    }

    fn check_linear(&self) -> Vec<Found> {
        (0..self.blocks.len())
            .flat_map(|number| {
                self.check_leaf_checksum(number);
                self.entries(number)
            })
            .skip(2)
            .collect()
    }

    /// Checks everything but the leaves' order against what was asked for.
    fn check(&self, listing: &Listing) {
        let dots = self.entries(0);
        assert_eq!(dots[0], (THIS.get(), 2, b".".to_vec()));
        assert_eq!(dots[1], (PARENT.get(), 2, b"..".to_vec()));
        let mut found = match self.shape {
            Shape::Indexed => self.check_tree(),
            Shape::Linear | Shape::Overgrown | Shape::Inline => self.check_linear(),
        };
        found.sort_by(|a, b| a.2.cmp(&b.2));
        let asked = (0..listing.count()).map(|index| {
            (
                listing.ino(index).get(),
                listing.file_type(index).number(),
                listing.name(index).to_vec(),
            )
        });
        assert!(found.into_iter().eq(asked));
    }
}

#[test]
fn directories_of_every_size_hold_their_names() {
    for block_bytes in [1024, 2048, 4096, 65536] {
        for checksums in [false, true] {
            for count in [0, 1, 2, 10, 13, 14, 60, 250, 1000, 5000] {
                let listing = mixed(count);
                render(&listing, rules(block_bytes, checksums)).check(&listing);
            }
        }
    }
}

#[test]
fn a_hundred_thousand_names_have_an_index() {
    let listing = mixed(100_000);
    for (block_bytes, levels) in [(2048, 1), (4096, 1), (65536, 0)] {
        let rendered = render(&listing, rules(block_bytes, true));
        assert_eq!(rendered.shape, Shape::Indexed);
        assert_eq!(rendered.levels(), levels);
        rendered.check(&listing);
    }
}

#[test]
fn the_index_begins_with_the_second_block() {
    // Of 1,012 bytes, the dots take 24 and three names 264 each; 196 are left, and as a leaf's 220.
    for (last, blocks, shape) in [(188, 1, Shape::Linear), (189, 2, Shape::Indexed)] {
        let mut listing = long(3);
        listing.0.push(vec![b'x'; last]);
        let mut rules = rules(1024, true);
        let rendered = render(&listing, rules);
        assert_eq!(rendered.shape, shape);
        assert_eq!(rendered.blocks.len(), blocks);
        rendered.check(&listing);
        rules.hasher = None;
        let linear = render(&listing, rules);
        assert_eq!(linear.shape, Shape::Linear);
        linear.check(&listing);
    }
}

#[test]
fn past_two_index_levels_a_directory_is_linear() {
    // Blocks of 1 KiB hold 3 such names, a node 126 blocks, the root 123 nodes.
    let most = 123 * 126 * 3;
    let full = long(most);
    let rendered = render(&full, rules(1024, true));
    assert_eq!((rendered.shape, rendered.levels()), (Shape::Indexed, 1));
    assert_eq!(rendered.blocks.len(), 1 + 123 + 123 * 126);

    let more = long(most + 1);
    let rendered = render(&more, rules(1024, true));
    assert_eq!(rendered.shape, Shape::Overgrown);
    rendered.check(&more);

    let large_dir = DirectoryRules {
        large_dir: true,
        ..rules(1024, true)
    };
    let rendered = render(&more, large_dir);
    assert_eq!((rendered.shape, rendered.levels()), (Shape::Indexed, 2));
    rendered.check(&more);
}

/// A listing that never was: one name, very often.
struct Repeated(usize);

impl Names for Repeated {
    fn count(&self) -> usize {
        self.0
    }

    fn name(&self, _index: usize) -> &[u8] {
        &[b'x'; 255]
    }
}

#[test]
fn a_directory_of_four_gibibytes_is_refused() {
    let rules = DirectoryRules {
        hasher: None,
        ..rules(65536, false)
    };
    // 248 names a block, 65,535 blocks.
    let most = 248 * 65_535;
    assert!(DirectoryPlan::new(&Repeated(most), &rules).is_ok());
    let refused = DirectoryPlan::new(&Repeated(most + 1), &rules).map(|plan| plan.blocks());
    assert_eq!(
        refused,
        Err(DirectoryTooLarge {
            names: most + 1,
            most: 65_535
        })
    );
}

#[test]
fn a_hash_that_goes_on_is_marked() {
    let names = long(9);
    let hashed: Vec<Hashed> = [2, 4, 6, 6, 6, 6, 6, 8, 10]
        .into_iter()
        .zip(0..)
        .map(|(major, index)| (major << 32, index))
        .collect();
    let leaves = fill_leaves(&names, &hashed, 1012);
    let firsts: Vec<(u32, u32)> = leaves.iter().map(|leaf| (leaf.first, leaf.hash)).collect();
    assert_eq!(firsts, [(0, 2), (3, 6 | 1), (6, 6 | 1)]);
}

/// Looks a name up as the kernel's `ext4_dx_find_entry` does.
fn look_up(rendered: &Rendered, name: &[u8]) -> Option<u32> {
    let hash = hasher().hash(name).major;
    let leaves = rendered.leaves();
    let mut leaf = leaves.partition_point(|(first, _)| *first <= hash) - 1;
    loop {
        let mut found = rendered.entries(leaves[leaf].1).into_iter();
        if let Some((ino, ..)) = found.find(|found| found.2 == name) {
            return Some(ino);
        }
        leaf += 1;
        leaves.get(leaf).filter(|(first, _)| *first == hash | 1)?;
    }
}

#[test]
fn names_of_one_hash_are_found_in_both_blocks() {
    let listing = Listing(COLLIDING.map(long_name).to_vec());
    let rendered = render(&listing, rules(1024, true));
    let continued = rendered
        .leaves()
        .iter()
        .filter(|(hash, _)| hash & 1 == 1)
        .count();
    assert!(continued >= 3, "{continued} leaves continue a hash");
    for index in 0..listing.count() {
        let ino = look_up(&rendered, listing.name(index));
        assert_eq!(ino, Some(listing.ino(index).get()));
    }
    assert_eq!(look_up(&rendered, b"absent"), None);
    rendered.check(&listing);
}

/// What mke2fs 1.47.2 wrote for the root and lost+found: see fixtures/layout/README.md.
#[test]
fn the_first_directories_are_those_of_mke2fs() {
    let fixture = include_str!("../../../fixtures/layout/empty_directories.txt");
    let mut directories: Vec<(Vec<&str>, Vec<Vec<u8>>)> = Vec::new();
    for line in fixture.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "directory" => directories.push((words, Vec::new())),
            _ => {
                let (words_before, blocks) = directories.last_mut().expect("a directory first");
                let bytes: usize = words_before[1].parse().expect("a block size");
                let mut block = hex(words[1]);
                block.resize(bytes - 12, 0);
                block.extend(hex(words[2]));
                blocks.push(block);
            }
        }
    }
    assert_eq!(directories.len(), 24);
    for (words, blocks) in directories {
        let seed = u32::from_str_radix(words[2], 16).ok();
        let mut rules = rules(words[1].parse().expect("a block size"), seed.is_some());
        rules.format.file_types = words[3] == "types";
        let root = words[4] == "2";
        let listing = First(root);
        let plan = if root {
            DirectoryPlan::new(&listing, &rules).expect("one block")
        } else {
            DirectoryPlan::lost_and_found(rules.format.block_size)
        };
        let directory = Directory {
            rules: &rules,
            entries: &listing,
            this: Ino::new(if root { 2 } else { 11 }),
            parent: Ino::ROOT,
            inode_seed: seed.unwrap_or(0),
        };
        for (number, block) in (0..plan.blocks()).zip(&blocks) {
            let mut rendered = vec![0xD1; block.len()];
            plan.render_block(number, &mut rendered, &directory);
            assert!(rendered == *block, "{words:?}, block {number}");
        }
        assert_eq!(usize::try_from(plan.blocks()), Ok(blocks.len()));
    }
}

/// The root's listing, or that of lost+found.
struct First(bool);

impl Names for First {
    fn count(&self) -> usize {
        usize::from(self.0)
    }

    fn name(&self, _index: usize) -> &[u8] {
        b"lost+found"
    }
}

impl Entries for First {
    fn file_type(&self, _index: usize) -> FileType {
        FileType::Directory
    }

    fn ino(&self, _index: usize) -> Ino {
        Ino::FIRST
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits"))
        .collect()
}

/// Twenty pairs of numbers whose names of 255 bytes have one hash, found by search.
const COLLIDING: [u32; 40] = [
    948, 31795, 32206, 57763, 73298, 112687, 125756, 139444, 146609, 149530, 151597, 157208,
    160505, 172878, 174751, 190266, 192194, 198106, 210675, 214346, 228108, 241755, 255752, 260945,
    266719, 275244, 298112, 299958, 312443, 315503, 330175, 332583, 340527, 341038, 341485, 343025,
    361445, 371181, 384232, 393478,
];
