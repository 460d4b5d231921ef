//! Given entries one by one, puts each where it belongs in a tree; never follows a name out of it.
//!
//! What a name means is as if the tree's root were the root of the process: a leading slash and a `..`
//! lead no further, and a symbolic link on the way leads to where it points inside the tree. The last
//! part of a name is never followed. What comes later replaces what has its name, but that a
//! directory in the place of one keeps what it holds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;

use super::acl::{ACCESS, Acl, DEFAULT, Named};
use super::entry::{Entry, EntryKind, Stored};
use super::oddity::{Oddities, Oddity};
use super::owners::{Owners, Wanted};
use crate::source::place::Followed;
use crate::source::{AclNames, Readable, SourceError, SourceWarning, ext4_names};
use crate::sys;
#[cfg(feature = "oci")]
use crate::tree;
use crate::tree::{Content, DataMap, Kind, Metadata, NodeId, Tree, TreeError, Xattr};
use crate::work;

/// How much of a file is read for the numbers of owners, in bytes.
const MOST_OWNERS: u64 = 1 << 24;
/// How many of the files that an archive has had for them are remembered: the last of each.
const MOST_REMEMBERED: usize = 2;

/// How many directories may be made for an entry besides those that its own name spells: a target that
/// one entry holds can be walked from many places.
const MOST_IMPLIED: usize = 64;

/// How many directories that no entry declares there may be beside [`MOST_IMPLIED`] for each entry: a
/// name of some kilobytes can spell thousands, each of which takes hundreds of bytes of memory.
const MOST_UNDECLARED: usize = 1 << 16;

/// A tree that entries are put into.
#[derive(Debug)]
pub struct Unpack<'a> {
    tree: &'a mut Tree,
    root: NodeId,
    /// What directories are that no entry declares.
    implied: Metadata,
    root_metadata: Option<Metadata>,
    /// How many more directories there may be that no entry declares.
    undeclared: usize,
    /// The ACLs of nodes that give names for owners, which the tree itself may know in the end.
    named: BTreeMap<NodeId, Vec<NamedAcl>>,
    /// What files hold that may have the numbers of those names.
    remembered: BTreeMap<NodeId, Vec<u8>>,
    /// Attributes that were skipped: the first entry's path and the count, by name.
    skipped: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    oddities: Oddities,
    /// What hard links may lead to although it was taken out, by path.
    held: BTreeMap<Vec<u8>, NodeId>,
    /// How many nodes the tree had before this archive, or this layer of several.
    before: usize,
    /// Whether the path that was gone last has a `..` that leads above the root.
    is_above_root: bool,
    acl_names: AclNames,
}

#[derive(Debug)]
struct NamedAcl {
    attribute: &'static [u8],
    acl: Acl,
    path: Vec<u8>,
    offset: u64,
}

/// Why an entry has no place.
///
/// Its text has the entry's name and offset.
#[derive(Debug)]
pub struct UnpackError {
    path: Vec<u8>,
    offset: u64,
    why: UnpackErrorKind,
}

#[derive(Debug)]
enum UnpackErrorKind {
    Tree(TreeError),
    /// Something on the way is no directory.
    NotADirectory(Vec<u8>),
    /// Something on the way is not there.
    Missing(Vec<u8>),
    /// Too many symbolic links on the way.
    TooManyLinks,
    /// Too many directories on the ways to entries, that no entry declares.
    Undeclared,
    /// The target of a hard link is not there.
    NoTarget(Vec<u8>),
    /// The target of a hard link is a directory, or left out.
    Target(Vec<u8>, &'static str),
    /// The name leads to a directory, and the entry is none.
    NamesDirectory,
    /// Its data cannot be kept.
    Unkept(io::Error),
    /// A name in an ACL, whose number nobody knows.
    Owner(Vec<u8>, &'static [u8], AclNames),
}

/// What becomes of a directory that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfMissing {
    Create,
    Refuse,
}

impl<'a> Unpack<'a> {
    /// Puts entries into `tree`, below the directory `root`. Directories that lead to an entry and that
    /// no entry declares are `implied`.
    ///
    /// # Errors
    /// Where the tree has a name twice.
    pub fn new(tree: &'a mut Tree, root: NodeId, implied: Metadata) -> Result<Self, TreeError> {
        tree.overlay()?;
        Ok(Self {
            before: tree.len(),
            tree,
            root,
            implied,
            root_metadata: None,
            undeclared: MOST_UNDECLARED,
            named: BTreeMap::new(),
            remembered: BTreeMap::new(),
            skipped: BTreeMap::new(),
            oddities: Oddities::default(),
            held: BTreeMap::new(),
            is_above_root: false,
            acl_names: AclNames::default(),
        })
    }

