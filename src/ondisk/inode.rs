//! Given what an inode says, gives its bytes; never where they go.
//!
//! Layout: the kernel's `Documentation/filesystems/ext4/inodes.rst`.

use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

use super::checksum::crc32c;
use super::int::{Le16, Le32};
use super::superblock::{halves, halves_16};
use crate::units::Timestamp;

/// Bytes of the inode that every ext filesystem has.
pub const GOOD_OLD_SIZE: usize = 128;
/// `i_extra_isize`: bytes of the extra fields this struct knows.
pub const EXTRA_ISIZE: u16 = 32;
/// `EXT4_LINK_MAX`: the most names that an inode counts.
pub const LINK_MAX: u32 = 65_000;

/// `EXT4_IMMUTABLE_FL`: nothing may change the file.
pub const FLAG_IMMUTABLE: u32 = 0x10;
/// `EXT4_APPEND_FL`: the file only grows.
pub const FLAG_APPEND: u32 = 0x20;
/// `EXT4_ENCRYPT_FL`: file data, or the names in the directory, are encrypted.
pub const FLAG_ENCRYPT: u32 = 0x800;
/// `EXT4_INDEX_FL`: the directory has an htree.
pub const FLAG_INDEX: u32 = 0x1000;
/// `EXT4_HUGE_FILE_FL`: `i_blocks` counts filesystem blocks.
pub const FLAG_HUGE_FILE: u32 = 0x4_0000;
/// `EXT4_EXTENTS_FL`: the inode maps its blocks by extents.
pub const FLAG_EXTENTS: u32 = 0x8_0000;
/// `EXT4_VERITY_FL`: the file's tree of hashes lies past its end.
pub const FLAG_VERITY: u32 = 0x10_0000;
/// `EXT4_EA_INODE_FL`: the inode holds the value of an extended attribute.
pub const FLAG_EA_INODE: u32 = 0x20_0000;
/// `EXT4_INLINE_DATA_FL`: the inode holds its content itself.
pub const FLAG_INLINE_DATA: u32 = 0x1000_0000;
/// `EXT4_CASEFOLD_FL`: a case-insensitive (casefolded) directory.
pub const FLAG_CASEFOLD: u32 = 0x4000_0000;

/// The type bits of `i_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType(u16);

impl FileType {
    /// A named pipe.
    pub const FIFO: Self = Self(0x1000);
    /// A character device.
    pub const CHAR_DEVICE: Self = Self(0x2000);
    /// A directory.
    pub const DIRECTORY: Self = Self(0x4000);
    /// A block device.
    pub const BLOCK_DEVICE: Self = Self(0x6000);
    /// A regular file.
    pub const REGULAR: Self = Self(0x8000);
    /// A symbolic link.
    pub const SYMLINK: Self = Self(0xa000);
    /// A socket.
    pub const SOCKET: Self = Self(0xc000);

    /// `i_mode` of this type with `permissions`, of which the lowest twelve bits count.
    pub const fn mode(self, permissions: u16) -> u16 {
        self.0 | (permissions & 0o7777)
    }
}

/// An inode up to and with `i_projid`; the rest of a larger inode holds attributes.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "each field is documented by its name in inodes.rst"
)]
pub struct Inode {
    pub i_mode: Le16,
    pub i_uid_lo: Le16,
    pub i_size_lo: Le32,
    pub i_atime: Le32,
    pub i_ctime: Le32,

    pub i_mtime: Le32,
    pub i_dtime: Le32,
    pub i_gid_lo: Le16,
    pub i_links_count: Le16,
    pub i_blocks_lo: Le32,

    pub i_flags: Le32,
    pub i_version: Le32,
    pub i_block: [u8; 60],
    pub i_generation: Le32,
    pub i_file_acl_lo: Le32,
    pub i_size_hi: Le32,

    pub i_faddr: Le32,
    pub i_blocks_hi: Le16,
    pub i_file_acl_hi: Le16,
    pub i_uid_hi: Le16,
    pub i_gid_hi: Le16,
    pub i_checksum_lo: Le16,
    pub i_reserved: Le16,

    pub i_extra_isize: Le16,
    pub i_checksum_hi: Le16,
    pub i_ctime_extra: Le32,
    pub i_mtime_extra: Le32,
    pub i_atime_extra: Le32,

    pub i_crtime: Le32,
    pub i_crtime_extra: Le32,
    pub i_version_hi: Le32,
    pub i_projid: Le32,
}

const _: () = assert!(size_of::<Inode>() == 160);
const _: () = assert!(offset_of!(Inode, i_block) == 0x28);
const _: () = assert!(offset_of!(Inode, i_checksum_lo) == 0x7c);
const _: () = assert!(offset_of!(Inode, i_extra_isize) == 0x80);

