//! Given the command, proves that its help explains all that it takes, in every form; never what it
//! writes.

#![cfg(unix)]

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use mke4fs::feature::Feature;
use mke4fs::options::CompatTarget;

/// The names of mke2fs(8)'s extended options, and of those that later versions added.
const EXTENDED: [&str; 27] = [
    "android_sparse",
    "assume_storage_prezeroed",
    "desc-size",
    "desc_size",
    "discard",
    "encoding",
    "encoding_flags",
    "hash_seed",
    "lazy_itable_init",
    "lazy_journal_init",
    "mmp_update_interval",
    "no_copy_xattrs",
    "nodiscard",
    "num_backup_sb",
    "offset",
    "orphan_file_size",
    "packed_meta_blocks",
    "quotatype",
    "resize",
    "revision",
    "root_owner",
    "root_perms",
    "root_selinux",
    "stride",
    "stripe-width",
    "stripe_width",
    "test_fs",
];

/// Long names of our own beside mke2fs's letters.
const LONG_NAMES: [(&str, &str); 30] = [
    ("-d", "--source"),
    ("-L", "--label"),
    ("-U", "--uuid"),
    ("-t", "--type"),
    ("-T", "--usage-type"),
    ("-O", "--features"),
    ("-E", "--extended"),
    ("-b", "--block-size"),
    ("-I", "--inode-size"),
    ("-i", "--inode-ratio"),
    ("-N", "--inodes"),
    ("-m", "--reserved"),
    ("-J", "--journal"),
    ("-j", "--with-journal"),
    ("-C", "--cluster-size"),
    ("-g", "--blocks-per-group"),
    ("-G", "--groups-per-flex"),
    ("-e", "--errors"),
    ("-M", "--last-mounted"),
    ("-o", "--creator-os"),
    ("-r", "--revision"),
    ("-n", "--dry-run"),
    ("-F", "--force"),
    ("-q", "--quiet"),
    ("-v", "--verbose"),
    ("-z", "--undo-file"),
    ("-D", "--direct-io"),
    ("-K", "--no-discard"),
    ("-S", "--super-only"),
    ("-V", "--version"),
];

fn run(name: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command.arg0(name).env_clear().args(arguments);
    command.output().expect("the command runs")
}

/// What the command prints that succeeds.
fn printed(arguments: &[&str]) -> String {
    let output = run("mke4fs", arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

/// The manual page without what marks it up.
fn manual() -> String {
    let page = printed(&["--generate", "man"]);
    page.replace("\\-", "-")
        .replace("\\fB", "")
        .replace("\\fR", "")
        .replace("\\fI", "")
}

/// Whether a line of `text` begins with `name`, and no longer one.
fn explains(text: &str, name: &str) -> bool {
    let rest = |line: &str| line.trim_start().strip_prefix(name).map(str::to_owned);
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || "-_".contains(c));
    text.lines().filter_map(rest).any(|rest| is_end(&rest))
}

#[test]
fn every_extended_option_is_explained() {
    let (help, manual) = (printed(&["--help=extended"]), manual());
    for name in EXTENDED {
        assert!(explains(&help, name), "{name}: {help}");
        assert!(explains(&manual, name), "{name}: {manual}");
    }
    assert_eq!(help.matches("[default: ").count(), EXTENDED.len(), "{help}");
}

#[test]
fn every_feature_is_explained() {
    let (help, manual) = (printed(&["--help=features"]), manual());
    for feature in Feature::ALL {
        assert!(explains(&help, feature.name()), "{feature:?}: {help}");
        assert!(explains(&manual, feature.name()), "{feature:?}: {manual}");
    }
    let numbers = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        numbers.matches("kernel: ").count(),
        Feature::ALL.len(),
        "{help}"
    );
    for said in [
        "[default: ext3, ext4; kernel: 2.4.15]",
        "[default: ext2, ext3, ext4; kernel: 2.2.0]",
        "[default: off; kernel: 5.2; also called fname_encoding]",
    ] {
        assert!(numbers.contains(said), "{said}: {help}");
    }
}

#[test]
fn every_compatibility_target_is_explained() {
    let (help, manual) = (printed(&["--help=compat"]), manual());
    for target in CompatTarget::all() {
        assert!(explains(&help, target.name()), "{target:?}: {help}");
        assert!(explains(&manual, target.name()), "{target:?}: {manual}");
    }
}

#[test]
fn every_usage_type_is_explained() {
    let help = printed(&["--help=usage-types"]);
    for name in [
        "small",
        "floppy",
        "big",
        "huge",
        "news",
        "largefile",
        "largefile4",
        "hurd",
    ] {
        assert!(explains(&help, name), "{name}: {help}");
    }
    assert!(help.contains("one inode per 1048576 bytes"), "{help}");
}

