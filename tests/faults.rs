//! Given a world that fails at one point after another, proves that every run of the command says so,
//! has the right status, leaves nothing and touches nothing else; it prints a table of outcomes.
//!
//! `MKE4FS_TEST_WIDE=1` tries every point there is, and not a few of each kind.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::tools::{self, Need, Which, ready};
use common::{is_wide, making, torture};
use mke4fs::sink::{Checked, InjectedFault, Memory, Sink};
use mke4fs::source::{Declared, Source, SourceError};
use mke4fs::tree::{Content, ContentKey, ContentReader, ContentSource, Metadata, NodeId, Tree};
use mke4fs::{Builder, Plan};
use tempfile::TempDir;

/// How many files the builds here have.
const FILES: u64 = 200;

/// Has a run keep an undo file. A new output has nothing that it could keep: where the run makes
/// nothing, it leaves none.
const UNDO: [&str; 2] = ["-z", "undo"];

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It did all it was to do.
    Whole,
    /// It said why not, with the status of a failure, and all is as before.
    Refused,
    /// It ended by the signal it was sent, and all is as before.
    Stopped,
    /// None of these.
    Bad,
}

/// The outcomes by what was done to the runs.
#[derive(Default)]
struct Table {
    rows: BTreeMap<String, BTreeMap<Outcome, u64>>,
    bad: Vec<String>,
}

impl Table {
    fn count(&mut self, what: &str, outcome: Result<Outcome, String>) {
        let outcome = outcome.unwrap_or_else(|story| {
            self.bad.push(format!("{what}: {story}"));
            Outcome::Bad
        });
        let row = self.rows.entry(what.to_owned()).or_default();
        *row.entry(outcome).or_default() += 1;
    }

    /// Prints the table.
    ///
    /// # Panics
    /// Where an outcome is bad, with each such run's story.
    fn close(self) {
        for (what, outcomes) in self.rows {
            let outcomes: Vec<_> = outcomes
                .iter()
                .map(|(outcome, runs)| format!("{runs} {outcome:?}"))
                .collect();
            tools::report(&format!("faults: {what}: {}", outcomes.join(", ")));
        }
        assert!(self.bad.is_empty(), "{}", self.bad.join("\n"));
    }
}

/// A tree, and a place for images beside it.
struct Workplace {
    directory: TempDir,
}

impl Workplace {
    fn new() -> Self {
        let directory = making::workplace().expect("a directory");
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("below")).expect("directories");
        fs::create_dir(directory.path().join("out")).expect("a directory");
        for number in 0..FILES {
            let bytes = torture::pattern(usize::try_from(number * 150).expect("it is small"));
            fs::write(tree.join(format!("below/{number:03}")), bytes).expect("a file");
        }
        symlink("target", tree.join("link")).expect("a symbolic link");
        Self { directory }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn image(&self) -> PathBuf {
        self.at("out/image")
    }

    /// The command that makes the image of the tree, after `before`.
    fn command(&self, before: &[&str], more: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_mke4fs");
        // Whoever runs the tests may ignore signals, as a shell's background does, and children
        // inherit that.
        let mut command = Command::new("env");
        command.arg("--default-signal").args(before).arg(program);
        let seed = format!("hash_seed={}", making::SEED_TEXT);
        command.args(["-q", "-U", making::UUID_TEXT, "-E", &seed]);
        command.args(more).arg("-d").arg(self.at("tree"));
        command.arg(self.image());
        command.current_dir(self.at("")).stdin(Stdio::null());
        command.env("SOURCE_DATE_EPOCH", "1").env("LC_ALL", "C");
        // The standard library adds lines of its own to what it says at an abort.
        command.env_remove("RUST_BACKTRACE");
        command
    }

