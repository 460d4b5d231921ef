//! Given what follows `-d`, says what it names, and opens it as a source; never reads a file in it.

use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};

#[cfg(feature = "oci")]
use super::images;
use super::location::{self, Location, Start};
#[cfg(feature = "tar")]
use super::progress::Counted;
use super::request::Whiteouts;
use crate::source::image::{Image, is_image};
use crate::source::patterns::Patterns;
use crate::source::{self, Source};

/// Where large temporary files go that have no better place.
pub(super) const SPOOL_DIRECTORY: &str = "/var/tmp";

/// What can hold files, by its name.
pub(super) enum Named {
    /// What comes on stdin, an archive.
    Stdin,
    Directory(PathBuf),
    Archive(PathBuf),
    /// An ext2, ext3 or ext4 image.
    Image(Location),
    #[cfg(feature = "oci")]
    Container(PathBuf, Box<source::oci::Image>),
}

/// How sources are read.
pub(super) struct OpenOptions<'a> {
    pub(super) keep_xattrs: bool,
    pub(super) excluded: &'a Patterns,
    pub(super) one_file_system: bool,
    /// A file that is no part of any source, such as the output.
    pub(super) excluded_file: Option<crate::sys::Identity>,
    pub(super) threads: NonZero<usize>,
    /// Where an archive is kept that cannot be read twice.
    #[cfg_attr(
        not(feature = "tar"),
        allow(dead_code, reason = "it is about archives")
    )]
    pub(super) spool_directory: PathBuf,
    /// The time of directories that an archive only implies.
    #[cfg_attr(
        not(feature = "tar"),
        allow(dead_code, reason = "it is about archives")
    )]
    pub(super) implied_time: i64,
    /// What becomes of names in ACLs that the image does not know.
    #[cfg_attr(
        not(feature = "tar"),
        allow(dead_code, reason = "it is about archives")
    )]
    pub(super) acl_names: source::AclNames,
    #[cfg(feature = "oci")]
    pub(super) platform: Option<source::oci::Platform>,
    #[cfg(feature = "oci")]
    pub(super) layer: Option<source::oci::LayerChoice>,
    pub(super) whiteouts: Option<Whiteouts>,
}

impl Named {
    /// What `name` names: `-` is what comes on stdin, a directory is one, an ext4 image begins as one, and
    /// all else has to be an archive, but for what names a container image, or an ext4 image by a prefix or
    /// with the place in its file.
    pub(super) fn of(name: &Path) -> Self {
        #[cfg(feature = "oci")]
        if let Some((path, image)) = images::image(name.as_os_str(), &|path| path.exists()) {
            return Self::Container(path, Box::new(image));
        }
        if name == "-" {
            return Self::Stdin;
        }
        if let Some(location) = location::marked(name) {
            return Self::Image(location);
        }
        if std::fs::metadata(name).is_ok_and(|found| found.is_dir()) {
            return Self::Directory(name.to_owned());
        }
        if is_image(name) {
            return Self::Image(Location::whole(name));
        }
        if name.exists() {
            return Self::Archive(name.to_owned());
        }
        let location = Location::of(name.as_os_str(), &|path| path.exists());
        if location.path != name && location.path.exists() {
            return Self::Image(location);
        }
        Self::Directory(name.to_owned())
    }

    /// The file or directory, unless it is stdin.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdin => None,
            Self::Directory(path) | Self::Archive(path) => Some(path),
            Self::Image(location) => Some(&location.path),
            #[cfg(feature = "oci")]
            Self::Container(path, _) => Some(path),
        }
    }

    /// Opens it.
    pub(super) fn open(self, wishes: &OpenOptions<'_>) -> io::Result<Box<dyn Source>> {
        match self {
            Self::Stdin => wishes.archive(None),
            Self::Directory(path) => wishes.directory(&path),
            Self::Archive(path) => wishes.archive(Some(&path)),
            Self::Image(location) => wishes.image(&location),
            #[cfg(feature = "oci")]
            Self::Container(_, image) => Ok(wishes.container(*image)),
        }
    }
}

impl OpenOptions<'_> {
    fn image(&self, location: &Location) -> io::Result<Box<dyn Source>> {
        let offset = match location.start {
            Start::Offset(bytes) => bytes,
            Start::Partition(_) => {
                let (_, bytes) = location.open().map_err(io::Error::other)?;
                bytes
            }
        };
        let image = Image::open_at(&location.path, offset)
            .keep_xattrs(self.keep_xattrs)
            .exclude(self.excluded.clone());
        Ok(Box::new(image))
    }

    #[cfg(feature = "oci")]
    fn container(&self, image: source::oci::Image) -> Box<dyn Source> {
        let image = image
            .platform(self.platform.clone())
            .layer(self.layer.clone())
            .overlay_whiteouts(self.whiteouts == Some(Whiteouts::Overlay))
            .spool_in(self.spool_directory.clone())
            .threads(self.threads)
            .keep_xattrs(self.keep_xattrs)
            .exclude(self.excluded.clone())
            .implied_time(self.implied_time)
            .acl_names(self.acl_names);
        Box::new(image)
    }

    #[cfg(feature = "tar")]
    fn archive(&self, path: Option<&Path>) -> io::Result<Box<dyn Source>> {
        use crate::source::tar::Tar;

        let archive = match path {
            Some(path) => Tar::open(path),
            None => Tar::from_reader(stdin()?, "stdin"),
        };
        let archive = archive
            .spool_in(self.spool_directory.clone())
            .keep_xattrs(self.keep_xattrs)
            .exclude(self.excluded.clone())
            .implied_time(self.implied_time)
            .acl_names(self.acl_names);
        Ok(Box::new(archive))
    }

    #[cfg(not(feature = "tar"))]
    fn archive(&self, path: Option<&Path>) -> io::Result<Box<dyn Source>> {
        let source = path.unwrap_or(Path::new("-"));
        let path = source.as_os_str().as_encoded_bytes();
        // What is missing is no matter of what this was built with.
        let found = std::fs::metadata(source);
        let unread = found
            .err()
            .unwrap_or_else(|| io::ErrorKind::Unsupported.into());
        let unread = source::SourceError::read(path, unread);
        Err(io::Error::other(format!("{unread:#}")))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is one of several")]
    fn directory(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        let mut directory = source::dir::Directory::new(path)
            .keep_xattrs(self.keep_xattrs)
            .exclude(self.excluded.clone())
            .one_file_system(self.one_file_system)
            .overlay_upper(self.whiteouts == Some(Whiteouts::Apply))
            .threads(self.threads);
        if let Some(excluded) = &self.excluded_file {
            directory = directory.exclude_inode(excluded.device, excluded.inode);
        }
        Ok(Box::new(directory))
    }
}

/// Standard input, whose reading a signal ends.
#[cfg(all(unix, feature = "tar"))]
fn stdin() -> io::Result<impl io::Read> {
    Ok(Counted(crate::sys::Stdin::new()?))
}

#[cfg(all(not(unix), feature = "tar"))]
fn stdin() -> io::Result<impl io::Read> {
    Ok(Counted(io::stdin()))
}
