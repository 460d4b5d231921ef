//! Given what huge files are asked for, places them and the directories that lead to them where mke2fs
//! does (`mk_hugefiles`); never what else is in a filesystem.
//!
//! They are in a filesystem that has nothing else. Each is one piece where that can be: what comes to
//! lie before them was kept free for the directory that has their names.

use std::collections::BTreeMap;

use super::appended::{AppendedFile, ClaimOwners, Growing, Neighbours, inode_goal, push};
use super::directory::{DirectoryPlan, DirectoryRules, Entries, Names};
use super::extents::{AppendedTree, Extent};
use super::ledger::Ledger;
use super::{LayoutError, Owner, logical};
use crate::geometry::Geometry;
use crate::ondisk::dir::FileType;
use crate::ondisk::extent::MAX_BLOCKS;
use crate::options::HugeFilesOptions;
use crate::units::{Block, BlockSize, Ino, LogicalBlock, Run};

/// Huge files, and all that leads to them.
#[derive(Clone, Debug)]
pub struct HugeFiles {
    /// The root directory, and those that were made, each in the one before; the last has the files.
    pub directories: Vec<HugeDirectory>,
    /// The files, by number.
    pub files: Vec<AppendedFile>,
    /// The blocks of each, where that was asked for or came out of their number.
    pub blocks_each: Option<u64>,
    /// Whether their size needs large_file.
    pub needs_large_file: bool,
    first_file: Ino,
    /// The nodes of the files' trees by place: the file, and the node's number in it.
    nodes: BTreeMap<Block, (usize, usize)>,
}

/// What an inode of theirs is.
#[derive(Clone, Copy, Debug)]
pub enum HugeInode<'a> {
    /// A directory that was made for them.
    Directory(&'a HugeDirectory),
    /// A file.
    File(&'a AppendedFile),
}

/// A directory on the way to huge files.
#[derive(Clone, Debug)]
pub struct HugeDirectory {
    /// Its inode.
    pub ino: Ino,
    /// Its parent's inode.
    pub parent: Ino,
    /// Its subdirectories.
    pub subdirectories: u16,
    /// What its blocks hold.
    pub plan: DirectoryPlan,
    /// Where they are.
    pub tree: AppendedTree,
    entries: Vec<(Vec<u8>, Ino, FileType)>,
    blocks: Vec<Block>,
}

impl HugeDirectory {
    fn new(ino: Ino, parent: Ino, block_size: BlockSize) -> Self {
        Self {
            ino,
            parent,
            subdirectories: 0,
            plan: DirectoryPlan::empty(1),
            tree: AppendedTree::new(block_size),
            entries: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// Its blocks, those of its tree included.
    pub fn all_blocks(&self) -> u64 {
        let blocks = self.blocks.len() + self.tree.blocks().len();
        u64::try_from(blocks).unwrap_or(u64::MAX)
    }

    fn enter(&mut self, name: &[u8], ino: Ino, file_type: FileType) {
        self.entries.push((name.to_vec(), ino, file_type));
        self.subdirectories += u16::from(file_type == FileType::Directory);
    }
}

impl Names for HugeDirectory {
    fn count(&self) -> usize {
        self.entries.len()
    }

    fn name(&self, index: usize) -> &[u8] {
        &self.entries[index].0
    }
}

impl Entries for HugeDirectory {
    fn file_type(&self, index: usize) -> FileType {
        self.entries[index].2
    }

    fn ino(&self, index: usize) -> Ino {
        self.entries[index].1
    }
}

impl HugeFiles {
    /// What `ino` is of them; the root directory is none of theirs.
    pub fn inode(&self, ino: Ino) -> Option<HugeInode<'_>> {
        let made = self.directories.iter().skip(1);
        if let Some(directory) = made.into_iter().find(|directory| directory.ino == ino) {
            return Some(HugeInode::Directory(directory));
        }
        let number = ino.get().checked_sub(self.first_file.get())?;
        let file = self.files.get(usize::try_from(number).ok()?)?;
        Some(HugeInode::File(file))
    }

    /// The inodes of the directories that were made for them.
    pub fn made_directories(&self) -> impl Iterator<Item = Ino> + '_ {
        self.directories
            .iter()
            .skip(1)
            .map(|directory| directory.ino)
    }

    /// The last inode of theirs.
    pub fn last_ino(&self) -> Ino {
        let files = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        Ino::new(self.first_file.get().saturating_add(files) - 1)
    }

    /// The file and the number of the node of its tree at `place`, and the file's inode.
    pub fn node_at(&self, place: Block) -> Option<(&AppendedFile, usize, Ino)> {
        let (file, number) = *self.nodes.get(&place)?;
        let ino = self.first_file.get() + u32::try_from(file).ok()?;
        Some((self.files.get(file)?, number, Ino::new(ino)))
    }
}

/// Of a huge file the place says which one it is.
const HUGE_FILE: ClaimOwners = ClaimOwners {
    data: Owner::HugeFile,
    node: Owner::HugeFileNode,
};

/// What they are placed in.
pub(super) struct HugePlace<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) rules: DirectoryRules,
    /// The free blocks that the superblock states by now.
    pub(super) free: u64,
    /// The root directory's block.
    pub(super) root: Block,
}

