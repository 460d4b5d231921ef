//! Given the public API in the hands of somebody who knows nothing of what lies behind it, proves that what
//! cannot be made is an error that says so; never a panic.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use mke4fs::tree::{DataMap, DataRanges, NodeId, Xattr};
use mke4fs::{
    Builder, Cancel, Content, Environment, Error, ErrorKind, Fit, Sparse, Tree, TreeError,
};

const MIB: u64 = 1 << 20;

/// A builder for whom the world is always the same.
fn builder() -> Builder {
    Builder::new().environment(Environment::fixed(1_700_000_000))
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.file("/f", "x").expect("it is declared");
    tree
}

fn invalid(name: &str, value: &str) -> ErrorKind {
    let (name, value) = (name.to_owned(), value.to_owned());
    ErrorKind::InvalidOption { name, value }
}

#[test]
fn a_journal_device_holds_no_files() {
    let journal = || builder().features("journal_dev");
    let refused = |builder: Builder| -> Error { builder.plan().expect_err("it is refused") };
    let with_files = [
        journal().size_bytes(64 * MIB).source(tree()),
        journal().source(tree()),
        journal().fit(Fit::Minimum).source(tree()),
        journal().size_bytes(64 * MIB).source(Tree::new()),
    ];
    for builder in with_files {
        let error = refused(builder);
        assert_eq!(
            error.to_string(),
            "a journal device (-O journal_dev) cannot hold files; leave out the content or the feature"
        );
        assert_eq!(error.kind(), invalid("-O", "journal_dev"));
    }
    let error = refused(journal().fit(Fit::Minimum));
    assert_eq!(
        error.to_string(),
        "the size of a journal device (-O journal_dev) cannot follow from content; give a size"
    );
    assert_eq!(error.kind(), invalid("fit", ""));
    journal()
        .size_bytes(64 * MIB)
        .plan()
        .expect("without files it is made");
}

/// Nobody divides by what some set of options makes zero, or takes more from a count than it has.
#[test]
fn no_set_of_options_panics() {
    let features = [
        "journal_dev",
        "none",
        "none,extent,bigalloc",
        "bigalloc",
        "inline_data,ea_inode,quota",
        "meta_bg,^resize_inode",
        "sparse_super2,^flex_bg",
        "^has_journal,^extent,^64bit,casefold,mmp",
    ];
    let extended = [
        "",
        "num_backup_sb=0",
        "packed_meta_blocks=1",
        "resize=65536",
        "stride=7",
    ];
    let sizes = [None, Some(0), Some(1024), Some(9 * MIB)];
    let fits = [None, Some(Fit::Minimum)];
    let mut made = 0;
    for features in features {
        for (number, extended) in extended.into_iter().enumerate() {
            for (place, size) in sizes.into_iter().enumerate() {
                for fit in fits {
                    for block_size in [1024, 4096] {
                        let has_files = (number + place) % 2 == 0;
                        let mut builder = builder().features(features).block_size(block_size);
                        if !extended.is_empty() {
                            builder = builder.with(|options| options.extended(extended));
                        }
                        if let Some(bytes) = size {
                            builder = builder.size_bytes(bytes);
                        }
                        if let Some(fit) = fit {
                            builder = builder.fit(fit);
                        }
                        if has_files {
                            builder = builder.source(tree());
                        }
                        let planned = catch_unwind(AssertUnwindSafe(|| builder.plan()));
                        let what = (features, extended, size, fit, block_size, has_files);
                        let planned = planned.unwrap_or_else(|_| panic!("{what:?}"));
                        made += u32::from(planned.is_ok());
                    }
                }
            }
        }
    }
    assert!(made > 50, "only {made} were planned");
}

