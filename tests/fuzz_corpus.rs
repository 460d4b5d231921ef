//! Given the corpora of the fuzz targets, checks each target's invariant by them, and by e2fsck that
//! the images of trees are sound; never fuzzes.
//!
//! `MKE4FS_RANDOM_TREES=5000` checks as many random trees after the corpus, `MKE4FS_FIRST_TREE` says from
//! which seed on, and the kernel shows every 11th that it mounts for a comparison with its tree;
//! `MKE4FS_FUZZ_CORPUS` names a directory to take in place of `fuzz/corpus`.

#![cfg(target_os = "linux")]

mod common;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::mount::mount_ro;
use common::mounted::Mounted;
use common::tools::{self, Need, Which, ready};
use mke4fs::feature::Feature;
use mke4fs::sink::{Memory, Sink};
use mke4fs::tree::NodeId;
use targets::tree::Made;
use tempfile::NamedTempFile;

/// Random trees that are checked unless more are asked for.
const RANDOM_TREES: u64 = 40;

/// Of those that this kernel mounts, one in this many is compared: 300 of 5000, and more.
const MOUNTED_STEP: u64 = 11;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let all = std::env::var_os("MKE4FS_FUZZ_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus"),
        PathBuf::from,
    );
    let entries = fs::read_dir(all.join(target)).expect("the target has a corpus");
    let mut inputs: Vec<(PathBuf, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("the corpus can be listed").path();
            let bytes = fs::read(&path).expect("the corpus can be read");
            (path, bytes)
        })
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    inputs
}

/// Runs a target on its corpus; a panic is preceded by the name of the input.
fn replay(target: &str, run: fn(&[u8])) {
    for (path, bytes) in corpus(target) {
        let named = Named(&path);
        run(&bytes);
        std::mem::forget(named);
    }
}

/// Names an input when it is dropped: by the panic of a target.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        tools::report(&format!("input: {}", self.0.display()));
    }
}

#[test]
fn options() {
    replay("options", targets::options::run);
}

#[test]
fn xattr_parse() {
    replay("xattr_parse", targets::xattr::run);
}

#[test]
fn acl() {
    replay("acl", targets::acl::run);
}

#[test]
fn check() {
    replay("check", targets::check::run);
}

#[test]
fn container() {
    replay("container", targets::container::run);
}

#[test]
fn image_source() {
    replay("image_source", targets::image_source::run);
}

#[test]
fn read() {
    replay("read", targets::read::run);
}

#[test]
fn budget() {
    replay("budget", targets::budget::run);
}

#[test]
fn oci() {
    replay("oci", targets::oci::run);
}

#[test]
fn profile() {
    replay("profile", targets::profile::run);
}

#[test]
fn manifest() {
    replay("manifest", targets::manifest::run);
}

#[test]
fn rules() {
    replay("rules", targets::rules::run);
}

#[test]
fn size() {
    replay("size", targets::size::run);
}

#[test]
fn tar() {
    replay("tar", targets::tar::run);
}

#[test]
fn tree() {
    let checked = ready(&[
        Need::E2fsprogs(Which::System),
        Need::E2fsprogs(Which::Reference),
    ]);
    let mut images = 0;
    for (path, bytes) in corpus("tree") {
        let named = Named(&path);
        images += u64::from(check_tree(&bytes, checked).is_some());
        std::mem::forget(named);
    }
    assert!(images > 0, "no input of the corpus gives an image");
}

#[test]
fn histories() {
    let mut images = 0;
    for (path, bytes) in corpus("histories") {
        let named = Named(&path);
        images += check_history(&bytes).map_or(0, |made| made.images);
        std::mem::forget(named);
    }
    assert!(images > 0, "no input of the corpus gives an image");
}

/// Random histories that are checked unless more are asked for.
const RANDOM_HISTORIES: u64 = 10;

#[test]
fn histories_at_random() {
    let asked = std::env::var("MKE4FS_RANDOM_HISTORIES");
    let wide = if common::is_wide() {
        2000
    } else {
        RANDOM_HISTORIES
    };
    let wanted = asked.map_or(wide, |text| text.parse().expect("a number"));
    let first = std::env::var("MKE4FS_FIRST_HISTORY");
    let first: u64 = first.map_or(1, |text| text.parse().expect("a number"));
    let begun = Instant::now();
    let (mut histories, mut steps, mut images, mut seed) = (0, 0, 0, first);
    let mut making = Duration::ZERO;
    while histories < wanted {
        let name = PathBuf::from(format!("random history {seed}"));
        let named = Named(&name);
        let bytes: Vec<u8> = (0..6)
            .flat_map(|part| random_bytes(seed << 3 | part))
            .collect();
        if let Some(made) = check_history(&bytes) {
            histories += 1;
            steps += made.steps;
            images += made.images;
            making += made.making;
        }
        std::mem::forget(named);
        seed += 1;
    }
    let judging = begun.elapsed().saturating_sub(making).as_secs_f64();
    tools::report(&format!(
        "random histories: {histories} of {} seeds, {steps} steps, {images} images, made in {:.1} s and judged in {judging:.1} s",
        seed - first,
        making.as_secs_f64()
    ));
}

