//! Given patterns and a path inside the image, says whether the path shall be left out; never looks
//! at a file.
//!
//! A pattern that holds a slash, other than one at its end, is of the whole path from the image's
//! root; any other is of a name, wherever that is. A slash at the end makes it one of directories.
//! `*` stands for any bytes but slashes, `?` for one, `[a-z]` and `[!a-z]` for one of a set, `**` for
//! any bytes at all, `**/` at the front or after a slash for any directories or none, and `\` takes
//! its meaning from what follows it. All of it is bytes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Readable;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// Patterns of what no source shall declare. Clones share the memory of which matched.
///
/// ```
/// use mke4fs::source::patterns::{Leaf, Patterns};
///
/// let patterns = Patterns::new(["*.o", "/var/cache/**", "tmp/"])?;
/// assert!(patterns.exclude(b"src/main.o", Leaf::Other));
/// assert!(patterns.exclude(b"var/cache/apt", Leaf::Directory));
/// assert!(!patterns.exclude(b"tmp", Leaf::Other));
/// # Ok::<(), mke4fs::source::patterns::PatternError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    used: Arc<[Used]>,
    /// What stands before the paths that are asked for.
    below: Box<[u8]>,
    /// The one name that is not left out, where all others are.
    only: Option<Box<[u8]>>,
}

#[derive(Debug)]
struct Used {
    pattern: Pattern,
    matched: AtomicBool,
}

impl Patterns {
    /// The patterns that `texts` spell.
    ///
    /// # Errors
    /// Where one ends in the middle of something, or is empty.
    pub fn new<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Result<Self, PatternError> {
        let used = |text: T| {
            Ok(Used {
                pattern: Pattern::new(text.as_ref())?,
                matched: AtomicBool::new(false),
            })
        };
        Ok(Self {
            used: texts.into_iter().map(used).collect::<Result<_, _>>()?,
            ..Self::default()
        })
    }

    /// The same patterns for paths that begin at `path` in the image, not at its root.
    #[cfg(unix)]
    pub(super) fn below(&self, path: &[u8]) -> Self {
        Self {
            below: [path, b"/"].concat().into(),
            ..self.clone()
        }
    }

    /// What leaves out all but `name` in the directory that paths begin at.
    #[cfg(unix)]
    pub(super) fn all_but(name: &[u8]) -> Self {
        Self {
            only: Some(name.into()),
            ..Self::default()
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty() && self.only.is_none()
    }

    /// Whether the file at `path`, from the image's root without a slash in front, shall be left
    /// out; what is above it is not asked for.
    pub fn exclude(&self, path: &[u8], leaf: Leaf) -> bool {
        let mut excluded = self.only.as_ref().is_some_and(|only| **only != *path);
        let whole = match self.below.is_empty() {
            true => Cow::Borrowed(path),
            false => Cow::Owned([&self.below, path].concat()),
        };
        for used in self.used.iter() {
            if used.pattern.matches_path(&whole, leaf) {
                used.matched.store(true, Ordering::Relaxed);
                excluded = true;
            }
        }
        excluded
    }

    /// As [`exclude`](Self::exclude), for a source that is not walked from its root: also where a
    /// directory above `path` is left out.
    pub fn exclude_within(&self, path: &[u8], leaf: Leaf) -> bool {
        if self.is_empty() {
            return false;
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut above = slashes.map(|(at, _)| &path[..at]);
        above.any(|directory| self.exclude(directory, Leaf::Directory)) || self.exclude(path, leaf)
    }

    /// The patterns that have left out nothing so far.
    pub fn unmatched(&self) -> impl Iterator<Item = &[u8]> {
        let unmatched = |used: &&Used| !used.matched.load(Ordering::Relaxed);
        self.used
            .iter()
            .filter(unmatched)
            .map(|used| used.pattern.text())
    }
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    text: Vec<u8>,
    needed: &'static str,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, needed) = (Readable(&self.text), self.needed);
        write!(f, "\"{text}\" is no pattern: {needed}")
    }
}

impl std::error::Error for PatternError {}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: Box<[u8]>,
    tokens: Box<[Token]>,
    is_of_paths: bool,
    is_of_directories: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// One byte but a slash.
    One,
    /// One byte of the ranges, or one that is in none of them; never a slash.
    Set(bool, Box<[(u8, u8)]>),
    /// Any bytes but slashes.
    Name,
    /// Any bytes.
    All,
    /// Nothing, or any bytes up to a slash.
    Directories,
}

