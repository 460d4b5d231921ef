//! Given values of attributes that fit neither inode nor block, gives each distinct one an inode;
//! never the inode's blocks.
//!
//! With ea_inode an attribute's entry may name an inode that holds the value. Equal values share
//! one, which counts the entries that name it (kernel: `fs/ext4/xattr.c`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::ondisk::checksum::crc32c;
use crate::ondisk::xattr::Value;

/// An inode for a value.
#[derive(Clone, Debug)]
pub struct ValueInode {
    /// The value.
    pub bytes: Arc<[u8]>,
    /// Its CRC-32C from the filesystem's seed.
    pub hash: u32,
    /// How many entries name the inode.
    pub references: u64,
}

/// All inodes for values, in the order of their numbers.
#[derive(Debug)]
pub(super) struct ValueInodes {
    first_ino: u32,
    /// What the hashes of values begin with.
    seed: u32,
    known: HashMap<Arc<[u8]>, usize>,
    list: Vec<ValueInode>,
}

impl ValueInodes {
    pub(super) fn new(first_ino: u32, seed: u32) -> Self {
        Self {
            first_ino,
            seed,
            known: HashMap::new(),
            list: Vec::new(),
        }
    }

    /// Where `bytes` are, for an entry.
    pub(super) fn value_for(&mut self, bytes: &Arc<[u8]>) -> Value<'static> {
        let at = match self.known.get(bytes) {
            Some(at) => *at,
            None => self.add(bytes),
        };
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        Value::Inode {
            ino: self.first_ino.saturating_add(number),
            size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            hash: self.list[at].hash,
        }
    }

    fn add(&mut self, bytes: &Arc<[u8]>) -> usize {
        let at = self.list.len();
        self.known.insert(bytes.clone(), at);
        self.list.push(ValueInode {
            bytes: bytes.clone(),
            hash: crc32c(self.seed, bytes),
            references: 0,
        });
        at
    }

    /// Counts `entries` more entries that name the inode `ino`.
    pub(super) fn refer(&mut self, ino: u32, entries: u64) {
        let at = usize::try_from(ino - self.first_ino).unwrap_or(usize::MAX);
        if let Some(inode) = self.list.get_mut(at) {
            inode.references += entries;
        }
    }

    pub(super) fn into_list(self) -> Vec<ValueInode> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_an_inode_that_counts_its_entries() {
        let mut inodes = ValueInodes::new(20, !0);
        let value = |byte: u8| Arc::from(vec![byte; 3000]);
        let ino = |value: Value<'_>| match value {
            Value::Inode { ino, size, .. } => (ino, size),
            Value::Inline(_) => (0, 0),
        };
        let found = [1, 2, 1].map(|byte| ino(inodes.value_for(&value(byte))));
        assert_eq!(found, [(20, 3000), (21, 3000), (20, 3000)]);
        inodes.refer(20, 2);
        inodes.refer(21, 1);
        let counts: Vec<u64> = inodes.into_list().iter().map(|it| it.references).collect();
        assert_eq!(counts, [2, 1]);
    }
}
