//! Given a request and the host, makes the filesystem; never says a word about it.

use std::fmt;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::form;
#[cfg(feature = "oci")]
use super::request::Whiteouts;
use super::request::{Request, SizeArg};
use super::sources::{Named, OpenOptions, SPOOL_DIRECTORY};
use crate::builder::{Beside, Form, Formed};
use crate::builder::{Builder, Built, Plan, PreparedImage};
use crate::cancel::Cancel;
use crate::emit::{Sinks, Writing};
use crate::error::Kind;
use crate::options::{Environment, Options, Settings, SettingsError, TargetKind};
use crate::sink::{IfBusy, ImageRange, OpenError, Output, Sink, Undo, UndoError, UnfinishedOutput};
use crate::source::patterns::Patterns;
use crate::source::rules::{FsVerity, Rule};
use crate::source::{self, SourceError};
use crate::sys;
use crate::{Base, Error, Fit, Warning};

/// Why no filesystem was made.
#[derive(Debug)]
pub(super) enum MakeError {
    /// A person said no.
    Declined,
    Error(Error),
    /// The output holds what is not overwritten without being told to, as this says.
    Held(String),
    Io(io::Error),
    /// The output has not even the inode tables of the filesystem to rescue.
    TooShortToRescue {
        needed: u64,
    },
    Open(OpenError),
    Undo(UndoError),
    /// What was made could not be told; it is made.
    Untold(io::Error),
}

impl fmt::Display for MakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined => f.write_str("nothing was written"),
            Self::Error(error) => f.write_str(&error.by_flags()),
            Self::Held(text) => f.write_str(text),
            Self::Io(error) => f.write_str(&sys::reason(error)),
            Self::TooShortToRescue { needed } => {
                write!(f, "OUTPUT is too short for -S, which needs {needed} bytes")
            }
            Self::Open(error) => error.fmt(f),
            Self::Undo(error) => error.fmt(f),
            Self::Untold(error) => {
                write!(f, "cannot write to standard output: {}", sys::reason(error))
            }
        }
    }
}

impl MakeError {
    /// Whether whoever reads what is written went away.
    pub(super) fn is_broken_pipe(&self) -> bool {
        let mut error: Option<&(dyn std::error::Error + 'static)> = match self {
            Self::Error(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        };
        while let Some(found) = error {
            let io = found.downcast_ref::<io::Error>();
            if io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe) {
                return true;
            }
            error = found.source();
        }
        false
    }
}

impl From<Error> for MakeError {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for MakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How large the image shall be by its content: where `--size` says so, or where content and
/// nothing else is given.
pub(super) fn fit(request: &Request, options: &Options, host: &Environment) -> Option<Fit> {
    match request.size {
        Some(SizeArg::Exactly(_) | SizeArg::Keep) => None,
        Some(SizeArg::By(fit)) => Some(fit),
        None => {
            let is_open = !options.has_size() && host.target.kind == TargetKind::Missing;
            (is_open && request.has_content()).then_some(Fit::Auto)
        }
    }
}

/// What is resolved whatever size the content asks for, so that faults show before it is read.
pub(super) fn probe(options: &Options, host: &Environment) -> Result<Settings, SettingsError> {
    Ok(options.of_any_size().resolve(host)?.settings)
}

/// An image about to be written.
pub(super) struct Prepared {
    pub(super) ready: PreparedImage,
    patterns: Patterns,
    /// Where large temporary files lie.
    spool_directory: PathBuf,
    /// What container images say of themselves, if that is asked for.
    #[cfg(feature = "oci")]
    pub(super) images: Vec<crate::source::oci::Description>,
}

impl Prepared {
    /// What a person may want to know by now.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.ready.warnings().to_vec();
        if self.ready.plan().is_some() {
            warnings.extend(unmatched(&self.patterns));
        }
        warnings
    }
}

/// The patterns that left nothing out.
fn unmatched(patterns: &Patterns) -> impl Iterator<Item = Warning> {
    let unmatched = patterns.unmatched().map(<[u8]>::to_vec);
    unmatched.map(|pattern| Warning::Source(source::SourceWarning::PatternUnmatched(pattern)))
}

/// Where a base is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the output, which is updated.
    Output,
    Elsewhere,
}

/// In what world an image is made, and what it is to be like.
pub(super) struct World<'a> {
    pub(super) host: &'a Environment,
    /// What is asked of it, as far as that is known before its content is.
    pub(super) settings: &'a Settings,
    /// Where everything is to stay, and where that is told.
    pub(super) base: Option<(Base, Place)>,
}

