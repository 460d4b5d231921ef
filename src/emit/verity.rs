//! Given the data of files as it is read, hashes it and gives the Merkle trees and descriptors of fs-verity;
//! never chooses a place.
//!
//! The pieces of a file are dealt in its order, and what lies behind its data waits until all of that was
//! hashed, by whichever threads. Where an image is written in order and the tree lies before data, the
//! file is read by itself first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytemuck::bytes_of;

use super::EmitError;
use super::readers::unreadable;
use crate::layout::{Claim, Layout, Owner, VerityPlan};
use crate::ondisk::fsverity::{BlockHasher, Hash};
use crate::ondisk::int::Le32;
use crate::tree::{Content, Kind, NodeIndex, Tree};
use crate::units::BlockSize;

/// How much of a file is read at once that is read by itself.
const STEP_BYTES: u64 = 1 << 20;

/// The digests of files that fs-verity protects, by their nodes.
pub type Digests = BTreeMap<NodeIndex, Hash>;

/// A file that fs-verity protects.
#[derive(Clone, Copy)]
pub(super) struct Protected<'a> {
    tree: &'a Tree,
    pub(super) node: NodeIndex,
    pub(super) content: &'a Content,
    pub(super) plan: &'a VerityPlan,
    block_size: BlockSize,
}

/// The trees that are being made.
pub(super) struct MerkleTrees {
    /// Files that are read by themselves for their trees.
    apart: HashSet<NodeIndex>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    files: HashMap<NodeIndex, Hashed>,
    digests: Digests,
    /// The lowest batch that failed, behind which nobody waits any more.
    failed: Option<u64>,
}

/// What is known of a file's hashes.
struct Hashed {
    /// The tree, of which the lowest level is filled first.
    tree: Vec<u8>,
    /// How many blocks of data are still to be hashed.
    left: u64,
    stage: Stage,
    /// How many bytes of tree and descriptor are still to be written.
    unwritten: u64,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Hashing,
    /// A thread makes the upper levels.
    Building,
    /// All is there; these bytes lie behind the tree.
    Built(Vec<u8>),
}

impl<'a> Protected<'a> {
    /// The file `node`, if it is one.
    pub(super) fn of(layout: &'a Layout, tree: &'a Tree, node: NodeIndex) -> Option<Self> {
        let id = tree.id(node);
        let plan = layout.content.verity_of(id)?;
        let Kind::File(content) = &tree.node(id).kind else {
            return None;
        };
        let block_size = layout.geometry.block_size;
        Some(Self {
            tree,
            node,
            content,
            plan,
            block_size,
        })
    }

