//! Given runs that somebody ends, or whose storage does, proves that they end at once and undo what they
//! did, and that an undo file restores all that was overwritten by then; prints a table of outcomes.
//!
//! `MKE4FS_TEST_WIDE=1` tries hundreds of moments, and not a few.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::mount::unmount;
use common::tools::{self, Need, Result, ready};
use common::{is_wide, making, torture};
use mke4fs::Builder;
use mke4fs::Cancel;
use mke4fs::check::{CheckOptions, ReadAt, check_until};
use mke4fs::raw::emit::Writing;
use mke4fs::sink::Memory;
use mke4fs::source::dir::Directory;
use mke4fs::source::image::Image;
use mke4fs::source::oci;
use mke4fs::source::tar::Tar;
use tempfile::TempDir;

/// The bytes that an old output has.
const OLD_BYTES: usize = 16 << 20;

/// How long a file is whose copying takes a while.
const LONG_MEBIBYTES: u32 = 300;

/// A tree, an archive of it, a pipe, and a place for images beside them.
struct Workplace(TempDir);

impl Workplace {
    fn new() -> Result<Self> {
        let here = Self(making::workplace()?);
        let tree = here.at("tree");
        for name in ["tree", "many", "long", "out", "disk"] {
            fs::create_dir(here.at(name))?;
        }
        for number in 0..30 {
            let bytes = torture::pattern(number * 10_007);
            fs::write(tree.join(format!("{number:03}")), bytes)?;
        }
        for number in 0..3000 {
            File::create(here.at(&format!("many/{number}")))?;
        }
        let mut long = File::create(here.at("long/file"))?;
        let piece = torture::pattern(1 << 20);
        for _ in 0..LONG_MEBIBYTES {
            long.write_all(&piece)?;
        }
        tools::run(Command::new("mkfifo").arg(here.at("pipe")))?;
        tools::run(
            Command::new("tar")
                .current_dir(&tree)
                .args(["-cf", "../tar", "."]),
        )?;
        Ok(here)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The command with `words`, after the program and arguments of `before`.
    fn command(&self, before: &[&str], words: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_mke4fs");
        // Whoever runs the tests may ignore signals, as a shell's background does, and children
        // inherit that.
        let mut command = Command::new("env");
        command.arg("--default-signal").args(before).arg(program);
        command.arg("-q").args(words).current_dir(self.at(""));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        command
    }

    /// What is in the directory for images.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.at("out")).expect("it is listed");
        entries
            .map(|entry| entry.expect("it is listed").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

/// Sends the signal called `name` to a child.
fn send(child: &Child, name: &str) -> Result<()> {
    let mut kill = Command::new("kill");
    tools::run(kill.args(["-s", name, &child.id().to_string()]))?;
    Ok(())
}

/// Waits until the child ended or `most` went by; says whether it ended.
fn ends_within(child: &mut Child, most: Duration) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < most {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(false)
}

/// Where a run is when a signal comes: what is asked of it, and what its input is.
struct Phase {
    name: &'static str,
    words: &'static [&'static str],
    /// Where standard input is a pipe that stalls, how many bytes of the archive come first.
    fed: Option<usize>,
    /// The file whose being there tells that it came so far.
    begun: Option<&'static str>,
}

const PHASES: [Phase; 6] = [
    Phase {
        name: "a pipe without a writer",
        words: &["-d", "pipe", "out/image", "64M"],
        fed: None,
        begun: None,
    },
    Phase {
        name: "a pipe without a writer, and no size",
        words: &["-d", "pipe", "out/image"],
        fed: None,
        begun: None,
    },
    Phase {
        name: "standard input that stalls",
        words: &["-d", "-", "out/image", "64M"],
        fed: Some(3_000_000),
        begun: None,
    },
    Phase {
        name: "writing, with an undo file",
        words: &["-z", "out/undo", "-d", "long", "out/image", "512M"],
        fed: None,
        begun: Some("out/undo"),
    },
    Phase {
        name: "a walk",
        words: &["--threads", "1", "-d", "many", "out/image", "64M"],
        fed: None,
        begun: Some("out/image"),
    },
    Phase {
        name: "writing",
        words: &["-d", "long", "out/image", "512M"],
        fed: None,
        begun: Some("out/image"),
    },
];

/// The signals that end a process which does not catch them, by the names that kill knows.
const SIGNALS: [(&str, i32); 11] = [
    ("TERM", 15),
    ("INT", 2),
    ("HUP", 1),
    ("QUIT", 3),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("VTALRM", 26),
    ("PROF", 27),
    ("XCPU", 24),
    ("RTMIN", 34),
];

/// How long a run may take to end. On a machine that does nothing else it is 0.6 seconds at most.
const MOST: Duration = Duration::from_secs(5);

#[test]
fn a_signal_ends_a_run_wherever_it_is() -> Result<()> {
    let here = Workplace::new()?;
    let archive = fs::read(here.at("tar"))?;
    let mut wrong = Vec::new();
    for phase in PHASES {
        let signals = if is_wide() || phase.begun == Some("out/undo") {
            &SIGNALS[..]
        } else {
            &SIGNALS[..4]
        };
        let mut longest = Duration::ZERO;
        let mut late = 0;
        for (name, number) in signals {
            fs::remove_dir_all(here.at("out"))?;
            fs::create_dir(here.at("out"))?;
            let mut command = here.command(&[], phase.words);
            if phase.fed.is_some() {
                command.stdin(Stdio::piped());
            }
            let mut child = command.spawn()?;
            if let (Some(fed), Some(stdin)) = (phase.fed, &mut child.stdin) {
                stdin.write_all(&archive[..fed])?;
            }
            let begun = Instant::now();
            let come = |phase: &Phase| phase.begun.is_none_or(|file| here.at(file).exists());
            while !come(&phase) && child.try_wait()?.is_none() && begun.elapsed() < MOST {
                thread::sleep(Duration::from_millis(1));
            }
            if begun.elapsed() >= MOST {
                wrong.push(format!("{}, SIG{name}: it does not begin", phase.name));
            }
            thread::sleep(Duration::from_millis(if phase.begun.is_none() {
                100
            } else {
                5
            }));
            if child.try_wait()?.is_some() {
                late += 1;
                continue;
            }
            let sent = Instant::now();
            send(&child, name)?;
            let has_ended = ends_within(&mut child, MOST)?;
            longest = longest.max(sent.elapsed());
            if !has_ended {
                child.kill()?;
            }
            let status = child.wait()?;
            let left = here.left();
            // What was finished before the signal was heard is as good.
            let is_finished = left.iter().any(|name| name == "image")
                && left.iter().all(|name| name == "image" || name == "undo");
            let is_right = status.signal() == Some(*number) && left.is_empty()
                || status.success() && is_finished;
            if !has_ended || !is_right {
                wrong.push(format!(
                    "{}, SIG{name}: {status}, {left:?} is left",
                    phase.name
                ));
            }
        }
        tools::report(&format!(
            "ends: {}: {} signals, {late} too late, {} ms at most",
            phase.name,
            signals.len(),
            longest.as_millis()
        ));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn the_limit_of_file_sizes_is_told() -> Result<()> {
    let here = Workplace::new()?;
    tools::run(Command::new("gzip").arg(here.at("tar")))?;
    for words in [
        &["out/image", "64M"][..],
        &["-d", "tree", "out/image"],
        &["-d", "tar.gz", "out/image"],
        &["-d", "tar.gz", "out/image", "64M"],
    ] {
        for limit in [0, 1, 4096, 100_000] {
            let limit = format!("--fsize={limit}");
            let output = here.command(&["prlimit", &limit], words).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{words:?} {limit}: {said}");
            assert!(said.contains("file size limit (ulimit -f)"), "{said}");
            assert_eq!(here.left(), [""; 0], "{words:?} {limit}");
        }
    }
    Ok(())
}

/// What ends a run that keeps an undo file.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The undo file's disk has this many thousandths of what it needs.
    FullDisk(u64),
    /// No file may be longer than this many thousandths of the output.
    Limit(u64),
    /// A write fails, and all behind it.
    Fault(u64),
    /// It is killed after this many thousandths of the time it takes.
    Kill(u64),
}

/// An output over old content, with an undo file.
struct Undoing<'a> {
    here: &'a Workplace,
    old: Vec<u8>,
    threads: &'a str,
    source: &'a str,
    takes: Duration,
    undo_bytes: u64,
}

impl Undoing<'_> {
    /// The words of a run, and where its undo file is.
    fn words(&self) -> [&str; 10] {
        let [threads, source] = [self.threads, self.source];
        let words = ["--threads", threads, "-z", "disk/undo", "-E", "nodiscard"];
        let [a, b, c, d, e, f] = words;
        [a, b, c, d, e, f, "-F", "-d", source, "out/image"]
    }

    /// Runs until `end`, and says what is wrong with what is left, if anything.
    fn run(&self, end: End) -> Result<Option<String>> {
        let (here, disk) = (self.here, self.here.at("disk"));
        fs::write(here.at("out/image"), &self.old)?;
        let thousandths = |whole: u64, share: u64| whole * share / 1000;
        let limit;
        let before: Vec<&str> = match end {
            End::FullDisk(share) => {
                let bytes = thousandths(self.undo_bytes, share) + 4096;
                let size = format!("size={bytes}");
                let mut mount = Command::new("mount");
                tools::run(mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(&disk))?;
                Vec::new()
            }
            End::Limit(share) => {
                let bytes = thousandths(u64::try_from(OLD_BYTES)?, share);
                limit = format!("--fsize={bytes}");
                vec!["prlimit", &limit]
            }
            End::Fault(number) => {
                limit = format!("inject=pwrite64:error=ENOSPC:when={number}+");
                vec!["strace", "-f", "-o", "/dev/null", "-e", &limit]
            }
            End::Kill(_) => Vec::new(),
        };
        let mut child = here.command(&before, &self.words()).spawn()?;
        if let End::Kill(share) = end {
            let nanoseconds = u64::try_from(self.takes.as_nanos())?;
            thread::sleep(Duration::from_nanos(thousandths(nanoseconds, share)));
            child.kill()?;
        }
        child.wait_with_output()?;
        let wrong = self.judge(end)?;
        let _ = fs::remove_file(disk.join("undo"));
        if let End::FullDisk(_) = end {
            unmount(&disk)?;
        }
        Ok(wrong)
    }

    /// Whether e2undo brings all back.
    fn judge(&self, end: End) -> Result<Option<String>> {
        let (image, undo) = (self.here.at("out/image"), self.here.at("disk/undo"));
        if is_same(&image, &self.old)? {
            return Ok(None);
        }
        let mut e2undo = Command::new("e2undo");
        e2undo.env("PATH", "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin");
        let mut said = tools::run(e2undo.arg(&undo).arg(&image));
        if let (End::Kill(_), Err(_)) = (end, &said) {
            // Killed between the superblock and the note of it, as the documents say.
            said = tools::run(e2undo.arg("-f"));
        }
        Ok(if is_same(&image, &self.old)? {
            None
        } else {
            Some(format!("{said:?}"))
        })
    }
}

/// Whether `path` begins with `old`: a run that was killed may leave it longer.
fn is_same(path: &Path, old: &[u8]) -> Result<bool> {
    let mut found = vec![0; old.len()];
    File::open(path)?.read_exact_at(&mut found, 0)?;
    Ok(found == old)
}

#[test]
fn what_was_overwritten_comes_back_whatever_ends_the_run() -> Result<()> {
    let needs = ["e2undo", "strace"].map(Need::Program);
    if !ready(&needs) || !ready(&[Need::Root]) {
        return Ok(());
    }
    let here = Workplace::new()?;
    let old = (0_u64..).flat_map(|it| it.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let old: Vec<u8> = old.take(OLD_BYTES).collect();
    let mut table = BTreeMap::new();
    let mut wrong = Vec::new();
    for (threads, source) in [("1", "tree"), ("2", "tar"), ("8", "tree")] {
        fs::write(here.at("out/image"), &old)?;
        let mut undoing = Undoing {
            here: &here,
            old: old.clone(),
            threads,
            source,
            takes: Duration::ZERO,
            undo_bytes: 0,
        };
        let begun = Instant::now();
        tools::run(&mut here.command(&[], &undoing.words()))?;
        undoing.takes = begun.elapsed();
        undoing.undo_bytes = fs::metadata(here.at("disk/undo"))?.len();
        fs::remove_file(here.at("disk/undo"))?;
        let steps = if is_wide() { 45 } else { 5 };
        for step in 0..steps {
            let share = 1000 * step / steps;
            for end in [
                End::FullDisk(share),
                End::Limit(share),
                End::Fault(1 + share * 120 / 1000),
                End::Kill(share * 11 / 10 + 20),
            ] {
                let told = undoing.run(end)?;
                *table.entry(threads).or_insert(0) += 1;
                let told = told.map(|it| format!("{threads} threads, {end:?}: {it}"));
                wrong.extend(told);
            }
        }
    }
    tools::report(&format!(
        "ends: undo files by threads: {table:?}, {} bad",
        wrong.len()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The header of an archive's entry `d`, an empty directory, without end.
struct EndlessArchive {
    header: Vec<u8>,
    at: usize,
    /// What is asked to stop once this many bytes were read.
    stop: Box<dyn Fn() + Send>,
    stops_after: usize,
}

impl EndlessArchive {
    fn new(here: &Workplace, stop: impl Fn() + Send + 'static) -> Result<Self> {
        fs::create_dir_all(here.at("d"))?;
        let archive = here.at("endless.tar");
        let mut tar = Command::new("tar");
        tar.current_dir(here.at("")).arg("--format=ustar");
        tools::run(tar.arg("-cf").arg(&archive).arg("d"))?;
        let mut header = fs::read(archive)?;
        header.truncate(512);
        Ok(Self {
            header,
            at: 0,
            stop: Box::new(stop),
            stops_after: 3 << 20,
        })
    }
}

impl Read for EndlessArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in &mut *buffer {
            *byte = self.header[self.at % self.header.len()];
            self.at += 1;
        }
        // Without that no test that fails would end.
        assert!(self.at < 1 << 30, "nobody hears the wish to stop");
        if self.at >= self.stops_after {
            (self.stop)();
        }
        Ok(buffer.len())
    }
}

#[test]
fn a_plan_ends_when_somebody_asks_to_stop() -> Result<()> {
    let here = Workplace::new()?;
    let builder = || {
        Ok::<_, Box<dyn Error>>(
            Builder::from_options(making::options("64M")?).environment(making::memory_host()),
        )
    };
    let cancel = Cancel::new();
    let button = cancel.clone();
    let endless = EndlessArchive::new(&here, move || button.cancel())?;
    let archive = Tar::from_reader(endless, "endless").spool_in(here.at(""));
    let planned = builder()?.source(archive).cancel(&cancel).plan();
    assert!(
        planned.is_err_and(|error| error.is_cancelled()),
        "an archive"
    );

    // A stream is read while the image is written.
    let cancel = Cancel::new();
    let button = cancel.clone();
    let endless = EndlessArchive::new(&here, move || button.cancel())?;
    let ready = builder()?
        .source(Tar::from_reader(endless, "endless"))
        .prepare()?;
    let writing = Writing {
        cancel: cancel.flag(),
        ..Writing::default()
    };
    let written = ready.write(&Memory::new(64 << 20), &writing);
    assert!(written.is_err_and(|error| error.is_cancelled()), "a stream");

    // What comes through a pipe is kept before any of it is used.
    let cancel = Cancel::new();
    let button = cancel.clone();
    let mut endless = EndlessArchive::new(&here, move || button.cancel())?;
    let pipe = here.at("pipe");
    let writer = thread::spawn(move || io::copy(&mut endless, &mut File::create(pipe)?));
    let images = oci::Image::docker_archive(here.at("pipe")).spool_in(here.at(""));
    let planned = builder()?.source(images).cancel(&cancel).plan();
    assert!(planned.is_err_and(|error| error.is_cancelled()), "a pipe");
    let written = writer.join();
    assert!(
        written.is_ok_and(|written| written.is_err()),
        "all was read"
    );

    let cancel = Cancel::new();
    cancel.cancel();
    for source in ["many", "tree"] {
        let directory = Directory::new(here.at(source));
        let planned = builder()?.source(directory).cancel(&cancel).plan();
        assert!(planned.is_err_and(|error| error.is_cancelled()), "{source}");
    }
    making::make("64M", Some(&here.at("tree")), &here.at("out/image"))?;
    let planned = builder()?.source(Image::open(here.at("out/image")));
    let planned = planned.cancel(&cancel).plan();
    assert!(planned.is_err_and(|error| error.is_cancelled()), "an image");
    Ok(())
}

/// An image that asks to stop at its `stops_at`th reading.
struct Stopping {
    bytes: Vec<u8>,
    readings: AtomicU64,
    stops_at: u64,
    cancel: Cancel,
}

impl ReadAt for Stopping {
    fn size_bytes(&self) -> u64 {
        self.bytes[..].size_bytes()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.readings.fetch_add(1, Ordering::Relaxed) + 1 == self.stops_at {
            self.cancel.cancel();
        }
        self.bytes[..].read_exact_at(offset, buffer)
    }
}

#[test]
fn a_check_ends_when_somebody_asks_to_stop() -> Result<()> {
    let here = Workplace::new()?;
    making::make("64M", Some(&here.at("many")), &here.at("out/image"))?;
    let bytes = fs::read(here.at("out/image"))?;
    let options = CheckOptions::default();
    let stopping = |stops_at| Stopping {
        bytes: bytes.clone(),
        readings: AtomicU64::new(0),
        stops_at,
        cancel: Cancel::new(),
    };
    let image = stopping(0);
    let report = check_until(&image, &options, &image.cancel);
    assert!(report.is_ok_and(|report| report.is_clean()));
    let readings = image.readings.into_inner();
    for stops_at in [1, 2, readings / 3, readings / 2, readings] {
        let image = stopping(stops_at);
        let stopped = check_until(&image, &options, &image.cancel);
        assert!(stopped.is_err(), "at reading {stops_at}");
        assert_eq!(image.readings.into_inner(), stops_at, "read on");
    }
    Ok(())
}
