//! Given a tree and a filesystem whose size is asked for, decides the size of its blocks and lays the tree
//! out; never seeks a size.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Sparse;
use super::sparse::Reading;
use crate::emit::EmitError;
use crate::error::{Error, Kind};
use crate::geometry::{Geometry, GeometryError};
use crate::layout::{Layout, LayoutError, Matched};
use crate::options::{Environment, NoLargeBlocks, Options, Resolved, Size};
use crate::plan::{self, Fit, Sought};
use crate::tree::Tree;
use crate::units::BlockSize;
use crate::warning::Warning;

/// How many sizes are tried from the smallest on, where a tree does not fit.
const SIZES_TO_TRY: u64 = 16;

/// A filesystem of a size that is asked for.
pub(super) struct Known<'a> {
    pub(super) options: &'a Options,
    pub(super) host: &'a Environment,
    pub(super) sparse: Sparse,
    pub(super) cancel: &'a AtomicBool,
    pub(super) threads: NonZero<usize>,
    /// What stays where it is.
    pub(super) matched: &'a Matched<'a>,
}

/// What became of a tree and its filesystem.
pub(super) struct Decided {
    pub(super) resolved: Resolved,
    pub(super) layout: Box<Layout>,
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

    fn lay_out(&self, tree: &Tree, matched: &Matched<'_>) -> Result<Layout, LayoutError> {
        Layout::keeping(
            &self.resolved.settings,
            self.geometry.clone(),
            tree,
            matched,
        )
    }

    fn decided(self, layout: Layout) -> Decided {
        Decided {
            resolved: self.resolved,
            layout: Box::new(layout),
            remark: None,
        }
    }
}

/// Whether a filesystem has no journal only because its blocks are `large`.
fn loses_journal(large: &Geometry, options: &Options, host: &Environment) -> bool {
    let has_journal = || {
        let settings = options.resolve(host).ok()?.settings;
        let small = Geometry::new(&settings).ok()?;
        Some(!small.too_small_for_journal)
    };
    large.too_small_for_journal && has_journal().unwrap_or(false)
}

impl Known<'_> {
    /// Lays the tree out. Where it does not fit, the error says in what size it would.
    pub(super) fn decide(&self, tree: &mut Tree) -> Result<Decided, Error> {
        self.large_or_small(tree).map_err(|error| {
            if self.is_cancelled() {
                return EmitError::Cancelled.into();
            }
            let is_too_small = matches!(
                error.room(),
                Kind::Layout(LayoutError::ContentTooBig { .. } | LayoutError::NoRoom { .. })
                    | Kind::Geometry(
                        GeometryError::TooSmall { .. } | GeometryError::JournalTooBig { .. }
                    )
            );
            let size = is_too_small.then(|| self.size_that_fits(tree)).flatten();
            if self.is_cancelled() {
                return EmitError::Cancelled.into();
            }
            error.with_size_that_fits(size)
        })
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Refuses to go on once somebody asked to stop.
    fn check_cancel(&self) -> Result<(), Error> {
        if self.is_cancelled() {
            return Err(EmitError::Cancelled.into());
        }
        Ok(())
    }

    /// A size in which the tree fits, in bytes, near the smallest: a whole number of MiB, or of KiB below one.
    fn size_that_fits(&self, tree: &Tree) -> Option<u64> {
        let mut small = self.options.clone();
        small.block_size(BlockSize::MIN.bytes());
        let small = (!self.options.asks_for_block_size()).then_some(&small);
        let plans = small.into_iter().chain([self.options]);
        let smallest = plans.filter_map(|options| {
            let sought = Sought {
                host: self.host,
                tree,
                fit: Fit::Minimum,
                cancel: self.cancel,
            };
            let smallest = plan::fit(options, &sought).ok()?;
            let geometry = smallest.layout.geometry;
            Some(geometry.blocks_count * geometry.block_size.bytes_u64())
        });
        let mut smallest: Vec<u64> = smallest.collect();
        smallest.sort_unstable();
        smallest.into_iter().find_map(|bytes| {
            let unit: u64 = if bytes < 1 << 20 { 1 << 10 } else { 1 << 20 };
            let units = bytes.div_ceil(unit);
            // What is left for content is not monotone in the size.
            let mut sizes = (units..units + SIZES_TO_TRY).map(|units| units * unit);
            sizes.find(|bytes| !self.is_cancelled() && self.fits_in(*bytes, tree))
        })
    }

    fn fits_in(&self, bytes: u64, tree: &Tree) -> bool {
        let mut options = self.options.clone();
        options.size(Size::Bytes(bytes));
        let large = options.with_large_blocks(self.host);
        let mut candidates = large.iter().chain([&options]);
        candidates.any(|options| {
            let candidate = Candidate::new(options, self.host, tree);
            candidate.is_ok_and(|candidate| candidate.lay_out(tree, self.matched).is_ok())
        })
    }

    /// Takes the largest blocks that are wished for and in which all of the tree's data fits. Only where it
    /// fits in none, blocks of zeros become holes, if that is allowed.
    fn large_or_small(&self, tree: &mut Tree) -> Result<Decided, Error> {
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
        if let Ok(layout) = large.lay_out(tree, self.matched) {
            return Ok(large.decided(layout));
        }
        self.check_cancel()?;
        let fits_smaller = Candidate::new(self.options, self.host, tree)
            .is_ok_and(|small| small.lay_out(tree, self.matched).is_ok());
        if !fits_smaller
            && self.makes_room(&large, tree)?
            && let Ok(layout) = large.lay_out(tree, self.matched)
        {
            return Ok(large.decided(layout));
        }
        self.smaller(tree, why)
    }

    /// As without a wish for larger blocks.
    fn smallest(&self, tree: &mut Tree) -> Result<Decided, Error> {
        self.check_cancel()?;
        let candidate = Candidate::new(self.options, self.host, tree)?;
        let mut layout = candidate.lay_out(tree, self.matched);
        if matches!(layout, Err(LayoutError::ContentTooBig { .. }))
            && self.makes_room(&candidate, tree)?
        {
            layout = candidate.lay_out(tree, self.matched);
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
        let reading = Reading {
            sparse: Sparse::Always,
            is_reproducible: false,
            digests: false,
            block_bytes: settings.block_size.bytes_u64(),
            threads: self.threads,
            cancel: self.cancel,
        };
        reading.make_room(tree, settings, &candidate.geometry)
    }
}
