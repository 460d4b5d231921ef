//! Given the entries of a tree, finds one by its directory and name; never keeps a name itself.
//!
//! Only a tree whose names are asked for has this index. It holds two numbers for each entry and
//! reads the name where the entry is, so a million entries take about 12 MB.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::id::TreeId;
use super::{Node, NodeId, NodeIndex};

/// Where an entry is: its directory, and its place among that directory's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    directory: NodeIndex,
    position: u32,
}

/// The entries of a tree by directory and name.
///
/// The keys of the hash are random, so that no archive can choose names that collide. Nothing ever
/// goes through the table in its order.
#[derive(Clone, Debug)]
pub(super) struct Names {
    places: HashTable<Place>,
    keys: RandomState,
}

impl Names {
    /// The index of all entries of `nodes`, of which no directory has a name twice; else the name.
    pub(super) fn of(tree: TreeId, nodes: &[Node]) -> Result<Self, Box<[u8]>> {
        let count = nodes.iter().map(|node| node.entries().len()).sum();
        let mut names = Self {
            places: HashTable::with_capacity(count),
            keys: RandomState::new(),
        };
        for (directory, node) in tree.nodes().zip(nodes) {
            for (position, entry) in node.entries().iter().enumerate() {
                if names.find(nodes, directory, entry.name).is_some() {
                    return Err(entry.name.into());
                }
                names.add(nodes, directory, position);
            }
        }
        Ok(names)
    }

    /// The position of `name` in `directory`.
    pub(super) fn find(&self, nodes: &[Node], directory: NodeId, name: &[u8]) -> Option<usize> {
        let directory = directory.in_tree();
        let is_it = |place: &Place| place.directory == directory && name_at(nodes, *place) == name;
        let found = self.places.find(self.hash(directory, name), is_it);
        found.map(|place| index(place.position))
    }

    /// Adds the entry that `directory` has at `position`, a name that it had not.
    pub(super) fn add(&mut self, nodes: &[Node], directory: NodeId, position: usize) {
        let place = place(directory, position);
        let keys = &self.keys;
        let hash = |place: &Place| keys.hash_one((place.directory, name_at(nodes, *place)));
        self.places.insert_unique(hash(&place), place, hash);
    }

    /// Forgets the entry that `directory` has at `position`.
    pub(super) fn forget(&mut self, nodes: &[Node], directory: NodeId, position: usize) {
        let place = place(directory, position);
        let hash = self.hash(place.directory, name_at(nodes, place));
        if let Ok(found) = self.places.find_entry(hash, |other| *other == place) {
            found.remove();
        }
    }

    fn hash(&self, directory: NodeIndex, name: &[u8]) -> u64 {
        self.keys.hash_one((directory, name))
    }
}

fn name_at(nodes: &[Node], place: Place) -> &[u8] {
    let entries = nodes[place.directory.get()].entries();
    entries.at(index(place.position)).name
}

fn place(directory: NodeId, position: usize) -> Place {
    Place {
        directory: directory.in_tree(),
        // The tree refuses more.
        position: u32::try_from(position).expect("an entry's position fits 32 bits"),
    }
}

fn index(position: u32) -> usize {
    usize::try_from(position).expect("an entry's position fits any usize")
}
