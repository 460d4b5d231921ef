//! Given an image that is written, gives its map for bmaptool; never leaves out what must read as zeros.
//!
//! The format is version 2.0 of bmap-tools: which blocks of 4 KiB have to be copied, with checksums. What
//! is free is not mapped, since what the target holds there may stay. Blocks in use are, zeros as well: a
//! target that holds something else is overwritten then.

use std::fmt::Write as _;
use std::io;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::{ReadAt, index};

const BLOCK_BYTES: u64 = 4096;
const PIECE_BYTES: u64 = 1 << 20;
const CHECKSUM_BYTES: usize = 32;

/// The map of `image`, of which the bytes `free`, in ascending order, need not be copied.
///
/// # Errors
/// Where the image cannot be read.
pub fn bmap(image: &dyn ReadAt, free: &[Range<u64>]) -> io::Result<String> {
    let size_bytes = image.size_bytes();
    let blocks = size_bytes.div_ceil(BLOCK_BYTES);
    let mut ranges = String::new();
    let mut mapped = 0;
    for range in mapped_blocks(blocks, free) {
        let Range { start, end } = range;
        mapped += end - start;
        let bytes = start * BLOCK_BYTES..(end * BLOCK_BYTES).min(size_bytes);
        let checksum = hex(&checksum(image, bytes)?);
        let _ = match end - start {
            1 => writeln!(ranges, "    <Range chksum=\"{checksum}\"> {start} </Range>"),
            _ => {
                let last = end - 1;
                writeln!(
                    ranges,
                    "    <Range chksum=\"{checksum}\"> {start}-{last} </Range>"
                )
            }
        };
    }
    let of_itself = |checksum: &str| {
        format!(
            "<?xml version=\"1.0\" ?>\n\
             <bmap version=\"2.0\">\n\
             \x20   <ImageSize> {size_bytes} </ImageSize>\n\
             \x20   <BlockSize> {BLOCK_BYTES} </BlockSize>\n\
             \x20   <BlocksCount> {blocks} </BlocksCount>\n\
             \x20   <MappedBlocksCount> {mapped} </MappedBlocksCount>\n\
             \x20   <ChecksumType> sha256 </ChecksumType>\n\
             \x20   <BmapFileChecksum> {checksum} </BmapFileChecksum>\n\
             \x20   <BlockMap>\n{ranges}    </BlockMap>\n\
             </bmap>\n"
        )
    };
    // The map's own checksum is that of itself with zeros in its place.
    let blank = of_itself(&"0".repeat(2 * CHECKSUM_BYTES));
    let own: [u8; CHECKSUM_BYTES] = Sha256::digest(blank).into();
    Ok(of_itself(&hex(&own)))
}

/// The runs of blocks that have a byte outside of `free`.
fn mapped_blocks(blocks: u64, free: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut runs = Vec::new();
    let mut at = 0;
    for range in free {
        let start = range.start.div_ceil(BLOCK_BYTES).min(blocks);
        let end = (range.end / BLOCK_BYTES).min(blocks);
        if start >= end {
            continue;
        }
        if at < start {
            runs.push(at..start);
        }
        at = end;
    }
    if at < blocks {
        runs.push(at..blocks);
    }
    runs
}

fn checksum(image: &dyn ReadAt, range: Range<u64>) -> io::Result<[u8; CHECKSUM_BYTES]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; index(PIECE_BYTES.min(range.end - range.start))];
    let mut at = range.start;
    while at < range.end {
        let length = PIECE_BYTES.min(range.end - at);
        let piece = &mut buffer[..index(length)];
        image.read_exact_at(at, piece)?;
        hash.update(&*piece);
        at += length;
    }
    Ok(hash.finalize().into())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
