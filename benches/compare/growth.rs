//! Given a number of files, times how the cost of one grows up to it, for mke4fs and for the floor, and
//! what memory it takes; never keeps the trees.
//!
//! The floor tells how much of the growth is the system's, whose tables of a million files are in no cache
//! of a processor. It reads each directory with one thread, so only its growth says something there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Result;
use super::claims::Verdict;
use super::table::Times;

/// How often each tree is made an image of.
const RUNS: usize = 3;
/// What is claimed: how much dearer a file is at most among a hundred times as many.
const DEARER: f64 = 1.15;
/// What is claimed: bytes of memory for each file, and beside that.
const BYTES_A_FILE: f64 = 200.0;
const BYTES_BESIDE: f64 = 67_108_864.0;

/// Measures trees of a hundredth of `files` files and of all of them, in one directory and spread out,
/// in the directory `dir`.
pub(crate) fn measure(dir: &Path, files: u32) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    println!(
        "\n## growth\n\n| files | in one directory | s | µs a file | MiB of memory | floor, µs a file |\n|---|---|---|---|---|---|"
    );
    for (shape, per_directory) in [("spread", 100), ("one directory", u32::MAX)] {
        let mut costs = Vec::new();
        let mut last = None;
        for files in [files / 100, files] {
            let tree = dir.join("growth");
            make(&tree, files, per_directory)?;
            let Images { times, peak, floor } = images_of(&tree, dir, files)?;
            fs::remove_dir_all(&tree)?;
            let of_one = |times: &Times| times.median() / f64::from(files) * 1e6;
            let (cost, floor) = (of_one(&times), of_one(&floor));
            let mebibytes = peak / f64::from(1 << 20);
            let median = times.median();
            println!(
                "| {files} | {shape} | {median:.3} | {cost:.2} | {mebibytes:.1} | {floor:.2} |"
            );
            costs.push(cost);
            last = Some((times, peak));
        }
        let Some((times, peak)) = last else {
            continue;
        };
        let verdict = |measured: &str, value, most| Verdict {
            work: format!("{files} files, {shape}"),
            measured: measured.to_owned(),
            value,
            most,
            spread: times.spread(),
        };
        verdicts.push(verdict(
            "cost of one, of that among a hundredth",
            costs[1] / costs[0],
            DEARER,
        ));
        let allowed = BYTES_A_FILE * f64::from(files) + BYTES_BESIDE;
        verdicts.push(verdict(
            "memory, of 200 bytes a file + 64 MiB",
            peak / allowed,
            1.0,
        ));
    }
    Ok(verdicts)
}

/// Makes a tree of files of one byte.
fn make(tree: &Path, files: u32, per_directory: u32) -> Result<()> {
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    fs::create_dir_all(tree)?;
    for file in 0..files {
        let directory = tree.join(format!("directory_{:05}", file / per_directory));
        if file % per_directory == 0 {
            fs::create_dir(&directory)?;
        }
        fs::write(directory.join(format!("file_{file:07}.json")), "x")?;
    }
    Ok(())
}

struct Images {
    times: Times,
    /// The most memory, in bytes.
    peak: f64,
    /// The times of the floor.
    floor: Times,
}

/// Images of `tree`, after one that is not counted.
fn images_of(tree: &Path, dir: &Path, files: u32) -> Result<Images> {
    let output = dir.join("output");
    let mebibytes = 256 + files / 128;
    let mut images = Images {
        times: Times::default(),
        peak: 0.0,
        floor: Times::default(),
    };
    for round in 0..=RUNS {
        let mut floor = Command::new(std::env::current_exe()?);
        floor.arg("floor").arg(tree).arg(&output).arg("2");
        let (floor_taken, _) = run(&mut floor)?;
        fs::remove_file(&output)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
        command.arg("-q").arg("-d").arg(tree).arg(&output);
        command.arg(format!("{mebibytes}M")).stdin(Stdio::null());
        let (taken, bytes) = run(&mut command)?;
        fs::remove_file(&output)?;
        images.peak = images.peak.max(bytes);
        if round > 0 {
            images.times.push(taken);
            images.floor.push(floor_taken);
        }
    }
    Ok(images)
}

/// How long `command` takes, and its memory at its highest, as the system tells it shortly before
/// the end.
fn run(command: &mut Command) -> Result<(Duration, f64)> {
    let start = Instant::now();
    let mut child = command.spawn()?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut kibibytes = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            let taken = start.elapsed();
            return if status.success() {
                Ok((taken, f64::from(kibibytes) * 1024.0))
            } else {
                Err(format!("{command:?}: {status}").into())
            };
        }
        let status = fs::read_to_string(&status_file).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes = number.map_or(kibibytes, |number| number.parse().unwrap_or(kibibytes));
        thread::sleep(Duration::from_millis(2));
    }
}
