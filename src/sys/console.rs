//! Given what Windows tells a command that shall end, has it heard by whoever works, and ends the process where
//! nobody hears; never keeps what a run had begun. It answers what `unix` answers of signals.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{process, thread};

use super::{is_name_of, read_exact_at};

/// What a program ends with that does not catch Ctrl-C: `STATUS_CONTROL_C_EXIT`, which shells know.
const INTERRUPTED: u32 = 0xc000_013a;
/// How long whoever works may take to hear of it and to clean up.
const GRACE: Duration = Duration::from_millis(500);

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
/// What is undone where nobody hears: the output, and a file beside it.
static OUTPUT: Mutex<Option<Undo>> = Mutex::new(None);
static BESIDE: Mutex<Option<Undo>> = Mutex::new(None);
/// Whether that has begun: nobody may take the output for finished any more.
static IS_GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// A flag that Ctrl-C and Ctrl-Break set from now on instead of ending the process.
///
/// Whoever works has a moment to hear of it and to clean up; then the process ends all the same, after what
/// [`undo_on_abort`] and [`remove_on_abort`] were told.
pub(crate) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    if let Some(stop) = STOP.get() {
        return Ok(Arc::clone(stop));
    }
    let stop = Arc::clone(STOP.get_or_init(Arc::default));
    let heard = Arc::clone(&stop);
    // It is called in a thread of its own.
    let handler = move || {
        heard.store(true, Ordering::Relaxed);
        thread::sleep(GRACE);
        IS_GIVEN_UP.store(true, Ordering::SeqCst);
        for place in [&OUTPUT, &BESIDE] {
            if let Some(undo) = &*locked(place) {
                undo.undo();
            }
        }
        end();
    };
    ctrlc::set_handler(handler).map_err(io::Error::other)?;
    Ok(stop)
}

/// Ends the process as if what set the flag had not been caught. Returns where it is not set.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn die_of_caught_signal() -> io::Result<()> {
    if STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        end();
    }
    Ok(())
}

fn end() -> ! {
    process::exit(INTERRUPTED.cast_signed())
}

fn locked(place: &'static Mutex<Option<Undo>>) -> MutexGuard<'static, Option<Undo>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a file becomes what it was before, without the help of a destructor.
struct Undo {
    file: File,
    path: PathBuf,
    /// How long it was, unless it was created.
    before: Option<u64>,
    /// Where the magic number of the superblock is, once one may be written.
    magic_at: Option<u64>,
}

impl Undo {
    fn of(file: &File, path: &Path, before: Option<u64>) -> io::Result<Self> {
        Ok(Self {
            file: file.try_clone()?,
            path: path.to_owned(),
            before,
            magic_at: None,
        })
    }

    /// Where it fails there is nobody left to tell.
    fn undo(&self) {
        let Some(before) = self.before else {
            if is_name_of(&self.path, &self.file) {
                let _ = std::fs::remove_file(&self.path);
            }
            return;
        };
        let mut magic = [0; 2];
        // What has its superblock is finished, and stays.
        let is_finished = self
            .magic_at
            .is_some_and(|at| read_exact_at(&self.file, at, &mut magic).is_ok() && magic != [0; 2]);
        if !is_finished {
            let _ = self.file.set_len(before);
        }
    }
}

/// Lets an interrupt give `file` back the size that it had before, or remove it from `path` if it was not there.
pub(crate) fn undo_on_abort(file: &File, path: &Path, before: Option<u64>) -> io::Result<()> {
    *locked(&OUTPUT) = Some(Undo::of(file, path, before)?);
    Ok(())
}

/// Lets an interrupt also remove `file`, which was created, from `path`.
pub(crate) fn remove_on_abort(file: &File, path: &Path) -> io::Result<()> {
    *locked(&BESIDE) = Some(Undo::of(file, path, None)?);
    Ok(())
}

/// Says where the magic number of the output's superblock will be: once it is there, the output is finished, and
/// stays.
pub(crate) fn finished_by_magic_at(offset: u64) {
    if let Some(undo) = &mut *locked(&OUTPUT) {
        undo.magic_at = Some(offset);
    }
}

/// Lets an interrupt undo nothing of the output. Where one is at it, this never returns.
pub(crate) fn undo_nothing() {
    forget(&OUTPUT);
}

/// Lets an interrupt remove no other file. Where one is at it, this never returns.
pub(crate) fn remove_nothing() {
    forget(&BESIDE);
}

fn forget(place: &'static Mutex<Option<Undo>>) {
    *locked(place) = None;
    while IS_GIVEN_UP.load(Ordering::SeqCst) {
        thread::park();
    }
}
