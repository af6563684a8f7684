//! Twilio's request signature: an HMAC over the URL that Twilio asked for and the fields that it sent.
//!
//! The URL that Twilio signed is the one configured on its side, which a server behind a proxy never sees: it is put
//! together from the public URL (or the `Host` and forwarded headers) and the raw path and query. Twilio's own back ends
//! disagree on whether a default port is part of it, so both forms count; for sockets a slash at the end may be there or
//! not. Nothing else is varied.
//!
//! [Twilio, "Security"](https://www.twilio.com/docs/usage/security); the variants are those of Twilio's Python and Node
//! packages (9.13.0, 6.2.0).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::{Choice, ConstantTimeEq};

/// True if `signature` is the one of any of the `urls`, with these fields.
///
/// Takes as long for a wrong signature as for a right one.
pub fn is_valid(key: &str, signature: &str, urls: &[String], fields: &[(String, String)]) -> bool {
    let mut valid = Choice::from(0);
    for url in urls {
        valid |= sign(key, url, fields).as_bytes().ct_eq(signature.as_bytes());
    }
    valid.into()
}

/// The signature of one URL, in base64.
pub fn sign(key: &str, url: &str, fields: &[(String, String)]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(url.as_bytes());
    let mut sorted: Vec<&(String, String)> = fields.iter().collect();
    sorted.sort();
    // A value that was sent twice counts once.
    sorted.dedup();
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// What a request's URL may have been on Twilio's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenUrl<'a> {
    /// True for https and wss; none if it cannot be told: then both are tried.
    pub tls: Option<bool>,
    /// Host, with the port if it was given.
    pub authority: &'a str,
    /// Path and query, as they came in.
    pub path_and_query: &'a str,
}

