//! Given the name of an output, gives a sink whose failure leaves nothing behind that looks
//! finished; never knows what is written to it.
//!
//! An [`Output`] is open and locked and as it was. A [`UnfinishedOutput`] is being written: the place of the
//! primary superblock was zeroed before anything else. Either is undone when dropped, and only
//! [`UnfinishedOutput::keep`] leaves it as it is.

use std::fs::{self, Metadata, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::Cause;
use super::file::UNFINISHED;
use super::{File, OpenError, Sink};
use crate::sys::{self, Identity, Usage};

/// Where the primary superblock lies in an image, with what follows it up to 4 KiB, in bytes.
///
/// mke2fs zaps the same sectors 2 to 7 before it writes.
const SUPERBLOCK: Range<u64> = 1024..4096;

/// Where its magic number is.
#[cfg(all(any(unix, windows), feature = "cli"))]
const MAGIC: u64 = SUPERBLOCK.start + 0x38;

/// How often an output may change under its name before it is taken to be in use.
const ATTEMPTS: u32 = 16;

/// The bytes of an output that an image takes; what is before and behind them is another's.
///
/// Only what decided an image gives one: [`Plan::range`](crate::Plan::range) and
/// [`PreparedImage::range`](crate::raw::PreparedImage::range).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRange(Range<u64>);

impl ImageRange {
    /// The image from one byte up to another.
    pub(crate) fn new(bytes: Range<u64>) -> Self {
        Self(bytes)
    }

    /// The bytes, as offsets in the output.
    pub fn bytes(&self) -> Range<u64> {
        self.0.clone()
    }

    /// What [`Output::begin`] zeroes.
    pub fn superblock(&self) -> Range<u64> {
        let place = |offset| self.0.end.min(self.0.start.saturating_add(offset));
        place(SUPERBLOCK.start)..place(SUPERBLOCK.end)
    }
}

/// What to do with an output that is mounted or in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfBusy {
    /// Refuse it.
    #[default]
    Refuse,
    /// Write to it all the same, which destroys what is in use (`mke2fs -F -F`).
    Overwrite,
}

/// An output file or device: open, locked against other runs, and unchanged.
///
/// A file that was created for it is removed when it is dropped.
///
/// ```
/// use mke4fs::Builder;
/// use mke4fs::options::{Environment, Options, Size};
/// use mke4fs::sink::{IfBusy, Output, Sink};
///
/// let mut options = Options::new();
/// options.size(Size::Kibibytes(1024));
/// let plan = Builder::from_options(options).environment(Environment::fixed(0)).plan()?;
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("new.img");
/// let draft = Output::open(&path, IfBusy::Refuse)?.begin(&plan.range())?;
/// draft.file().write_at(4096, b"content")?;
/// draft.keep();
/// assert_eq!(std::fs::metadata(&path)?.len(), 1 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Output(Guard);

/// An output that is being written.
///
/// When dropped, a file that was created for it is removed. One that was there before gets back the
/// length it had, and loses the primary superblock: no system mounts it.
#[derive(Debug)]
pub struct UnfinishedOutput(Guard);

#[derive(Debug)]
struct Guard {
    file: File,
    origin: Origin,
    /// Nothing that a regular file holds is to be left; it shall be at least so long.
    replaced: Option<u64>,
    /// The bytes of the image, once it was begun.
    image: Option<ImageRange>,
    /// All of the file is a container, whose first bytes are written last.
    contained: bool,
    #[cfg_attr(
        not(all(any(unix, windows), feature = "cli")),
        allow(dead_code, reason = "only the command tells of aborts")
    )]
    on_abort: OnAbort,
    kept: bool,
}

/// What an abort knows of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnAbort {
    /// It may be the one output that is undone.
    Output,
    /// It is the file beside it.
    #[cfg_attr(
        not(all(any(unix, windows), feature = "cli")),
        allow(dead_code, reason = "only the command tells of aborts")
    )]
    Beside,
    /// Nothing.
    #[cfg_attr(
        not(feature = "cli"),
        expect(dead_code, reason = "only the command tells of aborts")
    )]
    Nothing,
}

/// What was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Nothing,
    Existing { size_bytes: u64 },
}

