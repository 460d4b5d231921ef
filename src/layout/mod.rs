//! Given a geometry and a tree, decides every block and inode number; never renders a byte.
//!
//! The order of allocation is mke2fs's, because each search for a free block finds what all before
//! it left; a filesystem without content comes out byte for byte:
//!
//! | order | what | where it is sought |
//! |---|---|---|
//! | 1 | superblocks, descriptors, blocks kept for more | each group's front |
//! | 2 | block bitmaps, inode bitmaps, inode tables | their (flex) group, or all at the front |
//! | 3 | root directory | group 0 |
//! | 4 | lost+found, at least two blocks and 16 KiB | group 0, then each after the last |
//! | 5 | resize inode's double indirect block | behind group 0's tables |
//! | 6 | journal | the middle group, or its neighbour if that has more room |
//! | 7 | block of multiple mount protection | the first free block |
//! | 8 | quota files of users, groups, projects | the first free block, then each after the last; with 1 KiB blocks the second one last of the first six |
//! | 9 | orphan file | the first free block, then each after the last |
//! | 10 | directories, long symbolic links, attribute blocks | the first free block on |
//! | 11 | values of attributes in inodes of their own | behind those |
//! | 12 | nodes of the files' maps, and where those are block maps the data among them | behind those |
//!
//! Data that extents tell of is claimed between rows 2 and 3 if there is plenty of room, and lies where
//! [`DataAllocator`] puts it: in the order of a walk, past what rows 3 to 9 will take and past some blocks set
//! aside for row 10. So it can be written before the rest of the tree is known. Where room is short, it
//! comes with row 12. What was written as it arrived is claimed there too, where it is.
//!
//! Settings, geometry and layout come about without a clock, a file or a thread, and the same each time;
//! with [`Memory`](crate::sink::Memory) as the sink so does the image. A fuzzer of something that reads
//! ext4 can therefore make sound images of what it mutates in its own process, and damage them as it likes:
//!
//! ```
//! use std::error::Error;
//!
//! use mke4fs::raw::emit::{Writing, emit};
//! use mke4fs::raw::geometry::Geometry;
//! use mke4fs::raw::layout::Layout;
//! use mke4fs::options::{Environment, Options, Size};
//! use mke4fs::sink::Memory;
//! use mke4fs::tree::{Content, Metadata, NodeId, Tree};
//!
//! /// The image that `input` stands for: its first bytes choose the options, the rest are files.
//! fn image(input: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
//!     let (choice, rest) = input.split_at_checked(2).ok_or("a fuzzer tries again")?;
//!     let mut options = Options::new();
//!     options
//!         .size(Size::Kibibytes(256 + u64::from(choice[0])))
//!         .block_size(1024 << (choice[1] % 3))
//!         .features(["^has_journal", "^has_journal,inline_data", "none"][usize::from(choice[1] / 3 % 3)]);
//!     let settings = options.resolve(&Environment::fixed(1_700_000_000))?.settings;
//!
//!     let mut tree = Tree::with_root(Metadata::default());
//!     for (number, bytes) in rest.chunks(300).enumerate() {
//!         let name = number.to_string();
//!         let content = Content::from_bytes(bytes);
//!         tree.file_at(NodeId::ROOT, name.as_bytes(), Metadata::default(), content)?;
//!     }
//!     tree.finish()?;
//!
//!     let geometry = Geometry::new(&settings)?;
//!     let layout = Layout::new(&settings, geometry, &tree)?;
//!     let memory = Memory::new(layout.geometry.blocks_count * layout.geometry.block_size.bytes_u64());
//!     emit(&settings, &layout, &tree, &memory, &Writing::default())?;
//!     Ok(memory.into_bytes()?)
//! }
//!
//! let first = image(&[7; 1000])?;
//! assert_eq!(first, image(&[7; 1000])?);
//! # use mke4fs::check::{CheckOptions, check};
//! # assert!(check(&first[..]).is_clean());
//! # for choice in 0..27 {
//! #     let bytes = image(&[&[choice, choice], &[b'x'; 2000][..]].concat())?;
//! #     assert!(check(&bytes[..]).is_clean());
//! # }
//! # Ok::<(), Box<dyn Error>>(())
//! ```

