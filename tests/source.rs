//! Given trees made on the host, proves what a [`Directory`] declares of them and reads back.
//!
//! What only root can make needs root.
#![cfg(target_os = "linux")]

use std::ffi::{CStr, OsStr};
use std::fs::{self, File, Metadata as HostMetadata};
use std::io::{self, Write};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::common::tools::{Need, ready};
use mke4fs::raw::units::Timestamp;
use mke4fs::source::dir::Directory;
use mke4fs::source::{Declared, Source, SourceError, SourceWarning};
use mke4fs::tree::{
    Content, DIRECTORY_FLAGS, DataMap, DataRanges, Device, FILE_FLAGS, Kind, Metadata, NodeId, Tree,
};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, IFlags, Mode, OFlags, Timespec, Timestamps, fallocate,
    ioctl_getflags, ioctl_setflags, makedev, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use tempfile::TempDir;

fn tempdir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn declare_with(mut source: Directory) -> Result<(Tree, Declared), SourceError> {
    let mut tree = Tree::with_root(Metadata::default());
    let declared = source.declare(&mut tree, NodeId::ROOT)?;
    tree.finish()?;
    Ok((tree, declared))
}

fn declare(path: &Path) -> Tree {
    declare_with(Directory::new(path)).unwrap().0
}

fn refusal(path: &Path) -> String {
    let refused = declare_with(Directory::new(path)).unwrap_err();
    format!("{refused:#}")
}

fn find(tree: &Tree, path: &[u8]) -> NodeId {
    path.split(|byte| *byte == b'/')
        .fold(NodeId::ROOT, |at, name| {
            let entry = tree.entries(at).iter().find(|entry| entry.name == name);
            entry
                .unwrap_or_else(|| panic!("{} is missing", path.escape_ascii()))
                .node
        })
}

fn content(tree: &Tree, path: &[u8]) -> Content {
    match &tree.node(find(tree, path)).kind {
        Kind::File(content) => content.clone(),
        other => panic!("{} is {other:?}", path.escape_ascii()),
    }
}

fn xattrs(tree: &Tree, node: NodeId) -> Vec<(String, Vec<u8>)> {
    let set = tree.xattrs(node).iter();
    set.map(|xattr| {
        let name = String::from_utf8(xattr.name.clone()).unwrap();
        (name, xattr.value.clone())
    })
    .filter(|(name, _)| name != "security.selinux")
    .collect()
}

/// Reads a content as a writer of images would: data only, the holes staying zero.
fn read(content: &Content) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(content.size_bytes()).unwrap()];
    let mut reader = content.open()?;
    for range in content.data_ranges() {
        let part = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        reader.read_exact_at(range.start, &mut bytes[part])?;
    }
    reader.finish()?;
    Ok(bytes)
}

fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp {
        seconds,
        nanoseconds,
    }
}

