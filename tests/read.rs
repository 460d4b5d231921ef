//! Given images that mke2fs, the kernel and this crate wrote, proves that the reader gives what the
//! kernel shows of them, and of damaged ones nothing that is wrong; never judges how it is built.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::process::Command;

use common::making::{as_mke2fs, torture_tree, workplace};
use common::mount::{Mount, mount_ro, mount_rw};
use common::shown::{self, Compared};
use common::tools::{self, Need, Result, Which, ready};
use common::torture;
use mke4fs::export::{ExportError, list, tar};
use mke4fs::raw::units::{Group, Ino};
use mke4fs::read::{ErrorKind, Filesystem, ImageFile};
use mke4fs::{Builder, Cancel, Tree};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

/// Compares an image with the kernel's mount of it.
fn compare(image: &Path, about: &str) -> Result<Compared> {
    let ours = Filesystem::open(ImageFile::open(image)?)?;
    let compared = mount_ro(image, |root| shown::compare(&ours, root))?;
    let compared = compared.map_err(|error| format!("{about}: {error}"))?;
    tools::report(&format!("{about}: {compared:?}"));
    Ok(compared)
}

/// What mke2fs is asked for, and whether files of a TiB fit.
const KINDS: &[(&str, bool)] = &[
    ("-t ext4 -b 4096 -O inline_data -I 512", true),
    ("-t ext2 -b 1024", false),
    ("-t ext2 -b 4096 -I 128", true),
    ("-t ext3 -b 2048", false),
    ("-t ext4 -b 1024", false),
    ("-t ext4 -b 2048 -O ^64bit", true),
    ("-t ext4 -b 4096", true),
    ("-t ext4 -b 4096 -O ^metadata_csum,uninit_bg", true),
    ("-t ext4 -b 4096 -O bigalloc", true),
    ("-t ext4 -b 1024 -O bigalloc -C 8192", false),
    ("-t ext4 -b 4096 -O ea_inode", true),
    ("-t ext4 -b 1024 -O meta_bg,^resize_inode", false),
    ("-t ext4 -b 1024 -O sparse_super2", false),
    (
        "-t ext4 -b 4096 -O metadata_csum_seed,quota,project,large_dir",
        true,
    ),
];

#[test]
fn what_mke2fs_fills_is_what_the_kernel_shows() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let (_source, tree) = torture_tree(1023)?;
    let dir = workplace()?;
    // The kinds that hold files of a TiB first, the others without those.
    for holds_all in [true, false] {
        let kinds = KINDS.iter().enumerate();
        for (number, (words, _)) in kinds.filter(|(_, (_, all))| *all == holds_all) {
            for (turn, which) in Which::ALL.into_iter().enumerate() {
                if !common::is_wide() && number % 2 != turn {
                    continue;
                }
                let image = dir.path().join("img");
                File::create(&image)?.set_len(700 << 20)?;
                let mut command = tools::command(which, "mke2fs")?;
                command
                    .args(["-q", "-F", "-N", "20000"])
                    .args(words.split(' '));
                tools::run(command.arg("-d").arg(&tree).arg(&image))?;
                compare(&image, &format!("{words}, {which:?}"))?;
                // mke2fs takes its time for large directories: once is enough for every day.
                if !common::is_wide() && tree.join("directories").exists() {
                    torture::teardown_group(&tree, "directories")?;
                }
            }
        }
        if holds_all {
            for name in ["tib", "tib-no-data"] {
                fs::remove_file(tree.join("sparse").join(name))?;
            }
        }
    }
    torture::teardown(&tree)?;
    Ok(())
}

