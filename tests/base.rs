//! Given an image as the base of another, proves that what both have stays where it is, and that the new one
//! holds what its sources say; never that it is laid out in a certain way.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::num::NonZero;
use std::path::Path;

use common::place::Place;
use common::tools::{self, Need, Which, ready};
use mke4fs::options::{Environment, Options, Size};
use mke4fs::raw::units::Timestamp;
use mke4fs::read::Filesystem;
use mke4fs::tree::{Metadata, Tree};
use mke4fs::{Base, Builder};

/// Everything that differs between two runs is pinned but for the clock.
const PINNED: &str = "make() { mke4fs -q -U 01234567-89ab-4def-8123-456789abcdef \
    -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210 \"$@\"; }
    again() { mke4fs -q \"$@\"; }\n";

fn is_ready() -> bool {
    ready(&[Need::Root, Need::E2fsprogs(Which::Reference)])
}

/// What the lines say on both streams; all of them succeed.
fn said(place: &Place, lines: &str) -> String {
    let output = place.shell(&format!("exec 2>&1; set -e; {PINNED}{lines}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{lines}: {said}");
    said
}

/// A tree with directories of one block and of many, hard links, holes, long links and shared attributes.
fn place() -> Place {
    let place = Place::new();
    said(
        &place,
        "mkdir -p root/etc root/many root/big root/deep/er
         for n in $(seq 2000); do echo $n > root/many/name-that-is-longer-$n; done
         for n in $(seq 40); do head -c $((n * 3000)) /dev/urandom > root/big/$n; done
         ln root/big/3 root/etc/hard; ln -s $(printf 'x%.0s' $(seq 100)) root/etc/long; ln -s short root/etc/s
         truncate -s 9M root/deep/hole; echo x >> root/deep/hole; mkfifo root/deep/er/fifo
         head -c 1048576 /dev/urandom > root/big/mebibyte",
    );
    place
}

/// How many blocks of `size` bytes differ between two images of equal length.
fn differing(place: &Place, one: &str, other: &str, size: usize) -> usize {
    let read = |name: &str| fs::read(place.path(name)).expect("it is there");
    let (one, other) = (read(one), read(other));
    assert_eq!(one.len(), other.len());
    let blocks = one.chunks(size).zip(other.chunks(size));
    blocks.filter(|(one, other)| one != other).count()
}

/// The new image is sound, and holds what the sources say, but for atimes, and for nanoseconds where its inodes
/// are small.
fn check(place: &Place, image: &str, sources: &str) {
    let bytes = fs::read(place.path(image)).expect("it is there");
    let ignored = if bytes[1024 + 88..1024 + 90] == [128, 0] {
        "times"
    } else {
        "atime"
    };
    tools::e2fsck(&place.path(image), Which::Reference).expect("a sound image");
    said(
        place,
        &format!("mke4fs check -q {image}; mke4fs diff --ignore {ignored} {sources} {image}"),
    );
}

/// Features, and the flags that an image is made with beside.
const KINDS: &[&str] = &[
    "",
    "-b 1024",
    "-t ext2",
    "-t ext3 -I 128",
    "-O inline_data,ea_inode",
    "-O bigalloc 96M",
    "-O quota,project,mmp,fast_commit",
    "-O ^dir_index,^metadata_csum,uninit_bg",
    "-O meta_bg,^resize_inode -J size=16",
    "-O sparse_super2,^flex_bg -m 1 -e remount-ro -L label -g 8192 -b 4096",
    "-N 20000 -E stride=4,stripe_width=16,resize=4G -O ^64bit",
    "-O casefold -E encoding_flags=strict",
];

#[test]
fn what_changed_in_nothing_is_the_same_byte_for_byte() {
    if !is_ready() {
        return;
    }
    let place = place();
    for flags in KINDS {
        // The clock of the second run is another.
        said(
            &place,
            &format!(
                "rm -f old.img new.img
                E2FSPROGS_FAKE_TIME=1600000000 make -d root old.img {flags}
                again -d root --base old.img new.img {flags}; cmp old.img new.img
                again -d root --base old.img new.img; cmp old.img new.img
                cat root/etc/hard root/big/* root/many/* > /dev/null
                again -d root --base old.img new.img --threads 1; cmp old.img new.img"
            ),
        );
        check(&place, "new.img", "root");
    }
}

#[test]
fn little_changes_little() {
    if !is_ready() {
        return;
    }
    let place = place();
    for (number, flags) in KINDS.iter().enumerate() {
        said(
            &place,
            &format!(
                "rm -rf next *.img; cp -a root next; make -d next old.img {flags}
                echo new > next/etc/new-{number}; head -c 1048577 /dev/urandom > next/big/mebibyte
                rm next/many/name-that-is-longer-700; echo longer >> next/many/name-that-is-longer-900
                find next -type l -exec readlink {{}} + > /dev/null # which may change their atime, once
                again -d next --base old.img new.img; again -d next --base old.img one.img --threads 1
                cmp new.img one.img; cp old.img up.img; again -d next --update up.img; cmp new.img up.img"
            ),
        );
        let bytes = fs::read(place.path("new.img")).expect("it is there");
        let log = u32::from_le_bytes(*bytes[1024 + 24..].first_chunk().expect("a superblock"));
        let size = 1024_usize << log;
        let found = differing(&place, "old.img", "new.img", size);
        // The file that was replaced, and some metadata.
        let most = (1 << 20) / size + 1 + 60;
        assert!(found <= most, "{flags}: {found} of at most {most} blocks");
        check(&place, "new.img", "next");
    }
}

#[test]
fn a_base_of_mke2fs_or_the_kernel_does_as_well() {
    if !is_ready() {
        return;
    }
    let place = place();
    let theirs = place.path("theirs.img");
    let file = fs::File::create(&theirs).expect("it can be created");
    file.set_len(64 << 20).expect("it can be long");
    let root = place.path("root");
    tools::mke2fs(&theirs, &["-d", &root.to_string_lossy()]).expect("mke2fs makes it");
    said(
        &place,
        "mkdir mnt; cp theirs.img kernel.img; mount -o loop kernel.img mnt
         rm mnt/many/name-that-is-longer-1*; for n in $(seq 300); do echo $n > mnt/etc/added-$n; done
         cp -a mnt/. now; rm -r now/lost+found; umount mnt
         find root now -type l -exec readlink {} + > /dev/null # which may change their atime, once
         again -d root --base theirs.img one.img; again -d now --base kernel.img two.img
         cp theirs.img up.img; again -d root --update up.img; cmp one.img up.img
         cp kernel.img up.img; again -d now --update up.img; cmp two.img up.img
         again -d now --base two.img three.img; cmp two.img three.img",
    );
    check(&place, "one.img", "root");
    check(&place, "two.img", "now");
    for (old, new) in [("theirs.img", "one.img"), ("kernel.img", "two.img")] {
        let numbers =
            "mke4fs ls -R --json $IMAGE | jq -r '.path + \" \" + (.inode|tostring)' | sort";
        let show = |image: &str| said(&place, &numbers.replace("$IMAGE", image));
        assert_eq!(show(old), show(new), "{old}");
        // Names are packed anew, inodes are without generations; the data stays.
        let found = differing(&place, old, new, 1024);
        assert!(found < 2500, "{old}: {found} KiB differ");
    }
}

/// Merkle trees lie behind the ends of files, and stay with them; where protection comes or goes, they come and go.
#[test]
fn a_base_with_files_that_fs_verity_protects_does_as_well() {
    if !is_ready() {
        return;
    }
    let place = place();
    for flags in [
        "-b 4096",
        "-b 1024",
        "-O bigalloc 96M",
        "-O inline_data,quota",
    ] {
        said(
            &place,
            &format!(
                "rm -rf next *.img; cp -a root next
                printf x | dd of=next/big/mebibyte bs=1 seek=700000 conv=notrunc status=none
                echo longer >> next/big/20; head -c 100000 /dev/urandom > next/big/new; rm next/big/30
                find root next -type l -exec readlink {{}} + > /dev/null # which may change their atime, once
                make -d root old.img {flags} --fs-verity '/big/*'
                again -d root --base old.img --fs-verity '/big/*' same.img; cmp old.img same.img
                again -d old.img --base old.img same.img; cmp old.img same.img
                told() {{ again --json -d next --fs-verity '/big/*' \"$@\" | jq -c .fs_verity; }}
                told --base old.img new.img > one; told other.img {flags} > two; cmp one two
                told --base old.img one.img --threads 1 > two; cmp one two; cmp new.img one.img
                mke4fs diff --ignore times new.img other.img
                again -d next --base new.img plain.img
                told --base plain.img sealed.img > two; cmp one two
                mke4fs diff --ignore atime new.img sealed.img
                for image in old new plain sealed; do mke4fs check -q $image.img; done"
            ),
        );
        for image in ["old.img", "new.img", "plain.img", "sealed.img"] {
            tools::e2fsck(&place.path(image), Which::Reference).expect("a sound image");
        }
        let found = differing(&place, "old.img", "new.img", 4096);
        // 130 of them hold the inodes, whose ctimes are those of the copy.
        assert!(found <= 250, "{flags}: {found} blocks");
    }
}

#[test]
fn what_cannot_be_kept_is_said() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "make -b 4096 -d root old.img 64M; head -c 80000000 /dev/urandom > large",
    );
    for (line, expected) in [
        (
            "-d root --base old.img -b 1024 new.img",
            "warning: nothing can stay where the base has it: the block size is 1024, the base's is 4096\n",
        ),
        (
            "-d root --base old.img -I 512 new.img",
            "warning: nothing can stay where the base has it: the inode size is 512, the base's is 256\n",
        ),
    ] {
        let heard = said(&place, &format!("again {line}"));
        assert!(heard.ends_with(expected), "{line}: {heard}");
        check(&place, "new.img", "root");
    }
    said(&place, "again -d root --base old.img --size 256M new.img");
    check(&place, "new.img", "root");
    let length = fs::metadata(place.path("new.img"))
        .expect("it is there")
        .len();
    assert_eq!(length, 256 << 20);
    for (line, expected) in [
        (
            "-d root --copy large:/large --base old.img big.img",
            "use --size ",
        ),
        ("-d root --base old.img old.img", "old.img is both the base"),
        ("-d root --base gone.img big.img", "gone.img: "),
        (
            "-d root --base large big.img",
            "cannot use large as the base: ",
        ),
        ("-d root --base '' big.img", "missing file name for --base"),
    ] {
        let output = place.shell(&format!("{PINNED} again {line}"));
        let heard = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && heard.contains(expected),
            "{line}: {heard}"
        );
        assert!(!place.path("big.img").exists(), "{line}");
    }
}

#[test]
fn a_base_that_is_not_clean_is_refused() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(&place, "make -d root old.img 64M");
    for (request, expected) in [
        ("set_super_value state 0", "it was not cleanly unmounted"),
        (
            "set_super_value state 3",
            "the kernel recorded errors in it",
        ),
        ("set_super_value last_orphan 20", "it has orphaned inodes"),
        ("feature orphan_present", "it has orphaned inodes"),
        ("feature needs_recovery", "its journal waits to be replayed"),
    ] {
        fs::copy(place.path("old.img"), place.path("odd.img")).expect("it can be copied");
        tools::debugfs_write(&place.path("odd.img"), &[request]).expect("debugfs writes");
        let output = place.shell("mke4fs -q -d root --base odd.img new.img");
        let heard = String::from_utf8_lossy(&output.stderr).into_owned();
        let whole = format!(
            "mke4fs: cannot use odd.img as the base: is not clean: {expected}; run e2fsck on it first\n"
        );
        assert_eq!(heard, whole, "{request}");
    }
}

fn metadata() -> Metadata {
    Metadata::default().with_time(Timestamp::from_seconds(1))
}

fn small_tree(more: &str) -> Tree {
    let mut tree = Tree::default();
    for number in 0..300 {
        let path = format!("/d/{number}-{}", "n".repeat(30));
        let made = tree.file(path, vec![7; number * 13]).expect("a file");
        let made = made.metadata(metadata());
        made.xattr("user.k", format!("{}", number % 3).repeat(200))
            .expect("an attribute");
    }
    tree.file("/more", more)
        .expect("a file")
        .metadata(metadata());
    tree
}

fn image(
    base: Option<&[u8]>,
    more: &str,
    threads: usize,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut options = Options::new();
    options.size(Size::Bytes(4 << 20)).block_size(1024);
    let builder = Builder::from_options(options)
        .environment(Environment::fixed(1_700_000_000))
        .threads(NonZero::new(threads).expect("some"))
        .source(small_tree(more));
    let builder = match base {
        Some(base) => builder.base(Base::read(base)?),
        None => builder,
    };
    Ok(builder.to_vec()?)
}

/// Whatever a base says, it is refused or the image is sound and holds what it is to hold.
#[test]
fn a_hostile_base_is_no_harm() {
    let sound = image(None, "1", 1).expect("an image");
    let rounds = if common::is_wide() { 20_000 } else { 300 };
    let mut state = 11_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    // Without checksums all of it is looked at.
    let plain = {
        let mut options = Options::new();
        options
            .size(Size::Bytes(4 << 20))
            .block_size(1024)
            .features("^metadata_csum,^uninit_bg");
        let builder = Builder::from_options(options).environment(Environment::fixed(1));
        builder.source(small_tree("1")).to_vec().expect("an image")
    };
    let (mut refused, mut made) = (0, 0);
    for round in 0..rounds {
        let mut base = if round % 4 == 0 {
            sound.clone()
        } else {
            plain.clone()
        };
        for _ in 0..1 + next() % 20 {
            let at = usize::try_from(next() % (400 << 10)).expect("it fits");
            let spread = [0, 0xff, 1, 0x80];
            base[at] = match next() % 5 {
                0 => u8::try_from(next() & 0xff).expect("a byte"),
                which => spread[usize::try_from(which - 1).expect("it fits")],
            };
        }
        let Ok(base) = Base::read(&base[..]) else {
            refused += 1;
            continue;
        };
        let mut options = Options::new();
        options
            .size(Size::Bytes(4 << 20))
            .block_size(1024)
            .inode_size(256);
        let builder = Builder::from_options(options)
            .environment(Environment::fixed(1_700_000_000))
            .source(small_tree("2"))
            .base(base);
        let Ok(new) = builder.to_vec() else {
            continue;
        };
        made += 1;
        let report = mke4fs::check(&new[..]);
        assert!(
            report.findings.is_empty(),
            "round {round}: {:?}",
            report.findings
        );
        let filesystem = Filesystem::open(&new[..]).expect("it is sound");
        assert_eq!(filesystem.read("more").expect("it is there"), b"2");
    }
    assert!(
        refused > rounds / 20 && made > rounds / 20,
        "{refused} refused, {made} made"
    );
}

#[test]
fn the_library_tells_what_stayed() {
    let old = image(None, "1", 1).expect("an image");
    let one = image(Some(&old), "a longer one", 1).expect("an image");
    assert!(one == image(Some(&old), "a longer one", 7).expect("an image"));
    assert!(one != old);
    // To read a file changes nothing.
    let mut read = small_tree("1");
    let mut metadata = metadata();
    metadata.atime = Timestamp::from_seconds(9);
    let id = read.find("/more").expect("a path").expect("it is there");
    read.set_metadata(id, metadata).expect("it is its own");
    let builder = Builder::new().source(read);
    let builder = builder.base(Base::read(&old[..]).expect("it is sound"));
    assert!(builder.to_vec().expect("it fits") == old);
    let mut tree = small_tree("1");
    tree.file("/added", "x").expect("a file");
    let summary = Builder::new()
        .environment(Environment::fixed(1_700_000_000))
        .source(tree)
        .base(Base::read(&old[..]).expect("it is sound"))
        .plan()
        .expect("it fits")
        .summary();
    let base = summary.base.expect("there is one");
    assert_eq!(
        (base.inodes_kept, base.inodes_added, base.inodes_removed),
        (303, 1, 0)
    );
    assert!(base.blocks_kept > 300, "{base:?}");
    assert_eq!(summary.size_bytes, 4 << 20);
}

#[test]
fn a_base_in_a_partition_or_another_format_is_found() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "make -d root old.img 64M; truncate -s 1M disk; cat old.img >> disk
         again -d root --base disk@1M new.img; cmp old.img new.img
         again -d root --base old.img --format qcow2 new.qcow2; test -s new.qcow2
         tar c --sort=name -C root . > t.tar; make -d t.tar told.img; again -d t.tar --base told.img tnew.img
         cmp told.img tnew.img; cat t.tar | again -d - --base told.img tnew.img; cmp told.img tnew.img
         make -d old.img iold.img; again -d old.img --base iold.img inew.img; cmp iold.img inew.img",
    );
    assert!(Path::new(&place.path("new.qcow2")).exists());
}

/// mke2fs leaves out a last group that would hold little but its metadata: the size that was asked for is then not
/// the filesystem's, and nothing moves when it is asked for again.
#[test]
fn a_size_of_which_the_last_group_is_left_out_moves_nothing() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "mkdir few; echo one > few/one; echo two > few/two
         for options in '-b 2048' '-b 1024 -J size=2' '-b 1024 -O bigalloc -C 4096' '-b 1024 -O sparse_super2' \
           '-t ext2 -b 1024' '-b 1024 -O ^resize_inode,^flex_bg'; do
           for size in 8200K 8300K 9000K 16385K 32770K 24800K 35000K; do
             rm -f old.img new.img; make $options -d few old.img $size
             again $options -d few --base old.img new.img $size; cmp old.img new.img
             again -d few --update old.img $size; cmp old.img new.img
           done
         done
         : a group that holds something
         rm -f old.img new.img; make -b 1024 -d few old.img 16M
         mke4fs -d few --base old.img new.img 20M | tee told; grep -q '20 MiB' told",
    );
}

/// Data between holes begins in one cluster and ends in the next, where more data lies.
#[test]
fn data_in_parts_of_clusters_stays() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "mkdir few; truncate -s 900000 few/holes
         for n in $(seq 0 98); do printf %0700d $n | dd of=few/holes bs=1 seek=$((n * 9000)) conv=notrunc status=none; done
         for options in '-b 1024 -C 4096' '-b 2048 -C 32768' '-b 4096 -C 16384'; do
           rm -f old.img new.img; make $options -O bigalloc -d few --sparse always old.img 44M
           again -d few --sparse always --base old.img new.img; cmp old.img new.img
         done",
    );
}
