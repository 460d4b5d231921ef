//! Given the tree's sets of attributes, decides which go into inodes and which into blocks.
//!
//! A set goes into the inode if it fits there. Otherwise the largest attributes that fit go there
//! and the rest into one block; inodes with equal blocks share one, as the kernel would let them.

use std::collections::HashMap;
use std::fmt;

use super::{LayoutError, Owner};
use crate::layout::Ledger;
use crate::ondisk::acl::{self, AclError};
use crate::ondisk::inode::{EXTRA_ISIZE, GOOD_OLD_SIZE};
use crate::ondisk::xattr::{
    REFCOUNT_MAX, Value, XattrEntry, block_size_needed, ibody_size, split_name,
};
use crate::options::Settings;
use crate::tree::{Tree, Xattr, XattrSetId};
use crate::units::{Block, Run};

/// The longest value that the kernel takes, in bytes: `XATTR_SIZE_MAX`.
const VALUE_MAX: usize = 65536;

/// An attribute in the form that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredXattr {
    name_index: u8,
    name: Box<[u8]>,
    value: Box<[u8]>,
}

impl StoredXattr {
    /// The entry to render.
    pub fn entry(&self) -> XattrEntry<'_> {
        XattrEntry {
            name_index: self.name_index,
            name: &self.name,
            value: Value::Inline(&self.value),
        }
    }
}

/// Where the attributes of one set go.
#[derive(Clone, Debug, Default)]
pub struct XattrPlan {
    /// Into the inode.
    pub inode: Box<[StoredXattr]>,
    /// Into a block, by its place in the list of distinct blocks.
    block: Option<usize>,
}

/// An attribute block in the image.
#[derive(Clone, Copy, Debug)]
struct PlacedBlock {
    content: usize,
    place: Block,
    refcount: u32,
}

/// Where all attributes go.
#[derive(Clone, Debug, Default)]
pub struct XattrPlans {
    /// By set.
    plans: Vec<XattrPlan>,
    /// Distinct contents of blocks.
    contents: Vec<Box<[StoredXattr]>>,
    /// For each content, the block that takes the next inode.
    current: Vec<Option<u32>>,
    placed: Vec<PlacedBlock>,
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
                name.escape_ascii()
            ),
            Self::Value { name, length } => write!(
                f,
                "the extended attribute \"{}\" has {length} bytes; at most {VALUE_MAX} can be stored",
                name.escape_ascii()
            ),
            Self::Acl { name, error } => {
                write!(f, "\"{}\" is no ACL: {error}", name.escape_ascii())
            }
            Self::Space { needed, block } => write!(
                f,
                "its extended attributes need a block of {needed} bytes beside the inode; a block has {block}"
            ),
        }
    }
}

/// Plans every set of `tree`.
pub(super) fn plan(settings: &Settings, tree: &Tree) -> Result<XattrPlans, LayoutError> {
    let inode_space =
        usize::from(settings.inode_size).saturating_sub(GOOD_OLD_SIZE + usize::from(EXTRA_ISIZE));
    let block_space = settings.block_size.bytes_usize();
    let mut plans = XattrPlans::default();
    let mut known: HashMap<Box<[StoredXattr]>, usize> = HashMap::new();
    for id in tree.xattr_set_ids() {
        let (inode, block) = split(tree.xattrs(id), inode_space, block_space)
            .map_err(|fault| blame(tree, id, fault))?;
        let block = (!block.is_empty()).then(|| {
            let next = plans.contents.len();
            *known.entry(block.clone()).or_insert_with(|| {
                plans.contents.push(block);
                next
            })
        });
        plans.plans.push(XattrPlan { inode, block });
    }
    plans.current = vec![None; plans.contents.len()];
    Ok(plans)
}

fn blame(tree: &Tree, id: XattrSetId, fault: XattrFault) -> LayoutError {
    let owner = tree.nodes().find(|(_, node)| node.xattrs == id);
    let path = owner.map_or_else(Vec::new, |(node, _)| tree.path(node));
    LayoutError::Xattr { path, fault }
}

type Split = (Box<[StoredXattr]>, Box<[StoredXattr]>);

/// Splits a set into what goes into the inode and what into a block.
fn split(set: &[Xattr], inode_space: usize, block_space: usize) -> Result<Split, XattrFault> {
    let stored = set.iter().map(store).collect::<Result<Vec<_>, _>>()?;
    let size = |kept: &[&StoredXattr]| {
        ibody_size(&kept.iter().map(|xattr| xattr.entry()).collect::<Vec<_>>())
    };
    let mut by_size: Vec<usize> = (0..stored.len()).collect();
    by_size.sort_by_key(|at| std::cmp::Reverse(size(&[&stored[*at]])));
    let mut in_inode = vec![false; stored.len()];
    for at in by_size {
        in_inode[at] = true;
        let kept: Vec<&StoredXattr> = chosen(&stored, &in_inode, true).collect();
        if size(&kept) > inode_space {
            in_inode[at] = false;
        }
    }
    let inode: Box<[StoredXattr]> = chosen(&stored, &in_inode, true).cloned().collect();
    let block: Box<[StoredXattr]> = chosen(&stored, &in_inode, false).cloned().collect();
    let entries: Vec<XattrEntry<'_>> = block.iter().map(StoredXattr::entry).collect();
    let needed = block_size_needed(&entries);
    if !block.is_empty() && needed > block_space {
        return Err(XattrFault::Space {
            needed,
            block: block_space,
        });
    }
    Ok((inode, block))
}

