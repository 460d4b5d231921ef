//! Given the tree of an image's layers as it was before the last and as it is with it, leaves of it what the
//! last one made, and what it took away in the form of overlayfs; never reads an archive.
//!
//! So whatever a layer's entries mean, those that lead over symbolic links of the layers below or that give
//! no directories for their names, an overlay of all layers shows what the image holds.

use std::collections::HashMap;

use crate::source::{Readable, SourceError, overlay};
use crate::tree::{Device, Kind, Metadata, NodeId, Special, Tree};

/// What a layer did to one directory.
struct Change {
    directory: NodeId,
    /// The names that are there no more.
    gone: Vec<Vec<u8>>,
    /// Whether nothing is left of what it held.
    is_emptied: bool,
}

/// The trees before and after a layer.
struct Layer<'a> {
    before: &'a Tree,
    after: &'a mut Tree,
    /// By node: whether the layer's own tree has it.
    needed: Vec<bool>,
    /// Directories in the place of others.
    replaced: Vec<NodeId>,
}

/// Takes all out of `after` that is in `before` as well. What hides names of the layers below is added where
/// it is asked for, with `whiteout` as its metadata.
pub(super) fn leave_changes(
    before: &Tree,
    after: &mut Tree,
    whiteout: Option<Metadata>,
) -> Result<(), SourceError> {
    let needed = vec![false; after.len()];
    let mut layer = Layer {
        before,
        after,
        needed,
        replaced: Vec::new(),
    };
    let changes = layer.changes(whiteout.is_some())?;
    for change in &changes {
        layer.prune(change.directory)?;
        if let Some(metadata) = whiteout {
            layer.hide(change, metadata)?;
        }
    }
    if whiteout.is_some() {
        for directory in std::mem::take(&mut layer.replaced) {
            layer.make_opaque(directory);
        }
    }
    Ok(())
}

impl Layer<'_> {
    /// What became of each directory, those above first. `hides` says whether what was taken away counts.
    fn changes(&mut self, hides: bool) -> Result<Vec<Change>, SourceError> {
        let mut directories = vec![NodeId::ROOT];
        let mut at = 0;
        while let Some(directory) = directories.get(at).copied() {
            let entries = self.after.entries(directory).iter();
            let below = entries.map(|entry| entry.node);
            directories.extend(below.filter(|node| is_directory(self.after, *node)));
            at += 1;
        }
        for directory in &directories {
            self.mark_files(*directory);
        }
        let mut changes = Vec::with_capacity(directories.len());
        for directory in directories.into_iter().rev() {
            let change = self.change(directory);
            let mut is_needed = directory == NodeId::ROOT
                || self.is_changed(directory)
                || hides && !change.gone.is_empty();
            for entry in self.after.entries(directory) {
                let node = entry.node;
                let is_taken = overlay::is_whiteout(&self.after.node(node).kind);
                if hides && is_taken && self.needed[node.index()] {
                    let path = self.after.path_of(node);
                    let path = Readable(&path);
                    return Err(SourceError::other(format!(
                        "{path} is a character device 0:0, which overlayfs takes for a whiteout"
                    )));
                }
                is_needed |= self.needed[node.index()];
            }
            self.needed[directory.index()] = is_needed;
            changes.push(change);
        }
        changes.reverse();
        Ok(changes)
    }

    /// Marks what is no directory in `directory` and was not there so. All names of a file go with it, since
    /// an overlay cannot link to a file of a layer below.
    fn mark_files(&mut self, directory: NodeId) {
        let before: HashMap<&[u8], NodeId> = if self.was_there(directory) {
            let entries = self.before.entries(directory).iter();
            entries.map(|entry| (entry.name, entry.node)).collect()
        } else {
            HashMap::new()
        };
        for entry in self.after.entries(directory) {
            let node = entry.node;
            let is_as_before = before.get(entry.name) == Some(&node);
            if !is_directory(self.after, node) && (!is_as_before || self.is_changed(node)) {
                self.needed[node.index()] = true;
            }
        }
    }

    /// What became of what `directory` held, and which directories took the places of others in it.
    fn change(&mut self, directory: NodeId) -> Change {
        let mut change = Change {
            directory,
            gone: Vec::new(),
            is_emptied: false,
        };
        if !self.was_there(directory) {
            return change;
        }
        let after: HashMap<&[u8], NodeId> = self
            .after
            .entries(directory)
            .iter()
            .map(|entry| (entry.name, entry.node))
            .collect();
        change.is_emptied = true;
        for entry in self.before.entries(directory) {
            match after.get(entry.name) {
                None => change.gone.push(entry.name.to_vec()),
                Some(node) if *node == entry.node => change.is_emptied = false,
                Some(node) => {
                    if is_directory(self.before, entry.node) && is_directory(self.after, *node) {
                        self.replaced.push(*node);
                    }
                }
            }
        }
        change
    }

    /// Whether `node` was in the layers below.
    fn was_there(&self, node: NodeId) -> bool {
        node.index() < self.before.len() && self.before.node(node).names > 0
    }

    /// Whether the layer made `node`, or changed what is said of it.
    fn is_changed(&self, node: NodeId) -> bool {
        if !self.was_there(node) {
            return true;
        }
        let (before, after) = (self.before.node(node), self.after.node(node));
        before.metadata != after.metadata
            || before.xattrs != after.xattrs
            || before.names != after.names
    }

    /// Takes out of `directory` what the layer left as it was.
    fn prune(&mut self, directory: NodeId) -> Result<(), SourceError> {
        if self.after.node(directory).names == 0 {
            return Ok(());
        }
        let entries = self.after.entries(directory).iter();
        let unneeded = entries.filter(|entry| !self.needed[entry.node.index()]);
        let names: Vec<Vec<u8>> = unneeded.map(|entry| entry.name.to_vec()).collect();
        for name in names {
            self.after.remove(directory, &name)?;
        }
        Ok(())
    }

    /// Hides what is gone, by one attribute if that is all there was. overlayfs asks none of the root.
    fn hide(&mut self, change: &Change, metadata: Metadata) -> Result<(), SourceError> {
        let Change {
            directory,
            gone,
            is_emptied,
        } = change;
        if gone.is_empty() {
            return Ok(());
        }
        if *is_emptied && *directory != NodeId::ROOT {
            self.make_opaque(*directory);
            return Ok(());
        }
        for name in gone {
            let device = Special::CharDevice(Device::default());
            self.after.special_at(*directory, name, metadata, device)?;
        }
        Ok(())
    }

    fn make_opaque(&mut self, directory: NodeId) {
        let mut xattrs = self.after.xattrs(directory).to_vec();
        xattrs.push(overlay::opaque());
        let set = self.after.intern_xattrs(xattrs);
        self.after.replace_xattrs(directory, set);
    }
}

fn is_directory(tree: &Tree, node: NodeId) -> bool {
    matches!(tree.node(node).kind, Kind::Directory(_))
}
