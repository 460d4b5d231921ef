//! Given the front page of the crate, proves what it promises a program: ends, contracts, errors; never
//! what is in an image, which other modules prove.

use std::collections::{BTreeMap, HashSet};
use std::error::Error as _;
use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mke4fs::tree::{Access, ContentKey, ContentReader, ContentSource, NodeId, Special, Xattr};
use mke4fs::{
    Builder, Cancel, ContainerImage, Content, Directory, Environment, Error, ErrorKind, Fit,
    Memory, Metadata, Piece, Plan, Progress, Sink, Summary, Tar, Timestamp, Tree, TreeError, check,
};

fn builder() -> Builder {
    Builder::new().environment(Environment::fixed(1_700_000_000))
}

fn threads(count: usize) -> NonZero<usize> {
    NonZero::new(count).expect("it is one or more")
}

fn size(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}

#[test]
fn what_a_program_holds_goes_from_thread_to_thread() {
    fn is_send<T: Send>() {}
    is_send::<Builder>();
    is_send::<Plan>();
    is_send::<Summary>();
    is_send::<Error>();
    is_send::<Tree>();
    is_send::<Box<dyn mke4fs::Source>>();
}

#[test]
fn all_ends_make_the_same_image() {
    let make = || {
        let mut tree = Tree::new();
        tree.file("/etc/motd", "welcome\n").expect("it is declared");
        tree.file("/data", vec![7; 3 << 20])
            .expect("it is declared");
        builder().label("same").source(tree)
    };
    let directory = tempfile::tempdir().expect("a directory");
    let image = make().to_vec().expect("it is made");
    assert!(check(&image).is_clean());

    let path = directory.path().join("by-name.img");
    let summary = make().write_file(&path).expect("it is made");
    assert!(fs::read(&path).expect("it is there") == image);
    assert_eq!(summary.size_bytes, size(image.len()));
    assert_eq!((summary.nodes.files, &summary.label[..]), (2, &b"same"[..]));

    let path = directory.path().join("open.img");
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    let file = options.open(&path).expect("it can be created");
    make().write_open_file(file).expect("it is made");
    assert!(fs::read(&path).expect("it is there") == image);

    let memory = Memory::new(size(image.len()));
    make().fit(Fit::Auto).write_to(&memory).expect("it is made");
    assert!(memory.into_bytes().expect("it fits") == image);

    // What a file holds has no say in what it becomes.
    fs::write(directory.path().join("old"), vec![0xD1; 50 << 20]).expect("it is written");
    make()
        .write_file(directory.path().join("old"))
        .expect("it is made");
    assert!(fs::read(directory.path().join("old")).expect("it is there") == image);

    let mut bytes = Vec::new();
    let take = |piece: Piece<'_>| {
        match piece {
            Piece::Data(data) => bytes.extend_from_slice(data),
            Piece::Hole(length) => {
                bytes.resize(bytes.len() + usize::try_from(length).expect("it fits"), 0)
            }
        }
        Ok(())
    };
    make().write_in_order(take).expect("it is made");
    assert!(bytes == image);

    let plan = make().plan().expect("it is planned");
    assert!(plan.to_vec().expect("it is made") == image);
    assert!(plan.to_vec().expect("it is made again") == image);
}

#[test]
fn pieces_come_one_at_a_time_and_in_order_from_whichever_thread() {
    let make = || {
        let mut tree = Tree::new();
        for number in 0..64_u8 {
            tree.file(format!("/{number}"), vec![number + 1; 1 << 20])
                .expect("it is declared");
        }
        builder().source(tree).size_bytes(128 << 20)
    };
    let image = make().threads(threads(1)).to_vec().expect("it is made");
    for count in [1, 2, 8] {
        let (mut bytes, mut callers) = (0, HashSet::new());
        let busy = Mutex::new(());
        let take = |piece: Piece<'_>| {
            let _alone = busy.try_lock().expect("nobody else is called");
            callers.insert(std::thread::current().id());
            let length = match piece {
                Piece::Data(data) => {
                    assert!(image[bytes..][..data.len()] == *data, "{count} threads");
                    data.len()
                }
                Piece::Hole(length) => {
                    let length = usize::try_from(length).expect("it fits");
                    assert!(image[bytes..][..length].iter().all(|byte| *byte == 0));
                    length
                }
            };
            bytes += length;
            Ok(())
        };
        let making = make().threads(threads(count));
        making.write_in_order(take).expect("it is made");
        assert_eq!(bytes, image.len());
        assert!(
            callers.len() <= count,
            "{} of {count} threads",
            callers.len()
        );
    }
}

