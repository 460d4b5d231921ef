//! Given trees declared in some order, checks what they hold; never a filesystem made of them.

use super::*;

fn tree() -> Tree {
    Tree::with_root(Metadata::default())
}

#[test]
fn entries_come_in_byte_order() {
    let mut tree = tree();
    for name in [&b"b"[..], b"\xff", b"a", b"B", b"a0"] {
        tree.directory_at(NodeId::ROOT, name, Metadata::default())
            .unwrap();
    }
    tree.finish().unwrap();
    let names: Vec<&[u8]> = tree
        .entries(NodeId::ROOT)
        .iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, [&b"B"[..], b"a", b"a0", b"b", b"\xff"]);
}

#[test]
fn a_name_twice_is_refused() {
    let mut tree = tree();
    for _ in 0..2 {
        tree.special_at(NodeId::ROOT, b"same", Metadata::default(), Special::Fifo)
            .unwrap();
    }
    assert_eq!(tree.finish(), Err(TreeError::Duplicate(b"same".to_vec())));
}

#[test]
fn names_that_cannot_be_stored_are_refused() {
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
        assert_eq!(
            tree().directory_at(NodeId::ROOT, name, Metadata::default()),
            Err(TreeError::Name(name.to_vec()))
        );
    }
}

#[test]
fn links_are_counted_and_directories_have_one_name() {
    let mut tree = tree();
    let fifo = tree
        .special_at(NodeId::ROOT, b"a", Metadata::default(), Special::Fifo)
        .unwrap();
    tree.link_at(NodeId::ROOT, b"b", fifo).unwrap();
    assert_eq!(tree.node(fifo).names, 2);
    assert_eq!(
        tree.link_at(NodeId::ROOT, b"c", NodeId::ROOT),
        Err(TreeError::DirectoryLink(b"c".to_vec()))
    );
    assert_eq!(
        tree.link_at(fifo, b"d", fifo),
        Err(TreeError::NotADirectory)
    );
}

#[test]
fn a_target_is_not_empty_and_has_no_nul() {
    for (target, error) in [
        (&b""[..], TreeError::EmptyTarget),
        (b"a\0b", TreeError::NulInTarget(b"a\0b".to_vec())),
    ] {
        let declared = tree().symlink_at(NodeId::ROOT, b"l", Metadata::default(), target);
        assert_eq!(declared, Err(error));
    }
}

#[test]
fn nodes_keep_the_flags_that_their_kind_can_have() {
    let all = Metadata {
        flags: Flags::of(u32::MAX),
        ..Metadata::default()
    };
    let mut tree = Tree::with_root(all);
    let root = NodeId::ROOT;
    let file = tree.file_at(root, b"a", all, Content::from_bytes(*b""));
    let fifo = tree.special_at(root, b"b", Metadata::default(), Special::Fifo);
    let (file, fifo) = (file.unwrap(), fifo.unwrap());
    tree.replace_metadata(fifo, all);
    let flags = [root, file, fifo].map(|id| tree.node(id).metadata.flags.bits());
    assert_eq!(flags, [DIRECTORY_FLAGS, FILE_FLAGS, OTHER_FLAGS]);
}

#[test]
fn data_past_the_end_is_refused() {
    for ranges in [
        &[(0, 11)][..],
        &[(4, 4)],
        &[(4, 8), (6, 9)],
        &[(0, 2), (2, 4)],
    ] {
        let content = Content {
            size_bytes: 10,
            data: DataMap::Ranges(ranges.iter().map(|(start, end)| *start..*end).collect()),
            ..Content::from_bytes(*b"0123456789")
        };
        let declared = tree().file_at(NodeId::ROOT, b"f", Metadata::default(), content);
        assert!(matches!(declared, Err(TreeError::DataMap { .. })));
    }
}

#[test]
fn data_is_looked_up_by_place() {
    let content = Content {
        size_bytes: 100,
        data: DataMap::Ranges([5..10, 20..30, 40..50].into()),
        ..Content::from_bytes(*b"")
    };
    let found = |within| content.data_in(within).collect::<Vec<_>>();
    assert_eq!(found(0..100), [5..10, 20..30, 40..50]);
    assert_eq!(found(7..41), [7..10, 20..30, 40..41]);
    assert_eq!(found(10..20), []);
    assert_eq!(Content::from_bytes(*b"abc").data_in(1..9).count(), 1);
}

