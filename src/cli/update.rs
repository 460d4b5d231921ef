//! Given an output that is to be updated, reads what it holds as the base, or says why it is made anew; never
//! writes to it.

use std::fs;
use std::path::Path;

use super::request::Request;
use crate::builder::{NO_FILE, base_of};
use crate::options::{Environment, TargetKind};
use crate::sink::{File, Format, Output};
use crate::sys;
use crate::{Base, Reflink};

/// Refuses what makes no sense together with an update, by the flags' names.
pub(super) fn refuse(request: &Request, output: &Path) -> Result<(), String> {
    if !request.update {
        return if request.checksum {
            Err("--checksum needs --update".to_owned())
        } else {
            Ok(())
        };
    }
    let others = [
        (request.base.is_some(), "--base: OUTPUT is the base"),
        (request.undo_file.is_some(), "-z"),
        (request.journal_device.is_some(), "-J device="),
        (request.options.is_super_only(), "-S"),
        (request.format() != Format::Raw, "--format"),
        (request.form.verity.is_some(), "--verity"),
        (request.form.bmap.is_some(), "--bmap"),
        (request.reflink == Reflink::Always, "--reflink always"),
        (request.is_stdout(output), "standard output as OUTPUT"),
    ];
    let other = others.into_iter().find(|(is_there, _)| *is_there);
    other.map_or(Ok(()), |(_, other)| {
        Err(format!("--update cannot be combined with {other}"))
    })
}

/// Where an output is looked at: open for writing, or where nothing is written, by its name.
pub(super) enum Held<'a> {
    Open(&'a Output),
    Named(&'a Path),
}

/// The filesystem at a byte of the output, or why there is none that can be updated.
pub(super) fn base(held: &Held<'_>, host: &Environment, offset_bytes: u64) -> Result<Base, String> {
    if host.target.kind == TargetKind::Missing {
        return Err(NO_FILE.to_owned());
    }
    match held {
        Held::Open(output) => base_of(output.file(), offset_bytes, host.real_clock),
        Held::Named(path) => {
            let file = fs::File::open(path).and_then(File::from_open);
            base_of(
                &file.map_err(|error| sys::reason(&error))?,
                offset_bytes,
                host.real_clock,
            )
        }
    }
}
