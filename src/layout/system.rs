//! Given a geometry, places the filesystem's own files; never the tree's.

use super::appended::{AppendedFile, ClaimOwners, Growing, Neighbours, inode_goal};
use super::content::ContentPlanner;
use super::huge::HugeFiles;
use super::ledger::Ledger;
use super::lost_found::made_lost_found_blocks;
use super::quota::QuotaFile;
use super::scattered::Scattered;
use super::{LARGE_FILE, LayoutError, Owner, logical};
use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::options::{QuotaType, Settings};
use crate::tree::NodeIndex;
use crate::units::{Block, Group, Ino, Run};

/// The filesystem's own files.
#[derive(Clone, Debug, Default)]
pub struct SystemFiles {
    /// The root directory's blocks, in their order in it.
    pub root: Vec<Run>,
    /// lost+found, where the tree has none of its own.
    pub lost_found: Option<AppendedFile>,
    /// The resize inode's double indirect block.
    pub resize: Option<Block>,
    /// The journal.
    pub journal: Option<AppendedFile>,
    /// The MMP block.
    pub mmp: Option<Block>,
    /// The quota files of users, groups and projects.
    pub quota_files: Vec<QuotaFile>,
    /// The orphan file.
    pub orphan_file: Option<AppendedFile>,
    /// Huge files and what leads to them.
    pub huge: Option<HugeFiles>,
}

impl SystemFiles {
    /// The quota file of `quota_type`, if there is one.
    pub fn quota_file(&self, quota_type: QuotaType) -> Option<&QuotaFile> {
        self.quota_files
            .iter()
            .find(|file| file.quota_type == quota_type)
    }

    /// Whether one of the files is past 2 GiB, which the superblock must say.
    pub fn has_large_file(&self, geometry: &Geometry) -> bool {
        let journal = self.journal.as_ref().map_or(0, |journal| journal.blocks);
        let resize = self
            .resize
            .map_or(0, |_| resize_inode_length(geometry.addresses_per_block()));
        let is_large = journal.max(resize) * geometry.block_size.bytes_u64() >= LARGE_FILE;
        is_large || self.huge.as_ref().is_some_and(|huge| huge.needs_large_file)
    }
}

/// The length in blocks that the resize inode claims to have: all that a double indirect block
/// reaches.
pub fn resize_inode_length(addresses: u32) -> u64 {
    let addresses = u64::from(addresses);
    addresses * addresses + addresses + 12
}

/// Claims the filesystem's own files, and the root directory's blocks before them.
pub(super) fn claim(
    settings: &Settings,
    geometry: &Geometry,
    planner: &ContentPlanner<'_>,
    ledger: &mut Ledger,
) -> Result<SystemFiles, LayoutError> {
    let mut claims = Claims {
        geometry,
        ledger,
        keep_whole: planner.has_content(),
    };
    let mut files = SystemFiles::default();
    if planner.is_written() {
        files.root = claims.root_directory(planner.root_blocks())?;
        if !planner.has_lost_found() {
            files.lost_found = Some(claims.lost_found()?);
        }
        if geometry.features.has(Feature::ResizeInode) {
            files.resize = Some(claims.resize_inode()?);
        }
        if let Some(blocks) = geometry.journal_blocks {
            files.journal = Some(claims.journal(u64::from(blocks), settings.journal_location)?);
        }
        if geometry.features.has(Feature::Mmp) {
            files.mmp = Some(claims.first_free(Owner::Mmp)?);
        }
    }
    for quota_type in geometry.quota_types.iter() {
        files
            .quota_files
            .push(claims.quota_file(quota_type, planner)?);
    }
    if let Some(blocks) = geometry.orphan_file_blocks {
        files.orphan_file = Some(claims.append_by_blocks(blocks, Block::default(), ORPHAN_FILE)?);
    }
    Ok(files)
}

