//! Given the library's files, holds how long a function is and how plain its parameters are; never
//! what it does. Tests count for neither.

use std::collections::BTreeMap;

use crate::{read, sources};

/// How many lines a function may have that are not blank, from `fn` to its closing brace.
const LINES: usize = 80;

/// The functions that are longer today. None may be added.
const LONG: [&str; 0] = [];

/// How many parameters of each file's functions are tuples taken apart in the signature, today.
const TUPLES: [(&str, usize); 1] = [("cli/mod.rs", 1)];

/// The lines of each function in `code`, with its name.
fn functions(code: &str) -> Vec<(String, Vec<&str>)> {
    let lines: Vec<&str> = code.lines().collect();
    let starts = lines.iter().enumerate().filter_map(|(at, line)| {
        let (before, rest) = line.split_once("fn ")?;
        let is_word = before.is_empty() || before.ends_with(' ');
        let is_item = before
            .split_whitespace()
            .all(|word| word.starts_with("pub") || ["const", "unsafe"].contains(&word));
        let name = crate::identifiers(rest).next()?;
        (is_word && is_item).then(|| (at, name.to_owned()))
    });
    let function = |(at, name): (usize, String)| {
        let from = &lines[at..];
        let first = from[0];
        let indent = &first[..first.len() - first.trim_start().len()];
        let is_last = |line: &str| {
            line.strip_prefix(indent).is_some_and(|line| {
                let declared = !line.starts_with([' ', '#']) && line.ends_with(';');
                let whole = line.contains("fn ") && line.ends_with('}');
                line == "}" || declared || whole
            })
        };
        let last = from.iter().position(|line| is_last(line));
        let lines = &from[..=last.expect("a function ends")];
        (name, lines.to_vec())
    };
    starts.map(function).collect()
}

/// What stands between the parentheses of a signature that begins at `fn`.
fn parameters(signature: &str) -> &str {
    let (mut angles, mut depth, mut start) = (0, 0, 0);
    let mut before = ' ';
    for (at, character) in signature.char_indices() {
        match character {
            '<' if depth == 0 => angles += 1,
            '>' if depth == 0 && before != '-' => angles -= 1,
            '(' if angles == 0 => {
                depth += 1;
                if depth == 1 {
                    start = at + 1;
                }
            }
            ')' if angles == 0 => {
                depth -= 1;
                if depth == 0 {
                    return &signature[start..at];
                }
            }
            _ => {}
        }
        before = character;
    }
    ""
}

/// How many of `parameters` have a tuple where their name should stand.
fn tuples(parameters: &str) -> usize {
    let mut depth = 0;
    let mut is_first = true;
    let mut count = 0;
    for character in parameters.chars() {
        match character {
            '(' | '[' | '<' => {
                count += usize::from(character == '(' && is_first);
                depth += 1;
                is_first = false;
            }
            ')' | ']' | '>' => depth -= 1,
            ',' if depth == 0 => is_first = true,
            '&' => {}
            _ if character.is_whitespace() => {}
            _ => is_first = false,
        }
    }
    count
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    let sources = sources().into_iter();
    // Files of tests alone.
    for source in sources.filter(|source| !source.path.ends_with("/tests.rs")) {
        let text = read(format!("src/{}", source.path));
        let end = text.find("\n#[cfg(test)]\nmod tests {");
        for (name, lines) in functions(&text[..end.unwrap_or(text.len())]) {
            let count = lines.iter().filter(|line| !line.trim().is_empty()).count();
            if count > LINES {
                long.push(format!("{}: {name}", source.path));
            }
        }
    }
    long.sort();
    assert_eq!(long, LONG, "functions of more than {LINES} lines, and LONG");
}

#[test]
fn parameters_have_names() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = String::new();
    for source in sources() {
        for (name, lines) in functions(source.shipped()) {
            let text = lines.join(" ");
            let (_, signature) = text.split_once("fn ").expect("a function says so");
            let count = tuples(parameters(signature));
            if count > 0 {
                found += &format!("{}: {name}\n", source.path);
                *counts.entry(source.path.clone()).or_default() += count;
            }
        }
    }
    let left = TUPLES
        .iter()
        .map(|(path, count)| (String::from(*path), *count));
    assert_eq!(
        counts,
        left.collect(),
        "tuples for parameters, and TUPLES\n{found}"
    );
}
