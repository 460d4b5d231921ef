//! Given a filesystem, writes a tar archive of its files; never a socket, which tar cannot hold.
//!
//! The format is pax: nanoseconds, owners and names of any length, extended attributes as GNU tar names
//! them (`SCHILY.xattr.`), ACLs as text (`SCHILY.acl.`), chattr's flags by libarchive's names
//! (`SCHILY.fflags`), and files with holes as GNU tar's sparse format 1.0. The same filesystem makes the
//! same bytes: members stand in the order of their names' bytes, each directory before what it holds.

pub(crate) mod acl;
mod header;

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;

use super::{ExportError, LOST_AND_FOUND, is_empty};
use crate::read::{self, File, FileType, Filesystem, Inode, Xattr};
use crate::units::Ino;
use header::{Kind, Member, Records};

/// The size of a block of tar's, in bytes.
const BLOCK_BYTES: u64 = 512;
/// How much file data is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// chattr's flags by the names that libarchive gives them, and those that it has no name for by their
/// own; the bits are those of the kernel's `inodes.rst`.
const FLAGS: [(u32, &str); 15] = [
    (0x1, "secdel"),
    (0x2, "undel"),
    (0x4, "compress"),
    (0x8, "sync"),
    (0x10, "schg"),
    (0x20, "sappnd"),
    (0x40, "nodump"),
    (0x80, "noatime"),
    (0x4000, "journal"),
    (0x8000, "notail"),
    (0x1_0000, "dirsync"),
    (0x2_0000, "topdir"),
    (0x200_0000, "dax"),
    (0x2000_0000, "projinherit"),
    (0x4000_0000, "casefold"),
];

/// The flags that a new file takes over from its directory (the kernel's `EXT4_FL_INHERITED`).
const INHERITED: u32 = 0x6201_c0cf;

/// Those among them that only directories have.
const DIRECTORY_ONLY: u32 = 0x6001_0000;

/// What an archive has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Omitted {
    /// How many sockets.
    pub sockets: u64,
    /// The path of the first.
    pub first_socket: Vec<u8>,
}

/// Writes to `out` an archive of what is at `paths` and below, or of the whole filesystem where there are
/// none. Names in it begin at the root, without a slash; the root itself is `./`. `lost+found` is in an
/// archive of the whole only where something is in it.
///
/// # Errors
/// Where something cannot be read, is encrypted, or cannot be written.
pub fn write(
    filesystem: &Filesystem<'_>,
    paths: &[Vec<u8>],
    out: &mut dyn Write,
) -> Result<Omitted, ExportError> {
    let mut archive = Archive {
        filesystem,
        out,
        links: HashMap::new(),
        buffer: Vec::new(),
        omitted: Omitted::default(),
    };
    if paths.is_empty() {
        archive.below(Vec::new(), &filesystem.metadata("/")?)?;
    }
    for path in paths {
        let inode = filesystem.symlink_metadata(path)?;
        archive.below(name_of(path)?, &inode)?;
    }
    archive.put(&[0; 1024])?;
    archive.out.flush().map_err(ExportError::Write)?;
    Ok(archive.omitted)
}

/// A path as a member is called: from the root, without a slash at either end.
fn name_of(path: &[u8]) -> Result<Vec<u8>, ExportError> {
    let names = path.split(|byte| *byte == b'/');
    let names: Vec<&[u8]> = names.filter(|name| !matches!(*name, b"" | b".")).collect();
    if names.contains(&&b".."[..]) {
        return Err(ExportError::Parent(path.to_vec()));
    }
    Ok(names.join(&b'/'))
}

/// An archive that is being written.
struct Archive<'a> {
    filesystem: &'a Filesystem<'a>,
    out: &'a mut dyn Write,
    /// The first member of each inode that has several names.
    links: HashMap<Ino, Vec<u8>>,
    buffer: Vec<u8>,
    omitted: Omitted,
}

