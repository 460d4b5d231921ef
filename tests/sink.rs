//! Given real files, loop devices and full disks, proves that the sinks keep their word on them.
//!
//! Loop devices and mounts need root. A tool that is missing fails the test.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use crate::common::mount::unmount;
use crate::common::tools::{Need, ready};
use mke4fs::Builder;
use mke4fs::options::{Environment, Options, Size};
use mke4fs::raw::emit::Writing;
use mke4fs::sink::{
    Checked, IfBusy, ImageRange, InjectedFault, Memory, OpenErrorKind, Output, Sink,
    UnfinishedOutput,
};
use mke4fs::source::dir::Directory;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const JUNK: u8 = 0xD1;

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary names are UTF-8")
}

fn bytes_of(length: u64, fill: u8) -> Vec<u8> {
    vec![fill; usize::try_from(length).unwrap()]
}

fn junk_file(path: &Path, size_bytes: u64) {
    fs::write(path, bytes_of(size_bytes, JUNK)).unwrap();
}

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// The range of an empty filesystem there; it has whole KiB.
fn image(bytes: Range<u64>) -> ImageRange {
    let mut options = Options::new();
    options
        .size(Size::Kibibytes((bytes.end - bytes.start) >> 10))
        .extended(format!("offset={}", bytes.start));
    let plan = Builder::from_options(options)
        .environment(Environment::fixed(0))
        .plan();
    let range = plan.expect("an empty filesystem").range();
    assert_eq!(range.bytes(), bytes);
    range
}

fn begin(path: &Path, size_bytes: u64) -> UnfinishedOutput {
    Output::open(path, IfBusy::Refuse)
        .unwrap()
        .begin(&image(0..size_bytes))
        .unwrap()
}

fn refusal(path: &Path) -> (OpenErrorKind, String) {
    let error = Output::open(path, IfBusy::Refuse).expect_err("no output");
    (error.kind(), error.to_string())
}

/// A loop device over a file of its own, full of junk.
struct Loop {
    device: PathBuf,
    backing: PathBuf,
    _directory: TempDir,
}

impl Loop {
    fn new(size_bytes: u64, options: &[&str]) -> Self {
        let directory = scratch();
        let backing = directory.path().join("backing");
        junk_file(&backing, size_bytes);
        let mut arguments = vec!["--find", "--show"];
        arguments.extend(options);
        arguments.push(text(&backing));
        Self {
            device: run("losetup", &arguments).into(),
            backing,
            _directory: directory,
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("losetup", &["--detach", text(&self.device)]);
    }
}

/// Something mounted on a directory of its own.
struct Mount(TempDir);

impl Mount {
    fn new(arguments: &[&str]) -> Self {
        let directory = scratch();
        let mut arguments = arguments.to_vec();
        arguments.push(text(directory.path()));
        run("mount", &arguments);
        Self(directory)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(self.0.path()).expect("it can be unmounted");
    }
}

#[test]
fn a_new_file_holds_what_was_written_and_no_zeros() {
    let directory = scratch();
    let path = directory.path().join("new");
    let output = Output::open(&path, IfBusy::Refuse).unwrap();
    assert!(output.is_new());
    let draft = output.begin(&image(0..64 * MIB)).unwrap();

    let mut bytes = bytes_of(8 * MIB, 0);
    bytes[5_000_000] = 1;
    draft.file().write_at(MIB, &bytes).unwrap();
    draft.file().write_at(40 * MIB + 1, b"unaligned").unwrap();
    draft.file().zero(50 * MIB, 10 * MIB).unwrap();
    assert!(draft.file().discard(0, MIB).unwrap());
    draft.file().sync().unwrap();
    draft.keep();

    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o777), (64 * MIB, 0o644));
    assert!(allocated(&path) <= 2 * 4096, "{} bytes", allocated(&path));
    let mut expected = bytes_of(64 * MIB, 0);
    expected[(1 << 20) + 5_000_000] = 1;
    expected[(40 << 20) + 1..][..9].copy_from_slice(b"unaligned");
    assert!(fs::read(&path).unwrap() == expected);
}

