//! Given the command's flags for what a source holds, proves what the image holds by them; as far as
//! the kernel shows it, after a mount.

#![cfg(all(target_os = "linux", feature = "cli"))]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::making::workplace;
use common::mount::{Scratch, mount_ro};
use common::tools::{Need, Which, e2fsck, ready};
use tempfile::TempDir;

/// A place with a directory `root` to fill, where the command is run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(workplace().expect("a place to work"));
        place.directory("root");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn directory(&self, name: &str) {
        fs::create_dir_all(self.path(name)).expect("a directory");
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// What `sh` says of `line`; `mke4fs` in it is the command.
    fn shell(&self, line: &str) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_mke4fs"));
        let directory = binary.parent().expect("it is in a directory");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", line])
            .current_dir(self.0.path())
            .env("PATH", format!("{}:{path}", directory.display()))
            .env_remove("SOURCE_DATE_EPOCH");
        shell.output().expect("sh runs")
    }

    /// What the command warns of as it makes the image; the image passes e2fsck.
    fn make(&self, line: &str) -> String {
        let output = self.shell(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        e2fsck(&self.path("image"), Which::Reference).expect("a sound image");
        said
    }

    /// What the command says where it makes no image.
    fn refusal(&self, line: &str) -> String {
        let output = self.shell(line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(!self.path("image").exists(), "{line}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What `look` finds in the image, mounted.
    fn look<T>(&self, look: impl FnOnce(&Path) -> T) -> T {
        mount_ro(&self.path("image"), look).expect("the image can be mounted")
    }
}

fn is_ready() -> bool {
    ready(&[Need::Root, Need::E2fsprogs(Which::Reference)])
}

/// Every path below `root`, in order, but lost+found.
fn names(root: &Path) -> Vec<String> {
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

#[test]
fn excluded_files_are_left_out_unopened() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    for name in [
        "a.o",
        "a.c",
        "src/b.o",
        "src/b.c",
        "cache/x",
        "src/cache",
        "deep/a/b/c",
    ] {
        place.file(&format!("root/{name}"), "");
    }
    let line = "mke4fs -q -d root --exclude '*.o' --exclude /deep/**/c --exclude cache/ \
                --exclude '*.none' image";
    assert_eq!(
        place.make(line),
        "mke4fs: warning: nothing matches *.none, which was to be left out\n"
    );
    let names = place.look(names);
    assert_eq!(
        names,
        [
            "a.c",
            "deep",
            "deep/a",
            "deep/a/b",
            "src",
            "src/b.c",
            "src/cache"
        ]
    );

    fs::remove_file(place.path("image")).expect("it is there");
    let said = place.refusal("mke4fs -d root --exclude '[a' image");
    assert_eq!(
        said,
        "mke4fs: --exclude: \"[a\" is no pattern: a [ needs its ]\n"
    );

    // What an ordinary user may not open stops nothing where it is excluded.
    let unreadable = "mkdir root/secret; touch root/secret/x; chmod 700 root/secret; chmod 755 . root; \
                      chmod 1777 .; setpriv --reuid 1000 --regid 1000 --clear-groups mke4fs -q -d root";
    let said = place.refusal(&format!("{unreadable} image"));
    assert!(said.contains("root/secret: Permission denied"), "{said}");
    place.make(&format!(
        "{} --exclude /secret image",
        unreadable.replace("mkdir", "mkdir -p")
    ));
}

#[test]
fn one_file_system_keeps_mount_points_empty() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/kept", "");
    place.directory("root/mounted");
    let other = Scratch::new(8 << 20).expect("another filesystem");
    fs::write(other.path().join("inside"), "").expect("a file");
    let bind = format!("mount --bind {} root/mounted", other.path().display());
    let line = format!("{bind}; trap 'umount root/mounted' EXIT; mke4fs -q -d root");
    place.make(&format!("{line} --one-file-system image"));
    assert_eq!(place.look(names), ["kept", "mounted"]);
    let mode = |root: &Path| {
        fs::metadata(root.join("mounted"))
            .expect("it is there")
            .mode()
    };
    assert_eq!(
        place.look(mode),
        other.path().metadata().expect("it is there").mode()
    );
    place.make(&format!("rm image; {line} image"));
    assert!(place.look(names).contains(&"mounted/inside".to_owned()));
}
