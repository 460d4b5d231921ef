//! Given bytes from libFuzzer, checks that as each rule they are refused or change a tree soundly.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::rules::run(bytes);
});
