//! The services that can do one part of a call's work, in the order in which they are asked, and what all calls know of
//! each.

mod breaker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use offhook_engine::call::{Failure, Part};
use offhook_engine::speech::apart::Report;

use crate::integrations::vendor::VendorError;
pub(super) use breaker::Breaker;

/// What one service did so far, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTally {
    /// What it does.
    pub part: Part,
    /// Its name.
    pub name: Arc<str>,
    /// What it was asked for: a voice in characters of text, ears in bytes of audio, an agent in replies.
    pub asked: u64,
    /// How often it failed.
    pub failures: u64,
    /// Why no call asks it now, if that is so.
    pub kept_out: Option<Failure>,
}

/// One service takes over from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Switch {
    pub(super) part: Part,
    pub(super) from: Arc<str>,
    /// None: nobody is left.
    pub(super) to: Option<Arc<str>>,
    pub(super) why: Failure,
}

impl From<Switch> for Report {
    fn from(switch: Switch) -> Self {
        let Switch { part, from, to, why } = switch;
        Self::Switched { part, from: from.to_string(), to: to.map(|to| to.to_string()), why }
    }
}

/// One service.
pub(super) struct Place<S: ?Sized> {
    pub(super) service: Arc<S>,
    name: Arc<str>,
    breaker: Breaker,
    asked: AtomicU64,
    failures: AtomicU64,
}

/// All of one part.
pub(super) struct Places<S: ?Sized> {
    part: Part,
    places: Vec<Place<S>>,
}

impl<S: ?Sized> Places<S> {
    /// Services with their names, in order. There must be one; the last is asked however it did.
    pub(super) fn new(part: Part, services: impl IntoIterator<Item = (Arc<str>, Arc<S>)>) -> Self {
        let place = |(name, service)| Place {
            service,
            name,
            breaker: Breaker::default(),
            asked: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        };
        let places: Vec<_> = services.into_iter().map(place).collect();
        assert!(!places.is_empty(), "somebody must be asked");
        Self { part, places }
    }

    /// True if there is no other.
    pub(super) fn is_only(&self) -> bool {
        self.places.len() == 1
    }

    pub(super) fn at(&self, at: usize) -> &Place<S> {
        &self.places[at]
    }

    /// What each did so far.
    pub(super) fn tallies(&self) -> impl Iterator<Item = ServiceTally> + '_ {
        self.places.iter().map(|place| ServiceTally {
            part: self.part,
            name: Arc::clone(&place.name),
            asked: place.asked.load(Ordering::Relaxed),
            failures: place.failures.load(Ordering::Relaxed),
            kept_out: place.breaker.kept_out(Instant::now()),
        })
    }

    /// Whom a call asks first: those that are known not to work are passed over, and the call is told.
    pub(super) fn first(&self, mut tell: impl FnMut(Switch)) -> usize {
        let mut at = 0;
        while at + 1 < self.places.len() {
            let Err(why) = self.places[at].breaker.admits(Instant::now()) else { break };
            tell(self.switch(at, Some(at + 1), why));
            at += 1;
        }
        at
    }

    /// The one at `at` failed a call: who goes on, none if there is nobody else; and what the call is to be told.
    pub(super) fn after(&self, at: usize, error: &VendorError) -> (Option<usize>, Switch) {
        let (place, part, why) = (&self.places[at], self.part.as_str(), error.why.as_str());
        place.failures.fetch_add(1, Ordering::Relaxed);
        if place.breaker.failed(error.why, Instant::now()) {
            tracing::warn!(part, service = &*place.name, why, %error, "a service is kept out of calls for a while");
        } else {
            tracing::info!(part, service = &*place.name, why, %error, "a service failed on a call");
        }
        let last = self.places.len() - 1;
        let next = (at + 1..=last)
            .find(|&next| next == last || self.places[next].breaker.admits(Instant::now()).is_ok());
        (next, self.switch(at, next, error.why))
    }

    fn switch(&self, from: usize, to: Option<usize>, why: Failure) -> Switch {
        let name = |at: usize| Arc::clone(&self.places[at].name);
        Switch { part: self.part, from: name(from), to: to.map(name), why }
    }
}

impl<S: ?Sized> std::fmt::Debug for Places<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.places.iter().map(|place| &place.name)).finish()
    }
}

impl<S: ?Sized> Place<S> {
    /// It is asked for so much: a voice for characters, ears for bytes.
    pub(super) fn ask(&self, amount: usize) {
        self.asked.fetch_add(amount as u64, Ordering::Relaxed);
    }

    /// It did what it was asked for.
    pub(super) fn worked(&self) {
        self.breaker.worked();
    }
}
