//! Given block devices full of junk, proves that the command leaves the bytes and says the words
//! that mke2fs 1.47.2 does, whatever their sectors, discarding or not; never mounts one.
//!
//! Runs as root: the devices are loop devices.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::bytes::Pair;
use common::making::{self, CLOCK, SEED_TEXT, UUID_TEXT};
use common::tools::{self, Need, Result, Which, ready};

/// The device's size in MiB, and mke2fs's words without those of `WAYS`.
const ROWS: &[(u64, &str)] = &[
    (32, "-t ext4"),
    (48, "-t ext4 -b 4096"),
    (24, "-t ext2 -b 4096"),
    (24, "-t ext3 -b 4096 -O uninit_bg"),
    (48, "-t ext4 -b 4096 -O bigalloc"),
    (24, "-t ext4 -b 4096 -O ^metadata_csum,quota,project"),
    (24, "-t ext4 -b 4096 -O encrypt,inline_data -I 512"),
    (24, "-t ext4 -b 2048 -O ^flex_bg"),
    (24, "-t ext4 -b 1024 -O meta_bg,^resize_inode"),
    (130, "-t ext4 -b 65536"),
    (24, "-t ext4 -b -1024 -G 4 -J size=8"),
    (24, "-O journal_dev -b 4096"),
];

/// What decides how much old content is left.
const WAYS: &[&str] = &[
    "discard",
    "nodiscard",
    "discard,lazy_itable_init=0",
    "nodiscard,lazy_itable_init=0",
    "nodiscard,lazy_itable_init=0,lazy_journal_init=1",
    "nodiscard,lazy_journal_init=1",
];

/// A loop device over a file of its own that is full of junk.
struct Device {
    file: PathBuf,
    device: PathBuf,
}

impl Device {
    fn new(file: PathBuf, mebibytes: u64, sector_bytes: u32) -> Result<Self> {
        let junk: Vec<u8> = (0..1_u32 << 20)
            .map(|at| u8::try_from((at * 7 + 13) % 251).unwrap_or(0))
            .collect();
        let mut content = File::create(&file)?;
        (0..mebibytes).try_for_each(|_| content.write_all(&junk))?;
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show", "--sector-size"]);
        let said = tools::run(losetup.arg(sector_bytes.to_string()).arg(&file))?;
        let device = said.trim().into();
        Ok(Self { file, device })
    }

    /// Lets the device go, and gives its file.
    fn detach(self) -> Result<PathBuf> {
        tools::run(Command::new("losetup").arg("--detach").arg(&self.device))?;
        Ok(self.file)
    }
}

/// The status and both streams of `command`, without the line that names the program.
fn outcome(command: &mut Command) -> Result<String> {
    let output = command
        .env("SOURCE_DATE_EPOCH", CLOCK.to_string())
        .env("E2FSPROGS_SKIP_PROGRESS", "1")
        .env("MKE2FS_CONFIG", "/no/such/file")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let is_banner = |line: &&str| line.starts_with("mke2fs 1");
    let said: Vec<&str> = said.lines().filter(|line| !is_banner(line)).collect();
    Ok(format!("{}\n{}", output.status, said.join("\n")))
}

fn arguments(words: &str, way: &str, device: &Path) -> Vec<String> {
    let extended = format!("hash_seed={SEED_TEXT},{way}");
    let mut arguments: Vec<String> = ["-F", "-v", "-U", UUID_TEXT, "-E", &extended]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(words.split_whitespace().map(str::to_owned));
    arguments.push(device.to_string_lossy().into_owned());
    arguments
}

