//! Given a tree of what overlayfs keeps of one layer, takes out of the tree below what that layer hides;
//! never reads a file.
//!
//! The form is the kernel's, `Documentation/filesystems/overlayfs.rst`: a character device 0:0 hides what
//! has its name below, and a directory with the attribute `overlay.opaque`, whose value is `y`, hides all
//! that a directory of its name holds below. The attributes are `trusted.` or, of mounts without
//! privileges, `user.`.
//!
//! Fuse-overlayfs, which rootless tools mount, writes names as well, for readers that see no attributes:
//! what is empty and called `.wh.NAME` hides NAME, and `.wh..wh..opq` or `.wh..opq` all below its directory
//! (its `create_whiteout` and `set_fd_opaque`). It shows no name that begins so.

use super::{Readable, SourceError};
use crate::tree::{Device, Kind, NodeId, Tree, Xattr, XattrSetId};

/// What overlayfs's own attributes begin with.
const PREFIXES: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// What an attribute of those names begins with behind that, if it is not overlayfs's but a file's.
const ESCAPE: &[u8] = b"overlay.";
/// Those that are read, whatever attributes are left out.
const READ: [&[u8]; 4] = [b"opaque", b"redirect", b"metacopy", b"whiteout"];

/// What a name begins with that hides what follows.
const HIDING: &[u8] = b".wh.";
/// What follows where all of the directory is hidden.
const ALL: [&[u8]; 2] = [b".wh..opq", b".opq"];

/// The attributes that decide what is hidden.
#[cfg_attr(
    not(unix),
    allow(dead_code, reason = "it is about directories of Unix")
)]
pub(super) fn attributes() -> Vec<Vec<u8>> {
    let names = PREFIXES
        .iter()
        .flat_map(|prefix| READ.iter().map(|name| [prefix, *name].concat()));
    names.collect()
}

/// The attribute that makes a directory hide what is below it.
#[cfg_attr(not(feature = "oci"), allow(dead_code, reason = "layers ask for it"))]
pub(super) fn opaque() -> Xattr {
    Xattr {
        name: [PREFIXES[0], b"opaque"].concat(),
        value: b"y".to_vec(),
    }
}

/// Whether overlayfs takes it for what hides its name.
pub(super) fn is_whiteout(kind: &Kind) -> bool {
    matches!(kind, Kind::CharDevice(device) if *device == Device::default())
}

/// A directory of the upper layer, and the one that it lies over, if there is one.
struct Level {
    upper: NodeId,
    below: Option<NodeId>,
}

/// Takes what `upper` hides out of the directory `at` of `tree`, and what hides it out of `upper`.
#[cfg_attr(
    not(unix),
    allow(dead_code, reason = "it is about directories of Unix")
)]
pub(super) fn apply(upper: &mut Tree, tree: &mut Tree, at: NodeId) -> Result<(), SourceError> {
    let mut levels = vec![Level {
        upper: NodeId::ROOT,
        below: Some(at),
    }];
    // Of the topmost directory overlayfs asks nothing.
    settle(upper, NodeId::ROOT)?;
    while let Some(Level { upper: dir, below }) = levels.pop() {
        let entries = upper.entries(dir).iter();
        let entries: Vec<_> = entries
            .map(|entry| (entry.name.to_vec(), entry.node))
            .collect();
        for (name, node) in entries {
            if let Some(hidden) = hidden_by(upper, &name, node) {
                if let Some(below) = below.filter(|_| !ALL.contains(&hidden)) {
                    tree.remove(below, hidden)?;
                }
                upper.remove(dir, &name)?;
                continue;
            }
            let there = match below {
                Some(below) => tree.lookup(below, &name)?,
                None => None,
            };
            let is_directory =
                |tree: &Tree, node: &NodeId| matches!(tree.node(*node).kind, Kind::Directory(_));
            let found = settle(upper, node)?;
            if found.is_whiteout {
                if let Some(below) = below {
                    tree.remove(below, &name)?;
                }
                upper.remove(dir, &name)?;
            } else if is_directory(upper, &node) {
                let there = there.filter(|there| is_directory(tree, there));
                if let Some(there) = there
                    && (found.is_opaque || hides_all(upper, node)?)
                {
                    clear(tree, there)?;
                }
                levels.push(Level {
                    upper: node,
                    below: there,
                });
            }
        }
    }
    Ok(())
}

/// The name that the file `name` hides, if it is of fuse-overlayfs; what hides all hides no name.
fn hidden_by<'a>(upper: &Tree, name: &'a [u8], node: NodeId) -> Option<&'a [u8]> {
    let hidden = name.strip_prefix(HIDING)?;
    let kind = &upper.node(node).kind;
    let is_empty = matches!(kind, Kind::File(content) if content.size_bytes == 0);
    (is_empty || is_whiteout(kind)).then_some(hidden)
}

/// Whether the directory `node` holds a file of fuse-overlayfs that hides all below it.
fn hides_all(upper: &mut Tree, node: NodeId) -> Result<bool, SourceError> {
    for all in ALL {
        let name = [HIDING, all].concat();
        let marker = upper.lookup(node, &name)?;
        if marker.is_some_and(|marker| hidden_by(upper, &name, marker).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes all entries out of a directory.
fn clear(tree: &mut Tree, directory: NodeId) -> Result<(), SourceError> {
    while let Some(last) = tree.entries(directory).last() {
        let name = last.name.to_vec();
        tree.remove(directory, &name)?;
    }
    Ok(())
}

/// What overlayfs takes a file for.
struct Found {
    is_whiteout: bool,
    is_opaque: bool,
}

/// Says what overlayfs takes `node` for, and leaves it none of its attributes.
fn settle(upper: &mut Tree, node: NodeId) -> Result<Found, SourceError> {
    let own = upper.node(node);
    let (set, kind) = (own.xattrs, &own.kind);
    let mut found = Found {
        is_whiteout: is_whiteout(kind),
        is_opaque: false,
    };
    let is_empty = matches!(kind, Kind::File(content) if content.size_bytes == 0);
    if set == XattrSetId::EMPTY {
        return Ok(found);
    }
    let mut kept = Vec::new();
    for xattr in upper.xattrs(node) {
        let prefix = PREFIXES
            .iter()
            .find(|prefix| xattr.name.starts_with(prefix));
        let Some(prefix) = prefix else {
            kept.push(xattr.clone());
            continue;
        };
        match &xattr.name[prefix.len()..] {
            b"opaque" => found.is_opaque = xattr.value == b"y",
            b"whiteout" => found.is_whiteout |= is_empty,
            b"redirect" | b"metacopy" => {
                let (path, name) = (upper.path_of(node), Readable(&xattr.name));
                let path = Readable(&path);
                return Err(SourceError::other(format!(
                    "{path} has {name}: part of it is in another layer; use the mounted overlay as the source"
                )));
            }
            name => {
                if let Some(name) = name.strip_prefix(ESCAPE) {
                    kept.push(Xattr {
                        name: [prefix, name].concat(),
                        value: xattr.value.clone(),
                    });
                }
            }
        }
    }
    let kept = upper.intern_xattrs(kept);
    upper.replace_xattrs(node, kept);
    Ok(found)
}