    /// Runs the command on an output that is not there, and judges how it ends. `whole` is what a
    /// run without a fault makes.
    fn judge(&self, mut command: Command, whole: &[u8]) -> Result<Outcome, String> {
        let output = command.output().map_err(|error| format!("{error:#}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let left = fs::read(self.image()).ok();
        let undo = self.at("undo").exists();
        for file in [self.image(), self.at("undo")] {
            let _ = fs::remove_file(file);
        }
        let story = |what: &str| Err(format!("{what}, {}: {said}", output.status));
        match (output.status.success(), left) {
            (true, Some(image)) if image == whole => Ok(Outcome::Whole),
            (true, _) => story("another image, or none"),
            (false, Some(_)) => story("left something"),
            (false, None) if undo => story("left an undo file"),
            (false, None) => match why(output.status, &said) {
                Ok(outcome) => Ok(outcome),
                Err(what) => story(what),
            },
        }
    }

    /// The image of a run that meets no fault.
    fn whole(&self, more: &[&str]) -> Vec<u8> {
        tools::run(&mut self.command(&[], more)).expect("nothing fails");
        let image = fs::read(self.image()).expect("it is there");
        fs::remove_file(self.image()).expect("it goes");
        let _ = fs::remove_file(self.at("undo"));
        image
    }
}

/// What the end of a run that made nothing is, or what is wrong with it.
fn why(status: ExitStatus, said: &str) -> Result<Outcome, &'static str> {
    let sentences = ["mke4fs: ", "memory allocation of "];
    match (status.code(), status.signal()) {
        (None, Some(_)) if said.is_empty() => Ok(Outcome::Stopped),
        (Some(1), _) if said.contains("panicked") => Err("panicked"),
        (Some(1), _) if sentences.iter().any(|start| said.starts_with(start)) => {
            Ok(Outcome::Refused)
        }
        (Some(1), _) => Err("said nothing"),
        _ => Err("another status"),
    }
}

/// Some numbers from `first` to `last`: all of them if the tests are wide, or else the first, the
/// last, and a few between.
fn some(first: u64, last: u64) -> Vec<u64> {
    if is_wide() || last < first + 4 {
        return (first..=last).collect();
    }
    let between = (1..3).map(|number| first + (last - first) * number / 3);
    std::iter::once(first)
        .chain(between)
        .chain([last])
        .collect()
}

/// The system calls that may fail, and how the kernel lets them.
const CALLS: [(&str, &[&str]); 17] = [
    ("openat", &["EIO", "EMFILE", "EINTR"]),
    ("newfstatat", &["EIO", "ENOMEM"]),
    ("statx", &["EIO"]),
    ("getdents64", &["EIO"]),
    ("readlinkat", &["EIO"]),
    ("llistxattr", &["EIO"]),
    ("flistxattr", &["EIO"]),
    ("ioctl", &["EIO"]),
    ("lseek", &["EIO"]),
    ("fcntl", &["EMFILE"]),
    ("flock", &["ENOLCK"]),
    ("ftruncate", &["EFBIG", "ENOSPC"]),
    ("fallocate", &["EIO", "EOPNOTSUPP"]),
    ("pread64", &["EIO", "EINTR"]),
    ("pwrite64", &["EIO", "ENOSPC", "EDQUOT", "EINTR"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("clone3", &["EAGAIN"]),
];

/// How often `command` makes each system call.
fn calls(mut command: Command, log: &Path) -> BTreeMap<String, u64> {
    tools::run(&mut command).expect("nothing fails");
    let log = fs::read_to_string(log).expect("strace wrote it");
    let mut calls = BTreeMap::new();
    for line in log.lines() {
        let call = line.trim_start_matches(|it: char| it.is_ascii_digit() || it == ' ');
        if let Some((name, _)) = call.split_once('(') {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

/// How often a run of `workplace` makes each call before it does anything, and in all.
fn numbers(workplace: &Workplace, more: &[&str]) -> [BTreeMap<String, u64>; 2] {
    let log = workplace.at("log");
    let name = log.to_str().expect("it is UTF-8");
    let traced = ["strace", "-f", "-o", name];
    let mut nothing = Command::new("strace");
    nothing.args(&traced[1..]).arg(env!("CARGO_BIN_EXE_mke4fs"));
    nothing.arg("-V");
    let before = calls(nothing, &log);
    let all = calls(workplace.command(&traced, more), &log);
    fs::remove_file(workplace.image()).expect("it goes");
    let _ = fs::remove_file(workplace.at("undo"));
    [before, all]
}

#[test]
fn every_system_call_may_fail() {
    if !ready(&[Need::Program("strace")]) {
        return;
    }
    let workplace = Workplace::new();
    let mut table = Table::default();
    // strace counts each thread's calls by themselves, so there is one, but where threads fail.
    for (threads, size) in [("1", "auto"), ("1", "64M"), ("3", "auto"), ("3", "64M")] {
        let undo = if size == "64M" { &UNDO[..] } else { &[] };
        let more = [&["--threads", threads, "--sync", "--size", size], undo].concat();
        let is_about = |call: &str| (call == "clone3") == (threads != "1");
        let calls = CALLS.iter().filter(|(call, _)| is_about(call));
        fail_calls(&workplace, &more, calls, &mut table);
    }
    table.close();
}

/// The forms of an output that have tables, hashes or files of their own. The file beside is called as an
/// undo file is, of which nothing may be left either.
const FORMS: [&[&str]; 9] = [
    &["--format", "qcow2"],
    &["--format", "qcow2", "--compress", "zlib"],
    &["--format", "vhdx"],
    &["--format", "vhd"],
    &["--format", "vhd,dynamic"],
    &["--format", "simg"],
    &["--verity", "-b", "4096"],
    &["--verity=undo", "-b", "4096"],
    &["--bmap", "undo"],
];

#[test]
fn every_system_call_may_fail_whatever_the_form() {
    if !ready(&[Need::Program("strace")]) {
        return;
    }
    let workplace = Workplace::new();
    let mut table = Table::default();
    for form in FORMS {
        let more = [&["--threads", "1", "--sync", "--size", "64M"], form].concat();
        let is_about = |call: &str| ["ftruncate", "pwrite64", "fsync"].contains(&call);
        let calls = CALLS.iter().filter(|(call, _)| is_about(call));
        fail_calls(&workplace, &more, calls, &mut table);
    }
    table.close();
}

#[test]
fn limits_and_signals_leave_nothing_whatever_the_form() {
    if !ready(&[Need::Program("strace")]) {
        return;
    }
    let workplace = Workplace::new();
    let mut table = Table::default();
    for form in FORMS {
        let more = [&["--threads", "2", "--size", "64M"], form].concat();
        let whole = workplace.whole(&more);
        for thousands in some(0, 12_000) {
            let limit = format!("--fsize={}", thousands * 1000);
            let outcome = workplace.judge(workplace.command(&["prlimit", &limit], &more), &whole);
            let outcome = outcome.map_err(|story| format!("{form:?}, {limit}: {story}"));
            table.count("few bytes in a file, as a form", outcome);
        }
        // What comes last of a map is written after the image, and a signal that comes then is late.
        if form[0] != "--bmap" {
            let more = [&["--threads", "1", "--size", "64M"], form].concat();
            send_signals(&workplace, &more, &["SIGTERM"], &mut table);
        }
    }
    table.close();
}

fn fail_calls<'a>(
    workplace: &Workplace,
    more: &[&str],
    to_fail: impl Iterator<Item = &'a (&'static str, &'static [&'static str])>,
    table: &mut Table,
) {
    let whole = workplace.whole(more);
    let [before, all] = numbers(workplace, more);
    for (call, errors) in to_fail {
        let call = *call;
        let first = before.get(call).copied().unwrap_or(0) + 1;
        let Some(last) = all.get(call).copied().filter(|last| *last >= first) else {
            continue;
        };
        for error in *errors {
            for number in some(first, last) {
                let inject = format!("inject={call}:error={error}:when={number}");
                let traced = ["strace", "-f", "-o", "/dev/null", "-e", &inject];
                let outcome = workplace.judge(workplace.command(&traced, more), &whole);
                let outcome = outcome.map_err(|story| format!("number {number}: {story}"));
                table.count(&format!("{call} fails with {error}"), outcome);
            }
        }
    }
}

#[test]
fn a_signal_may_come_at_any_moment() {
    if !ready(&[Need::Program("strace")]) {
        return;
    }
    let workplace = Workplace::new();
    let mut table = Table::default();
    let words = ["--threads", "1", "--size"];
    let plain = [&words[..], &["auto"]].concat();
    send_signals(&workplace, &plain, &SIGNALS, &mut table);
    let with_undo = [&words[..], &["64M"], &UNDO].concat();
    send_signals(&workplace, &with_undo, &SIGNALS, &mut table);
    table.close();
}

/// Signals that end a run.
const SIGNALS: [&str; 8] = [
    "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGXCPU", "SIGPIPE",
];

fn send_signals(workplace: &Workplace, more: &[&str], signals: &[&str], table: &mut Table) {
    // What an undo file is told of the last superblock once it is written.
    let behind = if more.contains(&"-z") { 2 } else { 0 };
    let whole = workplace.whole(more);
    let [before, all] = numbers(workplace, more);
    for signal in signals {
        for call in ["getdents64", "newfstatat", "ftruncate", "flock", "pwrite64"] {
            let first = before.get(call).copied().unwrap_or(0) + 1;
            for number in some(first, all[call]) {
                let inject = format!("inject={call}:signal={signal}:when={number}");
                let traced = ["strace", "-f", "-o", "/dev/null", "-e", &inject];
                let outcome = workplace.judge(workplace.command(&traced, more), &whole);
                let expected = |outcome: &Outcome| {
                    // With the last byte written it is too late, and each lock is given back after that; a
                    // pipe is nothing to it.
                    let late = call == "pwrite64" && number + behind >= all[call]
                        || call == "flock" && number > all[call] / 2;
                    *outcome == Outcome::Stopped
                        || *outcome == Outcome::Whole && (late || *signal == "SIGPIPE")
                };
                let outcome = outcome.and_then(|outcome| {
                    if expected(&outcome) {
                        Ok(outcome)
                    } else {
                        Err(format!("{outcome:?}"))
                    }
                });
                let outcome = outcome.map_err(|story| format!("{call} {number}: {story}"));
                table.count(&format!("{signal} at {call}"), outcome);
            }
        }
    }
}

/// How many kB of address space the command needs to be loaded and to start, and some more.
fn least_address_space() -> u64 {
    let starts = |kilobytes: &u64| {
        let mut command = Command::new("prlimit");
        command.arg(format!("--as={}", kilobytes * 1000));
        command.args([env!("CARGO_BIN_EXE_mke4fs"), "-V"]);
        tools::run(&mut command).is_ok()
    };
    let mut sizes = (4_000..).step_by(250);
    sizes.find(starts).expect("it starts with any amount") + 250
}

#[test]
fn limits_are_told_and_leave_nothing() {
    let workplace = Workplace::new();
    let least = least_address_space();
    let mut table = Table::default();
    for threads in ["1", "4"] {
        let more = ["--threads", threads];
        let whole = workplace.whole(&more);
        let limits = [
            (
                "--as",
                some(least, least + 24_000),
                1000,
                "bytes of address space",
            ),
            ("--fsize", some(0, 60_000), 1000, "bytes in a file"),
            ("--nofile", some(4, 40), 1, "open files"),
            ("--stack", some(200, 400), 1000, "bytes of stack"),
        ];
        for (limit, steps, unit, what) in limits {
            for step in steps {
                let limit = format!("{limit}={}", step * unit);
                let command = workplace.command(&["prlimit", &limit], &more);
                let outcome = workplace.judge(command, &whole);
                let outcome = outcome.map_err(|story| format!("{limit}: {story}"));
                table.count(&format!("few {what}, {threads} threads"), outcome);
            }
        }
    }
    table.close();
}

/// Contents of which one access fails.
struct Failing {
    accesses: AtomicU64,
    fails_at: u64,
}

impl Failing {
    fn access(&self, error: io::ErrorKind) -> io::Result<()> {
        if self.accesses.fetch_add(1, Ordering::Relaxed) + 1 == self.fails_at {
            Err(error.into())
        } else {
            Ok(())
        }
    }
}

struct FailingReader<'a>(&'a Failing);

impl ContentReader for FailingReader<'_> {
    fn read_exact_at(&mut self, _offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.access(io::ErrorKind::UnexpectedEof)?;
        buffer.fill(7);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.access(io::ErrorKind::InvalidData)
    }
}

impl ContentSource for Failing {
    fn open(&self, _key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        self.access(io::ErrorKind::NotFound)?;
        Ok(Box::new(FailingReader(self)))
    }

