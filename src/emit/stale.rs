//! Given storage that may hold old data, zeroes what mke2fs zeroes of it; never what is written
//! anyway.

use std::ops::Range;

use super::{EmitError, Image, Out, Storage};
use crate::feature::Feature;
use crate::layout::{Claim, Owner};
use crate::ondisk::superblock::{self, Superblock};
use crate::units::{Group, Run};

/// Where a BSD disk label has its magic number, in bytes from the image's first.
const BSD_LABEL: Range<usize> = 64..68;
/// A BSD disk label's magic number.
const BSD_MAGIC: u32 = 0x8256_4557;
/// How much of the end may hold the metadata of a RAID, in bytes.
const RAID_TAIL: u64 = 65536;

impl Image<'_> {
    /// Zeroes what may be old data where it must not show: the boot block, the end where a RAID may
    /// have left metadata, and unless the storage is said to be zeros, inode tables and the journal.
    pub(super) fn zero_stale(&self, storage: Storage, out: &Out<'_>) -> Result<(), EmitError> {
        if self.layout.geometry.is_journal_device() {
            return self.zero_journal_device(storage, out);
        }
        let mut stale = match storage {
            // What reads as zeros need not be zeroed, even where somebody asks for it.
            Storage::Zeros => return Ok(()),
            Storage::SaidToBeZeros => Vec::new(),
            Storage::OldData => self.stale_tables(out),
        };
        // Where it allocates block by block, libext2fs zeroes in any case.
        if !self.settings.lazy_journal_init || !self.has(Feature::Extent) {
            stale.extend(self.stale_journal(out));
        }
        stale.extend(self.tail(out));
        if self.zeroes_huge_files(storage) {
            stale.extend(self.stale_huge_files(out));
        }
        if !has_bsd_label(out)? {
            stale.push(0..superblock::OFFSET);
        }
        stale.sort_unstable_by_key(|range| range.start);
        let claims = self.layout.ledger.claims().iter();
        let written = claims.filter_map(|claim| self.bytes_written(claim));
        let left = without(&stale, written);
        left.into_iter().try_for_each(|range| out.zero(range))
    }

    /// Clears the blocks `used`, in which contents came to lie, but for those where one still does: they
    /// shall read as zeros where free blocks do, and take no room.
    pub(super) fn clear_left(
        &self,
        used: &[Run],
        storage: Storage,
        out: &Out<'_>,
    ) -> Result<(), EmitError> {
        let used: Vec<Range<u64>> = used.iter().map(|run| out.bytes(*run)).collect();
        let claims = self.layout.ledger.claims().iter();
        let in_place = claims.filter(|claim| self.is_in_place(claim));
        let left = without(&used, in_place.map(|claim| out.bytes(claim.run())));
        for range in left {
            match storage {
                Storage::Zeros | Storage::SaidToBeZeros => out.zero(range)?,
                // It may stay, as old data does; but a file or a device may have its blocks back.
                Storage::OldData if self.settings.discard || out.sink.discard_zeroes() => {
                    out.discard_range(range)?;
                }
                Storage::OldData => {}
            }
        }
        Ok(())
    }

    /// All of a journal device, unless that is lazy.
    fn zero_journal_device(&self, storage: Storage, out: &Out<'_>) -> Result<(), EmitError> {
        let is_lazy = self.settings.lazy_journal_init || self.settings.assume_storage_prezeroed;
        if storage == Storage::Zeros || is_lazy {
            return Ok(());
        }
        out.zero(0..self.layout.geometry.blocks_count * out.block_bytes)
    }

    /// The last one or two stretches of 64 KiB, where RAID metadata would begin.
    fn tail(&self, out: &Out<'_>) -> Option<Range<u64>> {
        let blocks = self.layout.geometry.blocks_count;
        let tail = RAID_TAIL / out.block_bytes;
        let mut start = blocks / tail * tail;
        if start > tail {
            start -= tail;
        }
        (start > 0).then(|| start * out.block_bytes..blocks * out.block_bytes)
    }

    /// Inode tables, as far as they are not left to the kernel.
    fn stale_tables(&self, out: &Out<'_>) -> Vec<Range<u64>> {
        let tables = self.layout.geometry.all_groups().map(|group| {
            let table = self.layout.tables_of(group).inode_table;
            out.bytes(Run::new(table, u64::from(self.stale_table_blocks(group))))
        });
        tables.collect()
    }

    fn stale_journal(&self, out: &Out<'_>) -> impl Iterator<Item = Range<u64>> {
        let claims = self.layout.ledger.claims().iter();
        let journal = claims.filter(|claim| matches!(claim.owner, Owner::Journal(_)));
        journal.map(|claim| out.bytes(claim.run()))
    }

    /// Whether the blocks of huge files are zeroed.
    fn zeroes_huge_files(&self, storage: Storage) -> bool {
        let wish = self.settings.huge_files.as_ref();
        wish.is_some_and(|wish| wish.zero.unwrap_or(storage == Storage::OldData))
    }

    fn stale_huge_files(&self, out: &Out<'_>) -> impl Iterator<Item = Range<u64>> {
        let claims = self.layout.ledger.claims().iter();
        let huge = claims.filter(|claim| matches!(claim.owner, Owner::HugeFile(_)));
        huge.map(|claim| out.bytes(claim.run()))
    }

    /// How many blocks of a group's inode table are zeroed: where that is lazy, only those that
    /// hold inodes.
    fn stale_table_blocks(&self, group: Group) -> u32 {
        let geometry = &self.layout.geometry;
        if !self.settings.lazy_itable_init || !geometry.features.has_group_desc_csum() {
            return geometry.inode_blocks_per_group;
        }
        self.used_table_blocks(group)
    }

    /// The bytes that nobody writes.
    pub(super) fn not_written(&self) -> Vec<Range<u64>> {
        let superblock_bytes = u64::try_from(size_of::<Superblock>()).unwrap_or(u64::MAX);
        let geometry = &self.layout.geometry;
        let end = geometry.blocks_count * geometry.block_size.bytes_u64();
        let all = [
            0..superblock::OFFSET,
            superblock::OFFSET + superblock_bytes..end,
        ];
        let claims = self.layout.ledger.claims().iter();
        without(&all, claims.filter_map(|claim| self.bytes_touched(claim)))
    }

    /// The bytes of a claim that are written, without inodes in the last block of a table that may not be.
    fn bytes_touched(&self, claim: &Claim) -> Option<Range<u64>> {
        let written = self.bytes_written(claim)?;
        let end = match claim.owner {
            Owner::InodeTable(group) => written.start + self.table_bytes(group),
            _ => written.end,
        };
        Some(written.start..written.end.min(end))
    }

    /// The bytes of a claim that are written, if any.
    fn bytes_written(&self, claim: &Claim) -> Option<Range<u64>> {
        let block_bytes = self.layout.geometry.block_size.bytes_u64();
        let start = claim.run().start.get() * block_bytes;
        let blocks = self.blocks_to_write(claim);
        let length = match claim.owner {
            Owner::Superblock(_) => u64::try_from(size_of::<Superblock>()).ok()?,
            _ => blocks * block_bytes,
        };
        (blocks > 0).then(|| start..start + length)
    }
}

