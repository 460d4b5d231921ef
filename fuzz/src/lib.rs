//! Given bytes, checks an invariant of mke4fs by them; never touches a file but those of
//! container images, in a directory of their own.
//!
//! Each module is one target: its `run` takes what libFuzzer or a corpus holds and panics where the
//! invariant does not hold. `tests/fuzz_corpus.rs` includes this file and needs no libFuzzer.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::as_conversions,
    reason = "the crate's own tests include this file as a module under the crate's lints"
)]

pub mod acl;
pub mod budget;
pub mod check;
pub mod container;
pub mod differential;
pub mod histories;
pub mod image;
pub mod image_source;
pub mod manifest;
pub mod oci;
pub mod options;
pub mod pattern;
pub mod profile;
pub mod read;
pub mod read_back;
pub mod rules;
pub mod size;
pub mod tar;
pub mod tree;
pub mod xattr;

use arbitrary::{Arbitrary, Unstructured};

/// The value that `bytes` stand for, if they are enough.
fn value<'a, T: Arbitrary<'a>>(bytes: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(bytes)).ok()
}
