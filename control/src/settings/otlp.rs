//! Where traces are sent, in the words of OpenTelemetry's own variables.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/> (read 2026-11-25): the endpoint is a base, below which
//! spans go to `v1/traces`; headers are `name=value`, separated by commas, values percent-encoded.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::values::is_authority;

/// The base of a collector: `http://127.0.0.1:4318`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint {
    traces: Uri,
}

impl OtlpEndpoint {
    /// Where spans are posted to.
    pub fn traces(&self) -> Uri {
        self.traces.clone()
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.traces.fmt(f)
    }
}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || {
            "write the base of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318"
                .to_owned()
        };
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(help)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_authority(authority) || path.contains(['?', '#']) {
            return Err(help());
        }
        let traces = format!("{}/v1/traces", text.trim_end_matches('/')).parse().map_err(|_| help())?;
        Ok(Self { traces })
    }
}

/// What is sent along, such as a key. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OtlpHeaders(Vec<(HeaderName, HeaderValue)>);

impl OtlpHeaders {
    /// Names and values.
    pub fn pairs(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0
    }
}

impl fmt::Debug for OtlpHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl FromStr for OtlpHeaders {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let header = |item: &str| {
            let (name, value) = item.split_once('=')?;
            let name = HeaderName::try_from(name.trim()).ok()?;
            let mut value = HeaderValue::from_bytes(&decoded(value.trim())?).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let headers: Option<_> = items.map(header).collect();
        headers.map(Self).ok_or_else(|| {
            "write headers as name=value, separated by commas, such as authorization=Bearer%20KEY".into()
        })
    }
}

/// Text without its percent-encoding; `None` if that is broken.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                (high << 4 | low) as u8
            }
            byte => byte,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_below_the_base() {
        for (base, traces) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://otlp.example.com/otlp", "https://otlp.example.com/otlp/v1/traces"),
        ] {
            let endpoint: OtlpEndpoint = base.parse().unwrap();
            assert_eq!(endpoint.traces().to_string(), traces);
        }
        for bad in
            ["127.0.0.1:4318", "grpc://x", "http://", "http://user:key@x/", "http://x/?key=1", "http://x/ y"]
        {
            assert!(bad.parse::<OtlpEndpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_are_decoded_and_never_printed() {
        let headers: OtlpHeaders = "authorization=Bearer%20k3y, x-team = voice".parse().unwrap();
        let pairs: Vec<_> =
            headers.pairs().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(pairs, [("authorization", &b"Bearer k3y"[..]), ("x-team", b"voice")]);
        assert_eq!(format!("{headers:?}"), r#"["authorization", "x-team"]"#);
        for bad in ["authorization", "a b=c", "a=%2", "a=%zz", "a=%0a"] {
            assert!(bad.parse::<OtlpHeaders>().is_err(), "{bad}");
        }
    }
}
