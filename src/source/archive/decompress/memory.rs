//! Given how much memory a decompressor needs, gives it a share of what all of them may have together,
//! once there is as much; never allocates.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The most that the window or dictionary of one stream may take, and those of all streams that are
/// uncompressed at the same time, in bytes. `xz -9` takes 64 MiB, `zstd --long` 128 MiB.
pub(super) const MOST: u64 = 128 << 20;

/// What decompressors share. Clones are of the same memory.
#[derive(Clone, Debug)]
pub(in crate::source) struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Mutex<u64>,
    given_back: Condvar,
}

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Shared {
            free: Mutex::new(MOST),
            given_back: Condvar::new(),
        }))
    }
}

impl Memory {
    /// Takes `bytes`, and waits for others to give them back where they are not there. Whoever holds
    /// some must not ask for more.
    ///
    /// # Errors
    /// Where one stream may not have as much.
    pub(super) fn take(&self, bytes: u64) -> Result<Share, TooMuch> {
        if bytes > MOST {
            return Err(TooMuch(Some(bytes)));
        }
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = self.0.given_back.wait_while(free, |free| *free < bytes);
        *enough.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Ok(Share(self.clone(), bytes))
    }
}

/// Memory that was taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Share(Memory, u64);

impl Drop for Share {
    fn drop(&mut self) {
        let Shared { free, given_back } = &*self.0.0;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += self.1;
        given_back.notify_all();
    }
}

/// A stream that needs more memory than it may have: the bytes it needs, where that is known.
#[derive(Debug)]
pub(super) struct TooMuch(pub(super) Option<u64>);

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        match self.0 {
            Some(needed) => write!(f, "it needs {} MiB of memory", mib(needed))?,
            None => f.write_str("it needs more memory")?,
        }
        write!(f, ", more than {} MiB; ", mib(MOST))?;
        f.write_str("compress it with a smaller dictionary or window")
    }
}

impl std::error::Error for TooMuch {}

impl From<TooMuch> for io::Error {
    fn from(error: TooMuch) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_waited_for() {
        let memory = Memory::default();
        assert!(memory.take(MOST + 1).is_err());
        let all = memory.take(MOST).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| drop(memory.take(1).unwrap()));
            assert_eq!(*memory.0.free.lock().unwrap(), 0);
            drop(all);
            other.join().unwrap();
        });
        assert_eq!(*memory.0.free.lock().unwrap(), MOST);
    }

    #[test]
    fn what_is_needed_is_told() {
        let said = TooMuch(Some(768 << 20)).to_string();
        assert!(said.starts_with("it needs 768 MiB of memory, more than 128 MiB"));
    }
}
