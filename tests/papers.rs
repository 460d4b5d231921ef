//! Given the README, docs/ and what stands beside them, proves that their links lead somewhere, that their
//! commands run, and that they keep to the glossary; never whether what they say is true.

#![cfg(target_os = "linux")]

#[path = "../benches/compare/chart.rs"]
mod chart;

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::papers::{anchors, links, papers, prose, recipes, text, top};
use common::place::Place;
use common::tools::{self, Need, Which, e2fsck, ready};
use serde_json::{Value, json};

/// What the papers do not say, but what the field says instead.
const NOT_BUT: &[(&str, &str)] = &[
    ("image of containers", "container image"),
    ("images of containers", "container images"),
    ("time of access", "atime"),
    ("times of access", "atime"),
    ("last writing", "mtime"),
    ("of multiple mount protection", "MMP"),
    ("blocks kept for growing", "reserved GDT blocks"),
    ("whatever their case", "case-insensitive"),
    ("a content", "file data"),
    ("contents", "file data"),
    ("so many bytes", "bytes per inode"),
    ("content tells", "detected from the content"),
    ("names of users", "user names"),
    ("names do not", "numeric IDs"),
    ("words of mke2fs", "accepts its options"),
    ("speaks", "accepts its options"),
    ("arrives", "is written"),
    ("rooms", "modules"),
    ("house", "layers"),
    ("oracle", "reference tool"),
    ("oracles", "reference tools"),
    ("awkward", "torture tree"),
    ("floor", "lower bound"),
    ("spool", "temporary file"),
    ("told otherwise", "by default"),
    ("dies", "fails"),
    ("warned of", "causes a warning"),
    ("who takes it", "what supports it"),
    ("stranger", "untrusted source"),
    ("finds fault", "reports errors"),
    ("speaks the words", "accepts its options"),
];

/// Whether the words `term` stand in `line`, whole, and not as a key as in `contents=`.
fn finds(line: &str, term: &str) -> bool {
    let is_word = |next: Option<char>| next.is_some_and(|it| it.is_alphanumeric() || it == '=');
    line.match_indices(term).any(|(at, _)| {
        !is_word(line[..at].chars().next_back()) && !is_word(line[at + term.len()..].chars().next())
    })
}

/// What the glossary says of lines of prose.
fn faults(of: &str, lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in lines.into_iter().enumerate() {
        let line = line.to_lowercase();
        let place = format!("{of}:{}", number + 1);
        for (not, but) in NOT_BUT {
            if finds(&line, not) {
                faults.push(format!("{place}: {not}: say {but}"));
            }
        }
        // The word alone is chattr's.
        let extended = line.matches("extended attribute").count();
        if line.matches("attribute").count() > extended {
            faults.push(format!(
                "{place}: attribute: say extended attribute, or flag"
            ));
        }
    }
    faults
}

#[test]
fn the_papers_keep_to_the_glossary() {
    let of_paper = |paper: PathBuf| faults(&paper.to_string_lossy(), prose(&text(&paper)));
    let faults: Vec<String> = papers().into_iter().flat_map(of_paper).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn help_and_the_man_page_keep_to_the_glossary() {
    let mut lines: Vec<String> = ["--generate man", "-h", "--help", "--help=extended"]
        .map(String::from)
        .into();
    lines.extend(["--help=features", "--help=usage-types"].map(String::from));
    lines.push("--help=compat".to_owned());
    for verb in ["ls", "cat", "tar", "check", "diff", "map", "grow"] {
        lines.push(format!("{verb} --help"));
    }
    let place = Place::new();
    let of_line = |line: String| {
        let output = place.shell(&format!("mke4fs {line}"));
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{line}"
        );
        let said = String::from_utf8(output.stdout).expect("it is text");
        faults(&line, said.lines().map(str::to_owned))
    };
    let faults: Vec<String> = lines.into_iter().flat_map(of_line).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The documentation of what is public, from what stands right before it.
fn documentation(directory: &Path, faulty: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            documentation(&path, faulty);
            continue;
        }
        let code = fs::read_to_string(&path).expect("a source is text");
        let mut said: Vec<&str> = Vec::new();
        for line in code.lines().map(str::trim) {
            let comment = line.strip_prefix("///").or(line.strip_prefix("//!"));
            if let Some(comment) = comment {
                said.push(comment);
                continue;
            }
            // Between it and its item attributes may stand.
            if line.starts_with("#[") {
                continue;
            }
            if line.starts_with("pub ") {
                let text = said.join(" ").to_lowercase();
                let found = NOT_BUT.iter().filter(|(not, _)| finds(&text, not));
                let found =
                    found.map(|(not, but)| format!("{}: {line}: {not}: say {but}", path.display()));
                faulty.extend(found);
            }
            said.clear();
        }
    }
}

