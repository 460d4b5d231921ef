//! Given an image and a size, makes the filesystem in it larger in place; never smaller, and never over
//! what may lie behind it.

use std::ops::Range;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use super::{Verb, VerbError, image, write_out};
use crate::cli::location::{Location, Start};
use crate::grow::{Bytes, GrowError, GrowErrorKind, Growth};
use crate::options::Size;
use crate::read::Filesystem;
use crate::sink::{IfBusy, Output};
use crate::source::Readable;

pub(super) const VERB: Verb = Verb {
    name: "grow",
    about: "Make the filesystem in an image larger in place",
    arguments,
    run,
    trouble: 1,
};

const SIZE: &str = "SIZE";

fn arguments(command: Command) -> Command {
    let size = Arg::new(SIZE).help(
        "New size such as 2G, or +2G for that much more; a number alone counts KiB [default: \
         that of the file, device or partition]",
    );
    image::arguments(command).arg(size)
}

fn run(matches: &ArgMatches) -> Result<ExitCode, VerbError> {
    let wish = matches.get_one::<String>(SIZE);
    let wish = wish.map(|text| Wish::parse(text)).transpose()?;
    let location = image::location(matches)?;
    let (file, range) = location
        .open_range()
        .map_err(|error| VerbError::Line(error.to_string()))?;
    image::refuse_foreign(&location, &file)?;
    let output = Output::open(&location.path, IfBusy::Refuse);
    let output = output.map_err(|error| VerbError::Line(error.to_string()))?;
    let grown = Image {
        name: Readable(location.path.as_os_str().as_encoded_bytes()).to_string(),
        location: &location,
        range,
    };
    write_out(&grown.grow(output, wish)?)?;
    Ok(ExitCode::SUCCESS)
}

/// How large a filesystem shall be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Whole(u64),
    More(u64),
}

impl Wish {
    fn parse(text: &str) -> Result<Self, VerbError> {
        let (kind, number): (fn(u64) -> Self, _) = match text.strip_prefix('+') {
            Some(number) => (Self::More, number),
            None => (Self::Whole, text),
        };
        let size = Size::parse(number).filter(|_| number.starts_with(|c: char| c.is_ascii_digit()));
        match size {
            Some(Size::Blocks(count)) => Ok(kind(Size::Kibibytes(count).bytes())),
            Some(size) => Ok(kind(size.bytes())),
            None => Err(VerbError::Line(format!(
                "invalid size '{text}': must be a number, optionally with the unit k, M, G, T or s, and + before it to add that much"
            ))),
        }
    }
}

/// An image whose filesystem grows.
struct Image<'a> {
    name: String,
    location: &'a Location,
    /// Its bytes, as far as the partition or the file reaches now.
    range: Range<u64>,
}

impl Image<'_> {
    /// Makes the filesystem larger, and says how large it is.
    fn grow(&self, mut output: Output, wish: Option<Wish>) -> Result<String, VerbError> {
        let Range { start, end } = self.range;
        let told =
            |error: &dyn std::fmt::Display| VerbError::Line(format!("{}: {error}", self.name));
        if output.is_new() {
            return Err(told(&"it was removed meanwhile"));
        }
        let filesystem = Filesystem::open_at(output.file(), start).map_err(|error| told(&error))?;
        let superblock = filesystem.superblock();
        let has = superblock.blocks_count() * superblock.block_size().bytes_u64();
        let room = end.saturating_sub(start);
        if wish.is_none() && room < has {
            let (has, room) = (Bytes(has), Bytes(room));
            return Err(told(&format_args!(
                "it was cut off: the filesystem has {has}, and {room} are left of it"
            )));
        }
        let size = match wish {
            Some(Wish::Whole(bytes)) => bytes,
            Some(Wish::More(bytes)) => has.saturating_add(bytes),
            None => end.saturating_sub(start),
        };
        let behind = has.saturating_add(superblock.block_size().bytes_u64());
        self.check_room(size, behind, output.file().is_block_device())?;
        let growth = Growth::new(&filesystem, size).map_err(|error| self.refusal(&error, size))?;
        drop(filesystem);
        if growth.is_nothing() {
            let size = Bytes(growth.size_bytes());
            return Ok(format!("{}: already has {size}\n", self.name));
        }
        output
            .make_room(&growth.range(start))
            .map_err(|error| told(&error))?;
        match growth.write(output.file(), start) {
            Ok(()) => output.keep(),
            Err(error) => {
                if error.kind() == GrowErrorKind::Unfinished {
                    output.keep();
                }
                return Err(VerbError::Line(error.to_string()));
            }
        }
        let superblock = growth.superblock();
        let groups = match superblock.groups_count() {
            1 => "1 group".to_owned(),
            many => format!("{many} groups"),
        };
        Ok(format!(
            "{}: grown from {} to {} ({} blocks in {groups})\n",
            self.name,
            Bytes(growth.old_size_bytes()),
            Bytes(growth.size_bytes()),
            superblock.blocks_count(),
        ))
    }

    /// Refuses a size that ends where something else may be: behind a device or a partition, and behind a
    /// filesystem that begins within a file and is not the last in it.
    fn check_room(&self, size: u64, behind: u64, is_device: bool) -> Result<(), VerbError> {
        let room = self.range.end.saturating_sub(self.range.start);
        let is_partition = matches!(self.location.start, Start::Partition(_));
        let what = if is_partition {
            "the partition"
        } else {
            "the device"
        };
        if size > room && (is_partition || is_device) {
            let (asked, room) = (Bytes(size), Bytes(room));
            let text = format!("{}: asked for {asked}, {what} has {room}", self.name);
            return Err(VerbError::Line(text));
        }
        let is_within = !is_partition && self.location.start != Start::Offset(0);
        if is_within && room >= behind {
            let text = format!(
                "{}: the filesystem is not the last in it, so what is behind it may be in use; name its \
                 partition as FILE#PARTITION, or {}",
                self.name,
                self.other_way(size)
            );
            return Err(VerbError::Line(text));
        }
        Ok(())
    }

    fn refusal(&self, error: &GrowError, size: u64) -> VerbError {
        let name = &self.name;
        VerbError::Line(match error.kind() {
            GrowErrorKind::Damaged | GrowErrorKind::Read => format!("{name}: {error}"),
            _ => format!("{name}: {error}; {}", self.other_way(size)),
        })
    }

    /// What always works.
    fn other_way(&self, size: u64) -> String {
        let name = match self.location.start {
            Start::Offset(0) => self.name.clone(),
            Start::Offset(bytes) => format!("ext4:{}@{bytes}", self.name),
            Start::Partition(number) => format!("ext4:{}#{number}", self.name),
        };
        let mut number = size / 1024;
        let mut unit = "k";
        for larger in ["M", "G", "T"] {
            if number > 0 && number.is_multiple_of(1024) {
                number /= 1024;
                unit = larger;
            } else {
                break;
            }
        }
        format!("use mke4fs -d {name} --size {number}{unit} NEW")
    }
}
