//! Given a pattern of a file_contexts, gives the same pattern in the syntax of the engine that will
//! match it, and what of it is literal; never matches a path.
//!
//! A file_contexts is written for PCRE2 without UTF, where `.` matches every byte. Whatever the engine
//! does not have, or would read differently, is refused: a label that is silently wrong is worse than
//! none. Facts: selabel_file(5), pcre2pattern(3), and what selabel_lookup 3.4 answers.

use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::syntax;

/// What one pattern may take, compiled, in bytes.
const COMPILED_BYTES_MAX: usize = 64 << 10;

/// A pattern, read.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// What every path that matches begins with.
    pub(super) prefix: Vec<u8>,
    /// What it begins with besides.
    pub(super) stem: Vec<u8>,
    /// What the path matches; nothing where the prefix is all of it.
    pub(super) nfa: Option<NFA>,
}

/// Why a pattern is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static str);

type Read<T> = Result<T, Refused>;

const UNFINISHED: Refused = Refused("it ends too early");
/// What stands for the end of a path: as in PCRE2, also before a newline that ends it.
const END: &str = r"(?:\n?\z)";

impl Pattern {
    /// Reads `text`, which is ASCII.
    pub(super) fn new(text: &[u8]) -> Read<Self> {
        let whole = Translation::of(text)?;
        // libselinux asks first whether the path's first name is the pattern's, byte by byte. That makes
        // a difference to alternatives that stand in no group, to a quantifier behind the second slash,
        // and to a backslash before it.
        let stem = stem(text);
        let prefix = match whole.alternatives {
            0 => whole.prefix,
            _ => Vec::new(),
        };
        let prefix = if prefix.len() < stem.len() && !stem.contains(&b'\\') {
            stem.clone()
        } else {
            prefix
        };
        // As libselinux does: nothing around the whole, so that of alternatives the first has the
        // beginning and the last the end.
        let syntax = (!whole.is_literal).then(|| format!(r"\A{}{END}", whole.syntax));
        Ok(Self {
            prefix,
            stem,
            nfa: syntax.as_deref().map(compile).transpose()?,
        })
    }
}

fn compile(text: &str) -> Read<NFA> {
    let syntax = syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true);
    let config = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(COMPILED_BYTES_MAX))
        .which_captures(thompson::WhichCaptures::None);
    let nfa = thompson::Compiler::new()
        .syntax(syntax)
        .configure(config)
        .build(text);
    nfa.map_err(|error| match error.size_limit() {
        Some(_) => Refused("compiled, it takes more than 64 KiB"),
        None => Refused("the regular expression engine cannot match it"),
    })
}

/// Whether libselinux takes `text` for a literal, which comes before all patterns.
pub(super) fn is_exact(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'.' | b'^' | b'$' | b'?' | b'*' | b'+' | b'|' | b'[' | b'(' | b'{' => return false,
            _ => {}
        }
    }
    true
}

/// The first name of a pattern with the slashes around it, if nothing in it stands for anything else.
fn stem(text: &[u8]) -> Vec<u8> {
    let slash = text.iter().skip(1).position(|byte| *byte == b'/');
    let stem = slash.map_or(&[][..], |at| &text[..at + 2]);
    let is_plain = |byte: &u8| !b".^$?*+|[({".contains(byte);
    if stem.iter().all(is_plain) {
        stem.to_vec()
    } else {
        Vec::new()
    }
}

/// Where in a group the end of the path was asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// In the alternative that is being read.
    here: bool,
    /// In any.
    anywhere: bool,
}

/// What becomes of a pattern's bytes.
struct Translation<'a> {
    text: &'a [u8],
    at: usize,
    syntax: String,
    prefix: Vec<u8>,
    /// Whether all so far is literal.
    is_literal: bool,
    /// The groups that are open, and the whole pattern before them.
    groups: Vec<Group>,
    /// How many `|` stand in no group.
    alternatives: usize,
    /// Whether a quantifier may come next.
    repeats: bool,
}

