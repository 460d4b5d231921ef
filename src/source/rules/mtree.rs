//! Given the text of an mtree(5) manifest, gives its entries one by one; never looks at a tree.
//!
//! Read is what the mtree of FreeBSD and of NetBSD and bsdtar write: names that contain a slash are
//! paths from the root; others are in the directory that was begun last, and `..` ends that. A path may
//! stand behind its keywords, as `mtree -D` of NetBSD writes it, if it begins with a dot. `/set`
//! and `/unset` say what holds for the entries that follow. What strvis(3) hides is brought back, but
//! `*`, `?` and `[` stand for themselves, as bsdtar has it. Sizes, digests, counts of links and all
//! else that content tells by itself is read over.

use super::super::base64;
use super::error::{RuleError, RuleErrorKind};
use super::numbers::{decimal, number, octal, owner};
use crate::tree::{Device, Xattr};
use crate::units::Timestamp;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Block,
    Char,
    Directory,
    Fifo,
    File,
    Link,
    Socket,
}

/// What keywords say of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keywords {
    pub(super) entry_type: Option<Type>,
    /// 0 to 0o7777.
    pub(super) mode: Option<u16>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    uname: Option<Vec<u8>>,
    gname: Option<Vec<u8>>,
    pub(super) time: Option<Timestamp>,
    /// Where a symbolic link leads.
    pub(super) link: Option<Vec<u8>>,
    pub(super) device: Option<Device>,
    /// The host's file that holds the content.
    pub(super) contents: Option<Vec<u8>>,
    /// In bytes.
    pub(super) size: Option<u64>,
    /// `i_flags`, of those that are known to [`FLAGS`].
    pub(super) flags: Option<u32>,
    /// One of each name, as gomtree writes them.
    pub(super) xattrs: Vec<Xattr>,
    /// Only what is there is meant.
    pub(super) optional: bool,
    /// What is there stays as it is.
    pub(super) nochange: bool,
}

/// Where an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// At a path from the root.
    Path(Vec<u8>),
    /// In the directory that is open, which is the root or one that was entered.
    Here(Vec<u8>),
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An entry; a directory called by a bare name is open from here on.
    Entry(Name, Box<Keywords>),
    /// The directory that is open is done.
    Up,
}

/// The flags of chflags(1) and chattr(1), as manifests spell them, with the bit of `i_flags`, or 0
/// where ext4 has none (`Documentation/filesystems/ext4/inodes.rst`).
pub(super) const FLAGS: [(&str, u32); 40] = [
    ("none", 0),
    ("secdel", 0x1),
    ("undel", 0x2),
    ("compress", 0x4),
    ("sync", 0x8),
    ("immutable", 0x10),
    ("schg", 0x10),
    ("schange", 0x10),
    ("simmutable", 0x10),
    ("uchg", 0x10),
    ("uchange", 0x10),
    ("uimmutable", 0x10),
    ("append", 0x20),
    ("sappnd", 0x20),
    ("sappend", 0x20),
    ("uappnd", 0x20),
    ("uappend", 0x20),
    ("nodump", 0x40),
    ("noatime", 0x80),
    ("journal", 0x4000),
    ("notail", 0x8000),
    ("dirsync", 0x1_0000),
    ("topdir", 0x2_0000),
    ("arch", 0),
    ("archived", 0),
    ("uarch", 0),
    ("uarchive", 0),
    ("hidden", 0),
    ("uhidden", 0),
    ("nosappnd", 0),
    ("nosunlnk", 0),
    ("offline", 0),
    ("opaque", 0),
    ("rdonly", 0),
    ("readonly", 0),
    ("reparse", 0),
    ("sparse", 0),
    ("sunlnk", 0),
    ("system", 0),
    ("uunlnk", 0),
];

/// What keywords of extended attributes begin with.
const XATTR: &[u8] = b"xattr.";
/// The extended attributes that are POSIX ACLs, whose values layout looks into.
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
/// How long a value may be, in bytes: as long as Linux takes one (`XATTR_SIZE_MAX`).
const VALUE_MAX: usize = 1 << 16;
/// How long a name may be, in bytes (`XATTR_NAME_MAX`).
const NAME_MAX: usize = 255;

