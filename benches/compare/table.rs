//! Given times, prints a table of them, and keeps them in a file; never measures one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Result;
use super::chart;
use super::contenders::MKE4FS;
use super::workloads::Workload;

/// The times of one contender, in seconds, the least first.
#[derive(Clone, Default)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn push(&mut self, taken: Duration) {
        let taken = taken.as_secs_f64();
        let place = self.0.partition_point(|other| *other < taken);
        self.0.insert(place, taken);
    }

    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// From the least to the most, in percent of the median.
    pub(crate) fn spread(&self) -> f64 {
        (self.most() - self.least()) / self.median() * 100.0
    }
}

/// The processor, its cores, the kernel and the memory, in one line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split(':').nth(1));
        value.unwrap_or("unknown").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let kibibytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    let release = read("/proc/sys/kernel/osrelease");
    format!(
        "{}, {cores} cores, {} GiB of memory, Linux {}",
        value(&read("/proc/cpuinfo"), "model name"),
        (kibibytes + (1 << 19)) >> 20,
        release.trim().split('-').next().unwrap_or_default(),
    )
}

/// Prints the median of each contender, how much of it mke4fs takes, and how far the runs spread.
pub(crate) fn print(workload: &Workload, times: &[(&'static str, Times)]) {
    println!(
        "\n## {}: {} entries, {} MiB\n",
        workload.name,
        workload.entries,
        workload.bytes >> 20
    );
    println!("| builder | median s | least | most | mke4fs takes |");
    println!("|---|---|---|---|---|");
    let own = times.iter().find(|(name, _)| *name == MKE4FS);
    let own = own.map_or(f64::NAN, |(_, times)| times.median());
    for (name, times) in times {
        let (median, least, most) = (times.median(), times.least(), times.most());
        let share = own / median;
        println!("| {name} | {median:.3} | {least:.3} | {most:.3} | {share:.2} × |");
    }
}

/// Adds the times of a workload to the file `path`, which begins with a line for each of `about`.
pub(crate) fn keep(
    path: &Path,
    about: &[String],
    workload: &Workload,
    times: &[(&'static str, Times)],
) -> Result<()> {
    let mut text = fs::read_to_string(path).unwrap_or_else(|_| {
        let about: String = about.iter().map(|line| format!("# {line}\n")).collect();
        format!("{about}{}\n", chart::HEAD)
    });
    for (name, times) in times {
        let (median, least, most) = (times.median(), times.least(), times.most());
        writeln!(
            text,
            "{}\t{}\t{}\t{name}\t{median:.3}\t{least:.3}\t{most:.3}",
            workload.name,
            workload.entries,
            workload.bytes >> 20
        )?;
    }
    Ok(fs::write(path, text)?)
}
