//! Given the first bytes of a file, says what it is by its magic; never whether it is sound.
//!
//! Used where something else is needed, so that the refusal can say what was found. Each magic was taken
//! from the description of its format, which the comment beside it names.

use std::fmt;

#[cfg(feature = "tar")]
use super::decompress::Compression;

/// The bytes that hold every magic.
pub(crate) const BYTES: usize = 0x1_0048;

/// Some bytes that give a format away.
struct Magic {
    at: usize,
    bytes: &'static [u8],
    /// What it is, with its article.
    what: &'static str,
    /// The type by libblkid's name for it, of what is found on storage; else empty.
    kind: &'static str,
}

const fn storage(at: usize, bytes: &'static [u8], what: &'static str, kind: &'static str) -> Magic {
    Magic {
        at,
        bytes,
        what,
        kind,
    }
}

const fn file(at: usize, bytes: &'static [u8], what: &'static str) -> Magic {
    storage(at, bytes, what, "")
}

/// Filesystems and the like: the kernel's headers by default. The first that fits counts.
const STORAGE: &[Magic] = &[
    storage(0, b"XFSB", "an XFS image", "xfs"), // XFS_SB_MAGIC
    storage(0, b"hsqs", "a squashfs image", "squashfs"), // SQUASHFS_MAGIC, little-endian
    file(0, b"sqsh", "a squashfs image of a big-endian machine"), // squashfs before 4.0
    storage(0, b"LUKS\xba\xbe", "a LUKS volume", "crypto_LUKS"), // cryptsetup's LUKS2 on-disk format
    storage(3, b"NTFS    ", "an NTFS image", "ntfs"),            // the boot sector's OEM ID
    storage(3, b"EXFAT   ", "an exFAT image", "exfat"), // Microsoft's exFAT specification, 3.1.2
    storage(54, b"FAT1", "a FAT image", "vfat"), // Microsoft's FAT specification, BS_FilSysType
    storage(82, b"FAT32", "a FAT image", "vfat"),
    storage(512, b"LABELONE", "an LVM physical volume", "LVM2_member"), // lvm2's label.h
    storage(1024, b"\xe2\xe1\xf5\xe0", "an EROFS image", "erofs"),      // EROFS_SUPER_MAGIC_V1
    storage(4086, b"SWAPSPACE2", "a swap area", "swap"), // swap.h, for pages of 4 KiB
    storage(0x8001, b"CD001", "an ISO 9660 image", "iso9660"), // ECMA-119, 8.4.2
    storage(0x1_0040, b"_BHRfS_M", "a btrfs image", "btrfs"), // BTRFS_MAGIC
    file(0x8001, b"BEA01", "a UDF image"),               // ECMA-167, part 2, 9.2
    file(1024, b"\x10\x20\xf5\xf2", "an F2FS image"),    // F2FS_SUPER_MAGIC
    file(0, b"\x45\x3d\xcd\x28", "a cramfs image"),      // CRAMFS_MAGIC
    file(0, b"-rom1fs-", "a romfs image"),               // romfs.rst
    file(0, b"\x31\x18\x10\x06", "a UBIFS image"),       // UBIFS_NODE_MAGIC
    file(0, b"UBI#", "a UBI image"),                     // UBI_EC_HDR_MAGIC
    file(0x1_0034, b"ReIsEr", "a reiserfs image"),       // reiserfs_fs.h, of all three versions
    file(0x8000, b"JFS1", "a JFS image"),                // JFS_MAGIC
    file(0x1_0000, b"\x01\x16\x19\x70", "a GFS2 image"), // GFS2_MAGIC
    file(1024, b"H+\0\x04", "an HFS+ image"),            // Apple's TN1150
    file(1024, b"HX\0\x05", "an HFS+ image"),            // the same: names that differ by case
    file(32, b"NXSB", "an APFS image"),                  // Apple File System Reference, nx_magic
    file(3, b"ReFS", "a ReFS image"),                    // the boot sector's OEM ID
    file(3, b"-FVE-FS-", "a BitLocker volume"),          // the same
    file(0x4014, b"\0\0\0\x07version", "a ZFS member"),  // OpenZFS's vdev_label, an XDR list
    file(0x1018, BCACHEFS, "a bcachefs image"),          // BCHFS_MAGIC
    file(0x1018, BCACHE, "a bcache device"),             // BCACHE_MAGIC
    file(0, MD, "an md RAID member"),                    // MD_SB_MAGIC, version 1.1
    file(0x1000, MD, "an md RAID member"),               // version 1.2
];

