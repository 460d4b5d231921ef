//! Given the layers of an image, reads each to its end and checks it; never touches the tree.
//!
//! Layers do not depend on one another before they are laid over one another, so several threads take
//! them from one queue. What is found is in the order of the layers, and of several that fail the
//! lowest is told, however many threads there are.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::checked::Checked;
use super::choice::Layer;
use super::error::{FileErrorKind, ImageErrorKind, OciError};
use super::whiteouts::{Meaning, Whiteout, meaning, plain};
use crate::cancel::{Cancel, Heeding};
use crate::source::Oddity;
use crate::source::archive::decompress::{Ignored, Memory};
use crate::source::archive::{
    Entry, EntryKind, Input, Oddities, Opened, Spool, Stored, StoredFile, Stream,
};
use crate::source::rules::XattrFilter;
use crate::source::tar::{Archive, End};
use crate::threads::side_by_side;
use crate::tree::Content;

/// What a layer does to those below it.
#[derive(Debug)]
pub(super) struct Contents {
    /// The layer's path in the image, for messages.
    pub(super) path: String,
    /// What it takes away.
    pub(super) whiteouts: Vec<Whiteout>,
    /// What it brings, in the order of the archive, with the content of each that has one.
    pub(super) entries: Vec<(Entry, Option<Content>)>,
    /// How many bytes follow what is compressed.
    pub(super) ignored: u64,
    /// What is odd about its archive.
    pub(super) oddities: Oddities,
}

impl Contents {
    /// How much there is to do.
    pub(super) fn len(&self) -> usize {
        self.whiteouts.len() + self.entries.len()
    }

    /// The paths of its directories, as [`plain`] writes them.
    pub(super) fn directories(&self) -> HashSet<Vec<u8>> {
        let is_directory = |entry: &&Entry| matches!(entry.kind, EntryKind::Directory);
        let entries = self.entries.iter().map(|(entry, _)| entry);
        let directories = entries.filter(is_directory);
        directories.map(|entry| plain(&entry.path)).collect()
    }
}

/// Where the uncompressed archive of a layer is.
#[derive(Clone, Debug)]
struct Kept {
    file: Arc<StoredFile>,
    /// Where it begins in the file, in bytes.
    start: u64,
}

impl Kept {
    /// The content of an entry of the archive, if it is a regular file.
    fn content_of(&self, entry: &Entry) -> Option<Content> {
        let EntryKind::File(stored) = &entry.kind else {
            return None;
        };
        let place = stored.place.start + self.start..stored.place.end + self.start;
        Some(self.file.content(Stored {
            place,
            ..stored.clone()
        }))
    }
}

/// How layers are read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    /// The directory in which those that are compressed are kept uncompressed, without a name.
    pub(super) spool: &'a Path,
    /// Which extended attributes are kept.
    pub(super) xattrs: &'a XattrFilter,
    pub(super) cancel: &'a Cancel,
    /// What the decompressors of layers that are read side by side share.
    pub(super) memory: &'a Memory,
}

/// What is in each of `layers`, in their order; what is listed many times is read once and shared.
pub(super) fn read(
    layers: &[Layer],
    reading: Reading<'_>,
    threads: NonZero<usize>,
) -> Result<Vec<Arc<Contents>>, OciError> {
    let mut numbers = HashMap::new();
    let mut firsts = Vec::new();
    let order: Vec<usize> = layers
        .iter()
        .map(|layer| {
            let key = (layer.blob.identity(), &layer.digest, &layer.diff_id);
            *numbers.entry(key).or_insert_with(|| {
                firsts.push(layer);
                firsts.len() - 1
            })
        })
        .collect();
    let contents = read_each(&firsts, reading, threads)?;
    Ok(order
        .into_iter()
        .map(|at| Arc::clone(&contents[at]))
        .collect())
}

fn read_each(
    layers: &[&Layer],
    reading: Reading<'_>,
    threads: NonZero<usize>,
) -> Result<Vec<Arc<Contents>>, OciError> {
    let queue = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let found: Vec<Mutex<Option<Result<Contents, OciError>>>> =
        layers.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        // The queue is in order, so whatever is below a layer that fails was taken before it.
        while !failed.load(Ordering::Relaxed) {
            let at = queue.fetch_add(1, Ordering::Relaxed);
            let (Some(layer), Some(place)) = (layers.get(at), found.get(at)) else {
                break;
            };
            let contents = read_layer(layer, reading);
            failed.fetch_or(contents.is_err(), Ordering::Relaxed);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(contents);
        }
    };
    side_by_side(threads.get().min(layers.len()).saturating_sub(1), work);
    let done = |place: Mutex<_>| place.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found = found.into_iter().map_while(done);
    found.map(|contents| contents.map(Arc::new)).collect()
}

