//! Given options and a tree, finds the size an image needs; never writes.
//!
//! This is the one place that knows both arms of the Y. Block size, inode ratio, journal and
//! descriptors change in steps with the size, so what is left for content is not monotone in it:
//! between two steps it nearly is. The search goes from step to step upwards, seeks the smallest
//! size of the first stretch that has one, and confirms it by a layout.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::emit::EmitError;
use crate::error::{Error, Kind};
use crate::geometry::Geometry;
use crate::layout::{Demand, Layout, LayoutError, TreePlan};
use crate::options::{Environment, Options, Resolved, Settings, Size};
use crate::tree::{Flags, Metadata, Tree};
use crate::units::{BlockSize, Timestamp};

/// How much larger than its content an image shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// As small as holds the content.
    Minimum,
    /// At least this many bytes available to an ordinary user once mounted.
    Available(u64),
    /// The same as a share of the content, in percent.
    AvailablePercent(u32),
    /// With a sensible margin: a tenth of the content, and at least 16 MiB.
    Auto,
}

/// Blocks of planned images, in bytes, by default.
const BLOCK_BYTES: u32 = 4096;
/// Inodes of planned images, in bytes, by default.
const INODE_BYTES: u32 = 256;
/// What `Auto` leaves available at least, in bytes.
const AUTO_LEAST: u64 = 16 << 20;
/// The sizes at which mke2fs changes the usage type, in MiB.
const USAGE_STEPS: [u64; 4] = [3, 512, 4 << 20, 16 << 20];
/// The sizes at which the journal's length or the orphan file's changes, in blocks.
const BLOCK_STEPS: [u64; 10] = [
    2048,
    32 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    2 << 20,
    4 << 20,
    8 << 20,
    16 << 20,
    32 << 20,
];
/// How many groups the search for dips looks at in all.
const GROUPS_TO_LOOK_AT: u64 = 200_000;
/// How many sizes below a candidate may hold the content after all.
const DIP: u64 = 1024;
/// How much may stay free by a size that is sought, in bytes: 16 TiB. Each size that is looked at takes as
/// long as it has groups.
const MOST_AVAILABLE: u64 = 16 << 40;
/// The root directory's permissions by default.
const ROOT_PERMISSIONS: u16 = 0o755;
/// How many times the number of inodes is rounded up at most.
const ROUNDINGS: u32 = 4;
/// The kernel keeps a fiftieth of the blocks, at most this many, from ordinary users.
const KERNEL_RESERVE: u64 = 4096;

/// Settings with the inodes that `tree` needs: unless a number or a ratio was asked for, the count
/// is raised to them.
pub(crate) fn resolve(
    options: &Options,
    host: &Environment,
    tree: &Tree,
) -> Result<Resolved, Error> {
    let mut resolved = options.resolve(host)?;
    if !options.asks_for_inodes() && !tree.is_empty() {
        let needed = needed_inodes(&resolved.settings, tree)?;
        raise_inodes(&mut resolved.settings, needed);
    }
    Ok(resolved)
}

/// How many inodes a filesystem of these settings with `tree` in it needs.
fn needed_inodes(settings: &Settings, tree: &Tree) -> Result<u32, Error> {
    let needed = crate::layout::inodes_needed_at_most(settings, tree)?;
    Ok(u32::try_from(needed).unwrap_or(u32::MAX))
}

/// Asks for as many inodes as are needed. A group has a multiple of eight inodes, and a geometry
/// rounds down to it: where that leaves too few, the count asked for is rounded up beforehand.
fn raise_inodes(settings: &mut Settings, needed: u32) {
    let mut asked = u64::from(needed);
    // More inodes may mean smaller groups, and more of them.
    for _ in 0..ROUNDINGS {
        let asked_32 = u32::try_from(asked).unwrap_or(u32::MAX);
        settings.inodes_count = settings.inodes_count.max(asked_32);
        let Ok(geometry) = Geometry::new(settings) else {
            return;
        };
        if geometry.inodes_count >= needed {
            return;
        }
        asked = u64::from(needed).next_multiple_of(8 * u64::from(geometry.groups));
    }
}

/// Settings of any size.
pub(crate) fn probe(options: &Options, host: &Environment, tree: &Tree) -> Result<Settings, Error> {
    Ok(resolve(&options.of_any_size(), host, tree)?.settings)
}

/// The options of an image whose size is still to be found.
pub(crate) fn fitting(options: &Options) -> Options {
    let mut options = options.clone();
    if !options.asks_for_block_size() {
        options.block_size(BLOCK_BYTES);
    }
    if !options.asks_for_inode_size() {
        options.inode_size(INODE_BYTES);
    }
    options
}

/// What a size is sought for, and until when.
pub(crate) struct Sought<'a> {
    pub(crate) host: &'a Environment,
    pub(crate) tree: &'a Tree,
    pub(crate) fit: Fit,
    /// Whether to stop.
    pub(crate) cancel: &'a AtomicBool,
}

