//! Given a layout and a tree, renders every block and copies content to a sink; never chooses a place.
//!
//! The old primary superblock is zeroed first and the new one written last, so that nothing mounts
//! that is not finished. In between, claims are cut into batches in ascending order of blocks;
//! several workers render batches and write them. The result does not depend on how many there are,
//! and of several errors the one lowest in the image is reported.

mod batch;
mod blocks;
mod data_writer;
mod inodes;
mod journal_device;
mod metadata;
mod readers;
mod relay;
mod share;
mod stale;
mod turns;
mod verity;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use bytemuck::{Zeroable, bytes_of};

use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::layout::Layout;
use crate::ondisk::checksum::{filesystem_seed, inode_seed};
use crate::ondisk::superblock::{self, Superblock};
use crate::options::Settings;
use crate::sink::{DISCARD_STEP_BYTES, Sink};
use crate::threads::side_by_side;
use crate::tree::{NodeIndex, Tree};
use crate::units::{Block, BlockSize, Group, Ino, Readable, Run, reason};
use batch::{Batch, Batches, Way, Worker};
pub use data_writer::{DataWriteError, DataWriter};
use journal_device::Listing;
use readers::Readers;
pub(crate) use readers::{FileReading, unreadable};
use relay::Relay;
pub use share::Reflink;
pub(crate) use share::check_sharing;
use turns::Turns;
pub use verity::Digests;
use verity::MerkleTrees;

/// How many batches of nothing but metadata are worth a thread.
const METADATA_OF_THREAD: usize = 64;

/// More threads than this wait for each other, and would take long to start.
const MOST_THREADS: usize = 256;

/// How an image is written.
pub struct Writing<'a> {
    /// How many threads render and write; no more than 256 do.
    pub threads: NonZero<usize>,
    /// Called with the bytes of each batch once they are written, from several threads.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Once this is true, writing ends with [`EmitError::Cancelled`].
    pub cancel: &'a AtomicBool,
    /// Whether to wait for stable storage: the old superblock is gone from it before anything else is
    /// written, and all but the new one is there before that is, so that not even a power cut leaves
    /// one that leads to nothing.
    pub sync: bool,
    /// Whether data of files is shared with the image where the storage can, instead of copied.
    pub reflink: Reflink,
}

/// Nobody asks to stop.
static NEVER: AtomicBool = AtomicBool::new(false);

impl Default for Writing<'_> {
    /// By one thread, to the end, without waiting for the storage.
    fn default() -> Self {
        Self {
            threads: NonZero::<usize>::MIN,
            progress: &|_| {},
            cancel: &NEVER,
            sync: false,
            reflink: Reflink::Auto,
        }
    }
}

impl fmt::Debug for Writing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Why an image was not written.
#[derive(Debug)]
pub enum EmitError {
    /// The sink is smaller than the filesystem.
    SinkTooSmall {
        /// The bytes the sink holds.
        size: u64,
        /// The bytes needed.
        needed: u64,
    },
    /// The sink failed.
    Sink {
        /// What was being done.
        doing: &'static str,
        /// Where, in bytes from the sink's first.
        offset: u64,
        /// Why.
        error: io::Error,
    },
    /// Content could not be read.
    Content {
        /// Its name for people.
        name: Vec<u8>,
        /// The path of what holds it.
        path: Vec<u8>,
        /// Why.
        error: io::Error,
    },
    /// The storage was to share a file's data and cannot, for the reason stated.
    Unshared {
        /// Its name for people.
        name: Vec<u8>,
        /// Why, and what would mend it.
        reason: &'static str,
        /// What the storage said, if it was asked.
        error: Option<io::Error>,
    },
    /// Quota files for an old filesystem that has some, or something else in their place.
    QuotaInUse,
    /// The journal's device cannot be used, for the reason stated.
    Journal(&'static str),
    /// The caller asked to stop.
    Cancelled,
}

impl EmitError {
    /// Says what is wrong, but for its cause.
    pub(crate) fn say(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SinkTooSmall { size, needed } => {
                write!(f, "the output holds {size} bytes; the image needs {needed}")
            }
            Self::Sink { doing, offset, .. } => {
                write!(f, "{doing} at byte {offset} of the output failed")
            }
            Self::Content { name, .. } => write!(f, "cannot read {}", Readable(name)),
            Self::Unshared { name, reason, .. } => {
                write!(
                    f,
                    "cannot share {} with the output: {reason}",
                    Readable(name)
                )
            }
            Self::QuotaInUse => f.write_str(
                "the old filesystem's quota inodes are in use; its superblocks can be made without \
                 the quota feature, and tune2fs can add it once e2fsck is done",
            ),
            Self::Journal(reason) => f.write_str(reason),
            Self::Cancelled => f.write_str("interrupted"),
        }
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.say(f)?;
        match self {
            Self::Sink { error, .. }
            | Self::Content { error, .. }
            | Self::Unshared {
                error: Some(error), ..
            } => write!(f, ": {}", reason(error)),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for EmitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Sink { error, .. } | Self::Content { error, .. } => Some(error),
            Self::Unshared { error, .. } => {
                let error = error.as_ref()?;
                Some(error)
            }
            Self::SinkTooSmall { .. } | Self::QuotaInUse | Self::Journal(_) | Self::Cancelled => {
                None
            }
        }
    }
}

