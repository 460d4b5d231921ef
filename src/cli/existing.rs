//! Given an output, says what it holds already; never writes to it.
//!
//! [`look`] says what mke2fs would, by a few bytes. [`held`] says whether there is anything at all in the bytes
//! that an image is to take: the name that it has for it is a guess by the magic, but that it is there is not.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use crate::sink::{File, Format, Sink, UNFINISHED};
use crate::source::magic::{self, Ext, Partitions};

/// What an output holds already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// A filesystem, or something in the place of one.
    Filesystem {
        /// Its type, by the name libblkid gives it.
        kind: &'static str,
        /// Its label; empty for none.
        label: String,
    },
    /// A table of partitions.
    Partitions {
        /// Its kind, by the name libblkid gives it.
        kind: &'static str,
    },
}

/// What the output at `path` holds, as far as it can be told.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn look(path: &Path) -> io::Result<Option<Existing>> {
    let bytes = first_bytes(path)?;
    Ok(recognise(&bytes))
}

/// The same, but for what lies where a filesystem of the ext family has its superblock.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn look_beside_ext(path: &Path) -> io::Result<Option<Existing>> {
    let mut bytes = first_bytes(path)?;
    let end = bytes.len().min(4096);
    if let Some(superblock) = bytes.get_mut(1024..end) {
        superblock.fill(0);
    }
    Ok(recognise(&bytes))
}

fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = u64::try_from(magic::BYTES).unwrap_or(u64::MAX);
    fs::File::open(path)?.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn recognise(bytes: &[u8]) -> Option<Existing> {
    if let Some(ext) = Ext::of(bytes) {
        return Some(Existing::Filesystem {
            kind: ext.name(),
            label: label(bytes),
        });
    }
    if let Some(kind) = magic::storage_kind(bytes) {
        let label = String::new();
        return Some(Existing::Filesystem { kind, label });
    }
    let partitions = Partitions::of(bytes)?;
    let kind = partitions.name();
    Some(Existing::Partitions { kind })
}

/// What the bytes hold that an image is to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Zeros, if any bytes.
    Nothing,
    /// A filesystem of the ext family: its name and its label.
    Ext(&'static str, String),
    /// What a run of ours left that was killed.
    Unfinished,
    /// What is not ours, with its article.
    Foreign(String),
}

/// How much of a device is looked at, at either end, in bytes. What has a name is there; to read all of a
/// disk would take hours.
const LOOKED_AT: u64 = 16 << 20;
/// How much is read at once, in bytes.
const PIECE: u64 = 1 << 20;
/// What of the end of a disk tells who owns it, in bytes: md keeps a superblock in the last 128 KiB.
const END: u64 = 128 << 10;
/// What there is no name for.
pub(super) const UNKNOWN: &str = "data of an unknown format";
/// What a killed run left, with its article.
pub(super) const UNFINISHED_IMAGE: &str = "an unfinished image";

/// What `file` holds in `bytes`. A regular file is read once at most, up to the first byte that is not zero, and
/// its holes are not; of a device only both ends of the bytes are. A virtual disk as `format` writes it, with
/// a filesystem of the ext family, is that filesystem: the same command runs again.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn held(file: &File, bytes: Range<u64>, format: Format) -> io::Result<Held> {
    let bytes = bytes.start..bytes.end.min(file.size_bytes());
    let head = read(
        file,
        bytes.start..bytes.end.min(bytes.start.saturating_add(HEAD)),
    )?;
    if let Some(ext) = sound_ext(&head) {
        let rest = behind_ext(&head, &bytes);
        // A file of its own is built again as a whole; in a disk, what follows is another's.
        return Ok(if bytes.start > 0 && has_data(file, rest)? {
            Held::Foreign(format!("data behind an {} filesystem", ext.name()))
        } else {
            Held::Ext(ext.name(), label(&head))
        });
    }
    if let Some(disk) = format.disk_head(file)
        && let Some(ext) = sound_ext(&disk)
    {
        return Ok(Held::Ext(ext.name(), label(&disk)));
    }
    if let Some(what) = magic::held(&head) {
        return Ok(Held::Foreign(what));
    }
    if is_unfinished(&head) {
        // How much of a disk it was to take, nobody knows.
        return Ok(if bytes.start > 0 {
            Held::Foreign(UNFINISHED_IMAGE.to_owned())
        } else {
            Held::Unfinished
        });
    }
    if bytes.end == file.size_bytes() {
        let tail = read(
            file,
            bytes.end.saturating_sub(END).max(bytes.start)..bytes.end,
        )?;
        if let Some(what) = magic::held_at_end(&tail, file.size_bytes()) {
            return Ok(Held::Foreign(what));
        }
    }
    let is_some = if file.is_block_device() {
        let front = bytes.start..bytes.end.min(bytes.start.saturating_add(LOOKED_AT));
        let back = bytes.end.saturating_sub(LOOKED_AT).max(front.end)..bytes.end;
        has_data(file, front)? || has_data(file, back)?
    } else {
        has_data(file, bytes)?
    };
    Ok(if is_some {
        Held::Foreign(UNKNOWN.to_owned())
    } else {
        Held::Nothing
    })
}

