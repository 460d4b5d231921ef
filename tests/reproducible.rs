//! Given the same files on machines that differ, proves that `--reproducible` makes the same image of them,
//! and that what cannot be so is refused.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::place::Place;
use common::tools::{self, Need, Which, ready, run};

/// Files of every kind; what only one machine has is made elsewhere.
fn fill(place: &Place) {
    place.file("root/usr/bin/tool", "#!/bin/sh\n");
    place.file("root/etc/passwd", "root:x:0:0::/:\n");
    fs::write(place.path("root/random"), common::torture::pattern(300_000)).expect("a file");
    let mut mixed = vec![0; 400_000];
    mixed[5] = 1;
    mixed[200_000] = 1;
    fs::write(place.path("root/mixed"), mixed).expect("a file");
    place.shell(
        "cd root; for i in $(seq 300); do echo $i > usr/bin/$i; done
         ln etc/passwd usr/passwd; ln -s /etc/passwd link; mkfifo pipe
         setfattr -n user.note -v text etc/passwd; chmod 4755 usr/bin/tool
         find . -exec touch -h -d '2021-03-04 05:06:07.089 UTC' {} +
         touch -d '2022-03-04 05:06:07.5 UTC' etc/passwd; touch -d '1999-01-01 UTC' .",
    );
}

/// A filesystem of another size of blocks, on which holes are others.
fn other_filesystem(place: &Place) {
    place.shell(
        "mke4fs -q -b 1024 other.img 512M; mkdir other; mount -o loop other.img other
         cp -a --sparse=always root other/root; mkdir -m 777 other/place",
    );
}

struct Mounted<'a>(&'a Place);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.0.shell("umount other");
    }
}

const NEEDS: &[Need] = &[Need::Root, Need::E2fsprogs(Which::Reference)];

/// Makes an image as another user on another machine does it: `unshare` gives that a name of its own.
fn elsewhere(place: &Place, flags: &str) {
    let line = format!(
        "hostname elsewhere; cd other/place; head -c 3000000 /dev/zero | tr '\\0' x > second
         cp ../../root/../other/root/etc/passwd kept
         export TMPDIR=$PWD LC_ALL=C.UTF-8 TZ=Asia/Tokyo
         setpriv --reuid 1234 --regid 1234 --clear-groups \
             mke4fs -q -F --threads 7 --reproducible {flags} -d ../root second"
    );
    place.shell("cp \"$(command -v mke4fs)\" other/mke4fs; chmod -R a+rX root other/root; chmod 666 other/place/* || :");
    let path = format!(
        "{}:/usr/sbin:/usr/bin:/sbin:/bin",
        place.path("other").display()
    );
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--uts", "sh", "-euc", &format!("umask 0; {line}")])
        .current_dir(place.path(""))
        .env("PATH", path)
        .env_remove("SOURCE_DATE_EPOCH");
    run(&mut unshare).expect("it succeeds elsewhere");
}

#[test]
fn two_machines_make_the_same_image() {
    if !ready(NEEDS) {
        return;
    }
    for flags in [
        "",
        "-O mmp,^metadata_csum --size 64M",
        "-O quota,inline_data,casefold -E encoding=utf8 --all-root",
        "-U 01234567-89ab-4def-8123-456789abcdef",
        "--format qcow2",
        "--format vhdx",
        "--verity -O ^has_journal",
        "-L data -b 4096 --size min",
    ] {
        let place = Place::new();
        fill(&place);
        other_filesystem(&place);
        let _mounted = Mounted(&place);
        place.shell("chmod -R a+rX root; chmod 4755 root/usr/bin/tool other/root/usr/bin/tool");
        let line = format!(
            "mke4fs -q --threads 1 --reproducible {flags} -d root first; cp root/random kept"
        );
        assert!(place.shell(&line).status.success(), "{flags}");
        elsewhere(&place, flags);
        let (first, second) = (place.path("first"), place.path("other/place/second"));
        let same = fs::read(&first).expect("an image") == fs::read(second).expect("an image");
        assert!(same, "{flags}");
        if !flags.contains("format") {
            tools::e2fsck(&first, Which::Reference).expect("a sound image");
        }
        let bytes = fs::read(&first).expect("an image");
        for name in ["elsewhere", "second", "first"] {
            let found = bytes.windows(name.len()).any(|at| at == name.as_bytes());
            assert!(!found, "{flags}: {name} shows");
        }
    }
}

