//! Given an image or a directory, gives what tools other than the formatter say of it; only
//! [`making`] calls the formatter itself.
//!
//! Every integration test that needs an oracle starts with [`tools::ready`].

#![allow(
    dead_code,
    unused_imports,
    reason = "each test crate uses its own part of the oracles"
)]

pub(crate) mod attrs;
pub(crate) mod bytes;
pub(crate) mod image;
pub(crate) mod machine;
pub(crate) mod making;
pub(crate) mod mount;
pub(crate) mod mounted;
pub(crate) mod papers;
pub(crate) mod place;
pub(crate) mod shown;
pub(crate) mod tools;
pub(crate) mod torture;

/// Whether tests shall take the time to try all they can: MKE4FS_TEST_WIDE is set.
pub(crate) fn is_wide() -> bool {
    std::env::var_os("MKE4FS_TEST_WIDE").is_some()
}
