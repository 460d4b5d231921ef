//! Given images that mke2fs, the kernel and this crate wrote, proves that the checker finds nothing in
//! them; and given planted damages, that it finds whatever e2fsck finds. Never judges how it is built.

#![cfg(target_os = "linux")]

mod damages;
mod image;
mod planted;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::making::{self, as_mke2fs, torture_tree};
use crate::common::mount::mount_rw;
use crate::common::tools::{self, Need, Result, Which, ready};
use crate::common::{making::workplace, torture};
use mke4fs::check::{CheckOptions, ImageFile, Report, check_with};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::System),
    Need::E2fsprogs(Which::Reference),
];

/// One row of the golden table in this many is checked, unless all are asked for.
const STEP: usize = 11;

/// What the checker says of a file.
fn checked(image: &Path) -> Result<Report> {
    Ok(check_with(
        &ImageFile::open(image)?,
        &CheckOptions::default(),
    ))
}

/// The checker finds nothing.
fn clean(image: &Path, about: &str) -> Result<()> {
    let report = checked(image)?;
    let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    if report.is_clean() {
        Ok(())
    } else {
        Err(format!("{about}:\n  {}", lines.join("\n  ")).into())
    }
}

#[test]
fn empty_filesystems_are_clean_where_e2fsck_says_so() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let table = include_str!("../../fixtures/golden/table.txt");
    let step = if crate::common::is_wide() { 1 } else { STEP };
    let dir = workplace()?;
    let mut found_by_both = 0;
    let mut images = 0;
    for line in table
        .lines()
        .filter(|line| line.starts_with("0 "))
        .step_by(step)
    {
        let words: Vec<&str> = line.split(' ').skip(2).collect();
        // Of a journal's device e2fsck only says that it is no filesystem, and an undo file would lie
        // here and be in the way of the next.
        let words_of_others = ["offset=", "journal_dev", "MKE2FS"];
        let odd = |word: &&str| {
            ["-n", "-z"].contains(word) || words_of_others.iter().any(|other| word.contains(other))
        };
        let [size, arguments @ ..] = &words[..] else {
            continue;
        };
        if arguments.iter().any(odd) {
            continue;
        }
        let kibibytes: u64 = size.trim_matches(['+', '!', 'k']).parse()?;
        let image = dir.path().join("img");
        File::create(&image)?.set_len(kibibytes << 10)?;
        tools::run(as_mke2fs().args(arguments).arg(&image))?;
        let report = checked(&image)?;
        let sound = tools::e2fsck(&image, Which::Reference).is_ok();
        assert_eq!(report.is_clean(), sound, "{line}: {:?}", report.findings);
        found_by_both += u32::from(!sound);
        images += 1;
    }
    tools::report(&format!(
        "checked {images} empty images; {found_by_both} are mke2fs's own slips"
    ));
    assert!(images > 20);
    Ok(())
}

/// Options under which every group of the torture tree fits.
const FILLED: &[&str] = &[
    "-b 1024 -O ea_inode,large_dir,meta_bg,^resize_inode",
    "-b 4096 -O inline_data,quota,project -I 512",
];

#[test]
fn the_torture_tree_is_clean() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let (_source, tree) = torture_tree(1023)?;
    let dir = workplace()?;
    for words in FILLED {
        let image = dir.path().join("img");
        File::create(&image)?.set_len(512 << 20)?;
        let words = format!("{words} -N 20000");
        let mut command = as_mke2fs();
        command.args(["-t", "ext4"]).args(words.split(' '));
        tools::run(command.arg("-d").arg(&tree).arg(&image))?;
        clean(&image, &words)?;
        fs::remove_file(&image)?;
    }
    torture::teardown(&tree)?;
    Ok(())
}

