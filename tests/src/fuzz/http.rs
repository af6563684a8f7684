//! Bodies of requests, and of answers to ours.

use offhook::caller::twiml::{self, Answer};
use offhook::systems::callbot::{read_simulation, signature};
use offhook::systems::form::Form;
use offhook::systems::json::Fields;

/// A carrier's webhook: what was read encodes to the same fields, and a signature over them is known again.
pub(super) fn form(bytes: &[u8]) {
    let form = match Form::parse(bytes) {
        Ok(form) => form,
        Err(error) => return assert_eq!(error.status, 400),
    };
    let encoded: String =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(form.fields()).finish();
    let again = Form::parse(encoded.as_bytes()).expect("what was read can be written");
    assert_eq!(again, form);
    for (name, _) in form.fields() {
        if let Ok(value) = form.require(name) {
            assert!(!value.is_empty() && value.len() <= 256 && !value.chars().any(char::is_control));
        }
        let _ = form.number(name);
    }
    let url = "https://voice.example.com/api/callbot/incoming-call".to_owned();
    let signed = signature::sign("key", &url, form.fields());
    assert!(signature::is_valid("key", &signed, std::slice::from_ref(&url), form.fields()));
    assert!(!signature::is_valid("other", &signed, &[url], form.fields()));
}

/// The body of a request for simulated calls: what is accepted stands within the documented bounds.
pub(super) fn json(bytes: &[u8]) {
    let fields = match Fields::parse(bytes) {
        Ok(fields) => fields,
        Err(error) => return assert_eq!(error.status, 400),
    };
    match read_simulation(&fields) {
        Ok(new) => {
            assert!((1..=1_000).contains(&new.calls) && (1..=3_600).contains(&new.duration_s));
            assert!(new.scenario.chars().count() <= 256 && new.callers.len() <= 1_000);
        }
        Err(error) => assert_eq!(error.status, 400),
    }
}

/// A server's answer to a simulated carrier.
pub(super) fn twiml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(Answer::Stream { url, parameters }) = twiml::read(text) {
        let size = url.len() + parameters.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        // Nothing in XML's own five names is longer than what it stands for.
        assert!(size <= text.len(), "{size} bytes out of {}", text.len());
    }
}
