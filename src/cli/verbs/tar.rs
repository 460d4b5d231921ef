//! Given an image and paths in it, writes a tar archive of them to standard output; never to a file.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Verb, VerbError, image};
use crate::cli::warn;
use crate::export::ExportError;
use crate::export::tar::{self, Omitted};
use crate::read::Filesystem;
use crate::source::Readable;

pub(super) const VERB: Verb = Verb {
    name: "tar",
    about: "Write files of an image to standard output as a tar archive",
    arguments,
    run,
    trouble: 1,
};

const PATH: &str = "PATH";
/// How many buffers there are for those who read and who write, and how many bytes each has.
const BUFFERS: usize = 4;
const BUFFER_BYTES: usize = 1 << 19;

fn arguments(command: Command) -> Command {
    let path = Arg::new(PATH)
        .action(ArgAction::Append)
        .value_parser(value_parser!(OsString))
        .help("File or directory to write, with everything below it [default: /]");
    image::arguments(command).arg(path)
}

fn run(matches: &ArgMatches) -> Result<ExitCode, VerbError> {
    let (filesystem, name) = image::filesystem(matches)?;
    let paths = matches.get_many::<OsString>(PATH).unwrap_or_default();
    let paths: Vec<Vec<u8>> = paths.map(|path| path.as_encoded_bytes().to_vec()).collect();
    let omitted = write(&filesystem, &paths).map_err(|error| match error {
        ExportError::Write(error) => VerbError::unwritten(error),
        error => VerbError::Line(format!("{name}: {error}")),
    })?;
    let first = Readable(&omitted.first_socket);
    let what = match omitted.sockets {
        0 => return Ok(ExitCode::SUCCESS),
        1 => "1 socket is".to_owned(),
        many => format!("{many} sockets are"),
    };
    warn(&format!(
        "mke4fs tar: warning: {what} not in the archive (first: {first}): tar has no sockets\n"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes the archive while what comes next is read.
fn write(filesystem: &Filesystem<'_>, paths: &[Vec<u8>]) -> Result<Omitted, ExportError> {
    thread::scope(|scope| {
        let (full, to_write) = sync_channel(BUFFERS);
        let (emptied, empty) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            // There is room for all of them, and somebody at the other end.
            let _ = emptied.send(Vec::with_capacity(BUFFER_BYTES));
        }
        let writer = move || write_all(&to_write, &emptied);
        let Ok(writer) = thread::Builder::new().spawn_scoped(scope, writer) else {
            // Where there are no threads, what is read is written at once.
            let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
            let omitted = tar::write(filesystem, paths, &mut out)?;
            out.flush().map_err(ExportError::Write)?;
            return Ok(omitted);
        };
        let mut pipe = Pipe {
            full,
            empty,
            buffer: Vec::new(),
        };
        let written = tar::write(filesystem, paths, &mut pipe);
        drop(pipe);
        let ended = writer.join().unwrap_or_else(|_| {
            let text = "the thread that writes ended before its time";
            Err(io::Error::other(text))
        });
        // Where writing failed, that is why the rest did.
        ended.map_err(ExportError::Write)?;
        written
    })
}

/// Writes full buffers to standard output.
fn write_all(full: &Receiver<Vec<u8>>, emptied: &SyncSender<Vec<u8>>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for mut buffer in full {
        out.write_all(&buffer)?;
        buffer.clear();
        // Nobody may want another one.
        let _ = emptied.try_send(buffer);
    }
    out.flush()
}

/// Where one thread fills buffers that another one writes.
struct Pipe {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Pipe {
    /// Hands the buffer over, and takes an empty one.
    fn turn(&mut self) -> io::Result<()> {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let buffer = std::mem::take(&mut self.buffer);
        self.full.send(buffer).map_err(|_| closed())?;
        self.buffer = self.empty.recv().map_err(|_| closed())?;
        Ok(())
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES && !self.buffer.is_empty() {
            self.turn()?;
        }
        let part = bytes.get(..BUFFER_BYTES).unwrap_or(bytes);
        self.buffer.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.turn()
    }
}
