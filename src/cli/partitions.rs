//! Given a disk and the number of a partition, says where that begins and ends; never what is in it.
//!
//! Tables of both kinds: GPT (UEFI Specification, 5.3), and MBR with its logical partitions, which are
//! numbered from 5 on as the kernel does (`block/partitions/msdos.c`).

use std::fmt;
use std::io;
use std::ops::Range;

use crate::read::ReadAt;
use crate::sys;

/// The sectors that a GPT counts in, on one disk or another.
const GPT_SECTORS: [u64; 2] = [512, 4096];
/// The sectors that an MBR counts in.
const MBR_SECTOR: u64 = 512;
/// The bytes of a GPT's header.
const HEADER_BYTES: usize = 92;
/// The bytes of a GPT's entry that this reads, and the most that one may take.
const ENTRY_BYTES: u32 = 128;
const MOST_ENTRY_BYTES: u32 = 4096;
/// The most entries of a GPT.
const MOST_PARTITIONS: u32 = 1024;
/// The most tables of an extended partition that are followed. The kernel has no more than 256 partitions.
const MOST_TABLES: u32 = 1024;
/// The types of an extended partition.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// The first number of a logical partition.
const FIRST_LOGICAL: u32 = 5;

/// Why a partition cannot be found.
#[derive(Debug)]
pub(super) enum PartitionError {
    Read(io::Error),
    /// No table.
    NoTable,
    /// A GPT whose checksum is of something else.
    Checksum,
    /// A GPT that makes no sense.
    Damaged,
    /// None of this number.
    Missing {
        number: u32,
    },
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => {
                write!(f, "cannot read its partition table: {}", sys::reason(error))
            }
            Self::NoTable => f.write_str("it has no partition table, neither GPT nor MBR"),
            Self::Checksum => f.write_str("the checksum of its GPT is wrong"),
            Self::Damaged => f.write_str("its GPT is damaged"),
            Self::Missing { number } => write!(f, "it has no partition {number}"),
        }
    }
}

impl std::error::Error for PartitionError {}

impl From<io::Error> for PartitionError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// The bytes of partition `number` of `disk`.
pub(super) fn range(disk: &dyn ReadAt, number: u32) -> Result<Range<u64>, PartitionError> {
    for sector in GPT_SECTORS {
        let mut header = GptHeader([0; HEADER_BYTES]);
        match disk.read_exact_at(sector, &mut header.0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            read => read?,
        }
        if header.0.starts_with(b"EFI PART") {
            return in_gpt(disk, &header, sector, number);
        }
    }
    in_mbr(disk, number)
}

fn in_gpt(
    disk: &dyn ReadAt,
    header: &GptHeader,
    sector: u64,
    number: u32,
) -> Result<Range<u64>, PartitionError> {
    let is_plain = usize::try_from(header.size()).is_ok_and(|size| size == HEADER_BYTES);
    if is_plain && header.checksum() != header.checksum_needed() {
        return Err(PartitionError::Checksum);
    }
    let entry_bytes = header.entry_bytes();
    let count = header.entries();
    if !(ENTRY_BYTES..=MOST_ENTRY_BYTES).contains(&entry_bytes) {
        return Err(PartitionError::Damaged);
    }
    let missing = PartitionError::Missing { number };
    if number > count.min(MOST_PARTITIONS) {
        return Err(missing);
    }
    let table = header.first_entry().checked_mul(sector);
    let within = u64::from(number - 1) * u64::from(entry_bytes);
    let place = table.and_then(|table| table.checked_add(within));
    // Its type, its own GUID, and its first and last sector.
    let mut entry = [0; 48];
    disk.read_exact_at(place.ok_or(PartitionError::Damaged)?, &mut entry)?;
    if entry.starts_with(&[0; 16]) {
        return Err(missing);
    }
    let first = u64::from_le_bytes(field(&entry, 32)).checked_mul(sector);
    let behind = u64::from_le_bytes(field(&entry, 40)).checked_add(1);
    let behind = behind.and_then(|behind| behind.checked_mul(sector));
    let range = first.zip(behind).map(|(first, behind)| first..behind);
    range.ok_or(PartitionError::Damaged)
}

