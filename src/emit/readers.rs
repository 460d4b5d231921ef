//! Given which pieces of files are wanted, reads each byte once by as few readers as there can be; never
//! in another order than a file's own where there is but one.
//!
//! Batches are dealt in the order of the image, and so are the turns of a file that is read in order:
//! whoever waits for one waits for a batch that was dealt before, so that somebody always goes on.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::EmitError;
use crate::tree::{Access, Content, ContentReader, Kind, NodeIndex, Tree};

/// How much is read at once of what may come slowly, such as from a pipe or a function: between two of these is
/// time to stop.
const SLOW_BYTES: usize = 4096;

/// The readers of files of which no batch holds all.
pub(super) struct Readers<'a> {
    tree: &'a Tree,
    cancel: &'a AtomicBool,
    state: Mutex<State<'a>>,
    turned: Condvar,
}

#[derive(Default)]
struct State<'a> {
    files: HashMap<NodeIndex, OpenFile<'a>>,
    /// The lowest batch that failed, behind which nobody waits any more, since a turn may never end.
    failed: Option<u64>,
}

struct OpenFile<'a> {
    /// Readers that nobody uses at the moment.
    idle: Vec<Box<dyn ContentReader + 'a>>,
    /// How many bytes of data were not read yet.
    left: u64,
    /// Whose turn it is.
    turn: u64,
}

/// A piece of a file.
#[derive(Clone)]
pub(super) struct Wanted<'a> {
    pub(super) node: NodeIndex,
    pub(super) content: &'a Content,
    /// The bytes of the file, of which only data is read.
    pub(super) range: Range<u64>,
    /// Which piece of the file it is, in the order in which they were dealt.
    pub(super) turn: u64,
    /// The number of the batch that wants it.
    pub(super) batch: u64,
}

impl Wanted<'_> {
    /// Whether no data of the file lies outside.
    fn is_all(&self) -> bool {
        let within =
            |span: &Range<u64>| span.start >= self.range.start && span.end <= self.range.end;
        self.content.data_span().as_ref().is_none_or(within)
    }

    fn data_bytes(&self) -> u64 {
        let data = self.content.data_in(self.range.clone());
        data.map(|range| range.end - range.start).sum()
    }
}

impl<'a> Readers<'a> {
    /// Readers of the files of `tree`, until `cancel` is set.
    pub(super) fn new(tree: &'a Tree, cancel: &'a AtomicBool) -> Self {
        Self {
            tree,
            cancel,
            state: Mutex::default(),
            turned: Condvar::new(),
        }
    }

    /// Fills `buffer` with the bytes of `wanted`: zeros where there is no data.
    pub(super) fn read(&self, wanted: &Wanted<'a>, buffer: &mut [u8]) -> Result<(), EmitError> {
        let content = wanted.content;
        let failed = |error| self.failed(content, error);
        let bytes = wanted.data_bytes();
        if bytes == 0 {
            buffer.fill(0);
            return Ok(());
        }
        if wanted.is_all() {
            let mut reader = content.open().map_err(failed)?;
            let mut reading = FileReading {
                reader: &mut *reader,
                content,
                cancel: self.cancel,
            };
            reading.fill(wanted.range.clone(), buffer).map_err(failed)?;
            return reading.finish().map_err(failed);
        }
        // Where this ends early, the turn is never given on.
        let turn = Turn {
            readers: self,
            batch: wanted.batch,
        };
        let mut reader = match self.take(wanted)? {
            Some(reader) => reader,
            None => content.open().map_err(failed)?,
        };
        let mut reading = FileReading {
            reader: &mut *reader,
            content,
            cancel: self.cancel,
        };
        reading.fill(wanted.range.clone(), buffer).map_err(failed)?;
        for mut reader in self.give_back(wanted.node, reader, bytes) {
            let mut reading = FileReading {
                reader: &mut *reader,
                content,
                cancel: self.cancel,
            };
            reading.finish().map_err(failed)?;
        }
        std::mem::forget(turn);
        Ok(())
    }

    /// Opens and ends each file that has no data and comes from what is read in order, as one that has some is: it
    /// may hold more than was declared. `is_in_place` are those that nobody reads.
    pub(super) fn read_empty(
        &self,
        is_in_place: impl Fn(NodeIndex) -> bool,
    ) -> Result<(), EmitError> {
        for (node, declared) in self.tree.nodes() {
            let Kind::File(content) = &declared.kind else {
                continue;
            };
            let is_known = content.source.access(content.key) == Access::Anywhere
                || content.placed().is_some()
                || is_in_place(node.in_tree());
            if is_known || content.data_ranges().next().is_some() {
                continue;
            }
            let failed = |error| self.failed(content, error);
            let mut reader = content.open().map_err(failed)?;
            let mut reading = FileReading {
                reader: &mut *reader,
                content,
                cancel: self.cancel,
            };
            reading.finish().map_err(failed)?;
        }
        Ok(())
    }

