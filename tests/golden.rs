//! Given a table of option combinations with the digests of what mke2fs 1.47.2 made of them, proves
//! that the command makes the same without mke2fs at hand; and where it is, that the table is true.
//!
//! With MKE4FS_RECORD_GOLDEN set, the table is written anew, by no other version than that.
//! `fixtures/golden/README.md` says what a row and a digest are.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::bytes::data_ranges;
use common::making::{self, CLOCK, SEED_TEXT, UUID_TEXT};
use common::tools::{self, Need, Result, Which, ready};
use sha2::{Digest, Sha256};

const TABLE: &str = include_str!("../fixtures/golden/table.txt");

/// The variable that has the table written anew.
const RECORD: &str = "MKE4FS_RECORD_GOLDEN";

/// How many combinations are drawn for a new table, beside those that are chosen.
const DRAWN: usize = 420;

/// The unit of digests, in bytes.
const BLOCK: usize = 4096;

/// Whose program makes the image of a row.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Ours,
    Reference,
}

/// What is asked for: `SIZE [NAME=VALUE...] ARGUMENTS`, as the table has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wish(String);

/// The exit status, and the digest of the image where that is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    status: i32,
    digest: String,
}

impl Wish {
    /// The file before: its size in bytes, whether it is full of junk, and whether it is only made
    /// by the command.
    fn before(&self) -> Result<(u64, bool, bool)> {
        let size = self.0.split(' ').next().unwrap_or_default();
        let is_new = size.starts_with('+');
        let is_junk = size.ends_with('!');
        let number = size.trim_start_matches('+').trim_end_matches(['!', 'k']);
        Ok((number.parse::<u64>()? << 10, is_junk, is_new))
    }

    /// Makes the image in the empty directory `dir`.
    fn make(&self, whose: Whose, dir: &Path) -> Result<Made> {
        let image = dir.join("img");
        let (size_bytes, is_junk, is_new) = self.before()?;
        if !is_new {
            let mut file = File::create_new(&image)?;
            if is_junk {
                file.write_all(&vec![0xd1; usize::try_from(size_bytes)?])?;
            }
            file.set_len(size_bytes)?;
        }
        let mut command = match whose {
            Whose::Ours => Command::new(env!("CARGO_BIN_EXE_mke4fs")),
            Whose::Reference => tools::command(Which::Reference, "mke2fs")?,
        };
        command
            .arg0("mke2fs")
            .current_dir(dir)
            .env("MKE2FS_CONFIG", "/no/such/file")
            .env("SOURCE_DATE_EPOCH", CLOCK.to_string())
            .stdin(Stdio::null());
        let mut extended = format!("hash_seed={SEED_TEXT}");
        command.args(["-q", "-F", "-U", UUID_TEXT]);
        let mut words = self.0.split(' ').skip(1);
        while let Some(word) = words.next() {
            match word.split_once('=') {
                Some((name, value)) if !word.starts_with('-') && name == name.to_uppercase() => {
                    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/golden/");
                    command.env(name, value.replace('@', fixtures));
                }
                _ if word == "-E" => {
                    extended = format!("{extended},{}", words.next().unwrap_or_default());
                }
                _ => {
                    command.arg(word);
                }
            }
        }
        command.args(["-E", &extended, "img"]);
        if is_new {
            command.arg(format!("{}k", size_bytes >> 10));
        }
        let output = command.output()?;
        let status = output.status.code().ok_or("ended by a signal")?;
        let digest = match status {
            0 => digest(&image, self.base()?)?,
            _ => "-".to_owned(),
        };
        Ok(Made { status, digest })
    }

    /// Where the filesystem begins in the image, in bytes.
    fn base(&self) -> Result<u64> {
        let offset = self
            .0
            .split([' ', ','])
            .find_map(|word| word.strip_prefix("offset="));
        Ok(offset.map_or(Ok(0), str::parse)?)
    }
}

