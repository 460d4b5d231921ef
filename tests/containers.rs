//! Given images in every form of output, proves that the programs for these forms read the raw image out of
//! them; never what is in a filesystem.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use common::attrs::Snapshot;
use common::mount::{Scratch, mount_ro, unmount};
use common::place::Place;
use common::tools::{self, Need, Which, e2fsck, ready};
use common::{is_wide, machine, making, torture};
use mke4fs::sink::{Compression, Format, Ordered, Piece, Stream};
use mke4fs::{Builder, Tree};
use serde_json::Value;

/// The formats but raw, and what qemu-img calls them, if it reads them.
const FORMATS: [(&str, Option<&str>); 7] = [
    ("qcow2", Some("qcow2")),
    ("qcow2 --compress zlib", Some("qcow2")),
    ("qcow2 --compress zstd", Some("qcow2")),
    ("vhdx", Some("vhdx")),
    ("vhd", Some("vpc")),
    ("vhd,dynamic", Some("vpc")),
    ("simg", None),
];

/// What makes a run's bytes its input's alone.
const FIXED: &str = "-U 01234567-89ab-4def-8123-456789abcdef \
                     -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210";

fn programs() -> bool {
    let programs = [
        "qemu-img",
        "qemu-storage-daemon",
        "simg2img",
        "img2simg",
        "bmaptool",
        "veritysetup",
    ];
    ready(&programs.map(Need::Program))
}

/// A place with files of many lengths, zeros among them, in `root`.
fn place() -> Place {
    let place = Place::new();
    for number in 0..60 {
        let bytes = torture::pattern(number * 3001);
        fs::write(place.path(&format!("root/{number:02}")), bytes).expect("a file");
    }
    place.directory("root/below");
    let mut bytes = vec![0; 1 << 20];
    bytes[700_000] = 1;
    fs::write(place.path("root/below/zeros"), &bytes).expect("a file");
    let same = [0xa5; 300_000];
    fs::write(place.path("root/below/same"), same).expect("a file");
    // Longer than the blocks of any container.
    let long = torture::pattern(5 << 20);
    fs::write(place.path("root/below/long"), long).expect("a file");
    place
}

