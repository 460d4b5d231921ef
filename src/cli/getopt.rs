//! Given arguments, gives the flags among them in order and the rest; never what a flag means.
//!
//! The grammar is that of C's `getopt` as mke2fs calls it: letters may stand together, a value may
//! follow its letter at once or as the next argument, flags may follow operands, and `--` ends
//! them. clap is not asked here, because it drops a `=` after a letter (`-L=x` labels `=x` in
//! mke2fs) and reports the last fault before what comes first. Long names, which mke2fs lacks,
//! are read as GNU programs read them.

use std::ffi::OsString;

use super::flags::{Flag, flags, os_string};

/// A flag that was given, and its value, empty where it takes none.
pub(super) type Given = (&'static Flag, OsString);

/// What cannot be read, in the words of glibc after the program's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) String);

/// The arguments as far as they can be read.
pub(super) struct Parsed {
    pub(super) given: Vec<Given>,
    pub(super) operands: Vec<OsString>,
    /// What stopped the reading.
    pub(super) stopped: Option<Unreadable>,
}

/// Reads the arguments after the program's name.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed {
    let mut arguments = arguments.into_iter();
    let mut parsed = Parsed {
        given: Vec::new(),
        operands: Vec::new(),
        stopped: None,
    };
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_encoded_bytes();
        let read = match bytes {
            b"--" => {
                parsed.operands.extend(arguments);
                break;
            }
            [b'-', b'-', name @ ..] => long(name, &mut arguments).map(|given| vec![given]),
            [b'-', letters @ ..] if !letters.is_empty() => short(letters, &mut arguments),
            _ => {
                parsed.operands.push(argument);
                continue;
            }
        };
        match read {
            Ok(given) => parsed.given.extend(given),
            Err((given, unreadable)) => {
                parsed.given.extend(given);
                parsed.stopped = Some(unreadable);
                break;
            }
        }
    }
    parsed
}

type Stopped = (Vec<Given>, Unreadable);

/// One argument of letters.
fn short(letters: &[u8], more: &mut impl Iterator<Item = OsString>) -> Result<Vec<Given>, Stopped> {
    let mut given = Vec::new();
    let mut rest = letters;
    while let [letter, after @ ..] = rest {
        let letter = char::from(*letter);
        let Some(flag) = flags().find(|flag| flag.letter == Some(letter)) else {
            let what = format!("invalid option -- '{letter}'");
            return Err((given, Unreadable(what)));
        };
        if flag.value.is_none() {
            given.push((flag, OsString::new()));
            rest = after;
            continue;
        }
        let value = match after {
            [] => more.next(),
            _ => Some(os_string(after)),
        };
        let Some(value) = value else {
            let what = format!("option requires an argument -- '{letter}'");
            return Err((given, Unreadable(what)));
        };
        given.push((flag, value));
        break;
    }
    Ok(given)
}

/// One long name, its value after `=` or in the next argument.
fn long(name: &[u8], more: &mut impl Iterator<Item = OsString>) -> Result<Given, Stopped> {
    let stop = |what: String| (Vec::new(), Unreadable(what));
    let (name, value) = match name.iter().position(|byte| *byte == b'=') {
        Some(at) => (&name[..at], Some(os_string(&name[at + 1..]))),
        None => (name, None),
    };
    // A flag of mke2fs's goes by its letter alone.
    let named = |flag: &&Flag| {
        flag.letter.is_none() && flag.long.is_some_and(|long| long.as_bytes() == name)
    };
    let Some(flag) = flags().find(named) else {
        // To mke2fs, which has no long names, the second hyphen is a letter.
        return Err(stop("invalid option -- '-'".to_owned()));
    };
    let shown = String::from_utf8_lossy(name);
    match (flag.value, value) {
        (None, None) => Ok((flag, OsString::new())),
        (None, Some(_)) => Err(stop(format!(
            "option '--{shown}' doesn't allow an argument"
        ))),
        (Some(_), Some(value)) => Ok((flag, value)),
        (Some(_), None) if flag.is_optional => Ok((flag, OsString::new())),
        (Some(_), None) => match more.next() {
            Some(value) => Ok((flag, value)),
            None => Err(stop(format!("option '--{shown}' requires an argument"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letters and values read, the operands, and what stopped the reading.
    fn read(line: &str) -> (Vec<String>, Vec<OsString>, Option<String>) {
        let parsed = parse(line.split(' ').map(OsString::from));
        let shown = |(flag, value): &Given| {
            let name = flag.letter.map_or("--".to_owned(), String::from);
            format!("{name}{}", value.display())
        };
        (
            parsed.given.iter().map(shown).collect(),
            parsed.operands,
            parsed.stopped.map(|Unreadable(what)| what),
        )
    }

    #[test]
    fn letters_values_and_operands_are_told_apart() {
        for (line, given, operands) in [
            ("img 64M", &[][..], &["img", "64M"][..]),
            ("-Fqb 1024 img", &["F", "q", "b1024"], &["img"]),
            ("-b1024 img -L=x", &["b1024", "L=x"], &["img"]),
            ("-b -2048 -- -F", &["b-2048"], &["-F"]),
            ("- img", &[], &["-", "img"]),
            ("--size=+20% --json img", &["--+20%", "--"], &["img"]),
            ("--size min img", &["--min"], &["img"]),
        ] {
            let operands = operands.iter().map(OsString::from).collect();
            let given: Vec<_> = given.iter().copied().map(str::to_owned).collect();
            assert_eq!(read(line), (given, operands, None), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_stops_the_reading() {
        for (line, given, stopped) in [
            ("-FZq", &["F"][..], "invalid option -- 'Z'"),
            ("-q -b", &["q"], "option requires an argument -- 'b'"),
            ("--nonsense", &[], "invalid option -- '-'"),
            ("--json=1", &[], "option '--json' doesn't allow an argument"),
            ("--size", &[], "option '--size' requires an argument"),
        ] {
            let given: Vec<_> = given.iter().copied().map(str::to_owned).collect();
            assert_eq!(
                read(line),
                (given, vec![], Some(stopped.to_owned())),
                "{line}"
            );
        }
    }
}
