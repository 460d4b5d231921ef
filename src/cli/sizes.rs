//! Given numbers of bytes, gives the words and the flags that stand for them; never a number that is not asked
//! for.

const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// `bytes` for people: in the largest unit of which there is one, with at most one decimal.
pub(super) fn for_people(bytes: u64) -> String {
    if bytes < 1024 {
        let plural = if bytes == 1 { "" } else { "s" };
        return format!("{bytes} byte{plural}");
    }
    let mut unit = 0;
    // In tenths, rounded to the nearest.
    let tenths = |unit: usize| {
        let one = u128::from(1024_u64) << (10 * unit);
        (u128::from(bytes) * 10 + one / 2) / one
    };
    while unit + 1 < UNITS.len() && tenths(unit) >= 10_240 {
        unit += 1;
    }
    let (whole, tenth) = (tenths(unit) / 10, tenths(unit) % 10);
    let unit = UNITS[unit];
    if tenth == 0 {
        format!("{whole} {unit}")
    } else {
        format!("{whole}.{tenth} {unit}")
    }
}

/// `needed` bytes and the fewer that there are, for people who compare them.
pub(super) fn to_compare(needed: u64, there: u64) -> (String, String) {
    let texts = (for_people(needed), for_people(there));
    if texts.0 == texts.1 {
        (format!("{needed} bytes"), format!("{there} bytes"))
    } else {
        texts
    }
}

/// `bytes` as the value of a flag, rounded up to whole KiB.
pub(super) fn as_flag(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) && bytes > 0 {
        format!("{}M", bytes >> 20)
    } else {
        format!("{}K", bytes.div_ceil(1024))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_bytes_has_one_decimal_at_most() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1 MiB"),
            (10 << 20, "10 MiB"),
            ((7 << 20) + (1 << 19), "7.5 MiB"),
            (465_777_459, "444.2 MiB"),
            (3 << 40, "3 TiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(for_people(bytes), expected, "{bytes}");
        }
        assert_eq!(to_compare(1 << 30, (1 << 30) - 1).1, "1073741823 bytes");
        assert_eq!(as_flag(463 << 20), "463M");
        assert_eq!(as_flag(300 << 10), "300K");
        assert_eq!(as_flag(1500), "2K");
    }
}
