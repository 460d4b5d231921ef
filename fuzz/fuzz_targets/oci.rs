//! Given bytes from libFuzzer, checks that a container image is refused or gives a whole tree.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::oci::run(bytes);
});
