//! Given trees around the limits of what inodes hold, proves that images with inline_data and
//! ea_inode are sound to e2fsck, show the kernel every attribute of the source, and survive being
//! written to; never looks at features that leave content where it is.
//!
//! Images are written over bytes of 0xD1 that nothing discards.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::attrs::{Options, Snapshot};
use common::mount::{self, Mount, Scratch, mount_rw};
use common::tools::{self, Need, Result, Which, ready};
use common::torture;
use tempfile::{NamedTempFile, TempDir};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

/// What holds the sources that ext4 of 4 KiB blocks can hold, in bytes.
const ROOMY: u64 = 1 << 30;

/// A directory on tmpfs: what is built there waits for no disk.
fn workplace() -> TempDir {
    let made = tempfile::Builder::new()
        .prefix("mke4fs-test-")
        .tempdir_in("/dev/shm");
    made.expect("/dev/shm is needed, to build there")
}

/// Makes an image of `source` by `words` with the command, over junk.
fn make(words: &str, source: &Path, image: &Path, size: u64) -> Result<()> {
    let mut junk = io::repeat(0xD1).take(size);
    io::copy(&mut junk, &mut File::create(image)?)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command
        .arg0("mke2fs")
        .env_clear()
        .env("MKE2FS_CONFIG", "none")
        .env("E2FSPROGS_FAKE_TIME", "1700000000")
        .stdin(Stdio::null())
        .args(["-q", "-F", "-t", "ext4", "-E", "nodiscard"])
        .args(words.split_whitespace())
        .arg("-d")
        .arg(source)
        .arg(image);
    tools::run(&mut command)?;
    Ok(())
}

/// Both e2fsck find nothing.
fn sound(image: &Path) -> Result<()> {
    for which in Which::ALL {
        tools::e2fsck(image, which)?;
    }
    Ok(())
}

