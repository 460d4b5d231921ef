//! Given the bytes of an uncompressed tar archive, gives its entries one by one; never puts one
//! anywhere.
//!
//! The forms are those of the seventh edition, POSIX and GNU tar, with PAX headers before entries
//! and for all of them. Where programs disagree on what a header means, it is refused; what is wrong
//! with an entry alone is told with the entry, since nobody may want it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use super::header::{self, BLOCK, Form, Header};
use super::pax::{self, Records, Scope};
use super::{sparse, xattrs};
use crate::source::archive::acl::{ACCESS, Acl, DEFAULT};
use crate::source::archive::decompress::Ignored;
use crate::source::archive::entry::{Entry, EntryKind, Stored};
use crate::source::archive::error::{ArchiveError, ErrorKind, Field};
use crate::source::archive::input::Input;
use crate::source::archive::{Oddities, Oddity};
use crate::source::ext4_names;
use crate::source::rules::XattrFilter;
use crate::tree::{DataMap, Device, Flags, Metadata, Special, Xattr};
use crate::units::{Timestamp, is_zero};
use crate::work;

/// The longest path, in bytes.
const MOST_PATH: u64 = 1 << 16;
/// The longest PAX header, in bytes.
const MOST_RECORDS: u64 = 1 << 24;
/// The most that is kept of PAX headers for all entries, in bytes, with [`RECORD`](pax::RECORD) more for
/// each record. Every entry takes all of it over, so it is most of what an entry of a few bytes can cost.
const MOST_GLOBAL: u64 = 1 << 10;
/// The longest archive without an entry, in bytes. It needs two blocks; tapes have records of a few MiB.
const MOST_ZEROS: u64 = 1 << 30;
/// How many bytes the names, targets and attributes of a compressed archive's entries may have together:
/// some in any case, some for each entry, and some for each compressed byte.
const MOST_NAMED: u64 = 32 << 20;
const NAMED_BY_ENTRY: u64 = 512;
const NAMED_BY_BYTE: u64 = 4;
/// The longest value of an attribute that ext4 has, in bytes (`XATTR_SIZE_MAX`). What is longer would be
/// kept in memory, only to be refused in the end.
const MOST_VALUE: usize = 1 << 16;
/// The longest name of an attribute that Linux lists, in bytes (`XATTR_NAME_MAX`).
const MOST_ATTRIBUTE_NAME: usize = 255;

/// The most bytes that the names of a file's attributes have, each with a NUL (`XATTR_LIST_MAX`).
const MOST_NAMES: usize = 1 << 16;

/// How an archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the two blocks of zeros that are its mark.
    Marked,
    /// With its last entry: it may have been cut off there.
    Unmarked,
    /// With one block of zeros that something follows. GNU tar and bsdtar end there as well.
    Lone,
}

/// An archive that is being read.
///
/// ```
/// use mke4fs::source::tar::{Archive, Input};
///
/// struct Zeros(std::io::Take<std::io::Repeat>);
/// # impl std::io::Read for Zeros {
/// #     fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
/// #         self.0.read(buffer)
/// #     }
/// # }
/// impl Input for Zeros {}
///
/// let zeros = std::io::Read::take(std::io::repeat(0), 1024);
/// let mut archive = Archive::new(Zeros(zeros));
/// assert!(archive.next_entry()?.is_none());
/// # Ok::<(), mke4fs::source::tar::ArchiveError>(())
/// ```
#[derive(Debug)]
pub struct Archive<I> {
    input: I,
    /// How many bytes were taken from the input.
    at: u64,
    /// The bytes of the entry's data that were not read, and those that fill its last block.
    left: u64,
    padding: u64,
    global: Records,
    /// Which extended attributes are kept.
    xattrs: XattrFilter,
    /// What is being read, for errors.
    offset: u64,
    path: Vec<u8>,
    end: Option<End>,
    oddities: Oddities,
    /// What the archive is unpacked from, if it is compressed.
    packed: Ignored,
    entries: u64,
    /// How many bytes names, targets and attributes of all entries had together.
    named: u64,
}

