//! Given options in mke2fs's words, builds images with the library as a fixed host would; never
//! asks the clock or chance, and never judges what it built.

use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZero;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mke4fs::options::{Environment, Errors, Options, Size, Target};
use mke4fs::raw::emit::Writing;
use mke4fs::sink::{IfBusy, Output, Sink};
use mke4fs::source::dir::Directory;
use mke4fs::{Builder, Plan};

use tempfile::TempDir;

use super::mount::Scratch;
use super::tools::Result;
use super::torture;

/// The UUID of every image, as bytes and as mke2fs takes it.
pub(crate) const UUID: [u8; 16] =
    *b"\x5a\x27\xd6\x1c\x9e\x04\x4f\x33\x8b\x70\x11\xc2\x6d\xe5\xaf\x08";
pub(crate) const UUID_TEXT: &str = "5a27d61c-9e04-4f33-8b70-11c26de5af08";

/// The hash seed of every image, as bytes and as mke2fs takes it.
pub(crate) const SEED: [u8; 16] =
    *b"\xd1\x3b\x02\x7f\x66\x90\x4a\x1e\xa4\x5d\xe3\x88\x10\x2c\x97\xb6";
pub(crate) const SEED_TEXT: &str = "d13b027f-6690-4a1e-a45d-e388102c97b6";

/// The clock of every image, in seconds since 1970.
pub(crate) const CLOCK: i64 = 1_700_000_000;

/// A command of ours, called as mke2fs, that says nothing and makes the same image on every machine.
pub(crate) fn as_mke2fs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command
        .arg0("mke2fs")
        .args(["-q", "-F"])
        .env("MKE2FS_CONFIG", "/no/such/file")
        .env("SOURCE_DATE_EPOCH", CLOCK.to_string())
        .stdin(Stdio::null());
    command
}

/// The torture tree on a filesystem of its own, with symbolic links of at most `longest_symlink` bytes.
pub(crate) fn torture_tree(longest_symlink: usize) -> Result<(Scratch, PathBuf)> {
    let scratch = Scratch::new(1 << 30)?;
    let tree = scratch.path().join("tree");
    let options = torture::Options {
        longest_symlink,
        ..torture::Options::default()
    };
    torture::build(&tree, &options)?;
    Ok((scratch, tree))
}

/// A host that looks the same on every machine, before `output` is written.
pub(crate) fn host(output: &Path) -> Result<Environment> {
    let mut host = memory_host();
    host.probe(output)?;
    Ok(host)
}

/// The same host, with memory as its output.
pub(crate) fn memory_host() -> Environment {
    let mut host = Environment::fixed(CLOCK);
    host.clock = CLOCK;
    host.is_clock_stated = true;
    host.latest_time = None;
    host.real_clock = Duration::from_secs(CLOCK.unsigned_abs());
    host.random_uuid = UUID;
    host.random_hash_seed = SEED;
    host.page_size = 4096;
    // mke2fs runs as the same user.
    host.user = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    host.name = b"host".to_vec();
    host.conf = None;
    host.sector_size = None;
    host.physical_sector_size = None;
    host.first_meta_bg = None;
    host.undo_directory = Some("none".into());
    host.journal_device = None;
    host.target = Target::default();
    host
}

/// The options that `words` ask for in mke2fs's way, with the fixed UUID and hash seed.
///
/// # Errors
///
/// A word that no test here uses.
pub(crate) fn options(words: &str) -> Result<Options> {
    let mut options = Options::new();
    options.uuid(UUID).hash_seed(SEED).force();
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            let size = Size::parse(word).ok_or_else(|| format!("{word}: no size"))?;
            options.size(size);
            continue;
        }
        let value = words
            .next()
            .ok_or_else(|| format!("{word} needs a value"))?;
        option(&mut options, word, value)?;
    }
    Ok(options)
}

fn option(options: &mut Options, word: &str, value: &str) -> Result<()> {
    match word {
        "-b" => options.block_size(value.parse()?),
        "-I" => options.inode_size(value.parse()?),
        "-i" => options.inode_ratio(value.parse()?),
        "-N" => options.inodes_count(value.parse()?),
        "-m" => options.reserved_percent(value.parse()?),
        "-L" => options.label(value),
        "-M" => options.last_mounted(value),
        "-C" => options.cluster_size(value.parse()?),
        "-G" => options.groups_per_flex(value.parse()?),
        "-g" => options.blocks_per_group(value.parse()?),
        "-T" => options.usage_types(value),
        "-O" => options.features(value),
        "-E" => options.extended(value),
        "-J" => {
            let size = value.strip_prefix("size=").ok_or("-J takes size=")?;
            options.journal_mebibytes(size.parse()?)
        }
        "-e" => options.errors(match value {
            "continue" => Errors::Continue,
            "remount-ro" => Errors::RemountReadOnly,
            "panic" => Errors::Panic,
            _ => return Err(format!("-e {value}: no such behaviour").into()),
        }),
        _ => return Err(format!("{word}: no such option").into()),
    };
    Ok(())
}

/// A builder of the tree `source` to `output`, which is left out of the tree.
pub(crate) fn builder(words: &str, source: Option<&Path>, output: &Path) -> Result<Builder> {
    let builder = Builder::from_options(options(words)?).environment(host(output)?);
    Ok(match source {
        Some(source) => builder.source(Directory::new(source)),
        None => builder,
    })
}

/// Decides and writes an image in one go, and gives the plan.
pub(crate) fn make(words: &str, source: Option<&Path>, output: &Path) -> Result<Plan> {
    let plan = builder(words, source, output)?.plan()?;
    write(&plan, output)?;
    Ok(plan)
}

/// Writes `plan` to the file `output` as the command does.
pub(crate) fn write(plan: &Plan, output: &Path) -> Result<()> {
    let draft = Output::open(output, IfBusy::Refuse)?.begin(&plan.range())?;
    write_to(plan, draft.file(), 2)?;
    draft.keep();
    Ok(())
}

/// A directory on tmpfs: what is built there waits for no disk.
pub(crate) fn workplace() -> Result<TempDir> {
    let made = tempfile::Builder::new()
        .prefix("mke4fs-test-")
        .tempdir_in("/dev/shm");
    Ok(made.map_err(|error| format!("/dev/shm is needed, to build there: {error}"))?)
}

/// Makes `path` a file of `size` bytes, each of which is 0xD1, as storage that was in use.
pub(crate) fn fill_with_junk(path: &Path, size: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut junk = io::repeat(0xD1).take(size);
    io::copy(&mut junk, &mut file)?;
    Ok(())
}

/// Writes `plan` to `sink` with `threads` threads.
pub(crate) fn write_to(plan: &Plan, sink: &dyn Sink, threads: usize) -> Result<()> {
    let cancel = AtomicBool::new(false);
    let writing = Writing {
        threads: NonZero::new(threads).ok_or("no thread writes nothing")?,
        cancel: &cancel,
        ..Writing::default()
    };
    Ok(plan.write(sink, &writing)?)
}

/// The header of an archive's one file, called `file`, of `size` bytes.
pub(crate) fn head_of_archive(size: u64) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..4].copy_from_slice(b"file");
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
