//! Given a path, a function or a reader, gives what a file holds; never reads it before it is asked to.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::cancel::Cancelled;
use crate::tree::{Access, Content, ContentKey, ContentReader, ContentSource};

/// How much is passed over at once.
const PASSED_BYTES: usize = 1 << 16;

impl Content {
    /// `size_bytes` bytes that come from what `open` gives, which is called when they are needed: once for
    /// an image, and once more where a plan looks for blocks of zeros.
    ///
    /// ```
    /// use mke4fs::{Content, Tree};
    ///
    /// let mut tree = Tree::default();
    /// tree.file("/ones", Content::from_fn(5, || Ok(&b"11111"[..])))?;
    /// # Ok::<(), mke4fs::TreeError>(())
    /// ```
    pub fn from_fn<R: Read + Send + 'static>(
        size_bytes: u64,
        open: impl Fn() -> io::Result<R> + Send + Sync + 'static,
    ) -> Self {
        let open = move || {
            let reader: Box<dyn Read + Send> = Box::new(open()?);
            Ok(reader)
        };
        Self::in_order(size_bytes, Access::InOrder, Box::new(open))
    }

    /// `size_bytes` bytes that `reader` gives, which are read once, in their order, while the image is
    /// written. No blocks of zeros are sought in them: each gets its place, whatever [`Sparse`](crate::Sparse) says.
    pub fn from_reader(size_bytes: u64, reader: impl Read + Send + 'static) -> Self {
        let reader: Mutex<Option<Box<dyn Read + Send>>> = Mutex::new(Some(Box::new(reader)));
        let open = move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let spent = || io::Error::other("it can be read only once");
            reader.take().ok_or_else(spent)
        };
        Self::in_order(size_bytes, Access::Once, Box::new(open))
    }

    /// What the host's regular file `path` holds, to which symbolic links may lead; its holes stay holes.
    ///
    /// # Errors
    /// Where it is no regular file, or cannot be read.
    pub fn from_path(path: impl AsRef<std::path::Path>) -> Result<Self, super::SourceError> {
        super::copy::content_of(path.as_ref().as_os_str().as_encoded_bytes())
    }

    fn in_order(size_bytes: u64, access: Access, open: Box<Open>) -> Self {
        let source = InOrder {
            access,
            open,
            path: OnceLock::new(),
        };
        Self::new(size_bytes, Arc::new(source), size_bytes)
    }
}

type Open = dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync;

/// Bytes that somebody else reads from the first on; the key is how many they are.
struct InOrder {
    access: Access,
    open: Box<Open>,
    path: OnceLock<Vec<u8>>,
}

impl fmt::Debug for InOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InOrder").finish_non_exhaustive()
    }
}

impl ContentSource for InOrder {
    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        Ok(Box::new(Reader {
            reader: (self.open)()?,
            at: 0,
            size_bytes: key,
        }))
    }

    fn access(&self, _key: ContentKey) -> Access {
        self.access
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        let path = self.path.get();
        path.map_or_else(|| b"data of the program's own".to_vec(), Clone::clone)
    }

    fn set_path(&self, _key: ContentKey, path: &[u8]) {
        // One content at two paths has the name of the first.
        let _ = self.path.set(path.to_vec());
    }
}

struct Reader {
    reader: Box<dyn Read + Send>,
    at: u64,
    size_bytes: u64,
}

impl Reader {
    /// Reads up to `offset`, as where there is a hole.
    fn pass_until(&mut self, offset: u64, is_cancelled: impl Fn() -> bool) -> io::Result<()> {
        let mut passed = [0; PASSED_BYTES];
        let Some(mut left) = offset.checked_sub(self.at) else {
            return Err(io::Error::other("it can be read only in its order"));
        };
        while left > 0 {
            if is_cancelled() {
                return Err(Cancelled.into());
            }
            let count = usize::try_from(left).map_or(PASSED_BYTES, |left| left.min(PASSED_BYTES));
            match self.reader.read(&mut passed[..count]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    let count = u64::try_from(count).unwrap_or(left).min(left);
                    self.at += count;
                    left -= count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl ContentReader for Reader {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.pass_until(offset, || false)?;
        self.reader.read_exact(buffer)?;
        self.at += u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn pass(&mut self, offset: u64, cancel: &AtomicBool) -> io::Result<()> {
        self.pass_until(offset.max(self.at), || cancel.load(Ordering::Relaxed))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.pass_until(self.size_bytes.max(self.at), || false)?;
        loop {
            match self.reader.read(&mut [0]) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    let size = self.size_bytes;
                    let text = format!("it holds more than the {size} bytes that were declared");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &Content, places: &[(u64, usize)]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut reader = content.open()?;
        for (offset, length) in places {
            let mut buffer = vec![0; *length];
            reader.read_exact_at(*offset, &mut buffer)?;
            bytes.extend(buffer);
        }
        reader.finish()?;
        Ok(bytes)
    }

    #[test]
    fn what_is_read_in_order_ends_where_it_was_declared_to() {
        let digits = |size| Content::from_fn(size, || Ok(&b"0123456789"[..]));
        let read = |size, places: &[_]| {
            let read = read(&digits(size), places);
            read.map_err(|error| error.to_string())
        };
        assert_eq!(read(10, &[(0, 2), (5, 3)]), Ok(b"01567".to_vec()));
        let more = "it holds more than the 9 bytes that were declared".to_owned();
        assert_eq!(read(9, &[(0, 9)]), Err(more));
        assert!(read(11, &[(0, 11)]).is_err());
        let backwards = "it can be read only in its order".to_owned();
        assert_eq!(read(10, &[(5, 1), (0, 1)]), Err(backwards));
    }

    #[test]
    fn a_reader_is_read_once() {
        let content = Content::from_reader(3, &b"abc"[..]);
        assert_eq!(
            read(&content, &[(0, 3)]).expect("it is there"),
            b"abc".to_vec()
        );
        assert!(read(&content, &[(0, 3)]).is_err());
    }
}