/// The bytes that hold every magic.
const HEAD: u64 = 0x1_0048;

fn read(file: &File, bytes: Range<u64>) -> io::Result<Vec<u8>> {
    let length = bytes.end.saturating_sub(bytes.start);
    let mut read = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_at(bytes.start, &mut read)?;
    Ok(read)
}

/// Whether any of `bytes` is not zero.
fn has_data(file: &File, bytes: Range<u64>) -> io::Result<bool> {
    let mut at = bytes.start;
    while at < bytes.end {
        at = file.next_data(at).unwrap_or(at).max(at);
        let end = at.saturating_add(PIECE).min(bytes.end);
        if at >= end {
            break;
        }
        if read(file, at..end)?.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        at = end;
    }
    Ok(false)
}

/// A word of the superblock (kernel doc `super.rst`) in the first bytes of a filesystem.
fn word(head: &[u8], at: usize) -> Option<u32> {
    let bytes = head.get(1024 + at..1024 + at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Whether what begins with `head` was being written by a run that was killed: an image, or a container.
fn is_unfinished(head: &[u8]) -> bool {
    let is_marked = |at: usize| {
        let rest = head.get(at..);
        rest.is_some_and(|rest| rest.starts_with(UNFINISHED))
    };
    is_marked(0) || is_marked(1024)
}

/// Which filesystem of the ext family begins with `head`.
fn sound_ext(head: &[u8]) -> Option<Ext> {
    Ext::of(head).filter(|ext| *ext != Ext::Journal && is_sound(head))
}

/// Whether what has an ext superblock's magic, two bytes that anything may have, has its other fields as well.
fn is_sound(head: &[u8]) -> bool {
    let all = || {
        let (inodes, blocks) = (word(head, 0)?, block_count(head)?);
        let (first, log, revision) = (word(head, 20)?, word(head, 24)?, word(head, 76)?);
        Some(inodes > 0 && blocks > 0 && first <= 1 && log <= 6 && revision <= 1)
    };
    all().unwrap_or(false)
}

/// The blocks of the filesystem.
fn block_count(head: &[u8]) -> Option<u64> {
    const INCOMPAT_64BIT: u32 = 0x80;
    let high = match word(head, 96)? & INCOMPAT_64BIT {
        0 => 0,
        _ => word(head, 336)?,
    };
    Some(u64::from(high) << 32 | u64::from(word(head, 4)?))
}

/// Those of `bytes` that are behind the filesystem which they begin with.
fn behind_ext(head: &[u8], bytes: &Range<u64>) -> Range<u64> {
    let log = word(head, 24).unwrap_or(0).min(6);
    let blocks = block_count(head).unwrap_or(0);
    let length = blocks.saturating_mul(1024 << log);
    bytes.start.saturating_add(length).min(bytes.end)..bytes.end
}

/// The label in a superblock; empty for none.
fn label(head: &[u8]) -> String {
    let label = head.get(1024 + 120..1024 + 136).unwrap_or_default();
    let label = label.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(label).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(places: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 0x1_0048];
        for (at, mark) in places {
            bytes[*at..*at + mark.len()].copy_from_slice(mark);
        }
        bytes
    }

    #[test]
    fn what_storage_holds_is_told() {
        let magic = (1024 + 56, &b"\x53\xef"[..]);
        for (places, kind, label) in [
            (&[magic][..], "ext2", ""),
            (&[magic, (1024 + 92, b"\x04")], "ext3", ""),
            (
                &[magic, (1024 + 96, b"\x40"), (1024 + 120, b"root")],
                "ext4",
                "root",
            ),
            (&[magic, (1024 + 96, b"\x08")], "jbd", ""),
            (&[(0, b"XFSB")], "xfs", ""),
            (&[(0x1_0040, b"_BHRfS_M")], "btrfs", ""),
        ] {
            let label = label.to_owned();
            let expected = Existing::Filesystem { kind, label };
            assert_eq!(recognise(&filled(places)), Some(expected), "{kind}");
        }
        let dos: &[(usize, &[u8])] = &[(510, b"\x55\xaa"), (450, b"\x83")];
        let expected = Existing::Partitions { kind: "dos" };
        assert_eq!(recognise(&filled(dos)), Some(expected));
        assert_eq!(recognise(&filled(&[])), None);
        assert_eq!(recognise(b"short"), None);
    }
}
