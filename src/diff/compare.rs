//! Given two trees and where their data differs, tells what differs at each path; never reads data.

use std::cell::OnceCell;
use std::io;

use super::data::Differing;
use super::links::{FirstNames, Meeting, Met};
use super::pairs::{Pair, Pairs};
use super::{Attribute, Attributes, DiffError, DiffOptions, Difference, Finding};
use crate::tree::{Kind, Metadata, NodeId, Tree, Xattr};

/// Two trees on their way to their differences.
pub(super) struct Comparison<'a> {
    trees: [&'a Tree; 2],
    ignored: Attributes,
    first_names: [OnceCell<FirstNames<'a>>; 2],
}

/// Takes what differs at one path.
struct Telling<'t, 'a> {
    path: &'t [u8],
    ignored: Attributes,
    each: &'t mut dyn FnMut(Difference<'a>) -> io::Result<()>,
}

impl<'a> Telling<'_, 'a> {
    /// Tells of a difference, unless it is ignored.
    fn tell(&mut self, finding: Finding<'a>) -> Result<(), DiffError> {
        let attribute = finding.attribute();
        if attribute.is_some_and(|attribute| self.ignored.has(attribute)) {
            return Ok(());
        }
        let path = self.path.to_vec();
        (self.each)(Difference { path, finding }).map_err(DiffError::Told)
    }

    /// Tells of values that differ.
    fn values<T: PartialEq>(
        &mut self,
        a: T,
        b: T,
        finding: fn(T, T) -> Finding<'a>,
    ) -> Result<(), DiffError> {
        if a == b {
            return Ok(());
        }
        self.tell(finding(a, b))
    }
}

impl<'a> Comparison<'a> {
    pub(super) fn new(trees: [&'a Tree; 2], options: &DiffOptions) -> Self {
        Self {
            trees,
            ignored: options.ignored,
            first_names: Default::default(),
        }
    }

    /// The files that have to be read: regular files of one size that meet at a name.
    ///
    /// Where hard links differ, which is told, a file may meet many others. Once both have been compared
    /// with others, they are not read again for it: else two small images could ask for any amount of
    /// reading.
    pub(super) fn files(&self) -> Vec<[NodeId; 2]> {
        let mut files = Vec::new();
        let mut met = Met::default();
        let mut pairs = Pairs::new(self.trees);
        while let Some(pair) = pairs.next() {
            let Pair::Both(nodes) = pair else {
                continue;
            };
            let [Kind::File(a), Kind::File(b)] = self.kinds(nodes) else {
                continue;
            };
            if a.size_bytes != b.size_bytes {
                continue;
            }
            let is_read = match met.meet(self.trees, nodes) {
                Meeting::First => true,
                Meeting::Crossed { both_known } => {
                    !both_known || self.ignored.has(Attribute::Links)
                }
                Meeting::Again => false,
            };
            if is_read {
                files.push(nodes);
            }
        }
        files
    }

    /// Tells everything.
    pub(super) fn tell(
        &self,
        data: &Differing,
        each: &mut dyn FnMut(Difference<'a>) -> io::Result<()>,
    ) -> Result<(), DiffError> {
        let mut met = Met::default();
        let mut pairs = Pairs::new(self.trees);
        while let Some(pair) = pairs.next() {
            let mut telling = Telling {
                path: pairs.path(),
                ignored: self.ignored,
                each,
            };
            let [a, b] = self.trees;
            match pair {
                Pair::OnlyInA(node) => {
                    telling.tell(Finding::OnlyInA(a.node(node).kind.file_type()))?;
                }
                Pair::OnlyInB(node) => {
                    telling.tell(Finding::OnlyInB(b.node(node).kind.file_type()))?;
                }
                Pair::Both(nodes) => match met.meet(self.trees, nodes) {
                    Meeting::Again => {}
                    meeting => {
                        self.node(nodes, &mut telling)?;
                        self.links(nodes, meeting, &mut telling)?;
                        if let Some(first) = data.first(nodes) {
                            telling.tell(Finding::Data { first })?;
                        }
                    }
                },
            }
        }
        Ok(())
    }

    fn kinds(&self, [a, b]: [NodeId; 2]) -> [&'a Kind; 2] {
        let [tree_a, tree_b] = self.trees;
        [&tree_a.node(a).kind, &tree_b.node(b).kind]
    }

    /// Compares what two nodes are and say of themselves.
    fn node(&self, nodes: [NodeId; 2], telling: &mut Telling<'_, 'a>) -> Result<(), DiffError> {
        let kinds = self.kinds(nodes);
        let [a, b] = kinds.map(Kind::file_type);
        telling.values(a, b, Finding::Type)?;
        let [tree_a, tree_b] = self.trees;
        let [node_a, node_b] = [tree_a.node(nodes[0]), tree_b.node(nodes[1])];
        metadata(&node_a.metadata, &node_b.metadata, telling)?;
        let [a, b] = [
            tree_a.xattr_set(node_a.xattrs),
            tree_b.xattr_set(node_b.xattrs),
        ];
        xattrs(a, b, telling)?;
        match kinds {
            [Kind::Symlink(a), Kind::Symlink(b)] => telling.values(&a[..], &b[..], Finding::Target),
            [Kind::CharDevice(a), Kind::CharDevice(b)]
            | [Kind::BlockDevice(a), Kind::BlockDevice(b)] => {
                telling.values(*a, *b, Finding::Device)
            }
            [Kind::File(a), Kind::File(b)] => {
                telling.values(a.size_bytes, b.size_bytes, Finding::Size)
            }
            _ => Ok(()),
        }
    }

    fn links(
        &self,
        nodes: [NodeId; 2],
        meeting: Meeting,
        telling: &mut Telling<'_, 'a>,
    ) -> Result<(), DiffError> {
        let [a, b] = [0, 1].map(|side| self.trees[side].node(nodes[side]).names);
        if a == b && meeting == Meeting::First || self.ignored.has(Attribute::Links) {
            return Ok(());
        }
        let [a, b] = [0, 1].map(|side| {
            let names = self.first_names[side].get_or_init(|| FirstNames::of(self.trees[side]));
            names.links(nodes[side])
        });
        telling.tell(Finding::Links(a, b))
    }
}

fn metadata<'a>(
    a: &Metadata,
    b: &Metadata,
    telling: &mut Telling<'_, 'a>,
) -> Result<(), DiffError> {
    telling.values(a.permissions, b.permissions, Finding::Mode)?;
    telling.values(a.uid, b.uid, Finding::Uid)?;
    telling.values(a.gid, b.gid, Finding::Gid)?;
    telling.values(a.atime, b.atime, Finding::Atime)?;
    telling.values(a.mtime, b.mtime, Finding::Mtime)?;
    telling.values(a.ctime, b.ctime, Finding::Ctime)?;
    telling.values(a.flags, b.flags, Finding::Flags)
}

/// Compares two sets of extended attributes, both in the order of their names' bytes.
fn xattrs<'a>(
    a: &'a [Xattr],
    b: &'a [Xattr],
    telling: &mut Telling<'_, 'a>,
) -> Result<(), DiffError> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.name.cmp(&b.name),
        };
        let one = a.next_if(|_| order.is_le());
        let other = b.next_if(|_| order.is_ge());
        let Some(first) = one.or(other) else {
            return Ok(());
        };
        let [one, other] = [one, other].map(|xattr| xattr.map(|xattr| &xattr.value[..]));
        if one != other {
            telling.tell(Finding::Xattr(&first.name, one, other))?;
        }
    }
}
