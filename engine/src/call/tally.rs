//! Counts what goes wrong, and says when that is worth telling.

/// A count of one kind of trouble. A flood of it must not flood the timeline.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    count: u32,
    told: u32,
}

impl Tally {
    /// Counts one. Gives the count if it is to be told: the first three, then at each doubling.
    pub(super) fn count(&mut self) -> Option<u32> {
        self.count = self.count.saturating_add(1);
        if self.count <= 3 || self.count.is_power_of_two() { self.untold() } else { None }
    }

    /// The count, once, if it was not told yet.
    pub(super) fn untold(&mut self) -> Option<u32> {
        let before = std::mem::replace(&mut self.told, self.count);
        (self.count > before).then_some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_and_each_doubling_are_told() {
        let mut tally = Tally::default();
        let told: Vec<u32> = (0..40).filter_map(|_| tally.count()).collect();
        assert_eq!(told, [1, 2, 3, 4, 8, 16, 32]);
        assert_eq!((tally.untold(), tally.untold()), (Some(40), None));
    }
}
