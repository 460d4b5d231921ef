//! Given a file or device, says how the system uses it; never decides what to refuse.

#[cfg(not(target_os = "linux"))]
use std::fs::Metadata;

/// How the system uses a file or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// A filesystem on it is mounted.
    Mounted,
    /// It is swap.
    Swap,
}

#[cfg(target_os = "linux")]
pub(crate) use linux::usage;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, Metadata};
    use std::os::unix::fs::MetadataExt;

    use super::Usage;
    use crate::sys::{device_number, identity, is_block_device};

    /// How the system uses a file or device, as far as this process can see.
    pub(crate) fn usage(metadata: &Metadata) -> Option<Usage> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounted = if is_block_device(metadata) {
            let (major, minor) = device_number(metadata.rdev());
            is_mounted(&mounts, &format!("{major}:{minor}"))
                || mount_sources(&mounts).any(|source| is_device(source, metadata.rdev()))
        } else {
            is_mounted_by_loop(&mounts, metadata)
        };
        if mounted {
            return Some(Usage::Mounted);
        }
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
        let mut names = swaps
            .lines()
            .skip(1)
            .filter_map(|line| line.split(' ').next());
        let swap = if is_block_device(metadata) {
            names.any(|name| is_device(name, metadata.rdev()))
        } else {
            names.any(|name| is_file(name, metadata))
        };
        swap.then_some(Usage::Swap)
    }

    /// Whether a filesystem of the device `major:minor` is mounted (proc_pid_mountinfo(5), field 3).
    fn is_mounted(mounts: &str, number: &str) -> bool {
        mounts
            .lines()
            .any(|line| line.split(' ').nth(2) == Some(number))
    }

    /// What the mounts were made from: the second field after the lone hyphen.
    ///
    /// btrfs and others mount under a device number that is not their disk's.
    fn mount_sources(mounts: &str) -> impl Iterator<Item = &str> {
        mounts
            .lines()
            .filter_map(|line| line.split(" - ").nth(1)?.split(' ').nth(1))
            .filter(|source| source.starts_with('/'))
    }

    /// Whether a loop device that reads the file is mounted.
    fn is_mounted_by_loop(mounts: &str, metadata: &Metadata) -> bool {
        let Ok(devices) = fs::read_dir("/sys/block") else {
            return false;
        };
        devices.flatten().any(|device| {
            let device = device.path();
            let text = |name| fs::read_to_string(device.join(name)).unwrap_or_default();
            let backing = text("loop/backing_file");
            let backing = backing.trim_end_matches('\n');
            is_file(backing, metadata) && is_mounted(mounts, text("dev").trim_end())
        })
    }

    fn is_device(path: &str, device: u64) -> bool {
        let found = fs::metadata(path);
        found.is_ok_and(|found| is_block_device(&found) && found.rdev() == device)
    }

    fn is_file(path: &str, metadata: &Metadata) -> bool {
        let found = fs::metadata(path);
        found.is_ok_and(|found| identity(&found) == identity(metadata))
    }
}

/// How the system uses a file or device: unknown where there is no `/proc`.
#[cfg(not(target_os = "linux"))]
pub(crate) fn usage(_metadata: &Metadata) -> Option<Usage> {
    None
}
