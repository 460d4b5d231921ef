//! Given what the attributes of all inodes refer to, judges the counts and values there; never an attribute
//! by itself.

use std::collections::HashMap;

use super::finding::{Area, Location};
use super::inventory::{Inventory, OwnFile};
use super::maps;
use super::volume::{Volume, index, join, length};
use super::xattrs::Reference;
use crate::feature::Feature;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::inode::FLAG_EA_INODE;
use crate::ondisk::xattr::{REFCOUNT_MAX, Value, entry_hash};
use crate::read::xattrs::signed_name_hash;

/// Judges how often blocks and values are referred to, once all inodes are known.
pub(super) fn check(volume: &Volume<'_>, inventory: &mut Inventory) {
    let xattrs = std::mem::take(&mut inventory.xattrs);
    let mut blocks: Vec<_> = xattrs.blocks.into_iter().collect();
    blocks.sort_unstable_by_key(|(block, _)| *block);
    for (block, known) in blocks {
        let at = (Area::Xattrs, Location::inode(known.ino).at(block));
        let pair = (known.stored.into(), known.counted.into());
        volume.equal(at, "h_refcount", pair);
        if known.counted > REFCOUNT_MAX {
            volume.rule(at.0, at.1, "more inodes share it than are allowed to");
        }
    }
    let mut counted: HashMap<u32, u64> = HashMap::new();
    for reference in &xattrs.references {
        check_reference(volume, inventory, reference);
        *counted.entry(reference.value_ino).or_default() += 1;
    }
    let mut counted: Vec<(u32, u64)> = counted.into_iter().collect();
    counted.sort_unstable();
    // Values that overlap are told already, and reading them all might have no end.
    let may_read = volume.found() == 0;
    for (ino, references) in counted {
        let Some(file) = inventory.own.get(&ino) else {
            continue;
        };
        let at = (Area::Xattrs, Location::inode(ino));
        let stored = join(file.node.i_version.get(), file.node.i_ctime.get());
        volume.equal(at, "the count of references", (stored, references));
        if may_read {
            check_hash(volume, at, file);
        }
        if let Some(known) = inventory.known(ino) {
            known.counted = known.counted.saturating_add(1);
        }
    }
}

/// Judges an entry whose value is in an inode.
fn check_reference(volume: &Volume<'_>, inventory: &Inventory, reference: &Reference) {
    let place = reference.owner;
    let say = |rule| volume.rule(Area::Xattrs, place, rule);
    if !volume.has(Feature::EaInode) {
        say("a value is in an inode, in a filesystem without ea_inode");
    }
    let file = inventory.own.get(&reference.value_ino);
    let Some(file) = file.filter(|file| file.node.i_flags.get() & FLAG_EA_INODE != 0) else {
        say("a value is in an inode that holds no xattr value");
        return;
    };
    let size = join(file.node.i_size_lo.get(), file.node.i_size_hi.get());
    let at = (Area::Xattrs, place);
    volume.equal(at, "e_value_size", (reference.size.into(), size));
    let value = Value::Inode {
        ino: reference.value_ino,
        size: reference.size,
        hash: file.node.i_atime.get(),
    };
    let needed = entry_hash(&reference.name, &value);
    let signed = signed_name_hash(&reference.name).rotate_left(16) ^ file.node.i_atime.get();
    if reference.hash != signed {
        volume.sum(at, "e_hash", (reference.hash, needed));
    }
}

/// Judges the hash of an inode that holds a value.
fn check_hash(volume: &Volume<'_>, at: (Area, Location), file: &OwnFile) {
    let it = &file.node;
    let size = join(it.i_size_lo.get(), it.i_size_hi.get());
    if size > 1 << 24 {
        return;
    }
    let mut left = size;
    let mut register = volume.seed;
    for (_, block) in maps::blocks(&file.mapped.pieces) {
        let Some(bytes) = volume.block(at, block) else {
            return;
        };
        let many = left.min(length(bytes.len()));
        let held = bytes.get(..index(many));
        register = crc32c(register, held.unwrap_or_default());
        left -= many;
        if left == 0 {
            break;
        }
    }
    volume.sum(at, "the hash of its value", (it.i_atime.get(), register));
}
