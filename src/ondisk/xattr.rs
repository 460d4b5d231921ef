//! Given extended attributes, gives the bytes ext4 stores for them, and back; never a choice between inode and block.
//!
//! Attributes lie in the inode after its extra fields, in one block shared by equal owners, or in
//! both. Entries grow from the front and end with four zero bytes, values grow from the back, both
//! in steps of four bytes (kernel documentation, "Extended Attributes"; `fs/ext4/xattr.c`). In the
//! inode entries stand in any order, value offsets count from the first entry, and hashes are
//! zero; in a block entries are sorted, offsets count from the block's start, and every entry has
//! its hash. The order and the emptiness of hashes are what the kernel writes.

use std::fmt;

use bytemuck::{Pod, Zeroable};

use super::checksum::{crc32c, crc32c_zeros};
use super::int::{Le16, Le32};

/// First word of an attribute block, and of the inode's area where it holds an attribute.
pub const MAGIC: u32 = 0xEA02_0000;

/// How many inodes may share one block (kernel: `EXT4_XATTR_REFCOUNT_MAX`).
pub const REFCOUNT_MAX: u32 = 1024;

/// The longest name in bytes, without the prefix that its index stands for.
pub const NAME_MAX: usize = 255;

/// The inode's area begins with the magic alone.
const IBODY_HEADER: usize = size_of::<IbodyHeader>();

const BLOCK_HEADER: usize = size_of::<BlockHeader>();

const ENTRY_HEADER: usize = size_of::<EntryHeader>();

/// The zero bytes after the last entry.
const TERMINATOR: usize = 4;

/// Value offsets have 16 bits, so an area ends here at the latest.
const AREA_MAX: usize = 0x1_0000;

/// The largest value in an inode of its own, in bytes (kernel: `EXT4_XATTR_SIZE_MAX`).
const INODE_VALUE_MAX: u32 = 1 << 24;

/// Name indices and what they stand for, the more specific first. A whole name leaves nothing
/// after it, a prefix always leaves something (kernel: `ext4_xattr_handler_map`; e2fsprogs knows
/// `gnu.` too).
const NAMES: [(u8, &[u8], Extent); 8] = [
    (2, b"system.posix_acl_access", Extent::Whole),
    (3, b"system.posix_acl_default", Extent::Whole),
    (8, b"system.richacl", Extent::Whole),
    (7, b"system.", Extent::Prefix),
    (1, b"user.", Extent::Prefix),
    (4, b"trusted.", Extent::Prefix),
    (6, b"security.", Extent::Prefix),
    (10, b"gnu.", Extent::Prefix),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    Prefix,
}

/// `ext4_xattr_header`: the start of an attribute block.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockHeader {
    /// [`MAGIC`].
    pub h_magic: Le32,
    /// How many inodes have this block.
    pub h_refcount: Le32,
    /// How many blocks the attributes have: 1.
    pub h_blocks: Le32,
    /// [`block_hash`] of the entries.
    pub h_hash: Le32,

    /// [`block_checksum`], or zero without `metadata_csum`.
    pub h_checksum: Le32,
    /// Zero.
    pub h_reserved: [Le32; 3],
}

const _: () = assert!(size_of::<BlockHeader>() == 32);
const _: () = assert!(std::mem::offset_of!(BlockHeader, h_checksum) == 16);

/// `ext4_xattr_ibody_header`: the start of the inode's area.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct IbodyHeader {
    /// [`MAGIC`].
    pub h_magic: Le32,
}

const _: () = assert!(size_of::<IbodyHeader>() == 4);

/// `ext4_xattr_entry` without the name that follows it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct EntryHeader {
    /// Bytes of the name, without its prefix.
    pub e_name_len: u8,
    /// What prefix the name has; see [`split_name`].
    pub e_name_index: u8,
    /// Where the value begins; zero where it is empty or in an inode.
    pub e_value_offs: Le16,
    /// The inode that holds the value, or zero.
    pub e_value_inum: Le32,
    /// Bytes of the value.
    pub e_value_size: Le32,
    /// [`entry_hash`], or zero in the inode's area where the value is there too.
    pub e_hash: Le32,
}

const _: () = assert!(size_of::<EntryHeader>() == 16);
const _: () = assert!(std::mem::offset_of!(EntryHeader, e_hash) == 12);

/// Where an attribute's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Beside the entry.
    Inline(&'a [u8]),
    /// In an inode of its own (feature `ea_inode`).
    Inode {
        /// The inode's number.
        ino: u32,
        /// Bytes of the value.
        size: u32,
        /// The hash that inode carries: the value's CRC-32C from the filesystem's seed.
        hash: u32,
    },
}

impl Value<'_> {
    /// Bytes it takes beside the entries.
    fn stored_len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len().next_multiple_of(4),
            Self::Inode { .. } => 0,
        }
    }
}

