//! Given bytes from libFuzzer, checks that as a manifest and as a device table they are refused or change a tree soundly.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::manifest::run(bytes);
});