    /// Says what becomes of names in ACLs that the image does not know.
    #[must_use]
    pub fn acl_names(mut self, names: AclNames) -> Self {
        self.acl_names = names;
        self
    }

    /// Tells that what follows is of another archive, which may replace all that was put there before.
    pub fn begin_layer(&mut self) {
        self.before = self.tree.len();
    }

    /// Keeps what hard links among `entries` lead to by now, even if something takes that out of the tree
    /// before they are put there: until [`release`](Self::release).
    #[cfg(feature = "oci")]
    pub(in crate::source) fn hold_targets<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        for entry in entries {
            if let EntryKind::HardLink(target) = &entry.kind
                && !self.held.contains_key(target)
                && let Ok(node) = self.target(target)
            {
                self.tree.hold(node);
                self.held.insert(target.clone(), node);
            }
        }
    }

    /// Lets go of what was held.
    #[cfg(feature = "oci")]
    pub(in crate::source) fn release(&mut self) {
        for node in std::mem::take(&mut self.held).into_values() {
            self.tree.release(node);
        }
    }

    /// Takes over what was odd about the archive itself.
    pub(in crate::source) fn note(&mut self, oddities: Oddities) {
        self.oddities.extend(oddities);
    }

    /// The tree as it is by now.
    pub fn tree(&mut self) -> &mut Tree {
        self.tree
    }

    /// How many nodes the tree has, those included that are gone.
    #[cfg(feature = "oci")]
    pub(in crate::source) fn nodes(&self) -> usize {
        self.tree.len()
    }

    /// A digest of all that entries to come, and the tree's readers, can tell of what is there by now:
    /// where it is the same, the same entries lead to the same again.
    #[cfg(feature = "oci")]
    pub(in crate::source) fn state(&self) -> [u8; 32] {
        tree::digest::of(self.tree, self.root, |node, hash| {
            let own = self.tree.node(node);
            hash(&own.xattrs.index().to_le_bytes());
            if let Kind::File(content) = &own.kind {
                // A content of an archive is known by who reads it and what that calls it.
                let source = std::sync::Arc::as_ptr(&content.source).cast::<()>();
                hash(format!("{source:p} {}", content.key).as_bytes());
            }
            if node == self.root {
                hash(format!("{:?}", self.root_metadata).as_bytes());
            }
            if let Some(named) = self.named.get(&node) {
                hash(format!("{named:?}").as_bytes());
            }
        })
    }

    /// What the last entry for the root itself said of it.
    pub fn root_metadata(&self) -> Option<Metadata> {
        self.root_metadata
    }

    /// Puts `entry` where it belongs. A regular file needs its `content`.
    ///
    /// Gives the node that it has become, or become a name of.
    ///
    /// # Errors
    /// Where the entry has no place inside the tree, or the tree cannot hold it.
    pub fn entry(&mut self, entry: Entry, content: Option<Content>) -> Result<NodeId, UnpackError> {
        let (path, offset) = (entry.path.clone(), entry.offset);
        self.undeclared = self.undeclared.saturating_add(MOST_IMPLIED);
        let placed = self.place(entry, content);
        placed.map_err(|why| UnpackError { path, offset, why })
    }