/// Keywords that say of content, or of the system the manifest was made on, what is not asked here.
const READ_OVER: [&str; 24] = [
    "cksum",
    "device_id",
    "gidname",
    "ignore",
    "inode",
    "md5",
    "md5digest",
    "nlink",
    "resdevice",
    "ripemd160digest",
    "rmd160",
    "rmd160digest",
    "sha1",
    "sha1digest",
    "sha256",
    "sha256digest",
    "sha384",
    "sha384digest",
    "sha512",
    "sha512digest",
    "sha512-256",
    "tags",
    "tiger",
    "uidname",
];

/// The lines of a manifest that ask for something, with their numbers.
pub(super) struct Lines<'a> {
    file: &'a str,
    rest: &'a [u8],
    /// The number of the line that begins with `rest`, from 1.
    next: u64,
    set: Keywords,
}

impl<'a> Lines<'a> {
    pub(super) fn new(file: &'a str, text: &'a [u8]) -> Self {
        Self {
            file,
            rest: text,
            next: 1,
            set: Keywords::default(),
        }
    }

    /// The next line with what it is continued by, and its number.
    fn whole(&mut self) -> Option<(u64, Vec<u8>)> {
        let number = self.next;
        let mut whole = Vec::new();
        while !self.rest.is_empty() {
            let end = self.rest.iter().position(|byte| *byte == b'\n');
            let (line, rest) = match end {
                Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
                None => (self.rest, &[][..]),
            };
            self.rest = rest;
            self.next += 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let is_comment = whole.is_empty() && line.trim_ascii_start().starts_with(b"#");
            match line.strip_suffix(b"\\") {
                Some(continued) if !is_comment && !ends_escaped(continued) => {
                    whole.extend_from_slice(continued);
                }
                _ => {
                    whole.extend_from_slice(line);
                    return Some((number, whole));
                }
            }
        }
        (!whole.is_empty()).then_some((number, whole))
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<Line>, RuleErrorKind> {
        let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
        let words = words.filter(|word| !word.is_empty());
        let words: Vec<&[u8]> = words.take_while(|word| !word.starts_with(b"#")).collect();
        let (first, words) = match &words[..] {
            [] => return Ok(None),
            // No keyword begins like this.
            [before @ .., last] if *last == b"." || last.starts_with(b"./") => (*last, before),
            [first, behind @ ..] => (*first, behind),
        };
        let mut words = words.iter().copied();
        match first {
            b"/set" => {
                let mut set = std::mem::take(&mut self.set);
                words.try_for_each(|word| set.read(word))?;
                self.set = set;
                Ok(None)
            }
            b"/unset" => {
                words.try_for_each(|word| self.set.forget(word))?;
                Ok(None)
            }
            b".." => Ok(Some(Line::Up)),
            _ => {
                let name = unescape(first)?;
                let mut keywords = self.set.clone();
                words.try_for_each(|word| keywords.read(word))?;
                keywords.settle()?;
                let name = if first.contains(&b'/') {
                    Name::Path(name)
                } else {
                    Name::Here(name)
                };
                Ok(Some(Line::Entry(name, Box::new(keywords))))
            }
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<(u64, Line), RuleError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (number, line) = self.whole()?;
            match self.read(&line) {
                Ok(Some(line)) => return Some(Ok((number, line))),
                Ok(None) => {}
                Err(fault) => return Some(Err(fault.at(self.file, number))),
            }
        }
    }
}

/// Whether what follows `text` is escaped: by a backslash that is not escaped itself.
fn ends_escaped(text: &[u8]) -> bool {
    let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

impl Keywords {
    fn read(&mut self, word: &[u8]) -> Result<(), RuleErrorKind> {
        let (keyword, value) = match word.iter().position(|byte| *byte == b'=') {
            Some(at) => (&word[..at], &word[at + 1..]),
            None => (word, &b""[..]),
        };
        match keyword {
            b"type" => self.entry_type = Some(entry_type(value)?),
            b"mode" => self.mode = Some(octal("mode", value)?),
            b"uid" => self.uid = Some(owner("uid", value)?),
            b"gid" => self.gid = Some(owner("gid", value)?),
            b"uname" => self.uname = Some(unescape(value)?),
            b"gname" => self.gname = Some(unescape(value)?),
            b"time" => self.time = Some(time(value)?),
            b"link" => self.link = Some(unescape(value)?),
            b"device" => self.device = Some(device(value)?),
            b"contents" | b"content" => self.contents = Some(unescape(value)?),
            b"size" => self.size = Some(decimal("size", value)?),
            b"flags" => self.flags = Some(flags(value)?),
            b"optional" => self.optional = true,
            b"nochange" => self.nochange = true,
            _ if keyword.starts_with(XATTR) => {
                let xattr = xattr(&keyword[XATTR.len()..], value)?;
                self.xattrs.retain(|other| other.name != xattr.name);
                self.xattrs.push(xattr);
            }
            _ if is_read_over(keyword) => {}
            _ => return Err(RuleErrorKind::Keyword(keyword.to_vec())),
        }
        Ok(())
    }

    /// Takes back what `/set` said.
    fn forget(&mut self, keyword: &[u8]) -> Result<(), RuleErrorKind> {
        match keyword {
            b"all" => *self = Self::default(),
            b"type" => self.entry_type = None,
            b"mode" => self.mode = None,
            b"uid" => self.uid = None,
            b"gid" => self.gid = None,
            b"uname" => self.uname = None,
            b"gname" => self.gname = None,
            b"time" => self.time = None,
            b"link" => self.link = None,
            b"device" => self.device = None,
            b"contents" | b"content" => self.contents = None,
            b"size" => self.size = None,
            b"flags" => self.flags = None,
            b"optional" => self.optional = false,
            b"nochange" => self.nochange = false,
            _ if keyword.starts_with(XATTR) => {
                let name = unescape(&keyword[XATTR.len()..])?;
                self.xattrs.retain(|xattr| xattr.name != name);
            }
            _ if is_read_over(keyword) => {}
            _ => return Err(RuleErrorKind::Keyword(keyword.to_vec())),
        }
        Ok(())
    }

    /// Lets numbers stand for names. A name alone is refused, since what is called so on this machine
    /// need not be what is called so in the image; but root is 0 everywhere.
    fn settle(&mut self) -> Result<(), RuleErrorKind> {
        let names = [
            (&mut self.uid, &self.uname, "user", "uid="),
            (&mut self.gid, &self.gname, "group", "gid="),
        ];
        for (id, name, of, needed) in names {
            match (&id, name.as_deref()) {
                (None, Some(b"root")) => *id = Some(0),
                (None, Some(name)) => {
                    let name = name.to_vec();
                    return Err(RuleErrorKind::NameOfId { of, name, needed });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// `xattr.NAME=BASE64`, as gomtree writes an extended attribute.
fn xattr(name: &[u8], value: &[u8]) -> Result<Xattr, RuleErrorKind> {
    let name = unescape(name)?;
    let refused = |needed| RuleErrorKind::Value {
        of: "xattr",
        value: name.clone(),
        needed,
    };
    if !is_storable(&name) {
        return Err(refused(
            "must be user., trusted. or security. with a name behind it, or a POSIX ACL, in at most 255 bytes",
        ));
    }
    let value = base64::decoded(value).filter(|value| value.len() <= VALUE_MAX);
    let value =
        value.ok_or_else(|| refused("must have a value in base64, of at most 65536 bytes"))?;
    Ok(Xattr { name, value })
}

/// Whether ext4 has a place for an extended attribute of that name.
fn is_storable(name: &[u8]) -> bool {
    let spaces = [&b"user."[..], b"trusted.", b"security."];
    let has_name = |space: &&[u8]| {
        name.strip_prefix(*space)
            .is_some_and(|rest| !rest.is_empty())
    };
    let is_acl = ACLS.contains(&name);
    (is_acl || spaces.iter().any(has_name)) && name.len() <= NAME_MAX && !name.contains(&0)
}

fn is_read_over(keyword: &[u8]) -> bool {
    READ_OVER.iter().any(|known| known.as_bytes() == keyword)
}

fn entry_type(value: &[u8]) -> Result<Type, RuleErrorKind> {
    Ok(match value {
        b"block" => Type::Block,
        b"char" => Type::Char,
        b"dir" => Type::Directory,
        b"fifo" => Type::Fifo,
        b"file" => Type::File,
        b"link" => Type::Link,
        b"socket" => Type::Socket,
        _ => {
            return Err(RuleErrorKind::Value {
                of: "type",
                value: value.to_vec(),
                needed: "must be block, char, dir, fifo, file, link or socket",
            });
        }
    })
}

/// `SECONDS.NANOSECONDS`: what follows the point is a count even where it has fewer than nine digits,
/// which is how bsdtar writes it and mtree reads it.
fn time(value: &[u8]) -> Result<Timestamp, RuleErrorKind> {
    let refused = || RuleErrorKind::Value {
        of: "time",
        value: value.to_vec(),
        needed: "must be seconds since 1970, with nanoseconds after a point",
    };
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let seconds = parts.next().unwrap_or_default();
    let seconds = str::from_utf8(seconds)
        .ok()
        .and_then(|text| text.parse().ok());
    let nanoseconds = match parts.next() {
        None | Some(b"") => 0,
        // It may begin with zeros, and is not octal for that.
        Some(count) => decimal("time", count)?,
    };
    if nanoseconds > 999_999_999 {
        return Err(refused());
    }
    Ok(Timestamp {
        seconds: seconds.ok_or_else(refused)?,
        nanoseconds,
    })
}

/// `FORMAT,MAJOR,MINOR`, or the one number that Linux makes of both (glibc's `gnu_dev_makedev`).
fn device(value: &[u8]) -> Result<Device, RuleErrorKind> {
    const FORMATS: [&str; 16] = [
        "native", "386bsd", "4bsd", "bsdos", "freebsd", "hpux", "isc", "linux", "netbsd", "osf1",
        "sco", "solaris", "sunos", "svr3", "svr4", "ultrix",
    ];
    let refused = || RuleErrorKind::Value {
        of: "device",
        value: value.to_vec(),
        needed: "must be native,MAJOR,MINOR, MAJOR at most 4095 and MINOR at most 1048575",
    };
    let parts: Vec<&[u8]> = value.split(|byte| *byte == b',').collect();
    let (major, minor) = match parts[..] {
        [whole] => {
            let whole = number(whole).ok_or_else(refused)?;
            let major = (whole >> 8 & 0xfff) | (whole >> 32 & !0xfff);
            let minor = (whole & 0xff) | (whole >> 12 & 0xffff_ff00);
            (major, minor)
        }
        [format, major, minor] if FORMATS.iter().any(|known| known.as_bytes() == format) => (
            number(major).ok_or_else(refused)?,
            number(minor).ok_or_else(refused)?,
        ),
        _ => return Err(refused()),
    };
    super::numbers::device(major, minor).ok_or_else(refused)
}

fn flags(value: &[u8]) -> Result<u32, RuleErrorKind> {
    let mut flags = 0;
    for name in value.split(|byte| *byte == b',') {
        let known = FLAGS.iter().find(|(known, _)| known.as_bytes() == name);
        let (_, bit) = known.ok_or_else(|| RuleErrorKind::Value {
            of: "flags",
            value: name.to_vec(),
            needed: "must be names of chflags(1) separated by commas, or none",
        })?;
        flags |= bit;
    }
    Ok(flags)
}

/// Brings back what strvis(3) or bsdtar hid: octal numbers, C's escapes, `\s`, `\^C` and `\M-x`.
fn unescape(word: &[u8]) -> Result<Vec<u8>, RuleErrorKind> {
    let refused = || RuleErrorKind::Escape(word.to_vec());
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, after @ ..] = rest {
        if *first != b'\\' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let (byte, after) = match after {
            [b'0'..=b'7', ..] => octal_escape(after).ok_or_else(refused)?,
            [b'a', after @ ..] => (0x07, after),
            [b'b', after @ ..] => (0x08, after),
            [b't', after @ ..] => (b'\t', after),
            [b'n', after @ ..] => (b'\n', after),
            [b'v', after @ ..] => (0x0b, after),
            [b'f', after @ ..] => (0x0c, after),
            [b'r', after @ ..] => (b'\r', after),
            [b's', after @ ..] => (b' ', after),
            [b'E', after @ ..] => (0x1b, after),
            [b'^', letter, after @ ..] => (control(*letter), after),
            [b'M', b'-', letter, after @ ..] => (letter | 0x80, after),
            [b'M', b'^', letter, after @ ..] => (control(*letter) | 0x80, after),
            [b'$', after @ ..] => {
                rest = after;
                continue;
            }
            [letter, after @ ..] if letter.is_ascii_punctuation() && *letter != b'^' => {
                (*letter, after)
            }
            _ => return Err(refused()),
        };
        bytes.push(byte);
        rest = after;
    }
    Ok(bytes)
}

fn control(letter: u8) -> u8 {
    match letter {
        b'?' => 0x7f,
        _ => letter & 0x1f,
    }
}

/// One to three octal digits, and what is behind them.
fn octal_escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let digits = text.iter().take(3);
    let count = digits
        .take_while(|digit| (b'0'..=b'7').contains(digit))
        .count();
    let (digits, after) = text.split_at(count);
    let value = digits
        .iter()
        .fold(0, |value, digit| value * 8 + u32::from(digit - b'0'));
    Some((u8::try_from(value).ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<(u64, Line)>, String> {
        let lines: Result<Vec<_>, _> = Lines::new("m", text.as_bytes()).collect();
        lines.map_err(|error| error.to_string())
    }

    fn entry(name: Name, keywords: Keywords) -> Line {
        Line::Entry(name, Box::new(keywords))
    }

    #[test]
    fn both_forms_of_names_are_read() {
        let text = "#mtree\n/set type=dir uid=7\n.\n  bin mode=0755 \\\n  gid=5\n..\n\n/unset uid\n\
                    ./etc/a\\040b type=file time=-5.25 # a word\n..\n";
        let dir = Keywords {
            entry_type: Some(Type::Directory),
            uid: Some(7),
            ..Keywords::default()
        };
        let bin = Keywords {
            mode: Some(0o755),
            gid: Some(5),
            ..dir.clone()
        };
        let file = Keywords {
            entry_type: Some(Type::File),
            time: Some(Timestamp {
                seconds: -5,
                nanoseconds: 25,
            }),
            ..Keywords::default()
        };
        assert_eq!(
            lines(text),
            Ok(vec![
                (3, entry(Name::Here(b".".to_vec()), dir)),
                (4, entry(Name::Here(b"bin".to_vec()), bin)),
                (6, Line::Up),
                (9, entry(Name::Path(b"./etc/a b".to_vec()), file)),
                (10, Line::Up),
            ])
        );
    }

    #[test]
    fn a_path_may_stand_behind_its_keywords() {
        let path = Name::Path(b"./a b".to_vec());
        let keywords = Keywords {
            mode: Some(0o644),
            ..Keywords::default()
        };
        assert_eq!(
            lines("mode=0644 nlink=1 ./a\\sb\n"),
            Ok(vec![(1, entry(path, keywords))])
        );
    }

    #[test]
    fn what_is_hidden_is_brought_back() {
        for (word, bytes) in [
            (r"a\040b\134\0", &b"a b\\\0"[..]),
            (r"\a\b\t\n\v\f\r\s\E\#\\", b"\x07\x08\t\n\x0b\x0c\r \x1b#\\"),
            (r"\^A\^?\M-a\M^A\$x", b"\x01\x7f\xe1\x81x"),
            (r"\303\2511", b"\xc3\xa91"),
            ("*[?", b"*[?"),
        ] {
            assert_eq!(unescape(word.as_bytes()).unwrap(), bytes, "{word}");
        }
        for word in [r"\", r"\400", r"\q", r"\M", r"\M-", r"\^", r"\8"] {
            assert!(unescape(word.as_bytes()).is_err(), "{word}");
        }
    }

    #[test]
    fn devices_are_spelled_in_many_ways() {
        let some = |major, minor| Some(Device { major, minor });
        for (value, found) in [
            ("native,5,1", some(5, 1)),
            ("linux,0x8,017", some(8, 15)),
            ("1281", some(5, 1)),
            ("0x801", some(8, 1)),
            ("0x12345678", some(0x456, 0x12378)),
            ("native,4096,0", None),
            ("native,0,1048576", None),
            ("native,5", None),
            ("bsdos,1,2,3", None),
            ("other,1,2", None),
            ("", None),
            ("0x100000000000", None),
        ] {
            assert_eq!(device(value.as_bytes()).ok(), found, "{value}");
        }
    }

    #[test]
    fn faults_are_told_with_their_line() {
        for (text, said) in [
            ("a\nb colour=red", "m:2: unknown mtree(5) keyword colour"),
            ("a uname=bin", "m:1: user bin is not looked up: add uid="),
            (
                "a \\\n mode=u+x",
                "m:1: invalid mode 'u+x': must be octal digits up to 7777",
            ),
            (
                "\\x a",
                "m:1: invalid escape in \\\\x: write a backslash as \\\\",
            ),
            (
                "/set uid=4294967296",
                "m:1: invalid uid '4294967296': must be a number in its range",
            ),
        ] {
            assert_eq!(lines(text).unwrap_err(), said);
        }
        assert!(lines("a uname=root gname=x gid=9 flags=nodump,uarch sha256digest=00").is_ok());
    }
}
