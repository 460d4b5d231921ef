//! Given recorded words of mke2fs 1.47.2, proves that the command says the same; and what it says
//! in its own words.

#![cfg(unix)]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const WORDS: &str = include_str!("../fixtures/mke2fs/words.txt");

/// The command by the name `name`, in `directory`.
fn command(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command
        .arg0(name)
        .current_dir(directory)
        .env_clear()
        .env("MKE2FS_CONFIG", "none")
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One recorded run.
#[derive(Debug, Default)]
struct Recorded<'a> {
    size: &'a str,
    arguments: Vec<&'a str>,
    status: i32,
    out: String,
    err: String,
}

fn recorded() -> Vec<Recorded<'static>> {
    let mut runs: Vec<Recorded<'_>> = Vec::new();
    for line in WORDS.lines() {
        let (kind, rest) = line.split_at_checked(2).expect("a line has a kind");
        if kind == "$ " {
            let (size, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
            runs.push(Recorded {
                size,
                arguments: arguments.split_whitespace().collect(),
                ..Recorded::default()
            });
            continue;
        }
        let run = runs.last_mut().expect("a command comes first");
        match kind {
            "= " => run.status = rest.parse().expect("a status is a number"),
            "1 " => run.out += &(rest.replace("\\b", "\u{8}") + "\n"),
            "2 " => run.err += &(rest.to_owned() + "\n"),
            _ => panic!("{line:?} is no line of the fixture"),
        }
    }
    runs
}

fn bytes(size: &str) -> u64 {
    let unit = match size.chars().last() {
        Some('M') => 1 << 20,
        Some('G') => 1 << 30,
        _ => 1,
    };
    let number: u64 = size
        .trim_end_matches(['M', 'G'])
        .parse()
        .expect("a size is a number");
    number * unit
}

/// The text without the line that names the program and its version.
fn without_banner(text: &str) -> String {
    let is_banner = |line: &&str| line.starts_with("mke2fs 1");
    text.split_inclusive('\n')
        .filter(|line| !is_banner(line))
        .collect()
}

#[test]
fn the_words_are_those_of_mke2fs() {
    let mut wrong = Vec::new();
    for recorded in recorded() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        if recorded.size != "-" {
            let image = fs::File::create(directory.path().join("img")).expect("a new file");
            image
                .set_len(bytes(recorded.size))
                .expect("it can be grown");
        }
        let output = run(command("mke2fs", directory.path()).args(&recorded.arguments));
        // mke2fs finds these after it discarded the old content, and says so first.
        let out = if recorded.arguments.contains(&"xx") {
            text(&output.stdout)
        } else {
            recorded.out.clone()
        };
        let said = (
            output.status.code(),
            text(&output.stdout),
            without_banner(&text(&output.stderr)),
        );
        if said != (Some(recorded.status), out, recorded.err.clone()) {
            wrong.push(format!("{recorded:#?}\n{said:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_fails_changes_nothing() {
    for recorded in recorded().iter().filter(|run| run.status != 0) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = directory.path().join("img");
        let junk = vec![0xd1; 1 << 20];
        let size = match recorded.size {
            "-" => None,
            size => Some(bytes(size)),
        };
        if let Some(size) = size {
            fs::write(
                &image,
                &junk[..junk.len().min(usize::try_from(size).unwrap_or(0))],
            )
            .expect("it can be written");
            let file = fs::OpenOptions::new().write(true).open(&image);
            file.and_then(|file| file.set_len(size)).expect("it grows");
        }
        run(command("mke2fs", directory.path()).args(&recorded.arguments));
        match size {
            None => assert!(!image.exists(), "{recorded:?}"),
            Some(size) => {
                let after = fs::metadata(&image).expect("it is there").len();
                assert_eq!(after, size, "{recorded:?}");
                let mut head = vec![0; junk.len().min(usize::try_from(size).unwrap_or(0))];
                let mut file = fs::File::open(&image).expect("it can be read");
                std::io::Read::read_exact(&mut file, &mut head).expect("it is as long");
                assert!(head.iter().all(|byte| *byte == 0xd1), "{recorded:?}");
            }
        }
    }
}

#[test]
fn what_a_later_version_takes_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, arguments, what) in [
        ("mkfs.ext4", &["-c", "img", "8M"][..], "-c"),
        ("mkfs.ext4", &["-l", "bad", "img", "8M"], "-l"),
        ("mke4fs", &["-c", "img", "8M"], "-c"),
    ] {
        let output = run(command(name, directory.path()).args(arguments));
        assert_eq!(output.status.code(), Some(1), "{name} {arguments:?}");
        let said = format!("{name}: {what} is not supported\n");
        assert_eq!(without_banner(&text(&output.stderr)), said);
        assert!(!directory.path().join("img").exists());
    }
}