fn touch(path: &Path, atime: Timestamp, mtime: Timestamp) {
    let spec = |time: Timestamp| Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    let times = Timestamps {
        last_access: spec(atime),
        last_modification: spec(mtime),
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn metadata_of(host: &HostMetadata) -> Metadata {
    let time = |seconds, nanoseconds: i64| at(seconds, u32::try_from(nanoseconds).unwrap());
    let mut metadata = Metadata::default()
        .with_permissions(u16::try_from(host.mode() & 0o7777).unwrap())
        .with_owner(host.uid(), host.gid());
    metadata.atime = time(host.atime(), host.atime_nsec());
    metadata.mtime = time(host.mtime(), host.mtime_nsec());
    metadata.ctime = time(host.ctime(), host.ctime_nsec());
    metadata
}

/// What `lstat` says of everything below `path`.
fn snapshot(path: &Path, below: &mut Vec<(PathBuf, HostMetadata)>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let host = fs::symlink_metadata(&path).unwrap();
        let is_dir = host.is_dir();
        below.push((path.clone(), host));
        if is_dir {
            snapshot(&path, below);
        }
    }
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
}

#[test]
fn what_lstat_shows_is_declared() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    for (name, mode) in [("plain", 0o644), ("setuid", 0o4755), ("all", 0o7777)] {
        fs::write(path(name), name).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir_all(path("d/e")).unwrap();
    fs::set_permissions(path("d"), fs::Permissions::from_mode(0o3711)).unwrap();
    symlink("nowhere", path("d/link")).unwrap();
    fifo(&path("d/fifo"));
    let _listener = UnixListener::bind(path("d/socket")).unwrap();
    let last = at(15_032_385_534, 999_999_999);
    touch(&path("plain"), at(-2_147_483_647, 1), last);
    touch(&path("d/link"), at(-1, 500_000_000), at(2_524_608_000, 0));

    // Reading the directories for the first snapshot moves their access times once.
    let mut hosts = Vec::new();
    for _ in 0..2 {
        hosts.clear();
        snapshot(dir.path(), &mut hosts);
    }
    let tree = declare(dir.path());
    assert_eq!(hosts.len() + 1, tree.len());
    for (path, host) in hosts {
        let name = path.strip_prefix(dir.path()).unwrap().as_os_str();
        let node = tree.node(find(&tree, name.as_bytes()));
        assert_eq!(node.metadata, metadata_of(&host), "{}", path.display());
        let file_type = host.file_type();
        match &node.kind {
            Kind::Directory(_) => assert!(file_type.is_dir()),
            Kind::File(content) => assert_eq!(content.size_bytes(), host.len()),
            Kind::Symlink(_) => assert!(file_type.is_symlink()),
            Kind::Fifo => assert!(file_type.is_fifo()),
            Kind::Socket => assert!(file_type.is_socket()),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    let plain = tree.node(find(&tree, b"plain")).metadata;
    assert_eq!((plain.atime, plain.mtime), (at(-2_147_483_647, 1), last));
}

#[test]
fn owners_and_devices_keep_all_their_bits() {
    if !ready(&[Need::Root]) {
        return;
    }
    let dir = tempdir();
    let file = dir.path().join("owned");
    fs::write(&file, "").unwrap();
    std::os::unix::fs::lchown(&file, Some(4_294_967_294), Some(65_536)).unwrap();
    let char = (4095, 1_048_575);
    let block = (259, 256);
    for (name, file_type, (major, minor)) in [
        ("char", FileType::CharacterDevice, char),
        ("block", FileType::BlockDevice, block),
    ] {
        let path = dir.path().join(name);
        mknodat(CWD, path, file_type, Mode::RUSR, makedev(major, minor)).unwrap();
    }
    let tree = declare(dir.path());
    let owned = tree.node(find(&tree, b"owned")).metadata;
    assert_eq!((owned.uid, owned.gid), (4_294_967_294, 65_536));
    let numbers = |name| match tree.node(find(&tree, name)).kind {
        Kind::CharDevice(Device { major, minor }) => ("char", (major, minor)),
        Kind::BlockDevice(Device { major, minor }) => ("block", (major, minor)),
        _ => panic!("no device"),
    };
    assert_eq!(numbers(b"char"), ("char", char));
    assert_eq!(numbers(b"block"), ("block", block));
}

#[test]
fn symlinks_keep_targets_of_any_bytes() {
    let dir = tempdir();
    let long = vec![b'x'; 4095];
    for (name, target) in [("odd", &b"\xff\n//../\x01"[..]), ("long", &long)] {
        symlink(OsStr::from_bytes(target), dir.path().join(name)).unwrap();
        let tree = declare(dir.path());
        match &tree.node(find(&tree, name.as_bytes())).kind {
            Kind::Symlink(found) => assert_eq!(**found, *target),
            other => panic!("{other:?}"),
        }
    }
}

/// The names in the root and the nodes they lead to, of a tree made in the order of `names`.
fn order_of<'a>(names: impl Iterator<Item = &'a Vec<u8>>) -> Vec<(Vec<u8>, usize)> {
    let dir = tempdir();
    for name in names {
        let path = dir.path().join(OsStr::from_bytes(name));
        if name[0] % 3 == 0 {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("inner"), name).unwrap();
        } else {
            fs::write(&path, name).unwrap();
        }
    }
    let tree = declare(dir.path());
    tree.entries(NodeId::ROOT)
        .iter()
        .map(|entry| (entry.name.to_vec(), entry.node.index()))
        .collect()
}

#[test]
fn names_come_in_byte_order_whatever_the_host_lists() {
    let mut names: Vec<Vec<u8>> = (1..=255)
        .filter(|byte| *byte != b'/' && *byte != b'.')
        .map(|byte| vec![byte])
        .chain([vec![b'n'; 255], b"k\xe4se".to_vec(), "käse".into()])
        .collect();
    let forwards = order_of(names.iter());
    assert_eq!(forwards, order_of(names.iter().rev()));
    assert!(
        forwards.is_sorted_by_key(|(_, node)| *node),
        "nodes are declared in the order of names"
    );
    names.sort();
    let found: Vec<Vec<u8>> = forwards.into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, names);
}