mod appended;
pub mod block_map;
mod casefold;
mod content;
mod data_allocator;
pub mod directory;
mod ea_inodes;
mod error;
pub mod extents;
mod huge;
pub mod inline;
mod inode_type;
mod kept;
mod ledger;
mod levels;
mod lost_found;
mod matched;
mod owner;
mod placement;
mod quota;
mod quota_usage;
mod scattered;
mod space;
mod system;
mod tables;
mod verity;
mod warning;
mod xattr_split;
mod xattrs;

use std::ops::Range;

pub use appended::AppendedFile;
pub use casefold::CasefoldFault;
pub(crate) use content::TreePlan;
pub use content::{
    Content, Demand, Directory, EntriesIn, FileData, MapOf, NoEntries, NodePlan, inodes_needed,
    inodes_needed_at_most,
};
pub use data_allocator::{DataAllocator, DataPlace, placed_pieces};
pub use ea_inodes::ValueInode;
pub use error::LayoutError;
pub use huge::{HugeDirectory, HugeFiles, HugeInode};
pub(crate) use inode_type::inode_type;
pub use ledger::{Claim, ClaimError, Ledger};
pub use matched::Moved;
pub(crate) use matched::{Matched, Stays};
use matched::{Stop, moved};
pub use owner::Owner;
pub use quota::{QuotaFile, Usage};
pub use system::{SystemFiles, resize_inode_length};
pub use tables::GroupTables;
pub use verity::{VerityPlan, VerityPlans};
pub use warning::{LayoutWarning, VerityLoss};
pub use xattr_split::{StoredXattr, XattrFault};
pub use xattrs::XattrPlans;

use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::options::{HugeFilesOptions, QuotaTypes, Settings};
use crate::tree::Tree;
use crate::units::{Block, Group, Ino, LogicalBlock, Run};
use content::ContentPlanner;
use tables::Placement;

/// The size in bytes from which a file needs large_file.
const LARGE_FILE: u64 = 1 << 31;

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The counts and sizes.
    pub geometry: Geometry,
    /// Every claim, in ascending order of blocks.
    pub ledger: Ledger,
    /// Where each group's tables are.
    pub tables: Vec<GroupTables>,
    /// Each group's free blocks, as the ledger has them.
    free_blocks: Vec<u64>,
    /// Whether each group has its own tables in it.
    tables_in_own_groups: bool,
    /// Whether mke2fs takes every group's tables off its free blocks twice.
    tables_counted_twice: bool,
    /// `s_overhead_clusters`.
    pub overhead_clusters: u64,
    /// The filesystem's own files.
    pub system: SystemFiles,
    /// Where the tree's nodes are.
    pub content: Content,
    /// Where extended attributes are.
    pub xattrs: XattrPlans,
    /// What stayed where a base has it, if there is one.
    pub kept: Option<KeptCounts>,
    /// Which nodes a base has, if anything stayed there.
    pub(crate) stays: Stays,
    /// What could not be kept as it was.
    pub warnings: Vec<LayoutWarning>,
}

/// What stayed where a base has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptCounts {
    /// Inodes of the tree that the base has at the same path, the root's included.
    pub inodes: u64,
    /// Inodes of the tree that it has not.
    pub inodes_added: u64,
    /// Inodes of the base that the tree has not.
    pub inodes_removed: u64,
    /// Blocks of files and directories, and of what leads to them, that are where they were.
    pub blocks: u64,
}

/// What every filesystem of a geometry has, whatever its content.
struct Front {
    ledger: Ledger,
    placement: Placement,
    tables: Vec<GroupTables>,
    overhead_clusters: u64,
}

