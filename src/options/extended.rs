//! Given text as `-E` takes it, gives the wishes in it, in order; never weighs one against another.
//!
//! One row per option, from which its help is made as well: a new one is a row here, a variant of
//! [`Extended`] and its arm in `resolve`. The names are those of mke2fs(8).

use std::fmt;

use super::settings::{QuotaType, QuotaTypes};
use super::size::{self, Size};

/// One extended option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extended {
    AndroidSparse,
    AssumeStoragePrezeroed(bool),
    DescSize(DescSize),
    Discard(bool),
    /// `s_encoding`.
    Encoding(u16),
    /// `s_encoding_flags`.
    EncodingFlags(u16),
    HashSeed([u8; 16]),
    LazyItableInit(bool),
    LazyJournalInit(bool),
    /// Seconds.
    MmpUpdateInterval(u16),
    NoCopyXattrs,
    /// 0 to 2.
    NumBackupSb(u8),
    /// Bytes.
    Offset(u64),
    OrphanFileSize(Size),
    PackedMetaBlocks(bool),
    QuotaTypes(QuotaTypes),
    Resize(Size),
    /// `None` for the user and group that run the program.
    RootOwner(Option<(u32, u32)>),
    RootPerms(u16),
    /// A SELinux context.
    RootSelinux(String),
    /// 0 or 1.
    Revision(u32),
    /// Blocks.
    Stride(u16),
    /// Blocks.
    StripeWidth(u32),
    TestFs,
    /// An option that changes nothing as it was given.
    Nothing,
}

/// A wish for the size of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DescSize {
    /// As it was spelled.
    pub(super) name: &'static str,
    /// Bytes.
    pub(super) bytes: u16,
}

/// `EXT4_ENC_UTF8_12_1`.
const UTF8_12_1: u16 = 1;
/// `EXT4_ENC_STRICT_MODE_FL`: names that are not in the encoding are refused.
const STRICT: u16 = 1;

/// Whether an option takes a value.
enum Takes {
    /// It needs one.
    Value(fn(&str) -> Option<Extended>),
    /// It needs one, and says itself what is wrong with it.
    Checked(fn(&str) -> Result<Extended, ExtendedOptionError>),
    /// It may have one.
    Maybe(fn(Option<&str>) -> Option<Extended>),
}

use Takes::{Checked, Maybe, Value};

/// One option: what it is called, what it does, and how its value is read.
#[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "what help says"))]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: &'static str,
    /// What its value is called, with `=` before it, and in brackets where it can be left out.
    pub(crate) value: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
    /// What holds without it.
    pub(crate) default: &'static str,
    /// The first Linux kernel that knows what it asks for, where that is not every kernel.
    pub(crate) kernel: Option<&'static str>,
    takes: Takes,
}