/// An attribute to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrEntry<'a> {
    /// The prefix's index, from [`split_name`].
    pub name_index: u8,
    /// The name after the prefix, at most [`NAME_MAX`] bytes.
    pub name: &'a [u8],
    /// The value.
    pub value: Value<'a>,
}

impl<'a> XattrEntry<'a> {
    fn entry_len(&self) -> usize {
        (ENTRY_HEADER + self.name.len()).next_multiple_of(4)
    }

    /// Bytes it takes in an area that holds others too.
    pub fn stored_bytes(&self) -> usize {
        self.entry_len() + self.value.stored_len()
    }

    /// What a block's entries are sorted by (kernel: `xattr_find_entry`).
    fn order(&self) -> (u8, usize, &'a [u8]) {
        (self.name_index, self.name.len(), self.name)
    }
}

/// An attribute found in an area.
#[derive(Clone, Copy, Debug)]
pub struct StoredXattr<'a> {
    /// The entry as it is stored.
    pub entry: EntryHeader,
    /// The name after the prefix.
    pub name: &'a [u8],
    /// The value, or `None` where it is in the inode `e_value_inum`.
    pub value: Option<&'a [u8]>,
}

/// An attribute block taken apart.
#[derive(Clone, Debug)]
pub struct ParsedBlock<'a> {
    /// The header, its checksum and its hash not yet compared with anything.
    pub header: BlockHeader,
    /// The attributes in the block's order.
    pub entries: Vec<StoredXattr<'a>>,
}

/// Why attributes cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrError {
    /// They need more bytes than the area has.
    NoSpace {
        /// Bytes needed.
        needed: usize,
        /// Bytes the area has.
        available: usize,
    },
    /// No xattr area of ext4 has this length in bytes.
    Area(usize),
    /// The name is too long: its length in bytes.
    Name(usize),
    /// The index 0, which stands for no attribute.
    Index,
    /// Two attributes of one name; this is the index.
    Duplicate(u8),
}

impl fmt::Display for XattrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace { needed, available } => {
                write!(
                    f,
                    "extended attributes need {needed} bytes, {available} are left"
                )
            }
            Self::Area(bytes) => write!(
                f,
                "xattr area of {bytes} bytes: must be a multiple of 4 up to {AREA_MAX}"
            ),
            Self::Name(bytes) => {
                write!(f, "xattr name of {bytes} bytes: must be at most {NAME_MAX}")
            }
            Self::Index => f.write_str("xattr has name index 0: must be that of a known prefix"),
            Self::Duplicate(index) => {
                write!(f, "two xattrs with index {index} have the same name")
            }
        }
    }
}

impl std::error::Error for XattrError {}

/// What is wrong with stored attributes. Offsets are bytes from the area's start to the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrFault {
    /// No xattr area of ext4 has this length in bytes.
    Area(usize),
    /// A block that begins with another word than [`MAGIC`].
    Magic(u32),
    /// A block that says it has another number of blocks than one.
    Blocks(u32),
    /// The entries run past the area's end without a terminator.
    Unterminated(usize),
    /// An entry of index 0, or a name with a zero byte.
    Name(usize),
    /// A value not wholly between the last entry and the area's end.
    Value(usize),
    /// A value that overlaps another; the offset is the value's.
    Overlap(usize),
    /// A block's entry that is not after the one before it.
    Order(usize),
    /// A hash that is not the entry's.
    Hash {
        /// Where the entry is.
        offset: usize,
        /// The hash it has.
        found: u32,
        /// The hash it needs.
        needed: u32,
    },
}

impl fmt::Display for XattrFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Area(bytes) => XattrError::Area(*bytes).fmt(f),
            Self::Magic(word) => {
                write!(f, "h_magic is {word:#010x}, expected {MAGIC:#010x}")
            }
            Self::Blocks(count) => {
                write!(f, "h_blocks is {count}, expected 1")
            }
            Self::Unterminated(offset) => {
                write!(
                    f,
                    "xattr entry at {offset:#x} runs past the end, or no end mark follows"
                )
            }
            Self::Name(offset) => {
                write!(
                    f,
                    "xattr entry at {offset:#x} has name index 0 or a NUL in its name"
                )
            }
            Self::Value(offset) => {
                write!(
                    f,
                    "xattr entry at {offset:#x} has its value outside the area for values"
                )
            }
            Self::Overlap(offset) => {
                write!(f, "xattr value at {offset:#x} overlaps another")
            }
            Self::Order(offset) => {
                write!(f, "xattr entry at {offset:#x} is out of order in its block")
            }
            Self::Hash {
                offset,
                found,
                needed,
            } => write!(
                f,
                "xattr entry at {offset:#x}: e_hash is {found:#010x}, expected {needed:#010x}"
            ),
        }
    }
}

impl std::error::Error for XattrFault {}

