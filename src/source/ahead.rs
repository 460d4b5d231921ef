//! Given directories of the host, has several threads look at what they hold before the walk comes by;
//! never decides what the walk finds, nor in which order.
//!
//! The walk shares out the names it will come to, a few at a time. Whoever looks at a directory also
//! lists it and shares out what it holds, so that a thread finds work of its own below. What the walk
//! comes to before any thread does, it takes back. Names that wait, directories that are open for them,
//! and what was found and not fetched are bounded: where there is enough of it, nothing more is shared.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::vec;

use super::look::{Fault, Found, Look, Spot};
use crate::sys::ListedName;

/// How many names are looked at in one go.
const TASK_NAMES: usize = 16;
/// How many tasks of one directory are shared out at once.
const TASKS_OF_ONE: usize = 32;
/// How many tasks wait to be begun; each keeps a directory open.
const MOST_WAITING: usize = 64;
/// How many tasks wait, are worked on, or were not fetched.
const MOST_SHARED: usize = 512;
/// How many names are listed, but for those the walk listed itself.
const MOST_LISTED: usize = 1 << 16;

/// What the walk will come to in a directory: what is shared out, and then the rest.
#[derive(Debug, Default)]
pub(super) struct Listing {
    shared: VecDeque<Ticket>,
    rest: vec::IntoIter<ListedName>,
    /// Whether the rest is counted as listed ahead.
    is_ahead: bool,
}

/// Names that were shared out.
type Ticket = u64;

#[derive(Debug)]
struct Task {
    spot: Arc<Spot>,
    names: Vec<ListedName>,
}

/// What a name led to, and of a directory what it holds, if there was room for that.
pub(super) type Looked = Result<(Found, Option<Listing>), Fault>;

/// What the walk comes to next.
pub(super) enum Next {
    /// Names nobody looked at.
    Names(Vec<ListedName>),
    /// What names led to, up to the first that could not be looked at.
    Looked(Vec<Looked>),
}

/// The names that are shared out among threads.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Whether anybody else works.
    has_helpers: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The newest, nearest to the walk, last.
    waiting: Vec<(Ticket, Task)>,
    looked: BTreeMap<Ticket, Vec<Looked>>,
    next_ticket: Ticket,
    /// How many tasks are shared and not fetched.
    shared: usize,
    /// How many names are listed ahead.
    listed: usize,
    is_over: bool,
    /// Whether a thread ended in the middle of a task.
    is_broken: bool,
}

/// Ends the helpers' work when it is dropped.
pub(super) struct Ending<'a>(&'a Ahead);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.changed.notify_all();
    }
}

/// Tells the walk not to wait for a thread that panics.
struct Working<'a>(&'a Ahead);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().is_broken = true;
            self.0.changed.notify_all();
        }
    }
}

