//! Given images that mke2fs and this crate made, proves that they grow as resize2fs makes them grow, and
//! that a run may end at any moment; never how the blocks are found.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;

use bytemuck::pod_read_unaligned;
use common::making::{make, workplace};
use common::mount::{mount_ro, mount_rw};
use common::place::Place;
use common::shown;
use common::tools::{self, Need, Result, Which, command, e2fsck, ready, run};
use mke4fs::check::{CheckOptions, Report, check_with};
use mke4fs::grow::{GrowErrorKind, Growth};
use mke4fs::raw::ondisk::group_desc::GroupDesc;
use mke4fs::read::{Filesystem, ImageFile};
use mke4fs::sink::{IfBusy, Memory, Output, Sink};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

const MIB: u64 = 1 << 20;

/// Who makes an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Ours,
    Mke2fs(Which),
}
use Maker::{Mke2fs, Ours};
use Which::{Reference, System};

/// Makes an image with a few files in it.
fn image(maker: Maker, words: &str, mebibytes: u64, path: &Path) -> Result<()> {
    let source = path.with_extension("source");
    if !source.exists() {
        fs::create_dir_all(source.join("deep/er"))?;
        fs::write(
            source.join("deep/er/file"),
            common::torture::pattern(300_000),
        )?;
        fs::write(source.join("short"), "short")?;
        fs::hard_link(source.join("short"), source.join("deep/again"))?;
        std::os::unix::fs::symlink("deep/er/file", source.join("link"))?;
    }
    let _ = fs::remove_file(path);
    match maker {
        Ours => {
            make(&format!("{words} {mebibytes}M"), Some(&source), path)?;
        }
        Mke2fs(which) => {
            File::create(path)?.set_len(mebibytes * MIB)?;
            let mut mke2fs = command(which, "mke2fs")?;
            mke2fs.args(["-q", "-F", "-t", "ext4"]);
            run(mke2fs
                .arg("-d")
                .arg(&source)
                .args(words.split_whitespace())
                .arg(path))?;
        }
    }
    Ok(())
}

/// Grows the filesystem in a file as the command does.
fn grow(path: &Path, size_bytes: u64) -> Result<Growth> {
    let mut output = Output::open(path, IfBusy::Refuse)?;
    let growth = Growth::new(&Filesystem::open(output.file())?, size_bytes)?;
    output.make_room(&growth.range(0))?;
    growth.write(output.file(), 0)?;
    output.keep();
    Ok(growth)
}

fn judged(path: &Path) -> Result<Report> {
    Ok(check_with(
        &ImageFile::open(path)?,
        &CheckOptions::default(),
    ))
}

/// The data of every file, by path.
fn contents(filesystem: &Filesystem<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = Vec::new();
    let mut names: Vec<Vec<u8>> = Vec::new();
    for entry in filesystem.walk(&filesystem.root()?)? {
        let entry = entry?;
        names.truncate(entry.depth);
        names.push(entry.entry.name().to_vec());
        let path = names.join(&b'/');
        let data = if entry.inode.is_file() {
            filesystem.read(&path)?
        } else {
            Vec::new()
        };
        all.push((path, data));
    }
    all.sort();
    Ok(all)
}

