//! Given a layout, renders superblock, descriptors, bitmaps and the blocks of the filesystem's own
//! files; never a node of the tree.

use std::ops::Range;

use bytemuck::{Zeroable, bytes_of};

use super::Image;
use crate::feature::{Feature, Word};
use crate::layout::AppendedFile;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::group_desc::{
    BLOCK_UNINIT, GroupDesc, INODE_UNINIT, INODE_ZEROED, SIZE_32, checksum_crc16, checksum_crc32c,
};
use crate::ondisk::int::{Be32, Le16, Le32, Le64};
use crate::ondisk::jbd2::{BLOCK_TYPE_SUPERBLOCK_V1, JournalSuperblock};
use crate::ondisk::mmp::MmpBlock;
use crate::ondisk::superblock::{
    self, CHECKSUM_CRC32C, ENCRYPTION_MODES, FLAG_SIGNED_HASH, FLAG_TEST_FILESYSTEM,
    JOURNAL_BACKUP_BLOCKS, STATE_ERROR, STATE_VALID, Superblock,
};
use crate::ondisk::{inode, orphan};
use crate::options::{Errors, QuotaType};
use crate::units::{Block, Group, Ino, Run};

impl Image<'_> {
    /// The superblock as `group` keeps it: the primary one in group 0, else a backup, which is not
    /// marked clean.
    pub(super) fn superblock(&self, group: Group) -> Superblock {
        let mut sb = self.superblock_template;
        sb.s_block_group_nr = Le16::new(u16::try_from(group.get()).unwrap_or(u16::MAX));
        let damaged = if self.settings.super_only {
            STATE_ERROR
        } else {
            0
        };
        let clean = if group.get() == 0 { STATE_VALID } else { 0 };
        sb.s_state = Le16::new(clean | damaged);
        if self.has(Feature::MetadataCsum) {
            sb.s_checksum = Le32::new(sb.checksum());
        }
        sb
    }

    /// All descriptors in a row, padded to whole blocks.
    pub(super) fn descriptors(&self) -> Vec<u8> {
        let geometry = &self.layout.geometry;
        let size = usize::from(geometry.desc_size);
        let blocks = usize::try_from(geometry.desc_blocks).expect("fits memory");
        let mut table = vec![0; blocks * geometry.block_size.bytes_usize()];
        let mut scratch = vec![0; geometry.block_size.bytes_usize()];
        let per_block = usize::try_from(geometry.descs_per_block()).expect("fits memory");
        let mut dirs = self.directories_by_group();
        dirs.resize(blocks * per_block, 0);
        for group in geometry.all_groups() {
            let index = usize::try_from(group.get()).expect("fits memory");
            // A descriptor never straddles blocks.
            let offset =
                index / per_block * geometry.block_size.bytes_usize() + index % per_block * size;
            let stored = &mut table[offset..offset + size];
            self.render_descriptor(group, dirs[index], stored, &mut scratch);
        }
        table
    }

    fn render_descriptor(&self, group: Group, dirs: u32, stored: &mut [u8], scratch: &mut [u8]) {
        let layout = self.layout;
        let geometry = &layout.geometry;
        let tables = layout.tables_of(group);
        let mut desc = GroupDesc::zeroed();
        desc.set_places(tables.block_bitmap, tables.inode_bitmap, tables.inode_table);
        let used = layout.used_inodes(group);
        let gaps: u32 = layout.unused_inodes(group).map(length).sum();
        let (end, used) = (used.end, length(used) - gaps);
        let free_blocks = layout.stated_free_blocks(group);
        let free_clusters = geometry.clusters_for(free_blocks);
        let counts_unused = geometry.features.has_group_desc_csum() && !geometry.super_only;
        // Every inode may hold something to rescue.
        let unused = if counts_unused {
            geometry.inodes_per_group - end
        } else {
            0
        };
        desc.set_counts(
            u32::try_from(free_clusters).unwrap_or(u32::MAX),
            geometry.inodes_per_group - used,
            dirs,
            unused,
        );
        let mut flags = if self.tables_zeroed { INODE_ZEROED } else { 0 };
        if layout.block_bitmap_uninit(group) {
            flags |= BLOCK_UNINIT;
        } else if self.has(Feature::MetadataCsum) && layout.writes_block_bitmaps() {
            self.render_block_bitmap(group, scratch);
            let bytes = bitmap_bytes(geometry.clusters_per_group());
            desc.set_block_bitmap_checksum(crc32c(self.seed, &scratch[..bytes]));
        }
        if layout.inode_bitmap_uninit(group) {
            flags |= INODE_UNINIT;
        } else if self.has(Feature::MetadataCsum) && layout.writes_inode_bitmaps() {
            self.render_inode_bitmap(group, scratch);
            let bytes = bitmap_bytes(geometry.inodes_per_group);
            desc.set_inode_bitmap_checksum(crc32c(self.seed, &scratch[..bytes]));
        }
        desc.bg_flags = Le16::new(flags);
        let known = stored.len().min(size_of::<GroupDesc>());
        if layout.has_early_checksum(group) {
            let before = group.get() * geometry.inodes_per_group;
            let reserved = Ino::FIRST
                .get()
                .saturating_sub(before)
                .min(geometry.inodes_per_group);
            desc.set_unused_inodes(geometry.inodes_per_group - reserved);
            stored[..known].copy_from_slice(&bytes_of(&desc)[..known]);
            self.seal_descriptor(group, stored);
            let checksum = [stored[SIZE_32 - 2], stored[SIZE_32 - 1]];
            desc.set_unused_inodes(0);
            desc.bg_checksum = Le16::new(u16::from_le_bytes(checksum));
            stored[..known].copy_from_slice(&bytes_of(&desc)[..known]);
            return;
        }
        stored[..known].copy_from_slice(&bytes_of(&desc)[..known]);
        self.seal_descriptor(group, stored);
    }

    fn seal_descriptor(&self, group: Group, stored: &mut [u8]) {
        let checksum = if self.has(Feature::MetadataCsum) {
            checksum_crc32c(self.seed, group.get(), stored)
        } else if self.has(Feature::GdtCsum) {
            checksum_crc16(&self.settings.uuid, group.get(), stored)
        } else {
            return;
        };
        stored[SIZE_32 - 2..SIZE_32].copy_from_slice(&checksum.to_le_bytes());
    }

    /// How many directories each group has.
    fn directories_by_group(&self) -> Vec<u32> {
        let layout = self.layout;
        let mut counts = vec![0_u32; usize::try_from(layout.geometry.groups).expect("fits memory")];
        if layout.geometry.super_only {
            return counts;
        }
        let made = layout.system.lost_found.as_ref().map(|_| Ino::FIRST);
        let own = layout.content.directories().iter();
        let inos = own.map(|(node, _)| layout.content.ino_of(*node));
        let huge = layout.system.huge.iter();
        let huge = huge.flat_map(|huge| huge.made_directories());
        for ino in inos.chain(made).chain(huge) {
            let group = layout.geometry.group_of_ino(ino);
            counts[usize::try_from(group.get()).expect("fits memory")] += 1;
        }
        counts
    }

    /// A group's block bitmap; bits past the group are set.
    pub(super) fn render_block_bitmap(&self, group: Group, block: &mut [u8]) {
        let geometry = &self.layout.geometry;
        let run = geometry.group_run(group);
        block.fill(0xff);
        // A bit stands for a cluster, and claims fill whole ones.
        let log = geometry.log_cluster_ratio;
        clear_bits(block, 0..index(run.len >> log));
        for used in self.layout.ledger.used_in(run) {
            let first = index((used.start.get() - run.start.get()) >> log);
            set_bits(block, first..first + index(used.len >> log));
        }
    }

    /// A group's inode bitmap; bits past the group are set.
    pub(super) fn render_inode_bitmap(&self, group: Group, block: &mut [u8]) {
        let per_group = index(u64::from(self.layout.geometry.inodes_per_group));
        let used = self.layout.used_inodes(group);
        block.fill(0xff);
        clear_bits(block, 0..per_group);
        set_bits(block, index(used.start.into())..index(used.end.into()));
        for gap in self.layout.unused_inodes(group) {
            clear_bits(block, index(gap.start.into())..index(gap.end.into()));
        }
    }

    /// The resize inode's double indirect block: the primary descriptor blocks kept for growing.
    pub(super) fn render_resize_double_indirect(&self, block: &mut [u8]) {
        block.fill(0);
        let geometry = &self.layout.geometry;
        let Some(kept) = geometry.backups(Group::new(0)).reserved else {
            return;
        };
        for offset in 0..kept.len {
            let slot = (u64::from(geometry.desc_blocks) + offset)
                % u64::from(geometry.addresses_per_block());
            put_address(block, index(slot), kept.start.plus(offset));
        }
    }

    /// A primary descriptor block kept for growing, zero until now: it points to its backups in the
    /// other groups.
    pub(super) fn render_reserved_gdt(&self, kept: Block, block: &mut [u8]) {
        let geometry = &self.layout.geometry;
        for (slot, group) in self.backup_groups.iter().enumerate() {
            // The same distance behind the group as from the primary superblock.
            let distance = u64::from(group.get()) * u64::from(geometry.blocks_per_group);
            put_address(block, slot, kept.plus(distance));
        }
    }

    /// The journal's first block.
    pub(super) fn render_journal_superblock(&self, block: &mut [u8]) {
        let geometry = &self.layout.geometry;
        let blocks = geometry.journal_blocks.unwrap_or_default();
        let mut superblock =
            JournalSuperblock::empty(blocks, geometry.block_size.bytes(), self.settings.uuid);
        superblock.s_num_fc_blks = Be32::new(geometry.fast_commit_blocks);
        if geometry.is_journal_device() {
            // The filesystems it is for are listed as they are made; the log begins behind this.
            superblock.s_nr_users = Be32::new(0);
            let own = geometry.superblock_block().get() + 1;
            superblock.s_first = Be32::new(u32::try_from(own + 1).unwrap_or(u32::MAX));
        } else if self.settings.journal_v1 {
            superblock.h_blocktype = Be32::new(BLOCK_TYPE_SUPERBLOCK_V1);
        }
        block.fill(0);
        block[..size_of::<JournalSuperblock>()].copy_from_slice(bytes_of(&superblock));
    }

    /// The block of multiple mount protection.
    pub(super) fn render_mmp(&self, block: &mut [u8]) {
        let mmp_info = &self.settings.mmp_info;
        let mut mmp = MmpBlock::clean(self.settings.mmp_update_interval);
        mmp.mmp_time = Le64::new(mmp_info.time);
        mmp.mmp_nodename = mmp_info.host_name;
        mmp.mmp_bdevname = mmp_info.device_name;
        if self.has(Feature::MetadataCsum) {
            mmp.seal(self.seed);
        }
        block.fill(0);
        block[..size_of::<MmpBlock>()].copy_from_slice(bytes_of(&mmp));
    }

    /// A block of the orphan file.
    pub(super) fn render_orphan_block(&self, number: Block, block: &mut [u8]) {
        orphan::render_empty(block);
        if let Some(ino) = self.layout.geometry.orphan_ino()
            && let Some(seed) = self.inode_seed(ino)
        {
            orphan::set_checksum(block, seed, number.get());
        }
    }

    /// The node of a file that grew by appending.
    pub(super) fn render_appended_node(
        &self,
        file: Option<&AppendedFile>,
        ino: Ino,
        number: u32,
        block: &mut [u8],
    ) {
        if let Some(file) = file {
            let number = index(u64::from(number));
            file.render_node(number, block, self.inode_seed(ino));
        }
    }
}

