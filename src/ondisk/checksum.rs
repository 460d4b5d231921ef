//! Given a register and bytes, gives the register after them; never the final inversion, never a stored field.
//!
//! ext4 keeps CRC-32C as the raw shift register: it starts from [`INITIAL`] or a seed and is stored
//! without inversion. Which structure is covered, from which seed (kernel documentation,
//! "Checksums"; every checksum field counts as zero while it is computed):
//!
//! | structure | register before | bytes |
//! |---|---|---|
//! | superblock | [`INITIAL`] | all before `s_checksum` |
//! | group descriptor | filesystem seed, le32 group | the descriptor; low 16 bits kept |
//! | block or inode bitmap | filesystem seed | one group's bits, whole bytes |
//! | inode | inode seed | the whole inode |
//! | extent block, directory block, htree node | inode seed of the owner | all before the tail |
//! | attribute block | filesystem seed, le64 block number | the block |
//! | MMP block | filesystem seed | all before `mmp_checksum` |
//! | journal superblock | [`INITIAL`] | the 1,024 bytes |
//!
//! jbd2's first checksum, of a commit and all that belongs to it, is a [`crc32_be`].
//!
//! Before `metadata_csum`, `gdt_csum` covered group descriptors alone, by [`crc16`].

/// The register before the first byte where no seed is given, for both [`crc32c()`] and a
/// filesystem seed.
pub const INITIAL: u32 = !0;

/// The register before the first byte of [`crc16`] as `gdt_csum` uses it.
pub const INITIAL_CRC16: u16 = !0;

/// CRC-32C's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// The `crc16` polynomial (ANSI), reflected.
const POLYNOMIAL_CRC16: u16 = 0xA001;

/// The polynomial of Ethernet's CRC-32, its highest power first.
const POLYNOMIAL_CRC32: u32 = 0x04C1_1DB7;

/// `ZERO_POWERS[k]` multiplies a register by x to the power 8·2^k: it appends 2^k zero bytes.
const ZERO_POWERS: [u32; 64] = zero_powers();

const CRC16_TABLE: [u16; 256] = crc16_table();

const CRC32_BE_TABLE: [u32; 256] = crc32_be_table();

/// Continues the raw CRC-32C `register` over `bytes`.
///
/// ```
/// use mke4fs::raw::ondisk::checksum::{INITIAL, crc32c};
///
/// // The check value of the published CRC-32C is the inverted register.
/// assert_eq!(!crc32c(INITIAL, b"123456789"), 0xE306_9283);
/// ```
pub fn crc32c(register: u32, bytes: &[u8]) -> u32 {
    // The crate inverts on entry and on exit; inverting again on both sides undoes that.
    !::crc32c::crc32c_append(!register, bytes)
}

/// Continues the raw CRC-32C `register` over `length` zero bytes, in time that grows with the
/// number of bits set in `length` and not with `length`.
pub fn crc32c_zeros(register: u32, length: u64) -> u32 {
    let mut register = register;
    let mut remaining = length;
    for power in ZERO_POWERS {
        if remaining & 1 == 1 {
            register = multiply(register, power);
        }
        remaining >>= 1;
        if remaining == 0 {
            break;
        }
    }
    register
}

/// Continues the CRC-16 `register` over `bytes`, as `bg_checksum` holds it under `gdt_csum`.
pub fn crc16(register: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(register, |register, &byte| {
        let [low, high] = register.to_le_bytes();
        CRC16_TABLE[usize::from(low ^ byte)] ^ u16::from(high)
    })
}

/// Continues the CRC-32 `register`, whose highest bit comes first, over `bytes`: the kernel's
/// `crc32_be`.
pub fn crc32_be(register: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(register, |register, &byte| {
        let [highest, ..] = register.to_be_bytes();
        CRC32_BE_TABLE[usize::from(highest ^ byte)] ^ (register << 8)
    })
}

