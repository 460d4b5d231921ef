//! Given the text of a digest, gives its algorithm and checks bytes against it; never reads a file.
//!
//! The form is that of the OCI image specification's `descriptor.md`. sha256 and sha512 are its two
//! registered algorithms; a digest by another one is refused, since nothing could be checked by it.

use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512};

use super::fault::{Fault, FileFault, ImageFault};

/// How much is read at once of what is only summed up, in bytes.
const REST: usize = 1 << 16;

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
    pub(super) fn parse(text: &str) -> Result<Self, ImageFault> {
        let bad = || ImageFault::Digest(text.chars().take(160).collect());
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

impl TryFrom<String> for Digest {
    type Error = ImageFault;

    fn try_from(text: String) -> Result<Self, ImageFault> {
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
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        let (algorithm, bytes) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = hex.into();
        Digest { algorithm, hex }
    }
}

/// A reader whose bytes are checked against a digest once all were read.
#[derive(Debug)]
pub(super) struct Checked<R> {
    inner: R,
    expected: Option<(Digest, Hasher)>,
}

impl<R: Read> Checked<R> {
    /// What `inner` gives shall have the digest `expected`, if one is known.
    pub(super) fn new(inner: R, expected: Option<&Digest>) -> Self {
        Self {
            inner,
            expected: expected.map(|digest| (digest.clone(), digest.hasher())),
        }
    }

    /// Reads what is left, and says whether all of it is what was expected; `path` is what messages
    /// call it.
    pub(super) fn finish(mut self, path: &str) -> Result<(), Fault> {
        let Some((needed, _)) = &self.expected else {
            return Ok(());
        };
        let needed = needed.clone();
        let mut buffer = vec![0; REST];
        while self
            .read(&mut buffer)
            .map_err(|error| Fault::read(path, error))?
            > 0
        {}
        let found = self.expected.map(|(_, hasher)| hasher.finish());
        match found {
            Some(found) if found != needed => {
                Err(FileFault::OtherDigest { found, needed }.of(path))
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some((_, hasher)) = &mut self.expected {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests of no bytes, as coreutils says them.
    const EMPTY_256: &str =
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const EMPTY_512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
        47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

    #[test]
    fn bytes_are_checked_to_their_end() {
        for text in [EMPTY_256, EMPTY_512] {
            let digest = Digest::parse(text).unwrap();
            assert_eq!(digest.to_string(), text);
            assert!(Checked::new(&b""[..], Some(&digest)).finish("b").is_ok());
            let other = Checked::new(&b"x"[..], Some(&digest)).finish("b");
            let said = other.unwrap_err().to_string();
            assert!(said.starts_with("b has the digest sha"), "{said}");
            assert!(said.ends_with(&format!(", not {text}")), "{said}");
        }
    }

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