/// Writes the image of `layout`, made from `settings` and `tree`, to `sink`, and gives the digests of the
/// files that fs-verity protects.
///
/// # Errors
/// Where the sink is too small or fails, content cannot be read, or the caller cancels. The sink
/// then holds no superblock.
pub fn emit(
    settings: &Settings,
    layout: &Layout,
    tree: &Tree,
    sink: &dyn Sink,
    writing: &Writing<'_>,
) -> Result<Digests, EmitError> {
    let sinks = Sinks {
        image: sink,
        journal: None,
    };
    emit_to(settings, layout, tree, sinks, writing)
}

/// How many bytes writing the image of `layout` takes, about: no fewer than [`Writing::progress`] is told.
pub(crate) fn bytes_to_write(settings: &Settings, layout: &Layout, tree: &Tree) -> u64 {
    let image = Image::new(settings, Storage::OldData, layout, tree);
    let claims = layout.ledger.claims().iter();
    let blocks: u64 = claims.map(|claim| image.blocks_to_write(claim)).sum();
    blocks * layout.geometry.block_size.bytes_u64()
}

/// The bytes of the image that nobody writes, in ascending order: in one made anew they read as zeros. With
/// `used`, only those among these, which ascend.
pub(crate) fn bytes_left(
    settings: &Settings,
    layout: &Layout,
    tree: &Tree,
    used: Option<&[Range<u64>]>,
) -> Vec<Range<u64>> {
    let image = Image::new(settings, Storage::OldData, layout, tree);
    let left = image.not_written();
    let Some(used) = used else { return left };
    stale::within(&left, used.iter().cloned())
}

/// Where an image goes.
#[derive(Clone, Copy)]
pub struct Sinks<'a> {
    /// The filesystem.
    pub image: &'a dyn Sink,
    /// The device of its journal, which lists the filesystems that it is for.
    pub journal: Option<&'a dyn Sink>,
}

impl fmt::Debug for Sinks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sinks").finish_non_exhaustive()
    }
}

/// Writes the image to `sinks`, as [`emit`] does.
///
/// # Errors
/// As those of [`emit`]; and where there is no sink for the journal but should be, or what is there
/// is not the journal it was.
pub fn emit_to(
    settings: &Settings,
    layout: &Layout,
    tree: &Tree,
    sinks: Sinks<'_>,
    writing: &Writing<'_>,
) -> Result<Digests, EmitError> {
    let listing = Listing::new(settings, sinks.journal)?;
    let out = Out::new(settings, &layout.geometry, sinks.image)?;
    if settings.super_only && !settings.discard {
        out.check_quota_inodes(layout)?;
    }
    share::check(layout, tree, &out, writing)?;
    let mut session = WriteSession::in_place(out, settings, writing)?;
    session.listing = listing;
    session.finish(layout, tree, &[])
}

