//! Given the attributes of one node, gives them in the form that is stored, and which go into the inode and
//! which into a block; never where that block is.

use std::fmt;
use std::sync::Arc;

use crate::feature::Feature;
use crate::ondisk::acl::{self, AclError};
use crate::ondisk::inode::{EXTRA_ISIZE, GOOD_OLD_SIZE};
use crate::ondisk::xattr::{Value, XattrEntry, block_size_needed, ibody_size, split_name};
use crate::options::Settings;
use crate::tree::Xattr;
use crate::units::Readable;

/// The longest value that the kernel takes, in bytes: `XATTR_SIZE_MAX`.
const VALUE_MAX: usize = 65536;

/// The indices of names that the kernel shows nobody: `system.` but for ACLs, among which the filesystem keeps
/// what is inline, and `system.richacl` (`ext4_xattr_handler_map`).
const UNSEEN: [u8; 2] = [7, 8];

/// An attribute in the form that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredXattr {
    name_index: u8,
    name: Arc<[u8]>,
    pub(super) value: Arc<[u8]>,
    /// The inode that holds the value and the value's hash, if it does not lie beside the entry.
    pub(super) elsewhere: Option<(u32, u32)>,
}

impl StoredXattr {
    /// The entry to render.
    pub fn entry(&self) -> XattrEntry<'_> {
        XattrEntry {
            name_index: self.name_index,
            name: &self.name,
            value: match self.elsewhere {
                None => Value::Inline(&self.value),
                Some((ino, hash)) => Value::Inode {
                    ino,
                    size: u32::try_from(self.value.len()).unwrap_or(u32::MAX),
                    hash,
                },
            },
        }
    }
}

/// The bytes there are for the attributes of one inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct XattrSpace {
    /// In the inode.
    pub(super) inode: usize,
    /// In a block.
    pub(super) block: usize,
    /// In a cluster: what a value of its own inode takes is whole ones.
    pub(super) cluster: usize,
    /// Whether values may have inodes of their own.
    pub(super) has_value_inodes: bool,
}

impl XattrSpace {
    pub(super) fn new(settings: &Settings) -> Self {
        let fields = GOOD_OLD_SIZE + usize::from(EXTRA_ISIZE);
        Self {
            inode: usize::from(settings.inode_size).saturating_sub(fields),
            block: settings.block_size.bytes_usize(),
            cluster: settings.block_size.bytes_usize() << settings.log_cluster_ratio,
            has_value_inodes: settings.features.has(Feature::EaInode),
        }
    }
}

/// Where the attributes of a set go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// Those in the inode, by their places in the set.
    pub(super) inode: Vec<usize>,
    /// Those in a block.
    pub(super) block: Vec<usize>,
    /// Those among both whose values have inodes of their own.
    pub(super) elsewhere: Vec<usize>,
    /// The bytes of each of these values.
    pub(super) value_bytes: Vec<usize>,
}

impl Split {
    /// Whether values have inodes of their own and there is no attribute block.
    pub(super) fn has_values_without_block(&self) -> bool {
        self.block.is_empty() && !self.elsewhere.is_empty()
    }

    /// How many blocks and inodes it takes.
    pub(super) fn cost(&self, room: &XattrSpace) -> u64 {
        let values = self.value_bytes.iter();
        let values: usize = values.map(|bytes| 1 + bytes.div_ceil(room.block)).sum();
        u64::from(!self.block.is_empty()) + u64::try_from(values).unwrap_or(u64::MAX)
    }
}

/// Why an attribute cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XattrFault {
    /// A name in no namespace that ext4 knows, or too long.
    Name(Vec<u8>),
    /// A value longer than any.
    Value {
        /// The attribute's name.
        name: Vec<u8>,
        /// The value's length in bytes.
        length: usize,
    },
    /// An ACL that is none.
    Acl {
        /// The attribute's name.
        name: Vec<u8>,
        /// Why.
        error: AclError,
    },
    /// More than inode and block hold.
    Space {
        /// The bytes of a block needed for what does not fit the inode.
        needed: usize,
        /// The block's bytes.
        block: usize,
    },
}

impl fmt::Display for XattrFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "ext4 cannot store an extended attribute called \"{}\"",
                Readable(name)
            ),
            Self::Value { name, length } => write!(
                f,
                "the extended attribute \"{}\" has {length} bytes; at most {VALUE_MAX} can be stored",
                Readable(name)
            ),
            Self::Acl { name, error } => {
                write!(
                    f,
                    "extended attribute \"{}\" is not a valid ACL: {error}",
                    Readable(name)
                )
            }
            Self::Space { needed, block } => write!(
                f,
                "its extended attributes need a block of {needed} bytes beside the inode; a block has {block}"
            ),
        }
    }
}

