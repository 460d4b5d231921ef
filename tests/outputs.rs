//! Given the ends of a builder and of a plan, proves what becomes of what an output held, and that none is
//! written over what it is made of; never what is in an image, which other modules prove.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::common::image as archive;
use mke4fs::read::ImageFile;
use mke4fs::source::image::Image;
use mke4fs::{
    Base, Builder, Content, Copy, Directory, Environment, Error, ErrorKind, Fit, Memory, Sparse,
    Tar, Tree, check,
};

const MIB: u64 = 1 << 20;

fn builder() -> Builder {
    Builder::new().environment(Environment::fixed(1_700_000_000))
}

fn by_hand() -> Builder {
    let mut tree = Tree::new();
    tree.file("/etc/motd", "welcome\n").expect("it is declared");
    builder().source(tree)
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn opened(path: &Path) -> File {
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false);
    file.open(path).expect("it is open")
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("it is there").len()
}

/// The causes of an error in one text.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A tar archive, plain and compressed, an image and a file that have something in them.
fn inputs(directory: &Path) {
    let tar = archive::Tar::new().file("file", &[b'x'; 4000]).bytes();
    fs::write(directory.join("t.tar"), &tar).expect("it is written");
    let gz = File::create(directory.join("t.tar.gz")).expect("a file");
    let mut gz = flate2::write::GzEncoder::new(gz, flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &tar).expect("it is written");
    gz.finish().expect("it is whole");
    by_hand()
        .write_file(directory.join("image"))
        .expect("it is made");
    fs::write(directory.join("data"), vec![b'd'; 100_000]).expect("it is written");
}

#[test]
fn no_image_is_written_over_what_it_is_made_of() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    inputs(directory.path());
    let data = || {
        let mut tree = Tree::new();
        let content = Content::from_path(at("data")).expect("it is a file");
        tree.file("/data", content).expect("it is declared");
        tree
    };
    let sources: [(&str, &dyn Fn() -> Builder); 5] = [
        ("t.tar", &|| builder().source(Tar::open(at("t.tar")))),
        ("t.tar.gz", &|| builder().source(Tar::open(at("t.tar.gz")))),
        ("image", &|| builder().source(Image::open(at("image")))),
        ("data", &|| builder().source(data())),
        ("data", &|| builder().sparse(Sparse::Never).source(data())),
    ];
    for (name, make) in sources {
        let before = fs::read(at(name)).expect("it is there");
        let link = at("another-name");
        fs::hard_link(at(name), &link).expect("it has two names");
        for output in [&at(name), &link] {
            let error = make().write_file(output).expect_err("it is its source");
            let said = told(&error);
            assert!(said.contains("it is the output, too"), "{name}: {said}");
            if name != "t.tar.gz" {
                let plan = make().plan().expect("nobody knows yet where it goes");
                let error = plan.write_file(output).expect_err("it is its source");
                assert_eq!(error.kind(), ErrorKind::OutputFailed, "{name}");
                let error = make().fit(Fit::Auto).write_open_file(opened(output));
                let said = told(&error.expect_err("it is its source"));
                assert!(said.contains("it is the output, too"), "{name}: {said}");
            }
            assert!(
                fs::read(at(name)).expect("it is there") == before,
                "{name} was written to"
            );
        }
        fs::remove_file(link).expect("it is there");
    }
}

#[test]
fn a_layout_s_own_files_are_no_output() {
    let directory = directory();
    let layout = directory.path().join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).expect("a directory");
    fs::write(layout.join("index.json"), "{}").expect("it is written");
    let source = mke4fs::ContainerImage::layout(&layout);
    let made = builder()
        .source(source)
        .write_file(layout.join("index.json"));
    let said = told(&made.expect_err("it is its source"));
    assert!(said.contains("it is the output, too"), "{said}");
    assert_eq!(
        fs::read(layout.join("index.json")).expect("it is there"),
        b"{}"
    );
}

#[test]
fn a_base_is_no_output() {
    let directory = directory();
    inputs(directory.path());
    let path = directory.path().join("image");
    let before = fs::read(&path).expect("it is there");
    let file = ImageFile::open(&path).expect("it is open");
    let base = Base::in_file(file, 0).expect("it is sound");
    let error = by_hand().base(base).write_file(&path);
    let said = told(&error.expect_err("it is the base"));
    assert!(said.contains("the base: it is the output, too"), "{said}");
    assert!(fs::read(&path).expect("it is there") == before);
}

#[test]
fn an_output_of_a_plan_in_its_source_is_not_written_over() {
    let directory = directory();
    let output = directory.path().join("disk.img");
    fs::write(&output, vec![1; 10_000]).expect("it is written");
    let plan = builder().source(Directory::new(directory.path())).plan();
    let error = plan.expect("it is planned").write_file(&output);
    let said = told(&error.expect_err("it is in its source"));
    assert!(said.contains("it is the output, too"), "{said}");
    assert!(fs::read(&output).expect("it is there") == vec![1; 10_000]);
    // A builder knows where the image goes, and leaves that out.
    let built = builder()
        .source(Directory::new(directory.path()))
        .write_file(&output);
    assert_eq!(built.expect("it is made").nodes.files, 0);
    let built = builder()
        .source(Copy::new(&output, "/copy"))
        .write_file(&output);
    assert!(built.is_err());
}

