//! Independent pieces of work on a few threads.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Runs `work` on every item with up to `jobs` threads and returns the results in the order of `items`.
///
/// # Errors
/// The error of the first item in order that failed; items that had not begun by then are not worked on.
pub fn map<T: Sync, R: Send, E: Send>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else {
                        break;
                    };
                    let result = work(item);
                    stop.fetch_or(result.is_err(), Ordering::Relaxed);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|&(index, _)| index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The number of threads to use by default: twice the cores, because each waits for the drive, and eight at most.
pub fn default_jobs() -> usize {
    std::thread::available_parallelism()
        .map_or(2, |cores| 2 * cores.get())
        .min(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        let doubled: Result<Vec<u32>, ()> = map(3, &items, |&n| Ok(2 * n));
        assert_eq!(
            doubled.unwrap(),
            items.iter().map(|n| 2 * n).collect::<Vec<_>>()
        );
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<u32> = (0..100).collect();
        let begun = AtomicUsize::new(0);
        let failed = map(2, &items, |&n| {
            begun.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
            if n == 0 { Err(n) } else { Ok(()) }
        });
        assert_eq!(failed, Err(0));
        assert!(begun.into_inner() < 100);
    }
}
