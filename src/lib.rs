//! mke4fs writes an ext4 filesystem directly: no e2fsprogs, no root, no mount, no C.

mod builder;
pub mod cancel;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod emit;
mod error;
pub mod feature;
pub mod geometry;
pub mod layout;
pub mod ondisk;
pub mod options;
mod plan;
pub mod sink;
pub mod source;
mod summary;
mod sys;
pub mod tree;
pub mod units;

pub use builder::{Builder, Notice, Plan};
pub use error::Error;
pub use plan::Fit;
pub use summary::{NodeCounts, Summary};