/// What the filesystem keeps to itself cannot be set: it would be lost, or stand twice where data is inline.
#[test]
fn attributes_that_nobody_would_see_are_refused() {
    let by_name = |name: &str| {
        let mut tree = Tree::new();
        let file = tree.file("/f", "x").expect("it is declared");
        file.xattr(name, "value").expect("it is declared");
        tree
    };
    let by_set = |name: &str| {
        let mut tree = Tree::new();
        let (name, value) = (name.into(), b"value".to_vec());
        let file = tree.file("/f", "x").expect("it is declared").id();
        tree.set_xattrs(file, vec![Xattr { name, value }])
            .expect("it is declared");
        tree
    };
    for name in [
        "system.data",
        "system.other",
        "system.richacl",
        "foo",
        "user.",
    ] {
        for tree in [by_name(name), by_set(name)] {
            for features in ["inline_data", "^inline_data", "inline_data,ea_inode"] {
                let builder = builder().features(features).size_bytes(16 * MIB);
                let refused = builder
                    .source(tree.clone())
                    .to_vec()
                    .expect_err("it is refused");
                let said = format!("/f: ext4 cannot store an extended attribute called \"{name}\"");
                assert_eq!(refused.to_string(), said, "{features}");
            }
        }
    }
}

#[test]
fn a_call_that_fails_leaves_the_tree_as_it_was() {
    type Call = fn(&mut Tree) -> Result<(), TreeError>;
    let calls: [(&str, Call); 11] = [
        ("file ..", |tree| tree.file("/a/b/../c", "x").map(drop)),
        ("file name", |tree| {
            tree.file([&b"/a/"[..], &[b'n'; 256]].concat(), "x")
                .map(drop)
        }),
        ("file content", |tree| {
            let data = DataMap::Ranges(std::iter::once(5..9).collect());
            tree.file("/a/f", Content::from_bytes(&b"x"[..]).with_data(data))
                .map(drop)
        }),
        ("file below", |tree| tree.file("/d/f/g/h", "x").map(drop)),
        ("symlink empty", |tree| tree.symlink("/p/q/l", "").map(drop)),
        ("symlink nul", |tree| {
            tree.symlink("/p/q/l", "a\0b").map(drop)
        }),
        ("directory", |tree| tree.directory("/p/q/..").map(drop)),
        ("directory below", |tree| tree.directory("/d/f/g").map(drop)),
        ("link to directory", |tree| {
            tree.link("/p/q/l", "/d").map(drop)
        }),
        ("link to nothing", |tree| {
            tree.link("/p/q/l", "/nothing").map(drop)
        }),
        ("device", |tree| tree.char_device("/p/../n", 1, 3).map(drop)),
    ];
    for (name, call) in calls {
        let mut tree = Tree::new();
        tree.file("/d/f", "x").expect("it is declared");
        let before = tree.len();
        assert!(call(&mut tree).is_err(), "{name}");
        assert_eq!(tree.len(), before, "{name}");
        assert_eq!(tree.entries(NodeId::ROOT).len(), 1, "{name}");
    }
}

#[test]
fn a_path_of_another_trees_node_is_no_path() {
    let mut other = tree();
    let id = other.file("/g", "x").expect("it is declared").id();
    let tree = tree();
    for panics in [
        catch_unwind(AssertUnwindSafe(|| drop(tree.path(id)))),
        catch_unwind(AssertUnwindSafe(|| assert!(tree.entries(id).is_empty()))),
    ] {
        assert!(panics.is_err(), "as the documentation says");
    }
    assert_eq!(other.path(id), b"/g");
}

#[test]
fn a_text_that_a_nul_would_end_is_refused() {
    let label = builder()
        .label("a\0b")
        .size_bytes(MIB)
        .plan()
        .expect_err("it is refused");
    assert_eq!(label.to_string(), "invalid label: must be without NUL");
    assert_eq!(label.kind(), invalid("-L", ""));
    let mounted = builder().with(|options| options.last_mounted("/a\0b"));
    let mounted = mounted.size_bytes(MIB).plan().expect_err("it is refused");
    assert_eq!(mounted.kind(), invalid("-M", ""));
}

