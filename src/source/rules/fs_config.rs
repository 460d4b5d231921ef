//! Given an fs_config of Android and a tree, gives the files that it lists owner, mode and capabilities; never
//! adds one.
//!
//! A line is `PATH UID GID MODE [capabilities=MASK]`, as Android's canned_fs_config reads it: PATH without a
//! slash in front, and nothing for the root directory, whose line begins with a space.

use std::sync::Arc;

use super::super::Readable;
use super::super::place::{self, IfMissing};
use super::capability;
use super::change::Change;
use super::error::{RuleError, RuleErrorKind};
use super::numbers::{number, octal, owner};
use crate::tree::Tree;

/// An fs_config of Android as a rule.
///
/// ```
/// use mke4fs::source::rules::FsConfig;
///
/// FsConfig::new("config", " 0 0 755\nbin/ping 0 2000 0755 capabilities=0x2000\n")?;
/// let said = FsConfig::new("config", "bin/ping 0 shell 755\n").unwrap_err().to_string();
/// assert!(said.starts_with("config:1: invalid gid 'shell'"));
/// # Ok::<(), mke4fs::source::rules::RuleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FsConfig {
    file: String,
    text: Arc<[u8]>,
    /// What paths begin with, without slashes around.
    mount_point: Vec<u8>,
}

impl FsConfig {
    /// The fs_config `text`, which messages call `file`.
    ///
    /// # Errors
    /// Where a line is none of an fs_config's.
    pub fn new(file: impl Into<String>, text: impl AsRef<[u8]>) -> Result<Self, RuleError> {
        let config = Self {
            file: file.into(),
            text: text.as_ref().into(),
            mount_point: Vec::new(),
        };
        config.lines().try_for_each(|line| line.map(drop))?;
        Ok(config)
    }

    /// Paths that begin with `path` are those of the filesystem that will be mounted there: `/vendor`.
    #[must_use]
    pub fn mount_point(mut self, path: &[u8]) -> Self {
        let names = path.split(|byte| *byte == b'/');
        let names: Vec<&[u8]> = names.filter(|name| !name.is_empty()).collect();
        self.mount_point = names.join(&b'/');
        self
    }

    /// Changes `tree`, and gives the lines whose files are not there.
    pub(super) fn apply(&self, tree: &mut Tree) -> Result<Vec<String>, RuleError> {
        let mut unmatched = Vec::new();
        for line in self.lines() {
            let Line {
                number,
                path,
                change,
            } = line?;
            let spot = place::find(tree, self.below(path), IfMissing::Stop);
            let spot = spot.map_err(|error| RuleErrorKind::from(error).at(&self.file, number))?;
            let node = match spot {
                Some(spot) => {
                    let node = spot.node(tree);
                    node.map_err(|error| RuleErrorKind::from(error).at(&self.file, number))?
                }
                None => None,
            };
            match node {
                Some(node) => change.apply(tree, node),
                None => unmatched.push(format!("{}:{number}: {}", self.file, Readable(path))),
            }
        }
        Ok(unmatched)
    }

    /// The path below the mount point.
    fn below<'a>(&self, path: &'a [u8]) -> &'a [u8] {
        match path.strip_prefix(&self.mount_point[..]) {
            Some(b"") => b"/",
            Some(below) if below.starts_with(b"/") => below,
            _ if path.is_empty() => b"/",
            _ => path,
        }
    }

    fn lines(&self) -> impl Iterator<Item = Result<Line<'_>, RuleError>> {
        let lines = (1..).zip(self.text.split(|byte| *byte == b'\n'));
        lines.filter_map(|(number, line)| {
            let read = read(line).map_err(|error| error.at(&self.file, number));
            let line = read.transpose()?;
            Some(line.map(|(path, change)| Line {
                number,
                path,
                change,
            }))
        })
    }
}

struct Line<'a> {
    number: u64,
    path: &'a [u8],
    change: Change,
}

/// The path of a line and what it says, unless it is empty.
fn read(line: &[u8]) -> Result<Option<(&[u8], Change)>, RuleErrorKind> {
    let is_of_root = line.starts_with(b" ") || line.starts_with(b"\t");
    let words = line.split(u8::is_ascii_whitespace);
    let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
    let (path, words) = match &words[..] {
        [] => return Ok(None),
        words if is_of_root => (&b""[..], words),
        [path, ..] if path.starts_with(b"#") => return Ok(None),
        [path, words @ ..] => (*path, words),
    };
    let [uid, gid, mode, more @ ..] = words else {
        return Err(RuleErrorKind::Line(
            "UID, GID and MODE are needed after the path",
        ));
    };
    let mut change = Change {
        uid: Some(owner("uid", uid)?),
        gid: Some(owner("gid", gid)?),
        permissions: Some(octal("mode", mode)?),
        ..Change::default()
    };
    for word in more {
        let mask = word.strip_prefix(b"capabilities=").and_then(number);
        let mask = mask.ok_or_else(|| RuleErrorKind::Value {
            of: "column",
            value: word.to_vec(),
            needed: "must be capabilities=MASK",
        })?;
        if mask != 0 {
            change.xattrs = vec![capability::of_mask(mask)];
        }
    }
    Ok(Some((path, change)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_refused_with_their_number() {
        for (text, words) in [
            ("", "fine"),
            (
                "# a\n\n 0 0 755\nx 0 0 0644\ny 1 2 7 capabilities=0\n",
                "fine",
            ),
            ("x 0 0", "t:1: UID, GID and MODE are needed after the path"),
            (
                "\nx 0 0 999",
                "t:2: invalid mode '999': must be octal digits up to 7777",
            ),
            (
                "x 4294967295 0 7",
                "t:1: invalid uid '4294967295': must be at most 4294967294",
            ),
            (
                "x 0 0 7 selabel=y",
                "t:1: invalid column 'selabel=y': must be capabilities=MASK",
            ),
            (
                "x 0 0 7 capabilities=q",
                "t:1: invalid column 'capabilities=q': must be capabilities=MASK",
            ),
        ] {
            let said = match FsConfig::new("t", text) {
                Ok(_) => "fine".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(said, words, "{text}");
        }
    }

    #[test]
    fn paths_may_begin_with_the_mount_point() {
        let config = FsConfig::new("t", "")
            .expect("it is empty")
            .mount_point(b"/vendor/");
        for (path, below) in [
            (&b""[..], &b"/"[..]),
            (b"vendor", b"/"),
            (b"vendor/bin/x", b"/bin/x"),
            (b"vendors/x", b"vendors/x"),
            (b"bin/x", b"bin/x"),
        ] {
            assert_eq!(config.below(path), below);
        }
    }
}
