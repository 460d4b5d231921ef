//! Given a question for a Unix kernel, gives its answer; never keeps anything.
//!
//! This file holds all of the crate's `unsafe` and all of nix: each function below is safe to call
//! and hands back a plain [`io::Result`]. What only Linux has, `portable` answers for the others.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};

/// The size of a memory page in bytes.
pub(crate) fn page_size() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// The host's name, as the kernel has it.
pub(crate) fn host_name() -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    Ok(nix::unistd::gethostname()?.into_vec())
}

/// Opens a device or file for reading and writing, and for nobody else.
///
/// On Linux a block device that is mounted or otherwise claimed answers `ResourceBusy`; the claim
/// holds until the file is closed. A regular file is merely opened.
pub(crate) fn open_exclusive(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::fcntl::OFlag::O_EXCL.bits())
        .open(path)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};

    use super::number;

    // linux/fs.h; the discard and zeroing calls take the address of a start and a length in bytes.
    nix::ioctl_read_bad!(
        blkgetsize64,
        nix::request_code_read!(0x12, 114, size_of::<usize>()),
        u64
    );
    nix::ioctl_read_bad!(
        blksszget,
        nix::request_code_none!(0x12, 104),
        nix::libc::c_int
    );
    nix::ioctl_read_bad!(
        blkpbszget,
        nix::request_code_none!(0x12, 123),
        nix::libc::c_uint
    );
    nix::ioctl_read_bad!(
        blkdiscardzeroes,
        nix::request_code_none!(0x12, 124),
        nix::libc::c_uint
    );
    nix::ioctl_write_ptr_bad!(blkdiscard, nix::request_code_none!(0x12, 119), [u64; 2]);
    nix::ioctl_write_ptr_bad!(blkzeroout, nix::request_code_none!(0x12, 127), [u64; 2]);

    /// The size of an open block device in bytes.
    pub(crate) fn block_device_size(device: &File) -> io::Result<u64> {
        let mut bytes = 0;
        // SAFETY: the descriptor is open and the kernel writes one u64.
        unsafe { blkgetsize64(device.as_raw_fd(), &raw mut bytes)? };
        Ok(bytes)
    }

    /// The smallest unit an open block device can address, in bytes.
    pub(crate) fn logical_sector_size(device: &File) -> io::Result<u32> {
        let mut bytes = 0;
        // SAFETY: the descriptor is open and the kernel writes one int.
        unsafe { blksszget(device.as_raw_fd(), &raw mut bytes)? };
        number(bytes)
    }

    /// The smallest unit an open block device can write without reading first, in bytes.
    pub(crate) fn physical_sector_size(device: &File) -> io::Result<u32> {
        let mut bytes = 0;
        // SAFETY: the descriptor is open and the kernel writes one unsigned int.
        unsafe { blkpbszget(device.as_raw_fd(), &raw mut bytes)? };
        number(bytes)
    }

    /// Whether what an open block device discards surely reads as zeros.
    ///
    /// Since Linux 4.12 the kernel promises this of none.
    pub(crate) fn device_discard_zeroes(device: &File) -> bool {
        let mut zeroes = 0;
        // SAFETY: the descriptor is open and the kernel writes one unsigned int.
        let answer = unsafe { blkdiscardzeroes(device.as_raw_fd(), &raw mut zeroes) };
        answer.is_ok() && zeroes != 0
    }

    /// Tells a block device that `length` bytes from `offset` on are no longer needed.
    ///
    /// `Unsupported` where the device cannot discard.
    pub(crate) fn discard_device(device: &File, offset: u64, length: u64) -> io::Result<()> {
        // SAFETY: the descriptor is open and the kernel reads two u64.
        unsafe { blkdiscard(device.as_raw_fd(), &raw const *&[offset, length])? };
        Ok(())
    }

    /// Makes `length` bytes from `offset` on of a block device read as zeros.
    pub(crate) fn zero_device(device: &File, offset: u64, length: u64) -> io::Result<()> {
        // SAFETY: the descriptor is open and the kernel reads two u64.
        unsafe { blkzeroout(device.as_raw_fd(), &raw const *&[offset, length])? };
        Ok(())
    }

    /// Makes `length` bytes from `offset` on of a file a hole, which reads as zeros.
    ///
    /// `Unsupported` where the filesystem has no holes. The file keeps its size.
    pub(crate) fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        change_space(file, mode, offset, length)
    }

    /// Makes `length` bytes from `offset` on of a file read as zeros, and keeps room for them.
    ///
    /// `Unsupported` where the filesystem cannot. The file keeps its size.
    pub(crate) fn zero_range(file: &File, offset: u64, length: u64) -> io::Result<()> {
        let mode = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        change_space(file, mode, offset, length)
    }

    fn change_space(file: &File, mode: FallocateFlags, at: u64, length: u64) -> io::Result<()> {
        let (at, length) = (number(at)?, number(length)?);
        loop {
            match fallocate(file, mode, at, length) {
                Err(Errno::EINTR) => {}
                answer => return Ok(answer?),
            }
        }
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::*;

/// `value` as another integer: the width of the kernel's types differs among systems.
fn number<T, U: TryFrom<T>>(value: T) -> io::Result<U> {
    U::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn pages_are_powers_of_two() {
        assert!(page_size().is_power_of_two());
    }

    #[test]
    fn the_host_has_a_name() {
        assert!(!host_name().unwrap().contains(&0));
    }

    #[test]
    fn only_devices_have_a_device_size() {
        let file = tempfile::tempfile().unwrap();
        assert!(block_device_size(&file).is_err());
        assert!(logical_sector_size(&file).is_err());
        assert!(discard_device(&file, 0, 512).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_punched_hole_reads_as_zeros() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0xd1; 8192]).unwrap();
        punch_hole(&file, 4096, 4096).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 8192);
        assert!(bytes[..4096].iter().all(|byte| *byte == 0xd1));
        assert!(bytes[4096..].iter().all(|byte| *byte == 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_filesystem_cannot_do_is_unsupported() {
        assert_eq!(
            io::Error::from(nix::errno::Errno::EOPNOTSUPP).kind(),
            io::ErrorKind::Unsupported
        );
    }
}
