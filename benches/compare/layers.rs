//! Given a tree, packs it as an OCI image of six gzip layers; never looks at what the files hold.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::Result;

const LAYERS: usize = 6;

/// Packs the tree at `source` as the OCI layout `image`, if that is not there; its layers hold about
/// as many entries each.
pub(crate) fn pack(source: &Path, image: &Path) -> Result<()> {
    if image.exists() {
        return Ok(());
    }
    let begun = image.with_extension("begun");
    if begun.exists() {
        fs::remove_dir_all(&begun)?;
    }
    let blobs = begun.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let mut paths = Vec::new();
    collect(source, source, &mut paths)?;
    paths.sort();
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for part in paths.chunks(paths.len().div_ceil(LAYERS).max(1)) {
        let (layer, diff_id) = pack_layer(source, part, &begun)?;
        let bytes = fs::metadata(&layer)?.len();
        let name = digest(File::open(&layer)?)?;
        fs::rename(&layer, blobs.join(&name))?;
        layers.push(descriptor("layer.v1.tar+gzip", &name, bytes));
        diff_ids.push(format!("\"sha256:{diff_id}\""));
    }
    let add = |kind: &str, text: &str| -> Result<String> {
        let name = digest(text.as_bytes())?;
        fs::write(blobs.join(&name), text)?;
        Ok(descriptor(kind, &name, u64::try_from(text.len())?))
    };
    let diff_ids = diff_ids.join(",");
    let config = add(
        "config.v1+json",
        &format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#
        ),
    )?;
    let manifest = add(
        "manifest.v1+json",
        &format!(
            r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#,
            layers.join(",")
        ),
    )?;
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{manifest}]}}"#);
    fs::write(begun.join("index.json"), index)?;
    fs::write(
        begun.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    fs::rename(&begun, image)?;
    Ok(())
}

fn descriptor(kind: &str, digest: &str, bytes: u64) -> String {
    format!(
        r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{digest}","size":{bytes}}}"#
    )
}

/// The paths of all that is below `directory`, relative to `root`.
fn collect(root: &Path, directory: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        paths.push(entry.path().strip_prefix(root)?.to_owned());
        if entry.file_type()?.is_dir() {
            collect(root, &entry.path(), paths)?;
        }
    }
    Ok(())
}

/// Packs some paths below `source`; gives the compressed file and the digest of what it unpacks to.
fn pack_layer(source: &Path, paths: &[PathBuf], dir: &Path) -> Result<(PathBuf, String)> {
    use std::os::unix::ffi::OsStrExt;
    let (list, tar) = (dir.join("list"), dir.join("layer"));
    let mut names = Vec::new();
    for path in paths {
        names.extend_from_slice(path.as_os_str().as_bytes());
        names.push(0);
    }
    File::create(&list)?.write_all(&names)?;
    let mut command = Command::new("tar");
    command.arg("-C").arg(source).arg("-cf").arg(&tar);
    command.args(["--format=pax", "--no-recursion", "--null", "-T"]);
    run(command.arg(&list))?;
    let diff_id = digest(File::open(&tar)?)?;
    run(Command::new("gzip").arg("-nf").arg(&tar))?;
    fs::remove_file(&list)?;
    Ok((dir.join("layer.gz"), diff_id))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}

/// The SHA-256 of all that `reader` gives, in hexadecimal.
fn digest(mut reader: impl Read) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            got => hash.update(&buffer[..got]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
