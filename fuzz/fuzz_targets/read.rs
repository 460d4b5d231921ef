//! Given bytes from libFuzzer, checks that the reader comes to an end on any image and trusts none.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::read::run(bytes);
});
