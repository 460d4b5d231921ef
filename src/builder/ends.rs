//! Given what an image shall be, makes it in a file, in memory or in a sink; never in two ways.

use std::fs;
use std::io;
use std::path::Path;

use super::forms::{Form, Formed};
use super::run::{self, Run};
use super::{Builder, Plan, PreparedImage};
use crate::emit::{self, Reflink, Sinks, Writing};
use crate::error::{Error, Kind};
use crate::options::{Environment, Settings, Size, TargetKind};
use crate::sink::{File, Format, Memory, Ordered, Output, Piece, Sink};
use crate::source::Readable;
use crate::source::options::{IS_OUTPUT, spool_directory};
use crate::summary::Summary;
use crate::sys;
use crate::tree::Kind as NodeKind;

fn failed(error: io::Error) -> Error {
    Error::new(Kind::Output(error))
}

impl Builder {
    /// Makes the image in the file or on the device `path`, which may be new. Whatever is the matter, what
    /// is refused is left as it was, and what was begun is undone: a new file is gone, and one that was
    /// there has its length and no superblock.
    ///
    /// Unless there is a size or a [fit](Self::fit), a file is as large as its content needs
    /// ([`Fit::Auto`](crate::Fit)), whatever it held before. A device is filled, and so is a file that is
    /// there and gets no content or has an [offset](Self::offset).
    ///
    /// # Errors
    /// As those of [`plan`](Self::plan); and where the output is in use or fails.
    pub fn write_file(mut self, path: impl AsRef<Path>) -> Result<Summary, Error> {
        let path = path.as_ref();
        let mut environment = self.world();
        environment.probe(path).map_err(failed)?;
        // What cannot be written is refused before a source is read. A new file is created after that, since
        // it may lie in the source.
        let mut output = match environment.target.kind {
            TargetKind::Missing => None,
            _ => Some(run::open(path)?),
        };
        if let (Some(output), true) = (&mut output, self.replaces(&environment)?) {
            // What it holds has no say in what it becomes.
            output.replace(0);
            environment.target.kind = TargetKind::Missing;
        }
        self.wanted.for_output(path);
        let (run, format) = (self.run.clone(), self.format);
        let mut ready = self.environment(environment).prepare()?;
        let format = file_format(format, ready.settings());
        let output = output.map_or_else(|| run::open(path), Ok)?;
        ready.probe(run.cancel.flag())?;
        if let Some(plan) = ready.plan() {
            plan.check_apart(&output)?;
        }
        if format == Format::Raw {
            ready.write_output(output, &run)
        } else {
            check_regular(&output, format)?;
            let total = ready.total(&run);
            write_container(format, &run, total, |form, writing| {
                ready.write_formed(output, form, writing)
            })
        }
    }

    /// Makes the image in `file`, which is open for reading and writing: a regular file, which grows where it
    /// is too short, or a block device. An open descriptor is one as well, by `File::from`.
    ///
    /// Unless there is a size or a [fit](Self::fit), the image reaches to the end of the file, or, where that is
    /// empty, is as large as its content needs. Blocks that stay free keep what the file held: shorten it to
    /// nothing before for the bytes of a new file.
    ///
    /// Nothing is locked, and nothing undone but that what is not finished has no superblock.
    ///
    /// # Errors
    /// As those of [`plan`](Self::plan); and where `file` fails or is too small.
    pub fn write_open_file(mut self, file: fs::File) -> Result<Summary, Error> {
        let mut sink = File::from_open(file).map_err(failed)?;
        self.sized_by(sink.size_bytes())?;
        let run = self.run.clone();
        let ready = self.prepare_raw()?;
        if let Some(plan) = ready.plan() {
            plan.check_not_in(sink.handle())?;
        }
        sink.make_room(ready.size_bytes()).map_err(failed)?;
        ready.write_sink(&sink, &run)
    }

    /// Makes the image in memory, and gives its bytes.
    ///
    /// # Errors
    /// As those of [`plan`](Self::plan); and where there is not so much memory.
    pub fn to_vec(self) -> Result<Vec<u8>, Error> {
        let run = self.run.clone();
        let ready = self.prepare_raw()?;
        let memory = Memory::new(ready.size_bytes());
        ready.write_sink(&memory, &run)?;
        memory.into_bytes().map_err(failed)
    }

