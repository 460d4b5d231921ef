//! Given an image decided as far as its sources allow, writes it in one go; never keeps a content that
//! arrives while its image's size is known.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{Builder, Contents, Found, Plan, Wanted, end_bytes};
use crate::cancel::Cancel;
use crate::emit::{DataWriteError, DataWriter, EmitError, Sinks, WriteSession, Writing};
use crate::error::Error;
use crate::geometry::Geometry;
use crate::layout::inline::most_content_bytes;
use crate::layout::{DataAllocator, DataPlace, Layout};
use crate::options::Settings;
use crate::sink::{ImageRange, Sink};
use crate::source::ContentStore;
use crate::summary::{FileDigest, Summary};
use crate::tree::{Content, ContentKey, ContentReader, ContentSource, DataMap};
use crate::units::Run;
use crate::warning::Warning;

/// An image decided as far as that goes before its first byte is written.
#[derive(Debug)]
pub struct PreparedImage(pub(super) PreparedKind);

#[derive(Debug)]
pub(super) enum PreparedKind {
    Planned(Box<Plan>),
    Streaming(Box<Streaming>),
}

/// An image of which the settings are known, and whose content is still to come.
pub(super) struct Streaming {
    pub(super) settings: Settings,
    pub(super) geometry: Geometry,
    allocator: DataAllocator,
    warnings: Vec<Warning>,
    wanted: Wanted,
    cancel: Cancel,
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("settings", &self.settings)
            .field("sources", &self.wanted.sources.len())
            .finish_non_exhaustive()
    }
}

/// What was made, and how.
#[derive(Clone, Debug)]
pub struct Built {
    /// What was asked of it.
    pub settings: Settings,
    /// Its counts and sizes.
    pub geometry: Geometry,
    /// What it is.
    pub summary: Summary,
    /// What a person may want to know and was not told before it was written.
    pub warnings: Vec<Warning>,
}

impl Built {
    /// What was made by `plan`, with files of these digests in it.
    pub(super) fn of(plan: &Plan, fs_verity: Vec<FileDigest>) -> Self {
        Self {
            summary: Summary {
                fs_verity,
                ..plan.summary()
            },
            settings: plan.settings.clone(),
            geometry: plan.layout.geometry.clone(),
            warnings: Vec::new(),
        }
    }

    /// What was made, with all that is to be known of it.
    pub(super) fn into_summary(self) -> Summary {
        let mut summary = self.summary;
        let warnings = self.warnings.into_iter().filter(Warning::is_warning);
        summary.warnings.extend(warnings);
        summary
    }
}

impl PreparedImage {
    pub(super) fn planned(plan: Plan) -> Self {
        Self(PreparedKind::Planned(Box::new(plan)))
    }

    pub(super) fn streaming(builder: Builder) -> Result<Self, Error> {
        let environment = builder.world();
        let resolved = builder.options.resolve(&environment)?;
        let geometry = Geometry::new(&resolved.settings)?;
        let allocator = DataAllocator::new(&resolved.settings, &geometry)?;
        Ok(Self(PreparedKind::Streaming(Box::new(Streaming {
            settings: resolved.settings,
            geometry,
            allocator,
            warnings: resolved
                .warnings
                .into_iter()
                .map(Warning::Options)
                .collect(),
            wanted: builder.wanted,
            cancel: builder.run.cancel,
        }))))
    }

    /// What is asked of the image.
    pub fn settings(&self) -> &Settings {
        match &self.0 {
            PreparedKind::Planned(plan) => &plan.settings,
            PreparedKind::Streaming(streaming) => &streaming.settings,
        }
    }

    /// Its counts and sizes.
    pub fn geometry(&self) -> &Geometry {
        match &self.0 {
            PreparedKind::Planned(plan) => &plan.layout.geometry,
            PreparedKind::Streaming(streaming) => &streaming.geometry,
        }
    }

    /// What a person may want to know, as far as it is known.
    pub fn warnings(&self) -> &[Warning] {
        match &self.0 {
            PreparedKind::Planned(plan) => &plan.warnings,
            PreparedKind::Streaming(streaming) => &streaming.warnings,
        }
    }