/// The superblock of `layout` but for what differs between its copies.
pub(super) fn superblock_template(image: &Image<'_>) -> Superblock {
    let (settings, layout) = (image.settings, image.layout);
    let geometry = &layout.geometry;
    let mut sb = Superblock::zeroed();
    sb.s_inodes_count = Le32::new(geometry.inodes_count);
    sb.set_blocks_count(geometry.blocks_count);
    sb.set_reserved_blocks_count(geometry.reserved_blocks);
    sb.set_free_blocks_count(layout.stated_total_free());
    sb.s_free_inodes_count = Le32::new(layout.free_inodes());
    sb.s_first_data_block = Le32::new(u32::from(geometry.first_data_block == 1));
    sb.s_log_block_size = Le32::new(geometry.block_size.log());
    let log_cluster = geometry.block_size.log() + u32::from(geometry.log_cluster_ratio);
    sb.s_log_cluster_size = Le32::new(log_cluster);
    sb.s_blocks_per_group = Le32::new(geometry.blocks_per_group);
    sb.s_clusters_per_group = Le32::new(geometry.clusters_per_group());
    sb.s_inodes_per_group = Le32::new(geometry.inodes_per_group);
    sb.set_clock(settings.clock);
    sb.s_max_mnt_count = Le16::new(settings.max_mnt_count);
    sb.s_checkinterval = Le32::new(settings.check_interval);
    sb.s_magic = Le16::new(superblock::MAGIC);
    sb.s_errors = Le16::new(match settings.errors {
        Errors::Continue => 1,
        Errors::RemountReadOnly => 2,
        Errors::Panic => 3,
    });
    sb.s_creator_os = Le32::new(settings.creator_os);
    // What the content asks for may bring a feature, and that a revision that has features.
    sb.s_rev_level = Le32::new(if geometry.features == settings.features {
        settings.revision
    } else {
        1
    });
    sb.s_first_ino = Le32::new(Ino::FIRST.get());
    sb.s_inode_size = Le16::new(geometry.inode_size);
    sb.s_feature_compat = Le32::new(geometry.features.word(Word::Compat));
    sb.s_feature_incompat = Le32::new(geometry.features.word(Word::Incompat));
    sb.s_feature_ro_compat = Le32::new(geometry.features.word(Word::RoCompat));
    sb.s_uuid = settings.uuid;
    sb.s_volume_name = settings.label;
    sb.s_last_mounted = settings.last_mounted;
    sb.s_reserved_gdt_blocks =
        Le16::new(u16::try_from(geometry.reserved_gdt_blocks).unwrap_or(u16::MAX));
    sb.s_first_meta_bg = Le32::new(geometry.first_meta_bg);
    sb.s_hash_seed = settings.hash_seed;
    sb.s_def_hash_version = settings.hash_version;
    sb.s_default_mount_opts = Le32::new(settings.default_mount_opts);
    if usize::from(geometry.inode_size) > inode::GOOD_OLD_SIZE {
        sb.s_min_extra_isize = Le16::new(inode::EXTRA_ISIZE);
        sb.s_want_extra_isize = Le16::new(inode::EXTRA_ISIZE);
    }
    sb.s_flags = Le32::new(if settings.test_fs {
        FLAG_SIGNED_HASH | FLAG_TEST_FILESYSTEM
    } else {
        FLAG_SIGNED_HASH
    });
    sb.s_encoding = Le16::new(settings.encoding);
    sb.s_encoding_flags = Le16::new(settings.encoding_flags);
    sb.s_raid_stride = Le16::new(settings.raid_stride);
    sb.s_raid_stripe_width = Le32::new(settings.raid_stripe_width);
    sb.s_log_groups_per_flex = geometry.log_groups_per_flex;
    sb.s_overhead_clusters = Le32::new(u32::try_from(layout.overhead_clusters).unwrap_or(u32::MAX));
    sb.s_backup_bgs = geometry.backup_bgs.map(Le32::new);
    if geometry.is_journal_device() {
        sb.s_flags = Le32::new(sb.s_flags.get() & !FLAG_SIGNED_HASH);
    }
    set_features(image, &mut sb);
    set_journal(image, &mut sb);
    sb
}

