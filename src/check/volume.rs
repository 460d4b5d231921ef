//! Given a superblock that makes sense, gives the filesystem's geometry and its bytes by block; never
//! judges what they say.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;

use bytemuck::{AnyBitPattern, pod_read_unaligned};

use super::finding::{Area, Fault, Finding, Place, Report};
use crate::feature::{Feature, FeatureSet, Word};
use crate::ondisk::checksum::inode_seed;
use crate::ondisk::superblock::Superblock;
use crate::sink::ReadAt;
use crate::units::{BlockSize, Run};
use crate::work;

/// Where findings go, and what they are found in.
pub(super) struct Volume<'a> {
    image: &'a dyn ReadAt,
    base: u64,
    most_findings: usize,
    report: RefCell<Report>,
    /// What was read, of which nothing is read twice.
    met: RefCell<HashSet<(Area, u64)>>,
    /// The primary superblock.
    pub(super) sb: Superblock,
    pub(super) features: FeatureSet,
    pub(super) block_size: BlockSize,
    pub(super) blocks_count: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u64,
    pub(super) cluster_ratio: u64,
    pub(super) groups: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inodes_count: u32,
    pub(super) inode_size: usize,
    pub(super) first_ino: u32,
    pub(super) desc_size: usize,
    /// What checksums begin with.
    pub(super) seed: u32,
}

/// The storage, where the filesystem begins in it, and how many findings are kept.
#[derive(Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) image: &'a dyn ReadAt,
    pub(super) base: u64,
    pub(super) most_findings: usize,
}

impl<'a> Volume<'a> {
    /// Takes the geometry from `sb`, whose numbers must be known to make sense.
    pub(super) fn new(storage: Storage<'a>, sb: Superblock, report: Report) -> Option<Self> {
        let features = features_of(&sb);
        let block_size = BlockSize::new(1024_u32.checked_shl(sb.s_log_block_size.get())?)?;
        let blocks_count = blocks_count(&sb);
        let first_data_block = u64::from(sb.s_first_data_block.get());
        let blocks_per_group = u64::from(sb.s_blocks_per_group.get());
        let cluster_log = if features.has(Feature::Bigalloc) {
            sb.s_log_cluster_size
                .get()
                .checked_sub(sb.s_log_block_size.get())?
        } else {
            0
        };
        let groups = blocks_count
            .checked_sub(first_data_block)?
            .div_ceil(blocks_per_group.max(1));
        let dynamic = sb.s_rev_level.get() > 0;
        let desc_size = if features.has(Feature::SixtyFourBit) {
            usize::from(sb.s_desc_size.get())
        } else {
            32
        };
        let seed = if features.has(Feature::MetadataCsumSeed) {
            sb.s_checksum_seed.get()
        } else {
            crate::ondisk::checksum::filesystem_seed(sb.s_uuid)
        };
        Some(Self {
            image: storage.image,
            base: storage.base,
            most_findings: storage.most_findings,
            report: RefCell::new(report),
            met: RefCell::default(),
            features,
            block_size,
            blocks_count,
            first_data_block,
            blocks_per_group,
            cluster_ratio: 1_u64.checked_shl(cluster_log)?,
            groups: u32::try_from(groups).ok()?,
            inodes_per_group: sb.s_inodes_per_group.get(),
            inodes_count: sb.s_inodes_count.get(),
            inode_size: if dynamic {
                usize::from(sb.s_inode_size.get())
            } else {
                128
            },
            first_ino: if dynamic { sb.s_first_ino.get() } else { 11 },
            desc_size,
            seed,
            sb,
        })
    }

    /// What was found.
    pub(super) fn into_report(self) -> Report {
        self.report.into_inner()
    }

    /// How many findings there are by now.
    pub(super) fn found(&self) -> u64 {
        self.report.borrow().total
    }

    pub(super) fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    pub(super) fn has_checksums(&self) -> bool {
        self.has(Feature::MetadataCsum)
    }

