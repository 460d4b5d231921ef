//! Given arguments, does what they ask in our own words; never prints what mke2fs would.
//!
//! clap reads the arguments here: its help and its hints suit people. The flags are those of
//! [`flags`], so that any command line for mke2fs works as well.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use clap::builder::StyledStr;
use clap::error::ErrorKind;

use super::explain::explained;
use super::flags::{SIZE_TWICE, bad_size, flags};
use super::form::{self, Opening};
use super::make::{self, MakeError, Place, Prepared, World, Written};
use super::mend::Wanted;
use super::request::{Interface, Request, SizeArg};
use super::sizes::for_people;
use super::stream::{Accent, accented, painted};
use super::{
    Failed, base, check, help, hint, inputs, journal, overwrite, progress, tell_surely, undo,
    update, verbs, warn,
};
use crate::builder::inherit;
use crate::geometry::Geometry;
use crate::json::Object;
use crate::options::{Environment, Options, Settings, SettingsWarning, Size, TargetKind};
use crate::sink::{Format, Output, Undo};
use crate::source::{AclNames, Readable};
use crate::summary::UpdateCounts;
use crate::sys;
use crate::{Base, Plan, Summary};

/// Does what the arguments after the program's name ask.
pub(super) fn run(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, Failed> {
    let begun = Instant::now();
    let mut arguments = arguments.peekable();
    if let Some(verb) = arguments.peek().and_then(|first| verbs::verb(first)) {
        return verbs::run(verb, arguments.skip(1));
    }
    let verb = arguments.peek().and_then(mistyped_verb);
    let made = make_by(arguments, begun);
    if let (Err(Failed), Some((word, verb))) = (&made, verb) {
        warn(&format!(
            "mke4fs: '{word}' is not a verb; did you mean '{verb}'?\n"
        ));
    }
    made
}

/// A first argument that is called nearly like a verb, where no file is called so, and that verb.
fn mistyped_verb(first: &OsString) -> Option<(String, &'static str)> {
    let word = first.to_str()?;
    let verb = hint::of_verb(word, verbs::VERBS.iter().map(|verb| verb.name))?;
    (!Path::new(first).exists()).then(|| (word.to_owned(), verb))
}

/// Makes a filesystem, or prints what is asked for about the command.
fn make_by(arguments: impl Iterator<Item = OsString>, begun: Instant) -> Result<ExitCode, Failed> {
    let arguments = std::iter::once(OsString::from("mke4fs")).chain(arguments);
    let matches = match help::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return explain(&help::short());
        }
        Err(error) => {
            warn(&painted(&error.render(), io::stderr().is_terminal()));
            return Err(Failed);
        }
    };
    if let Some(topic) = matches.get_one::<String>(help::HELP) {
        return explain(&help::topic(topic));
    }
    if let Some(what) = matches.get_one::<String>(help::GENERATE) {
        return tell_or_fail(&help::generate(what).or_else(|error| fail(&sys::reason(&error)))?);
    }
    let request = read(&matches)?;
    if request.version {
        return tell_or_fail(&format!("mke4fs {}\n", env!("CARGO_PKG_VERSION")));
    }
    if request.explain {
        return explain_features(&request, matches.get_one::<OsString>(help::SIZE));
    }
    let Some(output) = matches.get_one::<OsString>(help::OUTPUT) else {
        return fail("missing OUTPUT (a file or block device); see --help");
    };
    let size = matches.get_one::<OsString>(help::SIZE).cloned();
    if request.check {
        let operands: Vec<OsString> = [output.clone()].into_iter().chain(size).collect();
        return check::run(&request, &operands);
    }
    let run = Run {
        begun,
        detected: Environment::detect(),
        request,
        output: PathBuf::from(output),
        size,
        warned: Cell::new(0),
        made_anew: Cell::new(None),
    };
    run.run().map(|()| ExitCode::SUCCESS)
}

