//! Given images that mke2fs and the kernel made, proves that an image of them holds the same files; never
//! judges the reader alone, which `read` does.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use common::attrs::{Options, RootRule, Snapshot};
use common::making::torture_tree;
use common::mount::{mount_ro, mount_rw};
use common::place::Place;
use common::tools::{self, Need, Result, Which, ready};
use common::torture;
use mke4fs::read::{Filesystem, ImageFile};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

/// What a filesystem holds of the torture tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    All,
    /// No files of a TiB.
    Short,
    /// Nothing with holes: the kernel does not tell where they are in an inode.
    Whole,
}

/// What mke2fs is asked for, and what it then holds.
const KINDS: &[(&str, Holds)] = &[
    ("-t ext2 -b 4096 -I 128", Holds::All),
    ("-t ext4 -b 4096", Holds::All),
    ("-t ext4 -b 4096 -O bigalloc", Holds::All),
    (
        "-t ext4 -b 4096 -O ea_inode,^metadata_csum,uninit_bg",
        Holds::All,
    ),
    ("-t ext2 -b 1024", Holds::Short),
    ("-t ext3 -b 2048", Holds::Short),
    ("-t ext3 -b 1024 -I 128", Holds::Short),
    ("-t ext4 -b 2048 -O ^64bit", Holds::Short),
    ("-t ext4 -b 1024 -O meta_bg,^resize_inode", Holds::Short),
    ("-t ext4 -b 4096 -O inline_data -I 512", Holds::Whole),
];

/// Fails where the kernel shows something else of the image in `place`.
fn compare(expected: &Snapshot, place: &Place, about: &str) -> Result<()> {
    let options = Options {
        root: RootRule::Kept,
        ..Options::default()
    };
    let compare = |root: &Path| expected.compare(root, &options);
    let differences = mount_ro(&place.path("image"), compare)??;
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{about}:\n{}", lines.join("\n"));
    Ok(())
}

/// Makes an image of `image` in `place`, and compares what the kernel shows of both.
fn remade(place: &Place, image: &Path, about: &str) -> Result<()> {
    let line = format!(
        "rm -f image; mke4fs -q --keep-root -N 20000 -d {} image",
        image.display()
    );
    assert_eq!(place.make(&line), "", "{about}");
    let mut expected = mount_ro(image, Snapshot::take)??;
    // It is empty, and each filesystem has its own.
    expected.entries.remove(&b"lost+found"[..]);
    compare(&expected, place, about)?;
    tools::report(&format!(
        "-d of {about}: {} files, no difference",
        expected.entries.len()
    ));
    Ok(())
}

#[test]
fn what_mke2fs_makes_is_a_source() -> Result<()> {
    remade_of(Holds::All)
}

#[test]
fn what_mke2fs_makes_of_short_blocks_is_a_source() -> Result<()> {
    remade_of(Holds::Short)
}

#[test]
fn what_mke2fs_puts_into_inodes_is_a_source() -> Result<()> {
    remade_of(Holds::Whole)
}

/// Makes images of all images that hold so much.
fn remade_of(holds: Holds) -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let (_source, tree) = torture_tree(1023)?;
    match holds {
        Holds::All => {}
        Holds::Short => {
            for name in ["tib", "tib-no-data"] {
                fs::remove_file(tree.join("sparse").join(name))?;
            }
        }
        Holds::Whole => torture::teardown_group(&tree, "sparse")?,
    }
    let place = Place::new();
    let kinds = KINDS.iter().enumerate();
    for (number, (words, _)) in kinds.filter(|(_, (_, held))| *held == holds) {
        for (turn, which) in Which::ALL.into_iter().enumerate() {
            if !common::is_wide() && number % 2 != turn {
                continue;
            }
            let image = place.path("base.img");
            File::create(&image)?.set_len(700 << 20)?;
            let mut command = tools::command(which, "mke2fs")?;
            command
                .args(["-q", "-F", "-N", "20000"])
                .args(words.split(' '));
            tools::run(command.arg("-d").arg(&tree).arg(&image))?;
            remade(&place, &image, &format!("{words}, {which:?}"))?;
            // mke2fs reads all of a directory for each name in it: once is enough for every day.
            let thousands = "directories/thousands";
            if !common::is_wide() && tree.join(thousands).exists() {
                torture::teardown_group(&tree, thousands)?;
            }
        }
    }
    torture::teardown(&tree)?;
    Ok(())
}

