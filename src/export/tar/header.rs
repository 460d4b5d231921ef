//! Given what a member of an archive is, gives its blocks before the data; never the data.
//!
//! Layout: POSIX's pax interchange format, `pax(1)`, "ustar Interchange Format" and "pax Extended
//! Header"; sparse files as in GNU tar's manual, "PAX Format, Version 1.0".

use crate::read::{Device, Inode};
use crate::units::Timestamp;

/// The longest name that a header holds, in bytes.
const NAME_MAX: usize = 100;
/// The greatest number of seven octal digits, and of eleven.
const SEVEN_DIGITS: u64 = 0o777_7777;
const ELEVEN_DIGITS: u64 = 0o777_7777_7777;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

impl Kind {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }
}

/// The records of a pax extended header.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(Vec<u8>);

impl Records {
    /// Adds a record, whose length counts its own digits.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        // A space, an equals sign and a newline are in it too.
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        self.0.push(b' ');
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.push(key.as_bytes(), value.to_string().as_bytes());
    }

    /// Adds a time, with as many decimals as it needs.
    pub(super) fn time(&mut self, key: &str, time: Timestamp) {
        let nanoseconds = i64::from(time.nanoseconds);
        let (sign, whole, decimals) = if time.seconds < 0 && nanoseconds > 0 {
            ("-", -(time.seconds + 1), 1_000_000_000 - nanoseconds)
        } else {
            ("", time.seconds, nanoseconds)
        };
        let mut text = format!("{sign}{whole}");
        if decimals > 0 {
            let decimals = format!(".{decimals:09}");
            text.push_str(decimals.trim_end_matches('0'));
        }
        self.push(key.as_bytes(), text.as_bytes());
    }

    /// Adds a path. What is no UTF-8 is said to be bytes.
    fn path(&mut self, key: &str, path: &[u8]) {
        if std::str::from_utf8(path).is_err() {
            self.push(b"hdrcharset", b"BINARY");
        }
        self.push(key.as_bytes(), path);
    }
}

/// A member of an archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    kind: Kind,
    name: &'a [u8],
    pub(super) inode: &'a Inode,
    /// Where a link leads.
    link: &'a [u8],
    /// How many bytes follow its header.
    size: u64,
}

impl<'a> Member<'a> {
    /// One without data.
    pub(super) fn new(kind: Kind, name: &'a [u8], inode: &'a Inode) -> Self {
        Self {
            kind,
            name,
            inode,
            link: b"",
            size: 0,
        }
    }

    /// The same, that leads to `link`.
    pub(super) fn leading_to(self, link: &'a [u8]) -> Self {
        Self { link, ..self }
    }

    /// The same, with the size of its data in bytes.
    pub(super) fn sized(self, size: u64) -> Self {
        Self { size, ..self }
    }

    /// Its blocks.
    pub(super) fn encode(self, mut records: Records) -> Vec<u8> {
        if self.name.len() > NAME_MAX {
            records.path("path", self.name);
        }
        self.blocks(records)
    }

    /// Its blocks, where a map of its data comes before the data; with holes the file has `size` bytes.
    pub(super) fn encode_sparse(self, mut records: Records, size: u64) -> Vec<u8> {
        records.number("GNU.sparse.major", 1);
        records.number("GNU.sparse.minor", 0);
        records.path("GNU.sparse.name", self.name);
        records.number("GNU.sparse.realsize", size);
        // Whoever does not know the format finds a file of another name.
        let at = self.name.iter().rposition(|byte| *byte == b'/');
        let (above, name) = self.name.split_at(at.map_or(0, |at| at + 1));
        let name = [above, b"GNUSparseFile.0/", name].concat();
        let named = Member {
            name: &name,
            ..self
        };
        named.blocks(records)
    }

    fn blocks(self, mut records: Records) -> Vec<u8> {
        let owners = [("uid", self.inode.uid()), ("gid", self.inode.gid())];
        for (key, id) in owners {
            if u64::from(id) > SEVEN_DIGITS {
                records.number(key, id.into());
            }
        }
        if self.link.len() > NAME_MAX {
            records.path("linkpath", self.link);
        }
        if self.size > ELEVEN_DIGITS {
            records.number("size", self.size);
        }
        let Records(records) = records;
        let mut blocks = Vec::new();
        if !records.is_empty() {
            let mut header = self.header();
            let last = last_name(self.name);
            put_text(&mut header, 0, NAME_MAX, &[b"PaxHeaders/", last].concat());
            put_octal(&mut header, 100, 7, 0o644);
            put_octal(&mut header, 124, 11, super::length(records.len()));
            put_text(&mut header, 157, NAME_MAX, b"");
            put_byte(&mut header, 156, b'x');
            blocks.extend_from_slice(&sealed(header));
            blocks.extend_from_slice(&records);
            blocks.resize(blocks.len().next_multiple_of(512), 0);
        }
        blocks.extend_from_slice(&sealed(self.header()));
        blocks
    }

