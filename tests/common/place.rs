//! Given a line of the shell, runs it in a place of its own with the command on its path, and shows what
//! the image holds; never judges it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::making::workplace;
use super::mount::mount_ro;
use super::tools::{self, Which, e2fsck, run};

/// A place with a directory `root` to fill, where the command is run.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(workplace().expect("a place to work"));
        place.directory("root");
        place
    }

    /// One below `directory`, which may keep what not every filesystem does.
    pub(crate) fn within(directory: &Path) -> Self {
        let place = Self(TempDir::new_in(directory).expect("a place to work"));
        place.directory("root");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn directory(&self, name: &str) {
        fs::create_dir_all(self.path(name)).expect("a directory");
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// What `sh` says of `line`; `mke4fs` in it is the command.
    pub(crate) fn shell(&self, line: &str) -> Output {
        self.prepared(line).output().expect("sh runs")
    }

    /// Starts `sh` with `line`, quietly.
    pub(crate) fn start(&self, line: &str) -> Child {
        let mut shell = self.prepared(line);
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().expect("sh runs")
    }

    fn prepared(&self, line: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_mke4fs"));
        let directory = binary.parent().expect("it is in a directory");
        let mut path = directory.as_os_str().to_owned();
        path.push(":");
        path.push(tools::path());
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", line])
            .current_dir(self.0.path())
            .env("PATH", path)
            .env_remove("SOURCE_DATE_EPOCH");
        shell
    }

    /// Gives all of it to an ordinary user, with a copy of the command that such a one may run.
    pub(crate) fn for_user(&self) {
        self.directory("bin");
        // Not by this process: what another test is just starting would have it open for writing, and then it cannot
        // be run.
        let line = "cp \"$(command -v mke4fs)\" bin/mke4fs; chown -R 1000:1000 .";
        assert!(self.shell(line).status.success());
    }

    /// What `sh` prints as it runs `line` for an ordinary user.
    pub(crate) fn as_user(&self, line: &str) -> String {
        let mut user = Command::new("setpriv");
        user.args(["--reuid", "1000", "--regid", "1000", "--clear-groups"])
            .args(["sh", "-euc", line])
            .current_dir(self.0.path())
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .env_remove("SOURCE_DATE_EPOCH");
        run(&mut user).expect("it succeeds")
    }

    /// Gives a file an owner.
    pub(crate) fn owned(&self, name: &str, uid: u32, gid: u32) {
        lchown(self.path(name), Some(uid), Some(gid)).expect("root may");
    }

    /// Makes the image of `root` by `flags`, new, and gives what the command warns of.
    pub(crate) fn image(&self, flags: &str) -> String {
        self.make(&format!("rm -f image; mke4fs -q -d root {flags} image"))
    }

    /// What the image shows of `name`.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.look(|root| shown(&root.join(name)))
    }

    /// What the command warns of as it makes the image; the image passes e2fsck.
    pub(crate) fn make(&self, line: &str) -> String {
        let output = self.shell(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        e2fsck(&self.path("image"), Which::Reference).expect("a sound image");
        said
    }

    /// What the command says where it makes no image.
    pub(crate) fn refusal(&self, line: &str) -> String {
        let output = self.shell(line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(!self.path("image").exists(), "{line}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What `look` finds in the image, mounted.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Path) -> T) -> T {
        mount_ro(&self.path("image"), look).expect("the image can be mounted")
    }
}

/// Type, permissions, owner and, of a device, its numbers; of a symbolic link, its target.
pub(crate) fn shown(path: &Path) -> String {
    let metadata = fs::symlink_metadata(path).expect("it is there");
    let kind = metadata.file_type();
    let of_type = match () {
        () if kind.is_dir() => "dir",
        () if kind.is_file() => "file",
        () if kind.is_symlink() => "link",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () => "socket",
    };
    let mode = metadata.mode() & 0o7777;
    let more = match metadata.rdev() {
        0 if kind.is_symlink() => {
            let target = fs::read_link(path).expect("it is a link");
            format!(" -> {}", target.display())
        }
        0 => String::new(),
        device => {
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            format!(" {major},{minor}")
        }
    };
    format!(
        "{of_type} {mode:o} {}:{}{more}",
        metadata.uid(),
        metadata.gid()
    )
}

/// The names of a file's attributes.
pub(crate) fn attributes(path: &Path) -> Vec<String> {
    let names = xattr::list(path).expect("they can be listed");
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Every path below `root`, in order, but lost+found.
pub(crate) fn names(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            let path = entry.path();
            if entry.file_type().expect("it has a type").is_dir() {
                directories.push(path.clone());
            }
            let below = path.strip_prefix(root).expect("it is below");
            names.push(below.to_string_lossy().into_owned());
        }
    }
    names.retain(|name| name != "lost+found");
    names.sort();
    names
}