/// A place with an image of a few files, called `base.img`.
fn base() -> Place {
    let place = Place::new();
    place.file("root/etc/motd", "Welcome.\n");
    place.file("root/etc/issue", "Issue.\n");
    place.file("root/var/cache/a", "cached\n");
    place.file("root/var/cache/b", "cached\n");
    let line = "setfattr -n user.a -v 1 root/etc/motd; setfattr -n user.b -v 2 root/etc/motd; \
                touch -d 2030-01-01 root/etc/motd; mke4fs -q -d root base.img 16M; cp base.img image";
    place.make(line);
    place
}

#[test]
fn what_is_asked_of_sources_is_asked_of_images() {
    if !ready(NEEDS) {
        return;
    }
    let place = base();
    for (flags, look, expected) in [
        ("--exclude=var/cache/*", "ls -R image var", "cache\n"),
        (
            "--exclude=var --exclude=etc/issue",
            "ls -R image",
            "etc\netc/motd\nlost+found\n",
        ),
        (
            "--owner=7:8",
            "ls -l image etc | cut -c15-26 | sort -u",
            "     7     8\n",
        ),
        (
            "--xattr-exclude=user.a",
            "ls --json image etc/motd | grep -o 'user[.].'",
            "user.b\n",
        ),
        ("--size 32M", "ls image etc", "issue\nmotd\n"),
    ] {
        place.make(&format!("rm image; mke4fs -q -d base.img {flags} image"));
        let output = place.shell(&format!("mke4fs {look}"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{flags}");
    }
    place.make("rm image; SOURCE_DATE_EPOCH=1700000000 mke4fs -q -d base.img image");
    let output = place.shell("mke4fs ls -l image etc/motd");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(line.contains(" 2023-11-14T22:13:20.000000000Z "), "{line}");
    // What is laid over replaces, and what is below stays.
    place.file("over/etc/motd", "Over.\n");
    place.make("rm image; mke4fs -q -d base.img -d over image");
    let output = place.shell("mke4fs cat image etc/motd; mke4fs cat image etc/issue");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Over.\nIssue.\n");
}

#[test]
fn what_was_found_is_kept_and_an_empty_directory_for_it_is_not() {
    if !ready(NEEDS) {
        return;
    }
    let place = base();
    let numbered = |place: &Place| {
        let output = place.shell("mke4fs ls -l image | grep lost; mke4fs ls -R image lost+found");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    place.make(
        "debugfs -w -R 'set_inode_field lost+found mode 040711' base.img 2>/dev/null; \
                rm image; mke4fs -q -d base.img image",
    );
    assert!(
        numbered(&place).starts_with("drwx------"),
        "{}",
        numbered(&place)
    );
    place.make(
        "debugfs -w -R 'write root/etc/motd lost+found/#12' base.img >/dev/null 2>&1; \
                rm image; mke4fs -q -d base.img image",
    );
    let shown = numbered(&place);
    assert!(
        shown.starts_with("drwx--x--x") && shown.ends_with("\n#12\n"),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_a_source_is_refused() {
    if !ready(NEEDS) {
        return;
    }
    let place = base();
    let line = "rm image; gzip -k base.img; cp base.img secret.img; cp base.img verity.img; \
                debugfs -w -R 'set_inode_field etc flags 0x80800' secret.img 2>/dev/null; \
                debugfs -w -R 'feature encrypt' secret.img >/dev/null 2>&1; \
                debugfs -w -R 'feature verity' verity.img >/dev/null 2>&1; \
                debugfs -w -R 'set_inode_field etc/motd flags 0x180000' verity.img 2>/dev/null; true";
    let prepared = place.shell(line);
    assert!(
        prepared.status.success(),
        "{}",
        String::from_utf8_lossy(&prepared.stderr)
    );
    for (line, expected) in [
        (
            "mke4fs -d base.img base.img",
            "base.img is both a source and the output",
        ),
        (
            "mke4fs -d ext4:base.img@0 base.img",
            "base.img is both a source and the output",
        ),
        (
            "mke4fs -d ext4:base.img@4k image",
            "base.img: no ext2, ext3 or ext4 filesystem",
        ),
        ("mke4fs -d ext4:missing image", "missing"),
        (
            "mke4fs -d base.img.gz image",
            "base.img.gz is compressed with gzip and holds an ext4 image; decompress it to a file first\n",
        ),
        (
            "mke4fs -d - image < base.img",
            "stdin is an ext4 image, which cannot be read from a stream; name its file or device\n",
        ),
        (
            "mke4fs -d secret.img image",
            "secret.img: etc is encrypted, and cannot be read without its key",
        ),
        (
            "mke4fs -d verity.img image",
            "verity.img: cannot read etc/motd: inode ",
        ),
    ] {
        let said = place.refusal(line);
        assert!(said.contains(expected), "{line}: {said}");
    }
    place.make("mke4fs -q -d secret.img --exclude=/etc image");
}

#[test]
fn a_prefix_is_no_prefix_of_a_file_that_is_there() {
    if !ready(NEEDS) {
        return;
    }
    let place = base();
    place.directory("ext4:root/inside");
    place.make("rm image; mke4fs -q -d ext4:root image; mke4fs ls image | grep -qx inside");
    place.make("rm image; mke4fs -q -d ./ext4:root image; mke4fs ls image | grep -qx inside");
    place.make("rm image; mke4fs -q -d ext4:base.img image; mke4fs ls image | grep -qx etc");
}

/// Fills a filesystem that is mounted at `root`, changes it, and takes some of it away again.
fn live(root: &Path) -> Result<()> {
    for round in 0..3 {
        let dir = root.join(format!("round-{round}"));
        fs::create_dir(&dir)?;
        for number in 0..200 {
            fs::write(dir.join(format!("file-{number}")), vec![b'l'; 50 * number])?;
        }
        let shell = format!(
            "cd {}; ln file-1 hard; ln -s file-2 soft; setfattr -n user.a -v {round} file-3; \
             mkfifo fifo; truncate -s 1M file-4; rm file-5?; mv file-6 ../moved-{round}",
            dir.display()
        );
        tools::run(Command::new("sh").args(["-euc", &shell]))?;
    }
    fs::remove_dir_all(root.join("round-1"))?;
    Ok(())
}

#[test]
fn what_a_kernel_left_in_its_journal_arrives() -> Result<()> {
    if !ready(&[NEEDS, &[Need::Program("xfs_io")]].concat()) {
        return Ok(());
    }
    let place = Place::new();
    let (image, copy) = (place.path("base.img"), place.path("copy.img"));
    for words in [
        "-t ext4",
        "-t ext4 -b 1024 -O ^metadata_csum",
        "-t ext3 -b 2048",
    ] {
        File::create(&image)?.set_len(64 << 20)?;
        let arguments: Vec<&str> = words.split(' ').collect();
        tools::mke2fs(&image, &arguments)?;
        mount_rw(&image, |root| {
            live(root)?;
            let mut cut = Command::new("xfs_io");
            cut.args(["-x", "-c", "shutdown -f"]).arg(root);
            tools::run(&mut cut)
        })??;
        let replayed = Filesystem::open(ImageFile::open(&image)?)?.replayed_blocks();
        assert!(replayed > 0, "{words}: its journal does not wait");
        place.make("rm -f image; mke4fs -q --keep-root -d base.img image");
        fs::copy(&image, &copy)?;
        let mut expected = mount_rw(&copy, Snapshot::take)??;
        assert!(expected.entries.len() > 300, "{words}: little was kept");
        expected.entries.remove(&b"lost+found"[..]);
        compare(&expected, &place, words)?;
        tools::report(&format!(
            "-d of {words}, cut off: {replayed} blocks replayed, no difference"
        ));
    }
    Ok(())
}
