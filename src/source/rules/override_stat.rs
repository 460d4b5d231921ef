//! Given files that carry owner, mode and type in an extended attribute, as tools without root leave
//! them, makes them what the attribute says; never keeps the attribute.
//!
//! The value is `UID:GID:MODE[:TYPE]`, MODE octal, TYPE one of file, dir, symlink, pipe, socket,
//! `block-MAJOR-MINOR` and `char-MAJOR-MINOR` (containers/storage, its overlay driver; libkrun writes
//! the first three fields, with the type's bits in MODE).

use super::acl;
use super::change::kind_name;
use super::numbers::{decimal, device, owner};
use crate::source::{Readable, SourceError};
use crate::tree::{Kind, Metadata, NodeId, Special, Tree, XattrSetId};

/// Who writes such attributes: containers/storage and libkrun, and before them fuse-overlayfs.
const USUAL: [&[u8]; 2] = [
    b"user.containers.override_stat",
    b"user.fuseoverlayfs.override_stat",
];

/// Which attributes say what a file is, as a rule.
#[derive(Clone, Debug)]
pub struct OverrideStat {
    /// Those that come first are believed first.
    names: Vec<Vec<u8>>,
}

impl Default for OverrideStat {
    /// `user.containers.override_stat`, and where a file has none, `user.fuseoverlayfs.override_stat`.
    fn default() -> Self {
        Self {
            names: USUAL.map(<[u8]>::to_vec).into(),
        }
    }
}

/// What a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    uid: u32,
    gid: u32,
    permissions: u16,
    file_type: Option<Type>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    File,
    Directory,
    Symlink,
    Special(Special),
    /// A device whose number is not told.
    Device,
}

impl OverrideStat {
    /// The attribute `name`, with its namespace.
    pub fn of(name: impl Into<Vec<u8>>) -> Self {
        Self {
            names: vec![name.into()],
        }
    }

    pub(super) fn names(&self) -> &[Vec<u8>] {
        &self.names
    }

    /// Changes the files of `tree`, and says whether there was one to change.
    pub(super) fn apply(&self, tree: &mut Tree) -> Result<bool, SourceError> {
        let mut changed = false;
        for node in super::ids_of(tree) {
            let set = tree.node(node).xattrs;
            if set == XattrSetId::EMPTY {
                continue;
            }
            let xattrs = tree.xattr_set(set);
            let found = self.names.iter().find_map(|name| {
                let xattr = xattrs.iter().find(|xattr| xattr.name == *name)?;
                Some((name, xattr.value.clone()))
            });
            let Some((name, value)) = found else {
                continue;
            };
            let stat =
                stat(&value).and_then(|stat| stat.check(&tree.node(node).kind).map(|()| stat));
            let stat = stat.map_err(|needed| {
                let (path, name, value) =
                    (tree.path_of(node), Readable(name), value.escape_ascii());
                let text = format!("invalid {name} '{value}' of {}: {needed}", Readable(&path));
                SourceError::about(&path, text)
            })?;
            self.change(tree, node, stat);
            changed = true;
        }
        Ok(changed)
    }

    fn change(&self, tree: &mut Tree, node: NodeId, stat: Stat) {
        if let Some(Type::Special(special)) = stat.file_type {
            tree.become_special(node, special);
        }
        let metadata = Metadata {
            permissions: stat.permissions,
            uid: stat.uid,
            gid: stat.gid,
            ..tree.node(node).metadata
        };
        let mut xattrs = tree.xattrs(node).to_vec();
        xattrs.retain(|xattr| !self.names.contains(&xattr.name));
        acl::chmod(&mut xattrs, stat.permissions);
        tree.replace_metadata(node, metadata);
        let set = tree.intern_xattrs(xattrs);
        tree.replace_xattrs(node, set);
    }
}

const FORM: &str = "must be UID:GID:MODE[:TYPE]";

/// What `value` says, or what it must be.
fn stat(value: &[u8]) -> Result<Stat, String> {
    // A NUL at the end is libkrun's.
    let value = value.strip_suffix(b"\0").unwrap_or(value);
    let mut fields = value.splitn(4, |byte| *byte == b':');
    let mut field = || fields.next().ok_or_else(|| FORM.to_owned());
    let uid = owner("uid", field()?).map_err(|fault| fault.to_string())?;
    let gid = owner("gid", field()?).map_err(|fault| fault.to_string())?;
    let (permissions, of_mode) = mode(field()?)?;
    let file_type = match fields.next() {
        Some(word) => Some(of_word(word)?),
        None => of_mode,
    };
    Ok(Stat {
        uid,
        gid,
        permissions,
        file_type,
    })
}

