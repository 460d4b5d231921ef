//! Given a rule that is asked for, makes it, from its file where it is in one; never follows it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::source::rules::{DeviceTable, Manifest, Rule};
use crate::source::{Readable, SourceError};

/// How long a manifest or table may be, in bytes.
const TEXT_MAX: u64 = 1 << 30;

/// A rule that is asked for.
#[derive(Clone, Debug)]
pub(super) enum RuleWish {
    /// One that is complete.
    Is(Rule),
    /// One in a file that is still to be read.
    Manifest(OsString),
    DeviceTable(OsString),
}

impl RuleWish {
    /// Whether the rule may add files.
    pub(super) fn adds(&self) -> bool {
        matches!(self, Self::Manifest(_) | Self::DeviceTable(_))
    }

    /// The file that the rule is in, if it is in one, and what that is.
    pub(super) fn file(&self) -> Option<(&OsStr, &'static str)> {
        match self {
            Self::Is(_) => None,
            Self::Manifest(path) => Some((path, "a manifest")),
            Self::DeviceTable(path) => Some((path, "a device table")),
        }
    }

    /// The rule, read where it is in a file, for an image that goes to `output`.
    pub(super) fn rule(&self, output: &Path) -> Result<Rule, SourceError> {
        Ok(match self {
            Self::Is(rule) => rule.clone(),
            Self::Manifest(path) => {
                let manifest = Manifest::new(path.to_string_lossy(), read(path)?)?;
                Rule::Manifest(with_contents(manifest, output))
            }
            Self::DeviceTable(path) => {
                Rule::DeviceTable(DeviceTable::new(path.to_string_lossy(), read(path)?)?)
            }
        })
    }
}

/// Refuses the output as `path`, which is also `what`.
pub(super) fn refusal(path: &Path, what: &str) -> String {
    let path = Readable(path.as_os_str().as_encoded_bytes());
    format!("{path} is {what} and the output as well; name another output")
}

/// Lets `manifest` name files of the host, but not the output.
#[cfg(unix)]
fn with_contents(manifest: Manifest, output: &Path) -> Manifest {
    use std::os::unix::ffi::OsStrExt;

    let output = output.to_owned();
    manifest.contents(std::sync::Arc::new(move |path: &[u8]| {
        let named = Path::new(OsStr::from_bytes(path));
        if crate::sys::is_same_file(named, &output) {
            let refusal = refusal(named, "named by a manifest");
            return Err(SourceError::other(refusal));
        }
        crate::source::copy::content_of(path)
    }))
}

#[cfg(not(unix))]
fn with_contents(manifest: Manifest, _output: &Path) -> Manifest {
    manifest
}

/// The text of a file, which may be a pipe.
fn read(path: &OsStr) -> Result<Vec<u8>, SourceError> {
    let unread = |error| SourceError::read(path.as_encoded_bytes(), error);
    let file = File::open(Path::new(path)).map_err(unread)?;
    let mut text = Vec::new();
    let mut all = file.take(TEXT_MAX + 1);
    all.read_to_end(&mut text).map_err(unread)?;
    match all.limit() {
        0 => Err(unread(io::Error::other(
            "a file of at most 1 GiB is needed",
        ))),
        _ => Ok(text),
    }
}
