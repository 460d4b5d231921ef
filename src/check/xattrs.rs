//! Given an inode's attributes, judges them and counts what they refer to; never what a program makes
//! of a value, but for ACLs.
//!
//! `ondisk::xattr` takes areas apart and judges names, places and hashes.

use std::collections::HashMap;

use super::claims::Claims;
use super::content::Node;
use super::finding::{Area, Fault, Owner, Place};
use super::inodes::{OwnFile, Walk};
use super::maps;
use super::volume::{Volume, join, length};
use crate::feature::Feature;
use crate::ondisk::acl;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::inode::{FLAG_EA_INODE, FLAG_ENCRYPT, FLAG_INLINE_DATA};
use crate::ondisk::xattr::{
    ParsedBlock, REFCOUNT_MAX, StoredXattr, Value, XattrFault, block_checksum, block_hash,
    entry_hash, parse_block, parse_ibody,
};
use crate::read::xattrs::{INLINE_DATA, signed_name_hash};
use crate::units::{Block, Ino, Run};

/// The attribute with an encryption policy, of an index that no program sees.
const ENCRYPTION: (u8, &[u8]) = (9, b"c");
/// Name indices of ACLs.
const ACLS: [u8; 2] = [2, 3];

/// What an inode's attributes mean for the rest of it.
#[derive(Default)]
pub(super) struct Held {
    has_block: bool,
    /// Clusters of values in inodes of their own, which `i_blocks` counts.
    value_clusters: u64,
    /// Inodes that hold values, which quotas count.
    pub(super) value_inodes: u64,
    /// The second part of inline data.
    pub(super) inline_data: Option<Vec<u8>>,
}

impl Held {
    /// The clusters that an inode counts as its own for its attributes.
    pub(super) fn clusters(&self) -> u64 {
        u64::from(self.has_block) + self.value_clusters
    }
}

/// An attribute whose value is in an inode.
struct Reference {
    owner: u32,
    value_ino: u32,
    size: u32,
    hash: u32,
    name: Box<[u8]>,
}

/// An attribute block that was met.
struct KnownBlock {
    /// What its header counts.
    stored: u32,
    counted: u32,
    ino: u32,
    value_clusters: u64,
    value_inodes: u64,
}

/// What the attributes of all inodes refer to.
#[derive(Default)]
pub(super) struct Xattrs {
    blocks: HashMap<u64, KnownBlock>,
    references: Vec<Reference>,
}

impl Xattrs {
    /// Judges an inode's attributes and claims their block.
    pub(super) fn of_inode(
        &mut self,
        volume: &Volume<'_>,
        node: &Node,
        claims: &mut Claims,
    ) -> Held {
        let mut held = Held::default();
        let place = Place::inode(node.ino);
        let mut is_policy_there = false;
        match parse_ibody(node.inode.xattr_area()) {
            Ok(entries) => {
                is_policy_there |= has_policy(&entries);
                self.entries(volume, (node.ino, place), &entries, &mut held);
            }
            Err(fault) => volume.note(Area::Xattrs, place, Fault::Told(fault.to_string())),
        }
        if let Some(block) = node.inode.xattr_block() {
            is_policy_there |= self.block(volume, (node.ino, block.get()), claims, &mut held);
        }
        if node.has_flag(FLAG_ENCRYPT) && !is_policy_there {
            volume.rule(Area::Xattrs, place, "it is encrypted and has no policy");
        }
        if held.inline_data.is_some() && !node.has_flag(FLAG_INLINE_DATA) {
            let rule = "it has the attribute of inline data and not the flag";
            volume.rule(Area::InlineData, place, rule);
        }
        held
    }

    /// Judges the attribute block of an inode; true if it holds a policy of encryption.
    fn block(
        &mut self,
        volume: &Volume<'_>,
        (ino, block): (u32, u64),
        claims: &mut Claims,
        held: &mut Held,
    ) -> bool {
        let at = (Area::Xattrs, Place::inode(ino));
        let run = Run::one(Block::new(block));
        if !volume.is_inside(run) {
            volume.note(at.0, at.1, Fault::Outside(run));
            return false;
        }
        if !volume.has(Feature::ExtAttr) {
            let rule = "it has an attribute block, in a filesystem without ext_attr";
            volume.rule(at.0, at.1, rule);
        }
        held.has_block = true;
        if let Some(known) = self.blocks.get_mut(&block) {
            known.counted = known.counted.saturating_add(1);
            held.value_clusters += known.value_clusters;
            held.value_inodes += known.value_inodes;
            return true;
        }
        claims.add(run, Owner::Xattrs(Ino::new(ino)));
        let mut of_block = Held::default();
        let mut known = KnownBlock {
            stored: 1,
            counted: 1,
            ino,
            value_clusters: 0,
            value_inodes: 0,
        };
        let mut is_policy_there = false;
        if let Some(bytes) = volume.block(at, block) {
            let place = at.1.at(block);
            match check_block(volume, place, &bytes) {
                Ok(parsed) => {
                    known.stored = parsed.header.h_refcount.get();
                    is_policy_there = has_policy(&parsed.entries);
                    self.entries(volume, (ino, place), &parsed.entries, &mut of_block);
                }
                Err(fault) => volume.note(at.0, place, Fault::Told(fault.to_string())),
            }
        }
        known.value_clusters = of_block.value_clusters;
        known.value_inodes = of_block.value_inodes;
        held.value_clusters += of_block.value_clusters;
        held.value_inodes += of_block.value_inodes;
        self.blocks.insert(block, known);
        is_policy_there
    }