/// Sets what single features put into the superblock.
fn set_features(image: &Image<'_>, sb: &mut Superblock) {
    // It stays where revision 0 took 64bit away.
    sb.s_desc_size = Le16::new(image.settings.desc_size.unwrap_or(0));
    if image.has(Feature::Encrypt) {
        sb.s_encrypt_algos[..2].copy_from_slice(&ENCRYPTION_MODES);
    }
    if image.has(Feature::MetadataCsum) {
        sb.s_checksum_type = CHECKSUM_CRC32C;
    }
    if image.has(Feature::MetadataCsumSeed) {
        sb.s_checksum_seed = Le32::new(image.seed);
    }
    let quota_ino = |quota_type| {
        let ino = image.layout.geometry.quota_ino(quota_type);
        Le32::new(ino.map_or(0, Ino::get))
    };
    sb.s_usr_quota_inum = quota_ino(QuotaType::User);
    sb.s_grp_quota_inum = quota_ino(QuotaType::Group);
    sb.s_prj_quota_inum = quota_ino(QuotaType::Project);
    sb.s_mmp_interval = Le16::new(image.settings.mmp_update_interval);
    if let Some(block) = image.layout.system.mmp {
        sb.s_mmp_block = Le64::new(block.get());
    }
    if let Some(ino) = image.layout.geometry.orphan_ino() {
        sb.s_orphan_file_inum = Le32::new(ino.get());
    }
    let counts_writes = [
        Feature::FlexBg,
        Feature::HugeFile,
        Feature::GdtCsum,
        Feature::DirNlink,
        Feature::MetadataCsum,
        Feature::ExtraIsize,
    ];
    if counts_writes.into_iter().any(|feature| image.has(feature)) {
        sb.s_kbytes_written = 1.into();
    }
}