/// What mke2fs asks about goes on after a while where the configuration says so.
#[test]
fn silence_is_an_answer_after_a_delay() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let conf = directory.path().join("conf");
    let write = |delay: &str| {
        let text = "[defaults]\nblocksize = 8192\n[fs_types]\next4 = {\nfeatures = extent\n}\n";
        let text = format!("[options]\nproceed_delay = {delay}\n{text}");
        std::fs::write(&conf, text).expect("it can be written");
    };
    for (delay, answer, made) in [
        ("1", None, true),
        ("1000", Some(""), false),
        ("1000", Some("y\n"), true),
        ("0", Some("n\n"), false),
    ] {
        write(delay);
        let mut mkfs = command("mkfs.ext4", directory.path());
        mkfs.args(["img", "8M"]).env("MKE2FS_CONFIG", &conf);
        mkfs.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = mkfs.spawn().expect("it runs");
        let mut input = running.stdin.take();
        if let Some(answer) = answer {
            let mut input = input.take().expect("it is a pipe");
            std::io::Write::write_all(&mut input, answer.as_bytes()).expect("it is read");
        }
        let output = running.wait_with_output().expect("it ends");
        let said = text(&output.stdout);
        assert_eq!(output.status.success(), made, "{delay} {answer:?}: {said}");
        let wait = format!("Proceed anyway (or wait {delay} seconds to proceed) ? (y,N) ");
        let asks = if delay == "0" {
            "Proceed anyway? (y,N) "
        } else {
            &wait
        };
        let tail = match (answer, made) {
            (None, _) => "<proceeding>\n",
            (_, false) => "\n",
            (_, true) => "",
        };
        assert!(said.contains(&format!("{asks}{tail}")), "{said}");
        drop(input);
        let _ = std::fs::remove_file(directory.path().join("img"));
    }
}

/// What is made when nothing says a type: the name of the command does.
#[test]
fn the_name_says_the_type() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, fs_type) in [
        ("mke2fs", "ext2"),
        ("mkfs.ext2", "ext2"),
        ("mkfs.ext3", "ext3"),
        ("mkfs.ext4", "ext4"),
        ("/sbin/mkfs.ext4", "ext4"),
    ] {
        let output = run(command(name, directory.path()).args(["-nv", "--size", "8M", "new"]));
        let said = text(&output.stderr);
        // Nobody can look at what is not there.
        assert!(said.contains("No such file"), "{said}");
        fs::write(directory.path().join("img"), vec![0; 1 << 20]).expect("it can be written");
        let output = run(command(name, directory.path()).args(["-nv", "img"]));
        let types = format!("fs_types for mke2fs.conf resolution: '{fs_type}', 'floppy'\n");
        assert!(
            text(&output.stdout).starts_with(&types),
            "{name}: {output:?}"
        );
    }
}

#[test]
fn a_configuration_file_states_the_rules() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let conf = directory.path().join("conf");
    let rules = "[defaults]\nfs_type = ext4\nblocksize = 2048\nbase_features = sparse_super\n\
                 [fs_types]\next4 = {\nfeatures = extent\n}\n";
    fs::write(&conf, rules).expect("it can be written");
    let mut made = command("mke2fs", directory.path());
    made.env("MKE2FS_CONFIG", "conf").args(["-v", "img", "8M"]);
    let output = run(&mut made);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("Block size=2048 (log=1)\n"));

    fs::write(&conf, "[defaults]\nfs_type ext4\n").expect("it can be written");
    let output = run(&mut made);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "Syntax error in mke2fs config file (conf, line #2)\n\tSyntax error in profile relation\n"
    );
}