#[test]
fn the_documentation_of_public_items_keeps_to_the_glossary() {
    let mut faulty = Vec::new();
    documentation(&top().join("src"), &mut faulty);
    assert!(faulty.is_empty(), "{}", faulty.join("\n"));
}

#[test]
fn the_links_of_the_papers_lead_somewhere() {
    let mut count = 0;
    let others = ["ARCHITECTURE.md", "fuzz/README.md", "fixtures/README.md"].map(Into::into);
    for paper in papers().into_iter().chain(others) {
        let own = text(&paper);
        for link in links(&own) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let directory = paper.parent().expect("a file is in a directory");
            let target = top().join(directory).join(path);
            let is_there = path.is_empty() || target.exists();
            assert!(is_there, "{}: {link} leads nowhere", paper.display());
            if !anchor.is_empty() {
                let there = if path.is_empty() {
                    own.clone()
                } else {
                    text(&target)
                };
                let is_there = anchors(&there).iter().any(|it| it == anchor);
                assert!(is_there, "{}: {link} has no heading", paper.display());
            }
            count += 1;
        }
    }
    assert!(count > 30, "{count} links");
}

#[test]
fn the_readme_leads_to_every_document() {
    let links = links(&text(Path::new("README.md")));
    for paper in papers() {
        let name = paper.to_string_lossy().into_owned();
        assert!(name == "README.md" || links.contains(&name), "{name}");
    }
}

#[test]
fn the_readme_names_the_packages_of_this_version() {
    let readme = text(Path::new("README.md"));
    let version = env!("CARGO_PKG_VERSION");
    for package in [
        format!("/mke4fs_{version}_amd64.deb\n"),
        format!("/mke4fs-{version}-x86_64-linux-static "),
    ] {
        assert!(readme.contains(&package), "{package}");
    }
    let heading = format!("\n## {version}");
    let changelog = text(Path::new("CHANGELOG.md"));
    assert!(changelog.contains(&heading), "CHANGELOG.md lacks {version}");
}

#[test]
fn the_chart_of_the_readme_is_drawn_from_its_data() {
    let drawn = chart::draw(&text(Path::new("benches/chart.tsv"))).expect("a chart");
    // `cargo bench --bench compare -- chart benches/chart.tsv > benches/chart.svg` draws it again.
    assert!(
        drawn == text(Path::new("benches/chart.svg")),
        "another chart:\n{drawn}"
    );
    assert!(text(Path::new("README.md")).contains("](benches/chart.svg)"));
}

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::Reference),
    Need::Program("setpriv"),
    Need::Program("umoci"),
    Need::Program("skopeo"),
];

/// What the commands of the papers speak of, for an ordinary user.
const GIVEN: &str = "
mkdir -p rootfs/etc rootfs/bin rootfs/dev overlay/etc
echo /dev/vda / ext4 > rootfs/etc/fstab; echo secret > rootfs/etc/shadow; echo new > overlay/etc/new
touch rootfs/bin/su; chmod 4755 rootfs/bin/su; chmod 640 rootfs/etc/shadow
tar --numeric-owner --owner 0 --group 42 -cf layer.tar -C rootfs .
umoci init --layout made && umoci new --image made:app
umoci raw add-layer --image made:app layer.tar
skopeo copy -q oci:made:app oci:images:debian:12
skopeo copy -q oci:made:app docker-archive:app.tar:app:1
rm -r made layer.tar";

/// What there is before each block of commands.
const BEFORE: &str = "for name in base old disk; do mke4fs -q -d rootfs $name.img; done";

/// What there must be after a command that holds certain words.
const AFTER: &[(&str, &str)] = &[
    (" disk.img 2G", "test $(stat -c %s disk.img) = 2147483648"),
    (
        "oci:images",
        "mke4fs ls -l disk.img etc/shadow | grep -q ' 0 *42 '",
    ),
    ("app.tar -d overlay", "mke4fs cat disk.img etc/new"),
    (
        "--size +1G",
        "mke4fs cat vm.img etc/new && mke4fs check vm.img",
    ),
    (
        "small.img",
        "test $(stat -c %s small.img) -lt $(stat -c %s old.img) && mke4fs check small.img",
    ),
    ("> etc.tar", "tar tf etc.tar | grep -q etc/fstab"),
    ("| tar x", "cmp etc/fstab rootfs/etc/fstab"),
    ("> map.svg", "grep -q '</svg>' map.svg"),
];