/// How many there are, and where they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    files: u64,
    /// 0 is what there is room for.
    blocks: u64,
    /// The blocks that are free for them.
    room: u64,
    /// The free blocks to be left before them.
    slack: u64,
}

/// Places the huge files of `wish` in `ledger`.
pub(super) fn claim(
    wish: &HugeFilesOptions,
    place: &HugePlace<'_>,
    ledger: &mut Ledger,
) -> Result<HugeFiles, LayoutError> {
    let geometry = place.geometry;
    let mut next_ino = geometry.last_own_ino().get() + 1;
    let mut directories = make_directories(wish, place, &mut next_ino, ledger)?;
    let made = u64::try_from(wish.directory.len()).unwrap_or(u64::MAX);
    let free = place.free.saturating_sub(made);
    let numbers = numbers(wish, geometry.block_size, free).ok_or_else(|| no_room(wish.blocks))?;
    let first_file = Ino::new(next_ino);
    let needed = numbers.files.saturating_add((next_ino - 1).into());
    if needed > geometry.inodes_count.into() {
        let inodes = geometry.inodes_count;
        return Err(LayoutError::TooFewInodes { needed, inodes });
    }
    let home = directories.len() - 1;
    let first_entry = directories[home].entries.len();
    let names = (0..numbers.files).zip(next_ino..);
    for (number, ino) in names {
        let name = name(wish, number, numbers.files);
        directories[home].enter(&name, Ino::new(ino), FileType::Regular);
    }
    plan(&mut directories, place)?;
    let mut goal = align_up(start(geometry, numbers.slack, ledger), wish.align);
    let mut huge = HugeFiles {
        directories,
        files: Vec::new(),
        blocks_each: Some(numbers.blocks).filter(|blocks| *blocks > 0),
        needs_large_file: needs_large_file(numbers, geometry.block_size),
        first_file,
        nodes: BTreeMap::new(),
    };
    let mut starts = huge.directories[home].plan.later_leaves().peekable();
    let mut grows = Vec::new();
    for number in 0..huge.directories[home].entries.len() - first_entry {
        let entry = first_entry + number;
        grows.push(starts.next_if(|start| *start == entry).is_some());
    }
    drop(starts);
    for (number, grows) in grows.into_iter().enumerate() {
        let file = huge_file(geometry, numbers.blocks, &mut goal, ledger)?;
        let nodes = file.node_places().enumerate();
        huge.nodes
            .extend(nodes.map(|(node, place)| (place, (number, node))));
        huge.files.push(file);
        if grows {
            grow(&mut huge.directories[home], home, geometry, ledger)?;
        }
    }
    Ok(huge)
}

fn no_room(blocks: u64) -> LayoutError {
    LayoutError::no_room(Owner::HugeFile(LogicalBlock::default()), blocks.max(1))
}

