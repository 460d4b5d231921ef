//! Given options and sources, builds an image in any sink; never prints.

mod based;
mod ends;
mod forms;
mod known;
mod reproducible;
mod run;
mod sparse;
mod stream;
mod update;

use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::base::{Base, BaseFile};
use crate::cancel::Cancel;
pub use crate::emit::Reflink;
use crate::emit::{EmitError, Sinks, Writing, emit_to};
use crate::error::{Error, Kind};
use crate::geometry::Geometry;
use crate::layout::{Layout, LayoutError, Matched};
use crate::options::{Environment, NoFiles, Options, Settings, Size, TargetKind};
use crate::plan::{self, Fit, Sought};
use crate::sink::{Based, Format, ImageRange, OldImage, Sink};
use crate::source::rules::{self, IdMap, IdMapError, IdRange, OwnerRules, Rule, XattrFilter};
use crate::source::{ContentStore, Source};
use crate::summary::{FileDigest, Summary};
use crate::tree::{Metadata, NodeId, Tree, Xattr};
use crate::units::Timestamp;
use crate::warning::Warning;

#[cfg(feature = "cli")]
pub(crate) use based::inherit;
#[cfg(feature = "cli")]
pub(crate) use forms::{Beside, Form, Formed};
use known::Known;
pub use run::Progress;
use run::Run;
use sparse::Reading;
pub use sparse::Sparse;
pub use stream::{Built, PreparedImage};
#[cfg(feature = "cli")]
pub(crate) use update::{NO_FILE, base_of};

/// Collects options and sources for an image.
///
/// ```
/// let image = mke4fs::Builder::new().label("boot").size_bytes(16 << 20).to_vec()?;
/// assert_eq!(image.len(), 16 << 20);
/// # Ok::<(), mke4fs::Error>(())
/// ```
///
/// What is not asked for follows mke2fs's rules. Setters take any value; what is wrong with one says
/// whoever ends the building: [`write_file`](Self::write_file), [`to_vec`](Self::to_vec),
/// [`write_to`](Self::write_to), [`write_in_order`](Self::write_in_order) or [`plan`](Self::plan).
#[derive(Debug, Default)]
pub struct Builder {
    options: Options,
    environment: Option<Environment>,
    wanted: Wanted,
    fit: Option<Fit>,
    sparse: Sparse,
    format: Format,
    base: Option<Arc<Base>>,
    /// Whether the base is what the output holds.
    is_update: bool,
    /// Whether an update reads all files.
    compares_all: bool,
    run: Run,
}

/// What the tree shall hold.
#[derive(Default)]
struct Wanted {
    sources: Vec<Box<dyn Source>>,
    rules: Vec<Rule>,
    keep_root: bool,
    /// By what sources may tell that a file is unchanged.
    base: Option<Arc<Base>>,
    /// Whether only what the sources' owners say of times counts.
    is_reproducible: bool,
    /// What is wrong with a map of owners.
    refused: Option<IdMapError>,
}

