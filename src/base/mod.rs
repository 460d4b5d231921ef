//! Given what `read` gives of a filesystem, says where each file's inode and blocks are, for a new
//! filesystem in which the same files are to stay there; never what the files hold.
//!
//! It is a preference and nothing more: whoever asks for a place looks whether it is free. So nothing that
//! an image says here can make a filesystem wrong, and an image costs no more than it holds: each node of a
//! map, each block of a directory and each block of extended attributes is read once.

mod index;
mod inodes;
mod names;
mod reading;
mod threads;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::feature::{Feature, Word};
use crate::ondisk::checksum::crc32c;
use crate::ondisk::mmp::{MAGIC, MmpBlock, SEQUENCE_CLEAN};
use crate::ondisk::superblock::{
    FLAG_TEST_FILESYSTEM, STATE_ERROR, STATE_VALID, Superblock as Stored,
};
use crate::read::bytes::{join, pod_or_zeros};
use crate::read::superblock::{ORPHAN_PRESENT, RECOVER, word_of};
use crate::read::{Error, Filesystem, ImageFile, ReadAt, Result, Superblock};
use crate::units::{Block, Ino, Run, Timestamp};

pub(crate) use index::Leaf;
pub(crate) use inodes::BaseInode;
use inodes::Inodes;
use names::Names;
use reading::Reading;

/// The bytes of a block of extended attributes before its entries, which say nothing about them but how
/// many inodes share it.
const XATTR_HEADER_BYTES: usize = 32;
/// Where everything is in a filesystem, for a new one that is to differ from it in as few blocks as it can
/// ([`Builder::base`](crate::Builder::base)).
///
/// ```
/// use mke4fs::{Base, Builder, Tree};
///
/// let image = |content: &str, base: Option<Base>| {
///     let mut tree = Tree::default();
///     tree.file("/etc/motd", content)?;
///     tree.file("/usr/share/data", vec![7; 1 << 20])?;
///     let builder = Builder::new().source(tree).size_bytes(16 << 20);
///     base.into_iter().fold(builder, Builder::base).to_vec()
/// };
/// let old = image("Welcome.\n", None)?;
/// let same = image("Welcome.\n", Some(Base::read(&old[..])?))?;
/// assert!(old == same);
/// let new = image("Good morning.\n", Some(Base::read(&old[..])?))?;
/// let blocks = old.chunks(4096).zip(new.chunks(4096));
/// assert!(blocks.filter(|(old, new)| old != new).count() < 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Base {
    /// In boxes, as a base is moved with a builder at each of its methods.
    superblock: Box<Superblock>,
    inodes: Inodes,
    directories: HashMap<Ino, BaseDirectory>,
    /// By the checksum of what they hold.
    xattr_blocks: HashMap<u32, Vec<Block>>,
    resize: Option<Block>,
    mmp: Option<Box<MmpBlock>>,
    /// Files whose ctimes are before this were not changed while they were read, if that is known of any.
    settled: Option<Timestamp>,
    file: Option<BaseFile>,
}

/// The file that a filesystem is in, open, and where it begins there.
#[derive(Clone, Debug)]
pub(crate) struct BaseFile {
    pub(crate) file: Arc<ImageFile>,
    pub(crate) offset_bytes: u64,
}

/// A regular file of which the host may say the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownFile<'a> {
    pub(crate) inode: BaseInode<'a>,
    block_bytes: u64,
}

impl KnownFile<'_> {
    /// Its bytes that are data.
    pub(crate) fn data(&self) -> impl Iterator<Item = Range<u64>> {
        self.inode.data(self.block_bytes)
    }

    /// Whether all of it is data.
    pub(crate) fn is_dense(&self) -> bool {
        let size = self.inode.size();
        let mut data = self.data();
        match data.next() {
            None => size == 0,
            Some(first) => first == (0..size) && data.next().is_none(),
        }
    }
}

/// Blocks of a file that are neighbours in it and on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) logical: u64,
    pub(crate) run: Run,
}

impl Piece {
    /// The first logical block behind.
    pub(crate) fn end(&self) -> u64 {
        self.logical.saturating_add(self.run.len)
    }
}

#[derive(Debug, Default)]
struct BaseDirectory {
    names: Names,
    leaves: Vec<Leaf>,
}

