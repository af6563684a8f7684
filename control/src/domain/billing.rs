//! Calls on lines are charged by the second while they run, and ended politely when the line has nothing left.
//!
//! Each tick tells the store for how many whole seconds each call has lasted in all; the last second is settled with the end
//! of the call's record. So a tick that is missed, or told twice, costs nobody anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use offhook_engine::CallId;
use offhook_engine::call::EndReason;

use super::calls::Calls;
use super::ledger::Meter;
use super::time::UnixMs;
use crate::store::Store;

/// How often calls are charged.
pub const TICK: Duration = Duration::from_secs(1);

/// What a caller hears last when the line has nothing left.
pub const FAREWELL: &str = "I am sorry, we have to end this call here. Please call again later. Goodbye.";

/// How long that may take: a caller who talks on is not listened to for longer.
const FAREWELL_TIME: Duration = Duration::from_secs(12);

/// The calls that are charged.
#[derive(Debug)]
pub struct Billing {
    store: Arc<Store>,
    calls: Arc<Calls>,
    metered: Mutex<BTreeMap<CallId, Metered>>,
}

#[derive(Clone, Copy, Debug)]
struct Metered {
    answered: Instant,
    /// Until when the farewell may take.
    ends: Option<Instant>,
}

impl Billing {
    /// No calls yet.
    pub fn new(store: Arc<Store>, calls: Arc<Calls>) -> Self {
        Self { store, calls, metered: Mutex::default() }
    }

    /// A call on a line is answered: from here on it is charged.
    pub fn begin(&self, call: &CallId, answered: Instant) {
        self.metered().insert(call.clone(), Metered { answered, ends: None });
    }

    /// Charges all calls that run, and ends those whose line has nothing left.
    pub async fn tick(&self, now: Instant, at: UnixMs) {
        let meters: Vec<Meter> = {
            let mut metered = self.metered();
            metered.retain(|call, _| self.calls.is_running(call));
            let seconds = |metered: &Metered| now.saturating_duration_since(metered.answered).as_secs();
            let meter = |(call, metered): (&CallId, &Metered)| Meter {
                call: call.clone(),
                seconds: u32::try_from(seconds(metered)).unwrap_or(u32::MAX),
            };
            metered.iter().map(meter).filter(|meter| meter.seconds > 0).collect()
        };
        if meters.is_empty() {
            return;
        }
        let left = match self.store.charge(meters, at).await {
            Ok(left) => left,
            // The next tick, or the end of the call, makes up for it.
            Err(error) => return tracing::error!(%error, "calls could not be charged yet"),
        };
        for left in left.iter().filter(|left| left.seconds == Some(0)) {
            self.end(&left.call, now);
        }
    }

    fn end(&self, call: &CallId, now: Instant) {
        let ends = match self.metered().get_mut(call) {
            Some(metered) => metered.ends.replace(metered.ends.unwrap_or(now + FAREWELL_TIME)),
            None => return,
        };
        match ends {
            None => {
                tracing::info!(call_id = %call, "the line's balance is used up: the call ends");
                self.calls.say_goodbye(call, FAREWELL);
            }
            Some(ends) if now >= ends => {
                self.calls.hang_up(call, EndReason::AgentHangup);
            }
            Some(_) => {}
        }
    }

    fn metered(&self) -> MutexGuard<'_, BTreeMap<CallId, Metered>> {
        self.metered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