/// The root directory as it is, and the directories in it that the wish names (`create_directory`).
fn make_directories(
    wish: &HugeFilesOptions,
    place: &HugePlace<'_>,
    next_ino: &mut u32,
    ledger: &mut Ledger,
) -> Result<Vec<HugeDirectory>, LayoutError> {
    let geometry = place.geometry;
    let mut root = HugeDirectory::new(Ino::ROOT, Ino::ROOT, geometry.block_size);
    root.enter(b"lost+found", Ino::FIRST, FileType::Directory);
    root.take(place.root, 0, geometry, ledger)?;
    let mut directories = vec![root];
    for (name, number) in wish.directory.iter().zip(1_u32..) {
        let ino = Ino::new(*next_ino);
        *next_ino = next_ino.saturating_add(1);
        let parent = directories.last_mut().expect("the root is there");
        if name.len() > NAME_MAX || parent.entries.iter().any(|(known, ..)| known == name) {
            return Err(LayoutError::HugeFileName(name.clone()));
        }
        parent.enter(name, ino, FileType::Directory);
        let mut made = HugeDirectory::new(ino, parent.ino, geometry.block_size);
        let owner = Owner::HugeDirectory(number, LogicalBlock::default());
        let block = ledger
            .free_near(inode_goal(geometry, ino))
            .ok_or(LayoutError::no_room(owner, 1))?;
        ledger.claim(Run::one(block), owner)?;
        made.take(block, number, geometry, ledger)?;
        directories.push(made);
    }
    Ok(directories)
}

/// The most bytes of a name.
const NAME_MAX: usize = 255;

/// Plans the blocks of all directories, now that their entries are known; mke2fs makes no hash trees.
fn plan(directories: &mut [HugeDirectory], place: &HugePlace<'_>) -> Result<(), LayoutError> {
    let mut rules = place.rules;
    rules.hasher = None;
    for directory in directories {
        let longest = directory.entries.iter().max_by_key(|entry| entry.0.len());
        if let Some((name, ..)) = longest.filter(|entry| entry.0.len() > NAME_MAX) {
            return Err(LayoutError::HugeFileName(name.clone()));
        }
        if let Some((name, ..)) = directory.entries.iter().find(|entry| entry.0.is_empty()) {
            return Err(LayoutError::HugeFileName(name.clone()));
        }
        directory.plan = DirectoryPlan::new(directory, &rules).map_err(|fault| {
            let path = b"the directory of the huge files".to_vec();
            LayoutError::DirectoryTooLarge { path, fault }
        })?;
    }
    Ok(())
}

impl HugeDirectory {
    /// Takes `block`, which is claimed, as its next.
    fn take(
        &mut self,
        block: Block,
        number: u32,
        geometry: &Geometry,
        ledger: &mut Ledger,
    ) -> Result<(), LayoutError> {
        let at = u64::try_from(self.blocks.len()).unwrap_or(u64::MAX);
        let follows = self.blocks.last().is_some_and(|last| last.plus(1) == block);
        self.blocks.push(block);
        if follows && self.tree.lengthen(1).is_some() {
            return Ok(());
        }
        let extent = Extent {
            logical: logical(at),
            physical: block,
            blocks: 1,
        };
        let node = |node| Owner::HugeDirectoryNode(number, node);
        let first = Block::new(geometry.first_data_block);
        push(&mut self.tree, extent, node, first, ledger)
    }
}

/// Gives a directory a block more, behind its last if that is free (`ext2fs_expand_dir`).
fn grow(
    directory: &mut HugeDirectory,
    number: usize,
    geometry: &Geometry,
    ledger: &mut Ledger,
) -> Result<(), LayoutError> {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let at = u64::try_from(directory.blocks.len()).unwrap_or(u64::MAX);
    let owner = Owner::HugeDirectory(number, logical(at));
    let goal = directory.blocks.last().copied().unwrap_or_default();
    let block = ledger
        .free_near(goal)
        .ok_or(LayoutError::no_room(owner, 1))?;
    ledger.claim(Run::one(block), owner)?;
    directory.take(block, number, geometry, ledger)
}