/// An image that is being written: the old superblock is gone, and the storage discarded.
///
/// File data whose places are known may be written now, each once, with [`WriteSession::data_writer`]. The
/// rest comes with [`WriteSession::finish`], and the new superblock last of all.
pub struct WriteSession<'a> {
    settings: &'a Settings,
    writing: &'a Writing<'a>,
    out: Out<'a>,
    storage: Storage,
    listing: Option<Listing<'a>>,
}

impl fmt::Debug for WriteSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteSession").finish_non_exhaustive()
    }
}

impl<'a> WriteSession<'a> {
    /// Begins an image of `geometry`, made from `settings`, in `sink`.
    ///
    /// # Errors
    /// Where the sink is too small or fails, or the caller cancels.
    pub fn new(
        settings: &'a Settings,
        geometry: &Geometry,
        sink: &'a dyn Sink,
        writing: &'a Writing<'a>,
    ) -> Result<Self, EmitError> {
        if settings.journal_device.is_some() {
            return Err(EmitError::Journal(
                "a stream of a known size cannot have its journal elsewhere",
            ));
        }
        Self::in_place(Out::new(settings, geometry, sink)?, settings, writing)
    }

    fn in_place(
        out: Out<'a>,
        settings: &'a Settings,
        writing: &'a Writing<'a>,
    ) -> Result<Self, EmitError> {
        out.zero(OLD_SUPERBLOCK)?;
        out.sync(writing)?;
        // Of a journal's device not all is discarded: mke2fs knows nothing of its block size by then.
        let is_journal = settings.features.has(Feature::JournalDev);
        let length = if is_journal {
            out.length / out.block_bytes * BlockSize::MIN.bytes_u64()
        } else {
            out.length
        };
        let discarded = settings.discard && out.discard(length, writing.cancel)?;
        let storage = if discarded && !is_journal && out.sink.discard_zeroes() {
            Storage::Zeros
        } else if settings.assume_storage_prezeroed {
            Storage::SaidToBeZeros
        } else {
            Storage::OldData
        };
        Ok(Self {
            settings,
            writing,
            out,
            storage,
            listing: None,
        })
    }

    /// What writes file data as it streams in, with a thread of `scope` where there may be more than one.
    pub fn data_writer<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> DataWriter<'scope> {
        DataWriter::new(scope, &self.out, self.writing)
    }

    /// Writes all but the file data that is in its place, and ends with the superblock. Of the blocks
    /// that ever held one, `used` in ascending order, those that hold none now are cleared.
    ///
    /// # Errors
    /// Where the sink fails, content cannot be read, or the caller cancels. The sink then holds no
    /// superblock.
    pub fn finish(self, layout: &Layout, tree: &Tree, used: &[Run]) -> Result<Digests, EmitError> {
        let (out, writing) = (&self.out, self.writing);
        let mut image = Image::new(self.settings, self.storage, layout, tree);
        image.clear_left(used, self.storage, out)?;
        if self.settings.super_only {
            image.write_own_inodes(out)?
        } else {
            image.zero_stale(self.storage, out)?
        }
        image.shared = image.share_files(out, writing)?;
        let digests = image.write_batches(out, writing)?;
        // In its order the superblock was among them.
        if out.sink.is_in_order() {
            return Ok(digests);
        }
        let primary = image.superblock(Group::new(0));
        out.sync(writing)?;
        // The last moment at which a wish to stop can be heard.
        if writing.cancel.load(Ordering::Relaxed) {
            return Err(EmitError::Cancelled);
        }
        if let Some(listing) = &self.listing {
            listing.write(writing)?;
        }
        let written = out
            .write(superblock::OFFSET, bytes_of(&primary))
            .and_then(|()| out.sync(writing));
        written.inspect_err(|_| {
            // Half a superblock might mount. Where the storage does not take this either, nobody is
            // left to be told.
            let _ = out.zero(OLD_SUPERBLOCK);
        })?;
        Ok(digests)
    }
}

/// The bytes that can hold an old superblock and what lies behind it: sectors 2 to 7.
const OLD_SUPERBLOCK: Range<u64> = 1024..4096;

/// The sink with the place of the image in it.
struct Out<'a> {
    sink: &'a dyn Sink,
    base: u64,
    block_size: BlockSize,
    block_bytes: u64,
    /// The image's bytes.
    length: u64,
}