/// Says of each feature what the options make of it.
fn explain_features(request: &Request, size: Option<&OsString>) -> Result<ExitCode, Failed> {
    let text = size.map(|size| size.to_string_lossy());
    let size = match &text {
        Some(text) => Some(Size::parse(text).map_or_else(|| fail(&bad_size(text)), Ok)?),
        None => match request.size {
            Some(SizeArg::Exactly(size)) => Some(size),
            _ => None,
        },
    };
    match explained(request, size) {
        Ok(text) => tell_or_fail(&text),
        Err(error) => {
            let conf = Environment::detect().conf;
            let hint = hint::of_error(error.kind(), conf.as_ref());
            fail(&format!("{error}{hint}"))
        }
    }
}

/// Prints what explains the command.
fn explain(text: &StyledStr) -> Result<ExitCode, Failed> {
    tell_or_fail(&painted(text, io::stdout().is_terminal()))
}

fn tell_or_fail(text: &str) -> Result<ExitCode, Failed> {
    match tell_surely(text) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => fail(&format!(
            "cannot write to standard output: {}",
            sys::reason(&error)
        )),
    }
}

/// Reads the flags in the order in which they were given.
fn read(matches: &ArgMatches) -> Result<Request, Failed> {
    let mut given = Vec::new();
    for flag in flags() {
        let name = flag.name();
        if flag.value.is_none() {
            let times = match flag.letter {
                Some('F') => matches.get_count(&name),
                _ => matches.get_flag(&name).into(),
            };
            let index = matches.indices_of(&name).and_then(Iterator::last);
            let index = index.unwrap_or_default();
            given.extend((0..times).map(|_| (index, flag, OsString::new())));
        } else if let (Some(indices), Some(values)) = (
            matches.indices_of(&name),
            matches.get_many::<OsString>(&name),
        ) {
            let values = indices.zip(values.cloned());
            given.extend(values.map(|(index, value)| (index, flag, value)));
        }
    }
    given.sort_by_key(|(index, ..)| *index);
    let mut request = Request::new(Interface::Mke4fs, "mke4fs");
    for (_, flag, value) in given {
        (flag.read)(&mut request, &value).or_else(|fault| fail(&fault.to_string()))?;
    }
    Ok(request)
}

fn fail<T>(text: &str) -> Result<T, Failed> {
    warn(&format!("mke4fs: {text}\n"));
    Err(Failed)
}

/// One run.
struct Run {
    begun: Instant,
    /// The world, before the output is looked at.
    detected: Environment,
    request: Request,
    output: PathBuf,
    /// The size after the output.
    size: Option<OsString>,
    /// How many warnings there were.
    warned: Cell<u64>,
    /// Why an output that was to be updated is made anew.
    made_anew: Cell<Option<String>>,
}