/// Images, and to how many MiB they grow.
const CASES: &[(Maker, &str, u64, &[u64])] = &[
    (Mke2fs(Reference), "-b 1024", 8, &[16, 80, 800]),
    (Mke2fs(System), "-b 4096", 8, &[16, 800]),
    (Ours, "-b 1024", 32, &[64, 320, 3200]),
    (Ours, "-b 4096", 64, &[130, 640, 6400]),
    (Mke2fs(Reference), "-b 4096", 600, &[1200, 6000, 60_000]),
    (
        Mke2fs(Reference),
        "-b 4096",
        8192,
        &[16_384, 81_920, 819_200],
    ),
    (Mke2fs(Reference), "-b 1024 -O ^64bit", 64, &[640, 6400]),
    (Ours, "-b 4096 -O ^64bit,^flex_bg", 64, &[640]),
    (
        Mke2fs(System),
        "-b 1024 -O ^metadata_csum,^flex_bg",
        64,
        &[128, 650],
    ),
    (
        Mke2fs(Reference),
        "-b 1024 -O ^metadata_csum,uninit_bg,^flex_bg",
        64,
        &[640],
    ),
    (
        Mke2fs(Reference),
        "-b 1024 -O ^metadata_csum,uninit_bg",
        32,
        &[321],
    ),
    (
        Mke2fs(Reference),
        "-b 4096 -O ^metadata_csum,^64bit -I 128",
        600,
        &[1300, 6000],
    ),
    (
        Mke2fs(Reference),
        "-b 1024 -O ^sparse_super,^resize_inode,^metadata_csum,^64bit",
        32,
        &[200],
    ),
    (Ours, "-b 1024 -O bigalloc", 64, &[640]),
    (
        Mke2fs(Reference),
        "-b 4096 -O bigalloc -C 65536",
        600,
        &[1200, 6000],
    ),
    (
        Mke2fs(Reference),
        "-b 1024 -O meta_bg,^resize_inode",
        64,
        &[128, 640, 6400],
    ),
    (Ours, "-b 4096 -O meta_bg,^resize_inode", 600, &[60_000]),
    (
        Mke2fs(Reference),
        "-b 4096 -O sparse_super2",
        64,
        &[200, 640],
    ),
    (Mke2fs(Reference), "-b 1024 -O sparse_super2", 24, &[240]),
    (Ours, "-b 1024 -O sparse_super2,^resize_inode", 64, &[120]),
    (
        Mke2fs(Reference),
        "-b 4096 -O sparse_super2 -E num_backup_sb=1",
        200,
        &[640],
    ),
    (
        Ours,
        "-b 2048 -O metadata_csum_seed,quota,project",
        64,
        &[640],
    ),
    (
        Mke2fs(Reference),
        "-b 1024 -G 64 -E packed_meta_blocks=1",
        64,
        &[640],
    ),
    (Ours, "-b 1024 -m 13 -N 500 -O mmp", 50, &[333]),
];

/// The fields in which a superblock of ours and one of resize2fs's differ, and why.
const SUPERBLOCK: &[(&str, std::ops::Range<usize>, &str)] = &[
    ("s_wtime", 0x30..0x34, "growing asks no clock"),
    (
        "s_kbytes_written",
        0x178..0x180,
        "what libext2fs wrote through its cache",
    ),
    ("s_wtime_hi", 0x274..0x275, "as s_wtime"),
    (
        "s_overhead_clusters",
        0x248..0x24c,
        "resize2fs leaves it to the kernel: 0",
    ),
    ("s_checksum", 0x3fc..0x400, "it covers the others"),
];

/// The same of descriptors.
///
/// The tables of new groups lie in new groups, so that an old superblock knows nothing of them; resize2fs
/// goes on in the old groups of a flex group that was not full. So free blocks and block bitmaps differ in
/// single groups, never their sum. Inode tables are known to be zeros: bg_flags has ITABLE_ZEROED.
const DESCRIPTOR: &[&str] = &[
    "bg_block_bitmap",
    "bg_inode_bitmap",
    "bg_inode_table",
    "bg_free_blocks_count",
    "bg_flags",
    "bg_block_bitmap_csum",
    "bg_checksum",
];

fn superblock_differences(ours: &Path, theirs: &Path) -> Result<BTreeSet<String>> {
    let read = |path: &Path| -> Result<Vec<u8>> {
        let mut bytes = vec![0; 1024];
        File::open(path)?.read_exact_at(&mut bytes, 1024)?;
        Ok(bytes)
    };
    let (ours, theirs) = (read(ours)?, read(theirs)?);
    let differing = (0..1024).filter(|at| ours[*at] != theirs[*at]);
    let named = differing.map(|at| {
        let known = SUPERBLOCK.iter().find(|(_, range, _)| range.contains(&at));
        known.map_or_else(|| format!("{at:#x}"), |(name, ..)| (*name).to_owned())
    });
    Ok(named.collect())
}

