//! Given an inode in use, judges its type, flags, size and count of blocks, and claims its blocks;
//! leaves what directories and the filesystem's own files hold to their checks.

use super::finding::{Area, Location};
use super::inventory::{Dir, DirData, Inventory, OwnFile, is_own};
use super::maps::{self, Mapped};
use super::node::Node;
use super::verity;
use super::volume::{Volume, half, join, length, word};
use super::xattrs::InodeXattrs;
use crate::feature::Feature;
use crate::ondisk::inode::{
    FLAG_APPEND, FLAG_CASEFOLD, FLAG_EA_INODE, FLAG_ENCRYPT, FLAG_EXTENTS, FLAG_HUGE_FILE,
    FLAG_IMMUTABLE, FLAG_INDEX, FLAG_INLINE_DATA, FLAG_VERITY,
};
use crate::units::Ino;

/// Judges an inode's content and claims its blocks.
pub(super) fn check(volume: &Volume<'_>, node: &Node, inventory: &mut Inventory) {
    let ino = node.ino;
    let is_blank = node.it.i_links_count.get() == 0 && node.it.i_block == [0; 60];
    if is_own(volume, ino) && is_blank && node.it.i_mode.get() == 0 {
        return;
    }
    check_kind(volume, node);
    check_flags(volume, node);
    let held = inventory
        .xattrs
        .of_inode(volume, node, &mut inventory.claiming.claims);
    let mapped = map(volume, node, inventory);
    if ino == Ino::BAD_BLOCKS.get() || ino == Ino::RESIZE.get() {
        inventory.own.insert(
            ino,
            OwnFile {
                mapped,
                node: node.it,
            },
        );
        return;
    }
    let clusters = mapped.clusters + held.clusters();
    check_blocks(volume, node, clusters);
    check_size(volume, node, &mapped, &held);
    verity::check(volume, node, &mapped, &mut inventory.hashed);
    if !is_own(volume, ino) && !node.has_flag(FLAG_EA_INODE) {
        let space = clusters * volume.cluster_ratio * volume.block_size.bytes_u64();
        inventory
            .usage
            .add(volume, &node.it, space, 1 + held.value_inodes);
    }
    if node.is_directory() {
        let data = if node.has_flag(FLAG_INLINE_DATA) {
            DirData::Inline(node.it.i_block, held.inline_data.unwrap_or_default())
        } else {
            DirData::Blocks(mapped.pieces)
        };
        inventory.dirs.push(Dir {
            ino,
            generation: node.it.i_generation.get(),
            flags: node.it.i_flags.get(),
            data,
        });
    } else if is_own(volume, ino) || node.has_flag(FLAG_EA_INODE) {
        inventory.own.insert(
            ino,
            OwnFile {
                mapped,
                node: node.it,
            },
        );
    } else if node.is_symlink() {
        check_symlink(volume, node, &mapped, &held);
    }
}

fn check_kind(volume: &Volume<'_>, node: &Node) {
    let place = Location::inode(node.ino);
    let say = |rule| volume.rule(Area::Inode, place, rule);
    let ino = node.ino;
    if ino == Ino::ROOT.get() {
        if !node.is_directory() {
            say("the root inode is not a directory");
        }
    } else if is_own(volume, ino) {
        if node.it.i_mode.get() != 0 && !node.is_regular() {
            say("a system inode is not a regular file");
        }
    } else if node.file_type() == 0 {
        say("i_mode has no valid file type");
    }
    if node.has_flag(FLAG_EA_INODE) && !node.is_regular() {
        say("an inode for an xattr value is not a regular file");
    }
    let is_special =
        node.file_type() != 0 && !(node.is_regular() || node.is_directory() || node.is_symlink());
    if !is_special {
        return;
    }
    if node.size() != 0 {
        say("a device, pipe or socket has a size");
    }
    if node.has_flag(FLAG_EXTENTS | FLAG_INDEX | FLAG_INLINE_DATA) {
        say("a device, pipe or socket has a flag for file data");
    }
    let rest = node.it.i_block.get(16..).unwrap_or_default();
    let has_more = rest.iter().any(|byte| *byte != 0);
    if node.has_flag(FLAG_IMMUTABLE | FLAG_APPEND) && has_more {
        say("a device, pipe or socket has more in i_block than a device number");
    }
}

