//! The latest entries, in memory: bounded in number and bytes, and read from positions that readers keep themselves.
//!
//! One thread pushes, and waits for no reader: whoever reads holds the lock while it copies a few pointers, never while it
//! formats or sends. A reader that falls behind loses what was pushed out before it came, and learns how much that was.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::entry::{Entry, Level};

/// How many entries a reader takes at a time, and how many bytes of them.
const BATCH_ENTRIES: usize = 64;
const BATCH_BYTES: usize = 32 * 1024;

/// Entries in the order in which they came.
#[derive(Debug)]
pub struct Ring {
    held: Mutex<Held>,
    /// The count of all entries that ever came.
    news: watch::Sender<u64>,
    entries_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Held {
    places: VecDeque<Place>,
    /// How many entries were pushed out: the number of the first that is there.
    gone: u64,
    bytes: usize,
}

/// An entry, with what is asked for beside it: looking through thousands of them touches nothing else.
#[derive(Debug)]
struct Place {
    at: Timestamp,
    level: Level,
    bytes: u32,
    entry: Arc<Entry>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// This level alone.
    pub level: Option<Level>,
    /// Such as happened then or later.
    pub since: Option<Timestamp>,
}

/// The latest entries that a filter lets through.
#[derive(Debug)]
pub struct Latest {
    /// The newest of them, in the order in which they came.
    pub entries: Vec<Arc<Entry>>,
    /// How many entries are held, wanted or not.
    pub held: usize,
    /// How many are wanted, given or not.
    pub wanted: usize,
}

impl Ring {
    /// An empty ring. An entry that is larger than all of it is held alone.
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { held: Mutex::default(), news: watch::Sender::new(0), entries_max, bytes_max }
    }

    /// Puts entries behind those that are there, pushes the oldest out as need be, and wakes the readers once.
    pub fn push(&self, entries: impl Iterator<Item = Arc<Entry>>) {
        let mut held = self.held();
        for entry in entries {
            let bytes = entry.bytes();
            held.bytes += bytes;
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            held.places.push_back(Place { at: entry.at, level: entry.level, bytes, entry });
            while held.places.len() > self.entries_max
                || (held.bytes > self.bytes_max && held.places.len() > 1)
            {
                let Some(oldest) = held.places.pop_front() else { break };
                held.bytes -= oldest.bytes as usize;
                held.gone += 1;
            }
        }
        let count = held.end();
        drop(held);
        self.news.send_replace(count);
    }

    /// The newest `count` entries that `filter` lets through.
    pub fn latest(&self, filter: &Filter, count: usize) -> Latest {
        let held = self.held();
        let mut entries = Vec::new();
        let mut wanted = 0;
        for place in held.places.iter().rev().filter(|place| filter.lets_through(place)) {
            wanted += 1;
            if entries.len() < count {
                entries.push(place.entry.clone());
            }
        }
        let latest = Latest { entries, held: held.places.len(), wanted };
        drop(held);
        Latest { entries: latest.entries.into_iter().rev().collect(), ..latest }
    }

    /// A reader of what comes from here on; with `level`, of that level alone.
    pub fn reader(&self, level: Option<Level>) -> Reader<'_> {
        let next = self.held().end();
        Reader { ring: self, news: self.news.subscribe(), next, level }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing in here can panic half-way but for want of memory, which ends the process.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The number of the entry that comes next.
    fn end(&self) -> u64 {
        self.gone + self.places.len() as u64
    }
}

impl Filter {
    fn lets_through(&self, place: &Place) -> bool {
        self.level.is_none_or(|level| level == place.level)
            && self.since.is_none_or(|since| place.at >= since)
    }
}

/// A place in the ring, from which somebody reads on.
#[derive(Debug)]
pub struct Reader<'a> {
    ring: &'a Ring,
    news: watch::Receiver<u64>,
    next: u64,
    level: Option<Level>,
}

/// What a reader gets at a time.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many lines went by before those here, of whatever level, because the reader was too slow.
    pub missed: u64,
    /// What came, in order.
    pub entries: Vec<Arc<Entry>>,
}