const LOST_FOUND: ClaimOwners = ClaimOwners {
    data: Owner::LostFound,
    node: Owner::LostFoundNode,
};
const JOURNAL: ClaimOwners = ClaimOwners {
    data: Owner::Journal,
    node: Owner::JournalNode,
};
const ORPHAN_FILE: ClaimOwners = ClaimOwners {
    data: Owner::OrphanFile,
    node: Owner::OrphanFileNode,
};

fn quota_owners(quota_type: QuotaType) -> ClaimOwners {
    match quota_type {
        QuotaType::User => ClaimOwners {
            data: |block| Owner::QuotaFile(QuotaType::User, block),
            node: |number| Owner::QuotaFileNode(QuotaType::User, number),
        },
        QuotaType::Group => ClaimOwners {
            data: |block| Owner::QuotaFile(QuotaType::Group, block),
            node: |number| Owner::QuotaFileNode(QuotaType::Group, number),
        },
        QuotaType::Project => ClaimOwners {
            data: |block| Owner::QuotaFile(QuotaType::Project, block),
            node: |number| Owner::QuotaFileNode(QuotaType::Project, number),
        },
    }
}

/// How many blocks join an extent at once: few enough for it to have a length ext4 can store.
const NEIGHBOURS_AT_ONCE: u64 = 16384;

struct Claims<'a> {
    geometry: &'a Geometry,
    ledger: &'a mut Ledger,
    /// Whether a file is placed where it need not be split, rather than where mke2fs places it:
    /// only a filesystem without content must have its bytes.
    keep_whole: bool,
}

