//! Given an output, says what it holds already, for a person to confirm; never all that it may hold.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

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

/// A type and the bytes that give it away.
struct Mark {
    kind: &'static str,
    at: usize,
    bytes: &'static [u8],
}

const fn mark(kind: &'static str, at: usize, bytes: &'static [u8]) -> Mark {
    Mark { kind, at, bytes }
}

/// Marks of what is often found on storage, from each format's own description.
const MARKS: [Mark; 12] = [
    mark("xfs", 0, b"XFSB"),
    mark("squashfs", 0, b"hsqs"),
    mark("crypto_LUKS", 0, b"LUKS\xba\xbe"),
    mark("ntfs", 3, b"NTFS    "),
    mark("exfat", 3, b"EXFAT   "),
    mark("vfat", 54, b"FAT1"),
    mark("vfat", 82, b"FAT32"),
    mark("LVM2_member", 512, b"LABELONE"),
    mark("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    mark("swap", 4086, b"SWAPSPACE2"),
    mark("iso9660", 0x8001, b"CD001"),
    mark("btrfs", 0x1_0040, b"_BHRfS_M"),
];

/// The bytes that hold every mark.
const LENGTH: u64 = 0x1_0048;

/// What the output at `path` holds, as far as it can be told.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn look(path: &Path) -> io::Result<Option<Existing>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LENGTH).read_to_end(&mut bytes)?;
    Ok(recognise(&bytes))
}

/// The same, but for what lies where a filesystem of the ext family has its superblock.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn look_beside_ext(path: &Path) -> io::Result<Option<Existing>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LENGTH).read_to_end(&mut bytes)?;
    let end = bytes.len().min(4096);
    if let Some(superblock) = bytes.get_mut(1024..end) {
        superblock.fill(0);
    }
    Ok(recognise(&bytes))
}

fn recognise(bytes: &[u8]) -> Option<Existing> {
    let has = |at: usize, mark: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(mark));
    if let Some(existing) = bytes.get(1024..2048).and_then(ext) {
        return Some(existing);
    }
    if let Some(mark) = MARKS.iter().find(|mark| has(mark.at, mark.bytes)) {
        return Some(Existing::Filesystem {
            kind: mark.kind,
            label: String::new(),
        });
    }
    if has(512, b"EFI PART") {
        return Some(Existing::Partitions { kind: "gpt" });
    }
    // Of the four entries of a DOS table, one at least has a type.
    let has_entry = || (0..4).any(|entry| bytes[450 + 16 * entry] != 0);
    (has(510, b"\x55\xaa") && has_entry()).then_some(Existing::Partitions { kind: "dos" })
}

/// A filesystem of the ext family by its superblock (kernel doc `super.rst`).
fn ext(superblock: &[u8]) -> Option<Existing> {
    let word = |at: usize| {
        let bytes = superblock.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if superblock.get(56..58)? != b"\x53\xef" {
        return None;
    }
    let (compat, incompat, ro_compat) = (word(92)?, word(96)?, word(100)?);
    // has_journal is 4; ext3 knows filetype, recover and meta_bg, and three read-only features.
    let kind = match (
        incompat & 0x8,
        incompat & !0x16,
        ro_compat & !0x7,
        compat & 0x4,
    ) {
        (0, 0, 0, 0) => "ext2",
        (0, 0, 0, _) => "ext3",
        (0, ..) => "ext4",
        _ => "jbd",
    };
    let label = superblock.get(120..136)?.split(|byte| *byte == 0).next()?;
    Some(Existing::Filesystem {
        kind,
        label: String::from_utf8_lossy(label).into_owned(),
    })
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
