//! Given a container image, declares what its layers make of one another; never follows a path
//! out of it.
//!
//! An image is found by `index.json` and its blobs (the OCI image specification), or by
//! `manifest.json` as `docker save` writes it, in a directory or an archive. Every document and layer
//! has the size and digest that were said of it, compressed and uncompressed, or the image is refused.
//! Layers are uncompressed once, into files without a name, several at a time; then each is laid over
//! those below it: first it takes away, then it brings.

mod any_case;
mod checked;
mod choice;
mod description;
mod digest;
mod document;
mod error;
mod layer_choice;
mod layers;
mod members;
mod names;
mod one_layer;
mod platform;
mod prune;
mod repeats;
mod store;
mod whiteouts;

use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::decompress::{Ignored, Memory};
use super::archive::{Entry, EntryKind, Unpack};
use super::options::{IS_OUTPUT, SourceOptions, heed_options, option_setters};
use super::patterns::PathType;
use super::{Declared, Source, SourceError, SourceWarning};
use crate::tree::{Metadata, NodeId, Tree};
use choice::{Chosen, Layer, Selection};
use error::OciError;
use layers::Contents;
use repeats::Repeats;
use store::Store;
use whiteouts::Below;

pub use description::{Description, LayerDescription};
pub use layer_choice::{LayerChoice, LayerChoiceError};
pub use platform::{Platform, PlatformError};

/// A container image as a [`Source`].
///
/// ```no_run
/// use mke4fs::source::Source;
/// use mke4fs::source::oci::Image;
/// use mke4fs::tree::{Metadata, NodeId, Tree};
///
/// let mut tree = Tree::with_root(Metadata::default());
/// Image::layout("images")
///     .reference(Some("debian:12".to_owned()))
///     .platform(Some("linux/arm64".parse()?))
///     .declare(&mut tree, NodeId::ROOT)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Laid over another source, the image replaces what has its names, as a directory of the same files
/// would: what a layer takes away is of the layers below it alone.
#[derive(Clone, Debug)]
pub struct Image {
    form: Form,
    path: PathBuf,
    wish: Selection,
    threads: NonZero<usize>,
    /// The only layer that is wanted.
    layer: Option<LayerChoice>,
    overlay_whiteouts: bool,
    options: SourceOptions,
}

/// How an image is kept.
#[derive(Clone, Copy, Debug)]
enum Form {
    Layout,
    Archive,
    DockerArchive,
}

impl Image {
    /// An image in the OCI image layout in the directory `path`.
    pub fn layout(path: impl Into<PathBuf>) -> Self {
        Self::new(Form::Layout, path.into())
    }

    /// An image in the archive `path` of an OCI image layout, plain or compressed.
    pub fn archive(path: impl Into<PathBuf>) -> Self {
        Self::new(Form::Archive, path.into())
    }

    /// An image in the archive `path` as `docker save` writes it, plain or compressed.
    pub fn docker_archive(path: impl Into<PathBuf>) -> Self {
        Self::new(Form::DockerArchive, path.into())
    }

    fn new(form: Form, path: PathBuf) -> Self {
        Self {
            form,
            path,
            wish: Selection::default(),
            threads: NonZero::<usize>::MIN,
            layer: None,
            overlay_whiteouts: false,
            options: SourceOptions::default(),
        }
    }

    /// Which image: its name, its name without a tag, or `@` and its digest. The only one needs no
    /// name.
    #[must_use]
    pub fn reference(mut self, name: Option<String>) -> Self {
        self.wish.reference = name;
        self
    }

    /// For which platform, of an image that is for several. By default that is
    /// [`Platform::host`], or the only one there is.
    #[must_use]
    pub fn platform(mut self, platform: Option<Platform>) -> Self {
        self.wish.platform = platform;
        self
    }

    /// How many layers are uncompressed at a time: one, by default.
    #[must_use]
    pub fn threads(mut self, threads: NonZero<usize>) -> Self {
        self.threads = threads;
        self
    }

    /// Declares what one layer makes of those below it, and nothing that it leaves as it was.
    #[must_use]
    pub fn layer(mut self, layer: Option<LayerChoice>) -> Self {
        self.layer = layer;
        self
    }

