//! Given the table of flags, gives the command that clap reads arguments by; never reads them.

use std::ffi::OsString;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint, value_parser};

use crate::cli::flags::{Flag, GROUPS, Shown, flags};
use crate::cli::verbs;

/// The names of what is no flag of mke2fs's.
pub(in crate::cli) const OUTPUT: &str = "OUTPUT";
pub(in crate::cli) const SIZE: &str = "SIZE";
pub(in crate::cli) const HELP: &str = "help";
pub(in crate::cli) const GENERATE: &str = "generate";

const ABOUT: &str = "Create an ext4 filesystem in a file or on a device, and fill it from directories, \
    tar archives, container images and ext4 images";

/// The command, as it is called without a verb.
pub(in crate::cli) fn command() -> Command {
    let operand = |name: &'static str| {
        Arg::new(name)
            .value_parser(value_parser!(OsString))
            .help_heading("Arguments")
    };
    let command = Command::new("mke4fs")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .override_usage("mke4fs [OPTIONS] OUTPUT [SIZE]\n       mke4fs VERB [OPTIONS] IMAGE...")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(operand(OUTPUT).help("File or block device to write; a missing file is created"))
        .arg(
            operand(SIZE)
                .help("Size of the filesystem, such as 64M, 8G or 2048s [default: by --size]"),
        );
    let command = GROUPS.iter().fold(command, |command, group| {
        let args = group
            .flags
            .iter()
            .map(|flag| arg(flag).help_heading(group.title));
        command.args(args)
    });
    command.args(about_itself())
}

/// The command with all that help says of it beside.
pub(super) fn described() -> Command {
    let command =
        flags()
            .filter(|flag| !flag.values.is_empty())
            .fold(command(), |command, flag| {
                let values = PossibleValuesParser::new(flag.values);
                command.mut_arg(flag.name(), |arg| arg.value_parser(values))
            });
    command
        .subcommands(verbs::VERBS.iter().map(verbs::command))
        .subcommand_value_name("VERB")
        .subcommand_help_heading(
            "Verbs, as the first argument (write a file of that name as ./NAME)",
        )
        .disable_help_subcommand(true)
}

/// The flags that ask for words about the command.
fn about_itself() -> [Arg; 3] {
    let heading = "Help";
    [
        Arg::new("h")
            .short('h')
            .action(ArgAction::HelpShort)
            .help("Print a summary of the options")
            .help_heading(heading),
        Arg::new(HELP)
            .long(HELP)
            .value_name("TOPIC")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("")
            .value_parser(
                ["", "extended", "features", "compat", "usage-types"]
                    .map(|topic| clap::builder::PossibleValue::new(topic).hide(topic.is_empty())),
            )
            .help("Print this help, or the values of -E, -O, --compat or -T")
            .help_heading(heading),
        Arg::new(GENERATE)
            .long(GENERATE)
            .value_name("WHAT")
            .value_parser(["man", "complete-bash", "complete-zsh", "complete-fish"])
            .hide_short_help(true)
            .help("Print the man page, or the completions for a shell")
            .long_help("Print the man page, or the completions for a shell")
            .help_heading(heading),
    ]
}

fn arg(flag: &'static Flag) -> Arg {
    let long_help = [flag.help, flag.more]
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .chain((!flag.example.is_empty()).then(|| format!("Example: {}", flag.example)))
        .collect::<Vec<_>>()
        .join("\n\n");
    let arg = Arg::new(flag.name())
        .help(flag.help)
        .long_help(long_help)
        .hide(flag.shown == Shown::Never)
        .hide_short_help(flag.shown != Shown::Always)
        .action(match flag.letter {
            // Twice, it forces more.
            Some('F') => ArgAction::Count,
            _ => ArgAction::SetTrue,
        });
    let arg = flag.letter.into_iter().fold(arg, Arg::short);
    let arg = flag.long.into_iter().fold(arg, Arg::long);
    let Some(value) = flag.value else {
        return arg;
    };
    let hint = if flag.takes_path {
        ValueHint::AnyPath
    } else {
        ValueHint::Other
    };
    // As with getopt, what follows is the value, even if it begins with a hyphen.
    let arg = if flag.is_optional {
        arg.require_equals(true)
            .num_args(0..=1)
            .default_missing_value("")
    } else {
        arg
    };
    arg.action(ArgAction::Append)
        .value_name(value)
        .value_parser(value_parser!(OsString))
        .value_hint(hint)
        .allow_hyphen_values(true)
}
