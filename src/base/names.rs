//! Given the names in a directory, says where each leads, in little memory; never reads one.

use crate::read::{Error, Result};
use crate::units::Ino;

/// The names in a directory, in the order of their bytes.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// One behind the other.
    bytes: Box<[u8]>,
    /// Where each name ends, and the inode that it leads to.
    ends: Box<[(u32, Ino)]>,
}

impl Names {
    pub(super) fn new(mut names: Vec<(Box<[u8]>, Ino)>) -> Result<Self> {
        names.sort_unstable();
        let length = names.iter().map(|(name, _)| name.len()).sum();
        let mut bytes = Vec::with_capacity(length);
        let mut ends = Vec::with_capacity(names.len());
        for (name, ino) in names {
            bytes.extend_from_slice(&name);
            let end = u32::try_from(bytes.len());
            let end = end.map_err(|_| Error::rule("a directory has names of more than 4 GiB"))?;
            ends.push((end, ino));
        }
        Ok(Self {
            bytes: bytes.into(),
            ends: ends.into(),
        })
    }

    /// The inode that `name` leads to.
    pub(super) fn get(&self, name: &[u8]) -> Option<Ino> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(self.ends[middle].1),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn name(&self, number: usize) -> &[u8] {
        let place = |end: u32| usize::try_from(end).unwrap_or(usize::MAX);
        let start = number.checked_sub(1).map_or(0, |last| self.ends[last].0);
        &self.bytes[place(start)..place(self.ends[number].0)]
    }

    /// The inodes that the names lead to, in their order.
    pub(super) fn inos(&self) -> impl Iterator<Item = Ino> {
        self.ends.iter().map(|(_, ino)| *ino)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_among_others() {
        let all: [&[u8]; 5] = [b"b", b"abc", b"ab", b"\xff", b"c"];
        let names = all
            .iter()
            .zip(11..)
            .map(|(name, ino)| ((*name).into(), Ino::new(ino)));
        let names = Names::new(names.collect()).expect("they fit");
        for (name, ino) in all.iter().zip(11..) {
            assert_eq!(names.get(name), Some(Ino::new(ino)));
        }
        for missing in [&b""[..], b"a", b"abcd", b"d"] {
            assert_eq!(names.get(missing), None);
        }
        let inos: Vec<u32> = names.inos().map(Ino::get).collect();
        assert_eq!(inos, [13, 12, 11, 15, 14]);
        assert_eq!(Names::default().get(b"a"), None);
    }
}