    /// The directory in which `path` has its last part, and that part; none if `path` leads to the root
    /// or ends in `..`. Nothing is created.
    ///
    /// # Errors
    /// Where there is no such directory.
    pub fn locate<'p>(
        &mut self,
        path: &'p [u8],
    ) -> Result<Option<(NodeId, &'p [u8])>, UnpackError> {
        let (above, Some(name)) = split(path) else {
            return Ok(None);
        };
        let directory = self.directory(above, IfMissing::Refuse);
        let directory = directory.map_err(|why| UnpackError {
            path: path.to_vec(),
            offset: 0,
            why,
        })?;
        Ok(Some((directory, name)))
    }

    /// Whether the file that an entry has at `path` may be asked for owners' numbers in the end.
    pub(in crate::source) fn may_ask_for(path: &[u8], stored: &Stored) -> bool {
        let mut names = Vec::new();
        let mut from = 0;
        while let Some(name) = next_name(path, &mut from) {
            names.push(name);
        }
        let has_numbers = names == [&b"etc"[..], b"passwd"] || names == [&b"etc"[..], b"group"];
        has_numbers && stored.data == DataMap::Whole && stored.size_bytes <= MOST_OWNERS
    }

    /// Keeps what the file `node` holds, for want of somebody who can read it again. What was replaced
    /// since is forgotten: an archive may hold the same name a hundred times.
    pub(in crate::source) fn remember(&mut self, node: NodeId, bytes: Vec<u8>) {
        let tree = &*self.tree;
        self.remembered.retain(|node, _| tree.node(*node).names > 0);
        if self.remembered.len() >= MOST_REMEMBERED {
            self.remembered.pop_first();
        }
        self.remembered.insert(node, bytes);
    }

    /// Ends the unpacking: names in ACLs get the numbers that `/etc/passwd` and `/etc/group` of the tree
    /// have for them. Gives what was left out.
    ///
    /// # Errors
    /// Where a name has no number.
    pub fn finish(mut self) -> Result<Vec<SourceWarning>, SourceError> {
        let named = std::mem::take(&mut self.named);
        if !named.is_empty() {
            let wanted = Wanted::of(named.values().flatten().map(|named| &named.acl));
            let mut owners = Owners {
                users: wanted.numbers(&self.file(b"etc/passwd")?),
                groups: wanted.numbers(&self.file(b"etc/group")?),
            };
            if self.acl_names == AclNames::Host {
                owners.add(wanted.of_host()?);
            }
            let acls = named
                .into_iter()
                .flat_map(|(node, acls)| acls.into_iter().map(move |acl| (node, acl)));
            for (node, acl) in acls {
                self.number(node, acl, &owners)?;
            }
        }
        let skipped = self.skipped.into_iter();
        let warning = |(name, (path, files))| SourceWarning::AttributeSkipped { name, path, files };
        Ok(skipped
            .map(warning)
            .chain(self.oddities.warnings())
            .collect())
    }

    fn number(
        &mut self,
        node: NodeId,
        named: NamedAcl,
        owners: &Owners,
    ) -> Result<(), SourceError> {
        // Replaced since.
        if self.tree.node(node).names == 0 {
            return Ok(());
        }
        let mut acl = named.acl;
        if self.acl_names == AclNames::Skip {
            let (known, has_lost) = acl.without_unknown(|name| owners.number(name).is_some());
            acl = known;
            if has_lost {
                self.oddities.note(Oddity::AclNameUnknown, &named.path);
            }
        }
        let value = acl.value(|name| owners.number(name));
        let value = value.map_err(|name| {
            SourceError::other(UnpackError {
                path: named.path,
                offset: named.offset,
                why: UnpackErrorKind::Owner(name, named.attribute, self.acl_names),
            })
        })?;
        let mut xattrs = self.tree.xattrs(node).to_vec();
        xattrs.push(Xattr {
            name: named.attribute.to_vec(),
            value,
        });
        let set = self.tree.intern_xattrs(xattrs);
        self.tree.replace_xattrs(node, set);
        Ok(())
    }

    /// What the file at `path` holds; nothing, if there is none.
    fn file(&mut self, path: &[u8]) -> Result<Vec<u8>, SourceError> {
        let Ok(Some((directory, name))) = self.locate(path) else {
            return Ok(Vec::new());
        };
        let Some(node) = self.tree.lookup(directory, name)? else {
            return Ok(Vec::new());
        };
        if let Some(bytes) = self.remembered.get(&node) {
            return Ok(bytes.clone());
        }
        let Kind::File(content) = &self.tree.node(node).kind else {
            return Ok(Vec::new());
        };
        let length = usize::try_from(content.size_bytes.min(MOST_OWNERS)).unwrap_or(0);
        let mut bytes = vec![0; length];
        let unread = |error| SourceError::read(path, error);
        let mut reader = content.open().map_err(unread)?;
        for range in content.data_in(0..content.size_bytes.min(MOST_OWNERS)) {
            let place = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end).ok());
            let place = place.map_or(0..0, |(start, end)| start..end);
            let read = reader.read_exact_at(range.start, &mut bytes[place]);
            read.map_err(unread)?;
        }
        Ok(bytes)
    }

    fn place(&mut self, entry: Entry, content: Option<Content>) -> Result<NodeId, UnpackErrorKind> {
        self.is_above_root = false;
        let node = self.put(&entry, content)?;
        if self.is_above_root {
            self.oddities.note(Oddity::AboveRoot, &entry.path);
        }
        for oddity in &entry.oddities {
            self.oddities.note(*oddity, &entry.path);
        }
        Ok(node)
    }

    fn put(&mut self, entry: &Entry, content: Option<Content>) -> Result<NodeId, UnpackErrorKind> {
        let (above, name) = split(&entry.path);
        let Some(name) = name else {
            return self.directory_itself(entry, above);
        };
        // Before its own place is made, which may be the target's.
        let target = match &entry.kind {
            EntryKind::HardLink(target) => Some(self.target_or_held(target)?),
            _ => None,
        };
        let parent = self.directory(above, IfMissing::Create)?;
        if !matches!(entry.kind, EntryKind::Directory) && self.has_filled(parent, name)? {
            self.oddities.note(Oddity::ReplacesDirectory, &entry.path);
        }
        let metadata = entry.metadata;
        let tree = &mut *self.tree;
        let node = match entry.kind.clone() {
            EntryKind::Directory => tree.directory_at(parent, name, metadata)?,
            EntryKind::File(_) => {
                let content = content.unwrap_or_else(|| Content::from_bytes(*b""));
                tree.file_at(parent, name, metadata, content)?
            }
            EntryKind::Symlink(target) => tree.symlink_at(parent, name, metadata, &target)?,
            EntryKind::Special(special) => tree.special_at(parent, name, metadata, special)?,
            EntryKind::HardLink(_) => {
                let node = target.unwrap_or(parent);
                tree.link_at(parent, name, node)?;
                // Its attributes are those that the node has.
                return Ok(node);
            }
        };
        self.attributes(node, entry);
        Ok(node)
    }

    /// Whether `name` in `parent` is a directory in which the archive itself has put something.
    fn has_filled(&mut self, parent: NodeId, name: &[u8]) -> Result<bool, UnpackErrorKind> {
        let mut directories: Vec<NodeId> = self.tree.lookup(parent, name)?.into_iter().collect();
        while let Some(directory) = directories.pop() {
            if !matches!(self.tree.node(directory).kind, Kind::Directory(_)) {
                continue;
            }
            for entry in self.tree.entries(directory) {
                if entry.node.index() >= self.before {
                    return Ok(true);
                }
                directories.push(entry.node);
            }
        }
        Ok(false)
    }

    /// Gives a directory that is there already what the entry says of it.
    fn directory_itself(&mut self, entry: &Entry, path: &[u8]) -> Result<NodeId, UnpackErrorKind> {
        if !matches!(entry.kind, EntryKind::Directory) {
            return Err(UnpackErrorKind::NamesDirectory);
        }
        let node = self.directory(path, IfMissing::Create)?;
        if node == self.root {
            self.root_metadata = Some(entry.metadata);
        } else {
            self.tree.replace_metadata(node, entry.metadata);
        }
        self.attributes(node, entry);
        Ok(node)
    }

    /// What a hard link leads to, or led to before something was taken out.
    fn target_or_held(&mut self, path: &[u8]) -> Result<NodeId, UnpackErrorKind> {
        match self.target(path) {
            Err(UnpackErrorKind::NoTarget(path)) => match self.held.get(&path) {
                Some(held) => Ok(*held),
                None => Err(UnpackErrorKind::NoTarget(path)),
            },
            found => found,
        }
    }

    /// What a hard link leads to.
    fn target(&mut self, path: &[u8]) -> Result<NodeId, UnpackErrorKind> {
        let none = || UnpackErrorKind::NoTarget(path.to_vec());
        let (above, Some(name)) = split(path) else {
            return Err(UnpackErrorKind::Target(
                path.to_vec(),
                "which is a directory",
            ));
        };
        let parent = match self.directory(above, IfMissing::Refuse) {
            Err(UnpackErrorKind::Missing(_)) => return Err(none()),
            parent => parent?,
        };
        let node = self.tree.lookup(parent, name)?.ok_or_else(none)?;
        match self.tree.node(node).kind {
            Kind::Directory(_) => Err(UnpackErrorKind::Target(
                path.to_vec(),
                "which is a directory",
            )),
            _ => Ok(node),
        }
    }

    /// The directory that `path` leads to from the root.
    fn directory(&mut self, path: &[u8], if_missing: IfMissing) -> Result<NodeId, UnpackErrorKind> {
        let mut at = vec![self.root];
        // Names below it that are not there.
        let mut missing: Vec<Vec<u8>> = Vec::new();
        let mut rest: Vec<(Cow<'_, [u8]>, usize)> = vec![(Cow::Borrowed(path), 0)];
        let mut followed = Followed::default();
        work::add_bytes(path.len());
        while let Some((text, from)) = rest.last_mut() {
            let Some(name) = next_name(text, from) else {
                rest.pop();
                continue;
            };
            work::add(1);
            let here = at[at.len() - 1];
            match name {
                b".." if missing.pop().is_some() => continue,
                b".." => {
                    // As the kernel has it where a symbolic link says so.
                    self.is_above_root |= at.len() == 1 && rest.len() == 1;
                    at.truncate(at.len().saturating_sub(1).max(1));
                    continue;
                }
                name if !missing.is_empty() => {
                    missing.push(name.to_vec());
                    continue;
                }
                _ => {}
            }
            let Some(node) = self.tree.lookup(here, name)? else {
                missing.push(name.to_vec());
                continue;
            };
            match &self.tree.node(node).kind {
                Kind::Directory(_) => at.push(node),
                Kind::Symlink(target) => {
                    if !followed.may_follow(target) {
                        return Err(UnpackErrorKind::TooManyLinks);
                    }
                    if target.starts_with(b"/") {
                        at.truncate(1);
                    }
                    let target = target.to_vec();
                    rest.push((Cow::Owned(target), 0));
                }
                _ => return Err(UnpackErrorKind::NotADirectory(name.to_vec())),
            }
        }
        if missing.len() > path.len() / 2 + 1 + MOST_IMPLIED {
            return Err(UnpackErrorKind::TooManyLinks);
        }
        let mut here = at[at.len() - 1];
        if if_missing == IfMissing::Create {
            let left = self.undeclared.checked_sub(missing.len());
            self.undeclared = left.ok_or(UnpackErrorKind::Undeclared)?;
        }
        for name in missing {
            if if_missing == IfMissing::Refuse {
                return Err(UnpackErrorKind::Missing(name));
            }
            here = self.tree.directory_at(here, &name, self.implied)?;
        }
        Ok(here)
    }

    /// Gives `node` the extended attributes and ACLs of the entry.
    fn attributes(&mut self, node: NodeId, entry: &Entry) {
        let mut kept = Vec::with_capacity(entry.xattrs.len());
        // As the kernel's `xattr_permission` has it.
        let has_user = matches!(entry.kind, EntryKind::Directory | EntryKind::File(_));
        if !has_user && entry.xattrs.iter().any(is_of_user) {
            self.oddities.note(Oddity::UserAttribute, &entry.path);
        }
        for xattr in &entry.xattrs {
            if is_of_user(xattr) && !has_user {
                continue;
            }
            if ext4_names(&xattr.name) {
                kept.push(xattr.clone());
            } else {
                let first = || (entry.path.clone(), 0);
                let skipped = self.skipped.entry(xattr.name.clone());
                skipped.or_insert_with(first).1 += 1;
            }
        }
        let mut named = Vec::new();
        for (attribute, acl) in [(ACCESS, &entry.acl), (DEFAULT, &entry.default_acl)] {
            let Some(acl) = acl else { continue };
            // What everyone knows needs no file.
            let known = |name: Named<'_>| match name {
                Named::User(b"root") | Named::Group(b"root") => Some(0),
                _ => None,
            };
            match acl.value(known) {
                Ok(value) => kept.push(Xattr {
                    name: attribute.to_vec(),
                    value,
                }),
                Err(_) => named.push(NamedAcl {
                    attribute,
                    acl: acl.clone(),
                    path: entry.path.clone(),
                    offset: entry.offset,
                }),
            }
        }
        self.named.remove(&node);
        if !named.is_empty() {
            self.named.insert(node, named);
        }
        let set = self.tree.intern_xattrs(kept);
        self.tree.replace_xattrs(node, set);
    }
}

