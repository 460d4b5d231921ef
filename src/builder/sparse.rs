//! Given a tree, changes which bytes of its files are data and which are holes, as [`Sparse`] says;
//! never gives one a place.
//!
//! It is a stage between the tree and its layout: [`Content`]'s ranges of data stay the one truth, and
//! blocks, maps, counts and quota follow from them. What it finds depends on the bytes and on the block
//! size alone.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use sha2::{Digest, Sha256};

use crate::emit::{EmitError, FileReading, unreadable};
use crate::error::Error;
use crate::geometry::Geometry;
use crate::layout::Layout;
use crate::options::Settings;
use crate::tree::{
    Access, Content, ContentKey, ContentReader, ContentSource, DataMap, DataRanges, Kind, NodeId,
    Tree, Verity,
};
use crate::units::is_zero;

/// Which blocks of zeros become holes, in the words of cp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sparse {
    /// Keep the holes that the sources have. Where a given size is too small for the data, but would
    /// not be without all of it, read the data once, and make holes of the blocks of zeros; but not of
    /// what is a stream.
    #[default]
    Auto,
    /// Make every block of zeros a hole. All data is read once more, and before anything is written; a
    /// stream is kept in a temporary file for that. Data of a [reader that is read
    /// once](crate::Content::from_reader) keeps all its blocks.
    Always,
    /// Give every file all its blocks, those of holes too. A stream is kept in a temporary file.
    Never,
}

/// How much is read at once: a multiple of every block size.
const PIECE_BYTES: usize = 1 << 20;

/// What is hashed at once, whatever the block size.
const DIGEST_BLOCK: usize = 4096;

/// What is wrong with a file whose bytes are to make the UUID.
const READ_ONCE: &str =
    "it can be read only once, and a UUID of the content needs it twice; give a UUID";

/// The page sizes at whose end the signature of a swap area may stand.
const PAGE_SIZES: [u64; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];

/// What the last bytes of a swap area's first page are: of the two versions that there have been, and
/// of one that holds a suspended system (kernel: `include/linux/swap.h`, `kernel/power/swap.c`).
const SWAP_SIGNATURES: [[u8; 10]; 3] = [*b"SWAPSPACE2", *b"SWAP-SPACE", *b"S1SUSPEND\0"];

/// How the files of a tree are read before it is laid out.
pub(super) struct Reading<'a> {
    pub(super) sparse: Sparse,
    /// Whether holes shall depend on the bytes alone: in swap areas too.
    pub(super) is_reproducible: bool,
    /// Whether the bytes of files are hashed.
    pub(super) digests: bool,
    pub(super) block_bytes: u64,
    pub(super) threads: NonZero<usize>,
    pub(super) cancel: &'a AtomicBool,
}

/// The digests of file data, if they were asked for.
#[derive(Default)]
pub(super) struct FileDigests(HashMap<NodeId, [u8; 32]>);

impl FileDigests {
    /// That of a regular file that has data.
    pub(super) fn of(&self, node: NodeId) -> Option<&[u8; 32]> {
        self.0.get(&node)
    }
}

