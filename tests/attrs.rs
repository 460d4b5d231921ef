//! Given trees and images that differ from a snapshot in one planted attribute, proves that the
//! attribute oracle names that difference and no other; never runs the formatter.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

use common::attrs::{
    Difference, Entry, Field, LostFound, Options, ROOT, RootRule, Snapshot, Time, TimeRule,
};
use common::mount::{Scratch, mount_ro, mount_rw};
use common::tools::{self, Need, Result, Which, debugfs_write, ready};
use common::torture::{self, AclTag};
use rustix::fs::{FallocateFlags, FileType, IFlags};
use tempfile::NamedTempFile;

const NEEDS: &[Need] = &[Need::Root, Need::E2fsprogs(Which::Reference)];

/// The size of the images that differences are planted in, in bytes.
const SMALL: u64 = 16 << 20;

/// One of each kind of file, for a plant to change.
fn build_small(dir: &Path) -> Result<()> {
    let file = dir.join("file");
    fs::write(&file, torture::pattern(10_000))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640))?;
    lchown(&file, Some(1), Some(2))?;
    xattr::set(&file, "user.a", b"1")?;
    fs::create_dir(dir.join("dir"))?;
    fs::write(dir.join("dir/inside"), "inside")?;
    fs::write(dir.join("pair-1"), "two names")?;
    fs::hard_link(dir.join("pair-1"), dir.join("pair-2"))?;
    symlink("target", dir.join("symlink"))?;
    torture::make_node(&dir.join("device"), FileType::CharacterDevice, (1, 3))?;
    torture::make_node(&dir.join("fifo"), FileType::Fifo, (0, 0))?;
    let sparse = File::create(dir.join("sparse"))?;
    sparse.set_len(65_536)?;
    sparse.write_all_at(&torture::pattern(4096), 8192)?;
    fs::write(dir.join("zeros"), [0; 65_536])?;
    fs::write(dir.join("acl"), "an ACL")?;
    let named = [
        (AclTag::Owner, 6),
        (AclTag::User(1000), 4),
        (AclTag::OwningGroup, 4),
        (AclTag::Mask, 4),
        (AclTag::Other, 4),
    ];
    xattr::set(
        dir.join("acl"),
        "system.posix_acl_access",
        &torture::acl(&named),
    )?;
    torture::set_times(&file, (1_000_000_000, 500), (1_000_000_000, 600))?;
    fs::write(dir.join("flagged"), "not to be dumped")?;
    torture::set_flags(&dir.join("flagged"), IFlags::NODUMP)
}

/// An image of the small tree, and the snapshot of that tree as the image has it.
fn small() -> Result<(NamedTempFile, Snapshot)> {
    let scratch = Scratch::new(SMALL)?;
    build_small(scratch.path())?;
    let snapshot = Snapshot::take(scratch.path())?;
    Ok((scratch.into_image(), snapshot))
}

/// How a copy of the small image comes to differ.
enum Plant {
    /// debugfs changes one number, and no time along with it.
    Debugfs(String),
    /// The mounted copy is changed; the kernel notes that in mtime and ctime, which are ignored.
    Mounted(fn(&Path) -> Result<()>),
}

/// What `plant` makes compare report, as (path, field).
fn planted(base: &(NamedTempFile, Snapshot), plant: &Plant) -> Result<Vec<(String, Field)>> {
    let (image, snapshot) = base;
    let copy = NamedTempFile::new()?;
    fs::copy(image.path(), copy.path())?;
    let mut options = Options::default();
    match plant {
        Plant::Debugfs(request) => drop(debugfs_write(copy.path(), &[request])?),
        Plant::Mounted(change) => {
            options.ignore.extend([Field::Mtime, Field::Ctime]);
            mount_rw(copy.path(), change)??;
        }
    }
    let found = mount_ro(copy.path(), |dir| snapshot.compare(dir, &options))??;
    Ok(found
        .into_iter()
        .map(|it| (String::from_utf8_lossy(&it.path).into(), it.field))
        .collect())
}

