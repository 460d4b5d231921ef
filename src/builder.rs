//! Given options and sources, builds an image in any sink; never prints.

mod early;
mod known;
mod sparse;
mod stream;

use std::fmt;

use crate::cancel::Cancel;
use crate::emit::{EmitError, Sinks, Writing, emit_to};
use crate::error::Error;
use crate::geometry::Geometry;
use crate::layout::{Layout, LayoutWarning};
use crate::options::{self, Environment, Options, Settings};
use crate::plan::{self, Fit};
use crate::sink::{ImageRange, Sink};
use crate::source::rules::{self, OwnerRules, Rule, XattrFilter};
use crate::source::{self, ContentStore, EarlyContents, Source};
use crate::summary::Summary;
use crate::tree::{Metadata, NodeId, Tree, Xattr};
use crate::units::Timestamp;

use early::Early;
pub use known::NoLargeBlocks;
use known::{Decided, Known};
pub use sparse::Sparse;
pub use stream::{Built, Ready};

/// Collects options and sources for an image.
pub struct Builder {
    options: Options,
    host: Environment,
    wanted: Wanted,
    fit: Option<Fit>,
    sparse: Sparse,
    early: bool,
    cancel: Cancel,
}

/// What the tree shall hold.
#[derive(Default)]
struct Wanted {
    sources: Vec<Box<dyn Source>>,
    rules: Vec<Rule>,
    keep_root: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("sources", &self.wanted.sources.len())
            .finish_non_exhaustive()
    }
}

/// How long an orphan file Linux mounts, in blocks (`EXT4_MAX_ORPHAN_FILE_BLOCKS`): as long as
/// mke2fs makes it unless it is told otherwise.
const MOST_ORPHAN_BLOCKS: u64 = 512;

/// Something a person may want to know and that stops nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Of the options.
    Options(options::SettingsWarning),
    /// Of a source.
    Source(source::SourceWarning),
    /// Of what the format could not keep.
    Layout(LayoutWarning),
    /// The filesystem is too small for the journal it was to have.
    TooSmallForJournal,
    /// The orphan file has more blocks than Linux takes since 6.18, 512.
    LongOrphanFile {
        /// How many it has.
        blocks: u64,
    },
    /// Blocks are smaller than [is wished for](Options::large_blocks).
    SmallBlocks {
        /// Their size in bytes.
        block_size: u32,
        /// Why.
        why: NoLargeBlocks,
    },
}

impl Warning {
    /// Whether it warns of something, rather than tell a choice that was made.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Options(warning) => warning.is_warning(),
            Self::SmallBlocks { .. } => false,
            _ => true,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(warning) => warning.fmt(f),
            Self::Source(warning) => warning.fmt(f),
            Self::Layout(warning) => warning.fmt(f),
            Self::TooSmallForJournal => {
                f.write_str("the filesystem is too small for a journal and has none")
            }
            Self::LongOrphanFile { blocks } => write!(
                f,
                "the orphan file has {blocks} blocks; Linux from 6.18 on mounts none with more than \
                 {MOST_ORPHAN_BLOCKS}"
            ),
            Self::SmallBlocks { block_size, why } => {
                let kibibytes = block_size / 1024;
                let why = match why {
                    NoLargeBlocks::Content => "the content does not fit",
                    NoLargeBlocks::Journal => "there is no room for a journal",
                };
                write!(
                    f,
                    "block size is {kibibytes} KiB: with blocks of 4 KiB {why}"
                )
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
    pub warnings: Vec<Warning>,
}

impl Builder {
    /// An image of `options` on `host`.
    pub fn new(options: Options, host: Environment) -> Self {
        Self {
            options,
            host,
            wanted: Wanted::default(),
            fit: None,
            sparse: Sparse::default(),
            early: false,
            cancel: Cancel::new(),
        }
    }

    /// Adds what `source` holds, over what the sources before it hold: a directory in the place of one
    /// is merged with it, and all else replaces what has its name.
    #[must_use]
    pub fn source(self, source: impl Source + 'static) -> Self {
        self.boxed_source(Box::new(source))
    }

    /// Adds a source as [`source`](Self::source) does.
    #[must_use]
    pub(crate) fn boxed_source(mut self, source: Box<dyn Source>) -> Self {
        self.wanted.sources.push(source);
        self
    }

    /// Takes mode, owner and times of the root directory from the last source that has them, but for
    /// an owner or permissions that the options state. mke2fs makes them itself, since a staging
    /// directory's are often of no use.
    #[must_use]
    pub fn keep_root(mut self, keep: bool) -> Self {
        self.wanted.keep_root = keep;
        self
    }

    /// Adds a rule for the files of all sources and the root directory, to be followed after those
    /// that were added before. Where the host has a [`latest_time`](Environment::latest_time), that is the
    /// first rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.wanted.rules.push(rule);
        self
    }

    /// Makes the image as large as its content needs, whatever size the options ask for.
    #[must_use]
    pub fn fit(mut self, fit: Fit) -> Self {
        self.fit = Some(fit);
        self
    }

