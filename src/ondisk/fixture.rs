//! Given a fixture's text, gives the bytes it spells; never a file read while the tests run.

/// The bytes that pairs of hexadecimal digits stand for.
pub(super) fn from_hex(text: &str) -> Vec<u8> {
    let digits = text
        .as_bytes()
        .chunks(2)
        .map(|pair| str::from_utf8(pair).expect("ASCII"));
    digits
        .map(|pair| u8::from_str_radix(pair, 16).expect("two hexadecimal digits"))
        .collect()
}
