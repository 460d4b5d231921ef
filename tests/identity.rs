//! Given options, proves that an empty filesystem has the bytes that mke2fs 1.47.2 writes for the
//! same UUID, hash seed and clock; never fills one.
//!
//! `s_kbytes_written` counts what mke2fs's own cache did, and is left out with the superblock
//! checksums over it, which must be right all the same. Where mke2fs reserves more than half of the blocks, which
//! e2fsck takes for a corrupt superblock, ours is sound instead.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use common::bytes::Pair;
use common::making::{self, CLOCK, SEED_TEXT, UUID_TEXT};
use common::tools::{self, Need, Result, Which, ready};

/// What the output is before: the unit is MiB.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// Not there.
    Missing,
    /// A file that is all hole.
    Hole(u64),
    /// A file in which every byte is 0xD1.
    Junk(u64),
}

use Before::{Hole, Junk, Missing};

/// What the output is before, and mke2fs's words, which name the row.
const ROWS: &[(Before, &str)] = &[
    // Sizes, at the steps of usage types, journals and orphan files.
    (Missing, "1M"),
    (Missing, "1500k"),
    (Missing, "2M"),
    (Missing, "3M"),
    (Missing, "4M"),
    (Missing, "8191k"),
    (Missing, "8M"),
    (Missing, "9M"),
    (Missing, "32M"),
    (Missing, "64M"),
    (Missing, "100M"),
    (Missing, "128M"),
    (Missing, "256M"),
    (Missing, "511M"),
    (Missing, "512M"),
    (Missing, "600M"),
    (Missing, "1G"),
    (Missing, "2G"),
    (Missing, "5G"),
    (Missing, "33G"),
    (Missing, "100G"),
    (Missing, "300000s"),
    (Missing, "1T"),
    (Missing, "-b 4096 1000001"),
    // The output as it was.
    (Hole(64), ""),
    (Hole(700), ""),
    (Hole(64), "32M"),
    (Hole(10), "64M"),
    (Junk(64), ""),
    (Junk(64), "48M"),
    (Junk(16), "-E discard"),
    (Junk(16), "-E nodiscard"),
    (Junk(64), "-E nodiscard,lazy_itable_init=0"),
    (
        Junk(64),
        "-E nodiscard,lazy_itable_init=1,lazy_journal_init=1",
    ),
    (
        Junk(64),
        "-E nodiscard,lazy_itable_init=0,lazy_journal_init=0",
    ),
    (Junk(64), "-b 1024 -E nodiscard"),
    (Junk(64), "-b 2048 -E nodiscard -O ^metadata_csum"),
    (Junk(64), "-E nodiscard -O ^metadata_csum,^64bit,^flex_bg"),
    (Junk(64), "-E nodiscard,assume_storage_prezeroed"),
    (Junk(32), "-E nodiscard -O ^has_journal,^resize_inode"),
    (Junk(64), "-b 65536 -E nodiscard"),
    (Hole(64), "-E nodiscard"),
    (Hole(64), "-E assume_storage_prezeroed=1,lazy_itable_init=0"),
    (Hole(64), "-E lazy_itable_init=0,lazy_journal_init=0"),
    // Blocks and inodes.
    (Missing, "-b 1024 1M"),
    (Missing, "-b 1024 8193k"),
    (Missing, "-b 1024 100M"),
    (Missing, "-b 1024 20G"),
    (Missing, "-b 2048 64M"),
    (Missing, "-b 2048 3G"),
    (Missing, "-b 4096 2M"),
    (Missing, "-b 4096 64M"),
    (Missing, "-b 8192 64M"),
    (Missing, "-b 16384 1G"),
    (Missing, "-b 32768 1G"),
    (Missing, "-b 65536 64M"),
    (Missing, "-b 65536 100G"),
    (Missing, "-I 128 64M"),
    (Missing, "-I 128 -O ^extra_isize 600M"),
    (Missing, "-I 256 1G"),
    (Missing, "-I 512 100M"),
    (Missing, "-I 1024 600M"),
    (Missing, "-b 1024 -I 1024 64M"),
    (Missing, "-i 1024 64M"),
    (Missing, "-i 4096 600M"),
    (Missing, "-i 65536 1G"),
    (Missing, "-i 67108864 10G"),
    (Missing, "-N 11 64M"),
    (Missing, "-N 12 64M"),
    (Missing, "-N 1000 64M"),
    (Missing, "-N 1000003 3G"),
    // Words that stay in the superblock.
    (Missing, "-m 0 64M"),
    (Missing, "-m 1.5 600M"),
    (Missing, "-m 50 64M"),
    (Missing, "-L label -M /last/mounted 64M"),
    (Missing, "-L exactly-16-bytes 64M"),
    (Missing, "-e continue 64M"),
    (Missing, "-e remount-ro 64M"),
    (Missing, "-e panic 64M"),
    // Groups.
    (Missing, "-G 1 600M"),
    (Missing, "-G 2 600M"),
    (Missing, "-G 64 20G"),
    (Missing, "-g 256 -b 1024 16M"),
    (Missing, "-g 8192 600M"),
    (Missing, "-g 32760 1G"),
    (Missing, "-g 1024 -G 4 -b 4096 256M"),
    // Journals.
    (Missing, "-J size=1 -b 1024 64M"),
    (Missing, "-J size=4 64M"),
    (Missing, "-J size=64 600M"),
    (Missing, "-J size=1024 20G"),
    (Missing, "-J size=2 -E lazy_journal_init=0 64M"),
    // Usage types.
    (Missing, "-T small 1G"),
    (Missing, "-T floppy 16M"),
    (Missing, "-T big 64M"),
    (Missing, "-T huge 1G"),
    (Missing, "-T news 1G"),
    (Missing, "-T largefile 2G"),
    (Missing, "-T largefile4 5G"),
    (Missing, "-T hurd 64M"),
    // Every feature of the profile taken away.
    (Missing, "-O ^has_journal 64M"),
    (Missing, "-O ^has_journal,^orphan_file 64M"),
    (Missing, "-O ^ext_attr 64M"),
    (Missing, "-O ^resize_inode 64M"),
    (Missing, "-O ^resize_inode 20G"),
    (Missing, "-O ^dir_index 64M"),
    (Missing, "-O ^orphan_file 64M"),
    (Missing, "-O ^filetype 64M"),
    (Missing, "-O ^64bit 64M"),
    (Missing, "-O ^64bit 600M"),
    (Missing, "-O ^64bit 20G"),
    (Missing, "-O ^flex_bg 600M"),
    (Missing, "-O ^flex_bg,^resize_inode -b 1024 100M"),
    (Missing, "-O ^flex_bg 20G"),
    (Missing, "-O ^flex_bg -E stride=8 600M"),
    (Missing, "-O ^flex_bg -E packed_meta_blocks=1 3G"),
    (Missing, "-G 1 -O ^resize_inode 20G"),
    (Missing, "-O ^flex_bg,^metadata_csum,^resize_inode 3G"),
    (Missing, "-O ^metadata_csum_seed 64M"),
    (Missing, "-O ^metadata_csum 64M"),
    (Missing, "-O ^metadata_csum,^metadata_csum_seed 600M"),
    (Missing, "-O ^sparse_super,^resize_inode 600M"),
    (Missing, "-O ^large_file 64M"),
    (Missing, "-O ^huge_file 64M"),
    (Missing, "-O ^dir_nlink 64M"),
    (Missing, "-O ^extra_isize 64M"),
    (
        Missing,
        "-O ^64bit,^metadata_csum,^flex_bg,^has_journal,^orphan_file 100M",
    ),
    // Extended options.
    (Missing, "-E root_owner=1000:1001 64M"),
    (Missing, "-E root_owner=4294967294:65536 64M"),
    (Missing, "-E root_owner 64M"),
    (Missing, "-E root_perms=1777 64M"),
    (Missing, "-E stride=16,stripe_width=64 600M"),
    (Missing, "-E stride=1 1G"),
    (Missing, "-E resize=4G 64M"),
    (Missing, "-E resize=100G -b 4096 1G"),
    (Missing, "-E offset=1048576 64M"),
    (Hole(80), "-E offset=65536 64M"),
    (Junk(32), "-E offset=4096,nodiscard 16M"),
    (Missing, "-E num_backup_sb=1 600M"),
    (Missing, "-E packed_meta_blocks=1 600M"),
    (Missing, "-E packed_meta_blocks=1 -b 1024 64M"),
    (Missing, "-E packed_meta_blocks=1 -J size=16 5G"),
    (Missing, "-E packed_meta_blocks=1 -G 1 64M"),
    (
        Missing,
        "-E packed_meta_blocks=1 -G 1 -b 1024 -i 1024 -I 512 300M",
    ),
    (Missing, "-E orphan_file_size=64k 64M"),
    (Missing, "-E orphan_file_size=2M 1G"),
    (Missing, "-E no_copy_xattrs 64M"),
    // What one meets: larger and larger ones.
    (
        Missing,
        "-b 4096 -I 256 -E lazy_itable_init=1,lazy_journal_init=1 8G",
    ),
    (Missing, "4095G"),
    (Missing, "4T"),
    (Missing, "8T"),
    (Missing, "16383G"),
    (Missing, "-b 1024 -O ^has_journal,^orphan_file 1T"),
];

