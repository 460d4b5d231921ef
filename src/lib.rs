//! mke4fs writes an ext4 filesystem directly: no e2fsprogs, no root, no mount, no C.

pub mod cancel;
pub mod emit;
pub mod feature;
pub mod geometry;
pub mod layout;
pub mod ondisk;
pub mod options;
pub mod sink;
pub mod source;
mod sys;
pub mod tree;
pub mod units;
