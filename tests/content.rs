//! Given trees that are hard to keep, proves that images of them are sound to e2fsck and hold, as
//! the kernel shows them, every attribute of the source; empty filesystems are `identity.rs`'s.
//!
//! Unless a test says otherwise, images are written over bytes of 0xD1 that nothing discards.

#![cfg(target_os = "linux")]

use crate::common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::attrs::{Field, Kind, Options, Snapshot, TimeRule};
use common::mount::{self, Scratch, mount_ro};
use common::tools::{self, Need, Result, Which, ready};
use common::{machine, making, torture};
use mke4fs::raw::layout::LayoutWarning;
use mke4fs::sink::{IfBusy, Output};
use mke4fs::source::dir::Directory;
use mke4fs::source::{Declared, SourceError};
use mke4fs::tree::{Content, ContentReader, ContentSource, DataMap, Metadata, NodeId, Tree};
use mke4fs::{Builder, Fit, Plan, Warning};
use tempfile::TempDir;

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

/// Room for the torture tree on an ext4 of its own, in bytes.
const ROOMY: u64 = 1 << 30;

/// The torture tree on ext4, with what it is.
struct Source {
    scratch: Scratch,
    snapshot: Snapshot,
}

impl Source {
    fn torture(options: &torture::Options) -> Self {
        let scratch = Scratch::new(ROOMY).expect("an image is made");
        let tree = scratch.path().join("tree");
        torture::build(&tree, options).expect("the torture tree is built");
        let snapshot = Snapshot::take(&tree).expect("it can be read");
        Self { scratch, snapshot }
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("tree")
    }
}

fn plan(words: &str, source: &Path, fit: Fit) -> Result<Plan> {
    let host = making::memory_host();
    let builder = Builder::from_options(making::options(words)?)
        .environment(host)
        .source(Directory::new(source));
    Ok(builder.fit(fit).plan()?)
}

/// Plans an image by `words` and writes it over junk.
fn build(words: &str, source: &Path, image: &Path) -> Result<Plan> {
    let plan = plan(&format!("-E nodiscard {words}"), source, Fit::Auto)?;
    making::fill_with_junk(image, plan.size_bytes())?;
    making::write(&plan, image)?;
    Ok(plan)
}

/// Both e2fsck find nothing.
fn sound(image: &Path) -> Result<()> {
    tools::e2fsck(image, Which::System)?;
    tools::e2fsck(image, Which::Reference)?;
    Ok(())
}

/// Both e2fsck find nothing, and no file in more than one piece.
fn contiguous(image: &Path) -> Result<()> {
    for which in Which::ALL {
        let said = tools::e2fsck(image, which)?;
        if !said.contains("(0.0% non-contiguous)") {
            return Err(format!("not contiguous:\n{said}").into());
        }
    }
    Ok(())
}

/// Collects what is wrong with rows, so that each is looked at.
#[derive(Default)]
struct Verdict {
    rows: usize,
    wrong: Vec<String>,
}

impl Verdict {
    fn row(&mut self, name: &str, outcome: Result<()>) {
        self.rows += 1;
        if let Err(error) = outcome {
            self.wrong.push(format!("{name}: {error}"));
        }
    }

    #[track_caller]
    fn end(self) {
        let (rows, wrong) = (self.rows, self.wrong);
        let text = wrong.join("\n");
        assert!(
            wrong.is_empty(),
            "{} of {rows} rows fail:\n{text}",
            wrong.len()
        );
    }
}

/// An inode of 128 bytes loses parts of times, and only that; both losses are warned of by number.
fn losses_are_named(plan: &Plan, is_small: bool) -> Result<()> {
    let layout = plan.warnings().iter().filter_map(|warning| match warning {
        Warning::Layout(warning) => Some(warning.clone()),
        _ => None,
    });
    let found: Vec<LayoutWarning> = layout.collect();
    let as_expected = match found.as_slice() {
        [] => !is_small,
        [
            LayoutWarning::TimesClamped {
                nodes: 20,
                first: clamped,
            },
            LayoutWarning::NanosecondsDropped {
                nodes: 9000..,
                first,
            },
        ] => is_small && clamped == b"/times/directory-1901-2446" && first == b"/acls",
        _ => false,
    };
    if as_expected {
        Ok(())
    } else {
        Err(format!("warnings: {found:?}").into())
    }
}