const BCACHEFS: &[u8] = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";
const BCACHE: &[u8] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
const MD: &[u8] = b"\xfc\x4e\x2b\xa9";

/// Disks in a container: what they hold has to be taken out first. The first that fits counts.
const DISKS: &[Magic] = &[
    file(0, b"QFI\xfb", "a qcow2 image"), // QEMU's docs/interop/qcow2.rst
    file(0, b"vhdxfile", "a VHDX image"), // [MS-VHDX], 2.2.1
    file(0, b"conectix", "a VHD image"),  // Microsoft's VHD specification, cookie
    file(0, b"KDMV", "a VMDK image"),     // VMware's Virtual Disk Format, SparseExtentHeader
    file(0, b"# Disk DescriptorFile", "a VMDK descriptor"), // the same, 1.2
    file(64, b"\x7f\x10\xda\xbe", "a VDI image"), // VirtualBox's VDICore.h
    file(0, b"\x3a\xff\x26\xed", "an Android sparse image"), // AOSP's sparse_format.h
];

/// All else. The first that fits counts.
const FILES: &[Magic] = &[
    // Archives.
    file(0, b"PK\x03\x04", "a zip archive"), // PKWARE's APPNOTE, 4.3.7
    file(0, b"PK\x05\x06", "a zip archive"), // 4.3.16: an empty one
    file(0, b"PK\x07\x08", "a zip archive"), // 8.5.3: of several parts
    file(0, b"070701", "a cpio archive"),    // cpio(5): new ASCII
    file(0, b"070702", "a cpio archive"),    // with checksums
    file(0, b"070707", "a cpio archive"),    // old ASCII
    file(0, b"\xc7\x71", "a cpio archive"),  // old binary, little-endian
    file(0, b"\x71\xc7", "a cpio archive"),  // old binary, big-endian
    file(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"), // 7-Zip's 7zFormat.txt
    file(0, b"Rar!\x1a\x07", "a RAR archive"), // RAR 5.0's technical note
    file(0, b"!<arch>\ndebian-binary", "a Debian package"), // deb(5)
    file(0, b"!<arch>\n", "an ar archive"),  // ar(5)
    file(0, b"\xed\xab\xee\xdb", "an RPM package"), // RPM's format of packages, the lead
    file(0, b"MSCF", "a cabinet archive"),   // [MS-CAB], 2.1
    file(0, b"xar!", "a xar archive"),       // xar's header
    file(2, b"-lh", "an LHA archive"),       // LHA's header, level 0
    // Compressed streams of formats that are not read.
    file(0, b"\x1f\x8b", "a gzip stream"),         // RFC 1952
    file(0, b"\x28\xb5\x2f\xfd", "a zstd stream"), // RFC 8878
    file(0, b"\xfd7zXZ\0", "an xz stream"),        // the .xz file format, 2.1.1.1
    file(0, b"BZh", "a bzip2 stream"),             // bzip2's manual
    file(0, b"\x04\x22\x4d\x18", "an lz4 stream"), // lz4_Frame_format.md
    file(0, b"\x02\x21\x4c\x18", "an lz4 stream"), // the same: legacy frames
    file(0, b"LZIP", "an lzip stream"),            // the lzip manual, file format
    file(0, b"\x89LZO\0\r\n\x1a\n", "an lzop stream"), // lzop's header
    file(0, b"\x1f\x9d", "a stream of compress (.Z)"), // compress(1)
    file(0, b"\x1f\x1e", "a stream of pack (.z)"), // gzip's gzip.h
    file(0, b"LRZI", "an lrzip stream"),           // lrzip's magic.header
    file(0, b"\xff\x06\0\0sNaPpY", "a snappy stream"), // framing_format.txt
    // What is often given by mistake.
    file(0, b"\x7fELF", "an ELF file"),             // elf(5)
    file(0, b"MZ", "a DOS or Windows program"),     // the DOS header
    file(0, b"%PDF-", "a PDF document"),            // ISO 32000, 7.5.2
    file(0, b"#!", "a script"),                     // execve(2)
    file(0, b"\x27\x05\x19\x56", "a U-Boot image"), // U-Boot's image.h, IH_MAGIC
    file(0, b"\xd0\x0d\xfe\xed", "a device tree or FIT image"), // the Devicetree Specification, 5.2
    file(0, b"ANDROID!", "an Android boot image"),  // AOSP's bootimg.h
    file(0, b"<!DOCTYPE html", "an HTML page"),     // the HTML standard, 13.1.1
    file(0, b"<!doctype html", "an HTML page"),
    file(0, b"<html", "an HTML page"),
    file(0, b"<?xml", "an XML document"), // XML 1.0, 2.8
    file(0, b"version https://git-lfs.", "a Git LFS pointer"), // Git LFS's spec.md
    file(0, b"-----BEGIN PGP", "an OpenPGP message"), // RFC 9580, 6.2
    file(0, b"age-encryption.org/", "a file encrypted by age"), // age's format, version line
    file(0, b"Salted__", "a file encrypted by OpenSSL"), // openssl-enc(1)
];

/// A filesystem of the ext family, or a journal beside one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ext {
    Ext2,
    Ext3,
    Ext4,
    /// A journal on a device of its own.
    Journal,
}

