//! Given two things that hold the same files but for a difference that was planted, proves that the
//! difference is found and named, and nothing else; never judges which of them is right.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZero;
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::mount::Scratch;
use common::place::Place;
use common::tools::{Need, Which, ready};
use mke4fs::Cancel;
use mke4fs::diff::{Attribute, DiffError, DiffOptions, Difference, Finding, diff_each};
use mke4fs::raw::units::Timestamp;
use mke4fs::tree::{
    Content, ContentKey, ContentReader, ContentSource, DataMap, Device, Flags, Metadata, NodeId,
    Special, Tree, TreeError, Xattr,
};

fn is_ready() -> bool {
    let programs = ["setfattr", "setfacl", "chattr", "setpriv", "unshare"].map(Need::Program);
    ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) && ready(&programs)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Status and standard output of a line of the shell, which complains of nothing.
fn said(place: &Place, line: &str) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = place.shell(line);
    assert_eq!(text(&stderr), "", "{line}");
    (status.code().expect("it ends by itself"), text(&stdout))
}

/// What is planted in a copy of the files, and what is then said of it; the last are said of no archive.
const PLANTED: &[(&str, &[&str])] = &[
    ("true", &[]),
    ("chmod 4600 f", &["f: mode 0644 -> 4600"]),
    ("chown 7 f", &["f: uid 0 -> 7"]),
    ("chgrp 100000 f", &["f: gid 0 -> 100000"]),
    (
        "touch -d @1600000000.5 d",
        &["d: mtime 2017-07-14T02:40:00.250000000Z -> 2020-09-13T12:26:40.500000000Z"],
    ),
    ("printf hellO > f", &["f: data from byte 4 on"]),
    ("printf 1 >> f", &["f: data 5 bytes -> 6 bytes"]),
    (
        "printf 1 | dd of=h bs=1 seek=600000 conv=notrunc status=none",
        &["h: data from byte 600000 on"],
    ),
    ("cp --sparse=never h i; mv i h", &[]),
    ("ln -sfn other s", &["s: target f -> other"]),
    ("rm c; mknod c c 1 5", &["c: device 1:3 -> 1:5"]),
    ("rm p; mknod p c 1 3", &["p: type fifo -> char_device"]),
    (
        "setfattr -n user.a -v 2 x",
        &["x: xattr user.a \"1\" -> \"2\""],
    ),
    ("setfattr -x user.a x", &["x: xattr user.a \"1\" -> absent"]),
    (
        "setfattr -n user.b -v 0x6101ff00 d/x",
        &["d/x: xattr user.b absent -> \"a\\u{1}\\xff\\u{0}\""],
    ),
    (
        "setfacl -m u:1905:r f",
        &["f: xattr system.posix_acl_access absent -> \
           user::rw-,user:1905:r--,group::r--,mask::r--,other::r--"],
    ),
    ("rm -r d", &["d: only in old.img: directory"]),
    ("mkdir n; touch n/below", &["n: only in NEW: directory"]),
    (
        "touch \"$(printf 'd/\\001\\377')\"",
        &["d/\\u{1}\\xff: only in NEW: file"],
    ),
    (
        "cp -a a c1; mv c1 a",
        &["a: links 2 (first: a) -> 1", "b: links 2 (first: a) -> 1"],
    ),
    (
        "rm l/x l/y; ln l/w l/y; ln l/z l/x",
        &[
            "l/x: links 2 (first: l/w) -> 2 (first: l/x)",
            "l/y: links 2 (first: l/y) -> 2 (first: l/w)",
            "l/z: links 2 (first: l/y) -> 2 (first: l/x)",
        ],
    ),
    ("chattr +A f", &["f: flags 0x0 -> 0x80"]),
];

/// Files of every kind, below `base`, all with one time.
const BASE: &str = "mkdir -p base/d base/l; cd base; printf hello > f; echo x > x; echo x > d/x; \
    setfattr -n user.a -v 1 x; truncate -s 1M h; printf 1 | dd of=h bs=1 seek=500000 conv=notrunc status=none; \
    ln -s f s; mknod c c 1 3; mkfifo p; echo a > a; ln a b; echo l > l/w; ln l/w l/x; echo l > l/y; \
    ln l/y l/z; cd ..; find base -exec touch -h -d @1500000000.25 {} +";

