//! Given what is asked for and what the output holds, says which undo file is to be written, and opens
//! it; never writes to it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::request::Request;
use crate::options::{Settings, UndoRule};
use crate::sink::{Output, Undo, UndoError, UndoPlace};
use crate::sys;

/// The undo file that mke2fs writes before it makes `device` a filesystem of `settings`, and whether
/// an older one is in its place (`mke2fs_setup_tdb`).
pub(super) fn file(request: &Request, settings: &Settings, device: &Path) -> Option<Wanted> {
    let UndoRule {
        directory,
        automatic,
    } = &settings.undo;
    match &request.undo_file {
        Some(path) if !path.is_empty() => {
            return Some(Wanted {
                path: path.into(),
                replaces: false,
            });
        }
        Some(_) => {}
        None if *automatic && holds_ext(device) => {}
        None => return None,
    }
    let directory = directory.as_ref()?;
    let mut name = std::ffi::OsString::from("mke2fs-");
    name.push(device.file_name()?);
    name.push(".e2undo");
    sys::may_write(directory).then(|| Wanted {
        path: directory.join(name),
        replaces: true,
    })
}

/// An undo file to be written.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    /// Whether an older one is removed first.
    replaces: bool,
}

impl Wanted {
    /// Removes an older one, if that is its place.
    pub(super) fn make_room(&self) -> io::Result<()> {
        if !self.replaces {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Opens it for what will be written to `output`.
    pub(super) fn open(&self, output: &Output, settings: &Settings) -> Result<Undo, UndoError> {
        let place = UndoPlace {
            offset_bytes: settings.offset_bytes,
            block_bytes: settings.block_size.bytes(),
        };
        Undo::open(&self.path, output.file(), place)
    }
}

/// Whether `device` has the superblock of an ext filesystem where one that fills it has.
fn holds_ext(device: &Path) -> bool {
    let mut superblock = [0; 1024];
    let read = File::open(device).and_then(|mut device| {
        device.seek(SeekFrom::Start(1024))?;
        device.read_exact(&mut superblock)
    });
    read.is_ok() && superblock[56..58] == *b"\x53\xef"
}
