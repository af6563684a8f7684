//! A call comes in: the carrier asks what to do, and is told to stream the call here.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;

use super::{Seen, check_webhook};
use crate::domain::calls::Incoming;
use crate::domain::time::UnixMs;
use crate::server::App;
use crate::systems::error::ApiError;
use crate::systems::form::Form;

pub(super) async fn handle(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let seen = Seen::of(&app, request.headers(), request.uri())?;
    let headers = request.headers().clone();
    let is_post = request.method() == axum::http::Method::POST;
    let path = request.uri().path().to_owned();
    let form = Form::read(request).await?;
    // The fields of a GET are in its URL, and signed with it.
    check_webhook(&app, &headers, &seen, if is_post { form.fields() } else { &[] })?;
    let incoming = Incoming {
        carrier_call_id: form.require("CallSid")?.to_owned(),
        from: short(form.get("From")),
        to: short(form.get("To")),
        direction: short(form.get("Direction")),
    };
    let carrier_call_id = incoming.carrier_call_id.clone();
    let announced = app.calls.announce(incoming, Instant::now(), UnixMs::now()).await;
    let (call, token) = announced.map_err(|error| {
        tracing::error!(%error, carrier_call_id, "a call was turned away");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    })?;
    tracing::info!(call_id = %call, carrier_call_id, "call announced");
    let scheme = if seen.socket_is_tls() { "wss" } else { "ws" };
    let base = path.strip_suffix("incoming-call").unwrap_or("/api/callbot/");
    let url = format!("{scheme}://{}{base}audio-stream", seen.authority);
    Ok(([(header::CONTENT_TYPE, "application/xml")], twiml(&url, &token)).into_response())
}

/// What the carrier is told: connect the call to this socket, and say this token there.
fn twiml(url: &str, token: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Response>
    <Connect>
        <Stream url="{}">
            <Parameter name="token" value="{}" />
        </Stream>
    </Connect>
</Response>
"#,
        escaped(url),
        escaped(token)
    )
}

/// As it may stand between the quotes of an XML attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // XML 1.0 has no other control characters, not even written as numbers.
            '\t' | '\n' | '\r' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "&#{};", character as u32);
            }
            character if character.is_control() => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}

/// A number or a word as a carrier writes it, cut to what a record takes.
fn short(text: Option<&str>) -> String {
    text.unwrap_or("").trim().chars().filter(|c| !c.is_control()).take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_carrier_is_told_what_the_contract_shows_and_a_token() {
        assert_eq!(
            twiml("wss://your-domain.com/api/callbot/audio-stream", "t"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>\n    <Connect>\n        \
             <Stream url=\"wss://your-domain.com/api/callbot/audio-stream\">\n            \
             <Parameter name=\"token\" value=\"t\" />\n        </Stream>\n    </Connect>\n</Response>\n"
        );
    }

    #[test]
    fn nothing_gets_out_of_an_attribute() {
        assert_eq!(escaped("a\"b'c<d>e&f"), "a&quot;b&apos;c&lt;d&gt;e&amp;f");
        assert_eq!(escaped("a\u{1}b\nc"), "a\u{fffd}b&#10;c");
        assert_eq!(escaped("Zoë"), "Zoë");
    }
}
