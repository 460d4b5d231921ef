//! Given runs that end badly, proves that they say why and leave nothing that mounts, and no file
//! that was not there before; what a good run makes is `content.rs`'s.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::mount::{Mount, unmount};
use common::tools::{self, Need, Result, Which, ready};
use common::{making, torture};
use mke4fs::raw::emit::Writing;
use mke4fs::sink::{Checked, IfBusy, InjectedFault, Memory, Output, Sink};
use mke4fs::source::dir::Directory;
use mke4fs::{Builder, Fit, Plan};
use tempfile::TempDir;

/// Where the primary superblock lies in an image.
const SUPERBLOCK: u64 = 1024;

/// A tree of files with these lengths in bytes.
fn tree(dir: &TempDir, sizes: &[usize]) -> PathBuf {
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("below")).expect("directories");
    for (number, size) in sizes.iter().enumerate() {
        let file = tree.join(format!("below/{number:03}"));
        fs::write(file, torture::pattern(*size)).expect("a file");
    }
    symlink("x".repeat(100), tree.join("link")).expect("a symlink");
    tree
}

fn plan(words: &str, tree: &Path) -> Result<Plan> {
    let options = making::options(words)?;
    let builder = Builder::from_options(options)
        .environment(making::memory_host())
        .source(Directory::new(tree));
    Ok(builder.fit(Fit::Auto).plan()?)
}

/// Whether the bytes at the superblock's place are one, by its magic number.
fn has_superblock(sink: &dyn Sink) -> bool {
    let mut magic = [0; 2];
    sink.read_at(SUPERBLOCK + 56, &mut magic)
        .expect("it can be read");
    magic == [0x53, 0xef]
}

/// A file of `size` bytes with a superblock that an old filesystem left.
fn old_filesystem(path: &Path, size: u64) {
    making::fill_with_junk(path, size).expect("a file");
    let file = File::options().write(true).open(path).expect("it opens");
    file.write_all_at(&[0x53, 0xef], SUPERBLOCK + 56)
        .expect("it is written");
}

fn has_magic(path: &Path) -> bool {
    let mut magic = [0; 2];
    let file = File::open(path).expect("it opens");
    file.read_exact_at(&mut magic, SUPERBLOCK + 56)
        .expect("it can be read");
    magic == [0x53, 0xef]
}

#[test]
fn content_that_does_not_fit_is_refused_before_a_byte_is_written() {
    let dir = making::workplace().expect("a directory");
    let tree = tree(&dir, &[3_000_000; 10]);
    let rows = [
        (
            "-b 4096 16M",
            "the content needs 7332 blocks of 4096 bytes; the filesystem has 2773 free for it",
        ),
        (
            "-b 4096 -N 16 64M",
            "the content needs 24 inodes; the filesystem has 16",
        ),
        (
            "-b 4096 -i 67108864 64M",
            "the content needs 24 inodes; the filesystem has 16",
        ),
        (
            "20k",
            "the filesystem has 20 blocks; its metadata alone needs at least 61",
        ),
    ];
    for (words, message) in rows {
        let options = making::options(words).expect("options");
        let builder = Builder::from_options(options).environment(making::memory_host());
        let refused = builder.source(Directory::new(&tree)).plan();
        let refused = refused.map(drop).map_err(|error| format!("{error:#}"));
        assert_eq!(refused, Err(message.to_owned()), "{words}");
    }
}

#[test]
fn a_sink_that_is_too_small_is_left_alone() {
    let dir = making::workplace().expect("a directory");
    let plan = plan("", &tree(&dir, &[1000])).expect("it fits");
    let size = plan.size_bytes();
    let sink = Checked::new(Memory::filled(size - 1, 0xD1), 0..size - 1);
    let refused = making::write_to(&plan, &sink, 2)
        .expect_err("it is too small")
        .to_string();
    let (there, needed) = (size - 1, size);
    assert_eq!(
        refused,
        format!("the output holds {there} bytes; the image needs {needed}")
    );
    assert_eq!(sink.operations(), 0);
}

type Change = fn(&Path) -> io::Result<()>;