#[test]
fn what_mke2fs_fills_is_clean() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("a/b"))?;
    symlink("t".repeat(300), tree.join("long"))?;
    symlink("short", tree.join("short"))?;
    for number in 0..200 {
        let file = tree.join(format!("a/{number:040}"));
        fs::write(&file, vec![7; number * 37])?;
        xattr::set(&file, "trusted.name", &vec![1; number])?;
    }
    fs::hard_link(tree.join(format!("a/{:040}", 5)), tree.join("again"))?;
    for words in [
        "-t ext4",
        "-t ext4 -b 1024",
        "-t ext4 -O inline_data -I 512",
        "-t ext4 -O ^metadata_csum",
        "-t ext2",
        "-t ext3 -b 2048",
        "-t ext4 -O bigalloc",
    ] {
        let image = dir.path().join("img");
        File::create(&image)?.set_len(64 << 20)?;
        let mut arguments: Vec<&str> = words.split(' ').collect();
        let path = tree.to_str().ok_or("a UTF-8 path")?;
        arguments.extend(["-d", path]);
        tools::mke2fs(&image, &arguments)?;
        clean(&image, words)?;
    }
    Ok(())
}

/// What a few weeks do to a filesystem, in a moment.
pub(crate) fn live(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("a/b/c"))?;
    for number in 0..600 {
        fs::write(root.join(format!("a/{number:0100}")), number.to_string())?;
    }
    for number in (0..600).step_by(3) {
        fs::remove_file(root.join(format!("a/{number:0100}")))?;
    }
    fs::rename(root.join("a/b"), root.join("moved"))?;
    for number in 0..80 {
        fs::create_dir(root.join(format!("moved/{number}")))?;
    }
    fs::remove_dir(root.join("moved/7"))?;
    symlink("t".repeat(200), root.join("long"))?;
    symlink("short", root.join("short"))?;
    fs::hard_link(root.join("short"), root.join("hard"))?;
    let sparse = File::create(root.join("sparse"))?;
    for number in 0..200 {
        sparse.write_all_at(b"data", number * 9000)?;
        if number % 20 == 0 {
            sparse.sync_all()?;
        }
    }
    sparse.set_len(1 << 21)?;
    for number in [1, 2, 4] {
        let file = root.join(format!("a/{number:0100}"));
        xattr::set(&file, "user.small", b"value")?;
        xattr::set(&file, "user.large", &vec![b'x'; 700])?;
        xattr::set(
            &file,
            "system.posix_acl_access",
            &torture::acl(&[
                (torture::AclTag::Owner, 6),
                (torture::AclTag::User(1000), 4),
                (torture::AclTag::OwningGroup, 4),
                (torture::AclTag::Mask, 4),
                (torture::AclTag::Other, 0),
            ]),
        )?;
    }
    // Past what a block holds: only ea_inode takes it.
    let _ = xattr::set(root.join("sparse"), "user.huge", &vec![b'y'; 9000]);
    chown(root.join("sparse"), Some(1000), Some(70_000))?;
    let mut grown = File::create(root.join("grown"))?;
    grown.write_all(&[3; 100])?;
    grown.sync_all()?;
    grown.write_all(&vec![4; 300_000])?;
    Ok(())
}

#[test]
fn what_the_kernel_changes_is_clean() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    for words in [
        "-t ext4",
        "-t ext4 -b 1024 -O large_dir,ea_inode",
        "-t ext4 -O inline_data -I 512",
        "-t ext4 -O bigalloc",
        "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,meta_bg,^resize_inode",
        "-t ext4 -O sparse_super2,mmp,^orphan_file,fast_commit",
        "-t ext3 -b 1024",
        "-t ext2 -I 128",
    ] {
        let image = dir.path().join("img");
        File::create(&image)?.set_len(48 << 20)?;
        let arguments: Vec<&str> = words.split(' ').collect();
        tools::mke2fs(&image, &arguments)?;
        mount_rw(&image, live)??;
        tools::e2fsck(&image, Which::Reference)?;
        clean(&image, words)?;
    }
    Ok(())
}

#[test]
fn a_journal_is_reported_until_it_is_replayed() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let (image, copy) = (dir.path().join("img"), dir.path().join("copy"));
    File::create(&image)?.set_len(48 << 20)?;
    tools::mke2fs(&image, &["-t", "ext4"])?;
    mount_rw(&image, |root| -> Result<()> {
        live(root)?;
        tools::run(Command::new("sync").arg("--file-system").arg(root))?;
        fs::copy(&image, &copy)?;
        Ok(())
    })??;
    let report = checked(&copy)?;
    let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    let waits = lines
        .iter()
        .any(|line| line.contains("wait to be replayed"));
    assert!(waits, "{lines:?}");
    mount_rw(&copy, |_| ())?;
    clean(&copy, "replayed")
}

