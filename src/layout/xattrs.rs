//! Given a tree's attributes, decides which go into inodes, which into blocks, and which values into
//! inodes of their own.
//!
//! A set goes into the inode if it fits there beside the content that lies there. Otherwise the
//! largest attributes that fit go there and the rest into one block; inodes with equal blocks share
//! one, as the kernel would let them. Where the block is too small and the filesystem has ea_inode,
//! the largest values leave it, one after another.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::content::lost_found_of;
use super::ea_inodes::{ValueInode, ValueInodes};
use super::inline::{Fit, HEAD_BYTES, InlineWish, fit_inode};
use super::{LayoutError, Owner};
use crate::feature::Feature;
use crate::layout::Ledger;
use crate::ondisk::acl::{self, AclError};
use crate::ondisk::checksum::filesystem_seed;
use crate::ondisk::inode::{EXTRA_ISIZE, GOOD_OLD_SIZE};
use crate::ondisk::xattr::{
    REFCOUNT_MAX, Value, XattrEntry, block_size_needed, ibody_size, split_name,
};
use crate::options::Settings;
use crate::tree::{Kind, Node, NodeId, Tree, Xattr, XattrSetId};
use crate::units::{Block, Run};

/// The longest value that the kernel takes, in bytes: `XATTR_SIZE_MAX`.
const VALUE_MAX: usize = 65536;

/// An attribute in the form that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredXattr {
    name_index: u8,
    name: Arc<[u8]>,
    value: Arc<[u8]>,
    /// The inode that holds the value and the value's hash, if it does not lie beside the entry.
    elsewhere: Option<(u32, u32)>,
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
pub(super) struct Room {
    /// In the inode.
    pub(super) inode: usize,
    /// In a block.
    pub(super) block: usize,
    /// In a cluster: what a value of its own inode takes is whole ones.
    pub(super) cluster: usize,
    /// Whether values may have inodes of their own.
    pub(super) has_value_inodes: bool,
}

impl Room {
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
    inode: Vec<usize>,
    /// Those in a block.
    block: Vec<usize>,
    /// Those among both whose values have inodes of their own.
    elsewhere: Vec<usize>,
    /// The bytes of each of these values.
    value_bytes: Vec<usize>,
}

impl Split {
    /// Whether values have inodes of their own and there is no attribute block.
    fn has_values_without_block(&self) -> bool {
        self.block.is_empty() && !self.elsewhere.is_empty()
    }

    /// How many blocks and inodes it takes.
    pub(super) fn cost(&self, room: &Room) -> u64 {
        let values = self.value_bytes.iter();
        let values: usize = values.map(|bytes| 1 + bytes.div_ceil(room.block)).sum();
        u64::from(!self.block.is_empty()) + u64::try_from(values).unwrap_or(u64::MAX)
    }
}

/// What lies in the inodes of some nodes, and where the rest of their attributes is.
#[derive(Clone, Debug, Default)]
struct XattrPlan {
    /// Whether the content lies in the inode.
    inline: bool,
    /// The attributes in the inode.
    inode: Box<[StoredXattr]>,
    /// Those in a block, by its place in the list of distinct blocks.
    block: Option<usize>,
    /// How many inodes hold values, and how many blocks those have: each user is charged with all
    /// of them, shared or not.
    value_inodes: u32,
    value_blocks: u64,
}

/// The content of attribute blocks.
#[derive(Clone, Debug)]
struct BlockContent {
    xattrs: Box<[StoredXattr]>,
    /// How many nodes have it.
    uses: u64,
}

impl BlockContent {
    /// How many blocks hold it: one is not shared by more than so many inodes.
    fn blocks(&self) -> u64 {
        self.uses.div_ceil(u64::from(REFCOUNT_MAX))
    }
}

/// An attribute block in the image.
#[derive(Clone, Copy, Debug)]
struct PlacedBlock {
    content: usize,
    place: Block,
    refcount: u32,
}

/// No block has this number.
const NO_BLOCK: u32 = u32::MAX;