impl Run {
    fn run(&self) -> Result<(), Failed> {
        let mut host = self.host()?;
        let mut options = self.options(&host)?;
        let existing = host.target.kind;
        // What cannot be written is refused before the source is read. A new output is created
        // only then: it may lie in the source.
        let mut opened = match (existing, self.request.dry_run) {
            (TargetKind::Missing, _) | (TargetKind::File { .. } | TargetKind::Device(_), true) => {
                None
            }
            _ => Some(
                make::open(&self.request, &self.output)
                    .or_else(|error| fail(&error.to_string()))?,
            ),
        };
        let base = self.base(opened.as_ref(), &options, &host)?;
        if let Some((base, _)) = &base {
            inherit(&mut options, base);
        }
        let is_update = matches!(base, Some((_, Place::Output)));
        let replaced = self.replaced_bytes(&options, &host).filter(|_| !is_update);
        let is_container = self.request.format() != Format::Raw;
        let is_updated_file = is_update && matches!(existing, TargetKind::File { .. });
        if replaced.is_some() || is_container || is_updated_file {
            // What it holds has no say in what it becomes: the same command makes the same image.
            host.target.kind = TargetKind::Missing;
        }
        if let (Some(output), Some(_)) = (&mut opened, replaced) {
            let is_kept = self.request.size == Some(SizeArg::Keep);
            output.replace(if is_kept { output.size_bytes() } else { 0 });
        }
        let fits = make::fit(&self.request, &options, &host).is_some();
        let settings = self.settings(&options, &host, fits)?;
        if let Some(text) = form::warning_of_settings(&self.request, &settings) {
            warn(&format!("mke4fs: warning: {text}\n"));
        }
        let mut is_allowed = is_update;
        if let Some(output) = opened.as_ref().filter(|_| !is_update)
            && let Some(bytes) = self.bytes_at_stake(&settings, fits)
        {
            // Before what may take long: whoever is asked need not wait.
            overwrite::allow(&self.request, &self.output, output, bytes)
                .or_else(|failure| fail(&failure.to_string()))?;
            is_allowed = true;
        }
        let bar = progress::reading(&self.request);
        let world = World {
            host: &host,
            settings: &settings,
            base,
        };
        let prepared = make::prepare(&self.request, options.clone(), world);
        bar.finish_and_clear();
        let made = prepared.and_then(|prepared| {
            if self.request.dry_run {
                self.describe(&prepared, options, &host)
            } else {
                let existing = Existing {
                    opened,
                    replaced,
                    is_allowed,
                };
                self.make(prepared, existing)
            }
        });
        made.or_else(|failure| match failure {
            // Whoever read it went away, and knows.
            failure if self.is_stdout() && failure.is_broken_pipe() => Err(Failed),
            MakeError::Error(error) => {
                let wanted = Wanted {
                    request: &self.request,
                    settings: &settings,
                    target: existing,
                };
                fail(&wanted.say(&error))
            }
            failure => fail(&failure.to_string()),
        })
    }

    /// The base and where it is, if there is one.
    fn base(
        &self,
        opened: Option<&Output>,
        options: &Options,
        host: &Environment,
    ) -> Result<Option<(Base, Place)>, Failed> {
        if let Some(name) = self.request.base.as_deref() {
            let base = base::read(name).or_else(|text| fail(&text))?;
            return Ok(Some((base, Place::Elsewhere)));
        }
        if !self.request.update {
            return Ok(None);
        }
        let settings = make::probe(options, host);
        let offset_bytes = settings.map_or(0, |settings| settings.offset_bytes);
        let held = opened.map_or(update::Held::Named(&self.output), update::Held::Open);
        match update::base(&held, host, offset_bytes) {
            Ok(base) => Ok(Some((base, Place::Output))),
            Err(reason) => {
                if !self.request.quiet {
                    let path = Readable(self.output.as_os_str().as_encoded_bytes());
                    warn(&format!("mke4fs: making {path} anew: {reason}\n"));
                }
                self.made_anew.set(Some(reason));
                Ok(None)
            }
        }
    }

    /// The world, with the output as it is; what cannot be an output is refused.
    fn host(&self) -> Result<Environment, Failed> {
        let mut host = self.detected.clone();
        self.look_at_output(&mut host)?;
        if self.request.options.is_reproducible() {
            if self.request.acl_names == AclNames::Host {
                return fail(
                    "--reproducible and --acl-names host cannot be combined; use --acl-names skip",
                );
            }
            host = host.anonymous();
            host.await_content();
        }
        form::refuse(&self.request, &host, &self.output).or_else(|text| fail(&text))?;
        update::refuse(&self.request, &self.output).or_else(|text| fail(&text))?;
        if let Some(text) = form::warning(&self.request, &self.output) {
            warn(&format!("mke4fs: warning: {text}\n"));
        }
        inputs::refuse_output(&self.request, &host).or_else(|text| fail(&text))?;
        if let Some(path) = &self.request.journal_device {
            host.probe_journal(path)
                .or_else(|error| fail(&error.to_string()))?;
        }
        Ok(host)
    }

