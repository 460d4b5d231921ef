//! Given a tar archive, plain or compressed, declares its entries; never asks its name what it is, and
//! never touches what it names on the host.
//!
//! [`Archive`] reads the entries of an uncompressed archive one by one, and [`Unpack`] puts them into a
//! tree; [`Tar`] is both as a [`Source`].

mod archive;
pub(super) mod header;
mod pax;
mod sparse;
mod xattrs;

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::archive::decompress::{Ignored, Memory, peek};
use super::archive::{Begin, FileUse, NotRead, Opened, Spool, StoredFile, Stream, drain};
use super::magic::NotTar;
use super::options::{SourceOptions, heed_options, option_setters};
use super::patterns::PathType;
use super::{ContentStore, Declared, Oddity, Source, SourceError, SourceWarning};
use crate::cancel::{Cancel, Heeding};
use crate::tree::{Content, NodeId, Tree};

pub use super::archive::{ArchiveError, Entry, EntryKind, Input, Stored, Unpack, UnpackError};
pub use archive::{Archive, End};
use header::BLOCK;
pub use header::is_tar;

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
    probed: Option<Form>,
    /// What follows it compressed.
    ignored: Ignored,
    name: Vec<u8>,
    options: SourceOptions,
}

/// How an archive that was looked at can be read.
enum Form {
    /// Where it is.
    Plain(Arc<File>),
    /// As it comes, but once, uncompressed.
    Stream(Box<dyn Read + Send>),
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
            probed: None,
            ignored: Ignored::default(),
            name,
            options: SourceOptions::default(),
        }
    }

    option_setters!(spool_in keep_xattrs exclude latest_time implied_time acl_names);

    fn archive<I: Input>(&self, input: I) -> Archive<I> {
        let archive = Archive::new(input).filter_xattrs(self.options.xattrs.clone());
        archive.unpacked_from(&self.ignored)
    }

    fn unread(&self, error: io::Error) -> SourceError {
        SourceError::read(self.name.clone(), error)
    }

    /// Declares an archive that is read where it is.
    fn in_place(
        &self,
        file: Arc<File>,
        tree: &mut Tree,
        at: NodeId,
    ) -> Result<Declared, SourceError> {
        let stored = StoredFile::new(file, self.name.clone(), FileUse::Shared);
        let stored = Arc::new(stored.map_err(|error| self.unread(error))?);
        let input = stored.input().map_err(|error| self.unread(error))?;
        let mut archive = self.archive(input);
        let unpack =
            Unpack::new(tree, at, self.options.implied())?.acl_names(self.options.acl_names);
        self.entries(&mut archive, DataStorage::File(stored), unpack)
    }

    /// Declares an archive of which every byte is read once, and kept for later: by `store`, or in a file.
    fn once(
        &self,
        reader: impl Read,
        unpack: Unpack<'_>,
        store: Option<&mut dyn ContentStore>,
    ) -> Result<Declared, SourceError> {
        let reader = Heeding::new(reader, &self.options.cancel);
        let (mut declared, drained) = if let Some(store) = store {
            let mut archive = self.archive(Stream::new(reader));
            let declared = self.entries(&mut archive, DataStorage::Store(store), unpack)?;
            (declared, drain(&mut archive.into_input()))
        } else {
            let directory = self.options.spool();
            let spool = Spool::new(reader, &directory, &self.name);
            let unkept = |error| SourceError::read(directory.as_os_str().as_encoded_bytes(), error);
            let (spool, stored) = spool.map_err(unkept)?;
            let mut archive = self.archive(spool);
            let declared = self.entries(&mut archive, DataStorage::File(stored), unpack)?;
            (declared, archive.into_input().drain())
        };
        drained.map_err(|error| self.unread(error))?;
        let bytes = self.ignored.bytes();
        if bytes > 0 {
            let path = self.name.clone();
            let ignored = SourceWarning::Ignored { path, bytes };
            declared.warnings.push(ignored);
        }
        Ok(declared)
    }

    /// Declares the archive, of which `store` keeps the data if it can only be read once.
    fn declare_with(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
        store: Option<&mut dyn ContentStore>,
    ) -> Result<Declared, SourceError> {
        match self.form()? {
            Form::Plain(file) => self.in_place(file, tree, at),
            Form::Stream(reader) => {
                let unpack = Unpack::new(tree, at, self.options.implied())?
                    .acl_names(self.options.acl_names);
                self.once(reader, unpack, store)
            }
        }
    }

    fn entries<I: Input>(
        &self,
        archive: &mut Archive<I>,
        mut keeper: DataStorage<'_>,
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
            keeper
                .check(&self.options.cancel)
                .map_err(SourceError::other)?;
            if self.is_excluded(&entry)? {
                continue;
            }
            let settled = entry.settle(&self.options.owners);
            settled.map_err(|error| named(SourceError::other(error)))?;
            entry.metadata = self.options.clamped(entry.metadata);
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
            EntryKind::Directory => PathType::Directory,
            _ => PathType::Other,
        };
        if self.options.excludes(&entry.path, leaf) {
            return Ok(true);
        }
        match &entry.kind {
            EntryKind::HardLink(target) if self.options.excludes(target, PathType::Other) => {
                let error = UnpackError::left_out(entry, target);
                Err(SourceError::from(error).of(&self.name))
            }
            _ => Ok(false),
        }
    }
}

