//! Given an image and what its sources became, proves that an update in place makes what a new image would be,
//! writes only what differs, and leaves nothing that mounts where it does not end; never how it finds out.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::place::Place;
use common::tools::{self, Need, Which, ready};

/// UUID and hash seed are pinned.
const MAKE: &str = "make() { mke4fs -q -U 01234567-89ab-4def-8123-456789abcdef \
    -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210 \"$@\"; }
    update() { mke4fs --json --update \"$@\"; }
    is() { test \"$(jq -c \"$1\" told)\" = \"$2\" || { cat told; exit 1; }; }\n";

fn is_ready() -> bool {
    ready(&[Need::Root, Need::E2fsprogs(Which::Reference)])
}

/// What the lines say on both streams; all of them succeed.
fn said(place: &Place, lines: &str) -> String {
    let output = place.shell(&format!("exec 2>&1; {MAKE}{lines}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{lines}: {said}");
    said
}

/// What a line that fails says.
fn refused(place: &Place, line: &str) -> String {
    let output = place.shell(&format!("exec 2>&1; {MAKE}{line}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{line}: {said}");
    said
}

fn place() -> Place {
    let place = Place::new();
    said(
        &place,
        "mkdir -p root/etc root/many root/big; echo hello > root/etc/motd; ln -s motd root/etc/link
         for n in $(seq 300); do echo $n > root/many/name-$n; done; ln root/many/name-3 root/etc/hard
         for n in $(seq 20); do head -c $((n * 9000)) /dev/urandom > root/big/$n; done
         truncate -s 3M root/big/hole; echo x >> root/big/hole; mkfifo root/etc/fifo",
    );
    place
}

/// The image is sound, and holds what the sources say.
fn check(place: &Place, image: &str, sources: &str) {
    tools::e2fsck(&place.path(image), Which::Reference).expect("a sound image");
    said(
        place,
        &format!("mke4fs check -q {image}; mke4fs diff --ignore atime {sources} {image}"),
    );
}

#[test]
fn where_nothing_differs_nothing_is_written() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "tar c --sort=name -C root . > t.tar; make -d root dir.img; make -d t.tar tar.img; make -d dir.img ext.img",
    );
    for (source, image) in [
        ("root", "dir.img"),
        ("t.tar", "tar.img"),
        ("dir.img", "ext.img"),
    ] {
        let before = fs::metadata(place.path(image)).expect("it is there");
        said(
            &place,
            &format!(
                "update -d {source} {image} > told; is .blocks_written 0; is .files_changed 0; is .files_removed 0"
            ),
        );
        let after = fs::metadata(place.path(image)).expect("it is there");
        let times = |it: &fs::Metadata| (it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
        assert_eq!(times(&before), times(&after), "{source}");
        let told = said(&place, &format!("mke4fs --update -d {source} {image}"));
        assert!(told.starts_with("updated "), "{told}");
        assert!(
            told.contains("0 added, 0 changed, 0 removed; 0 blocks written"),
            "{told}"
        );
    }
}

#[test]
fn what_differs_is_written_and_counted() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "make -d root a.img; cp a.img old.img; echo Hello > root/etc/motd; rm root/big/9 root/etc/link
         head -c 200000 /dev/urandom > root/big/new; chmod 700 root/many/name-7
         update -d root a.img > told; mke4fs -q -d root --base old.img b.img; cmp a.img b.img
         is .files_added 1; is .files_removed 2; is '(.files_kept + .files_changed)' \
            \"$(jq '.inodes_kept' told)\"
         is '.files_changed' 4; is '.blocks_written < 85' true",
    );
    check(&place, "a.img", "root");
    said(
        &place,
        "tar c --sort=name -C root . > t.tar; make -d t.tar a.img; cp a.img old.img; mkdir root/etc/more
         tar c --sort=name -C root . > t.tar; update -d t.tar a.img > told; is '.blocks_written < 12' true
         mke4fs -q -d t.tar --base old.img b.img; cmp a.img b.img
         cat t.tar | mke4fs -q -d - --update a.img; cmp a.img b.img",
    );
    check(&place, "a.img", "t.tar");
}

#[test]
fn what_cannot_be_updated_is_made_anew_and_that_is_said() {
    if !is_ready() {
        return;
    }
    let place = place();
    for (line, reason) in [
        ("rm -f a.img", "there is no such file"),
        (
            "truncate -s 0 a.img; truncate -s 9M a.img",
            "no ext2, ext3 or ext4 filesystem",
        ),
        (
            "dd if=/dev/zero of=a.img bs=1024 seek=1 count=1 conv=notrunc status=none
             printf 'mke4fs: unfinished\\n' | dd of=a.img bs=1024 seek=1 conv=notrunc status=none",
            "no ext2, ext3 or ext4 filesystem",
        ),
        (
            "rm -f a.img; make -d root a.img; debugfs -w -R 'feature needs_recovery' a.img",
            "journal",
        ),
        (
            "rm -f a.img; make -d root a.img; debugfs -w -R 'set_super_value state 0' a.img",
            "unmounted",
        ),
    ] {
        let told = said(
            &place,
            &format!("{line}; update -d root a.img > told; jq -r .made_anew told"),
        );
        assert!(
            told.contains("mke4fs: making a.img anew: "),
            "{line}: {told}"
        );
        assert!(told.to_lowercase().contains(reason), "{line}: {told}");
        check(&place, "a.img", "root");
    }
    let told = refused(
        &place,
        "head -c 9000000 /dev/urandom > a.img; update -d root a.img",
    );
    assert!(told.contains("use -F to overwrite it"), "{told}");
}

#[test]
fn what_makes_no_sense_or_is_in_use_is_refused() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "make -d root a.img; cp a.img b.img; cp a.img old.img; mkdir mnt",
    );
    for (line, expected) in [
        (
            "update --base b.img -d root a.img",
            "--update cannot be combined with --base",
        ),
        (
            "update --format qcow2 -d root a.img",
            "--update cannot be combined with --format",
        ),
        (
            "update --verity -d root a.img",
            "--update cannot be combined with --verity",
        ),
        (
            "update --reflink always -d root a.img",
            "--update cannot be combined with --reflink always",
        ),
        (
            "update -z undo -d root a.img",
            "--update cannot be combined with -z",
        ),
        (
            "update -d root -",
            "--update cannot be combined with standard output",
        ),
        (
            "mke4fs --checksum -d root a.img",
            "--checksum needs --update",
        ),
        (
            "mount -o loop a.img mnt; trap 'umount mnt' EXIT; update -d root a.img",
            "is mounted",
        ),
        (
            "mount -o loop a.img mnt; trap 'umount mnt' EXIT; update -F -F -d root a.img",
            "is mounted",
        ),
        ("update -d a.img a.img", "a source"),
        (
            "head -c 90000000 /dev/urandom > root/big/huge; update -d root b.img",
            "use --size ",
        ),
    ] {
        let told = refused(&place, line);
        assert!(told.contains(expected), "{line}: {told}");
    }
    // What was refused is as it was.
    said(&place, "cmp b.img old.img");
}

