//! Given batches that several threads rendered, for a sink that takes one write at a time: lets one thread write
//! what the others hand over, while they render on; never lets two write, nor wait for a thread that waits.
//!
//! Writes to a regular file wait for each other in the kernel, and there they spin: two threads that render and
//! write took a fifth to two thirds more processor time than one, and longer than if one of them writes for both.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many batches wait at most. A thread that waits for room is woken when half of them are written, so
/// that there is something to write while it wakes up.
const MOST_WAITING: usize = 4;

/// What is handed over.
pub(super) struct Relay<T> {
    state: Mutex<State<T>>,
    has_room: Condvar,
}

struct State<T> {
    is_writing: bool,
    /// Nothing waits unless somebody writes.
    waiting: VecDeque<T>,
    /// What was written, for whoever needs its room.
    written: Vec<T>,
}

/// Who writes. Dropped by a panic, it lets others go on.
struct Writer<'r, T> {
    relay: &'r Relay<T>,
    is_over: bool,
}

impl<T> Default for Relay<T> {
    fn default() -> Self {
        let state = State {
            is_writing: false,
            waiting: VecDeque::new(),
            written: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            has_room: Condvar::new(),
        }
    }
}

impl<T> Relay<T> {
    /// Hands `item` to the thread that writes. Where there is none, this one is it: it calls `write` with the item
    /// and with all that others hand over meanwhile. Gives one that was written, if there is one to spare.
    pub(super) fn pass(&self, mut item: T, mut write: impl FnMut(&T)) -> Option<T> {
        let mut state = self.state();
        while state.is_writing && state.waiting.len() >= MOST_WAITING {
            let woken = self.has_room.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_writing {
            state.waiting.push_back(item);
            return state.written.pop();
        }
        state.is_writing = true;
        drop(state);
        let mut writer = Writer {
            relay: self,
            is_over: false,
        };
        loop {
            write(&item);
            item = match writer.next(item) {
                Ok(next) => next,
                Err(last) => return Some(last),
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Writer<'_, T> {
    /// What is to be written after `written`; where nothing is, `written` again, and nobody writes any more.
    fn next(&mut self, written: T) -> Result<T, T> {
        let mut state = self.relay.state();
        let Some(next) = state.waiting.pop_front() else {
            state.is_writing = false;
            self.is_over = true;
            return Err(written);
        };
        state.written.push(written);
        let may_wake = state.waiting.len() <= MOST_WAITING / 2;
        drop(state);
        if may_wake {
            self.relay.has_room.notify_all();
        }
        Ok(next)
    }
}

impl<T> Drop for Writer<'_, T> {
    fn drop(&mut self) {
        if !self.is_over {
            self.relay.state().is_writing = false;
            self.relay.has_room.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    /// Whoever waits does so while somebody writes, so the last one out leaves nothing behind.
    #[test]
    fn all_that_is_handed_over_is_written_once_by_one_at_a_time() {
        let relay = Relay::default();
        let (writers, written) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for thread in 0..8 {
                let (relay, writers, written) = (&relay, &writers, &written);
                scope.spawn(move || {
                    for number in 0..500 {
                        relay.pass(thread * 500 + number, |item: &usize| {
                            assert_eq!(writers.fetch_add(1, Ordering::SeqCst), 0);
                            written.lock().expect("no panic").push(*item);
                            thread::yield_now();
                            assert_eq!(writers.fetch_sub(1, Ordering::SeqCst), 1);
                        });
                    }
                });
            }
        });
        let mut written = written.into_inner().expect("no panic");
        written.sort_unstable();
        assert_eq!(written, (0..4000).collect::<Vec<_>>());
        assert!(relay.state().waiting.is_empty());
    }

    /// A thread has one in its hands and may have left one behind that is written; no more than these wait.
    #[test]
    fn what_was_written_is_given_back() {
        let relay = Relay::default();
        let made = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut spare = None;
                    for _ in 0..500 {
                        let item = spare
                            .take()
                            .unwrap_or_else(|| made.fetch_add(1, Ordering::Relaxed));
                        spare = relay.pass(item, |_| thread::yield_now());
                    }
                });
            }
        });
        assert!(made.into_inner() <= 2 * 4 + MOST_WAITING);
    }

    #[test]
    fn nobody_waits_for_a_writer_that_panicked() {
        let relay = Relay::default();
        let panicked = thread::scope(|scope| {
            let writer = scope.spawn(|| relay.pass(0, |_| panic!("the sink did")));
            writer.join().is_err()
        });
        assert!(panicked);
        let mut written = Vec::new();
        assert_eq!(relay.pass(1, |item| written.push(*item)), Some(1));
        assert_eq!(written, [1]);
    }
}
