//! Given files with blocks of zeros, proves which of them are holes in the image, when they are read for
//! that, and that the kernel shows the same bytes; what holes of a source become is `content.rs`'s.

#![cfg(target_os = "linux")]
#![expect(clippy::single_range_in_vec_init, reason = "some lists have one range")]

use crate::common;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::making;
use common::place::Place;
use common::tools::{self, Need, Which, ready};
use mke4fs::options::Size;
use mke4fs::source::{Declared, Source, SourceError};
use mke4fs::tree::{Content, ContentKey, ContentReader, ContentSource, Metadata, NodeId, Tree};
use mke4fs::{Builder, Fit, Plan, Sparse};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

const MIB: u64 = 1 << 20;

/// Fills `root` with files that hold zeros in every way, 41 MiB of them.
fn fill(root: &Path) {
    let file = |name: &str, size: u64, pieces: &[(u64, usize)]| {
        let file = File::create(root.join(name)).expect("a file");
        for (at, length) in pieces {
            let bytes = common::torture::pattern(*length);
            file.write_all_at(&bytes, *at).expect("it is written");
        }
        if file.metadata().expect("it is there").len() < size {
            file.set_len(size).expect("it grows");
        }
    };
    fs::write(root.join("zeros"), vec![0; 40 << 20]).expect("a file");
    fs::write(root.join("few"), [0; 100]).expect("a file");
    fs::write(root.join("odd"), vec![0; 12_345]).expect("a file");
    fs::write(root.join("empty"), "").expect("a file");
    fs::write(root.join("text"), "text").expect("a file");
    let mut mixed = vec![0; 600_000];
    for block in [0_usize, 3, 4, 9, 17, 31, 32, 33, 64, 100, 130] {
        mixed[block * 4096 + block] = 7;
    }
    fs::write(root.join("mixed"), &mixed).expect("a file");
    // Zeros that end with the first piece that is read, and those that begin with the next.
    let mut pieces = vec![1; 3 << 20];
    pieces[(1 << 20) - 5000..(1 << 20) + 9000].fill(0);
    fs::write(root.join("pieces"), &pieces).expect("a file");
    // Holes of the source's own, and zeros that are data.
    file("holes", 300_000, &[(65_536, 4096), (200_000, 10)]);
    let zeros = File::options().write(true).open(root.join("holes"));
    let zeros = zeros.and_then(|file| file.write_all_at(&[0; 8192], 131_072));
    zeros.expect("it is written");
}

/// Puts a swap area of 1 MiB at `path`, as mkswap makes it, with no hole.
fn swap(path: &Path) {
    let mut bytes = vec![0; 1 << 20];
    bytes[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    bytes[1028..1032].copy_from_slice(&255_u32.to_le_bytes());
    bytes[4086..4096].copy_from_slice(b"SWAPSPACE2");
    fs::write(path, bytes).expect("a file");
}

/// The blocks of the file `name` that are data, as debugfs shows them.
fn data(image: &Path, name: &str) -> Vec<Range<u64>> {
    let said = tools::debugfs(image, &[format!("stat /{name}")]).expect("debugfs answers");
    let numbers = |text: &str| -> Option<Range<u64>> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
    };
    let lists = said
        .split("EXTENTS:")
        .nth(1)
        .or(said.split("BLOCKS:").nth(1));
    let mut found: Vec<Range<u64>> = Vec::new();
    for part in lists.unwrap_or("").split('(').skip(1) {
        let range = part.split_once("):").and_then(|(range, _)| numbers(range));
        let Some(range) = range else { continue };
        match found.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => found.push(range),
        }
    }
    found
}

fn link(place: &Place) {
    let ours = env!("CARGO_BIN_EXE_mke4fs");
    std::os::unix::fs::symlink(ours, place.path("mkfs.ext4")).expect("a link");
}

/// Whether the image shows every file of `root` byte for byte.
fn is_whole(place: &Place) {
    place.look(|mounted| {
        let mut diff = Command::new("diff");
        diff.args(["-r", "--exclude=lost+found"]);
        tools::run(diff.arg(place.path("root")).arg(mounted)).expect("the same bytes");
    });
}

