//! Given files that fs-verity protects, proves that they are as the kernel and fsverity make them; never
//! trusts the check of this crate alone.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use common::place::Place;
use common::tools::{self, Need, Which, e2fsck, ready};
use common::{is_wide, machine};
use mke4fs::check::check;
use mke4fs::read::{Filesystem, ImageFile};
use mke4fs::tree::Verity;
use mke4fs::{Builder, Content, Tree, VerityHash};
use serde_json::Value;

const NEEDS: &[Need] = &[
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
    Need::Program("fsverity"),
];

/// What makes equal input equal bytes.
const FIXED: &str = "-U 01234567-89ab-4def-8123-456789abcdef \
                     -E hash_seed=01234567-89ab-4def-8123-456789abcdef";

/// Sizes around the ends of blocks, of levels and of 64 KiB.
const SIZES: &[usize] = &[
    0, 1, 1023, 1024, 1025, 4095, 4096, 4097, 32767, 32768, 32769, 65535, 65536, 65537, 262_143,
    262_144, 262_145, 524_287, 524_288, 524_289, 520_192, 528_384, 3_000_000,
];

/// A place whose root has a file of each size, some with holes, and one that is not protected.
fn place() -> Place {
    let place = Place::new();
    place.directory("root/d");
    let mut state = 7_u64;
    for size in SIZES {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(*size)
        .collect();
        fs::write(place.path(&format!("root/d/f{size}")), bytes).expect("a file");
    }
    let sparse = fs::File::create(place.path("root/d/sparse")).expect("a file");
    sparse.set_len(33 << 20).expect("a length");
    sparse.write_all_at(&[7; 5000], 10 << 20).expect("data");
    let hole = fs::File::create(place.path("root/d/hole")).expect("a file");
    hole.set_len(1 << 20).expect("a length");
    place.file("root/plain", "plain\n");
    place
}

