//! Given an inode's number, renders the inode; never decides what it says.

use bytemuck::{Zeroable, bytes_of};

use super::{Image, metadata};
use crate::feature::Feature;
use crate::layout::directory::Shape;
use crate::layout::{AppendedFile, QuotaFile, StoredXattr, resize_inode_length};
use crate::ondisk::inode::{
    self, EXTRA_ISIZE, FLAG_EXTENTS, FLAG_IMMUTABLE, FLAG_INDEX, FileType, GOOD_OLD_SIZE, Inode,
    TIME_MAX_32, TIME_MIN, split_time,
};
use crate::ondisk::int::{Le16, Le32};
use crate::ondisk::xattr::{XattrEntry, render_ibody};
use crate::tree::{Device, Kind, NodeId};
use crate::units::{Ino, Timestamp};

impl Image<'_> {
    /// Renders the inode `ino` into `stored`, which is as long as an inode.
    pub(super) fn render_inode(&self, ino: Ino, stored: &mut [u8]) {
        stored.fill(0);
        let layout = self.layout;
        match ino {
            Ino::BAD_BLOCKS => self.render_bad_blocks(stored),
            Ino::RESIZE if layout.system.resize.is_some() => self.render_resize_inode(stored),
            Ino::JOURNAL => self.render_journal(stored),
            _ if Some(ino) == layout.geometry.orphan_ino() => self.render_orphan_file(stored),
            _ if self.quota_file(ino).is_some() => self.render_quota_file(ino, stored),
            _ => match layout.content.node_of(ino) {
                Some(node) => self.render_node(node, stored),
                None if ino == Ino::FIRST => self.render_lost_found(stored),
                None => {}
            },
        }
        let is_reserved = ino < Ino::FIRST;
        if let Some(seed) = self.inode_seed(ino)
            && (is_reserved || stored.iter().any(|byte| *byte != 0))
        {
            inode::set_checksum(stored, seed);
        }
    }

    /// The bad blocks inode: empty, and without the extra fields, which libext2fs leaves out.
    fn render_bad_blocks(&self, stored: &mut [u8]) {
        let now = self.clock_32();
        put(
            stored,
            &Inode {
                i_atime: now,
                i_ctime: now,
                i_mtime: now,
                ..Inode::zeroed()
            },
        );
    }

    fn render_resize_inode(&self, stored: &mut [u8]) {
        let geometry = &self.layout.geometry;
        let mut inode = self.new_inode();
        inode.i_mode = Le16::new(FileType::REGULAR.mode(0o600));
        inode.i_links_count = Le16::new(1);
        inode.set_size(
            resize_inode_length(geometry.addresses_per_block()) * geometry.block_size.bytes_u64(),
        );
        let blocks = metadata::resize_inode_blocks(self) * geometry.cluster_ratio();
        inode.set_blocks(self.sectors(blocks));
        let double_indirect = self.layout.system.resize.unwrap_or_default();
        let (low, _) = crate::ondisk::superblock::halves(double_indirect.get());
        inode.i_block[52..56].copy_from_slice(bytes_of(&low));
        put(stored, &inode);
    }

    fn render_journal(&self, stored: &mut [u8]) {
        if let Some(file) = &self.layout.system.journal {
            put(stored, &self.own_file(file));
        }
    }

    fn render_orphan_file(&self, stored: &mut [u8]) {
        if let Some(file) = &self.layout.system.orphan_file {
            let mut inode = self.own_file(file);
            if file.has_extents() {
                // mke2fs counts the blocks of this file alone, not those of its extent tree.
                inode.set_blocks(self.sectors(self.whole_clusters(file.blocks)));
            }
            put(stored, &inode);
        }
    }

    fn quota_file(&self, ino: Ino) -> Option<&QuotaFile> {
        let files = &self.layout.system.quota_files;
        files.iter().find(|file| file.ino == ino)
    }

    fn render_quota_file(&self, ino: Ino, stored: &mut [u8]) {
        if let Some(quota) = self.quota_file(ino) {
            let mut inode = self.own_file(&quota.file);
            inode.set_size(quota.size_bytes());
            inode.i_flags = Le32::new(inode.i_flags.get() | FLAG_IMMUTABLE);
            put(stored, &inode);
        }
    }

    /// A regular file of the filesystem's own.
    fn own_file(&self, file: &AppendedFile) -> Inode {
        let mut inode = self.appended(file);
        inode.i_mode = Le16::new(FileType::REGULAR.mode(0o600));
        inode.i_links_count = Le16::new(1);
        inode
    }

    fn render_lost_found(&self, stored: &mut [u8]) {
        if let Some(file) = &self.layout.system.lost_found {
            let mut inode = self.appended(file);
            inode.i_mode = Le16::new(FileType::DIRECTORY.mode(0o700));
            inode.i_links_count = Le16::new(2);
            put(stored, &inode);
        }
    }

    fn appended(&self, file: &AppendedFile) -> Inode {
        let mut inode = self.new_inode();
        inode.set_size(file.blocks * self.layout.geometry.block_size.bytes_u64());
        let ratio = self.layout.geometry.cluster_ratio();
        let blocks = self.whole_clusters(file.blocks) + file.node_blocks() * ratio;
        inode.set_blocks(self.sectors(blocks));
        if file.has_extents() {
            inode.i_flags = Le32::new(FLAG_EXTENTS);
        }
        inode.i_block = file.render_inode();
        inode
    }

    /// An inode made now.
    fn new_inode(&self) -> Inode {
        let now = self.clock_32();
        Inode {
            i_atime: now,
            i_ctime: now,
            i_mtime: now,
            i_extra_isize: Le16::new(EXTRA_ISIZE),
            i_crtime: now,
            ..Inode::zeroed()
        }
    }

    /// The clock as libext2fs stores it in inodes it makes: held within 32 bits.
    fn clock_32(&self) -> Le32 {
        let seconds = self.settings.clock.clamp(TIME_MIN, TIME_MAX_32);
        split_time(Timestamp::from_seconds(seconds)).0
    }

    fn render_node(&self, id: NodeId, stored: &mut [u8]) {
        let node = self.tree.node(id);
        let plan = self.layout.content.plan_of(id);
        let metadata = &node.metadata;
        let mut inode = Inode::zeroed();
        let (file_type, size) = self.type_and_size(id);
        inode.i_mode = Le16::new(file_type.mode(metadata.permissions));
        inode.set_owner(metadata.uid, metadata.gid);
        inode.set_size(size);
        self.set_times(id, &mut inode);
        inode.i_links_count = Le16::new(plan.links);
        let ratio = self.layout.geometry.cluster_ratio();
        inode.set_blocks(self.sectors(plan.all_blocks(ratio)));
        let mut flags = metadata.flags;
        let is_mapped = match &node.kind {
            Kind::Directory(_) | Kind::File(_) => true,
            Kind::Symlink(_) => plan.data_blocks > 0,
            _ => false,
        };
        if is_mapped {
            if self.has(Feature::Extent) {
                flags |= FLAG_EXTENTS;
            }
            inode.i_block = self.layout.content.map_of(id).render_inode();
        } else {
            set_inline(&node.kind, &mut inode.i_block);
        }
        if matches!(node.kind, Kind::Directory(_))
            && self.layout.content.directory(id).plan.shape() == Shape::Indexed
        {
            flags |= FLAG_INDEX;
        }
        inode.i_flags = Le32::new(flags);
        if let Some(number) = plan.xattr_block {
            inode.set_file_acl(self.layout.xattrs.place(number).get());
        }
        inode.i_extra_isize = Le16::new(EXTRA_ISIZE);
        put(stored, &inode);
        self.render_xattrs(id, stored);
    }

    /// A node's type and its size in bytes.
    fn type_and_size(&self, id: NodeId) -> (FileType, u64) {
        match &self.tree.node(id).kind {
            Kind::Directory(_) => {
                let blocks = self.layout.content.directory(id).plan.blocks();
                let bytes = self.layout.geometry.block_size.bytes_u64();
                (FileType::DIRECTORY, u64::from(blocks) * bytes)
            }
            Kind::File(content) => (FileType::REGULAR, content.size_bytes),
            Kind::Symlink(target) => (
                FileType::SYMLINK,
                u64::try_from(target.len()).unwrap_or(u64::MAX),
            ),
            Kind::CharDevice(_) => (FileType::CHAR_DEVICE, 0),
            Kind::BlockDevice(_) => (FileType::BLOCK_DEVICE, 0),
            Kind::Fifo => (FileType::FIFO, 0),
            Kind::Socket => (FileType::SOCKET, 0),
        }
    }

    fn set_times(&self, id: NodeId, inode: &mut Inode) {
        let metadata = &self.tree.node(id).metadata;
        let is_small = usize::from(self.layout.geometry.inode_size) == GOOD_OLD_SIZE;
        let held = |time: Timestamp| {
            if is_small {
                // Without the extra bits a later second would read as one before 1970.
                Timestamp::from_seconds(time.seconds.clamp(TIME_MIN, TIME_MAX_32))
            } else {
                time
            }
        };
        (inode.i_atime, inode.i_atime_extra) = split_time(held(metadata.atime));
        (inode.i_mtime, inode.i_mtime_extra) = split_time(held(metadata.mtime));
        (inode.i_ctime, inode.i_ctime_extra) = split_time(held(metadata.ctime));
        let made = Timestamp::from_seconds(self.settings.clock);
        (inode.i_crtime, inode.i_crtime_extra) = split_time(made);
    }

    fn render_xattrs(&self, id: NodeId, stored: &mut [u8]) {
        let kept = self.layout.xattrs.in_inode(self.tree.node(id).xattrs);
        if kept.is_empty() {
            return;
        }
        let area = &mut stored[GOOD_OLD_SIZE + usize::from(EXTRA_ISIZE)..];
        let entries: Vec<XattrEntry<'_>> = kept.iter().map(StoredXattr::entry).collect();
        let rendered =
            render_ibody(&entries, area.len()).expect("the layout chose what fits the inode");
        area.copy_from_slice(&rendered);
    }

    /// `blocks` rounded up to whole clusters.
    fn whole_clusters(&self, blocks: u64) -> u64 {
        blocks.next_multiple_of(self.layout.geometry.cluster_ratio())
    }

    /// `blocks` in the unit of `i_blocks`.
    fn sectors(&self, blocks: u64) -> u64 {
        blocks * (self.layout.geometry.block_size.bytes_u64() / 512)
    }

    /// Whether `feature` is in force.
    pub(super) fn has(&self, feature: Feature) -> bool {
        self.layout.geometry.features.has(feature)
    }
}

