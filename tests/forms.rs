//! Given a directory, proves that its image is the same by any number of threads, in any sink and in the
//! words of either command, and that what goes wrong on the way is told; what a stream becomes is
//! `stream.rs`'s.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use common::making;
use common::tools::{self, Need, Result, Which, ready};
use mke4fs::raw::emit::Writing;
use mke4fs::sink::{Checked, InjectedFault, Memory};
use mke4fs::source::dir::Directory;
use mke4fs::{Builder, Error};
use rustix::fs::{FallocateFlags, fallocate};

fn writing(threads: usize, cancel: &AtomicBool) -> Writing<'_> {
    Writing {
        threads: NonZero::new(threads).expect("not 0"),
        cancel,
        ..Writing::default()
    }
}

/// A builder of what `words` make of the directory `tree`, inspected by `threads` threads.
fn builder(words: &str, tree: &Path, threads: usize) -> Builder {
    let options = making::options(words).expect("words that tests use");
    let threads = NonZero::new(threads).expect("not 0");
    Builder::from_options(options)
        .environment(making::memory_host())
        .source(Directory::new(tree).threads(threads))
}

/// The image that `words` make of the directory `tree`.
fn image(words: &str, tree: &Path, threads: usize) -> std::result::Result<Vec<u8>, Error> {
    let ready = builder(words, tree, threads).prepare()?;
    let memory = Memory::new(ready.size_bytes());
    ready.write(&memory, &writing(threads, &AtomicBool::new(false)))?;
    Ok(memory.into_bytes().expect("it fits"))
}

/// A tree of files short and long, with holes, of several names, and in directories that hold both.
fn build(at: &Path) -> Result<()> {
    for number in 0..600_u32 {
        let directory = at.join(format!("d{}/e{}", number % 7, number % 3));
        fs::create_dir_all(&directory)?;
        let length = usize::try_from(number * number % 9000)?;
        let content = vec![u8::try_from(number % 255)? + 1; length];
        fs::write(directory.join(number.to_string()), content)?;
    }
    // Between and behind the directories, and longer than what is read at once.
    for (name, length) in [
        ("a", 70_000),
        ("d3x", 65_536),
        ("d4/z", 65_537),
        ("z", 900_000),
    ] {
        fs::write(at.join(name), vec![b'.'; length])?;
    }
    let hole = File::create(at.join("d5/hole"))?;
    hole.write_all_at(b"behind a hole", 40_000)?;
    let within = File::create(at.join("d5/hole within"))?;
    within.write_all_at(&[1; 4096], 0)?;
    within.write_all_at(&[1; 5000], 8192)?;
    File::create(at.join("d4/hole at the end"))?.set_len(20_000)?;
    // What is set aside reads as zeros and is a hole until it was read.
    for number in 0..3 {
        let aside = File::create(at.join(format!("d4/hole set aside {number}")))?;
        fallocate(&aside, FallocateFlags::empty(), 0, 20_000)?;
        aside.sync_all()?;
    }
    fs::write(at.join("d4/zeros"), [0; 20_000])?;
    fs::hard_link(at.join("z"), at.join("d2/again"))?;
    fs::hard_link(at.join("d6/e0/6"), at.join("d0/again"))?;
    let link = at.join("d1/link");
    std::os::unix::fs::symlink("x".repeat(100), &link)?;
    // The first time that it is read later than it was made stays.
    std::thread::sleep(std::time::Duration::from_millis(50));
    fs::read_link(link)?;
    Ok(())
}

#[test]
fn any_number_of_threads_makes_the_image_of_a_directory() {
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    build(&tree).expect("it is built");
    // To list a directory may leave a time behind: it is done before the first image.
    image("-b 4096 64M", &tree, 1).expect("it is made");
    for words in [
        "-b 4096 64M",
        "-b 1024 64M",
        "-b 16384 -O ^metadata_csum 64M",
        "-b 65536 128M",
        "-b 4096 -O ^has_journal,^resize_inode,meta_bg 64M",
        "-b 1024 -O bigalloc 64M",
        "-b 4096 -E packed_meta_blocks=1 64M",
        "-b 1024 -O ^extent,^64bit 64M",
        "-b 4096 -O inline_data 64M",
        "-b 4096 -O quota 64M",
    ] {
        let [one, two, five] = [1, 2, 5].map(|threads| image(words, &tree, threads));
        let one = one.expect("it is made");
        for (other, threads) in [(two, 2), (five, 5)] {
            let other = other.expect("it is made");
            assert!(one == other, "{words}, {threads} threads: other bytes");
        }
    }
}

