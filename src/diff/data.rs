//! Given pairs of files of one size, reads both and finds the first byte that differs; never more than
//! 256 KiB of each at a time, and never what is a hole in both.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{DiffError, DiffOptions};
use crate::threads::side_by_side;
use crate::tree::{Content, ContentReader, Kind, NodeId, Tree};

/// How much of a file a thread takes on at once, and how much of that is read at once.
const PIECE_BYTES: u64 = 16 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// Threads do no better beyond what disks and memory give.
const THREADS_MAX: usize = 64;

/// Pairs of files whose data differs, and the first byte at which it does.
#[derive(Debug, Default)]
pub(super) struct Differing(HashMap<[NodeId; 2], u64>);

impl Differing {
    /// The first byte that differs in a pair of files.
    pub(super) fn first(&self, nodes: [NodeId; 2]) -> Option<u64> {
        self.0.get(&nodes).copied()
    }
}

/// Reads pairs of files of one size.
pub(super) fn compare(
    trees: [&Tree; 2],
    files: &[[NodeId; 2]],
    options: &DiffOptions,
) -> Result<Differing, DiffError> {
    let sizes = files.iter().map(|pair| size_of_pair(trees, *pair));
    let bytes = sizes.fold(0, u64::saturating_add);
    let work = Work {
        trees,
        files,
        options,
        bytes,
        next: Mutex::default(),
        found: Mutex::default(),
        has_failed: AtomicBool::new(false),
    };
    let threads = options.threads_used();
    let helpers = threads.min(THREADS_MAX).min(files.len()).saturating_sub(1);
    side_by_side(helpers, || work.run());
    let found = work.found.into_inner();
    let found = found.unwrap_or_else(PoisonError::into_inner);
    match found.failed {
        Some(failed) => Err(failed.error),
        None => {
            options.cancel.check().map_err(DiffError::Cancelled)?;
            if let Some(progress) = &options.progress {
                progress(bytes, bytes);
            }
            let nodes = |(file, first): (usize, u64)| Some((*files.get(file)?, first));
            Ok(Differing(
                found.differing.into_iter().filter_map(nodes).collect(),
            ))
        }
    }
}

/// What all threads share.
struct Work<'a> {
    trees: [&'a Tree; 2],
    files: &'a [[NodeId; 2]],
    options: &'a DiffOptions,
    /// How many bytes all files have.
    bytes: u64,
    next: Mutex<Next>,
    found: Mutex<Found>,
    has_failed: AtomicBool,
}

/// The file, and the byte in it, from which the next piece begins.
#[derive(Default)]
struct Next {
    file: usize,
    offset: u64,
    /// The bytes of the files before.
    done: u64,
    /// Fewer bytes than this were told.
    told: u64,
}

/// A part of a pair of files: a range in which at least one of them has data.
struct Piece<'a> {
    file: usize,
    contents: [&'a Content; 2],
    range: Range<u64>,
}

#[derive(Default)]
struct Found {
    /// By the number of the pair.
    differing: HashMap<usize, u64>,
    /// What cannot be read, and comes first of all that cannot.
    failed: Option<Failed>,
}

struct Failed {
    place: (usize, u64),
    error: DiffError,
}

impl Work<'_> {
    fn run(&self) {
        let mut buffers = [vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]];
        while let Some(piece) = self.take() {
            match piece.first_difference(&mut buffers) {
                Ok(None) => {}
                Ok(Some(first)) => {
                    let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                    let known = found.differing.entry(piece.file).or_insert(first);
                    *known = first.min(*known);
                }
                Err(error) => self.fail(&piece, error),
            }
        }
    }

    /// Pieces are given out in order. So of all that cannot be read the first is found, whoever is faster.
    fn fail(&self, piece: &Piece<'_>, error: DiffError) {
        let place = (piece.file, piece.range.start);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found
            .failed
            .as_ref()
            .is_none_or(|failed| place < failed.place)
        {
            found.failed = Some(Failed { place, error });
        }
        self.has_failed.store(true, Ordering::Relaxed);
    }

    fn is_different(&self, file: usize) -> bool {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.differing.contains_key(&file)
    }

    /// Says how far pieces are given out, if that is farther than it was and not the end.
    fn tell(&self, next: &mut Next) {
        let bytes = next.done.saturating_add(next.offset);
        if let Some(progress) = &self.options.progress
            && (next.told..self.bytes).contains(&bytes)
        {
            progress(bytes, self.bytes);
            next.told = bytes + 1;
        }
    }

    /// The next piece, if there is one.
    fn take(&self) -> Option<Piece<'_>> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.has_failed.load(Ordering::Relaxed) || self.options.cancel.is_cancelled() {
                return None;
            }
            self.tell(&mut next);
            let pair = *self.files.get(next.file)?;
            let [a, b] = pair;
            let [tree_a, tree_b] = self.trees;
            let (Kind::File(a), Kind::File(b)) = (&tree_a.node(a).kind, &tree_b.node(b).kind)
            else {
                next.file += 1;
                continue;
            };
            let contents = [a, b];
            let size = a.size_bytes.min(b.size_bytes);
            let data = contents.map(|content| content.data_in(next.offset..size).next());
            let starts = data.into_iter().flatten().map(|range| range.start);
            // A part behind a difference that is known can only differ later.
            let start = starts
                .min()
                .filter(|_| next.offset == 0 || !self.is_different(next.file));
            let Some(start) = start else {
                next.file += 1;
                next.offset = 0;
                next.done = next.done.saturating_add(size_of_pair(self.trees, pair));
                continue;
            };
            let file = next.file;
            let range = start..start.saturating_add(PIECE_BYTES).min(size);
            next.offset = range.end;
            return Some(Piece {
                file,
                contents,
                range,
            });
        }
    }
}

