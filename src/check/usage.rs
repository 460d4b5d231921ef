//! Given who owns inodes, gives what each user, group and project uses; never compares it.

use std::collections::BTreeMap;

use super::volume::{Volume, join};
use crate::feature::Feature;
use crate::ondisk::inode::Inode;

/// Bytes and inodes by id.
pub(super) type ById = BTreeMap<u32, (u64, u64)>;

/// What is used by users, groups and projects, in this order.
#[derive(Default)]
pub(super) struct Usage(pub(super) [ById; 3]);

impl Usage {
    /// Adds bytes and inodes to the accounts of an inode's owners.
    pub(super) fn add(&mut self, volume: &Volume<'_>, it: &Inode, space: u64, inodes: u64) {
        if !volume.has(Feature::Quota) {
            return;
        }
        let id = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        let has_project = volume.inode_size > 128 && it.i_extra_isize.get() >= 32;
        let ids = [
            id(it.i_uid_lo.get(), it.i_uid_hi.get()),
            id(it.i_gid_lo.get(), it.i_gid_hi.get()),
            if has_project { it.i_projid.get() } else { 0 },
        ];
        for (by_id, id) in self.0.iter_mut().zip(ids) {
            let (bytes, count) = by_id.entry(id).or_default();
            *bytes = bytes.saturating_add(space);
            *count = count.saturating_add(inodes);
        }
    }

    /// How many bytes and inodes all ids of a kind use.
    pub(super) fn of(&self, kind: usize) -> Option<&ById> {
        self.0.get(kind)
    }
}

/// An inode's size in bytes.
pub(super) fn size_of_file(it: &Inode) -> u64 {
    join(it.i_size_lo.get(), it.i_size_hi.get())
}