impl Pattern {
    pub(super) fn new(text: &[u8]) -> Result<Self, PatternError> {
        let refuse = |needed| PatternError {
            text: text.to_vec(),
            needed,
        };
        let (body, is_of_directories) = match text {
            [body @ .., b'/'] if !body.ends_with(b"\\") => (body, true),
            _ => (text, false),
        };
        let is_of_paths = body.contains(&b'/');
        let body = body.strip_prefix(b"/").unwrap_or(body);
        if body.is_empty() {
            return Err(refuse("it needs a name"));
        }
        Ok(Self {
            text: text.into(),
            tokens: tokens(body).map_err(refuse)?,
            is_of_paths,
            is_of_directories,
        })
    }

    /// A pattern of the names of attributes, in which a slash means nothing.
    pub(super) fn of_attributes(text: &[u8]) -> Result<Self, PatternError> {
        let refuse = |needed| PatternError {
            text: text.to_vec(),
            needed,
        };
        if text.is_empty() {
            return Err(refuse("it needs a name"));
        }
        let mut tokens = tokens(text).map_err(refuse)?;
        for token in &mut tokens {
            if matches!(token, Token::Name | Token::Directories) {
                *token = Token::All;
            }
        }
        Ok(Self {
            text: text.into(),
            tokens,
            is_of_paths: false,
            is_of_directories: false,
        })
    }

    /// As it was spelled.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    fn matches_path(&self, path: &[u8], leaf: Leaf) -> bool {
        if self.is_of_directories && leaf != Leaf::Directory {
            return false;
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        self.matches(if self.is_of_paths { path } else { name })
    }

    /// Whether the pattern stands for all of `bytes`.
    ///
    /// All the places in the pattern that the bytes so far may have led to are kept at once, so no
    /// pattern takes longer than its length times that of the bytes.
    pub(super) fn matches(&self, bytes: &[u8]) -> bool {
        let mut places = vec![false; self.tokens.len() + 1];
        self.enter(&mut places, 0);
        for byte in bytes {
            let mut next = vec![false; places.len()];
            for (at, token) in self.tokens.iter().enumerate() {
                if places[at] {
                    self.step(&mut next, (at, token), *byte);
                }
            }
            places = next;
        }
        places[self.tokens.len()]
    }

    /// Comes to the place `at`, and to those behind it that nothing needs to be read for.
    fn enter(&self, places: &mut [bool], at: usize) {
        let mut at = at;
        places[at] = true;
        while let Some(Token::Name | Token::All | Token::Directories) = self.tokens.get(at) {
            at += 1;
            places[at] = true;
        }
    }

    fn step(&self, next: &mut [bool], (at, token): (usize, &Token), byte: u8) {
        match token {
            Token::Byte(wanted) if *wanted == byte => self.enter(next, at + 1),
            Token::One if byte != b'/' => self.enter(next, at + 1),
            Token::Set(is_in, ranges) if byte != b'/' => {
                let mut ranges = ranges.iter();
                if ranges.any(|(low, high)| (*low..=*high).contains(&byte)) == *is_in {
                    self.enter(next, at + 1);
                }
            }
            Token::Name if byte != b'/' => self.enter(next, at),
            Token::All => self.enter(next, at),
            Token::Directories => {
                next[at] = true;
                if byte == b'/' {
                    self.enter(next, at + 1);
                }
            }
            _ => {}
        }
    }
}

fn tokens(body: &[u8]) -> Result<Box<[Token]>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = body;
    while let [first, after @ ..] = rest {
        let at_front = rest.len() == body.len() || body[body.len() - rest.len() - 1] == b'/';
        (rest, _) = match (first, after) {
            (b'*', [b'*', b'/', after @ ..]) if at_front => {
                (after, tokens.push(Token::Directories))
            }
            (b'*', [b'*', after @ ..]) => (after, tokens.push(Token::All)),
            (b'*', _) => (after, tokens.push(Token::Name)),
            (b'?', _) => (after, tokens.push(Token::One)),
            (b'[', _) => {
                let (set, after) = set(after).ok_or("a [ needs its ]")?;
                (after, tokens.push(set))
            }
            (b'\\', [literal, after @ ..]) => (after, tokens.push(Token::Byte(*literal))),
            (b'\\', []) => return Err("a byte needs to follow the backslash at its end"),
            (literal, _) => (after, tokens.push(Token::Byte(*literal))),
        };
    }
    Ok(tokens.into())
}