    /// What is told of `error`: that it was asked to stop, if that is so.
    fn failed(&self, content: &Content, error: io::Error) -> EmitError {
        if self.cancel.load(Ordering::Relaxed) {
            EmitError::Cancelled
        } else {
            unreadable(self.tree, content, error)
        }
    }

    /// Lets no batch wait for a turn any more that was dealt after `batch`, which failed. One that was dealt
    /// before waits for none that failed, and may fail by itself: then it is the one that is told.
    pub(super) fn abort(&self, batch: u64) {
        let mut state = self.state();
        state.failed = Some(state.failed.map_or(batch, |failed| failed.min(batch)));
        drop(state);
        self.turned.notify_all();
    }

    /// An open reader that nobody else uses, if there is one, once it is the turn of `wanted`.
    fn take(&self, wanted: &Wanted<'a>) -> Result<Option<Box<dyn ContentReader + 'a>>, EmitError> {
        let Wanted { node, content, .. } = wanted;
        let has_turns = content.source.access(content.key) != Access::Anywhere;
        let mut state = self.state();
        loop {
            if state.failed.is_some_and(|failed| failed < wanted.batch) {
                return Err(EmitError::Cancelled);
            }
            let file = state.files.entry(*node).or_insert_with(|| OpenFile {
                idle: Vec::new(),
                left: content
                    .data_ranges()
                    .map(|range| range.end - range.start)
                    .sum(),
                turn: 0,
            });
            if !has_turns || file.turn == wanted.turn {
                return Ok(file.idle.pop());
            }
            let waited = self.turned.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a reader back that read `bytes`. Once all was read, gives all of them.
    fn give_back(
        &self,
        node: NodeIndex,
        reader: Box<dyn ContentReader + 'a>,
        bytes: u64,
    ) -> Vec<Box<dyn ContentReader + 'a>> {
        let mut state = self.state();
        let Some(file) = state.files.get_mut(&node) else {
            return vec![reader];
        };
        file.idle.push(reader);
        file.left = file.left.saturating_sub(bytes);
        file.turn += 1;
        let done = file.left == 0;
        self.turned.notify_all();
        let done = done.then(|| state.files.remove(&node)).flatten();
        done.map_or(Vec::new(), |file| file.idle)
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn that nobody gives on if it is dropped, such as where a reader fails or panics.
struct Turn<'r, 'a> {
    readers: &'r Readers<'a>,
    batch: u64,
}

impl Drop for Turn<'_, '_> {
    fn drop(&mut self) {
        self.readers.abort(self.batch);
    }
}

/// A file that is open, and read until `cancel` is set.
pub(crate) struct FileReading<'r> {
    pub(crate) reader: &'r mut dyn ContentReader,
    pub(crate) content: &'r Content,
    pub(crate) cancel: &'r AtomicBool,
}

impl FileReading<'_> {
    /// Reads the data of the file in `range`. The rest of a block that data begins or ends in is a hole: it is
    /// zero, whatever the source has there.
    pub(crate) fn fill(&mut self, range: Range<u64>, buffer: &mut [u8]) -> io::Result<()> {
        let start = range.start;
        let within = |place: u64| usize::try_from(place - start).expect("within a slice");
        let is_slow = self.content.source.access(self.content.key) != Access::Anywhere;
        let mut done = 0;
        for data in self.content.data_in(range) {
            let (from, to) = (within(data.start), within(data.end));
            buffer[done..from].fill(0);
            self.reader.pass(data.start, self.cancel)?;
            let most = if is_slow { SLOW_BYTES } else { to - from };
            let mut at = data.start;
            for piece in buffer[from..to].chunks_mut(most.max(1)) {
                self.check_cancel()?;
                self.reader.read_exact_at(at, piece)?;
                at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            }
            done = to;
        }
        buffer[done..].fill(0);
        Ok(())
    }

    /// Says, once all was read, whether the file is still what was declared.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.reader.pass(self.content.size_bytes, self.cancel)?;
        self.reader.finish()
    }

    fn check_cancel(&self) -> io::Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        Ok(())
    }
}

/// What could not be read of `content`, which `tree` has.
pub(crate) fn unreadable(tree: &Tree, content: &Content, error: io::Error) -> EmitError {
    let is_it =
        |other: &Content| Arc::ptr_eq(&other.source, &content.source) && other.key == content.key;
    let mut nodes = tree.nodes();
    let node = nodes.find(|(_, node)| matches!(&node.kind, Kind::File(other) if is_it(other)));
    if let Some((node, _)) = node {
        content.source.set_path(content.key, &tree.path(node));
    }
    EmitError::Content {
        name: content.source.describe(content.key),
        path: content.source.path(content.key),
        error,
    }
}
