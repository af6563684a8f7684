//! Counts what goes wrong, and says when that is worth telling.

/// A count of one kind of trouble. A flood of it must not flood the timeline.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally(u32);

impl Tally {
    /// Counts one. Gives the count if it is to be told: the first three, then at each doubling.
    pub(super) fn count(&mut self) -> Option<u32> {
        self.0 = self.0.saturating_add(1);
        (self.0 <= 3 || self.0.is_power_of_two()).then_some(self.0)
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
    }
}
