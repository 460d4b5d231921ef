//! Given quota files and what the walk over the inodes counted, compares them; never counts.
//!
//! Layout: "VFS quota format v2, revision 1" of the kernel's `quotaio_v2.h` and `quota_tree.h`.

use std::collections::{BTreeMap, HashSet};

use super::finding::{Area, FindingKind, Location};
use super::inventory::{Inventory, OwnFile};
use super::maps;
use super::usage::{ById, size_of_file};
use super::volume::{Volume, length, read, word};
use crate::feature::Feature;
use crate::ondisk::quota::{
    BLOCK_BYTES, DEPTH, ENTRIES_PER_BLOCK, EntriesHeader, Entry, Header, MAGICS, ROOT, VERSION,
};
use crate::units::is_zero;

/// How many findings of one file are told.
const MOST_TOLD: usize = 32;

/// Judges the files of users, groups and projects.
pub(super) fn check(volume: &Volume<'_>, inventory: &Inventory) {
    if !volume.has(Feature::Quota) {
        return;
    }
    let sb = &volume.sb;
    let numbers = [
        sb.s_usr_quota_inum.get(),
        sb.s_grp_quota_inum.get(),
        sb.s_prj_quota_inum.get(),
    ];
    for (kind, (ino, magic)) in numbers.into_iter().zip(MAGICS).enumerate() {
        if ino == 0 || kind == 2 && !volume.has(Feature::Project) {
            continue;
        }
        let place = Location::inode(ino);
        match (inventory.own.get(&ino), inventory.usage.of(kind)) {
            (Some(file), Some(usage)) => {
                let quota = QuotaFile {
                    volume,
                    file,
                    place,
                    visited: HashSet::new(),
                    entries: BTreeMap::new(),
                };
                quota.check(magic, usage);
            }
            _ => volume.rule(Area::Quota, place, "the quota file is empty"),
        }
    }
}

struct QuotaFile<'a> {
    volume: &'a Volume<'a>,
    file: &'a OwnFile,
    place: Location,
    /// Places in the image, in bytes: a file may have one block at many places of its own.
    visited: HashSet<u64>,
    /// Bytes and inodes by id, with whether the tree leads to it.
    entries: BTreeMap<u32, (u64, u64, bool)>,
}

impl QuotaFile<'_> {
    fn rule(&self, rule: &'static str) {
        self.volume.rule(Area::Quota, self.place, rule);
    }

    /// Where in the image a block of the file is, which has blocks of its own, in bytes.
    fn place_of(&self, number: u32) -> Option<u64> {
        let bytes = self.volume.block_size.bytes_u64();
        let offset = u64::from(number) * length(BLOCK_BYTES);
        if offset >= size_of_file(&self.file.node) {
            return None;
        }
        let block = maps::find(&self.file.mapped.pieces, offset / bytes)?;
        Some(block.get() * bytes + offset % bytes)
    }

    fn block(&self, place: u64) -> Option<Vec<u8>> {
        let block = place / self.volume.block_size.bytes_u64();
        let at = (Area::Quota, self.place.at(block));
        self.volume.bytes(at, place, BLOCK_BYTES)
    }

    fn check(mut self, magic: u32, usage: &ById) {
        let header = self.place_of(0).and_then(|place| self.block(place));
        let header = header.and_then(|bytes| read::<Header>(&bytes, 0));
        let Some(header) = header else {
            self.rule("the quota file has no header");
            return;
        };
        let at = (Area::Quota, self.place);
        let stored = u64::from(header.dqh_magic.get());
        self.volume.equal(at, "dqh_magic", (stored, magic.into()));
        let version = u64::from(header.dqh_version.get());
        self.volume
            .equal(at, "dqh_version", (version, VERSION.into()));
        let size = size_of_file(&self.file.node);
        if u64::from(header.dqi_blocks.get()) * length(BLOCK_BYTES) > size {
            self.rule("it counts more blocks than it has");
        }
        self.branch(ROOT, 0, 0);
        self.compare(usage);
    }

    /// Follows a block of the tree; `prefix` is what the levels above say of the ids below.
    fn branch(&mut self, number: u32, level: usize, prefix: u32) {
        let Some(place) = self.place_of(number) else {
            self.rule("its tree points past its end");
            return;
        };
        if !self.visited.insert(place) {
            self.rule("its tree points to one block twice");
            return;
        }
        let Some(bytes) = self.block(place) else {
            return;
        };
        for low in 0..=u8::MAX {
            let below = word(&bytes, 4 * usize::from(low));
            if below == 0 {
                continue;
            }
            let id = prefix << 8 | u32::from(low);
            if level + 1 < DEPTH {
                self.branch(below, level + 1, id)
            } else {
                self.leaf(below, id)
            }
        }
    }

    /// Reads a block of entries, and notes that the tree leads to `id` there.
    fn leaf(&mut self, number: u32, id: u32) {
        if number <= ROOT {
            self.rule("its tree points to its header");
            return;
        }
        let Some(place) = self.place_of(number) else {
            self.rule("its tree points past its end");
            return;
        };
        if self.visited.insert(place) {
            let Some(bytes) = self.block(place) else {
                return;
            };
            let entries = bytes.get(size_of::<EntriesHeader>()..).unwrap_or_default();
            for stored in entries
                .chunks_exact(size_of::<Entry>())
                .take(ENTRIES_PER_BLOCK)
            {
                if is_zero(stored) {
                    continue;
                }
                let Some(entry) = read::<Entry>(stored, 0) else {
                    continue;
                };
                let used = (entry.dqb_curspace.get(), entry.dqb_curinodes.get(), false);
                if self.entries.insert(entry.dqb_id.get(), used).is_some() {
                    self.rule("an ID has two entries");
                }
            }
        }
        match self.entries.get_mut(&id) {
            Some((.., is_found)) => *is_found = true,
            None => self.rule("its tree points to an ID that is not there"),
        }
    }

    fn compare(&self, usage: &ById) {
        let mut told = 0;
        let mut tell = |id: u32, what: &str, found: u64, needed: u64| {
            if found != needed && told < MOST_TOLD {
                told += 1;
                let text = format!("ID {id} uses {found} {what}, expected {needed}");
                self.volume
                    .note(Area::Quota, self.place, FindingKind::Told(text));
            }
        };
        for (id, (space, inodes, _)) in &self.entries {
            let (bytes, count) = usage.get(id).copied().unwrap_or_default();
            tell(*id, "bytes", *space, bytes);
            tell(*id, "inodes", *inodes, count);
        }
        let missing = usage
            .iter()
            .filter(|(id, _)| !self.entries.contains_key(id));
        for (id, (bytes, count)) in missing {
            tell(*id, "bytes", 0, *bytes);
            tell(*id, "inodes", 0, *count);
        }
        if self.entries.values().any(|(.., is_found)| !is_found) {
            self.rule("its tree does not point to an ID that is there");
        }
    }
}