fn in_mbr(disk: &dyn ReadAt, number: u32) -> Result<Range<u64>, PartitionError> {
    let record = boot_record(disk, 0)?.ok_or(PartitionError::NoTable)?;
    let missing = PartitionError::Missing { number };
    if number < FIRST_LOGICAL {
        let primary = usize::try_from(number - 1).ok();
        let found = primary.and_then(|at| record.get(at));
        let found = found.filter(|found| found.is_used()).ok_or(missing)?;
        return Ok(bytes_of(found, 0));
    }
    let mut left = number - FIRST_LOGICAL;
    for extended in record.iter().filter(|found| found.is_extended()) {
        if let Some(bytes) = in_extended(disk, extended, &mut left)? {
            return Ok(bytes);
        }
    }
    Err(missing)
}

/// The logical partition of an extended one that comes after `left` others; takes from `left` those that
/// are passed over. The kernel takes any slot of a table for a partition, and the first that is extended
/// for where the next table is.
fn in_extended(
    disk: &dyn ReadAt,
    extended: &MbrPartition,
    left: &mut u32,
) -> Result<Option<Range<u64>>, PartitionError> {
    let first = u64::from(extended.first);
    let all = first..first + u64::from(extended.sectors);
    let (mut at, mut sectors) = (first, extended.sectors);
    for _ in 0..MOST_TABLES {
        let Some(table) = boot_record(disk, at)? else {
            break;
        };
        let logical = (table.iter().enumerate()).filter(|(slot, found)| {
            let is_within = || is_within(found, at, sectors, &all);
            found.is_used() && !found.is_extended() && (*slot < 2 || is_within())
        });
        for (_, found) in logical {
            if *left == 0 {
                return Ok(Some(bytes_of(found, at)));
            }
            *left -= 1;
        }
        let Some(next) = table.iter().find(|found| found.is_extended()) else {
            break;
        };
        (at, sectors) = (first + u64::from(next.first), next.sectors);
    }
    Ok(None)
}

/// Whether a partition of a table's last two slots lies in what the table tells of: OS/2 has partitions
/// there, and others what was left there.
fn is_within(found: &MbrPartition, at: u64, sectors: u32, all: &Range<u64>) -> bool {
    let start = at + u64::from(found.first);
    let end = start + u64::from(found.sectors);
    end - at <= u64::from(sectors) && all.start <= start && end <= all.end
}

/// The header of a GPT, as it is stored.
struct GptHeader([u8; HEADER_BYTES]);

impl GptHeader {
    /// How long it says that it is.
    fn size(&self) -> u32 {
        u32::from_le_bytes(field(&self.0, 12))
    }

    fn checksum(&self) -> u32 {
        u32::from_le_bytes(field(&self.0, 16))
    }

    /// The sector where the entries begin.
    fn first_entry(&self) -> u64 {
        u64::from_le_bytes(field(&self.0, 72))
    }

    fn entries(&self) -> u32 {
        u32::from_le_bytes(field(&self.0, 80))
    }

    fn entry_bytes(&self) -> u32 {
        u32::from_le_bytes(field(&self.0, 84))
    }

    /// The CRC-32 (IEEE 802.3) of the header, which counts itself as zeros.
    fn checksum_needed(&self) -> u32 {
        let mut bytes = self.0;
        bytes[16..20].fill(0);
        let byte = |crc, byte: &u8| {
            (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
                crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
            })
        };
        !bytes.iter().fold(u32::MAX, byte)
    }
}

/// A partition of a boot record.
#[derive(Clone, Copy)]
struct MbrPartition {
    kind: u8,
    /// Its first sector, counted from where its table counts.
    first: u32,
    sectors: u32,
}

impl MbrPartition {
    fn is_used(self) -> bool {
        self.kind != 0 && self.sectors != 0
    }

    fn is_extended(self) -> bool {
        self.is_used() && EXTENDED.contains(&self.kind)
    }
}

/// The bytes of a partition whose first sector is counted from `base`.
fn bytes_of(partition: &MbrPartition, base: u64) -> Range<u64> {
    let first = base + u64::from(partition.first);
    let behind = first + u64::from(partition.sectors);
    first * MBR_SECTOR..behind * MBR_SECTOR
}