#[test]
fn what_is_too_large_gets_the_holes_of_mke2fs() {
    if !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    link(&place);
    fill(&place.path("root"));
    for flags in ["", "-b 1024", "-t ext2", "-O ^extent,^64bit -b 2048"] {
        place.make(&format!(
            "rm -f image; ./mkfs.ext4 -q {flags} -d root image 20M"
        ));
        let theirs = place.path("theirs");
        let new = File::create(&theirs).and_then(|file| file.set_len(20 * MIB));
        new.expect("a file");
        let mut arguments: Vec<_> = flags.split_whitespace().collect();
        let root = place.path("root");
        if !flags.contains("-t") {
            arguments.extend(["-t", "ext4"]);
        }
        arguments.extend(["-d", root.to_str().expect("it is UTF-8")]);
        tools::mke2fs(&theirs, &arguments).expect("it fits");
        let files = [
            "zeros", "few", "odd", "empty", "text", "mixed", "pieces", "holes",
        ];
        for name in files {
            let (ours, theirs) = (data(&place.path("image"), name), data(&theirs, name));
            assert_eq!(ours, theirs, "{name} {flags}");
        }
        assert_eq!(data(&place.path("image"), "zeros"), []);
        assert_ne!(data(&place.path("image"), "mixed"), []);
        is_whole(&place);
        // mke4fs writes to a new file while it looks at the source, and mkfs.ext4 does not; of itself it has
        // larger blocks here.
        let flags = format!("-b 1024 {flags}");
        let same = format!(
            "f='-q {flags} -U {} -E hash_seed={} -d root'; export SOURCE_DATE_EPOCH=1; \
             rm -f plain; ./mkfs.ext4 $f plain 20M; for n in 1 3; do rm -f image; \
             mke4fs $f image 20M --threads $n; cmp image plain; done",
            making::UUID_TEXT,
            making::SEED_TEXT
        );
        place.make(&same);
    }
}

#[test]
fn what_fits_keeps_its_zeros() {
    if !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    fill(&place.path("root"));
    for size in ["64M", "--size min", ""] {
        place.make(&format!(
            "rm -f image; mke4fs -q -b 4096 -d root image {size}"
        ));
        assert_eq!(data(&place.path("image"), "zeros"), [0..10_240], "{size}");
        // 65,536 to 69,632, the zeros that are data, and what is at 200,000.
        assert_eq!(
            data(&place.path("image"), "holes"),
            [16..17, 32..34, 48..49]
        );
    }
}

#[test]
fn always_makes_the_smallest_image_smaller() {
    if !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    fill(&place.path("root"));
    let length = |line: &str| {
        place.make(line);
        is_whole(&place);
        fs::metadata(place.path("image"))
            .expect("it is there")
            .len()
    };
    place.shell("tar -C root -cf tree.tar .; gzip -k tree.tar");
    for flags in ["", "-t ext2", "-b 1024", "-O bigalloc -C 16384", "-O quota"] {
        let auto = length(&format!(
            "rm -f image; mke4fs -q {flags} -d root --size min image"
        ));
        for source in [
            "-d root",
            "-d tree.tar",
            "-d tree.tar.gz",
            "-d - < tree.tar",
        ] {
            let always = length(&format!(
                "rm -f image; mke4fs -q {flags} --sparse always --size min image {source}"
            ));
            assert!(
                always + 38 * MIB < auto,
                "{flags} {source}: {always}, {auto}"
            );
            assert_eq!(data(&place.path("image"), "zeros"), [], "{flags} {source}");
        }
    }
    // Of a given size as well, and from a stream.
    for source in ["-d root", "-d - < tree.tar"] {
        place.make(&format!(
            "rm -f image; mke4fs -q --sparse=always image 20M {source}"
        ));
        assert_eq!(data(&place.path("image"), "zeros"), [], "{source}");
        is_whole(&place);
    }
}

#[test]
fn never_leaves_no_hole() {
    if !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    fill(&place.path("root"));
    place.shell("tar -C root -cSf tree.tar .; gzip -k tree.tar");
    for source in [
        "-d root",
        "-d tree.tar",
        "-d tree.tar.gz",
        "-d - < tree.tar",
    ] {
        for size in ["64M", "--size min"] {
            place.make(&format!(
                "rm -f image; mke4fs -q -b 4096 --sparse never image {size} {source}"
            ));
            assert_eq!(data(&place.path("image"), "holes"), [0..74], "{source}");
            assert_eq!(data(&place.path("image"), "zeros"), [0..10_240], "{source}");
            is_whole(&place);
        }
    }
    let said = place.refusal("rm -f image; mke4fs -q --sparse never -d root image 32M");
    assert!(said.contains("needs"), "{said}");
}

#[test]
fn swap_areas_keep_their_blocks() {
    if !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    fill(&place.path("root"));
    swap(&place.path("root/swap"));
    for flags in ["20M", "--sparse always", "--sparse always --size min"] {
        place.make(&format!(
            "rm -f image; mke4fs -q -b 4096 -d root image {flags}"
        ));
        assert_eq!(data(&place.path("image"), "swap"), [0..256], "{flags}");
        assert_eq!(data(&place.path("image"), "zeros"), [], "{flags}");
        is_whole(&place);
    }
}

#[test]
fn a_stream_is_read_once_and_so_refused() {
    if !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    fill(&place.path("root"));
    place.shell("tar -C root -cf tree.tar .");
    place.make("rm -f image; mke4fs -q -d tree.tar image 20M");
    is_whole(&place);
    place.refusal("rm -f image; mke4fs -q -b 4096 -d - image 20M < tree.tar");
    // Where the block size is open, it is kept and can be read again.
    place.make("rm -f image; mke4fs -q -d - image 20M < tree.tar");
    is_whole(&place);
    let said = place.refusal("rm -f image; mke4fs -q --sparse some -d root image");
    assert_eq!(
        said,
        "mke4fs: invalid value 'some' for --sparse: must be auto, always or never\n"
    );
}

