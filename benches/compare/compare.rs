//! Given a place with room, times mke4fs against other builders of ext4 images and against the
//! machine itself; prints medians, ratios and spreads, and whether what is claimed of them holds.
//! Never keeps an image.
//!
//! `cargo bench --bench compare -- run [--dir DIR] [--work small,flat,big,empty,growth]
//! [--scale PERCENT] [--files N] [--runs N] [--warm GIB] [--sources DIR,DIR] [--without NAME;NAME]
//! [--keep FILE]`
//!
//! `cargo bench --bench compare -- chart FILE` prints an SVG picture of what `--keep FILE` kept. The README's
//! is `benches/chart.svg`, of `benches/chart.tsv`.
//!
//! The trees are made once below DIR, `target/compare` by default, the contenders are
//! installed below `target/contenders`: mkext4 and arcbox-ext4 from crates.io, mke2fs, genext2fs, zstd
//! and tar from the system. What is missing is named and left out. Each round runs every contender
//! once, so that a machine that changes its pace does so for all, and finds GIB of memory that was touched
//! before; the outputs are new files each time, and nothing waits for a disk. A look at all of it: `--scale 5 --files 20000 --runs 3 --warm 0`.

mod chart;
mod claims;
mod contenders;
mod empty;
mod floor;
mod growth;
mod layers;
mod programs;
mod table;
mod workloads;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use contenders::Contender;
use table::Times;
use workloads::Workload;

pub(super) type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Arguments {
    dir: PathBuf,
    work: Vec<String>,
    sources: Vec<PathBuf>,
    scale: u64,
    files: u32,
    runs: usize,
    warm: usize,
    without: Vec<String>,
    keep: Option<PathBuf>,
}

/// All that is measured.
const WORK: [&str; 5] = ["small", "flat", "big", "empty", "growth"];

pub(super) fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| *argument != "--bench")
        .collect();
    match &words[..] {
        ["run", rest @ ..] => run(&parse(rest)?),
        // The picture of what --keep kept.
        ["chart", data] => {
            print!("{}", chart::draw(&fs::read_to_string(data)?)?);
            Ok(())
        }
        ["floor", source, output, threads] => floor::copy(source, output, threads.parse()?),
        // What starting a process costs by itself.
        ["nothing"] => Ok(()),
        // `cargo bench` without a name runs every benchmark; this one takes long and needs room.
        _ => {
            println!("compare: cargo bench --bench compare -- run");
            Ok(())
        }
    }
}

fn parse(words: &[&str]) -> Result<Arguments> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut arguments = Arguments {
        dir: root.join("target/compare"),
        work: WORK.map(String::from).to_vec(),
        sources: Vec::new(),
        scale: 100,
        files: 1_000_000,
        runs: 7,
        warm: 2,
        without: Vec::new(),
        keep: None,
    };
    for pair in words.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("{} needs a value", pair.concat()).into());
        };
        match *name {
            "--dir" => arguments.dir = PathBuf::from(value),
            "--work" => arguments.work = value.split(',').map(String::from).collect(),
            "--sources" => arguments.sources = value.split(',').map(PathBuf::from).collect(),
            "--scale" => arguments.scale = value.parse()?,
            "--files" => arguments.files = value.parse::<u32>()?.max(100),
            "--runs" => arguments.runs = value.parse::<usize>()?.max(1),
            "--without" => arguments.without = value.split(';').map(String::from).collect(),
            "--keep" => arguments.keep = Some(PathBuf::from(value)),
            "--warm" => arguments.warm = value.parse()?,
            _ => return Err(format!("there is no option {name}").into()),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> Result<()> {
    fs::create_dir_all(&arguments.dir)?;
    let mut workloads = Vec::new();
    for name in arguments.work.iter().filter(|name| !name.is_empty()) {
        if !["empty", "growth"].contains(&name.as_str()) {
            workloads.push(workloads::make(&arguments.dir, name, arguments.scale)?);
        }
    }
    for source in &arguments.sources {
        workloads.push(Workload::of(source)?);
    }
    println!("{}", table::machine());
    let mut contenders = contenders::all()?;
    // Some take minutes on directories of many files.
    let is_out = |name: &str| arguments.without.iter().any(|out| name.starts_with(out));
    contenders.retain(|contender| !is_out(contender.name));
    let mut verdicts = Vec::new();
    for workload in &workloads {
        if contenders.iter().any(Contender::reads_packed) {
            workload.pack(&arguments.dir)?;
        }
        let times = time_all(&contenders, workload, arguments)?;
        table::print(workload, &times);
        if let Some(path) = &arguments.keep {
            let is_memory = arguments.dir.starts_with("/dev/shm");
            let place = if is_memory { "tmpfs" } else { "disk" };
            let how = format!(
                "Medians of {} runs; sources and outputs on {place}",
                arguments.runs
            );
            let about = [table::machine(), how, contenders::version_of_mke2fs()];
            table::keep(path, &about, workload, &times)?;
        }
        verdicts.extend(claims::of_times(&workload.name, &times));
    }
    let asked = |name: &str| arguments.work.iter().any(|work| work == name);
    if asked("empty") {
        verdicts.extend(empty::measure(&place_of_files(&arguments.dir))?);
    }
    if asked("growth") {
        touch(arguments.warm << 30);
        verdicts.extend(growth::measure(&arguments.dir, arguments.files)?);
    }
    claims::print(&verdicts);
    Ok(())
}

/// Touches `bytes` bytes of memory: fresh pages may cost a virtual machine ten times as much.
fn touch(bytes: usize) {
    let mut memory = vec![0_u8; bytes];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(memory);
}

/// The times of each contender.
fn time_all(
    contenders: &[Contender],
    workload: &Workload,
    arguments: &Arguments,
) -> Result<Vec<(&'static str, Times)>> {
    let named = contenders.iter().map(|contender| contender.name);
    let mut times: Vec<_> = named.map(|name| (name, Times::default())).collect();
    // The first round only warms.
    for round in 0..=arguments.runs {
        for turn in 0..contenders.len() {
            let place = (turn + round) % contenders.len();
            // What the one before left of the machine is nothing to the next: each finds memory that
            // is there already, and its sources in the page cache, from which some hosts take what was
            // not used for seconds.
            touch(arguments.warm << 30);
            workload.warm(&arguments.dir)?;
            let taken = time(&contenders[place], workload, &arguments.dir)?;
            if round > 0 {
                times[place].1.push(taken);
            }
        }
    }
    Ok(times)
}

/// Where unpacked files go, and what is too large for some filesystems: to memory, where the system has
/// a directory for that.
fn place_of_files(dir: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        dir.to_owned()
    }
}

fn time(contender: &Contender, workload: &Workload, dir: &Path) -> Result<Duration> {
    let output = if contender.writes_files {
        place_of_files(dir).join("mke4fs-compare")
    } else {
        dir.join("output")
    };
    let mut command = contender.command(workload, dir, &output);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped());
    let start = Instant::now();
    let done = command.output()?;
    let taken = start.elapsed();
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{}: {}: {said}", contender.name, done.status).into());
    }
    if output.is_dir() {
        fs::remove_dir_all(&output)?
    } else {
        fs::remove_file(&output)?
    }
    Ok(taken)
}
