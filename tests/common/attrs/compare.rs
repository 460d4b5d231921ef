//! Given the snapshots of a source and of the mounted image made from it, gives every difference
//! by path and field; never excuses one that its [`Options`] do not name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::text::{escape, hex, ranges};
use super::{Entry, Kind, ROOT, Snapshot, Time, outward};

/// What a difference is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    /// A path of the source that the image lacks.
    Missing,
    /// A path of the image that the source lacks.
    Extra,
    Type,
    Mode,
    Uid,
    Gid,
    /// Of regular files and symlinks.
    Size,
    Nlink,
    /// Which paths name the same inode.
    Links,
    Rdev,
    Atime,
    Mtime,
    Ctime,
    Target,
    Content,
    Holes,
    Flags,
    /// The xattrs system.posix_acl_access and system.posix_acl_default.
    Acl,
    /// Every other xattr.
    Xattr,
}

impl Field {
    const NAMES: [(Self, &str); 19] = [
        (Self::Missing, "missing"),
        (Self::Extra, "extra"),
        (Self::Type, "type"),
        (Self::Mode, "mode"),
        (Self::Uid, "uid"),
        (Self::Gid, "gid"),
        (Self::Size, "size"),
        (Self::Nlink, "nlink"),
        (Self::Links, "links"),
        (Self::Rdev, "rdev"),
        (Self::Atime, "atime"),
        (Self::Mtime, "mtime"),
        (Self::Ctime, "ctime"),
        (Self::Target, "target"),
        (Self::Content, "content"),
        (Self::Holes, "holes"),
        (Self::Flags, "flags"),
        (Self::Acl, "acl"),
        (Self::Xattr, "xattr"),
    ];
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(field, _)| field == self);
        f.write_str(name.map_or("?", |(_, name)| name))
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text);
        let names = || Self::NAMES.map(|(_, name)| name).join(" ");
        found
            .map(|(field, _)| *field)
            .ok_or_else(|| format!("{text}: not one of {}", names()))
    }
}

/// How the root directory itself is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum RootRule {
    /// As the formatter makes it: owner, mode, times and flags are its own.
    #[default]
    Made,
    /// As the source has it.
    Kept,
}

/// What times the image's inodes can hold; the expected time is clamped to that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TimeRule {
    /// Inodes with room for extra times: nanoseconds, from 1901-12-13 to 2446-05-10. A time
    /// outside becomes the nearer end, without nanoseconds.
    #[default]
    Extra34Bit,
    /// Inodes of 128 bytes: whole seconds, cut off towards the past, from 1901-12-13 to
    /// 2038-01-19.
    Seconds32Bit,
}

/// What is expected of lost+found in the image's root where the source has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LostFound {
    /// It may be there.
    #[default]
    Allowed,
    /// It must be there.
    Required,
}

/// What a comparison expects of the image beyond the source's own attributes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Fields left out.
    pub(crate) ignore: BTreeSet<Field>,
    pub(crate) root: RootRule,
    pub(crate) times: TimeRule,
    pub(crate) lost_found: LostFound,
}

/// One attribute of one path that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) path: Vec<u8>,
    pub(crate) field: Field,
    /// What the source makes one expect.
    pub(crate) expected: String,
    /// What the image has.
    pub(crate) found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, field) = (escape(&self.path), self.field);
        write!(
            f,
            "{path}: {field}: expected {}, found {}",
            self.expected, self.found
        )
    }
}

const LOST_FOUND: &[u8] = b"lost+found";

/// The link count above which ext4 gives a directory the count 1 (EXT4_LINK_MAX).
const MAX_DIRECTORY_LINKS: u64 = 65_000;

/// Everything in `image` that is not as `source` makes one expect, in path order.
pub(super) fn differences(
    source: &Snapshot,
    image: &Snapshot,
    options: &Options,
) -> Vec<Difference> {
    let mut comparison = Comparison {
        image_block_size: image.block_size.max(1),
        links: links(source, image),
        options,
        path: Vec::new(),
        differences: Vec::new(),
    };
    let paths: BTreeSet<&Vec<u8>> = source.entries.keys().chain(image.entries.keys()).collect();
    for path in paths {
        comparison.path.clone_from(path);
        match (source.entries.get(path), image.entries.get(path)) {
            (Some(source), Some(image)) => comparison.entry(source, image),
            (None, Some(entry)) if !expected_extra(path, entry) => {
                comparison.add(Field::Extra, "nothing".into(), entry.kind.to_string());
            }
            (Some(entry), None) => {
                comparison.add(Field::Missing, entry.kind.to_string(), "nothing".into());
            }
            _ => {}
        }
    }
    if options.lost_found == LostFound::Required && !image.entries.contains_key(LOST_FOUND) {
        comparison.path = LOST_FOUND.to_vec();
        comparison.add(
            Field::Missing,
            Kind::Directory.to_string(),
            "nothing".into(),
        );
    }
    comparison.differences
}

/// True of a lost+found that the formatter made.
fn expected_extra(path: &[u8], entry: &Entry) -> bool {
    path == LOST_FOUND && entry.kind == Kind::Directory
}