#[test]
fn a_byte_written_twice_is_the_later_one_even_if_zero() {
    let directory = scratch();
    let path = directory.path().join("new");
    let draft = begin(&path, MIB);
    draft.file().write_at(0, &[1; 8192]).unwrap();
    draft.file().write_at(0, &[0; 8192]).unwrap();
    draft.file().write_at(16384, &[0; 4096]).unwrap();
    draft.file().write_at(16384, &[2; 4096]).unwrap();
    draft.file().write_at(16384, &[0; 4096]).unwrap();
    draft.keep();
    assert!(fs::read(&path).unwrap() == bytes_of(MIB, 0));
}

/// A file, new or full of junk, agrees with memory in all that is done to both.
#[test]
fn a_file_reads_as_memory_does() {
    let directory = scratch();
    for (fill, name) in [(0, "new"), (JUNK, "junk")] {
        let path = directory.path().join(name);
        if fill == JUNK {
            junk_file(&path, MIB);
        }
        let draft = begin(&path, MIB);
        let memory = Memory::filled(MIB, fill);
        memory.zero(1024, 3072).unwrap();
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..500 {
            let (offset, what) = (random(MIB), random(4));
            let length = random(40_000).min(MIB - offset);
            let bytes = bytes_of(length, if what == 0 { 7 } else { 0 });
            let both: [&dyn Sink; 2] = [draft.file(), &memory];
            for sink in both {
                match what {
                    0 | 1 => sink.write_at(offset, &bytes).unwrap(),
                    2 => sink.zero(offset, length).unwrap(),
                    _ => assert!(sink.discard(offset, length).unwrap()),
                }
            }
        }
        let mut bytes = bytes_of(MIB, 1);
        draft.file().read_at(0, &mut bytes).unwrap();
        assert!(bytes == memory.into_bytes().unwrap(), "{name}");
        draft.keep();
        assert!(bytes == fs::read(&path).unwrap(), "{name}");
    }
}

#[test]
fn threads_write_one_file() {
    let directory = scratch();
    let path = directory.path().join("new");
    let draft = begin(&path, 16 * MIB);
    std::thread::scope(|scope| {
        for worker in 0_u8..4 {
            let file = draft.file();
            scope.spawn(move || {
                for part in (u64::from(worker)..1024).step_by(4) {
                    let fill = if part % 3 == 0 { 0 } else { worker + 1 };
                    file.write_at(part * 16384, &[fill; 16384]).unwrap();
                }
            });
        }
    });
    draft.keep();
    let bytes = fs::read(&path).unwrap();
    for (part, piece) in bytes.chunks(16384).enumerate() {
        let fill = if part % 3 == 0 { 0 } else { part % 4 + 1 };
        assert!(
            piece.iter().all(|byte| usize::from(*byte) == fill),
            "{part}"
        );
    }
    assert!(allocated(&path) <= 683 * 16384);
}

#[test]
fn a_failed_run_removes_the_file_it_created() {
    let directory = scratch();
    let path = directory.path().join("new");
    drop(Output::open(&path, IfBusy::Refuse).unwrap());
    assert!(!path.exists());
    let draft = begin(&path, MIB);
    draft.file().write_at(1024, &[1; 1024]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), MIB);
    drop(draft);
    assert!(!path.exists());
    let unwound = std::panic::catch_unwind(|| {
        let _draft = begin(&path, MIB);
        panic!("in the middle of a run");
    });
    assert!(unwound.is_err() && !path.exists());
}

#[test]
fn a_failed_run_leaves_a_file_that_is_not_its_own() {
    let directory = scratch();
    let path = directory.path().join("new");
    let draft = begin(&path, MIB);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another's").unwrap();
    drop(draft);
    assert_eq!(fs::read(&path).unwrap(), b"another's");
}