/// Says where the journal is; of its inode it is a copy, from which fsck restores it.
fn set_journal(image: &Image<'_>, sb: &mut Superblock) {
    let layout = image.layout;
    if let Some(journal) = &image.settings.journal_device {
        sb.s_journal_dev = Le32::new(journal.number);
        sb.s_journal_uuid = journal.uuid;
        return;
    }
    if layout.geometry.super_only && layout.geometry.features.has(Feature::HasJournal) {
        // The journal that was there is kept.
        sb.s_journal_inum = Le32::new(Ino::JOURNAL.get());
    }
    let Some(journal) = &layout.system.journal else {
        return;
    };
    sb.s_journal_inum = Le32::new(Ino::JOURNAL.get());
    sb.s_jnl_backup_type = JOURNAL_BACKUP_BLOCKS;
    let size = journal.blocks * layout.geometry.block_size.bytes_u64();
    let (low, high) = superblock::halves(size);
    sb.s_jnl_blocks[..60].copy_from_slice(&journal.render_inode());
    sb.s_jnl_blocks[60..64].copy_from_slice(bytes_of(&high));
    sb.s_jnl_blocks[64..].copy_from_slice(bytes_of(&low));
}

/// The blocks the resize inode counts: its own, those kept, and their backups.
pub(super) fn resize_inode_blocks(image: &Image<'_>) -> u64 {
    let kept = image.layout.geometry.backups(Group::new(0)).reserved;
    let copies = 1 + u64::try_from(image.backup_groups.len()).unwrap_or(u64::MAX);
    1 + kept.map_or(0, |run: Run| run.len) * copies
}

