//! Given a tar archive, plain or compressed, declares its entries; never asks its name what it is, and
//! never touches what it names on the host.
//!
//! [`Archive`] reads the entries of an uncompressed archive one by one, and [`Unpack`] puts them into a
//! tree; [`Tar`] is both as a [`Source`].

mod archive;
mod entry;
mod fault;
mod header;
mod open;
mod owners;
mod pax;
mod sparse;
mod spool;
#[cfg(all(unix, feature = "oci"))]
mod state;
mod stored;
mod unpack;
mod xattrs;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decompress::{self, Ignored};
use super::oddity::Oddity;
use super::patterns::{Leaf, Patterns};
use super::rules::{OwnerRules, XattrFilter};
use super::{ContentStore, Declared, Source, SourceError, SourceWarning, clamped};
use crate::cancel::{Cancel, Heeding};
use crate::tree::{Content, Metadata, NodeId, Tree};
use crate::units::Timestamp;
use open::Opened;

pub use archive::{Archive, End, Input};
pub use entry::{Entry, EntryKind, Stored};
pub use fault::ArchiveError;
pub use open::is_tar;
#[cfg(all(unix, feature = "oci"))]
pub(super) use open::{Begin, NotRead, begun};
pub use spool::Spool;
pub use stored::{Held, StoredFile};
pub use unpack::{Unpack, UnpackError};

/// How much may follow an archive's end, which only fills a last record.
const MOST_BEHIND: u64 = 1 << 30;

/// A tar archive as a [`Source`].
///
/// ```no_run
/// use mke4fs::source::Source;
/// use mke4fs::source::tar::Tar;
/// use mke4fs::tree::{Metadata, NodeId, Tree};
///
/// let mut tree = Tree::with_root(Metadata::default());
/// Tar::open("rootfs.tar.zst").declare(&mut tree, NodeId::ROOT)?;
/// # Ok::<(), mke4fs::source::SourceError>(())
/// ```
pub struct Tar {
    origin: Origin,
    /// What was looked at, and not yet declared.
    looked: Option<Opened>,
    /// What follows it compressed.
    ignored: Ignored,
    name: Vec<u8>,
    /// Where it is kept, if that was told.
    spool: Option<PathBuf>,
    /// Which extended attributes are kept.
    xattrs: XattrFilter,
    /// Which owners are replaced whatever they are.
    owners: OwnerRules,
    excluded: Patterns,
    latest_time: Option<i64>,
    implied_time: i64,
    cancel: Cancel,
}

enum Origin {
    Path(PathBuf),
    Reader(Box<dyn Read + Send>),
}

impl fmt::Debug for Tar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tar")
            .field("name", &super::Readable(&self.name).to_string())
            .finish_non_exhaustive()
    }
}