#[test]
fn a_size_comes_from_what_there_is() {
    let empty = || builder().source(Tree::new());
    // A new file: as large as its content needs.
    let open = empty().plan().expect("it is planned").size_bytes();
    let auto = empty().fit(Fit::Auto).plan().expect("it is planned");
    assert_eq!(open, auto.size_bytes());
    // A file that is there and gets no content, and a sink: its own.
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(32 << 20).expect("it grows");
    let summary = builder().write_file(file.path()).expect("it is made");
    assert_eq!(summary.size_bytes, 32 << 20);
    let memory = Memory::new(24 << 20);
    assert_eq!(
        empty().write_to(&memory).expect("it is made").size_bytes,
        24 << 20
    );
    // Nothing says a size.
    let refused = builder().plan().expect_err("there is no size");
    assert!(matches!(refused.kind(), ErrorKind::InvalidOption { .. }));
}

#[test]
fn progress_ends_at_its_total() {
    let mut tree = Tree::new();
    tree.file("/data", vec![7; 9 << 20])
        .expect("it is declared");
    let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let noted = Arc::clone(&told);
    let builder = builder().source(tree).threads(threads(3));
    let builder = builder.progress(move |at| noted.lock().expect("no panic").push(at));
    builder.to_vec().expect("it is made");
    let told = told.lock().expect("no panic");
    let total = told[0].total.expect("it is known");
    assert!(total > 9 << 20);
    assert!(told.iter().all(|at| at.total == Some(total)));
    assert!(told.is_sorted_by_key(|at| at.bytes));
    assert_eq!(told.last().map(|at| at.bytes), Some(total));
}

/// A file's data, and what was asked of it.
struct Watched {
    size_bytes: u64,
    access: Access,
    fails_at: Option<u64>,
    opened: AtomicU64,
    finished: AtomicU64,
    open_now: AtomicU64,
    most_open: AtomicU64,
    read: Mutex<Vec<Range<u64>>>,
}

struct WatchedReader<'a>(&'a Watched);

impl Watched {
    fn new(size_bytes: u64, access: Access) -> Self {
        Self {
            size_bytes,
            access,
            fails_at: None,
            opened: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            open_now: AtomicU64::new(0),
            most_open: AtomicU64::new(0),
            read: Mutex::default(),
        }
    }

    fn content(this: &Arc<Self>) -> Content {
        Content::new(this.size_bytes, Arc::<Self>::clone(this), 0)
    }
}

impl ContentSource for Watched {
    fn open(&self, _key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let now = self.open_now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(now, Ordering::SeqCst);
        Ok(Box::new(WatchedReader(self)))
    }

    fn access(&self, _key: ContentKey) -> Access {
        self.access
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        b"/watched".to_vec()
    }
}