#[test]
fn holes_are_mapped_and_data_read() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    let file = File::create(path("sparse")).unwrap();
    file.write_all_at(&[1; 4096], 65_536).unwrap();
    file.write_all_at(&[2; 100], 1 << 20).unwrap();
    file.set_len(3 << 20).unwrap();
    file.sync_all().unwrap();
    let hole = File::create(path("hole")).unwrap();
    hole.set_len(1 << 40).unwrap();
    fs::write(path("dense"), [3; 10_000]).unwrap();
    fs::write(path("empty"), "").unwrap();

    let tree = declare(dir.path());
    let sparse = content(&tree, b"sparse");
    assert_eq!(sparse.size_bytes(), 3 << 20);
    assert_eq!(
        sparse.data(),
        &DataMap::Ranges([65_536..69_632, 1 << 20..(1 << 20) + 4096].into())
    );
    assert!(read(&sparse).unwrap() == fs::read(path("sparse")).unwrap());
    let hole = content(&tree, b"hole");
    assert_eq!(hole.size_bytes(), 1 << 40);
    assert_eq!(hole.data(), &DataMap::Ranges(DataRanges::default()));
    for (name, bytes) in [(&b"dense"[..], vec![3; 10_000]), (b"empty", Vec::new())] {
        let content = content(&tree, name);
        assert_eq!(content.data(), &DataMap::Whole);
        assert_eq!(read(&content).unwrap(), bytes);
    }
}

/// `st_blocks` alone would hide these: blocks past the end make up for a hole, and a block that is
/// preallocated was never written.
#[test]
fn a_hole_is_found_in_a_file_with_blocks_enough() {
    let dir = tempdir();
    let file = File::create(dir.path().join("file")).unwrap();
    file.write_all_at(&[1; 4096], 65_536).unwrap();
    fallocate(&file, FallocateFlags::KEEP_SIZE, 69_632, 1 << 20).unwrap();
    file.sync_all().unwrap();
    let host = file.metadata().unwrap();
    assert!(host.blocks() * 512 >= host.len());
    let data = content(&declare(dir.path()), b"file").data().clone();
    let end_of_hole = 65_536;
    assert_eq!(
        data,
        DataMap::Ranges(std::iter::once(end_of_hole..host.len()).collect())
    );
    for length in [100, 4096, 20_000] {
        let file = File::create(dir.path().join("preallocated")).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, length).unwrap();
        file.sync_all().unwrap();
        let host = file.metadata().unwrap();
        assert!(host.blocks() * 512 >= host.len() && host.len() == length);
        let data = content(&declare(dir.path()), b"preallocated")
            .data()
            .clone();
        assert_eq!(data, DataMap::Ranges(DataRanges::default()), "{length}");
    }
}

#[test]
fn hard_links_of_every_type_lead_to_one_node() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("a-file"), "once").unwrap();
    symlink("target", path("a-link")).unwrap();
    fifo(&path("a-fifo"));
    for name in ["file", "link", "fifo"] {
        for other in ["d/", "z-"] {
            let (first, other) = (format!("a-{name}"), format!("{other}{name}"));
            fs::hard_link(path(&first), path(&other)).unwrap();
        }
    }
    let tree = declare(dir.path());
    assert_eq!(tree.len(), 5, "the root, a directory and three files");
    for name in ["file", "link", "fifo"] {
        let node = find(&tree, format!("a-{name}").as_bytes());
        assert_eq!(tree.node(node).names, 3);
        assert_eq!(node, find(&tree, format!("d/{name}").as_bytes()));
        assert_eq!(node, find(&tree, format!("z-{name}").as_bytes()));
    }
}

// In the kernel's version 2: owner rwx, user 1000 r--, group, mask and others r--.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\
    \x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
// Version 2, effective, with cap_net_raw permitted.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

type Attributes = &'static [(&'static str, &'static [u8])];

/// Names of files, and the attributes they have by name and value.
const ATTRIBUTES: [(&str, Attributes); 4] = [
    (".", &[("user.root", b"r")]),
    (
        "dir",
        &[
            ("system.posix_acl_access", ACL),
            ("system.posix_acl_default", ACL),
        ],
    ),
    (
        "file",
        &[
            ("security.capability", CAPABILITY),
            ("trusted.note", b"\0\xff"),
            ("user.empty", b""),
            ("user.note", &[b'v'; 3000]),
        ],
    ),
    ("link", &[("trusted.link", b"l")]),
];