impl Tar {
    /// The archive in the file `path`. Plain, it is read where it is.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        Self::new(Origin::Path(path), name)
    }

    /// The archive that `reader` gives, called `name` for people.
    pub fn from_reader(reader: impl Read + Send + 'static, name: &str) -> Self {
        Self::new(Origin::Reader(Box::new(reader)), name.into())
    }

    fn new(origin: Origin, name: Vec<u8>) -> Self {
        Self {
            origin,
            looked: None,
            ignored: Ignored::default(),
            name,
            spool: None,
            xattrs: XattrFilter::default(),
            owners: OwnerRules::default(),
            excluded: Patterns::default(),
            latest_time: None,
            implied_time: 0,
            cancel: Cancel::new(),
        }
    }

    /// Keeps an archive that is compressed, or not in a regular file, as long as the tree lives: in a
    /// file without a name in `directory`, which is the output's unless told otherwise, or `/var/tmp`.
    #[must_use]
    pub fn spool_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spool = Some(directory.into());
        self
    }

    /// Whether extended attributes and ACLs are kept; they are unless told otherwise.
    #[must_use]
    pub fn keep_xattrs(mut self, keep: bool) -> Self {
        self.xattrs = XattrFilter::all_if(keep);
        self
    }

    /// Leaves out, without a word, what `patterns` say, by its name in the archive.
    #[must_use]
    pub fn exclude(mut self, patterns: Patterns) -> Self {
        self.excluded = patterns;
        self
    }

    /// Sets every time later than this to it, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    #[must_use]
    pub fn latest_time(mut self, seconds: Option<i64>) -> Self {
        self.latest_time = seconds;
        self
    }

    /// The times of directories that no entry declares, in seconds since 1970.
    #[must_use]
    pub fn implied_time(mut self, seconds: i64) -> Self {
        self.implied_time = seconds;
        self
    }

    fn archive<I: Input>(&self, input: I) -> Archive<I> {
        let archive = Archive::new(input).filter_xattrs(self.xattrs.clone());
        archive.unpacked_from(&self.ignored)
    }

    fn unread(&self, error: io::Error) -> SourceError {
        SourceError::read(self.name.clone(), error)
    }

    /// Declares an archive that is read where it is.
    fn in_place(&self, file: File, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        let stored = StoredFile::new(file, self.name.clone(), Held::Shared);
        let stored = Arc::new(stored.map_err(|error| self.unread(error))?);
        let input = stored.input().map_err(|error| self.unread(error))?;
        let mut archive = self.archive(input);
        let unpack = Unpack::new(tree, at, self.implied())?;
        self.entries(&mut archive, Keeper::File(stored), unpack)
    }

    /// Declares an archive of which every byte is read once, and kept for later.
    fn spooled(
        &self,
        reader: impl Read,
        tree: &mut Tree,
        at: NodeId,
    ) -> Result<Declared, SourceError> {
        let reader = Heeding::new(reader, &self.cancel);
        let directory = self
            .spool
            .clone()
            .unwrap_or_else(super::temporary_directory);
        let spool = Spool::new(reader, &directory).and_then(|spool| {
            let file = StoredFile::new(spool.file()?, self.name.clone(), Held::Private)?;
            Ok((spool, Arc::new(file)))
        });
        let unkept = |error| SourceError::read(directory.as_os_str().as_encoded_bytes(), error);
        let (spool, stored) = spool.map_err(unkept)?;
        let mut archive = self.archive(spool);
        let unpack = Unpack::new(tree, at, self.implied())?;
        let declared = self.entries(&mut archive, Keeper::File(stored), unpack)?;
        self.drained(archive.into_input().drain(MOST_BEHIND))?;
        Ok(self.with_ignored(declared))
    }

    /// Declares an archive of which `store` keeps the data.
    fn streamed(
        &self,
        reader: impl Read,
        (tree, at): (&mut Tree, NodeId),
        store: &mut dyn ContentStore,
    ) -> Result<Declared, SourceError> {
        let reader = Heeding::new(reader, &self.cancel);
        let mut archive = self.archive(Stream(BufReader::with_capacity(1 << 17, reader)));
        let unpack = Unpack::new(tree, at, self.implied())?;
        let declared = self.entries(&mut archive, Keeper::Store(store), unpack)?;
        let mut rest = archive.into_input().take(MOST_BEHIND);
        let drained = io::copy(&mut rest, &mut io::sink());
        self.drained(drained.map(|bytes| bytes < MOST_BEHIND))?;
        Ok(self.with_ignored(declared))
    }

    /// Says what follows a compressed archive that was read to its end.
    fn with_ignored(&self, mut declared: Declared) -> Declared {
        let bytes = self.ignored.bytes();
        if bytes > 0 {
            let path = self.name.clone();
            declared
                .warnings
                .push(SourceWarning::Ignored { path, bytes });
        }
        declared
    }

    /// A program at the other end of a pipe shall not find it closed, and what follows the archive's
    /// end tells whether a compressed stream is whole.
    fn drained(&self, is_all: io::Result<bool>) -> Result<(), SourceError> {
        if is_all.map_err(|error| self.unread(error))? {
            Ok(())
        } else {
            Err(self.unread(io::Error::other(
                "more than 1 GiB follows the archive's end",
            )))
        }
    }

    fn implied(&self) -> Metadata {
        let time = Timestamp::from_seconds(self.implied_time);
        Metadata {
            permissions: 0o755,
            atime: time,
            mtime: time,
            ctime: time,
            ..Metadata::default()
        }
    }

    fn entries<I: Input>(
        &self,
        archive: &mut Archive<I>,
        mut keeper: Keeper<'_>,
        mut unpack: Unpack<'_>,
    ) -> Result<Declared, SourceError> {
        let named = |error: SourceError| error.of(&self.name);
        let mut is_empty = true;
        loop {
            let next = archive.next_entry();
            let Some(mut entry) = next.map_err(|error| named(SourceError::other(error)))? else {
                break;
            };
            is_empty = false;
            keeper.check(&self.cancel).map_err(SourceError::other)?;
            if self.is_excluded(&entry)? {
                continue;
            }
            let settled = entry.settle(&self.owners);
            settled.map_err(|error| named(SourceError::other(error)))?;
            entry.metadata = clamped(entry.metadata, self.latest_time);
            let mut copy = None;
            let content = match &entry.kind {
                EntryKind::File(stored) => {
                    let mut data = Data::of(archive);
                    let kept = if Unpack::may_ask_for(&entry.path, stored) {
                        keeper.keep_and_copy(stored.clone(), &mut data, &mut copy)
                    } else {
                        keeper.keep(stored.clone(), &mut data)
                    };
                    let mut unkept = |error| match data.fault.take() {
                        Some(fault) => SourceError::other(fault),
                        None => UnpackError::unkept(entry.path.clone(), entry.offset, error).into(),
                    };
                    Some(kept.map_err(|error| named(unkept(error)))?)
                }
                _ => None,
            };
            let placed = unpack.entry(entry, content);
            let node = placed.map_err(|error| named(error.into()))?;
            if let Some(bytes) = copy {
                unpack.remember(node, bytes);
            }
        }
        let mut oddities = archive.oddities();
        if archive.end() == Some(End::Lone) {
            oddities.note(Oddity::LoneZeroBlock, &self.name);
        }
        unpack.note(oddities);
        let root = unpack.root_metadata();
        let mut warnings = unpack.finish().map_err(named)?;
        if archive.end() == Some(End::Unmarked) {
            let path = self.name.clone();
            warnings.push(SourceWarning::NoEnd { path });
        }
        if is_empty {
            let path = self.name.clone();
            warnings.push(SourceWarning::NoEntries { path });
        }
        Ok(Declared { root, warnings })
    }
}

