//! See `mke4fs_fuzz::budget`.
#![no_main]

use std::alloc::System;

use cap::Cap;

/// What an input may take: 400 MB, beside which libFuzzer's own memory does not count.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, 400 << 20);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mke4fs_fuzz::budget::run(bytes));
