//! Given files whose data the storage can share with the image, has it shared; never another block of the
//! image, and never a file of which nothing can be shared.
//!
//! It comes before everything else is rendered, and goes file by file. What is shared are whole blocks of the
//! storage; what a file has around them is copied here too, so that a file is either done after this or was not
//! begun. The bytes of the image are the same either way.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::batch::BATCH_BYTES;
use super::readers::{FileReading, unreadable};
use super::{EmitError, Image, Out, Storage, Writing};
use crate::layout::{Layout, Owner};
use crate::options::Settings;
use crate::sink::{Memory, SHARE_LEAST_BYTES, Sink};
use crate::tree::{Access, Content, ContentReader, Kind, NodeIndex, Stored, Tree};

/// How much is shared at once, so that a wish to stop is heard.
const STEP_BYTES: u64 = 1 << 30;

/// After so many files of a source in a row that the storage refused to share, such as those of a directory that is
/// elsewhere, no more of its files are opened for this.
const MOST_REFUSALS: u32 = 8;

/// Whether the data of files is shared with an image, instead of copied, in the words of cp. The bytes of the
/// image are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reflink {
    /// Share what the storage can share, where that is faster than to copy it.
    #[default]
    Auto,
    /// Share all whole blocks of the storage, and fail where one of them has to be copied.
    Always,
    /// Copy all data.
    Never,
}

/// How files are shared.
struct Sharing<'a> {
    image: &'a Image<'a>,
    out: &'a Out<'a>,
    writing: &'a Writing<'a>,
    /// The unit in which the storage shares.
    unit: u64,
    /// Whether it is only found out what could not be shared, as far as that shows without the storage.
    is_trial: bool,
}

/// What became of a file.
enum Answer {
    /// It is in its place.
    Shared,
    /// The storage refused, and nothing was done.
    Refused,
    /// It has nothing that could be shared, and nothing was done.
    Nothing,
}

/// A file with data in blocks of its own.
struct PlacedFile<'a> {
    node: NodeIndex,
    content: &'a Content,
    /// Where its blocks are, in the order of the file.
    placed: Vec<Placed>,
}

/// Bytes of a file that lie side by side in the image.
struct Placed {
    range: Range<u64>,
    /// Where they begin in the sink.
    place: u64,
}

impl Placed {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The bytes `range` of these.
    fn part(&self, range: Range<u64>) -> Self {
        let place = self.place + (range.start - self.range.start);
        Self { range, place }
    }
}

impl Image<'_> {
    /// Has the data of files shared with the image, and gives the files that need nothing any more.
    pub(super) fn share_files(
        &self,
        out: &Out<'_>,
        writing: &Writing<'_>,
    ) -> Result<HashSet<NodeIndex>, EmitError> {
        let mut shared = HashSet::new();
        if writing.reflink == Reflink::Never || self.settings.super_only {
            return Ok(shared);
        }
        let Some(unit) = out.sink.share_unit() else {
            return Ok(shared);
        };
        let sharing = Sharing {
            image: self,
            out,
            writing,
            unit,
            is_trial: false,
        };
        let mut refused: HashMap<*const (), u32> = HashMap::new();
        for file in files_from(sharing.least(), self.layout, self.tree, out) {
            let refusals = refused.entry(file.source()).or_default();
            if *refusals == MOST_REFUSALS {
                continue;
            }
            match sharing.file(&file)? {
                Answer::Shared => {
                    *refusals = 0;
                    shared.insert(file.node);
                }
                Answer::Refused => *refusals += 1,
                Answer::Nothing => {}
            }
        }
        Ok(shared)
    }
}

/// Refuses, before anything is written, files that are to be shared with a sink that shares nothing.
pub(super) fn check(
    layout: &Layout,
    tree: &Tree,
    out: &Out<'_>,
    writing: &Writing<'_>,
) -> Result<(), EmitError> {
    if writing.reflink != Reflink::Always || out.sink.share_unit().is_some() {
        return Ok(());
    }
    refuse_first(layout, tree, out)
}

/// Refuses a file that is to be shared, if there is one.
fn refuse_first(layout: &Layout, tree: &Tree, out: &Out<'_>) -> Result<(), EmitError> {
    match files_from(1, layout, tree, out).first() {
        Some(file) => Err(file.unshared(NO_OUTPUT, None)),
        None => Ok(()),
    }
}

