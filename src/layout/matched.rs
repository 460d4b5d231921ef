//! Given a tree and a base, says which inode of the base is at the path of each node; never where it goes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::inode_type::inode_type;
use super::lost_found::{LOST_FOUND, lost_found_of};
use super::{KeptCounts, LayoutError, Ledger, Owner};
use crate::base::{Base, BaseInode, Leaf};
use crate::geometry::Geometry;
use crate::tree::{Kind, NodeId, NodeIndex, Tree};
use crate::units::Ino;

/// The inodes of a base that are at the paths of a tree's nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matched<'a> {
    base: Option<&'a Base>,
    /// By node; 0 for none.
    inos: Vec<Ino>,
    has_lost_found: bool,
    stop: Stop<'a>,
}

/// Whether somebody asked to stop, if anybody can.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stop<'a>(Option<&'a AtomicBool>);

impl Stop<'_> {
    /// Refuses to go on once somebody asked to stop.
    pub(super) fn check(self) -> Result<(), LayoutError> {
        if self.0.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(LayoutError::Cancelled);
        }
        Ok(())
    }
}

impl<'a> Matched<'a> {
    /// The inodes of `base` for the nodes of `tree`: each is one node's at most.
    pub(crate) fn new(base: &'a Base, tree: &Tree) -> Self {
        let mut inos = vec![Ino::default(); tree.len()];
        inos[NodeId::ROOT.index()] = Ino::ROOT;
        let mut taken = HashSet::from([Ino::ROOT]);
        let mut waiting = vec![(NodeId::ROOT, Ino::ROOT)];
        while let Some((id, parent)) = waiting.pop() {
            for entry in tree.entries(id) {
                let Some(ino) = base.child(parent, entry.name) else {
                    continue;
                };
                let known = &mut inos[entry.node.index()];
                if known.get() == 0 && taken.insert(ino) {
                    *known = ino;
                    if matches!(tree.node(entry.node).kind, Kind::Directory(_)) {
                        waiting.push((entry.node, ino));
                    }
                }
            }
        }
        Self {
            base: Some(base),
            inos,
            has_lost_found: lost_found_of(tree).is_some(),
            stop: Stop::default(),
        }
    }

    /// The same for a layout that ends soon once `cancel` is set: a large filesystem takes seconds.
    pub(crate) fn until(self, cancel: &'a AtomicBool) -> Self {
        let stop = Stop(Some(cancel));
        Self { stop, ..self }
    }

    /// The same where nothing was before.
    pub(super) fn without_base(&self) -> Self {
        let stop = self.stop;
        Self {
            stop,
            ..Self::default()
        }
    }