/// The headers that stand before an entry's own.
#[derive(Debug, Default)]
struct Before {
    /// The name that the last of them has itself.
    name: Option<Vec<u8>>,
    records: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Before {
    /// What a person may call them, if there are any: the name that they give the entry, or their own.
    fn into_name(self) -> Option<Vec<u8>> {
        let own = self.name?;
        Some(self.records.path.or(self.long_name).unwrap_or(own))
    }
}

impl<I: Input> Archive<I> {
    /// The archive that `input` holds, uncompressed.
    pub fn new(input: I) -> Self {
        Self {
            input,
            at: 0,
            left: 0,
            padding: 0,
            global: Records::default(),
            xattrs: XattrFilter::default(),
            offset: 0,
            path: Vec::new(),
            end: None,
            oddities: Oddities::default(),
            packed: Ignored::default(),
            entries: 0,
            named: 0,
        }
    }

    /// Passes over extended attributes and ACLs that `filter` does not keep, unread: what is wrong with
    /// one is no fault then.
    #[must_use]
    pub fn filter_xattrs(mut self, filter: XattrFilter) -> Self {
        self.xattrs = filter;
        self
    }

    /// Tells that the archive is unpacked from what `packed` counts: what its headers may hold is then
    /// bounded by that, since a few bytes can be unpacked to any length.
    pub(in crate::source) fn unpacked_from(mut self, packed: &Ignored) -> Self {
        self.packed = packed.clone();
        self
    }

    /// Refuses headers that hold far more than they were compressed to.
    fn check_named(&mut self, named: usize) -> Result<(), ErrorKind> {
        self.entries += 1;
        self.named = self.named.saturating_add(bytes(named));
        let packed = self.packed.packed();
        let most =
            MOST_NAMED + self.entries * NAMED_BY_ENTRY + packed.saturating_mul(NAMED_BY_BYTE);
        if packed > 0 && self.named > most {
            return Err(ErrorKind::Named(self.named, most));
        }
        Ok(())
    }

    /// The next entry, or none where the archive ends. What was not read of the last entry's data is
    /// passed over.
    ///
    /// # Errors
    /// Where there is neither an entry nor the archive's end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.try_next().map_err(|fault| self.blame(fault))
    }

