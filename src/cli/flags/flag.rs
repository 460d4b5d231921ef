//! Given what a flag is called and how its value is read, is that flag; never reads one itself.

use std::ffi::OsStr;

use super::error::FlagError;
use crate::cli::request::Request;

/// Notes in a request what a flag's value asks for.
pub(in crate::cli) type Reader = fn(&mut Request, &OsStr) -> Result<(), FlagError>;

/// Flags that help shows together.
pub(in crate::cli) struct Group {
    pub(in crate::cli) title: &'static str,
    pub(in crate::cli) flags: &'static [Flag],
}

/// Which help shows a flag.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::cli) enum Shown {
    /// `-h` and `--help`.
    Always,
    /// `--help` alone.
    Long,
    /// Neither: it is refused, or only the older name of another.
    Never,
}

/// A flag.
pub(in crate::cli) struct Flag {
    /// Its letter, if it has one: that of mke2fs's flag, by whose names it has no other name.
    pub(in crate::cli) letter: Option<char>,
    /// Its long name, if it has one.
    pub(in crate::cli) long: Option<&'static str>,
    /// What its value is called, if it takes one.
    pub(in crate::cli) value: Option<&'static str>,
    /// Whether it may stand without its value, which follows `=`.
    pub(in crate::cli) is_optional: bool,
    /// The values that help names.
    pub(in crate::cli) values: &'static [&'static str],
    /// Whether its value is a path of the host.
    pub(in crate::cli) takes_path: bool,
    /// One sentence without a full stop, with what holds without the flag in brackets.
    pub(in crate::cli) help: &'static str,
    /// What `--help` says beside that.
    pub(in crate::cli) more: &'static str,
    /// One use of it.
    pub(in crate::cli) example: &'static str,
    pub(in crate::cli) shown: Shown,
    /// Notes the wish.
    pub(in crate::cli) read: Reader,
}

impl Flag {
    /// A flag without a value that has no long name.
    pub(super) const fn bare(letter: char, help: &'static str, read: Reader) -> Self {
        Self {
            letter: Some(letter),
            long: None,
            value: None,
            is_optional: false,
            values: &[],
            takes_path: false,
            help,
            more: "",
            example: "",
            shown: Shown::Always,
            read,
        }
    }

    /// A flag without a value that has no letter.
    pub(super) const fn long(long: &'static str, help: &'static str, read: Reader) -> Self {
        Self {
            letter: None,
            long: Some(long),
            ..Self::bare('-', help, read)
        }
    }

    /// A flag without a value.
    pub(super) const fn new(
        letter: char,
        long: &'static str,
        help: &'static str,
        read: Reader,
    ) -> Self {
        Self {
            long: Some(long),
            ..Self::bare(letter, help, read)
        }
    }

    /// The flag, with a value.
    pub(super) const fn value(self, value: &'static str) -> Self {
        Self {
            value: Some(value),
            ..self
        }
    }

    /// The flag, with a value that may be missing.
    pub(super) const fn optional(self, value: &'static str) -> Self {
        Self {
            is_optional: true,
            ..self.value(value)
        }
    }

    /// The flag, with a path of the host as its value.
    pub(super) const fn path(self, value: &'static str) -> Self {
        Self {
            takes_path: true,
            ..self.value(value)
        }
    }

    /// The flag, with values that help names.
    pub(super) const fn among(self, values: &'static [&'static str]) -> Self {
        Self { values, ..self }
    }

    /// The flag, with more about it.
    pub(super) const fn more(self, more: &'static str) -> Self {
        Self { more, ..self }
    }

    /// The flag, with an example.
    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// The flag, where not all help shows it.
    pub(super) const fn shown(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    /// The name it goes by in clap.
    pub(in crate::cli) fn name(&self) -> String {
        match self.letter {
            Some(letter) => letter.to_string(),
            None => self.long.unwrap_or_default().to_owned(),
        }
    }
}
