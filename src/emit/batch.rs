//! Given claims in ascending order, cuts them into batches and renders those; never a superblock.

use super::blocks::further;
use super::readers::{Readers, Wanted, unreadable};
use super::relay::Relay;
use super::turns::Turns;
use super::verity::{MerkleTrees, Protected};
use super::{EmitError, Image, Out};
use crate::layout::{Claim, Owner};
use crate::ondisk::superblock;
use crate::sink::{Extent, WINDOW_BYTES};
use crate::tree::{Access, Content, Kind, Node, NodeIndex};
use crate::units::{Block, LogicalBlock, Run};
use bytemuck::bytes_of;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// How many bytes a batch holds, about.
pub(super) const BATCH_BYTES: u64 = 512 << 10;

/// Descriptors are rendered once for all their copies. Fewer bytes of them than this are written with
/// their neighbours, more from where they are.
const COPIED_BYTES: usize = 64 << 10;

/// Blocks that are rendered and written together.
pub(super) struct Batch {
    /// The batch's place in the image's order.
    pub(super) number: u64,
    pieces: Vec<Piece>,
}

/// A claim, or a part of one.
struct Piece {
    claim: Claim,
    /// Of a file that is read in order, which of its pieces it is.
    turn: u64,
}

/// The batches of an image, in ascending order of blocks.
#[derive(Clone)]
pub(super) struct Batches<'a> {
    image: &'a Image<'a>,
    /// Where the image begins in a sink that takes it in order: the primary superblock is among the
    /// blocks then, and no two batches have bytes of one [window](WINDOW_BYTES) of the sink.
    base: Option<u64>,
    number: u64,
    /// The claims in the order in which they are dealt, where that is not the ledger's.
    order: Option<Arc<[usize]>>,
    /// The next claim, and how many of its blocks were dealt already.
    claim: usize,
    dealt: u64,
    /// How many pieces were dealt of each file that is read in order.
    turns: HashMap<NodeIndex, u64>,
}

impl<'a> Batches<'a> {
    pub(super) fn new(image: &'a Image<'a>, base: Option<u64>) -> Self {
        Self {
            image,
            base,
            number: 0,
            order: image.order_of_claims(base.is_some()),
            claim: 0,
            dealt: 0,
            turns: HashMap::new(),
        }
    }

    /// All claims in the order in which they are dealt.
    pub(super) fn claims(&self) -> impl Iterator<Item = &'a Claim> + use<'a> {
        let claims = self.image.layout.ledger.claims();
        let order = self.order.clone();
        (0..claims.len()).filter_map(move |at| match &order {
            Some(order) => claims.get(*order.get(at)?),
            None => claims.get(at),
        })
    }

    /// The next claim of which blocks are still to be written, the number of those, and the first.
    fn next_claim(&mut self) -> Option<(&'a Claim, u64, Block)> {
        loop {
            let at = match &self.order {
                Some(order) => *order.get(self.claim)?,
                None => self.claim,
            };
            let claim = self.image.layout.ledger.claims().get(at)?;
            let blocks = match claim.owner {
                _ if self.image.is_in_place(claim) => 0,
                Owner::Superblock(_) if self.base.is_some() => claim.run().len,
                _ => self.image.blocks_to_write(claim),
            };
            if self.dealt < blocks {
                let start = claim.run().start.plus(self.dealt);
                return Some((claim, blocks - self.dealt, start));
            }
            self.claim += 1;
            self.dealt = 0;
        }
    }

    /// The next piece that has bytes of its own, of about `most` blocks.
    fn piece(&mut self, most: u64) -> Option<Piece> {
        let (claim, blocks, start) = self.next_claim()?;
        let len = blocks.min(self.window_end(start.get() + most) - start.get());
        let run = Run::new(start, len);
        let owner = further(claim.owner, self.dealt);
        self.dealt += len;
        // None would end the image here, and nobody would say so.
        let piece = Claim::new(run, owner);
        let claim = piece.expect("a piece is no longer than its claim");
        let turn = self.turn(&claim);
        Some(Piece { claim, turn })
    }

