//! Given a POSIX ACL in one of its two forms, gives the other; never a decision on whether to store it.
//!
//! The value of the attributes `system.posix_acl_access` and `system.posix_acl_default`, as
//! programs see it, is a le32 version 2 and 8-byte entries: le16 tag, le16 permissions, le32 id.
//! ext4 stores version 1, and leaves the id out of every entry but those of named users and
//! groups (kernel: `ext4_acl_header`, `ext4_acl_entry_short`). Both directions accept what the
//! kernel's `posix_acl_valid` accepts and nothing else.

use std::fmt;

const VALUE_VERSION: u32 = 2;
const DISK_VERSION: u32 = 1;

/// The id a value has where none is meant: 32 bits of ones.
const NO_ID: u32 = u32::MAX;

const READ_WRITE_EXECUTE: u16 = 0o7;

/// Why bytes are not an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclError {
    /// The length in bytes does not divide into a header and entries.
    Length(usize),
    /// Another version than the form has.
    Version {
        /// The version found.
        found: u32,
        /// The version the form has.
        needed: u32,
    },
    /// A header without entries.
    Empty,
    /// A tag the format does not have.
    Tag(u16),
    /// Permission bits besides read, write and execute.
    Permissions(u16),
    /// A named user or group whose id is the one that stands for none.
    NoId(u16),
    /// An entry of this tag where it may not stand.
    Order(u16),
    /// The last entry is not the one for others, or named entries have no mask.
    Incomplete,
}

impl fmt::Display for AclError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(bytes) => {
                write!(
                    f,
                    "ACL of {bytes} bytes: must be a header of 4 bytes and whole entries"
                )
            }
            Self::Version { found, needed } => {
                write!(f, "ACL has version {found}, expected version {needed}")
            }
            Self::Empty => f.write_str(
                "ACL has no entries: must have the owner's, the group's and the others'",
            ),
            Self::Tag(tag) => write!(f, "ACL entry has the unknown tag {tag:#x}"),
            Self::Permissions(bits) => {
                write!(
                    f,
                    "ACL entry has permissions {bits:#o}: must be at most 0o7"
                )
            }
            Self::NoId(tag) => {
                write!(
                    f,
                    "ACL entry with tag {tag:#x} has no ID of a user or group"
                )
            }
            Self::Order(tag) => write!(
                f,
                "ACL entry with tag {tag:#x} is out of place; the order is owner, users, group, \
                 groups, mask, others"
            ),
            Self::Incomplete => {
                f.write_str("ACL has no entry for others, or no mask beside named entries")
            }
        }
    }
}

impl std::error::Error for AclError {}

/// What an access ACL says about `i_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessMode {
    /// The nine permission bits; those of the group are the mask's where there is one.
    pub bits: u16,
    /// Whether the bits say all that the ACL says: the kernel then stores no ACL.
    pub exact: bool,
}

/// Who an entry is for: the values of `e_tag`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Owner,
    User,
    OwningGroup,
    Group,
    Mask,
    Others,
}

impl Tag {
    fn from_number(number: u16) -> Result<Self, AclError> {
        match number {
            0x01 => Ok(Self::Owner),
            0x02 => Ok(Self::User),
            0x04 => Ok(Self::OwningGroup),
            0x08 => Ok(Self::Group),
            0x10 => Ok(Self::Mask),
            0x20 => Ok(Self::Others),
            unknown => Err(AclError::Tag(unknown)),
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::Owner => 0x01,
            Self::User => 0x02,
            Self::OwningGroup => 0x04,
            Self::Group => 0x08,
            Self::Mask => 0x10,
            Self::Others => 0x20,
        }
    }

    fn is_named(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }
}

#[derive(Clone, Copy)]
struct Entry {
    tag: Tag,
    permissions: u16,
    id: u32,
}

/// Converts an attribute's value to what ext4 stores for it.
///
/// # Errors
///
/// If the kernel would refuse to set the value, or, where it would take it for "no ACL", on a
/// header without entries.
///
/// ```
/// use mke4fs::raw::ondisk::acl::to_disk;
///
/// let value = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x04\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
/// assert_eq!(to_disk(value)?, b"\x01\0\0\0\x01\0\x06\0\x04\0\x04\0\x20\0\x04\0");
/// # Ok::<(), mke4fs::raw::ondisk::acl::AclError>(())
/// ```
pub fn to_disk(value: &[u8]) -> Result<Vec<u8>, AclError> {
    let entries = value_entries(value)?;
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    for entry in entries {
        disk.extend(entry.tag.number().to_le_bytes());
        disk.extend(entry.permissions.to_le_bytes());
        if entry.tag.is_named() {
            disk.extend(entry.id.to_le_bytes());
        }
    }
    Ok(disk)
}

