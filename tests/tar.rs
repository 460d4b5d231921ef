//! Given tar archives that GNU tar, bsdtar and Python write of a tree that is hard to keep, proves
//! that images of them hold every attribute that each form carries; hostile ones are
//! `tar_hostile.rs`'s.
//!
//! All images are made by the command as an ordinary user.

#![cfg(target_os = "linux")]

use crate::common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::attrs::{Kind, LostFound, Options, RootRule, Snapshot, Time};
use common::mount::{Scratch, mount_ro};
use common::tools::{self, Need, Result, Which, ready};
use common::{is_wide, making, torture};
use tempfile::TempDir;

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

/// Room for the torture tree on an ext4 of its own, in bytes.
const ROOMY: u64 = 1 << 30;

/// The ordinary user.
const USER: u32 = 1000;

/// Groups of the torture tree that even the oldest form carries the names and owners of.
const PLAIN: &[&str] = &["acls", "etc", "flags", "modes", "sizes"];
/// As [`PLAIN`], for ustar: devices and named pipes as well.
const USTAR: &[&str] = &["acls", "etc", "flags", "modes", "nodes", "sizes"];
/// All but files whose holes, made zeros, would be an archive of terabytes, and times that some round
/// or cannot write.
const COMMON: &[&str] = &[
    "acls",
    "deep",
    "directories",
    "etc",
    "flags",
    "links",
    "modes",
    "names",
    "nodes",
    "owners",
    "sizes",
    "symlinks",
    "xattrs",
];
/// Everything, the root included.
const ALL: &[&str] = &["."];

/// What GNU tar writes several times, and not as hard links.
const GNU_LINKS: &[&str] = &[
    "links/device-2",
    "links/elsewhere/device-3",
    "links/elsewhere/fifo-3",
    "links/fifo-2",
];
/// What bsdtar writes wrong in its best form: devices it has seen several times, owners in ACLs past 2^31 as 0, and
/// times just before 1970 as such of another second.
const BSDTAR_FAULTS: &[&str] = &[
    "acls/default-named",
    "acls/many",
    "links/device-2",
    "links/elsewhere/device-3",
    "times/directory-1901",
    "times/directory-1969",
    "times/directory-1970",
    "times/fifo-1901",
    "times/fifo-1969",
    "times/fifo-1970",
    "times/file-1901",
    "times/file-1969",
    "times/file-1970",
    "times/symlink-1901",
    "times/symlink-1969",
    "times/symlink-1970",
];
/// Devices whose numbers do not fit six digits, which bsdtar leaves out of older forms, and devices
/// that it writes several times.
const BSDTAR_DEVICES: &[&str] = &[
    "links/device-2",
    "links/elsewhere/device-3",
    "nodes/block-4095-1048575",
    "nodes/block-8-1048575",
    "nodes/char-4095-1048575",
    "nodes/char-8-1048575",
];
/// What Python writes several times, and not as hard links.
const PYTHON_LINKS: &[&str] = &[
    "links/device-2",
    "links/elsewhere/device-3",
    "links/elsewhere/fifo-3",
    "links/elsewhere/long-symlink-3",
    "links/elsewhere/symlink-3",
    "links/fifo-2",
    "links/long-symlink-2",
    "links/symlink-2",
];

/// Which times a form carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// When it was last written, in seconds.
    Seconds,
    /// When it was last written, as Python's numbers are.
    Float,
    /// When it was last written, in seconds or finer, as each entry needs other records or not.
    SomeFiner,
    /// When it was last read, written and changed, in nanoseconds.
    All,
}

/// What one program writes in one form.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    /// The program and its options, before the archive's path and the names.
    command: &'static [&'static str],
    groups: &'static [&'static str],
    /// What the program writes wrong, and is left out.
    without: &'static [&'static str],
    times: Times,
    /// Whether attributes and ACLs are in it.
    xattrs: bool,
    /// Whether chattr flags are in it.
    flags: bool,
}

