//! Given what a node holds and its attributes, decides which of both lie in its inode; never what
//! lies elsewhere has for a place.
//!
//! With inline_data the first 60 bytes of a small content take the place of the block map, and the
//! rest is the value of the attribute `system.data`, which must be in the inode and competes with
//! the node's own attributes for the room behind the extra fields (kernel: `fs/ext4/inline.c`).
//! Content goes first: it saves a block, and attributes pushed out for it share one.

use super::directory::{Entries, EntryWriter};
use super::xattr_split::{Split, StoredXattr, XattrFault, XattrSpace, split};
use crate::feature::Feature;
use crate::ondisk::dir::{BlockFormat, entry_bytes};
use crate::ondisk::xattr::{Value, XattrEntry, ibody_size};
use crate::options::Settings;
use crate::tree::{self, Kind, Node};
use crate::units::Ino;

/// The bytes of content that `i_block` holds: `EXT4_MIN_INLINE_DATA_SIZE`.
pub const HEAD_BYTES: usize = 60;
/// The bytes of a directory's parent at the head's front, where `..` would be.
const PARENT_BYTES: usize = 4;

/// A content that could lie in its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct InlineCandidate {
    /// The bytes past those in `i_block`, rounded up to whole words.
    tail_bytes: usize,
    /// How many blocks that would save: at most one.
    saves: u64,
    /// Whether all attributes have to lie in the inode as well: e2fsck looks neither for the attribute
    /// block nor for the values of a symbolic link with inline data (`e2fsck_pass1`), and takes them
    /// for free.
    needs_all_inside: bool,
}

/// What of a node lies in its inode.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    /// Whether its content does.
    pub(super) inline: bool,
    /// Where its attributes go.
    pub(super) split: Split,
}

/// The attribute that holds what of an inode's content does not fit `i_block`; it is there even
/// where it is empty.
pub fn data_attribute(tail: &[u8]) -> XattrEntry<'_> {
    XattrEntry {
        name_index: 7,
        name: b"data",
        value: Value::Inline(tail),
    }
}