impl Output {
    /// Opens an existing regular file or block device, or creates a regular file.
    ///
    /// A symbolic link leads to its target. One to nothing is refused, where mke2fs would create
    /// the target: in practice it is a mistake, and the file made would not be the one named.
    ///
    /// # Errors
    /// Where `path` is no storage, is not to be written, or is used by the system or another run.
    pub fn open(path: &Path, if_busy: IfBusy) -> Result<Self, OpenError> {
        let absolute = sys::absolute(path);
        let opened = absolute
            .map_err(Cause::Io)
            .and_then(|path| open(path, if_busy));
        opened.map(Self).map_err(|cause| OpenError {
            path: path.to_owned(),
            cause,
        })
    }

    /// Its size in bytes: 0 if it was created.
    pub fn size_bytes(&self) -> u64 {
        self.0.file.size_bytes()
    }

    /// Whether it was not there before.
    pub fn is_new(&self) -> bool {
        self.0.origin == Origin::Nothing
    }

    /// Its storage, of which nothing was changed.
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Which file it is, if the system tells: a source directory may hold it, and leaves it out.
    pub fn identity(&self) -> Option<Identity> {
        self.0.identity()
    }

    /// Lets an abort of the process undo what was begun, as dropping it does.
    ///
    /// It is for commands, after [`fail_on_abort`](crate::fail_on_abort), and for one output
    /// at a time.
    ///
    /// # Errors
    /// Where the system does not tell which file it is.
    #[cfg(all(any(unix, windows), feature = "cli"))]
    pub fn undo_on_abort(&self) -> io::Result<()> {
        let Guard { file, origin, .. } = &self.0;
        let before = match *origin {
            Origin::Nothing => None,
            Origin::Existing { .. } if file.is_block_device() => return Ok(()),
            Origin::Existing { size_bytes } => Some(size_bytes),
        };
        sys::undo_on_abort(file.handle(), file.path(), before)
    }

    /// Tells that it lies beside another output, which an abort undoes: of this one it knows nothing.
    #[cfg(feature = "cli")]
    pub(crate) fn lies_beside(&mut self) {
        self.0.on_abort = OnAbort::Nothing;
    }

    /// The same, but an abort of the process removes it if it was created. It is for one output at a time.
    ///
    /// # Errors
    /// Where the system does not tell which file it is.
    #[cfg(all(any(unix, windows), feature = "cli"))]
    pub(crate) fn remove_beside_on_abort(&mut self) -> io::Result<()> {
        let Guard { file, origin, .. } = &self.0;
        if *origin == Origin::Nothing {
            sys::remove_on_abort(file.handle(), file.path())?;
        }
        self.0.on_abort = OnAbort::Beside;
        Ok(())
    }

    /// Keeps what will be written out of the page cache, but for some of it at a time.
    pub fn leave_uncached(&mut self) {
        self.0.file.leave_uncached();
    }

    /// Lets an image take the place of all that a regular file holds: what it held reads as zeros, as in
    /// a file that was created, and it will be as long as the image, or `least_bytes` if that is more.
    /// A device stays as it is.
    pub fn replace(&mut self, least_bytes: u64) {
        self.0.replaced = (!self.0.file.is_block_device()).then_some(least_bytes);
    }

