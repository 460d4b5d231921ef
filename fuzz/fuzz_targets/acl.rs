//! Given bytes from libFuzzer, checks that ACL values are refused or survive the way to disk and back.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mke4fs_fuzz::acl::run(bytes);
});
