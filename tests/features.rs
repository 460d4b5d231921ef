//! Given options that ask for features with blocks or fields of their own, proves that an empty
//! filesystem has the bytes that mke2fs 1.47.2 writes, and that a filled one is sound and counts
//! what it holds; never compares words.
//!
//! `s_kbytes_written` and the time in the block of multiple mount protection are left out, with the
//! checksums over them.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use common::mount::mount_ro;
use common::tools::{self, Need, Result, Which, ready};

const NEEDS: &[Need] = &[Need::Root, Need::E2fsprogs(Which::Reference)];

const UUID: &str = "5a27d61c-9e04-4f33-8b70-11c26de5af08";
const UUID_BYTES: &[u8] = b"\x5a\x27\xd6\x1c\x9e\x04\x4f\x33\x8b\x70\x11\xc2\x6d\xe5\xaf\x08";
const SEED: &str = "hash_seed=d13b027f-6690-4a1e-a45d-e388102c97b6";

/// Options of empty filesystems, and their extended options.
const EMPTY: &[(&str, &str)] = &[
    // Multiple mount protection.
    ("-t ext4 -O mmp", ""),
    ("-t ext4 -O mmp", ",mmp_update_interval=7"),
    ("-t ext2 -b 1024 -O mmp", ",mmp_update_interval=300"),
    ("-t ext4 -b 1024", ",mmp_update_interval=3"),
    ("-t ext4 -b 65536 -O mmp,^metadata_csum", ""),
    ("-t ext4 -O mmp,bigalloc", ",packed_meta_blocks=1"),
    // Quota.
    ("-t ext4 -O quota", ""),
    ("-t ext4 -b 1024 -O quota", ""),
    ("-t ext4 -b 2048 -O quota,project", ",root_owner=1000:1"),
    ("-t ext4 -b 1024 -O quota", ",root_owner=300:4294967294"),
    ("-t ext4 -b 4096 -O quota", ",root_owner=99999:70000"),
    ("-t ext2 -b 1024 -O quota,project", ""),
    ("-t ext3 -b 4096 -O quota", ",quotatype=grp"),
    ("-t ext3 -b 1024 -g 256 -N 16 -O quota,project", ""),
    ("-t ext4 -O quota", ",quotatype=prjquota"),
    ("-t ext4 -O quota", ",quotatype=^usr"),
    ("-t ext4 -O project -b 65536", ""),
    (
        "-t ext4 -b 1024 -C 2048 -O quota,bigalloc",
        ",root_owner=7:8",
    ),
    ("-t ext4 -b 1024 -C 16384 -O quota,mmp,bigalloc", ""),
    ("-t ext4 -b 4096 -O quota,inline_data", ""),
    ("-t ext4 -O quota,project,mmp,^flex_bg -g 1024 -b 1024", ""),
    // Journals.
    ("-t ext4 -O fast_commit", ""),
    ("-t ext4 -O fast_commit -J fast_commit_size=4096", ""),
    (
        "-t ext4 -b 1024 -O fast_commit -J size=8,fast_commit_size=999",
        "",
    ),
    ("-t ext4 -J fast_commit_size=100,size=4", ""),
    ("-t ext3 -b 4096 -O fast_commit -J v1_superblock", ""),
    ("-t ext4 -b 1024 -J location=40M", ""),
    ("-t ext4 -b 4096 -J location=4321,v1_superblock", ""),
    ("-t ext4 -J location=0 -O bigalloc,fast_commit", ""),
    // Features that fill fields.
    ("-t ext4 -O encrypt", ""),
    ("-t ext4 -O verity,stable_inodes,large_dir,ea_inode", ""),
    ("-t ext4 -O casefold", ""),
    ("-t ext4", ",encoding=utf8-12.1,encoding_flags=strict"),
    ("-t ext3 -O casefold", ",encoding_flags=strict-nostrict"),
    ("-t ext4", ",test_fs"),
    ("-t ext4", ",desc_size=128"),
    (
        "-t ext4 -b 1024 -O meta_bg,^resize_inode",
        ",desc_size=1024",
    ),
    ("-t ext4", ",desc-size=256,resize=40G"),
    // Creators and revisions.
    ("-o hurd", ""),
    ("-o GNU -t ext4", ""),
    ("-o 1 -I 256 -O casefold", ""),
    ("-o freebsd -t ext4", ""),
    ("-o lites", ""),
    ("-o 7 -r 1", ""),
    ("-t ext4", ",revision=0"),
    ("-t ext2 -b 1024", ",revision=0"),
    ("-t ext3 -b 4096 -I 256", ",revision=0"),
];