const PYTHON: &str = "
import sys, tarfile
form, path, names = sys.argv[1], sys.argv[2], sys.argv[3:]
prefix = '--exclude='
without = {name[len(prefix):] for name in names if name.startswith(prefix)}
with tarfile.open(path, 'w', format=getattr(tarfile, form)) as archive:
    for name in names:
        if not name.startswith(prefix):
            archive.add(name, filter=lambda member: None if member.name in without else member)
";

const fn plain(
    name: &'static str,
    command: &'static [&'static str],
    (groups, without): (&'static [&'static str], &'static [&'static str]),
) -> Form {
    Form {
        name,
        command,
        groups,
        without,
        times: Times::Seconds,
        xattrs: false,
        flags: false,
    }
}

/// GNU tar's pax form with one of its ways to write holes.
macro_rules! gnu_pax {
    ($name:literal, $sparse:literal) => {
        Form {
            name: $name,
            command: &[
                "tar",
                "--format=pax",
                "--acls",
                "--xattrs",
                "--xattrs-include=*",
                "--sparse",
                $sparse,
                "-cf",
            ],
            groups: ALL,
            without: GNU_LINKS,
            times: Times::All,
            xattrs: true,
            flags: false,
        }
    };
}

const FORMS: &[Form] = &[
    plain("GNU tar, v7", &["tar", "--format=v7", "-cf"], (PLAIN, &[])),
    plain(
        "GNU tar, oldgnu",
        &["tar", "-S", "--format=oldgnu", "-cf"],
        (ALL, GNU_LINKS),
    ),
    plain(
        "GNU tar, gnu",
        &["tar", "-S", "--format=gnu", "-cf"],
        (ALL, GNU_LINKS),
    ),
    plain(
        "GNU tar, ustar",
        &["tar", "--format=ustar", "-cf"],
        (USTAR, &[]),
    ),
    gnu_pax!("GNU tar, pax, sparse 0.0", "--sparse-version=0.0"),
    gnu_pax!("GNU tar, pax, sparse 0.1", "--sparse-version=0.1"),
    gnu_pax!("GNU tar, pax, sparse 1.0", "--sparse-version=1.0"),
    Form {
        name: "bsdtar, pax",
        command: &[
            "bsdtar",
            "--format=pax",
            "--acls",
            "--xattrs",
            "--fflags",
            "-cf",
        ],
        groups: ALL,
        without: BSDTAR_FAULTS,
        times: Times::All,
        xattrs: true,
        flags: true,
    },
    Form {
        name: "bsdtar, unless told otherwise",
        command: &["bsdtar", "--acls", "--xattrs", "--fflags", "-cf"],
        groups: ALL,
        without: BSDTAR_FAULTS,
        times: Times::SomeFiner,
        xattrs: true,
        flags: true,
    },
    plain(
        "bsdtar, v7",
        &["bsdtar", "--no-acls", "--format=v7tar", "-cf"],
        (PLAIN, &[]),
    ),
    plain(
        "bsdtar, ustar",
        &["bsdtar", "--no-acls", "--format=ustar", "-cf"],
        (USTAR, BSDTAR_DEVICES),
    ),
    plain(
        "bsdtar, gnutar",
        &["bsdtar", "--no-acls", "--format=gnutar", "-cf"],
        (COMMON, BSDTAR_DEVICES),
    ),
    plain(
        "Python, ustar",
        &["python3", "-c", PYTHON, "USTAR_FORMAT"],
        (USTAR, &[]),
    ),
    plain(
        "Python, gnu",
        &["python3", "-c", PYTHON, "GNU_FORMAT"],
        (COMMON, PYTHON_LINKS),
    ),
    Form {
        name: "Python, pax",
        command: &["python3", "-c", PYTHON, "PAX_FORMAT"],
        groups: COMMON,
        without: PYTHON_LINKS,
        times: Times::Float,
        xattrs: false,
        flags: false,
    },
];

