//! Given ranges of ids, says what an id becomes; never looks at a file.

use std::fmt;

/// A range of ids and the range that takes its place: `IN:OUT:COUNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first id of the source.
    pub from: u32,
    /// What it is in the image.
    pub to: u32,
    /// How many follow one another, at least one; none of them is past 2^32 - 1.
    pub count: u32,
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.from, self.to, self.count)
    }
}

/// Ids of the source and what they are in the image. All ranges count at once, so two ids can
/// change places; an id in none of them stays as it is.
///
/// ```
/// use mke4fs::source::rules::IdMap;
///
/// let mut map = IdMap::default();
/// map.add("100000:0:65536".parse()?)?;
/// assert_eq!(map.id(100_033), 33);
/// assert_eq!(map.id(1000), 1000);
/// # Ok::<(), mke4fs::source::rules::IdMapError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(Vec<IdRange>);

impl IdMap {
    /// Adds a range.
    ///
    /// # Errors
    /// Where it ends past the last id, leads to the one that stands for none, or another has an id of it already.
    pub fn add(&mut self, range: IdRange) -> Result<(), IdMapError> {
        let past = |start: u32| start.checked_add(range.count.saturating_sub(1)).is_none();
        // The last id stands for none.
        let is_to_none = range.to.checked_add(range.count).is_none();
        if range.count == 0 || past(range.from) || is_to_none {
            return Err(IdMapError::Range(range.to_string()));
        }
        let last = |range: &IdRange| range.from + (range.count - 1);
        let overlaps = |other: &&IdRange| other.from <= last(&range) && range.from <= last(other);
        if let Some(other) = self.0.iter().find(overlaps) {
            return Err(IdMapError::Overlap(*other, range));
        }
        self.0.push(range);
        Ok(())
    }

    /// What `id` becomes.
    pub fn id(&self, id: u32) -> u32 {
        self.found(id).map_or(id, |(_, id)| id)
    }

    /// Which range has `id`, and what that makes of it.
    pub(super) fn found(&self, id: u32) -> Option<(usize, u32)> {
        self.0.iter().enumerate().find_map(|(at, range)| {
            let beyond = id.checked_sub(range.from)?;
            (beyond < range.count).then(|| (at, range.to + beyond))
        })
    }

    pub(super) fn ranges(&self) -> &[IdRange] {
        &self.0
    }
}

impl std::str::FromStr for IdRange {
    type Err = IdMapError;

    fn from_str(text: &str) -> Result<Self, IdMapError> {
        let refused = || IdMapError::Range(text.to_owned());
        let mut numbers = text
            .split(':')
            .map(|number| number.parse().map_err(|_| refused()));
        let mut next = || numbers.next().ok_or_else(refused)?;
        let range = Self {
            from: next()?,
            to: next()?,
            count: next()?,
        };
        match numbers.next() {
            None => Ok(range),
            Some(_) => Err(refused()),
        }
    }
}

/// What is no map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdMapError {
    /// A range that is none.
    Range(String),
    /// Two ranges that have an id in common.
    Overlap(IdRange, IdRange),
}

impl IdMapError {
    /// Says it to a program, which gives the first range by both ends.
    pub(crate) fn say_to_program(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(text) => {
                f.write_str("invalid map of ")?;
                match text.parse::<IdRange>() {
                    Ok(IdRange { from, to, count }) => {
                        let end = u64::from(from) + u64::from(count);
                        write!(f, "IDs {from}..{end} to {to}")?;
                    }
                    Err(_) => write!(f, "IDs '{}'", text.escape_debug())?,
                }
                f.write_str(
                    ": must be of one ID or more, from 4294967295 at most to 4294967294 at most",
                )
            }
            Self::Overlap(first, second) => write!(f, "ID ranges {first} and {second} overlap"),
        }
    }

    /// The range that is none, or that has ids of another.
    pub(crate) fn ids(&self) -> String {
        match self {
            Self::Range(text) => text.clone(),
            Self::Overlap(_, range) => range.to_string(),
        }
    }
}

impl fmt::Display for IdMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(text) => write!(
                f,
                "invalid ID range '{}': must be IN:OUT:COUNT, COUNT at least 1, IN up to 4294967295 and \
                 OUT up to 4294967294",
                text.escape_debug()
            ),
            Self::Overlap(first, second) => {
                write!(f, "ID ranges {first} and {second} overlap")
            }
        }
    }
}

impl std::error::Error for IdMapError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[&str]) -> Result<IdMap, IdMapError> {
        let mut map = IdMap::default();
        for range in ranges {
            map.add(range.parse()?)?;
        }
        Ok(map)
    }

    #[test]
    fn ranges_count_at_once() {
        let map = map(&["0:1000:1", "1000:0:1", "4294967290:10:6"]).unwrap();
        let ids = [0, 1000, 1001, u32::MAX].map(|id| map.id(id));
        assert_eq!(ids, [1000, 0, 1001, 15]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "1",
            "1:2",
            "1:2:0",
            "1:2:3:4",
            "-1:2:3",
            "4294967295:0:2",
            "0:4294967295:1",
            "0:4294967290:6",
            "0:1:4294967295x",
        ] {
            assert_eq!(map(&[text]), Err(IdMapError::Range(text.to_owned())));
        }
        let said = map(&["0:5:10", "9:0:1"]).unwrap_err().to_string();
        assert_eq!(said, "ID ranges 0:5:10 and 9:0:1 overlap");
    }
}