/// Where all attributes go.
#[derive(Clone, Debug, Default)]
pub struct XattrPlans {
    /// By node, which of the plans is its own; the first for those behind the last that has another.
    of_node: Vec<u32>,
    /// By node, which block is its own, or [`NO_BLOCK`]; none for those behind the last that has one.
    blocks: Vec<u32>,
    plans: Vec<XattrPlan>,
    /// Distinct contents of blocks.
    contents: Vec<BlockContent>,
    /// For each content, the block that takes the next inode.
    current: Vec<Option<u32>>,
    placed: Vec<PlacedBlock>,
    values: Vec<ValueInode>,
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

/// Plans the attributes of every node of `tree`; values have inodes from `first_value_ino` on.
pub(super) fn plan(
    settings: &Settings,
    tree: &Tree,
    first_value_ino: u32,
) -> Result<XattrPlans, LayoutError> {
    let mut sets = Vec::new();
    for id in tree.xattr_set_ids() {
        let stored = tree.xattrs(id).iter().map(store).collect();
        let stored: Result<Vec<StoredXattr>, XattrFault> = stored;
        sets.push(stored.map_err(|fault| blame(tree, id, fault))?);
    }
    let mut planner = Planner {
        room: Room::new(settings),
        sets,
        plans: XattrPlans::default(),
        known_plans: HashMap::new(),
        last: None,
        known_contents: HashMap::new(),
        values: ValueInodes::new(first_value_ino, filesystem_seed(settings.uuid)),
    };
    let lost_found = lost_found_of(tree);
    for (id, node) in tree.nodes() {
        // fsck may need lost+found's blocks, and mke2fs leaves the root's where it is. Whose a symbolic
        // link with inline data is, e2fsck does not count (`e2fsck_pass1`), and the kernel does.
        let is_uncounted =
            settings.features.has(Feature::Quota) && matches!(node.kind, Kind::Symlink(_));
        let may_be_inline = settings.features.has(Feature::InlineData)
            && id != NodeId::ROOT
            && Some(id) != lost_found
            && !is_uncounted;
        let wish = if may_be_inline {
            InlineWish::of(node, planner.room.inode)
        } else {
            None
        };
        planner
            .node((id, node), wish)
            .map_err(|fault| blame(tree, node.xattrs, fault))?;
    }
    Ok(planner.finish())
}

fn blame(tree: &Tree, id: XattrSetId, fault: XattrFault) -> LayoutError {
    let owner = tree.nodes().find(|(_, node)| node.xattrs == id);
    let path = owner.map_or_else(Vec::new, |(node, _)| tree.path(node));
    LayoutError::Xattr { path, fault }
}

/// What a plan depends on: the set, the content, and whether the node is a symbolic link with its
/// target in `i_block`.
type PlanKey = (XattrSetId, Option<InlineWish>, bool);

/// The plans as they are made, node by node.
struct Planner {
    room: Room,
    /// By number, every set in the form that is stored.
    sets: Vec<Vec<StoredXattr>>,
    plans: XattrPlans,
    known_plans: HashMap<PlanKey, u32>,
    /// The plan of the node before, since neighbours are often alike.
    last: Option<(PlanKey, u32)>,
    known_contents: HashMap<Box<[StoredXattr]>, usize>,
    values: ValueInodes,
}

impl Planner {
    fn node(
        &mut self,
        (at, node): (NodeId, &Node),
        wish: Option<InlineWish>,
    ) -> Result<(), XattrFault> {
        let is_fast = matches!(&node.kind, Kind::Symlink(target) if target.len() < HEAD_BYTES);
        let key = (node.xattrs, wish, is_fast);
        let before = self.last.filter(|(last, _)| *last == key);
        let known = before.map(|(_, number)| number);
        let number = match known.or_else(|| self.known_plans.get(&key).copied()) {
            Some(number) => number,
            None => {
                let set = &self.sets[node.xattrs.index()];
                let mut fit = fit_inode(&self.room, set, wish)?;
                if is_fast && fit.split.has_values_without_block() {
                    // A link's target is taken for block numbers where `i_blocks` counts blocks and
                    // there is no attribute block (`ext2fs_inode_has_valid_blocks2`).
                    let room = Room {
                        inode: 0,
                        ..self.room
                    };
                    fit = fit_inode(&room, set, wish)?;
                }
                let plan = self.fill(node.xattrs, &fit);
                let number = u32::try_from(self.plans.plans.len()).unwrap_or(u32::MAX);
                self.plans.plans.push(plan);
                self.known_plans.insert(key, number);
                number
            }
        };
        self.last = Some((key, number));
        set(&mut self.plans.of_node, (at.index(), number), 0);
        let plan = &self.plans.plans[index(number)];
        if let Some(content) = plan.block {
            self.plans.contents[content].uses += 1;
        }
        for ino in inodes_of_values(&plan.inode) {
            self.values.refer(ino, 1);
        }
        Ok(())
    }

    /// The plan of `fit` for the set `id`.
    fn fill(&mut self, id: XattrSetId, fit: &Fit) -> XattrPlan {
        let (set, values) = (&self.sets[id.index()], &mut self.values);
        let mut chosen = |places: &[usize]| -> Box<[StoredXattr]> {
            let stored = places.iter().map(|at| {
                let mut xattr = set[*at].clone();
                if fit.split.elsewhere.contains(at)
                    && let Value::Inode { ino, hash, .. } = values.value_for(&xattr.value)
                {
                    xattr.elsewhere = Some((ino, hash));
                }
                xattr
            });
            stored.collect()
        };
        let inode = chosen(&fit.split.inode);
        let block = chosen(&fit.split.block);
        let block = (!block.is_empty()).then(|| {
            let contents = &mut self.plans.contents;
            let next = contents.len();
            *self
                .known_contents
                .entry(block)
                .or_insert_with_key(|xattrs| {
                    let xattrs = xattrs.clone();
                    contents.push(BlockContent { xattrs, uses: 0 });
                    next
                })
        });
        let bytes = fit.split.value_bytes.iter();
        let value_clusters: usize = bytes.map(|bytes| bytes.div_ceil(self.room.cluster)).sum();
        let value_blocks = value_clusters * (self.room.cluster / self.room.block);
        XattrPlan {
            inline: fit.inline,
            inode,
            block,
            value_inodes: u32::try_from(fit.split.value_bytes.len()).unwrap_or(u32::MAX),
            value_blocks: u64::try_from(value_blocks).unwrap_or(u64::MAX),
        }
    }

