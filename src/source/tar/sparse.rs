//! Given the ranges of a sparse entry, gives a map of its data; never one that the data of the entry
//! does not bear out.

use std::ops::Range;

use crate::source::archive::error::ErrorKind;
use crate::tree::DataMap;
use crate::work;

/// How many ranges a map has at most: some 64 MiB of them.
const MOST_RANGES: usize = 1 << 22;

/// How many of them may be empty: some programs end a map with one.
const MOST_EMPTY: usize = 64;

pub(super) const TOO_MANY: &str = "has more than 4194304 ranges, or many more than its data";

/// The blocks that GNU tar pads each range's data to.
const BLOCK: u64 = 512;

/// How many ranges a map of `stored` bytes of data may have: all but the last are of whole blocks.
pub(super) fn most_ranges(stored: u64) -> usize {
    let blocks = usize::try_from(stored / BLOCK).unwrap_or(MOST_RANGES);
    blocks.saturating_add(MOST_EMPTY).min(MOST_RANGES)
}

/// The map of a file of `size` bytes whose data in `ranges`, as offsets and lengths, are stored one
/// after the other in `stored` bytes.
pub(super) fn data_map(
    ranges: &[(u64, u64)],
    size: u64,
    stored: u64,
) -> Result<DataMap, ErrorKind> {
    work::add(ranges.len());
    if ranges.len() > most_ranges(stored) {
        return Err(ErrorKind::Sparse(TOO_MANY));
    }
    let mut data: Vec<Range<u64>> = Vec::new();
    let (mut at, mut sum) = (0, 0_u64);
    let mut is_ragged = false;
    for (offset, length) in ranges {
        let end = offset.checked_add(*length).filter(|end| *end <= size);
        let end = end.ok_or(ErrorKind::Sparse("goes past the end of its file"))?;
        if *offset < at {
            return Err(ErrorKind::Sparse(
                "has ranges that overlap or are out of order",
            ));
        }
        at = end;
        if *length == 0 {
            continue;
        }
        if is_ragged {
            // GNU tar would begin the next range at a block, and others would not.
            return Err(ErrorKind::Sparse(
                "has a range amid the data that ends within a block",
            ));
        }
        is_ragged = length % BLOCK != 0;
        sum += length;
        match data.last_mut() {
            Some(last) if last.end == *offset => last.end = end,
            _ => data.push(*offset..end),
        }
    }
    if sum != stored {
        return Err(ErrorKind::Sparse(
            "has another length than the data that is stored",
        ));
    }
    Ok(match &data[..] {
        [] if size == 0 => DataMap::Whole,
        [all] if *all == (0..size) => DataMap::Whole,
        _ => DataMap::Ranges(data.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_ranges_in_order() {
        let map = data_map(
            &[(0, 512), (1024, 512), (1536, 512), (4096, 7), (5000, 0)],
            5000,
            1543,
        );
        let expected = DataMap::Ranges([0..512, 1024..2048, 4096..4103].into());
        assert_eq!(map.unwrap(), expected);
        assert_eq!(data_map(&[(0, 9)], 9, 9).unwrap(), DataMap::Whole);
        assert_eq!(
            data_map(&[(9, 0)], 9, 0).unwrap(),
            DataMap::Ranges([].into())
        );
    }

    #[test]
    fn maps_that_contradict_something_are_refused() {
        for (ranges, size, stored) in [
            (&[(0, 512), (0, 512)][..], 5000, 1024),
            (&[(1024, 512), (0, 512)], 5000, 1024),
            (&[(0, 512), (511, 1)], 5000, 513),
            (&[(0, 7), (512, 7)], 5000, 14),
            (&[(0, 5001)], 5000, 5001),
            (&[(u64::MAX, 2)], 5000, 2),
            (&[(0, 512)], 5000, 511),
            (&[(0, 512)], 5000, 1024),
            (&[(6000, 0)], 5000, 0),
        ] {
            assert!(data_map(ranges, size, stored).is_err(), "{ranges:?}");
        }
    }
}
