//! Given container images, well made or hostile, proves that the tree they give is what the OCI
//! rules say, or that they are refused with a sentence that says why; never asks a registry.

#![cfg(target_os = "linux")]

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use common::image::{
    CONFIG, INDEX, LAYER, Layout, MANIFEST, Tar, config, digest, for_platform, index, named,
};
use common::tools::Result;
use mke4fs::source::Source;
use mke4fs::source::oci::Image;
use mke4fs::source::patterns::Patterns;
use mke4fs::tree::{Content, Kind, Metadata, NodeId, Tree};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

/// The tree of an image, or the sentence with which it is refused.
fn tree_of(image: Image) -> std::result::Result<Tree, String> {
    let mut tree = Tree::with_root(Metadata::default());
    let mut image = image.threads(2.try_into().expect("two are some"));
    image
        .declare(&mut tree, NodeId::ROOT)
        .map_err(|error| format!("{error:#}"))?;
    tree.finish().expect("no name is there twice");
    Ok(tree)
}

/// A layer of `entries`: `d/` is a directory, `f=text` a file, `l>target` a symbolic link, `h+target`
/// a hard link, and all else an empty file.
pub(crate) fn layer(entries: &[&str]) -> Vec<u8> {
    let add = |tar: Tar, entry: &&str| match entry.find(['=', '>', '+']) {
        Some(at) => {
            let (name, rest) = (&entry[..at], &entry[at + 1..]);
            match entry.as_bytes()[at] {
                b'=' => tar.file(name, rest.as_bytes()),
                b'>' => tar.symlink(name, rest),
                _ => tar.link(name, rest),
            }
        }
        None if entry.ends_with('/') => tar.dir(entry, 0o755),
        None => tar.file(entry, b""),
    };
    entries.iter().fold(Tar::new(), add).bytes()
}

/// What is in a tree, in the words of [`layer`] and in the order of paths.
fn listing(tree: &Tree) -> Vec<String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![(NodeId::ROOT, String::new())];
    while let Some((directory, path)) = directories.pop() {
        for entry in tree.entries(directory) {
            let path = format!("{path}{}", entry.name.escape_ascii());
            if matches!(tree.node(entry.node).kind, Kind::Directory(_)) {
                directories.push((entry.node, format!("{path}/")));
            }
            found.insert(path, entry.node);
        }
    }
    let mut first = BTreeMap::new();
    let line = |(path, node): (&String, &NodeId)| {
        let known = first.entry(*node).or_insert_with(|| path.clone());
        match &tree.node(*node).kind {
            Kind::Directory(_) => format!("{path}/"),
            _ if known != path => format!("{path}+{known}"),
            Kind::File(content) if content.size_bytes() == 0 => path.clone(),
            Kind::File(content) => {
                let mut bytes =
                    vec![0; usize::try_from(content.size_bytes()).expect("it is small")];
                let mut reader = content.open().expect("it can be opened");
                reader.read_exact_at(0, &mut bytes).expect("it can be read");
                format!("{path}={}", bytes.escape_ascii())
            }
            Kind::Symlink(target) => format!("{path}>{}", target.escape_ascii()),
            _ => format!("{path}|"),
        }
    };
    found.iter().map(line).collect()
}

