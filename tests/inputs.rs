//! Given an output that the run reads as well, by whatever name, or an undo file that another user put in
//! the way, proves that it is refused and stays as it was.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::os::unix::fs::{chown, symlink};

use common::place::Place;
use common::tools::{Need, ready};

const BOTH: &str = "and the output; name another output\n";

/// A place with an archive, a manifest, a device table, a configuration and an image layout; as mkfs.ext4,
/// the command is there by that name.
fn place() -> Place {
    let place = Place::new();
    place.file("root/file", "in the root");
    place.file("some/file", "somewhere else");
    place.file("manifest", "./file mode=0600\n");
    place.file("naming", "./new type=file mode=0600 contents=some/file\n");
    place.file("table", "/dev d 755 0 0 - - - - -\n");
    place.file(
        "conf",
        "[defaults]\n\tblocksize = 4096\n[fs_types]\n\text4 = {\n\t\tinode_ratio = 16384\n\t}\n",
    );
    place.file("layout/blobs/sha256/0", "a layer");
    place.file("layout/index.json", "{}");
    place.file("layout/notes", "of ours");
    let made = place.shell("tar -C root -cf tree.tar .; ln tree.tar hard; mkdir below");
    assert!(made.status.success());
    symlink("tree.tar", place.path("soft")).expect("a link");
    symlink(env!("CARGO_BIN_EXE_mke4fs"), place.path("mkfs.ext4")).expect("a link");
    place
}

#[test]
fn an_output_that_is_read_is_refused() {
    let place = place();
    for (line, what, output) in [
        (
            "-d tree.tar tree.tar",
            "tree.tar is both a source",
            "tree.tar",
        ),
        (
            "-d ./below/../tree.tar tree.tar",
            "is both a source",
            "tree.tar",
        ),
        ("-d hard tree.tar 8M", "is both a source", "tree.tar"),
        ("-d soft tree.tar", "is both a source", "tree.tar"),
        ("-d tree.tar soft", "is both a source", "tree.tar"),
        ("-d root -d tree.tar hard", "is both a source", "tree.tar"),
        ("-d - tree.tar < tree.tar", "is both a source", "tree.tar"),
        ("-d - tree.tar 8M < hard", "is both a source", "tree.tar"),
        (
            "-d /dev/stdin tree.tar < tree.tar",
            "is both a source",
            "tree.tar",
        ),
        (
            "-d docker-archive:tree.tar tree.tar",
            "a part of a source",
            "tree.tar",
        ),
        (
            "-d oci-archive:hard:x tree.tar",
            "a part of a source",
            "tree.tar",
        ),
        (
            "-d oci:layout layout/blobs/sha256/0",
            "a part of a source",
            "layout/blobs/sha256/0",
        ),
        (
            "-d oci:layout layout/index.json",
            "a part of a source",
            "layout/index.json",
        ),
        (
            "-d root --manifest manifest manifest 8M",
            "manifest is both a manifest",
            "manifest",
        ),
        (
            "-d root --manifest naming some/file 8M",
            "some/file is both named by a manifest",
            "some/file",
        ),
        (
            "-d root --device-table table table 8M",
            "table is both a device table",
            "table",
        ),
        (
            "-d root --copy some/file:/in/ some/file 8M",
            "is both a file to copy",
            "some/file",
        ),
        ("-z conf conf 8M", "conf is both the undo file", "conf"),
    ] {
        for program in ["mke4fs -F", "./mkfs.ext4 -F"] {
            let line = format!("{program} -q {line}");
            let before = fs::read(place.path(output)).expect("it is there");
            let refused = place.shell(&line);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(1), "{line}: {said}");
            assert!(
                said.contains(what) && said.ends_with(BOTH),
                "{line}: {said}"
            );
            assert_eq!(said.lines().count(), 1, "{line}: {said}");
            let after = fs::read(place.path(output)).expect("it is there");
            assert!(before == after, "{line}: it was written to");
        }
    }
    for program in ["mke4fs", "./mkfs.ext4 -F"] {
        let line = format!("export MKE2FS_CONFIG=conf; {program} -q conf 8M");
        let before = fs::read(place.path("conf")).expect("it is there");
        let said = place.shell(&line);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("conf is both the configuration"), "{said}");
        assert!(said.ends_with(BOTH), "{said}");
        assert_eq!(fs::read(place.path("conf")).expect("it is there"), before);
    }
}

