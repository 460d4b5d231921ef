//! Given options, checks that the reference mke2fs and we refuse them both, or make the same image byte
//! for byte unless e2fsck takes mke2fs's for corrupt; never looks at `s_kbytes_written`, which tells how often
//! mke2fs wrote, and what sums it up.
//!
//! The reference is that of the tests: `$MKE4FS_REFERENCE`, or `target/e2fsprogs` of this repository.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use arbitrary::Arbitrary;
use mke4fs::Builder;
use mke4fs::feature::Feature;
use mke4fs::options::{Environment, Options, TargetKind};
use mke4fs::raw::emit::Writing;
use mke4fs::sink::Memory;

const CLOCK: i64 = 1_700_000_000;
const UUID: [u8; 16] = [0x5a; 16];
const UUID_TEXT: &str = "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a";
const JUNK: u8 = 0xd1;
const SEED: &str = "hash_seed=5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a";

/// Where superblocks have `s_kbytes_written`, and the checksum with what is before it: eight bytes each.
const UNLIKE: [usize; 2] = [0x178, 0x3f8];

#[derive(Arbitrary, Debug)]
struct Input {
    /// The size of the file, in KiB above 64.
    kibibytes: u16,
    /// Whether it is full of junk before.
    junk: bool,
    words: Vec<Word>,
}

#[derive(Arbitrary, Debug)]
enum Word {
    Type(u8),
    Usage(u8),
    Feature(u8, bool),
    BlockSize(u8),
    ClusterSize(u8),
    InodeSize(u8),
    InodeRatio(u8),
    Inodes(u16),
    BlocksPerGroup(u8),
    GroupsPerFlex(u8),
    Reserved(u8),
    Journal(u8),
    Label(u8),
    Extended(u8),
}

const TYPES: [&str; 4] = ["ext2", "ext3", "ext4", "ext4"];
const USAGES: [&str; 6] = ["floppy", "small", "big", "huge", "news", "largefile"];
const EXTENDED: [&str; 18] = [
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
    "nodiscard",
    "discard",
    "test_fs",
    "desc_size=128",
    "quotatype=usrquota:prjquota",
    "encoding_flags=strict",
    "orphan_file_size=64K",
];

fn one<'a>(of: &[&'a str], number: u8) -> &'a str {
    of[usize::from(number) % of.len()]
}

impl Word {
    /// mke2fs's flag, and the value behind it.
    fn get(&self) -> (&'static str, String) {
        match self {
            Self::Type(number) => ("-t", one(&TYPES, *number).into()),
            Self::Usage(number) => ("-T", one(&USAGES, *number).into()),
            Self::Feature(number, with) => {
                let mut feature = Feature::ALL[usize::from(*number) % Feature::ALL.len()];
                // The block of multiple mount protection names the machine, and chance is in it.
                if feature == Feature::Mmp {
                    feature = Feature::Quota;
                }
                let name = feature.name();
                (
                    "-O",
                    if *with {
                        name.into()
                    } else {
                        format!("^{name}")
                    },
                )
            }
            Self::BlockSize(log) => ("-b", (1024 << (log % 7)).to_string()),
            Self::ClusterSize(log) => ("-C", (1024 << (log % 9)).to_string()),
            Self::InodeSize(log) => ("-I", (128 << (log % 6)).to_string()),
            Self::InodeRatio(log) => ("-i", (1024 << (log % 12)).to_string()),
            Self::Inodes(count) => ("-N", u32::from(*count).max(1).to_string()),
            Self::BlocksPerGroup(blocks) => ("-g", (256 + 8 * u32::from(*blocks)).to_string()),
            Self::GroupsPerFlex(log) => ("-G", (1 << (log % 8)).to_string()),
            Self::Reserved(percent) => ("-m", (percent % 51).to_string()),
            Self::Journal(mebibytes) => ("-J", (1 + mebibytes % 40).to_string()),
            Self::Label(length) => ("-L", "l".repeat(usize::from(length % 17))),
            Self::Extended(number) => ("-E", one(&EXTENDED, *number).into()),
        }
    }
}

/// Each flag once: the first value, or for lists all of them.
type Words = BTreeMap<&'static str, String>;

fn words(input: &Input) -> Words {
    let mut words = Words::from([("-E", SEED.to_owned())]);
    for (flag, value) in input.words.iter().map(Word::get) {
        match words.get_mut(flag) {
            Some(list) if matches!(flag, "-E" | "-O") => {
                list.push(',');
                list.push_str(&value);
            }
            Some(_) => {}
            None => {
                words.insert(flag, value);
            }
        }
    }
    words
}

/// Checks the options that `bytes` stand for.
///
/// # Panics
///
/// Without the reference too.
pub fn run(bytes: &[u8]) {
    let Some(input) = super::value::<Input>(bytes) else {
        return;
    };
    let words = words(&input);
    let size_bytes = (64 + u64::from(input.kibibytes)) << 10;
    let ours = ours(&words, size_bytes, input.junk);
    let theirs = theirs(&words, size_bytes, input.junk);
    match (ours, theirs) {
        (Ok(_), Ok(theirs)) if is_corrupt(&theirs) => {}
        (Ok(ours), Ok(theirs)) => compare(&words, ours, theirs),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(said)) => panic!("{words:?} on {size_bytes}: only mke2fs refuses: {said}"),
        (Err(said), Ok(_)) => panic!("{words:?} on {size_bytes}: mke2fs does it: {said}"),
    }
}