/// An image decided to the last block, and not yet written. Nothing of it can be changed.
///
/// It may be written many times, and each time says so if what a source has is no longer what it was.
#[derive(Debug)]
pub struct Plan {
    pub(crate) settings: Settings,
    pub(crate) tree: Tree,
    pub(crate) layout: Box<Layout>,
    pub(crate) warnings: Vec<Warning>,
    format: Format,
    /// Whether there were sources.
    has_content: bool,
    /// What the output holds, if that is updated.
    base: Option<Arc<Base>>,
    /// What the image is based on, if it may share data with that.
    old: Option<BaseFile>,
    run: Run,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// An image of which nothing is asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An image of `options`.
    pub fn from_options(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Changes any option, those among them that have no method here.
    ///
    /// ```
    /// # use mke4fs::Builder;
    /// let builder = Builder::new().with(|options| options.stride(16).stripe_width(64));
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Options) -> &mut Options) -> Self {
        change(&mut self.options);
        self
    }

    /// The world in which the image is made: what the clock, chance and the environment say, and what the
    /// output is before. Unless one is given, it is [detected](Environment::detect).
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// The label: at most 16 bytes.
    #[must_use]
    pub fn label(self, label: impl Into<Vec<u8>>) -> Self {
        self.with(|options| options.label(label))
    }

    /// The UUID; a random one by default.
    #[must_use]
    pub fn uuid(self, uuid: [u8; 16]) -> Self {
        self.with(|options| options.uuid(uuid))
    }

    /// What names in directories are hashed with; random by default. With UUID and
    /// [`Environment::fixed`] given as well, equal input makes equal images.
    #[must_use]
    pub fn hash_seed(self, seed: [u8; 16]) -> Self {
        self.with(|options| options.hash_seed(seed))
    }

    /// Makes the image a function of the options and of what the sources hold, whoever makes it, where and when.
    ///
    /// A UUID that is not given follows from the label and the content, the hash seed from the UUID. The clock
    /// is `SOURCE_DATE_EPOCH`'s, or else the newest mtime. Atime and ctime become the mtime before other rules
    /// are followed; the name of the host and of the output, the page size and what a device reports do not
    /// show; and [`Sparse::Auto`] is [`Sparse::Always`], since filesystems do not agree on holes. So all data
    /// is read once before anything is written, and a stream is kept in a temporary file.
    ///
    /// ```
    /// use mke4fs::{Builder, Tree};
    ///
    /// let image = |text: &str| {
    ///     let mut tree = Tree::default();
    ///     tree.file("/motd", text)?;
    ///     Builder::new().reproducible().source(tree).size_bytes(1 << 20).to_vec()
    /// };
    /// assert_eq!(image("Welcome")?, image("Welcome")?);
    /// assert_ne!(image("Welcome")?[0x468..0x478], image("welcome")?[0x468..0x478], "the UUID");
    /// # Ok::<(), mke4fs::Error>(())
    /// ```
    #[must_use]
    pub fn reproducible(self) -> Self {
        self.with(|options| options.reproducible())
    }

    /// The size in bytes, rounded down to whole blocks.
    #[must_use]
    pub fn size_bytes(self, bytes: u64) -> Self {
        self.size(Size::Bytes(bytes))
    }

    /// The size, in any unit.
    #[must_use]
    pub fn size(self, size: Size) -> Self {
        self.with(|options| options.size(size))
    }

    /// The block size in bytes: a power of two from 1024 to 65536. One above the page size, which many kernels
    /// cannot mount, needs [`Options::force`] as well.
    #[must_use]
    pub fn block_size(self, bytes: u32) -> Self {
        self.with(|options| options.block_size(bytes))
    }

    /// Adds and leaves out features by name: `casefold,^has_journal`.
    #[must_use]
    pub fn features(self, text: impl Into<String>) -> Self {
        self.with(|options| options.features(text))
    }

    /// The type: `ext2`, `ext3` or `ext4`, or another that mke2fs.conf names.
    #[must_use]
    pub fn fs_type(self, name: impl Into<String>) -> Self {
        self.with(|options| options.fs_type(name))
    }

    /// The number of inodes.
    #[must_use]
    pub fn inodes(self, count: u64) -> Self {
        self.with(|options| options.inodes_count(count))
    }

    /// The share of the blocks that only root may fill, in percent: 0 to 50.
    #[must_use]
    pub fn reserved_percent(self, percent: f64) -> Self {
        self.with(|options| options.reserved_percent(percent))
    }

    /// Who owns the root directory.
    #[must_use]
    pub fn root_owner(self, uid: u32, gid: u32) -> Self {
        self.with(|options| options.root_owner(uid, gid))
    }

    /// Where in the output the image begins, in bytes, such as the start of a partition. No byte before it
    /// is touched.
    #[must_use]
    pub fn offset(self, bytes: u64) -> Self {
        self.with(|options| options.offset(bytes))
    }

    /// How many threads write; as many as there are processors by default. The image does not
    /// depend on it.
    #[must_use]
    pub fn threads(mut self, threads: NonZero<usize>) -> Self {
        self.run.threads = Some(threads);
        self
    }

    /// Whether to wait until all is on stable storage. A device is always waited for.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.run.sync = sync;
        self
    }

    /// Reports the progress of writing, from any thread, one at a time; at the end, `bytes` is the total.
    #[must_use]
    pub fn progress(mut self, tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.run.progress = Some(Arc::new(tell));
        self
    }

    /// Changes the owners from `ids.start` up to `ids.end` into as many from `to` on, users and groups alike,
    /// in ACLs and capabilities too.
    #[must_use]
    pub fn map_ids(mut self, ids: Range<u32>, to: u32) -> Self {
        let range = IdRange {
            from: ids.start,
            to,
            count: ids.end.saturating_sub(ids.start),
        };
        let mut map = IdMap::default();
        match map.add(range) {
            Ok(()) => self.rule(Rule::UidMap(map.clone())).rule(Rule::GidMap(map)),
            Err(error) => {
                self.wanted.refused = Some(error);
                self
            }
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
        if matches!(rule, Rule::FsVerity(_)) {
            self.options.features("verity");
        }
        self.wanted.rules.push(rule);
        self
    }

    /// Makes the image as large as its content needs, whatever size the options ask for.
    #[must_use]
    pub fn fit(mut self, fit: Fit) -> Self {
        self.fit = Some(fit);
        self
    }

    /// Says which blocks of zeros become holes; [`Sparse::Auto`] by default.
    ///
    /// ```
    /// use mke4fs::{Builder, Fit, Sparse, Tree};
    ///
    /// let size = |sparse| {
    ///     let mut tree = Tree::default();
    ///     tree.file("/zeros", vec![0; 1 << 20])?;
    ///     let builder = Builder::new().source(tree).fit(Fit::Minimum);
    ///     Ok::<u64, mke4fs::Error>(builder.sparse(sparse).plan()?.size_bytes())
    /// };
    /// assert!(size(Sparse::Always)? < size(Sparse::Auto)?);
    /// # Ok::<(), mke4fs::Error>(())
    /// ```
    #[must_use]
    pub fn sparse(mut self, sparse: Sparse) -> Self {
        self.sparse = sparse;
        self
    }

    /// The format of the file that [`write_file`](Self::write_file) makes: a virtual disk with exactly the
    /// bytes of the raw image. It needs a regular file, and replaces all of it. What is made in memory, in a
    /// sink or in an open file is raw: any other format is refused there.
    ///
    /// ```
    /// use mke4fs::Builder;
    /// use mke4fs::sink::Format;
    ///
    /// let place = tempfile::tempdir()?;
    /// let disk = place.path().join("disk.vhdx");
    /// Builder::new().size_bytes(64 << 20).format(Format::Vhdx).write_file(&disk)?;
    /// assert!(std::fs::read(&disk)?.starts_with(b"vhdxfile"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Lets everything stay where `base` has it: what is at the same path keeps its inode and its blocks, as far
    /// as they still fit, and what is new takes free ones near its directory. UUID, hash seed, label, size,
    /// features and all else that describes the filesystem are those of `base`, and so are its times and those
    /// of files made, unless an option says otherwise.
    ///
    /// The image holds what the sources say, whatever `base` is. Where the options move everything, such as
    /// another block size, it is an ordinary one, with a warning.
    #[must_use]
    pub fn base(mut self, base: Base) -> Self {
        based::inherit(&mut self.options, &base);
        self.base = Some(Arc::new(base));
        self
    }

    /// Whether data of files is shared with the image where the storage can; [`Reflink::Auto`] unless told
    /// otherwise. The bytes of the image are the same.
    ///
    /// ```
    /// use mke4fs::{Builder, Reflink, Tree};
    ///
    /// let mut tree = Tree::default();
    /// tree.file("/data", vec![1; 1 << 20])?;
    /// let builder = Builder::new().source(tree).reflink(Reflink::Always);
    /// // What lies in memory cannot be shared.
    /// assert!(builder.to_vec().is_err());
    /// # Ok::<(), mke4fs::TreeError>(())
    /// ```
    #[must_use]
    pub fn reflink(mut self, reflink: Reflink) -> Self {
        self.run.reflink = reflink;
        self
    }

    /// Hears of a wish to stop: once it is there, planning and writing soon end with an error that
    /// [`is_cancelled`](Error::is_cancelled), wherever they are but in a system call that waits for
    /// somebody else.
    ///
    /// ```
    /// use mke4fs::Builder;
    /// use mke4fs::Cancel;
    /// use mke4fs::Directory;
    ///
    /// let cancel = Cancel::new();
    /// let builder = Builder::new().source(Directory::new("src")).cancel(&cancel);
    /// cancel.cancel();
    /// assert!(builder.plan().is_err_and(|error| error.is_cancelled()));
    /// ```
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.run.cancel = cancel.clone();
        self
    }

    /// Reads the sources and decides every block. Nothing is written.
    ///
    /// Unless there is a size or a [fit](Self::fit), and where no environment says that the output is there,
    /// the image is as large as what the sources hold needs ([`Fit::Auto`]).
    ///
    /// A source that is a stream, such as a compressed archive or a reader, is kept in a temporary file, and its
    /// data are placed in the order of names, as those of a file or a directory are. Where the size is given,
    /// every other end of the builder places the data of a stream in the order in which they come: of an archive
    /// in another order than that of names, these make another image than the plan. With
    /// [`reproducible`](Self::reproducible), a [fit](Self::fit), or another [`Sparse`] than `Auto`, all ends plan
    /// first and make the same image.
    ///
    /// # Errors
    /// Where options contradict each other, a source cannot be read, or the content does not fit.
    pub fn plan(self) -> Result<Plan, Error> {
        let options = self.options.clone();
        self.plan_all().map_err(|error| error.asked_by(&options))
    }

    fn plan_all(mut self) -> Result<Plan, Error> {
        self.wanted.is_reproducible = self.options.is_reproducible();
        self.wanted.base = self.base_for_sources();
        let mut environment = self.world();
        let fit = self.wanted_fit(&environment);
        let has_content = !self.wanted.sources.is_empty();
        let settings = self.settings_before_content(fit, &environment)?;
        self.refuse_for_journal_device(&settings, fit)?;
        let sparse = self.sparse_in_effect();
        let Found {
            mut tree,
            mut warnings,
        } = self
            .wanted
            .find(&settings, Contents::Later, &self.run.cancel)?;
        let cancel = self.run.cancel.flag();
        let reading = Reading {
            sparse,
            is_reproducible: self.options.is_reproducible(),
            digests: self.options.is_reproducible() && self.options.leaves_uuid_to_chance(),
            block_bytes: settings.block_size.bytes_u64(),
            threads: self.run.threads(),
            cancel,
        };
        let files = reading.apply(&mut tree)?;
        if self.options.is_reproducible() {
            reproducible::settle(&mut environment, &mut tree, &settings, &files);
        }
        let base = self.base.as_deref();
        let matched = base.map_or_else(Matched::default, |base| Matched::new(base, &tree));
        let matched = matched.until(cancel);
        based::keep_atimes(&mut tree, &matched);
        let (resolved, layout) = match fit {
            Some(fit) => {
                let sought = Sought {
                    host: &environment,
                    tree: &tree,
                    fit,
                    cancel,
                };
                let planned = plan::fit(&self.options, &sought)?;
                based::keep_places(planned, &tree, &matched)?
            }
            None => {
                let known = Known {
                    options: &self.options,
                    host: &environment,
                    sparse,
                    cancel,
                    threads: reading.threads,
                    matched: &matched,
                };
                let decided = known.decide(&mut tree)?;
                warnings.extend(decided.remark);
                (decided.resolved, decided.layout)
            }
        };
        self.run.cancel.check().map_err(|_| EmitError::Cancelled)?;
        warnings.extend(resolved.warnings.into_iter().map(Warning::Options));
        warnings.extend(Warning::of_layout(&resolved.settings, &layout));
        Ok(Plan {
            settings: resolved.settings,
            tree,
            layout,
            warnings,
            format: self.format,
            has_content,
            old: self
                .base
                .as_ref()
                .and_then(|base| base.open_file().cloned()),
            base: self.base.filter(|_| self.is_update),
            run: self.run,
        })
    }

    /// Refuses what a journal device has no use for, before anything of it is read.
    fn refuse_for_journal_device(
        &self,
        settings: &Settings,
        fit: Option<Fit>,
    ) -> Result<(), Error> {
        let Some(reason @ NoFiles::JournalDevice) = settings.no_files() else {
            return Ok(());
        };
        if !self.wanted.sources.is_empty() {
            return Err(LayoutError::ContentWithoutInodes(reason).into());
        }
        if fit.is_some() {
            return Err(Error::new(Kind::FitOfJournalDevice));
        }
        Ok(())
    }

    fn world(&self) -> Environment {
        let given = self.environment.clone();
        let mut world = given.unwrap_or_else(Environment::detect);
        if self.options.is_reproducible() {
            world.await_content();
        }
        world
    }

    /// Which blocks of zeros become holes. What holes a source has depends on the filesystem that it is on.
    fn sparse_in_effect(&self) -> Sparse {
        match self.sparse {
            Sparse::Auto if self.options.is_reproducible() => Sparse::Always,
            sparse => sparse,
        }
    }

    /// How the size is found, if it is: where it is asked for, or where nothing else says a size.
    fn wanted_fit(&self, environment: &Environment) -> Option<Fit> {
        let is_open = !self.options.has_size() && environment.target.kind == TargetKind::Missing;
        let has_content = !self.wanted.sources.is_empty();
        self.fit
            .or_else(|| (is_open && has_content).then_some(Fit::Auto))
    }

    /// The settings as far as no content changes them: no size changes the root directory's owner.
    fn settings_before_content(
        &self,
        fit: Option<Fit>,
        environment: &Environment,
    ) -> Result<Settings, Error> {
        match fit {
            Some(_) => {
                let options = plan::fitting(&self.options);
                plan::probe(&options, environment, &Tree::default())
            }
            None => Ok(self.options.resolve(environment)?.settings),
        }
    }

    /// Decides all that can be decided before the first byte is written: every block, unless the size is
    /// known, a source is a stream and holes are [`Sparse::Auto`]. Then what is there is written at once,
    /// and the rest decided behind it. Where blocks are as large as the content
    /// [allows](Options::large_blocks), a stream is kept.
    ///
    /// # Errors
    /// As those of [`Builder::plan`]; what is read later fails in [`PreparedImage::write`].
    pub fn prepare(mut self) -> Result<PreparedImage, Error> {
        let environment = self.world();
        self.fit = self.wanted_fit(&environment);
        let is_open = self.base.is_some()
            || self.fit.is_some()
            || self.run.reflink == Reflink::Always
            || self.options.with_large_blocks(&environment).is_some();
        self.environment = Some(environment);
        let streams = self.wanted.sources.iter().any(|source| source.is_stream());
        let rules = &mut self.wanted.rules.iter();
        // What is hashed as it is written has to be known before.
        let hashes = rules.any(|rule| matches!(rule, Rule::FsVerity(_)));
        if is_open || !streams || hashes || self.sparse_in_effect() != Sparse::Auto {
            return self.plan().map(PreparedImage::planned);
        }
        let options = self.options.clone();
        PreparedImage::streaming(self).map_err(|error| error.asked_by(&options))
    }

    /// Makes the image in `sink`, which holds as many bytes as the options say.
    ///
    /// # Errors
    /// As those of [`Builder::prepare`] and [`PreparedImage::write`].
    pub fn build(self, sink: &dyn Sink, writing: &Writing<'_>) -> Result<Built, Error> {
        self.prepare_raw()?.write(sink, writing)
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
}

