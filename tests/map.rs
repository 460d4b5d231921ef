//! Given images that mke2fs and this crate wrote, proves that the picture counts what dumpe2fs counts, and is
//! one that programs can read; never how it looks.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::File;
use std::path::Path;
use std::process::Command;

use common::making::{make, workplace};
use common::place::Place;
use common::tools::{self, Need, Result, Which, ready};
use mke4fs::map::{BlockOwner, Map};
use mke4fs::raw::units::Group;
use mke4fs::read::{Filesystem, ImageFile};

const NEEDS: &[Need] = &[Need::E2fsprogs(Which::Reference), Need::Program("python3")];

fn map_of(image: &Path) -> Result<Map> {
    let filesystem = Filesystem::open(ImageFile::open(image)?)?;
    Ok(Map::of(&filesystem))
}

/// What dumpe2fs says of an image: the free blocks of each group, and how many groups keep a superblock.
struct Dumped {
    free: Vec<u64>,
    superblocks: u64,
    text: String,
}

fn dumped(image: &Path) -> Result<Dumped> {
    let mut command = tools::command(Which::Reference, "dumpe2fs")?;
    let output = command.arg(image).output()?;
    let text = String::from_utf8(output.stdout)?;
    let counts = |line: &str| {
        let (count, _) = line.trim().split_once(" free blocks, ")?;
        count.parse().ok()
    };
    let free = text.lines().filter_map(counts).collect();
    let is_superblock = |line: &&str| line.contains("superblock at ");
    let superblocks = text.lines().filter(is_superblock).count();
    Ok(Dumped {
        free,
        superblocks: u64::try_from(superblocks)?,
        text,
    })
}

/// A number in the head of what dumpe2fs says.
fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.ok_or_else(|| format!("dumpe2fs says no {name}"))?;
    Ok(value.trim().parse()?)
}

/// Holds a map against what dumpe2fs says, and gives it.
fn compare(image: &Path, about: &str) -> Result<Map> {
    let map = map_of(image)?;
    let dumped = dumped(image)?;
    let all = field(&dumped.text, "Block count:")? - field(&dumped.text, "First block:")?;
    let owned: u64 = BlockOwner::ALL.iter().map(|owner| map.blocks(*owner)).sum();
    assert_eq!(owned, all, "{about}: every block has one owner");
    assert_eq!(
        map.blocks(BlockOwner::Superblock),
        dumped.superblocks,
        "{about}"
    );
    assert_eq!(
        map.blocks(BlockOwner::Free),
        field(&dumped.text, "Free blocks:")?,
        "{about}"
    );
    let groups = dumped.free.len();
    let mut seen = 0;
    for row in map.rows() {
        let numbers = usize::try_from(row.groups().start)?..usize::try_from(row.groups().end)?;
        seen += numbers.len();
        let free: u64 = dumped.free[numbers].iter().sum();
        assert_eq!(
            row.blocks(BlockOwner::Free),
            free,
            "{about}: {:?}",
            row.groups()
        );
    }
    assert_eq!(seen, groups, "{about}");
    assert_eq!(map.damage(), None, "{about}");
    Ok(map)
}

/// Proves that a picture is XML with the names of all that has blocks, and nothing from elsewhere.
fn judge(map: &Map, place: &Path) -> Result<()> {
    let svg = map.svg();
    assert_eq!(svg, map.svg(), "the same map gives the same picture");
    assert!(svg.len() < 2 << 20, "{} bytes", svg.len());
    for word in ["<script", "href", "url(", "@import"] {
        assert!(!svg.contains(word), "{word}");
    }
    let file = place.join("map.svg");
    std::fs::write(&file, &svg)?;
    let program = "import sys, xml.etree.ElementTree as tree\n\
        root = tree.parse(sys.argv[1]).getroot()\n\
        assert root.tag == '{http://www.w3.org/2000/svg}svg', root.tag\n\
        print('\\n'.join(text.text or '' for text in root.iter('{http://www.w3.org/2000/svg}text')))";
    let output = tools::run(Command::new("python3").args(["-c", program]).arg(&file))?;
    for owner in BlockOwner::ALL {
        let is_told = output.lines().any(|line| line == owner.name());
        assert_eq!(is_told, map.blocks(owner) > 0, "{}", owner.name());
    }
    Ok(())
}