/// Refuses, while the output is as it was, files that have to be shared with `sink` and cannot, whatever its
/// filesystem says; it may say no later. Without a sink the output shares nothing.
pub(crate) fn check_sharing(
    settings: &Settings,
    layout: &Layout,
    tree: &Tree,
    sink: Option<&dyn Sink>,
) -> Result<(), EmitError> {
    let nowhere = Memory::new(0);
    let out = Out::of_any_size(settings, &layout.geometry, sink.unwrap_or(&nowhere));
    let Some(unit) = out.sink.share_unit() else {
        return refuse_first(layout, tree, &out);
    };
    let sharing = Sharing {
        image: &Image::new(settings, Storage::OldData, layout, tree),
        out: &out,
        writing: &Writing {
            reflink: Reflink::Always,
            ..Writing::default()
        },
        unit,
        is_trial: true,
    };
    let files = files_from(sharing.least(), layout, tree, &out);
    files
        .iter()
        .try_for_each(|file| sharing.file(file).map(drop))
}

/// The files of `least_bytes` or more that have blocks, in the order of the first of these.
fn files_from<'a>(
    least_bytes: u64,
    layout: &Layout,
    tree: &'a Tree,
    out: &Out<'_>,
) -> Vec<PlacedFile<'a>> {
    let mut files: Vec<PlacedFile<'a>> = Vec::new();
    let mut known: HashMap<NodeIndex, usize> = HashMap::new();
    for claim in layout.ledger.claims() {
        let Owner::File(node, logical) = claim.owner else {
            continue;
        };
        let Kind::File(content) = &tree.node(tree.id(node)).kind else {
            continue;
        };
        if content.size_bytes < least_bytes || content.data_span().is_none() {
            continue;
        }
        let at = *known.entry(node).or_insert(files.len());
        if at == files.len() {
            files.push(PlacedFile {
                node,
                content,
                placed: Vec::new(),
            });
        }
        let start = u64::from(logical.get()) * out.block_bytes;
        files[at].placed.push(Placed {
            range: start..start + claim.run().len * out.block_bytes,
            place: out.base + out.offset(claim.run().start),
        });
    }
    for file in &mut files {
        file.placed.sort_by_key(|placed| placed.range.start);
    }
    files
}

/// Where the output is at fault.
const NO_OUTPUT: &str =
    "only a raw image in a file on a filesystem such as btrfs, XFS or bcachefs can share data";

impl PlacedFile<'_> {
    fn unshared(&self, reason: &'static str, error: Option<io::Error>) -> EmitError {
        EmitError::Unshared {
            name: self.content.source.describe(self.content.key),
            reason,
            error,
        }
    }

    /// Which source it is of.
    fn source(&self) -> *const () {
        Arc::as_ptr(&self.content.source).cast()
    }

    /// What the storage said when it was asked to share it.
    fn refused(&self, error: io::Error) -> EmitError {
        match error.kind() {
            io::ErrorKind::CrossesDevices => self.unshared("it is on another filesystem", None),
            io::ErrorKind::Unsupported => self.unshared("its filesystem shares no data", None),
            _ => self.unshared("the filesystem refused", Some(error)),
        }
    }

    /// Why no part of it can be shared, whatever the storage.
    fn obstacle(&self, image: &Image<'_>) -> Option<&'static str> {
        if image
            .layout
            .content
            .verity_of(image.tree.id(self.node))
            .is_some()
        {
            return Some("fs-verity hashes its data while it is copied");
        }
        let is_file = self.content.source.access(self.content.key) == Access::Anywhere;
        (!is_file || self.content.placed().is_some()).then_some(NO_FILE)
    }
}

/// Where the source is at fault.
const NO_FILE: &str = "its data is in no file of the host as it is";

/// Where both are.
const NO_BLOCKS: &str = "it does not begin at a block of the host's filesystem there";

