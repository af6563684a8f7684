//! What the carrier and the operator are told when something is wrong, word for word where it is documented.

use std::path::Path;

use hyper::Method;
use offhook::caller::{INCOMING_PATH, STATUS_PATH, twiml};
use offhook::systems::callbot::signature;
use offhook_tests::server::{FORM, run};
use offhook_tests::{Answer, Server};
use serde_json::json;

/// Checks that an error has the one shape, but for its details.
fn assert_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let error = answer.json();
    assert_eq!(error["error"]["code"], code, "{error:#}");
    assert!(error["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{error:#}");
    assert!(error["error"]["details"].is_object() && error["timestamp"].is_string(), "{error:#}");
    assert_eq!(error["request_id"], answer.header("x-request-id"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_name_gets_the_documented_error() {
    let server = Server::start(&["--speech", "canned"]).await;
    let answer = server.post_form(INCOMING_PATH, "From=%2B15005550009&To=%2B15005550006").await;
    assert_error(&answer, 400, "INVALID_REQUEST");
    let mut error = answer.json();
    let object = error.as_object_mut().unwrap();
    let (timestamp, id) = (object.remove("timestamp").unwrap(), object.remove("request_id").unwrap());
    assert_eq!(
        error,
        json!({ "error": {
            "code": "INVALID_REQUEST",
            "message": "Missing required parameter: CallSid",
            "details": { "parameter": "CallSid", "expected_type": "string" },
        } })
    );
    let timestamp = timestamp.as_str().unwrap();
    assert!(
        timestamp.len() == 20 && timestamp.as_bytes()[10] == b'T' && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    assert!(id.as_str().unwrap().starts_with("req_"), "{id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_are_not_there_are_errors_of_the_same_shape() {
    let server = Server::start(&["--speech", "canned"]).await;
    assert_error(&server.get("/api/callbot/nowhere").await, 404, "NOT_FOUND");
    assert_error(&server.get("/v1/calls/CA9").await, 404, "NOT_FOUND");
    for path in ["/health", "/v1/calls", STATUS_PATH] {
        let answer = server.ask(Method::DELETE, path, &[], "").await;
        assert_error(&answer, 405, "METHOD_NOT_ALLOWED");
        assert!(answer.header("allow").contains("GET"), "{path}: {:?}", answer.headers);
    }
    let announced = server.post_form(INCOMING_PATH, "CallSid=CA1").await;
    assert_eq!(announced.status, 200, "it goes on serving");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_auth_token_only_signed_webhooks_are_let_in() {
    let variables = [("TWILIO_AUTH_TOKEN", "12345"), ("OFFHOOK_BEARER_TOKENS", "api")];
    let server = Server::start_with(&["--speech", "canned"], &variables).await;
    let form = "CallSid=CA1&From=%2B15005550009&To=%2B15005550006";
    let fields = [("CallSid", "CA1"), ("From", "+15005550009"), ("To", "+15005550006")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sign = |key: &str, path: &str| signature::sign(key, &format!("{}{path}", server.base()), &fields);
    let post = async |signature: Option<&str>| {
        let signature = signature.map(|signature| ("x-twilio-signature", signature));
        let headers: Vec<_> = [FORM].into_iter().chain(signature).collect();
        server.ask(Method::POST, INCOMING_PATH, &headers, form).await
    };
    let right = sign("12345", INCOMING_PATH);
    for wrong in [
        None,
        Some(""),
        Some("nonsense"),
        Some(&*sign("54321", INCOMING_PATH)),
        Some(&*sign("12345", STATUS_PATH)),
    ] {
        assert_error(&post(wrong).await, 403, "AUTHENTICATION_FAILED");
    }
    let bearer = ("authorization", "Bearer api");
    let unknown = server.ask(Method::GET, "/v1/calls/CA1", &[bearer], "").await;
    assert_error(&unknown, 404, "NOT_FOUND");

    let answer = post(Some(&right)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/xml"));
    let twiml::Answer::Stream { url, parameters } = twiml::read(answer.text()).unwrap() else {
        panic!("{}", answer.text())
    };
    assert_eq!(url, format!("ws://{}/api/callbot/audio-stream", server.address()));
    assert!(parameters.iter().any(|(name, token)| name == "token" && token.len() >= 16), "{parameters:?}");
    let changed =
        server.ask(Method::POST, INCOMING_PATH, &[FORM, ("x-twilio-signature", &right)], "CallSid=CA2").await;
    assert_error(&changed, 403, "AUTHENTICATION_FAILED");
    let known = server.ask(Method::GET, "/v1/calls/CA1", &[bearer], "").await;
    assert_eq!((known.status, known.json()["from"].as_str()), (200, Some("+15005550009")));
    assert_error(&server.get("/v1/calls/CA1").await, 401, "AUTHENTICATION_FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_callback_completes_a_call_that_never_had_media() {
    let server = Server::start(&["--speech", "canned"]).await;
    assert_eq!(server.post_form(INCOMING_PATH, "CallSid=CA1").await.status, 200);
    let running = server.record_when("CA1", |record| record["status"] == "announced").await;
    assert_eq!(running["end_reason"], json!(null));
    let form = "CallSid=CA1&CallStatus=completed&CallDuration=7&SequenceNumber=1";
    let answer = server.post_form(STATUS_PATH, form).await;
    assert_eq!((answer.status, answer.text()), (200, ""));
    let record = server.record("CA1").await;
    assert_eq!((&record["status"], &record["end_reason"]), (&json!("completed"), &json!("no-media")));
    assert_eq!(
        (&record["carrier_status"], &record["carrier_duration_seconds"]),
        (&json!("completed"), &json!(7))
    );
    let late = server.post_form(STATUS_PATH, "CallSid=CA1&CallStatus=ringing&SequenceNumber=0").await;
    assert_eq!(late.status, 200);
    assert_eq!(server.record("CA1").await["carrier_status"], "completed", "nothing follows a terminal word");
    assert_error(&server.post_form(STATUS_PATH, "CallStatus=completed").await, 400, "INVALID_REQUEST");
}

/// Checks that `serve` does not start, and says all of `wanted`.
fn assert_refuses(folder: &Path, args: &[&str], variables: &[(&str, &str)], wanted: &[&str]) {
    let args = [&["serve"], args].concat();
    let loopback = [("OFFHOOK_LISTEN", "127.0.0.1:0"), ("OFFHOOK_SPEECH", "canned")];
    let output = run(folder, &args, &[&loopback, variables].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{args:?}: {told}");
    for word in wanted {
        assert!(told.contains(word), "{args:?} should say {word:?}: {told}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn a_server_that_cannot_start_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // Below a file there can be no folder, not even for root.
    let unwritable = format!("{}/data", file("a-file", b""));
    assert_refuses(dir.path(), &["--data-dir", &unwritable], &[], &[&unwritable, "--data-dir"]);

    let garbage = file("garbage/offhook.db", &b"this is no database, ".repeat(500));
    let folder = garbage.strip_suffix("/offhook.db").unwrap();
    assert_refuses(dir.path(), &["--data-dir", folder], &[], &[&garbage, "put it aside"]);
    assert_eq!(
        std::fs::read(&garbage).unwrap(),
        b"this is no database, ".repeat(500),
        "it is left as it was"
    );

    let data = dir.path().join("data");
    let data = ["--data-dir", data.to_str().unwrap()];
    let beyond = ["0.0.0.0:0", "--insecure", "TWILIO_AUTH_TOKEN", "OFFHOOK_BEARER_TOKENS"];
    assert_refuses(dir.path(), &data, &[("OFFHOOK_LISTEN", "0.0.0.0:0")], &beyond);

    let settings = file("settings.toml", b"speech = 'canned'\nspeach = 'local'\n");
    let args = [&data[..], &["--config", &settings]].concat();
    assert_refuses(dir.path(), &args, &[], &["settings.toml", "speach", "line 2"]);
}
