//! Given inputs that claim much and hold little, proves that the command takes little memory and an
//! end: each run has an address space of 96 MiB and a minute of the processor.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use common::making;
use common::tools::{self, Which};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

/// What is asked, and what is said of it; nothing, where an image is made.
const ROWS: [(&str, &str); 14] = [
    ("--threads 18446744073709551615 OUT 64M", ""),
    ("-N 4294967295 OUT 1G", "use fewer inodes (-N)"),
    ("-N 4000000000 OUT 2T", "do not fit in the block groups"),
    ("-N 400000 OUT 64G", ""),
    (
        "-E orphan_file_size=10T OUT 1G",
        "must be at most 262144 blocks in this filesystem",
    ),
    ("-J size=10000000 OUT 1G", "must be 1024 to 10240000"),
    ("-E resize=4294967295 OUT 1G", ""),
    ("-G 2147483648 OUT 1G", ""),
    (
        "-E offset=18446744073709551615 OUT 1G",
        "the last of an output",
    ),
    ("-b 1024 -g 256 OUT 1G", ""),
    ("-d sparse OUT", ""),
    (
        "-d huge OUT",
        "with this block size a file has at most 17592186040320",
    ),
    ("-d deep OUT", ""),
    ("-d links OUT", ""),
];

/// The sources that rows name: a file of 15 TiB and one of 1 EiB without data, directories in
/// directories beyond any path, and a file of many names.
fn sources(top: &Path) {
    for (name, size) in [("sparse", 15 << 40), ("huge", 1 << 60)] {
        let directory = top.join(name);
        fs::create_dir(&directory).expect("a directory");
        let file = File::create(directory.join("file")).expect("a file");
        file.set_len(size).expect("tmpfs has long files");
    }
    fs::create_dir(top.join("deep")).expect("a directory");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, top.join("deep"), flags, Mode::empty()).expect("it opens");
    for _ in 0..1500 {
        mkdirat(&at, "d", Mode::RWXU).expect("a directory");
        at = openat(&at, "d", flags, Mode::empty()).expect("it opens");
    }
    let links = top.join("links");
    fs::create_dir(&links).expect("a directory");
    File::create(links.join("0")).expect("a file");
    for number in 1..20_000 {
        fs::hard_link(links.join("0"), links.join(number.to_string())).expect("a link");
    }
}

#[test]
fn claims_cost_nothing() {
    let dir = making::workplace().expect("a directory");
    sources(dir.path());
    let image = dir.path().join("image");
    let mut wrong = Vec::new();
    for (words, expected) in ROWS {
        let mut command = Command::new("prlimit");
        command.args(["--as=100663296", "--cpu=60"]);
        command.arg(env!("CARGO_BIN_EXE_mke4fs")).arg("-q");
        command.args(words.split(' ').map(|word| match word {
            "OUT" => image.as_os_str(),
            word => word.as_ref(),
        }));
        command.current_dir(dir.path()).stdin(Stdio::null());
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let is_right = match expected {
            "" => output.status.success(),
            part => output.status.code() == Some(1) && said.contains(part) && !image.exists(),
        };
        if !is_right {
            wrong.push(format!("{words}: {}: {said}", output.status));
        } else if expected.is_empty() {
            tools::e2fsck(&image, Which::System).expect(words);
        }
        let _ = fs::remove_file(&image);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
