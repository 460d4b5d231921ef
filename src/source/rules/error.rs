//! Given what is wrong with a rule's text, tells it with file and line; never mends it.

use std::fmt;

use super::super::place::PlaceError;
use super::super::{Readable, SourceError};
use crate::tree::TreeError;

/// Why a rule's text cannot be followed.
///
/// Its text begins with the file's name and the line, as compilers tell them.
#[derive(Debug)]
pub struct RuleError {
    file: String,
    line: u64,
    fault: RuleErrorKind,
}

/// What is wrong with a line.
#[derive(Debug)]
pub(super) enum RuleErrorKind {
    /// A keyword that mtree(5) does not have.
    Keyword(Vec<u8>),
    /// A value that its keyword or column cannot have.
    Value {
        of: &'static str,
        value: Vec<u8>,
        needed: &'static str,
    },
    /// A backslash that stands for nothing.
    Escape(Vec<u8>),
    /// A name of a user or group without its number.
    NameOfId {
        of: &'static str,
        name: Vec<u8>,
        needed: &'static str,
    },
    /// What is to be added without what that takes.
    Adding {
        path: Vec<u8>,
        needed: &'static str,
    },
    /// What is there is of another kind.
    OtherKind {
        path: Vec<u8>,
        is: &'static str,
        asked: &'static str,
    },
    /// More columns than a line has.
    Columns(usize),
    /// Ranges of more nodes than a table may make.
    Nodes {
        nodes: u64,
        most: u64,
    },
    /// A line that is none of its file's.
    Line(&'static str),
    /// A pattern that cannot be matched.
    #[cfg(feature = "selinux")]
    Pattern {
        text: Vec<u8>,
        reason: &'static str,
    },
    /// What libselinux compiles a file_contexts to.
    #[cfg(feature = "selinux")]
    CompiledContexts,
    /// A name with nothing to it.
    NoName,
    Place(PlaceError),
    Content(SourceError),
}

impl RuleErrorKind {
    /// The fault as one of `line` in `file`.
    pub(super) fn at(self, file: &str, line: u64) -> RuleError {
        RuleError {
            file: file.to_owned(),
            line,
            fault: self,
        }
    }
}

impl From<PlaceError> for RuleErrorKind {
    fn from(error: PlaceError) -> Self {
        Self::Place(error)
    }
}

impl From<TreeError> for RuleErrorKind {
    fn from(error: TreeError) -> Self {
        Self::Place(error.into())
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        self.fault.fmt(f)
    }
}

impl fmt::Display for RuleErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyword(word) => write!(f, "unknown mtree(5) keyword {}", Readable(word)),
            Self::Value { of, value, needed } => {
                write!(f, "invalid {of} '{}': {needed}", Readable(value))
            }
            Self::Escape(word) => write!(
                f,
                "invalid escape in {}: write a backslash as \\\\",
                word.escape_ascii()
            ),
            Self::NameOfId { of, name, needed } => {
                write!(f, "{of} {} is not looked up: add {needed}", Readable(name))
            }
            Self::Adding { path, needed } => {
                write!(
                    f,
                    "{} is not in any source: to add it, {needed}",
                    Readable(path)
                )
            }
            Self::OtherKind { path, is, asked } => {
                write!(f, "{} is {is} and cannot become {asked}", Readable(path))
            }
            Self::Columns(count) => {
                write!(f, "{count} columns: must be at most 10")
            }
            Self::Nodes { nodes, most } => write!(
                f,
                "the ranges up to this line create {nodes} nodes: must be at most {most} per table"
            ),
            Self::Line(needed) => f.write_str(needed),
            #[cfg(feature = "selinux")]
            Self::Pattern { text, reason } => {
                write!(f, "invalid pattern '{}': {reason}", Readable(text))
            }
            #[cfg(feature = "selinux")]
            Self::CompiledContexts => {
                f.write_str("compiled file_contexts (.bin): use its text form")
            }
            Self::NoName => f.write_str("missing name"),
            Self::Place(error) => error.fmt(f),
            Self::Content(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RuleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            RuleErrorKind::Content(error) => error.source(),
            _ => None,
        }
    }
}