/// The most bytes of content that an inode of these settings may hold.
pub fn most_content_bytes(settings: &Settings) -> u64 {
    if !settings.features.has(Feature::InlineData) {
        return 0;
    }
    let list = ibody_size(&[data_attribute(&[])]);
    let bytes = HEAD_BYTES + XattrSpace::new(settings).inode.saturating_sub(list);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl InlineCandidate {
    /// The wish of `node`, if its content would fit an inode with `room` bytes for attributes.
    pub(super) fn of(node: &Node, room: usize) -> Option<Self> {
        // A list of nothing but the attribute, with an empty value.
        let tail_room = room.checked_sub(ibody_size(&[data_attribute(&[])]))?;
        let (tail, saves) = match &node.kind {
            // The kernel finds a Merkle tree by the map of blocks alone.
            Kind::File(content) if content.placed().is_some() || content.verity().is_some() => {
                return None;
            }
            Kind::File(content) => {
                let size = usize::try_from(content.size_bytes).ok()?;
                let has_data = content.data_ranges().next().is_some();
                if size > 0 && !has_data {
                    // A hole takes no block, and stays one.
                    return None;
                }
                (size.saturating_sub(HEAD_BYTES), has_data)
            }
            Kind::Directory(entries) => (directory_tail(entries, tail_room)?, true),
            Kind::Symlink(target) if target.len() < HEAD_BYTES => return None,
            Kind::Symlink(target) => (target.len() - HEAD_BYTES, true),
            Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo | Kind::Socket => return None,
        };
        (tail <= tail_room).then(|| Self {
            tail_bytes: tail.next_multiple_of(4),
            saves: u64::from(saves),
            needs_all_inside: matches!(node.kind, Kind::Symlink(_)),
        })
    }

    /// The bytes of the attribute in a list that is not empty.
    fn attribute_bytes(self) -> usize {
        data_attribute(&[]).stored_bytes() + self.tail_bytes
    }
}

/// Decides what of a node lies in its inode: of its content, if `wish` says how that could, and of
/// its attributes `set`.
pub(super) fn fit_inode(
    room: &XattrSpace,
    set: &[StoredXattr],
    wish: Option<InlineCandidate>,
) -> Result<Fit, XattrFault> {
    let Some(wish) = wish else {
        return Ok(Fit {
            inline: false,
            split: split(room, set)?,
        });
    };
    let beside = XattrSpace {
        inode: room.inode - wish.attribute_bytes(),
        ..*room
    };
    let with = split(&beside, set);
    let without = split(room, set);
    let is_outside = |split: &Split| split.cost(room) > 0;
    let inline = match (&with, &without) {
        (Ok(with), _) if wish.needs_all_inside && is_outside(with) => false,
        (Ok(with), Ok(without)) => with.cost(room) <= without.cost(room) + wish.saves,
        (with, _) => with.is_ok(),
    };
    Ok(Fit {
        inline,
        split: if inline { with } else { without }?,
    })
}

/// The bytes that the entries of a directory take past those in `i_block`, if that is at most
/// `room`.
fn directory_tail(entries: &tree::Entries, room: usize) -> Option<usize> {
    if entries.len() > (HEAD_BYTES + room) / entry_bytes(1) {
        return None;
    }
    let mut places = Places::new();
    let tail: usize = entries
        .iter()
        .map(|entry| entry_bytes(entry.name.len()))
        .filter(|bytes| !places.is_in_head(*bytes))
        .sum();
    (tail <= room).then_some(tail)
}

/// Deals entries to the head and the tail: the head takes each that still fits.
struct Places {
    left: usize,
}

impl Places {
    fn new() -> Self {
        Self {
            left: HEAD_BYTES - PARENT_BYTES,
        }
    }

    fn is_in_head(&mut self, bytes: usize) -> bool {
        let fits = self.left.checked_sub(bytes);
        self.left = fits.unwrap_or(self.left);
        fits.is_some()
    }
}

/// The content of a directory that lies in its inode: its parent's inode, and entries without `.`
/// and `..` that fill the head and the tail each.
pub fn render_directory<E: Entries + ?Sized>(
    entries: &E,
    parent: Ino,
    format: BlockFormat,
) -> Vec<u8> {
    let bytes = |index: usize| entry_bytes(entries.name(index).len());
    let mut places = Places::new();
    let (head, tail): (Vec<usize>, Vec<usize>) =
        (0..entries.count()).partition(|index| places.is_in_head(bytes(*index)));
    let tail_bytes: usize = tail.iter().map(|index| bytes(*index)).sum();
    let mut content = vec![0; HEAD_BYTES + tail_bytes];
    content[..PARENT_BYTES].copy_from_slice(&parent.get().to_le_bytes());
    for (part, range) in [
        (head, PARENT_BYTES..HEAD_BYTES),
        (tail, HEAD_BYTES..HEAD_BYTES + tail_bytes),
    ] {
        if range.is_empty() {
            continue;
        }
        let space = range.len();
        let mut writer = EntryWriter::new(&mut content[range], space);
        for index in part {
            writer.entry_of(entries, index, format);
        }
        writer.finish();
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::xattr_split::tests::{room, xattr};
    use crate::tree::{Content, Metadata, NodeId, Special, Tree};

    fn file(bytes: usize) -> Node {
        let mut tree = Tree::with_root(Metadata::default());
        let content = Content::from_bytes(vec![1; bytes]);
        let id = tree
            .file_at(NodeId::ROOT, b"f", Metadata::default(), content)
            .expect("the name is fine");
        tree.node(id).clone()
    }

    #[test]
    fn an_inode_of_256_bytes_holds_128_bytes_of_content() {
        // As the kernel has it: 96 bytes for attributes, of which the list takes 28.
        for (bytes, fits) in [(0, true), (60, true), (128, true), (129, false)] {
            assert_eq!(
                InlineCandidate::of(&file(bytes), 96).is_some(),
                fits,
                "{bytes}"
            );
        }
        assert_eq!(InlineCandidate::of(&file(0), 0), None);
    }

    #[test]
    fn content_goes_before_attributes_unless_it_saves_nothing() {
        let set = [xattr("user.a", 44)];
        let fit = |bytes| {
            let wish = InlineCandidate::of(&file(bytes), 96);
            fit_inode(&room(96), &set, wish).expect("a block has room")
        };
        // The attribute takes 64 bytes and the list 28: four are left for content past its head.
        let beside = fit(64);
        assert!(beside.inline && beside.split.cost(&room(96)) == 0);
        let pushing = fit(65);
        assert!(pushing.inline && pushing.split.cost(&room(96)) == 1);
        let large = [xattr("user.a", 68)];
        let wish = InlineCandidate::of(&file(0), 96);
        let empty = fit_inode(&room(96), &large, wish).expect("the inode has room");
        assert!(!empty.inline && empty.split.cost(&room(96)) == 0);
    }

    #[test]
    fn content_gives_way_to_attributes_that_fit_nowhere_else() {
        let set = [xattr("user.a", 44), xattr("user.b", 968)];
        let wish = InlineCandidate::of(&file(128), 96);
        let fit = fit_inode(&room(96), &set, wish).expect("inode and block have room");
        assert!(!fit.inline);
    }

    #[test]
    fn entries_fill_the_head_first() {
        let tree = |lengths: &[u8]| -> Tree {
            let mut tree = Tree::with_root(Metadata::default());
            for (byte, length) in (b'a'..).zip(lengths) {
                let name = vec![byte; usize::from(*length)];
                tree.special_at(NodeId::ROOT, &name, Metadata::default(), Special::Fifo)
                    .expect("the names differ");
            }
            tree
        };
        for (lengths, tail) in [
            (&[][..], Some(0)),
            (&[48], Some(0)),
            (&[49], Some(60)),
            (&[30, 20, 8], Some(28)),
            (&[60], Some(68)),
            (&[61], None),
            (&[48, 61], None),
            (&[1; 10], Some(72)),
        ] {
            let room = if lengths.len() == 10 { 72 } else { 68 };
            assert_eq!(
                directory_tail(tree(lengths).entries(NodeId::ROOT), room),
                tail,
                "{lengths:?}"
            );
        }
        assert_eq!(
            directory_tail(tree(&[1; 11]).entries(NodeId::ROOT), 68),
            None
        );
    }
}