impl Front {
    fn new(settings: &Settings, geometry: &Geometry, stop: Stop<'_>) -> Result<Self, LayoutError> {
        let mut ledger = Ledger::new(geometry.first_data_block, geometry.blocks_count);
        tables::claim_backups(geometry, &mut ledger, stop)?;
        // mke2fs packs tables only where flex_bg lets them leave their groups.
        let packs = settings.packed_meta_blocks && geometry.features.has(Feature::FlexBg);
        let placement = if packs {
            Placement::Packed
        } else {
            Placement::Spread {
                stride: u32::from(settings.raid_stride),
            }
        };
        let tables = tables::claim_tables(geometry, placement, &mut ledger, stop)?;
        ledger.form_clusters(geometry.cluster_ratio())?;
        let metadata_blocks =
            geometry.blocks_count - geometry.first_data_block - ledger.total_free();
        let journal_blocks = geometry.journal_blocks.map_or(0, u64::from);
        let mut overhead_clusters = geometry.clusters_for(metadata_blocks)
            + geometry.clusters_for(journal_blocks)
            + geometry.first_data_block;
        if settings.super_only {
            overhead_clusters = 0;
        }
        Ok(Self {
            ledger,
            placement,
            tables,
            overhead_clusters,
        })
    }
}

/// What is laid out.
struct Subject<'a> {
    tree: &'a Tree,
    /// What it was in a base.
    matched: &'a Matched<'a>,
    /// How it was planned before; never with a base.
    plan: Option<TreePlan<'a>>,
}

impl<'a> Subject<'a> {
    fn new(tree: &'a Tree, matched: &'a Matched<'a>) -> Self {
        let plan = None;
        Self {
            tree,
            matched,
            plan,
        }
    }

    fn planner(
        self,
        settings: &Settings,
        geometry: &Geometry,
    ) -> Result<ContentPlanner<'a>, LayoutError> {
        match self.plan {
            Some(plan) => plan.sized(settings, geometry),
            None => ContentPlanner::based(settings, geometry, self.tree, self.matched),
        }
    }
}

impl Layout {
    /// The layout of `tree` in a filesystem of `geometry`.
    ///
    /// # Errors
    /// Where something does not fit or cannot be stored.
    pub fn new(settings: &Settings, geometry: Geometry, tree: &Tree) -> Result<Self, LayoutError> {
        Self::of(settings, geometry, Subject::new(tree, &Matched::default()))
    }

    /// The layout of the tree that `plan` plans in a filesystem of `geometry`.
    ///
    /// # Errors
    /// Where something does not fit or cannot be stored.
    pub(crate) fn planned(
        settings: &Settings,
        geometry: Geometry,
        plan: TreePlan<'_>,
    ) -> Result<Self, LayoutError> {
        let subject = Subject {
            tree: plan.tree(),
            matched: &Matched::default(),
            plan: Some(plan),
        };
        Self::of(settings, geometry, subject)
    }

    /// The same, with what `matched` says of a base where it is there, if anything can stay.
    ///
    /// # Errors
    /// Where something does not fit or cannot be stored.
    pub(crate) fn keeping(
        settings: &Settings,
        geometry: Geometry,
        tree: &Tree,
        matched: &Matched<'_>,
    ) -> Result<Self, LayoutError> {
        let alone = matched.without_base();
        let anew = |geometry| Self::of(settings, geometry, Subject::new(tree, &alone));
        let Some(base) = matched.base() else {
            return anew(geometry);
        };
        if settings.no_files().is_some() || settings.huge_files.is_some() {
            return anew(geometry);
        }
        let warning = match moved(base, &geometry) {
            Some(moved) => LayoutWarning::BaseMoved(moved),
            None => match Self::of(settings, geometry.clone(), Subject::new(tree, matched)) {
                // Files in several pieces may need more for their maps than whole ones.
                Err(
                    LayoutError::NoRoom { .. }
                    | LayoutError::ContentTooBig { .. }
                    | LayoutError::TooFewInodes { .. },
                ) => LayoutWarning::BaseFull,
                laid_out => return laid_out,
            },
        };
        let mut layout = anew(geometry)?;
        layout.warnings.push(warning);
        Ok(layout)
    }

