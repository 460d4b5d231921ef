//! Given a question that only Linux or only a Unix answers, gives what can be said elsewhere.

use std::fs::File;
use std::io;

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The flags that `lsattr` shows of an open file or directory.
#[cfg(unix)]
pub(crate) fn attribute_flags(_file: impl std::os::fd::AsFd) -> io::Result<u32> {
    Ok(0)
}

/// Whether the ctimes where a file lies are this kernel's: nobody says so.
pub(crate) fn has_own_ctimes<T>(_file: &T) -> bool {
    false
}

/// Whether [`xattr_names_in`] answers.
#[cfg(unix)]
pub(crate) fn has_xattr_names_in(_directory: &File) -> bool {
    false
}

/// The names of the extended attributes of a name in an open directory.
#[cfg(unix)]
pub(crate) fn xattr_names_in(_directory: &File, _name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    unsupported()
}

/// The descriptor and the signature of an open file that fs-verity protects.
pub(crate) fn verity_metadata(_file: &File) -> io::Result<(Vec<u8>, Vec<u8>)> {
    unsupported()
}

/// Where the first data at or after `offset` begins.
pub(crate) fn seek_data(_file: &File, _offset: u64) -> io::Result<Option<u64>> {
    unsupported()
}

/// Where the first hole at or after `offset` begins.
pub(crate) fn seek_hole(_file: &File, _offset: u64) -> io::Result<Option<u64>> {
    unsupported()
}

/// Whether every write to the file goes to its end, which nobody says.
#[cfg(not(unix))]
pub(crate) fn writes_to_end(_file: &File) -> io::Result<bool> {
    Ok(false)
}

/// Nothing is known that would help.
pub(crate) fn read_no_further(_file: &File) {}

/// The size of an open device in bytes: where its last byte ends.
pub(crate) fn block_device_size(mut device: &File) -> io::Result<u64> {
    io::Seek::seek(&mut device, io::SeekFrom::End(0))
}

/// Whether an open block device is read-only.
pub(crate) fn is_read_only_device(_device: &File) -> bool {
    false
}

/// The smallest unit an open block device can address, in bytes.
pub(crate) fn logical_sector_size(_device: &File) -> io::Result<u32> {
    unsupported()
}

/// The smallest unit an open block device can write without reading first, in bytes.
pub(crate) fn physical_sector_size(_device: &File) -> io::Result<u32> {
    unsupported()
}

/// Whether what an open block device discards surely reads as zeros.
pub(crate) fn device_discard_zeroes(_device: &File) -> bool {
    false
}

/// Tells a block device that some bytes are no longer needed.
pub(crate) fn discard_device(_device: &File, _offset: u64, _length: u64) -> io::Result<()> {
    unsupported()
}

/// Lets the page cache forget what it holds of a file.
pub(crate) fn drop_cached(_file: &File) {}

/// Makes some bytes of a block device read as zeros.
pub(crate) fn zero_device(_device: &File, _offset: u64, _length: u64) -> io::Result<()> {
    unsupported()
}

/// Whether filesystems are asked for holes in files: never.
pub(crate) const HAS_HOLES: bool = false;

/// Makes some bytes of a file a hole.
pub(crate) fn punch_hole(_file: &File, _offset: u64, _length: u64) -> io::Result<()> {
    unsupported()
}

/// Keeps room for some bytes of a file.
pub(crate) fn keep_room(_file: &File, _offset: u64, _length: u64) -> io::Result<()> {
    unsupported()
}

/// Makes some bytes of a file read as zeros, and keeps room for them.
pub(crate) fn zero_range(_file: &File, _offset: u64, _length: u64) -> io::Result<()> {
    unsupported()
}

/// Lets two files share blocks.
pub(crate) fn share_range(
    _from: &File,
    _range: std::ops::Range<u64>,
    _to: &File,
    _offset: u64,
) -> io::Result<()> {
    unsupported()
}

/// The block size of a filesystem whose files can share blocks.
pub(crate) fn share_unit(_file: &File) -> Option<u64> {
    None
}

#[cfg(not(unix))]
mod no_unix {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    /// The size of a memory page in bytes.
    pub(crate) fn page_size() -> u64 {
        4096
    }

    /// The host's name.
    pub(crate) fn host_name() -> io::Result<Vec<u8>> {
        super::unsupported()
    }

    /// Standard output, unbuffered.
    #[cfg(windows)]
    pub(crate) fn stdout() -> io::Result<File> {
        let stdout = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned();
        Ok(stdout?.into())
    }

    /// Standard output as a file: there is none.
    #[cfg(not(windows))]
    pub(crate) fn stdout() -> io::Result<File> {
        let needed = "no image can be written to standard output on this system; name a file";
        Err(io::Error::new(io::ErrorKind::Unsupported, needed))
    }

    /// What went wrong, in the system's words without its number.
    pub(crate) use crate::units::reason;

    /// Whether `path` may be written to.
    pub(crate) fn may_write(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| !found.permissions().readonly())
    }

    /// Opens a file for reading and writing.
    pub(crate) fn open_exclusive(path: &Path) -> io::Result<File> {
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
    }
}

#[cfg(not(unix))]
pub(crate) use no_unix::*;
