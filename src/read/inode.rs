//! Given an inode's number, gives what is stored of it, once its checksum says that it is so; never the
//! data that it leads to.
//!
//! Layout: the kernel's `inodes.rst`.

use super::bytes::{half, join, length, pod_or_zeros};
use super::error::{Error, ErrorDetail, ErrorKind, Result};
use super::superblock::{Identity, Superblock};
use super::volume::Volume;
use crate::feature::Feature;
use crate::ondisk::checksum::crc32c;
use crate::ondisk::dir::FileType;
use crate::ondisk::inode::{
    FLAG_CASEFOLD, FLAG_ENCRYPT, FLAG_HUGE_FILE, FLAG_INLINE_DATA, GOOD_OLD_SIZE, Inode as Stored,
    join_time,
};
use crate::ondisk::int::Le32;
use crate::units::{Block, Ino, Timestamp, is_zero};

/// Where the fields behind the first 128 bytes end, from the inode's first.
const CTIME_EXTRA_END: usize = 0x88;
const MTIME_EXTRA_END: usize = 0x8c;
const ATIME_EXTRA_END: usize = 0x90;
const CRTIME_END: usize = 0x94;
const CRTIME_EXTRA_END: usize = 0x98;
const PROJID_END: usize = 0xa0;

/// An inode: all that a filesystem says of a file but its names, its data and its extended attributes.
#[derive(Clone, Debug)]
pub struct Inode {
    /// That of the superblock by which it was read.
    filesystem: Identity,
    ino: Ino,
    it: Stored,
    /// As it is stored, whatever its size.
    stored: Box<[u8]>,
    has_project: bool,
    file_acl: u64,
    allocated_bytes: u64,
}

