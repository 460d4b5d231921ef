//! Given the bytes of an index, manifest or configuration, gives what of it matters here; never
//! opens a blob.
//!
//! The fields are those of the OCI image specification's `image-index.md`, `manifest.md` and
//! `config.md`, and of Docker's image manifest, version 2, schema 2, which has the same under other
//! media types. Go's tools write and read all of them, so the names of fields may be in any case.

use std::collections::HashMap;

use serde::Deserialize;

use super::any_case::from_json;
use super::digest::Digest;
use super::error::{FileErrorKind, ImageErrorKind, OciError};
use super::platform::Platform;

/// The largest document, in bytes. Registries take manifests of 4 MiB.
pub(super) const DOCUMENT_MAX: u64 = 8 << 20;

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];
/// The media types of layers, without what is said behind them of their compression.
const LAYERS: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
];
/// Those of layers that may be somewhere else.
const FOREIGN_LAYERS: [&str; 2] = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];
/// How a media type says a compression. Which one it is, the blob itself tells.
const COMPRESSIONS: [&str; 5] = ["", "+gzip", "+zstd", ".gzip", ".zstd"];

/// What a descriptor leads to, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Index,
    Manifest,
    Other,
}

/// Whether a layer must be in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LayerKind {
    Ordinary,
    /// Not distributable: the image may leave it out.
    Foreign,
}

/// What is said of a blob where it is referred to.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    /// In bytes.
    pub(super) size: u64,
    annotations: Option<Annotations>,
    platform: Option<PlatformSaid>,
}

type Said = Option<String>;

/// A map, unlike the rest: its names have one spelling.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "HashMap<String, Said>")]
struct Annotations {
    ref_name: Said,
    /// The whole name, where `ref_name` is but the tag: so does `docker save`.
    containerd_name: Said,
    /// What an image of BuildKit has beside it that is none.
    reference_type: Said,
}