/// The filesystem's seed: the register after its UUID.
///
/// With `metadata_csum_seed` it is stored as `s_checksum_seed`, and outlives a change of the UUID.
pub fn filesystem_seed(uuid: [u8; 16]) -> u32 {
    crc32c(INITIAL, &uuid)
}

/// The seed of everything an inode owns: the filesystem's seed, then the inode's number and
/// `i_generation`, both as little-endian 32 bits.
pub fn inode_seed(filesystem_seed: u32, ino: u32, generation: u32) -> u32 {
    let numbered = crc32c(filesystem_seed, &ino.to_le_bytes());
    crc32c(numbered, &generation.to_le_bytes())
}

/// The product of two polynomials modulo CRC-32C's, all reflected: bit 31 is the coefficient of 1.
const fn multiply(a: u32, b: u32) -> u32 {
    let mut product = 0;
    let mut shifted = b;
    let mut remaining = a;
    while remaining != 0 {
        if remaining & 0x8000_0000 != 0 {
            product ^= shifted;
        }
        remaining <<= 1;
        shifted = if shifted & 1 == 1 {
            (shifted >> 1) ^ POLYNOMIAL
        } else {
            shifted >> 1
        };
    }
    product
}

const fn zero_powers() -> [u32; 64] {
    // x to the eighth is bit 31 - 8.
    let mut powers = [1 << 23; 64];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = multiply(powers[index - 1], powers[index - 1]);
        index += 1;
    }
    powers
}

const fn crc16_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    let mut byte = 0_u16;
    while index < table.len() {
        let mut register = byte;
        let mut bit = 0;
        while bit < 8 {
            register = if register & 1 == 1 {
                (register >> 1) ^ POLYNOMIAL_CRC16
            } else {
                register >> 1
            };
            bit += 1;
        }
        table[index] = register;
        index += 1;
        byte += 1;
    }
    table
}

const fn crc32_be_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    let mut highest = 0_u32;
    while index < table.len() {
        let mut register = highest;
        let mut bit = 0;
        while bit < 8 {
            register = if register & 0x8000_0000 != 0 {
                (register << 1) ^ POLYNOMIAL_CRC32
            } else {
                register << 1
            };
            bit += 1;
        }
        table[index] = register;
        index += 1;
        highest = highest.wrapping_add(1 << 24);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_are_the_published_ones() {
        assert_eq!(crc32c(INITIAL, b"123456789"), !0xE306_9283);
        // CRC-16/MODBUS is this polynomial from this register.
        assert_eq!(crc16(INITIAL_CRC16, b"123456789"), 0x4B37);
        // CRC-32/MPEG-2 is this order of bits without inversion.
        assert_eq!(crc32_be(u32::MAX, b"123456789"), 0x0376_E6E7);
        // CRC-16/ARC starts from zero.
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
    }

    #[test]
    fn crc32c_continues_where_it_stopped() {
        let whole = crc32c(INITIAL, b"123456789");
        assert_eq!(crc32c(crc32c(INITIAL, b"1234"), b"56789"), whole);
        assert_eq!(crc32c(0x1234_5678, b""), 0x1234_5678);
    }

    #[test]
    fn zeros_are_as_if_spelled_out() {
        let zeros = vec![0; 70_000];
        for register in [0, 1, INITIAL, 0x1234_5678, 0x8000_0000] {
            for length in [0, 1, 2, 3, 4, 5, 31, 1024, 4096, 4095, 65_535, 70_000] {
                let spelled = crc32c(register, &zeros[..length]);
                let length = u64::try_from(length).expect("a small length");
                assert_eq!(
                    crc32c_zeros(register, length),
                    spelled,
                    "{register:#x}, {length}"
                );
            }
        }
    }

    #[test]
    fn zeros_of_any_length_add_up() {
        let huge = u64::MAX - 5;
        let in_one = crc32c_zeros(INITIAL, huge);
        assert_eq!(crc32c_zeros(crc32c_zeros(INITIAL, huge - 7), 7), in_one);
    }
}
