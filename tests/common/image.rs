//! Given entries, gives layers, and given layers, an OCI image layout or what `docker save` writes;
//! knows nothing of the reader that it tries, and lies wherever a test wants it to.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The media types of what images are made of.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The time of every entry, in seconds since 1970.
pub(crate) const MTIME: u64 = 1_234_567_890;

/// A tar archive that grows entry by entry, in the form of ustar.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(Entry::new(name, b'5').mode(mode))
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(Entry::new(name, b'0').content(content))
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(Entry::new(name, b'2').target(target))
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.entry(Entry::new(name, b'1').target(target))
    }

    pub(crate) fn entry(mut self, entry: Entry) -> Self {
        entry.write(&mut self.0);
        self
    }

    /// The archive, with its end.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.0[..], &[0; 1024]].concat()
    }
}

/// One entry of an archive.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    name: String,
    kind: u8,
    mode: u32,
    target: String,
    content: Vec<u8>,
}

impl Entry {
    /// An entry of the type that tar calls `kind`.
    pub(crate) fn new(name: &str, kind: u8) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            mode: 0o644,
            target: String::new(),
            content: Vec::new(),
        }
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        self.target = target.to_owned();
        self
    }

    pub(crate) fn content(mut self, content: &[u8]) -> Self {
        self.content = content.to_vec();
        self
    }

    fn write(&self, to: &mut Vec<u8>) {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.name.as_bytes());
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", self.content.len()).as_bytes());
        put(136, format!("{MTIME:011o}").as_bytes());
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.target.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        to.extend(header);
        to.extend(&self.content);
        to.resize(to.len().next_multiple_of(512), 0);
    }
}

/// The digest of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes);
    let hex: String = hex.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// An OCI image layout in a directory of its own.
#[derive(Debug)]
pub(crate) struct Layout {
    directory: TempDir,
}

impl Layout {
    /// A layout without any blob or index.
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("mke4fs-oci-").tempdir()?;
        let layout = Self { directory };
        fs::create_dir_all(layout.path().join("blobs/sha256"))?;
        layout.write("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}))?;
        Ok(layout)
    }

    /// A layout of one image, for the platform of this machine, without a name.
    pub(crate) fn of(layers: &[Vec<u8>]) -> Result<Self> {
        let layout = Self::new()?;
        let image = layout.image(layers)?;
        layout.index(&[image])?;
        Ok(layout)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the blob of `descriptor` is.
    pub(crate) fn blob_path(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        self.path().join("blobs").join(digest.replace(':', "/"))
    }

    pub(crate) fn write(&self, name: &str, document: &Value) -> Result<()> {
        Ok(fs::write(self.path().join(name), document.to_string())?)
    }

    /// Stores a blob, and gives its descriptor.
    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let descriptor =
            json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
        fs::write(self.blob_path(&descriptor), bytes)?;
        Ok(descriptor)
    }

    /// Stores an image of plain layers, and gives its manifest's descriptor.
    pub(crate) fn image(&self, layers: &[Vec<u8>]) -> Result<Value> {
        let blobs: Result<Vec<Value>> = layers.iter().map(|it| self.blob(LAYER, it)).collect();
        let diff_ids: Vec<String> = layers.iter().map(|it| digest(it)).collect();
        self.manifest(&blobs?, &config(&diff_ids))
    }

    /// Stores a configuration and a manifest of layers that are there.
    pub(crate) fn manifest(&self, layers: &[Value], config: &Value) -> Result<Value> {
        let config = self.blob(CONFIG, config.to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers
        });
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// Writes index.json.
    pub(crate) fn index(&self, manifests: &[Value]) -> Result<()> {
        self.write("index.json", &index(manifests))
    }

    /// The files of the layout as one archive, as `skopeo copy` to `oci-archive:` would write it.
    pub(crate) fn archive(&self) -> Result<Tar> {
        let mut tar = Tar::new().dir("blobs/", 0o755).dir("blobs/sha256/", 0o755);
        let mut blobs: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(self.path().join("blobs/sha256"))? {
            blobs.push(entry?.path());
        }
        blobs.sort();
        let files = ["index.json", "oci-layout"].map(|name| self.path().join(name));
        for path in blobs.iter().chain(&files) {
            let name = path.strip_prefix(self.path())?;
            tar = tar.file(&name.to_string_lossy(), &fs::read(path)?);
        }
        Ok(tar)
    }
}

/// A configuration for the platform of this machine.
pub(crate) fn config(diff_ids: &[String]) -> Value {
    json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}
    })
}

pub(crate) fn index(manifests: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
}

/// `descriptor` with the name that an index gives it.
pub(crate) fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    descriptor
}

/// `descriptor` with the platform that an index gives it, such as `linux/arm64/v8`.
pub(crate) fn for_platform(mut descriptor: Value, platform: &str) -> Value {
    let mut parts = platform.split('/');
    descriptor["platform"] = json!({"os": parts.next(), "architecture": parts.next()});
    if let Some(variant) = parts.next() {
        descriptor["platform"]["variant"] = variant.into();
    }
    descriptor
}