/// Puts what needs no block into `i_block`: a short target, or a device's number.
fn set_inline(kind: &Kind, i_block: &mut [u8; 60]) {
    match kind {
        Kind::Symlink(target) => i_block[..target.len()].copy_from_slice(target),
        Kind::CharDevice(device) | Kind::BlockDevice(device) => {
            let (old, new) = device_numbers(*device);
            i_block[..4].copy_from_slice(&old.to_le_bytes());
            i_block[4..8].copy_from_slice(&new.to_le_bytes());
        }
        Kind::Directory(_) | Kind::File(_) | Kind::Fifo | Kind::Socket => {}
    }
}

/// A device's number in the old form of 16 bits, or else in the new one of 32, as the kernel's
/// `old_encode_dev` and `new_encode_dev` do; the other is 0.
fn device_numbers(device: Device) -> (u32, u32) {
    let Device { major, minor } = device;
    if major < 256 && minor < 256 {
        (major << 8 | minor, 0)
    } else {
        (0, (minor & 0xff) | major << 8 | (minor & !0xff) << 12)
    }
}

/// Stores as much of `inode` as fits.
fn put(stored: &mut [u8], inode: &Inode) {
    let known = stored.len().min(size_of::<Inode>());
    stored[..known].copy_from_slice(&bytes_of(inode)[..known]);
}
