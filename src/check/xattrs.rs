//! Given an inode's attributes, judges them and counts what they refer to; never what a program makes
//! of a value, but for ACLs.
//!
//! `ondisk::xattr` takes areas apart and judges names, places and hashes.

use std::collections::HashMap;

use super::claims::Claims;
use super::finding::{Area, FindingKind, Location, Owner};
use super::node::Node;
use super::volume::Volume;
use crate::feature::Feature;
use crate::ondisk::acl;
use crate::ondisk::inode::{FLAG_ENCRYPT, FLAG_INLINE_DATA};
use crate::ondisk::xattr::{
    ParsedBlock, StoredXattr, XattrFault, block_checksum, block_hash, parse_block, parse_ibody,
};
use crate::read::xattrs::INLINE_DATA;
use crate::units::{Ino, Run};

/// The attribute with an encryption policy, of an index that no program sees.
const ENCRYPTION: (u8, &[u8]) = (9, b"c");
/// Name indices of ACLs.
const ACLS: [u8; 2] = [2, 3];

/// What an inode's attributes mean for the rest of it.
#[derive(Default)]
pub(super) struct InodeXattrs {
    has_block: bool,
    /// Clusters of values in inodes of their own, which `i_blocks` counts.
    value_clusters: u64,
    /// Inodes that hold values, which quotas count.
    pub(super) value_inodes: u64,
    /// The second part of inline data.
    pub(super) inline_data: Option<Vec<u8>>,
}

impl InodeXattrs {
    /// The clusters that an inode counts as its own for its attributes.
    pub(super) fn clusters(&self) -> u64 {
        u64::from(self.has_block) + self.value_clusters
    }
}

/// An attribute whose value is in an inode.
pub(super) struct Reference {
    pub(super) owner: Location,
    pub(super) value_ino: u32,
    pub(super) size: u32,
    pub(super) hash: u32,
    pub(super) name: Box<[u8]>,
}

/// An attribute block that was met.
pub(super) struct KnownBlock {
    /// What its header counts.
    pub(super) stored: u32,
    pub(super) counted: u32,
    pub(super) ino: u32,
    value_clusters: u64,
    value_inodes: u64,
}

/// What the attributes of all inodes refer to.
#[derive(Default)]
pub(super) struct Xattrs {
    pub(super) blocks: HashMap<u64, KnownBlock>,
    pub(super) references: Vec<Reference>,
}

impl Xattrs {
    /// Judges an inode's attributes and claims their block.
    pub(super) fn of_inode(
        &mut self,
        volume: &Volume<'_>,
        node: &Node,
        claims: &mut Claims,
    ) -> InodeXattrs {
        let mut held = InodeXattrs::default();
        let place = Location::inode(node.ino);
        let mut is_policy_there = false;
        match parse_ibody(node.inode.xattr_area()) {
            Ok(entries) => {
                is_policy_there |= has_policy(&entries);
                self.entries(volume, place, &entries, &mut held);
            }
            Err(fault) => volume.note(Area::Xattrs, place, FindingKind::Told(fault.to_string())),
        }
        is_policy_there |= self.block(volume, node, claims, &mut held);
        if node.has_flag(FLAG_ENCRYPT) && !is_policy_there {
            volume.rule(Area::Xattrs, place, "it is encrypted but has no policy");
        }
        if held.inline_data.is_some() && !node.has_flag(FLAG_INLINE_DATA) {
            let rule = "it has the xattr for inline data but not the flag";
            volume.rule(Area::InlineData, place, rule);
        }
        held
    }

    /// Judges the attribute block of an inode; true if it holds a policy of encryption.
    fn block(
        &mut self,
        volume: &Volume<'_>,
        node: &Node,
        claims: &mut Claims,
        held: &mut InodeXattrs,
    ) -> bool {
        let Some(block) = node.inode.xattr_block() else {
            return false;
        };
        let ino = node.ino;
        let at = (Area::Xattrs, Location::inode(ino));
        let run = Run::one(block);
        let block = block.get();
        if !volume.is_inside(run) {
            volume.note(at.0, at.1, FindingKind::Outside(run));
            return false;
        }
        if !volume.has(Feature::ExtAttr) {
            let rule = "it has an xattr block, in a filesystem without ext_attr";
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
        let mut of_block = InodeXattrs::default();
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
                    self.entries(volume, place, &parsed.entries, &mut of_block);
                }
                Err(fault) => volume.note(at.0, place, FindingKind::Told(fault.to_string())),
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
        place: Location,
        entries: &[StoredXattr<'_>],
        held: &mut InodeXattrs,
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
                    owner: Location {
                        block: None,
                        ..place
                    },
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
                volume.note(Area::Xattrs, place, FindingKind::Told(error.to_string()));
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
    place: Location,
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
