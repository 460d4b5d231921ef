//! Given container images and layers of overlayfs, proves that overlay mounts of the images made of each
//! layer show what the image of all shows, and the other way round; never unpacks a layer itself.

#![cfg(target_os = "linux")]

use crate::common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::attrs::{Field, Options, RootRule, Snapshot};
use common::image::Layout;
use common::mount::{Mount, Scratch, mount_ro, unmount};
use common::tools::{self, Need, Result, Which, e2fsck, ready};
use mke4fs::Builder;
use mke4fs::source::oci::Image;

use crate::oci::{RULES, layer};
use crate::oci_real::{IMAGE, LOWEST, OVER, sh};

const NEEDS: &[Need] = &[Need::Root, Need::E2fsprogs(Which::Reference)];

/// An overlay of what is mounted, the lowest first.
struct Overlay {
    at: tempfile::TempDir,
    _empty: tempfile::TempDir,
}

impl Overlay {
    fn new(layers: &[Mount]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        // One layer alone is no overlay; an empty directory below changes nothing.
        let empty = tempfile::tempdir()?;
        let mut lower: Vec<String> = layers
            .iter()
            .rev()
            .map(|mount| mount.path().display().to_string())
            .collect();
        lower.push(empty.path().display().to_string());
        let options = format!("ro,lowerdir={}", lower.join(":"));
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options]);
        tools::run(mount.arg(directory.path()))?;
        Ok(Self {
            at: directory,
            _empty: empty,
        })
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        unmount(self.at.path()).expect("it can be unmounted");
    }
}

/// How an overlay is compared: it counts one link of each directory.
fn options() -> Options {
    Options {
        root: RootRule::Kept,
        ignore: [Field::Nlink].into(),
        ..Options::default()
    }
}

/// What the two shows differ in.
fn differences(flat: &Path, layers: &[PathBuf]) -> Result<Vec<String>> {
    let options = options();
    let expected = mount_ro(flat, Snapshot::take)??;
    let mounts: Vec<Mount> = layers
        .iter()
        .map(|image| Mount::read_only(image))
        .collect::<Result<_>>()?;
    let overlay = Overlay::new(&mounts)?;
    let found = expected.compare(overlay.at.path(), &options)?;
    Ok(found.iter().map(ToString::to_string).collect())
}

#[test]
fn an_overlay_of_all_layers_is_the_image() {
    if !ready(NEEDS) {
        return;
    }
    for (layers, _) in RULES.iter().filter(|(layers, _)| !layers.is_empty()) {
        let bytes: Vec<Vec<u8>> = layers.iter().map(|entries| layer(entries)).collect();
        let layout = Layout::of(&bytes).expect("a layout");
        let place = tempfile::tempdir().expect("a place");
        let write = |name: &str, image: Image| {
            let path = place.path().join(name);
            let builder = Builder::new().source(image).size_bytes(1 << 20);
            let environment = mke4fs::Environment::fixed(1_700_000_000);
            let builder = builder.environment(environment);
            let written = builder.to_vec().expect("it can be made");
            std::fs::write(&path, written).expect("it can be written");
            e2fsck(&path, Which::Reference).expect("it is sound");
            path
        };
        let flat = write("flat", Image::layout(layout.path()));
        let of_each: Vec<PathBuf> = (1..=layers.len())
            .map(|number| {
                let choice = number.to_string().parse().expect("a number");
                let image = Image::layout(layout.path());
                let image = image.layer(Some(choice)).overlay_whiteouts(true);
                write(&format!("layer{number}"), image)
            })
            .collect();
        let found = differences(&flat, &of_each).expect("they can be mounted");
        assert!(found.is_empty(), "{layers:?}: {found:#?}");
    }
}

