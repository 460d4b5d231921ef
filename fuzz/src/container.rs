//! Given writes to a virtual disk, checks that every container gives the disk's bytes back, to a reader that
//! knows the format from its specification alone, whatever the order in which threads come.

use std::io::Read;

use arbitrary::Arbitrary;
use mke4fs::sink::{Compression, Contained, Disk, Extent, File, Format, Sink, WINDOW_BYTES};

/// The longest disk, in bytes.
const MOST_BYTES: u64 = 20 << 20;

#[derive(Arbitrary, Debug)]
struct Input {
    format: u8,
    size: u32,
    uuid: [u8; 16],
    /// Whether each gap may read as anything.
    gaps_are_free: bool,
    writes: Vec<Write>,
}

#[derive(Arbitrary, Debug)]
struct Write {
    gap: u32,
    length: u32,
    bytes: Pattern,
}

#[derive(Arbitrary, Debug)]
enum Pattern {
    Zeros,
    Same([u8; 4]),
    Some { seed: u32, every: u8 },
}

impl Pattern {
    fn fill(&self, bytes: &mut [u8]) {
        match self {
            Self::Zeros => {}
            Self::Same(word) => {
                for (byte, at) in bytes.iter_mut().zip(0..) {
                    *byte = word[at % 4];
                }
            }
            Self::Some { seed, every } => {
                let mut state = seed | 1;
                let step = usize::from(*every).pow(2) + 1;
                for byte in bytes.iter_mut().step_by(step) {
                    state = state.wrapping_mul(0x0101_9d6d).wrapping_add(0x3c6e_f35f);
                    *byte = (state >> 24) as u8;
                }
            }
        }
    }
}

/// The disk that the writes make, and each write's place in it.
struct Expected {
    disk: Vec<u8>,
    places: Vec<(usize, usize)>,
    free: Vec<std::ops::Range<u64>>,
}

fn expect(input: &Input) -> Expected {
    let size = u64::from(input.size) % MOST_BYTES / 512 * 512 + 512;
    let mut disk = vec![0; size as usize];
    let (mut at, mut places, mut free) = (0_usize, Vec::new(), Vec::new());
    for write in &input.writes {
        let start = at + (write.gap as usize % (3 << 20)) / 512 * 512;
        let end = start + (write.length as usize % (1 << 20)) / 512 * 512;
        if end > disk.len() {
            break;
        }
        if input.gaps_are_free {
            free.push(at as u64..start as u64);
        }
        write.bytes.fill(&mut disk[start..end]);
        places.push((start, end));
        at = end;
    }
    Expected { disk, places, free }
}

/// Checks one list of writes.
pub fn run(bytes: &[u8]) {
    let Some(input) = super::value::<Input>(bytes) else {
        return;
    };
    let format = match input.format % 6 {
        0 => Format::Qcow2(Compression::None),
        1 => Format::Qcow2(Compression::Zlib),
        2 => Format::Qcow2(Compression::Zstd),
        3 => Format::Vhdx,
        4 => Format::VhdDynamic,
        _ => Format::AndroidSparse,
    };
    let expected = expect(&input);
    let made = [1, 3].map(|held| make(format, &input, &expected, held));
    assert!(made[0] == made[1], "the order of threads shows");
    let mut disk = vec![0; expected.disk.len()];
    match format {
        Format::Qcow2(_) => qcow2(&made[0], &mut disk),
        Format::Vhdx => vhdx(&made[0], &mut disk),
        Format::VhdDynamic => vhd(&made[0], &mut disk),
        _ => {
            // What is free may keep anything.
            for range in &expected.free {
                disk[range.start as usize..range.end as usize].fill(0xd1);
            }
            simg(&made[0], &mut disk);
            for range in &expected.free {
                let range = range.start as usize..range.end as usize;
                let kept = &mut disk[range];
                assert!(kept.iter().all(|byte| [0, 0xd1].contains(byte)));
                kept.fill(0);
            }
        }
    }
    assert!(disk == expected.disk, "{format:?} holds other bytes");
}