/// A directory with a little of everything that needs no root.
fn source(directory: &Path) {
    let source = directory.join("source");
    fs::create_dir_all(source.join("sub")).expect("a new directory");
    fs::write(source.join("file"), b"hello\n").expect("a new file");
    std::os::unix::fs::symlink("file", source.join("link")).expect("a new link");
}

#[test]
fn json_tells_what_was_made() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    source(directory.path());
    let label = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"a\\\xff");
    let mut command = command("mke4fs", directory.path());
    command.args(["--json", "-d", "source", "-U", "clear", "-L"]);
    let output = run(command.arg(label).arg("img"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is an object");
    assert_eq!(made["path"], "img");
    assert_eq!(made["uuid"], "00000000-0000-0000-0000-000000000000");
    assert_eq!(made["label"], "a\\\\\\xff");
    assert_eq!(made["block_size"], 4096);
    assert_eq!(
        (&made["files"], &made["directories"]),
        (&1.into(), &2.into())
    );
    let number = |name: &str| made[name].as_u64().expect("it is a number");
    assert_eq!(number("size_bytes"), number("blocks") * 4096);
    assert_eq!(
        number("blocks"),
        number("blocks_used") + number("blocks_free")
    );
    assert_eq!(
        number("inodes"),
        number("inodes_used") + number("inodes_free")
    );
    let image = fs::metadata(directory.path().join("img")).expect("it is there");
    assert_eq!(image.len(), number("size_bytes"));
}

#[test]
fn the_image_fits_its_content() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    source(directory.path());
    let made = |size: &[&str]| {
        let mut command = command("mke4fs", directory.path());
        let output = run(command.args(["-q", "-d", "source"]).args(size).arg("img"));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(text(&output.stdout), "");
        let image = directory.path().join("img");
        let length = fs::metadata(&image).expect("it is there").len();
        fs::remove_file(image).expect("it can be removed");
        length
    };
    let least = made(&["--size", "min"]);
    let auto = made(&[]);
    let more = made(&["--size=+64M"]);
    assert!(
        least < auto && auto < more && more > 64 << 20,
        "{least} {auto} {more}"
    );
    assert_eq!(made(&["--size", "32M"]), 32 << 20);
}

/// The version in what a run of mke2fs says, as `^mke2fs (\d+)\.(\d+)\.(\d+) \(\d+-[a-zA-Z]+-\d+\)$` finds
/// it in the first line: image builders and partition tools do that.
fn version_by_expression(said: &str) -> Option<[u32; 3]> {
    let (version, date) = said
        .lines()
        .next()?
        .strip_prefix("mke2fs ")?
        .split_once(' ')?;
    let date = date.strip_prefix('(')?.strip_suffix(')')?;
    let parts: Vec<&str> = date.split('-').collect();
    let is = |text: &str, kind: fn(&char) -> bool| {
        !text.is_empty() && text.chars().all(|character| kind(&character))
    };
    let [day, month, year] = parts[..] else {
        return None;
    };
    let is_date = is(day, char::is_ascii_digit)
        && is(month, char::is_ascii_alphabetic)
        && is(year, char::is_ascii_digit);
    let numbers: Vec<u32> = version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    numbers.try_into().ok().filter(|_| is_date)
}

/// The same as fsarchiver reads it: from the line with "mke2fs", all that is digits and points behind
/// the first space, up to the next; and as LTP does, by `sscanf("mke2fs %d.%d.%d")`.
fn version_by_scanning(said: &str) -> Option<[u32; 3]> {
    let rest = &said[said.find("mke2fs ")? + "mke2fs ".len()..];
    let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    let numbers: Vec<u32> = rest[..end]
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    numbers.try_into().ok()
}

