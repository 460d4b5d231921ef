//! Given a flag's value, notes the wish in a [`Request`](super::request::Request); never acts on it.
//!
//! One item per flag: its names, what its value is called, its help and its reader. Both the mke2fs and
//! the mke4fs way of reading a command line use this table, and so does all that explains the flags.

mod flag;
mod readers;
mod table;

pub(super) use flag::{Fault, Flag, Shown};
pub(super) use table::GROUPS;

/// Every flag, in the order of help.
pub(super) fn flags() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags)
}
