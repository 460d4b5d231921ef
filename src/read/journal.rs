//! Given a filesystem whose journal waits to be replayed, gives where the journal has newer copies of
//! blocks; never writes them home.
//!
//! Layout: the kernel's `journal.rst`; which transactions count, and what ends them, as in jbd2's
//! `do_one_pass`.

use std::collections::{BTreeMap, HashMap};

use super::bytes::{half, index, length, pod_or_zeros, word};
use super::error::{Error, ErrorDetail, Result};
use super::mapped::{Extent, find};
use super::replay::{Copy, Replay};
use super::volume::Volume;
use crate::feature::Feature;
use crate::ondisk::checksum::{INITIAL, crc32_be, crc32c, crc32c_zeros};
use crate::ondisk::int::{Be32, Be64};
use crate::ondisk::jbd2::{
    BLOCK_TYPE_COMMIT, BLOCK_TYPE_DESCRIPTOR, BLOCK_TYPE_REVOKE, BLOCK_TYPE_SUPERBLOCK_V1,
    BLOCK_TYPE_SUPERBLOCK_V2, BlockHeader, BlockTag, BlockTag3, CHECKSUM_CRC32, CHECKSUM_CRC32C,
    COMPAT_CHECKSUM, CommitHeader, DEFAULT_FAST_COMMIT_BLOCKS, INCOMPAT_64BIT,
    INCOMPAT_ASYNC_COMMIT, INCOMPAT_CSUM_V2, INCOMPAT_CSUM_V3, INCOMPAT_FAST_COMMIT,
    JournalSuperblock, KNOWN_INCOMPAT, MAGIC, MIN_BLOCKS, TAG_ESCAPED, TAG_LAST, TAG_SAME_UUID,
};
use crate::units::{Block, Ino, Run};

/// The bytes of a checksum at the end of a descriptor or of revoke records.
const TAIL_BYTES: usize = 4;
/// The bytes of a UUID behind a tag.
const UUID_BYTES: usize = 16;
/// The bytes of revoke records before the first: a header and how many bytes there are.
const REVOKE_HEADER_BYTES: usize = 16;
/// What a fast commit begins with: `EXT4_FC_TAG_HEAD`, a length, features, and the transaction behind
/// which it comes.
const FAST_COMMIT_HEAD: u16 = 0x9;
const FAST_COMMIT_TID_OFFSET: usize = 8;

/// What the journal of a filesystem holds for it.
///
/// # Errors
/// Where the kernel would not mount the filesystem, or the journal is on another device or has fast
/// commits.
pub(super) fn replay(volume: &Volume<'_>) -> Result<Replay> {
    let refuse = |what| Err(Error::new(ErrorDetail::Unsupported(what)));
    if !volume.sb.has(Feature::HasJournal) {
        return refuse("the journal waits to be replayed, but there is none");
    }
    let ino = Ino::new(volume.sb.sb.s_journal_inum.get());
    if ino.get() == 0 {
        return refuse("the journal that waits to be replayed is on another device");
    }
    let read = read_log(volume, ino);
    read.map_err(|error| error.in_inode(ino))
}

fn read_log(volume: &Volume<'_>, ino: Ino) -> Result<Replay> {
    let Some(log) = Log::open(volume, ino)? else {
        return Ok(Replay::default());
    };
    let end = log.scan()?;
    log.refuse_fast_commits(end)?;
    let revoked = log.revoked(end)?;
    let copies = log.copies(end, &revoked)?;
    Ok(Replay { copies })
}

/// Which checksums a journal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksums {
    None,
    /// One of each transaction, in its commit.
    Transactions,
    /// One of each block, with the low half of it in tags.
    Blocks,
    /// One of each block, all of it in tags.
    WideTags,
}

impl Checksums {
    fn are_of_blocks(self) -> bool {
        matches!(self, Self::Blocks | Self::WideTags)
    }
}

/// A journal that waits.
struct Log<'v> {
    volume: &'v Volume<'v>,
    extents: Vec<Extent>,
    /// The first block of the log, and the first behind it.
    first: u32,
    end: u32,
    /// Where the first transaction begins, and its number.
    start: Cursor,
    checksums: Checksums,
    has_64_bits: bool,
    is_async: bool,
    has_fast_commits: bool,
    /// What checksums begin with.
    seed: u32,
}

/// A place in the log.
#[derive(Clone, Copy)]
struct Cursor {
    at: u32,
    /// The transaction that is expected there.
    sequence: u32,
    /// How many blocks were passed.
    passed: u32,
}

