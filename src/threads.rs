//! Given work that several threads can do at the same time, has them do it; never loses what one of them panicked
//! with.

use std::panic::resume_unwind;
use std::thread;

/// Does `work` on this thread and on `helpers` more, or on as many as the system has. Where one of them panics, so
/// does this one, with the same payload.
pub(crate) fn side_by_side(helpers: usize, work: impl Fn() + Sync) {
    thread::scope(|scope| {
        let start = |_| thread::Builder::new().spawn_scoped(scope, &work).ok();
        let started: Vec<_> = (0..helpers).map_while(start).collect();
        work();
        let panicked = started.into_iter().filter_map(|helper| helper.join().err());
        // All have to end, whichever panicked.
        let panicked: Vec<_> = panicked.collect();
        if let Some(payload) = panicked.into_iter().next() {
            resume_unwind(payload);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn whichever_panics_its_payload_is_told() {
        for number in 0..4 {
            let next = AtomicUsize::new(0);
            let work = || {
                // None begins a second time while another waits to begin.
                let own = next.fetch_add(1, Ordering::SeqCst);
                while next.load(Ordering::SeqCst) < 4 {
                    thread::yield_now();
                }
                assert!(own != number, "it was {number}");
            };
            let panicked = catch_unwind(|| side_by_side(3, work)).expect_err("one panics");
            let told = panicked.downcast_ref::<String>().expect("a message");
            assert_eq!(*told, format!("it was {number}"));
        }
    }
}
