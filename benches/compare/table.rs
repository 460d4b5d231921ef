//! Given times, prints a table of them; never measures one.

use std::fs;
use std::time::Duration;

use crate::contenders::Contender;
use crate::workloads::Workload;

/// The processor, its cores, the kernel and the memory, in one line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split(':').nth(1));
        value.unwrap_or("unknown").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {cores} cores, {} of memory, Linux {}",
        value(&read("/proc/cpuinfo"), "model name"),
        value(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// Prints the median of each contender, how much of it mke4fs takes, and how far the runs spread.
pub(crate) fn print(workload: &Workload, contenders: &[Contender], times: &[Vec<Duration>]) {
    println!(
        "\n## {}: {} entries, {} MiB\n",
        workload.name,
        workload.entries,
        workload.bytes >> 20
    );
    println!("| builder | median s | least | most | mke4fs takes |");
    println!("|---|---|---|---|---|");
    let sorted: Vec<Vec<f64>> = times
        .iter()
        .map(|times| {
            let mut times: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
            times.sort_by(f64::total_cmp);
            times
        })
        .collect();
    let own = median(&sorted[0]);
    for (contender, times) in contenders.iter().zip(&sorted) {
        let (least, most) = (times[0], times[times.len() - 1]);
        let median = median(times);
        println!(
            "| {} | {median:.3} | {least:.3} | {most:.3} | {:.2} × |",
            contender.name,
            own / median
        );
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
