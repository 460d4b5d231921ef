//! Given archives and container images whose few bytes ask for the same work again and again, proves
//! that they take the steps that they have bytes and entries for, and give what they should.

use std::io::Read;

use crate::common::image::{Layout, Tar};
use mke4fs::source::Source;
use mke4fs::source::oci::Image;
use mke4fs::source::tar::{Archive, Input, Tar as Tape, Unpack};
use mke4fs::tree::{Kind, Metadata, NodeId, Tree};

use super::within;

struct Bytes<'a>(&'a [u8]);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Input for Bytes<'_> {}

/// Unpacks an archive within the budget; gives why it was refused, if it was.
fn unpacked(about: &str, archive: &[u8]) -> Option<String> {
    let entries = u64::try_from(archive.len() / 512).expect("a length");
    within(about, (archive.len(), entries), || unpack(archive).err())
}

fn unpack(archive: &[u8]) -> Result<(), String> {
    let mut tree = Tree::with_root(Metadata::default());
    let unpack = Unpack::new(&mut tree, NodeId::ROOT, Metadata::default());
    let mut unpack = unpack.map_err(|error| error.to_string())?;
    let mut archive = Archive::new(Bytes(archive));
    while let Some(entry) = archive.next_entry().map_err(|error| error.to_string())? {
        unpack
            .entry(entry, None)
            .map_err(|error| error.to_string())?;
    }
    unpack.finish().map_err(|error| error.to_string())?;
    tree.finish().map_err(|error| error.to_string())
}

/// An extended header of `records` before what follows it, or before all entries.
fn pax(kind: u8, records: &[(String, String)]) -> Vec<u8> {
    let mut body = String::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len();
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        body.push_str(&format!("{length}{rest}"));
    }
    let header = crate::common::image::Entry::new("pax", kind).content(body.as_bytes());
    let whole = Tar::new().entry(header).bytes();
    whole[..whole.len() - 1024].to_vec()
}

#[test]
fn chains_of_symbolic_links_end_as_in_the_kernel() {
    let up = "d/../".repeat(19);
    let mut tar = Tar::new().dir("d", 0o755).symlink("0", &format!("{up}d"));
    for link in 1..40 {
        tar = tar.symlink(&link.to_string(), &format!("{up}{}", link - 1));
    }
    for file in 0..500 {
        tar = tar.file(&format!("39/{file}"), b"");
    }
    let said = unpacked("a chain of links", &tar.bytes()).expect("there are too many names");
    assert!(said.contains("too many symbolic links"), "{said}");

    let mut tar = Tar::new().dir("d", 0o755).symlink("0", "d");
    for link in 1..40 {
        tar = tar.symlink(&link.to_string(), &format!("d/../{}", link - 1));
    }
    for file in 0..500 {
        tar = tar.file(&format!("39/{file}"), b"");
    }
    assert_eq!(unpacked("forty links", &tar.bytes()), None);
}

#[test]
fn records_for_all_entries_are_few() {
    let record = |number: u32| (format!("SCHILY.xattr.user.{number}"), String::new());
    let files = (0..500).fold(Tar::new(), |tar, file| tar.file(&file.to_string(), b""));
    let of = |many: u32| {
        let records: Vec<_> = (0..many).map(record).collect();
        [pax(b'g', &records), files.bytes()].concat()
    };
    assert_eq!(unpacked("some records for all", &of(12)), None);
    let said = unpacked("many records for all", &of(3000)).expect("they are too many");
    assert!(said.contains("must be at most 1024"), "{said}");
}

#[test]
fn names_of_attributes_are_as_many_as_linux_lists() {
    let record = |number: u32| (format!("SCHILY.xattr.user.{number}"), String::new());
    let of = |many: u32| {
        let records: Vec<_> = (0..many).map(record).collect();
        [pax(b'x', &records), Tar::new().file("f", b"").bytes()].concat()
    };
    let declared = |many: u32| {
        let mut tree = Tree::with_root(Metadata::default());
        let mut tar = Tape::from_reader(std::io::Cursor::new(of(many)), "t");
        let declared = tar.declare(&mut tree, NodeId::ROOT);
        declared.map_err(|error| error.to_string())
    };
    assert!(declared(5000).is_ok());
    let said = declared(7000).expect_err("they are too many");
    assert!(said.contains("must be at most 65536"), "{said}");
    unpacked("too many attributes", &of(7000));
}

