//! Given sources that can be read only once, proves that images written as they arrive are what they
//! would be had all been known before, and that a stream that ends badly leaves nothing; how an
//! archive is parsed is `tar.rs`'s.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::attrs::{Options, Snapshot};
use common::image::Tar as Members;
use common::mount::{self, Scratch, mount_ro};
use common::tools::{self, Need, Result, Which, ready};
use common::{making, torture};
use mke4fs::raw::emit::Writing;
use mke4fs::sink::{Checked, IfBusy, Memory, Output, Piece, Sink, Stream};

use mke4fs::raw::Built;
use mke4fs::source::dir::Directory;
use mke4fs::source::{ContentStore, Declared, Source, SourceError};
use mke4fs::tree::{
    Content, ContentReader, DataMap, Kind, Metadata, NodeId, Special, Tree, TreeError,
};
use mke4fs::{Builder, Environment, Error, Fit, Sparse, Tar};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

/// A directory as a stream: what it holds comes once, in the order of its declaration.
struct Once(Directory);

impl Source for Once {
    fn declare(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
    ) -> std::result::Result<Declared, SourceError> {
        self.0.declare(tree, at)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn declare_stream(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
        store: &mut dyn ContentStore,
    ) -> std::result::Result<Declared, SourceError> {
        let mut whole = Tree::with_root(Metadata::default());
        let declared = self.0.declare(&mut whole, NodeId::ROOT)?;
        let mut copied = HashMap::from([(NodeId::ROOT, at)]);
        let mut waiting = vec![NodeId::ROOT];
        while let Some(from) = waiting.pop() {
            let parent = copied[&from];
            let attributes = whole.xattrs(from).to_vec();
            tree.set_xattrs(parent, attributes)?;
            for entry in whole.entries(from) {
                if let Some(known) = copied.get(&entry.node) {
                    tree.link_at(parent, entry.name, *known)?;
                    continue;
                }
                let node = whole.node(entry.node);
                let (name, metadata) = (entry.name, node.metadata);
                let special = |special| (special, metadata);
                let id = match &node.kind {
                    Kind::Directory(_) => {
                        waiting.push(entry.node);
                        tree.directory_at(parent, name, metadata)?
                    }
                    Kind::File(content) => {
                        let mut bytes = Bytes::of(content).map_err(SourceError::other)?;
                        let kept =
                            store.keep(content.size_bytes(), content.data().clone(), &mut bytes);
                        let kept = kept.map_err(|error| SourceError::read(name.to_vec(), error))?;
                        tree.file_at(parent, name, metadata, kept)?
                    }
                    Kind::Symlink(target) => tree.symlink_at(parent, name, metadata, target)?,
                    Kind::CharDevice(device) => {
                        let (kind, metadata) = special(Special::CharDevice(*device));
                        tree.special_at(parent, name, metadata, kind)?
                    }
                    Kind::BlockDevice(device) => {
                        let (kind, metadata) = special(Special::BlockDevice(*device));
                        tree.special_at(parent, name, metadata, kind)?
                    }
                    Kind::Fifo => tree.special_at(parent, name, metadata, Special::Fifo)?,
                    Kind::Socket => tree.special_at(parent, name, metadata, Special::Socket)?,
                };
                let attributes = whole.xattrs(entry.node).to_vec();
                tree.set_xattrs(id, attributes)?;
                copied.insert(entry.node, id);
            }
        }
        Ok(declared)
    }
}

/// The data of a content, one range after the other.
struct Bytes<'a> {
    reader: Box<dyn ContentReader + 'a>,
    ranges: Vec<std::ops::Range<u64>>,
}

