//! Given a tree, changes which bytes of its files are data and which are holes, as [`Sparse`] says;
//! never gives one a place.
//!
//! It is a stage between the tree and its layout: [`Content`]'s ranges of data stay the one truth, and
//! blocks, maps, counts and quota follow from them. What it finds depends on the bytes and on the block
//! size alone.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::emit::{EmitError, unreadable};
use crate::error::Error;
use crate::geometry::Geometry;
use crate::layout::Layout;
use crate::options::Settings;
use crate::tree::{
    Access, Content, ContentKey, ContentReader, ContentSource, DataMap, DataRanges, Kind, NodeId,
    Tree,
};

/// Which blocks of zeros become holes, in the words of cp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sparse {
    /// Keep the holes that the sources have. Where a given size is too small for the data, but would
    /// not be without all of it, read the data once, and make holes of the blocks of zeros; but not of
    /// what is a stream.
    #[default]
    Auto,
    /// Make every block of zeros a hole. All data is read once more, and before anything is written; a
    /// stream is kept in a temporary file for that.
    Always,
    /// Give every file all its blocks, those of holes too. A stream is kept in a temporary file.
    Never,
}

/// How much is read at once: a multiple of every block size.
const PIECE_BYTES: usize = 1 << 20;

/// The page sizes at whose end the signature of a swap area may stand.
const PAGE_SIZES: [u64; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];

/// What the last bytes of a swap area's first page are: of the two versions that there have been, and
/// of one that holds a suspended system (kernel: `include/linux/swap.h`, `kernel/power/swap.c`).
const SWAP_SIGNATURES: [[u8; 10]; 3] = [*b"SWAPSPACE2", *b"SWAP-SPACE", *b"S1SUSPEND\0"];

/// Makes of the files of `tree` what `sparse` says, whatever the size of the filesystem.
pub(super) fn apply(
    sparse: Sparse,
    tree: &mut Tree,
    settings: &Settings,
    cancel: &AtomicBool,
) -> Result<(), Error> {
    match sparse {
        Sparse::Auto => Ok(()),
        Sparse::Always => find_holes(tree, settings, cancel),
        Sparse::Never => {
            fill_holes(tree);
            Ok(())
        }
    }
}

/// Makes holes of the blocks of zeros of a `tree` that does not fit, if that can help; says whether it did.
pub(super) fn make_room(
    tree: &mut Tree,
    settings: &Settings,
    geometry: &Geometry,
    cancel: &AtomicBool,
) -> Result<bool, Error> {
    let may_help = fits_without_data(tree, settings, geometry);
    if may_help {
        find_holes(tree, settings, cancel)?;
    }
    Ok(may_help)
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

/// Makes every block of zeros a hole, but in swap areas, which Linux refuses if they have any.
fn find_holes(tree: &mut Tree, settings: &Settings, cancel: &AtomicBool) -> Result<(), Error> {
    let mut search = Search {
        block_bytes: settings.block_size.bytes_u64(),
        buffer: vec![0; PIECE_BYTES],
        cancel,
    };
    for (node, content) in files(tree) {
        if let Some(data) = search.data_of(&content)? {
            let data = DataMap::Ranges(data);
            tree.set_content(node, Content { data, ..content });
        }
    }
    Ok(())
}

/// Makes all bytes of every file data.
fn fill_holes(tree: &mut Tree) {
    for (node, content) in files(tree) {
        let (size_bytes, key) = (content.size_bytes, content.key);
        let whole = std::iter::once(0..size_bytes);
        if content.data_ranges().eq(whole) || size_bytes == 0 {
            continue;
        }
        let filled = Content {
            size_bytes,
            data: DataMap::Whole,
            source: Arc::new(Filled(content)),
            key,
        };
        tree.set_content(node, filled);
    }
}

/// The regular files of `tree`.
fn files(tree: &Tree) -> Vec<(NodeId, Content)> {
    let files = tree.nodes().filter_map(|(id, node)| match &node.kind {
        Kind::File(content) => Some((id, content.clone())),
        _ => None,
    });
    files.collect()
}

/// The search for blocks of zeros.
struct Search<'a> {
    block_bytes: u64,
    buffer: Vec<u8>,
    cancel: &'a AtomicBool,
}

impl Search<'_> {
    /// What of `content` is data once its blocks of zeros are holes, if that is less than before.
    fn data_of(&mut self, content: &Content) -> Result<Option<DataRanges>, EmitError> {
        let is_read_once = content.source.access(content.key) == Access::Once;
        if content.data_ranges().next().is_none() || is_read_once {
            return Ok(None);
        }
        let unread = |error| unreadable(content, error);
        let mut reader = content.source.open(content.key).map_err(unread)?;
        if is_swap(content, &mut *reader).map_err(unread)? {
            return Ok(None);
        }
        let mut found = Found::default();
        for range in content.data_ranges() {
            let mut at = range.start;
            while at < range.end {
                if self.cancel.load(Ordering::Relaxed) {
                    return Err(EmitError::Cancelled);
                }
                let end = next_multiple(at, length(&self.buffer)).min(range.end);
                let bytes = &mut self.buffer[..index(end - at)];
                reader.read_exact_at(at, bytes).map_err(unread)?;
                found.add(at, bytes, self.block_bytes);
                at = end;
            }
        }
        reader.finish().map_err(unread)?;
        let Found { data, has_zeros } = found;
        Ok(has_zeros.then(|| data.into()))
    }
}

/// What was found in a file.
#[derive(Default)]
struct Found {
    data: Vec<Range<u64>>,
    /// Whether blocks of zeros were.
    has_zeros: bool,
}

impl Found {
    /// Adds `bytes`, which are data at `at`.
    fn add(&mut self, at: u64, bytes: &[u8], block_bytes: u64) {
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

/// Whether `content` begins as a swap area does.
fn is_swap(content: &Content, reader: &mut dyn ContentReader) -> io::Result<bool> {
    for page in PAGE_SIZES {
        let mut signature = [0; 10];
        let place = page - length(&signature)..page;
        if content.data_in(place.clone()).eq([place.clone()]) {
            reader.read_exact_at(place.start, &mut signature)?;
        }
        if SWAP_SIGNATURES.contains(&signature) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether there is nothing but zeros. Most of what is not differs at its front, and long pieces are
/// told quickly.
fn is_zero(bytes: &[u8]) -> bool {
    let pieces = &mut bytes.chunks(256);
    pieces.all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
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
            data: self.0.source.open(self.0.key)?,
        }))
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        self.0.source.describe(self.0.key)
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
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.data.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data that is left of `bytes`, of which `data` is data.
    fn data_of(bytes: &[u8], data: DataMap, block_bytes: u64) -> Option<Vec<Range<u64>>> {
        let content = Content {
            data,
            ..Content::from_bytes(bytes)
        };
        content.check().expect("a map that can be");
        let mut search = Search {
            block_bytes,
            buffer: vec![0; 8 << 10],
            cancel: &AtomicBool::new(false),
        };
        let found = search.data_of(&content).expect("it is in memory");
        found.map(|data| data.to_vec())
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
