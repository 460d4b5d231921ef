//! Given a name, gives the form by which a casefolding directory tells names apart; never a hash.
//!
//! That form is Unicode 12.1.0's: each code point is folded in full (CaseFolding's C and F) and
//! decomposed (NFD), what is ignorable by default is left out, and combining marks are put in order.
//! The kernel's documentation of ext4 and its `fs/unicode` call it NFDICF.
//!
//! Three facts of the kernel's `utf8byte` are not in the standard, and decide hashes:
//!
//! - Marks are ordered once, after folding, by what the folded code points are: U+0345 folds to the
//!   letter iota and is no mark any more.
//! - What is left out still parts the marks before it from those after it.
//! - A byte of 0x80 to 0xbf that belongs to no code point is kept, but for a name's first. Amid marks it
//!   comes once for each class of theirs and once more: the kernel reads them as often.

use std::collections::BTreeSet;

use super::casefold_tables::{CLASSES, EXPANSIONS, IGNORED, MAPPED};

/// Hangul syllables: their first, and how many trailing consonants (none included) and combinations
/// of vowels and those there are (The Unicode Standard, section 3.12).
const HANGUL_FIRST: u32 = 0xac00;
const HANGUL_COUNT: u32 = 11_172;
const TRAILING_COUNT: u32 = 28;
const LEADING_SPAN: u32 = 588;
/// The first leading consonant, the first vowel, and the place before the first trailing consonant.
const LEADING: u32 = 0x1100;
const VOWEL: u32 = 0x1161;
const TRAILING: u32 = 0x11a7;

/// The folded form of `name`: names of one form are one name; `None` where it has none, since it is
/// not UTF-8, and is only equal to itself.
///
/// ```
/// use mke4fs::raw::ondisk::casefold::fold;
///
/// assert_eq!(fold("STRASSE".as_bytes()), fold("straße".as_bytes()));
/// assert_eq!(fold(b"\xff"), None);
/// ```
pub fn fold(name: &[u8]) -> Option<Vec<u8>> {
    if name.is_ascii() {
        return Some(name.to_ascii_lowercase());
    }
    if name.first().is_some_and(|byte| is_continuation(*byte)) {
        return None;
    }
    let mut folded = Folded::default();
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            folded.push(character);
        }
        match chunk.invalid() {
            [] => {}
            [byte] if is_continuation(*byte) => folded.push_stray(*byte),
            _ => return None,
        }
    }
    folded.order_marks();
    Some(folded.bytes)
}

/// A folded name in the making.
#[derive(Default)]
struct Folded {
    bytes: Vec<u8>,
    /// What came since the first of the last marks, in the order of the name.
    run: Vec<Piece>,
}

/// A piece of a run of combining marks.
#[derive(Clone, Copy)]
enum Piece {
    /// A mark and its class.
    Mark(u8, char),
    /// A byte of no code point.
    Stray(u8),
}

impl Piece {
    /// The mark's class; 0 for what is none.
    fn class(self) -> u8 {
        match self {
            Self::Mark(class, _) => class,
            Self::Stray(_) => 0,
        }
    }
}

impl Folded {
    /// Adds what a code point of the name becomes.
    fn push(&mut self, character: char) {
        let code = u32::from(character);
        if is_in(IGNORED, code) {
            self.order_marks();
        } else if let Some(expansion) = expansion(code) {
            for part in expansion.chars() {
                self.push_last(part);
            }
        } else if let Some(syllable) = syllable(code) {
            for part in syllable.into_iter().flatten() {
                self.push_last(part);
            }
        } else {
            self.push_last(character);
        }
    }

    /// Adds a code point that stays as it is.
    fn push_last(&mut self, character: char) {
        match combining_class(u32::from(character)) {
            0 => {
                self.order_marks();
                self.keep(character);
            }
            class => self.run.push(Piece::Mark(class, character)),
        }
    }

    fn push_stray(&mut self, byte: u8) {
        if self.run.is_empty() {
            self.bytes.push(byte);
        } else {
            self.run.push(Piece::Stray(byte));
        }
    }

    fn keep(&mut self, character: char) {
        let mut buffer = [0; 4];
        let encoded = character.encode_utf8(&mut buffer);
        self.bytes.extend_from_slice(encoded.as_bytes());
    }

    /// Puts the marks in the order of their classes, those of one class in their own.
    fn order_marks(&mut self) {
        let run = std::mem::take(&mut self.run);
        let classes: BTreeSet<u8> = run.iter().map(|piece| piece.class()).collect();
        for class in classes {
            for piece in &run {
                match *piece {
                    Piece::Mark(of, mark) if of == class => self.keep(mark),
                    Piece::Mark(..) => {}
                    Piece::Stray(byte) => self.bytes.push(byte),
                }
            }
        }
    }
}

