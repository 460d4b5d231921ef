//! Given layers of which some are listed again and again, says when laying those that are left would
//! change nothing; never lays one.
//!
//! To lay a layer over a tree that was there before, gives what it gave then. So states of the tree are
//! known by their digests, and once the way through all layers that are left is known from before and
//! ends where it begins, it need not be gone. That holds whatever a layer does: one that moves names
//! around by hard links comes back to a state after some rounds, and is laid until then.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::layers::Contents;
use crate::source::archive::Unpack;

/// How many entries of layers that were laid before cost less than to look for a way around them.
const FEW_ENTRIES: usize = 200_000;
/// How many nodes may be looked at for digests, in all layers together.
const MOST_NODES: usize = 1 << 22;

type State = [u8; 32];

/// A layer by the place of what it holds.
type Which = *const Contents;

/// What is known of the states that a tree was in.
pub(super) struct Repeats {
    /// Whether it is worth while to look at states.
    is_looking: bool,
    nodes_left: usize,
    state: Option<State>,
    ways: HashMap<(State, Which), State>,
}

impl Repeats {
    /// Nothing is laid yet of these layers.
    pub(super) fn of(layers: &[Arc<Contents>]) -> Self {
        let mut seen = HashSet::new();
        let again = layers
            .iter()
            .filter(|layer| !seen.insert(Arc::as_ptr(layer)));
        let again: usize = again.map(|layer| layer.len()).sum();
        Self {
            is_looking: again > FEW_ENTRIES,
            nodes_left: MOST_NODES,
            state: None,
            ways: HashMap::new(),
        }
    }

    /// Whether the tree would in the end be as it is, if the layers `left` were laid.
    pub(super) fn change_nothing(&self, left: &[Arc<Contents>]) -> bool {
        let Some(state) = self.state else {
            return false;
        };
        let go =
            |at: State, layer: &Arc<Contents>| self.ways.get(&(at, Arc::as_ptr(layer))).copied();
        left.iter().try_fold(state, go) == Some(state)
    }

    /// Notes that `layer` was laid.
    pub(super) fn laid(&mut self, layer: &Arc<Contents>, unpack: &Unpack<'_>) {
        if !self.is_looking {
            return;
        }
        let Some(left) = self.nodes_left.checked_sub(unpack.nodes()) else {
            self.is_looking = false;
            self.state = None;
            return;
        };
        self.nodes_left = left;
        let after = unpack.state();
        if let Some(before) = self.state.replace(after) {
            self.ways.insert((before, Arc::as_ptr(layer)), after);
        }
    }
}
