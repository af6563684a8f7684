//! What the server knows of a request before any route sees it: who asks, where, and of which system.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, Uri};
use ipnet::IpNet;

use super::connections::Permit;

/// A request as it came in. An extension of every request.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Names the request in answers and logs: `req_…`.
    pub request_id: Arc<str>,
    /// The base below which the system was asked; empty at a root. URLs that are handed out begin with it.
    pub base: &'static str,
    /// The request's URI as it came in, with the base.
    pub uri: Uri,
    /// Who asks: the other end of the connection, or whom a trusted proxy speaks for.
    pub client: IpAddr,
    /// True if the forwarded headers are a proxy's, not the client's own invention.
    pub forwarded_counts: bool,
    /// The address that the connection came in on.
    pub local: SocketAddr,
    /// True if a simulator of this machine asks: it knows the process's own token.
    pub simulated: bool,
    /// Keeps the connection counted. Whoever takes its socket takes this along, and drops it once a call is admitted.
    pub permit: Permit,
}

/// The client behind `peer`: the last address in `X-Forwarded-For` that is not a trusted proxy's, if `peer` is one.
///
/// Each proxy appends whom it heard from, so only what trusted proxies wrote counts: from the right, up to the first
/// address that is none of theirs.
pub fn client_of(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let trusts = |address: &IpAddr| proxies.iter().any(|range| range.contains(address));
    if !trusts(&peer) {
        return peer;
    }
    let mut client = peer;
    let values: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).collect();
    for hop in values.iter().flat_map(|value| value.split(',')).rev() {
        let Some(address) = address_in(hop.trim()) else { break };
        client = address.to_canonical();
        if !trusts(&client) {
            break;
        }
    }
    client
}

/// An address with or without a port, as proxies write it.
fn address_in(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
        }
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client_of(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn a_stranger_cannot_speak_for_others() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
    }

    #[test]
    fn behind_trusted_proxies_the_last_stranger_counts() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.2.3.4"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("fd00::1", &["198.51.100.1:80"]), "198.51.100.1");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        assert_eq!(client("10.0.0.1", &["198.51.100.1, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"]), "10.0.0.2");
    }
}
