//! Given batches that several threads hold, lets what has to be done in order be done so; never lets anyone
//! wait for a batch that failed.
//!
//! Batches are dealt in order, so whoever waits waits for one that somebody holds.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::EmitError;

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    turned: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    /// The lowest batch that failed.
    failed: Option<u64>,
}

/// The turn of a batch. Dropped, it is never given on.
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    number: u64,
    is_over: bool,
}

impl Turns {
    /// Waits for the turn of the batch `number`.
    pub(super) fn wait(&self, number: u64) -> Result<Turn<'_>, EmitError> {
        let mut state = self.state();
        while state.next != number {
            if state.failed.is_some_and(|failed| failed < number) {
                return Err(EmitError::Cancelled);
            }
            let waited = self.turned.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(Turn {
            turns: self,
            number,
            is_over: false,
        })
    }

    /// Lets no batch behind `number`, which failed, wait any more.
    pub(super) fn abort(&self, number: u64) {
        let mut state = self.state();
        state.failed = Some(state.failed.map_or(number, |failed| failed.min(number)));
        drop(state);
        self.turned.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Gives the turn to the next batch.
    pub(super) fn pass(mut self) {
        self.is_over = true;
        self.turns.state().next = self.number + 1;
        self.turns.turned.notify_all();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.turns.abort(self.number);
        }
    }
}
