//! Given an output that is there, proves that under our own name a tree makes the image that it makes of
//! a new one, and when the file keeps its length; what mke2fs's names do is golden.rs's.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;

use common::place::Place;
use common::tools::{self, Need, Which, ready};

/// Everything that differs between two runs is pinned.
const PINNED: &str = "export SOURCE_DATE_EPOCH=1700000000
    make() { mke4fs -U 01234567-89ab-4def-8123-456789abcdef \
        -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210 \"$@\"; }\n";

fn place() -> Place {
    let place = Place::new();
    place.file("root/file", "text");
    fs::write(place.path("root/data"), vec![7; 100_000]).expect("a file");
    place.shell("touch -d @1 root/file root/data root");
    place
}

/// What the lines say on both streams; all of them succeed.
fn said(place: &Place, lines: &str) -> String {
    let output = place.shell(&format!("exec 2>&1; {PINNED}{lines}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{lines}: {said}");
    said
}

#[test]
fn the_same_command_twice_makes_the_same_image() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = place();
    said(&place, "make -q -d root image; cp image first");
    let twice = said(&place, "make -d root image; cmp image first");
    assert!(!twice.contains("replac"), "{twice}");
    let grown = said(
        &place,
        "head -c 40000000 /dev/zero | tr '\\0' x > root/more; make -d root image
         rm root/more; touch -d @1 root; ls -s image first",
    );
    let replacing = "mke4fs: replacing image of 24 MiB by an image of ";
    assert!(grown.contains(replacing), "{grown}");
    assert!(grown.contains("; --size keep fills it\n"), "{grown}");
    tools::e2fsck(&place.path("image"), Which::Reference).expect("a sound image");
    // A longer one is cut.
    said(&place, "make -q -d root image; cmp image first");
    // So is what a stream replaces, which is then not written as it comes.
    said(
        &place,
        "tar c --sort=name -C root . > t; cat t | make -q -d - piped
         cat t | make -q -d - image; cmp image piped",
    );
}

/// Flags and a size, the block size in bytes that comes of them, and the line that says so.
const BLOCKS: &[(&str, &str, &str, &str)] = &[
    ("tiny", "64K", "1024", CONTENT),
    ("tiny", "100K", "1024", CONTENT),
    ("root", "1M", "4096", ""),
    ("root", "6M", "1024", JOURNAL),
    ("root", "-O ^has_journal 6M", "4096", ""),
    ("root", "8M", "4096", ""),
    ("root", "511M", "4096", ""),
    ("root", "-I 128 32M", "4096", ""),
    ("root", "-t ext2 32M", "4096", ""),
    ("root", "-O bigalloc 32M", "4096", ""),
    ("root", "-b 1024 32M", "1024", ""),
    ("root", "-b -2048 32M", "2048", ""),
    ("root", "-T small 32M", "1024", ""),
    ("many", "10M", "1024", CONTENT),
    ("many", "64M", "4096", ""),
];
const CONTENT: &str =
    "mke4fs: block size is 1 KiB: with blocks of 4 KiB the content does not fit\n";
const JOURNAL: &str =
    "mke4fs: block size is 1 KiB: with blocks of 4 KiB there is no room for a journal\n";

/// The block size of `image`, as a line that compares it.
fn has_blocks_of(bytes: &str) -> String {
    format!("mke4fs check -q image; test $(od -An -tu4 -j1048 -N4 image) = $(({bytes} / 1024 / 2))")
}

/// Also below 512 MiB, and however the content comes: into a new file or one that is there, of a tar archive
/// that is read in place, or of a stream that is kept.
#[test]
fn blocks_have_4_kib_where_the_content_fits_so() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = place();
    said(
        &place,
        "mkdir many tiny; echo text > tiny/file; seq 3000 | while read n; do echo $n > many/$n; done
         for tree in root tiny many; do find $tree -exec touch -d @1 {} +
         tar c --sort=name -C $tree . > $tree.tar
         find $tree -exec touch -d @1 {} +; done",
    );
    for (tree, flags, block, line) in BLOCKS {
        // An archive has one time of each file.
        let flags = format!("--times mtime {flags}");
        let heard = said(
            &place,
            &format!(
                "rm -f image; make -q -d {tree} image {flags} > quiet 2>&1; cp image first
                make -d {tree} image {flags}; cmp image first
                rm -f image; make -q -d {tree}.tar image {flags}; cmp image first
                cat {tree}.tar | make -q -d - image {flags}; cmp image first
                {}; ! grep 'block size' quiet",
                has_blocks_of(block)
            ),
        );
        let found = heard.lines().find(|line| line.contains("block size"));
        assert_eq!(found.unwrap_or_default(), line.trim_end(), "{tree} {flags}");
    }
    // What says a block size goes before, and nothing changes where there is no content.
    said(
        &place,
        &format!(
            "printf '[defaults]\nblocksize = 1024\n[fs_types]\next4 = {{\nfeatures = extent\n}}\n' > conf
            rm -f image; MKE2FS_CONFIG=conf make -q -d root image 32M; {0}
            rm -f image; make -q image 32M; {0}
            ln -s \"$(command -v mke4fs)\" mkfs.ext4; rm -f image; ./mkfs.ext4 -q -d root image 32M; {0}
            truncate -s 32M disk; cp disk image; make -q --size keep -d root image; {1}
            truncate -s 0 image; truncate -s 33M image; make -q -E offset=1048576 -d root image
            tail -c +1048577 image > part; mv part image; {1}",
            has_blocks_of("1024"),
            has_blocks_of("4096"),
        ),
    );
}