impl Reading<'_> {
    /// Makes of the files of `tree` what was asked for, whatever the size of the filesystem.
    pub(super) fn apply(&self, tree: &mut Tree) -> Result<FileDigests, Error> {
        let digests = if self.sparse == Sparse::Always || self.digests {
            self.read(tree)?
        } else {
            FileDigests::default()
        };
        if self.sparse == Sparse::Never {
            let files = files(tree);
            for (node, content) in files {
                fill(tree, node, content);
            }
        }
        Ok(digests)
    }

    /// Makes holes of the blocks of zeros of a `tree` that does not fit, if that can help; says whether it
    /// did.
    pub(super) fn make_room(
        &self,
        tree: &mut Tree,
        settings: &Settings,
        geometry: &Geometry,
    ) -> Result<bool, Error> {
        let may_help = fits_without_data(tree, settings, geometry);
        if may_help {
            self.read(tree)?;
        }
        Ok(may_help)
    }

    /// Reads every file once. With [`Sparse::Always`] every block of zeros becomes a hole, but in swap areas,
    /// which Linux refuses if they have any.
    fn read(&self, tree: &mut Tree) -> Result<FileDigests, Error> {
        let files = files(tree);
        let read = self.read_all(tree, &files)?;
        let mut digests = FileDigests::default();
        for ((node, content), read) in files.into_iter().zip(read) {
            digests.0.extend(read.digest.map(|digest| (node, digest)));
            if self.sparse != Sparse::Always {
                continue;
            }
            match read.holes {
                Holes::AsTheyAre => {}
                Holes::None => fill(tree, node, content),
                Holes::Beside(data) => {
                    let data = DataMap::Ranges(data);
                    tree.set_content(node, Content { data, ..content });
                }
            }
        }
        Ok(digests)
    }

    /// Reads `files` by all threads. Of several failures the one of the first file is told.
    fn read_all(
        &self,
        tree: &Tree,
        files: &[(NodeId, Content)],
    ) -> Result<Vec<FileRead>, EmitError> {
        let next = AtomicUsize::new(0);
        let mut read: Vec<FileRead> = Vec::new();
        read.resize_with(files.len(), FileRead::default);
        let work = || {
            let mut search = Search {
                reading: self,
                tree,
                buffer: vec![0; PIECE_BYTES],
            };
            let mut own = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((_, content)) = files.get(index) else {
                    return Ok(own);
                };
                let read = search.read(content).map_err(|error| (index, error))?;
                own.push((index, read));
            }
        };
        let threads = self.threads.get().min(files.len());
        let done: Vec<Result<_, (usize, EmitError)>> = thread::scope(|scope| {
            // Where the system has no more threads, this one reads more of them.
            let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let started: Vec<_> = (1..threads).map_while(start).collect();
            let here = work();
            let ended = started.into_iter().map(|thread| thread.join());
            let own = ended.map(|own| own.unwrap_or_else(|panic| resume_unwind(panic)));
            std::iter::once(here).chain(own).collect()
        });
        let mut failed = None;
        for own in done {
            match own {
                Ok(own) => own.into_iter().for_each(|(index, one)| read[index] = one),
                Err((index, error)) => match &failed {
                    Some((first, _)) if *first < index => {}
                    _ => failed = Some((index, error)),
                },
            }
        }
        failed.map_or(Ok(read), |(_, error)| Err(error))
    }
}

/// Whether `tree` would fit if its files were nothing but holes. Nothing is read for that.
fn fits_without_data(tree: &mut Tree, settings: &Settings, geometry: &Geometry) -> bool {
    let files = files(tree);
    for (node, content) in &files {
        let data = DataMap::Ranges(DataRanges::default());
        tree.set_content(
            *node,
            Content {
                data,
                ..content.clone()
            },
        );
    }
    let fits = Layout::new(settings, geometry.clone(), tree).is_ok();
    for (node, content) in files {
        tree.set_content(node, content);
    }
    fits
}

/// Makes all bytes of a file data.
fn fill(tree: &mut Tree, node: NodeId, content: Content) {
    let (size_bytes, key) = (content.size_bytes, content.key);
    let whole = std::iter::once(0..size_bytes);
    if content.data_ranges().eq(whole) || size_bytes == 0 {
        return;
    }
    let filled = Content {
        size_bytes,
        data: DataMap::Whole,
        source: Arc::new(Filled(content)),
        key,
    };
    tree.set_content(node, filled);
}

/// The regular files of `tree`.
fn files(tree: &Tree) -> Vec<(NodeId, Content)> {
    let files = tree.nodes().filter_map(|(id, node)| match &node.kind {
        Kind::File(content) => Some((id, content.clone())),
        _ => None,
    });
    files.collect()
}

/// What reading a file told.
#[derive(Default)]
struct FileRead {
    holes: Holes,
    digest: Option<[u8; 32]>,
}

/// Where a file shall have holes.
#[derive(Debug, Default, PartialEq)]
enum Holes {
    #[default]
    AsTheyAre,
    None,
    /// Everywhere but in these ranges.
    Beside(DataRanges),
}