impl Form {
    /// Packs the groups of `tree`.
    fn pack(&self, tree: &Path, archive: &Path) -> Result<()> {
        let mut command = Command::new(self.command[0]);
        command.args(&self.command[1..]).arg(archive);
        let excluded = self.without.iter();
        let prefix = if self.groups == ALL { "./" } else { "" };
        command.args(excluded.map(|path| format!("--exclude={prefix}{path}")));
        command.args(self.groups).current_dir(tree);
        // Names are bytes, whatever the test's own environment says.
        tools::run(command.env("LC_ALL", "C.UTF-8"))?;
        Ok(())
    }

    /// What is expected of an image of the archive, where `whole` is the tree.
    fn expected(&self, whole: &Snapshot) -> Snapshot {
        let mut expected = whole.clone();
        let in_groups = |path: &[u8]| {
            let group = path.split(|byte| *byte == b'/').next().unwrap_or_default();
            self.groups.iter().any(|name| name.as_bytes() == group)
        };
        let has_all = self.groups == ALL;
        let is_root = |path: &Vec<u8>| path == b".";
        expected
            .entries
            .retain(|path, _| has_all || is_root(path) || in_groups(path));
        expected.entries.retain(|path, _| {
            let path = Path::new(OsStr::from_bytes(path));
            !self.without.iter().any(|without| path.starts_with(without))
        });
        // What is left of several names is one.
        let firsts = expected.entries.values();
        let firsts: Vec<_> = firsts
            .filter_map(|entry| entry.first_link.clone())
            .collect();
        for entry in expected.entries.values_mut() {
            let names = firsts
                .iter()
                .filter(|first| entry.first_link.as_ref() == Some(first));
            if names.count() == 1 {
                entry.first_link = None;
            }
            if !self.xattrs {
                entry.xattrs.clear();
            }
            if !self.flags {
                entry.flags = entry.flags.map(|_| 0);
            }
            let mtime = match self.times {
                Times::Seconds | Times::SomeFiner => whole_seconds(entry.mtime),
                Times::Float => float(entry.mtime),
                Times::All => continue,
            };
            (entry.atime, entry.mtime, entry.ctime) = (mtime, mtime, mtime);
        }
        expected
    }

    /// What is compared of `found`, the tree in an image of the archive.
    fn comparable(&self, mut found: Snapshot) -> Snapshot {
        if self.times == Times::SomeFiner {
            for entry in found.entries.values_mut() {
                let mtime = whole_seconds(entry.mtime);
                (entry.atime, entry.mtime, entry.ctime) = (mtime, mtime, mtime);
            }
        }
        found
    }
}

fn whole_seconds(time: Time) -> Time {
    Time {
        nanoseconds: 0,
        ..time
    }
}

/// The time that Python makes of `time`: a number of 53 bits, written in the fewest decimals that give it
/// again; of two such texts that are as close, Python takes the even one, as Rust does where it is told how
/// many decimals.
fn float(time: Time) -> Time {
    let parse = |text: String| text.parse::<f64>().expect("a number");
    let seconds = parse(time.seconds.to_string());
    let sum = seconds + 1e-9 * parse(time.nanoseconds.to_string());
    let mut texts = (0..=9).map(|digits| format!("{sum:.digits$}"));
    let text = texts
        .find(|text| parse(text.clone()) == sum)
        .unwrap_or_else(|| sum.to_string());
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let nanoseconds: u32 = format!("{decimals:0<9}")[..9].parse().expect("digits");
    let seconds: i64 = whole.parse().expect("digits");
    if text.starts_with('-') && nanoseconds > 0 {
        Time {
            seconds: seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        }
    } else {
        Time {
            seconds,
            nanoseconds,
        }
    }
}

/// The torture tree, with the names of users and groups that ACLs may give.
struct Source {
    scratch: Scratch,
    snapshot: Snapshot,
    work: TempDir,
}

