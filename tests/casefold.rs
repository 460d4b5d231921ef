//! Given trees with directories that find names whatever their case, proves that e2fsck finds their
//! hash trees in order and that names they cannot hold are refused; never by mounting, since few
//! kernels take the feature.
//!
//! Images are written over bytes of 0xD1 that nothing discards.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::making;
use common::tools::{self, Need, Result, Which, ready};
use mke4fs::raw::layout::LayoutWarning;
use mke4fs::source::{Declared, Source, SourceError};
use mke4fs::tree::{Flags, Metadata, NodeId, Special, Tree, TreeError};
use mke4fs::{Builder, Fit, Plan, Warning};

const NEEDS: &[Need] = &[
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

/// `EXT4_CASEFOLD_FL`.
const CASEFOLD: u32 = 0x4000_0000;
/// `EXT4_INDEX_FL`.
const INDEX: u32 = 0x1000;

/// A directory of empty files below the root.
#[derive(Clone)]
struct Folder {
    name: &'static str,
    flags: u32,
    files: Vec<Vec<u8>>,
}

impl Folder {
    fn folding(name: &'static str, files: Vec<Vec<u8>>) -> Self {
        Self {
            name,
            flags: CASEFOLD,
            files,
        }
    }
}

/// Folders, all of whose files are names of one node in each.
struct Folders(Vec<Folder>);

impl Folders {
    fn fill(&self, tree: &mut Tree, at: NodeId) -> std::result::Result<(), TreeError> {
        let metadata = Metadata::default().with_permissions(0o755);
        let flags = |flags| metadata.with_flags(Flags::of(flags));
        for folder in &self.0 {
            let name = folder.name.as_bytes();
            let directory = tree.directory_at(at, name, flags(folder.flags))?;
            for names in folder.files.chunks(60_000) {
                let (first, rest) = names.split_first().expect("a chunk is not empty");
                let node = tree.special_at(directory, first, flags(0), Special::Fifo)?;
                for name in rest {
                    tree.link_at(directory, name, node)?;
                }
            }
        }
        Ok(())
    }
}

impl Source for Folders {
    fn declare(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
    ) -> std::result::Result<Declared, SourceError> {
        self.fill(tree, at).expect("names are ext4's");
        Ok(Declared::default())
    }
}

fn plan(words: &str, folders: &[Folder]) -> Result<Plan> {
    let builder = Builder::from_options(making::options(words)?).environment(making::memory_host());
    let builder = builder.source(Folders(folders.to_vec()));
    Ok(builder.fit(Fit::Auto).plan()?)
}

/// What refuses the plan.
fn refusal(words: &str, folders: &[Folder]) -> String {
    plan(words, folders).expect_err("it is refused").to_string()
}

fn write(plan: &Plan, image: &Path) -> Result<()> {
    making::fill_with_junk(image, plan.size_bytes())?;
    making::write(plan, image)
}

/// Makes an image of `folders`, proves it sound, and gives each folder's `i_flags` as debugfs says.
fn prove(words: &str, folders: &[Folder]) -> Result<Vec<u32>> {
    let place = making::workplace()?;
    let image = place.path().join("image");
    write(&plan(&format!("-E nodiscard {words}"), folders)?, &image)?;
    for which in Which::ALL {
        tools::e2fsck(&image, which)?;
    }
    folders
        .iter()
        .map(|folder| {
            let said = tools::debugfs(&image, &[format!("stat /{}", folder.name)])?;
            let (_, rest) = said.split_once("Flags: 0x").ok_or("debugfs says flags")?;
            let digits = rest.split_whitespace().next().ok_or("flags are a number")?;
            Ok(u32::from_str_radix(digits, 16)?)
        })
        .collect()
}

/// 3,000 numbers and code points from `first` to `last`, far from one another.
fn code_points(first: u32, last: u32) -> impl Iterator<Item = (u32, char)> {
    let code = move |number| first + number * 7919 % (last - first + 1);
    (0..3000).filter_map(move |number| Some((number, char::from_u32(code(number))?)))
}

/// The first of each set of names that fold alike.
fn distinct(names: impl IntoIterator<Item = String>) -> Vec<Vec<u8>> {
    let mut seen = BTreeSet::new();
    names
        .into_iter()
        .filter(|name| seen.insert(mke4fs::raw::ondisk::casefold::fold(name.as_bytes())))
        .map(String::into_bytes)
        .collect()
}

/// Folders of thousands of names each, of many scripts.
fn scripts() -> Vec<Folder> {
    let of = |first, last, make: &dyn Fn(u32, char) -> String| {
        distinct(code_points(first, last).map(|(number, character)| make(number, character)))
    };
    let marks = |number: usize, order: [usize; 3]| {
        let marks = ['\u{301}', '\u{323}', '\u{31b}'];
        let marks: String = order.map(|at| marks[at]).iter().collect();
        format!("{number}O{marks}")
    };
    let marked =
        (0..3000).map(|number| marks(number, [[0, 1, 2], [2, 1, 0], [1, 0, 2]][number % 3]));
    vec![
        Folder::folding("ascii", of(0x41, 0x5a, &|n, c| format!("FILE-{c}{n}.Txt"))),
        Folder::folding("latin", of(0xc0, 0x24f, &|n, c| format!("{c}{n}{c}"))),
        Folder::folding("greek", of(0x391, 0x3c9, &|n, c| format!("ΌΔΟΣ{c}{n}ς"))),
        Folder::folding("german", of(0x41, 0x5a, &|n, c| format!("Straße{n}{c}ẞ"))),
        Folder::folding("turkish", of(0x41, 0x5a, &|n, c| format!("İIıi{c}{n}"))),
        Folder::folding("hangul", of(0xac00, 0xd7a3, &|n, c| format!("{c}{n}각"))),
        Folder::folding("marks", distinct(marked)),
        Folder::folding(
            "ignored",
            of(0x61, 0x7a, &|n, c| format!("a\u{ad}{n}\u{200d}{c}")),
        ),
        Folder::folding(
            "ligatures",
            of(0xfb00, 0xfb06, &|n, c| format!("{c}{n}ŉǰΐ")),
        ),
        Folder::folding("anything", of(0xa0, 0x1_0ffff, &|n, c| format!("{c}{n}"))),
        Folder::folding(
            "planes",
            of(0x1_0400, 0x1_e943, &|n, c| format!("{n}{c}{c}")),
        ),
    ]
}

#[test]
fn directories_of_many_scripts_are_in_order_to_e2fsck() {
    if !ready(NEEDS) {
        return;
    }
    let folders = scripts();
    let names: usize = folders.iter().map(|folder| folder.files.len()).sum();
    assert!(names > 30_000, "there are {names}");
    for words in [
        "-O casefold",
        "-O casefold -E encoding_flags=strict",
        "-O casefold -b 1024",
        "-O casefold,^metadata_csum,inline_data -b 2048",
        "-O casefold,^extent,^64bit -I 128",
    ] {
        let flags = prove(words, &folders).unwrap_or_else(|error| panic!("{words}: {error}"));
        for (folder, flags) in folders.iter().zip(flags) {
            let both = CASEFOLD | INDEX;
            assert_eq!(flags & both, both, "{words}: {}", folder.name);
        }
    }
}

/// e2fsck is a judge of the order: without the flag, the same tree's hashes are wrong to it.
#[test]
fn e2fsck_tells_an_order_by_names_that_are_not_folded() {
    if !ready(NEEDS) {
        return;
    }
    for which in Which::ALL {
        let place = making::workplace().unwrap();
        let image = place.path().join("image");
        let mut folder = scripts().swap_remove(0);
        folder.flags = 0;
        let words = "-E nodiscard -O casefold,^metadata_csum";
        let plan = plan(words, &[folder]).unwrap();
        write(&plan, &image).unwrap();
        tools::e2fsck(&image, which).expect("it is sound as it is");
        flag_by_hand(&image, "/ascii").unwrap();
        let fault = tools::e2fsck(&image, which).expect_err("the order is wrong now");
        let fault = fault.to_string();
        assert!(fault.contains("hash"), "{fault}");
    }
}

/// Sets EXT4_CASEFOLD_FL of the directory `path`, where inodes have no checksums.
fn flag_by_hand(image: &Path, path: &str) -> Result<()> {
    let said = tools::debugfs(image, &[format!("imap {path}")])?;
    let (_, rest) = said.split_once("located at block ").ok_or("a place")?;
    let (block, rest) = rest.split_once(", offset 0x").ok_or("an offset")?;
    let offset = rest.split_whitespace().next().ok_or("an offset")?;
    let at = block.parse::<u64>()? * 4096 + u64::from_str_radix(offset, 16)? + 0x20;
    let file = OpenOptions::new().read(true).write(true).open(image)?;
    let mut flags = [0; 4];
    file.read_exact_at(&mut flags, at)?;
    let flags = u32::from_le_bytes(flags) | CASEFOLD;
    Ok(file.write_all_at(&flags.to_le_bytes(), at)?)
}

/// Names without a folded form, `count` of them.
fn opaque(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let ends: [&[u8]; 4] = [b"\xff", b"A\xc3", b"\xed\xa0\x80", b"\xf5B"];
    (0..count).map(move |number| {
        let end = ends[number % ends.len()];
        [format!("Name{number}").as_bytes(), end].concat()
    })
}

#[test]
fn names_that_are_not_utf8_lie_amid_the_others() {
    if !ready(NEEDS) {
        return;
    }
    let mut names: Vec<Vec<u8>> = opaque(3000).collect();
    for number in 0..3000 {
        names.push([&b"\x80"[..], format!("Stray{number}").as_bytes()].concat());
        names.push([format!("Valid{number}").as_bytes(), b"\xb4"].concat());
        names.push(format!("Plain{number}").into_bytes());
    }
    let folders = [Folder::folding("bytes", names)];
    for words in ["-O casefold", "-O casefold -b 1024"] {
        let flags = prove(words, &folders).unwrap_or_else(|error| panic!("{words}: {error}"));
        assert_eq!(flags[0] & (CASEFOLD | INDEX), CASEFOLD | INDEX, "{words}");
    }
}

#[test]
fn names_that_are_not_utf8_alone_make_a_linear_directory() {
    if !ready(NEEDS) {
        return;
    }
    let folders = [Folder::folding("bytes", opaque(3000).collect())];
    let flags = prove("-O casefold", &folders).unwrap();
    assert_eq!(flags[0] & (CASEFOLD | INDEX), CASEFOLD);
}

#[test]
fn names_that_fold_alike_are_refused_by_name() {
    for (first, second, said) in [
        ("A", "a", r#"/d: "A" and "a" are the same name"#),
        ("STRASSE", "straße", r#""STRASSE" and "stra\xc3\x9fe""#),
        ("o\u{301}\u{323}", "Ọ\u{301}", "are the same name"),
        ("a", "a\u{ad}", "are the same name"),
        ("\u{ad}", "\u{200d}", "are the same name"),
        ("각", "\u{1100}\u{1161}\u{11a8}", "are the same name"),
        ("ς", "Σ", "are the same name"),
        ("a\u{b4}", "A\u{b4}", "are the same name"),
    ] {
        let files = [first, second].map(|name| name.as_bytes().to_vec());
        let mut folder = Folder::folding("d", files.to_vec());
        for words in ["-O casefold", "-O casefold,inline_data"] {
            let refusal = refusal(words, &[folder.clone()]);
            assert!(refusal.contains(said), "{refusal}");
        }
        folder.flags = 0;
        plan("-O casefold", &[folder]).expect("another directory holds both");
    }
}

#[test]
fn a_strict_encoding_refuses_names_that_are_not_utf8() {
    let strict = "-O casefold -E encoding_flags=strict";
    for name in [&b"a\xff"[..], b"\x80", b"a\xb4", b"\xed\xa0\x80"] {
        let mut folder = Folder::folding("d", vec![name.to_vec()]);
        let refusal = refusal(strict, &[folder.clone()]);
        let said = format!("the name \"{}\" is not UTF-8", name.escape_ascii());
        assert!(refusal.contains(&said), "{refusal}");
        plan("-O casefold", &[folder.clone()]).expect("a lenient encoding has it");
        folder.flags = 0;
        plan(strict, &[folder]).expect("another directory has it");
    }
}

#[test]
fn without_the_feature_directories_lose_the_flag_with_a_notice() {
    if !ready(NEEDS) {
        return;
    }
    let files = ["A", "a"].map(|name| name.as_bytes().to_vec());
    let folders = [Folder::folding("d", files.to_vec())];
    assert_eq!(prove("", &folders).unwrap()[0] & CASEFOLD, 0);
    let plan = plan("", &folders).unwrap();
    let dropped = LayoutWarning::CasefoldDropped {
        nodes: 1,
        first: b"/d".to_vec(),
    };
    assert!(plan.warnings().contains(&Warning::Layout(dropped)));
}

#[test]
fn the_flag_is_of_its_directory_alone() {
    if !ready(NEEDS) {
        return;
    }
    let mut plain = scripts().swap_remove(1);
    let folding = plain.clone();
    plain.name = "plain";
    plain.flags = 0;
    let flags = prove("-O casefold", &[folding, plain]).unwrap();
    let flags: Vec<u32> = flags
        .iter()
        .map(|flags| flags & (CASEFOLD | INDEX))
        .collect();
    assert_eq!(flags, [CASEFOLD | INDEX, INDEX]);
}
