//! Given a directory whose contents are written while it is looked at, proves that the image is the one
//! that a plan makes, whatever was guessed, and that what goes wrong on the way is told; what a stream
//! becomes is `stream.rs`'s.

#![cfg(all(target_os = "linux", feature = "cli"))]

use crate::common;

use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::making;
use common::tools::{self, Need, Result, Which, ready};
use mke4fs::raw::emit::Writing;
use mke4fs::sink::{Checked, Fault, Memory};
use mke4fs::source::dir::Directory;
use mke4fs::source::{Declared, EarlyContents, Source, SourceError};
use mke4fs::tree::{
    Content, ContentKey, ContentReader, ContentSource, DataMap, Metadata, NodeId, Tree,
};
use mke4fs::{Builder, Error};
use rustix::fs::{FallocateFlags, fallocate};

/// What a source handed over.
#[derive(Default)]
struct Counts {
    placed: AtomicUsize,
    taken: AtomicUsize,
    bytes: AtomicUsize,
}

/// A directory, and what it hands over.
struct Watched(Directory, Arc<Counts>);

/// Somebody who takes contents, and how many.
struct Watching<'a>(&'a mut dyn EarlyContents, &'a Counts);

impl EarlyContents for Watching<'_> {
    fn block_bytes(&self) -> usize {
        self.0.block_bytes()
    }

    fn check(&mut self) -> io::Result<()> {
        self.0.check()
    }

    fn takes_more(&self) -> bool {
        self.0.takes_more()
    }

    fn place(&mut self, content: &Content, is_read: bool) -> io::Result<Option<u64>> {
        let place = self.0.place(content, is_read)?;
        self.1.placed.fetch_add(1, Ordering::Relaxed);
        let taken = usize::from(place.is_some());
        self.1.taken.fetch_add(taken, Ordering::Relaxed);
        Ok(place)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.1.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        self.0.write(offset, bytes)
    }
}

impl Source for Watched {
    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Declaring {
        self.0.declare(tree, at)
    }

    fn is_early(&self) -> bool {
        self.0.is_early()
    }

    fn declare_early(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
        early: &mut dyn EarlyContents,
    ) -> std::result::Result<Declared, SourceError> {
        self.0
            .declare_early(tree, at, &mut Watching(early, &self.1))
    }
}

/// Files that are handed over in another order than that of the tree.
struct Backwards;

impl Backwards {
    const FILES: u8 = 50;

    fn contents() -> Vec<Content> {
        let source: Arc<dyn ContentSource> = Arc::new(Repeated);
        let content = |number: u8| Content {
            size_bytes: u64::try_from(Repeated::bytes(number.into()).len()).expect("it is short"),
            data: DataMap::Whole,
            source: source.clone(),
            key: number.into(),
        };
        (0..Self::FILES).map(content).collect()
    }

    fn declare(tree: &mut Tree, at: NodeId, contents: Vec<Content>) -> Declaring {
        for (content, number) in contents.into_iter().zip(0_u8..) {
            let name = [b'a' + number / 26, b'a' + number % 26];
            tree.file_at(at, &name, Metadata::default(), content)?;
        }
        Ok(Declared::default())
    }
}

type Declaring = std::result::Result<Declared, SourceError>;

/// Contents of the same byte again and again.
struct Repeated;

impl Repeated {
    fn bytes(key: ContentKey) -> Vec<u8> {
        let number = u8::try_from(key).expect("few files");
        vec![number + 1; 100 * (1 + usize::from(number))]
    }
}

impl ContentSource for Repeated {
    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        Ok(Box::new(Reader(Self::bytes(key))))
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        b"a byte again and again".to_vec()
    }
}

struct Reader(Vec<u8>);

impl ContentReader for Reader {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Backwards {
    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Declaring {
        Self::declare(tree, at, Self::contents())
    }

    fn is_early(&self) -> bool {
        true
    }

    fn declare_early(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
        early: &mut dyn EarlyContents,
    ) -> Declaring {
        let contents = Self::contents();
        for content in contents.iter().rev() {
            let mut bytes = Repeated::bytes(content.key);
            bytes.resize(bytes.len().next_multiple_of(early.block_bytes()), 0);
            let place = early.place(content, true).map_err(SourceError::other)?;
            if let Some(offset) = place {
                early.write(offset, &bytes).map_err(SourceError::other)?;
            }
        }
        Self::declare(tree, at, contents)
    }
}

fn writing(threads: usize, cancel: &AtomicBool) -> Writing<'_> {
    Writing {
        threads: NonZero::new(threads).expect("not 0"),
        progress: &|_| {},
        cancel,
        sync: false,
    }
}

