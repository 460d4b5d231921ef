//! Given contents before their tree is known, keeps them until the image holds them; never knows whose
//! they are.

use std::io::{self, Read};

use crate::tree::{Content, DataMap};

/// Keeps file data that can be read only once, as those of an archive in a pipe.
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
