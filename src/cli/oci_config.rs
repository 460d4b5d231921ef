//! Given the container images among the sources, writes and tells what they say of themselves; never reads a
//! layer.

use std::io;
use std::path::Path;

use super::request::Request;
use super::sources::Named;
use crate::Error;
use crate::json::Object;
use crate::sink::{IfBusy, ImageRange, Output, Sink, UnfinishedOutput};
use crate::source::oci::Description;

/// What the container images say, if that is asked for.
pub(super) fn descriptions(request: &Request, spool: &Path) -> Result<Vec<Description>, Error> {
    if request.oci_config.is_none() && !request.json {
        return Ok(Vec::new());
    }
    let images = request
        .sources
        .iter()
        .filter_map(|source| match Named::of(Path::new(source)) {
            Named::Container(_, image) => Some(*image),
            _ => None,
        });
    let described = images.map(|image| {
        let image = image.platform(request.platform.clone()).spool_in(spool);
        image.description().map_err(Error::from)
    });
    described.collect()
}

/// Writes the configuration of the last image, which is gone again unless it is kept.
pub(super) fn write(
    request: &Request,
    images: &[Description],
) -> io::Result<Option<UnfinishedOutput>> {
    let Some(path) = &request.oci_config else {
        return Ok(None);
    };
    let Some(image) = images.last() else {
        let text = "--oci-config needs a container image after -d, such as oci:DIR";
        return Err(io::Error::other(text));
    };
    let mut output = Output::open(Path::new(path), IfBusy::Refuse).map_err(io::Error::other)?;
    output.lies_beside();
    output.replace(0);
    let length = u64::try_from(image.config.len()).unwrap_or(u64::MAX);
    let draft = output.begin(&ImageRange::new(0..length))?;
    draft.file().write_at(0, &image.config)?;
    Ok(Some(draft))
}

/// Adds what they say to what is told of an image.
pub(super) fn put(images: &[Description], object: &mut Object) {
    if images.is_empty() {
        return;
    }
    let said = images.iter().map(|image| {
        let mut object = Object::new();
        let digests = [
            ("manifest", &image.manifest),
            ("config_digest", &image.config_digest),
        ];
        for (name, digest) in digests {
            if let Some(digest) = digest {
                object.text(name, digest);
            }
        }
        object.json("config", &image.config_line());
        let layers = image.layers.iter().map(|layer| {
            let mut object = Object::new();
            if let Some(digest) = &layer.digest {
                object.text("digest", digest);
            }
            object.text("diff_id", &layer.diff_id);
            object
        });
        object.objects("layers", layers);
        object
    });
    object.objects("container_images", said);
}
