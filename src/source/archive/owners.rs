//! Given passwd and group files, gives the numbers of names; never asks anybody else.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::source::SourceError;

use super::acl::{Acl, Named};

/// The names that ACLs have for owners.
#[derive(Debug)]
pub(in crate::source) struct Wanted(HashSet<Vec<u8>>);

impl Wanted {
    /// Those of `acls`.
    pub(in crate::source) fn of<'a>(acls: impl Iterator<Item = &'a Acl>) -> Self {
        let mut names = HashSet::new();
        for name in acls.flat_map(Acl::names) {
            if !names.contains(name) {
                names.insert(name.to_vec());
            }
        }
        Self(names)
    }

    /// The numbers of these names in a file in the form of passwd(5) or group(5). Name and number are
    /// the first and third part of a line; of several, the first line counts. No other name is kept,
    /// however many lines there are.
    pub(in crate::source) fn numbers(&self, file: &[u8]) -> HashMap<Vec<u8>, u32> {
        let mut numbers = HashMap::new();
        for line in file.split(|byte| *byte == b'\n') {
            let mut parts = line.split(|byte| *byte == b':');
            let Some(name) = parts.next().filter(|name| self.0.contains(*name)) else {
                continue;
            };
            let number = parts.nth(1).and_then(number);
            if let Some(number) = number {
                numbers.entry(name.to_vec()).or_insert(number);
            }
        }
        numbers
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    let is_decimal = digits.iter().all(u8::is_ascii_digit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_decimal)?;
    digits.parse().ok()
}

impl Wanted {
    /// The numbers that the host's files have for these names.
    pub(in crate::source) fn of_host(&self) -> Result<Owners, SourceError> {
        let read = |path: &str| match std::fs::read(path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(SourceError::read(path.as_bytes(), error)),
        };
        Ok(Owners {
            users: self.numbers(&read("/etc/passwd")?),
            groups: self.numbers(&read("/etc/group")?),
        })
    }
}

/// The numbers of users and groups.
#[derive(Debug)]
pub(in crate::source) struct Owners {
    pub(in crate::source) users: HashMap<Vec<u8>, u32>,
    pub(in crate::source) groups: HashMap<Vec<u8>, u32>,
}

impl Owners {
    /// Adds those of `others` for names that have none.
    pub(in crate::source) fn add(&mut self, others: Self) {
        for (name, number) in others.users {
            self.users.entry(name).or_insert(number);
        }
        for (name, number) in others.groups {
            self.groups.entry(name).or_insert(number);
        }
    }

    pub(in crate::source) fn number(&self, named: Named<'_>) -> Option<u32> {
        let known = match named {
            Named::User(name) => self.users.get(name),
            Named::Group(name) => self.groups.get(name),
        };
        match named {
            Named::User(b"root") | Named::Group(b"root") => known.copied().or(Some(0)),
            _ => known.copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_name_counts() {
        let acl = Acl::from_text(b"u::rwx,u:a:rwx,u:b:rwx,g::rwx,g:adm:rwx,m::rwx,o::rwx").unwrap();
        let wanted = Wanted::of([acl].iter());
        let owners = Owners {
            users: wanted.numbers(b"a:x:7:8::/:\na:x:9:9::/:\nbad\nb:x:-1:\nc:x:1:\n"),
            groups: wanted.numbers(b"adm:x:4:\n"),
        };
        assert_eq!(owners.users.len(), 1);
        assert_eq!(owners.number(Named::User(b"a")), Some(7));
        assert_eq!(owners.number(Named::User(b"b")), None);
        assert_eq!(owners.number(Named::Group(b"adm")), Some(4));
        assert_eq!(owners.number(Named::Group(b"root")), Some(0));
    }
}