#[test]
fn an_output_beside_what_is_read_is_not() {
    if !ready(&[Need::Root]) {
        return;
    }
    let place = place();
    // A link is copied as one, a file of the source is left out, and a copy is another file.
    symlink("../image", place.path("some/link")).expect("a link");
    for line in [
        "cp tree.tar image; mke4fs -q -F -d tree.tar image 8M",
        "cp tree.tar image; mke4fs -q -F -d - image 8M < tree.tar",
        "mke4fs -q -d root --copy some/link:/link image 8M",
        "mke4fs -q -d root --manifest manifest --device-table table image 8M",
        "mke4fs -q -d root --manifest naming image 8M",
        "MKE2FS_CONFIG=conf mke4fs -q image 8M",
        "rm image; mke4fs -q -z undo -d root image 8M",
    ] {
        place.make(line);
    }
}

#[test]
fn a_device_by_another_name_is_the_same() {
    if !ready(&[Need::Root]) {
        return;
    }
    let place = place();
    let line = "truncate -s 4M tree.tar; disk=$(losetup -f --show tree.tar); \
                trap 'losetup -d $disk' EXIT; \
                mknod alias b $((0x$(stat -c %t $disk))) $((0x$(stat -c %T $disk))); \
                mke4fs -q -d alias $disk 2>&1 || true; mke4fs -q -d $disk alias 2>&1 || true";
    let before = fs::read(place.path("tree.tar")).expect("it is there");
    let said = place.shell(line);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(
        said.matches("is both a source and the output").count(),
        2,
        "{said}"
    );
    let after = fs::read(place.path("tree.tar")).expect("it is there");
    assert!(after.starts_with(&before), "it was written to");
}

#[test]
fn the_device_of_the_journal_is_not_the_output() {
    if !ready(&[Need::Root]) {
        return;
    }
    let place = place();
    let line = "mke4fs -q -O journal_dev journal 8M; cp journal before; \
                disk=$(losetup -f --show journal); trap 'losetup -d $disk' EXIT; \
                mke4fs -q -F -F -J device=$disk $disk 2>&1 || true; cmp journal before";
    let output = place.shell(line);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("is both the journal device and the output"),
        "{said}"
    );
    assert!(output.status.success(), "it was written to");
}

#[test]
fn an_undo_file_of_another_in_a_shared_directory_is_refused() {
    if !ready(&[Need::Root]) {
        return;
    }
    let place = place();
    place.directory("shared");
    place.file("secret", "");
    chown(place.path("shared"), Some(4321), None).expect("root may");
    let chmod = place.shell("chmod 1777 shared; head -c 8M /dev/urandom > image; cp image before");
    assert!(chmod.status.success());
    place.file("shared/theirs", "");
    symlink("../secret", place.path("shared/link")).expect("a link");
    place.owned("shared/theirs", 1234, 1234);
    place.owned("shared/link", 1234, 1234);
    place.file("shared/ours", "");
    let same = "cmp image before && test ! -s secret && test ! -s shared/theirs";
    for undo in ["shared/theirs", "shared/link"] {
        for program in ["mke4fs -q -F", "./mkfs.ext4 -q -F"] {
            let line = format!("{program} -z {undo} image && exit 9; {same}");
            let refused = place.shell(&line);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(0), "{line}: {said}");
            let needed = "belongs to another user, in a directory that anybody can write to; name another file";
            assert!(said.trim_end().ends_with(needed), "{line}: {said}");
        }
    }
    // Whose directory it is may put files there, and so may whoever runs it.
    place.owned("shared/theirs", 4321, 4321);
    for undo in ["shared/theirs", "shared/ours", "shared/new", "undo"] {
        place.make(&format!(
            "cp before image; mke4fs -q -F -z {undo} image; test -s {undo}"
        ));
    }
}
