//! Given a file_contexts and files, proves that each is labelled as libselinux labels it.
//!
//! The oracle is `matchpathcon`. Patterns that it is asked about come from fixtures and from a grammar of
//! what may stand in a pattern; paths are made of both, so that most match or nearly do.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::tools::{self, Need, ready};
use mke4fs::source::rules::FileContexts;
use mke4fs::tree::FileType;

const TYPES: [(&str, FileType); 7] = [
    ("file", FileType::File),
    ("dir", FileType::Directory),
    ("lnk_file", FileType::Symlink),
    ("chr_file", FileType::CharDevice),
    ("blk_file", FileType::BlockDevice),
    ("pipe", FileType::Fifo),
    ("sock_file", FileType::Socket),
];

/// What libselinux says of `paths`; of none nothing.
fn oracle(file: &Path, file_type: &str, paths: &[String]) -> Vec<Option<String>> {
    let mut said = Vec::new();
    for some in paths.chunks(2000) {
        let mut command = Command::new("matchpathcon");
        command
            .env("PATH", tools::path())
            .arg("-f")
            .arg(file)
            .args(["-m", file_type])
            .args(some);
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{file:?}: {output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        said.extend(text.lines().zip(some).map(|(line, path)| {
            let context = line.strip_prefix(&format!("{path}\t"));
            let context = context.unwrap_or_else(|| panic!("{path:?} is answered by {line:?}"));
            (context != "<<none>>").then(|| context.to_owned())
        }));
    }
    assert_eq!(said.len(), paths.len(), "each path has an answer");
    said
}

fn read(file: &Path) -> FileContexts {
    let beside = |suffix: &str| {
        let name = format!("{}{suffix}", file.display());
        fs::read(&name).ok().map(|text| (name, text))
    };
    let text = fs::read(file).expect("it is there");
    let name = file.display().to_string();
    let mut contexts = FileContexts::new(name, text).unwrap_or_else(|error| panic!("{error}"));
    for suffix in [".homedirs", ".local"] {
        if let Some((name, text)) = beside(suffix) {
            contexts = contexts.with(&name, text).expect("it can be read");
        }
    }
    if let Some((name, text)) = beside(".subs") {
        contexts = contexts.substitutions(&name, text).expect("it can be read");
    }
    if let Some((name, text)) = beside(".subs_dist") {
        contexts = contexts
            .dist_substitutions(&name, text)
            .expect("it can be read");
    }
    contexts
}

/// Compares all answers, and gives how many paths are labelled.
fn compare(file: &Path, paths: &[String]) -> usize {
    let contexts = read(file);
    let mut labelled = 0;
    for (word, file_type) in TYPES {
        for (path, theirs) in paths.iter().zip(oracle(file, word, paths)) {
            let ours = contexts.lookup(path.as_bytes(), file_type);
            let ours = ours.map(|label| String::from_utf8(label).expect("ASCII"));
            assert_eq!(ours, theirs, "{path:?} as {word} by {}", file.display());
            labelled += usize::from(ours.is_some());
        }
    }
    labelled
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// A path that a pattern nearly is: what is special in it goes or becomes something.
fn path_like(numbers: &mut Numbers, pattern: &str) -> String {
    let mut path = String::from("/");
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => path.extend(characters.next()),
            '.' => path.push_str(numbers.of(&["x", "", "/", "0"])),
            '*' | '+' | '?' | '^' | '$' | '(' | ')' | ':' => {}
            '|' if numbers.below(2) == 0 => break,
            '|' => path.push('/'),
            '[' => {
                let first = characters.next().unwrap_or('a');
                path.push(if first == '^' { 'q' } else { first });
                let _ = characters.by_ref().find(|next| *next == ']');
            }
            other => path.push(other),
        }
    }
    path.push_str(numbers.of(&["", "", "", "/x", ".so", "1", "d"]));
    if numbers.below(5) == 0 {
        let at = numbers.below(path.len());
        if path.is_char_boundary(at) {
            path.insert_str(at, numbers.of(&["a", "/", ".", "0"]));
        }
    }
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

fn patterns_of(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("it is there");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect()
}

#[test]
fn labels_are_those_of_libselinux() {
    if !ready(&[Need::Program("matchpathcon")]) {
        return;
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/file_contexts");
    for name in ["server", "device"] {
        let file = fixtures.join(name);
        let mut patterns = patterns_of(&file);
        for beside in [".homedirs", ".local", ".subs", ".subs_dist"] {
            let beside = PathBuf::from(format!("{}{beside}", file.display()));
            if beside.exists() {
                patterns.extend(patterns_of(&beside));
            }
        }
        let mut numbers = Numbers(7);
        let paths: Vec<_> = (0..1500)
            .map(|at| path_like(&mut numbers, &patterns[at % patterns.len()]))
            .collect();
        let labelled = compare(&file, &paths);
        assert!(
            labelled > paths.len(),
            "{name}: only {labelled} are labelled"
        );
    }
}

/// Something that may stand in a pattern.
fn atom(numbers: &mut Numbers, depth: usize) -> String {
    const SETS: [&str; 14] = [
        "[abc]",
        "[^/]",
        "[a-c]",
        "[^a]",
        "[/x]",
        "[0-9a]",
        "[][a]",
        "[a-]",
        "[-a]",
        r"[\.x]",
        "[[:alpha:]]",
        "[a&&b]",
        "[~~a]",
        "[--x]",
    ];
    const QUOTED: [&str; 16] = [
        r"\.", r"\-", r"\+", r"\*", r"\?", r"\/", r"\<", r"\(", r"\[", r"\|", r"\d", r"\w", r"\s",
        r"\S", r"\b", r"\_",
    ];
    match numbers.below(20) {
        0..=8 => numbers
            .of(&["a", "b", "c", "x", "/", "0", "_", "-"])
            .to_owned(),
        9 | 10 => ".".to_owned(),
        11 | 12 => numbers.of(&SETS).to_owned(),
        13 | 14 => numbers.of(&QUOTED).to_owned(),
        15..=17 if depth < 3 => {
            let open = numbers.of(&["(", "(?:"]);
            format!("{open}{})", alternatives(numbers, depth + 1))
        }
        18 => numbers
            .of(&["^", "$", "{", "}", "]", "{x}", "#", "&", "~"])
            .to_owned(),
        _ => "/".to_owned(),
    }
}

fn sequence(numbers: &mut Numbers, depth: usize) -> String {
    let mut text = String::new();
    for _ in 0..=numbers.below(5) {
        text.push_str(&atom(numbers, depth));
        if numbers.below(4) == 0 {
            text.push_str(numbers.of(&["*", "+", "?", "{2}", "{1,2}", "{0,1}", "*?", "??", "+?"]));
        }
    }
    text
}

fn alternatives(numbers: &mut Numbers, depth: usize) -> String {
    let count = [1, 1, 1, 2, 3][numbers.below(5)];
    let all: Vec<_> = (0..count).map(|_| sequence(numbers, depth)).collect();
    all.join("|")
}

#[test]
fn patterns_that_are_taken_mean_what_they_mean_to_libselinux() {
    if !ready(&[Need::Program("matchpathcon")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file_contexts");
    let mut numbers = Numbers(1);
    let (mut taken, mut refused, mut labelled) = (0, 0, 0);
    for _ in 0..12 {
        let mut patterns = Vec::new();
        let mut text = String::new();
        for at in 0..40 {
            let start = numbers.of(&["/", "/", "", "/a/", "/ab/c"]);
            let pattern = format!("{start}{}", alternatives(&mut numbers, 0));
            if pattern.starts_with('#') {
                continue;
            }
            let file_type = numbers.of(&["", "--", "-d", "-l"]);
            let line = format!("{pattern}\t{file_type}\tc{at}\n");
            match FileContexts::new("one", &line) {
                Ok(_) => {
                    text.push_str(&line);
                    patterns.push(pattern);
                    taken += 1;
                }
                Err(_) => refused += 1,
            }
        }
        fs::write(&file, text).expect("it is written");
        let paths: Vec<_> = (0..200)
            .map(|at| path_like(&mut numbers, &patterns[at % patterns.len()]))
            .collect();
        labelled += compare(&file, &paths);
    }
    assert!(
        taken > 4 * refused,
        "{taken} patterns are taken, and {refused} refused"
    );
    assert!(labelled > 5_000, "only {labelled} are labelled");
}

#[test]
fn what_cannot_be_matched_is_refused_with_file_and_line() {
    let refused = [
        (
            "/a(?=b) c",
            "invalid pattern '/a(?=b)': look-around is not supported",
        ),
        (
            "/a(?<!b) c",
            "invalid pattern '/a(?<!b)': look-around is not supported",
        ),
        (
            r"/(a)\1 c",
            "references to groups and octal numbers are not supported",
        ),
        ("/a++ c", "possessive quantifiers are not supported"),
        (
            "/(?i)a c",
            "of the groups with ?, only (?:...) is supported",
        ),
        ("/(a c", "missing ) for a ("),
        ("/a) c", "missing ( for a )"),
        ("/[a c", "missing ] for a ["),
        (r"/a\ c", "it ends too early"),
        ("/a** c", "a quantifier has nothing to repeat"),
        ("/a{,2} c", "{,N} is ambiguous: write {0,N} or \\{,N}"),
        ("/(a$)b c", "something follows $, the end of the path"),
        (
            "/a{60000} c",
            "invalid pattern '/a{60000}': compiled, it takes more than 64 KiB",
        ),
        (
            "/a",
            "expected a pattern, an optional file type and a context",
        ),
        (
            "/a -- c d",
            "expected a pattern, an optional file type and a context",
        ),
        (
            "/a -x c",
            "invalid file type '-x': must be --, -d, -l, -c, -b, -p or -s",
        ),
        ("/\u{e9} c", "libselinux takes ASCII only"),
    ];
    for (line, said) in refused {
        let error = FileContexts::new("fc", format!("# first\n{line}\n"));
        let error = error.map(drop).expect_err(line).to_string();
        assert!(
            error.starts_with("fc:2: ") && error.contains(said),
            "{line}: {error}"
        );
    }
    let compiled = FileContexts::new("fc.bin", [0x8a, 0xff, 0x7c, 0xf9, 5, 0, 0, 0]);
    let error = compiled.map(drop).expect_err("it is compiled").to_string();
    assert!(error.contains("use its text form"), "{error}");
}

#[test]
fn paths_begin_at_the_mount_point_and_end_before_a_newline() {
    let text = "/system(/.*)? any\n/system/bin -d bin\n/system/etc/a -- a\n";
    for mount_point in ["/system", "system", "/system//"] {
        let contexts = FileContexts::new("fc", text).expect("it can be read");
        let contexts = contexts.mount_point(mount_point.as_bytes());
        let mut tree = mke4fs::tree::Tree::with_root(Default::default());
        let rules = [mke4fs::source::rules::Rule::FileContexts(contexts)];
        tree.directory_at(mke4fs::tree::NodeId::ROOT, b"bin", Default::default())
            .expect("a name");
        mke4fs::source::rules::apply(&rules, &mut tree, Default::default()).expect("labels");
        tree.finish().expect("a tree");
        let label = |node| {
            let xattrs = tree.xattrs(node);
            xattrs
                .iter()
                .map(|xattr| xattr.value.clone())
                .collect::<Vec<_>>()
        };
        let root = tree.entries(mke4fs::tree::NodeId::ROOT);
        let names: Vec<_> = root
            .iter()
            .map(|entry| (entry.name.to_vec(), label(entry.node)))
            .collect();
        let expected = [
            (b"bin".to_vec(), vec![b"bin\0".to_vec()]),
            (b"lost+found".to_vec(), vec![b"any\0".to_vec()]),
        ];
        assert_eq!(names, expected, "{mount_point}");
        assert_eq!(
            label(mke4fs::tree::NodeId::ROOT),
            [b"any\0".to_vec()],
            "{mount_point}"
        );
    }
    let contexts = FileContexts::new("fc", text).expect("it can be read");
    for (path, label) in [
        (&b"/system/etc/a\n"[..], "a"),
        (b"/system/etc/a\n\n", "any"),
    ] {
        let found = contexts.lookup(path, FileType::File);
        assert_eq!(found.as_deref(), Some(label.as_bytes()));
    }
}

#[test]
fn the_kernel_shows_the_labels() {
    use common::place::Place;

    if !ready(&[
        Need::Root,
        Need::Program("setfattr"),
        Need::Program("matchpathcon"),
    ]) {
        return;
    }
    let place = Place::new();
    for file in [
        "etc/shadow",
        "etc/motd",
        "usr/lib/x/libx.so.1",
        "opt/kept",
        "home/u/.ssh/key",
    ] {
        place.file(&format!("root/{file}"), "");
    }
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/file_contexts/server");
    for suffix in ["", ".homedirs", ".local", ".subs", ".subs_dist"] {
        let from = format!("{}{suffix}", fixture.display());
        fs::copy(from, place.path(&format!("fc{suffix}"))).expect("a copy");
    }
    let none = "/opt/kept <<none>>\n";
    let mut text = fs::read_to_string(place.path("fc")).expect("it is there");
    text.push_str(none);
    fs::write(place.path("fc"), text).expect("it is written");
    assert_eq!(place.make("mke4fs -q -d root --file-contexts fc image"), "");
    let said = place.look(|mounted| {
        let mut said = Vec::new();
        for path in [
            "",
            "lost+found",
            "etc/shadow",
            "etc/motd",
            "opt/kept",
            "home/u/.ssh/key",
            "usr/lib/x/libx.so.1",
        ] {
            let output = Command::new("getfattr")
                .args([
                    "--absolute-names",
                    "--only-values",
                    "-n",
                    "security.selinux",
                ])
                .arg(mounted.join(path))
                .output();
            said.push(String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned());
        }
        said
    });
    let expected = [
        "system_u:object_r:root_t:s0\0",
        "system_u:object_r:lost_found_t:s0\0",
        "system_u:object_r:shadow_t:s0\0",
        "system_u:object_r:motd_t:s0\0",
        "",
        "unconfined_u:object_r:ssh_home_t:s0\0",
        "system_u:object_r:lib_so_t:s0\0",
    ];
    assert_eq!(said, expected);

    fs::remove_file(place.path("image")).expect("it is there");
    let said = place.refusal("mke4fs -q -d root --file-contexts fc --mount-point vendor other");
    assert!(
        said.contains("for --mount-point: must be an absolute path"),
        "{said}"
    );
    fs::write(place.path("bad"), "/a x\n/b(?=c) y\n").expect("it is written");
    let said = place.refusal("mke4fs -q -d root --file-contexts bad other");
    assert!(
        said.contains("bad:2: invalid pattern '/b(?=c)': look-around"),
        "{said}"
    );
}