/// The file that holds the disk; `held` is how many threads have pieces at a time.
fn make(format: Format, input: &Input, expected: &Expected, held: usize) -> Vec<u8> {
    let mut temporary = tempfile::tempfile().expect("there can be one");
    let file = File::from_open(temporary.try_clone().expect("it is open")).expect("it is a file");
    let disk = Disk::new(expected.disk.len() as u64, input.uuid).free(expected.free.clone());
    let contained = Contained::new(format, disk, &file).expect("it is a container");
    let mut batches: Vec<Vec<Extent<'_>>> = Vec::new();
    let mut window = None;
    for &(start, end) in &expected.places {
        let mut at = start;
        while at < end {
            let this = at as u64 / WINDOW_BYTES;
            let next = end.min(((this + 1) * WINDOW_BYTES) as usize);
            let extent = Extent::new(at as u64, &expected.disk[at..next]);
            match batches.last_mut() {
                Some(batch) if window == Some(this) => batch.push(extent),
                _ => batches.push(vec![extent]),
            }
            (at, window) = (next, Some(this));
        }
    }
    for batches in batches.chunks(held) {
        let mut prepared: Vec<_> = batches
            .iter()
            .rev()
            .map(|batch| contained.prepare(batch).expect("it is prepared"))
            .collect();
        for prepared in prepared.iter_mut().rev() {
            prepared.take_turn().expect("it is placed");
        }
        for prepared in prepared {
            prepared.finish().expect("it is written");
        }
    }
    let naming = contained.write_tables(false).expect("they are written");
    naming.finish().expect("it is finished");
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut temporary).expect("it is a file");
    temporary.read_to_end(&mut bytes).expect("it is read");
    bytes
}

fn be32(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn le32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Copies `bytes` to `at` as far as the disk goes.
fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    let length = bytes.len().min(disk.len() - at);
    disk[at..at + length].copy_from_slice(&bytes[..length]);
}

fn qcow2(file: &[u8], disk: &mut [u8]) {
    const CLUSTER: usize = 1 << 16;
    assert_eq!(&file[..8], b"QFI\xfb\0\0\0\x03");
    assert_eq!(be32(file, 20), 16);
    assert_eq!(be64(file, 24), disk.len() as u64);
    let is_zstd = file[104] == 1;
    assert_eq!(be64(file, 72) & 8 != 0, is_zstd);
    let mut counts = vec![0_u16; file.len().div_ceil(CLUSTER)];
    let mut count = |place: usize| counts[place / CLUSTER] += 1;
    count(0);
    let l1 = be64(file, 40) as usize;
    for cluster in 0..(be32(file, 36) * 8).div_ceil(CLUSTER).max(1) {
        count(l1 + cluster * CLUSTER);
    }
    for number in 0..be32(file, 36) {
        let l2 = (be64(file, l1 + number * 8) & !(1 << 63)) as usize;
        if l2 == 0 {
            continue;
        }
        count(l2);
        for entry in 0..CLUSTER / 8 {
            let at = (number * CLUSTER / 8 + entry) * CLUSTER;
            match be64(file, l2 + entry * 8) {
                0 => {}
                found if found & 1 << 62 != 0 => {
                    let place = (found & ((1 << 54) - 1)) as usize;
                    let sectors = (found >> 54 & 0xff) as usize;
                    let end = (place / 512 + sectors + 1) * 512;
                    for cluster in place / CLUSTER..=(end - 1) / CLUSTER {
                        count(cluster * CLUSTER);
                    }
                    let packed = &file[place..end.min(file.len())];
                    put(disk, at, &unpack(packed, is_zstd));
                }
                found => {
                    assert!(found & 1 << 63 != 0, "its refcount is 1");
                    let place = (found & !(1 << 63)) as usize;
                    count(place);
                    put(disk, at, &file[place..place + CLUSTER]);
                }
            }
        }
    }
    let table = be64(file, 48) as usize;
    let mut blocks = Vec::new();
    for cluster in 0..be32(file, 56) {
        count(table + cluster * CLUSTER);
    }
    for entry in 0..be32(file, 56) * CLUSTER / 8 {
        match be64(file, table + entry * 8) as usize {
            0 => {}
            block => {
                count(block);
                blocks.push(block);
            }
        }
    }
    for (number, expected) in counts.iter().enumerate() {
        let block = blocks[number / (CLUSTER / 2)];
        let at = block + number % (CLUSTER / 2) * 2;
        assert_eq!(u16::from_be_bytes([file[at], file[at + 1]]), *expected);
    }
}

