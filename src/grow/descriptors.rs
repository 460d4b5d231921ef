//! Given the superblock of a filesystem that grew, gives the descriptors and block bitmaps of its last old
//! group and of the new ones; never those of groups that stay as they are.

use bytemuck::{Zeroable, bytes_of};

use super::GrowError;
use super::error::ErrorKind;
use super::places::{self, Tables};
use super::state::Start;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::group_desc::{BLOCK_UNINIT, GroupDesc, INODE_UNINIT, INODE_ZEROED};
use crate::ondisk::int::Le16;
use crate::ondisk::superblock::halves_16;
use crate::read::bytes::{index, length, pod_or_zeros};
use crate::read::groups::{checksums, set};
use crate::read::{Filesystem, Group, Superblock};
use crate::units::{self, Block, Run};

/// Where `bg_checksum` is.
const CHECKSUM: std::ops::Range<usize> = 0x1e..0x20;

/// All descriptors of the filesystem that grew, and what belongs to those that are new.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// Those of all groups, as they are stored.
    stored: Vec<u8>,
    size: usize,
    /// The first new group.
    first_new: u32,
    /// The tables of the new groups.
    tables: Vec<Tables>,
    /// What is in use in the new groups, by block.
    used: Vec<Run>,
    /// The last old group's block bitmap, and where it is.
    pub(super) last_bitmap: (Block, Vec<u8>),
    freed_clusters: u64,
    added_metadata_blocks: i128,
}

impl Descriptors {
    pub(super) fn new(
        filesystem: &Filesystem<'_>,
        new: &Superblock,
        start: Start,
    ) -> Result<Self, GrowError> {
        let old = filesystem.superblock();
        let first_new = old.groups_count();
        let stored = read(filesystem)?;
        let tables = places::place(new, first_new);
        let tables = tables.ok_or(ErrorKind::Unsupported(
            "a new group has no room for its tables",
        ))?;
        let fixed = (first_new..new.groups_count()).filter_map(|it| places::copies(new, it));
        let all = tables.iter().flat_map(|tables| tables.runs(new));
        let mut used: Vec<Run> = fixed.chain(all).collect();
        used.sort_unstable();
        let last = LastGroup::new(filesystem, new, start)?;
        let metadata: u64 = used.iter().map(|run| run.len).sum();
        let mut it = Self {
            stored,
            size: new.desc_size(),
            first_new,
            tables,
            used,
            added_metadata_blocks: i128::from(metadata) - i128::from(last.freed_copies),
            freed_clusters: last.freed_clusters,
            last_bitmap: (last.group.block_bitmap(), last.bitmap),
        };
        it.set_last(new, last.free_clusters);
        for group in first_new..new.groups_count() {
            it.add(new, group);
        }
        Ok(it)
    }

    /// How many clusters are free that were not.
    pub(super) fn freed_clusters(&self) -> u64 {
        self.freed_clusters
    }

    /// How many blocks of metadata there are more.
    pub(super) fn added_metadata_blocks(&self) -> i128 {
        self.added_metadata_blocks
    }

    /// A group's descriptor.
    pub(super) fn group(&self, number: u32) -> Group {
        Group::decode(number, self.of(number))
    }

    /// A group's descriptor as it is stored: what lies behind a short one is the next.
    fn of(&self, number: u32) -> &[u8] {
        let stored = self.stored.chunks_exact(self.size.max(1));
        let mut from = stored.skip(index(number.into()));
        from.next().unwrap_or_default()
    }

    /// The bytes of the descriptor block of a number, zeros behind the last descriptor.
    pub(super) fn block(&self, sb: &Superblock, number: u32) -> Vec<u8> {
        let size = sb.block_size().bytes_usize();
        let rest = self.stored.chunks(size).nth(index(number.into()));
        let mut bytes = rest.unwrap_or_default().to_vec();
        bytes.resize(size, 0);
        bytes
    }

    /// The block bitmap of a new group, if it is initialised.
    pub(super) fn block_bitmap(&self, sb: &Superblock, group: u32) -> Option<Vec<u8>> {
        let has_lazy = sb.features().has_group_desc_csum();
        if has_lazy && self.is_lazy(sb, group) {
            return None;
        }
        let run = sb.group_run(group);
        let ratio = sb.cluster_ratio();
        let mut bitmap = vec![0; sb.block_size().bytes_usize()];
        for used in self.used_in(run) {
            let from = used.start.get() - run.start.get();
            set(&mut bitmap, from / ratio, (from + used.len).div_ceil(ratio));
        }
        pad(&mut bitmap, run.len.div_ceil(ratio));
        Some(bitmap)
    }

