//! Given text, writes it to standard output or standard error; never decides what is said.

use std::env;
use std::io::{self, Write};

use clap::builder::StyledStr;

/// Writes to standard output. Nobody listens if that fails, so nothing is done about it.
pub(super) fn tell(text: &str) {
    let _ = tell_surely(text);
}

/// Writes to standard output what somebody waits for. Whoever closed a pipe does not.
pub(super) fn tell_surely(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

/// The longest text that is written to standard error at once, in bytes.
const WARNING_MAX: usize = 1 << 15;

/// Writes to standard error. Nobody listens if that fails, so nothing is done about it.
pub(super) fn warn(text: &str) {
    let mut out = io::stderr().lock();
    let front = (0..=WARNING_MAX.min(text.len()))
        .rev()
        .find_map(|at| text.get(..at));
    let front = front.unwrap_or_default();
    let _ = out.write_all(front.as_bytes());
    // Nobody reads more, whatever an input has names for.
    let left_out = text.len() - front.len();
    if left_out > 0 {
        let _ = writeln!(out, "… ({left_out} more bytes)");
    }
}

/// The text as it goes to a stream: in colors on terminals, unless the environment is against it.
pub(super) fn painted(text: &StyledStr, is_terminal: bool) -> String {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    if is_terminal && !is_set("NO_COLOR") && !is_dumb {
        text.ansi().to_string()
    } else {
        text.to_string()
    }
}