#[test]
fn attributes_of_every_namespace_are_kept() {
    if !ready(&[Need::Root]) {
        return;
    }
    let dir = tempdir();
    fs::create_dir(dir.path().join("dir")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    symlink("target", dir.path().join("link")).unwrap();
    for (name, set) in ATTRIBUTES {
        for (attribute, value) in set {
            xattr::set(dir.path().join(name), attribute, value).unwrap();
        }
    }
    let tree = declare(dir.path());
    for (name, set) in ATTRIBUTES {
        let node = match name {
            "." => NodeId::ROOT,
            _ => find(&tree, name.as_bytes()),
        };
        let set: Vec<(String, Vec<u8>)> = set
            .iter()
            .map(|(attribute, value)| ((*attribute).to_owned(), value.to_vec()))
            .collect();
        assert_eq!(xattrs(&tree, node), set, "{name}");
    }
    let (tree, _) = declare_with(Directory::new(dir.path()).keep_xattrs(false)).unwrap();
    for (id, _) in tree.nodes() {
        assert!(tree.xattrs(id).is_empty());
    }
}

#[test]
fn flags_of_chattr_carry_over_but_not_extents() {
    if !ready(&[Need::Root]) {
        return;
    }
    let dir = tempdir();
    fs::create_dir(dir.path().join("dir")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let set = |name: &str, flags: IFlags| {
        let file = File::open(dir.path().join(name)).unwrap();
        ioctl_setflags(file, flags)
    };
    // tmpfs has no flags that are of directories only.
    let of_directories = IFlags::DIRSYNC | IFlags::TOPDIR;
    let given = match set("dir", of_directories | IFlags::NODUMP) {
        Ok(()) => 0x3_0040,
        Err(_) => set("dir", IFlags::NODUMP).map(|()| 0x40).unwrap(),
    };
    let of_file = IFlags::NOATIME | IFlags::APPEND | IFlags::IMMUTABLE;
    set("file", of_file).unwrap();
    let declared = declare_with(Directory::new(dir.path()));
    set("file", IFlags::empty()).unwrap();
    let (tree, _) = declared.unwrap();
    let flags = |name| tree.node(find(&tree, name)).metadata.flags.bits();
    assert_eq!(flags(b"dir"), given);
    assert_eq!(flags(b"file"), 0xb0);
}

#[test]
fn each_flag_of_chattr_carries_over_by_itself() {
    if !ready(&[Need::Root]) {
        return;
    }
    let dir = tempdir();
    fs::create_dir(dir.path().join("dir")).unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    for (name, kept) in [("file", FILE_FLAGS), ("dir", DIRECTORY_FLAGS)] {
        let open = || File::open(dir.path().join(name)).unwrap();
        let before = ioctl_getflags(open()).unwrap();
        let mut carried = 0;
        for bit in (0..32).map(|bit| 1 << bit).filter(|bit| bit & kept != 0) {
            let flag = IFlags::from_bits_retain(bit);
            // No filesystem has all of them, and some take one without keeping it.
            if ioctl_setflags(open(), before | flag).is_err() {
                continue;
            }
            let given = ioctl_getflags(open()).unwrap();
            let declared = declare_with(Directory::new(dir.path()));
            ioctl_setflags(open(), before).unwrap();
            let (tree, _) = declared.unwrap();
            let flags = tree
                .node(find(&tree, name.as_bytes()))
                .metadata
                .flags
                .bits();
            assert_eq!(flags, given.bits() & kept, "{name}: {bit:#x}");
            carried += u32::from(flags & bit != 0);
        }
        assert!(carried >= 3, "{name}: only {carried} flags");
    }
}

#[test]
fn times_are_clamped_to_the_latest() {
    let dir = tempdir();
    for (name, atime, mtime) in [
        ("before", at(-5, 7), at(999, 999_999_999)),
        ("after", at(1000, 1), at(4_000_000_000, 5)),
    ] {
        fs::write(dir.path().join(name), "").unwrap();
        touch(&dir.path().join(name), atime, mtime);
    }
    let source = Directory::new(dir.path()).latest_time(Some(1000));
    let (tree, declared) = declare_with(source).unwrap();
    let times = |name| {
        let metadata = tree.node(find(&tree, name)).metadata;
        [metadata.atime, metadata.mtime, metadata.ctime]
    };
    let latest = at(1000, 0);
    assert_eq!(times(b"before"), [at(-5, 7), at(999, 999_999_999), latest]);
    assert_eq!(times(b"after"), [latest; 3]);
    assert_eq!(declared.root.unwrap().mtime, latest);
}

#[test]
fn the_roots_own_metadata_is_handed_back() {
    let dir = tempdir();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o2750)).unwrap();
    touch(dir.path(), at(1, 2), at(3, 4));
    let host = fs::metadata(dir.path()).unwrap();
    let (tree, declared) = declare_with(Directory::new(dir.path())).unwrap();
    assert_eq!(declared.root, Some(metadata_of(&host)));
    assert_eq!(tree.node(NodeId::ROOT).metadata, Metadata::default());
}