/// The image that `words` make of `source`.
fn image(
    words: &str,
    source: impl Source + 'static,
    early: bool,
    threads: usize,
) -> std::result::Result<Vec<u8>, Error> {
    let options = making::options(words).expect("words that tests use");
    let builder = Builder::from_options(options).environment(making::memory_host());
    let ready = builder.source(source).early(early).ready()?;
    let memory = Memory::new(ready.size_bytes());
    ready.write(&memory, &writing(threads, &AtomicBool::new(false)))?;
    Ok(memory.into_bytes().expect("it fits"))
}

/// A tree of files short and long, with holes, of several names, and in directories that hold both.
fn build(at: &Path) -> Result<()> {
    for number in 0..600_u32 {
        let directory = at.join(format!("d{}/e{}", number % 7, number % 3));
        fs::create_dir_all(&directory)?;
        let length = usize::try_from(number * number % 9000)?;
        let content = vec![u8::try_from(number % 255)? + 1; length];
        fs::write(directory.join(number.to_string()), content)?;
    }
    // Between and behind the directories, and longer than what is read at once.
    for (name, length) in [
        ("a", 70_000),
        ("d3x", 65_536),
        ("d4/z", 65_537),
        ("z", 900_000),
    ] {
        fs::write(at.join(name), vec![b'.'; length])?;
    }
    let hole = File::create(at.join("d5/hole"))?;
    hole.write_all_at(b"behind a hole", 40_000)?;
    let within = File::create(at.join("d5/hole within"))?;
    within.write_all_at(&[1; 4096], 0)?;
    within.write_all_at(&[1; 5000], 8192)?;
    File::create(at.join("d4/hole at the end"))?.set_len(20_000)?;
    // What is set aside reads as zeros and is a hole until it was read.
    for number in 0..3 {
        let aside = File::create(at.join(format!("d4/hole set aside {number}")))?;
        fallocate(&aside, FallocateFlags::empty(), 0, 20_000)?;
        aside.sync_all()?;
    }
    fs::write(at.join("d4/zeros"), [0; 20_000])?;
    fs::hard_link(at.join("z"), at.join("d2/again"))?;
    fs::hard_link(at.join("d6/e0/6"), at.join("d0/again"))?;
    let link = at.join("d1/link");
    std::os::unix::fs::symlink("x".repeat(100), &link)?;
    // The first time that it is read later than it was made stays.
    std::thread::sleep(std::time::Duration::from_millis(50));
    fs::read_link(link)?;
    Ok(())
}

/// How many files below `at` are read while they are looked at: those of up to 64 KiB, without a hole
/// or another name, whose times reading might change.
fn short_files(at: &Path) -> usize {
    let entries = fs::read_dir(at).expect("a directory");
    let counts = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let found = entry.metadata().expect("it is there");
        if found.is_dir() {
            short_files(&entry.path())
        } else {
            let name = entry.file_name();
            let is_hole = name.to_string_lossy().starts_with("hole");
            let is_short = (1..=64 << 10).contains(&found.len()) && found.is_file();
            usize::from(is_short && found.nlink() == 1 && !is_hole)
        }
    });
    counts.sum()
}

