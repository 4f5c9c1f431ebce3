//! The same work for several items at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

/// Items at once: enough to fill a line over several servers' limits, and most machines' processors; few enough to be
/// polite.
pub(crate) const AT_ONCE: usize = 4;

/// `work` for every item, `at_once` at a time, results in the items' order. After a result that `stop` names no further
/// item is begun, and `None` stands for it.
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    at_once: usize,
    work: impl Fn(&T) -> R + Sync,
    stop: impl Fn(&R) -> bool + Sync,
) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1).min(items.len()) {
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

/// As [`map`], but a group of items after the other, in the order of their first ones.
pub(crate) fn roll<T: Sync, R: Send, G: PartialEq>(
    items: &[T],
    group: impl Fn(&T) -> G,
    at_once: usize,
    work: impl Fn(&T) -> R + Sync,
    stop: impl Fn(&R) -> bool + Sync,
) -> Vec<Option<R>> {
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let mut left: Vec<usize> = (0..items.len()).collect();
    while let Some(first) = left.first().copied() {
        let (batch, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|item| group(&items[*item]) == group(&items[first]));
        left = rest;
        let done = map(&batch, at_once, |item| work(&items[*item]), &stop);
        if done.iter().any(|result| result.as_ref().is_none_or(&stop)) {
            left.clear();
        }
        for (item, result) in batch.into_iter().zip(done) {
            results[item] = result;
        }
    }
    results
}

/// `work` for every item, on as many threads as there are processors; `take` gets the results one by one, in the items'
/// order, while the next are at work. Of these no more are held than two a thread. Ends with the first error of `take`.
pub(crate) fn ahead<T: Sync, R: Send, E>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(&T, R) -> Result<(), E>,
) -> Result<(), E> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let work = &work;
    std::thread::scope(|scope| {
        let line = |thread| {
            let (give, get) = sync_channel(1);
            let mut own = items.iter().skip(thread).step_by(threads);
            scope.spawn(move || own.try_for_each(|item| give.send(work(item))));
            get
        };
        let lines: Vec<_> = (0..threads).map(line).collect();
        for (item, line) in items.iter().zip(lines.iter().cycle()) {
            // Nobody gives what is awaited: a thread has panicked, and so does the scope.
            let Ok(result) = line.recv() else { break };
            take(item, result)?;
        }
        Ok(())
    })
}

fn pick<'a, T, S>(next: &AtomicUsize, items: &'a [T], slots: &'a [S]) -> Option<(&'a T, &'a S)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    items.get(at).zip(slots.get(at))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_and_stops() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(map(&items, AT_ONCE, |n| n * n, |_| false), items.iter().map(|n| Some(n * n)).collect::<Vec<_>>());
        let slowly = |n: &usize| {
            std::thread::sleep(std::time::Duration::from_millis(5 * (*n as u64).min(1)));
            *n
        };
        let results = map(&items, AT_ONCE, slowly, |n| *n == 0);
        assert!(results[0] == Some(0) && results[99].is_none(), "{results:?}");
        assert_eq!(map(&[0; 0], AT_ONCE, |n| *n, |_| false), vec![]);
    }

    #[test]
    fn a_group_is_done_before_the_next_begins() {
        let items = ["a1", "b1", "a2", "c1", "b2"];
        let group = |item: &&str| item.as_bytes()[0];
        let done = Mutex::new(Vec::new());
        let note = |item: &&'static str| {
            done.lock().unwrap().push(*item);
            *item
        };
        let all = items.map(Some);
        assert_eq!(roll(&items, group, 1, note, |_| false), all);
        assert_eq!(done.lock().unwrap().drain(..).collect::<Vec<_>>(), ["a1", "a2", "b1", "b2", "c1"]);
        assert_eq!(
            roll(&items, group, 1, note, |item| *item == "b1"),
            [Some("a1"), Some("b1"), Some("a2"), None, None]
        );
        assert_eq!(done.into_inner().unwrap(), ["a1", "a2", "b1"]);
        assert_eq!(roll(&[""; 0], |_| 0, 1, |_| (), |()| false), []);
    }

    #[test]
    fn what_comes_ahead_is_taken_in_order_until_an_error() {
        let items: Vec<usize> = (0..100).collect();
        let mut taken = Vec::new();
        let mut take = |n: &usize, square| {
            taken.push((*n, square));
            if *n == 49 { Err("enough") } else { Ok(()) }
        };
        assert_eq!(ahead(&items, |n| n * n, &mut take), Err("enough"));
        assert_eq!(taken, items.iter().take(50).map(|n| (*n, n * n)).collect::<Vec<_>>());
        let begun = AtomicUsize::new(0);
        let begin = |_: &usize| begun.fetch_add(1, Ordering::Relaxed);
        assert_eq!(ahead(&items, begin, |_, _| Err("none")), Err("none"));
        let most = 1 + 2 * std::thread::available_parallelism().map_or(1, usize::from);
        assert!(begun.into_inner() <= most, "work goes on for nothing");
        assert_eq!(ahead(&[0; 0], |n| *n, |_, _| Err("nothing to take")), Ok(()));
    }
}
