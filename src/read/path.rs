//! Given a path, gives the inode that it leads to, symbolic links followed within the image; never
//! outside of it.

use super::directory::{DirEntry, ReadDir};
use super::error::{Error, ErrorKind, Result};
use super::inode::Inode;
use super::volume::Volume;
use crate::ondisk::casefold::fold;
use crate::units::Ino;

/// How many symbolic links a path may lead over (the kernel's `MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;

/// Whether the last link of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastLink {
    Follow,
    Keep,
}

/// A way through directories that has gone so far.
struct PathWalk<'v, 'a> {
    volume: &'v Volume<'a>,
    /// The directories from the root on.
    above: Vec<Ino>,
    /// Where it is.
    here: Inode,
    /// The components that are to come, the next one last.
    left: Vec<Vec<u8>>,
    links: u32,
}

impl Volume<'_> {
    /// The inode at `path`, which begins at the root with or without a slash.
    pub(crate) fn resolve(&self, path: &[u8], last: LastLink) -> Result<Inode> {
        let mut way = PathWalk {
            volume: self,
            above: Vec::new(),
            here: self.inode(Ino::ROOT)?,
            left: Vec::new(),
            links: 0,
        };
        way.push(path);
        while let Some(name) = way.left.pop() {
            way.step(&name, last).map_err(|error| error.on_path(path))?;
        }
        Ok(way.here)
    }

    /// The entry of a directory that has this name, or in a casefolded directory one that is equal.
    pub(crate) fn lookup(&self, dir: &Inode, name: &[u8]) -> Result<DirEntry> {
        let folds = dir.is_casefolded() && !dir.is_encrypted();
        let folded = if folds { fold(name) } else { None };
        for entry in ReadDir::open(self, dir.clone())? {
            let entry = entry?;
            let is_equal = entry.name() == name || folded.is_some() && fold(entry.name()) == folded;
            if is_equal {
                return Ok(entry);
            }
        }
        Err(Error::not(ErrorKind::NotFound))
    }
}

impl PathWalk<'_, '_> {
    /// Puts the components of a path before all that are to come.
    fn push(&mut self, path: &[u8]) {
        // What a slash ends has to be a directory.
        if path.ends_with(b"/") {
            self.left.push(b".".to_vec());
        }
        let names = path.split(|byte| *byte == b'/');
        let names = names.filter(|name| !name.is_empty()).rev();
        self.left.extend(names.map(<[u8]>::to_vec));
    }

    fn step(&mut self, name: &[u8], last: LastLink) -> Result<()> {
        if !self.here.is_dir() {
            return Err(Error::not(ErrorKind::NotADirectory));
        }
        match name {
            b"." => return Ok(()),
            b".." => {
                // The root is its own parent.
                if let Some(parent) = self.above.pop() {
                    self.here = self.volume.inode(parent)?;
                }
                return Ok(());
            }
            _ => {}
        }
        let entry = self.volume.lookup(&self.here, name)?;
        let inode = self.volume.inode(entry.ino())?;
        if inode.is_symlink() && (last == LastLink::Follow || !self.left.is_empty()) {
            return self.follow(&inode);
        }
        let parent = std::mem::replace(&mut self.here, inode);
        self.above.push(parent.ino());
        Ok(())
    }

    fn follow(&mut self, link: &Inode) -> Result<()> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Error::not(ErrorKind::TooManyLinks));
        }
        let target = self.volume.link_target(link)?;
        if target.starts_with(b"/") {
            self.here = self.volume.inode(Ino::ROOT)?;
            self.above.clear();
        }
        self.push(&target);
        Ok(())
    }
}
