//! Given a Markdown file of the repository, gives its prose, its links and the commands that it shows; never
//! runs or judges one.

use std::fs;
use std::path::{Path, PathBuf};

/// A recipe of a paper: the files that it shows, and the commands that it runs.
#[derive(Default)]
pub(crate) struct Recipe {
    pub(crate) files: Vec<(String, String)>,
    pub(crate) commands: Vec<String>,
}

pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The papers for users and contributors, by their paths from the top.
pub(crate) fn papers() -> Vec<PathBuf> {
    let names = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ];
    let mut papers: Vec<PathBuf> = names.map(PathBuf::from).to_vec();
    for entry in fs::read_dir(top().join("docs")).expect("docs can be listed") {
        let name = entry.expect("docs can be listed").file_name();
        let path = Path::new("docs").join(name);
        if path.extension().is_some_and(|extension| extension == "md") {
            papers.push(path);
        }
    }
    papers.sort();
    papers
}

pub(crate) fn text(paper: &Path) -> String {
    fs::read_to_string(top().join(paper))
        .unwrap_or_else(|error| panic!("{}: {error}", paper.display()))
}

/// What stands outside of code, on its lines: a line of code, and code in a line, is blank.
pub(crate) fn prose(text: &str) -> Vec<String> {
    let mut is_fenced = false;
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        let mut prose = String::new();
        if !is_fence && !is_fenced {
            for character in line.chars() {
                is_code ^= character == '`';
                prose.push(if is_code || character == '`' {
                    ' '
                } else {
                    character
                });
            }
        }
        is_fenced ^= is_fence;
        // Code in a line ends with its paragraph at the latest.
        is_code &= !line.is_empty();
        lines.push(prose);
    }
    lines
}

/// Where the links of a paper lead, as they are written.
pub(crate) fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        for rest in line.split("](").skip(1) {
            let (link, _) = rest.split_once(')').expect("a link ends");
            links.push(link.to_owned());
        }
    }
    links
}

/// The anchors that the headings of a paper make.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            other => other.is_alphanumeric().then_some(other),
        });
        kept.collect()
    };
    headings.map(anchor).collect()
}

/// The blocks of the kind `console`: what `cat` prints in one is what the file holds.
pub(crate) fn recipes(text: &str) -> Vec<Recipe> {
    let recipe = |block: &str| {
        let (block, _) = block.split_once("```").expect("a block ends");
        let mut recipe = Recipe::default();
        for line in block.lines() {
            match (line.strip_prefix("$ cat "), line.strip_prefix("$ ")) {
                (Some(file), _) => recipe.files.push((file.to_owned(), String::new())),
                (None, Some(command)) => recipe.commands.push(command.to_owned()),
                (None, None) if line.starts_with("    ") => {
                    let command = recipe.commands.last_mut().expect("a command goes on");
                    *command = format!("{}{}", command.trim_end_matches('\\'), line.trim_start());
                }
                (None, None) => {
                    let (_, text) = recipe.files.last_mut().expect("a file is shown");
                    *text += &format!("{line}\n");
                }
            }
        }
        recipe
    };
    text.split("```console\n").skip(1).map(recipe).collect()
}