    fn finish(mut self) -> XattrPlans {
        for content in &self.plans.contents {
            for ino in inodes_of_values(&content.xattrs) {
                self.values.refer(ino, content.blocks());
            }
        }
        XattrPlans {
            current: vec![None; self.plans.contents.len()],
            values: self.values.into_list(),
            ..self.plans
        }
    }
}

/// The inodes that the entries of a list name.
fn inodes_of_values(list: &[StoredXattr]) -> impl Iterator<Item = u32> + '_ {
    list.iter().filter_map(|xattr| Some(xattr.elsewhere?.0))
}

/// Splits a set into what goes into the inode and what into a block, with as few values in inodes
/// of their own as the block allows.
pub(super) fn split(room: &Room, set: &[StoredXattr]) -> Result<Split, XattrFault> {
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

/// Deals `count` attributes of so many bytes each to an inode with `room` bytes, the largest first,
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
        elsewhere: None,
    })
}

impl XattrPlans {
    fn plan_of(&self, node: NodeId) -> &XattrPlan {
        let number = self.of_node.get(node.index()).copied();
        &self.plans[index(number.unwrap_or_default())]
    }

    /// Whether the content of `node` lies in its inode.
    pub fn is_inline(&self, node: NodeId) -> bool {
        self.plan_of(node).inline
    }

    /// What of the attributes of `node` goes into the inode.
    pub fn in_inode(&self, node: NodeId) -> &[StoredXattr] {
        &self.plan_of(node).inode
    }

    /// How many inodes hold values of `node`, and how many blocks those have. Each user of a shared
    /// one is charged with it.
    pub fn charged(&self, node: NodeId) -> (u32, u64) {
        let plan = self.plan_of(node);
        (plan.value_inodes, plan.value_blocks)
    }

    /// The inodes that hold values, in the order of their numbers.
    pub fn values(&self) -> &[ValueInode] {
        &self.values
    }

    /// The attribute block of `node`, by its number, if it has one.
    pub fn block_of(&self, node: NodeId) -> Option<u32> {
        let number = self.blocks.get(node.index()).copied();
        number.filter(|number| *number != NO_BLOCK)
    }

    /// The attributes in the attribute block `number`, and how many inodes share it.
    pub fn block(&self, number: u32) -> (&[StoredXattr], u32) {
        let placed = &self.placed[index(number)];
        (&self.contents[placed.content].xattrs, placed.refcount)
    }

    /// Where the attribute block `number` is.
    pub fn place(&self, number: u32) -> Block {
        self.placed[index(number)].place
    }

    /// Whether any attribute is stored.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.plans.iter().all(|plan| plan.inode.is_empty())
    }

    /// How many attribute blocks all nodes need together.
    pub(super) fn blocks_needed(&self) -> u64 {
        self.contents.iter().map(BlockContent::blocks).sum()
    }

    /// Gives `node` an attribute block if it needs one; a new one is claimed from `goal` on.
    pub(super) fn share(
        &mut self,
        node: NodeId,
        goal: Block,
        ledger: &mut Ledger,
    ) -> Result<(), LayoutError> {
        let Some(content) = self.plan_of(node).block else {
            return Ok(());
        };
        if let Some(number) = self.current[content] {
            let placed = &mut self.placed[index(number)];
            if placed.refcount < REFCOUNT_MAX {
                placed.refcount += 1;
                set(&mut self.blocks, (node.index(), number), NO_BLOCK);
                return Ok(());
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
        set(&mut self.blocks, (node.index(), number), NO_BLOCK);
        Ok(())
    }
}

/// Puts a number to its place in `list`, where all that is not there is `missing`: most trees have few
/// nodes that are unlike the others, and most have many nodes.
fn set(list: &mut Vec<u32>, (at, number): (usize, u32), missing: u32) {
    if number == missing {
        return;
    }
    if list.len() <= at {
        list.resize(at + 1, missing);
    }
    list[at] = number;
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("32 bits fit any usize")
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

    pub(in crate::layout) fn room(inode: usize) -> Room {
        Room {
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
        let nowhere = Xattr {
            name: b"nowhere.a".to_vec(),
            value: Vec::new(),
        };
        assert_eq!(
            store(&nowhere),
            Err(XattrFault::Name(b"nowhere.a".to_vec()))
        );
    }

    #[test]
    fn the_largest_values_go_into_inodes_of_their_own() {
        let room = Room {
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