/// Runs the command with `words`, and gives what it says on standard output.
fn make(place: &Place, words: &str) -> String {
    let output = place.shell(&format!("SOURCE_DATE_EPOCH=1 mke4fs {FIXED} {words}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}: {said}");
    String::from_utf8(output.stdout).expect("it is text")
}

fn shell(place: &Place, line: &str) -> String {
    let output = place.shell(line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether `made` holds the bytes of the raw image `raw`.
fn check(place: &Place, made: &str, format: Option<&str>) {
    let Some(format) = format else {
        shell(
            place,
            &format!("rm -f out; simg2img {made} out; cmp out raw"),
        );
        return;
    };
    if format != "vpc" {
        shell(place, &format!("qemu-img check -q -f {format} {made}"));
    }
    shell(
        place,
        &format!("qemu-img compare -q -f raw -F {format} raw {made}"),
    );
    let info = shell(
        place,
        &format!("qemu-img info --output json -f {format} {made}"),
    );
    let info: Value = serde_json::from_str(&info).expect("it is JSON");
    let raw = fs::metadata(place.path("raw")).expect("it is there").len();
    assert_eq!(info["virtual-size"], raw, "{made}");
}

#[test]
fn every_format_holds_the_bytes_of_the_raw_image() {
    if !programs() {
        return;
    }
    let place = place();
    for words in [
        "-d root -b 4096 --size 64M",
        "-d root -b 1024 --size 40M",
        "-d root -b 2048 -O ^has_journal -E offset=1048576 --size 30M",
        "-O bigalloc --size 300M",
        "-F -b 65536 --size 200M",
        "-d root --verity --size auto",
    ] {
        fs::remove_file(place.path("raw")).unwrap_or_default();
        make(&place, &format!("-q {words} raw"));
        for (format, name) in FORMATS {
            let mut first = None;
            for threads in [1, 2, 7] {
                make(
                    &place,
                    &format!("-q -F {words} --threads {threads} --format {format} made"),
                );
                let bytes = fs::read(place.path("made")).expect("it is there");
                let is_same = *first.get_or_insert_with(|| bytes.clone()) == bytes;
                assert!(is_same, "{words} --format {format}: {threads} threads");
            }
            check(&place, "made", name);
        }
    }
}

#[test]
fn a_container_takes_no_more_room_than_a_converted_image() {
    if !programs() {
        return;
    }
    let place = place();
    for words in ["--size 64M", "-d root --size 64M", "-d root --size 200G"] {
        fs::remove_file(place.path("raw")).unwrap_or_default();
        make(&place, &format!("-q {words} raw"));
        for (format, name) in FORMATS {
            if format == "simg" && words.contains("200G") {
                continue;
            }
            let convert = convert(format, name);
            shell(&place, &format!("rm -f made other; {convert}"));
            make(&place, &format!("-q {words} --format {format} made"));
            let [made, other] =
                ["made", "other"].map(|name| fs::metadata(place.path(name)).expect("it is there"));
            let most = |bytes: u64| bytes + bytes / 100;
            let told = format!("{words} as {format}");
            assert!(
                made.len() <= most(other.len()),
                "{told}: {made:?} {other:?}"
            );
            let allocated = (made.blocks(), most(other.blocks()));
            assert!(allocated.0 <= allocated.1, "{told}: {allocated:?} sectors");
        }
    }
}

/// What makes `other` of `raw`, as `format` is made by others; `name` is what qemu-img calls it.
fn convert(format: &str, name: Option<&str>) -> String {
    let Some(name) = name else {
        return "img2simg raw other".to_owned();
    };
    let options = match format {
        "qcow2 --compress zlib" => "-c",
        "qcow2 --compress zstd" => "-c -o compression_type=zstd",
        "vhd" => "-o subformat=fixed,force_size=on",
        "vhd,dynamic" => "-o subformat=dynamic,force_size=on",
        _ => "",
    };
    format!("qemu-img convert -f raw -O {name} {options} raw other")
}

/// An image that qemu shows the inside of as a file, until dropped.
struct Exported<'a> {
    place: &'a Place,
    daemon: Child,
}

impl<'a> Exported<'a> {
    /// Shows the inside of `made` as `inside`.
    fn new(place: &'a Place, format: &str) -> Self {
        fs::write(place.path("inside"), b"").expect("a file");
        let mut daemon = Command::new("qemu-storage-daemon");
        let [made, inside] = ["made", "inside"].map(|name| place.path(name));
        let [made, inside] = [made.display(), inside.display()];
        daemon
            .args([
                "--blockdev",
                &format!("file,filename={made},node-name=file,read-only=on"),
            ])
            .args([
                "--blockdev",
                &format!("{format},file=file,node-name=disk,read-only=on"),
            ])
            .args([
                "--export",
                &format!("fuse,id=it,node-name=disk,mountpoint={inside},writable=off"),
            ]);
        let daemon = daemon.spawn().expect("it starts");
        let exported = Self { place, daemon };
        for _ in 0..500 {
            if fs::metadata(place.path("inside")).is_ok_and(|found| found.len() > 0) {
                return exported;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("qemu-storage-daemon shows nothing");
    }
}

impl Drop for Exported<'_> {
    fn drop(&mut self) {
        // By a signal it unmounts and ends.
        let asked = Command::new("kill")
            .arg(self.daemon.id().to_string())
            .status();
        assert!(asked.is_ok_and(|status| status.success()), "it is there");
        let ended = self.daemon.wait();
        assert!(ended.is_ok(), "{}", self.place.path("inside").display());
    }
}

/// Images with much in them: what they are called, and how they are made of what `source` names.
const RICH: [(&str, &str); 4] = [
    (
        "the torture tree",
        "--keep-root -N 20000 -d SOURCE --size auto",
    ),
    (
        "the torture tree in small blocks",
        "-b 1024 -N 20000 -d SOURCE --size 700M",
    ),
    ("an empty image", "--size 64M"),
    ("1 TiB", "-d root --size 1T"),
];

/// What a wide run puts into an image as well: the directory that it names.
const ROOTFS: &str = "MKE4FS_TEST_ROOTFS";

#[test]
fn the_kernel_shows_the_same_through_every_container() {
    if !programs() || !ready(&[Need::Root]) {
        return;
    }
    let scratch = Scratch::new(2 << 30).expect("an ext4");
    let tree = scratch.path().join("tree");
    let options = torture::Options {
        longest_symlink: 1023,
        ..torture::Options::default()
    };
    torture::build(&tree, &options).expect("the torture tree");
    let place = place();
    let cases = RICH.iter().take(if is_wide() { RICH.len() } else { 1 });
    for (name, words) in cases {
        let words = words.replace("SOURCE", &tree.display().to_string());
        show_all(&place, name, &words);
    }
    if let Some(rootfs) = std::env::var_os(ROOTFS).filter(|_| is_wide()) {
        let words = format!("-d {} --size auto", Path::new(&rootfs).display());
        show_all(&place, "a root filesystem", &words);
    }
    torture::teardown(&tree).expect("it goes");
}

/// Makes an image in every format, and compares what the kernel shows of it.
fn show_all(place: &Place, name: &str, words: &str) {
    make(place, &format!("-q -F {words} raw"));
    let expected = mount_ro(&place.path("raw"), Snapshot::take);
    let expected = expected.expect("it mounts").expect("it can be read");
    for (format, known) in FORMATS {
        let is_long = name == "1 TiB";
        let Some(qemu) = known else {
            if !is_long {
                make(place, &format!("-q -F {words} --format {format} made"));
                check(place, "made", known);
            }
            continue;
        };
        make(place, &format!("-q -F {words} --format {format} made"));
        // To qemu-img, a block of a VHDX that reads as zeros is data: it would read 1 TiB of them.
        if !(is_long && qemu == "vhdx") {
            check(place, "made", known);
        }
        let exported = Exported::new(place, qemu);
        let found = mount_ro(&place.path("inside"), Snapshot::take);
        drop(exported);
        let found = found.expect("it mounts").expect("it can be read");
        assert!(expected == found, "{name} as {format}");
        let entries = found.entries.len();
        tools::report(&format!(
            "{name} as {format}: {entries} paths, no difference"
        ));
    }
    fs::remove_file(place.path("raw")).expect("it goes");
}

#[test]
fn a_file_that_was_there_is_replaced() {
    if !programs() {
        return;
    }
    let place = place();
    make(&place, "-q -d root raw 64M");
    for (format, name) in FORMATS {
        making::fill_with_junk(&place.path("made"), 70 << 20).expect("a file of junk");
        let words = format!("-q -d root --format {format} made 64M");
        // It may be somebody's.
        let said = place.shell(&format!("mke4fs {words}"));
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("use -F to overwrite it"), "{said}");
        make(&place, &format!("-F {words}"));
        check(&place, "made", name);
    }
}

/// Writes an Android sparse image over what is in `target`, as who flashes it does.
fn flash(image: &Path, target: &File) {
    let bytes = fs::read(image).expect("it is there");
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let block = usize::try_from(word(12)).expect("it is small");
    let (mut at, mut place) = (28, 0);
    for _ in 0..word(20) {
        let blocks = usize::try_from(word(at + 4)).expect("it is small");
        let data = match &bytes[at..at + 2] {
            b"\xc1\xca" => bytes[at + 12..][..blocks * block].to_vec(),
            b"\xc2\xca" => bytes[at + 12..at + 16].repeat(blocks * block / 4),
            b"\xc3\xca" => Vec::new(),
            other => panic!("a chunk of {other:?}"),
        };
        target.write_all_at(&data, place).expect("it is written");
        place += u64::try_from(blocks * block).expect("it is small");
        at += usize::try_from(word(at + 8)).expect("it is small");
    }
    assert_eq!(at, bytes.len(), "nothing follows the last chunk");
}

#[test]
fn only_what_is_free_keeps_what_was_there_before() {
    if !programs() || !ready(&[Need::Root]) {
        return;
    }
    let place = place();
    for words in [
        "-b 4096",
        "-b 1024 -O ^has_journal",
        "-O bigalloc",
        "-t ext2",
    ] {
        make(&place, &format!("-q -F -d root {words} --bmap map raw 64M"));
        make(
            &place,
            &format!("-q -F -d root {words} --format simg made 64M"),
        );
        let image = place.path("image");
        making::fill_with_junk(&image, 64 << 20).expect("a file of junk");
        let target = File::options().write(true).open(&image).expect("it opens");
        flash(&place.path("made"), &target);
        compare_with_root(&place, words);
        // bmaptool writes over what is there too.
        making::fill_with_junk(&image, 64 << 20).expect("a file of junk");
        shell(
            &place,
            "cp raw holes; bmaptool copy --bmap map holes out; cmp out raw",
        );
        shell(&place, "cp raw holes; bmaptool copy --bmap map holes image");
        compare_with_root(&place, words);
        fs::remove_file(place.path("raw")).expect("it goes");
    }
}

/// The image passes e2fsck and shows the files of `root`.
fn compare_with_root(place: &Place, told: &str) {
    e2fsck(&place.path("image"), Which::Reference).unwrap_or_else(|said| panic!("{told}: {said}"));
    place.look(|shown| {
        let mut diff = Command::new("diff");
        diff.args(["-r", "-x", "lost+found"])
            .arg(place.path("root"))
            .arg(shown);
        tools::run(&mut diff).unwrap_or_else(|said| panic!("{told}: {said}"));
    });
}

#[test]
fn the_verity_tree_is_the_one_that_veritysetup_makes() {
    if !programs() {
        return;
    }
    let place = place();
    for (words, size) in [
        ("-b 1024", "4097k"),
        ("-b 1024", "64M"),
        ("-b 2048 -O ^has_journal", "33M"),
        ("-b 4096", "64M"),
        ("-b 4096 -t ext2", "300M"),
        ("-b 65536 -F", "200M"),
    ] {
        let source = if size == "4097k" { "" } else { "-d root" };
        let words = format!("{words} {source}");
        shell(&place, "rm -f raw whole tree hash other");
        make(&place, &format!("-q {words} raw {size}"));
        let told = make(
            &place,
            &format!("--json {words} --verity=tree --root-hash-file hash whole {size}"),
        );
        let told: Value = serde_json::from_str(&told).expect("it is JSON");
        let salt = told["verity_salt"].as_str().expect("it is told");
        let uuid = told["verity_uuid"].as_str().expect("it is told");
        // veritysetup takes whole blocks of a file.
        shell(
            &place,
            "cp raw padded; truncate -s %4096 padded; cmp padded whole",
        );
        shell(
            &place,
            &format!(
                "veritysetup format padded other --salt={salt} --uuid={uuid} --root-hash-file theirs; \
                 cmp tree other; cmp hash theirs; veritysetup verify padded tree $(cat hash)"
            ),
        );
        assert_eq!(
            told["root_hash"].as_str(),
            Some(shell(&place, "cat theirs").as_str())
        );
        // Behind the filesystem, it is the same.
        fs::remove_file(place.path("whole")).expect("it goes");
        let appended = make(&place, &format!("--json {words} --verity whole {size}"));
        let appended: Value = serde_json::from_str(&appended).expect("it is JSON");
        assert_eq!(appended["root_hash"], told["root_hash"]);
        shell(&place, "cat padded tree | cmp - whole");
        for flipped in [1080, 5000, 2_000_000, -3, -4096] {
            flip(&place.path("whole"), flipped);
            let offset = appended["hash_offset"].as_u64().expect("it is told");
            let line = format!("veritysetup verify whole whole $(cat hash) --hash-offset={offset}");
            // The last bytes of the tree's last block are no hash where it is not full.
            let is_found = !place.shell(&line).status.success();
            assert!(is_found || flipped == -3, "{words}: {flipped}");
            flip(&place.path("whole"), flipped);
            assert!(place.shell(&line).status.success(), "{words}: {flipped}");
        }
    }
}

#[test]
fn the_kernel_verifies_what_it_reads() {
    if !programs() || !ready(&[Need::Machine]) {
        return;
    }
    let place = place();
    let sum = |directory: &str| {
        format!("cd {directory}; find . -type f | sort | xargs cat | sha256sum; cd /; ")
    };
    let files = shell(&place, &sum("root"));
    // The kernel mounts no blocks that are smaller than those of dm-verity.
    for (words, size, is_mounted) in [
        ("-b 4096 -O ^has_journal", "40M", true),
        ("-b 1024", "24M", false),
    ] {
        shell(&place, "rm -f whole");
        let told = make(
            &place,
            &format!("--json -d root --verity {words} whole {size}"),
        );
        let told: Value = serde_json::from_str(&told).expect("it is JSON");
        let hash = told["root_hash"].as_str().expect("it is told");
        let offset = told["hash_offset"].as_u64().expect("it is told");
        let bytes = told["data_blocks"].as_u64().expect("it is told") * 4096;
        let disk = shell(&place, &format!("head -c {bytes} whole | sha256sum"));
        shell(&place, "cp whole flipped");
        flip(
            &place.path("flipped"),
            i64::try_from(bytes / 3).expect("it is small"),
        );
        let open = |name: &str, disk: &str| {
            format!("veritysetup open --hash-offset={offset} {disk} {name} {disk} {hash}\n")
        };
        let mut script = open("whole", "/dev/vda") + "sha256sum </dev/mapper/whole\n";
        if is_mounted {
            script += "mount -t ext4 -o ro,noload /dev/mapper/whole /mnt\n";
            script += &sum("/mnt");
        }
        // Whoever reads a bit that is another is told.
        script += &open("flipped", "/dev/vdb");
        script += "if cat /dev/mapper/flipped >/dev/null; then echo missed; else echo caught; fi\n";
        let disks = ["whole", "flipped"].map(|name| place.path(name));
        let said = machine::run(&disks.each_ref().map(|path| path.as_path()), &script);
        let said = said.expect("the machine runs");
        assert!(said.contains(disk.trim()), "{words}: {said}");
        assert!(
            !is_mounted || said.contains(files.trim()),
            "{words}: {said}"
        );
        assert!(said.contains("caught"), "{words}: {said}");
        tools::report(&format!(
            "{words}: dm-verity reads {bytes} bytes as they were written"
        ));
    }
}

/// Flips a bit at `place`, from the end where it is negative.
fn flip(path: &Path, place: i64) {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("it opens");
    let length = file.metadata().expect("it is there").len();
    let at = match u64::try_from(place) {
        Ok(place) => place,
        Err(_) => length - place.unsigned_abs(),
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is read");
    byte[0] ^= 4;
    file.write_all_at(&byte, at).expect("it is written");
}

#[test]
fn old_data_on_a_device_is_hashed_as_it_is() {
    if !programs() {
        return;
    }
    let place = place();
    // An offset leaves the file as it is, and so does what is given no content.
    for words in [
        "-E nodiscard",
        "-E nodiscard,offset=1048576",
        "-b 1024 -E nodiscard",
    ] {
        making::fill_with_junk(&place.path("disk"), 70 << 20).expect("a file of junk");
        let told = make(&place, &format!("--json -F {words} --verity disk 32M"));
        let told: Value = serde_json::from_str(&told).expect("it is JSON");
        let hash = told["root_hash"].as_str().expect("it is told");
        let offset = told["hash_offset"].as_u64().expect("it is told");
        let start = if words.contains("offset") { 256 } else { 0 };
        shell(
            &place,
            &format!(
                "dd if=disk of=part bs=4096 skip={start} status=none; \
                 veritysetup verify part part {hash} --hash-offset={offset}"
            ),
        );
    }
}

#[test]
fn standard_output_gets_the_raw_image() {
    if !programs() {
        return;
    }
    let place = place();
    shell(&place, "tar -C root -cf tar . && gzip -k tar");
    for source in ["-d root", "-d tar", "-d tar.gz", ""] {
        for words in ["64M", "-b 1024 64M", "-E offset=4194304 60M"] {
            let (words, size) = words.rsplit_once(' ').unwrap_or(("", words));
            make(&place, &format!("-q {source} {words} raw {size}"));
            for threads in [1, 5] {
                shell(
                    &place,
                    &format!(
                        "SOURCE_DATE_EPOCH=1 mke4fs -q {FIXED} --threads {threads} {source} {words} - {size} \
                         | cmp - raw"
                    ),
                );
            }
            fs::remove_file(place.path("raw")).expect("it goes");
        }
    }
    for name in ["tar", "tar.gz"] {
        shell(
            &place,
            &format!("SOURCE_DATE_EPOCH=1 mke4fs -q {FIXED} -d - raw 64M <{name}"),
        );
        shell(
            &place,
            &format!("SOURCE_DATE_EPOCH=1 mke4fs -q {FIXED} -d - - 64M <{name} | cmp - raw"),
        );
        fs::remove_file(place.path("raw")).expect("it goes");
    }
    make(&place, "-q -d root --verity raw 64M");
    shell(
        &place,
        &format!("SOURCE_DATE_EPOCH=1 mke4fs -q {FIXED} -d root --verity - 64M | cmp - raw"),
    );
}

#[test]
fn whoever_stops_reading_ends_it_quietly() {
    let place = place();
    let output = place.shell("(mke4fs -d root - 64M || echo $? >status) | head -c 1M >front");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(shell(&place, "cat status"), "1\n");
    let said = place.shell("mke4fs -d root - 64M >/dev/full");
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.ends_with("No space left on device\n"), "{said}");
}

/// Command lines that make no sense, and what is said of them.
const REFUSED: [(&str, &str); 22] = [
    (
        "--format vdi image 64M",
        "invalid format 'vdi': must be raw, qcow2, vhdx, vhd, vhd,dynamic or simg",
    ),
    ("--format vhd image 3T", "VHD holds at most 2040 GiB"),
    (
        "--format vhd,dynamic image 3T",
        "VHD holds at most 2040 GiB",
    ),
    (
        "--format vhdx -O 64bit image 65T",
        "VHDX holds at most 65536 GiB",
    ),
    (
        "--format simg -O 64bit image 17T",
        "an Android sparse image holds at most 16383 GiB",
    ),
    (
        "--compress zlib image 64M",
        "--compress needs --format qcow2",
    ),
    (
        "--format vhdx --compress zlib image 64M",
        "--compress needs --format qcow2",
    ),
    (
        "--format qcow2 --compress lzma image 64M",
        "invalid compression 'lzma'",
    ),
    (
        "--format qcow2 - 64M",
        "standard output as OUTPUT cannot be combined with --format",
    ),
    (
        "--bmap map - 64M",
        "standard output as OUTPUT cannot be combined with --bmap",
    ),
    (
        "-z undo - 64M",
        "standard output as OUTPUT cannot be combined with -z",
    ),
    (
        "--size keep -",
        "standard output as OUTPUT cannot be combined with --size keep",
    ),
    (
        "--format qcow2 -z undo image 64M",
        "--format cannot be combined with -z",
    ),
    (
        "--format qcow2 --size keep image",
        "--format cannot be combined with --size keep",
    ),
    (
        "--format qcow2 --bmap map image 64M",
        "--bmap describes a raw image",
    ),
    (
        "--format qcow2 -S image 64M",
        "-S writes into a filesystem that is there",
    ),
    (
        "--verity -O journal_dev image 64M",
        "-O journal_dev makes no filesystem",
    ),
    (
        "--verity-salt 00 image 64M",
        "--verity-salt, --verity-uuid and --root-hash-file need --verity",
    ),
    ("--verity --verity-salt 0g image 64M", "invalid salt '0g'"),
    (
        "--verity -b 4096 -E offset=1024 image 64M",
        "--verity needs an offset that is a multiple of 4096 bytes",
    ),
    (
        "--format qcow2 -E offset=512 image 64M",
        "needs an offset that is a multiple of the block size",
    ),
    (
        "--verity=image image 64M",
        "image is both the verity tree and the output",
    ),
];

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let place = Place::new();
    for (line, expected) in REFUSED {
        let said = place.refusal(&format!("mke4fs {line}"));
        assert!(said.contains(expected), "{line}: {said}");
        assert_eq!(said.lines().count(), 1, "{line}: {said}");
    }
    let names = fs::read_dir(place.path("")).expect("it is listed").count();
    assert_eq!(names, 1, "nothing but root is there");
}

#[test]
fn a_name_that_promises_a_format_is_warned_of() {
    let place = Place::new();
    for name in ["a.qcow2", "a.vhdx", "a.VHD"] {
        let said = place.shell(&format!("mke4fs -q {name} 2M"));
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let expected = format!("warning: {name} will be a raw image despite its name");
        assert!(said.contains(&expected), "{said}");
    }
    let said = place.shell("mke4fs -q -b 1024 --verity verity 8M");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("warning: the kernel cannot mount blocks of 1024 bytes"),
        "{said}"
    );
    let said = place.shell("mke4fs -q --format raw b.qcow2 2M; mke4fs -q --format qcow2 c.vhd 2M");
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
}