    /// What of these blocks is in use.
    fn used_in(&self, blocks: Run) -> impl Iterator<Item = Run> {
        let first = self.used.partition_point(|run| run.end() <= blocks.start);
        let rest = self.used.get(first..).unwrap_or_default().iter();
        let within = rest.take_while(move |run| run.start < blocks.end());
        within.map(move |run| {
            let start = run.start.max(blocks.start);
            let end = run.end().min(blocks.end());
            Run::new(start, end.get() - start.get())
        })
    }

    /// Whether a new group's block bitmap need not be initialised: it holds nothing but tables of its own,
    /// and is not the last.
    fn is_lazy(&self, sb: &Superblock, group: u32) -> bool {
        let own = self.tables_of(group).map(|tables| tables.runs(sb));
        let own = own.as_ref().map_or(&[][..], |runs| &runs[..]);
        group + 1 < sb.groups_count()
            && self
                .used_in(sb.group_run(group))
                .all(|run| own.contains(&run))
    }

    fn tables_of(&self, group: u32) -> Option<&Tables> {
        self.tables.get(index((group - self.first_new).into()))
    }

    /// Appends the descriptor of a new group.
    fn add(&mut self, sb: &Superblock, group: u32) {
        let ratio = sb.cluster_ratio();
        let run = sb.group_run(group);
        let used = self.used_in(run).map(|run| run.len.div_ceil(ratio));
        let free = run.len.div_ceil(ratio).saturating_sub(used.sum());
        let inodes = sb.inodes_per_group();
        let has_lazy = sb.features().has_group_desc_csum();
        let unused = if has_lazy { inodes } else { 0 };
        let mut desc = GroupDesc::zeroed();
        if let Some(tables) = self.tables_of(group) {
            let Tables {
                block_bitmap,
                inode_bitmap,
                inode_table,
            } = *tables;
            desc.set_places(block_bitmap, inode_bitmap, inode_table);
        }
        desc.set_counts(u32::try_from(free).unwrap_or(u32::MAX), inodes, 0, unused);
        let bitmap = self.block_bitmap(sb, group);
        if has_lazy {
            let lazy = if bitmap.is_none() { BLOCK_UNINIT } else { 0 };
            desc.bg_flags = Le16::new(INODE_UNINIT | INODE_ZEROED | lazy);
        }
        if let Some(bitmap) = bitmap {
            set_bitmap_checksum(sb, &mut desc, &bitmap);
        }
        self.freed_clusters += free;
        let at = self.stored.len();
        self.stored.resize(at + self.size, 0);
        self.store(sb, group, &desc);
    }

    /// Changes the descriptor of the last old group.
    fn set_last(&mut self, sb: &Superblock, free_clusters: u64) {
        let group = self.first_new - 1;
        let mut desc: GroupDesc = pod_or_zeros(self.of(group));
        let free = halves_16(u32::try_from(free_clusters).unwrap_or(u32::MAX));
        (desc.bg_free_blocks_count_lo, desc.bg_free_blocks_count_hi) = free;
        desc.bg_flags = Le16::new(desc.bg_flags.get() & !BLOCK_UNINIT);
        set_bitmap_checksum(sb, &mut desc, &self.last_bitmap.1);
        self.store(sb, group, &desc);
    }

    /// Puts a descriptor in its place, with its checksum.
    fn store(&mut self, sb: &Superblock, group: u32, desc: &GroupDesc) {
        let at = index(group.into()).saturating_mul(self.size);
        let Some(slot) = self.stored.get_mut(at..at.saturating_add(self.size)) else {
            return;
        };
        let known = self.size.min(size_of::<GroupDesc>());
        slot[..known].copy_from_slice(&bytes_of(desc)[..known]);
        if let Some((_, needed)) = checksums(sb, group, slot) {
            slot[CHECKSUM].copy_from_slice(&needed.to_le_bytes());
        }
    }
}

fn set_bitmap_checksum(sb: &Superblock, desc: &mut GroupDesc, bitmap: &[u8]) {
    if sb.has_checksums() {
        let covered = index(sb.blocks_per_group() / sb.cluster_ratio() / 8);
        let bits = bitmap.get(..covered).unwrap_or(bitmap);
        desc.set_block_bitmap_checksum(crc32c(sb.seed, bits));
    }
}

