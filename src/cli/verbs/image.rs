//! Given the arguments of a verb, opens the image that they name; never writes to it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::VerbError;
use crate::cli::location::{Location, Start};
use crate::options::number;
use crate::read::{Filesystem, ImageFile, ReadAt as _};
use crate::source::Readable;
use crate::source::magic::{self, Ext, Partitions};

const IMAGE: &str = "IMAGE";
const EXTENDED: &str = "extended";

/// Adds the image and where the filesystem begins in it.
pub(super) fn arguments(command: Command) -> Command {
    let image = Arg::new(IMAGE)
        .required(true)
        .value_parser(value_parser!(OsString))
        .help("The image: FILE, FILE@OFFSET (bytes, or with k, M or G) or FILE#PARTITION");
    let extended = Arg::new(EXTENDED)
        .short('E')
        .value_name("offset=BYTES")
        .action(ArgAction::Append)
        .help("Byte offset of the filesystem in the image");
    command.arg(extended).arg(image)
}

/// An image that is there.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) file: ImageFile,
    /// Where the filesystem begins in it.
    pub(super) offset_bytes: u64,
}

/// Opens the image that the arguments name.
pub(super) fn open(matches: &ArgMatches) -> Result<Opened, VerbError> {
    let location = location(matches)?;
    let opened = location.open();
    let (file, offset_bytes) = opened.map_err(|error| VerbError::Line(error.to_string()))?;
    refuse_foreign(&location, &file)?;
    Ok(Opened {
        path: location.path,
        file,
        offset_bytes,
    })
}

/// Refuses a whole file or device that is known to hold something else, by what it is: that its superblock's
/// magic number is wrong would be true, and help nobody.
pub(super) fn refuse_foreign(location: &Location, file: &ImageFile) -> Result<(), VerbError> {
    if location.start != Start::Offset(0) {
        return Ok(());
    }
    let length = usize::try_from(file.size_bytes()).unwrap_or(magic::BYTES);
    let mut head = vec![0; length.min(magic::BYTES)];
    if file.read_exact_at(0, &mut head).is_err() || Ext::of(&head).is_some() {
        return Ok(());
    }
    let Some(what) = magic::held(&head) else {
        return Ok(());
    };
    let name = Readable(location.path.as_os_str().as_encoded_bytes());
    let mend = if magic::is_disk(&head) {
        "; convert it to a raw image first".to_owned()
    } else if Partitions::of(&head).is_some() {
        format!("; name a partition, such as {name}#1")
    } else {
        String::new()
    };
    let text = format!("{name} holds {what} and no ext2, ext3 or ext4 filesystem{mend}");
    Err(VerbError::Line(text))
}

/// Opens the filesystem in the image that the arguments name, and says what the image is called.
pub(super) fn filesystem(matches: &ArgMatches) -> Result<(Filesystem<'static>, String), VerbError> {
    let Opened {
        path,
        file,
        offset_bytes,
    } = open(matches)?;
    let name = Readable(path.as_os_str().as_encoded_bytes()).to_string();
    match Filesystem::open_at(file, offset_bytes) {
        Ok(filesystem) => Ok((filesystem, name)),
        Err(error) => Err(VerbError::Line(format!("{name}: {error}"))),
    }
}

/// Where the image that the arguments name is.
pub(super) fn location(matches: &ArgMatches) -> Result<Location, VerbError> {
    let text = matches.get_one::<OsString>(IMAGE);
    let text = text.map(OsString::as_os_str).unwrap_or_default();
    let mut location = Location::of(text, &|path| path.exists());
    let words = matches.get_many::<String>(EXTENDED).unwrap_or_default();
    for word in words.flat_map(|words| words.split(',')) {
        let Some(bytes) = word.strip_prefix("offset=").and_then(number) else {
            let text = format!("invalid -E '{word}': expected offset=BYTES");
            return Err(VerbError::Line(text));
        };
        if location.start != Start::Offset(0) {
            let text = "the offset is given twice: with -E and with the image's name";
            return Err(VerbError::Line(text.to_owned()));
        }
        location.start = Start::Offset(bytes);
    }
    Ok(location)
}
