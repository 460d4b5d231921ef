//! Given any text, checks that it is refused or gives the size that its number and unit say.

use mke4fs::options::Size;

/// Checks `bytes` as a text, and their first eight as a number with every unit.
pub fn run(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Size::parse(text);
        assert_eq!(Size::parse(&format!("{text}?")), None);
    }
    let Some(number) = bytes.first_chunk().copied().map(u64::from_le_bytes) else {
        return;
    };
    for (unit, shift) in [("k", 0), ("M", 10), ("g", 20), ("T", 30)] {
        let expected = Some(Size::Kibibytes(number.saturating_mul(1 << shift)));
        assert_eq!(Size::parse(&format!("{number}{unit}")), expected);
        assert_eq!(Size::parse(&format!("{number:#x}{unit}")), expected);
        assert_eq!(Size::parse(&format!("0{number:o}{unit}")), expected);
    }
    let sectors = Size::parse(&format!("{number}s"));
    assert_eq!(sectors, Some(Size::Sectors(number)));
    assert_eq!(
        Size::parse(&format!("{number}")),
        Some(Size::Blocks(number))
    );
}