/// What the field `*_extra` of an inode holds after one nanosecond more; the low two bits extend
/// the seconds.
fn one_nanosecond_more(time: Time) -> u32 {
    assert!(
        time.seconds < 1 << 31,
        "the test's clock is past 2038: set the epoch bits here"
    );
    (time.nanoseconds + 1) << 2
}

/// A request to debugfs, and the one path and field it spoils.
fn plants_by_debugfs(file: &Entry) -> Vec<(String, &'static str, &'static [Field])> {
    use Field::{
        Acl, Atime, Content, Ctime, Extra, Flags, Gid, Missing, Mode, Mtime, Nlink, Rdev, Size,
        Target, Type, Uid, Xattr,
    };
    let sif = |request: &str| format!("set_inode_field {request}");
    let extra = |field, time| sif(&format!("file {field}_extra {}", one_nanosecond_more(time)));
    vec![
        (sif("fifo mode 0140640"), "fifo", &[Type]),
        (sif("file mode 0104640"), "file", &[Mode]),
        (sif("file mode 0102640"), "file", &[Mode]),
        (sif("file mode 0101640"), "file", &[Mode]),
        (sif("file mode 0100641"), "file", &[Mode]),
        (sif("dir mode 0041755"), "dir", &[Mode]),
        (sif("file uid 65537"), "file", &[Uid]),
        (sif("file gid 65538"), "file", &[Gid]),
        (sif("file size 10001"), "file", &[Size, Content]),
        (sif("file links_count 2"), "file", &[Nlink]),
        (sif("dir links_count 3"), "dir", &[Nlink]),
        (sif("device block[0] 0x104"), "device", &[Rdev]),
        (extra("atime", file.atime), "file", &[Atime]),
        (extra("mtime", file.mtime), "file", &[Mtime]),
        (extra("ctime", file.ctime), "file", &[Ctime]),
        (sif("symlink block[0] 0x67726154"), "symlink", &[Target]),
        ("zap_block -f file -p 90 1".into(), "file", &[Content]),
        ("ea_set file user.a 2".into(), "file", &[Xattr]),
        ("ea_set file user.b 1".into(), "file", &[Xattr]),
        ("ea_rm file user.a".into(), "file", &[Xattr]),
        ("ea_set / user.a 1".into(), ".", &[Xattr]),
        ("ea_rm acl system.posix_acl_access".into(), "acl", &[Acl]),
        (sif("file flags 0x80040"), "file", &[Flags]),
        (sif("flagged flags 0x80000"), "flagged", &[Flags]),
        ("rm dir/inside".into(), "dir/inside", &[Missing]),
        ("mknod extra p".into(), "extra", &[Extra]),
    ]
}

#[test]
fn each_planted_difference_is_named_alone() {
    if !ready(NEEDS) {
        return;
    }
    let base = small().expect("the small image is built");
    let file = &base.1.entries[b"file".as_slice()];
    for (request, path, fields) in plants_by_debugfs(file) {
        let expected: Vec<_> = fields
            .iter()
            .map(|field| (path.to_owned(), *field))
            .collect();
        let found = planted(&base, &Plant::Debugfs(request.clone()));
        let found = found.unwrap_or_else(|error| panic!("{request}: {error}"));
        assert_eq!(found, expected, "{request}");
    }
}

