//! Given a tree and a filesystem whose size is asked for, decides the size of its blocks and lays the tree
//! out; never seeks a size.

use std::sync::atomic::AtomicBool;

use super::{Sparse, sparse};
use crate::error::Error;
use crate::geometry::Geometry;
use crate::layout::{Layout, LayoutError};
use crate::options::{Environment, Options, Resolved};
use crate::plan;
use crate::tree::Tree;
use crate::warning::{NoLargeBlocks, Warning};

/// A filesystem of a size that is asked for.
pub(super) struct Known<'a> {
    pub(super) options: &'a Options,
    pub(super) host: &'a Environment,
    pub(super) sparse: Sparse,
    pub(super) cancel: &'a AtomicBool,
}

/// What became of a tree and its filesystem.
pub(super) struct Decided {
    pub(super) resolved: Resolved,
    pub(super) layout: Layout,
    /// That its blocks are smaller than is wished for.
    pub(super) remark: Option<Warning>,
}

/// A filesystem of one block size.
struct Candidate {
    resolved: Resolved,
    geometry: Geometry,
}

impl Candidate {
    fn new(options: &Options, host: &Environment, tree: &Tree) -> Result<Self, Error> {
        let resolved = plan::resolve(options, host, tree)?;
        let geometry = Geometry::new(&resolved.settings)?;
        Ok(Self { resolved, geometry })
    }

    fn lay_out(&self, tree: &Tree) -> Result<Layout, LayoutError> {
        Layout::new(&self.resolved.settings, self.geometry.clone(), tree)
    }

    fn decided(self, layout: Layout) -> Decided {
        Decided {
            resolved: self.resolved,
            layout,
            remark: None,
        }
    }
}

/// Whether a filesystem has no journal only because its blocks are `large`.
pub(super) fn loses_journal(large: &Geometry, options: &Options, host: &Environment) -> bool {
    let has_journal = || {
        let settings = options.resolve(host).ok()?.settings;
        let small = Geometry::new(&settings).ok()?;
        Some(!small.too_small_for_journal)
    };
    large.too_small_for_journal && has_journal().unwrap_or(false)
}

impl Known<'_> {
    /// Takes the largest blocks that are wished for and in which all of the tree's data fits. Only where it
    /// fits in none, blocks of zeros become holes, if that is allowed.
    pub(super) fn decide(&self, tree: &mut Tree) -> Result<Decided, Error> {
        let Some(options) = self.options.with_large_blocks(self.host) else {
            return self.smallest(tree);
        };
        let (large, why) = match Candidate::new(&options, self.host, tree) {
            Ok(large) if loses_journal(&large.geometry, self.options, self.host) => {
                (None, NoLargeBlocks::Journal)
            }
            Ok(large) => (Some(large), NoLargeBlocks::Content),
            Err(_) => (None, NoLargeBlocks::Content),
        };
        let Some(large) = large else {
            return self.smaller(tree, why);
        };
        if let Ok(layout) = large.lay_out(tree) {
            return Ok(large.decided(layout));
        }
        let fits_smaller = Candidate::new(self.options, self.host, tree)
            .is_ok_and(|small| small.lay_out(tree).is_ok());
        if !fits_smaller
            && self.makes_room(&large, tree)?
            && let Ok(layout) = large.lay_out(tree)
        {
            return Ok(large.decided(layout));
        }
        self.smaller(tree, why)
    }

    /// As without a wish for larger blocks.
    fn smallest(&self, tree: &mut Tree) -> Result<Decided, Error> {
        let candidate = Candidate::new(self.options, self.host, tree)?;
        let mut layout = candidate.lay_out(tree);
        if matches!(layout, Err(LayoutError::ContentTooBig { .. }))
            && self.makes_room(&candidate, tree)?
        {
            layout = candidate.lay_out(tree);
        }
        Ok(candidate.decided(layout?))
    }

    fn smaller(&self, tree: &mut Tree, why: NoLargeBlocks) -> Result<Decided, Error> {
        let mut decided = self.smallest(tree)?;
        let block_size = decided.resolved.settings.block_size.bytes();
        decided.remark = Some(Warning::SmallBlocks { block_size, why });
        Ok(decided)
    }

    fn makes_room(&self, candidate: &Candidate, tree: &mut Tree) -> Result<bool, Error> {
        if self.sparse != Sparse::Auto {
            return Ok(false);
        }
        let settings = &candidate.resolved.settings;
        sparse::make_room(tree, settings, &candidate.geometry, self.cancel)
    }
}
