//! Given any bytes, as an image or as changes to a sound one, checks that the reader comes to an end
//! without a panic, says the same twice, and takes nothing that a checksum covers for right unless it is
//! what was written.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use mke4fs::feature::Feature;
use mke4fs::raw::ondisk::jbd2::{
    BLOCK_TYPE_COMMIT, BLOCK_TYPE_DESCRIPTOR, BLOCK_TYPE_REVOKE, MAGIC, TAG_ESCAPED, TAG_LAST,
    TAG_SAME_UUID,
};
use mke4fs::raw::units::{Group, Ino};
use mke4fs::read::{Filesystem, Inode, ReadAt};

use super::check::{self, Input, Sound};

/// How many inodes and files of an image are looked at: more than the sound ones have.
const MOST: usize = 2000;
/// How much of a file is read, in bytes, and how many of its ranges.
const MOST_BYTES: usize = 1 << 16;
const MOST_RANGES: usize = 64;
/// Targets of this length and more are in a block, which has no checksum.
const BLOCK_TARGET: u64 = 60;

/// The bytes of a block.
const BLOCK: usize = 1024;
/// `EXT4_FEATURE_INCOMPAT_RECOVER`.
const RECOVER: u8 = 0x4;

/// What is said of each path, and of what belongs to none.
type Facts = BTreeMap<Vec<u8>, String>;

/// Checks the reader by `bytes`.
pub fn run(bytes: &[u8]) {
    judge(&bytes);
    let Some(input) = super::value::<Input>(bytes) else {
        return;
    };
    let (number, changed) = input.changed(images());
    let facts = judge(&changed);
    let (sound, has_checksums) = &sound_facts()[number];
    if *has_checksums {
        for (path, said) in facts.iter().filter(|(_, said)| !said.starts_with("error")) {
            assert_eq!(sound.get(path), Some(said), "{}", path.escape_ascii());
        }
    }
}

/// What the reader says of an image, the same each time.
fn judge(image: &dyn ReadAt) -> Facts {
    let facts = facts(image);
    assert_eq!(facts, self::facts(image));
    facts
}

/// What the sound images say, and whether all of it is covered by checksums.
fn sound_facts() -> &'static [(Facts, bool)] {
    static FACTS: OnceLock<Vec<(Facts, bool)>> = OnceLock::new();
    FACTS.get_or_init(|| {
        let of = |bytes: &Vec<u8>| {
            let bytes = &bytes[..];
            let sb = Filesystem::open(bytes).expect("it is sound");
            (facts(&bytes), sb.superblock().has(Feature::MetadataCsum))
        };
        images().iter().map(|sound| of(&sound.bytes)).collect()
    })
}

/// The checker's images, and one whose journal waits.
pub fn images() -> &'static [Sound] {
    static IMAGES: OnceLock<Vec<Sound>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let others = check::images().iter();
        let mut images: Vec<Sound> = others.map(|it| Sound::of(it.bytes.clone())).collect();
        images.push(Sound::of(waiting()));
        images
    })
}

/// An image whose journal holds copies of its first blocks in two transactions, one of them revoked.
fn waiting() -> Vec<u8> {
    let mut bytes = check::image("^metadata_csum,^64bit", 4 << 20);
    let journal = {
        let filesystem = Filesystem::open(&bytes[..]).expect("it is sound");
        let inode = filesystem.inode(Ino::JOURNAL).expect("it has a journal");
        let extents = filesystem.extents(&inode).expect("it is sound");
        let start = extents.first().expect("it has blocks").run.start.get();
        usize::try_from(start).expect("it is small") * BLOCK
    };
    // s_feature_incompat, and the journal's s_sequence and s_start.
    bytes[1024 + 0x60] |= RECOVER;
    bytes[journal + 0x18..journal + 0x20].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    let mut at = journal + BLOCK;
    for sequence in 1..=2 {
        let mut words = vec![MAGIC, BLOCK_TYPE_DESCRIPTOR, sequence];
        let tags = [(1, 0), (2, 0), (40, TAG_ESCAPED), (41, TAG_LAST)];
        for (home, flags) in tags {
            words.extend([home, flags | TAG_SAME_UUID]);
        }
        put(&mut bytes, &mut at, &words);
        for (home, _) in tags {
            let start = usize::try_from(home).expect("it is small") * BLOCK;
            bytes.copy_within(start..start + BLOCK, at);
            at += BLOCK;
        }
        put(
            &mut bytes,
            &mut at,
            &[MAGIC, BLOCK_TYPE_REVOKE, sequence, 20, 41],
        );
        put(&mut bytes, &mut at, &[MAGIC, BLOCK_TYPE_COMMIT, sequence]);
    }
    let replayed = Filesystem::open(&bytes[..]).map(|it| it.replayed_blocks());
    assert_eq!(replayed.expect("its journal is one"), 3);
    bytes
}

/// Writes a block of big-endian words.
fn put(bytes: &mut [u8], at: &mut usize, words: &[u32]) {
    for (number, word) in words.iter().enumerate() {
        let start = *at + 4 * number;
        bytes[start..start + 4].copy_from_slice(&word.to_be_bytes());
    }
    *at += BLOCK;
}

fn facts(image: &dyn ReadAt) -> Facts {
    let mut facts = Facts::new();
    let filesystem = match Filesystem::open(image) {
        Ok(filesystem) => filesystem,
        Err(error) => {
            facts.insert(Vec::new(), format!("error: {error}"));
            return facts;
        }
    };
    for group in (0..filesystem.superblock().groups_count()).take(MOST) {
        if let Ok(group) = filesystem.group(Group::new(group)) {
            let _ = filesystem.block_bitmap(&group);
            let _ = filesystem.inode_bitmap(&group);
        }
    }
    for inode in filesystem.inodes().take(MOST).flatten() {
        let _ = filesystem.extents(&inode);
        let _ = filesystem.link_target(&inode);
    }
    let Ok(root) = filesystem.root() else {
        return facts;
    };
    let Ok(mut walk) = filesystem.walk(&root) else {
        return facts;
    };
    for _ in 0..MOST {
        let Some(entry) = walk.next() else {
            break;
        };
        let said = match entry {
            Ok(entry) => said_of(&filesystem, &entry.inode),
            Err(error) => format!("error: {error}"),
        };
        facts.insert(walk.path().to_vec(), said);
        let _ = filesystem.metadata(walk.path());
    }
    facts
}

/// All that is known of an inode, but for file data, which has no checksum.
fn said_of(filesystem: &Filesystem<'_>, inode: &Inode) -> String {
    if let Ok(file) = filesystem.file(inode) {
        let mut buffer = vec![0; MOST_BYTES];
        for range in file.data_ranges().into_iter().flatten().take(MOST_RANGES) {
            let _ = file.read_at(range.start, &mut buffer);
        }
        let _ = file.read_at(file.size().saturating_sub(1), &mut buffer);
    }
    let extents = filesystem.extents(inode);
    let xattrs = filesystem.xattrs_of(inode);
    let target = filesystem.link_target(inode);
    if extents.is_err() || xattrs.is_err() || inode.is_symlink() && target.is_err() {
        return "error of what belongs to it".to_owned();
    }
    let target = target.ok().filter(|_| inode.size() < BLOCK_TARGET);
    format!("{inode:?} {extents:?} {xattrs:?} {target:?}")
}