/// Converts what ext4 stores to the attribute's value, as the kernel shows it.
///
/// # Errors
///
/// If the bytes are not a stored ACL that the kernel would accept.
pub fn from_disk(disk: &[u8]) -> Result<Vec<u8>, AclError> {
    let entries = disk_entries(disk)?;
    let mut value = VALUE_VERSION.to_le_bytes().to_vec();
    for entry in entries {
        value.extend(entry.tag.number().to_le_bytes());
        value.extend(entry.permissions.to_le_bytes());
        value.extend(
            if entry.tag.is_named() {
                entry.id
            } else {
                NO_ID
            }
            .to_le_bytes(),
        );
    }
    Ok(value)
}

/// What the value of `system.posix_acl_access` says about the permission bits of the mode.
///
/// # Errors
///
/// As [`to_disk`].
pub fn mode_of(value: &[u8]) -> Result<AccessMode, AclError> {
    let mut mode = AccessMode {
        bits: 0,
        exact: true,
    };
    for entry in value_entries(value)? {
        match entry.tag {
            Tag::Owner => mode.bits |= entry.permissions << 6,
            Tag::OwningGroup => mode.bits |= entry.permissions << 3,
            Tag::Others => mode.bits |= entry.permissions,
            Tag::User | Tag::Group => mode.exact = false,
            Tag::Mask => {
                mode.bits = mode.bits & !0o070 | entry.permissions << 3;
                mode.exact = false;
            }
        }
    }
    Ok(mode)
}

fn value_entries(value: &[u8]) -> Result<Vec<Entry>, AclError> {
    let entries = entries_after_version(value, VALUE_VERSION)?;
    let (entries, []) = entries.as_chunks::<8>() else {
        return Err(AclError::Length(value.len()));
    };
    let entries = entries.iter().map(|&[t0, t1, p0, p1, id @ ..]| {
        let tag = Tag::from_number(u16::from_le_bytes([t0, t1]))?;
        let permissions = u16::from_le_bytes([p0, p1]);
        Ok(Entry {
            tag,
            permissions,
            id: u32::from_le_bytes(id),
        })
    });
    valid(entries.collect::<Result<_, _>>()?)
}

fn disk_entries(disk: &[u8]) -> Result<Vec<Entry>, AclError> {
    let mut rest = entries_after_version(disk, DISK_VERSION)?;
    let mut entries = Vec::new();
    while let Some((&[t0, t1, p0, p1], after)) = rest.split_first_chunk() {
        let tag = Tag::from_number(u16::from_le_bytes([t0, t1]))?;
        let permissions = u16::from_le_bytes([p0, p1]);
        let mut id = NO_ID;
        rest = after;
        if tag.is_named() {
            let (&bytes, after) = after
                .split_first_chunk()
                .ok_or(AclError::Length(disk.len()))?;
            id = u32::from_le_bytes(bytes);
            rest = after;
        }
        entries.push(Entry {
            tag,
            permissions,
            id,
        });
    }
    if rest.is_empty() {
        valid(entries)
    } else {
        Err(AclError::Length(disk.len()))
    }
}

fn entries_after_version(bytes: &[u8], needed: u32) -> Result<&[u8], AclError> {
    let (&version, entries) = bytes
        .split_first_chunk()
        .ok_or(AclError::Length(bytes.len()))?;
    match u32::from_le_bytes(version) {
        found if found == needed => Ok(entries),
        found => Err(AclError::Version { found, needed }),
    }
}