#[test]
fn no_old_data_shows_and_the_file_stays_sparse() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "yes SECRET | head -c 300000 > root/big/secret; make -d root a.img; cp a.img old.img
         grep -q SECRET a.img; rm root/big/secret; update -d root a.img > told; ! grep -q SECRET a.img
         mke4fs -q -d root --base old.img b.img; cmp a.img b.img
         test $(du -k a.img | cut -f1) -le $(($(du -k b.img | cut -f1) + 64))
         : somebody mounts it, and what it held shows in free blocks, the journal and inodes
         mkdir mnt; mount -o loop a.img mnt; yes SECRET | head -c 3000000 > mnt/etc/secret; sync; rm mnt/etc/secret
         umount mnt; grep -q SECRET a.img; cp a.img old.img; update -d root a.img > told; ! grep -q SECRET a.img
         mke4fs -q -d root --base old.img b.img; cmp a.img b.img
         : dense, of another program, with something in the boot block
         rm -f c.img; head -c 64M /dev/zero | tr '\\0' J > c.img; mke2fs -q -F -E nodiscard -d root c.img
         cp c.img old.img; rm root/big/3; update -d root c.img > told; mke4fs -q -d root --base old.img b.img; cmp c.img b.img
         update -d root a.img > told",
    );
    check(&place, "a.img", "root");
    check(&place, "c.img", "root");
}