    /// What is asked of the filesystem, as far as that is known before its content is.
    fn settings(
        &self,
        options: &Options,
        host: &Environment,
        fits: bool,
    ) -> Result<Settings, Failed> {
        let resolved = if fits {
            make::probe(options, host)
        } else {
            options.resolve(host).map(|resolved| resolved.settings)
        };
        let settings = resolved.or_else(|error| {
            for warning in error.warnings() {
                self.remark_on_options(warning);
            }
            let hint = hint::of_error(error.kind(), self.detected.conf.as_ref());
            fail(&format!("{error}{hint}"))
        })?;
        form::refuse_settings(&self.request, &settings, &self.output)
            .or_else(|text| fail(&text))?;
        Ok(settings)
    }

    /// What of the output is looked at before it is overwritten, if that is known before the content is. One
    /// that is no disk is another's as a whole, however little of it an image takes, and a container takes
    /// all of it.
    fn bytes_at_stake(&self, settings: &Settings, fits: bool) -> Option<Range<u64>> {
        let start = settings.offset_bytes;
        let length = settings
            .blocks_count
            .saturating_mul(settings.block_size.bytes_u64());
        if start == 0 || self.request.format() != Format::Raw {
            return Some(0..u64::MAX);
        }
        (!fits).then(|| start..start.saturating_add(length))
    }

    fn is_stdout(&self) -> bool {
        self.request.is_stdout(&self.output)
    }

    fn look_at_output(&self, host: &mut Environment) -> Result<(), Failed> {
        if self.is_stdout() {
            host.target.path = self.output.clone();
            if io::stdout().is_terminal() && !self.request.dry_run {
                return fail("standard output is a terminal; redirect it, or name a file");
            }
            return Ok(());
        }
        host.probe(&self.output).map(drop).or_else(|error| {
            let path = Readable(self.output.as_os_str().as_encoded_bytes());
            fail(&format!("cannot look at {path}: {}", sys::reason(&error)))
        })
    }

    /// How long the file is whose place an image with content takes, whatever it holds. A disk, of which
    /// the image is a part, and one whose old content an undo file keeps, are filled as they are.
    fn replaced_bytes(&self, options: &Options, host: &Environment) -> Option<u64> {
        let TargetKind::File { size_bytes } = host.target.kind else {
            return None;
        };
        let is_alone = self.request.has_content() && self.request.undo_file.is_none();
        let is_whole = make::probe(options, host)
            .is_ok_and(|settings| settings.offset_bytes == 0 && !settings.super_only);
        (is_alone && is_whole).then_some(size_bytes)
    }

    fn options(&self, host: &Environment) -> Result<Options, Failed> {
        let mut options = self.request.finished();
        options.hash_seed_by_uuid();
        if self.request.has_content() {
            options.large_blocks();
        }
        let size = match (&self.size, self.request.size) {
            (Some(_), Some(_)) => return fail(SIZE_TWICE),
            (Some(text), None) => {
                let text = text.to_string_lossy();
                match Size::parse(&text) {
                    Some(size) => Some(size),
                    None => return fail(&bad_size(&text)),
                }
            }
            (None, Some(SizeArg::Exactly(size))) => Some(size),
            (None, Some(SizeArg::Keep)) => match host.target.kind {
                TargetKind::Missing => {
                    return fail("--size keep needs an existing OUTPUT; give a size, or no --size");
                }
                // As of an output whose size nobody gives, a whole number of pages is used.
                TargetKind::File { size_bytes } => {
                    let page = u64::from(host.page_size.max(1));
                    Some(Size::Bytes(size_bytes / page * page)).filter(|size| size.bytes() > 0)
                }
                TargetKind::Device(_) | TargetKind::Other => None,
            },
            (None, Some(SizeArg::By(_)) | None) => None,
        };
        if let Some(size) = size {
            options.size(size);
        }
        Ok(options)
    }

