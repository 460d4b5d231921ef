//! Given a file's key and a place in it, gives the byte that is there; never reads one from anywhere.

use std::io;

use mke4fs::tree::{Content, ContentKey, ContentReader, ContentSource, DataMap};

/// Content whose every byte follows from its key and place.
pub struct Pattern;

struct PatternReader(ContentKey);

impl ContentSource for Pattern {
    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        Ok(Box::new(PatternReader(key)))
    }

    fn describe(&self, key: ContentKey) -> Vec<u8> {
        key.to_string().into_bytes()
    }
}

impl ContentReader for PatternReader {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (byte, place) in buffer.iter_mut().zip(offset..) {
            *byte = pattern(self.0, place);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pattern(key: ContentKey, place: u64) -> u8 {
    let [low, next, ..] = (place / 7).wrapping_add(key.wrapping_mul(31)).to_le_bytes();
    // Never zero, so that a hole is not taken for data.
    (low ^ next) | 1
}

/// What a file has at a place.
pub fn expected_byte(content: &Content, place: u64) -> u8 {
    let is_data = match content.data() {
        DataMap::Whole => true,
        DataMap::Ranges(ranges) => {
            let next = ranges.partition_point(|range| range.end <= place);
            ranges.get(next).is_some_and(|range| range.start <= place)
        }
    };
    if is_data {
        pattern(content.key(), place)
    } else {
        0
    }
}