#[test]
fn a_planted_difference_is_named_whatever_holds_it() {
    if !is_ready() {
        return;
    }
    let scratch = Scratch::new(128 << 20).expect("a filesystem with attributes");
    let place = Place::within(scratch.path());
    said(&place, BASE);
    said(&place, "mke4fs -q -d base old.img 8M");
    for (number, (plant, lines)) in PLANTED.iter().enumerate() {
        // All times are as before, but for the one that is planted.
        let line = format!(
            "rm -rf new new.img new.tar; cp -a base new; cd new; {plant}; \
             case '{plant}' in touch*d) ;; *) find . -exec touch -h -d @1500000000.25 {{}} + ;; esac; \
             cd ..; mke4fs -q -d new new.img 8M; \
             tar --format=pax --xattrs --xattrs-include='user.*' --acls -cf new.tar -C new ."
        );
        said(&place, &line);
        let is_last = number + 1 == PLANTED.len();
        let archive = (!is_last).then_some("new.tar");
        for new in ["new", "new.img"].into_iter().chain(archive) {
            let line = format!("mke4fs diff --ignore atime,ctime old.img {new} || echo $?");
            let mut expected: String = lines.iter().map(|line| format!("{line}\n")).collect();
            if !expected.is_empty() {
                expected += "1\n";
            }
            let expected = expected.replace("NEW", new);
            assert_eq!(said(&place, &line), (0, expected), "{plant}");
        }
        // The other way round it is the other way round.
        if *plant == "chown 7 f" {
            let line = "mke4fs diff --ignore times new.img old.img || true";
            assert_eq!(said(&place, line), (0, "f: uid 7 -> 0\n".to_owned()));
        }
    }
}

#[test]
fn an_image_is_what_it_was_made_of() {
    if !is_ready() {
        return;
    }
    let scratch = Scratch::new(128 << 20).expect("a filesystem with attributes");
    let place = Place::within(scratch.path());
    said(&place, BASE);
    said(
        &place,
        "chmod 700 base; chown 3:4 base; mke4fs -q -d base img; \
        tar --format=pax -cf base.tar -C base f d; gzip -k base.tar; mke4fs -q -d base.tar tar.img",
    );
    for pair in [
        "base img",
        "img base",
        "base.tar tar.img",
        "- tar.img < base.tar.gz",
        "img ext4:img@0",
        "base.tar.gz base.tar",
    ] {
        for all in ["", "--all"] {
            let line = format!("mke4fs diff {all} {pair}");
            assert_eq!(said(&place, &line), (0, String::new()), "{line}");
        }
    }
    let (_, root) = said(
        &place,
        "mke4fs diff --keep-root --ignore times base img || echo $?",
    );
    let expected = "/: mode 0700 -> 0755\n/: uid 3 -> 0\n/: gid 4 -> 0\n1\n";
    assert_eq!(root, expected);
    // What reading changes is compared between images, or where it is asked for.
    let line = "touch -a -d @1600000000 base/p; mke4fs -q -d base new.img; mke4fs diff base img; \
        for pair in 'img new.img' '--all img base'; do mke4fs diff --ignore ctime $pair || echo $?; done";
    let expected = "p: atime 2017-07-14T02:40:00.250000000Z -> 2020-09-13T12:26:40.000000000Z\n1\n";
    assert_eq!(said(&place, line), (0, expected.repeat(2)));
    // An archive without an entry for its root says nothing of that.
    let line = "mke4fs diff --keep-root base.tar tar.img";
    assert_eq!(said(&place, line), (0, String::new()));
    // A filesystem in a larger file, and in a layer of a container image.
    let line = "truncate -s 1M disk; cat img >> disk; mke4fs diff base disk@1M; mke4fs diff base ext4:disk@1024k";
    assert_eq!(said(&place, line), (0, String::new()));
    let layer = fs::read(place.path("base.tar")).expect("it is there");
    let layout = common::image::Layout::of(&[layer]).expect("a layout");
    let line = format!("mke4fs diff oci:{} base.tar", layout.path().display());
    assert_eq!(said(&place, &line), (0, String::new()));
}

