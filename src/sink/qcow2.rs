//! Given where a disk has data, gives a qcow2 file of version 3 for it; never a snapshot, a backing file
//! or an encrypted cluster.
//!
//! The numbers are those of qemu's docs/interop/qcow2. Clusters come first, in the order of the disk;
//! behind them L2 tables, refcounts and the L1 table, and last of all the header, which stands at the front.

use std::io;

use super::container::{Compression, Container, Disk, Write};
#[cfg(feature = "cli")]
use super::{ReadAt, compress::decompressed, inside};
use super::{index, length_of};

/// qemu reads no L1 table of more than 32 MiB.
pub(super) const MOST_BYTES: u64 = (32 << 20) / ENTRY_BYTES * L2_ENTRIES * CLUSTER_BYTES;

const CLUSTER_BITS: u32 = 16;
const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
const ENTRY_BYTES: u64 = 8;
/// How many clusters a table of level 2 leads to.
const L2_ENTRIES: u64 = CLUSTER_BYTES / ENTRY_BYTES;
/// How many clusters a block of refcounts is for, with 16 bits each.
const REFCOUNTS: u64 = CLUSTER_BYTES / 2;
const SECTOR_BYTES: u64 = 512;

/// The refcount is 1.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Where a compressed cluster's entry has its number of further sectors.
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);
/// The incompatible feature of a compression that is not deflate.
const COMPRESSION_TYPE: u64 = 1 << 3;

/// A qcow2 file of which the data is being placed.
#[derive(Debug)]
pub(super) struct Qcow2 {
    size_bytes: u64,
    compression: Compression,
    /// The clusters of the disk that have data, ascending, and the entry that leads there.
    entries: Vec<(u64, u64)>,
    /// How many clusters of the disk are in each cluster of the file.
    refcounts: Vec<u16>,
    /// Where the next cluster goes.
    next: u64,
}

impl Qcow2 {
    pub(super) fn new(disk: &Disk, compression: Compression) -> Self {
        Self {
            size_bytes: disk.size_bytes(),
            compression,
            entries: Vec::new(),
            // The header's cluster.
            refcounts: vec![1],
            next: CLUSTER_BYTES,
        }
    }

    /// Takes `count` whole clusters of the file, and gives where they begin.
    fn allocate(&mut self, count: u64) -> u64 {
        let start = self.next.next_multiple_of(CLUSTER_BYTES);
        self.next = start + count * CLUSTER_BYTES;
        self.refcounts.resize(index(self.next / CLUSTER_BYTES), 1);
        start
    }

    /// Writes the tables that lead to the clusters, and gives the table that leads to those.
    fn write_tables(&mut self, write: &mut Write<'_>) -> io::Result<Vec<u8>> {
        let entries = std::mem::take(&mut self.entries);
        let mut table = vec![0; index(self.l1_entries() * ENTRY_BYTES)];
        for entries in entries.chunk_by(|one, other| one.0 / L2_ENTRIES == other.0 / L2_ENTRIES) {
            let mut bytes = vec![0; index(CLUSTER_BYTES)];
            for (cluster, entry) in entries {
                put_u64(&mut bytes, cluster % L2_ENTRIES * ENTRY_BYTES, *entry);
            }
            let place = self.allocate(1);
            write(place, &bytes)?;
            let (first, _) = entries[0];
            put_u64(&mut table, first / L2_ENTRIES * ENTRY_BYTES, place | COPIED);
        }
        Ok(table)
    }

    fn l1_entries(&self) -> u64 {
        self.size_bytes.div_ceil(CLUSTER_BYTES * L2_ENTRIES)
    }

    /// Writes refcounts, their own and those of the `others` clusters behind them included, and gives where
    /// their table is and its clusters.
    fn write_refcounts(&mut self, others: u64, write: &mut Write<'_>) -> io::Result<(u64, u64)> {
        let used = self.next.div_ceil(CLUSTER_BYTES) + others;
        let (mut blocks, mut tables) = (1, 1);
        loop {
            let needed = (used + blocks + tables).div_ceil(REFCOUNTS);
            let needed_tables = (needed * ENTRY_BYTES).div_ceil(CLUSTER_BYTES);
            if needed <= blocks && needed_tables <= tables {
                break;
            }
            (blocks, tables) = (needed.max(blocks), needed_tables.max(tables));
        }
        let first = self.allocate(blocks);
        let table = self.allocate(tables);
        self.allocate(others);
        let mut leads = Vec::new();
        for (place, counts) in (first..)
            .step_by(index(CLUSTER_BYTES))
            .zip(self.refcounts.chunks(index(REFCOUNTS)))
        {
            let bytes: Vec<u8> = counts
                .iter()
                .flat_map(|count| count.to_be_bytes())
                .collect();
            write(place, &bytes)?;
            leads.extend_from_slice(&place.to_be_bytes());
        }
        write(table, &leads)?;
        Ok((table, tables))
    }

