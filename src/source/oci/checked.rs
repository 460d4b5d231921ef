//! Given bytes and the digest that they shall have, says once all were read whether they have it; never
//! where they come from.

use std::io::{self, Read};

use super::digest::{Digest, Hasher};
use super::error::{FileErrorKind, OciError};

/// How much is read at once of what is only summed up, in bytes.
const REST: usize = 1 << 16;

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
    pub(super) fn finish(mut self, path: &str) -> Result<(), OciError> {
        let Some((needed, _)) = &self.expected else {
            return Ok(());
        };
        let needed = needed.clone();
        let mut buffer = vec![0; REST];
        while self
            .read(&mut buffer)
            .map_err(|error| OciError::read(path, error))?
            > 0
        {}
        let found = self.expected.map(|(_, hasher)| hasher.finish());
        match found {
            Some(found) if found != needed => {
                Err(FileErrorKind::OtherDigest { found, needed }.of(path))
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
}