#[test]
fn what_goes_wrong_on_the_way_is_told() {
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    build(&tree).expect("it is built");
    for (words, expected) in [("-b 1024 1200k", "needs"), ("-b 1024 -N 40 64M", "inodes")] {
        let error = image(words, &tree, 2).expect_err("it does not fit");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let ready = || builder("-b 4096 64M", &tree, 2).prepare().expect("a plan");
    // Each write fails in its turn.
    let mut number = 1;
    loop {
        let ready = ready();
        let bytes = ready.size_bytes();
        let sink = Checked::new(Memory::new(bytes), 0..bytes).with_superblock_zone(1024..4096);
        let sink = sink.with_fault(InjectedFault::FailAt(number));
        match ready.write(&sink, &writing(2, &AtomicBool::new(false))) {
            Ok(_) => break,
            Err(error) => assert!(format!("{error:#}").contains("injected"), "{error:#}"),
        }
        number += 1;
    }
    assert!(number > 8, "only {number} writes");
    let ready = ready();
    let sink = Memory::new(ready.size_bytes());
    let cancelled = ready.write(&sink, &writing(2, &AtomicBool::new(true)));
    assert!(cancelled.expect_err("it is to end").is_cancelled());
}

/// What the command makes of a tree, called as `program`.
fn made(program: &Path, tree: &Path, image: &Path, more: &[&str]) -> Vec<u8> {
    let _ = fs::remove_file(image);
    let mut command = Command::new(program);
    command
        .env("E2FSPROGS_FAKE_TIME", making::CLOCK.to_string())
        .args(["-q", "-U", making::UUID_TEXT, "-E"])
        .arg(format!("hash_seed={}", making::SEED_TEXT))
        .arg("-d")
        .args([tree, image])
        .args(more);
    tools::run(&mut command).expect("it is made");
    fs::read(image).expect("it can be read")
}

/// The command as mke4fs and as mkfs.ext4.
fn programs(directory: &Path) -> (&'static Path, std::path::PathBuf) {
    let ours = Path::new(env!("CARGO_BIN_EXE_mke4fs"));
    let plain = directory.join("mkfs.ext4");
    std::os::unix::fs::symlink(ours, &plain).expect("a link");
    (ours, plain)
}

#[test]
fn a_new_file_is_the_image_that_mke2fs_s_words_make() {
    let needs = [
        Need::E2fsprogs(Which::System),
        Need::E2fsprogs(Which::Reference),
    ];
    if !ready(&needs) {
        return;
    }
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    build(&tree).expect("it is built");
    let (ours, plain) = programs(directory.path());
    let image = directory.path().join("image");
    // mke2fs makes smaller blocks of itself.
    let expected = made(&plain, &tree, &image, &["-b", "4096", "64M"]);
    for threads in ["1", "2", "8"] {
        let new = made(ours, &tree, &image, &["64M", "--threads", threads]);
        assert!(new == expected, "other bytes with {threads} threads");
    }
    tools::e2fsck(&image, Which::System).expect("e2fsck finds nothing");
    let said = tools::e2fsck(&image, Which::Reference).expect("e2fsck finds nothing");
    assert!(said.contains("(0.0% non-contiguous)"), "{said}");
}

#[test]
fn what_a_manifest_puts_in_the_place_of_a_file_is_in_the_image() {
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    let other = directory.path().join("other");
    for (name, content) in [("b", "old of b"), ("c", "of c"), ("../other", "the other")] {
        fs::write(tree.join(name), content).expect("a file");
    }
    let (ours, plain) = programs(directory.path());
    let (manifest, image) = (directory.path().join("m"), directory.path().join("image"));
    // In the place of the first file, and before it.
    for name in ["b", "a"] {
        let line = format!(
            "./{name} type=file mode=0644 contents={}\n",
            other.display()
        );
        fs::write(&manifest, format!("#mtree\n{line}")).expect("a file");
        let manifest = manifest.to_str().expect("it is UTF-8");
        let more = ["-b", "1024", "16M", "--manifest", manifest];
        let expected = made(&plain, &tree, &image, &more);
        let new = made(ours, &tree, &image, &more);
        assert!(new == expected, "{name}: other bytes");
        let held = new.windows(9).any(|bytes| bytes == b"the other");
        let old = new.windows(8).any(|bytes| bytes == b"old of b");
        assert!(held && old == (name == "a"), "{name}: other contents");
    }
}

#[test]
fn more_inodes_may_make_the_file_longer_or_shorter() {
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    let (ours, plain) = programs(directory.path());
    let image = directory.path().join("image");
    let mut lengths = Vec::new();
    for number in 0..9000_u32 {
        fs::write(tree.join(number.to_string()), b"").expect("a file");
        if number % 1500 < 1499 {
            continue;
        }
        for kibibytes in [8300, 8260, 8500, 8600, 16_700] {
            let more = ["-b", "1024", &format!("{kibibytes}k")];
            let expected = made(&plain, &tree, &image, &more);
            let new = made(ours, &tree, &image, &more);
            assert!(new == expected, "{number} files, {kibibytes}k: other bytes");
            lengths.push((kibibytes, expected.len()));
        }
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 5, "some have two lengths: {lengths:?}");
}
