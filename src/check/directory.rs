//! Given every directory's blocks, judges their entries and counts what leads to each inode; judges
//! the order of a hash tree's leaves by the bounds that `htree` gives.
//!
//! Layout: the kernel's documentation, "Directory Entries"; rules as in e2fsck's second pass.

use std::collections::{HashMap, HashSet};

use super::finding::{Area, FindingKind, Location};
use super::htree::{self, Bounds, Hashing};
use super::inventory::{Dir, DirData, Inventory, is_own};
use super::maps::{self, Piece};
use super::volume::{Volume, word};
use crate::feature::Feature;
use crate::ondisk::casefold::fold;
use crate::ondisk::inode::{FLAG_CASEFOLD, FLAG_ENCRYPT, FLAG_INDEX};
use crate::read::directory::{EntryFormat, StoredEntry, checked_entries};
use crate::units::Ino;
use crate::work;

/// How many blocks of a directory may be broken before the rest is left alone.
const MOST_BROKEN: u32 = 16;
/// A directory's own file type.
const DIRECTORY: u8 = 2;
/// `EXT4_ENC_STRICT_MODE_FL`: names that are no UTF-8 are refused.
const STRICT: u16 = 1;

/// A directory that is being read.
struct Reading<'a> {
    volume: &'a Volume<'a>,
    dir: &'a Dir,
    seed: u32,
    format: EntryFormat,
    names: HashSet<Vec<u8>>,
    broken: u32,
    /// Where `..` leads.
    parent: Option<u32>,
}

/// A block of entries, or a part of an inode.
#[derive(Clone, Copy)]
struct EntryBlock<'b> {
    bytes: &'b [u8],
    place: Location,
    /// Whether it begins with `.` and `..`.
    has_dots: bool,
    bounds: Option<Bounds>,
}

/// Reads every directory, and says where the `..` of each leads.
pub(super) fn walk_all(volume: &Volume<'_>, inventory: &mut Inventory) -> HashMap<u32, u32> {
    let dirs = std::mem::take(&mut inventory.dirs);
    let mut visited = HashSet::new();
    let mut parents = HashMap::new();
    for dir in &dirs {
        let mut reading = Reading {
            volume,
            dir,
            seed: volume.inode_seed(dir.ino, dir.generation),
            format: EntryFormat::new(volume, dir.flags),
            names: HashSet::new(),
            broken: 0,
            parent: None,
        };
        match &dir.data {
            DirData::Blocks(pieces) => reading.blocks(pieces, inventory, &mut visited),
            DirData::Inline(first, second) => reading.inline(first, second, inventory),
        }
        if let Some(parent) = reading.parent {
            parents.insert(dir.ino, parent);
        }
    }
    parents
}