#[test]
fn every_flag_has_a_long_name_a_default_and_its_place_in_all_help() {
    let (short, long, manual) = (printed(&["-h"]), printed(&["--help"]), manual());
    assert!(short.lines().count() < long.lines().count() / 4, "{short}");
    for (letter, name) in LONG_NAMES {
        let both = format!("{letter}, {name}");
        assert!(explains(&long, &both), "{both}: {long}");
        assert!(explains(&manual, &both), "{both}: {manual}");
    }
    for heading in [
        "Arguments:",
        "Content:",
        "Size:",
        "Format:",
        "Ownership and metadata:",
        "Reproducibility:",
        "Output:",
        "Help:",
    ] {
        assert!(
            short.lines().any(|line| line == heading),
            "{heading}: {short}"
        );
        assert!(
            long.lines().any(|line| line == heading),
            "{heading}: {long}"
        );
    }
    for heading in ["Examples:", "Exit status:", "Environment:"] {
        assert!(
            long.lines().any(|line| line == heading),
            "{heading}: {long}"
        );
    }
    for heading in ["EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "VERBS"] {
        assert!(manual.contains(heading), "{heading}: {manual}");
    }
    let flags = long.lines().filter(|line| {
        let flag = line.trim_start();
        flag.starts_with("--") || flag.starts_with('-') && flag.contains(", --")
    });
    let about_itself = ["--help", "--generate", "--version"];
    let without = flags.filter(|line| !about_itself.iter().any(|name| line.contains(name)));
    let flags = without.count();
    let defaults = long.split_whitespace().filter(|word| *word == "[default:");
    // SIZE has one as well.
    assert_eq!(defaults.count(), flags + 1, "{long}");
}

/// Commands stand in one line each, and what is said of them is indented: clap, which wraps them once more, has no
/// reason to.
#[test]
fn examples_and_variables_stand_in_lines_of_their_own() {
    let long = printed(&["--help"]);
    let (_, topics) = long.split_once("\nExamples:\n").expect("examples");
    let (examples, rest) = topics.split_once("\n\nExit status:\n").expect("statuses");
    let (statuses, rest) = rest.split_once("\n\nEnvironment:\n").expect("variables");
    let (variables, _) = rest.split_once("\n\nCalled mke2fs").expect("the end");
    let terms = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with("      "));
        lines.map(|line| line[2..].to_owned()).collect()
    };
    let examples = terms(examples);
    assert!(examples.len() > 10, "{long}");
    for example in examples {
        assert!(example.starts_with("mke4fs "), "{example}: {long}");
    }
    assert_eq!(terms(statuses), ["0", "1", "2", "4"], "{long}");
    for variable in terms(variables) {
        let is_name = |name: &str| {
            name.bytes()
                .all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'))
        };
        assert!(variable.split(", ").all(is_name), "{variable}: {long}");
    }
    let too_wide = |line: &&str| line.chars().count() > 80;
    assert_eq!(topics.lines().find(too_wide), None);
}

#[test]
fn a_long_name_and_its_letter_are_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let image = directory.path().join("img");
    let image = image.to_str().expect("its name is UTF-8");
    let made = |arguments: &[&str]| {
        let pinned = [
            "-q",
            "-U",
            "clear",
            "-E",
            "hash_seed=01234567-89ab-4def-8123-456789abcdef",
        ];
        let output = Command::new(env!("CARGO_BIN_EXE_mke4fs"))
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .args(pinned)
            .args(arguments)
            .args([image, "8M"])
            .output()
            .expect("the command runs");
        assert!(output.status.success(), "{output:?}");
        let bytes = std::fs::read(image).expect("an image");
        std::fs::remove_file(image).expect("it can be removed");
        bytes
    };
    let letters = [
        "-L",
        "x",
        "-b",
        "2048",
        "-I",
        "128",
        "-N",
        "50",
        "-O",
        "^resize_inode",
        "-m",
        "1",
    ];
    let names = [
        "--label=x",
        "--block-size=2048",
        "--inode-size=128",
        "--inodes=50",
        "--features=^resize_inode",
        "--reserved=1",
    ];
    assert!(made(&letters) == made(&names));
    assert!(made(&letters) != made(&["--label=x"]));
}

