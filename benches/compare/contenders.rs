//! Given a tree, says how each builder makes an image of it; never runs one but to install it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Result;
use super::programs::in_path;
use super::workloads::Workload;

pub(crate) const MKE4FS: &str = "mke4fs";
pub(crate) const MKE4FS_SIZED: &str = "mke4fs, size given";
pub(crate) const MKE4FS_ALONE: &str = "mke4fs, one thread";
pub(crate) const MKE4FS_TAR: &str = "mke4fs, of tar";
pub(crate) const MKE4FS_ZSTD: &str = "mke4fs, of zstd in a pipe";
pub(crate) const FLOOR: &str = "lower bound, two threads";
pub(crate) const MKEXT4: &str = "mkext4 0.0.3";
pub(crate) const ARCBOX: &str = "arcbox-ext4 0.1.2, of tar";
pub(crate) const TAR_XF: &str = "tar xf";
pub(crate) const ZSTD: &str = "zstd -dc to a file";
pub(crate) const MKE4FS_OCI: &str = "mke4fs, of six gzip layers";
pub(crate) const GZIP: &str = "gzip -dc of the layers";

/// One that builds images, or moves the same bytes.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    program: PathBuf,
    /// Whether it writes a directory of files.
    pub(crate) writes_files: bool,
    /// What the program is told; words in capitals stand for what they say.
    words: &'static [&'static str],
}

impl Contender {
    /// Whether it reads the tree packed, as an archive or an image.
    pub(crate) fn reads_packed(&self) -> bool {
        let packed = ["TAR", "ZSTD", "OCI", "BLOBS"];
        self.words.iter().any(|word| packed.contains(word))
    }

    /// The command that makes `output` of `workload`, whose tar file is in `dir`.
    pub(crate) fn command(&self, workload: &Workload, dir: &Path, output: &Path) -> Command {
        let mebibytes = (workload.image_bytes() >> 20).to_string();
        let replace = |word: &&str| match *word {
            "MKE4FS" => OsString::from(env!("CARGO_BIN_EXE_mke4fs")),
            "TREE" => workload.path.clone().into(),
            "TAR" => workload.tar(dir).into(),
            "ZSTD" => workload.zstd(dir).into(),
            "OCI" => [OsString::from("oci:"), workload.oci(dir).into()]
                .into_iter()
                .collect(),
            "BLOBS" => workload.oci(dir).join("blobs/sha256").into(),
            "OUTPUT" => output.into(),
            "BYTES" => workload.image_bytes().to_string().into(),
            "MEBIBYTES" => format!("{mebibytes}M").into(),
            "BLOCKS" => (workload.image_bytes() >> 12).to_string().into(),
            "INODES" => (workload.entries + 1000).to_string().into(),
            other => OsString::from(other),
        };
        let mut command = Command::new(&self.program);
        command.args(self.words.iter().map(replace));
        // A configuration of the machine's would compare other filesystems.
        command.env("MKE2FS_CONFIG", "/nonexistent");
        command
    }
}

/// The contenders that are there, mke4fs first; the others are named.
pub(crate) fn all() -> Result<Vec<Contender>> {
    let own = || Ok(std::env::current_exe()?);
    let mke4fs = || Ok(PathBuf::from(env!("CARGO_BIN_EXE_mke4fs")));
    let reads_tar = || {
        if says_tar()? {
            mke4fs()
        } else {
            Err("it does not read tar".into())
        }
    };
    let found: [(&'static str, Result<PathBuf>, &'static [&'static str]); 16] = [
        // As people type it.
        (MKE4FS, mke4fs(), &["-q", "-d", "TREE", "OUTPUT"]),
        (
            MKE4FS_SIZED,
            mke4fs(),
            &["-q", "-d", "TREE", "OUTPUT", "MEBIBYTES"],
        ),
        (
            MKE4FS_ALONE,
            mke4fs(),
            &["-q", "--threads", "1", "-d", "TREE", "OUTPUT"],
        ),
        (FLOOR, own(), &["floor", "TREE", "OUTPUT", "2"]),
        (
            "lower bound, one thread",
            own(),
            &["floor", "TREE", "OUTPUT", "1"],
        ),
        (MKEXT4, mkext4(), &["TREE", "OUTPUT", "BYTES"]),
        (
            "mke2fs -d",
            in_path("mke2fs"),
            &[
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
            ],
        ),
        (
            "genext2fs",
            in_path("genext2fs"),
            &[
                "-B", "4096", "-b", "BLOCKS", "-N", "INODES", "-d", "TREE", "OUTPUT",
            ],
        ),
        (
            "tar cf",
            in_path("tar"),
            &["-C", "TREE", "-cf", "OUTPUT", "."],
        ),
        (
            MKE4FS_TAR,
            reads_tar(),
            &["-q", "-d", "TAR", "OUTPUT", "MEBIBYTES"],
        ),
        (ARCBOX, arcbox(), &["TAR", "OUTPUT", "BYTES"]),
        (
            TAR_XF,
            in_path("tar").and(in_path("sh")),
            &[
                "-c",
                "mkdir \"$1\" && tar -C \"$1\" -xf \"$0\"",
                "TAR",
                "OUTPUT",
            ],
        ),
        (
            MKE4FS_ZSTD,
            reads_tar().and(in_path("zstd")).and(in_path("sh")),
            &[
                "-c",
                "zstd -dc \"$1\" | \"$0\" -q -d - \"$2\" \"$3\"",
                "MKE4FS",
                "ZSTD",
                "OUTPUT",
                "MEBIBYTES",
            ],
        ),
        (
            ZSTD,
            in_path("zstd").and(in_path("sh")),
            &["-c", "zstd -dc \"$0\" > \"$1\"", "ZSTD", "OUTPUT"],
        ),
        (
            MKE4FS_OCI,
            mke4fs(),
            &["-q", "-d", "OCI", "OUTPUT", "MEBIBYTES"],
        ),
        (
            GZIP,
            in_path("gzip").and(in_path("sh")),
            &[
                "-c",
                // The largest blobs are the layers; the others are a few hundred bytes.
                "for f in $(find \"$0\" -size +4k); do gzip -dc \"$f\" > /dev/null; done; : > \"$1\"",
                "BLOBS",
                "OUTPUT",
            ],
        ),
    ];
    let mut contenders = Vec::new();
    for (name, program, words) in found {
        match program {
            Ok(program) => contenders.push(Contender {
                name,
                writes_files: name == TAR_XF,
                program,
                words,
            }),
            Err(error) => eprintln!("{name} is left out: {error}"),
        }
    }
    Ok(contenders)
}

/// Whether mke4fs was built to read tar.
fn says_tar() -> Result<bool> {
    let help = Command::new(env!("CARGO_BIN_EXE_mke4fs"))
        .arg("--help")
        .output()?;
    let help = [help.stdout, help.stderr].concat();
    Ok(String::from_utf8_lossy(&help).contains("tar archive"))
}

/// What mke2fs says that it is.
pub(crate) fn version_of_mke2fs() -> String {
    let said = in_path("mke2fs").and_then(|program| {
        let output = Command::new(program).arg("-V").output()?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    });
    let said = said.unwrap_or_else(|error| error.to_string());
    said.lines().next().unwrap_or_default().to_owned()
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/contenders")
}

fn cargo(words: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(words).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("cargo {}: {status}", words.join(" ")).into())
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