/// The search for blocks of zeros.
struct Search<'a> {
    reading: &'a Reading<'a>,
    tree: &'a Tree,
    buffer: Vec<u8>,
}

impl Search<'_> {
    /// Where `content` has holes once its blocks of zeros are some, if those are more than before.
    fn read(&mut self, content: &Content) -> Result<FileRead, EmitError> {
        if content.data_ranges().next().is_none() {
            return Ok(FileRead::default());
        }
        let cancel = self.reading.cancel;
        let unread = |error| {
            if cancel.load(Ordering::Relaxed) {
                return EmitError::Cancelled;
            }
            unreadable(self.tree, content, error)
        };
        if content.source.access(content.key) == Access::Once {
            return if self.reading.digests {
                Err(unread(io::Error::other(READ_ONCE)))
            } else {
                Ok(FileRead::default())
            };
        }
        let mut reader = content.open().map_err(unread)?;
        let mut reading = FileReading {
            reader: &mut *reader,
            content,
            cancel,
        };
        let digests = self.reading.digests;
        let in_swap = if self.reading.is_reproducible {
            Holes::None
        } else {
            Holes::AsTheyAre
        };
        let mut found = Found::default();
        let mut digest = digests.then(BlockDigest::new);
        for range in content.data_ranges() {
            let mut at = range.start;
            while at < range.end {
                let end = next_multiple(at, length(&self.buffer)).min(range.end);
                let bytes = &mut self.buffer[..index(end - at)];
                reading.fill(at..end, bytes).map_err(unread)?;
                found.add(at, bytes, self.reading.block_bytes);
                match &mut digest {
                    Some(digest) => digest.add(at, bytes),
                    // What else it holds has no say.
                    None if found.is_swap => {
                        return Ok(FileRead {
                            holes: in_swap,
                            digest: None,
                        });
                    }
                    None => {}
                }
                at = end;
            }
        }
        reading.finish().map_err(unread)?;
        let holes = match (found.is_swap, found.has_zeros) {
            (true, _) => in_swap,
            (false, true) => Holes::Beside(found.data.into()),
            (false, false) => Holes::AsTheyAre,
        };
        let digest = digest.map(BlockDigest::finish);
        Ok(FileRead { holes, digest })
    }
}

/// The digest of a file's bytes by their places, the same wherever holes are.
struct BlockDigest {
    hasher: Sha256,
    /// The number of the block at hand.
    number: u64,
    block: [u8; DIGEST_BLOCK],
}

impl BlockDigest {
    fn new() -> Self {
        Self {
            hasher: Sha256::new(),
            number: 0,
            block: [0; DIGEST_BLOCK],
        }
    }

    /// Adds `bytes`, which are data at `at`, behind those added before.
    fn add(&mut self, at: u64, bytes: &[u8]) {
        let block_bytes = length(&self.block);
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            if at / block_bytes != self.number {
                self.end_block();
                self.number = at / block_bytes;
            }
            let end = next_multiple(at, block_bytes).min(at + length(rest));
            let (piece, after) = rest.split_at(index(end - at));
            let start = index(at % block_bytes);
            self.block[start..start + piece.len()].copy_from_slice(piece);
            (at, rest) = (end, after);
        }
    }

    /// A block of zeros is no other than a hole.
    fn end_block(&mut self) {
        if !is_zero(&self.block) {
            self.hasher.update(self.number.to_le_bytes());
            self.hasher.update(self.block);
            self.block.fill(0);
        }
    }

    fn finish(mut self) -> [u8; 32] {
        self.end_block();
        self.hasher.finalize().into()
    }
}

/// What was found in a file.
#[derive(Default)]
struct Found {
    data: Vec<Range<u64>>,
    /// Whether blocks of zeros were.
    has_zeros: bool,
    /// Whether it begins as a swap area does.
    is_swap: bool,
}

