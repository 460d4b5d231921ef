//! Given arguments, does what they ask in our own words; never prints what mke2fs would.
//!
//! clap reads the arguments here: its help and its hints suit people. The flags are those of
//! [`FLAGS`](super::flags::FLAGS), so that any command line for mke2fs works as well.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::flags::{FLAGS, Fault, Flag, Help};
use super::json::Object;
use super::make::{self, Failure, Work};
use super::request::{Manner, Request, SizeWish};
use super::{Failed, existing, tell, warn, words};
use crate::geometry::Geometry;
use crate::layout::Layout;
use crate::options::{Host, Options, Settings, Size};
use crate::source::Readable;
use crate::sys;

const OUTPUT: &str = "OUTPUT";
const SIZE: &str = "SIZE";

const ABOUT: &str = "Write an ext4 filesystem to a file or a device, and fill it from a directory";

const EXAMPLES: &str = "\
Examples:
  mke4fs disk.img 512M
      An empty filesystem of 512 MiB in a new file
  mke4fs -d rootfs -L root disk.img
      A filesystem with all that is under rootfs, and some room
  mke4fs -d rootfs --size min disk.img
      The same, as small as can be
  mke4fs -d rootfs --size +512M --keep-root disk.img
      The same, with 512 MiB free for ordinary users, and rootfs's own owner and mode
  SOURCE_DATE_EPOCH=1700000000 mke4fs -d rootfs \\
      -U 01234567-89ab-4def-8123-456789abcdef \\
      -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210 disk.img
      The same bytes on every machine
  mke4fs -O ^has_journal,^orphan_file -m 0 -E root_owner=1000:1000 disk.img 64M
      No journal, nothing kept for root, and a root directory of user 1000

Sizes are numbers of KiB, or of blocks with -b; k, M, G and T, and s for sectors, may follow.
Called mke2fs or mkfs.ext4, it speaks the words of mke2fs.";

/// Does what the arguments after the program's name ask.
pub(super) fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), Failed> {
    let begun = Instant::now();
    let arguments = std::iter::once(OsString::from("mke4fs")).chain(arguments);
    let matches = command().try_get_matches_from(arguments).map_err(|error| {
        let text: StyledStr = error.render();
        match io::stderr().is_terminal() {
            true => warn(&text.ansi().to_string()),
            false => warn(&text.to_string()),
        }
        Failed
    })?;
    let request = read(&matches)?;
    if request.help {
        tell(&help());
        return Ok(());
    }
    if request.version {
        tell(&format!("mke4fs {}\n", env!("CARGO_PKG_VERSION")));
        return Ok(());
    }
    let Some(output) = matches.get_one::<OsString>(OUTPUT) else {
        return fail("an output is needed, a file or a device; --help tells more");
    };
    let run = Run {
        begun,
        request,
        output: PathBuf::from(output),
        size: matches.get_one::<OsString>(SIZE).cloned(),
    };
    run.run()
}

/// The text of `--help`.
pub(super) fn help() -> String {
    command().render_help().to_string()
}

fn command() -> clap::Command {
    let operand = |name: &'static str| Arg::new(name).value_parser(value_parser!(OsString));
    let command = clap::Command::new("mke4fs")
        .about(ABOUT)
        .after_help(EXAMPLES)
        .override_usage("mke4fs [OPTIONS] OUTPUT [SIZE]")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(operand(OUTPUT).help("The file or device to write; a file may be new"))
        .arg(operand(SIZE).help("How long the filesystem shall be: 64M, 8G, 2048s"));
    FLAGS.iter().fold(command, |command, flag| command.arg(arg(flag)))
}

fn arg(flag: &'static Flag) -> Arg {
    let mut arg = Arg::new(flag.name()).action(ArgAction::Count);
    if let Some(value) = flag.value {
        // As with getopt, what follows is the value, even if it begins with a hyphen.
        arg = arg
            .action(ArgAction::Append)
            .value_name(value)
            .value_parser(value_parser!(OsString))
            .allow_hyphen_values(true);
    }
    arg = match (flag.letter, flag.long) {
        (Some(letter), _) => arg.short(letter),
        (None, Some(long)) => arg.long(long),
        (None, None) => arg,
    };
    match flag.help {
        Help::Is(text) => arg.help(text),
        Help::NotYet => arg.hide(true),
    }
}