impl Base {
    /// Reads the filesystem that begins with the first byte of `image`.
    ///
    /// # Errors
    /// Where there is none, it is damaged, or it was not unmounted cleanly.
    pub fn read<'a>(image: impl ReadAt + 'a) -> Result<Self> {
        Self::of(&Filesystem::open(image)?)
    }

    /// Reads the filesystem that begins with the byte `offset_bytes` of `image`.
    ///
    /// # Errors
    /// As those of [`read`](Self::read).
    pub fn read_at<'a>(image: impl ReadAt + 'a, offset_bytes: u64) -> Result<Self> {
        Self::of(&Filesystem::open_at(image, offset_bytes)?)
    }

    /// Reads the filesystem at the byte `offset_bytes` of `file`, which stays open: a new image shares what it
    /// has in common with this one, where the storage of both can ([`Reflink`](crate::Reflink)).
    ///
    /// # Errors
    /// As those of [`read`](Self::read).
    pub fn in_file(file: ImageFile, offset_bytes: u64) -> Result<Self> {
        let file = Arc::new(file);
        let base = Self::of(&Filesystem::open_at(file.clone(), offset_bytes)?)?;
        Ok(Self {
            file: Some(BaseFile { file, offset_bytes }),
            ..base
        })
    }

    /// The file that it is in, if that stays open.
    pub(crate) fn open_file(&self) -> Option<&BaseFile> {
        self.file.as_ref()
    }

    /// Reads a filesystem that is open.
    ///
    /// # Errors
    /// Where it is damaged, or was not unmounted cleanly.
    pub fn of(filesystem: &Filesystem<'_>) -> Result<Self> {
        check_clean(filesystem)?;
        let mmp = mmp(filesystem)?.map(Box::new);
        let Reading {
            inodes,
            directories,
            xattr_blocks,
            resize,
        } = Reading::of(filesystem)?;
        Ok(Self {
            superblock: Box::new(filesystem.superblock().clone()),
            inodes,
            directories,
            xattr_blocks,
            resize,
            mmp,
            settled: None,
            file: None,
        })
    }

    /// The same, of an image that was being written no later than `written`: what was changed shortly before may
    /// have been changed once more since, in the same moment for the clock of its filesystem. Without that, the
    /// time counts at which the image was made first, if that is not after `now`.
    #[must_use]
    pub(crate) fn written(mut self, written: Option<Timestamp>, now: Timestamp) -> Self {
        const MARGIN: i64 = 2;
        let written = written.unwrap_or_else(|| Timestamp::from_seconds(self.made()));
        let seconds = written.seconds.saturating_sub(MARGIN);
        self.settled = (written.seconds <= now.seconds).then_some(Timestamp { seconds, ..written });
        self
    }

    /// Whether the directory `ino` is the one of which the host says that it was changed last at `ctime`. One that
    /// was moved was changed.
    pub(crate) fn is_directory_of(&self, ino: Ino, ctime: Timestamp) -> bool {
        let inode = self.inode(ino);
        inode.is_some_and(|inode| inode.is_directory() && inode.ctime() == ctime)
    }

    /// The superblock.
    pub(crate) fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// What is stored of the superblock.
    pub(crate) fn stored(&self) -> &Stored {
        self.superblock.stored()
    }

    /// An inode that is in use.
    pub(crate) fn inode(&self, ino: Ino) -> Option<BaseInode<'_>> {
        self.inodes.get(ino)
    }

    /// How many inodes are in use that are no file of the filesystem's own.
    pub(crate) fn files(&self) -> u64 {
        let names = self.directories.values().flat_map(|it| it.names.inos());
        let mut inos: Vec<Ino> = names.collect();
        inos.sort_unstable();
        inos.dedup();
        u64::try_from(inos.len()).unwrap_or(u64::MAX)
    }

    /// The inode that `name` leads to in the directory `parent`.
    pub(crate) fn child(&self, parent: Ino, name: &[u8]) -> Option<Ino> {
        self.directories.get(&parent)?.names.get(name)
    }

    /// The blocks of a directory that is a hash tree, in the order of their hashes; none of another.
    pub(crate) fn leaves(&self, directory: Ino) -> &[Leaf] {
        let found = self.directories.get(&directory);
        found.map_or(&[], |directory| &directory.leaves)
    }

    /// The first inode that holds an extended attribute's value.
    pub(crate) fn first_value(&self) -> Option<Ino> {
        let mut values = self.inodes.all().filter(BaseInode::is_value);
        values.next().map(|inode| inode.ino())
    }

    /// What it says of the file `name` in the directory `parent`, if a host that says the same of it has the same
    /// file: one that was never written since.
    pub(crate) fn file(&self, parent: Ino, name: &[u8]) -> Option<KnownFile<'_>> {
        let ino = self.child(parent, name)?;
        let inode = self.inode(ino).filter(BaseInode::is_plain_file)?;
        let time = |time: Timestamp| (time.seconds, time.nanoseconds);
        (time(inode.ctime()) < time(self.settled?)).then(|| KnownFile {
            inode,
            block_bytes: self.superblock.block_size().bytes_u64(),
        })
    }

    /// The blocks of extended attributes that hold `block`, whoever shares them, in ascending order.
    pub(crate) fn xattr_blocks(&self, block: &[u8]) -> &[Block] {
        let found = self.xattr_blocks.get(&xattr_key(block));
        found.map_or(&[], |blocks| blocks)
    }

    /// The double indirect block of the resize inode.
    pub(crate) fn resize(&self) -> Option<Block> {
        self.resize
    }

    /// The block of multiple mount protection.
    pub(crate) fn mmp(&self) -> Option<&MmpBlock> {
        self.mmp.as_deref()
    }

    /// The length in blocks of an inode's data.
    pub(crate) fn blocks_of(&self, ino: Ino) -> Option<u64> {
        let inode = self.inode(ino)?;
        Some(self.superblock.block_size().blocks_for(inode.size()))
    }
}

