//! Given an open filesystem, reads where everything is in it, by several threads; never what files hold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::inodes::{GroupInodes, Inodes};
use super::names::Names;
use super::threads::read_all;
use super::{BaseDirectory, BaseInode, index, xattr_key};
use crate::read::{Error, Filesystem, Inode, Result};
use crate::units::{Block, Group, Ino, Run};

/// Where in the resize inode's `i_block` its double indirect block is.
const DOUBLE_INDIRECT: Range<usize> = 52..56;
/// The bytes of a symbolic link's target that is in its inode are fewer than these.
const INLINE_TARGET: u64 = 60;
/// For how many groups, directories and blocks of extended attributes a thread is worth its while.
const GROUPS_OF_THREAD: usize = 2;
const DIRECTORIES_OF_THREAD: usize = 16;
const BLOCKS_OF_THREAD: usize = 64;

/// What was read.
pub(super) struct Reading {
    pub(super) inodes: Inodes,
    pub(super) directories: HashMap<Ino, BaseDirectory>,
    /// By the checksum of what they hold, in ascending order.
    pub(super) xattr_blocks: HashMap<u32, Vec<Block>>,
    /// The double indirect block of the resize inode.
    pub(super) resize: Option<Block>,
}

/// What the inodes of a group say.
#[derive(Default)]
struct OfGroup {
    inodes: GroupInodes,
    /// Those with maps that are still to be read.
    mapped: Vec<Ino>,
    xattr_blocks: Vec<Block>,
    resize: Option<Block>,
}

impl Reading {
    pub(super) fn of(filesystem: &Filesystem<'_>) -> Result<Self> {
        let sb = filesystem.superblock();
        let groups = sb.groups_count();
        check_tables(filesystem, groups)?;
        let count = usize::try_from(groups).unwrap_or(usize::MAX);
        let read = |number| of_group(filesystem, u32::try_from(number).unwrap_or(u32::MAX));
        let read = read_all(count, GROUPS_OF_THREAD, read)?;
        let (mut all, mut mapped, mut xattr_blocks) = (Vec::new(), Vec::new(), Vec::new());
        let mut resize = None;
        for group in read {
            all.push(group.inodes);
            mapped.extend(group.mapped);
            xattr_blocks.extend(group.xattr_blocks);
            resize = resize.or(group.resize);
        }
        let mut inodes = Inodes::new(all, sb.inodes_per_group());
        let mut nodes = HashSet::new();
        for ino in mapped {
            let inode = filesystem.inode(ino)?;
            inodes.set_map(ino, filesystem.placed_map(&inode, &mut nodes)?);
        }
        Ok(Self {
            directories: directories(filesystem, &inodes)?,
            inodes,
            xattr_blocks: by_content(filesystem, xattr_blocks)?,
            resize,
        })
    }
}

/// Refuses inode tables that overlap: thousands of groups could share one.
fn check_tables(filesystem: &Filesystem<'_>, groups: u32) -> Result<()> {
    let table = |number| Ok(filesystem.group(Group::new(number))?.inode_table().get());
    let tables = (0..groups).map(|number| Ok((table(number)?, number)));
    let mut tables: Vec<(u64, u32)> = tables.collect::<Result<_>>()?;
    tables.sort_unstable();
    let blocks = filesystem.superblock().table_blocks();
    for pair in tables.windows(2) {
        if let [(one, _), (other, number)] = pair
            && other - one < blocks
        {
            let rule = "its inode table overlaps another's";
            return Err(Error::rule(rule).in_group(Group::new(*number)));
        }
    }
    Ok(())
}

fn of_group(filesystem: &Filesystem<'_>, number: u32) -> Result<OfGroup> {
    let mut group = OfGroup::default();
    for inode in filesystem.inodes_of(number) {
        let inode = inode?;
        match inode.ino() {
            Ino::RESIZE => {
                let stored = inode.stored().i_block.get(DOUBLE_INDIRECT);
                let stored = stored.and_then(|bytes| bytes.first_chunk());
                group.resize = stored.map(|bytes| Block::new(u32::from_le_bytes(*bytes).into()));
            }
            Ino::BAD_BLOCKS => {}
            _ => group.push(filesystem, &inode)?,
        }
    }
    Ok(group)
}