    fn entries(
        &mut self,
        volume: &Volume<'_>,
        (ino, place): (u32, Place),
        entries: &[StoredXattr<'_>],
        held: &mut Held,
    ) {
        for stored in entries {
            let name = (stored.entry.e_name_index, stored.name);
            let value_ino = stored.entry.e_value_inum.get();
            if value_ino != 0 {
                let size = stored.entry.e_value_size.get();
                let cluster = volume.cluster_ratio * volume.block_size.bytes_u64();
                held.value_clusters += u64::from(size).div_ceil(cluster);
                held.value_inodes += 1;
                self.references.push(Reference {
                    owner: ino,
                    value_ino,
                    size,
                    hash: stored.entry.e_hash.get(),
                    name: stored.name.into(),
                });
            } else if name == INLINE_DATA && place.block.is_none() {
                held.inline_data = Some(stored.value.unwrap_or_default().to_vec());
            } else if ACLS.contains(&name.0)
                && let Err(error) = acl::from_disk(stored.value.unwrap_or_default())
            {
                volume.note(Area::Xattrs, place, Fault::Told(error.to_string()));
            }
        }
    }
}

fn has_policy(entries: &[StoredXattr<'_>]) -> bool {
    let mut names = entries
        .iter()
        .map(|stored| (stored.entry.e_name_index, stored.name));
    names.any(|name| name == ENCRYPTION)
}

fn check_block<'b>(
    volume: &Volume<'_>,
    place: Place,
    bytes: &'b [u8],
) -> Result<ParsedBlock<'b>, XattrFault> {
    let at = (Area::Xattrs, place);
    let parsed = parse_block(bytes)?;
    if let (true, Some(block)) = (volume.has_checksums(), place.block) {
        let needed = block_checksum(volume.seed, block.get(), bytes);
        volume.sum(at, "h_checksum", (parsed.header.h_checksum.get(), needed));
    }
    let hashes = parsed
        .entries
        .iter()
        .map(|stored| stored.entry.e_hash.get());
    let needed = block_hash(hashes);
    // Zero keeps a block from being shared and is right for any.
    if parsed.header.h_hash.get() != 0 {
        volume.sum(at, "h_hash", (parsed.header.h_hash.get(), needed));
    }
    Ok(parsed)
}

/// Judges how often blocks and values are referred to, once all inodes are known.
pub(super) fn settle(volume: &Volume<'_>, walk: &mut Walk) {
    let xattrs = std::mem::take(&mut walk.xattrs);
    let mut blocks: Vec<_> = xattrs.blocks.into_iter().collect();
    blocks.sort_unstable_by_key(|(block, _)| *block);
    for (block, known) in blocks {
        let at = (Area::Xattrs, Place::inode(known.ino).at(block));
        let pair = (known.stored.into(), known.counted.into());
        volume.equal(at, "h_refcount", pair);
        if known.counted > REFCOUNT_MAX {
            volume.rule(at.0, at.1, "more inodes share it than may");
        }
    }
    let mut counted: HashMap<u32, u64> = HashMap::new();
    for reference in &xattrs.references {
        check_reference(volume, walk, reference);
        *counted.entry(reference.value_ino).or_default() += 1;
    }
    let mut counted: Vec<(u32, u64)> = counted.into_iter().collect();
    counted.sort_unstable();
    // Values that overlap are told already, and reading them all might have no end.
    let may_read = volume.found() == 0;
    for (ino, references) in counted {
        let Some(file) = walk.own.get(&ino) else {
            continue;
        };
        check_value(volume, (ino, file), references, may_read);
        if let Some(known) = walk.known(ino) {
            known.counted = known.counted.saturating_add(1);
        }
    }
}

/// Judges an entry whose value is in an inode.
fn check_reference(volume: &Volume<'_>, walk: &Walk, reference: &Reference) {
    let place = Place::inode(reference.owner);
    let say = |rule| volume.rule(Area::Xattrs, place, rule);
    if !volume.has(Feature::EaInode) {
        say("a value is in an inode, in a filesystem without ea_inode");
    }
    let file = walk.own.get(&reference.value_ino);
    let Some(file) = file.filter(|file| file.node.i_flags.get() & FLAG_EA_INODE != 0) else {
        say("a value is in an inode that holds none");
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

/// Judges an inode that holds a value: its count of references and its hash.
fn check_value(volume: &Volume<'_>, (ino, file): (u32, &OwnFile), references: u64, may_read: bool) {
    let at = (Area::Xattrs, Place::inode(ino));
    let it = &file.node;
    let stored = join(it.i_version.get(), it.i_ctime.get());
    volume.equal(at, "the count of references", (stored, references));
    let size = join(it.i_size_lo.get(), it.i_size_hi.get());
    if !may_read || size > 1 << 24 {
        return;
    }
    let mut left = size;
    let mut register = volume.seed;
    for (_, block) in maps::blocks(&file.mapped.pieces) {
        let Some(bytes) = volume.block(at, block) else {
            return;
        };
        let many = left.min(length(bytes.len()));
        let held = bytes.get(..super::volume::index(many));
        register = crc32c(register, held.unwrap_or_default());
        left -= many;
        if left == 0 {
            break;
        }
    }
    volume.sum(at, "the hash of its value", (it.i_atime.get(), register));
}
