//! The `id_token`: a JSON Web Token in which Google says who consented. It is believed only if Google's key signed it by
//! RS256, whatever else its head proposes; if it is for this client, in its time, and answers this attempt.
//!
//! OpenID Connect Core 1.0, section 3.1.3.7; RFC 7515; RFC 8725 (what goes wrong with such tokens).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::RSA_PKCS1_2048_8192_SHA256;
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::keys::Key;

/// Google names itself in either way.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
/// By so much clocks may differ, in s.
const SKEW_S: i64 = 60;
/// A token is no longer than this, in bytes.
const LENGTH_MAX: usize = 16 * 1024;

/// What is wrong with an `id_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// It has no three parts of base64url, or JSON in the first two, or lacks something in them.
    #[error("it is no token")]
    Malformed,
    /// It is signed by something else than RS256, or by nothing.
    #[error("it is not signed by RS256")]
    Algorithm,
    /// Google has no such key.
    #[error("its key is not among Google's")]
    UnknownKey,
    /// The key did not sign it.
    #[error("its signature is wrong")]
    Signature,
    /// Somebody else made it.
    #[error("it is not from Google")]
    Issuer,
    /// It is for another client.
    #[error("it is for another client")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is from the future")]
    Early,
    /// It answers another attempt, or none.
    #[error("it is not for this attempt")]
    Nonce,
}

/// A person, by Google's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who it is: the only thing that stays, unique at Google. 255 characters at most.
    pub subject: String,
    /// Their e-mail address, if Google has verified it; another one says nothing of who they are, and is not passed on.
    pub email: Option<String>,
    /// What they are called.
    pub name: Option<String>,
    /// Where their picture is.
    pub picture: Option<String>,
}

/// A token that is not yet believed.
#[derive(Debug)]
pub(super) struct Unproven<'a> {
    /// Which key it says has signed it.
    pub(super) key_id: String,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Value,
}

/// Takes a token apart. What it claims is not looked at before [`Unproven::check`].
pub(super) fn parse(token: &str) -> Result<Unproven<'_>, IdTokenError> {
    let malformed = IdTokenError::Malformed;
    if token.len() > LENGTH_MAX {
        return Err(malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
    let (head, claims) = signed.split_once('.').ok_or(malformed)?;
    let json = |part: &str| -> Option<Value> {
        let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
        value.is_object().then_some(value)
    };
    let (head, claims) = (json(head).ok_or(malformed)?, json(claims).ok_or(malformed)?);
    // Ours to choose, not the token's: `none` and a MAC with the public key are known tricks.
    if head["alg"] != "RS256" {
        return Err(IdTokenError::Algorithm);
    }
    // What is critical and not understood makes a token void (RFC 7515, section 4.1.11).
    if !head["crit"].is_null() {
        return Err(malformed);
    }
    let key_id = head["kid"].as_str().ok_or(malformed)?.to_owned();
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed)?;
    Ok(Unproven { key_id, signed, signature, claims })
}

impl Unproven<'_> {
    pub(super) fn check(
        self,
        key: &Key,
        client_id: &str,
        nonce: &str,
        now_s: i64,
    ) -> Result<Identity, IdTokenError> {
        key.verify(&RSA_PKCS1_2048_8192_SHA256, self.signed.as_bytes(), &self.signature)
            .map_err(|_| IdTokenError::Signature)?;
        let claims = &self.claims;
        let text = |name: &str| claims[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        if !claims["iss"].as_str().is_some_and(|issuer| ISSUERS.contains(&issuer)) {
            return Err(IdTokenError::Issuer);
        }
        // Google's have one addressee, and name who asked for it too.
        let is_ours = |name: &str| claims[name] == client_id;
        if !is_ours("aud") || !(claims["azp"].is_null() || is_ours("azp")) {
            return Err(IdTokenError::Audience);
        }
        let time = |name: &str| claims[name].as_i64().ok_or(IdTokenError::Malformed);
        if time("exp")?.saturating_add(SKEW_S) <= now_s {
            return Err(IdTokenError::Expired);
        }
        if time("iat")? > now_s.saturating_add(SKEW_S) {
            return Err(IdTokenError::Early);
        }
        let is_answer: bool = claims["nonce"]
            .as_str()
            .is_some_and(|given| !nonce.is_empty() && given.as_bytes().ct_eq(nonce.as_bytes()).into());
        if !is_answer {
            return Err(IdTokenError::Nonce);
        }
        let subject = text("sub").filter(|sub| sub.len() <= 255).ok_or(IdTokenError::Malformed)?;
        let email = text("email").filter(|_| claims["email_verified"] == true);
        Ok(Identity { subject, email, name: text("name"), picture: text("picture") })
    }
}