#[test]
fn a_source_can_be_declared_below_the_root() {
    let dir = tempdir();
    fs::write(dir.path().join("file"), "below").unwrap();
    let mut tree = Tree::with_root(Metadata::default());
    let opt = tree
        .directory_at(NodeId::ROOT, b"opt", Metadata::default())
        .unwrap();
    Directory::new(dir.path()).declare(&mut tree, opt).unwrap();
    tree.finish().unwrap();
    assert_eq!(read(&content(&tree, b"opt/file")).unwrap(), b"below");
}

#[test]
fn a_directory_over_another_replaces_and_merges() {
    let (lower, upper) = (tempdir(), tempdir());
    let mode = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for (at, mark) in [(&lower, "lower"), (&upper, "upper")] {
        let at = at.path();
        fs::create_dir(at.join("both")).unwrap();
        fs::write(at.join("both").join(mark), mark).unwrap();
        fs::write(at.join("file"), mark).unwrap();
    }
    fs::hard_link(lower.path().join("file"), lower.path().join("link")).unwrap();
    fs::create_dir(lower.path().join("directory")).unwrap();
    fs::write(lower.path().join("directory/lost"), "").unwrap();
    fs::write(upper.path().join("directory"), "").unwrap();
    fs::write(lower.path().join("plain"), "").unwrap();
    fs::create_dir(upper.path().join("plain")).unwrap();
    mode(upper.path().join("both"), 0o711).unwrap();

    let mut tree = Tree::with_root(Metadata::default());
    let mut first = Directory::new(lower.path());
    first.declare(&mut tree, NodeId::ROOT).unwrap();
    tree.overlay().unwrap();
    let mut second = Directory::new(upper.path());
    second.declare(&mut tree, NodeId::ROOT).unwrap();
    tree.finish().unwrap();

    let text = |path: &[u8]| read(&content(&tree, path)).unwrap();
    assert_eq!(text(b"both/lower"), b"lower");
    assert_eq!(text(b"both/upper"), b"upper");
    assert_eq!(text(b"file"), b"upper");
    assert_eq!(text(b"link"), b"lower");
    assert_eq!(tree.node(find(&tree, b"link")).names, 1);
    let both = tree.node(find(&tree, b"both"));
    assert_eq!(both.metadata.permissions, 0o711);
    assert!(matches!(
        tree.node(find(&tree, b"directory")).kind,
        Kind::File(_)
    ));
    assert!(tree.entries(find(&tree, b"plain")).is_empty());
    assert_eq!(tree.len(), 8);
}

#[test]
fn the_source_stays_as_it_was() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("d/file"), "content").unwrap();
    // Read before it was written: even relatime would note the next reading.
    let old = at(1_000_000_000, 123_456_789);
    for name in ["d/file", "d", "."] {
        touch(&path(name), old, at(1_100_000_000, 0));
    }
    for _ in 0..2 {
        let (tree, declared) = declare_with(Directory::new(dir.path())).unwrap();
        read(&content(&tree, b"d/file")).unwrap();
        assert_eq!(declared.root.unwrap().atime, old);
        for name in [&b"d/file"[..], b"d"] {
            assert_eq!(tree.node(find(&tree, name)).metadata.atime, old);
        }
    }
}

#[test]
fn the_image_inside_the_tree_is_left_out_and_said() {
    let dir = tempdir();
    let image = dir.path().join("out/disk.img");
    fs::create_dir(dir.path().join("out")).unwrap();
    fs::write(&image, "old image").unwrap();
    fs::write(dir.path().join("kept"), "").unwrap();
    let host = fs::metadata(&image).unwrap();
    let source = Directory::new(dir.path()).exclude_inode(host.dev(), host.ino());
    let (tree, declared) = declare_with(source).unwrap();
    assert_eq!(tree.len(), 3);
    let path = image.as_os_str().as_bytes().to_vec();
    assert_eq!(declared.warnings, [SourceWarning::LeftOut { path }]);
    let said = declared.warnings[0].to_string();
    assert_eq!(said, format!("{} is left out", image.display()));
}