    /// Makes the image in `sink`. Unless there is a size or a [fit](Self::fit), it reaches to the end of the
    /// sink. Of a sink that holds other bytes than zeros, blocks that stay free keep them.
    ///
    /// # Errors
    /// As those of [`plan`](Self::plan); and where `sink` fails or is too small.
    pub fn write_to(mut self, sink: &dyn Sink) -> Result<Summary, Error> {
        self.sized_by(sink.size_bytes())?;
        let run = self.run.clone();
        self.prepare_raw()?.write_sink(sink, &run)
    }

    /// Hands the image on to `take` in the order of its bytes, in pieces of data and holes. Any of the
    /// [threads](Self::threads) calls it, this one or another, but never two at the same time.
    ///
    /// A source that is a stream waits in temporary files until it is at its end.
    ///
    /// # Errors
    /// As those of [`plan`](Self::plan); and where `take` fails.
    pub fn write_in_order(
        self,
        take: impl FnMut(Piece<'_>) -> io::Result<()> + Send,
    ) -> Result<Summary, Error> {
        let run = self.run.clone();
        let ready = self.prepare_raw()?;
        let sink = Ordered::new(ready.size_bytes(), take);
        let summary = ready.write_sink(&sink, &run)?;
        sink.finish().map_err(failed)?;
        Ok(summary)
    }

    /// What is to be written as the bytes of the filesystem and nothing else.
    pub(super) fn prepare_raw(self) -> Result<PreparedImage, Error> {
        let format = self.format;
        let ready = self.prepare()?;
        check_raw(format, ready.settings())?;
        Ok(ready)
    }

    /// Lets the image end where the output does, if that has an end and nothing else says how large the image
    /// shall be.
    fn sized_by(&mut self, size_bytes: u64) -> Result<(), Error> {
        let is_sized = size_bytes > 0 && size_bytes < u64::MAX;
        if is_sized && self.fit.is_none() && !self.options.has_size() {
            let environment = self.world();
            let settings = self.options.of_any_size().resolve(&environment)?.settings;
            self.environment = Some(environment);
            let image_bytes = size_bytes.saturating_sub(settings.offset_bytes);
            self.options.size(Size::Bytes(image_bytes));
        }
        Ok(())
    }

    /// Whether the image takes the place of all that a regular file holds, as a new one does.
    fn replaces(&self, environment: &Environment) -> Result<bool, Error> {
        let is_file = matches!(environment.target.kind, TargetKind::File { .. });
        if !is_file {
            return Ok(false);
        }
        let settings = self.options.of_any_size().resolve(environment)?.settings;
        let has_content = !self.wanted.sources.is_empty();
        Ok(takes_whole_file(self.format, &settings, has_content))
    }
}

/// Whether an image leaves nothing of what a regular file held: a container, and content that begins where the file
/// does.
fn takes_whole_file(format: Format, settings: &Settings, has_content: bool) -> bool {
    file_format(format, settings) != Format::Raw
        || has_content && settings.offset_bytes == 0 && !settings.super_only
}

/// The format of a file: `format`, unless that is none and mke2fs's options ask for theirs.
fn file_format(format: Format, settings: &Settings) -> Format {
    if format == Format::Raw && settings.android_sparse {
        Format::AndroidSparse
    } else {
        format
    }
}

/// Refuses whatever makes the output more than the bytes of the filesystem.
fn check_raw(format: Format, settings: &Settings) -> Result<(), Error> {
    match file_format(format, settings) {
        Format::Raw => Ok(()),
        other => Err(Error::new(Kind::NotRaw(other))),
    }
}

/// Refuses an output that cannot have a `format`.
fn check_regular(output: &Output, format: Format) -> Result<(), Error> {
    if output.file().is_block_device() {
        Err(Error::new(Kind::NotRaw(format)))
    } else {
        Ok(())
    }
}

/// Has `write` write an image in `format`, and keeps it.
fn write_container(
    format: Format,
    run: &Run,
    total: Option<u64>,
    write: impl FnOnce(&Form<'_>, &Writing<'_>) -> Result<Formed, Error>,
) -> Result<Summary, Error> {
    let form = Form {
        format,
        verity: None,
        tree: None,
        bmap: false,
        spool_directory: &spool_directory(),
    };
    let formed = run.write(total, false, |writing| write(&form, writing))?;
    let (built, _) = formed.keep();
    Ok(built.into_summary())
}

impl PreparedImage {
    fn write_output(self, output: Output, run: &Run) -> Result<Summary, Error> {
        let image = self.range();
        let is_device = output.file().is_block_device();
        if let Some(plan) = self.plan() {
            plan.check_sharing(Some(output.file()), run.reflink)?;
        }
        run::write_output(output, &image, |file| {
            let total = self.total(run);
            let built = run.write(total, is_device, |writing| self.write(file, writing))?;
            Ok(built.into_summary())
        })
    }