impl ContentReader for WatchedReader<'_> {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + size(buffer.len());
        if self.0.fails_at.is_some_and(|at| at < end) {
            return Err(io::Error::other("it is gone"));
        }
        self.0.read.lock().expect("no panic").push(offset..end);
        for (byte, at) in buffer.iter_mut().zip(offset..) {
            *byte = u8::try_from(at % 251).expect("it is less");
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.finished.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for WatchedReader<'_> {
    fn drop(&mut self) {
        self.0.open_now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn watched(files: &[Arc<Watched>]) -> Tree {
    let mut tree = Tree::new();
    for (number, file) in files.iter().enumerate() {
        let content = Watched::content(file);
        tree.file(format!("/{number}"), content)
            .expect("it is declared");
    }
    tree
}

#[test]
fn readers_are_opened_and_finished_once_and_read_in_order() {
    const SIZES: [u64; 4] = [100, 700_001, 5 << 20, (3 << 20) + 1];
    let mut images = Vec::new();
    for count in [1, 2, 5] {
        for access in [Access::InOrder, Access::Once, Access::Anywhere] {
            let files = SIZES.map(|size| Arc::new(Watched::new(size, access)));
            let builder = builder().source(watched(&files)).threads(threads(count));
            images.push(builder.to_vec().expect("it is made"));
            for file in &files {
                let opened = file.opened.load(Ordering::SeqCst);
                let finished = file.finished.load(Ordering::SeqCst);
                let most_open = file.most_open.load(Ordering::SeqCst);
                let most = if access == Access::Anywhere { count } else { 1 };
                let case = format!("{count} threads, {access:?}, {} bytes", file.size_bytes);
                assert!((1..=size(most)).contains(&opened), "{case}: {opened}");
                assert_eq!((finished, most_open <= opened), (opened, true), "{case}");
                let mut read = file.read.lock().expect("no panic").clone();
                if access == Access::Anywhere {
                    read.sort_by_key(|range| range.start);
                }
                let ends = [0].into_iter().chain(read.iter().map(|range| range.end));
                let starts = read.iter().map(|range| range.start);
                assert!(starts.chain([file.size_bytes]).eq(ends), "{case}: {read:?}");
            }
        }
    }
    assert!(images.iter().all(|image| *image == images[0]));
    assert!(check(&images[0]).is_clean());
}

#[test]
fn a_reader_that_fails_ends_all_who_wait_for_it() {
    for count in [1, 2, 6] {
        for access in [Access::InOrder, Access::Anywhere] {
            let mut file = Watched::new(20 << 20, access);
            file.fails_at = Some(3 << 20);
            let file = Arc::new(file);
            let builder = builder().source(watched(&[Arc::clone(&file)]));
            let error = builder
                .threads(threads(count))
                .to_vec()
                .expect_err("it fails");
            let path = b"/watched".to_vec();
            assert_eq!(error.kind(), ErrorKind::SourceUnreadable { path });
            assert_eq!(error.to_string(), "cannot read /watched");
            assert_eq!(format!("{error:#}"), "cannot read /watched: it is gone");
            let cause = error.source().map(ToString::to_string);
            assert_eq!(cause.as_deref(), Some("it is gone"));
            assert_eq!(file.finished.load(Ordering::SeqCst), 0);
        }
    }
}

#[test]
fn a_file_in_pieces_is_read_in_order_all_the_same() {
    // Free room in pieces: between a large and many small files there is little for the last one.
    for size in (20..24).map(|mebibytes| mebibytes << 20) {
        let mut tree = Tree::new();
        for number in 0..40 {
            let length = 100_000 + number * 10_007;
            tree.file(format!("/a{number}"), vec![1; length])
                .expect("it is declared");
        }
        let read = Arc::new(Watched::new(9 << 20, Access::Once));
        tree.file("/z", Watched::content(&read))
            .expect("it is declared");
        let builder = builder().source(tree).size_bytes(size).threads(threads(3));
        let Ok(image) = builder.features("^has_journal,^orphan_file").to_vec() else {
            continue;
        };
        assert!(check(&image).is_clean());
        let read = read.read.lock().expect("no panic");
        assert!(read.is_sorted_by_key(|range| range.start), "{read:?}");
    }
}

/// A sink that notes what it sees.
struct Noted {
    inner: Memory,
    seen: Mutex<Vec<(&'static str, Range<u64>)>>,
}

impl Noted {
    fn note(&self, what: &'static str, offset: u64, length: u64) {
        let mut seen = self.seen.lock().expect("no panic");
        seen.push((what, offset..offset + length));
    }
}

impl Sink for Noted {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.note("write", offset, size(bytes.len()));
        self.inner.write_at(offset, bytes)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.note("zero", offset, length);
        self.inner.zero(offset, length)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.note("discard", offset, length);
        self.inner.discard(offset, length)
    }

    fn discard_zeroes(&self) -> bool {
        self.inner.discard_zeroes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.note("read", offset, size(buffer.len()));
        self.inner.read_at(offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        self.note("sync", 0, 0);
        self.inner.sync()
    }
}

#[test]
fn a_sink_sees_each_byte_once_and_the_superblock_last() {
    for (offset, sync) in [(0, false), (1 << 20, true)] {
        let mut tree = Tree::new();
        tree.file("/data", vec![7; 9 << 20])
            .expect("it is declared");
        let sink = Noted {
            inner: Memory::filled(40 << 20, 0xD1),
            seen: Mutex::default(),
        };
        let builder = builder().source(tree).size_bytes(32 << 20).offset(offset);
        let builder = builder.threads(threads(4)).sync(sync);
        builder.write_to(&sink).expect("it is made");
        let seen = sink.seen.into_inner().expect("no panic");
        let superblock = offset + 1024;
        assert_eq!(seen[0], ("zero", superblock..superblock + 3072));
        let writes = seen
            .iter()
            .filter(|(what, _)| !["sync", "read"].contains(what));
        let last = writes.clone().next_back().expect("there is one");
        assert_eq!(*last, ("write", superblock..superblock + 1024));
        let syncs = seen.iter().filter(|(what, _)| *what == "sync").count();
        assert_eq!(syncs, if sync { 3 } else { 0 });
        let mut reads = seen.iter().filter(|(what, _)| *what == "read");
        assert!(reads.all(|(_, range)| *range == (offset..offset + 512)));
        let image = offset..offset + (32 << 20);
        let mut taken = BTreeMap::new();
        for (what, range) in writes.skip(1).filter(|(what, _)| *what != "discard") {
            assert!(image.start <= range.start && range.end <= image.end);
            assert!(
                taken.insert(range.start, range.end).is_none(),
                "{what} {range:?}"
            );
        }
        let starts = taken.keys().skip(1);
        let overlap = taken.values().zip(starts).find(|(end, next)| end > next);
        assert_eq!(overlap, None);
    }
}

#[test]
fn cancelling_ends_planning_and_writing() {
    let cancelled = |builder: Builder| {
        let error = builder.to_vec().expect_err("it ends");
        assert_eq!(
            (error.kind(), error.is_cancelled()),
            (ErrorKind::Cancelled, true)
        );
    };
    let cancel = Cancel::new();
    cancel.cancel();
    cancelled(builder().source(Directory::new("src")).cancel(&cancel));
    let cancel = Cancel::new();
    let mut tree = Tree::new();
    tree.file("/data", vec![7; 9 << 20])
        .expect("it is declared");
    let button = cancel.clone();
    let builder = builder().source(tree).cancel(&cancel);
    cancelled(builder.progress(move |_| button.cancel()));
}

#[test]
fn errors_say_what_a_program_can_act_on() {
    let large = || {
        let mut tree = Tree::new();
        tree.file("/data", vec![7; 9 << 20])
            .expect("it is declared");
        builder().source(tree)
    };
    let kind = |made: Result<Summary, Error>| made.expect_err("it is refused").kind();
    match kind(large().size_bytes(8 << 20).write_to(&Memory::new(8 << 20))) {
        ErrorKind::DoesNotFit { needed, available } => {
            assert!(needed >= 9 << 20 && available < 8 << 20);
        }
        kind => panic!("{kind:?}"),
    }
    let small = Memory::new(1 << 20);
    let needed = 32 << 20;
    let available = 1 << 20;
    assert_eq!(
        kind(large().size_bytes(needed).write_to(&small)),
        ErrorKind::OutputTooSmall { needed, available }
    );
    let sized = || large().size_bytes(32 << 20);
    let any = Memory::new(32 << 20);
    for (refused, name, value) in [
        (sized().block_size(5000), "-b", "5000"),
        (sized().inodes(1 << 40), "-N", "1099511627776"),
        (sized().reserved_percent(51.0), "-m", "51"),
        (sized().features("fast"), "-O", "fast"),
        (
            large().fit(Fit::Available(1 << 50)),
            "fit",
            "1125899906842624",
        ),
    ] {
        let (name, value) = (name.to_owned(), value.to_owned());
        let expected = ErrorKind::InvalidOption { name, value };
        assert_eq!(kind(refused.write_to(&any)), expected);
    }
    let few = large()
        .with(|options| options.inodes_count(12))
        .size_bytes(32 << 20);
    let few = few.source(watched(
        &[0; 40].map(|_| Arc::new(Watched::new(9, Access::InOrder))),
    ));
    assert!(matches!(
        kind(few.write_to(&any)),
        ErrorKind::TooFewInodes { .. }
    ));
}

#[test]
fn a_source_that_is_missing_or_changes_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    let made = builder().source(Directory::new(&missing)).to_vec();
    let path = missing.into_os_string().into_encoded_bytes();
    let error = made.expect_err("it is missing");
    assert_eq!(error.kind(), ErrorKind::SourceUnreadable { path });
    let cause = error.source().expect("the system's").to_string();
    assert!(!error.to_string().contains(&cause), "{error} {cause}");

    let file = directory.path().join("file");
    fs::write(&file, [1; 100_000]).expect("it is written");
    let content = Content::from_path(&file).expect("it is there");
    let mut tree = Tree::new();
    tree.file("/file", content).expect("it is declared");
    let plan = builder().source(tree).plan().expect("it is planned");
    fs::write(&file, [2; 100_000]).expect("it is written");
    let error = plan.to_vec().expect_err("it changed");
    assert!(matches!(error.kind(), ErrorKind::SourceChanged { path } if path.ends_with(b"/file")));
}

/// An error's text, and that of each cause.
fn texts(error: &Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}

#[test]
fn an_error_says_where_and_its_cause_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    let name = missing.to_str().expect("it is text");
    let of_missing = || ErrorKind::SourceUnreadable {
        path: name.as_bytes().to_vec(),
    };
    let ended = |content: Content| {
        let mut tree = Tree::new();
        tree.file("/etc/app", content).expect("it is declared");
        builder().source(tree).to_vec().map(drop)
    };
    let app = b"/etc/app".to_vec();
    let whole = || builder().source(Directory::new("src"));
    let to = |path: &std::path::Path| whole().write_file(path).map(drop);
    let from = |builder: Builder| builder.to_vec().map(drop);
    let invalid = |name: &str, value: &str| {
        let (name, value) = (name.to_owned(), value.to_owned());
        ErrorKind::InvalidOption { name, value }
    };
    let short = || Content::from_reader(5, io::Cursor::new("four"));
    let long = || Content::from_fn(3, || Ok(&b"four"[..]));
    let too_small = ErrorKind::DoesNotFit {
        needed: 9 << 10,
        available: 8 << 10,
    };
    for (made, kind, links) in [
        (
            from(builder().source(Directory::new(name))),
            of_missing(),
            2,
        ),
        (from(builder().source(Tar::open(name))), of_missing(), 2),
        (
            from(builder().source(ContainerImage::layout(name))),
            of_missing(),
            2,
        ),
        (
            from(builder().source(mke4fs::Copy::new(name, "/x"))),
            of_missing(),
            2,
        ),
        (
            from(builder().source(mke4fs::Image::open(name))),
            of_missing(),
            2,
        ),
        (
            ended(short()),
            ErrorKind::SourceUnreadable { path: app.clone() },
            2,
        ),
        (ended(long()), ErrorKind::SourceChanged { path: app }, 2),
        (to(&missing.join("x")), ErrorKind::OutputFailed, 2),
        (to(directory.path()), ErrorKind::OutputFailed, 1),
        (from(builder().size_bytes(8 << 10)), too_small, 1),
        (
            from(builder().size_bytes(8 << 20).map_ids(0..10, u32::MAX - 3)),
            invalid("map_ids", "0:4294967292:10"),
            1,
        ),
        (
            from(
                builder()
                    .size_bytes(8 << 20)
                    .with(|it| it.journal_mebibytes(99_999)),
            ),
            invalid("-J", "size=99999"),
            1,
        ),
        (
            from(builder().size_bytes(8 << 20).label("x".repeat(17))),
            invalid("-L", "17 bytes"),
            1,
        ),
    ] {
        let error = made.expect_err("it is refused");
        let texts = texts(&error);
        assert_eq!((error.kind(), texts.len()), (kind, links), "{texts:?}");
        for pair in texts.windows(2) {
            let [text, cause] = [0, 1].map(|at| pair[at].to_lowercase());
            // The system's number is no part of what is said.
            let cause = cause.split(" (os error").next().unwrap_or_default();
            assert!(!text.contains(cause), "{texts:?}");
            assert!(
                format!("{error:#}").to_lowercase().contains(cause),
                "{error:#}"
            );
        }
    }
    #[cfg(target_os = "linux")]
    {
        let full = File::options().read(true).write(true).open("/dev/full");
        let refused = whole().write_open_file(full.expect("Linux has it"));
        let texts = texts(&refused.expect_err("it is no file"));
        assert!(
            texts.len() == 2 && !texts[0].contains("nvalid"),
            "{texts:?}"
        );
    }
}

#[cfg(target_os = "linux")]
mod spooled {
    use super::*;
    use crate::common::making;

    /// An archive, whose reader notes which files without a name the process has while it is read.
    struct Spy {
        bytes: io::Cursor<Vec<u8>>,
        seen: Arc<Mutex<std::collections::BTreeSet<std::path::PathBuf>>>,
    }

    impl io::Read for Spy {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for entry in fs::read_dir("/proc/self/fd")?.flatten() {
                // Other tests open and close files meanwhile.
                let Ok(target) = fs::read_link(entry.path()) else {
                    continue;
                };
                if target.to_string_lossy().ends_with("(deleted)") {
                    let directory = target.parent().expect("it is absolute").to_owned();
                    self.seen.lock().expect("no panic").insert(directory);
                }
            }
            self.bytes.read(buffer)
        }
    }

    #[test]
    fn a_stream_is_kept_beside_the_output_and_never_in_the_current_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut archive = vec![0; 512 * 100];
        archive[..512].copy_from_slice(&making::head_of_archive(24_576));
        let here = std::env::current_dir().expect("a directory");
        for (output, place) in [
            (Some(directory.path().join("image")), directory.path()),
            (None, std::path::Path::new("/var/tmp")),
        ] {
            let seen = Arc::default();
            let spy = Spy {
                bytes: io::Cursor::new(archive.clone()),
                seen: Arc::clone(&seen),
            };
            let builder = builder().source(Tar::from_reader(spy, "spied"));
            match output {
                Some(path) => builder.write_file(path).map(drop),
                None => builder.to_vec().map(drop),
            }
            .expect("it is made");
            let seen = seen.lock().expect("no panic");
            assert!(seen.contains(place) && !seen.contains(&here), "{seen:?}");
        }
    }
}