fn check_torture(source: &Source, words: &str, dir: &TempDir) -> Result<()> {
    let image = dir.path().join("image");
    let plan = build(words, &source.path(), &image)?;
    sound(&image)?;
    let is_small = words.contains("-I 128");
    losses_are_named(&plan, is_small)?;
    let times = if is_small {
        TimeRule::Seconds32Bit
    } else {
        TimeRule::Extra34Bit
    };
    let options = Options {
        times,
        ..Options::default()
    };
    mount::same(&source.snapshot, &image, &options)
}

#[test]
fn the_torture_tree_is_kept() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let mut verdict = Verdict::default();
    let trees = [(1023, [1024].as_slice()), (2047, &[2048]), (4095, &[4096])];
    for (longest_symlink, block_sizes) in trees {
        let source = Source::torture(&torture::Options {
            longest_symlink,
            beyond_path_max: true,
        });
        for block_size in block_sizes {
            for inode_size in [128, 256, 1024] {
                let words = format!("-b {block_size} -I {inode_size}");
                verdict.row(&words, check_torture(&source, &words, &dir));
            }
        }
    }
    verdict.end();
}

/// Makes the tree in `MKE4FS_TORTURE_TREE`, a path on ext4, for comparisons between systems.
#[test]
#[ignore = "packaging/platforms/run asks for it"]
fn the_torture_tree_is_made() {
    let Some(place) = std::env::var_os("MKE4FS_TORTURE_TREE") else {
        return;
    };
    let options = torture::Options {
        beyond_path_max: true,
        ..torture::Options::default()
    };
    torture::build(Path::new(&place), &options).expect("the torture tree is built");
}

/// A file of the image, as debugfs writes it out.
fn read_by_debugfs(image: &Path, file: &str, dir: &TempDir) -> Result<Vec<u8>> {
    let out = dir.path().join("out");
    tools::debugfs(image, &[format!("dump {file} {}", out.display())])?;
    Ok(fs::read(out)?)
}

/// No kernel here mounts these blocks: e2fsck and debugfs judge.
#[test]
fn the_torture_tree_is_kept_in_blocks_larger_than_a_page() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let source = Source::torture(&torture::Options::default());
    let mut verdict = Verdict::default();
    for block_size in [8192, 16384, 65536] {
        let words = format!("-b {block_size}");
        verdict.row(&words, check_large_blocks(&source, &words, &dir));
    }
    verdict.end();
}

fn check_large_blocks(source: &Source, words: &str, dir: &TempDir) -> Result<()> {
    let image = dir.path().join("image");
    build(words, &source.path(), &image)?;
    sound(&image)?;
    for file in [
        "sizes/1048577",
        "sizes/65535",
        "sizes/1",
        "sparse/middle-hole",
        "sparse/extents-5000",
    ] {
        let found = read_by_debugfs(&image, file, dir)?;
        if found != fs::read(source.path().join(file))? {
            return Err(format!("{file}: other bytes").into());
        }
    }
    let said = tools::debugfs(
        &image,
        &[
            "ea_get xattrs/user user.comment",
            "stat symlinks/to-4095-bytes",
            "ls -l directories/thousands",
        ],
    )?;
    for part in ["plain", "Size: 4095", "08199n"] {
        if !said.contains(part) {
            return Err(format!("debugfs does not say {part}").into());
        }
    }
    Ok(())
}

/// Without and with each feature, over the parts of the torture tree that features bear on.
const FEATURES: &[&str] = &[
    "^metadata_csum",
    "^metadata_csum,^metadata_csum_seed,^64bit",
    "^metadata_csum_seed",
    "^64bit",
    "^flex_bg",
    "^flex_bg,^resize_inode,^64bit",
    "^dir_index",
    "^resize_inode",
    "^has_journal",
    "^has_journal,^orphan_file",
    "^orphan_file",
    "^sparse_super,^resize_inode",
    "^filetype",
    "^extra_isize",
    "^huge_file",
    "^dir_nlink",
    "^ext_attr",
    "^large_file",
    "^metadata_csum,^64bit,^flex_bg,^has_journal,^dir_index,^filetype",
];