#[test]
fn an_image_behind_an_offset_ends_where_its_output_does() {
    let directory = directory();
    let path = directory.path().join("disk");
    let make = || by_hand().offset(MIB);
    opened(&path).set_len(64 * MIB).expect("it grows");
    let summary = make().write_open_file(opened(&path)).expect("it is made");
    assert_eq!(summary.size_bytes, 63 * MIB);
    assert_eq!(length(&path), 64 * MIB);

    let memory = Memory::new(64 * MIB);
    let summary = make().write_to(&memory).expect("it is made");
    assert_eq!(summary.size_bytes, 63 * MIB);
    let bytes = memory.into_bytes().expect("it fits");
    assert!(check(&bytes[1 << 20..]).is_clean());
    assert!(fs::read(&path).expect("it is there") == bytes);

    // No part of an image is where nothing is.
    let made = make().write_to(&Memory::new(MIB / 2));
    assert!(made.is_err());
}

#[test]
fn what_cannot_hold_an_image_is_refused_as_it_is() {
    let directory = directory();
    let path = directory.path().join("file");
    fs::write(&path, vec![3; 100_000]).expect("it is written");
    let mut options = File::options();
    let appending = options.read(true).append(true).open(&path);
    let error = by_hand().write_open_file(appending.expect("it is open"));
    let said = told(&error.expect_err("it writes to its end"));
    assert!(said.contains("not for appending"), "{said}");
    assert!(fs::read(&path).expect("it is there") == vec![3; 100_000]);

    let error = by_hand().write_open_file(File::open(directory.path()).expect("it is open"));
    let said = told(&error.expect_err("it is no file"));
    assert!(said.contains("must be a file or a block device"), "{said}");
}

/// A file that a plan is written to holds what one holds that its builder is written to.
#[test]
fn a_plan_replaces_what_its_builder_replaces() {
    let directory = directory();
    let path = directory.path().join("old");
    let old = || fs::write(&path, vec![0xD1; 50 << 20]).expect("it is written");
    let plan = by_hand().plan().expect("it is planned");
    let image = plan.to_vec().expect("it is made");
    old();
    plan.write_file(&path).expect("it is made");
    assert!(fs::read(&path).expect("it is there") == image);

    // Without content it is as mke2fs has it: what lies behind the filesystem stays.
    old();
    let plan = builder().size_bytes(MIB).plan().expect("it is planned");
    plan.write_file(&path).expect("it is made");
    assert_eq!(length(&path), 50 * MIB);
    // And what lies before one in a partition.
    old();
    let plan = by_hand().offset(MIB).size_bytes(20 * MIB).plan();
    plan.expect("it is planned")
        .write_file(&path)
        .expect("it is made");
    let bytes = fs::read(&path).expect("it is there");
    assert!(bytes[..1 << 20].iter().all(|byte| *byte == 0xD1));
    assert_eq!(bytes.len(), 50 << 20);
}

/// What can be read only in its order is read so, whatever is looked for in it.
#[test]
fn blocks_of_zeros_are_found_in_what_is_read_in_its_order() {
    let mut bytes = vec![1; 300_000];
    bytes[100_000..200_000].fill(0);
    let tree = |content: Content| {
        let mut tree = Tree::new();
        tree.file("/file", content).expect("it is declared");
        tree
    };
    let size = u64::try_from(bytes.len()).expect("it fits");
    let in_order = || {
        let bytes = bytes.clone();
        tree(Content::from_fn(size, move || {
            Ok(std::io::Cursor::new(bytes.clone()))
        }))
    };
    let forms: [fn() -> Builder; 3] = [
        || builder().sparse(Sparse::Always),
        || Builder::new().reproducible(),
        || builder().fit(Fit::Minimum).sparse(Sparse::Always),
    ];
    for make in forms {
        let held = make().source(tree(Content::from_bytes(bytes.clone())));
        let held = held.to_vec().expect("it is made");
        let made = make().source(in_order()).to_vec().expect("it is made");
        assert!(made == held);
    }
    // A size is too small, but not for what is no zeros.
    let zeros = |size| {
        tree(Content::from_fn(size, move || {
            Ok(std::io::repeat(0).take(size))
        }))
    };
    let made = builder().size_bytes(4 * MIB).source(zeros(16 * MIB));
    assert!(check(&made.to_vec().expect("it is a hole")).is_clean());
    let ones = Content::from_fn(16 * MIB, || Ok(std::io::repeat(1).take(16 * MIB)));
    let error = builder().size_bytes(4 * MIB).source(tree(ones)).to_vec();
    let error = error.expect_err("it is too much");
    assert!(matches!(error.kind(), ErrorKind::DoesNotFit { .. }));
}