fn is_of_user(xattr: &Xattr) -> bool {
    xattr.name.starts_with(b"user.")
}

/// The next part of the path `text` from the byte `from` on, which is then behind it.
fn next_name<'t>(text: &'t [u8], from: &mut usize) -> Option<&'t [u8]> {
    loop {
        let start = *from + text[*from..].iter().position(|byte| *byte != b'/')?;
        let length = text[start..].iter().position(|byte| *byte == b'/');
        *from = length.map_or(text.len(), |length| start + length);
        let name = &text[start..*from];
        if name != b"." {
            return Some(name);
        }
    }
}

/// What stands before the last part of a path, and that part; or all of it, where that is no name.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut rest = path;
    loop {
        let length = rest.iter().rposition(|byte| *byte == b'/');
        let (above, name) = rest.split_at(length.map_or(0, |slash| slash + 1));
        match name {
            b"" if above.is_empty() => return (above, None),
            b"." | b"" => rest = above.strip_suffix(b"/").unwrap_or(above),
            b".." => return (rest, None),
            name => return (above, Some(name)),
        }
    }
}

impl From<TreeError> for UnpackErrorKind {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

impl From<UnpackError> for SourceError {
    fn from(error: UnpackError) -> Self {
        Self::other(error)
    }
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, offset) = (Readable(&self.path), self.offset);
        if matches!(self.why, UnpackErrorKind::Unkept(_)) && !f.alternate() {
            return write!(f, "cannot keep {path} at byte {offset}");
        }
        write!(f, "{path} at byte {offset}: ")?;
        match &self.why {
            UnpackErrorKind::Tree(error) => error.fmt(f),
            UnpackErrorKind::NotADirectory(name) => {
                write!(f, "{} in its path is not a directory", Readable(name))
            }
            UnpackErrorKind::Missing(name) => {
                write!(f, "{} in its path does not exist", Readable(name))
            }
            UnpackErrorKind::TooManyLinks => f.write_str("too many symbolic links in its path"),
            UnpackErrorKind::Undeclared => {
                f.write_str("too many directories in its path that no entry declares")
            }
            UnpackErrorKind::NoTarget(target) => {
                let target = Readable(target);
                write!(f, "it is a hard link to {target}, which does not exist")
            }
            UnpackErrorKind::Target(target, what) => {
                write!(f, "it is a hard link to {}, {what}", Readable(target))
            }
            UnpackErrorKind::NamesDirectory => f.write_str("only a directory can have that name"),
            UnpackErrorKind::Unkept(error) => f.write_str(&sys::reason(error)),
            UnpackErrorKind::Owner(name, attribute, searched) => {
                let (name, attribute) = (Readable(name), Readable(attribute));
                let (asked, cure) = match searched {
                    AclNames::Host => ("the archive, /etc in the image nor the host", "skip"),
                    _ => ("the archive nor /etc in the image", "host or skip"),
                };
                write!(
                    f,
                    "its ACL is for {name}, and neither {asked} has a number for that name; use --acl-names {cure}, or \
                     --xattr-exclude {attribute} to leave out such ACLs"
                )
            }
        }
    }
}