/// A file of some blocks of ones and some of zeros, which counts how often it is opened.
#[derive(Clone)]
struct Counted {
    ones: u64,
    zeros: u64,
    opened: Arc<AtomicUsize>,
}

const BLOCK: u64 = 4096;

impl Counted {
    fn new(ones: u64, zeros: u64) -> Self {
        Self {
            ones,
            zeros,
            opened: Arc::default(),
        }
    }

    fn plan(&self, blocks: u64, sparse: Sparse) -> Result<Plan, mke4fs::Error> {
        let mut options = making::options("-O ^has_journal,^resize_inode").expect("options");
        let size = Size::Blocks(blocks);
        options.block_size(4096).inodes_count(64).size(size);
        let builder = Builder::from_options(options)
            .environment(making::memory_host())
            .source(self.clone());
        builder.sparse(sparse).plan()
    }
}

impl Source for Counted {
    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        let size_bytes = (self.ones + self.zeros) * BLOCK;
        let content = Content::new(size_bytes, Arc::new(self.clone()), 0);
        tree.file_at(at, b"file", Metadata::default(), content)?;
        Ok(Declared::default())
    }
}

impl ContentSource for Counted {
    fn open(&self, _key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Reader(self.ones * BLOCK)))
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        b"ones and zeros".to_vec()
    }
}

struct Reader(u64);

impl ContentReader for Reader {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (at, byte) in (offset..).zip(buffer) {
            *byte = u8::from(at < self.0);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn zeros_help_as_far_as_they_go_and_are_not_read_where_they_cannot() {
    // With ones alone, the least size that holds them.
    let fits = |counted: &Counted, blocks| counted.plan(blocks, Sparse::Auto).is_ok();
    let ones = Counted::new(300, 0);
    let least = (300..600).find(|blocks| fits(&ones, *blocks));
    let least = least.expect("they fit somewhere");
    for (blocks, sparse, fits, opened) in [
        // Zeros take no block, and so it is the least with them.
        (least, Sparse::Auto, true, 1),
        (least - 1, Sparse::Auto, false, 1),
        (least + 199, Sparse::Auto, true, 1),
        // All of it fits: nothing is read.
        (least + 200, Sparse::Auto, true, 0),
        (least, Sparse::Always, true, 1),
        (least - 1, Sparse::Always, false, 1),
        (least + 200, Sparse::Always, true, 1),
        (least + 199, Sparse::Never, false, 0),
        (least + 200, Sparse::Never, true, 0),
    ] {
        let counted = Counted::new(300, 200);
        let planned = counted.plan(blocks, sparse);
        assert_eq!(planned.is_ok(), fits, "{blocks} {sparse:?}");
        let times = counted.opened.load(Ordering::Relaxed);
        assert_eq!(times, opened, "{blocks} {sparse:?}");
    }
    // Not even all of it would be enough.
    let counted = Counted::new(0, 10_000);
    let without = (1..600).find(|blocks| fits(&counted, *blocks));
    let without = without.expect("holes fit somewhere");
    let counted = Counted::new(0, 10_000);
    let refused = counted.plan(without - 1, Sparse::Auto);
    assert!(refused.is_err());
    assert_eq!(counted.opened.load(Ordering::Relaxed), 0);
}

#[test]
fn a_directory_that_cannot_fit_is_refused_unread() {
    let place = Place::new();
    fs::write(place.path("root/file"), vec![0; 64 << 20]).expect("a file");
    let image = File::create(place.path("existing"));
    let sized = image.and_then(|file| file.set_len(MIB));
    sized.expect("a file");
    // What a shell has read counts what those that it waited for have (proc_pid_io(5)).
    let read = || {
        let line =
            "mke4fs -q -n -b 1024 --size keep -d root existing 2>&1 || true; cat /proc/$$/io";
        let said = String::from_utf8(place.shell(line).stdout).expect("it is UTF-8");
        let read = said.split("rchar: ").nth(1);
        let read = read.and_then(|rest| rest.lines().next()?.parse::<u64>().ok());
        (read.expect("Linux counts it"), said)
    };
    let (bytes, said) = read();
    assert!((64 * MIB..100 * MIB).contains(&bytes), "{said}");
    // As many directories need as many blocks, whatever is in the file.
    for number in 0..1000 {
        place.directory(&format!("root/{number}"));
    }
    let (bytes, said) = read();
    assert!(said.contains("the filesystem of 1 MiB has"), "{said}");
    assert!(bytes < 16 * MIB, "{said}");
}

#[test]
fn margins_are_counted_without_the_zeros() {
    let counted = Counted::new(300, 2000);
    let planned = |sparse| {
        let options = making::options("").expect("options");
        let builder = Builder::from_options(options)
            .environment(making::memory_host())
            .source(counted.clone());
        let builder = builder.fit(Fit::AvailablePercent(50)).sparse(sparse);
        builder.plan().expect("a size is found").size_bytes()
    };
    let (auto, always) = (planned(Sparse::Auto), planned(Sparse::Always));
    assert!(always + 3000 * BLOCK <= auto + MIB, "{always} {auto}");
}