    /// Whether what a [`layer`](Self::layer) takes away is declared in the form of overlayfs: character
    /// devices 0:0, and directories with `trusted.overlay.opaque`. Not by default.
    ///
    /// Filesystems of all layers, each made so, show as an overlay what the image holds.
    #[must_use]
    pub fn overlay_whiteouts(mut self, overlay: bool) -> Self {
        self.overlay_whiteouts = overlay;
        self
    }

    option_setters!(spool_in keep_xattrs exclude latest_time implied_time acl_names);

    /// What the image says of itself: its configuration and the digests of its parts. No layer is read.
    ///
    /// # Errors
    /// Where there is no such image, or a document of it is not as it should be.
    pub fn description(&self) -> Result<Description, SourceError> {
        let chosen = self.chosen(&self.options.spool(), &Ignored::default());
        let chosen = chosen.map_err(|fault| self.error(fault))?;
        Ok(chosen.description())
    }

    fn chosen(&self, spool: &Path, ignored: &Ignored) -> Result<Chosen, OciError> {
        let apart = match (&self.options.output, self.form) {
            (Some(output), Form::Layout) if is_part_of_layout(&self.path, output) => {
                Err(io::Error::other(IS_OUTPUT))
            }
            _ => self.options.check_is_not_output(&self.path),
        };
        apart.map_err(|error| OciError::read(&self.path.to_string_lossy(), error))?;
        let archive = || Store::archive(&self.path, spool, ignored, &self.options.cancel);
        match self.form {
            Form::Layout => choice::choose(&Store::directory(&self.path)?, &self.wish),
            Form::Archive => choice::choose(&archive()?, &self.wish),
            Form::DockerArchive => choice::choose_saved(&archive()?, &self.wish),
        }
    }

    /// The fault as one of this image.
    fn error(&self, fault: OciError) -> SourceError {
        let path = self.path.as_os_str().as_encoded_bytes();
        let names_image = fault.path().is_some_and(|it| it.as_bytes() == path);
        let error = match fault {
            OciError::Read { path, error } => SourceError::read(path, error),
            fault if names_image => SourceError::about(path, fault),
            fault => SourceError::other(fault),
        };
        if names_image { error } else { error.of(path) }
    }

    /// What is in the image's layers, and what was passed over where they are.
    fn contents(&self) -> Result<(Vec<Arc<Contents>>, Vec<SourceWarning>), OciError> {
        let path = &self.path;
        let ignored = Ignored::default();
        let spool = self.options.spool();
        let mut layers: Vec<Layer> = self.chosen(&spool, &ignored)?.layers;
        if let Some(wanted) = &self.layer {
            let last = wanted.find(&layers)?;
            layers.truncate(last + 1);
        }
        let reading = layers::Reading {
            spool: &spool,
            xattrs: &self.options.xattrs,
            cancel: &self.options.cancel,
            memory: &Memory::default(),
        };
        let contents = layers::read(&layers, reading, self.threads)?;
        let of = |path: &[u8], bytes| SourceWarning::Ignored {
            path: path.to_vec(),
            bytes,
        };
        let mut warnings = vec![of(path.as_os_str().as_encoded_bytes(), ignored.bytes())];
        warnings.extend(contents.iter().map(|it| of(it.path.as_bytes(), it.ignored)));
        warnings.dedup();
        warnings.retain(|warning| !matches!(warning, SourceWarning::Ignored { bytes: 0, .. }));
        if contents.iter().all(|layer| layer.entries.is_empty()) {
            let path = path.as_os_str().as_encoded_bytes().to_vec();
            warnings.push(SourceWarning::NoEntries { path });
        }
        Ok((contents, warnings))
    }