/// A block of the log that is no copy.
struct Record {
    block: Block,
    bytes: Vec<u8>,
    kind: u32,
}

/// What a descriptor says of a copy.
struct Tag {
    home: u64,
    flags: u32,
    checksum: u32,
}

impl<'v> Log<'v> {
    /// The journal in an inode; `None` where nothing waits in it.
    fn open(volume: &'v Volume<'v>, ino: Ino) -> Result<Option<Self>> {
        let sb = &volume.sb;
        let inode = volume.inode(ino)?;
        if !inode.is_file() {
            return Err(Error::rule("the journal is not a regular file"));
        }
        let blocks = inode.size() / sb.block_size.bytes_u64();
        let extents = volume.extents(&inode, 0..blocks)?;
        let Some(place) = find(&extents, 0) else {
            return Err(Error::rule("the journal has a hole"));
        };
        let bytes = volume.block(place)?;
        let stored: JournalSuperblock = pod_or_zeros(&bytes);
        let log = Self::decode(volume, extents, &stored);
        let log = log.map_err(|error| error.in_block(place))?;
        let length = u64::from(stored.s_maxlen.get());
        if length > blocks {
            let what = "s_maxlen";
            let least = MIN_BLOCKS.into();
            let fault = ErrorDetail::Bounds {
                what,
                found: length,
                least,
                most: blocks,
            };
            return Err(Error::new(fault).in_block(place));
        }
        Ok((stored.s_start.get() != 0).then_some(log))
    }

    fn decode(
        volume: &'v Volume<'v>,
        extents: Vec<Extent>,
        stored: &JournalSuperblock,
    ) -> Result<Self> {
        let checksums = checksums_of(stored)?;
        let size = volume.sb.block_size.bytes();
        if stored.s_blocksize.get() != size {
            return Err(Error::new(ErrorDetail::Value {
                what: "s_blocksize",
                found: stored.s_blocksize.get().into(),
                expected: size.into(),
            }));
        }
        let incompat = stored.s_feature_incompat.get();
        let has_fast_commits = incompat & INCOMPAT_FAST_COMMIT != 0;
        let mut end = stored.s_maxlen.get();
        if has_fast_commits {
            let kept = match stored.s_num_fc_blks.get() {
                0 => DEFAULT_FAST_COMMIT_BLOCKS,
                kept => kept,
            };
            let left = end.checked_sub(kept);
            end = left.filter(|left| *left >= MIN_BLOCKS).unwrap_or(end);
        }
        let bounds = |what, found: u32, least: u32| {
            if found >= least && found < end {
                return Ok(());
            }
            Err(Error::new(ErrorDetail::Bounds {
                what,
                found: found.into(),
                least: least.into(),
                most: end.saturating_sub(1).into(),
            }))
        };
        let first = stored.s_first.get();
        bounds("s_first", first, 1)?;
        if stored.s_start.get() != 0 {
            bounds("s_start", stored.s_start.get(), first)?;
        }
        Ok(Self {
            volume,
            extents,
            first,
            end,
            start: Cursor {
                at: stored.s_start.get(),
                sequence: stored.s_sequence.get(),
                passed: 0,
            },
            checksums,
            has_64_bits: incompat & INCOMPAT_64BIT != 0,
            is_async: incompat & INCOMPAT_ASYNC_COMMIT != 0,
            has_fast_commits,
            seed: crc32c(INITIAL, &stored.s_uuid),
        })
    }

    /// The physical place of a block of the journal.
    fn place(&self, number: u32) -> Result<Block> {
        let place = find(&self.extents, number.into());
        place.ok_or_else(|| Error::rule("the journal has a hole"))
    }

    /// Moves on by `blocks`, from the last block of the ring to the first.
    fn advance(&self, cursor: &mut Cursor, blocks: u32) -> Result<()> {
        let around = self.end - self.first;
        cursor.passed = cursor.passed.saturating_add(blocks);
        if cursor.passed > around {
            return Err(Error::rule("the journal's log overlaps itself"));
        }
        let ahead = u64::from(cursor.at - self.first) + u64::from(blocks);
        let ahead = u32::try_from(ahead % u64::from(around)).unwrap_or(0);
        cursor.at = self.first + ahead;
        Ok(())
    }

    /// The block at a place, if it belongs to the transaction that is expected there.
    fn record(&self, cursor: &Cursor) -> Result<Option<Record>> {
        let block = self.place(cursor.at)?;
        let bytes = self.volume.block(block)?;
        let header: BlockHeader = pod_or_zeros(&bytes);
        let is_expected =
            header.h_magic.get() == MAGIC && header.h_sequence.get() == cursor.sequence;
        Ok(is_expected.then(|| Record {
            block,
            bytes,
            kind: header.h_blocktype.get(),
        }))
    }

