//! Given a directory, fills it as root with one of everything that a formatter may lose; never
//! asks the clock or chance: only times that no case sets are those of the build.
//!
//! The cases are listed in `fixtures/README.md`. `flags` and `xattrs` need a directory on ext4
//! (see [`super::mount::Scratch`]); the others build on any filesystem with holes and 64-bit times.
//! No file has more extended attributes than one block of 1 KiB holds.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, IFlags, Mode, OFlags, Timespec, Timestamps,
};

use super::tools::Result;

/// What an ext4 of some shape cannot hold, or some readers cannot reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Bytes of the longest symlink target: below the block size (1023 for blocks of 1 KiB), and
    /// at most 4095.
    pub(crate) longest_symlink: usize,
    /// Whether some paths are longer than PATH_MAX.
    pub(crate) beyond_path_max: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            longest_symlink: 4095,
            beyond_path_max: false,
        }
    }
}

type Builder = fn(&Path, &Options) -> Result<()>;

/// Each group of cases: the name of its directory, and what fills that.
const GROUPS: [(&str, Builder); 14] = [
    ("acls", acls),
    ("deep", deep),
    ("directories", directories),
    ("flags", flags),
    ("links", links),
    ("modes", modes),
    ("names", names),
    ("nodes", nodes),
    ("owners", owners),
    ("sizes", sizes),
    ("sparse", sparse),
    ("symlinks", symlinks),
    ("times", times),
    ("xattrs", xattrs),
];

/// The names of the groups, which are the directories that [`build`] makes.
pub(crate) fn groups() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(name, _)| *name)
}

/// Builds the tree in `dir`, which it makes, with a mode, owner, times and xattr of its own.
pub(crate) fn build(dir: &Path, options: &Options) -> Result<()> {
    fs::create_dir(dir)?;
    for (name, group) in GROUPS {
        let place = dir.join(name);
        fs::create_dir(&place)?;
        group(&place, options).map_err(|error| format!("{name}: {error}"))?;
    }
    xattr::set(dir, "trusted.root", b"of the source")?;
    lchown(dir, Some(12), Some(34))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o2750))?;
    set_times(dir, (999_999_999, 1), (1_000_000_001, 2))
}

/// Removes what [`build`] made, the immutable files included.
pub(crate) fn teardown(dir: &Path) -> Result<()> {
    let flags = dir.join("flags");
    if flags.exists() {
        clear_flags(&flags)?;
    }
    Ok(fs::remove_dir_all(dir)?)
}

/// Removes one group of what [`build`] made.
pub(crate) fn teardown_group(dir: &Path, group: &str) -> Result<()> {
    if group == "flags" {
        clear_flags(&dir.join(group))?;
    }
    Ok(fs::remove_dir_all(dir.join(group))?)
}

fn clear_flags(dir: &Path) -> Result<()> {
    set_flags(dir, IFlags::empty())?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear_flags(&entry.path())?;
        } else {
            set_flags(&entry.path(), IFlags::empty())?;
        }
    }
    Ok(())
}

/// Makes `count` empty directories in `dir`: past 65,000, ext4 stops counting their links.
pub(crate) fn subdirs(dir: &Path, count: u32) -> Result<()> {
    (0..count).try_for_each(|i| Ok(fs::create_dir(dir.join(format!("{i:06}")))?))
}

/// `size` bytes that no other part of the same file repeats at a page's distance.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    let cycle = (1..=251_u8).cycle();
    cycle.take(size).collect()
}

