//! Given a geometry, places the filesystem's own files; never the tree's.

use super::content::Draft;
use super::extents::{AppendedTree, Extent, cut};
use super::ledger::Ledger;
use super::{LayoutError, Owner, logical};
use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::options::Settings;
use crate::tree::NodeId;
use crate::units::{Block, Group, Ino, LogicalBlock, Run};

/// The filesystem's own files.
#[derive(Clone, Debug)]
pub struct SystemFiles {
    /// The root directory's blocks, in their order in it.
    pub root: Vec<Run>,
    /// lost+found, where the tree has none of its own.
    pub lost_found: Option<AppendedFile>,
    /// The resize inode's double indirect block.
    pub resize: Option<Block>,
    /// The journal.
    pub journal: Option<AppendedFile>,
    /// The orphan file.
    pub orphan_file: Option<AppendedFile>,
}

/// A file that grew by appending, as libext2fs makes them.
#[derive(Clone, Debug)]
pub struct AppendedFile {
    /// Its length in blocks.
    pub blocks: u64,
    /// Its extent tree.
    pub tree: AppendedTree,
}

impl AppendedFile {
    /// All blocks of it, those of its tree included.
    pub fn all_blocks(&self) -> u64 {
        self.blocks + u64::try_from(self.tree.blocks().len()).unwrap_or(u64::MAX)
    }
}

impl SystemFiles {
    /// Whether one of the files is past 2 GiB, which the superblock must say.
    pub fn has_large_file(&self, geometry: &Geometry) -> bool {
        let journal = self.journal.as_ref().map_or(0, |journal| journal.blocks);
        let resize = self
            .resize
            .map_or(0, |_| resize_inode_length(geometry.addresses_per_block()));
        journal.max(resize) * geometry.block_size.bytes_u64() >= LARGE_FILE
    }
}

/// The size in bytes from which a file needs large_file.
pub(super) const LARGE_FILE: u64 = 1 << 31;

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
    draft: &Draft<'_>,
    ledger: &mut Ledger,
) -> Result<SystemFiles, LayoutError> {
    let mut claims = Claims { geometry, ledger };
    let root = claims.root_directory(draft.root_blocks())?;
    let lost_found = if draft.has_lost_found() {
        None
    } else {
        Some(claims.lost_found()?)
    };
    let resize = if geometry.features.has(Feature::ResizeInode) {
        Some(claims.resize_inode()?)
    } else {
        None
    };
    let journal = match geometry.journal_blocks {
        Some(blocks) => Some(claims.journal(u64::from(blocks), settings.journal_location)?),
        None => None,
    };
    let orphan_file = match geometry.orphan_file_blocks {
        Some(blocks) => Some(claims.append_by_blocks(blocks, Block::default(), ORPHAN_FILE)?),
        None => None,
    };
    Ok(SystemFiles {
        root,
        lost_found,
        resize,
        journal,
        orphan_file,
    })
}

/// lost+found's length in blocks: 16 KiB, and at least two and at most twelve blocks.
pub(super) fn lost_found_blocks(block_bytes: u32) -> u64 {
    u64::from((16 * 1024 / block_bytes).clamp(2, 12))
}

/// How the runs of a file and the nodes of its tree are claimed.
#[derive(Clone, Copy)]
struct Owners {
    data: fn(LogicalBlock) -> Owner,
    node: fn(u32) -> Owner,
}

const LOST_FOUND: Owners = Owners {
    data: Owner::LostFound,
    node: Owner::LostFoundNode,
};
const JOURNAL: Owners = Owners {
    data: Owner::Journal,
    node: Owner::JournalNode,
};
const ORPHAN_FILE: Owners = Owners {
    data: Owner::OrphanFile,
    node: Owner::OrphanFileNode,
};

struct Claims<'a> {
    geometry: &'a Geometry,
    ledger: &'a mut Ledger,
}

