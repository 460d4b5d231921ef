//! Given patterns and a path inside the image, says whether the path shall be left out; never looks
//! at a file.
//!
//! A pattern that holds a slash, other than one at its end, is of the whole path from the image's
//! root; any other is of a name, wherever that is. A slash at the end makes it one of directories.
//! `*` stands for any bytes but slashes, `?` for one, `[a-z]` and `[!a-z]` for one of a set, `**` for
//! any bytes at all, `**/` at the front or after a slash for any directories or none, and `\` takes
//! its meaning from what follows it. All of it is bytes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Readable;
use crate::work;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathType {
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// Patterns of what no source shall declare. Clones share the memory of which matched.
///
/// ```
/// use mke4fs::source::patterns::{PathType, Patterns};
///
/// let patterns = Patterns::new(["*.o", "/var/cache/**", "tmp/"])?;
/// assert!(patterns.exclude(b"src/main.o", PathType::Other));
/// assert!(patterns.exclude(b"var/cache/apt", PathType::Directory));
/// assert!(!patterns.exclude(b"tmp", PathType::Other));
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
    pub(super) fn below(&self, path: &[u8]) -> Self {
        Self {
            below: [path, b"/"].concat().into(),
            ..self.clone()
        }
    }

    /// What leaves out all but `name` in the directory that paths begin at.
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
    pub fn exclude(&self, path: &[u8], leaf: PathType) -> bool {
        if self.is_empty() {
            return false;
        }
        let (above, name) = split_last(path);
        let mut way = self.way();
        for name in above.into_iter().flat_map(|above| above.split(is_slash)) {
            self.descend(&mut way, name);
        }
        self.exclude_at(&way, name, leaf)
    }

    /// As [`exclude`](Self::exclude), for a source that is not walked from its root: also where a
    /// directory above `path` is left out.
    pub fn exclude_within(&self, path: &[u8], leaf: PathType) -> bool {
        if self.is_empty() {
            return false;
        }
        let (above, name) = split_last(path);
        let mut way = self.way();
        for name in above.into_iter().flat_map(|above| above.split(is_slash)) {
            if self.exclude_at(&way, name, PathType::Directory) {
                return true;
            }
            self.descend(&mut way, name);
        }
        self.exclude_at(&way, name, leaf)
    }

    /// The way to the directory that paths begin at.
    pub(super) fn way(&self) -> MatchState {
        let of_paths = self.used.iter().filter(|used| used.pattern.is_of_paths);
        let places = of_paths.map(|used| {
            let mut places = used.pattern.start();
            used.pattern.read(&mut places, &self.below);
            places
        });
        MatchState {
            places: places.collect(),
            is_top: true,
        }
    }

    /// Goes on from the directory of `way` to the directory `name` in it.
    pub(super) fn descend(&self, way: &mut MatchState, name: &[u8]) {
        let of_paths = self.used.iter().filter(|used| used.pattern.is_of_paths);
        for (used, places) in of_paths.zip(&mut way.places) {
            used.pattern.read(places, name);
            used.pattern.read(places, b"/");
        }
        way.is_top = false;
    }

    /// Whether `name` in the directory of `way` shall be left out. So a name costs its own length,
    /// however long the way to it is.
    pub(super) fn exclude_at(&self, way: &MatchState, name: &[u8], leaf: PathType) -> bool {
        let is_other = |only: &[u8]| !way.is_top || only != name;
        let mut excluded = self.only.as_deref().is_some_and(is_other);
        let mut places = way.places.iter();
        for Used { pattern, matched } in self.used.iter() {
            let begun = if pattern.is_of_paths {
                places.next()
            } else {
                None
            };
            let is_wanted = !pattern.is_of_directories || leaf == PathType::Directory;
            if is_wanted && pattern.ends_with(begun, name) {
                matched.store(true, Ordering::Relaxed);
                excluded = true;
            }
        }
        excluded
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

/// How far each pattern of whole paths has come on the way to a directory.
#[derive(Clone, Debug)]
pub(super) struct MatchState {
    /// Of every pattern that is of whole paths.
    places: Vec<Places>,
    is_top: bool,
}

/// The places in a pattern that the bytes so far may have led to, each once, in no order.
type Places = Vec<usize>;

fn is_slash(byte: &u8) -> bool {
    *byte == b'/'
}

/// What stands before the last slash, if there is one, and what behind it.
fn split_last(path: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match path.iter().rposition(is_slash) {
        Some(at) => (Some(&path[..at]), &path[at + 1..]),
        None => (None, path),
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
        write!(f, "invalid pattern '{text}': {needed}")
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
    /// One byte of these; never a slash.
    Set(Box<Bytes>),
    /// Any bytes but slashes.
    Name,
    /// Any bytes.
    All,
    /// Nothing, or any bytes up to a slash.
    Directories,
}

/// A set of bytes: a bit for each, so that it takes as long to ask as it has ranges but once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bytes([u64; 4]);

impl Bytes {
    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] & (1 << (byte % 64)) != 0
    }

    fn add(&mut self, low: u8, high: u8) {
        for byte in low..=high {
            self.0[usize::from(byte / 64)] |= 1 << (byte % 64);
        }
    }

    fn invert(&mut self) {
        self.0 = self.0.map(|bits| !bits);
    }
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
            return Err(refuse("missing name"));
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
            return Err(refuse("missing name"));
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

    /// Whether the pattern stands for all of `bytes`.
    pub(super) fn matches(&self, bytes: &[u8]) -> bool {
        self.ends_with(None, bytes)
    }

    /// Whether the pattern, which has come to the places `begun`, or else begins here, ends with all
    /// of `bytes`.
    fn ends_with(&self, begun: Option<&Places>, bytes: &[u8]) -> bool {
        if begun.is_some_and(Vec::is_empty) {
            return false;
        }
        let mut places = begun.cloned().unwrap_or_else(|| self.start());
        self.read(&mut places, bytes);
        places.contains(&self.tokens.len())
    }

    /// The places before any byte.
    fn start(&self) -> Places {
        let mut places = Places::new();
        self.enter(&mut Marks::new(self.tokens.len()), &mut places, 0);
        places
    }

    /// Moves `places` on by `bytes`.
    ///
    /// All the places that the bytes so far may have led to are kept at once, so no pattern takes
    /// longer than its length times that of the bytes; and one that cannot match any more, no time.
    fn read(&self, places: &mut Places, bytes: &[u8]) {
        if places.is_empty() {
            return;
        }
        let mut marks = Marks::new(self.tokens.len());
        let mut next = Places::new();
        for byte in bytes {
            if places.is_empty() {
                break;
            }
            work::add(places.len());
            for at in &*places {
                self.step(&mut marks, &mut next, (*at, *byte));
            }
            marks.clear(&next);
            std::mem::swap(places, &mut next);
            next.clear();
        }
    }

    /// Comes to the place `at`, and to those behind it that nothing needs to be read for.
    fn enter(&self, marks: &mut Marks, places: &mut Places, at: usize) {
        let mut at = at;
        marks.add(places, at);
        while let Some(Token::Name | Token::All | Token::Directories) = self.tokens.get(at) {
            at += 1;
            marks.add(places, at);
        }
    }

    fn step(&self, marks: &mut Marks, next: &mut Places, at_byte: (usize, u8)) {
        let (at, byte) = at_byte;
        match self.tokens.get(at) {
            Some(Token::Byte(wanted)) if *wanted == byte => self.enter(marks, next, at + 1),
            Some(Token::One) if byte != b'/' => self.enter(marks, next, at + 1),
            Some(Token::Set(set)) if byte != b'/' && set.has(byte) => {
                self.enter(marks, next, at + 1);
            }
            Some(Token::Name) if byte != b'/' => self.enter(marks, next, at),
            Some(Token::All) => self.enter(marks, next, at),
            Some(Token::Directories) => {
                marks.add(next, at);
                if byte == b'/' {
                    self.enter(marks, next, at + 1);
                }
            }
            _ => {}
        }
    }
}

/// Which places are in a list of them.
struct Marks(Vec<bool>);

impl Marks {
    fn new(tokens: usize) -> Self {
        Self(vec![false; tokens + 1])
    }

    fn add(&mut self, places: &mut Places, at: usize) {
        if !std::mem::replace(&mut self.0[at], true) {
            places.push(at);
        }
    }

    fn clear(&mut self, places: &Places) {
        for at in places {
            self.0[*at] = false;
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
                let (set, after) = set(after).ok_or("missing ] after [")?;
                (after, tokens.push(set))
            }
            (b'\\', [literal, after @ ..]) => (after, tokens.push(Token::Byte(*literal))),
            (b'\\', []) => return Err("missing byte after its last backslash"),
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
    let mut set = Bytes::default();
    let mut is_first = true;
    loop {
        let (low, after) = match rest {
            [b']', after @ ..] if !is_first => {
                if !is_in {
                    set.invert();
                }
                return Some((Token::Set(set.into()), after));
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
        set.add(low, high);
        is_first = false;
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
            let found = patterns.exclude(path.as_bytes(), PathType::Other);
            assert_eq!(found, matched, "{pattern} {path}");
            assert_eq!(patterns.unmatched().count(), usize::from(!matched));
        }
    }

    #[test]
    fn a_slash_at_the_end_asks_for_a_directory() {
        let patterns = Patterns::new(["cache/"]).unwrap();
        assert!(patterns.exclude(b"a/cache", PathType::Directory));
        assert!(!patterns.exclude(b"a/cache", PathType::Other));
        assert!(patterns.exclude_within(b"a/cache/b/c", PathType::Other));
        assert!(!patterns.exclude_within(b"a/cached/b/c", PathType::Other));
    }

    #[test]
    fn names_are_bytes() {
        let patterns = Patterns::new([b"k\xe4s?"]).unwrap();
        assert!(patterns.exclude(b"d/k\xe4s\xff", PathType::Other));
        assert!(!patterns.exclude("käse".as_bytes(), PathType::Other));
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let text = "a*".repeat(200) + "b";
        let patterns = Patterns::new([text]).unwrap();
        assert!(!patterns.exclude(&[b'a'; 255], PathType::Other));
    }

    #[test]
    fn long_and_deep_paths_take_steps_by_their_length() {
        let path = b"a/".repeat(32_000);
        for text in [
            "/var/cache/**",
            "**/x",
            "a/**/b/",
            "a/*",
            "[ab]/**",
            "**/a/**",
        ] {
            let patterns = Patterns::new([text]).unwrap();
            let asked = || patterns.exclude_within(&path, PathType::Other);
            let (_, steps) = work::steps_of(asked);
            // A byte meets each token of a pattern once as a part of the way, and once as a name.
            let most = 2 * path.len() * (text.len() + 1);
            assert!(steps <= u64::try_from(most).unwrap(), "{text}: {steps}");
        }
    }

    #[test]
    fn a_name_costs_no_more_below_a_long_way() {
        let patterns = Patterns::new(["a/**/x*", "**/a/b"]).unwrap();
        let mut way = patterns.way();
        let asked = |way: &MatchState| {
            work::steps_of(|| patterns.exclude_at(way, b"bab", PathType::Other)).1
        };
        patterns.descend(&mut way, b"a");
        let near = asked(&way);
        for _ in 0..10_000 {
            patterns.descend(&mut way, b"a");
        }
        assert!(asked(&way) <= near + 3, "{near}");
    }

    #[test]
    fn only_the_highest_directory_that_is_left_out_counts() {
        let patterns = Patterns::new(["a", "b", "a/**"]).unwrap();
        assert!(patterns.exclude_within(b"a/b/c", PathType::Other));
        let unmatched: Vec<_> = patterns.unmatched().collect();
        assert_eq!(unmatched, [&b"b"[..], b"a/**"]);
    }

    #[test]
    fn what_ends_too_early_is_no_pattern() {
        // Where a backslash parts the names of a path, it is shown as it is.
        let its_last = if cfg!(windows) {
            r"invalid pattern 'a\': missing byte after its last backslash"
        } else {
            r"invalid pattern 'a\\': missing byte after its last backslash"
        };
        for (text, said) in [
            ("", "invalid pattern '': missing name"),
            ("/", "invalid pattern '/': missing name"),
            ("[a", "invalid pattern '[a': missing ] after ["),
            ("a\\", its_last),
        ] {
            assert_eq!(Patterns::new([text]).unwrap_err().to_string(), said);
        }
    }
}