/// Splits a full name into the index of its prefix and what follows.
///
/// `None` if ext4 has no index for it, nothing follows where something must, more than
/// [`NAME_MAX`] bytes follow, or a byte is zero.
///
/// ```
/// use mke4fs::raw::ondisk::xattr::split_name;
///
/// assert_eq!(split_name(b"security.capability"), Some((6, &b"capability"[..])));
/// assert_eq!(split_name(b"system.posix_acl_access"), Some((2, &b""[..])));
/// assert_eq!(split_name(b"user."), None);
/// ```
pub fn split_name(full: &[u8]) -> Option<(u8, &[u8])> {
    if full.contains(&0) {
        return None;
    }
    NAMES.iter().find_map(|&(index, known, extent)| {
        let rest = full.strip_prefix(known)?;
        let fits = rest.len() <= NAME_MAX && rest.is_empty() == (extent == Extent::Whole);
        fits.then_some((index, rest))
    })
}

/// What an index stands for: the prefix, or the whole name. `None` if ext4 shows no such
/// attribute.
pub fn prefix(name_index: u8) -> Option<&'static [u8]> {
    NAMES
        .iter()
        .find_map(|&(index, known, _)| (index == name_index).then_some(known))
}

/// The hash of an entry, from its name without the prefix and its value.
///
/// Bytes of the name count as unsigned, as in kernels since 6.2. e2fsck takes signed ones too.
pub fn entry_hash(name: &[u8], value: &Value<'_>) -> u32 {
    let hash = name_hash(name, u32::from);
    match value {
        Value::Inline(bytes) => with_value(hash, bytes),
        Value::Inode { hash: of_value, .. } => with_word(hash, *of_value),
    }
}

fn name_hash(name: &[u8], widen: impl Fn(u8) -> u32) -> u32 {
    name.iter()
        .fold(0_u32, |hash, &byte| hash.rotate_left(5) ^ widen(byte))
}

/// Continues a hash over a value, filled up with zeros to whole words.
fn with_value(hash: u32, bytes: &[u8]) -> u32 {
    bytes.chunks(4).fold(hash, |hash, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        with_word(hash, u32::from_le_bytes(word))
    })
}

fn with_word(hash: u32, word: u32) -> u32 {
    hash.rotate_left(16) ^ word
}

/// The hash of a block, from the hashes of its entries in order: by it the kernel finds blocks to
/// share. Zero, which stands for "not to be shared", if an entry's hash is zero.
pub fn block_hash(entry_hashes: impl IntoIterator<Item = u32>) -> u32 {
    let mut hashes = entry_hashes.into_iter();
    let hash = hashes.try_fold(0, |block, hash| (hash != 0).then(|| with_word(block, hash)));
    hash.unwrap_or(0)
}

