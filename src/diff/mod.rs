//! Given two trees, says in what they differ: names, what each file is and says of itself, hard links,
//! extended attributes and file data; never where anything lies.
//!
//! Two trees are the same where the filesystems made of them would hold the same files. So data is
//! compared as it is read, and holes are no difference; the order of declaration is none either.
//!
//! ```
//! use mke4fs::diff::{Attribute, Finding};
//! use mke4fs::tree::{Content, Metadata, NodeId, Tree};
//!
//! let tree = |text: &'static [u8]| {
//!     let mut tree = Tree::with_root(Metadata::default());
//!     tree.file_at(NodeId::ROOT, b"motd", Metadata::default(), Content::from_bytes(text))?;
//!     tree.finish()?;
//!     Ok::<Tree, mke4fs::tree::TreeError>(tree)
//! };
//! let (a, b) = (tree(b"Welcome.\n")?, tree(b"Welcome!\n")?);
//! let found = mke4fs::diff(&a, &b)?;
//! assert_eq!(found.len(), 1);
//! assert_eq!(found[0].path, b"motd");
//! assert_eq!(found[0].finding, Finding::Data { first: 7 });
//! assert_eq!(found[0].finding.attribute(), Some(Attribute::Data));
//! assert!(mke4fs::diff(&a, &a)?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attribute;
mod compare;
mod data;
mod links;
mod pairs;

use std::fmt;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use crate::cancel::{Cancel, Cancelled};
use crate::tree::{Device, Flags, Tree};
use crate::units::{Readable, Timestamp, reason};

pub use crate::tree::FileType;
pub use attribute::{Attribute, Attributes, UnknownAttribute};
use compare::Comparison;

/// In what two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference<'a> {
    /// The file's path from the root, without a slash in front: empty for the root itself. A file with
    /// several names is told of by the first that both trees have, except where a name is missing or the
    /// links themselves differ.
    pub path: Vec<u8>,
    /// What is different there.
    pub finding: Finding<'a>,
}

/// What differs at a path; pairs are what the first tree has and what the second.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding<'a> {
    /// Only the first tree has the name; of a directory, nothing is told of what is below.
    OnlyInA(FileType),
    /// Only the second tree has the name; of a directory, nothing is told of what is below.
    OnlyInB(FileType),
    /// What kind of file it is. What only one kind has is not compared then.
    Type(FileType, FileType),
    /// The permissions, setuid, setgid and sticky bits.
    Mode(u16, u16),
    /// The owner.
    Uid(u32, u32),
    /// The group.
    Gid(u32, u32),
    /// When it was read last.
    Atime(Timestamp, Timestamp),
    /// When it was written last.
    Mtime(Timestamp, Timestamp),
    /// When it was changed last.
    Ctime(Timestamp, Timestamp),
    /// The flags of `chattr`.
    Flags(Flags, Flags),
    /// Which names lead to the same file.
    Links(Links, Links),
    /// The numbers of a device.
    Device(Device, Device),
    /// Where a symbolic link leads.
    Target(&'a [u8], &'a [u8]),
    /// An extended attribute, an ACL among them: its name, and its values where there is one.
    Xattr(&'a [u8], Option<&'a [u8]>, Option<&'a [u8]>),
    /// The sizes of files, in bytes. The data of such is not read.
    Size(u64, u64),
    /// The data of files of one size.
    Data {
        /// The first byte that differs, counted from 0.
        first: u64,
    },
}

impl Finding<'_> {
    /// The attribute that differs; none where one tree lacks the name.
    pub fn attribute(&self) -> Option<Attribute> {
        Some(match self {
            Self::OnlyInA(_) | Self::OnlyInB(_) => return None,
            Self::Type(..) => Attribute::Type,
            Self::Mode(..) => Attribute::Mode,
            Self::Uid(..) => Attribute::Uid,
            Self::Gid(..) => Attribute::Gid,
            Self::Atime(..) => Attribute::Atime,
            Self::Mtime(..) => Attribute::Mtime,
            Self::Ctime(..) => Attribute::Ctime,
            Self::Flags(..) => Attribute::Flags,
            Self::Links(..) => Attribute::Links,
            Self::Device(..) => Attribute::Device,
            Self::Target(..) => Attribute::Target,
            Self::Xattr(..) => Attribute::Xattrs,
            Self::Size(..) | Self::Data { .. } => Attribute::Data,
        })
    }
}