impl Source {
    fn new() -> Result<Self> {
        let scratch = Scratch::new(ROOMY)?;
        let tree = scratch.path().join("tree");
        torture::build(&tree, &torture::Options::default())?;
        fs::create_dir(tree.join("etc"))?;
        for name in ["passwd", "group"] {
            fs::copy(Path::new("/etc").join(name), tree.join("etc").join(name))?;
        }
        // No form of tar knows sockets, and bsdtar even names hard links to them.
        let sockets = Snapshot::take(&tree)?;
        let sockets = sockets.entries.iter();
        for (path, _) in sockets.filter(|(_, entry)| entry.kind == Kind::Socket) {
            fs::remove_file(tree.join(OsStr::from_bytes(path)))?;
        }
        let snapshot = Snapshot::take(&tree)?;
        let work = making::workplace()?;
        chown(work.path(), Some(USER), Some(USER))?;
        Ok(Self {
            scratch,
            snapshot,
            work,
        })
    }

    fn tree(&self) -> PathBuf {
        self.scratch.path().join("tree")
    }
}

/// The command, as the ordinary user and at a fixed time.
fn command(output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command
        .uid(USER)
        .gid(USER)
        .env_clear()
        .env("E2FSPROGS_FAKE_TIME", making::CLOCK.to_string())
        .args(["-q", "-U", making::UUID_TEXT])
        .args(["-E", &format!("hash_seed={}", making::SEED_TEXT)])
        .arg(output);
    command
}

/// Makes an image of `archive`.
fn make(archive: &Path, output: &Path, options: &[&str]) -> Result<()> {
    tools::run(command(output).arg("-d").arg(archive).args(options))?;
    Ok(())
}

#[test]
fn archives_of_the_torture_tree() {
    if !ready(NEEDS) {
        return;
    }
    // It takes longer to build than all that is done with it.
    let source = Source::new().expect("the torture tree is built");
    every_form_keeps_what_it_carries(&source);
    a_compression_or_a_pipe_changes_no_byte(&source);
    a_directory_and_archives_of_it_give_the_same_bytes(&source);
}