/// A loop device over a file full of junk, until dropped.
struct Loop(String);

impl Loop {
    fn over(place: &Place, name: &str) -> Self {
        Self(
            said(place, &format!("losetup --find --show {name}"))
                .trim()
                .to_owned(),
        )
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_device_is_updated_and_cleared_by_zeros() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "head -c 32M /dev/zero | tr '\\0' J > disk; yes SECRET | head -c 300000 > root/big/secret",
    );
    let device = Loop::over(&place, "disk");
    let device = &device.0;
    said(
        &place,
        &format!(
            "make -F -d root {device}; update -d root {device} > told; is .blocks_written 0; is .made_anew null
             grep -q SECRET {device}; rm root/big/secret; echo new > root/etc/new
             update -d root {device} > told; is .files_added 1; is .files_removed 1; is '.blocks_written < 100' true
             mke4fs check -q {device}; mke4fs diff --ignore atime root {device}; ! grep -q SECRET {device}
             mkdir mnt; mount {device} mnt; yes SECRET | head -c 3000000 > mnt/secret; sync; rm mnt/secret; umount mnt
             grep -q SECRET {device}; update -d root {device} > told; ! grep -q SECRET {device}
             mke4fs check -q {device}; mke4fs diff --ignore atime root {device}
             dd if=/dev/zero of={device} bs=1024 seek=1 count=1 conv=notrunc status=none
             printf 'mke4fs: unfinished\\n' | dd of={device} bs=1024 seek=1 conv=notrunc status=none
             update -d root {device} > told; is '.made_anew == null' false; mke4fs diff --ignore atime root {device}"
        ),
    );
}

#[test]
fn an_image_in_a_disk_is_updated_and_what_lies_around_it_stays() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "head -c 48M /dev/zero | tr '\\0' J > disk; make -F -E offset=1048576 -d root disk 32M; cp disk old
         echo new > root/etc/new; update -E offset=1048576 -d root disk > told; is .made_anew null
         is '.blocks_written < 12' true; cmp -n 1048576 disk old; cmp -i $((33 << 20)) disk old
         test $(stat -c %s disk) = $((48 << 20)); mke4fs diff --ignore atime root ext4:disk@1M
         : a larger size moves nothing, a smaller one cuts
         make -d root a.img 32M; cp a.img old.img; update -d root --size 64M a.img > told
         test $(stat -c %s a.img) = $((64 << 20)); mke4fs -q -d root --base old.img --size 64M b.img; cmp a.img b.img
         update -d root --size 24M a.img > told; test $(stat -c %s a.img) = $((24 << 20))",
    );
    check(&place, "a.img", "root");
}

#[test]
fn a_full_disk_leaves_what_does_not_mount_and_is_mended() {
    if !is_ready() {
        return;
    }
    let place = place();
    // Files without extents keep no room for what is to come.
    said(
        &place,
        "mkdir small mnt; truncate -s 12M disk; mke2fs -q -F -t ext4 -O ^extent,^64bit,^has_journal disk
         mount -o loop disk small; make -d root small/a.img 64M; head -c 16000000 /dev/urandom > root/big/new",
    );
    let told = refused(&place, "update -d root small/a.img");
    assert!(told.contains("No space left"), "{told}");
    let told = said(
        &place,
        "! mount -o loop,ro small/a.img mnt; cp --sparse=always small/a.img a.img; umount small
         update -d root a.img > told; mke4fs check -q a.img; mke4fs diff --ignore atime root a.img",
    );
    assert!(told.contains("making a.img anew"), "{told}");
}