impl Claims<'_> {
    fn root_directory(&mut self, blocks: u64) -> Result<Vec<Run>, LayoutError> {
        let mut runs = Vec::new();
        let mut goal = self.inode_goal(Ino::ROOT);
        let mut claimed = 0;
        while claimed < blocks {
            let owner = Owner::Directory(NodeIndex::ROOT, logical(claimed));
            let run = self.run_for(owner, goal, blocks - claimed)?;
            self.ledger.claim_clusters(run, owner)?;
            runs.push(run);
            claimed += run.len;
            goal = run.end();
        }
        Ok(runs)
    }

    fn lost_found(&mut self) -> Result<AppendedFile, LayoutError> {
        let blocks = made_lost_found_blocks(self.geometry);
        let goal = if self.geometry.features.has(Feature::InlineData) {
            // ext2fs_inline_data_dir_expand has no goal.
            Block::default()
        } else {
            self.inode_goal(Ino::FIRST)
        };
        self.append_by_blocks(blocks, goal, LOST_FOUND)
    }

    fn resize_inode(&mut self) -> Result<Block, LayoutError> {
        let geometry = self.geometry;
        let behind_tables = geometry.superblock_block().get()
            + u64::from(geometry.desc_blocks)
            + u64::from(geometry.reserved_gdt_blocks)
            + 2
            + u64::from(geometry.inode_blocks_per_group);
        let owner = Owner::ResizeDoubleIndirect;
        let run = self.run_for(owner, Block::new(behind_tables), 1)?;
        self.ledger.claim_clusters(run, owner)?;
        Ok(run.start)
    }

    fn journal(&mut self, blocks: u64, wish: Option<u64>) -> Result<AppendedFile, LayoutError> {
        let mut file = Growing::new(self.geometry, JOURNAL, Neighbours::Apart);
        let mut goal = if self.geometry.features.has(Feature::Extent) {
            let goal = wish.map_or_else(|| self.midpoint(), Block::new);
            let goal = self.whole_from(goal, blocks);
            self.ledger.free_from(goal).unwrap_or(goal)
        } else {
            // Without extents libext2fs allocates block by block and heeds no wish.
            self.inode_goal(Ino::JOURNAL)
        };
        while file.blocks < blocks {
            goal = file.make_room(goal, self.ledger)?;
            let most = (blocks - file.blocks).min(file.most_at_once);
            let run = self.run_for(Owner::Journal(logical(file.blocks)), goal, most)?;
            file.append(run, self.ledger)?;
            goal = run.end();
            if goal.get() >= self.geometry.blocks_count {
                goal = Block::new(self.geometry.first_data_block);
            }
        }
        Ok(file.finish())
    }

    /// `goal`, or where from there on, or else from the start, `blocks` blocks are free in a row, if
    /// files are kept whole.
    fn whole_from(&self, goal: Block, blocks: u64) -> Block {
        if !self.keep_whole {
            return goal;
        }
        let end = Block::new(self.geometry.blocks_count);
        let place = self.ledger.find(goal, end, blocks);
        let place = place.or_else(|| self.ledger.find(Block::default(), end, blocks));
        place.unwrap_or(goal)
    }

    /// The first block of the group where a journal does least harm: `get_midpoint_journal_block`.
    fn midpoint(&self) -> Block {
        let geometry = self.geometry;
        let middle = Block::new((geometry.blocks_count - geometry.first_data_block) / 2);
        let mut group = geometry.group_of_block(middle).get();
        let flex_size = geometry.groups_per_flex();
        let free = |group: u32| self.counted_free(Group::new(group));
        let start = if geometry.log_groups_per_flex > 0 && group > flex_size {
            group &= !(flex_size - 1);
            group = (group..geometry.groups)
                .find(|group| free(*group) > 0)
                .unwrap_or(0);
            group
        } else {
            group.saturating_sub(1)
        };
        let end = (group + 1).min(geometry.groups - 1);
        let best = (start + 1..=end).fold(start, |best, group| {
            if free(group) > free(best) {
                group
            } else {
                best
            }
        });
        geometry.group_first_block(Group::new(best))
    }

    /// The free blocks of `group` as libext2fs counts them by now: with clusters it mixes units, and
    /// mke2fs mends that only later.
    fn counted_free(&self, group: Group) -> u64 {
        let run = self.geometry.group_run(group);
        let ratio = self.geometry.cluster_ratio();
        if ratio == 1 {
            return self.ledger.count_free(run);
        }
        let mut free = run.len;
        for claim in self.ledger.claims() {
            let start = claim.run().start.max(run.start).get();
            let end = claim.run().end().min(run.end()).get();
            let blocks = end.saturating_sub(start);
            let counted = match claim.owner {
                Owner::ClusterSlack => 0,
                Owner::Superblock(_)
                | Owner::GroupDescs(_)
                | Owner::MetaBgDescs { .. }
                | Owner::ReservedGdt(_)
                | Owner::BootBlock
                | Owner::BlockBitmap(_)
                | Owner::InodeBitmap(_) => blocks,
                Owner::InodeTable(_) if self.geometry.log_groups_per_flex == 0 => blocks,
                Owner::InodeTable(_) => blocks / ratio,
                Owner::LostFound(_)
                | Owner::LostFoundNode(_)
                | Owner::ResizeDoubleIndirect
                | Owner::Journal(_)
                | Owner::JournalNode(_)
                | Owner::Mmp
                | Owner::QuotaFile(_, _)
                | Owner::QuotaFileNode(_, _)
                | Owner::OrphanFile(_)
                | Owner::OrphanFileNode(_)
                | Owner::HugeFile(_)
                | Owner::HugeFileNode(_)
                | Owner::HugeDirectory(_, _)
                | Owner::HugeDirectoryNode(_, _)
                | Owner::Directory(_, _)
                | Owner::Symlink(_)
                | Owner::File(_, _)
                | Owner::MapNode(_, _)
                | Owner::Xattrs(_)
                | Owner::Value(_, _)
                | Owner::ValueMapNode(_, _) => blocks.div_ceil(ratio),
            };
            free = free.saturating_sub(counted);
        }
        if self.geometry.desc_size < 64 {
            // The count has 16 bits.
            free &= 0xffff;
        }
        free
    }

    /// Claims `blocks` blocks one by one, each the first free one from the one before.
    fn append_by_blocks(
        &mut self,
        blocks: u64,
        goal: Block,
        owners: ClaimOwners,
    ) -> Result<AppendedFile, LayoutError> {
        let mut file = Growing::new(self.geometry, owners, Neighbours::Joined);
        let mut goal = self.whole_from(goal, blocks);
        while file.blocks < blocks {
            goal = file.make_room(goal, self.ledger)?;
            // The rest of a cluster is taken before another one. A block for the extent tree is
            // sought after the first block of an extent, before the others.
            let at_once = self.geometry.cluster_ratio().min(blocks - file.blocks);
            let owner = (owners.data)(logical(file.blocks));
            let start = self.run_for(owner, goal, at_once)?.start;
            file.append(Run::new(start, at_once), self.ledger)?;
            goal = self.append_neighbours(&mut file, start.plus(at_once), blocks)?;
        }
        Ok(file.finish())
    }

    /// Appends what is free from `start` on without a gap, as one extent with the block before, and
    /// gives the last block of the file.
    fn append_neighbours(
        &mut self,
        file: &mut Growing,
        start: Block,
        blocks: u64,
    ) -> Result<Block, LayoutError> {
        let last = Block::new(start.get() - 1);
        let whole = file.blocks == blocks || !self.geometry.features.has(Feature::Extent);
        if whole || start.get() >= self.geometry.blocks_count {
            return Ok(last);
        }
        let most = (blocks - file.blocks).min(NEIGHBOURS_AT_ONCE);
        let owner = (file.owners.data)(logical(file.blocks));
        let run = match self.ledger.kept_run(owner) {
            Some(kept) if kept.start != start => return Ok(last),
            None if !self.ledger.is_free(Run::one(start)) => return Ok(last),
            _ => self.run_for(owner, start, most)?,
        };
        file.append(run, self.ledger)?;
        Ok(Block::new(run.end().get() - 1))
    }

    /// Claims a quota file, cluster by cluster in the order in which its blocks are written: each
    /// behind the block before it in the file, or else from the first free one on.
    fn quota_file(
        &mut self,
        quota_type: QuotaType,
        planner: &ContentPlanner<'_>,
    ) -> Result<QuotaFile, LayoutError> {
        let geometry = self.geometry;
        let ino = geometry.quota_ino(quota_type).unwrap_or_default();
        let shape = planner.quota_shape(quota_type)?;
        let (blocks, ratio) = (
            shape.blocks_in(geometry.block_size),
            geometry.cluster_ratio(),
        );
        let mut file = Growing::new(geometry, quota_owners(quota_type), Neighbours::Apart);
        let mut placed = Scattered::default();
        for at in shape.blocks_in_order(geometry.block_size) {
            if placed.place_of(at).is_some() {
                continue;
            }
            file.blocks = at;
            let goal = match placed.place_of(at.wrapping_sub(1)) {
                Some(before) => before,
                None if at == 0 && !file.has_extents() => self.inode_goal(ino),
                None => Block::default(),
            };
            let goal = file.make_room(goal, self.ledger)?;
            let first = at - at % ratio;
            let mate = (first..first + ratio).find_map(|mate| Some((mate, placed.place_of(mate)?)));
            let start = match mate {
                Some((mate, place)) => Block::new(place.get() + first - mate),
                None => {
                    let owner = (file.owners.data)(logical(first));
                    let most = ratio.min(blocks - first);
                    let start = self.run_for(owner, goal, most)?.start;
                    self.ledger.claim_clusters(Run::new(start, most), owner)?;
                    start
                }
            };
            placed.set(at, start.plus(at - first));
        }
        file.take(blocks, placed, self.ledger)?;
        Ok(QuotaFile::new(quota_type, ino, shape, file.finish()))
    }

    fn inode_goal(&self, ino: Ino) -> Block {
        inode_goal(self.geometry, ino)
    }

    /// Claims the first free block of all.
    fn first_free(&mut self, owner: Owner) -> Result<Block, LayoutError> {
        let run = self.run_for(owner, Block::default(), 1)?;
        self.ledger.claim_clusters(run, owner)?;
        Ok(run.start)
    }

    /// Where `owner` goes, to be claimed at once.
    fn run_for(&mut self, owner: Owner, goal: Block, most: u64) -> Result<Run, LayoutError> {
        let run = self.ledger.run_for(owner, goal, most);
        run.ok_or(LayoutError::no_room(owner, 1))
    }
}
