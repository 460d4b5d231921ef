//! Given an image's name with an offset or a partition behind it, says which file it is and where the
//! filesystem begins in it; never reads the filesystem.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::partitions::{self, PartitionError};
use crate::read::{ImageFile, ReadAt as _};
use crate::source::Readable;
use crate::sys;

/// Where a filesystem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The file or device.
    pub(super) path: PathBuf,
    pub(super) start: Start,
}

/// Where in its file a filesystem begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// An offset in bytes.
    Offset(u64),
    /// With a partition, counted from 1.
    Partition(u32),
}

/// Why an image cannot be used.
#[derive(Debug)]
pub(super) struct LocationError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Open(io::Error),
    Partition(PartitionError),
}

impl fmt::Display for LocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Readable(self.path.as_os_str().as_encoded_bytes());
        match &self.cause {
            Cause::Open(error) => write!(f, "cannot open {path}: {}", sys::reason(error)),
            Cause::Partition(error) => write!(f, "{path}: {error}"),
        }
    }
}

impl std::error::Error for LocationError {}

/// Where the image is that `ext4:` marks as one; a path that is called so and exists is a path.
pub(super) fn marked(text: &Path) -> Option<Location> {
    if text.exists() {
        return None;
    }
    let location = without_prefix(text.as_os_str(), "ext4:")?;
    Some(Location::of(&location, &|path| path.exists()))
}

impl Location {
    /// The image that fills a file or device.
    pub(super) fn whole(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            start: Start::Offset(0),
        }
    }

    /// What `FILE`, `FILE@OFFSET` or `FILE#PARTITION` names. `exists` says of a path whether it is there:
    /// one that is called so as a whole is meant.
    pub(super) fn of(text: &OsStr, exists: &dyn Fn(&Path) -> bool) -> Self {
        let whole = || Self::whole(Path::new(text));
        if exists(Path::new(text)) {
            return whole();
        }
        let bytes = text.as_encoded_bytes();
        let mark = |byte: &u8| matches!(byte, b'@' | b'#');
        let at = bytes.iter().rposition(mark).filter(|at| *at > 0);
        let named = at.and_then(|at| {
            let (name, number) = bytes.split_at(at);
            let start = start(number)?;
            let path = path(text, name.len())?;
            Some(Self { path, start })
        });
        named.unwrap_or_else(whole)
    }

    /// Opens the image, and says at which of its bytes the filesystem begins.
    ///
    /// # Errors
    /// Where it cannot be opened, or has no such partition.
    pub(super) fn open(&self) -> Result<(ImageFile, u64), LocationError> {
        self.open_range().map(|(image, range)| (image, range.start))
    }

    /// Opens the image, and says which of its bytes are the filesystem's: up to the end of its partition, or
    /// else of the file.
    ///
    /// # Errors
    /// Where it cannot be opened, or has no such partition.
    pub(super) fn open_range(&self) -> Result<(ImageFile, Range<u64>), LocationError> {
        let told = |cause| LocationError {
            path: self.path.clone(),
            cause,
        };
        let image = ImageFile::open(&self.path).map_err(|error| told(Cause::Open(error)))?;
        let range = match self.start {
            Start::Offset(bytes) => bytes..image.size_bytes(),
            Start::Partition(number) => {
                partitions::range(&image, number).map_err(|error| told(Cause::Partition(error)))?
            }
        };
        Ok((image, range))
    }
}

/// What a mark and the number behind it say.
fn start(marked: &[u8]) -> Option<Start> {
    let (mark, number) = marked.split_first()?;
    let number = std::str::from_utf8(number).ok()?;
    if *mark == b'#' {
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|number| *number > 0)?;
        return is_number.then_some(Start::Partition(number));
    }
    let (digits, shift) = match number.bytes().last()? {
        b'k' | b'K' => (number.get(..number.len() - 1)?, 10),
        b'm' | b'M' => (number.get(..number.len() - 1)?, 20),
        b'g' | b'G' => (number.get(..number.len() - 1)?, 30),
        _ => (number, 0),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    is_number.then_some(Start::Offset(bytes))
}

/// The first bytes of a name, which end before an ASCII character.
fn path(text: &OsStr, bytes: usize) -> Option<PathBuf> {
    sys::path_of_bytes(text.as_encoded_bytes().get(..bytes)?)
}

/// What follows a prefix.
fn without_prefix(text: &OsStr, prefix: &str) -> Option<OsString> {
    let rest = text.as_encoded_bytes().strip_prefix(prefix.as_bytes())?;
    sys::path_of_bytes(rest).map(OsString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_before_a_number_at_the_end() {
        let there = ["disk@1", "disk#2"];
        let exists = |path: &Path| there.iter().any(|it| Path::new(it) == path);
        for (text, path, start) in [
            ("disk", "disk", Start::Offset(0)),
            ("disk@512", "disk", Start::Offset(512)),
            ("disk@4k", "disk", Start::Offset(4096)),
            ("disk@1M", "disk", Start::Offset(1 << 20)),
            ("disk@2g", "disk", Start::Offset(2 << 30)),
            ("disk#1", "disk", Start::Partition(1)),
            ("disk@1", "disk@1", Start::Offset(0)),
            ("disk@1@1", "disk@1", Start::Offset(1)),
            ("disk#2", "disk#2", Start::Offset(0)),
            ("disk#0", "disk#0", Start::Offset(0)),
            ("disk#+1", "disk#+1", Start::Offset(0)),
            ("disk@-1", "disk@-1", Start::Offset(0)),
            ("disk@", "disk@", Start::Offset(0)),
            ("disk@k", "disk@k", Start::Offset(0)),
            ("me@host", "me@host", Start::Offset(0)),
            ("@1", "@1", Start::Offset(0)),
            (
                "disk@99999999999999999999",
                "disk@99999999999999999999",
                Start::Offset(0),
            ),
            (
                "disk@18446744073709551615G",
                "disk@18446744073709551615G",
                Start::Offset(0),
            ),
        ] {
            let found = Location::of(OsStr::new(text), &exists);
            let path = PathBuf::from(path);
            assert_eq!(found, Location { path, start }, "{text}");
        }
    }
}