    /// Says which blocks of zeros become holes; [`Sparse::Auto`] unless told otherwise.
    ///
    /// ```
    /// use mke4fs::options::{Environment, Options};
    /// use mke4fs::source::{Declared, Source, SourceError};
    /// use mke4fs::tree::{Content, Metadata, NodeId, Tree};
    /// use mke4fs::{Builder, Fit, Sparse};
    ///
    /// struct Zeros;
    ///
    /// impl Source for Zeros {
    ///     fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
    ///         tree.file(at, b"zeros", Metadata::default(), Content::from_bytes(vec![0; 1 << 20]))?;
    ///         Ok(Declared::default())
    ///     }
    /// }
    ///
    /// let size = |sparse| {
    ///     let builder = Builder::new(Options::new(), Environment::fixed(0)).source(Zeros);
    ///     let plan = builder.fit(Fit::Minimum).sparse(sparse).plan()?;
    ///     Ok::<u64, mke4fs::Error>(plan.size_bytes())
    /// };
    /// assert!(size(Sparse::Always)? < size(Sparse::Auto)?);
    /// # Ok::<(), mke4fs::Error>(())
    /// ```
    #[must_use]
    pub fn sparse(mut self, sparse: Sparse) -> Self {
        self.sparse = sparse;
        self
    }

    /// Lets [`ready`](Self::ready) write what files hold while it is still being found out what there
    /// is, if that makes no other image: each file is then opened once. What is wrong with the source
    /// may show only after the first byte was written, so this is for a sink that holds nothing.
    #[must_use]
    pub fn early(mut self, early: bool) -> Self {
        self.early = early;
        self
    }

    /// Hears of a wish to stop: once it is there, [`plan`](Self::plan) and [`ready`](Self::ready) soon end
    /// with an error that [`is_cancelled`](Error::is_cancelled), wherever they are but in a system call
    /// that waits for somebody else. [`Writing::cancel`] is for what is written then.
    ///
    /// ```
    /// use mke4fs::Builder;
    /// use mke4fs::cancel::Cancel;
    /// use mke4fs::options::{Environment, Options};
    /// use mke4fs::source::dir::Directory;
    ///
    /// let cancel = Cancel::new();
    /// let builder = Builder::new(Options::new(), Environment::fixed(0))
    ///     .source(Directory::new("src"))
    ///     .fit(mke4fs::Fit::Auto)
    ///     .cancel(&cancel);
    /// cancel.cancel();
    /// assert!(builder.plan().is_err_and(|error| error.is_cancelled()));
    /// ```
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Reads the sources and decides every block. Nothing is written.
    ///
    /// # Errors
    /// Where options contradict each other, a source cannot be read, or the content does not fit.
    pub fn plan(self) -> Result<Plan, Error> {
        let settings = self.settings_before_content()?;
        let Found {
            mut tree,
            mut warnings,
        } = self.wanted.find(&settings, Contents::Later, &self.cancel)?;
        let cancel = self.cancel.flag();
        sparse::apply(self.sparse, &mut tree, &settings, cancel)?;
        let (resolved, layout) = match self.fit {
            Some(fit) => {
                let planned = plan::fit(&self.options, &self.host, &tree, fit)?;
                (planned.resolved, planned.layout)
            }
            None => {
                let known = Known {
                    options: &self.options,
                    host: &self.host,
                    sparse: self.sparse,
                    cancel,
                };
                let decided = known.decide(&mut tree)?;
                warnings.extend(decided.remark);
                (decided.resolved, decided.layout)
            }
        };
        self.cancel.check().map_err(|_| EmitError::Cancelled)?;
        warnings.extend(resolved.warnings.into_iter().map(Warning::Options));
        warnings.extend(of_layout(&layout));
        Ok(Plan {
            settings: resolved.settings,
            tree,
            layout,
            warnings,
        })
    }

    /// The settings as far as no content changes them: no size changes the root directory's owner.
    fn settings_before_content(&self) -> Result<Settings, Error> {
        match self.fit {
            Some(_) => {
                let options = plan::fitting(&self.options);
                plan::probe(&options, &self.host, &Tree::new(Metadata::default()))
            }
            None => Ok(self.options.resolve(&self.host)?.settings),
        }
    }