/// The names of a file that has several.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Links {
    /// How many it has.
    pub names: u32,
    /// The first of them, in the order of a walk that takes names by their bytes.
    pub first: Vec<u8>,
}

/// Who is told how far the reading of file data has come, in bytes, and of how many.
type Progress = dyn Fn(u64, u64) + Send + Sync;

/// How trees are compared.
#[derive(Clone, Default)]
pub struct DiffOptions {
    ignored: Attributes,
    threads: Option<NonZero<usize>>,
    cancel: Cancel,
    progress: Option<Arc<Progress>>,
}

impl fmt::Debug for DiffOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiffOptions")
            .field("ignored", &self.ignored)
            .field("threads", &self.threads)
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}

impl DiffOptions {
    /// Everything is compared, by as many threads as the program may use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Does not compare these.
    pub fn ignore(&mut self, attributes: Attributes) -> &mut Self {
        self.ignored = self.ignored.with(attributes);
        self
    }

    /// Reads file data with `threads` threads. What is found does not depend on it.
    pub fn threads(&mut self, threads: NonZero<usize>) -> &mut Self {
        self.threads = Some(threads);
        self
    }

    /// Stops reading file data once `cancel` asks for it: the comparison fails then.
    pub fn cancel(&mut self, cancel: &Cancel) -> &mut Self {
        self.cancel = cancel.clone();
        self
    }

    /// Tells `progress` how many bytes of the files whose data is compared are done, and how many there are
    /// in all. It is called by one thread after the other, with more each time, and last with all; what
    /// need not be read counts as done.
    pub fn progress(&mut self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> &mut Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    fn threads_used(&self) -> usize {
        let asked = self
            .threads
            .or_else(|| thread::available_parallelism().ok());
        asked.map_or(1, NonZero::get)
    }
}

/// Why trees could not be compared to the end.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiffError {
    /// File data cannot be read.
    Read {
        /// What its source calls it.
        name: Vec<u8>,
        /// Why.
        error: io::Error,
    },
    /// Whoever was to be told of a difference failed.
    Told(io::Error),
    /// It was asked to stop.
    Cancelled(Cancelled),
}

impl fmt::Display for DiffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { name, error } => {
                write!(f, "cannot read {}: {}", Readable(name), reason(error))
            }
            Self::Told(error) => f.write_str(&reason(error)),
            Self::Cancelled(cancelled) => cancelled.fmt(f),
        }
    }
}

impl std::error::Error for DiffError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Their text is told already.
            Self::Read { error, .. } | Self::Told(error) => error.source(),
            Self::Cancelled(_) => None,
        }
    }
}

/// All differences between two finished trees, in the order of a walk that takes names by their bytes.
///
/// They are held together; [`diff_each`] gives them one by one, and can leave some out.
///
/// # Errors
/// Where file data cannot be read.
pub fn diff<'a>(a: &'a Tree, b: &'a Tree) -> Result<Vec<Difference<'a>>, DiffError> {
    let mut found = Vec::new();
    diff_each(a, b, &DiffOptions::new(), &mut |difference| {
        found.push(difference);
        Ok(())
    })?;
    Ok(found)
}

/// Gives to `each` all differences between two finished trees, in the order of a walk that takes names by
/// their bytes.
///
/// Data is read first, in parallel, 256 KiB at a time for each thread, and only of files that are of one size
/// in both trees; what is a hole in both is not read. Beside the trees it takes some 16 bytes of memory for
/// each file that has data.
///
/// # Errors
/// Where file data cannot be read, or `each` fails.
pub fn diff_each<'a>(
    a: &'a Tree,
    b: &'a Tree,
    options: &DiffOptions,
    each: &mut dyn FnMut(Difference<'a>) -> io::Result<()>,
) -> Result<(), DiffError> {
    let comparison = Comparison::new([a, b], options);
    let data = if options.ignored.has(Attribute::Data) {
        data::Differing::default()
    } else {
        data::compare([a, b], &comparison.files(), options)?
    };
    comparison.tell(&data, each)
}
