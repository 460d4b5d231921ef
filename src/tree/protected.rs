//! Given file data and how fs-verity shall protect it, gives file data that says so; never hashes a byte
//! of it.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::content::{Access, Content, ContentKey, ContentReader, ContentSource};
use super::verity::Verity;
use crate::units::Run;

impl Content {
    /// The same file data, protected by fs-verity where the filesystem has that feature.
    #[must_use]
    pub fn with_verity(self, verity: Verity) -> Self {
        Self {
            size_bytes: self.size_bytes,
            data: self.data.clone(),
            key: self.key,
            source: Arc::new(Protected {
                content: self,
                verity,
            }),
        }
    }

    /// How fs-verity protects it, if it does.
    pub fn verity(&self) -> Option<&Verity> {
        self.source.verity(self.key)
    }
}

/// File data of another source, protected.
struct Protected {
    content: Content,
    verity: Verity,
}

impl ContentSource for Protected {
    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        self.content.source.open(key)
    }

    fn access(&self, key: ContentKey) -> Access {
        self.content.source.access(key)
    }

    fn set_path(&self, key: ContentKey, path: &[u8]) {
        self.content.source.set_path(key, path);
    }

    fn describe(&self, key: ContentKey) -> Vec<u8> {
        self.content.source.describe(key)
    }

    fn path(&self, key: ContentKey) -> Vec<u8> {
        self.content.source.path(key)
    }

    fn placed(&self, key: ContentKey) -> Option<&[Run]> {
        self.content.source.placed(key)
    }

    fn lies_in(&self, key: ContentKey, file: &File) -> bool {
        self.content.source.lies_in(key, file)
    }

    fn verity(&self, _key: ContentKey) -> Option<&Verity> {
        Some(&self.verity)
    }
}