/// Rows that take a second or more: the largest sizes.
const HUGE_ROWS: &[(Before, &str)] = &[
    (Missing, "16T"),
    (Missing, "20T"),
    (Missing, "-O ^flex_bg 17T"),
    (Missing, "-b 65536 20T"),
];

/// mke2fs takes the share of reserved blocks before it leaves out those that fill no cluster: its image is
/// unsound, and ours is not. A row whose image e2fsck passes is an error.
const UNSOUND_ROWS: &[&str] = &[
    "-O bigalloc -b 1024 -m 50 33795k",
    "-O bigalloc -b 4096 -m 50 133795k",
    "-O bigalloc -b 1024 -m 49.999 9999k",
    "-O bigalloc -b 1024 -C 4096 -m 50 63038k",
    "-O bigalloc -b 2048 -C 1048576 -m 49 20999k",
];

/// Almost the same rows, where mke2fs's image is sound and ours the same.
const NEIGHBOURS: &[(Before, &str)] = &[
    (Missing, "-O bigalloc -b 1024 -m 49.99 33795k"),
    (Missing, "-O bigalloc -b 1024 -m 50 33792k"),
    (Missing, "-O bigalloc -b 4096 -m 50 133760k"),
    (Missing, "-b 1024 -m 50 33795k"),
    (Missing, "-b 1024 -m 50 8233k"),
    (Missing, "-E packed_meta_blocks=1 -G 2 -b 1024 300k"),
    (Missing, "-E packed_meta_blocks=1 -G 1 -O bigalloc 64M"),
    (Missing, "-O bigalloc -b 4096 -C 8192 -m 50 24548k"),
];