#[test]
fn what_is_written_early_is_what_a_plan_writes() {
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    build(&tree).expect("it is built");
    // To list a directory leaves a time behind, too: it is done before the first image.
    let short = short_files(&tree);
    let mut wrong = Vec::new();
    // Whether contents are handed over, and whether they come to lie where that was guessed.
    for (words, is_handed_over) in [
        ("-b 4096 64M", true),
        ("-b 1024 64M", true),
        ("-b 16384 -O ^metadata_csum 64M", true),
        ("-b 65536 128M", true),
        ("-b 4096 -O ^has_journal,^resize_inode,meta_bg 64M", true),
        ("-b 1024 -O bigalloc 64M", true),
        ("-b 4096 -E packed_meta_blocks=1 64M", true),
        ("-b 1024 -O ^extent,^64bit 64M", false),
        ("-b 4096 -O inline_data 64M", false),
        ("-b 4096 -O quota 64M", true),
    ] {
        let planned = image(words, Directory::new(&tree), false, 1);
        for threads in [1, 2, 5] {
            let counts = Arc::new(Counts::default());
            let threaded = NonZero::new(threads).expect("not 0");
            let source = Watched(Directory::new(&tree).threads(threaded), counts.clone());
            let early = image(words, source, true, threads);
            match (&planned, &early) {
                (Ok(planned), Ok(early)) if planned == early => {}
                (Err(planned), Err(early)) if planned.to_string() == early.to_string() => {
                    wrong.push(format!("{words}: {planned}"));
                }
                (Ok(_), Ok(_)) => wrong.push(format!("{words}, {threads} threads: other bytes")),
                (planned, early) => {
                    let why = |image: &std::result::Result<Vec<u8>, Error>| match image {
                        Ok(_) => "made".to_owned(),
                        Err(error) => error.to_string(),
                    };
                    wrong.push(format!("{words}: {} but {}", why(planned), why(early)));
                }
            }
            let taken = counts.taken.load(Ordering::Relaxed);
            let bytes = counts.bytes.load(Ordering::Relaxed);
            // All that is short, and nothing else.
            let expected = if is_handed_over { short } else { 0 };
            if taken != expected || is_handed_over != (bytes > 1 << 20) {
                wrong.push(format!(
                    "{words}: {taken} taken of {expected}, {bytes} bytes"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn more_inodes_than_was_thought_move_everything() {
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    for number in 0..3000 {
        fs::write(tree.join(number.to_string()), b"short").expect("a file");
    }
    let words = "-b 1024 8M";
    let planned = image(words, Directory::new(&tree), false, 1).expect("it is made");
    let counts = Arc::new(Counts::default());
    let source = Watched(Directory::new(&tree), counts.clone());
    let early = image(words, source, true, 2).expect("it is made");
    assert!(planned == early, "other bytes");
    // Whoever guesses gives up where the inodes that it thinks there are end.
    let taken = counts.taken.load(Ordering::Relaxed);
    assert!((1500..2900).contains(&taken), "{taken}");
}

#[test]
fn what_was_guessed_wrongly_is_written_again_and_cleared() {
    for words in [
        "-b 1024 16M",
        "-b 4096 -N 64 16M",
        // Where room is short, the layout has other places than those that were foretold.
        "-b 1024 -N 80 -O ^has_journal,^resize_inode,^orphan_file 205k",
    ] {
        let planned = image(words, Backwards, false, 1).expect("it is made");
        let early = image(words, Backwards, true, 1).expect("it is made");
        assert!(planned == early, "{words}: other bytes");
        // Storage that can only be written over.
        let words = format!("{words} -E nodiscard");
        let [planned, early] = [false, true].map(|early| {
            let options = making::options(&words).expect("words that tests use");
            let builder = Builder::from_options(options).environment(making::memory_host());
            let ready = builder.source(Backwards).early(early).ready();
            let ready = ready.expect("it is ready");
            let memory = Memory::new(ready.size_bytes()).without_discard();
            let written = ready.write(&memory, &writing(1, &AtomicBool::new(false)));
            written.expect("it is made");
            memory.into_bytes().expect("it fits")
        });
        assert!(planned == early, "{words}: other bytes");
    }
}

#[test]
fn what_goes_wrong_on_the_way_is_told() {
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    build(&tree).expect("it is built");
    // What does not fit is told as it is by a plan.
    for words in ["-b 1024 1200k", "-b 1024 -N 40 64M"] {
        let told = [false, true].map(|early| {
            let image = image(words, Directory::new(&tree), early, 2);
            image.expect_err("it does not fit").to_string()
        });
        assert_eq!(told[0], told[1]);
    }
    let ready = |words: &str| {
        let options = making::options(words).expect("words that tests use");
        let builder = Builder::from_options(options).environment(making::memory_host());
        let builder = builder.source(Directory::new(&tree)).early(true);
        builder.ready().expect("nothing is read yet")
    };
    // Each write fails in its turn.
    let mut number = 1;
    loop {
        let ready = ready("-b 4096 64M");
        let bytes = ready.size_bytes();
        let sink = Checked::new(Memory::new(bytes), 0..bytes).with_superblock_zone(1024..4096);
        let sink = sink.with_fault(Fault::FailAt(number));
        match ready.write(&sink, &writing(2, &AtomicBool::new(false))) {
            Ok(_) => break,
            Err(error) => assert!(format!("{error:#}").contains("injected"), "{error:#}"),
        }
        number += 1;
    }
    assert!(number > 20, "only {number} writes");
    let ready = ready("-b 4096 64M");
    let sink = Memory::new(ready.size_bytes());
    let cancelled = ready.write(&sink, &writing(2, &AtomicBool::new(true)));
    assert!(cancelled.expect_err("it is to end").is_cancelled());
}

/// What the command makes of a tree, called as `program`.
fn made(program: &Path, (tree, image): (&Path, &Path), more: &[&str]) -> Vec<u8> {
    let _ = fs::remove_file(image);
    let mut command = Command::new(program);
    command
        .env("E2FSPROGS_FAKE_TIME", making::CLOCK.to_string())
        .args(["-q", "-U", making::UUID_TEXT, "-E"])
        .arg(format!("hash_seed={}", making::SEED_TEXT))
        .arg("-d")
        .args([tree, image])
        .args(more);
    tools::run(&mut command).expect("it is made");
    fs::read(image).expect("it can be read")
}

/// The command as mke4fs, which writes new files early, and as mkfs.ext4, which does not.
fn programs(directory: &Path) -> (&'static Path, std::path::PathBuf) {
    let ours = Path::new(env!("CARGO_BIN_EXE_mke4fs"));
    let plain = directory.join("mkfs.ext4");
    std::os::unix::fs::symlink(ours, &plain).expect("a link");
    (ours, plain)
}

#[test]
fn a_new_file_is_the_image_that_mke2fs_s_words_make() {
    let needs = [
        Need::E2fsprogs(Which::System),
        Need::E2fsprogs(Which::Reference),
    ];
    if !ready(&needs) {
        return;
    }
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    build(&tree).expect("it is built");
    let (ours, plain) = programs(directory.path());
    let image = directory.path().join("image");
    // mke2fs makes smaller blocks of itself.
    let expected = made(&plain, (&tree, &image), &["-b", "4096", "64M"]);
    for threads in ["1", "2", "8"] {
        let early = made(ours, (&tree, &image), &["64M", "--threads", threads]);
        assert!(early == expected, "other bytes with {threads} threads");
    }
    tools::e2fsck(&image, Which::System).expect("e2fsck finds nothing");
    let said = tools::e2fsck(&image, Which::Reference).expect("e2fsck finds nothing");
    assert!(said.contains("(0.0% non-contiguous)"), "{said}");
}

#[test]
fn what_a_manifest_puts_in_the_place_of_a_file_is_in_the_image() {
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    let other = directory.path().join("other");
    for (name, content) in [("b", "old of b"), ("c", "of c"), ("../other", "the other")] {
        fs::write(tree.join(name), content).expect("a file");
    }
    let (ours, plain) = programs(directory.path());
    let (manifest, image) = (directory.path().join("m"), directory.path().join("image"));
    // In the place of the first file, and before it.
    for name in ["b", "a"] {
        let line = format!(
            "./{name} type=file mode=0644 contents={}\n",
            other.display()
        );
        fs::write(&manifest, format!("#mtree\n{line}")).expect("a file");
        let manifest = manifest.to_str().expect("it is UTF-8");
        let more = ["-b", "1024", "16M", "--manifest", manifest];
        let expected = made(&plain, (&tree, &image), &more);
        let early = made(ours, (&tree, &image), &more);
        assert!(early == expected, "{name}: other bytes");
        let held = early.windows(9).any(|bytes| bytes == b"the other");
        let old = early.windows(8).any(|bytes| bytes == b"old of b");
        assert!(held && old == (name == "a"), "{name}: other contents");
    }
}

#[test]
fn more_inodes_may_make_the_file_longer_or_shorter() {
    let directory = making::workplace().expect("a directory");
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    let (ours, plain) = programs(directory.path());
    let image = directory.path().join("image");
    let mut lengths = Vec::new();
    for number in 0..9000_u32 {
        fs::write(tree.join(number.to_string()), b"").expect("a file");
        if number % 1500 < 1499 {
            continue;
        }
        for kibibytes in [8300, 8260, 8500, 8600, 16_700] {
            let more = ["-b", "1024", &format!("{kibibytes}k")];
            let expected = made(&plain, (&tree, &image), &more);
            let early = made(ours, (&tree, &image), &more);
            assert!(
                early == expected,
                "{number} files, {kibibytes}k: other bytes"
            );
            lengths.push((kibibytes, expected.len()));
        }
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 5, "some have two lengths: {lengths:?}");
}