#[test]
fn a_map_of_holes_has_no_more_ranges_than_data() {
    let map = "0,0,".repeat(200_000);
    let records = [
        ("GNU.sparse.map".to_owned(), map[..map.len() - 1].to_owned()),
        ("GNU.sparse.size".to_owned(), "0".to_owned()),
    ];
    let archive = [pax(b'x', &records), Tar::new().file("f", b"").bytes()].concat();
    let said = unpacked("empty ranges", &archive).expect("they are too many");
    assert!(said.contains("many more than its data"), "{said}");
}

/// Declares an image within the budget.
fn declared(about: &str, (layers, bytes, entries): (&[Vec<u8>], usize, u64)) -> Tree {
    let layout = Layout::of(layers).expect("a layout");
    let mut image = Image::layout(layout.path()).spool_in(layout.path());
    let mut tree = Tree::with_root(Metadata::default());
    within(about, (bytes, entries), || {
        image.declare(&mut tree, NodeId::ROOT).expect("an image");
    });
    tree.finish().expect("a whole tree");
    tree
}

fn files(many: u32) -> Tar {
    (0..many).fold(Tar::new(), |tar, file| tar.file(&format!("f{file}"), b""))
}

#[test]
fn a_layer_that_is_listed_a_thousand_times_is_laid_a_few_times() {
    let layer = files(1000).bytes();
    let bytes = layer.len();
    let tree = declared("one layer", (&vec![layer; 1024], bytes, 1000));
    assert_eq!(tree.len(), 1001);

    let (one, other) = (
        files(1000).bytes(),
        files(900).file(".wh.f950", b"").bytes(),
    );
    let bytes = one.len() + other.len();
    let layers: Vec<_> = [one, other].into_iter().cycle().take(1000).collect();
    let tree = declared("two layers in turn", (&layers, bytes, 1900));
    assert_eq!(tree.len(), 1000);
}

#[test]
fn a_layer_that_exchanges_two_names_does_so_each_time() {
    let base = Tar::new().file("a", b"1").file("b", b"22").bytes();
    let exchange = files(2000).link("t", "a").link("a", "b").link("b", "t");
    let exchange = exchange.bytes();
    for times in [201, 202] {
        let layers: Vec<_> = std::iter::once(base.clone())
            .chain(std::iter::repeat_n(exchange.clone(), times))
            .collect();
        let bytes = base.len() + exchange.len();
        let mut tree = declared("an exchange", (&layers, bytes, 2003));
        let a = tree.lookup(NodeId::ROOT, b"a").expect("a tree");
        let Kind::File(content) = &tree.node(a.expect("a name")).kind else {
            panic!("it is a file");
        };
        let expected = if times % 2 == 1 { 2 } else { 1 };
        assert_eq!(content.size_bytes(), expected, "{times}");
    }
}

#[test]
fn headers_hold_no_more_than_they_are_compressed_to() {
    use std::io::Write;
    let mut archive = Vec::new();
    for file in 0..800 {
        let value = format!("{file:08}{}", "x".repeat(60_000));
        archive.extend(pax(b'x', &[("SCHILY.xattr.user.a".to_owned(), value)]));
        let entry = Tar::new().file(&format!("f{file}"), b"").bytes();
        archive.extend(&entry[..512]);
    }
    archive.extend([0; 1024]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&archive).expect("memory");
    let packed = packed.finish().expect("memory");
    let declared = |bytes: Vec<u8>| {
        let mut tree = Tree::with_root(Metadata::default());
        let declared = Tape::from_reader(std::io::Cursor::new(bytes), "t")
            .declare(&mut tree, NodeId::ROOT)
            .map(drop);
        declared.map_err(|error| error.to_string())
    };
    assert_eq!(declared(archive), Ok(()));
    let said = declared(packed).expect_err("it holds too much");
    assert!(said.contains("unpack it first"), "{said}");
}