#[test]
fn the_torture_tree_is_kept_without_each_feature() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let source = Source::torture(&torture::Options {
        longest_symlink: 1023,
        beyond_path_max: false,
    });
    let mut verdict = Verdict::default();
    for (number, features) in FEATURES.iter().enumerate() {
        let block_size = [4096, 1024][number % 2];
        let words = format!("-b {block_size} -O {features}");
        verdict.row(&words, check_torture(&source, &words, &dir));
    }
    for words in [
        "-G 1 -g 8192 -b 4096",
        "-E packed_meta_blocks=1",
        "-E stride=4,stripe_width=16",
        "-b 1024 -g 1024 -G 4",
    ] {
        verdict.row(words, check_torture(&source, words, &dir));
    }
    verdict.end();
}

/// Every regular file of the source, read from the image by ext4-view: a reader that shares no
/// line with the kernel or e2fsprogs. It refuses inodes of 128 bytes.
#[test]
fn another_reader_finds_every_byte() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let source = Source::torture(&torture::Options {
        longest_symlink: 1023,
        beyond_path_max: false,
    });
    let mut verdict = Verdict::default();
    for words in [
        "-b 1024",
        "-b 2048 -I 512",
        "-b 4096",
        "-O ^64bit,^metadata_csum,^flex_bg",
    ] {
        let image = dir.path().join("image");
        let outcome = build(words, &source.path(), &image).and_then(|_| read_all(&source, &image));
        verdict.row(words, outcome);
    }
    verdict.end();
}

fn read_all(source: &Source, image: &Path) -> Result<()> {
    let image = ext4_view::Ext4::load_from_path(image)?;
    let mut read = 0;
    for (path, entry) in &source.snapshot.entries {
        // It calls times before 1970, and every second half of those 68 years after, corrupt.
        if entry.kind != Kind::Regular || path.starts_with(b"times/") {
            continue;
        }
        let name = source.path().join(OsStr::from_bytes(path));
        let (host, place) = (File::open(&name)?, [b"/", path.as_slice()].concat());
        let mut found = image.open(place.as_slice())?;
        if found.metadata().len() != entry.size {
            return Err(format!("{}: other size", path.escape_ascii()).into());
        }
        for range in &entry.data {
            let range = range.start..range.end.min(entry.size);
            let mut expected = vec![0; usize::try_from(range.end.saturating_sub(range.start))?];
            host.read_exact_at(&mut expected, range.start)?;
            let mut bytes = vec![0; expected.len()];
            found.seek_to(range.start)?;
            let mut at = 0;
            while at < bytes.len() {
                match found.read_bytes(&mut bytes[at..])? {
                    0 => return Err(format!("{}: ends early", path.escape_ascii()).into()),
                    count => at += count,
                }
            }
            if bytes != expected {
                return Err(format!("{}: other bytes", path.escape_ascii()).into());
            }
        }
        read += 1;
    }
    match read {
        8700.. => Ok(()),
        _ => Err(format!("only {read} files were read").into()),
    }
}

/// One directory of files made up by number, or one sparse file: trees that no host need hold.
#[derive(Clone, Copy)]
enum MadeUp {
    Names {
        count: usize,
        length: usize,
    },
    /// Files of this many MiB each.
    Files(&'static [u64]),
    /// So many pieces of 1 KiB, each behind as long a hole.
    Pieces {
        count: u64,
    },
}

const PIECE: u64 = 1024;

impl mke4fs::source::Source for MadeUp {
    fn declare(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
    ) -> std::result::Result<Declared, SourceError> {
        let metadata = Metadata::default().with_permissions(0o644);
        match *self {
            Self::Names { count, length } => {
                let directory =
                    tree.directory_at(at, b"names", metadata.with_permissions(0o755))?;
                for number in 0..count {
                    let name = made_up_name(number, length);
                    tree.file_at(
                        directory,
                        name.as_bytes(),
                        metadata,
                        Content::from_bytes(*b""),
                    )?;
                }
            }
            Self::Files(sizes) => {
                for (number, mebibytes) in sizes.iter().enumerate() {
                    let content = Content::new(mebibytes << 20, Arc::new(Pieces), 0);
                    tree.file_at(at, made_up_name(number, 6).as_bytes(), metadata, content)?;
                }
            }
            Self::Pieces { count } => {
                let ranges =
                    (0..count).map(|number| (2 * number + 1) * PIECE..(2 * number + 2) * PIECE);
                let content = Content::new(2 * count * PIECE, Arc::new(Pieces), 0);
                let content = content.with_data(DataMap::Ranges(ranges.collect()));
                tree.file_at(at, b"pieces", metadata, content)?;
            }
        }
        Ok(Declared::default())
    }
}

fn made_up_name(number: usize, length: usize) -> String {
    format!("{number:06}{}", "n".repeat(length - 6))
}

/// The byte at each offset of a made-up file.
fn made_up_byte(offset: u64) -> u8 {
    let piece = offset / PIECE;
    u8::try_from(piece % 251 + 1).unwrap_or(1)
}

struct Pieces;

impl ContentSource for Pieces {
    fn open(&self, _key: u64) -> io::Result<Box<dyn ContentReader + '_>> {
        Ok(Box::new(Self))
    }