#[test]
fn blocks_are_those_that_dumpe2fs_counts() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (size, words) in [
        ("8M", "-t ext4"),
        ("64M", "-t ext2 -b 1024"),
        ("300M", "-t ext4 -b 1024"),
        ("64M", "-t ext3 -b 4096"),
        ("64M", "-t ext4 -b 4096 -O quota,project,mmp,orphan_file"),
        ("64M", "-t ext4 -b 1024 -O meta_bg,^resize_inode"),
        ("64M", "-t ext4 -b 1024 -O sparse_super2 -E num_backup_sb=1"),
        ("64M", "-t ext4 -b 1024 -g 256"),
        ("64M", "-t ext4 -b 4096 -O inline_data,ea_inode"),
        (
            "64M",
            "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,^flex_bg",
        ),
    ] {
        let image = dir.path().join("img");
        let _ = std::fs::remove_file(&image);
        let mut command = tools::command(Which::Reference, "mke2fs")?;
        command.args(["-q", "-F"]).args(words.split(' ')).arg("-d");
        tools::run(command.arg(&tree).arg(&image).arg(size))?;
        let about = format!("{words}, {size}");
        let map = compare(&image, &about)?;
        assert_eq!(map.blocks(BlockOwner::Unowned), 0, "{about}");
        assert!(map.blocks(BlockOwner::FileData) > 0, "{about}");
        judge(&map, dir.path())?;
    }
    let image = dir.path().join("clusters");
    File::create(&image)?;
    make(
        "-b 1024 -O bigalloc -L <&\u{1}>\u{ffff} 64M",
        Some(&tree),
        &image,
    )?;
    let map = map_of(&image)?;
    let sizes = BlockOwner::ALL.iter().map(|owner| map.blocks(*owner));
    assert_eq!(sizes.sum::<u64>(), 64 << 10);
    judge(&map, dir.path())
}

#[test]
fn a_tebibyte_is_one_picture_of_bounded_size() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let image = dir.path().join("img");
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/read");
    make("-b 4096 1T", Some(&tree), &image)?;
    let map = compare(&image, "1 TiB")?;
    assert_eq!(map.rows().count(), 64);
    judge(&map, dir.path())
}

#[test]
fn what_is_damaged_is_left_out_and_told() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let place = Place::new();
    place.file("root/data", &"some text\n".repeat(20_000));
    place.make("mke4fs -q -b 1024 -d root image 64M");
    let sound = std::fs::read(place.path("image"))?;
    let filesystem = Filesystem::open(&sound[..])?;
    let file = filesystem.metadata("data")?.ino();
    let sb = filesystem.superblock();
    let (in_group, table) = (
        file.get() - 1,
        filesystem.group(Group::new(0))?.inode_table(),
    );
    let inode = table.get() * 1024 + u64::from(in_group) * u64::try_from(sb.inode_size())?;
    let bitmap = filesystem.group(Group::new(3))?.block_bitmap().get() * 1024;
    let before = Map::of(&filesystem);
    assert_eq!(before.damage(), None);
    let cases = [
        // The descriptors are behind the superblock, each of 64 bytes.
        (2048 + 5 * 64, BlockOwner::Unknown, "group 5"),
        (bitmap, BlockOwner::Unknown, "group 3"),
        (inode, BlockOwner::Unowned, "inode 13"),
    ];
    for (offset, owner, first) in cases {
        let mut damaged = sound.clone();
        damaged[usize::try_from(offset)?] ^= 0x10;
        std::fs::write(place.path("damaged"), &damaged)?;
        let filesystem = Filesystem::open(&damaged[..])?;
        let map = Map::of(&filesystem);
        let damage = map.damage().ok_or(first)?;
        assert_eq!(damage.places(), 1, "{first}: {}", damage.first());
        assert!(
            damage.first().to_string().starts_with(first),
            "{}",
            damage.first()
        );
        let all = BlockOwner::ALL.iter().map(|owner| map.blocks(*owner));
        assert_eq!(all.sum::<u64>(), (64 << 10) - 1, "{first}");
        assert!(map.blocks(owner) > before.blocks(owner), "{first}");
        assert!(
            map.blocks(BlockOwner::Free) <= before.blocks(BlockOwner::Free),
            "{first}"
        );
        judge(&map, &place.path("."))?;
        let output = place.shell("mke4fs map damaged");
        assert!(output.status.success(), "{first}");
        assert_eq!(output.stdout, map.svg().into_bytes());
        let said = String::from_utf8_lossy(&output.stderr);
        let warning = format!(
            "mke4fs map: warning: damaged: 1 place is damaged and not in the picture (first: {})\n",
            damage.first()
        );
        assert_eq!(said, warning);
    }
    Ok(())
}
