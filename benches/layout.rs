//! Given a number of nodes, prints what it costs to declare, lay out, hash, check and render them;
//! never touches a disk.
//!
//! `cargo bench --bench layout [-- NODES]`; a million nodes unless told otherwise. The clock of std
//! is enough here: each step takes long, and what is compared is the median of a few runs.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::hint::black_box;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io};

use mke4fs::options::{Environment, Options, Settings, Size};
use mke4fs::raw::emit::{Writing, emit};
use mke4fs::raw::geometry::Geometry;
use mke4fs::raw::layout::Layout;
use mke4fs::raw::layout::directory::{DirectoryPlan, DirectoryRules, Names};
use mke4fs::raw::ondisk::checksum::crc32c;
use mke4fs::raw::ondisk::dir::BlockFormat;
use mke4fs::raw::ondisk::dirhash::{DirHasher, HashVersion, Signedness};
use mke4fs::raw::units::BlockSize;
use mke4fs::sink::Sink;
use mke4fs::tree::{Content, Metadata, NodeId, Tree};

/// How often each step runs.
const RUNS: usize = 5;
/// The directories that hold the files, and the number of files in each.
const PER_DIRECTORY: u64 = 100;
/// Bytes whose checksum is taken.
const CHECKSUMMED: usize = 256 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let nodes = arguments.find_map(|argument| argument.parse().ok());
    let nodes: u64 = nodes.unwrap_or(1_000_000);
    println!(
        "{:<38}{:>10}{:>10}{:>10}  per item",
        "step", "median", "least", "most"
    );

    let before = resident_bytes();
    let tree = spread_tree(nodes);
    let held = resident_bytes().saturating_sub(before);
    measure("tree: declare and finish", nodes, || spread_tree(nodes));
    let flat = flat_tree(nodes);
    measure_layout("layout: directories of 100", &tree, nodes);
    measure_layout("layout: one directory", &flat, nodes);
    let names = names_of(nodes);
    measure("htree: plan one directory", nodes, || {
        DirectoryPlan::new(&Listed(&names), &rules()).expect("it fits")
    });
    let bytes = vec![0x5a; CHECKSUMMED];
    let pages = u64::try_from(CHECKSUMMED / 4096).expect("a small number");
    measure("checksum: 256 MiB in pages of 4 KiB", pages, || {
        bytes.chunks(4096).fold(0, crc32c)
    });
    measure_emission(&tree, nodes);
    println!(
        "\na tree of {nodes} nodes holds {} bytes a node",
        held / nodes
    );
}

/// Files of 5 KB in directories of a hundred.
fn spread_tree(nodes: u64) -> Tree {
    let mut tree = Tree::with_root(Metadata::default());
    let content = Content::from_bytes(vec![7; 5000]);
    let mut directory = NodeId::ROOT;
    for number in 0..nodes {
        let name = format!("name_{number:07}.json");
        if number % PER_DIRECTORY == 0 {
            let made = tree.directory_at(NodeId::ROOT, name.as_bytes(), Metadata::default());
            directory = made.expect("it can be declared");
        } else {
            tree.file_at(
                directory,
                name.as_bytes(),
                Metadata::default(),
                content.clone(),
            )
            .expect("it can be declared");
        }
    }
    tree.finish().expect("no name twice");
    tree
}

/// The same files in one directory.
fn flat_tree(nodes: u64) -> Tree {
    let mut tree = Tree::with_root(Metadata::default());
    let content = Content::from_bytes(vec![7; 5000]);
    for name in names_of(nodes) {
        tree.file_at(NodeId::ROOT, &name, Metadata::default(), content.clone())
            .expect("it can be declared");
    }
    tree.finish().expect("no name twice");
    tree
}

fn names_of(nodes: u64) -> Vec<Vec<u8>> {
    let name = |number| format!("name_{number:07}.json").into_bytes();
    (0..nodes).map(name).collect()
}

struct Listed<'a>(&'a [Vec<u8>]);

impl Names for Listed<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> &[u8] {
        &self.0[index]
    }
}

fn rules() -> DirectoryRules {
    DirectoryRules {
        format: BlockFormat {
            block_size: BlockSize::new(4096).expect("a block size"),
            checksums: true,
            file_types: true,
        },
        hasher: Some(DirHasher::new(
            HashVersion::HalfMd4,
            Signedness::Signed,
            [3; 16],
        )),
        large_dir: false,
    }
}

fn settings(nodes: u64) -> Settings {
    let mut options = Options::new();
    options
        .size(Size::Bytes((nodes + 1000) * 3 * 4096 + (1 << 30)))
        .block_size(4096)
        .inodes_count(nodes + 1000);
    let resolved = options
        .resolve(&Environment::detect())
        .expect("sound options");
    resolved.settings
}

fn lay_out(settings: &Settings, tree: &Tree) -> Layout {
    let geometry = Geometry::new(settings).expect("it fits");
    Layout::new(settings, geometry, tree).expect("it fits")
}

fn measure_layout(name: &str, tree: &Tree, nodes: u64) {
    let settings = settings(nodes);
    measure(name, nodes, || lay_out(&settings, tree));
}

fn measure_emission(tree: &Tree, nodes: u64) {
    let settings = settings(nodes);
    let layout = lay_out(&settings, tree);
    let geometry = &layout.geometry;
    let size = geometry.blocks_count * geometry.block_size.bytes_u64();
    let cores = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    for threads in [NonZero::<usize>::MIN, cores] {
        let writing = Writing {
            threads,
            ..Writing::default()
        };
        let sink = Counting {
            size,
            written: AtomicU64::new(0),
        };
        measure(&format!("emit: {threads} threads"), nodes, || {
            emit(&settings, &layout, tree, &sink, &writing).expect("it can be written");
        });
        let written = sink.written.into_inner() / u64::try_from(RUNS).expect("few runs");
        println!("{:>38} MiB written", written >> 20);
    }
}

/// A sink that only counts.
struct Counting {
    size: u64,
    written: AtomicU64,
}

impl Sink for Counting {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn write_at(&self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = u64::try_from(black_box(bytes).len()).unwrap_or(u64::MAX);
        self.written.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    fn zero(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _offset: u64, _length: u64) -> io::Result<bool> {
        Ok(true)
    }

    fn discard_zeroes(&self) -> bool {
        true
    }

    fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `step` a few times and prints how long it takes, in milliseconds, and each of `items` in
/// nanoseconds.
fn measure<T>(name: &str, items: u64, mut step: impl FnMut() -> T) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let result = black_box(step());
            let taken = start.elapsed();
            drop(result);
            taken
        })
        .collect();
    times.sort_unstable();
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let median = times[RUNS / 2];
    let each = median.as_nanos() / u128::from(items.max(1));
    println!(
        "{name:<38}{:>10}{:>10}{:>10}{each:>6} ns",
        milliseconds(median),
        milliseconds(times[0]),
        milliseconds(times[RUNS - 1]),
    );
}

/// What the process holds, from /proc/self/statm; 0 where there is none.
fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1);
    pages.and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}
