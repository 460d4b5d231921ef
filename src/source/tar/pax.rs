//! Given the records of PAX headers, keeps those that say something of a file; never a value that it
//! cannot read.
//!
//! The form is POSIX's; the keys of holes are GNU tar's, those of attributes star's and libarchive's.

use std::collections::BTreeMap;

use super::xattrs::{gnu_decoded, percent_decoded};
use crate::source::archive::acl::{ACCESS, DEFAULT};
use crate::source::archive::error::{ErrorKind, Field};
use crate::source::base64;
use crate::source::rules::XattrFilter;
use crate::units::Timestamp;
use crate::work;

/// What a record that is kept takes beside its name and value, in bytes.
pub(super) const RECORD: usize = 64;

/// The attribute that a label of SELinux is.
const SELINUX: &[u8] = b"security.selinux";

/// What the PAX headers say of a file; what they do not is as in its own header.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) atime: Option<Timestamp>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) ctime: Option<Timestamp>,
    pub(super) major: Option<i64>,
    pub(super) minor: Option<i64>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) acl_access: Option<Vec<u8>>,
    pub(super) acl_default: Option<Vec<u8>>,
    /// chattr flags by libarchive's names.
    pub(super) file_flags: Option<Vec<u8>>,
    /// Whether something follows the number that a time is.
    pub(super) has_odd_time: bool,
    /// Whether there is an ACL of NFS version 4, which is not kept.
    pub(super) has_nfs4_acl: bool,
    pub(super) sparse: Sparse,
    /// Records without a valid value that say nothing of where the next entry is, or what it is called.
    pub(super) doubts: Vec<ErrorKind>,
}

/// What the records of GNU's sparse forms say.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    pub(super) name: Option<Vec<u8>>,
    /// The size with holes.
    pub(super) real_size: Option<u64>,
    /// The ranges of the forms 0.0 and 0.1: offsets and lengths.
    pub(super) map: Option<Vec<(u64, u64)>>,
    /// An offset that waits for its length, in the form 0.0.
    offset: Option<u64>,
    pub(super) version: (u64, u64),
}

/// For whom a header speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    One,
    All,
}

impl Records {
    /// Takes over the records of a header, but for attributes that `filter` does not keep.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        scope: Scope,
        filter: &XattrFilter,
    ) -> Result<(), ErrorKind> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (key, value, behind) = record(rest).ok_or(ErrorKind::Record)?;
            work::add_bytes(key.len() + value.len());
            let is_of_one =
                matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.");
            if scope == Scope::All && is_of_one {
                return Err(ErrorKind::Global(key.to_vec()));
            }
            if self.set(key, value, filter).is_err() {
                let fault = ErrorKind::Value(key.to_vec());
                if scope == Scope::All || is_of_one {
                    return Err(fault);
                }
                self.doubts.push(fault);
            }
            rest = behind;
        }
        match self.sparse.offset {
            None => Ok(()),
            Some(_) => Err(ErrorKind::Sparse("has an offset without a length")),
        }
    }

    /// About how many bytes are kept of what can be of any length.
    pub(super) fn bytes(&self) -> u64 {
        let texts = [&self.acl_access, &self.acl_default, &self.file_flags];
        let texts = texts.into_iter().flatten().map(Vec::len);
        let xattrs = self
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let bytes = texts.chain(xattrs).map(|bytes| bytes + RECORD);
        u64::try_from(bytes.sum::<usize>()).unwrap_or(u64::MAX)
    }

    fn set(&mut self, key: &[u8], value: &[u8], filter: &XattrFilter) -> Result<(), ()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            let name = gnu_decoded(name);
            if filter.keeps(&name) {
                self.xattrs.insert(name, value.to_vec());
            }
            return Ok(());
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = percent_decoded(name).ok_or(())?;
            if !filter.keeps(&name) {
                return Ok(());
            }
            let value = base64::decoded(value).ok_or(())?;
            self.xattrs.insert(name, value);
            return Ok(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.set(key, value);
        }
        match key {
            b"path" => self.path = text(value),
            b"linkpath" => self.link_path = text(value),
            b"size" => self.size = unless_empty(value, decimal)?,
            b"uid" => self.uid = unless_empty(value, signed)?,
            b"gid" => self.gid = unless_empty(value, signed)?,
            b"atime" => self.atime = self.time(value)?,
            b"mtime" => self.mtime = self.time(value)?,
            b"ctime" => self.ctime = self.time(value)?,
            b"SCHILY.devmajor" => self.major = unless_empty(value, signed)?,
            b"SCHILY.devminor" => self.minor = unless_empty(value, signed)?,
            b"SCHILY.acl.access" if filter.keeps(ACCESS) => self.acl_access = text(value),
            b"SCHILY.acl.default" if filter.keeps(DEFAULT) => self.acl_default = text(value),
            b"SCHILY.acl.ace" => self.has_nfs4_acl = !value.is_empty(),
            b"SCHILY.fflags" => self.file_flags = text(value),
            // As GNU tar and star write it; the kernel keeps a NUL at its end.
            b"RHT.security.selinux" if filter.keeps(SELINUX) => {
                self.xattrs.remove(SELINUX);
                if let Some(mut label) = text(value) {
                    if !label.ends_with(b"\0") {
                        label.push(0);
                    }
                    self.xattrs.insert(SELINUX.to_vec(), label);
                }
            }
            // Names of owners, comments, inode numbers and the like say nothing that is kept.
            _ => {}
        }
        Ok(())
    }
}