#[test]
fn an_existing_file_loses_its_superblock_first_and_gets_back_its_length() {
    let directory = scratch();
    let path = directory.path().join("old");
    junk_file(&path, 100_000);
    let mut expected = bytes_of(100_000, JUNK);

    drop(Output::open(&path, IfBusy::Refuse).unwrap());
    assert!(
        fs::read(&path).unwrap() == expected,
        "opening changes nothing"
    );

    let offset = 16384;
    let output = Output::open(&path, IfBusy::Refuse).unwrap();
    assert_eq!((output.is_new(), output.size_bytes()), (false, 100_000));
    let draft = output.begin(&image(offset..MIB)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), MIB);
    expected[16384 + 1024..16384 + 4096].fill(0);
    assert!(fs::read(&path).unwrap()[..100_000] == expected);

    draft.file().write_at(offset + 1024, &[0xEF; 1024]).unwrap();
    draft.file().write_at(200_000, &[1; 1024]).unwrap();
    drop(draft);
    assert!(fs::read(&path).unwrap() == expected);
}

#[test]
fn a_larger_file_is_never_cut() {
    let directory = scratch();
    let path = directory.path().join("old");
    junk_file(&path, 2 * MIB);
    let draft = begin(&path, MIB);
    assert_eq!(draft.file().size_bytes(), 2 * MIB);
    draft.keep();
    assert_eq!(fs::metadata(&path).unwrap().len(), 2 * MIB);
    drop(begin(&path, MIB));
    assert_eq!(fs::metadata(&path).unwrap().len(), 2 * MIB);
}

#[test]
fn discard_and_zero_make_holes_in_old_files() {
    let directory = scratch();
    let path = directory.path().join("old");
    junk_file(&path, 4 * MIB);
    let draft = begin(&path, 4 * MIB);
    assert!(draft.file().discard_zeroes());
    assert!(draft.file().discard(0, 2 * MIB).unwrap());
    draft.file().zero(2 * MIB, MIB).unwrap();
    draft.file().write_at(0, &bytes_of(3 * MIB, 0)).unwrap();
    draft.keep();
    let mut expected = bytes_of(4 * MIB, JUNK);
    expected[..3 << 20].fill(0);
    assert!(fs::read(&path).unwrap() == expected);
    assert!(allocated(&path) <= MIB + 4096, "{} bytes", allocated(&path));
}

#[test]
fn what_is_no_storage_is_refused_and_stays() {
    let directory = scratch();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    run("mkfifo", &[text(&at("pipe"))]);
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    let needed = "must be a regular file or a block device";
    let no_storage = OpenErrorKind::NotStorage;
    let cases = [
        (at("directory"), OpenErrorKind::Directory, "is a directory"),
        (at("pipe"), no_storage, "is a pipe"),
        (at("socket"), no_storage, "is a socket"),
        ("/dev/null".into(), no_storage, "is a character device"),
    ];
    for (path, reason, what) in cases {
        let sentence = format!("{} {what}: {needed}", path.display());
        assert_eq!(refusal(&path), (reason, sentence));
        assert!(path.exists());
    }
    let (reason, sentence) = refusal(&at("dangling"));
    let what = "is a symbolic link to a file that does not exist; name that file instead";
    assert_eq!(reason, OpenErrorKind::DanglingSymlink);
    assert_eq!(sentence, format!("{} {what}", at("dangling").display()));
    assert!(at("dangling").is_symlink() && !at("nowhere").exists());

    let (reason, sentence) = refusal(&at("missing/new"));
    assert_eq!(reason, OpenErrorKind::Io(io::ErrorKind::NotFound));
    assert!(sentence.contains("missing/new for writing: No such file"));
}

#[test]
fn a_symbolic_link_to_a_file_is_that_file() {
    let directory = scratch();
    let file = directory.path().join("file");
    let link = directory.path().join("link");
    junk_file(&file, MIB);
    symlink("file", &link).unwrap();
    let output = Output::open(&link, IfBusy::Refuse).unwrap();
    let identity = output.identity().expect("files have identities here");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(identity.device, metadata.dev());
    assert_eq!(identity.inode, metadata.ino());
    drop(output.begin(&image(0..2 * MIB)).unwrap());
    assert!(link.is_symlink());
    assert_eq!(fs::read(&file).unwrap()[1024..4096], [0; 3072]);
    assert_eq!(fs::metadata(&file).unwrap().len(), MIB);
}

