//! Given an image and a path in it, lists what is there; never file data.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Verb, VerbError, image};
use crate::export::ExportError;
use crate::export::list::{Depth, Listed, Utc, list};
use crate::json::Object;
use crate::read::{FileType, Filesystem};
use crate::source::Readable;

pub(super) const VERB: Verb = Verb {
    name: "ls",
    about: "List the files in an image",
    arguments,
    run,
    trouble: 1,
};

const PATH: &str = "PATH";
const LONG: &str = "long";
const RECURSIVE: &str = "recursive";
const JSON: &str = "json";

fn arguments(command: Command) -> Command {
    let flag = |letter, name, help| {
        let flag = Arg::new(name).action(ArgAction::SetTrue).help(help);
        match letter {
            Some(letter) => flag.short(letter),
            None => flag.long(name),
        }
    };
    let long = "Print mode, links, owner, group, size or device, and mtime in UTC";
    let recursive = "List subdirectories too, each file by its path";
    let json = "Print one JSON object per line for each file, with all its metadata";
    let path = Arg::new(PATH)
        .value_parser(value_parser!(OsString))
        .help("Directory or file to list [default: /]");
    image::arguments(command)
        .arg(path)
        .arg(flag(Some('l'), LONG, long))
        .arg(flag(Some('R'), RECURSIVE, recursive))
        .arg(flag(None, JSON, json))
}

fn run(matches: &ArgMatches) -> Result<ExitCode, VerbError> {
    let (filesystem, name) = image::filesystem(matches)?;
    let path = matches.get_one::<OsString>(PATH);
    let path = path.map_or(&b"/"[..], |path| path.as_encoded_bytes());
    let depth = if matches.get_flag(RECURSIVE) {
        Depth::All
    } else {
        Depth::Entries
    };
    let form = Form {
        is_long: matches.get_flag(LONG),
        is_json: matches.get_flag(JSON),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut each = |listed: &Listed| {
        let line = form.line(&filesystem, listed)?;
        out.write_all(line.as_bytes())
    };
    list(&filesystem, path, depth, &mut each).map_err(|error| match error {
        ExportError::Write(error) => VerbError::unwritten(error),
        error => VerbError::Line(format!("{name}: {error}")),
    })?;
    out.flush().map_err(VerbError::unwritten)?;
    Ok(ExitCode::SUCCESS)
}

/// How a file is listed.
struct Form {
    is_long: bool,
    is_json: bool,
}

impl Form {
    fn line(&self, filesystem: &Filesystem<'_>, listed: &Listed) -> io::Result<String> {
        if self.is_json {
            return json(filesystem, listed);
        }
        let path = Readable(&listed.path);
        Ok(match (&listed.target, self.is_long) {
            (_, false) => format!("{path}\n"),
            (None, true) => format!("{listed} {path}\n"),
            (Some(target), true) => format!("{listed} {path} -> {}\n", Readable(target)),
        })
    }
}

/// All that is known of a file but its data.
fn json(filesystem: &Filesystem<'_>, listed: &Listed) -> io::Result<String> {
    let inode = &listed.inode;
    let mut object = Object::new();
    object
        .bytes("path", &listed.path)
        .number("inode", inode.ino().get().into())
        .text("type", type_name(inode.file_type()))
        .text("mode", &format!("{:04o}", inode.permissions()))
        .number("links", inode.links().into())
        .number("uid", inode.uid().into())
        .number("gid", inode.gid().into())
        .number("size", inode.size())
        .number("allocated_bytes", inode.allocated_bytes())
        .text("atime", &Utc(inode.atime()).to_string())
        .text("mtime", &Utc(inode.mtime()).to_string())
        .text("ctime", &Utc(inode.ctime()).to_string());
    if let Some(crtime) = inode.crtime() {
        object.text("crtime", &Utc(crtime).to_string());
    }
    object
        .text("flags", &format!("{:#x}", inode.flags()))
        .number("generation", inode.generation().into())
        .number("project", inode.project_id().into());
    if let Some(device) = inode.device() {
        object
            .number("major", device.major.into())
            .number("minor", device.minor.into());
    }
    if let Some(target) = &listed.target {
        object.bytes("target", target);
    }
    let xattrs = filesystem.xattrs_of(inode)?;
    let xattrs = xattrs.iter().map(|xattr| {
        let mut object = Object::new();
        object
            .bytes("name", &xattr.name)
            .bytes("value", &xattr.value);
        object
    });
    object.objects("xattrs", xattrs);
    Ok(object.finish())
}

fn type_name(file_type: Option<FileType>) -> &'static str {
    match file_type {
        Some(FileType::Regular) => "file",
        Some(FileType::Directory) => "directory",
        Some(FileType::Symlink) => "symlink",
        Some(FileType::CharDevice) => "char_device",
        Some(FileType::BlockDevice) => "block_device",
        Some(FileType::Fifo) => "fifo",
        Some(FileType::Socket) => "socket",
        None => "unknown",
    }
}