fn unpack(packed: &[u8], is_zstd: bool) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    if is_zstd {
        let mut decoder = ruzstd::decoding::StreamingDecoder::new(packed).expect("a frame");
        decoder.read_exact(&mut bytes).expect("a cluster");
    } else {
        let mut inflate = flate2::Decompress::new_with_window_bits(false, 12);
        let done = inflate.decompress(packed, &mut bytes, flate2::FlushDecompress::Finish);
        done.expect("a cluster");
        assert_eq!(inflate.total_out(), 1 << 16);
    }
    bytes
}

fn vhd(file: &[u8], disk: &mut [u8]) {
    let footer = &file[file.len() - 512..];
    assert_eq!(footer, &file[..512]);
    assert_eq!(&footer[..8], b"conectix");
    assert_eq!(be64(footer, 48), disk.len() as u64);
    let sum = |bytes: &[u8], at: usize| {
        let all: usize = bytes.iter().map(|byte| usize::from(*byte)).sum();
        let own: usize = bytes[at..at + 4]
            .iter()
            .map(|byte| usize::from(*byte))
            .sum();
        !((all - own) as u32) as usize
    };
    assert_eq!(be32(footer, 64), sum(footer, 64));
    let header = &file[512..1536];
    assert_eq!(&header[..8], b"cxsparse");
    assert_eq!(be32(header, 36), sum(header, 36));
    let table = be64(header, 16) as usize;
    let block_bytes = be32(header, 32);
    let mut places = std::collections::BTreeSet::new();
    for block in 0..be32(header, 28) {
        match be32(file, table + block * 4) {
            0xffff_ffff => {}
            sector => {
                assert!(places.insert(sector), "two blocks at one place");
                let place = sector * 512 + 512;
                put(disk, block * block_bytes, &file[place..place + block_bytes]);
            }
        }
    }
}

fn vhdx(file: &[u8], disk: &mut [u8]) {
    assert_eq!(&file[..8], b"vhdxfile");
    assert_eq!(file.len() % (1 << 20), 0);
    let regions = &file[192 << 10..256 << 10];
    assert_eq!(&regions[..4], b"regi");
    let (table, metadata) = (le64(regions, 32) as usize, le64(regions, 64) as usize);
    let item = |number: usize| metadata + le32(file, metadata + 32 + number * 32 + 16);
    let block_bytes = le32(file, item(0));
    assert_eq!(le64(file, item(1)), disk.len() as u64);
    let ratio = (512 << 23) / block_bytes;
    for block in 0..disk.len().div_ceil(block_bytes) {
        let entry = le64(file, table + (block + block / ratio) * 8);
        match entry & 7 {
            2 => {}
            6 => {
                let place = (entry & !0xf_ffff) as usize;
                put(disk, block * block_bytes, &file[place..place + block_bytes]);
            }
            other => panic!("a block of state {other}"),
        }
    }
}

fn simg(file: &[u8], disk: &mut [u8]) {
    assert_eq!(le32(file, 0), 0xed26_ff3a);
    let block = le32(file, 12);
    assert_eq!(le32(file, 16) * block, disk.len());
    let (mut at, mut place) = (28, 0);
    for _ in 0..le32(file, 20) {
        let length = le32(file, at + 4) * block;
        let total = le32(file, at + 8);
        match le32(file, at) {
            0xcac1 => put(disk, place, &file[at + 12..at + 12 + length]),
            0xcac2 => put(disk, place, &file[at + 12..at + 16].repeat(length / 4)),
            0xcac3 => {}
            other => panic!("a chunk of {other:#x}"),
        }
        place += length;
        at += total;
    }
    assert_eq!((at, place), (file.len(), disk.len()));
}
