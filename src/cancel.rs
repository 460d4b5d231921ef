//! Given a wish to stop, tells it to whoever works; never stops anything by force.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A wish to stop, shared by whoever may have it and whoever works.
///
/// ```
/// use mke4fs::Cancel;
///
/// let cancel = Cancel::new();
/// let button = cancel.clone();
/// button.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// No wish yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all who share this to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says whether to go on.
    ///
    /// # Errors
    /// Where it was asked to stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            return Err(Cancelled);
        }
        Ok(())
    }

    /// The flag itself, for [`Writing`](crate::raw::emit::Writing).
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// Somebody asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Cancelled {}

impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> Self {
        // Of the kind Interrupted it would be taken for a reason to try again.
        Self::other(cancelled)
    }
}

/// A reader that fails once it was asked to stop.
#[cfg_attr(
    not(feature = "tar"),
    allow(dead_code, reason = "archives are read through it")
)]
pub(crate) struct Heeding<R> {
    reader: R,
    cancel: Cancel,
}

#[cfg_attr(
    not(feature = "tar"),
    allow(dead_code, reason = "archives are read through it")
)]
impl<R> Heeding<R> {
    pub(crate) fn new(reader: R, cancel: &Cancel) -> Self {
        let cancel = cancel.clone();
        Self { reader, cancel }
    }
}

impl<R: Read> Read for Heeding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check()?;
        self.reader.read(buffer)
    }
}

#[cfg(all(any(unix, windows), feature = "cli"))]
impl Cancel {
    /// A wish that a signal which would end the process has instead: SIGINT, SIGTERM, SIGHUP, SIGQUIT,
    /// SIGALRM, SIGUSR1, SIGXCPU and the like; on Windows, Ctrl-C and Ctrl-Break.
    ///
    /// Whoever works has half a second from then on to hear it and to clean up. Then the process ends by
    /// that signal wherever it is, after what [`Output::undo_on_abort`](crate::sink::Output::undo_on_abort)
    /// and [`Undo::remove_on_abort`](crate::sink::Undo::remove_on_abort) say.
    ///
    /// It is for commands: it installs handlers for the whole process, which the library does
    /// nowhere else. A signal that is ignored (as by nohup) stays so.
    ///
    /// # Errors
    /// Where the system lets no handler be installed.
    pub fn by_signals() -> std::io::Result<Self> {
        crate::sys::stop_flag().map(Self)
    }

    /// Ends the process by the signal that had the wish, as if it had never been caught.
    ///
    /// It is for the end of a command, after everything was cleaned up. It returns if no signal
    /// came.
    ///
    /// # Errors
    /// Where the system does not deliver the signal.
    pub fn die_of_signal(&self) -> std::io::Result<()> {
        crate::sys::die_of_caught_signal()
    }
}

/// Lets an abort, such as where memory ends, end the process with status 1.
///
/// It is for commands: it installs a handler for the whole process. What an abort undoes first,
/// [`Output::undo_on_abort`](crate::sink::Output::undo_on_abort) says.
///
/// # Errors
/// Where the system lets no handler be installed.
#[cfg(all(unix, feature = "cli"))]
pub fn fail_on_abort() -> std::io::Result<()> {
    crate::sys::fail_on_abort()
}

/// Lets a write past the limit of file sizes (`ulimit -f`) fail with an error, instead of ending the
/// process by SIGXFSZ.
///
/// It is for commands, before they write anything: it holds for the whole process.
///
/// # Errors
/// Where the system does not let the signal be ignored.
#[cfg(all(unix, feature = "cli"))]
pub fn ignore_file_size_signal() -> std::io::Result<()> {
    crate::sys::ignore_file_size_signal()
}