/// Whether mke2fs reserved more than half of the blocks: e2fsck takes its superblock for corrupt then, and ours is
/// another.
fn is_corrupt(theirs: &[u8]) -> bool {
    let word = |offset: usize| {
        let field = theirs[1024 + offset..].first_chunk();
        u32::from_le_bytes(*field.expect("a superblock has room"))
    };
    // s_blocks_count_lo and s_r_blocks_count_lo.
    word(8) > word(4) / 2
}

fn compare(words: &Words, mut ours: Vec<u8>, mut theirs: Vec<u8>) {
    assert_eq!(ours.len(), theirs.len(), "{words:?}");
    mask(&mut ours);
    mask(&mut theirs);
    if ours != theirs {
        let mut pairs = ours.iter().zip(&theirs);
        let differs = pairs.position(|(ours, theirs)| ours != theirs);
        panic!("{words:?}: byte {differs:?} differs");
    }
}

/// Zeroes what may differ, wherever a superblock is.
fn mask(bytes: &mut [u8]) {
    for start in (0..bytes.len()).step_by(1024) {
        let Some(block) = bytes.get_mut(start..start + 1024) else {
            return;
        };
        // The magic number, and the UUID.
        if block[0x38..0x3a] == [0x53, 0xef] && block[0x68..0x78] == UUID {
            for at in UNLIKE {
                block[at..at + 8].fill(0);
            }
        }
    }
}

/// Our image, or why there is none.
fn ours(words: &Words, size_bytes: u64, junk: bool) -> Result<Vec<u8>, String> {
    let mut options = Options::new();
    options.uuid(UUID).force().fs_type_by_conf();
    for (flag, value) in words {
        let number = || value.parse::<u32>().expect("a number was written");
        match *flag {
            "-t" => options.fs_type(value),
            "-T" => options.usage_types(value),
            "-O" => options.features(value),
            "-b" => options.block_size(number()),
            "-C" => options.cluster_size(number()),
            "-I" => options.inode_size(number()),
            "-i" => options.inode_ratio(number()),
            "-N" => options.inodes_count(number().into()),
            "-g" => options.blocks_per_group(number()),
            "-G" => options.groups_per_flex(number()),
            "-m" => options.reserved_percent(number().into()),
            "-J" => options.journal_mebibytes(number()),
            "-L" => options.label(&value[..]),
            _ => options.extended(value),
        };
    }
    let mut host = Environment::fixed(CLOCK);
    host.target.path = "img".into();
    host.target.kind = TargetKind::File { size_bytes };
    let plan = Builder::from_options(options).environment(host).plan();
    let plan = plan.map_err(|error| error.to_string())?;
    let memory = Memory::filled(size_bytes, if junk { JUNK } else { 0 });
    let writing = Writing::default();
    plan.write(&memory, &writing).expect("memory does not fail");
    Ok(memory.into_bytes().expect("it is small"))
}

/// The image of the reference mke2fs, or what it says.
fn theirs(words: &Words, size_bytes: u64, junk: bool) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is needed, to build there");
    let image = dir.path().join("img");
    plant(&image, size_bytes, junk).expect("the image can be made");
    let mut command = Command::new(reference());
    command.args(["-q", "-F", "-U", UUID_TEXT]);
    for (flag, value) in words {
        match *flag {
            "-J" => command.args(["-J", &format!("size={value}")]),
            _ => command.args([flag, &value[..]]),
        };
    }
    command
        .arg("img")
        .current_dir(dir.path())
        .env("LC_ALL", "C")
        .env("MKE2FS_CONFIG", "/no/such/file")
        .env("SOURCE_DATE_EPOCH", CLOCK.to_string())
        .stdin(Stdio::null());
    let output = command.output().expect("mke2fs runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(fs::read(&image).expect("the image is there"))
}

fn plant(image: &Path, size_bytes: u64, junk: bool) -> std::io::Result<()> {
    let mut file = File::create_new(image)?;
    if junk {
        let length = usize::try_from(size_bytes).expect("it is small");
        file.write_all(&vec![JUNK; length])?;
    }
    file.set_len(size_bytes)
}

fn reference() -> PathBuf {
    let named = std::env::var_os("MKE4FS_REFERENCE").map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = [".", ".."].map(|up| here.join(up).join("target/e2fsprogs"));
    let mut roots = named.into_iter().chain(installed);
    let found = roots.find_map(|root| {
        let program = root.join("bin/mke2fs");
        program.is_file().then_some(program)
    });
    found.expect(
        "mke2fs 1.47.2 is needed in $MKE4FS_REFERENCE/bin: tests/install-oracles puts it there",
    )
}