impl<'a> Bytes<'a> {
    fn of(content: &'a Content) -> io::Result<Self> {
        let mut ranges: Vec<_> = content.data_ranges().collect();
        ranges.reverse();
        let reader = content.open()?;
        Ok(Self { reader, ranges })
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(range) = self.ranges.last_mut() else {
            return Ok(0);
        };
        // As from a pipe: less than what is asked for.
        let most = usize::try_from(range.end - range.start).expect("it fits");
        let length = buffer.len().min(most).min(4099);
        self.reader
            .read_exact_at(range.start, &mut buffer[..length])?;
        range.start += u64::try_from(length).expect("it fits");
        if range.is_empty() {
            self.ranges.pop();
        }
        Ok(length)
    }
}

/// The size and the number of inodes that an image of `words` needs for `source`.
fn size_for(words: &str, source: &Path) -> Result<String> {
    let builder = Builder::from_options(making::options(words)?).environment(making::memory_host());
    let plan = builder
        .source(Directory::new(source))
        .fit(Fit::Auto)
        .plan()?;
    let size = plan.size_bytes() >> 10;
    let inodes = plan.layout().geometry.inodes_count;
    Ok(format!("{words} -N {inodes} {size}k"))
}

fn stream(words: &str, source: impl Source + 'static, image: &Path) -> Result<Built> {
    let builder = Builder::from_options(making::options(words)?).environment(making::host(image)?);
    let ready = builder.source(source).prepare()?;
    assert!(ready.plan().is_none(), "it is a stream");
    let draft = Output::open(image, IfBusy::Refuse)?.begin(&ready.range())?;
    let built = ready.write(draft.file(), &writing(&AtomicBool::new(false)))?;
    draft.keep();
    Ok(built)
}

fn writing(cancel: &AtomicBool) -> Writing<'_> {
    Writing {
        cancel,
        ..Writing::default()
    }
}

/// Both e2fsck find nothing, and what they say.
fn sound(image: &Path) -> Result<String> {
    tools::e2fsck(image, Which::System)?;
    tools::e2fsck(image, Which::Reference)
}

/// Every shape that decides where contents go.
const SHAPES: &[&str] = &[
    "-b 4096",
    "-b 4096 -O ^extent,^64bit",
    "-b 4096 -O bigalloc",
    "-b 4096 -O inline_data,quota",
    "-b 2048 -O inline_data -I 1024",
    "-b 1024 -O meta_bg,^resize_inode",
    "-b 4096 -O ^metadata_csum -E packed_meta_blocks=1",
];

