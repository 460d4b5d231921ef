//! Given rules and the tree of all sources, changes what the tree says of its nodes, and adds what a
//! rule lists; never reads a file, and never decides where anything lies.
//!
//! Rules are followed one after another, so the last has the last word. A rule that finds nothing to
//! do is told of.

mod acl;
mod capability;
mod change;
#[cfg(feature = "selinux")]
mod contexts;
mod device_table;
mod error;
mod fs_config;
mod fs_verity;
mod ids;
mod manifest;
mod mtree;
mod numbers;
mod override_stat;
mod owners;
mod xattrs;

#[cfg(feature = "selinux")]
pub use contexts::FileContexts;
pub use device_table::DeviceTable;
pub use error::RuleError;
pub use fs_config::FsConfig;
pub use fs_verity::FsVerity;
pub use ids::{IdMap, IdMapError, IdRange};
pub use manifest::{Manifest, OpenContent};
pub use override_stat::OverrideStat;
pub use owners::OwnerRules;
pub use xattrs::{XattrAction, XattrFilter, XattrPattern};

use super::{Readable, SourceError, SourceWarning};
use crate::tree::{Metadata, NodeId, Tree, XattrSetId};
use crate::units::Timestamp;

/// What holds for the files of all sources, the root directory among them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Rule {
    /// Everything belongs to this user and group.
    Owner {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// Users become others, in ACLs and as the root of capabilities too.
    UidMap(IdMap),
    /// Groups become others, in ACLs too.
    GidMap(IdMap),
    /// Files are what an extended attribute of theirs says, which is left out.
    OverrideStat(OverrideStat),
    /// What the manifest lists is as it says.
    Manifest(Manifest),
    /// What the table lists is as it says.
    DeviceTable(DeviceTable),
    /// Files have the owners, modes and capabilities that an fs_config of Android lists.
    FsConfig(FsConfig),
    /// Files have the SELinux labels that their paths have.
    #[cfg(feature = "selinux")]
    FileContexts(FileContexts),
    /// Files are protected by fs-verity; the filesystem then has that feature.
    FsVerity(FsVerity),
    /// No time is later than this.
    LatestTime(Timestamp),
    /// Times of access and change are that of the last writing.
    TimesByMtime,
    /// Attributes stay or go. All rules of this kind count together, where the first of them is;
    /// sources that can tell do not even read the values of those that go.
    Xattrs(XattrPattern),
}

impl Rule {
    /// Whether it leaves times and file data as they are, or says so by a time that no file has.
    pub(crate) fn keeps_files(&self) -> bool {
        match self {
            Self::Owner { .. }
            | Self::UidMap(_)
            | Self::GidMap(_)
            | Self::DeviceTable(_)
            | Self::FsConfig(_)
            | Self::LatestTime(_)
            | Self::Xattrs(_) => true,
            #[cfg(feature = "selinux")]
            Self::FileContexts(_) => true,
            Self::OverrideStat(_) | Self::Manifest(_) | Self::FsVerity(_) | Self::TimesByMtime => {
                false
            }
        }
    }
}

