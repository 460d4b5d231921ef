//! Given what in an archive is read as other programs read it, though it may not be what was meant,
//! counts it and says it; never decides how it is read.

use std::collections::BTreeMap;
use std::fmt;

use crate::source::{Readable, SourceWarning};

/// What is odd about an archive or an entry of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Oddity {
    /// An entry is in the place of a directory in which the same archive had put something.
    ReplacesDirectory,
    /// A path has more `..` than names before it, or the target of a hard link has.
    AboveRoot,
    /// An extended attribute in `user.*` of what is neither a file nor a directory.
    UserAttribute,
    /// An ACL of a symbolic link, or a default ACL of what is no directory.
    AclElsewhere,
    /// An entry of an ACL is for a user or group that the image does not know.
    AclNameUnknown,
    /// An ACL of NFS version 4.
    Nfs4Acl,
    /// A header of GNU's form with the prefix of ustar's, as Go before 1.8 wrote them.
    GnuPrefix,
    /// A header of GNU's form whose atime or ctime is no number.
    GnuTimes,
    /// A PAX record of a time in which something follows the number.
    PaxTime,
    /// An extended header at the archive's end, without the entry that it describes.
    HeaderAlone,
    /// The archive ends at one block of zeros, and something follows that.
    LoneZeroBlock,
}

impl Oddity {
    /// What it does to `entries` entries, of which `first` is the first.
    pub(in crate::source) fn say(
        self,
        f: &mut fmt::Formatter<'_>,
        entries: u64,
        first: &[u8],
    ) -> fmt::Result {
        let first = Readable(first);
        let (one, more, why) = match self {
            Self::LoneZeroBlock => {
                return write!(
                    f,
                    "{first} ends at a lone block of zeros: what follows it is ignored"
                );
            }
            Self::ReplacesDirectory => (
                "1 entry replaces a directory",
                "entries replace directories",
                "what the archive had put there before is lost",
            ),
            Self::AboveRoot => (
                "1 entry leads above the root by its \"..\"",
                "entries lead above the root by their \"..\"",
                "such a path begins at the root",
            ),
            Self::UserAttribute => (
                "1 file lost user.*",
                "files lost user.*",
                "Linux has such extended attributes only for regular files and directories",
            ),
            Self::AclElsewhere => (
                "1 file lost an ACL",
                "files lost an ACL",
                "symbolic links have none, and only directories have a default one",
            ),
            Self::AclNameUnknown => (
                "1 ACL lost entries",
                "ACLs lost entries",
                "the image's etc/passwd and etc/group do not have their users or groups",
            ),
            Self::Nfs4Acl => (
                "1 file lost its NFSv4 ACL",
                "files lost their NFSv4 ACL",
                "ext4 has POSIX ACLs only",
            ),
            Self::GnuPrefix => (
                "1 GNU header has a ustar prefix",
                "GNU headers have a ustar prefix",
                "it is taken as part of the path, as Go before 1.8 meant it",
            ),
            Self::GnuTimes => (
                "1 GNU header has an atime or ctime that is not a number",
                "GNU headers have an atime or ctime that is not a number",
                "mtime is used instead",
            ),
            Self::PaxTime => (
                "1 entry has a PAX time with other characters behind the number",
                "entries have a PAX time with other characters behind the number",
                "the number is used, as by GNU tar and bsdtar",
            ),
            Self::HeaderAlone => (
                "1 extended header has no entry",
                "extended headers have no entry",
                "the archive ends behind it",
            ),
        };
        if entries == 1 {
            write!(f, "{one} (first: {first}): {why}")
        } else {
            write!(f, "{entries} {more} (first: {first}): {why}")
        }
    }
}

/// What was odd so far: of each oddity the first path and the count.
#[derive(Clone, Debug, Default)]
pub(in crate::source) struct Oddities(BTreeMap<Oddity, (Vec<u8>, u64)>);

impl Oddities {
    /// Counts one more.
    pub(in crate::source) fn note(&mut self, oddity: Oddity, path: &[u8]) {
        let entry = self.0.entry(oddity);
        entry.or_insert_with(|| (path.to_vec(), 0)).1 += 1;
    }

    /// Counts what was counted elsewhere, behind what was counted here.
    pub(in crate::source) fn extend(&mut self, others: Self) {
        for (oddity, (path, entries)) in others.0 {
            self.0.entry(oddity).or_insert((path, 0)).1 += entries;
        }
    }

    /// All of it for people.
    pub(in crate::source) fn warnings(self) -> impl Iterator<Item = SourceWarning> {
        let warning = |(oddity, (path, entries))| SourceWarning::Odd {
            oddity,
            path,
            entries,
        };
        self.0.into_iter().map(warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_named_and_all_are_counted() {
        let mut oddities = Oddities::default();
        oddities.note(Oddity::UserAttribute, b"s");
        let mut more = Oddities::default();
        more.note(Oddity::UserAttribute, b"t");
        more.note(Oddity::LoneZeroBlock, b"a.tar");
        oddities.extend(more);
        let said: Vec<String> = oddities
            .warnings()
            .map(|warning| warning.to_string())
            .collect();
        assert_eq!(
            said,
            [
                "2 files lost user.* (first: s): Linux has such extended attributes only for \
                 regular files and directories",
                "a.tar ends at a lone block of zeros: what follows it is ignored",
            ]
        );
    }
}
