//! Given options and sources, builds an image in any sink; never prints.

mod stream;

use std::fmt;

use crate::emit::{Writing, emit};
use crate::error::Error;
use crate::geometry::Geometry;
use crate::layout::{Layout, LayoutWarning};
use crate::options::{self, Host, Options, Settings};
use crate::plan::{self, Fit};
use crate::sink::Sink;
use crate::source::{self, ContentStore, Source};
use crate::summary::Summary;
use crate::tree::{Metadata, NodeId, Tree};

pub use stream::{Built, Ready};

/// Collects options and sources for an image.
pub struct Builder {
    options: Options,
    host: Host,
    sources: Vec<Box<dyn Source>>,
    fit: Option<Fit>,
    keep_root: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}

/// Something a person may want to know and that stops nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// Of the options.
    Options(options::Notice),
    /// Of a source.
    Source(source::Notice),
    /// Of what the format could not keep.
    Layout(LayoutWarning),
    /// The filesystem is too small for the journal it was to have.
    TooSmallForJournal,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(notice) => notice.fmt(f),
            Self::Source(notice) => notice.fmt(f),
            Self::Layout(warning) => warning.fmt(f),
            Self::TooSmallForJournal => {
                f.write_str("the filesystem is too small for a journal and has none")
            }
        }
    }
}

/// An image decided to the last block, and not yet written.
#[derive(Debug)]
pub struct Plan {
    /// What is asked of it.
    pub settings: Settings,
    /// What it contains.
    pub tree: Tree,
    /// Where everything is.
    pub layout: Layout,
    /// What a person may want to know.
    pub notices: Vec<Notice>,
}

impl Builder {
    /// An image of `options` on `host`.
    pub fn new(options: Options, host: Host) -> Self {
        Self {
            options,
            host,
            sources: Vec::new(),
            fit: None,
            keep_root: false,
        }
    }

    /// Adds what `source` holds, over what the sources before it hold: a directory in the place of one
    /// is merged with it, and all else replaces what has its name.
    #[must_use]
    pub fn source(mut self, source: impl Source + 'static) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// Takes mode, owner and times of the root directory from the last source that has them. mke2fs
    /// makes them itself, since a staging directory's are often of no use.
    #[must_use]
    pub fn keep_root(mut self, keep: bool) -> Self {
        self.keep_root = keep;
        self
    }

    /// Makes the image as large as its content needs, whatever size the options ask for.
    #[must_use]
    pub fn fit(mut self, fit: Fit) -> Self {
        self.fit = Some(fit);
        self
    }

    /// Reads the sources and decides every block. Nothing is written.
    ///
    /// # Errors
    /// Where options contradict each other, a source cannot be read, or the content does not fit.
    pub fn plan(mut self) -> Result<Plan, Error> {
        let mut found = declare(&mut self.sources, None)?;
        let mut notices = std::mem::take(&mut found.notices);
        let (settled, layout) = match self.fit {
            Some(fit) => {
                // No size changes the root directory's owner, which a quota file counts.
                let probed = plan::probe(&self.options, &self.host, &found.tree)?;
                found.set_root(&probed, self.keep_root);
                let planned = plan::fit(&self.options, &self.host, &found.tree, fit)?;
                (planned.settled, planned.layout)
            }
            None => {
                let settled = plan::settle(&self.options, &self.host, &found.tree)?;
                found.set_root(&settled.settings, self.keep_root);
                let geometry = Geometry::new(&settled.settings)?;
                let layout = Layout::new(&settled.settings, geometry, &found.tree)?;
                (settled, layout)
            }
        };
        notices.extend(settled.notices.into_iter().map(Notice::Options));
        notices.extend(of_layout(&layout));
        Ok(Plan {
            settings: settled.settings,
            tree: found.tree,
            layout,
            notices,
        })
    }

    /// Decides all that can be decided before the first byte is written: every block, unless a source
    /// is a stream and the size is known. Then what arrives is written at once, and the rest decided
    /// behind it.
    ///
    /// # Errors
    /// As those of [`Builder::plan`]; of a stream's content, [`Ready::write`] tells.
    pub fn ready(self) -> Result<Ready, Error> {
        let streams = self.sources.iter().any(|source| source.is_stream());
        if self.fit.is_some() || !streams {
            return self.plan().map(Ready::planned);
        }
        Ready::streaming(self)
    }

    /// Makes the image in `sink`, which holds as many bytes as the options say.
    ///
    /// # Errors
    /// As those of [`Builder::ready`] and [`Ready::write`].
    pub fn build(self, sink: &dyn Sink, writing: &Writing<'_>) -> Result<Built, Error> {
        self.ready()?.write(sink, writing)
    }
}

/// What sources declared.
struct Found {
    tree: Tree,
    root: Option<Metadata>,
    notices: Vec<Notice>,
}

impl Found {
    /// Gives the root directory its own metadata, or that of the source.
    fn set_root(&mut self, settings: &Settings, keep_root: bool) {
        let made = plan::made_root(settings);
        let kept = self.root.filter(|_| keep_root);
        self.tree.set_metadata(NodeId::ROOT, kept.unwrap_or(made));
    }
}

/// Asks every source for what it holds, one over the other. Contents of streams go to `store`, if
/// there is one.
fn declare(
    sources: &mut [Box<dyn Source>],
    mut store: Option<&mut dyn ContentStore>,
) -> Result<Found, Error> {
    let mut found = Found {
        tree: Tree::new(Metadata::default()),
        root: None,
        notices: Vec::new(),
    };
    for (number, source) in sources.iter_mut().enumerate() {
        if number > 0 {
            found.tree.overlay()?;
        }
        let (tree, root) = (&mut found.tree, NodeId::ROOT);
        let declared = match &mut store {
            Some(store) if source.is_stream() => source.declare_stream(tree, root, *store)?,
            _ => source.declare(tree, root)?,
        };
        found.root = declared.root.or(found.root);
        let notices = declared.notices.into_iter();
        found.notices.extend(notices.map(Notice::Source));
    }
    found.tree.finish()?;
    Ok(found)
}

/// What a person may want to know of `layout`.
fn of_layout(layout: &Layout) -> Vec<Notice> {
    let no_journal = layout.geometry.too_small_for_journal;
    let no_journal = no_journal.then_some(Notice::TooSmallForJournal);
    let warnings = layout.warnings.iter().cloned().map(Notice::Layout);
    no_journal.into_iter().chain(warnings).collect()
}

impl Plan {
    /// How many bytes a sink must hold.
    pub fn size_bytes(&self) -> u64 {
        let geometry = &self.layout.geometry;
        self.settings.offset_bytes + geometry.blocks_count * geometry.block_size.bytes_u64()
    }

    /// What the image is.
    pub fn summary(&self) -> Summary {
        Summary::new(&self.settings, &self.layout, &self.tree)
    }

    /// Writes the image to `sink`.
    ///
    /// # Errors
    /// Where `sink` is too small or fails, content cannot be read or changed since it was declared,
    /// or `writing` is cancelled. The sink then holds no superblock.
    pub fn write(&self, sink: &dyn Sink, writing: &Writing<'_>) -> Result<(), Error> {
        emit(&self.settings, &self.layout, &self.tree, sink, writing)?;
        Ok(())
    }
}