/// Options of filled filesystems.
const FILLED: &[&str] = &[
    "-t ext4 -O mmp,fast_commit,stable_inodes,encrypt,verity",
    "-t ext4 -O casefold,large_dir -J location=0",
    "-t ext4 -O quota,project -E root_owner=77:88",
    "-t ext4 -b 1024 -O quota,project,mmp",
    "-t ext4 -b 2048 -I 512 -O quota",
    "-t ext4 -C 16384 -O quota,bigalloc",
    "-t ext4 -b 1024 -C 4096 -O quota,bigalloc",
    "-t ext2 -b 1024 -O quota",
    "-t ext3 -O quota,project -E quotatype=usr:prj",
    "-o hurd",
    "-t ext2 -E revision=0",
];

/// Formats `image` by `command`, which is one of mke2fs's name.
fn format(mut command: Command, image: &Path, words: &[&str]) -> Result<()> {
    let parent = image.parent().expect("an image is in a directory");
    command
        .current_dir(parent)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("MKE2FS_CONFIG", "/no/such/file")
        .args(["-q", "-F", "-U", UUID])
        .args(words)
        .arg(image.file_name().expect("an image has a name"));
    tools::run(&mut command).map(drop)
}

fn ours() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command.arg0("mke2fs");
    command
}

/// A file of 64 MiB of nothing in a directory of its own.
fn image(directory: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir(directory.join(name))?;
    let path = directory.join(name).join("img");
    File::create(&path)?.set_len(64 << 20)?;
    Ok(path)
}

/// The bytes of an image without what may differ.
fn comparable(image: &Path) -> Result<Vec<u8>> {
    let mut bytes = fs::read(image)?;
    for sector in bytes.chunks_exact_mut(1024) {
        if &sector[0x68..0x78] == UUID_BYTES {
            sector[0x178..0x180].fill(0);
            sector[0x3fc..].fill(0);
        }
        if sector.starts_with(b"PMM\0") {
            sector[8..16].fill(0);
            sector[0x3fc..].fill(0);
        }
    }
    Ok(bytes)
}

fn compare(words: &str, extended: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let extended = format!("{SEED}{extended}");
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend(["-E", &extended]);
    let (theirs, made) = (
        image(directory.path(), "theirs")?,
        image(directory.path(), "ours")?,
    );
    format(tools::command(Which::Reference, "mke2fs")?, &theirs, &words)?;
    format(ours(), &made, &words)?;
    let (theirs, made) = (comparable(&theirs)?, comparable(&made)?);
    if theirs == made {
        return Ok(());
    }
    let differs = |(a, b): (&[u8], &[u8])| a != b;
    let sectors = theirs.chunks(1024).zip(made.chunks(1024));
    match sectors.into_iter().position(differs) {
        None => Err(format!("{} bytes, not {}", made.len(), theirs.len()).into()),
        Some(at) => Err(format!("bytes differ from {:#x} on", at * 1024).into()),
    }
}

