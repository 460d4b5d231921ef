//! The format: given values, gives the bytes ext4 stores for them; never a choice of place or number.
//!
//! Structs are `repr(C)` and Pod, in the order of the format, a blank line every 16 bytes.

pub mod acl;
pub mod casefold;
mod casefold_tables;
pub mod checksum;
pub mod dir;
pub mod dirhash;
pub mod extent;
pub mod fsverity;
pub mod group_desc;
pub mod inode;
pub mod int;
pub mod jbd2;
pub mod mmp;
pub mod orphan;
pub mod quota;
pub mod superblock;
pub mod undo;
pub mod xattr;

#[cfg(test)]
mod fixture;
