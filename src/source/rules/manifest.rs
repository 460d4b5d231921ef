//! Given a manifest and a tree, changes what the tree has and adds what it has not; never reads a
//! file itself.

use std::fmt;
use std::sync::Arc;

use super::super::SourceError;
use super::super::place::{self, Destination, IfMissing};
use super::change::{Change, Make, kind_name};
use super::error::{RuleError, RuleErrorKind};
use super::mtree::{FLAGS, Keywords, Line, Lines, Name, Type};
use crate::tree::{Content, Device, Kind, NodeId, Special, Tree};
use crate::units::Timestamp;

/// What gives the content that a manifest's `contents=` names.
pub type OpenContent = Arc<dyn Fn(&[u8]) -> Result<Content, SourceError> + Send + Sync>;

/// An mtree(5) manifest as a rule.
///
/// ```
/// use mke4fs::source::rules::Manifest;
///
/// let text = "./dev/console type=char mode=0600 uid=0 gid=5 device=native,5,1\n";
/// Manifest::new("devices", text)?;
/// let said = Manifest::new("devices", "x type=pipe\n").unwrap_err().to_string();
/// assert!(said.starts_with("devices:1: invalid type 'pipe'"));
/// # Ok::<(), mke4fs::source::rules::RuleError>(())
/// ```
#[derive(Clone)]
pub struct Manifest {
    file: String,
    text: Arc<[u8]>,
    open: Option<OpenContent>,
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Manifest {
    /// The manifest `text`, which messages call `file`.
    ///
    /// # Errors
    /// Where a line is none of a manifest's.
    pub fn new(file: impl Into<String>, text: impl AsRef<[u8]>) -> Result<Self, RuleError> {
        let (file, text) = (file.into(), text.as_ref());
        Lines::new(&file, text).try_for_each(|line| line.map(drop))?;
        Ok(Self {
            file,
            text: text.into(),
            open: None,
        })
    }

    /// Lets `open` give the content that a `contents=` names. Without it a manifest that asks for
    /// such content is refused, since it would choose among the host's files.
    #[must_use]
    pub fn contents(mut self, open: OpenContent) -> Self {
        self.open = Some(open);
        self
    }

    /// The name that messages call it by.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Changes `tree`, and says whether there was anything to do.
    pub(super) fn apply(&self, tree: &mut Tree, now: Timestamp) -> Result<bool, RuleError> {
        // Directories that are open, the root first; none where an optional one is not there.
        let mut open = vec![Some(NodeId::ROOT)];
        let mut has_entries = false;
        for line in Lines::new(&self.file, &self.text) {
            let (number, line) = line?;
            let (name, keywords) = match line {
                Line::Entry(name, keywords) => (name, keywords),
                Line::Up => {
                    // As many as there are end the same directory: nothing is above the root.
                    open.truncate((open.len() - 1).max(1));
                    continue;
                }
            };
            has_entries = true;
            let opens =
                matches!(name, Name::Here(_)) && keywords.entry_type == Some(Type::Directory);
            let entry = Entry {
                manifest: self,
                keywords: &keywords,
                now,
            };
            let here = open.last().copied().flatten();
            let applied = entry.apply(tree, &name, here);
            let node = applied.map_err(|fault| fault.at(&self.file, number))?;
            if opens {
                open.push(node);
            }
        }
        Ok(has_entries)
    }
}

/// An entry that is being applied.
struct Entry<'a> {
    manifest: &'a Manifest,
    keywords: &'a Keywords,
    now: Timestamp,
}

