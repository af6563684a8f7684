//! Where a request was sent to, as its sender saw it: what signatures are made of, and where sockets are asked for.

use axum::extract::Request;
use axum::http::header;

use super::callbot::signature::SeenUrl;
use crate::server::App;
use crate::server::arrival::Arrival;
use crate::settings::is_authority;
use crate::systems::error::ApiError;

/// A request's URL, from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    tls: Option<bool>,
    authority: String,
    path_and_query: String,
}

impl Seen {
    /// From the public URL if there is one, else from the forwarded headers (of a proxy that is trusted, or on this
    /// machine) and `Host`. A simulator of this machine is sent to the address that it asked at.
    pub(super) fn of(app: &App, request: &Request) -> Result<Self, ApiError> {
        let arrival = request.extensions().get::<Arrival>();
        let uri = arrival.map_or(request.uri(), |arrival| &arrival.uri);
        let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if let Some(arrival) = arrival.filter(|arrival| arrival.simulated) {
            return Ok(Self { tls: Some(false), authority: arrival.local.to_string(), path_and_query });
        }
        if let Some(public) = &app.settings.public_url {
            return Ok(Self { tls: Some(public.tls), authority: public.authority.clone(), path_and_query });
        }
        let first = |name: &str| {
            let value = request.headers().get(name)?.to_str().ok()?;
            value.split(',').next().map(str::trim).filter(|value| !value.is_empty())
        };
        let forwarded = |name: &str| first(name).filter(|_| arrival.is_some_and(|a| a.forwarded_counts));
        let authority = forwarded("x-forwarded-host")
            .or_else(|| first(header::HOST.as_str()))
            .or_else(|| uri.authority().map(|authority| authority.as_str()))
            .ok_or_else(|| ApiError::invalid("The request has no Host header"))?;
        if !is_authority(authority) {
            return Err(ApiError::invalid("The Host header is not a host name"));
        }
        let tls = match forwarded("x-forwarded-proto") {
            Some("https" | "wss") => Some(true),
            Some("http" | "ws") => Some(false),
            _ => None,
        };
        Ok(Self { tls, authority: authority.to_owned(), path_and_query })
    }

    pub(super) fn url(&self) -> SeenUrl<'_> {
        SeenUrl { tls: self.tls, authority: &self.authority, path_and_query: &self.path_and_query }
    }

    /// The URL of a media socket at `path`. Where nothing tells, it is asked for as `wss`, but on this machine itself, which
    /// has no certificate.
    pub(super) fn socket(&self, path: &str) -> String {
        let scheme = if self.is_secure() { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.authority)
    }

    /// The URL of a webhook at `path`, likewise.
    pub(super) fn origin(&self, path: &str) -> String {
        let scheme = if self.is_secure() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority)
    }

    pub(super) fn is_secure(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, port)| {
            if port.contains(']') { self.authority.as_str() } else { host }
        });
        let loopback = host == "localhost" || host == "[::1]" || host.starts_with("127.");
        self.tls.unwrap_or(!loopback)
    }
}