    fn describe(&self, _key: u64) -> Vec<u8> {
        b"pieces".to_vec()
    }
}

impl ContentReader for Pieces {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (byte, at) in buffer.iter_mut().zip(offset..) {
            *byte = made_up_byte(at);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn build_made_up(words: &str, made_up: MadeUp, image: &Path) -> Result<Plan> {
    let options = making::options(&format!("-E nodiscard {words}"))?;
    let builder = Builder::from_options(options)
        .environment(making::memory_host())
        .source(made_up);
    let plan = builder.fit(Fit::Auto).plan()?;
    making::fill_with_junk(image, plan.size_bytes())?;
    making::write(&plan, image)?;
    Ok(plan)
}

/// Every `step`-th name is found, as is one that is not there not.
fn look_up(image: &Path, count: usize, length: usize, step: usize) -> Result<()> {
    mount_ro(image, |dir| {
        for number in (0..count).step_by(step) {
            fs::symlink_metadata(dir.join("names").join(made_up_name(number, length)))?;
        }
        let listed = fs::read_dir(dir.join("names"))?.count();
        let missing = dir.join("names").join(made_up_name(count, length)).exists();
        match (listed == count, missing) {
            (true, false) => Ok(()),
            _ => Err(format!("{listed} names are listed, of {count}").into()),
        }
    })?
}

#[test]
fn an_htree_grows_to_two_levels() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let mut verdict = Verdict::default();
    let rows = [
        (1024, 300, 200, "Indirect levels: 0"),
        (1024, 30_000, 200, "Indirect levels: 1"),
        (1024, 40_000, 255, "Indirect levels: 1"),
        (2048, 30_000, 200, "Indirect levels: 1"),
        (4096, 9_000, 200, "Indirect levels: 0"),
        (4096, 60_000, 255, "Indirect levels: 1"),
    ];
    for (block_size, count, length, levels) in rows {
        let image = dir.path().join("image");
        let check = || -> Result<()> {
            let names = MadeUp::Names { count, length };
            build_made_up(&format!("-b {block_size}"), names, &image)?;
            contiguous(&image)?;
            let said = tools::debugfs(&image, &["htree_dump /names"])?;
            if !said.contains(levels) {
                let root = said.lines().take(12).collect::<Vec<_>>().join("\n");
                return Err(format!("not {levels}:\n{root}").into());
            }
            look_up(&image, count, length, 1)
        };
        verdict.row(&format!("{count} names in blocks of {block_size}"), check());
    }
    verdict.end();
}

#[test]
fn a_directory_too_large_for_an_htree_is_linear_and_said() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let image = dir.path().join("image");
    let (count, length) = (60_000, 255);
    let plan = build_made_up("-b 1024", MadeUp::Names { count, length }, &image);
    let plan = plan.expect("it is built");
    let linear = Warning::Layout(LayoutWarning::LinearDirectory(b"/names".to_vec()));
    assert!(plan.warnings().contains(&linear), "{:?}", plan.warnings());
    contiguous(&image).expect("it is sound");
    look_up(&image, count, length, 3001).expect("names are found");
}

#[test]
fn extent_trees_are_as_deep_as_they_must_be() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let mut verdict = Verdict::default();
    // A node of 1 KiB holds 84 entries, one of 4 KiB 340, the inode 4.
    let rows = [
        (1024, 4, 0),
        (1024, 5, 1),
        (1024, 4 * 84, 1),
        (1024, 4 * 84 + 1, 2),
        (1024, 4 * 84 * 84 + 1, 3),
    ];
    for (block_size, pieces, depth) in rows {
        let image = dir.path().join("image");
        let check = || -> Result<()> {
            build_made_up(
                &format!("-b {block_size}"),
                MadeUp::Pieces { count: pieces },
                &image,
            )?;
            sound(&image)?;
            depth_is(&image, depth)?;
            pieces_are_read(&image, pieces)
        };
        verdict.row(
            &format!("{pieces} extents in blocks of {block_size}"),
            check(),
        );
    }
    verdict.end();
}