impl Archive<'_> {
    /// Writes what `start` is and all below it; `path` is the name of its member.
    fn below(&mut self, path: Vec<u8>, start: &Inode) -> Result<(), ExportError> {
        self.member(&path, start, 0)?;
        if !start.is_dir() {
            return Ok(());
        }
        let filesystem = self.filesystem;
        // The flags of the directories on the way.
        let mut above = vec![start.flags()];
        let mut walk = filesystem.walk(start)?.sorted();
        while let Some(found) = walk.next() {
            let found = found?;
            let is_own = path.is_empty() && found.depth == 0;
            if is_own
                && found.entry.name() == LOST_AND_FOUND
                && found.inode.is_dir()
                && is_empty(filesystem, &found.inode)?
            {
                walk.skip_below();
                continue;
            }
            let mut name = path.clone();
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(walk.path());
            above.truncate(found.depth + 1);
            let flags = above.last().copied().unwrap_or_default();
            self.member(&name, &found.inode, flags)?;
            if found.inode.is_dir() {
                above.push(found.inode.flags());
            }
        }
        Ok(())
    }

    /// Writes one member; `above` is the flags of its directory.
    fn member(&mut self, path: &[u8], inode: &Inode, above: u32) -> Result<(), ExportError> {
        if inode.is_encrypted() {
            let error = read::Error::not(read::ErrorKind::Encrypted);
            let error = error.in_inode(inode.ino()).on_path(path);
            return Err(ExportError::Read(error));
        }
        let has_names = inode.links() > 1 && !inode.is_dir();
        if let Some(first) = self.links.get(&inode.ino()).filter(|_| has_names) {
            let member = Member::new(Kind::HardLink, path, inode).leading_to(first);
            let bytes = member.encode(Records::default());
            return self.put(&bytes);
        }
        let kind = match inode.file_type() {
            Some(FileType::Socket) | None => {
                if self.omitted.sockets == 0 {
                    self.omitted.first_socket = path.to_vec();
                }
                self.omitted.sockets += 1;
                return Ok(());
            }
            Some(FileType::Regular) => Kind::File,
            Some(FileType::Directory) => Kind::Directory,
            Some(FileType::Symlink) => Kind::Symlink,
            Some(FileType::CharDevice) => Kind::CharDevice,
            Some(FileType::BlockDevice) => Kind::BlockDevice,
            Some(FileType::Fifo) => Kind::Fifo,
        };
        let records = self.records(inode, above)?;
        let name = directory_name(path, inode);
        let member = Member::new(kind, &name, inode);
        match kind {
            Kind::File => self.file(member, records)?,
            Kind::Symlink => {
                let target = self.filesystem.link_target(inode)?;
                self.put(&member.leading_to(&target).encode(records))?;
            }
            _ => self.put(&member.encode(records))?,
        }
        if has_names {
            self.links.insert(inode.ino(), path.to_vec());
        }
        Ok(())
    }

    /// What only pax says of an inode: times, flags, extended attributes.
    fn records(&self, inode: &Inode, above: u32) -> Result<Records, ExportError> {
        let mut records = Records::default();
        records.time("mtime", inode.mtime());
        records.time("atime", inode.atime());
        records.time("ctime", inode.ctime());
        let flags = flag_names(inode, above);
        if !flags.is_empty() {
            records.push(b"SCHILY.fflags", flags.as_bytes());
        }
        for Xattr { name, value } in self.filesystem.xattrs_of(inode)? {
            match acl::of_attribute(&name, &value) {
                Some((key, text)) => records.push(key, text.as_bytes()),
                None => records.push(&xattr_key(&name), &value),
            }
        }
        Ok(records)
    }

    /// Writes a regular file; `member` has no size yet.
    fn file(&mut self, member: Member<'_>, records: Records) -> Result<(), ExportError> {
        let file = self.filesystem.file(member.inode)?;
        let size = file.size();
        let ranges = file.data_ranges()?;
        let is_whole = match &ranges[..] {
            [] => size == 0,
            [range] => *range == (0..size),
            _ => false,
        };
        if is_whole {
            self.put(&member.sized(size).encode(records))?;
        } else {
            let map = sparse_map(&ranges, size);
            let data: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            let stored = length(map.len()).saturating_add(data);
            let bytes = member.sized(stored).encode_sparse(records, size);
            self.put(&bytes)?;
            self.put(&map)?;
        }
        let mut written = 0;
        for range in ranges {
            written += range.end - range.start;
            self.data(&file, range)?;
        }
        self.pad(written)
    }

    fn data(&mut self, file: &File<'_>, range: Range<u64>) -> Result<(), ExportError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(CHUNK_BYTES, 0);
        let mut at = range.start;
        while at < range.end {
            let most = usize::try_from(range.end - at).unwrap_or(CHUNK_BYTES);
            let part = buffer.get_mut(..most.min(CHUNK_BYTES)).unwrap_or_default();
            let count = file.read_at(at, part)?;
            self.put(part.get(..count).unwrap_or_default())?;
            at += length(count);
        }
        self.buffer = buffer;
        Ok(())
    }

    fn pad(&mut self, written: u64) -> Result<(), ExportError> {
        let missing = written.next_multiple_of(BLOCK_BYTES) - written;
        let zeros = [0; 512];
        let missing = usize::try_from(missing).unwrap_or_default();
        self.put(zeros.get(..missing).unwrap_or_default())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.out.write_all(bytes).map_err(ExportError::Write)
    }
}

/// The flags of an inode, apart by commas, and in the negative those that it would take over from its
/// directory and does not have.
fn flag_names(inode: &Inode, above: u32) -> String {
    // Only what a file may have is taken over.
    let possible = match inode.file_type() {
        Some(FileType::Directory) => INHERITED,
        Some(FileType::Regular) => INHERITED & !DIRECTORY_ONLY,
        _ => 0,
    };
    let names = FLAGS.iter().filter_map(|(bit, name)| {
        if inode.flags() & bit != 0 {
            return Some((*name).to_owned());
        }
        let is_missing = above & possible & bit != 0;
        is_missing.then(|| match name.strip_prefix("no") {
            Some(positive @ ("dump" | "atime")) => positive.to_owned(),
            _ => format!("no{name}"),
        })
    });
    names.collect::<Vec<_>>().join(",")
}

/// The name of a member: that of a directory ends in a slash.
fn directory_name(path: &[u8], inode: &Inode) -> Vec<u8> {
    match (path, inode.is_dir()) {
        (b"", _) => b"./".to_vec(),
        (path, true) => [path, b"/"].concat(),
        (path, false) => path.to_vec(),
    }
}

/// The key of an extended attribute, whose name GNU tar keeps free of `=` and of its own escape.
fn xattr_key(name: &[u8]) -> Vec<u8> {
    let mut key = b"SCHILY.xattr.".to_vec();
    for byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            byte => key.push(*byte),
        }
    }
    key
}

/// Where the data of a file with holes is, as sparse format 1.0 has it before the data: decimal numbers in
/// lines, a count and then a start and a length for each range, in whole blocks.
fn sparse_map(ranges: &[Range<u64>], size: u64) -> Vec<u8> {
    // As GNU tar has it, an empty range at the end says how long the file is.
    let end = (ranges.last().is_none_or(|last| last.end < size)).then_some(size..size);
    let all = ranges.iter().cloned().chain(end);
    let mut map = format!("{}\n", all.clone().count());
    for range in all {
        map.push_str(&format!("{}\n{}\n", range.start, range.end - range.start));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(512), 0);
    map
}

/// A length for arithmetic on places.
fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