impl Ext {
    /// The family's member whose superblock (kernel doc `super.rst`) lies at byte 1024 of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let superblock = bytes.get(1024..2048)?;
        let word = |at: usize| {
            let bytes = superblock.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        if superblock.get(56..58)? != b"\x53\xef" {
            return None;
        }
        let (compat, incompat, ro_compat) = (word(92)?, word(96)?, word(100)?);
        // has_journal is 4; ext3 knows filetype, recover and meta_bg, and three read-only features.
        let is_old = incompat & !0x16 == 0 && ro_compat & !0x7 == 0;
        Some(match (incompat & 0x8, is_old, compat & 0x4) {
            (0, true, 0) => Self::Ext2,
            (0, true, _) => Self::Ext3,
            (0, false, _) => Self::Ext4,
            _ => Self::Journal,
        })
    }

    /// Its name, which is also libblkid's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Journal => "jbd",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Ext2 => "an ext2 image",
            Self::Ext3 => "an ext3 image",
            Self::Ext4 => "an ext4 image",
            Self::Journal => "an external journal of ext4",
        }
    }
}

/// A table of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partitions {
    Gpt,
    Dos,
}

impl Partitions {
    /// The table (UEFI Specification, 5.2 and 5.3) of the disk that begins with `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        if has(bytes, 512, b"EFI PART") || has(bytes, 4096, b"EFI PART") {
            return Some(Self::Gpt);
        }
        // Of the four entries of a DOS table, one at least has a type.
        let has_entry = || (0..4).any(|entry| bytes[450 + 16 * entry] != 0);
        (has(bytes, 510, b"\x55\xaa") && has_entry()).then_some(Self::Dos)
    }

    /// Its kind, by libblkid's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gpt => "gpt",
            Self::Dos => "dos",
        }
    }

    #[cfg(feature = "cli")]
    fn held(self) -> &'static str {
        match self {
            Self::Gpt => "a partition table (GPT)",
            Self::Dos => "a partition table (MBR)",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Gpt => "a disk image with a GPT",
            Self::Dos => "a disk image with an MBR",
        }
    }
}

/// What libblkid calls the filesystem, or what is in the place of one, that begins with `bytes`; the ext
/// family is told by [`Ext::of`].
pub(crate) fn storage_kind(bytes: &[u8]) -> Option<&'static str> {
    let mut kinds = STORAGE.iter().filter(|magic| !magic.kind.is_empty());
    let found = kinds.find(|magic| has(bytes, magic.at, magic.bytes));
    found.map(|magic| magic.kind)
}

/// What begins with `bytes`, with its article, if that is known; [`BYTES`] of them are enough.
#[cfg(feature = "tar")]
fn what(bytes: &[u8]) -> Option<&'static str> {
    let ext = || Ext::of(bytes).map(Ext::what);
    let magic = || {
        let found = find(STORAGE, bytes).or_else(|| find(DISKS, bytes));
        let found = found.or_else(|| find(FILES, bytes));
        found.map(|magic| magic.what)
    };
    let partitions = || Partitions::of(bytes).map(Partitions::what);
    let lzma = || is_lzma(bytes).then_some("an LZMA stream (.lzma)");
    ext().or_else(magic).or_else(partitions).or_else(lzma)
}

