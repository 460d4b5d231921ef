//! Given the numbers of a filesystem, gives each meaning a type of its own, and paths for people; never does
//! I/O.
//!
//! A block number, a count of blocks and an inode number are all integers on disk. Mixing them up
//! compiles silently with bare integers, so none crosses a room's border bare.

use std::fmt;

use sha2::{Digest, Sha256};

/// A block size in bytes: a power of two from 1 KiB to 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize(u32);

impl BlockSize {
    /// The smallest block ext4 knows, 1 KiB.
    pub const MIN: Self = Self(1024);
    /// The largest block ext4 knows, 64 KiB.
    pub const MAX: Self = Self(65536);

    /// `bytes` as a block size, if ext4 has blocks of that size.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= Self::MIN.0 && bytes <= Self::MAX.0 {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// The size in bytes, for arithmetic on byte counts.
    pub fn bytes_u64(self) -> u64 {
        u64::from(self.0)
    }

    /// The size in bytes, for buffers.
    pub fn bytes_usize(self) -> usize {
        usize::try_from(self.0).expect("a block of at most 64 KiB fits any usize")
    }

    /// `s_log_block_size`: log2 of the size in KiB.
    pub const fn log(self) -> u32 {
        self.0.trailing_zeros() - 10
    }

    /// How many blocks hold `bytes`, rounded up.
    pub fn blocks_for(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.bytes_u64())
    }
}

/// What the Merkle tree of a file that fs-verity protects is hashed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerityHash {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl VerityHash {
    /// The bytes of a hash.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// What it is called, such as `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The one that is called `name`.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Sha256, Self::Sha512];
        all.into_iter().find(|hash| hash.name() == name)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($native:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($native);

        impl $name {
            /// Gives the number its meaning.
            pub const fn new(number: $native) -> Self {
                Self(number)
            }

            /// The bare number.
            pub const fn get(self) -> $native {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A physical block: its distance from the filesystem's first byte, in blocks.
    Block(u64)
}
number! {
    /// A block of a file: its distance from the file's first byte, in blocks.
    LogicalBlock(u32)
}
number! {
    /// A block group's number, from 0.
    Group(u32)
}
number! {
    /// An inode's number, from 1.
    Ino(u32)
}

impl Block {
    /// The block `count` blocks further on.
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl Ino {
    /// `EXT2_BAD_INO`: the list of bad blocks.
    pub const BAD_BLOCKS: Self = Self(1);
    /// `EXT2_ROOT_INO`: the root directory.
    pub const ROOT: Self = Self(2);
    /// `EXT4_USR_QUOTA_INO`: usage by user.
    pub const USER_QUOTA: Self = Self(3);
    /// `EXT4_GRP_QUOTA_INO`: usage by group.
    pub const GROUP_QUOTA: Self = Self(4);
    /// `EXT2_RESIZE_INO`: the reserved GDT blocks.
    pub const RESIZE: Self = Self(7);
    /// `EXT2_JOURNAL_INO`: the journal.
    pub const JOURNAL: Self = Self(8);
    /// `EXT2_GOOD_OLD_FIRST_INO`: the first inode that is not reserved.
    pub const FIRST: Self = Self(11);
}

/// Neighbouring physical blocks: never empty, except where a doc says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// The first block.
    pub start: Block,
    /// How many blocks.
    pub len: u64,
}

impl Run {
    /// `len` blocks from `start` on.
    pub const fn new(start: Block, len: u64) -> Self {
        Self { start, len }
    }

    /// The single block `start`.
    pub const fn one(start: Block) -> Self {
        Self { start, len: 1 }
    }

    /// The first block after the run.
    pub const fn end(self) -> Block {
        self.start.plus(self.len)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len {
            1 => write!(f, "block {}", self.start),
            _ => write!(
                f,
                "blocks {} to {}",
                self.start,
                self.end().get().saturating_sub(1)
            ),
        }
    }
}

/// A moment: whole seconds since 1970 and nanoseconds after them.
///
/// It takes twelve bytes and not sixteen, since trees have three of them for each of their nodes. Its
/// fields can be copied and not be referred to: `println!("{}", { time.seconds })`.
#[repr(Rust, packed(4))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00 UTC, negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, 0 to 999,999,999; an image has the last of these in the place of more.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Stands for the newest time of a tree that is still being declared; no file is so old.
    pub(crate) const AWAITED: Self = Self::from_seconds(i64::MIN);

    /// The moment at which `seconds` begins.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }
}

/// A UUID for `what`, which follows from that of the filesystem: version 8 of RFC 9562.
pub(crate) fn uuid_from(filesystem: [u8; 16], what: &str) -> [u8; 16] {
    let hash = Sha256::new()
        .chain_update(b"mke4fs ")
        .chain_update(what)
        .chain_update(filesystem)
        .finalize();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// Bytes of a path for people: what is UTF-8 as it is, the rest, control characters and backslashes
/// escaped, so that no two paths read alike. On Windows a backslash parts names, and stays as it is: its
/// names have none, and those of images hardly ever.
pub(crate) struct Readable<'a>(pub(crate) &'a [u8]);

/// How many bytes of a path are shown, half from its front and half from its end: a message is read by
/// people, and an archive may have a name of 64 KiB.
const READABLE_MAX: usize = 4096;

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() > READABLE_MAX {
            let (front, _) = self.0.split_at(READABLE_MAX / 2);
            let (_, end) = self.0.split_at(self.0.len() - READABLE_MAX / 2);
            let left_out = self.0.len() - READABLE_MAX;
            return write!(
                f,
                "{}…({left_out} bytes)…{}",
                Readable(front),
                Readable(end)
            );
        }
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() || character == '\\' && !cfg!(windows) {
                    character.escape_default().fmt(f)?;
                } else {
                    fmt::Write::write_char(f, character)?;
                }
            }
            chunk.invalid().escape_ascii().fmt(f)?;
        }
        Ok(())
    }
}

