//! Given an output, says what it holds already, for a person to confirm; never all that it may hold.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

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
    File::open(path)?.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn recognise(bytes: &[u8]) -> Option<Existing> {
    if let Some(ext) = Ext::of(bytes) {
        let label = bytes.get(1024 + 120..1024 + 136)?;
        let label = label.split(|byte| *byte == 0).next()?;
        return Some(Existing::Filesystem {
            kind: ext.name(),
            label: String::from_utf8_lossy(label).into_owned(),
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
