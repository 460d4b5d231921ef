//! Given a path in a filesystem, gives what is there, by name; never file data.

use std::fmt;
use std::io;

use super::ExportError;
use crate::read::{FileType, Filesystem, Inode};
use crate::units::Timestamp;

/// How far a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// To the entries of a directory.
    Entries,
    /// To all that is below it.
    All,
}

/// A file in a listing. Shown, it is a line in the manner of `ls -l`, without its path.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Its path from the directory that is listed; of a file that is not a directory, the path that was
    /// asked for.
    pub path: Vec<u8>,
    /// All that the filesystem says of it.
    pub inode: Inode,
    /// Where a symbolic link leads, unless that is encrypted.
    pub target: Option<Vec<u8>>,
}

/// Gives to `each` what is at `path`: the entries of a directory in the order of their names' bytes, or
/// the file itself.
///
/// # Errors
/// Where something cannot be read, or `each` fails.
pub fn list(
    filesystem: &Filesystem<'_>,
    path: &[u8],
    depth: Depth,
    each: &mut dyn FnMut(&Listed) -> io::Result<()>,
) -> Result<(), ExportError> {
    let start = filesystem.symlink_metadata(path)?;
    if !start.is_dir() {
        let listed = listed(filesystem, path, start)?;
        return each(&listed).map_err(ExportError::Write);
    }
    let mut walk = filesystem.walk(&start)?.sorted();
    while let Some(found) = walk.next() {
        let inode = found?.inode;
        if depth == Depth::Entries {
            walk.skip_below();
        }
        let listed = listed(filesystem, walk.path(), inode)?;
        each(&listed).map_err(ExportError::Write)?;
    }
    Ok(())
}

fn listed(filesystem: &Filesystem<'_>, path: &[u8], inode: Inode) -> Result<Listed, ExportError> {
    let target = if inode.is_symlink() && !inode.is_encrypted() {
        Some(filesystem.link_target(&inode)?)
    } else {
        None
    };
    Ok(Listed {
        path: path.to_vec(),
        inode,
        target,
    })
}

impl Listed {
    /// Type and permissions in ten letters, such as `drwxr-sr-x`.
    pub fn mode(&self) -> String {
        let permissions = self.inode.permissions();
        let mut letters = String::with_capacity(10);
        letters.push(type_letter(self.inode.file_type()));
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let bits = permissions >> shift;
            letters.push(if bits & 4 != 0 { 'r' } else { '-' });
            letters.push(if bits & 2 != 0 { 'w' } else { '-' });
            letters.push(match (bits & 1 != 0, permissions & special != 0) {
                (true, true) => letter,
                (false, true) => letter.to_ascii_uppercase(),
                (true, false) => 'x',
                (false, false) => '-',
            });
        }
        letters
    }
}

/// What it is, in `ls`'s letter.
fn type_letter(file_type: Option<FileType>) -> char {
    match file_type {
        Some(FileType::Regular) => '-',
        Some(FileType::Directory) => 'd',
        Some(FileType::Symlink) => 'l',
        Some(FileType::CharDevice) => 'c',
        Some(FileType::BlockDevice) => 'b',
        Some(FileType::Fifo) => 'p',
        Some(FileType::Socket) => 's',
        None => '?',
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inode = &self.inode;
        let size = match inode.device() {
            Some(device) => format!("{}, {}", device.major, device.minor),
            None => inode.size().to_string(),
        };
        let (mode, links) = (self.mode(), inode.links());
        let (uid, gid) = (inode.uid(), inode.gid());
        let time = Utc(inode.mtime());
        write!(f, "{mode} {links:>3} {uid:>5} {gid:>5} {size:>10} {time}")
    }
}

/// A time, shown as date and time of day in UTC, to the nanosecond.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Utc(pub Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timestamp {
            seconds,
            nanoseconds,
        } = self.0;
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T")?;
        write!(f, "{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    // Years that begin in March end with the day that leap years add: 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, five months have 153 days, twice and a part of a third time.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000007Z"),
            (-1, "1969-12-31T23:59:59.000000007Z"),
            (951_782_399, "2000-02-28T23:59:59.000000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000000007Z"),
            (1_700_000_000, "2023-11-14T22:13:20.000000007Z"),
            (-2_147_483_648, "1901-12-13T20:45:52.000000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000007Z"),
            (15_032_385_535, "2446-05-10T22:38:55.000000007Z"),
        ] {
            let time = Timestamp {
                seconds,
                nanoseconds: 7,
            };
            assert_eq!(Utc(time).to_string(), text);
        }
    }
}