impl Error for UnpackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            UnpackErrorKind::Unkept(error) => Some(error),
            _ => None,
        }
    }
}

impl UnpackError {
    pub(in crate::source) fn unkept(path: Vec<u8>, offset: u64, error: io::Error) -> Self {
        let why = UnpackErrorKind::Unkept(error);
        Self { path, offset, why }
    }

    /// Why the hard link `entry` to `target` has no place: the caller has passed over its target.
    pub(in crate::source) fn left_out(entry: &Entry, target: &[u8]) -> Self {
        Self {
            path: entry.path.clone(),
            offset: entry.offset,
            why: UnpackErrorKind::Target(target.to_vec(), "which is left out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_their_last_name() {
        for (path, above, name) in [
            (&b"a"[..], &b""[..], Some(&b"a"[..])),
            (b"a/b", b"a/", Some(b"b")),
            (b"a/b//", b"a/", Some(b"b")),
            (b"a/b/./", b"a/", Some(b"b")),
            (b"./a", b"./", Some(b"a")),
            (b"/a", b"/", Some(b"a")),
            (b"./", b"", None),
            (b"/", b"", None),
            (b"//./", b"", None),
            (b"a/..", b"a/..", None),
            (b"a/../", b"a/..", None),
        ] {
            assert_eq!(split(path), (above, name), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn names_are_taken_one_by_one() {
        let (text, mut from) = (b"//a/./b/../c/.", 0);
        let mut names = Vec::new();
        while let Some(name) = next_name(text, &mut from) {
            names.push(name);
        }
        assert_eq!(names, [&b"a"[..], b"b", b"..", b"c"]);
    }
}
