//! A service account: its key signs who asks for what. Cloud's services take that for a token as it is, and nobody has to be
//! asked for one; others want a token that is given for it.
//!
//! <https://google.aip.dev/auth/4111>, <https://google.aip.dev/auth/4112>; by google-auth 2.62, read 2026-11.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::HeaderValue;
use offhook_engine::call::Failure;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use serde_json::{Value, json};

use super::super::refusal::sensitive;
use super::super::vendor::VendorError;

/// How long a token is good: as long as it may be, in s.
const LIFE_S: u64 = 3_600;
/// How long before its end it is made anew, in s: clocks differ, and requests take time.
const EARLY_S: u64 = 300;

/// Whom a claim for a token is addressed to, wherever it is posted.
const TOKEN_AUDIENCE: &str = "https://oauth2.googleapis.com/token";

/// An account that programs use. Clones share its tokens.
#[derive(Clone)]
pub struct ServiceAccount(Arc<Account>);

struct Account {
    email: String,
    key_id: String,
    key: Arc<dyn SigningKey>,
    /// The latest token: for whom, until when, and what.
    token: Mutex<Option<(String, u64, HeaderValue)>>,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAccount({})", self.0.email)
    }
}

impl ServiceAccount {
    /// Reads the JSON of a key, as Google's console gives it. An error says what is wrong with it, and nothing of the key.
    pub fn from_json(json: &str) -> Result<Self, String> {
        let file: Value =
            serde_json::from_str(json).map_err(|_| "the key of the service account is no JSON")?;
        let field = |name: &str| {
            let missing = || format!("the key of the service account has no {name}");
            file[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(missing)
        };
        let (email, pem) = (field("client_email")?, field("private_key")?);
        let unreadable = |_| "the private_key of the service account is no RSA key in PEM".to_owned();
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unreadable(()))?;
        let key = any_supported_type(&der).map_err(|_| unreadable(()))?;
        if key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).is_none() {
            return Err(unreadable(()));
        }
        let key_id = field("private_key_id").unwrap_or_default();
        Ok(Self(Arc::new(Account { email, key_id, key, token: Mutex::default() })))
    }

    /// Its e-mail address, with which calendars are shared.
    pub fn email(&self) -> &str {
        &self.0.email
    }

    /// A signed claim to a token for these scopes, which have spaces between them.
    pub(super) fn assertion(&self, scopes: &str) -> Result<String, VendorError> {
        let now_s = now_s();
        self.0.sign(&json!({
            "iss": self.0.email, "scope": scopes, "aud": TOKEN_AUDIENCE, "iat": now_s, "exp": now_s + LIFE_S,
        }))
    }

    /// What stands in the header `authorization` of a request to `audience`.
    pub(super) fn bearer(&self, audience: &str) -> Result<HeaderValue, VendorError> {
        self.bearer_at(audience, now_s())
    }

    fn bearer_at(&self, audience: &str, now_s: u64) -> Result<HeaderValue, VendorError> {
        let mut token = self.0.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, until, value)) = &*token
            && of == audience
            && now_s + EARLY_S < *until
        {
            return Ok(value.clone());
        }
        let until = now_s + LIFE_S;
        let email = &self.0.email;
        let claims = json!({"iss": email, "sub": email, "aud": audience, "iat": now_s, "exp": until});
        let value = sensitive(&format!("Bearer {}", self.0.sign(&claims)?)).map_err(unusable)?;
        *token = Some((audience.to_owned(), until, value.clone()));
        Ok(value)
    }
}

impl Account {
    /// A JSON Web Token, signed by RS256 (RFC 7515, RFC 7518, section 3.3).
    fn sign(&self, claims: &Value) -> Result<String, VendorError> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(&json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id}));
        let signed = format!("{header}.{}", part(claims));
        let signer = self.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let signature = signer.map(|signer| signer.sign(signed.as_bytes()));
        match signature {
            Some(Ok(signature)) => Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))),
            _ => Err(unusable("the key of the service account signs nothing".into())),
        }
    }
}

/// By the machine's clock, since 1970.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn unusable(detail: String) -> VendorError {
    VendorError::new(Failure::Unauthorised, detail)
}

#[cfg(test)]
pub(super) mod tests {
    use rustls::pki_types::SubjectPublicKeyInfoDer;

    use super::*;

    /// Made for these tests (`openssl genpkey -algorithm RSA`); it opens nothing.
    const PEM: &str = include_str!("test_key.pem");

    pub(in super::super) fn json(email: &str) -> String {
        json!({"type": "service_account", "client_email": email, "private_key_id": "k1", "private_key": PEM})
            .to_string()
    }

    #[test]
    fn a_token_is_signed_by_the_accounts_key_and_says_who_asks_whom() {
        let account = ServiceAccount::from_json(&json("a@b.example")).unwrap();
        let bearer = account.bearer_at("https://service.example/", 1_000).unwrap();
        assert!(bearer.is_sensitive());
        let token = bearer.to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let part = |at: usize| -> Value {
            let part = signed.split('.').nth(at).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(part(0), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        let wanted = json!({
            "iss": "a@b.example", "sub": "a@b.example", "aud": "https://service.example/", "iat": 1_000, "exp": 4_600
        });
        assert_eq!(part(1), wanted);
        let public: SubjectPublicKeyInfoDer<'_> = account.0.key.public_key().unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let algorithms = provider.signature_verification_algorithms.mapping;
        let by =
            algorithms.iter().find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256).unwrap().1;
        assert!(
            by.iter()
                .any(|by| { by.verify_signature(key_of(&public), signed.as_bytes(), &signature).is_ok() })
        );
    }

    /// The key in its DER, which stands behind 24 bytes that say what it is.
    fn key_of<'a>(info: &'a SubjectPublicKeyInfoDer<'_>) -> &'a [u8] {
        &info.as_ref()[24..]
    }

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        let account = ServiceAccount::from_json(&json("a@b.example")).unwrap();
        let at = |audience: &str, now_s| account.bearer_at(audience, now_s).unwrap();
        let first = at("a", 1_000);
        assert_eq!(at("a", 1_000 + 3_299), first);
        assert_ne!(at("a", 1_000 + 3_300), first);
        assert_ne!(at("b", 1_000), first, "each service has its own");
    }

    #[test]
    fn a_key_that_is_none_is_told_without_showing_it() {
        let broken = json("a@b.example").replace("BEGIN PRIVATE", "BEGIN PRIVY");
        for json in ["", "{}", &json(""), &broken] {
            let error = ServiceAccount::from_json(json).unwrap_err();
            assert!(error.contains("service account") && !error.contains("MII"), "{error}");
        }
        let account = ServiceAccount::from_json(&json("a@b.example")).unwrap();
        assert_eq!(format!("{account:?}"), "ServiceAccount(a@b.example)");
    }
}