/// What may happen to a file between the plan and its reading.
const CHANGES: [(&str, Change); 6] = [
    ("rewritten", |file| fs::write(file, vec![7; 100_000])),
    ("grown", |file| {
        File::options().append(true).open(file)?.set_len(100_001)
    }),
    ("cut", |file| {
        File::options().write(true).open(file)?.set_len(99_999)
    }),
    ("emptied", |file| fs::write(file, "")),
    ("removed", |file| fs::remove_file(file)),
    ("replaced", |file| {
        let other = file.with_extension("other");
        fs::write(&other, vec![8; 100_000])?;
        fs::rename(other, file)
    }),
];

#[test]
fn a_source_that_changes_after_the_plan_is_named() {
    for (change, act) in CHANGES {
        let dir = making::workplace().expect("a directory");
        let tree = tree(&dir, &[100_000, 100_000, 100_000]);
        let plan = plan("", &tree).expect("it fits");
        act(&tree.join("below/001")).expect("it changes");
        let (new, old) = (dir.path().join("new"), dir.path().join("old"));
        old_filesystem(&old, plan.size_bytes());
        for image in [&new, &old] {
            let error = making::write(&plan, image).expect_err(change);
            let error = format!("{error:#}");
            assert!(error.contains("below/001"), "{change}: {error}");
        }
        assert!(!new.exists(), "{change}: a new file is left");
        assert!(!has_magic(&old), "{change}: a superblock is left");
        let length = fs::metadata(&old).expect("it is there").len();
        assert_eq!(length, plan.size_bytes());
    }
}

#[test]
fn a_full_disk_is_told_and_left_as_it_was() {
    if !ready(&[Need::Root]) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let tree = tree(&dir, &[3_000_000; 10]);
    let plan = plan("", &tree).expect("it fits");
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).expect("a directory");
    let mut mount = Command::new("mount");
    tools::run(
        mount
            .args(["-t", "tmpfs", "-o", "size=8m", "none"])
            .arg(&disk),
    )
    .expect("tmpfs");
    let error = making::write(&plan, &disk.join("image")).map_err(|error| format!("{error:#}"));
    let left: Vec<_> = fs::read_dir(&disk).expect("it is listed").collect();
    unmount(&disk).expect("it unmounts");
    let error = error.expect_err("the disk is full");
    assert!(
        error.contains("No space left on device") || error.contains("no space"),
        "{error}"
    );
    assert!(left.is_empty(), "{left:?} is left");
}

#[test]
fn a_run_that_is_cancelled_leaves_nothing() {
    let dir = making::workplace().expect("a directory");
    let plan = plan("", &tree(&dir, &[3_000_000; 20])).expect("it fits");
    let written = AtomicU64::new(0);
    let all = AtomicU64::new(0);
    let count = |bytes| {
        all.fetch_add(bytes, Ordering::Relaxed);
    };
    let never = AtomicBool::new(false);
    let threads = NonZero::new(2).expect("two");
    let memory = Memory::new(plan.size_bytes());
    let writing = Writing {
        threads,
        progress: &count,
        cancel: &never,
        ..Writing::default()
    };
    plan.write(&memory, &writing).expect("it is written");
    let all = all.into_inner();
    for share in 0..10 {
        let (new, old) = (dir.path().join("new"), dir.path().join("old"));
        old_filesystem(&old, plan.size_bytes() / 2);
        for image in [&new, &old] {
            written.store(0, Ordering::Relaxed);
            let cancel = AtomicBool::new(share == 0);
            let progress = |bytes| {
                let written = written.fetch_add(bytes, Ordering::Relaxed) + bytes;
                cancel.fetch_or(written >= all * share / 10, Ordering::Relaxed);
            };
            let output = Output::open(image, IfBusy::Refuse).expect("it opens");
            let draft = output.begin(&plan.range()).expect("it begins");
            let writing = Writing {
                threads,
                progress: &progress,
                cancel: &cancel,
                ..Writing::default()
            };
            let error = plan
                .write(draft.file(), &writing)
                .expect_err("it is cancelled");
            assert!(error.is_cancelled(), "{error}");
        }
        assert!(!new.exists(), "a new file is left");
        assert!(!has_magic(&old), "a superblock is left");
        let length = fs::metadata(&old).expect("it is there").len();
        assert_eq!(
            length,
            plan.size_bytes() / 2,
            "it has another length than before"
        );
    }
}