#[test]
fn paths_longer_than_the_kernel_takes_are_walked_and_read() {
    let dir = tempdir();
    let name = "n".repeat(120);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, dir.path(), flags, Mode::empty()).unwrap();
    for _ in 0..70 {
        mkdirat(&at, &*name, Mode::RWXU).unwrap();
        at = openat(&at, &*name, flags, Mode::empty()).unwrap();
    }
    let file = openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    File::from(file).write_all(b"deep").unwrap();
    symlinkat("deeper", &at, "link").unwrap();
    fs::write(dir.path().join("z"), "flat").unwrap();

    let tree = declare(dir.path());
    let path = [name.as_str()].repeat(70).join("/") + "/file";
    assert!(path.len() > 8000);
    let deep = content(&tree, path.as_bytes());
    for _ in 0..2 {
        assert_eq!(read(&deep).unwrap(), b"deep");
        assert_eq!(read(&content(&tree, b"z")).unwrap(), b"flat");
    }
    assert_eq!(
        deep.describe(),
        dir.path().join(path).as_os_str().as_bytes()
    );
}

#[test]
fn files_of_a_deep_tree_are_found_in_any_order() {
    const DEPTH: usize = 300;
    let dir = tempdir();
    let at = |depth: usize| dir.path().join("d/".repeat(depth));
    fs::create_dir_all(at(DEPTH)).unwrap();
    for depth in 0..=DEPTH {
        for name in ["a", "z"] {
            fs::write(at(depth).join(name), format!("{name}{depth}")).unwrap();
        }
    }
    let tree = declare(dir.path());
    let mut files = Vec::new();
    let mut node = NodeId::ROOT;
    for depth in 0..=DEPTH {
        for entry in tree.entries(node) {
            match &tree.node(entry.node).kind {
                Kind::File(content) => {
                    let bytes = [entry.name, depth.to_string().as_bytes()].concat();
                    files.push((content.clone(), bytes));
                }
                _ => node = entry.node,
            }
        }
    }
    assert_eq!(files.len(), 2 * (DEPTH + 1));
    let forwards: Vec<usize> = (0..files.len()).collect();
    let backwards = forwards.iter().rev().copied().collect();
    // Up and down by turns, as threads do, and in long jumps.
    let turns = (0..DEPTH)
        .flat_map(|step| [step, 2 * DEPTH - step])
        .collect();
    let jumps = forwards
        .iter()
        .map(|step| step * 257 % files.len())
        .collect();
    for order in [&forwards, &backwards, &turns, &jumps] {
        for place in order {
            let (content, bytes) = &files[*place];
            assert_eq!(read(content).unwrap(), *bytes);
        }
    }
    // What is above a directory that was moved is not what it was found in.
    let moved = 150;
    read(&files[2 * moved].0).unwrap();
    fs::rename(at(moved), dir.path().join("moved")).unwrap();
    for (content, bytes) in files[..2 * moved].iter().rev() {
        assert_eq!(read(content).unwrap(), *bytes);
    }
}

/// Directories in a directory, with few and with many names, and one far down.
fn make_bushy(top: &Path) {
    for number in 0..60 {
        let within = top.join(format!("d{number:02}"));
        fs::create_dir(&within).unwrap();
        for file in 0..number {
            fs::write(within.join(format!("f{file}")), format!("{number} {file}")).unwrap();
        }
        match number {
            0 => fifo(&within.join("link")),
            _ => fs::hard_link(top.join("d00/link"), within.join("link")).unwrap(),
        }
        fs::create_dir_all(within.join("x/y/z")).unwrap();
        fs::write(within.join("x/y/z/last"), "last").unwrap();
    }
    fs::create_dir(top.join("many")).unwrap();
    for file in 0..1500 {
        fs::write(top.join(format!("many/{file}")), "").unwrap();
    }
}

#[test]
fn the_tree_is_the_same_for_any_number_of_threads() {
    let dir = tempdir();
    make_bushy(dir.path());
    let declared = |threads| {
        let threads = NonZero::new(threads).unwrap();
        let source = Directory::new(dir.path()).threads(threads);
        let (tree, _) = declare_with(source).unwrap();
        format!("{:?}", tree.nodes().collect::<Vec<_>>())
    };
    let alone = declared(1);
    for threads in [2, 3, 8] {
        assert!(alone == declared(threads), "{threads} threads");
    }
}