/// What a file or device that begins with `bytes` holds, with its article, if that is known and no
/// filesystem of the ext family; [`BYTES`] of them are enough.
#[cfg(feature = "cli")]
pub(crate) fn held(bytes: &[u8]) -> Option<String> {
    let storage = || {
        let what = find(STORAGE, bytes)?.what;
        Some(what.replacen(" image", " filesystem", 1))
    };
    let file = || {
        let found = find(DISKS, bytes).or_else(|| find(FILES, bytes))?;
        Some(found.what.to_owned())
    };
    let partitions = || Partitions::of(bytes).map(|table| table.held().to_owned());
    let tar = || has(bytes, 257, b"ustar").then(|| "a tar archive".to_owned());
    let journal = || (Ext::of(bytes) == Some(Ext::Journal)).then(|| Ext::Journal.what().to_owned());
    let found = storage().or_else(file).or_else(tar);
    found.or_else(partitions).or_else(journal)
}

/// Whether what begins with `bytes` is a disk in a container, such as a qcow2 image.
#[cfg(feature = "cli")]
pub(crate) fn is_disk(bytes: &[u8]) -> bool {
    find(DISKS, bytes).is_some()
}

/// The same as [`held`] of a file or device of `size` bytes that ends with `bytes`; 128 KiB of them are enough.
#[cfg(feature = "cli")]
pub(crate) fn held_at_end(bytes: &[u8], size: u64) -> Option<String> {
    let has = |from_end: u64, magic| {
        let at = usize::try_from(from_end).ok();
        let at = at.and_then(|from_end| bytes.len().checked_sub(from_end));
        at.is_some_and(|at| has(bytes, at, magic))
    };
    // The copy of a GPT in the last sector (UEFI Specification, 5.3.2).
    if has(512, b"EFI PART") || has(4096, b"EFI PART") {
        return Some(Partitions::Gpt.held().to_owned());
    }
    // md(4): version 1.0 is 8 KiB before the end, rounded down to 4 KiB; 0.90 the last whole 64 KiB.
    let of_md = |length: u64, unit: u64| has(length + size % unit, MD);
    let is_md = of_md(0x2000, 0x1000) || of_md(0x1_0000, 0x1_0000);
    is_md.then(|| "an md RAID member".to_owned())
}

fn find(magics: &'static [Magic], bytes: &[u8]) -> Option<&'static Magic> {
    let mut magics = magics.iter();
    magics.find(|magic| has(bytes, magic.at, magic.bytes))
}

fn has(bytes: &[u8], at: usize, magic: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(magic))
}

/// Whether `bytes` can begin an LZMA_Alone file, which has no magic: by the rules of XZ Utils'
/// `lzma-file-format.txt`, the dictionary has 2^n or 2^n + 2^(n-1) bytes and the data less than 256 GiB.
#[cfg(feature = "tar")]
fn is_lzma(bytes: &[u8]) -> bool {
    let Some((&[properties, a, b, c, d], rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let Some(size) = rest.first_chunk() else {
        return false;
    };
    let (dictionary, size) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(*size));
    let highest = dictionary.checked_ilog2().map_or(0, |bit| 1_u32 << bit);
    let is_dictionary = dictionary >= 4096 && [0, highest / 2].contains(&(dictionary - highest));
    properties < 225 && is_dictionary && (size == u64::MAX || size >> 38 == 0)
}

/// What was found where a tar archive was needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotTar {
    /// How that is compressed.
    pub(crate) packed: Option<&'static str>,
    /// What it is, uncompressed and with its article, if that is known.
    pub(crate) what: Option<&'static str>,
}

impl NotTar {
    /// What begins with `bytes`, uncompressed.
    #[cfg(feature = "tar")]
    pub(crate) fn of(bytes: &[u8], compression: Option<Compression>) -> Self {
        let packed = compression.map(Compression::name);
        let nothing = if packed.is_some() { "nothing" } else { "empty" };
        Self {
            packed,
            what: if bytes.is_empty() {
                Some(nothing)
            } else {
                what(bytes)
            },
        }
    }

    /// Whether it is an image with files, which can be read only where every byte can be reached.
    pub(crate) fn is_image(&self) -> bool {
        let mut images = [Ext::Ext2, Ext::Ext3, Ext::Ext4].iter();
        images.any(|ext| self.what == Some(ext.what()))
    }

    /// The rest of a sentence about an image, which its path begins.
    pub(crate) fn say_image(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what.unwrap_or("an image");
        match self.packed {
            Some(packed) => write!(
                f,
                "is compressed with {packed} and holds {what}; decompress it to a file first"
            ),
            None => write!(
                f,
                "is {what}, which cannot be read from a stream; name its file or device"
            ),
        }
    }

