//! Given a geometry and a tree, gives every block and inode number; never a byte of the image.

pub mod directory;
pub mod extents;
mod levels;
