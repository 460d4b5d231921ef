//! Given what is wrong with an image, gives the sentence that says it; never decides whether it is.

use std::error::Error;
use std::fmt;
use std::io;

use super::digest::{Digest, NoDigest};
use super::platform::Platform;
use crate::source::Readable;
use crate::source::archive::{ArchiveError, NotRead};
use crate::source::magic::NotTar;
use crate::sys;

/// How many names an error lists.
const LISTED: usize = 20;

/// Why an image cannot be read.
#[derive(Debug)]
pub(super) enum OciError {
    /// A file of the image cannot be read.
    Read { path: String, error: io::Error },
    /// A file of the image is not what it needs to be.
    File { path: String, fault: FileErrorKind },
    /// The image is not what is asked for.
    Image(ImageErrorKind),
}

impl OciError {
    /// `path` cannot be read because of `error`.
    pub(super) fn read(path: &str, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Read { path, error }
    }

    /// The path of the file it is about, if it is about one.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Self::Read { path, .. } | Self::File { path, .. } => Some(path),
            Self::Image(_) => None,
        }
    }

    /// The archive `path` is not read because of `error`.
    pub(super) fn not_read(path: &str, error: NotRead) -> Self {
        match error {
            NotRead::Io(error) => Self::read(path, error),
            NotRead::NotTar(found) => FileErrorKind::NotTar(found).of(path),
        }
    }
}

impl fmt::Display for OciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => {
                let path = Readable(path.as_bytes());
                write!(f, "cannot read {path}")?;
                if f.alternate() {
                    write!(f, ": {}", sys::reason(error))?;
                }
                Ok(())
            }
            Self::File { path, fault } => {
                write!(f, "{} ", Readable(path.as_bytes()))?;
                fault.fmt(f)
            }
            Self::Image(fault) => fault.fmt(f),
        }
    }
}

impl Error for OciError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            Self::File {
                fault: FileErrorKind::Archive(error),
                ..
            } => error.source(),
            Self::File { .. } | Self::Image(_) => None,
        }
    }
}

impl From<ImageErrorKind> for OciError {
    fn from(fault: ImageErrorKind) -> Self {
        Self::Image(fault)
    }
}

impl From<NoDigest> for OciError {
    fn from(error: NoDigest) -> Self {
        Self::Image(ImageErrorKind::Digest(error))
    }
}

/// What is wrong with one file of an image: the rest of a sentence that its path begins.
#[derive(Debug)]
pub(super) enum FileErrorKind {
    Missing,
    /// It is missing, and the other file shows that the image is in another form.
    OtherForm(&'static str, &'static str),
    /// It leads elsewhere, or is a directory or device.
    NotAFile,
    LayoutVersion(String),
    Json(String),
    /// A document of more bytes than any needs.
    Large {
        bytes: u64,
        limit: u64,
    },
    OtherDigest {
        found: Digest,
        needed: Digest,
    },
    OtherSize {
        found: u64,
        needed: u64,
    },
    /// It calls itself another media type than it was called.
    OtherType(String),
    NotWhatItSays(&'static str),
    SchemaVersion(u64),
    /// A layer, or an archive of an image, that is damaged.
    Archive(ArchiveError),
    /// One that is something else.
    NotTar(NotTar),
}

impl FileErrorKind {
    /// The fault of the file `path`.
    pub(super) fn of(self, path: &str) -> OciError {
        let path = path.to_owned();
        OciError::File { path, fault: self }
    }
}

impl fmt::Display for FileErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::OtherForm(there, form) => write!(f, "is missing, but {there} is there: {form}"),
            Self::NotAFile => f.write_str("must be a regular file inside the image"),
            Self::LayoutVersion(said) => {
                let said = Readable(said.as_bytes());
                write!(f, "has version {said}: must be 1")
            }
            Self::Json(error) => write!(f, "is not valid JSON for its place: {error}"),
            Self::Large { bytes, limit } => {
                write!(f, "has {bytes} bytes; at most {limit} are read")
            }
            Self::OtherDigest { found, needed } => {
                write!(f, "has the digest {found}, not {needed}")
            }
            Self::OtherSize { found, needed } => write!(f, "has {found} bytes, not {needed}"),
            Self::OtherType(said) => {
                let said = Readable(said.as_bytes());
                write!(
                    f,
                    "has the media type {said}, but was referenced as another"
                )
            }
            Self::NotWhatItSays(needed) => write!(f, "is not {needed}, as its reference says"),
            Self::SchemaVersion(version) => {
                write!(f, "has schema version {version}: must be 2")
            }
            Self::Archive(error) => {
                f.write_str("cannot be unpacked: ")?;
                error.fmt(f)
            }
            Self::NotTar(found) => found.say(f, crate::source::magic::ARCHIVE),
        }
    }
}

