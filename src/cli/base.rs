//! Given the name of an image that is to be a base, reads where everything is in it; never writes to it.

use std::ffi::OsStr;

use super::location::Location;
use crate::Base;
use crate::source::Readable;

/// Reads the base that `name` names.
pub(super) fn read(name: &OsStr) -> Result<Base, String> {
    let location = Location::of(name, &|path| path.exists());
    let (file, offset_bytes) = location.open().map_err(|error| error.to_string())?;
    Base::in_file(file, offset_bytes).map_err(|error| {
        let path = Readable(location.path.as_os_str().as_encoded_bytes());
        format!("cannot use {path} as the base: {error}")
    })
}
