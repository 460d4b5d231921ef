//! Given where images are and which one is asked for, gives its layers in order; never reads them.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};

use super::checked::Checked;
use super::description::{Description, LayerDescription};
use super::digest::Digest;
use super::document::{
    Config, Descriptor, Kind, LayerKind, Manifest, check_layout, parse_index, parse_manifest,
    parse_saved,
};
use super::error::{FileErrorKind, ImageErrorKind, OciError};
use super::names::{Named, pick};
use super::platform::Platform;
use super::store::{Blob, Store};

/// How deep an index may lie in others. Nobody writes more than two.
const DEPTH_MAX: usize = 8;

/// How many documents indexes may lead to before one is chosen.
const DOCUMENTS_MAX: usize = 4096;

/// How many layers an image may have. Docker itself stacks 127.
const LAYERS_MAX: usize = 1024;

/// Which of the images is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) reference: Option<String>,
    pub(super) platform: Option<Platform>,
}

/// A layer, not yet looked into.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) blob: Blob,
    /// The digest of the blob as it is, where one was said.
    pub(super) digest: Option<Digest>,
    /// The digest of the uncompressed archive.
    pub(super) diff_id: Digest,
}

/// The image that was asked for.
pub(super) struct Chosen {
    /// The lowest first.
    pub(super) layers: Vec<Layer>,
    pub(super) manifest: Option<Digest>,
    pub(super) config_digest: Option<Digest>,
    /// The configuration as it is stored.
    pub(super) config: Vec<u8>,
}

impl Chosen {
    pub(super) fn description(self) -> Description {
        let text = |digest: &Digest| digest.to_string();
        let layer = |layer: &Layer| LayerDescription {
            digest: layer.digest.as_ref().map(text),
            diff_id: layer.diff_id.to_string(),
        };
        Description {
            manifest: self.manifest.as_ref().map(text),
            config_digest: self.config_digest.as_ref().map(text),
            layers: self.layers.iter().map(layer).collect(),
            config: self.config,
        }
    }
}

/// A file that shows the form of an image, and what is to be said where another was asked for.
type FormShown = (&'static str, &'static str);

const SAVED_BY_OLD: FormShown = (
    "repositories",
    "docker save wrote this before 1.10; load it and save it again",
);
const OTHERS_THAN_LAYOUT: [FormShown; 2] = [
    (
        "manifest.json",
        "use docker-archive: for what docker save wrote",
    ),
    SAVED_BY_OLD,
];
const OTHERS_THAN_SAVED: [FormShown; 2] = [
    ("oci-layout", "use oci-archive: for an OCI image layout"),
    SAVED_BY_OLD,
];

/// The document `path`, by which an image's form is known; `others` are those of other forms.
fn first_document(store: &Store, path: &str, others: &[FormShown]) -> Result<Vec<u8>, OciError> {
    store.document(path).map_err(|fault| match &fault {
        OciError::File {
            fault: FileErrorKind::Missing,
            ..
        } => match others.iter().find(|(there, _)| store.has(there)) {
            Some((there, form)) => FileErrorKind::OtherForm(there, form).of(path),
            None => fault,
        },
        _ => fault,
    })
}

/// The layers, the lowest first, of the image in the OCI image layout `store`.
pub(super) fn choose(store: &Store, wish: &Selection) -> Result<Chosen, OciError> {
    let path = "oci-layout";
    check_layout(path, &first_document(store, path, &OTHERS_THAN_LAYOUT)?)?;
    let path = "index.json";
    let mut roots = parse_index(path, &store.document(path)?)?;
    roots.retain(|root| root.kind() != Kind::Other);
    let named: Vec<Named> = roots.iter().map(named).collect();
    let unnamed = roots.iter().all(|root| root.names().is_empty());
    let mut walk = Walk {
        store,
        ties: unnamed && wish.reference.is_none(),
        root: 0,
        seen: HashSet::new(),
        documents: 0,
        leaves: Vec::new(),
        artifact: None,
    };
    for at in pick(wish.reference.as_deref(), &named)? {
        walk.root = at;
        walk.descend(&roots[at], 0)?;
    }
    let found = walk.finish(wish)?;
    let layers = layers(store, &found.manifest, &found.parsed)?;
    Ok(Chosen {
        layers,
        manifest: Some(found.digest),
        config_digest: Some(found.manifest.config.digest),
        config: found.config,
    })
}

fn named(root: &Descriptor) -> Named {
    Named {
        names: root.names(),
        digest: Some(root.digest.clone()),
    }
}

/// An image that indexes lead to.
struct IndexedImage {
    /// Which entry of index.json leads to it.
    root: usize,
    descriptor: Descriptor,
    platform: Option<Platform>,
}