/// Follows `rules` in their order, in the tree of all sources before it is finished. What they add and
/// give no time is of the time `now`. Gives what found nothing to do.
///
/// # Errors
/// Where a manifest or table asks for what the tree cannot hold. The tree is then of no use.
pub fn apply(
    rules: &[Rule],
    tree: &mut Tree,
    now: Timestamp,
) -> Result<Vec<SourceWarning>, SourceError> {
    if rules.iter().any(|rule| {
        matches!(
            rule,
            Rule::Manifest(_) | Rule::DeviceTable(_) | Rule::FsConfig(_)
        )
    }) {
        tree.overlay()?;
    }
    let mut is_filtered = false;
    let mut unmatched = Vec::new();
    for rule in rules {
        match rule {
            Rule::Owner { uid, gid } => each(tree, |metadata| Metadata {
                uid: *uid,
                gid: *gid,
                ..metadata
            }),
            Rule::UidMap(map) => unmatched.extend(map_ids(tree, map, Of::User)),
            Rule::GidMap(map) => unmatched.extend(map_ids(tree, map, Of::Group)),
            Rule::OverrideStat(stat) => {
                if !stat.apply(tree)? {
                    unmatched.extend(stat.names().first().map(|name| Readable(name).to_string()));
                }
            }
            Rule::Manifest(manifest) => {
                if !manifest.apply(tree, now)? {
                    unmatched.push(manifest.file().to_owned());
                }
            }
            Rule::DeviceTable(table) => unmatched.extend(table.apply(tree, now)?),
            Rule::FsConfig(config) => unmatched.extend(config.apply(tree)?),
            #[cfg(feature = "selinux")]
            Rule::FileContexts(contexts) => unmatched.extend(contexts.apply(tree, now)?),
            Rule::FsVerity(verity) => unmatched.extend(verity.apply(tree)),
            Rule::LatestTime(latest) => each(tree, |metadata| Metadata {
                atime: metadata.atime.min(*latest),
                mtime: metadata.mtime.min(*latest),
                ctime: metadata.ctime.min(*latest),
                ..metadata
            }),
            Rule::TimesByMtime => each(tree, |metadata| Metadata {
                atime: metadata.mtime,
                ctime: metadata.mtime,
                ..metadata
            }),
            Rule::Xattrs(_) if is_filtered => {}
            Rule::Xattrs(_) => {
                filter_xattrs(tree, &XattrFilter::of(rules));
                is_filtered = true;
            }
        }
    }
    let attributes = rules.iter().filter_map(|rule| match rule {
        Rule::Xattrs(pattern) if !pattern.has_matched() => Some(pattern.text()),
        _ => None,
    });
    unmatched.extend(attributes.map(|text| Readable(text).to_string()));
    Ok(unmatched
        .into_iter()
        .map(SourceWarning::RuleUnmatched)
        .collect())
}

fn ids_of(tree: &Tree) -> Vec<NodeId> {
    // What was removed stays until the tree is finished.
    let nodes = tree.nodes().filter(|(_, node)| node.names > 0);
    nodes.map(|(id, _)| id).collect()
}

fn each(tree: &mut Tree, change: impl Fn(Metadata) -> Metadata) {
    for node in ids_of(tree) {
        tree.replace_metadata(node, change(tree.node(node).metadata));
    }
}

/// Whose ids a map has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    User,
    Group,
}

/// Maps ids, and gives the ranges that no file has an id of.
fn map_ids(tree: &mut Tree, map: &IdMap, of: Of) -> Vec<String> {
    let mut matched = vec![false; map.ranges().len()];
    let mut found = |id: u32| match map.found(id) {
        Some((range, id)) => {
            matched[range] = true;
            id
        }
        None => id,
    };
    let nodes = ids_of(tree);
    for node in &nodes {
        let mut metadata = tree.node(*node).metadata;
        let id = match of {
            Of::User => &mut metadata.uid,
            Of::Group => &mut metadata.gid,
        };
        *id = found(*id);
        tree.replace_metadata(*node, metadata);
    }
    each_set(tree, &nodes, |mut xattrs| {
        for xattr in &mut xattrs {
            match of {
                Of::User => acl::map_ids(xattr, &mut found, |gid| gid),
                Of::Group => acl::map_ids(xattr, |uid| uid, &mut found),
            }
        }
        xattrs
    });
    let map_of = match of {
        Of::User => "uid map",
        Of::Group => "gid map",
    };
    let ranges = map.ranges().iter().zip(matched);
    let unmatched = ranges.filter(|(_, matched)| !matched);
    unmatched
        .map(|(range, _)| format!("{map_of} {range}"))
        .collect()
}

fn filter_xattrs(tree: &mut Tree, filter: &XattrFilter) {
    let nodes = ids_of(tree);
    each_set(tree, &nodes, |mut xattrs| {
        xattrs.retain(|xattr| filter.keeps(&xattr.name));
        xattrs
    });
}

/// Gives `nodes` what `change` makes of their attributes; equal sets are changed once.
fn each_set(
    tree: &mut Tree,
    nodes: &[NodeId],
    mut change: impl FnMut(Vec<crate::tree::Xattr>) -> Vec<crate::tree::Xattr>,
) {
    let mut changed = vec![None; tree.xattr_set_ids().count()];
    for node in nodes {
        let set = tree.node(*node).xattrs;
        if set == XattrSetId::EMPTY {
            continue;
        }
        let to = match changed[set.index()] {
            Some(to) => to,
            None => {
                let xattrs = change(tree.xattr_set(set).to_vec());
                let to = tree.intern_xattrs(xattrs);
                changed[set.index()] = Some(to);
                to
            }
        };
        tree.replace_xattrs(*node, to);
    }
}
