//! Given images, proves that the verbs give what the kernel shows of them, to anybody and without help;
//! never looks into the code.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use common::attrs::{Difference, Field, Options, ROOT, RootRule, Snapshot};
use common::making::{SEED_TEXT, UUID_TEXT, torture_tree};
use common::mount::mount_ro;
use common::place::Place;
use common::tools::{self, Need, Result, Which, ready};
use common::torture;
use mke4fs::raw::units::Group;
use mke4fs::read::Filesystem;

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::Reference),
    Need::Program("bsdtar"),
];

/// Flags that leave nothing to chance.
fn fixed() -> String {
    format!("-U {UUID_TEXT} -E hash_seed={SEED_TEXT} --keep-root")
}

/// What differs in `found`, but for what `ignored` says and for sockets.
fn differences(expected: &Snapshot, found: &Path, ignored: &[Field]) -> Result<Vec<Difference>> {
    let options = Options {
        ignore: ignored.iter().copied().collect::<BTreeSet<_>>(),
        root: RootRule::Kept,
        ..Options::default()
    };
    let mut differences = expected.compare(found, &options)?;
    let is_socket = |path: &[u8]| {
        let entry = expected.entries.get(path);
        entry.is_some_and(|entry| entry.kind.to_string() == "s")
    };
    differences.retain(|it| it.field != Field::Missing || !is_socket(&it.path));
    Ok(differences)
}

fn assert_none(differences: &[Difference], about: &str) {
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{about}:\n{}", lines.join("\n"));
}

/// Whether libarchive (of Debian 12) does not restore it, whoever wrote the archive: fractions of seconds
/// before 1970, whose sign it loses; ids above 2^31 in ACLs; the mtime of the directory that it was called in.
fn is_beyond_libarchive(difference: &Difference) -> bool {
    let path = String::from_utf8_lossy(&difference.path);
    let is_old = path.starts_with("times/") && (path.ends_with("-1901") || path.ends_with("-1969"));
    match difference.field {
        Field::Mtime => path == "." || is_old,
        Field::Atime => is_old,
        Field::Acl => {
            let largest = difference.expected.replace("feffffff", "ffffff7f");
            difference.expected != largest && largest == difference.found
        }
        _ => false,
    }
}

#[test]
fn others_unpack_what_the_kernel_shows() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let (source, tree) = torture_tree(4095)?;
    let place = Place::new();
    let line = format!("mke4fs -q -d {} --keep-root image", tree.display());
    place.make(&line);
    let written = place.shell("mke4fs tar image > image.tar; mke4fs tar image | cmp - image.tar");
    let said = String::from_utf8_lossy(&written.stderr);
    assert!(written.status.success(), "{said}");
    assert!(
        said.contains("5 sockets are not in the archive (first: links/elsewhere/socket-3): "),
        "{said}"
    );
    torture::teardown(&tree)?;
    // GNU tar restores no atime, and no flags.
    let gnu = "tar --extract --preserve-permissions --same-owner --numeric-owner --acls --xattrs \
               --xattrs-include='*' --warning=no-unknown-keyword --warning=no-timestamp";
    let bsd = "bsdtar -x -p --numeric-owner --acls --xattrs --fflags";
    let cases: [(&str, &[Field]); 2] = [
        (gnu, &[Field::Ctime, Field::Atime, Field::Flags]),
        (bsd, &[Field::Ctime]),
    ];
    for (number, (program, ignored)) in cases.into_iter().enumerate() {
        let unpacked = source.path().join(number.to_string());
        fs::create_dir(&unpacked)?;
        let line = format!(
            "LC_ALL=C.UTF-8 {program} -f image.tar -C {}",
            unpacked.display()
        );
        let output = place.shell(&line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        let mut expected = mount_ro(&place.path("image"), Snapshot::take)??;
        // It is empty, and each filesystem has its own: no archive holds it.
        expected.entries.remove(&b"lost+found"[..]);
        if let Some(root) = expected.entries.get_mut(ROOT) {
            root.nlink -= 1;
        }
        let mut found = differences(&expected, &unpacked, ignored)?;
        found.retain(|difference| program != bsd || !is_beyond_libarchive(difference));
        assert_none(&found, program);
        torture::teardown(&unpacked)?;
    }
    Ok(())
}

