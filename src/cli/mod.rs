//! Given the arguments of the process, does what they ask and gives its status; never knows ext4.
//!
//! Called mke2fs or mkfs.*, the command speaks mke2fs's words (`mke2fs`); by any other name, our
//! own (`mke4fs`). Both read one table of flags and make the filesystem in one way (`make`).

mod base;
mod check;
mod existing;
mod explain;
mod flags;
mod form;
mod form_args;
mod getopt;
mod help;
mod hint;
#[cfg(feature = "oci")]
mod images;
mod inputs;
mod journal;
mod location;
mod make;
mod mend;
mod messages;
mod mke2fs;
mod mke4fs;
#[cfg(feature = "oci")]
mod oci_config;
mod overwrite;
mod partitions;
#[cfg(not(target_family = "wasm"))]
mod progress;
#[cfg(target_family = "wasm")]
#[path = "no_progress.rs"]
mod progress;
mod request;
mod rules;
mod sizes;
mod sources;
mod steps;
mod stream;
mod suited;
mod undo;
mod update;
mod verbs;

use std::ffi::{OsStr, OsString};
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use stream::{tell, tell_surely, warn};

/// Runs the command: its name first, then its arguments.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Without it the status of an abort is another, and a new output would be left.
    #[cfg(unix)]
    let _ = crate::cancel::fail_on_abort();
    // Where it stays as it is, the file that grew too long is not left either.
    #[cfg(unix)]
    let _ = crate::cancel::ignore_file_size_signal();
    let mut arguments = arguments.into_iter();
    let called = arguments.next().unwrap_or_else(|| "mke4fs".into());
    let name = name_of(&called);
    let done = if name == "mke2fs" || name.starts_with("mkfs.") {
        mke2fs::run(&called.to_string_lossy(), &name, arguments)
    } else {
        mke4fs::run(arguments)
    };
    match done {
        Ok(status) => status,
        Err(Failed) => ExitCode::FAILURE,
    }
}

/// The name of the command that was called, without what makes a file of it a program on Windows.
fn name_of(called: &OsStr) -> String {
    let name = Path::new(called).file_name().unwrap_or(OsStr::new(""));
    let name = name.to_string_lossy();
    match name.rsplit_once('.') {
        Some((name, end)) if end.eq_ignore_ascii_case("exe") => name.to_ascii_lowercase(),
        _ => name.into_owned(),
    }
}

/// What is to be said was said; the status remains.
#[derive(Debug)]
struct Failed;

/// Writes what stands with its stream.
fn say((stream, text): (messages::Stream, String)) {
    match stream {
        messages::Stream::Out => tell(&text),
        messages::Stream::Err => warn(&text),
    }
}

/// Asks whether to go on, in mke2fs's words; the end of the input is no, and silence is yes after
/// `delay` seconds.
fn proceed(delay: Option<NonZero<u64>>) -> Result<(), Failed> {
    let answer = match delay {
        None => {
            tell(messages::PROCEED);
            Some(answer())
        }
        Some(seconds) => {
            tell(&messages::proceed_or_wait(seconds));
            let (sender, receiver) = mpsc::channel();
            let ask = move || sender.send(answer());
            // It ends with the process, if nobody ever answers.
            match thread::Builder::new().spawn(ask) {
                Ok(_) => receiver
                    .recv_timeout(Duration::from_secs(seconds.get()))
                    .ok(),
                // Where there are no threads nobody can be waited for at the same time.
                Err(_) => Some(answer()),
            }
        }
    };
    match answer {
        Some(answer) if answer.starts_with(['y', 'Y']) => Ok(()),
        Some(_) => {
            tell("\n");
            Err(Failed)
        }
        None => {
            tell(messages::PROCEEDING);
            Ok(())
        }
    }
}

/// A line of the input; empty where that ended.
fn answer() -> String {
    let mut answer = String::new();
    // What cannot be read is no answer.
    let _ = io::stdin().read_line(&mut answer);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_windows_has_the_name_of_any_other() {
        for (called, name) in [
            ("mke2fs", "mke2fs"),
            ("mke2fs.exe", "mke2fs"),
            ("MKFS.EXT4.EXE", "mkfs.ext4"),
            ("MKFS.EXT4", "MKFS.EXT4"),
            ("bin/mkfs.ext4.exe", "mkfs.ext4"),
            ("/sbin/mkfs.ext4", "mkfs.ext4"),
            ("", ""),
        ] {
            assert_eq!(name_of(OsStr::new(called)), name, "{called}");
        }
    }
}