#[test]
fn the_torture_tree_is_kept_as_it_arrives() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let scratch = Scratch::new(1 << 30).expect("an image is made");
    let tree = scratch.path().join("tree");
    let shape = torture::Options {
        longest_symlink: 1023,
        beyond_path_max: false,
    };
    torture::build(&tree, &shape).expect("the torture tree is built");
    let snapshot = Snapshot::take(&tree).expect("it can be read");
    let mut wrong = Vec::new();
    for (number, shape) in SHAPES.iter().enumerate() {
        let image = dir.path().join("image");
        let outcome = (|| {
            let words = size_for(shape, &tree)?;
            let _ = fs::remove_file(&image);
            let mut words = words;
            if number % 2 == 0 {
                let size = words.rsplit(' ').next().unwrap_or_default();
                let size: u64 = size.trim_end_matches('k').parse()?;
                making::fill_with_junk(&image, size << 10)?;
                words = format!("-E nodiscard {words}");
            }
            let built = stream(&words, Once(Directory::new(&tree)), &image)?;
            assert!(built.summary.nodes.files > 100);
            let said = sound(&image)?;
            // Blocks of a block map lie elsewhere, which e2fsck takes for a gap.
            if !shape.contains("^extent") && !said.contains("(0.0% non-contiguous)") {
                return Err(format!("files are in pieces:\n{said}").into());
            }
            mount::same(&snapshot, &image, &Options::default())
        })();
        if let Err(error) = outcome {
            let error: Box<dyn std::error::Error> = error;
            wrong.push(format!("{shape}: {error}"));
        }
        fs::remove_file(&image).expect("the image goes");
    }
    archives_agree_however_they_come(&tree, dir.path(), &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A command that makes an image.
fn command(output: &Path, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command
        .env_clear()
        .env("E2FSPROGS_FAKE_TIME", making::CLOCK.to_string())
        .args(["-q", "-F", "-U", making::UUID_TEXT])
        .arg(output)
        .args(words.split_whitespace());
    command
}

/// What the words make of an archive on stdin, as mounted, is what they make of the archive itself,
/// which is read where it lies and written in the order of the tree.
fn archives_agree_however_they_come(tree: &Path, dir: &Path, wrong: &mut Vec<String>) {
    let (archive, packed, image) = (dir.join("tar"), dir.join("tar.gz"), dir.join("image"));
    fs::create_dir(tree.join("etc")).expect("a directory");
    // tar writes names where the host has some, and the archive alone says what they stand for.
    for name in ["etc/passwd", "etc/group"] {
        fs::copy(Path::new("/").join(name), tree.join(name)).expect("the host has one");
    }
    let mut setfacl = Command::new("setfacl");
    let file = tree.join("etc/passwd");
    tools::run(setfacl.args(["-m", "u:daemon:rw"]).arg(file)).expect("an ACL");
    let mut tar = Command::new("tar");
    tar.args(["--format=pax", "--sparse", "--acls", "--xattrs"]);
    tar.args(["--xattrs-include=*", "--exclude=./sparse/tib*", "-cf"]);
    tools::run(tar.arg(&archive).arg("-C").arg(tree).arg(".")).expect("it is packed");
    let whole = fs::read(&archive).expect("it can be read");
    let compress = Command::new("gzip")
        .args(["-1", "-c"])
        .stdin(File::open(&archive).expect("the archive"))
        .stdout(File::create(&packed).expect("a file"))
        .status();
    assert!(compress.expect("gzip runs").success());
    let look = |command: &mut Command| -> Result<Snapshot> {
        tools::run(command)?;
        sound(&image)?;
        let snapshot = mount_ro(&image, Snapshot::take)??;
        Ok(snapshot)
    };
    for words in [
        "-b 4096 -N 20000 160M",
        "-b 1024 -t ext2 -N 20000 160M",
        "-b 4096 -O bigalloc -N 20000 800M",
    ] {
        let outcome = (|| -> Result<()> {
            let expected = look(command(&image, words).arg("-d").arg(&archive))?;
            fs::remove_file(&image)?;
            for from in [&archive, &packed] {
                if from == &archive {
                    making::fill_with_junk(&image, 160 << 20)?;
                }
                let stdin = File::open(from)?;
                let found = look(command(&image, words).args(["-d", "-"]).stdin(stdin))?;
                fs::remove_file(&image)?;
                let differences = expected.differences(&found, &Options::default());
                if let Some(first) = differences.first() {
                    return Err(format!("{}: {first}", from.display()).into());
                }
            }
            Ok(())
        })();
        if let Err(error) = outcome {
            wrong.push(format!("archive, {words}: {error}"));
        }
    }
    assert!(whole.len() > 1 << 20);
}

/// A source that does what a function does.
struct By<F>(F);

impl<F> Source for By<F>
where
    F: FnMut(&mut Tree, &mut dyn ContentStore) -> std::result::Result<(), SourceError> + Send,
{
    fn declare(&mut self, _: &mut Tree, _: NodeId) -> std::result::Result<Declared, SourceError> {
        Err(SourceError::other("it comes but once"))
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn declare_stream(
        &mut self,
        tree: &mut Tree,
        _: NodeId,
        store: &mut dyn ContentStore,
    ) -> std::result::Result<Declared, SourceError> {
        (self.0)(tree, store)?;
        Ok(Declared::default())
    }
}

/// Streams `bytes` into the file `name` of the root directory.
fn file(
    tree: &mut Tree,
    store: &mut dyn ContentStore,
    name: &str,
    bytes: &[u8],
) -> std::result::Result<(), SourceError> {
    let mut rest = bytes;
    let size = u64::try_from(bytes.len()).expect("it fits");
    let kept = store.keep(size, DataMap::Whole, &mut rest);
    let kept = kept.map_err(|error| SourceError::read(name, error))?;
    let metadata = Metadata::default().with_permissions(0o644);
    tree.file_at(NodeId::ROOT, name.as_bytes(), metadata, kept)?;
    Ok(())
}

/// What round `round` puts into the file `number`: bytes that tell both, without a zero.
fn round_bytes(round: usize, number: usize) -> Vec<u8> {
    let length = 1000 + (round * 7919 + number * 104_729) % 700_000;
    let byte = |at: usize| u8::try_from(1 + (at / 512 + round * 31 + number) % 255).expect("small");
    (0..length).map(byte).collect()
}

const ROUNDS: usize = 12;
const FILES: usize = 10;

/// Every file arrives again and again, more bytes in all than the image has.
fn overwritten(
    tree: &mut Tree,
    store: &mut dyn ContentStore,
) -> std::result::Result<(), SourceError> {
    tree.overlay()?;
    for round in 0..ROUNDS {
        for number in 0..FILES {
            let bytes = round_bytes(round, number);
            let name = format!("file-{number}");
            if round % 4 == 3 && number == 0 {
                tree.directory_at(NodeId::ROOT, name.as_bytes(), Metadata::default())?;
                continue;
            }
            file(tree, store, &name, &bytes)?;
        }
    }
    Ok(())
}

#[test]
fn what_is_overwritten_takes_no_room() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    for words in [
        "-b 4096 16M",
        "-b 1024 -O ^extent,^64bit,^has_journal 16M",
        "-b 4096 -O bigalloc 24M",
    ] {
        let image = dir.path().join(words.replace(' ', ""));
        let built = stream(words, By(overwritten), &image).expect(words);
        sound(&image).expect(words);
        let found = mount_ro(&image, |root| -> io::Result<()> {
            assert!(root.join("file-0").is_dir());
            for number in 1..FILES {
                let found = fs::read(root.join(format!("file-{number}")))?;
                assert!(
                    found == round_bytes(ROUNDS - 1, number),
                    "{words}: {number}"
                );
            }
            Ok(())
        });
        found.expect("it mounts").expect("it can be read");
        let summary = &built.summary;
        let used = (summary.blocks_count - summary.free_blocks) * u64::from(summary.block_size);
        let taken = File::open(&image).and_then(|file| file.metadata());
        let taken = taken.expect("it is there").blocks() * 512;
        assert!(
            taken <= used,
            "{words}: {taken} bytes on disk, {used} in use"
        );
    }
}

/// What `source` ends with, that nothing is left of a new file, and no superblock in an old one.
fn failure(words: &str, source: impl Source + Clone + 'static) -> Result<String> {
    let dir = making::workplace()?;
    let new = dir.path().join("new");
    let Err(error) = stream(words, source.clone(), &new) else {
        return Err("it was made".into());
    };
    assert!(!new.exists(), "a new file is left: {error}");
    let old = Memory::new(64 << 20);
    let checked = Checked::new(&old, 0..64 << 20);
    let builder = Builder::from_options(making::options(words)?).environment(making::memory_host());
    let again = builder
        .source(source)
        .build(&checked, &writing(&AtomicBool::new(false)));
    assert_eq!(again.expect_err("it fails").to_string(), error.to_string());
    let mut magic = [0; 2];
    old.read_at(1024 + 56, &mut magic)?;
    assert_ne!(magic, [0x53, 0xef], "a superblock is left: {error}");
    Ok(format!("{error:#}"))
}

impl<F: Clone> Clone for By<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[test]
fn a_stream_that_ends_badly_leaves_nothing() {
    let too_big = By(|tree: &mut Tree, store: &mut dyn ContentStore| {
        (0..100).try_for_each(|number| file(tree, store, &format!("{number}"), &[7; 1_000_000]))
    });
    assert_eq!(
        failure("-b 4096 16M", too_big).unwrap(),
        "the content needs 2940 blocks of 4096 bytes; the filesystem has 2773 free for it"
    );
    let too_many = By(|tree: &mut Tree, store: &mut dyn ContentStore| {
        (0..100).try_for_each(|number| file(tree, store, &format!("{number}"), b"x"))
    });
    assert_eq!(
        failure("-b 4096 -N 64 16M", too_many).unwrap(),
        "the content needs 65 inodes; the filesystem has 64"
    );
    let links = By(|tree: &mut Tree, _: &mut dyn ContentStore| {
        (0..100).try_for_each(|number| -> std::result::Result<(), TreeError> {
            let name = format!("{number}");
            let metadata = Metadata::default();
            tree.symlink_at(NodeId::ROOT, name.as_bytes(), metadata, b"x")?;
            Ok(())
        })?;
        Ok(())
    });
    assert_eq!(
        failure("-b 4096 -N 64 16M", links).unwrap(),
        "the content needs 112 inodes; the filesystem has 64"
    );
    let lying = By(|_: &mut Tree, store: &mut dyn ContentStore| {
        let kept = store.keep(u64::MAX, DataMap::Whole, &mut io::repeat(1));
        kept.map(drop)
            .map_err(|error| SourceError::read("lie", error))
    });
    let said = failure("-b 4096 16M", lying).unwrap();
    assert!(said.contains("the filesystem has 2773 free"), "{said}");
    let short = By(|_: &mut Tree, store: &mut dyn ContentStore| {
        let kept = store.keep(9_000_000, DataMap::Whole, &mut &[1; 5_000_000][..]);
        kept.map(drop)
            .map_err(|error| SourceError::read("short", error))
    });
    let said = failure("-b 4096 16M", short).unwrap();
    assert!(said.starts_with("cannot read short: "), "{said}");
    let contradicting = By(|_: &mut Tree, store: &mut dyn ContentStore| {
        let data = DataMap::Ranges([4096..8192, 0..u64::MAX].into());
        let kept = store.keep(10_000, data, &mut io::repeat(1));
        kept.map(drop)
            .map_err(|error| SourceError::read("map", error))
    });
    let said = failure("-b 4096 16M", contradicting).unwrap();
    assert!(said.starts_with("cannot read map: "), "{said}");
}

#[test]
fn a_stream_is_cancelled_while_it_arrives() {
    let written = AtomicU64::new(0);
    let cancel = AtomicBool::new(false);
    let writing = Writing {
        progress: &|bytes| {
            if written.fetch_add(bytes, Ordering::Relaxed) + bytes > 4 << 20 {
                cancel.store(true, Ordering::Relaxed);
            }
        },
        ..writing(&cancel)
    };
    let endless = By(|tree: &mut Tree, store: &mut dyn ContentStore| {
        let kept = store.keep(1 << 30, DataMap::Whole, &mut io::repeat(1));
        let kept = kept.map_err(|error| SourceError::read("endless", error))?;
        tree.file_at(NodeId::ROOT, b"endless", Metadata::default(), kept)?;
        Ok(())
    });
    let options = making::options("-b 4096 2G").expect("options");
    let builder = Builder::from_options(options)
        .environment(making::memory_host())
        .source(endless);
    let built: std::result::Result<Built, Error> = builder.build(&Memory::new(2 << 30), &writing);
    assert!(built.expect_err("it was cancelled").is_cancelled());
    assert!(written.load(Ordering::Relaxed) < 8 << 20);
}

/// What a process has open but for pipes and devices.
fn open_files(process: u32) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        let target = fs::read_link(entry?.path())?;
        let is_file = target.is_absolute() && !target.starts_with("/dev/null");
        files.extend(is_file.then_some(target));
    }
    Ok(files)
}

