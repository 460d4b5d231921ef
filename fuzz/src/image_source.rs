//! Given any bytes, as an image or as changes to a sound one, checks that they are refused as a source or
//! give a tree of which an image is made that our own checker finds sound and that holds the same files,
//! and that an archive of them comes to an end.

use std::io::{self, Write};
use std::sync::Arc;

use mke4fs::check::{CheckOptions, check_with};
use mke4fs::export::tar;
use mke4fs::options::Options;
use mke4fs::raw::emit::Writing;
use mke4fs::read::{Filesystem, Inode, ReadAt, Walk, WalkEntry, Xattr};
use mke4fs::sink::Memory;
use mke4fs::source::image::Image;
use mke4fs::{Builder, Fit};

use super::check::Input;
use super::options::host;
use super::read;

/// The longest archive that is written, in bytes: a file of a sound image may be made to be all of it.
const MOST_ARCHIVE: usize = 1 << 24;
/// How much of a file is compared at once, in bytes, and how many of its ranges.
const STEP: u64 = 1 << 16;
const MOST_RANGES: usize = 64;

/// Checks the source by `bytes`.
pub fn run(bytes: &[u8]) {
    judge(Arc::new(bytes.to_vec()));
    if let Some(input) = super::value::<Input>(bytes) {
        judge(Arc::new(input.changed(read::images()).1));
    }
}

fn judge(image: Arc<dyn ReadAt>) {
    let Ok(filesystem) = Filesystem::open(image) else {
        return;
    };
    let filesystem = Arc::new(filesystem);
    let _ = tar::write(&filesystem, &[], &mut Archive { left: MOST_ARCHIVE });
    if let Some(made) = made(&filesystem) {
        let report = check_with(&made, &CheckOptions::default());
        assert!(report.is_clean(), "{:?}", report.findings);
        let made = Filesystem::open(made).expect("it is sound");
        compare(&filesystem, &made);
    }
}

/// An archive that is forgotten as it is written.
struct Archive {
    left: usize,
}

impl Write for Archive {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An image of all that is in `filesystem`, unless that is refused.
fn made(filesystem: &Arc<Filesystem<'static>>) -> Option<Memory> {
    let mut options = Options::new();
    options
        .fs_type("ext4")
        .features("ea_inode,casefold,verity,^has_journal")
        .block_size(1024);
    let source = Image::reading(filesystem.clone(), "image");
    let builder = Builder::from_options(options)
        .environment(host())
        .source(source);
    let plan = builder.keep_root(true).fit(Fit::Minimum).plan().ok()?;
    let memory = Memory::new(plan.size_bytes());
    let writing = Writing::default();
    plan.write(&memory, &writing).ok()?;
    Some(memory)
}

/// Compares all files of two filesystems, but for lost+found.
fn compare(old: &Filesystem<'_>, new: &Filesystem<'_>) {
    let root = |of: &Filesystem<'_>| of.root().expect("it was read before");
    let (old_root, new_root) = (root(old), root(new));
    let mut olds = old.walk(&old_root).expect("it was read before").sorted();
    let mut news = new.walk(&new_root).expect("it is sound").sorted();
    loop {
        let (one, other) = (next(old, &mut olds), next(new, &mut news));
        assert_eq!(olds.path(), news.path());
        match (one, other) {
            (Some(one), Some(other)) => same(old, &one.inode, new, &other.inode),
            (None, None) => return,
            pair => panic!("{pair:?}"),
        }
    }
}

/// The next file, unless it is an empty lost+found.
fn next(filesystem: &Filesystem<'_>, walk: &mut Walk<'_>) -> Option<WalkEntry> {
    loop {
        let found = walk.next()?.expect("it was read before");
        let is_lost = found.depth == 0 && found.entry.name() == b"lost+found";
        let is_empty = || {
            let entries = filesystem.entries(&found.inode).expect("it is one");
            entries.count() == 0
        };
        if !is_lost || !found.inode.is_dir() || !is_empty() {
            return Some(found);
        }
        walk.skip_below();
    }
}

fn same(old: &Filesystem<'_>, one: &Inode, new: &Filesystem<'_>, other: &Inode) {
    let facts = |inode: &Inode| {
        // Of anything else it means nothing, or is the filesystem's own.
        let has_size = inode.is_file() || inode.is_symlink();
        let size = has_size.then(|| inode.size());
        let owner = (inode.uid(), inode.gid());
        let times = (inode.atime(), inode.mtime(), inode.ctime());
        // Whatever is stored of a symbolic link, a tree gives it every permission, as Linux does.
        let permissions = if inode.is_symlink() { 0o777 } else { 0 };
        let mode = inode.mode() | permissions;
        (mode, owner, size, times, inode.device())
    };
    assert_eq!(facts(one), facts(other));
    let xattrs = |of: &Filesystem<'_>, inode| {
        let mut xattrs = of.xattrs_of(inode).expect("it was read before");
        let spaces = [
            &b"user."[..],
            b"trusted.",
            b"security.",
            b"system.posix_acl_",
        ];
        xattrs.retain(|it| spaces.iter().any(|space| it.name.starts_with(space)));
        xattrs.sort_by(|one: &Xattr, other| one.name.cmp(&other.name));
        xattrs
    };
    assert_eq!(xattrs(old, one), xattrs(new, other));
    if one.is_symlink() {
        let target = |of: &Filesystem<'_>, inode| of.link_target(inode).expect("it was read");
        assert_eq!(target(old, one), target(new, other));
    }
    if one.is_file() {
        same_data(old, one, new, other);
    }
}

fn same_data(old: &Filesystem<'_>, one: &Inode, new: &Filesystem<'_>, other: &Inode) {
    let one = old.file(one).expect("it was read before");
    let other = new.file(other).expect("it is sound");
    let ranges = one
        .data_ranges()
        .expect("they were read before")
        .into_iter();
    for range in ranges.take(MOST_RANGES) {
        let length = usize::try_from((range.end - range.start).min(STEP)).expect("it is short");
        let mut bytes = [vec![1; length], vec![2; length]];
        let [ours, theirs] = &mut bytes;
        assert_eq!(one.read_at(range.start, ours).expect("it was read"), length);
        assert_eq!(
            other.read_at(range.start, theirs).expect("it is sound"),
            length
        );
        assert!(ours == theirs);
    }
}