fn prepare(path: &Path, before: Before) -> Result<()> {
    let mebibyte = vec![0xD1; 1 << 20];
    match before {
        Missing => {}
        Hole(mebibytes) => File::create_new(path)?.set_len(mebibytes << 20)?,
        Junk(mebibytes) => {
            let mut file = File::create_new(path)?;
            (0..mebibytes).try_for_each(|_| file.write_all(&mebibyte))?;
        }
    }
    Ok(())
}

/// Formats `path` with the reference.
fn reference(path: &Path, words: &str) -> Result<()> {
    let mut mke2fs = tools::command(Which::Reference, "mke2fs")?;
    let time = CLOCK.to_string();
    mke2fs
        .env("E2FSPROGS_FAKE_TIME", time)
        .env_remove("SOURCE_DATE_EPOCH");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-U", UUID_TEXT]);
    let mut extended = format!("hash_seed={SEED_TEXT}");
    let mut size = None;
    let mut rest = words.split_whitespace();
    while let Some(word) = rest.next() {
        if !word.starts_with('-') {
            size = Some(word);
            continue;
        }
        let value = rest.next().unwrap_or_default();
        if word == "-E" {
            extended = format!("{extended},{value}");
        } else {
            mke2fs.args([word, value]);
        }
    }
    mke2fs.args(["-E", &extended]).arg(path).args(size);
    tools::run(&mut mke2fs).map(drop)
}