    fn describe(&self, key: ContentKey) -> Vec<u8> {
        format!("content {key}").into_bytes()
    }
}

/// A source of files whose contents are one [`Failing`].
struct Files(Arc<Failing>);

impl Source for Files {
    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        for key in 0..FILES {
            let content = Content::new(1 + key * 150, self.0.clone(), key);
            tree.file_at(
                at,
                format!("{key:03}").as_bytes(),
                Metadata::default(),
                content,
            )?;
        }
        Ok(Declared::default())
    }
}

fn plan_of_files(fails_at: u64) -> (Plan, Arc<Failing>) {
    let accesses = AtomicU64::new(0);
    let failing = Arc::new(Failing { accesses, fails_at });
    let options = making::options("-b 4096 16M -E nodiscard").expect("options");
    let builder = Builder::from_options(options)
        .environment(making::memory_host())
        .source(Files(failing.clone()));
    (builder.plan().expect("it fits"), failing)
}

/// Writes `plan`, which must fail with `expected` in the sentence and leave no superblock.
fn fails<S: Sink>(plan: &Plan, sink: &S, expected: &str) -> Result<Outcome, String> {
    let written = making::write_to(plan, sink, 1).map_err(|error| format!("{error:#}"));
    let Err(said) = written else {
        return Err("nothing was said".into());
    };
    if !said.contains(expected) {
        return Err(said);
    }
    let mut magic = [0; 2];
    sink.read_at(1024 + 56, &mut magic).expect("it is read");
    match magic {
        [0x53, 0xef] => Err("left a superblock".into()),
        _ => Ok(Outcome::Refused),
    }
}