/// Refuses what e2fsck or the kernel would change first.
fn check_clean(filesystem: &Filesystem<'_>) -> Result<()> {
    let stored = filesystem.superblock().stored();
    let is_waiting = word_of(stored, Word::Incompat) & RECOVER != 0;
    if is_waiting || filesystem.replayed_blocks() > 0 {
        return Err(Error::unclean("its journal waits to be replayed"));
    }
    let has_orphans = word_of(stored, Word::RoCompat) & ORPHAN_PRESENT != 0;
    if has_orphans || stored.s_last_orphan.get() != 0 {
        return Err(Error::unclean("it has orphaned inodes"));
    }
    if stored.s_state.get() & STATE_VALID == 0 {
        return Err(Error::unclean("it was not cleanly unmounted"));
    }
    if stored.s_state.get() & STATE_ERROR != 0 {
        return Err(Error::unclean("the kernel recorded errors in it"));
    }
    Ok(())
}

/// The block of multiple mount protection, where there is one; a filesystem that is in use is refused.
fn mmp(filesystem: &Filesystem<'_>) -> Result<Option<MmpBlock>> {
    let sb = filesystem.superblock();
    if !sb.has(Feature::Mmp) {
        return Ok(None);
    }
    let block = filesystem.block(Block::new(sb.stored().s_mmp_block.get()))?;
    let mmp: MmpBlock = pod_or_zeros(&block);
    if mmp.mmp_magic.get() == MAGIC && mmp.mmp_seq.get() != SEQUENCE_CLEAN {
        return Err(Error::unclean("its MMP block says that it is in use"));
    }
    Ok(Some(mmp))
}

fn xattr_key(block: &[u8]) -> u32 {
    crc32c(!0, block.get(XATTR_HEADER_BYTES..).unwrap_or_default())
}

impl Base {
    /// How many blocks its journal has, if it has one inside.
    pub(crate) fn journal_blocks(&self) -> Option<u64> {
        let has_journal = self.superblock.has(Feature::HasJournal);
        let is_inside = self.stored().s_journal_inum.get() == Ino::JOURNAL.get();
        let blocks = || self.blocks_of(Ino::JOURNAL);
        (has_journal && is_inside).then(blocks).flatten()
    }

    /// How many blocks its orphan file has, if it has one.
    pub(crate) fn orphan_blocks(&self) -> Option<u64> {
        let ino = Ino::new(self.stored().s_orphan_file_inum.get());
        let has_orphan_file = self.superblock.has(Feature::OrphanFile);
        has_orphan_file.then(|| self.blocks_of(ino)).flatten()
    }
}

impl Base {
    /// How many blocks are kept for root.
    pub(crate) fn reserved_blocks(&self) -> u64 {
        let stored = self.stored();
        let high = if self.superblock.has(Feature::SixtyFourBit) {
            stored.s_r_blocks_count_hi.get()
        } else {
            0
        };
        join(stored.s_r_blocks_count_lo.get(), high)
    }

    /// Whether it is marked as one for tests of the kernel.
    pub(crate) fn is_for_tests(&self) -> bool {
        self.stored().s_flags.get() & FLAG_TEST_FILESYSTEM != 0
    }

    /// Whether it is as this program wrote it: since then nobody mounted or changed it who says so. Whoever else
    /// writes to an ext4 filesystem counts it in `s_kbytes_written`, in which mke4fs leaves 1.
    pub(crate) fn is_untouched(&self) -> bool {
        let stored = self.stored();
        let made = (stored.s_mkfs_time.get(), stored.s_mkfs_time_hi);
        stored.s_kbytes_written.get() == 1
            && stored.s_mnt_count.get() == 0
            && (stored.s_mtime.get(), stored.s_mtime_hi) == (0, 0)
            && (stored.s_wtime.get(), stored.s_wtime_hi) == made
            && (stored.s_lastcheck.get(), stored.s_lastcheck_hi) == made
    }

    /// The inodes in use, by number.
    pub(crate) fn used_inodes(&self) -> impl Iterator<Item = Ino> {
        self.inodes.all().map(|inode| inode.ino())
    }

    /// The blocks that its inodes have, in no order.
    pub(crate) fn used(&self) -> Vec<Run> {
        let mut used = Vec::new();
        for inode in self.inodes.all() {
            used.extend(inode.pieces.iter().map(|piece| piece.run));
            used.extend(inode.nodes.iter().copied().map(Run::one));
        }
        let xattrs = self.xattr_blocks.values().flatten().copied().map(Run::one);
        used.extend(xattrs);
        used
    }

    /// When it was made, in seconds since 1970.
    pub(crate) fn made(&self) -> i64 {
        let stored = self.stored();
        let high = i8::from_le_bytes([stored.s_mkfs_time_hi]);
        (i64::from(high) << 32) | i64::from(stored.s_mkfs_time.get())
    }
}