    fn of(
        settings: &Settings,
        geometry: Geometry,
        subject: Subject<'_>,
    ) -> Result<Self, LayoutError> {
        let (tree, matched) = (subject.tree, subject.matched);
        if let Some(reason) = settings.no_files().filter(|_| !tree.is_empty()) {
            return Err(LayoutError::ContentWithoutInodes(reason));
        }
        if geometry.is_journal_device() {
            return Self::of_journal_device(geometry);
        }
        let Front {
            mut ledger,
            placement,
            tables,
            overhead_clusters,
        } = Front::new(settings, &geometry, matched.stop())?;
        let mut planner = subject.planner(settings, &geometry)?;
        let warnings = planner.take_warnings();
        if !planner.keep(matched, &mut ledger) {
            placement::claim(settings, &geometry, &mut planner, &mut ledger)?;
        }
        let system = system::claim(settings, &geometry, &planner, &mut ledger)?;
        let root = system.root.first().map(|run| run.start);
        let place = huge::HugePlace {
            geometry: &geometry,
            rules: planner.rules(),
            free: ledger
                .total_free()
                .saturating_sub(placement.counted_twice(&geometry)),
            root: root.unwrap_or_default(),
        };
        let mut system = system;
        if let Some(wish) = &settings.huge_files {
            system.huge = Some(claim_huge(wish, tree, &place, &mut ledger)?);
        }
        let (content, xattrs) = if settings.super_only {
            planner.without_places()
        } else {
            planner.claim(&system.root, &mut ledger)?
        };
        let counted = quota_usage::Counted {
            geometry: &geometry,
            tree,
            content: &content,
            xattrs: &xattrs,
        };
        counted.count(&mut system);
        let mut geometry = geometry;
        if system.has_large_file(&geometry) || content.has_large_file {
            geometry.features = geometry.features.with(Feature::LargeFile);
        }
        if !xattrs.is_empty() {
            geometry.features = geometry.features.with(Feature::ExtAttr);
        }
        matched.stop().check()?;
        let kept = matched.counts(&ledger);
        ledger.keep_nothing();
        ledger.sort();
        let runs = geometry.all_groups().map(|group| geometry.group_run(group));
        let free_blocks = ledger.free_in_each(runs);
        Ok(Self {
            tables_in_own_groups: placement.is_in_own_groups(&geometry),
            tables_counted_twice: tree.is_empty() && placement.counts_twice(&geometry),
            stays: matched.stays(tree, &ledger),
            geometry,
            ledger,
            tables,
            free_blocks,
            overhead_clusters,
            system,
            content,
            xattrs,
            kept,
            warnings,
        })
    }

    /// A journal that has a device for itself.
    fn of_journal_device(geometry: Geometry) -> Result<Self, LayoutError> {
        let mut ledger = Ledger::new(geometry.first_data_block, geometry.blocks_count);
        let superblock = Block::new(geometry.first_data_block);
        ledger.claim(Run::one(superblock), Owner::Superblock(Group::new(0)))?;
        let journal = superblock.plus(1);
        let blocks = geometry.blocks_count - journal.get();
        let owner = Owner::Journal(LogicalBlock::new(0));
        ledger.claim(Run::new(journal, blocks), owner)?;
        Ok(Self {
            content: Content::none(&geometry),
            geometry,
            ledger,
            tables: Vec::new(),
            free_blocks: Vec::new(),
            tables_in_own_groups: false,
            tables_counted_twice: false,
            overhead_clusters: 0,
            system: SystemFiles::default(),
            xattrs: XattrPlans::default(),
            kept: None,
            stays: Stays::default(),
            warnings: Vec::new(),
        })
    }

    /// The free blocks that `group`'s descriptor states.
    ///
    /// libext2fs counts tables as used before they are placed unless there are flex groups; a flex
    /// group of one group is none to it, but mke2fs still packs the tables by the feature's rules
    /// and counts them again. An empty filesystem is byte for byte mke2fs's, so it has these counts; one with
    /// content is not, and has the right ones.
    pub fn stated_free_blocks(&self, group: Group) -> u64 {
        self.free_blocks_of(group)
            .wrapping_sub(self.counted_twice())
            & u64::from(u32::MAX)
    }