/// The set that follows a bracket, and what is behind it. A `]` that comes first is one of the set.
fn set(text: &[u8]) -> Option<(Token, &[u8])> {
    let (is_in, mut rest) = match text {
        [b'!' | b'^', rest @ ..] => (false, rest),
        _ => (true, text),
    };
    let mut ranges = Vec::new();
    loop {
        let (low, after) = match rest {
            [b']', after @ ..] if !ranges.is_empty() => {
                return Some((Token::Set(is_in, ranges.into()), after));
            }
            [b'\\', literal, after @ ..] => (*literal, after),
            [literal, after @ ..] => (*literal, after),
            [] => return None,
        };
        let (high, after) = match after {
            [b'-', b'\\', high, after @ ..] => (*high, after),
            [b'-', high, after @ ..] if *high != b']' => (*high, after),
            _ => (low, after),
        };
        ranges.push((low, high));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_names_or_of_paths() {
        for (pattern, path, matched) in [
            ("*.o", "main.o", true),
            ("*.o", "src/deep/main.o", true),
            ("*.o", "src/main.oo", false),
            ("/*.o", "main.o", true),
            ("/*.o", "src/main.o", false),
            ("src/*.o", "src/main.o", true),
            ("src/*.o", "src/deep/main.o", false),
            ("src/*.o", "x/src/main.o", false),
            ("src/**", "src/deep/main.o", true),
            ("src/**", "src", false),
            ("src/**.o", "src/deep/main.o", true),
            ("**/main.o", "main.o", true),
            ("**/main.o", "a/b/main.o", true),
            ("**/main.o", "a/xmain.o", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**", "anything/at/all", true),
            ("a?c", "abc", true),
            ("/a?c", "a/c", false),
            ("[a-cx]*", "bold", true),
            ("[a-cx]*", "dull", false),
            ("[!a-c]*", "dull", true),
            ("[^a-c]*", "bold", false),
            ("[]]", "]", true),
            ("[a\\]]", "]", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", false),
        ] {
            let Ok(patterns) = Patterns::new([pattern]) else {
                assert!(pattern.ends_with('\\'), "{pattern}");
                continue;
            };
            let found = patterns.exclude(path.as_bytes(), Leaf::Other);
            assert_eq!(found, matched, "{pattern} {path}");
            assert_eq!(patterns.unmatched().count(), usize::from(!matched));
        }
    }

    #[test]
    fn a_slash_at_the_end_asks_for_a_directory() {
        let patterns = Patterns::new(["cache/"]).unwrap();
        assert!(patterns.exclude(b"a/cache", Leaf::Directory));
        assert!(!patterns.exclude(b"a/cache", Leaf::Other));
        assert!(patterns.exclude_within(b"a/cache/b/c", Leaf::Other));
        assert!(!patterns.exclude_within(b"a/cached/b/c", Leaf::Other));
    }

    #[test]
    fn names_are_bytes() {
        let patterns = Patterns::new([b"k\xe4s?"]).unwrap();
        assert!(patterns.exclude(b"d/k\xe4s\xff", Leaf::Other));
        assert!(!patterns.exclude("käse".as_bytes(), Leaf::Other));
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let text = "a*".repeat(200) + "b";
        let patterns = Patterns::new([text]).unwrap();
        assert!(!patterns.exclude(&[b'a'; 255], Leaf::Other));
    }

    #[test]
    fn what_ends_too_early_is_no_pattern() {
        for (text, said) in [
            ("", "\"\" is no pattern: it needs a name"),
            ("/", "\"/\" is no pattern: it needs a name"),
            ("[a", "\"[a\" is no pattern: a [ needs its ]"),
            (
                "a\\",
                "\"a\\\\\" is no pattern: a byte needs to follow the backslash at its end",
            ),
        ] {
            assert_eq!(Patterns::new([text]).unwrap_err().to_string(), said);
        }
    }
}