#[test]
fn every_byte_is_written_once_and_the_superblock_last() {
    let dir = making::workplace().expect("a directory");
    let tree = tree(&dir, &[100_000, 0, 5000]);
    let shapes = [
        "",
        "-b 1024",
        "-O ^has_journal,^flex_bg",
        "-I 128",
        "-O ^64bit -g 8192",
        "-E nodiscard",
        "-E nodiscard,lazy_itable_init=0,lazy_journal_init=0 -b 1024",
        "-E nodiscard,assume_storage_prezeroed",
        "-E nodiscard -O ^metadata_csum,^flex_bg -b 1024 -g 1024",
    ];
    for words in shapes {
        let plan = plan(words, &tree).expect("it fits");
        let size = plan.size_bytes();
        for threads in [1, 2] {
            let sink = Checked::new(Memory::filled(size, 0xD1), 0..size);
            let sink = sink.with_superblock_zone(1024..4096);
            making::write_to(&plan, &sink, threads)
                .unwrap_or_else(|error| panic!("{words}: {error}"));
            // With blocks of 1 KiB the descriptors lie in the zone too.
            let is_apart = !words.contains("-b 1024");
            assert_eq!(sink.superblock_came_first_and_last(), is_apart, "{words}");
        }
    }
}

#[test]
fn a_fault_at_any_operation_leaves_no_superblock() {
    let dir = making::workplace().expect("a directory");
    let tree = tree(&dir, &[100_000, 0, 5000, 60, 3_000_000]);
    let shapes = [
        "",
        "-E nodiscard -b 1024 -O ^metadata_csum",
        "-E nodiscard,lazy_itable_init=0,lazy_journal_init=0",
        "-g 1024 -b 4096",
    ];
    for words in shapes {
        let plan = plan(words, &tree).expect("it fits");
        let size = plan.size_bytes();
        let run = |fault: Option<InjectedFault>| {
            let memory = Memory::filled(size, 0xD1);
            memory
                .write_at(SUPERBLOCK + 56, &[0x53, 0xef])
                .expect("an old superblock");
            let mut sink = Checked::new(memory, 0..size).with_superblock_zone(1024..4096);
            if let Some(fault) = fault {
                sink = sink.with_fault(fault);
            }
            let outcome = making::write_to(&plan, &sink, 1).map_err(|error| format!("{error:#}"));
            (outcome, sink)
        };
        let (outcome, sink) = run(None);
        assert_eq!(outcome, Ok(()), "{words}");
        assert!(has_superblock(&sink));
        let operations = sink.operations();
        assert!(operations > 5, "{words}: {operations} operations");
        for number in 1..=operations {
            for fault in [InjectedFault::FailAt(number), InjectedFault::TearAt(number)] {
                let (outcome, sink) = run(Some(fault));
                let error = outcome.expect_err("a fault is an error");
                assert!(
                    error.ends_with("injected storage fault"),
                    "{words} {fault:?}: {error}"
                );
                // The first operation takes the old one away.
                let is_old = fault == InjectedFault::FailAt(1);
                assert_eq!(has_superblock(&sink), is_old, "{words} {fault:?}");
                // Nothing more is tried but to take away a superblock that may be half written.
                let more = sink.operations_after_fault().expect("the fault struck");
                assert_eq!(more, u64::from(number == operations), "{words} {fault:?}");
            }
        }
    }
}

/// The environment variables that hand a tree and an output to the test below.
const CHILD: [&str; 2] = ["MKE4FS_TEST_TREE", "MKE4FS_TEST_IMAGE"];

/// The part of the tests below that runs in a process of its own; by itself it does nothing.
#[test]
fn child_builds_as_it_is_told() {
    let [Some(tree), Some(image)] = CHILD.map(std::env::var_os) else {
        return;
    };
    let error = plan("", Path::new(&tree)).and_then(|plan| making::write(&plan, Path::new(&image)));
    if let Err(error) = error {
        panic!("{error:#}");
    }
}

