//! Given what is asked about, lays it out for a terminal; never for a manual.

use clap::builder::{StyledStr, Styles};

use super::command::described;
use super::topics::{self, Topic};

/// How wide lines are that clap does not lay out, in columns.
const COLUMNS: usize = 80;

/// The text of `-h`.
pub(in crate::cli) fn short() -> StyledStr {
    described()
        .after_help("Sizes are in KiB, or in blocks with -b; k, M, G, T or s (sectors) may follow.\nSee mke4fs --help for all options, defaults and examples.")
        .render_help()
}

/// The text of `--help`.
fn long() -> StyledStr {
    let topics = [
        topics::examples(),
        topics::statuses(),
        topics::environment(),
    ];
    let before = std::iter::once("").chain(std::iter::repeat("\n\n"));
    let after = topics.iter().zip(before);
    let after = after.map(|(topic, before)| laid_out(topic, before));
    let names = "Called mke2fs, mkfs.ext2, mkfs.ext3 or mkfs.ext4, it accepts mke2fs's options and prints its messages.\n";
    let after = format!("{}\n\n{}", after.collect::<String>(), wrapped(names, ""));
    described()
        .after_long_help(StyledStr::from(after))
        .render_long_help()
}

/// The text of `--help=NAME`.
pub(in crate::cli) fn topic(name: &str) -> StyledStr {
    let topic = match name {
        "extended" => topics::extended(),
        "features" => topics::features(),
        "compat" => topics::compat(),
        "usage-types" => topics::usage_types(),
        _ => return long(),
    };
    format!("{}\n", laid_out(&topic, "")).into()
}

/// A topic as it is shown, with line breaks `before` it. clap counts the columns of a line from a line break on that
/// lies in one piece with what follows it, so each break goes with the piece behind it.
fn laid_out(topic: &Topic, before: &str) -> String {
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut text = format!("{header}{before}{}:{header:#}", topic.title);
    if !topic.intro.is_empty() {
        text += &format!("\n{}", wrapped(topic.intro, "  "));
    }
    for entry in &topic.entries {
        let term = wrapped(&entry.term, "  ");
        let about = wrapped(&entry.about, "      ");
        text += &format!(
            "{literal}\n{}{literal:#}\n{}",
            term.trim_end(),
            about.trim_end()
        );
    }
    text
}

/// Lines of words, each after `indent`.
fn wrapped(words: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut column = COLUMNS;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column + 1 + length > COLUMNS {
            let end = if text.is_empty() { "" } else { "\n" };
            text += &format!("{end}{indent}{word}");
            column = indent.len() + length;
        } else {
            text += &format!(" {word}");
            column += 1 + length;
        }
    }
    text + "\n"
}