/// All descriptors as they are stored, each with the checksum that it needs.
fn read(filesystem: &Filesystem<'_>) -> Result<Vec<u8>, GrowError> {
    let sb = filesystem.superblock();
    let size = sb.desc_size();
    let wanted = index(sb.groups_count().into()).saturating_mul(size);
    let mut stored = Vec::new();
    for first in (0..sb.groups_count()).step_by(index(sb.descs_per_block().max(1).into())) {
        stored.extend(filesystem.block(sb.descriptor_block(first))?);
    }
    stored.truncate(wanted);
    for (number, desc) in (0..).zip(stored.chunks_exact(size)) {
        let is_sound = checksums(sb, number, desc).is_none_or(|(found, needed)| found == needed);
        let group = Group::decode(number, desc);
        let is_inside = group.tables(sb).into_iter().all(|run| sb.is_inside(run));
        if !is_sound || !is_inside {
            // The reader knows what is wrong with it.
            filesystem.group(units::Group::new(number))?;
        }
    }
    Ok(stored)
}

/// What becomes of the last old group.
struct LastGroup {
    group: Group,
    bitmap: Vec<u8>,
    free_clusters: u64,
    freed_clusters: u64,
    /// How many blocks of copies it no longer keeps.
    freed_copies: u64,
}

impl LastGroup {
    fn new(filesystem: &Filesystem<'_>, new: &Superblock, start: Start) -> Result<Self, GrowError> {
        let old = filesystem.superblock();
        let number = old.groups_count() - 1;
        let group = filesystem.group(units::Group::new(number))?;
        let (before, after) = (old.group_run(number), new.group_run(number));
        let ratio = old.cluster_ratio();
        let (had, has) = (before.len.div_ceil(ratio), after.len.div_ceil(ratio));
        let is_lazy = old.features().has_group_desc_csum() && !group.has_block_bitmap();
        // Where a growth was cut off, the bitmap may be new already, and its checksum still the old one.
        let mut bitmap = if start == Start::Unfinished && !is_lazy {
            filesystem.block(group.block_bitmap())?
        } else {
            filesystem.block_bitmap(&group)?
        };
        if start == Start::Clean && zeros(&bitmap, had) != u64::from(group.free_clusters()) {
            return Err(
                ErrorKind::Damaged("its last group's free count is not its bitmap's").into(),
            );
        }
        clear(&mut bitmap, had, has);
        pad(&mut bitmap, has);
        let kept = places::copies(old, number).filter(|_| number > 0);
        let is_kept = places::copies(new, number).is_some();
        if kept.is_some_and(|run| run.end() > before.end()) {
            return Err(ErrorKind::Unsupported(
                "its last group has no space for its superblock and descriptor copies",
            )
            .into());
        }
        let mut freed_copies = 0;
        if let Some(run) = kept {
            if is_kept {
                set(&mut bitmap, 0, run.len.div_ceil(ratio));
            } else {
                clear(&mut bitmap, 0, run.len);
                freed_copies = run.len;
            }
        }
        Ok(Self {
            group,
            free_clusters: zeros(&bitmap, has),
            bitmap,
            freed_clusters: has - had + freed_copies,
            freed_copies,
        })
    }
}

/// Clears the bits from `first` on, up to `end`.
fn clear(bitmap: &mut [u8], first: u64, end: u64) {
    for bit in first..end.min(length(bitmap.len()) * 8) {
        bitmap[index(bit / 8)] &= !(1 << (bit % 8));
    }
}

/// Sets the bits from `first` on, which stand for nothing.
fn pad(bitmap: &mut [u8], first: u64) {
    let bits = length(bitmap.len()) * 8;
    set(bitmap, first, bits);
}

/// How many of the first bits are not set.
fn zeros(bitmap: &[u8], count: u64) -> u64 {
    let mut bits = bitmap.to_vec();
    pad(&mut bits, count);
    bits.iter().map(|byte| u64::from(byte.count_zeros())).sum()
}

/// An inode bitmap of which nothing is in use.
pub(super) fn free_inode_bitmap(sb: &Superblock) -> Vec<u8> {
    let mut bitmap = vec![0; sb.block_size().bytes_usize()];
    pad(&mut bitmap, sb.inodes_per_group().into());
    bitmap
}