/// What the reader says of each path, but for file data and targets in blocks, which have no checksums.
fn facts(image: &[u8]) -> BTreeMap<Vec<u8>, String> {
    let mut facts = BTreeMap::new();
    let Ok(filesystem) = Filesystem::open(image) else {
        return facts;
    };
    let Ok(mut walk) = filesystem.root().and_then(|root| filesystem.walk(&root)) else {
        return facts;
    };
    while let Some(entry) = walk.next() {
        let Ok(entry) = entry else {
            continue;
        };
        let inode = &entry.inode;
        let (Ok(extents), Ok(xattrs)) = (filesystem.extents(inode), filesystem.xattrs_of(inode))
        else {
            continue;
        };
        let target = if inode.is_symlink() && inode.size() < 60 {
            filesystem.link_target(inode)
        } else {
            Ok(Vec::new())
        };
        if let Ok(target) = target {
            let said = format!("{inode:?} {extents:?} {xattrs:?} {target:?}");
            facts.insert(walk.path().to_vec(), said);
        }
    }
    facts
}

#[test]
fn damaged_metadata_is_an_error_or_what_was_written() -> Result<()> {
    // Only root may set an attribute that is trusted.
    if !ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) {
        return Ok(());
    }
    let dir = workplace()?;
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("many"))?;
    for number in 0..300 {
        let file = tree.join(format!("many/a-name-of-some-length-{number:03}"));
        fs::write(&file, vec![b'd'; number * 50])?;
        xattr::set(&file, "trusted.name", &vec![b'x'; number])?;
    }
    symlink("target", tree.join("link"))?;
    let rounds = if common::is_wide() { 20_000 } else { 400 };
    let mut random = 1_u64;
    let (mut told, mut kept) = (0, 0);
    for words in [
        "-t ext4 -b 1024",
        "-t ext4 -b 4096 -O inline_data,ea_inode -I 512",
        "-t ext4 -b 1024 -O meta_bg,^resize_inode,metadata_csum_seed",
    ] {
        let image = dir.path().join("img");
        File::create(&image)?.set_len(8 << 20)?;
        let mut command = tools::command(Which::Reference, "mke2fs")?;
        command
            .args(["-q", "-F", "-N", "400"])
            .args(words.split(' '));
        tools::run(command.arg("-d").arg(&tree).arg(&image))?;
        let mut bytes = fs::read(&image)?;
        let sound = facts(&bytes);
        assert!(sound.len() > 300, "{words}: {}", sound.len());
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        for _ in 0..rounds {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = places[usize::try_from(random >> 33)? % places.len()];
            let before = bytes[at];
            bytes[at] ^= u8::try_from(random >> 25 & 0xff)?.max(1);
            for (path, said) in facts(&bytes) {
                let expected = sound.get(&path);
                let path = path.escape_ascii();
                assert_eq!(expected, Some(&said), "{words}: byte {at}: {path}");
                kept += 1;
            }
            told += 1;
            bytes[at] = before;
        }
    }
    tools::report(&format!(
        "{told} damaged images: {kept} facts, all as written"
    ));
    Ok(())
}

#[test]
fn what_we_fill_is_what_the_kernel_shows() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let (_source, tree) = torture_tree(4095)?;
    let dir = workplace()?;
    for words in [
        "-t ext4 -b 4096",
        "-t ext4 -b 4096 -O inline_data,quota,project,ea_inode -I 1024",
        "-t ext3 -b 4096",
        "-t ext4 -b 4096 -O bigalloc,meta_bg,^resize_inode,^metadata_csum",
    ] {
        let image = dir.path().join("img");
        File::create(&image)?.set_len(700 << 20)?;
        let mut command = as_mke2fs();
        command.args(["-N", "20000"]).args(words.split(' '));
        tools::run(command.arg("-d").arg(&tree).arg(&image))?;
        compare(&image, &format!("{words}, ours"))?;
        fs::remove_file(&image)?;
    }
    torture::teardown(&tree)?;
    Ok(())
}

/// Compares an image whose journal waits with the kernel's mount of it, which replays it.
fn compare_replayed(image: &Path, about: &str) -> Result<usize> {
    let copy = image.with_extension("replayed");
    fs::copy(image, &copy)?;
    let ours = Filesystem::open(ImageFile::open(image)?)?;
    let compared = mount_rw(&copy, |root| shown::compare(&ours, root))?;
    let compared = compared.map_err(|error| format!("{about}: {error}"))?;
    let blocks = ours.replayed_blocks();
    tools::report(&format!("{about}: {blocks} blocks replayed, {compared:?}"));
    fs::remove_file(&copy)?;
    Ok(blocks)
}

