//! Given an open filesystem, sound or damaged, says who owns which of its blocks, and draws that as one SVG
//! picture; never reads file data.
//!
//! The picture has block groups as rows, each cut into cells of equally many blocks. However large the
//! filesystem is, there are at most 8,192 cells: of a small one a cell is a block, of a large one it is
//! several groups. What is counted is exact whatever the cells are. Of a damaged filesystem what can be read
//! is counted, and the map says how much could not be.
//!
//! ```
//! use mke4fs::map::{BlockOwner, Map};
//! use mke4fs::read::Filesystem;
//!
//! let image = mke4fs::Builder::new().source(mke4fs::Directory::new("fixtures/read")).to_vec()?;
//! let filesystem = Filesystem::open(image)?;
//! let map = Map::of(&filesystem);
//! assert_eq!(map.damage(), None);
//! assert!(map.blocks(BlockOwner::InodeTable) > 0);
//! assert!(map.svg().starts_with("<svg "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claims;
mod grid;
mod svg;

use std::ops::Range;
use std::sync::Arc;

use crate::read::{Error, Filesystem, Superblock};
use grid::Grid;

/// What a block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockOwner {
    /// A superblock, the first or a backup.
    Superblock,
    /// Group descriptors, the first or a backup.
    Descriptors,
    /// Blocks kept for the descriptors of a larger filesystem.
    ReservedGdt,
    /// Block bitmaps and inode bitmaps.
    Bitmap,
    /// Inode tables.
    InodeTable,
    /// The journal.
    Journal,
    /// The entries of directories.
    Directory,
    /// The data of files, and targets of symbolic links that are too long for their inodes.
    FileData,
    /// The nodes of extent trees, and the indirect blocks of block maps.
    MapNode,
    /// Extended attributes, those in inodes of their own included.
    Xattr,
    /// The other files of the filesystem itself: quota, orphans, bad blocks, the MMP block.
    System,
    /// In use, and of nobody that was found: with bigalloc, the rest of clusters.
    Unowned,
    /// In a group whose block bitmap cannot be read, and of nobody that was found.
    Unknown,
    /// In no use.
    Free,
}

impl BlockOwner {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Superblock,
        Self::Descriptors,
        Self::ReservedGdt,
        Self::Bitmap,
        Self::InodeTable,
        Self::Journal,
        Self::Directory,
        Self::FileData,
        Self::MapNode,
        Self::Xattr,
        Self::System,
        Self::Unowned,
        Self::Unknown,
        Self::Free,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superblock => "superblocks",
            Self::Descriptors => "group descriptors",
            Self::ReservedGdt => "reserved GDT blocks",
            Self::Bitmap => "bitmaps",
            Self::InodeTable => "inode tables",
            Self::Journal => "journal",
            Self::Directory => "directories",
            Self::FileData => "file data",
            Self::MapNode => "extent and map nodes",
            Self::Xattr => "extended attributes",
            Self::System => "other system files",
            Self::Unowned => "in use without an owner",
            Self::Unknown => "unknown",
            Self::Free => "free",
        }
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|it| *it == self).unwrap_or(0)
    }
}

/// How many blocks each owner has of some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts([u64; BlockOwner::ALL.len()]);

impl Counts {
    fn of(&self, owner: BlockOwner) -> u64 {
        self.0.get(owner.index()).copied().unwrap_or(0)
    }

    fn add(&mut self, owner: BlockOwner, blocks: u64) {
        if let Some(count) = self.0.get_mut(owner.index()) {
            *count = count.saturating_add(blocks);
        }
    }

    fn add_all(&mut self, others: &Self) {
        for (count, other) in self.0.iter_mut().zip(others.0) {
            *count = count.saturating_add(other);
        }
    }

    /// The owners that have any, those with most first.
    fn by_size(&self) -> Vec<(BlockOwner, u64)> {
        let counted = BlockOwner::ALL.into_iter().zip(self.0);
        let mut present: Vec<_> = counted.filter(|(_, blocks)| *blocks > 0).collect();
        present.sort_by_key(|(_, blocks)| std::cmp::Reverse(*blocks));
        present
    }
}

/// Who owns which block of a filesystem.
#[derive(Clone, Debug)]
pub struct Map {
    sb: Superblock,
    grid: Grid,
    totals: Counts,
    damage: Option<Damage>,
}

/// What could not be read for a map.
#[derive(Clone, Debug)]
pub struct Damage {
    places: u64,
    first: Arc<Error>,
}

impl Damage {
    /// How many inodes, groups and bitmaps.
    pub fn places(&self) -> u64 {
        self.places
    }

    /// Why the first of them could not be.
    pub fn first(&self) -> &Error {
        &self.first
    }

    /// Counts one more.
    fn add(damage: &mut Option<Self>, error: Error) {
        let damage = damage.get_or_insert_with(|| Self {
            places: 0,
            first: Arc::new(error),
        });
        damage.places = damage.places.saturating_add(1);
    }
}

impl PartialEq for Damage {
    fn eq(&self, other: &Self) -> bool {
        let said = |it: &Self| (it.places, it.first.to_string());
        said(self) == said(other)
    }
}

/// Neighbouring groups that are drawn as one row.
#[derive(Clone, Debug)]
pub struct Row {
    groups: Range<u32>,
    counts: Counts,
}

impl Row {
    /// The groups, by number.
    pub fn groups(&self) -> Range<u32> {
        self.groups.clone()
    }

    /// How many of their blocks `owner` has.
    pub fn blocks(&self, owner: BlockOwner) -> u64 {
        self.counts.of(owner)
    }
}

impl Map {
    /// Looks at all groups, inodes and maps of blocks. It takes a fixed amount of memory, and beside it
    /// what the largest map of one file takes. What is damaged or cannot be read is left out and counted; and
    /// so are files that claim more blocks than there are.
    pub fn of(filesystem: &Filesystem<'_>) -> Self {
        let mut grid = Grid::of(filesystem.superblock());
        let mut damage = None;
        claims::claim_all(filesystem, &mut grid, &mut damage);
        claims::count_used(filesystem, &mut grid, &mut damage);
        grid.settle();
        let mut totals = Counts::default();
        for row in 0..grid.rows() {
            totals.add_all(&grid.counts_of_row(row));
        }
        Self {
            sb: filesystem.superblock().clone(),
            grid,
            totals,
            damage,
        }
    }

    /// What is left out, if anything is.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// How many blocks `owner` has. All owners together have the blocks of all groups.
    pub fn blocks(&self, owner: BlockOwner) -> u64 {
        self.totals.of(owner)
    }

    /// The rows of the picture: a group each, or several where there are more than 64 groups.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        (0..self.grid.rows()).map(|row| Row {
            groups: self.grid.groups_of_row(row),
            counts: self.grid.counts_of_row(row),
        })
    }

    /// The picture: one SVG document without scripts, fonts or anything else from elsewhere, of less than
    /// 2 MiB. The same filesystem gives the same bytes.
    pub fn svg(&self) -> String {
        svg::draw(self)
    }
}
