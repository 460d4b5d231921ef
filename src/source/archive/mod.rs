//! Given what may be an archive, of whatever form, gives what its forms have in common: how its first bytes
//! are taken, where it is kept uncompressed, and how entries are put into a tree; never an entry's header.
//!
//! [`Opened`] detects and decompresses, [`Spool`] keeps what comes but once, [`StoredFile`] has the data of
//! files, and [`Unpack`] puts an [`Entry`] into a tree.

pub(in crate::source) mod acl;
pub mod decompress;
pub(in crate::source) mod entry;
pub(in crate::source) mod error;
pub(in crate::source) mod input;
mod oddity;
mod open;
mod owners;
mod spool;
mod stored;
mod unpack;

pub use entry::{Entry, EntryKind, Stored};
pub use error::ArchiveError;
pub use input::Input;
pub(in crate::source) use input::Stream;
pub(in crate::source) use oddity::Oddities;
pub use oddity::Oddity;
pub(in crate::source) use open::{Begin, NotRead, Opened};
pub(in crate::source) use spool::{Spool, drain};
pub(in crate::source) use stored::{FileUse, StoredFile};
pub use unpack::{Unpack, UnpackError};