/// The numbers of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Inode {
    /// What `stored` says, whether or not it can be.
    pub(crate) fn decode(sb: &Superblock, ino: Ino, stored: &[u8]) -> Self {
        let it: Stored = pod_or_zeros(stored);
        let has_wide_blocks = sb.has(Feature::SixtyFourBit);
        let acl_high = if has_wide_blocks {
            it.i_file_acl_hi.get()
        } else {
            0
        };
        let has_huge = sb.has(Feature::HugeFile);
        let blocks_high = if has_huge { it.i_blocks_hi.get() } else { 0 };
        let unit = if has_huge && it.i_flags.get() & FLAG_HUGE_FILE != 0 {
            sb.block_size.bytes_u64()
        } else {
            512
        };
        Self {
            filesystem: sb.identity,
            ino,
            it,
            stored: stored.into(),
            has_project: sb.has(Feature::Project),
            file_acl: join(it.i_file_acl_lo.get(), acl_high.into()),
            allocated_bytes: join(it.i_blocks_lo.get(), blocks_high.into()).saturating_mul(unit),
        }
    }

    /// Refuses an inode that another filesystem gave.
    pub(super) fn check_own(&self, sb: &Superblock) -> Result<()> {
        if self.filesystem == sb.identity {
            Ok(())
        } else {
            Err(Error::new(ErrorDetail::Not(ErrorKind::Foreign)).in_inode(self.ino))
        }
    }

    /// Its number.
    pub fn ino(&self) -> Ino {
        self.ino
    }

    /// What it is; `None` where `i_mode` names no type.
    pub fn file_type(&self) -> Option<FileType> {
        FileType::of_mode(self.mode())
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type() == Some(FileType::Regular)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == Some(FileType::Directory)
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type() == Some(FileType::Symlink)
    }

    /// Type and permissions: `i_mode`.
    pub fn mode(&self) -> u16 {
        self.it.i_mode.get()
    }

    /// The lowest twelve bits of the mode.
    pub fn permissions(&self) -> u16 {
        self.mode() & 0o7777
    }

    /// The owner.
    pub fn uid(&self) -> u32 {
        self.it.uid()
    }

    /// The group.
    pub fn gid(&self) -> u32 {
        self.it.gid()
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.it.size()
    }

    /// How many names it has. A directory with more than 65,000 below it has 1.
    pub fn links(&self) -> u16 {
        self.it.i_links_count.get()
    }

    /// chattr's flags and the kernel's own: `i_flags`.
    pub fn flags(&self) -> u32 {
        self.it.i_flags.get()
    }

    /// The generation, as NFS and checksums know it.
    pub fn generation(&self) -> u32 {
        self.it.i_generation.get()
    }

    /// The project's number, 0 where there are none.
    pub fn project_id(&self) -> u32 {
        if self.has_project && self.reaches(PROJID_END) {
            self.it.i_projid.get()
        } else {
            0
        }
    }

    /// The space it takes, its extended attributes' and its map's included, in bytes.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes
    }

    /// When it was read last.
    pub fn atime(&self) -> Timestamp {
        let extra = self.field(ATIME_EXTRA_END, self.it.i_atime_extra);
        join_time(self.it.i_atime, extra)
    }

    /// When its data were changed last.
    pub fn mtime(&self) -> Timestamp {
        let extra = self.field(MTIME_EXTRA_END, self.it.i_mtime_extra);
        join_time(self.it.i_mtime, extra)
    }

    /// When it was changed last.
    pub fn ctime(&self) -> Timestamp {
        let extra = self.field(CTIME_EXTRA_END, self.it.i_ctime_extra);
        join_time(self.it.i_ctime, extra)
    }

    /// When it was made, where the inode has room for that.
    pub fn crtime(&self) -> Option<Timestamp> {
        let extra = self.field(CRTIME_EXTRA_END, self.it.i_crtime_extra);
        self.reaches(CRTIME_END)
            .then(|| join_time(self.it.i_crtime, extra))
    }

    /// The numbers of a device's node.
    pub fn device(&self) -> Option<Device> {
        let is_device = matches!(
            self.file_type(),
            Some(FileType::CharDevice | FileType::BlockDevice)
        );
        let old = super::bytes::word(&self.it.i_block, 0);
        let new = super::bytes::word(&self.it.i_block, 4);
        // The kernel's `old_decode_dev` and `new_decode_dev`.
        let device = if old != 0 {
            Device {
                major: (old >> 8) & 0xff,
                minor: old & 0xff,
            }
        } else {
            Device {
                major: (new >> 8) & 0xfff,
                minor: (new & 0xff) | ((new >> 12) & 0xf_ff00),
            }
        };
        is_device.then_some(device)
    }

    /// Whether file data, names or the link's target are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.has_flag(FLAG_ENCRYPT)
    }

    /// Whether the directory is case-insensitive (casefolded).
    pub fn is_casefolded(&self) -> bool {
        self.has_flag(FLAG_CASEFOLD)
    }

    /// Whether file data or entries are in the inode itself.
    pub fn has_inline_data(&self) -> bool {
        self.has_flag(FLAG_INLINE_DATA)
    }

    /// The block of its extended attributes, if it has one.
    pub fn xattr_block(&self) -> Option<Block> {
        (self.file_acl != 0).then(|| Block::new(self.file_acl))
    }

    /// The inode as it is stored, up to and with `i_projid`; what it has no room for is zero.
    pub fn stored(&self) -> &Stored {
        &self.it
    }

    pub(crate) fn has_flag(&self, flag: u32) -> bool {
        self.flags() & flag != 0
    }

    /// Whether its extra fields reach to `end`.
    fn reaches(&self, end: usize) -> bool {
        end <= (GOOD_OLD_SIZE + self.extra_bytes()).min(self.stored.len())
    }

    fn field(&self, end: usize, stored: Le32) -> Le32 {
        if self.reaches(end) {
            stored
        } else {
            Le32::new(0)
        }
    }

    fn extra_bytes(&self) -> usize {
        if self.stored.len() > GOOD_OLD_SIZE {
            self.it.i_extra_isize.get().into()
        } else {
            0
        }
    }

    /// Where extended attributes lie in it. Without extra fields there are none (the kernel's
    /// `ext4_iget_extra_inode`).
    pub(crate) fn xattr_area(&self) -> &[u8] {
        match self.extra_bytes() {
            0 => &[],
            extra => self.stored.get(GOOD_OLD_SIZE + extra..).unwrap_or_default(),
        }
    }

    /// Whether its extra fields end within it, at a multiple of four.
    pub(crate) fn is_extra_sound(&self) -> bool {
        let room = self.stored.len().saturating_sub(GOOD_OLD_SIZE);
        let extra = self.extra_bytes();
        extra == 0 || (4..=room).contains(&extra) && extra.is_multiple_of(4)
    }

    /// What its own checksums, and those of what it owns, begin with.
    pub(crate) fn seed(&self, sb: &Superblock) -> u32 {
        sb.inode_seed(self.ino.get(), self.generation())
    }

    /// The checksum that it has and the one it needs; `None` where it has none.
    pub(crate) fn checksums(&self, sb: &Superblock) -> Option<(u32, u32)> {
        // libext2fs takes an inode of zeros for sound, whatever its checksum would be.
        if !sb.has_checksums() || is_zero(&self.stored) {
            return None;
        }
        let stored = &self.stored;
        let has_high = stored.len() > GOOD_OLD_SIZE && half(stored, 0x80) >= 4;
        // The checksum's own bytes count as zeros.
        let own = [Some(0x7c..0x7e), has_high.then_some(0x82..0x84)];
        let (mut needed, mut at) = (self.seed(sb), 0);
        for own in own.into_iter().flatten() {
            let before = stored.get(at..own.start).unwrap_or_default();
            needed = crc32c(crc32c(needed, before), &[0; 2]);
            at = own.end;
        }
        let needed = crc32c(needed, stored.get(at..).unwrap_or_default());
        let low = u32::from(self.it.i_checksum_lo.get());
        if has_high {
            let high = u32::from(self.it.i_checksum_hi.get());
            Some((low | high << 16, needed))
        } else {
            Some((low, needed & 0xffff))
        }
    }

    /// Itself, if its checksum says that it is what was written.
    pub(crate) fn verified(self, sb: &Superblock) -> Result<Self> {
        let ino = self.ino;
        if let Some((found, expected)) = self.checksums(sb)
            && found != expected
        {
            return Err(Error::new(ErrorDetail::Checksum {
                what: "i_checksum",
                found,
                expected,
            })
            .in_inode(ino));
        }
        if !self.is_extra_sound() {
            let rule = "i_extra_isize is not a multiple of 4 within the inode";
            return Err(Error::rule(rule).in_inode(ino));
        }
        Ok(self)
    }

    /// Whether a file has it: it has a type and a name, and was not deleted.
    pub(crate) fn is_in_use(&self) -> bool {
        self.mode() != 0 && self.links() != 0
    }
}

