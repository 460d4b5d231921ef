//! Given an output and the bytes of it that an image is to take, lets them be overwritten, asks a person, or
//! refuses; never writes.
//!
//! | what the bytes hold | regular file | device |
//! |---|---|---|
//! | nothing but zeros | replaced | replaced |
//! | a filesystem of the ext family | replaced | asked, or refused |
//! | the same in a virtual disk of the format that is asked for | replaced | |
//! | what a killed run of ours left | replaced | asked, or refused |
//! | anything else | asked, or refused | asked, or refused |
//!
//! With `--update`, a device is as a file here. It is asked at a terminal, and refused elsewhere; with `-F` nothing is looked at. `-S` is for what holds
//! data without a superblock.

use std::io::{self, IsTerminal};
use std::ops::Range;
use std::path::Path;

use super::existing::{self, Held};
use super::make::MakeError;
use super::request::Request;
use super::warn;
use crate::sink::Output;
use crate::source::Readable;

/// Whether an image may take `bytes` of `output`.
pub(super) fn allow(
    request: &Request,
    path: &Path,
    output: &Output,
    bytes: Range<u64>,
) -> Result<(), MakeError> {
    if request.force > 0 || output.is_new() {
        return Ok(());
    }
    let file = output.file();
    let rescues = request.options.is_super_only();
    let what = match existing::held(file, bytes, request.format())? {
        Held::Nothing => return Ok(()),
        // Whoever updates it wants what it holds replaced, and so what an update left that was killed.
        Held::Ext(..) | Held::Unfinished if !file.is_block_device() || request.update => {
            return Ok(());
        }
        Held::Unfinished => existing::UNFINISHED_IMAGE.to_owned(),
        Held::Ext(kind, label) if label.is_empty() => format!("an {kind} filesystem"),
        Held::Ext(kind, label) => {
            let label = Readable(label.as_bytes());
            format!("an {kind} filesystem labelled '{label}'")
        }
        Held::Foreign(what) if rescues && what == existing::UNKNOWN => return Ok(()),
        Held::Foreign(what) => what,
    };
    let path = Readable(path.as_os_str().as_encoded_bytes());
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        warn(&format!("{path} holds {what}. Overwrite it? (y/N) "));
        return match super::answer() {
            yes if yes.starts_with(['y', 'Y']) => Ok(()),
            _ => Err(MakeError::Declined),
        };
    }
    Err(MakeError::Held(format!(
        "{path} holds {what}; use -F to overwrite it"
    )))
}
