//! Given the digits of a rule's text, gives the number; never one that was not written.

use super::error::RuleErrorKind;
use crate::tree::Device;

/// A number in C's way: decimal, octal after 0, hexadecimal after 0x.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let text = str::from_utf8(digits).ok()?;
    if text.starts_with('+') {
        return None;
    }
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hexadecimal) if hexadecimal.starts_with('+') => None,
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

/// A decimal number that `T` holds.
pub(super) fn decimal<T: TryFrom<u64>>(
    of: &'static str,
    digits: &[u8],
) -> Result<T, RuleErrorKind> {
    let refused = || RuleErrorKind::Value {
        of,
        value: digits.to_vec(),
        needed: "must be a number in its range",
    };
    let is_decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(digits).ok().filter(|_| is_decimal);
    let value: u64 = text
        .and_then(|text| text.parse().ok())
        .ok_or_else(refused)?;
    T::try_from(value).map_err(|_| refused())
}

/// An owner; the last id stands for none.
pub(super) fn owner(of: &'static str, digits: &[u8]) -> Result<u32, RuleErrorKind> {
    match decimal(of, digits)? {
        u32::MAX => Err(RuleErrorKind::Value {
            of,
            value: digits.to_vec(),
            needed: "must be at most 4294967294",
        }),
        id => Ok(id),
    }
}

/// Permission bits, at most 0o7777.
pub(super) fn octal(of: &'static str, digits: &[u8]) -> Result<u16, RuleErrorKind> {
    let is_octal = !digits.is_empty() && digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let text = str::from_utf8(digits).ok().filter(|_| is_octal);
    let value = text.and_then(|text| u16::from_str_radix(text, 8).ok());
    value
        .filter(|value| *value <= 0o7777)
        .ok_or_else(|| RuleErrorKind::Value {
            of,
            value: digits.to_vec(),
            needed: "must be octal digits up to 7777",
        })
}

/// A device that ext4 can hold.
pub(super) fn device(major: u64, minor: u64) -> Option<Device> {
    let within = |number: u64, most| u32::try_from(number).ok().filter(|number| *number <= most);
    Some(Device {
        major: within(major, 0xfff)?,
        minor: within(minor, 0xf_ffff)?,
    })
}
