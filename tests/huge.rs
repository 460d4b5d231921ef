//! Given a configuration that asks for huge files, proves that e2fsck and our own checker find them
//! sound, and that what is not made is refused before anything is written. That their bytes are those
//! of mke2fs, `tests/golden.rs` proves.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::making::{self, CLOCK};
use common::tools::{self, Need, Result, Which, ready};

const CONF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/golden/huge.conf");

fn run(name: &str, dir: &Path, words: &str) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command
        .arg0(name)
        .current_dir(dir)
        .env("MKE2FS_CONFIG", CONF)
        .env("SOURCE_DATE_EPOCH", CLOCK.to_string())
        .stdin(Stdio::null())
        .args(words.split_whitespace());
    Ok(command.output()?)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn huge_files_are_sound() -> Result<()> {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return Ok(());
    }
    let dir = making::workplace()?;
    for words in [
        "-t ext4 -T one -b 1024 img 5G",
        "-t ext4 -T store img 64M",
        "-t ext4 -T store -I 128 -E root_selinux=u:object_r:rootfs:s0 img 64M",
        "-t ext4 -T full -b 1024 img 64M",
        "-t ext4 -T many -O meta_bg,^resize_inode,mmp img 700M",
    ] {
        let image = dir.path().join("img");
        let _ = fs::remove_file(&image);
        let made = run("mke2fs", dir.path(), &format!("-q {words}"))?;
        assert!(made.status.success(), "{words}: {}", said(&made));
        tools::e2fsck(&image, Which::Reference).map_err(|error| format!("{words}: {error}"))?;
        let checked = run("mke4fs", dir.path(), "--check img")?;
        assert!(checked.status.success(), "{words}: {}", said(&checked));
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let dir = making::workplace()?;
    fs::create_dir(dir.path().join("tree"))?;
    fs::write(dir.path().join("tree/file"), "content")?;
    for (words, why) in [
        ("-t ext4 -T one -d tree img 64M", "without other content"),
        (
            "-t ext4 -T store img 16M",
            "No space left on device while creating huge files",
        ),
        ("-t ext4 -T many -N 100 img 64M", "inodes"),
    ] {
        let made = run("mke2fs", dir.path(), &format!("-q {words}"))?;
        assert_eq!(made.status.code(), Some(1), "{words}: {}", said(&made));
        assert!(said(&made).contains(why), "{words}: {}", said(&made));
        assert!(!dir.path().join("img").exists(), "{words}");
    }
    Ok(())
}
