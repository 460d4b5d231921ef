//! Given the oracles, proves that they find what they are asked to find: e2fsprogs a fault, the
//! kernel a tree; and that the torture tree holds what it claims. Never runs the formatter.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::attrs::{Entry, Kind, Options, RootRule, Snapshot, Time};
use common::mount::{Mount, Scratch, mount_ro};
use common::tools::{self, Need, Which, ready};
use common::torture::{self, AclTag};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

/// Room for the torture tree and its journal, in bytes.
const ROOMY: u64 = 1 << 30;

#[test]
fn a_failed_command_tells_what_it_said() {
    let failed = tools::run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
    let message = failed.expect_err("status 3 is a failure").to_string();
    assert!(message.contains("exit status: 3\nout\nerr\n"), "{message}");
}

#[test]
fn a_missing_tool_is_named() {
    let missing = tools::command(Which::System, "no-such-tool-of-e2fsprogs");
    let message = missing.expect_err("there is no such tool").to_string();
    assert_eq!(
        message,
        "no-such-tool-of-e2fsprogs is needed: install e2fsprogs"
    );
}

#[test]
fn e2fsck_passes_a_sound_image_and_names_a_fault() {
    if !ready(NEEDS) {
        return;
    }
    let scratch = Scratch::new(16 << 20).expect("an image is made");
    fs::write(scratch.path().join("file"), "content").expect("a file is written");
    let image = scratch.into_image();
    for which in Which::ALL {
        let said = tools::e2fsck(image.path(), which).expect("the image is sound");
        assert!(said.contains("% non-contiguous)"), "{said}");
        let said = tools::dumpe2fs(image.path(), which).expect("the image can be dumped");
        assert!(said.contains("Block size:               4096"), "{said}");
    }
    let said = tools::debugfs(image.path(), &["cat file"]).expect("the file can be read");
    assert!(said.contains("content"), "{said}");
    tools::debugfs_write(image.path(), &["set_inode_field file links_count 2"])
        .expect("debugfs writes");
    for which in Which::ALL {
        let fault = tools::e2fsck(image.path(), which).expect_err("the image is unsound");
        assert!(
            fault.to_string().contains("ref count is 2, should be 1"),
            "{fault}"
        );
    }
}

#[test]
fn a_mount_ends_with_its_panic() {
    if !ready(NEEDS) {
        return;
    }
    let image = Scratch::new(16 << 20)
        .expect("an image is made")
        .into_image();
    let place = std::thread::spawn(move || {
        let mount = Mount::read_only(image.path()).expect("the image mounts");
        assert!(mount.path().join("lost+found").is_dir());
        std::panic::panic_any(mount.path().to_owned());
    });
    let place = place.join().expect_err("the thread panicked");
    let place = place
        .downcast::<std::path::PathBuf>()
        .expect("its payload is a path");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts are listed");
    assert!(
        !mounts.contains(place.to_str().expect("a plain path")),
        "{mounts}"
    );
}

#[test]
fn an_image_is_whole_once_a_mount_has_ended() {
    if !ready(NEEDS) {
        return;
    }
    let scratch = Scratch::new(16 << 20).expect("an image is made");
    fs::write(scratch.path().join("file"), "content").expect("the file is written");
    // As a snapshot holds the filesystem, and a process that starts meanwhile: by a mount that no list has.
    let place = tempfile::tempdir().expect("a directory");
    rustix::mount::mount_bind(scratch.path(), place.path()).expect("it is mounted again");
    let held = fs::File::open(place.path()).expect("it is open");
    let flags = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(place.path(), flags).expect("it is out of the list");
    let holder = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        drop(held);
    });
    let image = scratch.into_image();
    let bytes = fs::read(image.path()).expect("the image is read");
    holder.join().expect("it ends");
    assert!(fs::read(image.path()).expect("the image is read") == bytes);
    let said = tools::dumpe2fs(image.path(), Which::Reference).expect("it can be dumped");
    assert!(!said.contains("needs_recovery"), "{said}");
}

/// The entry of one path of the torture tree.
fn find<'a>(snapshot: &'a Snapshot, path: &str) -> &'a Entry {
    let found = snapshot.entries.get(path.as_bytes());
    found.unwrap_or_else(|| panic!("{path}: not in the torture tree"))
}