    /// Grows a regular file to the end of `image` if it is shorter, and empties one that is to be
    /// [replaced](Self::replace) before. Dropping gives it its length back.
    ///
    /// # Errors
    /// Where a device is too small, or the file cannot be grown.
    pub fn make_room(&mut self, image: &ImageRange) -> io::Result<()> {
        let Self(guard) = self;
        let mut end = image.0.end;
        if let Some(least_bytes) = guard.replaced.take() {
            guard.file.empty()?;
            end = end.max(least_bytes);
        }
        let size_bytes = guard.file.size_bytes();
        if end <= size_bytes {
            return Ok(());
        }
        if guard.file.is_block_device() {
            let path = guard.file.path().display();
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path} has {size_bytes} bytes; the image needs {end}"),
            ));
        }
        guard.file.grow(end)
    }

    /// Leaves the output as it is now: whoever changed the filesystem in it kept it sound.
    pub fn keep(self) {
        let Self(mut guard) = self;
        guard.kept = true;
    }

    /// Begins to write an image to its bytes, `image`; no other is touched.
    ///
    /// A regular file that ends before the image is grown to its end, and never cut unless it is
    /// [replaced](Self::replace). Then the place of the old primary superblock is zeroed.
    ///
    /// # Errors
    /// Where a device is too small, or the storage fails.
    pub fn begin(mut self, image: &ImageRange) -> io::Result<UnfinishedOutput> {
        self.make_room(image)?;
        let Self(mut guard) = self;
        #[cfg(all(any(unix, windows), feature = "cli"))]
        if guard.on_abort == OnAbort::Output {
            sys::finished_by_magic_at(image.0.start.saturating_add(MAGIC));
        }
        guard.image = Some(image.clone());
        guard.zero_superblock()?;
        Ok(UnfinishedOutput(guard))
    }

    /// Begins to write a container, such as a [`Contained`](super::Contained) has: it takes the place of all
    /// that the file held.
    ///
    /// # Errors
    /// Where the output is a device, or cannot be emptied.
    pub fn begin_contained(self) -> io::Result<UnfinishedOutput> {
        let Self(mut guard) = self;
        if guard.file.is_block_device() {
            let path = guard.file.path().display();
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path} is a block device; this format needs a regular file"),
            ));
        }
        guard.file.empty()?;
        guard.file.write_new(0, UNFINISHED)?;
        guard.contained = true;
        #[cfg(all(any(unix, windows), feature = "cli"))]
        sys::finished_by_magic_at(0);
        Ok(UnfinishedOutput(guard))
    }
}

impl UnfinishedOutput {
    /// The storage.
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Lets what is left be known for an image that is not finished, if it is not. All bytes of the superblock
    /// have to be written later.
    ///
    /// # Errors
    /// Where the storage fails.
    pub(crate) fn mark(&mut self) -> io::Result<()> {
        let start = self.0.image.as_ref().map(|image| image.superblock().start);
        start.map_or(Ok(()), |start| self.0.file.mark(start))
    }

    /// Cuts off what the output was grown by and nothing was written to at its end.
    ///
    /// # Errors
    /// Where it cannot be cut.
    pub fn end_at_written(&self) -> io::Result<()> {
        let was = match self.0.origin {
            Origin::Nothing => 0,
            Origin::Existing { size_bytes } => size_bytes,
        };
        let image = self.0.image.as_ref();
        let superblock_end = image.map_or(0, |image| image.0.start.saturating_add(SUPERBLOCK.end));
        let length = self.0.file.written_bytes().max(was).max(superblock_end);
        if length < self.0.file.size_bytes() {
            self.0.file.handle().set_len(length)?;
        }
        Ok(())
    }

    /// Leaves the output as it is now: it is finished.
    pub fn keep(mut self) {
        self.0.kept = true;
    }
}

impl Guard {
    fn identity(&self) -> Option<Identity> {
        sys::identity_of(self.file.handle())
    }

    fn zero_superblock(&self) -> io::Result<()> {
        let Some(image) = &self.image else {
            return Ok(());
        };
        let Range { start, end } = image.superblock();
        self.file.zero(start, end - start)
    }

    /// Whether the name still leads to this very file.
    fn still_named(&self) -> bool {
        sys::is_name_of(self.file.path(), self.file.handle())
    }
}

impl Drop for Guard {
    /// Undoes what was begun; where that fails there is nobody left to tell.
    fn drop(&mut self) {
        if !self.kept {
            self.undo();
        }
        #[cfg(all(any(unix, windows), feature = "cli"))]
        match self.on_abort {
            OnAbort::Output => sys::undo_nothing(),
            OnAbort::Beside => sys::remove_nothing(),
            OnAbort::Nothing => {}
        }
        // A program that this process is just starting holds the file too, until it runs. From here on the file may
        // be another run's.
        let _ = self.file.handle().unlock();
    }
}

impl Guard {
    fn undo(&self) {
        match self.origin {
            Origin::Nothing => {
                if self.still_named() {
                    let _ = fs::remove_file(self.file.path());
                }
            }
            Origin::Existing { size_bytes } => {
                let _ = self.zero_superblock().and_then(|()| self.file.mark_again());
                if self.contained {
                    // What was begun may name its format already.
                    let _ = self.file.set_length(0);
                }
                // What was cut off to be cleared may not have been grown again.
                if !self.file.is_block_device() {
                    let _ = self.file.handle().set_len(size_bytes);
                }
            }
        }
    }
}