    /// Whether `number`, a block or a place of another unit, is met for the first time in structures of
    /// this kind. What many claim is told by the claims; that it is read once bounds the check by what
    /// the image holds.
    pub(super) fn is_first(&self, area: Area, number: u64) -> bool {
        work::add(1);
        self.met.borrow_mut().insert((area, number))
    }

    /// Notes a finding.
    pub(super) fn note(&self, area: Area, place: Place, fault: Fault) {
        let finding = Finding { area, place, fault };
        self.report.borrow_mut().add(finding, self.most_findings);
    }

    /// Notes a broken rule.
    pub(super) fn rule(&self, area: Area, place: Place, rule: &'static str) {
        self.note(area, place, Fault::Rule(rule));
    }

    /// Notes a value that is not the one that is needed.
    pub(super) fn equal(&self, at: (Area, Place), what: &'static str, pair: (u64, u64)) {
        let (found, needed) = pair;
        if found != needed {
            let fault = Fault::Value {
                what,
                found,
                needed,
            };
            self.note(at.0, at.1, fault);
        }
    }

    /// Notes a checksum or hash that is not the one that is needed.
    pub(super) fn sum(&self, at: (Area, Place), what: &'static str, pair: (u32, u32)) {
        let (found, needed) = pair;
        if found != needed {
            let fault = Fault::Checksum {
                what,
                found,
                needed,
            };
            self.note(at.0, at.1, fault);
        }
    }

    /// Reads bytes of the filesystem, or notes that it cannot be done.
    pub(super) fn bytes(&self, at: (Area, Place), offset: u64, length: usize) -> Option<Vec<u8>> {
        let offset = self.base.checked_add(offset)?;
        // What lies past the end costs nothing: descriptors may lead there by the thousand.
        let is_past_end = offset.saturating_add(self::length(length)) > self.image.size_bytes();
        let read = if is_past_end {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            work::add_bytes(length);
            let mut bytes = vec![0; length];
            let read = self.image.read_exact_at(offset, &mut bytes);
            read.map(|()| bytes)
        };
        match read {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.note(at.0, at.1, Fault::Unreadable(error.kind()));
                None
            }
        }
    }

    /// Reads a block, or notes that it cannot be read.
    pub(super) fn block(&self, at: (Area, Place), block: u64) -> Option<Vec<u8>> {
        let offset = block.checked_mul(self.block_size.bytes_u64())?;
        let place = at.1.at(block);
        self.bytes((at.0, place), offset, self.block_size.bytes_usize())
    }

    /// Whether bytes of the filesystem surely are zeros that nobody wrote.
    pub(super) fn is_hole(&self, offset: u64, length: u64) -> bool {
        let Some(offset) = self.base.checked_add(offset) else {
            return false;
        };
        let end = offset.saturating_add(length).min(self.image.size_bytes());
        self.image.next_data(offset).is_some_and(|next| next >= end)
    }

    /// Whether a file may have these blocks.
    pub(super) fn is_inside(&self, run: Run) -> bool {
        let start = run.start.get();
        let end = start.checked_add(run.len);
        start >= self.first_data_block.max(1) && end.is_some_and(|end| end <= self.blocks_count)
    }

    /// What an inode's checksums begin with.
    pub(super) fn inode_seed(&self, ino: u32, generation: u32) -> u32 {
        inode_seed(self.seed, ino, generation)
    }

    /// The blocks of a group.
    pub(super) fn group_run(&self, group: u32) -> Run {
        let start = self.first_data_block + u64::from(group) * self.blocks_per_group;
        let len = self
            .blocks_per_group
            .min(self.blocks_count.saturating_sub(start));
        Run::new(crate::units::Block::new(start), len)
    }

    /// Blocks of a group's inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        let bytes = u64::from(self.inodes_per_group) * length(self.inode_size);
        self.block_size.blocks_for(bytes)
    }

    pub(super) fn descs_per_block(&self) -> u32 {
        let count = self.block_size.bytes_usize() / self.desc_size.max(32);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many blocks hold all descriptors once.
    pub(super) fn desc_blocks(&self) -> u32 {
        self.groups.div_ceil(self.descs_per_block().max(1))
    }

    /// Whether a group keeps a superblock (the kernel's `ext4_bg_has_super`).
    pub(super) fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.has(Feature::SparseSuper2) {
            return self.sb.s_backup_bgs.iter().any(|kept| kept.get() == group);
        }
        if group == 1 || !self.has(Feature::SparseSuper) {
            return true;
        }
        [3, 5, 7].into_iter().any(|base| is_power(group, base))
    }

    /// Blocks for descriptors that a group keeps behind its superblock, or in its place.
    pub(super) fn descriptor_run(&self, group: u32) -> Run {
        let first = self.group_run(group).start;
        let behind = u64::from(self.has_superblock(group));
        let per_block = self.descs_per_block().max(1);
        let meta_first = self.sb.s_first_meta_bg.get();
        let len = if self.has(Feature::MetaBg) && group / per_block >= meta_first {
            let index = group % per_block;
            u64::from(index == 0 || index == 1 || index == per_block - 1)
        } else if behind == 0 {
            0
        } else if self.has(Feature::MetaBg) {
            meta_first.into()
        } else {
            u64::from(self.desc_blocks()) + u64::from(self.sb.s_reserved_gdt_blocks.get())
        };
        // With blocks of 1 KiB in clusters, block 0 is the boot block and the superblock is block 1.
        let boot = u64::from(group == 0 && self.first_data_block == 0 && self.is_small_block());
        Run::new(first.plus(behind + boot), len)
    }

    /// Whether the primary superblock is not in block 0 for its place alone.
    pub(super) fn is_small_block(&self) -> bool {
        self.block_size == BlockSize::MIN
    }
}

