//! Given bits of `i_flags`, keeps those that a tree has; never says what becomes of them.

use std::fmt;

/// The flags that `chattr` can set on an ext4 directory and that mean the same in a new filesystem,
/// by the bits of the kernel's `Documentation/filesystems/ext4/inodes.rst`: s u c S i a d A j t D T x
/// P F. Encryption, verity, inline data, extents and the index belong to the old one.
pub const DIRECTORY_FLAGS: u32 = 0x6203_c0ff;
/// As [`DIRECTORY_FLAGS`], for regular files: D, T, P and F are of directories only.
pub const FILE_FLAGS: u32 = DIRECTORY_FLAGS & !0x6003_0000;
/// As [`DIRECTORY_FLAGS`], for all other nodes: the kernel leaves them d and A alone
/// (`EXT4_OTHER_FLMASK`), and fsck reports errors for i and a.
pub const OTHER_FLAGS: u32 = 0xc0;

/// Flags among [`DIRECTORY_FLAGS`], close together: every node of a tree has some.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u16);

/// The pieces of `i_flags` in which [`DIRECTORY_FLAGS`] lie: the lowest bit of each, how many bits it
/// has, and where it is kept.
const PIECES: [(u32, u32, u32); 4] = [(0, 8, 0), (14, 4, 8), (25, 1, 12), (29, 2, 13)];

impl Flags {
    /// Those among the bits of `i_flags` that a tree keeps.
    pub fn of(bits: u32) -> Self {
        let pieces = PIECES.map(|(from, count, to)| ((bits >> from) & mask(count)) << to);
        let kept = pieces.into_iter().fold(0, |kept, piece| kept | piece);
        Self(u16::try_from(kept).expect("the pieces have 15 bits"))
    }

    /// The bits of `i_flags`.
    pub fn bits(self) -> u32 {
        let kept = u32::from(self.0);
        let pieces = PIECES.map(|(from, count, to)| ((kept >> to) & mask(count)) << from);
        pieces.into_iter().fold(0, |bits, piece| bits | piece)
    }
}

fn mask(count: u32) -> u32 {
    (1 << count) - 1
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_directory_can_have_is_kept_and_nothing_else() {
        assert_eq!(Flags::of(u32::MAX).bits(), DIRECTORY_FLAGS);
        for bit in (0..32).map(|bit| 1 << bit) {
            assert_eq!(Flags::of(bit).bits(), bit & DIRECTORY_FLAGS, "{bit:#x}");
        }
    }
}