#[test]
fn more_room_than_any_size_is_sought_for_is_refused_at_once() {
    let began = Instant::now();
    for fit in [
        Fit::Available(1 << 50),
        Fit::Available(u64::MAX),
        Fit::AvailablePercent(u32::MAX),
    ] {
        let mut tree = Tree::new();
        tree.file("/data", vec![7; 9 << 20])
            .expect("it is declared");
        let error = builder().source(tree).fit(fit).plan();
        let error = error.expect_err("it is refused").to_string();
        assert!(error.contains("at most 17592186044416"), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_tree_by_hand_has_what_its_paths_say() {
    let mut tree = Tree::new();
    let time = Timestamp::from_seconds(1_700_000_000);
    tree.root().owner(3, 4).time(time);
    let file = tree.file("a/b//./c", "text").expect("it is declared");
    let file = file.permissions(0o4711).xattr("user.a", "1");
    let file = file.expect("it has none").id();
    assert_eq!(tree.find("/a/b/c"), Ok(Some(file)));
    let above = tree.find("/a/b").expect("names").expect("it is there");
    let Metadata {
        permissions,
        uid,
        gid,
        mtime,
        ..
    } = tree.node(above).metadata;
    assert_eq!((permissions, uid, gid, mtime), (0o755, 3, 4, time));
    assert_eq!(tree.node(file).metadata.permissions, 0o4711);
    assert_eq!(tree.directory("/a/b").expect("it is there").id(), above);
    tree.link("/second", "/a/b/c").expect("it is declared");
    tree.special("/run/pipe", Special::Fifo)
        .expect("it is declared");
    let name = |name: &str| name.as_bytes().to_vec();
    for (refused, error) in [
        (
            tree.file("/a/b/c", "").err(),
            TreeError::Duplicate(name("/a/b/c")),
        ),
        (tree.file("/second/x", "").err(), TreeError::NotADirectory),
        (tree.file("/a/../x", "").err(), TreeError::Name(name(".."))),
        (tree.file("/", "").err(), TreeError::Name(name("/"))),
        (
            tree.link("/third", "/none").err(),
            TreeError::Missing(name("/none")),
        ),
        (
            tree.link("/third", "/a").err(),
            TreeError::DirectoryLink(name("third")),
        ),
        (
            tree.link("/second", "/a/b/c").err(),
            TreeError::Duplicate(name("/second")),
        ),
        (tree.symlink("/l", "").err(), TreeError::EmptyTarget),
    ] {
        assert_eq!(refused, Some(error));
    }
    let mut twice = tree.file("/twice", "").expect("it is declared");
    twice = twice.xattr("user.a", "1").expect("it has none");
    let twice = twice.xattr("user.a", "2").err();
    assert_eq!(twice, Some(TreeError::DuplicateXattr(name("user.a"))));
    let plan = builder().source(tree).plan().expect("it is planned");
    let nodes = plan.summary().nodes;
    assert_eq!((nodes.files, nodes.special), (2, 1));
    assert!(check(&plan.to_vec().expect("it is made")).is_clean());
}

#[test]
fn what_is_of_another_tree_is_refused() {
    let mut large = Tree::new();
    let mut last = NodeId::ROOT;
    for number in 0..9 {
        last = large.file(format!("/{number}"), "").expect("declared").id();
    }
    let xattr = |name: &str| Xattr {
        name: name.into(),
        value: Vec::new(),
    };
    let twice = large.set_xattrs(last, vec![xattr("user.a"), xattr("user.a")]);
    assert_eq!(twice, Err(TreeError::DuplicateXattr(b"user.a".to_vec())));
    let mut small = Tree::new();
    let all = Metadata::default();
    let foreign = Err(TreeError::Foreign);
    assert_eq!(small.set_metadata(last, all), foreign);
    assert_eq!(small.set_xattrs(last, vec![xattr("user.a")]), foreign);
    assert_eq!(small.link_at(last, b"a", NodeId::ROOT), foreign);
    assert_eq!(small.link_at(NodeId::ROOT, b"a", last), foreign);
    assert_eq!(small.lookup(last, b"a"), Err(TreeError::Foreign));
    assert_eq!(small.remove(last, b"a"), Err(TreeError::Foreign));
    assert_eq!(small.directory_at(last, b"a", all), Err(TreeError::Foreign));
    // Also where this tree has as many nodes, and one is at that place.
    let last = small.file("/a", "").expect("declared").id();
    assert_eq!(large.set_metadata(last, all), foreign);
    assert_eq!(large.link_at(NodeId::ROOT, b"b", last), foreign);
    assert_eq!(large.remove(last, b"a"), Err(TreeError::Foreign));
    let node = panic::catch_unwind(panic::AssertUnwindSafe(|| large.node(last).names));
    assert!(node.is_err(), "a node of another tree");
    let attributes = panic::catch_unwind(panic::AssertUnwindSafe(|| large.xattrs(last).len()));
    assert!(attributes.is_err(), "a node of another tree");
    // The root is everybody's, and a copy has the ids of what it was copied from.
    assert_eq!(large.set_metadata(NodeId::ROOT, all), Ok(()));
    assert_eq!(small.clone().set_metadata(last, all), Ok(()));
}

#[test]
fn an_id_from_before_the_nodes_were_numbered_anew_is_refused() {
    let mut tree = Tree::new();
    tree.overlay().expect("nothing is there twice");
    let old = tree.file("/b", "").expect("declared").id();
    tree.file("/a", "").expect("declared");
    assert_eq!(tree.finish(), Ok(()));
    let found = tree.find("/b").expect("no name is there twice");
    let found = found.expect("it is there");
    assert_ne!(found, old);
    assert_eq!(
        tree.set_metadata(old, Metadata::default()),
        Err(TreeError::Foreign)
    );
    assert_eq!(tree.set_metadata(found, Metadata::default()), Ok(()));
}

#[test]
fn a_summary_is_json_and_text() {
    let plan = builder()
        .label("a\"\\\u{fc}")
        .uuid([0x5a; 16])
        .size_bytes(16 << 20);
    let summary = plan.plan().expect("it is planned").summary();
    assert_eq!(summary.uuid_text(), "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a");
    assert!(summary.feature_names().any(|name| name == "extent"));
    let json: serde_json::Value = serde_json::from_str(&summary.to_json()).expect("it is JSON");
    assert_eq!(json["label"], "a\"\\\\\u{fc}");
    assert_eq!(json["uuid"], summary.uuid_text());
    assert_eq!(json["size_bytes"], 16 << 20);
    let features = json["features"].as_array().expect("a list").len();
    assert_eq!(features, summary.feature_names().count());
}

#[test]
fn the_root_has_the_context_asked_for() {
    let context = "system_u:object_r:root_t:s0";
    let builder = builder().size_bytes(16 << 20);
    let plan = builder.with(|options| options.root_selinux(context)).plan();
    let plan = plan.expect("it can be planned");
    let [found] = plan.tree().xattrs(NodeId::ROOT) else {
        panic!("the root has not one attribute");
    };
    assert_eq!(found.name, b"security.selinux");
    assert_eq!(found.value, b"system_u:object_r:root_t:s0\0");
}

#[test]
fn a_format_that_only_a_container_has_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let sized = || builder().size_bytes(16 << 20);
    let sparse = || sized().with(|options| options.extended("android_sparse=1"));
    let asked = ErrorKind::InvalidOption {
        name: "format".to_owned(),
        value: "an Android sparse image".to_owned(),
    };
    let path = directory.path().join("image");
    let open = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(directory.path().join("open"))
        .expect("it can be created");
    for refused in [
        sparse().write_open_file(open).map(drop),
        sparse().to_vec().map(drop),
        sparse().write_to(&Memory::new(16 << 20)).map(drop),
        sparse().write_in_order(|_| Ok(())).map(drop),
    ] {
        assert_eq!(refused.expect_err("it is no raw image").kind(), asked);
    }
    // A file is written as it is asked for, by its plan as well.
    let plan = sparse().plan().expect("it is planned");
    let planned = directory.path().join("planned");
    sparse().write_file(&path).expect("it is made");
    plan.write_file(&planned).expect("it is made");
    for file in [path, planned] {
        let made = fs::read(file).expect("it is there");
        assert_eq!(made[..4], [0x3a, 0xff, 0x26, 0xed]);
    }
}

#[test]
fn more_groups_than_there_can_be_inodes_for_are_refused() {
    // Each of 2^30 groups has 8 inodes at least.
    let planned = builder()
        .block_size(1024)
        .features("64bit")
        .size_bytes((1 << 53) + (1 << 43))
        .plan();
    let error = planned.expect_err("it is refused").to_string();
    assert!(error.contains("invalid combination"), "{error}");
}