/// Makes images of `source` by each row's words, and proves that they are sound and the same.
#[track_caller]
fn prove(rows: &[&str], source: &Path, size: u64) {
    let snapshot = Snapshot::take(source).expect("the source can be read");
    let place = workplace();
    let image = place.path().join("image");
    let mut wrong = Vec::new();
    for words in rows {
        let outcome = make(words, source, &image, size)
            .and_then(|()| sound(&image))
            .and_then(|()| mount::same(&snapshot, &image, &Options::default()));
        if let Err(error) = outcome {
            wrong.push(format!("{words}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sizes around what inodes of 256, 512, 1024 and 4096 bytes hold: 128 bytes less than they have.
fn sizes() -> impl Iterator<Item = usize> {
    let around = |size: usize| size - 132..size - 123;
    (0..=200)
        .chain(around(512))
        .chain(around(1024))
        .chain(around(4096))
}

/// Files, links and directories of all small sizes.
fn small(dir: &Path) -> Result<()> {
    for size in sizes() {
        fs::write(dir.join(format!("file-{size}")), torture::pattern(size))?;
    }
    for length in 1..200 {
        symlink("t".repeat(length), dir.join(format!("link-{length}")))?;
    }
    for count in 0..30 {
        let place = dir.join(format!("directory-{count}"));
        fs::create_dir(&place)?;
        for number in 0..count {
            fs::write(place.join(format!("n{number}")), b"")?;
        }
    }
    for length in 30..110 {
        let place = dir.join(format!("name-{length}"));
        fs::create_dir(&place)?;
        fs::create_dir(place.join("n".repeat(length)))?;
    }
    // A hole takes no block and must stay a hole.
    File::create(dir.join("hole"))?.set_len(100)?;
    let sparse = File::create(dir.join("sparse"))?;
    sparse.write_all_at(b"after a hole", 90)?;
    fs::hard_link(dir.join("file-100"), dir.join("second-name"))?;
    Ok(())
}

/// Content of several sizes beside attributes of several sizes.
fn small_with_attributes(dir: &Path) -> Result<()> {
    for content in [0, 1, 59, 60, 61, 64, 70, 100, 128, 300] {
        for value in [0, 1, 4, 10, 20, 30, 40, 48, 60, 72, 73, 200, 900] {
            let name = format!("{content}-{value}");
            let file = dir.join(format!("file-{name}"));
            fs::write(&file, torture::pattern(content))?;
            let directory = dir.join(format!("directory-{name}"));
            fs::create_dir(&directory)?;
            for number in 0..content / 12 {
                fs::write(directory.join(format!("n{number}")), b"")?;
            }
            let link = dir.join(format!("link-{name}"));
            symlink("t".repeat(content + 1), &link)?;
            for (path, namespace) in [(&file, "user"), (&directory, "user"), (&link, "trusted")] {
                xattr::set(path, format!("{namespace}.v"), &torture::pattern(value))?;
            }
        }
    }
    Ok(())
}

#[test]
fn content_around_the_limits_of_inodes() {
    if !ready(NEEDS) {
        return;
    }
    let scratch = Scratch::new(ROOMY).expect("an image is made");
    let tree = scratch.path().join("tree");
    fs::create_dir(&tree).expect("a directory is made");
    small(&tree).expect("the tree is built");
    let rows = [
        "-O inline_data -b 1024 -I 256",
        "-O inline_data -b 2048 -I 512",
        "-O inline_data -b 4096 -I 256",
        "-O inline_data -b 4096 -I 512",
        "-O inline_data -b 4096 -I 1024",
        "-O inline_data -b 4096 -I 4096 -N 2000",
        "-O inline_data,^metadata_csum -b 1024 -I 256",
        "-O inline_data,^metadata_csum -b 4096 -I 1024",
        "-O inline_data,^extent,^64bit -b 1024 -I 256",
        "-O inline_data,^filetype,^dir_index -b 4096",
        "-O inline_data,bigalloc -b 4096",
        "-O inline_data,ea_inode -b 4096",
        "-O inline_data,quota -b 4096",
    ];
    prove(&rows, &tree, 64 << 20);
}

/// The `size` bytes of the inode of `path`, as debugfs dumps them: an octal offset and eight words a line.
fn inode(image: &Path, path: &str, size: usize) -> Result<Vec<u8>> {
    let dump = tools::debugfs(image, &[format!("inode_dump {path}")])?;
    let mut bytes: Vec<u8> = Vec::new();
    // `*` stands for lines like the one before.
    let fill = |bytes: &mut Vec<u8>, size: usize| {
        let before = bytes.last_chunk::<16>().copied().unwrap_or_default();
        while bytes.len() < size {
            bytes.extend(before);
        }
    };
    for line in dump.lines() {
        let Some((offset, rest)) = line.split_once("  ") else {
            continue;
        };
        let Ok(offset) = usize::from_str_radix(offset, 8) else {
            continue;
        };
        let words = rest.split("  ").next().unwrap_or_default();
        let digits: String = words.split_whitespace().collect();
        fill(&mut bytes, offset);
        for at in (0..digits.len()).step_by(2) {
            bytes.push(u8::from_str_radix(&digits[at..at + 2], 16)?);
        }
    }
    fill(&mut bytes, size);
    Ok(bytes)
}

#[test]
fn long_targets_lie_where_mke2fs_puts_them() {
    if !ready(NEEDS) {
        return;
    }
    let place = workplace();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).expect("a directory is made");
    let lengths = [1, 59, 60, 61, 80, 127, 128, 129, 200, 383, 384, 385, 900];
    for length in lengths {
        symlink("t".repeat(length), tree.join(length.to_string())).expect("a link is made");
    }
    let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
    for (words, size) in [
        ("-O inline_data -b 1024 -I 256", 256),
        ("-O inline_data -b 4096 -I 512", 512),
        ("-O inline_data,^metadata_csum -b 2048 -I 1024", 1024),
        ("-O ^inline_data -b 1024 -I 256", 256),
    ] {
        make(words, &tree, &ours, 16 << 20).expect("it is made");
        File::create(&theirs)
            .and_then(|file| file.set_len(16 << 20))
            .expect("a file");
        let tree = tree.display().to_string();
        let mut arguments = vec!["-q", "-F", "-t", "ext4", "-d", &tree];
        arguments.extend(words.split_whitespace());
        tools::mke2fs(&theirs, &arguments).expect("mke2fs makes it");
        sound(&ours).expect("it is sound");
        for length in lengths {
            let path = format!("/{length}");
            let bytes = |image| inode(image, &path, size).expect("it is dumped");
            let (ours, mut theirs) = (bytes(&ours), bytes(&theirs));
            if length == 60 {
                // Where an empty value would lie means nothing; ours says 0.
                theirs[0xa6..0xa8].fill(0);
            }
            // i_size, i_links_count to i_flags, then i_block unless it has a block's number, and
            // what lies behind the extra fields.
            for part in [4..8, 0x1a..0x24, 0x6c..0x70, 160..size] {
                assert_eq!(
                    ours[part.clone()],
                    theirs[part.clone()],
                    "{words} {path} {part:x?}"
                );
            }
            if ours[0x1c..0x20] == [0; 4] {
                assert_eq!(ours[0x28..0x64], theirs[0x28..0x64], "{words} {path}");
            }
        }
    }
}

#[test]
fn content_competes_with_attributes() {
    if !ready(NEEDS) {
        return;
    }
    let scratch = Scratch::new(ROOMY).expect("an image is made");
    let tree = scratch.path().join("tree");
    fs::create_dir(&tree).expect("a directory is made");
    small_with_attributes(&tree).expect("the tree is built");
    let rows = [
        "-O inline_data -b 1024 -I 256",
        "-O inline_data -b 2048 -I 512",
        "-O inline_data -b 4096 -I 256",
        "-O inline_data -b 4096 -I 1024",
        "-O inline_data,^metadata_csum -b 1024 -I 256",
        "-O inline_data,ea_inode -b 1024 -I 256",
        "-O inline_data,bigalloc -b 1024 -C 8192",
        "-O inline_data,quota,project -b 1024",
    ];
    prove(&rows, &tree, 64 << 20);
}

/// An ext4 with ea_inode, mounted for writing: other filesystems do not take such values.
struct LargeValues {
    mount: Mount,
    _image: NamedTempFile,
}

impl LargeValues {
    fn new() -> Result<Self> {
        let image = tempfile::Builder::new().tempfile_in("/dev/shm")?;
        image.as_file().set_len(256 << 20)?;
        tools::mke2fs(
            image.path(),
            &["-t", "ext4", "-b", "4096", "-O", "ea_inode"],
        )?;
        let mount = Mount::writable(image.path())?;
        let values = Self {
            mount,
            _image: image,
        };
        fs::create_dir(values.tree())?;
        large_values(&values.tree())?;
        Ok(values)
    }

    fn tree(&self) -> PathBuf {
        self.mount.path().join("tree")
    }
}

/// Nodes of every kind with values of one byte to 64 KiB, shared and not.
fn large_values(dir: &Path) -> Result<()> {
    let sizes = [
        1, 10, 72, 100, 500, 900, 980, 1000, 1023, 1024, 1025, 2000, 2048, 3000, 4000, 4050, 4060,
        4096, 4097, 12_345, 65_535, 65_536,
    ];
    for size in sizes {
        let file = dir.join(format!("file-{size}"));
        fs::write(&file, "content")?;
        xattr::set(&file, "user.v", &torture::pattern(size))?;
        let directory = dir.join(format!("directory-{size}"));
        fs::create_dir(&directory)?;
        xattr::set(&directory, "user.v", &torture::pattern(size))?;
        xattr::set(&directory, "trusted.w", &vec![7; size / 2 + 1])?;
    }
    fs::write(dir.join("many"), b"")?;
    for number in 0..40_u8 {
        let value = vec![number; 300 + 50 * usize::from(number)];
        xattr::set(dir.join("many"), format!("user.{number}"), &value)?;
    }
    for length in [5, 30, 59, 60, 90] {
        let link = dir.join(format!("link-{length}"));
        symlink("t".repeat(length), &link)?;
        xattr::set(&link, "trusted.v", &torture::pattern(9000))?;
    }
    let fifo = dir.join("fifo");
    torture::make_node(&fifo, rustix::fs::FileType::Fifo, (0, 0))?;
    xattr::set(&fifo, "trusted.v", &torture::pattern(9000))?;
    // More users than one attribute block may have.
    for number in 0..1100 {
        let file = dir.join(format!("shared-{number}"));
        fs::write(&file, b"")?;
        xattr::set(&file, "user.v", &torture::pattern(5000))?;
    }
    Ok(())
}

#[test]
fn values_of_up_to_64_kib() {
    if !ready(NEEDS) {
        return;
    }
    let source = LargeValues::new().expect("the source is built");
    let rows = [
        "-O ea_inode -b 1024 -I 256",
        "-O ea_inode -b 4096 -I 256",
        "-O ea_inode -b 4096 -I 512",
        "-O ea_inode,^metadata_csum -b 4096 -I 1024",
        "-O ea_inode,^extent,^64bit -b 2048 -I 512",
        "-O ea_inode,bigalloc -b 1024 -C 16384",
        "-O ea_inode,inline_data -b 1024 -I 256",
        "-O ea_inode,inline_data -b 4096 -I 512",
        "-O ea_inode,inline_data,bigalloc -b 4096 -I 1024",
        "-O ea_inode,quota -b 4096",
        "-O ea_inode,inline_data,bigalloc,quota -b 4096",
    ];
    prove(&rows, &source.tree(), 64 << 20);
}

#[test]
fn the_torture_tree() {
    if !ready(NEEDS) {
        return;
    }
    let scratch = Scratch::new(ROOMY).expect("an image is made");
    let tree = scratch.path().join("tree");
    let options = torture::Options {
        longest_symlink: 1023,
        ..torture::Options::default()
    };
    torture::build(&tree, &options).expect("the torture tree is built");
    let rows = [
        "-O inline_data -b 1024 -I 256",
        "-O inline_data,ea_inode -b 4096 -I 512",
    ];
    prove(&rows, &tree, 256 << 20);
    torture::teardown(&tree).expect("the tree is removed");
}

/// Appends to files, enters and removes names, and replaces attributes.
fn change(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if entry.file_name() == "lost+found" {
            continue;
        }
        if kind.is_file() {
            let mut file = OpenOptions::new().append(true).open(&path)?;
            file.write_all(b"as much again as fits no inode of the size that it had before")?;
            if path.to_string_lossy().ends_with('0') {
                file.set_len(3)?;
            }
            xattr::set(&path, "user.v", &torture::pattern(50))?;
            xattr::set(&path, "user.more", &torture::pattern(300))?;
        } else if kind.is_dir() {
            for number in 0..3 {
                File::create(path.join(format!("entered-{number}")))?;
            }
            fs::remove_file(path.join("entered-1"))?;
            xattr::set(&path, "user.v", &torture::pattern(20))?;
        } else {
            fs::rename(&path, path.with_extension("moved"))?;
        }
    }
    Ok(())
}

#[test]
fn the_kernel_can_write_to_what_lies_in_inodes() {
    if !ready(NEEDS) {
        return;
    }
    let source = LargeValues::new().expect("the source is built");
    let place = workplace();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).expect("a directory is made");
    small(&tree).expect("the tree is built");
    let image = place.path().join("image");
    for (words, tree) in [
        ("-O inline_data -b 1024 -I 256", &tree),
        ("-O inline_data,^metadata_csum -b 4096 -I 1024", &tree),
        ("-O inline_data,ea_inode -b 4096 -I 512", &source.tree()),
    ] {
        let outcome = make(words, tree, &image, 64 << 20)
            .and_then(|()| mount_rw(&image, change)?)
            .and_then(|()| sound(&image));
        assert!(outcome.is_ok(), "{words}: {outcome:?}");
    }
}
