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
//! [`options::Options`] is what is asked for, [`options::Settings`] every wish filled in,
//! [`geometry::Geometry`] the counts and sizes. A [`source::Source`] declares files into a
//! [`tree::Tree`]. [`layout::Layout`] decides where every block is, [`emit`] renders them and writes
//! them to a [`sink::Sink`], and a [`Summary`] tells what was made. [`Builder`] goes that way:
//!
//! ```rust
//! use std::env;
//! use std::error::Error;
//! use std::num::NonZero;
//! use std::sync::atomic::AtomicBool;
//!
//! use mke4fs::emit::Writing;
//! use mke4fs::options::{Environment, Options};
//! use mke4fs::sink::{IfBusy, Output};
//! use mke4fs::source::dir::Directory;
//! use mke4fs::{Builder, Fit};
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let mut options = Options::new();
//!     options.label("sources");
//!     let plan = Builder::new(options, Environment::detect())
//!         .source(Directory::new("src"))
//!         .fit(Fit::Auto)
//!         .plan()?;
//!     for warning in &plan.warnings {
//!         eprintln!("{warning}");
//!     }
//!
//!     let path = env::temp_dir().join("sources.img");
//!     let output = Output::open(&path, IfBusy::Refuse)?;
//!     let draft = output.begin(&plan.range())?;
//!     let writing = Writing {
//!         threads: NonZero::<usize>::MIN,
//!         progress: &|_bytes| {},
//!         cancel: &AtomicBool::new(false),
//!         sync: false,
//!     };
//!     plan.write(draft.file(), &writing)?;
//!     draft.keep();
//! #   std::fs::remove_file(&path)?;
//! #   assert!(plan.summary().nodes.files > 10);
//!     Ok(())
//! }
//! ```
//!
//! An output that is dropped before [`keep`](sink::Draft::keep) leaves no file that was not there
//! before, and nothing that mounts.
//!
//! [`read`] opens images that anybody made, and [`check`] says what is wrong in them.
//!
//! The library reads the clock, randomness and the environment in [`options::Environment::detect`] alone,
//! and prints nothing. Names are bytes. Without the feature `cli`, which is on unless told otherwise,
//! it does without what only the command needs.

mod builder;
pub mod cancel;
pub mod check;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod diff;
pub mod emit;
mod error;
pub mod export;
pub mod feature;
pub mod geometry;
pub mod grow;
pub mod layout;
pub mod map;
pub mod ondisk;
pub mod options;
mod plan;
pub mod read;
pub mod sink;
pub mod source;
mod summary;
mod sys;
pub mod tree;
pub mod units;
#[doc(hidden)]
pub mod work;

pub use builder::{Builder, Built, NoLargeBlocks, Plan, Ready, Sparse, Warning};
pub use diff::diff;
pub use error::Error;
pub use plan::Fit;
pub use summary::{NodeCounts, Summary};
