//! Given a source whose files are looked at one by one, writes what they hold in passing, where it will
//! most likely lie; never lets the image depend on that.
//!
//! A file is then opened once and not twice, which is most of what a short one costs. The layout of the
//! finished tree is what it would have been, and says which contents are in their places: the others
//! are read again. What is there for nothing is cleared.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::stream::Built;
use super::{Builder, Contents, Decided, Found, Known, Sparse, Wanted, end_bytes, known};
use crate::cancel::Cancel;
use crate::emit::{self, Begun, EmitError, Writing};
use crate::error::Error;
use crate::geometry::Geometry;
use crate::layout::Arrivals;
use crate::options::{Environment, Options, Resolved, Settings};
use crate::sink::Sink;
use crate::source::EarlyContents;
use crate::summary::Summary;
use crate::tree::Content;
use crate::warning::Warning;

/// An image whose settings are known but for the number of inodes, and whose tree is still to come.
pub(super) struct Early {
    options: Options,
    host: Environment,
    pub(super) settings: Settings,
    pub(super) geometry: Geometry,
    arrivals: Arrivals,
    /// How many bytes the sink must hold at most.
    pub(super) size_bytes: u64,
    pub(super) warnings: Vec<Warning>,
    wanted: Wanted,
    /// What was asked to stop before anything was written.
    cancel: Cancel,
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Early")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Early {
    /// Whether `builder` may be asked for an image in this way: whether where contents lie can be
    /// guessed before the tree is known.
    pub(super) fn suits(builder: &Builder) -> bool {
        let [source] = &builder.wanted.sources[..] else {
            return false;
        };
        builder.early
            && builder.fit.is_none()
            && builder.sparse == Sparse::Auto
            && source.is_early()
    }

    /// The image that `builder` makes; the builder again where it cannot be guessed what that is.
    pub(super) fn new(builder: Builder) -> Result<Result<Self, Builder>, Error> {
        let environment = builder.world();
        let small = builder.options.resolve(&environment)?;
        if !Arrivals::foretell(&small.settings) || small.settings.journal_device.is_some() {
            return Ok(Err(builder));
        }
        // What is wrong with it says whoever knows what it is to hold.
        let Ok(small_geometry) = Geometry::new(&small.settings) else {
            return Ok(Err(builder));
        };
        let mut size_bytes = most_bytes(&small.settings, &small_geometry);
        let mut guess = (small, small_geometry);
        if let Some(large) = large(&builder, &environment) {
            size_bytes = size_bytes.max(most_bytes(&large.0.settings, &large.1));
            guess = large;
        }
        let (resolved, geometry) = guess;
        let Ok(arrivals) = Arrivals::new(&resolved.settings, &geometry) else {
            return Ok(Err(builder));
        };
        let warnings = resolved.warnings.into_iter().map(Warning::Options);
        Ok(Ok(Self {
            options: builder.options,
            host: environment,
            settings: resolved.settings,
            geometry,
            arrivals,
            size_bytes,
            warnings: warnings.collect(),
            wanted: builder.wanted,
            cancel: builder.run.cancel,
        }))
    }

    pub(super) fn write(self, sink: &dyn Sink, writing: &Writing<'_>) -> Result<Built, Error> {
        let begun = Begun::new(&self.settings, &self.geometry, sink, writing)?;
        let mut guess = Guess {
            begun: &begun,
            block_bytes: self.geometry.block_size.bytes_usize(),
            arrivals: Some(self.arrivals),
            in_place: emit::Early::default(),
            cancel: writing.cancel,
            failure: None,
        };
        let found = self
            .wanted
            .find(&self.settings, Contents::Early(&mut guess), &self.cancel);
        let Guess {
            in_place, failure, ..
        } = guess;
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        let Found {
            mut tree,
            mut warnings,
        } = found?;
        let known = Known {
            options: &self.options,
            host: &self.host,
            sparse: Sparse::Auto,
            cancel: writing.cancel,
        };
        let Decided {
            resolved,
            layout,
            remark,
        } = known.decide(&mut tree)?;
        let (was, is) = (&self.settings, &resolved.settings);
        if (is.inodes_count, is.block_size) == (was.inodes_count, was.block_size) {
            begun.finish(&layout, &tree, in_place)?
        } else {
            // More inodes than was thought move everything, and so do other blocks.
            let begun = Begun::new(is, &layout.geometry, sink, writing)?;
            begun.finish(
                &layout,
                &tree,
                in_place.moved(was.block_size, is.block_size),
            )?;
        }
        warnings.extend(remark);
        warnings.extend(Warning::of_layout(&resolved.settings, &layout));
        Ok(Built {
            summary: Summary::new(&resolved.settings, &layout, &tree),
            settings: resolved.settings,
            geometry: layout.geometry,
            warnings,
        })
    }
}

/// What large blocks make of the filesystem, where they are wished for and it can have them.
fn large(builder: &Builder, host: &Environment) -> Option<(Resolved, Geometry)> {
    let options = builder.options.with_large_blocks(host)?;
    let resolved = options.resolve(host).ok()?;
    let geometry = Geometry::new(&resolved.settings).ok()?;
    let loses_journal = known::loses_journal(&geometry, &builder.options, host);
    (!loses_journal).then_some((resolved, geometry))
}

/// How many bytes a sink must hold at most: with more inodes than the settings ask for, a group at the end
/// may be worth having that was not, or the other way round.
fn most_bytes(settings: &Settings, geometry: &Geometry) -> u64 {
    let asked = settings.blocks_count * geometry.block_size.bytes_u64();
    end_bytes(settings, geometry).max(settings.offset_bytes + asked)
}

/// Writes contents where they would lie if nothing but contents were to come.
struct Guess<'a> {
    begun: &'a Begun<'a>,
    block_bytes: usize,
    /// None once room or inodes are short: what comes of that the layout will say.
    arrivals: Option<Arrivals>,
    in_place: emit::Early,
    cancel: &'a AtomicBool,
    /// Why nothing more is taken. What the source makes of that is of no interest.
    failure: Option<EmitError>,
}

impl Guess<'_> {
    fn fail<T>(&mut self, failure: EmitError) -> io::Result<T> {
        let text = failure.to_string();
        self.failure = Some(failure);
        Err(io::Error::other(text))
    }
}

impl EarlyContents for Guess<'_> {
    fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    fn check(&mut self) -> io::Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            self.fail(EmitError::Cancelled)
        } else {
            Ok(())
        }
    }

    fn takes_more(&self) -> bool {
        self.arrivals.is_some()
    }

    fn place(&mut self, content: &Content, is_read: bool) -> io::Result<Option<u64>> {
        let Some(arrivals) = &mut self.arrivals else {
            return Ok(None);
        };
        if content.data_ranges().next().is_none() {
            return Ok(None);
        }
        let place = arrivals.place(content).ok();
        let Some(place) = place.filter(|_| arrivals.may_be_plenty()) else {
            self.arrivals = None;
            return Ok(None);
        };
        Ok(match place.runs() {
            [run] if is_read && self.in_place.note(content, *run) => {
                Some(self.begun.offset(run.start))
            }
            _ => None,
        })
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        match self.begun.write(offset, bytes) {
            Ok(()) => Ok(()),
            Err(failure) => self.fail(failure),
        }
    }
}
