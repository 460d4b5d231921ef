//! Given ARCHITECTURE.md and README.md, holds what they say against the code; never against what
//! the code does.

mod circles;
mod functions;
mod surface;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The words that let the world in, and the only files, below src, that may say them: everything
/// else is a function of what it is given. The index of names has random keys and no order.
const WORLD: [(&str, &[&str]); 4] = [
    ("SystemTime", &["options/environment.rs", "sys/clock.rs"]),
    ("RandomState", &["options/environment.rs", "tree/names.rs"]),
    (
        "env::var",
        &["options/environment.rs", "cli/", "sys/unix.rs"],
    ),
    ("Instant", &["cli/"]),
];

/// What a row of the table allows a room.
#[derive(Default)]
struct Row {
    rooms: BTreeSet<String>,
    crates: BTreeSet<String>,
}

/// A source file of the library.
struct Source {
    /// Below src, such as `layout/tables.rs`.
    path: String,
    /// How many modules it lies below its room.
    depth: usize,
    /// Its lines, but for those that are comments.
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        let end = self.path.find(['/', '.']).unwrap_or(self.path.len());
        &self.path[..end]
    }

    /// Its code without the file's own tests, which may use what only tests depend on.
    fn shipped(&self) -> &str {
        let end = self.code.find("\n#[cfg(test)]\nmod tests {");
        &self.code[..end.unwrap_or(self.code.len())]
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = top().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of the library's rooms.
fn sources() -> Vec<Source> {
    let src = top().join("src");
    let mut sources = Vec::new();
    let mut directories = vec![src.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                sources.extend(source(&src, &path));
            }
        }
    }
    sources
}

fn source(src: &Path, path: &Path) -> Option<Source> {
    let below = path.strip_prefix(src).expect("it is in src");
    if [Path::new("lib.rs"), Path::new("main.rs")].contains(&below) {
        return None;
    }
    let is_top = below.file_name().is_some_and(|name| name == "mod.rs");
    let depth = below.components().count() - 1 - usize::from(is_top);
    let code = std::fs::read_to_string(path).expect("a source is text");
    let code = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    Some(Source {
        path: below.to_str().expect("our names are UTF-8").to_owned(),
        depth,
        code: code.map(|line| format!("{line}\n")).collect(),
    })
}

/// The table of rooms in ARCHITECTURE.md, by room.
fn table() -> BTreeMap<String, Row> {
    let text = read("ARCHITECTURE.md");
    let mut rows = BTreeMap::new();
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("| room |"));
    for line in lines.skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, rooms, may_use, crates, _] = cells[..] else {
            panic!("a row has a room, the rooms it may use, and crates: {line}");
        };
        for room in quoted(rooms) {
            let row = Row {
                rooms: quoted(may_use),
                crates: quoted(crates),
            };
            assert!(rows.insert(room, row).is_none(), "{line}: stands twice");
        }
    }
    rows
}

/// What stands between backticks.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The names that lib.rs hands on, with the room that each comes from.
fn reexports() -> BTreeMap<String, String> {
    let text = read("src/lib.rs");
    let mut rooms = BTreeMap::new();
    for (_, rest) in behind(&text, "pub use ") {
        let (path, _) = rest.split_once(';').expect("a statement ends");
        let (room, names) = path.split_once("::").expect("it names a room");
        for name in identifiers(names) {
            rooms.insert(name.to_owned(), room.to_owned());
        }
    }
    rooms
}

/// Every place in `text` where a path begins with `word`, with what stands before and behind it.
fn behind<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).filter_map(move |(at, _)| {
        let before = &text[..at];
        // A path may begin with two colons of its own.
        let outside = before.strip_suffix("::").unwrap_or(before);
        let within = before.ends_with(in_name) || outside.ends_with(in_name);
        (!within).then_some((before, &text[at + word.len()..]))
    })
}

fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// The first names of the paths that follow `crate::`: of one path or of a braced list.
fn first_names(rest: &str) -> Vec<&str> {
    let Some(list) = rest.strip_prefix('{') else {
        return identifiers(rest).take(1).collect();
    };
    let mut depth = 1;
    let mut names = Vec::new();
    let mut start = 0;
    for (at, character) in list.char_indices() {
        if depth == 1 && matches!(character, ',' | '}') {
            names.extend(identifiers(&list[start..at]).next());
            start = at + 1;
        }
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// The rooms that `source` uses, by `crate::`.
fn rooms_used(source: &Source, reexports: &BTreeMap<String, String>) -> BTreeSet<String> {
    let paths = behind(&source.code, "crate::");
    let names = paths.flat_map(|(_, rest)| first_names(rest));
    let rooms = names.map(|name| reexports.get(name).map_or(name, String::as_str));
    let others = rooms.filter(|room| *room != source.room());
    others.map(str::to_owned).collect()
}

/// The library's dependencies, as code names them.
fn dependencies() -> BTreeSet<String> {
    let manifest = read("Cargo.toml");
    let mut names = BTreeSet::new();
    let mut counts = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            counts = line.ends_with("dependencies]") && !line.contains("dev-");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| counts) {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    names
}

#[test]
fn rooms_use_what_the_table_says_and_no_more() {
    let (table, reexports) = (table(), reexports());
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut faults = Vec::new();
    for source in sources() {
        let Some(row) = table.get(source.room()) else {
            faults.push(format!("{} is in no room of the table", source.path));
            continue;
        };
        for room in rooms_used(&source, &reexports) {
            if room == "units" {
                continue;
            }
            if !row.rooms.contains(&room) {
                faults.push(format!("{} may not use {room}", source.path));
            }
            used.entry(source.room().to_owned())
                .or_default()
                .insert(room);
        }
    }
    for (room, row) in &table {
        let used = used.get(room).cloned().unwrap_or_default();
        let unused = row.rooms.difference(&used);
        faults.extend(unused.map(|other| format!("{room} may use {other} and does not")));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_path_climbs_out_of_its_room_by_super() {
    for source in sources() {
        for (before, rest) in behind(&source.code, "super::") {
            let line = before.rsplit('\n').next().unwrap_or_default();
            // What is indented may be in a module of the file's own.
            let own = usize::from(line.starts_with(' '));
            let mut climbs = 1;
            let mut rest = rest;
            while let Some(further) = rest.strip_prefix("super::") {
                climbs += 1;
                rest = further;
            }
            let depth = source.depth + own;
            assert!(climbs <= depth, "{}: {line}super::{rest:.40}", source.path);
        }
    }
}

#[test]
fn crates_stay_in_the_rooms_that_the_table_says() {
    let table = table();
    let allowed: BTreeSet<&String> = table.values().flat_map(|row| &row.crates).collect();
    let dependencies = dependencies();
    for name in &allowed {
        assert!(dependencies.contains(*name), "{name} is no dependency");
    }
    for (room, row) in &table {
        let in_room: Vec<Source> = sources()
            .into_iter()
            .filter(|source| source.room() == room)
            .collect();
        for name in &dependencies {
            let path = format!("{name}::");
            let user = in_room
                .iter()
                .find(|source| behind(source.shipped(), &path).next().is_some());
            match (user, row.crates.contains(name)) {
                (Some(source), false) => panic!("{} may not use {name}", source.path),
                (None, true) => panic!("{room} may use {name} and does not"),
                _ => {}
            }
        }
    }
}

#[test]
fn the_world_is_let_in_at_one_place() {
    for source in sources() {
        for (word, files) in WORLD {
            let says = source.code.contains(word);
            let may = files.iter().any(|file| source.path.starts_with(file));
            assert!(may || !says, "{} says {word}", source.path);
        }
    }
}

#[test]
fn every_file_says_what_it_is_given_and_gives() {
    let files = sources().into_iter().map(|source| source.path);
    for path in files.chain(["lib.rs".to_owned()]) {
        let text = read(PathBuf::from("src").join(&path));
        assert!(text.starts_with("//! "), "{path} opens without a word");
    }
}

/// The first block of code in `text` between a fence of `kind` and the next.
fn fenced<'a>(text: &'a str, kind: &str) -> &'a str {
    let (_, rest) = text
        .split_once(&format!("```{kind}\n"))
        .unwrap_or_else(|| panic!("there is a block of {kind}"));
    let (block, _) = rest.split_once("```").expect("a block ends");
    block
}

#[test]
fn the_papers_show_the_example_and_the_picture_of_the_front_page() {
    let front = read("src/lib.rs");
    let front = front.lines().map_while(|line| line.strip_prefix("//!"));
    let shown = front.filter(|line| !line.starts_with(" #  "));
    let front: String = shown
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    for (kind, paper) in [("text", "docs/library.md"), ("rust", "README.md")] {
        assert_eq!(fenced(&front, kind), fenced(&read(paper), kind));
    }
}

#[test]
fn the_ci_runs_the_second_command_of_the_readme() {
    let readme = read("README.md");
    let commands: Vec<&str> = fenced(&readme, "sh").lines().collect();
    let ci = read(".ci/run");
    let runs = |command: &&str| ci.lines().any(|line| line == *command);
    assert!(commands.get(1).is_some_and(runs), "{commands:?}");
}

/// `autotests` is off, so a file that nobody names would be compiled by nobody.
#[test]
fn every_file_of_tests_is_a_program_or_a_module_of_one() {
    let programs = read("Cargo.toml");
    let modules = read("tests/suite.rs");
    for entry in std::fs::read_dir(top().join("tests")).expect("tests can be listed") {
        let path = entry.expect("tests can be listed").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let is_code = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").is_file();
        let is_named = programs.contains(&format!("[[test]]\nname = \"{name}\"\n"))
            || modules.contains(&format!("\nmod {name};\n"));
        assert!(!is_code || is_named, "{name} is in no test program");
    }
}
