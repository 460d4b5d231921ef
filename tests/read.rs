//! Given images that mke2fs, the kernel and this crate wrote, proves that the reader gives what the
//! kernel shows of them, and of damaged ones nothing that is wrong; never judges how it is built.

#![cfg(all(target_os = "linux", feature = "cli"))]

use crate::common;

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use common::awkward;
use common::making::{CLOCK, workplace};
use common::mount::{Scratch, mount_ro};
use common::shown::{self, Compared};
use common::tools::{self, Need, Result, Which, ready};
use mke4fs::read::{Filesystem, ImageFile};

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
    ("-t ext2 -b 1024", false),
    ("-t ext2 -b 4096 -I 128", true),
    ("-t ext3 -b 2048", false),
    ("-t ext4 -b 1024", false),
    ("-t ext4 -b 2048 -O ^64bit", true),
    ("-t ext4 -b 4096", true),
    ("-t ext4 -b 4096 -O ^metadata_csum,uninit_bg", true),
    ("-t ext4 -b 4096 -O bigalloc", true),
    ("-t ext4 -b 1024 -O bigalloc -C 8192", false),
    ("-t ext4 -b 4096 -O inline_data -I 512", true),
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
    let source = Scratch::new(1 << 30)?;
    let tree = source.path().join("tree");
    let options = awkward::Options {
        longest_symlink: 1023,
        ..awkward::Options::default()
    };
    awkward::build(&tree, &options)?;
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
            }
        }
        if holds_all {
            for name in ["tib", "tib-no-data"] {
                fs::remove_file(tree.join("sparse").join(name))?;
            }
        }
    }
    awkward::teardown(&tree)?;
    Ok(())
}

/// A command of ours, called as mke2fs.
fn ours() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command
        .arg0("mke2fs")
        .args(["-q", "-F"])
        .env("MKE2FS_CONFIG", "/no/such/file")
        .env("SOURCE_DATE_EPOCH", CLOCK.to_string())
        .stdin(Stdio::null());
    command
}

#[test]
fn what_we_fill_is_what_the_kernel_shows() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let source = Scratch::new(1 << 30)?;
    let tree = source.path().join("tree");
    awkward::build(&tree, &awkward::Options::default())?;
    let dir = workplace()?;
    for words in [
        "-t ext4 -b 4096",
        "-t ext4 -b 4096 -O inline_data,quota,project,ea_inode -I 1024",
        "-t ext3 -b 4096",
        "-t ext4 -b 4096 -O bigalloc,meta_bg,^resize_inode,^metadata_csum",
    ] {
        let image = dir.path().join("img");
        File::create(&image)?.set_len(700 << 20)?;
        let mut command = ours();
        command.args(["-N", "20000"]).args(words.split(' '));
        tools::run(command.arg("-d").arg(&tree).arg(&image))?;
        compare(&image, &format!("{words}, ours"))?;
        fs::remove_file(&image)?;
    }
    awkward::teardown(&tree)?;
    Ok(())
}
