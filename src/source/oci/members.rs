//! Given an archive that holds an image, finds the files in it by their paths; never one outside.
//!
//! `docker save` of old, and skopeo, put symbolic and hard links in the place of layers that are there
//! by another name already. They are followed within the archive.

use std::collections::HashMap;
use std::ops::Range;

use super::error::{FileErrorKind, OciError};
use crate::source::archive::{ArchiveError, EntryKind, Input};
use crate::source::tar::Archive;
use crate::tree::DataMap;

/// How many links one after another lead to a file.
const LINKS_MAX: usize = 8;

/// What is at a path of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    /// A file: these bytes of the uncompressed archive.
    File(Range<u64>),
    /// Another path, from the archive's root.
    Link(Box<[u8]>),
    /// Nothing that can hold a document or a layer.
    Other,
}

/// The files of an archive, by path.
#[derive(Debug, Default)]
pub(super) struct Members(HashMap<Box<[u8]>, Member>);

impl Members {
    /// Those of the archive that `input` holds, uncompressed. The last of one path counts.
    pub(super) fn read<I: Input>(archive: &mut Archive<I>) -> Result<Self, ArchiveError> {
        let mut members = HashMap::new();
        while let Some(entry) = archive.next_entry()? {
            let Some(path) = normal(&entry.path) else {
                continue;
            };
            let member = match entry.kind {
                EntryKind::File(stored) if stored.data == DataMap::Whole => {
                    Member::File(stored.place)
                }
                EntryKind::Symlink(target) => {
                    let end = path.iter().rposition(|byte| *byte == b'/');
                    let above = end.map_or(&b""[..], |end| &path[..end]);
                    link(if target.starts_with(b"/") {
                        None
                    } else {
                        normal(&[above, b"/", &target].concat())
                    })
                }
                EntryKind::HardLink(target) => link(normal(&target)),
                _ => Member::Other,
            };
            members.insert(path.into(), member);
        }
        Ok(Self(members))
    }

    /// Where in the uncompressed archive the file `path` is.
    pub(super) fn find(&self, path: &str) -> Result<Range<u64>, OciError> {
        let missing = || FileErrorKind::Missing.of(path);
        let mut at = normal(path.as_bytes()).ok_or_else(missing)?;
        for _ in 0..LINKS_MAX {
            match self.0.get(&at[..]).ok_or_else(missing)? {
                Member::File(range) => return Ok(range.clone()),
                Member::Link(to) => at = to.to_vec(),
                Member::Other => break,
            }
        }
        Err(FileErrorKind::NotAFile.of(path))
    }
}

/// A link to a path of the archive; one out of it leads to nothing, which no path is called.
fn link(to: Option<Vec<u8>>) -> Member {
    Member::Link(to.unwrap_or_default().into())
}

/// The names of `path` from the archive's root, if it does not lead out of that.
fn normal(path: &[u8]) -> Option<Vec<u8>> {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    Some(names.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_archive() {
        for (path, expected) in [
            (&b"a/b"[..], Some(&b"a/b"[..])),
            (b"./a//b/", Some(b"a/b")),
            (b"/a", Some(b"a")),
            (b"a/../b", Some(b"b")),
            (b"", Some(b"")),
            (b"..", None),
            (b"a/../../a", None),
        ] {
            assert_eq!(normal(path).as_deref(), expected);
        }
    }

    #[test]
    fn links_lead_to_files_or_nowhere() {
        let to = |path: &str| Member::Link(path.as_bytes().into());
        let all = [
            ("file", Member::File(512..600)),
            ("link", to("file")),
            ("loop", to("loop")),
            ("dangling", to("gone")),
            ("outside", link(None)),
            ("directory", Member::Other),
        ];
        let all = all.map(|(path, member)| (path.as_bytes().into(), member));
        let members = Members(HashMap::from(all));
        let found = |path: &str| members.find(path).map_err(|fault| fault.to_string());
        assert_eq!(found("./file"), Ok(512..600));
        assert_eq!(found("link"), Ok(512..600));
        for (path, sentence) in [
            ("loop", "loop must be a regular file inside the image"),
            (
                "directory",
                "directory must be a regular file inside the image",
            ),
            ("dangling", "dangling is missing"),
            ("outside", "outside is missing"),
            ("gone", "gone is missing"),
            ("../file", "../file is missing"),
        ] {
            assert_eq!(found(path), Err(sentence.to_owned()));
        }
    }
}