#[test]
fn an_overlay_of_real_layers_is_the_image() {
    let needs = [NEEDS, &[Need::Program("umoci"), Need::Program("setcap")]].concat();
    if !ready(&needs) {
        return;
    }
    let scratch = Scratch::new(256 << 20).expect("a place");
    let directory = scratch.path();
    for script in [LOWEST, OVER, IMAGE] {
        sh(directory, script);
    }
    let make = |name: &str, flags: &str| {
        let script = format!(
            "E2FSPROGS_FAKE_TIME=1700000000 {} -q --keep-root -d oci:layout:app:1 --exclude /zero \
             {flags} {name} 64M",
            env!("CARGO_BIN_EXE_mke4fs")
        );
        sh(directory, &script);
        e2fsck(&directory.join(name), Which::Reference).expect("it is sound");
        directory.join(name)
    };
    let flat = make("flat", "");
    let layers: Vec<PathBuf> = (1..=3)
        .map(|number| {
            let flags = format!("--layer {number} --whiteouts overlay");
            make(&format!("layer{number}"), &flags)
        })
        .collect();
    let found = differences(&flat, &layers).expect("they can be mounted");
    assert!(found.is_empty(), "{found:#?}");
    tools::report("oracle: overlayfs of this kernel");

    // A digest names the same layer as its number, compressed or not.
    let digest = "jq -r '.layers[1].digest' layout/blobs/sha256/$(jq -r '.manifests[0].digest' \
                  layout/index.json | cut -d: -f2)";
    let digest = tools::run(
        Command::new("sh")
            .args(["-c", digest])
            .current_dir(directory),
    );
    let digest = digest.expect("jq reads it");
    let same = make(
        "same",
        &format!("--layer {} --whiteouts overlay -U clear", digest.trim()),
    );
    let found = differences(&flat, &[layers[0].clone(), same, layers[2].clone()]);
    assert_eq!(found.expect("they can be mounted"), [""; 0]);
    let refused = |flags: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
        let source = if flags.contains("-d") {
            "-q"
        } else {
            "-doci:layout:app:1"
        };
        command
            .args(["-q", source])
            .args(flags.split(' '))
            .arg("none")
            .current_dir(directory);
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{flags}");
        assert!(!directory.join("none").exists(), "{flags}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (flags, said) in [
        ("--layer 4", "no layer 4: the image has 3 layers"),
        ("--layer 0", "invalid layer '0': must be a number from 1"),
        ("--whiteouts overlay", "--whiteouts overlay needs --layer"),
        (
            "--layer 1 -d layout",
            "--layer needs a container image after -d, such as oci:DIR",
        ),
        (
            "--platform linux/arm64 -d layout",
            "--platform needs a container image after -d, such as oci:DIR",
        ),
        (
            "--layer 1 --whiteouts overlay",
            "zero is a character device 0:0, which overlayfs takes for a whiteout",
        ),
    ] {
        let found = refused(flags);
        assert!(found.contains(said), "{flags}: {found}");
    }
}

/// What an overlay's lower directory holds, and what is done in the overlay.
const LOWER: &str = "
mkdir -p lower/d/sub lower/gone/deep lower/again/old lower/kept upper work merged
echo 1 > lower/d/file; echo 2 > lower/d/other; echo 3 > lower/gone/deep/x; echo 4 > lower/again/old/y
echo 5 > lower/again/z; echo 6 > lower/kept/k; ln lower/kept/k lower/kept/linked; echo 7 > lower/becomes
ln -s d lower/link; setfattr -n user.note -v n lower/d; echo 8 > lower/again/w";

const CHANGES: &str = "
rm merged/d/file merged/link; rm -r merged/gone merged/again; mkdir merged/again; echo new > merged/again/z
echo more >> merged/d/other; chmod 700 merged/kept; rm merged/becomes; mkdir merged/becomes
echo in > merged/becomes/in; mv merged/kept/k merged/moved; ln -s again merged/link; mkdir merged/fresh
umount merged";

