//! Given bytes from libFuzzer, checks that any tree is refused or comes back from its image entry by entry.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::tree::run(bytes);
});