/// The link count that each path of the source must have in the image, where it is not one: the
/// names inside the tree, since those outside are not carried over.
fn links(source: &Snapshot, image: &Snapshot) -> BTreeMap<Vec<u8>, u64> {
    let mut links: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let lost_found = image
        .entries
        .get(LOST_FOUND)
        .map(|entry| (LOST_FOUND, entry));
    let lost_found = lost_found.filter(|(path, entry)| {
        !source.entries.contains_key(*path) && entry.kind == Kind::Directory
    });
    let entries = source
        .entries
        .iter()
        .map(|(path, entry)| (path.as_slice(), entry));
    for (path, entry) in entries.chain(lost_found) {
        if let Some(first) = &entry.first_link {
            *links.entry(first.clone()).or_default() += 1;
        }
        if entry.kind != Kind::Directory {
            continue;
        }
        *links.entry(path.to_vec()).or_default() += 2;
        if path != ROOT {
            let slash = path.iter().rposition(|byte| *byte == b'/');
            let parent = slash.map_or(ROOT, |slash| &path[..slash]);
            *links.entry(parent.to_vec()).or_default() += 1;
        }
    }
    links
}

struct Comparison<'a> {
    /// In bytes.
    image_block_size: u64,
    /// See [`links`].
    links: BTreeMap<Vec<u8>, u64>,
    options: &'a Options,
    /// The path at hand.
    path: Vec<u8>,
    differences: Vec<Difference>,
}

impl Comparison<'_> {
    fn add(&mut self, field: Field, expected: String, found: String) {
        if !self.options.ignore.contains(&field) {
            self.differences.push(Difference {
                path: self.path.clone(),
                field,
                expected,
                found,
            });
        }
    }

    fn check<T: PartialEq + fmt::Display>(&mut self, field: Field, expected: T, found: T) {
        if expected != found {
            self.add(field, expected.to_string(), found.to_string());
        }
    }

    fn entry(&mut self, source: &Entry, image: &Entry) {
        if source.kind != image.kind {
            self.add(Field::Type, source.kind.to_string(), image.kind.to_string());
            return;
        }
        if self.path != ROOT || self.options.root == RootRule::Kept {
            self.inode(source, image);
        }
        self.links_of(source, image);
        self.xattrs(source, image);
        if matches!(source.kind, Kind::Regular | Kind::Symlink) {
            self.check(Field::Size, source.size, image.size);
        }
        self.content(source, image);
    }

    /// What the root directory takes from the formatter, and all else from the source.
    fn inode(&mut self, source: &Entry, image: &Entry) {
        let octal = |mode| format!("{mode:04o}");
        self.check(Field::Mode, octal(source.mode), octal(image.mode));
        self.check(Field::Uid, source.uid, image.uid);
        self.check(Field::Gid, source.gid, image.gid);
        self.check(Field::Atime, self.time(source.atime), image.atime);
        self.check(Field::Mtime, self.time(source.mtime), image.mtime);
        self.check(Field::Ctime, self.time(source.ctime), image.ctime);
        if self.path != ROOT && source.flags.is_some() {
            let flags =
                |flags: Option<u32>| flags.map_or("none".into(), |bits| format!("{bits:#x}"));
            self.check(Field::Flags, flags(source.flags), flags(image.flags));
        }
    }

    /// The time that the image can hold for `time`.
    fn time(&self, time: Time) -> Time {
        let first = i64::from(i32::MIN);
        let last = match self.options.times {
            // Two more bits of seconds count up from the signed 32-bit value (ext4, i_*_extra).
            TimeRule::Extra34Bit => first + (1 << 34) - 1,
            TimeRule::Seconds32Bit => i64::from(i32::MAX),
        };
        let held = time.seconds.clamp(first, last);
        let whole = held != time.seconds || self.options.times == TimeRule::Seconds32Bit;
        Time {
            seconds: held,
            nanoseconds: if whole { 0 } else { time.nanoseconds },
        }
    }

    fn links_of(&mut self, source: &Entry, image: &Entry) {
        let key = source.first_link.as_ref().unwrap_or(&self.path);
        let mut count = self.links.get(key).copied().unwrap_or(1);
        if source.kind == Kind::Directory && count > MAX_DIRECTORY_LINKS {
            count = 1;
        }
        self.check(Field::Nlink, count, image.nlink);
        let first = |link: &Option<Vec<u8>>| {
            let text = link
                .as_deref()
                .map(|path| format!("one inode with {}", escape(path)));
            text.unwrap_or_else(|| "an inode of its own".into())
        };
        self.check(
            Field::Links,
            first(&source.first_link),
            first(&image.first_link),
        );
    }

    fn xattrs(&mut self, source: &Entry, image: &Entry) {
        let names: BTreeSet<_> = source.xattrs.keys().chain(image.xattrs.keys()).collect();
        for name in names {
            let acl = name.starts_with(b"system.posix_acl_");
            let field = if acl { Field::Acl } else { Field::Xattr };
            let text = |entry: &Entry| match entry.xattrs.get(name) {
                Some(value) => format!("{}=0x{}", escape(name), hex(value)),
                None => format!("no {}", escape(name)),
            };
            self.check(field, text(source), text(image));
        }
    }

    fn content(&mut self, source: &Entry, image: &Entry) {
        let (major, minor) = source.rdev;
        let (image_major, image_minor) = image.rdev;
        let device = |major: u32, minor: u32| format!("{major}:{minor}");
        self.check(
            Field::Rdev,
            device(major, minor),
            device(image_major, image_minor),
        );
        let text = |target: &Option<Vec<u8>>| escape(target.as_deref().unwrap_or_default());
        self.check(Field::Target, text(&source.target), text(&image.target));
        let digest = |entry: &Entry| hex(&entry.digest.unwrap_or_default());
        self.check(Field::Content, digest(source), digest(image));
        // A hole smaller than a block of the image cannot stay one.
        let expected = outward(&source.data, self.image_block_size);
        let found = outward(&image.data, self.image_block_size);
        self.check(Field::Holes, data_text(&expected), data_text(&found));
    }
}

fn data_text(data: &[std::ops::Range<u64>]) -> String {
    format!("data at [{}]", ranges(data))
}
