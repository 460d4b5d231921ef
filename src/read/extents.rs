//! Given the root of an extent tree, shows its nodes and extents in the order of the file, and what is
//! wrong in the tree; never what the blocks hold.
//!
//! Layout: the kernel's documentation, "Extent Tree"; rules as in the kernel's
//! `__ext4_ext_check` and e2fsck's `scan_extent_node`.

use std::ops::Range;

use super::bytes::{pod, word};
use super::error::ErrorDetail;
use super::mapped::{Extent, Visit};
use super::superblock::Superblock;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::extent::{
    ExtentHeader, ExtentRecord, IndexRecord, MAGIC, MAX_BLOCKS, RECORD_BYTES, ROOT_MAX, node_max,
};
use crate::units::{Block, Run};

/// The most levels of nodes below the root (`EXT4_MAX_EXTENT_DEPTH`).
const MOST_LEVELS: u16 = 5;

/// A tree, and the part of it that is asked for.
pub(crate) struct Tree<'a> {
    pub(crate) sb: &'a Superblock,
    /// The seed of the inode that it belongs to.
    pub(crate) seed: u32,
    /// Logical blocks; what lies outside is passed over.
    pub(crate) range: Range<u64>,
}

/// What is known of a node before it is read.
struct Expected {
    /// The node's block; `None` for the root, which is in the inode.
    at: Option<Block>,
    /// How many levels are below.
    depth: u16,
    /// The first logical block, where an index says it.
    first: Option<u64>,
    /// The first logical block behind.
    end: u64,
}

/// A walk over a tree.
struct Walk<'a, V> {
    tree: &'a Tree<'a>,
    visit: &'a mut V,
    /// The first logical block that may come next.
    next: u64,
}

impl Tree<'_> {
    /// Shows what the tree of `root` has.
    pub(crate) fn walk<V: Visit>(&self, root: &[u8], visit: &mut V) -> Result<(), V::Stop> {
        let mut walk = Walk {
            tree: self,
            visit,
            next: 0,
        };
        let header: ExtentHeader = pod(root, 0).unwrap_or_default();
        if !walk.is_node(None, &header, ROOT_MAX)? {
            return Ok(());
        }
        let depth = header.eh_depth.get();
        if depth > MOST_LEVELS {
            return walk.rule(None, "the tree is deeper than five levels");
        }
        let expected = Expected {
            at: None,
            depth,
            first: None,
            end: 1 << 32,
        };
        walk.node(root, &expected)
    }
}

impl<V: Visit> Walk<'_, V> {
    fn rule(&mut self, at: Option<Block>, rule: &'static str) -> Result<(), V::Stop> {
        self.visit.fault(at, ErrorDetail::Rule(rule))
    }

    /// Whether a header makes sense in a node with room for `most` records.
    fn is_node(
        &mut self,
        at: Option<Block>,
        header: &ExtentHeader,
        most: u16,
    ) -> Result<bool, V::Stop> {
        let (entries, max) = (header.eh_entries.get(), header.eh_max.get());
        if header.eh_magic.get() != MAGIC {
            self.rule(at, "a node lacks its magic number")?;
        } else if max > most || max < most.saturating_sub(2) || entries > max {
            self.rule(at, "a node counts more records than it has room for")?;
        } else {
            return Ok(true);
        }
        Ok(false)
    }

    fn node(&mut self, bytes: &[u8], expected: &Expected) -> Result<(), V::Stop> {
        let at = expected.at;
        let header: ExtentHeader = pod(bytes, 0).unwrap_or_default();
        if header.eh_depth.get() != expected.depth {
            let rule = "a node is of another depth than its place in the tree";
            return self.rule(at, rule);
        }
        let entries = usize::from(header.eh_entries.get());
        if entries == 0 && (expected.depth > 0 || expected.first.is_some()) {
            self.rule(at, "a node below or above others is empty")?;
        }
        if let Some(first) = expected.first
            && entries > 0
            && first != u64::from(word(bytes, RECORD_BYTES))
        {
            let rule = "a node begins with another block than the one above says";
            self.rule(at, rule)?;
        }
        for number in 1..=entries {
            let offset = number * RECORD_BYTES;
            if expected.depth == 0 {
                let record: ExtentRecord = pod(bytes, offset).unwrap_or_default();
                self.leaf_record(&record, expected)?;
            } else {
                let record: IndexRecord = pod(bytes, offset).unwrap_or_default();
                let end = if number < entries {
                    word(bytes, offset + RECORD_BYTES).into()
                } else {
                    expected.end
                };
                self.index_record(&record, expected, end)?;
            }
        }
        Ok(())
    }

    fn leaf_record(&mut self, record: &ExtentRecord, expected: &Expected) -> Result<(), V::Stop> {
        let at = expected.at;
        let stored = record.ee_len.get();
        let is_unwritten = stored > MAX_BLOCKS;
        let len = u64::from(if is_unwritten {
            stored - MAX_BLOCKS
        } else {
            stored
        });
        let logical = u64::from(record.ee_block.get());
        let run = Run::new(record.physical(), len);
        if len == 0 {
            return self.rule(at, "an extent has no blocks");
        }
        if logical < self.next {
            self.rule(at, "extents are out of order or overlap")?;
        } else if logical + len > expected.end {
            let rule = "an extent reaches past the end that the node above says";
            self.rule(at, rule)?;
        }
        self.next = self.next.max(logical + len);
        if !self.tree.sb.is_inside(run) {
            return self.visit.fault(at, ErrorDetail::Outside(run));
        }
        let extent = Extent {
            logical,
            run,
            is_unwritten,
        };
        if extent.end() <= self.tree.range.start || logical >= self.tree.range.end {
            return Ok(());
        }
        self.visit.extent(extent)
    }

    /// Follows a record of a node to the node below, which ends before the logical block `end`.
    fn index_record(
        &mut self,
        record: &IndexRecord,
        above: &Expected,
        end: u64,
    ) -> Result<(), V::Stop> {
        let node = record.node();
        let first = u64::from(record.ei_block.get());
        if first < self.next || end < first {
            self.rule(above.at, "nodes are out of order")?;
        }
        if !self.tree.sb.is_inside(Run::one(node)) {
            return self
                .visit
                .fault(above.at, ErrorDetail::Outside(Run::one(node)));
        }
        if end <= self.tree.range.start || first >= self.tree.range.end {
            return Ok(());
        }
        let Some(bytes) = self.visit.node(above.at, node)? else {
            return Ok(());
        };
        let header: ExtentHeader = pod(&bytes, 0).unwrap_or_default();
        let most = node_max(self.tree.sb.block_size);
        if !self.is_node(Some(node), &header, most)? {
            return Ok(());
        }
        self.check_tail(node, &bytes, &header)?;
        let below = Expected {
            at: Some(node),
            depth: above.depth - 1,
            first: Some(first),
            end,
        };
        self.node(&bytes, &below)
    }

    fn check_tail(
        &mut self,
        node: Block,
        bytes: &[u8],
        header: &ExtentHeader,
    ) -> Result<(), V::Stop> {
        if !self.tree.sb.has_checksums() {
            return Ok(());
        }
        let end = RECORD_BYTES * (1 + usize::from(header.eh_max.get()));
        let expected = crc32c(self.tree.seed, bytes.get(..end).unwrap_or(bytes));
        let found = word(bytes, end);
        if found == expected {
            return Ok(());
        }
        let fault = ErrorDetail::Checksum {
            what: "a node's checksum",
            found,
            expected,
        };
        self.visit.fault(Some(node), fault)
    }
}