impl Volume<'_> {
    /// An inode, sound, whether in use or not.
    pub(crate) fn any_inode(&self, ino: Ino) -> Result<Inode> {
        let sb = &self.sb;
        let index = ino.get().checked_sub(1);
        let Some(index) = index.filter(|_| ino.get() <= sb.inodes_count) else {
            return Err(Error::new(ErrorDetail::NotInUse).in_inode(ino));
        };
        let group = self.group(index / sb.inodes_per_group);
        let group = group.map_err(|error| error.in_inode(ino))?;
        let within = u64::from(index % sb.inodes_per_group) * length(sb.inode_size);
        let offset = self.offset_of(group.inode_table())? + within;
        let mut stored = vec![0; sb.inode_size];
        self.read(offset, &mut stored)
            .map_err(|error| error.in_inode(ino))?;
        Inode::decode(sb, ino, &stored).verified(sb)
    }

    /// An inode in use.
    pub(crate) fn inode(&self, ino: Ino) -> Result<Inode> {
        let inode = self.any_inode(ino)?;
        if !inode.is_in_use() {
            return Err(Error::new(ErrorDetail::NotInUse).in_inode(ino));
        }
        if inode.file_type().is_none() {
            return Err(Error::rule("i_mode has no valid file type").in_inode(ino));
        }
        Ok(inode)
    }
}
