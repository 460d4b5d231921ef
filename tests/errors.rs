//! Given what can go wrong, proves what a program learns of it: the kind with its paths and numbers, each
//! cause once, and words that are a library's; never the command's words, which other modules prove.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use common::making;
use mke4fs::{Builder, Content, Environment, ErrorKind, Image, Metadata, Sparse, Tar, Tree};

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
