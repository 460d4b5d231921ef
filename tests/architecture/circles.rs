//! Given the library's files, gives the circles among the files of a room; never one that runs
//! through a file and those below it.
//!
//! A file uses another if a path in it leads there: a declaration `use`, or `super::`, `self::`,
//! `crate::` or a module's name in front of `::`. A name that is handed on counts for the file that
//! defines it. What a file takes from the module that it lies below (from `mod.rs` or `room.rs`)
//! does not count: a module and what it is made of are one thing. Only what its files ask of
//! each other is a choice.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Source, sources};

/// The files that may be in a circle, a circle a row: none.
const LEFT: [&[&str]; 0] = [];

/// A module, by the names that lead to it from the crate's top: `["layout", "tables"]`.
type Module = Vec<String>;

/// A path, by its names, and the name that it is known by afterwards.
struct Path {
    names: Vec<String>,
    known_as: String,
}

/// What a file says of others.
struct File {
    path: String,
    uses: Vec<Path>,
    /// Paths outside declarations.
    inline: Vec<Vec<String>>,
}

fn module_of(path: &str) -> Module {
    let path = path.strip_suffix(".rs").expect("it is a source");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

fn names(path: &str) -> Vec<String> {
    let names = path.split("::").map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The parts of `list` between the commas that stand in no braces of their own.
fn parts(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// The paths that a declaration `use` has, behind `prefix`.
fn tree(declared: &str, prefix: &[String]) -> Vec<Path> {
    let declared = declared.trim();
    if let Some((head, list)) = declared.split_once('{') {
        let list = list.strip_suffix('}').expect("a list ends");
        let prefix = [prefix, &names(head)].concat();
        let within = parts(list).into_iter();
        return within.flat_map(|part| tree(part, &prefix)).collect();
    }
    let (path, alias) = match declared.split_once(" as ") {
        Some((path, alias)) => (path, Some(alias.trim().to_owned())),
        None => (declared, None),
    };
    let mut names = [prefix, &names(path)].concat();
    names.pop_if(|name| name == "self");
    let known_as = alias.or_else(|| names.last().cloned());
    let path = known_as.map(|known_as| Path { names, known_as });
    path.into_iter().collect()
}

fn file(source: &Source) -> File {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut lines = source.shipped().lines();
    while let Some(line) = lines.next() {
        let Some((_, declared)) = line.split_once("use ").filter(|(before, _)| {
            let before = before.trim();
            before.is_empty() || before.starts_with("pub") && !before.contains(' ')
        }) else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut declared = declared.to_owned();
        while !declared.ends_with(';') {
            declared.push_str(lines.next().expect("a declaration ends"));
        }
        uses.extend(tree(declared.trim_end_matches(';'), &[]));
    }
    let words = rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let inline = words.filter(|word| word.contains("::")).map(names);
    File {
        path: source.path.clone(),
        uses,
        inline: inline.filter(|names| !names.is_empty()).collect(),
    }
}

/// The library's files, by module.
struct Files(BTreeMap<Module, File>);

impl Files {
    fn new() -> Self {
        let files = sources().into_iter().filter(|source| {
            // Tests in a file of their own are no part of the room's structure.
            !source.path.ends_with("/tests.rs")
        });
        Files(
            files
                .map(|source| (module_of(&source.path), file(&source)))
                .collect(),
        )
    }

    /// The module whose file defines what `path` names in the file of `from`.
    ///
    /// A name is followed where it is handed on, `hops` times: two modules may each name what
    /// the other hands on.
    fn resolve(&self, from: &Module, path: &[String], hops: usize) -> Option<Module> {
        let mut path = path;
        let mut at = from.clone();
        match path.first()?.as_str() {
            "crate" => (at, path) = (Vec::new(), &path[1..]),
            "self" => path = &path[1..],
            "super" => {
                while let Some(("super", rest)) = path
                    .split_first()
                    .map(|(first, rest)| (first.as_str(), rest))
                {
                    at.pop();
                    path = rest;
                }
            }
            first => {
                at.push(first.to_owned());
                path = &path[1..];
                self.0.get(&at)?;
            }
        }
        while let Some((first, rest)) = path.split_first() {
            at.push(first.clone());
            if !self.0.contains_key(&at) {
                at.pop();
                break;
            }
            path = rest;
        }
        let handed_on = path.first().and_then(|name| {
            let file = self.0.get(&at)?;
            let used = file.uses.iter().find(|used| used.known_as == *name)?;
            let path = [&used.names, &path[1..]].concat();
            self.resolve(&at, &path, hops.checked_sub(1)?)
        });
        handed_on.or_else(|| self.0.contains_key(&at).then_some(at))
    }

    /// The files of the same room that each file uses, with the paths that lead there.
    fn arrows(&self) -> BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> {
        let mut arrows: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
        for (module, file) in &self.0 {
            let declared = file.uses.iter().map(|used| &used.names);
            for path in declared.chain(&file.inline) {
                let used = self.resolve(module, path, 8).filter(|used| {
                    let is_above = module.starts_with(used);
                    used[0] == module[0] && !is_above
                });
                if let Some(used) = used {
                    let to = arrows.entry(file.path.as_str()).or_default();
                    let by = to.entry(self.0[&used].path.as_str()).or_default();
                    by.insert(path.join("::"));
                }
            }
        }
        arrows
    }
}

/// The files that a path of `arrows` leads to from `start`.
fn reached<'a, T>(
    arrows: &BTreeMap<&'a str, BTreeMap<&'a str, T>>,
    start: &'a str,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![start];
    while let Some(file) = waiting.pop() {
        let next = arrows.get(file).into_iter().flat_map(BTreeMap::keys);
        waiting.extend(next.filter(|file| reached.insert(**file)));
    }
    reached
}

#[test]
fn no_circle_of_files_inside_a_room() {
    let files = Files::new();
    let arrows = files.arrows();
    let all: BTreeMap<&str, BTreeSet<&str>> = arrows
        .keys()
        .map(|file| (*file, reached(&arrows, file)))
        .collect();
    let circles: BTreeSet<BTreeSet<&str>> = all
        .iter()
        .filter(|(file, reached)| reached.contains(*file))
        .map(|(file, reached)| {
            let back = reached.iter().filter(|other| {
                let from_there = all.get(*other);
                from_there.is_some_and(|reached| reached.contains(file))
            });
            back.copied().collect()
        })
        .collect();
    let left: BTreeSet<BTreeSet<&str>> = LEFT
        .iter()
        .map(|circle| circle.iter().copied().collect())
        .collect();
    let mut new = String::new();
    for circle in circles.difference(&left) {
        for file in circle {
            let within = arrows[file].iter().filter(|(to, _)| circle.contains(*to));
            for (to, names) in within {
                new += &format!("{file} -> {to}: {names:?}\n");
            }
        }
    }
    assert_eq!(
        circles, left,
        "circles, and those that LEFT says are left\n{new}"
    );
}
