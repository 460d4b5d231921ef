//! Given a directory entry's name, gives the hash that orders it in an htree; never what a casefolded
//! and encrypted directory stores beside its entries.
//!
//! Half-MD4 is RFC 1320's MD4 cut down to eight steps a round over eight words; TEA is Wheeler and
//! Needham's cipher with sixteen cycles; legacy is the hash of the first htree patches. What is
//! taken from them, and the padding, is described in the kernel's documentation of hash tree
//! directories; the end-of-file rule is that of the kernel's `ext4fs_dirhash`.

use std::borrow::Cow;

use super::casefold::fold;

/// Where a hash tree ends, as a position in a directory; no name may hash to it.
const END_OF_DIRECTORY: u32 = 0x7fff_ffff << 1;

/// MD4's initial state (RFC 1320, section 3.3): what an all-zero seed stands for.
const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// MD4's constants for the second and third round (RFC 1320, section 3.4).
const ROUND_2: u32 = 0x5a82_7999;
const ROUND_3: u32 = 0x6ed9_eba1;

/// TEA's key schedule constant: 2^32 over the golden ratio.
const DELTA: u32 = 0x9e37_79b9;

/// Which function hashes names: `s_def_hash_version` and `dx_root_info.hash_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashVersion {
    /// The first htree's own function; ignores the seed and leaves the minor hash zero.
    Legacy,
    /// What mke2fs sets up.
    HalfMd4,
    /// A block cipher used as a hash.
    Tea,
}

impl HashVersion {
    /// The hash of that number. None of those with a signedness of their own, which only the
    /// kernel uses, is one.
    pub const fn of_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Legacy),
            1 => Some(Self::HalfMd4),
            2 => Some(Self::Tea),
            _ => None,
        }
    }

    /// The number stored for it. Signedness is a flag of the superblock and not part of it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Legacy => 0,
            Self::HalfMd4 => 1,
            Self::Tea => 2,
        }
    }
}

/// How bytes of 0x80 and above widen to 32 bits: `s_flags` bit 0 (signed) or bit 1 (unsigned).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signedness {
    /// As C's `char` on x86: what mke2fs on x86 sets up.
    Signed,
    /// As C's `char` on Arm and Power.
    Unsigned,
}

/// A name's place in a hash tree: ordered by `major`, then by `minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirHash {
    /// What index blocks hold; its lowest bit is zero, since there it marks a continued chain.
    pub major: u32,
    /// Orders names of one `major` in a directory's positions; not stored in index blocks.
    pub minor: u32,
}

/// Hashes the names of one filesystem.
#[derive(Clone, Copy, Debug)]
pub struct DirHasher {
    version: HashVersion,
    signedness: Signedness,
    state: [u32; 4],
    folds: bool,
}

impl DirHasher {
    /// A hasher for `s_hash_seed` as it is stored: 16 bytes, an all-zero seed standing for MD4's
    /// initial state.
    pub fn new(version: HashVersion, signedness: Signedness, seed: [u8; 16]) -> Self {
        let (words, _) = seed.as_chunks::<4>();
        let mut state = DEFAULT_SEED;
        if seed != [0; 16] {
            for (slot, word) in state.iter_mut().zip(words) {
                *slot = u32::from_le_bytes(*word);
            }
        }
        Self {
            version,
            signedness,
            state,
            folds: false,
        }
    }

    /// The hasher of casefolding directories (`EXT4_CASEFOLD_FL`): it hashes what names fold to, and
    /// those that are not UTF-8 as they are (the kernel's `ext4fs_dirhash`).
    #[must_use]
    pub const fn folding(self) -> Self {
        Self {
            folds: true,
            ..self
        }
    }

    /// Whether it hashes what names fold to.
    pub const fn folds(&self) -> bool {
        self.folds
    }

    /// Which function it is.
    pub const fn version(&self) -> HashVersion {
        self.version
    }

