//! Given a POSIX ACL as text or as the kernel shows it, gives its entries and the kernel's value;
//! never the name of an owner on the host.

/// The attribute that an access ACL is.
pub(in crate::source) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute that a directory's default ACL is.
pub(in crate::source) const DEFAULT: &[u8] = b"system.posix_acl_default";
/// The version that begins the kernel's value (`POSIX_ACL_XATTR_VERSION`).
const VERSION: u32 = 2;
/// The id of an entry that has none (`ACL_UNDEFINED_ID`).
const NO_ID: u32 = u32::MAX;

/// Whom an entry speaks of, in the order and with the numbers of the kernel's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Owner,
    User,
    OwningGroup,
    Group,
    Mask,
    Other,
}

const TAGS: [(Tag, u16); 6] = [
    (Tag::Owner, 1),
    (Tag::User, 2),
    (Tag::OwningGroup, 4),
    (Tag::Group, 8),
    (Tag::Mask, 16),
    (Tag::Other, 32),
];

/// The number of a user or group, or a name that stands for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Number(u32),
    Name(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    tag: Tag,
    id: Id,
    /// Read, write and execute, as in a mode.
    permissions: u16,
}

/// A POSIX ACL that is whole: the three entries of a mode, and a mask where anyone is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) struct Acl {
    entries: Vec<Entry>,
}

