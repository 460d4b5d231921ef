//! Given a tree whose filesystem has no size yet, says what it needs, and hands its plan on to a filesystem
//! of some size; never where anything lies.
//!
//! To number the nodes and to sort names by their hashes takes as long as the rest of a layout. Neither
//! depends on the size.

use super::planner::ContentPlanner;
use crate::feature::{Feature, FeatureSet};
use crate::geometry::Geometry;
use crate::layout::LayoutError;
use crate::layout::lost_found::made_lost_found_blocks;
use crate::layout::quota::LEAST_QUOTA_FILE;
use crate::options::Settings;
use crate::tree::Tree;
use crate::units::{BlockSize, Ino};

/// What a tree needs of a filesystem, before it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The blocks of directories, files, long symbolic links and attributes; those of extent trees
    /// depend on how files are split.
    pub blocks: u64,
    /// Those among them that a filesystem without content has as well.
    pub made_blocks: u64,
}

/// A tree with its inodes numbered and its directories planned, for filesystems of all sizes.
pub(crate) struct TreePlan<'a> {
    basis: Basis,
    planner: ContentPlanner<'a>,
}

impl<'a> TreePlan<'a> {
    /// The plan of `tree` in a filesystem of `geometry`, whose size does not matter.
    ///
    /// # Errors
    /// Where a filesystem of this kind cannot hold it at any size.
    pub(crate) fn new(
        settings: &Settings,
        geometry: &Geometry,
        tree: &'a Tree,
    ) -> Result<Self, LayoutError> {
        Ok(Self {
            basis: Basis::new(settings, geometry),
            planner: ContentPlanner::new(settings, geometry, tree)?,
        })
    }

    /// What the tree needs.
    ///
    /// # Errors
    /// Where no filesystem can hold it.
    pub(crate) fn demand(&self) -> Result<Demand, LayoutError> {
        let planner = &self.planner;
        let geometry = planner.geometry();
        let ratio = geometry.cluster_ratio();
        let made_lost_found = if planner.has_lost_found() {
            made_lost_found_blocks(geometry)
        } else {
            0
        };
        // An empty filesystem is all root's, in the least file there can be.
        let made_quota = geometry.quota_types.iter().count();
        let least = geometry.block_size.blocks_for(LEAST_QUOTA_FILE);
        let made_quota = u64::try_from(made_quota).unwrap_or(0) * least.next_multiple_of(ratio);
        Ok(Demand {
            blocks: planner.root_blocks().next_multiple_of(ratio)
                + planner.blocks_needed()
                + planner.quota_blocks()?,
            made_blocks: ratio + made_lost_found.next_multiple_of(ratio) + made_quota,
        })
    }

    /// The tree that it plans.
    pub(in crate::layout) fn tree(&self) -> &'a Tree {
        self.planner.tree()
    }

    /// The plan in a filesystem of this size, made anew where it is of another kind.
    pub(in crate::layout) fn sized(
        self,
        settings: &Settings,
        geometry: &Geometry,
    ) -> Result<ContentPlanner<'a>, LayoutError> {
        let tree = self.tree();
        let is_same = self.basis == Basis::new(settings, geometry);
        let planner = is_same.then(|| self.planner.sized(geometry)).flatten();
        planner.map_or_else(|| ContentPlanner::new(settings, geometry, tree), Ok)
    }
}

/// What a plan depends on beside its tree: all of the settings and what the geometry makes of them, but for
/// what follows from a size.
#[derive(PartialEq)]
struct Basis {
    settings: Settings,
    features: FeatureSet,
    block_size: BlockSize,
    cluster_ratio: u64,
    inode_size: u16,
    last_own: Ino,
}

