//! Given the paths of a layer, says which of them take something away, and takes it out of a tree of
//! the layers below; never declares anything.
//!
//! The rules are those of the OCI image specification's `layer.md`: `.wh.NAME` takes away NAME of the
//! layers below, and `.wh..wh..opq` all that they have in its directory, whatever type the entry
//! has that is called so. Other names that begin with `.wh..wh.` are aufs's own and mean nothing.

use std::collections::HashSet;

use crate::source::SourceError;
use crate::source::place::Followed;
use crate::tree::{Kind, NodeId, Tree};
use crate::work;

const PREFIX: &[u8] = b".wh.";
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry of a layer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It declares something.
    Entry,
    /// It takes something away.
    Whiteout(Whiteout),
    /// Nothing.
    Ignored,
}

/// What shall be taken out of the layers below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whiteout {
    directory: Box<[u8]>,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Name(Box<[u8]>),
    Everything,
}

/// What the entry called `path` does, or why it can do nothing.
pub(super) fn meaning(path: &[u8]) -> Result<Meaning, &'static str> {
    let mut names = names(path);
    let Some(last) = names.next_back() else {
        return Ok(Meaning::Entry);
    };
    let mut parents = names.filter(|name| name.starts_with(PREFIX)).peekable();
    if parents.peek().is_some() {
        return if parents.all(|name| name.starts_with(META)) {
            Ok(Meaning::Ignored)
        } else {
            Err("a whiteout removes a file and cannot have data")
        };
    }
    let what = match last.strip_prefix(PREFIX) {
        None => return Ok(Meaning::Entry),
        Some(_) if last == OPAQUE => What::Everything,
        Some(_) if last.starts_with(META) => return Ok(Meaning::Ignored),
        Some(b"" | b"." | b"..") => return Err("a whiteout must name what it removes"),
        Some(name) => What::Name(name.into()),
    };
    let end = path.len() - path.iter().rev().take_while(|byte| **byte == b'/').count();
    let directory = path[..end - last.len()].into();
    Ok(Meaning::Whiteout(Whiteout { directory, what }))
}

/// The names in a path, but those that lead nowhere else.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let names = path.split(|byte| *byte == b'/');
    names.filter(|name| !name.is_empty() && *name != b".")
}

/// A path written in one way: its names with a slash before each.
pub(super) fn plain(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len() + 1);
    for name in names(path) {
        plain.push(b'/');
        plain.extend_from_slice(name);
    }
    plain
}

/// The layers below one that takes something out of them.
pub(super) struct Below<'a> {
    pub(super) tree: &'a mut Tree,
    /// The image's root.
    pub(super) root: NodeId,
    /// The directories that the layer itself has, each as [`plain`] writes it. Where one of them
    /// replaces a symbolic link, what the link leads to is not what a whiteout in it means.
    pub(super) own: &'a HashSet<Vec<u8>>,
}

