//! Given bytes from libFuzzer, checks that an archive is refused or gives a tree no larger than it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::tar::run(bytes);
});