/// Reads the flags in the order in which they were given.
fn read(matches: &ArgMatches) -> Result<Request, Failed> {
    let mut given = Vec::new();
    for flag in &FLAGS {
        let name = flag.name();
        if flag.value.is_none() {
            let times = matches.get_count(&name);
            given.extend((0..times).map(|_| (0, flag, OsString::new())));
        } else if let (Some(indices), Some(values)) =
            (matches.indices_of(&name), matches.get_many::<OsString>(&name))
        {
            let values = indices.zip(values.cloned());
            given.extend(values.map(|(index, value)| (index, flag, value)));
        }
    }
    given.sort_by_key(|(index, ..)| *index);
    let mut request = Request::new(Manner::Mke4fs);
    for (_, flag, value) in given {
        match (flag.read)(&mut request, &value) {
            Ok(()) => {}
            Err(Fault::Line(text) | Fault::LineAndUsage(text)) => return fail(&text),
            Err(Fault::Text { ours, .. }) => return fail(&ours),
        }
    }
    Ok(request)
}

fn fail<T>(text: &str) -> Result<T, Failed> {
    warn(&format!("mke4fs: {text}\n"));
    Err(Failed)
}

fn warn_of(text: &str) {
    warn(&format!("mke4fs: warning: {text}\n"));
}

/// One run.
struct Run {
    begun: Instant,
    request: Request,
    output: PathBuf,
    /// The size after the output.
    size: Option<OsString>,
}

impl Run {
    fn run(&self) -> Result<(), Failed> {
        let mut host = Host::detect();
        if let Err(error) = host.look_at(&self.output) {
            let path = Readable(self.output.as_os_str().as_encoded_bytes());
            return fail(&format!("cannot look at {path}: {}", sys::reason(&error)));
        }
        let options = self.options()?;
        let mut settings = self.settle(&options, &host)?;
        match self.make(&mut settings) {
            Ok(()) => Ok(()),
            Err(failure) => fail(&failure.to_string()),
        }
    }

    fn options(&self) -> Result<Options, Failed> {
        let mut options = self.request.finished();
        let size = match (&self.size, self.request.size) {
            (Some(_), Some(_)) => return fail(words::SIZE_TWICE),
            (Some(text), None) => {
                let text = text.to_string_lossy();
                match Size::parse(&text) {
                    Some(size) => Some(size),
                    None => return fail(&words::bad_size(&text)),
                }
            }
            (None, Some(SizeWish::Exactly(size))) => Some(size),
            (None, Some(_)) => return fail(&words::not_yet("a size by the content")),
            (None, None) => None,
        };
        if let Some(size) = size {
            options.size(size);
        }
        Ok(options)
    }

    fn settle(&self, options: &Options, host: &Host) -> Result<Settings, Failed> {
        let (notices, settings) = match options.settle(host) {
            Ok(settled) => (settled.notices, Ok(settled.settings)),
            Err(error) => (error.notices().to_vec(), Err(error)),
        };
        for notice in notices {
            if notice.is_warning() {
                warn_of(&notice.to_string());
            } else if self.request.verbose {
                warn(&format!("mke4fs: {notice}\n"));
            }
        }
        settings.or_else(|error| fail(&error.to_string()))
    }

    fn make(&self, settings: &mut Settings) -> Result<(), Failure> {
        let (tree, notices) = make::tree(&self.request, settings, &self.output)?;
        for notice in notices {
            warn_of(&notice.to_string());
        }
        make::raise_inodes(&self.request, settings, &tree);
        let layout = make::layout(settings, &tree)?;
        for warning in &layout.warnings {
            warn_of(&warning.to_string());
        }
        if layout.geometry.too_small_for_journal {
            warn_of("the filesystem is too small for a journal, and has none");
        }
        if !self.request.dry_run {
            let output = make::open(&self.request, &self.output)?;
            self.confirm()?;
            let bar = self.bar(&layout);
            let work = Work {
                request: &self.request,
                settings,
                layout: &layout,
                tree: &tree,
                progress: &|bytes| bar.inc(bytes),
                cancel: &make::cancel(),
            };
            let written = make::write(&work, output);
            bar.finish_and_clear();
            if let Err(failure) = written {
                make::die_if_cancelled(&work, &failure);
                return Err(failure);
            }
        }
        self.summarise(settings, &layout);
        Ok(())
    }

    /// At a terminal, asks before what the output holds is overwritten.
    fn confirm(&self) -> Result<(), Failure> {
        let at_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !at_terminal || self.request.force > 0 {
            return Ok(());
        }
        let Ok(Some(existing)) = existing::look(&self.output) else {
            return Ok(());
        };
        let (_, text) = words::contains(&self.output.to_string_lossy(), &existing);
        warn(&format!("{text}Overwrite it? (y/N) "));
        let mut answer = String::new();
        match io::stdin().read_line(&mut answer) {
            Ok(_) if answer.starts_with(['y', 'Y']) => Ok(()),
            _ => Err(Failure::Declined),
        }
    }