/// The options and their second spellings.
pub(crate) static ROWS: [Row; 27] = [
    Row {
        name: "android_sparse",
        value: "",
        about: "Write an Android sparse image, as --format simg does",
        default: "off",
        kernel: None,
        takes: Maybe(|_| Some(Extended::AndroidSparse)),
    },
    Row {
        name: "assume_storage_prezeroed",
        value: "[=0|1]",
        about: "Assume that the output reads as zeros: do not zero inode tables and the journal",
        default: "0",
        kernel: None,
        takes: Maybe(|value| Some(Extended::AssumeStoragePrezeroed(truth(value)))),
    },
    Row {
        name: "desc-size",
        value: "=BYTES",
        about: "The same as desc_size",
        default: "64",
        kernel: Some("2.6.28"),
        takes: Value(|value| desc_size("desc-size", value)),
    },
    Row {
        name: "desc_size",
        value: "=BYTES",
        about: "Set the group descriptor size with 64bit: a power of two from 64 to 1024",
        default: "64",
        kernel: Some("2.6.28"),
        takes: Value(|value| desc_size("desc_size", value)),
    },
    Row {
        name: "discard",
        value: "",
        about: "Discard the output's blocks before writing",
        default: "on",
        kernel: None,
        takes: Maybe(|_| Some(Extended::Discard(true))),
    },
    Row {
        name: "encoding",
        value: "=NAME",
        about: "Set the encoding of file names, utf8 or utf8-12.1, and enable casefold",
        default: "utf8 with casefold",
        kernel: Some("5.2"),
        takes: Value(|value| encoding(value).map(Extended::Encoding)),
    },
    Row {
        name: "encoding_flags",
        value: "=FLAGS",
        about: "strict refuses file names that are invalid in the encoding, nostrict accepts them",
        default: "nostrict",
        kernel: Some("5.2"),
        takes: Checked(encoding_flags),
    },
    Row {
        name: "hash_seed",
        value: "=UUID",
        about: "Set the seed of directory hashes, written as a UUID",
        default: "random",
        kernel: None,
        takes: Value(hash_seed),
    },
    Row {
        name: "lazy_itable_init",
        value: "[=0|1]",
        about: "Leave unused inode tables for the kernel to zero in the background",
        default: "1",
        kernel: Some("2.6.37"),
        takes: Maybe(|value| Some(Extended::LazyItableInit(truth(value)))),
    },
    Row {
        name: "lazy_journal_init",
        value: "[=0|1]",
        about: "Do not zero the journal",
        default: "0",
        kernel: None,
        takes: Maybe(|value| Some(Extended::LazyJournalInit(truth(value)))),
    },
    Row {
        name: "mmp_update_interval",
        value: "=SECONDS",
        about: "Set the seconds between updates of the MMP block, at most 300, with mmp",
        default: "5",
        kernel: Some("3.0"),
        takes: Value(|value| wrapped_16(value).map(Extended::MmpUpdateInterval)),
    },
    Row {
        name: "no_copy_xattrs",
        value: "",
        about: "Do not store the extended attributes of the sources",
        default: "off",
        kernel: None,
        takes: Maybe(|_| Some(Extended::NoCopyXattrs)),
    },
    Row {
        name: "nodiscard",
        value: "",
        about: "Do not discard the output's blocks",
        default: "off",
        kernel: None,
        takes: Maybe(|_| Some(Extended::Discard(false))),
    },
    Row {
        name: "num_backup_sb",
        value: "=0|1|2",
        about: "Set the number of backup superblocks with sparse_super2",
        default: "2",
        kernel: Some("3.16"),
        takes: Value(num_backup_sb),
    },
    Row {
        name: "offset",
        value: "=BYTES",
        about: "Place the filesystem at this byte offset in the output",
        default: "0",
        kernel: None,
        takes: Value(|value| size::number(value).map(Extended::Offset)),
    },
    Row {
        name: "orphan_file_size",
        value: "=SIZE",
        about: "Set the size of the orphan file, with orphan_file",
        default: "by filesystem size",
        kernel: Some("5.15"),
        takes: Value(|value| Size::parse(value).map(Extended::OrphanFileSize)),
    },
    Row {
        name: "packed_meta_blocks",
        value: "[=0|1]",
        about: "Place bitmaps, inode tables and the journal at the start of the filesystem",
        default: "0",
        kernel: Some("2.6.28"),
        takes: Maybe(|value| Some(Extended::PackedMetaBlocks(truth(value)))),
    },
    Row {
        name: "quotatype",
        value: "=TYPES",
        about: "Choose the quota files, with quota: usr, grp and prj, separated by colons, with ^ to omit one",
        default: "usr:grp",
        kernel: Some("3.6"),
        takes: Checked(quota_types),
    },
    Row {
        name: "resize",
        value: "=SIZE",
        about: "Reserve GDT blocks so that the filesystem can grow to SIZE while mounted",
        default: "1024 times its size",
        kernel: Some("2.6.10"),
        takes: Value(|value| Size::parse(value).map(Extended::Resize)),
    },
    Row {
        name: "revision",
        value: "=0|1",
        about: "Set the filesystem revision",
        default: "1",
        kernel: None,
        takes: Checked(revision),
    },
    Row {
        name: "root_owner",
        value: "[=UID:GID]",
        about: "Set the owner of the root directory; without a value, the user who runs the command",
        default: "0:0",
        kernel: None,
        takes: Maybe(root_owner),
    },
    Row {
        name: "root_perms",
        value: "[=OCTAL]",
        about: "Set the permissions of the root directory",
        default: "755",
        kernel: None,
        takes: Maybe(root_perms),
    },
    Row {
        name: "root_selinux",
        value: "=CONTEXT",
        about: "Set the SELinux context of the root directory",
        default: "none",
        kernel: None,
        takes: Value(|value| Some(Extended::RootSelinux(value.to_owned()))),
    },
    Row {
        name: "stride",
        value: "=BLOCKS",
        about: "Set the RAID stride: blocks per disk before the next disk",
        default: "by device",
        kernel: None,
        takes: Value(|value| number(value).map(Extended::Stride)),
    },
    Row {
        name: "stripe-width",
        value: "=BLOCKS",
        about: "The same as stripe_width",
        default: "by device",
        kernel: None,
        takes: Value(|value| number(value).map(Extended::StripeWidth)),
    },
    Row {
        name: "stripe_width",
        value: "=BLOCKS",
        about: "Set the RAID stripe width: the stride times the number of data disks",
        default: "by device",
        kernel: None,
        takes: Value(|value| number(value).map(Extended::StripeWidth)),
    },
    Row {
        name: "test_fs",
        value: "",
        about: "Mark the filesystem as one for testing experimental kernels",
        default: "off",
        kernel: Some("2.6.28"),
        takes: Maybe(|_| Some(Extended::TestFs)),
    },
];

