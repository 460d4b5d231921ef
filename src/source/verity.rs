//! Given what protects a file in its source, says how it shall be protected in the image: in the same way;
//! never makes a tree.

use std::fs::File;
use std::io;

use crate::read;
use crate::sys;
use crate::tree::Verity;

/// The flag of a file that fs-verity protects, among those that the host tells (`FS_VERITY_FL`).
const FLAG_VERITY: u32 = 0x10_0000;

/// What protects a file as it did in its source.
pub(super) fn carried_over(verity: &read::Verity) -> Verity {
    Verity {
        hash: verity.hash(),
        block_bytes: Some(verity.block_bytes()),
        salt: verity.salt().to_vec(),
        signature: verity.signature().to_vec(),
        root_hash: Some(verity.root_hash().to_vec()),
    }
}

/// What protects an open file of the host that has `flags` and `size_bytes` of data, if anything does.
///
/// A host that knows fs-verity but not the call for it, which Linux has since 5.12, tells nothing.
pub(super) fn of_host(file: &File, flags: u32, size_bytes: u64) -> Option<Box<io::Result<Verity>>> {
    if flags & FLAG_VERITY == 0 {
        return None;
    }
    let read = sys::verity_metadata(file).and_then(|(descriptor, signature)| {
        let verity = read::Verity::of(&descriptor, signature, size_bytes);
        let verity = verity.map_err(|rule| io::Error::new(io::ErrorKind::InvalidData, rule))?;
        Ok(carried_over(&verity))
    });
    Some(Box::new(read))
}