    /// The ranges of bytes in which data lies, in whole blocks of the filesystem.
    fn data(&self) -> impl Iterator<Item = Range<u64>> + use<'a> {
        let bytes = self.block_size.bytes_u64();
        let mut counted = 0;
        self.content.data_ranges().filter_map(move |range| {
            let start = (range.start - range.start % bytes).max(counted);
            counted = range.end.next_multiple_of(bytes);
            (start < counted).then_some(start..counted)
        })
    }

    /// How many blocks of the tree have their first byte in `range` and are blocks of data.
    fn blocks_in(&self, range: &Range<u64>) -> u64 {
        let shape = &self.plan.shape;
        let end = (range.end / shape.block_bytes).min(shape.data_blocks);
        end.saturating_sub(range.start / shape.block_bytes)
    }

    /// Where the hashes of data blocks begin in what is kept of the tree.
    fn first_leaf(&self) -> u64 {
        self.plan.shape.level_bytes(0).start
    }

    /// What is known before anything is read: the hashes of holes.
    fn begin(&self) -> Hashed {
        let shape = &self.plan.shape;
        let leaves = shape.data_blocks * shape.hash_bytes();
        let mut tree = vec![0; index(shape.bytes().max(leaves))];
        let left = self.data().map(|range| self.blocks_in(&range)).sum();
        if left < shape.data_blocks {
            let zeros = vec![0; index(shape.block_bytes)];
            let hash = self.hasher().hash(&zeros);
            let first = index(self.first_leaf());
            for leaf in tree[first..first + index(leaves)].chunks_exact_mut(hash.as_bytes().len()) {
                leaf.copy_from_slice(hash.as_bytes());
            }
        }
        Hashed {
            tree,
            left,
            stage: Stage::Hashing,
            unwritten: self.plan.bytes(),
        }
    }

    fn hasher(&self) -> BlockHasher {
        BlockHasher::new(self.plan.hash, &self.plan.salt)
    }

    /// The hashes of the data blocks that `bytes` holds from the byte `start` of the file on.
    fn hashes(&self, start: u64, bytes: &[u8]) -> Vec<u8> {
        let hasher = self.hasher();
        let end = start + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let blocks = bytes.chunks_exact(index(self.plan.shape.block_bytes));
        let wanted = blocks.take(index(self.blocks_in(&(start..end))));
        let hashes = wanted.map(|block| hasher.hash(block));
        hashes.flat_map(|hash| hash.as_bytes().to_vec()).collect()
    }

    /// Makes the upper levels of `tree`, and gives the root's hash.
    fn raise(&self, tree: &mut [u8]) -> Hash {
        let (shape, hasher) = (&self.plan.shape, self.hasher());
        if shape.data_blocks == 0 {
            return Hash::zero(self.plan.hash);
        }
        if shape.levels() == 0 {
            return Hash::of(&tree[..index(shape.hash_bytes())]);
        }
        let block_bytes = index(shape.block_bytes);
        let within = |level| {
            let range = shape.level_bytes(level);
            index(range.start)..index(range.end)
        };
        for level in 1..shape.levels() {
            let (above, below) = tree.split_at_mut(within(level).end);
            let below = &below[..within(level - 1).len()];
            let hashes = below.chunks_exact(block_bytes);
            let places = above[within(level)].chunks_exact_mut(index(shape.hash_bytes()));
            for (block, place) in hashes.zip(places) {
                place.copy_from_slice(hasher.hash(block).as_bytes());
            }
        }
        hasher.hash(&tree[within(shape.levels() - 1)])
    }

    /// What lies behind the tree: what fills its last block, the descriptor, the signature, and their
    /// length at the very end. Gives the file's digest as well.
    fn tail(&self, root: Hash) -> io::Result<(Vec<u8>, Hash)> {
        let plan = self.plan;
        let expected = plan.root_hash.as_deref();
        if expected.is_some_and(|expected| expected != root.as_bytes()) {
            let text = "its data does not match the root hash in its fs-verity descriptor";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let descriptor = plan.descriptor(root.padded());
        let fill = plan
            .shape
            .bytes()
            .next_multiple_of(self.block_size.bytes_u64())
            - plan.shape.bytes();
        let mut tail = vec![0; index(fill)];
        tail.extend(bytes_of(&descriptor));
        tail.extend(&plan.signature);
        let length = u32::try_from(plan.descriptor_bytes()).expect("less than 16 KiB");
        tail.resize(index(plan.bytes() - plan.shape.bytes()), 0);
        let end = tail.len() - size_of::<Le32>();
        tail[end..].copy_from_slice(bytes_of(&Le32::new(length)));
        let digest = descriptor.digest().expect("its hash is one of ours");
        Ok((tail, digest))
    }
}