impl Ahead {
    /// Names shared among the walk and so many `helpers`.
    pub(super) fn new(helpers: usize) -> Self {
        Self {
            has_helpers: helpers > 0,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Has the helpers' work end once what this gives is dropped.
    pub(super) fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    /// Looks at what is shared until the end.
    pub(super) fn help(&self, look: &Look<'_>) {
        let mut state = self.state();
        while !state.is_over {
            state = match state.waiting.pop() {
                Some((ticket, task)) => {
                    drop(state);
                    self.work(ticket, task, look);
                    self.state()
                }
                None => self.wait(state),
            };
        }
    }

    fn work(&self, ticket: Ticket, task: Task, look: &Look<'_>) {
        let _working = Working(self);
        let Task { spot, names } = task;
        let mut looked = Vec::with_capacity(names.len());
        for listed in names {
            let found = look.at(&spot, listed).map(|mut found| {
                let listing = self.list(&spot, &mut found, look);
                (found, listing)
            });
            let is_fault = found.is_err();
            looked.push(found);
            if is_fault {
                break;
            }
        }
        drop(spot);
        self.state().looked.insert(ticket, looked);
        self.changed.notify_all();
    }

    /// Lists a directory that was `found` in the one at `above`, unless enough is listed. Where it
    /// cannot be listed, the walk will find out.
    fn list(&self, above: &Spot, found: &mut Found, look: &Look<'_>) -> Option<Listing> {
        let file = found.directory.take()?;
        if look.stops_at(&found.stat) || self.state().listed >= MOST_LISTED {
            return None;
        }
        let spot = Arc::new(look.spot_below(above, &found.name, file));
        let names = look.names(&spot).ok()?;
        self.state().listed += names.len();
        let mut listing = Listing {
            shared: VecDeque::new(),
            rest: names.into_iter(),
            is_ahead: true,
        };
        listing.share(self, &spot);
        Some(listing)
    }

    /// What became of the names that were shared as `ticket`. While a helper looks at them, this
    /// helps with others.
    fn fetch(&self, ticket: Ticket, look: &Look<'_>) -> Next {
        let mut state = self.state();
        loop {
            let waiting = &mut state.waiting;
            if let Some(place) = waiting.iter().rposition(|(other, _)| *other == ticket) {
                let (_, task) = waiting.remove(place);
                state.shared -= 1;
                return Next::Names(task.names);
            }
            if let Some(looked) = state.looked.remove(&ticket) {
                state.shared -= 1;
                return Next::Looked(looked);
            }
            if state.is_broken {
                let fault = Fault::unnamed(io::Error::other("a thread ended early"));
                return Next::Looked(vec![Err(fault)]);
            }
            state = match state.waiting.pop() {
                Some((other, task)) => {
                    drop(state);
                    self.work(other, task, look);
                    self.state()
                }
                None => self.wait(state),
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listing {
    /// A directory's names, none of them shared yet.
    pub(super) fn new(names: Vec<ListedName>) -> Self {
        Self {
            shared: VecDeque::new(),
            rest: names.into_iter(),
            is_ahead: false,
        }
    }

    /// What comes next, or `None` at the end. Of what comes after that, more is shared out; `spot`
    /// gives the directory if it is needed for that.
    pub(super) fn next(
        &mut self,
        ahead: &Ahead,
        look: &Look<'_>,
        spot: impl FnOnce() -> io::Result<Arc<Spot>>,
    ) -> Option<Next> {
        let ticket = self.shared.pop_front();
        let names = match ticket {
            Some(_) => Vec::new(),
            None => self.take(
                if ahead.has_helpers {
                    TASK_NAMES
                } else {
                    usize::MAX
                },
                ahead,
            ),
        };
        if !self.rest.as_slice().is_empty()
            && self.shared.len() < TASKS_OF_ONE
            && let Ok(spot) = spot()
        {
            self.share(ahead, &spot);
        }
        match ticket {
            Some(ticket) => Some(ahead.fetch(ticket, look)),
            None if names.is_empty() => None,
            None => Some(Next::Names(names)),
        }
    }

    /// Shares out as much of the rest as there is room for.
    fn share(&mut self, ahead: &Ahead, spot: &Arc<Spot>) {
        let mut state = ahead.state();
        while !self.rest.as_slice().is_empty()
            && self.shared.len() < TASKS_OF_ONE
            && state.waiting.len() < MOST_WAITING
            && state.shared < MOST_SHARED
        {
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.shared += 1;
            let names: Vec<ListedName> = self.rest.by_ref().take(TASK_NAMES).collect();
            if self.is_ahead {
                state.listed -= names.len();
            }
            let spot = spot.clone();
            state.waiting.push((ticket, Task { spot, names }));
            self.shared.push_back(ticket);
        }
        drop(state);
        ahead.changed.notify_all();
    }

    fn take(&mut self, most: usize, ahead: &Ahead) -> Vec<ListedName> {
        let names: Vec<ListedName> = self.rest.by_ref().take(most).collect();
        if self.is_ahead {
            ahead.state().listed -= names.len();
        }
        names
    }
}
