//! Given a directory or archive that holds an image, opens the files in it by their paths; never
//! leads out of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::document::DOCUMENT_MAX;
use super::error::{FileErrorKind, OciError};
use super::members::Members;
use crate::cancel::{Cancel, Heeding};
use crate::source::archive::decompress::{Ignored, Memory};
use crate::source::archive::{ArchiveError, FileUse, Input, Opened, Spool, StoredFile};
use crate::source::tar::Archive;
use crate::sys::{self, FileType, HostHandle};

/// Where an image's files are.
#[derive(Debug)]
pub(super) enum Store {
    /// In a directory, of which no symbolic link is followed.
    Directory(HostHandle),
    /// In an archive, which the file holds uncompressed.
    Archive(Members, Arc<File>),
}

impl Store {
    /// The directory `path`, which may itself be a symbolic link.
    pub(super) fn directory(path: &Path) -> Result<Self, OciError> {
        let opened = sys::open_directory(path);
        opened
            .map(Self::Directory)
            .map_err(|error| unread(path, error))
    }

    /// The archive `path`. One that is compressed, or comes through a pipe, is kept in a file without
    /// a name in the directory `spool`.
    /// What follows it compressed is counted in `ignored`.
    pub(super) fn archive(
        path: &Path,
        spool: &Path,
        ignored: &Ignored,
        cancel: &Cancel,
    ) -> Result<Self, OciError> {
        let opened = File::open(path).and_then(|file| {
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        let (file, metadata) = opened.map_err(|error| unread(path, error))?;
        let opened = Opened::new(&file, ignored, Memory::default()).and_then(Opened::with_bytes);
        let opened = opened.map_err(|error| OciError::not_read(&path.to_string_lossy(), error))?;
        if opened.packed.is_some() || !metadata.is_file() {
            return Self::spooled(path, Heeding::new(opened.reader, cancel), spool);
        }
        drop(opened);
        let file = Arc::new(file);
        let input = BlobReader {
            file: Arc::clone(&file),
            at: 0,
            left: metadata.len(),
        };
        let members = Members::read(&mut Archive::new(input));
        let members = members.map_err(|error| broken(path, error))?;
        Ok(Self::Archive(members, file))
    }

    fn spooled(path: &Path, reader: impl Read, spool: &Path) -> Result<Self, OciError> {
        let made = Spool::new(reader, spool, path.as_os_str().as_encoded_bytes());
        let (input, stored) = made.map_err(|error| unread(spool, error))?;
        let mut archive = Archive::new(input);
        let members = Members::read(&mut archive).map_err(|error| broken(path, error))?;
        let drained = archive.into_input().drain();
        drained.map_err(|error| unread(path, error))?;
        Ok(Self::Archive(members, stored.handle()))
    }

    /// The file `path` of the image.
    pub(super) fn open(&self, path: &str) -> Result<Blob, OciError> {
        match self {
            Self::Directory(top) => open_below(top, path),
            Self::Archive(members, file) => {
                let range = members.find(path)?;
                Ok(Blob {
                    path: path.to_owned(),
                    file: Arc::clone(file),
                    start: range.start,
                    size_bytes: range.end - range.start,
                })
            }
        }
    }

    /// Whether there is a file `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        self.open(path).is_ok()
    }

    /// The bytes of the document `path`.
    pub(super) fn document(&self, path: &str) -> Result<Vec<u8>, OciError> {
        self.open(path)?.document()
    }
}

fn unread(path: &Path, error: io::Error) -> OciError {
    OciError::read(&path.to_string_lossy(), error)
}

fn broken(path: &Path, error: ArchiveError) -> OciError {
    FileErrorKind::Archive(error).of(&path.to_string_lossy())
}

fn open_below(top: &HostHandle, path: &str) -> Result<Blob, OciError> {
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FileErrorKind::Missing.of(path),
        io::ErrorKind::NotADirectory => FileErrorKind::NotAFile.of(path),
        _ if sys::means_other_type(&error) => FileErrorKind::NotAFile.of(path),
        _ => OciError::read(path, error),
    };
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut directory = None;
    for parent in parents.split('/').filter(|it| !it.is_empty()) {
        let above = directory.as_ref().unwrap_or(top);
        directory = Some(sys::open_directory_at(above, parent.as_bytes()).map_err(fault)?);
    }
    let above = directory.as_ref().unwrap_or(top);
    let file = sys::open_file_at(above, name.as_bytes()).map_err(fault)?;
    let stat = sys::stat_of(&file).map_err(fault)?;
    if stat.file_type != FileType::Regular {
        return Err(FileErrorKind::NotAFile.of(path));
    }
    Ok(Blob {
        path: path.to_owned(),
        file: Arc::new(sys::into_file(file)),
        start: 0,
        size_bytes: stat.size_bytes,
    })
}

/// A file of an image: some bytes of a file of the host.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    /// What messages call it.
    pub(super) path: String,
    file: Arc<File>,
    start: u64,
    pub(super) size_bytes: u64,
}

impl Blob {
    /// All its bytes, if they are few enough for a document.
    pub(super) fn document(&self) -> Result<Vec<u8>, OciError> {
        if self.size_bytes > DOCUMENT_MAX {
            let (bytes, limit) = (self.size_bytes, DOCUMENT_MAX);
            return Err(FileErrorKind::Large { bytes, limit }.of(&self.path));
        }
        let mut bytes = Vec::new();
        let read = self.reader().read_to_end(&mut bytes);
        read.map_err(|error| OciError::read(&self.path, error))?;
        Ok(bytes)
    }

    /// What tells it from every other blob of its image, while it lives.
    pub(super) fn identity(&self) -> (*const File, u64, u64) {
        (Arc::as_ptr(&self.file), self.start, self.size_bytes)
    }

    /// Where it begins in the file of [`stored_file`](Self::stored_file), in bytes.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The file of the host that it is part of, for contents in it.
    pub(super) fn stored_file(&self) -> io::Result<StoredFile> {
        StoredFile::new(
            Arc::clone(&self.file),
            self.path.as_bytes(),
            FileUse::Shared,
        )
    }

    /// A reader of all its bytes.
    pub(super) fn reader(&self) -> BlobReader {
        BlobReader {
            file: Arc::clone(&self.file),
            at: self.start,
            left: self.size_bytes,
        }
    }
}

/// A blob's bytes, one after another.
#[derive(Debug)]
pub(super) struct BlobReader {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = sys::read_some_at(&self.file, self.at, &mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = u64::try_from(read).unwrap_or(self.left);
        self.at += bytes;
        self.left -= bytes;
        Ok(read)
    }
}

impl Input for BlobReader {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.at += bytes;
        Ok(())
    }
}