#[test]
fn mke2fs_makes_android_sparse_images_too() {
    if !programs() {
        return;
    }
    let place = place();
    shell(&place, "ln -s $(command -v mke4fs) mkfs.ext4");
    let words = "-q -U 01234567-89ab-4def-8123-456789abcdef -d root -O ^has_journal";
    let seed = "hash_seed=fedcba98-7654-4210-bedc-ba9876543210";
    shell(
        &place,
        &format!(
            "export SOURCE_DATE_EPOCH=1; ./mkfs.ext4 {words} -E {seed} raw 64M; \
             ./mkfs.ext4 {words} -E {seed},android_sparse made 64M; \
             ./mkfs.ext4 {words} -E {seed},android_sparse=1 valued 64M; cmp made valued"
        ),
    );
    check(&place, "made", None);
    // To mke2fs, a hyphen is a name.
    shell(&place, "./mkfs.ext4 -q - 2M; test -s ./-");
}

#[test]
fn a_stream_of_the_library_is_the_image() {
    let plan = builder().plan().expect("it fits");
    let stream = Stream::new(plan.size_bytes(), Vec::new());
    plan.write_to(&stream).expect("it is written");
    let streamed = stream.finish().expect("it is whole");
    assert!(streamed == plan.to_vec().expect("it is made"));
    let mut pieces = Vec::new();
    let ordered = Ordered::new(plan.size_bytes(), |piece| {
        match piece {
            Piece::Data(data) => pieces.extend_from_slice(data),
            Piece::Hole(length) => {
                pieces.resize(pieces.len() + usize::try_from(length).unwrap(), 0)
            }
        }
        Ok(())
    });
    plan.write_to(&ordered).expect("it is written");
    ordered.finish().expect("it is whole");
    assert!(streamed == pieces);
}