    /// The first block at or after `block` that begins a window; `block` where there are none.
    fn window_end(&self, block: u64) -> u64 {
        let Some(base) = self.base else { return block };
        let block_bytes = self.image.layout.geometry.block_size.bytes_u64();
        let at = base + block * block_bytes;
        block + (at.next_multiple_of(WINDOW_BYTES) - at) / block_bytes
    }

    /// Whether the next piece begins in the window in which `last` ends.
    fn is_same_window(&mut self, last: Option<&Piece>) -> bool {
        let Some(last) = last.filter(|_| self.base.is_some()) else {
            return false;
        };
        let end = self.window_end(last.claim.run().end().get());
        self.next_claim()
            .is_some_and(|(_, _, start)| start.get() < end)
    }

    /// Which of the pieces of its file `piece` is, where they are read in order: those without data count
    /// for nothing.
    fn turn(&mut self, piece: &Claim) -> u64 {
        let Owner::File(node, logical) = piece.owner else {
            return 0;
        };
        let Some(content) = self.image.read_in_order(node) else {
            return 0;
        };
        let range = self.image.bytes_of(logical, piece.run().len);
        if content.data_in(range).next().is_none() {
            return 0;
        }
        let next = self.turns.entry(node).or_default();
        *next += 1;
        *next - 1
    }
}

impl Image<'_> {
    /// The node of the tree at `index`.
    pub(super) fn node(&self, index: NodeIndex) -> &Node {
        self.tree.node(self.tree.id(index))
    }

    /// What the file `node` holds, if that is read in order.
    fn read_in_order(&self, node: NodeIndex) -> Option<&Content> {
        match &self.node(node).kind {
            Kind::File(content) => {
                let access = content.source.access(content.key);
                (access != Access::Anywhere).then_some(content)
            }
            _ => None,
        }
    }

    /// The bytes of a file in `blocks` blocks from `logical` on.
    fn bytes_of(&self, logical: LogicalBlock, blocks: u64) -> Range<u64> {
        let block_bytes = self.layout.geometry.block_size.bytes_u64();
        let start = u64::from(logical.get()) * block_bytes;
        start..start.saturating_add(blocks * block_bytes)
    }

    /// The claims in the order of files that are read in order, where one of them lies in the image in
    /// another: all of it then comes where its first block is. So does a file whose Merkle tree lies before
    /// its data, unless the image is written in order.
    fn order_of_claims(&self, is_in_order: bool) -> Option<Arc<[usize]>> {
        let has_order = |node: NodeIndex| {
            let is_hashed = self.layout.content.verity_of(self.tree.id(node)).is_some();
            self.read_in_order(node).is_some() || is_hashed && !is_in_order
        };
        let claims = self.layout.ledger.claims();
        let mut files: HashMap<NodeIndex, (usize, LogicalBlock)> = HashMap::new();
        let mut descends = false;
        for (at, claim) in claims.iter().enumerate() {
            if let Owner::File(node, logical) = claim.owner
                && has_order(node)
            {
                let (_, last) = files.entry(node).or_insert((at, logical));
                descends |= *last > logical;
                *last = logical;
            }
        }
        if !descends {
            return None;
        }
        let place = |at: &usize| match claims[*at].owner {
            Owner::File(node, logical) => match files.get(&node) {
                Some((first, _)) => (*first, logical),
                None => (*at, logical),
            },
            _ => (*at, LogicalBlock::new(0)),
        };
        let mut order: Vec<usize> = (0..claims.len()).collect();
        order.sort_by_key(place);
        Some(order.into())
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let most = (BATCH_BYTES / self.image.layout.geometry.block_size.bytes_u64()).max(1);
        let mut pieces = Vec::new();
        let mut blocks = 0;
        while blocks < most || self.is_same_window(pieces.last()) {
            // What ends a window may be a little more.
            let Some(piece) = self.piece(most.saturating_sub(blocks).max(1)) else {
                break;
            };
            blocks += piece.claim.run().len;
            pieces.push(piece);
        }
        let number = self.number;
        self.number += 1;
        (!pieces.is_empty()).then_some(Batch { number, pieces })
    }
}

