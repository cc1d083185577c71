//! The same work on every item of a list, by a few threads.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::lock;

/// Does `work` on every item with up to `threads` threads, and returns the results in the order of `items`.
///
/// The caller's thread is one of them, so the work is done even where the system grants no other.
///
/// # Errors
/// The error of the first item that failed. Work that had not begun by then is not done.
///
/// # Panics
/// If `work` does, once all threads have ended.
pub fn map<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    map_with(threads, items, || (), |(), item| work(item))
}

/// As [`map`], with something that each thread makes by `init` before its first item and uses for all of them, such
/// as a buffer.
///
/// # Errors
/// As [`map`].
///
/// # Panics
/// As [`map`], or if `init` does.
pub fn map_with<T: Sync, S, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    init: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        let mut state = None;
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return;
            };
            let result = work(state.get_or_insert_with(&init), item);
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            lock(&results).push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            // Where the system grants no more threads, those there are do the rest.
            if thread::Builder::new().spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    let mut results = std::mem::take(&mut *lock(&results));
    results.sort_unstable_by_key(|&(index, _)| index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        let doubled: Vec<u32> = items.iter().map(|n| 2 * n).collect();
        for threads in [0, 1, 3, 200] {
            let found: Result<Vec<u32>, ()> = map(threads, &items, |&n| Ok(2 * n));
            assert_eq!(found, Ok(doubled.clone()), "{threads} threads");
        }
        assert_eq!(map(3, &[], |&n: &u32| Err(n)), Ok(Vec::<u32>::new()));
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<u32> = (0..100).collect();
        let begun = AtomicUsize::new(0);
        let failed = map(2, &items, |&n| {
            begun.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
            if n == 0 { Err(n) } else { Ok(()) }
        });
        assert_eq!(failed, Err(0));
        assert!(begun.into_inner() < 100);
    }

    #[test]
    fn each_thread_makes_its_state_once() {
        let made = AtomicUsize::new(0);
        let init = || made.fetch_add(1, Ordering::Relaxed);
        let states = map_with(4, &[(); 1_000], init, |state, ()| Ok::<_, ()>(*state));
        let states: HashSet<usize> = states.unwrap().into_iter().collect();
        assert_eq!(states.len(), made.into_inner());
        assert!(states.len() <= 4);
    }
}