    /// Hashes `name`, which is at most 255 bytes long.
    ///
    /// The kernel does not hash `.` and `..`: their place in a directory is fixed.
    ///
    /// ```
    /// use mke4fs::raw::ondisk::dirhash::{DirHash, DirHasher, HashVersion, Signedness};
    ///
    /// let hasher = DirHasher::new(HashVersion::HalfMd4, Signedness::Signed, [0; 16]);
    /// assert_eq!(hasher.hash(b"a"), DirHash { major: 0xd5fa_7d7a, minor: 0xacb4_8187 });
    /// ```
    pub fn hash(&self, name: &[u8]) -> DirHash {
        let folded = if self.folds { fold(name) } else { None };
        let name = &*folded.map_or(Cow::Borrowed(name), Cow::Owned);
        let (hash, minor) = match (self.version, self.signedness) {
            (HashVersion::Legacy, Signedness::Signed) => (legacy(name, widen_signed), 0),
            (HashVersion::Legacy, Signedness::Unsigned) => (legacy(name, u32::from), 0),
            (HashVersion::HalfMd4, Signedness::Signed) => half_md4(self.state, name, widen_signed),
            (HashVersion::HalfMd4, Signedness::Unsigned) => half_md4(self.state, name, u32::from),
            (HashVersion::Tea, Signedness::Signed) => tea(self.state, name, widen_signed),
            (HashVersion::Tea, Signedness::Unsigned) => tea(self.state, name, u32::from),
        };
        DirHash {
            major: usable(hash),
            minor,
        }
    }
}

fn widen_signed(byte: u8) -> u32 {
    i32::from(byte.cast_signed()).cast_unsigned()
}

/// Clears the bit that marks continued chains, and steps back from the end of the directory.
fn usable(hash: u32) -> u32 {
    match hash & !1 {
        END_OF_DIRECTORY => END_OF_DIRECTORY - 2,
        major => major,
    }
}

fn legacy(name: &[u8], widen: impl Fn(u8) -> u32) -> u32 {
    let mut current = 0x12a3_fe2d_u32;
    let mut previous = 0x37ab_e8f9_u32;
    for &byte in name {
        let mixed = current ^ widen(byte).wrapping_mul(7_152_373);
        let mut next = previous.wrapping_add(mixed);
        if next & 0x8000_0000 != 0 {
            next = next.wrapping_sub(0x7fff_ffff);
        }
        (previous, current) = (current, next);
    }
    current << 1
}

fn half_md4(seed: [u32; 4], name: &[u8], widen: impl Fn(u8) -> u32) -> (u32, u32) {
    let mut state = seed;
    let mut rest = name;
    while !rest.is_empty() {
        half_md4_block(&mut state, &words::<8>(rest, &widen));
        rest = rest.get(32..).unwrap_or_default();
    }
    (state[1], state[2])
}

fn tea(seed: [u32; 4], name: &[u8], widen: impl Fn(u8) -> u32) -> (u32, u32) {
    let mut state = [seed[0], seed[1]];
    let mut rest = name;
    while !rest.is_empty() {
        tea_block(&mut state, &words::<4>(rest, &widen));
        rest = rest.get(16..).unwrap_or_default();
    }
    (state[0], state[1])
}

/// The next `N` words of the name: four bytes each, the first the highest. Words that the name
/// ends in or before are filled up with the number of bytes left, once per byte.
fn words<const N: usize>(rest: &[u8], widen: impl Fn(u8) -> u32) -> [u32; N] {
    let left = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    let twice = left | (left << 8);
    let mut words = [twice | (twice << 16); N];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        // A signed byte borrows from the bytes above it, hence an addition.
        *word = bytes
            .iter()
            .fold(*word, |word, &byte| (word << 8).wrapping_add(widen(byte)));
    }
    words
}

/// RFC 1320's compression with eight steps a round, over eight words in an order of its own.
fn half_md4_block(state: &mut [u32; 4], words: &[u32; 8]) {
    let select = |x: u32, y: u32, z: u32| (x & y) | (!x & z);
    let majority = |x: u32, y: u32, z: u32| (x & y) | (x & z) | (y & z);
    let parity = |x: u32, y: u32, z: u32| x ^ y ^ z;

    let mut mixed = *state;
    for index in [[0, 1, 2, 3], [4, 5, 6, 7]] {
        four_steps(
            &mut mixed,
            index.map(|at: usize| words[at]),
            select,
            [3, 7, 11, 19],
        );
    }
    for index in [[1, 3, 5, 7], [0, 2, 4, 6]] {
        let input = index.map(|at: usize| words[at].wrapping_add(ROUND_2));
        four_steps(&mut mixed, input, majority, [3, 5, 9, 13]);
    }
    for index in [[3, 7, 2, 6], [1, 5, 0, 4]] {
        let input = index.map(|at: usize| words[at].wrapping_add(ROUND_3));
        four_steps(&mut mixed, input, parity, [3, 9, 11, 15]);
    }
    for (word, addend) in state.iter_mut().zip(mixed) {
        *word = word.wrapping_add(addend);
    }
}