#[test]
fn several_threads_read_at_once() {
    let dir = tempdir();
    let files: Vec<String> = (0..200)
        .map(|number| format!("d{}/f{number}", number % 50))
        .collect();
    for file in &files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    let tree = &declare(dir.path());
    thread::scope(|scope| {
        for worker in 0..4 {
            let files = files.iter().skip(worker).step_by(2);
            scope.spawn(move || {
                for file in files {
                    let content = content(tree, file.as_bytes());
                    assert_eq!(read(&content).unwrap(), file.as_bytes());
                }
            });
        }
    });
}

#[test]
fn mount_points_inside_are_crossed() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    if !ready(&[Need::Root]) {
        return;
    }
    let dir = tempdir();
    let inside = dir.path().join("mnt");
    fs::create_dir(&inside).unwrap();
    let flags = MountFlags::empty();
    mount("none", &inside, "tmpfs", flags, None::<&CStr>).unwrap();
    fs::write(inside.join("file"), "on another device").unwrap();
    let read = declare_with(Directory::new(dir.path()))
        .map(|(tree, _)| read(&content(&tree, b"mnt/file")).unwrap());
    unmount(&inside, UnmountFlags::DETACH).unwrap();
    assert_eq!(read.unwrap(), b"on another device");
}

#[test]
fn a_root_that_cannot_be_read_is_named() {
    let dir = tempdir();
    let missing = dir.path().join("käse\\missing");
    let shown = format!("{}/käse\\\\missing", dir.path().display());
    assert_eq!(
        refusal(&missing),
        format!("cannot read {shown}: No such file or directory")
    );
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(
        refusal(&file),
        format!("cannot read {}: Not a directory", file.display())
    );
    let error = declare_with(Directory::new(&missing)).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    let cause = cause.downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::NotFound);
}

type Change = fn(&Path);

/// What may be done to a file between its declaration and its reading.
const CHANGES: [(&str, Change); 9] = [
    ("rewritten with the times it had", |file| {
        let host = fs::metadata(file).unwrap();
        let before = metadata_of(&host);
        fs::write(file, "CONTENT").unwrap();
        touch(file, before.atime, before.mtime);
    }),
    ("cut short", |file| {
        let file = File::options().write(true).open(file).unwrap();
        file.set_len(3).unwrap();
    }),
    ("grown", |file| {
        let mut file = File::options().append(true).open(file).unwrap();
        file.write_all(b"!").unwrap();
    }),
    ("replaced by another", |file| {
        let other = file.with_extension("other");
        fs::write(&other, "content").unwrap();
        fs::rename(other, file).unwrap();
    }),
    ("replaced by a link", |file| {
        let moved = file.with_extension("moved");
        fs::rename(file, &moved).unwrap();
        symlink(moved, file).unwrap();
    }),
    ("replaced by a pipe", |file| {
        fs::remove_file(file).unwrap();
        fifo(file);
    }),
    ("replaced by a directory", |file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    }),
    ("replaced by a socket", |file| {
        fs::remove_file(file).unwrap();
        std::os::unix::net::UnixListener::bind(file).unwrap();
    }),
    ("removed", |file| fs::remove_file(file).unwrap()),
];

#[test]
fn a_file_that_changed_is_refused() {
    for (what, change) in CHANGES {
        let dir = tempdir();
        let file = dir.path().join("file");
        fs::write(&file, "content").unwrap();
        let tree = declare(dir.path());
        let content = content(&tree, b"file");
        assert_eq!(read(&content).unwrap(), b"content");
        // Longer than a tick of the clock that stamps files.
        thread::sleep(std::time::Duration::from_millis(20));
        change(&file);
        let error = read(&content).expect_err(what);
        assert_eq!(error.to_string(), "changed while it was read", "{what}");
        assert_eq!(content.describe(), file.as_os_str().as_bytes());
    }
}

#[test]
fn a_directory_that_was_replaced_is_refused() {
    let dir = tempdir();
    let inner = dir.path().join("d");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("file"), "content").unwrap();
    // Enough directories that the first is open no more, and nobody else to look at them.
    for number in 0..40 {
        fs::create_dir(dir.path().join(format!("e{number}"))).unwrap();
    }
    let (tree, _) =
        declare_with(Directory::new(dir.path()).threads(NonZero::<usize>::MIN)).unwrap();
    fs::rename(&inner, dir.path().join("moved")).unwrap();
    symlink("moved", &inner).unwrap();
    let error = read(&content(&tree, b"d/file")).unwrap_err();
    assert_eq!(error.to_string(), "changed while it was read");
}