fn put_address(block: &mut [u8], slot: usize, address: Block) {
    let (low, _) = superblock::halves(address.get());
    block[slot * 4..slot * 4 + 4].copy_from_slice(bytes_of(&low));
}

fn length(inodes: Range<u32>) -> u32 {
    inodes.end.saturating_sub(inodes.start)
}

fn bitmap_bytes(bits: u32) -> usize {
    index(u64::from(bits) / 8)
}

fn index(count: u64) -> usize {
    usize::try_from(count).expect("a count within a block or a group fits any usize")
}

/// Sets the bits of `range`, the lowest bit of a byte first.
fn set_bits(bytes: &mut [u8], range: std::ops::Range<usize>) {
    fill_bits(bytes, range, u8::MAX);
}

/// Clears the bits of `range`.
fn clear_bits(bytes: &mut [u8], range: std::ops::Range<usize>) {
    fill_bits(bytes, range, 0);
}

/// Takes the bits of `range` from `value`, which is the same for every byte.
fn fill_bits(bytes: &mut [u8], range: std::ops::Range<usize>, value: u8) {
    if range.is_empty() {
        return;
    }
    let (first, last) = (range.start / 8, (range.end - 1) / 8);
    let from = u8::MAX << (range.start % 8);
    let to = u8::MAX >> (7 - (range.end - 1) % 8);
    let mut put = |at: usize, mask: u8| bytes[at] = bytes[at] & !mask | value & mask;
    if first == last {
        put(first, from & to);
        return;
    }
    put(first, from);
    put(last, to);
    bytes[first + 1..last].fill(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_in_the_disks_order() {
        for range in [0..0, 0..1, 3..11, 7..8, 8..16, 5..32, 0..32] {
            let mut bytes = [0_u8; 4];
            set_bits(&mut bytes, range.clone());
            let expected = (0..32)
                .filter(|bit| range.contains(bit))
                .fold(0_u32, |bits, bit| bits | 1 << bit);
            assert_eq!(u32::from_le_bytes(bytes), expected, "{range:?}");
            let mut bytes = [0xff; 4];
            clear_bits(&mut bytes, range.clone());
            assert_eq!(u32::from_le_bytes(bytes), !expected, "{range:?}");
        }
    }
}