/// The permissions and, if they have one, the type in a mode as `st_mode` has it.
fn mode(digits: &[u8]) -> Result<(u16, Option<Type>), String> {
    let refused = || "MODE must be octal digits up to 177777".to_owned();
    let is_octal = !digits.is_empty() && digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let text = str::from_utf8(digits).ok().filter(|_| is_octal);
    let mode = text.and_then(|text| u16::from_str_radix(text, 8).ok());
    let mode = mode.ok_or_else(refused)?;
    let file_type = match mode >> 12 {
        0 => None,
        0o10 => Some(Type::File),
        0o4 => Some(Type::Directory),
        0o12 => Some(Type::Symlink),
        0o1 => Some(Type::Special(Special::Fifo)),
        0o14 => Some(Type::Special(Special::Socket)),
        0o2 | 0o6 => Some(Type::Device),
        _ => return Err(refused()),
    };
    Ok((mode & 0o7777, file_type))
}

fn of_word(word: &[u8]) -> Result<Type, String> {
    let number = |digits: &[u8]| {
        let mut numbers = digits.splitn(2, |byte| *byte == b'-');
        let mut number = || decimal::<u64>("the device", numbers.next()?).ok();
        let (major, minor) = (number()?, number()?);
        device(major, minor)
    };
    let of_device = |digits: &[u8]| {
        number(digits).ok_or_else(|| {
            "must have a major of at most 4095 and a minor of at most 1048575".to_owned()
        })
    };
    Ok(match word {
        b"file" => Type::File,
        b"dir" => Type::Directory,
        b"symlink" => Type::Symlink,
        b"pipe" => Type::Special(Special::Fifo),
        b"socket" => Type::Special(Special::Socket),
        _ => match (word.strip_prefix(b"block-"), word.strip_prefix(b"char-")) {
            (Some(digits), _) => Type::Special(Special::BlockDevice(of_device(digits)?)),
            (_, Some(digits)) => Type::Special(Special::CharDevice(of_device(digits)?)),
            _ => {
                return Err(
                    "TYPE must be file, dir, symlink, pipe, socket, block-MAJOR-MINOR or \
                            char-MAJOR-MINOR"
                        .to_owned(),
                );
            }
        },
    })
}

impl Stat {
    /// Whether a file of this kind can be what is said. Only regular files stand for others: what
    /// cannot make a device makes one of these.
    fn check(self, kind: &Kind) -> Result<(), String> {
        let fits = match (self.file_type, kind) {
            (None, _)
            | (Some(Type::File), Kind::File(_))
            | (Some(Type::Directory), Kind::Directory(_))
            | (Some(Type::Symlink), Kind::Symlink(_))
            | (Some(Type::Device), Kind::CharDevice(_) | Kind::BlockDevice(_)) => true,
            (Some(Type::Special(_)), Kind::Directory(_) | Kind::Symlink(_)) => false,
            (Some(Type::Special(_)), _) => true,
            _ => false,
        };
        if fits {
            Ok(())
        } else {
            Err(format!("the file is {}", kind_name(kind)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Device;

    #[test]
    fn values_say_what_they_say() {
        let said = |value: &str| {
            stat(value.as_bytes())
                .map(|stat| (stat.uid, stat.gid, stat.permissions, stat.file_type))
        };
        let tty = Special::CharDevice(Device {
            major: 4,
            minor: 64,
        });
        let disk = Special::BlockDevice(Device { major: 8, minor: 1 });
        for (value, stat) in [
            ("0:42:0640", (0, 42, 0o640, None)),
            ("0:0:0100755\0", (0, 0, 0o755, Some(Type::File))),
            ("0:0:04755:file", (0, 0, 0o4755, Some(Type::File))),
            ("1:2:01777:dir", (1, 2, 0o1777, Some(Type::Directory))),
            (
                "0:5:0620:char-4-64",
                (0, 5, 0o620, Some(Type::Special(tty))),
            ),
            (
                "0:6:660:block-8-1",
                (0, 6, 0o660, Some(Type::Special(disk))),
            ),
            (
                "0:0:010644:pipe",
                (0, 0, 0o644, Some(Type::Special(Special::Fifo))),
            ),
        ] {
            assert_eq!(said(value), Ok(stat), "{value}");
        }
        for value in [
            "",
            "0",
            "0:0",
            "0:0:",
            "0:0:9",
            "0:0:1000000",
            "a:0:644",
            "-1:0:644",
            "0:0:644:",
            "0:0:644:door",
            "0:0:644:char-4",
            "0:0:644:char-4096-0",
            "0:0:644:char-+4-1",
            "4294967295:0:644",
            "0:0:644:file:",
            "0:0:0130644",
        ] {
            assert!(said(value).is_err(), "{value}");
        }
    }
}
