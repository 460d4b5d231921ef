//! Given bytes from libFuzzer, checks that the checker comes to an end on any image.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::check::run(bytes);
});