    /// The plan, if every block is decided.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.0 {
            PreparedKind::Planned(plan) => Some(plan),
            PreparedKind::Streaming(_) => None,
        }
    }

    /// The bytes of an output that are the image's own, for [`Output::begin`](crate::sink::Output::begin).
    pub fn range(&self) -> ImageRange {
        ImageRange::new(self.settings().offset_bytes..self.size_bytes())
    }

    /// How many bytes a sink must hold, those before the image as well.
    pub fn size_bytes(&self) -> u64 {
        end_bytes(self.settings(), self.geometry())
    }

    /// Looks at what streams begin with, while the sink still holds what it held. Without that,
    /// [`write`](Self::write) looks when it comes to them.
    ///
    /// # Errors
    /// Where one cannot be read or is not what its source reads, or `cancel` is set.
    pub fn probe(&mut self, cancel: &AtomicBool) -> Result<(), Error> {
        let PreparedKind::Streaming(streaming) = &mut self.0 else {
            return Ok(());
        };
        let mut sources = streaming.wanted.sources.iter_mut();
        let probed = sources.try_for_each(|source| source.probe());
        if cancel.load(Ordering::Relaxed) {
            Err(EmitError::Cancelled.into())
        } else {
            Ok(probed?)
        }
    }

    /// Writes the image to `sink`.
    ///
    /// # Errors
    /// Where `sink` is too small or fails, content cannot be read or changed since it was declared,
    /// or `writing` is cancelled; for a stream, also where the source cannot be read, or content cannot be
    /// stored or does not fit.
    /// The sink then holds no superblock.
    pub fn write(self, sink: &dyn Sink, writing: &Writing<'_>) -> Result<Built, Error> {
        let sinks = Sinks {
            image: sink,
            journal: None,
        };
        self.write_sinks(sinks, writing)
    }

    /// Writes the image, and lists it on the device of its journal; of a stream, it cannot have one.
    ///
    /// # Errors
    /// As those of [`write`](Self::write); and where the journal is not the one looked at.
    pub fn write_sinks(self, sinks: Sinks<'_>, writing: &Writing<'_>) -> Result<Built, Error> {
        match self.0 {
            PreparedKind::Streaming(streaming) => streaming.write(sinks.image, writing),
            PreparedKind::Planned(plan) => {
                let digests = plan.write_hashed(sinks, writing)?;
                Ok(Built::of(&plan, digests))
            }
        }
    }
}

impl Streaming {
    fn write(self, sink: &dyn Sink, writing: &Writing<'_>) -> Result<Built, Error> {
        let (built, _) = self.write_laid_out(sink, writing)?;
        Ok(built)
    }

    /// Writes the image, and gives what it turned out to be.
    pub(super) fn write_laid_out(
        self,
        sink: &dyn Sink,
        writing: &Writing<'_>,
    ) -> Result<(Built, Layout), Error> {
        let Self {
            settings,
            geometry,
            allocator,
            wanted,
            cancel,
            ..
        } = self;
        let session = WriteSession::new(&settings, &geometry, sink, writing)?;
        let (found, used) = thread::scope(|scope| {
            let mut store = Placing {
                allocator,
                data_writer: session.data_writer(scope),
                most_inline: most_content_bytes(&settings),
                released: Arc::default(),
                failure: None,
            };
            let found = wanted.find(&settings, Contents::Stream(&mut store), &cancel);
            (found, store.finish())
        });
        if writing.cancel.load(Ordering::Relaxed) {
            return Err(EmitError::Cancelled.into());
        }
        let used = used?;
        let Found { tree, warnings } = found?;
        let layout = Layout::new(&settings, geometry, &tree)?;
        let digests = session.finish(&layout, &tree, &used)?;
        let mut warnings = warnings;
        warnings.extend(Warning::of_layout(&settings, &layout));
        let built = Built {
            summary: Summary {
                fs_verity: FileDigest::all(&digests, &layout, &tree),
                ..Summary::new(&settings, &layout, &tree)
            },
            settings,
            geometry: layout.geometry.clone(),
            warnings,
        };
        Ok((built, layout))
    }
}

