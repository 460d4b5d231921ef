//! Given trees, proves that a planned image is as large as asked: the smallest that holds its
//! content, or with so much room as statvfs then shows; what a tree becomes is `content.rs`'s.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use common::attrs::{Options, Snapshot};
use common::mount::{mount_ro, mount_rw};
use common::tools::{self, Need, Result, Which, ready};
use common::{making, torture};
use mke4fs::options::Size;
use mke4fs::source::dir::Directory;
use mke4fs::tree::NodeId;
use mke4fs::{Builder, Fit, Plan};
use tempfile::TempDir;

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

const MIB: u64 = 1 << 20;

fn builder(words: &str, tree: &Path) -> Result<Builder> {
    let options = making::options(words)?;
    Ok(Builder::from_options(options)
        .environment(making::memory_host())
        .source(Directory::new(tree)))
}

/// The plan for exactly `blocks` blocks, with the block and inode size of a planned image.
fn at_size(words: &str, tree: &Path, blocks: u64, planned: &Plan) -> Result<Plan> {
    let mut options = making::options(words)?;
    let settings = &planned.settings();
    options
        .block_size(settings.block_size().bytes())
        .inode_size(settings.inode_size().into())
        .size(Size::Blocks(blocks));
    let builder = Builder::from_options(options).environment(making::memory_host());
    Ok(builder.source(Directory::new(tree)).plan()?)
}

fn write_file(path: &Path, size: u64) -> Result<()> {
    let bytes = torture::pattern(usize::try_from(MIB)?);
    let file = File::create(path)?;
    let mut at = 0;
    while at < size {
        let length = usize::try_from((size - at).min(MIB))?;
        file.write_all_at(&bytes[..length], at)?;
        at += MIB;
    }
    Ok(())
}

/// A tree of one shape each, by name.
fn trees(dir: &TempDir) -> Result<Vec<PathBuf>> {
    let place = |name: &str| -> Result<PathBuf> {
        let tree = dir.path().join(name);
        fs::create_dir(&tree)?;
        Ok(tree)
    };
    let empty = place("empty")?;
    let tiny = place("tiny")?;
    fs::write(tiny.join("file"), "tiny")?;
    let floppy = place("around-3-MiB")?;
    write_file(&floppy.join("file"), 2 * MIB + 700_000)?;
    let some = place("20-MiB")?;
    for number in 0..20 {
        write_file(&some.join(number.to_string()), MIB - 1)?;
    }
    let step = place("big-around-512-MiB")?;
    for number in 0..4 {
        write_file(&step.join(number.to_string()), 119 * MIB)?;
    }
    let many = place("many-small")?;
    for number in 0..40_000 {
        fs::write(many.join(format!("file-{number:05}")), "one block each")?;
    }
    let names = place("many-empty")?;
    for number in 0..30_000 {
        File::create(names.join(format!("file-{number:05}")))?;
    }
    let big = place("big-one")?;
    write_file(&big.join("file"), 1100 * MIB)?;
    Ok(vec![empty, tiny, floppy, some, step, many, names, big])
}

fn sound(image: &Path) -> Result<()> {
    Which::ALL
        .iter()
        .try_for_each(|which| tools::e2fsck(image, *which).map(drop))
}

/// Collects what is wrong with rows, so that each is looked at.
#[derive(Default)]
struct Verdict(Vec<String>);

impl Verdict {
    fn row(&mut self, name: &str, outcome: Result<()>) {
        self.0
            .extend(outcome.err().map(|error| format!("{name}: {error}")));
    }

    #[track_caller]
    fn end(self) {
        let Self(wrong) = self;
        assert!(
            wrong.is_empty(),
            "{} rows fail:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

fn name(tree: &Path) -> String {
    tree.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn what_is_asked_of_the_root_wins_over_what_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).expect("it is made");
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o1710)).expect("it is ours");
    let own = fs::metadata(&tree).expect("it is there");
    let own = (own.uid(), own.gid(), 0o1710);
    for (words, keep, expected) in [
        ("", false, (0, 0, 0o755)),
        ("", true, own),
        ("-E root_owner=1:2", true, (1, 2, own.2)),
        ("-E root_perms=711", true, (own.0, own.1, 0o711)),
        ("-E root_owner=0:0,root_perms=755", true, (0, 0, 0o755)),
        ("-E root_owner=1:2,root_perms=711", false, (1, 2, 0o711)),
    ] {
        let builder = builder(words, &tree).expect("the words are fine");
        let plan = builder
            .keep_root(keep)
            .fit(Fit::Minimum)
            .plan()
            .expect("it fits");
        let root = plan.tree().node(NodeId::ROOT).metadata;
        assert_eq!((root.uid, root.gid, root.permissions), expected, "{words}");
        let own = fs::metadata(&tree).expect("it is there").mtime();
        assert_eq!(root.mtime.seconds == own, keep, "{words}");
    }
}