impl Entry<'_> {
    /// Changes or adds it, and gives its node; none where it is optional and not there. `here` is the
    /// directory that is open.
    fn apply(
        &self,
        tree: &mut Tree,
        name: &Name,
        here: Option<NodeId>,
    ) -> Result<Option<NodeId>, RuleErrorKind> {
        let if_missing = if self.keywords.optional {
            IfMissing::Stop
        } else {
            IfMissing::Make(self.now)
        };
        let (spot, path) = match (name, here) {
            (Name::Path(path), _) => (place::find(tree, path, if_missing)?, path),
            (Name::Here(name), Some(here)) if name == b"." => {
                (Some(Destination::Directory(here)), name)
            }
            (Name::Here(name), Some(here)) => (Some(Destination::Name(here, name.clone())), name),
            (Name::Here(_), None) => return Ok(None),
        };
        let Some(spot) = spot else {
            return Ok(None);
        };
        match spot.node(tree)? {
            Some(node) if self.keywords.nochange => Ok(Some(node)),
            Some(node) => self.change(tree, &spot, node, path).map(Some),
            None if self.keywords.optional => Ok(None),
            None => self.add(tree, &spot, path).map(Some),
        }
    }

    fn add(
        &self,
        tree: &mut Tree,
        spot: &Destination,
        path: &[u8],
    ) -> Result<NodeId, RuleErrorKind> {
        let needed = |needed| RuleErrorKind::Adding {
            path: path.to_vec(),
            needed,
        };
        let asked = self
            .keywords
            .entry_type
            .ok_or_else(|| needed("add type="))?;
        let make = self.make(asked, path)?;
        make.put(tree, spot, &self.wished(), self.now)
    }

    fn change(
        &self,
        tree: &mut Tree,
        spot: &Destination,
        node: NodeId,
        path: &[u8],
    ) -> Result<NodeId, RuleErrorKind> {
        let kind = &tree.node(node).kind;
        let is = type_of(kind);
        let asked = self.keywords.entry_type.unwrap_or(is);
        if asked != is && [asked, is].contains(&Type::Directory) {
            return Err(RuleErrorKind::OtherKind {
                path: path.to_vec(),
                is: kind_name(kind),
                asked: type_name(asked),
            });
        }
        if asked == is && !self.asks_for_more(kind) {
            self.wished().apply(tree, node);
            return Ok(node);
        }
        let make = self.make(asked, path)?;
        make.put(tree, spot, &self.wished(), self.now)
    }

    /// Whether an entry of the same type as `kind` asks for another target, device or content.
    fn asks_for_more(&self, kind: &Kind) -> bool {
        let keywords = self.keywords;
        match kind {
            Kind::File(_) => keywords.contents.is_some(),
            Kind::Symlink(target) => {
                let link = keywords.link.as_deref();
                link.is_some_and(|link| link != &target[..])
            }
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                keywords.device.is_some_and(|asked| asked != *device)
            }
            Kind::Directory(_) | Kind::Fifo | Kind::Socket => false,
        }
    }

    fn make(&self, asked: Type, path: &[u8]) -> Result<Make, RuleErrorKind> {
        Ok(match asked {
            Type::Directory => Make::Directory,
            Type::File => Make::File(self.content(path)?),
            Type::Link => {
                let target = self.keywords.link.clone();
                Make::Symlink(target.ok_or_else(|| adding(path, "add link="))?)
            }
            Type::Char => Make::Special(Special::CharDevice(self.device(path)?)),
            Type::Block => Make::Special(Special::BlockDevice(self.device(path)?)),
            Type::Fifo => Make::Special(Special::Fifo),
            Type::Socket => Make::Special(Special::Socket),
        })
    }

    fn device(&self, path: &[u8]) -> Result<Device, RuleErrorKind> {
        self.keywords
            .device
            .ok_or_else(|| adding(path, "add device="))
    }

    fn content(&self, path: &[u8]) -> Result<Content, RuleErrorKind> {
        match (&self.keywords.contents, &self.manifest.open) {
            (Some(contents), Some(open)) => open(contents).map_err(RuleErrorKind::Content),
            (Some(_), None) => Err(adding(path, "contents= would need the host's files")),
            (None, _) if self.keywords.size == Some(0) => Ok(Content::from_bytes([])),
            (None, _) => Err(adding(path, "add contents= or size=0")),
        }
    }

    fn wished(&self) -> Change {
        let known = FLAGS.iter().fold(0, |all, (_, bit)| all | bit);
        Change {
            permissions: self.keywords.mode,
            uid: self.keywords.uid,
            gid: self.keywords.gid,
            mtime: self.keywords.time,
            flags: self.keywords.flags.map(|set| (known, set)),
            xattrs: self.keywords.xattrs.clone(),
        }
    }
}

fn adding(path: &[u8], needed: &'static str) -> RuleErrorKind {
    RuleErrorKind::Adding {
        path: path.to_vec(),
        needed,
    }
}

fn type_of(kind: &Kind) -> Type {
    match kind {
        Kind::Directory(_) => Type::Directory,
        Kind::File(_) => Type::File,
        Kind::Symlink(_) => Type::Link,
        Kind::CharDevice(_) => Type::Char,
        Kind::BlockDevice(_) => Type::Block,
        Kind::Fifo => Type::Fifo,
        Kind::Socket => Type::Socket,
    }
}

fn type_name(of: Type) -> &'static str {
    match of {
        Type::Block => "a block device",
        Type::Char => "a character device",
        Type::Directory => "a directory",
        Type::Fifo => "a named pipe",
        Type::File => "a file",
        Type::Link => "a symbolic link",
        Type::Socket => "a socket",
    }
}
