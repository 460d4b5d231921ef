//! Given a stream, tells by its first bytes how it is compressed and gives it uncompressed; never
//! looks at a name.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use members::Members;
pub(in crate::source) use memory::Memory;
use memory::{Share, TooMuch};
use xz::Xz;

mod members;
mod memory;
mod xz;

/// How many bytes tell what a stream is.
pub const HEAD: usize = 512;

const ZSTD: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// The first of the sixteen magic numbers of what a zstd decoder passes over.
const ZSTD_SKIPPABLE: u32 = 0x184d_2a50;

/// A window that the decoder of zstd may keep between two frames, in bytes.
const SMALL_WINDOW: u64 = 8 << 20;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
    /// Any number of streams.
    Xz,
    /// Any number of streams.
    Bzip2,
}

impl Compression {
    /// The compression of the stream that begins with `head`, if it is one of these.
    pub fn of(head: &[u8]) -> Option<Self> {
        const BZIP2_BLOCK: &[u8] = b"\x31\x41\x59\x26\x53\x59";
        const BZIP2_END: &[u8] = b"\x17\x72\x45\x38\x50\x90";
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..]
                if rest.starts_with(BZIP2_BLOCK) || rest.starts_with(BZIP2_END) =>
            {
                Some(Self::Bzip2)
            }
            [a, b, c, d, ..] => is_zstd([*a, *b, *c, *d]).then_some(Self::Zstd),
            _ => None,
        }
    }
}

impl Compression {
    /// The name of its format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn is_zstd(magic: [u8; 4]) -> bool {
    magic == ZSTD || u32::from_le_bytes(magic) & !0xf == ZSTD_SKIPPABLE
}

/// The first bytes of a stream, and the stream with them still before it.
pub(in crate::source) type Peeked<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Looks at the first [`HEAD`] bytes of `reader`, or at as many as there are.
pub(in crate::source) fn peek<R: Read>(reader: R) -> io::Result<(Vec<u8>, Peeked<R>)> {
    peek_far(reader, HEAD)
}

/// Looks at the first `bytes` bytes of `reader`, or at as many as there are.
pub(in crate::source) fn peek_far<R: Read>(
    mut reader: R,
    bytes: usize,
) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut head = Vec::with_capacity(HEAD);
    let most = u64::try_from(bytes).unwrap_or(u64::MAX);
    reader.by_ref().take(most).read_to_end(&mut head)?;
    let peeked = Cursor::new(head.clone()).chain(reader);
    Ok((head, peeked))
}

/// How many bytes behind a compressed stream were no part of it, once it was read to its end; and how
/// many were read of it.
#[derive(Clone, Debug, Default)]
pub struct Ignored(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    behind: AtomicU64,
    packed: AtomicU64,
}

/// A reader of which every byte is counted.
struct Counted<R>(R, Ignored);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        let bytes = u64::try_from(count).unwrap_or(u64::MAX);
        self.1.0.packed.fetch_add(bytes, Ordering::Relaxed);
        Ok(count)
    }
}

impl Ignored {
    /// How many there were. Zeros alone, which fill a last record, do not count.
    pub fn bytes(&self) -> u64 {
        self.0.behind.load(Ordering::Relaxed)
    }

    /// How many bytes were read of what is compressed: none, where nothing is.
    pub(in crate::source) fn packed(&self) -> u64 {
        self.0.packed.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.0.behind.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// `reader` uncompressed. An error says what is wrong with the compressed stream.
///
/// What follows it is treated as the format's own program does: behind gzip and bzip2 it is ignored,
/// and counted in `ignored`; behind xz only zeros may stand, a multiple of four of them, and behind
/// zstd nothing.
pub fn uncompressed<'r>(
    reader: impl Read + Send + 'r,
    compression: Compression,
    ignored: &Ignored,
) -> Box<dyn Read + Send + 'r> {
    uncompressed_within(reader, compression, ignored, Memory::default())
}

/// As [`uncompressed`], by a decompressor that shares `memory` with others.
pub(in crate::source) fn uncompressed_within<'r>(
    reader: impl Read + Send + 'r,
    compression: Compression,
    ignored: &Ignored,
    memory: Memory,
) -> Box<dyn Read + Send + 'r> {
    let reader = Counted(reader, ignored.clone());
    let reader = BufReader::with_capacity(1 << 16, reader);
    match compression {
        Compression::Gzip => {
            let members = Members::<_, GzDecoder<_>>::new(reader, ignored.clone());
            Box::new(Blaming(members, compression))
        }
        Compression::Zstd => Box::new(Blaming(Zstd::new(reader, memory), compression)),
        Compression::Xz => Box::new(Blaming(Xz::new(reader, memory), compression)),
        Compression::Bzip2 => {
            let members = Members::<_, BzDecoder<_>>::new(reader, ignored.clone());
            Box::new(Blaming(members, compression))
        }
    }
}

