//! Given bytes from libFuzzer, checks that every container gives the bytes of its disk back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::container::run(bytes);
});