/// Room for the bytes of a batch, kept from one batch to the next: fresh memory costs the kernel as much as
/// reading a small file does.
#[derive(Default)]
struct Buffer {
    /// As long as the longest batch so far; what lies behind `filled` is left over.
    bytes: Vec<u8>,
    filled: usize,
}

/// What a thread keeps from one batch to the next.
pub(super) struct Worker<'r, 'a> {
    buffer: Buffer,
    readers: &'r Readers<'a>,
    trees: &'r MerkleTrees,
}

/// When a batch that is rendered is written.
pub(super) enum Way<'a> {
    /// At once, while other threads write theirs.
    AtOnce,
    /// By one thread at a time.
    OneAtATime(Relay<Full<'a>>),
    /// In order.
    InTurn(Turns),
}

/// A batch that is rendered.
pub(super) struct Full<'a> {
    number: u64,
    buffer: Buffer,
    rendered: Vec<Rendered<'a>>,
}

impl<'r, 'a> Worker<'r, 'a> {
    pub(super) fn new(readers: &'r Readers<'a>, trees: &'r MerkleTrees) -> Self {
        Self {
            buffer: Buffer::default(),
            readers,
            trees,
        }
    }

    /// Takes the room of a batch that is written.
    pub(super) fn reuse(&mut self, written: Full<'a>) {
        self.buffer = written.buffer;
    }
}

impl Full<'_> {
    /// What goes where in a sink in which the image begins at `base`.
    fn extents(&self, base: u64) -> Vec<Extent<'_>> {
        let rendered = self.rendered.iter();
        rendered
            .map(|Rendered { offset, bytes }| {
                let bytes = match bytes {
                    Bytes::Buffered(range) => &self.buffer.bytes[range.clone()],
                    Bytes::Shared(bytes) => bytes,
                };
                Extent::new(base + offset, bytes)
            })
            .collect()
    }
}

/// Rendered bytes of neighbouring blocks.
struct Rendered<'a> {
    /// Where they go, in bytes from the image's first.
    offset: u64,
    bytes: Bytes<'a>,
}

enum Bytes<'a> {
    /// These of the buffer.
    Buffered(Range<usize>),
    /// What is rendered once for all its copies.
    Shared(&'a [u8]),
}

/// A batch while it is rendered: neighbouring blocks gather and are written at once.
struct Renderer<'r, 'a> {
    image: &'a Image<'a>,
    readers: &'r Readers<'a>,
    trees: &'r MerkleTrees,
    batch: u64,
    out: &'r Out<'r>,
    buffer: &'r mut Buffer,
    rendered: Vec<Rendered<'a>>,
}