impl Reading<'_> {
    fn rule(&self, place: Location, rule: &'static str) {
        self.volume.rule(Area::Directory, place, rule);
    }

    fn named(&self, place: Location, name: &[u8], rule: &'static str) {
        let name = name.to_vec();
        self.volume
            .note(Area::Directory, place, FindingKind::Named { rule, name });
    }

    fn blocks(&mut self, pieces: &[Piece], inventory: &mut Inventory, visited: &mut HashSet<u64>) {
        let root = maps::find(pieces, 0);
        let is_shared = root.is_some_and(|root| visited.contains(&root.get()));
        let tree = if self.dir.has_flag(FLAG_INDEX) && !is_shared {
            htree::read_tree(self.volume, self.dir, pieces, visited)
        } else {
            None
        };
        let hashing = tree.as_ref().and_then(|tree| tree.hashing);
        let place = Location::inode(self.dir.ino);
        for (logical, block) in maps::blocks(pieces) {
            let index = tree.as_ref().filter(|tree| tree.is_index(logical));
            if self.broken > MOST_BROKEN {
                self.rule(
                    place,
                    "too many blocks are damaged; the rest is not checked",
                );
                return;
            }
            if index.is_some() && logical > 0 {
                continue;
            }
            // Two directories with one block are told already; reading it once bounds the walk.
            if !visited.insert(block) {
                self.broken += 1;
                continue;
            }
            let Some(bytes) = self.volume.block((Area::Directory, place), block) else {
                self.broken += 1;
                continue;
            };
            let bounds = tree.as_ref().and_then(|tree| tree.bounds(logical));
            let is_leaf = index.is_none();
            let held = if self.volume.has_checksums() && is_leaf {
                self.check_tail(place.at(block), &bytes)
            } else {
                &bytes
            };
            let room = EntryBlock {
                bytes: held,
                place: place.at(block),
                has_dots: logical == 0,
                bounds,
            };
            self.entries(room, hashing.as_ref(), inventory);
        }
    }

    /// Judges a block's checksum, and gives what comes before it.
    fn check_tail<'b>(&mut self, place: Location, bytes: &'b [u8]) -> &'b [u8] {
        let Some((entries, found, needed)) = checked_entries(bytes, self.seed) else {
            self.broken += 1;
            self.rule(place, "a block of entries has no checksum");
            return bytes;
        };
        let at = (Area::Directory, place);
        self.volume.sum(at, "a block's checksum", (found, needed));
        entries
    }

    fn inline(&mut self, first: &[u8; 60], second: &[u8], inventory: &mut Inventory) {
        let place = Location::inode(self.dir.ino);
        let (parent, entries) = first.split_at(4);
        self.parent = Some(word(parent, 0));
        // It has no entry for itself and none for its parent; both count.
        inventory.count_name(self.dir.ino);
        inventory.count_name(word(parent, 0));
        for bytes in [entries, second] {
            let room = EntryBlock {
                bytes,
                place,
                has_dots: false,
                bounds: None,
            };
            self.entries(room, None, inventory);
        }
    }

    fn entries(
        &mut self,
        room: EntryBlock<'_>,
        hashing: Option<&Hashing>,
        inventory: &mut Inventory,
    ) {
        let mut at = 0;
        let mut number = 0;
        while at < room.bytes.len() {
            let Some(entry) = self.format.entry_at(room.bytes, at) else {
                self.broken += 1;
                self.rule(room.place, "an entry does not fit its place");
                return;
            };
            match number {
                0 if room.has_dots => self.dot(room.place, &entry, inventory),
                1 if room.has_dots => self.dot_dot(room.place, &entry, inventory),
                _ if entry.ino != 0 => {
                    self.entry(room.place, &entry, inventory);
                    if let (Some(hashing), Some(bounds)) = (hashing, room.bounds) {
                        let hash = hashing.of(entry.name, entry.stored_hash);
                        if !bounds.hold(hash) {
                            let rule = "has a hash that belongs in another block";
                            self.named_in_tree(room.place, entry.name, rule);
                        }
                    }
                }
                _ => {}
            }
            at += entry.rec_len;
            number += 1;
            // A root's second entry hides the index behind it.
            if room.has_dots && number == 2 && self.dir.has_flag(FLAG_INDEX) {
                break;
            }
        }
        if room.has_dots && number < 2 {
            self.rule(room.place, "its first entries are not '.' and '..'");
        }
    }

    fn named_in_tree(&self, place: Location, name: &[u8], rule: &'static str) {
        let name = name.to_vec();
        self.volume
            .note(Area::Htree, place, FindingKind::Named { rule, name });
    }

    fn dot(&self, place: Location, entry: &StoredEntry<'_>, inventory: &mut Inventory) {
        if entry.name != b"." || entry.ino == 0 {
            self.rule(place, "its first entry is not '.'");
            return;
        }
        if entry.ino != self.dir.ino {
            self.rule(place, "'.' points to another directory");
        }
        self.check_type(place, entry, DIRECTORY);
        inventory.count_name(entry.ino);
    }

    fn dot_dot(&mut self, place: Location, entry: &StoredEntry<'_>, inventory: &mut Inventory) {
        if entry.name != b".." || entry.ino == 0 {
            self.rule(place, "its second entry is not '..'");
            return;
        }
        self.parent = Some(entry.ino);
        self.check_type(place, entry, DIRECTORY);
        inventory.count_name(entry.ino);
    }

    fn check_type(&self, place: Location, entry: &StoredEntry<'_>, needed: u8) {
        let needed = if self.volume.has(Feature::Filetype) {
            needed
        } else {
            0
        };
        if entry.file_type != needed {
            self.named(place, entry.name, "has another file type than its inode");
        }
    }

    fn entry(&mut self, place: Location, entry: &StoredEntry<'_>, inventory: &mut Inventory) {
        work::add(1);
        self.check_name(place, entry.name);
        let root = Ino::ROOT.get();
        if entry.ino == root {
            self.named(place, entry.name, "points to the root directory");
        } else if entry.ino > self.volume.inodes_count || is_own(self.volume, entry.ino) {
            self.named(
                place,
                entry.name,
                "points to an inode number that no file can have",
            );
        }
        let dir = self.dir.ino;
        let Some(known) = inventory.known(entry.ino) else {
            self.named(place, entry.name, "points to an inode that is not in use");
            return;
        };
        known.counted = known.counted.saturating_add(1);
        let is_directory = known.file_type == DIRECTORY;
        let had = known.parent;
        if is_directory {
            known.parent = dir;
        }
        let needed = known.file_type;
        if is_directory && had != 0 {
            self.named(place, entry.name, "is the second name of a directory");
        }
        self.check_type(place, entry, needed);
        let ino = entry.ino;
        if inventory.own.contains_key(&ino) {
            self.named(
                place,
                entry.name,
                "points to an inode that holds an xattr value",
            );
        }
    }

    fn check_name(&mut self, place: Location, name: &[u8]) {
        let is_encrypted = self.dir.has_flag(FLAG_ENCRYPT);
        if name.is_empty() {
            self.named(place, name, "is an empty name");
        } else if name == b"." || name == b".." {
            self.named(place, name, "is there a second time");
        } else if !is_encrypted && name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            self.named(place, name, "has a byte that is not allowed in a name");
        } else if is_encrypted && name.len() < 16 {
            self.named(place, name, "is too short for an encrypted name");
        }
        let folds = self.dir.has_flag(FLAG_CASEFOLD) && !is_encrypted;
        let folded = if folds { fold(name) } else { None };
        let is_strict = self.volume.sb.s_encoding_flags.get() & STRICT != 0;
        if folds && is_strict && folded.is_none() {
            self.named(place, name, "is not UTF-8, as this filesystem requires");
        }
        if !self.names.insert(folded.unwrap_or_else(|| name.to_vec())) {
            self.named(place, name, "is there twice");
        }
    }
}
