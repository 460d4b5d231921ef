//! Given an output with old content and an undo file, proves that e2undo restores every byte of it,
//! and that the words and the image are those of mke2fs with the same undo file.

#![cfg(target_os = "linux")]

use crate::common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::bytes::Pair;
use common::making::{self, CLOCK, SEED_TEXT, UUID_TEXT};
use common::tools::{self, Need, Result, Which, ready};

/// What an undo file is needed for, and its restoring.
const NEEDS: [Need; 2] = [Need::E2fsprogs(Which::Reference), Need::Program("e2undo")];

/// Whose program makes the image.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Ours,
    Reference,
}

/// Runs a program as mke2fs in `dir`, with nothing of the host's configuration.
fn mke2fs(whose: Whose, dir: &Path, words: &str) -> Result<Command> {
    let mut command = match whose {
        Whose::Ours => Command::new(env!("CARGO_BIN_EXE_mke4fs")),
        Whose::Reference => tools::command(Which::Reference, "mke2fs")?,
    };
    command
        .arg0("mke2fs")
        .current_dir(dir)
        .env("MKE2FS_CONFIG", "/no/such/file")
        .env("E2FSPROGS_UNDO_DIR", "none")
        .env("SOURCE_DATE_EPOCH", CLOCK.to_string())
        // The numbers that tell of progress depend on when a second ends.
        .env("E2FSPROGS_SKIP_PROGRESS", "1")
        .stdin(Stdio::null())
        .args([
            "-F",
            "-U",
            UUID_TEXT,
            "-E",
            &format!("hash_seed={SEED_TEXT}"),
        ])
        .args(words.split_whitespace());
    Ok(command)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a run said, without the banner.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let is_banner = |line: &&str| line.starts_with("mke2fs 1.");
    let errors = text(&output.stderr);
    let errors = errors.lines().filter(|line| !is_banner(line));
    let errors: Vec<&str> = errors.collect();
    (
        output.status.code(),
        text(&output.stdout),
        errors.join("\n"),
    )
}

/// Bytes of which no two blocks are the same.
fn junk(length: usize) -> Vec<u8> {
    let numbers =
        (0_u64..).flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    numbers.take(length).collect()
}

/// Restores `image` in `dir` by the undo file `undo`.
fn e2undo(dir: &Path, undo: &str, image: &str) -> Result<String> {
    tools::run(
        Command::new("e2undo")
            .current_dir(dir)
            .env("PATH", "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin")
            .args([undo, image]),
    )
}

fn assert_same(path: &Path, expected: &[u8], what: &str) -> Result<()> {
    let found = fs::read(path)?;
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(
        (found.len(), differs),
        (expected.len(), None),
        "{what}: lengths, and the first byte that differs"
    );
    Ok(())
}

#[test]
fn what_was_overwritten_comes_back() -> Result<()> {
    if !ready(&NEEDS) {
        return Ok(());
    }
    let dir = making::workplace()?;
    let old = junk(24 << 20);
    for words in [
        "-t ext4",
        "-t ext2 -b 1024",
        "-t ext4 -b 4096 -q -E lazy_itable_init=0",
        "-t ext4 -b 65536 -O ^has_journal",
        "-t ext4 -O bigalloc,quota -E discard",
        "-t ext4 -E offset=1052672",
        "-t ext3 -b 2048 -E offset=65536 -I 128",
        "-t ext4 -S",
    ] {
        let mut told = Vec::new();
        for (whose, image) in [(Whose::Reference, "expected"), (Whose::Ours, "found")] {
            let place = dir.path().join(image);
            let _ = fs::remove_dir_all(&place);
            fs::create_dir(&place)?;
            fs::write(place.join("img"), &old)?;
            let words = format!("{words} -z undo img");
            told.push(said(&mke2fs(whose, &place, &words)?.output()?));
        }
        assert_eq!(told[0], told[1], "{words}");
        let place = dir.path().join("found");
        assert_ne!(fs::read(place.join("img"))?, old, "{words}");
        e2undo(&place, "undo", "img").map_err(|error| format!("{words}: {error}"))?;
        assert_same(&place.join("img"), &old, words)?;
    }
    Ok(())
}