/// Bytes of an inode's area that these attributes need; none without attributes.
pub fn ibody_size(entries: &[XattrEntry<'_>]) -> usize {
    if entries.is_empty() {
        0
    } else {
        IBODY_HEADER + contents_size(entries)
    }
}

/// Bytes of a block that these attributes need.
pub fn block_size_needed(entries: &[XattrEntry<'_>]) -> usize {
    BLOCK_HEADER + contents_size(entries)
}

fn contents_size(entries: &[XattrEntry<'_>]) -> usize {
    let sizes = entries.iter().map(XattrEntry::stored_bytes);
    TERMINATOR + sizes.sum::<usize>()
}

/// The inode's area of `space` bytes, from the end of `i_extra_isize` to the inode's end, with
/// the attributes in the order given; all zero without attributes.
///
/// # Errors
///
/// If they do not fit, or are not attributes.
pub fn render_ibody(entries: &[XattrEntry<'_>], space: usize) -> Result<Vec<u8>, XattrError> {
    check_fit(ibody_size(entries), space)?;
    for (at, entry) in entries.iter().enumerate() {
        check_name(entry)?;
        if entries[..at]
            .iter()
            .any(|before| before.order() == entry.order())
        {
            return Err(XattrError::Duplicate(entry.name_index));
        }
    }
    let mut area = vec![0; space];
    if !entries.is_empty() {
        let header = IbodyHeader {
            h_magic: MAGIC.into(),
        };
        area[..IBODY_HEADER].copy_from_slice(bytemuck::bytes_of(&header));
        let in_inode = |entry: &XattrEntry<'_>| match entry.value {
            Value::Inline(_) => 0,
            Value::Inode { .. } => entry_hash(entry.name, &entry.value),
        };
        let hashed = entries.iter().map(|entry| (entry, in_inode(entry)));
        fill(&mut area[IBODY_HEADER..], 0, hashed)?;
    }
    Ok(area)
}

/// A block with the attributes, sorted, for `refcount` inodes. Its checksum is zero until
/// [`seal_block`].
///
/// # Errors
///
/// If they do not fit, or are not attributes.
pub fn render_block(
    entries: &[XattrEntry<'_>],
    block_size: usize,
    refcount: u32,
) -> Result<Vec<u8>, XattrError> {
    check_fit(block_size_needed(entries), block_size)?;
    let mut sorted: Vec<&XattrEntry<'_>> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.order());
    for pair in sorted.windows(2) {
        if pair[0].order() == pair[1].order() {
            return Err(XattrError::Duplicate(pair[0].name_index));
        }
    }
    let mut hashed = Vec::with_capacity(sorted.len());
    for entry in sorted {
        check_name(entry)?;
        hashed.push((entry, entry_hash(entry.name, &entry.value)));
    }
    let header = BlockHeader {
        h_magic: MAGIC.into(),
        h_refcount: refcount.into(),
        h_blocks: 1.into(),
        h_hash: block_hash(hashed.iter().map(|&(_, hash)| hash)).into(),
        ..BlockHeader::zeroed()
    };
    let mut block = vec![0; block_size];
    block[..BLOCK_HEADER].copy_from_slice(bytemuck::bytes_of(&header));
    fill(&mut block, BLOCK_HEADER, hashed)?;
    Ok(block)
}

fn check_fit(needed: usize, available: usize) -> Result<(), XattrError> {
    if available > AREA_MAX || !available.is_multiple_of(4) {
        return Err(XattrError::Area(available));
    }
    if needed > available {
        return Err(XattrError::NoSpace { needed, available });
    }
    Ok(())
}

fn check_name(entry: &XattrEntry<'_>) -> Result<(), XattrError> {
    if entry.name_index == 0 {
        return Err(XattrError::Index);
    }
    if entry.name.len() > NAME_MAX {
        Err(XattrError::Name(entry.name.len()))
    } else {
        Ok(())
    }
}

/// Writes entries, each with its hash, from `first` on and their values from the end back.
/// Offsets count from the start of `area`, which is zero and known to be large enough.
fn fill<'a, 'b: 'a>(
    area: &mut [u8],
    first: usize,
    entries: impl IntoIterator<Item = (&'a XattrEntry<'b>, u32)>,
) -> Result<(), XattrError> {
    let size = area.len();
    let mut entry_at = first;
    let mut values_at = size;
    for (entry, hash) in entries {
        let mut header = EntryHeader {
            e_name_len: u8::try_from(entry.name.len())
                .map_err(|_| XattrError::Name(entry.name.len()))?,
            e_name_index: entry.name_index,
            e_hash: hash.into(),
            ..EntryHeader::zeroed()
        };
        match entry.value {
            Value::Inline([]) => {}
            Value::Inline(bytes) => {
                values_at -= entry.value.stored_len();
                let offset = u16::try_from(values_at).map_err(|_| XattrError::Area(size))?;
                header.e_value_offs = offset.into();
                let length = u32::try_from(bytes.len()).map_err(|_| XattrError::Area(size))?;
                header.e_value_size = length.into();
                area[values_at..][..bytes.len()].copy_from_slice(bytes);
            }
            Value::Inode { ino, size, .. } => {
                header.e_value_inum = ino.into();
                header.e_value_size = size.into();
            }
        }
        area[entry_at..][..ENTRY_HEADER].copy_from_slice(bytemuck::bytes_of(&header));
        area[entry_at + ENTRY_HEADER..][..entry.name.len()].copy_from_slice(entry.name);
        entry_at += entry.entry_len();
    }
    Ok(())
}

/// The checksum of an attribute block that is block `block_number` of the filesystem, with its
/// `h_checksum` counted as zero.
pub fn block_checksum(filesystem_seed: u32, block_number: u64, block: &[u8]) -> u32 {
    const FIELD: usize = std::mem::offset_of!(BlockHeader, h_checksum);

    let numbered = crc32c(filesystem_seed, &block_number.to_le_bytes());
    match block.split_at_checked(FIELD) {
        Some((before, [_, _, _, _, after @ ..])) => {
            crc32c(crc32c_zeros(crc32c(numbered, before), 4), after)
        }
        _ => crc32c(numbered, block),
    }
}

/// Stores the checksum in a block that [`render_block`] made and that becomes `block_number`.
pub fn seal_block(filesystem_seed: u32, block_number: u64, block: &mut [u8]) {
    const FIELD: usize = std::mem::offset_of!(BlockHeader, h_checksum);

    let checksum = Le32::new(block_checksum(filesystem_seed, block_number, block));
    if let Some(field) = block.get_mut(FIELD..FIELD + size_of::<Le32>()) {
        field.copy_from_slice(bytemuck::bytes_of(&checksum));
    }
}

/// Takes the inode's area apart: all bytes from the end of `i_extra_isize` to the inode's end.
/// Without the magic it holds no attributes, whatever else it holds.
///
/// # Errors
///
/// If the kernel or e2fsck would find fault with an entry. Hashes of values in inodes of their
/// own are left to whoever can read those.
pub fn parse_ibody(area: &[u8]) -> Result<Vec<StoredXattr<'_>>, XattrFault> {
    let Some((header, contents)) = area.split_at_checked(IBODY_HEADER) else {
        return Ok(Vec::new());
    };
    if bytemuck::pod_read_unaligned::<IbodyHeader>(header)
        .h_magic
        .get()
        != MAGIC
    {
        return Ok(Vec::new());
    }
    let found = walk(contents, 0).map_err(|fault| shifted(fault, IBODY_HEADER))?;
    for &(at, stored) in &found {
        if stored.entry.e_hash.get() != 0 {
            check_hash(contents, at, &stored).map_err(|fault| shifted(fault, IBODY_HEADER))?;
        }
    }
    Ok(found.into_iter().map(|(_, stored)| stored).collect())
}

/// Takes an attribute block apart.
///
/// # Errors
///
/// If the kernel or e2fsck would find fault with the header or an entry, or the kernel would not
/// find an attribute for its place in the order. Left to the caller: the checksum, the reference
/// count, and the hashes of values in inodes of their own.
pub fn parse_block(block: &[u8]) -> Result<ParsedBlock<'_>, XattrFault> {
    let Some((header, _)) = block.split_at_checked(BLOCK_HEADER) else {
        return Err(XattrFault::Area(block.len()));
    };
    let header: BlockHeader = bytemuck::pod_read_unaligned(header);
    if header.h_magic.get() != MAGIC {
        return Err(XattrFault::Magic(header.h_magic.get()));
    }
    if header.h_blocks.get() != 1 {
        return Err(XattrFault::Blocks(header.h_blocks.get()));
    }
    let found = walk(block, BLOCK_HEADER)?;
    for pair in found.windows(2) {
        let [(_, before), (at, after)] = pair else {
            continue;
        };
        if block_order(before) >= block_order(after) {
            return Err(XattrFault::Order(*at));
        }
    }
    for (at, stored) in &found {
        check_hash(block, *at, stored)?;
    }
    Ok(ParsedBlock {
        header,
        entries: found.into_iter().map(|(_, stored)| stored).collect(),
    })
}

fn block_order<'a>(stored: &StoredXattr<'a>) -> (u8, usize, &'a [u8]) {
    (stored.entry.e_name_index, stored.name.len(), stored.name)
}