fn is_continuation(byte: u8) -> bool {
    matches!(byte, 0x80..=0xbf)
}

fn is_in(ranges: &[(u32, u32)], code: u32) -> bool {
    let at = ranges.partition_point(|(_, last)| *last < code);
    ranges.get(at).is_some_and(|(first, _)| *first <= code)
}

fn combining_class(code: u32) -> u8 {
    let at = CLASSES.partition_point(|(_, last, _)| *last < code);
    let range = CLASSES.get(at).filter(|(first, ..)| *first <= code);
    range.map_or(0, |(_, _, class)| *class)
}

fn expansion(code: u32) -> Option<&'static str> {
    let at = MAPPED
        .binary_search_by_key(&code, |(code, ..)| *code)
        .ok()?;
    let (_, start, bytes) = MAPPED[at];
    let start = usize::from(start);
    EXPANSIONS.get(start..start + usize::from(bytes))
}

/// The consonants and vowel of a Hangul syllable.
fn syllable(code: u32) -> Option<[Option<char>; 3]> {
    let index = code.checked_sub(HANGUL_FIRST)?;
    if index >= HANGUL_COUNT {
        return None;
    }
    let trailing = index % TRAILING_COUNT;
    Some([
        char::from_u32(LEADING + index / LEADING_SPAN),
        char::from_u32(VOWEL + index % LEADING_SPAN / TRAILING_COUNT),
        char::from_u32(TRAILING + trailing).filter(|_| trailing > 0),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_as_unicode_says() {
        for (name, folded) in [
            ("MakeFile", "makefile"),
            ("Straße ẞ", "strasse ss"),
            ("ΌΔΟΣ ς", "ο\u{301}δοσ σ"),
            ("İI ı", "i\u{307}i ı"),
            ("한국", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"),
            ("가", "\u{1100}\u{1161}"),
            ("ﬃ", "ffi"),
            ("a\u{ad}b\u{200d}c", "abc"),
            ("a\u{301}\u{323}", "a\u{323}\u{301}"),
            ("a\u{301}\u{302}", "a\u{301}\u{302}"),
            ("\u{1e69}", "s\u{323}\u{307}"),
            ("\u{ad}", ""),
            ("K\u{212a}Å\u{212b}", "kka\u{30a}a\u{30a}"),
            ("\u{13a0}\u{ab70}", "\u{13a0}\u{13a0}"),
            ("\u{10400}", "\u{10428}"),
        ] {
            let form = fold(name.as_bytes()).expect("it is UTF-8");
            assert_eq!(form, folded.as_bytes(), "{name}");
        }
    }

    #[test]
    fn what_is_left_out_parts_marks() {
        let form = fold("a\u{301}\u{34f}\u{323}".as_bytes());
        assert_eq!(form.as_deref(), Some("a\u{301}\u{323}".as_bytes()));
    }

    #[test]
    fn iota_subscript_is_a_letter_once_folded() {
        let form = fold("α\u{345}\u{301}".as_bytes());
        assert_eq!(form.as_deref(), Some("αι\u{301}".as_bytes()));
    }

    #[test]
    fn stray_bytes_are_kept_and_come_again_amid_marks() {
        for (name, folded) in [
            (&b"A\xb4B"[..], &b"a\xb4b"[..]),
            (b"\xc2\xad\x80", b"\x80"),
            // U+0301 is of class 230, U+0323 of class 220.
            (b"\xcc\x81\xb4\xcc\xa3A", b"\xb4\xb4\xcc\xa3\xcc\x81\xb4a"),
        ] {
            let form = fold(name);
            assert_eq!(form.as_deref(), Some(folded), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_utf8_has_no_form() {
        for name in [
            &b"\x80"[..],
            b"a\xff",
            b"\xc3",
            b"a\xed\xa0\x80",
            b"a\xc0\xaf",
        ] {
            assert_eq!(fold(name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn tables_are_in_order_and_lead_to_what_stays() {
        assert!(IGNORED.is_sorted_by(|a, b| a.1 < b.0));
        assert!(CLASSES.is_sorted_by(|a, b| a.1 < b.0));
        assert!(MAPPED.is_sorted_by(|a, b| a.0 < b.0));
        for (code, ..) in MAPPED {
            let text = expansion(*code).expect("it lies in the text between characters");
            assert!(!text.is_empty());
            for part in text.chars().map(u32::from) {
                let stays = !is_in(IGNORED, part) && expansion(part).is_none();
                assert!(stays && syllable(part).is_none(), "{code:x}");
            }
        }
    }
}
