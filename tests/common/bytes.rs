//! Given two image files, gives where their bytes differ without reading their holes; never knows
//! how an image came to be.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::tools::Result;

/// How much is compared at once, in bytes.
const CHUNK: u64 = 1 << 20;
/// Bytes of a superblock.
const SUPERBLOCK: usize = 1024;
/// Where a superblock has `s_kbytes_written` and `s_checksum`.
const KBYTES_WRITTEN: Range<usize> = 0x178..0x180;
const CHECKSUM: Range<usize> = 0x3fc..0x400;
/// How many differences are told before the comparison ends.
const ENOUGH: usize = 8;

/// The first byte of a run of bytes that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The block, counted from where the filesystem begins.
    pub(crate) block: u64,
    pub(crate) offset_in_block: u64,
    /// Up to 16 bytes of the reference and of ours.
    pub(crate) expected: Vec<u8>,
    pub(crate) found: Vec<u8>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "block {} byte {:#x}: expected {:02x?}, found {:02x?}",
            self.block, self.offset_in_block, self.expected, self.found
        )
    }
}

/// The ranges of `file` that hold data, in bytes.
pub(crate) fn data_ranges(file: &File) -> Result<Vec<Range<u64>>> {
    let size = file.metadata()?.len();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            start => start?,
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        ranges.push(start..end);
        at = end;
    }
    Ok(ranges)
}

/// The union of two ascending lists of ranges, cut into pieces of at most [`CHUNK`] bytes that do
/// not straddle multiples of it.
fn chunks(a: Vec<Range<u64>>, b: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges = a;
    ranges.extend(b);
    ranges.sort_by_key(|range| range.start);
    let mut chunks = Vec::new();
    let mut done = 0;
    for range in ranges {
        let mut at = range.start.max(done);
        while at < range.end {
            let end = range.end.min((at / CHUNK + 1) * CHUNK);
            chunks.push(at..end);
            at = end;
        }
        done = done.max(range.end);
    }
    chunks
}

fn read(file: &File, range: &Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start)?];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}

/// Two image files that should have the same bytes.
pub(crate) struct Pair {
    expected: File,
    found: File,
    /// Where the filesystem begins in both, in bytes.
    base: u64,
    block_bytes: u64,
    blocks_per_group: u64,
    has_checksums: bool,
}

impl Pair {
    /// Opens the image of a reference and the one to be judged, both from `base` on.
    pub(crate) fn open(expected: &Path, found: &Path, base: u64) -> Result<Self> {
        let (expected, found) = (File::open(expected)?, File::open(found)?);
        let sb = read(&expected, &(base + 1024..base + 2048))?;
        let word = |at: usize| u32::from_le_bytes([sb[at], sb[at + 1], sb[at + 2], sb[at + 3]]);
        Ok(Self {
            expected,
            found,
            base,
            block_bytes: 1024 << word(0x18),
            blocks_per_group: word(0x20).into(),
            has_checksums: word(0x64) & 0x400 != 0,
        })
    }

    /// Every difference but those in `s_kbytes_written` and in superblock checksums that are right;
    /// the first few of them.
    pub(crate) fn differences(&self) -> Result<Vec<Difference>> {
        let lengths = [&self.expected, &self.found].map(|file| file.metadata().map(|it| it.len()));
        let [expected, found] = lengths;
        let (expected, found) = (expected?, found?);
        if expected != found {
            return Err(format!("{expected} bytes expected, {found} found").into());
        }
        let mut differences = Vec::new();
        for chunk in chunks(data_ranges(&self.expected)?, data_ranges(&self.found)?) {
            let expected = read(&self.expected, &chunk)?;
            let found = read(&self.found, &chunk)?;
            if expected == found {
                continue;
            }
            let mut at = 0;
            while let Some(next) = (at..expected.len()).find(|at| expected[*at] != found[*at]) {
                let place = chunk.start + u64::try_from(next)?;
                at = match self.excused_until(place)? {
                    Some(end) => next + usize::try_from(end - place)?,
                    None => {
                        let end = expected.len().min(next + 16);
                        differences.push(Difference {
                            block: (place - self.base) / self.block_bytes,
                            offset_in_block: (place - self.base) % self.block_bytes,
                            expected: expected[next..end].to_vec(),
                            found: found[next..end].to_vec(),
                        });
                        end
                    }
                };
                if differences.len() == ENOUGH {
                    return Ok(differences);
                }
            }
        }
        Ok(differences)
    }

    /// Where the field that holds the byte `place` ends, if it is one that may differ.
    fn excused_until(&self, place: u64) -> Result<Option<u64>> {
        let Some(start) = self.superblock_before(place) else {
            return Ok(None);
        };
        let within = usize::try_from(place - start)?;
        let sb = read(&self.found, &(start..start + 1024))?;
        if sb[56..58] != [0x53, 0xef] {
            return Ok(None);
        }
        if KBYTES_WRITTEN.contains(&within) {
            return Ok(Some(start + u64::try_from(KBYTES_WRITTEN.end)?));
        }
        // The register of CRC32C as it is at the end: the usual form inverts it.
        let checksum = (!crc32c::crc32c(&sb[..CHECKSUM.start])).to_le_bytes();
        let is_right = self.has_checksums && sb[CHECKSUM] == checksum;
        let end = start + u64::try_from(SUPERBLOCK)?;
        Ok((CHECKSUM.contains(&within) && is_right).then_some(end))
    }

    /// Where the superblock begins whose 1024 bytes hold `place`, if a group may have one there.
    fn superblock_before(&self, place: u64) -> Option<u64> {
        let first = u64::from(self.block_bytes == 1024);
        let block = ((place - self.base) / self.block_bytes).checked_sub(first)?;
        if block % self.blocks_per_group != 0 {
            return None;
        }
        let start = self.base + (block + first) * self.block_bytes;
        // With larger blocks the primary one shares its block with the boot sector.
        let is_behind_boot = block == 0 && self.block_bytes > 1024;
        let start = start + if is_behind_boot { 1024 } else { 0 };
        (start..start + 1024).contains(&place).then_some(start)
    }
}
