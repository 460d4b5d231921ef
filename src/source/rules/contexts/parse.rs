//! Given the text of a file_contexts or of substitutions, gives its lines; never applies one.

use super::super::error::{RuleError, RuleErrorKind};
use super::pattern::{Pattern, is_exact};
use crate::tree::FileType;

/// A line of a file_contexts.
#[derive(Clone, Debug)]
pub(super) struct Specification {
    pub(super) pattern: Pattern,
    /// Whether it comes before all that are not exact.
    pub(super) is_exact: bool,
    /// Of which files it is; nothing for all.
    pub(super) file_type: Option<FileType>,
    /// Nothing for `<<none>>`.
    pub(super) context: Option<Box<[u8]>>,
    pub(super) line: u64,
}

/// A line of substitutions: a path that begins with `from` is looked up as if it began with `to`.
#[derive(Clone, Debug)]
pub(super) struct Substitution {
    pub(super) from: Box<[u8]>,
    pub(super) to: Box<[u8]>,
}

/// The specifications that `text` has, which messages call `file`.
pub(super) fn specifications(file: &str, text: &[u8]) -> Result<Vec<Specification>, RuleError> {
    if text.starts_with(&[0x8a, 0xff, 0x7c, 0xf9]) {
        return Err(RuleErrorKind::CompiledContexts.at(file, 1));
    }
    let read = |(line, columns)| specification(columns, line).map_err(|fault| fault.at(file, line));
    lines(text).map(read).collect()
}

/// The substitutions that `text` has, which messages call `file`.
pub(super) fn substitutions(file: &str, text: &[u8]) -> Result<Vec<Substitution>, RuleError> {
    let read = |(line, columns): (u64, Vec<&[u8]>)| match columns[..] {
        [from, to] => Ok(Substitution {
            from: from.into(),
            to: to.into(),
        }),
        _ => Err(RuleErrorKind::Line("expected two paths").at(file, line)),
    };
    lines(text).map(read).collect()
}

/// The lines that say something, with their numbers and columns.
fn lines(text: &[u8]) -> impl Iterator<Item = (u64, Vec<&[u8]>)> {
    let lines = (1..).zip(text.split(|byte| *byte == b'\n'));
    lines.filter_map(|(number, line)| {
        let columns = line.split(u8::is_ascii_whitespace);
        let columns: Vec<&[u8]> = columns.filter(|column| !column.is_empty()).collect();
        let says = columns
            .first()
            .is_some_and(|first| !first.starts_with(b"#"));
        says.then_some((number, columns))
    })
}

fn specification(columns: Vec<&[u8]>, line: u64) -> Result<Specification, RuleErrorKind> {
    let (text, file_type, context) = match columns[..] {
        [text, context] => (text, None, context),
        [text, file_type, context] => (text, Some(of_word(file_type)?), context),
        _ => {
            return Err(RuleErrorKind::Line(
                "expected a pattern, an optional file type and a context",
            ));
        }
    };
    if !columns.concat().is_ascii() {
        return Err(RuleErrorKind::Line("libselinux takes ASCII only"));
    }
    let pattern = Pattern::new(text).map_err(|refused| RuleErrorKind::Pattern {
        text: text.to_vec(),
        reason: refused.0,
    })?;
    Ok(Specification {
        pattern,
        is_exact: is_exact(text),
        file_type,
        context: (context != b"<<none>>").then(|| context.into()),
        line,
    })
}

fn of_word(word: &[u8]) -> Result<FileType, RuleErrorKind> {
    match word {
        b"--" => Ok(FileType::File),
        b"-d" => Ok(FileType::Directory),
        b"-l" => Ok(FileType::Symlink),
        b"-c" => Ok(FileType::CharDevice),
        b"-b" => Ok(FileType::BlockDevice),
        b"-p" => Ok(FileType::Fifo),
        b"-s" => Ok(FileType::Socket),
        other => Err(RuleErrorKind::Value {
            of: "file type",
            value: other.to_vec(),
            needed: "must be --, -d, -l, -c, -b, -p or -s",
        }),
    }
}

impl Specification {
    /// Whether it is of files of this type.
    pub(super) fn is_of(&self, file_type: FileType) -> bool {
        self.file_type.is_none_or(|own| own == file_type)
    }
}