/// The fault with its offset counted from `by` bytes earlier.
fn shifted(fault: XattrFault, by: usize) -> XattrFault {
    match fault {
        XattrFault::Unterminated(at) => XattrFault::Unterminated(at + by),
        XattrFault::Name(at) => XattrFault::Name(at + by),
        XattrFault::Value(at) => XattrFault::Value(at + by),
        XattrFault::Overlap(at) => XattrFault::Overlap(at + by),
        XattrFault::Order(at) => XattrFault::Order(at + by),
        XattrFault::Hash {
            offset,
            found,
            needed,
        } => XattrFault::Hash {
            offset: offset + by,
            found,
            needed,
        },
        fault @ (XattrFault::Area(_) | XattrFault::Magic(_) | XattrFault::Blocks(_)) => fault,
    }
}

/// All entries from `first` to the terminator, each with its offset, once every name and value is
/// known to lie in `area` and none over another.
fn walk(area: &[u8], first: usize) -> Result<Vec<(usize, StoredXattr<'_>)>, XattrFault> {
    if area.len() > AREA_MAX {
        return Err(XattrFault::Area(area.len()));
    }
    let mut entries = Vec::new();
    let mut at = first;
    loop {
        let rest = area.get(at..).unwrap_or_default();
        let mark = rest
            .first_chunk::<TERMINATOR>()
            .ok_or(XattrFault::Unterminated(at))?;
        if *mark == [0; TERMINATOR] {
            break;
        }
        let header = rest
            .get(..ENTRY_HEADER)
            .ok_or(XattrFault::Unterminated(at))?;
        let entry: EntryHeader = bytemuck::pod_read_unaligned(header);
        let end = ENTRY_HEADER + usize::from(entry.e_name_len);
        let name = rest
            .get(ENTRY_HEADER..end)
            .ok_or(XattrFault::Unterminated(at))?;
        if entry.e_name_index == 0 || name.contains(&0) {
            return Err(XattrFault::Name(at));
        }
        entries.push((
            at,
            StoredXattr {
                entry,
                name,
                value: None,
            },
        ));
        at += end.next_multiple_of(4);
    }
    place_values(area, at + TERMINATOR, &mut entries)?;
    Ok(entries)
}