/// Where a file can keep room, a full disk is found before the first write.
#[test]
fn a_full_disk_that_is_found_in_time_leaves_the_image_as_it_was() {
    if !is_ready() {
        return;
    }
    for mount in [
        "mount -t tmpfs -o size=12M none small",
        "truncate -s 16M disk; mke2fs -q -F -t ext4 -O ^has_journal disk; mount -o loop disk small",
    ] {
        let place = place();
        said(
            &place,
            &format!(
                "mkdir small; {mount}; make -d root small/a.img 64M; cp small/a.img old.img; du -k small/a.img > before
                 cp -a root more; head -c 16000000 /dev/urandom > more/big/new; rm more/etc/link"
            ),
        );
        let told = refused(&place, "update -d more --size 80M small/a.img");
        let ends = "new bytes before anything is written: No space left on device\n";
        assert!(told.contains("cannot make room for 160"), "{told}");
        assert!(told.ends_with(ends), "{told}");
        // What is kept and not written is given back, and the file stays sparse.
        let told = said(
            &place,
            "cmp small/a.img old.img; du -k small/a.img | cmp - before; truncate -s 2M more/big/new
             tr '\\0' x < more/big/hole | head -c 1000000 > more/big/x; head -c 1000000 /dev/zero > more/big/zeros
             tar c --sort=name -C more . > t.tar; update -d t.tar small/a.img > told; is .made_anew null
             mke4fs -q -d t.tar --base old.img b.img; cmp small/a.img b.img
             test $(du -k small/a.img | cut -f1) -le $(($(du -k b.img | cut -f1) + 64)); mke4fs check -q small/a.img
             umount small",
        );
        assert!(!told.contains("anew"), "{told}");
    }
}

#[test]
fn a_source_that_cannot_be_read_leaves_the_image_as_it_was() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "make -d root a.img; echo new > root/etc/new; chmod 0 root/etc/new; cp a.img old.img",
    );
    place.for_user();
    let told = place.as_user("mke4fs -q --update -d root a.img 2>&1 || echo failed");
    assert!(
        told.contains("root/etc/new") && told.ends_with("failed\n"),
        "{told}"
    );
    said(&place, "cmp a.img old.img");
}

/// Whatever moment an update is killed at, what it leaves holds what it did, what it shall, or does not mount.
#[test]
fn a_killed_update_is_mended_by_the_next() {
    if !is_ready() {
        return;
    }
    let rounds = if common::is_wide() { 500 } else { 12 };
    let place = place();
    said(&place, "make -d root a.img 96M; cp -a root old");
    let mut state = 5_u64;
    let (mut unfinished, mut done, mut before) = (0, 0, 0);
    // How long a run takes that is not killed, about.
    let mut whole = Duration::from_millis(50);
    for round in 0..rounds {
        said(
            &place,
            &format!(
                "head -c 3000000 /dev/urandom > root/big/{}; echo {round} > root/etc/motd",
                round % 20
            ),
        );
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut child = Command::new(env!("CARGO_BIN_EXE_mke4fs"))
            .args(["-q", "--update", "--size", "96M", "-d", "root", "a.img"])
            .current_dir(place.path(""))
            .spawn()
            .expect("it starts");
        thread::sleep(whole * u32::try_from(state >> 33 & 127).expect("it fits") / 100);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let is_there = fs::read(place.path("a.img")).expect("it is there")[1024 + 56..1024 + 58]
            == *b"\x53\xef";
        if !is_there {
            unfinished += 1;
        } else if place
            .shell("mke4fs diff --ignore atime root a.img")
            .status
            .success()
        {
            done += 1;
        } else {
            said(&place, "mke4fs diff --ignore atime old a.img");
            before += 1;
        }
        if is_there {
            tools::e2fsck(&place.path("a.img"), Which::Reference).expect("a sound image");
        }
        let begun = Instant::now();
        said(&place, "mke4fs -q --update --size 96M -d root a.img");
        whole = (whole * 3 + begun.elapsed()) / 4;
        check(&place, "a.img", "root");
        said(
            &place,
            "rm -rf old; cp -a root old; mke4fs -q --update --size 96M -d old a.img",
        );
    }
    tools::report(&format!(
        "{rounds} killed: {unfinished} did not mount, {done} were done, {before} had not begun"
    ));
}