#[test]
fn every_read_may_fail() {
    let (plan, counted) = plan_of_files(0);
    let size = plan.size_bytes();
    making::write_to(&plan, &Memory::new(size), 1).expect("nothing fails");
    let accesses = counted.accesses.load(Ordering::Relaxed);
    assert!(accesses >= 3 * FILES, "{accesses} accesses");
    let mut table = Table::default();
    let step = if is_wide() { 1 } else { 23 };
    for number in (1..=accesses).step_by(step) {
        let (plan, _) = plan_of_files(number);
        let outcome = fails(&plan, &Memory::new(size), "cannot read content ");
        table.count("a content fails", outcome);
    }
    table.close();
}

#[test]
fn every_write_may_fail_or_be_short() {
    let (plan, _) = plan_of_files(0);
    let size = plan.size_bytes();
    let image = || Checked::new(Memory::new(size), 0..size).with_superblock_zone(1024..4096);
    let sink = image();
    making::write_to(&plan, &sink, 1).expect("nothing fails");
    let mut table = Table::default();
    for number in 1..=sink.operations() {
        for (fault, what) in [
            (InjectedFault::FailAt(number), "a write fails"),
            (InjectedFault::TearAt(number), "a write is short"),
        ] {
            let outcome = fails(&plan, &image().with_fault(fault), "injected storage fault");
            table.count(what, outcome);
        }
    }
    table.close();
}

