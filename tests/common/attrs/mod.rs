//! Given a directory, gives every attribute that the kernel shows of every path in it, and the
//! differences between two such records; never changes what it reads, and knows nothing of the
//! formatter it judges.
//!
//! Shared by the integration tests and by `examples/attrs.rs`, the comparison program.

mod compare;
mod read;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;

pub(crate) use compare::{Difference, Field, LostFound, Options, RootRule, TimeRule};

/// The key of the root directory; every other path is relative to it, without a leading "./".
pub(crate) const ROOT: &[u8] = b".";

/// Every path of a tree, in byte order, with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Block size of the filesystem, in bytes, as statvfs gives it.
    pub(crate) block_size: u64,
    /// Path to attributes; the root is [`ROOT`].
    pub(crate) entries: BTreeMap<Vec<u8>, Entry>,
}

impl Snapshot {
    /// Records `dir` and everything below it on the same filesystem.
    ///
    /// # Errors
    ///
    /// Names the first path that could not be read in full.
    pub(crate) fn take(dir: &Path) -> io::Result<Self> {
        read::tree(dir)
    }

    /// What differs in `mounted`, an image of this tree mounted by the kernel.
    ///
    /// # Errors
    ///
    /// Names the first path of `mounted` that could not be read in full.
    pub(crate) fn compare(&self, mounted: &Path, options: &Options) -> io::Result<Vec<Difference>> {
        Ok(self.differences(&Self::take(mounted)?, options))
    }

    /// What differs in the snapshot of an image of this tree.
    pub(crate) fn differences(&self, image: &Self, options: &Options) -> Vec<Difference> {
        compare::differences(self, image, options)
    }

    /// Writes one line per path; [`Snapshot::read_from`] reads it back without loss.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(crate) fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        text::write(self, out)
    }

    /// Reads what [`Snapshot::write_to`] wrote.
    ///
    /// # Errors
    ///
    /// Those of `input`; text in another form is refused with its line number.
    pub(crate) fn read_from(input: &mut dyn io::BufRead) -> io::Result<Self> {
        text::read(input)
    }
}

/// What lstat, readlink, listxattr, SEEK_DATA, GETFLAGS and reading tell about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// Permission bits with setuid, setgid and sticky: the low twelve bits of `st_mode`.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// `st_size` in bytes.
    pub(crate) size: u64,
    /// `st_nlink`, which also counts names outside the tree.
    pub(crate) nlink: u64,
    /// The first path in byte order that names the same inode, where the tree has two or more.
    pub(crate) first_link: Option<Vec<u8>>,
    /// Major and minor number; zero for anything but a device.
    pub(crate) rdev: (u32, u32),
    pub(crate) atime: Time,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    /// What a symlink points to.
    pub(crate) target: Option<Vec<u8>>,
    /// See [`read::Digest`]: equal for equal content, whatever part of its zeros are holes.
    pub(crate) digest: Option<[u8; 32]>,
    /// The ranges in bytes of a regular file that SEEK_DATA calls data.
    pub(crate) data: Vec<Range<u64>>,
    /// Name to value, as the kernel reports them.
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The chattr flags that carry over; `None` where the filesystem or the file type has none.
    pub(crate) flags: Option<u32>,
}

/// A file type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl Kind {
    /// Each kind with the letter that find(1) gives it.
    const LETTERS: [(Self, &str); 7] = [
        (Self::Regular, "f"),
        (Self::Directory, "d"),
        (Self::Symlink, "l"),
        (Self::CharDevice, "c"),
        (Self::BlockDevice, "b"),
        (Self::Fifo, "p"),
        (Self::Socket, "s"),
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = Self::LETTERS.iter().find(|(kind, _)| kind == self);
        f.write_str(letter.map_or("?", |(_, letter)| letter))
    }
}

/// Seconds since 1970, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanoseconds)
    }
}

/// The ranges grown outward to multiples of `unit` bytes, those that then touch joined.
fn outward(ranges: &[Range<u64>], unit: u64) -> Vec<Range<u64>> {
    let mut grown: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let start = range.start / unit * unit;
        let end = range.end.div_ceil(unit).saturating_mul(unit);
        match grown.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => grown.push(start..end),
        }
    }
    grown
}
