//! Given a file, a device or memory, gives its bytes by place; never writes.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{File, Memory, Sink};
use crate::sys;

/// Bytes that can be read at any place, by several threads at once.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// Where the storage fails, or ends before the buffer is full.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Where the first bytes at or after `offset` are that somebody wrote, the end if there are none;
    /// `None` where that cannot be told. What lies before reads as zeros.
    fn next_data(&self, _offset: u64) -> Option<u64> {
        None
    }
}

macro_rules! of_what_it_leads_to {
    ($($pointer:ty),+) => {
        $(impl<R: ReadAt + ?Sized> ReadAt for $pointer {
            fn size_bytes(&self) -> u64 {
                (**self).size_bytes()
            }

            fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
                (**self).read_exact_at(offset, buffer)
            }

            fn next_data(&self, offset: u64) -> Option<u64> {
                (**self).next_data(offset)
            }
        })+
    };
}

of_what_it_leads_to!(&R, Box<R>, Arc<R>);

impl ReadAt for Vec<u8> {
    fn size_bytes(&self) -> u64 {
        self.as_slice().size_bytes()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_exact_at(offset, buffer)
    }
}

impl ReadAt for [u8] {
    fn size_bytes(&self) -> u64 {
        u64::try_from(self.len()).unwrap_or(u64::MAX)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Memory {
    fn size_bytes(&self) -> u64 {
        Sink::size_bytes(self)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buffer)
    }
}

impl ReadAt for File {
    fn size_bytes(&self) -> u64 {
        Sink::size_bytes(self)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> Option<u64> {
        File::next_data(self, offset)
    }
}

/// A regular file or a block device, opened for reading alone.
#[derive(Debug)]
pub struct ImageFile {
    file: fs::File,
    size_bytes: u64,
}

impl ImageFile {
    /// Opens the file or device at `path`.
    ///
    /// # Errors
    /// Where it cannot be opened, or is neither.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Looked at first, since opening a pipe would wait for who writes into it.
        let looked = fs::metadata(path)?;
        if !looked.is_file() && !sys::is_block_device(&looked) {
            let kind = sys::kind_name(&looked);
            let text = format!("{kind}: must be a file or a block device");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let file = fs::File::open(path)?;
        let opened = file.metadata()?;
        let size_bytes = if sys::is_block_device(&opened) {
            sys::block_device_size(&file)?
        } else {
            opened.len()
        };
        Ok(Self { file, size_bytes })
    }

    /// The open file or device.
    pub(crate) fn handle(&self) -> &fs::File {
        &self.file
    }

    /// What the system says of the open file.
    ///
    /// # Errors
    /// Where it says nothing.
    pub fn metadata(&self) -> io::Result<fs::Metadata> {
        self.file.metadata()
    }
}

impl ReadAt for ImageFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (mut offset, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            match sys::read_some_at(&self.file, offset, rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    rest = rest.get_mut(count..).unwrap_or_default();
                    offset = offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> Option<u64> {
        match sys::seek_data(&self.file, offset) {
            Ok(next) => Some(next.unwrap_or(self.size_bytes)),
            Err(_) => None,
        }
    }
}
