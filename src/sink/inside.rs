//! Given a file, gives the first bytes of the virtual disk in it, where every table on the way is as it is written
//! here; never trusts a number in it, and never reads more than those tables.

use super::ReadAt;

/// How many of them: a superblock of the ext family is among them.
pub(super) const HEAD_BYTES: usize = 4096;

/// `length` bytes at `place`; `None` where the file has none there.
pub(super) fn bytes(file: &dyn ReadAt, place: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(place, &mut bytes).ok()?;
    Some(bytes)
}

/// The `N` bytes at `place`, such as those of a number.
pub(super) fn field<const N: usize>(file: &dyn ReadAt, place: u64) -> Option<[u8; N]> {
    let mut field = [0; N];
    file.read_exact_at(place, &mut field).ok()?;
    Some(field)
}

/// The head of a disk that begins at `place`.
pub(super) fn head(file: &dyn ReadAt, place: u64) -> Option<Vec<u8>> {
    bytes(file, place, HEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::super::compress::compress;
    use super::super::container::{Compression, Disk};
    use super::super::{Format, index, length_of};
    use super::HEAD_BYTES;

    /// What stands at the front of the disk, and no format says shorter.
    fn front() -> Vec<u8> {
        let numbers = (0_u32..).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        numbers.take(64 << 10).collect()
    }

    /// A disk of some MiB that begins with `front`, in a file of `format`.
    fn file(format: Format, front: &[u8]) -> Vec<u8> {
        let disk = Disk::new((5 << 20) + 1536, [7; 16]);
        let mut container = format.container(disk).expect("a format with tables");
        let mut file = Vec::new();
        let mut write = |place, bytes: &[u8]| {
            let (start, end) = (index(place), index(place) + bytes.len());
            file.resize(file.len().max(end), 0);
            file[start..end].copy_from_slice(bytes);
            Ok(())
        };
        if let Some(bytes) = compress(container.compression(), front) {
            let place = container.place_compressed(0, length_of(&bytes));
            write(place, &bytes).expect("it is memory");
        } else {
            for (block, offset) in front.chunks(512).zip((0..).step_by(512)) {
                // What repeats a word needs no place in a sparse image.
                if let Some(place) = container.place(offset, block) {
                    write(place, block).expect("it is memory");
                }
            }
        }
        let length = container.finish(&mut write).expect("it is memory");
        file.resize(index(length), 0);
        file
    }

    const FORMATS: [Format; 6] = [
        Format::Qcow2(Compression::None),
        Format::Qcow2(Compression::Zlib),
        Format::Qcow2(Compression::Zstd),
        Format::Vhdx,
        Format::VhdDynamic,
        Format::AndroidSparse,
    ];

    #[test]
    fn the_head_of_a_disk_is_found_in_a_file_of_its_format_alone() {
        // Half of it can be said shorter, so that it is compressed.
        let mut shorter = front();
        shorter[HEAD_BYTES / 2..].fill(9);
        for front in [front(), shorter] {
            for format in FORMATS {
                let file = file(format, &front);
                for other in FORMATS {
                    let head = other.disk_head(&file);
                    let is_same = std::mem::discriminant(&other) == std::mem::discriminant(&format);
                    let expected = is_same.then(|| front[..HEAD_BYTES].to_vec());
                    assert!(head == expected, "{format:?} as {other:?}");
                }
                assert_eq!(Format::Raw.disk_head(&file), None);
                assert_eq!(Format::Vhd.disk_head(&file), None);
            }
        }
    }

    /// Where tables are in any of the formats.
    const TABLES: [(usize, usize); 6] = [
        (0, 2048),
        (64 << 10, 64),
        (128 << 10, 64),
        (192 << 10, 80),
        (2 << 20, 192),
        ((2 << 20) + (64 << 10), 64),
    ];

    #[test]
    fn a_damaged_file_gives_a_head_or_none() {
        let (mut refused, mut all) = (0, 0);
        for format in FORMATS {
            let whole = file(format, &front());
            let ends = whole.len().saturating_sub(70_000)..whole.len();
            let tables = TABLES.map(|(start, length)| start..start + length);
            let places = tables.into_iter().flatten().chain(ends.step_by(64));
            let mut file = whole.clone();
            for place in places.filter(|place| *place < whole.len()) {
                for bits in [0xff, 0x01] {
                    file[place] ^= bits;
                    refused += u32::from(format.disk_head(&file).is_none());
                    all += 1;
                    file[place] = whole[place];
                }
            }
            for length in (0..whole.len()).step_by(whole.len() / 300) {
                format.disk_head(&whole[..length].to_vec());
            }
        }
        assert!(refused > 500, "{refused} of {all}");
    }

    #[test]
    fn a_disk_that_holds_more_is_none() {
        for (format, place, name) in [
            (Format::Qcow2(Compression::None), 15, "a backing file"),
            (Format::Qcow2(Compression::None), 63, "a snapshot"),
            (Format::Qcow2(Compression::None), 35, "encryption"),
            (Format::Qcow2(Compression::None), 79, "a dirty bit"),
            (Format::Qcow2(Compression::None), 95, "bitmaps"),
            (Format::Vhdx, (64 << 10) + 48, "a log in the first header"),
            (Format::Vhdx, (128 << 10) + 63, "a log in the second header"),
            (Format::Vhdx, (2 << 20) + (64 << 10) + 4, "a parent"),
            (Format::VhdDynamic, 63, "a differencing disk"),
            (Format::VhdDynamic, 512 + 40, "a parent"),
        ] {
            let mut file = file(format, &front());
            assert!(format.disk_head(&file).is_some(), "{name}");
            file[place] ^= 2;
            assert!(format.disk_head(&file).is_none(), "{name}");
        }
    }
}