/// What went wrong, without the number that the system has for it, and without a full stop.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let said = error.to_string();
    let words = error.raw_os_error().and(said.split(" (os error ").next());
    words.unwrap_or(&said).trim_end_matches('.').to_owned()
}

/// Whether there is nothing but zeros. Most of what is not differs at its front, and long pieces are
/// told quickly.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (pieces, rest) = bytes.as_chunks::<256>();
    let any = |piece: &[u8; 256]| {
        let (words, _) = piece.as_chunks::<16>();
        words
            .iter()
            .fold(0, |any, word| any | u128::from_ne_bytes(*word))
    };
    pieces.iter().all(|piece| any(piece) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_readable_and_distinct() {
        for (bytes, shown) in [
            (&b"a/b c"[..], "a/b c"),
            ("käse".as_bytes(), "käse"),
            (b"k\xe4se", "k\\xe4se"),
            (b"C:\\k", if cfg!(windows) { "C:\\k" } else { "C:\\\\k" }),
            (b"a\nb", "a\\nb"),
        ] {
            assert_eq!(Readable(bytes).to_string(), shown);
        }
        let long = Readable(&[b'a'; 1 << 16]).to_string();
        assert!(long.len() < 5000 && long.contains("…(61440 bytes)…"));
    }

    #[test]
    fn a_single_byte_is_not_all_zeros() {
        for length in [0, 1, 255, 256, 257, 600] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in 0..length {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{at} of {length}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn block_sizes_are_powers_of_two_in_range() {
        for (bytes, log) in [(1024, 0), (4096, 2), (65536, 6)] {
            assert_eq!(BlockSize::new(bytes).map(BlockSize::log), Some(log));
        }
        for bytes in [0, 1, 512, 1000, 3072, 131_072] {
            assert_eq!(BlockSize::new(bytes), None);
        }
    }

    #[test]
    fn a_run_names_its_blocks() {
        assert_eq!(Run::new(Block::new(3), 4).to_string(), "blocks 3 to 6");
        assert_eq!(Run::one(Block::new(3)).to_string(), "block 3");
    }
}