/// debugfs names each extent's level and the depth: " 1/ 2" and so on.
fn depth_is(image: &Path, depth: u32) -> Result<()> {
    let said = tools::debugfs(image, &["extents pieces"])?;
    let levels = said
        .lines()
        .filter_map(|line| line.split_once('/')?.1.get(..3)?.trim().parse().ok());
    let found: Option<u32> = levels.max();
    match found {
        Some(found) if found == depth => Ok(()),
        _ => Err(format!("depth {found:?}, expected {depth}").into()),
    }
}

fn pieces_are_read(image: &Path, pieces: u64) -> Result<()> {
    let bytes = mount_ro(image, |dir| fs::read(dir.join("pieces")))??;
    let wrong = bytes.iter().zip(0_u64..).find(|(byte, at)| {
        let is_hole = (at / PIECE).is_multiple_of(2);
        **byte != if is_hole { 0 } else { made_up_byte(*at) }
    });
    match wrong {
        None if u64::try_from(bytes.len())? == 2 * pieces * PIECE => Ok(()),
        wrong => Err(format!("{} bytes, wrong: {wrong:?}", bytes.len()).into()),
    }
}

#[test]
fn more_than_65000_subdirectories_are_kept() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    fs::create_dir_all(tree.join("many")).expect("a directory is made");
    torture::subdirs(&tree.join("many"), 66_000).expect("directories are made");
    let snapshot = Snapshot::take(&tree).expect("it can be read");
    build("", &tree, &image).expect("it is built");
    contiguous(&image).expect("it is sound");
    mount::same(&snapshot, &image, &Options::default()).expect("it is kept");
}

#[test]
fn more_than_65000_links_are_refused_by_name() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    fs::create_dir_all(tree.join("a")).expect("a directory is made");
    fs::write(tree.join("a/00000"), "many names").expect("a file is written");
    for number in 1..65_000 {
        fs::hard_link(tree.join("a/00000"), tree.join(format!("a/{number:05}"))).expect("a link");
    }
    build("", &tree, &image).expect("as many as the format counts are kept");
    contiguous(&image).expect("it is sound");
    fs::hard_link(tree.join("a/00000"), tree.join("a/65000")).expect("a link");
    let refused = plan("", &tree, Fit::Auto)
        .expect_err("one more is too many")
        .to_string();
    assert_eq!(
        refused,
        "/a/00000 has 65001 names; ext4 counts at most 65000"
    );
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let source = Source::torture(&torture::Options::default());
    let plan = plan("-E nodiscard", &source.path(), Fit::Auto).expect("it fits");
    let images = [1, 2, 3, 8].map(|threads| {
        let image = dir.path().join(threads.to_string());
        making::fill_with_junk(&image, plan.size_bytes()).expect("a file");
        let file = Output::open(&image, IfBusy::Refuse).expect("it opens");
        let draft = file.begin(&plan.range()).expect("it begins");
        making::write_to(&plan, draft.file(), threads).expect("it is written");
        draft.keep();
        image
    });
    for image in &images[1..] {
        same_bytes(&images[0], image).expect("the same bytes");
    }
}

fn same_bytes(one: &Path, other: &Path) -> Result<()> {
    tools::run(Command::new("cmp").arg(one).arg(other)).map(drop)
}

/// ext4 lists names by hash, tmpfs from the last made: a copy on either gives the same image, as
/// far as SOURCE_DATE_EPOCH hides when the copy was made.
#[test]
fn a_copy_on_another_filesystem_gives_the_same_bytes() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let source = Source::torture(&torture::Options::default());
    for group in ["flags", "deep"] {
        torture::teardown_group(&source.path(), group).expect("it is removed");
    }
    let copy = dir.path().join("copy");
    tools::run(
        Command::new("cp")
            .args(["-a", "--sparse=auto"])
            .arg(source.path())
            .arg(&copy),
    )
    .expect("it is copied");
    let listed = |tree: &Path| -> Vec<_> {
        let names = fs::read_dir(tree.join("directories/thousands")).expect("it is listed");
        names
            .map(|entry| entry.expect("an entry").file_name())
            .collect()
    };
    assert_ne!(
        listed(&source.path()),
        listed(&copy),
        "the orders should differ"
    );
    let epoch = -(1 << 31);
    let images = [&source.path(), &copy].map(|tree| {
        let image = dir.path().join(format!("{}.img", tree.ends_with("copy")));
        let mut host = making::memory_host();
        (host.clock, host.latest_time) = (epoch, Some(epoch));
        let options = making::options("").expect("options");
        let directory = Directory::new(tree).latest_time(host.latest_time);
        let builder = Builder::from_options(options)
            .environment(host)
            .source(directory);
        let plan = builder.fit(Fit::Auto).plan().expect("it fits");
        making::write(&plan, &image).expect("it is written");
        image
    });
    same_bytes(&images[0], &images[1]).expect("the same bytes");
    sound(&images[0]).expect("it is sound");
}

