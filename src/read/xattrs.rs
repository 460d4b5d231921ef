//! Given an inode, gives its extended attributes as programs see them: names in full, ACLs in the
//! kernel's form, values from inodes of their own; never what the filesystem keeps to itself.
//!
//! Layout: the kernel's documentation, "Extended Attributes"; hashes as in `ext4_xattr_inode_get`.

use super::bytes::index;
use super::error::{Error, ErrorDetail, Result};
use super::inode::Inode;
use super::volume::Volume;
use crate::ondisk::acl;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::inode::FLAG_EA_INODE;
use crate::ondisk::xattr::{
    ParsedBlock, StoredXattr, Value, XattrFault, block_checksum, block_hash, entry_hash,
    parse_block, parse_ibody, prefix,
};
use crate::units::{Block, Ino, Run};

/// The attribute that holds what inline data does not fit `i_block`: `system.data`.
pub(crate) const INLINE_DATA: (u8, &[u8]) = (7, b"data");
/// The longest value that programs can read, in bytes: Linux's `XATTR_SIZE_MAX`.
const VALUE_MAX: u32 = 65_536;

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// The name in full, such as `user.mime_type`.
    pub name: Vec<u8>,
    /// The value as `getxattr` gives it.
    pub value: Vec<u8>,
}

impl Volume<'_> {
    /// The extended attributes, those in the inode first.
    pub(crate) fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>> {
        let mut xattrs = Vec::new();
        for stored in &in_inode(inode)? {
            self.add(inode, stored, &mut xattrs)
                .map_err(|error| error.in_inode(inode.ino()))?;
        }
        if let Some(block) = inode.xattr_block() {
            self.add_block(inode, block, &mut xattrs)
                .map_err(|error| error.in_inode(inode.ino()).in_block(block))?;
        }
        Ok(xattrs)
    }

    fn add_block(&self, inode: &Inode, block: Block, xattrs: &mut Vec<Xattr>) -> Result<()> {
        let run = Run::one(block);
        if !self.sb.is_inside(run) {
            return Err(Error::new(ErrorDetail::Outside(run)));
        }
        let bytes = self.block(block)?;
        for stored in &self.parse_xattr_block(block, &bytes)?.entries {
            self.add(inode, stored, xattrs)?;
        }
        Ok(())
    }

    fn parse_xattr_block<'b>(&self, block: Block, bytes: &'b [u8]) -> Result<ParsedBlock<'b>> {
        // The checksum first: what it refuses is not worth another word.
        let parsed = parse_block(bytes);
        if self.sb.has_checksums() {
            let expected = block_checksum(self.sb.seed, block.get(), bytes);
            let found = super::bytes::word(bytes, 16);
            if found != expected {
                return Err(checksum("h_checksum", found, expected));
            }
        }
        let parsed = parsed.map_err(|fault| Error::new(ErrorDetail::Xattrs(fault)))?;
        let hashes = parsed.entries.iter().map(|it| it.entry.e_hash.get());
        let (found, expected) = (parsed.header.h_hash.get(), block_hash(hashes));
        // Zero keeps a block from being shared and is right for any.
        if found != 0 && found != expected {
            return Err(checksum("h_hash", found, expected));
        }
        Ok(parsed)
    }

    /// Adds an attribute, unless programs do not see it or an earlier one has its name.
    fn add(&self, inode: &Inode, stored: &StoredXattr<'_>, xattrs: &mut Vec<Xattr>) -> Result<()> {
        let key = (stored.entry.e_name_index, stored.name);
        let Some(prefix) = prefix(key.0).filter(|_| key != INLINE_DATA) else {
            return Ok(());
        };
        let name = [prefix, stored.name].concat();
        if xattrs.iter().any(|before| before.name == name) {
            return Ok(());
        }
        let value = match stored.value {
            Some(value) => value.to_vec(),
            None => self.value_inode(inode, stored)?,
        };
        let is_acl = matches!(key.0, 2 | 3);
        let value = if is_acl {
            acl::from_disk(&value).map_err(|error| Error::new(ErrorDetail::Acl(error)))?
        } else {
            value
        };
        xattrs.push(Xattr { name, value });
        Ok(())
    }

    /// The value that an inode of its own holds.
    fn value_inode(&self, owner: &Inode, stored: &StoredXattr<'_>) -> Result<Vec<u8>> {
        let ino = Ino::new(stored.entry.e_value_inum.get());
        let size = stored.entry.e_value_size.get();
        let named = |rule| {
            let name = stored.name.to_vec();
            Error::new(ErrorDetail::Named { rule, name })
        };
        if size > VALUE_MAX {
            return Err(named("has a value of more than 64 KiB"));
        }
        let inode = self.inode(ino)?;
        if !inode.is_file() || !inode.has_flag(FLAG_EA_INODE) {
            return Err(named("has its value in an inode that holds no xattr value"));
        }
        if inode.size() != u64::from(size) {
            return Err(named("differs in size from the inode of its value"));
        }
        let mut value = vec![0; index(size.into())];
        self.read_written(&inode, &mut value)?;
        self.verify_value(owner, &inode, &value)?;
        let hash = inode.stored().i_atime.get();
        let expected = entry_hash(
            stored.name,
            &Value::Inode {
                ino: ino.get(),
                size,
                hash,
            },
        );
        let signed = signed_name_hash(stored.name).rotate_left(16) ^ hash;
        let found = stored.entry.e_hash.get();
        if found != expected && found != signed && !is_of_lustre(owner, &inode) {
            return Err(checksum("e_hash", found, expected));
        }
        Ok(value)
    }

    fn verify_value(&self, owner: &Inode, inode: &Inode, value: &[u8]) -> Result<()> {
        let found = inode.stored().i_atime.get();
        let expected = crc32c(self.sb.seed, value);
        if found == expected || is_of_lustre(owner, inode) {
            return Ok(());
        }
        Err(checksum("the hash of a value", found, expected).in_inode(inode.ino()))
    }

    /// The second part of inline data, which an attribute holds.
    pub(crate) fn inline_rest(&self, inode: &Inode) -> Result<Vec<u8>> {
        let entries = in_inode(inode)?;
        let is_data = |it: &&StoredXattr<'_>| (it.entry.e_name_index, it.name) == INLINE_DATA;
        let held = entries.iter().find(is_data);
        let Some(held) = held.and_then(|held| held.value) else {
            let rule = "the xattr with the second part of its inline data is missing";
            return Err(Error::rule(rule).in_inode(inode.ino()));
        };
        Ok(held.to_vec())
    }
}

fn in_inode(inode: &Inode) -> Result<Vec<StoredXattr<'_>>> {
    let told = |fault: XattrFault| Error::new(ErrorDetail::Xattrs(fault)).in_inode(inode.ino());
    parse_ibody(inode.xattr_area()).map_err(told)
}

/// Whether a value's inode is one of Lustre's, which has its owner in place of a hash.
fn is_of_lustre(owner: &Inode, inode: &Inode) -> bool {
    inode.stored().i_mtime.get() == owner.ino().get() && inode.generation() == owner.generation()
}

/// The hash of a name whose bytes count as signed, as kernels before 6.2 took them.
pub(crate) fn signed_name_hash(name: &[u8]) -> u32 {
    let widen = |byte: &u8| i32::from(byte.cast_signed()).cast_unsigned();
    name.iter()
        .fold(0_u32, |hash, byte| hash.rotate_left(5) ^ widen(byte))
}

fn checksum(what: &'static str, found: u32, expected: u32) -> Error {
    Error::new(ErrorDetail::Checksum {
        what,
        found,
        expected,
    })
}