/// The kernel's rules (`posix_acl_valid`): a fixed order of tags, and a mask where somebody is
/// named. Ids may repeat and need no order.
fn valid(entries: Vec<Entry>) -> Result<Vec<Entry>, AclError> {
    if entries.is_empty() {
        return Err(AclError::Empty);
    }
    let mut before = None;
    let mut named = false;
    for entry in &entries {
        if entry.permissions & !READ_WRITE_EXECUTE != 0 {
            return Err(AclError::Permissions(entry.permissions));
        }
        if entry.tag.is_named() && entry.id == NO_ID {
            return Err(AclError::NoId(entry.tag.number()));
        }
        named |= entry.tag.is_named();
        match (before, entry.tag) {
            (None, Tag::Owner)
            | (Some(Tag::Owner | Tag::User), Tag::User | Tag::OwningGroup)
            | (Some(Tag::OwningGroup | Tag::Group), Tag::Group | Tag::Mask)
            | (Some(Tag::Mask), Tag::Others) => {}
            (Some(Tag::OwningGroup | Tag::Group), Tag::Others) if named => {
                return Err(AclError::Incomplete);
            }
            (Some(Tag::OwningGroup), Tag::Others) => {}
            (_, tag) => return Err(AclError::Order(tag.number())),
        }
        before = Some(entry.tag);
    }
    if before == Some(Tag::Others) {
        Ok(entries)
    } else {
        Err(AclError::Incomplete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ondisk::fixture::from_hex;

    const FIXTURE: &str = include_str!("../../fixtures/ondisk/acl.txt");

    /// The fixture's lines that begin with `word`, split into what follows it.
    fn lines(word: &str) -> Vec<Vec<&'static str>> {
        let split = FIXTURE.lines().map(|line| line.split(' '));
        let mut lines = Vec::new();
        for mut fields in split {
            if fields.next() == Some(word) {
                lines.push(fields.collect());
            }
        }
        assert!(!lines.is_empty(), "the fixture has no line with {word}");
        lines
    }

    fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = VALUE_VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    #[test]
    fn the_order_of_tags_is_the_kernels() {
        let accepted = lines("order").into_iter().map(|tags| tags.join(" "));
        let accepted: Vec<String> = accepted.collect();
        let mut sequences = vec![Vec::new()];
        let mut ours = Vec::new();
        for _ in 0..5 {
            let longer = sequences.iter().flat_map(|sequence: &Vec<u16>| {
                [0x01, 0x02, 0x04, 0x08, 0x10, 0x20]
                    .map(|tag| sequence.iter().copied().chain([tag]).collect::<Vec<u16>>())
            });
            sequences = longer.collect();
            for sequence in &sequences {
                let entries: Vec<_> = sequence.iter().map(|&tag| (tag, 4, 7)).collect();
                if to_disk(&value(&entries)).is_ok() {
                    ours.push(
                        sequence
                            .iter()
                            .map(u16::to_string)
                            .collect::<Vec<_>>()
                            .join(" "),
                    );
                }
            }
        }
        assert_eq!(ours, accepted);
    }

    #[test]
    fn odd_values_are_judged_as_the_kernel_does() {
        for (word, acceptable) in [("yes", true), ("no", false)] {
            for fields in lines(word) {
                assert_eq!(
                    to_disk(&from_hex(fields[0])).is_ok(),
                    acceptable,
                    "{}",
                    fields[0]
                );
            }
        }
    }

    #[test]
    fn forms_and_modes_are_the_kernels() {
        for fields in lines("stored") {
            let [shown, disk, mode, exact] = fields[..] else {
                panic!("four fields: {fields:?}")
            };
            let (shown, disk) = (from_hex(shown), from_hex(disk));
            assert_eq!(to_disk(&shown), Ok(disk.clone()));
            assert_eq!(from_disk(&disk), Ok(shown.clone()));
            let bits = u16::from_str_radix(mode, 8).expect("an octal mode");
            assert_eq!(
                mode_of(&shown),
                Ok(AccessMode {
                    bits,
                    exact: exact == "exact"
                })
            );
            // Others come last, so nothing shorter is an ACL.
            for end in 0..disk.len() {
                assert!(from_disk(&disk[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let entries = [(0x01, 7, NO_ID), (0x04, 5, NO_ID), (0x20, 5, NO_ID)];
        let with = |at: usize, entry| {
            let mut entries = entries;
            entries[at] = entry;
            to_disk(&value(&entries))
        };
        assert_eq!(to_disk(b"\x02\0\0"), Err(AclError::Length(3)));
        assert_eq!(to_disk(b"\x02\0\0\0\0"), Err(AclError::Length(5)));
        assert_eq!(to_disk(b"\x02\0\0\0"), Err(AclError::Empty));
        assert_eq!(
            to_disk(b"\x01\0\0\0"),
            Err(AclError::Version {
                found: 1,
                needed: 2
            })
        );
        assert_eq!(
            from_disk(b"\x02\0\0\0"),
            Err(AclError::Version {
                found: 2,
                needed: 1
            })
        );
        assert_eq!(with(1, (0x40, 5, NO_ID)), Err(AclError::Tag(0x40)));
        assert_eq!(with(1, (0x04, 8, NO_ID)), Err(AclError::Permissions(8)));
        assert_eq!(with(1, (0x02, 5, NO_ID)), Err(AclError::NoId(2)));
        assert_eq!(with(0, (0x04, 5, NO_ID)), Err(AclError::Order(4)));
        assert_eq!(to_disk(&value(&entries[..2])), Err(AclError::Incomplete));
        assert_eq!(
            with(1, (0x04, 5, 9)),
            with(1, (0x04, 5, NO_ID)),
            "ids without a name are noise"
        );
    }
}
