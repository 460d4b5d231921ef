//! Given the text of a digest, gives its algorithm and checks bytes against it; never reads a file.
//!
//! The form is that of the OCI image specification's `descriptor.md`. sha256 and sha512 are its two
//! registered algorithms; a digest by another one is refused, since nothing could be checked by it.

use std::fmt;

use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512};

use crate::source::Readable;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The checksum of some bytes: an algorithm and as many lower-case hexadecimal digits as it gives.
///
/// Whatever text it was made of, its two parts are safe as names of files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// The digest that `text` says, such as `sha256:` and 64 digits.
    pub(super) fn parse(text: &str) -> Result<Self, NoDigest> {
        let bad = || NoDigest(text.chars().take(160).collect());
        let (name, hex) = text.split_once(':').ok_or_else(bad)?;
        let algorithm = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(bad)?;
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != algorithm.hex_digits() || !hex.bytes().all(lower_hex) {
            return Err(bad());
        }
        let hex = hex.into();
        Ok(Self { algorithm, hex })
    }

    /// The path of the blob in an image layout.
    pub(super) fn path(&self) -> String {
        format!("blobs/{}/{}", self.algorithm.name(), self.hex)
    }

    /// What takes the bytes that shall have this digest.
    pub(super) fn hasher(&self) -> Hasher {
        match self.algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }
}

/// A text that is no digest known here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoDigest(String);

impl fmt::Display for NoDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Readable(self.0.as_bytes());
        write!(
            f,
            "invalid digest '{text}': must be sha256: or sha512: and all its digits in lower-case hexadecimal"
        )
    }
}

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        Self::parse(&text)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// The bytes seen so far, as a digest to be.
#[derive(Clone, Debug)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Digest {
        let (algorithm, bytes) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = hex.into();
        Digest { algorithm, hex }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_no_path_to_elsewhere() {
        let zeros = "0".repeat(64);
        for text in [
            "",
            "sha256",
            "sha256:",
            &zeros,
            &format!("sha256:{}", &zeros[1..]),
            &format!("sha256:{zeros}0"),
            &format!("sha256:{}/", &zeros[1..]),
            &format!("sha256:../{}", &zeros[3..]),
            &format!("sha256:{}A", &zeros[1..]),
            &format!("../sha256:{zeros}"),
            &format!("SHA256:{zeros}"),
            &format!("md5:{}", &zeros[32..]),
            &format!("sha512:{zeros}"),
            &format!("sha256: {}", &zeros[1..]),
        ] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
        let digest = Digest::parse(&format!("sha256:{zeros}")).unwrap();
        assert_eq!(digest.path(), format!("blobs/sha256/{zeros}"));
    }
}