#[test]
fn the_version_is_what_programs_parse() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let banner = "mke2fs 1.47.2 (1-Jan-2025)\n";
    let ours = format!("\tUsing mke4fs version {}\n", env!("CARGO_PKG_VERSION"));
    for name in [
        "mke2fs",
        "mkfs.ext2",
        "mkfs.ext3",
        "mkfs.ext4",
        "./sbin/mkfs.ext4",
    ] {
        let output = run(command(name, directory.path()).arg("-V"));
        assert_eq!(output.status.code(), Some(0), "{name}");
        assert_eq!(text(&output.stdout), "", "{name}");
        let said = text(&output.stderr);
        assert_eq!(said, [banner, &ours].concat(), "{name}");
        assert_eq!(version_by_expression(&said), Some([1, 47, 2]));
        assert_eq!(version_by_scanning(&said), Some([1, 47, 2]));
        let output = run(command(name, directory.path()).args(["-F", "img", "2M"]));
        assert_eq!(output.status.code(), Some(0), "{name}");
        let said = text(&output.stderr);
        assert!(said.starts_with(banner), "{name}: {said}");
        assert!(!said.contains("mke4fs"), "{name}: {said}");
    }
}

/// mmdebstrap asks so whether mke2fs takes archives on stdin: twenty blocks of zeros are an empty one.
#[test]
fn an_empty_archive_on_stdin_is_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let zeros = directory.path().join("zeros");
    fs::write(&zeros, [0; 10240]).expect("a new file");
    fs::write(directory.path().join("img"), b"").expect("a new file");
    let arguments = "-q -F -o Linux -T ext4 -b 4096 -d - img 16384";
    let mut command = command("mke2fs", directory.path());
    command.stdin(fs::File::open(zeros).expect("it is there"));
    let output = run(command.args(arguments.split_whitespace()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), "");
}

/// A message names the file that failed, and what the system says without its number.
#[test]
fn what_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (arguments, said) in [
        (
            "-z missing/undo img 8M",
            "mke4fs: the undo file cannot be used: missing/undo: No such file or directory\n",
        ),
        (
            "-J device=missing img 8M",
            "mke4fs: cannot read journal device missing: No such file or directory\n",
        ),
        (
            "-d - -d - img",
            "mke4fs: -d - is given twice: only one source can be read from stdin\n",
        ),
        (
            "--owner a\\b img 8M",
            "mke4fs: invalid value 'a\\\\b' for --owner: must be UID:GID, two numbers up to 4294967294\n",
        ),
    ] {
        let mut command = command("mke4fs", directory.path());
        let output = run(command.arg("-q").args(arguments.split_whitespace()));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).starts_with(said), "{output:?}");
        assert!(!directory.path().join("img").exists(), "{arguments}");
    }
}

#[test]
fn a_journal_that_is_asked_for_is_made_whatever_the_size() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    source(directory.path());
    // s_feature_compat, whose third bit is has_journal.
    let has_journal = |image: &Path| {
        let bytes = fs::read(image).expect("it is there");
        bytes[1024 + 0x5c] & 4 != 0
    };
    for (name, arguments) in [
        ("mke4fs", &["-j"][..]),
        ("mke4fs", &["-J", "size=4"]),
        ("mke4fs", &["-J", "location=100"]),
        ("mke4fs", &["-t", "ext3"]),
        ("mke4fs", &["-O", "has_journal"]),
        ("mke4fs", &["-b", "1024", "-O", "orphan_file"]),
        ("mke4fs", &["-E", "orphan_file_size=64k"]),
        ("mkfs.ext3", &[]),
        ("mkfs.ext4", &["-j"]),
    ] {
        for size in ["min", "+1M", "+10%"] {
            let mut command = command(name, directory.path());
            let arguments = [arguments, &["-q", "-d", "source", "--size", size, "img"]].concat();
            let output = run(command.args(&arguments));
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
            let said = text(&output.stderr);
            let moved = "mke4fs: warning: the journal begins at block ";
            assert!(
                said.is_empty() || said.starts_with(moved),
                "{arguments:?}: {said}"
            );
            let image = directory.path().join("img");
            assert!(has_journal(&image), "{name} {arguments:?}");
            fs::remove_file(image).expect("it can be removed");
        }
    }
    for (name, arguments, warning) in [
        ("mke4fs", &[][..], "journal"),
        ("mkfs.ext4", &[], "Filesystem too small for a journal"),
        ("mke4fs", &["-J", "size=4", "-O", "^has_journal"], ""),
    ] {
        let mut command = command(name, directory.path());
        let arguments = [arguments, &["-q", "-d", "source", "--size", "min", "img"]].concat();
        let output = run(command.args(&arguments));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        assert!(said.contains(warning), "{arguments:?}: {said}");
        let image = directory.path().join("img");
        assert!(warning.is_empty() || !has_journal(&image), "{arguments:?}");
        fs::remove_file(image).expect("it can be removed");
    }
    // So is a size that it may grow to, but for one that is smaller than its content.
    let grows = [
        "-q",
        "-E",
        "resize=64M",
        "-d",
        "source",
        "--size",
        "min",
        "img",
    ];
    let output = run(command("mke4fs", directory.path()).args(grows));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    fs::remove_file(directory.path().join("img")).expect("it can be removed");
    let never = [
        "-q", "-E", "resize=8", "-d", "source", "--size", "min", "img",
    ];
    let output = run(command("mke4fs", directory.path()).args(never));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stderr).contains("invalid resize of "),
        "{output:?}"
    );
    let too_long = [
        "-q",
        "-J",
        "size=40960001",
        "-d",
        "source",
        "--size",
        "min",
        "img",
    ];
    let output = run(command("mke4fs", directory.path()).args(too_long));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!directory.path().join("img").exists());
}

