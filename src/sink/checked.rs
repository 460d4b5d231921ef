//! Given a sink and its user, gives proof of how it was written, or a fault at the worst moment;
//! never changes what is written.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use super::ranges::RangeSet;
use super::{Sink, index, length_of, range_within};

/// A storage fault at the n-th operation that would change the storage, counted from 1.
///
/// Writes, zeroings and discards count. Later operations succeed: whoever goes on after an error
/// is found out by what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// The operation fails and changes nothing.
    FailAt(u64),
    /// The operation reaches half of its bytes and fails, as on a disk that fills up.
    TearAt(u64),
}

/// A sink that holds its user to the rules, for tests of whatever writes images.
///
/// An error tells of the first byte written twice, of bytes outside the image, and of a discard of
/// bytes that were written. Zeroing counts as writing; the superblock zone is exempt, because it is
/// zeroed first and written last.
///
/// ```
/// use mke4fs::sink::{Checked, Memory, Sink};
///
/// let sink = Checked::new(Memory::new(8192), 0..8192).with_superblock_zone(1024..2048);
/// sink.write_at(4096, b"once")?;
/// assert!(sink.write_at(4099, b"twice").is_err());
/// assert_eq!(sink.written(), [4096..4100]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Checked<S> {
    inner: S,
    image: Range<u64>,
    superblock_zone: Range<u64>,
    fault: Option<InjectedFault>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    written: RangeSet,
    operations: u64,
    /// The numbers of those that touched the superblock zone.
    superblock_operations: Vec<u64>,
    faulted_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Write,
    Zero,
    Discard,
}

/// What becomes of an operation.
enum Verdict {
    Whole,
    Failed,
    Torn,
}

impl<S> Checked<S> {
    /// `inner` with an image in the bytes of `image`.
    pub fn new(inner: S, image: Range<u64>) -> Self {
        Self {
            inner,
            image,
            superblock_zone: 0..0,
            fault: None,
            state: Mutex::default(),
        }
    }

    /// Lets the bytes of `zone` be written any number of times.
    #[must_use]
    pub fn with_superblock_zone(mut self, zone: Range<u64>) -> Self {
        self.superblock_zone = zone;
        self
    }

    /// Lets the storage fail once.
    #[must_use]
    pub fn with_fault(mut self, fault: InjectedFault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// How many operations would have changed the storage: the faults there are to inject.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many operations came after the one at which the fault struck; `None` if it did not.
    pub fn operations_after_fault(&self) -> Option<u64> {
        let state = self.state();
        state.faulted_at.map(|at| state.operations - at)
    }

    /// The bytes that were written or zeroed, ascending, but for the superblock zone's.
    pub fn written(&self) -> Vec<Range<u64>> {
        self.state().written.ranges()
    }

    /// The bytes of the image that were neither written nor zeroed, ascending.
    pub fn unwritten(&self) -> Vec<Range<u64>> {
        let mut touched = self.state().written.clone();
        touched.insert(self.superblock_zone.clone());
        touched.missing_from(self.image.clone())
    }

    /// Whether the first operation and the last one touched the superblock zone, and no other.
    ///
    /// This is the order that leaves nothing to mount, whenever the run ends.
    pub fn superblock_came_first_and_last(&self) -> bool {
        let state = self.state();
        state.superblock_operations == [1, state.operations]
    }

    /// The sink inside.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counts an operation on `range`, holds it against the rules, and says what becomes of it.
    fn judge(&self, range: Range<u64>, kind: Kind) -> io::Result<Verdict> {
        let mut state = self.state();
        state.operations += 1;
        let number = state.operations;
        if range.start < self.image.start || range.end > self.image.end {
            return Err(broken(
                kind,
                &range,
                "which is not all in the image",
                &self.image,
            ));
        }
        let zone = &self.superblock_zone;
        let outside_zone = [
            range.start..range.end.min(zone.start),
            range.start.max(zone.end)..range.end,
        ];
        for part in outside_zone.into_iter().filter(|part| !part.is_empty()) {
            if let Some(again) = state.written.within(part.clone()).first() {
                return Err(broken(kind, &range, "after writing", again));
            }
            if kind != Kind::Discard {
                state.written.insert(part);
            }
        }
        let in_zone = range.start.max(zone.start)..range.end.min(zone.end);
        if kind != Kind::Discard && !in_zone.is_empty() {
            state.superblock_operations.push(number);
        }
        let verdict = match self.fault {
            Some(InjectedFault::FailAt(at)) if at == number => Verdict::Failed,
            Some(InjectedFault::TearAt(at)) if at == number => Verdict::Torn,
            _ => return Ok(Verdict::Whole),
        };
        state.faulted_at = Some(number);
        Ok(verdict)
    }
}

impl<S: Sink> Sink for Checked<S> {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = range_within(self.size_bytes(), offset, length_of(bytes))?;
        match self.judge(range, Kind::Write)? {
            Verdict::Whole => self.inner.write_at(offset, bytes),
            Verdict::Failed => Err(injected()),
            Verdict::Torn => {
                let half = index(length_of(bytes) / 2);
                self.inner.write_at(offset, &bytes[..half])?;
                Err(injected())
            }
        }
    }