impl Wanted {
    fn for_output(&mut self, output: &Path) {
        for source in &mut self.sources {
            source.for_output(output);
        }
    }

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
        if let Some(refused) = self.refused {
            return Err(Error::new(Kind::Ids(refused)));
        }
        let latest = settings.latest_time.map(Timestamp::from_seconds);
        let latest = latest.map(Rule::LatestTime).into_iter();
        let by_mtime = self.is_reproducible.then_some(Rule::TimesByMtime);
        let rules: Vec<Rule> = latest.chain(by_mtime).chain(self.rules).collect();
        let kept_xattrs = XattrFilter::of(&rules);
        let owners = OwnerRules::of(&rules);
        let mut tree = Tree::with_root(Metadata::default());
        let mut root = None;
        let mut warnings = Vec::new();
        for (number, mut source) in self.sources.into_iter().enumerate() {
            if number > 0 {
                tree.overlay()?;
            }
            source.filter_xattrs(&kept_xattrs);
            source.replace_owners(&owners);
            source.set_cancel(cancel);
            if let Some(base) = &self.base {
                source.set_base(base);
            }
            let declared = match &mut contents {
                Contents::Stream(store) if source.is_stream() => {
                    source.declare_stream(&mut tree, NodeId::ROOT, *store)?
                }
                _ => source.declare(&mut tree, NodeId::ROOT)?,
            };
            root = declared.root.or(root);
            warnings.extend(declared.warnings);
        }
        let kept = root.filter(|_| self.keep_root);
        tree.replace_metadata(NodeId::ROOT, plan::root(settings, kept));
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

/// Gives the root directory the SELinux context, in the form in which the kernel stores one: with a
/// NUL at its end.
fn label_root(tree: &mut Tree, context: &str) {
    const NAME: &[u8] = b"security.selinux";
    let own = tree.xattrs(NodeId::ROOT).iter();
    let mut xattrs: Vec<Xattr> = own.filter(|xattr| xattr.name != NAME).cloned().collect();
    let mut value = context.as_bytes().to_vec();
    value.push(0);
    xattrs.push(Xattr {
        name: NAME.to_vec(),
        value,
    });
    let set = tree.intern_xattrs(xattrs);
    tree.replace_xattrs(NodeId::ROOT, set);
}

impl Plan {
    /// What is asked of the image.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it contains.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What a person may want to know.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

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
        let warnings = self.warnings.iter().filter(|it| it.is_warning());
        let warnings = warnings.cloned().collect();
        Summary {
            warnings,
            ..Summary::new(&self.settings, &self.layout, &self.tree)
        }
    }