/// Writes, deletes and writes again where others were, so that the journal revokes what it had.
fn churn(root: &Path, round: u32) -> Result<()> {
    let dir = root.join(format!("churn-{round}"));
    fs::create_dir(&dir)?;
    for number in 0..400 {
        fs::write(dir.join(format!("{number:0120}")), vec![b'c'; 700])?;
    }
    tools::run(Command::new("sync").arg("--file-system").arg(root))?;
    fs::remove_dir_all(&dir)?;
    // In a journal of data its first word is taken out.
    let mut escaped = 0xc03b_3998_u32.to_be_bytes().to_vec();
    escaped.resize(300_000, b'e');
    fs::write(root.join(format!("escaped-{round}")), escaped)?;
    Ok(())
}

/// What mke2fs is asked for, and the kernel at the mount.
const JOURNALS: &[(&str, &str)] = &[
    ("-t ext4", "loop,rw"),
    ("-t ext4 -b 1024", "loop,rw,data=journal"),
    (
        "-t ext4 -O ^metadata_csum,^64bit",
        "loop,rw,journal_checksum",
    ),
    ("-t ext3 -b 1024", "loop,rw,data=journal"),
    (
        "-t ext4 -O bigalloc",
        "loop,rw,data=writeback,journal_async_commit",
    ),
    (
        "-t ext4 -O inline_data,^orphan_file -I 512",
        "loop,rw,commit=1",
    ),
];

#[test]
fn a_journal_that_waits_is_read_as_the_kernel_replays_it() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    for (words, options) in JOURNALS {
        let (image, copy) = (dir.path().join("img"), dir.path().join("copy"));
        File::create(&image)?.set_len(64 << 20)?;
        let arguments: Vec<&str> = words.split(' ').collect();
        tools::mke2fs(&image, &arguments)?;
        let mount = Mount::with(&image, options)?;
        crate::check::live(mount.path())?;
        let mut replayed = 0;
        for round in 0..3 {
            churn(mount.path(), round)?;
            if round != 1 {
                tools::run(Command::new("sync").arg("--file-system").arg(mount.path()))?;
            }
            fs::copy(&image, &copy)?;
            replayed += compare_replayed(&copy, &format!("{words}, {options}, round {round}"))?;
        }
        assert!(replayed > 0, "{words}: the journal held nothing");
        drop(mount);
        fs::remove_file(&image)?;
    }
    Ok(())
}

/// The variable that names a directory of images, each of which is compared with the kernel's mount of it.
const IMAGES: &str = "MKE4FS_READ_IMAGES";

