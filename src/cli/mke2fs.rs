//! Given arguments as mke2fs takes them, does what mke2fs does, in its words and with its statuses.
//!
//! Where mke2fs finds a fault only after it destroyed the old content, this finds it before; and a
//! file that did not exist does not after a failure either.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::form::{self, Opening};
use super::getopt::{self, Unreadable};
use super::make::{self, Guarded, MakeError, Prepared, World};
use super::messages::{self, Names};
use super::request::{Interface, Request, SizeArg};
use super::steps::{Step, StepReport};
use super::{Failed, check, existing, flags, inputs, journal, proceed, say, tell, undo, warn};
use crate::error::Kind;
use crate::geometry::{Geometry, GeometryError};
use crate::layout::LayoutError;
use crate::options::{
    Environment, JournalLength, Options, Settings, SettingsErrorKind, SettingsWarning,
    SettingsWarningKind, Size, TargetKind,
};
use crate::sink::{self, Output, Undo};
use crate::sys;

/// Does what the arguments after the program's name ask. It was called as `called`, whose last
/// part is `name`.
pub(super) fn run(
    called: &str,
    name: &str,
    arguments: impl Iterator<Item = OsString>,
) -> Result<ExitCode, Failed> {
    let mut host = Environment::detect();
    host.check_conf().map_err(|error| {
        let names = Names {
            program: name,
            device: "",
            size: "",
            journal: "",
        };
        say(messages::settings_error(error.kind(), names));
        Failed
    })?;
    let (mut request, operands) = read(called, name, arguments)?;
    request.proceed_delay = host.proceed_delay();
    if request.version {
        warn(messages::BANNER);
        warn(messages::USING);
        return Ok(ExitCode::SUCCESS);
    }
    if request.check {
        return check::run(&request, &operands);
    }
    let Some(command) = Command::new(name, request, operands) else {
        return usage(name);
    };
    command.run(&mut host).map(|()| ExitCode::SUCCESS)
}

/// Reads the arguments; what came up meanwhile is said before a fault is.
fn read(
    called: &str,
    name: &str,
    arguments: impl Iterator<Item = OsString>,
) -> Result<(Request, Vec<OsString>), Failed> {
    let mut request = Request::new(Interface::Mke2fs, name);
    if name == "mkfs.ext3" {
        request.journal = Some(JournalLength::ByFilesystem);
    }
    let parsed = getopt::parse(arguments);
    for (flag, value) in parsed.given {
        let read = (flag.read)(&mut request, &value);
        request.warnings.drain(..).for_each(|text| warn(&text));
        read.or_else(|fault| fail(&messages::fault(&fault, name)))?;
    }
    match parsed.stopped {
        Some(Unreadable(what)) => {
            warn(&format!("{called}: {what}\n"));
            usage(name)
        }
        None => Ok((request, parsed.operands)),
    }
}

fn usage<T>(name: &str) -> Result<T, Failed> {
    fail(&messages::usage(name))
}

fn fail<T>(text: &str) -> Result<T, Failed> {
    warn(text);
    Err(Failed)
}

/// One run.
struct Command {
    /// The last part of the name it was called by.
    program: String,
    request: Request,
    device: PathBuf,
    /// The device's name, for people.
    device_name: String,
    /// The size as it was given.
    size: Option<String>,
    /// Whether there were more operands than a device and a size.
    has_more: bool,
    /// Whether numbers are told while something goes on.
    tells_progress: bool,
}

impl Command {
    fn new(program: &str, request: Request, operands: Vec<OsString>) -> Option<Self> {
        let mut operands = operands.into_iter();
        let device = operands.next()?;
        let size = operands.next();
        Some(Self {
            program: program.to_owned(),
            request,
            device_name: device.to_string_lossy().into_owned(),
            device: device.into(),
            size: size.map(|size| size.to_string_lossy().into_owned()),
            has_more: operands.next().is_some(),
            tells_progress: env::var_os("E2FSPROGS_SKIP_PROGRESS").is_none(),
        })
    }

