//! Given an image, writes a picture of who owns which of its blocks to standard output; never to a file.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::{Verb, VerbError, image, write_out};
use crate::cli::warn;
use crate::map::Map;

pub(super) const VERB: Verb = Verb {
    name: "map",
    about: "Draw the blocks of an image by owner, as SVG",
    arguments,
    run,
    trouble: 1,
};

fn arguments(command: Command) -> Command {
    image::arguments(command)
}

fn run(matches: &ArgMatches) -> Result<ExitCode, VerbError> {
    let (filesystem, name) = image::filesystem(matches)?;
    let map = Map::of(&filesystem);
    write_out(&map.svg())?;
    if let Some(damage) = map.damage() {
        let (places, first) = (damage.places(), damage.first());
        let noun = if places == 1 {
            "place is"
        } else {
            "places are"
        };
        warn(&format!(
            "mke4fs map: warning: {name}: {places} {noun} damaged and not in the picture (first: {first})\n"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