/// Reads the sources and decides every block, unless contents are written before all of them are known:
/// then nothing is read yet.
pub(super) fn prepare(
    request: &Request,
    options: Options,
    world: World<'_>,
) -> Result<Prepared, MakeError> {
    check_stdin(request)?;
    check_layers(request)?;
    let World {
        host,
        settings,
        base,
    } = world;
    let fit = fit(request, &options, host);
    let mut builder = Builder::from_options(options)
        .environment(host.clone())
        .keep_root(request.keep_root)
        .checksum(request.checksum)
        .sparse(request.sparse)
        .reflink(request.reflink);
    let patterns =
        Patterns::new(&request.exclude).map_err(|error| Error::from(SourceError::other(error)))?;
    let asked = Asked {
        request,
        patterns: &patterns,
        host,
        settings,
    };
    for source in &request.sources {
        builder = asked.add_source(builder, Path::new(source))?;
    }
    for (from, to) in &request.copies {
        builder = asked.add_copy(builder, Path::new(from), to);
    }
    for rule in &request.rules {
        let rule = rule.rule(&host.target.path, &request.mount_point);
        builder = builder.rule(rule.map_err(Error::from)?);
    }
    if let Some(rule) = fs_verity(request)? {
        builder = builder.rule(rule);
    }
    if let Some(fit) = fit {
        builder = builder.fit(fit);
    }
    builder = match base {
        Some((base, Place::Output)) => builder.updating(Arc::new(base)),
        Some((base, Place::Elsewhere)) => builder.base(base),
        None => builder,
    };
    let ready = builder.prepare()?;
    let spool_directory = asked.spool_directory();
    Ok(Prepared {
        ready,
        #[cfg(feature = "oci")]
        images: super::oci_config::descriptions(request, &spool_directory)?,
        patterns,
        spool_directory,
    })
}

/// Refuses two sources that would both be standard input: the second would be empty.
fn check_stdin(request: &Request) -> Result<(), Error> {
    let stdin = request.sources.iter().filter(|source| *source == "-");
    if stdin.count() > 1 {
        let text = "-d - is given twice: only one source can be read from stdin";
        return Err(SourceError::other(text).into());
    }
    Ok(())
}

/// Refuses what would be of no container image, or of no layer.
#[cfg(feature = "oci")]
fn check_layers(request: &Request) -> Result<(), Error> {
    let makes = request.whiteouts == Some(Whiteouts::Overlay);
    if makes && request.layer.is_none() {
        let text = "--whiteouts overlay needs --layer";
        return Err(SourceError::other(text).into());
    }
    let flag = if request.layer.is_some() {
        "--layer"
    } else if request.platform.is_some() {
        "--platform"
    } else {
        return Ok(());
    };
    let mut sources = request.sources.iter();
    if sources.any(|source| matches!(Named::of(Path::new(source)), Named::Container(..))) {
        return Ok(());
    }
    let text = format!("{flag} needs a container image after -d, such as oci:DIR");
    Err(SourceError::other(text).into())
}

#[cfg(not(feature = "oci"))]
#[expect(clippy::unnecessary_wraps, reason = "it is one of two")]
fn check_layers(_request: &Request) -> Result<(), Error> {
    Ok(())
}

/// Which files fs-verity protects, after all that may add some.
fn fs_verity(request: &Request) -> Result<Option<Rule>, Error> {
    if request.fs_verity.is_empty() {
        return Ok(None);
    }
    let words = request.features.iter().flat_map(|text| text.split(','));
    let mut last = words.filter(|word| word.trim_start_matches('^') == "verity");
    if last.next_back() == Some("^verity") {
        let text = "--fs-verity needs the feature verity, which -O ^verity disables";
        return Err(SourceError::other(text).into());
    }
    let patterns = Patterns::new(&request.fs_verity).map_err(SourceError::other)?;
    let hash = request.fs_verity_hash.unwrap_or_default();
    Ok(Some(Rule::FsVerity(FsVerity::new(patterns).hash(hash))))
}

/// What an image is that has no content.
pub(super) fn without_content(
    request: &Request,
    options: Options,
    host: &Environment,
) -> Result<Plan, MakeError> {
    let builder = Builder::from_options(options)
        .environment(host.clone())
        .keep_root(request.keep_root);
    Ok(builder.plan()?)
}

/// What is asked of every source.
struct Asked<'a> {
    request: &'a Request,
    patterns: &'a Patterns,
    host: &'a Environment,
    settings: &'a Settings,
}

