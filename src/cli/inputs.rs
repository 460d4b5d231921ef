//! Given what is asked for, refuses an output that is to be read as well; never writes a byte of it.
//!
//! Whether the output is one of the files in a directory, the walk over that directory sees.

use std::path::Path;

use super::location::Location;
use super::request::Request;
use super::rules::refusal;
use super::sources::Named;
use crate::options::Environment;
#[cfg(feature = "oci")]
use crate::source::oci::is_part_of_layout;
use crate::sys;

/// Says which of the inputs is the output as well, if one is.
pub(super) fn refuse_output(request: &Request, host: &Environment) -> Result<(), String> {
    let output = &host.target.path;
    let refuse = |path: &Path, what: &str| {
        if sys::is_same_file(path, output) {
            return Err(refusal(path, what));
        }
        Ok(())
    };
    if let Some(conf) = &host.conf {
        refuse(Path::new(&conf.name), "the configuration")?;
    }
    if let Some(path) = &request.journal_device {
        refuse(path, "the journal device")?;
    }
    if let Some(path) = request.undo_file.as_ref().filter(|path| !path.is_empty()) {
        refuse(Path::new(path), "the undo file")?;
    }
    if let Some(base) = &request.base {
        let location = Location::of(base, &|path| path.exists());
        refuse(&location.path, "the base")?;
    }
    for rule in &request.rules {
        for (path, what) in rule.files() {
            refuse(Path::new(&path), what)?;
        }
    }
    for (from, _) in &request.copies {
        // A link is copied as one, whatever it leads to.
        let from = Path::new(from);
        if !from.is_symlink() {
            refuse(from, "a file to copy")?;
        }
    }
    for source in &request.sources {
        refuse_source(Path::new(source), output)?;
    }
    Ok(())
}

fn refuse_source(source: &Path, output: &Path) -> Result<(), String> {
    const WHAT: &str = "a source";
    let named = Named::of(source);
    #[cfg(feature = "oci")]
    if let Named::Container(path, _) = &named {
        if sys::is_same_file(path, output) || is_part_of_layout(path, output) {
            return Err(refusal(output, "a part of a source"));
        }
        return Ok(());
    }
    let is_output = match named.path() {
        Some(path) => sys::is_same_file(path, output),
        None => sys::is_stdin(output),
    };
    if is_output {
        return Err(refusal(output, WHAT));
    }
    Ok(())
}