impl From<HashMap<String, Said>> for Annotations {
    fn from(mut all: HashMap<String, Said>) -> Self {
        let mut said = |name| all.remove(name).flatten();
        Self {
            ref_name: said("org.opencontainers.image.ref.name"),
            containerd_name: said("io.containerd.image.name"),
            reference_type: said("vnd.docker.reference.type"),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
struct PlatformSaid {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

/// The platform of these parts, if there are an operating system and an architecture.
fn platform(os: &Said, architecture: &Said, variant: &Said) -> Option<Platform> {
    let (os, architecture) = (os.as_deref()?, architecture.as_deref()?);
    let empty = os.is_empty() || architecture.is_empty();
    (!empty).then(|| Platform::new(os, architecture, variant.as_deref()))
}

impl Descriptor {
    /// What it leads to.
    pub(super) fn kind(&self) -> Kind {
        let said = |types: [&str; 2]| types.contains(&&*self.media_type);
        match () {
            () if said(INDEXES) => Kind::Index,
            () if said(MANIFESTS) && !self.is_attestation() => Kind::Manifest,
            () => Kind::Other,
        }
    }

    /// The names that the image has.
    pub(super) fn names(&self) -> Vec<String> {
        let names = |it: &Annotations| [it.containerd_name.clone(), it.ref_name.clone()];
        let names = self.annotations.as_ref().map(names).into_iter().flatten();
        names.flatten().filter(|name| !name.is_empty()).collect()
    }

    /// What the image is made for, if it says so here.
    pub(super) fn platform(&self) -> Option<Platform> {
        let said = self.platform.as_ref()?;
        platform(&said.os, &said.architecture, &said.variant)
    }

    /// How a layer must be treated.
    ///
    /// # Errors
    /// Where it is of no kind that holds files of a filesystem.
    pub(super) fn layer_kind(&self) -> Result<LayerKind, OciError> {
        let is_one_of = |types: [&str; 2]| {
            let rest = types.iter().find_map(|it| self.media_type.strip_prefix(it));
            rest.is_some_and(|rest| COMPRESSIONS.contains(&rest))
        };
        match () {
            () if is_one_of(LAYERS) => Ok(LayerKind::Ordinary),
            () if is_one_of(FOREIGN_LAYERS) => Ok(LayerKind::Foreign),
            () => Err(ImageErrorKind::LayerType {
                digest: self.digest.clone(),
                media_type: self.media_type.clone(),
            }
            .into()),
        }
    }

    /// BuildKit hides what it attests of an image as an image for an unknown platform.
    fn is_attestation(&self) -> bool {
        let annotations = self.annotations.as_ref();
        let said = annotations.and_then(|it| it.reference_type.as_deref());
        said == Some("attestation-manifest")
    }
}

/// An index or a manifest: which of them, its fields tell.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// What an image is made of.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    /// The lowest first.
    pub(super) layers: Vec<Descriptor>,
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: Rootfs,
}

#[derive(Debug, Deserialize)]
struct Rootfs {
    diff_ids: Option<Vec<Digest>>,
}

impl Config {
    /// The configuration in `bytes`; `path` is what messages call it.
    pub(super) fn parse(path: &str, bytes: &[u8]) -> Result<Self, OciError> {
        parse(path, bytes)
    }

    /// What the image is made for, if it says so.
    pub(super) fn platform(&self) -> Option<Platform> {
        platform(&self.os, &self.architecture, &self.variant)
    }

    /// The digests of the layers' archives, uncompressed, the lowest first.
    pub(super) fn diff_ids(&self) -> &[Digest] {
        self.rootfs.diff_ids.as_deref().unwrap_or_default()
    }
}

/// One image of `docker save`'s manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SavedImage {
    /// The configuration's path in the archive.
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    /// The layers' paths in the archive, the lowest first.
    pub(super) layers: Option<Vec<String>>,
}

/// What `oci-layout` says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

/// Says whether the file `oci-layout` is of a version known here.
pub(super) fn check_layout(path: &str, bytes: &[u8]) -> Result<(), OciError> {
    let layout: Layout = parse(path, bytes)?;
    if layout.image_layout_version.starts_with("1.") {
        Ok(())
    } else {
        Err(FileErrorKind::LayoutVersion(layout.image_layout_version).of(path))
    }
}

/// The images in `docker save`'s manifest.json.
pub(super) fn parse_saved(path: &str, bytes: &[u8]) -> Result<Vec<SavedImage>, OciError> {
    parse(path, bytes)
}

/// What the index in `bytes` leads to.
///
/// # Errors
/// Where it also claims to be a manifest: readers would disagree what it is (CVE-2021-41190).
pub(super) fn parse_index(path: &str, bytes: &[u8]) -> Result<Vec<Descriptor>, OciError> {
    let document = parse_document(path, bytes, INDEXES)?;
    match (document.manifests, document.config, document.layers) {
        (Some(manifests), None, None) => Ok(manifests),
        _ => Err(FileErrorKind::NotWhatItSays("an index").of(path)),
    }
}

/// The manifest in `bytes`.
///
/// # Errors
/// As [`parse_index`], and where it is of something else than an image.
pub(super) fn parse_manifest(path: &str, bytes: &[u8]) -> Result<Manifest, OciError> {
    let document = parse_document(path, bytes, MANIFESTS)?;
    let (None, Some(config)) = (document.manifests, document.config) else {
        return Err(FileErrorKind::NotWhatItSays("a manifest").of(path));
    };
    if !CONFIGS.contains(&&*config.media_type) {
        let said = document.artifact_type.unwrap_or(config.media_type);
        return Err(ImageErrorKind::Artifact(said).into());
    }
    Ok(Manifest {
        config,
        layers: document.layers.unwrap_or_default(),
    })
}

fn parse_document(path: &str, bytes: &[u8], types: [&str; 2]) -> Result<Document, OciError> {
    let document: Document = parse(path, bytes)?;
    match (document.schema_version, &document.media_type) {
        (Some(2), None) => Ok(document),
        (Some(2), Some(said)) if said.is_empty() || types.contains(&&**said) => Ok(document),
        (Some(2), Some(said)) => Err(FileErrorKind::OtherType(said.clone()).of(path)),
        (version, _) => Err(FileErrorKind::SchemaVersion(version.unwrap_or(0)).of(path)),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(path: &str, bytes: &[u8]) -> Result<T, OciError> {
    from_json(bytes).map_err(|error| FileErrorKind::Json(error.to_string()).of(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str) -> String {
        format!("{{\"mediaType\":\"{media_type}\",\"digest\":\"{DIGEST}\",\"size\":0}}")
    }

    #[test]
    fn what_is_index_and_manifest_at_once_is_neither() {
        let config = descriptor(CONFIGS[0]);
        let both = format!("{{\"schemaVersion\":2,\"manifests\":[],\"config\":{config}}}");
        let (index, manifest) = (
            parse_index("b", both.as_bytes()).unwrap_err(),
            parse_manifest("b", both.as_bytes()).unwrap_err(),
        );
        assert_eq!(
            index.to_string(),
            "b is not an index, as its reference says"
        );
        assert_eq!(
            manifest.to_string(),
            "b is not a manifest, as its reference says"
        );
    }

    #[test]
    fn a_document_is_of_the_type_it_was_called() {
        for (text, error) in [
            (
                "{",
                "b is not valid JSON for its place: EOF while parsing an object at line 1 column 1",
            ),
            ("{}", "b has schema version 0: must be 2"),
            ("{\"schemaVersion\":1}", "b has schema version 1: must be 2"),
            (
                "{\"schemaVersion\":2,\"mediaType\":\"text/plain\"}",
                "b has the media type text/plain, but was referenced as another",
            ),
        ] {
            let found = parse_index("b", text.as_bytes()).unwrap_err();
            assert_eq!(found.to_string(), error);
        }
    }

    #[test]
    fn names_of_fields_may_be_in_any_case() {
        let config = descriptor(CONFIGS[0]).replace("digest", "DIGEST");
        let text = format!(
            "{{\"SchemaVersion\":2,\"CONFIG\":{config},\"layer\u{17f}\":[{config}],\"Layer\":1}}"
        );
        let manifest = parse_manifest("b", text.as_bytes()).unwrap();
        assert_eq!(manifest.layers.len(), 1);
        let escaped = text.replace("CONFIG", "\\u0043onfig");
        assert!(parse_manifest("b", escaped.as_bytes()).is_ok());
        let saved = b"[{\"config\":\"c\",\"repotags\":null,\"LAYERS\":[\"l\"]}]";
        let saved = parse_saved("b", saved).unwrap();
        assert_eq!(saved[0].layers.as_deref(), Some(&["l".to_owned()][..]));
        // The names in a map are not those of fields, so both of these are there.
        let config = b"{\"OS\":\"linux\",\"Architecture\":\"arm64\",\
            \"config\":{\"Labels\":{\"a\":\"\",\"A\":\"\"}},\
            \"RootFS\":{\"Diff_IDs\":[]}}";
        let config = Config::parse("b", config).unwrap();
        assert_eq!(config.platform().unwrap().to_string(), "linux/arm64");
    }

    #[test]
    fn annotations_have_one_spelling() {
        let name = "org.opencontainers.image.ref.name";
        let other = name.to_uppercase();
        let annotations = format!("{{\"{name}\":\"a\",\"{other}\":\"b\",\"x\":null}}");
        let index = descriptor(INDEXES[0]);
        let index = index.replace('}', &format!(",\"Annotations\":{annotations}}}"));
        let index: Descriptor = from_json(index.as_bytes()).unwrap();
        assert_eq!(index.names(), ["a"]);
    }

    #[test]
    fn a_field_twice_is_refused_whatever_its_case() {
        for text in [
            "[{\"Config\":\"a\",\"config\":\"b\",\"Layers\":[]}]",
            "[{\"Config\":\"a\",\"Config\":\"b\",\"Layers\":[]}]",
            "[{\"Config\":\"a\",\"Layers\":[],\"layer\u{17f}\":[]}]",
        ] {
            let error = parse_saved("b", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("duplicate field"), "{error}");
        }
        let error = parse_saved("b", b"[[\"c\", null, [\"l\"]]]").unwrap_err();
        assert!(
            error.to_string().contains("invalid type: sequence"),
            "{error}"
        );
    }

    #[test]
    fn artifacts_are_no_images() {
        let config = descriptor("application/vnd.oci.empty.v1+json");
        let text = format!("{{\"schemaVersion\":2,\"config\":{config},\"layers\":[]}}");
        let error = parse_manifest("b", text.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an artifact of type application/vnd.oci.empty.v1+json holds no filesystem"
        );
    }

    #[test]
    fn layers_are_told_by_their_media_type() {
        let kind = |media_type: &str| {
            let text = descriptor(media_type);
            let descriptor: Descriptor = serde_json::from_str(&text).unwrap();
            descriptor.layer_kind()
        };
        for (media_type, expected) in [
            (
                "application/vnd.oci.image.layer.v1.tar",
                LayerKind::Ordinary,
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                LayerKind::Ordinary,
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                LayerKind::Ordinary,
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                LayerKind::Ordinary,
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                LayerKind::Foreign,
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                LayerKind::Foreign,
            ),
        ] {
            assert_eq!(kind(media_type).unwrap(), expected, "{media_type}");
        }
        for media_type in [
            "",
            "text/plain",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        ] {
            assert!(kind(media_type).is_err(), "{media_type}");
        }
    }
}
