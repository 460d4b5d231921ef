//! Given what a program asks of every source alike, answers what a source asks about a file; never what only
//! one kind of source knows.

use std::io;
use std::path::{Path, PathBuf};

use super::patterns::{PathType, Patterns};
use super::place::implied;
use super::rules::{OwnerRules, XattrFilter};
use crate::cancel::Cancel;
use crate::sys;
use crate::tree::Metadata;
use crate::units::Timestamp;

/// What becomes of a name in an ACL that `/etc/passwd` or `/etc/group` of the image does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AclNames {
    /// It is an error.
    #[default]
    Refuse,
    /// The host's files of these names are asked too.
    Host,
    /// The entry is left out, with a warning.
    Skip,
}

/// Why what an image is made of is not read.
pub(crate) const IS_OUTPUT: &str = "it is the output, too; name another output";

/// What every source is told alike.
#[cfg_attr(
    not(feature = "tar"),
    allow(dead_code, reason = "only archives are kept, and imply directories")
)]
#[derive(Clone, Debug, Default)]
pub(super) struct SourceOptions {
    /// Which extended attributes are kept.
    pub(super) xattrs: XattrFilter,
    /// Which owners are replaced whatever they are.
    pub(super) owners: OwnerRules,
    pub(super) excluded: Patterns,
    /// No time is later, in seconds since 1970.
    pub(super) latest_time: Option<i64>,
    /// The time of directories that nothing declares.
    pub(super) implied_time: i64,
    /// What becomes of names in ACLs that the image does not know.
    pub(super) acl_names: AclNames,
    /// Where temporary files lie, if that was told.
    pub(super) spool: Option<PathBuf>,
    /// Where the image goes, if that was told.
    pub(super) output: Option<PathBuf>,
    pub(super) cancel: Cancel,
}

#[cfg_attr(
    not(feature = "tar"),
    allow(dead_code, reason = "only archives are kept, and imply directories")
)]
impl SourceOptions {
    /// Whether an archive's entry `path` is left out.
    pub(super) fn excludes(&self, path: &[u8], leaf: PathType) -> bool {
        if self.excluded.is_empty() {
            return false;
        }
        let names = path.split(|byte| *byte == b'/');
        let names: Vec<&[u8]> = names.filter(|name| !matches!(*name, b"" | b".")).collect();
        !names.is_empty() && self.excluded.exclude_within(&names.join(&b'/'), leaf)
    }

    /// `metadata` with no time later than the latest.
    pub(super) fn clamped(&self, metadata: Metadata) -> Metadata {
        clamped(metadata, self.latest_time)
    }

    /// What directories are that nothing declares.
    pub(super) fn implied(&self) -> Metadata {
        implied(Timestamp::from_seconds(self.implied_time))
    }

    /// Where temporary files lie.
    pub(super) fn spool(&self) -> PathBuf {
        self.spool.clone().unwrap_or_else(spool_directory)
    }

    /// Refuses to read `path` if the image goes there.
    pub(super) fn check_is_not_output(&self, path: &Path) -> io::Result<()> {
        match &self.output {
            Some(output) if sys::is_same_file(path, output) => Err(io::Error::other(IS_OUTPUT)),
            _ => Ok(()),
        }
    }

    /// Remembers where the image goes. Temporary files lie beside a regular file, where there must be room,
    /// unless a place was told.
    pub(super) fn for_output(&mut self, output: &Path) {
        self.output = Some(output.to_owned());
        let is_other = std::fs::metadata(output).is_ok_and(|found| !found.is_file());
        if self.spool.is_none() && !is_other {
            let output = crate::sys::absolute(output).ok();
            self.spool = output.and_then(|output| output.parent().map(Path::to_owned));
        }
    }
}

/// `metadata` with no time later than `latest`, in seconds since 1970.
pub(super) fn clamped(metadata: Metadata, latest: Option<i64>) -> Metadata {
    let time = |time: Timestamp| match latest {
        Some(latest) if time.seconds >= latest => Timestamp::from_seconds(latest),
        _ => time,
    };
    Metadata {
        atime: time(metadata.atime),
        mtime: time(metadata.mtime),
        ctime: time(metadata.ctime),
        ..metadata
    }
}

/// The setters that several sources have, by name, for a type with a field `options`.
macro_rules! option_setters {
    ($($name:ident)*) => { $($crate::source::options::option_setters!(@ $name);)* };
    (@ keep_xattrs) => {
        /// Whether extended attributes and ACLs are kept; they are by default.
        #[must_use]
        pub fn keep_xattrs(mut self, keep: bool) -> Self {
            self.options.xattrs = $crate::source::rules::XattrFilter::all_if(keep);
            self
        }
    };
    (@ exclude) => {
        /// Leaves out, without a word, what `patterns` say, by its path in the source.
        #[must_use]
        pub fn exclude(mut self, patterns: $crate::source::patterns::Patterns) -> Self {
            self.options.excluded = patterns;
            self
        }
    };
    (@ latest_time) => {
        /// Sets every time later than this to it, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
        #[must_use]
        pub fn latest_time(mut self, seconds: Option<i64>) -> Self {
            self.options.latest_time = seconds;
            self
        }
    };
    (@ implied_time) => {
        /// The times of directories that nothing in the source declares, in seconds since 1970.
        #[must_use]
        pub fn implied_time(mut self, seconds: i64) -> Self {
            self.options.implied_time = seconds;
            self
        }
    };
    (@ acl_names) => {
        /// What becomes of the name of a user or group in an ACL that neither `/etc/passwd` nor `/etc/group` of
        /// the image has: refused by default.
        #[must_use]
        pub fn acl_names(mut self, names: $crate::source::AclNames) -> Self {
            self.options.acl_names = names;
            self
        }
    };
    (@ spool_in) => {
        /// Keeps what can be read only once, or was compressed, as long as the tree lives: in files without
        /// a name in `directory`, which is the output's by default, or `/var/tmp`.
        #[must_use]
        pub fn spool_in(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
            self.options.spool = Some(directory.into());
            self
        }
    };
}

/// The methods of [`Source`](super::Source) that only fill a field `options`.
macro_rules! heed_options {
    () => {
        fn set_cancel(&mut self, cancel: &$crate::cancel::Cancel) {
            self.options.cancel = cancel.clone();
        }

        fn filter_xattrs(&mut self, filter: &$crate::source::rules::XattrFilter) {
            self.options.xattrs.narrow(filter);
        }

        fn replace_owners(&mut self, owners: &$crate::source::rules::OwnerRules) {
            self.options.owners = owners.clone();
        }

        fn for_output(&mut self, output: &std::path::Path) {
            self.options.for_output(output);
        }
    };
}

pub(super) use {heed_options, option_setters};

/// Where temporary files lie by default. Those in `/tmp` may be in memory, and the current directory
/// is none of a library's business.
pub(crate) fn spool_directory() -> PathBuf {
    if cfg!(unix) {
        "/var/tmp".into()
    } else {
        std::env::temp_dir()
    }
}