    /// Writes the image to `sink` as `writing` says.
    ///
    /// # Errors
    /// Where `sink` is too small or fails, content cannot be read or changed since it was declared,
    /// or `writing` is cancelled. The sink then holds no superblock.
    pub fn write(&self, sink: &dyn Sink, writing: &Writing<'_>) -> Result<(), Error> {
        let sinks = Sinks {
            image: sink,
            journal: None,
        };
        self.write_sinks(sinks, writing)
    }

    /// Writes the image, and lists it on the device of its journal.
    ///
    /// # Errors
    /// As those of [`write`](Self::write); and where the journal is not the one looked at.
    pub fn write_sinks(&self, sinks: Sinks<'_>, writing: &Writing<'_>) -> Result<(), Error> {
        self.write_hashed(sinks, writing)?;
        Ok(())
    }

    /// The same, and gives the digests of files that were hashed on the way.
    fn write_hashed(
        &self,
        sinks: Sinks<'_>,
        writing: &Writing<'_>,
    ) -> Result<Vec<FileDigest>, Error> {
        let shared = self
            .old
            .as_ref()
            .filter(|_| writing.reflink != Reflink::Never);
        let based = shared.map(|old| {
            let old = OldImage {
                file: &old.file,
                start: old.offset_bytes,
            };
            Based::new(sinks.image, self.settings.offset_bytes, old)
        });
        let based = based
            .transpose()
            .map_err(|error| Error::new(Kind::Output(error)))?
            .flatten();
        let image = based.as_ref().map_or(sinks.image, |based| based);
        let sinks = Sinks { image, ..sinks };
        let digests = emit_to(&self.settings, &self.layout, &self.tree, sinks, writing)?;
        Ok(FileDigest::all(&digests, &self.layout, &self.tree))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::Duration;

    use super::*;
    use crate::Directory;
    use crate::error::ErrorKind;

    type Change<'a> = &'a dyn Fn(&Path) -> std::io::Result<()>;

    /// Here and not with the other tests of what changes, since these run on other systems than Linux, too.
    #[test]
    fn a_file_of_a_directory_that_changes_is_named() {
        let written_later = |path: &Path| {
            let file = File::options().write(true).open(path)?;
            file.set_modified(file.metadata()?.modified()? + Duration::from_secs(3600))
        };
        let replaced = |path: &Path| fs::remove_file(path).and_then(|()| fs::create_dir(path));
        let changes: [(&str, Change<'_>); 5] = [
            ("longer", &|path| fs::write(path, [2; 100_001])),
            ("shorter", &|path| fs::write(path, [2; 9_999])),
            ("written later", &written_later),
            ("a directory", &replaced),
            ("gone", &|path| fs::remove_file(path)),
        ];
        for (name, change) in changes {
            let directory = tempfile::tempdir().expect("a directory");
            let file = directory.path().join("file");
            fs::write(&file, [1; 100_000]).expect("it is written");
            let plan = Builder::new()
                .environment(Environment::fixed(1_700_000_000))
                .source(Directory::new(directory.path()))
                .plan()
                .expect("it is planned");
            change(&file).expect("it changes");
            let kind = plan.to_vec().expect_err("it changed").kind();
            assert!(
                matches!(&kind, ErrorKind::SourceChanged { path } if path.ends_with(b"file")),
                "{name}: {kind:?}"
            );
        }
    }
}