#[test]
fn two_runs_do_not_share_an_output() {
    let directory = scratch();
    let path = directory.path().join("new");
    let first = begin(&path, MIB);
    let sentence = format!("{} is being written by another run", path.display());
    assert_eq!(refusal(&path), (OpenErrorKind::Locked, sentence));
    first.file().write_at(0, b"first").unwrap();
    first.keep();
    assert_eq!(&fs::read(&path).unwrap()[..5], b"first");
    drop(begin(&path, MIB));
    assert!(path.exists());
}

#[test]
fn a_place_past_the_end_is_refused() {
    let directory = scratch();
    let path = directory.path().join("new");
    let draft = begin(&path, MIB);
    let error = draft.file().write_at(MIB - 1, b"ab").unwrap_err();
    let expected = "2 bytes at 1048575 are past the end of a sink of 1048576 bytes";
    assert_eq!(error.to_string(), expected);
    assert!(draft.file().zero(MIB, 1).is_err());
    assert!(draft.file().discard(u64::MAX, 1).is_err());
    assert!(draft.file().read_at(MIB, &mut [0]).is_err());
}

#[test]
fn block_devices_are_written_zeroed_and_discarded() {
    if !ready(&[Need::Root]) {
        return;
    }
    for sector_bytes in ["512", "4096"] {
        let device = Loop::new(8 * MIB, &["--sector-size", sector_bytes]);
        let output = Output::open(&device.device, IfBusy::Refuse).unwrap();
        assert_eq!((output.is_new(), output.size_bytes()), (false, 8 * MIB));
        let draft = output.begin(&image(0..8 * MIB)).unwrap();
        assert!(draft.file().is_block_device() && !draft.file().discard_zeroes());
        // A loop device discards by holes in its file, which Linux does not promise of devices.
        assert!(draft.file().discard(2 * MIB, MIB).unwrap());
        draft.file().zero(4 * MIB + 1000, MIB).unwrap();
        draft.file().write_at(4 * MIB + 5000, &[0; 5000]).unwrap();
        draft.file().write_at(6 * MIB + 1, b"unaligned").unwrap();
        draft.file().write_at(7 * MIB, &[0; 8192]).unwrap();
        draft.file().sync().unwrap();
        draft.keep();

        let mut expected = bytes_of(8 * MIB, JUNK);
        expected[1024..4096].fill(0);
        expected[2 << 20..3 << 20].fill(0);
        expected[(4 << 20) + 1000..(5 << 20) + 1000].fill(0);
        expected[(6 << 20) + 1..][..9].copy_from_slice(b"unaligned");
        expected[7 << 20..(7 << 20) + 8192].fill(0);
        for path in [&device.device, &device.backing] {
            assert!(fs::read(path).unwrap() == expected, "{sector_bytes}");
        }
    }
}

#[test]
fn a_failed_run_leaves_a_device_without_superblock() {
    if !ready(&[Need::Root]) {
        return;
    }
    let device = Loop::new(MIB, &[]);
    let draft = begin(&device.device, MIB);
    draft.file().write_at(0, &[0xEF; 8192]).unwrap();
    drop(draft);
    let mut expected = bytes_of(MIB, JUNK);
    expected[..8192].fill(0xEF);
    expected[1024..4096].fill(0);
    assert!(fs::read(&device.device).unwrap() == expected);
}

#[test]
fn a_device_that_is_too_small_is_refused_unchanged() {
    if !ready(&[Need::Root]) {
        return;
    }
    let device = Loop::new(MIB, &[]);
    let output = Output::open(&device.device, IfBusy::Refuse).unwrap();
    let error = output.begin(&image(0..MIB + 1024)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} has 1048576 bytes; the image needs 1049600",
            device.device.display()
        )
    );
    assert!(fs::read(&device.device).unwrap() == bytes_of(MIB, JUNK));
}