impl Asked<'_> {
    /// Adds a source by what it is.
    fn add_source(&self, builder: Builder, source: &Path) -> Result<Builder, MakeError> {
        Ok(builder.boxed_source(Named::of(source).open(&self.wishes())?))
    }

    /// How each source is read.
    fn wishes(&self) -> OpenOptions<'_> {
        OpenOptions {
            keep_xattrs: !self.settings.no_copy_xattrs,
            excluded: self.patterns,
            one_file_system: self.request.one_file_system,
            excluded_file: crate::sys::identity_at(self.output_file()),
            threads: threads(self.request),
            spool_directory: self.spool_directory(),
            implied_time: self.settings.clock,
            acl_names: self.request.acl_names,
            #[cfg(feature = "oci")]
            platform: self.request.platform.clone(),
            #[cfg(feature = "oci")]
            layer: self.request.layer.clone(),
            whiteouts: self.request.whiteouts,
        }
    }

    /// A name of the output that leads to it.
    fn output_file(&self) -> &Path {
        let path = self.host.target.path.as_path();
        if self.request.is_stdout(path) {
            // Where there is no such name, no file can be in the way either.
            Path::new("/dev/stdout")
        } else {
            path
        }
    }

    /// Where an archive is kept that cannot be read twice: beside the output, where there must be
    /// room, or with other large temporary files if that is a device, whose directory is in memory.
    fn spool_directory(&self) -> PathBuf {
        let is_device = matches!(self.host.target.kind, TargetKind::Device(_));
        if is_device || self.request.is_stdout(&self.host.target.path) {
            return SPOOL_DIRECTORY.into();
        }
        match self.host.target.path.parent() {
            Some(directory) if directory != "" => directory.to_owned(),
            _ => ".".into(),
        }
    }

    fn add_copy(&self, builder: Builder, from: &Path, to: &[u8]) -> Builder {
        let mut copy = source::copy::Copy::new(from, to)
            .now(crate::units::Timestamp::from_seconds(self.settings.clock))
            .keep_xattrs(!self.settings.no_copy_xattrs)
            .one_file_system(self.request.one_file_system)
            .exclude(self.patterns.clone());
        if let Some(output) = crate::sys::identity_at(self.output_file()) {
            copy = copy.exclude_inode(output.device, output.inode);
        }
        builder.source(copy)
    }
}

/// Opens the output. What is in use is refused, unless it is asked for twice to go on.
pub(super) fn open(request: &Request, output: &Path) -> Result<Output, OpenError> {
    let if_busy = match request.force {
        // What is mounted would be changed below whoever uses it.
        _ if request.update => IfBusy::Refuse,
        0 | 1 => IfBusy::Refuse,
        _ => IfBusy::Overwrite,
    };
    Output::open(output, if_busy)
}

/// An output that no signal and no abort leaves half written.
pub(super) struct Guarded {
    output: Output,
    /// The device of its journal.
    journal: Option<Output>,
    /// Where what is overwritten is kept.
    undo: Option<Undo>,
    stop: Stop,
    /// What is done before a signal ends the process.
    before_end: Box<dyn Fn()>,
}

/// The wish to stop that signals have. It comes before a new output does.
pub(super) struct Stop(Cancel);

impl Stop {
    pub(super) fn by_signals() -> Self {
        #[cfg(any(unix, windows))]
        if let Ok(cancel) = Cancel::by_signals() {
            return Self(cancel);
        }
        Self(Cancel::new())
    }

    pub(super) fn guard(self, output: Output) -> Guarded {
        // Where the system does not help, what is left has no superblock still.
        #[cfg(any(unix, windows))]
        let _ = output.undo_on_abort();
        Guarded {
            output,
            journal: None,
            undo: None,
            stop: self,
            before_end: Box::new(|| {}),
        }
    }
}

impl Guarded {
    /// The same, with the device of the journal.
    pub(super) fn with_journal(mut self, journal: Option<Output>) -> Self {
        self.journal = journal;
        self
    }

    /// The same, with what is done before a signal ends the process.
    pub(super) fn before_end(mut self, act: impl Fn() + 'static) -> Self {
        self.before_end = Box::new(act);
        self
    }

    /// The same, with an undo file.
    pub(super) fn with_undo(mut self, undo: Option<Undo>) -> Self {
        #[cfg(any(unix, windows))]
        if let Some(undo) = &undo {
            // Where the system does not help, an empty undo file is left.
            let _ = undo.remove_on_abort();
        }
        self.undo = undo;
        self
    }
}

