//! Given any bytes, as an image or as changes to a sound one, checks that the checker comes to an end
//! without a panic, keeps no more findings than it is asked for, and says the same twice.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use mke4fs::check::{CheckOptions, ReadAt, check_with};
use mke4fs::options::{Options, Size};
use mke4fs::raw::geometry::Geometry;
use mke4fs::raw::layout::Layout;
use mke4fs::tree::{Content, Metadata, NodeId, Special, Tree, Verity, Xattr};

use super::image::{self, Storage};
use super::options::host;

/// How many findings are kept.
const MOST_FINDINGS: usize = 20;

/// The features of the images that are changed.
const FEATURES: [&str; 6] = [
    "^metadata_csum",
    "^metadata_csum,quota,ea_inode",
    "^metadata_csum,inline_data,casefold",
    "^extent,^64bit,^metadata_csum,meta_bg,^resize_inode",
    "metadata_csum,mmp",
    "^metadata_csum,verity",
];

/// A sound image and what is changed in it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    image: u8,
    changes: Vec<(Place, u8)>,
}

/// Where a byte is changed: in the superblock, or in one of the pieces that are not zero.
#[derive(Arbitrary, Debug)]
enum Place {
    Superblock(u16),
    Piece(u16, u8),
}

/// A sound image and where it is not zero, in pieces of 256 bytes.
pub struct Sound {
    pub bytes: Vec<u8>,
    pieces: Vec<usize>,
}

/// A sound image with some bytes changed.
pub struct Changed<'a> {
    sound: &'a [u8],
    changes: BTreeMap<usize, u8>,
}

impl ReadAt for Changed<'_> {
    fn size_bytes(&self) -> u64 {
        self.sound.size_bytes()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.sound.read_exact_at(offset, buffer)?;
        let start = usize::try_from(offset).expect("it could be read");
        for (at, value) in self.changes.range(start..start + buffer.len()) {
            buffer[at - start] = *value;
        }
        Ok(())
    }
}

/// Checks the checker by `bytes`.
pub fn run(bytes: &[u8]) {
    judge(&bytes);
    let Some(input) = super::value::<Input>(bytes) else {
        return;
    };
    judge(&input.changed(images()).1);
}

impl Input {
    /// The number of the sound image, and the image with its changes.
    pub fn changed<'a>(&self, images: &'a [Sound]) -> (usize, Changed<'a>) {
        let number = usize::from(self.image) % images.len();
        let sound = &images[number];
        let place = |place: &Place| match place {
            Place::Superblock(at) => 1024 + usize::from(*at) % 1024,
            Place::Piece(piece, at) => {
                sound.pieces[usize::from(*piece) % sound.pieces.len()] + usize::from(*at)
            }
        };
        let changes = self.changes.iter().map(|(at, value)| (place(at), *value));
        let changed = Changed {
            sound: &sound.bytes,
            changes: changes.collect(),
        };
        (number, changed)
    }
}

fn judge(image: &dyn ReadAt) {
    let options = CheckOptions::new().most_findings(MOST_FINDINGS);
    let report = check_with(image, &options);
    let kept = u64::try_from(report.findings.len()).expect("a few");
    assert!(kept <= report.total && report.findings.len() <= MOST_FINDINGS);
    assert_eq!(report, check_with(image, &options));
    for finding in &report.findings {
        assert!(!finding.to_string().is_empty());
    }
}

/// The sound images that are changed.
pub fn images() -> &'static [Sound] {
    static IMAGES: OnceLock<Vec<Sound>> = OnceLock::new();
    IMAGES.get_or_init(|| FEATURES.iter().map(|features| sound(features)).collect())
}

fn sound(features: &str) -> Sound {
    Sound::new(
        image(&format!("{features},^has_journal"), 1 << 20),
        features,
    )
}

/// A sound image of `size` bytes.
pub fn image(features: &str, size: u64) -> Vec<u8> {
    let tree = tree();
    let mut options = Options::new();
    options
        .fs_type("ext4")
        .features(features)
        .size(Size::Bytes(size))
        .block_size(1024)
        .inodes_count(128)
        .force();
    let settings = options.resolve(&host()).expect("they are fixed").settings;
    let geometry = Geometry::new(&settings).expect("they are fixed");
    let layout = Layout::new(&settings, geometry, &tree).expect("the tree is small");
    let memory = image::render(&settings, &layout, &tree, Storage::Zeros);
    memory.into_bytes().expect("it is small")
}

impl Sound {
    fn new(bytes: Vec<u8>, features: &str) -> Self {
        let report = check_with(&bytes[..], &CheckOptions::default());
        assert!(report.is_clean(), "{features}: {:?}", report.findings);
        Self::of(bytes)
    }

    /// An image of which nobody says that it is sound.
    pub fn of(bytes: Vec<u8>) -> Self {
        let used = bytes.chunks(256).enumerate();
        let pieces = used
            .filter(|(_, piece)| piece.iter().any(|byte| *byte != 0))
            .map(|(number, _)| number * 256)
            .collect();
        Self { bytes, pieces }
    }
}

fn tree() -> Tree {
    let mut tree = Tree::with_root(Metadata::default());
    let mut plant = || -> Result<(), mke4fs::tree::TreeError> {
        let (root, plain) = (NodeId::ROOT, Metadata::default());
        let file = tree.file_at(root, b"file", plain, Content::from_bytes(vec![1; 20_000]))?;
        let xattr = |name: &str, length| Xattr {
            name: name.as_bytes().to_vec(),
            value: vec![b'v'; length],
        };
        tree.set_xattrs(file, vec![xattr("user.a", 30), xattr("user.b", 600)])?;
        // Where the filesystem has no such feature it is a file like others.
        let mut verity = Verity::default();
        verity.salt = vec![b's'; 9];
        verity.signature = vec![b'g'; 40];
        let protected = Content::from_bytes(vec![2; 70_000]).with_verity(verity);
        tree.file_at(root, b"protected", plain, protected)?;
        tree.file_at(root, b"small", plain, Content::from_bytes(vec![1; 30]))?;
        tree.symlink_at(root, b"link", plain, &[b't'; 100])?;
        let many = tree.directory_at(root, b"many", plain)?;
        for number in 0..90 {
            let name = format!("a-name-of-some-length-{number}");
            tree.special_at(many, name.as_bytes(), plain, Special::Fifo)?;
        }
        tree.directory_at(many, b"below", plain)?;
        tree.finish()
    };
    plant().expect("its names are fine");
    tree
}
