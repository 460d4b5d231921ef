//! Given outputs that hold something, proves which are replaced, asked about and refused, under our own name
//! and under mke2fs's; what a replaced one becomes is `again.rs`'s.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use common::place::Place;
use common::tools::{self, Need, Which, ready};

/// What becomes of an output that a person does not answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Replaced everywhere.
    Replaced,
    /// Asked about at a terminal, and refused elsewhere, by this name.
    Refused(&'static str),
}

use Fate::{Refused, Replaced};

const UNKNOWN: Fate = Refused("data of an unknown format");
const GPT: Fate = Refused("a partition table (GPT)");
const SIZE: u64 = 3 << 20;

/// What an output holds: bytes at places, or what a line of the shell puts there; and what becomes of a file
/// and of a device.
struct Row {
    name: &'static str,
    bytes: &'static [(u64, &'static [u8])],
    line: &'static str,
    file: Fate,
    device: Fate,
}

const fn bytes(name: &'static str, bytes: &'static [(u64, &'static [u8])], fate: Fate) -> Row {
    let line = "";
    let (file, device) = (fate, fate);
    Row {
        name,
        bytes,
        line,
        file,
        device,
    }
}

const fn line(name: &'static str, line: &'static str, file: Fate, device: Fate) -> Row {
    let bytes = &[];
    Row {
        name,
        bytes,
        line,
        file,
        device,
    }
}

const BOOT: (u64, &[u8]) = (510, b"\x55\xaa");

const ROWS: &[Row] = &[
    bytes("holes", &[], Replaced),
    bytes("zeros", &[(1 << 20, &[0; 4096])], Replaced),
    line(
        "ext4",
        "mke4fs -q -F OUT",
        Replaced,
        Refused("an ext4 filesystem"),
    ),
    line(
        "ext2 with a label",
        "mke4fs -q -F -t ext2 -L root OUT",
        Replaced,
        Refused("an ext2 filesystem labelled 'root'"),
    ),
    Row {
        name: "what a killed run left",
        bytes: &[(1024, b"mke4fs: unfinished\n"), (1 << 20, b"data")],
        line: "",
        file: Replaced,
        device: Refused("an unfinished image"),
    },
    Row {
        name: "a container that a killed run left",
        bytes: &[(0, b"mke4fs: unfinished\n"), (1 << 20, b"data")],
        line: "",
        file: Replaced,
        device: Refused("an unfinished image"),
    },
    line(
        "a journal",
        "mke4fs -q -F -O journal_dev OUT",
        Refused("an external journal of ext4"),
        Refused("an external journal of ext4"),
    ),
    bytes("text", &[(0, b"dear diary\n")], UNKNOWN),
    bytes("a byte near the end", &[(SIZE - 70_001, b"x")], UNKNOWN),
    bytes(
        "nothing but ext's magic",
        &[(1024 + 56, b"\x53\xef")],
        UNKNOWN,
    ),
    bytes("XFS", &[(0, b"XFSB")], Refused("an XFS filesystem")),
    bytes(
        "btrfs",
        &[(0x1_0040, b"_BHRfS_M")],
        Refused("a btrfs filesystem"),
    ),
    bytes("FAT", &[(82, b"FAT32"), BOOT], Refused("a FAT filesystem")),
    bytes(
        "exFAT",
        &[(3, b"EXFAT   "), BOOT],
        Refused("an exFAT filesystem"),
    ),
    bytes(
        "NTFS",
        &[(3, b"NTFS    "), BOOT],
        Refused("an NTFS filesystem"),
    ),
    bytes(
        "squashfs",
        &[(0, b"hsqs")],
        Refused("a squashfs filesystem"),
    ),
    bytes(
        "EROFS",
        &[(1024, b"\xe2\xe1\xf5\xe0")],
        Refused("an EROFS filesystem"),
    ),
    bytes(
        "F2FS",
        &[(1024, b"\x10\x20\xf5\xf2")],
        Refused("an F2FS filesystem"),
    ),
    bytes(
        "ISO 9660",
        &[(0x8001, b"CD001")],
        Refused("an ISO 9660 filesystem"),
    ),
    bytes(
        "bcachefs",
        &[(
            0x1018,
            b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef",
        )],
        Refused("a bcachefs filesystem"),
    ),
    bytes(
        "ZFS",
        &[(0x4014, b"\0\0\0\x07version\0")],
        Refused("a ZFS member"),
    ),
    bytes("swap", &[(4086, b"SWAPSPACE2")], Refused("a swap area")),
    bytes(
        "LUKS",
        &[(0, b"LUKS\xba\xbe\0\x02")],
        Refused("a LUKS volume"),
    ),
    bytes(
        "LVM",
        &[(512, b"LABELONE")],
        Refused("an LVM physical volume"),
    ),
    bytes(
        "md 1.2",
        &[(4096, b"\xfc\x4e\x2b\xa9")],
        Refused("an md RAID member"),
    ),
    bytes(
        "md 1.0",
        &[(SIZE - 8192, b"\xfc\x4e\x2b\xa9")],
        Refused("an md RAID member"),
    ),
    bytes(
        "md 0.90",
        &[(SIZE - 65536, b"\xfc\x4e\x2b\xa9")],
        Refused("an md RAID member"),
    ),
    bytes(
        "an MBR",
        &[(450, b"\x83"), BOOT],
        Refused("a partition table (MBR)"),
    ),
    bytes("a GPT", &[(450, b"\xee"), BOOT, (512, b"EFI PART")], GPT),
    bytes("a GPT's copy", &[(SIZE - 512, b"EFI PART")], GPT),
    line("swap by mkswap", "mkswap -q OUT", SWAP, SWAP),
    line(
        "tar",
        "tar c root | dd of=OUT conv=notrunc status=none",
        TAR,
        TAR,
    ),
    bytes("gzip", &[(0, b"\x1f\x8b\x08")], Refused("a gzip stream")),
    bytes("zip", &[(0, b"PK\x03\x04")], Refused("a zip archive")),
    bytes("qcow2", &[(0, b"QFI\xfb")], Refused("a qcow2 image")),
];

const SWAP: Fate = Refused("a swap area");
const TAR: Fate = Refused("a tar archive");

/// What every run is asked for.
const MAKE: &str = "-q -d root OUT 2M";

/// An output that holds what a row says.
struct Held<'a> {
    place: &'a Place,
    row: &'a Row,
    output: PathBuf,
}

impl Held<'_> {
    fn fill(&self) {
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        let file = options.open(&self.output).expect("it opens");
        if file.metadata().expect("it is there").is_file() {
            file.set_len(0).expect("it can be emptied");
            file.set_len(SIZE).expect("it can be long");
        } else {
            file.write_all_at(&vec![0; usize::try_from(SIZE).expect("it is small")], 0)
                .expect("it can be zeroed");
        }
        for (at, bytes) in self.row.bytes {
            file.write_all_at(bytes, *at).expect("it can be written");
        }
        drop(file);
        self.said(self.row.line);
    }

    /// The status and what a line says, with the output in the place of OUT.
    fn said(&self, line: &str) -> (bool, String) {
        let line = line.replace("OUT", &self.output.to_string_lossy());
        let done = self.place.shell(&format!("exec 2>&1; {line}"));
        let said = String::from_utf8_lossy(&done.stdout).replace('\r', "");
        (done.status.success(), said)
    }

    /// Fills the output and runs the line; says whether it then holds another thing than before.
    fn run(&self, line: &str) -> (bool, bool, String) {
        self.fill();
        let before = fs::read(&self.output).expect("it can be read");
        let (done, said) = self.said(line);
        let after = fs::read(&self.output).expect("it can be read");
        (done, before != after, said)
    }

    /// What is wrong with what becomes of the output.
    fn faults(&self, fate: Fate) -> Vec<String> {
        let path = self.output.display();
        let (refusal, question) = match fate {
            Replaced => (String::new(), None),
            Refused(what) => (
                format!("mke4fs: {path} holds {what}; use -F to overwrite it\n"),
                Some(format!("{path} holds {what}. Overwrite it? (y/N) ")),
            ),
        };
        let (yes, no) = (question.clone(), question);
        let at_terminal =
            |answer: &str| format!("printf '{answer}\\n' | script -qec 'mke4fs {MAKE}' /dev/null");
        let is_replaced = fate == Replaced;
        let mut faults = Vec::new();
        for (how, line, replaced, words) in [
            (
                "nobody asked",
                format!("mke4fs {MAKE} < /dev/null"),
                is_replaced,
                refusal,
            ),
            (
                "answered no",
                at_terminal("n"),
                is_replaced,
                no.unwrap_or_default(),
            ),
            (
                "answered yes",
                at_terminal("y"),
                true,
                yes.unwrap_or_default(),
            ),
            ("-F", format!("mke4fs -F {MAKE}"), true, String::new()),
        ] {
            let (done, changed, said) = self.run(&line);
            let hears =
                said.contains(words.trim_end()) && said.contains("holds") != words.is_empty();
            if done != replaced || changed != replaced || !hears {
                faults.push(format!(
                    "{}, {how}: done {done}, changed {changed}, said {said:?}",
                    self.row.name
                ));
            }
        }
        faults
    }

    /// The same by mke2fs's name, by what the reference does.
    fn faults_as_mke2fs(&self, reference: &Path) -> Vec<String> {
        let mut faults = Vec::new();
        let terminal = |program: &str, answer: &str| {
            format!("printf '{answer}\\n' | script -qec '{program} {MAKE}' /dev/null")
        };
        let ways: [&dyn Fn(&str) -> String; 4] = [
            &|program| format!("{program} {MAKE} < /dev/null"),
            &|program| terminal(program, "n"),
            &|program| terminal(program, "y"),
            &|program| format!("{program} -F {MAKE}"),
        ];
        for way in ways {
            let theirs = self.run(&way(&format!("{} -t ext4", reference.display())));
            let ours = self.run(&way("./mkfs.ext4"));
            if (theirs.0, theirs.1) != (ours.0, ours.1) {
                faults.push(format!(
                    "{}: expected {theirs:?}, found {ours:?}",
                    self.row.name
                ));
            }
        }
        faults
    }
}