/// What is written to.
struct Outputs {
    /// The filesystem's own.
    image: Output,
    /// The device of its journal.
    journal: Option<Output>,
    /// Where what is overwritten is kept.
    undo: Option<Undo>,
}

/// Writes the image and leaves the output finished, or as if nothing had been begun.
///
/// `progress` is called with bytes as they are written. A signal to end ends the process, after
/// everything is cleaned up.
pub(super) fn write(
    request: &Request,
    prepared: Prepared,
    guarded: Guarded,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, MakeError> {
    let Guarded {
        output,
        journal,
        undo,
        stop,
        before_end,
    } = guarded;
    let Stop(cancel) = stop;
    let outputs = Outputs {
        image: output,
        journal,
        undo,
    };
    let written = if request.has_form() {
        let watched = Watched {
            progress,
            cancel: &cancel,
        };
        write_formed(request, prepared, outputs.image, &watched)
    } else if let Some(plan) = prepared.ready.plan().filter(|plan| plan.is_update()) {
        let watched = Watched {
            progress,
            cancel: &cancel,
        };
        write_update(request, plan, outputs.image, &watched)
    } else {
        write_until(
            request,
            prepared,
            outputs,
            &Watch {
                progress,
                cancel: &cancel,
            },
        )
        .map(|built| Written {
            built,
            beside: Beside::default(),
        })
    };
    let written = written.inspect_err(|_| before_end());
    die_if_cancelled(written, &cancel)
}

/// What was written, and what lies beside it.
pub(super) struct Written {
    pub(super) built: Built,
    pub(super) beside: Beside,
}

fn die_if_cancelled(
    written: Result<Written, MakeError>,
    cancel: &Cancel,
) -> Result<Written, MakeError> {
    if let Err(MakeError::Error(error)) = &written
        && error.is_cancelled()
    {
        die_of_signal(cancel);
    }
    written
}

/// Who is told of a run, and who may end it.
struct Watched<'a> {
    progress: &'a (dyn Fn(u64) + Sync),
    cancel: &'a Cancel,
}

/// Writes an image in the form that is asked for.
fn write_formed(
    request: &Request,
    prepared: Prepared,
    mut output: Output,
    watched: &Watched<'_>,
) -> Result<Written, MakeError> {
    if request.uncached {
        output.leave_uncached();
    }
    let is_device = output.file().is_block_device();
    form_it(request, prepared, watched, |ready, form, writing| {
        let writing = Writing {
            // As of any device.
            sync: writing.sync || is_device,
            ..*writing
        };
        ready.write_formed(output, form, &writing)
    })
}

/// Writes what differs from what the output holds.
fn write_update(
    request: &Request,
    plan: &Plan,
    mut output: Output,
    watched: &Watched<'_>,
) -> Result<Written, MakeError> {
    if request.uncached {
        output.leave_uncached();
    }
    let writing = Writing {
        threads: threads(request),
        progress: watched.progress,
        cancel: watched.cancel.flag(),
        sync: request.sync || request.uncached || output.file().is_block_device(),
        reflink: request.reflink,
    };
    let least_bytes = match request.size {
        Some(SizeArg::Keep) => output.size_bytes(),
        _ => 0,
    };
    Ok(Written {
        built: plan.write_update(output, least_bytes, &writing)?,
        beside: Beside::default(),
    })
}

/// Writes the image to standard output, in the order of its bytes.
pub(super) fn write_to_stdout(
    request: &Request,
    prepared: Prepared,
    stop: Stop,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, MakeError> {
    let Stop(cancel) = stop;
    let watched = Watched {
        progress,
        cancel: &cancel,
    };
    let written = form_it(request, prepared, &watched, |ready, form, writing| {
        let stdout = sys::stdout().map_err(|error| Error::new(Kind::Output(error)))?;
        ready.write_stream(stdout, form, writing)
    });
    die_if_cancelled(written, &cancel)
}

/// Has `write` write the image, and what lies beside it.
fn form_it(
    request: &Request,
    prepared: Prepared,
    watched: &Watched<'_>,
    write: impl FnOnce(PreparedImage, &Form<'_>, &Writing<'_>) -> Result<Formed, Error>,
) -> Result<Written, MakeError> {
    let Prepared {
        mut ready,
        patterns,
        spool_directory,
        ..
    } = prepared;
    ready.probe(watched.cancel.flag())?;
    let is_read_now = ready.plan().is_none();
    let mut form = request.form(ready.settings(), &spool_directory);
    ready.check_form(&form)?;
    let whole = ImageRange::new(0..ready.tree_bytes());
    let tree = form::open_tree(request)?;
    let tree = tree.map(|output| output.begin(&whole)).transpose()?;
    form.tree = tree.as_ref().map(UnfinishedOutput::file);
    let writing = Writing {
        threads: threads(request),
        progress: watched.progress,
        cancel: watched.cancel.flag(),
        sync: request.sync || request.uncached,
        reflink: request.reflink,
    };
    let formed = write(ready, &form, &writing)?;
    form::write_beside(request, &formed.beside)?;
    let (mut built, beside) = formed.keep();
    if let Some(tree) = tree {
        tree.keep();
    }
    if is_read_now {
        built.warnings.extend(unmatched(&patterns));
    }
    Ok(Written { built, beside })
}

/// Who is told how far a run is, and who may end it.
struct Watch<'a> {
    progress: &'a (dyn Fn(u64) + Sync),
    cancel: &'a Cancel,
}