impl Reader<'_> {
    /// What came since the last time, a batch of it; waits until there is something. To give up waiting loses nothing.
    pub async fn next(&mut self) -> Batch {
        loop {
            // Marked before the look: what comes in between wakes at once.
            self.news.borrow_and_update();
            if let Some(batch) = self.take() {
                return batch;
            }
            if self.news.changed().await.is_err() {
                // The ring outlives its readers, so its news never end.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A batch of what is there. None if there is nothing for this reader.
    fn take(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        loop {
            let held = self.ring.held();
            batch.missed += held.gone.saturating_sub(self.next);
            self.next = self.next.max(held.gone);
            let offset = usize::try_from(self.next - held.gone).unwrap_or(usize::MAX);
            let (mut looked_at, mut bytes) = (0, 0);
            for place in held.places.iter().skip(offset).take(BATCH_ENTRIES) {
                if bytes >= BATCH_BYTES {
                    break;
                }
                looked_at += 1;
                if self.level.is_none_or(|level| level == place.level) {
                    bytes += place.bytes as usize;
                    batch.entries.push(place.entry.clone());
                }
            }
            drop(held);
            self.next += looked_at;
            if !batch.entries.is_empty() || batch.missed > 0 {
                return Some(batch);
            }
            if looked_at == 0 {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry;
    use super::*;

    fn push(ring: &Ring, levels: &[(Level, &str)]) {
        ring.push(levels.iter().map(|(level, message)| {
            let mut entry = entry::missed(0);
            entry.level = *level;
            entry.message = (*message).to_owned();
            entry.at = message.parse().unwrap_or(Timestamp::UNIX_EPOCH);
            Arc::new(entry)
        }));
    }

    fn messages(entries: &[Arc<Entry>]) -> Vec<&str> {
        entries.iter().map(|entry| entry.message.as_str()).collect()
    }

    #[test]
    fn the_oldest_entries_go_when_there_are_too_many() {
        let ring = Ring::new(2, 1_000_000);
        push(&ring, &[(Level::Info, "a"), (Level::Info, "b"), (Level::Info, "c")]);
        let latest = ring.latest(&Filter::default(), 10);
        assert_eq!(messages(&latest.entries), ["b", "c"]);
        assert_eq!((latest.held, latest.wanted), (2, 2));
    }

    #[test]
    fn long_entries_leave_room_for_fewer_and_one_is_always_held() {
        let ring = Ring::new(100, 5_000);
        let long = "x".repeat(1_000);
        for _ in 0..10 {
            push(&ring, &[(Level::Info, &long)]);
        }
        assert_eq!(ring.latest(&Filter::default(), 10).held, 2);
        push(&ring, &[(Level::Info, &"y".repeat(100_000))]);
        assert_eq!(ring.latest(&Filter::default(), 10).held, 1);
    }

    #[test]
    fn filters_count_all_that_match_and_give_the_newest_in_order() {
        let ring = Ring::new(100, 1_000_000);
        let times = ["2024-01-01T12:00:00Z", "2024-01-01T12:00:01Z", "2024-01-01T12:00:01.5Z"];
        push(&ring, &[(Level::Info, times[0]), (Level::Error, times[1]), (Level::Info, times[2])]);
        let since = |text: &str| Filter { since: Some(text.parse().unwrap()), level: None };
        let from_second = ring.latest(&since(times[1]), 10);
        assert_eq!(messages(&from_second.entries), times[1..], "an entry at that very moment is one of them");
        let info = ring.latest(&Filter { level: Some(Level::Info), since: None }, 1);
        assert_eq!(messages(&info.entries), [times[2]]);
        assert_eq!((info.held, info.wanted), (3, 2));
        let both = Filter { level: Some(Level::Error), ..since(times[2]) };
        assert_eq!(ring.latest(&both, 10).wanted, 0);
    }

    #[test]
    fn a_reader_gets_what_comes_after_it_and_no_more() {
        let ring = Ring::new(100, 1_000_000);
        push(&ring, &[(Level::Info, "before")]);
        let mut reader = ring.reader(None);
        assert!(reader.take().is_none());
        push(&ring, &[(Level::Info, "a"), (Level::Debug, "b")]);
        let batch = reader.take().unwrap();
        assert_eq!((batch.missed, messages(&batch.entries)), (0, vec!["a", "b"]));
        assert!(reader.take().is_none());
    }

    #[test]
    fn a_slow_reader_learns_how_many_lines_went_by_and_others_miss_none() {
        let ring = Ring::new(3, 1_000_000);
        let (mut slow, mut quick) = (ring.reader(None), ring.reader(None));
        let mut seen = 0;
        for _ in 0..5 {
            push(&ring, &[(Level::Info, "line")]);
            let batch = quick.take().unwrap();
            assert_eq!(batch.missed, 0);
            seen += batch.entries.len();
        }
        assert_eq!(seen, 5);
        let batch = slow.take().unwrap();
        assert_eq!((batch.missed, batch.entries.len()), (2, 3));
        assert!(slow.take().is_none(), "it is told once");
    }

    #[test]
    fn a_reader_of_one_level_passes_over_the_others() {
        let ring = Ring::new(1_000, 1_000_000);
        let mut reader = ring.reader(Some(Level::Error));
        for _ in 0..3 * BATCH_ENTRIES {
            push(&ring, &[(Level::Info, "no")]);
        }
        assert!(reader.take().is_none());
        push(&ring, &[(Level::Info, "no"), (Level::Error, "yes")]);
        assert_eq!(messages(&reader.take().unwrap().entries), ["yes"]);
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_bytes() {
        let ring = Ring::new(1_000, 10_000_000);
        let mut reader = ring.reader(None);
        for _ in 0..BATCH_ENTRIES + 1 {
            push(&ring, &[(Level::Info, "short")]);
        }
        assert_eq!(reader.take().unwrap().entries.len(), BATCH_ENTRIES);
        assert_eq!(reader.take().unwrap().entries.len(), 1);
        let long = "x".repeat(BATCH_BYTES / 2);
        push(&ring, &[(Level::Info, &long), (Level::Info, &long)]);
        assert_eq!(reader.take().unwrap().entries.len(), 1);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_what_comes() {
        let ring: &'static Ring = Box::leak(Box::new(Ring::new(10, 10_000)));
        let mut reader = ring.reader(None);
        let waiting = tokio::spawn(async move { reader.next().await.entries.len() });
        tokio::task::yield_now().await;
        push(ring, &[(Level::Info, "a")]);
        assert_eq!(waiting.await.unwrap(), 1);
    }
}
