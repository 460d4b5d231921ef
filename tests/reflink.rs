//! Given filesystems that can share data, proves that images share that of their sources and are the same byte for
//! byte; never that a certain block is shared where it need not be.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::process::Command;

use common::mount::Mount;
use common::place::Place;
use common::tools::{self, Need, Which, ready};
use mke4fs::read::ImageFile;
use mke4fs::{Base, Builder, Directory, Reflink};
use tempfile::NamedTempFile;

/// A filesystem whose files can share blocks, mounted for a test.
struct Sharing {
    // Dropped in this order: the mount before the image under it.
    mount: Mount,
    _image: NamedTempFile,
}

impl Sharing {
    fn new(name: &str) -> Self {
        let mut image = tempfile::Builder::new();
        let image = image.prefix("mke4fs-reflink-").tempfile().expect("a file");
        image.as_file().set_len(512 << 20).expect("it grows");
        let mut make = Command::new(format!("mkfs.{name}"));
        tools::run(make.arg("-q").arg(image.path())).expect("it is made");
        let mount = Mount::of_type(name, image.path(), "loop").expect("it is mounted");
        Self {
            mount,
            _image: image,
        }
    }

    fn place(&self) -> Place {
        Place::within(self.mount.path())
    }
}

const FILESYSTEMS: [&str; 2] = ["btrfs", "xfs"];

fn is_ready() -> bool {
    ready(&[
        Need::Root,
        Need::E2fsprogs(Which::Reference),
        Need::Program("mkfs.btrfs"),
        Need::Program("mkfs.xfs"),
        Need::Program("filefrag"),
    ])
}