#[test]
fn each_difference_is_an_object_of_json() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    let line = "mkdir one two; printf '\\001\"' > one/f; ln -s a one/s; ln -s 'b\\' two/s; printf '..' > two/f; \
        touch one/only two/longer; echo x > two/size; touch one/size; \
        mke4fs diff --json --ignore times,owner,mode one two || echo $?";
    let (_, out) = said(&place, line);
    let lines: Vec<&str> = out.lines().collect();
    let (status, lines) = lines.split_last().expect("it says something");
    assert_eq!(*status, "1");
    let objects: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    let expected = serde_json::json!([
        {"path": "f", "differs": "data", "first_byte": 0},
        {"path": "longer", "differs": "name", "b": "file"},
        {"path": "only", "differs": "name", "a": "file"},
        {"path": "s", "differs": "target", "a": "a", "b": "b\\\\"},
        {"path": "size", "differs": "data", "a_bytes": 0, "b_bytes": 2},
    ]);
    assert_eq!(serde_json::Value::Array(objects), expected);
}

#[test]
fn trouble_is_told_apart_from_differences() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/f", "1");
    place.file("text", "no archive");
    said(&place, "mke4fs -q -d root image");
    for (arguments, told) in [
        ("image none", "cannot read none: No such file or directory"),
        ("image text", "text is not a directory, a tar archive"),
        ("- - < text", "standard input is named twice"),
        ("image", "required arguments were not provided"),
        (
            "--ignore mode,tiems image root",
            "invalid value 'tiems': must be one of type, mode, uid, gid, atime, mtime, ctime, flags, links, \
             device, target, xattrs, data, owner, times",
        ),
        ("image ext4:image#3", "partition"),
    ] {
        let output = place.shell(&format!("mke4fs diff {arguments}"));
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert_eq!(text(&output.stdout), "", "{arguments}");
        let error = text(&output.stderr);
        assert!(error.contains(told), "{arguments}: {error}");
    }
}

#[test]
fn damaged_images_are_trouble_and_nothing_worse() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    said(
        &place,
        "for n in $(seq 60); do head -c $((n * 700)) /dev/urandom > root/file-$n; \
         setfattr -n user.note -v $n root/file-$n || true; done; mke4fs -q -d root image 2>/dev/null",
    );
    let sound = fs::read(place.path("image")).expect("it is there");
    let mut random = 7_u64;
    let rounds = if common::is_wide() { 2000 } else { 60 };
    let mut seen = BTreeSet::new();
    for round in 0..rounds {
        let mut damaged = sound.clone();
        for _ in 0..40 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // The metadata is in front.
            let place = usize::try_from((random >> 33) % (300 << 10)).expect("it fits");
            damaged[place] = u8::try_from(random >> 56).expect("a byte");
        }
        fs::write(place.path("damaged"), &damaged).expect("it can be written");
        for line in ["diff image damaged", "map damaged"] {
            let output = place.shell(&format!("timeout 60 mke4fs {line} >/dev/null"));
            let status = output.status.code();
            assert!(
                matches!(status, Some(0..=2)),
                "round {round}, {line}: {output:?}"
            );
            seen.insert(status);
        }
    }
    assert!(seen.len() > 1, "{seen:?}");
}

#[test]
fn an_ordinary_user_needs_nothing_else() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/f", "1");
    place.file("other/f", "2");
    place.for_user();
    let user =
        "unshare --net setpriv --reuid 1000 --regid 1000 --clear-groups env -i PATH= bin/mke4fs";
    let line = format!(
        "{user} -q -d root image; {user} diff root image; \
         {user} diff --ignore times other image || echo $?; {user} map image > map.svg; head -c 4 map.svg"
    );
    let expected = "f: data from byte 0 on\n1\n<svg";
    assert_eq!(said(&place, &line), (0, expected.to_owned()));
}