/// The descriptors of a filesystem, as fields with names.
fn descriptors(path: &Path) -> Result<Vec<Vec<(&'static str, u64)>>> {
    let image = ImageFile::open(path)?;
    let filesystem = Filesystem::open(&image)?;
    let sb = filesystem.superblock();
    let groups = 0..sb.groups_count();
    groups
        .map(|number| {
            let group = filesystem.group(mke4fs::raw::units::Group::new(number))?;
            let stored: GroupDesc = group_bytes(path, sb, number)?;
            let wide = |low: u16, high: u16| u64::from(low) | u64::from(high) << 16;
            Ok(vec![
                ("bg_block_bitmap", group.block_bitmap().get()),
                ("bg_inode_bitmap", group.inode_bitmap().get()),
                ("bg_inode_table", group.inode_table().get()),
                ("bg_free_blocks_count", group.free_clusters().into()),
                ("bg_free_inodes_count", group.free_inodes().into()),
                ("bg_used_dirs_count", group.used_dirs().into()),
                ("bg_itable_unused", group.unused_inodes().into()),
                ("bg_flags", stored.bg_flags.get().into()),
                (
                    "bg_block_bitmap_csum",
                    wide(
                        stored.bg_block_bitmap_csum_lo.get(),
                        stored.bg_block_bitmap_csum_hi.get(),
                    ),
                ),
                (
                    "bg_inode_bitmap_csum",
                    wide(
                        stored.bg_inode_bitmap_csum_lo.get(),
                        stored.bg_inode_bitmap_csum_hi.get(),
                    ),
                ),
                ("bg_checksum", stored.bg_checksum.get().into()),
            ])
        })
        .collect()
}

/// A group's descriptor as it is stored, where descriptors are together.
fn group_bytes(path: &Path, sb: &mke4fs::read::Superblock, number: u32) -> Result<GroupDesc> {
    let size = sb.desc_size();
    let block = sb.block_size().bytes_u64();
    let per_block = u64::from(sb.block_size().bytes()) / u64::try_from(size)?;
    let number = u64::from(number);
    let features = sb.features();
    let first = if features.has(mke4fs::feature::Feature::MetaBg) {
        let group = number / per_block * per_block;
        let start = sb.first_data_block().get() + group * sb.blocks_per_group();
        // sparse_super: the groups that begin a stretch of this length have no copy but for the first.
        let is_copy = group == 0 || [3_u64, 5, 7].iter().any(|base| power(group, *base));
        start + u64::from(is_copy)
    } else {
        let boot = u64::from(sb.first_data_block().get() == 0 && block == 1024);
        sb.first_data_block().get() + boot + 1 + number / per_block
    };
    let mut bytes = vec![0; size_of::<GroupDesc>()];
    let at = first * block + number % per_block * u64::try_from(size)?;
    File::open(path)?.read_exact_at(&mut bytes[..size.min(64)], at)?;
    Ok(pod_read_unaligned(&bytes))
}

fn power(number: u64, base: u64) -> bool {
    std::iter::successors(Some(base), |it| it.checked_mul(base))
        .take_while(|it| *it <= number)
        .any(|it| it == number)
}

/// The names of the fields in which descriptors differ; the sums of free blocks and inodes do not.
fn descriptor_differences(ours: &Path, theirs: &Path) -> Result<BTreeSet<String>> {
    let (ours, theirs) = (descriptors(ours)?, descriptors(theirs)?);
    assert_eq!(ours.len(), theirs.len());
    let free = |all: &[Vec<(&str, u64)>]| {
        let fields = all.iter().flatten();
        let counts = fields.filter(|(name, _)| *name == "bg_free_blocks_count");
        counts.map(|(_, count)| count).sum::<u64>()
    };
    assert_eq!(free(&ours), free(&theirs));
    let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
    let differing = pairs.filter(|(one, other)| one.1 != other.1);
    Ok(differing.map(|(one, _)| one.0.to_owned()).collect())
}