/// Each command of a paper succeeds for an ordinary user, and leaves a sound `disk.img`.
fn run_all(paper: &str) -> usize {
    let mut count = 0;
    for recipe in recipes(&text(Path::new(paper))) {
        let place = Place::new();
        let shell = place.shell(GIVEN);
        assert!(
            shell.status.success(),
            "{}",
            String::from_utf8_lossy(&shell.stderr)
        );
        place.for_user();
        place.as_user(BEFORE);
        for command in &recipe.commands {
            place.as_user(command);
            e2fsck(&place.path("disk.img"), Which::Reference).expect("a sound image");
            for (_, check) in AFTER.iter().filter(|(words, _)| command.contains(words)) {
                place.as_user(check);
            }
            if command.contains("SOURCE_DATE_EPOCH") {
                place.as_user(&format!("mv disk.img first; {command}; cmp first disk.img"));
            }
            count += 1;
        }
    }
    count
}

#[test]
fn the_commands_of_the_readme_run() {
    assert!(!ready(NEEDS) || run_all("README.md") > 13);
}

/// Those of docs/ownership.md have a test of their own, which looks at what they made.
#[test]
fn the_commands_of_the_documents_run() {
    if !ready(NEEDS) {
        return;
    }
    for (paper, least) in [
        ("docs/sources.md", 2),
        ("docs/reading.md", 7),
        ("docs/reproducibility.md", 1),
        ("docs/compatibility.md", 2),
        ("docs/mke2fs.md", 2),
        ("docs/formats.md", 9),
    ] {
        assert!(run_all(paper) >= least, "{paper}");
    }
}

/// One command for each kind of object, with what it runs on.
const OUTPUTS: &[(&str, &str)] = &[
    ("made", "mke4fs -q --json -d root disk.img"),
    ("made", "mke4fs -q --json --verity -d root verity.img"),
    (
        "made",
        "mke4fs -q --json -d root --base disk.img next.img | tee said; grep -q inodes_kept said",
    ),
    ("listed", "mke4fs ls -R --json disk.img"),
    ("checked", "mke4fs check --json disk.img"),
    (
        "checked",
        "cp disk.img bad.img; printf X | dd of=bad.img bs=1 seek=1032 conv=notrunc status=none; \
         mke4fs check --json bad.img || test $? = 4",
    ),
    (
        "difference",
        "cp -a root other; echo longer > other/file; chmod 600 other/d; rm other/link; mkdir other/x; \
         ln -sf there other/name; ln other/file other/again; setfattr -n user.k -v w other/d; \
         mke4fs diff --json root other || test $? = 1",
    ),
];

/// Python's jsonschema judges what the command says by docs/json-schema.json, and knows of no property that
/// the schema does not have.
#[test]
fn json_output_is_what_the_schema_says() {
    if !ready(&[
        Need::Root,
        Need::Program("jsonschema"),
        Need::Program("setfattr"),
    ]) {
        return;
    }
    let schema: Value =
        serde_json::from_str(&text(Path::new("docs/json-schema.json"))).expect("JSON");
    let scratch = common::mount::Scratch::new(64 << 20).expect("a filesystem with xattrs");
    let place = Place::within(scratch.path());
    let tree = "cd root; echo x > file; mkdir d; ln -s file link; ln -s here name; mknod null c 1 3; \
                setfattr -n user.k -v v d; printf x > \"$(printf 'a\\377\\\\')\"";
    assert!(place.shell(tree).status.success());
    for (kind, line) in OUTPUTS {
        let strict = json!({
            "$schema": schema["$schema"],
            "$ref": format!("#/$defs/{kind}"),
            "$defs": schema["$defs"],
            "unevaluatedProperties": false,
        });
        place.file("schema.json", &strict.to_string());
        let output = place.shell(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        let objects = String::from_utf8(output.stdout).expect("JSON is text");
        assert!(!objects.is_empty(), "{line}");
        let mut judge = Command::new("jsonschema");
        for (number, object) in objects.lines().enumerate() {
            let name = format!("{number}.json");
            place.file(&name, object);
            judge.arg("-i").arg(place.path(&name));
        }
        judge.arg(place.path("schema.json"));
        let judged = tools::run(&mut judge);
        judged.unwrap_or_else(|error| panic!("{line}: {error}\n{objects}"));
    }
    drop(place);
    fs::metadata(scratch.path()).expect("it is there until here");
}
