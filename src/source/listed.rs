//! Given an open directory, keeps its names in the order of their bytes until somebody takes them; never
//! looks at what they lead to.

use std::io;

use crate::sys::{self, FileType, HostHandle};
use crate::tree::{NameAt, NameList};

/// A directory is as much work as this many other names: it is listed, and what it holds is shared out. If
/// many were taken at once, what lies far ahead would take the room of what comes next.
const NAMES_OF_DIRECTORY: usize = 8;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedName {
    pub(super) name: Box<[u8]>,
    /// What it leads to, where the directory tells.
    pub(super) file_type: Option<FileType>,
}

/// The names in a directory that were not taken.
#[derive(Debug, Default)]
pub(super) struct ListedNames {
    names: NameList,
    places: Vec<(NameAt, Option<FileType>)>,
    taken: usize,
}

impl ListedNames {
    /// The names in a directory that was just opened, but `.`, `..` and those that nobody wants.
    pub(super) fn of(
        directory: &HostHandle,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Self> {
        let (mut names, mut places) = (NameList::default(), Vec::new());
        sys::each_name_in(directory, |name, file_type| {
            if is_wanted(name) {
                let at = names.push(name);
                let at = at.ok_or_else(|| io::Error::other("a directory has too many names"))?;
                places.push((at, file_type));
            }
            Ok(())
        })?;
        places.sort_unstable_by(|(a, _), (b, _)| names.get(*a).cmp(names.get(*b)));
        Ok(Self {
            names,
            places,
            taken: 0,
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.taken
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the first ones: `most` of them, or fewer where directories are among them.
    pub(super) fn take(&mut self, most: usize) -> Vec<ListedName> {
        let mut left = most;
        let rest = self.places[self.taken..].iter();
        let taken = rest.take_while(|(_, file_type)| {
            let is_directory = *file_type == Some(FileType::Directory);
            let fits = left > 0;
            left = left.saturating_sub(if is_directory { NAMES_OF_DIRECTORY } else { 1 });
            fits
        });
        let end = self.taken + taken.count();
        let listed = self.places[self.taken..end].iter();
        let names = listed.map(|(at, file_type)| ListedName {
            name: self.names.get(*at).into(),
            file_type: *file_type,
        });
        let names = names.collect();
        self.taken = end;
        names
    }
}
