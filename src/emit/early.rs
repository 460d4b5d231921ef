//! Given which contents were written before the layout was known, and where, says which of them are
//! in their places; never writes one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::Image;
use crate::layout::{Claim, Owner};
use crate::tree::{Content, ContentKey, ContentSource, Kind};
use crate::units::{Block, BlockSize, Run};

/// How many keys a source may have for each content of which it is noted where it is, and how many more:
/// what is kept in mind grows with what is written, whatever the keys are.
const MOST_KEYS: usize = 4;
const MORE_KEYS: usize = 4096;

/// What was written before the layout was known.
#[derive(Default)]
pub struct Early {
    /// Whose contents they are, if any was noted: another source has the same keys for its own.
    source: Option<Arc<dyn ContentSource>>,
    /// By its key, the first block of each content that was written whole and in one piece, or 0 for
    /// none; what does not fit 32 bits is not kept, for there may be millions.
    places: Vec<u32>,
    /// The same for keys that lie far from those that were noted before.
    far: HashMap<ContentKey, u32>,
    /// How many of both there are.
    noted: usize,
    /// The blocks that ever held one, neighbours joined.
    used: Vec<Run>,
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Early")
            .field("noted", &self.noted)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

impl Early {
    /// What was written to the blocks `used`, in ascending order, and is in its place for certain, for
    /// the layout was told.
    pub fn told(used: Vec<Run>) -> Self {
        Self {
            used,
            ..Self::default()
        }
    }

    /// Notes that `content` is written to `run`, whole, if that can be kept in mind: of one source, and
    /// of no key twice.
    pub fn note(&mut self, content: &Content, run: Run) -> bool {
        let key = content.key;
        let source = self.source.get_or_insert_with(|| content.source.clone());
        if !is_same(source, &content.source) {
            return false;
        }
        let Ok(place) = u32::try_from(run.start.get()) else {
            return false;
        };
        let near = usize::try_from(key).ok();
        match near.filter(|key| *key <= MOST_KEYS * self.noted + MORE_KEYS) {
            Some(key) => {
                if self.places.len() <= key {
                    self.places.resize(key + 1, 0);
                }
                self.places[key] = place;
            }
            None => drop(self.far.insert(key, place)),
        }
        self.noted += 1;
        match self.used.last_mut() {
            Some(last) if last.end() == run.start => last.len += run.len,
            _ => self.used.push(run),
        }
        true
    }

    /// The same for a layout that has nothing where it was thought to be, and whose blocks may be smaller
    /// than those it was thought to have.
    #[must_use]
    pub fn moved(self, was: BlockSize, is: BlockSize) -> Self {
        let each = was.bytes_u64() / is.bytes_u64();
        let used = self.used.iter();
        let used = used.map(|run| Run::new(Block::new(run.start.get() * each), run.len * each));
        Self {
            places: Vec::new(),
            far: HashMap::new(),
            used: used.collect(),
            ..self
        }
    }

    /// The same in order, for [`used`](Self::used).
    pub(super) fn sorted(mut self) -> Self {
        self.used.sort_unstable();
        self
    }

    /// The blocks that ever held a content.
    pub(super) fn used(&self) -> &[Run] {
        &self.used
    }

    /// Whether this was written on a guess, where nothing is to be left of what was guessed wrongly.
    pub(super) fn is_guess(&self) -> bool {
        self.source.is_some()
    }

    fn place_of(&self, content: &Content) -> Option<Block> {
        let source = self.source.as_ref()?;
        if !is_same(source, &content.source) {
            return None;
        }
        let near = usize::try_from(content.key).ok();
        let near = near.and_then(|key| self.places.get(key));
        let place = match near.filter(|place| **place > 0) {
            Some(place) => place,
            None => self.far.get(&content.key)?,
        };
        Some(Block::new(u64::from(*place)))
    }
}

/// Whether both are one source, and not two of a kind.
fn is_same(a: &Arc<dyn ContentSource>, b: &Arc<dyn ContentSource>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

impl Image<'_> {
    /// Whether what `claim` is for was written before the layout was known.
    pub(super) fn is_in_place(&self, claim: &Claim) -> bool {
        let Owner::File(node, at) = claim.owner else {
            return false;
        };
        let Kind::File(content) = &self.tree.node(node).kind else {
            return false;
        };
        if content.placed().is_some() {
            return true;
        }
        let blocks = self
            .layout
            .geometry
            .block_size
            .blocks_for(content.size_bytes);
        at.get() == 0
            && claim.run().len == blocks
            && self.early.place_of(content) == Some(claim.run().start)
    }
}