fn read_layer(layer: &Layer, reading: Reading<'_>) -> Result<Contents, OciError> {
    let path = &layer.blob.path;
    let reader = Heeding::new(layer.blob.reader(), reading.cancel);
    let mut packed = Checked::new(reader, layer.digest.as_ref());
    let ignored = Ignored::default();
    let opened = Opened::new(&mut packed, &ignored, reading.memory.clone());
    let opened = opened.map_err(|error| OciError::not_read(path, error));
    let contents = opened.and_then(|opened| match opened.packed {
        Some(_) => spooled(layer, opened.reader, &ignored, reading),
        None => in_place(layer, opened.reader, reading.xattrs),
    });
    // A blob that is another explains whatever is wrong inside it.
    packed.finish(path)?;
    contents
}

/// Reads the layer that `reader` gives unpacked, and keeps it so.
fn spooled(
    layer: &Layer,
    reader: impl Read,
    ignored: &Ignored,
    reading: Reading<'_>,
) -> Result<Contents, OciError> {
    let path = &layer.blob.path;
    let reader = Heeding::new(reader, reading.cancel);
    let mut checked = Checked::new(reader, Some(&layer.diff_id));
    let spool = Spool::new(&mut checked, reading.spool, path.as_bytes());
    let unkept = |error| OciError::read(&reading.spool.to_string_lossy(), error);
    let (input, file) = spool.map_err(unkept)?;
    let mut archive = Archive::new(input)
        .filter_xattrs(reading.xattrs.clone())
        .unpacked_from(ignored);
    let mut contents = contents(layer, &mut archive, &Kept { file, start: 0 })?;
    // What follows the archive's end counts for the digest, and need not be kept.
    let closed = archive.into_input().close();
    closed.map_err(|error| OciError::read(path, error))?;
    checked.finish(&format!("{path}, uncompressed,"))?;
    contents.ignored = ignored.bytes();
    Ok(contents)
}

/// Reads the layer whose archive `reader` gives as it is in the image.
fn in_place(
    layer: &Layer,
    reader: impl Read + Send,
    xattrs: &XattrFilter,
) -> Result<Contents, OciError> {
    let path = &layer.blob.path;
    let file = layer.blob.stored_file();
    let kept = Kept {
        file: Arc::new(file.map_err(|error| OciError::read(path, error))?),
        start: layer.blob.start(),
    };
    let mut checked = Checked::new(reader, Some(&layer.diff_id));
    // Every byte counts for the digest, so none is passed over unread.
    let mut archive = Archive::new(Stream::new(&mut checked)).filter_xattrs(xattrs.clone());
    let contents = contents(layer, &mut archive, &kept)?;
    drop(archive);
    checked.finish(&format!("{path}, uncompressed,"))?;
    Ok(contents)
}

fn contents<I: Input>(
    layer: &Layer,
    archive: &mut Archive<I>,
    kept: &Kept,
) -> Result<Contents, OciError> {
    let path = &layer.blob.path;
    let (mut whiteouts, mut entries) = (Vec::new(), Vec::new());
    // Others take a layer of no bytes for one that changes nothing, so it is none that is damaged.
    let next = |archive: &mut Archive<I>| match archive.next_entry() {
        Err(error) if error.is_of_nothing() => Ok(None),
        next => next.map_err(|error| FileErrorKind::Archive(error).of(path)),
    };
    while let Some(entry) = next(archive)? {
        match meaning(&entry.path) {
            Ok(Meaning::Whiteout(whiteout)) => whiteouts.push(whiteout),
            Ok(Meaning::Ignored) => {}
            Ok(Meaning::Entry) => {
                let content = kept.content_of(&entry);
                entries.push((entry, content));
            }
            Err(why) => {
                let path = entry.path;
                return Err(ImageErrorKind::Whiteout { path, why }.into());
            }
        }
    }
    let mut oddities = archive.oddities();
    if archive.end() == Some(End::Lone) {
        oddities.note(Oddity::LoneZeroBlock, path.as_bytes());
    }
    Ok(Contents {
        path: path.clone(),
        whiteouts,
        entries,
        ignored: 0,
        oddities,
    })
}
