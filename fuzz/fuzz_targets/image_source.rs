//! Given bytes from libFuzzer, checks that an image is refused as a source or gives one that holds the same.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::image_source::run(bytes);
});
