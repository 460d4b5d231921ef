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

/// Whether what goes to a stream is colored: on terminals, unless the environment is against it.
fn is_colored(is_terminal: bool) -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    is_terminal && !is_set("NO_COLOR") && !is_dumb
}

/// How a word stands out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Accent {
    /// What was done.
    Done,
    /// What a number is.
    Label,
    /// What may be wrong.
    Warning,
}

/// The word as it goes to a stream.
pub(super) fn accented(word: &str, accent: Accent, is_terminal: bool) -> String {
    // ECMA-48, 8.3.117: bold green, faint, bold yellow.
    let code = match accent {
        Accent::Done => "1;32",
        Accent::Label => "2",
        Accent::Warning => "1;33",
    };
    if is_colored(is_terminal) {
        format!("\x1b[{code}m{word}\x1b[0m")
    } else {
        word.to_owned()
    }
}

/// The text as it goes to a stream: in colors on terminals, unless the environment is against it.
pub(super) fn painted(text: &StyledStr, is_terminal: bool) -> String {
    if is_colored(is_terminal) {
        text.ansi().to_string()
    } else {
        text.to_string()
    }
}
