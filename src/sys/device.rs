//! Given a path, gives what kind of output it is and how large; never opens it for writing.
//!
//! Block devices are asked through their end and through `/sys/dev/block`, which says what
//! libblkid's topology says. Where there is no `/sys`, nothing is known but the size.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What an output is before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetKind {
    /// It is not there.
    #[default]
    Missing,
    /// A regular file, or memory.
    File {
        /// Its size in bytes.
        size_bytes: u64,
    },
    /// A block device.
    Device(Device),
    /// Something that cannot hold a filesystem.
    Other,
}

/// A block device: sizes in bytes, 0 where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// Its size.
    pub size_bytes: u64,
    /// The smallest unit it addresses.
    pub sector_size: u32,
    /// The smallest unit it writes at once.
    pub physical_sector_size: u32,
    /// The smallest request that it likes.
    pub minimum_io_size: u32,
    /// The request size that it likes best.
    pub optimal_io_size: u32,
    /// How far its start lies off a physical sector.
    pub alignment_offset: u32,
    /// Whether it can be mapped into memory.
    pub dax: bool,
}

/// The user and group that run the program; 0 where the host has none.
pub(crate) fn user() -> (u32, u32) {
    #[cfg(unix)]
    return (
        nix::unistd::getuid().as_raw(),
        nix::unistd::getgid().as_raw(),
    );
    #[cfg(not(unix))]
    return (0, 0);
}

/// What `path` is, symbolic links followed.
pub(crate) fn look_at(path: &Path) -> io::Result<TargetKind> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(TargetKind::Missing),
        Err(error) => return Err(error),
    };
    if metadata.is_file() {
        return Ok(TargetKind::File {
            size_bytes: metadata.len(),
        });
    }
    match block_device_number(&metadata) {
        Some(number) => device(path, number).map(TargetKind::Device),
        None => Ok(TargetKind::Other),
    }
}

/// The number of a block device; `None` of anything else.
#[cfg(unix)]
pub(crate) fn block_device_number(metadata: &fs::Metadata) -> Option<u64> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    let is_device = metadata.file_type().is_block_device();
    is_device.then(|| metadata.rdev())
}

#[cfg(not(unix))]
pub(crate) fn block_device_number(_: &fs::Metadata) -> Option<u64> {
    None
}

fn device(path: &Path, number: u64) -> io::Result<Device> {
    let size_bytes = File::open(path)?.seek(SeekFrom::End(0))?;
    let (directory, queue) = sysfs(number);
    let of_queue = |name: &str| read_number(&queue.join(name));
    Ok(Device {
        size_bytes,
        sector_size: of_queue("logical_block_size"),
        physical_sector_size: of_queue("physical_block_size"),
        minimum_io_size: of_queue("minimum_io_size"),
        optimal_io_size: of_queue("optimal_io_size"),
        alignment_offset: read_number(&directory.join("alignment_offset")),
        dax: of_queue("dax") != 0,
    })
}

/// Where `/sys` describes a device and its queue; a partition has the queue of its disk.
fn sysfs(number: u64) -> (PathBuf, PathBuf) {
    // Linux's encoding of device numbers, as gnu_dev_major and gnu_dev_minor take it apart.
    let major = (number >> 8 & 0xfff) | (number >> 32 & !0xfff);
    let minor = (number & 0xff) | (number >> 12 & !0xff & 0xffff_ffff);
    let directory = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let own = directory.join("queue");
    let queue = if own.exists() {
        own
    } else {
        directory.join("../queue")
    };
    (directory, queue)
}

/// The number in a file; 0, for unknown, where there is none.
fn read_number(path: &Path) -> u32 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}