    fn write_sink(self, sink: &dyn Sink, run: &Run) -> Result<Summary, Error> {
        let total = self.total(run);
        let built = run.write(total, false, |writing| {
            if sink.is_in_order() {
                self.write_in_order(sink, &spool_directory(), writing)
            } else {
                self.write(sink, writing)
            }
        })?;
        Ok(built.into_summary())
    }

    fn total(&self, run: &Run) -> Option<u64> {
        self.plan()?.total(run)
    }
}

impl Plan {
    /// Writes the image to the file or device `path`, as [`Builder::write_file`] does: a file that was there
    /// holds nothing but the image then, unless that has no content or an offset. A device, and such a file,
    /// keep what they hold in blocks that stay free.
    ///
    /// # Errors
    /// Where the output is in use, fails or is too small, content cannot be read or changed since it was
    /// declared, or the run is cancelled.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<Summary, Error> {
        let format = file_format(self.format, &self.settings);
        let mut output = run::open(path.as_ref())?;
        self.check_apart(&output)?;
        if takes_whole_file(self.format, &self.settings, self.has_content) {
            output.replace(0);
        }
        if format != Format::Raw {
            check_regular(&output, format)?;
            let total = self.total(&self.run);
            return write_container(format, &self.run, total, |form, writing| {
                self.write_formed(output, form, writing)
            });
        }
        let is_device = output.file().is_block_device();
        self.check_sharing(Some(output.file()), self.run.reflink)?;
        run::write_output(output, &self.range(), |file| {
            let total = self.total(&self.run);
            let sinks = Sinks {
                image: file,
                journal: None,
            };
            let write = |writing: &Writing<'_>| self.write_hashed(sinks, writing);
            let fs_verity = self.run.write(total, is_device, write)?;
            Ok(Summary {
                fs_verity,
                ..self.summary()
            })
        })
    }

    /// Writes the image to `sink`.
    ///
    /// # Errors
    /// As those of [`write_file`](Self::write_file). The sink then holds no superblock.
    pub fn write_to(&self, sink: &dyn Sink) -> Result<Summary, Error> {
        check_raw(self.format, &self.settings)?;
        let total = self.total(&self.run);
        let sinks = Sinks {
            image: sink,
            journal: None,
        };
        let write = |writing: &Writing<'_>| self.write_hashed(sinks, writing);
        let fs_verity = self.run.write(total, false, write)?;
        Ok(Summary {
            fs_verity,
            ..self.summary()
        })
    }

    /// Writes the image to memory, and gives its bytes, those before it included where it has an offset.
    ///
    /// # Errors
    /// As those of [`write_to`](Self::write_to); and where there is not so much memory.
    pub fn to_vec(&self) -> Result<Vec<u8>, Error> {
        let memory = Memory::new(self.size_bytes());
        self.write_to(&memory)?;
        memory.into_bytes().map_err(failed)
    }

    /// Refuses an output that was there and that files are read from.
    fn check_apart(&self, output: &Output) -> Result<(), Error> {
        if output.is_new() {
            return Ok(());
        }
        self.check_not_in(output.file().handle())
    }

    fn check_not_in(&self, output: &fs::File) -> Result<(), Error> {
        let refused = |name: &str| {
            let text = format!("{name}: {IS_OUTPUT}");
            Err(failed(io::Error::other(text)))
        };
        let base = self.old.as_ref().map(|old| old.file.handle());
        if base.is_some_and(|base| sys::are_one_file(base, output)) {
            return refused("the base");
        }
        for (_, node) in self.tree.nodes() {
            if let NodeKind::File(content) = &node.kind
                && content.source.lies_in(content.key, output)
            {
                let name = content.source.describe(content.key);
                return refused(&Readable(&name).to_string());
            }
        }
        Ok(())
    }

    /// Refuses, while the output is as it was, what is to be shared with `sink` and cannot be; without one,
    /// nothing can.
    pub(crate) fn check_sharing(&self, sink: Option<&File>, reflink: Reflink) -> Result<(), Error> {
        if reflink != Reflink::Always {
            return Ok(());
        }
        let sink = sink.map(|sink| -> &dyn Sink { sink });
        emit::check_sharing(&self.settings, &self.layout, &self.tree, sink)?;
        Ok(())
    }

    pub(super) fn total(&self, run: &Run) -> Option<u64> {
        let bytes = || emit::bytes_to_write(&self.settings, &self.layout, &self.tree);
        run.tells_progress().then(bytes)
    }
}