/// What the library makes of the same tree each time.
fn builder() -> Builder {
    let mut tree = Tree::default();
    tree.file("/file", torture::pattern(3 << 20))
        .expect("it is added");
    Builder::new()
        .uuid([7; 16])
        .hash_seed([9; 16])
        .environment(making::memory_host())
        .source(tree)
        .size_bytes(32 << 20)
}

#[test]
fn the_library_writes_every_format() {
    if !programs() {
        return;
    }
    let place = Place::new();
    let raw = builder().to_vec().expect("it is made");
    fs::write(place.path("raw"), raw).expect("it is written");
    let formats = [
        Format::Qcow2(Compression::None),
        Format::Qcow2(Compression::Zlib),
        Format::Qcow2(Compression::Zstd),
        Format::Vhdx,
        Format::Vhd,
        Format::VhdDynamic,
        Format::AndroidSparse,
    ];
    for (format, (_, known)) in formats.into_iter().zip(FORMATS) {
        let path = place.path("made");
        making::fill_with_junk(&path, 40 << 20).expect("a file of junk");
        let summary = builder()
            .format(format)
            .write_file(&path)
            .expect("it is made");
        assert_eq!(summary.size_bytes, 32 << 20);
        check(&place, "made", known);
        let first = fs::read(&path).expect("it is there");
        let plan = builder().format(format).plan().expect("it fits");
        plan.write_file(&path).expect("it is made");
        assert!(first == fs::read(&path).expect("it is there"), "{format:?}");
        // There is no file that could have a format.
        let told = plan.to_vec().expect_err("it is refused").to_string();
        assert!(told.contains("needs a regular file"), "{told}");
        let file = File::create_new(place.path("open")).expect("a file");
        let told = builder().format(format).write_open_file(file);
        assert!(told.is_err(), "{format:?}");
        fs::remove_file(place.path("open")).expect("it goes");
        let told = builder()
            .format(format)
            .write_to(&mke4fs::Memory::new(32 << 20));
        assert!(told.is_err(), "{format:?}");
    }
    // By mke2fs's name of it, too.
    let sparse = builder().with(|options| options.extended("android_sparse"));
    sparse.write_file(place.path("made")).expect("it is made");
    check(&place, "made", None);
}