/// The digest of an image whose filesystem begins at `base`, as the README has it.
fn digest(image: &Path, base: u64) -> Result<String> {
    let file = File::open(image)?;
    let length = file.metadata()?.len();
    let masks = masks(&file, base)?;
    let mut hasher = Sha256::new();
    let mut done = 0;
    let unit = u64::try_from(BLOCK)?;
    for range in data_ranges(&file)? {
        let start = (range.start / unit * unit).max(done);
        done = range.end.next_multiple_of(unit);
        for at in (start..done).step_by(BLOCK) {
            let mut block = [0; BLOCK];
            let held = usize::try_from(unit.min(length - at))?;
            file.read_exact_at(&mut block[..held], at)?;
            for mask in masks.range(at.saturating_sub(7)..at + unit) {
                for byte in (*mask..mask + 8).filter_map(|byte| byte.checked_sub(at)) {
                    if let Some(byte) = block.get_mut(usize::try_from(byte)?) {
                        *byte = 0;
                    }
                }
            }
            if block != [0; BLOCK] {
                hasher.update(at.to_le_bytes());
                hasher.update(block);
            }
        }
    }
    hasher.update(length.to_le_bytes());
    let hash = hasher.finalize();
    Ok(hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Where eight bytes are left out: `s_kbytes_written`, and `s_checksum` with what is before it, of
/// every superblock.
fn masks(file: &File, base: u64) -> Result<BTreeSet<u64>> {
    let superblock_at = |at: u64| -> Result<Option<[u8; 1024]>> {
        let mut bytes = [0; 1024];
        if file.read_exact_at(&mut bytes, at).is_err() {
            return Ok(None);
        }
        Ok((bytes[0x38..0x3a] == [0x53, 0xef]).then_some(bytes))
    };
    let Some(primary) = superblock_at(base + 1024)? else {
        return Ok(BTreeSet::new());
    };
    let word = |at: usize| -> u64 {
        let bytes = [
            primary[at],
            primary[at + 1],
            primary[at + 2],
            primary[at + 3],
        ];
        u32::from_le_bytes(bytes).into()
    };
    let (block_bytes, per_group) = (1024_u64 << word(0x18), word(0x20).max(1));
    let (first, blocks) = (word(0x14), word(0x4) | word(0x150) << 32);
    let groups = (1..).map(|group| first + group * per_group);
    let backups = groups.take_while(|block| *block < blocks);
    let mut masks = BTreeSet::new();
    for at in backups
        .map(|block| base + block * block_bytes)
        .chain([base + 1024])
    {
        if superblock_at(at)?.is_some() {
            masks.extend([at + 0x178, at + 0x3f8]);
        }
    }
    Ok(masks)
}

/// The rows of the table.
fn table() -> Result<Vec<(Wish, Made)>> {
    let rows = TABLE.lines().map(|line| {
        let mut parts = line.splitn(3, ' ');
        let mut part = || parts.next().ok_or_else(|| format!("'{line}' is no row"));
        let made = Made {
            status: part()?.parse()?,
            digest: part()?.to_owned(),
        };
        Ok((Wish(part()?.to_owned()), made))
    });
    rows.collect()
}

/// What `make` gives for each of `wishes`, on two threads.
fn each<T: Send>(
    wishes: &[Wish],
    make: impl Fn(&Wish, &Path) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(wish) = wishes.get(index) else {
                        return;
                    };
                    let outcome = making::workplace()
                        .and_then(|dir| make(wish, dir.path()))
                        .map_err(|error| format!("{}: {error}", wish.0));
                    made.lock().expect("nobody panics").push((index, outcome));
                }
            });
        }
    });
    let mut made = made.into_inner().expect("nobody panics");
    made.sort_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, made)| Ok(made?)).collect()
}

/// The rows that `whose` program makes otherwise.
fn wrong(rows: &[(Wish, Made)], whose: Whose) -> Result<Vec<String>> {
    let wishes: Vec<Wish> = rows.iter().map(|(wish, _)| wish.clone()).collect();
    let made = each(&wishes, |wish, dir| wish.make(whose, dir))?;
    let differ = rows
        .iter()
        .zip(&made)
        .filter(|((_, table), made)| table != *made);
    Ok(differ
        .map(|((wish, table), made)| format!("{}: {table:?} in the table, {made:?}", wish.0))
        .collect())
}

#[test]
fn every_row_comes_out_as_the_table_says() -> Result<()> {
    if std::env::var_os(RECORD).is_some() {
        return Ok(());
    }
    let rows = table()?;
    assert!(rows.len() >= 300, "{} rows are too few", rows.len());
    let wrong = wrong(&rows, Whose::Ours)?;
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    Ok(())
}

#[test]
fn the_table_is_true() -> Result<()> {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return Ok(());
    }
    if std::env::var_os(RECORD).is_some() {
        return record();
    }
    let mut rows = table()?;
    // Another thirty each time.
    let chance = RandomState::new();
    rows.sort_by_cached_key(|(wish, _)| chance.hash_one(&wish.0));
    rows.truncate(30);
    let wrong = wrong(&rows, Whose::Reference)?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Writes the table anew.
