//! Requests that no client should send: each gets a clear answer in bounded time and memory, and a call that runs beside
//! them notices nothing.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::Method;
use offhook::caller::INCOMING_PATH;
use offhook_tests::conversation::{self, undisturbed};
use offhook_tests::server::PATIENCE;
use offhook_tests::{Answer, Ask, Client, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const SIMULATE: &str = "/api/test/simulate-calls";

/// Checks that an answer is an error of the documented form.
fn assert_error(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json", "{what}");
    let error = answer.json();
    assert_eq!(error["error"]["code"], code, "{what}: {error}");
    assert!(error["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{what}: {error}");
    assert!(error["error"]["details"].is_object() && error["timestamp"].is_string(), "{what}: {error}");
    assert_eq!(error["request_id"], answer.header("x-request-id"), "{what}: {error}");
    assert_eq!(error.as_object().unwrap().len(), 3, "{what}: {error}");
}

async fn ask(server: &Server, ask: Ask) -> Answer {
    Client::new().ask(server.address(), ask).await
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_none_are_refused_by_name_before_any_call_is_placed() {
    let (server, _scenario) = conversation::server(&[]).await;
    // As text, so that 10^9 and 1e400 come as they are written.
    let wrong = [
        "0",
        "-1",
        "1.5",
        "\"many\"",
        "\"5\"",
        "1000000000",
        "1001",
        "null",
        "true",
        "[1]",
        "{}",
        "1e400",
        "-0.5",
    ];
    let deed = async {
        for field in ["call_count", "duration_seconds"] {
            // A second may be many more than a call.
            for value in wrong.into_iter().filter(|value| field == "call_count" || *value != "1001") {
                // Null stands for a field that may be left out.
                if field == "duration_seconds" && value == "null" {
                    continue;
                }
                let other =
                    if field == "call_count" { r#""duration_seconds":1"# } else { r#""call_count":1"# };
                let body = format!("{{{other},{field:?}:{value}}}");
                let answer = ask(&server, Ask::json(SIMULATE, &body)).await;
                assert_error(&answer, 400, "INVALID_REQUEST", &body);
                assert!(answer.text().contains(field) || value == "1e400", "{body}: {}", answer.text());
            }
        }
        let absent = ask(&server, Ask::json(SIMULATE, r#"{"duration_seconds":1}"#)).await;
        assert_error(&absent, 400, "INVALID_REQUEST", "no call_count");
        assert!(absent.text().contains("call_count"), "{}", absent.text());
    };
    undisturbed(&server, deed).await;
    let calls = server.get("/v1/calls?limit=500").await.json();
    assert_eq!(calls["calls"].as_array().unwrap().len(), 2, "only those beside it: {calls:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_the_wrong_type_are_refused() {
    let (server, _scenario) = conversation::server(&[]).await;
    let profiles = [
        json!({}),
        json!("everyone"),
        json!(7),
        json!([7]),
        json!(["John"]),
        json!([[]]),
        json!([null]),
        json!([{ "phone_number": 15 }]),
        json!([{ "name": ["John"] }]),
        json!([{ "company": { "name": "Acme" } }]),
        json!([{ "name": "John" }, { "name": true }]),
    ];
    let others = [
        json!({ "call_count": 1, "concurrent": "yes" }),
        json!({ "call_count": 1, "concurrent": 1 }),
        json!({ "call_count": 1, "call_scenario": 7 }),
        json!({ "call_count": 1, "call_scenario": "nobody has written this" }),
        json!({ "call_count": 1, "call_scenario": "../../etc/passwd" }),
        json!({ "call_count": 1, "call_scenario": "" }),
    ];
    let bodies = profiles.map(|profiles| json!({ "call_count": 1, "caller_profiles": profiles }));
    let deed = async {
        for body in bodies.into_iter().chain(others) {
            let answer = ask(&server, Ask::json(SIMULATE, body.to_string())).await;
            assert_error(&answer, 400, "INVALID_REQUEST", &body.to_string());
        }
    };
    undisturbed(&server, deed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_nested_a_hundred_thousand_times_is_refused() {
    let (server, _scenario) = conversation::server(&[]).await;
    let arrays = "[".repeat(100_000);
    let closed = format!("{arrays}{}", "]".repeat(100_000));
    let objects = r#"{"a":"#.repeat(100_000);
    let inside = format!(r#"{{"call_count":1,"caller_profiles":{closed}}}"#);
    let ignored = format!(r#"{{"call_count":1,"nobody_reads_this":{closed}}}"#);
    let deed = async {
        for (what, body) in [
            ("open", arrays),
            ("closed", closed),
            ("objects", objects),
            ("inside", inside),
            ("ignored", ignored),
        ] {
            let answer = ask(&server, Ask::json(SIMULATE, body)).await;
            assert!(matches!(answer.status, 400 | 413), "{what}: {} {}", answer.status, answer.text());
            assert_error(&answer, answer.status, "INVALID_REQUEST", what);
        }
    };
    undisturbed(&server, deed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_another_type_are_refused_with_415() {
    let (server, _scenario) = conversation::server(&[]).await;
    let json = r#"{"call_count":1}"#;
    let form = "CallSid=CA1";
    let deed = async {
        for (path, body, types) in [
            (
                SIMULATE,
                json,
                ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"],
            ),
            (
                INCOMING_PATH,
                form,
                ["text/plain", "application/json", "multipart/form-data; boundary=x", "nonsense"],
            ),
        ] {
            for content_type in types {
                let answer = ask(&server, Ask::post(path, content_type, body)).await;
                assert_error(&answer, 415, "INVALID_REQUEST", &format!("{path} as {content_type}"));
            }
            let none = ask(&server, Ask { body: body.into(), ..Ask::new(Method::POST, path) }).await;
            assert_error(&none, 415, "INVALID_REQUEST", path);
        }
    };
    undisturbed(&server, deed).await;
}

/// A POST by hand, as far as its body.
fn head(path: &str, content_type: &str, length: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n{length}\r\n\r\n")
}

/// Both endpoints that take a body, and what it is.
const BODIES: [(&str, &str); 2] =
    [(INCOMING_PATH, "application/x-www-form-urlencoded"), (SIMULATE, "application/json")];

/// The status of the answer that comes, and the rest of what came; none if the connection was closed without one.
async fn answer_of(tcp: &mut (impl AsyncReadExt + Unpin)) -> Option<(u16, String)> {
    let mut all = Vec::new();
    let mut piece = [0; 4_096];
    let body_is_there = |all: &[u8]| {
        let text = String::from_utf8_lossy(all);
        text.split_once("\r\n\r\n").is_some_and(|(_, body)| serde_json::from_str::<Value>(body).is_ok())
    };
    while let Ok(count @ 1..) = tcp.read(&mut piece).await {
        all.extend_from_slice(&piece[..count]);
        if body_is_there(&all) {
            break;
        }
    }
    let text = String::from_utf8_lossy(&all).into_owned();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text))
}

async fn connect(server: &Server) -> TcpStream {
    Client::new().connect(server.address()).await.unwrap()
}

/// Sends a body of 50 MB, and looks at the answer meanwhile. Gives the answer, and how many bytes were sent until it came.
async fn fifty_megabytes(server: &Server, path: &str, content_type: &str, chunked: bool) -> (u16, usize) {
    const SIZE: usize = 50 * 1024 * 1024;
    let length =
        if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {SIZE}") };
    let (mut read, mut write) = connect(server).await.into_split();
    write.write_all(head(path, content_type, &length).as_bytes()).await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let writing = async move {
        let piece = vec![b'a'; 64 * 1024];
        while counted.load(Ordering::Relaxed) < SIZE {
            let framed = if chunked { [b"10000\r\n", &piece[..], b"\r\n"].concat() } else { piece.clone() };
            if write.write_all(&framed).await.is_err() {
                break;
            }
            counted.fetch_add(piece.len(), Ordering::Relaxed);
        }
        // Kept open: a client that has sent all waits for its answer.
        write
    };
    let writing = tokio::spawn(writing);
    let answer = timeout(PATIENCE, answer_of(&mut read)).await.expect("an answer comes");
    let sent_until_then = sent.load(Ordering::Relaxed);
    let (status, text) =
        answer.unwrap_or_else(|| panic!("{path}, chunked {chunked}: closed without an answer"));
    assert!(text.contains("INVALID_REQUEST"), "{text}");
    // Who sends first and looks later must get to the answer as well: the rest is taken, and thrown away.
    timeout(PATIENCE, writing).await.expect("the server takes the rest, or lets go").unwrap();
    (status, sent_until_then)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_fifty_megabytes_is_refused_early_and_never_held() {
    let (server, _scenario) = conversation::server(&[]).await;
    let deed = async {
        let before = server.memory_bytes();
        let all = BODIES.into_iter().flat_map(|body| [(body, false), (body, true)]);
        let refused =
            all.map(|((path, content_type), chunked)| fifty_megabytes(&server, path, content_type, chunked));
        let refused = join_all(refused).await;
        let grown = server.memory_bytes().saturating_sub(before);
        for (status, sent) in refused {
            assert_eq!(status, 413);
            // What fits into the sockets' buffers was sent before anyone could refuse.
            assert!(sent < 40 * 1024 * 1024, "{sent} bytes were taken before the refusal");
        }
        // The call beside it takes its share.
        assert!(grown < 40 * 1024 * 1024, "it grew by {grown} bytes, of 200 MB that were sent");
    };
    undisturbed(&server, deed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_too_early_is_refused() {
    let (server, _scenario) = conversation::server(&[]).await;
    let deed = async {
        for (path, content_type) in BODIES {
            for (length, body) in
                [("Content-Length: 100", "CallSid=CA1"), ("Transfer-Encoding: chunked", "b\r\nCallSid=")]
            {
                let mut tcp = connect(&server).await;
                let request = head(path, content_type, length) + body;
                tcp.write_all(request.as_bytes()).await.unwrap();
                tcp.shutdown().await.unwrap();
                let answer = timeout(PATIENCE, answer_of(&mut tcp)).await.expect("the server lets go");
                // Who has closed one half may have closed both.
                assert!(
                    answer.as_ref().is_none_or(|(status, _)| *status == 400),
                    "{path}, {length}: {answer:?}"
                );
            }
        }
    };
    undisturbed(&server, deed).await;
    assert_eq!(server.get("/v1/calls/CA1").await.status, 404, "half a webhook announces nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_given_up_on() {
    let (server, _scenario) = conversation::server(&[]).await;
    let never_ends = async |path: &str, content_type: &str, length: &str, piece: &str| {
        let (mut read, mut write) = connect(&server).await.into_split();
        write.write_all(head(path, content_type, length).as_bytes()).await.unwrap();
        let piece = piece.to_owned();
        let trickle = tokio::spawn(async move {
            while write.write_all(piece.as_bytes()).await.is_ok() {
                sleep(Duration::from_millis(250)).await;
            }
        });
        let answer = timeout(PATIENCE, answer_of(&mut read)).await;
        trickle.abort();
        let answer = answer.unwrap_or_else(|_| panic!("{path}, {length}: it waits for ever"));
        let refused = answer.as_ref().is_none_or(|(status, _)| matches!(status, 400 | 408 | 413));
        assert!(refused, "{path}, {length}: {answer:?}");
    };
    let deed = async {
        let all = BODIES.into_iter().flat_map(|(path, content_type)| {
            [("Transfer-Encoding: chunked", "1\r\na\r\n"), ("Content-Length: 60000", "a")]
                .map(|(length, piece)| never_ends(path, content_type, length, piece))
        });
        join_all(all).await;
    };
    undisturbed(&server, deed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_refused_and_let_go() {
    let (server, _scenario) = conversation::server(&[]).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Filler: y\r\n".repeat(20_000));
    let body = "Content-Length: 5\r\nContent-Length: 6";
    let twice = head(INCOMING_PATH, "application/x-www-form-urlencoded", body) + "hello!";
    let chunk = head(INCOMING_PATH, "application/x-www-form-urlencoded", "Transfer-Encoding: chunked")
        + "zz\r\nhello\r\n0\r\n\r\n";
    let huge_chunk = head(INCOMING_PATH, "application/x-www-form-urlencoded", "Transfer-Encoding: chunked")
        + "ffffffffffffffffff\r\nhello";
    let requests: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
        twice.as_bytes(),
        chunk.as_bytes(),
        huge_chunk.as_bytes(),
    ];
    let deed = async {
        for request in requests {
            let mut tcp = connect(&server).await;
            // What is refused early need not be taken to its end.
            let _ = tcp.write_all(request).await;
            let mut all = Vec::new();
            let what = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
            let closed = timeout(PATIENCE, tcp.read_to_end(&mut all)).await;
            assert!(closed.is_ok(), "{what:?}: it is kept: {}", String::from_utf8_lossy(&all));
            let text = String::from_utf8_lossy(&all);
            let status = text.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
            assert!(status.is_none_or(|status| (400..500).contains(&status)), "{what:?}: {text}");
        }
    };
    undisturbed(&server, deed).await;
}