/// What is wrong with one row, if anything.
fn check(row: (u64, &str), way: &str, sector_bytes: u32) -> Result<()> {
    let (mebibytes, words) = row;
    let dir = making::workplace()?;
    let make = |name: &str, command: &mut Command| -> Result<(PathBuf, String)> {
        let device = Device::new(dir.path().join(name), mebibytes, sector_bytes)?;
        let said = outcome(command.args(arguments(words, way, &device.device)))?;
        // The two devices may have different names.
        let said = said.replace(&*device.device.to_string_lossy(), "DEVICE");
        Ok((device.detach()?, said))
    };
    let (expected, theirs) = make("expected", &mut tools::command(Which::Reference, "mke2fs")?)?;
    let mut ours = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    let (found, ours) = make("found", ours.arg0("mke2fs"))?;
    if theirs != ours {
        return Err(format!("expected to hear\n{theirs}\nheard\n{ours}").into());
    }
    if !theirs.starts_with("exit status: 0") {
        return Ok(());
    }
    let differences = Pair::open(&expected, &found, 0)?.differences()?;
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    if lines.is_empty() {
        Ok(())
    } else {
        Err(lines.join("\n  ").into())
    }
}

fn check_all(sector_bytes: u32) {
    if !ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let mut wrong = Vec::new();
    for row in ROWS {
        for way in WAYS {
            if let Err(error) = check(*row, way, sector_bytes) {
                wrong.push(format!("{row:?} {way}: {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sectors_of_512_bytes() {
    check_all(512);
}

#[test]
fn sectors_of_4096_bytes() {
    check_all(4096);
}

/// A journal's device is made, and a filesystem listed on it, as mke2fs does; e2fsck finds both sound.
fn journal_elsewhere(words: &str, by: &str) -> Result<()> {
    let dir = making::workplace()?;
    let journal = Device::new(dir.path().join("journal"), 8, 512)?;
    let shown = journal.device.to_string_lossy().into_owned();
    let (name, uuid) = names();
    let by = by.replace("NAME", &name).replace("NUMBER", &uuid);
    let by = by.replace("DEVICE", &shown);
    // The reference's libblkid remembers, and need not see a device that is new.
    let by_path = format!("device={shown}");
    let make =
        |(file, by): (&str, &str), command: &mut dyn FnMut() -> Result<Command>| -> Result<_> {
            let extended = format!("hash_seed={SEED_TEXT}");
            let label = [
                "-q",
                "-F",
                "-E",
                &extended,
                "-O",
                "journal_dev",
                "-L",
                &name,
            ];
            let own = ["-U", &uuid, "-b", "4096", &shown];
            let made = outcome(command()?.args(label).args(own))?;
            let image = dir.path().join(file);
            File::create(&image)?.set_len(24 << 20)?;
            let mut filesystem = command()?;
            filesystem.args(["-F", "-U", UUID_TEXT, "-E", &extended, "-J", by]);
            filesystem.args(words.split_whitespace()).arg(&image);
            let said = made + &outcome(&mut filesystem)?;
            let mut superblocks = vec![0; 3 * 4096];
            File::open(&journal.device)?.read_exact(&mut superblocks)?;
            Ok((image, said, superblocks))
        };
    let mut reference = || tools::command(Which::Reference, "mke2fs");
    let (expected, theirs, listed) = make(("expected", &by_path), &mut reference)?;
    let mut ours = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
        command.arg0("mke2fs");
        Ok(command)
    };
    let (found, said, list) = make(("found", &by), &mut ours)?;
    let checked = tools::command(Which::Reference, "e2fsck")?
        .args(["-fn", "-j", &shown])
        .arg(&found)
        .output()?;
    journal.detach()?;
    assert_eq!(theirs, said);
    assert!(!theirs.contains("exit status: 1"), "{theirs}");
    assert!(checked.status.success(), "{checked:?}");
    assert!(list == listed, "the journal's list is another");
    let differences = Pair::open(&expected, &found, 0)?.differences()?;
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    Ok(())
}

/// A label and a UUID that no other run's device has, nor libblkid's memory of one.
fn names() -> (String, String) {
    let number = RandomState::new().hash_one(std::process::id());
    let label = format!("{:013x}", number >> 12);
    (
        label,
        format!("99999999-2222-4333-8444-{:012x}", number >> 16),
    )
}

#[test]
fn a_journal_has_a_device_of_its_own() -> Result<()> {
    if !ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) {
        return Ok(());
    }
    journal_elsewhere("-t ext4", "device=DEVICE")?;
    journal_elsewhere("-t ext2 -b 4096", "device=LABEL=NAME")?;
    journal_elsewhere("-t ext3 -O quota -b -2048", "device=UUID=NUMBER")
}