/// What a planted difference is made in.
struct Sketch {
    metadata: Metadata,
    xattrs: Vec<Xattr>,
    data: &'static [u8],
    device: Device,
    target: &'static [u8],
}

fn xattr(name: &[u8], value: &[u8]) -> Xattr {
    let (name, value) = (name.to_vec(), value.to_vec());
    Xattr { name, value }
}

fn sketch() -> Sketch {
    let metadata = Metadata::default().with_permissions(0o644);
    Sketch {
        metadata: metadata.with_time(Timestamp::from_seconds(1)),
        xattrs: vec![xattr(b"user.b", b"1")],
        data: b"data",
        device: Device { major: 1, minor: 3 },
        target: b"here",
    }
}

impl Sketch {
    fn tree(&self) -> Result<Tree, TreeError> {
        let mut tree = Tree::with_root(self.metadata);
        let plain = Metadata::default();
        let root = NodeId::ROOT;
        tree.set_xattrs(root, self.xattrs.clone())?;
        tree.file_at(root, b"file", plain, Content::from_bytes(self.data))?;
        tree.special_at(root, b"dev", plain, Special::BlockDevice(self.device))?;
        tree.symlink_at(root, b"link", plain, self.target)?;
        tree.finish()?;
        Ok(tree)
    }
}

#[test]
fn the_library_names_every_attribute() {
    type Plant = fn(&mut Sketch);
    let later = Timestamp {
        seconds: 1,
        nanoseconds: 1,
    };
    let time = Timestamp::from_seconds(1);
    let planted: &[(Plant, &str, Finding<'_>)] = &[
        (
            |it| it.metadata.permissions = 0o4755,
            "",
            Finding::Mode(0o644, 0o4755),
        ),
        (|it| it.metadata.uid = 1, "", Finding::Uid(0, 1)),
        (
            |it| it.metadata.gid = u32::MAX,
            "",
            Finding::Gid(0, u32::MAX),
        ),
        (
            |it| it.metadata.atime.nanoseconds = 1,
            "",
            Finding::Atime(time, later),
        ),
        (
            |it| it.metadata.mtime.nanoseconds = 1,
            "",
            Finding::Mtime(time, later),
        ),
        (
            |it| it.metadata.ctime.nanoseconds = 1,
            "",
            Finding::Ctime(time, later),
        ),
        (
            |it| it.metadata.flags = Flags::of(0x10),
            "",
            Finding::Flags(Flags::of(0), Flags::of(0x10)),
        ),
        (
            |it| it.xattrs[0].value = b"2".to_vec(),
            "",
            Finding::Xattr(b"user.b", Some(b"1"), Some(b"2")),
        ),
        (
            |it| it.xattrs.clear(),
            "",
            Finding::Xattr(b"user.b", Some(b"1"), None),
        ),
        (
            |it| it.xattrs.push(xattr(b"user.a", b"")),
            "",
            Finding::Xattr(b"user.a", None, Some(b"")),
        ),
        (|it| it.data = b"dat", "file", Finding::Size(4, 3)),
        (|it| it.data = b"dato", "file", Finding::Data { first: 3 }),
        (
            |it| it.device.minor = 5,
            "dev",
            Finding::Device(Device { major: 1, minor: 3 }, Device { major: 1, minor: 5 }),
        ),
        (
            |it| it.target = b"there",
            "link",
            Finding::Target(b"here", b"there"),
        ),
    ];
    let a = sketch().tree().expect("it can be declared");
    for (plant, path, finding) in planted {
        let mut other = sketch();
        plant(&mut other);
        let b = other.tree().expect("it can be declared");
        let found = mke4fs::diff(&a, &b).expect("it can be read");
        let path = path.as_bytes().to_vec();
        let [found] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((&found.path, &found.finding), (&path, finding));
        let attribute = found.finding.attribute().expect("it is no name");
        let mut options = DiffOptions::new();
        options.ignore(attribute.into());
        diff_each(&a, &b, &options, &mut |it| panic!("{it:?} is ignored")).expect("it can be read");
    }
}

/// Content whose bytes are its key's, which counts what is read of it and fails from some byte on.
struct Counted {
    read: AtomicU64,
    fails_from: u64,
}

struct CountedReader<'a>(&'a Counted, u8);