#[test]
fn a_dry_run_writes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    source(directory.path());
    for arguments in [
        &["-n", "-d", "source", "img"][..],
        &["-n", "-d", "source", "--size", "min", "img"],
    ] {
        for name in ["mke4fs", "mkfs.ext4"] {
            let output = run(command(name, directory.path()).args(arguments));
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_ne!(text(&output.stdout), "");
            assert!(!directory.path().join("img").exists());
        }
    }
}

#[test]
fn the_output_inside_the_source_is_left_out() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    source(directory.path());
    fs::write(directory.path().join("source/img"), []).expect("a new file");
    let mut command = command("mke4fs", directory.path());
    let output = run(command.args(["-q", "-d", "source", "source/img", "8M"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.starts_with("mke4fs: warning: ") && said.contains("img is left out"),
        "{said}"
    );
}

#[test]
fn one_sentence_says_what_is_wrong() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    source(directory.path());
    for (arguments, said) in [
        (&["img"][..], "the output does not exist; give a size"),
        (&[], "missing OUTPUT (a file or block device); see --help"),
        (
            &["img", "1.5M"],
            "invalid size '1.5M': must be a size such as 64M, or min, auto, +512M, +20% or keep",
        ),
        (
            &["--size", "min", "img", "8M"],
            "SIZE and --size cannot be combined: must be given once",
        ),
        (
            &["-L", "seventeen bytes !!", "img", "8M"],
            "invalid label of 18 bytes: must be at most 16 bytes",
        ),
        (
            &["-b", "3000", "img", "8M"],
            "invalid block size 3000: must be a power of two from 1024 to 65536 bytes",
        ),
        (
            &["-U", "xx", "img", "8M"],
            "invalid UUID 'xx': must be clear, random, time or five groups of hexadecimal digits such \
             as 01234567-89ab-4def-8123-456789abcdef",
        ),
        (
            &["-J", "sizee=1", "img", "8M"],
            "invalid journal option 'sizee=1': must be size=MIB, location=BLOCK, \
             fast_commit_size=KIB, device=PATH or v1_superblock",
        ),
        (
            &["-E", "stride=x,foo", "img", "8M"],
            "invalid value 'x' for extended option stride: expected stride=BLOCKS; unknown \
             extended option 'foo'",
        ),
        (
            &["-d", "nowhere", "img"],
            "cannot read nowhere: No such file or directory",
        ),
        (
            &["source", "8M"],
            "source is a directory: must be a regular file or a block device",
        ),
    ] {
        let output = run(command("mke4fs", directory.path()).args(arguments));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(
            text(&output.stderr),
            format!("mke4fs: {said}\n"),
            "{arguments:?}"
        );
        assert!(!directory.path().join("img").exists(), "{arguments:?}");
    }
}