#[test]
fn empty_filesystems_have_the_bytes_of_mke2fs() {
    if !ready(NEEDS) {
        return;
    }
    let faults: Vec<String> = EMPTY
        .iter()
        .filter_map(|(words, extended)| {
            let error = compare(words, extended).err()?;
            Some(format!("{words} -E {extended}: {error}"))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A tree whose files belong to many: ids side by side, ids far apart, and two of the largest.
fn fill(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("below/deeper"))?;
    for number in 0..400_u32 {
        let path = root.join(format!("below/{number}"));
        let length = usize::try_from(number * 37 % 9000)?;
        fs::write(&path, vec![b'x'; length])?;
        let uid = if number % 3 == 0 {
            number
        } else {
            number * 7919
        };
        chown(&path, Some(uid), Some(number % 31))?;
    }
    for (number, id) in [u32::MAX - 2, u32::MAX - 1].into_iter().enumerate() {
        let path = root.join(format!("link{number}"));
        symlink("x".repeat(100), &path)?;
        std::os::unix::fs::lchown(&path, Some(id), Some(id))?;
    }
    fs::hard_link(root.join("below/399"), root.join("another name"))?;
    Ok(())
}

#[test]
fn filled_filesystems_are_sound() {
    if !ready(NEEDS) {
        return;
    }
    let source = tempfile::tempdir().expect("a temporary directory");
    fill(source.path()).expect("the tree is made");
    for words in FILLED {
        check_filled(source.path(), words);
    }
}

/// Values that fill more than a block of 1 KiB, some of them alike.
#[test]
fn inodes_of_values_are_charged_to_whoever_names_them() {
    if !ready(NEEDS) {
        return;
    }
    let source = tempfile::tempdir().expect("a temporary directory");
    fill(source.path()).expect("the tree is made");
    for number in (0..400).step_by(9) {
        let path = source.path().join(format!("below/{number}"));
        let value = vec![u8::try_from(number % 4).expect("a digit"); 1500];
        xattr::set(&path, "user.long", &value).expect("an attribute is set");
    }
    for words in [
        "-t ext4 -b 1024 -O quota,project,ea_inode",
        "-t ext4 -b 1024 -C 4096 -O quota,ea_inode,inline_data,bigalloc",
    ] {
        check_sound(source.path(), words);
    }
}

/// Fills a filesystem from `source`, and gives it and the directory it is in.
fn filled(source: &Path, words: &str) -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    let image = image(directory.path(), "ours")?;
    let mut all: Vec<&str> = words.split_whitespace().collect();
    all.extend(["-d", source.to_str().expect("a plain path")]);
    format(ours(), &image, &all)?;
    Ok((directory, image))
}

/// e2fsck finds nothing in a filesystem filled from `source`, the usage by owners included.
fn check_sound(source: &Path, words: &str) -> (TempDir, PathBuf) {
    let (directory, image) =
        filled(source, words).unwrap_or_else(|error| panic!("{words}: {error}"));
    let said =
        tools::e2fsck(&image, Which::Reference).unwrap_or_else(|error| panic!("{words}: {error}"));
    assert!(!said.contains("QUOTA"), "{words}: {said}");
    (directory, image)
}

fn check_filled(source: &Path, words: &str) {
    let (_directory, image) = check_sound(source, words);
    if words.contains("quota") {
        check_quota(&image, words).unwrap_or_else(|error| panic!("{words}: {error}"));
    }
}

/// What one owner has: bytes and inodes.
type Usage = BTreeMap<u32, (u64, u64)>;

/// What the files on a mounted filesystem say that each owner has.
fn walk(directory: &Path, seen: &mut Vec<u64>, users: &mut Usage, groups: &mut Usage) {
    let entries = fs::read_dir(directory).expect("a directory can be read");
    let below = entries.map(|entry| entry.expect("an entry can be read").path());
    for path in std::iter::once(directory.to_owned()).chain(below) {
        let metadata = path.symlink_metadata().expect("a file can be looked at");
        if !seen.contains(&metadata.ino()) {
            seen.push(metadata.ino());
            for (usage, id) in [(&mut *users, metadata.uid()), (groups, metadata.gid())] {
                let one: &mut (u64, u64) = usage.entry(id).or_default();
                one.0 += metadata.blocks() * 512;
                one.1 += 1;
            }
            if metadata.is_dir() {
                walk(&path, seen, users, groups);
            }
        }
    }
}

/// What a quota file says that each owner has.
fn listed(image: &Path, quota_type: &str) -> Result<Usage> {
    let said = tools::debugfs(image, &[format!("list_quota {quota_type}")])?;
    let lines = said.lines().map(|line| {
        line.split_whitespace()
            .map(str::parse)
            .collect::<std::result::Result<Vec<u64>, _>>()
    });
    let usage = lines.filter_map(|numbers| match *numbers.ok()? {
        [id, bytes, _, _, inodes, _, _] => Some((u32::try_from(id).ok()?, (bytes, inodes))),
        _ => None,
    });
    Ok(usage.collect())
}

/// Holds the quota files of `image` against what a mount of it shows.
fn check_quota(image: &Path, words: &str) -> Result<()> {
    let (mut users, mut groups) = (Usage::new(), Usage::new());
    mount_ro(image, |root| {
        walk(root, &mut Vec::new(), &mut users, &mut groups);
    })?;
    let all = users
        .values()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let projects = Usage::from([(0, all)]);
    let has_project = words.contains("project");
    for (quota_type, expected, is_there) in [
        ("user", users, true),
        ("group", groups, !words.contains("quotatype")),
        ("project", projects, has_project),
    ] {
        if is_there && listed(image, quota_type)? != expected {
            return Err(format!("the totals by {quota_type} are wrong").into());
        }
    }
    Ok(())
}