    /// Says what would be made. What comes as a stream is not read for that.
    fn describe(
        &self,
        prepared: &Prepared,
        options: Options,
        host: &Environment,
    ) -> Result<(), MakeError> {
        let empty;
        let plan = match prepared.ready.plan() {
            Some(plan) => plan,
            None => {
                warn(
                    "mke4fs: the source is a stream, which was not read: this describes the filesystem without its files\n",
                );
                empty = make::without_content(&self.request, options, host)?;
                &empty
            }
        };
        for warning in &prepared.warnings() {
            self.remark(warning);
        }
        let made = Made {
            path: &self.output,
            dry_run: true,
            geometry: &plan.layout.geometry,
            summary: &plan.summary(),
            opening: None,
            took: self.begun.elapsed(),
            warnings: self.warned.get(),
            #[cfg(feature = "oci")]
            images: &prepared.images,
        };
        self.summarise(&made).map_err(MakeError::Untold)
    }

    fn make(&self, prepared: Prepared, existing: Existing) -> Result<(), MakeError> {
        #[cfg(feature = "oci")]
        let images = prepared.images.clone();
        #[cfg(feature = "oci")]
        let config = super::oci_config::write(&self.request, &images)?;
        let mut written = self.write(prepared, existing)?;
        if let Some(reason) = self.made_anew.take() {
            written.built.summary.update = Some(UpdateCounts::anew(&reason));
        }
        #[cfg(feature = "oci")]
        if let Some(config) = config {
            config.keep();
        }
        self.tell_made(
            &written,
            #[cfg(feature = "oci")]
            &images,
        )
    }

    fn write(&self, prepared: Prepared, existing: Existing) -> Result<Written, MakeError> {
        for warning in &prepared.warnings() {
            self.remark(warning);
        }
        let size_bytes = prepared.ready.size_bytes();
        if let Some(before) = existing.replaced.filter(|before| *before != size_bytes)
            && !self.request.quiet
            // A virtual disk is as long as it is in any case, and can only be replaced.
            && self.request.format() == Format::Raw
        {
            let path = Readable(self.output.as_os_str().as_encoded_bytes());
            let (before, now) = (for_people(before), for_people(size_bytes));
            warn(&format!(
                "mke4fs: replacing {path} of {before} by an image of {now}; --size keep fills it\n"
            ));
        }
        let allow = |output: &Output| {
            let bytes = self.bytes_at_stake(prepared.ready.settings(), false);
            let bytes = bytes.unwrap_or_default();
            overwrite::allow(&self.request, &self.output, output, bytes)
        };
        // Whoever is asked may still end it by a signal.
        if let Some(output) = existing.opened.as_ref().filter(|_| !existing.is_allowed) {
            allow(output)?;
        }
        let stop = make::Stop::by_signals();
        if self.is_stdout() {
            let bar = progress::writing(&self.request, prepared.ready.plan().map(Plan::summary));
            let tell = |bytes| bar.inc(bytes);
            let written = make::write_to_stdout(&self.request, prepared, stop, &tell);
            bar.finish_and_clear();
            return written;
        }
        let output = match existing.opened {
            Some(output) => output,
            None => {
                let output = make::open(&self.request, &self.output).map_err(MakeError::Open)?;
                allow(&output)?;
                output
            }
        };
        let bar = progress::writing(&self.request, prepared.ready.plan().map(Plan::summary));
        let journal = journal::open(&self.request).map_err(MakeError::Open)?;
        let undo = self.undo_file(&output, prepared.ready.settings())?;
        let output = stop.guard(output).with_journal(journal).with_undo(undo);
        let shown = bar.clone();
        let output = output.before_end(move || shown.finish_and_clear());
        let written = make::write(&self.request, prepared, output, &|bytes| bar.inc(bytes));
        bar.finish_and_clear();
        written
    }

