//! Given the process and the output's path, gives what they say about the world; never a setting.
//!
//! This is the one place where the clock, randomness and the environment are read. Everything
//! after is a pure function of [`Environment`], so that a test or a reproducible build states one.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use super::journal_device::{self, JournalDeviceError};
use super::settings::JournalDevice;
use super::size;
use crate::sys;
pub use crate::sys::{Device, TargetKind};
use crate::units::Timestamp;

/// The page size of a reproducible image, in bytes: the smallest that Linux has.
const PAGE_BYTES: u32 = 4096;

/// What the world is like where a filesystem is made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Environment {
    /// The time that the new filesystem bears, in seconds since 1970.
    pub clock: i64,
    /// Whether the clock was stated, rather than read.
    pub is_clock_stated: bool,
    /// Times of the source later than this are set to it, in seconds since 1970.
    pub latest_time: Option<i64>,
    /// The time since 1970 by the real clock, for UUIDs made of the time and for multiple mount
    /// protection.
    pub real_clock: Duration,
    /// Random bytes for a UUID that is not given.
    pub random_uuid: [u8; 16],
    /// Random bytes for a hash seed that is not given.
    pub random_hash_seed: [u8; 16],
    /// The page size in bytes: a whole number of pages is used of an output that has its size.
    pub page_size: u32,
    /// The name of the machine, as multiple mount protection notes it.
    pub name: Vec<u8>,
    /// The user and group that run the program.
    pub user: (u32, u32),
    /// The configuration file, if the environment names one that can be found.
    pub conf: Option<Conf>,
    /// The output's logical sector size in bytes, whatever [`Target`] says.
    pub sector_size: Option<u32>,
    /// The output's physical sector size in bytes, whatever [`Target`] says.
    pub physical_sector_size: Option<u32>,
    /// How many blocks of descriptors lie together at the front although meta_bg spreads them:
    /// 0 by default.
    pub first_meta_bg: Option<u32>,
    /// Where undo files are kept that are made without being asked for; "none" and "" are nowhere.
    pub undo_directory: Option<PathBuf>,
    /// The device that is to have the journal, if it is not the filesystem.
    pub journal_device: Option<JournalDevice>,
    /// The output as it is before.
    pub target: Target,
}

/// A configuration file in the form of mke2fs.conf(5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conf {
    /// Its path, for messages.
    pub name: String,
    /// Its text, or why it cannot be read.
    pub text: Result<Vec<u8>, String>,
}

/// The output as it is before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// Its path; mke2fs.conf may have rules for it.
    pub path: PathBuf,
    /// What it is.
    pub kind: TargetKind,
}

impl Environment {
    /// Reads the clock, randomness and the environment.
    ///
    /// `SOURCE_DATE_EPOCH`, or else `E2FSPROGS_FAKE_TIME` unless it is 0, replaces the clock; only
    /// the first also limits the times of the source, as in mke2fs. `MKE2FS_CONFIG` names a
    /// configuration file; one that is missing or may not be read counts as none.
    /// `MKE2FS_DEVICE_SECTSIZE` and `MKE2FS_DEVICE_PHYS_SECTSIZE` state sector sizes, and
    /// `MKE2FS_FIRST_META_BG` is [`first_meta_bg`](Self::first_meta_bg), `E2FSPROGS_UNDO_DIR` is
    /// [`undo_directory`](Self::undo_directory).
    pub fn detect() -> Self {
        let real_clock = sys::since_1970();
        let latest_time = environment_number("SOURCE_DATE_EPOCH").map(wrap);
        let fake = environment_number("E2FSPROGS_FAKE_TIME").filter(|number| *number != 0);
        let clock = latest_time.or(fake.map(wrap));
        Self {
            clock: clock.unwrap_or_else(|| wrap(real_clock.as_secs())),
            is_clock_stated: clock.is_some(),
            latest_time,
            real_clock,
            random_uuid: random_bytes(),
            random_hash_seed: random_bytes(),
            page_size: u32::try_from(sys::page_size()).unwrap_or(4096),
            // A machine without a name is none the worse for it.
            name: sys::host_name().unwrap_or_default(),
            user: sys::user(),
            conf: env::var_os("MKE2FS_CONFIG").and_then(|path| Conf::read(Path::new(&path))),
            sector_size: environment_decimal("MKE2FS_DEVICE_SECTSIZE"),
            physical_sector_size: environment_decimal("MKE2FS_DEVICE_PHYS_SECTSIZE"),
            first_meta_bg: environment_decimal("MKE2FS_FIRST_META_BG"),
            undo_directory: env::var_os("E2FSPROGS_UNDO_DIR").map(PathBuf::from),
            journal_device: None,
            target: Target::default(),
        }
    }

    /// A world of which nothing is known but the time, in seconds since 1970: the same options give the
    /// same bytes wherever and whenever, for tests and for fuzzing.
    ///
    /// The clock counts as stated. Pages have 4 KiB and the user is root. Every filesystem has the same UUID and hash seed unless it
    /// is given others.
    pub fn fixed(clock: i64) -> Self {
        Self {
            clock,
            is_clock_stated: true,
            latest_time: None,
            real_clock: Duration::from_secs(u64::try_from(clock).unwrap_or(0)),
            random_uuid: *b"0123456789abcdef",
            random_hash_seed: *b"fedcba9876543210",
            page_size: 4096,
            name: b"host".to_vec(),
            user: (0, 0),
            conf: None,
            sector_size: None,
            physical_sector_size: None,
            first_meta_bg: None,
            undo_directory: None,
            journal_device: None,
            target: Target::default(),
        }
    }