impl Records {
    /// A time, which GNU tar and bsdtar take from what a value begins with.
    fn time(&mut self, value: &[u8]) -> Result<Option<Timestamp>, ()> {
        let (number, rest) = value.split_at(number_length(value));
        self.has_odd_time |= !number.is_empty() && !rest.is_empty();
        match value {
            b"" => Ok(None),
            _ => time(number).map(Some).ok_or(()),
        }
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ()> {
        match key {
            b"name" => self.name = text(value),
            b"size" | b"realsize" => self.real_size = Some(decimal(value).ok_or(())?),
            b"major" => self.version.0 = decimal(value).ok_or(())?,
            b"minor" => self.version.1 = decimal(value).ok_or(())?,
            b"offset" if self.offset.is_some() => return Err(()),
            b"offset" => self.offset = Some(decimal(value).ok_or(())?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(())?;
                let length = decimal(value).ok_or(())?;
                self.map.get_or_insert_default().push((offset, length));
            }
            b"map" => self.map = Some(pairs(value).ok_or(())?),
            // Counts the others.
            _ => {}
        }
        Ok(())
    }
}

/// The first record: its key, its value, and what is behind it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(21).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (!key.is_empty()).then_some((key, value, &bytes[length..]))
}

/// An empty value takes back what was said before.
fn text(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

fn unless_empty<T>(value: &[u8], read: fn(&[u8]) -> Option<T>) -> Result<Option<T>, ()> {
    match value {
        b"" => Ok(None),
        value => read(value).map(Some).ok_or(()),
    }
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(decimal(digits)?),
        None => i64::try_from(decimal(text)?).ok(),
    }
}

fn pairs(text: &[u8]) -> Option<Vec<(u64, u64)>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut numbers = text.split(|byte| *byte == b',').map(decimal);
    let mut pairs = Vec::new();
    while let Some(offset) = numbers.next() {
        pairs.push((offset?, numbers.next()??));
    }
    Some(pairs)
}

/// How many bytes at the beginning of `text` are a number with decimals.
fn number_length(text: &[u8]) -> usize {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let whole = digits(usize::from(text.starts_with(b"-")));
    match text.get(whole) {
        Some(b'.') => digits(whole + 1),
        _ => whole,
    }
}

/// A time in seconds since 1970, with any number of decimals. What is finer than a nanosecond is cut
/// off towards the past.
fn time(text: &[u8]) -> Option<Timestamp> {
    let (is_negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let decimals = parts.next().unwrap_or_default();
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| decimals.get(at).map_or(0, |byte| u32::from(byte - b'0'));
    let nanoseconds = (0..9).fold(0, |value, at| value * 10 + digit(at));
    let is_finer = decimals.iter().skip(9).any(|byte| *byte != b'0');
    if !is_negative {
        return Some(Timestamp {
            seconds,
            nanoseconds,
        });
    }
    let below = nanoseconds + u32::from(is_finer);
    Some(match below {
        0 => Timestamp::from_seconds(-seconds),
        below => Timestamp {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - below,
        },
    })
}

/// What a number of a record must be to be an owner.
pub(super) fn owner(value: i64, field: Field) -> Result<u32, ErrorKind> {
    // The last stands for no owner at all.
    let owner = u32::try_from(value).ok().filter(|owner| *owner != u32::MAX);
    owner.ok_or(ErrorKind::Range(field, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_by_their_length() {
        let capability = b"34 SCHILY.xattr.security.a=\x01\n\0=\x02\n\n";
        let mut records = Records::default();
        let bytes = [&capability[..], b"16 size=1234567\n", b"9 path=a\n"].concat();
        records
            .read(&bytes, Scope::One, &XattrFilter::default())
            .unwrap();
        assert_eq!(records.xattrs[&b"security.a"[..]], b"\x01\n\0=\x02\n");
        assert_eq!(records.size, Some(1_234_567));
        assert_eq!(records.path.as_deref(), Some(&b"a"[..]));
        records
            .read(b"8 path=\n", Scope::One, &XattrFilter::default())
            .unwrap();
        assert_eq!(records.path, None);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bytes in [
            &b"8 path=a\n"[..],
            b"11 path=a\n",
            b"9 path=a ",
            b" path=a\n",
            b"7 path\n",
            b"4 =\n",
            b"x path=a\n",
            b"99999999999999999999999 path=a\n",
            b"18446744073709551615 path=a\n",
            b"0 path=a\n",
            b"2 path=a\n",
            b"9 path=a\n\0",
        ] {
            let read = Records::default().read(bytes, Scope::One, &XattrFilter::default());
            assert!(
                matches!(read, Err(ErrorKind::Record)),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn numbers_end_where_something_else_begins() {
        for (text, length) in [
            (&b""[..], 0),
            (b"now", 0),
            (b"12", 2),
            (b"12.", 3),
            (b"-1.25", 5),
            (b"1.5.5", 3),
            (b"1e9", 1),
            (b"+5", 0),
            (b"5.25a", 4),
        ] {
            assert_eq!(number_length(text), length, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn times_are_cut_off_towards_the_past() {
        for (text, seconds, nanoseconds) in [
            (&b"0"[..], 0, 0),
            (b"1.5", 1, 500_000_000),
            (b"1.123456789999", 1, 123_456_789),
            (b"-1", -1, 0),
            (b"-1.5", -2, 500_000_000),
            (b"-0.0000000001", -1, 999_999_999),
            (b"-1.9999999999", -2, 0),
            (b"7.", 7, 0),
        ] {
            let expected = Timestamp {
                seconds,
                nanoseconds,
            };
            assert_eq!(time(text), Some(expected), "{}", text.escape_ascii());
        }
        for text in [
            &b""[..],
            b"-",
            b".5",
            b"1.5.",
            b"1e3",
            b"+1",
            b"9223372036854775808",
        ] {
            assert_eq!(time(text), None, "{}", text.escape_ascii());
        }
    }
}
