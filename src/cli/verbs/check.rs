//! Given an image, says what is wrong in it; never writes to it.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Verb, VerbError, image, write_out};
use crate::check::{CheckOptions, check_with};
use crate::cli::check::{Form, status, told};
use crate::cli::flags::compat_target;
use crate::cli::suited::Suited;
use crate::read::feature_bits;

pub(super) const VERB: Verb = Verb {
    name: "check",
    about: "Check an image; the exit status is 4 if it has errors",
    arguments,
    run,
    trouble: 1,
};

const JSON: &str = "json";
const COMPAT: &str = "compat";
const QUIET: &str = "quiet";

fn arguments(command: Command) -> Command {
    let json = Arg::new(JSON)
        .long(JSON)
        .action(ArgAction::SetTrue)
        .help("Print one JSON object with all findings");
    let quiet = Arg::new(QUIET)
        .short('q')
        .action(ArgAction::SetTrue)
        .help("Print nothing; only the exit status tells the result");
    let compat = Arg::new(COMPAT)
        .long(COMPAT)
        .value_name("NAME[,NAME]")
        .action(ArgAction::Append)
        .help("Print for each feature whether these kernels, boot loaders and tools support it, instead of checking");
    image::arguments(command).arg(json).arg(quiet).arg(compat)
}

fn run(matches: &ArgMatches) -> Result<ExitCode, VerbError> {
    let image::Opened {
        path,
        file,
        offset_bytes,
    } = image::open(matches)?;
    let form = Form::asked(matches.get_flag(JSON), matches.get_flag(QUIET));
    if let Some(names) = matches.get_many::<String>(COMPAT) {
        let names = names.flat_map(|names| names.split(','));
        let targets = names.map(compat_target).collect::<Result<Vec<_>, _>>();
        let targets = targets.map_err(VerbError::Line)?;
        let bits = feature_bits(&file, offset_bytes);
        let bits = bits.map_err(|error| VerbError::Line(error.to_string()))?;
        let suited = Suited::of(&bits, &targets);
        write_out(&suited.told(path.as_os_str(), form))?;
        return Ok(suited.status());
    }
    let options = CheckOptions {
        offset_bytes,
        ..CheckOptions::default()
    };
    let report = check_with(&file, &options);
    write_out(&told(path.as_os_str(), &report, form))?;
    Ok(status(&report))
}