/// What is wrong with one extended option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExtendedOptionError {
    /// There is no option of that name.
    Unknown(String),
    /// It needs a value.
    NoValue(&'static str),
    /// Its value is not of the form it takes.
    Invalid {
        /// The option.
        name: &'static str,
        /// What was given.
        value: String,
    },
    /// Descriptors have one size without 64bit.
    DescSizeWithout64Bit(&'static str),
    /// The size of descriptors comes after what was reckoned with it.
    DescSizeAfterResize {
        /// The option, as it was spelled.
        name: &'static str,
        /// The descriptor blocks kept for growing.
        blocks: u16,
    },
    /// A word that is no flag of an encoding.
    EncodingFlag(String),
    /// Something that is no revision.
    Revision(String),
    /// A revision that nobody knows.
    RevisionTooHigh(u32),
    /// A word that is no type of quota.
    QuotaType(String),
    /// The filesystem is to grow to no more than it has.
    ResizeNotLarger {
        /// The size to grow to, in blocks.
        blocks: u64,
        /// The size now, in blocks.
        least: u64,
    },
}

impl ExtendedOptionError {
    /// The option and its value, where it is the value that is wrong.
    pub(super) fn option(&self) -> Option<(&'static str, String)> {
        Some(match self {
            Self::Invalid { name, value } => (name, value.clone()),
            Self::EncodingFlag(word) => ("encoding_flags", word.clone()),
            Self::Revision(text) => ("revision", text.clone()),
            Self::RevisionTooHigh(number) => ("revision", number.to_string()),
            Self::QuotaType(word) => ("quotatype", word.clone()),
            Self::ResizeNotLarger { blocks, .. } => ("resize", blocks.to_string()),
            Self::Unknown(_)
            | Self::NoValue(_)
            | Self::DescSizeWithout64Bit(_)
            | Self::DescSizeAfterResize { .. } => return None,
        })
    }
}

impl fmt::Display for ExtendedOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "unknown extended option '{name}'"),
            Self::NoValue(name) => write!(f, "extended option {name} needs a value: {name}=VALUE"),
            Self::Invalid { name, value } => {
                write!(
                    f,
                    "invalid value '{value}' for extended option {name}: {}",
                    expected(name)
                )
            }
            Self::DescSizeWithout64Bit(name) => {
                write!(
                    f,
                    "extended option {name} needs the 64bit feature; use -O 64bit"
                )
            }
            Self::DescSizeAfterResize { name, .. } => {
                write!(f, "extended option {name} must come before resize")
            }
            Self::EncodingFlag(word) => {
                write!(
                    f,
                    "invalid encoding flag '{word}': must be strict or nostrict"
                )
            }
            Self::Revision(text) => write!(f, "invalid revision '{text}': must be 0 or 1"),
            Self::RevisionTooHigh(number) => {
                write!(f, "invalid revision {number}: must be 0 or 1")
            }
            Self::QuotaType(word) => {
                write!(f, "invalid quota type '{word}': must be usr, grp or prj")
            }
            Self::ResizeNotLarger { blocks, least } => write!(
                f,
                "invalid resize of {blocks} blocks: must be more than the {least} blocks of the filesystem"
            ),
        }
    }
}

/// What the value of an option has to be, by what help says of it.
fn expected(name: &str) -> String {
    let row = ROWS.iter().find(|row| row.name == name);
    row.map_or_else(String::new, |row| format!("expected {name}{}", row.value))
}

/// The options in `text`, as mke2fs reads them: nothing may follow the last comma, but something
/// stands before each.
pub(super) fn parse(text: &str) -> impl Iterator<Item = Result<Extended, ExtendedOptionError>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (first, behind) = rest.split_once(',').unwrap_or((rest, ""));
        rest = behind;
        Some(token(first))
    })
}

fn token(token: &str) -> Result<Extended, ExtendedOptionError> {
    let (name, value) = match token.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (token, None),
    };
    let Some(Row { name, takes, .. }) = ROWS.iter().find(|row| row.name == name) else {
        return Err(ExtendedOptionError::Unknown(name.to_owned()));
    };
    let invalid = || ExtendedOptionError::Invalid {
        name,
        value: value.unwrap_or_default().to_owned(),
    };
    match takes {
        Value(read) => read(value.ok_or(ExtendedOptionError::NoValue(name))?).ok_or_else(invalid),
        Checked(read) => read(value.ok_or(ExtendedOptionError::NoValue(name))?),
        Maybe(read) => read(value).ok_or_else(invalid),
    }
}