type Make = fn(&Path) -> io::Result<()>;

/// What stands at the output's place, how it comes there, and what the command says of it.
const OUTPUTS: [(&str, Make, &str); 8] = [
    (
        "a directory",
        |at| fs::create_dir(at),
        "is a directory: must be a regular file or a block device",
    ),
    (
        "a dangling link",
        |at| symlink("nowhere", at),
        "is a symbolic link to a file that does not exist; name that file instead",
    ),
    (
        "a link to itself",
        |at| symlink("image", at),
        "Too many symbolic links encountered",
    ),
    (
        "a pipe",
        |at| run("mkfifo", &[at]),
        "is a pipe: must be a regular file or a block device",
    ),
    (
        "a full device",
        |at| symlink("/dev/full", at),
        "is a character device: must be a regular file or a block device",
    ),
    (
        "another's file in a shared directory",
        |at| {
            share(at)?;
            fs::write(at, "theirs")?;
            std::os::unix::fs::chown(at, Some(1234), None)
        },
        "belongs to another user, in a directory that anybody can write to; name another file",
    ),
    (
        "another's link in a shared directory",
        |at| {
            share(at)?;
            symlink("../secret", at)?;
            std::os::unix::fs::lchown(at, Some(1234), None)
        },
        "belongs to another user, in a directory that anybody can write to; name another file",
    ),
    (
        "a file that another run writes",
        |at| fs::write(at, "theirs"),
        "is being written by another run",
    ),
];