/// What holds more than was declared is refused, and what is declared to hold nothing is no exception.
#[test]
fn a_reader_that_holds_more_than_nothing_is_refused() {
    type Make = fn(u64) -> Content;
    let contents: [(&str, Make); 3] = [
        ("a function", |size| {
            Content::from_fn(size, || Ok(&b"four"[..]))
        }),
        ("a reader", |size| Content::from_reader(size, &b"four"[..])),
        ("a hole", |size| {
            let hole = DataMap::Ranges(DataRanges::default());
            Content::from_fn(size, || Ok(&b"four"[..])).with_data(hole)
        }),
    ];
    for (name, content) in contents {
        for size in [0, 2] {
            for features in ["inline_data", "^inline_data"] {
                let mut tree = Tree::new();
                tree.file("/f", content(size)).expect("it is declared");
                let builder = builder().features(features).size_bytes(16 * MIB);
                let refused = builder.source(tree).to_vec().expect_err("it holds more");
                let path = b"/f".to_vec();
                let changed = ErrorKind::SourceChanged { path };
                assert_eq!(refused.kind(), changed, "{name} of {size}: {refused:#}");
            }
        }
    }
    let mut tree = Tree::new();
    tree.file("/f", Content::from_fn(0, || Ok(io::empty())))
        .expect("it is declared");
    builder()
        .size_bytes(MIB)
        .source(tree)
        .to_vec()
        .expect("it is empty");
}

/// A reader that gives a KiB every ten milliseconds.
struct Slow;

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(10));
        let length = buffer.len().min(1024);
        buffer[..length].fill(b'x');
        Ok(length)
    }
}

/// How long `run` goes on once it was asked to stop, `after` it began.
fn goes_on(after: Duration, run: impl FnOnce(&Cancel) -> Result<(), Error>) -> Duration {
    let cancel = Cancel::new();
    let button = cancel.clone();
    let asked = thread::spawn(move || {
        thread::sleep(after);
        button.cancel();
        Instant::now()
    });
    let ended = run(&cancel).expect_err("it was asked to stop");
    let now = Instant::now();
    assert!(ended.is_cancelled(), "{ended:#}");
    now.saturating_duration_since(asked.join().expect("it asks"))
}

#[test]
fn a_slow_reader_is_left_soon() {
    let slow = |size, data| Content::from_fn(size, || Ok(Slow)).with_data(data);
    let contents: [(&str, &dyn Fn() -> Content); 4] = [
        ("data", &|| slow(4 * MIB, DataMap::Whole)),
        ("data read once", &|| Content::from_reader(4 * MIB, Slow)),
        ("a hole", &|| {
            let data = std::iter::once(2 * MIB..3 * MIB).collect();
            slow(3 * MIB, DataMap::Ranges(data))
        }),
        ("nothing but a hole", &|| {
            slow(3 * MIB, DataMap::Ranges(DataRanges::default()))
        }),
    ];
    for (name, content) in contents {
        for sparse in [Sparse::Auto, Sparse::Always, Sparse::Never] {
            let mut tree = Tree::new();
            tree.file("/f", content()).expect("it is declared");
            let builder = builder().size_bytes(16 * MIB).sparse(sparse).source(tree);
            let took = goes_on(Duration::from_millis(200), |cancel| {
                builder.cancel(cancel).to_vec().map(drop)
            });
            let most = Duration::from_millis(1500);
            assert!(took < most, "{name}, {sparse:?}: {took:?}");
        }
    }
}

/// Sizes are sought among filesystems of many groups, and each takes a while.
#[test]
fn a_search_for_a_size_is_left_soon() {
    let took = goes_on(Duration::from_millis(300), |cancel| {
        let builder = builder().fit(Fit::Available(16 << 40)).source(tree());
        builder.cancel(cancel).plan().map(drop)
    });
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// A filesystem of so many groups takes many seconds to be laid out.
#[test]
fn a_large_layout_is_left_soon() {
    let took = goes_on(Duration::from_millis(300), |cancel| {
        let builder = builder().size_bytes(1 << 49).source(tree());
        builder.cancel(cancel).plan().map(drop)
    });
    assert!(took < Duration::from_secs(20), "{took:?}");
}
