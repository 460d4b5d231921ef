//! Given a file_contexts and a tree, gives each file the SELinux label that libselinux would give it;
//! never asks the host for its policy.
//!
//! The format is that of selabel_file(5). Which specification counts: the last that matches, but one
//! without any special character before all others. `security.selinux` is stored with a NUL at its
//! end, as setfiles stores it.

mod lookup;
mod parse;
mod pattern;

use std::collections::HashMap;
use std::sync::Arc;

use super::error::RuleError;
use crate::source::place;
use crate::tree::{FileType, Kind, Metadata, Node, NodeId, Tree, TreeError, Xattr, XattrSetId};
use crate::units::Timestamp;
use lookup::{Compiled, Lookup};
use parse::Substitution;

const NAME: &[u8] = b"security.selinux";
const LOST_AND_FOUND: &[u8] = b"lost+found";
/// The longest path that can be looked up, as the kernel has it (`PATH_MAX` without its NUL).
const PATH_MAX: usize = 4095;

/// SELinux labels by path, as a rule.
///
/// ```
/// use mke4fs::source::rules::FileContexts;
/// use mke4fs::tree::FileType;
///
/// let text = "/etc(/.*)?  system_u:object_r:etc_t:s0\n/etc/shadow -- system_u:object_r:shadow_t:s0\n";
/// let contexts = FileContexts::new("file_contexts", text)?;
/// let label = contexts.lookup(b"/etc/shadow", FileType::File);
/// assert_eq!(label.as_deref(), Some(&b"system_u:object_r:shadow_t:s0"[..]));
/// assert_eq!(contexts.lookup(b"/usr", FileType::Directory), None);
/// # Ok::<(), mke4fs::source::rules::RuleError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct FileContexts {
    file: String,
    compiled: Arc<Compiled>,
    /// What is tried first, and what on its result; in both the last line first.
    substitutions: [Vec<Substitution>; 2],
    /// Without a slash at its end.
    mount_point: Box<[u8]>,
}

impl FileContexts {
    /// The specifications of `text`, which messages call `file`.
    ///
    /// # Errors
    /// Where a line is none of a file_contexts, or its pattern has what cannot be matched here, such as
    /// look-around.
    pub fn new(file: impl Into<String>, text: impl AsRef<[u8]>) -> Result<Self, RuleError> {
        let empty = Self {
            file: file.into(),
            ..Self::default()
        };
        let file = empty.file.clone();
        empty.with(&file, text)
    }

    /// The same with the specifications of `text` behind them, such as those of `.homedirs` and
    /// `.local`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(mut self, file: &str, text: impl AsRef<[u8]>) -> Result<Self, RuleError> {
        let specifications = parse::specifications(file, text.as_ref())?;
        let compiled = Arc::make_mut(&mut self.compiled);
        for specification in specifications {
            let line = specification.line;
            let added = compiled.add(specification);
            added.map_err(|fault| fault.at(file, line))?;
        }
        Ok(self)
    }

    /// The same with substitutions of paths: those that `.subs` has, which are tried first.
    ///
    /// # Errors
    /// Where a line is not two paths.
    pub fn substitutions(self, file: &str, text: impl AsRef<[u8]>) -> Result<Self, RuleError> {
        self.substitute(0, file, text.as_ref())
    }

    /// The same with the substitutions that `.subs_dist` has, which are tried on what those of `.subs`
    /// give.
    ///
    /// # Errors
    /// Where a line is not two paths.
    pub fn dist_substitutions(self, file: &str, text: impl AsRef<[u8]>) -> Result<Self, RuleError> {
        self.substitute(1, file, text.as_ref())
    }

    fn substitute(mut self, step: usize, file: &str, text: &[u8]) -> Result<Self, RuleError> {
        let mut added = parse::substitutions(file, text)?;
        added.reverse();
        added.append(&mut self.substitutions[step]);
        self.substitutions[step] = added;
        Ok(self)
    }

    /// The same for a filesystem that will be mounted at `path`, which paths are looked up below.
    #[must_use]
    pub fn mount_point(self, path: &[u8]) -> Self {
        let end = path.iter().rposition(|byte| *byte != b'/');
        let path = &path[..end.map_or(0, |end| end + 1)];
        let slash: &[u8] = match path.first() {
            None | Some(b'/') => b"",
            Some(_) => b"/",
        };
        Self {
            mount_point: [slash, path].concat().into(),
            ..self
        }
    }

    /// The label of a file at `path`, which begins with a slash, wherever the filesystem is mounted.
    pub fn lookup(&self, path: &[u8], file_type: FileType) -> Option<Vec<u8>> {
        let mut lookup = Lookup::new(&self.compiled);
        let found = lookup.find(&self.substituted(path), file_type);
        found.map(|found| found.context.to_vec())
    }

    /// What `path` is looked up as.
    fn substituted(&self, path: &[u8]) -> Vec<u8> {
        let mut path = path.to_vec();
        for substitutions in &self.substitutions {
            let substitution = substitutions.iter().find_map(|one| {
                let rest = path.strip_prefix(&one.from[..])?;
                matches!(rest.first(), None | Some(b'/')).then_some((one, rest))
            });
            if let Some((one, rest)) = substitution {
                let skipped = usize::from(&one.to[..] == b"/" && !rest.is_empty());
                path = [&one.to[..], &rest[skipped..]].concat();
            }
        }
        path
    }

    /// Labels the files of `tree`, the root and lost+found among them, which is made of the time `now`
    /// if it is not there. A file with several names has the label of the one that is found first, where
    /// the names of each directory are in the order of their bytes. What matches nothing, or
    /// `<<none>>`, keeps what it has. Gives what labels nothing.
    pub(super) fn apply(&self, tree: &mut Tree, now: Timestamp) -> Result<Vec<String>, TreeError> {
        if tree.lookup(NodeId::ROOT, LOST_AND_FOUND)?.is_none() {
            let metadata = Metadata {
                permissions: 0o700,
                ..place::implied(now)
            };
            tree.directory_at(NodeId::ROOT, LOST_AND_FOUND, metadata)?;
        }
        let mut labels = Labels {
            contexts: self,
            lookup: Lookup::new(&self.compiled),
            path: self.mount_point.to_vec(),
            done: vec![false; tree.nodes().count()],
            sets: HashMap::new(),
            too_long: 0,
            labelled: 0,
        };
        labels.walk(tree);
        let mut unmatched = Vec::new();
        if labels.too_long > 0 {
            let (file, count) = (&self.file, labels.too_long);
            unmatched.push(format!(
                "{file} for {count} files with paths of more than {PATH_MAX} bytes"
            ));
        }
        if labels.labelled == 0 {
            unmatched.push(self.file.clone());
        }
        Ok(unmatched)
    }
}

