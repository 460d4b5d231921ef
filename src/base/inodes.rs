//! Given what inodes in use say, holds it in little memory, for whoever asks by number; never reads one.

use std::collections::HashMap;
use std::ops::Range;

use super::Piece;
use crate::ondisk::inode::{FLAG_EA_INODE, FLAG_ENCRYPT, FLAG_INLINE_DATA, FLAG_VERITY};
use crate::read::{Error, Extent, Inode, PlacedMap, Result};
use crate::units::{Block, Ino, Run, Timestamp};

/// A time as an image holds it: 34 bits of seconds from 1901 on, and 30 of nanoseconds.
#[derive(Clone, Copy, Debug)]
struct StoredTime(u64);

impl StoredTime {
    const FIRST_SECOND: i64 = -(1 << 31);
    const NANOSECOND_BITS: u32 = 30;

    fn new(time: Timestamp) -> Self {
        let seconds = time.seconds.saturating_sub(Self::FIRST_SECOND);
        let seconds = u64::try_from(seconds).unwrap_or_default();
        Self(seconds << Self::NANOSECOND_BITS | u64::from(time.nanoseconds))
    }

    fn get(self) -> Timestamp {
        let seconds = i64::try_from(self.0 >> Self::NANOSECOND_BITS).unwrap_or_default();
        let nanoseconds = self.0 & ((1 << Self::NANOSECOND_BITS) - 1);
        Timestamp {
            seconds: seconds + Self::FIRST_SECOND,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or_default(),
        }
    }
}

/// What is kept of an inode that is in use.
#[derive(Clone, Copy, Debug)]
struct Kept {
    ino: Ino,
    mode: u16,
    has_crtime: bool,
    /// Whether the map of its blocks has blocks of its own, and lies elsewhere.
    has_nodes: bool,
    uid: u32,
    gid: u32,
    flags: u32,
    /// How many pieces its group has up to and with its own.
    pieces: u32,
    size: u64,
    atime: StoredTime,
    mtime: StoredTime,
    ctime: StoredTime,
    crtime: StoredTime,
}

/// The inodes in use of a group.
#[derive(Debug, Default)]
pub(super) struct GroupInodes {
    /// By number.
    kept: Vec<Kept>,
    pieces: Vec<Piece>,
}

/// Where an inode's blocks are whose map has blocks of its own.
#[derive(Debug)]
struct Map {
    pieces: Box<[Piece]>,
    nodes: Box<[Block]>,
}

/// All inodes in use.
#[derive(Debug)]
pub(super) struct Inodes {
    groups: Vec<GroupInodes>,
    per_group: u32,
    maps: HashMap<Ino, Map>,
}

/// An inode that is in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BaseInode<'a> {
    kept: &'a Kept,
    /// Where its blocks are, in their order.
    pub(crate) pieces: &'a [Piece],
    /// The blocks of the map that says so.
    pub(crate) nodes: &'a [Block],
}

fn piece(extent: &Extent) -> Piece {
    Piece {
        logical: extent.logical,
        run: extent.run,
    }
}

impl GroupInodes {
    /// Takes the inode after those before it; `None` where the map of its blocks is still to be read.
    pub(super) fn push(&mut self, inode: &Inode, extents: Option<&[Extent]>) -> Result<()> {
        self.pieces
            .extend(extents.unwrap_or_default().iter().map(piece));
        let pieces = u32::try_from(self.pieces.len())
            .map_err(|_| Error::rule("a group has too many extents").in_inode(inode.ino()))?;
        self.kept.push(Kept {
            ino: inode.ino(),
            mode: inode.mode(),
            has_crtime: inode.crtime().is_some(),
            has_nodes: extents.is_none(),
            uid: inode.uid(),
            gid: inode.gid(),
            flags: inode.flags(),
            pieces,
            size: inode.size(),
            atime: StoredTime::new(inode.atime()),
            mtime: StoredTime::new(inode.mtime()),
            ctime: StoredTime::new(inode.ctime()),
            crtime: StoredTime::new(inode.crtime().unwrap_or_default()),
        });
        Ok(())
    }

    /// The inode that is the `within`th of the group, which begins behind the inode `before`.
    fn at(&self, before: u32, within: u32) -> Option<(&Kept, &[Piece])> {
        let ino = Ino::new(before.checked_add(within)?.checked_add(1)?);
        let within = usize::try_from(within).ok()?;
        // No inode lies further behind than its number says, and mostly none of those before is free.
        let is_it = self.kept.get(within).is_some_and(|kept| kept.ino == ino);
        let at = if is_it {
            within
        } else {
            let first = &self.kept[..within.min(self.kept.len())];
            first.binary_search_by_key(&ino, |kept| kept.ino).ok()?
        };
        let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let start = at.checked_sub(1).map_or(0, |last| self.kept[last].pieces);
        let kept = &self.kept[at];
        let pieces = self.pieces.get(place(start)..place(kept.pieces))?;
        Some((kept, pieces))
    }
}

impl Inodes {
    /// The inodes of `groups`, by number, each of which has `per_group`.
    pub(super) fn new(groups: Vec<GroupInodes>, per_group: u32) -> Self {
        Self {
            groups,
            per_group,
            maps: HashMap::new(),
        }
    }

