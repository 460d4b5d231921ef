//! Given an ACL as the kernel shows it, gives it as text; never the name of an owner.

use std::fmt::Write;

/// The version that begins the kernel's value (`POSIX_ACL_XATTR_VERSION`).
const VERSION: u32 = 2;

/// The key and the text of an ACL, if the extended attribute is one.
pub(super) fn of_attribute(name: &[u8], value: &[u8]) -> Option<(&'static [u8], String)> {
    let key = match name {
        b"system.posix_acl_access" => &b"SCHILY.acl.access"[..],
        b"system.posix_acl_default" => b"SCHILY.acl.default",
        _ => return None,
    };
    text(value).map(|text| (key, text))
}

/// Entries such as `user:1000:r--`, apart by commas.
pub(crate) fn text(value: &[u8]) -> Option<String> {
    let (version, rest) = value.split_first_chunk()?;
    let (entries, []) = rest.as_chunks::<8>() else {
        return None;
    };
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let mut text = String::new();
    for [tag_low, tag_high, low, high, id @ ..] in entries {
        let (tag, has_id) = match u16::from_le_bytes([*tag_low, *tag_high]) {
            0x1 => ("user", false),
            0x2 => ("user", true),
            0x4 => ("group", false),
            0x8 => ("group", true),
            0x10 => ("mask", false),
            0x20 => ("other", false),
            _ => return None,
        };
        let permissions = u16::from_le_bytes([*low, *high]);
        let letter = |bit, letter| if permissions & bit != 0 { letter } else { '-' };
        let comma = if text.is_empty() { "" } else { "," };
        let id = if has_id {
            u32::from_le_bytes(*id).to_string()
        } else {
            String::new()
        };
        let (r, w, x) = (letter(4, 'r'), letter(2, 'w'), letter(1, 'x'));
        write!(text, "{comma}{tag}:{id}:{r}{w}{x}").expect("writing to a string never fails");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_words() {
        let mut value = vec![2, 0, 0, 0];
        for (tag, permissions, id) in [
            (1_u16, 7_u16, u32::MAX),
            (2, 4, 1000),
            (4, 5, u32::MAX),
            (8, 6, 4_000_000_000),
            (16, 7, u32::MAX),
            (32, 0, u32::MAX),
        ] {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        let expected =
            "user::rwx,user:1000:r--,group::r-x,group:4000000000:rw-,mask::rwx,other::---";
        let found = of_attribute(b"system.posix_acl_default", &value);
        assert_eq!(
            found,
            Some((&b"SCHILY.acl.default"[..], expected.to_owned()))
        );
        assert_eq!(of_attribute(b"user.a", &value), None);
        value.push(0);
        assert_eq!(of_attribute(b"system.posix_acl_access", &value), None);
    }
}