impl Claims<'_> {
    fn root_directory(&mut self, blocks: u64) -> Result<Vec<Run>, LayoutError> {
        let mut runs = Vec::new();
        let mut goal = self.inode_goal(Ino::ROOT);
        let mut claimed = 0;
        while claimed < blocks {
            let owner = Owner::Directory(NodeId::ROOT, logical(claimed));
            let start = self.near(goal, owner)?;
            let run = self.ledger.free_run(start, blocks - claimed);
            self.ledger.claim(run, owner)?;
            runs.push(run);
            claimed += run.len;
            goal = run.end();
        }
        Ok(runs)
    }

    fn lost_found(&mut self) -> Result<AppendedFile, LayoutError> {
        let blocks = lost_found_blocks(self.geometry.block_size.bytes());
        self.append_by_blocks(blocks, self.inode_goal(Ino::FIRST), LOST_FOUND)
    }

    fn resize_inode(&mut self) -> Result<Block, LayoutError> {
        let geometry = self.geometry;
        let behind_tables = geometry.first_data_block
            + u64::from(geometry.desc_blocks)
            + u64::from(geometry.reserved_gdt_blocks)
            + 2
            + u64::from(geometry.inode_blocks_per_group);
        let owner = Owner::ResizeDoubleIndirect;
        let block = self.near(Block::new(behind_tables), owner)?;
        self.ledger.claim(Run::one(block), owner)?;
        Ok(block)
    }

    fn journal(&mut self, blocks: u64, wish: Option<u64>) -> Result<AppendedFile, LayoutError> {
        let wish = wish.map_or_else(|| self.midpoint(), Block::new);
        let goal = self.ledger.free_from(wish).unwrap_or(wish);
        let mut file = Growing::new(self.geometry, JOURNAL);
        let mut goal = goal;
        while file.blocks < blocks {
            let start = self.near(goal, Owner::Journal(logical(file.blocks)))?;
            let most = (blocks - file.blocks).min(u64::from(crate::ondisk::extent::MAX_BLOCKS));
            let run = self.ledger.free_run(start, most);
            file.append(run, self.ledger)?;
            goal = run.end();
            if goal.get() >= self.geometry.blocks_count {
                goal = Block::new(self.geometry.first_data_block);
            }
        }
        Ok(file.finish())
    }

    /// The first block of the group where a journal does least harm: `get_midpoint_journal_block`.
    fn midpoint(&self) -> Block {
        let geometry = self.geometry;
        let middle = Block::new((geometry.blocks_count - geometry.first_data_block) / 2);
        let mut group = geometry.group_of_block(middle).get();
        let flex_size = geometry.groups_per_flex();
        let free = |group: u32| {
            self.ledger
                .count_free(geometry.group_run(Group::new(group)))
        };
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

    /// Claims `blocks` blocks one by one, each the first free one from the one before.
    fn append_by_blocks(
        &mut self,
        blocks: u64,
        goal: Block,
        owners: Owners,
    ) -> Result<AppendedFile, LayoutError> {
        let mut file = Growing::new(self.geometry, owners);
        let mut goal = goal;
        while file.blocks < blocks {
            goal = self.near(goal, (owners.data)(logical(file.blocks)))?;
            file.append(Run::one(goal), self.ledger)?;
        }
        Ok(file.finish())
    }

    /// The first block of the (flex) group that `ino` lies in: `ext2fs_find_inode_goal`.
    fn inode_goal(&self, ino: Ino) -> Block {
        let group = self.geometry.group_of_ino(ino).get();
        let first = group & !(self.geometry.groups_per_flex() - 1);
        self.geometry.group_first_block(Group::new(first))
    }

    fn near(&self, goal: Block, owner: Owner) -> Result<Block, LayoutError> {
        self.ledger
            .free_near(goal)
            .ok_or(LayoutError::no_room(owner, 1))
    }
}

/// A file while it grows.
struct Growing {
    owners: Owners,
    blocks: u64,
    tree: AppendedTree,
    last: Option<Run>,
    /// The run that grows in the ledger only once it ends: one claim for neighbouring blocks.
    first_data_block: Block,
}

impl Growing {
    fn new(geometry: &Geometry, owners: Owners) -> Self {
        Self {
            owners,
            blocks: 0,
            tree: AppendedTree::new(geometry.block_size),
            last: None,
            first_data_block: Block::new(geometry.first_data_block),
        }
    }

    /// Claims `run` as the file's next blocks, and a block for its tree where that must grow.
    fn append(&mut self, run: Run, ledger: &mut Ledger) -> Result<(), LayoutError> {
        let at = logical(self.blocks);
        ledger.claim(run, (self.owners.data)(at))?;
        self.blocks += run.len;
        let neighbours = self.last.is_some_and(|last| last.end() == run.start);
        self.last = Some(run);
        let joined = neighbours && run.len == 1 && self.tree.lengthen(1).is_some();
        if joined {
            return Ok(());
        }
        for extent in cut(at, run) {
            self.push(extent, ledger)?;
        }
        Ok(())
    }

    fn push(&mut self, extent: Extent, ledger: &mut Ledger) -> Result<(), LayoutError> {
        let mut nodes = u32::try_from(self.tree.blocks().len()).unwrap_or(u32::MAX);
        let node = self.owners.node;
        let first = self.first_data_block;
        self.tree
            .push(extent, |goal| {
                let goal = if goal.get() == 0 { first } else { goal };
                let block = ledger.free_near(goal)?;
                ledger.claim(Run::one(block), node(nodes)).ok()?;
                nodes += 1;
                Some(block)
            })
            .ok_or(LayoutError::no_room(node(nodes), 1))
    }

    fn finish(self) -> AppendedFile {
        AppendedFile {
            blocks: self.blocks,
            tree: self.tree,
        }
    }
}