impl Sharing<'_> {
    /// How many contiguous bytes are worth it.
    fn least(&self) -> u64 {
        match self.writing.reflink {
            Reflink::Always => self.unit,
            Reflink::Auto | Reflink::Never => SHARE_LEAST_BYTES.next_multiple_of(self.unit),
        }
    }

    /// Lets a file, or bytes of it, be copied, unless nothing may be.
    fn leave(&self, file: &PlacedFile<'_>, reason: &'static str) -> Result<(), EmitError> {
        match self.writing.reflink {
            Reflink::Always => Err(file.unshared(reason, None)),
            Reflink::Auto | Reflink::Never => Ok(()),
        }
    }

    /// Shares what can be shared of a file, and copies the rest.
    fn file(&self, file: &PlacedFile<'_>) -> Result<Answer, EmitError> {
        let content = file.content;
        if let Some(obstacle) = file.obstacle(self.image) {
            return self.leave(file, obstacle).map(|()| Answer::Nothing);
        }
        let failed = |error| unreadable(self.image.tree, content, error);
        let mut reader = content.open().map_err(failed)?;
        let mut shared = Vec::new();
        let data = file.placed.iter().flat_map(|placed| {
            let data = content.data_in(placed.range.clone());
            data.map(|data| placed.part(data))
        });
        let mut answer = Answer::Nothing;
        for data in data {
            if !self.data(file, data, &mut *reader, &mut shared)? {
                answer = Answer::Refused;
                break;
            }
        }
        if shared.is_empty() || self.is_trial {
            return Ok(answer);
        }
        for placed in &file.placed {
            let mut at = placed.range.start;
            let before = shared.partition_point(|done: &Range<u64>| done.end <= at);
            let within = shared[before..].iter();
            for done in within.take_while(|done| done.start < placed.range.end) {
                self.copy(content, placed.part(at..done.start), &mut *reader)?;
                at = done.end;
            }
            self.copy(content, placed.part(at..placed.range.end), &mut *reader)?;
        }
        reader.finish().map_err(failed)?;
        Ok(Answer::Shared)
    }

    /// Shares what can be shared of bytes that are data, and notes what was; false once the storage
    /// refuses.
    fn data(
        &self,
        file: &PlacedFile<'_>,
        data: Placed,
        reader: &mut dyn ContentReader,
        shared: &mut Vec<Range<u64>>,
    ) -> Result<bool, EmitError> {
        let failed = |error| unreadable(self.image.tree, file.content, error);
        let mut at = data.range.start;
        while at < data.range.end {
            let wanted = data.part(at..data.range.end.min(at.saturating_add(STEP_BYTES)));
            let stored = reader.stored(wanted.range.clone()).map_err(failed)?;
            let Some(stored) = stored.filter(|stored| !stored.range.is_empty()) else {
                // Less than a block is nowhere to be shared.
                return if wanted.length() < self.least() {
                    Ok(true)
                } else {
                    self.leave(file, NO_FILE).map(|()| true)
                };
            };
            let length = stored.range.end - stored.range.start;
            let wanted = wanted.part(at..at + length.min(wanted.length()));
            at = wanted.range.end;
            match self.share(&wanted, &stored) {
                Ok(Some(done)) => {
                    (self.writing.progress)(done.end - done.start);
                    shared.push(done);
                }
                Ok(None) if wanted.length() < self.least() => {}
                Ok(None) => self.leave(file, NO_BLOCKS)?,
                Err(error) if self.writing.reflink == Reflink::Always => {
                    // What changed meanwhile may be too short by now.
                    reader.finish().map_err(failed)?;
                    return Err(file.refused(error));
                }
                Err(_) => return Ok(false),
            }
            if self.writing.cancel.load(Ordering::Relaxed) {
                return Err(EmitError::Cancelled);
            }
        }
        Ok(true)
    }

    /// Shares the whole blocks of the storage in `wanted`, which lie where `stored` says, and gives those; none
    /// where they are too few, or begin elsewhere in a block there.
    fn share(&self, wanted: &Placed, stored: &Stored<'_>) -> io::Result<Option<Range<u64>>> {
        let before = wanted.place.next_multiple_of(self.unit) - wanted.place;
        let length = wanted.length().saturating_sub(before) / self.unit * self.unit;
        let from = stored.range.start.saturating_add(before);
        if length < self.least() || !from.is_multiple_of(self.unit) {
            return Ok(None);
        }
        let range = from..from.saturating_add(length);
        if !self.is_trial {
            let place = wanted.place + before;
            self.out.sink.share(place, stored.file, range)?;
        }
        let start = wanted.range.start + before;
        Ok(Some(start..start + length))
    }

    /// Copies what the file has at `placed`.
    fn copy(
        &self,
        content: &Content,
        placed: Placed,
        reader: &mut dyn ContentReader,
    ) -> Result<(), EmitError> {
        let mut at = placed.range.start;
        while at < placed.range.end {
            let step = placed.part(at..placed.range.end.min(at + BATCH_BYTES));
            at = step.range.end;
            let length = usize::try_from(step.length()).expect("a step fits memory");
            let mut bytes = vec![0; length];
            let failed = |error| unreadable(self.image.tree, content, error);
            let mut reading = FileReading {
                reader: &mut *reader,
                content,
                cancel: self.writing.cancel,
            };
            reading
                .fill(step.range.clone(), &mut bytes)
                .map_err(failed)?;
            self.out.write(step.place - self.out.base, &bytes)?;
            (self.writing.progress)(step.length());
            if self.writing.cancel.load(Ordering::Relaxed) {
                return Err(EmitError::Cancelled);
            }
        }
        Ok(())
    }
}