    fn takes_one_at_a_time(&self) -> bool {
        self.inner.takes_one_at_a_time()
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let range = range_within(self.size_bytes(), offset, length)?;
        match self.judge(range, Kind::Zero)? {
            Verdict::Whole => self.inner.zero(offset, length),
            Verdict::Failed => Err(injected()),
            Verdict::Torn => {
                self.inner.zero(offset, length / 2)?;
                Err(injected())
            }
        }
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        let range = range_within(self.size_bytes(), offset, length)?;
        match self.judge(range, Kind::Discard)? {
            Verdict::Whole => self.inner.discard(offset, length),
            Verdict::Failed => Err(injected()),
            Verdict::Torn => {
                self.inner.discard(offset, length / 2)?;
                Err(injected())
            }
        }
    }

    fn discard_zeroes(&self) -> bool {
        self.inner.discard_zeroes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}

fn injected() -> io::Error {
    io::Error::other("injected storage fault")
}

fn broken(kind: Kind, range: &Range<u64>, rule: &str, other: &Range<u64>) -> io::Error {
    let what = match kind {
        Kind::Write => "write",
        Kind::Zero => "zeroing",
        Kind::Discard => "discard",
    };
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "{what} of bytes {} to {}, {rule}: bytes {} to {}",
            range.start, range.end, other.start, other.end
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::{Checked, InjectedFault, Sink};
    use crate::sink::Memory;

    fn checked() -> Checked<Memory> {
        Checked::new(Memory::filled(16384, 0xD1), 4096..12288).with_superblock_zone(5120..6144)
    }

    #[test]
    fn says_which_rule_was_broken() {
        let sink = checked();
        sink.write_at(8192, &[1; 100]).unwrap();
        let refused = [
            sink.write_at(8190, &[1; 100]),
            sink.zero(8291, 1),
            sink.discard(4096, 8192).map(|_| ()),
            sink.write_at(4095, &[1; 2]),
            sink.zero(12288, 1),
        ];
        let messages = refused.map(|result| result.unwrap_err().to_string());
        assert_eq!(
            messages,
            [
                "write of bytes 8190 to 8290, after writing: bytes 8192 to 8290",
                "zeroing of bytes 8291 to 8292, after writing: bytes 8291 to 8292",
                "discard of bytes 4096 to 12288, after writing: bytes 8192 to 8292",
                "write of bytes 4095 to 4097, which is not all in the image: bytes 4096 to 12288",
                "zeroing of bytes 12288 to 12289, which is not all in the image: bytes 4096 to 12288",
            ]
        );
    }

    #[test]
    fn knows_the_order_of_the_superblock_and_what_was_left_out() {
        let sink = checked();
        sink.zero(5120, 1024).unwrap();
        assert!(sink.discard(4096, 8192).unwrap());
        sink.write_at(8192, &[1; 4096]).unwrap();
        assert!(!sink.superblock_came_first_and_last());
        sink.write_at(4096, &[2; 4000]).unwrap();
        assert!(sink.superblock_came_first_and_last());
        assert_eq!(sink.written(), [4096..5120, 6144..8096, 8192..12288]);
        assert_eq!(sink.unwritten().first(), Some(&(8096..8192)));
        assert_eq!(sink.unwritten().len(), 1);
        assert_eq!(sink.operations(), 4);
    }

    #[test]
    fn injects_a_failure_and_a_torn_write() {
        for (fault, expected) in [
            (InjectedFault::FailAt(2), 0xD1),
            (InjectedFault::TearAt(2), 7),
        ] {
            let sink = checked().with_fault(fault);
            sink.write_at(8192, &[7; 8]).unwrap();
            assert_eq!(sink.operations_after_fault(), None);
            let error = sink.write_at(8200, &[7; 8]).unwrap_err();
            assert_eq!(error.to_string(), "injected storage fault");
            sink.zero(8300, 8).unwrap();
            assert_eq!(sink.operations_after_fault(), Some(1));
            let bytes = sink.into_inner().into_bytes().unwrap();
            assert_eq!(bytes[8192..8200], [7; 8]);
            assert_eq!(bytes[8200..8204], [expected; 4]);
            assert_eq!(bytes[8204..8208], [0xD1; 4]);
        }
    }
}