/// A switch: on without a value, else whatever C's `strtoul` makes of it.
fn truth(value: Option<&str>) -> bool {
    value.is_none_or(|value| size::unsigned(value, 0).0 != 0)
}

/// The low half of a number, as a field of 16 bits takes it.
fn wrapped_16(value: &str) -> Option<u16> {
    u16::try_from(size::number(value)? & 0xffff).ok()
}

fn number<T: TryFrom<u64>>(value: &str) -> Option<T> {
    T::try_from(size::number(value)?).ok()
}

fn hash_seed(value: &str) -> Option<Extended> {
    let seed = super::parse_uuid(value)?;
    // A seed of zeros is none to mke2fs.
    Some(match seed {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Extended::Nothing,
        seed => Extended::HashSeed(seed),
    })
}

fn num_backup_sb(value: &str) -> Option<Extended> {
    let count = number(value).filter(|count| *count <= 2)?;
    Some(Extended::NumBackupSb(count))
}

fn desc_size(name: &'static str, value: &str) -> Option<Extended> {
    let bytes = number(value).filter(is_desc_size)?;
    Some(Extended::DescSize(DescSize { name, bytes }))
}

/// Whether group descriptors can have this size in bytes.
pub(super) fn is_desc_size(bytes: &u16) -> bool {
    bytes.is_power_of_two() && (64..=1024).contains(bytes)
}

/// `s_encoding` of the encoding called `name`.
pub(super) fn encoding(name: &str) -> Option<u16> {
    ["utf8-12.1", "utf8"].contains(&name).then_some(UTF8_12_1)
}

/// `s_encoding_flags` of words divided by `-`, or the first word where one is no flag: mke2fs tells
/// no more of them.
pub(super) fn read_encoding_flags(text: &str) -> Result<u16, String> {
    let mut flags = 0;
    for word in text.split('-').filter(|word| !word.is_empty()) {
        match word {
            "strict" => flags |= STRICT,
            "nostrict" => flags &= !STRICT,
            _ => {
                let mut words = text.split('-').filter(|word| !word.is_empty());
                return Err(words.next().unwrap_or_default().to_owned());
            }
        }
    }
    Ok(flags)
}

fn encoding_flags(value: &str) -> Result<Extended, ExtendedOptionError> {
    read_encoding_flags(value)
        .map(Extended::EncodingFlags)
        .map_err(ExtendedOptionError::EncodingFlag)
}

fn revision(value: &str) -> Result<Extended, ExtendedOptionError> {
    // The field has 32 bits, and what is above them is lost.
    let number =
        size::number(value).ok_or_else(|| ExtendedOptionError::Revision(value.to_owned()))?;
    match u32::try_from(number & 0xffff_ffff).unwrap_or_default() {
        revision @ 0..=1 => Ok(Extended::Revision(revision)),
        revision => Err(ExtendedOptionError::RevisionTooHigh(revision)),
    }
}

fn quota_types(value: &str) -> Result<Extended, ExtendedOptionError> {
    let mut types = QuotaTypes::NONE;
    for word in value.split([':', ',']).filter(|word| !word.is_empty()) {
        let taken = word.strip_prefix('^');
        let quota_type = match taken.unwrap_or(word) {
            "usr" | "usrquota" => QuotaType::User,
            "grp" | "grpquota" => QuotaType::Group,
            "prj" | "prjquota" => QuotaType::Project,
            _ => return Err(ExtendedOptionError::QuotaType(word.to_owned())),
        };
        types = match taken {
            Some(_) => types.without(quota_type),
            None => types.with(quota_type),
        };
    }
    Ok(Extended::QuotaTypes(types))
}

fn root_owner(value: Option<&str>) -> Option<Extended> {
    let Some(value) = value else {
        return Some(Extended::RootOwner(None));
    };
    let (uid, rest) = size::unsigned(value, 0);
    let gid = number(rest.strip_prefix(':')?)?;
    Some(Extended::RootOwner(Some((u32::try_from(uid).ok()?, gid))))
}