/// What is wrong with any of `rows`, each of `outputs` taking its share of them: a terminal takes its time.
fn faults<'a>(
    outputs: &[PathBuf],
    rows: &[&'a Row],
    faults: impl Fn(&Held<'a>) -> Vec<String> + Sync,
    place: &'a Place,
) -> String {
    let share = rows.len().div_ceil(outputs.len());
    let wrong = thread::scope(|scope| {
        let shares = rows.chunks(share).zip(outputs);
        let running: Vec<_> = shares
            .map(|(rows, output)| {
                let faults = &faults;
                scope.spawn(move || {
                    let held = |row: &&'a Row| Held {
                        place,
                        row,
                        output: output.clone(),
                    };
                    let held: Vec<Held<'a>> = rows.iter().map(held).collect();
                    held.iter().flat_map(faults).collect::<Vec<_>>()
                })
            })
            .collect();
        let ended = running.into_iter().map(|thread| thread.join());
        ended
            .flat_map(|faults| faults.expect("it ends"))
            .collect::<Vec<_>>()
    });
    wrong.join("\n")
}

fn images(place: &Place) -> Vec<PathBuf> {
    (0..18)
        .map(|number| place.path(&format!("image{number}")))
        .collect()
}

fn place() -> Place {
    let place = Place::new();
    place.file("root/file", "text");
    let linked = place.shell("ln -s \"$(command -v mke4fs)\" mkfs.ext4");
    assert!(linked.status.success());
    place
}