/// Finds the values, all of which begin at `lowest` or after it.
fn place_values<'a>(
    area: &'a [u8],
    lowest: usize,
    entries: &mut [(usize, StoredXattr<'a>)],
) -> Result<(), XattrFault> {
    let mut taken = Vec::with_capacity(entries.len());
    for (at, stored) in entries {
        let offset = usize::from(stored.entry.e_value_offs.get());
        if stored.entry.e_value_inum.get() != 0 {
            if offset != 0 || stored.entry.e_value_size.get() > INODE_VALUE_MAX {
                return Err(XattrFault::Value(*at));
            }
            continue;
        }
        let (value, padded) = value_in(area, &stored.entry).ok_or(XattrFault::Value(*at))?;
        stored.value = Some(value);
        if !padded.is_empty() {
            if offset < lowest {
                return Err(XattrFault::Value(*at));
            }
            taken.push((offset, offset + padded.len()));
        }
    }
    taken.sort_unstable();
    for pair in taken.windows(2) {
        if pair[0].1 > pair[1].0 {
            return Err(XattrFault::Overlap(pair[1].0));
        }
    }
    Ok(())
}

/// The value of an entry, and the same with what fills it up to whole words.
fn value_in<'a>(area: &'a [u8], entry: &EntryHeader) -> Option<(&'a [u8], &'a [u8])> {
    let size = usize::try_from(entry.e_value_size.get()).ok()?;
    if size == 0 {
        return Some((&[], &[]));
    }
    let from_start = area.get(usize::from(entry.e_value_offs.get())..)?;
    let padded = from_start.get(..size.checked_next_multiple_of(4)?)?;
    Some((&padded[..size], padded))
}

