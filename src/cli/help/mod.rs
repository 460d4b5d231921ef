//! Given the tables of flags, verbs and options, gives all that explains the command; never acts.
//!
//! The command that clap reads arguments by is made here of the same tables.

mod command;
mod generate;
mod page;
mod topics;

pub(super) use command::{GENERATE, HELP, OUTPUT, SIZE, command};
pub(super) use generate::generate;
pub(super) use page::{short, topic};