fn every_form_keeps_what_it_carries(source: &Source) {
    let archive = source.work.path().join("archive");
    let image = source.work.path().join("image");
    let mut faults = Vec::new();
    for form in FORMS {
        let name = form.name;
        form.pack(&source.tree(), &archive)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        make(&archive, &image, &["--keep-root"]).unwrap_or_else(|error| panic!("{name}: {error}"));
        tools::e2fsck(&image, Which::System).unwrap_or_else(|error| panic!("{name}: {error}"));
        let options = Options {
            root: if form.groups == ALL {
                RootRule::Kept
            } else {
                RootRule::Made
            },
            lost_found: LostFound::Required,
            ..Options::default()
        };
        let expected = form.expected(&source.snapshot);
        let found = mount_ro(&image, Snapshot::take).expect("the image mounts");
        let found = form.comparable(found.expect("it can be read"));
        let differences = expected.differences(&found, &options);
        tools::report(&format!(
            "{name}: {} paths, {} differences",
            expected.entries.len(),
            differences.len()
        ));
        let shown = differences.iter().take(10);
        faults.extend(shown.map(|difference| format!("{name}: {difference}")));
        if is_wide() {
            same_by_all_ways(source, name, &archive, &image);
        }
        fs::remove_file(&image).expect("the image goes");
        fs::remove_file(&archive).expect("the archive goes");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Programs that compress stdin to stdout.
const COMPRESSORS: &[&[&str]] = &[
    &["gzip", "-1"],
    &["zstd", "-1"],
    &["xz", "-0"],
    &["bzip2", "-1"],
];

fn filter(command: &[&str], from: &Path, to: &Path) -> Result<()> {
    let mut filter = Command::new(command[0]);
    filter.args(&command[1..]).arg("-c");
    let status = filter
        .stdin(File::open(from)?)
        .stdout(File::options().append(true).create(true).open(to)?)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}

/// Images of `archive`, plain and compressed, from a file and from stdin, are all as `image`.
fn same_by_all_ways(source: &Source, what: &str, archive: &Path, image: &Path) {
    let place = |name: &str| source.work.path().join(name);
    let expected = fs::read(image).expect("it can be read");
    let check = |how: &str, archive: &Path| {
        let other = place("other");
        for stdin in [false, true] {
            let mut command = command(&other);
            command.arg("--keep-root");
            if stdin {
                let file = File::open(archive).expect("the archive");
                command.args(["-d", "-"]).stdin(Stdio::from(file))
            } else {
                command.arg("-d").arg(archive)
            };
            tools::run(&mut command).unwrap_or_else(|error| panic!("{what}, {how}: {error}"));
            let found = fs::read(&other).expect("it can be read");
            assert!(
                found == expected,
                "{what}, {how}, stdin {stdin}: another image"
            );
            fs::remove_file(&other).expect("the image goes");
        }
    };
    check("plain", archive);
    // In two pieces, so that there are several members, frames and streams.
    let whole = fs::read(archive).expect("it can be read");
    let (first, second) = whole.split_at(whole.len() / 3);
    fs::write(place("first"), first).expect("a piece");
    fs::write(place("second"), second).expect("a piece");
    for compressor in COMPRESSORS {
        let packed = place("packed");
        for piece in ["first", "second"] {
            filter(compressor, &place(piece), &packed).expect("it compresses");
        }
        check(compressor[0], &packed);
        fs::remove_file(packed).expect("it goes");
    }
    for piece in ["first", "second"] {
        fs::remove_file(place(piece)).expect("it goes");
    }
}

fn a_compression_or_a_pipe_changes_no_byte(source: &Source) {
    let place = |name: &str| source.work.path().join(name);
    let archive = place("archive");
    let form = FORMS.iter().find(|form| form.name.ends_with("1.0"));
    let form = Form {
        // Without the thousands of names, which take their time.
        groups: &[
            "acls", "deep", "links", "names", "sizes", "sparse", "times", "xattrs", "etc",
        ],
        ..*form.expect("it is there")
    };
    form.pack(&source.tree(), &archive).expect("it is packed");
    let image = place("image");
    make(&archive, &image, &["--keep-root"]).expect("the image is made");
    same_by_all_ways(source, form.name, &archive, &image);
    let mut left: Vec<_> = fs::read_dir(source.work.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["archive", "image"]);
    for name in left {
        fs::remove_file(source.work.path().join(name)).expect("it goes");
    }
}

fn a_directory_and_archives_of_it_give_the_same_bytes(source: &Source) {
    let tree = source.tree();
    // What one or the other archive does not carry.
    for group in ["flags", "sparse"] {
        torture::teardown_group(&tree, group).expect("it goes");
    }
    for path in GNU_LINKS.iter().chain(BSDTAR_FAULTS).chain(BSDTAR_DEVICES) {
        let path = tree.join(path);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path).expect("it goes"),
            Ok(_) => fs::remove_file(path).expect("it goes"),
            // Another list had it.
            Err(_) => {}
        }
    }
    let image = source.work.path().join("image");
    // The directory has other times of reading and change than an archive may have, until both end
    // at the same latest time.
    let build = |from: &Path, what: &str| {
        let mut command = command(&image);
        command
            .uid(0)
            .gid(0)
            .env("SOURCE_DATE_EPOCH", "-2147483648");
        command.arg("--keep-root").arg("-d").arg(from);
        tools::run(&mut command).unwrap_or_else(|error| panic!("{what}: {error}"));
        let bytes = fs::read(&image).expect("it can be read");
        fs::remove_file(&image).expect("it goes");
        bytes
    };
    let expected = build(&tree, "directory");
    let archive = source.work.path().join("archive");
    for form in FORMS.iter().filter(|form| form.xattrs) {
        form.pack(&tree, &archive).expect("it is packed");
        assert!(build(&archive, form.name) == expected, "{}", form.name);
    }
}