#[test]
fn holes_and_hard_links_are_compared() {
    if !ready(NEEDS) {
        return;
    }
    let base = small().expect("the small image is built");
    let report = |change| planted(&base, &Plant::Mounted(change)).expect("the change is made");

    let filled = report(|dir| {
        let sparse = File::options().write(true).open(dir.join("sparse"))?;
        Ok(sparse.write_all_at(&[0; 4096], 0)?)
    });
    assert_eq!(filled, [("sparse".into(), Field::Holes)]);

    let punched = report(|dir| {
        let zeros = File::options().write(true).open(dir.join("zeros"))?;
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&zeros, punch, 4096, 4096)?)
    });
    assert_eq!(punched, [("zeros".into(), Field::Holes)]);

    let split = report(|dir| {
        let (first, second) = (dir.join("pair-1"), dir.join("pair-2"));
        fs::remove_file(&second)?;
        tools::run(Command::new("cp").arg("-a").arg(first).arg(second)).map(drop)
    });
    let both = |path: &str| [(path.into(), Field::Nlink), (path.into(), Field::Links)];
    assert_eq!(split, [both("pair-1"), both("pair-2")].concat());

    let joined = report(|dir| {
        fs::remove_file(dir.join("pair-2"))?;
        fs::hard_link(dir.join("file"), dir.join("pair-2"))?;
        Ok(())
    });
    let of_pair_2 = joined.iter().filter(|(path, _)| path == "pair-2");
    let fields: BTreeSet<_> = of_pair_2.map(|(_, field)| *field).collect();
    assert!(
        fields.contains(&Field::Links) && fields.contains(&Field::Content),
        "{joined:?}"
    );
}

#[test]
fn a_copy_of_the_image_does_not_differ() {
    if !ready(NEEDS) {
        return;
    }
    let (image, snapshot) = small().expect("the small image is built");
    let options = Options {
        root: RootRule::Kept,
        lost_found: LostFound::Required,
        ..Options::default()
    };
    let differences = mount_ro(image.path(), |dir| snapshot.compare(dir, &options));
    assert_eq!(
        differences
            .expect("the image mounts")
            .expect("it can be read"),
        []
    );

    let mut text = Vec::new();
    snapshot.write_to(&mut text).expect("memory takes the text");
    let read = Snapshot::read_from(&mut BufReader::new(&text[..])).expect("the text is sound");
    assert_eq!(read, snapshot);
}

#[test]
fn the_roots_own_attributes_are_compared_when_kept() {
    if !ready(NEEDS) {
        return;
    }
    let (image, snapshot) = small().expect("the small image is built");
    let requests = ["set_inode_field / mode 040700", "set_inode_field / uid 7"];
    debugfs_write(image.path(), &requests).expect("debugfs writes");
    let differences = |root| {
        let options = Options {
            root,
            ..Options::default()
        };
        let found = mount_ro(image.path(), |dir| snapshot.compare(dir, &options));
        let found = found.expect("the image mounts").expect("it can be read");
        found
            .into_iter()
            .map(|it| (it.path, it.field))
            .collect::<Vec<_>>()
    };
    assert_eq!(differences(RootRule::Made), []);
    let expected = [(ROOT.to_vec(), Field::Mode), (ROOT.to_vec(), Field::Uid)];
    assert_eq!(differences(RootRule::Kept), expected);
}

#[test]
fn taking_a_snapshot_changes_nothing() {
    if !ready(NEEDS) {
        return;
    }
    // Unlike a Scratch, this directory's filesystem may keep access times.
    let dir = tempfile::tempdir().expect("a directory for the tree");
    build_small(dir.path()).expect("the tree is built");
    let old = (1_000_000_000, 5);
    for name in ["symlink", "file", "dir"] {
        torture::set_times(&dir.path().join(name), old, old).expect("the times are set");
    }
    let first = Snapshot::take(dir.path()).expect("the first snapshot");
    let second = Snapshot::take(dir.path()).expect("the second snapshot");
    assert_eq!(first, second);
    let symlink = &first.entries[b"symlink".as_slice()];
    let expected = Time {
        seconds: old.0,
        nanoseconds: old.1,
    };
    assert_eq!(symlink.atime, expected);
}