#[test]
fn the_command_says_what_it_found_and_writes_nothing() -> Result<()> {
    let dir = workplace()?;
    let image = dir.path().join("img");
    making::make("8M", None, &image)?;
    let run = |arguments: &[&str]| -> Result<(Option<i32>, String, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
        let output = command
            .args(arguments)
            .arg("--check")
            .arg(&image)
            .output()?;
        let text = |bytes| String::from_utf8(bytes);
        let status = output.status.code();
        Ok((status, text(output.stdout)?, text(output.stderr)?))
    };
    let path = image.display().to_string();
    let expected = (Some(0), format!("{path}: no errors found\n"), String::new());
    assert_eq!(run(&[])?, expected);
    assert_eq!(run(&["-q"])?, (Some(0), String::new(), String::new()));

    let file = File::options().read(true).write(true).open(&image)?;
    // s_free_inodes_count, and with it the checksum.
    let mut count = [0; 4];
    file.read_exact_at(&mut count, 1024 + 0x10)?;
    file.write_all_at(&(u32::from_le_bytes(count) + 1).to_le_bytes(), 1024 + 0x10)?;
    let before = fs::read(&image)?;
    let (status, said, errors) = run(&[])?;
    assert_eq!((status, errors.as_str()), (Some(4), ""));
    assert!(
        said.contains("superblock: s_free_inodes_count is"),
        "{said}"
    );
    assert_eq!(run(&["-q"])?, (Some(4), String::new(), String::new()));
    let (status, said, _) = run(&["--json"])?;
    let said: serde_json::Value = serde_json::from_str(&said)?;
    assert_eq!(status, Some(4));
    assert_eq!((&said["clean"], &said["total"]), (&false.into(), &2.into()));
    assert_eq!(said["findings"][0]["area"], "superblock");
    assert_eq!(fs::read(&image)?, before);

    let (status, _, errors) = run(&["-E", "stride=4"])?;
    assert_eq!(status, Some(1));
    assert!(errors.contains("must be offset=BYTES"), "{errors}");
    fs::remove_file(&image)?;
    assert_eq!(run(&[])?.0, Some(1));
    assert!(!image.exists());
    Ok(())
}

#[test]
fn a_filesystem_behind_an_offset_is_found() -> Result<()> {
    let dir = workplace()?;
    let image = dir.path().join("img");
    making::make("-E offset=1048576 8M", None, &image)?;
    assert!(!checked(&image)?.is_clean());
    let options = CheckOptions::new().offset_bytes(1 << 20);
    let report = check_with(&ImageFile::open(&image)?, &options);
    assert!(report.is_clean(), "{:?}", report.findings);
    Ok(())
}

#[test]
fn a_huge_and_empty_filesystem_is_checked_by_what_it_holds() -> Result<()> {
    let dir = workplace()?;
    let image = dir.path().join("img");
    making::make("-T huge 20T", None, &image)?;
    clean(&image, "20 TiB")
}

#[test]
fn a_journal_device_is_checked_as_what_it_is() -> Result<()> {
    if !ready(NEEDS) {
        return Ok(());
    }
    let dir = workplace()?;
    let image = dir.path().join("img");
    for (block_bytes, place) in [("1024", 2048), ("4096", 4096)] {
        File::create(&image)?.set_len(16 << 20)?;
        tools::mke2fs(&image, &["-O", "journal_dev", "-b", block_bytes])?;
        clean(&image, block_bytes)?;
        let file = File::options().write(true).open(&image)?;
        // Its length, its UUID, and its magic number.
        for (offset, said) in [(0x10, "s_maxlen"), (0x30, "UUID"), (0, "begin")] {
            file.write_all_at(&[0xff], place + offset)?;
            let report = checked(&image)?;
            let is_said = |it: &mke4fs::check::Finding| it.to_string().contains(said);
            assert!(report.findings.iter().any(is_said), "{said}: {report:?}");
        }
    }
    Ok(())
}
