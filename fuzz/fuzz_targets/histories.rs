//! Given bytes from libFuzzer, checks that each image made over the one before is sound and holds what it is to hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::histories::run(bytes, |_| ());
});