impl Found {
    /// Adds `bytes`, which are data at `at`: all up to the end of a piece, or of a range of data.
    fn add(&mut self, at: u64, bytes: &[u8], block_bytes: u64) {
        self.is_swap |= PAGE_SIZES
            .iter()
            .any(|page| ends_page_of_swap(*page, at, bytes));
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let end = next_multiple(at, block_bytes).min(at + length(rest));
            let (block, after) = rest.split_at(index(end - at));
            if is_zero(block) {
                self.has_zeros = true;
            } else {
                match self.data.last_mut() {
                    Some(last) if last.end == at => last.end = end,
                    _ => self.data.push(at..end),
                }
            }
            (at, rest) = (end, after);
        }
    }
}

/// Whether `bytes`, which are data at `at`, hold a signature at the end of a first page of `page` bytes. A page
/// ends no later than the piece that it begins in, so the signature is in one piece.
fn ends_page_of_swap(page: u64, at: u64, bytes: &[u8]) -> bool {
    let end = page.checked_sub(at).filter(|end| *end <= length(bytes));
    let before_end = end.map(|end| &bytes[..index(end)]);
    before_end.is_some_and(|bytes| {
        SWAP_SIGNATURES
            .iter()
            .any(|signature| bytes.ends_with(signature))
    })
}

/// The least multiple of `unit` above `at`.
fn next_multiple(at: u64, unit: u64) -> u64 {
    (at / unit + 1).saturating_mul(unit)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a slice's length fits 64 bits")
}

/// `bytes`, which are no more than a piece.
fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a piece fits memory")
}

/// A content whose holes are read as zeros.
struct Filled(Content);

struct FilledReader<'a> {
    content: &'a Content,
    data: Box<dyn ContentReader + 'a>,
}

impl ContentSource for Filled {
    fn access(&self, _key: ContentKey) -> Access {
        self.0.source.access(self.0.key)
    }

    fn open(&self, _key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        Ok(Box::new(FilledReader {
            content: &self.0,
            data: self.0.open()?,
        }))
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        self.0.source.describe(self.0.key)
    }

    fn lies_in(&self, _key: ContentKey, file: &fs::File) -> bool {
        self.0.source.lies_in(self.0.key, file)
    }

    fn path(&self, _key: ContentKey) -> Vec<u8> {
        self.0.source.path(self.0.key)
    }

    fn set_path(&self, _key: ContentKey, path: &[u8]) {
        self.0.source.set_path(self.0.key, path);
    }

    fn verity(&self, _key: ContentKey) -> Option<&Verity> {
        self.0.verity()
    }
}