#[test]
fn a_file_is_replaced_if_nothing_is_lost_but_an_ext_filesystem() {
    if !ready(&[Need::E2fsprogs(Which::Reference), Need::Program("script")]) {
        return;
    }
    let place = place();
    let rows: Vec<&Row> = ROWS.iter().collect();
    let wrong = faults(
        &images(&place),
        &rows,
        |held| held.faults(held.row.file),
        &place,
    );
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_device_is_replaced_if_it_holds_nothing() {
    if !ready(&[
        Need::Root,
        Need::E2fsprogs(Which::Reference),
        Need::Program("script"),
    ]) {
        return;
    }
    let place = place();
    let outputs: Vec<PathBuf> = images(&place).iter().map(|file| attached(file)).collect();
    let rows: Vec<&Row> = ROWS.iter().collect();
    let wrong = faults(&outputs, &rows, |held| held.faults(held.row.device), &place);
    for output in &outputs {
        let detached = tools::run(Command::new("losetup").arg("--detach").arg(output));
        detached.expect("it is free");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A device over a file of its own.
fn attached(file: &Path) -> PathBuf {
    let created = File::create(file).expect("a file");
    created.set_len(SIZE).expect("it can be long");
    let attached = tools::run(Command::new("losetup").args(["--find", "--show"]).arg(file));
    PathBuf::from(attached.expect("a loop device").trim())
}

#[test]
fn by_mke2fs_s_name_the_same_happens_as_by_mke2fs() {
    if !ready(&[Need::E2fsprogs(Which::Reference), Need::Program("script")]) {
        return;
    }
    let place = place();
    let reference = tools::command(Which::Reference, "mke2fs").expect("the reference");
    let reference = PathBuf::from(reference.get_program());
    let names = [
        "holes",
        "zeros",
        "ext4",
        "ext2 with a label",
        "text",
        "a GPT",
        "swap by mkswap",
    ];
    let rows: Vec<&Row> = ROWS
        .iter()
        .filter(|row| names.contains(&row.name))
        .collect();
    let as_mke2fs = |held: &Held<'_>| held.faults_as_mke2fs(&reference);
    let wrong = faults(&images(&place), &rows, as_mke2fs, &place);
    assert!(wrong.is_empty(), "{wrong}");
}

/// A disk with two partitions, of which an image takes the first: only what lies there counts.
#[test]
fn in_a_disk_the_bytes_of_the_image_count() {
    if !ready(&[Need::E2fsprogs(Which::Reference), Need::Program("sfdisk")]) {
        return;
    }
    let place = place();
    let offset = "-E offset=1048576";
    for (line, refusal) in [
        // The table is before the image, and stays.
        (
            format!("mke4fs -q -d root {offset} disk 8M; sfdisk -q -V disk > /dev/null"),
            "",
        ),
        // The same again, over the filesystem that is there now.
        (format!("mke4fs -q -d root {offset} disk 8M"), ""),
        (
            format!("mke4fs -q -d root {offset} disk 4M; mke4fs -q {offset} disk 8M"),
            "data behind an ext4 filesystem",
        ),
        // Up to the file's end there is the second partition, and the table's copy.
        (
            format!("mke4fs -q -d root {offset} disk"),
            "data behind an ext4 filesystem",
        ),
        (
            format!("mke4fs -q {offset} disk 14M"),
            "data behind an ext4 filesystem",
        ),
        (
            "mke4fs -q -d root -E offset=10485760 disk".to_owned(),
            "a partition table (GPT)",
        ),
        (
            "mke4fs -q -d root disk 8M".to_owned(),
            "a partition table (GPT)",
        ),
        (format!("mke4fs -q -F {offset} disk 14M"), ""),
        (
            "mke4fs -q -d root -E offset=12582912 --size min -O ^has_journal disk".to_owned(),
            "an XFS filesystem",
        ),
    ] {
        let done = place.shell(&format!(
            "exec 2>&1; truncate -s 0 disk; truncate -s 24M disk
             printf 'label: gpt\nstart=2048, size=18432\nstart=24576, size=16384\n' | sfdisk -q disk
             mke4fs -q -d root {offset} disk 8M
             printf XFSB | dd of=disk bs=1 seek=12582912 conv=notrunc status=none
             {line}"
        ));
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let expected = match refusal {
            "" => String::new(),
            what => format!("mke4fs: disk holds {what}; use -F to overwrite it\n"),
        };
        assert_eq!(said, expected, "{line}");
        assert_eq!(done.status.success(), refusal.is_empty(), "{line}");
    }
}

/// Holes of any length cost nothing; what is refused stays as it was, and its source is not read first.
#[test]
fn holes_are_not_read_and_the_source_waits() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = place();
    let done = place.shell(
        "truncate -s 8T image; timeout 20 mke4fs -q -d root image; test $(stat -c %s image) -lt 100000000
         echo text > notes; printf '' | mke4fs -q -d - notes 8M 2>said || cat said >&2; test $(cat notes) = text
         mke4fs -q -n notes 8M; head -c 8M /dev/zero | tr '\\0' x > old; mke4fs -q -S old 8M",
    );
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    let expected = "mke4fs: notes holds data of an unknown format; use -F to overwrite it\n";
    assert_eq!(said, expected);
}

/// A virtual disk of ours is the filesystem in it, to the command that makes such a one: builds run again. To
/// every other it is a disk.
#[test]
fn a_virtual_disk_of_ours_is_replaced_by_one_of_its_format() {
    if !ready(&[
        Need::E2fsprogs(Which::Reference),
        Need::Program("script"),
        Need::Program("qemu-img"),
    ]) {
        return;
    }
    let place = place();
    let run = |line: &str| {
        let done = place.shell(&format!("exec 2>&1 < /dev/null; set -e; {line}"));
        assert!(done.status.success(), "{line}: {done:?}");
        String::from_utf8(done.stdout).expect("it is text")
    };
    let make = "SOURCE_DATE_EPOCH=1 mke4fs -q -U 01234567-89ab-4def-8123-456789abcdef \
                -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210";
    for (format, what) in [
        ("--format qcow2", "a qcow2 image"),
        ("--format qcow2 --compress zlib", "a qcow2 image"),
        ("--format qcow2 --compress zstd", "a qcow2 image"),
        ("--format vhdx", "a VHDX image"),
        ("--format vhd,dynamic", "a VHD image"),
        ("--format simg", "an Android sparse image"),
        ("-E android_sparse", "an Android sparse image"),
    ] {
        for size in ["", "64M", "8193K", "-b 1024 3073K"] {
            let make = format!("{make} {format} -d root");
            run(&format!(
                "rm -f disk; {make} disk {size}; cp disk first; {make} disk {size}; cmp disk first
                 echo more > root/more; {make} -t ext2 disk {size}; ! cmp -s disk first
                 rm root/more; {make} disk {size}; cmp disk first"
            ));
        }
        // To those who asked for another format, it is a disk, and stays.
        for other in ["", "--format vhd", "--format simg", "--format qcow2"] {
            if other == format || format.starts_with(other) && !other.is_empty() {
                continue;
            }
            if other.ends_with("simg") && what.starts_with("an Android") {
                continue;
            }
            let said = run(&format!(
                "cp disk before; ! {make} -d root {other} disk 2M; cmp disk before"
            ));
            let expected = format!("mke4fs: disk holds {what}; use -F to overwrite it\n");
            assert_eq!(said, expected, "{format}, {other}");
        }
    }
    // Its length is no filesystem's, and there is none to keep.
    let said = run(
        "rm -f disk; mke4fs --format vhdx -d root disk; mke4fs --format vhdx -d root disk 128M",
    );
    assert!(!said.contains("replacing"), "{said}");
    for (format, spoil) in [
        ("qcow2", "qemu-img snapshot -c then disk"),
        ("qcow2", "qemu-img bitmap --add disk map"),
        (
            "qcow2",
            "qemu-img rebase -q -u -F raw -b /dev/null -f qcow2 disk",
        ),
        // Somebody else's, and what is in it is no filesystem of ours.
        (
            "qcow2",
            "mke4fs -q -d root raw; qemu-img convert -O qcow2 -o cluster_size=4k raw disk",
        ),
        (
            "qcow2",
            "printf XX | dd of=disk conv=notrunc bs=1 status=none \
                seek=$(grep -abom1 \"$(printf '\\123\\357')\" disk | cut -d: -f1)",
        ),
        (
            "vhdx",
            "printf x | dd of=disk conv=notrunc bs=1 status=none seek=65584",
        ),
        ("vhdx", "qemu-img create -q -f vhdx disk 64M"),
        ("vhd,dynamic", "qemu-img create -q -f vpc disk 64M"),
    ] {
        let said = run(&format!(
            "{make} -F -d root --format {format} disk 64M; export LC_ALL=C; {spoil} > /dev/null
             cp disk before; ! {make} -d root --format {format} disk 64M; cmp disk before"
        ));
        assert!(
            said.ends_with("; use -F to overwrite it\n"),
            "{spoil}: {said}"
        );
    }
}
