//! Given an inode's number, renders the inode; never decides what it says.

use bytemuck::{Zeroable, bytes_of};

use super::{EmitError, Image, metadata};
use crate::feature::Feature;
use crate::layout::directory::Shape;
use crate::layout::inline::{HEAD_BYTES, data_attribute, render_directory};
use crate::layout::{
    AppendedFile, HugeDirectory, HugeInode, QuotaFile, StoredXattr, inode_type, resize_inode_length,
};
use crate::ondisk::inode::{
    self, EXTRA_ISIZE, FLAG_EA_INODE, FLAG_EXTENTS, FLAG_IMMUTABLE, FLAG_INDEX, FLAG_INLINE_DATA,
    FLAG_VERITY, FileType, GOOD_OLD_SIZE, Inode, TIME_MAX_32, TIME_MIN, split_time,
};
use crate::ondisk::int::{Le16, Le32};
use crate::ondisk::superblock::halves;
use crate::ondisk::xattr::{MAGIC, XattrEntry, render_ibody};
use crate::tree::{Device, Kind, NodeId};
use crate::units::{Ino, Timestamp};

impl Image<'_> {
    /// Renders the inode `ino` into `stored`, which is as long as an inode.
    ///
    /// # Errors
    /// Where content that lies in the inode cannot be read.
    pub(super) fn render_inode(&self, ino: Ino, stored: &mut [u8]) -> Result<(), EmitError> {
        stored.fill(0);
        let layout = self.layout;
        match ino {
            Ino::BAD_BLOCKS => self.render_bad_blocks(stored),
            Ino::RESIZE if layout.system.resize.is_some() => self.render_resize_inode(stored),
            Ino::JOURNAL => self.render_journal(stored),
            _ if Some(ino) == layout.geometry.orphan_ino() => self.render_orphan_file(stored),
            _ if self.quota_file(ino).is_some() => self.render_quota_file(ino, stored),
            _ => match layout.content.node_of(ino) {
                Some(node) => self.render_node(node, stored)?,
                None if ino == Ino::FIRST => self.render_lost_found(stored),
                None if layout.system.huge.is_some() => self.render_huge(ino, stored),
                None => {
                    if let Some(number) = layout.content.value_of(ino) {
                        self.render_value_inode(number, stored);
                    }
                }
            },
        }
        let is_reserved = ino < Ino::FIRST;
        if let Some(seed) = self.inode_seed(ino)
            && (is_reserved || stored.iter().any(|byte| *byte != 0))
        {
            inode::set_checksum(stored, seed);
        }
        Ok(())
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

    /// A huge file, or a directory that was made for them.
    fn render_huge(&self, ino: Ino, stored: &mut [u8]) {
        let huge = self.layout.system.huge.as_ref();
        let (Some(found), Some(wish)) = (
            huge.and_then(|huge| huge.inode(ino)),
            &self.settings.huge_files,
        ) else {
            return;
        };
        let mut inode = match found {
            HugeInode::File(file) => {
                let mut inode = self.appended(file);
                inode.i_mode = Le16::new(FileType::REGULAR.mode(0o666 & !wish.umask));
                inode.i_links_count = Le16::new(1);
                inode
            }
            HugeInode::Directory(directory) => {
                let mut inode = self.new_inode();
                inode.i_mode = Le16::new(FileType::DIRECTORY.mode(0o777 & !wish.umask));
                inode.i_flags = Le32::new(FLAG_EXTENTS);
                self.set_huge_directory(directory, 0, &mut inode);
                inode
            }
        };
        inode.set_owner(wish.uid, wish.gid);
        put(stored, &inode);
    }

    /// Sets what a directory on the way to huge files has of them; `others` are its blocks beside.
    fn set_huge_directory(&self, directory: &HugeDirectory, others: u64, inode: &mut Inode) {
        inode.i_links_count = Le16::new(2 + directory.subdirectories);
        inode.set_size(directory.plan.size_bytes(&self.layout.content.rules));
        inode.set_blocks(self.sectors(directory.all_blocks() + others));
        inode.i_block = directory.tree.render_inode();
    }

    fn render_lost_found(&self, stored: &mut [u8]) {
        if let Some(file) = &self.layout.system.lost_found {
            let mut inode = self.appended(file);
            inode.i_mode = Le16::new(FileType::DIRECTORY.mode(0o700));
            inode.i_links_count = Le16::new(2);
            put(stored, &inode);
            if self.has(Feature::InlineData) {
                // libext2fs takes the attribute with the directory's first entries away again, and
                // leaves the empty list behind.
                let list = GOOD_OLD_SIZE + usize::from(EXTRA_ISIZE);
                if let Some(magic) = stored.get_mut(list..list + 4) {
                    magic.copy_from_slice(&MAGIC.to_le_bytes());
                }
            }
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

    /// An inode that holds an attribute's value. It keeps the value's hash and the count of its
    /// users where others keep times, as the kernel's `ext4_xattr_inode_set_hash` and
    /// `ext4_xattr_inode_set_ref` do.
    fn render_value_inode(&self, number: u32, stored: &mut [u8]) {
        let content = &self.layout.content;
        let plan = content.plan_of_value(number);
        let value = &self.layout.xattrs.values()[usize::try_from(number).expect("fits memory")];
        let (low, high) = halves(value.references);
        let mut inode = Inode {
            i_mode: Le16::new(FileType::REGULAR.mode(0o600)),
            i_atime: Le32::new(value.hash),
            i_ctime: high,
            i_version: low,
            i_links_count: Le16::new(plan.links),
            i_extra_isize: Le16::new(EXTRA_ISIZE),
            // Lustre kept the user's inode in i_mtime: 0 is none.
            i_crtime: self.clock_32(),
            i_block: content.map_of_value(number).render_inode(),
            ..Inode::zeroed()
        };
        let mut flags = FLAG_EA_INODE;
        if self.has(Feature::Extent) {
            flags |= FLAG_EXTENTS;
        }
        inode.i_flags = Le32::new(flags);
        inode.set_size(u64::try_from(value.bytes.len()).unwrap_or(u64::MAX));
        inode.set_blocks(self.sectors(plan.own_blocks(self.layout.geometry.cluster_ratio())));
        put(stored, &inode);
    }

    fn render_node(&self, id: NodeId, stored: &mut [u8]) -> Result<(), EmitError> {
        let node = self.tree.node(id);
        let plan = self.layout.content.plan_of(id);
        let metadata = &node.metadata;
        let mut inode = Inode::zeroed();
        inode.i_mode = Le16::new(inode_type(&node.kind).mode(metadata.permissions));
        inode.set_owner(metadata.uid, metadata.gid);
        self.set_times(id, &mut inode);
        inode.i_links_count = Le16::new(plan.links);
        let ratio = self.layout.geometry.cluster_ratio();
        let xattrs = &self.layout.xattrs;
        let blocks = self.layout.content.all_blocks(id, xattrs, ratio);
        inode.set_blocks(self.sectors(blocks));
        let xattr_block = xattrs.block_of(id);
        if let Some(number) = xattr_block {
            inode.set_file_acl(xattrs.place(number).get());
        }
        inode.i_extra_isize = Le16::new(EXTRA_ISIZE);
        let mut tail = None;
        let flags = if self.layout.xattrs.is_inline(id) {
            let mut content = self.inline_content(id)?;
            inode.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
            let head = content.len().min(HEAD_BYTES);
            inode.i_block[..head].copy_from_slice(&content[..head]);
            tail = Some(content.split_off(head));
            FLAG_INLINE_DATA
        } else {
            inode.set_size(self.size_of(id));
            self.set_map(id, &mut inode)
        };
        inode.i_flags = Le32::new(self.layout.content.flags_of(node) | flags);
        let huge = self.layout.system.huge.as_ref();
        if let Some(root) = huge.and_then(|huge| huge.directories.first())
            && id == NodeId::ROOT
        {
            self.set_huge_directory(root, xattr_block.is_some().into(), &mut inode);
        }
        put(stored, &inode);
        self.render_xattrs(id, tail.as_deref(), stored);
        Ok(())
    }

    /// The content of a node that lies in its inode.
    fn inline_content(&self, id: NodeId) -> Result<Vec<u8>, EmitError> {
        let content = &self.layout.content;
        match &self.tree.node(id).kind {
            Kind::Directory(_) => {
                let entries = content.entries(self.tree, id);
                let parent = content.ino_of(content.directory(id).parent);
                let format = content.rules.format;
                Ok(render_directory(&entries, parent, format))
            }
            Kind::File(file) => self.read_whole(file),
            Kind::Symlink(target) => Ok(target.to_vec()),
            Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo | Kind::Socket => {
                Ok(Vec::new())
            }
        }
    }

    /// Sets `i_block` of a node whose content does not lie there, and gives the flags that say what
    /// it is.
    fn set_map(&self, id: NodeId, inode: &mut Inode) -> u32 {
        let node = self.tree.node(id);
        let content = &self.layout.content;
        let is_mapped = match &node.kind {
            Kind::Directory(_) | Kind::File(_) => true,
            Kind::Symlink(_) => content.plan_of(id).data_blocks(1) > 0,
            _ => false,
        };
        if !is_mapped {
            set_inline(&node.kind, &mut inode.i_block);
            return 0;
        }
        inode.i_block = content.map_of(id).render_inode();
        let mut flags = 0;
        if self.has(Feature::Extent) {
            flags |= FLAG_EXTENTS;
        }
        if content.verity_of(id).is_some() {
            flags |= FLAG_VERITY;
        }
        if matches!(node.kind, Kind::Directory(_))
            && content.directory(id).plan.shape() == Shape::Indexed
        {
            flags |= FLAG_INDEX;
        }
        flags
    }

    /// The size in bytes of a node that does not lie in its inode.
    fn size_of(&self, id: NodeId) -> u64 {
        match &self.tree.node(id).kind {
            Kind::Directory(_) => {
                let blocks = self.layout.content.directory(id).plan.blocks();
                u64::from(blocks) * self.layout.geometry.block_size.bytes_u64()
            }
            Kind::File(content) => content.size_bytes,
            Kind::Symlink(target) => u64::try_from(target.len()).unwrap_or(u64::MAX),
            Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo | Kind::Socket => 0,
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
        let made = self.layout.content.crtime_of(id);
        let made = made.unwrap_or(Timestamp::from_seconds(self.settings.clock));
        (inode.i_crtime, inode.i_crtime_extra) = split_time(made);
    }

    /// Renders the attributes in the inode, the one with the content's tail before all others.
    fn render_xattrs(&self, id: NodeId, tail: Option<&[u8]>, stored: &mut [u8]) {
        let kept = self.layout.xattrs.in_inode(id).iter();
        let data = tail.map(data_attribute);
        let entries: Vec<XattrEntry<'_>> = data
            .into_iter()
            .chain(kept.map(StoredXattr::entry))
            .collect();
        if entries.is_empty() {
            return;
        }
        let area = &mut stored[GOOD_OLD_SIZE + usize::from(EXTRA_ISIZE)..];
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