    /// Reads the data of the entry that came last, range after range.
    ///
    /// # Errors
    /// Where they cannot be read, or the archive ends.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        match self.input.read(&mut buffer[..most]) {
            Ok(0) if most > 0 => Err(self.blame(ErrorKind::CutOff)),
            Ok(count) => {
                let count_bytes = bytes(count);
                self.at += count_bytes;
                self.left -= count_bytes;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read_data(buffer),
            Err(error) => Err(self.blame(ErrorKind::Read(Arc::new(error)))),
        }
    }

    /// How the archive ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// What was odd by now beside what entries say, each told once.
    pub(in crate::source) fn oddities(&mut self) -> Oddities {
        std::mem::take(&mut self.oddities)
    }

    /// What the archive is read from, behind all that was read of it.
    pub fn into_input(self) -> I {
        self.input
    }

    fn blame(&mut self, fault: ErrorKind) -> ArchiveError {
        ArchiveError {
            path: self.path.clone(),
            offset: self.offset,
            fault,
        }
    }

    fn try_next(&mut self) -> Result<Option<Entry>, ErrorKind> {
        let left = self.left + self.padding;
        self.pass(left)?;
        (self.left, self.padding) = (0, 0);
        self.offset = self.at;
        self.path.clear();
        let mut before = Before::default();
        while self.end.is_none() {
            let first = self.at == self.offset;
            let Some(block) = self.block_or_end()? else {
                if !first {
                    return Err(ErrorKind::CutOff);
                }
                if self.at == 0 {
                    return Err(ErrorKind::Empty);
                }
                self.end = Some(End::Unmarked);
                break;
            };
            if is_zero(&block) {
                self.ending()?;
                if let Some(name) = before.into_name() {
                    self.oddities.note(Oddity::HeaderAlone, &name);
                }
                break;
            }
            let header = Header::new(block)?;
            if let Some(entry) = self.header(&header, &mut before)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Takes the second block of zeros of the archive's end.
    fn ending(&mut self) -> Result<(), ErrorKind> {
        let begins_so = self.at == bytes(BLOCK);
        self.end = Some(match self.block_or_end()? {
            None => End::Unmarked,
            Some(block) if is_zero(&block) => End::Marked,
            Some(_) if begins_so => return Err(ErrorKind::NotZeros),
            Some(_) => End::Lone,
        });
        if begins_so {
            self.only_zeros()?;
        }
        Ok(())
    }

    /// Reads what follows an end that no entry stands before: unless all of it is zeros, this is
    /// something else, such as an image whose first sector is not used.
    fn only_zeros(&mut self) -> Result<(), ErrorKind> {
        let mut buffer = vec![0; 1 << 16];
        while self.at < MOST_ZEROS {
            match self.input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) if is_zero(&buffer[..count]) => {
                    self.at += bytes(count);
                }
                Ok(_) => return Err(ErrorKind::NotZeros),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ErrorKind::Read(Arc::new(error))),
            }
        }
        Err(ErrorKind::NotZeros)
    }

    /// Takes a header, and gives the entry if it is of one.
    fn header(&mut self, header: &Header, before: &mut Before) -> Result<Option<Entry>, ErrorKind> {
        if let b'x' | b'X' | b'L' | b'K' = header.type_flag() {
            before.name = Some(header.name());
        }
        match header.type_flag() {
            b'x' | b'X' => {
                let body = self.body(header, MOST_RECORDS)?;
                before.records = Records::default();
                before.records.read(&body, Scope::One, &self.xattrs)?;
            }
            b'g' => {
                let body = self.body(header, MOST_RECORDS)?;
                self.global.read(&body, Scope::All, &self.xattrs)?;
                let kept = self.global.bytes();
                if kept > MOST_GLOBAL {
                    return Err(ErrorKind::TooLong {
                        bytes: kept,
                        most: MOST_GLOBAL,
                    });
                }
            }
            b'L' => before.long_name = Some(self.long_text(header)?),
            b'K' => before.long_link = Some(self.long_text(header)?),
            // The label of a tape.
            b'V' => {
                let size = self.size(header.number(Field::Size)?)?;
                self.pass(padded(size)?)?;
            }
            _ => return self.entry(header, std::mem::take(before)).map(Some),
        }
        Ok(None)
    }

    fn entry(&mut self, header: &Header, before: Before) -> Result<Entry, ErrorKind> {
        let mut records = before.records;
        let mut doubts = std::mem::take(&mut records.doubts);
        let path = records.sparse.name.clone().or(records.path.clone());
        let path = path.or(before.long_name).unwrap_or_else(|| header.name());
        self.path = Some(path)
            .filter(|path| !path.is_empty())
            .ok_or(ErrorKind::NoName)?;
        check_length(&self.path)?;
        if self.path.contains(&0) {
            return Err(ErrorKind::NulInName);
        }
        let target = records.link_path.clone().or(before.long_link);
        let target = target.unwrap_or_else(|| header.link_name().to_vec());
        let kind = self.kind(header, &records, target, &mut doubts)?;
        let mut metadata = self.metadata(header, &records, &mut doubts);
        let mut oddities: Vec<Oddity> = header.oddity().into_iter().collect();
        work::add_bytes(usize::try_from(self.global.bytes()).unwrap_or(usize::MAX));
        let mut xattrs = self.global.xattrs.clone();
        xattrs.extend(std::mem::take(&mut records.xattrs));
        let text = |one: Option<Vec<u8>>, all: &Option<Vec<u8>>| one.or_else(|| all.clone());
        let access = text(records.acl_access, &self.global.acl_access);
        let default = text(records.acl_default, &self.global.acl_default);
        let access = acl(access, xattrs.remove(ACCESS));
        let default = acl(default, xattrs.remove(DEFAULT));
        let is_symlink = matches!(kind, EntryKind::Symlink(_));
        let is_directory = matches!(kind, EntryKind::Directory);
        if is_symlink && access.is_some() || !is_directory && default.is_some() {
            oddities.push(Oddity::AclElsewhere);
        }
        if records.has_odd_time || self.global.has_odd_time {
            oddities.push(Oddity::PaxTime);
        }
        if records.has_nfs4_acl || self.global.has_nfs4_acl {
            oddities.push(Oddity::Nfs4Acl);
        }
        let access = access.filter(|_| !is_symlink).transpose();
        let default_acl = default.filter(|_| is_directory).transpose();
        let acl = doubted(access, &mut doubts);
        let default_acl = doubted(default_acl, &mut doubts);
        if let Some(acl) = &acl {
            metadata.permissions = acl.mode(metadata.permissions);
        }
        doubts.extend(too_many_names(&xattrs));
        let xattrs = xattrs.into_iter();
        let xattrs: Vec<Xattr> = xattrs.map(|(name, value)| Xattr { name, value }).collect();
        doubts.extend(xattrs.iter().filter_map(xattr_fault));
        let attributes = xattrs.iter().map(|it| it.name.len() + it.value.len());
        let target = match &kind {
            EntryKind::Symlink(target) | EntryKind::HardLink(target) => target.len(),
            _ => 0,
        };
        self.check_named(self.path.len() + target + attributes.sum::<usize>())?;
        if let EntryKind::HardLink(_) = kind {
            // What it says of itself counts for nothing.
            oddities.clear();
            doubts.retain(ErrorKind::is_of_target);
        }
        Ok(Entry {
            path: self.path.clone(),
            kind,
            metadata,
            xattrs,
            offset: self.offset,
            // One that says what a mode says is none.
            acl: acl.filter(|acl| !acl.is_mode()),
            default_acl,
            doubts,
            oddities,
        })
    }

    fn kind(
        &mut self,
        header: &Header,
        records: &Records,
        target: Vec<u8>,
        doubts: &mut Vec<ErrorKind>,
    ) -> Result<EntryKind, ErrorKind> {
        let size = match records.size {
            Some(size) => size,
            None => self.size(header.number(Field::Size)?)?,
        };
        // A header's own size means no data here to GNU tar, bsdtar and Go; programs disagree on that of
        // a record.
        let no_data = |kind, name| match records.size {
            None | Some(0) => Ok(kind),
            Some(size) => Err(ErrorKind::DataOf(name, size)),
        };
        match header.type_flag() {
            b'1' => {
                let target = link_target(target, doubts);
                no_data(EntryKind::HardLink(target), "a hard link")
            }
            b'2' => {
                let target = link_target(target, doubts);
                no_data(EntryKind::Symlink(target), "a symbolic link")
            }
            flag @ (b'3' | b'4') => {
                let device = doubted(device(header, records), doubts);
                let special = match flag {
                    b'3' => Special::CharDevice(device),
                    _ => Special::BlockDevice(device),
                };
                no_data(EntryKind::Special(special), "a device")
            }
            b'5' => no_data(EntryKind::Directory, "a directory"),
            b'6' => no_data(EntryKind::Special(Special::Fifo), "a named pipe"),
            // GNU's incremental archives keep a list of names there.
            b'D' => {
                self.data(size)?;
                Ok(EntryKind::Directory)
            }
            b'S' if header.form == Form::Gnu => self.old_sparse(header, size),
            // The seventh edition had no type for directories.
            0 | b'0' | b'7' if self.path.ends_with(b"/") => {
                no_data(EntryKind::Directory, "a directory")
            }
            flag if flag == 0 || !flag.is_ascii_uppercase() => self.file(records, size),
            flag => Err(ErrorKind::Type(flag)),
        }
    }

    fn file(&mut self, records: &Records, size: u64) -> Result<EntryKind, ErrorKind> {
        let sparse = &records.sparse;
        self.data(size)?;
        let real_size = sparse.real_size;
        let (ranges, real_size) = match (sparse.version, &sparse.map, real_size) {
            ((0, 0 | 1), None, None) => {
                return self.stored(size, DataMap::Whole);
            }
            ((0, 0 | 1), map, Some(real_size)) => (map.clone().unwrap_or_default(), real_size),
            ((1, 0), None, Some(real_size)) => (self.sparse_map()?, real_size),
            ((0 | 1, _), _, None) => return Err(ErrorKind::Sparse("has no size of its file")),
            _ => return Err(ErrorKind::Sparse("has an unknown form")),
        };
        let data = sparse::data_map(&ranges, real_size, self.left)?;
        self.stored(real_size, data)
    }

    /// GNU's old form: the map is in the header, and in blocks behind it.
    fn old_sparse(&mut self, header: &Header, size: u64) -> Result<EntryKind, ErrorKind> {
        let real_size = self.size(header.number(Field::RealSize)?)?;
        let (mut ranges, mut continues) = header.sparse()?;
        while continues {
            let block = self.block_or_end()?.ok_or(ErrorKind::CutOff)?;
            let more;
            (more, continues) = header::more_sparse(&block)?;
            ranges.extend(more);
            if ranges.len() > sparse::most_ranges(size) {
                break;
            }
        }
        self.data(size)?;
        let data = sparse::data_map(&ranges, real_size, size)?;
        self.stored(real_size, data)
    }

    /// GNU's form 1.0: the map is in the first blocks of the data, a number in each line.
    fn sparse_map(&mut self) -> Result<Vec<(u64, u64)>, ErrorKind> {
        let fault = || ErrorKind::Sparse("is not the lines of numbers that it should be");
        let mut block = [0; BLOCK];
        let mut place = BLOCK;
        let mut line = Vec::new();
        let mut numbers = Vec::new();
        // How many numbers there are is in the first line.
        let mut wanted = 1;
        while numbers.len() < wanted {
            if place == BLOCK {
                self.left = self.left.checked_sub(bytes(BLOCK)).ok_or_else(fault)?;
                block = self.block_or_end()?.ok_or(ErrorKind::CutOff)?;
                place = 0;
            }
            let byte = block[place];
            place += 1;
            if byte != b'\n' {
                line.push(byte);
                if line.len() > 20 {
                    return Err(fault());
                }
                continue;
            }
            let number = pax::decimal(&line).ok_or_else(fault)?;
            line.clear();
            numbers.push(number);
            if numbers.len() == 1 {
                let ranges = usize::try_from(number).ok();
                let most = sparse::most_ranges(self.left);
                let ranges = ranges.filter(|ranges| *ranges <= most);
                wanted = 1 + 2 * ranges.ok_or(ErrorKind::Sparse(sparse::TOO_MANY))?;
            }
        }
        let pairs = numbers[1..].chunks_exact(2);
        Ok(pairs.map(|pair| (pair[0], pair[1])).collect())
    }

    /// A file of `size_bytes`, whose data are what is left of the entry.
    fn stored(&self, size_bytes: u64, data: DataMap) -> Result<EntryKind, ErrorKind> {
        let end = self.at.checked_add(self.left);
        let end = end.ok_or(ErrorKind::Number(Field::Size))?;
        Ok(EntryKind::File(Stored {
            size_bytes,
            data,
            place: self.at..end,
        }))
    }

    fn metadata(
        &self,
        header: &Header,
        records: &Records,
        doubts: &mut Vec<ErrorKind>,
    ) -> Metadata {
        let mode = doubted(header.number(Field::Mode), doubts);
        let global = &self.global;
        let owner = |one: Option<i64>, all: Option<i64>, field| match one.or(all) {
            Some(number) => pax::owner(number, field),
            None => pax::owner(header.number(field)?, field),
        };
        let uid = doubted(owner(records.uid, global.uid, Field::Uid), doubts);
        let gid = doubted(owner(records.gid, global.gid, Field::Gid), doubts);
        let mtime = match records.mtime.or(global.mtime) {
            Some(time) => time,
            None => Timestamp::from_seconds(doubted(header.number(Field::Mtime), doubts)),
        };
        let [atime, ctime] = doubted(header.other_times(), doubts);
        let or_mtime = |time: Option<i64>| time.map_or(mtime, Timestamp::from_seconds);
        let flags = records.file_flags.as_ref().or(global.file_flags.as_ref());
        Metadata {
            // Some write the type as well.
            permissions: u16::try_from(mode & 0o7777).unwrap_or(0),
            uid,
            gid,
            atime: records.atime.or(global.atime).unwrap_or(or_mtime(atime)),
            mtime,
            ctime: records.ctime.or(global.ctime).unwrap_or(or_mtime(ctime)),
            flags: flags.map_or_else(Flags::default, |names| Flags::of(xattrs::file_flags(names))),
        }
    }

    /// The data of the entry begin here, and are so long.
    fn data(&mut self, size: u64) -> Result<(), ErrorKind> {
        self.padding = padded(size)? - size;
        self.left = size;
        Ok(())
    }

    /// What follows a header that describes the next.
    fn body(&mut self, header: &Header, most: u64) -> Result<Vec<u8>, ErrorKind> {
        let size = self.size(header.number(Field::Size)?)?;
        if size > most {
            return Err(ErrorKind::TooLong { bytes: size, most });
        }
        let mut body = Vec::new();
        let read = self.input.by_ref().take(size).read_to_end(&mut body);
        let count = bytes(read.map_err(|error| ErrorKind::Read(Arc::new(error)))?);
        self.at += count;
        if count < size {
            return Err(ErrorKind::CutOff);
        }
        self.pass(padded(size)? - size)?;
        Ok(body)
    }

    /// GNU's long name or target: what stands before its first NUL, as all have it.
    fn long_text(&mut self, header: &Header) -> Result<Vec<u8>, ErrorKind> {
        let mut text = self.body(header, MOST_PATH + 1)?;
        text.truncate(header::text(&text).len());
        Ok(text)
    }

    fn size(&self, number: i64) -> Result<u64, ErrorKind> {
        u64::try_from(number).map_err(|_| ErrorKind::Range(Field::Size, number))
    }

    /// A block, or none where the input has ended.
    fn block_or_end(&mut self) -> Result<Option<[u8; BLOCK]>, ErrorKind> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ErrorKind::Read(Arc::new(error))),
            }
        }
        self.at += bytes(filled);
        match filled {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(ErrorKind::CutOff),
        }
    }

    fn pass(&mut self, bytes: u64) -> Result<(), ErrorKind> {
        if bytes == 0 {
            return Ok(());
        }
        match self.input.skip(bytes) {
            Ok(()) => {
                self.at += bytes;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ErrorKind::CutOff),
            Err(error) => Err(ErrorKind::Read(Arc::new(error))),
        }
    }
}

