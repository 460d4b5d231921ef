//! Given what follows `-d`, says whether it names a container image, and which; never opens it.
//!
//! The prefixes are those of skopeo. A path that is called so and exists is a path, as it would be to
//! mke2fs; `./` before it makes it one whatever exists.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::source::oci::Image;
use crate::sys;

type Open = fn(PathBuf) -> Image;

/// How an image is kept: the prefix, and what opens it.
const TRANSPORTS: [(&[u8], Open); 3] = [
    (b"oci:", |path| Image::layout(path)),
    (b"oci-archive:", |path| Image::archive(path)),
    (b"docker-archive:", |path| Image::docker_archive(path)),
];

/// The image that `value` names, if it names one, and where it is. `exists` says of a path whether it is there.
pub(super) fn image(value: &OsStr, exists: &dyn Fn(&Path) -> bool) -> Option<(PathBuf, Image)> {
    let bytes = value.as_encoded_bytes();
    let (rest, open) = TRANSPORTS
        .iter()
        .find_map(|(prefix, open)| Some((bytes.strip_prefix(*prefix)?, open)))?;
    if exists(Path::new(value)) {
        return None;
    }
    let drive = sys::drive_bytes(rest, sys::HAS_DRIVES);
    let (path, reference) = split(rest, drive, exists);
    let path = sys::path_of_bytes(path)?;
    let reference = reference.filter(|it| !it.is_empty());
    let reference = reference.map(|it| String::from_utf8_lossy(it).into_owned());
    Some((path.clone(), open(path).reference(reference)))
}

/// The path and the name of the image in it.
///
/// Paths and names may hold colons both: the longest path that exists counts. Where none does, it is
/// the shortest, as for skopeo. The colon of a drive, which the first `drive` bytes name, is none of them.
fn split<'a>(
    rest: &'a [u8],
    drive: usize,
    exists: &dyn Fn(&Path) -> bool,
) -> (&'a [u8], Option<&'a [u8]>) {
    let there =
        |path: &[u8]| !path.is_empty() && sys::path_of_bytes(path).is_some_and(|it| exists(&it));
    if there(rest) {
        return (rest, None);
    }
    let colons = rest.iter().enumerate().filter(|(_, byte)| **byte == b':');
    let colons = colons.filter(|(at, _)| *at >= drive);
    let cuts = colons.map(|(at, _)| (&rest[..at], Some(&rest[at + 1..])));
    let longest = cuts.clone().rev().find(|(path, _)| there(path));
    longest
        .or_else(|| cuts.clone().next())
        .unwrap_or((rest, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_that_exists_is_the_path() {
        let there = ["dir", "dir:1", "a:b"];
        let exists = |path: &Path| there.iter().any(|it| Path::new(it) == path);
        for (rest, path, reference) in [
            ("dir", "dir", None),
            ("dir:debian:12", "dir", Some("debian:12")),
            ("dir:1", "dir:1", None),
            ("dir:1:x", "dir:1", Some("x")),
            ("a:b", "a:b", None),
            ("a:b:@sha256:0", "a:b", Some("@sha256:0")),
            ("gone:x:y", "gone", Some("x:y")),
            ("gone", "gone", None),
            ("dir:", "dir", Some("")),
        ] {
            let (found, name) = split(rest.as_bytes(), 0, &exists);
            assert_eq!(found, path.as_bytes(), "{rest}");
            assert_eq!(name, reference.map(str::as_bytes), "{rest}");
        }
    }

    /// As on Windows, whatever system this is.
    #[test]
    fn the_colon_of_a_drive_is_part_of_the_path() {
        for (rest, path, reference) in [
            (r"C:\nolay", r"C:\nolay", None),
            ("Z:/tmp/gone.tar:tag", "Z:/tmp/gone.tar", Some("tag")),
            (r"\\?\C:\gone:a:b", r"\\?\C:\gone", Some("a:b")),
            ("C:tag", "C", Some("tag")),
        ] {
            // A file that is called as the drive is no reason.
            let exists = |path: &Path| path == Path::new("Z");
            let drive = sys::drive_bytes(rest.as_bytes(), true);
            let (found, name) = split(rest.as_bytes(), drive, &exists);
            assert_eq!(found, path.as_bytes(), "{rest}");
            assert_eq!(name, reference.map(str::as_bytes), "{rest}");
        }
    }

    #[test]
    fn a_path_that_exists_is_no_image() {
        let image_of = |value: &str, there: &str| {
            image(OsStr::new(value), &|path| path == Path::new(there)).is_some()
        };
        assert!(image_of("oci:dir", "dir"));
        assert!(image_of("oci-archive:file:name", "file"));
        assert!(image_of("docker-archive:file", ""));
        assert!(!image_of("oci:dir", "oci:dir"));
        assert!(!image_of("./oci:dir", ""));
        assert!(!image_of("dir", ""));
        assert!(!image_of("docker:dir", ""));
    }
}
