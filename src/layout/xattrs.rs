//! Given a tree's attributes, decides which go into inodes, which into blocks, and which values into
//! inodes of their own.
//!
//! A set goes into the inode if it fits there beside the content that lies there. Otherwise the
//! largest attributes that fit go there and the rest into one block; inodes with equal blocks share
//! one, as the kernel would let them. Where the block is too small and the filesystem has ea_inode,
//! the largest values leave it, one after another.

use std::collections::HashMap;

use super::ea_inodes::{ValueInode, ValueInodes};
use super::inline::{Fit, HEAD_BYTES, InlineCandidate, fit_inode};
use super::kept::numbered;
use super::lost_found::lost_found_of;
use super::xattr_split::{StoredXattr, XattrFault, XattrSpace, store};
use super::{LayoutError, Owner};
use crate::base::Base;
use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::layout::Ledger;
use crate::ondisk::checksum::filesystem_seed;
use crate::ondisk::xattr::{REFCOUNT_MAX, Value, XattrEntry, render_block};
use crate::options::Settings;
use crate::tree::{Kind, Node, NodeId, Tree, XattrSetId};
use crate::units::{Block, Run};

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
    /// How many blocks that hold it have a place.
    placed: u64,
}

impl BlockContent {
    /// How many blocks hold it: an xattr block is shared by at most [`REFCOUNT_MAX`] inodes.
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

/// Plans the attributes of every node of `tree`; values have inodes from `first_value_ino` on.
pub(super) fn plan(
    settings: &Settings,
    tree: &Tree,
    first_value_ino: u32,
) -> Result<XattrPlans, LayoutError> {
    let mut sets = Vec::new();
    for id in tree.xattr_set_ids() {
        let stored = tree.xattr_set(id).iter().map(store).collect();
        let stored: Result<Vec<StoredXattr>, XattrFault> = stored;
        sets.push(stored.map_err(|fault| blame(tree, id, fault))?);
    }
    let mut planner = Planner {
        room: XattrSpace::new(settings),
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
            InlineCandidate::of(node, planner.room.inode)
        } else {
            None
        };
        planner
            .node(id, node, wish)
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
type PlanKey = (XattrSetId, Option<InlineCandidate>, bool);

/// The plans as they are made, node by node.
struct Planner {
    room: XattrSpace,
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
        at: NodeId,
        node: &Node,
        wish: Option<InlineCandidate>,
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
                    let room = XattrSpace {
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
        set(&mut self.plans.of_node, at, number, 0);
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
                    contents.push(BlockContent {
                        xattrs,
                        uses: 0,
                        placed: 0,
                    });
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

    /// Keeps the blocks of `base` that hold what some are to hold.
    pub(super) fn keep(&self, base: &Base, geometry: &Geometry, ledger: &mut Ledger) {
        for (number, content) in self.contents.iter().enumerate() {
            let entries: Vec<XattrEntry<'_>> =
                content.xattrs.iter().map(StoredXattr::entry).collect();
            let bytes = geometry.block_size.bytes_usize();
            let Ok(block) = render_block(&entries, bytes, 1) else {
                continue;
            };
            let known = base.xattr_blocks(&block);
            let needed = usize::try_from(content.blocks()).unwrap_or(usize::MAX);
            let known = &known[..known.len().min(needed)];
            ledger.keep(kept_owner(number), numbered(known));
        }
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
                set(&mut self.blocks, node, number, NO_BLOCK);
                return Ok(());
            }
        }
        let number = u32::try_from(self.placed.len()).unwrap_or(u32::MAX);
        let owner = Owner::Xattrs(number);
        let before = self.contents[content].placed;
        let place = ledger
            .block_for(kept_owner(content), before, goal)
            .ok_or(LayoutError::no_room(owner, 1))?;
        self.contents[content].placed += 1;
        ledger.claim_clusters(Run::one(place), owner)?;
        self.placed.push(PlacedBlock {
            content,
            place,
            refcount: 1,
        });
        self.current[content] = Some(number);
        set(&mut self.blocks, node, number, NO_BLOCK);
        Ok(())
    }
}

/// The owner for whom the blocks of the content `number` are kept, since which of them holds it is not known
/// before they have places.
fn kept_owner(number: usize) -> Owner {
    Owner::Xattrs(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Puts the number of a node to its place in `list`, where all that is not there is `missing`: most trees have few
/// nodes that are unlike the others, and most have many nodes.
fn set(list: &mut Vec<u32>, node: NodeId, number: u32, missing: u32) {
    let at = node.index();
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
