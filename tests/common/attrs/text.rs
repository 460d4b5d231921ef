//! Given a [`Snapshot`], gives its text of one line per path, and back; never loses a byte of a
//! name, since every byte that is not a plain printable character is escaped.
//!
//! A line holds tab-separated fields, `key=value`; the first line names the version and the block
//! size. Escapes are `\xHH`, so a line is ASCII and neither tab nor newline stands for itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use std::ops::Range;

use super::{Entry, Kind, Snapshot, Time};

const HEADER: &str = "# mke4fs attributes, version 1, block size ";

pub(super) fn write(snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{HEADER}{}", snapshot.block_size)?;
    for (path, entry) in &snapshot.entries {
        writeln!(out, "{}", line(path, entry))?;
    }
    Ok(())
}

pub(super) fn read(input: &mut dyn BufRead) -> io::Result<Snapshot> {
    let mut lines = input.lines();
    let header = lines.next().transpose()?.unwrap_or_default();
    let block_size = header
        .strip_prefix(HEADER)
        .and_then(|size| size.parse().ok());
    let block_size = block_size.ok_or_else(|| refuse(1, "the header of a snapshot is missing"))?;
    let mut entries = BTreeMap::new();
    for (line, number) in lines.zip(2..) {
        let (path, entry) =
            parse(&line?).ok_or_else(|| refuse(number, "this is no line of a snapshot"))?;
        entries.insert(path, entry);
    }
    Ok(Snapshot {
        block_size,
        entries,
    })
}

fn refuse(number: u64, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {why}"))
}

/// Bytes as ASCII without blanks: a backslash and all that is not printable becomes `\xHH`.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_graphic() && *byte != b'\\' {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend(piece.get(2..)?.as_bytes());
    }
    Some(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = (0..text.len()).step_by(2);
    digits
        .map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok())
        .collect()
}

pub(super) fn ranges(data: &[Range<u64>]) -> String {
    let ranges = data
        .iter()
        .map(|range| format!("{}-{}", range.start, range.end));
    ranges.collect::<Vec<_>>().join(",")
}

fn line(path: &[u8], entry: &Entry) -> String {
    let mut fields = vec![
        escape(path),
        format!("type={}", entry.kind),
        format!("mode={:04o}", entry.mode),
        format!("uid={}", entry.uid),
        format!("gid={}", entry.gid),
        format!("size={}", entry.size),
        format!("nlink={}", entry.nlink),
        format!("rdev={}:{}", entry.rdev.0, entry.rdev.1),
        format!("atime={}", entry.atime),
        format!("mtime={}", entry.mtime),
        format!("ctime={}", entry.ctime),
    ];
    if let Some(first) = &entry.first_link {
        fields.push(format!("link={}", escape(first)));
    }
    if let Some(target) = &entry.target {
        fields.push(format!("target={}", escape(target)));
    }
    if let Some(digest) = &entry.digest {
        fields.push(format!("content={}", hex(digest)));
        fields.push(format!("data={}", ranges(&entry.data)));
    }
    if let Some(flags) = entry.flags {
        fields.push(format!("flags={flags:x}"));
    }
    let xattrs = entry.xattrs.iter();
    fields.extend(xattrs.map(|(name, value)| format!("xattr={}:{}", escape(name), hex(value))));
    fields.join("\t")
}

fn parse(line: &str) -> Option<(Vec<u8>, Entry)> {
    let mut fields = line.split('\t');
    let path = unescape(fields.next()?)?;
    let mut known = BTreeMap::new();
    let mut xattrs = BTreeMap::new();
    for field in fields {
        let (key, value) = field.split_once('=')?;
        if key == "xattr" {
            let (name, value) = value.rsplit_once(':')?;
            xattrs.insert(unescape(name)?, unhex(value)?);
        } else {
            known.insert(key, value);
        }
    }
    Some((path, entry(&known, xattrs)?))
}

fn entry(known: &BTreeMap<&str, &str>, xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> Option<Entry> {
    let get = |key| known.get(key).copied();
    let (major, minor) = get("rdev")?.split_once(':')?;
    let letter = get("type")?;
    let kind = Kind::LETTERS.iter().find(|(_, known)| *known == letter);
    let digest = get("content").map(|text| unhex(text)?.try_into().ok());
    let flags = get("flags").map(|text| u32::from_str_radix(text, 16).ok());
    Some(Entry {
        kind: kind.map(|(kind, _)| *kind)?,
        mode: u32::from_str_radix(get("mode")?, 8).ok()?,
        uid: get("uid")?.parse().ok()?,
        gid: get("gid")?.parse().ok()?,
        size: get("size")?.parse().ok()?,
        nlink: get("nlink")?.parse().ok()?,
        first_link: get("link").map_or(Some(None), |text| unescape(text).map(Some))?,
        rdev: (major.parse().ok()?, minor.parse().ok()?),
        atime: parse_time(get("atime")?)?,
        mtime: parse_time(get("mtime")?)?,
        ctime: parse_time(get("ctime")?)?,
        target: get("target").map_or(Some(None), |text| unescape(text).map(Some))?,
        digest: digest.map_or(Some(None), |known| known.map(Some))?,
        data: parse_ranges(get("data").unwrap_or_default())?,
        xattrs,
        flags: flags.map_or(Some(None), |known| known.map(Some))?,
    })
}

fn parse_time(text: &str) -> Option<Time> {
    let (seconds, nanoseconds) = text.split_once('.')?;
    Some(Time {
        seconds: seconds.parse().ok()?,
        nanoseconds: nanoseconds.parse().ok()?,
    })
}

fn parse_ranges(text: &str) -> Option<Vec<Range<u64>>> {
    let ranges = text.split(',').filter(|range| !range.is_empty());
    ranges
        .map(|range| {
            let (start, end) = range.split_once('-')?;
            Some(start.parse().ok()?..end.parse().ok()?)
        })
        .collect()
}