/// Checks that the kernel took what the cases asked of it, where it might have given less.
fn check_torture(tree: &Snapshot) {
    assert_eq!(find(tree, "sparse/extents-5000").data.len(), 5000);
    assert_eq!(find(tree, "sparse/tib").data.len(), 3);
    assert_eq!(find(tree, "sparse/tib").size, 1 << 40);
    let (page, whole) = (65_536..69_632, 0..65_536);
    assert_eq!(find(tree, "sparse/preallocated").data, [page]);
    assert_eq!(find(tree, "sparse/zeros-that-are-data").data, [whole]);
    assert_eq!(
        find(tree, "owners/file-4294967294-4294967294").uid,
        u32::MAX - 1
    );
    assert_eq!(
        find(tree, "nodes/block-4095-1048575").rdev,
        (4095, 1_048_575)
    );
    assert_eq!(find(tree, "modes/file-7777").mode, 0o7777);
    assert_eq!(find(tree, "modes/file-0000").mode, 0);
    assert_eq!(find(tree, "symlinks/to-4095-bytes").size, 4095);
    let first = Time {
        seconds: -(1 << 31) + 1,
        nanoseconds: 999_999_999,
    };
    assert_eq!(find(tree, "times/symlink-1901").mtime, first);
    let last = Time {
        seconds: (1 << 34) - (1 << 31) - 1,
        nanoseconds: 0,
    };
    assert_eq!(find(tree, "times/directory-1901-2446").mtime, last);
    assert_eq!(
        find(tree, "links/elsewhere/device-3").first_link,
        Some(b"links/device-1".to_vec())
    );
    assert_eq!(find(tree, "links/many-299").nlink, 300);
    assert_eq!(find(tree, "flags/immutable").flags, Some(0x10));
    assert_eq!(find(tree, "flags/several").flags, Some(0xc8));
    assert_eq!(
        find(tree, "flags/project-directory").flags,
        Some(0x2000_0000)
    );
    assert_eq!(find(tree, "xattrs/several").xattrs.len(), 12);
    assert_eq!(find(tree, "xattrs/capability").xattrs.len(), 1);
    assert_eq!(find(tree, "xattrs/on-a-socket").xattrs.len(), 2);
    assert_eq!(find(tree, "acls/default-named").xattrs.len(), 2);
    assert_eq!(
        find(tree, "acls/default-named/heir-directory").xattrs.len(),
        2
    );
    assert_eq!(find(tree, "names/...").kind, Kind::Regular);
    let longest = tree.entries.keys().map(Vec::len).max();
    assert!(
        longest > Some(8000),
        "no path is longer than PATH_MAX: {longest:?}"
    );
}

#[test]
fn the_torture_tree_holds_what_it_claims() {
    if !ready(NEEDS) {
        return;
    }
    let scratch = Scratch::new(ROOMY).expect("an image is made");
    let tree = scratch.path().join("torture");
    let options = torture::Options {
        beyond_path_max: true,
        ..torture::Options::default()
    };
    torture::build(&tree, &options).expect("the tree is built");
    let snapshot = Snapshot::take(&tree).expect("the tree can be read");
    check_torture(&snapshot);

    let image = scratch.into_image();
    for which in Which::ALL {
        tools::e2fsck(image.path(), which).expect("the scratch filesystem is sound");
    }
    let kept = Options {
        root: RootRule::Kept,
        ..Options::default()
    };
    let same = mount_ro(image.path(), |dir| {
        snapshot.compare(&dir.join("torture"), &kept)
    });
    assert_eq!(same.expect("the image mounts").expect("it can be read"), []);

    let teardown = common::mount::mount_rw(image.path(), |dir| {
        torture::teardown(&dir.join("torture"))?;
        Ok::<_, Box<dyn std::error::Error>>(dir.join("torture").exists())
    });
    assert!(
        !teardown
            .expect("the image mounts")
            .expect("the tree is removed")
    );
}

#[test]
fn the_torture_tree_is_listed() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/README.md");
    let readme = fs::read_to_string(readme).expect("fixtures/README.md is there");
    let listed = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("/` | "));
    let listed: Vec<&str> = listed.map(|(group, _)| group).collect();
    assert_eq!(listed, torture::groups().collect::<Vec<_>>());
}

#[test]
fn subdirectories_are_made_as_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    torture::subdirs(dir.path(), 12).expect("they are made");
    assert_eq!(
        fs::read_dir(dir.path()).expect("it can be read").count(),
        12
    );
}

#[test]
fn names_fill_a_block_to_its_last_byte() {
    for (block_size, shortest) in [(1024, 188), (2048, 156), (4096, 92)] {
        let lengths = torture::names_filling(block_size);
        assert_eq!(lengths.last(), Some(&shortest));
        let entries = lengths
            .iter()
            .map(|length| (8 + length).next_multiple_of(4));
        assert_eq!(entries.sum::<usize>() + 3 * 12, block_size);
    }
}

#[test]
fn an_acl_is_a_version_and_eight_bytes_per_entry() {
    let bytes = torture::acl(&[(AclTag::Owner, 6), (AclTag::User(258), 7)]);
    let expected = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 7, 0, 2, 1, 0, 0,
    ];
    assert_eq!(bytes, expected);
}