/// Writes an image of 8 MiB with `root` to a place 1 MiB into `output`, as the library's front page says.
fn write_by_library(root: &Path, output: &Path, keep: bool) {
    let mut options = Options::new();
    options
        .size(Size::Kibibytes(8192))
        .extended("offset=1048576");
    let builder = Builder::from_options(options)
        .environment(Environment::fixed(0))
        .source(Directory::new(root));
    let plan = builder.plan().expect("it fits");
    let output = Output::open(output, IfBusy::Refuse).unwrap();
    let draft = output.begin(&plan.range()).unwrap();
    let writing = Writing {
        cancel: &AtomicBool::new(!keep),
        ..Writing::default()
    };
    let written = plan.write(draft.file(), &writing);
    assert_eq!(written.is_ok(), keep);
    if keep {
        draft.keep();
    }
}

/// A GPT's entries lie where the superblock of an image without an offset would.
#[test]
fn every_byte_before_and_behind_an_image_stays() {
    if !ready(&[Need::Root]) {
        return;
    }
    let directory = scratch();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), bytes_of(MIB, 7)).unwrap();
    let path = directory.path().join("disk");
    let is_untouched = |disk: &Path, how: &str| {
        let bytes = fs::read(disk).unwrap();
        assert_eq!(bytes.len(), 16 << 20, "{how}");
        let outside = bytes[..1 << 20].iter().chain(&bytes[9 << 20..]);
        assert!(outside.into_iter().all(|byte| *byte == JUNK), "{how}");
        let magic = &bytes[(1 << 20) + 1080..(1 << 20) + 1082];
        magic == [0x53, 0xef]
    };
    for keep in [true, false] {
        junk_file(&path, 16 * MIB);
        write_by_library(&root, &path, keep);
        assert_eq!(is_untouched(&path, "library"), keep);
        let device = Loop::new(16 * MIB, &[]);
        write_by_library(&root, &device.device, keep);
        assert_eq!(is_untouched(&device.device, "library, device"), keep);
    }
    let ours = env!("CARGO_BIN_EXE_mke4fs");
    let theirs = directory.path().join("mkfs.ext4");
    symlink(ours, &theirs).unwrap();
    let undo = directory.path().join("undo");
    for program in [ours, text(&theirs)] {
        for (extended, more) in [
            ("offset=1048576,nodiscard", &[][..]),
            ("offset=1048576,discard", &["-d", text(&root)]),
            ("offset=1048576", &["-O", "^has_journal", "-b", "1024"]),
            ("offset=1048576", &["-z", text(&undo)]),
        ] {
            let device = Loop::new(16 * MIB, &[]);
            junk_file(&path, 16 * MIB);
            for disk in [&path, &device.device] {
                let _ = fs::remove_file(&undo);
                let first = ["-q", "-F", "-E", extended];
                let arguments = [&first, more, &[text(disk), "8M"]].concat();
                run(program, &arguments);
                assert!(is_untouched(disk, &arguments.join(" ")));
            }
        }
    }
}

#[test]
fn a_read_only_device_is_refused() {
    if !ready(&[Need::Root]) {
        return;
    }
    let device = Loop::new(MIB, &["--read-only"]);
    let sentence = format!("{} is a read-only device", device.device.display());
    assert_eq!(refusal(&device.device), (OpenErrorKind::ReadOnly, sentence));
}

#[test]
fn two_runs_do_not_share_a_device() {
    if !ready(&[Need::Root]) {
        return;
    }
    let device = Loop::new(MIB, &[]);
    let _first = Output::open(&device.device, IfBusy::Refuse).unwrap();
    let sentence = format!("{} is in use by the system", device.device.display());
    assert_eq!(refusal(&device.device), (OpenErrorKind::InUse, sentence));
}

#[test]
fn what_is_mounted_is_refused_by_any_name_unless_forced() {
    if !ready(&[Need::Root]) {
        return;
    }
    let device = Loop::new(8 * MIB, &[]);
    run("mke2fs", &["-q", "-F", text(&device.device)]);
    let mount = Mount::new(&[text(&device.device)]);
    for path in [&device.device, &device.backing] {
        let sentence = format!("{} is mounted", path.display());
        assert_eq!(refusal(path), (OpenErrorKind::Mounted, sentence));
        assert!(Output::open(path, IfBusy::Overwrite).is_ok());
    }
    drop(mount);
    run("e2fsck", &["-fn", text(&device.device)]);
    assert!(Output::open(&device.device, IfBusy::Refuse).is_ok());
}

