//! Given contents before their tree is known, keeps them until the image holds them, or puts them where
//! they will most likely lie; never knows whose they are.

use std::io::{self, Read};

use crate::tree::{Content, DataMap};

/// Keeps contents that can be read only once, as those of an archive in a pipe.
///
/// One such store writes each content straight to its place in the image; it is there where the
/// image's size is known before its content is.
pub trait ContentStore {
    /// Keeps a content of `size_bytes`, of which `data` is data: `bytes` gives the bytes of those
    /// ranges, one after the other, and nothing of what lies between them. Gives what to declare.
    ///
    /// # Errors
    /// Where `bytes` fails or ends early, or the content cannot be kept.
    fn keep(&mut self, size_bytes: u64, data: DataMap, bytes: &mut dyn Read)
    -> io::Result<Content>;

    /// Says whether to go on; asked once for each entry, of which many may have no content.
    ///
    /// # Errors
    /// Where somebody wants all to end.
    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes contents that were read while their files were looked at, so that these need not be opened
/// again once everything has its place.
///
/// What becomes of them binds nobody: a content that came to lie elsewhere, or has no place here, is read
/// when its turn comes. All contents are of one source, and each has a key of its own.
pub trait EarlyContents {
    /// The bytes of a block: contents are handed over in whole ones, with zeros behind their end.
    fn block_bytes(&self) -> usize;

    /// Says whether to go on.
    ///
    /// # Errors
    /// Where somebody wants all to end.
    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether any more contents may have a place: those to come need not be read if not.
    fn takes_more(&self) -> bool {
        true
    }

    /// Guesses where `content` will lie, which is the next that the tree holds in the order of a walk;
    /// `is_read` says whether it can be handed over. If this gives a place, in bytes, it must be.
    ///
    /// # Errors
    /// Where somebody wants all to end.
    fn place(&mut self, content: &Content, is_read: bool) -> io::Result<Option<u64>>;

    /// Takes `bytes` of contents that lie one behind the other from `offset` on.
    ///
    /// # Errors
    /// Where they cannot be kept, or somebody wants all to end.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}