#[test]
fn what_grew_is_sound_and_counts_as_resize2fs_does() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let path = dir.path().join("base");
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let mut fields: [BTreeSet<String>; 2] = Default::default();
    for (number, (maker, words, size, to)) in CASES.iter().enumerate() {
        image(*maker, words, *size, &path)?;
        let before = contents(&Filesystem::open(ImageFile::open(&path)?)?)?;
        for (turn, mebibytes) in to.iter().enumerate() {
            let about = format!("{maker:?} {words}: {size} to {mebibytes} MiB");
            copy(&path, &ours)?;
            copy(&path, &theirs)?;
            grow(&ours, mebibytes * MIB).map_err(|error| format!("{about}: {error}"))?;
            let report = judged(&ours)?;
            assert!(report.is_clean(), "{about}: {:?}", report.findings);
            let which = Which::ALL[(number + turn) % 2];
            e2fsck(&ours, which).map_err(|error| format!("{about}: {error}"))?;
            if common::is_wide() {
                e2fsck(&ours, Which::ALL[(number + turn + 1) % 2])?;
            }
            let after = contents(&Filesystem::open(ImageFile::open(&ours)?)?)?;
            assert!(before == after, "{about}: other contents");
            File::options()
                .write(true)
                .open(&theirs)?
                .set_len(mebibytes * MIB)?;
            run(command(Reference, "resize2fs")?.arg("-f").arg(&theirs))?;
            let found = superblock_differences(&ours, &theirs)?;
            let unknown: Vec<_> = found.iter().filter(|name| name.starts_with("0x")).collect();
            assert!(unknown.is_empty(), "{about}: {unknown:?}");
            fields[0].extend(found);
            fields[1].extend(descriptor_differences(&ours, &theirs)?);
        }
    }
    let expected = SUPERBLOCK.iter().map(|(name, ..)| (*name).to_owned());
    // The clock's upper byte is the same until 2106.
    let expected: BTreeSet<_> = expected.filter(|name| name != "s_wtime_hi").collect();
    assert_eq!(fields[0], expected);
    let expected: BTreeSet<_> = DESCRIPTOR.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(fields[1], expected);
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_file(to);
    run(std::process::Command::new("cp")
        .arg("--sparse=always")
        .arg(from)
        .arg(to))?;
    Ok(())
}

#[test]
fn the_kernel_mounts_and_writes_what_grew() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let path = dir.path().join("image");
    let cases = [
        (Ours, "-b 1024", 32, 320),
        (Mke2fs(Reference), "-b 4096 -O bigalloc", 600, 6000),
        (Mke2fs(System), "-b 1024 -O meta_bg,^resize_inode", 64, 640),
        (
            Mke2fs(Reference),
            "-b 1024 -O ^metadata_csum,^flex_bg",
            8,
            80,
        ),
    ];
    for (maker, words, size, to) in cases {
        image(maker, words, size, &path)?;
        grow(&path, to * MIB)?;
        mount_rw(&path, |root| -> Result<()> {
            for number in 0..40 {
                fs::create_dir(root.join(format!("{number}")))?;
                fs::write(
                    root.join(format!("{number}/file")),
                    common::torture::pattern(500_000),
                )?;
            }
            Ok(())
        })??;
        for which in Which::ALL {
            e2fsck(&path, which)?;
        }
        let ours = Filesystem::open(ImageFile::open(&path)?)?;
        mount_ro(&path, |root| shown::compare(&ours, root))??;
    }
    Ok(())
}

/// What changes a sink.
#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Zero(u64, u64),
}

/// Memory that writes down what changes it, and fails at one change.
struct Recorded {
    inner: Memory,
    changes: Mutex<Vec<Change>>,
    fail_at: Option<usize>,
}

impl Recorded {
    fn new(inner: Memory, fail_at: Option<usize>) -> Self {
        let changes = Mutex::default();
        Self {
            inner,
            changes,
            fail_at,
        }
    }

