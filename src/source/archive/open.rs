//! Given a stream, tells by its first bytes how it is to be read as an archive, or what it is instead; never
//! reads an entry.

use std::io::{self, Read};

use super::decompress::{Compression, Ignored, Memory, peek, peek_far, uncompressed_within};
use crate::source::magic::{self, NotTar};
use crate::source::tar::header::is_tar;
use crate::units::is_zero;

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

/// What an uncompressed archive begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Begin {
    Entry,
    /// Many zeros: only what follows tells whether it is an archive.
    Zeros,
    /// There is no byte.
    Nothing,
}

/// A stream that can be an archive by its first bytes.
pub(in crate::source) struct Opened<'r> {
    pub(in crate::source) begin: Begin,
    /// How it was compressed.
    pub(in crate::source) packed: Option<Compression>,
    /// All its bytes, uncompressed.
    pub(in crate::source) reader: Box<dyn Read + Send + 'r>,
}

impl<'r> Opened<'r> {
    /// What `reader` gives, if that can be an archive, plain or compressed. What follows it compressed is
    /// counted in `ignored`; its decompressor shares `memory` with others.
    pub(in crate::source) fn new(
        reader: impl Read + Send + 'r,
        ignored: &Ignored,
        memory: Memory,
    ) -> Result<Self, NotRead> {
        let (head, rest) = peek(reader)?;
        match Compression::of(&head).filter(|_| !is_tar(&head)) {
            None => Self::begun(rest, None),
            Some(packed) => {
                let unpacked = uncompressed_within(rest, packed, ignored, memory);
                Self::begun(unpacked, Some(packed))
            }
        }
    }

    fn begun(reader: impl Read + Send + 'r, packed: Option<Compression>) -> Result<Self, NotRead> {
        let (head, rest) = peek(reader)?;
        let opened = |begin, reader| Self {
            begin,
            packed,
            reader,
        };
        if head.is_empty() {
            return Ok(opened(Begin::Nothing, Box::new(rest)));
        }
        if is_tar(&head) && !is_zero(&head) {
            return Ok(opened(Begin::Entry, Box::new(rest)));
        }
        let (head, rest) = peek_far(rest, magic::BYTES)?;
        if is_tar(&head) && is_zero(&head) {
            return Ok(opened(Begin::Zeros, Box::new(rest)));
        }
        Err(NotRead::NotTar(NotTar::of(&head, packed)))
    }

    /// The same, unless there is no byte.
    pub(in crate::source) fn with_bytes(self) -> Result<Self, NotRead> {
        match self.begin {
            Begin::Nothing => Err(NotRead::NotTar(NotTar::of(&[], self.packed))),
            Begin::Entry | Begin::Zeros => Ok(self),
        }
    }
}
