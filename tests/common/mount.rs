//! Given an image, gives the directory where the kernel shows it; never leaves a mount behind, not
//! even after a panic.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::{NamedTempFile, TempDir};

use super::attrs::{Options, Snapshot};
use super::tools::{self, Result};

/// An image mounted over a loop device, until dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    directory: TempDir,
}

impl Mount {
    /// Mounts `image` as the kernel sees it without recovery: nothing is written, and a dirty
    /// journal would show.
    pub(crate) fn read_only(image: &Path) -> Result<Self> {
        Self::with(image, "loop,ro,noload")
    }

    /// Mounts `image` for writing, without updates of access times.
    pub(crate) fn writable(image: &Path) -> Result<Self> {
        Self::with(image, "loop,rw,noatime")
    }

    /// Mounts `image` with the options of mount(8).
    pub(crate) fn with(image: &Path, options: &str) -> Result<Self> {
        Self::of_type("ext4", image, options)
    }

    /// Mounts `image`, which holds another filesystem.
    pub(crate) fn of_type(name: &str, image: &Path, options: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("mke4fs-mount-").tempdir()?;
        let attempt = || {
            let mut mount = Command::new("mount");
            mount.args(["-t", name, "-o", options]);
            tools::run(mount.arg(image).arg(directory.path()))
        };
        // Another test may take the loop device between its being found and its being set up.
        if attempt().is_err() {
            thread::sleep(Duration::from_millis(200));
            attempt()?;
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        tools::report(&format!("oracle: the {name} of Linux {}", release.trim()));
        Ok(Self { directory })
    }

    /// The root of the mounted filesystem.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A process that another test is just starting may hold a descriptor for a moment.
        for _ in 0..50 {
            if tools::run(Command::new("umount").arg(self.path())).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let left = tools::run(Command::new("umount").arg("--lazy").arg(self.path()));
        tools::report(&format!(
            "{} was busy; unmounted lazily: {left:?}",
            self.path().display()
        ));
    }
}

/// Calls `look` with the root of `image`, mounted read-only.
pub(crate) fn mount_ro<T>(image: &Path, look: impl FnOnce(&Path) -> T) -> Result<T> {
    let mount = Mount::read_only(image)?;
    Ok(look(mount.path()))
}

/// Calls `change` with the root of `image`, mounted for writing.
pub(crate) fn mount_rw<T>(image: &Path, change: impl FnOnce(&Path) -> T) -> Result<T> {
    let mount = Mount::writable(image)?;
    Ok(change(mount.path()))
}

/// An ext4 of its own for a test, mounted for writing: sources built on it have every attribute
/// that ext4 has, whatever filesystem the test's host has.
#[derive(Debug)]
pub(crate) struct Scratch {
    // Dropped in this order: the mount before the image under it.
    mount: Mount,
    image: NamedTempFile,
}

impl Scratch {
    /// Makes an ext4 of `size` bytes, none of them taken before they are written, with blocks of
    /// 4 KiB, inodes of 256 bytes and one inode for every 8 KiB.
    pub(crate) fn new(size: u64) -> Result<Self> {
        let image = tempfile::Builder::new()
            .prefix("mke4fs-scratch-")
            .tempfile()?;
        image.as_file().set_len(size)?;
        let arguments = ["-t", "ext4", "-b", "4096", "-I", "256", "-i", "8192"];
        tools::mke2fs(image.path(), &arguments)?;
        let mount = Mount::writable(image.path())?;
        Ok(Self { mount, image })
    }

    /// The root of the mounted filesystem, which holds nothing but lost+found.
    pub(crate) fn path(&self) -> &Path {
        self.mount.path()
    }

    /// Unmounts, and gives the image.
    pub(crate) fn into_image(self) -> NamedTempFile {
        drop(self.mount);
        self.image
    }
}

/// The mounted image shows what the snapshot recorded.
pub(crate) fn same(source: &Snapshot, image: &Path, options: &Options) -> Result<()> {
    let differences = mount_ro(image, |dir| source.compare(dir, options))??;
    if differences.is_empty() {
        return Ok(());
    }
    let lines = differences.iter().take(20).map(ToString::to_string);
    let lines: Vec<String> = lines.collect();
    let (count, lines) = (differences.len(), lines.join("\n  "));
    Err(format!("{count} differences:\n  {lines}").into())
}