/// Forms of an output, and the bytes at a place by which each is known as finished.
const NAMED: [(&str, usize, &[u8]); 8] = [
    ("--format qcow2", 0, b"QFI\xfb"),
    ("--format qcow2 --compress zlib", 0, b"QFI\xfb"),
    ("--format qcow2 --compress zstd", 0, b"QFI\xfb"),
    ("--format vhdx", 0, b"vhdxfile"),
    ("--format vhd", 1080, b"\x53\xef"),
    ("--format vhd,dynamic", 0, b"conectix"),
    ("--format simg", 0, b"\x3a\xff\x26\xed"),
    ("--verity", 1080, b"\x53\xef"),
];

/// How often each form's run is killed, and how many sizes its disk has: MKE4FS_TEST_KILLS, or 3.
fn rounds() -> u32 {
    let asked = std::env::var("MKE4FS_TEST_KILLS").ok();
    asked.map_or(3, |text| text.parse().expect("a number"))
}

#[test]
fn a_killed_run_leaves_nothing_that_is_of_a_format() {
    let place = place();
    let (mut begun, mut finished) = (0, 0);
    for (form, at, magic) in NAMED {
        let words = format!("-q -F -d root --size 64M {form}");
        let before = Instant::now();
        make(&place, &format!("{words} whole"));
        let takes = before.elapsed();
        let whole = fs::read(place.path("whole")).expect("it is there");
        for round in 0..rounds() {
            let line = format!("exec env SOURCE_DATE_EPOCH=1 mke4fs {FIXED} {words} made");
            let mut running = place.start(&line);
            thread::sleep(takes * (round * 2 + 1) / (rounds() * 2));
            running.kill().expect("it is ours");
            running.wait().expect("it is ours");
            let left = fs::read(place.path("made")).unwrap_or_default();
            begun += u32::from(!left.is_empty());
            if left.get(at..at + magic.len()) == Some(magic) {
                finished += 1;
                assert!(left == whole, "{form}, killed {round} of {}", rounds());
            }
            let _ = fs::remove_file(place.path("made"));
        }
    }
    assert!(begun > 0, "no run was killed while it wrote");
    tools::report(&format!(
        "{} runs of containers killed, {begun} of them while writing or later, {finished} finished",
        rounds() * u32::try_from(NAMED.len()).expect("they are few")
    ));
}

