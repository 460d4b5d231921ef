//! Given a stream of gzip or bzip2, gives what its members hold one after another, and counts what
//! follows them; never looks into what follows.
//!
//! Where members end was recorded from gzip 1.12 and bzip2 1.0.8: what begins as another member, or is
//! cut off within the bytes that tell one, has to be one. Whatever else follows is ignored, also a member
//! behind it. Zeros are ignored in silence, as gzip does: tapes and `dd` fill records with them.

use std::io::{self, BufRead, Read};
use std::mem;
use std::ops::RangeInclusive;

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

use super::Ignored;
use crate::units::is_zero;

/// How much may follow the last member, in bytes.
const MOST_BEHIND: u64 = 1 << 30;

const fn is(byte: u8) -> RangeInclusive<u8> {
    byte..=byte
}

/// Whether `bytes`, as far as they go, can begin so.
fn begins(bytes: &[u8], possible: &[RangeInclusive<u8>]) -> bool {
    let mut pairs = bytes.iter().zip(possible);
    pairs.all(|(byte, possible)| possible.contains(byte))
}

/// A decompressor of one member.
pub(super) trait Member<R>: Read {
    /// What every member begins with: for each byte those that it can be.
    const MAGIC: &'static [RangeInclusive<u8>];

    /// A member of nothing, of which a decompressor need not be made.
    const NOTHING: &'static [RangeInclusive<u8>];

    /// Begins a member at the first byte of `reader`.
    fn begin(reader: R) -> Self;

    /// The reader behind a member that was read to its end.
    fn end(self) -> R;
}

impl<R: BufRead> Member<R> for GzDecoder<R> {
    const MAGIC: &'static [RangeInclusive<u8>] = &[is(0x1f), is(0x8b)];
    /// They take as long as others of their length.
    const NOTHING: &'static [RangeInclusive<u8>] = &[];

    fn begin(reader: R) -> Self {
        Self::new(reader)
    }

    fn end(self) -> R {
        self.into_inner()
    }
}

impl<R: BufRead> Member<R> for BzDecoder<R> {
    const MAGIC: &'static [RangeInclusive<u8>] = &[is(b'B'), is(b'Z'), is(b'h'), b'1'..=b'9'];
    /// Its decompressor takes the memory of a block for 14 bytes.
    const NOTHING: &'static [RangeInclusive<u8>] = &[
        is(b'B'),
        is(b'Z'),
        is(b'h'),
        b'1'..=b'9',
        is(0x17),
        is(0x72),
        is(0x45),
        is(0x38),
        is(0x50),
        is(0x90),
        is(0),
        is(0),
        is(0),
        is(0),
    ];

    fn begin(reader: R) -> Self {
        Self::new(reader)
    }

    fn end(self) -> R {
        self.into_inner()
    }
}

/// The members of a stream, of which there is one at least.
pub(super) struct Members<R, M> {
    state: State<R, M>,
    ignored: Ignored,
}

enum State<R, M> {
    Within(M),
    /// Before or behind a member.
    Between(Ahead<R>),
    Ended,
}

impl<R: BufRead, M: Member<Ahead<R>>> Members<R, M> {
    /// The members that `reader` gives. What follows them is counted in `ignored`.
    pub(super) fn new(reader: R, ignored: Ignored) -> Self {
        let state = State::Between(Ahead::new(reader));
        Self { state, ignored }
    }

    /// What comes next: another member, or what is no part of the stream.
    fn next(&self, mut reader: Ahead<R>) -> io::Result<State<R, M>> {
        while !M::NOTHING.is_empty() {
            let head = reader.peek(M::NOTHING.len())?;
            if head.len() < M::NOTHING.len() || !begins(head, M::NOTHING) {
                break;
            }
            reader.consume(M::NOTHING.len());
        }
        let head = reader.peek(M::MAGIC.len())?;
        let head = &head[..head.len().min(M::MAGIC.len())];
        if head.is_empty() {
            return Ok(State::Ended);
        }
        if !begins(head, M::MAGIC) {
            self.ignored.add(behind(&mut reader)?);
            return Ok(State::Ended);
        }
        if head.len() < M::MAGIC.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(State::Within(M::begin(reader)))
    }
}

impl<R: BufRead, M: Member<Ahead<R>>> Read for Members<R, M> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let State::Within(member) = &mut self.state {
                let count = member.read(buffer)?;
                if count > 0 {
                    return Ok(count);
                }
            }
            self.state = match mem::replace(&mut self.state, State::Ended) {
                State::Within(member) => State::Between(member.end()),
                State::Between(reader) => self.next(reader)?,
                State::Ended => return Ok(0),
            };
        }
    }
}

/// Reads to the end, and says how many bytes there were if any is not zero. Whoever writes to a pipe
/// shall not find it closed.
fn behind(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut bytes = 0;
    let mut only_zeros = true;
    loop {
        let buffer = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        let count = buffer.len();
        if count == 0 {
            return Ok(if only_zeros { 0 } else { bytes });
        }
        only_zeros &= is_zero(buffer);
        bytes += u64::try_from(count).unwrap_or(u64::MAX);
        if bytes > MOST_BEHIND {
            return Err(io::Error::other("more than 1 GiB follows its end"));
        }
        reader.consume(count);
    }
}