    /// The free blocks that the superblock states.
    pub fn stated_total_free(&self) -> u64 {
        let twice = u64::from(self.geometry.groups) * self.counted_twice();
        let free = self.ledger.total_free().wrapping_sub(twice);
        if self.geometry.features.has(Feature::SixtyFourBit) {
            free
        } else {
            free & u64::from(u32::MAX)
        }
    }

    fn counted_twice(&self) -> u64 {
        if self.tables_counted_twice {
            2 + u64::from(self.geometry.inode_blocks_per_group)
        } else {
            0
        }
    }

    /// The last inode in use; all before it are in use or reserved.
    pub fn last_ino(&self) -> Ino {
        let huge = self.system.huge.as_ref();
        huge.map_or_else(|| self.content.last_ino(), HugeFiles::last_ino)
    }

    /// The inodes from the first that `group`'s bitmap states to be in use to the last, counted from the
    /// group's first; with a base, not all of them are.
    pub fn used_inodes(&self, group: Group) -> Range<u32> {
        let per_group = self.geometry.inodes_per_group;
        let before = group.get() * per_group;
        let within = |ino: u32| ino.saturating_sub(before).min(per_group);
        let first = self.geometry.first_used_ino().get();
        let used = within(first - 1)..within(self.last_ino().get());
        match self.unused_inodes_in(group, used.clone()).last() {
            Some(gap) if gap.end == used.end => used.start..gap.start,
            _ => used,
        }
    }

    /// The inodes among [`used_inodes`](Self::used_inodes) that are not in use.
    pub fn unused_inodes(&self, group: Group) -> impl Iterator<Item = Range<u32>> {
        let used = self.used_inodes(group);
        self.unused_inodes_in(group, used)
    }

    fn unused_inodes_in(
        &self,
        group: Group,
        inodes: Range<u32>,
    ) -> impl Iterator<Item = Range<u32>> {
        let first = self.geometry.group_first_ino(group).get();
        let inos = first + inodes.start..first + inodes.end;
        let gaps = self.content.gaps_in(inos);
        gaps.map(move |gap| gap.start - first..gap.end - first)
    }

    /// The inodes that are free.
    pub fn free_inodes(&self) -> u32 {
        if self.geometry.is_journal_device() {
            return 0;
        }
        let gaps = self
            .content
            .gaps_in(0..u32::MAX)
            .map(|gap| gap.end - gap.start);
        let used = self.last_ino().get() + 1 - self.geometry.first_used_ino().get();
        self.geometry.inodes_count - used + gaps.sum::<u32>()
    }

    /// Whether the block bitmap of `group` need not be written: no block of it is in use but for
    /// tables of its own, which the kernel finds by itself, and no inode of it was ever looked at.
    /// The last group's is always written, for its padding.
    ///
    /// A group with an inode that is not reserved counts as used: libext2fs initialises both
    /// bitmaps when it takes one. Where flex groups gather tables, a table counts as a block that
    /// was taken; where each group has its own, everybody knows of them (`ext2fs_allocate_group_table`
    /// clears the flag in the first case alone).
    pub fn block_bitmap_uninit(&self, group: Group) -> bool {
        if !self.geometry.features.has_group_desc_csum()
            || self.initialises_bitmaps(group)
            || group == self.geometry.last_group()
            || !self.used_inodes(group).is_empty()
        {
            return false;
        }
        let run = self.geometry.group_run(group);
        let mut own = 0;
        if self.tables_in_own_groups {
            own = self.table_blocks(group);
        }
        // What else there is may hide in what the tables leave of a cluster.
        own == run.len - self.free_blocks_of(group) && !self.geometry.backups(group).is_any()
    }

    /// The blocks of the clusters that hold `group`'s tables.
    fn table_blocks(&self, group: Group) -> u64 {
        let tables = self.tables_of(group);
        let ratio = self.geometry.cluster_ratio();
        let length = u64::from(self.geometry.inode_blocks_per_group);
        let mut runs = [
            Run::one(tables.block_bitmap),
            Run::one(tables.inode_bitmap),
            Run::new(tables.inode_table, length),
        ];
        runs.sort_unstable_by_key(|run| run.start);
        let mut end = 0;
        let mut clusters = 0;
        for run in runs {
            let start = (run.start.get() / ratio).max(end);
            end = run.end().get().div_ceil(ratio).max(end);
            clusters += end - start;
        }
        clusters * ratio
    }

