//! Given small inputs that once cost tens of seconds or gigabytes, proves that each takes the steps that
//! `work::budget` allows; never looks at a clock.
//!
//! A step is counted where the work is done. What is counted is the same on every machine, so a loop
//! over the product of two numbers that an input holds fails here, and not only where it is slow.

#[cfg(target_os = "linux")]
mod archives;
mod images;

use mke4fs::raw::work;

/// Asserts that `work` on an input of `bytes` that makes `entries` is within the budget.
pub(crate) fn within<T>(
    about: &str,
    (bytes, entries): (usize, u64),
    work: impl FnOnce() -> T,
) -> T {
    let (done, steps) = work::steps_of(work);
    let most = work::budget(u64::try_from(bytes).expect("a length"), entries);
    assert!(
        steps <= most,
        "{about}: {steps} steps, and {most} are the most"
    );
    assert!(steps > 0, "{about}: nothing was counted");
    done
}
