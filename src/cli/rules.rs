//! Given a rule that is asked for, makes it, from its file where it is in one; never follows it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

#[cfg(feature = "selinux")]
use crate::source::rules::FileContexts;
use crate::source::rules::{DeviceTable, Manifest, Rule};
use crate::source::{Readable, SourceError};

/// How long a manifest or table may be, in bytes.
const TEXT_MAX: u64 = 1 << 30;

/// A rule that is asked for.
#[derive(Clone, Debug)]
pub(super) enum RuleArg {
    /// One that is complete.
    Is(Rule),
    /// One in a file that is still to be read.
    Manifest(OsString),
    DeviceTable(OsString),
    #[cfg(feature = "selinux")]
    FileContexts(OsString),
}

impl RuleArg {
    /// Whether the rule may add files.
    pub(super) fn adds(&self) -> bool {
        !matches!(self, Self::Is(_))
    }

    /// The file that the rule is in, if it is in one, and what that is.
    pub(super) fn file(&self) -> Option<(&OsStr, &'static str)> {
        match self {
            Self::Is(_) => None,
            Self::Manifest(path) => Some((path, "a manifest")),
            Self::DeviceTable(path) => Some((path, "a device table")),
            #[cfg(feature = "selinux")]
            Self::FileContexts(path) => Some((path, "a file_contexts")),
        }
    }

    /// The rule, read where it is in a file, for an image that goes to `output` and will be mounted at
    /// `mount_point`.
    #[cfg_attr(
        not(feature = "selinux"),
        allow(unused_variables, reason = "labels ask for it")
    )]
    pub(super) fn rule(&self, output: &Path, mount_point: &[u8]) -> Result<Rule, SourceError> {
        Ok(match self {
            Self::Is(rule) => rule.clone(),
            Self::Manifest(path) => {
                let manifest = Manifest::new(path.to_string_lossy(), read(path)?)?;
                Rule::Manifest(with_contents(manifest, output))
            }
            Self::DeviceTable(path) => {
                Rule::DeviceTable(DeviceTable::new(path.to_string_lossy(), read(path)?)?)
            }
            #[cfg(feature = "selinux")]
            Self::FileContexts(path) => {
                Rule::FileContexts(file_contexts(path)?.mount_point(mount_point))
            }
        })
    }
}

/// The file_contexts at `path`, with what libselinux reads beside it.
#[cfg(feature = "selinux")]
fn file_contexts(path: &OsStr) -> Result<FileContexts, SourceError> {
    let beside = |suffix: &str| -> Result<Option<(String, Vec<u8>)>, SourceError> {
        let mut name = path.to_owned();
        name.push(suffix);
        match Path::new(&name).try_exists() {
            Ok(true) => Ok(Some((name.to_string_lossy().into_owned(), read(&name)?))),
            _ => Ok(None),
        }
    };
    let mut contexts = FileContexts::new(path.to_string_lossy(), read(path)?)?;
    for suffix in [".homedirs", ".local"] {
        if let Some((name, text)) = beside(suffix)? {
            contexts = contexts.with(&name, text)?;
        }
    }
    if let Some((name, text)) = beside(".subs")? {
        contexts = contexts.substitutions(&name, text)?;
    }
    if let Some((name, text)) = beside(".subs_dist")? {
        contexts = contexts.dist_substitutions(&name, text)?;
    }
    Ok(contexts)
}

/// Refuses the output as `path`, which is also `what`.
pub(super) fn refusal(path: &Path, what: &str) -> String {
    let path = Readable(path.as_os_str().as_encoded_bytes());
    format!("{path} is {what} and the output as well; name another output")
}

/// Lets `manifest` name files of the host, but not the output.
fn with_contents(manifest: Manifest, output: &Path) -> Manifest {
    let output = output.to_owned();
    manifest.contents(std::sync::Arc::new(move |path: &[u8]| {
        if let Some(named) = crate::sys::path_of_bytes(path)
            && crate::sys::is_same_file(&named, &output)
        {
            let refusal = refusal(&named, "named by a manifest");
            return Err(SourceError::other(refusal));
        }
        crate::source::copy::content_of(path)
    }))
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
