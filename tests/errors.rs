//! Given what can go wrong, proves what a program learns of it: the kind with its paths and numbers, each
//! cause once, and words that are a library's; never the command's words, which other modules prove.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::making;
use mke4fs::options::Size;
use mke4fs::{
    Builder, Content, Environment, Error, ErrorKind, Image, Metadata, Piece, Sink, Sparse, Tar,
    Tree,
};

/// How much data the one file of an archive or an image has.
const DATA_BYTES: usize = 200_000;

fn builder() -> Builder {
    Builder::new().environment(Environment::fixed(1_700_000_000))
}

fn archive() -> Vec<u8> {
    let mut archive = making::head_of_archive(u64::try_from(DATA_BYTES).expect("it is small"));
    archive.resize(512 + DATA_BYTES.next_multiple_of(512), 7);
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn image() -> Vec<u8> {
    let mut tree = Tree::new();
    tree.file("/file", vec![7; DATA_BYTES])
        .expect("it is declared");
    builder().source(tree).to_vec().expect("it is made")
}

/// A change of a file.
type Change = fn(&Path);
/// An image of what a file holds.
type Open = fn(&Path) -> Builder;

fn touch(path: &Path) {
    let file = File::options().write(true).open(path).expect("it is there");
    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1 << 31);
    file.set_modified(later).expect("it has another time");
}

fn cut(path: &Path) {
    let file = File::options().write(true).open(path).expect("it is there");
    file.set_len(1000).expect("it is cut");
}

#[test]
fn an_archive_or_image_that_changed_is_named_by_its_path() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("source");
    let tar: Open = |path| builder().source(Tar::open(path));
    let ext4: Open = |path| builder().source(Image::open(path));
    let changes: [Change; 2] = [touch, cut];
    for (bytes, source) in [(archive(), tar), (image(), ext4)] {
        for change in changes {
            fs::write(&path, &bytes).expect("it is written");
            let plan = source(&path).plan();
            let plan = plan.expect("it is planned");
            change(&path);
            let error = plan.to_vec().expect_err("it changed");
            let named = path.as_os_str().as_bytes().to_vec();
            assert_eq!(error.kind(), ErrorKind::SourceChanged { path: named });
            // Where in it people see in the text.
            let text = error.to_string();
            assert!(
                text.contains(", data at byte 512") || text.contains(", inode "),
                "{text}"
            );
        }
    }
}

/// What is damaged is no source that changed.
#[test]
fn a_damaged_image_is_unreadable() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("source");
    fs::write(&path, image()).expect("it is written");
    let planned = builder().source(Image::open(&path)).plan();
    let planned = planned.expect("it is planned");
    // As a disk does that fails: the file's times stay.
    let times = fs::metadata(&path).expect("it is there");
    let mut damaged = image();
    let at = (0..damaged.len() - 12)
        .find(|at| damaged[*at..*at + 2] == [0x0a, 0xf3] && damaged[*at + 4..*at + 6] == [4, 0])
        .expect("an inode has extents");
    let inodes = damaged[at..].windows(2).enumerate();
    let extents: Vec<usize> = inodes
        .filter(|(_, bytes)| *bytes == [0x0a, 0xf3])
        .map(|(place, _)| at + place)
        .collect();
    for extent in extents {
        damaged[extent + 2..extent + 4].fill(0xff);
    }
    let file = File::options()
        .write(true)
        .open(&path)
        .expect("it is there");
    std::os::unix::fs::FileExt::write_all_at(&file, &damaged, 0).expect("it is written");
    let modified = times.modified().expect("it has a time");
    file.set_modified(modified).expect("it has its time again");
    let error = planned.to_vec().expect_err("it is damaged");
    let path = path.as_os_str().as_bytes().to_vec();
    assert_eq!(error.kind(), ErrorKind::SourceUnreadable { path });
}

/// A content that fails when it is read, or ends early.
fn broken() -> [Content; 2] {
    let failing = || -> io::Result<io::Empty> { Err(io::Error::other("peer went away")) };
    [
        Content::from_fn(9, failing),
        Content::from_reader(9, io::Cursor::new("four")),
    ]
}

