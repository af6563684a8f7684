//! Who sent a webhook: HMAC-SHA256 over its raw body.
//!
//! Of 3CX's there is no word of 3CX's own, which sends none: it is what relays do, lower-case hex, perhaps with `sha256=` before
//! it. ElevenLabs signs a time along with the body, and so does this.
//!
//! <https://elevenlabs.io/docs/agents-platform/workflows/post-call-webhooks>, read 2026-11.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::hex;

/// How old a signature of ElevenLabs' may be, in seconds.
const AGE_MAX_S: i64 = 30 * 60;

/// How far it may be ahead of our clock, in seconds.
const AHEAD_MAX_S: i64 = 5 * 60;

/// The lower-case hex HMAC-SHA256 of `parts`, one after the other.
pub fn hex_hmac(key: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    hex::encode(&mac.finalize().into_bytes())
}

/// True if `given` is the signature of `body`, by `key`.
pub(super) fn is_3cx(key: &str, given: &str, body: &[u8]) -> bool {
    let given = given.trim();
    same(&hex_hmac(key, &[body]), given.strip_prefix("sha256=").unwrap_or(given))
}

/// True if `given`, `t=<unix seconds>,v0=<hex>`, is the signature of `body` by `key`, and its time is near `now_s`. `bare`:
/// whether a hex HMAC of the body alone counts as well.
pub(super) fn is_elevenlabs(key: &str, given: &str, body: &[u8], now_s: i64, bare: bool) -> bool {
    if bare && is_3cx(key, given, body) {
        return true;
    }
    let mut time = None;
    let mut signatures = Vec::new();
    for word in given.split(',') {
        match word.trim().split_once('=') {
            Some(("t", text)) => time = Some(text.trim()),
            Some(("v0", hex)) => signatures.push(hex.trim()),
            _ => {}
        }
    }
    let Some(time) = time else { return false };
    let Ok(signed_s) = time.parse::<i64>() else { return false };
    let age_s = now_s.saturating_sub(signed_s);
    if !(-AHEAD_MAX_S..=AGE_MAX_S).contains(&age_s) {
        return false;
    }
    let right = hex_hmac(key, &[time.as_bytes(), b".", body]);
    let found = signatures.iter().fold(Choice::from(0), |found, given| {
        found | right.as_bytes().ct_eq(given.to_ascii_lowercase().as_bytes())
    });
    found.into()
}

fn same(right: &str, given: &str) -> bool {
    right.as_bytes().ct_eq(given.to_ascii_lowercase().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "wsec_offhook_test_0123456789abcdef";
    const BODY: &[u8] = br#"{"type":"post_call_transcription","event_timestamp":1739537297,"data":{"agent_id":"agent_1","conversation_id":"conv_1","status":"done"}}"#;
    const HEADER: &str = "t=1739537297,v0=7ec4e72ace9aa9fcb0fa2bd3478bf33ff8b81b0a92bccbe7b4ebf51c55d654a8";
    const SIGNED_S: i64 = 1_739_537_297;

    #[test]
    fn a_relays_signature_is_over_the_raw_body() {
        let (key, body) = ("offhook_3cx_secret", br#"{"event":"ringing","callid":"42"}"#);
        let hex = "20e77499b4ccf57961f020ffab8b0e82e35485657525149c08ad2176ce154326";
        assert!(is_3cx(key, hex, body) && is_3cx(key, &format!("sha256={hex}"), body));
        assert!(!is_3cx(key, hex, br#"{"event":"ringing", "callid":"42"}"#), "not over what it says");
        assert!(!is_3cx("guess", hex, body) && !is_3cx(key, "", body) && !is_3cx(key, "sha256=", body));
    }

    #[test]
    fn elevenlabs_signature_is_good_for_half_an_hour() {
        let at = |seconds: i64| is_elevenlabs(KEY, HEADER, BODY, SIGNED_S + seconds, false);
        assert!(at(0) && at(AGE_MAX_S) && at(-AHEAD_MAX_S));
        assert!(!at(AGE_MAX_S + 1) && !at(-AHEAD_MAX_S - 1));
    }

    #[test]
    fn it_is_found_by_its_names_wherever_it_stands() {
        let good = |given: &str| is_elevenlabs(KEY, given, BODY, SIGNED_S, false);
        let (time, signature) = HEADER.split_once(',').unwrap();
        assert!(good(&format!("{signature},{time}")) && good(&format!("{time}, v0=00, {signature} ,v1=x")));
        for bad in [time, signature, "", "t=,v0=", "t=soon,v0=00", &format!("t=1739537298,{signature}")] {
            assert!(!good(bad), "{bad}");
        }
    }

    #[test]
    fn a_bare_signature_counts_where_it_may() {
        let bare = hex_hmac(KEY, &[BODY]);
        assert!(is_elevenlabs(KEY, &bare, BODY, SIGNED_S, true));
        assert!(!is_elevenlabs(KEY, &bare, BODY, SIGNED_S, false));
        assert!(is_elevenlabs(KEY, HEADER, BODY, SIGNED_S, true));
    }
}
