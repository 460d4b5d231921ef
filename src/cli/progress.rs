//! Given how far a run is, shows it in one line of a terminal until it ends; never where nobody looks.

use std::fmt::Write;
#[cfg(feature = "tar")]
use std::io::Read;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::request::Request;
use super::sizes::for_people;
use crate::Summary;
use crate::source::Readable;

/// How often a second the line is drawn at most.
const DRAWS_PER_SECOND: u8 = 10;
/// How many characters the names of what is read and written have at most: the rest of 80 is for numbers.
const MOST_NAME: usize = 28;

/// How many bytes came on standard input, of which a process has one.
static READ: AtomicU64 = AtomicU64::new(0);

/// Counts what is read of standard input.
#[cfg(feature = "tar")]
pub(super) struct Counted<R>(pub(super) R);

#[cfg(feature = "tar")]
impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        READ.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        Ok(count)
    }
}

/// The line that shows that sources are read: which, for how long, and how much came on standard input.
pub(super) fn reading(request: &Request) -> ProgressBar {
    let bar = bar(request, None);
    let reads_stdin = request.sources.iter().any(|source| source == "-");
    let template = if reads_stdin {
        "reading {msg} {read} {rate} {elapsed}"
    } else {
        "reading {msg} {elapsed}"
    };
    let bar = styled(bar, template).with_message(sources(request));
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(1000 / u64::from(DRAWS_PER_SECOND)));
    }
    bar
}

/// The line that shows how far an image of this summary is written; of a stream, how much came.
pub(super) fn writing(request: &Request, summary: Option<Summary>) -> ProgressBar {
    let total = summary.map(|summary| {
        let used = summary.blocks_count - summary.free_blocks;
        used * u64::from(summary.block_size)
    });
    let bar = bar(request, total);
    let template = match total {
        Some(_) => "writing {msg} [{wide_bar}] {at} of {all} {rate} {eta}",
        None => "writing {msg} {at} {rate} {elapsed}",
    };
    styled(bar, template).with_message(sources(request))
}

fn bar(request: &Request, total: Option<u64>) -> ProgressBar {
    if request.quiet || request.json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND))
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    let Ok(style) = ProgressStyle::with_template(template) else {
        return bar;
    };
    let read = |_: &ProgressState, text: &mut dyn Write| {
        let _ = text.write_str(&for_people(READ.load(Ordering::Relaxed)));
    };
    let rate = |state: &ProgressState, text: &mut dyn Write| {
        let bytes = state.pos().max(READ.load(Ordering::Relaxed));
        let millis = u64::try_from(state.elapsed().as_millis()).unwrap_or(u64::MAX);
        let rate = bytes.saturating_mul(1000) / millis.max(1);
        let _ = write!(text, "{}/s", for_people(rate));
    };
    let at = |state: &ProgressState, text: &mut dyn Write| {
        let _ = text.write_str(&for_people(state.pos()));
    };
    let all = |state: &ProgressState, text: &mut dyn Write| {
        let _ = text.write_str(&for_people(state.len().unwrap_or(0)));
    };
    let style = style.with_key("at", at).with_key("all", all);
    let style = style.with_key("read", read).with_key("rate", rate);
    bar.with_style(style.progress_chars("=> "))
}

/// The names of what is read, or of what is written where nothing is.
fn sources(request: &Request) -> String {
    let name = |source: &std::ffi::OsString| match source.as_encoded_bytes() {
        b"-" => "stdin".to_owned(),
        bytes => Readable(bytes).to_string(),
    };
    let names: Vec<String> = request.sources.iter().map(name).collect();
    shortened(&names.join(", "))
}

/// The text, or its end if it is long: names differ there.
fn shortened(text: &str) -> String {
    let length = text.chars().count();
    if length <= MOST_NAME {
        return text.to_owned();
    }
    let end: String = text.chars().skip(length - MOST_NAME + 1).collect();
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(shortened("rootfs"), "rootfs");
        let long = shortened("/a/very/long/path/to/some/directory/rootfs");
        assert_eq!(long, "…th/to/some/directory/rootfs");
        assert_eq!(long.chars().count(), MOST_NAME);
    }
}