/// Splits a set into what goes into the inode and what into a block, with as few values in inodes
/// of their own as the block allows.
pub(super) fn split(room: &XattrSpace, set: &[StoredXattr]) -> Result<Split, XattrFault> {
    let mut elsewhere = Vec::new();
    loop {
        let bytes = |at: usize| {
            if elsewhere.contains(&at) {
                set[at].entry().stored_bytes() - set[at].value.len().next_multiple_of(4)
            } else {
                set[at].entry().stored_bytes()
            }
        };
        let (inode, block) = share_out(room.inode, set.len(), bytes);
        let needed = block_size_needed(&[]) + block.iter().map(|at| bytes(*at)).sum::<usize>();
        if block.is_empty() || needed <= room.block {
            let value_bytes = elsewhere.iter().map(|at| set[*at].value.len()).collect();
            return Ok(Split {
                inode,
                block,
                elsewhere,
                value_bytes,
            });
        }
        let movable = block.into_iter().filter(|at| {
            room.has_value_inodes && !elsewhere.contains(at) && !set[*at].value.is_empty()
        });
        match movable.max_by_key(|at| (set[*at].value.len(), std::cmp::Reverse(*at))) {
            Some(largest) => elsewhere.push(largest),
            None => {
                return Err(XattrFault::Space {
                    needed,
                    block: room.block,
                });
            }
        }
    }
}

/// Deals `count` attributes of the given sizes to an inode with `room` bytes, the largest first,
/// and to a block.
fn share_out(
    room: usize,
    count: usize,
    bytes: impl Fn(usize) -> usize,
) -> (Vec<usize>, Vec<usize>) {
    let mut by_size: Vec<usize> = (0..count).collect();
    by_size.sort_by_key(|at| std::cmp::Reverse(bytes(*at)));
    // What a list takes that holds nothing but an entry's header, less that.
    let nothing = XattrEntry {
        name_index: 0,
        name: &[],
        value: Value::Inline(&[]),
    };
    let list_bytes = ibody_size(&[nothing]) - nothing.stored_bytes();
    let mut left = room.saturating_sub(list_bytes);
    let mut in_inode = vec![false; count];
    for at in by_size {
        if let Some(rest) = left.checked_sub(bytes(at)) {
            left = rest;
            in_inode[at] = true;
        }
    }
    (0..count).partition(|at| in_inode[*at])
}

/// `xattr` in the form that is stored: its name split, an ACL in ext4's own form.
pub(super) fn store(xattr: &Xattr) -> Result<StoredXattr, XattrFault> {
    let split = split_name(&xattr.name).filter(|(index, _)| !UNSEEN.contains(index));
    let (name_index, suffix) = split.ok_or_else(|| XattrFault::Name(xattr.name.clone()))?;
    if xattr.value.len() > VALUE_MAX {
        return Err(XattrFault::Value {
            name: xattr.name.clone(),
            length: xattr.value.len(),
        });
    }
    let is_acl = matches!(
        &xattr.name[..],
        b"system.posix_acl_access" | b"system.posix_acl_default"
    );
    let value = if is_acl {
        acl::to_disk(&xattr.value).map_err(|error| XattrFault::Acl {
            name: xattr.name.clone(),
            error,
        })?
    } else {
        xattr.value.clone()
    };
    Ok(StoredXattr {
        name_index,
        name: suffix.into(),
        value: value.into(),
        elsewhere: None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::layout) fn xattr(name: &str, bytes: usize) -> StoredXattr {
        store(&Xattr {
            name: name.into(),
            value: vec![7; bytes],
        })
        .expect("tests store what can be stored")
    }

    pub(in crate::layout) fn room(inode: usize) -> XattrSpace {
        XattrSpace {
            inode,
            block: 1024,
            cluster: 1024,
            has_value_inodes: false,
        }
    }

    #[test]
    fn what_fits_goes_into_the_inode() {
        let set = [xattr("user.a", 8), xattr("user.b", 8)];
        let found = split(&room(96), &set).unwrap();
        assert_eq!((found.inode.len(), found.block.len()), (2, 0));
        // Each takes 20 bytes and 8, and the list 8.
        let found = split(&room(64), &set).unwrap();
        assert_eq!((found.inode.len(), found.block.len()), (2, 0));
        let found = split(&room(63), &set).unwrap();
        assert_eq!((found.inode.len(), found.block.len()), (1, 1));
    }

    #[test]
    fn the_largest_that_fits_goes_into_the_inode_and_the_rest_into_a_block() {
        let set = [
            xattr("user.a", 40),
            xattr("user.b", 48),
            xattr("user.c", 500),
        ];
        let found = split(&room(96), &set).unwrap();
        assert_eq!((found.inode, found.block), (vec![1], vec![0, 2]));
        let found = split(&room(0), &set).unwrap();
        assert_eq!((found.inode, found.block), (vec![], vec![0, 1, 2]));
    }

    #[test]
    fn what_fits_nowhere_is_refused() {
        let set = [xattr("user.a", 600), xattr("user.b", 600)];
        assert!(matches!(
            split(&room(96), &set),
            Err(XattrFault::Space { block: 1024, .. })
        ));
        let unknown = ["nowhere.a", "system.data", "system.a", "system.richacl"];
        for name in unknown.map(|name| name.as_bytes().to_vec()) {
            let nowhere = Xattr {
                name: name.clone(),
                value: Vec::new(),
            };
            assert_eq!(store(&nowhere), Err(XattrFault::Name(name)));
        }
    }

    #[test]
    fn the_largest_values_go_into_inodes_of_their_own() {
        let room = XattrSpace {
            has_value_inodes: true,
            ..room(96)
        };
        let set = [
            xattr("user.a", 600),
            xattr("user.b", 65536),
            xattr("user.c", 601),
            xattr("user.d", 0),
        ];
        let found = split(&room, &set).unwrap();
        assert_eq!(found.elsewhere, [1, 2]);
        assert_eq!(found.value_bytes, [65536, 601]);
        assert_eq!((found.inode, found.block), (vec![1, 2, 3], vec![0]));
    }
}