/// A structure at `offset` of `bytes`, if they reach that far.
pub(super) fn read<T: AnyBitPattern>(bytes: &[u8], offset: usize) -> Option<T> {
    let end = offset.checked_add(size_of::<T>())?;
    Some(pod_read_unaligned(bytes.get(offset..end)?))
}

/// The little-endian 32 bits at `offset`, zero past the end.
pub(super) fn word(bytes: &[u8], offset: usize) -> u32 {
    let four = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    four.map_or(0, |four| u32::from_le_bytes(*four))
}

/// The little-endian 16 bits at `offset`, zero past the end.
pub(super) fn half(bytes: &[u8], offset: usize) -> u16 {
    let two = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    two.map_or(0, |two| u16::from_le_bytes(*two))
}

/// A length of bytes for arithmetic on places.
pub(super) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// An index below a length that fits memory.
pub(super) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

pub(super) fn blocks_count(sb: &Superblock) -> u64 {
    let high = if features_of(sb).has(Feature::SixtyFourBit) {
        sb.s_blocks_count_hi.get()
    } else {
        0
    };
    join(sb.s_blocks_count_lo.get(), high)
}

pub(super) fn features_of(sb: &Superblock) -> FeatureSet {
    let is_set = |feature: &Feature| word_of(sb, feature.word()) & feature.bit() != 0;
    Feature::ALL.iter().copied().filter(is_set).collect()
}

pub(super) fn word_of(sb: &Superblock, word: Word) -> u32 {
    match word {
        Word::Compat => sb.s_feature_compat.get(),
        Word::Incompat => sb.s_feature_incompat.get(),
        Word::RoCompat => sb.s_feature_ro_compat.get(),
    }
}

fn is_power(number: u32, base: u32) -> bool {
    let mut rest = number;
    while rest > 1 && rest.is_multiple_of(base) {
        rest /= base;
    }
    rest == 1
}
