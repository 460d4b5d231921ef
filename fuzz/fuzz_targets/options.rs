//! Given bytes from libFuzzer, checks that any options are refused or give a layout that adds up and an image that decodes to it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::options::run(bytes);
});
