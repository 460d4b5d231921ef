//! Given the library's files, holds that what a program meets can grow without breaking it; never what it does.

use crate::{Source, sources};

/// Rooms that `raw` alone shows, and the command's.
const RAW: [&str; 6] = ["cli", "emit", "geometry", "layout", "ondisk", "work"];

/// Structs that say all they ever will: their fields are the whole of what they are.
const WHOLE: [(&str, &str); 12] = [
    ("builder/stream.rs", "Built"),
    ("read/inode.rs", "Device"),
    ("read/xattrs.rs", "Xattr"),
    ("sink/mod.rs", "Extent"),
    ("sink/undo.rs", "UndoPlace"),
    ("source/rules/ids.rs", "IdRange"),
    ("tree.rs", "Device"),
    ("tree.rs", "Xattr"),
    ("tree/content.rs", "Stored"),
    ("tree/entries.rs", "Entry"),
    ("units.rs", "Run"),
    ("units.rs", "Timestamp"),
];

/// The public structs in `source` that a program could build field by field.
fn open(source: &Source) -> Vec<&str> {
    let mut found = Vec::new();
    for item in source.code.split("\n}\n") {
        let Some(at) = item
            .rfind("\npub struct ")
            .or_else(|| item.find("pub struct "))
        else {
            continue;
        };
        let (before, rest) = item.split_at(at);
        let Some((head, fields)) = rest.split_once("{\n") else {
            continue;
        };
        let attributes = before.rsplit_once("\n\n").map_or(before, |(_, last)| last);
        let mut fields = fields
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let is_open = fields.all(|line| line.starts_with("    pub ") || !line.starts_with("    "));
        let name = crate::identifiers(head).nth(2);
        if is_open && !attributes.contains("non_exhaustive") {
            found.extend(name);
        }
    }
    found
}

#[test]
fn what_may_grow_is_closed() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|it| !RAW.contains(&it.room())) {
        found.extend(
            open(source)
                .iter()
                .map(|name| format!("{} {name}", source.path)),
        );
    }
    found.sort();
    let whole = WHOLE.map(|(file, name)| format!("{file} {name}"));
    assert_eq!(found, whole);
}
