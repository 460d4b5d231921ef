//! Given the names of a directory that finds them whatever their case, refuses those that it cannot
//! hold together; never what they hash to.

use std::collections::HashMap;
use std::fmt;

use super::directory::Names;
use crate::ondisk::casefold::fold;

/// `EXT4_ENC_STRICT_MODE_FL` of `s_encoding_flags`: names that are not UTF-8 are refused.
const STRICT: u16 = 1;

/// Names that a casefolding directory cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CasefoldFault {
    /// Two names that are one to it.
    Same {
        /// The one that comes first in the order of bytes.
        first: Vec<u8>,
        /// The other.
        second: Vec<u8>,
    },
    /// A name that is not UTF-8, where the encoding is strict.
    NotUtf8(Vec<u8>),
}

impl fmt::Display for CasefoldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same { first, second } => write!(
                f,
                "\"{}\" and \"{}\" are the same name in a casefolded directory",
                first.escape_ascii(),
                second.escape_ascii()
            ),
            Self::NotUtf8(name) => write!(
                f,
                "the name \"{}\" is not UTF-8, which a strict encoding requires",
                name.escape_ascii()
            ),
        }
    }
}

impl std::error::Error for CasefoldFault {}

/// Refuses `names` that one casefolding directory cannot hold in a filesystem of these
/// `s_encoding_flags`.
pub(super) fn check(
    names: &(impl Names + ?Sized),
    encoding_flags: u16,
) -> Result<(), CasefoldFault> {
    let is_strict = encoding_flags & STRICT != 0;
    let mut seen = HashMap::with_capacity(names.count());
    for index in 0..names.count() {
        let name = names.name(index);
        if is_strict && std::str::from_utf8(name).is_err() {
            return Err(CasefoldFault::NotUtf8(name.to_vec()));
        }
        let Some(form) = fold(name) else {
            continue;
        };
        if let Some(first) = seen.insert(form, name) {
            return Err(CasefoldFault::Same {
                first: first.to_vec(),
                second: name.to_vec(),
            });
        }
    }
    Ok(())
}
