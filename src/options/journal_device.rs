//! Given a path, says which journal for other filesystems is there; never changes it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::{error, fmt};

use super::settings::JournalDevice;
use crate::sys;
use crate::units::BlockSize;

/// Why a path leads to no journal for other filesystems.
#[derive(Debug)]
pub struct JournalDeviceError {
    pub(super) path: PathBuf,
    pub(super) fault: JournalFault,
}

/// The kinds of [`JournalDeviceError`].
#[derive(Debug)]
pub(crate) enum JournalFault {
    /// It cannot be read.
    Io(io::Error),
    /// It has no superblock.
    BadMagic,
    /// It is no block device, and has no number to be found by.
    NotBlock,
    /// It has no journal, or one of another form.
    NoJournal,
}

impl JournalDeviceError {
    #[cfg_attr(
        not(feature = "cli"),
        expect(dead_code, reason = "what mke2fs's words need")
    )]
    pub(crate) fn fault(&self) -> &JournalFault {
        &self.fault
    }
}

impl fmt::Display for JournalDeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            JournalFault::Io(error) => {
                write!(
                    f,
                    "cannot read journal device {path}: {}",
                    sys::reason(error)
                )
            }
            JournalFault::BadMagic => {
                write!(
                    f,
                    "journal device {path} has no superblock; create it with -O journal_dev"
                )
            }
            JournalFault::NotBlock => {
                write!(f, "journal device {path} is not a block device")
            }
            JournalFault::NoJournal => {
                write!(
                    f,
                    "journal device {path} has no journal; create it with -O journal_dev"
                )
            }
        }
    }
}

impl error::Error for JournalDeviceError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.fault {
            // Its text is told already.
            JournalFault::Io(error) => error.source(),
            _ => None,
        }
    }
}

/// The journal at `path`.
pub(super) fn look_at(path: &Path) -> Result<JournalDevice, JournalDeviceError> {
    look(path).map_err(|fault| JournalDeviceError {
        path: path.to_owned(),
        fault,
    })
}

fn look(path: &Path) -> Result<JournalDevice, JournalFault> {
    let mut file = File::open(path).map_err(JournalFault::Io)?;
    let superblock = read(&mut file, 1024)?;
    if superblock[56..58] != *b"\x53\xef" {
        return Err(JournalFault::BadMagic);
    }
    let log = u32::from(superblock[24]);
    let bytes = 1024_u32.checked_shl(log).unwrap_or(0);
    let block_size = BlockSize::new(bytes).ok_or(JournalFault::BadMagic)?;
    // ext2fs_journal_sb_start: behind the block with the superblock.
    let place = block_size.bytes_u64().max(2048);
    let journal = read(&mut file, place)?;
    // A journal's magic number and its form (kernel doc `journal.rst`).
    if journal[..8] != *b"\xc0\x3b\x39\x98\0\0\0\x04" {
        return Err(JournalFault::NoJournal);
    }
    let metadata = file.metadata().map_err(JournalFault::Io)?;
    let number = sys::block_device_number(&metadata).ok_or(JournalFault::NotBlock)?;
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&journal[48..64]);
    Ok(JournalDevice {
        number: u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0),
        uuid,
        block_size,
    })
}

fn read(file: &mut File, offset: u64) -> Result<[u8; 1024], JournalFault> {
    let mut bytes = [0; 1024];
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => JournalFault::BadMagic,
            _ => JournalFault::Io(error),
        })?;
    Ok(bytes)
}