/// What is wrong with one row, if anything.
fn check(dir: &Path, before: Before, words: &str) -> Result<()> {
    let (expected, found) = (dir.join("expected"), dir.join("found"));
    for path in [&expected, &found] {
        if path.exists() {
            std::fs::remove_file(path)?;
        }
        prepare(path, before)?;
    }
    reference(&expected, words)?;
    let plan = making::make(words, None, &found)?;
    let pair = Pair::open(&expected, &found, plan.settings().offset_bytes())?;
    let differences = pair.differences()?;
    match differences.as_slice() {
        [] => Ok(()),
        some => {
            let lines: Vec<String> = some.iter().map(ToString::to_string).collect();
            Err(lines.join("\n  ").into())
        }
    }
}

fn check_all(rows: &[(Before, &str)]) {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    // On tmpfs a file may have 20 TiB, and nothing waits for a disk.
    let dir = making::workplace().expect("a directory");
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(before, words)| {
            let outcome = check(dir.path(), *before, words).err()?;
            Some(format!("{before:?} {words}:\n  {outcome}"))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} rows differ:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn an_empty_filesystem_has_the_bytes_of_mke2fs() {
    check_all(ROWS);
}

#[test]
fn a_huge_filesystem_has_the_bytes_of_mke2fs() {
    check_all(HUGE_ROWS);
}

#[test]
fn beside_what_mke2fs_makes_unsound_the_bytes_are_its_own() {
    check_all(NEIGHBOURS);
}

/// Whether e2fsck rejects the reference's image and passes ours, which states what the summary says.
fn check_unsound(dir: &Path, words: &str) -> Result<()> {
    let (expected, found) = (dir.join("expected"), dir.join("found"));
    for path in [&expected, &found] {
        if path.exists() {
            std::fs::remove_file(path)?;
        }
    }
    reference(&expected, words)?;
    if tools::e2fsck(&expected, Which::Reference).is_ok() {
        return Err("mke2fs's image is sound: the row belongs to the others".into());
    }
    let summary = making::make(words, None, &found)?.summary();
    tools::e2fsck(&found, Which::Reference)?;
    let bytes = std::fs::read(&found)?;
    let word = |offset: usize| {
        let field = bytes[1024 + offset..].first_chunk().expect("four bytes");
        u64::from(u32::from_le_bytes(*field))
    };
    // s_blocks_count_lo, s_r_blocks_count_lo, s_free_blocks_count_lo.
    let stated = [word(4), word(8), word(12)];
    let said = [
        summary.blocks_count,
        summary.reserved_blocks,
        summary.free_blocks,
    ];
    if stated != said {
        return Err(format!("the image states {stated:?}, the summary {said:?}").into());
    }
    Ok(())
}

#[test]
fn an_image_is_sound_where_that_of_mke2fs_is_not() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    for words in UNSOUND_ROWS {
        if let Err(fault) = check_unsound(dir.path(), words) {
            panic!("{words}: {fault}");
        }
    }
}

/// With content an image is not mke2fs's, and its counts are right where mke2fs's are not.
#[test]
fn content_has_right_counts_where_mke2fs_counts_twice() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("file"), vec![b'x'; 100_000]).expect("a file");
    for words in [
        "-E packed_meta_blocks=1 -G 1 -b 1024 700k",
        "-E packed_meta_blocks=1 -G 1 64M",
        "-E packed_meta_blocks=1 -G 1 -b 1024 -O meta_bg,^resize_inode 20M",
    ] {
        let made = making::make(words, Some(&tree), &image);
        made.unwrap_or_else(|error| panic!("{words}: {error}"));
        let sound = tools::e2fsck(&image, Which::Reference);
        sound.unwrap_or_else(|error| panic!("{words}: {error}"));
        std::fs::remove_file(&image).expect("it is there");
    }
}