/// Four steps of MD4, each of which replaces the next of a, d, c and b.
#[inline(always)]
fn four_steps(
    state: &mut [u32; 4],
    input: [u32; 4],
    function: impl Fn(u32, u32, u32) -> u32,
    rotations: [u32; 4],
) {
    let [mut a, mut b, mut c, mut d] = *state;
    for (word, rotation) in input.into_iter().zip(rotations) {
        let sum = a.wrapping_add(function(b, c, d)).wrapping_add(word);
        (a, b, c, d) = (d, sum.rotate_left(rotation), b, c);
    }
    *state = [a, b, c, d];
}

/// Encrypts the state with the words as the key, and adds what was there before.
fn tea_block(state: &mut [u32; 2], key: &[u32; 4]) {
    let [mut left, mut right] = *state;
    let mut sum = 0_u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(DELTA);
        left = left.wrapping_add(tea_mix(right, sum, key[0], key[1]));
        right = right.wrapping_add(tea_mix(left, sum, key[2], key[3]));
    }
    *state = [state[0].wrapping_add(left), state[1].wrapping_add(right)];
}

#[inline(always)]
fn tea_mix(half: u32, sum: u32, low: u32, high: u32) -> u32 {
    (half << 4).wrapping_add(low) ^ half.wrapping_add(sum) ^ (half >> 5).wrapping_add(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ondisk::fixture::from_hex;

    const SEED: [u8; 16] = [
        0x8c, 0x1f, 0x2a, 0x3b, 0x4d, 0x5e, 0x6f, 0x70, 0x81, 0x92, 0xa3, 0xb4, 0xc5, 0xd6, 0xe7,
        0xf8,
    ];

    /// The fixture's columns after the name, in its order.
    fn columns() -> Vec<DirHasher> {
        let mut hashers = Vec::new();
        for seed in [[0; 16], SEED] {
            for signedness in [Signedness::Signed, Signedness::Unsigned] {
                for version in [HashVersion::Legacy, HashVersion::HalfMd4, HashVersion::Tea] {
                    hashers.push(DirHasher::new(version, signedness, seed));
                }
            }
        }
        hashers
    }

    #[test]
    fn hashes_are_those_of_debugfs() {
        let fixture = include_str!("../../fixtures/ondisk/dirhash.txt");
        let mut names = 0;
        for line in fixture.lines() {
            let (name, expected) = line.split_once(' ').expect("a name and its hashes");
            let name = from_hex(name);
            let hashes: Vec<String> = columns()
                .iter()
                .map(|hasher| hasher.hash(&name))
                .map(|hash| format!("{:08x}:{:08x}", hash.major, hash.minor))
                .collect();
            assert_eq!(hashes.join(" "), expected, "{}", name.escape_ascii());
            names += 1;
        }
        assert!(names >= 100, "the fixture has {names} names");
    }

    #[test]
    fn hashes_of_casefolding_directories_are_those_of_debugfs() {
        let fixture = include_str!("../../fixtures/ondisk/casefold.txt");
        let hasher = DirHasher::new(HashVersion::HalfMd4, Signedness::Signed, SEED).folding();
        let mut names = 0;
        for line in fixture.lines() {
            let (name, expected) = line.split_once(' ').expect("a name and its hash");
            let name = from_hex(name);
            if expected == "opaque" {
                assert_eq!(fold(&name), None, "{}", name.escape_ascii());
                continue;
            }
            let hash = hasher.hash(&name);
            let hash = format!("{:08x}:{:08x}", hash.major, hash.minor);
            assert_eq!(hash, expected, "{}", name.escape_ascii());
            names += 1;
        }
        assert!(names >= 500, "the fixture has {names} names");
    }

    #[test]
    fn names_that_are_not_utf8_are_hashed_as_they_are() {
        let hasher = DirHasher::new(HashVersion::HalfMd4, Signedness::Signed, SEED);
        for name in [&b"\x80A"[..], b"A\xff", b"Z\xc3"] {
            assert_eq!(hasher.folding().hash(name), hasher.hash(name));
        }
    }

    #[test]
    fn no_name_hashes_to_the_end_of_a_directory() {
        assert_eq!(usable(0xffff_ffff), 0xffff_fffc);
        assert_eq!(usable(0xffff_fffe), 0xffff_fffc);
        assert_eq!(usable(0xffff_fffd), 0xffff_fffc);
        assert_eq!(usable(1), 0);
    }

    #[test]
    fn an_empty_name_is_the_seed() {
        let hasher = DirHasher::new(HashVersion::HalfMd4, Signedness::Signed, [0; 16]);
        assert_eq!(
            hasher.hash(b""),
            DirHash {
                major: 0xefcd_ab88,
                minor: 0x98ba_dcfe
            }
        );
    }
}
