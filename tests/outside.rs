//! Given the public API in the hands of somebody who knows nothing of what lies behind it, proves that what
//! cannot be made is an error that says so; never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mke4fs::{Builder, Environment, Error, ErrorKind, Fit, Tree};

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