/// A decompressor whose errors say what they are about.
struct Blaming<R>(R, Compression);

impl<R: Read> Read for Blaming<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer);
        read.map_err(|error| match (error.kind(), error.raw_os_error()) {
            (_, Some(_)) | (io::ErrorKind::Interrupted, _) => error,
            (io::ErrorKind::UnexpectedEof, _) => blame(self.1, &"it is cut off"),
            _ if error.get_ref().is_some_and(|error| error.is::<TooMuch>()) => {
                io::Error::other(format!("the {} data: {error}", self.1))
            }
            _ => blame(self.1, &error),
        })
    }
}

fn blame(compression: Compression, what: &dyn fmt::Display) -> io::Error {
    let text = format!("the {compression} data is damaged: {what}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// A zstd stream of several frames: the decoder itself knows but one, and compares no checksum.
struct Zstd<R> {
    reader: R,
    decoder: FrameDecoder,
    in_frame: bool,
    memory: Memory,
    /// Of the frame that is read.
    share: Option<Share>,
}

impl<R: BufRead> Zstd<R> {
    fn new(reader: R, memory: Memory) -> Self {
        Self {
            reader,
            decoder: FrameDecoder::new(),
            in_frame: false,
            memory,
            share: None,
        }
    }

    /// Begins the next frame, and says whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.reader.fill_buf()?.is_empty() {
            let mut magic = [0; 4];
            self.reader.read_exact(&mut magic)?;
            if magic == ZSTD {
                let (header, window) = self.frame_header()?;
                // What a frame before it took is given back, and by the decoder as well.
                if window > SMALL_WINDOW {
                    self.decoder = FrameDecoder::new();
                }
                self.share = Some(self.memory.take(window)?);
                let whole = magic.chain(&header[..]).chain(&mut self.reader);
                self.decoder.reset(whole).map_err(io::Error::other)?;
                self.in_frame = true;
                return Ok(true);
            }
            if !is_zstd(magic) {
                return Err(io::Error::other("unknown data follows a frame"));
            }
            let mut length = [0; 4];
            self.reader.read_exact(&mut length)?;
            let length = u64::from(u32::from_le_bytes(length));
            if io::copy(&mut self.reader.by_ref().take(length), &mut io::sink())? < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(false)
    }

    /// The header that follows a magic number, and the size of its window in bytes (RFC 8878, 3.1.1.1).
    fn frame_header(&mut self) -> io::Result<(Vec<u8>, u64)> {
        let mut descriptor = [0];
        self.reader.read_exact(&mut descriptor)?;
        let [flags] = descriptor;
        let is_single = flags & 0x20 != 0;
        let size_bytes = match (flags >> 6, is_single) {
            (0, single) => usize::from(single),
            (log, _) => 1 << log,
        };
        let dictionary_bytes = [0, 1, 2, 4][usize::from(flags & 3)];
        let window_bytes = usize::from(!is_single);
        let mut rest = vec![0; window_bytes + dictionary_bytes + size_bytes];
        self.reader.read_exact(&mut rest)?;
        let window = if is_single {
            let mut size = [0; 8];
            size[..size_bytes].copy_from_slice(&rest[dictionary_bytes..]);
            u64::from_le_bytes(size) + if size_bytes == 2 { 256 } else { 0 }
        } else {
            let base = 1_u64 << (10 + (rest[0] >> 3));
            base + base / 8 * u64::from(rest[0] & 7)
        };
        Ok(([&descriptor[..], &rest].concat(), window))
    }

    /// Ends a frame that was read to its last byte.
    fn end(&mut self) -> io::Result<()> {
        self.in_frame = false;
        self.share = None;
        let stated = self.decoder.get_checksum_from_data();
        let found = self.decoder.get_calculated_checksum();
        if stated.is_none() || stated == found {
            Ok(())
        } else {
            Err(io::Error::other("a frame's checksum is wrong"))
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let step = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.reader, step);
                decoded.map_err(io::Error::other)?;
            }
            match self.decoder.read(buffer)? {
                0 => self.end()?,
                count => return Ok(count),
            }
        }
    }
}