#[test]
fn an_upper_directory_of_fuse_overlayfs_hides_by_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    sh(
        directory,
        "mkdir -p lower/d lower/made upper/d upper/made; echo 1 > lower/d/gone; echo 2 > lower/d/.opq
         echo 3 > lower/d/kept; echo 4 > lower/made/hidden; : > upper/d/.wh.gone; : > upper/made/.wh..wh..opq
         echo 5 > upper/made/new; echo full > upper/d/.wh.full; : > upper/d/.wh.missing; mkdir upper/d/.wh.kept",
    );
    let mke4fs = env!("CARGO_BIN_EXE_mke4fs");
    let make = format!("{mke4fs} -q -d lower -d upper --whiteouts apply image 16M");
    sh(directory, &make);
    let list = Command::new(mke4fs)
        .args(["ls", "-R", "image"])
        .current_dir(directory)
        .output()
        .expect("it runs");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let expected = "d\nd/.opq\nd/.wh.full\nd/.wh.kept\nd/kept\nlost+found\nmade\nmade/new\n";
    assert_eq!(list, expected);
}

#[test]
fn an_upper_directory_hides_as_its_overlay_does() {
    if !ready(&[NEEDS, &[Need::Program("setfattr")]].concat()) {
        return;
    }
    for options in ["", ",userxattr"] {
        let scratch = Scratch::new(64 << 20).expect("a place");
        let directory = scratch.path();
        sh(directory, LOWER);
        let mount = |more: &str| {
            format!(
                "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work{options}{more} merged"
            )
        };
        sh(directory, &format!("{}{CHANGES}", mount("")));
        let mke4fs = env!("CARGO_BIN_EXE_mke4fs");
        let make = format!(
            "{mke4fs} -q -d lower -d upper --keep-root --whiteouts apply image 16M; {}",
            mount("")
        );
        sh(directory, &make);
        e2fsck(&directory.join("image"), Which::Reference).expect("it is sound");
        let expected = Snapshot::take(&directory.join("merged")).expect("it can be read");
        let found = mount_ro(&directory.join("image"), |root| {
            expected.compare(root, &self::options())
        });
        let found = found.expect("it can be mounted").expect("it can be read");
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        sh(directory, "umount merged");
        assert!(found.is_empty(), "{options}: {found:#?}");
        // Without the flag they are what they are.
        sh(
            directory,
            &format!("{mke4fs} -q -d lower -d upper plain 16M"),
        );
        let shown = mount_ro(&directory.join("plain"), |root| {
            common::place::shown(&root.join("gone"))
        });
        assert_eq!(shown.expect("it can be mounted"), "char 0 0:0");
    }
}

#[test]
fn what_lies_in_several_layers_is_refused() {
    if !ready(&[NEEDS, &[Need::Program("setfattr")]].concat()) {
        return;
    }
    let scratch = Scratch::new(64 << 20).expect("a place");
    let directory = scratch.path();
    let script = format!(
        "{LOWER}; mkdir upper/renamed; setfattr -n trusted.overlay.redirect -v d upper/renamed; \
         mkdir other; touch other/data; setfattr -n user.overlay.metacopy -v '' other/data; \
         mkdir third; touch third/x; setfattr -n trusted.overlay.overlay.opaque -v y third; \
         setfattr -n trusted.overlay.impure -v y third/x"
    );
    sh(directory, &script);
    let make = |upper: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
        command.args([
            "-q",
            "--keep-root",
            "-d",
            "lower",
            "-d",
            upper,
            "--whiteouts",
            "apply",
        ]);
        let output = command
            .args(["image", "16M"])
            .current_dir(directory)
            .output();
        let output = output.expect("it runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (upper, said) in [
        (
            "upper",
            "renamed has trusted.overlay.redirect: part of it is in another layer",
        ),
        (
            "other",
            "data has user.overlay.metacopy: part of it is in another layer",
        ),
    ] {
        let found = make(upper);
        assert!(found.contains(said), "{found}");
        assert!(!directory.join("image").exists());
    }
    assert_eq!(make("third"), "");
    let names = mount_ro(&directory.join("image"), |root| {
        [root.to_owned(), root.join("x")].map(|path| common::place::attributes(&path))
    });
    let names = names.expect("it can be mounted");
    assert_eq!(names, [vec!["trusted.overlay.opaque".to_owned()], vec![]]);
}