fn root_perms(value: Option<&str>) -> Option<Extended> {
    let Some(value) = value else {
        return Some(Extended::Nothing);
    };
    let perms = u16::try_from(size::unsigned(value, 8).0).ok()?;
    (perms <= 0o7777).then_some(Extended::RootPerms(perms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Extended, ExtendedOptionError> {
        parse(text).next().expect("there is a token")
    }

    #[test]
    fn an_empty_option_is_none_that_is_known() {
        let unknown = || Err(ExtendedOptionError::Unknown(String::new()));
        let discard = || Ok(Extended::Discard(true));
        for (text, options) in [
            ("", vec![]),
            (",", vec![unknown()]),
            ("discard,", vec![discard()]),
            (",discard", vec![unknown(), discard()]),
            ("discard,,discard", vec![discard(), unknown(), discard()]),
        ] {
            assert_eq!(parse(text).collect::<Vec<_>>(), options, "{text:?}");
        }
    }

    #[test]
    fn every_option_is_read() {
        let seed = "fedcba98-7654-4210-bedc-ba9876543210";
        let bytes = 0xfedc_ba98_7654_4210_bedc_ba98_7654_3210_u128.to_be_bytes();
        for (text, option) in [
            (
                "assume_storage_prezeroed",
                Extended::AssumeStoragePrezeroed(true),
            ),
            (
                "assume_storage_prezeroed=0",
                Extended::AssumeStoragePrezeroed(false),
            ),
            ("discard", Extended::Discard(true)),
            ("nodiscard", Extended::Discard(false)),
            (&format!("hash_seed={seed}"), Extended::HashSeed(bytes)),
            (
                "hash_seed=00000000-0000-0000-0000-000000000000",
                Extended::Nothing,
            ),
            ("lazy_itable_init", Extended::LazyItableInit(true)),
            ("lazy_itable_init=junk", Extended::LazyItableInit(false)),
            ("lazy_journal_init=1", Extended::LazyJournalInit(true)),
            ("no_copy_xattrs", Extended::NoCopyXattrs),
            ("num_backup_sb=1", Extended::NumBackupSb(1)),
            ("offset=0x100000", Extended::Offset(1 << 20)),
            (
                "orphan_file_size=64K",
                Extended::OrphanFileSize(Size::Kibibytes(64)),
            ),
            ("packed_meta_blocks=1", Extended::PackedMetaBlocks(true)),
            (
                "quotatype=usr:grpquota:^usrquota",
                Extended::QuotaTypes(QuotaTypes::NONE.with(QuotaType::Group)),
            ),
            ("mmp_update_interval=65541", Extended::MmpUpdateInterval(5)),
            ("encoding=utf8", Extended::Encoding(1)),
            ("encoding=utf8-12.1", Extended::Encoding(1)),
            ("encoding_flags=nostrict-strict", Extended::EncodingFlags(1)),
            ("revision=0", Extended::Revision(0)),
            ("test_fs", Extended::TestFs),
            (
                "desc-size=128",
                Extended::DescSize(DescSize {
                    name: "desc-size",
                    bytes: 128,
                }),
            ),
            ("resize=4G", Extended::Resize(Size::Kibibytes(4 << 20))),
            ("resize=70000", Extended::Resize(Size::Blocks(70000))),
            ("root_owner", Extended::RootOwner(None)),
            (
                "root_owner=1000:1001",
                Extended::RootOwner(Some((1000, 1001))),
            ),
            (
                "root_owner=4294967294:0",
                Extended::RootOwner(Some((4_294_967_294, 0))),
            ),
            ("root_perms=0700", Extended::RootPerms(0o700)),
            ("root_perms=1777", Extended::RootPerms(0o1777)),
            ("root_perms", Extended::Nothing),
            ("stride=16", Extended::Stride(16)),
            ("stripe_width=64", Extended::StripeWidth(64)),
            ("stripe-width=64", Extended::StripeWidth(64)),
        ] {
            assert_eq!(one(text), Ok(option), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for text in [
            "desc_size=32",
            "encoding=latin1",
            "hash_seed=zz",
            "num_backup_sb=3",
            "offset=1M",
            "orphan_file_size=b",
            "resize=1.5G",
            "root_owner=0",
            "root_owner=0:x",
            "root_owner=4294967296:0",
            "root_perms=77777",
            "stride=65536",
            "stripe_width=x",
        ] {
            let (name, value) = text.split_once('=').expect("it has a value");
            let value = value.to_owned();
            match one(text) {
                Err(ExtendedOptionError::Invalid {
                    name: named,
                    value: given,
                }) => {
                    assert_eq!((named, given), (name, value));
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(one("stride"), Err(ExtendedOptionError::NoValue("stride")));
        assert_eq!(
            one("foo=1"),
            Err(ExtendedOptionError::Unknown("foo".to_owned()))
        );
        let word = ExtendedOptionError::QuotaType("x".to_owned());
        assert_eq!(one("quotatype=usr:x"), Err(word));
    }
}