    /// Decides all that can be decided before the first byte is written: every block, unless the size is
    /// known, a source is a stream and holes are [`Sparse::Auto`], or contents may be written
    /// [`early`](Self::early). Then what is there is written at once, and the rest decided behind it. Where
    /// blocks are as large as the content [allows](Options::large_blocks), a stream is kept.
    ///
    /// # Errors
    /// As those of [`Builder::plan`]; of what is read later, [`Ready::write`] tells.
    pub fn ready(self) -> Result<Ready, Error> {
        let streams = self.wanted.sources.iter().any(|source| source.is_stream());
        if Early::suits(&self) {
            return match Early::new(self)? {
                Ok(early) => Ok(Ready::early(early)),
                Err(builder) => builder.plan().map(Ready::planned),
            };
        }
        let is_open = self.fit.is_some() || self.options.with_large_blocks(&self.host).is_some();
        if is_open || !streams || self.sparse != Sparse::Auto {
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

/// What sources declared and rules made of it.
struct Found {
    tree: Tree,
    warnings: Vec<Warning>,
}

/// What becomes of contents while the tree is declared.
enum Contents<'a> {
    /// They are read later.
    Later,
    /// Those of streams are kept.
    Stream(&'a mut dyn ContentStore),
    /// They are handed over, if that is easy.
    Early(&'a mut dyn EarlyContents),
}

impl Wanted {
    /// Asks every source for what it holds, one over the other, and follows the rules.
    fn find(
        self,
        settings: &Settings,
        contents: Contents<'_>,
        cancel: &Cancel,
    ) -> Result<Found, Error> {
        let found = self.find_all(settings, contents, cancel);
        // Whatever a source makes of it.
        cancel.check().map_err(|_| EmitError::Cancelled)?;
        found
    }

    fn find_all(
        self,
        settings: &Settings,
        mut contents: Contents<'_>,
        cancel: &Cancel,
    ) -> Result<Found, Error> {
        let latest = settings.latest_time.map(Timestamp::from_seconds);
        let latest = latest.map(Rule::LatestTime).into_iter();
        let rules: Vec<Rule> = latest.chain(self.rules).collect();
        let kept_xattrs = XattrFilter::of(&rules);
        let owners = OwnerRules::of(&rules);
        let mut tree = Tree::new(Metadata::default());
        let mut root = None;
        let mut warnings = Vec::new();
        for (number, mut source) in self.sources.into_iter().enumerate() {
            if number > 0 {
                tree.overlay()?;
            }
            source.filter_xattrs(&kept_xattrs);
            source.replace_owners(&owners);
            source.heed(cancel);
            let declared = match &mut contents {
                Contents::Stream(store) if source.is_stream() => {
                    source.declare_stream(&mut tree, NodeId::ROOT, *store)?
                }
                Contents::Early(early) => source.declare_early(&mut tree, NodeId::ROOT, *early)?,
                _ => source.declare(&mut tree, NodeId::ROOT)?,
            };
            root = declared.root.or(root);
            warnings.extend(declared.warnings);
        }
        let kept = root.filter(|_| self.keep_root);
        tree.set_metadata(NodeId::ROOT, plan::root(settings, kept));
        let now = Timestamp::from_seconds(settings.clock);
        warnings.extend(rules::apply(&rules, &mut tree, now)?);
        if let Some(context) = &settings.root_selinux {
            label_root(&mut tree, context);
        }
        tree.finish()?;
        Ok(Found {
            tree,
            warnings: warnings.into_iter().map(Warning::Source).collect(),
        })
    }
}

/// Where an image ends in its sink, in bytes.
fn end_bytes(settings: &Settings, geometry: &Geometry) -> u64 {
    settings.offset_bytes + geometry.blocks_count * geometry.block_size.bytes_u64()
}

/// What a person may want to know of `layout`.
fn of_layout(layout: &Layout) -> Vec<Warning> {
    let no_journal = layout.geometry.too_small_for_journal;
    let no_journal = no_journal.then_some(Warning::TooSmallForJournal);
    let orphan_blocks = layout.geometry.orphan_file_blocks;
    let long_orphan_file = orphan_blocks
        .filter(|blocks| *blocks > MOST_ORPHAN_BLOCKS)
        .map(|blocks| Warning::LongOrphanFile { blocks });
    let warnings = layout.warnings.iter().cloned().map(Warning::Layout);
    let of_system = no_journal.into_iter().chain(long_orphan_file);
    of_system.chain(warnings).collect()
}

/// Gives the root directory the SELinux context, in the form in which the kernel stores one: with a
/// NUL at its end.
fn label_root(tree: &mut Tree, context: &str) {
    const NAME: &[u8] = b"security.selinux";
    let own = tree.xattrs(tree.node(NodeId::ROOT).xattrs).iter();
    let mut xattrs: Vec<Xattr> = own.filter(|xattr| xattr.name != NAME).cloned().collect();
    let mut value = context.as_bytes().to_vec();
    value.push(0);
    xattrs.push(Xattr {
        name: NAME.to_vec(),
        value,
    });
    let set = tree.xattr_set(xattrs);
    tree.set_xattrs(NodeId::ROOT, set);
}

impl Plan {
    /// The bytes of an output that are the image's own, for [`Output::begin`](crate::sink::Output::begin).
    pub fn range(&self) -> ImageRange {
        ImageRange::new(self.settings.offset_bytes..self.size_bytes())
    }

    /// How many bytes a sink must hold: those before the image as well, where it has an offset.
    pub fn size_bytes(&self) -> u64 {
        end_bytes(&self.settings, &self.layout.geometry)
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
        let sinks = Sinks {
            image: sink,
            journal: None,
        };
        self.write_to(sinks, writing)
    }

    /// Writes the image, and lists it on the device of its journal.
    ///
    /// # Errors
    /// As those of [`write`](Self::write); and where the journal is not the one looked at.
    pub fn write_to(&self, sinks: Sinks<'_>, writing: &Writing<'_>) -> Result<(), Error> {
        emit_to(&self.settings, &self.layout, &self.tree, sinks, writing)?;
        Ok(())
    }
}
