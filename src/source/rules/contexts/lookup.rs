//! Given specifications and a path, finds the one that counts; never reads their text.
//!
//! Six thousand patterns are not tried one after another. A pattern is kept under the directory that
//! its literal beginning names, so that a path meets only those of the directories it lies in, and of
//! these only those whose whole beginning it has: libselinux's own trick, taken to every depth.

use std::collections::HashMap;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::NFA;
use regex_automata::{Input, MatchKind};

use super::super::error::RuleErrorKind;
use super::parse::Specification;
use crate::tree::FileType;
use crate::work;

/// What all patterns may take together, compiled, in bytes.
const PATTERNS_BYTES_MAX: usize = 256 << 20;

/// The specifications of a file_contexts, compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Compiled {
    all: Vec<Specification>,
    /// Those that are exact, by their path; each list in their order.
    exact: HashMap<Box<[u8]>, Vec<usize>>,
    /// Those that are not, by the directory that their beginning names, with the slash behind it.
    below: HashMap<Box<[u8]>, Vec<usize>>,
    /// Whether one of those has no special character in libselinux's eyes, and yet is a pattern.
    has_exact_pattern: bool,
    bytes: usize,
}

/// What a path is labelled by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) index: usize,
    pub(super) context: &'a [u8],
}

impl Compiled {
    pub(super) fn add(&mut self, specification: Specification) -> Result<(), RuleErrorKind> {
        let nfa = specification.pattern.nfa.as_ref();
        self.bytes += nfa.map_or(0, NFA::memory_usage);
        if self.bytes > PATTERNS_BYTES_MAX {
            return Err(RuleErrorKind::Line(
                "the patterns up to this line take more than 256 MiB",
            ));
        }
        let prefix = &specification.pattern.prefix[..];
        let is_key = prefix.starts_with(&specification.pattern.stem);
        let list = if nfa.is_none() && specification.is_exact && is_key {
            self.exact.entry(prefix.into())
        } else {
            self.has_exact_pattern |= specification.is_exact;
            let slash = prefix.iter().rposition(|byte| *byte == b'/');
            self.below
                .entry(prefix[..slash.map_or(0, |at| at + 1)].into())
        };
        list.or_default().push(self.all.len());
        self.all.push(specification);
        Ok(())
    }

    /// Which of two that match counts: that of the higher rank.
    fn rank(&self, index: usize) -> (bool, usize) {
        (self.all[index].is_exact, index)
    }
}

/// Finds specifications, and keeps what it learns of their patterns.
pub(super) struct Lookup<'a> {
    compiled: &'a Compiled,
    matchers: HashMap<usize, (DFA, Cache)>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(compiled: &'a Compiled) -> Self {
        Self {
            compiled,
            matchers: HashMap::new(),
        }
    }

    /// What labels a file at `path`, if anything does.
    pub(super) fn find(&mut self, path: &[u8], file_type: FileType) -> Option<Found<'a>> {
        work::add_bytes(path.len());
        let index = match self.exact(path, file_type) {
            Some(index) if !self.compiled.has_exact_pattern => index,
            exact => {
                let found = exact.into_iter().chain(self.pattern(path, file_type));
                found.max_by_key(|index| self.compiled.rank(*index))?
            }
        };
        let specification = &self.compiled.all[index];
        let context = specification.context.as_deref()?;
        Some(Found { index, context })
    }

    fn exact(&self, path: &[u8], file_type: FileType) -> Option<usize> {
        // As in PCRE2, the end of a path is also before a newline.
        let short = path.strip_suffix(b"\n");
        let paths = std::iter::once(path).chain(short);
        let lists = paths.filter_map(|path| self.compiled.exact.get(path));
        let found = lists.filter_map(|list| {
            let mut list = list.iter().rev();
            list.find(|index| self.compiled.all[**index].is_of(file_type))
        });
        found.max().copied()
    }

    fn pattern(&mut self, path: &[u8], file_type: FileType) -> Option<usize> {
        let compiled = self.compiled;
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = std::iter::once(0).chain(slashes.map(|(at, _)| at + 1));
        let mut best: Option<usize> = None;
        for end in ends {
            let Some(list) = compiled.below.get(&path[..end]) else {
                continue;
            };
            for index in list.iter().rev() {
                let specification = &compiled.all[*index];
                let counts = best.is_none_or(|best| compiled.rank(*index) > compiled.rank(best));
                if counts
                    && specification.is_of(file_type)
                    && path.starts_with(&specification.pattern.prefix)
                    && self.matches(*index, path)
                {
                    best = Some(*index);
                }
            }
        }
        best
    }

    /// Whether the pattern matches `path`, which has its beginning.
    fn matches(&mut self, index: usize, path: &[u8]) -> bool {
        let specification = &self.compiled.all[index];
        let pattern = &specification.pattern;
        if !path.starts_with(&pattern.stem) {
            return false;
        }
        let Some(nfa) = &pattern.nfa else {
            return matches!(&path[pattern.prefix.len()..], b"" | b"\n");
        };
        work::add_bytes(path.len());
        let matcher = self.matchers.entry(index).or_insert_with(|| matcher(nfa));
        let (dfa, cache) = matcher;
        let input = Input::new(path).earliest(true);
        dfa.try_search_fwd(cache, &input)
            .expect("without a word of Unicode or a limit on its cache it does not give up")
            .is_some()
    }
}

fn matcher(nfa: &NFA) -> (DFA, Cache) {
    let config = DFA::config()
        .match_kind(MatchKind::LeftmostFirst)
        .skip_cache_capacity_check(true);
    let dfa = DFA::builder().configure(config).build_from_nfa(nfa.clone());
    let dfa = dfa.expect("its cache is as large as it must be");
    let cache = dfa.create_cache();
    (dfa, cache)
}