impl Tar {
    /// The archive that was looked at, or is now. What comes from a reader is taken.
    fn form(&mut self) -> Result<Form, SourceError> {
        if let Some(probed) = self.probed.take() {
            return Ok(probed);
        }
        self.look_at().map_err(|error| match error {
            NotRead::Io(error) => self.unread(error),
            NotRead::NotTar(found) => SourceError::not_tar(self.name.clone(), found),
        })
    }

    fn look_at(&mut self) -> Result<Form, NotRead> {
        let open = |reader| Opened::new(reader, &self.ignored, Memory::default());
        let opened = match &mut self.origin {
            Origin::Path(path) => {
                self.options.check_is_not_output(path)?;
                let file = Arc::new(File::open(path)?);
                let is_file = file.metadata()?.is_file();
                let reader: Box<dyn Read + Send> = Box::new(Arc::clone(&file));
                let opened = open(reader)?;
                if is_file && opened.packed.is_none() && opened.begin == Begin::Entry {
                    return Ok(Form::Plain(file));
                }
                opened
            }
            Origin::Reader(reader) => open(std::mem::replace(reader, Box::new(io::empty())))?,
        };
        let opened = opened.with_bytes()?;
        Ok(Form::Stream(match opened.begin {
            Begin::Zeros => only_zeros(opened)?,
            Begin::Entry | Begin::Nothing => opened.reader,
        }))
    }
}

/// The archive without an entry that `opened` is, if there is nothing but zeros.
fn only_zeros(opened: Opened<'_>) -> Result<Box<dyn Read + Send>, NotRead> {
    let mut archive = Archive::new(Stream::new(opened.reader));
    match archive.next_entry().map_err(ArchiveError::into_read) {
        Err(Some(error)) => return Err(error.into()),
        Err(None) => return Err(NotRead::NotTar(NotTar::of(&[0], opened.packed))),
        Ok(_) => {}
    }
    // All of it was read, and nothing of it is of use but how it ends.
    let blocks = match archive.end() {
        Some(End::Marked) => 2,
        _ => 1,
    };
    Ok(Box::new(Cursor::new(vec![0; blocks * BLOCK])))
}

impl Source for Tar {
    heed_options!();

    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        self.declare_with(tree, at, None)
    }

    fn is_stream(&self) -> bool {
        match &self.origin {
            Origin::Reader(_) => true,
            // What cannot be looked at is for `declare` to refuse. A pipe is not even opened: whoever
            // writes to it would find it closed again.
            Origin::Path(path) => match std::fs::metadata(path) {
                Ok(found) if found.is_file() => {
                    let peeked = File::open(path).and_then(peek);
                    peeked.is_ok_and(|(head, _)| !is_tar(&head))
                }
                found => found.is_ok(),
            },
        }
    }

    fn probe(&mut self) -> Result<(), SourceError> {
        self.probed = Some(self.form()?);
        Ok(())
    }

    fn declare_stream(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
        store: &mut dyn ContentStore,
    ) -> Result<Declared, SourceError> {
        self.declare_with(tree, at, Some(store))
    }
}

/// Who keeps the data of an archive.
enum DataStorage<'a> {
    /// A file that holds them already.
    File(Arc<StoredFile>),
    /// Somebody who takes them now.
    Store(&'a mut dyn ContentStore),
}

impl DataStorage<'_> {
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