/// Whether the first sector holds a BSD disk label, which mke2fs leaves alone.
fn has_bsd_label(out: &Out<'_>) -> Result<bool, EmitError> {
    let mut sector = [0; 512];
    out.sink
        .read_at(out.base, &mut sector)
        .map_err(|error| out.failed("reading", 0, error))?;
    let mut magic = [0; 4];
    magic.copy_from_slice(&sector[BSD_LABEL]);
    let magic = u32::from_le_bytes(magic);
    Ok(magic == BSD_MAGIC || magic == BSD_MAGIC.swap_bytes())
}

/// The parts of `ranges` that one of `others` covers; both ascend.
pub(super) fn within(
    ranges: &[Range<u64>],
    others: impl Iterator<Item = Range<u64>>,
) -> Vec<Range<u64>> {
    let outside = without(ranges, others);
    without(ranges, outside.into_iter())
}

/// The parts of `ranges` that none of `others` covers; both ascend.
fn without(ranges: &[Range<u64>], others: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut others = others.peekable();
    let mut left = Vec::new();
    let mut at = 0;
    for range in ranges {
        at = range.start.max(at);
        while let Some(other) = others.next_if(|other| other.start < range.end) {
            if other.start > at {
                left.push(at..other.start);
            }
            at = other.end.max(at);
        }
        if at < range.end {
            left.push(at..range.end);
            at = range.end;
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::{within, without};

    #[test]
    fn what_is_covered_is_left_out() {
        let ranges = [0..10, 5..20, 30..40, 50..60];
        let others = [2..4, 15..16, 18..32, 39..45, 60..70];
        let left = without(&ranges, others.into_iter());
        assert_eq!(left, [0..2, 4..10, 10..15, 16..18, 32..39, 50..60]);
        let whole = std::slice::from_ref(&(3..5));
        assert_eq!(without(whole, std::iter::empty()), whole);
        assert_eq!(without(whole, std::iter::once(1..9)), []);
        let inside = within(&ranges, [8..12, 9..11, 35..55].into_iter());
        assert_eq!(inside, [8..10, 10..12, 35..40, 50..55]);
    }
}
