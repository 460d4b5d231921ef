//! Given archives that nobody's tar would write, proves of each what it means or why it is refused,
//! and that nothing is left behind; what real programs write is `tar.rs`'s.
//!
//! The cases are listed in `fixtures/README.md`, and a test holds that list against these.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use common::making;
use common::tools::{self, Need, Which, ready};
use mke4fs::source::patterns::Patterns;
use mke4fs::source::rules::{IdMap, Rule, XattrAction, XattrPattern};
use mke4fs::source::tar::Tar;
use mke4fs::source::{Declared, Source, SourceError};
use mke4fs::tree::{Kind, Metadata, NodeId, Tree};
use mke4fs::{Builder, Fit, Plan};

const BLOCK: usize = 512;

/// What becomes of an archive.
#[derive(Clone, Copy)]
enum Outcome {
    /// It is taken, and the tree holds these lines, in the order of their paths.
    Holds(&'static [&'static str]),
    /// It is refused with a text that has this.
    Refused(&'static str),
}

use Outcome::{Holds, Refused};

/// An archive in the making.
#[derive(Clone, Default)]
struct Archive(Vec<u8>);

/// A header with good fields, to be spoiled.
fn header(name: &[u8], kind: u8, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block
}

/// Gives a header its checksum.
fn sealed(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

impl Archive {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn padded(self, data: &[u8]) -> Self {
        let fill = data.len().next_multiple_of(BLOCK) - data.len();
        self.raw(data).raw(&vec![0; fill])
    }

    fn entry(self, name: &[u8], kind: u8, data: &[u8]) -> Self {
        self.raw(&sealed(header(name, kind, data.len())))
            .padded(data)
    }

    /// An entry whose header `spoil` changes before it gets its checksum.
    fn odd(self, name: &[u8], kind: u8, spoil: impl FnOnce(&mut [u8; BLOCK])) -> Self {
        let mut block = header(name, kind, 0);
        spoil(&mut block);
        self.raw(&sealed(block))
    }

    fn file(self, name: &str) -> Self {
        self.entry(name.as_bytes(), b'0', b"")
    }

    fn directory(self, name: &str) -> Self {
        self.odd(name.as_bytes(), b'5', |block| {
            block[100..107].copy_from_slice(b"0000755")
        })
    }

    fn link(self, name: &str, kind: u8, target: &str) -> Self {
        self.odd(name.as_bytes(), kind, |block| {
            block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        })
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.link(name, b'2', target)
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(name, b'1', target)
    }

    /// A PAX header of these records, for the next entry.
    fn pax(self, records: &[(&[u8], &[u8])]) -> Self {
        self.entry(b"PaxHeader", b'x', &pax_records(records))
    }

    fn end(self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK]).0
    }
}

fn new() -> Archive {
    Archive::default()
}

fn pax_records(records: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        // The length counts its own digits.
        let length = (1..).find_map(|digits| {
            let length = rest + digits;
            (length.to_string().len() == digits).then_some(length)
        });
        bytes.extend(length.expect("some length").to_string().as_bytes());
        bytes.extend([b" ", *key, b"=", *value, b"\n"].concat());
    }
    bytes
}