fn write_until(
    request: &Request,
    prepared: Prepared,
    outputs: Outputs,
    watch: &Watch<'_>,
) -> Result<Built, MakeError> {
    let Watch { progress, cancel } = *watch;
    let Prepared {
        mut ready,
        patterns,
        ..
    } = prepared;
    let Outputs {
        image: mut output,
        journal,
        mut undo,
    } = outputs;
    if request.uncached {
        output.leave_uncached();
    }
    ready.probe(cancel.flag())?;
    let start = ready.settings().offset_bytes;
    let plan = ready.plan();
    let is_read_now = plan.is_none();
    let needed = plan.map_or(0, |plan| plan.layout.old_bytes_needed());
    if needed > 0 && output.size_bytes() < start + needed {
        return Err(MakeError::TooShortToRescue { needed });
    }
    let writing = Writing {
        threads: threads(request),
        progress,
        cancel: cancel.flag(),
        // mke2fs leaves a device synced, and so do we; a file only on demand.
        sync: request.sync || request.uncached || output.file().is_block_device(),
        reflink: request.reflink,
    };
    let superblock = ready.range().superblock();
    if let Some(undo) = &mut undo
        && writing.sync
    {
        undo.wait_for_storage();
    }
    if let Some(plan) = ready.plan() {
        plan.check_sharing(Some(output.file()), request.reflink)?;
    }
    let draft = begin(&ready, output, undo.as_ref())?;
    let kept = undo.as_ref().map(|undo| undo.over(draft.file()));
    let sinks = Sinks {
        image: match &kept {
            Some(kept) => kept,
            None => draft.file(),
        },
        journal: journal.as_ref().map(|journal| {
            let sink: &dyn Sink = journal.file();
            sink
        }),
    };
    let written = ready.write_sinks(sinks, &writing).map_err(MakeError::from);
    let ended = written.and_then(|built| {
        if let Some(undo) = &undo {
            undo.finish(draft.file())?;
        }
        if built.settings.super_only {
            draft.end_at_written()?;
        }
        Ok(built)
    });
    let mut built = ended.inspect_err(|_| {
        // What is dropped loses its superblock, of which the undo file must know.
        if let Some(kept) = &kept {
            let _ = kept.zero(superblock.start, superblock.end - superblock.start);
        }
    })?;
    if is_read_now {
        built.warnings.extend(unmatched(&patterns));
    }
    draft.keep();
    Ok(built)
}

/// Begins the image in `output`, once `undo` keeps the superblock that is there.
fn begin(
    ready: &PreparedImage,
    mut output: Output,
    undo: Option<&Undo>,
) -> io::Result<UnfinishedOutput> {
    let image = ready.range();
    output.make_room(&image)?;
    if let Some(undo) = undo {
        undo.before_zeroing(output.file(), image.superblock())?;
    }
    let mut draft = output.begin(&image)?;
    // e2undo wants the superblock as the undo file says it is, and what is rescued is somebody's data.
    if undo.is_none() && !ready.settings().super_only {
        draft.mark()?;
    }
    Ok(draft)
}

/// Ends the process by the signal that asked for it.
fn die_of_signal(cancel: &Cancel) {
    // Where the signal cannot be raised again, the status of a failure tells enough.
    #[cfg(any(unix, windows))]
    let _ = cancel.die_of_signal();
    #[cfg(not(any(unix, windows)))]
    let _ = cancel;
}

fn threads(request: &Request) -> NonZero<usize> {
    request
        .threads
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZero::<usize>::MIN)
}
