//! Given a rule that is asked for, makes it, from its file where it is in one; never follows it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

#[cfg(feature = "selinux")]
use crate::source::rules::FileContexts;
use crate::source::rules::{DeviceTable, FsConfig, Manifest, Rule};
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
    FsConfig(OsString),
    #[cfg(feature = "selinux")]
    FileContexts(OsString),
}

impl RuleArg {
    /// Whether the rule may add files.
    pub(super) fn adds(&self) -> bool {
        !matches!(self, Self::Is(_) | Self::FsConfig(_))
    }

    /// The files that the rule is in, and what they are.
    pub(super) fn files(&self) -> Vec<(OsString, &'static str)> {
        match self {
            Self::Is(_) => Vec::new(),
            Self::Manifest(path) => vec![(path.clone(), "a manifest")],
            Self::DeviceTable(path) => vec![(path.clone(), "a device table")],
            Self::FsConfig(path) => vec![(path.clone(), "an fs_config")],
            #[cfg(feature = "selinux")]
            Self::FileContexts(path) => {
                let beside = BESIDE.iter().map(|suffix| with_suffix(path, suffix));
                let all = std::iter::once(path.clone()).chain(beside);
                all.map(|path| (path, "a file_contexts")).collect()
            }
        }
    }

    /// The rule, read where it is in a file, for an image that goes to `output` and will be mounted at
    /// `mount_point`.
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
            Self::FsConfig(path) => {
                let config = FsConfig::new(path.to_string_lossy(), read(path)?)?;
                Rule::FsConfig(config.mount_point(mount_point))
            }
            #[cfg(feature = "selinux")]
            Self::FileContexts(path) => {
                Rule::FileContexts(file_contexts(path)?.mount_point(mount_point))
            }
        })
    }
}

/// What the names of the files end in that libselinux reads beside a file_contexts: two with more patterns,
/// and two with other prefixes.
#[cfg(feature = "selinux")]
const BESIDE: [&str; 4] = [".homedirs", ".local", ".subs", ".subs_dist"];

#[cfg(feature = "selinux")]
fn with_suffix(path: &OsStr, suffix: &str) -> OsString {
    let mut name = path.to_owned();
    name.push(suffix);
    name
}

/// The file_contexts at `path`, with what libselinux reads beside it.
#[cfg(feature = "selinux")]
fn file_contexts(path: &OsStr) -> Result<FileContexts, SourceError> {
    let mut contexts = FileContexts::new(path.to_string_lossy(), read(path)?)?;
    for suffix in BESIDE {
        let path = with_suffix(path, suffix);
        let Some(text) = read_if_there(&path)? else {
            continue;
        };
        let name = path.to_string_lossy();
        contexts = match suffix {
            ".subs" => contexts.substitutions(&name, text)?,
            ".subs_dist" => contexts.dist_substitutions(&name, text)?,
            _ => contexts.with(&name, text)?,
        };
    }
    Ok(contexts)
}

/// Refuses the output as `path`, which is also `what`.
pub(super) fn refusal(path: &Path, what: &str) -> String {
    let path = Readable(path.as_os_str().as_encoded_bytes());
    format!("{path} is both {what} and the output; name another output")
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

/// The text of a file, unless there is none of that name.
#[cfg(feature = "selinux")]
fn read_if_there(path: &OsStr) -> Result<Option<Vec<u8>>, SourceError> {
    match File::open(Path::new(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => read_opened(path, opened).map(Some),
    }
}

/// The text of a file, which may be a pipe.
fn read(path: &OsStr) -> Result<Vec<u8>, SourceError> {
    read_opened(path, File::open(Path::new(path)))
}

fn read_opened(path: &OsStr, opened: io::Result<File>) -> Result<Vec<u8>, SourceError> {
    let unread = |error| SourceError::read(path.as_encoded_bytes(), error);
    let file = opened.map_err(unread)?;
    let mut text = Vec::new();
    let mut all = file.take(TEXT_MAX + 1);
    all.read_to_end(&mut text).map_err(unread)?;
    match all.limit() {
        0 => Err(unread(io::Error::other("must be at most 1 GiB long"))),
        _ => Ok(text),
    }
}
