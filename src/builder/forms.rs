//! Given an image and what its output is beside the bytes of the filesystem, writes both; never a byte before
//! all that can be known is known to fit.
//!
//! What comes in order needs every block decided before the first is written. A stream whose places are
//! decided as it comes is kept in a file without a name until then.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::stream::{Built, PreparedImage, PreparedKind, Streaming};
use super::{Plan, end_bytes};
use crate::emit::{EmitError, Sinks, Writing};
use crate::error::{Error, Kind};
use crate::geometry::Geometry;
use crate::layout::Layout;
use crate::options::Settings;
use crate::sink::{
    Contained, Disk, Extent, File, Format, ImageRange, Output, Sink, UnfinishedOutput,
    VERITY_BLOCK_BYTES, Verity, VerityOptions, VerityTree, WINDOW_BYTES, bmap, verity_bytes,
};
use crate::sys;

/// How much of what was kept is read at once: whole windows.
const PIECE_BYTES: u64 = 8 * WINDOW_BYTES;

/// What an output is beside the bytes of the filesystem.
#[derive(Debug)]
pub(crate) struct Form<'a> {
    pub(crate) format: Format,
    /// Whether a verity tree is made, and of what.
    pub(crate) verity: Option<VerityOptions>,
    /// Where the tree goes, if that is not behind the filesystem.
    pub(crate) tree: Option<&'a File>,
    /// Whether the map of a raw image is made.
    pub(crate) bmap: bool,
    /// Where large temporary files lie.
    pub(crate) spool_directory: &'a Path,
}

/// What was made beside the image.
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "only the command has trees and maps made")
)]
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) tree: Option<VerityTree>,
    /// Where the tree begins, in bytes from the filesystem's first or the tree's own file's.
    pub(crate) tree_offset: u64,
    pub(crate) bmap: Option<String>,
}

/// An output with all of the image in it, which is undone unless it is kept.
#[derive(Debug)]
pub(crate) struct Formed {
    /// None for a stream, of which nothing can be undone.
    draft: Option<UnfinishedOutput>,
    pub(crate) beside: Beside,
    built: Built,
}

impl Formed {
    /// Leaves the output as it is: it is finished.
    pub(crate) fn keep(self) -> (Built, Beside) {
        if let Some(draft) = self.draft {
            draft.keep();
        }
        (self.built, self.beside)
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(Kind::Output(error))
}

fn refused(text: String) -> Error {
    failed(io::Error::new(io::ErrorKind::InvalidInput, text))
}

impl PreparedImage {
    /// How many bytes a verity tree takes.
    #[cfg(feature = "cli")]
    pub(crate) fn tree_bytes(&self) -> u64 {
        Extents::of(self.settings(), self.geometry()).tree_bytes()
    }

    /// Looks whether the image can be written as `form` says.
    ///
    /// # Errors
    /// Where the format cannot hold it, or the image begins where it cannot.
    #[cfg(feature = "cli")]
    pub(crate) fn check_form(&self, form: &Form<'_>) -> Result<(), Error> {
        Extents::of(self.settings(), self.geometry()).check(form)
    }

    /// Writes the image to `output` as `form` says.
    ///
    /// # Errors
    /// As those of [`write`](Self::write); and where the format cannot hold the image, or that begins where it
    /// cannot.
    pub(crate) fn write_formed(
        self,
        output: Output,
        form: &Form<'_>,
        writing: &Writing<'_>,
    ) -> Result<Formed, Error> {
        match self.0 {
            PreparedKind::Planned(plan) => {
                Image::Planned(&plan).write_formed(output, form, writing)
            }
            PreparedKind::Streaming(it) => Image::Streaming(it).write_formed(output, form, writing),
        }
    }

    /// Writes the bytes of the filesystem to `sink` in their order. What decides places as it comes is kept in
    /// `spool_directory` first.
    ///
    /// # Errors
    /// As those of [`write`](Self::write).
    pub(super) fn write_in_order(
        self,
        sink: &dyn Sink,
        spool_directory: &Path,
        writing: &Writing<'_>,
    ) -> Result<Built, Error> {
        let written = match self.0 {
            PreparedKind::Planned(plan) => Image::Planned(&plan).write(sink, writing)?,
            PreparedKind::Streaming(it) => Image::Streaming(it)
                .kept(spool_directory, writing)?
                .write(sink, writing)?,
        };
        Ok(written.built)
    }

