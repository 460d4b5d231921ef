//! Given the names of images and the one that is asked for, says which images are meant; never
//! opens them.

use super::digest::Digest;
use super::error::{ImageErrorKind, OciError};

/// An image as it can be asked for.
#[derive(Debug)]
pub(super) struct Named {
    /// What its names are; one without is known by its digest only.
    pub(super) names: Vec<String>,
    pub(super) digest: Option<Digest>,
}

impl Named {
    /// What a person can ask for it by.
    fn ways(&self) -> Vec<String> {
        match (&self.names[..], &self.digest) {
            ([], Some(digest)) => vec![format!("@{digest}")],
            ([], None) => vec!["one without a name".to_owned()],
            (names, _) => names.to_vec(),
        }
    }
}

/// The places in `images` of those that are meant by `wanted`: the whole name, the name without its
/// tag, or `@` and the digest. Those of one name are one image, for several platforms perhaps.
pub(super) fn pick(wanted: Option<&str>, images: &[Named]) -> Result<Vec<usize>, OciError> {
    if images.is_empty() {
        return Err(ImageErrorKind::Empty.into());
    }
    match wanted {
        None => the_only(images),
        Some(wanted) => called(wanted, images),
    }
}

fn the_only(images: &[Named]) -> Result<Vec<usize>, OciError> {
    let all: Vec<usize> = (0..images.len()).collect();
    let one_digest =
        images[0].digest.is_some() && images.iter().all(|image| image.digest == images[0].digest);
    let one_name = images.iter().all(|image| image.names == images[0].names);
    if one_digest || one_name {
        Ok(all)
    } else {
        Err(ImageErrorKind::WhichImage(ways(images)).into())
    }
}

fn called(wanted: &str, images: &[Named]) -> Result<Vec<usize>, OciError> {
    let such = |test: &dyn Fn(&Named) -> bool| {
        let found = images.iter().enumerate().filter(|(_, image)| test(image));
        found.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let by_name = |test: &dyn Fn(&str) -> bool| {
        such(&|image| image.names.iter().any(|name| test(short(name))))
    };
    if let Some(text) = wanted.strip_prefix('@') {
        let digest = Digest::parse(text)?;
        let found = such(&|image| image.digest.as_ref() == Some(&digest));
        return some(found).ok_or_else(|| no_such(wanted, images));
    }
    let name = short(wanted);
    let latest = format!("{name}:latest");
    let whole = some(by_name(&|it| it == name)).or_else(|| some(by_name(&|it| it == latest)));
    if let Some(found) = whole {
        return Ok(found);
    }
    let found = some(by_name(&|it| untagged(it) == name)).ok_or_else(|| no_such(wanted, images))?;
    let first = &images[found[0]];
    if found.iter().all(|at| images[*at].names == first.names) {
        Ok(found)
    } else {
        let meant = found.iter().flat_map(|at| images[*at].ways()).collect();
        Err(ImageErrorKind::WhichImage(sorted(meant)).into())
    }
}

fn some(found: Vec<usize>) -> Option<Vec<usize>> {
    (!found.is_empty()).then_some(found)
}

fn no_such(wanted: &str, images: &[Named]) -> OciError {
    let wanted = wanted.to_owned();
    let there = ways(images);
    ImageErrorKind::NoSuchImage { wanted, there }.into()
}

fn ways(images: &[Named]) -> Vec<String> {
    sorted(images.iter().flat_map(Named::ways).collect())
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

/// The name without what Docker puts before the names of its own registry.
fn short(name: &str) -> &str {
    let name = name
        .strip_prefix("docker.io/")
        .or_else(|| name.strip_prefix("index.docker.io/"))
        .unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// The name without its tag: a colon before the last slash is a registry's port.
fn untagged(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(names: &[&str], number: u8) -> Named {
        let digest = format!("sha256:{number:064x}");
        Named {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            digest: Some(Digest::parse(&digest).unwrap()),
        }
    }

    fn picked(wanted: Option<&str>, images: &[Named]) -> Result<Vec<usize>, String> {
        pick(wanted, images).map_err(|fault| fault.to_string())
    }

    #[test]
    fn an_image_is_called_by_name_tag_or_digest() {
        let images = [
            image(&["docker.io/library/debian:12"], 1),
            image(&["localhost:5000/app:latest"], 2),
            image(&["localhost:5000/app:old"], 3),
            image(&["12"], 4),
            image(&[], 5),
        ];
        let by_digest = format!("@sha256:{:064x}", 5);
        for (wanted, at) in [
            ("debian:12", 0),
            ("docker.io/library/debian:12", 0),
            ("debian", 0),
            ("localhost:5000/app", 1),
            ("localhost:5000/app:old", 2),
            ("12", 3),
            (&by_digest, 4),
        ] {
            assert_eq!(picked(Some(wanted), &images), Ok(vec![at]), "{wanted}");
        }
        let there = "12, @sha256:0000000000000000000000000000000000000000000000000000000000000005, \
            docker.io/library/debian:12, localhost:5000/app:latest, localhost:5000/app:old";
        assert_eq!(
            picked(Some("fedora"), &images),
            Err(format!("no image named fedora; the names are: {there}"))
        );
        assert_eq!(
            picked(None, &images),
            Err(format!("several images: name one of {there}"))
        );
        assert!(picked(Some("@sha256:5"), &images).is_err());
    }

    #[test]
    fn a_name_without_tag_means_one_image() {
        let images = [image(&["app:1"], 1), image(&["app:2"], 2)];
        assert_eq!(
            picked(Some("app"), &images),
            Err("several images: name one of app:1, app:2".to_owned())
        );
    }

    #[test]
    fn the_only_image_needs_no_name() {
        for images in [
            vec![image(&["a"], 1)],
            vec![image(&["a"], 1), image(&["b"], 1)],
            vec![image(&["a"], 1), image(&["a"], 2)],
            vec![image(&[], 1), image(&[], 2)],
        ] {
            let all: Vec<usize> = (0..images.len()).collect();
            assert_eq!(picked(None, &images), Ok(all));
        }
        assert_eq!(picked(None, &[]), Err("no image in it".to_owned()));
    }
}
