//! What settings can say: the types of single values, and how each is read from text.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

/// Where the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine: what has no secret configured is open.
    Development,
    /// In earnest: bearer tokens required, unsigned webhooks refused.
    Production,
}

impl Environment {
    /// As it is written in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

/// Who may open a media socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaAuth {
    /// Calls that a webhook announced, with the token that its answer gave.
    Announced,
    /// Anyone: for direct test clients on this machine.
    Open,
}

/// What listens and speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// The local recogniser if it is installed, the built-in voice, and keys.
    Local,
    /// The built-in voice, and keys alone.
    Keypad,
    /// Two seconds of fixed audio after each turn of the caller, for load tests: no recogniser, voice or agent.
    Canned,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What is lost or broken.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And each call and request.
    Info,
    /// And what it takes to find a fault.
    Debug,
    /// And everything.
    Trace,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that compares or signs with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An origin: `https://voice.example.com`, without path and without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// True for https and wss.
    pub tls: bool,
    /// Host, and port if one was given.
    pub authority: String,
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

pub(super) struct Address(pub(super) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.replace("localhost:", "127.0.0.1:");
        text.parse()
            .map(Self)
            .map_err(|_| "write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".into())
    }
}

/// Where an outside service is asked.
pub(super) struct ServiceUrl(pub(super) PublicUrl);

impl FromStr for ServiceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help =
            |_| "write the origin of the service, such as https://api.example.com, without a path".into();
        text.parse().map(Self).map_err(help)
    }
}

pub(super) struct Switch(pub(super) bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" | "on" | "yes" => Ok(Self(true)),
            "false" | "0" | "off" | "no" => Ok(Self(false)),
            _ => Err("write true or false, on or off".into()),
        }
    }
}

pub(super) struct Threads(pub(super) usize);

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number @ 1..=256) => Ok(Self(number)),
            _ => Err("write a number from 1 to 256, or leave it away for one per core".into()),
        }
    }
}

/// A whole number from 0.
pub(super) struct Count(pub(super) u32);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "write a whole number; 0 is no limit".into())
    }
}

pub(super) struct Seconds(pub(super) Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds: u32 = text.parse().map_err(|_| "write a whole number of seconds".to_owned())?;
        Ok(Self(Duration::from_secs(seconds.into())))
    }
}

pub(super) struct Millis(pub(super) Duration);

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms: u32 = text.parse().map_err(|_| "write a whole number of milliseconds".to_owned())?;
        Ok(Self(Duration::from_millis(ms.into())))
    }
}

/// A whole number from `MIN` to `MAX`.
pub(super) struct Within<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> FromStr for Within<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
        number.map(Self).ok_or_else(|| format!("write a whole number, {MIN} to {MAX}"))
    }
}

/// Addresses and ranges of addresses, separated by commas.
#[derive(Default)]
pub(super) struct Proxies(pub(super) Vec<IpNet>);

impl FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = |item: &str| {
            item.parse::<IpNet>().or_else(|_| item.parse::<std::net::IpAddr>().map(IpNet::from)).map_err(
                |_| "write addresses or ranges, separated by commas: 10.0.0.0/8, 127.0.0.1".to_owned(),
            )
        };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(range).collect::<Result<_, _>>().map(Self)
    }
}

/// Host names, separated by commas.
#[derive(Default)]
pub(super) struct Hosts(pub(super) Vec<String>);

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = |item: &str| match is_authority(item) {
            true => Ok(item.to_lowercase()),
            false => Err("write host names, separated by commas, such as voice.example.com".to_owned()),
        };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(host).collect::<Result<_, _>>().map(Self)
    }
}

/// A URL that a carrier can be sent on to.
pub(super) struct Redirect(pub(super) String);

impl FromStr for Redirect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let authority = rest.and_then(|rest| rest.split(['/', '?']).next());
        match authority {
            Some(authority) if is_authority(authority) && !text.contains(char::is_whitespace) => {
                Ok(Self(text.into()))
            }
            _ => {
                Err("write the URL of another voice webhook, such as https://backup.example.com/voice".into())
            }
        }
    }
}

impl FromStr for Environment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err("write development or production".into()),
        }
    }
}

impl FromStr for MediaAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "announced" => Ok(Self::Announced),
            "open" => Ok(Self::Open),
            _ => Err("write announced, or open for direct test clients on this machine".into()),
        }
    }
}

impl FromStr for Speech {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "keypad" => Ok(Self::Keypad),
            "canned" => Ok(Self::Canned),
            _ => Err("write local, keypad or canned".into()),
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err("write error, warn, info, debug or trace".into()),
        }
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || "write the origin that carriers see, such as https://voice.example.com".to_owned();
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(help()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if !is_authority(authority) {
            return Err(help());
        }
        Ok(Self { tls, authority: authority.to_lowercase() })
    }
}

/// True if `text` is a host with or without a port, and so can be put into a URL as it is.
pub fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host_fits = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
        }
    };
    host_fits && port.is_none_or(|port| port.parse::<u16>().is_ok())
}
