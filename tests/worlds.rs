//! Given images of several profiles, proves that they live long: mounted, filled and emptied by
//! thousands of operations, defragmented, trimmed, shrunk and grown, they stay sound to every e2fsck.
//!
//! The load follows from its seed: `MKE4FS_TEST_SEED` says another, `MKE4FS_TEST_LOAD` how many
//! operations.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::mount::Mount;
use common::tools::{self, Need, Result, Which, ready};
use common::{making, torture};
use rustix::fs::{FallocateFlags, XattrFlags, fallocate, lsetxattr};

/// What is asked of each image: as mke2fs makes them today; as an old kernel takes them; and two of
/// other shapes.
const PROFILES: [&str; 4] = [
    "128M",
    "-O ^metadata_csum,^64bit,^orphan_file,^metadata_csum_seed 128M",
    "-b 1024 -O meta_bg,^resize_inode 96M",
    "-T ext3 -O ^extent,^huge_file,^flex_bg,^metadata_csum,^64bit,^dir_nlink,^extra_isize,^orphan_file 96M",
];

/// Numbers without a pattern that are the same each time (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn asked(variable: &str, unless: u64) -> u64 {
    let asked = std::env::var(variable).ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(unless)
}

/// A user of a filesystem, who does one thing after another below `top`.
struct Load<'a> {
    chance: Chance,
    top: &'a Path,
}

impl Load<'_> {
    /// One of the names that everything is called by; most are there already after a while.
    fn place(&mut self) -> PathBuf {
        let directory = self.chance.below(12);
        let name = match self.chance.below(8) {
            0 => format!("{}-{}", self.chance.below(300), "long".repeat(40)),
            _ => self.chance.below(300).to_string(),
        };
        self.top.join(format!("work/{directory}/{name}"))
    }

    fn file(&mut self) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create(true);
        options.open(self.place())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let most = [100, 5000, 200_000][usize::try_from(self.chance.below(3)).expect("below 3")];
        let length = self.chance.below(most);
        torture::pattern(usize::try_from(length).expect("it is small"))
    }

    /// Does one thing, which may fail: a name may be taken or missing, the storage full.
    fn act(&mut self) -> io::Result<()> {
        let at = self.chance.below(300_000);
        let length = 1 + self.chance.below(100_000);
        match self.chance.below(16) {
            0..3 => {
                let bytes = self.bytes();
                fs::write(self.place(), bytes)
            }
            3 | 4 => {
                let bytes = self.bytes();
                self.file()?.write_all_at(&bytes, at)
            }
            5 => self.file()?.set_len(at),
            6 => fs::rename(self.place(), self.place()),
            7 => fs::hard_link(self.place(), self.place()),
            8 => {
                let target = "target".repeat(self.bytes().len() % 30 + 1);
                symlink(target, self.place())
            }
            9 => fs::remove_file(self.place()),
            10 => {
                let (name, bytes) = (format!("user.{}", self.chance.below(4)), self.bytes());
                let value = &bytes[..bytes.len().min(900)];
                Ok(lsetxattr(self.place(), name, value, XattrFlags::empty())?)
            }
            11 => Ok(fallocate(
                self.file()?,
                FallocateFlags::KEEP_SIZE,
                at,
                length,
            )?),
            12 => {
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                Ok(fallocate(self.file()?, punch, at, length)?)
            }
            13 => self.file()?.sync_all(),
            14 => fs::create_dir_all(self.place().join("below/it")),
            _ => match self.chance.below(30) {
                0 => self.start_over(),
                _ => fs::remove_dir_all(self.place()),
            },
        }
    }

    /// Empties one of the directories that all this goes on in, or makes it.
    fn start_over(&mut self) -> io::Result<()> {
        let directory = self.top.join(format!("work/{}", self.chance.below(12)));
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(directory)
    }

    /// Does `operations` things, and gives how many were done.
    fn run(&mut self, operations: u64) -> io::Result<u64> {
        for number in 0..12 {
            fs::create_dir_all(self.top.join(format!("work/{number}")))?;
        }
        let mut done = 0;
        for number in 0..operations {
            done += u64::from(self.act().is_ok());
            // What came with the image goes too, bit by bit.
            if number.is_multiple_of(40) {
                let _ = fs::remove_file(self.top.join(format!("many/{}", number / 40)));
            }
        }
        Ok(done)
    }
}

/// A directory with many names, and some contents.
fn source(top: &Path) -> io::Result<PathBuf> {
    let tree = top.join("tree");
    fs::create_dir_all(tree.join("many"))?;
    for number in 0..600_usize {
        let bytes = torture::pattern(number * 60);
        fs::write(tree.join(format!("many/{number}")), bytes)?;
    }
    Ok(tree)
}

fn check(image: &Path, after: &str) -> Result<()> {
    for which in Which::ALL {
        let said = tools::e2fsck(image, which);
        said.map_err(|said| format!("after {after}: {which:?}: {said}"))?;
    }
    Ok(())
}

fn resize(image: &Path, size: &str) -> Result<()> {
    // resize2fs wants to see a check first, and e2fsck a reason.
    tools::run(
        tools::command(Which::Reference, "e2fsck")?
            .arg("-fy")
            .arg(image),
    )?;
    let mut resize = tools::command(Which::Reference, "resize2fs")?;
    tools::run(match size {
        // As small as can be.
        "" => resize.arg("-M").arg(image),
        size => resize.arg(image).arg(size),
    })?;
    check(image, &format!("resizing to '{size}'"))
}

fn live(words: &str) -> Result<u64> {
    let dir = making::workplace()?;
    let (tree, image) = (source(dir.path())?, dir.path().join("image"));
    making::make(words, Some(&tree), &image)?;
    check(&image, "making it")?;
    let mount = Mount::writable(&image)?;
    let mut load = Load {
        chance: Chance(asked("MKE4FS_TEST_SEED", 0x5eed)),
        top: mount.path(),
    };
    let done = load.run(asked("MKE4FS_TEST_LOAD", 2500))?;
    // It tells by its status of files that it cannot do, such as those without extents.
    let _ = Command::new("e4defrag").arg(mount.path()).output()?;
    tools::run(Command::new("fstrim").arg(mount.path()))?;
    let mut load = Load {
        chance: Chance(7),
        top: mount.path(),
    };
    load.run(100)?;
    drop(mount);
    check(&image, "the load")?;
    resize(&image, "")?;
    resize(&image, "160M")?;
    let mount = Mount::writable(&image)?;
    let mut load = Load {
        chance: Chance(8),
        top: mount.path(),
    };
    load.run(300)?;
    drop(mount);
    check(&image, "more load")?;
    Ok(done)
}

#[test]
fn images_live_long() {
    if !ready(&[
        Need::Root,
        Need::E2fsprogs(Which::System),
        Need::E2fsprogs(Which::Reference),
    ]) {
        return;
    }
    for words in PROFILES {
        let done = live(words).unwrap_or_else(|error| panic!("{words}: {error}"));
        tools::report(&format!(
            "worlds: {done} operations on {words}, sound throughout"
        ));
        assert!(done > 1000, "{words}: only {done} operations were done");
    }
}
