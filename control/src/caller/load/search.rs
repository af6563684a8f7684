//! The search for the most calls that a server holds: doubling until it does not, then halving the gap.

/// Goes from step to step. Who runs it says of each number of calls whether it held.
#[derive(Clone, Debug)]
pub struct Search {
    next: usize,
    most: usize,
    /// The most that held.
    held: usize,
    /// The fewest that did not.
    failed: Option<usize>,
}

impl Search {
    /// Begins with `first` calls and tries no more than `most`.
    pub fn new(first: usize, most: usize) -> Self {
        let most = most.max(1);
        Self { next: first.clamp(1, most), most, held: 0, failed: None }
    }

    /// How many calls to try; none if the answer is known, to a twentieth of itself.
    pub fn next(&self) -> Option<usize> {
        (self.next > 0).then_some(self.next)
    }

    /// The step that [`Search::next`] named was run.
    pub fn on_tried(&mut self, held: bool) {
        if held {
            self.held = self.held.max(self.next);
        } else {
            self.failed = Some(self.failed.map_or(self.next, |failed| failed.min(self.next)));
        }
        self.next = match self.failed {
            None if self.held >= self.most => 0,
            None => (self.held * 2).min(self.most),
            Some(failed) => {
                let gap = failed.saturating_sub(self.held);
                if gap <= (failed / 20).max(1) { 0 } else { self.held + gap / 2 }
            }
        };
    }

    /// The most calls that held so far; none if none did.
    pub fn held(&self) -> Option<usize> {
        (self.held > 0).then_some(self.held)
    }

    /// The fewest that did not; none if all did.
    pub fn failed(&self) -> Option<usize> {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(first: usize, most: usize, capacity: usize) -> (Vec<usize>, Option<usize>) {
        let mut search = Search::new(first, most);
        let mut tried = Vec::new();
        while let Some(calls) = search.next() {
            tried.push(calls);
            assert!(tried.len() < 50, "{tried:?}");
            search.on_tried(calls <= capacity);
        }
        (tried, search.held())
    }

    #[test]
    fn capacity_is_found_to_a_twentieth() {
        assert_eq!(search(10, 1_000, 100).0[..6], [10, 20, 40, 80, 160, 120]);
        for capacity in [1, 2, 3, 7, 37, 99, 100, 640, 999] {
            let (tried, held) = search(10, 1_000, capacity);
            let held = held.unwrap();
            assert!(
                held <= capacity && capacity - held <= capacity / 20 + 1,
                "{capacity}: {held}, {tried:?}"
            );
        }
    }

    #[test]
    fn no_more_is_tried_than_allowed_and_none_may_hold() {
        assert_eq!(search(10, 50, 1_000), (vec![10, 20, 40, 50], Some(50)));
        let (tried, held) = search(8, 50, 0);
        assert_eq!((tried, held), (vec![8, 4, 2, 1], None));
        assert_eq!(search(0, 0, 9).1, Some(1));
    }
}
