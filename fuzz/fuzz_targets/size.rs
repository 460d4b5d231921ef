//! Given bytes from libFuzzer, checks that any text is refused or gives the size that its number and unit say.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::size::run(bytes);
});
