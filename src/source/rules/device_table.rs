//! Given a device table of genext2fs or makedevs and a tree, makes the table's nodes and changes its
//! files; never looks at the host.
//!
//! A line is `NAME TYPE MODE UID GID MAJOR MINOR START INC COUNT`, columns that say nothing being `-`
//! or missing at the end. As in makedevs, COUNT is how many nodes a line makes: `NAME` with START and
//! the numbers after it, each with a minor that is INC larger. A mode or id of `-` or -1 leaves what
//! is there. A line `|xattr CAPABILITIES` gives the file of the line before it capabilities, as makedevs of
//! Buildroot has it.

use std::sync::Arc;

use super::super::place::{self, IfMissing};
use super::capability;
use super::change::{Change, Make, kind_name};
use super::error::{RuleError, RuleErrorKind};
use super::numbers::{decimal, device, octal, owner};
use crate::tree::{Kind, Special, Tree};
use crate::units::Timestamp;

/// How many nodes the ranges of a table make at most: as many as a driver has minors.
const RANGE_NODES_MAX: u64 = 1 << 20;
const COLUMNS: usize = 10;

/// A device table as a rule.
///
/// ```
/// use mke4fs::source::rules::DeviceTable;
///
/// DeviceTable::new("table", "/dev/tty c 620 0 5 4 0 0 1 8\n")?;
/// let said = DeviceTable::new("table", "/dev/tty x 620 0 5\n").unwrap_err().to_string();
/// assert!(said.starts_with("table:1: invalid type 'x'"));
/// # Ok::<(), mke4fs::source::rules::RuleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DeviceTable {
    file: String,
    text: Arc<[u8]>,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// A file that is there.
    File,
    /// A file that may be there.
    FileIfThere,
    Directory,
    /// All that is below, and the name itself.
    Everything,
    CharDevice,
    BlockDevice,
    Fifo,
    /// The file of the row before gets capabilities.
    Capabilities,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: Vec<u8>,
    row_type: Type,
    change: Change,
    major: u64,
    minor: u64,
    start: u64,
    increment: u64,
    /// 0 where the name stands for itself.
    count: u64,
}

impl DeviceTable {
    /// The table `text`, which messages call `file`.
    ///
    /// # Errors
    /// Where a line is none of a table's, or the lines make more than 1,048,576 nodes by ranges.
    pub fn new(file: impl Into<String>, text: impl AsRef<[u8]>) -> Result<Self, RuleError> {
        let table = Self {
            file: file.into(),
            text: text.as_ref().into(),
        };
        let mut nodes: u64 = 0;
        for row in table.rows() {
            let (line, row) = row?;
            nodes = nodes.saturating_add(row.count);
            let checked = if nodes > RANGE_NODES_MAX {
                Err(RuleErrorKind::Nodes {
                    nodes,
                    most: RANGE_NODES_MAX,
                })
            } else {
                row.check()
            };
            checked.map_err(|fault| fault.at(&table.file, line))?;
        }
        Ok(table)
    }

    /// How many nodes its ranges make.
    pub fn range_nodes(&self) -> u64 {
        self.rows().flatten().map(|(_, row)| row.count).sum()
    }

    /// Changes `tree`, and gives the names of files that it changes and that are not there.
    pub(super) fn apply(&self, tree: &mut Tree, now: Timestamp) -> Result<Vec<String>, RuleError> {
        let mut unmatched = Vec::new();
        for row in self.rows() {
            let (line, row) = row?;
            let applied = row.apply(tree, now);
            if !applied.map_err(|fault| fault.at(&self.file, line))? {
                let name = super::super::Readable(&row.name);
                unmatched.push(format!("{}:{line}: {name}", self.file));
            }
        }
        Ok(unmatched)
    }

    /// The rows with their lines' numbers.
    fn rows(&self) -> impl Iterator<Item = Result<(u64, Row), RuleError>> {
        let lines = (1..).zip(self.text.split(|byte| *byte == b'\n'));
        // The name of the row before, if that is about one file.
        let mut before = None;
        lines.filter_map(move |(number, line)| {
            let row = match line.strip_prefix(b"|xattr") {
                Some(text) => capabilities(before.clone(), text).map(Some),
                None => row(line),
            };
            if let Ok(Some(row)) = &row {
                before = Some(row.name.clone()).filter(|_| row.count == 0);
            }
            let row = row.map_err(|fault| fault.at(&self.file, number));
            row.transpose().map(|row| Ok((number, row?)))
        })
    }
}