#[test]
fn a_file_that_was_there_gets_the_bytes_of_a_new_one() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = place();
    let junk = "tr '\\0' '\\321' < /dev/zero | head -c";
    for size in ["8M", "32M", "600M"] {
        said(
            &place,
            &format!(
                "rm -f new old; make -q -d root new {size}; {junk} 50M > old
                make -q -F -d root old {size}; cmp new old"
            ),
        );
    }
    // Filled, it keeps its length; what the image leaves of it reads as zeros.
    said(
        &place,
        &format!(
            "rm -f new old; make -q -d root new 32M; {junk} 33555432 > old
            make -q -F --size keep -d root old; truncate -s 33555432 new; cmp new old"
        ),
    );
    let output = place.shell("mke4fs --size keep -d root missing");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        text,
        "mke4fs: --size keep needs an existing OUTPUT; give a size, or no --size\n"
    );
    assert!(!place.path("missing").exists());
}

#[test]
fn a_disk_keeps_its_length_and_what_is_around_the_image() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = place();
    said(
        &place,
        "tr '\\0' '\\321' < /dev/zero | head -c 64M > disk; cp disk before
         make -q -F -d root -E offset=1048576 disk 16M; test $(stat -c %s disk) = 67108864
         cmp -n 1048576 disk before; cmp -i 17825792 disk before",
    );
    // The same again, of a tree that has grown, and of one that has shrunk back.
    said(
        &place,
        "around() { test $(stat -c %s disk) = 67108864; cmp -n 1048576 disk before; cmp -i 17825792 disk before; }
         again() { make -q -d root -E offset=1048576 disk 16M; mke4fs check -q -E offset=1048576 disk; around; }
         cp disk first; again; cmp disk first
         head -c 5M /dev/zero | tr '\\0' x > root/more; touch -d @1 root/more root; again; ! cmp -s disk first
         rm root/more; touch -d @1 root; again; cmp disk first",
    );
    // By mke2fs's names a file is filled as mke2fs fills it.
    said(
        &place,
        "ln -s \"$(command -v mke4fs)\" mkfs.ext4; truncate -s 40M image
         ./mkfs.ext4 -q -F -d root image; test $(stat -c %s image) = 41943040",
    );
}

#[test]
fn what_does_not_fit_leaves_the_old_file_as_it_was() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = place();
    let refused = place.shell(
        "head -c 3M /dev/urandom > old; cp old before; head -c 9M /dev/urandom > root/large
         ! mke4fs -F -q -d root old 4M && cmp old before && ! mke4fs -F -q -d missing old && cmp old before",
    );
    assert!(refused.status.success(), "{refused:?}");
}

/// What a killed or failed run leaves is ours: the next one replaces it and is not asked about it.
#[test]
fn what_an_ended_run_left_is_replaced() {
    if !ready(&[Need::E2fsprogs(Which::Reference), Need::Program("strace")]) {
        return;
    }
    let place = place();
    for flags in [
        "",
        "--verity",
        "--format vhd",
        "--format vhd,dynamic",
        "--format vhdx",
        "--format qcow2",
        "--format simg",
    ] {
        said(
            &place,
            &format!(
                "make() {{ mke4fs -q -O ^has_journal -U 01234567-89ab-4def-8123-456789abcdef \
                    -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210 \"$@\"; }}
                rm -f whole; make {flags} -d root whole 32M > /dev/null
                ended() {{ strace -f -qq -o /dev/null -e inject=pwrite64:$1 mke4fs -q -d root {flags} image 32M \
                    2> /dev/null > /dev/null; }}
                left=0
                for number in 1 2 3 4 6 8; do
                    rm -f image
                    ended signal=KILL:when=$number || left=$((left + 1))
                    make {flags} -d root image 32M > /dev/null; cmp image whole
                    case '{flags}' in *qcow2|*dynamic|*vhdx|*simg) continue; esac
                    ended error=ENOSPC:when=$number || left=$((left + 1))
                    make {flags} -d root image 32M > /dev/null; cmp image whole
                done; test $left -ge 6"
            ),
        );
    }
    // Data to be rescued, and what an undo file restores, stay what they are.
    said(
        &place,
        "rm -f image; make -q image 8M; cp image old
         strace -f -qq -o /dev/null -e inject=pwrite64:error=ENOSPC:when=3 mke4fs -q -S image 2> said || true
         ! grep -a unfinished image; grep -q space said",
    );
}

/// A device has its size, so that a new file of that size gets the same bytes, whatever the device held.
#[test]
fn a_device_gets_the_bytes_of_a_new_file() {
    if !ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = place();
    for size in [8, 32] {
        said(
            &place,
            &format!(
                "rm -f new back; make -q -d root new {size}M
                tr '\\0' '\\321' < /dev/zero | head -c {size}M > back
                device=$(losetup --find --show back); trap 'losetup --detach $device' EXIT
                make -q -F -d root $device; cmp new $device"
            ),
        );
    }
}