/// What is wrong with an image as a whole.
#[derive(Debug)]
pub(super) enum ImageErrorKind {
    Digest(NoDigest),
    Artifact(String),
    LayerType {
        digest: Digest,
        media_type: String,
    },
    /// A layer that the image may leave out, and did.
    ForeignLayer(Digest),
    LayerCount {
        layers: usize,
        diff_ids: usize,
    },
    /// So many layers, and the most there may be.
    Layers(usize, usize),
    /// There are so many layers, and none is called so.
    NoSuchLayer {
        wanted: String,
        layers: usize,
    },
    /// Indexes in indexes, deeper than this.
    Depth(usize),
    /// More documents than this.
    Documents(usize),
    Empty,
    NoSuchImage {
        wanted: String,
        there: Vec<String>,
    },
    /// Several images, of which none was named.
    WhichImage(Vec<String>),
    NoSuchPlatform {
        wanted: Platform,
        there: Vec<String>,
    },
    WhichPlatform(Vec<String>),
    /// An entry that would take away what it must not.
    Whiteout {
        path: Vec<u8>,
        why: &'static str,
    },
}

impl fmt::Display for ImageErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(error) => error.fmt(f),
            Self::Artifact(said) => {
                let said = Readable(said.as_bytes());
                write!(f, "an artifact of type {said} holds no filesystem")
            }
            Self::LayerType { digest, media_type } => {
                let said = Readable(media_type.as_bytes());
                write!(
                    f,
                    "layer {digest} is of type \"{said}\", which is not a known kind of tar archive"
                )
            }
            Self::ForeignLayer(digest) => {
                write!(
                    f,
                    "layer {digest} is not distributable and is missing from the image"
                )
            }
            Self::LayerCount { layers, diff_ids } => write!(
                f,
                "the configuration has {diff_ids} diff_ids for {layers} layers; each layer needs one"
            ),
            Self::Layers(layers, limit) => {
                write!(f, "the image has {layers} layers; at most {limit} are read")
            }
            Self::NoSuchLayer { wanted, layers } => {
                let noun = if *layers == 1 { "layer" } else { "layers" };
                write!(f, "no layer {wanted}: the image has {layers} {noun}")
            }
            Self::Depth(limit) => write!(f, "indexes are nested more than {limit} deep"),
            Self::Documents(limit) => write!(f, "the indexes lead to more than {limit} documents"),
            Self::Empty => f.write_str("no image in it"),
            Self::NoSuchImage { wanted, there } => {
                let wanted = Readable(wanted.as_bytes());
                write!(f, "no image named {wanted}; the names are: {}", List(there))
            }
            Self::WhichImage(there) => {
                write!(f, "several images: name one of {}", List(there))
            }
            Self::NoSuchPlatform { wanted, there } => {
                write!(
                    f,
                    "no image for platform {wanted}; the platforms are: {}",
                    List(there)
                )
            }
            Self::WhichPlatform(there) => {
                write!(
                    f,
                    "several platforms: select one with --platform: {}",
                    List(there)
                )
            }
            Self::Whiteout { path, why } => write!(f, "{}: {why}", Readable(path)),
        }
    }
}

/// Names for people, not endlessly many.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (at, name) in self.0.iter().take(LISTED).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", Readable(name.as_bytes()))?;
        }
        match self.0.len().checked_sub(LISTED) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}