#[test]
fn a_full_disk_leaves_nothing() {
    if !ready(&[Need::Root]) {
        return;
    }
    let place = place();
    place.directory("disk");
    let mut full = 0;
    for (form, _, _) in NAMED {
        let words = format!("-q -d root --size 64M {form}");
        shell(&place, "rm -f whole");
        make(&place, &format!("{words} whole"));
        let whole = fs::metadata(place.path("whole")).expect("it is there");
        // The host may have counted a block of its own.
        let most = (whole.blocks() * 512).saturating_sub(8192);
        for round in 0..u64::from(rounds()) {
            // From one page on up to nearly all.
            let bytes = (most * round / u64::from(rounds())).next_multiple_of(4096);
            let bytes = bytes.max(4096);
            shell(&place, &format!("mount -t tmpfs -o size={bytes} none disk"));
            let said = place.shell(&format!("mke4fs {words} disk/made"));
            let left = fs::read_dir(place.path("disk"))
                .expect("it is listed")
                .count();
            unmount(&place.path("disk")).expect("it can be unmounted");
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            assert_eq!(said.status.code(), Some(1), "{form}, {bytes}: {text}");
            assert!(text.contains("No space left"), "{form}, {bytes}: {text}");
            assert_eq!(left, 0, "{form}, {bytes}");
            full += 1;
        }
    }
    tools::report(&format!("{full} full disks, and nothing left on any"));
}
