//! Given what a node is, says by which type its inode says so; never a permission.

use crate::ondisk::inode::FileType;
use crate::tree::Kind;

/// The type in the mode of an inode that is `kind`.
pub(crate) fn inode_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Directory(_) => FileType::DIRECTORY,
        Kind::File(_) => FileType::REGULAR,
        Kind::Symlink(_) => FileType::SYMLINK,
        Kind::CharDevice(_) => FileType::CHAR_DEVICE,
        Kind::BlockDevice(_) => FileType::BLOCK_DEVICE,
        Kind::Fifo => FileType::FIFO,
        Kind::Socket => FileType::SOCKET,
    }
}