#[test]
fn what_the_host_says_is_unchanged_is_not_read() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "setfattr -n user.one -v 1 root/many/name-5; chattr +d root/many/name-6; make -d root a.img
         : what was changed shortly before is read until the image is older
         update -d root a.img > told; is '.bytes_read > 1000000' true; is .blocks_written 0; sleep 2.1; touch a.img
         update -d root a.img > told; is .bytes_read 0; is .blocks_written 0
         : whatever clamps no time, and rules that change none
         SOURCE_DATE_EPOCH=4000000000 update -d root a.img > told; is .bytes_read 0; is .blocks_written 0
         update -d root --all-root --threads 1 a.img > told; is .bytes_read 0
         : one that is longer, one that is as long, one with other attributes
         cp a.img old.img; echo longer > root/etc/motd; echo 8 > root/many/name-7; setfattr -n user.two -v 2 root/many/name-5
         update -d root a.img > told; is .bytes_read 11; is .files_changed 3
         mke4fs -q -d root --base old.img b.img; cmp a.img b.img
         : with all that is told to look
         for flags in --checksum '--times mtime' '--clamp-times 1' '--sparse always'; do
           update -d root $flags a.img > told; update -d root $flags a.img > told; is '.bytes_read > 1000000' true
         done
         update -d root a.img > told; sleep 2.1; touch a.img; update -d root a.img > told; is .bytes_read 0
         : a directory that changed is read, and what lies below it
         rm root/many/name-9; update -d root a.img > told; is .bytes_read 1088; is .files_removed 1",
    );
    check(&place, "a.img", "root");
    // What nobody told of shows only to whoever reads.
    said(
        &place,
        "at=$(($(debugfs -R 'blocks /many/name-300' a.img 2> /dev/null) * 4096)); printf 301 | dd of=a.img bs=1 seek=$at conv=notrunc status=none
         test $(mke4fs cat a.img many/name-300) = 301; update -d root a.img > told; is .blocks_written 0
         update --checksum -d root a.img > told; is .blocks_written 2; is .files_changed 1
         : and after somebody mounted it, all is read
         mkdir mnt; mount -o loop a.img mnt; echo 302 > mnt/many/name-300; touch -r root/many/name-300 mnt/many/name-300
         umount mnt; update -d root a.img > told; is '.bytes_read > 1000000' true; is .files_changed 1",
    );
    check(&place, "a.img", "root");
}

/// Of a file that is as it was, the host is asked for attributes and times, and nothing else.
#[test]
fn an_unchanged_file_costs_two_calls() {
    if !is_ready() || !ready(&[Need::Program("strace")]) {
        return;
    }
    let place = place();
    said(
        &place,
        "make -d root a.img; sleep 2.1; touch a.img; strace -f -qq -o log mke4fs -q -d root --update a.img",
    );
    let log = fs::read_to_string(place.path("log")).expect("strace wrote it");
    // The image holds names as well.
    let log: Vec<&str> = log
        .lines()
        .filter(|line| !line.contains("pread64("))
        .collect();
    for number in 1..=300 {
        let name = format!("name-{number}\"");
        let calls: Vec<&str> = log
            .iter()
            .copied()
            .filter(|line| line.contains(&name))
            .collect();
        let stats = calls.iter().filter(|call| call.contains("stat"));
        assert_eq!(stats.count(), 1, "{calls:?}");
        // A strace that knows the call of Linux 6.13 shows the name there too.
        let others = calls.iter().filter(|call| !call.contains("stat"));
        assert!(
            others.clone().all(|call| call.contains("listxattr")),
            "{calls:?}"
        );
        assert!(others.count() <= 1, "{calls:?}");
    }
    let is_list = |line: &&str| {
        let is_by_name = line.contains(" llistxattr(") || line.contains(" listxattrat(");
        is_by_name || line.contains(" syscall_0x1d1(")
    };
    let entries: usize = said(&place, "find root | wc -l")
        .trim()
        .parse()
        .expect("a number");
    let lists = log.iter().copied().filter(is_list).count();
    assert!((300..=entries + 1).contains(&lists), "{lists} of {entries}");
    let opened = log
        .iter()
        .copied()
        .filter(|line| line.contains("openat(") && line.contains("O_NONBLOCK"));
    let opened: Vec<&str> = opened
        .filter(|line| !line.contains("O_DIRECTORY"))
        .collect();
    assert!(opened.is_empty(), "{opened:?}");
}

