//! Given how a run shall go, has an image written so; never decides what is in it.

use std::fmt;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::cancel::Cancel;
use crate::emit::{Reflink, Writing};
use crate::error::{Error, Kind};
use crate::sink::{File, IfBusy, ImageRange, Output};

/// How far the writing of an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many bytes were written.
    pub bytes: u64,
    /// How many there will be: what `bytes` is at the end. None while a stream of unknown length comes.
    pub total: Option<u64>,
}

type OnProgress = dyn Fn(Progress) + Send + Sync;

/// How a run goes: by as many threads as there are processors, quietly, to the end, and without waiting for
/// stable storage, by default.
#[derive(Clone, Default)]
pub(crate) struct Run {
    pub(super) threads: Option<NonZero<usize>>,
    pub(super) progress: Option<Arc<OnProgress>>,
    pub(super) cancel: Cancel,
    pub(super) sync: bool,
    pub(super) reflink: Reflink,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("threads", &self.threads)
            .field("sync", &self.sync)
            .finish_non_exhaustive()
    }
}

/// What is told of how far a run is: never less than before, and at the end the total.
struct Told<'a> {
    tell: &'a OnProgress,
    total: Option<u64>,
    bytes: AtomicU64,
    /// What was told last; who holds it is the one who tells.
    last: Mutex<u64>,
}

impl Told<'_> {
    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let most = self.total.unwrap_or(u64::MAX);
        let bytes = self.bytes.load(Ordering::Relaxed).min(most);
        if bytes > *last {
            *last = bytes;
            let total = self.total;
            (self.tell)(Progress { bytes, total });
        }
    }

    fn end(&self) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = self.total.unwrap_or(last);
        if self.total.is_none() || last < bytes {
            let total = Some(bytes);
            (self.tell)(Progress { bytes, total });
        }
    }
}

impl Run {
    pub(super) fn tells_progress(&self) -> bool {
        self.progress.is_some()
    }

    /// How many threads read and write.
    pub(super) fn threads(&self) -> NonZero<usize> {
        let available = || thread::available_parallelism().ok();
        self.threads
            .or_else(available)
            .unwrap_or(NonZero::<usize>::MIN)
    }

    /// Has `write` write an image, `total` bytes if that is known.
    pub(super) fn write<T>(
        &self,
        total: Option<u64>,
        sync: bool,
        write: impl FnOnce(&Writing<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let told = self.progress.as_deref().map(|tell| Told {
            tell,
            total,
            bytes: AtomicU64::new(0),
            last: Mutex::new(0),
        });
        let progress = |bytes| {
            if let Some(told) = &told {
                told.add(bytes);
            }
        };
        let writing = Writing {
            threads: self.threads(),
            progress: &progress,
            cancel: self.cancel.flag(),
            sync: self.sync || sync,
            reflink: self.reflink,
        };
        let written = write(&writing)?;
        if let Some(told) = &told {
            told.end();
        }
        Ok(written)
    }
}

/// Where an image is to be written.
pub(super) fn open(path: &Path) -> Result<Output, Error> {
    Ok(Output::open(path, IfBusy::Refuse)?)
}

/// Begins an image in `output`, has `write` write it, and keeps it. Where that fails, a new file is gone, and
/// one that was there has its length and no superblock.
pub(super) fn write_output<T>(
    output: Output,
    image: &ImageRange,
    write: impl FnOnce(&File) -> Result<T, Error>,
) -> Result<T, Error> {
    let failed = |error| Error::new(Kind::Output(error));
    let begun = output.begin(image).map_err(failed)?;
    let made = write(begun.file())?;
    begun.keep();
    Ok(made)
}
