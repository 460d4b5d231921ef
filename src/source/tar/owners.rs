//! Given the image's own passwd and group files, gives the numbers of names; never asks the host's.

use std::collections::HashMap;

use super::pax::decimal;
use crate::source::acl::Named;

/// The numbers of users and groups.
#[derive(Debug)]
pub(super) struct Owners {
    users: HashMap<Vec<u8>, u32>,
    groups: HashMap<Vec<u8>, u32>,
}

impl Owners {
    /// Those of files in the form of passwd(5) and group(5).
    pub(super) fn new(passwd: &[u8], group: &[u8]) -> Self {
        Self {
            users: numbers(passwd),
            groups: numbers(group),
        }
    }

    pub(super) fn number(&self, named: Named<'_>) -> Option<u32> {
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

/// Name and number are the first and third part of a line; of several, the first line counts.
fn numbers(file: &[u8]) -> HashMap<Vec<u8>, u32> {
    let mut numbers = HashMap::new();
    for line in file.split(|byte| *byte == b'\n') {
        let mut parts = line.split(|byte| *byte == b':');
        if let (Some(name), Some(number)) = (parts.next(), parts.nth(1))
            && let Some(Ok(number)) = decimal(number).map(u32::try_from)
        {
            numbers.entry(name.to_vec()).or_insert(number);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_name_counts() {
        let owners = Owners::new(b"a:x:7:8::/:\na:x:9:9::/:\nbad\nb:x:-1:\n", b"adm:x:4:\n");
        assert_eq!(owners.number(Named::User(b"a")), Some(7));
        assert_eq!(owners.number(Named::User(b"b")), None);
        assert_eq!(owners.number(Named::Group(b"adm")), Some(4));
        assert_eq!(owners.number(Named::Group(b"root")), Some(0));
    }
}
