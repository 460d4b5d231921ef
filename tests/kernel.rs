//! Given images with features that this machine's kernel may lack or only reads, proves that a kernel
//! which has them finds names whatever their case, goes on counting quota, and leaves what it wrote
//! sound; never by mounting here.

#![cfg(target_os = "linux")]

use crate::common;

use std::path::Path;

use common::tools::{self, Need, Result, Which, ready};
use common::{machine, making};
use mke4fs::source::{Declared, Source, SourceError};
use mke4fs::tree::{Content, Flags, Metadata, NodeId, Tree};
use mke4fs::{Builder, Plan};

const NEEDS: &[Need] = &[Need::E2fsprogs(Which::Reference), Need::Machine];

/// `EXT4_CASEFOLD_FL`.
const CASEFOLD: u32 = 0x4000_0000;

/// Enough names for an htree in blocks of 4 KiB.
const NAMES: u32 = 600;

/// A directory `folder` of [`NAMES`] files, and one of some bytes for each of a few owners.
struct Folder {
    flags: u32,
}

impl Source for Folder {
    fn declare(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
    ) -> std::result::Result<Declared, SourceError> {
        let metadata = Metadata::default().with_permissions(0o755);
        let folding = metadata.with_flags(Flags::of(self.flags));
        let folder = tree.directory_at(at, b"folder", folding)?;
        for number in 0..NAMES {
            let name = format!("Grüße an {number:04}");
            let content = Content::from_bytes(name.as_bytes());
            tree.file_at(folder, name.as_bytes(), metadata, content)?;
        }
        for uid in 1000..1003 {
            let owned = metadata.with_owner(uid, uid + 1000);
            let name = format!("of-{uid}");
            tree.file_at(at, name.as_bytes(), owned, Content::from_bytes([7; 10_000]))?;
        }
        Ok(Declared::default())
    }
}

fn build(words: &str, flags: u32, image: &Path) -> Result<Plan> {
    let builder = Builder::from_options(making::options(words)?).environment(making::memory_host());
    let plan = builder.source(Folder { flags }).plan()?;
    making::write(&plan, image)?;
    tools::e2fsck(image, Which::Reference)?;
    Ok(plan)
}

#[test]
fn names_are_found_whatever_their_case() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let image = dir.path().join("image");
    build("-O casefold 64M", CASEFOLD, &image).expect("it is built");
    let script = "mount -t ext4 /dev/vda /mnt; cd /mnt/folder\n\
        cat 'GRÜSSE AN 0000' 'grüsse an 0234' 'Grüße an 0599' >/dev/null\n\
        cat 'GRÜßE AN 0177'; echo; ls | wc -l\n\
        ! mkdir 'grüsse AN 0415' 2>/dev/null; rm 'GRÜSSE AN 0415'; mkdir 'grüsse AN 0415'\n\
        i=0; while [ $i -lt 100 ]; do >\"Ärger $i\"; i=$((i + 1)); done\n\
        [ -e 'ÄRGER 99' ]; ls | wc -l; cd /; umount /mnt";
    let said = machine::run(&[&image], script).expect("the kernel finds them");
    for line in ["Grüße an 0177", "600", "700"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    tools::e2fsck(&image, Which::Reference).expect("it is sound");
}

#[test]
fn quota_goes_on_from_what_was_counted() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let image = dir.path().join("image");
    build("-O quota,project 64M", 0, &image).expect("it is built");
    let script = "mount -t ext4 -o usrquota,grpquota,prjquota /dev/vda /mnt\n\
        grep ' /mnt ' /proc/mounts\n\
        rm /mnt/of-1000; cp -p /mnt/of-1001 /mnt/second; chown 1001:2001 /mnt/second\n\
        mkdir /mnt/new; dd if=/dev/zero of=/mnt/new/file bs=4096 count=10 2>/dev/null\n\
        chown -R 4242:4243 /mnt/new; umount /mnt";
    let said = machine::run(&[&image], script).expect("the kernel counts");
    let mounted = said.lines().find(|line| line.contains(" /mnt "));
    assert!(mounted.is_some_and(|line| line.contains(" rw,")), "{said}");
    tools::e2fsck(&image, Which::Reference).expect("its totals are those of its files");
    let listed = tools::debugfs(&image, &["list_quota user", "list_quota group"]);
    let listed = listed.expect("debugfs lists them");
    let row = |id: &str| {
        let mut rows = listed.lines().map(|line| line.split_whitespace());
        rows.find(|row| row.clone().next() == Some(id))
            .map(|row| row.map(str::to_owned).collect::<Vec<_>>())
    };
    // Bytes stand in the second column, inodes in the fifth.
    for (id, bytes, inodes) in [
        ("1001", "20480", "2"),
        ("4242", "41984", "2"),
        ("4243", "41984", "2"),
    ] {
        let row = row(id).unwrap_or_else(|| panic!("{id}: {listed}"));
        assert!(row.contains(&bytes.to_owned()), "{row:?}");
        assert!(row.contains(&inodes.to_owned()), "{row:?}");
    }
}

/// Mounted, changed and unmounted: by a kernel that takes every feature but blocks above 4 KiB.
#[test]
fn what_is_mounted_and_changed_stays_sound() {
    if !ready(NEEDS) {
        return;
    }
    let dir = making::workplace().expect("a directory");
    let rows = [
        "",
        "-b 1024",
        "-b 2048 -O meta_bg,^resize_inode",
        "-O ^has_journal,^extent,^64bit,^metadata_csum",
        "-O bigalloc",
        "-O inline_data",
        "-O ea_inode,large_dir",
        "-O quota",
        "-O casefold,quota,project",
        "-b 4096 -O encrypt,verity,stable_inodes",
        "-O fast_commit",
        "-O mmp",
        "-O sparse_super2 -E num_backup_sb=1",
        "-I 1024 -O ^flex_bg",
    ];
    let images: Vec<_> = (0..rows.len())
        .map(|number| dir.path().join(number.to_string()))
        .collect();
    let disks: Vec<&Path> = images.iter().map(|image| image.as_path()).collect();
    for (words, image) in rows.iter().zip(&disks) {
        let built = build(&format!("{words} 128M"), 0, image);
        built.unwrap_or_else(|error| panic!("{words}: {error}"));
    }
    let script = "for disk in /dev/vd?; do\n\
        mount -t ext4 $disk /mnt; cp -r /mnt/folder /mnt/copy; ls /mnt/copy | wc -l\n\
        rm -r /mnt/folder; mv /mnt/copy /mnt/folder; ln -s x /mnt/link; mkfifo /mnt/pipe\n\
        dd if=/dev/zero of=/mnt/large bs=65536 count=100 2>/dev/null; sync\n\
        ln /mnt/large /mnt/larger; rm /mnt/large; umount /mnt; done";
    let said = machine::run(&disks, script).expect("the kernel takes them");
    let whole = said.lines().filter(|line| *line == "600").count();
    assert_eq!(whole, rows.len(), "{said}");
    for (words, image) in rows.iter().zip(&disks) {
        let checked = tools::e2fsck(image, Which::Reference);
        checked.unwrap_or_else(|error| panic!("{words}: {error}"));
    }
}
