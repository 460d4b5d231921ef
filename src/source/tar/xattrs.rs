//! Given how tar writes attributes and chattr flags, gives them as the kernel shows them; never
//! decides which of them a filesystem keeps.

/// The flags by the names that libarchive writes, two that only we write, and the bits of the kernel's
/// `Documentation/filesystems/ext4/inodes.rst`.
const FILE_FLAGS: [(&[u8], u32); 20] = [
    (b"secdel", 0x1),
    (b"securedeletion", 0x1),
    (b"undel", 0x2),
    (b"undelete", 0x2),
    (b"compress", 0x4),
    (b"sync", 0x8),
    (b"schg", 0x10),
    (b"schange", 0x10),
    (b"simmutable", 0x10),
    (b"sappnd", 0x20),
    (b"sappend", 0x20),
    (b"nodump", 0x40),
    (b"noatime", 0x80),
    (b"journal", 0x4000),
    (b"notail", 0x8000),
    (b"dirsync", 0x1_0000),
    (b"topdir", 0x2_0000),
    (b"dax", 0x200_0000),
    (b"projinherit", 0x2000_0000),
    (b"casefold", 0x4000_0000),
];

/// The flags of a list of names; what has no name here is a flag that ext4 has not.
pub(super) fn file_flags(text: &[u8]) -> u32 {
    text.split(|byte| *byte == b',')
        .filter_map(|name| FILE_FLAGS.iter().find(|(known, _)| *known == name))
        .fold(0, |flags, (_, bit)| flags | bit)
}

/// The name of an attribute as GNU tar writes it, which escapes `=` and its own escape.
pub(super) fn gnu_decoded(name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, behind)) = rest.split_first() {
        let byte;
        (byte, rest) = match rest {
            [b'%', b'3', b'D', behind @ ..] => (b'=', behind),
            [b'%', b'2', b'5', behind @ ..] => (b'%', behind),
            _ => (*first, behind),
        };
        decoded.push(byte);
    }
    decoded
}

/// `text` with every `%` and two hexadecimal digits made a byte.
pub(super) fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => *byte,
        };
        bytes.push(byte);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_percent_decoded() {
        let decoded = percent_decoded(b"user.a%20b%25%3d");
        assert_eq!(decoded.as_deref(), Some(&b"user.a b%="[..]));
        assert_eq!(percent_decoded(b"a%2"), None);
        assert_eq!(percent_decoded(b"a%zz"), None);
    }

    #[test]
    fn gnu_tar_escapes_two_bytes() {
        assert_eq!(gnu_decoded(b"user.a%3Db%253D%41"), b"user.a=b%3D%41");
    }

    #[test]
    fn flags_have_libarchives_names() {
        assert_eq!(file_flags(b"schg,nodump,opaque"), 0x50);
        assert_eq!(file_flags(b""), 0);
    }
}
