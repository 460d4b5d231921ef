//! Given the programs in `examples/`, runs each as a user would; never looks at their source.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use mke4fs::check;
use mke4fs::check::ImageFile;

/// The example `name`, built: cargo does that for a whole run of the tests, and here for one of them.
fn example(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--locked",
                "--profile",
                "test",
                "--examples",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.expect("cargo runs").success());
        let this = std::env::current_exe().expect("it is known");
        let profile = this.ancestors().nth(2).expect("it is in deps");
        profile.join("examples")
    });
    Command::new(directory.join(name))
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let input = input.to_vec();
    let writing = std::thread::spawn(move || {
        // Whoever reads none of it may be gone by now.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("it ends");
    writing.join().expect("it does not panic");
    output
}

fn said(command: &mut Command, input: &[u8]) -> String {
    let output = run(command, input);
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("it is text")
}

fn assert_clean(image: &Path) {
    let report = check(&ImageFile::open(image).expect("it is there"));
    assert!(
        report.is_clean(),
        "{}: {:?}",
        image.display(),
        report.findings
    );
}

/// The member `name` of an archive as old tar writes it.
fn member(name: &str, data: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header.extend_from_slice(data);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

#[test]
fn an_empty_image_is_in_memory() {
    assert_eq!(said(&mut example("empty"), b""), "67108864 bytes\n");
}

#[test]
fn a_directory_becomes_an_image_unless_it_is_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let image = directory.path().join("image");
    said(example("directory").arg("src").arg(&image), b"");
    assert_clean(&image);
    let stopped = directory.path().join("stopped");
    let large = directory.path().join("large");
    let file = fs::File::create(&large).expect("it can be created");
    let mut zeros = std::io::repeat(1).take(64 << 20);
    std::io::copy(&mut zeros, &mut &file).expect("it is written");
    let output = run(
        example("directory").arg(directory.path()).arg(&stopped),
        b"stop\n",
    );
    assert!(!output.status.success() && !stopped.exists());
}

#[test]
fn a_tree_by_hand_has_what_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let images = ["one", "two"].map(|name| directory.path().join(name));
    for image in &images {
        said(example("by_hand").arg(image), b"");
        assert_clean(image);
    }
    let file = ImageFile::open(&images[0]).expect("it is there");
    let filesystem = mke4fs::read::Filesystem::open(&file).expect("it is one");
    assert_eq!(filesystem.superblock().uuid(), *b"0123456789abcdef");
}

#[test]
fn a_zip_is_uncompressed_when_its_turn_comes() {
    let directory = tempfile::tempdir().expect("a directory");
    let data: Vec<u8> = (0..4_000_000_u32)
        .flat_map(|i| (i / 7).to_le_bytes())
        .collect();
    let mut packed = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut packed);
    for (name, method) in [
        ("d/stored", rawzip::CompressionMethod::STORE),
        ("d/e/deflated", rawzip::CompressionMethod::DEFLATE),
    ] {
        let file = archive.new_file(name).compression_method(method);
        let (mut entry, config) = file.start().expect("it begins");
        if method == rawzip::CompressionMethod::STORE {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(&data).expect("it is written");
            let (_, descriptor) = writer.finish().expect("it ends");
            entry.finish(descriptor).expect("it ends");
        } else {
            let level = flate2::Compression::fast();
            let encoder = flate2::write::DeflateEncoder::new(&mut entry, level);
            let mut writer = config.wrap(encoder);
            writer.write_all(&data).expect("it is written");
            let (encoder, descriptor) = writer.finish().expect("it ends");
            encoder.finish().expect("it ends");
            entry.finish(descriptor).expect("it ends");
        }
    }
    archive.finish().expect("it ends");
    let (zip, image) = (directory.path().join("zip"), directory.path().join("image"));
    fs::write(&zip, packed).expect("it is written");
    said(example("zip").arg(&zip).arg(&image), b"");
    assert_clean(&image);
    let file = ImageFile::open(&image).expect("it is there");
    let filesystem = mke4fs::read::Filesystem::open(&file).expect("it is one");
    for path in ["/d/stored", "/d/e/deflated"] {
        let read = filesystem.read(path).expect("it is read");
        assert!(read == data, "{path}");
    }
}

#[test]
fn a_tar_archive_comes_with_and_without_a_size() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = member("a", &[7; 100_000]);
    archive.extend(member("b", b"text"));
    archive.resize(archive.len() + 1024, 0);
    for size in [None, Some("24M")] {
        let image = directory.path().join(size.unwrap_or("any"));
        let mut command = example("tar");
        command.arg(&image).args(size);
        assert_eq!(said(&mut command, &archive), "2 files\n");
        assert_clean(&image);
        let length = fs::metadata(&image).expect("it is there").len();
        assert!(size.is_none() || length == 24 << 20);
    }
    let left = fs::read_dir(directory.path()).expect("it is there").count();
    assert_eq!(left, 2);
}

#[test]
fn an_image_is_hashed_in_order() {
    let tree = tempfile::tempdir().expect("a directory");
    fs::write(tree.path().join("file"), [7; 70_000]).expect("it is written");
    let image = mke4fs::Builder::new()
        .reproducible()
        .source(mke4fs::Directory::new(tree.path()))
        .to_vec()
        .expect("it is made");
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&image);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let said = said(example("hash").arg(tree.path()), b"");
    let (found, holes) = said.split_once(' ').expect("two words");
    assert_eq!(found, hex);
    let holes = holes.trim_end().trim_end_matches(" bytes of holes");
    let holes: usize = holes.parse().expect("a number");
    let zeros = image.iter().filter(|byte| **byte == 0).count();
    assert!(holes > 0 && holes <= zeros);
}

#[test]
fn trees_by_chance_become_sound_images() {
    said(&mut example("fuzz"), b"");
}

#[test]
fn a_check_tells_what_is_wrong() {
    let directory = tempfile::tempdir().expect("a directory");
    let image = directory.path().join("image");
    let mut bytes = mke4fs::Builder::new()
        .size_bytes(16 << 20)
        .to_vec()
        .expect("it is made");
    fs::write(&image, &bytes).expect("it is written");
    assert_eq!(said(example("check").arg(&image), b""), "0 findings\n");
    bytes[1024 + 0x0c] ^= 1;
    fs::write(&image, &bytes).expect("it is written");
    let said = said(example("check").arg(&image), b"");
    assert!(said.lines().count() > 1, "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_container_image_gets_a_file_and_other_owners() {
    use crate::common::image::{Layout, Tar};

    let directory = tempfile::tempdir().expect("a directory");
    let image = directory.path().join("image");
    let layer = Tar::new()
        .dir("etc", 0o755)
        .file("etc/name", b"box")
        .bytes();
    let layout = Layout::of(&[layer]).expect("a layout");
    let arguments = [layout.path(), Path::new("Cargo.toml"), &image];
    let output = said(example("oci").args(arguments), b"");
    let json: serde_json::Value = serde_json::from_str(&output).expect("it is JSON");
    assert_eq!((&json["type"], &json["files"]), (&"ext4".into(), &2.into()));
    assert_clean(&image);
    let file = ImageFile::open(&image).expect("it is there");
    let filesystem = mke4fs::read::Filesystem::open(&file).expect("it is one");
    assert_eq!(filesystem.read("/etc/name").expect("it is read"), b"box");
    let extra = fs::read("Cargo.toml").expect("it is there");
    assert_eq!(filesystem.read("/etc/extra").expect("it is read"), extra);
    let inode = filesystem.metadata("/etc/name").expect("it is there");
    assert_eq!((inode.uid(), inode.gid()), (100_000, 100_000));
}