    fn header(&self, l1: u64, refcounts: (u64, u64)) -> Vec<u8> {
        let (table, tables) = refcounts;
        let is_zstd = self.compression == Compression::Zstd;
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        let mut put = |field: &[u8]| bytes.extend_from_slice(field);
        put(b"QFI\xfb");
        put(&3_u32.to_be_bytes());
        // No backing file.
        put(&[0; 12]);
        put(&CLUSTER_BITS.to_be_bytes());
        put(&self.size_bytes.to_be_bytes());
        // Nothing is encrypted.
        put(&0_u32.to_be_bytes());
        put(&small(self.l1_entries()).to_be_bytes());
        put(&l1.to_be_bytes());
        put(&table.to_be_bytes());
        put(&small(tables).to_be_bytes());
        // No snapshots.
        put(&[0; 12]);
        let incompatible = if is_zstd { COMPRESSION_TYPE } else { 0 };
        put(&incompatible.to_be_bytes());
        // Compatible features, and those that clear themselves.
        put(&[0; 16]);
        // 2^4 bits a refcount.
        put(&4_u32.to_be_bytes());
        put(&112_u32.to_be_bytes());
        put(&[u8::from(is_zstd), 0, 0, 0, 0, 0, 0, 0]);
        // No extension of the header follows.
        put(&[0; 8]);
        bytes
    }
}

impl Container for Qcow2 {
    fn unit_bytes(&self) -> u64 {
        CLUSTER_BYTES
    }

    fn place(&mut self, offset: u64, _bytes: &[u8]) -> Option<u64> {
        let cluster = offset / CLUSTER_BYTES;
        let place = match self.entries.last() {
            Some((last, entry)) if *last == cluster => entry & !COPIED,
            _ => {
                let place = self.allocate(1);
                self.entries.push((cluster, place | COPIED));
                place
            }
        };
        Some(place + offset % CLUSTER_BYTES)
    }

    fn compression(&self) -> Compression {
        self.compression
    }

    fn place_compressed(&mut self, offset: u64, length: u64) -> u64 {
        let place = self.next;
        self.next += length;
        let last = self.next - 1;
        let sectors = last / SECTOR_BYTES - place / SECTOR_BYTES;
        let entry = COMPRESSED | place | sectors << SECTORS_SHIFT;
        self.entries.push((offset / CLUSTER_BYTES, entry));
        let known = self.refcounts.len();
        self.refcounts.resize(index(last / CLUSTER_BYTES) + 1, 0);
        debug_assert!(
            known + 1 >= self.refcounts.len(),
            "it is shorter than a cluster"
        );
        for count in &mut self.refcounts[index(place / CLUSTER_BYTES)..] {
            *count += 1;
        }
        place
    }

    fn finish(&mut self, write: &mut Write<'_>) -> io::Result<u64> {
        let table = self.write_tables(write)?;
        let clusters = length_of(&table).div_ceil(CLUSTER_BYTES).max(1);
        let refcounts = self.write_refcounts(clusters, write)?;
        let l1 = self.next - clusters * CLUSTER_BYTES;
        write(l1, &table)?;
        write(0, &self.header(l1, refcounts))?;
        // Nothing reads of that table's clusters what is behind it.
        Ok((l1 + length_of(&table)).next_multiple_of(SECTOR_BYTES))
    }
}

/// The head of the disk in `file`, whose header has to be one of those above.
#[cfg(feature = "cli")]
pub(super) fn disk_head(file: &dyn ReadAt) -> Option<Vec<u8>> {
    let number = |place| inside::field(file, place).map(u64::from_be_bytes);
    let word = |place| inside::field(file, place).map(u32::from_be_bytes);
    let compression = match inside::field(file, 104)? {
        [0] => Compression::None,
        _ => Compression::Zstd,
    };
    let size_bytes = number(24).filter(|size| *size <= MOST_BYTES)?;
    let (l1, refcounts) = (number(40)?, (number(48)?, word(56)?.into()));
    let known = Qcow2::new(&Disk::new(size_bytes, [0; 16]), compression).header(l1, refcounts);
    if inside::bytes(file, 0, known.len())? != known {
        return None;
    }
    let leads_to = |place: u64| Some(number(place)? & !COPIED).filter(|entry| *entry != 0);
    let entry = leads_to(leads_to(l1)?)?;
    if entry & COMPRESSED == 0 {
        return inside::head(file, entry);
    }
    let place = entry & ((1 << SECTORS_SHIFT) - 1);
    let sectors = (entry & !COMPRESSED) >> SECTORS_SHIFT;
    let length = (sectors + 1) * SECTOR_BYTES - place % SECTOR_BYTES;
    let cluster = inside::bytes(file, place, index(length))?;
    decompressed(compression, &cluster, inside::HEAD_BYTES)
}

fn put_u64(bytes: &mut [u8], at: u64, number: u64) {
    let at = index(at);
    bytes[at..at + 8].copy_from_slice(&number.to_be_bytes());
}
