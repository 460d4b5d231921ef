//! Given directories of the host, has several threads inspect what they hold before the walk comes by;
//! never decides what the walk finds, nor in which order.
//!
//! The walk shares out the names it will come to, a few at a time. Whoever inspects a directory also
//! lists it and shares out what it holds, so that a thread finds work of its own below. What the walk
//! comes to before any thread does, it takes back. What is nearest to the walk comes first. Names
//! that wait, directories that are open for them, and what was found and not fetched are bounded: where
//! there is enough of it, nothing more is shared.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::vec;

use super::inspect::{FileInfo, InspectError, Inspector, OpenDirectory};
use super::listed::{ListedName, ListedNames};

/// How many names are inspected in one go, directories counted several times.
const TASK_NAMES: usize = 32;
/// How deep directories may lie of which names are shared out.
const MOST_DEPTH: usize = 64;
/// How many tasks of one directory are shared out at once.
const TASKS_OF_ONE: usize = 32;
/// How many directories tasks wait in; each is kept open.
const MOST_OPEN: usize = 64;
/// How many tasks wait, are worked on, or were not fetched.
const MOST_SHARED: usize = 512;
/// How many names are listed, but for those the walk listed itself.
const MOST_LISTED: usize = 1 << 16;

/// What the walk will come to in a directory: what is shared out, and then the rest.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The directory's place in the walk, unless it lies too deep.
    place: Option<Ticket>,
    shared: VecDeque<Ticket>,
    rest: ListedNames,
    /// How many names come before the rest.
    before: u32,
    /// Whether the rest is counted as listed prefetch.
    is_ahead: bool,
}

/// Names that were shared out, by their place in the walk: which entry of the root leads there, which
/// one of that, and so on.
type Ticket = Vec<u32>;

#[derive(Debug)]
struct Task {
    directory: Arc<OpenDirectory>,
    names: Vec<ListedName>,
}

/// What a name led to, and of a directory what it holds, if there was room for that.
pub(super) type Inspected = Result<(FileInfo, Option<Listing>), InspectError>;

/// What the walk comes to next.
pub(super) enum Next {
    /// Names that nobody inspected.
    Names(Vec<ListedName>),
    /// What names led to, up to the first that could not be inspected.
    Inspected(Vec<Inspected>),
}

/// The names that are shared out among threads.
#[derive(Debug)]
pub(super) struct Prefetch {
    /// Whether anybody else works.
    has_helpers: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Ticket, Task>,
    inspected: BTreeMap<Ticket, Vec<Inspected>>,
    /// How many tasks are shared and not fetched.
    shared: usize,
    /// How many names are listed ahead.
    listed: usize,
    is_over: bool,
    /// Whether a thread ended in the middle of a task.
    is_broken: bool,
}

impl State {
    /// How many directories tasks wait in, or a few more: those of one mostly follow each other.
    fn open_directories(&self) -> usize {
        let directories = self.waiting.values().map(|task| &task.directory);
        let mut directories: Vec<*const OpenDirectory> = directories.map(Arc::as_ptr).collect();
        directories.dedup();
        directories.len()
    }
}

/// Ends the helpers' work when it is dropped.
pub(super) struct Ending<'a>(&'a Prefetch);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.changed.notify_all();
    }
}

/// Tells the walk not to wait for a thread that panics.
struct Working<'a>(&'a Prefetch);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().is_broken = true;
            self.0.changed.notify_all();
        }
    }
}

impl Prefetch {
    /// Names shared among the walk and its `helpers`.
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

    /// Inspects what is shared until the end.
    pub(super) fn help(&self, inspector: &Inspector<'_>) {
        let mut state = self.state();
        while !state.is_over {
            state = self.work_or_wait(state, inspector);
        }
    }