fn record() -> Result<()> {
    let mut draw = Draw(0x6d6b_6534_6673);
    let mut wishes: BTreeSet<Wish> = (0..DRAWN).map(|_| draw.wish()).collect();
    wishes.extend(CHOSEN.iter().map(|wish| Wish((*wish).to_owned())));
    let wishes: Vec<Wish> = wishes.into_iter().collect();
    let made = each(&wishes, |wish, dir| wish.make(Whose::Reference, dir))?;
    let lines: String = wishes
        .iter()
        .zip(made)
        .map(|(wish, made)| format!("{} {} {}\n", made.status, made.digest, wish.0))
        .collect();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden/table.txt");
    Ok(fs::write(path, lines)?)
}

/// Combinations that are not drawn.
const CHOSEN: &[&str] = &[
    "16384k MKE2FS_CONFIG=@conf -t ext4",
    "16384k MKE2FS_CONFIG=@conf/first -t ext2",
    "8192k -O journal_dev",
    "8192k! -O journal_dev -b 4096 -E nodiscard -L label",
    "8192k! -O journal_dev -b 2048 -E nodiscard,lazy_journal_init=1 -m 10",
    "8192k -O journal_dev,metadata_csum -b 65536 -E stride=4,quotatype=prjquota",
    "900k -O journal_dev -b 1024",
    "+8192k -t ext3 -O journal_dev -b 1024 -J size=4",
    "8192k -S",
    "8192k! -S -t ext4",
    "8192k! -S -t ext4 -E nodiscard",
    "65536k -S -t ext4 -O ^orphan_file -b 2048",
    "65536k! -S -t ext4 -E nodiscard -O ^orphan_file,mmp",
    "65536k -S -t ext4 -O quota,project -b 4096",
    "65536k -S -t ext4 -O quota,bigalloc",
    "65536k! -S -t ext3 -E nodiscard -b 4096",
    "+8192k -S -t ext2 -b 4096",
    "524288k -S -t ext4 -O meta_bg,^resize_inode -b 1024",
    "524288k -S -t ext4 -O ^metadata_csum,uninit_bg -N 100",
    "+104857600k -t ext4 -b 32768 -O bigalloc,^flex_bg",
    "+41943040k -t ext4 -b 4096 -O bigalloc,^flex_bg -C 262144",
    "+67108864k -t ext4 -b 32768 -O bigalloc,^flex_bg,meta_bg,^resize_inode",
    "+67108864k -t ext4 -b 8192 -O bigalloc,^flex_bg -E stride=64",
    "16384k! -t ext4 -z undo",
    "16384k! -t ext2 -b 1024 -z undo",
    "65536k! -t ext3 -b 1024 -z undo -E lazy_itable_init=0",
    "65536k -t ext4 -b 4096 -z undo -E discard",
    "65536k MKE2FS_CONFIG=@huge.conf -t ext4 -T one",
    "65536k! MKE2FS_CONFIG=@huge.conf -t ext4 -T one -E nodiscard -b 1024",
    "65536k! MKE2FS_CONFIG=@huge.conf -t ext4 -T store -E nodiscard",
    "65536k MKE2FS_CONFIG=@huge.conf -t ext4 -T store -I 128 -O ^has_journal",
    "65536k! MKE2FS_CONFIG=@huge.conf -t ext4 -T aligned -E nodiscard -b 4096",
    "65536k MKE2FS_CONFIG=@huge.conf -t ext4 -T many -b 1024 -O ^flex_bg",
    "65536k MKE2FS_CONFIG=@huge.conf -t ext4 -T full -b 1024",
    "65536k MKE2FS_CONFIG=@huge.conf -t ext3 -O extent -T full -b 4096",
    "716800k MKE2FS_CONFIG=@huge.conf -t ext4 -T share -O meta_bg,^resize_inode",
    "+5242880k MKE2FS_CONFIG=@huge.conf -t ext4 -T one -b 1024",
    "+5242880k MKE2FS_CONFIG=@huge.conf -t ext4 -T aligned -E packed_meta_blocks=1",
];

/// Draws combinations, the same ones each time.
struct Draw(u64);

