//! Given where every name and every `..` leads, judges link counts and whether all directories hang
//! from the root; never reads.

use std::collections::HashMap;

use super::finding::{Area, Location};
use super::inventory::Inventory;
use super::volume::Volume;
use crate::feature::Feature;
use crate::ondisk::inode::LINK_MAX;
use crate::units::Ino;

const DIRECTORY: u8 = 2;

/// Judges counts and ways to the root. `parents` says where the `..` of each directory leads.
pub(super) fn check(volume: &Volume<'_>, inventory: &Inventory, parents: &HashMap<u32, u32>) {
    let root = Ino::ROOT.get();
    check_counts(volume, inventory);
    let directories: Vec<(u32, u32)> = inventory
        .known
        .iter()
        .filter(|known| known.file_type == DIRECTORY)
        .map(|known| (known.ino, known.parent))
        .collect();
    if !directories.iter().any(|(ino, _)| *ino == root) {
        volume.rule(
            Area::Links,
            Location::inode(root),
            "there is no root directory",
        );
        return;
    }
    for (ino, parent) in &directories {
        let needed = if *ino == root { root } else { *parent };
        let Some(found) = parents.get(ino) else {
            continue;
        };
        if *found != needed && needed != 0 {
            let at = (Area::Links, Location::inode(*ino));
            volume.equal(at, "'..'", ((*found).into(), needed.into()));
        }
    }
    check_ways(volume, &directories);
}

fn check_counts(volume: &Volume<'_>, inventory: &Inventory) {
    for known in &inventory.known {
        let at = (Area::Links, Location::inode(known.ino));
        let links = u32::from(known.links);
        let is_directory = known.file_type == DIRECTORY;
        if known.parent == 0 && is_directory && known.ino != Ino::ROOT.get() {
            volume.rule(at.0, at.1, "no directory contains it");
        } else if known.counted == 0 {
            volume.rule(at.0, at.1, "no directory entry points to it");
            continue;
        }
        let needed = match known.counted {
            more if is_directory && more > LINK_MAX => {
                if !volume.has(Feature::DirNlink) {
                    let rule = "it has more links than are counted without dir_nlink";
                    volume.rule(at.0, at.1, rule);
                }
                1
            }
            // The kernel does not begin to count again.
            counted if is_directory && known.is_indexed && links == 1 && counted > 1 => 1,
            counted => counted,
        };
        volume.equal(at, "i_links_count", (links.into(), needed.into()));
    }
}

/// Finds directories that have a parent and yet no way to the root: they are in a circle.
fn check_ways(volume: &Volume<'_>, directories: &[(u32, u32)]) {
    let root = Ino::ROOT.get();
    let parent_of = |ino: u32| {
        let at = directories.binary_search_by_key(&ino, |(ino, _)| *ino);
        at.ok()
            .and_then(|at| directories.get(at))
            .map(|found| found.1)
    };
    // Which directory's way met each first; its own way ends where another's went on.
    let mut met: HashMap<u32, u32> = HashMap::new();
    for (start, _) in directories {
        let mut ino = *start;
        while ino != root && ino != 0 {
            if let Some(by) = met.insert(ino, *start) {
                if by == *start {
                    let rule = "it is part of a loop of directories";
                    volume.rule(Area::Links, Location::inode(ino), rule);
                } else {
                    met.insert(ino, by);
                }
                break;
            }
            ino = parent_of(ino).unwrap_or(0);
        }
    }
}