    /// Writes the image to `writer` in the order of its bytes.
    ///
    /// # Errors
    /// As those of [`write_formed`](Self::write_formed).
    #[cfg(feature = "cli")]
    pub(crate) fn write_stream(
        self,
        writer: impl std::io::Write + Send,
        form: &Form<'_>,
        writing: &Writing<'_>,
    ) -> Result<Formed, Error> {
        match self.0 {
            PreparedKind::Planned(plan) => {
                Image::Planned(&plan).write_stream(writer, form, writing)
            }
            PreparedKind::Streaming(it) => Image::Streaming(it).write_stream(writer, form, writing),
        }
    }
}

impl Plan {
    /// Writes the image to `output` as `form` says.
    ///
    /// # Errors
    /// As those of [`PreparedImage::write_formed`].
    pub(super) fn write_formed(
        &self,
        output: Output,
        form: &Form<'_>,
        writing: &Writing<'_>,
    ) -> Result<Formed, Error> {
        Image::Planned(self).write_formed(output, form, writing)
    }
}

/// Where the bytes of a filesystem are in the virtual disk.
struct Extents {
    block_bytes: u64,
    range: Range<u64>,
}

impl Extents {
    fn of(settings: &Settings, geometry: &Geometry) -> Self {
        Self {
            block_bytes: geometry.block_size.bytes_u64(),
            range: settings.offset_bytes..end_bytes(settings, geometry),
        }
    }

    /// How many bytes the filesystem has.
    fn image_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn tree_bytes(&self) -> u64 {
        verity_bytes(self.image_bytes())
    }

    /// How many bytes the virtual disk has, that of a verity tree behind the filesystem included.
    fn disk_bytes(&self, form: &Form<'_>) -> u64 {
        if form.verity.is_none() {
            return self.range.end;
        }
        // A tree is over whole blocks.
        let data = self.image_bytes().next_multiple_of(VERITY_BLOCK_BYTES);
        let tree = match form.tree {
            Some(_) => 0,
            None => self.tree_bytes(),
        };
        self.range.start + data + tree
    }

    fn check(&self, form: &Form<'_>) -> Result<(), Error> {
        let format = form.format;
        format
            .check(self.disk_bytes(form))
            .map_err(|error| refused(error.to_string()))?;
        let Self { block_bytes, range } = self;
        let offset = range.start;
        if !format.is_flat() && !offset.is_multiple_of(*block_bytes) {
            return Err(refused(format!(
                "this format needs an offset that is a multiple of the block size, {block_bytes} bytes; \
                 {offset} is none"
            )));
        }
        if form.verity.is_some() && !offset.is_multiple_of(VERITY_BLOCK_BYTES) {
            return Err(refused(format!(
                "--verity needs an offset that is a multiple of {VERITY_BLOCK_BYTES} bytes; {offset} is none"
            )));
        }
        Ok(())
    }
}

fn check_cancelled(writing: &Writing<'_>) -> Result<(), Error> {
    if writing.cancel.load(Ordering::Relaxed) {
        Err(EmitError::Cancelled.into())
    } else {
        Ok(())
    }
}

/// The bytes that may read as anything: none where a tree is over them.
fn free_of<'a>(free: &'a [Range<u64>], form: &Form<'_>) -> &'a [Range<u64>] {
    if form.verity.is_some() { &[] } else { free }
}

/// The bytes of the output that no block in use has, ascending.
fn free_bytes(settings: &Settings, layout: &Layout) -> Vec<Range<u64>> {
    let geometry = &layout.geometry;
    let block_bytes = geometry.block_size.bytes_u64();
    let place = |block: u64| settings.offset_bytes + block * block_bytes;
    let mut free = Vec::new();
    let mut next = 0;
    for claim in layout.ledger.claims() {
        let run = claim.run();
        if run.start.get() > next {
            free.push(place(next)..place(run.start.get()));
        }
        next = next.max(run.end().get());
    }
    if next < geometry.blocks_count {
        free.push(place(next)..place(geometry.blocks_count));
    }
    free
}

/// An image that is to be written.
enum Image<'p> {
    Planned(&'p Plan),
    Streaming(Box<Streaming>),
    Kept(Box<Kept>),
}

/// An image that a file without a name holds.
struct Kept {
    file: File,
    written: Written,
}

/// What was written, and where nothing is.
struct Written {
    built: Built,
    free: Vec<Range<u64>>,
}

impl Image<'_> {
    fn write_formed(
        self,
        output: Output,
        form: &Form<'_>,
        writing: &Writing<'_>,
    ) -> Result<Formed, Error> {
        self.extents().check(form)?;
        if let Image::Planned(plan) = &self {
            let is_raw = form.format == Format::Raw && form.verity.is_none();
            plan.check_sharing(is_raw.then_some(output.file()), writing.reflink)?;
        }
        if form.format.is_flat() {
            self.write_flat(output, form, writing)
        } else {
            self.write_contained(output, form, writing)
        }
    }