    /// Lays the layers over one another in the directory `at` of `tree`, which is empty.
    fn lay(
        &self,
        contents: &[Arc<Contents>],
        tree: &mut Tree,
        at: NodeId,
    ) -> Result<Declared, SourceError> {
        let mut unpack =
            Unpack::new(tree, at, self.options.implied())?.acl_names(self.options.acl_names);
        let only = contents.last().filter(|_| self.layer.is_some());
        let below = contents.len() - usize::from(only.is_some());
        let below = &contents[..below];
        let mut repeats = Repeats::of(below);
        for (number, layer) in below.iter().enumerate() {
            if repeats.change_nothing(&below[number..]) {
                break;
            }
            self.lay_one(layer, &mut unpack, at)?;
            repeats.laid(layer, &unpack);
        }
        let before = only.map(|layer| {
            let before = unpack.tree().clone();
            self.lay_one(layer, &mut unpack, at).map(|()| before)
        });
        let before = before.transpose()?;
        let root = unpack.root_metadata();
        let warnings = unpack.finish()?;
        prune::prune(tree, at, &self.options.excluded)?;
        if let Some(mut before) = before {
            prune::prune(&mut before, at, &self.options.excluded)?;
            let whiteout = Metadata {
                permissions: 0,
                ..self.options.implied()
            };
            let whiteout = self.overlay_whiteouts.then_some(whiteout);
            one_layer::leave_changes(&before, tree, whiteout)?;
        }
        Ok(Declared { root, warnings })
    }

    /// Lays one layer over those below it: first it takes away, then it brings.
    fn lay_one(
        &self,
        layer: &Contents,
        unpack: &mut Unpack<'_>,
        root: NodeId,
    ) -> Result<(), SourceError> {
        unpack.begin_layer();
        if !layer.whiteouts.is_empty() {
            // Whoever applies a layer entry by entry may find the target before the whiteout.
            unpack.hold_targets(layer.entries.iter().map(|(entry, _)| entry));
            let own = layer.directories();
            let tree = unpack.tree();
            let mut below = Below {
                tree,
                root,
                own: &own,
            };
            for whiteout in &layer.whiteouts {
                below.take_out(whiteout)?;
            }
        }
        for (entry, content) in &layer.entries {
            let mut entry = entry.clone();
            let of_layer = |error: SourceError| error.of(layer.path.as_bytes());
            if !self.options.excludes(&entry.path, leaf(&entry)) {
                let settled = entry.settle(&self.options.owners);
                settled.map_err(|error| of_layer(SourceError::other(error)))?;
            }
            entry.metadata = self.options.clamped(entry.metadata);
            let placed = unpack.entry(entry, content.clone());
            placed.map_err(|error| of_layer(error.into()))?;
        }
        unpack.release();
        unpack.note(layer.oddities.clone());
        Ok(())
    }

    fn declare_contents(
        &self,
        contents: &[Arc<Contents>],
        tree: &mut Tree,
        at: NodeId,
    ) -> Result<Declared, SourceError> {
        if at == NodeId::ROOT && tree.is_empty() && self.layer.is_none() {
            return self.lay(contents, tree, at);
        }
        let mut own = Tree::with_root(Metadata::default());
        let declared = self.lay(contents, &mut own, NodeId::ROOT)?;
        own.declare(tree, at)?;
        Ok(declared)
    }
}

/// How patterns take an entry.
fn leaf(entry: &Entry) -> PathType {
    match entry.kind {
        EntryKind::Directory => PathType::Directory,
        _ => PathType::Other,
    }
}

/// Whether `output` is one of the files that an image layout in `directory` is made of.
pub(crate) fn is_part_of_layout(directory: &Path, output: &Path) -> bool {
    let (Ok(directory), Ok(output)) = (directory.canonicalize(), output.canonicalize()) else {
        return false;
    };
    let below = output.strip_prefix(directory).ok();
    let first = below.and_then(|below| below.iter().next());
    first.is_some_and(|first| first == "blobs" || first == "index.json" || first == "oci-layout")
}

impl Source for Image {
    heed_options!();

    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        let path = self.path.as_os_str().as_encoded_bytes();
        let (contents, warnings) = self.contents().map_err(|fault| self.error(fault))?;
        let declared = self.declare_contents(&contents, tree, at);
        let mut declared = declared.map_err(|error| error.of(path))?;
        declared.warnings.splice(0..0, warnings);
        Ok(declared)
    }
}