/// Writes each content to its final place.
struct Placing<'a> {
    allocator: DataAllocator,
    data_writer: DataWriter<'a>,
    /// What an inode may hold is kept in memory until it is known whether it does.
    most_inline: u64,
    released: Arc<Mutex<Vec<DataPlace>>>,
    /// Why a content could not be kept. What the source makes of that is of no interest.
    failure: Option<Error>,
}

impl Placing<'_> {
    /// The blocks that ever held a content, once all of them are written.
    fn finish(mut self) -> Result<Vec<Run>, Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.release();
        self.data_writer.finish()?;
        Ok(self.allocator.ever_used())
    }

    /// Takes back the places of contents that were replaced.
    fn release(&mut self) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        for place in released.drain(..) {
            self.allocator.release(&place);
        }
    }

    /// Writes `content` to its final place.
    fn place(&mut self, content: &mut Content, bytes: &mut dyn Read) -> Result<(), StreamError> {
        self.release();
        let place = self.allocator.place(content).map_err(Error::from)?;
        self.data_writer.write(content, place.runs(), bytes)?;
        content.source = Arc::new(Placed {
            place,
            released: Arc::clone(&self.released),
        });
        Ok(())
    }

    fn keep_or_fail(
        &mut self,
        content: &mut Content,
        bytes: &mut dyn Read,
    ) -> Result<(), StreamError> {
        content.check().map_err(|error| {
            StreamError::Read(io::Error::new(io::ErrorKind::InvalidData, error))
        })?;
        if content.data_ranges().next().is_none() {
            return Ok(());
        }
        if content.size_bytes > self.most_inline {
            return self.place(content, bytes);
        }
        content.source = Content::from_bytes(read_whole(content, bytes)?).source;
        Ok(())
    }
}

/// All bytes of `content`, which an inode may hold.
fn read_whole(content: &Content, bytes: &mut dyn Read) -> Result<Vec<u8>, StreamError> {
    let place = |at: u64| usize::try_from(at).expect("an inode's content fits memory");
    let mut whole = vec![0; place(content.size_bytes)];
    for range in content.data_ranges() {
        let wanted = &mut whole[place(range.start)..place(range.end)];
        bytes.read_exact(wanted).map_err(StreamError::Read)?;
    }
    Ok(whole)
}

/// Why a content was not kept.
enum StreamError {
    /// It cannot be read: the source knows what to say of that.
    Read(io::Error),
    Kept(Error),
}

impl From<Error> for StreamError {
    fn from(error: Error) -> Self {
        Self::Kept(error)
    }
}

impl From<DataWriteError> for StreamError {
    fn from(error: DataWriteError) -> Self {
        match error {
            DataWriteError::Read(error) => Self::Read(error),
            DataWriteError::Write(error) => Self::Kept(error.into()),
        }
    }
}

impl ContentStore for Placing<'_> {
    fn check(&mut self) -> io::Result<()> {
        self.data_writer.check()
    }

    fn keep(
        &mut self,
        size_bytes: u64,
        data: DataMap,
        bytes: &mut dyn Read,
    ) -> io::Result<Content> {
        let mut content = Content {
            size_bytes,
            data,
            ..Content::from_bytes(*b"")
        };
        match self.keep_or_fail(&mut content, bytes) {
            Ok(()) => Ok(content),
            Err(StreamError::Read(error)) => Err(error),
            Err(StreamError::Kept(error)) => {
                let text = error.to_string();
                self.failure = Some(error);
                Err(io::Error::other(text))
            }
        }
    }
}

/// A content in its place. Once nobody has it any more, the place is free again.
struct Placed {
    place: DataPlace,
    released: Arc<Mutex<Vec<DataPlace>>>,
}

impl ContentSource for Placed {
    fn open(&self, _key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        Err(io::Error::other("the content was written as it arrived"))
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        b"content that was written as it arrived".to_vec()
    }

    fn placed(&self, _key: ContentKey) -> Option<&[Run]> {
        Some(self.place.runs())
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        released.push(std::mem::take(&mut self.place));
    }
}
