//! A calendar of this server's own, in its database, which refuses what overlaps.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Appointment, Calendar, Entry, Unavailable};
use crate::domain::time::{Span, UnixMs};
use crate::store::Store;

/// The desk that the settings speak of.
pub const CALLBOT: &str = "callbot";

/// The calendar of one desk.
#[derive(Debug)]
pub struct LocalCalendar {
    store: Arc<Store>,
    /// In the database.
    desk: String,
    name: String,
}

impl LocalCalendar {
    /// `desk`: whose it is, such as `callbot`.
    pub fn new(store: Arc<Store>, desk: &str) -> Self {
        Self { store, desk: desk.to_owned(), name: format!("local {desk}") }
    }
}

impl Calendar for LocalCalendar {
    fn name(&self) -> &str {
        &self.name
    }

    fn busy(&self, within: Span) -> BoxFuture<'_, Result<Vec<Span>, Unavailable>> {
        async move {
            let found = self.store.appointments(&self.desk, within).await;
            let found = found.map_err(|error| Unavailable(error.to_string()))?;
            Ok(found.into_iter().map(|appointment| appointment.span).collect())
        }
        .boxed()
    }

    fn enter<'a>(&'a self, appointment: &'a Appointment) -> BoxFuture<'a, Result<Entry, Unavailable>> {
        async move {
            let entered = self.store.enter(&self.desk, appointment, UnixMs::now()).await;
            let entered = entered.map_err(|error| Unavailable(error.to_string()))?;
            Ok(if entered { Entry::Entered } else { Entry::Taken })
        }
        .boxed()
    }
}
