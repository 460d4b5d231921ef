//! Given what may be an archive, says by its first bytes how it is to be read, or what it is instead;
//! never reads an entry.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use super::Stream;
use super::archive::{Archive, End};
use super::fault::Fault;
use super::header::{BLOCK, Header};
use crate::source::decompress::{Compression, Ignored, peek, peek_far, uncompressed};
use crate::source::magic::{self, NotTar};

/// An archive that was looked at.
pub(super) enum Opened {
    /// It can be read where it is.
    Plain(File),
    /// It comes but once, uncompressed.
    Stream(Box<dyn Read + Send>),
}

/// Why an archive cannot be read.
pub(in crate::source) enum NotRead {
    Io(io::Error),
    NotTar(NotTar),
}

impl From<io::Error> for NotRead {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether an uncompressed archive can begin with `head`. One that begins with zeros is one only if
/// nothing else follows.
pub fn is_tar(head: &[u8]) -> bool {
    let block = head.first_chunk::<BLOCK>();
    block.is_some_and(|block| *block == [0; BLOCK] || Header::new(*block).is_ok())
}

/// The archive in the file or pipe at `path`.
pub(super) fn path(path: &Path, ignored: &Ignored) -> Result<Opened, NotRead> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return stream(Box::new(file), ignored);
    }
    let (head, rest) = peek(file.try_clone()?)?;
    if is_entry(&head) {
        return Ok(Opened::Plain(file));
    }
    stream(Box::new(rest), ignored)
}

/// The archive that `reader` gives.
pub(super) fn stream(reader: Box<dyn Read + Send>, ignored: &Ignored) -> Result<Opened, NotRead> {
    let (head, rest) = peek(reader)?;
    let compression = Compression::of(&head).filter(|_| !is_tar(&head));
    let (begin, reader) = match compression {
        Some(compression) => begun(uncompressed(rest, compression, ignored), compression.into())?,
        None => begun(rest, None)?,
    };
    match begin {
        Begin::Entry => Ok(Opened::Stream(reader)),
        Begin::Zeros => only_zeros(reader, compression),
        Begin::Nothing => Err(NotRead::NotTar(NotTar::of(&[], compression))),
    }
}

/// What an uncompressed archive begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Begin {
    Entry,
    /// Many zeros: only what follows tells whether it is an archive.
    Zeros,
    /// There is no byte.
    Nothing,
}

/// What `reader` gives, if by its first bytes that can be an uncompressed archive; `packed` says how it
/// was compressed.
pub(in crate::source) fn begun<'r>(
    reader: impl Read + Send + 'r,
    packed: Option<Compression>,
) -> Result<(Begin, Box<dyn Read + Send + 'r>), NotRead> {
    let (head, rest) = peek(reader)?;
    if head.is_empty() {
        return Ok((Begin::Nothing, Box::new(rest)));
    }
    if is_entry(&head) {
        return Ok((Begin::Entry, Box::new(rest)));
    }
    let (head, rest) = peek_far(rest, magic::BYTES)?;
    if is_tar(&head) && head.iter().all(|byte| *byte == 0) {
        return Ok((Begin::Zeros, Box::new(rest)));
    }
    Err(NotRead::NotTar(NotTar::of(&head, packed)))
}

/// The archive without an entry that `reader` gives, if there is nothing but zeros.
fn only_zeros(
    reader: Box<dyn Read + Send>,
    packed: Option<Compression>,
) -> Result<Opened, NotRead> {
    let mut archive = Archive::new(Stream(BufReader::new(reader)));
    match archive.next_entry().map_err(|error| error.fault) {
        Err(Fault::Read(error)) => {
            let error = Arc::try_unwrap(error);
            return Err(error
                .unwrap_or_else(|it| io::Error::new(it.kind(), it))
                .into());
        }
        Err(_) => return Err(NotRead::NotTar(NotTar::of(&[0], packed))),
        Ok(_) => {}
    }
    // All of it was read, and nothing of it is of use but how it ends.
    let blocks = match archive.end() {
        Some(End::Marked) => 2,
        _ => 1,
    };
    Ok(Opened::Stream(Box::new(Cursor::new(vec![
        0;
        blocks * BLOCK
    ]))))
}

/// Whether `head` is the beginning of an entry.
fn is_entry(head: &[u8]) -> bool {
    is_tar(head) && head.iter().any(|byte| *byte != 0)
}