fn check_flags(volume: &Volume<'_>, node: &Node) {
    let place = Location::inode(node.ino);
    let say = |rule| volume.rule(Area::Inode, place, rule);
    for (flag, feature, rule) in [
        (
            FLAG_EXTENTS,
            Feature::Extent,
            "it has extents, in a filesystem without extent",
        ),
        (
            FLAG_INLINE_DATA,
            Feature::InlineData,
            "it has inline data, in a filesystem without inline_data",
        ),
        (
            FLAG_INDEX,
            Feature::DirIndex,
            "it has a hash tree, in a filesystem without dir_index",
        ),
        (
            FLAG_CASEFOLD,
            Feature::Casefold,
            "it is casefolded, in a filesystem without casefold",
        ),
        (
            FLAG_ENCRYPT,
            Feature::Encrypt,
            "it is encrypted, in a filesystem without encrypt",
        ),
        (
            FLAG_EA_INODE,
            Feature::EaInode,
            "it holds an xattr value, in a filesystem without ea_inode",
        ),
    ] {
        if node.has_flag(flag) && !volume.has(feature) {
            say(rule);
        }
    }
    if node.has_flag(FLAG_INDEX) && !node.is_directory() {
        say("it has a hash tree but is not a directory");
    }
    if node.has_flag(FLAG_CASEFOLD) && !node.is_directory() {
        say("it is casefolded but is not a directory");
    }
    if node.has_flag(FLAG_INLINE_DATA) && node.has_flag(FLAG_EXTENTS) {
        say("it has both inline data and extents");
    }
    if node.has_flag(FLAG_INLINE_DATA) && node.has_flag(FLAG_INDEX) {
        say("it has both inline data and a hash tree");
    }
    let has_map = node.is_regular() || node.is_directory();
    if has_map && !node.has_flag(FLAG_EXTENTS | FLAG_INLINE_DATA) {
        let looks_like_extents = half(&node.it.i_block, 0) == crate::ondisk::extent::MAGIC
            && half(&node.it.i_block, 4) == crate::ondisk::extent::ROOT_MAX;
        if volume.has(Feature::Extent) && looks_like_extents {
            say("it has an extent tree but not the flag for it");
        }
        let is_file = !is_own(volume, node.ino) && node.it.i_block != [0; 60];
        if volume.has(Feature::Bigalloc) && is_file {
            say("its blocks are mapped without extents, in a filesystem with bigalloc");
        }
    }
}

/// Where an inode's blocks are; none where it has none.
fn map(volume: &Volume<'_>, node: &Node, inventory: &mut Inventory) -> Mapped {
    let is_fast = node.is_symlink() && node.size() < 60;
    let has_blocks = node.is_regular()
        || node.is_directory()
        || node.is_symlink() && !is_fast
        || node.file_type() == 0 && node.ino == Ino::BAD_BLOCKS.get();
    if is_fast && node.has_flag(FLAG_EXTENTS) {
        let rule = "a short symbolic link has extents";
        volume.rule(Area::Symlink, Location::inode(node.ino), rule);
    }
    // The resize inode's map leads to what groups keep already.
    if !has_blocks || node.has_flag(FLAG_INLINE_DATA) || node.ino == Ino::RESIZE.get() {
        return Mapped::default();
    }
    maps::walk(volume, &mut inventory.claiming, node)
}