impl OfGroup {
    fn push(&mut self, filesystem: &Filesystem<'_>, inode: &Inode) -> Result<()> {
        let has_blocks = inode.is_file()
            || inode.is_dir()
            || inode.is_symlink() && inode.size() >= INLINE_TARGET;
        let extents = if has_blocks {
            filesystem.root_map(inode)?
        } else {
            Some(Vec::new())
        };
        if extents.is_none() {
            self.mapped.push(inode.ino());
        }
        self.xattr_blocks.extend(inode.xattr_block());
        self.inodes.push(inode, extents.as_deref())
    }
}

/// The blocks by the checksum of what they hold, each once.
fn by_content(
    filesystem: &Filesystem<'_>,
    mut blocks: Vec<Block>,
) -> Result<HashMap<u32, Vec<Block>>> {
    blocks.sort_unstable();
    blocks.dedup();
    let key = |number: usize| Ok(xattr_key(&filesystem.block(blocks[number])?));
    let keys = read_all(blocks.len(), BLOCKS_OF_THREAD, key)?;
    let mut found: HashMap<u32, Vec<Block>> = HashMap::new();
    for (key, block) in keys.into_iter().zip(blocks) {
        found.entry(key).or_default().push(block);
    }
    Ok(found)
}

/// The directories that the root leads to.
fn directories(
    filesystem: &Filesystem<'_>,
    inodes: &Inodes,
) -> Result<HashMap<Ino, BaseDirectory>> {
    let is_directory = |ino: &Ino| inodes.get(*ino).is_some_and(|it| it.is_directory());
    let mut found: HashMap<Ino, BaseDirectory> = HashMap::new();
    let mut once = ReadOnce::default();
    let mut level = vec![Ino::ROOT];
    while !level.is_empty() {
        let mut met = HashSet::new();
        level.retain(|ino| is_directory(ino) && !found.contains_key(ino) && met.insert(*ino));
        let inode_of = |number: usize| level.get(number).and_then(|ino| inodes.get(*ino));
        for inode in (0..level.len()).filter_map(inode_of) {
            once.add(&inode)?;
        }
        let read = read_all(level.len(), DIRECTORIES_OF_THREAD, |number| {
            inode_of(number).map_or_else(
                || Ok(BaseDirectory::default()),
                |it| directory(filesystem, &it),
            )
        })?;
        let next: Vec<Ino> = read
            .iter()
            .flat_map(|it| it.names.inos())
            .filter(is_directory)
            .collect();
        found.extend(std::mem::replace(&mut level, next).into_iter().zip(read));
    }
    Ok(found)
}

fn directory(filesystem: &Filesystem<'_>, known: &BaseInode<'_>) -> Result<BaseDirectory> {
    let inode = filesystem.inode(known.ino())?;
    let mut names = Vec::new();
    for entry in filesystem.entries(&inode)? {
        let entry = entry?;
        names.push((entry.name().into(), entry.ino()));
    }
    Ok(BaseDirectory {
        names: Names::new(names).map_err(|error| error.in_inode(known.ino()))?,
        leaves: index::leaves(filesystem, &inode, known.pieces)?,
    })
}

/// The blocks of directories by their first block, to the first behind: many that had the same ones would be read
/// many times.
#[derive(Default)]
struct ReadOnce(BTreeMap<u64, u64>);

impl ReadOnce {
    fn add(&mut self, directory: &BaseInode<'_>) -> Result<()> {
        let mut runs = directory.pieces.iter().map(|piece| piece.run);
        runs.try_for_each(|run| self.add_run(run))
            .map_err(|error| error.in_inode(directory.ino()))
    }

    fn add_run(&mut self, run: Run) -> Result<()> {
        let (start, end) = (run.start.get(), run.end().get());
        let before = self.0.range(..end).next_back();
        if before.is_some_and(|(_, before)| *before > start) {
            return Err(Error::rule("a block belongs to two directories").in_block(run.start));
        }
        self.0.insert(start, end);
        Ok(())
    }
}
