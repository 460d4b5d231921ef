//! Given what shall be generated, gives the manual page or a shell's completions; never writes a file.

use std::io;

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::command::described;
use super::topics::{self, Topic};
use crate::cli::verbs;

/// What `--generate` takes, as text.
pub(in crate::cli) fn generate(what: &str) -> io::Result<String> {
    let text = match what {
        "complete-bash" => completions(Shell::Bash),
        "complete-zsh" => completions(Shell::Zsh),
        "complete-fish" => fish_completions()?,
        _ => page()?,
    };
    String::from_utf8(text).map_err(io::Error::other)
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut described(), "mke4fs", &mut text);
    text
}

/// Those for fish. What clap_complete writes finds no command, and completes file names, behind an option whose
/// value is not begun: fish's argparse refuses an option without one. An empty value helps it.
fn fish_completions() -> io::Result<Vec<u8>> {
    const PARSE: &str = "    argparse -s (__fish_mke4fs_global_optspecs) -- $cmd 2>/dev/null\n";
    const PARSE_WITH_VALUE: &str =
        "    or argparse -s (__fish_mke4fs_global_optspecs) -- $cmd '' 2>/dev/null\n";
    let text = String::from_utf8(completions(Shell::Fish)).map_err(io::Error::other)?;
    let parse = [PARSE, PARSE_WITH_VALUE].concat();
    Ok(text.replacen(PARSE, &parse, 1).into_bytes())
}

/// The manual page.
fn page() -> io::Result<Vec<u8>> {
    let man = Man::new(described())
        .title("MKE4FS")
        .manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    description().to_writer(&mut page)?;
    page.extend(b".SH OPTIONS\n");
    page.extend(subsections(&man)?);
    verbs_section(&mut page)?;
    let topics = [
        topics::extended(),
        topics::features(),
        topics::compat(),
        topics::usage_types(),
        topics::examples(),
        topics::statuses(),
        topics::environment(),
    ];
    for topic in &topics {
        section(topic).to_writer(&mut page)?;
    }
    let mut more = Roff::new();
    more.control("SH", ["SEE ALSO"])
        .text([
            bold("mke2fs"),
            roman("(8), "),
            bold("e2fsck"),
            roman("(8), "),
        ])
        .text([
            bold("ext4"),
            roman("(5), "),
            bold("mke2fs.conf"),
            roman("(5), "),
        ])
        .text([bold("mtree"), roman("(5)")]);
    more.to_writer(&mut page)?;
    Ok(page)
}

fn description() -> Roff {
    let paragraphs = [
        "mke4fs creates an ext2, ext3 or ext4 filesystem in a file or on a block device. With -d it fills the \
         filesystem from directories, tar archives, container images and ext4 images, without root and without \
         mounting it. Without a size, the filesystem gets the size that the content needs.",
        "The same options, sources, UUID, hash seed and clock give the same bytes, whatever the machine and the \
         number of threads.",
        "Called mke2fs, mkfs.ext2, mkfs.ext3 or mkfs.ext4, it accepts mke2fs's options and prints its messages.",
        "Sizes are in KiB, or in blocks with -b; the units k, M, G, T and s (sectors of 512 bytes) may follow the number.",
    ];
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    for paragraph in paragraphs {
        roff.control("PP", []).text([roman(paragraph)]);
    }
    roff
}

/// The options of a command, with their headings one level lower and without the one above them.
fn subsections(man: &Man) -> io::Result<Vec<u8>> {
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    let options = String::from_utf8(options).map_err(io::Error::other)?;
    let lines = options.lines().filter(|line| *line != ".SH OPTIONS");
    let lower = lines.map(|line| line.replacen(".SH ", ".SS ", 1) + "\n");
    Ok(lower.collect::<String>().into_bytes())
}

fn verbs_section(page: &mut Vec<u8>) -> io::Result<()> {
    let mut intro = Roff::new();
    intro.control("SH", ["VERBS"]).text([roman(
        "A verb is the first argument. A file of that name is written ./NAME. Each verb also takes --help.",
    )]);
    intro.to_writer(page)?;
    for verb in verbs::VERBS {
        let mut command = verbs::command(verb);
        let usage = command.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let mut heading = Roff::new();
        heading
            .control("SS", [usage.as_str()])
            .text([roman(verb.about)]);
        heading.to_writer(page)?;
        page.extend(subsections(&Man::new(command))?);
    }
    Ok(())
}

fn section(topic: &Topic) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [topic.title.to_uppercase().as_str()]);
    if !topic.intro.is_empty() {
        roff.text([roman(topic.intro)]);
    }
    for entry in &topic.entries {
        roff.control("TP", [])
            .text([bold(entry.term.as_str())])
            .text([roman(entry.about.as_str())]);
    }
    roff
}