    fn write_flat(
        self,
        mut output: Output,
        form: &Form<'_>,
        writing: &Writing<'_>,
    ) -> Result<Formed, Error> {
        let start = self.settings().offset_bytes;
        let disk_bytes = self.extents().disk_bytes(form);
        let disk = Disk::new(disk_bytes, self.settings().uuid);
        let trailer = form.format.trailer(&disk);
        let end = match form.format {
            Format::Raw => disk_bytes,
            _ => {
                // All of the file is the container's.
                output.replace(0);
                disk.size_bytes()
            }
        };
        let whole = end + u64::try_from(trailer.len()).unwrap_or(u64::MAX);
        let mut draft = output
            .begin(&ImageRange::new(start..whole))
            .map_err(failed)?;
        if !self.settings().super_only {
            draft.mark().map_err(failed)?;
        }
        if !trailer.is_empty() {
            draft.file().write_at(end, &trailer).map_err(failed)?;
        }
        let (written, mut beside) = self.write_with_tree(draft.file(), form, writing)?;
        if form.bmap {
            let free = free_of(&written.free, form);
            beside.bmap = Some(bmap(draft.file(), free).map_err(failed)?);
        }
        Ok(Formed {
            draft: Some(draft),
            beside,
            built: written.built,
        })
    }

    fn write_contained(
        self,
        output: Output,
        form: &Form<'_>,
        writing: &Writing<'_>,
    ) -> Result<Formed, Error> {
        let disk = Disk::new(self.extents().disk_bytes(form), self.settings().uuid);
        // Whatever a stream turns out to be, the output is as it was until then.
        let image = self.kept(form.spool_directory, writing)?;
        let disk = disk.free(free_of(&image.free(), form).to_vec());
        let draft = output.begin_contained().map_err(failed)?;
        let contained = Contained::new(form.format, disk, draft.file());
        let contained = contained.expect("a format that is not flat has a container");
        let (written, beside) = image.write_with_tree(&contained, form, writing)?;
        let naming = contained.write_tables(writing.sync).map_err(failed)?;
        // The last moment at which a wish to stop can be heard.
        check_cancelled(writing)?;
        naming.finish().map_err(failed)?;
        Ok(Formed {
            draft: Some(draft),
            beside,
            built: written.built,
        })
    }

    #[cfg(feature = "cli")]
    fn write_stream(
        self,
        writer: impl std::io::Write + Send,
        form: &Form<'_>,
        writing: &Writing<'_>,
    ) -> Result<Formed, Error> {
        let extents = self.extents();
        extents.check(form)?;
        let stream = crate::sink::Stream::new(extents.disk_bytes(form), writer);
        let image = self.kept(form.spool_directory, writing)?;
        let (written, beside) = image.write_with_tree(&stream, form, writing)?;
        stream.finish().map_err(failed)?;
        Ok(Formed {
            draft: None,
            beside,
            built: written.built,
        })
    }

    /// The same, with every block decided.
    fn kept(self, spool_directory: &Path, writing: &Writing<'_>) -> Result<Self, Error> {
        let Self::Streaming(streaming) = self else {
            return Ok(self);
        };
        let file = sys::unnamed_file(spool_directory).map_err(failed)?;
        let mut file = File::from_open(file).map_err(failed)?;
        let end = end_bytes(&streaming.settings, &streaming.geometry);
        file.make_room(end).map_err(failed)?;
        let quiet = Writing {
            sync: false,
            progress: &|_| {},
            ..*writing
        };
        let written = Written::by(*streaming, &file, &quiet)?;
        Ok(Self::Kept(Box::new(Kept { file, written })))
    }

