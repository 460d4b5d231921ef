//! Given a directory's names one by one, keeps them with what they lead to; never looks at a node.

use std::fmt;

use super::id::TreeId;
use super::{NameAt, NameList, NodeId, NodeIndex};

/// So many names may be left of entries that are gone, beside as many as there are entries.
const MOST_LEFT: usize = 64;

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name: 1 to 255 bytes, neither `/` nor NUL among them.
    pub name: &'a [u8],
    /// What it leads to.
    pub node: NodeId,
}

/// The entries of a directory, in the order of their names' bytes once the tree is finished.
#[derive(Clone, Default)]
pub struct Entries {
    /// None of a directory without entries.
    held: Option<Box<Held>>,
}

/// More names than an [`Entries`] can hold.
#[derive(Debug)]
pub(super) struct TooMany;

#[derive(Clone, Debug)]
struct Held {
    /// Whose nodes they lead to.
    tree: TreeId,
    places: Vec<Place>,
    names: NameList,
    /// How many names are of no entry any more.
    left: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    name: NameAt,
    node: NodeIndex,
}

impl Entries {
    /// Those of what is no directory.
    pub(super) const fn none() -> Self {
        Self { held: None }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places().is_empty()
    }

    /// The entry at `index`.
    pub fn get(&self, index: usize) -> Option<Entry<'_>> {
        let held = self.held.as_deref()?;
        held.places.get(index).map(|place| held.entry(*place))
    }

    /// The entry at `index`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn at(&self, index: usize) -> Entry<'_> {
        self.get(index).expect("an entry has this index")
    }

    /// The last entry.
    pub fn last(&self) -> Option<Entry<'_>> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Every entry.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            entries: self,
            next: 0,
        }
    }

    /// Where `name` is, or else where it would be, among the entries of a finished tree.
    ///
    /// # Errors
    /// Where there is no such name.
    pub fn search(&self, name: &[u8]) -> Result<usize, usize> {
        let Some(held) = self.held.as_deref() else {
            return Err(0);
        };
        held.places
            .binary_search_by(|place| held.name(*place).cmp(name))
    }

    /// Adds an entry, whose name is one that ext4 can store.
    pub(super) fn push(&mut self, name: &[u8], node: NodeId) -> Result<(), TooMany> {
        let held = self
            .held
            .get_or_insert_with(|| Box::new(Held::of(node.tree())));
        if u32::try_from(held.places.len()).is_err() {
            return Err(TooMany);
        }
        let name = held.names.push(name).ok_or(TooMany)?;
        held.places.push(Place {
            name,
            node: node.in_tree(),
        });
        Ok(())
    }

    /// Takes out the entry at `index`, whose place the last one takes, and gives what it led to.
    pub(super) fn swap_remove(&mut self, index: usize) -> NodeId {
        let held = self.held.as_deref_mut().expect("an entry has this index");
        let node = held.tree.node(held.places.swap_remove(index).node);
        held.left += 1;
        if held.left > held.places.len() + MOST_LEFT {
            held.compact();
        }
        node
    }

    /// Puts them in the order of their names' bytes.
    pub(super) fn sort(&mut self) {
        if let Some(held) = &mut self.held {
            let Held { places, names, .. } = &mut **held;
            places.sort_unstable_by(|a, b| names.get(a.name).cmp(names.get(b.name)));
        }
    }

    /// Lets each lead to the node of `tree` that `renumbered` gives for the one it led to.
    pub(super) fn renumber(&mut self, tree: TreeId, renumbered: impl Fn(NodeIndex) -> NodeIndex) {
        if let Some(held) = &mut self.held {
            held.tree = tree;
            for place in &mut held.places {
                place.node = renumbered(place.node);
            }
        }
    }

    /// The bytes that names take, those included that are gone.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let held = self.held.as_deref();
        held.map_or(0, |held| held.names.bytes())
    }

    fn places(&self) -> &[Place] {
        self.held.as_deref().map_or(&[], |held| &held.places)
    }
}

impl Held {
    /// None, of this tree.
    fn of(tree: TreeId) -> Self {
        Self {
            tree,
            places: Vec::new(),
            names: NameList::default(),
            left: 0,
        }
    }

    /// Forgets names that are of no entry.
    fn compact(&mut self) {
        let mut names = NameList::default();
        for place in &mut self.places {
            let name = names.push(self.names.get(place.name));
            place.name = name.expect("fewer names fit too");
        }
        self.names = names;
        self.left = 0;
    }

    fn entry(&self, place: Place) -> Entry<'_> {
        Entry {
            name: self.name(place),
            node: self.tree.node(place.node),
        }
    }

    fn name(&self, place: Place) -> &[u8] {
        self.names.get(place.name)
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = Entry<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The entries of a directory, one after the other.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    entries: &'a Entries,
    next: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let entry = self.entries.get(self.next)?;
        self.next += 1;
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.entries.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