fn check_blocks(volume: &Volume<'_>, node: &Node, clusters: u64) {
    let it = &node.it;
    // The Hurd keeps something else there.
    if volume.sb.s_creator_os.get() == 1 {
        return;
    }
    let high = if volume.has(Feature::HugeFile) {
        it.i_blocks_hi.get()
    } else {
        0
    };
    let unit = if node.has_flag(FLAG_HUGE_FILE) && volume.has(Feature::HugeFile) {
        1
    } else {
        volume.block_size.bytes_u64() / 512
    };
    let needed = clusters * volume.cluster_ratio * unit;
    let found = join(it.i_blocks_lo.get(), high.into());
    let at = (Area::Inode, Location::inode(node.ino));
    volume.equal(at, "i_blocks", (found, needed));
}

fn check_size(volume: &Volume<'_>, node: &Node, mapped: &Mapped, held: &InodeXattrs) {
    let at = (Area::Inode, Location::inode(node.ino));
    let size = node.size();
    if node.has_flag(FLAG_INLINE_DATA) {
        check_inline_size(volume, node, held);
        return;
    }
    let bytes = volume.block_size.bytes_u64();
    if node.is_directory() {
        if mapped.pieces.is_empty() {
            volume.rule(at.0, at.1, "a directory has no blocks");
        } else {
            volume.equal(at, "i_size", (size, mapped.end() * bytes));
        }
        if mapped.has_holes() {
            volume.rule(Area::Directory, at.1, "a directory has a hole");
        }
        if mapped.pieces.iter().any(|piece| piece.is_unwritten) {
            volume.rule(Area::Directory, at.1, "a directory has unwritten blocks");
        }
        return;
    }
    let last = mapped.last_written().unwrap_or(0);
    if node.is_regular() && size < last * bytes && !node.has_flag(FLAG_VERITY) {
        volume.rule(at.0, at.1, "it has blocks past its end");
    }
    let most = if node.has_flag(FLAG_EXTENTS) {
        bytes << 32
    } else {
        let per_block = bytes / 4;
        (12 + per_block + per_block * per_block + per_block.pow(3)) * bytes
    };
    if node.is_regular() && size > most {
        volume.rule(at.0, at.1, "it is longer than its block map allows");
    }
}

fn check_inline_size(volume: &Volume<'_>, node: &Node, held: &InodeXattrs) {
    let place = Location::inode(node.ino);
    let Some(value) = &held.inline_data else {
        let rule = "the xattr with its second part is missing";
        volume.rule(Area::InlineData, place, rule);
        return;
    };
    let room = 60 + length(value.len());
    let at = (Area::InlineData, place);
    match node.is_regular() {
        true if node.size() > room => {
            volume.rule(at.0, at.1, "it is longer than the space in the inode");
        }
        true => {}
        false => volume.equal(at, "i_size", (node.size(), room)),
    }
}

fn check_symlink(volume: &Volume<'_>, node: &Node, mapped: &Mapped, held: &InodeXattrs) {
    let place = Location::inode(node.ino);
    let say = |rule| volume.rule(Area::Symlink, place, rule);
    let size = node.size();
    if size == 0 || size >= volume.block_size.bytes_u64() {
        say("it is empty or too long for a block");
        return;
    }
    let target = if node.has_flag(FLAG_INLINE_DATA) {
        let mut whole = node.it.i_block.to_vec();
        whole.extend(held.inline_data.iter().flatten());
        whole
    } else if size < 60 {
        node.it.i_block.to_vec()
    } else {
        let is_one = mapped.end() == 1 && mapped.pieces.len() == 1;
        let Some(piece) = mapped.pieces.first().filter(|_| is_one) else {
            say("its target is not in one block");
            return;
        };
        let at = (Area::Symlink, place);
        let block = piece.run.start.get();
        if !volume.is_first(at.0, block) {
            return;
        }
        match volume.block(at, block) {
            Some(block) => block,
            None => return,
        }
    };
    let length_of = if node.has_flag(FLAG_ENCRYPT) {
        u64::from(word(&target, 0) & 0xffff) + 2
    } else {
        length(target.iter().take_while(|byte| **byte != 0).count())
    };
    if length_of != size {
        say("its target is not as long as i_size says");
    }
}
