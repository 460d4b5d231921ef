//! Given the attributes in which ids and permissions hide, gives them with others; never judges them.
//!
//! ACLs are in the form that `getxattr` gives (`include/uapi/linux/posix_acl_xattr.h`): a version,
//! then entries of a tag, permissions and an id. A capability of version 3 ends in the uid that is
//! root to it (`struct vfs_ns_cap_data`).

use crate::tree::Xattr;

/// The ACL that decides who may do what with a file.
const ACCESS: &[u8] = b"system.posix_acl_access";
/// The ACL that a directory gives to what is made in it.
const DEFAULT: &[u8] = b"system.posix_acl_default";
const CAPABILITY: &[u8] = b"security.capability";

const VERSION_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// A capability with the uid of its root, in bytes, and the place of that uid.
const CAPABILITY_BYTES: usize = 24;
const ROOT_ID_AT: usize = 20;

/// Changes the access ACL among `xattrs` as `chmod` does: it says the same as `permissions`.
pub(super) fn chmod(xattrs: &mut [Xattr], permissions: u16) {
    let acl = xattrs.iter_mut().find(|xattr| xattr.name == ACCESS);
    let Some(acl) = acl else {
        return;
    };
    let has_mask = entries(&mut acl.value).any(|entry| tag(entry) == MASK);
    for entry in entries(&mut acl.value) {
        let bits = match (tag(entry), has_mask) {
            (USER_OBJ, _) => permissions >> 6,
            (MASK, _) | (GROUP_OBJ, false) => permissions >> 3,
            (OTHER, _) => permissions,
            _ => continue,
        };
        entry[2..4].copy_from_slice(&(bits & 7).to_le_bytes());
    }
}

/// Changes the ids that an attribute holds, and says whether there was one to change.
pub(super) fn map_ids(
    xattr: &mut Xattr,
    mut uid: impl FnMut(u32) -> u32,
    mut gid: impl FnMut(u32) -> u32,
) {
    match xattr.name.as_slice() {
        ACCESS | DEFAULT => {
            for entry in entries(&mut xattr.value) {
                match tag(entry) {
                    USER => change(&mut entry[4..8], &mut uid),
                    GROUP => change(&mut entry[4..8], &mut gid),
                    _ => {}
                }
            }
            // Kernel and libacl write the entries of one tag by their ids.
            sort(&mut xattr.value);
        }
        CAPABILITY if xattr.value.len() == CAPABILITY_BYTES => {
            change(&mut xattr.value[ROOT_ID_AT..], &mut uid);
        }
        _ => {}
    }
}

fn entries(value: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let after_version = value.get_mut(VERSION_BYTES..).unwrap_or_default();
    after_version.chunks_exact_mut(ENTRY_BYTES)
}

fn tag(entry: &[u8]) -> u16 {
    u16::from_le_bytes([entry[0], entry[1]])
}

fn id(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn change(bytes: &mut [u8], map: &mut impl FnMut(u32) -> u32) {
    let changed = map(id(bytes));
    bytes.copy_from_slice(&changed.to_le_bytes());
}

fn sort(value: &mut [u8]) {
    let mut sorted: Vec<Vec<u8>> = entries(value).map(|entry| entry.to_vec()).collect();
    // In the order of tags they are already, or the value is none that the kernel takes.
    if sorted.is_sorted_by_key(|entry| tag(entry)) {
        sorted.sort_by_key(|entry| (tag(entry), id(&entry[4..8])));
        let pairs = entries(value).zip(&sorted);
        pairs.for_each(|(entry, from)| entry.copy_from_slice(from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<Xattr> {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        let name = ACCESS.to_vec();
        vec![Xattr { name, value }]
    }

    #[test]
    fn chmod_sets_the_mask_where_there_is_one() {
        let none = u32::MAX;
        let full = |user, group, mask, other| {
            acl(&[
                (USER_OBJ, user, none),
                (USER, 7, 5),
                (GROUP_OBJ, group, none),
                (MASK, mask, none),
                (OTHER, other, none),
            ])
        };
        let mut xattrs = full(7, 5, 7, 5);
        chmod(&mut xattrs, 0o640);
        assert_eq!(xattrs, full(6, 5, 4, 0));
        let small = |user, group, other| {
            acl(&[
                (USER_OBJ, user, none),
                (GROUP_OBJ, group, none),
                (OTHER, other, none),
            ])
        };
        let mut xattrs = small(7, 5, 5);
        chmod(&mut xattrs, 0o640);
        assert_eq!(xattrs, small(6, 4, 0));
        let mut torn = vec![Xattr {
            name: ACCESS.to_vec(),
            value: b"\x02\0".to_vec(),
        }];
        chmod(&mut torn, 0);
        assert_eq!(torn[0].value, b"\x02\0");
    }

    #[test]
    fn named_entries_and_the_root_of_capabilities_are_mapped() {
        let value = |a, b| acl(&[(USER_OBJ, 7, 1), (USER, 7, a), (USER, 1, b), (GROUP, 4, 9)]);
        let mut xattr = value(5, 6).remove(0);
        map_ids(&mut xattr, |uid| 10 - uid, |gid| gid + 1);
        let expected = acl(&[(USER_OBJ, 7, 1), (USER, 1, 4), (USER, 7, 5), (GROUP, 4, 10)]);
        assert_eq!(xattr, expected[0]);

        let mut xattr = Xattr {
            name: CAPABILITY.to_vec(),
            value: vec![1; CAPABILITY_BYTES],
        };
        map_ids(&mut xattr, |_| 0, |gid| gid);
        assert_eq!(xattr.value[ROOT_ID_AT..], [0; 4]);
        assert_eq!(xattr.value[..ROOT_ID_AT], [1; ROOT_ID_AT]);
    }
}