/// The row that gives capabilities to the file `before`.
fn capabilities(before: Option<Vec<u8>>, text: &[u8]) -> Result<Row, RuleErrorKind> {
    let name = before.ok_or(RuleErrorKind::Line(
        "|xattr must follow the line of one file",
    ))?;
    let change = Change {
        xattrs: vec![capability::of_text(text)?],
        ..Change::default()
    };
    Ok(Row {
        name,
        row_type: Type::Capabilities,
        change,
        major: 0,
        minor: 0,
        start: 0,
        increment: 0,
        count: 0,
    })
}

/// The row that a line is, if it is one.
fn row(line: &[u8]) -> Result<Option<Row>, RuleErrorKind> {
    let columns = line.split(u8::is_ascii_whitespace);
    let columns: Vec<&[u8]> = columns.filter(|column| !column.is_empty()).collect();
    let name = match columns.first() {
        None => return Ok(None),
        Some(name) if name.starts_with(b"#") => return Ok(None),
        Some(name) => *name,
    };
    if columns.len() > COLUMNS {
        return Err(RuleErrorKind::Columns(columns.len()));
    }
    let column = |at: usize| columns.get(at).copied().unwrap_or(b"-");
    let row_type = match column(1) {
        b"f" => Type::File,
        b"F" => Type::FileIfThere,
        b"d" => Type::Directory,
        b"r" => Type::Everything,
        b"c" => Type::CharDevice,
        b"b" => Type::BlockDevice,
        b"p" => Type::Fifo,
        other => {
            return Err(RuleErrorKind::Value {
                of: "type",
                value: other.to_vec(),
                needed: "must be f, d, r, c, b, p or F",
            });
        }
    };
    let said = |at| match column(at) {
        b"-" | b"-1" => None,
        digits => Some(digits),
    };
    let number = |of, at| said(at).map_or(Ok(0), |digits| decimal::<u64>(of, digits));
    Ok(Some(Row {
        name: name.to_vec(),
        row_type,
        change: Change {
            permissions: said(2).map(|digits| octal("mode", digits)).transpose()?,
            uid: said(3).map(|digits| owner("uid", digits)).transpose()?,
            gid: said(4).map(|digits| owner("gid", digits)).transpose()?,
            ..Change::default()
        },
        major: number("major", 5)?,
        minor: number("minor", 6)?,
        start: number("start", 7)?,
        increment: number("inc", 8)?,
        count: number("count", 9)?,
    }))
}

impl Row {
    /// Whether the last node of the range is one that there can be.
    fn check(&self) -> Result<(), RuleErrorKind> {
        let last = self.count.saturating_sub(1);
        let number = self.start.checked_add(last);
        let is_device = matches!(self.row_type, Type::CharDevice | Type::BlockDevice);
        let minor = self.minor(last).filter(|_| number.is_some());
        let made = minor.and_then(|minor| device(self.major, minor));
        if made.is_none() && (is_device || number.is_none()) {
            return Err(RuleErrorKind::Value {
                of: "last device",
                value: format!("{},{}", self.major, self.minor_at_most(last)).into(),
                needed: "must be a major of at most 4095 and a minor of at most 1048575",
            });
        }
        Ok(())
    }

    /// The minor of the node `nth` of the range, from 0.
    fn minor(&self, nth: u64) -> Option<u64> {
        self.minor.checked_add(nth.checked_mul(self.increment)?)
    }

    /// As [`minor`](Self::minor), for people.
    fn minor_at_most(&self, nth: u64) -> u64 {
        self.minor
            .saturating_add(nth.saturating_mul(self.increment))
    }

    /// Makes or changes what the row is about, and says whether that was there or made.
    fn apply(&self, tree: &mut Tree, now: Timestamp) -> Result<bool, RuleErrorKind> {
        if self.count == 0 {
            return self.apply_one(tree, &self.name, 0, now);
        }
        let mut all = true;
        for nth in 0..self.count {
            let number = self.start.saturating_add(nth).to_string();
            let name = [&self.name[..], number.as_bytes()].concat();
            all &= self.apply_one(tree, &name, nth, now)?;
        }
        Ok(all)
    }