    fn note(&self, change: Change) -> io::Result<()> {
        let mut changes = self.changes.lock().unwrap();
        changes.push(change);
        if self.fail_at == Some(changes.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Sink for Recorded {
    fn size_bytes(&self) -> u64 {
        Sink::size_bytes(&self.inner)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.note(Change::Write(offset, bytes.to_vec()))?;
        self.inner.write_at(offset, bytes)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.note(Change::Zero(offset, length))?;
        self.inner.zero(offset, length)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.inner.discard(offset, length)
    }

    fn discard_zeroes(&self) -> bool {
        self.inner.discard_zeroes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Storage of `size` that was in use, with an image at its front.
fn storage(image: &[u8], size: u64) -> Result<Memory> {
    let memory = Memory::filled(size, 0xd1);
    memory.write_at(0, image)?;
    Ok(memory)
}

fn grow_memory(memory: &Memory, size_bytes: u64) -> Result<()> {
    let growth = Growth::new(&Filesystem::open(memory)?, size_bytes)?;
    growth.write(memory, 0)?;
    Ok(())
}

fn bytes_of(memory: &Memory) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(Sink::size_bytes(memory))?];
    memory.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Images of which every cut is tried, and to how many MiB they grow.
const CUT: &[(&str, u64, u64)] = &[
    ("-b 1024 -g 1024 -O ^has_journal", 8, 20),
    ("-b 1024 -O ^64bit,^flex_bg,^metadata_csum", 4, 12),
    ("-b 1024 -O meta_bg,^resize_inode", 12, 20),
    ("-b 1024 -O sparse_super2", 20, 30),
    ("-b 1024 -O bigalloc -C 4096", 40, 70),
];

#[test]
fn every_cut_leaves_the_old_the_new_or_an_unfinished_filesystem() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let path = dir.path().join("base");
    for (number, (words, from, to)) in CUT.iter().enumerate() {
        image(Mke2fs(Reference), words, *from, &path)?;
        let old = fs::read(&path)?;
        let size = to * MIB;
        let before = contents(&Filesystem::open(&old[..])?)?;
        let whole = Recorded::new(storage(&old, size)?, None);
        let growth = Growth::new(&Filesystem::open(&whole.inner)?, size)?;
        growth.write(&whole, 0)?;
        let changes = whole.changes.into_inner()?;
        let new = bytes_of(&whole.inner)?;
        assert_eq!(old.len(), usize::try_from(growth.old_size_bytes())?);
        let mut kinds = [0_usize; 3];
        let cut = storage(&old, size)?;
        for end in 0..=changes.len() {
            if let Some(change) = end.checked_sub(1).map(|last| &changes[last]) {
                match change {
                    Change::Write(offset, bytes) => cut.write_at(*offset, bytes)?,
                    Change::Zero(offset, length) => cut.zero(*offset, *length)?,
                }
            }
            let about = format!("{words}: {end} of {}", changes.len());
            let kind = judge_cut(&cut, &growth, &about)?;
            let filesystem = Filesystem::open(&cut)?;
            assert!(contents(&filesystem)? == before, "{about}: other contents");
            drop(filesystem);
            // What is cut off among the old groups is what matters; the rest is looked at now and then.
            if kinds[kind] == 0 || kind == 1 || end % 16 == 0 {
                finish(&cut, (&old, &new), &about)?;
                if number == 0 || common::is_wide() {
                    ask_e2fsck(&cut, kind, dir.path())?;
                }
            }
            kinds[kind] += 1;
        }
        assert!(kinds.iter().all(|count| *count > 0), "{words}: {kinds:?}");
        tools::report(&format!("cuts of {words}, old, unfinished, new: {kinds:?}"));
    }
    Ok(())
}

/// 0 where a cut left the old filesystem, 1 an unfinished one, 2 the new one.
fn judge_cut(cut: &Memory, growth: &Growth, about: &str) -> Result<usize> {
    let report = check_with(cut, &CheckOptions::default());
    let filesystem = Filesystem::open(cut)?;
    let blocks = filesystem.superblock().blocks_count();
    if report.is_clean() {
        return Ok(if blocks == growth.superblock().blocks_count() {
            2
        } else {
            0
        });
    }
    let told: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    for mark in [
        "it was not cleanly unmounted",
        "the kernel recorded errors in it",
    ] {
        assert!(
            told.iter().any(|line| line.contains(mark)),
            "{about}: {told:?}"
        );
    }
    Ok(1)
}

/// Growing what was cut off gives what growing gives, and growing it to its own size what was there.
fn finish(cut: &Memory, (old, new): (&[u8], &[u8]), about: &str) -> Result<()> {
    let bytes = bytes_of(cut)?;
    let again = storage(&bytes, Sink::size_bytes(cut))?;
    grow_memory(&again, Sink::size_bytes(cut))?;
    assert!(bytes_of(&again)? == new, "{about}: finished otherwise");
    let back = storage(&bytes, Sink::size_bytes(cut))?;
    let filesystem = Filesystem::open(&back)?;
    let sb = filesystem.superblock();
    let own = sb.blocks_count() * sb.block_size().bytes_u64();
    drop(filesystem);
    grow_memory(&back, own)?;
    let report = check_with(&back, &CheckOptions::default());
    assert!(report.is_clean(), "{about}: {:?}", report.findings);
    let is_old = own == u64::try_from(old.len())?;
    if is_old {
        let back = bytes_of(&back)?;
        assert!(
            back[1024..2048] == old[1024..2048],
            "{about}: another superblock"
        );
    }
    Ok(())
}

/// e2fsck takes the old and the new for sound, and mends what is unfinished.
fn ask_e2fsck(cut: &Memory, kind: usize, dir: &Path) -> Result<()> {
    let path = dir.join("cut");
    fs::write(&path, bytes_of(cut)?)?;
    if kind != 1 {
        return Which::ALL
            .into_iter()
            .try_for_each(|which| e2fsck(&path, which).map(drop));
    }
    let asked = command(Reference, "e2fsck")?
        .arg("-n")
        .arg(&path)
        .output()?;
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(
        said.contains("contains a file system with errors, check forced"),
        "{said}"
    );
    let mended = command(System, "e2fsck")?.arg("-fy").arg(&path).output()?;
    assert!(matches!(mended.status.code(), Some(0 | 1)), "{mended:?}");
    e2fsck(&path, Reference)?;
    Ok(())
}

#[test]
fn what_fails_at_any_write_is_as_it_was() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let path = dir.path().join("base");
    for (words, from, to) in CUT {
        image(Mke2fs(Reference), words, *from, &path)?;
        let old = fs::read(&path)?;
        let size = to * MIB;
        let mut failed = 0;
        for fail_at in 1.. {
            let sink = Recorded::new(storage(&old, size)?, Some(fail_at));
            let growth = Growth::new(&Filesystem::open(&sink.inner)?, size)?;
            let Err(error) = growth.write(&sink, 0) else {
                break;
            };
            assert_eq!(error.kind(), GrowErrorKind::Write, "{error}");
            assert!(error.to_string().ends_with("; the filesystem is as it was"));
            let left = bytes_of(&sink.inner)?;
            assert!(left[..old.len()] == old, "{words}: failed at {fail_at}");
            failed += 1;
        }
        assert!(failed >= 8, "{words}: {failed}");
    }
    Ok(())
}

/// Refusals: how the image is made, what is done to it, the arguments, and what is said.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    (
        "8M",
        "",
        "image 4M",
        "image: cannot shrink in place: the filesystem has 8 MiB, asked for 4 MiB; \
         use mke4fs -d image --size 4M NEW",
    ),
    (
        "-b 1024 -O ^resize_inode 8M",
        "",
        "image 1G",
        "image: too few reserved GDT blocks: 7 needed, 0 left, enough for 128 MiB; \
         use mke4fs -d image --size 1G NEW",
    ),
    (
        "8M",
        "debugfs -w -R 'feature needs_recovery' image",
        "image +1M",
        "image: the filesystem is not clean: its journal waits to be replayed; \
         use mke4fs -d image --size 9M NEW",
    ),
    (
        "8M",
        "debugfs -w -R 'ssv state 0' image",
        "image 16M",
        "image: the filesystem is not clean: it was not cleanly unmounted; \
         use mke4fs -d image --size 16M NEW",
    ),
    (
        "8M",
        "debugfs -w -R 'ssv state 3' image",
        "image 16M",
        "image: the filesystem is not clean: the kernel recorded errors in it; \
         use mke4fs -d image --size 16M NEW",
    ),
    (
        "8M",
        "debugfs -w -R 'ssv last_orphan 12' image",
        "image 16M",
        "image: the filesystem is not clean: it has orphaned inodes; \
         use mke4fs -d image --size 16M NEW",
    ),
    (
        "8M",
        "debugfs -w -R 'feature shared_blocks' image",
        "image 16M",
        "image: unknown features: s_feature_ro_compat has the bits 0x4000; \
         use mke4fs -d image --size 16M NEW",
    ),
    (
        "-b 4096 -O ^64bit,^has_journal 64M",
        "",
        "image 16T",
        "image: 4294967296 blocks are too many for its block numbers: at most 4294967295; \
         use mke4fs -d image --size 16T NEW",
    ),
    (
        "-b 1024 -O meta_bg,^resize_inode 64M",
        "",
        "image 64T",
        "image: it would have 17179869184 inodes: at most 4294967295 can be numbered; \
         use mke4fs -d image --size 64T NEW",
    ),
    (
        "-E offset=1048576 8M",
        "truncate -s 20M image",
        "image@1M 16M",
        "image: the filesystem is not the last in it, so what is behind it may be in use; name its \
         partition as FILE#PARTITION, or use mke4fs -d ext4:image@1048576 --size 16M NEW",
    ),
    (
        "8M",
        "",
        "image 1.5G",
        "invalid size '1.5G': must be a number, optionally with the unit k, M, G, T or s, and + before it to add that much",
    ),
];

