//! What was asked for a moment ago, kept for whoever asks again: for each user apart, for a while, and so many things at most.
//!
//! Something that is forgotten while it is being looked up must not come back: so who puts something in shows the ticket that it
//! was not found with.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many things are kept of one user.
const KEPT_PER_USER: usize = 256;

/// How many users' things are kept.
const USERS_MAX: usize = 10_000;

/// The cache.
#[derive(Debug, Default)]
pub struct Cache {
    users: Mutex<HashMap<String, Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    hits: u64,
    misses: u64,
    /// Grows whenever something is forgotten.
    generation: u64,
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    ends: Instant,
    value: Arc<dyn Any + Send + Sync>,
}

/// What was found.
#[derive(Debug)]
pub enum Found<T> {
    /// It is there.
    Hit(Arc<T>),
    /// It is not: with what it may be put in.
    Miss(Ticket),
}

/// What something may be put in with that was not found.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u64);

/// How often something was found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CacheFigures {
    /// Things that are kept.
    pub keys: usize,
    /// Look-ups that found something, of all: from 0 to 1; 0 before the first.
    pub hit_rate: f64,
    /// The others; likewise.
    pub miss_rate: f64,
}

impl Cache {
    /// Looks something of a user's up.
    pub fn get<T: Any + Send + Sync>(&self, user: &str, key: &str, now: Instant) -> Found<T> {
        let mut users = self.users();
        if users.len() >= USERS_MAX && !users.contains_key(user) {
            users.clear();
        }
        let kept = users.entry(user.to_owned()).or_default();
        let entry = kept.entries.get(key).filter(|entry| entry.ends > now);
        match entry.and_then(|entry| entry.value.clone().downcast().ok()) {
            Some(value) => {
                kept.hits += 1;
                Found::Hit(value)
            }
            None => {
                kept.misses += 1;
                Found::Miss(Ticket(kept.generation))
            }
        }
    }

    /// Keeps something of a user's for a while, unless something was forgotten since it was not found.
    pub fn put<T: Any + Send + Sync>(
        &self,
        user: &str,
        key: &str,
        value: Arc<T>,
        Ticket(generation): Ticket,
        now: Instant,
        life: Duration,
    ) {
        let mut users = self.users();
        let Some(kept) = users.get_mut(user).filter(|kept| kept.generation == generation) else { return };
        if kept.entries.len() >= KEPT_PER_USER && !kept.entries.contains_key(key) {
            kept.entries.retain(|_, entry| entry.ends > now);
            if kept.entries.len() >= KEPT_PER_USER {
                kept.entries.clear();
            }
        }
        kept.entries.insert(key.to_owned(), Entry { ends: now + life, value });
    }

    /// Something of a user's is not what it was.
    pub fn forget(&self, user: &str, key: &str) {
        if let Some(kept) = self.users().get_mut(user) {
            kept.generation += 1;
            kept.entries.remove(key);
        }
    }

    /// How often something of a user's was found.
    pub fn figures(&self, user: &str, now: Instant) -> CacheFigures {
        let mut users = self.users();
        let Some(kept) = users.get_mut(user) else { return CacheFigures::default() };
        kept.entries.retain(|_, entry| entry.ends > now);
        let looked_up = kept.hits + kept.misses;
        let rate = |count: u64| if looked_up == 0 { 0.0 } else { count as f64 / looked_up as f64 };
        CacheFigures { keys: kept.entries.len(), hit_rate: rate(kept.hits), miss_rate: rate(kept.misses) }
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        // Every change under this lock is a single step.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(60);

    fn ticket(found: Found<String>) -> Ticket {
        match found {
            Found::Miss(ticket) => ticket,
            Found::Hit(value) => panic!("{value} is there"),
        }
    }

    #[test]
    fn what_is_kept_is_found_for_a_while_by_its_user_alone() {
        let cache = Cache::default();
        let now = Instant::now();
        assert_eq!(cache.figures("pat", now), CacheFigures::default());
        let shown = ticket(cache.get("pat", "k", now));
        cache.put("pat", "k", Arc::new("v".to_owned()), shown, now, LIFE);
        assert!(matches!(cache.get::<String>("pat", "k", now), Found::Hit(value) if *value == "v"));
        ticket(cache.get("bea", "k", now));
        ticket(cache.get("pat", "k", now + LIFE));
        let figures = cache.figures("pat", now);
        assert_eq!((figures.keys, figures.hit_rate), (1, 1.0 / 3.0));
        assert_eq!(cache.figures("pat", now + LIFE).keys, 0);
    }

    #[test]
    fn what_was_forgotten_meanwhile_does_not_come_back() {
        let cache = Cache::default();
        let now = Instant::now();
        let shown = ticket(cache.get("pat", "k", now));
        cache.forget("pat", "k");
        cache.put("pat", "k", Arc::new("old".to_owned()), shown, now, LIFE);
        ticket(cache.get("pat", "k", now));
    }

    #[test]
    fn no_user_fills_the_memory() {
        let cache = Cache::default();
        let now = Instant::now();
        for n in 0..1_000 {
            let key = n.to_string();
            let shown = ticket(cache.get("pat", &key, now));
            cache.put("pat", &key, Arc::new(key.clone()), shown, now, LIFE);
        }
        assert!(cache.figures("pat", now).keys <= KEPT_PER_USER);
    }
}
