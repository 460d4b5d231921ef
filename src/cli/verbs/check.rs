//! Given an image, says what is wrong in it; never writes to it.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Verb, VerbError, image, write_out};
use crate::check::{CheckOptions, check_with};
use crate::cli::check::{Form, status, told};

pub(super) const VERB: Verb = Verb {
    name: "check",
    about: "Check an image; the exit status is 4 if it has errors",
    arguments,
    run,
    trouble: 1,
};

const JSON: &str = "json";
const QUIET: &str = "quiet";

fn arguments(command: Command) -> Command {
    let json = Arg::new(JSON)
        .long(JSON)
        .action(ArgAction::SetTrue)
        .help("One JSON object with all findings");
    let quiet = Arg::new(QUIET)
        .short('q')
        .action(ArgAction::SetTrue)
        .help("Say nothing; the status tells");
    image::arguments(command).arg(json).arg(quiet)
}

fn run(matches: &ArgMatches) -> Result<ExitCode, VerbError> {
    let image::Opened {
        path,
        file,
        offset_bytes,
    } = image::open(matches)?;
    let options = CheckOptions {
        offset_bytes,
        ..CheckOptions::default()
    };
    let report = check_with(&file, &options);
    let form = Form::asked(matches.get_flag(JSON), matches.get_flag(QUIET));
    write_out(&told(path.as_os_str(), &report, form))?;
    Ok(status(&report))
}
