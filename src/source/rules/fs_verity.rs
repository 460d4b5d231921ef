//! Given patterns of paths and a tree, makes files that match be protected by fs-verity; never hashes one.

use crate::source::patterns::{MatchState, PathType, Patterns};
use crate::tree::{Kind, NodeId, Tree, Verity};

/// Which files fs-verity shall protect, and how. A file that its source protects already keeps its own way.
///
/// ```
/// use mke4fs::source::patterns::Patterns;
/// use mke4fs::source::rules::FsVerity;
/// use mke4fs::{Builder, Rule, Tree, VerityHash};
///
/// let mut tree = Tree::default();
/// tree.file("/usr/bin/tool", "text")?;
/// let programs = FsVerity::new(Patterns::new(["/usr/bin/**"])?).hash(VerityHash::Sha512);
/// let sink = mke4fs::sink::Memory::new(4 << 20);
/// let summary = Builder::new().source(tree).rule(Rule::FsVerity(programs)).write_to(&sink)?;
/// assert_eq!(summary.fs_verity[0].path, b"/usr/bin/tool");
/// assert!(summary.fs_verity[0].text().starts_with("sha512:"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FsVerity {
    patterns: Patterns,
    verity: Verity,
}

/// A directory of the walk: its entries that are still to come, and how far patterns have come to it.
struct Level {
    entries: Vec<(Vec<u8>, NodeId)>,
    way: MatchState,
}

impl FsVerity {
    /// Regular files whose paths in the image `patterns` match.
    pub fn new(patterns: Patterns) -> Self {
        let verity = Verity::default();
        Self { patterns, verity }
    }

    /// The same, with blocks hashed by `hash`.
    #[must_use]
    pub fn hash(mut self, hash: crate::units::VerityHash) -> Self {
        self.verity.hash = hash;
        self
    }

    /// Changes the files of `tree`, and gives the patterns that no file matched.
    pub(super) fn apply(&self, tree: &mut Tree) -> Vec<String> {
        let mut levels = vec![level(tree, NodeId::ROOT, self.patterns.way())];
        while let Some(top) = levels.last_mut() {
            let Some((name, node)) = top.entries.pop() else {
                levels.pop();
                continue;
            };
            match &tree.node(node).kind {
                Kind::Directory(_) => {
                    let mut way = top.way.clone();
                    self.patterns.descend(&mut way, &name);
                    levels.push(level(tree, node, way));
                }
                Kind::File(content) => {
                    let is_wanted = self.patterns.exclude_at(&top.way, &name, PathType::Other);
                    if is_wanted && content.verity().is_none() {
                        let content = content.clone().with_verity(self.verity.clone());
                        tree.set_content(node, content);
                    }
                }
                _ => {}
            }
        }
        let unmatched = self.patterns.unmatched();
        let unmatched = unmatched.map(|text| crate::units::Readable(text).to_string());
        unmatched.map(|text| format!("fs-verity {text}")).collect()
    }
}

fn level(tree: &Tree, directory: NodeId, way: MatchState) -> Level {
    let entries = tree.entries(directory).iter();
    let entries = entries.map(|entry| (entry.name.to_vec(), entry.node));
    Level {
        entries: entries.collect(),
        way,
    }
}
