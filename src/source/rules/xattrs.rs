//! Given patterns of attribute names, says which attributes stay; never reads a value.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::patterns::{Pattern, PatternError};
use super::Rule;

/// Whether the attributes of a pattern stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrAction {
    /// They stay.
    Include,
    /// They go.
    Exclude,
}

/// A pattern of whole attribute names, such as `user.*`, and what becomes of the attributes. Clones
/// share the memory of whether it matched.
#[derive(Clone, Debug)]
pub struct XattrPattern {
    stay: XattrAction,
    pattern: Pattern,
    matched: Arc<AtomicBool>,
}

impl XattrPattern {
    /// The pattern that `text` spells: `*` stands for any bytes, `?` for one, `[a-z]` for one of a
    /// set, and `\` takes its meaning from what follows it.
    ///
    /// # Errors
    /// Where it ends in the middle of something, or is empty.
    pub fn new(stay: XattrAction, text: impl AsRef<[u8]>) -> Result<Self, PatternError> {
        Ok(Self {
            stay,
            pattern: Pattern::of_attributes(text.as_ref())?,
            matched: Arc::default(),
        })
    }

    pub(super) fn text(&self) -> &[u8] {
        self.pattern.text()
    }

    pub(super) fn has_matched(&self) -> bool {
        self.matched.load(Ordering::Relaxed)
    }
}

/// All patterns of attributes, in their order: which names are kept. It knows that before a value is
/// read, so a [`Source`](crate::source::Source) need not read what goes.
#[derive(Clone, Debug)]
pub struct XattrFilter {
    patterns: Arc<[XattrPattern]>,
    /// What becomes of a name that no pattern matches.
    otherwise: XattrAction,
    /// Names that a rule reads, and takes out itself.
    read: Arc<[Vec<u8>]>,
}

impl Default for XattrFilter {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl XattrFilter {
    /// The patterns among `rules`.
    pub fn of(rules: &[Rule]) -> Self {
        let patterns = rules.iter().filter_map(|rule| match rule {
            Rule::Xattrs(pattern) => Some(pattern.clone()),
            _ => None,
        });
        let patterns: Arc<[XattrPattern]> = patterns.collect();
        let read = rules.iter().filter_map(|rule| match rule {
            Rule::OverrideStat(stat) => Some(stat.names().to_vec()),
            _ => None,
        });
        let includes = patterns.iter().any(|it| it.stay == XattrAction::Include);
        Self {
            patterns,
            otherwise: if includes {
                XattrAction::Exclude
            } else {
                XattrAction::Include
            },
            read: read.flatten().collect(),
        }
    }

    /// What keeps every attribute, or none at all.
    pub(crate) fn all_if(keep: bool) -> Self {
        if keep {
            Self::default()
        } else {
            Self::nothing()
        }
    }

    /// Keeps what `filter` keeps from now on, unless nothing is kept anyway.
    pub(crate) fn narrow(&mut self, filter: &Self) {
        if !self.keeps_nothing() {
            self.clone_from(filter);
        }
    }

    /// The same, with attributes of these names kept whatever patterns say, for whoever takes them out.
    pub(crate) fn reading(&self, names: Vec<Vec<u8>>) -> Self {
        let read = self.read.iter().cloned().chain(names);
        Self {
            read: read.collect(),
            ..self.clone()
        }
    }

    /// What keeps no attribute at all.
    pub fn nothing() -> Self {
        Self {
            otherwise: XattrAction::Exclude,
            ..Self::default()
        }
    }

    /// Whether no attribute is kept, whatever its name.
    pub fn keeps_nothing(&self) -> bool {
        let nothing = self.patterns.is_empty() && self.read.is_empty();
        nothing && self.otherwise == XattrAction::Exclude
    }

    /// Whether the attribute `name` stays: the last pattern that matches says so. Where none does, it
    /// stays unless some are to be included.
    pub fn keeps(&self, name: &[u8]) -> bool {
        let mut stays = self.otherwise;
        for pattern in self.patterns.iter() {
            if pattern.pattern.matches(name) {
                pattern.matched.store(true, Ordering::Relaxed);
                stays = pattern.stay;
            }
        }
        stays == XattrAction::Include || self.read.iter().any(|read| read == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        use XattrAction::{Exclude, Include};
        for (patterns, kept) in [
            (&[][..], &["user.a", "user.b/c", "trusted.a"][..]),
            (&[(Exclude, "user.*")], &["trusted.a"]),
            (&[(Include, "user.*")], &["user.a", "user.b/c"]),
            (&[(Include, "user.*"), (Exclude, "*.a")], &["user.b/c"]),
            (&[(Exclude, "*"), (Include, "user.a")], &["user.a"]),
            (&[(Include, "user.a"), (Exclude, "*")], &[]),
        ] {
            let patterns: Vec<_> = patterns
                .iter()
                .map(|(stay, text)| XattrPattern::new(*stay, text).unwrap())
                .collect();
            let rules: Vec<_> = patterns.iter().cloned().map(Rule::Xattrs).collect();
            let filter = XattrFilter::of(&rules);
            let mut names = vec!["user.a", "user.b/c", "trusted.a"];
            names.retain(|name| filter.keeps(name.as_bytes()));
            assert_eq!(names, kept, "{patterns:?}");
        }
    }
}
