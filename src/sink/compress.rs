//! Given a cluster, gives it compressed as qcow2 has it, or the first bytes of what was; never one that is no
//! shorter.

use super::container::Compression;

/// The bytes of a cluster, compressed if that makes them shorter.
#[cfg(feature = "compress")]
pub(super) fn compress(compression: Compression, cluster: &[u8]) -> Option<Vec<u8>> {
    use flate2::{Compress, Compression as Level, FlushCompress, Status};
    use rusty_zstd::CompressOptions;

    /// Readers hold no more of it: qemu's inflate is told so.
    const WINDOW_BITS: u8 = 12;

    /// The lowest level at which files are no longer than those of qemu, which uses libzstd's level 3.
    const ZSTD: CompressOptions = CompressOptions {
        level: 5,
        // Readers stop at the cluster's last byte, before they would come to it.
        checksum: false,
    };

    match compression {
        Compression::None => None,
        Compression::Zlib => {
            // At the usual level zlib-rs gives some percent more than zlib does, at this no more.
            let mut deflate = Compress::new_with_window_bits(Level::best(), false, WINDOW_BITS);
            let mut bytes = Vec::with_capacity(cluster.len() - 1);
            let status = deflate.compress_vec(cluster, &mut bytes, FlushCompress::Finish);
            matches!(status, Ok(Status::StreamEnd)).then_some(bytes)
        }
        Compression::Zstd => {
            let bytes = rusty_zstd::compress_with(cluster, ZSTD).ok()?;
            (bytes.len() < cluster.len()).then_some(bytes)
        }
    }
}

/// Nothing compresses here.
#[cfg(not(feature = "compress"))]
pub(super) fn compress(_compression: Compression, _cluster: &[u8]) -> Option<Vec<u8>> {
    None
}

/// The first `length` bytes of a cluster; `compressed` may be longer than what it was compressed to.
#[cfg(all(feature = "cli", feature = "compress"))]
pub(super) fn decompressed(
    compression: Compression,
    compressed: &[u8],
    length: usize,
) -> Option<Vec<u8>> {
    use std::io::Read;

    use flate2::read::DeflateDecoder;
    use rusty_zstd::{DecompressOptions, decompress_with_limit, find_frame_compressed_size};

    const CLUSTER_BYTES: usize = 64 << 10;

    if compression != Compression::Zstd {
        let mut bytes = vec![0; length];
        let mut inflate = DeflateDecoder::new(compressed);
        inflate.read_exact(&mut bytes).ok()?;
        return Some(bytes);
    }
    let frame = find_frame_compressed_size(compressed).ok()?;
    let frame = compressed.get(..frame)?;
    let bytes = decompress_with_limit(frame, DecompressOptions::default(), CLUSTER_BYTES).ok()?;
    bytes.get(..length).map(<[u8]>::to_vec)
}

/// Nothing decompresses here.
#[cfg(all(feature = "cli", not(feature = "compress")))]
pub(super) fn decompressed(_: Compression, _: &[u8], _: usize) -> Option<Vec<u8>> {
    None
}
