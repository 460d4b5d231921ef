//! Given directories of the host, has several threads look at what they hold before the walk comes by;
//! never decides what the walk finds, nor in which order.
//!
//! The walk shares out the names it will come to, a few at a time. Whoever looks at a directory also
//! lists it and shares out what it holds, so that a thread finds work of its own below. What the walk
//! comes to before any thread does, it takes back. What is nearest to the walk is looked at first. Names
//! that wait, directories that are open for them, and what was found and not fetched are bounded: where
//! there is enough of it, nothing more is shared.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::vec;

use super::listed::{ListedName, ListedNames};
use super::look::{Fault, Found, Look, Room, Spot};

/// How many names are looked at in one go, directories counted several times.
const TASK_NAMES: usize = 32;
/// How deep directories may lie of which names are shared out.
const MOST_DEPTH: usize = 64;
/// How many tasks of one directory are shared out at once.
const TASKS_OF_ONE: usize = 32;
/// How many directories tasks wait in; each is kept open.
const MOST_OPEN: usize = 64;
/// How many tasks wait, are worked on, or were not fetched; but for names put back for want of room.
const MOST_SHARED: usize = 512;
/// How much room there is for contents, in pieces that a task fills; as much again for what is next.
const MOST_ROOMS: usize = 32;
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
    /// Whether the rest is counted as listed ahead.
    is_ahead: bool,
}

/// Names that were shared out, by their place in the walk: which entry of the root leads there, which
/// one of that, and so on.
type Ticket = Vec<u32>;

#[derive(Debug)]
struct Task {
    spot: Arc<Spot>,
    names: Vec<ListedName>,
}

/// What a name led to, and of a directory what it holds, if there was room for that.
pub(super) type Looked = Result<(Found, Option<Listing>), Fault>;

/// What names led to that were shared out.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Up to the first name that could not be looked at.
    pub(super) looked: Vec<Looked>,
    /// The contents.
    pub(super) room: Option<Room>,
    /// The names for whose contents there was no room left: they are shared out anew.
    rest: Option<Ticket>,
}

/// What the walk comes to next.
pub(super) enum Next {
    /// Names nobody looked at.
    Names(Vec<ListedName>),
    Looked(Done),
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
    waiting: BTreeMap<Ticket, Task>,
    looked: BTreeMap<Ticket, Done>,
    /// Rooms nobody uses, and how many are in use.
    spare: Vec<Room>,
    rooms: usize,
    /// How many tasks are shared and not fetched.
    shared: usize,
    /// How many names are listed ahead.
    listed: usize,
    is_over: bool,
    /// Whether a thread ended in the middle of a task.
    is_broken: bool,
}

impl State {
    /// Whether there is room for what the nearest names that wait lead to. What lies before all that
    /// was looked at shall not wait for the walk to come by there.
    fn has_room(&self) -> bool {
        let nearest = self.waiting.keys().next();
        let is_next = nearest.is_some_and(|nearest| {
            let looked = self.looked.keys().next();
            looked.is_none_or(|looked| nearest < looked)
        });
        self.rooms < if is_next { 2 * MOST_ROOMS } else { MOST_ROOMS }
    }

    /// How many directories tasks wait in, or a few more: those of one mostly follow each other.
    fn open_directories(&self) -> usize {
        let spots = self.waiting.values().map(|task| Arc::as_ptr(&task.spot));
        let mut spots: Vec<*const Spot> = spots.collect();
        spots.dedup();
        spots.len()
    }

