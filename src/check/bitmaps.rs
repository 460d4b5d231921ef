//! Given what is in use, judges bitmaps, their checksums and the free counts; never who uses it.

use super::claims::Used;
use super::finding::{Area, FindingKind, Location};
use super::groups::{self, Desc};
use super::volume::{Volume, index, join, length};
use crate::feature::Feature;
use crate::ondisk::checksum::crc32c;

/// How many differences of one bitmap are told.
const MOST_TOLD: usize = 8;

/// Judges every block bitmap and every count of free blocks.
pub(super) fn check_blocks(volume: &Volume<'_>, descs: &[Desc], used: &Used) {
    let ratio = volume.cluster_ratio;
    let mut free_total = 0;
    for (group, desc) in (0..).zip(descs) {
        let run = volume.group_run(group);
        let first = run.start.get() / ratio;
        let end = run.end().get().div_ceil(ratio);
        let inside = used.within(first, end);
        let used_count: u64 = inside.iter().map(|(start, end)| end - start).sum();
        let free = (end - first).saturating_sub(used_count);
        free_total += free;
        let at = (Area::Descriptor, Location::group(group));
        volume.equal(at, "bg_free_blocks_count", (desc.free_blocks.into(), free));
        if desc.has_block_bitmap() || !volume.features.has_group_desc_csum() {
            check_block_bitmap(volume, desc, &inside);
        } else if inside != own_tables(volume, desc) {
            let rule = "blocks are in use, but the bitmap is not initialized";
            volume.rule(Area::BlockBitmap, Location::group(group), rule);
        }
    }
    let sb = &volume.sb;
    let high = if volume.has(Feature::SixtyFourBit) {
        sb.s_free_blocks_count_hi.get()
    } else {
        0
    };
    let found = join(sb.s_free_blocks_count_lo.get(), high);
    let at = (Area::Superblock, Location::WHOLE);
    volume.equal(at, "s_free_blocks_count", (found, free_total * ratio));
}

/// The clusters that a group uses by itself, as offsets in it: what the kernel takes an
/// uninitialised bitmap for (`ext4_init_block_bitmap`).
fn own_tables(volume: &Volume<'_>, desc: &Desc) -> Vec<(u64, u64)> {
    let group = desc.number;
    let run = volume.group_run(group);
    let ratio = volume.cluster_ratio;
    let all = groups::copies(volume, group).chain(groups::tables(volume, desc));
    let inside = all.filter_map(|(own, _)| {
        let start = own.start.get().max(run.start.get());
        let end = own.end().get().min(run.end().get());
        let first = run.start.get() / ratio;
        (start < end).then(|| (start / ratio - first, end.div_ceil(ratio) - first))
    });
    let mut inside: Vec<(u64, u64)> = inside.collect();
    inside.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in inside {
        match joined.last_mut() {
            Some((_, last)) if *last >= start => *last = end.max(*last),
            _ => joined.push((start, end)),
        }
    }
    joined
}

fn check_block_bitmap(volume: &Volume<'_>, desc: &Desc, used: &[(u64, u64)]) {
    let run = volume.group_run(desc.number);
    let ratio = volume.cluster_ratio;
    let at = (Area::BlockBitmap, Location::group(desc.number));
    if !volume.is_first(at.0, desc.block_bitmap) {
        return;
    }
    let Some(found) = volume.block(at, desc.block_bitmap) else {
        return;
    };
    let clusters = run.len.div_ceil(ratio);
    let covered = volume.blocks_per_group / ratio / 8;
    let covered = found.get(..index(covered)).unwrap_or(&found);
    check_sum(volume, at, covered, desc.block_bitmap_csum);
    let mut needed = vec![0; found.len()];
    for (start, end) in used {
        set(&mut needed, *start, *end);
    }
    Compared {
        found: &found,
        needed: &needed,
        count: clusters,
        // Told in blocks: a cluster is known by its first.
        first: run.start.get(),
        unit: ratio,
    }
    .tell(volume, at);
}

/// Judges a group's inode bitmap by the inodes that are in use: a bit for each, padded.
pub(super) fn check_inodes(volume: &Volume<'_>, desc: &Desc, needed: &[u8]) {
    let at = (Area::InodeBitmap, Location::group(desc.number));
    if !volume.is_first(at.0, desc.inode_bitmap) {
        return;
    }
    let Some(found) = volume.block(at, desc.inode_bitmap) else {
        return;
    };
    let count = u64::from(volume.inodes_per_group);
    let covered = found.get(..index(count / 8)).unwrap_or(&found);
    check_sum(volume, at, covered, desc.inode_bitmap_csum);
    Compared {
        found: &found,
        needed,
        count,
        first: u64::from(desc.number) * count + 1,
        unit: 1,
    }
    .tell(volume, at);
}

fn check_sum(volume: &Volume<'_>, at: (Area, Location), covered: &[u8], stored: u32) {
    if !volume.has_checksums() {
        return;
    }
    // A short descriptor has room for the low half.
    let mask = if volume.desc_size >= 64 {
        u32::MAX
    } else {
        0xffff
    };
    let needed = crc32c(volume.seed, covered) & mask;
    volume.sum(at, "its checksum", (stored & mask, needed));
}

/// Sets the bits from `start` to `end`, as far as there are any.
pub(super) fn set(bitmap: &mut [u8], start: u64, end: u64) {
    for bit in start..end.min(length(bitmap.len()).saturating_mul(8)) {
        if let Some(byte) = bitmap.get_mut(index(bit / 8)) {
            *byte |= 1 << (bit % 8);
        }
    }
}

/// Two bitmaps, and what their bits stand for.
struct Compared<'a> {
    found: &'a [u8],
    needed: &'a [u8],
    /// How many bits count; those behind them are padding.
    count: u64,
    /// What bit 0 stands for, and how many of it each bit does.
    first: u64,
    unit: u64,
}

impl Compared<'_> {
    /// Whether a bit is set in what was found, and whether it should be.
    fn bits(&self, bit: u64) -> (bool, bool) {
        let is_set = |bitmap: &[u8]| {
            let byte = bitmap.get(index(bit / 8)).copied().unwrap_or(0xff);
            byte & 1 << (bit % 8) != 0
        };
        (is_set(self.found), is_set(self.needed))
    }

    /// Notes where the two differ, and whether the padding behind is not set.
    fn tell(&self, volume: &Volume<'_>, at: (Area, Location)) {
        let count = self.count;
        let mut told = 0;
        let mut bit = 0;
        while bit < count && told < MOST_TOLD {
            let byte = index(bit / 8);
            let is_whole = bit.is_multiple_of(8) && bit + 8 <= count;
            if is_whole && self.found.get(byte) == self.needed.get(byte) {
                bit += 8;
                continue;
            }
            let kind = self.bits(bit);
            if kind.0 == kind.1 {
                bit += 1;
                continue;
            }
            let first = bit;
            while bit < count && self.bits(bit) == kind {
                bit += 1;
            }
            let start = self.first + first * self.unit;
            let many = (bit - first) * self.unit;
            let fault = if kind.0 {
                FindingKind::MarkedUsed(start, many)
            } else {
                FindingKind::MarkedFree(start, many)
            };
            volume.note(at.0, at.1, fault);
            told += 1;
        }
        let whole = index(count.div_ceil(8));
        let padding = self.found.get(whole..).unwrap_or_default();
        let mut between = count..count.next_multiple_of(8);
        let has_clear = between.any(|bit| !self.bits(bit).0);
        if has_clear || padding.iter().any(|byte| *byte != 0xff) {
            volume.rule(at.0, at.1, "the bits past its end are not set");
        }
    }
}