impl<'a> Out<'a> {
    /// The place in `sink`, however large that is.
    fn of_any_size(settings: &Settings, geometry: &Geometry, sink: &'a dyn Sink) -> Self {
        let block_bytes = geometry.block_size.bytes_u64();
        Self {
            sink,
            base: settings.offset_bytes,
            block_size: geometry.block_size,
            block_bytes,
            length: geometry.blocks_count * block_bytes,
        }
    }

    /// The place in `sink`, if it is large enough.
    fn new(
        settings: &Settings,
        geometry: &Geometry,
        sink: &'a dyn Sink,
    ) -> Result<Self, EmitError> {
        let out = Self::of_any_size(settings, geometry, sink);
        let needed = out.base.saturating_add(out.length);
        match sink.size_bytes() {
            size if size < needed => Err(EmitError::SinkTooSmall { size, needed }),
            _ => Ok(out),
        }
    }

    /// Writes `bytes` at `offset` from the image's first byte.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), EmitError> {
        self.sink
            .write_at(self.base + offset, bytes)
            .map_err(|error| self.failed("writing", offset, error))
    }

    /// Zeroes a range of bytes.
    fn zero(&self, range: Range<u64>) -> Result<(), EmitError> {
        self.sink
            .zero(self.base + range.start, range.end - range.start)
            .map_err(|error| self.failed("zeroing", range.start, error))
    }

    /// Looks whether the inodes of quota files are free in a filesystem that is kept.
    fn check_quota_inodes(&self, layout: &Layout) -> Result<(), EmitError> {
        let geometry = &layout.geometry;
        let mut stored = vec![0; usize::from(geometry.inode_size)];
        for quota_type in geometry.quota_types.iter() {
            let Some(ino) = geometry.quota_ino(quota_type) else {
                continue;
            };
            let offset = self.inode_offset(layout, ino);
            self.sink
                .read_at(self.base + offset, &mut stored)
                .map_err(|error| self.failed("reading", offset, error))?;
            if stored.iter().any(|byte| *byte != 0) {
                return Err(EmitError::QuotaInUse);
            }
        }
        Ok(())
    }

    /// Where the inode `ino` is, in bytes from the image's first.
    fn inode_offset(&self, layout: &Layout, ino: Ino) -> u64 {
        let geometry = &layout.geometry;
        let group = geometry.group_of_ino(ino);
        let before = ino.get() - geometry.group_first_ino(group).get();
        self.offset(layout.tables_of(group).inode_table)
            + u64::from(before) * u64::from(geometry.inode_size)
    }

    fn sync(&self, writing: &Writing<'_>) -> Result<(), EmitError> {
        if !writing.sync {
            return Ok(());
        }
        self.sink
            .sync()
            .map_err(|error| self.failed("waiting for the storage", 0, error))
    }

    /// Discards all `length` bytes of the image, and says whether the storage can; in steps, so that
    /// a wish to stop is heard. The last step is first: a file that cannot have holes is cut off and grown again as
    /// long as only zeros follow.
    fn discard(&self, length: u64, cancel: &AtomicBool) -> Result<bool, EmitError> {
        let mut end = length;
        while end > 0 {
            if cancel.load(Ordering::Relaxed) {
                return Err(EmitError::Cancelled);
            }
            let start = (end - 1) / DISCARD_STEP_BYTES * DISCARD_STEP_BYTES;
            if !self.discard_range(start..end)? {
                return Ok(false);
            }
            end = start;
        }
        Ok(true)
    }

    /// Discards a range of bytes, and says whether the storage can.
    fn discard_range(&self, range: Range<u64>) -> Result<bool, EmitError> {
        let length = range.end - range.start;
        let discarded = self.sink.discard(self.base + range.start, length);
        discarded.map_err(|error| self.failed("discarding", range.start, error))
    }

    fn offset(&self, block: Block) -> u64 {
        block.get() * self.block_bytes
    }

    /// Where the blocks of `run` are, in bytes from the image's first.
    fn bytes(&self, run: Run) -> Range<u64> {
        self.offset(run.start)..self.offset(run.end())
    }

    fn failed(&self, doing: &'static str, offset: u64, error: io::Error) -> EmitError {
        EmitError::Sink {
            doing,
            offset: self.base + offset,
            error,
        }
    }
}