/// What the command tells in JSON as it makes the image by `line`.
fn told(place: &Place, line: &str) -> Value {
    let output = place.shell(line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {said}");
    assert_eq!(said, "", "{line}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The digests that the command tells, by path.
fn digests(told: &Value) -> Vec<(String, String)> {
    let files = told["fs_verity"].as_array().expect("it is told");
    let text = |file: &Value, name: &str| file[name].as_str().expect("it is told").to_owned();
    files
        .iter()
        .map(|file| (text(file, "path"), text(file, "digest")))
        .collect()
}

/// What fsverity says that the digests of the files in root/d are.
fn expected(place: &Place, hash: &str, more: &str) -> Vec<(String, String)> {
    let line =
        format!("cd root && for f in d/*; do fsverity digest --hash-alg={hash} {more} $f; done");
    let output = place.shell(&line);
    assert!(output.status.success(), "{line}");
    let mut files: Vec<_> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            let (digest, path) = line.split_once(' ').expect("a digest and a path");
            (format!("/{path}"), digest.to_owned())
        })
        .collect();
    files.sort();
    files
}

fn assert_sound(place: &Place, image: &str, about: &str) {
    let image = place.path(image);
    for which in Which::ALL {
        e2fsck(&image, which).unwrap_or_else(|error| panic!("{about}: {error}"));
    }
    let file = ImageFile::open(&image).expect("it is there");
    let report = check(&file);
    assert!(report.is_clean(), "{about}: {report:?}");
}

#[test]
fn digests_are_those_of_fsverity() {
    if !ready(NEEDS) {
        return;
    }
    let place = place();
    for (flags, hash, block) in [
        ("-b 4096", "sha256", 4096),
        ("-b 4096", "sha512", 4096),
        ("-b 2048", "sha512", 2048),
        ("-b 1024", "sha256", 1024),
        ("-b 1024", "sha512", 1024),
        ("-b 4096 -O bigalloc,quota", "sha256", 4096),
        ("-b 4096 -O inline_data -I 512", "sha256", 4096),
        ("-b 4096 --size min -O ^has_journal", "sha256", 4096),
        ("-b 4096 --sparse always", "sha256", 4096),
        ("-b 4096 --sparse never", "sha256", 4096),
    ] {
        let line = format!(
            "rm -f image; mke4fs -q --json {flags} -d root --fs-verity '/d/**' \
             --fs-verity-hash {hash} image"
        );
        let found = digests(&told(&place, &line));
        let more = format!("--block-size={block}");
        assert_eq!(found, expected(&place, hash, &more), "{flags} {hash}");
        assert_eq!(found.len(), SIZES.len() + 2);
        assert_sound(&place, "image", flags);
    }
}

#[test]
fn two_gibibytes_are_hashed_as_fsverity_does() {
    if !is_wide() || !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    place.directory("root/d");
    for (name, size) in [("two", 2_u64 << 30), ("more", (2 << 30) + 1)] {
        let file = fs::File::create(place.path(&format!("root/d/{name}"))).expect("a file");
        for at in 0..size / (1 << 20) {
            let bytes = [u8::try_from(at % 251).expect("less than 251"); 1 << 20];
            file.write_all_at(&bytes, at << 20).expect("data");
        }
        file.set_len(size).expect("a length");
    }
    let line = "mke4fs -q --json -d root --fs-verity 'd/*' image";
    assert_eq!(digests(&told(&place, line)), expected(&place, "sha256", ""));
    assert_sound(&place, "image", "2 GiB");
}

#[test]
fn the_bytes_depend_on_nothing_but_the_input() {
    if !ready(NEEDS) {
        return;
    }
    let place = place();
    let make =
        format!("SOURCE_DATE_EPOCH=1 mke4fs -q {FIXED} --fs-verity 'f*' --fs-verity /d/sparse");
    let line = format!(
        "tar cf root.tar -C root --sort=name .; \
         {make} -d root --threads 1 one 96M; {make} -d root --threads 7 seven 96M; cmp one seven; \
         {make} -d root - 96M > stream; cmp one stream; \
         {make} -d root --format qcow2 disk 96M; qemu-img convert -O raw disk raw; cmp one raw; \
         mke4fs -q --keep-root {FIXED} -d root.tar --fs-verity 'f*' --fs-verity /d/sparse image 96M; \
         mke4fs check image; \
         mke4fs -q -d - --fs-verity 'f*' piped 96M < root.tar; mke4fs check piped"
    );
    let output = place.shell(&line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_sound(&place, "one", "one thread");
    assert_sound(&place, "piped", "a stream");
}

/// A tree that no gap of the filesystem holds lies in pieces, and so may its data: the image is then read
/// and hashed in another order than it is written.
#[test]
fn a_tree_that_lies_before_its_data_is_the_same() {
    if !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    place.directory("root/d");
    for number in 0..40_u8 {
        let bytes = vec![number; 700_000 + usize::from(number) * 4096];
        fs::write(place.path(&format!("root/d/f{number:02}")), bytes).expect("a file");
    }
    let make = format!("SOURCE_DATE_EPOCH=1 mke4fs -q {FIXED} -b 1024 -g 1024 --size min -d root");
    for threads in [1, 5] {
        let line = format!(
            "{make} --threads {threads} --fs-verity '*' raw; \
             {make} --threads {threads} --fs-verity '*' - > stream; cmp raw stream; \
             mke4fs check raw; rm raw"
        );
        let output = place.shell(&line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{threads}: {said}");
    }
    assert_sound(&place, "stream", "pieces");
}

/// An image of one protected file, `f`.
fn image_of(bytes: &[u8], verity: Verity, features: &str) -> mke4fs::Builder {
    let mut tree = Tree::default();
    let content = Content::from_bytes(bytes).with_verity(verity);
    tree.file("/f", content).expect("a name");
    Builder::new()
        .with(|options| options.features(features).block_size(4096))
        .source(tree)
}

fn verity(change: impl FnOnce(&mut Verity)) -> Verity {
    let mut verity = Verity::default();
    change(&mut verity);
    verity
}

#[test]
fn what_a_source_protects_stays_as_it_is() {
    if !ready(NEEDS) {
        return;
    }
    let place = Place::new();
    let bytes = vec![b'x'; 300_000];
    let verity = verity(|it| {
        it.hash = VerityHash::Sha512;
        it.block_bytes = Some(2048);
        it.salt = b"salt of 13 by".to_vec();
        it.signature = vec![b's'; 5000];
    });
    let made = image_of(&bytes, verity, "verity").write_file(place.path("first"));
    let made = made.expect("it can be made");
    assert_sound(&place, "first", "salt and signature");
    fs::write(place.path("plain"), &bytes).expect("a file");
    let line = "fsverity digest --compact --hash-alg=sha512 --block-size=2048 \
                --salt=73616c74206f66203133206279 plain";
    let theirs = place.shell(line).stdout;
    let theirs = format!("sha512:{}", String::from_utf8_lossy(&theirs).trim());
    assert_eq!(made.fs_verity[0].text(), theirs);

    let line = "mke4fs -q --json -b 4096 -O verity -d first --fs-verity '*' second";
    let copied = digests(&told(&place, line));
    assert_eq!(copied, [("/f".to_owned(), theirs)]);
    let verity_of = |image: &str| {
        let image = ImageFile::open(&place.path(image)).expect("it is there");
        let filesystem = Filesystem::open(image).expect("it is sound");
        let file = filesystem.open_file("f").expect("it is there");
        file.verity().expect("it is sound")
    };
    let first = verity_of("first").expect("it is protected");
    assert_eq!(first.signature(), [b's'; 5000]);
    assert_eq!(verity_of("second"), Some(first));
    assert_sound(&place, "second", "carried over");

    for (flags, said) in [
        ("-b 4096", "it needs -O verity"),
        (
            "-b 1024 -O verity",
            "the Merkle tree has blocks of 2048 bytes, the filesystem of 1024; use -b 2048",
        ),
    ] {
        let line = format!("rm -f image; mke4fs -q {flags} -d first image");
        assert_eq!(
            place.make(&line),
            format!("mke4fs: warning: 1 file lost fs-verity (first: /f): {said}\n")
        );
        assert_eq!(verity_of("image"), None, "{flags}");
    }
    let line = "rm image; mke4fs -q -O ^verity --fs-verity f -d first image";
    let said = "mke4fs: --fs-verity needs the feature verity, which -O ^verity disables\n";
    assert_eq!(place.refusal(line), said);
}

#[test]
fn what_fs_verity_cannot_hold_is_told() {
    let bytes = vec![1; 10_000];
    for verity in [
        verity(|it| it.salt = vec![1; 33]),
        verity(|it| it.signature = vec![1; 16_129]),
        verity(|it| it.block_bytes = Some(512)),
        verity(|it| it.block_bytes = Some(3000)),
    ] {
        let plan = image_of(&bytes, verity.clone(), "verity").plan();
        let plan = plan.expect("it can be made without");
        let warnings: Vec<_> = plan.warnings().iter().map(ToString::to_string).collect();
        let lost = warnings
            .iter()
            .any(|said| said.contains("1 file lost fs-verity (first: /f)"));
        assert!(lost, "{verity:?}: {warnings:?}");
    }
    let other = verity(|it| it.root_hash = Some(vec![1; 32]));
    let refused = image_of(&bytes, other, "verity").to_vec();
    let said = format!("{:#}", refused.expect_err("it is other data"));
    assert!(
        said.contains("its data does not match the root hash"),
        "{said}"
    );
}

/// Where the blocks of `f` are in `image`, in bytes.
fn places(image: &[u8]) -> Vec<u64> {
    let filesystem = Filesystem::open(image).expect("it is sound");
    let file = filesystem.open_file("f").expect("it is there");
    let extents = file.extents().expect("it is sound");
    let blocks = extents.iter().flat_map(|extent| {
        let start = extent.run.start.get();
        start..start + extent.run.len
    });
    blocks.map(|block| block * 4096).collect()
}

#[test]
fn whatever_is_damaged_is_found_and_carried_nowhere() {
    let image = image_of(&vec![9; 1_000_000], Verity::default(), "verity");
    let image = image.to_vec().expect("it can be made");
    assert!(check(&image[..]).is_clean());
    let places = places(&image);
    // 245 blocks of data, a root and two blocks of hashes, the descriptor.
    assert_eq!(places.len(), 249);
    let descriptor = places[248];
    for (about, at, found) in [
        ("data", places[100] + 17, "data"),
        ("the last data", places[244], "data"),
        ("the root", places[245] + 3, "root hash"),
        ("a leaf", places[246] + 33, "root hash"),
        ("the second leaf", places[247] + 33, "root hash"),
        ("the version", descriptor, "version"),
        ("the hash", descriptor + 1, "hash"),
        ("the block size", descriptor + 2, ""),
        ("the salt's length", descriptor + 3, ""),
        ("the signature's length", descriptor + 5, "signature"),
        ("the size", descriptor + 8, "another size"),
        ("the root hash", descriptor + 16, "root hash"),
        ("behind the root hash", descriptor + 60, "reserved"),
        ("what is reserved", descriptor + 200, "reserved"),
        ("the length", descriptor + 4093, "descriptor"),
    ] {
        let mut damaged = image.clone();
        damaged[usize::try_from(at).expect("it fits")] ^= 0x40;
        let report = check(&damaged[..]);
        let told = report.findings.iter().any(|finding| {
            let said = finding.to_string();
            said.contains("fs-verity") && said.contains(found)
        });
        assert!(told, "{about}: {:?}", report.findings);
        let directory = tempfile::tempdir().expect("a place");
        let path = directory.path().join("damaged");
        fs::write(&path, &damaged).expect("a file");
        let again = Builder::new()
            .with(|options| options.features("verity").block_size(4096))
            .source(mke4fs::Image::open(&path))
            .to_vec();
        // Hashes of nobody's are made again; all else says so.
        let is_made_again = about.contains("leaf") || about == "the root";
        assert_eq!(again.is_ok(), is_made_again, "{about}");
    }
}

/// The programs of the host that the machine gets on a disk, with the libraries they need.
fn tools_disk(place: &Place, programs: &[&str]) {
    let line = format!(
        "mkdir -p tools/lib; for p in {}; do p=$(command -v $p); cp $p tools/; strip tools/$(basename $p); \
         for l in $(ldd $p | grep -o '/[^ ]*'); do cp -L $l tools/lib/; done; done; \
         mke4fs -q -d tools tools.img",
        programs.join(" ")
    );
    let output = place.shell(&line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

/// How a program of the tools' disk is called in the machine.
const CALLED: &str = "mkdir /tools /b; mount -t ext4 -o ro /dev/vdb /tools; \
    run() { p=$1; shift; /tools/lib/ld-linux-x86-64.so.2 --library-path /tools/lib /tools/$p \"$@\"; }\n";

#[test]
fn a_kernel_measures_reads_and_refuses() {
    let needs = [NEEDS, &[Need::Machine, Need::Program("strip")]].concat();
    if !ready(&needs) {
        return;
    }
    let place = place();
    let line = "mke4fs -q --json -b 4096 -d root --fs-verity '/d/**' image";
    let ours = digests(&told(&place, line));
    tools_disk(&place, &["mke4fs", "fsverity"]);
    // A copy with a bit flipped in the data of one file.
    let image = fs::read(place.path("image")).expect("it is there");
    let mut flipped = image.clone();
    let at = {
        let filesystem = Filesystem::open(&image[..]).expect("it is sound");
        let file = filesystem.open_file("d/f528384").expect("it is there");
        file.extents().expect("it is sound")[0].run.start.get() * 4096 + 12345
    };
    flipped[usize::try_from(at).expect("it fits")] ^= 1;
    fs::write(place.path("flipped"), flipped).expect("a file");

    let script = format!(
        "{CALLED}\
         mount -t ext4 -o ro /dev/vda /mnt; cd /mnt; run fsverity measure d/*; cat d/* | md5sum; \
         echo again; run mke4fs -q --json -O verity -b 4096 -d /mnt /again; cd /; umount /mnt; \
         mount -t ext4 -o ro /dev/vdc /mnt; md5sum /mnt/d/f524288 >/dev/null; \
         if cat /mnt/d/f528384 >/dev/null; then echo read; else echo refused; fi; umount /mnt; \
         mount -t ext4 /dev/vda /mnt; head -c 700001 /dev/zero > /mnt/theirs; \
         run fsverity enable --salt=0102030405 /mnt/theirs; \
         run fsverity measure /mnt/theirs; if echo x >> /mnt/d/f1; then echo written; fi; umount /mnt"
    );
    let paths = ["image", "tools.img", "flipped"].map(|name| place.path(name));
    let disks: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    let said = machine::run(&disks, &script).expect("the kernel takes them");
    let measured: Vec<_> = said
        .lines()
        .filter_map(|line| line.split_once(" d/"))
        .map(|(digest, path)| (format!("/d/{path}"), digest.to_owned()))
        .collect();
    assert_eq!(measured, ours, "{said}");
    let sum = place.shell("cd root && cat d/* | md5sum").stdout;
    assert!(said.contains(&*String::from_utf8_lossy(&sum)), "{said}");
    assert!(
        said.contains("refused") && !said.contains("\nread"),
        "{said}"
    );
    assert!(!said.contains("written"), "{said}");
    let (_, again) = said.split_once("again\n").expect("the script says so");
    let again = again.lines().find(|line| line.starts_with('{'));
    let again: Value = serde_json::from_str(again.expect("JSON")).expect("JSON");
    assert_eq!(digests(&again), ours, "of a directory");

    // What the kernel made is read here as it measured it.
    assert_sound(&place, "image", "what the kernel wrote");
    let theirs = said
        .lines()
        .find_map(|line| line.strip_suffix(" /mnt/theirs"));
    let line = "mke4fs -q --json -b 4096 -O verity -d image copy";
    let copied = digests(&told(&place, line));
    let copied = copied.iter().find(|(path, _)| path == "/theirs");
    assert_eq!(copied.map(|(_, digest)| &**digest), theirs);
    let version = tools::run(Command::new("fsverity").arg("--version"));
    tools::report(&format!("oracle: {}", version.expect("it says so").trim()));
}