/// How many bytes two files of one size have.
fn size_of_pair(trees: [&Tree; 2], [a, b]: [NodeId; 2]) -> u64 {
    let [tree_a, tree_b] = trees;
    match (&tree_a.node(a).kind, &tree_b.node(b).kind) {
        (Kind::File(a), Kind::File(b)) => a.size_bytes.min(b.size_bytes),
        _ => 0,
    }
}

impl Piece<'_> {
    /// Reads both files, and gives the first byte that differs.
    fn first_difference(&self, buffers: &mut [Vec<u8>; 2]) -> Result<Option<u64>, DiffError> {
        let [a, b] = self.contents;
        let [buffer_a, buffer_b] = buffers;
        let (mut reader_a, mut reader_b) = (Reader::open(a)?, Reader::open(b)?);
        let mut offset = self.range.start;
        let mut found = None;
        while offset < self.range.end && found.is_none() {
            let starts = self.contents.map(|content| {
                let data = content.data_in(offset..self.range.end).next();
                data.map(|range| range.start)
            });
            let Some(start) = starts.into_iter().flatten().min() else {
                break;
            };
            let left = usize::try_from(self.range.end - start).unwrap_or(usize::MAX);
            let length = left.min(BUFFER_BYTES);
            let (bytes_a, bytes_b) = (&mut buffer_a[..length], &mut buffer_b[..length]);
            reader_a.fill(start, bytes_a)?;
            reader_b.fill(start, bytes_b)?;
            if bytes_a != bytes_b {
                let same = bytes_a.iter().zip(&*bytes_b).take_while(|(a, b)| a == b);
                found = Some(start + count(same.count()));
            }
            offset = start + count(length);
        }
        reader_a.finish()?;
        reader_b.finish()?;
        Ok(found)
    }
}

/// A content that is being read; one without data is never opened.
struct Reader<'a> {
    content: &'a Content,
    open: Option<Box<dyn ContentReader + 'a>>,
}

impl<'a> Reader<'a> {
    fn open(content: &'a Content) -> Result<Self, DiffError> {
        let has_data = content.data_ranges().next().is_some();
        let mut reader = Self {
            content,
            open: None,
        };
        if has_data {
            let open = content.open();
            reader.open = Some(open.map_err(|error| reader.unread(error))?);
        }
        Ok(reader)
    }

    /// Fills a buffer, holes with zeros.
    fn fill(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiffError> {
        let end = offset + count(buffer.len());
        let mut rest = buffer;
        let mut at = offset;
        for data in self.content.data_in(offset..end) {
            let (hole, behind) = rest.split_at_mut(index(data.start - at));
            let (bytes, behind) = behind.split_at_mut(index(data.end - data.start));
            hole.fill(0);
            if let Some(open) = &mut self.open {
                let read = open.read_exact_at(data.start, bytes);
                read.map_err(|error| unread(self.content, error))?;
            }
            (at, rest) = (data.end, behind);
        }
        rest.fill(0);
        Ok(())
    }

    /// Fails where the content changed meanwhile.
    fn finish(&mut self) -> Result<(), DiffError> {
        let finished = self.open.as_mut().map_or(Ok(()), |open| open.finish());
        finished.map_err(|error| self.unread(error))
    }

    fn unread(&self, error: io::Error) -> DiffError {
        unread(self.content, error)
    }
}

fn unread(content: &Content, error: io::Error) -> DiffError {
    DiffError::Read {
        name: content.source.describe(content.key),
        error,
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A distance within a buffer.
fn index(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}