impl SeenUrl<'_> {
    /// The URLs that a webhook's signature may be over.
    pub fn of_webhook(&self) -> Vec<String> {
        self.urls(["http", "https"], false)
    }

    /// The URLs that a socket's signature may be over.
    pub fn of_socket(&self) -> Vec<String> {
        self.urls(["ws", "wss"], true)
    }

    fn urls(&self, schemes: [&str; 2], toggle_slash: bool) -> Vec<String> {
        let mut paths = vec![self.path_and_query.to_owned()];
        if toggle_slash {
            let (path, query) = match self.path_and_query.split_once('?') {
                Some((path, query)) => (path, format!("?{query}")),
                None => (self.path_and_query, String::new()),
            };
            paths.push(match path.strip_suffix('/') {
                Some(bare) => format!("{bare}{query}"),
                None => format!("{path}/{query}"),
            });
        }
        let mut urls = Vec::new();
        for tls in [true, false].into_iter().filter(|tls| self.tls.is_none_or(|known| known == *tls)) {
            let port = if tls { ":443" } else { ":80" };
            let bare = self.authority.strip_suffix(port).unwrap_or(self.authority);
            let has_port = bare.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
            let mut authorities = vec![bare.to_owned()];
            if has_port {
                // Twilio may leave a port away that is part of the URL as configured.
                authorities.extend(bare.rsplit_once(':').map(|(host, _)| host.to_owned()));
            } else {
                authorities.push(format!("{bare}{port}"));
            }
            let scheme = schemes[usize::from(tls)];
            for authority in &authorities {
                urls.extend(paths.iter().map(|path| format!("{scheme}://{authority}{path}")));
            }
        }
        urls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "offhook_test_auth_token_0123456789";
    const VOICE: &str = "https://voice.example.com/twilio/voice";

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn call_fields() -> Vec<(String, String)> {
        fields(&[
            ("AccountSid", "AC00000000000000000000000000000001"),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", "CA00000000000000000000000000000002"),
            ("CallStatus", "ringing"),
            ("Called", "+15005550006"),
            ("Caller", "+15005550009"),
            ("Direction", "inbound"),
            ("From", "+15005550009"),
            ("To", "+15005550006"),
        ])
    }

    /// Made with Twilio's Python package, 9.13.0; the first is the one in Twilio's documentation.
    #[test]
    fn signatures_are_those_of_twilios_own_package() {
        let documented = fields(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
        ]);
        assert_eq!(
            sign("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", &documented),
            "RSOYDt4T1cUTdK1PDd93/VVr8B8="
        );
        let twice = [
            ("Sid", "CA"),
            ("SidAccount", "AC"),
            ("Digits", "5"),
            ("Digits", "6"),
            ("Digits", "5"),
            ("MatchMethod", "b"),
            ("MatchMethod", "a"),
        ];
        let json_url = "https://voice.example.com/twilio/json?bodySHA256=\
                        f15bfc93d70801047473922f67fed863ecc7f82f0677ebb7122923aee81e0f97";
        for (url, fields, signature) in [
            (VOICE, call_fields(), "nU/IjNOLM1tQ0lzMYuN0JkTmTZc="),
            ("https://voice.example.com:443/twilio/voice", call_fields(), "mWq4GU4ogvUsRkiHE9EmT9jN/yE="),
            ("https://voice.example.com/twilio/voice?x=1&y=%20z", vec![], "eru7dyQ3Wn651qMgdFRrBhdA9Tk="),
            (json_url, vec![], "GeF39eT8qUMu8/tQ57ZXGX+DHgQ="),
            ("wss://voice.example.com/twilio/media", vec![], "IAEr/V3YOGJIqfTmieG8+84urGY="),
            ("wss://voice.example.com/twilio/media/", vec![], "Csj1SMyY4Dxtwks+w06VFie+leM="),
            ("wss://voice.example.com:443/twilio/media", vec![], "rrPReKcTLb40M9N6+QF5hLe5Hvk="),
            ("wss://voice.example.com:80/twilio/media", vec![], "/NOyuItH/yPxxM/yYlWHZJFT5RY="),
            ("https://voice.example.com/twilio/media", vec![], "rW9p3KNqrvKgM1WH5rTYFHt8wqE="),
            (
                "wss://voice.example.com/relay",
                fields(&[("a", "1"), ("token", "abc")]),
                "+RLz1Mfdv3Fqsjtu3vOXqhioZ5M=",
            ),
            (VOICE, fields(&twice), "MES1kbhRiLqD965bws6yGW3gYX0="),
            (VOICE, fields(&[("A", ""), ("B", "x")]), "s/Q9ZVuqzYd8Q/jta46qs26pEzo="),
            (VOICE, fields(&[("CallerName", "Zoë")]), "m+ilr8UWdQrO6TDypxCzKuykxfw="),
        ] {
            assert_eq!(sign(KEY, url, &fields), signature, "{url}");
        }
    }

    fn seen<'a>(authority: &'a str, path_and_query: &'a str) -> SeenUrl<'a> {
        SeenUrl { tls: Some(true), authority, path_and_query }
    }

    #[test]
    fn a_webhook_counts_with_and_without_the_default_port() {
        let urls = seen("voice.example.com", "/twilio/voice").of_webhook();
        for signature in ["nU/IjNOLM1tQ0lzMYuN0JkTmTZc=", "mWq4GU4ogvUsRkiHE9EmT9jN/yE="] {
            assert!(is_valid(KEY, signature, &urls, &call_fields()));
        }
        // The same call with SHA-256, which nobody agreed on with us.
        let other_hash = "IVahaezhHMAsmBB9jmU/uiZgy2yBySYMwfrcQylC7cA=";
        assert!(!is_valid(KEY, other_hash, &urls, &call_fields()));
        assert!(!is_valid("another key", "nU/IjNOLM1tQ0lzMYuN0JkTmTZc=", &urls, &call_fields()));
        assert!(!is_valid(KEY, "", &urls, &call_fields()));
    }

    #[test]
    fn a_socket_counts_with_and_without_port_and_slash_but_only_as_wss() {
        let urls = seen("voice.example.com", "/twilio/media").of_socket();
        for signature in
            ["IAEr/V3YOGJIqfTmieG8+84urGY=", "Csj1SMyY4Dxtwks+w06VFie+leM=", "rrPReKcTLb40M9N6+QF5hLe5Hvk="]
        {
            assert!(is_valid(KEY, signature, &urls, &[]), "{signature}");
        }
        for signature in ["rW9p3KNqrvKgM1WH5rTYFHt8wqE=", "/NOyuItH/yPxxM/yYlWHZJFT5RY="] {
            assert!(!is_valid(KEY, signature, &urls, &[]), "{signature}");
        }
        let with_slash = seen("voice.example.com", "/twilio/media/").of_socket();
        assert!(is_valid(KEY, "IAEr/V3YOGJIqfTmieG8+84urGY=", &with_slash, &[]));
    }

    #[test]
    fn a_port_of_its_own_counts_as_written_and_left_away() {
        assert_eq!(
            seen("voice.example.com:8443", "/a").of_webhook(),
            ["https://voice.example.com:8443/a", "https://voice.example.com/a"]
        );
        assert_eq!(seen("[::1]", "/a?b").of_webhook(), ["https://[::1]/a?b", "https://[::1]:443/a?b"]);
    }

    #[test]
    fn without_knowing_the_scheme_both_are_tried() {
        let urls = SeenUrl { tls: None, authority: "h", path_and_query: "/" }.of_webhook();
        assert_eq!(urls, ["https://h/", "https://h:443/", "http://h/", "http://h:80/"]);
    }
}