    /// Inspects what waits nearest to the walk, or waits for more.
    fn work_or_wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        inspector: &Inspector<'_>,
    ) -> MutexGuard<'a, State> {
        match state.waiting.pop_first() {
            Some((ticket, task)) => {
                drop(state);
                self.work(ticket, task, inspector);
                self.state()
            }
            None => self.wait(state),
        }
    }

    fn work(&self, ticket: Ticket, task: Task, inspector: &Inspector<'_>) {
        let _working = Working(self);
        let mut inspected = Vec::with_capacity(task.names.len());
        let mut place = ticket.clone();
        for listed in task.names {
            let info = inspector.at(&task.directory, listed);
            let is_error = info.is_err();
            inspected.push(info.map(|mut info| {
                let listing = self.list(&task.directory, &place, &mut info, inspector);
                (info, listing)
            }));
            if is_error {
                // The walk ends there: nobody comes for what is left.
                break;
            }
            if let Some(last) = place.last_mut() {
                *last += 1;
            }
        }
        self.state().inspected.insert(ticket, inspected);
        self.changed.notify_all();
    }

    /// Lists a directory that was found at this place of the walk, in the directory `above`, unless
    /// enough is listed. Where it cannot be listed, the walk will find out.
    fn list(
        &self,
        above: &OpenDirectory,
        place: &[u32],
        info: &mut FileInfo,
        inspector: &Inspector<'_>,
    ) -> Option<Listing> {
        let file = info.directory.take()?;
        let is_enough = place.len() > MOST_DEPTH || self.state().listed >= MOST_LISTED;
        if is_enough || inspector.stops_at(&info.stat) {
            return None;
        }
        let directory = Arc::new(inspector.directory_below(above, info, file));
        let names = inspector.names(&directory).ok()?;
        self.state().listed += names.len();
        let mut listing = Listing {
            is_ahead: true,
            ..Listing::new(names, Some(place.to_vec()))
        };
        listing.share(self, &directory);
        Some(listing)
    }

    /// What became of the names that were shared as `ticket`. While a helper inspects them, this
    /// helps with others.
    fn fetch(&self, ticket: &[u32], inspector: &Inspector<'_>) -> Next {
        let mut state = self.state();
        loop {
            if let Some(task) = state.waiting.remove(ticket) {
                state.shared -= 1;
                return Next::Names(task.names);
            }
            if let Some(inspected) = state.inspected.remove(ticket) {
                state.shared -= 1;
                return Next::Inspected(inspected);
            }
            if state.is_broken {
                let error = io::Error::other("a thread ended early");
                return Next::Inspected(vec![Err(InspectError::unnamed(error))]);
            }
            state = self.work_or_wait(state, inspector);
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
    /// The names of the directory at this `place` of the walk, none of them shared yet.
    pub(super) fn new(names: ListedNames, place: Option<Ticket>) -> Self {
        Self {
            place,
            rest: names,
            ..Self::default()
        }
    }

    /// The place in the walk of the `number`th entry.
    pub(super) fn place_below(&self, number: u32) -> Option<Ticket> {
        let place = self.place.as_ref()?;
        (place.len() < MOST_DEPTH).then(|| [place, &[number][..]].concat())
    }

    /// What comes next, or `None` at the end. Of what comes after that, more is shared out; `directory`
    /// gives the directory if it is needed for that.
    pub(super) fn next(
        &mut self,
        prefetch: &Prefetch,
        inspector: &Inspector<'_>,
        directory: impl FnOnce() -> io::Result<Arc<OpenDirectory>>,
    ) -> Option<Next> {
        let ticket = self.shared.pop_front();
        let names = match ticket {
            Some(_) => Vec::new(),
            None => self.take(TASK_NAMES, prefetch),
        };
        if prefetch.has_helpers
            && !self.rest.is_empty()
            && self.shared.len() < TASKS_OF_ONE
            && let Ok(directory) = directory()
        {
            self.share(prefetch, &directory);
        }
        match ticket {
            Some(ticket) => Some(prefetch.fetch(&ticket, inspector)),
            None if names.is_empty() => None,
            None => Some(Next::Names(names)),
        }
    }

    /// Shares out as much of the rest as there is room for.
    fn share(&mut self, prefetch: &Prefetch, directory: &Arc<OpenDirectory>) {
        let Some(place) = &self.place else {
            return;
        };
        let place = place.clone();
        let mut state = prefetch.state();
        if state.open_directories() >= MOST_OPEN {
            return;
        }
        while !self.rest.is_empty()
            && self.shared.len() < TASKS_OF_ONE
            && state.shared < MOST_SHARED
        {
            let ticket = [&place[..], &[self.before]].concat();
            state.shared += 1;
            let names = self.rest(TASK_NAMES);
            if self.is_ahead {
                state.listed -= names.len();
            }
            let directory = directory.clone();
            state
                .waiting
                .insert(ticket.clone(), Task { directory, names });
            self.shared.push_back(ticket);
        }
        drop(state);
        prefetch.changed.notify_all();
    }

    fn take(&mut self, most: usize, prefetch: &Prefetch) -> Vec<ListedName> {
        let names = self.rest(most);
        if self.is_ahead {
            prefetch.state().listed -= names.len();
        }
        names
    }

    fn rest(&mut self, most: usize) -> Vec<ListedName> {
        let names = self.rest.take(most);
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        self.before = self.before.saturating_add(count);
        names
    }
}