/// Layers, and what they make of one another.
pub(crate) type Rule = (&'static [&'static [&'static str]], &'static [&'static str]);

pub(crate) const RULES: &[Rule] = &[
    // No layer at all, and one twice.
    (&[], &[]),
    (&[&["a=1", "d/x"], &["a=1", "d/x"]], &["a=1", "d/", "d/x"]),
    // A whiteout takes away what is below, and nothing of its own layer.
    (&[&["a=1", "b=1"], &[".wh.a", "c=2"]], &["b=1", "c=2"]),
    (&[&["a=1"], &["a=2", ".wh.a"]], &["a=2"]),
    (&[&["a=1"], &[".wh.a", "a=2"]], &["a=2"]),
    (&[&["d/x", "d/y"], &[".wh.d", "d/", "d/z"]], &["d/", "d/z"]),
    (&[&["d/x", "d/y"], &["d/", "d/z", ".wh.d"]], &["d/", "d/z"]),
    (&[&["a=1"], &[".wh.a"], &["a=3"]], &["a=3"]),
    (&[&["a"], &[".wh.b", "gone/.wh.a", "a/.wh.b"]], &["a"]),
    (&[&["d/x", "d/.x"], &["./d/.wh..x"]], &["d/", "d/x"]),
    (&[&["...", "a"], &[".wh...."]], &["a"]),
    // So does an opaque directory, wherever in the layer that is said.
    (
        &[&["d/x", "d/y"], &["d/.wh..wh..opq", "d/z"]],
        &["d/", "d/z"],
    ),
    (
        &[&["d/x", "d/y"], &["d/z", "d/.wh..wh..opq"]],
        &["d/", "d/z"],
    ),
    (&[&["d/x", "a"], &[".wh..wh..opq", "b"]], &["b"]),
    (&[&["a"], &["gone/.wh..wh..opq", "a/.wh..wh..opq"]], &["a"]),
    (
        &[&["d/s/x"], &["d/s/y", "d/.wh..wh..opq"]],
        &["d/", "d/s/", "d/s/y"],
    ),
    // Whatever type it is shipped as.
    (&[&["a", "b"], &["c", ".wh.a+c", ".wh.b=text"]], &["c"]),
    (&[&["a", "b"], &[".wh.a/", ".wh.b>elsewhere"]], &[]),
    (
        &[&["d/a"], &["d/", "d/.wh..wh..opq+.wh..wh.plnk/1.2"]],
        &["d/"],
    ),
    // What is aufs's own means nothing.
    (
        &[
            &["a"],
            &[
                ".wh..wh.aufs",
                ".wh..wh.plnk/",
                ".wh..wh.plnk/1.2=x",
                ".wh..wh.orph/",
            ],
        ],
        &["a"],
    ),
    // A directory over one keeps the entries; all else replaces.
    (&[&["d/", "d/x"], &["d/", "d/y"]], &["d/", "d/x", "d/y"]),
    (&[&["d/", "d/x"], &["d=1"]], &["d=1"]),
    (&[&["d=1"], &["d/", "d/x"]], &["d/", "d/x"]),
    (&[&["d/", "d/x"], &["d>e"]], &["d>e"]),
    (
        &[&["e/y", "d>e"], &["d/", "d/x"]],
        &["d/", "d/x", "e/", "e/y"],
    ),
    // Entries land where a symbolic link leads inside the image.
    (
        &[&["usr/lib/", "lib>usr/lib"], &["lib/x=1"]],
        &["lib>usr/lib", "usr/", "usr/lib/", "usr/lib/x=1"],
    ),
    (
        &[&["a/b/", "l>/a/b"], &["l/x"]],
        &["a/", "a/b/", "a/b/x", "l>/a/b"],
    ),
    (
        &[&["a/", "d/l>../../../a"], &["d/l/x"]],
        &["a/", "a/x", "d/", "d/l>../../../a"],
    ),
    (
        &[&["a/x", "a/y", "l>a"], &["l/.wh.x"]],
        &["a/", "a/y", "l>a"],
    ),
    (
        &[&["a/x", "l>/a"], &["l/.wh..wh..opq", "l/y"]],
        &["a/", "a/y", "l>/a"],
    ),
    // Where the layer has a directory in the link's place, the link leads nowhere.
    (&[&["a/x", "l>a"], &["l/.wh.x", "l/"]], &["a/", "a/x", "l/"]),
    // Hard links reach into lower layers, and outlive the name that they were made by.
    (&[&["a=1"], &["b+a"]], &["a=1", "b+a"]),
    (&[&["a=1"], &["b+a"], &[".wh.a"]], &["b=1"]),
    (&[&["a=1"], &["b+a"], &["a=3"]], &["a=3", "b=1"]),
    (&[&["a=1", "b+a"], &[".wh.a"]], &["b=1"]),
    // Also what their own layer takes away, wherever in it that is said.
    (&[&["a=1"], &["b+a", ".wh.a"]], &["b=1"]),
    (&[&["a=1"], &[".wh.a", "b+a", "c+a"]], &["b=1", "c+b"]),
    (&[&["a=1"], &[".wh.a", "b+a", "a=2"]], &["a=2", "b=1"]),
    (&[&["a=1"], &[".wh.a", "a=2", "b+a"]], &["a=2", "b+a"]),
    (
        &[&["d/x=1", "d/y"], &["d/.wh..wh..opq", "e/x+d/x"]],
        &["d/", "e/", "e/x=1"],
    ),
    (&[&["d/x=1"], &[".wh.d", "x+d/x"]], &["x=1"]),
    (&[&["a=1", "b=1"], &["b+a", ".wh.a", ".wh.b"]], &["b=1"]),
    (
        &[&["d/a=1", "l>d"], &["b+l/a"]],
        &["b=1", "d/", "d/a+b", "l>d"],
    ),
    // Parents that no entry declares are there.
    (&[&["a/b/c=1"]], &["a/", "a/b/", "a/b/c=1"]),
];

#[test]
fn layers_lie_over_one_another_by_the_oci_rules() {
    for (layers, expected) in RULES {
        let bytes: Vec<Vec<u8>> = layers.iter().map(|entries| layer(entries)).collect();
        let layout = Layout::of(&bytes).expect("a layout");
        let tree = tree_of(Image::layout(layout.path()));
        let found = tree
            .map(|tree| listing(&tree))
            .unwrap_or_else(|error| vec![error]);
        let mut expected = expected.to_vec();
        expected.sort_by_key(|line| {
            line.split(['=', '>', '+'])
                .next()
                .map(|it| it.trim_end_matches('/'))
        });
        assert_eq!(found, expected, "{layers:?}");
    }
}

/// How a good layout is spoilt, and the sentence that is said of it.
struct Spoilt {
    how: fn(&Layout) -> Result<()>,
    sentence: &'static str,
}

/// A blob that is not what its descriptor says; `blob` changes the descriptor.
fn lie(layout: &Layout, about: &str, value: Value) -> Result<()> {
    let mut image = layout.image(&[layer(&["a=1"])])?;
    image[about] = value;
    layout.index(&[image])
}

/// A manifest of one layer, whose descriptor `change` makes another.
fn layer_lie(layout: &Layout, change: impl FnOnce(&mut Value)) -> Result<()> {
    let bytes = layer(&["a=1"]);
    let mut blob = layout.blob(LAYER, &bytes)?;
    change(&mut blob);
    let image = layout.manifest(&[blob], &config(&[digest(&bytes)]))?;
    layout.index(&[image])
}

/// An image of one layer of these entries.
fn of_layer(layout: &Layout, tar: &Tar) -> Result<()> {
    layout.index(&[layout.image(&[tar.bytes()])?])
}

const SPOILT: &[Spoilt] = &[
    Spoilt {
        how: |layout| Ok(fs::remove_file(layout.path().join("oci-layout"))?),
        sentence: "oci-layout is missing",
    },
    Spoilt {
        how: |layout| Ok(fs::remove_file(layout.path().join("index.json"))?),
        sentence: "index.json is missing",
    },
    Spoilt {
        how: |layout| layout.write("oci-layout", &json!({"imageLayoutVersion": "2.0.0"})),
        sentence: "oci-layout has version 2.0.0: must be 1",
    },
    Spoilt {
        how: |layout| {
            Ok(fs::write(
                layout.path().join("index.json"),
                "[".repeat(1 << 20),
            )?)
        },
        sentence: "index.json is not valid JSON for its place",
    },
    Spoilt {
        how: |layout| {
            let file = fs::File::create(layout.path().join("index.json"))?;
            Ok(file.set_len(1 << 40)?)
        },
        sentence: "index.json has 1099511627776 bytes; at most 8388608 are read",
    },
    Spoilt {
        how: |layout| layout.index(&[]),
        sentence: "no image in it",
    },
    Spoilt {
        how: |layout| layout.write("index.json", &json!({"schemaVersion": 1, "manifests": []})),
        sentence: "index.json has schema version 1: must be 2",
    },
    Spoilt {
        how: |layout| lie(layout, "size", json!(1)),
        sentence: "bytes, not 1",
    },
    Spoilt {
        how: |layout| lie(layout, "size", json!(u64::MAX)),
        sentence: "bytes, not 18446744073709551615",
    },
    Spoilt {
        how: |layout| lie(layout, "size", json!(-1)),
        sentence: "index.json is not valid JSON for its place",
    },
    Spoilt {
        how: |layout| lie(layout, "digest", json!(digest(b"another"))),
        sentence: " is missing",
    },
    Spoilt {
        how: |layout| lie(layout, "digest", json!("sha256:../../../../etc/passwd")),
        sentence: "invalid digest 'sha256:../../../../etc/passwd'",
    },
    Spoilt {
        how: |layout| lie(layout, "digest", json!("../index:json")),
        sentence: "invalid digest '../index:json'",
    },
    Spoilt {
        how: |layout| {
            lie(
                layout,
                "digest",
                json!("md5:d41d8cd98f00b204e9800998ecf8427e"),
            )
        },
        sentence: "invalid digest 'md5:d41d8cd98f00b204e9800998ecf8427e'",
    },
    // A manifest of the right size and with other bytes.
    Spoilt {
        how: |layout| {
            let image = layout.image(&[])?;
            let path = layout.blob_path(&image);
            let text =
                fs::read_to_string(&path)?.replace("\"schemaVersion\":2", "\"schemaVersion\":3");
            fs::write(path, text)?;
            layout.index(&[image])
        },
        sentence: " has the digest sha256:",
    },
    // A layer of the right size and with other bytes.
    Spoilt {
        how: |layout| {
            let image = layout.image(&[layer(&["a=1"])])?;
            let blob = layout.blob(LAYER, &layer(&["a=1"]))?;
            fs::write(layout.blob_path(&blob), layer(&["a=2"]))?;
            layout.index(&[image])
        },
        sentence: " has the digest sha256:",
    },
    // Bytes behind the archive's end count too.
    Spoilt {
        how: |layout| {
            let bytes = [layer(&["a=1"]), vec![0; 4096]].concat();
            let image = layout.image(std::slice::from_ref(&bytes))?;
            let blob = layout.blob(LAYER, &bytes)?;
            let changed = [layer(&["a=1"]), vec![1; 4096]].concat();
            fs::write(layout.blob_path(&blob), changed)?;
            layout.index(&[image])
        },
        sentence: " has the digest sha256:",
    },
    // The blob is what it should be, and the archive in it is not.
    Spoilt {
        how: |layout| {
            let blob = layout.blob(LAYER, &layer(&["a=1"]))?;
            let image = layout.manifest(&[blob], &config(&[digest(b"another")]))?;
            layout.index(&[image])
        },
        sentence: "uncompressed, has the digest sha256:",
    },
    Spoilt {
        how: |layout| layer_lie(layout, |blob| blob["size"] = json!(511)),
        sentence: "bytes, not 511",
    },
    Spoilt {
        how: |layout| layer_lie(layout, |blob| blob["digest"] = json!(digest(b"another"))),
        sentence: " is missing",
    },
    Spoilt {
        how: |layout| layer_lie(layout, |blob| blob["mediaType"] = json!("text/plain")),
        sentence: "is of type \"text/plain\", which is not a known kind of tar archive",
    },
    Spoilt {
        how: |layout| {
            layer_lie(layout, |blob| {
                blob["mediaType"] = json!(format!("{LAYER}+encrypted"))
            })
        },
        sentence: "which is not a known kind of tar archive",
    },
    Spoilt {
        how: |layout| {
            layer_lie(layout, |blob| {
                blob["digest"] = json!(digest(b"another"));
                let said = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
                blob["mediaType"] = json!(said);
            })
        },
        sentence: "is not distributable and is missing from the image",
    },
    Spoilt {
        how: |layout| {
            let image = layout.manifest(&[], &config(&[digest(b"")]))?;
            layout.index(&[image])
        },
        sentence: "the configuration has 1 diff_ids for 0 layers; each layer needs one",
    },
    Spoilt {
        how: |layout| {
            let image = layout.manifest(&[], &config(&["sha256:0".to_owned()]))?;
            layout.index(&[image])
        },
        sentence: "invalid digest 'sha256:0'",
    },
    Spoilt {
        how: |layout| {
            let bytes = layer(&[]);
            let blob = layout.blob(LAYER, &bytes)?;
            let many = config(&vec![digest(&bytes); 1025]);
            layout.index(&[layout.manifest(&vec![blob; 1025], &many)?])
        },
        sentence: "the image has 1025 layers; at most 1024 are read",
    },
    // An artifact, such as a chart, under the media type of an image's manifest.
    Spoilt {
        how: |layout| {
            let config = layout.blob("application/vnd.cncf.helm.config.v1+json", b"{}")?;
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
            let image = layout.blob(MANIFEST, manifest.to_string().as_bytes())?;
            layout.index(&[image])
        },
        sentence: "an artifact of type application/vnd.cncf.helm.config.v1+json holds no filesystem",
    },
    // One document that is two things.
    Spoilt {
        how: |layout| {
            let config = layout.blob(CONFIG, config(&[]).to_string().as_bytes())?;
            let both = json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": []});
            let image = layout.blob(MANIFEST, both.to_string().as_bytes())?;
            layout.index(&[image])
        },
        sentence: "is not a manifest, as its reference says",
    },
    Spoilt {
        how: |layout| {
            let mut image = layout.image(&[])?;
            image["mediaType"] = json!(INDEX);
            layout.index(&[image])
        },
        sentence: "has the media type application/vnd.oci.image.manifest.v1+json, but was referenced as another",
    },
    // No document can hold its own digest; one that claims to lead to itself lies.
    Spoilt {
        how: |layout| {
            let mut itself = layout.blob(INDEX, &[b' '; 300])?;
            let mut bytes = index(&[itself.clone()]).to_string().into_bytes();
            bytes.resize(300, b' ');
            fs::write(layout.blob_path(&itself), bytes)?;
            itself["size"] = json!(300);
            layout.index(&[itself])
        },
        sentence: " has the digest sha256:",
    },
    Spoilt {
        how: |layout| {
            let mut at = layout.image(&[])?;
            for _ in 0..9 {
                at = layout.blob(INDEX, index(&[at]).to_string().as_bytes())?;
            }
            layout.index(&[at])
        },
        sentence: "indexes are nested more than 8 deep",
    },
    Spoilt {
        how: |layout| {
            let images: Result<Vec<Value>> = (0..4097)
                .map(|number| layout.blob(INDEX, format!("{{\"number\":{number}}}").as_bytes()))
                .collect();
            let images: Vec<Value> = images?
                .into_iter()
                .map(|mut image| {
                    image["mediaType"] = json!(MANIFEST);
                    for_platform(image, "plan9/mips")
                })
                .collect();
            layout.index(&images)
        },
        sentence: "the indexes lead to more than 4096 documents",
    },
    // Blobs that lead out of the layout.
    Spoilt {
        how: |layout| {
            let image = layout.image(&[])?;
            let path = layout.blob_path(&image);
            let elsewhere = layout.path().join("elsewhere");
            fs::rename(&path, &elsewhere)?;
            symlink(&elsewhere, &path)?;
            layout.index(&[image])
        },
        sentence: "must be a regular file inside the image",
    },
    Spoilt {
        how: |layout| {
            let image = layout.image(&[])?;
            fs::rename(layout.path().join("blobs"), layout.path().join("b"))?;
            symlink("b", layout.path().join("blobs"))?;
            layout.index(&[image])
        },
        sentence: "must be a regular file inside the image",
    },
    Spoilt {
        how: |layout| {
            let image = layout.image(&[])?;
            let path = layout.blob_path(&image);
            fs::remove_file(&path)?;
            fs::create_dir(&path)?;
            layout.index(&[image])
        },
        sentence: "must be a regular file inside the image",
    },
    // Whiteouts that would take away what they must not.
    Spoilt {
        how: |layout| of_layer(layout, &Tar::new().file(".wh.", b"")),
        sentence: ".wh.: a whiteout must name what it removes",
    },
    Spoilt {
        how: |layout| of_layer(layout, &Tar::new().file("d/.wh..", b"")),
        sentence: "d/.wh..: a whiteout must name what it removes",
    },
    Spoilt {
        how: |layout| of_layer(layout, &Tar::new().file("d/.wh...", b"")),
        sentence: "d/.wh...: a whiteout must name what it removes",
    },
    Spoilt {
        how: |layout| of_layer(layout, &Tar::new().file("d/.wh.x/y", b"")),
        sentence: "d/.wh.x/y: a whiteout removes a file and cannot have data",
    },
];

#[test]
fn what_is_spoilt_is_refused_with_a_sentence() {
    for (number, spoilt) in SPOILT.iter().enumerate() {
        let layout = Layout::of(&[layer(&["a=1"])]).expect("a layout");
        (spoilt.how)(&layout).expect("it can be spoilt");
        let error = tree_of(Image::layout(layout.path())).expect_err(spoilt.sentence);
        let says = error.contains(spoilt.sentence);
        assert!(says, "{number}: {error}, and not: {}", spoilt.sentence);
        let path = layout.path().to_string_lossy();
        assert!(error.contains(&*path), "{error}: does not name {path}");
    }
}

/// An image of one file, `name`.
fn image_of(layout: &Layout, name: &str) -> Value {
    layout.image(&[layer(&[name])]).expect("an image")
}

/// What `image` gives: its files, or the sentence with which it is refused.
fn found(image: Image) -> String {
    match tree_of(image) {
        Ok(tree) => listing(&tree).join(" "),
        Err(error) => match error.split_once(": ") {
            Some((_, sentence)) => sentence.to_owned(),
            None => error,
        },
    }
}

#[test]
fn an_image_is_found_by_its_name_or_digest() {
    let layout = Layout::new().expect("a layout");
    let [one, two, three] = ["one", "two", "three"].map(|name| image_of(&layout, name));
    let by_digest = format!("@{}", three["digest"].as_str().expect("a digest"));
    let inner = index(std::slice::from_ref(&one)).to_string();
    let nested = layout.blob(INDEX, inner.as_bytes()).expect("a blob");
    let images = [
        named(nested, "docker.io/library/app:1"),
        named(two, "app:latest"),
        three,
    ];
    layout.index(&images).expect("an index");
    let there = format!("{by_digest}, app:latest, docker.io/library/app:1");
    for (name, expected) in [
        (Some("app:1"), "one"),
        (Some("docker.io/library/app:1"), "one"),
        (Some("app"), "two"),
        (Some(&*by_digest), "three"),
        (
            Some("other"),
            &format!("no image named other; the names are: {there}"),
        ),
        (None, &format!("several images: name one of {there}")),
    ] {
        let image = Image::layout(layout.path()).reference(name.map(str::to_owned));
        assert_eq!(found(image), expected, "{name:?}");
    }
}

#[test]
fn an_image_is_found_by_its_platform() {
    let layout = Layout::new().expect("a layout");
    let image = |name: &str, platform: &str| for_platform(image_of(&layout, name), platform);
    let mut attested = image("attestation", "unknown/unknown");
    attested["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let all = [
        attested,
        image("v6", "linux/arm/v6"),
        image("v7", "linux/arm/v7"),
        image("big", "linux/s390x"),
        image("pane", "windows/amd64"),
    ];
    let there = "linux/arm/v6, linux/arm/v7, linux/s390x, windows/amd64";
    layout.index(&all).expect("an index");
    for (platform, expected) in [
        (Some("linux/arm"), "v7"),
        (Some("linux/arm/v6"), "v6"),
        (Some("linux/s390x"), "big"),
        (
            Some("linux/arm/v8"),
            &*format!("no image for platform linux/arm/v8; the platforms are: {there}"),
        ),
        (
            None,
            &format!("several platforms: select one with --platform: {there}"),
        ),
    ] {
        let platform = platform.map(|it| it.parse().expect("a platform"));
        let image = Image::layout(layout.path()).platform(platform.clone());
        assert_eq!(found(image), expected, "{platform:?}");
    }
    // The only one is taken, unless another is asked for.
    layout.index(&all[..2]).expect("an index");
    assert_eq!(found(Image::layout(layout.path())), "v6");
    let other = Image::layout(layout.path()).platform("linux/arm64".parse().ok());
    assert_eq!(
        found(other),
        "no image for platform linux/arm64; the platforms are: linux/arm/v6"
    );
    // Where the index does not say, the configuration does.
    layout
        .index(&[image_of(&layout, "said")])
        .expect("an index");
    let said = Image::layout(layout.path()).platform("linux/amd64".parse().ok());
    assert_eq!(found(said), "said");
    let other = Image::layout(layout.path()).platform("linux/arm64".parse().ok());
    assert_eq!(
        found(other),
        "no image for platform linux/arm64; the platforms are: linux/amd64"
    );
}

/// `bytes` as the program writes them.
fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let mut child = Command::new(program)
        .args(["-c", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    let mut input = child.stdin.take().expect("it has one");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it ends").expect("it reads all");
    assert!(output.status.success(), "{program}");
    output.stdout
}

#[test]
fn layers_and_archives_are_compressed_or_not() {
    let bytes = layer(&["d/a=text", "b+d/a"]);
    for (program, suffix) in [("gzip", "+gzip"), ("zstd", "+zstd"), ("cat", "")] {
        let pack = |bytes: &[u8]| match program {
            "cat" => bytes.to_vec(),
            _ => packed(program, bytes),
        };
        let layout = Layout::new().expect("a layout");
        let blob = layout
            .blob(&format!("{LAYER}{suffix}"), &pack(&bytes))
            .expect("a blob");
        let image = layout
            .manifest(&[blob], &config(&[digest(&bytes)]))
            .expect("an image");
        layout.index(&[image]).expect("an index");
        assert_eq!(
            found(Image::layout(layout.path())),
            "b=text d/ d/a+b",
            "{program}"
        );
        let archive = pack(&layout.archive().expect("an archive").bytes());
        let path = layout.path().join("archive");
        fs::write(&path, archive).expect("a file");
        assert_eq!(found(Image::archive(&path)), "b=text d/ d/a+b", "{program}");
    }
}

/// What `docker save` wrote, in one of its forms: the entries of an archive, without layers.
fn saved(config: &[u8], layers: &[&str]) -> Tar {
    let hex = digest(config).replace("sha256:", "");
    let name = format!("{hex}.json");
    let manifest = json!([{"Config": name, "RepoTags": ["app:1"], "Layers": layers}]);
    Tar::new()
        .file(&name, config)
        .file("manifest.json", manifest.to_string().as_bytes())
}

/// What the archive `tar` gives as `docker save` would have written it.
fn found_saved(tar: &Tar) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("saved");
    fs::write(&path, tar.bytes()).expect("a file");
    found(Image::docker_archive(&path))
}

#[test]
fn what_docker_saved_is_read() {
    let layers = [layer(&["a=1", "b"]), layer(&[".wh.b", "c"])];
    let ids = layers.each_ref().map(|it| digest(it));
    let config = config(&ids).to_string().into_bytes();
    let paths = ["1/layer.tar", "2/layer.tar"];
    let plain = saved(&config, &paths)
        .file(paths[0], &layers[0])
        .file(paths[1], &layers[1]);
    assert_eq!(found_saved(&plain), "a=1 c");
    // As skopeo writes it: a file by its digest, and symbolic links to it by the old names.
    let linked = saved(&config, &paths)
        .symlink(paths[0], "../x.tar")
        .file("x.tar", &layers[0])
        .file("y.tar", &layers[1])
        .symlink("2/l", "../y.tar")
        .symlink(paths[1], "l");
    assert_eq!(found_saved(&linked), "a=1 c");
    let hard = saved(&config, &paths)
        .file("x.tar", &layers[0])
        .link(paths[0], "x.tar")
        .file(paths[1], &packed("gzip", &layers[1]));
    assert_eq!(found_saved(&hard), "a=1 c");
    // The later of one name counts, as for tar.
    let twice = saved(&config, &paths)
        .file(paths[0], b"no layer")
        .file(&format!("./{}", paths[0]), &layers[0])
        .file(paths[1], &layers[1]);
    assert_eq!(found_saved(&twice), "a=1 c");
}

#[test]
fn what_docker_did_not_save_is_refused() {
    let bytes = layer(&["a=1"]);
    let good = config(&[digest(&bytes)]).to_string().into_bytes();
    let path = ["1/layer.tar"];
    for (tar, sentence) in [
        (Tar::new().file("other", b"{}"), "manifest.json is missing"),
        (Tar::new().file("manifest.json", b"[]"), "no image in it"),
        (
            Tar::new().file("manifest.json", b"{}"),
            "manifest.json is not valid JSON",
        ),
        (saved(&good, &path), "1/layer.tar is missing"),
        (
            saved(&good, &[]),
            "the configuration has 1 diff_ids for 0 layers",
        ),
        (
            saved(&good, &["../../../etc/passwd"]),
            "../../../etc/passwd is missing",
        ),
        (saved(&good, &["/etc/passwd"]), "/etc/passwd is missing"),
        (
            saved(&good, &path).dir("1/layer.tar", 0o755),
            "1/layer.tar must be a regular file",
        ),
        (
            saved(&good, &path).symlink("1/layer.tar", "../../etc/passwd"),
            "1/layer.tar is missing",
        ),
        (
            saved(&good, &path).symlink("1/layer.tar", "/etc/passwd"),
            "1/layer.tar is missing",
        ),
        (
            saved(&good, &path).symlink("1/layer.tar", "layer.tar"),
            "1/layer.tar must be a regular file",
        ),
        (
            saved(&good, &path).file(path[0], &layer(&["a=2"])),
            "has the digest sha256:",
        ),
        (saved(&good, &path).file(path[0], b"text"), "1/layer.tar"),
        (
            saved(&good, &path).file(
                &format!("{}.json", digest(&good).replace("sha256:", "")),
                b"{}",
            ),
            "has the digest sha256:",
        ),
    ] {
        let said = found_saved(&tar);
        assert!(said.contains(sentence), "{said}, and not: {sentence}");
    }
}

#[test]
fn what_is_saved_as_a_layout_too_is_read_both_ways() {
    let layers = [layer(&["a=1", "b"]), layer(&[".wh.b", "c"])];
    let layout = Layout::of(&layers).expect("a layout");
    let ids = layers.each_ref().map(|it| digest(it));
    let config = digest(config(&ids).to_string().as_bytes());
    let path = |digest: &String| format!("blobs/{}", digest.replace(':', "/"));
    let saved = json!([{
        "Config": path(&config), "RepoTags": ["app:1"], "Layers": ids.each_ref().map(path)
    }]);
    layout.write("manifest.json", &saved).expect("a file");
    let text = fs::read(layout.path().join("manifest.json")).expect("it was written");
    let tar = layout
        .archive()
        .expect("an archive")
        .file("manifest.json", &text);
    let path = layout.path().join("archive");
    fs::write(&path, tar.bytes()).expect("a file");
    assert_eq!(found(Image::archive(&path)), "a=1 c");
    assert_eq!(
        found(Image::docker_archive(&path).reference(Some("app".into()))),
        "a=1 c"
    );
}

#[test]
fn an_image_lies_over_another_source_as_its_files_would() {
    let layers = [
        layer(&["x", "d/a=1", "b+d/a", "gone", "d/o"]),
        layer(&[".wh.gone", "./"]),
    ];
    let layout = Layout::of(&layers).expect("a layout");
    let mut tree = Tree::with_root(Metadata::default());
    let metadata = Metadata::default();
    for name in [&b"gone"[..], b"below", b"b"] {
        let content = Content::from_bytes(*b"below");
        tree.file_at(NodeId::ROOT, name, metadata, content)
            .expect("a file");
    }
    tree.overlay().expect("no name is there twice");
    let unwanted = Patterns::new(["x", "d/o"]).expect("patterns");
    let mut image = Image::layout(layout.path()).exclude(unwanted.clone());
    let declared = image.declare(&mut tree, NodeId::ROOT).expect("it is sound");
    tree.finish().expect("no name is there twice");
    assert_eq!(
        listing(&tree),
        ["b=1", "below=below", "d/", "d/a+b", "gone=below"]
    );
    assert_eq!(unwanted.unmatched().count(), 0);
    assert_eq!(
        declared.root.expect("an entry for the root").permissions,
        0o755
    );
}

#[test]
fn no_flipped_bit_gives_another_tree() {
    let layout = Layout::of(&[layer(&["a=1", "l>a"]), layer(&[".wh.a", "b"])]).expect("a layout");
    let sound = layout.archive().expect("an archive").bytes();
    let path = layout.path().join("archive");
    let mut refused = 0;
    for at in (0..sound.len()).step_by(13) {
        let mut spoilt = sound.clone();
        spoilt[at] ^= 1 << (at % 8);
        fs::write(&path, spoilt).expect("a file");
        match tree_of(Image::archive(&path)) {
            Ok(tree) => assert_eq!(listing(&tree), ["b", "l>a"], "byte {at}"),
            Err(error) => {
                assert!(!error.is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > sound.len() / 50, "{refused} of {}", sound.len());
}

#[test]
fn docker_has_its_own_media_types_and_a_digest_may_be_longer() {
    let layout = Layout::new().expect("a layout");
    let blob = |kind: &str, bytes: &[u8]| layout.blob(kind, bytes).expect("a blob");
    let bytes = layer(&["a=1"]);
    let mut layer = blob(
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        &packed("gzip", &bytes),
    );
    let text = config(&[digest(&bytes)]).to_string();
    let config = blob(
        "application/vnd.docker.container.image.v1+json",
        text.as_bytes(),
    );
    // The same blob by a digest of sha512.
    let path = layout.blob_path(&layer);
    let sum = Sha512::digest(fs::read(&path).expect("it was written"));
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    layer["digest"] = json!(format!("sha512:{hex}"));
    fs::create_dir(layout.path().join("blobs/sha512")).expect("a directory");
    fs::rename(path, layout.blob_path(&layer)).expect("it is moved");
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]
    });
    let image = blob(kind, manifest.to_string().as_bytes());
    let kind = "application/vnd.docker.distribution.manifest.list.v2+json";
    let list = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [image]});
    let list = blob(kind, list.to_string().as_bytes());
    layout.index(&[list]).expect("an index");
    assert_eq!(found(Image::layout(layout.path())), "a=1");
    fs::write(layout.blob_path(&layer), packed("gzip", b"")).expect("a file");
    assert!(found(Image::layout(layout.path())).contains("blobs/sha512/"));
}

/// A layout of one layer, `blob`, which is `bytes` compressed.
fn layout_of_blob(blob: &[u8], bytes: &[u8]) -> Layout {
    let layout = Layout::new().expect("a layout");
    let blob = layout.blob(&format!("{LAYER}+gzip"), blob).expect("a blob");
    let image = layout.manifest(&[blob], &config(&[digest(bytes)]));
    layout.index(&[image.expect("an image")]).expect("an index");
    layout
}

/// What a source says of `image`, which is taken.
fn said_of(image: Image) -> Vec<String> {
    let mut tree = Tree::with_root(Metadata::default());
    let mut image = image;
    let declared = image.declare(&mut tree, NodeId::ROOT).expect("it is taken");
    declared.warnings.iter().map(ToString::to_string).collect()
}

/// skopeo and umoci take layers of no bytes, compressed or not.
#[test]
fn layers_of_no_bytes_change_nothing() {
    for program in ["cat", "gzip", "zstd", "xz", "bzip2"] {
        let pack = |bytes: &[u8]| match program {
            "cat" => bytes.to_vec(),
            _ => packed(program, bytes),
        };
        for bytes in [&b""[..], &[0; 1024], &[0; 10_240]] {
            let layout = layout_of_blob(&pack(bytes), bytes);
            assert_eq!(found(Image::layout(layout.path())), "", "{program}");
            let said = said_of(Image::layout(layout.path()));
            let expected = format!("{}: the archive has no entries", layout.path().display());
            assert_eq!(said, [expected], "{program}");
        }
        let layout = Layout::new().expect("a layout");
        let layers = [vec![], layer(&["a=1"]), vec![]];
        let blobs = layers.each_ref().map(|it| {
            layout
                .blob(&format!("{LAYER}+gzip"), &pack(it))
                .expect("a blob")
        });
        let config = config(&layers.each_ref().map(|it| digest(it)));
        let image = layout.manifest(&blobs, &config).expect("an image");
        layout.index(&[image]).expect("an index");
        assert_eq!(found(Image::layout(layout.path())), "a=1", "{program}");
        assert!(said_of(Image::layout(layout.path())).is_empty());
    }
}

#[test]
fn what_is_no_layer_or_archive_is_named() {
    let squashfs = [b"hsqs", &[0; 4096][..]].concat();
    let superblock = [&[0; 1024 + 56][..], b"\x53\xef", &[0; 4096]].concat();
    let far = [&vec![0; 200_000][..], b"text"].concat();
    for (bytes, plain, compressed) in [
        (
            &squashfs,
            "is a squashfs image, not a tar archive (plain or",
            "is compressed with gzip, but holds a squashfs image, not a tar archive",
        ),
        (
            &superblock,
            "is an ext2 image, not a tar archive (plain or",
            "is compressed with gzip, but holds an ext2 image, not a tar archive",
        ),
        (&far, "not a tar archive", "not a tar archive"),
    ] {
        for (blob, sentence) in [(bytes.clone(), plain), (packed("gzip", bytes), compressed)] {
            let layout = layout_of_blob(&blob, bytes);
            let error = tree_of(Image::layout(layout.path())).expect_err("it is refused");
            assert!(error.contains(sentence), "{error}");
            let path = layout.path().join("file");
            fs::write(&path, &blob).expect("a file");
            for image in [Image::archive(&path), Image::docker_archive(&path)] {
                let error = tree_of(image).expect_err("it is refused");
                assert!(error.contains(sentence), "{error}");
                let path = path.to_string_lossy();
                assert_eq!(error.matches(&*path).count(), 1, "{error}");
            }
        }
    }
    let layout = Layout::of(&[layer(&["a=1"])]).expect("a layout");
    let path = layout.path().join("file");
    fs::write(&path, b"").expect("a file");
    let error = tree_of(Image::archive(&path)).expect_err("it is refused");
    assert!(error.contains("is empty, not a tar archive"), "{error}");
}

#[test]
fn what_follows_compressed_layers_and_archives_is_ignored() {
    let bytes = layer(&["a=1"]);
    for (program, behind, ignored) in [
        ("gzip", &b"junk"[..], Some(4)),
        ("bzip2", b"junk", Some(4)),
        ("gzip", &[0; 700], None),
        ("bzip2", &[0; 700], None),
        ("xz", &[0; 8], None),
    ] {
        let layout = layout_of_blob(&[&packed(program, &bytes), behind].concat(), &bytes);
        assert_eq!(found(Image::layout(layout.path())), "a=1", "{program}");
        let expected = |path: &str| {
            let text = |bytes| format!("{path}: ignored {bytes} bytes after its compressed data");
            Vec::from_iter(ignored.map(text))
        };
        let said = said_of(Image::layout(layout.path()));
        let path = said.first().and_then(|it| it.split_once(':'));
        assert_eq!(said, expected(path.unwrap_or_default().0), "{program}");

        let whole = Layout::of(std::slice::from_ref(&bytes)).expect("a layout");
        let archive = whole.archive().expect("an archive").bytes();
        let path = layout.path().join("file");
        fs::write(&path, [&packed(program, &archive), behind].concat()).expect("a file");
        assert_eq!(
            said_of(Image::archive(&path)),
            expected(&path.to_string_lossy())
        );
    }
}

/// Go's programs write and read these documents, and compare the names of fields without their case.
#[test]
fn fields_are_named_in_any_case() {
    let layers = [layer(&["a=1"])];
    let layout = Layout::of(&layers).expect("a layout");
    let index = fs::read_to_string(layout.path().join("index.json")).expect("a file");
    let index = index
        .replace("manifests", "MANIFESTS")
        .replace("digest", "Digest");
    fs::write(layout.path().join("index.json"), &index).expect("a file");
    assert_eq!(found(Image::layout(layout.path())), "a=1");
    let same = digest(&layers[0]);
    let twice = format!("\"digest\":\"{same}\",\"Digest\"");
    let twice = index.replacen("\"Digest\"", &twice, 1);
    fs::write(layout.path().join("index.json"), twice).expect("a file");
    let error = found(Image::layout(layout.path()));
    assert!(error.contains("index.json is not valid JSON"), "{error}");
    assert!(error.contains("duplicate field `digest`"), "{error}");

    let config = config(&[digest(&layers[0])]).to_string();
    let config = config.replace("rootfs", "RootFS").into_bytes();
    for (manifest, expected) in [
        (
            json!([{"config": "c", "repotags": ["a:1"], "LAYERS": ["l"]}]),
            "a=1",
        ),
        (
            json!([{"config": "c", "Config": "c", "Layers": ["l"]}]),
            "duplicate field `Config`",
        ),
    ] {
        let tar = Tar::new()
            .file("manifest.json", manifest.to_string().as_bytes())
            .file("c", &config)
            .file("l", &layers[0]);
        let said = found_saved(&tar);
        assert!(said.contains(expected), "{said}, and not: {expected}");
    }
}

#[test]
fn an_image_in_another_form_says_which() {
    let layout = Layout::of(&[layer(&["a=1"])]).expect("a layout");
    let said = found_saved(&layout.archive().expect("an archive"));
    let sentence = "manifest.json is missing, but oci-layout is there: use oci-archive:";
    assert!(said.contains(sentence), "{said}");
    let path = layout.path().join("file");
    let saved = saved(b"{}", &[]).bytes();
    fs::write(&path, saved).expect("a file");
    let said = found(Image::archive(&path));
    let sentence = "oci-layout is missing, but manifest.json is there: use docker-archive:";
    assert!(said.contains(sentence), "{said}");
    fs::write(&path, Tar::new().file("repositories", b"{}").bytes()).expect("a file");
    for image in [Image::archive(&path), Image::docker_archive(&path)] {
        let said = found(image);
        assert!(
            said.contains("docker save wrote this before 1.10"),
            "{said}"
        );
    }
}

#[test]
fn the_configuration_of_an_image_is_written_and_told() {
    let place = common::place::Place::new();
    let programs = [common::tools::Need::Program("umoci")];
    if !common::tools::ready(&programs) {
        return;
    }
    let made = place.shell(
        "umoci init --layout images; umoci new --image images:tag
         umoci unpack --rootless --image images:tag bundle; echo text > bundle/rootfs/file
         umoci repack --image images:tag bundle
         umoci config --image images:tag --config.user 7:8 --config.entrypoint /file --config.env A=b
         mke4fs --json -d oci:images:tag --oci-config config image > said
         ! mke4fs -q -d bundle/rootfs --oci-config none other 2> refused; ! test -e none
         ! mke4fs -q -d oci:images:tag --oci-config left no/such/image 64K 2>> refused; ! test -e left",
    );
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| std::fs::read(place.path(name)).expect("it is there");
    let said: serde_json::Value = serde_json::from_slice(&read("said")).expect("JSON");
    let config: serde_json::Value = serde_json::from_slice(&read("config")).expect("JSON");
    let image = &said["container_images"][0];
    assert_eq!(image["config"], config);
    assert_eq!(config["config"]["User"], "7:8", "{config}");
    assert_eq!(config["config"]["Entrypoint"][0], "/file", "{config}");
    assert_eq!(
        image["layers"][0]["diff_id"], config["rootfs"]["diff_ids"][0],
        "{said}"
    );
    // Each digest is that of a blob, which holds what was written.
    let blob = |digest: &serde_json::Value| {
        let digest = digest.as_str().expect("a digest").replace(':', "/");
        read(&format!("images/blobs/{digest}"))
    };
    assert_eq!(blob(&image["config_digest"]), read("config"));
    let manifest: serde_json::Value =
        serde_json::from_slice(&blob(&image["manifest"])).expect("JSON");
    assert_eq!(
        manifest["layers"][0]["digest"],
        image["layers"][0]["digest"]
    );
    let refused = String::from_utf8(read("refused")).expect("text");
    assert!(
        refused.starts_with(
            "mke4fs: --oci-config needs a container image after -d, such as oci:DIR\n"
        ),
        "{refused}"
    );
}
