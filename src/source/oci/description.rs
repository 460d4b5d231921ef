//! Given a container image as it was chosen, holds what it says of itself; never reads a layer.

/// What a container image says of itself, beside its files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// The digest of its manifest, where it has one.
    pub manifest: Option<String>,
    /// The digest of its configuration, where that is said.
    pub config_digest: Option<String>,
    /// Its configuration as it is stored, a JSON document: entrypoint, environment, user, labels.
    pub config: Vec<u8>,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerDescription>,
}

/// What an image says of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerDescription {
    /// The digest of the blob as it is stored, where that is said.
    pub digest: Option<String>,
    /// The digest of the uncompressed archive.
    pub diff_id: String,
}

impl Description {
    /// The configuration in one line.
    #[cfg(feature = "cli")]
    pub(crate) fn config_line(&self) -> String {
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&self.config);
        parsed.map_or_else(|_| "null".to_owned(), |config| config.to_string())
    }
}