/// One case: its name, the archive, and what becomes of it.
type Case = (&'static str, Vec<u8>, Outcome);

fn names() -> Vec<Case> {
    let long = |length: usize| vec![b'n'; length];
    let named = |name: &[u8]| new().pax(&[(b"path", name)]).file("other").end();
    vec![
        (
            "absolute",
            new().file("/etc/passwd").end(),
            Holds(&["d755 etc", "f644 etc/passwd 0"]),
        ),
        (
            "slashes",
            new().file("///a//b").end(),
            Holds(&["d755 a", "f644 a/b 0"]),
        ),
        ("dots", new().file("./././a").end(), Holds(&["f644 a 0"])),
        (
            "traversal",
            new().file("../../../../a").end(),
            Holds(&["f644 a 0", "notice: leads above the root"]),
        ),
        (
            "traversal-absolute",
            new().file("/../../a").end(),
            Holds(&["f644 a 0", "notice: leads above the root"]),
        ),
        (
            "traversal-inside",
            new().file("a/../b").end(),
            Holds(&["f644 b 0"]),
        ),
        (
            "traversal-deep",
            new().file("a/b/../../../../c").end(),
            Holds(&["f644 c 0", "notice: leads above the root"]),
        ),
        (
            "traversal-there",
            new().directory("a/").file("a/../b").end(),
            Holds(&["d755 a", "f644 b 0"]),
        ),
        (
            "file-is-dot",
            new().file(".").end(),
            Refused(". at byte 0: only a directory can have that name"),
        ),
        (
            "file-is-dotdot",
            new().file("a/..").end(),
            Refused("only a directory can have that name"),
        ),
        (
            "symlink-is-root",
            new().symlink("./", "/etc").end(),
            Refused("only a directory can have that name"),
        ),
        (
            "hard-link-is-root",
            new().file("a").hard_link("/", "a").end(),
            Refused("only a directory can have that name"),
        ),
        (
            "fifo-is-root",
            new().entry(b"/", b'6', b"").end(),
            Refused("only a directory can have that name"),
        ),
        (
            "root-itself",
            new()
                .odd(b"./", b'5', |b| b[104..107].copy_from_slice(b"700"))
                .end(),
            Holds(&["root 700"]),
        ),
        (
            "root-by-dotdot",
            new()
                .odd(b"a/..", b'5', |b| b[104..107].copy_from_slice(b"711"))
                .end(),
            Holds(&["root 711"]),
        ),
        (
            "no-name",
            new().file("").end(),
            Refused("entry at byte 0: the entry has no name"),
        ),
        (
            "no-long-name",
            new().entry(b"L", b'L', b"\0\0").file("a").end(),
            Refused("the entry has no name"),
        ),
        (
            "name-255",
            named(&long(255)),
            Holds(&[concat!(
                "f644 ",
                "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                "nnnnn",
                " 0"
            )]),
        ),
        (
            "name-256",
            named(&long(256)),
            Refused("a name is 1 to 255 bytes"),
        ),
        (
            "directory-name-256",
            named(&[long(256), b"/a".to_vec()].concat()),
            Refused("a name is 1 to 255 bytes"),
        ),
        (
            "long-name-256",
            new().entry(b"L", b'L', &long(256)).file("a").end(),
            Refused("a name is 1 to 255 bytes"),
        ),
        (
            "undeclared-by-thousands",
            (0..3)
                .fold(new(), |archive, top| {
                    let path = [format!("{top}/").as_bytes(), &b"d/".repeat(32_000), b"f"].concat();
                    archive.pax(&[(b"path", &path)]).file("f")
                })
                .end(),
            Refused("too many directories in its path that no entry declares"),
        ),
        (
            "path-too-long",
            named(&vec![b'/'; 65_537]),
            Refused("must be at most 65536"),
        ),
        (
            "long-name-too-long",
            new().entry(b"L", b'L', &long(65_538)).file("a").end(),
            Refused("must be at most 65537"),
        ),
        ("nul-in-path", named(b"a\0b"), Refused("the name has a NUL")),
        (
            "nul-in-long-name",
            new().entry(b"L", b'L', b"a\0b\0").file("c").end(),
            Holds(&["f644 a 0"]),
        ),
        (
            "nul-ends-long-name",
            new().entry(b"L", b'L', b"a\0\0").file("c").end(),
            Holds(&["f644 a 0"]),
        ),
        (
            "not-utf-8",
            new().entry(b"\xff\xfe", b'0', b"").end(),
            Holds(&["f644 \\xff\\xfe 0"]),
        ),
        (
            "newline",
            new().file("a\nb").end(),
            Holds(&["f644 a\\nb 0"]),
        ),
        (
            "slash-ends-file",
            new().file("a/").end(),
            Holds(&["d644 a"]),
        ),
        (
            "slash-ends-data",
            new().entry(b"a/", b'0', b"data").end(),
            Refused("entry at byte 512: the header has a wrong checksum"),
        ),
        ("deep", named(&b"a/".repeat(300)), Holds(DEEP)),
        (
            "twice",
            new()
                .entry(b"a", b'0', b"one")
                .entry(b"a", b'0', b"other")
                .end(),
            Holds(&["f644 a 5"]),
        ),
        (
            "twice-by-other-names",
            new()
                .entry(b"a/b", b'0', b"one")
                .entry(b"/a/./c/../b", b'0', b"other")
                .end(),
            Holds(&["d755 a", "f644 a/b 5"]),
        ),
        (
            "directory-over-file",
            new().file("a").directory("a").file("a/b").end(),
            Holds(&["d755 a", "f644 a/b 0"]),
        ),
        (
            "file-over-directory",
            new().file("a/b/c").file("a").end(),
            Holds(&[
                "f644 a 0",
                "notice: 1 entry replaces a directory (first: a)",
            ]),
        ),
        (
            "file-over-empty-directory",
            new().directory("a").file("a").end(),
            Holds(&["f644 a 0"]),
        ),
        (
            "directory-over-symlink",
            new()
                .directory("d")
                .symlink("a", "d")
                .directory("a")
                .file("a/b")
                .end(),
            Holds(&["d755 a", "f644 a/b 0", "d755 d"]),
        ),
        (
            "directory-over-directory",
            new()
                .file("a/b")
                .odd(b"a", b'5', |b| b[104..107].copy_from_slice(b"700"))
                .end(),
            Holds(&["d700 a", "f644 a/b 0"]),
        ),
        (
            "file-is-parent",
            new().file("a").file("a/b").end(),
            Refused("a/b at byte 512: a in its path is not a directory"),
        ),
        (
            "fifo-is-parent",
            new().entry(b"a", b'6', b"").file("a/b").end(),
            Refused("a in its path is not a directory"),
        ),
    ]
}

/// What `deep` holds: only its end, since the whole would be long.
const DEEP: &[&str] = &["300 directories"];

fn symlinks() -> Vec<Case> {
    let chain = |links: usize| {
        let archive = new().directory("d0");
        (0..links).fold(archive, |archive, number| {
            archive.symlink(&format!("d{}", number + 1), &format!("d{number}"))
        })
    };
    let long = |length: usize| vec![b't'; length];
    let target = |target: &[u8]| new().pax(&[(b"linkpath", target)]).symlink("a", "b").end();
    vec![
        (
            "through-absolute",
            new().symlink("s", "/etc").file("s/passwd").end(),
            Holds(&["d755 etc", "f644 etc/passwd 0", "l777 s -> /etc"]),
        ),
        (
            "through-upwards",
            new().symlink("d/s", "../../../../x").file("d/s/f").end(),
            Holds(&[
                "d755 d",
                "l777 d/s -> ../../../../x",
                "d755 x",
                "f644 x/f 0",
            ]),
        ),
        (
            "through-and-upwards",
            new()
                .directory("x/y")
                .symlink("s", "x/y")
                .file("s/../f")
                .end(),
            Holds(&["l777 s -> x/y", "d755 x", "f644 x/f 0", "d755 x/y"]),
        ),
        (
            "through-dangling",
            new().symlink("s", "x/y").file("s/f").end(),
            Holds(&["l777 s -> x/y", "d755 x", "d755 x/y", "f644 x/y/f 0"]),
        ),
        (
            "through-file",
            new().file("f").symlink("s", "f").file("s/x").end(),
            Refused("f in its path is not a directory"),
        ),
        (
            "symlink-loop",
            new().symlink("a", "b").symlink("b", "a").file("a/x").end(),
            Refused("a/x at byte 1024: too many symbolic links"),
        ),
        (
            "symlink-to-itself",
            new().symlink("a", "a").file("a/x").end(),
            Refused("too many symbolic links"),
        ),
        (
            "symlink-below-itself",
            new().symlink("a", "a/a").file("a/x").end(),
            Refused("too many symbolic links"),
        ),
        ("symlinks-40", chain(40).file("d40/f").end(), Holds(FORTY)),
        (
            "symlinks-41",
            chain(41).file("d41/f").end(),
            Refused("too many symbolic links"),
        ),
        (
            "symlink-replaced",
            new()
                .file("x")
                .symlink("s", "x")
                .entry(b"s", b'0', b"new")
                .end(),
            Holds(&["f644 s 3", "f644 x 0"]),
        ),
        (
            "symlink-swapped",
            new().symlink("s", "/x").directory("s").file("s/f").end(),
            Holds(&["d755 s", "f644 s/f 0"]),
        ),
        (
            "no-target",
            new().symlink("a", "").end(),
            Refused("a at byte 0: the link has no target"),
        ),
        (
            "nul-in-target",
            target(b"a\0b"),
            Refused("the link's target has a NUL"),
        ),
        (
            "nul-in-long-target",
            new().entry(b"K", b'K', b"a\0b").symlink("a", "b").end(),
            Holds(&["l777 a -> a"]),
        ),
        ("target-4095", target(&long(4095)), Holds(LONG_TARGET)),
        ("target-4096", target(&long(4096)), Refused("/a")),
        (
            "target-too-long",
            target(&long(65_537)),
            Refused("must be at most 65536"),
        ),
        (
            "targets-too-long",
            new()
                .pax(&[(b"linkpath", &b"./".repeat(9000))])
                .symlink("a", "b")
                .file("a/x")
                .end(),
            Refused("too many symbolic links"),
        ),
        (
            "dangling-too-deep",
            new()
                .pax(&[(b"linkpath", &b"x/".repeat(200))])
                .symlink("s", "b")
                .file("s/f")
                .end(),
            Refused("too many symbolic links"),
        ),
        (
            "symlink-with-data",
            new()
                .odd(b"a", b'2', |b| {
                    b[157] = b'b';
                    b[134] = b'7';
                })
                .end(),
            Holds(&["l777 a -> b"]),
        ),
    ]
}

/// What `symlinks-40` and `target-4095` hold: counted, since the whole would be long.
const FORTY: &[&str] = &["40 symbolic links"];
const LONG_TARGET: &[&str] = &["1 symbolic links"];

fn hard_links() -> Vec<Case> {
    vec![
        (
            "link-to-nothing",
            new().hard_link("a", "b").end(),
            Refused("a at byte 0: it is a hard link to b, which does not exist"),
        ),
        (
            "link-below-nothing",
            new().hard_link("a", "b/c").end(),
            Refused("which does not exist"),
        ),
        (
            "link-to-directory",
            new().directory("d").hard_link("a", "d").end(),
            Refused("a hard link to d, which is a directory"),
        ),
        (
            "link-to-root",
            new().hard_link("a", "/").end(),
            Refused("which is a directory"),
        ),
        (
            "link-to-dotdot",
            new().directory("d").hard_link("a", "d/..").end(),
            Refused("which is a directory"),
        ),
        (
            "link-to-itself",
            new().hard_link("a", "a").end(),
            Refused("which does not exist"),
        ),
        (
            "link-to-itself-there",
            new().file("a").hard_link("a", "a").end(),
            Holds(&["f644 a 0"]),
        ),
        (
            "link-cycle",
            new().hard_link("a", "b").hard_link("b", "a").end(),
            Refused("which does not exist"),
        ),
        (
            "link-upwards",
            new().file("a").hard_link("b", "../../a").end(),
            Holds(&["f644 a 0 x2", "f644 b 0 x2", "notice: leads above the root"]),
        ),
        (
            "link-absolute",
            new().file("a").hard_link("b", "/a").end(),
            Holds(&["f644 a 0 x2", "f644 b 0 x2"]),
        ),
        (
            "link-through-symlink",
            new()
                .file("d/a")
                .symlink("s", "/d")
                .hard_link("b", "s/a")
                .end(),
            Holds(&["f644 b 0 x2", "d755 d", "f644 d/a 0 x2", "l777 s -> /d"]),
        ),
        (
            "link-through-file",
            new().file("a").hard_link("b", "a/c").end(),
            Refused("a in its path is not a directory"),
        ),
        (
            "link-to-symlink",
            new().symlink("s", "/etc/passwd").hard_link("b", "s").end(),
            Holds(&["l777 b -> /etc/passwd x2", "l777 s -> /etc/passwd x2"]),
        ),
        (
            "link-to-replaced",
            new()
                .entry(b"a", b'0', b"old")
                .hard_link("b", "a")
                .file("a")
                .end(),
            Holds(&["f644 a 0", "f644 b 3"]),
        ),
        (
            "link-over-its-directory",
            new()
                .entry(b"d/a", b'0', b"data")
                .hard_link("d", "d/a")
                .end(),
            Holds(&["f644 d 4", "notice: replaces a directory (first: d)"]),
        ),
        (
            "link-with-owner-of-none",
            new()
                .file("a")
                .odd(b"b", b'1', |b| {
                    b[157] = b'a';
                    b[108..116].fill(0xff);
                })
                .end(),
            Holds(&["f644 a 0 x2", "f644 b 0 x2"]),
        ),
        (
            "link-with-size",
            new()
                .file("a")
                .odd(b"b", b'1', |b| {
                    b[157] = b'a';
                    b[134] = b'7';
                })
                .end(),
            Holds(&["f644 a 0 x2", "f644 b 0 x2"]),
        ),
        (
            "link-without-target",
            new().hard_link("a", "").end(),
            Refused("the link has no target"),
        ),
    ]
}

fn headers() -> Vec<Case> {
    let plain = || new().file("a");
    let field = |at: usize, text: &'static [u8]| {
        new().odd(b"a", b'0', move |block| {
            block[at..at + text.len()].copy_from_slice(text)
        })
    };
    let special = |kind: u8, at: usize, text: &'static [u8]| {
        new().odd(b"a", kind, move |block| {
            block[329..337].copy_from_slice(b"0000001\0");
            block[337..345].copy_from_slice(b"0000003\0");
            block[at..at + text.len()].copy_from_slice(text);
        })
    };
    let signed = || {
        let mut block = sealed(header(b"\xff", b'0', 0));
        let sum = block[148..156].to_vec();
        let sum = u32::from_str_radix(std::str::from_utf8(&sum[..6]).expect("digits"), 8);
        let sum = sum.expect("a number") - 256;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    };
    let v7 = new().odd(b"a/", 0, |block| block[257..265].fill(0));
    let gnu =
        |archive: Archive| archive.odd(b"a", b'0', |b| b[257..265].copy_from_slice(b"ustar  \0"));
    let mut bad_sum = sealed(header(b"b", b'0', 0));
    bad_sum[0] = b'c';
    let mut no_sum = header(b"b", b'0', 0);
    no_sum[148..156].fill(b' ');
    let cut = |bytes: usize| {
        let mut archive = new().entry(b"a", b'0', &[b'x'; 700]).end();
        archive.truncate(bytes);
        archive
    };
    vec![
        (
            "checksum-wrong",
            plain().raw(&bad_sum).end(),
            Refused("entry at byte 512: the header has a wrong checksum"),
        ),
        (
            "checksum-none",
            plain().raw(&no_sum).end(),
            Refused("wrong checksum"),
        ),
        (
            "checksum-signed",
            new().raw(&signed()).end(),
            Holds(&["f644 \\xff 0"]),
        ),
        (
            "size-no-number",
            plain().raw(&field(124, b"0000000009x").0).end(),
            Refused("the size is not a number"),
        ),
        (
            "size-negative",
            plain().raw(&field(124, &[0xff; 12]).0).end(),
            Refused("the size is -1"),
        ),
        (
            "size-minus",
            plain().raw(&field(124, b"-0000000001").0).end(),
            Refused("the size is not a number"),
        ),
        (
            "size-beyond",
            plain()
                .raw(&field(124, b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").0)
                .end(),
            Refused("the size is not a number"),
        ),
        (
            "size-8-eib",
            plain()
                .raw(&field(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff").0)
                .end(),
            Refused("a at byte 512: the archive ends before the entry does"),
        ),
        (
            "size-lies",
            plain().raw(&field(124, b"00000100000").0).end(),
            Refused("the archive ends before the entry does"),
        ),
        (
            "cut-in-first-header",
            cut(300),
            Refused("not a tar archive"),
        ),
        (
            "cut-in-header",
            [new().file("a").0, cut(300)].concat(),
            Refused("entry at byte 512: the archive ends before the entry does"),
        ),
        (
            "cut-before-data",
            cut(512),
            Refused("a at byte 0: the archive ends before the entry does"),
        ),
        (
            "cut-in-data",
            cut(1000),
            Refused("a at byte 0: the archive ends before the entry does"),
        ),
        (
            "cut-in-padding",
            cut(1300),
            Refused("the archive ends before the entry does"),
        ),
        (
            "no-end",
            cut(1536),
            Holds(&["f644 a 700", "notice: no end-of-archive marker"]),
        ),
        (
            "half-an-end",
            cut(2048),
            Holds(&["f644 a 700", "notice: no end-of-archive marker"]),
        ),
        (
            "zeros-amid",
            plain().raw(&[0; BLOCK]).file("b").end(),
            Holds(&["f644 a 0", "notice: hostile ends at a lone block of zeros"]),
        ),
        (
            "behind-the-end",
            [plain().end(), vec![b'x'; 5000]].concat(),
            Holds(&["f644 a 0"]),
        ),
        (
            "entries-behind-the-end",
            [plain().end(), new().file("b").end()].concat(),
            Holds(&["f644 a 0"]),
        ),
        ("empty", Vec::new(), Refused("not a tar archive")),
        (
            "text",
            b"once upon a time ".repeat(100),
            Refused("not a tar archive"),
        ),
        (
            "only-zeros",
            vec![0; 10_240],
            Holds(&["notice: hostile: the archive has no entries"]),
        ),
        (
            "lone-zeros",
            vec![0; BLOCK],
            Holds(&[
                "notice: no end-of-archive marker",
                "notice: hostile: the archive has no entries",
            ]),
        ),
        (
            "zeros-and-text",
            [vec![0; 10_240], b"text".to_vec()].concat(),
            Refused("hostile is not a tar archive"),
        ),
        (
            "zeros-and-text-far",
            [vec![0; 200_000], b"text".to_vec()].concat(),
            Refused("hostile is not a tar archive"),
        ),
        (
            "zeros-and-entries",
            [vec![0; 2 * BLOCK], plain().end()].concat(),
            Refused("hostile is not a tar archive"),
        ),
        (
            "lone-zeros-and-entries",
            [vec![0; BLOCK], plain().end()].concat(),
            Refused("hostile is not a tar archive"),
        ),
        (
            "zeros-and-superblock",
            spotted(1024 + 56, b"\x53\xef"),
            Refused("hostile is an ext2 image, which cannot be read from a stream"),
        ),
        (
            "mode-no-number",
            plain().raw(&field(100, b"rw-r--r").0).end(),
            Refused("the mode is not a number"),
        ),
        (
            "mode-with-type",
            field(100, b"0100640").end(),
            Holds(&["f640 a 0"]),
        ),
        (
            "mode-negative",
            field(100, &[0xff; 8]).end(),
            Holds(&["f7777 a 0"]),
        ),
        ("mode-empty", field(100, &[0; 8]).end(), Holds(&["f0 a 0"])),
        (
            "uid-negative",
            plain().raw(&field(108, &[0xff; 8]).0).end(),
            Refused("the uid is -1"),
        ),
        (
            "uid-nobody",
            plain()
                .raw(&field(108, b"\x80\0\0\0\xff\xff\xff\xff").0)
                .end(),
            Refused("use --owner or --all-root for other owners, or --uid-map for this one"),
        ),
        (
            "uid-beyond",
            plain().raw(&field(108, b"\x80\0\0\x01\0\0\0\0").0).end(),
            Refused("the uid is 4294967296"),
        ),
        (
            "uid-last",
            field(108, b"\x80\0\0\0\xff\xff\xff\xfe").end(),
            Holds(&["f644 a 0 of 4294967294"]),
        ),
        (
            "gid-no-number",
            plain().raw(&field(116, b"staff\0\0\0").0).end(),
            Refused("the gid is not a number"),
        ),
        (
            "time-negative",
            field(136, &[0xff; 12]).end(),
            Holds(&["f644 a 0 at -1"]),
        ),
        (
            "time-no-number",
            plain().raw(&field(136, b"yesterday\0\0\0").0).end(),
            Refused("the mtime is not a number"),
        ),
        (
            "time-far",
            field(136, b"\x80\0\0\0\x3f\xff\xff\xff\xff\xff\xff\xff").end(),
            Holds(&["f644 a 0 at 4611686018427387903"]),
        ),
        (
            "time-farther",
            plain()
                .raw(&field(136, b"\x80\xff\0\0\0\0\0\0\0\0\0\0").0)
                .end(),
            Refused("the mtime is not a number"),
        ),
        (
            "device",
            special(b'3', 300, b"").end(),
            Holds(&["c644 a 1:3"]),
        ),
        (
            "device-major",
            special(b'3', 329, b"0010000\0").end(),
            Refused("the device's major number is 4096"),
        ),
        (
            "device-minor",
            special(b'4', 337, b"4000000\0").end(),
            Refused("the device's minor number is 1048576"),
        ),
        (
            "device-negative",
            special(b'4', 337, &[0xff; 8]).end(),
            Refused("the device's minor number is -1"),
        ),
        (
            "device-with-data",
            special(b'4', 124, b"00000000007").end(),
            Holds(&["b644 a 1:3"]),
        ),
        (
            "fifo-with-data",
            special(b'6', 124, b"00000000007").end(),
            Holds(&["p644 a"]),
        ),
        (
            "directory-with-data",
            special(b'5', 124, b"00000000007").end(),
            Holds(&["d644 a"]),
        ),
        (
            "type-contiguous",
            new().entry(b"a", b'7', b"data").end(),
            Holds(&["f644 a 4"]),
        ),
        (
            "type-unknown",
            new().entry(b"a", b'9', b"data").end(),
            Holds(&["f644 a 4"]),
        ),
        (
            "type-of-others",
            new().entry(b"a", b'A', b"data").end(),
            Refused("unknown entry type 'A'"),
        ),
        (
            "type-volume",
            new().entry(b"a", b'M', b"data").end(),
            Refused("unknown entry type 'M'"),
        ),
        (
            "type-label",
            new().entry(b"label", b'V', b"data").file("a").end(),
            Holds(&["f644 a 0"]),
        ),
        (
            "type-incremental",
            new().entry(b"a", b'D', b"Yb\0\0").file("b").end(),
            Holds(&["d644 a", "f644 b 0"]),
        ),
        (
            "sparse-of-others",
            new().entry(b"a", b'S', b"data").end(),
            Refused("unknown entry type 'S'"),
        ),
        ("v7-directory", v7.end(), Holds(&["d644 a"])),
        ("gnu-times-empty", gnu(new()).end(), Holds(&["f644 a 0"])),
        (
            "gnu-prefix",
            new()
                .odd(b"a", b'0', |b| {
                    b[257..265].copy_from_slice(b"ustar  \0");
                    b[345..352].copy_from_slice(b"d/of-go");
                })
                .end(),
            Holds(&[
                "d755 d",
                "d755 d/of-go",
                "f644 d/of-go/a 0",
                "notice: 1 GNU header has a ustar prefix (first: d/of-go/a)",
            ]),
        ),
        (
            "gnu-prefix-of-digits",
            new()
                .odd(b"a", b'0', |b| {
                    b[257..265].copy_from_slice(b"ustar  \0");
                    b[345..357].copy_from_slice(b"00000000007\0");
                })
                .end(),
            Holds(&["f644 a 0"]),
        ),
        (
            "gnu-times-no-number",
            new()
                .odd(b"a", b'0', |b| {
                    b[257..265].copy_from_slice(b"ustar  \0");
                    b[345] = 0xe4;
                })
                .end(),
            Holds(&[
                "f644 a 0",
                "notice: 1 GNU header has an atime or ctime that is not a number",
            ]),
        ),
    ]
}

#[test]
fn attributes_that_go_are_not_looked_at() {
    let long = vec![b'v'; 70_000];
    let unnamed = b"user::rw-,user:nobody-knows:r--,group::r--,mask::rw-,other::r--";
    let records: [(&[u8], &[u8]); 6] = [
        (b"SCHILY.acl.access", b"no ACL at all"),
        (b"SCHILY.acl.access", unnamed),
        (b"SCHILY.acl.default", b"user::zzz"),
        (b"SCHILY.xattr.system.posix_acl_access", b"\x07"),
        (b"SCHILY.xattr.user.long", &long),
        (b"LIBARCHIVE.xattr.user.bad", b"!no base 64!"),
    ];
    let rules = |patterns: &[&str]| -> Vec<Rule> {
        let patterns = patterns.iter();
        let patterns = patterns.map(|text| XattrPattern::new(XattrAction::Exclude, text));
        patterns
            .map(|pattern| Rule::Xattrs(pattern.expect("it is one")))
            .collect()
    };
    for (key, value) in records {
        let global = new().entry(b"g", b'g', &pax_records(&[(key, value)]));
        let own = new().pax(&[(key, value)]);
        for archive in [global, own] {
            let bytes = archive.entry(b"d", b'5', b"").end();
            let plan = |rules: Vec<Rule>, keep: bool| {
                let tar = Tar::from_reader(Cursor::new(bytes.clone()), "it").keep_xattrs(keep);
                let options = making::options("").expect("they are none");
                let builder = Builder::from_options(options)
                    .environment(making::memory_host())
                    .source(tar);
                rules
                    .into_iter()
                    .fold(builder, Builder::rule)
                    .fit(Fit::Minimum)
                    .plan()
            };
            let key = key.escape_ascii();
            assert!(plan(Vec::new(), true).is_err(), "{key}");
            assert!(plan(rules(&["user.other"]), true).is_err(), "{key}");
            assert!(plan(Vec::new(), false).is_ok(), "{key}");
            let plan = plan(rules(&["user.*", "system.*"]), true).expect("none is kept");
            let unmatched = plan.warnings().iter().filter(|warning| {
                let warning = warning.to_string();
                warning.contains("matches nothing")
            });
            assert_eq!(unmatched.count(), 1, "{key}");
        }
    }
}

/// What becomes of an archive's image under rules and patterns of what to leave out.
fn ruled(bytes: &[u8], rules: &[Rule], excluded: &[&str]) -> Result<Plan, String> {
    let excluded = Patterns::new(excluded).expect("they are patterns");
    let tar = Tar::from_reader(Cursor::new(bytes.to_vec()), "it").exclude(excluded);
    let options = making::options("").expect("they are none");
    let builder = Builder::from_options(options)
        .environment(making::memory_host())
        .source(tar);
    let builder = rules.iter().cloned().fold(builder, Builder::rule);
    let plan = builder.fit(Fit::Minimum).plan();
    plan.map_err(|error| format!("{error:#}"))
}

#[test]
fn owners_that_rules_replace_are_no_fault() {
    let map = |range: &str| {
        let mut map = IdMap::default();
        map.add(range.parse().expect("a range")).expect("one map");
        map
    };
    let root = Rule::Owner { uid: 0, gid: 0 };
    let (uids, gids) = (map("4294967295:7:1"), map("4294967295:8:1"));
    let none = b"\x80\0\0\0\xff\xff\xff\xff";
    let archive =
        |at: usize, id: &[u8]| new().odd(b"a", b'0', |b| b[at..at + 8].copy_from_slice(id));
    let (user, group) = (archive(108, none).end(), archive(116, none).end());
    let minus = archive(108, &[0xff; 8]).end();
    let record = new().pax(&[(b"gid", b"-2")]).file("a").end();
    for (bytes, rules, owner) in [
        (&user, vec![], Err("the uid is 4294967295")),
        (&user, vec![root.clone()], Ok((0, 0))),
        (&user, vec![Rule::UidMap(uids.clone())], Ok((7, 0))),
        (
            &user,
            vec![Rule::GidMap(gids.clone())],
            Err("or --uid-map for this one"),
        ),
        (&group, vec![Rule::GidMap(gids.clone())], Ok((0, 8))),
        (
            &group,
            vec![Rule::UidMap(uids.clone())],
            Err("or --gid-map for this one"),
        ),
        (
            &minus,
            vec![Rule::UidMap(uids)],
            Err("use --owner or --all-root"),
        ),
        (&minus, vec![root.clone()], Ok((0, 0))),
        (&record, vec![Rule::GidMap(gids)], Err("the gid is -2")),
        (&record, vec![root], Ok((0, 0))),
    ] {
        let plan = ruled(bytes, &rules, &[]);
        match owner {
            Err(text) => {
                let error = plan.expect_err("it is refused");
                assert!(error.contains(text), "{error}");
            }
            Ok(owner) => {
                let mut tree = plan.expect("it is taken").tree().clone();
                let node = tree.lookup(NodeId::ROOT, b"a").expect("names").expect("a");
                let metadata = tree.node(node).metadata;
                assert_eq!((metadata.uid, metadata.gid), owner, "{rules:?}");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_what_is_left_out_is_no_fault() {
    let spoilt = |at: usize, text: &[u8]| {
        new().odd(b"a", b'0', |b| b[at..at + text.len()].copy_from_slice(text))
    };
    let record = |key: &[u8], value: &[u8]| new().pax(&[(key, value)]).file("a");
    for archive in [
        spoilt(100, b"rw-r--r"),
        spoilt(108, &[0xff; 8]),
        spoilt(116, b"staff\0\0\0"),
        spoilt(136, b"yesterday\0\0\0"),
        new().odd(b"a", b'3', |b| b[329..337].copy_from_slice(b"0010000\0")),
        new().symlink("a", ""),
        new().hard_link("a", ""),
        record(b"uid", b"-1"),
        record(b"mtime", b"now"),
        record(b"SCHILY.acl.access", b"everyone"),
        record(b"SCHILY.xattr.user.a", &vec![b'v'; 70_000]),
        record(b"LIBARCHIVE.xattr.user.a", b"!"),
    ] {
        let bytes = archive.file("b").end();
        assert!(ruled(&bytes, &[], &[]).is_err());
        assert!(ruled(&bytes, &[], &["b"]).is_err());
        let plan = ruled(&bytes, &[], &["a"]).expect("the other is sound");
        assert_eq!(plan.tree().entries(NodeId::ROOT).len(), 1);
    }
}

#[test]
fn no_message_repeats_itself() {
    let cut = new().odd(b"a", b'0', |b| {
        b[124..136].copy_from_slice(b"00003641100\0")
    });
    let bytes = cut.raw(&vec![0; 200_000]).0;
    let image = tempfile::Builder::new()
        .tempfile_in("/dev/shm")
        .expect("a file");
    let mut run = Command::new(env!("CARGO_BIN_EXE_mke4fs"))
        .args(["-q", "-d", "-"])
        .arg(image.path())
        .arg("64M")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = run.stdin.take().expect("a pipe");
    stdin.write_all(&bytes).expect("it reads");
    drop(stdin);
    let output = run.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(
        said,
        "mke4fs: stdin: a at byte 0: the archive ends before the entry does\n"
    );
}

fn pax() -> Vec<Case> {
    let body = |bytes: &[u8]| new().entry(b"p", b'x', bytes).file("a").end();
    let one =
        |key: &[u8], value: &[u8]| new().pax(&[(key, value)]).entry(b"a", b'0', b"data").end();
    let all = |key: &[u8], value: &[u8]| {
        new()
            .entry(b"g", b'g', &pax_records(&[(key, value)]))
            .file("a")
            .end()
    };
    let claims = |kind: u8| {
        new()
            .odd(b"p", kind, |block| {
                block[124..136].copy_from_slice(b"77777777777\0")
            })
            .file("a")
            .end()
    };
    let many: Vec<u8> = vec![b'v'; 70_000];
    vec![
        (
            "record-too-long",
            body(b"12 path=a\n"),
            Refused("entry at byte 0: malformed PAX record"),
        ),
        (
            "record-too-short",
            body(b"8 path=a\n"),
            Refused("malformed PAX record"),
        ),
        (
            "record-zero",
            body(b"0 path=a\n"),
            Refused("malformed PAX record"),
        ),
        (
            "record-negative",
            body(b"-9 path=a\n"),
            Refused("malformed PAX record"),
        ),
        (
            "record-gigabytes",
            body(b"4294967296 path=a\n"),
            Refused("malformed PAX record"),
        ),
        (
            "record-beyond",
            body(b"99999999999999999999999 path=a\n"),
            Refused("malformed PAX record"),
        ),
        (
            "record-without-key",
            body(b"5 =a\n"),
            Refused("malformed PAX record"),
        ),
        (
            "record-without-value",
            body(b"7 path\n"),
            Refused("malformed PAX record"),
        ),
        (
            "record-without-newline",
            body(b"9 path=a "),
            Refused("malformed PAX record"),
        ),
        (
            "record-behind-another",
            body(b"9 path=b\n\0\0"),
            Refused("malformed PAX record"),
        ),
        (
            "header-gigabytes",
            claims(b'x'),
            Refused("its extended header has 8589934591 bytes"),
        ),
        (
            "global-gigabytes",
            claims(b'g'),
            Refused("its extended header has 8589934591 bytes"),
        ),
        (
            "long-name-gigabytes",
            claims(b'L'),
            Refused("its extended header has 8589934591 bytes"),
        ),
        (
            "long-target-gigabytes",
            claims(b'K'),
            Refused("its extended header has 8589934591 bytes"),
        ),
        (
            "header-cut",
            new()
                .odd(b"p", b'x', |b| {
                    b[124..136].copy_from_slice(b"00000010000\0")
                })
                .0,
            Refused("the archive ends before the entry does"),
        ),
        (
            "header-alone",
            new().pax(&[(b"path", b"b")]).end(),
            Holds(&[
                "notice: 1 extended header has no entry (first: b)",
                "notice: hostile: the archive has no entries",
            ]),
        ),
        (
            "header-alone-long",
            new()
                .file("a")
                .entry(b"././@LongLink", b'L', b"b\0")
                .entry(b"././@LongLink", b'K', b"c\0")
                .end(),
            Holds(&[
                "f644 a 0",
                "notice: 1 extended header has no entry (first: b)",
            ]),
        ),
        (
            "global-alone",
            new()
                .entry(b"g", b'g', &pax_records(&[(b"comment", b"of git")]))
                .end(),
            Holds(&["notice: hostile: the archive has no entries"]),
        ),
        (
            "header-last",
            new().file("a").pax(&[(b"path", b"b")]).0,
            Refused("entry at byte 512: the archive ends before the entry does"),
        ),
        (
            "header-twice",
            new()
                .pax(&[(b"path", b"b"), (b"uid", b"7")])
                .pax(&[(b"path", b"c")])
                .file("a")
                .end(),
            Holds(&["f644 c 0"]),
        ),
        (
            "record-twice",
            new()
                .pax(&[(b"path", b"b"), (b"path", b"c")])
                .file("a")
                .end(),
            Holds(&["f644 c 0"]),
        ),
        (
            "record-taken-back",
            new()
                .pax(&[(b"path", b"b"), (b"path", b"")])
                .file("a")
                .end(),
            Holds(&["f644 a 0"]),
        ),
        (
            "size-of-directory",
            new()
                .pax(&[(b"size", b"4")])
                .entry(b"a", b'5', b"")
                .padded(b"data")
                .end(),
            Refused("a directory of 4 bytes: must have 0"),
        ),
        (
            "size-of-hard-link",
            new()
                .file("a")
                .pax(&[(b"size", b"4")])
                .hard_link("b", "a")
                .end(),
            Refused("a hard link of 4 bytes: must have 0"),
        ),
        (
            "size-too-large",
            one(b"size", b"99999"),
            Refused("the archive ends before the entry does"),
        ),
        (
            "size-eib",
            one(b"size", b"18446744073709551615"),
            Refused("the size is not a number"),
        ),
        (
            "size-too-small",
            one(b"size", b"0"),
            Refused("a wrong checksum"),
        ),
        (
            "size-hexadecimal",
            one(b"size", b"0x4"),
            Refused("the PAX record size has an invalid value"),
        ),
        (
            "time-word",
            one(b"mtime", b"now"),
            Refused("the PAX record mtime has an invalid value"),
        ),
        (
            "time-exponent",
            one(b"mtime", b"1e9"),
            Holds(&[
                "f644 a 4 at 1",
                "notice: 1 entry has a PAX time with other characters behind the number",
            ]),
        ),
        (
            "time-and-more",
            one(b"mtime", b"7.5a"),
            Holds(&["f644 a 4 at 7.5", "notice: 1 entry has a PAX time"]),
        ),
        (
            "time-fraction",
            one(b"mtime", b"-1.5"),
            Holds(&["f644 a 4 at -2.5"]),
        ),
        (
            "owner-negative",
            one(b"uid", b"-2"),
            Refused("the uid is -2"),
        ),
        (
            "owner-name",
            one(b"gid", b"staff"),
            Refused("the PAX record gid has an invalid value"),
        ),
        (
            "owner-names-do-not-count",
            one(b"uname", b"staff"),
            Holds(&["f644 a 4"]),
        ),
        (
            "global-owner",
            all(b"uid", b"12"),
            Holds(&["f644 a 0 of 12"]),
        ),
        (
            "global-path",
            all(b"path", b"b"),
            Refused("the PAX record path cannot be in a global header"),
        ),
        (
            "global-size",
            all(b"size", b"1"),
            Refused("the PAX record size cannot be in a global header"),
        ),
        (
            "global-sparse",
            all(b"GNU.sparse.size", b"1"),
            Refused("cannot be in a global header"),
        ),
        (
            "global-too-long",
            all(b"SCHILY.xattr.user.a", &many),
            Refused("must be at most 1024"),
        ),
        (
            "global-comment",
            all(b"comment", &many),
            Holds(&["f644 a 0"]),
        ),
    ]
}

fn attributes() -> Vec<Case> {
    let one = |key: &[u8], value: &[u8]| new().pax(&[(key, value)]).file("a").end();
    let whole = b"user::rwx,group::r--,other::---,mask::rw-,";
    let acl = |entry: &[u8]| one(b"SCHILY.acl.access", &[&whole[..], entry].concat());
    let long_name = [b"SCHILY.xattr.user.".to_vec(), vec![b'n'; 256]].concat();
    vec![
        (
            "xattr-binary",
            one(b"SCHILY.xattr.user.a", b"\n9 path=b\n\0"),
            Holds(&["f644 a 0 +user.a=\\n9 path=b\\n\\x00"]),
        ),
        (
            "xattr-equals",
            one(b"SCHILY.xattr.user.a%3Db", b"v"),
            Holds(&["f644 a 0 +user.a=b=v"]),
        ),
        (
            "xattr-elsewhere",
            one(b"SCHILY.xattr.system.nfs4_acl", b"v"),
            Holds(&["f644 a 0", "notice: ext4 has no xattrs of that namespace"]),
        ),
        (
            "xattr-name-256",
            one(&long_name, b"v"),
            Refused("a at byte 0: the xattr user.nnn"),
        ),
        (
            "xattr-value-large",
            one(b"SCHILY.xattr.user.a", &vec![b'v'; 70_000]),
            Refused("a at byte 0: the xattr user.a has 70000 bytes: must be at most 65536"),
        ),
        (
            "xattr-base64",
            one(b"LIBARCHIVE.xattr.user.a", b"dmFsdWU"),
            Holds(&["f644 a 0 +user.a=value"]),
        ),
        (
            "xattr-not-base64",
            one(b"LIBARCHIVE.xattr.user.a", b"!"),
            Refused("has an invalid value"),
        ),
        (
            "xattr-not-percent",
            one(b"LIBARCHIVE.xattr.user.%zz", b""),
            Refused("has an invalid value"),
        ),
        (
            "xattr-name-255",
            one(&long_name[..b"SCHILY.xattr.".len() + 256], b"v"),
            Refused("has a name of 256 bytes: must be at most 255"),
        ),
        (
            "xattr-name-nul",
            one(b"SCHILY.xattr.user.a\0b", b"v"),
            Refused("a at byte 0: the xattr user.a\\u{0}b has a NUL in its name, or no name"),
        ),
        (
            "xattr-name-empty",
            one(b"SCHILY.xattr.user.", b"v"),
            Refused("a at byte 0: the xattr user. has a NUL in its name, or no name"),
        ),
        (
            "xattr-user-of-symlink",
            new()
                .pax(&[
                    (b"SCHILY.xattr.user.a", b"v"),
                    (b"SCHILY.xattr.trusted.a", b"v"),
                ])
                .symlink("a", "b")
                .end(),
            Holds(&[
                "l777 a -> b +trusted.a=v",
                "notice: 1 file lost user.* (first: a)",
            ]),
        ),
        (
            "xattr-user-of-device",
            new()
                .pax(&[(b"SCHILY.xattr.user.a", b"v")])
                .entry(b"a", b'3', b"")
                .end(),
            Holds(&["c644 a 0:0", "notice: 1 file lost user.* (first: a)"]),
        ),
        (
            "label-of-selinux",
            one(b"RHT.security.selinux", b"u:r:t:s0"),
            Holds(&["f644 a 0 +security.selinux=u:r:t:s0\\x00"]),
        ),
        (
            "label-of-selinux-ended",
            one(b"RHT.security.selinux", b"u:r:t:s0\0"),
            Holds(&["f644 a 0 +security.selinux=u:r:t:s0\\x00"]),
        ),
        (
            "label-of-selinux-twice",
            new()
                .pax(&[
                    (b"SCHILY.xattr.security.selinux", b"one"),
                    (b"RHT.security.selinux", b"other"),
                ])
                .file("a")
                .end(),
            Holds(&["f644 a 0 +security.selinux=other\\x00"]),
        ),
        (
            "label-of-selinux-taken-back",
            new()
                .pax(&[
                    (b"RHT.security.selinux", b"u:r:t:s0"),
                    (b"RHT.security.selinux", b""),
                ])
                .file("a")
                .end(),
            Holds(&["f644 a 0"]),
        ),
        (
            "acl-nfs4",
            one(b"SCHILY.acl.ace", b"owner@:rw::allow"),
            Holds(&["f644 a 0", "notice: 1 file lost its NFSv4 ACL (first: a)"]),
        ),
        (
            "acl-over-mode",
            acl(b"user:7:r--"),
            Holds(&["f760 a 0 +system.posix_acl_access"]),
        ),
        (
            "acl-is-mode",
            one(b"SCHILY.acl.access", b"user::r-x,group::-w-,other::--x"),
            Holds(&["f521 a 0"]),
        ),
        (
            "acl-without-mask",
            one(
                b"SCHILY.acl.access",
                b"user::rwx,group::r--,other::---,user:7:r--",
            ),
            Refused("malformed ACL"),
        ),
        (
            "acl-without-owner",
            one(b"SCHILY.acl.access", b"group::r--,other::---"),
            Refused("malformed ACL"),
        ),
        (
            "acl-twice",
            acl(b"user:7:r--,user:7:rw-"),
            Refused("malformed ACL"),
        ),
        (
            "acl-text",
            one(b"SCHILY.acl.access", b"everyone"),
            Refused("malformed ACL \"everyone\""),
        ),
        (
            "acl-permissions",
            acl(b"user:7:rwxt"),
            Refused("malformed ACL \"user:7:rwxt\""),
        ),
        (
            "acl-number-beyond",
            acl(b"user:a:r--:4294967296"),
            Refused("malformed ACL"),
        ),
        (
            "acl-nobody-knows",
            acl(b"user:daemon:r--"),
            Refused(
                "for that name; use --acl-names host or skip, or --xattr-exclude system.posix_acl_access",
            ),
        ),
        (
            "acl-root",
            acl(b"user:root:r--"),
            Holds(&["f760 a 0 +system.posix_acl_access"]),
        ),
        (
            "acl-image-knows",
            new()
                .entry(b"etc/passwd", b'0', b"daemon:x:1:1:::\n")
                .pax(&[(
                    b"SCHILY.acl.access",
                    &[&whole[..], b"user:daemon:r--"].concat(),
                )])
                .file("a")
                .end(),
            Holds(&[
                "f760 a 0 +system.posix_acl_access",
                "d755 etc",
                "f644 etc/passwd 16",
            ]),
        ),
        (
            "acl-default-of-file",
            one(b"SCHILY.acl.default", b"user::r-x,group::-w-,other::--x"),
            Holds(&["f644 a 0", "notice: 1 file lost an ACL (first: a)"]),
        ),
        (
            "acl-of-symlink",
            new()
                .pax(&[(b"SCHILY.acl.access", b"user::r-x,group::-w-,other::--x")])
                .symlink("a", "b")
                .end(),
            Holds(&["l777 a -> b", "notice: 1 file lost an ACL (first: a)"]),
        ),
        (
            "acl-value-bad",
            one(b"SCHILY.xattr.system.posix_acl_access", b"\x01\0\0\0"),
            Refused("malformed ACL"),
        ),
    ]
}

fn old_sparse(ranges: &[(u64, u64)], real_size: u64, data: &[u8]) -> Vec<u8> {
    let mut block = header(b"a", b'S', data.len());
    block[257..265].copy_from_slice(b"ustar  \0");
    for (place, (offset, length)) in block[386..482].chunks_exact_mut(24).zip(ranges) {
        for (field, number) in place.chunks_exact_mut(12).zip([offset, length]) {
            field[0] = 0x80;
            field[4..].copy_from_slice(&number.to_be_bytes());
        }
    }
    block[483] = 0x80;
    block[487..495].copy_from_slice(&real_size.to_be_bytes());
    new().raw(&sealed(block)).padded(data).end()
}

fn new_sparse(real_size: &[u8], map: &[u8], data: &[u8]) -> Vec<u8> {
    let records: &[(&[u8], &[u8])] = &[
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", b"a"),
        (b"GNU.sparse.realsize", real_size),
    ];
    let stored = Archive::default().padded(map).raw(data).0;
    new().pax(records).entry(b"s", b'0', &stored).end()
}

fn sparse() -> Vec<Case> {
    let data = [b'd'; 1024];
    let middle = |records: &[(&[u8], &[u8])]| new().pax(records).entry(b"a", b'0', &data).end();
    let mut continued = header(b"a", b'S', 0);
    continued[257..265].copy_from_slice(b"ustar  \0");
    continued[482] = 1;
    vec![
        (
            "sparse-old",
            old_sparse(&[(512, 512), (4096, 512)], 9000, &data),
            Holds(&["f644 a 9000 [512..1024, 4096..4608]"]),
        ),
        (
            "sparse-old-overlap",
            old_sparse(&[(0, 512), (0, 512)], 9000, &data),
            Refused("a at byte 0: the map of holes has ranges that overlap"),
        ),
        (
            "sparse-old-disorder",
            old_sparse(&[(4096, 512), (0, 512)], 9000, &data),
            Refused("overlap or are out of order"),
        ),
        (
            "sparse-old-past-end",
            old_sparse(&[(0, 512), (8999, 512)], 9000, &data),
            Refused("goes past the end of its file"),
        ),
        (
            "sparse-old-overflow",
            old_sparse(
                &[(0, 512), (0x7fff_ffff_ffff_fff0, 512)],
                0x7fff_ffff_ffff_ffff,
                &data,
            ),
            Refused("goes past the end of its file"),
        ),
        (
            "sparse-old-8-eib",
            old_sparse(&[], 0x7fff_ffff_ffff_ffff, b""),
            Refused("/a"),
        ),
        (
            "sparse-old-short",
            old_sparse(&[(0, 512)], 9000, &data),
            Refused("another length than the data"),
        ),
        (
            "sparse-old-long",
            old_sparse(&[(0, 4096)], 9000, &data),
            Refused("another length than the data"),
        ),
        (
            "sparse-old-ragged",
            old_sparse(&[(0, 100), (512, 924)], 9000, &data),
            Refused("ends within a block"),
        ),
        (
            "sparse-old-negative",
            old_sparse(&[], u64::MAX, b""),
            Refused("the size with holes is not a number"),
        ),
        (
            "sparse-old-cut",
            new().file("b").raw(&sealed(continued)).0,
            Refused("the archive ends before the entry does"),
        ),
        (
            "sparse-1.0",
            new_sparse(b"9000", b"2\n512\n512\n4096\n512\n", &data),
            Holds(&["f644 a 9000 [512..1024, 4096..4608]"]),
        ),
        (
            "sparse-1.0-none",
            new_sparse(b"9000", b"0\n", b""),
            Holds(&["f644 a 9000 []"]),
        ),
        (
            "sparse-1.0-many",
            new_sparse(b"9000", b"99999999\n", b""),
            Refused("has more than 4194304 ranges"),
        ),
        (
            "sparse-1.0-eib",
            new_sparse(b"9000", b"18446744073709551615\n", b""),
            Refused("has more than 4194304 ranges"),
        ),
        (
            "sparse-1.0-words",
            new_sparse(b"9000", b"two\n", b""),
            Refused("is not the lines of numbers"),
        ),
        (
            "sparse-1.0-digits",
            new_sparse(b"9000", &[b'0'; 40], b""),
            Refused("is not the lines of numbers"),
        ),
        (
            "sparse-1.0-cut",
            new_sparse(b"9000", b"9\n1\n", b""),
            Refused("is not the lines of numbers"),
        ),
        (
            "sparse-1.0-no-map",
            new_sparse(b"9000", b"", b""),
            Refused("is not the lines of numbers"),
        ),
        (
            "sparse-1.0-overlap",
            new_sparse(b"9000", b"2\n512\n512\n513\n512\n", &data),
            Refused("overlap or are out of order"),
        ),
        (
            "sparse-1.0-small",
            new_sparse(b"5", b"1\n0\n1024\n", &data),
            Refused("goes past the end of its file"),
        ),
        (
            "sparse-1.0-no-size",
            middle(&[(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]),
            Refused("has no size of its file"),
        ),
        (
            "sparse-2.0",
            middle(&[(b"GNU.sparse.major", b"2"), (b"GNU.sparse.realsize", b"9")]),
            Refused("has an unknown form"),
        ),
        (
            "sparse-0.1",
            middle(&[
                (b"GNU.sparse.size", b"9000"),
                (b"GNU.sparse.map", b"0,512,1024,512"),
            ]),
            Holds(&["f644 a 9000 [0..512, 1024..1536]"]),
        ),
        (
            "sparse-0.1-odd",
            middle(&[
                (b"GNU.sparse.size", b"9000"),
                (b"GNU.sparse.map", b"0,512,1024"),
            ]),
            Refused("GNU.sparse.map has an invalid value"),
        ),
        (
            "sparse-0.1-negative",
            middle(&[
                (b"GNU.sparse.size", b"9000"),
                (b"GNU.sparse.map", b"0,-512"),
            ]),
            Refused("GNU.sparse.map has an invalid value"),
        ),
        (
            "sparse-0.0",
            middle(&[
                (b"GNU.sparse.size", b"9000"),
                (b"GNU.sparse.offset", b"512"),
                (b"GNU.sparse.numbytes", b"1024"),
            ]),
            Holds(&["f644 a 9000 [512..1536]"]),
        ),
        (
            "sparse-0.0-half",
            middle(&[
                (b"GNU.sparse.size", b"9000"),
                (b"GNU.sparse.offset", b"512"),
            ]),
            Refused("has an offset without a length"),
        ),
        (
            "sparse-0.0-reversed",
            middle(&[
                (b"GNU.sparse.size", b"9000"),
                (b"GNU.sparse.numbytes", b"512"),
            ]),
            Refused("GNU.sparse.numbytes has an invalid value"),
        ),
        (
            "sparse-0.0-offsets",
            middle(&[(b"GNU.sparse.offset", b"0"), (b"GNU.sparse.offset", b"512")]),
            Refused("GNU.sparse.offset has an invalid value"),
        ),
    ]
}

/// What is zeros but for `bytes` at one place.
fn spotted(at: usize, bytes: &[u8]) -> Vec<u8> {
    [&vec![0; at], bytes, &[0; 4096]].concat()
}

/// `bytes` as a program compresses them.
fn packed(program: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg("-c");
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it writes").expect("it reads");
    assert!(output.status.success(), "{program:?}");
    output.stdout
}

fn compressed() -> Vec<Case> {
    let archive = new().entry(b"a", b'0', &[b'd'; 100_000]).end();
    let cut = |program: &[&str]| {
        let mut bytes = packed(program, &archive);
        bytes.truncate(bytes.len() - 9);
        bytes
    };
    let flipped = |program: &[&str], from_end: usize| {
        let mut bytes = packed(program, &archive);
        let at = bytes.len() - from_end;
        bytes[at] ^= 0x55;
        bytes
    };
    let gzip = packed(&["gzip"], &archive);
    let zstd = packed(&["zstd", "-q"], &archive);
    let skippable = [&b"\x5f\x2a\x4d\x18\x03\0\0\0abc"[..], &zstd].concat();
    let bomb = new().entry(b"a", b'0', &vec![0; 64 << 20]).end();
    let behind = [archive.clone(), vec![0; 64 << 20]].concat();
    // A frame header with a window of 2^41 bytes.
    let window = b"\x28\xb5\x2f\xfd\x00\xf8\x01\x00\x00".to_vec();
    vec![
        (
            "gzip-cut",
            cut(&["gzip"]),
            Refused("gzip data is damaged: it is cut off"),
        ),
        (
            "gzip-flipped",
            flipped(&["gzip"], 7),
            Refused("gzip data is damaged"),
        ),
        (
            "gzip-and-more",
            [&gzip[..], b"more"].concat(),
            Holds(&[
                "f644 a 100000",
                "notice: hostile: ignored 4 bytes after its compressed data",
            ]),
        ),
        (
            "gzip-and-zeros",
            [&gzip[..], &[0; 5000]].concat(),
            Holds(&["f644 a 100000"]),
        ),
        (
            "gzip-and-half-a-member",
            [&gzip[..], &gzip[..gzip.len() / 2]].concat(),
            Refused("gzip data is damaged: it is cut off"),
        ),
        (
            "gzip-twice",
            packed(&["gzip"], &gzip),
            Refused("hostile is compressed with gzip, but holds a gzip stream, not a tar archive"),
        ),
        (
            "gzip-of-text",
            packed(&["gzip"], &b"text ".repeat(1000)),
            Refused("hostile is compressed with gzip, but what it holds is not a tar archive"),
        ),
        (
            "gzip-of-nothing",
            packed(&["gzip"], b""),
            Refused("hostile is compressed with gzip, but holds nothing, not a tar archive"),
        ),
        (
            "gzip-of-zeros",
            packed(&["gzip"], &[0; 10_240]),
            Holds(&["notice: hostile: the archive has no entries"]),
        ),
        (
            "gzip-of-zeros-and-text",
            packed(&["gzip"], &[&[0; 200_000], &b"text"[..]].concat()),
            Refused("hostile is compressed with gzip, but what it holds is not a tar archive"),
        ),
        (
            "gzip-of-a-filesystem",
            packed(&["gzip"], &spotted(0x1_0040, b"_BHRfS_M")),
            Refused("hostile is compressed with gzip, but holds a btrfs image, not a tar archive"),
        ),
        (
            "gzip-bomb",
            packed(&["gzip"], &bomb),
            Holds(&["f644 a 67108864"]),
        ),
        (
            "gzip-behind-the-end",
            packed(&["gzip"], &behind),
            Holds(&["f644 a 100000"]),
        ),
        (
            "zstd-cut",
            cut(&["zstd", "-q"]),
            Refused("zstd data is damaged"),
        ),
        (
            "zstd-flipped",
            flipped(&["zstd", "-q", "--check"], 2),
            Refused("zstd data is damaged: a frame's checksum is wrong"),
        ),
        ("zstd-skippable", skippable, Holds(&["f644 a 100000"])),
        (
            "zstd-skips-too-far",
            [&zstd[..], b"\x50\x2a\x4d\x18\xff\xff\xff\xff"].concat(),
            Refused("zstd data is damaged: it is cut off"),
        ),
        (
            "zstd-and-more",
            [&zstd[..], b"more"].concat(),
            Refused("unknown data follows a frame"),
        ),
        (
            "zstd-window",
            [window, vec![0; 600]].concat(),
            Refused("it needs 2097152 MiB of memory, more than 128 MiB"),
        ),
        ("xz-cut", cut(&["xz"]), Refused("xz data is damaged")),
        (
            "xz-flipped",
            flipped(&["xz"], 40),
            Refused("xz data is damaged"),
        ),
        (
            "zstd-and-zeros",
            [&zstd[..], &[0; 4]].concat(),
            Refused("unknown data follows a frame"),
        ),
        (
            "xz-and-four-zeros",
            [&packed(&["xz"], &archive)[..], &[0; 4]].concat(),
            Holds(&["f644 a 100000"]),
        ),
        (
            "xz-and-three-zeros",
            [&packed(&["xz"], &archive)[..], &[0; 3]].concat(),
            Refused("xz data is damaged"),
        ),
        (
            "bzip2-and-more",
            [&packed(&["bzip2"], &archive)[..], b"x"].concat(),
            Holds(&[
                "f644 a 100000",
                "notice: hostile: ignored 1 byte after its compressed data",
            ]),
        ),
        (
            "bzip2-and-zeros",
            [&packed(&["bzip2"], &archive)[..], &[0; 5000]].concat(),
            Holds(&["f644 a 100000"]),
        ),
        (
            "bzip2-and-damaged",
            [&packed(&["bzip2"], &archive)[..], b"BZh9damaged"].concat(),
            Refused("bzip2 data is damaged"),
        ),
        (
            "xz-and-more",
            [&packed(&["xz"], &archive)[..], b"more"].concat(),
            Refused("xz data is damaged"),
        ),
        (
            "bzip2-cut",
            cut(&["bzip2"]),
            Refused("bzip2 data is damaged"),
        ),
        (
            "bzip2-flipped",
            flipped(&["bzip2"], 12),
            Refused("bzip2 data is damaged"),
        ),
    ]
}

/// Every case that is compared as it stands.
fn cases() -> Vec<Case> {
    let lists = [
        names(),
        symlinks(),
        hard_links(),
        headers(),
        pax(),
        attributes(),
        sparse(),
        compressed(),
    ];
    lists.into_iter().flatten().collect()
}

/// The tree of an archive that comes through a pipe, and what the source says of it.
fn declare(bytes: &[u8], spool: &Path) -> Result<(Tree, Declared), SourceError> {
    let mut tree = Tree::with_root(Metadata::default());
    let reader = Cursor::new(bytes.to_vec());
    let mut source = Tar::from_reader(reader, "hostile").spool_in(spool);
    let declared = source.declare(&mut tree, NodeId::ROOT)?;
    tree.finish()?;
    Ok((tree, declared))
}

/// What the tree holds, a line for each name.
fn lines(tree: &Tree, declared: &Declared) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(root) = declared.root {
        lines.push(format!("root {:o}", root.permissions));
    }
    below(tree, NodeId::ROOT, "", &mut lines);
    for warning in &declared.warnings {
        lines.push(format!("notice: {warning}"));
    }
    lines
}

fn below(tree: &Tree, directory: NodeId, path: &str, lines: &mut Vec<String>) {
    for entry in tree.entries(directory) {
        let node = tree.node(entry.node);
        let path = format!("{path}{}", entry.name.escape_ascii());
        let (letter, more) = match &node.kind {
            Kind::Directory(_) => ('d', String::new()),
            Kind::File(content) => (
                'f',
                match content.data() {
                    mke4fs::tree::DataMap::Whole => format!(" {}", content.size_bytes()),
                    mke4fs::tree::DataMap::Ranges(ranges) => {
                        format!(" {} {ranges:?}", content.size_bytes())
                    }
                },
            ),
            Kind::Symlink(target) => ('l', format!(" -> {}", target.escape_ascii())),
            Kind::CharDevice(device) => ('c', format!(" {}:{}", device.major, device.minor)),
            Kind::BlockDevice(device) => ('b', format!(" {}:{}", device.major, device.minor)),
            Kind::Fifo => ('p', String::new()),
            Kind::Socket => ('s', String::new()),
        };
        let mut line = format!("{letter}{:o} {path}{more}", node.metadata.permissions);
        let metadata = node.metadata;
        let mut add = |text: String| line.push_str(&text);
        if node.names > 1 {
            add(format!(" x{}", node.names));
        }
        if metadata.uid != 0 {
            add(format!(" of {}", metadata.uid));
        }
        let time = metadata.mtime;
        if time.seconds != 0 {
            add(format!(" at {}", { time.seconds }));
        }
        if time.nanoseconds != 0 {
            add(format!(".{}", time.nanoseconds / 100_000_000));
        }
        for xattr in tree.xattrs(entry.node) {
            add(format!(" +{}", xattr.name.escape_ascii()));
            if !xattr.name.starts_with(b"system.") {
                add(format!("={}", xattr.value.escape_ascii()));
            }
        }
        lines.push(line);
        below(tree, entry.node, &format!("{path}/"), lines);
    }
}

/// Whether `found` is what a case says: line by line, or in number.
fn agrees(expected: &[&str], found: &[String]) -> bool {
    let count = |letter: char| found.iter().filter(|line| line.starts_with(letter)).count();
    let alike = |(expected, found): (&&str, &String)| match expected.strip_prefix("notice: ") {
        Some(text) => found.starts_with("notice: ") && found.contains(text),
        None => *expected == found,
    };
    match expected {
        [one] if one.ends_with(" directories") => *one == format!("{} directories", count('d')),
        [one] if one.ends_with(" symbolic links") => {
            *one == format!("{} symbolic links", count('l'))
        }
        _ => expected.len() == found.len() && expected.iter().zip(found).all(alike),
    }
}

/// Decides an image of the archive.
fn plan(bytes: &[u8], spool: &Path) -> Result<Plan, Box<dyn std::error::Error>> {
    let source = Tar::from_reader(Cursor::new(bytes.to_vec()), "hostile").spool_in(spool);
    let options = making::options("-b 4096 -O ^has_journal 128M")?;
    let builder = Builder::from_options(options)
        .environment(making::memory_host())
        .source(source);
    Ok(builder.plan()?)
}

/// Decides and writes an image, and passes it through e2fsck.
fn make(bytes: &[u8], spool: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let plan = plan(bytes, spool)?;
    let image = tempfile::Builder::new().tempfile_in("/dev/shm")?;
    image.as_file().set_len(plan.size_bytes())?;
    making::write(&plan, image.path())?;
    tools::e2fsck(image.path(), Which::System)
        .map_err(|error| format!("e2fsck finds fault: {error}"))?;
    Ok(())
}

#[test]
fn each_archive_has_one_meaning_or_is_refused() {
    if !ready(&[Need::E2fsprogs(Which::System)]) {
        return;
    }
    let spool = making::workplace().expect("a directory");
    let mut faults = String::new();
    let (mut taken, mut refused) = (0, 0);
    for (name, bytes, outcome) in cases() {
        let declared = declare(&bytes, spool.path());
        let made = match &declared {
            Ok(_) => make(&bytes, spool.path()).map_err(|error| format!("{error:#}")),
            Err(error) => Err(format!("{error:#}")),
        };
        match (outcome, made) {
            (Holds(expected), Ok(())) => {
                taken += 1;
                let (tree, declared) = declared.expect("it was made");
                let found = lines(&tree, &declared);
                if !agrees(expected, &found) {
                    writeln!(faults, "{name}: holds {found:#?}").expect("text");
                }
            }
            (Refused(text), Err(error)) => {
                refused += 1;
                if !error.contains(text) {
                    writeln!(faults, "{name}: refused by: {error}").expect("text");
                }
            }
            (Holds(_), Err(error)) => writeln!(faults, "{name}: refused: {error}").expect("text"),
            (Refused(_), Ok(())) => writeln!(faults, "{name}: taken").expect("text"),
        }
    }
    assert!(faults.is_empty(), "{faults}");
    tools::report(&format!(
        "hostile archives: {taken} taken, {refused} refused"
    ));
    let left = fs::read_dir(spool.path()).expect("a directory").count();
    assert_eq!(left, 0, "files are left");
}

#[test]
fn flipped_bytes_neither_panic_nor_make_an_image_unsound() {
    if !ready(&[Need::E2fsprogs(Which::System)]) {
        return;
    }
    let spool = making::workplace().expect("a directory");
    let archive = valid();
    let (mut taken, mut refused) = (0_u32, 0_u32);
    for at in 0..archive.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = archive.clone();
            bytes[at] ^= flip;
            // A header whose checksum is right is one that somebody meant.
            let block = at / BLOCK * BLOCK;
            if let Ok(header) = <[u8; BLOCK]>::try_from(&archive[block..block + BLOCK])
                && header == sealed(header)
                && at % 2 == 0
            {
                let flipped = <[u8; BLOCK]>::try_from(&bytes[block..block + BLOCK]);
                bytes[block..block + BLOCK].copy_from_slice(&sealed(flipped.expect("a block")));
            }
            let Ok(declared) = declare(&bytes, spool.path()) else {
                refused += 1;
                continue;
            };
            drop(declared);
            taken += 1;
            if taken % 150 == 0
                && let Err(error) = make(&bytes, spool.path())
            {
                let text = error.to_string();
                assert!(!text.contains("e2fsck"), "byte {at}, {flip:#x}: {text}");
            }
        }
    }
    tools::report(&format!(
        "flipped bytes: {taken} archives taken, {refused} refused"
    ));
    assert!(taken > 1000 && refused > 1000);
}

/// An archive with something of everything.
fn valid() -> Vec<u8> {
    let records: &[(&[u8], &[u8])] = &[
        (b"mtime", b"1.5"),
        (b"SCHILY.xattr.user.a", b"value"),
        (
            b"SCHILY.acl.access",
            b"user::rw-,user:7:r--,group::r--,mask::r--,other::---",
        ),
        (b"GNU.sparse.size", b"9000"),
        (b"GNU.sparse.map", b"0,512,4096,5"),
    ];
    new()
        .directory("d/")
        .entry(b"L", b'L', b"d/long-name\0")
        .entry(b"short", b'0', b"data")
        .pax(records)
        .entry(b"d/sparse", b'0', &[b's'; 517])
        .symlink("s", "d")
        .hard_link("s/h", "d/sparse")
        .entry(b"fifo", b'6', b"")
        .end()
}

#[test]
fn the_list_names_every_case() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/README.md"));
    let text = text.expect("the list can be read");
    let (_, section) = text
        .split_once("## Hostile archives")
        .expect("it has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let listed = section.split('`').skip(1).step_by(2);
    let listed: BTreeSet<&str> = listed.filter(|word| !word.contains('/')).collect();
    let cases = cases();
    let known: BTreeSet<&str> = cases.iter().map(|(name, ..)| *name).collect();
    assert_eq!(known.len(), cases.len(), "two cases have one name");
    assert!(known.len() > 200, "{}", known.len());
    assert_eq!(listed, known);
}

/// What only its first blocks tell is the same in a file, which is read where it is, as in a pipe.
#[test]
fn a_file_is_what_a_pipe_of_its_bytes_is() {
    let spool = making::workplace().expect("a directory");
    let path = spool.path().join("hostile");
    let zeros = [
        "zeros-",
        "lone-zeros",
        "only-zeros",
        "empty",
        "text",
        "gzip-",
    ];
    let cases = cases().into_iter();
    let cases = cases.filter(|(name, ..)| zeros.iter().any(|it| name.starts_with(it)));
    let mut count = 0;
    for (name, bytes, _) in cases.filter(|(name, ..)| *name != "gzip-bomb") {
        count += 1;
        fs::write(&path, &bytes).expect("a file");
        let mut tree = Tree::with_root(Metadata::default());
        let mut source = Tar::open(&path).spool_in(spool.path());
        let by_path = source
            .probe()
            .and_then(|()| source.declare(&mut tree, NodeId::ROOT));
        let by_path = by_path.and_then(|declared| Ok((tree.finish()?, declared)));
        let by_path = by_path.map(|((), declared)| lines(&tree, &declared));
        let by_pipe = declare(&bytes, spool.path());
        let by_pipe = by_pipe.map(|(tree, declared)| lines(&tree, &declared));
        let directory = format!("{}/", spool.path().display());
        let said = |result: Result<Vec<String>, SourceError>| match result {
            Ok(lines) => lines.join("\n").replace(&directory, ""),
            Err(error) => error.to_string().replace(&directory, ""),
        };
        assert_eq!(said(by_path), said(by_pipe), "{name}");
    }
    assert!(count > 15, "{count}");
}
