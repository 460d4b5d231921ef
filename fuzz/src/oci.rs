//! Given any bytes as a container image, or as what its layers hold, checks that it is refused or
//! gives a tree without whiteouts that is whole; touches one directory of its own and no other.

#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the tests write more kinds of images"
)]
#[path = "../../tests/common/image.rs"]
mod image;

use std::fs;
use std::num::NonZero;

use arbitrary::Arbitrary;
use mke4fs::source::Source;
use mke4fs::source::oci::Image;
use mke4fs::tree::{Kind, Metadata, NodeId, Tree};
use serde_json::json;

use image::{CONFIG, Entry, LAYER, Layout, MANIFEST, Tar, config, digest};

/// The largest file that is looked for: what a few hundred bytes can claim is endless.
const READ_MAX: u64 = 1 << 16;

#[derive(Arbitrary, Debug)]
enum Input {
    /// Layers of entries that are well written, whatever they say.
    Layers(Vec<Vec<Piece>>),
    /// The same in what `docker save` writes.
    Saved(Vec<Vec<Piece>>),
    /// A layer of any bytes.
    Layer(Vec<u8>),
    Index(Vec<u8>),
    Manifest(Vec<u8>),
    Config(Vec<u8>),
    SavedManifest(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Piece {
    name: Vec<Word>,
    target: Vec<Word>,
    kind: Type,
    content: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Type {
    File,
    Link,
    Symlink,
    Directory,
    Fifo,
}

/// A part of a path: few, so that they meet.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Word {
    A,
    B,
    C,
    Up,
    Here,
    Root,
    WhiteoutOfA,
    WhiteoutOfB,
    Opaque,
    Aufs,
    BareWhiteout,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::Up => "..",
            Self::Here => ".",
            Self::Root => "",
            Self::WhiteoutOfA => ".wh.a",
            Self::WhiteoutOfB => ".wh.b",
            Self::Opaque => ".wh..wh..opq",
            Self::Aufs => ".wh..wh.aufs",
            Self::BareWhiteout => ".wh.",
        }
    }
}

fn path(words: &[Word]) -> String {
    // What a header has room for.
    let words: Vec<&str> = words.iter().take(7).map(|word| word.text()).collect();
    words.join("/")
}

/// A path that no whiteout is on: what is implied on the way to a target would be called so.
fn target(words: &[Word]) -> String {
    let plain = |word: &&Word| !word.text().starts_with(".wh.");
    path(&words.iter().filter(plain).copied().collect::<Vec<_>>())
}

fn layer(pieces: &[Piece]) -> Vec<u8> {
    let add = |tar: Tar, piece: &Piece| {
        let kind = match piece.kind {
            Type::File => b'0',
            Type::Link => b'1',
            Type::Symlink => b'2',
            Type::Directory => b'5',
            Type::Fifo => b'6',
        };
        let entry = Entry::new(&path(&piece.name), kind).target(&target(&piece.target));
        tar.entry(match piece.kind {
            Type::File => entry.content(&vec![b'x'; usize::from(piece.content)]),
            _ => entry,
        })
    };
    pieces.iter().fold(Tar::new(), add).bytes()
}

/// Checks the image that `bytes` stand for.
pub fn run(bytes: &[u8]) {
    let Some(input) = super::value(bytes) else {
        return;
    };
    let layout = Layout::new().expect("a layout can be written");
    let place = layout.path();
    let image = match prepare(&layout, input) {
        Form::Layout => Image::layout(place),
        Form::Saved(tar) => {
            let path = place.join("saved");
            fs::write(&path, tar.bytes()).expect("an archive can be written");
            Image::docker_archive(path)
        }
    };
    let image = image.spool_in(place);
    let one = check(image.clone());
    for number in ["1", "2", "9"] {
        let layer = number.parse().expect("it is a number");
        let layer = image.clone().layer(Some(layer)).overlay_whiteouts(true);
        // It is refused, or a tree like any other.
        let _ = check(layer);
    }
    let more = NonZero::new(3).expect("three are some");
    assert_eq!(check(image.threads(more)), one);
}

enum Form {
    Layout,
    Saved(Tar),
}

/// Writes what `input` says, and whatever must be right for it to be looked at.
fn prepare(layout: &Layout, input: Input) -> Form {
    let blob = |kind: &str, bytes: &[u8]| layout.blob(kind, bytes).expect("a blob can be written");
    let image = match input {
        Input::Saved(layers) => return Form::Saved(saved(&layers)),
        Input::SavedManifest(bytes) => {
            return Form::Saved(Tar::new().file("manifest.json", &bytes));
        }
        Input::Index(bytes) => {
            fs::write(layout.path().join("index.json"), bytes).expect("a file can be written");
            return Form::Layout;
        }
        Input::Layers(layers) => {
            let layers: Vec<Vec<u8>> = layers.iter().map(|it| layer(it)).collect();
            layout.image(&layers).expect("an image can be written")
        }
        Input::Layer(bytes) => layout.image(&[bytes]).expect("an image can be written"),
        Input::Manifest(bytes) => blob(MANIFEST, &bytes),
        Input::Config(bytes) => {
            let (config, layer) = (blob(CONFIG, &bytes), blob(LAYER, &[0; 1024]));
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
            blob(MANIFEST, manifest.to_string().as_bytes())
        }
    };
    layout.index(&[image]).expect("an index can be written");
    Form::Layout
}

fn saved(layers: &[Vec<Piece>]) -> Tar {
    let layers: Vec<Vec<u8>> = layers.iter().map(|it| layer(it)).collect();
    let ids: Vec<String> = layers.iter().map(|it| digest(it)).collect();
    let paths: Vec<String> = (0..layers.len())
        .map(|at| format!("{at}/layer.tar"))
        .collect();
    let manifest = json!([{"Config": "config", "RepoTags": null, "Layers": paths}]);
    let documents = Tar::new()
        .file("manifest.json", manifest.to_string().as_bytes())
        .file("config", config(&ids).to_string().as_bytes());
    let all = paths.iter().zip(&layers);
    all.fold(documents, |tar, (path, bytes)| tar.file(path, bytes))
}

/// What a tree holds, or why there is none.
fn check(mut image: Image) -> Result<Vec<String>, String> {
    let mut tree = Tree::with_root(Metadata::default());
    if let Err(error) = image.declare(&mut tree, NodeId::ROOT) {
        let said = error.to_string();
        assert!(!said.is_empty());
        return Err(said);
    }
    tree.finish().expect("no directory has a name twice");
    let mut found = Vec::new();
    let mut directories = vec![(NodeId::ROOT, Vec::new())];
    while let Some((directory, path)) = directories.pop() {
        for entry in tree.entries(directory) {
            let path = [&path[..], b"/", entry.name].concat();
            assert!(!entry.name.starts_with(b".wh."), "{}", path.escape_ascii());
            let node = tree.node(entry.node);
            match &node.kind {
                Kind::Directory(_) => directories.push((entry.node, path.clone())),
                Kind::File(content) => {
                    let mut reader = content.open().expect("it can be opened");
                    for range in content.data_in(0..READ_MAX) {
                        let bytes = usize::try_from(range.end - range.start).expect("it is small");
                        let read = reader.read_exact_at(range.start, &mut vec![0; bytes]);
                        read.expect("what was declared can be read");
                    }
                    reader.finish().expect("nothing changed");
                }
                _ => {}
            }
            found.push(format!(
                "{} {:?} {}",
                path.escape_ascii(),
                node.metadata,
                node.names
            ));
        }
    }
    Ok(found)
}
