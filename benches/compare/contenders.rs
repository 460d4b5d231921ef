//! Given a tree, says how each builder makes an image of it; never runs one but to install it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::workloads::Workload;

/// One that builds images, or moves the same bytes.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: fn(&Job<'_>) -> Vec<OsString>,
}

/// What a builder is to do.
struct Job<'a> {
    workload: &'a Workload,
    tar: PathBuf,
    output: &'a Path,
}

impl Contender {
    /// The command that makes `output` of `workload`, whose tar file is in `dir`.
    pub(crate) fn command(&self, workload: &Workload, dir: &Path, output: &Path) -> Command {
        let job = Job {
            workload,
            tar: workload.tar(dir),
            output,
        };
        let mut command = Command::new(&self.program);
        command.args((self.arguments)(&job));
        // A configuration of the machine's would compare other filesystems.
        command.env("MKE2FS_CONFIG", "/nonexistent");
        command
    }
}

impl Job<'_> {
    fn words(&self, words: &[&str]) -> Vec<OsString> {
        let mebibytes = (self.workload.image_bytes() >> 20).to_string();
        let replace = |word: &&str| match *word {
            "TREE" => self.workload.path.clone().into(),
            "TAR" => self.tar.clone().into(),
            "OUTPUT" => self.output.into(),
            "BYTES" => self.workload.image_bytes().to_string().into(),
            "MEBIBYTES" => format!("{mebibytes}M").into(),
            "BLOCKS" => (self.workload.image_bytes() >> 12).to_string().into(),
            "INODES" => (self.workload.entries + 1000).to_string().into(),
            other => OsString::from(other),
        };
        words.iter().map(replace).collect()
    }
}

/// The contenders that are there, mke4fs first; the others are named.
pub(crate) fn all() -> Result<Vec<Contender>> {
    let own = std::env::current_exe()?;
    let mke4fs = PathBuf::from(env!("CARGO_BIN_EXE_mke4fs"));
    let mut contenders = vec![
        contender("mke4fs", mke4fs.clone(), |job| {
            job.words(&["-q", "-d", "TREE", "OUTPUT", "MEBIBYTES"])
        }),
        contender("mke4fs, one thread", mke4fs, |job| {
            job.words(&["-q", "--threads", "1", "-d", "TREE", "OUTPUT", "MEBIBYTES"])
        }),
        contender("floor, two threads", own.clone(), |job| {
            job.words(&["floor", "TREE", "OUTPUT", "2"])
        }),
        contender("floor, one thread", own, |job| {
            job.words(&["floor", "TREE", "OUTPUT", "1"])
        }),
    ];
    let others = [
        (
            mkext4(),
            contender("mkext4 0.0.3", PathBuf::new(), |job| {
                job.words(&["TREE", "OUTPUT", "BYTES"])
            }),
        ),
        (
            arcbox(),
            contender("arcbox-ext4 0.1.2, of tar", PathBuf::new(), |job| {
                job.words(&["TAR", "OUTPUT", "BYTES"])
            }),
        ),
        (
            in_path("mke2fs"),
            contender("mke2fs -d", PathBuf::new(), |job| {
                job.words(&[
                    "-q",
                    "-F",
                    "-t",
                    "ext4",
                    "-b",
                    "4096",
                    "-N",
                    "INODES",
                    "-d",
                    "TREE",
                    "OUTPUT",
                    "MEBIBYTES",
                ])
            }),
        ),
        (
            in_path("genext2fs"),
            contender("genext2fs", PathBuf::new(), |job| {
                job.words(&[
                    "-B", "4096", "-b", "BLOCKS", "-N", "INODES", "-d", "TREE", "OUTPUT",
                ])
            }),
        ),
        (
            in_path("tar"),
            contender("tar cf", PathBuf::new(), |job| {
                job.words(&["-C", "TREE", "-cf", "OUTPUT", "."])
            }),
        ),
    ];
    for (program, contender) in others {
        match program {
            Ok(program) => contenders.push(Contender {
                program,
                ..contender
            }),
            Err(error) => eprintln!("{} is left out: {error}", contender.name),
        }
    }
    Ok(contenders)
}

fn contender(
    name: &'static str,
    program: PathBuf,
    arguments: fn(&Job<'_>) -> Vec<OsString>,
) -> Contender {
    Contender {
        name,
        program,
        arguments,
    }
}

fn in_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.push(PathBuf::from("/usr/sbin"));
    let found = directories.iter().map(|directory| directory.join(name));
    found
        .into_iter()
        .find(|file| file.is_file())
        .ok_or_else(|| format!("no {name} in PATH").into())
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/contenders")
}

fn cargo(words: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(words).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("cargo {}: {status}", words.join(" ")).into()),
    }
}

/// mkext4's command is an example of its crate.
fn mkext4() -> Result<PathBuf> {
    let program = home().join("bin/mkfs");
    if !program.exists() {
        let root = home().to_string_lossy().into_owned();
        cargo(&[
            "install",
            "--root",
            &root,
            "mkext4@0.0.3",
            "--example",
            "mkfs",
        ])?;
    }
    Ok(program)
}

/// arcbox-ext4 is a library; `benches/contenders` is a command for it.
fn arcbox() -> Result<PathBuf> {
    let program = home().join("bin/contenders");
    if !program.exists() {
        let root = home().to_string_lossy().into_owned();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/contenders");
        let path = path.to_string_lossy().into_owned();
        cargo(&["install", "--locked", "--root", &root, "--path", &path])?;
    }
    Ok(program)
}
