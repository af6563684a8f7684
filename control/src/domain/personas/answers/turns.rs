//! One after the other: who wants the same thing waits for it in the order of coming.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Row, OwnedMutexGuard};

/// Rows of those who wait, by what for.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<Row<()>>>>);

impl Turns {
    /// Waits for its turn, which lasts until what is returned is dropped.
    pub(super) async fn of(&self, what: &str) -> OwnedMutexGuard<()> {
        let row = {
            let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            rows.retain(|_, row| row.strong_count() > 0);
            let known = rows.get(what).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let row = Arc::new(Row::new(()));
                rows.insert(what.to_owned(), Arc::downgrade(&row));
                row
            })
        };
        row.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn turns_come_in_order_and_what_nobody_wants_is_forgotten() {
        let turns = Turns::default();
        let first = turns.of("a").await;
        let other = turns.of("b").now_or_never();
        assert!(other.is_some(), "another thing is free");
        let (mut second, mut third) = (Box::pin(turns.of("a")), Box::pin(turns.of("a")));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "the second comes first");
        drop(second.await);
        drop(third.await);
        drop(other);
        drop(turns.of("c").await);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
