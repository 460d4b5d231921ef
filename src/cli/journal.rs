//! Given the name of a device with a journal, finds and opens it; never writes to it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::make;
use super::messages;
use super::request::Request;
use super::{Failed, tell, warn};
use crate::options::{Environment, JournalDeviceError, JournalFault, parse_uuid};
use crate::sink::{self, OpenError, Output};
use crate::sys;

/// The device that `name` stands for: a path, or LABEL= or UUID= of a journal. `None` where no
/// block device has that.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let unquoted = |value: &str| value.trim_matches(['"', '\'']).to_owned();
    let wanted = match name.split_once('=') {
        Some(("LABEL", label)) => Tag::Label(unquoted(label).into_bytes()),
        Some(("UUID", uuid)) => Tag::Uuid(parse_uuid(&unquoted(uuid))?),
        _ => return Some(PathBuf::from(name)),
    };
    // The kernel's list: two lines of heading, then numbers, blocks and a name.
    let list = fs::read_to_string("/proc/partitions").ok()?;
    let names = list.lines().skip(2);
    let paths = names.filter_map(|line| line.split_whitespace().nth(3));
    let mut paths = paths.map(|name| Path::new("/dev").join(name));
    paths.find(|path| journal_has(path, &wanted))
}

/// What a journal is found by.
enum Tag {
    Label(Vec<u8>),
    Uuid([u8; 16]),
}

/// Whether `path` is a journal's device of that label or UUID (kernel doc `super.rst`).
fn journal_has(path: &Path, wanted: &Tag) -> bool {
    let mut superblock = [0; 256];
    let read = File::open(path).and_then(|mut device| {
        device.seek(SeekFrom::Start(1024))?;
        device.read_exact(&mut superblock)
    });
    let is_journal = superblock[56..58] == *b"\x53\xef" && superblock[96] & 0x8 != 0;
    read.is_ok()
        && is_journal
        && match wanted {
            Tag::Uuid(uuid) => superblock[104..120] == *uuid,
            Tag::Label(label) => {
                superblock[120..136].split(|byte| *byte == 0).next() == Some(label)
            }
        }
}

/// Looks at the journal that is asked for, if one is, in mke2fs's words.
pub(super) fn look_at(
    request: &Request,
    program: &str,
    host: &mut Environment,
) -> Result<(), Failed> {
    let Some(path) = &request.journal_device else {
        return Ok(());
    };
    let shown = path.display().to_string();
    let error = match host.probe_journal(path) {
        Ok(_) => {
            let journal = host.journal_device.as_ref();
            let bytes = journal.map_or(0, |journal| journal.block_size.bytes());
            if !request.has_block_size && request.block_size.is_none_or(|least| least <= bytes) {
                tell(&messages::using_journal_block_size(bytes));
            }
            return Ok(());
        }
        Err(error) => error,
    };
    if matches!(error.fault(), JournalFault::NotBlock) {
        tell(&messages::not_a_block_device(&shown));
    }
    warn(&format!("{program}: {}\n", text(&error, &shown)));
    Err(Failed)
}

fn text(error: &JournalDeviceError, shown: &str) -> String {
    match error.fault() {
        JournalFault::Io(error) => messages::cannot_open_journal(&sys::reason(error), shown),
        JournalFault::BadMagic => {
            messages::cannot_open_journal("Bad magic number in super-block", shown)
        }
        JournalFault::NotBlock => {
            messages::cannot_add_journal("Supplied journal device not a block device", shown)
        }
        JournalFault::NoJournal => {
            messages::cannot_add_journal("Journal superblock not found", shown)
        }
    }
}

/// Opens the journal that is asked for, if one is.
pub(super) fn open(request: &Request) -> Result<Option<Output>, OpenError> {
    let path = request.journal_device.as_ref();
    path.map(|path| make::open(request, path)).transpose()
}

/// The same, in mke2fs's words.
pub(super) fn open_in_words(request: &Request, program: &str) -> Result<Option<Output>, Failed> {
    let shown = request.journal_device.clone().unwrap_or_default();
    let shown = shown.display().to_string();
    open(request).map_err(|error| {
        warn(&match error.kind() {
            sink::OpenErrorKind::Mounted => messages::journal_in_use(&shown, true),
            sink::OpenErrorKind::InUse => messages::journal_in_use(&shown, false),
            _ => format!("{program}: {error}\n"),
        });
        Failed
    })
}