impl ContentSource for Counted {
    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        let byte = u8::try_from(key % 256).unwrap_or(0);
        Ok(Box::new(CountedReader(self, byte)))
    }

    fn describe(&self, key: ContentKey) -> Vec<u8> {
        format!("content {key}").into_bytes()
    }
}

impl ContentReader for CountedReader<'_> {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        self.0.read.fetch_add(bytes, Ordering::Relaxed);
        if offset + bytes > self.0.fails_from {
            return Err(io::Error::other("a bad sector"));
        }
        buffer.fill(self.1);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn counted(fails_from: u64) -> Arc<Counted> {
    let read = AtomicU64::new(0);
    Arc::new(Counted { read, fails_from })
}

#[test]
fn what_files_hold_is_read_once_and_holes_never() {
    let source = counted(u64::MAX);
    let tree = |data: &[std::ops::Range<u64>], key| {
        let mut tree = Tree::with_root(Metadata::default());
        let ranges = data.iter().cloned().collect();
        let content = Content::new(1 << 50, source.clone(), key);
        let content = content.with_data(DataMap::Ranges(ranges));
        tree.file_at(NodeId::ROOT, b"f", Metadata::default(), content)
            .expect("it fits");
        tree.finish().expect("names are distinct");
        tree
    };
    let end = 1 << 50;
    let apart = [0..40 << 20, end - (1 << 20)..end];
    // Zeros that one has as data and the other as a hole are the same.
    let (a, b) = (tree(&apart, 0), tree(std::slice::from_ref(&(5..6)), 0));
    assert_eq!(mke4fs::diff(&a, &b).expect("it can be read"), []);
    assert_eq!(source.read.load(Ordering::Relaxed), (41 << 20) + 1);
    // Whichever thread is first, the first byte is told.
    let b = tree(std::slice::from_ref(&(end - 7..end - 6)), 1);
    for threads in [1, 2, 8] {
        let mut found = Vec::new();
        let mut options = DiffOptions::new();
        options.threads(NonZero::new(threads).expect("it is not zero"));
        let mut each = |difference| {
            found.push(difference);
            Ok(())
        };
        diff_each(&a, &b, &options, &mut each).expect("it can be read");
        let [Difference { finding, .. }] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(*finding, Finding::Data { first: end - 7 });
    }
}

#[test]
fn links_that_cross_ask_for_no_more_than_there_is() {
    const FILES: u64 = 40;
    const BYTES: u64 = 4096;
    let source = counted(u64::MAX);
    // Each of some files has as many names; in the other tree they are shared out otherwise.
    let tree = |file: fn(u64) -> u64| {
        let mut tree = Tree::with_root(Metadata::default());
        let mut nodes = std::collections::BTreeMap::new();
        for number in 0..FILES * FILES {
            let name = format!("{number:06}");
            let key = file(number);
            if let Some(node) = nodes.get(&key) {
                tree.link_at(NodeId::ROOT, name.as_bytes(), *node)
                    .expect("it is a file");
                continue;
            }
            let content = Content::new(BYTES, source.clone(), 7);
            let node = tree.file_at(NodeId::ROOT, name.as_bytes(), Metadata::default(), content);
            nodes.insert(key, node.expect("it fits"));
        }
        tree.finish().expect("names are distinct");
        tree
    };
    let (a, b) = (tree(|number| number / FILES), tree(|number| number % FILES));
    let found = mke4fs::diff(&a, &b).expect("it can be read");
    assert!(
        found
            .iter()
            .all(|it| it.finding.attribute() == Some(Attribute::Links))
    );
    assert_eq!(
        found.len(),
        usize::try_from(FILES * FILES - 1).expect("it fits")
    );
    let read = source.read.load(Ordering::Relaxed);
    assert!(read <= 2 * 2 * FILES * BYTES, "{read} bytes were read");
}

