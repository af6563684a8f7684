//! A call as a CRM's users read it.

use ring::digest::{SHA256, digest};
use uuid::{Builder, Uuid};

use crate::domain::account_calls::EndedCall;
use crate::domain::phone::E164;
use crate::integrations::crm::LoggedCall;

/// The texts of a call, which a [`LoggedCall`] borrows.
#[derive(Debug)]
pub(super) struct Texts {
    subject: String,
    text: String,
    recording_url: Option<String>,
    is_inbound: bool,
    key: Uuid,
}

impl Texts {
    /// `base`: the dashboard's, for links; none if it cannot be reached from outside. `connection`: the same call is another
    /// record in another place.
    pub(super) fn of(call: &EndedCall, number: &E164, base: Option<&str>, connection: &str) -> Self {
        let is_inbound = call.details.get("direction").is_none_or(|direction| {
            !direction.as_str().is_some_and(|direction| direction.starts_with("outbound"))
        });
        let way = if is_inbound { "from" } else { "to" };
        let who = match call.customer_name.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name} ({number})"),
            None => number.to_string(),
        };
        let recording_url = match (&call.recording, base) {
            (Some(recording), Some(base)) => Some(recording.url(base)),
            (Some(crate::domain::account_calls::Recording::Url(url)), None) => Some(url.clone()),
            _ => None,
        };
        Self {
            subject: format!("Call {way} {who}"),
            text: text(call, recording_url.as_deref()),
            recording_url,
            is_inbound,
            key: key("call", connection, &call.id),
        }
    }

    pub(super) fn logged<'a>(&'a self, call: &EndedCall, number: &'a E164) -> LoggedCall<'a> {
        LoggedCall {
            key: self.key,
            subject: &self.subject,
            text: &self.text,
            number,
            is_inbound: self.is_inbound,
            started: call.started,
            ended: call.ended,
            duration_s: call.duration_s.into(),
            recording_url: self.recording_url.as_deref(),
        }
    }
}

/// What a record is called that this server makes: the same each time it is made for the same.
pub(super) fn key(what: &str, connection: &str, about: &str) -> Uuid {
    let hash = digest(&SHA256, format!("offhook {what} {connection} {about}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

fn text(call: &EndedCall, recording_url: Option<&str>) -> String {
    let mut lines = Vec::new();
    if let Some(summary) = call.summary.as_deref().filter(|summary| !summary.is_empty()) {
        lines.extend([summary.to_owned(), String::new()]);
    }
    lines.push(format!("Answered by: {}", call.assistant_name));
    lines.push(format!("Duration: {} s", call.duration_s));
    lines.push(format!("Ended: {}", call.ended_reason));
    for (name, value) in &call.structured_outputs {
        match value.as_str() {
            Some(text) => lines.push(format!("{name}: {text}")),
            None => lines.push(format!("{name}: {value}")),
        }
    }
    if let Some(url) = recording_url {
        lines.push(format!("Recording: {url}"));
    }
    lines.push(format!("Call: {}", call.name));
    if !call.transcript.is_empty() {
        lines.push(String::new());
        for said in &call.transcript {
            let part = |name: &str| said[name].as_str().unwrap_or_default();
            lines.push(format!("{}: {}", part("role"), part("message")));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::domain::account_calls::Recording;
    use crate::domain::time::UnixMs;

    fn call() -> EndedCall {
        EndedCall {
            id: "0198".into(),
            name: "0198".into(),
            owner: "u".into(),
            customer_phone: Some("+15005550009".into()),
            customer_name: None,
            assistant_name: "Acme".into(),
            started: UnixMs(1_000),
            ended: UnixMs(6_900),
            duration_s: 5,
            ended_reason: "customer-ended-call".into(),
            summary: None,
            details: Map::new(),
            structured_outputs: Map::from_iter([("size".to_owned(), json!("5"))]),
            transcript: vec![json!({ "role": "assistant", "message": "Acme.", "time": 0.5 })],
            recording: Some(Recording::Path("/v1/calls/0198/recording".into())),
        }
    }

    #[test]
    fn a_call_says_who_what_and_how_long() {
        let number = E164::parse("+15005550009").unwrap();
        let mut call = call();
        let texts = Texts::of(&call, &number, Some("https://x.example/dashboard"), "c");
        let logged = texts.logged(&call, &number);
        assert_eq!(logged.subject, "Call from +15005550009");
        for line in [
            "Answered by: Acme",
            "Duration: 5 s",
            "size: 5",
            "Recording: https://x.example/dashboard/v1/calls/0198/recording",
            "assistant: Acme.",
        ] {
            assert!(logged.text.lines().any(|given| given == line), "{line}: {}", logged.text);
        }
        assert!(logged.is_inbound);
        call.details.insert("direction".into(), json!("outbound-api"));
        call.customer_name = Some("Pat Example".into());
        call.summary = Some("They want five.".into());
        let texts = Texts::of(&call, &number, None, "c");
        let outbound = texts.logged(&call, &number);
        assert_eq!(outbound.subject, "Call to Pat Example (+15005550009)");
        assert!(outbound.text.starts_with("They want five.\n"), "{}", outbound.text);
        assert!(!outbound.is_inbound && outbound.recording_url.is_none());
        assert_eq!(outbound.key, logged.key, "by what it is known again");
    }

    #[test]
    fn what_is_made_has_a_name_of_its_own() {
        assert_eq!(key("call", "a", "1"), key("call", "a", "1"));
        assert_ne!(key("call", "a", "1"), key("lead", "a", "1"));
        assert_ne!(key("call", "a", "1"), key("call", "b", "1"));
    }
}
