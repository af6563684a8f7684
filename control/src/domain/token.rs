//! Tokens that say who somebody is: JSON Web Tokens of one system, signed by HS256 (RFC 7519, RFC 7518 section 3.2).
//!
//! Each system signs with a key of its own, which HKDF (RFC 5869) makes of one secret and the system's name. So a token of
//! one system is refused by another twice over: its signature is wrong there, and so is its `aud`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};

use super::keys::random_hex;
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
    /// Names the token, where one can be given back before its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    jti: Option<String>,
}

/// What a token says that can be given back before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose it is: a user's id.
    pub user: String,
    /// The token's own name.
    pub id: String,
    /// When it ends by itself.
    pub expires: UnixMs,
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
        self.signed(user, TOKEN_LIFE_S, None, now)
    }

    /// A token for the user of this id that has a name of its own, good for `life_s` seconds.
    pub fn sign_session(&self, user: &str, life_s: i64, now: UnixMs) -> String {
        self.signed(user, life_s, Some(random_hex(16)), now)
    }

    /// The user of a token, if it is one of this system, unexpired and signed by us.
    pub fn verify(&self, token: &str, now: UnixMs) -> Option<String> {
        self.claims(token, now).map(|claims| claims.sub)
    }

    /// As [`Signer::verify`], of a token that [`Signer::sign_session`] made. Whether it was given back, the store knows.
    pub fn session(&self, token: &str, now: UnixMs) -> Option<Session> {
        let Claims { sub, exp, jti, .. } = self.claims(token, now)?;
        Some(Session { user: sub, id: jti?, expires: UnixMs(exp.saturating_mul(1_000)) })
    }

    fn signed(&self, user: &str, life_s: i64, jti: Option<String>, now: UnixMs) -> String {
        let iat = now.0.div_euclid(1_000);
        let exp = iat + life_s;
        let claims = Claims { iss: ISSUER.into(), aud: self.system.into(), sub: user.into(), iat, exp, jti };
        let head = encoded(&Header { alg: "HS256".into(), typ: "JWT".into() });
        let signed = format!("{head}.{}", encoded(&claims));
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn claims(&self, token: &str, now: UnixMs) -> Option<Claims> {
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
        fits.then_some(claims)
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
    fn a_session_has_a_name_of_its_own_and_a_life_of_its_own() {
        let token = signer().sign_session("user-1", 7, NOW);
        let session = signer().session(&token, NOW).unwrap();
        assert_eq!((session.user.as_str(), session.expires), ("user-1", UnixMs(NOW.0 + 7_000)));
        assert_ne!(signer().session(&signer().sign_session("user-1", 7, NOW), NOW).unwrap().id, session.id);
        assert_eq!(signer().session(&token, UnixMs(NOW.0 + 7_000)), None);
        assert_eq!(signer().session(&signer().sign("user-1", NOW), NOW), None, "it cannot be given back");
        let other = Signer::new(b"a secret of some length", "dashboard");
        assert_eq!(other.session(&token, NOW), None);
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
            jti: None,
        };
        let signed =
            format!("{}.{}", encoded(&Header { alg: "HS256".into(), typ: "JWT".into() }), encoded(&claims));
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&signer.key, signed.as_bytes()));
        assert_eq!(signer.verify(&format!("{signed}.{tag}"), NOW), None);
    }
}