/// Makes the directory of `at` one like `/tmp`, which belongs to yet another user.
fn share(at: &Path) -> io::Result<()> {
    let directory = at.parent().expect("it has one");
    std::os::unix::fs::chown(directory, Some(4321), None)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o1777))
}

fn run(program: &str, arguments: &[&Path]) -> io::Result<()> {
    tools::run(Command::new(program).args(arguments))
        .map(drop)
        .map_err(|error| io::Error::other(format!("{error:#}")))
}

/// All that lies below a directory: names, what they are, and what regular files contain.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (String, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("it is listed") {
        let entry = entry.expect("it is listed");
        let metadata = entry.metadata().expect("lstat");
        let kind = format!("{:?} {:?}", metadata.file_type(), metadata.permissions());
        let bytes = if metadata.is_file() {
            fs::read(entry.path()).expect("it is read")
        } else {
            Vec::new()
        };
        if metadata.is_dir() {
            found.extend(snapshot(&entry.path()));
        }
        found.insert(entry.path(), (kind, bytes));
    }
    found
}

#[test]
fn hostile_outputs_are_refused_and_stay() {
    if !ready(&[Need::Root]) {
        return;
    }
    let mut table = Table::default();
    for (what, make, expected) in OUTPUTS {
        let workplace = Workplace::new();
        fs::write(workplace.at("secret"), "of somebody").expect("a file");
        make(&workplace.image()).expect(what);
        let other_run = expected.contains("another run").then(|| {
            let file = fs::File::open(workplace.image()).expect("it opens");
            file.lock().expect("it is locked");
            file
        });
        let before = snapshot(&workplace.at(""));
        let output = workplace.command(&[], &[]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let outcome = match output.status.code() {
            Some(1) if snapshot(&workplace.at("")) != before => Err("touched something".into()),
            Some(1) if said.lines().count() == 1 && said.trim_end().ends_with(expected) => {
                Ok(Outcome::Refused)
            }
            Some(1) if said.contains(expected) && !expected.contains("; ") => Ok(Outcome::Refused),
            _ => Err(format!("{}: {said}", output.status)),
        };
        drop(other_run);
        table.count(&format!("the output is {what}"), outcome);
    }
    table.close();
}

#[test]
fn what_cannot_be_told_is_a_failure() {
    let workplace = Workplace::new();
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let mut command = workplace.command(&[], &["--json"]);
    let output = command.stdout(full).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(
        said,
        "mke4fs: cannot write to standard output: No space left on device\n"
    );
    // It is finished all the same.
    tools::e2fsck(&workplace.image(), Which::System).expect("it is sound");
}
