//! Given any bytes as each rule that reads text or a value, checks that they are refused or change a tree into
//! one that a filesystem can be made of, the same one each time.

use mke4fs::raw::units::Timestamp;
use mke4fs::source::rules::{self, FileContexts, FsConfig, OverrideStat, Rule};
use mke4fs::source::{AclNames, Source, tar::Tar};
use mke4fs::tree::{NodeId, Tree, Xattr};

use super::manifest;

/// The attribute that says what a file is.
const OVERRIDE: &str = "user.containers.override_stat";
/// Longer texts say nothing new, and a pattern may cost what its length allows.
const MOST: usize = 4096;

/// The first byte says which rule the others are for.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let bytes = &bytes[..bytes.len().min(MOST)];
    match kind % 4 {
        0 => {
            // What follows a NUL is of the file with other prefixes.
            let (text, other) = match bytes.iter().position(|byte| *byte == 0) {
                Some(at) => (&bytes[..at], &bytes[at + 1..]),
                None => (bytes, &[][..]),
            };
            let contexts = FileContexts::new("contexts", text)
                .and_then(|contexts| contexts.substitutions("subs", other));
            if let Ok(contexts) = contexts {
                check(&Rule::FileContexts(contexts), &[]);
            }
        }
        1 => {
            if let Ok(config) = FsConfig::new("config", bytes) {
                check(&Rule::FsConfig(config.mount_point(b"/a")), &[]);
            }
        }
        2 => check(&Rule::OverrideStat(OverrideStat::default()), bytes),
        _ => names(bytes),
    }
}

/// Follows a rule in a tree whose files have `value` as the attribute that says what they are.
fn check(rule: &Rule, value: &[u8]) {
    let [first, second] = [(); 2].map(|()| follow(rule, value));
    assert_eq!(first, second);
}

fn follow(rule: &Rule, value: &[u8]) -> Result<Vec<String>, String> {
    let mut tree = manifest::tree().expect("the tree can be declared");
    if !value.is_empty() {
        for path in ["/a", "/a/f", "/p"] {
            let node = tree
                .find(path)
                .expect("no name is twice")
                .expect("it is there");
            let name = OVERRIDE.as_bytes().to_vec();
            let value = value.to_vec();
            tree.set_xattrs(node, vec![Xattr { name, value }])
                .expect("one that ext4 has");
        }
    }
    let now = Timestamp::from_seconds(1_700_000_000);
    let warnings = rules::apply(std::slice::from_ref(rule), &mut tree, now);
    let warnings = warnings.map_err(|error| error.to_string())?;
    tree.finish().expect("no rule makes a name twice");
    let mut told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    told.extend(
        manifest::paths(&tree)
            .into_iter()
            .map(|(path, what)| format!("{path:?} {what}")),
    );
    told.extend(tree.nodes().map(|(id, _)| {
        let xattrs = tree.xattrs(id);
        assert!(
            xattrs.is_sorted_by(|one, other| one.name < other.name),
            "{xattrs:?}"
        );
        format!("{xattrs:?}")
    }));
    Ok(told)
}

/// Reads an archive of one file whose ACL is these bytes, with names that nobody knows refused and skipped.
fn names(acl: &[u8]) {
    let read = |names| {
        let mut tree = Tree::default();
        let archive = Tar::from_reader(std::io::Cursor::new(archive(acl)), "archive");
        let declared = archive.acl_names(names).declare(&mut tree, NodeId::ROOT);
        declared.map(|_| {
            let xattrs = tree.nodes().map(|(id, _)| tree.xattrs(id).to_vec());
            xattrs.collect::<Vec<_>>()
        })
    };
    let (refused, skipped) = (read(AclNames::Refuse), read(AclNames::Skip));
    match (refused, skipped) {
        // With names that are known, or none, both are the same.
        (Ok(refused), Ok(skipped)) => assert_eq!(refused, skipped),
        (Err(_), Ok(skipped)) => {
            let of_file = skipped.iter().filter(|xattrs| !xattrs.is_empty());
            assert!(of_file.count() <= 1);
        }
        (Ok(_), Err(error)) => panic!("skipping is refused: {error}"),
        (Err(_), Err(_)) => {}
    }
}

/// An archive of a file with an ACL as a PAX record.
fn archive(acl: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    let body = [b" SCHILY.acl.access=", acl, b"\n"].concat();
    let mut length = body.len();
    while length != body.len() + length.to_string().len() {
        length = body.len() + length.to_string().len();
    }
    record.extend(length.to_string().bytes());
    record.extend(body);
    let mut archive = Vec::new();
    member(&mut archive, b'x', &record);
    member(&mut archive, b'0', b"");
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn member(to: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let mut header = [0; 512];
    header[..4].copy_from_slice(b"file");
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    to.extend(header);
    to.extend(body);
    to.resize(to.len().next_multiple_of(512), 0);
}
