//! Tokens that say who somebody is: JSON Web Tokens of one system, signed by HS256 (RFC 7519, RFC 7518 section 3.2).
//!
//! Each system signs with a key of its own, which HKDF (RFC 5869) makes of one secret and the system's name. So a token of
//! one system is refused by another twice over: its signature is wrong there, and so is its `aud`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};

use super::time::UnixMs;

/// How long a token is good, in s.
pub const TOKEN_LIFE_S: i64 = 3_600;

/// How far ahead of ours the clock may be that a token was made by, in s.
const SKEW_S: i64 = 60;

/// The longest token that is looked at, in bytes: ours have some 250.
const TOKEN_BYTES_MAX: usize = 2_048;

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    exp: i64,
}

/// Who makes the tokens.
const ISSUER: &str = "offhook";

/// Signs and checks the tokens of one system.
pub struct Signer {
    key: hmac::Key,
    system: &'static str,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.system)
    }
}

impl Signer {
    /// A signer with the key that `secret` has for `system`.
    pub fn new(secret: &[u8], system: &'static str) -> Self {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"offhook tokens").extract(secret);
        let info = [system.as_bytes()];
        let key =
            extracted.expand(&info, hmac::HMAC_SHA256).expect("a key of SHA-256 is within what HKDF gives");
        Self { key: key.into(), system }
    }

    /// A token for the user of this id, good for [`TOKEN_LIFE_S`].
    pub fn sign(&self, user: &str, now: UnixMs) -> String {
        let iat = now.0.div_euclid(1_000);
        let claims = Claims {
            iss: ISSUER.into(),
            aud: self.system.into(),
            sub: user.into(),
            iat,
            exp: iat + TOKEN_LIFE_S,
        };
        let head = encoded(&Header { alg: "HS256".into(), typ: "JWT".into() });
        let signed = format!("{head}.{}", encoded(&claims));
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The user of a token, if it is one of this system, unexpired and signed by us.
    pub fn verify(&self, token: &str, now: UnixMs) -> Option<String> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, tag) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        // The signature first: nothing of an unsigned text is looked into.
        hmac::verify(&self.key, signed.as_bytes(), &tag).ok()?;
        let head: Header = decoded(head)?;
        let claims: Claims = decoded(claims)?;
        let now_s = now.0.div_euclid(1_000);
        let fits = head.alg == "HS256"
            && claims.iss == ISSUER
            && claims.aud == self.system
            && claims.exp > now_s
            && claims.iat <= now_s + SKEW_S;
        fits.then_some(claims.sub)
    }
}

fn encoded(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("plain texts and numbers are JSON"))
}

fn decoded<T: for<'a> Deserialize<'a>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_770_000_000_000);

    fn signer() -> Signer {
        Signer::new(b"a secret of some length", "frontdesk")
    }

    #[test]
    fn a_token_says_who_for_an_hour() {
        let token = signer().sign("user-1", NOW);
        assert_eq!(signer().verify(&token, NOW).as_deref(), Some("user-1"));
        assert_eq!(signer().verify(&token, UnixMs(NOW.0 + 3_599_000)).as_deref(), Some("user-1"));
        assert_eq!(signer().verify(&token, UnixMs(NOW.0 + 3_600_000)), None);
        assert_eq!(signer().verify(&token, UnixMs(NOW.0 - 61_000)), None, "not yet made");
    }

    #[test]
    fn other_secrets_systems_and_forgeries_are_refused() {
        let token = signer().sign("user-1", NOW);
        assert_eq!(Signer::new(b"another secret", "frontdesk").verify(&token, NOW), None);
        assert_eq!(Signer::new(b"a secret of some length", "dashboard").verify(&token, NOW), None);
        let parts: Vec<&str> = token.split('.').collect();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let other = URL_SAFE_NO_PAD.encode(
            r#"{"iss":"offhook","aud":"frontdesk","sub":"user-2","iat":1770000000,"exp":9999999999}"#,
        );
        for forged in [
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{other}.{}", parts[0], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{token}."),
            format!("{token}x"),
            String::new(),
            "..".into(),
            "x".repeat(3_000),
        ] {
            assert_eq!(signer().verify(&forged, NOW), None, "{forged}");
        }
    }

    #[test]
    fn a_system_cannot_pass_for_another_with_a_key_of_its_own() {
        // Signed with frontdesk's key, and meant for another.
        let signer = signer();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: "dashboard".into(),
            sub: "user-1".into(),
            iat: NOW.0 / 1_000,
            exp: NOW.0 / 1_000 + 60,
        };
        let signed =
            format!("{}.{}", encoded(&Header { alg: "HS256".into(), typ: "JWT".into() }), encoded(&claims));
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&signer.key, signed.as_bytes()));
        assert_eq!(signer.verify(&format!("{signed}.{tag}"), NOW), None);
    }
}