    /// The rest of a sentence that its path begins; `needed` is what it is not.
    pub(crate) fn say(&self, f: &mut fmt::Formatter<'_>, needed: &str) -> fmt::Result {
        match (self.packed, self.what) {
            (Some(packed), Some(what)) => write!(
                f,
                "is compressed with {packed}, but holds {what}, not a tar archive"
            ),
            (Some(packed), None) => write!(
                f,
                "is compressed with {packed}, but what it holds is not a tar archive"
            ),
            (None, Some(what)) => write!(f, "is {what}, not {needed}"),
            (None, None) => write!(f, "is not {needed}"),
        }
    }
}

/// What an archive is, as a layer of a container image is one.
pub(crate) const ARCHIVE: &str = "a tar archive (plain or compressed with gzip, zstd, xz or bzip2)";

/// What a source is.
pub(crate) const SOURCE: &str = "a directory, a tar archive (plain or compressed with gzip, zstd, xz or \
    bzip2), a container image or an ext2, ext3 or ext4 image";

#[cfg(all(test, feature = "tar"))]
mod tests {
    use super::*;

    /// The first bytes of a file in which `places` are not zero.
    fn filled(places: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        for (at, magic) in places {
            bytes[*at..*at + magic.len()].copy_from_slice(magic);
        }
        bytes
    }

    struct Shown(NotTar);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.say(f, ARCHIVE)
        }
    }

    #[test]
    fn every_magic_is_within_the_bytes_and_none_hides_another() {
        for magic in STORAGE.iter().chain(DISKS).chain(FILES) {
            assert!(magic.at + magic.bytes.len() <= BYTES, "{}", magic.what);
            let found = what(&filled(&[(magic.at, magic.bytes)]));
            assert_eq!(found, Some(magic.what));
            assert!(magic.what.starts_with("a ") || magic.what.starts_with("an "));
        }
    }

    #[test]
    fn what_has_no_plain_magic_is_told_too() {
        let ext = (1024 + 56, &b"\x53\xef"[..]);
        let boot = (510, &b"\x55\xaa"[..]);
        let lzma = |head: &[u8]| what(&[head, &[0xff; 8], b"data"].concat());
        let is_lzma = Some("an LZMA stream (.lzma)");
        assert_eq!(lzma(b"\x5d\0\0\x80\0"), is_lzma);
        assert_eq!(lzma(b"\x5d\0\0\xc0\0"), is_lzma);
        assert_eq!(lzma(b"\x5d\0\0\xa0\0"), None);
        assert_eq!(lzma(b"\xe1\0\0\x80\0"), None);
        for (places, expected) in [
            (&[ext][..], Some("an ext2 image")),
            (&[ext, (1024 + 92, b"\x04")], Some("an ext3 image")),
            (
                &[ext, (1024 + 96, b"\x40"), boot, (450, b"\x83")],
                Some("an ext4 image"),
            ),
            (
                &[ext, (1024 + 96, b"\x08")],
                Some("an external journal of ext4"),
            ),
            (&[boot, (450, b"\x83")], Some("a disk image with an MBR")),
            (
                &[boot, (450, b"\xee"), (512, b"EFI PART")],
                Some("a disk image with a GPT"),
            ),
            (&[(4096, b"EFI PART")], Some("a disk image with a GPT")),
            (&[boot], None),
            (&[], None),
            (&[(0, b"text")], None),
        ] {
            assert_eq!(what(&filled(places)), expected);
        }
        assert_eq!(what(b"!<arch>\nf"), Some("an ar archive"));
        assert_eq!(what(b"short"), None);
    }

    #[test]
    fn the_sentence_says_what_is_there_and_what_is_needed() {
        let forms = "tar archive (plain or compressed with gzip, zstd, xz or bzip2)";
        for (bytes, packed, expected) in [
            (
                &b"hsqs"[..],
                None,
                format!("is a squashfs image, not a {forms}"),
            ),
            (b"text", None, format!("is not a {forms}")),
            (b"", None, format!("is empty, not a {forms}")),
            (
                b"hsqs",
                Some(Compression::Xz),
                "is compressed with xz, but holds a squashfs image, not a tar archive".to_owned(),
            ),
            (
                b"text",
                Some(Compression::Zstd),
                "is compressed with zstd, but what it holds is not a tar archive".to_owned(),
            ),
            (
                b"",
                Some(Compression::Gzip),
                "is compressed with gzip, but holds nothing, not a tar archive".to_owned(),
            ),
        ] {
            assert_eq!(Shown(NotTar::of(bytes, packed)).to_string(), expected);
        }
    }
}