/// The tools that look at an image have nothing to complain of, and it grows fourfold, offline and
/// mounted.
#[test]
fn images_are_read_and_grow() {
    if !ready(&[NEEDS, &[Need::Machine]].concat()) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let source = Source::torture(&torture::Options {
        longest_symlink: 1023,
        beyond_path_max: false,
    });
    let small = dir.path().join("small");
    fs::create_dir(&small).expect("a directory");
    fs::write(small.join("file"), "small").expect("a file");
    let small_snapshot = Snapshot::take(&small).expect("it can be read");
    let large = (source.path(), &source.snapshot);
    let small = (small, &small_snapshot);
    let rows = [
        (&large, "", Fit::Auto),
        (&large, "", Fit::Minimum),
        (&large, "-b 1024", Fit::Minimum),
        (&large, "-O ^64bit,^flex_bg", Fit::Auto),
        (
            &large,
            "-b 2048 -O ^metadata_csum",
            Fit::Available(100 << 20),
        ),
        (&small, "", Fit::Minimum),
        (&small, "", Fit::Auto),
        (&small, "-O ^has_journal", Fit::Minimum),
    ];
    let mut verdict = Verdict::default();
    for ((tree, snapshot), words, fit) in rows {
        let image = dir.path().join("image");
        let check = || -> Result<()> {
            let plan = plan(words, tree, fit)?;
            making::write(&plan, &image)?;
            sound(&image)?;
            read_by_tools(&image)?;
            grows(&image, snapshot, grow_offline)?;
            grows(&image, snapshot, grow_mounted)
        };
        verdict.row(&format!("{} {words} {fit:?}", tree.display()), check());
        fs::remove_file(&image).expect("it is removed");
    }
    verdict.end();
}

/// A copy of the image, grown fourfold, is sound and holds the same.
fn grows(image: &Path, source: &Snapshot, grow: fn(&Path, u64) -> Result<()>) -> Result<()> {
    let grown = image.with_extension("grown");
    fs::copy(image, &grown)?;
    grow(&grown, 4 * fs::metadata(image)?.len())?;
    sound(&grown)?;
    mount::same(source, &grown, &Options::default())?;
    match (blocks(&grown)?, 4 * blocks(image)?) {
        (found, wanted) if found < wanted => Err(format!("{found} blocks, not {wanted}").into()),
        _ => Ok(()),
    }
}

fn read_by_tools(image: &Path) -> Result<()> {
    for which in Which::ALL {
        tools::dumpe2fs(image, which)?;
        tools::run(tools::command(which, "tune2fs")?.arg("-l").arg(image))?;
    }
    let said = tools::debugfs(image, &["stats", "ls -l", "stat <2>", "lsdel"])?;
    if said.contains("lost+found") {
        Ok(())
    } else {
        Err(said.into())
    }
}

fn blocks(image: &Path) -> Result<u64> {
    let said = tools::dumpe2fs(image, Which::Reference)?;
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("Block count:"));
    Ok(line.ok_or("no block count")?.trim().parse()?)
}

fn grow_offline(image: &Path, size: u64) -> Result<()> {
    File::options().write(true).open(image)?.set_len(size)?;
    let mut resize = tools::command(Which::Reference, "resize2fs")?;
    tools::run(resize.arg("-f").arg(image)).map(drop)
}

/// In a machine, since growing a mounted filesystem needs a right that this process may lack.
fn grow_mounted(image: &Path, size: u64) -> Result<()> {
    File::options().write(true).open(image)?.set_len(size)?;
    let script = "mount -t ext4 /dev/vda /mnt; resize2fs /dev/vda; umount /mnt";
    machine::run(&[image], script).map(drop)
}

/// The environment variables that hand a tree and an output to the test below.
const CHILD: [&str; 2] = ["MKE4FS_TEST_TREE", "MKE4FS_TEST_IMAGE"];