    /// The ustar header, without its checksum. What does not fit stands in a record.
    fn header(&self) -> [u8; 512] {
        let inode = self.inode;
        let mut header = [0; 512];
        put_text(&mut header, 0, NAME_MAX, self.name);
        put_octal(&mut header, 100, 7, inode.permissions().into());
        put_octal(
            &mut header,
            108,
            7,
            fitting(inode.uid().into(), SEVEN_DIGITS),
        );
        put_octal(
            &mut header,
            116,
            7,
            fitting(inode.gid().into(), SEVEN_DIGITS),
        );
        put_octal(&mut header, 124, 11, fitting(self.size, ELEVEN_DIGITS));
        let mtime = u64::try_from(inode.mtime().seconds).unwrap_or(0);
        put_octal(&mut header, 136, 11, fitting(mtime, ELEVEN_DIGITS));
        put_byte(&mut header, 156, self.kind.flag());
        put_text(&mut header, 157, NAME_MAX, self.link);
        put_text(&mut header, 257, 8, b"ustar\x0000");
        if let Some(Device { major, minor }) = inode.device() {
            put_octal(&mut header, 329, 7, major.into());
            put_octal(&mut header, 337, 7, minor.into());
        }
        header
    }
}

/// The last name of a path.
fn last_name(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let at = path.iter().rposition(|byte| *byte == b'/');
    path.get(at.map_or(0, |at| at + 1)..).unwrap_or_default()
}

/// A number, if it has no more digits than `most`; what is larger stands in a record.
fn fitting(number: u64, most: u64) -> u64 {
    if number > most { 0 } else { number }
}

fn put_byte(header: &mut [u8; 512], at: usize, byte: u8) {
    put_text(header, at, 1, &[byte]);
}

/// Writes as much of `text` as fits, and zeros behind it.
fn put_text(header: &mut [u8; 512], at: usize, most: usize, text: &[u8]) {
    let field = header.get_mut(at..at + most).unwrap_or_default();
    field.fill(0);
    for (slot, byte) in field.iter_mut().zip(text) {
        *slot = *byte;
    }
}

/// Writes a number as octal digits that fill the field.
fn put_octal(header: &mut [u8; 512], at: usize, digits: usize, number: u64) {
    put_text(header, at, digits, format!("{number:0digits$o}").as_bytes());
}

/// The header with its checksum, which counts itself as spaces.
fn sealed(mut header: [u8; 512]) -> [u8; 512] {
    put_text(&mut header, 148, 8, b"        ");
    let sum = header.iter().map(|byte| u64::from(*byte)).sum();
    put_octal(&mut header, 148, 6, sum);
    put_byte(&mut header, 154, 0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for (value, length) in [
            (0, 5),
            (4, 9),
            (5, 11),
            (93, 99),
            (94, 101),
            (992, 999),
            (993, 1001),
        ] {
            let mut records = Records::default();
            records.push(b"k", &vec![b'v'; value]);
            let Records(bytes) = records;
            let start = format!("{length} k=");
            assert!(
                bytes.starts_with(start.as_bytes()),
                "{value}: {}",
                bytes.escape_ascii()
            );
            assert_eq!(bytes.len(), length, "{value}");
        }
    }

    #[test]
    fn times_have_the_decimals_that_they_need() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "11 mtime=0\n"),
            (1, 500_000_000, "13 mtime=1.5\n"),
            (7, 1, "21 mtime=7.000000001\n"),
            (-1, 0, "12 mtime=-1\n"),
            (-2, 500_000_000, "14 mtime=-1.5\n"),
            (-1, 999_999_999, "22 mtime=-0.000000001\n"),
        ] {
            let mut records = Records::default();
            records.time(
                "mtime",
                Timestamp {
                    seconds,
                    nanoseconds,
                },
            );
            let Records(bytes) = records;
            assert_eq!(String::from_utf8(bytes).as_deref(), Ok(text));
        }
    }
}
