//! Given an inode with pointers to blocks, gives where its blocks are and judges the pointers; never
//! what the blocks hold.
//!
//! Layout: the kernel's documentation, "Direct/Indirect Block Addressing".

use super::extents::pointers;
use super::finding::{Area, Fault, Owner, Place};
use super::maps::{Claiming, Mapped, Piece};
use super::volume::{Volume, length, word};
use crate::units::{Block, Ino, Run};

/// Pointers in the inode to blocks of content; three more lead to blocks of pointers.
const DIRECT: usize = 12;

/// How many wrong pointers of one inode are followed up before it is left alone.
const MOST_BROKEN: u32 = 16;

struct Map<'a, 'c> {
    volume: &'a Volume<'a>,
    claiming: &'c mut Claiming,
    ino: u32,
    mapped: Mapped,
    broken: u32,
}

/// Walks the map that begins with the pointers of `i_block`.
pub(super) fn walk(
    volume: &Volume<'_>,
    claiming: &mut Claiming,
    ino: u32,
    i_block: &[u8],
) -> Mapped {
    let mut map = Map {
        volume,
        claiming,
        ino,
        mapped: Mapped::default(),
        broken: 0,
    };
    for number in 0..DIRECT {
        map.pointer(Place::inode(ino), length(number), word(i_block, 4 * number));
    }
    let per_block = length(pointers(volume, 4));
    let mut logical = length(DIRECT);
    for level in 1..=3_u32 {
        let number = DIRECT + usize::try_from(level).unwrap_or(1) - 1;
        map.node(logical, level, word(i_block, 4 * number));
        logical += per_block.pow(level);
    }
    map.mapped
}

impl Map<'_, '_> {
    fn is_usable(&mut self, place: Place, block: u32) -> bool {
        if block == 0 || self.broken >= MOST_BROKEN {
            return false;
        }
        let run = Run::one(Block::new(block.into()));
        if self.volume.is_inside(run) {
            return true;
        }
        self.broken += 1;
        self.volume.note(Area::BlockMap, place, Fault::Outside(run));
        false
    }

    fn pointer(&mut self, place: Place, logical: u64, block: u32) {
        if !self.is_usable(place, block) {
            return;
        }
        let run = Run::one(Block::new(block.into()));
        let piece = Piece {
            logical,
            run,
            is_unwritten: false,
        };
        let before = self.mapped.pieces.len();
        self.mapped.add(self.volume, self.ino, piece);
        let owner = Owner::Content(Ino::new(self.ino));
        if self.mapped.pieces.len() == before {
            // It continues the last piece, and so its claim.
            self.claiming.claims.extend_last(run, owner)
        } else {
            self.claiming.claims.add(run, owner)
        }
    }

    /// Follows a block of pointers whose first content is the block `logical`.
    fn node(&mut self, logical: u64, level: u32, block: u32) {
        let place = Place::inode(self.ino);
        if !self.is_usable(place, block) {
            return;
        }
        let node = Block::new(block.into());
        let owner = Owner::Map(Ino::new(self.ino));
        self.claiming.claims.add(Run::one(node), owner);
        self.mapped.clusters += 1;
        if !self.claiming.visit(node) {
            return;
        }
        let Some(bytes) = self.volume.block((Area::BlockMap, place), node.get()) else {
            return;
        };
        let per_block = pointers(self.volume, 4);
        let below = length(per_block).pow(level - 1);
        for number in 0..per_block {
            let pointer = word(&bytes, 4 * number);
            let logical = logical + length(number) * below;
            match level {
                1 => self.pointer(place.at(node.get()), logical, pointer),
                _ => self.node(logical, level - 1, pointer),
            }
        }
    }
}