#[test]
fn a_file_that_changes_while_it_is_open_is_refused() {
    let dir = tempdir();
    let file = dir.path().join("file");
    fs::write(&file, "content").unwrap();
    let content = content(&declare(dir.path()), b"file");
    let mut reader = content.open().unwrap();
    let mut bytes = [0; 7];
    reader.read_exact_at(0, &mut bytes).unwrap();
    reader.finish().unwrap();
    let cut = File::options().write(true).open(&file).unwrap();
    cut.set_len(3).unwrap();
    let error = reader.read_exact_at(0, &mut bytes).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(error.to_string(), "changed while it was read");
    let error = reader.finish().unwrap_err();
    assert_eq!(error.to_string(), "changed while it was read");
}

/// No test of its own: what [`refusal_for_an_ordinary_user`] runs as one.
#[test]
fn declare_for_an_ordinary_user() {
    if let Some(path) = std::env::var_os("MKE4FS_TEST_DECLARE") {
        writeln!(io::stdout(), "[{}]", refusal(Path::new(&path))).unwrap();
    }
}

fn refusal_for_an_ordinary_user(path: &Path) -> String {
    if !is_root() {
        return refusal(path);
    }
    // The test itself may lie where only root can reach.
    let dir = tempdir();
    let copy = dir.path().join("test");
    // By a program: what this process has open for writing, a child of another thread may hold.
    let copied = Command::new("cp")
        .arg(std::env::current_exe().unwrap())
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    let output = Command::new(&copy)
        .args([
            &crate::test_name(module_path!(), "declare_for_an_ordinary_user"),
            "--exact",
            "--nocapture",
        ])
        .env("MKE4FS_TEST_DECLARE", path)
        .current_dir("/")
        .uid(1000)
        .gid(1000)
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let (_, refusal) = output.split_once('[').expect(&output);
    refusal.split_once(']').expect(&output).0.to_owned()
}

/// The first unreadable file in the order of the tree, and the files around it.
const UNREADABLE: [(&[u8], &str, &[&str]); 4] = [
    (b"a/secret", "a/secret", &["a/b", "a0", "b"]),
    (b"b", "b", &["a/b", "c"]),
    (b"empty", "empty", &["a/b", "f"]),
    (b"k\xe4se", "k\\xe4se", &["a"]),
];

#[test]
fn unreadable_files_are_named() {
    for (name, shown, others) in UNREADABLE {
        let dir = tempdir();
        let denied = dir.path().join(OsStr::from_bytes(name));
        let later = dir.path().join("z");
        let others = others.iter().map(|name| dir.path().join(name));
        for file in others.chain([denied.clone(), later.clone()]) {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, if shown == "empty" { "" } else { "content" }).unwrap();
        }
        for file in [denied, later] {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        }
        assert_eq!(
            refusal_for_an_ordinary_user(dir.path()),
            format!(
                "cannot read {}/{shown}: Permission denied",
                dir.path().display()
            )
        );
    }
}

#[test]
fn of_several_unreadable_files_the_first_is_named() {
    if !ready(&[Need::Root]) {
        return;
    }
    let dir = tempdir();
    make_bushy(dir.path());
    for file in ["d20/f7", "d20/x/y/z/last", "d44/f0", "many/99"] {
        let unreadable = fs::Permissions::from_mode(0o000);
        fs::set_permissions(dir.path().join(file), unreadable).unwrap();
    }
    let first = dir.path().join("d20/f7");
    for _ in 0..4 {
        assert_eq!(
            refusal_for_an_ordinary_user(dir.path()),
            format!("cannot read {}: Permission denied", first.display())
        );
    }
}

#[test]
fn unreadable_directories_are_named() {
    for mode in [0o000, 0o311] {
        let dir = tempdir();
        let denied = dir.path().join("d");
        fs::create_dir(&denied).unwrap();
        fs::write(denied.join("file"), "").unwrap();
        fs::set_permissions(&denied, fs::Permissions::from_mode(mode)).unwrap();
        let refusal = refusal_for_an_ordinary_user(dir.path());
        fs::set_permissions(&denied, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(
            refusal,
            format!("cannot read {}: Permission denied", denied.display())
        );
    }
}