#[test]
fn an_image_comes_back_from_its_archive_and_from_itself() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let (_source, tree) = torture_tree(1023)?;
    let place = Place::new();
    place.shell(&format!("find {} -type s -delete", tree.display()));
    for words in [
        "",
        "-O inline_data,ea_inode -I 1024",
        "-b 1024",
        "-t ext2 -b 4096",
    ] {
        let flags = format!("{words} {}", fixed());
        let line = format!(
            "export SOURCE_DATE_EPOCH=1700000000; rm -f image*; mke4fs -q -d {} {flags} image; \
             mke4fs tar image > image.tar; mke4fs -q -d image.tar {flags} image-2; cmp image image-2; \
             mke4fs -q -d image {flags} image-3; cmp image image-3; mke4fs check -q image",
            tree.display()
        );
        place.make(&line);
    }
    torture::teardown(&tree)?;
    Ok(())
}

/// A place with an image of a few files, called `image`.
fn small() -> Place {
    let place = Place::new();
    place.file("root/etc/motd", "Welcome.\n");
    place.file("root/etc/group", "root:x:0:\n");
    place.file("root/usr/deep/er/file", "deep\n");
    let line = "ln -s ../etc root/usr/etc; mknod root/null c 1 3; ln root/etc/motd root/hard; \
                touch -d 2023-11-14T22:13:20.000000007Z root/etc/motd; \
                mke4fs -q -d root image";
    place.make(line);
    place
}

