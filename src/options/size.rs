//! Given a number as people write it for mke2fs, gives the count; never knows what is counted.
//!
//! The units are those of e2fsprogs' `parse_num_blocks2`: `k`, `m`, `g` and `t` in either case and
//! `s` for sectors of 512 bytes, after a number that C's `strtoull` reads with base 0.

use std::fmt;
use std::str::FromStr;

/// A length, in the unit it was given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Blocks of the size asked for, or KiB where no block size is asked for.
    Blocks(u64),
    /// Units of 1024 bytes.
    Kibibytes(u64),
    /// Units of 512 bytes.
    Sectors(u64),
    /// Bytes; what does not fill a block is left unused.
    Bytes(u64),
}

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeError(String);

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid size '{}': must be a number, optionally with the unit k, M, G, T or s",
            self.0.escape_default()
        )
    }
}

impl std::error::Error for SizeError {}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let starts = text.starts_with(|c: char| c.is_ascii_digit());
        let size = starts.then(|| Self::parse(text)).flatten();
        size.ok_or_else(|| SizeError(text.to_owned()))
    }
}

impl Size {
    /// Reads `64M`, `8g`, `2048s`, `0x100k`; a bare number counts blocks.
    ///
    /// `None` where the text has anything after the number but one unit, or the number is negative.
    ///
    /// ```
    /// use mke4fs::options::Size;
    ///
    /// assert_eq!(Size::parse("64M"), Some(Size::Kibibytes(64 * 1024)));
    /// assert_eq!(Size::parse("1.5G"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('-') {
            return None;
        }
        let (number, rest) = unsigned(text, 0);
        let shifted = |shift: u32| Self::Kibibytes(shift_left(number, shift));
        match rest {
            "" => Some(Self::Blocks(number)),
            "k" | "K" => Some(shifted(0)),
            "m" | "M" => Some(shifted(10)),
            "g" | "G" => Some(shifted(20)),
            "t" | "T" => Some(shifted(30)),
            "s" => Some(Self::Sectors(number)),
            _ => None,
        }
    }

    /// As it is written for the command; a number of bytes is that number.
    pub(crate) fn as_asked(self) -> String {
        match self {
            Self::Blocks(number) | Self::Bytes(number) => number.to_string(),
            Self::Kibibytes(number) => format!("{number}K"),
            Self::Sectors(number) => format!("{number}s"),
        }
    }

    /// The length in blocks of `1024 << log_block_size` bytes, rounded down.
    pub(crate) fn blocks(self, log_block_size: u32) -> u64 {
        match self {
            Self::Blocks(number) => number,
            Self::Kibibytes(number) => number >> log_block_size,
            Self::Sectors(number) => number >> (1 + log_block_size),
            Self::Bytes(number) => number >> (10 + log_block_size),
        }
    }

    /// The length in bytes, where a bare number counts bytes; `u64::MAX` where it is longer.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Blocks(number) | Self::Bytes(number) => number,
            Self::Kibibytes(number) => shift_left(number, 10),
            Self::Sectors(number) => shift_left(number, 9),
        }
    }
}

/// `number << shift`, or `u64::MAX` where bits would be lost.
fn shift_left(number: u64, shift: u32) -> u64 {
    number.saturating_mul(1 << shift)
}

/// The number that `text` begins with and what follows it, as C's `strtoull` has it.
///
/// White space and a sign may stand before the number; a minus wraps. With `base` 0, `0x` begins
/// sixteens and `0` eights. Without digits the number is 0 and the whole text follows. A number
/// past 64 bits is `u64::MAX`.
pub(crate) fn unsigned(text: &str, base: u32) -> (u64, &str) {
    let spaces = |c: char| matches!(c, ' ' | '\t'..='\r');
    let body = text.trim_start_matches(spaces);
    let (negative, body) = match body.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, body.strip_prefix('+').unwrap_or(body)),
    };
    let (base, digits) = radix(body, base);
    let end = digits
        .find(|c: char| !c.is_digit(base))
        .unwrap_or(digits.len());
    if end == 0 {
        return (0, text);
    }
    let (digits, rest) = digits.split_at(end);
    let number = digits.chars().try_fold(0_u64, |number, digit| {
        let digit = u64::from(digit.to_digit(base)?);
        number.checked_mul(u64::from(base))?.checked_add(digit)
    });
    match number {
        Some(number) if negative => (number.wrapping_neg(), rest),
        Some(number) => (number, rest),
        None => (u64::MAX, rest),
    }
}

/// The base `body` is written in, and its digits.
fn radix(body: &str, base: u32) -> (u32, &str) {
    let hexadecimal = body
        .strip_prefix("0x")
        .or_else(|| body.strip_prefix("0X"))
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit()));
    match (base, hexadecimal) {
        (0 | 16, Some(rest)) => (16, rest),
        (0, None) if body.starts_with('0') => (8, body),
        (0, None) => (10, body),
        _ => (base, body),
    }
}

/// The number that is all of `text`, or nothing.
pub(crate) fn number(text: &str) -> Option<u64> {
    match unsigned(text, 0) {
        (number, "") => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, base, number, rest) in [
            ("12", 0, 12, ""),
            ("0x1fz", 0, 0x1f, "z"),
            ("0x", 0, 0, "x"),
            ("010", 0, 8, ""),
            ("0789", 0, 7, "89"),
            ("0755", 8, 0o755, ""),
            ("755", 8, 0o755, ""),
            (" \t+7", 0, 7, ""),
            ("-1", 0, u64::MAX, ""),
            ("99999999999999999999", 0, u64::MAX, ""),
            ("", 0, 0, ""),
            ("x", 0, 0, "x"),
            ("-", 0, 0, "-"),
        ] {
            assert_eq!(unsigned(text, base), (number, rest), "{text:?}");
        }
    }

    #[test]
    fn sizes_have_one_unit_at_most() {
        for (text, size) in [
            ("64", Some(Size::Blocks(64))),
            ("1k", Some(Size::Kibibytes(1))),
            ("3M", Some(Size::Kibibytes(3072))),
            ("1g", Some(Size::Kibibytes(1 << 20))),
            ("20T", Some(Size::Kibibytes(20 << 30))),
            ("8s", Some(Size::Sectors(8))),
            ("8S", None),
            ("1.5M", None),
            ("b", None),
            ("1kb", None),
            ("-5M", None),
            ("", Some(Size::Blocks(0))),
        ] {
            assert_eq!(Size::parse(text), size, "{text:?}");
        }
    }

    #[test]
    fn sizes_round_down_to_blocks_and_never_wrap() {
        assert_eq!(Size::Kibibytes(7).blocks(2), 1);
        assert_eq!(Size::Sectors(1).blocks(0), 0);
        assert_eq!(Size::Bytes(9000).blocks(2), 2);
        assert_eq!(Size::Kibibytes(4).bytes(), 4096);
        assert_eq!(Size::parse("99999999999T"), Some(Size::Kibibytes(u64::MAX)));
    }
}