fn open(path: PathBuf, if_busy: IfBusy) -> Result<Guard, Cause> {
    for _ in 0..ATTEMPTS {
        let (file, origin) = match fs::symlink_metadata(&path) {
            Ok(named) => match open_existing(&path, &named, if_busy)? {
                Some(file) => {
                    let size_bytes = file.size_bytes();
                    (file, Origin::Existing { size_bytes })
                }
                None => continue,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => match create(&path)? {
                Some(file) => (file, Origin::Nothing),
                None => continue,
            },
            Err(error) => return Err(Cause::Io(error)),
        };
        return Ok(Guard {
            file,
            origin,
            replaced: None,
            image: None,
            contained: false,
            on_abort: OnAbort::Output,
            kept: false,
        });
    }
    Err(Cause::Locked)
}

/// Creates a regular file and locks it; `None` if one has come to be there.
fn create(path: &Path) -> Result<Option<File>, Cause> {
    let file = match sys::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        file => file.map_err(Cause::Io)?,
    };
    // Another run that found it before it was locked holds it now: the file is that run's.
    lock(&file)?;
    let file = File::new(file, path.to_owned()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    });
    file.map(Some).map_err(Cause::Io)
}

/// Opens what is at `path` and locks it; `None` if that changes meanwhile.
fn open_existing(path: &Path, named: &Metadata, if_busy: IfBusy) -> Result<Option<File>, Cause> {
    // Its owner could read what is written, or have it written over another's file.
    if if_busy == IfBusy::Refuse && sys::is_anothers_in_shared_directory(path, named) {
        return Err(Cause::Anothers);
    }
    let before = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_symlink() => {
            return Err(Cause::DanglingSymlink);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(Cause::Io)?,
    };
    // What is no storage is not even opened: opening a pipe waits, opening a device may act.
    refuse_no_storage(&before)?;
    if if_busy == IfBusy::Refuse {
        match sys::usage(&before) {
            Some(Usage::Mounted) => return Err(Cause::Mounted),
            Some(Usage::Swap) => return Err(Cause::InUse),
            None => {}
        }
    }
    let file = match if_busy {
        IfBusy::Refuse => sys::open_exclusive(path),
        IfBusy::Overwrite => OpenOptions::new().read(true).write(true).open(path),
    };
    let file = match file {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Err(Cause::InUse),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Cause::Io)?,
    };
    if before.is_file() {
        lock(&file)?;
    } else if sys::is_read_only_device(&file) {
        return Err(Cause::ReadOnly);
    }
    // A run that failed may have removed the file after it was opened here.
    let opened = file.metadata().map_err(Cause::Io)?;
    let is_there = fs::metadata(path).is_ok();
    if !is_there || sys::identity_at(path) != sys::identity_of(&file) {
        return Ok(None);
    }
    refuse_no_storage(&opened)?;
    File::new(file, path.to_owned())
        .map(Some)
        .map_err(Cause::Io)
}

fn refuse_no_storage(metadata: &Metadata) -> Result<(), Cause> {
    if metadata.is_dir() {
        Err(Cause::Directory)
    } else if metadata.is_file() || sys::is_block_device(metadata) {
        Ok(())
    } else {
        let kind = sys::kind_name(metadata);
        Err(Cause::NoStorage { kind })
    }
}

/// Keeps other runs off a regular file until it is closed.
fn lock(file: &fs::File) -> Result<(), Cause> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Cause::Locked),
        // Some network filesystems have no locks; that is no reason not to write there.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::OpenErrorKind;
    use super::*;

    /// As a program holds it that this process starts, until it runs.
    #[test]
    fn a_copy_of_the_descriptor_does_not_keep_the_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("image");
        fs::write(&path, b"old").expect("it is written");
        let output = Output::open(&path, IfBusy::Refuse).expect("it is free");
        let copy = output.file().handle().try_clone().expect("a copy");
        let refused = Output::open(&path, IfBusy::Refuse).expect_err("it is locked");
        assert!(matches!(refused.kind(), OpenErrorKind::Locked));
        drop(output);
        Output::open(&path, IfBusy::Refuse).expect("it is free again");
        drop(copy);
    }
}
