//! Given bytes from libFuzzer, checks that attribute areas are refused or taken apart, and what is rendered is parsed.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::xattr::run(bytes);
});