/// Whether the hash is the entry's, the name's bytes taken as unsigned or as signed.
fn check_hash(area: &[u8], offset: usize, stored: &StoredXattr<'_>) -> Result<(), XattrFault> {
    if stored.entry.e_value_inum.get() != 0 {
        return Ok(());
    }
    let found = stored.entry.e_hash.get();
    // What fills the last word up counts too, and need not be zero.
    let (_, padded) = value_in(area, &stored.entry).ok_or(XattrFault::Value(offset))?;
    let needed = with_value(name_hash(stored.name, u32::from), padded);
    let signed = |byte: u8| i32::from(byte.cast_signed()).cast_unsigned();
    if found == needed || found == with_value(name_hash(stored.name, signed), padded) {
        return Ok(());
    }
    Err(XattrFault::Hash {
        offset,
        found,
        needed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ondisk::acl;
    use crate::ondisk::checksum::filesystem_seed;
    use crate::ondisk::fixture::from_hex;

    const UUID: &str = "8c1f2a3b4d5e6f708192a3b4c5d6e7f8";

    enum Place {
        Ibody,
        Block {
            number: u64,
            refcount: u32,
            sealed: bool,
        },
    }

    /// The attributes of one case and what the kernel wrote for them.
    struct Case {
        name: &'static str,
        place: Place,
        attributes: Vec<Attribute>,
        area: Vec<u8>,
    }

    struct Attribute {
        name: Vec<u8>,
        value: Vec<u8>,
        /// Number, size and hash.
        inode: Option<(u32, u32, u32)>,
    }

    impl Attribute {
        fn entry(&self) -> XattrEntry<'_> {
            let (name_index, name) = split_name(&self.name).expect("a storable name");
            let value = match self.inode {
                Some((ino, size, hash)) => Value::Inode { ino, size, hash },
                None => Value::Inline(&self.value),
            };
            XattrEntry {
                name_index,
                name,
                value,
            }
        }
    }

    fn seed() -> u32 {
        filesystem_seed(from_hex(UUID).try_into().expect("16 bytes"))
    }

    fn stored_value(name: &[u8], shown: Vec<u8>) -> Vec<u8> {
        if name.starts_with(b"system.posix_acl_") {
            acl::to_disk(&shown).expect("an ACL that the kernel accepted")
        } else {
            shown
        }
    }

    fn cases() -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for line in include_str!("../../fixtures/ondisk/xattr.txt").lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            if fields[0] == "case" {
                let name = &line["case ".len()..];
                let (place, attributes, area) = (Place::Ibody, Vec::new(), Vec::new());
                cases.push(Case {
                    name,
                    place,
                    attributes,
                    area,
                });
            }
            let case = cases.last_mut().expect("a case before anything else");
            match fields[..] {
                ["case", ..] | ["ibody"] => {}
                [word @ ("sealed" | "unsealed"), number, refcount] => {
                    let number = number.parse().expect("a block number");
                    let refcount = refcount.parse().expect("a count");
                    case.place = Place::Block {
                        number,
                        refcount,
                        sealed: word == "sealed",
                    };
                }
                ["attribute", name, value] => {
                    let name = from_hex(name);
                    let value = stored_value(&name, from_hex(value));
                    case.attributes.push(Attribute {
                        name,
                        value,
                        inode: None,
                    });
                }
                ["large", name, ino, size, hash] => {
                    let ino = ino.parse().expect("an inode number");
                    let size = size.parse().expect("a size");
                    let hash = u32::from_str_radix(hash, 16).expect("a hash");
                    let inode = Some((ino, size, hash));
                    case.attributes.push(Attribute {
                        name: from_hex(name),
                        value: vec![],
                        inode,
                    });
                }
                ["area", bytes] => case.area = from_hex(bytes),
                _ => panic!("not a line of the fixture: {line}"),
            }
        }
        assert_eq!(cases.len(), 8);
        cases
    }

    #[test]
    fn areas_are_those_the_kernel_writes() {
        for case in cases() {
            let mut entries: Vec<_> = case.attributes.iter().map(Attribute::entry).collect();
            let area = match case.place {
                Place::Ibody => render_ibody(&entries, case.area.len()).expect("they fit"),
                Place::Block {
                    number,
                    refcount,
                    sealed,
                } => {
                    // The order they are given in is no matter for a block.
                    entries.reverse();
                    let size = case.area.len();
                    let mut block = render_block(&entries, size, refcount).expect("they fit");
                    if sealed {
                        seal_block(seed(), number, &mut block);
                        assert_eq!(block_checksum(seed(), number, &block), {
                            let header: BlockHeader = bytemuck::pod_read_unaligned(&block[..32]);
                            header.h_checksum.get()
                        });
                    }
                    block
                }
            };
            assert_eq!(area, case.area, "{}", case.name);
        }
    }

    #[test]
    fn parsing_finds_what_was_set() {
        for case in cases() {
            let found = match case.place {
                Place::Ibody => parse_ibody(&case.area).expect("the kernel wrote it"),
                Place::Block { refcount, .. } => {
                    let block = parse_block(&case.area).expect("the kernel wrote it");
                    assert_eq!(block.header.h_refcount.get(), refcount);
                    let hashes = block.entries.iter().map(|stored| stored.entry.e_hash.get());
                    assert_eq!(block.header.h_hash.get(), block_hash(hashes));
                    block.entries
                }
            };
            assert_eq!(found.len(), case.attributes.len(), "{}", case.name);
            for (stored, attribute) in found.iter().zip(&case.attributes) {
                let entry = attribute.entry();
                assert_eq!(
                    (stored.entry.e_name_index, stored.name),
                    (entry.name_index, entry.name)
                );
                match entry.value {
                    Value::Inline(bytes) => assert_eq!(stored.value, Some(bytes)),
                    Value::Inode { ino, size, hash } => {
                        assert_eq!(stored.value, None);
                        assert_eq!(stored.entry.e_value_inum.get(), ino);
                        assert_eq!(stored.entry.e_value_size.get(), size);
                        assert_eq!(crc32c(seed(), &vec![b'x'; 20_000]), hash);
                    }
                }
            }
        }
    }

    #[test]
    fn names_split_at_the_longest_known_prefix() {
        let long = [&b"user."[..], &[b'n'; 256]].concat();
        type Split<'a> = Option<(u8, &'a [u8])>;
        let cases: [(&[u8], Split<'_>); 17] = [
            (b"user.a", Some((1, b"a"))),
            (b"user.user.a", Some((1, b"user.a"))),
            (b"trusted.a", Some((4, b"a"))),
            (b"security.capability", Some((6, b"capability"))),
            (b"system.posix_acl_access", Some((2, b""))),
            (b"system.posix_acl_default", Some((3, b""))),
            (
                b"system.posix_acl_accesses",
                Some((7, b"posix_acl_accesses")),
            ),
            (b"system.richacl", Some((8, b""))),
            (b"system.data", Some((7, b"data"))),
            (b"gnu.translator", Some((10, b"translator"))),
            (&long[..260], Some((1, &long[5..260]))),
            (&long, None),
            (b"user.", None),
            (b"user", None),
            (b"btrfs.compression", None),
            (b"user.a\0b", None),
            (b"", None),
        ];
        for (full, split) in cases {
            assert_eq!(split_name(full), split, "{}", full.escape_ascii());
            if let Some((index, rest)) = split {
                assert_eq!([prefix(index).expect("a known index"), rest].concat(), full);
            }
        }
        assert_eq!(prefix(0), None);
        assert_eq!(prefix(9), None);
    }

    fn user<'a>(name: &'a [u8], value: &'a [u8]) -> XattrEntry<'a> {
        XattrEntry {
            name_index: 1,
            name,
            value: Value::Inline(value),
        }
    }

    #[test]
    fn sizes_are_exact() {
        let entries = [user(b"a", b""), user(b"bcdef", b"12345")];
        let needed = ibody_size(&entries);
        assert_eq!(needed, 4 + 20 + 24 + 8 + 4);
        assert_eq!(block_size_needed(&entries), 32 + 20 + 24 + 8 + 4);
        let area = render_ibody(&entries, needed).expect("it fits exactly");
        assert_eq!(parse_ibody(&area).map(|found| found.len()), Ok(2));
        let short = XattrError::NoSpace {
            needed,
            available: needed - 4,
        };
        assert_eq!(render_ibody(&entries, needed - 4), Err(short));
        assert_eq!(ibody_size(&[]), 0);
        assert_eq!(render_ibody(&[], 0), Ok(vec![]));
    }

    #[test]
    fn what_is_no_attribute_is_refused() {
        let twice = [user(b"a", b"1"), user(b"b", b""), user(b"a", b"2")];
        assert_eq!(render_ibody(&twice, 256), Err(XattrError::Duplicate(1)));
        assert_eq!(render_block(&twice, 1024, 1), Err(XattrError::Duplicate(1)));
        let long = [user(&[b'n'; 256], b"")];
        assert_eq!(render_ibody(&long, 1024), Err(XattrError::Name(256)));
        assert_eq!(render_block(&long, 1024, 1), Err(XattrError::Name(256)));
        let none = [XattrEntry {
            name_index: 0,
            ..user(b"a", b"")
        }];
        assert_eq!(render_block(&none, 1024, 1), Err(XattrError::Index));
        assert_eq!(
            render_block(&[], 0x2_0000, 1),
            Err(XattrError::Area(0x2_0000))
        );
    }

    #[test]
    fn the_largest_block_is_filled_to_its_end() {
        let value = vec![7; 65_536 - 32 - 20 - 4];
        let block = render_block(&[user(b"a", &value)], 65_536, 1).expect("it fits exactly");
        let found = parse_block(&block).expect("a good block");
        assert_eq!(found.entries[0].value, Some(&value[..]));
    }

    /// A block of two attributes, sealed by nothing: entries at 32 and 52, values at 1016 and 1020.
    fn two() -> Vec<u8> {
        render_block(&[user(b"a", b"1234"), user(b"b", b"5678")], 1024, 1).expect("they fit")
    }

    #[test]
    fn faults_name_the_entry() {
        let with = |offset: usize, bytes: &[u8]| {
            let mut block = two();
            block[offset..][..bytes.len()].copy_from_slice(bytes);
            parse_block(&block).map(|_| ())
        };
        assert_eq!(with(0, &[]), Ok(()));
        assert_eq!(with(0, &[1]), Err(XattrFault::Magic(0xEA02_0001)));
        assert_eq!(with(8, &[2]), Err(XattrFault::Blocks(2)));
        assert_eq!(with(33, &[0]), Err(XattrFault::Name(32)));
        assert_eq!(with(48, &[0]), Err(XattrFault::Name(32)));
        assert_eq!(with(48, b"c"), Err(XattrFault::Order(52)));
        assert_eq!(with(68, b"a"), Err(XattrFault::Order(52)));
        assert_eq!(
            with(34, &1021_u16.to_le_bytes()),
            Err(XattrFault::Value(32))
        );
        assert_eq!(
            with(34, &u16::MAX.to_le_bytes()),
            Err(XattrFault::Value(32))
        );
        assert_eq!(
            with(40, &u32::MAX.to_le_bytes()),
            Err(XattrFault::Value(32))
        );
        assert_eq!(with(54, &72_u16.to_le_bytes()), Err(XattrFault::Value(52)));
        assert_eq!(
            with(54, &1018_u16.to_le_bytes()),
            Err(XattrFault::Overlap(1020))
        );
        assert_eq!(with(56, &12_u32.to_le_bytes()), Err(XattrFault::Value(52)));
        let needed = entry_hash(b"b", &Value::Inline(b"5679"));
        let found = entry_hash(b"b", &Value::Inline(b"5678"));
        assert_eq!(
            with(1019, b"9"),
            Err(XattrFault::Hash {
                offset: 52,
                found,
                needed
            })
        );
        assert_eq!(
            parse_block(&two()[..31]).map(|_| ()),
            Err(XattrFault::Area(31))
        );
        assert_eq!(
            parse_block(&two()[..72]).map(|_| ()),
            Err(XattrFault::Unterminated(72))
        );
        assert_eq!(
            parse_block(&two()[..76]).map(|_| ()),
            Err(XattrFault::Value(32))
        );
    }

    #[test]
    fn hashes_of_signed_names_are_taken() {
        let name = b"\xe9";
        let mut block = render_block(&[user(name, b"1234")], 1024, 1).expect("it fits");
        let signed = with_value(0xffff_ffe9, b"1234");
        assert_ne!(entry_hash(name, &Value::Inline(b"1234")), signed);
        block[44..48].copy_from_slice(&signed.to_le_bytes());
        assert!(parse_block(&block).is_ok());
    }

    #[test]
    fn no_byte_makes_parsing_panic() {
        let ibody =
            render_ibody(&[user(b"a", b"1234"), user(b"b", b"5678")], 96).expect("they fit");
        for area in [two(), ibody] {
            for at in 0..area.len() {
                for byte in [0, 1, 4, 0x7f, 0x80, 0xfe, 0xff] {
                    let mut changed = area.clone();
                    changed[at] = byte;
                    let _ = parse_block(&changed);
                    let _ = parse_ibody(&changed);
                    let _ = parse_block(&changed[..at]);
                    let _ = parse_ibody(&changed[..at]);
                    let _ = parse_ibody(&changed[at..]);
                }
            }
        }
    }
}