/// The options with the size that what is `sought` needs, and what that makes of them.
pub(crate) fn fit(options: &Options, sought: &Sought<'_>) -> Result<Planned, Error> {
    let host = sought.host;
    let mut options = fitting(options);
    let mut search = Search::new(options.clone(), sought)?;
    if let Some(planned) = search.run()? {
        return Ok(planned);
    }
    // Where a wish stands against every size that would do, the smallest of them says which.
    search.options = options.of_any_size();
    if let Some(needed) = search.run()? {
        options.size(Size::Blocks(needed.resolved.settings.blocks_count));
        options.resolve(host)?;
    }
    Err(Error::new(Kind::NoSizeFits))
}

/// A size, and the layout that confirms it: of two KiB and more, and handed on by many.
pub(crate) struct Planned {
    pub(crate) resolved: Resolved,
    pub(crate) layout: Box<Layout>,
}

struct Search<'a> {
    options: Options,
    host: &'a Environment,
    tree: &'a Tree,
    empty: Tree,
    block_size: BlockSize,
    /// How many inodes the content needs, if their number is not asked for.
    inodes: u32,
    demand: Demand,
    /// The tree as it was planned to know the demand, until a layout is made of it.
    plan: Option<TreePlan<'a>>,
    fit: Fit,
    /// Whether only a size will do that holds a journal.
    needs_journal: bool,
    cancel: &'a AtomicBool,
}

impl<'a> Search<'a> {
    fn new(options: Options, sought: &Sought<'a>) -> Result<Self, Error> {
        let Sought {
            host,
            tree,
            fit,
            cancel,
        } = *sought;
        // What the content needs depends on block size, inode size and hash seed.
        let mut settings = options.of_any_size().resolve(host)?.settings;
        let inodes = if options.asks_for_inodes() || tree.is_empty() {
            0
        } else {
            needed_inodes(&settings, tree)?
        };
        raise_inodes(&mut settings, inodes);
        let geometry = Geometry::new(&settings)?;
        let plan = TreePlan::new(&settings, &geometry, tree)?;
        let demand = plan.demand()?;
        let bytes = available_bytes(fit, demand.blocks * settings.block_size.bytes_u64());
        if bytes > MOST_AVAILABLE {
            let most = MOST_AVAILABLE;
            return Err(Error::new(Kind::FitTooLarge { bytes, most }));
        }
        let needs_journal = options.asks_for_journal() || settings.orphan_file_blocks.is_some();
        Ok(Self {
            needs_journal,
            cancel,
            options,
            host,
            tree,
            empty: Tree::with_root(Metadata::default()),
            block_size: settings.block_size,
            inodes,
            demand,
            plan: Some(plan),
            fit,
        })
    }

    /// The smallest size that will do, if any does.
    fn run(&mut self) -> Result<Option<Planned>, Error> {
        let least = self.demand.blocks.max(1);
        for stretch in self.stretches(least) {
            let Some(smallest) = self.smallest(&stretch)? else {
                continue;
            };
            if let Some(planned) = self.confirm(self.rounded(smallest), &stretch)? {
                return Ok(Some(planned));
            }
        }
        Ok(None)
    }

    /// The stretches of sizes, in blocks, between steps, from `least` on.
    fn stretches(&self, least: u64) -> Vec<Range<u64>> {
        let per_mebibyte = (1 << 20) / self.block_size.bytes_u64();
        let usage = USAGE_STEPS.iter().map(|mebibytes| mebibytes * per_mebibyte);
        let mut steps: Vec<u64> = usage.chain(BLOCK_STEPS).collect();
        // Beyond the last step, as far as a group's number reaches.
        let most = u64::from(u32::MAX) * u64::from(self.block_size.bytes()) * 8;
        steps.push(most);
        steps.retain(|step| *step > least);
        steps.sort_unstable();
        steps.dedup();
        let starts = std::iter::once(least).chain(steps.iter().copied());
        starts
            .zip(steps.iter().copied())
            .map(|(a, b)| a..b)
            .collect()
    }

