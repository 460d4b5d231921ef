//! Given an image and a path in it, writes the file's data to standard output; never what is no regular
//! file.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{Verb, VerbError, image};

pub(super) const VERB: Verb = Verb {
    name: "cat",
    about: "Write a file of an image to standard output",
    arguments,
    run,
    trouble: 1,
};

const PATH: &str = "PATH";
/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;

fn arguments(command: Command) -> Command {
    let path = Arg::new(PATH)
        .required(true)
        .value_parser(value_parser!(OsString))
        .help("File to write; symbolic links are followed within the image");
    image::arguments(command).arg(path)
}

fn run(matches: &ArgMatches) -> Result<ExitCode, VerbError> {
    let (filesystem, name) = image::filesystem(matches)?;
    let path = matches.get_one::<OsString>(PATH);
    let path = path.map(|path| path.as_encoded_bytes()).unwrap_or_default();
    let told = |error| VerbError::Line(format!("{name}: {error}"));
    let file = filesystem.open_file(path).map_err(told)?;
    let mut out = io::stdout().lock();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        let count = file.read_at(offset, &mut buffer).map_err(told)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        out.write_all(bytes).map_err(VerbError::unwritten)?;
        offset += u64::try_from(count).unwrap_or(u64::MAX);
    }
    out.flush().map_err(VerbError::unwritten)?;
    Ok(ExitCode::SUCCESS)
}