#[test]
fn what_cannot_grow_is_refused_untouched() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let place = Place::new();
    for (made, done, arguments, said) in REFUSED {
        let (words, size) = made.rsplit_once(' ').unwrap_or(("", made));
        let line = format!("rm -f image; mke4fs -q {words} image {size}; {done}");
        let output = place.shell(&line);
        assert!(output.status.success(), "{line}: {output:?}");
        let before = fs::read(place.path("image"))?;
        let output = place.shell(&format!("mke4fs grow {arguments}"));
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(stderr, format!("mke4fs grow: {said}\n"));
        assert!(
            fs::read(place.path("image"))? == before,
            "{arguments}: it was changed"
        );
    }
    let output = place.shell("mke4fs grow nothing 8M");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        stderr,
        "mke4fs grow: cannot open nothing: No such file or directory\n"
    );
    assert!(!place.path("nothing").exists());
    Ok(())
}

/// How an image is made and changed, how it grows, what is said, and where the filesystem is at the end.
const COMMANDS: &[(&str, &str, &str, u64)] = &[
    (
        "mke4fs -q image 8M",
        "image 16M",
        "image: grown from 8 MiB to 16 MiB (16384 blocks in 2 groups)",
        0,
    ),
    (
        "mke4fs -q -b 4096 image 8M",
        "image +1G",
        "image: grown from 8 MiB to 1 GiB (264192 blocks in 9 groups)",
        0,
    ),
    (
        "mke4fs -q image 8M",
        "image 8192",
        "image: already has 8 MiB",
        0,
    ),
    (
        "mke4fs -q image 8M; truncate -s 12M image",
        "image",
        "image: grown from 8 MiB to 12 MiB (12288 blocks in 2 groups)",
        0,
    ),
    (
        "mke4fs -q -E offset=1048576 image 8M",
        "image@1M 16M",
        "image: grown from 8 MiB to 16 MiB (16384 blocks in 2 groups)",
        1 << 20,
    ),
];

