//! Given what a check came upon, holds it with its place and says it in one line; never looks at an image.

use std::fmt;
use std::io;

use crate::ondisk::superblock::MAGIC;
use crate::read;
use crate::units::{Block, Group, Ino, Run};

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Which structure it is about.
    pub area: Area,
    /// Where in the filesystem.
    pub location: Location,
    /// What is wrong.
    pub kind: FindingKind,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            area,
            location,
            kind,
        } = self;
        match location {
            Location {
                group: None,
                inode: None,
                block: None,
            } => write!(f, "{area}: {kind}"),
            _ => write!(f, "{location}: {area}: {kind}"),
        }
    }
}

macro_rules! areas {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)+) => {
        /// A structure of the format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Area {
            $($(#[$doc])* $variant,)+
        }

        impl Area {
            /// Its name in a finding's line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

areas! {
    /// The primary superblock.
    Superblock "superblock";
    /// A copy of the superblock or of the descriptors.
    Backup "backup";
    /// A group's descriptor.
    Descriptor "group descriptor";
    /// A group's block bitmap.
    BlockBitmap "block bitmap";
    /// A group's inode bitmap.
    InodeBitmap "inode bitmap";
    /// An inode's own fields.
    Inode "inode";
    /// The tree that says where a file's blocks are.
    Extents "extents";
    /// The pointers that say where a file's blocks are.
    BlockMap "block map";
    /// The Merkle tree of a file that fs-verity protects, and its data.
    Verity "fs-verity";
    /// Who has which block.
    Blocks "blocks";
    /// A symbolic link's target.
    Symlink "symbolic link";
    /// Content or entries inside the inode.
    InlineData "inline data";
    /// A directory's entries.
    Directory "directory";
    /// A directory's hash tree.
    Htree "hash tree";
    /// What leads to an inode.
    Links "links";
    /// Extended attributes.
    Xattrs "attributes";
    /// The journal.
    Journal "journal";
    /// The descriptor blocks kept for growing.
    Resize "resize inode";
    /// A quota file.
    Quota "quota";
    /// The orphan file or the list of orphans.
    Orphans "orphans";
    /// The block of multiple mount protection.
    Mmp "multiple mount protection";
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A place in the filesystem, as far as it can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Location {
    /// The block group.
    pub group: Option<Group>,
    /// The inode.
    pub inode: Option<Ino>,
    /// The block: physical, counted from the filesystem's first.
    pub block: Option<Block>,
}

impl Location {
    /// The filesystem as a whole.
    pub const WHOLE: Self = Self {
        group: None,
        inode: None,
        block: None,
    };

    /// A group.
    pub const fn group(group: u32) -> Self {
        Self {
            group: Some(Group::new(group)),
            ..Self::WHOLE
        }
    }

    /// An inode.
    pub const fn inode(ino: u32) -> Self {
        Self {
            inode: Some(Ino::new(ino)),
            ..Self::WHOLE
        }
    }

    /// The same with a block.
    #[must_use]
    pub const fn at(self, block: u64) -> Self {
        Self {
            block: Some(Block::new(block)),
            ..self
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.group.map(|group| ("group", u64::from(group.get()))),
            self.inode.map(|ino| ("inode", u64::from(ino.get()))),
            self.block.map(|block| ("block", block.get())),
        ];
        let mut comma = "";
        for (word, number) in parts.into_iter().flatten() {
            write!(f, "{comma}{word} {number}")?;
            comma = ", ";
        }
        Ok(())
    }
}

/// What has a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// A superblock, in this group.
    Superblock(Group),
    /// Group descriptors, or blocks kept for them, in this group.
    Descriptors(Group),
    /// A group's block bitmap.
    BlockBitmap(Group),
    /// A group's inode bitmap.
    InodeBitmap(Group),
    /// A group's inode table.
    InodeTable(Group),
    /// Multiple mount protection.
    Mmp,
    /// The content of an inode.
    Content(Ino),
    /// A node of an inode's extent tree or block map.
    Map(Ino),
    /// Extended attributes, of this inode first.
    Xattrs(Ino),
}

impl Owner {
    /// The inode it belongs to.
    pub const fn ino(self) -> Option<Ino> {
        match self {
            Self::Content(ino) | Self::Map(ino) | Self::Xattrs(ino) => Some(ino),
            _ => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock(group) => write!(f, "the superblock in group {group}"),
            Self::Descriptors(group) => write!(f, "the descriptors in group {group}"),
            Self::BlockBitmap(group) => write!(f, "the block bitmap of group {group}"),
            Self::InodeBitmap(group) => write!(f, "the inode bitmap of group {group}"),
            Self::InodeTable(group) => write!(f, "the inode table of group {group}"),
            Self::Mmp => f.write_str("multiple mount protection"),
            Self::Content(ino) => write!(f, "the data of inode {ino}"),
            Self::Map(ino) => write!(f, "the block map of inode {ino}"),
            Self::Xattrs(ino) => write!(f, "the xattrs of inode {ino}"),
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// A field or a count has another value than all else says.
    Value {
        /// The field, by the kernel's name, or what is counted.
        what: &'static str,
        /// What is stored.
        found: u64,
        /// What is needed.
        needed: u64,
    },
    /// A field is out of its bounds.
    Bounds {
        /// The field, by the kernel's name.
        what: &'static str,
        /// What is stored.
        found: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// A stored checksum or hash is not that of what it covers.
    Checksum {
        /// What it covers.
        what: &'static str,
        /// What is stored.
        found: u32,
        /// What is needed.
        needed: u32,
    },
    /// A rule of the format is broken.
    Rule(&'static str),
    /// The same, of an entry or an attribute of this name.
    Named {
        /// The rule.
        rule: &'static str,
        /// The name.
        name: Vec<u8>,
    },
    /// The same, with what the rule's own room of the code says.
    Told(String),
    /// Bytes cannot be read.
    Unreadable(io::ErrorKind),
    /// Blocks outside the filesystem.
    Outside(Run),
    /// Blocks that two have.
    Shared {
        /// The blocks.
        run: Run,
        /// One of them.
        one: Owner,
        /// The other.
        other: Owner,
    },
    /// Blocks or inodes that are in use and marked as free: the first and how many.
    MarkedFree(u64, u64),
    /// Blocks or inodes that are free and marked as in use: the first and how many.
    MarkedUsed(u64, u64),
}

impl From<read::ErrorDetail> for FindingKind {
    fn from(fault: read::ErrorDetail) -> Self {
        match fault {
            read::ErrorDetail::Value {
                what,
                found,
                expected,
            } => Self::Value {
                what,
                found,
                needed: expected,
            },
            read::ErrorDetail::Bounds {
                what,
                found,
                least,
                most,
            } => Self::Bounds {
                what,
                found,
                least,
                most,
            },
            read::ErrorDetail::Checksum {
                what,
                found,
                expected,
            } => Self::Checksum {
                what,
                found,
                needed: expected,
            },
            read::ErrorDetail::Magic(found) => Self::Value {
                what: "s_magic",
                found: found.into(),
                needed: MAGIC.into(),
            },
            read::ErrorDetail::Rule(rule) => Self::Rule(rule),
            read::ErrorDetail::Named { rule, name } => Self::Named { rule, name },
            read::ErrorDetail::Outside(run) => Self::Outside(run),
            read::ErrorDetail::Io(error) => Self::Unreadable(error.kind()),
            other => Self::Told(other.to_string()),
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value {
                what,
                found,
                needed,
            } if what.contains("magic") => {
                write!(f, "{what} is {found:#06x}, expected {needed:#06x}")
            }
            Self::Value {
                what,
                found,
                needed,
            } => write!(f, "{what} is {found}, expected {needed}"),
            Self::Bounds {
                what,
                found,
                least,
                most,
            } => write!(f, "{what} is {found}, expected {least} to {most}"),
            Self::Checksum {
                what,
                found,
                needed,
            } => write!(f, "{what} is {found:#010x}, expected {needed:#010x}"),
            Self::Rule(rule) => f.write_str(rule),
            Self::Named { rule, name } => write!(f, "'{}' {rule}", name.escape_ascii()),
            Self::Told(text) => f.write_str(text),
            Self::Unreadable(kind) => write!(f, "cannot be read: {kind}"),
            Self::Outside(run) => write!(f, "{run}: outside the filesystem"),
            Self::Shared { run, one, other } => {
                write!(f, "{run}: both {one} and {other}")
            }
            Self::MarkedFree(first, 1) => write!(f, "{first} is in use and marked as free"),
            Self::MarkedFree(first, count) => write!(
                f,
                "{first} to {} are in use and marked as free",
                first.saturating_add(*count).saturating_sub(1)
            ),
            Self::MarkedUsed(first, 1) => write!(f, "{first} is free and marked as in use"),
            Self::MarkedUsed(first, count) => write!(
                f,
                "{first} to {} are free and marked as in use",
                first.saturating_add(*count).saturating_sub(1)
            ),
        }
    }
}

/// All that a check came upon. Its text is a line for each finding that is kept, and one that says how many
/// there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The first findings, in the order of the walk.
    pub findings: Vec<Finding>,
    /// How many there are, those left out included.
    pub total: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let plural = if self.total == 1 { "" } else { "s" };
        write!(f, "{} finding{plural}", self.total)
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.total == 0
    }

    /// Notes a finding; past `most` it is only counted.
    pub(super) fn add(&mut self, finding: Finding, most: usize) {
        self.total = self.total.saturating_add(1);
        if self.findings.len() < most {
            self.findings.push(finding);
        }
    }
}