#[test]
fn equal_xattr_sets_are_one() {
    let mut tree = tree();
    let xattr = |name: &str| Xattr {
        name: name.into(),
        value: b"v".to_vec(),
    };
    let a = tree.intern_xattrs(vec![xattr("user.a"), xattr("user.b")]);
    let b = tree.intern_xattrs(vec![xattr("user.b"), xattr("user.a")]);
    assert_eq!(a, b);
    assert_eq!(tree.intern_xattrs(Vec::new()), XattrSetId::EMPTY);
    assert_eq!(tree.xattr_set(a).len(), 2);
}

fn fifo(tree: &mut Tree, parent: NodeId, name: &[u8]) -> NodeId {
    let made = tree.special_at(parent, name, Metadata::default(), Special::Fifo);
    made.unwrap()
}

fn directory(tree: &mut Tree, parent: NodeId, name: &[u8]) -> NodeId {
    let made = tree.directory_at(parent, name, Metadata::default());
    made.unwrap()
}

fn overlaid() -> Tree {
    let mut tree = tree();
    tree.overlay().unwrap();
    tree
}

/// Every path with the number of names that its node has, in the order of node ids.
fn paths(tree: &Tree) -> Vec<(String, u32)> {
    let shown = |(id, node): (NodeId, &Node)| {
        let path = String::from_utf8(tree.path(id)).unwrap();
        (path, node.names)
    };
    tree.nodes().map(shown).collect()
}

#[test]
fn a_name_is_found_and_one_that_is_not_there_is_not() {
    let mut tree = tree();
    let a = directory(&mut tree, NodeId::ROOT, b"a");
    let b = fifo(&mut tree, a, b"b");
    assert_eq!(tree.lookup(a, b"b"), Ok(Some(b)));
    assert_eq!(tree.lookup(NodeId::ROOT, b"b"), Ok(None));
    assert_eq!(tree.lookup(b, b"b"), Ok(None));
    let later = fifo(&mut tree, a, b"c");
    assert_eq!(tree.lookup(a, b"c"), Ok(Some(later)));
    // Asking does not make it an overlay.
    let again = tree.special_at(a, b"c", Metadata::default(), Special::Fifo);
    assert_eq!(again, Err(TreeError::Duplicate(b"c".to_vec())));
}

#[test]
fn what_is_twice_before_anyone_asks_is_refused_when_they_do() {
    let mut tree = tree();
    fifo(&mut tree, NodeId::ROOT, b"a");
    fifo(&mut tree, NodeId::ROOT, b"a");
    let duplicate = TreeError::Duplicate(b"a".to_vec());
    assert_eq!(tree.overlay(), Err(duplicate.clone()));
    assert_eq!(tree.lookup(NodeId::ROOT, b"a"), Err(duplicate));
}

#[test]
fn a_later_declaration_replaces_and_directories_are_merged() {
    let mut tree = overlaid();
    let set = tree.intern_xattrs(vec![Xattr {
        name: b"user.a".to_vec(),
        value: b"v".to_vec(),
    }]);
    let root = NodeId::ROOT;
    let merged = directory(&mut tree, root, b"merged");
    tree.replace_xattrs(merged, set);
    fifo(&mut tree, merged, b"kept");
    let gone = directory(&mut tree, root, b"gone");
    let below = directory(&mut tree, gone, b"below");
    let linked = fifo(&mut tree, below, b"linked");
    tree.link_at(root, b"linked", linked).unwrap();
    fifo(&mut tree, below, b"lost");
    fifo(&mut tree, root, b"file");

    let metadata = Metadata {
        permissions: 0o700,
        ..Metadata::default()
    };
    assert_eq!(tree.directory_at(root, b"merged", metadata), Ok(merged));
    fifo(&mut tree, root, b"gone");
    let file = directory(&mut tree, root, b"file");
    fifo(&mut tree, file, b"new");
    tree.finish().unwrap();

    let expected = [
        ("/", 1),
        ("/file", 1),
        ("/file/new", 1),
        ("/gone", 1),
        ("/linked", 1),
        ("/merged", 1),
        ("/merged/kept", 1),
    ];
    let expected = expected.map(|(path, names)| (path.to_owned(), names));
    assert_eq!(paths(&tree), expected);
    let merged = tree.entries(root).at(3).node;
    assert_eq!(tree.node(merged).metadata, metadata);
    assert_eq!(tree.node(merged).xattrs, XattrSetId::EMPTY);
    assert_eq!(tree.xattr_set_ids().count(), 1);
}

