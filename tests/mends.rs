//! Given what does not fit, proves that the command says what is needed, what is there and what would do, and
//! that what it says would do does; what fits is `plan.rs`'s.

#![cfg(target_os = "linux")]

use crate::common;

use common::place::Place;
use common::tools::{Need, Which, ready};

/// What follows `mke4fs -q`, what it says, and what follows it instead, as the message advises.
struct Row(&'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    Row(
        "-d big image 10M",
        "the content needs 30 MiB, the filesystem of 10 MiB has 8.2 MiB for it; use a size of 37M or more, or none",
        "-d big image 37M",
    ),
    Row(
        "-d big image 33M",
        "the content needs 30 MiB, the filesystem of 33 MiB has 26.1 MiB for it; use a size of 37M or more, or none",
        "-d big image",
    ),
    Row(
        "-d big.tar image 1M",
        "the content needs 30 MiB, the filesystem of 1 MiB has 966 KiB for it; use a size of 37M or more, or none",
        "-d big.tar image 37M",
    ),
    Row(
        "-d - image 1M < big.tar",
        "the content needs 30 MiB, the filesystem of 1 MiB has 966 KiB for it; use a size of 37M or more, or none",
        "-d - image 37M < big.tar",
    ),
    Row(
        "-b 4096 -d - image 10M < big.tar",
        "the content does not fit, the filesystem of 10 MiB has 5.2 MiB for it; use a larger size, or none",
        "-b 4096 -d - image < big.tar",
    ),
    Row(
        "-d many image 3M",
        "the content needs 2.9 MiB, the filesystem of 3 MiB has 1.2 MiB for it; use a size of 5M or more, or none",
        "-d many image",
    ),
    Row(
        "-F -d many -b 65536 image 32M",
        "the content needs 187.5 MiB, the filesystem of 32 MiB has 30.8 MiB for it; use a size of 255M or more, or none",
        "-F -d many -b 65536 image",
    ),
    Row(
        "-d many -N 20 image 64M",
        "the content needs 3012 inodes, the filesystem has 64; use -N 3012 or more, or no -N",
        "-d many -N 3012 image 64M",
    ),
    Row(
        "-d many -i 65536 image 64M",
        "the content needs 3012 inodes, the filesystem has 1024; use -N 3012 or more, or no -i",
        "-d many image 64M",
    ),
    Row(
        "-b 4096 -d - image 64M < inodes.tar",
        "the content needs 25012 inodes, the filesystem has 16384; use -N 25012 or more",
        "-b 4096 -N 25012 -d - image 64M < inodes.tar",
    ),
    Row(
        "image 16K",
        "a filesystem of 16 KiB is too small, its own structures need 59 KiB; use a size of 59K or more",
        "image 59K",
    ),
    Row(
        "-d root image 16K",
        "a filesystem of 16 KiB is too small, its own structures need 59 KiB; use a size of 59K or more, or none",
        "-d root image 59K",
    ),
    Row(
        "-F -d root -b 65536 image 256K",
        "a filesystem of 256 KiB is too small, its own structures need 320 KiB; use a size of 4M or more, or none",
        "-F -d root -b 65536 image 4M",
    ),
    Row(
        "-d link -b 1024 image 8M",
        "/l is a symbolic link of 2000 bytes; with this block size it has at most 1023; use -b 4096",
        "-d link -b 4096 image 8M",
    ),
    Row(
        "-d xattr -b 1024 image 8M",
        "/f: its extended attributes need a block of 3056 bytes beside the inode; a block has 1024; use -b 4096 or \
         -O ea_inode",
        "-d xattr -b 1024 -O ea_inode image 8M",
    ),
    Row(
        "-d root -N 5000000 image 8M",
        "5000000 inodes of 256 bytes do not fit in 8192 blocks; use fewer inodes (-N) or a larger inode ratio (-i)",
        "-d root -N 5000 image 8M",
    ),
    Row(
        "-d sparse -O ^extent,^64bit -b 1024 image 64M",
        "/f has 21474836480 bytes; with this block size a file has at most 17247252480; use -b 4096 or -O extent",
        "-d sparse -O ^extent,^64bit -b 4096 image 64M",
    ),
    Row(
        "-d root -J size=64 image 32M",
        "a journal of 64 MiB does not fit, the filesystem of 32 MiB has room for 15.6 MiB; use a smaller -J size, or a size of 129M or more, or none",
        "-d root -J size=64 image 130M",
    ),
    Row(
        "-J size=64 image 32M",
        "a journal of 64 MiB does not fit, the filesystem of 32 MiB has room for 15.6 MiB; use a smaller -J size, or a size of 130M or more",
        "-J size=8 image 32M",
    ),
    Row(
        "--size keep -d big short",
        "the content needs 30 MiB, the filesystem of 5 MiB has 3.6 MiB for it; use a size of 37M or more",
        "-d big image 37M",
    ),
];

#[test]
fn what_does_not_fit_is_told_with_what_would() {
    if !ready(&[Need::E2fsprogs(Which::Reference), Need::Program("setfattr")]) {
        return;
    }
    // Extended attributes of some length need a filesystem that keeps them.
    let place = Place::within(std::path::Path::new("/var/tmp"));
    place.file("root/file", "text");
    let filled = place.shell(
        "mkdir big many link xattr sparse; head -c 31457280 /dev/urandom > big/f
         tar cf big.tar -C big .; seq 3000 | while read n; do echo > many/$n; done
         ln -s $(printf 'x%.0s' $(seq 2000)) link/l; truncate -s 20G sparse/f; truncate -s 5M short
         echo > xattr/f; setfattr -n user.big -v $(printf 'x%.0s' $(seq 3000)) xattr/f
         mkdir inodes; cd inodes; seq 25000 | xargs touch; cd ..; tar cf inodes.tar -C inodes .",
    );
    assert!(filled.status.success(), "{filled:?}");
    let mut wrong = Vec::new();
    for Row(flags, expected, advised) in ROWS {
        let refused = place.shell(&format!("rm -f image; mke4fs -q {flags}"));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let line = said
            .lines()
            .find(|line| !line.contains("warning:"))
            .unwrap_or_default();
        if refused.status.code() != Some(1) || line != format!("mke4fs: {expected}") {
            wrong.push(format!("{flags}: {line}"));
        }
        let done = place.shell(&format!(
            "rm -f image; mke4fs -q {advised}; mke4fs check -q image"
        ));
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            wrong.push(format!("{advised}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A device says that it is one, and a journal that is not where it was to be is told with every size.
#[test]
fn devices_and_places_are_named() {
    if !ready(&[Need::Root]) {
        return;
    }
    let place = Place::new();
    let done = place.shell(
        "exec 2>&1; head -c 31457280 /dev/urandom > root/f; truncate -s 12M disk
         disk=$(losetup -f --show disk); trap 'losetup -d $disk' EXIT
         mke4fs -q -d root $disk || true; rm root/f
         for size in '--size min' '--size 16M'; do
             mke4fs -q -d root -J size=4,location=1000000 $size image; rm image; done",
    );
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let size = "mke4fs: the content needs 30 MiB, the filesystem of 12 MiB has 10 MiB for it; use a device of 37M \
                or more\n";
    assert!(said.starts_with(size), "{said}");
    let place = "there is no room for it at block 1000000\n";
    assert_eq!(
        said.matches("mke4fs: warning: the journal begins at block ")
            .count(),
        2,
        "{said}"
    );
    assert_eq!(said.matches(place).count(), 2, "{said}");
}