/// The way through the indexes.
struct Walk<'a> {
    store: &'a Store,
    /// Whether equally suited images are to be told apart by the caller.
    ties: bool,
    root: usize,
    seen: HashSet<Digest>,
    documents: usize,
    leaves: Vec<IndexedImage>,
    /// Why something else than an image was passed over.
    artifact: Option<OciError>,
}

impl Walk<'_> {
    /// Collects the images that `descriptor` leads to. A second way to the same one is not gone.
    fn descend(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), OciError> {
        let kind = descriptor.kind();
        if kind == Kind::Other || !self.seen.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        self.documents += 1;
        if self.documents > DOCUMENTS_MAX {
            return Err(ImageErrorKind::Documents(DOCUMENTS_MAX).into());
        }
        if kind == Kind::Manifest {
            return self.leaf(descriptor);
        }
        if depth == DEPTH_MAX {
            return Err(ImageErrorKind::Depth(DEPTH_MAX).into());
        }
        let (path, bytes) = document(self.store, descriptor)?;
        for inner in parse_index(&path, &bytes)? {
            self.descend(&inner, depth + 1)?;
        }
        Ok(())
    }

    fn leaf(&mut self, descriptor: &Descriptor) -> Result<(), OciError> {
        let platform = match descriptor.platform() {
            Some(said) => Some(said),
            None => match load(self.store, descriptor) {
                Ok(loaded) => loaded.parsed.platform(),
                Err(fault @ OciError::Image(ImageErrorKind::Artifact(_))) => {
                    self.artifact.get_or_insert(fault);
                    return Ok(());
                }
                Err(fault) => return Err(fault),
            },
        };
        self.leaves.push(IndexedImage {
            root: self.root,
            descriptor: descriptor.clone(),
            platform,
        });
        Ok(())
    }

    /// The image that suits the platform best; of equal ones the first.
    fn finish(self, wish: &Selection) -> Result<Loaded, OciError> {
        let host = Platform::host();
        let wanted = wish.platform.as_ref().unwrap_or(&host);
        let suits = |leaf: &&IndexedImage| wanted.distance(leaf.platform.as_ref()?);
        let suited = self.leaves.iter().filter(|leaf| suits(leaf).is_some());
        let leaf = match (suited.min_by_key(suits), &self.leaves[..], &wish.platform) {
            (Some(best), leaves, _) => {
                let is_tie = |leaf: &&IndexedImage| suits(leaf) == suits(&best);
                let mut ties = leaves.iter().filter(is_tie);
                if self.ties && ties.any(|leaf| leaf.root != best.root) {
                    return Err(ImageErrorKind::WhichImage(digests(leaves)).into());
                }
                best
            }
            (None, [], _) => return Err(self.artifact.unwrap_or(ImageErrorKind::Empty.into())),
            (None, [only], None) => only,
            (None, leaves, None) => {
                return Err(ImageErrorKind::WhichPlatform(platforms(leaves)).into());
            }
            (None, leaves, Some(wanted)) => {
                let wanted = wanted.clone();
                let there = platforms(leaves);
                return Err(ImageErrorKind::NoSuchPlatform { wanted, there }.into());
            }
        };
        load(self.store, &leaf.descriptor)
    }
}

fn digests(leaves: &[IndexedImage]) -> Vec<String> {
    let ways = leaves.iter().map(|leaf| &leaf.descriptor.digest);
    ways.map(|digest| format!("@{digest}")).collect()
}

fn platforms(leaves: &[IndexedImage]) -> Vec<String> {
    let said = leaves.iter().map(|leaf| match &leaf.platform {
        Some(platform) => platform.to_string(),
        None => "no platform".to_owned(),
    });
    let mut said: Vec<String> = said.collect();
    said.sort();
    said.dedup();
    said
}

/// The document that `descriptor` leads to, of the size and digest it says.
fn document(store: &Store, descriptor: &Descriptor) -> Result<(String, Vec<u8>), OciError> {
    let blob = blob(store, descriptor)?;
    let bytes = blob.document()?;
    check(&blob.path, &bytes, &descriptor.digest)?;
    Ok((blob.path, bytes))
}

fn check(path: &str, bytes: &[u8], needed: &Digest) -> Result<(), OciError> {
    Checked::new(bytes, Some(needed)).finish(path)
}

/// The blob that `descriptor` leads to, of the size it says.
fn blob(store: &Store, descriptor: &Descriptor) -> Result<Blob, OciError> {
    let blob = store.open(&descriptor.digest.path())?;
    let (found, needed) = (blob.size_bytes, descriptor.size);
    if found == needed {
        Ok(blob)
    } else {
        Err(FileErrorKind::OtherSize { found, needed }.of(&blob.path))
    }
}