    /// Whether no inode of `group` is in use, so that its inode bitmap need not be written.
    pub fn inode_bitmap_uninit(&self, group: Group) -> bool {
        self.geometry.features.has_group_desc_csum()
            && self.used_inodes(group).is_empty()
            && !self.initialises_bitmaps(group)
    }

    /// Where only superblocks and descriptors are made: how many bytes of the old filesystem must be
    /// there, for its inode tables get the inodes of quota and orphan files.
    pub fn old_bytes_needed(&self) -> u64 {
        if !self.geometry.super_only {
            return 0;
        }
        let geometry = &self.geometry;
        let ends = geometry.quota_and_orphan_inos().map(|ino| {
            let group = geometry.group_of_ino(ino);
            let before = ino.get() - geometry.group_first_ino(group).get();
            let bytes = u64::from(before) * u64::from(geometry.inode_size);
            let block = bytes / geometry.block_size.bytes_u64();
            let table = self.tables_of(group).inode_table;
            (table.get() + block + 1) * geometry.block_size.bytes_u64()
        });
        ends.max().unwrap_or(0)
    }

    /// Whether the bitmaps of `group` count as initialised although nothing of them is in use:
    /// libext2fs does that to all groups from that of a new inode on.
    fn initialises_bitmaps(&self, group: Group) -> bool {
        self.geometry.super_only
            && self.writes_inode_bitmaps()
            && group >= self.geometry.group_of_ino(self.geometry.first_used_ino())
    }

    /// Whether `group`'s descriptor has the checksum that it had before its inodes were stated to be
    /// in use, one and all: nothing changed it since.
    pub fn has_early_checksum(&self, group: Group) -> bool {
        let writes = self.writes_block_bitmaps() && !self.block_bitmap_uninit(group)
            || self.writes_inode_bitmaps() && !self.inode_bitmap_uninit(group);
        self.geometry.super_only && !writes && self.geometry.log_cluster_ratio == 0
    }

    /// Whether block bitmaps are written: in any case but where nothing claimed a block that is
    /// not a group's own.
    pub fn writes_block_bitmaps(&self) -> bool {
        !self.geometry.super_only
            || self.geometry.quota_types != QuotaTypes::NONE
            || self.writes_inode_bitmaps()
    }

    /// Whether inode bitmaps are written: in any case but where no inode was taken.
    pub fn writes_inode_bitmaps(&self) -> bool {
        !self.geometry.super_only || self.last_ino() >= self.geometry.first_used_ino()
    }

    /// The tables of `group`.
    pub fn tables_of(&self, group: Group) -> GroupTables {
        self.tables[index(group)]
    }

    fn free_blocks_of(&self, group: Group) -> u64 {
        self.free_blocks[index(group)]
    }
}

fn claim_huge(
    wish: &HugeFilesOptions,
    tree: &Tree,
    place: &huge::HugePlace<'_>,
    ledger: &mut Ledger,
) -> Result<HugeFiles, LayoutError> {
    if tree.len() > 1 {
        return Err(LayoutError::HugeFilesWithContent);
    }
    huge::claim(wish, place, ledger)
}

/// How many inodes the values of attributes need in a filesystem with `tree` in it.
///
/// # Errors
/// Where an attribute cannot be stored.
pub fn value_inodes_needed(settings: &Settings, tree: &Tree) -> Result<u64, LayoutError> {
    if !settings.features.has(Feature::EaInode) {
        return Ok(0);
    }
    let plans = xattrs::plan(settings, tree, 0)?;
    Ok(u64::try_from(plans.values().len()).unwrap_or(u64::MAX))
}

fn index(group: Group) -> usize {
    usize::try_from(group.get()).expect("a group's number fits any usize")
}

/// `count` as a logical block, which every caller has bounded.
fn logical(count: u64) -> LogicalBlock {
    LogicalBlock::new(u32::try_from(count).expect("a file has fewer than 2^32 blocks"))
}