#[test]
fn the_command_says_what_it_did() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let place = Place::new();
    for (made, arguments, said, offset) in COMMANDS {
        let output = place.shell(&format!("rm -f image; {made}"));
        assert!(output.status.success(), "{made}: {output:?}");
        let output = place.shell(&format!("mke4fs grow {arguments}"));
        assert!(output.status.success(), "{made}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{said}\n"));
        let file = ImageFile::open(&place.path("image"))?;
        let options = CheckOptions::new().offset_bytes(*offset);
        let report = check_with(&file, &options);
        assert!(report.is_clean(), "{made}: {:?}", report.findings);
    }
    Ok(())
}

#[test]
fn a_filesystem_grows_to_the_end_of_its_partition() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let place = Place::new();
    let made = place.shell(
        "mke4fs -q -E offset=1048576 disk 8M && truncate -s 40M disk && \
         printf 'label: dos\\nstart=2048, size=40960, type=83\\n' | sfdisk -q disk",
    );
    assert!(made.status.success(), "{made:?}");
    let output = place.shell("mke4fs grow 'disk#1' 24M");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        stderr,
        "mke4fs grow: disk: asked for 24 MiB, the partition has 20 MiB\n"
    );
    let output = place.shell("mke4fs grow 'disk#1'");
    assert!(output.status.success(), "{output:?}");
    let said = "disk: grown from 8 MiB to 20 MiB (20480 blocks in 3 groups)\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), said);
    assert_eq!(fs::metadata(place.path("disk"))?.len(), 40 * MIB);
    let options = CheckOptions::new().offset_bytes(MIB);
    let report = check_with(&ImageFile::open(&place.path("disk"))?, &options);
    assert!(report.is_clean(), "{:?}", report.findings);
    Ok(())
}
