//! Given a tree and the directory where the kernel shows its image, gives what differs: names, types,
//! modes, owners, times, link counts, devices, targets, contents and attributes. Never changes either.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use mke4fs::raw::ondisk::inode::{TIME_MAX, TIME_MIN};
use mke4fs::raw::units::Timestamp;
use mke4fs::tree::{Content, Device, Kind, NodeId, Tree};

use super::tools::Result;

/// The longest path that a program can name.
const LONGEST_PATH: usize = 4000;

/// A comparison on its way.
pub(crate) struct Mounted<'a> {
    pub(crate) tree: &'a Tree,
    /// Whether inodes hold nanoseconds and years past 2038.
    pub(crate) has_long_times: bool,
}

impl Mounted<'_> {
    /// Compares a directory and all below it.
    pub(crate) fn compare(&self, node: NodeId, dir: &Path) -> Result<()> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(dir)? {
            found.insert(entry?.file_name().into_vec());
        }
        let entries = self.tree.entries(node);
        let mut needed: BTreeSet<Vec<u8>> =
            entries.iter().map(|entry| entry.name.to_vec()).collect();
        if node == NodeId::ROOT {
            needed.insert(b"lost+found".to_vec());
        }
        same(dir, "names", &found, &needed)?;
        for entry in entries {
            let path = dir.join(OsStr::from_bytes(entry.name));
            if path.as_os_str().len() > LONGEST_PATH {
                continue;
            }
            self.node(entry.node, &path)?;
            if matches!(self.tree.node(entry.node).kind, Kind::Directory(_)) {
                self.compare(entry.node, &path)?;
            }
        }
        Ok(())
    }

    fn node(&self, id: NodeId, path: &Path) -> Result<()> {
        let node = self.tree.node(id);
        let found = fs::symlink_metadata(path)?;
        let metadata = &node.metadata;
        let (format, device) = kind(&node.kind);
        let mode = format | u32::from(metadata.permissions);
        same(path, "mode", &found.mode(), &mode)?;
        same(
            path,
            "owner",
            &(found.uid(), found.gid()),
            &(metadata.uid, metadata.gid),
        )?;
        if let Some(Device { major, minor }) = device {
            let number = found.rdev();
            let seen = (rustix::fs::major(number), rustix::fs::minor(number));
            same(path, "device", &seen, &(major, minor))?;
        }
        if !matches!(node.kind, Kind::Directory(_)) {
            same(path, "links", &found.nlink(), &u64::from(node.names))?;
        }
        self.times(
            path,
            &found,
            [metadata.atime, metadata.mtime, metadata.ctime],
        )?;
        let mut attributes = BTreeMap::new();
        for name in xattr::list(path)? {
            let value = xattr::get(path, &name)?.unwrap_or_default();
            attributes.insert(name.into_vec(), value);
        }
        // The kernel lists attributes of programs on whatever has them, and reads them of files and
        // directories alone.
        let is_read = matches!(node.kind, Kind::File(_) | Kind::Directory(_));
        let needed = self.tree.xattrs(id).iter().map(|xattr| {
            let value = if is_read || !xattr.name.starts_with(b"user.") {
                xattr.value.clone()
            } else {
                Vec::new()
            };
            (xattr.name.clone(), value)
        });
        same(path, "attributes", &attributes, &needed.collect())?;
        match &node.kind {
            Kind::Symlink(target) => {
                let seen = fs::read_link(path)?.into_os_string().into_vec();
                same(path, "target", &seen, &target.to_vec())
            }
            Kind::File(content) => {
                same(path, "size", &found.len(), &content.size_bytes())?;
                bytes(path, content)
            }
            _ => Ok(()),
        }
    }

    fn times(&self, path: &Path, found: &Metadata, needed: [Timestamp; 3]) -> Result<()> {
        let seen = [
            (found.atime(), found.atime_nsec()),
            (found.mtime(), found.mtime_nsec()),
            (found.ctime(), found.ctime_nsec()),
        ];
        let most = if self.has_long_times {
            TIME_MAX
        } else {
            i64::from(i32::MAX)
        };
        let needed = needed.map(|time| {
            let nanoseconds = if self.has_long_times {
                time.nanoseconds.into()
            } else {
                0
            };
            (time.seconds.clamp(TIME_MIN, most), nanoseconds)
        });
        same(path, "times", &seen, &needed)
    }
}

fn kind(kind: &Kind) -> (u32, Option<Device>) {
    match kind {
        Kind::Directory(_) => (0o040_000, None),
        Kind::File(_) => (0o100_000, None),
        Kind::Symlink(_) => (0o120_000, None),
        Kind::CharDevice(device) => (0o020_000, Some(*device)),
        Kind::BlockDevice(device) => (0o060_000, Some(*device)),
        Kind::Fifo => (0o010_000, None),
        Kind::Socket => (0o140_000, None),
    }
}

/// Compares the ranges that hold data, and what lies before each as far as a page.
fn bytes(path: &Path, content: &Content) -> Result<()> {
    let file = File::open(path)?;
    let mut reader = content.open()?;
    for range in content.data_ranges() {
        let length = usize::try_from(range.end - range.start)?;
        let (mut needed, mut seen) = (vec![0; length], vec![0; length]);
        reader.read_exact_at(range.start, &mut needed)?;
        file.read_exact_at(&mut seen, range.start)?;
        if needed != seen {
            return Err(format!("{}: bytes {range:?} differ", path.display()).into());
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(
    path: &Path,
    what: &str,
    seen: &T,
    needed: &T,
) -> Result<()> {
    if seen == needed {
        Ok(())
    } else {
        Err(format!("{}: {what}: {seen:?} is not {needed:?}", path.display()).into())
    }
}