#[test]
fn what_is_removed_can_be_declared_again_and_not_linked() {
    let mut tree = overlaid();
    let root = NodeId::ROOT;
    let a = directory(&mut tree, root, b"a");
    let b = fifo(&mut tree, a, b"b");
    assert_eq!(tree.remove(root, b"a"), Ok(true));
    assert_eq!(tree.remove(root, b"a"), Ok(false));
    assert_eq!(
        tree.link_at(root, b"c", b),
        Err(TreeError::Removed(b"c".to_vec()))
    );
    let below = tree.special_at(a, b"c", Metadata::default(), Special::Fifo);
    assert_eq!(below, Err(TreeError::NotADirectory));
    let again = directory(&mut tree, root, b"a");
    assert_eq!(tree.lookup(again, b"b"), Ok(None));
}

#[test]
fn names_that_are_gone_take_no_memory() {
    let mut tree = overlaid();
    for number in 0..5000 {
        let name = format!("{number:0>200}");
        fifo(&mut tree, NodeId::ROOT, name.as_bytes());
        if number >= 100 {
            let old = format!("{:0>200}", number - 100);
            assert_eq!(tree.remove(NodeId::ROOT, old.as_bytes()), Ok(true));
        }
    }
    assert!(tree.entries(NodeId::ROOT).held_bytes() < 100_000);
    tree.finish().unwrap();
    let names = tree.entries(NodeId::ROOT).iter().map(|entry| entry.name);
    let expected = (4900..5000).map(|number| format!("{number:0>200}").into_bytes());
    assert!(names.eq(expected));
}

#[test]
fn a_link_in_the_place_of_what_held_its_target_keeps_the_target() {
    let mut tree = overlaid();
    let root = NodeId::ROOT;
    let a = directory(&mut tree, root, b"a");
    let b = fifo(&mut tree, a, b"b");
    tree.link_at(root, b"a", b).unwrap();
    tree.link_at(root, b"a", b).unwrap();
    tree.finish().unwrap();
    assert_eq!(paths(&tree), [("/".to_owned(), 1), ("/a".to_owned(), 1)]);
}

#[test]
fn an_overlay_is_numbered_like_a_walk_whatever_the_order() {
    let numbered = |names: [&[u8]; 4]| {
        let mut tree = overlaid();
        let set = |tree: &mut Tree, value: &[u8]| {
            tree.intern_xattrs(vec![Xattr {
                name: b"user.a".to_vec(),
                value: value.to_vec(),
            }])
        };
        for name in names {
            let node = directory(&mut tree, NodeId::ROOT, name);
            let set = set(&mut tree, name);
            tree.replace_xattrs(node, set);
            fifo(&mut tree, node, b"below");
        }
        let first = tree.lookup(NodeId::ROOT, b"a").unwrap().unwrap();
        let linked = tree.lookup(first, b"below").unwrap().unwrap();
        tree.link_at(NodeId::ROOT, b"z", linked).unwrap();
        tree.remove(NodeId::ROOT, b"c").unwrap();
        tree.finish().unwrap();
        let values = tree.xattr_set_ids().skip(1);
        let values: Vec<Vec<u8>> = values
            .map(|id| tree.xattr_set(id)[0].value.clone())
            .collect();
        assert_eq!(values, [b"a", b"b", b"d"]);
        // A set is found again by its new number.
        let known = set(&mut tree, b"b");
        assert_eq!(known.index(), 2);
        format!("{:?} {:?}", tree.nodes, tree.xattr_sets)
    };
    let forwards = numbered([b"a", b"b", b"c", b"d"]);
    assert_eq!(numbered([b"d", b"c", b"b", b"a"]), forwards);
    assert_eq!(numbered([b"c", b"a", b"d", b"b"]), forwards);
}

#[test]
fn names_are_found_whatever_was_added_and_removed() {
    let mut tree = overlaid();
    let mut there = std::collections::BTreeSet::new();
    let mut state = 1_u32;
    for _ in 0..5000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let name = (state >> 24).to_string();
        match state & 0x80_0000 {
            0 => {
                fifo(&mut tree, NodeId::ROOT, name.as_bytes());
                there.insert(name.into_bytes());
            }
            _ => {
                let removed = tree.remove(NodeId::ROOT, name.as_bytes());
                assert_eq!(removed, Ok(there.remove(name.as_bytes())));
            }
        }
    }
    tree.finish().unwrap();
    let names: Vec<&[u8]> = tree.entries(NodeId::ROOT).iter().map(|e| e.name).collect();
    assert_eq!(names, there.iter().collect::<Vec<_>>());
    assert_eq!(tree.len(), 1 + there.len());
}
