//! Given options and sources, builds an image in any sink; never prints.

use std::fmt;

use crate::emit::{Writing, emit};
use crate::error::Error;
use crate::geometry::Geometry;
use crate::layout::{Layout, LayoutWarning};
use crate::options::{self, Host, Options, Settings};
use crate::plan::{self, Fit};
use crate::sink::Sink;
use crate::source::{self, Source};
use crate::summary::Summary;
use crate::tree::{Metadata, NodeId, Tree};

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
        let mut notices = Vec::new();
        let mut tree = Tree::new(Metadata::default());
        let mut root = None;
        for (number, source) in self.sources.iter_mut().enumerate() {
            if number > 0 {
                tree.overlay()?;
            }
            let declared = source.declare(&mut tree, NodeId::ROOT)?;
            root = declared.root.or(root);
            notices.extend(declared.notices.into_iter().map(Notice::Source));
        }
        tree.finish()?;
        let mut set_root = |tree: &mut Tree, settings: &Settings| {
            let made = plan::made_root(settings);
            let kept = root.take().filter(|_| self.keep_root);
            tree.set_metadata(NodeId::ROOT, kept.unwrap_or(made));
        };
        let (settled, layout) = match self.fit {
            Some(fit) => {
                // No size changes the root directory's owner, which a quota file counts.
                let probed = plan::probe(&self.options, &self.host, &tree)?;
                set_root(&mut tree, &probed);
                let planned = plan::fit(&self.options, &self.host, &tree, fit)?;
                (planned.settled, planned.layout)
            }
            None => {
                let settled = plan::settle(&self.options, &self.host, &tree)?;
                set_root(&mut tree, &settled.settings);
                let geometry = Geometry::new(&settled.settings)?;
                let layout = Layout::new(&settled.settings, geometry, &tree)?;
                (settled, layout)
            }
        };
        notices.extend(settled.notices.into_iter().map(Notice::Options));
        if layout.geometry.too_small_for_journal {
            notices.push(Notice::TooSmallForJournal);
        }
        notices.extend(layout.warnings.iter().cloned().map(Notice::Layout));
        Ok(Plan {
            settings: settled.settings,
            tree,
            layout,
            notices,
        })
    }
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