/// The first second a timestamp can hold.
pub const TIME_MIN: i64 = -(1 << 31);
/// The last second a timestamp of 34 bits can hold, in the year 2446.
pub const TIME_MAX: i64 = (1 << 34) - (1 << 31) - 1;
/// The last second a timestamp of 32 bits can hold, in the year 2038.
pub const TIME_MAX_32: i64 = (1 << 31) - 1;

/// A timestamp as its two fields: the low 32 bits of the seconds, and two more bits of them below
/// thirty bits of nanoseconds. The extra bits count how often 2^32 is added to the signed low half.
pub fn split_time(time: Timestamp) -> (Le32, Le32) {
    let seconds = time.seconds.clamp(TIME_MIN, TIME_MAX);
    let (low, _) = halves_signed(seconds);
    let signed_low = i64::from(i32::from_le_bytes(low.to_le_bytes()));
    let epoch = u32::try_from((seconds - signed_low) >> 32).unwrap_or(0) & 3;
    (
        Le32::new(low),
        Le32::new(epoch | (time.nanoseconds.min(999_999_999) << 2)),
    )
}

/// The timestamp of two fields, as [`split_time`] makes them; nanoseconds past a second's end count as
/// its last one.
pub fn join_time(low: Le32, extra: Le32) -> Timestamp {
    let signed = i64::from(low.get().cast_signed());
    Timestamp {
        seconds: signed + (i64::from(extra.get() & 3) << 32),
        nanoseconds: (extra.get() >> 2).min(999_999_999),
    }
}

impl Inode {
    /// The size in bytes.
    pub fn size(&self) -> u64 {
        u64::from(self.i_size_lo.get()) | u64::from(self.i_size_hi.get()) << 32
    }

    /// The owner.
    pub fn uid(&self) -> u32 {
        u32::from(self.i_uid_lo.get()) | u32::from(self.i_uid_hi.get()) << 16
    }

    /// The group.
    pub fn gid(&self) -> u32 {
        u32::from(self.i_gid_lo.get()) | u32::from(self.i_gid_hi.get()) << 16
    }

    /// Sets both halves of the size, in bytes.
    pub fn set_size(&mut self, bytes: u64) {
        (self.i_size_lo, self.i_size_hi) = halves(bytes);
    }

    /// Sets both halves of the owner and the group.
    pub fn set_owner(&mut self, uid: u32, gid: u32) {
        (self.i_uid_lo, self.i_uid_hi) = halves_16(uid);
        (self.i_gid_lo, self.i_gid_hi) = halves_16(gid);
    }

    /// Sets all three parts of `i_blocks`, in the unit that `i_flags` says.
    pub fn set_blocks(&mut self, units: u64) {
        let (low, high) = halves(units);
        self.i_blocks_lo = low;
        self.i_blocks_hi = halves_16(high.get()).0;
    }

    /// Sets both halves of the attribute block's number.
    pub fn set_file_acl(&mut self, block: u64) {
        let (low, high) = halves(block);
        self.i_file_acl_lo = low;
        self.i_file_acl_hi = halves_16(high.get()).0;
    }
}

/// Puts the checksum into `stored`, an inode of any size with both checksum fields zero.
///
/// CRC-32C over all its bytes from the inode's seed; its high half only where the extra fields
/// reach that far.
pub fn set_checksum(stored: &mut [u8], inode_seed: u32) {
    let bytes = crc32c(inode_seed, stored).to_le_bytes();
    stored[0x7c..0x7e].copy_from_slice(&bytes[..2]);
    let has_high = stored.len() > GOOD_OLD_SIZE && {
        let extra = u16::from_le_bytes([stored[0x80], stored[0x81]]);
        extra >= 4
    };
    if has_high {
        stored[0x82..0x84].copy_from_slice(&bytes[2..]);
    }
}

fn halves_signed(value: i64) -> (u32, u32) {
    let (low, high) = halves(u64::from_le_bytes(value.to_le_bytes()));
    (low.get(), high.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(time: Timestamp) -> (i64, u32) {
        let (low, extra) = split_time(time);
        let joined = join_time(low, extra);
        (joined.seconds, joined.nanoseconds)
    }

    #[test]
    fn times_from_1901_to_2446_survive() {
        for seconds in [
            TIME_MIN,
            -1,
            0,
            TIME_MAX_32,
            TIME_MAX_32 + 1,
            1 << 32,
            TIME_MAX,
        ] {
            let time = Timestamp {
                seconds,
                nanoseconds: 999_999_999,
            };
            assert_eq!(joined(time), (seconds, 999_999_999));
        }
    }

    #[test]
    fn times_beyond_are_clamped() {
        assert_eq!(joined(Timestamp::from_seconds(i64::MAX)).0, TIME_MAX);
        assert_eq!(joined(Timestamp::from_seconds(i64::MIN)).0, TIME_MIN);
    }
}