fn chosen<'a>(
    stored: &'a [StoredXattr],
    in_inode: &'a [bool],
    wanted: bool,
) -> impl Iterator<Item = &'a StoredXattr> {
    stored
        .iter()
        .zip(in_inode)
        .filter(move |(_, inside)| **inside == wanted)
        .map(|(xattr, _)| xattr)
}

/// `xattr` in the form that is stored: its name split, an ACL in ext4's own form.
fn store(xattr: &Xattr) -> Result<StoredXattr, XattrFault> {
    let (name_index, suffix) =
        split_name(&xattr.name).ok_or_else(|| XattrFault::Name(xattr.name.clone()))?;
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
    })
}

impl XattrPlans {
    /// What of the set `id` goes into the inode.
    pub fn in_inode(&self, id: XattrSetId) -> &[StoredXattr] {
        &self.plans[id.index()].inode
    }

    /// The attributes in the attribute block `number`, and how many inodes share it.
    pub fn block(&self, number: u32) -> (&[StoredXattr], u32) {
        let placed = &self.placed[index(number)];
        (&self.contents[placed.content], placed.refcount)
    }

    /// Where the attribute block `number` is.
    pub fn place(&self, number: u32) -> Block {
        self.placed[index(number)].place
    }

    /// Whether any attribute is stored.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.plans.iter().all(|plan| plan.inode.is_empty())
    }

    /// How many blocks inodes with these sets need together.
    pub(super) fn blocks_needed(&self, sets: impl Iterator<Item = XattrSetId>) -> u64 {
        let mut uses = vec![0_u64; self.contents.len()];
        for content in sets.filter_map(|id| self.plans[id.index()].block) {
            uses[content] += 1;
        }
        uses.iter()
            .map(|uses| uses.div_ceil(u64::from(REFCOUNT_MAX)))
            .sum()
    }

    /// The block for one more inode with the set `id`, if it needs one; a new one is claimed from
    /// `goal` on.
    pub(super) fn share(
        &mut self,
        id: XattrSetId,
        goal: Block,
        ledger: &mut Ledger,
    ) -> Result<Option<u32>, LayoutError> {
        let Some(content) = self.plans[id.index()].block else {
            return Ok(None);
        };
        if let Some(number) = self.current[content] {
            let placed = &mut self.placed[index(number)];
            if placed.refcount < REFCOUNT_MAX {
                placed.refcount += 1;
                return Ok(Some(number));
            }
        }
        let number = u32::try_from(self.placed.len()).unwrap_or(u32::MAX);
        let owner = Owner::Xattrs(number);
        let place = ledger
            .free_near(goal)
            .ok_or(LayoutError::no_room(owner, 1))?;
        ledger.claim_clusters(Run::one(place), owner)?;
        self.placed.push(PlacedBlock {
            content,
            place,
            refcount: 1,
        });
        self.current[content] = Some(number);
        Ok(Some(number))
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("a block's number fits any usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattr(name: &str, bytes: usize) -> Xattr {
        Xattr {
            name: name.into(),
            value: vec![7; bytes],
        }
    }

    #[test]
    fn what_fits_goes_into_the_inode() {
        let set = [xattr("user.a", 8), xattr("user.b", 8)];
        let (inode, block) = split(&set, 96, 1024).unwrap();
        assert_eq!((inode.len(), block.len()), (2, 0));
    }

    #[test]
    fn the_largest_that_fits_goes_into_the_inode_and_the_rest_into_a_block() {
        let set = [
            xattr("user.a", 40),
            xattr("user.b", 48),
            xattr("user.c", 500),
        ];
        let (inode, block) = split(&set, 96, 1024).unwrap();
        assert_eq!((inode.len(), block.len()), (1, 2));
        assert_eq!(&*inode[0].name, b"b");
        let (inode, block) = split(&set, 0, 1024).unwrap();
        assert_eq!((inode.len(), block.len()), (0, 3));
    }

    #[test]
    fn what_fits_nowhere_is_refused() {
        let set = [xattr("user.a", 600), xattr("user.b", 600)];
        assert!(matches!(
            split(&set, 96, 1024),
            Err(XattrFault::Space { block: 1024, .. })
        ));
        assert_eq!(
            split(&[xattr("nowhere.a", 1)], 96, 1024),
            Err(XattrFault::Name(b"nowhere.a".to_vec()))
        );
    }
}