/// A walk that labels.
struct Labels<'a> {
    contexts: &'a FileContexts,
    lookup: Lookup<'a>,
    /// The path of the directory that the walk is in, without a slash at its end.
    path: Vec<u8>,
    done: Vec<bool>,
    /// The sets of attributes that others have become by a label.
    sets: HashMap<(XattrSetId, usize), XattrSetId>,
    too_long: u64,
    labelled: u64,
}

/// A directory of the walk: its names that are still to come, the next at the end.
struct Open {
    names: Vec<(Vec<u8>, NodeId)>,
    path: usize,
}

impl Labels<'_> {
    fn walk(&mut self, tree: &mut Tree) {
        self.label(tree, NodeId::ROOT);
        let mut open = vec![self.open(tree, NodeId::ROOT)];
        while let Some(directory) = open.last_mut() {
            self.path.truncate(directory.path);
            let Some((name, node)) = directory.names.pop() else {
                open.pop();
                continue;
            };
            self.path.push(b'/');
            self.path.extend(&name);
            self.label(tree, node);
            if matches!(tree.node(node).kind, Kind::Directory(_)) {
                open.push(self.open(tree, node));
            }
        }
    }

    fn open(&self, tree: &Tree, directory: NodeId) -> Open {
        let entries = tree.entries(directory).iter();
        let mut names: Vec<_> = entries
            .map(|entry| (entry.name.to_vec(), entry.node))
            .collect();
        names.sort_unstable_by(|one, other| other.cmp(one));
        Open {
            names,
            path: self.path.len(),
        }
    }

    /// Labels `node`, which has the path of the walk.
    fn label(&mut self, tree: &mut Tree, node: NodeId) {
        if std::mem::replace(&mut self.done[node.index()], true) {
            return;
        }
        if self.path.len() > PATH_MAX {
            self.too_long += 1;
            return;
        }
        let path = match &self.path[..] {
            b"" => b"/",
            path => path,
        };
        let Node { kind, xattrs, .. } = tree.node(node);
        let (file_type, set) = (kind.file_type(), *xattrs);
        let path = self.contexts.substituted(path);
        let Some(found) = self.lookup.find(&path, file_type) else {
            return;
        };
        self.labelled += 1;
        let to = *self.sets.entry((set, found.index)).or_insert_with(|| {
            let kept = tree
                .xattr_set(set)
                .iter()
                .filter(|xattr| xattr.name != NAME);
            let mut xattrs: Vec<Xattr> = kept.cloned().collect();
            xattrs.push(Xattr {
                name: NAME.to_vec(),
                value: [found.context, b"\0"].concat(),
            });
            tree.intern_xattrs(xattrs)
        });
        tree.replace_xattrs(node, to);
    }
}