/// All that differs between two runs is pinned; `make WHEN ARGUMENTS`.
const MAKE: &str = "PATH=$PATH:/usr/sbin:/sbin; export E2FSPROGS_FAKE_TIME=1600000000
    make() { when=$1; shift; mke4fs -q -U 01234567-89ab-4def-8123-456789abcdef \
    -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210 --reflink $when \"$@\"; }\n";

/// What the lines print; all of them succeed.
fn said(place: &Place, lines: &str) -> String {
    let output = place.shell(&format!("exec 2>&1; set -e; {MAKE}{lines}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{lines}: {said}");
    said
}

/// How many blocks of 4 KiB of a file are shared with another.
fn shared(place: &Place, name: &str) -> u64 {
    let extents = said(place, &format!("sync {name}; filefrag -b4096 -v {name}"));
    let shared = extents.lines().filter(|line| line.contains("shared"));
    let length = |line: &str| line.split(':').nth(3)?.trim().parse::<u64>().ok();
    shared.map(|line| length(line).expect("a length")).sum()
}

/// Files of all sizes around blocks and what is shared from: 20, 320 and 257 of their blocks are whole in files from
/// 64 KiB on, and 1 and 15 in smaller ones.
fn fill(place: &Place) {
    said(
        place,
        "head -c 4097 /dev/urandom > root/page; head -c 65535 /dev/urandom > root/less
        head -c 81920 /dev/urandom > root/whole; head -c 1310721 /dev/urandom > root/more
        truncate -s 3M root/holes; head -c 1048576 /dev/urandom >> root/holes; truncate -s 5M root/holes
        head -c 4100 /dev/urandom >> root/holes; echo small > root/small; : > root/empty
        ln root/more root/link; sync -f root",
    );
}

const WORTH_IT: u64 = 20 + 320 + 256;
const ALL: u64 = WORTH_IT + 1 + 1 + 15;

#[test]
fn what_is_shared_is_the_same_byte_for_byte() {
    if !is_ready() {
        return;
    }
    for name in FILESYSTEMS {
        let sharing = Sharing::new(name);
        let place = sharing.place();
        fill(&place);
        for flags in [
            "",
            "-b 65536 -F 64M",
            "-O bigalloc 64M",
            "-E offset=1048576 64M",
            "-O inline_data -t ext4",
        ] {
            said(
                &place,
                &format!(
                    "rm -f *.img; make never -d root never.img {flags}
                    make auto -d root auto.img {flags}; cmp never.img auto.img
                    make auto -d root one.img {flags} --threads 1; cmp never.img one.img
                    make always -d root always.img {flags}; cmp never.img always.img"
                ),
            );
            assert_eq!(shared(&place, "never.img"), 0, "{name} {flags}");
            assert_eq!(shared(&place, "auto.img"), WORTH_IT, "{name} {flags}");
            assert_eq!(shared(&place, "always.img"), ALL, "{name} {flags}");
            if !flags.contains("offset") {
                tools::e2fsck(&place.path("always.img"), Which::Reference).expect("a sound image");
            }
        }
        // Neither changes with the other.
        said(
            &place,
            "make always -d root image; cp --reflink=never image before
            printf x | dd of=root/whole conv=notrunc status=none; cp root/more now
            cmp image before; head -c 100M /dev/zero | tr '\\0' x | dd of=image conv=notrunc status=none
            cmp root/more now",
        );
    }
}

#[test]
fn data_of_an_image_is_shared_too() {
    if !is_ready() {
        return;
    }
    for name in FILESYSTEMS {
        let sharing = Sharing::new(name);
        let place = sharing.place();
        fill(&place);
        said(
            &place,
            "mkdir new; head -c 100000 /dev/urandom > new/file; make never -d root base.img
            make never -d base.img -d new never.img; make auto -d base.img -d new auto.img
            make always -d base.img -d new always.img; cmp never.img auto.img; cmp never.img always.img
            truncate -s 1M part.img; cat base.img >> part.img
            make always -d part.img@1M -d new image; cmp never.img image
            truncate -s 512 odd.img; cat base.img >> odd.img
            make auto -d odd.img@512 -d new image; cmp never.img image",
        );
        // The blocks of the image are whole: what lies behind the end of a file is in them.
        assert_eq!(shared(&place, "auto.img"), WORTH_IT + 24, "{name}");
        assert_eq!(shared(&place, "always.img"), ALL + 24, "{name}");
        said(&place, "rm image");
        let refused = place.refusal("mke4fs -q --reflink always -d odd.img@512 image");
        let needed = "it does not begin at a block of the host's filesystem there; use --reflink auto to copy it\n";
        assert!(refused.ends_with(needed), "{refused}");
    }
}

#[test]
fn what_has_to_be_seen_is_copied() {
    if !is_ready() {
        return;
    }
    let sharing = Sharing::new("btrfs");
    let place = sharing.place();
    fill(&place);
    for flags in [
        "-b 1024",
        "--fs-verity '*'",
        "--verity",
        "--format qcow2",
        "--format vhdx",
        "--sparse always",
        "--reproducible",
    ] {
        said(
            &place,
            &format!(
                "rm -f *.img; make never -d root never.img {flags}
                make auto -d root auto.img {flags}; cmp never.img auto.img"
            ),
        );
    }
    said(
        &place,
        "tar -C root -cf root.tar .; make auto -d root.tar image; make auto -d - - < root.tar > /dev/null",
    );
    assert_eq!(shared(&place, "image"), 0);
}

#[test]
fn what_cannot_be_shared_is_refused_and_leaves_nothing() {
    if !is_ready() {
        return;
    }
    let sharing = Sharing::new("xfs");
    let (place, elsewhere) = (sharing.place(), Place::new());
    fill(&place);
    let root = place.path("root");
    let root = root.display();
    let output =
        "only a raw image in a file on a filesystem such as btrfs, XFS or bcachefs can share data";
    let cases = [
        ("-d root --format qcow2 image", output),
        ("-d root --verity image", output),
        ("-d root -", output),
        (
            "-d root -b 1024 image",
            "it does not begin at a block of the host's filesystem there",
        ),
        (
            "-d root.tar image",
            "its data is in no file of the host as it is",
        ),
        (
            "-d - image < root.tar",
            "its data is in no file of the host as it is",
        ),
        (
            "-d root --fs-verity more image",
            "fs-verity hashes its data while it is copied",
        ),
    ];
    said(
        &place,
        "tar -C root -cf root.tar .; make never -d root old; rm -f image",
    );
    for (line, reason) in cases {
        let refused = place.refusal(&format!("mke4fs -q --reflink always {line}"));
        // What is there is found unchanged.
        let again = place.refusal(&format!(
            "cp old image; mke4fs -q -F --reflink always {line} 2> told || cmp image old >&2; cat told >&2; rm image; false"
        ));
        assert_eq!(again, refused, "{line}");
        let end = format!(" with the output: {reason}; use --reflink auto to copy it\n");
        assert!(
            refused.starts_with("mke4fs: cannot share ") && refused.ends_with(&end),
            "{line}: {refused}"
        );
    }
    let refused = elsewhere.refusal(&format!("mke4fs -q --reflink always -d {root} image"));
    assert!(refused.contains(output), "{refused}");
    said(
        &elsewhere,
        "head -c 100000 /dev/urandom > root/file; for n in $(seq 12); do cp root/file root/f$n; done",
    );
    let from = elsewhere.path("root");
    let refused = place.refusal(&format!(
        "rm -f image; mke4fs -q --reflink always -d {} image",
        from.display()
    ));
    let expected = format!(
        "mke4fs: cannot share {}/f1 with the output: it is on another filesystem; use --reflink auto to copy it\n",
        from.display()
    );
    assert_eq!(refused, expected);
    // Of its own accord it copies.
    said(
        &elsewhere,
        &format!("make never -d {root} one; make auto -d {root} other; cmp one other"),
    );
    said(
        &place,
        &format!("make auto -d {} -d root image", from.display()),
    );
    assert_eq!(shared(&place, "image"), WORTH_IT);
    said(
        &place,
        "mkdir empty; echo 1 > empty/small; make always -d empty image",
    );
}

#[test]
fn a_file_that_changes_before_it_is_shared_is_told() {
    if !is_ready() {
        return;
    }
    let sharing = Sharing::new("btrfs");
    for (reflink, change) in [
        (
            Reflink::Always,
            "printf x | dd of=root/whole conv=notrunc status=none",
        ),
        (
            Reflink::Auto,
            "printf x | dd of=root/whole conv=notrunc status=none",
        ),
        (Reflink::Always, "truncate -s 8192 root/whole"),
        (Reflink::Auto, "truncate -s 8192 root/whole"),
        (Reflink::Auto, "cp root/whole w; mv w root/whole"),
    ] {
        let place = sharing.place();
        fill(&place);
        let builder = Builder::new().source(Directory::new(place.path("root")));
        let builder = builder.reflink(reflink).threads(NonZero::<usize>::MIN);
        let plan = builder.plan().expect("it is planned");
        said(&place, change);
        let error = plan
            .write_file(place.path("image"))
            .expect_err("it changed");
        let text = format!("{error:#}");
        let told = "root/whole: changed while it was read";
        assert!(text.ends_with(told), "{change}: {text}");
        assert!(
            !fs::exists(place.path("image")).expect("it is looked at"),
            "{change}"
        );
    }
}

#[test]
fn what_an_old_image_has_is_shared_too() {
    if !is_ready() {
        return;
    }
    for name in FILESYSTEMS {
        let sharing = Sharing::new(name);
        // The sources are elsewhere: only the old image can be shared.
        let (place, elsewhere) = (sharing.place(), Place::new());
        fill(&elsewhere);
        said(
            &elsewhere,
            "cp -a root next; head -c 5000 /dev/urandom > next/new; rm next/whole
            printf x | dd of=next/more bs=1 seek=700000 conv=notrunc status=none",
        );
        let next = elsewhere.path("next");
        let next = format!("-d {}", next.display());
        said(
            &place,
            &format!(
                "make auto -d {} old.img 64M; truncate -s 1M part.img; cat old.img >> part.img
                truncate -s 512 odd.img; cat old.img >> odd.img
                make never {next} --base old.img never.img; make auto {next} --base old.img auto.img
                make auto {next} --base old.img one.img --threads 1; make auto {next} --base part.img@1M part
                make auto {next} --base odd.img@512 odd
                make auto {next} --base old.img odd2 -E offset=512 64M; dd if=odd2 of=even2 bs=512 skip=1 status=none
                for image in auto.img one.img part odd even2; do cmp never.img $image; done",
                elsewhere.path("root").display()
            ),
        );
        tools::e2fsck(&place.path("auto.img"), Which::Reference).expect("a sound image");
        assert_eq!(shared(&place, "never.img"), 0, "{name}");
        for image in ["auto.img", "part"] {
            let found = shared(&place, image);
            assert!(found > 500, "{name}: {image} shares {found} blocks");
        }
        // What moves everything shares what happens to be the same, and no more.
        said(
            &place,
            &format!(
                "make never {next} --base old.img a -b 1024 64M; make auto {next} --base old.img b -b 1024 64M; cmp a b
                make never {next} --base old.img a 80M; make auto {next} --base old.img b 80M; cmp a b"
            ),
        );
    }
}

#[test]
fn an_old_image_that_changes_while_it_is_shared_is_told() {
    if !is_ready() {
        return;
    }
    let sharing = Sharing::new("xfs");
    let (place, elsewhere) = (sharing.place(), Place::new());
    fill(&elsewhere);
    said(
        &place,
        &format!(
            "make auto -d {} old.img 64M",
            elsewhere.path("root").display()
        ),
    );
    let old = place.path("old.img");
    let base = ImageFile::open(&old).expect("it is there");
    let base = Base::in_file(base, 0).expect("a clean image");
    let change = move |_| {
        let file = fs::OpenOptions::new().write(true).open(&old);
        let changed = file.and_then(|file| file.write_all_at(b"x", 4096));
        changed.expect("it is written");
    };
    let builder = Builder::new().source(Directory::new(elsewhere.path("root")));
    let builder = builder.base(base).progress(change);
    let error = builder
        .write_file(place.path("image"))
        .expect_err("it changed");
    let text = format!("{error:#}");
    let told = "the image that this one is based on changed while it was read";
    assert!(text.ends_with(told), "{text}");
    assert!(!fs::exists(place.path("image")).expect("it is looked at"));
}
