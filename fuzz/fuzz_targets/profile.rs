//! Given bytes from libFuzzer, checks that any mke2fs.conf is refused or gives settings, and the same ones each time.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::profile::run(bytes);
});
