//! Given a flag's value, notes the wish in a [`Request`](super::request::Request); never acts on it.
//!
//! One item per flag: its names, what its value is called, its help and its reader. Both the mke2fs and
//! the mke4fs way of reading a command line use this table, and so does all that explains the flags.

mod error;
mod flag;
mod readers;
mod rules;
mod table;

use std::ffi::OsString;

pub(super) use error::{FlagError, FlagValue};
pub(super) use flag::{Flag, Shown};
pub(super) use readers::{SIZE_TWICE, bad_size, compat_target};
pub(super) use table::GROUPS;

/// Every flag, in the order of help.
pub(super) fn flags() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags)
}

/// The value that bytes of an argument are.
pub(super) fn os_string(bytes: &[u8]) -> OsString {
    let lossy = || String::from_utf8_lossy(bytes).into_owned().into();
    crate::sys::path_of_bytes(bytes).map_or_else(lossy, OsString::from)
}