impl Basis {
    fn new(settings: &Settings, geometry: &Geometry) -> Self {
        let by_size = [
            Feature::HasJournal,
            Feature::OrphanFile,
            Feature::ResizeInode,
            Feature::MetaBg,
        ];
        let fixed = |features: FeatureSet| by_size.into_iter().fold(features, FeatureSet::without);
        Self {
            settings: Settings {
                blocks_count: 0,
                reserved_blocks: 0,
                inodes_count: 0,
                reserved_gdt_blocks: None,
                features: fixed(settings.features),
                ..settings.clone()
            },
            features: fixed(geometry.features),
            block_size: geometry.block_size,
            cluster_ratio: geometry.cluster_ratio(),
            inode_size: geometry.inode_size,
            last_own: geometry.last_own_ino(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::options::{Environment, Options, Size};
    use crate::tree::{Content, DataMap, Flags, Metadata, NodeId, Xattr};

    /// A tree with a hash tree, links, holes, a long link and attributes small and large.
    fn tree(value_bytes: usize) -> Tree {
        let mut tree = Tree::with_root(Metadata::default());
        let root = NodeId::ROOT;
        let kept = "what the tests declare can be stored";
        let large = tree
            .directory_at(root, b"large", Metadata::default())
            .expect(kept);
        for number in 0..700 {
            let name = format!("a file of which the name is long {number}");
            let content = Content::from_bytes(vec![1; number * 7]);
            let metadata = Metadata {
                uid: u32::try_from(number).expect(kept),
                ..Metadata::default()
            };
            let file = tree.file_at(large, name.as_bytes(), metadata, content);
            let file = file.expect(kept);
            if number.is_multiple_of(90) {
                let value = vec![b'v'; value_bytes * number];
                let name = b"user.note".to_vec();
                let set = tree.intern_xattrs(vec![Xattr { name, value }]);
                tree.replace_xattrs(file, set);
                tree.link_at(root, format!("link {number}").as_bytes(), file)
                    .expect(kept);
            }
        }
        let holed = Content {
            data: DataMap::Ranges([4096..8192, 1 << 20..(1 << 20) + 5].into()),
            ..Content::from_bytes(vec![2; (1 << 20) + 5])
        };
        let nodump = Metadata {
            flags: Flags::of(0x40),
            ..Metadata::default()
        };
        tree.file_at(root, b"holed", nodump, holed).expect(kept);
        tree.symlink_at(root, b"long", Metadata::default(), &[b'l'; 900])
            .expect(kept);
        tree.finish().expect(kept);
        tree
    }

    fn sized(options: &Options, size: Size) -> (Settings, Geometry) {
        let mut options = options.clone();
        options.size(size);
        let settings = options.resolve(&Environment::fixed(1_700_000_000));
        let settings = settings.expect("the options are good").settings;
        let geometry = Geometry::new(&settings).expect("the size is good");
        (settings, geometry)
    }

    fn options(features: &str) -> Options {
        let mut options = Options::new();
        options.block_size(4096).inode_size(256).features(features);
        options.inodes_count(2000);
        options
    }

    /// That of a plan.
    const ANY: Size = Size::Bytes(64 << 30);

    const SIZES: [Size; 4] = [
        Size::Bytes(24 << 20),
        Size::Bytes(600 << 20),
        Size::Bytes(5 << 30),
        Size::Bytes(2 << 40),
    ];

    #[test]
    fn a_plan_serves_every_size() {
        for features in [
            "",
            "^has_journal",
            "inline_data",
            "ea_inode",
            "^extent,^64bit",
            "bigalloc",
            "quota,project",
            "^metadata_csum,^dir_index",
            "meta_bg,^resize_inode",
        ] {
            // Values that no block holds have inodes of their own.
            let tree = tree(if features == "ea_inode" { 60 } else { 3 });
            let options = options(features);
            let (any, geometry) = sized(&options, ANY);
            for size in SIZES {
                let (settings, wanted) = sized(&options, size);
                let plan = TreePlan::new(&any, &geometry, &tree).expect("it can be stored");
                let planned = Layout::planned(&settings, wanted.clone(), plan);
                let anew = Layout::new(&settings, wanted, &tree);
                assert_eq!(
                    format!("{planned:?}"),
                    format!("{anew:?}"),
                    "{features} {size:?}"
                );
            }
        }
    }

    #[test]
    fn a_plan_is_made_anew_for_another_kind_of_filesystem_alone() {
        let basis = |features: &str, size| {
            let (settings, geometry) = sized(&options(features), size);
            Basis::new(&settings, &geometry)
        };
        let default = basis("", ANY);
        for size in SIZES {
            assert!(default == basis("", size), "{size:?}");
        }
        for features in ["^dir_index", "inline_data", "^metadata_csum", "bigalloc"] {
            assert!(default != basis(features, ANY), "{features}");
        }
        let hashed_otherwise = Basis {
            settings: Settings {
                hash_seed: [7; 16],
                ..default.settings.clone()
            },
            ..basis("", ANY)
        };
        assert!(default != hashed_otherwise);
    }
}
