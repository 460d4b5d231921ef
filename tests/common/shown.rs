//! Given an image that is open for reading and the directory where the kernel shows it, gives what the
//! reader and the kernel do not agree on; never changes either.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use mke4fs::raw::units::Timestamp;
use mke4fs::read::{FileType, Filesystem, Inode};
use rustix::fs::{AtFlags, CWD, IFlags, Mode, OFlags, SeekFrom, StatxFlags};

use super::tools::Result;

/// The longest path that a program can name.
const LONGEST_PATH: usize = 4000;
/// The flags that the kernel shows (`EXT4_FL_USER_VISIBLE`).
const VISIBLE_FLAGS: u32 = 0x725b_dfff;
/// How much is compared at once, in bytes.
const STEP: u64 = 1 << 20;

/// What was compared.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Compared {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) xattrs: u64,
}

/// Compares all of an image with what the kernel shows of it at `root`.
///
/// # Errors
///
/// The first place where they differ.
pub(crate) fn compare(image: &Filesystem<'_>, root: &Path) -> Result<Compared> {
    let mut comparison = Comparison {
        image,
        compared: Compared::default(),
    };
    comparison.node(&image.root()?, root)?;
    comparison.directory(&image.root()?, root)?;
    Ok(comparison.compared)
}

struct Comparison<'a> {
    image: &'a Filesystem<'a>,
    compared: Compared,
}

impl Comparison<'_> {
    fn directory(&mut self, dir: &Inode, path: &Path) -> Result<()> {
        let mut shown = BTreeSet::new();
        for entry in fs::read_dir(path)? {
            shown.insert(entry?.file_name().into_vec());
        }
        let entries: Vec<_> = self
            .image
            .entries(dir)?
            .collect::<std::result::Result<_, _>>()?;
        let names: BTreeSet<Vec<u8>> = entries.iter().map(|it| it.name().to_vec()).collect();
        same(path, "names", &names, &shown)?;
        same(path, "count of names", &entries.len(), &shown.len())?;
        for entry in entries {
            let path = path.join(std::ffi::OsStr::from_bytes(entry.name()));
            if path.as_os_str().len() > LONGEST_PATH {
                continue;
            }
            let inode = self.image.inode(entry.ino())?;
            if let Some(file_type) = entry.file_type() {
                same(&path, "type", &Some(file_type), &inode.file_type())?;
            }
            self.node(&inode, &path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            if inode.is_dir() {
                self.directory(&inode, &path)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, inode: &Inode, path: &Path) -> Result<()> {
        self.compared.files += 1;
        let shown = fs::symlink_metadata(path)?;
        same(path, "number", &u64::from(inode.ino().get()), &shown.ino())?;
        same(path, "mode", &u32::from(inode.mode()), &shown.mode())?;
        let owner = (shown.uid(), shown.gid());
        same(path, "owner", &(inode.uid(), inode.gid()), &owner)?;
        same(path, "links", &u64::from(inode.links()), &shown.nlink())?;
        same(path, "size", &inode.size(), &shown.size())?;
        if let Some(device) = inode.device() {
            let numbers = (
                rustix::fs::major(shown.rdev()),
                rustix::fs::minor(shown.rdev()),
            );
            same(path, "device", &(device.major, device.minor), &numbers)?;
        }
        times(inode, path)?;
        self.xattrs(inode, path)?;
        match inode.file_type() {
            Some(FileType::Regular) => {
                flags(inode, path)?;
                self.data(inode, path)
            }
            Some(FileType::Directory) => flags(inode, path),
            Some(FileType::Symlink) => {
                let target = fs::read_link(path)?.into_os_string().into_vec();
                same(path, "target", &self.image.link_target(inode)?, &target)
            }
            _ => Ok(()),
        }
    }

    fn xattrs(&mut self, inode: &Inode, path: &Path) -> Result<()> {
        let found = self.image.xattrs_of(inode)?;
        self.compared.xattrs += u64::try_from(found.len())?;
        let readable = inode.is_file() || inode.is_dir();
        let mut shown = BTreeMap::new();
        for name in xattr::list(path)? {
            let value = xattr::get(path, &name).ok().flatten();
            shown.insert(name.into_vec(), value.unwrap_or_default());
        }
        // The kernel lists attributes of programs on whatever has them, and reads them of files and
        // directories alone.
        let found: BTreeMap<Vec<u8>, Vec<u8>> = found
            .into_iter()
            .map(|it| {
                if readable || !it.name.starts_with(b"user.") {
                    (it.name, it.value)
                } else {
                    (it.name, Vec::new())
                }
            })
            .collect();
        same(path, "xattrs", &found, &shown)
    }

    /// Compares what the reader takes for data and what the kernel does: the rest is zeros for both.
    fn data(&mut self, inode: &Inode, path: &Path) -> Result<()> {
        let ours = self.image.file(inode)?;
        let shown = File::open(path)?;
        let mut ranges = ours.data_ranges()?;
        // The kernel does not find its way in inline files that are longer than the room in the inode.
        ranges.push(0..ours.size().min(STEP));
        let mut at = 0;
        while let Ok(start) = rustix::fs::seek(&shown, SeekFrom::Data(at)) {
            let Ok(end) = rustix::fs::seek(&shown, SeekFrom::Hole(start)) else {
                break;
            };
            at = end;
            ranges.push(start..at);
        }
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let length = usize::try_from(STEP.min(range.end - at))?;
                let (mut one, mut other) = (vec![1; length], vec![2; length]);
                same(path, "bytes read", &ours.read_at(at, &mut one)?, &length)?;
                shown.read_exact_at(&mut other, at)?;
                if one != other {
                    return Err(format!("{}: data at {at} differs", path.display()).into());
                }
                at += STEP;
                self.compared.bytes += u64::try_from(length)?;
            }
        }
        same(
            path,
            "bytes at the end",
            &ours.read_at(ours.size(), &mut [0])?,
            &0,
        )
    }
}

fn times(inode: &Inode, path: &Path) -> Result<()> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let shown = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    let time = |time: rustix::fs::StatxTimestamp| Timestamp {
        seconds: time.tv_sec,
        nanoseconds: time.tv_nsec,
    };
    let all = [
        ("atime", inode.atime(), shown.stx_atime),
        ("mtime", inode.mtime(), shown.stx_mtime),
        ("ctime", inode.ctime(), shown.stx_ctime),
    ];
    for (what, ours, theirs) in all {
        same(path, what, &ours, &time(theirs))?;
    }
    let has_btime = shown.stx_mask & StatxFlags::BTIME.bits() != 0;
    let btime = has_btime.then(|| time(shown.stx_btime));
    same(path, "btime", &inode.crtime(), &btime)
}

fn flags(inode: &Inode, path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
    let open = rustix::fs::open(path, flags, Mode::empty())?;
    let shown: IFlags = rustix::fs::ioctl_getflags(&open)?;
    let ours = inode.flags() & VISIBLE_FLAGS;
    same(path, "flags", &ours, &(shown.bits() & VISIBLE_FLAGS))
}

fn same<T: PartialEq + Debug>(path: &Path, what: &str, ours: &T, shown: &T) -> Result<()> {
    if ours == shown {
        Ok(())
    } else {
        Err(format!("{}: {what}: {ours:?} is not {shown:?}", path.display()).into())
    }
}