/// The part of the next test that runs as an ordinary user; by itself it does nothing.
#[test]
fn child_builds_as_it_is_told() {
    let [Some(tree), Some(image)] = CHILD.map(std::env::var_os) else {
        return;
    };
    assert!(!rustix::process::geteuid().is_root());
    let plan = plan("-I 256", Path::new(&tree), Fit::Auto).expect("it fits");
    making::write(&plan, Path::new(&image)).expect("it is written");
}

#[test]
fn an_ordinary_user_keeps_all_that_it_may_read() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("it is opened");
    let source = Source::torture(&torture::Options::default());
    // What an ordinary user owns has no other owners, no devices and no trusted attributes.
    for group in [
        "flags", "nodes", "owners", "links", "modes", "xattrs", "acls",
    ] {
        torture::teardown_group(&source.path(), group).expect("it is removed");
    }
    let files = source.path().join("xattrs");
    fs::create_dir(&files).expect("a directory");
    fs::write(files.join("user"), "attribute").expect("a file");
    xattr::set(files.join("user"), "user.comment", b"plain").expect("an attribute");
    tools::run(
        Command::new("chown")
            .args(["-hR", "1000:1000"])
            .arg(source.path()),
    )
    .expect("chown");
    fs::set_permissions(source.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let snapshot = Snapshot::take(&source.path()).expect("it can be read");
    // The test itself may lie where only root can reach, and so does the mount.
    fs::set_permissions(source.scratch.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let (program, image) = (dir.path().join("test"), dir.path().join("image"));
    // By a program: what this process has open for writing, a child of another thread may hold.
    let copied = Command::new("cp")
        .arg(std::env::current_exe().expect("its path"))
        .arg(&program)
        .status();
    assert!(copied.expect("it runs").success());
    let mut child = Command::new(&program);
    child
        .args([
            &crate::test_name(module_path!(), "child_builds_as_it_is_told"),
            "--exact",
        ])
        .uid(1000)
        .gid(1000)
        .current_dir("/");
    let [tree_variable, image_variable] = CHILD;
    child
        .env(tree_variable, source.path())
        .env(image_variable, &image);
    tools::run(&mut child).expect("it builds");
    sound(&image).expect("it is sound");
    let options = Options {
        ignore: [Field::Xattr].into(),
        ..Options::default()
    };
    mount::same(&snapshot, &image, &options).expect("it is kept");
    let kept = mount_ro(&image, |dir| {
        xattr::get(dir.join("xattrs/user"), "user.comment")
    });
    assert_eq!(
        kept.expect("it mounts").expect("it can be read"),
        Some(b"plain".to_vec())
    );
}

/// Where no file is longer than the stretches between groups' metadata and there is some room, none
/// is split.
#[test]
fn files_are_whole_across_many_groups() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let mut verdict = Verdict::default();
    let large = MadeUp::Files(&[1, 100, 3, 70, 50, 2, 90, 110, 30, 60, 5, 100]);
    let small = MadeUp::Files(&[1, 5, 3, 2, 6, 4, 5, 6, 1, 1, 3, 6, 5, 4, 2, 6, 6, 5]);
    // The 2s go back to what the 5s left of groups of 8 MiB.
    let left = MadeUp::Files(&[
        5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    ]);
    let (tight, roomy) = (Fit::Available(20 << 20), Fit::Available(200 << 20));
    let rows = [
        ("-b 4096", large, Fit::Auto),
        ("-b 4096", large, roomy),
        ("-b 4096 -O ^flex_bg", large, roomy),
        ("-b 4096 -O ^has_journal -m 0", large, roomy),
        ("-b 1024", small, Fit::Auto),
        ("-b 1024 -O ^flex_bg", small, roomy),
        ("-b 1024 -g 8192 -G 2", small, roomy),
        ("-b 1024 -O ^flex_bg", left, tight),
    ];
    for (words, files, fit) in rows {
        let image = dir.path().join("image");
        let check = || -> Result<()> {
            let options = making::options(words)?;
            let builder = Builder::from_options(options)
                .environment(making::memory_host())
                .source(files);
            making::write(&builder.fit(fit).plan()?, &image)?;
            contiguous(&image)
        };
        verdict.row(&format!("{words} {fit:?}"), check());
        let _ = fs::remove_file(&image);
    }
    verdict.end();
}
