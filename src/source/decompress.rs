//! Given a stream, tells by its first bytes how it is compressed and gives it uncompressed; never
//! looks at a name.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use members::Members;

mod members;

/// How many bytes tell what a stream is.
pub const HEAD: usize = 512;

const ZSTD: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// The first of the sixteen magic numbers of what a zstd decoder passes over.
const ZSTD_SKIPPABLE: u32 = 0x184d_2a50;

/// How much memory the dictionary of an xz stream may take, in KiB. `xz -9` takes 64 MiB.
const XZ_MEMORY: u32 = 1 << 20;

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
pub(super) type Peeked<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Looks at the first [`HEAD`] bytes of `reader`, or at as many as there are.
pub(super) fn peek<R: Read>(reader: R) -> io::Result<(Vec<u8>, Peeked<R>)> {
    peek_far(reader, HEAD)
}

/// Looks at the first `bytes` bytes of `reader`, or at as many as there are.
pub(super) fn peek_far<R: Read>(mut reader: R, bytes: usize) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut head = Vec::with_capacity(HEAD);
    let most = u64::try_from(bytes).unwrap_or(u64::MAX);
    reader.by_ref().take(most).read_to_end(&mut head)?;
    let peeked = Cursor::new(head.clone()).chain(reader);
    Ok((head, peeked))
}

/// How many bytes behind a compressed stream were no part of it, once it was read to its end.
#[derive(Clone, Debug, Default)]
pub struct Ignored(Arc<AtomicU64>);

impl Ignored {
    /// How many there were. Zeros alone, which fill a last record, do not count.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// `reader` uncompressed. An error says what is wrong with the compressed stream.
///
/// What follows it is treated as the format's own program does: behind gzip and bzip2 it is ignored,
/// and counted in `ignored`; behind xz only zeros may stand, a multiple of four of them, and behind
/// zstd nothing.
pub fn uncompressed<'r>(
    reader: impl Read + 'r,
    compression: Compression,
    ignored: &Ignored,
) -> Box<dyn Read + 'r> {
    let reader = BufReader::with_capacity(1 << 16, reader);
    match compression {
        Compression::Gzip => {
            let members = Members::<_, GzDecoder<_>>::new(reader, ignored.clone());
            Box::new(Blaming(members, compression))
        }
        Compression::Zstd => Box::new(Blaming(Zstd::new(reader), compression)),
        Compression::Xz => {
            let reader = XzReader::new_mem_limit(reader, true, XZ_MEMORY);
            Box::new(Blaming(reader, compression))
        }
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
            _ => blame(self.1, &error),
        })
    }
}

fn blame(compression: Compression, what: &dyn fmt::Display) -> io::Error {
    let text = format!("its compression by {compression} is damaged: {what}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// A zstd stream of several frames: the decoder itself knows but one, and compares no checksum.
struct Zstd<R> {
    reader: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            decoder: FrameDecoder::new(),
            in_frame: false,
        }
    }

    /// Begins the next frame, and says whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.reader.fill_buf()?.is_empty() {
            let mut magic = [0; 4];
            self.reader.read_exact(&mut magic)?;
            if magic == ZSTD {
                let whole = magic.chain(&mut self.reader);
                self.decoder.reset(whole).map_err(io::Error::other)?;
                self.in_frame = true;
                return Ok(true);
            }
            if !is_zstd(magic) {
                return Err(io::Error::other("something else follows a frame"));
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

    /// Ends a frame that was read to its last byte.
    fn end(&mut self) -> io::Result<()> {
        self.in_frame = false;
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