    /// The smallest size of a stretch that holds the demand.
    fn smallest(&self, stretch: &Range<u64>) -> Result<Option<u64>, Error> {
        let mut high = stretch.start;
        let mut step = 1;
        while !self.holds(high)? {
            if high + 1 >= stretch.end {
                return Ok(None);
            }
            high = (high + step).min(stretch.end - 1);
            step *= 2;
        }
        let mut low = stretch.start;
        while low < high {
            let middle = low + (high - low) / 2;
            if self.holds(middle)? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        self.dip_below(high, stretch.start).map(Some)
    }

    /// Rounding to whole blocks of inodes and descriptors makes small dips: the smallest size of
    /// those just below `size` that holds the demand.
    fn dip_below(&self, size: u64, least: u64) -> Result<u64, Error> {
        let groups = size / (self.block_size.bytes_u64() * 8) + 1;
        let sizes = (GROUPS_TO_LOOK_AT / groups).min(DIP);
        for below in size.saturating_sub(sizes).max(least)..size {
            if self.holds(below)? {
                return Ok(below);
            }
        }
        Ok(size)
    }

    /// Refuses to go on once somebody asked to stop.
    fn check_cancel(&self) -> Result<(), Error> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(EmitError::Cancelled.into());
        }
        Ok(())
    }

    /// Sizes with a margin are whole MiB.
    fn rounded(&self, size: u64) -> u64 {
        let per_mebibyte = (1 << 20) / self.block_size.bytes_u64();
        match self.fit {
            Fit::Minimum => size,
            _ => size.next_multiple_of(per_mebibyte),
        }
    }

    /// The layout at `size` or the first size above it that has one: only a layout knows how many
    /// extent trees there are.
    fn confirm(&mut self, size: u64, stretch: &Range<u64>) -> Result<Option<Planned>, Error> {
        let mut size = size;
        while size < stretch.end.max(self.rounded(stretch.start + 1)) {
            self.check_cancel()?;
            let resolved = self.resolve(size)?;
            let geometry = Geometry::new(&resolved.settings)?;
            if self.lacks_journal(&geometry) {
                size = self.rounded(size + 1);
                continue;
            }
            let layout = match self.plan.take() {
                Some(plan) => Layout::planned(&resolved.settings, geometry, plan),
                None => Layout::new(&resolved.settings, geometry, self.tree),
            };
            match layout {
                Ok(layout) => {
                    let layout = Box::new(layout);
                    return Ok(Some(Planned { resolved, layout }));
                }
                Err(LayoutError::ContentTooBig { needed, free, .. }) => {
                    size = self.rounded(size + needed.saturating_sub(free).max(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn resolve(&self, size: u64) -> Result<Resolved, Error> {
        let mut options = self.options.clone();
        options.size(Size::Blocks(size));
        let mut resolved = options.resolve(self.host)?;
        raise_inodes(&mut resolved.settings, self.inodes);
        Ok(resolved)
    }

    /// Whether a journal that is asked for finds no room.
    fn lacks_journal(&self, geometry: &Geometry) -> bool {
        self.needs_journal && geometry.too_small_for_journal
    }

    /// Whether a filesystem of `size` blocks has room for the demand and what shall stay free.
    fn holds(&self, size: u64) -> Result<bool, Error> {
        self.check_cancel()?;
        let Ok(resolved) = self.resolve(size) else {
            return Ok(false);
        };
        let Ok(geometry) = Geometry::new(&resolved.settings) else {
            return Ok(false);
        };
        if self.lacks_journal(&geometry) {
            return Ok(false);
        }
        let blocks = geometry.blocks_count;
        let reserved = geometry.reserved_blocks + (blocks / 50).min(KERNEL_RESERVE);
        let wanted = self.wanted_blocks().map_or(0, |wanted| wanted + reserved);
        let needed = self.demand.blocks + wanted;
        // A layout takes as long as there are groups, and cannot have more free than this: most sizes that are
        // too small are known by counting.
        if needed > geometry.most_free_blocks() + self.demand.made_blocks {
            return Ok(false);
        }
        let Ok(layout) = Layout::new(&resolved.settings, geometry, &self.empty) else {
            return Ok(false);
        };
        Ok(needed <= layout.ledger.total_free() + self.demand.made_blocks)
    }

    /// The blocks that shall be available to an ordinary user, if any.
    fn wanted_blocks(&self) -> Option<u64> {
        let content = self.demand.blocks * self.block_size.bytes_u64();
        let bytes = available_bytes(self.fit, content);
        (self.fit != Fit::Minimum).then(|| self.block_size.blocks_for(bytes))
    }
}

/// How many bytes shall be available to an ordinary user beside `content` bytes.
fn available_bytes(fit: Fit, content: u64) -> u64 {
    match fit {
        Fit::Minimum => 0,
        Fit::Available(bytes) => bytes,
        Fit::AvailablePercent(percent) => content.div_ceil(100).saturating_mul(u64::from(percent)),
        Fit::Auto => (content / 10).max(AUTO_LEAST),
    }
}

/// The root directory: as `kept` from a source, or as mke2fs makes it, but for what is asked for.
pub(crate) fn root(settings: &Settings, kept: Option<Metadata>) -> Metadata {
    let mut root = kept.unwrap_or_else(|| made_root(settings));
    if let Some(owner) = settings.root_owner {
        root.uid = owner.uid;
        root.gid = owner.gid;
    }
    if let Some(permissions) = settings.root_perms {
        root.permissions = permissions;
    }
    root
}

fn made_root(settings: &Settings) -> Metadata {
    let now = Timestamp::from_seconds(settings.clock);
    Metadata {
        permissions: ROOT_PERMISSIONS,
        uid: 0,
        gid: 0,
        atime: now,
        mtime: now,
        ctime: now,
        flags: Flags::default(),
    }
}
