//! Given an image, gives the directory where the kernel shows it; never leaves a mount behind, not
//! even after a panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};

use super::attrs::{Options, Snapshot};
use super::tools::{self, Result};

/// How long what is busy is waited for: a process takes far less to start, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// An image mounted over a loop device, until dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    directory: TempDir,
    /// As the list of mounts has it: `/dev/loop0`.
    device: String,
    /// What the kernel says is behind the device.
    backing: Vec<u8>,
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
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        tools::report(&format!("oracle: the {name} of Linux {}", release.trim()));
        match behind(directory.path()) {
            Ok((device, backing)) => Ok(Self {
                directory,
                device,
                backing,
            }),
            Err(error) => {
                unmount(directory.path())?;
                Err(error)
            }
        }
    }

    /// The root of the mounted filesystem.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Whether the kernel still has the filesystem, once this mount of it has ended.
    fn is_kept(&self) -> Result<bool> {
        // A second mount of an image is of the same device.
        let is_mounted = mounts()?.iter().any(|(device, _)| *device == self.device);
        // The device lets go of its file with its last user, and may then be that of another test.
        let is_attached = backing(&self.device).is_ok_and(|file| file == self.backing);
        Ok(is_attached && !is_mounted)
    }
}

impl Drop for Mount {
    /// Ends when the filesystem has: until then its journal waits to be written back into the image.
    ///
    /// That umount(8) succeeded is not enough. [`Snapshot::take`] holds a mount of its own by a descriptor, and any
    /// process that another test starts meanwhile has a copy of that until it has become its program.
    fn drop(&mut self) {
        if let Err(error) = unmount(self.path()) {
            let left = tools::run(Command::new("umount").arg("--lazy").arg(self.path()));
            tools::report(&format!("{error}; unmounted lazily: {left:?}"));
        }
        let begun = Instant::now();
        while self.is_kept().unwrap_or(false) {
            if begun.elapsed() > PATIENCE {
                let device = &self.device;
                return tools::report(&format!("{device}: its filesystem has not ended"));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Each mount: of what, and where. Names of temporary directories have nothing that would be escaped.
fn mounts() -> Result<Vec<(String, PathBuf)>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?.to_owned(), fields.next()?.into()))
    });
    Ok(mounts.collect())
}

/// The loop device that is mounted on `at`, and what is behind it.
fn behind(at: &Path) -> Result<(String, Vec<u8>)> {
    let mut mounts = mounts()?.into_iter();
    let found = mounts.find(|(_, place)| place == at);
    let (device, _) = found.ok_or("the list of mounts has it not")?;
    let backing = backing(&device)?;
    Ok((device, backing))
}

/// The path of the file behind a loop device.
fn backing(device: &str) -> Result<Vec<u8>> {
    let name = device.strip_prefix("/dev/").ok_or("no device")?;
    let place = Path::new("/sys/block").join(name);
    Ok(fs::read(place.join("loop/backing_file"))?)
}

/// Unmounts what is mounted on `at`, waiting while it is busy: a process that another test is just starting has a
/// copy of every descriptor until it has become its program.
pub(crate) fn unmount(at: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        match tools::run(Command::new("umount").arg(at)) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
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