#[test]
fn the_command_exits_by_what_it_finds() {
    if !ready(NEEDS) {
        return;
    }
    let attrs = |arguments: &[&Path], verb| {
        let mut command = Command::new(env!("CARGO"));
        command.args([
            "run",
            "--quiet",
            "--offline",
            "--profile",
            "test",
            "--example",
            "attrs",
            "--",
            verb,
        ]);
        command
            .args(arguments)
            .output()
            .expect("cargo runs the example")
    };
    let dir = tempfile::tempdir().expect("a directory for the tree");
    fs::write(dir.path().join("file\n"), "content").expect("a file is written");
    let snapshot = attrs(&[dir.path()], "snapshot");
    assert!(snapshot.status.success(), "{snapshot:?}");
    let mut file = NamedTempFile::new().expect("a file for the snapshot");
    file.write_all(&snapshot.stdout)
        .expect("the snapshot is written");

    let same = attrs(&[file.path(), dir.path()], "compare");
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    fs::write(dir.path().join("file\n"), "CONTENT").expect("the file is changed");
    let changed = attrs(&[file.path(), dir.path()], "compare");
    assert_eq!(changed.status.code(), Some(1), "{changed:?}");
    let said = String::from_utf8_lossy(&changed.stdout);
    assert!(said.contains("file\\x0a: content: expected "), "{said}");
    let missing = attrs(&[Path::new("no such file"), dir.path()], "compare");
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
}

/// A tree of one file and one directory, as a snapshot to alter by hand.
fn plain() -> Snapshot {
    let dir = tempfile::tempdir().expect("a directory for the tree");
    fs::write(dir.path().join("file"), "content").expect("a file is written");
    fs::create_dir(dir.path().join("dir")).expect("a directory is made");
    Snapshot::take(dir.path()).expect("a snapshot")
}

fn entry<'a>(snapshot: &'a mut Snapshot, path: &str) -> &'a mut Entry {
    snapshot
        .entries
        .get_mut(path.as_bytes())
        .expect("the path is in the tree")
}

fn differences(source: &Snapshot, image: &Snapshot, options: &Options) -> Vec<String> {
    let found = source.differences(image, options);
    found.iter().map(Difference::to_string).collect()
}

#[test]
fn times_are_expected_as_the_inode_holds_them() {
    let (mut source, options) = (plain(), Options::default());
    let old = Options {
        times: TimeRule::Seconds32Bit,
        ..Options::default()
    };
    let first = -(1_i64 << 31);
    // Source time, what 256-byte inodes hold of it, what 128-byte inodes hold of it.
    let cases = [
        ((5, 7), (5, 7), (5, 0)),
        ((-5, 7), (-5, 7), (-5, 0)),
        ((first - 1, 7), (first, 0), (first, 0)),
        ((1 << 31, 7), (1 << 31, 7), ((1 << 31) - 1, 0)),
        (
            (first + (1 << 34), 7),
            (first + (1 << 34) - 1, 0),
            ((1 << 31) - 1, 0),
        ),
    ];
    let time = |(seconds, nanoseconds)| Time {
        seconds,
        nanoseconds,
    };
    for (given, held, held_by_old) in cases {
        entry(&mut source, "file").mtime = time(given);
        for (options, held) in [(&options, held), (&old, held_by_old)] {
            let mut image = source.clone();
            let entries = image.entries.values_mut();
            if options.times == TimeRule::Seconds32Bit {
                entries.for_each(|entry| {
                    entry.atime.nanoseconds = 0;
                    entry.mtime.nanoseconds = 0;
                    entry.ctime.nanoseconds = 0;
                });
            }
            entry(&mut image, "file").mtime = time(held);
            assert_eq!(differences(&source, &image, options), [""; 0], "{given:?}");
            entry(&mut image, "file").mtime.nanoseconds += 1;
            assert_eq!(differences(&source, &image, options).len(), 1, "{given:?}");
        }
    }
}

#[test]
fn links_are_counted_inside_the_tree() {
    let (mut source, options) = (plain(), Options::default());
    let image = source.clone();
    entry(&mut source, "file").nlink = 5;
    assert_eq!(differences(&source, &image, &options), [""; 0]);
    // A directory of btrfs or overlayfs says 1.
    entry(&mut source, "dir").nlink = 1;
    assert_eq!(differences(&source, &image, &options), [""; 0]);
}

