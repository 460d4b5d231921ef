//! Given a name, gives the program of the system's that is called so; never runs it.

use std::path::PathBuf;

use super::Result;

/// A program of the system's.
pub(crate) fn in_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.push(PathBuf::from("/usr/sbin"));
    let found = directories.iter().map(|directory| directory.join(name));
    found
        .into_iter()
        .find(|file| file.is_file())
        .ok_or_else(|| format!("no {name} in PATH").into())
}