#[test]
fn data_of_a_program_is_named_by_its_path_in_the_image() {
    for content in broken() {
        for (features, sparse) in [
            ("", Sparse::Never),
            ("inline_data", Sparse::Auto),
            ("", Sparse::Always),
        ] {
            let mut tree = Tree::new();
            let directory = tree.directory("/etc").expect("it is declared").id();
            let metadata = Metadata::default();
            let file = tree.file_at(directory, b"app", metadata, content.clone());
            file.expect("it is declared");
            let made = builder()
                .size_bytes(16 << 20)
                .features(features)
                .sparse(sparse);
            let error = made.source(tree).to_vec().expect_err("it cannot be read");
            let path = b"/etc/app".to_vec();
            assert_eq!(error.kind(), ErrorKind::SourceUnreadable { path });
            assert_eq!(error.to_string(), "cannot read /etc/app");
        }
    }
}

/// What does not fit needs more than there is, whatever the rounding to blocks and clusters.
#[test]
fn what_does_not_fit_needs_more_than_there_is() {
    for features in ["", "bigalloc"] {
        for block_size in [None, Some(1024), Some(4096)] {
            let units = (0..8).chain((8..96).step_by(9)).chain([200, 500]);
            for bytes in units.flat_map(|unit: u64| [unit * 1024 + 1, unit * 1024 + 1024]) {
                for tree in [None, Some(Tree::new())] {
                    let mut builder = builder().size_bytes(bytes).features(features);
                    if let Some(block_size) = block_size {
                        builder = builder.block_size(block_size);
                    }
                    if let Some(mut tree) = tree {
                        let file = tree.file("/file", vec![1; 1 << 20]);
                        file.expect("it is declared");
                        builder = builder.source(tree);
                    }
                    let case = format!("{bytes} bytes, {features}, {block_size:?}");
                    match builder.plan().map(drop).map_err(|error| error.kind()) {
                        Err(ErrorKind::DoesNotFit { needed, available }) => {
                            assert!(needed > available, "{case}: {needed}, {available}");
                        }
                        Err(ErrorKind::InvalidOption { name, value }) => {
                            let asked = (name.as_str(), value);
                            assert_eq!(asked, ("SIZE", bytes.to_string()), "{case}");
                        }
                        Err(ErrorKind::TooFewInodes { .. }) | Ok(()) => {}
                        Err(kind) => panic!("{case}: {kind:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn an_invalid_option_has_the_value_that_was_asked_for() {
    let sized = || builder().size_bytes(64 << 20);
    for (refused, name, value) in [
        (builder().size_bytes(1 << 60), "SIZE", "1152921504606846976"),
        (
            builder().size_bytes((1 << 60) + 77),
            "SIZE",
            "1152921504606847053",
        ),
        (builder().size_bytes(1), "SIZE", "1"),
        (
            builder().with(|options| options.size(Size::Kibibytes(1 << 50))),
            "SIZE",
            "1125899906842624K",
        ),
        (
            sized().with(|options| options.journal_mebibytes(99_999)),
            "-J",
            "size=99999",
        ),
        (
            sized().with(|options| options.journal_mebibytes(60)),
            "-J",
            "size=60",
        ),
        (
            sized().with(|options| options.orphan_file_size(Size::Bytes(1 << 50))),
            "orphan_file_size",
            "1125899906842624",
        ),
        (
            sized().with(|options| options.extended("orphan_file_size=1T")),
            "orphan_file_size",
            "1T",
        ),
        (
            sized().with(|options| options.resize(Size::Kibibytes(9))),
            "resize",
            "9K",
        ),
        (
            sized().with(|options| options.extended("quotatype=me")),
            "quotatype",
            "me",
        ),
        (
            sized().with(|options| options.extended("revision=7")),
            "revision",
            "7",
        ),
    ] {
        let error = refused.plan().expect_err("it is refused");
        let (name, value) = (name.to_owned(), value.to_owned());
        assert_eq!(
            error.kind(),
            ErrorKind::InvalidOption { name, value },
            "{error}"
        );
    }
}

/// A reader that gives what it has and then fails.
struct Dying(io::Cursor<Vec<u8>>);

impl io::Read for Dying {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "peer went away",
            )),
            count => Ok(count),
        }
    }
}

/// The kind of the error of the system that is the cause, and whether it is said once.
fn cause_of(error: &(dyn std::error::Error + 'static), whole: &str) -> Option<io::ErrorKind> {
    let said = error.to_string();
    let cause = error.source()?;
    let text = cause.to_string();
    let text = text
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase();
    assert!(!said.to_lowercase().contains(&text), "{said}: {text}");
    assert_eq!(
        whole.to_lowercase().matches(&text).count(),
        1,
        "{whole}: {text}"
    );
    cause.downcast_ref::<io::Error>().map(io::Error::kind)
}

#[test]
fn the_cause_of_an_archive_that_ends_is_reached_and_said_once() {
    let mut gzip = Vec::new();
    let archive = archive();
    let mut pack = flate2_of(&archive);
    gzip.append(&mut pack);
    gzip.truncate(gzip.len() / 2);
    gzip.extend([0xff; 4000]);
    for (bytes, kind) in [
        (archive[..0].to_vec(), io::ErrorKind::ConnectionReset),
        (archive[..700].to_vec(), io::ErrorKind::ConnectionReset),
        (archive[..150_000].to_vec(), io::ErrorKind::ConnectionReset),
        (gzip, io::ErrorKind::InvalidData),
    ] {
        for size in [None, Some(32 << 20)] {
            let length = bytes.len();
            let dying = Dying(io::Cursor::new(bytes.clone()));
            let mut builder = builder().source(Tar::from_reader(dying, "net"));
            if let Some(size) = size {
                builder = builder.size_bytes(size);
            }
            let sink = mke4fs::Memory::new(32 << 20);
            let made = match size {
                Some(_) => builder.write_to(&sink).map(drop),
                None => builder.to_vec().map(drop),
            };
            let error = made.expect_err("it ends");
            let found = cause_of(&error, &format!("{error:#}"));
            assert_eq!(found, Some(kind), "{length} bytes, {size:?}: {error:#}");
        }
    }
}

/// `bytes`, compressed by gzip.
fn flate2_of(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut gzip = Command::new("gzip")
        .arg("-1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is there");
    let mut stdin = gzip.stdin.take().expect("a pipe");
    // What does not compress, so that half of it is somewhere in the data.
    let mut state = 1_u32;
    let noise = bytes.iter().enumerate().map(|(at, byte)| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if at < 512 {
            *byte
        } else {
            state.to_le_bytes()[3]
        }
    });
    let noise: Vec<u8> = noise.collect();
    let feeder = thread::spawn(move || stdin.write_all(&noise));
    let output = gzip.wait_with_output().expect("it ends");
    feeder.join().expect("no panic").expect("it is read");
    output.stdout
}

#[test]
fn the_error_of_a_content_says_its_cause_once() {
    let error = Content::from_path("/no/such").expect_err("it is missing");
    assert_eq!(error.to_string(), "cannot read /no/such");
    let whole = format!("{error:#}");
    assert_eq!(whole, "cannot read /no/such: No such file or directory");
    assert_eq!(cause_of(&error, &whole), Some(io::ErrorKind::NotFound));
}

/// What a run that panics is told.
fn panic_of(run: impl FnOnce() -> Result<(), Error>) -> String {
    let told = panic::catch_unwind(AssertUnwindSafe(run));
    let payload = told.map(drop).expect_err("it panics");
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// Whichever thread it is on, all others go on; by chance it was not the one that told of it.
#[test]
fn what_a_program_panics_with_is_told() {
    let threads = |count| NonZero::new(count).expect("it is one or more");
    let here = thread::current().id();
    for count in [1, 2, 5] {
        let panicked = Arc::new(AtomicBool::new(false));
        let mut tree = Tree::new();
        for number in 0..12 {
            let panicked = Arc::clone(&panicked);
            let open = move || {
                let start = Instant::now();
                // With more threads than this one it is another that panics.
                while thread::current().id() == here
                    && count > 1
                    && !panicked.load(Ordering::SeqCst)
                    && start.elapsed() < Duration::from_secs(20)
                {
                    thread::yield_now();
                }
                if panicked.swap(true, Ordering::SeqCst) {
                    return Ok(io::repeat(1).take(2 << 20));
                }
                panic!("the reader did")
            };
            let content = Content::from_fn(2 << 20, open);
            tree.file(format!("/{number}"), content)
                .expect("it is declared");
        }
        let builder = builder().source(tree).threads(threads(count));
        let told = panic_of(|| builder.to_vec().map(drop));
        assert_eq!(told, "the reader did", "{count} threads");
    }
    let mut tree = Tree::new();
    for number in 0..12 {
        let content = vec![number; 2 << 20];
        tree.file(format!("/{number}"), content)
            .expect("it is declared");
    }
    let mut pieces = 0;
    let take = |_: Piece<'_>| -> io::Result<()> {
        pieces += 1;
        assert!(pieces < 3, "the taker did");
        Ok(())
    };
    let builder = builder().source(tree).threads(threads(4));
    let told = panic_of(|| builder.write_in_order(take).map(drop));
    assert_eq!(told, "the taker did");
}

/// A sink that panics.
struct Panicking;

impl Sink for Panicking {
    fn size_bytes(&self) -> u64 {
        64 << 20
    }

    fn write_at(&self, offset: u64, _bytes: &[u8]) -> io::Result<()> {
        assert!(offset < 4096, "the sink did");
        Ok(())
    }

    fn zero(&self, offset: u64, _length: u64) -> io::Result<()> {
        assert!(offset < 4096, "the sink did");
        Ok(())
    }

    fn discard(&self, _offset: u64, _length: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn discard_zeroes(&self) -> bool {
        false
    }

    fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_sink_panics_with_while_a_stream_comes_is_told() {
    for count in [1, 2] {
        let size = 16 << 20;
        let mut archive = making::head_of_archive(size);
        archive.resize(512 + (16 << 20), 7);
        archive.resize(archive.len() + 1024, 0);
        let builder = builder()
            .size_bytes(64 << 20)
            .threads(NonZero::new(count).expect("it is one or more"))
            .source(Tar::from_reader(io::Cursor::new(archive), "net"));
        let told = panic_of(|| builder.write_to(&Panicking).map(drop));
        assert_eq!(told, "the sink did", "{count} threads");
    }
}

/// What a library says has no flags of a command, and speaks of what the program did.
#[test]
fn a_program_is_told_in_its_own_words() {
    let directory = tempfile::tempdir().expect("a directory");
    let short = directory.path().join("short");
    let on_file = |bytes: usize| {
        fs::write(&short, vec![0; bytes]).expect("it is written");
        builder().write_file(&short).map(drop)
    };
    let planned = |builder: Builder| builder.plan().map(drop);
    let sized = || builder().size_bytes(64 << 20);
    let with = |text: &str| planned(sized().features(text));
    let text = || io::Cursor::new(b"just some text\n".repeat(100));
    let no_room = "the output has no room for a single block";
    for (made, wanted) in [
        (
            builder().to_vec().map(drop),
            "there is neither a size nor a source that says how much is needed; give a size",
        ),
        (on_file(1), no_room),
        (on_file(1024), no_room),
        (
            planned(sized().block_size(65536)),
            "block size 65536 is above the page size 4096, which many kernels cannot mount; use \
             Options::force to create it anyway",
        ),
        (
            planned(sized().with(|options| options.fs_type("ext5"))),
            "unknown filesystem type 'ext5': no configuration defines it; use Options::force to create it anyway",
        ),
        (
            planned(sized().with(|options| options.cluster_size(65536))),
            "a cluster size needs the bigalloc feature; use features(\"bigalloc\")",
        ),
        (
            with("bigalloc,^extent,^64bit"),
            "the bigalloc feature needs the extent feature; use features(\"extent\")",
        ),
        (
            with("meta_bg,resize_inode"),
            "the meta_bg and resize_inode features cannot be combined; use features(\"^resize_inode\")",
        ),
        (
            planned(sized().inodes(4_000_000_000)),
            "4000000000 inodes of 256 bytes do not fit in 65536 blocks",
        ),
        (
            planned(sized().with(|options| options.journal_mebibytes(60))),
            "invalid journal size of",
        ),
        (
            planned(sized().source(Tar::from_reader(text(), "net"))),
            "net is not a tar archive (plain or compressed with gzip, zstd, xz or bzip2)",
        ),
        (
            planned(sized().map_ids(5..5, 0)),
            "invalid map of IDs 5..5 to 0: must be of one ID or more",
        ),
        (
            builder().size_bytes(1 << 20).write_file("").map(drop),
            "cannot open an output without a name",
        ),
    ] {
        let error = made.expect_err(wanted);
        let said = [error.to_string(), format!("{error:#}")];
        for said in said {
            assert!(said.starts_with(wanted), "{said}");
            let flags = ["use -", "(-", "--", "MKE2FS_CONFIG", "IN:OUT"];
            assert!(!flags.iter().any(|flag| said.contains(flag)), "{said}");
        }
    }
}
