//! Given bytes from libFuzzer, checks that mke2fs and we refuse the same options and make the same images of others.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::differential::run(bytes);
});