impl Draw {
    /// A number below `below`, from a linear congruential generator's upper bits.
    fn below(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % below
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Up to two of them.
    fn some<'a>(&mut self, of: &[&'a str]) -> Vec<&'a str> {
        (0..[0, 0, 1, 1, 2][self.below(5)])
            .map(|_| self.one(of))
            .collect()
    }

    fn wish(&mut self) -> Wish {
        let size = self.one(SIZES);
        let mut words = vec![size.to_owned()];
        words.extend((self.below(24) == 0).then(|| self.one(ENVIRONMENT).to_owned()));
        let kind = self.one(KINDS);
        let mut add = |word: &str| {
            if !word.is_empty() {
                words.push(word.to_owned());
            }
        };
        add(kind);
        add(self.one(BLOCK_SIZES));
        for features in self.some(FEATURES) {
            add(&format!("-O {features}"));
        }
        for extended in self.some(EXTENDED) {
            add(&format!("-E {extended}"));
        }
        for other in self.some(OTHERS) {
            add(other);
        }
        Wish(words.join(" "))
    }
}

/// Sizes of the file in KiB: `+` for one that is not there, `!` for one full of junk.
const SIZES: &[&str] = &[
    "1024k",
    "1440k",
    "+3079k",
    "8192k",
    "8192k!",
    "24576k",
    "32768k!",
    "65536k",
    "65536k",
    "+65536k",
    "65536k!",
    "102401k",
    "263165k",
    "+524288k",
    "1048576k",
    "8388608k",
    "41943040k",
];

const ENVIRONMENT: &[&str] = &[
    "MKE2FS_DEVICE_SECTSIZE=2048",
    "MKE2FS_DEVICE_SECTSIZE=4096",
    "MKE2FS_DEVICE_PHYS_SECTSIZE=4096",
    "MKE2FS_FIRST_META_BG=1",
];

const KINDS: &[&str] = &[
    "", "-t ext2", "-t ext3", "-t ext4", "-t ext4", "-t ext4", "-t ext4",
];

const BLOCK_SIZES: &[&str] = &[
    "", "", "", "", "-b 1024", "-b 1024", "-b 2048", "-b 4096", "-b 4096", "-b 16384", "-b 65536",
    "-b -2048",
];

const FEATURES: &[&str] = &[
    "^metadata_csum",
    "metadata_csum",
    "^64bit",
    "64bit",
    "^flex_bg",
    "flex_bg",
    "meta_bg,^resize_inode",
    "sparse_super2",
    "^sparse_super,^resize_inode",
    "bigalloc",
    "bigalloc,extent",
    "inline_data",
    "quota",
    "quota,project",
    "casefold",
    "encrypt",
    "verity",
    "^resize_inode",
    "^has_journal",
    "has_journal",
    "^orphan_file",
    "orphan_file",
    "fast_commit",
    "stable_inodes",
    "ea_inode",
    "large_dir",
    "^extent",
    "^extent,^64bit",
    "extent",
    "^dir_index",
    "^ext_attr",
    "^filetype",
    "^huge_file",
    "^large_file",
    "^dir_nlink",
    "^extra_isize",
    "^metadata_csum_seed",
    "uninit_bg,^metadata_csum",
    "^metadata_csum,^uninit_bg",
    "none",
];

const EXTENDED: &[&str] = &[
    "lazy_itable_init=0",
    "lazy_itable_init=1",
    "lazy_journal_init=1",
    "stride=16,stripe_width=64",
    "stride=7",
    "packed_meta_blocks=1",
    "num_backup_sb=0",
    "num_backup_sb=1",
    "resize=4G",
    "root_owner=1000:1001",
    "root_perms=1777",
    "offset=1048576",
    "nodiscard",
    "nodiscard",
    "discard",
    "test_fs",
    "desc_size=128",
    "quotatype=usrquota",
    "quotatype=usrquota:prjquota",
    "encoding=utf8-12.1",
    "encoding_flags=strict",
    "orphan_file_size=64K",
    "mmp_update_interval=3",
    "revision=0",
];

const OTHERS: &[&str] = &[
    "-I 128",
    "-I 256",
    "-I 512",
    "-I 1024",
    "-i 1024",
    "-i 8192",
    "-i 65536",
    "-i 1048576",
    "-N 100",
    "-N 5000",
    "-m 0",
    "-m 12.5",
    "-G 1",
    "-G 2",
    "-G 64",
    "-g 2048",
    "-g 8192",
    "-C 16384",
    "-C 65536",
    "-J size=4",
    "-J size=16",
    "-J fast_commit_size=1024",
    "-J size=8,location=100",
    "-J v1_superblock",
    "-T small",
    "-T big",
    "-T huge",
    "-T floppy",
    "-T news",
    "-T largefile",
    "-e continue",
    "-e remount-ro",
    "-e panic",
    "-M /mnt/x",
    "-o hurd",
    "-o freebsd",
    "-o 7",
    "-L label",
    "-j",
    "-r 1",
    "-r 0",
    "-n",
    "-K",
    "-D",
    "-s 1",
];