/// While its writer waits, so does the command; a signal ends it all the same.
#[test]
fn a_signal_ends_a_stream_that_stalls() {
    let dir = making::workplace().expect("a directory");
    for (name, called) in [("new", "mke4fs"), ("old", "mkfs.ext4")] {
        let image = dir.path().join(name);
        if name == "old" {
            making::fill_with_junk(&image, 32 << 20).expect("a file");
        }
        let program = dir.path().join(called);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mke4fs"), &program).expect("a link");
        let mut child = Command::new(&program)
            .args(["-q", "-F", "-b", "4096", "-d", "-"])
            .arg(&image)
            .args((name == "new").then_some("32M"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin
            .write_all(&making::head_of_archive(8 << 20))
            .expect("it reads");
        stdin.write_all(&[1; 5 << 20]).expect("it reads");
        // All but what a pipe holds was read, and 2 MiB at least written to where they stay.
        assert_eq!(
            open_files(child.id()).expect("it lives"),
            std::slice::from_ref(&image)
        );
        let size = fs::metadata(&image).expect("it is there").len();
        assert_eq!(size, 32 << 20);
        let status = tools::run(Command::new("kill").args(["-TERM", &child.id().to_string()]));
        status.expect("it can be told");
        let status = child.wait().expect("it ends");
        assert_eq!(status.signal(), Some(15), "{name}: {status}");
        drop(stdin);
        match name {
            "new" => assert!(!image.exists()),
            _ => {
                let bytes = fs::read(&image).expect("it is there");
                assert_eq!(bytes.len(), 32 << 20);
                assert_ne!(bytes[1024 + 56..1024 + 58], [0x53, 0xef]);
            }
        }
    }
}

/// Some text, as gzip compresses it.
const NO_ARCHIVE_GZ: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\xcb\x57\x48\x2c\x4a\xce\xc8\x2c\x4b\xe5\xca\x1b\x6e\x4c\x00\x34\x9a\xb9\xc5\xdc\x00\x00\x00";

/// A stream on a block device, and streams that are cut off or no archive.
#[test]
fn devices_take_streams_and_faults_are_named() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let file = dir.path().join("device");
    making::fill_with_junk(&file, 32 << 20).expect("a file");
    let mut losetup = Command::new("losetup");
    let said = tools::run(losetup.args(["--find", "--show"]).arg(&file)).expect("a loop device");
    let device = PathBuf::from(said.trim());
    let content = torture::pattern(3_000_000);
    let mut archive = making::head_of_archive(3_000_000);
    archive.extend_from_slice(&content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    let run = |output: &Path, bytes: &[u8]| {
        let input = dir.path().join("input");
        fs::write(&input, bytes).expect("a file");
        let mut command = command(output, "-b 4096 --size keep");
        tools::run(
            command
                .args(["-d", "-"])
                .stdin(File::open(&input).expect("it opens")),
        )
    };
    let made = run(&device, &archive);
    let detached = tools::run(Command::new("losetup").arg("--detach").arg(&device));
    made.expect("it is made");
    detached.expect("the device goes");
    sound(&file).expect("it is sound");
    let found = mount_ro(&file, |root| fs::read(root.join("file")));
    assert!(found.expect("it mounts").expect("it is there") == content);
    // What is no archive at all is refused while the old filesystem is whole.
    let no_archive = "stdin is not a directory, a tar archive";
    let cut_off = "it is cut off";
    let zeros_and_text = [vec![0; 300_000], b"text".to_vec()].concat();
    for (bytes, wanted, is_left) in [
        (&[0x55; 4096][..], no_archive, true),
        (b"", "stdin is empty", true),
        (&zeros_and_text, no_archive, true),
        (
            NO_ARCHIVE_GZ,
            "stdin is compressed with gzip, but what it holds is not a tar archive",
            true,
        ),
        (&NO_ARCHIVE_GZ[..20], cut_off, true),
        (&archive[..1_000_000], "file", false),
    ] {
        let error = run(&file, bytes).expect_err("it is refused");
        let error = format!("{error:#}");
        assert!(error.contains(wanted), "{error}");
        let after = fs::read(&file).expect("it is there");
        let has_superblock = after[1024 + 56..1024 + 58] == [0x53, 0xef];
        assert_eq!(has_superblock, is_left, "{error}");
        if is_left {
            sound(&file).expect("it is as it was");
        }
    }
}

/// All bytes that the pieces stand for.
fn joined(builder: Builder) -> Vec<u8> {
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
    builder.write_in_order(take).expect("it is made");
    bytes
}

fn fixed() -> Builder {
    Builder::new().environment(Environment::fixed(1_700_000_000))
}

/// What each end of `make` makes but [`Builder::plan`], one after the other.
fn ends(make: &dyn Fn() -> Builder) -> Vec<(&'static str, Vec<u8>)> {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    make().write_file(at("new")).expect("it is made");
    let open = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(at("open"))
        .expect("a file");
    make().write_open_file(open).expect("it is made");
    let memory = Memory::new(64 << 20);
    make().write_to(&memory).expect("it is made");
    let stream = Stream::new(64 << 20, Vec::new());
    make().write_to(&stream).expect("it is made");
    vec![
        ("write_file", fs::read(at("new")).expect("it is there")),
        (
            "write_open_file",
            fs::read(at("open")).expect("it is there"),
        ),
        ("write_to", memory.into_bytes().expect("it fits")),
        ("write_to, in order", stream.finish().expect("it is whole")),
        ("write_in_order", joined(make())),
        ("to_vec", make().to_vec().expect("it is made")),
    ]
}

#[test]
fn all_ends_make_the_same_image_of_a_stream() {
    let mut archive = Members::new();
    for number in 0..60_u8 {
        // In no order of names, and one is so short that an inode may hold it.
        let name = format!("file-{:02}", u32::from(number) * 37 % 60);
        let length = if number == 30 {
            5
        } else {
            1024 * (1 + usize::from(number % 40))
        };
        archive = archive.file(&name, &vec![number + 1; length]);
    }
    let archive = archive.bytes();
    let streamed = || {
        let tar = Tar::from_reader(io::Cursor::new(archive.clone()), "members");
        fixed().size_bytes(64 << 20).source(tar)
    };
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), &archive).expect("it is written");
    let opened = || fixed().size_bytes(64 << 20).source(Tar::open(file.path()));
    let plan = |builder: Builder| {
        let plan = builder.plan().expect("it is planned");
        plan.to_vec().expect("it is made")
    };
    let planned = plan(opened());
    let placed = streamed().to_vec().expect("it is made");
    for (end, image) in ends(&streamed) {
        assert!(image == placed, "{end} of a stream makes another image");
    }
    for (end, image) in ends(&opened) {
        assert!(image == planned, "{end} of a file makes another image");
    }
    // What comes first lies first, unless the whole plan is made before.
    assert!(placed != planned);
    assert!(plan(streamed()) == planned);
    assert!(mke4fs::check(&placed).is_clean());

    // With these, nothing shows how it came.
    let reproducible = plan(opened().reproducible());
    for (end, image) in ends(&|| streamed().reproducible()) {
        assert!(image == reproducible, "{end} of a reproducible stream");
    }
    let ways: [fn(Builder) -> Builder; 4] = [
        |builder| builder.fit(Fit::Auto),
        |builder| builder.sparse(Sparse::Always),
        |builder| builder.sparse(Sparse::Never),
        |builder| builder.with(|options| options.large_blocks()),
    ];
    for way in ways {
        assert!(way(streamed()).to_vec().expect("it is made") == plan(way(opened())));
    }
}