    fn room(&mut self) -> Room {
        self.rooms += 1;
        self.spare.pop().unwrap_or_default()
    }
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
            state = self.work_or_wait(state, look);
        }
    }

    /// Looks at what waits nearest to the walk, or waits for more: for names, and for room.
    fn work_or_wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        look: &Look<'_>,
    ) -> MutexGuard<'a, State> {
        let reads = look.reading().is_some();
        if reads && !state.has_room() {
            return self.wait(state);
        }
        match state.waiting.pop_first() {
            Some((ticket, task)) => {
                let room = reads.then(|| state.room());
                drop(state);
                self.work(ticket, (task, room), look);
                self.state()
            }
            None => self.wait(state),
        }
    }

    fn work(&self, ticket: Ticket, (task, room): (Task, Option<Room>), look: &Look<'_>) {
        let _working = Working(self);
        let Task { spot, names } = task;
        let mut names = names.into_iter();
        let mut done = Done {
            looked: Vec::with_capacity(names.len()),
            room,
            rest: None,
        };
        let mut place = ticket.clone();
        while done.room.as_ref().is_none_or(Room::fits_any)
            && let Some(listed) = names.next()
        {
            let found = look.at(&spot, listed, done.room.as_mut());
            let found = found.map(|mut found| {
                let listing = self.list((&spot, &place), &mut found, look);
                (found, listing)
            });
            if let Some(last) = place.last_mut() {
                *last += 1;
            }
            let is_fault = found.is_err();
            done.looked.push(found);
            if is_fault {
                // The walk ends there: nobody comes for what is left.
                names = Vec::new().into_iter();
            }
        }
        if let Some(unused) = done.room.take_if(|room| room.bytes().is_empty()) {
            self.give_back(unused);
        }
        let is_left = !names.as_slice().is_empty();
        let names = names.collect();
        let rest = is_left.then(move || Task { spot, names });
        let mut state = self.state();
        if let Some(rest) = rest {
            state.shared += 1;
            state.waiting.insert(place.clone(), rest);
            done.rest = Some(place);
        }
        state.looked.insert(ticket, done);
        drop(state);
        self.changed.notify_all();
    }

    /// Room for contents, if they are read.
    pub(super) fn room(&self, look: &Look<'_>) -> Option<Room> {
        look.reading()?;
        Some(self.state().room())
    }

    /// Takes back what [`room`](Self::room) gave.
    pub(super) fn give_back(&self, mut room: Room) {
        room.clear();
        let mut state = self.state();
        let waits = state.rooms >= MOST_ROOMS;
        state.rooms -= 1;
        state.spare.push(room);
        drop(state);
        if waits {
            self.changed.notify_all();
        }
    }

    /// Lists a directory that was `found` at this place of the walk, in the directory at `above`, unless
    /// enough is listed. Where it cannot be listed, the walk will find out.
    fn list(
        &self,
        (above, place): (&Spot, &[u32]),
        found: &mut Found,
        look: &Look<'_>,
    ) -> Option<Listing> {
        let file = found.directory.take()?;
        let is_enough = place.len() > MOST_DEPTH || self.state().listed >= MOST_LISTED;
        if is_enough || look.stops_at(&found.stat) {
            return None;
        }
        let spot = Arc::new(look.spot_below(above, &found.name, file));
        let names = look.names(&spot).ok()?;
        self.state().listed += names.len();
        let mut listing = Listing {
            is_ahead: true,
            ..Listing::new(names, Some(place.to_vec()))
        };
        listing.share(self, &spot);
        Some(listing)
    }

    /// What became of the names that were shared as `ticket`. While a helper looks at them, this
    /// helps with others.
    fn fetch(&self, ticket: &[u32], look: &Look<'_>) -> Next {
        let mut state = self.state();
        loop {
            if let Some(task) = state.waiting.remove(ticket) {
                state.shared -= 1;
                return Next::Names(task.names);
            }
            if let Some(done) = state.looked.remove(ticket) {
                state.shared -= 1;
                return Next::Looked(done);
            }
            if state.is_broken {
                let fault = Fault::unnamed(io::Error::other("a thread ended early"));
                return Next::Looked(Done {
                    looked: vec![Err(fault)],
                    ..Done::default()
                });
            }
            state = self.work_or_wait(state, look);
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
            None => self.take(TASK_NAMES, ahead),
        };
        if ahead.has_helpers
            && !self.rest.is_empty()
            && self.shared.len() < TASKS_OF_ONE
            && let Ok(spot) = spot()
        {
            self.share(ahead, &spot);
        }
        match ticket {
            Some(ticket) => {
                let mut next = ahead.fetch(&ticket, look);
                if let Next::Looked(done) = &mut next
                    && let Some(rest) = done.rest.take()
                {
                    self.shared.push_front(rest);
                }
                Some(next)
            }
            None if names.is_empty() => None,
            None => Some(Next::Names(names)),
        }
    }

    /// Shares out as much of the rest as there is room for.
    fn share(&mut self, ahead: &Ahead, spot: &Arc<Spot>) {
        let Some(place) = &self.place else {
            return;
        };
        let place = place.clone();
        let mut state = ahead.state();
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
            let spot = spot.clone();
            state.waiting.insert(ticket.clone(), Task { spot, names });
            self.shared.push_back(ticket);
        }
        drop(state);
        ahead.changed.notify_all();
    }

    fn take(&mut self, most: usize, ahead: &Ahead) -> Vec<ListedName> {
        let names = self.rest(most);
        if self.is_ahead {
            ahead.state().listed -= names.len();
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