/// The ACL that the text or the kernel's value holds; the text counts, if there are both.
fn acl(text: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Option<Result<Acl, ErrorKind>> {
    match (text, value) {
        (Some(text), _) => Some(Acl::from_text(&text).map_err(ErrorKind::Acl)),
        (None, Some(value)) => Some(Acl::from_value(&value).ok_or(ErrorKind::Acl(value))),
        (None, None) => None,
    }
}

/// What was found; where something is wrong with it, that is noted, and nothing found.
fn doubted<T: Default>(found: Result<T, ErrorKind>, doubts: &mut Vec<ErrorKind>) -> T {
    found.unwrap_or_else(|fault| {
        doubts.push(fault);
        T::default()
    })
}

fn link_target(target: Vec<u8>, doubts: &mut Vec<ErrorKind>) -> Vec<u8> {
    let fault = match check_length(&target) {
        Err(fault) => Some(fault),
        Ok(()) if target.is_empty() => Some(ErrorKind::NoTarget),
        Ok(()) => target.contains(&0).then_some(ErrorKind::NulInTarget),
    };
    doubts.extend(fault);
    target
}

fn check_length(path: &[u8]) -> Result<(), ErrorKind> {
    let bytes = bytes(path.len());
    if bytes > MOST_PATH {
        Err(ErrorKind::TooLong {
            bytes,
            most: MOST_PATH,
        })
    } else {
        Ok(())
    }
}

/// What keeps ext4 from having an attribute that it could have by its namespace.
fn xattr_fault(xattr: &Xattr) -> Option<ErrorKind> {
    let Xattr { name, value } = xattr;
    if !ext4_names(name) {
        None
    } else if name.contains(&0) || name.ends_with(b".") {
        Some(ErrorKind::NoAttributeName(name.clone()))
    } else if name.len() > MOST_ATTRIBUTE_NAME {
        Some(ErrorKind::AttributeName(name.clone(), MOST_ATTRIBUTE_NAME))
    } else if value.len() > MOST_VALUE {
        Some(ErrorKind::Attribute(name.clone(), value.len(), MOST_VALUE))
    } else {
        None
    }
}

/// What is wrong with the names of a file's attributes, where Linux would not list them.
fn too_many_names(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<ErrorKind> {
    let names: usize = xattrs.keys().map(|name| name.len() + 1).sum();
    (names > MOST_NAMES).then_some(ErrorKind::AttributeNames(names, MOST_NAMES))
}

fn device(header: &Header, records: &Records) -> Result<Device, ErrorKind> {
    let number = |record: Option<i64>, field, bits: u32| {
        let number = record.map_or_else(|| header.number(field), Ok)?;
        let device = u32::try_from(number).ok();
        let device = device.filter(|device| device >> bits == 0);
        device.ok_or(ErrorKind::Range(field, number))
    };
    Ok(Device {
        major: number(records.major, Field::Major, 12)?,
        minor: number(records.minor, Field::Minor, 20)?,
    })
}

/// `size` as blocks hold it.
fn padded(size: u64) -> Result<u64, ErrorKind> {
    let padded = size.checked_next_multiple_of(bytes(BLOCK));
    padded.ok_or(ErrorKind::Number(Field::Size))
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