    /// The number of the first transaction that is not there or not committed. One that was committed and
    /// is not as it was written is damage, over which the kernel does not mount.
    fn scan(&self) -> Result<u32> {
        let mut cursor = self.start;
        // Whether a block of the transaction has a wrong checksum: it may be one of an earlier round.
        let mut doubt = None;
        let mut last_time = 0;
        let mut sum = INITIAL;
        while let Some(record) = self.record(&cursor)? {
            self.advance(&mut cursor, 1)?;
            match record.kind {
                BLOCK_TYPE_DESCRIPTOR => {
                    if !self.is_sound(&record) {
                        doubt = Some(record.block);
                    }
                    sum = crc32_be(sum, &record.bytes);
                    for _ in self.tags(&record) {
                        if self.checksums == Checksums::Transactions {
                            let copy = self.volume.block(self.place(cursor.at)?)?;
                            sum = crc32_be(sum, &copy);
                        }
                        self.advance(&mut cursor, 1)?;
                    }
                }
                BLOCK_TYPE_REVOKE => {
                    if !self.is_sound(&record) {
                        doubt = Some(record.block);
                    }
                }
                BLOCK_TYPE_COMMIT => {
                    let commit: CommitHeader = pod_or_zeros(&record.bytes);
                    let time = commit.h_commit_sec.get();
                    match doubt {
                        Some(block) if time >= last_time => {
                            let rule = "a block of a committed transaction has a wrong checksum";
                            return Err(Error::rule(rule).in_block(block));
                        }
                        Some(_) => break,
                        None => {}
                    }
                    if !self.is_committed(&record.bytes, &commit, sum) {
                        // Commits that nobody waited for may come before what they commit.
                        if time < last_time || self.is_async {
                            break;
                        }
                        let rule = "a transaction in the journal differs from what was committed";
                        return Err(Error::rule(rule).in_block(record.block));
                    }
                    (last_time, sum) = (time, INITIAL);
                    cursor.sequence = cursor.sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        Ok(cursor.sequence)
    }

    /// Whether a descriptor or revoke records have the checksum that they need.
    fn is_sound(&self, record: &Record) -> bool {
        if !self.checksums.are_of_blocks() {
            return true;
        }
        let at = record.bytes.len().saturating_sub(TAIL_BYTES);
        let (before, tail) = record.bytes.split_at(at);
        let needed = crc32c_zeros(crc32c(self.seed, before), length(TAIL_BYTES));
        word(tail, 0).swap_bytes() == needed
    }

    /// Whether a commit has the checksum that it needs; `sum` is that of its transaction.
    fn is_committed(&self, bytes: &[u8], commit: &CommitHeader, sum: u32) -> bool {
        let [found, ..] = commit.h_chksum;
        let found = found.get();
        let kind = (commit.h_chksum_type, commit.h_chksum_size);
        match self.checksums {
            Checksums::None => true,
            Checksums::Transactions => {
                let is_unused = kind == (0, 0) && found == 0;
                is_unused || kind == (CHECKSUM_CRC32, 4) && found == sum
            }
            Checksums::Blocks | Checksums::WideTags => {
                let header = size_of::<CommitHeader>();
                let mut unsealed = *commit;
                unsealed.h_chksum[0] = Be32::new(0);
                let register = crc32c(self.seed, bytemuck::bytes_of(&unsealed));
                let rest = bytes.get(header..).unwrap_or_default();
                // Old kernels wrote over the block of one that was longer, and summed up zeros.
                let as_zeros = crc32c_zeros(register, length(rest.len()));
                [crc32c(register, rest), as_zeros].contains(&found)
            }
        }
    }

    /// The tags of a descriptor.
    fn tags(&self, record: &Record) -> Vec<Tag> {
        let tail = if self.checksums.are_of_blocks() {
            TAIL_BYTES
        } else {
            0
        };
        let end = record.bytes.len().saturating_sub(tail);
        let width = self.tag_bytes();
        let mut tags = Vec::new();
        let mut at = size_of::<BlockHeader>();
        while let Some(stored) = record
            .bytes
            .get(at..at + width)
            .filter(|_| at + width <= end)
        {
            let tag = self.tag(stored);
            at += width;
            if tag.flags & TAG_SAME_UUID == 0 {
                at += UUID_BYTES;
            }
            let is_last = tag.flags & TAG_LAST != 0;
            tags.push(tag);
            if is_last {
                break;
            }
        }
        tags
    }

    fn tag_bytes(&self) -> usize {
        let high = if self.has_64_bits { 4 } else { 0 };
        match self.checksums {
            Checksums::WideTags => size_of::<BlockTag3>(),
            Checksums::Blocks => 10 + high,
            Checksums::None | Checksums::Transactions => 8 + high,
        }
    }

    fn tag(&self, stored: &[u8]) -> Tag {
        let high = |high: Be32| if self.has_64_bits { high.get() } else { 0 };
        let join = |low: Be32, high: u32| u64::from(high) << 32 | u64::from(low.get());
        if self.checksums == Checksums::WideTags {
            let tag: BlockTag3 = pod_or_zeros(stored);
            return Tag {
                home: join(tag.t_blocknr, high(tag.t_blocknr_high)),
                flags: tag.t_flags.get(),
                checksum: tag.t_checksum.get(),
            };
        }
        let tag: BlockTag = pod_or_zeros(stored);
        Tag {
            home: join(tag.t_blocknr, high(tag.t_blocknr_high)),
            flags: tag.t_flags.get().into(),
            checksum: tag.t_checksum.get().into(),
        }
    }

    /// Calls `each` with every record of the transactions before `end`, its transaction, and where the
    /// log goes on behind it. Both descriptors and revoke records are sound.
    fn records(
        &self,
        end: u32,
        mut each: impl FnMut(&Record, u32, Cursor) -> Result<()>,
    ) -> Result<()> {
        let mut cursor = self.start;
        while cursor.sequence != end {
            let Some(record) = self.record(&cursor)? else {
                return Err(Error::rule("the journal changed while it was read"));
            };
            self.advance(&mut cursor, 1)?;
            if record.kind != BLOCK_TYPE_COMMIT && !self.is_sound(&record) {
                let rule = "a block of the journal has a wrong checksum";
                return Err(Error::rule(rule).in_block(record.block));
            }
            each(&record, cursor.sequence, cursor).map_err(|error| error.in_block(record.block))?;
            match record.kind {
                BLOCK_TYPE_DESCRIPTOR => {
                    let copies = u32::try_from(self.tags(&record).len()).unwrap_or(u32::MAX);
                    self.advance(&mut cursor, copies)?;
                }
                BLOCK_TYPE_COMMIT => cursor.sequence = cursor.sequence.wrapping_add(1),
                _ => {}
            }
        }
        Ok(())
    }

    /// The last transaction up to which earlier copies of a block do not count.
    fn revoked(&self, end: u32) -> Result<HashMap<u64, u32>> {
        let mut revoked = HashMap::new();
        self.records(end, |record, sequence, _| {
            if record.kind == BLOCK_TYPE_REVOKE {
                for block in self.revoke_records(record)? {
                    revoked.insert(block, sequence);
                }
            }
            Ok(())
        })?;
        Ok(revoked)
    }

    fn revoke_records(&self, record: &Record) -> Result<Vec<u64>> {
        let tail = if self.checksums.are_of_blocks() {
            TAIL_BYTES
        } else {
            0
        };
        let end = word(&record.bytes, size_of::<BlockHeader>()).swap_bytes();
        let end = index(end.into());
        let most = record.bytes.len().saturating_sub(tail);
        let held = record.bytes.get(REVOKE_HEADER_BYTES..end);
        let Some(held) = held.filter(|_| end <= most) else {
            return Err(Error::rule("revoke records are longer than their block"));
        };
        let records: Vec<u64> = if self.has_64_bits {
            let records = held.chunks_exact(size_of::<Be64>());
            let number = |it| pod_or_zeros::<Be64>(it).get();
            records.map(number).collect()
        } else {
            let records = held.chunks_exact(size_of::<Be32>());
            let number = |it| pod_or_zeros::<Be32>(it).get().into();
            records.map(number).collect()
        };
        Ok(records)
    }

    /// The newest copies of blocks in the transactions before `end`.
    fn copies(&self, end: u32, revoked: &HashMap<u64, u32>) -> Result<BTreeMap<u64, Copy>> {
        let mut copies = BTreeMap::new();
        self.records(end, |record, sequence, behind| {
            if record.kind != BLOCK_TYPE_DESCRIPTOR {
                return Ok(());
            }
            let mut cursor = behind;
            for tag in self.tags(record) {
                let block = self.place(cursor.at)?;
                self.advance(&mut cursor, 1)?;
                let last = revoked.get(&tag.home);
                if last.is_some_and(|last| is_at_or_after(*last, sequence)) {
                    continue;
                }
                self.verify_copy(block, &tag, sequence)?;
                // A filesystem that grew may have its new size in the journal alone.
                let size = self.volume.sb.block_size.bytes_u64();
                if tag.home >= self.volume.image_bytes() / size {
                    let run = Run::one(Block::new(tag.home));
                    return Err(Error::new(ErrorDetail::Outside(run)));
                }
                let is_escaped = tag.flags & TAG_ESCAPED != 0;
                copies.insert(tag.home, Copy { block, is_escaped });
            }
            Ok(())
        })?;
        Ok(copies)
    }

    /// A copy that is not what was written is one that the kernel does not mount over.
    fn verify_copy(&self, block: Block, tag: &Tag, sequence: u32) -> Result<()> {
        let mask = match self.checksums {
            Checksums::None | Checksums::Transactions => return Ok(()),
            Checksums::Blocks => 0xffff,
            Checksums::WideTags => u32::MAX,
        };
        let bytes = self.volume.block(block)?;
        let register = crc32c(self.seed, &sequence.to_be_bytes());
        let expected = crc32c(register, &bytes) & mask;
        if tag.checksum == expected {
            return Ok(());
        }
        let what = "the checksum of a block in the journal";
        Err(Error::new(ErrorDetail::Checksum {
            what,
            found: tag.checksum,
            expected,
        })
        .in_block(block))
    }

    /// Fast commits behind the last transaction change files in ways that are not blocks.
    fn refuse_fast_commits(&self, end: u32) -> Result<()> {
        if !self.has_fast_commits {
            return Ok(());
        }
        // The kernel leaves the block between the log and the fast commits out.
        let Some(place) = find(&self.extents, u64::from(self.end) + 1) else {
            return Ok(());
        };
        let bytes = self.volume.block(place)?;
        let is_head = half(&bytes, 0) == FAST_COMMIT_HEAD;
        if is_head && word(&bytes, FAST_COMMIT_TID_OFFSET) == end {
            let what = "its journal has fast commits that wait to be replayed; let the kernel or e2fsck \
                        replay them first";
            return Err(Error::new(ErrorDetail::Unsupported(what)).in_block(place));
        }
        Ok(())
    }
}

/// The checksums of a journal whose superblock is one and needs nothing that is unknown.
fn checksums_of(stored: &JournalSuperblock) -> Result<Checksums> {
    let kind = stored.h_blocktype.get();
    let kinds = [BLOCK_TYPE_SUPERBLOCK_V1, BLOCK_TYPE_SUPERBLOCK_V2];
    if stored.h_magic.get() != MAGIC || !kinds.contains(&kind) {
        let rule = "the journal does not begin with a journal superblock";
        return Err(Error::rule(rule));
    }
    if kind == BLOCK_TYPE_SUPERBLOCK_V1 {
        return Ok(Checksums::None);
    }
    let incompat = stored.s_feature_incompat.get();
    let unknown = incompat & !KNOWN_INCOMPAT;
    if unknown != 0 {
        let word = "the journal's s_feature_incompat";
        return Err(Error::new(ErrorDetail::UnknownFeatures {
            word,
            bits: unknown,
        }));
    }
    match incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) {
        0 if stored.s_feature_compat.get() & COMPAT_CHECKSUM != 0 => {
            return Ok(Checksums::Transactions);
        }
        0 => return Ok(Checksums::None),
        INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3 => {}
        _ => return Err(Error::rule("the journal has checksums of two kinds")),
    }
    if stored.s_checksum_type != CHECKSUM_CRC32C {
        return Err(Error::new(ErrorDetail::Value {
            what: "the journal's s_checksum_type",
            found: stored.s_checksum_type.into(),
            expected: CHECKSUM_CRC32C.into(),
        }));
    }
    let (found, expected) = (stored.s_checksum.get(), superblock_checksum(stored));
    if found != expected {
        let what = "the journal's s_checksum";
        return Err(Error::new(ErrorDetail::Checksum {
            what,
            found,
            expected,
        }));
    }
    if incompat & INCOMPAT_CSUM_V3 != 0 {
        Ok(Checksums::WideTags)
    } else {
        Ok(Checksums::Blocks)
    }
}

/// The checksum that a journal's superblock needs.
pub(crate) fn superblock_checksum(stored: &JournalSuperblock) -> u32 {
    let mut unsealed = *stored;
    unsealed.s_checksum = Be32::new(0);
    crc32c(INITIAL, bytemuck::bytes_of(&unsealed))
}

/// Whether a transaction is another or comes later; their numbers begin anew some day (the kernel's
/// `tid_geq`).
fn is_at_or_after(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() >= 0
}