#[test]
fn a_full_disk_is_told_with_what_it_would_have_taken() {
    if !ready(&[Need::Root]) {
        return;
    }
    let tmpfs = Mount::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    let new = tmpfs.0.path().join("new");
    let old = tmpfs.0.path().join("old");
    junk_file(&old, 8192);
    for path in [&new, &old] {
        let draft = begin(path, 4 * MIB);
        let bytes = bytes_of(4 * MIB, 1);
        let error = draft.file().write_at(0, &bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let sentence = error.to_string();
        let name = format!("{}: cannot write ", path.display());
        let needed = " of 4194304, which needs room for up to 3";
        assert!(sentence.starts_with(&name), "{sentence}");
        assert!(sentence.contains(needed), "{sentence}");
        assert!(sentence.contains("No space left on device"), "{sentence}");
        drop(draft);
    }
    assert!(!new.exists());
    assert_eq!(fs::metadata(&old).unwrap().len(), 8192);
    assert_eq!(fs::read(&old).unwrap()[1024..4096], [0; 3072]);
}

/// Whatever operation fails, nothing is left that has a superblock.
#[test]
fn a_fault_at_any_moment_leaves_no_superblock() {
    let write = |sink: &dyn Sink| {
        sink.zero(1024, 1024)?;
        sink.discard(0, MIB)?;
        sink.zero(4096, 8192)?;
        sink.write_at(65536, &[3; 8192])?;
        sink.write_at(0, &[0xEF; 4096])
    };
    let memory = Memory::filled(MIB, JUNK);
    let whole = Checked::new(memory, 0..MIB).with_superblock_zone(1024..2048);
    write(&whole).unwrap();
    assert!(whole.superblock_came_first_and_last());
    for at in 1..=whole.operations() {
        for fault in [InjectedFault::FailAt(at), InjectedFault::TearAt(at)] {
            let directory = scratch();
            let path = directory.path().join("old");
            junk_file(&path, MIB);
            let draft = begin(&path, MIB);
            let sink = Checked::new(draft.file(), 0..MIB)
                .with_superblock_zone(1024..2048)
                .with_fault(fault);
            write(&sink).unwrap_err();
            assert_eq!(sink.operations_after_fault(), Some(0));
            drop(draft);
            let mut superblock = [1; 1024];
            let file = File::open(&path).unwrap();
            file.read_exact_at(&mut superblock, 1024).unwrap();
            assert_eq!(superblock, [0; 1024], "{fault:?}");
        }
    }
}

/// Runs that a signal or a limit ends, as the command's are: each is a process of its own.
mod stopped {
    use std::fs::{self, File};
    use std::io::{self, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use mke4fs::Cancel;
    use mke4fs::sink::{IfBusy, Output, Sink};

    use super::{JUNK, MIB, Need, begin, bytes_of, junk_file, ready, run, scratch};

    const CHILD: &str = "child_that_writes_until_it_is_stopped";

    /// Writes an image that never ends to `SINK_TEST_OUTPUT`; the tests below run and stop it.
    #[test]
    #[ignore = "it is the child of other tests"]
    fn child_that_writes_until_it_is_stopped() {
        let Ok(path) = std::env::var("SINK_TEST_OUTPUT") else {
            return;
        };
        mke4fs::ignore_file_size_signal().unwrap();
        let cancel = Cancel::by_signals().unwrap();
        let outcome = write_until_stopped(Path::new(&path), &cancel);
        cancel.die_of_signal().unwrap();
        let mut report = File::create(format!("{path}.report")).unwrap();
        write!(report, "{}", outcome.unwrap_err()).unwrap();
    }

    fn write_until_stopped(path: &Path, cancel: &Cancel) -> io::Result<()> {
        let output = Output::open(path, IfBusy::Refuse)?;
        let draft = output.begin(&super::image(0..MIB))?;
        File::create(format!("{}.ready", path.display()))?;
        for offset in (4096..MIB).step_by(4096).cycle() {
            if cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            draft.file().write_at(offset, &[1; 4096])?;
        }
        Ok(())
    }

    /// The child above, which runs after the commands of `shell`.
    fn child(path: &Path, shell: &str) -> Command {
        // Whoever runs the tests may ignore signals, as nohup does, and children inherit that.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=HUP,INT,TERM", "sh", "-c"])
            .args([&format!("{shell} exec \"$@\""), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                &crate::test_name(module_path!(), CHILD),
            ])
            .env("SINK_TEST_OUTPUT", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn wait_for(path: &Path) {
        for _ in 0..3000 {
            if path.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{} never came", path.display());
    }

    #[test]
    fn a_signal_removes_the_new_file_and_ends_the_process_as_it_would_have() {
        for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
            let directory = scratch();
            let path = directory.path().join("new");
            let mut child = child(&path, "").spawn().unwrap();
            wait_for(&directory.path().join("new.ready"));
            assert!(path.exists());
            run("kill", &["-s", name, &child.id().to_string()]);
            assert_eq!(child.wait().unwrap().signal(), Some(number));
            assert!(!path.exists());
        }
    }

    #[test]
    fn an_ignored_hangup_stays_ignored() {
        let directory = scratch();
        let path = directory.path().join("new");
        let mut child = child(&path, "trap '' HUP;").spawn().unwrap();
        wait_for(&directory.path().join("new.ready"));
        run("kill", &["-s", "HUP", &child.id().to_string()]);
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none());
        run("kill", &["-s", "TERM", &child.id().to_string()]);
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        assert!(!path.exists());
    }

    #[test]
    fn a_killed_run_leaves_no_superblock() {
        let directory = scratch();
        let path = directory.path().join("old");
        junk_file(&path, MIB);
        let mut child = child(&path, "").spawn().unwrap();
        wait_for(&directory.path().join("old.ready"));
        run("kill", &["-s", "KILL", &child.id().to_string()]);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(fs::read(&path).unwrap()[1024..4096], [0; 3072]);
        drop(begin(&path, MIB));
    }

    #[test]
    fn a_limit_of_file_sizes_is_an_error_and_not_the_end() {
        let directory = scratch();
        let path = directory.path().join("new");
        // In units of 512 or 1024 bytes, by shell: less than the MiB that the child wants.
        let status = child(&path, "ulimit -f 512;").status().unwrap();
        assert!(status.success(), "{status}");
        let report = fs::read_to_string(directory.path().join("new.report")).unwrap();
        let expected = "cannot make it 1048576 bytes long: File too large";
        assert!(report.contains(expected), "{report}");
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_may_not_be_written_is_refused_to_an_ordinary_user() {
        if !ready(&[Need::Root]) {
            return;
        }
        let directory = scratch();
        let path = directory.path().join("old");
        junk_file(&path, MIB);
        let program = directory.path().join("program");
        // By a program: what this process has open for writing, a child of another thread may hold.
        let this = std::env::current_exe().unwrap();
        let copied = Command::new("cp").arg(this).arg(&program).status();
        assert!(copied.unwrap().success());
        for (path, mode) in [(path.as_path(), 0o444), (directory.path(), 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let status = Command::new("setpriv")
            .args(["--reuid=1000", "--regid=1000", "--clear-groups"])
            .arg(&program)
            .args([
                "--ignored",
                "--exact",
                &crate::test_name(module_path!(), CHILD),
            ])
            .env("SINK_TEST_OUTPUT", &path)
            .stdout(Stdio::null())
            .status()
            .expect("setpriv is needed");
        assert!(status.success(), "{status}");
        let report = fs::read_to_string(directory.path().join("old.report")).unwrap();
        let name = path.display();
        let expected = format!("cannot open {name} for writing: Permission denied");
        assert!(report.starts_with(&expected), "{report}");
        assert!(fs::read(&path).unwrap() == bytes_of(MIB, JUNK));
    }
}