/// One file of `blocks` blocks, or of all that are free from `goal` on.
fn huge_file(
    geometry: &Geometry,
    blocks: u64,
    goal: &mut Block,
    ledger: &mut Ledger,
) -> Result<AppendedFile, LayoutError> {
    let mut file = Growing::new(geometry, HUGE_FILE, Neighbours::Apart);
    let mut left = blocks;
    let end = geometry.blocks_count;
    loop {
        let start = ledger.free_from(*goal).ok_or_else(|| no_room(left))?;
        let most = if blocks > 0 { left } else { u64::MAX };
        let run = ledger.free_run(start, most);
        let total = file.blocks.saturating_add(run.len);
        if total > u32::MAX.into() {
            return Err(LayoutError::HugeFileTooBig { blocks: total });
        }
        *goal = run.end();
        file.append(run, ledger)?;
        left = left.saturating_sub(run.len);
        let is_done = match blocks {
            0 => run.end().get() >= end,
            _ => left == 0,
        };
        if is_done {
            return Ok(file.finish());
        }
    }
}

fn name(wish: &HugeFilesOptions, number: u64, files: u64) -> Vec<u8> {
    let mut name = wish.name.clone();
    if wish.digits > 0 {
        name.extend(format!("{number:0digits$}", digits = wish.digits).bytes());
    } else if files > 1 {
        name.extend(number.to_string().bytes());
    }
    name
}

/// The arithmetic of `mk_hugefiles`; `None` where there is no room.
fn numbers(wish: &HugeFilesOptions, block_size: BlockSize, free: u64) -> Option<Numbers> {
    let mut room = free.checked_sub(wish.slack.checked_add(wish.align)?)?;
    let (mut files, mut blocks) = (wish.count, wish.blocks);
    if blocks > room {
        return None;
    }
    if (files, blocks) == (0, 0) {
        files = 1;
    }
    let overhead = |blocks| tree_blocks(blocks, block_size);
    let less = |room: u64, files: u64, blocks: u64| {
        let names = room.checked_sub(files / 16 + 1)?;
        names.checked_sub(overhead(blocks).checked_mul(files)?)
    };
    if files == 0 {
        room = less(room, room / blocks, blocks)?;
        files = room / blocks;
    }
    if blocks == 0 && files > 1 {
        room = less(room, files, room / files)?;
        blocks = room / files;
    }
    let length = if blocks > 0 { blocks } else { room };
    let nodes = overhead(length).checked_mul(files)?;
    let slack = wish.slack.checked_add(nodes)?.checked_add(files / 16 + 1)?;
    Some(Numbers {
        files,
        blocks,
        room,
        slack,
    })
}

/// Blocks that mke2fs thinks the extent tree of a file takes (`calc_overhead`).
fn tree_blocks(blocks: u64, block_size: BlockSize) -> u64 {
    let extents = blocks.div_ceil(MAX_BLOCKS.into());
    if extents <= 4 {
        return 0;
    }
    let per_block = (block_size.bytes_u64() - 12) / 12 / 2 - 1;
    let mut level = extents;
    let mut total = 0;
    for _ in 0..4 {
        level = level.div_ceil(per_block);
        total += level;
    }
    total
}

fn needs_large_file(numbers: Numbers, block_size: BlockSize) -> bool {
    let length = if numbers.blocks > 0 {
        numbers.blocks
    } else {
        numbers.room
    };
    length > (1 << 31) / block_size.bytes_u64()
}

/// Where the first file may begin so that `slack` blocks before it stay free (`get_start_block`).
fn start(geometry: &Geometry, slack: u64, ledger: &Ledger) -> Block {
    let mut block = Block::new(geometry.first_data_block);
    let mut slack = slack;
    while slack > 0 {
        let Some(free) = ledger.free_from(block) else {
            break;
        };
        let run = ledger.free_run(free, u64::MAX);
        let end = run.end().get().min(geometry.blocks_count - 1);
        let len = end.saturating_sub(free.get());
        if len > slack {
            return free.plus(slack);
        }
        slack -= len;
        block = Block::new(end);
        if end + 1 >= geometry.blocks_count {
            break;
        }
    }
    block
}

fn align_up(block: Block, align: u64) -> Block {
    match align {
        0 => block,
        align => Block::new(
            block
                .get()
                .checked_next_multiple_of(align)
                .unwrap_or(block.get()),
        ),
    }
}