/// An image's documents.
struct Loaded {
    /// The manifest's.
    digest: Digest,
    manifest: Manifest,
    config: Vec<u8>,
    parsed: Config,
}

fn load(store: &Store, descriptor: &Descriptor) -> Result<Loaded, OciError> {
    let (path, bytes) = document(store, descriptor)?;
    let manifest = parse_manifest(&path, &bytes)?;
    let (path, config) = document(store, &manifest.config)?;
    Ok(Loaded {
        digest: descriptor.digest.clone(),
        parsed: Config::parse(&path, &config)?,
        manifest,
        config,
    })
}

fn layers(store: &Store, manifest: &Manifest, config: &Config) -> Result<Vec<Layer>, OciError> {
    let diff_ids = config.diff_ids();
    count(manifest.layers.len(), diff_ids)?;
    let pairs = manifest.layers.iter().zip(diff_ids);
    // A layer that is listed a thousand times is one file, opened once.
    let mut opened: HashMap<(Digest, u64), Blob> = HashMap::new();
    let mut blob = |descriptor: &Descriptor| match opened
        .entry((descriptor.digest.clone(), descriptor.size))
    {
        Slot::Occupied(known) => Ok(known.get().clone()),
        Slot::Vacant(slot) => blob(store, descriptor).map(|blob| slot.insert(blob).clone()),
    };
    let layer = |(descriptor, diff_id): (&Descriptor, &Digest)| {
        let kind = descriptor.layer_kind()?;
        let blob = blob(descriptor).map_err(|fault| match (kind, &fault) {
            (
                LayerKind::Foreign,
                OciError::File {
                    fault: FileErrorKind::Missing,
                    ..
                },
            ) => ImageErrorKind::ForeignLayer(descriptor.digest.clone()).into(),
            _ => fault,
        })?;
        Ok(Layer {
            blob,
            digest: Some(descriptor.digest.clone()),
            diff_id: diff_id.clone(),
        })
    };
    pairs.map(layer).collect()
}

fn count(layers: usize, diff_ids: &[Digest]) -> Result<(), OciError> {
    let diff_ids = diff_ids.len();
    if layers != diff_ids {
        return Err(ImageErrorKind::LayerCount { layers, diff_ids }.into());
    }
    if layers > LAYERS_MAX {
        return Err(ImageErrorKind::Layers(layers, LAYERS_MAX).into());
    }
    Ok(())
}

/// The layers, the lowest first, of the image in what `docker save` wrote.
pub(super) fn choose_saved(store: &Store, wish: &Selection) -> Result<Chosen, OciError> {
    let path = "manifest.json";
    let images = parse_saved(path, &first_document(store, path, &OTHERS_THAN_SAVED)?)?;
    let named: Vec<Named> = images
        .iter()
        .map(|image| Named {
            names: image.repo_tags.clone().unwrap_or_default(),
            digest: digest_of(&image.config),
        })
        .collect();
    let image = &images[pick(wish.reference.as_deref(), &named)?[0]];
    let bytes = store.document(&image.config)?;
    if let Some(digest) = digest_of(&image.config) {
        check(&image.config, &bytes, &digest)?;
    }
    let config = Config::parse(&image.config, &bytes)?;
    if let Some(wanted) = &wish.platform {
        let platform = config.platform();
        let suits = platform.as_ref().and_then(|it| wanted.distance(it));
        if suits.is_none() {
            let wanted = wanted.clone();
            let there = platform.iter().map(ToString::to_string).collect();
            return Err(ImageErrorKind::NoSuchPlatform { wanted, there }.into());
        }
    }
    let paths = image.layers.as_deref().unwrap_or_default();
    count(paths.len(), config.diff_ids())?;
    let pairs = paths.iter().zip(config.diff_ids());
    let layer = |(path, diff_id): (&String, &Digest)| {
        Ok(Layer {
            blob: store.open(path)?,
            digest: path
                .starts_with("blobs/")
                .then(|| digest_of(path))
                .flatten(),
            diff_id: diff_id.clone(),
        })
    };
    Ok(Chosen {
        layers: pairs.map(layer).collect::<Result<_, OciError>>()?,
        manifest: None,
        config_digest: digest_of(&image.config),
        config: bytes,
    })
}

/// The digest that a file of `docker save` is named after: `HEX.json` or `blobs/sha256/HEX`.
fn digest_of(path: &str) -> Option<Digest> {
    let (parents, name) = path.rsplit_once('/').unwrap_or(("blobs/sha256", path));
    let algorithm = parents.strip_prefix("blobs/")?;
    let hex = name.strip_suffix(".json").unwrap_or(name);
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}