#[test]
fn what_cannot_be_read_is_named() {
    let tree = |source: Arc<Counted>| {
        let mut tree = Tree::with_root(Metadata::default());
        for key in 0..200 {
            let content = Content::new(100 + key, source.clone(), key);
            let name = format!("{key:03}");
            tree.file_at(NodeId::ROOT, name.as_bytes(), Metadata::default(), content)
                .expect("it fits");
        }
        tree.finish().expect("names are distinct");
        tree
    };
    let (a, b) = (tree(counted(u64::MAX)), tree(counted(150)));
    for _ in 0..20 {
        let Err(DiffError::Read { name, error }) = mke4fs::diff(&a, &b) else {
            panic!("it cannot be read");
        };
        assert_eq!(text(&name), "content 51");
        assert_eq!(error.to_string(), "a bad sector");
    }
}

#[test]
fn progress_comes_to_its_total_and_a_wish_to_stop_is_heeded() {
    let source = counted(u64::MAX);
    let tree = |key| {
        let mut tree = Tree::with_root(Metadata::default());
        for number in 0..50_u64 {
            let content = Content::new(number * 1_000_000, source.clone(), key);
            let name = format!("{number:03}");
            tree.file_at(NodeId::ROOT, name.as_bytes(), Metadata::default(), content)
                .expect("it fits");
        }
        tree.finish().expect("names are distinct");
        tree
    };
    let all = (0..50).sum::<u64>() * 1_000_000;
    let (a, same, other) = (tree(1), tree(1), tree(2));
    for (b, threads, expected) in [(&same, 1, 0), (&same, 4, 0), (&other, 2, 49)] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let mut options = DiffOptions::new();
        options.threads(NonZero::new(threads).expect("it is not zero"));
        options.progress(move |done, of| heard.lock().expect("no panic").push((done, of)));
        let mut found = 0;
        let mut each = |_| {
            found += 1;
            Ok(())
        };
        diff_each(&a, b, &options, &mut each).expect("it can be read");
        assert_eq!(found, expected);
        let told = told.lock().expect("no panic");
        assert!(told.is_sorted_by(|one, other| one.0 < other.0), "{told:?}");
        assert!(told.len() > 40, "{told:?}");
        assert_eq!(told.last(), Some(&(all, all)));
    }
    let cancel = Cancel::new();
    let button = cancel.clone();
    source.read.store(0, Ordering::Relaxed);
    let mut options = DiffOptions::new();
    options.cancel(&cancel).progress(move |done, _| {
        if done > 0 {
            button.cancel();
        }
    });
    let stopped = diff_each(&a, &same, &options, &mut |_| Ok(()));
    assert!(
        matches!(stopped, Err(DiffError::Cancelled(_))),
        "{stopped:?}"
    );
    let read = source.read.load(Ordering::Relaxed);
    assert!(read < all / 4, "{read} bytes were read");
}

#[test]
fn what_is_excluded_is_left_out_of_both() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("a/keep", "1");
    place.file("a/sub/one.log", "1");
    place.file("b/keep", "1");
    place.file("b/sub/two.log", "2");
    place.file("b/gone/below", "2");
    let ignored = "--ignore times";
    said(&place, "mke4fs -q -d b b.img; tar -cf a.tar -C a .");
    for pair in ["a b", "a b.img", "a.tar b.img"] {
        let line = format!("mke4fs diff {ignored} --exclude '*.log' {pair} || echo $?");
        let (_, out) = said(&place, &line);
        let (_, b) = pair.split_once(' ').expect("two names");
        assert_eq!(out, format!("gone: only in {b}: directory\n1\n"), "{pair}");
        let line = format!("mke4fs diff {ignored} --exclude '*.log' --exclude /gone {pair}");
        assert_eq!(said(&place, &line), (0, String::new()), "{pair}");
    }
    for (flag, told) in [
        ("--exclude '['", "mke4fs diff: --exclude: "),
        ("--platform linux", "'linux' for '--platform"),
    ] {
        let output = place.shell(&format!("mke4fs diff {flag} a b"));
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let error = text(&output.stderr);
        assert!(error.contains(told), "{flag}: {error}");
    }
}
