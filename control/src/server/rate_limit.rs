//! How often a client may ask: fixed windows of a minute, as the documented headers describe them.
//!
//! A client is an address; of IPv6, its network of 64 bits, since one machine has all of those. A window begins with a
//! client's first request and ends a minute later. Memory is bounded: beyond [`CLIENTS_MAX`] clients at once, all further
//! ones share one window, so that a flood of addresses cannot push out the counts of those who were there before.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::domain::time::UnixMs;

/// How many clients are told apart at once, per limit. One costs some 60 bytes.
pub const CLIENTS_MAX: usize = 50_000;

/// The length of a window.
const WINDOW: Duration = Duration::from_secs(60);

/// So many requests a minute below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The paths that it is for begin with this.
    pub prefix: &'static str,
    /// Requests a minute.
    pub requests: u32,
}

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// An address, or a network of IPv6.
    Address(IpAddr),
    /// A user of a system, by the user's id.
    User(String),
    /// A carrier's account.
    Account(String),
    /// All that there was no room for.
    Others,
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => address.into(),
                None => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            },
        })
    }
}

/// What is left of a client's window, after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests a window.
    pub limit: u32,
    /// Requests that may still come.
    pub remaining: u32,
    /// When the next window begins, in seconds since 1970.
    pub reset_unix_s: i64,
    /// From now to then.
    pub reset_in: Duration,
    /// True if this request was one too many.
    pub exceeded: bool,
}

impl Quota {
    /// Tells the client.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut put = |name: &'static str, value: i64| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        };
        put("x-ratelimit-limit", self.limit.into());
        put("x-ratelimit-remaining", self.remaining.into());
        put("x-ratelimit-reset", self.reset_unix_s);
        if self.exceeded {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after_s()));
        }
    }

    /// Seconds to wait, never zero: who waits so long finds a new window.
    pub fn retry_after_s(&self) -> u64 {
        self.reset_in.as_millis().div_ceil(1_000).max(1) as u64
    }
}

/// Counts requests.
#[derive(Debug, Default)]
pub struct RateLimiter {
    windows: Mutex<HashMap<(usize, Client), Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    requests: u32,
}

impl RateLimiter {
    /// Counts one request of `client` against `requests` a minute. `scope` tells limits apart.
    pub fn take(&self, scope: usize, client: Client, requests: u32, now: Instant, at: UnixMs) -> Quota {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |window: &Window| now.saturating_duration_since(window.began) >= WINDOW;
        let mut key = (scope, client);
        if !windows.contains_key(&key) && windows.len() >= CLIENTS_MAX {
            windows.retain(|_, window| !is_over(window));
            if windows.len() >= CLIENTS_MAX {
                key.1 = Client::Others;
            }
        }
        let window = windows.entry(key).or_insert(Window { began: now, requests: 0 });
        if is_over(window) {
            *window = Window { began: now, requests: 0 };
        }
        window.requests = window.requests.saturating_add(1);
        let reset_in = WINDOW.saturating_sub(now.saturating_duration_since(window.began));
        Quota {
            limit: requests,
            remaining: requests.saturating_sub(window.requests),
            reset_unix_s: (at.0 + reset_in.as_millis() as i64 + 999).div_euclid(1_000),
            reset_in,
            exceeded: window.requests > requests,
        }
    }

    /// Forgets windows that are over.
    pub fn sweep(&self, now: Instant) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.retain(|_, window| now.saturating_duration_since(window.began) < WINDOW);
        if windows.capacity() > 4 * CLIENTS_MAX.min(windows.len() + 1_024) {
            windows.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: u32) -> Client {
        IpAddr::from(n.to_be_bytes()).into()
    }

    struct Minute {
        limiter: RateLimiter,
        began: Instant,
    }

    impl Minute {
        fn new() -> Self {
            Self { limiter: RateLimiter::default(), began: Instant::now() }
        }

        fn take(&self, client: Client, requests: u32, second: u64) -> Quota {
            let at = UnixMs(1_000_000 + second as i64 * 1_000);
            self.limiter.take(0, client, requests, self.began + Duration::from_secs(second), at)
        }
    }

    #[test]
    fn a_window_lets_so_many_through_and_tells_when_the_next_begins() {
        let minute = Minute::new();
        for (second, remaining) in [(0, 2), (10, 1), (20, 0)] {
            let quota = minute.take(client(1), 3, second);
            assert_eq!((quota.limit, quota.remaining, quota.exceeded), (3, remaining, false));
            assert_eq!(quota.reset_unix_s, 1_060);
        }
        let refused = minute.take(client(1), 3, 59);
        assert_eq!((refused.remaining, refused.exceeded, refused.retry_after_s()), (0, true, 1));
        assert!(!minute.take(client(2), 3, 59).exceeded, "another client has a window of its own");
        assert!(!minute.take(client(1), 3, 60).exceeded);
    }

    #[test]
    fn limits_do_not_count_for_one_another() {
        let minute = Minute::new();
        minute.take(client(1), 1, 0);
        let other = minute.limiter.take(1, client(1), 1, minute.began, UnixMs(0));
        assert!(!other.exceeded);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory_and_forgets_nobody() {
        let minute = Minute::new();
        minute.take(client(0), 1, 0);
        for n in 1..CLIENTS_MAX as u32 + 1_000 {
            minute.take(client(n), 1, 1);
        }
        assert!(minute.limiter.windows.lock().unwrap().len() <= CLIENTS_MAX + 1);
        assert!(minute.take(client(0), 1, 2).exceeded, "who was counted before is still counted");
        assert!(minute.take(client(u32::MAX), 1, 2).exceeded, "who comes late shares what is left");
        minute.limiter.sweep(minute.began + Duration::from_secs(62));
        assert!(minute.limiter.windows.lock().unwrap().is_empty());
        assert!(!minute.take(client(u32::MAX), 1, 62).exceeded);
    }
}
