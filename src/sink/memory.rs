//! Given bytes and their place, keeps them in this process; never touches a file.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use super::{Sink, index, length_of, range_within};

const PAGE_BYTES: u64 = 4096;
const PAGE: usize = 4096;

/// Memory as a sink: as large as it is told, and only what was written takes room.
///
/// It behaves as a sparse file does: fresh bytes read as zeros, and discarded ones do again.
/// [`filled`](Self::filled) and [`without_discard`](Self::without_discard) make it storage that
/// holds old data.
///
/// ```
/// use mke4fs::sink::{Memory, Sink};
///
/// let sink = Memory::new(1 << 40);
/// sink.write_at(1 << 39, b"hello")?;
/// let mut bytes = [0; 6];
/// sink.read_at(1 << 39, &mut bytes)?;
/// assert_eq!(&bytes, b"hello\0");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Memory {
    size_bytes: u64,
    discards: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What was written, by page number.
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    /// What a page that was never written reads as, from the page of the key on.
    background: BTreeMap<u64, u8>,
}

impl Memory {
    /// Memory of `size_bytes` that reads as zeros.
    pub fn new(size_bytes: u64) -> Self {
        Self::filled(size_bytes, 0)
    }

    /// Memory of `size_bytes` in which every byte is `fill`, as storage that was in use.
    pub fn filled(size_bytes: u64, fill: u8) -> Self {
        let state = State {
            pages: BTreeMap::new(),
            background: BTreeMap::from([(0, fill)]),
        };
        Self {
            size_bytes,
            discards: true,
            state: Mutex::new(state),
        }
    }

    /// The same memory, which cannot discard: like a disk without it.
    #[must_use]
    pub fn without_discard(mut self) -> Self {
        self.discards = false;
        self
    }

    /// Every byte, in order.
    ///
    /// # Errors
    /// Where the address space does not hold them.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let length = usize::try_from(self.size_bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes
            .try_reserve_exact(length)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(length, 0);
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// How many bytes of memory hold what was written, in whole pages.
    pub fn held_bytes(&self) -> u64 {
        PAGE_BYTES * u64::try_from(self.state().pages.len()).expect("a count fits 64 bits")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves whole pages behind, so that the state is still good.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn zero_range(&self, range: Range<u64>) {
        let mut state = self.state();
        let whole = range.start.div_ceil(PAGE_BYTES)..range.end / PAGE_BYTES;
        if whole.is_empty() {
            for piece in pieces(range) {
                state.page(piece.page)[piece.within].fill(0);
            }
            return;
        }
        for edge in [
            range.start..whole.start * PAGE_BYTES,
            whole.end * PAGE_BYTES..range.end,
        ] {
            for piece in pieces(edge) {
                state.page(piece.page)[piece.within].fill(0);
            }
        }
        state.zero_pages(whole);
    }
}

impl State {
    fn background_of(&self, page: u64) -> u8 {
        let (_, &fill) = self
            .background
            .range(..=page)
            .next_back()
            .expect("page 0 always has a background");
        fill
    }

    fn page(&mut self, page: u64) -> &mut [u8; PAGE] {
        let fill = self.background_of(page);
        self.pages
            .entry(page)
            .or_insert_with(|| Box::new([fill; PAGE]))
    }

    fn zero_pages(&mut self, pages: Range<u64>) {
        let mut after = self.pages.split_off(&pages.start);
        self.pages.append(&mut after.split_off(&pages.end));
        let fill_after = self.background_of(pages.end);
        let mut after = self.background.split_off(&pages.start);
        self.background.append(&mut after.split_off(&pages.end));
        self.background.insert(pages.start, 0);
        self.background.insert(pages.end, fill_after);
    }
}

impl Sink for Memory {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = range_within(self.size_bytes, offset, length_of(bytes))?;
        let mut state = self.state();
        let mut rest = bytes;
        for piece in pieces(range) {
            let (now, later) = rest.split_at(piece.within.len());
            state.page(piece.page)[piece.within].copy_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zero_range(range_within(self.size_bytes, offset, length)?);
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        let range = range_within(self.size_bytes, offset, length)?;
        if self.discards {
            self.zero_range(range);
        }
        Ok(self.discards)
    }

    fn discard_zeroes(&self) -> bool {
        self.discards
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = range_within(self.size_bytes, offset, length_of(buffer))?;
        let state = self.state();
        let mut rest = buffer;
        for piece in pieces(range) {
            let (now, later) = rest.split_at_mut(piece.within.len());
            match state.pages.get(&piece.page) {
                Some(page) => now.copy_from_slice(&page[piece.within]),
                None => now.fill(state.background_of(piece.page)),
            }
            rest = later;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The part of a range that lies in one page.
struct Piece {
    page: u64,
    within: Range<usize>,
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Piece> {
    let pages = range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES);
    pages
        .map(move |page| {
            let first = page * PAGE_BYTES;
            let start = range.start.max(first) - first;
            let end = range.end.min(first + PAGE_BYTES).saturating_sub(first);
            Piece {
                page,
                within: index(start)..index(end.max(start)),
            }
        })
        .filter(|piece| !piece.within.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Memory, Sink};

    const SIZE: u64 = 5 * 4096 + 1000;

    proptest! {
        /// A sparse memory agrees with a plain array, whatever is written, zeroed and discarded.
        #[test]
        fn agrees_with_a_plain_array(
            steps in prop::collection::vec((0_u8..3, 0_u64..SIZE, 0_u64..3 * 4096), 0..20),
        ) {
            let memory = Memory::filled(SIZE, 0xD1);
            let mut plain = vec![0xD1; usize::try_from(SIZE).unwrap()];
            for (number, (step, offset, length)) in (1_u8..).zip(steps) {
                let length = length.min(SIZE - offset);
                let at = usize::try_from(offset).unwrap();
                let part = &mut plain[at..at + usize::try_from(length).unwrap()];
                part.fill(if step == 0 { number } else { 0 });
                match step {
                    0 => memory.write_at(offset, part).unwrap(),
                    1 => memory.zero(offset, length).unwrap(),
                    _ => prop_assert!(memory.discard(offset, length).unwrap()),
                }
            }
            prop_assert!(memory.into_bytes().unwrap() == plain);
        }
    }

    #[test]
    fn keeps_a_petabyte_of_junk_in_no_room() {
        let memory = Memory::filled(1 << 50, 0xD1);
        memory.zero(4096, (1 << 50) - 8192).unwrap();
        assert_eq!(memory.held_bytes(), 0);
        let mut bytes = [0; 2];
        memory.read_at(4095, &mut bytes).unwrap();
        assert_eq!(bytes, [0xD1, 0]);
        memory.read_at((1 << 50) - 4097, &mut bytes).unwrap();
        assert_eq!(bytes, [0, 0xD1]);
    }

    #[test]
    fn memory_that_cannot_discard_says_so() {
        let memory = Memory::filled(8192, 0xD1).without_discard();
        assert!(!memory.discard(0, 8192).unwrap());
        assert!(!memory.discard_zeroes());
        assert_eq!(memory.into_bytes().unwrap(), vec![0xD1; 8192]);
    }

    #[test]
    fn refuses_what_lies_past_its_end() {
        let memory = Memory::new(4096);
        let error = memory.write_at(4095, b"ab").unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 bytes at 4095 are past the end of a sink of 4096 bytes"
        );
        assert!(memory.zero(u64::MAX, 2).is_err());
        assert!(memory.discard(0, 4097).is_err());
        assert!(memory.read_at(4096, &mut [0]).is_err());
    }
}