fn superblock(image: &Path) -> Vec<u8> {
    fs::read(image).expect("an image")[1024..2048].to_vec()
}

fn clock(image: &Path) -> u32 {
    let superblock = superblock(image);
    u32::from_le_bytes(superblock[0x108..0x10c].try_into().expect("4 bytes"))
}

#[test]
fn streams_and_archives_make_the_image_of_their_files() {
    if !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    fill(&place);
    // A directory that the archive only implies is of the newest file's time as well.
    let made = place.shell(
        "rm root/pipe; tar c --sort=name --xattrs -C root . > t; zstd -q t
         for size in '' 600M; do
             mke4fs -q --reproducible -d root by_directory $size
             mke4fs -q --reproducible -d t by_archive $size
             mke4fs -q --reproducible -d - by_stream $size < t.zst
             cat t.zst | mke4fs -q --reproducible -d - - $size > piped
             for other in by_archive by_stream piped; do cmp by_directory $other; done
         done
         tar c -C root usr/bin/tool > implied.tar; mke4fs -q --reproducible -d implied.tar implied
         mke4fs ls -l --json implied | grep '\"usr\"' > listed
         export SOURCE_DATE_EPOCH=1500000000; mke4fs -q --reproducible -d root epoch",
    );
    assert!(made.status.success(), "{made:?}");
    assert_eq!(clock(&place.path("by_stream")), 1_646_370_367);
    assert_eq!(clock(&place.path("epoch")), 1_500_000_000);
    let listed = fs::read_to_string(place.path("listed")).expect("a list");
    let time = "\"mtime\":\"2021-03-04T05:06:07.000000000Z\"";
    assert!(listed.contains(time), "{listed}");
}

#[test]
fn uuids_follow_the_content_and_seeds_the_uuid() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = Place::new();
    place.file("root/file", "text");
    let uuid = |line: &str| {
        let line = format!(
            "touch -d @1 root root/*; rm -f image; mke4fs -q -d root {line} image >&2
             blkid -o value -s UUID -p image"
        );
        let output = place.shell(&line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let first = uuid("--reproducible");
    assert_eq!(first, uuid("--reproducible --size 64M"));
    assert_eq!(first.as_bytes()[14], b'8', "{first} is of version 8");
    assert_ne!(first, uuid("--reproducible -L label"));
    assert_ne!(first, uuid("--reproducible --owner 7:7"));
    place.file("root/file", "test");
    assert_ne!(first, uuid("--reproducible"));
    // By our own name a given UUID is enough for the seed, and an explicit seed goes before it.
    let seed = |line: &str| {
        uuid(line);
        superblock(&place.path("image"))[0xec..0xfc].to_vec()
    };
    let given = "-U 01234567-89ab-4def-8123-456789abcdef";
    assert_eq!(seed(given), seed(&format!("--reproducible {given}")));
    assert_ne!(seed(""), seed(""));
    assert_ne!(seed("-U random"), seed("-U random"));
    let asked = format!("{given} -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210");
    assert_eq!(seed(&asked)[..2], [0xfe, 0xdc]);
    // Called mke2fs, it stays random as mke2fs's.
    let mke2fs = place.shell(&format!(
        "ln -s \"$(command -v mke4fs)\" mke2fs; for i in 1 2; do ./mke2fs -q -F {given} $i 8M; done; ! cmp -s 1 2"
    ));
    assert!(mke2fs.status.success(), "{mke2fs:?}");
}

#[test]
fn what_no_machine_makes_again_is_refused() {
    let place = Place::new();
    for (flags, said) in [
        ("-U random", "a random UUID; use -U UUID, or no -U"),
        ("-U time", "a UUID of the time; use -U UUID, or no -U"),
        (
            "-E root_owner",
            "the user who runs mke4fs as the owner of its root directory; use -E root_owner=UID:GID",
        ),
    ] {
        let output = place.shell(&format!("mke4fs --reproducible {flags} image 8M"));
        let expected = format!("mke4fs: a reproducible image cannot have {said}\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
        assert!(!place.path("image").exists());
    }
}