impl Below<'_> {
    /// Takes out what `whiteout` says. What is not there need not be.
    pub(super) fn take_out(&mut self, whiteout: &Whiteout) -> Result<(), SourceError> {
        let Some(directory) = self.directory(&whiteout.directory)? else {
            return Ok(());
        };
        match &whiteout.what {
            What::Name(name) => {
                self.tree.remove(directory, name)?;
            }
            What::Everything => {
                while let Some(last) = self.tree.entries(directory).last() {
                    let name = last.name.to_vec();
                    self.tree.remove(directory, &name)?;
                }
            }
        }
        Ok(())
    }

    /// The directory that `path` leads to inside the image, if there is one.
    fn directory(&mut self, path: &[u8]) -> Result<Option<NodeId>, SourceError> {
        let mut line = vec![self.root];
        let mut ahead: Vec<Box<[u8]>> = names(path).rev().map(Into::into).collect();
        let mut literal = Some(Vec::new());
        let mut followed = Followed::default();
        work::add_bytes(path.len());
        while let Some(name) = ahead.pop() {
            work::add(1);
            if &*name == b".." {
                literal = None;
                line.truncate((line.len() - 1).max(1));
                continue;
            }
            if let Some(path) = &mut literal {
                path.push(b'/');
                path.extend_from_slice(&name);
            }
            let above = line[line.len() - 1];
            let Some(node) = self.tree.lookup(above, &name)? else {
                return Ok(None);
            };
            match &self.tree.node(node).kind {
                Kind::Directory(_) => line.push(node),
                Kind::Symlink(target) => {
                    let replaced = literal.take().is_some_and(|path| self.own.contains(&path));
                    if replaced || !followed.may_follow(target) {
                        return Ok(None);
                    }
                    if target.starts_with(b"/") {
                        line.truncate(1);
                    }
                    ahead.extend(names(target).rev().map(Into::into));
                }
                _ => return Ok(None),
            }
        }
        Ok(line.last().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Metadata, Special};

    fn whiteout(path: &str) -> Whiteout {
        match meaning(path.as_bytes()) {
            Ok(Meaning::Whiteout(whiteout)) => whiteout,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn names_tell_what_an_entry_does() {
        for path in ["", "./", "/", "a", "a/.whx", "wh.a", "a.wh./b", ".w", ".wh"] {
            assert_eq!(meaning(path.as_bytes()), Ok(Meaning::Entry), "{path}");
        }
        for path in [
            ".wh..wh.aufs",
            "a/.wh..wh.plnk/",
            ".wh..wh.plnk/1.2",
            ".wh..wh..opq/x",
        ] {
            assert_eq!(meaning(path.as_bytes()), Ok(Meaning::Ignored), "{path}");
        }
        for path in [
            ".wh.",
            "a/.wh..",
            ".wh.../",
            "a/.wh.b/c",
            ".wh..wh.plnk/.wh.a/b",
        ] {
            assert!(meaning(path.as_bytes()).is_err(), "{path}");
        }
        for (path, directory, name) in [
            (".wh.a", "", "a"),
            ("./d/.wh.a/", "./d/", "a"),
            ("/d//.wh....", "/d//", "..."),
            (".wh..wh", "", ".wh"),
        ] {
            let what = What::Name(name.as_bytes().into());
            let directory = directory.as_bytes().into();
            assert_eq!(whiteout(path), Whiteout { directory, what }, "{path}");
        }
        assert_eq!(whiteout("d/.wh..wh..opq").what, What::Everything);
    }

    /// `/d/x`, `/d/y`, `/out/x`, and the links `/l` to `/d`, `/up` to `../../d`, `/loop` to itself.
    fn tree() -> Tree {
        let mut tree = Tree::with_root(Metadata::default());
        let (root, metadata) = (NodeId::ROOT, Metadata::default());
        for (name, entries) in [(&b"d"[..], &[&b"x"[..], b"y"][..]), (b"out", &[b"x"])] {
            let directory = tree.directory_at(root, name, metadata).unwrap();
            for name in entries {
                tree.special_at(directory, name, metadata, Special::Fifo)
                    .unwrap();
            }
        }
        for (name, target) in [
            (&b"l"[..], &b"/d"[..]),
            (b"up", b"../../d"),
            (b"loop", b"loop"),
        ] {
            tree.symlink_at(root, name, metadata, target).unwrap();
        }
        tree
    }

    /// How many entries `/d` has after the whiteout `path` of a layer that has the directories `own`.
    fn left(path: &str, own: &[&str]) -> usize {
        let mut tree = tree();
        let own = own.iter().map(|path| path.as_bytes().to_vec()).collect();
        let mut below = Below {
            tree: &mut tree,
            root: NodeId::ROOT,
            own: &own,
        };
        below.take_out(&whiteout(path)).unwrap();
        let directory = tree.lookup(NodeId::ROOT, b"d").unwrap();
        directory.map_or(0, |directory| tree.entries(directory).len())
    }

    #[test]
    fn whiteouts_act_where_their_directory_leads() {
        for (path, expected) in [
            ("d/.wh.x", 1),
            ("d/.wh.missing", 2),
            ("missing/.wh.x", 2),
            ("d/x/.wh.y", 2),
            ("d/.wh..wh..opq", 0),
            (".wh.d", 0),
            ("l/.wh.x", 1),
            (".wh.l", 2),
            ("up/.wh..wh..opq", 0),
            ("loop/.wh.x", 2),
            ("../../d/.wh.x", 1),
            ("out/../d/.wh.y", 1),
            (".wh..wh..opq", 0),
        ] {
            assert_eq!(left(path, &[]), expected, "{path}");
        }
        assert_eq!(left("l/.wh.x", &["/l"]), 2);
        assert_eq!(left("l/.wh.x", &["/l/x"]), 1);
    }
}
