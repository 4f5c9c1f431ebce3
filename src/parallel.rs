//! The same work for several items at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Items at once: enough to fill a line over several servers' limits, and most machines' processors; few enough to be
/// polite.
pub(crate) const AT_ONCE: usize = 4;

/// `work` for every item, a few at a time, results in the items' order. After a result that `stop` names no further
/// item is begun, and `None` stands for it.
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    stop: impl Fn(&R) -> bool + Sync,
) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(items.len()) {
            scope.spawn(|| {
                while let Some((item, slot)) = pick(&next, items, &results) {
                    let result = work(item);
                    if stop(&result) {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                    *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
                }
            });
        }
    });
    results.into_iter().map(|slot| slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)).collect()
}

fn pick<'a, T, S>(next: &AtomicUsize, items: &'a [T], slots: &'a [S]) -> Option<(&'a T, &'a S)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    items.get(at).zip(slots.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_and_stops() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(map(&items, |n| n * n, |_| false), items.iter().map(|n| Some(n * n)).collect::<Vec<_>>());
        let slowly = |n: &usize| {
            std::thread::sleep(std::time::Duration::from_millis(5 * (*n as u64).min(1)));
            *n
        };
        let results = map(&items, slowly, |n| *n == 0);
        assert!(results[0] == Some(0) && results[99].is_none(), "{results:?}");
        assert_eq!(map(&[0; 0], |n| *n, |_| false), vec![]);
    }
}
