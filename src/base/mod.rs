//! Given what `read` gives of a filesystem, says where each file's inode and blocks are, for a new
//! filesystem in which the same files are to stay there; never what the files hold.
//!
//! It is a preference and nothing more: whoever asks for a place looks whether it is free. So nothing that
//! an image says here can make a filesystem wrong, and an image costs no more than it holds: each node of a
//! map, each block of a directory and each block of extended attributes is read once.

mod index;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::feature::{Feature, Word};
use crate::ondisk::checksum::crc32c;
use crate::ondisk::inode::{FLAG_EA_INODE, FLAG_ENCRYPT, FLAG_INLINE_DATA, FLAG_VERITY};
use crate::ondisk::mmp::{MAGIC, MmpBlock, SEQUENCE_CLEAN};
use crate::ondisk::superblock::{
    FLAG_TEST_FILESYSTEM, STATE_ERROR, STATE_VALID, Superblock as Stored,
};
use crate::read::bytes::{join, pod_or_zeros};
use crate::read::superblock::{ORPHAN_PRESENT, RECOVER, word_of};
use crate::read::{
    Error, Extent, Filesystem, ImageFile, Inode, PlacedMap, ReadAt, Result, Superblock,
};
use crate::units::{Block, Ino, Run, Timestamp};

pub(crate) use index::Leaf;

/// The bytes of a block of extended attributes before its entries, which say nothing about them but how
/// many inodes share it.
const XATTR_HEADER_BYTES: usize = 32;
/// Where in the resize inode's `i_block` its double indirect block is.
const DOUBLE_INDIRECT: Range<usize> = 52..56;
/// The bytes of a symbolic link's target that is in its inode are fewer than these.
const INLINE_TARGET: u64 = 60;

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
    inodes: HashMap<Ino, BaseInode>,
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

/// An inode that is in use.
#[derive(Debug)]
pub(crate) struct BaseInode {
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) crtime: Option<Timestamp>,
    flags: u32,
    /// Where its blocks are, in their order.
    pub(crate) pieces: Box<[Piece]>,
    /// The blocks of the map that says so.
    pub(crate) nodes: Box<[Block]>,
}

/// A regular file of which the host may say the same.
#[derive(Clone, Debug)]
pub(crate) struct KnownFile {
    pub(crate) ino: Ino,
    pub(crate) size: u64,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) flags: u32,
    /// Its bytes that are data.
    pub(crate) data: Vec<Range<u64>>,
}