impl Tar {
    /// Whether the entry is left out. Its data would be missing where a hard link to it is not.
    fn is_excluded(&self, entry: &Entry) -> Result<bool, SourceError> {
        let leaf = match entry.kind {
            EntryKind::Directory => Leaf::Directory,
            _ => Leaf::Other,
        };
        if self.excludes(&entry.path, leaf) {
            return Ok(true);
        }
        match &entry.kind {
            EntryKind::HardLink(target) if self.excludes(target, Leaf::Other) => {
                let error = UnpackError::left_out(entry, target);
                Err(SourceError::from(error).of(&self.name))
            }
            _ => Ok(false),
        }
    }

    fn excludes(&self, path: &[u8], leaf: Leaf) -> bool {
        excludes(&self.excluded, path, leaf)
    }
}

impl Tar {
    /// The archive that was looked at, or is now. What comes from a reader is taken.
    fn opened(&mut self) -> Result<Opened, SourceError> {
        if let Some(looked) = self.looked.take() {
            return Ok(looked);
        }
        let opened = match &mut self.origin {
            Origin::Path(path) => open::path(path, &self.ignored),
            Origin::Reader(reader) => {
                let reader = std::mem::replace(reader, Box::new(io::empty()));
                open::stream(reader, &self.ignored)
            }
        };
        opened.map_err(|error| match error {
            open::NotRead::Io(error) => self.unread(error),
            open::NotRead::NotTar(found) => SourceError::not_tar(self.name.clone(), found),
        })
    }
}