#[test]
fn images_that_are_given_are_what_the_kernel_shows() -> Result<()> {
    let Some(dir) = std::env::var_os(IMAGES) else {
        return Ok(());
    };
    let scratch = workplace()?;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let about = path.display().to_string();
        let image = scratch.path().join("img");
        fs::copy(&path, &image)?;
        if let Err(error) = compare_replayed(&image, &about) {
            wrong.push(format!("{about}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[test]
fn fast_commits_that_wait_are_refused_by_name() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let (image, copy) = (dir.path().join("img"), dir.path().join("copy"));
    File::create(&image)?.set_len(64 << 20)?;
    tools::mke2fs(&image, &["-t", "ext4", "-O", "fast_commit"])?;
    mount_rw(&image, |root| -> Result<()> {
        fs::write(root.join("first"), b"a whole commit")?;
        tools::run(Command::new("sync").arg("--file-system").arg(root))?;
        let mut file = File::create(root.join("second"))?;
        file.write_all(b"a fast one")?;
        file.sync_all()?;
        fs::copy(&image, &copy)?;
        Ok(())
    })??;
    let error = Filesystem::open(ImageFile::open(&copy)?).err();
    let error = error.ok_or("fast commits are passed over")?;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("fast commits"), "{error}");
    // Replayed, it is read.
    mount_rw(&copy, |_| ())?;
    let data = Filesystem::open(ImageFile::open(&copy)?)?.read("second")?;
    assert_eq!(data, b"a fast one");
    Ok(())
}

/// Bytes of the superblock that are changed, and what is said then.
const REFUSED: &[(&[(u64, u8)], &str)] = &[
    (
        &[(0x38, 0)],
        "no ext2, ext3 or ext4 filesystem: s_magic is 0xef00, expected 0xef53",
    ),
    (
        &[(0x60, 0x43)],
        "it has compressed files (feature compression)",
    ),
    (
        &[(0x61, 0x12)],
        "it has data in directory entries (feature dirdata)",
    ),
    (
        &[(0x63, 0x80)],
        "unknown features: s_feature_incompat has the bits 0x80000000",
    ),
    (
        &[(0x60, 0x4a)],
        "it is an external journal, which holds no files",
    ),
    (
        &[(0x60, 0x46), (0xe0, 0)],
        "the journal that waits to be replayed is on another device",
    ),
    (
        &[(0x60, 0x46), (0x5c, 0x38)],
        "the journal waits to be replayed, but there is none",
    ),
    (&[(0x18, 7)], "s_log_block_size is 7, expected 0 to 6"),
    (
        &[(0x58, 64), (0x59, 0)],
        "s_inode_size is 64, expected 128 to 1024",
    ),
];

#[test]
fn what_cannot_be_followed_is_refused_by_name() -> Result<()> {
    let dir = workplace()?;
    let image = dir.path().join("img");
    let words = "-b 1024 -O ^metadata_csum,^64bit,^flex_bg 8M";
    crate::common::making::make(words, None, &image)?;
    let sound = fs::read(&image)?;
    Filesystem::open(&sound[..])?;
    for (changes, said) in REFUSED {
        let mut bytes = sound.clone();
        for (at, value) in *changes {
            bytes[1024 + usize::try_from(*at)?] = *value;
        }
        let error = Filesystem::open(&bytes[..]).err();
        assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(*said));
    }
    let error = Filesystem::open(&sound[..1500]).err();
    let error = error.ok_or("a part of a superblock is none")?;
    assert_eq!(error.kind(), ErrorKind::NotExt);
    // A slice of a disk.
    let disk = [&[0xd1; 4096][..], &sound].concat();
    assert_eq!(Filesystem::open_at(disk, 4096)?.root()?.ino(), Ino::ROOT);
    Ok(())
}

#[test]
fn paths_stay_within_the_image() -> Result<()> {
    let dir = workplace()?;
    let (tree, image) = (dir.path().join("tree"), dir.path().join("img"));
    fs::create_dir_all(tree.join("a/b"))?;
    fs::write(tree.join("a/b/file"), b"here")?;
    for (target, name) in [
        ("a/b", "relative"),
        ("/a/b", "absolute"),
        ("../../../../a", "out"),
        ("loop", "loop"),
        ("relative/../b/file", "file"),
        ("no/such", "dangling"),
    ] {
        symlink(target, tree.join(name))?;
    }
    for number in 0..45 {
        symlink(format!("{}", number + 1), tree.join(number.to_string()))?;
    }
    crate::common::making::make("8M", Some(&tree), &image)?;
    let filesystem = Filesystem::open(ImageFile::open(&image)?)?;
    for path in [
        "a/b/file",
        "/a//b/./file",
        "relative/file",
        "absolute/file",
        "out/b/file",
        "../../a/b/file",
        "file",
        "a/../a/b/../b/file",
    ] {
        assert_eq!(filesystem.read(path)?, b"here", "{path}");
    }
    for (path, kind) in [
        ("a/c", ErrorKind::NotFound),
        ("dangling", ErrorKind::NotFound),
        ("a/b/file/", ErrorKind::NotADirectory),
        ("a/b/file/..", ErrorKind::NotADirectory),
        ("a", ErrorKind::IsADirectory),
        ("loop", ErrorKind::TooManyLinks),
        ("0", ErrorKind::TooManyLinks),
    ] {
        let error = filesystem.read(path).err();
        let error = error.ok_or_else(|| format!("{path} can be read"))?;
        assert_eq!(error.kind(), kind, "{path}: {error}");
        assert_eq!(error.path(), Some(path.as_bytes()));
    }
    assert_eq!(filesystem.read_link("loop")?, b"loop");
    assert!(filesystem.symlink_metadata("loop")?.is_symlink());
    assert!(filesystem.metadata("relative/")?.is_dir());
    let names = filesystem.read_dir("absolute")?;
    let names: Vec<_> = names
        .map(|entry| entry.map(|it| it.name().to_vec()))
        .collect();
    assert_eq!(names.len(), 1);
    Ok(())
}

/// What debugfs writes into a journal: its form, and the transactions.
const WRITTEN: &[(&str, &str)] = &[
    ("-t ext4 -O ^64bit,^metadata_csum", "jo"),
    ("-t ext4 -O ^metadata_csum", "jo"),
    ("-t ext4 -b 1024", "jo -c -v 2"),
    ("-t ext4 -O ^64bit", "jo -c -v 2"),
    ("-t ext4", "jo -c -v 3"),
];

#[test]
fn transactions_revokes_and_bad_commits_are_as_jbd2_has_them() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let magic = 0xc03b_3998_u32.to_be_bytes();
    for (words, open) in WRITTEN {
        let (image, file) = (dir.path().join("img"), dir.path().join("file"));
        let _ = fs::remove_file(&image);
        File::create(&image)?.set_len(64 << 20)?;
        fs::write(&file, vec![b'o'; 40 << 10])?;
        let mut arguments: Vec<&str> = words.split(' ').collect();
        let path = dir.path().join("tree");
        fs::create_dir_all(&path)?;
        fs::write(path.join("data"), vec![b'o'; 40 << 10])?;
        let path = path.to_string_lossy().into_owned();
        arguments.extend(["-d", &path]);
        tools::mke2fs(&image, &arguments)?;
        let blocks: Vec<u64> = {
            let filesystem = Filesystem::open(ImageFile::open(&image)?)?;
            let extents = filesystem.open_file("data")?.extents()?;
            let [extent] = extents[..] else {
                return Err("the file is in one piece".into());
            };
            (0..3).map(|step| extent.run.start.get() + step).collect()
        };
        let size = Filesystem::open(ImageFile::open(&image)?)?
            .superblock()
            .block_size();
        let size = size.bytes_usize();
        let new = |letter: u8| -> Result<String> {
            let file = dir.path().join(format!("new-{}", char::from(letter)));
            fs::write(&file, [&magic[..], &vec![letter; size - 4]].concat())?;
            Ok(file.to_string_lossy().into_owned())
        };
        let [first, second, third] = blocks[..] else {
            return Err("three blocks".into());
        };
        let requests = [
            (*open).to_owned(),
            format!("jw -b {first} {}", new(b'1')?),
            format!("jw -b {second} {}", new(b'2')?),
            format!("jw -b {third} {}", new(b'3')?),
            format!("jw -r {second}"),
            format!("jw -b {third} {}", new(b'4')?),
            "jc".to_owned(),
        ];
        tools::debugfs_write(&image, &requests)?;
        let filesystem = Filesystem::open(ImageFile::open(&image)?)?;
        let data = filesystem.read("data")?;
        let seen: Vec<u8> = data[4..].iter().step_by(size).take(3).copied().collect();
        assert_eq!(seen, b"1o4", "{words}, {open}");
        assert_eq!(data[..4], magic, "{words}, {open}");
        // debugfs leaves the bit to whoever writes into the journal of a filesystem.
        assert_eq!(filesystem.replayed_blocks(), 2, "{words}, {open}");
        compare_replayed(&image, &format!("{words}, {open}"))?;
        if open.contains("-c") {
            damaged_commit(&image, size)?;
        }
    }
    Ok(())
}