    pub(super) fn stop(&self) -> Stop<'a> {
        self.stop
    }

    /// The base, if there is one.
    pub(crate) fn base(&self) -> Option<&'a Base> {
        self.base
    }

    /// The inode at the path of `node`.
    pub(crate) fn ino(&self, node: NodeId) -> Option<Ino> {
        let ino = self.inos.get(node.index()).copied();
        ino.filter(|ino| ino.get() > 0)
    }

    /// What the base says of the inode at the path of `node`.
    pub(crate) fn inode(&self, node: NodeId) -> Option<BaseInode<'a>> {
        self.base?.inode(self.ino(node)?)
    }

    /// The same, if it is what `kind` is.
    pub(crate) fn inode_like(&self, node: NodeId, kind: &Kind) -> Option<BaseInode<'a>> {
        let inode = self.inode(node)?;
        (inode.file_type() == inode_type(kind).mode(0)).then_some(inode)
    }

    /// The blocks of names of the hash tree at the path of `node`, in the order of their hashes.
    pub(super) fn leaves(&self, node: NodeId) -> &'a [Leaf] {
        let base = self.base.zip(self.ino(node));
        base.map_or(&[], |(base, ino)| base.leaves(ino))
    }

    /// The last of the inodes.
    pub(super) fn last_ino(&self) -> Ino {
        self.inos.iter().copied().max().unwrap_or_default()
    }

    /// Which of the nodes the base has, once all blocks are claimed.
    pub(super) fn stays(&self, tree: &Tree, ledger: &Ledger) -> Stays {
        let unchanged = |id: NodeId| match &tree.node(id).kind {
            Kind::File(content) => content.unchanged().filter(|ino| self.ino(id) == Some(*ino)),
            _ => None,
        };
        let stay = |id: NodeId| match (self.ino(id), unchanged(id)) {
            (None, _) => Stay::Added,
            (Some(_), None) => Stay::There,
            (Some(_), Some(_)) => Stay::InPlace,
        };
        let mut stays: Vec<Stay> = tree.nodes().map(|(id, _)| stay(id)).collect();
        for claim in ledger.claims() {
            let Owner::File(node, logical) = claim.owner else {
                continue;
            };
            if let Some(stay) = stays.get_mut(node.get()).filter(|it| **it == Stay::InPlace) {
                let inode = self.inode(tree.id(node));
                let logical = u64::from(logical.get());
                if !inode.is_some_and(|inode| inode.has(logical, claim.run())) {
                    *stay = Stay::There;
                }
            }
        }
        Stays(stays)
    }

    /// How many inodes both have, and how many one of them alone, if there is a base.
    pub(super) fn counts(&self, ledger: &Ledger) -> Option<KeptCounts> {
        let base = self.base?;
        let found = self.inos.iter().filter(|ino| ino.get() > 0).count();
        let all = u64::try_from(self.inos.len()).unwrap_or(u64::MAX);
        let inodes = u64::try_from(found).unwrap_or(u64::MAX);
        // mke2fs makes lost+found where no tree has it, and no name leads to the root.
        let made = u64::from(!self.has_lost_found && self.lost_found().is_some());
        Some(KeptCounts {
            inodes,
            inodes_added: all - inodes,
            inodes_removed: (base.files() + 1).saturating_sub(made + inodes),
            blocks: ledger.kept_blocks(),
        })
    }

    /// The base's lost+found, where it is the inode that mke2fs gives it.
    pub(super) fn lost_found(&self) -> Option<BaseInode<'a>> {
        let base = self.base?;
        let ino = base.child(Ino::ROOT, LOST_FOUND);
        ino.filter(|ino| *ino == Ino::FIRST)
            .and_then(|ino| base.inode(ino))
    }
}

/// Which nodes of a tree a base has, by node; none of them where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stays(Vec<Stay>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Added,
    /// The base has an inode at its path.
    There,
    /// The base has its data, all of it in the same blocks.
    InPlace,
}

impl Stays {
    fn of(&self, node: NodeIndex) -> Stay {
        self.0.get(node.get()).copied().unwrap_or(Stay::Added)
    }

    /// Whether the base has an inode at the path of `node`.
    pub(crate) fn has(&self, node: NodeIndex) -> bool {
        self.of(node) != Stay::Added
    }

    /// Whether what the file `node` holds is in its blocks already.
    pub(crate) fn is_in_place(&self, node: NodeIndex) -> bool {
        self.of(node) == Stay::InPlace
    }
}

/// Why nothing can stay where it is in a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// What differs.
    pub what: &'static str,
    /// What it is in the base.
    pub base: u64,
    /// What it is now.
    pub now: u64,
}

/// What keeps files of `base` from staying where they are in a filesystem of `geometry`.
pub(crate) fn moved(base: &Base, geometry: &Geometry) -> Option<Moved> {
    let sb = base.superblock();
    let inode_size = u64::try_from(sb.inode_size()).unwrap_or(u64::MAX);
    let facts = [
        (
            "block size",
            sb.block_size().bytes_u64(),
            geometry.block_size.bytes_u64(),
        ),
        (
            "number of blocks per cluster",
            sb.cluster_ratio(),
            geometry.cluster_ratio(),
        ),
        (
            "number of blocks per group",
            sb.blocks_per_group(),
            geometry.blocks_per_group.into(),
        ),
        ("inode size", inode_size, geometry.inode_size.into()),
        (
            "number of inodes per group",
            sb.inodes_per_group().into(),
            geometry.inodes_per_group.into(),
        ),
    ];
    let differs = facts.into_iter().find(|(_, base, now)| base != now);
    differs.map(|(what, base, now)| Moved { what, base, now })
}