/// Sets atime and mtime, each (seconds, nanoseconds), of `path` itself.
pub(crate) fn set_times(path: &Path, atime: (i64, u32), mtime: (i64, u32)) -> Result<()> {
    let time = |(seconds, nanoseconds): (i64, u32)| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    let times = Timestamps {
        last_access: time(atime),
        last_modification: time(mtime),
    };
    Ok(rustix::fs::utimensat(
        CWD,
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Sets the chattr flags of `path`, a file or directory, keeping how ext4 stores it.
pub(crate) fn set_flags(path: &Path, flags: IFlags) -> Result<()> {
    const EXTENTS: u32 = 0x8_0000;
    const INDEX: u32 = 0x1000;
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOATIME, Mode::empty())?;
    let storage = rustix::fs::ioctl_getflags(&fd)?.bits() & (EXTENTS | INDEX);
    let flags = IFlags::from_bits_retain(flags.bits() | storage);
    Ok(rustix::fs::ioctl_setflags(&fd, flags)?)
}

/// Makes a device, fifo or socket.
pub(crate) fn make_node(path: &Path, kind: FileType, (major, minor): (u32, u32)) -> Result<()> {
    let device = rustix::fs::makedev(major, minor);
    Ok(rustix::fs::mknodat(
        CWD,
        path,
        kind,
        Mode::from_raw_mode(0o640),
        device,
    )?)
}

/// An ACL as the kernel takes and shows it: version 2, then a tag, permissions and id per entry.
pub(crate) fn acl(entries: &[(AclTag, u16)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions) in entries {
        let (tag, id) = match tag {
            AclTag::Owner => (1_u16, u32::MAX),
            AclTag::User(id) => (2, *id),
            AclTag::OwningGroup => (4, u32::MAX),
            AclTag::Group(id) => (8, *id),
            AclTag::Mask => (16, u32::MAX),
            AclTag::Other => (32, u32::MAX),
        };
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Whom an entry of an ACL speaks of; the order is the one the kernel demands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AclTag {
    Owner,
    User(u32),
    OwningGroup,
    Group(u32),
    Mask,
    Other,
}

fn acls(dir: &Path, _: &Options) -> Result<()> {
    use AclTag::{Group, Mask, Other, Owner, OwningGroup, User};
    let access = acl(&[
        (Owner, 6),
        (User(1000), 7),
        (OwningGroup, 4),
        (Mask, 7),
        (Other, 4),
    ]);
    let many = acl(&[
        (Owner, 7),
        (User(0), 0),
        (User(65_536), 5),
        (User(4_294_967_294), 7),
        (OwningGroup, 5),
        (Group(100), 6),
        (Group(4_294_967_294), 1),
        (Mask, 7),
        (Other, 0),
    ]);
    let default = acl(&[(Owner, 7), (OwningGroup, 5), (Other, 5)]);
    for (name, value) in [("access", &access), ("many", &many)] {
        fs::write(dir.join(name), name)?;
        xattr::set(dir.join(name), "system.posix_acl_access", value)?;
    }
    for (name, value) in [("default-bare", &default), ("default-named", &many)] {
        fs::create_dir(dir.join(name))?;
        xattr::set(dir.join(name), "system.posix_acl_default", value)?;
        xattr::set(dir.join(name), "system.posix_acl_access", &access)?;
        fs::write(dir.join(name).join("heir"), "inherits")?;
        fs::create_dir(dir.join(name).join("heir-directory"))?;
    }
    Ok(())
}

fn deep(dir: &Path, options: &Options) -> Result<()> {
    let bottom: PathBuf = (0..200).fold(dir.to_owned(), |at, i| at.join(format!("level-{i:03}")));
    fs::create_dir_all(&bottom)?;
    fs::write(bottom.join("bottom"), "200 levels down")?;
    if !options.beyond_path_max {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = rustix::fs::open(dir, flags, Mode::empty())?;
    let name = "long-".repeat(40);
    for _ in 0..40 {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU)?;
        at = rustix::fs::openat(&at, &name, flags, Mode::empty())?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = rustix::fs::openat(&at, "bottom", flags, Mode::RUSR)?;
    rustix::io::write(&file, b"8,000 bytes of path above")?;
    Ok(())
}

/// Lengths of names that fill one block of a linear directory to its last byte.
///
/// An entry takes 8 bytes and its name, rounded up to 4; "." and ".." take 12 each, and so does the
/// checksum at the end (kernel: ext4/directory).
pub(crate) fn names_filling(block_size: usize) -> Vec<usize> {
    const LONGEST: usize = 8 + 256;
    let room = block_size - 3 * 12;
    let mut lengths = vec![255; room / LONGEST];
    lengths.push(room % LONGEST - 8);
    lengths
}

/// A name of `length` bytes, different for each `number`.
fn long_name(number: usize, length: usize) -> String {
    format!("{number:05}{}", "n".repeat(length - 5))
}

fn directories(dir: &Path, _: &Options) -> Result<()> {
    fs::create_dir(dir.join("empty"))?;
    for block_size in [1024, 2048, 4096] {
        let lengths = names_filling(block_size);
        for (name, more) in [("full", None), ("over", Some(&5))] {
            let place = dir.join(format!("{name}-{block_size}"));
            fs::create_dir(&place)?;
            for (number, length) in lengths.iter().chain(more).enumerate() {
                File::create(place.join(long_name(number, *length)))?;
            }
        }
    }
    let thousands = dir.join("thousands");
    fs::create_dir(&thousands)?;
    // At every block size up to 4 KiB these need more leaves than an htree's root can point to.
    for number in 0..8200 {
        File::create(thousands.join(long_name(number, 255)))?;
    }
    let subdirectories = dir.join("subdirectories");
    fs::create_dir(&subdirectories)?;
    subdirs(&subdirectories, 300)
}

fn flags(dir: &Path, _: &Options) -> Result<()> {
    let files = [
        ("append-only", IFlags::APPEND),
        ("immutable", IFlags::IMMUTABLE),
        ("no-tail", IFlags::NOTAIL),
        ("noatime", IFlags::NOATIME),
        ("nodump", IFlags::NODUMP),
        ("secure-removal", IFlags::SECURE_REMOVAL),
        ("several", IFlags::NODUMP | IFlags::NOATIME | IFlags::SYNC),
        ("sync", IFlags::SYNC),
        ("undelete", IFlags::UNRM),
    ];
    for (name, flags) in files {
        fs::write(dir.join(name), name)?;
        set_flags(&dir.join(name), flags).map_err(|error| format!("{name}: {error}"))?;
    }
    let directories = [
        ("append-only-directory", IFlags::APPEND),
        ("dirsync-directory", IFlags::DIRSYNC),
        ("immutable-directory", IFlags::IMMUTABLE),
        ("nodump-directory", IFlags::NODUMP | IFlags::NOATIME),
        ("project-directory", IFlags::PROJECT_INHERIT),
        ("topdir-directory", IFlags::TOPDIR),
    ];
    for (name, flags) in directories {
        let place = dir.join(name);
        fs::create_dir(&place)?;
        fs::write(place.join("inside"), name)?;
        set_flags(&place, flags).map_err(|error| format!("{name}: {error}"))?;
    }
    set_flags(&dir.join("immutable-directory/inside"), IFlags::IMMUTABLE)
}

fn links(dir: &Path, _: &Options) -> Result<()> {
    let elsewhere = dir.join("elsewhere");
    fs::create_dir(&elsewhere)?;
    fs::write(dir.join("file-1"), "three names")?;
    symlink("file-1", dir.join("symlink-1"))?;
    symlink("x".repeat(200), dir.join("long-symlink-1"))?;
    make_node(&dir.join("device-1"), FileType::CharacterDevice, (1, 3))?;
    make_node(&dir.join("fifo-1"), FileType::Fifo, (0, 0))?;
    make_node(&dir.join("socket-1"), FileType::Socket, (0, 0))?;
    for name in [
        "file",
        "symlink",
        "long-symlink",
        "device",
        "fifo",
        "socket",
    ] {
        let first = dir.join(format!("{name}-1"));
        fs::hard_link(&first, dir.join(format!("{name}-2")))?;
        fs::hard_link(&first, elsewhere.join(format!("{name}-3")))?;
    }
    fs::write(dir.join("many-000"), "three hundred names")?;
    for number in 1..300 {
        fs::hard_link(dir.join("many-000"), dir.join(format!("many-{number:03}")))?;
    }
    Ok(())
}

fn modes(dir: &Path, _: &Options) -> Result<()> {
    for mode in [0, 0o1, 0o644, 0o777, 0o1755, 0o2755, 0o4755, 0o6711, 0o7777] {
        let permissions = || fs::Permissions::from_mode(mode);
        let file = dir.join(format!("file-{mode:04o}"));
        fs::write(&file, "its mode matters")?;
        fs::set_permissions(file, permissions())?;
        let directory = dir.join(format!("directory-{mode:04o}"));
        fs::create_dir(&directory)?;
        fs::set_permissions(directory, permissions())?;
    }
    Ok(())
}

fn names(dir: &Path, _: &Options) -> Result<()> {
    let every_byte: Vec<u8> = (1..=u8::MAX).filter(|byte| *byte != b'/').collect();
    let umlauts = "\u{fc}".repeat(127);
    let names: [&[u8]; 18] = [
        &[b'a'; 255],
        &[0xff; 255],
        umlauts.as_bytes(),
        &every_byte,
        b"\xc3\x28 is not UTF-8",
        b"new\nline",
        b"back\\slash",
        b"\\x41",
        b"tab\tand space ",
        b" ",
        b"-rf",
        b"...",
        b".hidden",
        b"lost+found",
        b"\x01",
        b"\x7f\x80",
        b"e\xcc\x81 decomposed",
        b"\xc3\xa9 composed",
    ];
    for name in names {
        fs::write(dir.join(OsStr::from_bytes(name)), name)?;
    }
    let directory = dir.join(OsStr::from_bytes(&[0xfe; 255]));
    fs::create_dir(&directory)?;
    Ok(fs::write(
        directory.join(OsStr::from_bytes(b"\xfe\n")),
        "inside",
    )?)
}

fn nodes(dir: &Path, _: &Options) -> Result<()> {
    // Both numbers below 256 take the old encoding on disk, others the new one.
    let numbers = [
        (0, 0),
        (1, 3),
        (255, 255),
        (0, 256),
        (256, 0),
        (8, 1_048_575),
        (4095, 1_048_575),
    ];
    for (major, minor) in numbers {
        let kinds = [
            ("char", FileType::CharacterDevice),
            ("block", FileType::BlockDevice),
        ];
        for (name, kind) in kinds {
            make_node(
                &dir.join(format!("{name}-{major}-{minor}")),
                kind,
                (major, minor),
            )?;
        }
    }
    make_node(&dir.join("fifo"), FileType::Fifo, (0, 0))?;
    make_node(&dir.join("socket"), FileType::Socket, (0, 0))
}

fn owners(dir: &Path, _: &Options) -> Result<()> {
    const LAST: u32 = 4_294_967_294;
    for (uid, gid) in [
        (1, 2),
        (65_535, 65_536),
        (65_536, 65_535),
        (LAST, 0),
        (0, LAST),
        (LAST, LAST),
    ] {
        let owned = |kind| dir.join(format!("{kind}-{uid}-{gid}"));
        fs::write(owned("file"), "its owner matters")?;
        fs::create_dir(owned("directory"))?;
        symlink("its-owner-matters", owned("symlink"))?;
        make_node(&owned("fifo"), FileType::Fifo, (0, 0))?;
        for kind in ["file", "directory", "symlink", "fifo"] {
            lchown(owned(kind), Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

fn sizes(dir: &Path, _: &Options) -> Result<()> {
    for block_size in [1024, 2048, 4096, 65_536, 1 << 20] {
        for size in [block_size - 1, block_size, block_size + 1] {
            fs::write(dir.join(size.to_string()), pattern(size))?;
        }
    }
    // 60 bytes is what i_block would hold, 1 and 0 are the ends.
    for size in [0, 1, 59, 60, 61, 156] {
        fs::write(dir.join(size.to_string()), pattern(size))?;
    }
    Ok(())
}

fn sparse(dir: &Path, _: &Options) -> Result<()> {
    const PAGE: u64 = 4096;
    const TIB: u64 = 1 << 40;
    let page = pattern(4096);
    let make = |name: &str, size: u64, data: &[(u64, &[u8])]| -> Result<File> {
        let file = File::create_new(dir.join(name))?;
        file.set_len(size)?;
        data.iter()
            .try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset))?;
        Ok(file)
    };
    let alternating: Vec<_> = (0..5000).map(|i| (i * 2 * PAGE, page.as_slice())).collect();
    make("extents-5000", 10_000 * PAGE, &alternating)?;
    make(
        "tib",
        TIB,
        &[(0, &page), (TIB / 2, &page), (TIB - PAGE, &page)],
    )?;
    make("no-data", 10 * 1024 * 1024 + 1, &[])?;
    make("tib-no-data", TIB, &[])?;
    make(
        "trailing-hole",
        1 << 20,
        &[(0, &page), (PAGE, &page[..904])],
    )?;
    make(
        "leading-hole",
        (1 << 20) + 1234,
        &[((1 << 20) + 34, &page[..1200])],
    )?;
    make(
        "middle-hole",
        100_001,
        &[(0, &page), (96 * 1024, &page[..1697])],
    )?;
    make("zeros-that-are-data", 65_536, &[(0, &[0; 65_536])])?;
    let preallocated = make("preallocated", 0, &[])?;
    preallocated.write_all_at(&page, 16 * PAGE)?;
    preallocated.set_len(64 * PAGE)?;
    // What is preallocated within the size is a hole only until somebody reads it. Fewer blocks than
    // the size would need, or `cp` takes the file for one without holes.
    rustix::fs::fallocate(
        &preallocated,
        FallocateFlags::KEEP_SIZE,
        64 * PAGE,
        32 * PAGE,
    )?;
    let past_end = make("preallocated-past-the-end", 4096, &[(0, &page)])?;
    rustix::fs::fallocate(&past_end, FallocateFlags::KEEP_SIZE, 0, 64 * PAGE)?;
    Ok(())
}

fn symlinks(dir: &Path, options: &Options) -> Result<()> {
    // The kernel keeps up to 59 bytes in the inode.
    let lengths = [1, 58, 59, 60, 61, 1023, options.longest_symlink];
    for length in lengths
        .into_iter()
        .filter(|length| *length <= options.longest_symlink)
    {
        let link = dir.join(format!("to-{length}-bytes"));
        if !link.is_symlink() {
            symlink(OsStr::from_bytes(&pattern(length)), link)?;
        }
    }
    symlink("..", dir.join("to-parent"))?;
    symlink("loop", dir.join("loop"))?;
    symlink("/absolute/and/missing", dir.join("absolute"))?;
    Ok(symlink(
        OsStr::from_bytes(b"\xff\n"),
        dir.join("to-no-utf-8"),
    )?)
}

fn times(dir: &Path, _: &Options) -> Result<()> {
    // The kernel drops the nanoseconds of the first and the last second that the inode can hold.
    const FIRST: i64 = -(1 << 31);
    const LAST: i64 = FIRST + (1 << 34) - 1;
    let times = [
        ("1901", (FIRST, 0), (FIRST + 1, 999_999_999)),
        ("1969", (-1, 1), (-1, 999_999_999)),
        ("1970", (0, 0), (0, 1)),
        ("2001", (1_000_000_000, 123_456_789), (1_000_000_000, 0)),
        ("2038", ((1 << 31) - 1, 999_999_999), (1 << 31, 1)),
        ("2106", ((1 << 32) - 1, 5), (1 << 32, 6)),
        (
            "2174",
            ((1 << 32) + (1 << 31) - 1, 7),
            ((1 << 32) + (1 << 31), 8),
        ),
        ("2446", (LAST, 0), (LAST - 1, 999_999_999)),
        ("1901-2446", (FIRST, 0), (LAST, 0)),
    ];
    for (name, atime, mtime) in times {
        let dated = |kind| dir.join(format!("{kind}-{name}"));
        fs::write(dated("file"), "its times matter")?;
        fs::create_dir(dated("directory"))?;
        symlink("its-times-matter", dated("symlink"))?;
        make_node(&dated("fifo"), FileType::Fifo, (0, 0))?;
        for kind in ["file", "directory", "symlink", "fifo"] {
            set_times(&dated(kind), atime, mtime)?;
        }
    }
    Ok(())
}

fn xattrs(dir: &Path, _: &Options) -> Result<()> {
    // VFS_CAP_REVISION_2 and 3: effective CAP_NET_RAW; revision 3 ends in the id of a root user.
    let mut capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
    capability.resize(20, 0);
    let mut rooted = capability.clone();
    rooted[3] = 3;
    rooted.extend(1000_u32.to_le_bytes());
    let long_name = format!("user.{}", "n".repeat(250));
    let cases: [(&str, &str, &[u8]); 11] = [
        ("user", "user.comment", b"plain"),
        ("user-empty", "user.empty", b""),
        ("user-binary", "user.binary", b"\0\n\xff=\\"),
        ("user-long-name", &long_name, b"short"),
        ("trusted", "trusted.overlay.opaque", b"y"),
        ("security", "security.other", b"label\0"),
        ("capability", "security.capability", &capability),
        ("capability-rooted", "security.capability", &rooted),
        // With one name of one byte, an inode of 256 bytes has room for 68 bytes of value.
        ("inode-full", "user.a", &pattern(68)),
        ("inode-over", "user.a", &pattern(69)),
        ("block-full", "user.a", &pattern(968)),
    ];
    for (name, key, value) in cases {
        fs::write(dir.join(name), name)?;
        xattr::set(dir.join(name), key, value).map_err(|error| format!("{name}: {error}"))?;
    }
    several_xattrs(dir)?;
    fs::create_dir(dir.join("shared"))?;
    for number in 0..50 {
        let file = dir.join(format!("shared/{number:02}"));
        File::create(&file)?;
        xattr::set(&file, "user.shared", &pattern(700))?;
        xattr::set(&file, "trusted.shared", &pattern(30))?;
    }
    Ok(())
}

/// Several attributes on each kind of inode: as many as overflow into a block, and of every
/// namespace that the kind may have.
fn several_xattrs(dir: &Path) -> Result<()> {
    let file = dir.join("several");
    fs::write(&file, "several")?;
    for number in 0..10 {
        xattr::set(&file, format!("user.{number}"), &pattern(40 + number))?;
    }
    xattr::set(&file, "trusted.several", b"t")?;
    xattr::set(&file, "security.several", b"s")?;
    let directory = dir.join("on-a-directory");
    fs::create_dir(&directory)?;
    xattr::set(&directory, "user.directory", b"d")?;
    xattr::set(&directory, "trusted.directory", &pattern(300))?;
    let others = [
        "on-a-symlink",
        "on-a-long-symlink",
        "on-a-device",
        "on-a-fifo",
        "on-a-socket",
    ];
    symlink("short", dir.join(others[0]))?;
    symlink("x".repeat(100), dir.join(others[1]))?;
    make_node(&dir.join(others[2]), FileType::BlockDevice, (7, 300))?;
    make_node(&dir.join(others[3]), FileType::Fifo, (0, 0))?;
    make_node(&dir.join(others[4]), FileType::Socket, (0, 0))?;
    for other in others {
        xattr::set(dir.join(other), "trusted.small", other.as_bytes())?;
        xattr::set(dir.join(other), "security.large", &pattern(400))?;
    }
    Ok(())
}