fn said(place: &Place, line: &str) -> String {
    let output = place.shell(line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    assert!(errors.is_empty(), "{line}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn names_are_listed_and_files_shown() {
    if !ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = small();
    for (line, expected) in [
        ("mke4fs ls image", "etc\nhard\nlost+found\nnull\nusr\n"),
        ("mke4fs ls image usr/etc/", "group\nmotd\n"),
        ("mke4fs ls image /etc/motd", "/etc/motd\n"),
        (
            "mke4fs ls -R image usr",
            "deep\ndeep/er\ndeep/er/file\netc\n",
        ),
        ("mke4fs cat image /usr/etc/motd", "Welcome.\n"),
        (
            "mke4fs tar image usr/deep | tar t",
            "usr/deep/\nusr/deep/er/\nusr/deep/er/file\n",
        ),
        (
            "mke4fs tar image /hard etc/motd | tar tv | cut -c1",
            "-\nh\n",
        ),
        ("mke4fs check image", "image: no errors found\n"),
        ("mke4fs check -q image", ""),
    ] {
        assert_eq!(said(&place, line), expected, "{line}");
    }
    let long = said(&place, "mke4fs ls -l image; mke4fs ls -l image etc");
    for expected in [
        "crw-r--r--   1     0     0       1, 3 2",
        "-rw-r--r--   2     0     0          9 2023-11-14T22:13:20.000000007Z hard\n",
        "drwxr-xr-x   3     0     0       4096 2",
    ] {
        assert!(long.contains(expected), "{expected}: {long}");
    }
    let line = said(&place, "mke4fs ls --json image hard");
    let json: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(json["mtime"], "2023-11-14T22:13:20.000000007Z");
    assert_eq!((&json["links"], &json["size"]), (&2.into(), &9.into()));
}

#[test]
fn what_cannot_be_done_is_said() {
    if !ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = small();
    place.file("text", &"no image\n".repeat(500));
    place.file("empty", "");
    let image = place.path("rootless");
    place.make("mke4fs -q -t ext2 -b 1024 rootless 4M");
    let mut bytes = fs::read(&image).expect("it is there");
    let at = {
        let filesystem = Filesystem::open(&bytes[..]).expect("it is sound");
        let group = filesystem.group(Group::new(0)).expect("it is sound");
        // Inode 2 follows inode 1.
        let size = filesystem.superblock().inode_size();
        usize::try_from(group.inode_table().get() * 1024).expect("it is small") + size
    };
    bytes[at..at + 2].copy_from_slice(&0o100_644_u16.to_le_bytes());
    fs::write(&image, bytes).expect("it can be written");
    for (line, expected) in [
        (
            "mke4fs ls image nowhere",
            "mke4fs ls: image: nowhere: no such file or directory\n",
        ),
        (
            "mke4fs cat image Grüße/$(printf '\\377')",
            "mke4fs cat: image: Grüße/\\xff: no such file or directory\n",
        ),
        ("mke4fs cat image etc", "mke4fs cat: image: etc: inode "),
        (
            "mke4fs tar rootless",
            "mke4fs tar: rootless: /: not a directory\n",
        ),
        (
            "mke4fs ls rootless",
            "mke4fs ls: rootless: /: not a directory\n",
        ),
        (
            "mke4fs tar image etc/..",
            "mke4fs tar: image: invalid path 'etc/..': ",
        ),
        ("mke4fs ls missing", "mke4fs ls: cannot open missing: "),
        ("mke4fs ls text", "mke4fs ls: text: "),
        (
            "mke4fs ls image#1",
            "mke4fs ls: image: it has no partition table, neither GPT nor MBR\n",
        ),
        (
            "mke4fs ls image@4k",
            "mke4fs ls: image: no ext2, ext3 or ext4 filesystem",
        ),
        (
            "mke4fs ls empty",
            "mke4fs ls: empty: no ext2, ext3 or ext4 filesystem: there are 0 bytes, and a superblock needs 2048\n",
        ),
        (
            "mke4fs grow image@18446744073709551615",
            "mke4fs grow: image: no ext2, ext3 or ext4 filesystem: there are 0 bytes, ",
        ),
        (
            "head -c 20000 image > cut; mke4fs grow cut",
            "mke4fs grow: cut: it was cut off: the filesystem has ",
        ),
        (
            "mke4fs -q --format qcow2 disk 8M; mke4fs ls disk",
            "mke4fs ls: disk holds a qcow2 image and no ext2, ext3 or ext4 filesystem; convert it to a raw image first\n",
        ),
        (
            "mke4fs grow disk 1G",
            "mke4fs grow: disk holds a qcow2 image and no ext2, ext3 or ext4 filesystem; convert it ",
        ),
        (
            "(head -c 450 /dev/zero; printf '\\203'; head -c 59 /dev/zero; printf '\\125\\252'; head -c 9000 \
             /dev/zero) > mbr; mke4fs check mbr",
            "mke4fs check: mbr holds a partition table (MBR) and no ext2, ext3 or ext4 filesystem; name a \
             partition, such as mbr#1\n",
        ),
        (
            "mke4fs -d . nowhere/image",
            "mke4fs: cannot open nowhere/image for writing: No such file or directory\n",
        ),
        (
            "mke4fs ls -E offset=4k image",
            "mke4fs ls: invalid -E 'offset=4k': ",
        ),
        (
            "mke4fs ls -E offset=1 image@1",
            "mke4fs ls: the offset is given twice",
        ),
    ] {
        let output = place.shell(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.starts_with(expected), "{line}: {said}");
    }
    // With `./` it is a file, and by another name no verb.
    place.make("mke4fs -q ./ls 8M; mke4fs check -q ./ls; cp ls image");
    place.make("ln -s \"$(command -v mke4fs)\" mke2fs; ./mke2fs -q -F check 8M; cp check image");
}

#[test]
fn nobody_who_listens_is_no_trouble() -> Result<()> {
    if !ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) {
        return Ok(());
    }
    let place = small();
    for verb in [
        &["ls", "-R", "image"][..],
        &["cat", "image", "etc/motd"],
        &["tar", "image"],
        &["check", "image"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
        child.args(verb).current_dir(place.path("."));
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = child.stdout(writer).stderr(Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(1), ""), "{verb:?}");
    }
    Ok(())
}

#[test]
fn partitions_are_found_by_their_numbers() {
    if !ready(&[
        Need::Root,
        Need::E2fsprogs(Which::Reference),
        Need::Program("sfdisk"),
    ]) {
        return;
    }
    let place = small();
    let gpt = "label: gpt\nstart=4096, size=2048\nstart=8192, size=65536\n";
    let mbr = "label: dos\n1: start=2048, size=2048\n2: start=4096, size=262144, type=5\n\
               5: start=6144, size=2048\n6: start=16384, size=65536\n";
    for (table, number, sector) in [(gpt, 2, 8192), (mbr, 6, 16384)] {
        place.file("table", table);
        let line = format!(
            "rm -f disk; truncate -s 160M disk; sfdisk -q disk < table; \
             dd if=image of=disk bs=512 seek={sector} conv=notrunc,sparse status=none"
        );
        assert!(place.shell(&line).status.success(), "{line}");
        let bytes = sector * 512;
        for name in [
            format!("disk#{number}"),
            format!("disk@{bytes}"),
            format!("disk@{}k", bytes / 1024),
            format!("-E offset={bytes} disk"),
        ] {
            let line = format!("mke4fs cat {name} etc/motd; mke4fs check -q {name}");
            assert_eq!(said(&place, &line), "Welcome.\n", "{name}");
        }
        let line = format!("mke4fs -q -d ext4:disk#{number} image-2; mke4fs cat image-2 hard");
        assert_eq!(said(&place, &line), "Welcome.\n");
        for other in [1, 3, 7, 9] {
            let output = place.shell(&format!("mke4fs ls disk#{other}"));
            assert_eq!(output.status.code(), Some(1), "{table} {other}");
            let missing = format!("it has no partition {other}\n");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(other == 1 || said.ends_with(&missing), "{said}");
        }
        // A file that is called so as a whole is meant.
        let line = format!(
            "cp image disk#{number}; dd if=/dev/zero of=disk bs=1M count=1 conv=notrunc status=none"
        );
        assert!(place.shell(&line).status.success());
        let line = format!("mke4fs cat disk#{number} hard; rm disk#{number}");
        assert_eq!(said(&place, &line), "Welcome.\n");
    }
}

#[test]
fn anybody_can_without_help() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let place = small();
    place.file("overlay/etc/motd", "Overlaid.\n");
    place.for_user();
    let mke4fs = place.path("bin/mke4fs");
    let run = |arguments: &[&str], output: Option<&str>| -> Result<String> {
        let mut command = Command::new("unshare");
        command
            .args([
                "--net",
                "setpriv",
                "--reuid",
                "1000",
                "--regid",
                "1000",
                "--clear-groups",
            ])
            .args(["env", "-i", "PATH="])
            .arg(&mke4fs)
            .args(arguments)
            .current_dir(place.path("."));
        if let Some(output) = output {
            command.stdout(File::create(place.path(output))?);
        }
        tools::run(&mut command)
    };
    run(
        &[
            "-q", "-d", "image", "-d", "overlay", "--size", "+1G", "vm.img",
        ],
        None,
    )?;
    run(
        &[
            "-q",
            "-d",
            "vm.img",
            "--size",
            "min",
            "-O",
            "^has_journal",
            "small.img",
        ],
        None,
    )?;
    let size = |name: &str| fs::metadata(place.path(name)).map(|found| found.len());
    assert!(size("vm.img")? > 1 << 30);
    assert!(size("small.img")? < 4 << 20);
    for image in ["vm.img", "small.img"] {
        tools::e2fsck(&place.path(image), Which::Reference)?;
        assert_eq!(run(&["cat", image, "etc/motd"], None)?, "Overlaid.\n");
        assert_eq!(run(&["cat", image, "hard"], None)?, "Welcome.\n");
        assert!(run(&["ls", "-lR", image], None)?.contains("usr/deep/er/file"));
        assert!(run(&["check", image], None)?.contains("no errors found"));
        run(&["tar", image], Some("archive"))?;
        let names = place.shell("tar tf archive");
        assert!(String::from_utf8_lossy(&names.stdout).contains("usr/deep/er/file\n"));
        assert!(run(&["map", image], None)?.starts_with("<svg "));
        assert!(run(&["diff", image, "vm.img"], None)?.is_empty());
    }
    assert!(run(&["grow", "small.img", "40M"], None)?.contains(" to 40 MiB ("));
    tools::e2fsck(&place.path("small.img"), Which::Reference)?;
    Ok(())
}