fn child(tree: &Path, image: &Path) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("its path"));
    child
        .args([
            &crate::test_name(module_path!(), "child_builds_as_it_is_told"),
            "--exact",
        ])
        .current_dir("/");
    let [tree_variable, image_variable] = CHILD;
    child.env(tree_variable, tree).env(image_variable, image);
    child
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    child
}

/// How many runs are killed: MKE4FS_TEST_KILLS, or 20.
fn kills() -> u32 {
    let asked = std::env::var("MKE4FS_TEST_KILLS").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(20)
}

#[test]
fn a_killed_run_leaves_nothing_that_mounts() {
    if !ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let tree = tree(&dir, &[3_000_000; 100]);
    let whole = dir.path().join("whole");
    assert!(child(&tree, &whole).status().expect("it runs").success());
    let size = fs::metadata(&whole).expect("it is there").len();
    let all = allocated_bytes(&whole);
    drop(Mount::read_only(&whole).expect("a run that was let be mounts"));
    let image = dir.path().join("image");
    let (mut finished, mut begun) = (0, 0);
    for number in 0..kills() {
        let _ = fs::remove_file(&image);
        // Every second run is over an old filesystem, which must not show through either.
        if number % 2 == 1 {
            File::create(&image)
                .and_then(|file| file.set_len(size))
                .expect("a file");
            tools::mke2fs(&image, &["-t", "ext4"]).expect("an old filesystem");
        }
        let mut running = child(&tree, &image).spawn().expect("it runs");
        // Moments spread evenly over what is written, in an order of no pattern.
        let share = u64::from(number * 61 % 97);
        while running.try_wait().expect("it is a child").is_none()
            && allocated_bytes(&image) < all * share / 97
        {
            std::thread::sleep(Duration::from_micros(200));
        }
        let _ = running.kill();
        let status = running.wait().expect("it ends");
        let is_old = number % 2 == 1 && !image_was_begun(&image);
        if status.success() {
            finished += 1;
        } else if is_old || !image.exists() {
            // Killed before it opened its output.
        } else {
            begun += 1;
            if Mount::read_only(&image).is_ok() {
                // The one thing that may mount is an image that was finished before the kill.
                let mut cmp = Command::new("cmp");
                tools::run(cmp.arg(&image).arg(&whole)).expect("a part of an image mounts");
                begun -= 1;
                finished += 1;
            }
        }
    }
    tools::report(&format!(
        "{} runs killed, {begun} of them while writing, {finished} too late",
        kills()
    ));
    assert!(
        begun >= kills() / 4,
        "only {begun} runs were killed while writing"
    );
}

/// How much of the storage `path` takes, or 0 where it is not there.
fn allocated_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}

/// Whether the label of the old filesystem is gone: a run zeroes it first.
fn image_was_begun(image: &Path) -> bool {
    !has_magic(image)
}

#[test]
fn an_unreadable_file_is_named_and_no_output_is_left() {
    if !ready(&[Need::Root]) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let tree = tree(&dir, &[1000, 2000]);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    fs::set_permissions(tree.join("below/001"), fs::Permissions::from_mode(0o600)).expect("chmod");
    // The test itself may lie where only root can reach.
    let program = dir.path().join("test");
    // By a program: what this process has open for writing, a child of another thread may hold.
    let copied = Command::new("cp")
        .arg(std::env::current_exe().expect("its path"))
        .arg(&program)
        .status();
    assert!(copied.expect("it runs").success());
    let image = dir.path().join("image");
    let mut child = Command::new(program);
    child
        .args([
            &crate::test_name(module_path!(), "child_builds_as_it_is_told"),
            "--exact",
            "--nocapture",
        ])
        .current_dir("/");
    let [tree_variable, image_variable] = CHILD;
    child
        .env(tree_variable, &tree)
        .env(image_variable, &image)
        .uid(1000)
        .gid(1000);
    let said = tools::run(&mut child)
        .expect_err("it is refused")
        .to_string();
    let file = tree.join("below/001");
    let expected = format!("cannot read {}: Permission denied", file.display());
    assert!(said.contains(&expected), "{said}");
    assert!(!image.exists(), "a file is left");
}