/// What the storage reads as wherever nothing is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Storage {
    Zeros,
    SaidToBeZeros,
    OldData,
}

/// What becomes of inodes that are not in use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StaleInodes {
    /// They are zeroed, if only as far as their block is written.
    Zeroed,
    /// They are left as they were, but for those in a block with one of the first `reserved`.
    Left {
        /// How many inodes mke2fs reserves before it zeroes tables.
        reserved: u32,
    },
}

impl StaleInodes {
    /// mke2fs zeroes tables as far as they hold reserved inodes, and reads and changes the blocks of
    /// others. Unused inodes there come out as they were.
    fn new(settings: &Settings, layout: &Layout, storage: Storage) -> Self {
        let lazy = settings.lazy_itable_init && layout.geometry.features.has_group_desc_csum();
        match storage {
            Storage::OldData if lazy => Self::Left {
                reserved: Ino::FIRST.get(),
            },
            Storage::SaidToBeZeros => Self::Left { reserved: 0 },
            Storage::Zeros | Storage::OldData => Self::Zeroed,
        }
    }
}

/// All that rendering asks for.
struct Image<'a> {
    settings: &'a Settings,
    layout: &'a Layout,
    tree: &'a Tree,
    /// The seed of metadata checksums.
    seed: u32,
    /// Whether unused inodes are left as they were, from which inode's block on of each table.
    stale_inodes: StaleInodes,
    /// Whether inode tables read as zeros past what is used, which descriptors say.
    tables_zeroed: bool,
    superblock_template: Superblock,
    descriptors: Vec<u8>,
    /// The groups but the first that keep descriptors. Each block that is kept for growing names them
    /// all: to ask every group a thousand times is most of the time that an empty filesystem takes.
    backup_groups: Vec<Group>,
    /// The files whose data is in its place, since it is shared with a source.
    shared: HashSet<NodeIndex>,
}

impl<'a> Image<'a> {
    fn new(settings: &'a Settings, storage: Storage, layout: &'a Layout, tree: &'a Tree) -> Self {
        let mut image = Self {
            settings,
            layout,
            tree,
            seed: filesystem_seed(settings.uuid),
            stale_inodes: StaleInodes::new(settings, layout, storage),
            tables_zeroed: !settings.super_only
                && (storage != Storage::OldData || !settings.lazy_itable_init),
            superblock_template: Superblock::zeroed(),
            descriptors: Vec::new(),
            backup_groups: backup_groups(&layout.geometry),
            shared: HashSet::new(),
        };
        image.superblock_template = metadata::superblock_template(&image);
        image.descriptors = image.descriptors();
        image
    }

    /// The seed of `ino`'s checksums, where there are any. Generations are 0.
    fn inode_seed(&self, ino: Ino) -> Option<u32> {
        self.has(Feature::MetadataCsum)
            .then(|| inode_seed(self.seed, ino.get(), 0))
    }

    /// How many blocks of a group's inode table hold inodes in use.
    fn used_table_blocks(&self, group: Group) -> u32 {
        let geometry = &self.layout.geometry;
        if geometry.super_only {
            return 0;
        }
        let bytes = self.layout.used_inodes(group).end * u32::from(geometry.inode_size);
        bytes.div_ceil(geometry.block_size.bytes())
    }

    /// How many bytes of a group's inode table are written.
    fn table_bytes(&self, group: Group) -> u64 {
        let geometry = &self.layout.geometry;
        let (inode_bytes, block_bytes) = (geometry.inode_size, geometry.block_size.bytes_u64());
        let bytes = |inodes: u32| u64::from(inodes) * u64::from(inode_bytes);
        let used = bytes(self.layout.used_inodes(group).end);
        match self.stale_inodes {
            StaleInodes::Zeroed => used.next_multiple_of(block_bytes),
            StaleInodes::Left { reserved } => {
                let before = group.get().saturating_mul(geometry.inodes_per_group);
                let reserved = reserved
                    .saturating_sub(before)
                    .min(geometry.inodes_per_group);
                used.max(bytes(reserved).next_multiple_of(block_bytes))
            }
        }
    }

