//! Given a terminal, proves what the command shows there and leaves there; what it writes is `content.rs`'s.

#![cfg(target_os = "linux")]

use crate::common;

use common::place::Place;
use common::tools::{Need, ready};

/// What a terminal gets of a line of the shell.
fn shown(place: &Place, line: &str) -> String {
    let done = place.shell(&format!(
        "export TERM=xterm; script -qec '{line}' /dev/null < /dev/null"
    ));
    assert!(done.status.success(), "{line}: {done:?}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

const ERASED: &str = "\x1b[2K";

#[test]
fn progress_is_drawn_ten_times_a_second_and_gone_at_the_end() {
    if !ready(&[Need::Program("script")]) {
        return;
    }
    let place = Place::new();
    place.file("root/file", "text");
    let seconds = 3;
    let line = format!("(tar c root; sleep {seconds}) | mke4fs -d - image");
    let shown = shown(&place, &line);
    let draws = shown.matches("reading stdin 10 KiB").count();
    assert!(
        (2..=10 * seconds + 5).contains(&draws),
        "{draws} draws: {shown:?}"
    );
    let rate = shown
        .split("reading stdin 10 KiB ")
        .nth(1)
        .unwrap_or_default();
    assert!(
        rate.split_whitespace()
            .nth(1)
            .is_some_and(|unit| unit.ends_with("/s")),
        "{rate:?}"
    );
    let (_, end) = shown.rsplit_once("reading stdin").expect("it is shown");
    assert!(end.contains(ERASED), "{end:?}");
    let (_, end) = end.rsplit_once(ERASED).expect("it is erased");
    assert!(end.contains("wrote"), "{end:?}");
}

#[test]
fn colors_are_for_terminals_that_want_them() {
    if !ready(&[Need::Program("script")]) {
        return;
    }
    let place = Place::new();
    place.file("root/file", "text");
    let make = "rm -f image; mke4fs -d root image 1M";
    let colored = shown(&place, make);
    for word in [
        "\x1b[1;32mwrote\x1b[0m image: ext4",
        "\x1b[1;33mwarning:\x1b[0m",
        "\x1b[2mfree",
    ] {
        assert!(colored.contains(word), "{word:?} in {colored:?}");
    }
    for plain in ["export NO_COLOR=1", "export TERM=dumb"] {
        let plain = shown(&place, &format!("{plain}; {make}"));
        assert!(
            !plain.contains("\x1b[1;") && !plain.contains("\x1b[2m"),
            "{plain:?}"
        );
    }
    assert_eq!(
        shown(&place, "rm -f image; mke4fs -q -d root image 16M"),
        ""
    );
    // What is no terminal gets the summary and nothing of the rest.
    let piped = place.shell("rm -f image; mke4fs -d root image 1M 2>&1");
    let piped = String::from_utf8_lossy(&piped.stdout).into_owned();
    let expected = "mke4fs: warning: the filesystem is too small for a journal and has none\n\
                    wrote image: ext4, 1 MiB in blocks of 4 KiB\n  \
                    content  4 bytes in 1 file, 1 directory\n  free     ";
    assert!(piped.starts_with(expected), "{piped}");
    let names: Vec<_> = piped
        .lines()
        .skip(2)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["content", "free", "UUID", "time", "warnings"]);
    assert!(
        !piped.contains('\x1b') && piped.ends_with("  warnings 1\n"),
        "{piped}"
    );
}