/// A reader whose next bytes can be looked at, wherever its buffer ends.
pub(super) struct Ahead<R> {
    /// What was looked at and not yet read.
    head: Vec<u8>,
    reader: R,
}

impl<R: BufRead> Ahead<R> {
    fn new(reader: R) -> Self {
        let head = Vec::new();
        Self { head, reader }
    }

    /// The next `count` bytes and what else was looked at, or as many as there are.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        let missing = count.saturating_sub(self.head.len());
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        let mut more = self.reader.by_ref().take(missing);
        more.read_to_end(&mut self.head)?;
        Ok(&self.head)
    }
}

impl<R: BufRead> Read for Ahead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.head.is_empty() {
            return self.reader.fill_buf();
        }
        Ok(&self.head)
    }

    fn consume(&mut self, count: usize) {
        if self.head.is_empty() {
            self.reader.consume(count);
        } else {
            drop(self.head.drain(..count));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::super::{Compression, uncompressed};
    use super::*;

    const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\x4b\x04\0\x43\xbe\xb7\xe8\x01\0\0\0";
    const BZIP2: &[u8] = b"BZh91AY&SY\x19\x93\x9b\x6b\0\0\0\x01\0\x20\0\x20\0\x21\x18\x46\x82\xee\x48\xa7\x0a\x12\x03\x32\x73\x6d\x60";

    /// What a stream holds and how much is ignored behind it, however it is cut into buffers.
    fn read(how: Compression, bytes: &[u8]) -> Result<(String, u64), String> {
        let mut all = [1, 2, 3, 7, 1 << 16].map(|capacity| {
            let ignored = Ignored::default();
            let reader = BufReader::with_capacity(capacity, Cursor::new(bytes.to_vec()));
            let mut text = String::new();
            let read = uncompressed(reader, how, &ignored).read_to_string(&mut text);
            let read = read.map(|_| (text, ignored.bytes()));
            read.map_err(|error| error.to_string())
        });
        all.sort();
        assert_eq!(all.first(), all.last());
        all[0].clone()
    }

    #[test]
    fn what_follows_is_what_the_programs_make_of_it() {
        for (how, one) in [(Compression::Gzip, GZIP), (Compression::Bzip2, BZIP2)] {
            let magic = &one[..4];
            let cut_off = Err(format!("the {how} data is damaged: it is cut off"));
            let is = |text: &str, ignored| Ok((text.to_owned(), ignored));
            for (behind, expected) in [
                (&[][..], is("a", 0)),
                (&[0], is("a", 0)),
                (&[0; 70_001], is("a", 0)),
                (one, is("aa", 0)),
                (&[one, one, &[0; 3]].concat(), is("aaa", 0)),
                (
                    &[&[0; 8], one].concat(),
                    is("a", 8 + u64::try_from(one.len()).unwrap()),
                ),
                (b"x", is("a", 1)),
                (b"junk behind it", is("a", 14)),
                (&[&[0; 512], &b"junk"[..]].concat(), is("a", 516)),
                (&[one, b"junk"].concat(), is("aa", 4)),
                (&magic[..1], cut_off.clone()),
                (&magic[..2], cut_off.clone()),
                (magic, cut_off.clone()),
                (&one[..one.len() - 1], cut_off.clone()),
            ] {
                let found = read(how, &[one, behind].concat());
                assert_eq!(found, expected, "{how}, {behind:?}");
            }
            let damaged = [one, magic, &[0xff; 40]].concat();
            let error = read(how, &damaged).unwrap_err();
            assert!(error.contains(&format!("{how} data is damaged")), "{error}");
        }
    }

    #[test]
    fn members_of_nothing_are_passed_over() {
        let nothing = b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0";
        let many = nothing.repeat(1000);
        let is = |text: &str, ignored| Ok((text.to_owned(), ignored));
        for (bytes, expected) in [
            (many.clone(), is("", 0)),
            (
                [&many[..], BZIP2, &many, BZIP2, &many].concat(),
                is("aa", 0),
            ),
            ([BZIP2, &many, b"junk"].concat(), is("a", 4)),
        ] {
            assert_eq!(read(Compression::Bzip2, &bytes), expected);
        }
        let wrong = [BZIP2, &nothing[..13], b"\x01"].concat();
        assert!(read(Compression::Bzip2, &wrong).is_err());
        let cut_off = [BZIP2, &nothing[..13]].concat();
        assert!(read(Compression::Bzip2, &cut_off).is_err());
    }

    #[test]
    fn zeros_without_end_are_refused() {
        let mut zeros = BufReader::new(io::repeat(0));
        let error = behind(&mut zeros).unwrap_err();
        assert_eq!(error.to_string(), "more than 1 GiB follows its end");
    }
}