#[test]
fn past_65000_links_a_directory_counts_one() {
    let (mut source, options) = (plain(), Options::default());
    let directory = entry(&mut source, "dir").clone();
    for number in 0..64_998 {
        let path = format!("dir/{number}").into_bytes();
        source.entries.insert(path, directory.clone());
    }
    let mut image = source.clone();
    entry(&mut image, "dir").nlink = 65_000;
    assert_eq!(differences(&source, &image, &options), [""; 0]);
    for snapshot in [&mut source, &mut image] {
        snapshot
            .entries
            .insert(b"dir/more".to_vec(), directory.clone());
    }
    entry(&mut image, "dir").nlink = 65_001;
    let expected = "dir: nlink: expected 1, found 65001";
    assert_eq!(differences(&source, &image, &options), [expected]);
    entry(&mut image, "dir").nlink = 1;
    assert_eq!(differences(&source, &image, &options), [""; 0]);
}

#[test]
fn lost_found_is_the_formatters_own() {
    let source = plain();
    let required = Options {
        lost_found: LostFound::Required,
        ..Options::default()
    };
    assert_eq!(differences(&source, &source, &Options::default()), [""; 0]);
    let missing = "lost+found: missing: expected d, found nothing";
    assert_eq!(differences(&source, &source, &required), [missing]);

    let mut image = source.clone();
    let directory = entry(&mut image, "dir").clone();
    image.entries.insert(b"lost+found".to_vec(), directory);
    let nlink = ".: nlink: expected 4, found 3";
    assert_eq!(differences(&source, &image, &required), [nlink]);
    entry(&mut image, ".").nlink = 4;
    assert_eq!(differences(&source, &image, &required), [""; 0]);
    entry(&mut image, "lost+found").kind = entry(&mut image.clone(), "file").kind;
    entry(&mut image, ".").nlink = 3;
    let extra = "lost+found: extra: expected nothing, found f";
    assert_eq!(differences(&source, &image, &Options::default()), [extra]);
}

#[test]
fn a_hole_is_compared_in_blocks_of_the_image() {
    let mut source = plain();
    entry(&mut source, "file").data = vec![0..1024, 5120..6144];
    let mut image = source.clone();
    image.block_size = 4096;
    let whole = 0..8192;
    entry(&mut image, "file").data = vec![whole];
    assert_eq!(differences(&source, &image, &Options::default()), [""; 0]);
    image.block_size = 1024;
    let expected = "file: holes: expected data at [0-1024,5120-6144], found data at [0-8192]";
    assert_eq!(
        differences(&source, &image, &Options::default()),
        [expected]
    );
}

#[test]
fn ignored_fields_are_left_out() {
    let mut source = plain();
    let image = source.clone();
    entry(&mut source, "file").uid += 1;
    entry(&mut source, "file").gid += 1;
    let ignore = ["uid", "gid"].map(|name| name.parse().expect("a field's name"));
    let options = Options {
        ignore: ignore.into(),
        ..Options::default()
    };
    assert_eq!(differences(&source, &image, &options), [""; 0]);
    let refused = "owner"
        .parse::<Field>()
        .expect_err("there is no such field");
    assert!(
        refused.starts_with("owner: not one of missing extra type mode "),
        "{refused}"
    );
}

#[test]
fn text_that_is_no_snapshot_is_refused_by_line() {
    let refusal = |text: &str| {
        let read = Snapshot::read_from(&mut BufReader::new(text.as_bytes()));
        read.expect_err("it is no snapshot").to_string()
    };
    assert_eq!(refusal(""), "line 1: the header of a snapshot is missing");
    let header = "# mke4fs attributes, version 1, block size 4096\n";
    let broken = format!("{header}name\\xfg\ttype=f\n");
    assert_eq!(refusal(&broken), "line 2: this is no line of a snapshot");
}