    /// Takes the map of an inode that has blocks of its own.
    pub(super) fn set_map(&mut self, ino: Ino, map: PlacedMap) {
        let map = Map {
            pieces: map.extents.iter().map(piece).collect(),
            nodes: map.nodes.into(),
        };
        self.maps.insert(ino, map);
    }

    pub(super) fn get(&self, ino: Ino) -> Option<BaseInode<'_>> {
        let place = ino.get().checked_sub(1)?;
        let number = place.checked_div(self.per_group)?;
        let group = self.groups.get(usize::try_from(number).ok()?)?;
        let before = number * self.per_group;
        let (kept, pieces) = group.at(before, place - before)?;
        Some(self.inode(kept, pieces))
    }

    fn inode<'a>(&'a self, kept: &'a Kept, pieces: &'a [Piece]) -> BaseInode<'a> {
        let map = kept.has_nodes.then(|| self.maps.get(&kept.ino)).flatten();
        BaseInode {
            kept,
            pieces: map.map_or(pieces, |map| &map.pieces),
            nodes: map.map_or(&[], |map| &map.nodes),
        }
    }

    /// All of them, by number.
    pub(super) fn all(&self) -> impl Iterator<Item = BaseInode<'_>> {
        self.groups.iter().flat_map(move |group| {
            let mut start = 0;
            group.kept.iter().map(move |kept| {
                let end = usize::try_from(kept.pieces).unwrap_or(usize::MAX);
                let pieces = group.pieces.get(start..end).unwrap_or_default();
                start = end;
                self.inode(kept, pieces)
            })
        })
    }
}

impl<'a> BaseInode<'a> {
    /// Its number.
    pub(crate) fn ino(&self) -> Ino {
        self.kept.ino
    }

    /// Type and permissions.
    pub(crate) fn mode(&self) -> u16 {
        self.kept.mode
    }

    /// User and group.
    pub(crate) fn owner(&self) -> (u32, u32) {
        (self.kept.uid, self.kept.gid)
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.kept.size
    }

    /// `i_flags`.
    pub(crate) fn flags(&self) -> u32 {
        self.kept.flags
    }

    /// When it was read last.
    pub(crate) fn atime(&self) -> Timestamp {
        self.kept.atime.get()
    }

    /// When its data were changed last.
    pub(crate) fn mtime(&self) -> Timestamp {
        self.kept.mtime.get()
    }

    /// When it was changed last.
    pub(crate) fn ctime(&self) -> Timestamp {
        self.kept.ctime.get()
    }

    /// When it was made, where the inode has room for that.
    pub(crate) fn crtime(&self) -> Option<Timestamp> {
        self.kept.has_crtime.then(|| self.kept.crtime.get())
    }

    /// The bits of its mode that say what it is.
    pub(crate) fn file_type(&self) -> u16 {
        self.mode() & 0xf000
    }

    pub(super) fn is_directory(&self) -> bool {
        self.file_type() == 0x4000
    }

    /// Whether it holds an extended attribute's value.
    pub(crate) fn is_value(&self) -> bool {
        self.flags() & FLAG_EA_INODE != 0
    }

    /// Whether blocks hold all that it holds, as they do of an ordinary file.
    pub(super) fn is_plain_file(&self) -> bool {
        const ODD: u32 = FLAG_EA_INODE | FLAG_INLINE_DATA | FLAG_VERITY | FLAG_ENCRYPT;
        self.file_type() == 0x8000 && self.flags() & ODD == 0
    }

    /// Its bytes that are data, in blocks of `block_bytes`, in ascending order; neighbours are joined.
    pub(super) fn data(self, block_bytes: u64) -> impl Iterator<Item = Range<u64>> + 'a {
        let mut pieces = self.pieces.iter().peekable();
        std::iter::from_fn(move || {
            let first = pieces.next()?;
            let mut end = first.end();
            while let Some(next) = pieces.next_if(|next| next.logical == end) {
                end = next.end();
            }
            let start = first.logical.saturating_mul(block_bytes);
            let end = end.saturating_mul(block_bytes).min(self.size());
            (start < end).then_some(start..end)
        })
    }

    /// Whether its `length` blocks from `logical` on are `run`.
    pub(crate) fn has(&self, mut logical: u64, run: Run) -> bool {
        let mut at = run.start.get();
        let first = self.pieces.partition_point(|piece| piece.end() <= logical);
        for piece in &self.pieces[first..] {
            if at >= run.end().get() {
                break;
            }
            let is_there =
                piece.logical <= logical && piece.run.start.get() + (logical - piece.logical) == at;
            if !is_there {
                return false;
            }
            at += piece.end() - logical;
            logical = piece.end();
        }
        at >= run.end().get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_an_inode_is_kept_to_the_nanosecond() {
        for (seconds, nanoseconds) in [
            (-(1 << 31), 0),
            (-1, 999_999_999),
            (0, 0),
            (1_700_000_000, 123_456_789),
            ((1 << 31) - 1 + (3 << 32), 999_999_999),
        ] {
            let time = Timestamp {
                seconds,
                nanoseconds,
            };
            assert_eq!(StoredTime::new(time).get(), time);
        }
    }
}