impl MerkleTrees {
    /// The trees of `tree`, whose claims are dealt as `claims` gives them.
    pub(super) fn new<'a>(
        layout: &Layout,
        tree: &Tree,
        claims: impl Iterator<Item = &'a Claim>,
    ) -> Self {
        let mut apart = HashSet::new();
        if layout.content.has_verity() {
            let mut begun = HashSet::new();
            for claim in claims {
                let Owner::File(node, logical) = claim.owner else {
                    continue;
                };
                let Some(file) = Protected::of(layout, tree, node) else {
                    continue;
                };
                let behind = file.plan.blocks().start;
                if u64::from(logical.get()) < behind && begun.contains(&node) {
                    apart.insert(node);
                }
                if u64::from(logical.get()) + claim.run().len > behind {
                    begun.insert(node);
                }
            }
        }
        Self {
            apart,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Hashes `bytes`, which are blocks of `file` from its byte `start` on.
    pub(super) fn hash(&self, file: &Protected<'_>, start: u64, bytes: &[u8]) {
        if self.apart.contains(&file.node) {
            return;
        }
        let hashes = file.hashes(start, bytes);
        let mut state = self.state();
        let hashed = state.of(file);
        hashed.put(file, start, &hashes);
        if hashed.left == 0 {
            self.changed.notify_all();
        }
    }

    /// Fills `bytes` with what `file` has from `offset` on behind its data, once all of that is hashed. The
    /// batch `number` waits no longer once one before it has failed.
    pub(super) fn copy(
        &self,
        file: &Protected<'_>,
        offset: u64,
        bytes: &mut [u8],
        number: u64,
    ) -> Result<(), EmitError> {
        let mut state = self.state();
        loop {
            let hashed = state.of(file);
            let is_apart = self.apart.contains(&file.node);
            match &hashed.stage {
                Stage::Built(_) => break,
                Stage::Hashing if hashed.left == 0 || is_apart => {
                    hashed.stage = Stage::Building;
                    let tree = std::mem::take(&mut hashed.tree);
                    drop(state);
                    let built = build(file, tree, is_apart);
                    state = self.state();
                    state.keep(file, built)?;
                    self.changed.notify_all();
                }
                Stage::Hashing | Stage::Building => {
                    if state.failed.is_some_and(|failed| failed < number) {
                        return Err(EmitError::Cancelled);
                    }
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        let hashed = state.of(file);
        hashed.copy(index(offset), bytes);
        hashed.unwritten = hashed
            .unwritten
            .saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if hashed.unwritten == 0 {
            state.files.remove(&file.node);
        }
        Ok(())
    }

    /// Lets no batch wait any more that was dealt after `batch`, which failed.
    pub(super) fn abort(&self, batch: u64) {
        let mut state = self.state();
        state.failed = Some(state.failed.map_or(batch, |failed| failed.min(batch)));
        drop(state);
        self.changed.notify_all();
    }

    /// What lets nobody wait for the batch `number` if it is dropped, such as where a reader panics.
    pub(super) fn promise(&self, number: u64) -> Promise<'_> {
        Promise {
            trees: self,
            number,
        }
    }

    /// The digests of all files, once everything is written.
    pub(super) fn into_digests(self) -> Digests {
        let state = self.state.into_inner();
        state.unwrap_or_else(PoisonError::into_inner).digests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The promise to hash a piece of a file.
pub(super) struct Promise<'t> {
    trees: &'t MerkleTrees,
    number: u64,
}

impl Promise<'_> {
    /// The piece is hashed.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.trees.abort(self.number);
    }
}

/// A tree with what lies behind it, and the file's digest.
struct Built {
    tree: Vec<u8>,
    tail: Vec<u8>,
    digest: Hash,
}

/// Makes the upper levels of `tree` and the descriptor; all of it where the file is read by itself.
fn build(file: &Protected<'_>, mut tree: Vec<u8>, is_apart: bool) -> Result<Built, EmitError> {
    let unread = |error| unreadable(file.tree, file.content, error);
    if is_apart {
        tree = read_apart(file, tree).map_err(unread)?;
    }
    let root = file.raise(&mut tree);
    // The hash of a single block is no tree.
    tree.truncate(index(file.plan.shape.bytes()));
    let (tail, digest) = file.tail(root).map_err(unread)?;
    Ok(Built { tree, tail, digest })
}

/// Hashes all data of `file`.
fn read_apart(file: &Protected<'_>, tree: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut hashed = Hashed {
        tree,
        ..file.begin()
    };
    let content = file.content;
    let mut reader = content.open()?;
    for range in file.data() {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + STEP_BYTES);
            let mut bytes = vec![0; index(end - start)];
            for data in content.data_in(start..end) {
                let wanted = index(data.start - start)..index(data.end - start);
                reader.read_exact_at(data.start, &mut bytes[wanted])?;
            }
            hashed.put(file, start, &file.hashes(start, &bytes));
            start = end;
        }
    }
    reader.finish()?;
    Ok(hashed.tree)
}

impl State {
    fn of(&mut self, file: &Protected<'_>) -> &mut Hashed {
        let files = self.files.entry(file.node);
        files.or_insert_with(|| file.begin())
    }

    /// Keeps what was built, or lets another try who will fail in the same way.
    fn keep(
        &mut self,
        file: &Protected<'_>,
        built: Result<Built, EmitError>,
    ) -> Result<(), EmitError> {
        let Built { tree, tail, digest } = built.inspect_err(|_| {
            self.files.remove(&file.node);
        })?;
        let hashed = self.of(file);
        hashed.tree = tree;
        hashed.stage = Stage::Built(tail);
        self.digests.insert(file.node, digest);
        Ok(())
    }
}

impl Hashed {
    /// Puts the hashes of the blocks from the byte `start` of the file on to their places.
    fn put(&mut self, file: &Protected<'_>, start: u64, hashes: &[u8]) {
        let shape = &file.plan.shape;
        let before = start / shape.block_bytes * shape.hash_bytes();
        let place = index(file.first_leaf() + before);
        self.tree[place..place + hashes.len()].copy_from_slice(hashes);
        let blocks = u64::try_from(hashes.len()).unwrap_or(u64::MAX) / shape.hash_bytes();
        self.left = self.left.saturating_sub(blocks);
    }

    /// Copies tree and tail from `offset` on.
    fn copy(&self, offset: usize, bytes: &mut [u8]) {
        let Stage::Built(tail) = &self.stage else {
            return;
        };
        let tree = self.tree.get(offset..).unwrap_or_default();
        let from_tree = tree.len().min(bytes.len());
        let (first, rest) = bytes.split_at_mut(from_tree);
        first.copy_from_slice(&tree[..from_tree]);
        if !rest.is_empty() {
            let behind = offset + from_tree - self.tree.len();
            rest.copy_from_slice(&tail[behind..behind + rest.len()]);
        }
    }
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a Merkle tree fits memory")
}