/// What changes neither size nor mtime, and what rules had set that are none any more.
#[test]
fn attributes_and_flags_alone_are_seen() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "chattr +d root/many/name-6; setfattr -n user.old -v 1 root/many/name-8
         echo './many/name-9 type=file flags=nodump' > manifest
         make -d root --manifest manifest a.img; sleep 2.1; touch a.img; cp -p a.img old.img
         mke4fs -q -d root --base old.img b.img; update -d root a.img > told; cmp a.img b.img; is .files_changed 1
         test -z \"$(debugfs -R 'stat many/name-9' a.img 2> /dev/null | grep 'Flags: 0x80040')\"
         sleep 2.1; touch a.img; update -d root a.img > told; is .bytes_read 0; is .blocks_written 0
         cp -p a.img old.img; chattr -d root/many/name-6; chattr +d root/many/name-7; setfattr -x user.old root/many/name-8
         setfattr -h -n trusted.new -v 2 root/etc/link; sleep 0.1; readlink root/etc/link > told; setfattr -n user.new -v 3 root/many; chattr +A root/big
         update -d root --threads 1 a.img > told; is .files_changed 6
         for threads in 1 2 5; do
           cp -p old.img c.img; update -d root --threads $threads c.img > told; cmp a.img c.img
         done
         mke4fs -q -d root --base old.img b.img; cmp a.img b.img
         chattr -A root/big; chattr -d root/many/name-7",
    );
    said(
        &place,
        "sleep 2.1; touch a.img; update -d root a.img > told; mke4fs -q -d root --base a.img b.img; cmp a.img b.img
         : what fakeroot keeps changes no time
         cp -p a.img old.img; fakeroot sh -euc 'setfattr -n security.x -v secret root/many/name-8
           setfattr -h -n trusted.x -v secret root/etc/link
           mke4fs -q -d root --update a.img; mke4fs -q -d root --base old.img b.img'
         cmp a.img b.img; ! cmp -s a.img old.img; grep -q secret a.img",
    );
}

/// A file that is changed right after it was read has another ctime, however coarse the clock.
#[test]
fn a_file_changed_in_the_same_moment_is_seen() {
    if !is_ready() {
        return;
    }
    let rounds = if common::is_wide() { 2000 } else { 60 };
    let place = Place::new();
    let file = place.path("root/file");
    let update = || {
        let status = Command::new(env!("CARGO_BIN_EXE_mke4fs"))
            .args(["-q", "--update", "-d", "root", "a.img"])
            .current_dir(place.path(""))
            .status();
        assert!(status.expect("it runs").success());
    };
    let mut mtime = None;
    for round in 0..rounds {
        let text = format!("{round:09}");
        fs::write(&file, &text).expect("it can be written");
        let opened = fs::File::options()
            .write(true)
            .open(&file)
            .expect("it can be opened");
        let written = opened
            .metadata()
            .and_then(|it| it.modified())
            .expect("it has a time");
        opened
            .set_modified(*mtime.get_or_insert(written))
            .expect("it can be set");
        update();
        let held = said(&place, "mke4fs cat a.img file");
        assert_eq!(held, text);
    }
}

/// Of a directory that took another's place, nothing is taken for what was there.
#[test]
fn what_was_moved_is_read() {
    if !is_ready() {
        return;
    }
    let place = place();
    said(
        &place,
        "for d in one two; do mkdir root/$d; for n in 1 2 3; do echo $d > root/$d/$n; done; done
         make -d root a.img; sleep 2.1; touch a.img; cp -p a.img old.img; mv root/one root/old; mv root/two root/one; mv root/old root/two
         mv root/one/1 root/one/4; ln root/two/2 root/two/5; rm root/two/1; mv root/two/3 root/two/1
         update -d root a.img > told; mke4fs -q -d root --base old.img b.img; cmp a.img b.img",
    );
    check(&place, "a.img", "root");
}