/// With junk before and nothing discarded, all that either leaves as it was shows.
#[test]
fn the_image_is_that_of_mke2fs() -> Result<()> {
    if !ready(&NEEDS) {
        return Ok(());
    }
    let dir = making::workplace()?;
    let old = junk(16 << 20);
    let mut wrong = Vec::new();
    let eager = format!("-t ext3 -b 1024 -E lazy_itable_init=0,hash_seed={SEED_TEXT}");
    for words in ["-t ext4 -b 1024", "-t ext2 -b 1024", eager.as_str()] {
        for (whose, name) in [(Whose::Reference, "expected"), (Whose::Ours, "found")] {
            fs::write(dir.path().join(name), &old)?;
            let words = format!("{words} -z {name}.undo {name}");
            tools::run(&mut mke2fs(whose, dir.path(), &words)?)?;
        }
        let paths = ["expected", "found"].map(|name| dir.path().join(name));
        let pair = Pair::open(&paths[0], &paths[1], 0)?;
        wrong.extend(
            pair.differences()?
                .iter()
                .map(|it| format!("{words}: {it}")),
        );
        fs::remove_file(dir.path().join("expected.undo"))?;
        fs::remove_file(dir.path().join("found.undo"))?;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn one_undo_file_goes_back_over_several_runs() -> Result<()> {
    if !ready(&NEEDS) {
        return Ok(());
    }
    let dir = making::workplace()?;
    let old = junk(40 << 20);
    let image = dir.path().join("img");
    fs::write(&image, &old)?;
    for words in [
        "-t ext2 -b 1024 -N 64 -z undo img",
        "-t ext4 -b 4096 -z undo img",
        "-t ext4 -b 1024 -z undo img",
    ] {
        tools::run(&mut mke2fs(Whose::Ours, dir.path(), words)?)?;
    }
    // mke2fs itself goes on with it as well.
    let words = "-t ext3 -b 1024 -z undo img";
    tools::run(&mut mke2fs(Whose::Reference, dir.path(), words)?)?;
    e2undo(dir.path(), "undo", "img")?;
    assert_same(&image, &old, "four runs")
}

/// An undo file has blocks as long as those of the filesystem that it was begun for: e2undo takes no key
/// of more than 512 of them.
#[test]
fn an_undo_file_of_short_blocks_goes_on() -> Result<()> {
    if !ready(&NEEDS) {
        return Ok(());
    }
    let dir = making::workplace()?;
    let image = dir.path().join("img");
    fs::write(&image, junk(40 << 20))?;
    let words = "-t ext4 -b 1024 img";
    tools::run(&mut mke2fs(Whose::Reference, dir.path(), words)?)?;
    let old = fs::read(&image)?;
    let mut tune2fs = tools::command(Which::Reference, "tune2fs")?;
    tune2fs.args(["-z", "undo", "-L", "new", "img"]);
    tools::run(tune2fs.current_dir(dir.path()))?;
    let undo = fs::read(dir.path().join("undo"))?;
    assert_eq!(undo[0x20..0x24], 1024_u32.to_le_bytes(), "its block size");
    fs::create_dir(dir.path().join("tree"))?;
    fs::write(dir.path().join("tree/file"), junk(8 << 20))?;
    let words = "-t ext4 -b 1024 -d tree -z undo img";
    tools::run(&mut mke2fs(Whose::Ours, dir.path(), words)?)?;
    e2undo(dir.path(), "undo", "img")?;
    assert_same(&image, &old, "tune2fs and ours")
}

#[test]
fn an_ext_filesystem_is_kept_by_itself() -> Result<()> {
    if !ready(&NEEDS) {
        return Ok(());
    }
    let dir = making::workplace()?;
    let mut told = Vec::new();
    for (whose, name) in [(Whose::Reference, "expected"), (Whose::Ours, "found")] {
        let place = dir.path().join(name);
        fs::create_dir_all(place.join("undo"))?;
        fs::write(place.join("img"), junk(16 << 20))?;
        let mut said_all = Vec::new();
        // The first finds no ext filesystem.
        for words in [
            "-t ext4 img",
            "-t ext4 -b 1024 img",
            "-t ext2 img",
            "-z = -t ext2 img",
        ] {
            let mut command = mke2fs(whose, &place, "")?;
            command.args(words.split(' ').map(|word| match word {
                "=" => OsStr::new(""),
                word => OsStr::new(word),
            }));
            let before = fs::read(place.join("img"))?;
            let output = command.env("E2FSPROGS_UNDO_DIR", "undo").output()?;
            said_all.push(said(&output));
            let undo = place.join("undo/mke2fs-img.e2undo");
            said_all.push((None, format!("{}", undo.exists()), String::new()));
            if undo.exists() && words.contains("1024") {
                e2undo(&place, "undo/mke2fs-img.e2undo", "img")?;
                assert_same(&place.join("img"), &before, words)?;
            }
        }
        told.push(said_all);
    }
    assert_eq!(told[0], told[1]);
    Ok(())
}

/// mke2fs complains of what it cannot read of a file that is new or short.
#[test]
fn a_new_file_has_nothing_to_be_kept() -> Result<()> {
    if !ready(&NEEDS) {
        return Ok(());
    }
    let dir = making::workplace()?;
    for words in [
        "-t ext4 -z undo img 8M",
        "-t ext2 -b 4096 -E offset=65536 -z undo img 8M",
        "-t ext4 -D -b 8192 img 8M",
        "-t ext4 -D -b 4096 img 8M",
        "-t ext4 -D -z undo -O journal_dev img 8M",
    ] {
        for length in [None, Some(1), Some(1000), Some(4096), Some(8192)] {
            let mut told = Vec::new();
            for whose in [Whose::Reference, Whose::Ours] {
                let image = dir.path().join("img");
                for path in [&image, &dir.path().join("undo")] {
                    let _ = fs::remove_file(path);
                }
                if let Some(length) = length {
                    fs::write(&image, junk(length))?;
                }
                told.push(said(&mke2fs(whose, dir.path(), words)?.output()?));
            }
            assert_eq!(told[0], told[1], "{words}, {length:?} bytes before");
        }
    }
    Ok(())
}

#[test]
fn an_undo_file_of_something_else_is_refused() -> Result<()> {
    if !ready(&NEEDS) {
        return Ok(());
    }
    let dir = making::workplace()?;
    let image = dir.path().join("img");
    fs::write(&image, junk(4 << 20))?;
    fs::write(dir.path().join("text"), "no undo file")?;
    let words = "-q -t ext2 -z undo img";
    tools::run(&mut mke2fs(Whose::Ours, dir.path(), words)?)?;
    let mut changed = File::options().write(true).open(&image)?;
    std::io::Write::write_all(&mut changed, &junk(2048))?;
    let before = fs::read(&image)?;
    for undo in ["undo", "text"] {
        let words = format!("-t ext2 -z {undo} img");
        let (status, out, errors) = said(&mke2fs(Whose::Ours, dir.path(), &words)?.output()?);
        assert_eq!(status, Some(1), "{undo}");
        assert_same(&image, &before, undo)?;
        let expected = said(&mke2fs(Whose::Reference, dir.path(), &words)?.output()?);
        assert_eq!((status, out, errors), expected, "{undo}");
        fs::write(&image, &before)?;
    }
    let words = "-q -t ext2 -z img img";
    let (status, _, errors) = said(&mke2fs(Whose::Ours, dir.path(), words)?.output()?);
    assert_eq!(status, Some(1));
    assert!(
        errors.contains("is both the undo file and the output"),
        "{errors}"
    );
    assert_same(&image, &before, "onto itself")
}