    /// A bar that shows at a terminal how far the writing is.
    fn bar(&self, layout: &Layout) -> ProgressBar {
        let hidden = self.request.quiet || self.request.json || !io::stderr().is_terminal();
        if hidden {
            return ProgressBar::hidden();
        }
        let geometry = &layout.geometry;
        let used = geometry.blocks_count - layout.ledger.total_free();
        let bytes = used * geometry.block_size.bytes_u64();
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(
            "writing [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        );
        match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }

    fn summarise(&self, settings: &Settings, layout: &Layout) {
        let made = Made {
            path: &self.output,
            dry_run: self.request.dry_run,
            settings,
            layout,
            took: self.begun.elapsed(),
        };
        if self.request.json {
            tell(&made.json());
        } else if !self.request.quiet {
            tell(&made.text());
            if self.request.verbose {
                tell(&made.details());
            }
        }
    }
}

/// What was made, or would be.
struct Made<'a> {
    path: &'a Path,
    dry_run: bool,
    settings: &'a Settings,
    layout: &'a Layout,
    took: Duration,
}

impl Made<'_> {
    fn geometry(&self) -> &Geometry {
        &self.layout.geometry
    }

    fn uuid(&self) -> String {
        uuid::Uuid::from_bytes(self.settings.uuid).to_string()
    }

    fn label(&self) -> &[u8] {
        let label = self.settings.label.split(|byte| *byte == 0).next();
        label.unwrap_or_default()
    }

    fn size_bytes(&self) -> u64 {
        self.geometry().blocks_count * self.geometry().block_size.bytes_u64()
    }

    fn blocks_free(&self) -> u64 {
        self.layout.ledger.total_free()
    }

    fn inodes_used(&self) -> u64 {
        self.layout.last_ino().get().into()
    }

    fn text(&self) -> String {
        let (geometry, blocks_free) = (self.geometry(), self.blocks_free());
        let path = Readable(self.path.as_os_str().as_encoded_bytes());
        let verb = if self.dry_run { "would write" } else { "wrote" };
        let label = match self.label() {
            [] => String::new(),
            label => format!(" '{}'", Readable(label)),
        };
        let block_bytes = geometry.block_size.bytes_u64();
        format!(
            "{verb} {path}: ext4{label}, {}, UUID {}\n{} of {} free in blocks of {} bytes, \
             {} of {} inodes free, {}.{:03} s\n",
            binary(self.size_bytes()),
            self.uuid(),
            binary(blocks_free * block_bytes),
            binary(self.size_bytes()),
            block_bytes,
            u64::from(geometry.inodes_count) - self.inodes_used(),
            geometry.inodes_count,
            self.took.as_secs(),
            self.took.subsec_millis(),
        )
    }

    fn details(&self) -> String {
        let geometry = self.geometry();
        let features: Vec<_> = geometry.features.iter().map(|it| it.name()).collect();
        let journal = match geometry.journal_blocks {
            Some(blocks) => {
                let bytes = u64::from(blocks) * geometry.block_size.bytes_u64();
                format!("a journal of {}", binary(bytes))
            }
            None => "no journal".to_owned(),
        };
        format!(
            "{} groups of {} blocks and {} inodes of {} bytes, {journal}\nfeatures {}\n",
            geometry.groups,
            geometry.blocks_per_group,
            geometry.inodes_per_group,
            geometry.inode_size,
            features.join(" "),
        )
    }

    fn json(&self) -> String {
        let geometry = self.geometry();
        let features = geometry.features.iter().map(|feature| feature.name());
        let inodes = u64::from(geometry.inodes_count);
        let mut object = Object::new();
        object
            .bytes("path", self.path.as_os_str().as_encoded_bytes())
            .truth("dry_run", self.dry_run)
            .text("type", "ext4")
            .text("uuid", &self.uuid())
            .bytes("label", self.label())
            .number("size_bytes", self.size_bytes())
            .number("offset_bytes", self.settings.offset_bytes)
            .number("block_size", geometry.block_size.bytes_u64())
            .number("inode_size", geometry.inode_size.into())
            .number("blocks", geometry.blocks_count)
            .number("blocks_used", geometry.blocks_count - self.blocks_free())
            .number("blocks_free", self.blocks_free())
            .number("blocks_reserved", geometry.reserved_blocks)
            .number("inodes", inodes)
            .number("inodes_used", self.inodes_used())
            .number("inodes_free", inodes - self.inodes_used())
            .texts("features", features)
            .seconds("seconds", self.took);
        object.finish()
    }
}

/// A number of bytes for people, in units of 1024.
fn binary(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