    fn apply_one(
        &self,
        tree: &mut Tree,
        name: &[u8],
        nth: u64,
        now: Timestamp,
    ) -> Result<bool, RuleErrorKind> {
        let make = match self.row_type {
            Type::File | Type::FileIfThere | Type::Everything | Type::Capabilities => None,
            Type::Directory => Some(Make::Directory),
            Type::Fifo => Some(Make::Special(Special::Fifo)),
            Type::CharDevice => self.device(nth).map(Special::CharDevice).map(Make::Special),
            Type::BlockDevice => self
                .device(nth)
                .map(Special::BlockDevice)
                .map(Make::Special),
        };
        let Some(make) = make else {
            return self.change(tree, name);
        };
        let spot = place::find(tree, name, IfMissing::Make(now))?;
        let Some(spot) = spot else {
            return Ok(false);
        };
        let there = spot.node(tree)?;
        let is_directory = |node| matches!(tree.node(node).kind, Kind::Directory(_));
        match there {
            Some(node) if is_directory(node) != matches!(make, Make::Directory) => {
                Err(RuleErrorKind::OtherKind {
                    path: name.to_vec(),
                    is: kind_name(&tree.node(node).kind),
                    asked: match make {
                        Make::Directory => "a directory",
                        _ => "a device or named pipe",
                    },
                })
            }
            Some(node) if is_directory(node) => {
                self.change.apply(tree, node);
                Ok(true)
            }
            _ => make.put(tree, &spot, &self.change, now).map(|_| true),
        }
    }

    fn device(&self, nth: u64) -> Option<crate::tree::Device> {
        device(self.major, self.minor(nth)?)
    }

    /// Changes what is there, and says whether it is.
    fn change(&self, tree: &mut Tree, name: &[u8]) -> Result<bool, RuleErrorKind> {
        let spot = place::find(tree, name, IfMissing::Stop)?;
        let node = spot.map(|spot| spot.node(tree)).transpose()?.flatten();
        let Some(node) = node else {
            return Ok(self.row_type == Type::FileIfThere);
        };
        let kind = &tree.node(node).kind;
        let is_other = match self.row_type {
            Type::Everything => false,
            Type::Capabilities => !matches!(kind, Kind::File(_)),
            _ => matches!(kind, Kind::Directory(_)),
        };
        if is_other {
            return Err(RuleErrorKind::OtherKind {
                path: name.to_vec(),
                is: kind_name(kind),
                asked: "a file",
            });
        }
        let mut nodes = vec![node];
        while let Some(node) = nodes.pop() {
            self.change.apply(tree, node);
            if self.row_type == Type::Everything {
                nodes.extend(tree.entries(node).iter().map(|entry| entry.node));
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        match DeviceTable::new("t", text) {
            Ok(_) => "fine".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tables_are_refused_with_their_line() {
        for (text, words) in [
            (
                "# a\n\n/dev d 755 0 0 - - - - -\n/dev/x f - -1 - \n",
                "fine",
            ),
            (
                "/bin/x f 755 0 0\n|xattr cap_net_raw+ep\n|xattr cap_kill=p\n",
                "fine",
            ),
            (
                "\n|xattr cap_net_raw+ep",
                "t:2: |xattr must follow the line of one file",
            ),
            (
                "/x p 7 0 0 - - 0 0 2\n|xattr cap_net_raw+ep",
                "t:2: |xattr must follow the line of one file",
            ),
            (
                "/x f 7 0 0\n|xattr cap_net",
                "t:2: invalid capabilities 'cap_net': must be names such as cap_net_raw separated by commas, then +, = or - and some of e, i, p",
            ),
            (
                "/d\nx",
                "t:1: invalid type '-': must be f, d, r, c, b, p or F",
            ),
            (
                "a c 7 4294967295 0 1 1",
                "t:1: invalid uid '4294967295': must be at most 4294967294",
            ),
            (
                "a c 9 0 0 1 1",
                "t:1: invalid mode '9': must be octal digits up to 7777",
            ),
            (
                "a c 7 root 0 1 1",
                "t:1: invalid uid 'root': must be a number in its range",
            ),
            (
                "a c 7 0 0 1 1 0 0 0 0",
                "t:1: 11 columns: must be at most 10",
            ),
            (
                "\na c 7 0 0 1 1 0 0 4294967296",
                "t:2: the ranges up to this line create 4294967296 nodes: must be at most 1048576 per table",
            ),
            (
                "a p 7 0 0 - - 0 0 1048576\na p 7 0 0 - - 0 0 1",
                "t:2: the ranges up to this line create 1048577 nodes: must be at most 1048576 per table",
            ),
        ] {
            assert_eq!(said(text), words, "{text}");
        }
        for text in [
            "a c 7 0 0 4096 0",
            "a b 7 0 0 1 1048576",
            "a b 7 0 0 1 1 0 1048575 2",
            "a b 7 0 0 1 1 0 18446744073709551615 3",
            "a p 7 0 0 - - 18446744073709551615 0 2",
        ] {
            assert!(said(text).starts_with("t:1: invalid last device"), "{text}");
        }
    }
}
