//! Given base64, gives its bytes; never a text for bytes.

/// The bytes that `text` stands for in base 64, with or without padding.
pub(super) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=');
    let digits = &text[..end.map_or(0, |end| end + 1)];
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let [_, whole @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        // Two digits make one byte, three make two; one makes none.
        let count = group.len().checked_sub(1).filter(|count| *count > 0)?;
        bytes.extend(&whole[..count]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_its_padding_or_not() {
        for (text, bytes) in [
            (&b""[..], Some(&b""[..])),
            (b"Zg==", Some(b"f")),
            (b"Zg", Some(b"f")),
            (b"Zm8", Some(b"fo")),
            (b"Zm9v", Some(b"foo")),
            (b"Zm9vYmFy", Some(b"foobar")),
            (b"AP+/", Some(b"\x00\xff\xbf")),
            (b"Z", None),
            (b"Zm9vY", None),
            (b"Zm 8", None),
        ] {
            assert_eq!(decoded(text).as_deref(), bytes);
        }
    }
}
