//! Given any bytes as an image, an archive or a list of entries, counts the steps that they take and
//! checks that these are in the budget of what they are; never looks at a clock.
//!
//! Memory is held to the budget by the target's own allocator, which gives no more than 400 MB.

use std::io::Read;

use arbitrary::Arbitrary;
use mke4fs::check::{CheckOptions, ReadAt, check_with as find_faults};
use mke4fs::raw::work;
use mke4fs::source::patterns::{PathType, Patterns};
use mke4fs::source::tar::{Archive, Input, Unpack};
use mke4fs::tree::{Metadata, NodeId, Tree};

use super::check;

/// Entries of a few bytes are repeated, so that few bytes ask for the same work again.
const MOST_TIMES: u8 = 64;
/// The longest archive that is made of entries, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// What is left out of archives: patterns that stay undecided for long.
const PATTERNS: [&str; 3] = ["**/a/**/b*", "*x*y", "/[a-c]/**"];

#[derive(Arbitrary, Debug)]
struct Piece {
    kind: u8,
    path: Words,
    target: Words,
    times: u8,
    before: u8,
}

/// A path: words that meet, again and again.
#[derive(Arbitrary, Debug)]
struct Words {
    words: Vec<u8>,
    times: u8,
}

impl Words {
    fn text(&self, most: usize) -> Vec<u8> {
        let words: [&[u8]; 8] = [b"a", b"b", b"c", b"..", b".", b"", b"xyxyxy", b"l"];
        let once = self.words.iter().flat_map(|word| {
            let word = words[usize::from(word % 8)];
            [word, b"/"].concat()
        });
        let once: Vec<u8> = once.collect();
        let times = usize::from(self.times % MOST_TIMES) + 1;
        let whole = once.iter().copied().cycle().take(once.len() * times);
        whole.take(most).collect()
    }
}

/// Checks what `bytes` stand for.
pub fn run(bytes: &[u8]) {
    judge_image(&bytes);
    if let Some(input) = super::value::<check::Input>(bytes) {
        judge_image(&input.changed(check::images()).1);
    }
    judge_archive(&super::tar::sealed(bytes));
    if let Some(pieces) = super::value::<Vec<Piece>>(bytes) {
        judge_archive(&archive(&pieces));
    }
}

fn within(bytes: u64, entries: u64, about: &str, work: impl FnOnce()) {
    let ((), steps) = work::steps_of(work);
    let most = work::budget(bytes, entries);
    assert!(steps <= most, "{about}: {steps} steps of {most}");
}

fn judge_image(image: &dyn ReadAt) {
    within(image.size_bytes(), 0, "check", || {
        find_faults(image, &CheckOptions::default());
    });
}

fn judge_archive(bytes: &[u8]) {
    let length = u64::try_from(bytes.len()).expect("a length");
    let patterns = Patterns::new(PATTERNS).expect("they are patterns");
    let most = u64::try_from(PATTERNS.concat().len()).expect("a few") + 1;
    // A path meets each place of each pattern once as a way, and once as a name.
    within(2 * most * length, length / 512, "patterns", || {
        drop(each_entry(bytes, |path| {
            let _ = patterns.exclude_within(path, PathType::Other);
        }));
    });
    within(length, length / 512, "unpacking", || drop(unpack(bytes)));
}

fn each_entry(bytes: &[u8], mut use_path: impl FnMut(&[u8])) -> Result<(), String> {
    let mut archive = Archive::new(Bytes(bytes));
    while let Some(entry) = archive.next_entry().map_err(|error| error.to_string())? {
        use_path(&entry.path);
    }
    Ok(())
}

fn unpack(bytes: &[u8]) -> Result<(), String> {
    let mut tree = Tree::with_root(Metadata::default());
    let unpack = Unpack::new(&mut tree, NodeId::ROOT, Metadata::default());
    let mut unpack = unpack.map_err(|error| error.to_string())?;
    let mut archive = Archive::new(Bytes(bytes));
    while let Some(entry) = archive.next_entry().map_err(|error| error.to_string())? {
        // What has no place is passed over, so that more of the archive is asked for.
        drop(unpack.entry(entry, None));
    }
    unpack.finish().map_err(|error| error.to_string())?;
    tree.finish().map_err(|error| error.to_string())
}

struct Bytes<'a>(&'a [u8]);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Input for Bytes<'_> {}

/// An archive of the pieces, each as often as it says.
fn archive(pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let (path, target) = (piece.path.text(8192), piece.target.text(8192));
        let kind = [b'0', b'1', b'2', b'5'][usize::from(piece.kind % 4)];
        for number in 0..=piece.times % MOST_TIMES {
            if bytes.len() > MOST_BYTES {
                return bytes;
            }
            if piece.before % 8 == 7 {
                let value = "v".repeat(usize::from(piece.before));
                let scope = if piece.before % 16 == 7 { b'x' } else { b'g' };
                entry(&mut bytes, scope, b"pax", &record(number, &value));
            }
            entry(&mut bytes, b'L', b"long", &path);
            entry(&mut bytes, b'K', b"long", &target);
            entry(&mut bytes, kind, format!("f{number}").as_bytes(), b"");
        }
    }
    bytes
}

fn record(number: u8, value: &str) -> Vec<u8> {
    let rest = format!(" SCHILY.xattr.user.{number}={value}\n");
    let length = (1..4)
        .map(|digits| rest.len() + digits)
        .find(|length| rest.len() + length.to_string().len() == *length);
    format!("{}{rest}", length.unwrap_or(0)).into_bytes()
}

fn entry(to: &mut Vec<u8>, kind: u8, name: &[u8], body: &[u8]) {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{:011o}", body.len()).as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar  \0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    to.extend(header);
    to.extend(body);
    to.resize(to.len().next_multiple_of(512), 0);
}
