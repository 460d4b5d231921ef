//! Given an image, gives what e2fsprogs says of it; never passes over a tool that is missing: that
//! fails the test, unless the variable MKE4FS_SKIP_ORACLES says otherwise.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::machine;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The version whose output the formatter must equal.
const REFERENCE_VERSION: &str = "1.47.2";

/// The variable that lets a test pass where its oracle is missing.
const SKIP: &str = "MKE4FS_SKIP_ORACLES";

/// The variable that names the directory of the reference e2fsprogs, which holds `bin`.
const REFERENCE: &str = "MKE4FS_REFERENCE";

/// Whose e2fsprogs to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The host's own, whatever its version.
    System,
    /// Exactly 1.47.2, from $MKE4FS_REFERENCE or target/e2fsprogs.
    Reference,
}

impl Which {
    /// Both, for tests that ask each.
    pub(crate) const ALL: [Self; 2] = [Self::System, Self::Reference];

    fn directories(self) -> Vec<PathBuf> {
        match self {
            Self::System => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                // An ordinary user's PATH often lacks the places where e2fsprogs lives.
                let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
                std::env::split_paths(&path).chain(usual).collect()
            }
            Self::Reference => {
                let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/e2fsprogs");
                let root = std::env::var_os(REFERENCE).map_or(installed, PathBuf::from);
                vec![root.join("bin")]
            }
        }
    }
}

/// $PATH, with the places that an ordinary user's lacks.
pub(crate) fn path() -> std::ffi::OsString {
    let places = Which::System.directories();
    std::env::join_paths(places).expect("they come from such a list")
}

/// What a test cannot do without.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// Effective uid 0, as for mounting, devices, ownership and trusted xattrs.
    Root,
    /// The tools of e2fsprogs.
    E2fsprogs(Which),
    /// What a machine of another kernel is made of.
    Machine,
    /// A program in $PATH.
    Program(&'static str),
}

impl Need {
    fn check(self) -> Result<()> {
        match self {
            Self::Root if rustix::process::geteuid().is_root() => Ok(()),
            Self::Root => Err("this test mounts filesystems and needs root".into()),
            Self::E2fsprogs(which) => ["mke2fs", "e2fsck", "dumpe2fs", "debugfs"]
                .iter()
                .try_for_each(|name| find(which, name).map(drop)),
            Self::Machine => machine::check(),
            Self::Program(name) => {
                let places = Which::System.directories();
                let is_there = places.iter().any(|place| place.join(name).is_file());
                is_there
                    .then_some(())
                    .ok_or_else(|| format!("{name} is needed: install it").into())
            }
        }
    }
}

/// True where every need is met.
///
/// # Panics
///
/// Where one is not, unless MKE4FS_SKIP_ORACLES is set: the test must then return at once.
pub(crate) fn ready(needs: &[Need]) -> bool {
    let skip = std::env::var_os(SKIP).is_some();
    for need in needs {
        match need.check() {
            Ok(()) => {}
            Err(error) if skip => {
                // The harness names a test's thread after the test.
                let thread = std::thread::current();
                let test = thread.name().unwrap_or("a test");
                report(&format!("left out: {test}: {error}"));
                return false;
            }
            Err(error) => panic!("{error} (or set {SKIP} to pass without)"),
        }
    }
    true
}

/// Says once per process, past the test harness's capture, that an oracle was asked.
pub(crate) fn report(line: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(line.to_owned()) {
        // A report that cannot be written must not fail the test.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// The path of a tool.
fn find(which: Which, name: &str) -> Result<PathBuf> {
    let places = which.directories();
    let found = places
        .iter()
        .map(|place| place.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| match which {
        Which::System => format!("{name} is needed: install e2fsprogs").into(),
        Which::Reference => format!(
            "{name} {REFERENCE_VERSION} is needed in $MKE4FS_REFERENCE/bin or target/e2fsprogs/bin"
        )
        .into(),
    })
}

/// A command for one tool of e2fsprogs, after saying that it runs.
///
/// # Errors
///
/// The tool is missing, or the reference is of another version.
pub(crate) fn command(which: Which, name: &str) -> Result<Command> {
    let path = find(which, name)?;
    let said = Command::new(&path)
        .arg("-V")
        .stdin(Stdio::null())
        .output()?;
    let said = format!("{}", Output(&said));
    let prefix = format!("{name} ");
    let version = said.lines().find_map(|line| line.strip_prefix(&prefix));
    let version = version.and_then(|rest| rest.split_whitespace().next());
    let version = version.ok_or_else(|| format!("{}: says no version", path.display()))?;
    if which == Which::Reference && version != REFERENCE_VERSION {
        let path = path.display();
        return Err(format!("{path}: version {REFERENCE_VERSION} is needed, not {version}").into());
    }
    report(&format!("oracle: {name} {version}"));
    let mut command = Command::new(path);
    // The host's configuration and language must not show in what the tools do and say. Without
    // its file mke2fs takes the profile built into it; an empty file would give it none at all.
    command
        .env("MKE2FS_CONFIG", "/no/such/file")
        .env("E2FSCK_CONFIG", "/no/such/file");
    command.env("LC_ALL", "C").stdin(Stdio::null());
    Ok(command)
}

/// Runs a command to its end and gives all it said.
///
/// # Errors
///
/// It cannot be started, or exits with another status than 0; the error then holds what it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let said = Output(&output).to_string();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{command:?}: {}\n{said}", output.status).into())
}

/// Both streams of a finished process.
struct Output<'a>(&'a std::process::Output);

impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0.stdout))?;
        f.write_str(&String::from_utf8_lossy(&self.0.stderr))
    }
}

/// What `e2fsck -fn` says of a sound image; its last line tells the share of non-contiguous files.
///
/// # Errors
///
/// e2fsck finds the least fault.
pub(crate) fn e2fsck(image: &Path, which: Which) -> Result<String> {
    run(command(which, "e2fsck")?.arg("-fn").arg(image))
}

/// What `dumpe2fs` says of an image.
pub(crate) fn dumpe2fs(image: &Path, which: Which) -> Result<String> {
    run(command(which, "dumpe2fs")?.arg(image))
}

/// What the reference debugfs answers to `requests`, which may not write.
pub(crate) fn debugfs<S: AsRef<str>>(image: &Path, requests: &[S]) -> Result<String> {
    requested(command(Which::Reference, "debugfs")?.arg(image), requests)
}

/// As [`debugfs`], with the right to write.
pub(crate) fn debugfs_write<S: AsRef<str>>(image: &Path, requests: &[S]) -> Result<String> {
    requested(
        command(Which::Reference, "debugfs")?.arg("-w").arg(image),
        requests,
    )
}

/// debugfs takes its requests on stdin, and says "debugfs: REQUEST" before each answer.
fn requested<S: AsRef<str>>(command: &mut Command, requests: &[S]) -> Result<String> {
    let mut script = tempfile::NamedTempFile::new()?;
    for request in requests {
        writeln!(script, "{}", request.as_ref())?;
    }
    run(command.stdin(script.reopen()?))
}

/// Formats `image`, an existing file, with the reference mke2fs; quiet, but for its warnings.
pub(crate) fn mke2fs<S: AsRef<OsStr>>(image: &Path, arguments: &[S]) -> Result<String> {
    run(command(Which::Reference, "mke2fs")?
        .args(["-q", "-F"])
        .args(arguments)
        .arg(image))
}