/// Checks one history, and its images by e2fsck; none where the first image is refused.
fn check_history(bytes: &[u8]) -> Option<targets::histories::Made> {
    let judges = ready(&[Need::E2fsprogs(Which::Reference)]);
    let file = judges
        .then(|| NamedTempFile::new_in("/dev/shm").expect("/dev/shm is needed, to build there"));
    targets::histories::run(bytes, |image| {
        let Some(file) = &file else { return };
        fs::write(file.path(), image).expect("the image can be written");
        let ino = image[1024 + 0x280..].first_chunk();
        let ino = u32::from_le_bytes(*ino.expect("it has a superblock"));
        e2fsck_says_nothing_new(file.path(), Which::Reference, ino);
    })
}

/// e2fsck finds nothing but what it finds in mke2fs's image.
fn e2fsck_says_nothing_new(path: &Path, which: Which, orphan_ino: u32) {
    let Err(error) = tools::e2fsck(path, which) else {
        return;
    };
    let said = error.to_string();
    let faults: Vec<&str> = said.lines().filter(|line| line.contains('?')).collect();
    let known = orphan_file_fault(orphan_ino);
    let is_known = faults.iter().all(|fault| fault.starts_with(&known));
    assert!(is_known && !faults.is_empty(), "{said}");
}

#[test]
fn differential() {
    if ready(&[Need::E2fsprogs(Which::Reference)]) {
        replay("differential", targets::differential::run);
    }
}

#[test]
fn random_trees() {
    let checked = ready(&[
        Need::E2fsprogs(Which::System),
        Need::E2fsprogs(Which::Reference),
    ]);
    let asked = std::env::var("MKE4FS_RANDOM_TREES");
    let wanted = asked.map_or(RANDOM_TREES, |text| text.parse().expect("a number"));
    let first = std::env::var("MKE4FS_FIRST_TREE");
    let first = first.map_or(1, |text| text.parse().expect("a number"));
    let mounts = tools::ready(&[Need::Root]);
    let (mut images, mut seed, mut shown, mut compared) = (0, first, 0, 0);
    while images < wanted {
        let name = PathBuf::from(format!("random tree {seed}"));
        let named = Named(&name);
        if let Some((made, file)) = check_tree(&random_bytes(seed), checked) {
            images += 1;
            shown += u64::from(is_shown(&made));
            if mounts && is_shown(&made) && shown % MOUNTED_STEP == 0 {
                compare_mounted(&made, file.path());
                compared += 1;
            }
        }
        std::mem::forget(named);
        seed += 1;
    }
    tools::report(&format!(
        "random trees: {images} images of the seeds {first} to {}; of {shown} that this kernel mounts, \
         {compared} compared",
        seed - 1
    ));
}

/// Whether this kernel mounts such an image: it has no tables for casefolding, pages of 4 KiB, and
/// finds no files on a journal's device.
fn is_shown(made: &Made) -> bool {
    let geometry = &made.layout.geometry;
    let unknown = [Feature::Casefold, Feature::JournalDev];
    !unknown.iter().any(|it| geometry.features.has(*it)) && geometry.block_size.bytes() <= 4096
}

/// Compares what the kernel shows of an image with its tree.
fn compare_mounted(made: &Made, image: &Path) {
    let comparison = Mounted {
        tree: &made.tree,
        has_long_times: made.layout.geometry.inode_size > 128,
    };
    let compared = mount_ro(image, |root| comparison.compare(NodeId::ROOT, root));
    compared
        .expect("the kernel mounts it")
        .expect("the kernel shows the tree");
}

/// Checks one tree, and its image by e2fsck; gives both, and a file of the image, if there was one.
fn check_tree(bytes: &[u8], checked: bool) -> Option<(Made, NamedTempFile)> {
    let made = targets::tree::run(bytes)?;
    let image = &made.image;
    let file = NamedTempFile::new_in("/dev/shm").expect("/dev/shm is needed, to build there");
    write_sparse(image, file.as_file()).expect("the image can be written");
    // e2fsck refuses a journal's device; our own checker has read it.
    if checked && !made.layout.geometry.features.has(Feature::JournalDev) {
        for which in Which::ALL {
            let ino = orphan_ino(image);
            e2fsck_says_nothing_new(file.path(), which, ino);
        }
    }
    Some((made, file))
}

/// How the one fault begins that e2fsck may find: mke2fs does not count the blocks of the orphan
/// file's extent tree, where it has one, and the image is the one that mke2fs makes.
fn orphan_file_fault(ino: u32) -> String {
    format!("Inode {ino}, i_blocks is")
}

fn orphan_ino(image: &Memory) -> u32 {
    let mut ino = [0; 4];
    let read = image.read_at(1024 + 0x280, &mut ino);
    read.expect("memory does not fail");
    u32::from_le_bytes(ino)
}

/// Writes all of an image that is not zero.
fn write_sparse(image: &Memory, file: &File) -> io::Result<()> {
    let size = image.size_bytes();
    file.set_len(size)?;
    let mut page = [0; 4096];
    for offset in (0..size).step_by(page.len()) {
        let left = usize::try_from(size - offset).unwrap_or(page.len());
        let bytes = &mut page[..left.min(4096)];
        image.read_at(offset, bytes)?;
        if bytes.iter().any(|byte| *byte != 0) {
            file.write_all_at(bytes, offset)?;
        }
    }
    Ok(())
}

/// A few hundred bytes by splitmix64, so that a seed stands for the same tree everywhere.
fn random_bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let words = 20 + next() % 200;
    (0..words).flat_map(|_| next().to_le_bytes()).collect()
}
