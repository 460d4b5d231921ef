//! Given what only fuzzers and the curious need of how an image is made, gives it a name; never a promise:
//! anything here may change or go in any version.

pub mod emit {
    //! From a layout to bytes.
    pub use crate::emit::*;
}

pub mod geometry {
    //! From settings to counts and sizes.
    pub use crate::geometry::*;
}

pub mod layout {
    //! Where every block is.
    pub use crate::layout::*;
}

pub mod ondisk {
    //! The format: structs, checksums and hashes.
    pub use crate::ondisk::*;
}

pub mod units {
    //! Numbers of blocks, groups and inodes.
    pub use crate::units::*;
}

#[doc(hidden)]
pub mod work {
    pub use crate::work::*;
}

pub use crate::builder::{Built, PreparedImage};