impl KnownFile {
    /// Whether all of it is data.
    pub(crate) fn is_dense(&self) -> bool {
        match &self.data[..] {
            [] => self.size == 0,
            [data] => *data == (0..self.size),
            _ => false,
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
    /// In the order of their bytes.
    names: Vec<(Box<[u8]>, Ino)>,
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
        let mut reading = Reading {
            filesystem,
            nodes: HashSet::new(),
            xattr_blocks: HashSet::new(),
            directory_blocks: BTreeMap::new(),
            base: Self {
                superblock: Box::new(filesystem.superblock().clone()),
                inodes: HashMap::new(),
                directories: HashMap::new(),
                xattr_blocks: HashMap::new(),
                resize: None,
                mmp: mmp(filesystem)?.map(Box::new),
                settled: None,
                file: None,
            },
        };
        reading.inodes()?;
        reading.directories()?;
        let mut base = reading.base;
        for blocks in base.xattr_blocks.values_mut() {
            blocks.sort_unstable();
        }
        Ok(base)
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
        inode.is_some_and(|inode| inode.is_directory() && inode.ctime == ctime)
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
    pub(crate) fn inode(&self, ino: Ino) -> Option<&BaseInode> {
        self.inodes.get(&ino)
    }

    /// How many inodes are in use that are no file of the filesystem's own.
    pub(crate) fn files(&self) -> u64 {
        let names = self.directories.values().flat_map(|it| &it.names);
        let inos: HashSet<Ino> = names.map(|(_, ino)| *ino).collect();
        u64::try_from(inos.len()).unwrap_or(u64::MAX)
    }

    /// The inode that `name` leads to in the directory `parent`.
    pub(crate) fn child(&self, parent: Ino, name: &[u8]) -> Option<Ino> {
        let names = &self.directories.get(&parent)?.names;
        let at = names.binary_search_by(|(known, _)| (**known).cmp(name));
        at.ok().map(|at| names[at].1)
    }

    /// The blocks of a directory that is a hash tree, in the order of their hashes; none of another.
    pub(crate) fn leaves(&self, directory: Ino) -> &[Leaf] {
        let found = self.directories.get(&directory);
        found.map_or(&[], |directory| &directory.leaves)
    }

    /// The first inode that holds an extended attribute's value.
    pub(crate) fn first_value(&self) -> Option<Ino> {
        let values = self.inodes.iter().filter(|(_, inode)| inode.is_value());
        values.map(|(ino, _)| *ino).min()
    }

    /// What it says of the file `name` in the directory `parent`, if a host that says the same of it has the same
    /// file: one that was never written since.
    pub(crate) fn file(&self, parent: Ino, name: &[u8]) -> Option<KnownFile> {
        let ino = self.child(parent, name)?;
        let inode = self.inode(ino).filter(|inode| inode.is_plain_file())?;
        let time = |time: Timestamp| (time.seconds, time.nanoseconds);
        if time(inode.ctime) >= time(self.settled?) {
            return None;
        }
        let block_bytes = self.superblock.block_size().bytes_u64();
        let mut data: Vec<Range<u64>> = Vec::new();
        for piece in &inode.pieces {
            let start = piece.logical.saturating_mul(block_bytes);
            let end = piece.end().saturating_mul(block_bytes).min(inode.size);
            match data.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ if start < end => data.push(start..end),
                _ => {}
            }
        }
        Some(KnownFile {
            ino,
            size: inode.size,
            mtime: inode.mtime,
            ctime: inode.ctime,
            flags: inode.flags,
            data,
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
        Some(self.superblock.block_size().blocks_for(inode.size))
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

/// A filesystem that is being read.
struct Reading<'a> {
    filesystem: &'a Filesystem<'a>,
    /// Those of maps that were read.
    nodes: HashSet<Block>,
    xattr_blocks: HashSet<Block>,
    /// Blocks of directories by their first block, to the first behind.
    directory_blocks: BTreeMap<u64, u64>,
    base: Base,
}

impl Reading<'_> {
    fn inodes(&mut self) -> Result<()> {
        for inode in self.filesystem.inodes() {
            let inode = inode?;
            let ino = inode.ino();
            if ino == Ino::RESIZE {
                let stored = inode.stored().i_block.get(DOUBLE_INDIRECT);
                let stored = stored.and_then(|bytes| bytes.first_chunk());
                self.base.resize =
                    stored.map(|bytes| Block::new(u32::from_le_bytes(*bytes).into()));
            } else if ino != Ino::BAD_BLOCKS {
                let found = self.inode(&inode)?;
                self.base.inodes.insert(ino, found);
            }
        }
        Ok(())
    }

    fn inode(&mut self, inode: &Inode) -> Result<BaseInode> {
        let has_blocks = inode.is_file()
            || inode.is_dir()
            || inode.is_symlink() && inode.size() >= INLINE_TARGET;
        let map = if has_blocks {
            self.filesystem.placed_map(inode, &mut self.nodes)?
        } else {
            PlacedMap::default()
        };
        if let Some(block) = inode.xattr_block() {
            self.xattr_block(block)?;
        }
        let piece = |extent: &Extent| Piece {
            logical: extent.logical,
            run: extent.run,
        };
        Ok(BaseInode {
            mode: inode.mode(),
            uid: inode.uid(),
            gid: inode.gid(),
            size: inode.size(),
            atime: inode.atime(),
            mtime: inode.mtime(),
            ctime: inode.ctime(),
            crtime: inode.crtime(),
            flags: inode.flags(),
            pieces: map.extents.iter().map(piece).collect(),
            nodes: map.nodes.into(),
        })
    }

    fn xattr_block(&mut self, block: Block) -> Result<()> {
        if self.xattr_blocks.insert(block) {
            let key = xattr_key(&self.filesystem.block(block)?);
            self.base.xattr_blocks.entry(key).or_default().push(block);
        }
        Ok(())
    }

    /// Reads the directories that the root leads to.
    fn directories(&mut self) -> Result<()> {
        let mut waiting = VecDeque::from([Ino::ROOT]);
        while let Some(ino) = waiting.pop_front() {
            let is_directory = self.base.inode(ino).is_some_and(BaseInode::is_directory);
            if !is_directory || self.base.directories.contains_key(&ino) {
                continue;
            }
            let directory = self.directory(ino)?;
            waiting.extend(directory.names.iter().map(|(_, ino)| *ino));
            self.base.directories.insert(ino, directory);
        }
        Ok(())
    }

    fn directory(&mut self, ino: Ino) -> Result<BaseDirectory> {
        let inode = self.filesystem.inode(ino)?;
        let pieces = self.base.inode(ino).map(|it| it.pieces.clone());
        let pieces = pieces.unwrap_or_default();
        for piece in &pieces {
            self.read_once(piece.run)
                .map_err(|error| error.in_inode(ino))?;
        }
        let mut names = Vec::new();
        for entry in self.filesystem.entries(&inode)? {
            let entry = entry?;
            names.push((entry.name().into(), entry.ino()));
        }
        names.sort_unstable();
        Ok(BaseDirectory {
            names,
            leaves: index::leaves(self.filesystem, &inode, &pieces)?,
        })
    }

    /// Notes that `run` is a directory's: many that had the same blocks would be read many times.
    fn read_once(&mut self, run: Run) -> Result<()> {
        let (start, end) = (run.start.get(), run.end().get());
        let before = self.directory_blocks.range(..end).next_back();
        if before.is_some_and(|(_, before)| *before > start) {
            return Err(Error::rule("a block belongs to two directories").in_block(run.start));
        }
        self.directory_blocks.insert(start, end);
        Ok(())
    }
}

impl BaseInode {
    /// The bits of its mode that say what it is.
    pub(crate) fn file_type(&self) -> u16 {
        self.mode & 0xf000
    }

    fn is_directory(&self) -> bool {
        self.file_type() == 0x4000
    }

    /// Whether it holds an extended attribute's value.
    pub(crate) fn is_value(&self) -> bool {
        self.flags & FLAG_EA_INODE != 0
    }

    /// Whether blocks hold all that it holds, as they do of an ordinary file.
    fn is_plain_file(&self) -> bool {
        const ODD: u32 = FLAG_EA_INODE | FLAG_INLINE_DATA | FLAG_VERITY | FLAG_ENCRYPT;
        self.file_type() == 0x8000 && self.flags & ODD == 0
    }

    /// Whether its `length` blocks from `logical` on are `run`.
    pub(crate) fn has(&self, mut logical: u64, run: Run) -> bool {
        let mut at = run.start.get();
        let first = self.pieces.partition_point(|piece| piece.end() <= logical);
        for piece in &self.pieces[first..] {
            if at >= run.end().get() {
                break;
            }
            let is_there =
                piece.logical <= logical && piece.run.start.get() + (logical - piece.logical) == at;
            if !is_there {
                return false;
            }
            at += piece.end() - logical;
            logical = piece.end();
        }
        at >= run.end().get()
    }
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

    /// The inodes in use, in no order.
    pub(crate) fn used_inodes(&self) -> impl Iterator<Item = Ino> {
        self.inodes.keys().copied()
    }

    /// The blocks that its inodes have, in no order.
    pub(crate) fn used(&self) -> Vec<Run> {
        let of_inode = |inode: &BaseInode| {
            let pieces = inode.pieces.iter().map(|piece| piece.run);
            let nodes = inode.nodes.iter().copied().map(Run::one);
            pieces.chain(nodes).collect::<Vec<Run>>()
        };
        let xattrs = self.xattr_blocks.values().flatten().copied().map(Run::one);
        let mut used: Vec<Run> = self.inodes.values().flat_map(of_inode).collect();
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
