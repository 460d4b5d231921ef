//! Given sizes, times how long filesystems without content take; never keeps one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Result;
use super::claims::Verdict;
use super::programs::in_path;
use super::table::Times;

/// How often each is made: a few milliseconds are soon over.
const RUNS: usize = 15;

/// What is claimed of an empty filesystem of some size.
enum Claim {
    /// At most this many milliseconds more than a process that does nothing.
    OverNothing(f64),
    /// At most this share of mke2fs's time, and this many MiB on disk.
    OfMke2fs(f64, Option<u32>),
}

const SIZES: [(&str, Claim); 4] = [
    ("64M", Claim::OverNothing(1.5)),
    ("8G", Claim::OverNothing(1.5)),
    ("1T", Claim::OfMke2fs(0.4, Some(32))),
    ("20T", Claim::OfMke2fs(0.4, None)),
];

/// Measures all sizes in the directory `dir`.
pub(crate) fn measure(dir: &Path) -> Result<Vec<Verdict>> {
    let mke2fs = in_path("mke2fs")?;
    let output = dir.join("output");
    let mut verdicts = Vec::new();
    println!(
        "\n## empty\n\n| size | mke4fs ms | mke2fs ms | nothing ms | MiB on disk |\n|---|---|---|---|---|"
    );
    for (size, claim) in SIZES {
        let mut times = [Times::default(), Times::default(), Times::default()];
        let mut bytes = 0;
        for round in 0..=RUNS {
            let ours = format(Path::new(env!("CARGO_BIN_EXE_mke4fs")), size, &output)?;
            bytes = fs::metadata(&output)?.blocks() * 512;
            let taken = [ours, format(&mke2fs, size, &output)?, nothing()?];
            if round > 0 {
                times
                    .iter_mut()
                    .zip(taken)
                    .for_each(|(times, taken)| times.push(taken));
            }
        }
        fs::remove_file(&output)?;
        let [own, other, empty] = &times;
        let ms = |times: &Times| times.median() * 1000.0;
        let mebibytes = u32::try_from(bytes >> 20)?;
        let row = [ms(own), ms(other), ms(empty)].map(|ms| format!("{ms:.2}"));
        println!("| {size} | {} | {mebibytes} |", row.join(" | "));
        let verdict = |measured: &str, value, most| Verdict {
            work: format!("empty, {size}"),
            measured: measured.to_owned(),
            value,
            most,
            spread: own.spread(),
        };
        match claim {
            Claim::OverNothing(most) => {
                verdicts.push(verdict(
                    "ms over an empty process",
                    ms(own) - ms(empty),
                    most,
                ));
            }
            Claim::OfMke2fs(most, disk) => {
                verdicts.push(verdict("mke4fs, of mke2fs", ms(own) / ms(other), most));
                let disk =
                    disk.map(|most| verdict("MiB on disk", f64::from(mebibytes), f64::from(most)));
                verdicts.extend(disk);
            }
        }
    }
    Ok(verdicts)
}

/// How long `program` takes to make `output`, which is new each time.
fn format(program: &Path, size: &str, output: &Path) -> Result<Duration> {
    if output.exists() {
        fs::remove_file(output)?;
    }
    let mut command = Command::new(program);
    command
        .args(["-q", "-F", "-t", "ext4"])
        .arg(output)
        .arg(size);
    command.env("MKE2FS_CONFIG", "/nonexistent");
    time(&mut command)
}

/// How long a program takes that does nothing.
fn nothing() -> Result<Duration> {
    time(Command::new(std::env::current_exe()?).arg("nothing"))
}

fn time(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = command.stderr(Stdio::null()).status()?;
    let taken = start.elapsed();
    if status.success() {
        Ok(taken)
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}