    fn names(&self) -> Names<'_> {
        Names {
            program: &self.program,
            device: &self.device_name,
            size: self.size.as_deref().unwrap_or_default(),
            journal: self
                .request
                .journal_device
                .as_ref()
                .and_then(|path| path.to_str())
                .unwrap_or_default(),
        }
    }

    /// A line after the program's name.
    fn fail<T>(&self, text: &str) -> Result<T, Failed> {
        fail(&format!("{}: {text}\n", self.program))
    }

    /// Tells what `-q` keeps quiet.
    fn tell(&self, text: &str) {
        if !self.request.quiet {
            tell(text);
        }
    }

    fn run(&self, host: &mut Environment) -> Result<(), Failed> {
        if !self.request.quiet {
            warn(messages::BANNER);
        }
        journal::look_at(&self.request, &self.program, host)?;
        let options = self.options()?;
        self.look_at(host)?;
        form::refuse(&self.request, host, &self.device).or_else(|text| self.fail(&text))?;
        inputs::refuse_output(&self.request, host).or_else(|text| self.fail(&text))?;
        let opened = match host.target.kind {
            TargetKind::Missing => {
                self.check_new(&options, host)?;
                None
            }
            TargetKind::Other if options.has_size() => None,
            _ => Some(self.open(options.has_size())?),
        };
        let (mut settings, mut options) = self.resolve(options, host)?;
        form::refuse_settings(&self.request, &settings, &self.device)
            .or_else(|text| self.fail(&text))?;
        self.ask_whether_to_overwrite(&settings)?;
        let undo = self.undo_file(&settings)?;
        if undo.is_some() {
            options.undoable();
            settings.discard = false;
        }
        let kind = host.target.kind;
        let fits = make::fit(&self.request, &options, host).is_some();
        if !fits {
            let (geometry, fault) = self.geometry(&settings)?;
            if self.request.dry_run && self.request.bad_uuid.is_none() {
                self.report(&settings, &geometry, kind).stats();
                return Ok(());
            }
            if let Some(fault) = fault.filter(|_| self.request.bad_uuid.is_none()) {
                let report = self.report(&settings, &geometry, kind);
                report.until(Step::of_fault(&fault))?;
                return fail(&messages::geometry_error(&fault, self.names()));
            }
        }
        if let Some(text) = &self.request.bad_uuid {
            let text = messages::could_not_parse_uuid(text);
            return fail(&format!("{}: {text}\n", self.device_name));
        }
        let prepared = self.prepare(options, host, &settings)?;
        if self.request.dry_run {
            let ready = &prepared.ready;
            self.report(ready.settings(), ready.geometry(), kind)
                .stats();
            return Ok(());
        }
        let stop = make::Stop::by_signals();
        let output = match opened {
            Some(output) => output,
            None => self.open(true)?,
        };
        let journal = journal::open_in_words(&self.request, &self.program)?;
        let undo = undo.map(|undo| self.open_undo(&undo, &output, prepared.ready.settings()));
        let guarded = stop.guard(output).with_journal(journal);
        self.write(prepared, guarded.with_undo(undo.transpose()?), kind)
    }

    /// The undo file there shall be, if any; how to use it is told.
    fn undo_file(&self, settings: &Settings) -> Result<Option<undo::Wanted>, Failed> {
        let Some(wanted) = undo::file(&self.request, settings, &self.device) else {
            return Ok(None);
        };
        let shown = wanted.path.display().to_string();
        if let Err(error) = wanted.make_room() {
            let reason = sys::reason(&error);
            let (program, texts) = (&self.program, messages::cannot_delete_undo(&reason, &shown));
            texts
                .iter()
                .for_each(|text| warn(&format!("{program}: {text}\n")));
            return Err(Failed);
        }
        tell(&messages::can_be_undone(&shown, &self.device_name));
        Ok(Some(wanted))
    }

    fn open_undo(
        &self,
        wanted: &undo::Wanted,
        output: &Output,
        settings: &Settings,
    ) -> Result<Undo, Failed> {
        wanted
            .open(output, settings)
            .or_else(|error| match messages::undo_fault(&error) {
                Some(fault) => {
                    let doing = messages::WHILE_SETTING_UP;
                    fail(&format!("{}: {fault} {doing}\n", self.device_name))
                }
                None => self.fail(&error.to_string()),
            })
    }

    /// Writes, and tells of it as mke2fs does.
    fn write(&self, prepared: Prepared, output: Guarded, kind: TargetKind) -> Result<(), Failed> {
        let ready = &prepared.ready;
        let (settings, geometry) = (ready.settings().clone(), ready.geometry().clone());
        let report = self.report(&settings, &geometry, kind);
        report.until(Step::Content)?;
        let layout = ready.plan().map(|plan| &plan.layout);
        if let Some(huge) = layout.and_then(|layout| layout.system.huge.as_ref()) {
            report.huge_files(huge);
        }
        report.copying();
        let written = match make::write(&self.request, prepared, output, &|_| {}) {
            Ok(written) => written,
            Err(MakeError::TooShortToRescue { .. }) => return self.fail(messages::SHORT_READ),
            Err(failure) => {
                self.tell("\n");
                return self.fail(&failure.to_string());
            }
        };
        for warning in &written.built.warnings {
            warn(&format!("{}: {warning}\n", self.program));
        }
        report.end();
        if let Some(opening) = Opening::new(&self.request, &written.beside, &self.device) {
            self.tell(&opening.text());
        }
        Ok(())
    }

    fn report<'a>(
        &'a self,
        settings: &'a Settings,
        geometry: &'a Geometry,
        kind: TargetKind,
    ) -> StepReport<'a> {
        StepReport {
            request: &self.request,
            device: &self.device,
            device_name: &self.device_name,
            tells_progress: self.tells_progress,
            settings,
            geometry,
            kind,
        }
    }

    /// The options, with the size and with the type that the program's name stands for.
    fn options(&self) -> Result<Options, Failed> {
        let mut options = self.request.finished();
        if self.request.fs_type.is_none() {
            match self.program.strip_prefix("mkfs.") {
                Some(name) if !name.is_empty() => options.fs_type_by_program(name),
                _ => options.fs_type_by_conf(),
            };
        }
        let size = match (&self.size, self.request.size) {
            (Some(_), Some(_)) => return self.fail(flags::SIZE_TWICE),
            (Some(text), None) => match Size::parse(text) {
                Some(size) => Some(size),
                None => {
                    let text = messages::invalid_blocks(text, &self.device_name);
                    return self.fail(&text);
                }
            },
            (None, Some(SizeArg::Exactly(size))) => Some(size),
            (None, Some(SizeArg::By(_) | SizeArg::Keep) | None) => None,
        };
        if let Some(size) = size {
            options.size(size);
        }
        if self.has_more {
            usage(&self.program)
        } else {
            Ok(options)
        }
    }

    fn look_at(&self, host: &mut Environment) -> Result<(), Failed> {
        match host.probe(&self.device) {
            Ok(_) => Ok(()),
            Err(error) => self.fail_sizing(&error),
        }
    }

    fn fail_sizing<T>(&self, error: &io::Error) -> Result<T, Failed> {
        let reason = sys::reason(error);
        self.fail(&format!("{reason} {}", messages::WHILE_SIZING))
    }

    /// Tells that the output will be created, where it can be.
    fn check_new(&self, options: &Options, host: &Environment) -> Result<(), Failed> {
        if self.request.dry_run {
            // mke2fs looks at what it does not create then.
            return if options.has_size() {
                self.fail(messages::NO_SECTOR_SIZE)
            } else {
                Ok(())
            };
        }
        let parent = self.device.parent().filter(|path| *path != Path::new(""));
        if let Some(Err(error)) = parent.map(fs::metadata) {
            return self.fail_sizing(&error);
        }
        if options.has_size() || make::fit(&self.request, options, host).is_some() {
            self.tell(&messages::creating_file(&self.device_name));
        }
        Ok(())
    }

    fn open(&self, has_size: bool) -> Result<Output, Failed> {
        let error = match make::open(&self.request, &self.device) {
            Ok(output) => return Ok(output),
            Err(error) => error,
        };
        let device = &self.device_name;
        let setting_up = |reason: &str| {
            let doing = messages::WHILE_SETTING_UP;
            fail(&format!("{device}: {reason} {doing}\n"))
        };
        match error.kind() {
            sink::OpenErrorKind::Mounted => fail(&messages::in_use(device, true)),
            sink::OpenErrorKind::InUse => fail(&messages::in_use(device, false)),
            sink::OpenErrorKind::Directory if !has_size => self.fail(messages::DEVICE_HAS_NO_SIZE),
            sink::OpenErrorKind::Directory => setting_up("Is a directory"),
            sink::OpenErrorKind::Io(_) => {
                let reason = std::error::Error::source(&error).and_then(|it| it.downcast_ref());
                match reason.map(sys::reason) {
                    Some(reason) => setting_up(&reason),
                    None => self.fail(&error.to_string()),
                }
            }
            _ => self.fail(&error.to_string()),
        }
    }

    /// Settles the options. What mke2fs asks about is asked, and resolved again as answered.
    fn resolve(
        &self,
        mut options: Options,
        host: &Environment,
    ) -> Result<(Settings, Options), Failed> {
        let mut said = 0;
        let mut say_new = |warnings: &[SettingsWarning]| {
            let names = self.names();
            for warning in &warnings[said.min(warnings.len())..] {
                if !self.request.quiet
                    || !matches!(warning.kind(), SettingsWarningKind::LargeClusters)
                {
                    say(messages::warning(warning, names, self.request.verbose));
                }
            }
            said = warnings.len();
        };
        loop {
            let resolved = match make::fit(&self.request, &options, host) {
                Some(_) => make::probe(&options, host),
                None => options.resolve(host).map(|resolved| {
                    say_new(&resolved.warnings);
                    resolved.settings
                }),
            };
            let error = match resolved {
                Ok(settings) => return Ok((settings, options)),
                Err(error) => error,
            };
            say_new(error.warnings());
            say(messages::settings_error(error.kind(), self.names()));
            if !matches!(error.kind(), SettingsErrorKind::BlockAbovePage { .. }) {
                return Err(Failed);
            }
            proceed(self.request.proceed_delay)?;
            options.force();
        }
    }

    /// At a terminal, asks before what the output holds is overwritten.
    fn ask_whether_to_overwrite(&self, settings: &Settings) -> Result<(), Failed> {
        let at_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        if !at_terminal || settings.offset_bytes != 0 {
            return Ok(());
        }
        // What is not there or cannot be read holds nothing that could be told.
        let Ok(Some(existing)) = existing::look(&self.device) else {
            return Ok(());
        };
        say(messages::contains(&self.device_name, &existing));
        match self.request.force {
            0 => proceed(self.request.proceed_delay),
            _ => Ok(()),
        }
    }

    /// The geometry, and a fault of it that mke2fs finds while it writes.
    fn geometry(&self, settings: &Settings) -> Result<(Geometry, Option<GeometryError>), Failed> {
        let advise = |geometry: &Geometry| {
            self.tell(&messages::checksum_advice(geometry.features));
            if geometry.too_small_for_journal {
                warn(messages::TOO_SMALL_FOR_JOURNAL);
            }
        };
        let failed = match Geometry::until_written(settings) {
            Ok((geometry, fault)) => {
                advise(&geometry);
                return Ok((geometry, fault));
            }
            Err(error) => error,
        };
        if matches!(
            failed,
            GeometryError::JournalLength { .. } | GeometryError::JournalTooBig { .. }
        ) {
            self.tell(&messages::checksum_advice(settings.features));
        }
        fail(&messages::geometry_error(&failed, self.names()))
    }

    /// Reads the source and decides every block. What was said of the options is not said again.
    fn prepare(
        &self,
        options: Options,
        host: &Environment,
        settings: &Settings,
    ) -> Result<Prepared, Failed> {
        let fits = make::fit(&self.request, &options, host).is_some();
        let world = World {
            host,
            settings,
            base: None,
        };
        let failure = match make::prepare(&self.request, options, world) {
            Ok(prepared) => {
                for warning in &prepared.warnings() {
                    match warning {
                        crate::Warning::Options(warning) if fits => {
                            say(messages::warning(
                                warning,
                                self.names(),
                                self.request.verbose,
                            ));
                        }
                        crate::Warning::TooSmallForJournal if fits => {
                            warn(messages::TOO_SMALL_FOR_JOURNAL);
                        }
                        crate::Warning::Options(_)
                        | crate::Warning::TooSmallForJournal
                        | crate::Warning::JournalElsewhere { .. } => {}
                        warning => warn(&format!("{}: {warning}\n", self.program)),
                    }
                }
                return Ok(prepared);
            }
            Err(failure) => failure,
        };
        let MakeError::Error(error) = &failure else {
            return self.fail(&failure.to_string());
        };
        match error.room() {
            Kind::Settings(error) => {
                say(messages::settings_error(error.kind(), self.names()));
                Err(Failed)
            }
            Kind::Geometry(error) => fail(&messages::geometry_error(error, self.names())),
            Kind::Layout(LayoutError::NoRoom { owner, .. }) => {
                let Some(text) = messages::no_room(*owner, &self.program) else {
                    return self.fail(&failure.to_string());
                };
                if let (false, Ok(geometry)) = (fits, Geometry::new(settings)) {
                    let report = self.report(settings, &geometry, host.target.kind);
                    report.until(Step::of_owner(*owner))?;
                }
                fail(&text)
            }
            _ => self.fail(&failure.to_string()),
        }
    }
}