    /// Writes the inodes of quota and orphan files, each by itself: what lies around them stays.
    fn write_own_inodes(&self, out: &Out<'_>) -> Result<(), EmitError> {
        let geometry = &self.layout.geometry;
        let mut stored = vec![0; usize::from(geometry.inode_size)];
        for ino in geometry.quota_and_orphan_inos() {
            self.render_inode(ino, &mut stored)?;
            out.write(out.inode_offset(self.layout, ino), &stored)?;
        }
        Ok(())
    }

    fn write_batches(&self, out: &Out<'_>, writing: &Writing<'_>) -> Result<Digests, EmitError> {
        let is_in_order = out.sink.is_in_order();
        let batches = Batches::new(self, is_in_order.then_some(out.base));
        // To start a thread takes longer than to write a batch of metadata, and those who write to one
        // file wait for each other.
        let most = writing.threads.get().min(MOST_THREADS);
        let each = if self.tree.is_empty() {
            METADATA_OF_THREAD
        } else {
            1
        };
        let useful = batches.clone().take(most * each).count().div_ceil(each);
        let trees = MerkleTrees::new(self.layout, self.tree, batches.claims());
        let batches = Mutex::new(batches);
        let (failure, readers) = (Failure::default(), Readers::new(self.tree, writing.cancel));
        readers.read_empty(|node| self.layout.stays.is_in_place(node))?;
        let way = if is_in_order {
            Way::InTurn(Turns::default())
        } else if out.sink.takes_one_at_a_time() {
            Way::OneAtATime(Relay::default())
        } else {
            Way::AtOnce
        };
        let fail = |number, error| {
            failure.report(number, error);
            readers.abort(number);
            if let Way::InTurn(turns) = &way {
                turns.abort(number);
            }
            trees.abort(number);
        };
        let wrote = |number, written| match written {
            Ok(bytes) => (writing.progress)(bytes),
            Err(error) => fail(number, error),
        };
        let work = || {
            let mut worker = Worker::new(&readers, &trees);
            while let Some(batch) = next(&batches, &failure) {
                let number = batch.number;
                if writing.cancel.load(Ordering::Relaxed) {
                    fail(number, EmitError::Cancelled);
                    return;
                }
                match self.render_batch(&batch, out, &mut worker) {
                    Ok(full) => {
                        if let Some(written) = out.write_batch(full, &way, wrote) {
                            worker.reuse(written);
                        }
                    }
                    Err(error) => fail(number, error),
                }
            }
        };
        side_by_side(useful.saturating_sub(1), work);
        failure.into_result()?;
        Ok(trees.into_digests())
    }
}

fn backup_groups(geometry: &Geometry) -> Vec<Group> {
    let others = geometry.all_groups().skip(1);
    others
        .filter(|group| geometry.has_superblock(*group))
        .collect()
}

/// The next batch, unless one failed already: all below it are then in other hands.
fn next(batches: &Mutex<Batches<'_>>, failure: &Failure) -> Option<Batch> {
    if failure.happened.load(Ordering::Relaxed) {
        return None;
    }
    let mut batches = batches.lock().unwrap_or_else(|poison| poison.into_inner());
    batches.next()
}

/// The failure lowest in the image.
#[derive(Default)]
struct Failure {
    happened: AtomicBool,
    lowest: Mutex<Option<(u64, EmitError)>>,
}

impl Failure {
    fn report(&self, number: u64, error: EmitError) {
        let mut lowest = self
            .lowest
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        if lowest.as_ref().is_none_or(|(known, _)| number < *known) {
            *lowest = Some((number, error));
        }
        self.happened.store(true, Ordering::Relaxed);
    }

    fn into_result(self) -> Result<(), EmitError> {
        let lowest = self
            .lowest
            .into_inner()
            .unwrap_or_else(|poison| poison.into_inner());
        lowest.map_or(Ok(()), |(_, error)| Err(error))
    }
}