    /// Tells of what was made.
    fn tell_made(
        &self,
        written: &Written,
        #[cfg(feature = "oci")] images: &[crate::source::oci::Description],
    ) -> Result<(), MakeError> {
        let Written { built, beside } = written;
        for warning in &built.warnings {
            self.remark(warning);
        }
        let made = Made {
            path: &self.output,
            dry_run: false,
            geometry: &built.geometry,
            summary: &built.summary,
            opening: Opening::new(&self.request, beside, &self.output),
            took: self.begun.elapsed(),
            warnings: self.warned.get(),
            #[cfg(feature = "oci")]
            images,
        };
        self.summarise(&made).map_err(MakeError::Untold)
    }

    /// The undo file, if one is asked for; how to use it is told.
    fn undo_file(&self, output: &Output, settings: &Settings) -> Result<Option<Undo>, MakeError> {
        if self.request.undo_file.is_none() {
            return Ok(None);
        }
        let Some(wanted) = undo::file(&self.request, settings, &self.output) else {
            return Ok(None);
        };
        let undo = wanted.open(output, settings).map_err(MakeError::Undo)?;
        if !self.request.quiet {
            let readable = |path: &Path| Readable(path.as_os_str().as_encoded_bytes()).to_string();
            let (undo, output) = (readable(&wanted.path), readable(&self.output));
            warn(&format!(
                "mke4fs: e2undo {undo} {output} restores the overwritten data\n"
            ));
        }
        Ok(Some(undo))
    }

    fn remark(&self, warning: &crate::Warning) {
        match warning {
            crate::Warning::Options(warning) => self.remark_on_options(warning),
            choice if !choice.is_warning() => {
                if !self.request.quiet {
                    warn(&format!("mke4fs: {choice}\n"));
                }
            }
            warning => self.warn_of(&warning.to_string()),
        }
    }

    fn remark_on_options(&self, warning: &SettingsWarning) {
        if warning.is_warning() {
            let hint = hint::of_warning(warning, self.detected.conf.as_ref());
            self.warn_of(&format!("{warning}{hint}"));
        } else if self.request.verbose {
            warn(&format!("mke4fs: {warning}\n"));
        }
    }

    fn warn_of(&self, text: &str) {
        self.warned.set(self.warned.get() + 1);
        let word = accented("warning:", Accent::Warning, io::stderr().is_terminal());
        warn(&format!("mke4fs: {word} {text}\n"));
    }

    fn summarise(&self, made: &Made<'_>) -> io::Result<()> {
        let mut text = String::new();
        if self.request.json {
            text = made.json();
        } else if !self.request.quiet {
            text = made.text();
            if self.request.verbose {
                text += &made.details();
            }
            if let Some(opening) = &made.opening {
                text += &opening.text();
            }
        }
        if self.is_stdout() && !self.request.dry_run {
            warn(&text);
            return Ok(());
        }
        tell_surely(&text)
    }
}

/// The output as it was found.
struct Existing {
    opened: Option<Output>,
    /// How long the file is that is replaced.
    replaced: Option<u64>,
    /// Whether what it holds may be overwritten.
    is_allowed: bool,
}

/// What was made, or would be.
struct Made<'a> {
    path: &'a Path,
    dry_run: bool,
    geometry: &'a Geometry,
    summary: &'a Summary,
    /// How the verity device is opened, if there is one.
    opening: Option<Opening<'a>>,
    took: Duration,
    warnings: u64,
    /// What container images among the sources say of themselves.
    #[cfg(feature = "oci")]
    images: &'a [crate::source::oci::Description],
}