    /// The free bytes, where every block is decided.
    fn free(&self) -> Vec<Range<u64>> {
        match self {
            Self::Planned(plan) => free_bytes(&plan.settings, &plan.layout),
            Self::Streaming(_) => Vec::new(),
            Self::Kept(kept) => kept.written.free.clone(),
        }
    }

    fn settings(&self) -> &Settings {
        match self {
            Self::Planned(plan) => &plan.settings,
            Self::Streaming(streaming) => &streaming.settings,
            Self::Kept(kept) => &kept.written.built.settings,
        }
    }

    fn geometry(&self) -> &Geometry {
        match self {
            Self::Planned(plan) => &plan.layout.geometry,
            Self::Streaming(streaming) => &streaming.geometry,
            Self::Kept(kept) => &kept.written.built.geometry,
        }
    }

    fn extents(&self) -> Extents {
        Extents::of(self.settings(), self.geometry())
    }

    /// Writes the filesystem.
    fn write(self, sink: &dyn Sink, writing: &Writing<'_>) -> Result<Written, Error> {
        match self {
            Self::Planned(plan) => {
                let sinks = Sinks {
                    image: sink,
                    journal: None,
                };
                let digests = plan.write_hashed(sinks, writing)?;
                let free = free_bytes(&plan.settings, &plan.layout);
                let built = Built::of(plan, digests);
                Ok(Written { built, free })
            }
            Self::Streaming(streaming) => Written::by(*streaming, sink, writing),
            Self::Kept(kept) => {
                copy(&kept.file, sink, writing)?;
                Ok(kept.written)
            }
        }
    }

    /// Writes the filesystem, and a verity tree if there is to be one.
    fn write_with_tree(
        self,
        sink: &dyn Sink,
        form: &Form<'_>,
        writing: &Writing<'_>,
    ) -> Result<(Written, Beside), Error> {
        let Some(options) = &form.verity else {
            return Ok((self.write(sink, writing)?, Beside::default()));
        };
        let image = self.extents().range;
        let verity = Verity::new(sink, image.clone(), options.clone()).map_err(failed)?;
        let written = self.write(&verity, writing)?;
        let behind = (image.end - image.start).next_multiple_of(VERITY_BLOCK_BYTES);
        let (tree_sink, place, tree_offset): (&dyn Sink, u64, u64) = match form.tree {
            Some(file) => (file, 0, 0),
            None => (sink, image.start + behind, behind),
        };
        let tree = verity.write_tree(tree_sink, place).map_err(failed)?;
        if writing.sync {
            tree_sink.sync().map_err(failed)?;
        }
        check_cancelled(writing)?;
        verity.finish().map_err(failed)?;
        if writing.sync {
            sink.sync().map_err(failed)?;
        }
        let beside = Beside {
            tree: Some(tree),
            tree_offset,
            bmap: None,
        };
        Ok((written, beside))
    }
}

impl Written {
    fn by(streaming: Streaming, sink: &dyn Sink, writing: &Writing<'_>) -> Result<Self, Error> {
        let (built, layout) = streaming.write_laid_out(sink, writing)?;
        let free = free_bytes(&built.settings, &layout);
        Ok(Self { built, free })
    }
}

/// Copies what `file` holds to `sink`, which takes it in order.
fn copy(file: &File, sink: &dyn Sink, writing: &Writing<'_>) -> Result<(), Error> {
    let mut buffer = Vec::new();
    let mut start = 0;
    let size_bytes = file.size_bytes();
    while start < size_bytes {
        check_cancelled(writing)?;
        let end = size_bytes.min(start + PIECE_BYTES);
        let ranges = file.unknown(start..end);
        let lengths = ranges.iter().map(|range| range.end - range.start);
        let length: u64 = lengths.sum();
        buffer.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        let mut rest = &mut buffer[..];
        let mut extents = Vec::new();
        for range in ranges {
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let (bytes, others) = rest.split_at_mut(length);
            file.read_at(range.start, bytes).map_err(failed)?;
            extents.push(Extent::new(range.start, bytes));
            rest = others;
        }
        let mut prepared = sink.prepare(&extents).map_err(failed)?;
        prepared.take_turn().map_err(failed)?;
        prepared.finish().map_err(failed)?;
        (writing.progress)(length);
        start = end;
    }
    Ok(())
}