const SHAPES: &[&str] = &[
    "",
    "-b 1024",
    "-O ^has_journal",
    "-m 0 -O ^resize_inode,^flex_bg",
];

#[test]
fn the_smallest_image_holds_its_content_and_none_below_does() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let mut verdict = Verdict::default();
    for tree in trees(&dir).expect("the trees are made") {
        let snapshot = Snapshot::take(&tree).expect("it can be read");
        // The larger the tree, the fewer shapes there is time for.
        let shapes = match name(&tree).split('-').next() {
            _ if common::is_wide() => SHAPES,
            Some("big") => &SHAPES[..1],
            Some("many") => &SHAPES[..2],
            _ => SHAPES,
        };
        for words in shapes {
            let image = dir.path().join("image");
            let check = || -> Result<()> {
                let plan = builder(words, &tree)?.fit(Fit::Minimum).plan()?;
                making::write(&plan, &image)?;
                sound(&image)?;
                let differences =
                    mount_ro(&image, |dir| snapshot.compare(dir, &Options::default()))??;
                if let Some(first) = differences.first() {
                    return Err(first.to_string().into());
                }
                none_below(words, &tree, &plan)
            };
            verdict.row(&format!("{} {words}", name(&tree)), check());
            let _ = fs::remove_file(&image);
        }
        fs::remove_dir_all(&tree).expect("it is removed");
    }
    verdict.end();
}

/// The next smaller sizes, and one of 2 % less, do not hold the content.
fn none_below(words: &str, tree: &Path, plan: &Plan) -> Result<()> {
    let summary = plan.summary();
    let blocks = summary.blocks_count;
    let less = [1, 2, 3, 5, 8, 16, 17, 64, blocks / 50, blocks / 20];
    for less in less.into_iter().filter(|less| *less > 0 && *less < blocks) {
        if let Ok(smaller) = at_size(words, tree, blocks - less, plan) {
            let (smaller, size) = (smaller.summary().blocks_count, plan.size_bytes());
            return Err(
                format!("{size} bytes planned, {blocks} blocks; {smaller} would do").into(),
            );
        }
    }
    Ok(())
}

/// The bytes that statvfs says an ordinary user may fill, once the image is mounted for writing.
fn available(image: &Path) -> Result<u64> {
    let stat = mount_rw(image, |dir| rustix::fs::statvfs(dir))??;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// The bytes that all files of a tree take, in whole pages.
fn bytes_of(tree: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(tree)? {
        bytes += entry?.metadata()?.len().next_multiple_of(4096);
    }
    Ok(bytes)
}

#[test]
fn room_asked_for_is_there_once_mounted() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let mut verdict = Verdict::default();
    let fits = [
        Fit::Available(0),
        Fit::Available(1),
        Fit::Available(MIB),
        Fit::Available(512 * MIB),
        Fit::Available(5 << 30),
        Fit::Available(3 << 40),
        Fit::AvailablePercent(1),
        Fit::AvailablePercent(20),
        Fit::AvailablePercent(1000),
        Fit::Auto,
    ];
    let trees = trees(&dir).expect("the trees are made").into_iter();
    for tree in trees.filter(|tree| !name(tree).starts_with("big-") || common::is_wide()) {
        for fit in fits {
            for words in ["", "-b 1024 -m 0", "-m 20 -O ^64bit,^flex_bg"] {
                // Without 64bit, 2^32 blocks are all there are.
                if fit == Fit::Available(3 << 40) && !words.is_empty() {
                    continue;
                }
                if !words.is_empty() && name(&tree) != "20-MiB" && !common::is_wide() {
                    continue;
                }
                let outcome = check_room(&dir, words, &tree, fit);
                verdict.row(&format!("{} {words} {fit:?}", name(&tree)), outcome);
            }
        }
    }
    verdict.end();
}

fn check_room(dir: &TempDir, words: &str, tree: &Path, fit: Fit) -> Result<()> {
    let image = dir.path().join("image");
    let plan = builder(words, tree)?.fit(fit).plan()?;
    making::write(&plan, &image)?;
    let found = available(&image)?;
    fs::remove_file(&image)?;
    let content = bytes_of(tree)?;
    let wanted = match fit {
        Fit::Available(bytes) => bytes,
        // A block of 1 KiB may hold what takes a page here.
        Fit::AvailablePercent(percent) => content / 400 * u64::from(percent),
        Fit::Auto => (content / 40).max(16 * MIB),
        Fit::Minimum => 0,
    };
    if found < wanted {
        return Err(format!("{found} bytes are available, not {wanted}").into());
    }
    // Blocks of content, metadata per file and what the next MiB, group and usage class bring.
    let much = 2 * wanted + 4 * content + 700 * MIB;
    if found > much {
        Err(format!("{found} bytes are available, for a wish of {wanted}").into())
    } else {
        Ok(())
    }
}