/// Whether `patterns` leave out what an archive calls `path`.
pub(super) fn excludes(patterns: &Patterns, path: &[u8], leaf: Leaf) -> bool {
    if patterns.is_empty() {
        return false;
    }
    let names = path.split(|byte| *byte == b'/');
    let names: Vec<&[u8]> = names.filter(|name| !matches!(*name, b"" | b".")).collect();
    !names.is_empty() && patterns.exclude_within(&names.join(&b'/'), leaf)
}

impl Source for Tar {
    fn for_output(&mut self, output: &Path) {
        if self.spool.is_none() {
            self.spool = super::directory_of(output);
        }
    }

    fn heed(&mut self, cancel: &Cancel) {
        self.cancel = cancel.clone();
    }

    fn filter_xattrs(&mut self, filter: &XattrFilter) {
        self.xattrs.narrow(filter);
    }

    fn replace_owners(&mut self, owners: &OwnerRules) {
        self.owners = owners.clone();
    }

    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        match self.opened()? {
            Opened::Plain(file) => self.in_place(file, tree, at),
            Opened::Stream(reader) => self.spooled(reader, tree, at),
        }
    }

    fn is_stream(&self) -> bool {
        match &self.origin {
            Origin::Reader(_) => true,
            // What cannot be looked at is for `declare` to refuse. A pipe is not even opened: whoever
            // writes to it would find it closed again.
            Origin::Path(path) => match std::fs::metadata(path) {
                Ok(found) if found.is_file() => {
                    let peeked = File::open(path).and_then(decompress::peek);
                    peeked.is_ok_and(|(head, _)| !is_tar(&head))
                }
                found => found.is_ok(),
            },
        }
    }

    fn look(&mut self) -> Result<(), SourceError> {
        self.looked = Some(self.opened()?);
        Ok(())
    }

    fn declare_stream(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
        store: &mut dyn ContentStore,
    ) -> Result<Declared, SourceError> {
        match self.opened()? {
            Opened::Plain(file) => self.in_place(file, tree, at),
            Opened::Stream(reader) => self.streamed(reader, (tree, at), store),
        }
    }
}

/// Who keeps the data of an archive.
enum Keeper<'a> {
    /// A file that holds them already.
    File(Arc<StoredFile>),
    /// Somebody who takes them now.
    Store(&'a mut dyn ContentStore),
}

impl Keeper<'_> {
    /// Says whether to go on.
    fn check(&mut self, cancel: &Cancel) -> io::Result<()> {
        cancel.check()?;
        match self {
            Self::File(_) => Ok(()),
            Self::Store(store) => store.check(),
        }
    }

    fn keep(&mut self, stored: Stored, data: &mut dyn Read) -> io::Result<Content> {
        match self {
            Self::File(file) => Ok(file.content(stored)),
            Self::Store(store) => store.keep(stored.size_bytes, stored.data, data),
        }
    }

    /// The same, with a copy of the data, where nobody may be able to read it again.
    fn keep_and_copy(
        &mut self,
        stored: Stored,
        data: &mut dyn Read,
        copy: &mut Option<Vec<u8>>,
    ) -> io::Result<Content> {
        if let Self::File(_) = self {
            return self.keep(stored, data);
        }
        let mut bytes = Vec::new();
        let size = stored.size_bytes;
        data.take(size).read_to_end(&mut bytes)?;
        let content = self.keep(stored, &mut &bytes[..]);
        *copy = Some(bytes);
        content
    }
}

/// The data of the entry that came last.
struct Data<'a, I> {
    archive: &'a mut Archive<I>,
    /// Why they could not be read, which whoever keeps them may wrap in words of its own.
    fault: Option<ArchiveError>,
}

impl<'a, I: Input> Data<'a, I> {
    fn of(archive: &'a mut Archive<I>) -> Self {
        Self {
            archive,
            fault: None,
        }
    }
}

impl<I: Input> Read for Data<'_, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.archive.read_data(buffer).map_err(|fault| {
            let error = io::Error::other(fault.to_string());
            self.fault = Some(fault);
            error
        })
    }
}

/// Bytes that are passed over by being read.
struct Stream<R>(BufReader<R>);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Input for Stream<R> {}