impl Image<'_> {
    /// Whether what `claim` is for is where it belongs already: it was written as it arrived, is shared, or is what
    /// an update finds there.
    pub(super) fn is_in_place(&self, claim: &Claim) -> bool {
        let Owner::File(node, _) = claim.owner else {
            return false;
        };
        let is_placed = |content: &Content| content.placed().is_some();
        self.layout.stays.is_in_place(node)
            || self.shared.contains(&node)
            || matches!(&self.node(node).kind, Kind::File(content) if is_placed(content))
    }

    /// Renders `batch` in the room that `worker` has.
    pub(super) fn render_batch<'a>(
        &'a self,
        batch: &Batch,
        out: &Out<'_>,
        worker: &mut Worker<'_, 'a>,
    ) -> Result<Full<'a>, EmitError> {
        let mut buffer = std::mem::take(&mut worker.buffer);
        buffer.filled = 0;
        let mut renderer = Renderer {
            image: self,
            readers: worker.readers,
            trees: worker.trees,
            batch: batch.number,
            out,
            buffer: &mut buffer,
            rendered: Vec::new(),
        };
        for piece in &batch.pieces {
            renderer.piece(piece)?;
        }
        let Renderer { rendered, .. } = renderer;
        Ok(Full {
            number: batch.number,
            buffer,
            rendered,
        })
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Out<'_> {
    /// Writes `full` when its time has come, and maybe what other threads rendered. Calls `wrote` with the number
    /// of each batch and its bytes, and gives one that was written.
    pub(super) fn write_batch<'a>(
        &self,
        full: Full<'a>,
        way: &Way<'a>,
        wrote: impl Fn(u64, Result<u64, EmitError>),
    ) -> Option<Full<'a>> {
        let write = |full: &Full<'_>| {
            let extents = full.extents(self.base);
            let written = match way {
                Way::InTurn(turns) => self.write_in_turn(&extents, turns, full.number),
                Way::AtOnce | Way::OneAtATime(_) => self.write_all(&extents),
            };
            let bytes = extents.iter().map(|extent| length(extent.bytes));
            wrote(full.number, written.map(|()| bytes.sum()));
        };
        match way {
            Way::OneAtATime(relay) => relay.pass(full, write),
            Way::AtOnce | Way::InTurn(_) => {
                write(&full);
                Some(full)
            }
        }
    }

    /// Writes each of `extents`, whenever.
    fn write_all(&self, extents: &[Extent<'_>]) -> Result<(), EmitError> {
        extents.iter().try_for_each(|extent| {
            let written = self.sink.write_at(extent.offset, extent.bytes);
            written.map_err(|error| self.failed("writing", extent.offset - self.base, error))
        })
    }

    /// Writes `extents` once it is the turn of the batch `number`.
    fn write_in_turn(
        &self,
        extents: &[Extent<'_>],
        turns: &Turns,
        number: u64,
    ) -> Result<(), EmitError> {
        let first = extents.first().map_or(self.base, |extent| extent.offset);
        let failed = |error| self.failed("writing", first - self.base, error);
        let mut prepared = self.sink.prepare(extents).map_err(failed)?;
        let turn = turns.wait(number)?;
        prepared.take_turn().map_err(failed)?;
        turn.pass();
        prepared.finish().map_err(failed)
    }
}

impl Renderer<'_, '_> {
    fn piece(&mut self, Piece { claim: piece, turn }: &Piece) -> Result<(), EmitError> {
        let offset = self.out.offset(piece.run().start);
        if let Owner::Superblock(group) = piece.owner {
            // Only the structure is written; the rest of its block is left as it was.
            let superblock = self.image.superblock(group);
            let bytes = bytes_of(&superblock);
            let place = match group.get() {
                0 => superblock::OFFSET,
                _ => offset,
            };
            let range = self.room(place, bytes.len());
            self.buffer.bytes[range].copy_from_slice(bytes);
            return Ok(());
        }
        let length = usize::try_from(piece.run().len * self.out.block_bytes).expect("fits memory");
        if matches!(piece.owner, Owner::GroupDescs(_)) && length >= COPIED_BYTES {
            let rendered = self
                .image
                .descriptors_at(piece.owner, piece.run().start, length);
            self.rendered.push(Rendered {
                offset,
                bytes: Bytes::Shared(rendered),
            });
            return Ok(());
        }
        let bytes = self.room(offset, length);
        if let Owner::File(node, logical) = piece.owner {
            return self.file(
                node,
                self.image.bytes_of(logical, piece.run().len),
                *turn,
                bytes,
            );
        }
        let block_bytes = usize::try_from(self.out.block_bytes).expect("fits memory");
        let image = self.image;
        let bytes = &mut self.buffer.bytes[bytes];
        bytes.fill(0);
        let blocks = bytes.chunks_exact_mut(block_bytes);
        for (block, at) in blocks.zip(0..) {
            let place = piece.run().start.plus(at);
            match piece.owner {
                Owner::InodeTable(group) => image.render_inode_table(group, place, block)?,
                owner => image.render(owner, at, place, block),
            }
        }
        if let Owner::InodeTable(group) = piece.owner {
            let table = self
                .out
                .offset(self.image.layout.tables_of(group).inode_table);
            let excess = (offset + u64::try_from(length).expect("fits 64 bits"))
                .saturating_sub(table + self.image.table_bytes(group));
            self.take_back(usize::try_from(excess).expect("less than a block"));
        }
        Ok(())
    }

    /// Makes room for `length` more bytes at `offset`. Whatever they are left over from is still in them.
    fn room(&mut self, offset: u64, length: usize) -> Range<usize> {
        let Buffer { bytes, filled } = &mut *self.buffer;
        let start = *filled;
        *filled += length;
        if bytes.len() < *filled {
            bytes.resize(*filled, 0);
        }
        let behind = |rendered: &Rendered<'_>| match &rendered.bytes {
            Bytes::Buffered(range) => {
                let length = u64::try_from(range.len()).unwrap_or(u64::MAX);
                range.end == start && rendered.offset + length == offset
            }
            Bytes::Shared(_) => false,
        };
        if let Some(Rendered {
            bytes: Bytes::Buffered(range),
            ..
        }) = self.rendered.last_mut().filter(|last| behind(last))
        {
            range.end = *filled;
        } else {
            let bytes = Bytes::Buffered(start..*filled);
            self.rendered.push(Rendered { offset, bytes });
        }
        start..*filled
    }

    /// Takes back the last `excess` bytes.
    fn take_back(&mut self, excess: usize) {
        self.buffer.filled -= excess;
        if let Some(Rendered {
            bytes: Bytes::Buffered(range),
            ..
        }) = self.rendered.last_mut()
        {
            range.end -= excess;
        }
    }

    /// Fills `bytes` of the buffer with what `range` of a file holds, its Merkle tree behind its end included.
    fn file(
        &mut self,
        node: NodeIndex,
        range: Range<u64>,
        turn: u64,
        bytes: Range<usize>,
    ) -> Result<(), EmitError> {
        let image = self.image;
        let Some(file) = Protected::of(image.layout, image.tree, node) else {
            return self.read(node, range, turn, bytes);
        };
        let behind = file.plan.start().clamp(range.start, range.end);
        let middle = bytes.start + usize::try_from(behind - range.start).expect("within a batch");
        if range.start < behind {
            let promise = self.trees.promise(self.batch);
            self.read(node, range.start..behind, turn, bytes.start..middle)?;
            let data = &self.buffer.bytes[bytes.start..middle];
            self.trees.hash(&file, range.start, data);
            promise.keep();
        }
        if behind < range.end {
            let tree = &mut self.buffer.bytes[middle..bytes.end];
            let offset = behind - file.plan.start();
            self.trees.copy(&file, offset, tree, self.batch)?;
        }
        Ok(())
    }

    /// Reads `range` of a file into `bytes` of the buffer.
    fn read(
        &mut self,
        node: NodeIndex,
        range: Range<u64>,
        turn: u64,
        bytes: Range<usize>,
    ) -> Result<(), EmitError> {
        let buffer = &mut self.buffer.bytes[bytes];
        let Kind::File(content) = &self.image.node(node).kind else {
            buffer.fill(0);
            return Ok(());
        };
        let wanted = Wanted {
            node,
            content,
            range,
            turn,
            batch: self.batch,
        };
        self.readers.read(&wanted, buffer)
    }
}

impl<'a> Image<'a> {
    /// All bytes of `content`, which the layout put into an inode.
    pub(super) fn read_whole(&self, content: &Content) -> Result<Vec<u8>, EmitError> {
        let size = usize::try_from(content.size_bytes).expect("an inode's content fits memory");
        let mut bytes = vec![0; size];
        if content.data_ranges().next().is_none() {
            return Ok(bytes);
        }
        let failed = |error| unreadable(self.tree, content, error);
        let mut reader = content.open().map_err(failed)?;
        let place = |at: u64| usize::try_from(at).expect("an inode's content fits memory");
        for range in content.data_ranges() {
            let wanted = &mut bytes[place(range.start)..place(range.end)];
            reader.read_exact_at(range.start, wanted).map_err(failed)?;
        }
        reader.finish().map_err(failed)?;
        Ok(bytes)
    }
}
