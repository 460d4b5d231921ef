//! Given patterns of attribute names, says which attributes stay; never reads a value.

use super::super::patterns::{Pattern, PatternError};

/// Whether the attributes of a pattern stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// They stay.
    Include,
    /// They go.
    Exclude,
}

/// A pattern of whole attribute names, such as `user.*`, and what becomes of the attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XattrPattern {
    stay: Stay,
    pattern: Pattern,
}

impl XattrPattern {
    /// The pattern that `text` spells: `*` stands for any bytes, `?` for one, `[a-z]` for one of a
    /// set, and `\` takes its meaning from what follows it.
    ///
    /// # Errors
    /// Where it ends in the middle of something, or is empty.
    pub fn new(stay: Stay, text: impl AsRef<[u8]>) -> Result<Self, PatternError> {
        Ok(Self {
            stay,
            pattern: Pattern::of_attributes(text.as_ref())?,
        })
    }

    pub(super) fn text(&self) -> &[u8] {
        self.pattern.text()
    }
}

/// All patterns of attributes, in their order.
pub(super) struct Filter<'a> {
    patterns: Vec<&'a XattrPattern>,
    /// Which of them matched.
    matched: Vec<bool>,
}

impl<'a> Filter<'a> {
    pub(super) fn new(patterns: impl Iterator<Item = &'a XattrPattern>) -> Self {
        let patterns: Vec<_> = patterns.collect();
        Self {
            matched: vec![false; patterns.len()],
            patterns,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the attribute `name` stays: the last pattern that matches says so. Where none does, it
    /// stays unless some are to be included.
    pub(super) fn keeps(&mut self, name: &[u8]) -> bool {
        let mut stays = None;
        for (pattern, matched) in self.patterns.iter().zip(&mut self.matched) {
            if pattern.pattern.matches(name) {
                *matched = true;
                stays = Some(pattern.stay);
            }
        }
        let by_default = || match self.patterns.iter().any(|it| it.stay == Stay::Include) {
            true => Stay::Exclude,
            false => Stay::Include,
        };
        stays.unwrap_or_else(by_default) == Stay::Include
    }

    /// The patterns that matched nothing.
    pub(super) fn unmatched(&self) -> impl Iterator<Item = &'a XattrPattern> {
        let pairs = self.patterns.iter().zip(&self.matched);
        pairs
            .filter(|(_, matched)| !**matched)
            .map(|(pattern, _)| *pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        use Stay::{Exclude, Include};
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
            let mut filter = Filter::new(patterns.iter());
            let mut names = vec!["user.a", "user.b/c", "trusted.a"];
            names.retain(|name| filter.keeps(name.as_bytes()));
            assert_eq!(names, kept, "{patterns:?}");
        }
    }
}