    /// Takes note of the output as it is now.
    ///
    /// # Errors
    ///
    /// Where it is there and cannot be looked at.
    pub fn probe(&mut self, output: &Path) -> io::Result<&mut Self> {
        self.target = Target {
            path: output.to_owned(),
            kind: sys::look_at(output)?,
        };
        Ok(self)
    }
}

impl Environment {
    /// The same world without what tells one machine or run from another, for a
    /// [reproducible](super::Options::reproducible) image: names, users, the page size and what a device
    /// likes. Sector sizes stay: without them there is no use of the image.
    pub(crate) fn anonymous(&self) -> Self {
        let mut world = self.clone();
        world.real_clock = Duration::from_secs(u64::try_from(self.clock).unwrap_or(0));
        world.page_size = PAGE_BYTES;
        world.name = Vec::new();
        world.user = (0, 0);
        if let TargetKind::Device(device) = &mut world.target.kind {
            *device = Device {
                size_bytes: device.size_bytes,
                sector_size: device.sector_size,
                physical_sector_size: device.physical_sector_size,
                ..Device::default()
            };
        }
        world
    }

    /// Unless the clock is stated, has it wait for the content.
    pub(crate) fn await_content(&mut self) {
        if !self.is_clock_stated {
            self.clock = Timestamp::AWAITED.seconds;
        }
    }

    /// Puts the content in the place of chance, and its newest time in that of the clock, unless that is stated.
    pub(crate) fn settle(&mut self, content: [u8; 16], newest: i64) {
        self.random_uuid = content;
        if !self.is_clock_stated {
            self.clock = newest;
            self.is_clock_stated = true;
        }
    }

    /// Takes note of the journal at `path`, a device of its own that is to be the filesystem's.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn probe_journal(&mut self, path: &Path) -> Result<&mut Self, JournalDeviceError> {
        self.journal_device = Some(journal_device::look_at(path)?);
        Ok(self)
    }
}

impl Conf {
    /// The text `text`, which messages call `name`.
    pub fn new(name: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            text: Ok(text.into()),
        }
    }

    /// The file at `path`, unless it is missing or may not be read.
    fn read(path: &Path) -> Option<Self> {
        let text = match read_conf(path) {
            Ok(text) => Ok(text),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => return None,
                _ => Err(error.to_string()),
            },
        };
        Some(Self {
            name: path.to_string_lossy().into_owned(),
            text,
        })
    }
}

/// The file at `path`, or all files in the directory one after another, in the order of their names;
/// only names of letters, digits, - and _ count (`get_dirlist` of e2fsprogs' profile library).
fn read_conf(path: &Path) -> io::Result<Vec<u8>> {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::read(path);
    };
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if name.as_encoded_bytes().iter().all(|c| is_plain(*c)) {
            names.push(name);
        }
    }
    names.sort();
    let mut text = Vec::new();
    let mut found = false;
    for name in names {
        let file = path.join(name);
        if !file.is_file() {
            continue;
        }
        match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            own => text.extend(own?),
        }
        text.push(b'\n');
        found = true;
    }
    found.then_some(text).ok_or(io::ErrorKind::NotFound.into())
}

/// The number that a variable begins with; 0 where it begins with none.
fn environment_number(name: &str) -> Option<u64> {
    let value = env::var_os(name)?;
    Some(size::unsigned(&value.to_string_lossy(), 0).0)
}

/// The number that a variable begins with, as C's `atoi` reads it; 0 where it is negative.
fn environment_decimal(name: &str) -> Option<u32> {
    let value = env::var_os(name)?;
    let (number, _) = size::unsigned(&value.to_string_lossy(), 10);
    Some(u32::try_from(number).unwrap_or(0))
}

/// A `time_t` as C makes it from an `unsigned long`.
fn wrap(seconds: u64) -> i64 {
    i64::from_ne_bytes(seconds.to_ne_bytes())
}

/// Sixteen random bytes.
///
/// They come from the keys of the standard library's hash maps: the operating system's own
/// randomness, asked for by a system call. That needs no crate, no unsafe code and no
/// `/dev/urandom`, which an empty chroot lacks, and suffices for numbers that must be unique but
/// need not be secret.
fn random_bytes() -> [u8; 16] {
    let keys = RandomState::new();
    let (low, high) = (keys.hash_one(0_u8), keys.hash_one(1_u8));
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sets_of_random_bytes_are_alike() {
        assert_ne!(random_bytes(), random_bytes());
        let host = Environment::detect();
        assert_ne!(host.random_uuid, host.random_hash_seed);
    }

    #[test]
    fn an_output_is_looked_at() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("file");
        fs::write(&file, [0; 5]).expect("it can be written");
        let mut host = Environment::detect();
        let mut kind = |path: &Path| {
            let host = host.probe(path).expect("it can be looked at");
            host.target.kind
        };
        assert_eq!(kind(&file), TargetKind::File { size_bytes: 5 });
        assert_eq!(kind(directory.path()), TargetKind::Other);
        assert_eq!(kind(&directory.path().join("none")), TargetKind::Missing);
    }
}
