//! Given the values of the flags about the form of an output, notes them; never decides what they mean together.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::options::parse_uuid;
use crate::sink::{Compression, Format};

/// What is asked of the form of an output.
#[derive(Debug, Default)]
pub(super) struct FormArgs {
    pub(super) format: Option<Format>,
    pub(super) compression: Option<Compression>,
    /// Where the verity tree goes, if there is to be one: the empty name is behind the filesystem.
    pub(super) verity: Option<OsString>,
    pub(super) salt: Option<Vec<u8>>,
    pub(super) uuid: Option<[u8; 16]>,
    pub(super) root_hash_file: Option<PathBuf>,
    pub(super) bmap: Option<PathBuf>,
}

impl FormArgs {
    /// `--format`.
    pub(super) fn read_format(&mut self, value: &OsStr) -> Result<(), String> {
        self.format = Some(match value.to_string_lossy().as_ref() {
            "raw" => Format::Raw,
            "qcow2" => Format::Qcow2(Compression::None),
            "vhdx" => Format::Vhdx,
            "vhd" | "vhd,fixed" => Format::Vhd,
            "vhd,dynamic" => Format::VhdDynamic,
            "simg" => Format::AndroidSparse,
            other => {
                return Err(format!(
                    "invalid format '{other}': must be raw, qcow2, vhdx, vhd, vhd,dynamic or simg"
                ));
            }
        });
        Ok(())
    }

    /// `--compress`.
    pub(super) fn read_compression(&mut self, value: &OsStr) -> Result<(), String> {
        self.compression = Some(match value.to_string_lossy().as_ref() {
            "none" => Compression::None,
            "zlib" => Compression::Zlib,
            "zstd" => Compression::Zstd,
            other => {
                return Err(format!(
                    "invalid compression '{other}': must be zlib, zstd or none"
                ));
            }
        });
        Ok(())
    }

    /// `--verity`.
    pub(super) fn read_verity(&mut self, value: &OsStr) -> Result<(), String> {
        self.verity = Some(value.to_owned());
        Ok(())
    }

    /// `--verity-salt`.
    pub(super) fn read_salt(&mut self, value: &OsStr) -> Result<(), String> {
        let text = value.to_string_lossy();
        let salt = if text == "-" {
            Some(Vec::new())
        } else {
            bytes_of_hex(&text)
        };
        let salt = salt.filter(|salt| salt.len() <= 256).ok_or_else(|| {
            format!("invalid salt '{text}': must be - for none, or 1 to 256 bytes in hexadecimal")
        })?;
        self.salt = Some(salt);
        Ok(())
    }

    /// `--verity-uuid`.
    pub(super) fn read_uuid(&mut self, value: &OsStr) -> Result<(), String> {
        let text = value.to_string_lossy();
        let uuid = parse_uuid(&text).ok_or_else(|| format!("invalid verity UUID '{text}': must be five groups of hexadecimal digits such as 01234567-89ab-4def-8123-456789abcdef"))?;
        self.uuid = Some(uuid);
        Ok(())
    }

    /// `--root-hash-file`.
    pub(super) fn read_root_hash_file(&mut self, value: &OsStr) -> Result<(), String> {
        self.root_hash_file = Some(value.into());
        Ok(())
    }

    /// `--bmap`.
    pub(super) fn read_bmap(&mut self, value: &OsStr) -> Result<(), String> {
        self.bmap = Some(value.into());
        Ok(())
    }

    /// The file of the verity tree, if it is to have one of its own.
    pub(super) fn tree_file(&self) -> Option<&Path> {
        let path = self.verity.as_deref()?;
        (!path.is_empty()).then_some(Path::new(path))
    }

    /// The files that are written beside the image, and what they are.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &'static str)> {
        let tree = self.tree_file().map(|path| (path, "the verity tree"));
        let hash = self.root_hash_file.as_deref();
        let bmap = self.bmap.as_deref();
        tree.into_iter()
            .chain(hash.map(|path| (path, "the root hash's file")))
            .chain(bmap.map(|path| (path, "the bmap")))
    }
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