/// Over a commit with a wrong checksum neither the kernel nor the reader goes on.
fn damaged_commit(image: &Path, block: usize) -> Result<()> {
    let bytes = fs::read(image)?;
    let commit = [0xc03b_3998_u32.to_be_bytes(), 2_u32.to_be_bytes()].concat();
    let mut commits = bytes.chunks_exact(block).enumerate();
    let last = commits.rfind(|(_, bytes)| bytes.starts_with(&commit));
    let (at, _) = last.ok_or("there are commits")?;
    let file = File::options().write(true).open(image)?;
    file.write_all_at(&[0xff], u64::try_from(at * block)? + 16)?;
    let error = Filesystem::open(ImageFile::open(image)?).err();
    let error = error.ok_or("the reader goes over a damaged commit")?;
    let said = format!(
        "inode 8, block {at}: a transaction in the journal differs from what was committed"
    );
    assert_eq!(error.to_string(), said);
    assert!(Mount::writable(image).is_err(), "the kernel replays it");
    Ok(())
}

#[test]
fn an_inode_of_another_filesystem_is_refused() {
    let image = |text: &str| {
        let mut tree = mke4fs::Tree::new();
        tree.file("/d/f", text).expect("declared");
        let builder = mke4fs::Builder::new().source(tree);
        builder.to_vec().expect("it is made")
    };
    let (one, other) = (image("one"), image("other"));
    let [one, other] = [&one, &other].map(|bytes| {
        let filesystem = Filesystem::open(&bytes[..]);
        filesystem.expect("it is a filesystem")
    });
    let directory = one.metadata("d").expect("it is there");
    let inode = one.metadata("d/f").expect("it is there");
    let refused = [
        other.file(&inode).map(drop),
        other.xattrs_of(&inode).map(drop),
        other.extents(&inode).map(drop),
        other.extents_and_nodes(&inode).map(drop),
        other.link_target(&inode).map(drop),
        other.entries(&directory).map(drop),
        other.walk(&directory).map(drop),
        other.lookup(&directory, b"f").map(drop),
    ];
    for refused in refused {
        let error = refused.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Foreign);
    }
    one.file(&inode).expect("its own");
    // A group is taken by its number alone.
    let group = one.group(Group::new(0)).expect("it is there");
    let bitmap = other.block_bitmap(&group).expect("it has one too");
    let own = other.group(Group::new(0)).expect("it is there");
    assert_eq!(bitmap, other.block_bitmap(&own).expect("its own"));
}