impl ContentReader for FilledReader<'_> {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        let end = offset.saturating_add(length(buffer));
        for range in self.content.data_in(offset..end) {
            let wanted = &mut buffer[index(range.start - offset)..index(range.end - offset)];
            self.data.read_exact_at(range.start, wanted)?;
        }
        // A hole that has to be read is read with the bytes that it gives.
        self.data.pass(end, &AtomicBool::new(false))
    }

    fn pass(&mut self, offset: u64, cancel: &AtomicBool) -> io::Result<()> {
        self.data.pass(offset, cancel)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.data.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `bytes`, of which `data` is data, with a digest or without.
    fn read(bytes: &[u8], data: DataMap, block_bytes: u64, digests: bool) -> FileRead {
        let content = Content {
            data,
            ..Content::from_bytes(bytes)
        };
        content.check().expect("a map that can be");
        let mut search = Search {
            reading: &Reading {
                sparse: Sparse::Always,
                is_reproducible: digests,
                digests,
                block_bytes,
                threads: NonZero::<usize>::MIN,
                cancel: &AtomicBool::new(false),
            },
            tree: &Tree::default(),
            buffer: vec![0; 8 << 10],
        };
        search.read(&content).expect("it is in memory")
    }

    /// The data that is left of `bytes`, of which `data` is data.
    fn data_of(bytes: &[u8], data: DataMap, block_bytes: u64) -> Option<Vec<Range<u64>>> {
        match read(bytes, data, block_bytes, false).holes {
            Holes::Beside(data) => Some(data.to_vec()),
            Holes::AsTheyAre | Holes::None => None,
        }
    }

    #[test]
    fn a_digest_does_not_depend_on_holes() {
        let ranges = |ranges: &[Range<u64>]| DataMap::Ranges(ranges.to_vec().into());
        let file = bytes(40_000, &[5, 4096, 8191, 8192, 39_999]);
        let digest = |file: &[u8], data| read(file, data, 1024, true).digest;
        let whole = digest(&file, DataMap::Whole);
        assert!(whole.is_some());
        for data in [
            ranges(&[0..9000, 36_864..40_000]),
            ranges(&[5..6, 4096..4097, 8191..8193, 39_999..40_000]),
        ] {
            assert_eq!(digest(&file, data), whole);
        }
        for other in [
            bytes(40_000, &[5, 4096, 8191, 8192, 39_998]),
            bytes(40_000, &[5, 4096, 8191, 12_288, 39_999]),
        ] {
            assert_ne!(digest(&other, DataMap::Whole), whole);
        }
    }

    #[test]
    fn swap_areas_of_reproducible_images_have_no_holes() {
        let mut swap = bytes(8192, &[]);
        swap[4086..4096].copy_from_slice(&SWAP_SIGNATURES[0]);
        let read = read(&swap, DataMap::Whole, 4096, true);
        assert_eq!(read.holes, Holes::None);
    }

    fn bytes(length: usize, ones: &[usize]) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for at in ones {
            bytes[*at] = 1;
        }
        bytes
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "some lists have one range")]
    fn blocks_of_zeros_are_no_data() {
        let ranges = |ranges: &[Range<u64>]| DataMap::Ranges(ranges.to_vec().into());
        let whole = || DataMap::Whole;
        for (length, ones, data, left) in [
            // Nothing to find: as it was.
            (0, &[][..], whole(), None),
            (2048, &[0, 1024], whole(), None),
            (1025, &[5, 1024], whole(), None),
            (4096, &[7], ranges(&[0..1024]), None),
            // All of it, a block in the middle, an end that is no whole block, over several pieces.
            (3000, &[], whole(), Some(vec![])),
            (3072, &[0, 2048], whole(), Some(vec![0..1024, 2048..3072])),
            (2100, &[0, 1023], whole(), Some(vec![0..1024])),
            (2100, &[2099], whole(), Some(vec![2048..2100])),
            (
                20_000,
                &[1023, 8191, 8192],
                whole(),
                Some(vec![0..1024, 7168..9216]),
            ),
            // Ranges that begin and end within blocks.
            (
                4096,
                &[600, 2500],
                ranges(&[512..1024, 1536..3072]),
                Some(vec![512..1024, 2048..3072]),
            ),
            (
                4096,
                &[900],
                ranges(&[0..512, 800..1000]),
                Some(vec![800..1000]),
            ),
        ] {
            let found = data_of(&bytes(length, ones), data, 1024);
            assert_eq!(found, left, "{length} {ones:?}");
        }
    }

    #[test]
    fn swap_areas_stay_whole() {
        for page in [4096, 8192, 65536] {
            for signature in SWAP_SIGNATURES {
                let mut swap = bytes(80 << 10, &[]);
                swap[page - 10..page].copy_from_slice(&signature);
                let found = data_of(&swap, DataMap::Whole, 4096);
                assert_eq!(found, None, "{page} {}", signature.escape_ascii());
                swap[page - 1] = b'3';
                assert!(data_of(&swap, DataMap::Whole, 4096).is_some(), "{page}");
            }
        }
    }

    #[test]
    fn holes_are_filled_with_zeros() {
        let content = Content {
            data: DataMap::Ranges([2..4, 6..8].into()),
            ..Content::from_bytes(*b"xxabxxcdxx")
        };
        let filled = Filled(content);
        let mut reader = filled.open(0).expect("it is in memory");
        for (at, expected) in [
            (0, &b"\0\0ab\0\0cd\0\0"[..]),
            (3, b"b\0\0c"),
            (8, b"\0\0"),
            (0, b"\0"),
        ] {
            let mut buffer = vec![0xd1; expected.len()];
            reader.read_exact_at(at, &mut buffer).expect("it is read");
            assert_eq!(buffer, expected, "{at}");
        }
        reader.finish().expect("memory does not change");
    }
}
