//! Given something to read for each of many numbers, has several threads read it; never lets the result depend on
//! how many there are.

use std::num::NonZero;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::read::Result;
use crate::work;

/// More threads than this wait for the storage.
const MOST_THREADS: usize = 16;

/// What `read` gives for each number below `count`, in their order, where a thread is worth its while for `least`
/// of them. Of several failures it gives the one of the lowest number.
pub(super) fn read_all<T: Send>(
    count: usize,
    least: usize,
    read: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let most = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = most.min(MOST_THREADS).min(count / least.max(1));
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            let result = read(number);
            if result.is_err() {
                // All numbers below were taken, and are read.
                next.store(count, Ordering::Relaxed);
            }
            done.push((number, result));
        }
    };
    let mut all = thread::scope(|scope| {
        // Where the system has no more threads, this one reads more.
        let helpers = (1..threads).map_while(|_| {
            let helper = thread::Builder::new();
            helper.spawn_scoped(scope, || work::steps_of(some)).ok()
        });
        let helpers: Vec<_> = helpers.collect();
        let mut all = some();
        for helper in helpers {
            let (done, steps) = helper.join().unwrap_or_else(|it| panic::resume_unwind(it));
            work::add(usize::try_from(steps).unwrap_or(usize::MAX));
            all.extend(done);
        }
        all
    });
    all.sort_unstable_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Error;

    #[test]
    fn what_is_read_comes_in_order_and_the_first_failure_counts() {
        let all = read_all(1000, 1, Ok).expect("nothing fails");
        assert!(all.into_iter().eq(0..1000));
        assert!(read_all(0, 1, Ok).is_ok_and(|all| all.is_empty()));
        for _ in 0..50 {
            let failed = read_all(1000, 1, |number| match number {
                300 => Err(Error::rule("the first")),
                301.. => Err(Error::rule("another")),
                _ => Ok(()),
            });
            let error = failed.expect_err("it fails").to_string();
            assert!(error.contains("the first"), "{error}");
        }
    }
}