/// The partitions of the boot record in a sector, if it is one.
fn boot_record(disk: &dyn ReadAt, sector: u64) -> Result<Option<[MbrPartition; 4]>, io::Error> {
    let mut bytes = [0; 512];
    match disk.read_exact_at(sector * MBR_SECTOR, &mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let partitions = [446, 462, 478, 494].map(|at| MbrPartition {
        kind: bytes[at + 4],
        first: u32::from_le_bytes(field(&bytes, at + 8)),
        sectors: u32::from_le_bytes(field(&bytes, at + 12)),
    });
    Ok(bytes.ends_with(&[0x55, 0xaa]).then_some(partitions))
}

/// The bytes of a field that begins at `at`.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    *bytes.expect("its place is below the length of what was read")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions of a boot record: the type, the first sector and the number of sectors.
    type Partitions<'a> = &'a [(u8, u8, u8)];

    const NONE: (u8, u8, u8) = (0, 0, 0);

    /// A disk with boot records at some sectors.
    fn disk(records: &[(usize, Partitions<'_>)]) -> Vec<u8> {
        let mut disk = vec![0; 128 * 512];
        for (sector, partitions) in records {
            let record = &mut disk[sector * 512..][..512];
            record[510..].copy_from_slice(&[0x55, 0xaa]);
            for (at, (kind, first, sectors)) in partitions.iter().enumerate() {
                let partition = &mut record[446 + 16 * at..][..16];
                (partition[4], partition[8], partition[12]) = (*kind, *first, *sectors);
            }
        }
        disk
    }

    /// Where logical partitions begin, in sectors, as far as there are any.
    fn logical(disk: &[u8]) -> Vec<u64> {
        let start = |number| match range(&disk, number) {
            Ok(bytes) => Some(bytes.start / 512),
            Err(PartitionError::Missing { number: missing }) if missing == number => None,
            Err(error) => panic!("{number}: {error}"),
        };
        assert_eq!(start(1), Some(8));
        assert_eq!(start(4), None);
        (5..).map_while(start).collect()
    }

    #[test]
    fn logical_partitions_are_those_of_the_kernel() {
        let primary = &[(0x83, 8, 8), (5, 32, 64)][..];
        let last = &[(0x83, 2, 8)][..];
        let next = &[(0x83, 1, 8), (5, 16, 16)][..];
        for (records, expected) in [
            (&[(0, primary), (32, last)][..], &[34][..]),
            (&[(0, primary), (32, next), (48, last)], &[33, 50]),
            // What was deleted has no number.
            (
                &[(0, primary), (32, &[NONE, (5, 16, 16)]), (48, last)],
                &[50],
            ),
            // DR-DOS has the next table first where there is no partition.
            (&[(0, primary), (32, &[(5, 16, 16)]), (48, last)], &[50]),
            (
                &[(0, primary), (32, &[(5, 16, 16), (0x83, 1, 8)]), (48, last)],
                &[33, 50],
            ),
            // OS/2 has partitions in all four slots; what lies outside is none.
            (
                &[
                    (0, &[(0x83, 8, 8), (5, 32, 32)]),
                    (32, &[(0x83, 1, 4), (0x83, 5, 4), (0x83, 9, 4), (5, 16, 16)]),
                    (48, &[NONE, NONE, (0x83, 1, 32), (0x83, 2, 4)]),
                ],
                &[33, 37, 41, 50],
            ),
            // A table that is not there ends them as well.
            (&[(0, primary), (32, next)], &[33]),
            (&[(0, primary)], &[]),
            // The kernel follows every extended partition.
            (
                &[
                    (0, &[(0x83, 8, 8), (5, 32, 16), (0xf, 64, 16)]),
                    (32, last),
                    (64, last),
                ],
                &[34, 66],
            ),
        ] {
            assert_eq!(logical(&disk(records)), expected, "{records:?}");
        }
    }

    #[test]
    fn tables_in_a_circle_come_to_an_end() {
        let circle = [(0, &[(5, 32, 64)][..]), (32, &[NONE, (5, 0, 16)])];
        let found = range(&disk(&circle), 5);
        assert!(matches!(found, Err(PartitionError::Missing { number: 5 })));
    }
}