#[test]
fn whoever_asks_to_stop_is_heard_wherever_an_image_is_read() -> Result<()> {
    let mut tree = Tree::default();
    tree.file("/dir/file", torture::pattern(300_000))?;
    let image = Builder::new()
        .environment(common::making::memory_host())
        .source(tree)
        .size_bytes(8 << 20)
        .to_vec()?;
    let cancel = Cancel::new();
    let filesystem = Filesystem::open_until(&image[..], 0, &cancel)?;
    let file = filesystem.open_file("/dir/file")?;
    let mut walk = filesystem.walk(&filesystem.root()?)?;
    assert!(walk.next().is_some_and(|entry| entry.is_ok()));
    cancel.cancel();
    let is_heard = |what: &str, error: Option<mke4fs::read::Error>| {
        let kind = error.map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::Cancelled), "{what}");
    };
    is_heard("open", Filesystem::open_until(&image[..], 0, &cancel).err());
    is_heard("metadata", filesystem.metadata("/dir").err());
    is_heard("read_dir", filesystem.read_dir("/dir").err());
    is_heard("read", filesystem.read("/dir/file").err());
    is_heard("read_at", file.read_at(0, &mut [0; 100]).err());
    let rest = walk.find_map(std::result::Result::err);
    is_heard("walk", rest);
    is_heard(
        "inodes",
        filesystem.inodes().find_map(std::result::Result::err),
    );
    let of_export = |what: &str, ended: std::result::Result<(), ExportError>| match ended {
        Err(ExportError::Read(error)) => is_heard(what, Some(error)),
        other => panic!("{what}: {other:?}"),
    };
    let listed = list::list(&filesystem, b"/", list::Depth::All, &mut |_| Ok(()));
    of_export("list", listed);
    of_export(
        "tar",
        tar::write(&filesystem, &[], &mut Vec::new()).map(|_| ()),
    );
    Ok(())
}
