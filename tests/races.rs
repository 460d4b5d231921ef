//! Given a program that swaps files of the source for others while images are made of it, proves that
//! no byte from outside the source comes into an image, and that no run waits for ever.
//!
//! `MKE4FS_TEST_SWAPS=10000` makes as many swaps; without it there are a few hundred.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::making;
use common::tools::{self, Need, ready};
use mke4fs::sink::Memory;
use mke4fs::source::dir::Directory;
use mke4fs::{Builder, Fit};
use rustix::fs::{
    CWD, FileType, Mode, RenameFlags, XattrFlags, lsetxattr, makedev, mknodat, renameat_with,
};
use tempfile::TempDir;

/// What everything outside the source contains: contents and attributes.
const SECRET: &[u8; 16] = b"\xa7secret outside\xa7";

/// How many directories the source has, and how many files each of them.
const DIRECTORIES: usize = 8;
const FILES: usize = 12;

/// The source, what lies outside it, and what is swapped in.
struct World {
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        let directory = making::workplace().expect("a directory");
        let world = Self { directory };
        for number in 0..DIRECTORIES {
            for side in ["tree", "outside"] {
                let below = world.at(side).join(number.to_string());
                fs::create_dir_all(&below).expect("a directory");
                for file in 0..FILES {
                    let content = match side {
                        "tree" => vec![b'.'; 20_000],
                        _ => SECRET.repeat(1250),
                    };
                    fs::write(below.join(file.to_string()), content).expect("a file");
                }
                symlink("nowhere", below.join("link")).expect("a link");
            }
            let below = world.at("outside").join(number.to_string());
            for name in ["0", "1", "link"] {
                let no_flags = XattrFlags::empty();
                lsetxattr(below.join(name), "trusted.secret", SECRET, no_flags).expect("trusted");
            }
        }
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What can take a file's place, made at `place`.
    fn substitute(&self, number: u64, place: &Path) {
        let secret = self.at("outside/0/0");
        let node = |kind, device| {
            mknodat(CWD, place, kind, Mode::RWXU, device).expect("mknod");
        };
        match number % 5 {
            0 => symlink(secret, place).expect("a link"),
            1 => node(FileType::Fifo, 0),
            // It gives zeros for ever.
            2 => node(FileType::CharacterDevice, makedev(1, 5)),
            3 => fs::create_dir(place).expect("a directory"),
            _ => symlink("/dev/tty", place).expect("a link"),
        }
    }

    /// Swaps something of the source for something else, and both back.
    fn swap(&self, number: u64) {
        let place = self.at("substitute");
        let below = self.at("tree").join((number % 8).to_string());
        let victim = match number % 3 {
            // A directory, for one outside with the same names.
            0 => {
                let outside = self.at("outside").join((number % 8).to_string());
                symlink(outside, &place).expect("a link");
                below
            }
            _ => {
                self.substitute(number / 3, &place);
                below.join((number / 24 % 12).to_string())
            }
        };
        let exchange = || {
            renameat_with(CWD, &place, CWD, &victim, RenameFlags::EXCHANGE).expect("renameat2");
        };
        exchange();
        // As long as takes the race to different moments of the run.
        thread::sleep(Duration::from_micros(number * 37 % 400));
        exchange();
        if fs::symlink_metadata(&place).expect("lstat").is_dir() {
            fs::remove_dir(&place).expect("it goes")
        } else {
            fs::remove_file(&place).expect("it goes")
        }
    }

    /// What comes of an image of the source as it is at the moment.
    fn build(&self) -> Result<Built, String> {
        let options = making::options("-b 4096 -O ^has_journal").expect("options");
        let builder = Builder::from_options(options).environment(making::memory_host());
        let source = Directory::new(self.at("tree"));
        let plan = builder.source(source).fit(Fit::Minimum).plan();
        let plan = plan.map_err(|error| format!("{error:#}"))?;
        let nodes = plan.tree().nodes();
        let values = nodes
            .flat_map(|(id, _)| plan.tree().xattrs(id))
            .map(|xattr| &*xattr.value);
        let has_attribute = values.into_iter().any(has_secret);
        let memory = Memory::new(plan.size_bytes());
        let written = making::write_to(&plan, &memory, 2).map_err(|error| format!("{error:#}"));
        let bytes = memory.into_bytes().expect("it fits memory");
        Ok(Built {
            has_secret: has_attribute || has_secret(&bytes),
            refusal: written.err(),
        })
    }
}

/// What is known of an image once its tree is.
struct Built {
    /// Whether the secret came into the tree, or into what was written of the image.
    has_secret: bool,
    /// Why the image was not finished.
    refusal: Option<String>,
}

fn has_secret(image: &[u8]) -> bool {
    let mut rest = image;
    while let Some(at) = rest.iter().position(|byte| *byte == SECRET[0]) {
        if rest[at..].starts_with(SECRET) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[test]
fn no_swap_brings_in_what_is_outside() {
    if !ready(&[Need::Root]) {
        return;
    }
    let asked = std::env::var("MKE4FS_TEST_SWAPS").ok();
    let wanted = asked.and_then(|asked| asked.parse().ok()).unwrap_or(300);
    let world = World::new();
    let swaps = AtomicU64::new(0);
    let (mut whole, mut refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while swaps.load(Ordering::Relaxed) < wanted {
                let number = swaps.fetch_add(1, Ordering::Relaxed);
                world.swap(number);
                // Some runs shall meet no swap at all.
                if number.is_multiple_of(20) {
                    thread::sleep(Duration::from_millis(30));
                }
            }
        });
        while swaps.load(Ordering::Relaxed) < wanted {
            let refusal = match world.build() {
                Ok(built) => {
                    assert!(!built.has_secret, "a secret after {swaps:?} swaps");
                    built.refusal
                }
                Err(refusal) => Some(refusal),
            };
            match refusal {
                None => whole += 1,
                Some(said) => {
                    assert!(said.contains("/tree/"), "{said}");
                    refused += 1;
                }
            }
        }
    });
    let built = world.build().expect("nothing is swapped any more");
    assert!(!built.has_secret && built.refusal.is_none());
    tools::report(&format!(
        "races: {wanted} swaps under {} runs, {whole} whole, {refused} refused, none with a secret",
        whole + refused
    ));
    assert!(refused > 0, "no run met a swap");
    // The search itself: what lies outside has the secret, by either way in.
    for name in ["outside/0", "outside"] {
        fs::rename(world.at("tree"), world.at("before")).expect("it moves");
        fs::rename(world.at(name), world.at("tree")).expect("it moves");
        assert!(world.build().expect("it is a tree").has_secret);
        fs::rename(world.at("tree"), world.at(name)).expect("it moves");
        fs::rename(world.at("before"), world.at("tree")).expect("it moves");
    }
}
