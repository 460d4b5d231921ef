//! Given the arguments behind our own name, does what the verb says that they begin with; never by a name
//! of mke2fs's.
//!
//! A verb is a file here and a row of [`VERBS`]. It reads images and writes to standard output, but for
//! `grow`, which changes one. A file that is to be made and is called like a verb is written `./ls`.

mod cat;
mod check;
mod diff;
mod grow;
mod image;
mod ls;
mod map;
mod tar;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::Failed;
use super::stream::{painted, tell, warn};
use crate::sys;

/// All verbs, in the order of the help.
pub(super) const VERBS: &[Verb] = &[
    ls::VERB,
    cat::VERB,
    tar::VERB,
    check::VERB,
    diff::VERB,
    map::VERB,
    grow::VERB,
];

/// What the command does beside making filesystems.
pub(super) struct Verb {
    /// The word.
    pub(super) name: &'static str,
    /// One sentence without a full stop.
    pub(super) about: &'static str,
    /// Adds its arguments to a command that has `--help`.
    arguments: fn(Command) -> Command,
    /// Does it.
    run: fn(&ArgMatches) -> Result<ExitCode, VerbError>,
    /// The status where it could not be done.
    trouble: u8,
}

/// Why a verb could not be done.
enum VerbError {
    /// One line about it, without the command's name.
    Line(String),
    /// Whoever read standard output closed it, and wants to hear no more.
    Closed,
}

impl VerbError {
    /// Standard output could not be written to.
    fn unwritten(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::Line(format!(
            "cannot write to standard output: {}",
            sys::reason(&error)
        ))
    }
}

/// Writes to standard output.
fn write_out(text: &str) -> Result<(), VerbError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(VerbError::unwritten)
}

/// The command that reads the arguments of a verb.
pub(super) fn command(verb: &Verb) -> Command {
    let command = Command::new(verb.name)
        .bin_name(format!("mke4fs {}", verb.name))
        .about(verb.about);
    (verb.arguments)(command.args_override_self(true))
}

/// The verb that `word` is.
pub(super) fn verb(word: &OsStr) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| word == verb.name)
}

/// Does what a verb says with the arguments after it.
pub(super) fn run(
    verb: &Verb,
    arguments: impl Iterator<Item = OsString>,
) -> Result<ExitCode, Failed> {
    let name = format!("mke4fs {}", verb.name);
    let arguments = std::iter::once(OsString::from(&name)).chain(arguments);
    let matches = match command(verb).try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            warn(&painted(&error.render(), io::stderr().is_terminal()));
            return Ok(ExitCode::from(verb.trouble));
        }
        Err(help) => {
            tell(&painted(&help.render(), io::stdout().is_terminal()));
            return Ok(ExitCode::SUCCESS);
        }
    };
    match (verb.run)(&matches) {
        Ok(status) => Ok(status),
        Err(trouble) => {
            if let VerbError::Line(text) = trouble {
                warn(&format!("{name}: {text}\n"));
            }
            Ok(ExitCode::from(verb.trouble))
        }
    }
}
