//! Given a cluster, gives it compressed as qcow2 has it; never one that is no shorter.

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