#[test]
fn completions_name_flags_and_verbs() {
    for shell in ["complete-bash", "complete-zsh", "complete-fish"] {
        let text = printed(&["--generate", shell]);
        for word in ["block-size", "keep-root", "always", "check", "remount-ro"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    // Without it fish offers file names where a value of an option goes.
    let fish = printed(&["--generate", "complete-fish"]);
    assert!(fish.contains("or argparse -s (__fish_mke4fs_global_optspecs) -- $cmd '' "));
}

#[test]
fn the_version_is_one_line() {
    let line = format!("mke4fs {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed(&["--version"]), line);
    assert_eq!(printed(&["-V"]), line);
}

#[test]
fn by_the_names_of_mke2fs_help_is_that_of_mke2fs() {
    for (arguments, letter) in [
        (["--help"], '-'),
        (["--version"], '-'),
        (["--label=x"], '-'),
        (["--generate=man"], '-'),
        (["-h"], 'h'),
    ] {
        let output = run("mkfs.ext4", &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let first = format!("mkfs.ext4: invalid option -- '{letter}'\nUsage: mkfs.ext4 [-c|-l");
        assert!(said.starts_with(&first), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn a_word_that_is_mistyped_is_answered_with_the_nearest() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let image = directory.path().join("img");
    let image = image.to_str().expect("its name is UTF-8");
    for (arguments, said) in [
        (["--labl", "x"], "tip: a similar argument exists: '--label'"),
        (
            ["--help=feature", "x"],
            "tip: a similar value exists: 'features'",
        ),
        (["-O", "metdata_csum"], "; did you mean 'metadata_csum'?\n"),
        (["-O", "^has_jurnal"], "; did you mean 'has_journal'?\n"),
        (
            ["-E", "strid=4"],
            "unknown extended option 'strid'; did you mean 'stride'?\n",
        ),
        (["-t", "etx4"], "; did you mean 'ext4'?\n"),
        (
            ["-T", "largefle"],
            "unknown usage type 'largefle'; using the defaults; did you mean 'largefile'?\n",
        ),
    ] {
        let output = run("mke4fs", &[&arguments[..], &[image, "8M"]].concat());
        let answer = String::from_utf8_lossy(&output.stderr);
        assert!(answer.contains(said), "{arguments:?}: {answer}");
    }
    for (arguments, said) in [
        (
            ["chekc", image],
            "mke4fs: 'chekc' is not a verb; did you mean 'check'?\n",
        ),
        (
            ["list", image],
            "mke4fs: 'list' is not a verb; did you mean 'ls'?\n",
        ),
    ] {
        let output = run("mke4fs", &arguments);
        let answer = String::from_utf8_lossy(&output.stderr);
        assert!(answer.ends_with(said), "{arguments:?}: {answer}");
    }
    let conf = directory.path().join("conf");
    let types = "[fs_types]\next4 = {\nfeatures = extent\n}\nmailspool = {\nblocksize = 1024\n}\n";
    std::fs::write(&conf, types).expect("a file");
    for (flag, name, said) in [
        ("-T", "mailspol", "; did you mean 'mailspool'?\n"),
        ("-t", "mailspol", "; did you mean 'mailspool'?\n"),
        ("-T", "largefle", "using the defaults\n"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
        command.args([flag, name, image, "8M"]);
        let output = command.env("MKE2FS_CONFIG", &conf).output();
        let output = output.expect("the command runs");
        let answer = String::from_utf8_lossy(&output.stderr);
        assert!(answer.contains(said), "{flag} {name}: {answer}");
    }
    for arguments in [["-O", "qqq"], ["-E", "qqq"], ["data", "qqq"]] {
        let output = run("mke4fs", &[&arguments[..], &[image, "8M"]].concat());
        let answer = String::from_utf8_lossy(&output.stderr);
        assert!(!answer.contains("did you mean"), "{arguments:?}: {answer}");
    }
}

/// What mke2fs says of these values stays with its names: under our own they are told in our form.
#[test]
fn values_that_cannot_be_are_told_in_our_own_form() {
    for (arguments, said) in [
        (
            ["-m", "60"],
            "invalid reserved percentage 60: must be 0 to 50",
        ),
        (
            ["-m", "x"],
            "invalid reserved percentage 'x': must be 0 to 50",
        ),
        (
            ["-b", "1000"],
            "invalid block size 1000: must be a power of two from 1024 to 65536 bytes",
        ),
        (
            ["-i", "512"],
            "invalid inode ratio 512: must be 1024 to 67108864 bytes per inode",
        ),
        (
            ["-I", "x"],
            "invalid inode size 'x': must be a power of two from 128 bytes on",
        ),
        (
            ["-N", "x"],
            "invalid number of inodes 'x': must be a number up to 4294967295",
        ),
        (
            ["-g", "7"],
            "invalid blocks per group 7: must be a multiple of 8",
        ),
        (
            ["-g", "x"],
            "invalid blocks per group 'x': must be a multiple of 8",
        ),
        (
            ["-G", "3"],
            "invalid flex group size 3: must be a power of two up to 2^31 groups",
        ),
        (
            ["-G", "4294967296"],
            "invalid flex group size 4294967296: must be a power of two up to 2^31 groups",
        ),
        (
            ["-C", "1000"],
            "invalid cluster size 1000: must be a power of two from 2048 to 536870912 bytes",
        ),
        (
            ["-e", "x"],
            "invalid error behavior 'x': must be continue, remount-ro or panic",
        ),
        (
            ["-r", "0"],
            "invalid revision 0: must be 1; use -E revision=0",
        ),
        (["-r", "9"], "invalid revision 9: must be 1"),
        (["-r", "x"], "invalid revision 'x': must be 1"),
        (
            ["-o", "x"],
            "invalid creator OS 'x': must be linux, hurd, freebsd, lites or a number",
        ),
        (
            ["-J", "device=LABEL=nowhere"],
            "no journal device with LABEL=nowhere; create it with -O journal_dev",
        ),
        (
            ["-s", "1"],
            "-s is not supported; use -O sparse_super or -O ^sparse_super",
        ),
        (["-l", "x"], "-l is not supported"),
        (
            ["--sparse", "x"],
            "invalid value 'x' for --sparse: must be auto, always or never",
        ),
        (
            ["--threads", "0"],
            "invalid number of threads '0': must be at least 1",
        ),
        (
            ["--copy", "x"],
            "invalid value 'x' for --copy: must be SRC:/DEST",
        ),
        (
            ["--exclude", "["],
            "--exclude: invalid pattern '[': missing ] after [",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = directory.path().join("img");
        let operands = [image.to_str().expect("its name is UTF-8"), "8M"];
        let output = run("mke4fs", &[&arguments[..], &operands].concat());
        let answer = String::from_utf8_lossy(&output.stderr);
        assert_eq!(answer, format!("mke4fs: {said}\n"), "{arguments:?}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!image.exists(), "{arguments:?}");
    }
}

/// The left column of the project's glossary, as far as it can be found by its letters.
#[test]
fn no_words_of_old_are_in_any_text_for_users() {
    const OLD: &[&str] = &[
        "images of containers",
        "image of containers",
        "times of access",
        "last writing",
        "block of multiple mount protection",
        "kept for growing",
        "whatever their case",
        "so many bytes",
        "what its content tells",
        "names of users",
        "speaks the words",
        "awkward tree",
        "unless told otherwise",
        "go on where",
        "claim it for",
        "is no list of",
        "is no pattern",
        "is no range",
        "is no type",
        "is no flag",
        "is no operating system",
        "is no revision",
        "there is no extended option",
        "cannot be \"",
        "an inode per 1",
        "has no mark at its end",
        "how it likes to be",
        "neither a directory nor",
        "shall be",
        "'; it can be ",
        "it can have ",
        "are given, and",
        "exclude each other",
        "is no multiple",
        "is no power",
        "is no regular file",
        "is no directory",
        "is no utf-8",
        "makes no sense",
        "leads to the root",
        "leads to an inode",
        "leads to no inode",
        "leads elsewhere",
        "lead nowhere",
        "that nobody knows",
        "nobody writes",
        "and the output as well",
        "in spite of",
        "initialised",
        "folds case",
        "attribute's value",
        "the attributes of",
        "as it is said to be",
        "cannot be matched here",
        "nothing is wrong",
        "noted errors",
        "does not take",
        "better off",
        "say of each",
        "all that is known of it",
    ];
    let mut texts = vec![
        printed(&["-h"]),
        printed(&["--help"]),
        printed(&["--help=extended"]),
        printed(&["--help=features"]),
        printed(&["--help=usage-types"]),
        manual(),
    ];
    for verb in ["ls", "cat", "tar", "check", "diff", "map", "grow"] {
        texts.push(printed(&[verb, "--help"]));
    }
    texts.extend(strings(std::path::Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src"
    ))));
    let around = |text: &str, old: &str| {
        let (before, after) = text.split_once(old)?;
        let before: String = before.chars().rev().take(60).collect();
        let before: String = before.chars().rev().collect();
        let after: String = after.chars().take(60).collect();
        Some(format!("{before}{old}{after}"))
    };
    let mut found = Vec::new();
    for text in texts {
        let text = text.to_lowercase();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        found.extend(OLD.iter().filter_map(|old| around(&text, old)));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The strings in the code that ships, but for what mke2fs says, one a piece.
fn strings(directory: &std::path::Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            all.extend(strings(&path));
        } else if !path.ends_with("cli/words.rs") {
            let code = std::fs::read_to_string(&path).expect("a source is text");
            let shipped = code
                .split("\n#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default();
            let is_code = |line: &&str| !line.trim_start().starts_with("//");
            let shipped: String = shipped
                .lines()
                .filter(is_code)
                .map(|line| format!("{line}\n"))
                .collect();
            // A quote within a string is the only one that a backslash stands before.
            let plain = shipped.replace("\\\"", "\u{1}").replace("'\"'", "");
            let within = plain.split('"').skip(1).step_by(2);
            all.extend(within.map(|text| text.replace('\u{1}', "\"").replace("\\\n", "")));
        }
    }
    all
}
