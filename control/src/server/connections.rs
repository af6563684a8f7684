//! How many connections one address may have open that are not calls.
//!
//! Each costs a task and some kilobytes for as long as its client likes to be slow, so one address gets a bounded number.
//! A call's media socket stops counting once the call was let in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::rate_limit::Client;

/// Counts connections by address.
#[derive(Debug)]
pub struct Connections {
    per_address_max: usize,
    open: Mutex<HashMap<Client, usize>>,
}

/// One counted connection, until the last clone of it is dropped.
#[derive(Clone, Debug)]
pub struct Permit {
    _counted: Option<Arc<Counted>>,
}

#[derive(Debug)]
struct Counted {
    connections: Arc<Connections>,
    client: Client,
}

impl Connections {
    /// Lets one address have `per_address_max`; 0 is no limit.
    pub fn new(per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { per_address_max, open: Mutex::default() })
    }

    /// Counts a connection from `address`; none if it has too many.
    pub fn open(self: &Arc<Self>, address: IpAddr) -> Option<Permit> {
        if self.per_address_max == 0 {
            return Some(Permit::uncounted());
        }
        let client = Client::from(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client.clone()).or_insert(0);
        if *count >= self.per_address_max {
            return None;
        }
        *count += 1;
        Some(Permit { _counted: Some(Arc::new(Counted { connections: self.clone(), client })) })
    }
}

impl Permit {
    /// Of a connection that does not count.
    pub fn uncounted() -> Self {
        Self { _counted: None }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_gets_back_what_it_closes() {
        let connections = Connections::new(2);
        let [one, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let first = connections.open(one).unwrap();
        let second = connections.open(one).unwrap();
        assert!(connections.open(one).is_none());
        assert!(connections.open(other).is_some(), "another address is not concerned");
        let kept = second.clone();
        drop(second);
        assert!(connections.open(one).is_none(), "whoever took the socket along still has it");
        drop((first, kept));
        assert!(connections.open(one).is_some());
        assert!(connections.open.lock().unwrap().is_empty(), "nothing is kept of who is gone");
    }
}