impl Made<'_> {
    fn uuid(&self) -> String {
        self.summary.uuid_text()
    }

    fn text(&self) -> String {
        let is_terminal = io::stdout().is_terminal();
        let summary = self.summary;
        let path = Readable(self.path.as_os_str().as_encoded_bytes());
        let is_update = summary
            .update
            .as_ref()
            .is_some_and(|it| it.made_anew.is_none());
        let verb = match (self.dry_run, is_update) {
            (true, _) => "would write",
            (false, true) => "updated",
            (false, false) => "wrote",
        };
        let verb = accented(verb, Accent::Done, is_terminal);
        let label = match &summary.label[..] {
            [] => String::new(),
            label => format!(" '{}'", Readable(label)),
        };
        let kind = summary.fs_type();
        let size = for_people(summary.size_bytes);
        let block = for_people(summary.block_size.into());
        let mut text = format!("{verb} {path}: {kind}{label}, {size} in blocks of {block}\n");
        let mut line = |name: &str, value: String| {
            let name = accented(&format!("{name:<8}"), Accent::Label, is_terminal);
            text.push_str(&format!("  {name} {value}\n"));
        };
        if let Some(content) = self.content() {
            line("content", content);
        }
        if let Some(base) = summary.base {
            let (kept, added) = (base.inodes_kept, base.inodes_added);
            let bytes = for_people(base.blocks_kept * u64::from(summary.block_size));
            let removed = base.inodes_removed;
            line(
                "base",
                format!(
                    "{kept} inodes and {bytes} in place, {added} inodes added, {removed} removed"
                ),
            );
        }
        if let Some(update) = summary.update.as_ref().filter(|_| is_update) {
            let (kept, added) = (update.files_kept, update.files_added);
            let (changed, removed) = (update.files_changed, update.files_removed);
            let (blocks, read) = (update.blocks_written, for_people(update.bytes_read));
            line(
                "update",
                format!(
                    "{kept} files kept, {added} added, {changed} changed, {removed} removed; \
                     {blocks} blocks written, {read} read"
                ),
            );
        }
        let free = for_people(summary.free_blocks * u64::from(summary.block_size));
        let (inodes, of_inodes) = (summary.free_inodes, summary.inodes_count);
        line("free", format!("{free}, {inodes} of {of_inodes} inodes"));
        line("UUID", self.uuid());
        let seconds = format!("{}.{:03} s", self.took.as_secs(), self.took.subsec_millis());
        line("time", seconds);
        if self.warnings > 0 {
            line("warnings", self.warnings.to_string());
        }
        text
    }

    /// What the image holds, if anything.
    fn content(&self) -> Option<String> {
        let nodes = self.summary.nodes;
        let counts = [
            (nodes.files, "file", "files"),
            (nodes.directories, "directory", "directories"),
            (nodes.symlinks, "symbolic link", "symbolic links"),
            (nodes.special, "special file", "special files"),
        ];
        let counts = counts.iter().filter(|(count, ..)| *count > 0);
        let named = counts.map(|(count, one, more)| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {more}"),
        });
        let named: Vec<String> = named.collect();
        let bytes = for_people(nodes.file_bytes);
        (nodes.files + nodes.symlinks + nodes.special > 0)
            .then(|| format!("{bytes} in {}", named.join(", ")))
    }

    fn details(&self) -> String {
        let (summary, geometry) = (self.summary, self.geometry);
        let features: Vec<_> = summary.features.iter().map(|it| it.name()).collect();
        let journal = match summary.journal_blocks {
            0 => "no journal".to_owned(),
            blocks => {
                let bytes = u64::from(blocks) * u64::from(summary.block_size);
                format!("a journal of {}", for_people(bytes))
            }
        };
        format!(
            "{} groups of {} blocks and {} inodes of {} bytes, {journal}\nfeatures {}\n",
            geometry.groups,
            geometry.blocks_per_group,
            geometry.inodes_per_group,
            summary.inode_size,
            features.join(" "),
        )
    }

    fn json(&self) -> String {
        let summary = self.summary;
        let mut object = Object::new();
        object
            .bytes("path", self.path.as_os_str().as_encoded_bytes())
            .truth("dry_run", self.dry_run);
        summary.put(&mut object);
        if let Some(opening) = &self.opening {
            opening.put(&mut object);
        }
        #[cfg(feature = "oci")]
        super::oci_config::put(self.images, &mut object);
        object.seconds("seconds", self.took);
        object.finish()
    }
}