/// A name that somebody has to know the number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Named<'a> {
    User(&'a [u8]),
    Group(&'a [u8]),
}

impl Acl {
    /// The ACL of a text such as `user::rw-,user:1000:r--,…`, its entries apart by commas or newlines.
    /// A fourth part is the number that goes with a name.
    ///
    /// # Errors
    /// The entry that is none, or the text where entries are missing or stand twice.
    pub(in crate::source) fn from_text(text: &[u8]) -> Result<Self, Vec<u8>> {
        let entries = text
            .split(|byte| matches!(byte, b',' | b'\n'))
            .map(<[u8]>::trim_ascii)
            .filter(|entry| !entry.is_empty() && !entry.starts_with(b"#"))
            .map(|entry| text_entry(entry).ok_or_else(|| entry.to_vec()))
            .collect::<Result<_, _>>()?;
        Self::of(entries).ok_or_else(|| text.to_vec())
    }

    /// The ACL of the value that `getxattr` gives.
    pub(in crate::source) fn from_value(value: &[u8]) -> Option<Self> {
        let (version, rest) = value.split_first_chunk()?;
        if u32::from_le_bytes(*version) != VERSION || rest.len() % 8 != 0 {
            return None;
        }
        let entries = rest.chunks_exact(8).map(|entry| {
            let number = u16::from_le_bytes([entry[0], entry[1]]);
            let (tag, _) = TAGS.iter().find(|(_, known)| *known == number)?;
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            Some(Entry {
                tag: *tag,
                id: Id::Number(match tag {
                    Tag::User | Tag::Group => id,
                    _ => NO_ID,
                }),
                permissions: u16::from_le_bytes([entry[2], entry[3]]),
            })
        });
        Self::of(entries.collect::<Option<_>>()?)
    }

    fn of(mut entries: Vec<Entry>) -> Option<Self> {
        entries.sort();
        let twice = |pair: &[Entry]| (pair[0].tag, &pair[0].id) == (pair[1].tag, &pair[1].id);
        let has = |tag| entries.iter().any(|entry| entry.tag == tag);
        let named = has(Tag::User) || has(Tag::Group);
        let whole = [Tag::Owner, Tag::OwningGroup, Tag::Other]
            .into_iter()
            .all(has);
        let sound = entries.iter().all(|entry| entry.permissions <= 7);
        let valid = whole && sound && (!named || has(Tag::Mask)) && !entries.windows(2).any(twice);
        valid.then_some(Self { entries })
    }

    /// `mode` as the kernel makes it when a file gets this ACL: the group's bits are the mask's.
    pub(in crate::source) fn mode(&self, mode: u16) -> u16 {
        let of = |tag| {
            let found = self.entries.iter().find(|entry| entry.tag == tag);
            found.map(|entry| entry.permissions)
        };
        let group = of(Tag::Mask).or(of(Tag::OwningGroup)).unwrap_or(0);
        let bits = of(Tag::Owner).unwrap_or(0) << 6 | group << 3 | of(Tag::Other).unwrap_or(0);
        mode & !0o777 | bits
    }

    /// Whether a mode says as much.
    pub(in crate::source) fn is_mode(&self) -> bool {
        self.entries.len() == 3
    }

    /// The names that stand for numbers.
    pub(in crate::source) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter_map(|entry| match &entry.id {
            Id::Name(name) => Some(&name[..]),
            Id::Number(_) => None,
        })
    }

    /// The same without the entries of names that `knows` denies; says whether there were such.
    pub(in crate::source) fn without_unknown(
        &self,
        knows: impl Fn(Named<'_>) -> bool,
    ) -> (Self, bool) {
        let is_known = |entry: &&Entry| match (&entry.id, entry.tag) {
            (Id::Number(_), _) => true,
            (Id::Name(name), Tag::Group) => knows(Named::Group(name)),
            (Id::Name(name), _) => knows(Named::User(name)),
        };
        let entries: Vec<Entry> = self.entries.iter().filter(is_known).cloned().collect();
        let has_lost = entries.len() < self.entries.len();
        (Self { entries }, has_lost)
    }

    /// The value that `getxattr` gives, where every name has a number: `number` says which.
    ///
    /// # Errors
    /// The name that has none.
    pub(in crate::source) fn value(
        &self,
        number: impl Fn(Named<'_>) -> Option<u32>,
    ) -> Result<Vec<u8>, Vec<u8>> {
        let mut numbered = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let id = match (&entry.id, entry.tag) {
                (Id::Number(id), _) => *id,
                (Id::Name(name), Tag::Group) => {
                    number(Named::Group(name)).ok_or_else(|| name.clone())?
                }
                (Id::Name(name), _) => number(Named::User(name)).ok_or_else(|| name.clone())?,
            };
            numbered.push((entry.tag, id, entry.permissions));
        }
        numbered.sort_unstable();
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, id, permissions) in numbered {
            let number = TAGS.iter().find(|(known, _)| *known == tag);
            value.extend(number.map_or(0, |(_, number)| *number).to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        Ok(value)
    }
}

fn text_entry(text: &[u8]) -> Option<Entry> {
    // Some write before each entry of a default ACL that it is one.
    let text = text.strip_prefix(b"default:").unwrap_or(text);
    let mut parts = text.split(|byte| *byte == b':').map(<[u8]>::trim_ascii);
    let (kind, mut name) = (parts.next()?, parts.next()?);
    let (mut permissions, extra) = (parts.next(), parts.next());
    let (own, named) = match kind {
        b"user" | b"u" => (Tag::Owner, Tag::User),
        b"group" | b"g" => (Tag::OwningGroup, Tag::Group),
        b"mask" | b"m" => (Tag::Mask, Tag::Mask),
        b"other" | b"o" => (Tag::Other, Tag::Other),
        _ => return None,
    };
    if own == named {
        // These may leave out the name that they never have.
        if permissions.is_none() {
            permissions = Some(std::mem::take(&mut name));
        }
        if !name.is_empty() {
            return None;
        }
    }
    if parts.next().is_some() {
        return None;
    }
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u32>().ok();
    let (tag, id) = match (name, extra) {
        (b"", None) => (own, Id::Number(NO_ID)),
        (b"", Some(_)) => return None,
        (_, Some(digits)) => (named, Id::Number(number(digits)?)),
        (name, None) => match number(name) {
            Some(id) => (named, Id::Number(id)),
            None => (named, Id::Name(name.to_vec())),
        },
    };
    if id == Id::Number(NO_ID) && tag == named && own != named {
        return None;
    }
    Some(Entry {
        tag,
        id,
        permissions: text_permissions(permissions?)?,
    })
}

fn text_permissions(text: &[u8]) -> Option<u16> {
    if text.is_empty() || text.len() > 3 {
        return None;
    }
    text.iter().try_fold(0, |bits, letter| {
        let bit = match letter {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return None,
        };
        (bit == 0 || bits & bit == 0).then_some(bits | bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_kernels_value() {
        let text = b"user::rw-\ngroup:adm:r--:4,user:1000:rwx\nmask::rwx\ngroup::r--\nother::---\n";
        let acl = Acl::from_text(text).unwrap();
        assert_eq!(acl.mode(0o4644), 0o4670);
        assert!(!acl.is_mode());
        let value = acl.value(|_| None).unwrap();
        let mut expected = vec![2, 0, 0, 0];
        for (tag, permissions, id) in [
            (1, 6, NO_ID),
            (2, 7, 1000),
            (4, 4, NO_ID),
            (8, 4, 4),
            (16, 7, NO_ID),
            (32, 0, NO_ID),
        ] {
            expected.extend([tag, 0, permissions, 0]);
            expected.extend(id.to_le_bytes());
        }
        assert_eq!(value, expected);
        assert_eq!(Acl::from_value(&value), Some(acl));
    }

    #[test]
    fn names_get_their_numbers_from_who_knows() {
        let acl = Acl::from_text(b"u::rwx,u:b:r,u:a:w,g::r,m:rwx,o::-").unwrap();
        let value = acl.value(|named| match named {
            Named::User(b"a") => Some(9),
            Named::User(b"b") => Some(3),
            _ => None,
        });
        let ids: Vec<u8> = value.unwrap()[4..]
            .chunks(8)
            .map(|entry| entry[4])
            .collect();
        assert_eq!(ids, [255, 3, 9, 255, 255, 255]);
        assert_eq!(acl.value(|_| None), Err(b"a".to_vec()));
    }

    #[test]
    fn what_is_no_acl_is_refused() {
        for text in [
            &b""[..],
            b"user::rw-",
            b"user::rw-,group::r--",
            b"user::rw-,group::r--,other::r--,user:5:r--",
            b"user::rw-,user::rw-,group::r--,other::r--",
            b"user::rw-,group::r--,other::r--,mask::r--,user:5:r--,user:5:rw-",
            b"user::rwz,group::r--,other::r--",
            b"user::rrr,group::r--,other::r--",
            b"user::,group::r--,other::r--",
            b"owner::rw-,group::r--,other::r--",
            b"user::rw-,group::r--,other:5:r--",
            b"user::rw-,group::r--,other::r--,mask::r--,user:a:r--:b",
            b"user::rw-,group::r--,other::r--,mask::r--,user:4294967295:r--",
            b"user::rw-,group::r--,other::r--,mask::r--,user:1:r--:1:1",
        ] {
            assert!(Acl::from_text(text).is_err(), "{}", text.escape_ascii());
        }
        for value in [
            &b""[..],
            b"\x02\0\0\0",
            b"\x01\0\0\0",
            b"\x02\0\0\0\x01\0\x07",
        ] {
            assert_eq!(Acl::from_value(value), None);
        }
    }
}
