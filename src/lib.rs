//! Given options and files, gives an ext4 filesystem in a file, on a device or in memory; never asks
//! e2fsprogs, root or the kernel's mount for help.
//!
//! Everything flows one way. Two arms, what is asked for and what is to be kept, meet in the layout:
//!
//! ```text
//! Options ─→ Settings ─→ Geometry ─┐
//!                                  ├─→ Layout ─→ emit ─→ Sink ─→ Summary
//! Sources ─→ Tree ─────────────────┘
//! ```
//!
//! [`Builder`] goes that way:
//!
//! ```rust
//! let summary = mke4fs::Builder::new()
//!     .label("sources")
//!     .source(mke4fs::Directory::new("src"))
//!     .write_file("sources.img")?;
//! println!("{}", summary.to_json());
//! #   std::fs::remove_file("sources.img")?;
//! #   assert!(summary.nodes.files > 10);
//! #   Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Options`] is what is asked for, and [`Environment`] what the clock, chance and the output say. A
//! [`Source`] declares files into a [`Tree`]: a [`Directory`], an archive, a container image, an ext4 image,
//! a tree that the program built itself, or a type of its own. A [`Plan`] has decided every block, and
//! writes them to a file, to memory or to any [`Sink`]; a [`Summary`] says what was made. [`check()`]
//! finds what is wrong in an image, and [`read`] what is in it.
//!
//! An image that is not finished has no superblock, so that nothing mounts it, and a file that was created
//! for it is gone.
//!
//! The library reads the clock, randomness and the environment in [`Environment::detect`] alone, and prints
//! nothing. Names are bytes. Without the feature `cli`, which is on by default, it does without
//! what only the command needs.
//!
//! What this page and the modules [`options`], [`source`], [`sink`], [`tree`], [`check`](mod@check) and
//! [`read`] say is what the crate promises; [`raw`] is for the curious, and may change. The bytes of an image may
//! change from version to version, where files lie above all. Within one they are a function of options,
//! sources, UUID, hash seed and clock: no thread, machine or output changes them. How an archive comes may:
//! what [`Builder::plan`] says of streams.

mod base;
mod builder;
mod cancel;
pub mod check;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod diff;
mod emit;
mod error;
pub mod export;
pub mod feature;
mod geometry;
pub mod grow;
mod json;
mod layout;
pub mod map;
mod ondisk;
pub mod options;
mod plan;
pub mod raw;
pub mod read;
pub mod sink;
pub mod source;
mod summary;
mod sys;
mod threads;
pub mod tree;
mod units;
mod warning;
#[doc(hidden)]
mod work;

pub use base::Base;
pub use builder::{Builder, Plan, Progress, Reflink, Sparse};
pub use cancel::{Cancel, Cancelled};
#[cfg(all(unix, feature = "cli"))]
#[doc(hidden)]
pub use cancel::{fail_on_abort, ignore_file_size_signal};
pub use check::check;
pub use diff::diff;
pub use error::{Error, ErrorKind};
pub use options::{Environment, Options, Size};
pub use plan::Fit;
pub use sink::{Memory, Piece, Sink};
pub use source::Source;
pub use source::copy::Copy;
pub use source::dir::Directory;
pub use source::image::Image;
#[cfg(feature = "oci")]
pub use source::oci::Image as ContainerImage;
pub use source::rules::Rule;
#[cfg(feature = "tar")]
pub use source::tar::Tar;
pub use summary::{BaseCounts, FileDigest, NodeCounts, Summary, UpdateCounts};
pub use tree::{Content, Metadata, Tree, TreeError};
pub use units::{Timestamp, VerityHash};
pub use warning::Warning;