impl<'a> Translation<'a> {
    fn of(text: &'a [u8]) -> Read<Self> {
        let mut it = Self {
            text,
            at: 0,
            syntax: String::with_capacity(text.len() + 16),
            prefix: Vec::new(),
            is_literal: true,
            groups: vec![Group::default()],
            alternatives: 0,
            repeats: false,
        };
        while let Some(byte) = it.next() {
            if it.group().here && !matches!(byte, b')' | b'|' | b'?' | b'$') {
                return Err(Refused("something follows $, the end of the path"));
            }
            it.take(byte)?;
        }
        if it.groups.len() > 1 {
            return Err(Refused("missing ) for a ("));
        }
        Ok(it)
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    fn take(&mut self, byte: u8) -> Read<()> {
        match byte {
            b'\\' => self.escape()?,
            b'.' => self.atom("."),
            b'^' => self.special(r"\A"),
            b'$' => self.end(),
            b'[' => self.class()?,
            b'(' => self.open()?,
            b')' => self.close()?,
            b'|' => {
                self.alternatives += usize::from(self.groups.len() == 1);
                self.group().here = false;
                self.special("|");
            }
            b'*' | b'+' | b'?' => self.quantifier(char::from(byte).encode_utf8(&mut [0; 4]))?,
            b'{' => match braces(self.rest())? {
                Some(length) => {
                    let inside = self.text[self.at..self.at + length].escape_ascii();
                    self.at += length;
                    self.quantifier(&format!("{{{inside}"))?;
                }
                None => self.literal(byte),
            },
            _ => self.literal(byte),
        }
        Ok(())
    }

    fn group(&mut self) -> &mut Group {
        self.groups
            .last_mut()
            .expect("the whole pattern is always open")
    }

    /// The end of the path. It is also before a newline, which what follows could then match: so nothing
    /// may follow.
    fn end(&mut self) {
        self.special(END);
        *self.group() = Group {
            here: true,
            anywhere: true,
        };
    }

    fn close(&mut self) -> Read<()> {
        if self.groups.len() == 1 {
            return Err(Refused("missing ( for a )"));
        }
        let closed = self.groups.pop().unwrap_or_default();
        let group = self.group();
        group.here |= closed.anywhere;
        group.anywhere |= closed.anywhere;
        self.syntax.push(')');
        self.is_literal = false;
        self.repeats = true;
        Ok(())
    }

    fn literal(&mut self, byte: u8) {
        push_byte(&mut self.syntax, byte);
        if self.is_literal {
            self.prefix.push(byte);
        }
        self.repeats = true;
    }

    /// What is no literal, and can be repeated.
    fn atom(&mut self, syntax: &str) {
        self.special(syntax);
        self.repeats = true;
    }

    /// What is no literal, and cannot be repeated.
    fn special(&mut self, syntax: &str) {
        self.syntax.push_str(syntax);
        self.is_literal = false;
        self.repeats = false;
    }

    fn quantifier(&mut self, syntax: &str) -> Read<()> {
        if !self.repeats {
            return Err(Refused("a quantifier has nothing to repeat"));
        }
        if self.is_literal {
            // It is of the last byte, which need not be there then.
            self.prefix.pop();
        }
        self.special(syntax);
        match self.peek() {
            Some(b'+') => Err(Refused("possessive quantifiers are not supported")),
            Some(b'?') => {
                self.at += 1;
                self.syntax.push('?');
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What stands behind a backslash, outside a class.
    fn escape(&mut self) -> Read<()> {
        let byte = self.next().ok_or(UNFINISHED)?;
        match byte {
            b'd' | b'D' | b's' | b'S' | b'w' | b'W' => {
                self.atom(&format!("\\{}", char::from(byte)));
            }
            b'b' | b'B' | b'A' | b'z' => self.special(&format!("\\{}", char::from(byte))),
            b'Z' => self.end(),
            b'Q' => {
                let rest = self.rest();
                let end = rest.windows(2).position(|two| two == b"\\E");
                let quoted = &rest[..end.unwrap_or(rest.len())];
                self.at += quoted.len() + end.map_or(0, |_| 2);
                for byte in quoted {
                    self.literal(*byte);
                }
            }
            b'E' => {}
            _ => {
                let byte = self.escaped_byte(byte)?;
                self.literal(byte);
            }
        }
        Ok(())
    }

    /// The byte that a backslash and `byte` stand for.
    fn escaped_byte(&mut self, byte: u8) -> Read<u8> {
        match byte {
            b'a' => Ok(0x07),
            b'e' => Ok(0x1b),
            b'f' => Ok(0x0c),
            b'n' => Ok(b'\n'),
            b'r' => Ok(b'\r'),
            b't' => Ok(b'\t'),
            b'x' => self.hexadecimal(),
            b'0'..=b'9' => Err(Refused(
                "references to groups and octal numbers are not supported",
            )),
            byte if byte.is_ascii_alphabetic() => Err(Refused(
                "unknown escape: a backslash before this letter has no meaning",
            )),
            byte => Ok(byte),
        }
    }

    fn hexadecimal(&mut self) -> Read<u8> {
        let two = self
            .rest()
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok());
        let digits = two.filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        self.at += 2;
        byte.ok_or(Refused("\\x needs two hexadecimal digits"))
    }

    /// What stands behind a `(`.
    fn open(&mut self) -> Read<()> {
        let rest = self.rest();
        if rest.starts_with(b"*") {
            return Err(Refused("verbs such as (*ACCEPT) are not supported"));
        }
        let syntax = match rest.strip_prefix(b"?") {
            None => "(?:".to_owned(),
            Some(rest) if rest.starts_with(b":") => {
                self.at += 2;
                "(?:".to_owned()
            }
            Some(rest)
                if [&b"="[..], b"!", b"<=", b"<!"]
                    .iter()
                    .any(|it| rest.starts_with(it)) =>
            {
                return Err(Refused("look-around is not supported"));
            }
            Some(_) => {
                return Err(Refused("of the groups with ?, only (?:...) is supported"));
            }
        };
        self.groups.push(Group::default());
        self.special(&syntax);
        Ok(())
    }

    /// What stands behind a `[`.
    fn class(&mut self) -> Read<()> {
        let unfinished = Refused("missing ] for a [");
        self.atom("[");
        if self.peek() == Some(b'^') {
            self.at += 1;
            self.syntax.push('^');
        }
        let mut is_first = true;
        loop {
            let byte = self.next().ok_or(unfinished)?;
            if byte == b']' && !is_first {
                break;
            }
            is_first = false;
            let Some(low) = self.class_item(byte)? else {
                continue;
            };
            let is_range = self.peek() == Some(b'-') && self.text.get(self.at + 1) != Some(&b']');
            push_byte(&mut self.syntax, low);
            if !is_range {
                continue;
            }
            self.at += 1;
            let byte = self.next().ok_or(unfinished)?;
            self.syntax.push('-');
            match self.class_item(byte)? {
                Some(high) if high >= low => push_byte(&mut self.syntax, high),
                Some(_) => return Err(Refused("a range in [...] is in the wrong order")),
                None => return Err(Refused("a range in [...] ends in a character class")),
            }
        }
        self.syntax.push(']');
        Ok(())
    }

    /// The byte that stands in a class, or nothing if it is a set of bytes, which is pushed then.
    fn class_item(&mut self, byte: u8) -> Read<Option<u8>> {
        match byte {
            b'[' => self.named_class(),
            b'\\' => {
                let byte = self.next().ok_or(UNFINISHED)?;
                match byte {
                    b'd' | b'D' | b's' | b'S' | b'w' | b'W' => {
                        self.syntax.push_str(&format!("\\{}", char::from(byte)));
                        Ok(None)
                    }
                    b'b' => Ok(Some(0x08)),
                    _ => self.escaped_byte(byte).map(Some),
                }
            }
            byte => Ok(Some(byte)),
        }
    }

    /// A class such as `[:alpha:]`, or the `[` that is one of the bytes.
    fn named_class(&mut self) -> Read<Option<u8>> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        let rest = self.rest();
        match rest.first() {
            Some(b'.' | b'=') => return Err(Refused("collating elements are not supported")),
            Some(b':') => {}
            _ => return Ok(Some(b'[')),
        }
        let Some(end) = rest.windows(2).position(|two| two == b":]") else {
            return Ok(Some(b'['));
        };
        let name = std::str::from_utf8(&rest[1..end]).unwrap_or_default();
        if !NAMES.contains(&name.trim_start_matches('^')) {
            return Err(Refused("unknown character class"));
        }
        self.at += end + 2;
        self.syntax.push_str(&format!("[:{name}:]"));
        Ok(None)
    }
}

/// How long the quantifier is that `rest` follows the `{` of, if it is one.
fn braces(rest: &[u8]) -> Read<Option<usize>> {
    let Some(end) = rest.iter().position(|byte| *byte == b'}') else {
        return Ok(None);
    };
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let mut numbers = rest[..end].splitn(2, |byte| *byte == b',');
    let (low, high) = (numbers.next().unwrap_or_default(), numbers.next());
    if low.is_empty() && high.is_some_and(is_number) {
        // PCRE2 takes it for literal up to 10.42, and for a quantifier since.
        return Err(Refused("{,N} is ambiguous: write {0,N} or \\{,N}"));
    }
    let is_quantifier =
        is_number(low) && high.is_none_or(|high| high.is_empty() || is_number(high));
    Ok(is_quantifier.then_some(end + 1))
}

fn push_byte(syntax: &mut String, byte: u8) {
    match byte {
        b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => syntax.push(char::from(byte)),
        _ => syntax.push_str(&format!(r"\x{byte:02X}")),
    }
}
