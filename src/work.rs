//! Given that work was done, counts it, so that tests can hold cost against what an input is; never
//! decides anything, and never looks at a clock.
//!
//! A step is a small constant amount of work, some 100 ns at most: a state of a pattern that a byte
//! meets, a name that is looked up, 64 bytes that are read or copied. Each thread counts for itself.

use std::cell::Cell;

/// The bytes that are read, copied or compared in one step.
const BYTES_PER_STEP: usize = 64;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// The steps that an input of `input_bytes`, unpacked, that makes `entries` entries may take: what
/// this thread counts for any input stays below.
pub fn budget(input_bytes: u64, entries: u64) -> u64 {
    const FIXED: u64 = 10_000;
    const PER_ENTRY: u64 = 200;
    let of_entries = entries.saturating_mul(PER_ENTRY);
    FIXED.saturating_add(input_bytes).saturating_add(of_entries)
}

/// Does `work`, and says how many steps it took on this thread.
pub fn steps_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = STEPS.get();
    let done = work();
    (done, STEPS.get().wrapping_sub(before))
}

/// Counts `steps`.
pub(crate) fn add(steps: usize) {
    let steps = u64::try_from(steps).unwrap_or(u64::MAX);
    STEPS.set(STEPS.get().wrapping_add(steps));
}

/// Counts `bytes` that are read, copied or compared.
pub(crate) fn add_bytes(bytes: usize) {
    add(1 + bytes / BYTES_PER_STEP);
}
