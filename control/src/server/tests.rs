//! Requests against a whole server in this process, over real sockets.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::settings::{MediaAuth, PublicUrl, Secret, Speech};
use crate::store::Store;
use crate::systems::callbot::signature;

struct Running {
    server: Server,
    _dir: tempfile::TempDir,
}

async fn start(change: impl FnOnce(&mut Settings)) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings { speech: Speech::Canned, ..Settings::local(dir.path().into()) };
    settings.media_threads = Some(1);
    change(&mut settings);
    Running { server: Server::start(settings).await.unwrap(), _dir: dir }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':').unwrap().1.trim())
    }
}

impl Running {
    /// One request on a connection of its own. `head`: request line and headers, without the usual ones.
    async fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(self.server.address()).await.unwrap();
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut request = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.contains("host:") {
            request += &format!("host: {}\r\n", self.server.address());
        }
        if !body.is_empty() {
            request += &format!("content-length: {}\r\n", body.len());
        }
        for header in headers.lines() {
            request += &format!("{header}\r\n");
        }
        socket.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        // A server that refuses a body may close before all of it is sent.
        let _ = socket.write_all(body).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: answer[end + 4..].to_vec() }
    }

    async fn post_form(&self, path: &str, form: &str) -> Answer {
        let head = format!("POST {path}\ncontent-type: application/x-www-form-urlencoded");
        self.ask(&head, form.as_bytes()).await
    }

    /// Announces a call and returns the token of its media socket.
    async fn announce(&self, sid: &str) -> String {
        let twiml = self.post_form("/api/callbot/incoming-call", &format!("CallSid={sid}")).await;
        let (_, rest) = twiml.text().split_once(r#"name="token" value=""#).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// A media socket that has sent `connected` and `start`.
    async fn open_media(&self, sid: &str, token: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.server.address()).await.unwrap();
        let start = format!(
            r#"{{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{{"accountSid":"AC1","streamSid":"MZ1","callSid":"{sid}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{"token":"{token}"}}}}}}"#
        );
        let connected = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;
        // The first message goes along with the handshake, as some clients do.
        let request = "GET /api/callbot/audio-stream HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(&[request.as_bytes(), &frame(connected)].concat()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        socket.write_all(&frame(&start)).await.unwrap();
        socket
    }

    /// The call's record, once its status is `status`.
    async fn call_with_status(&self, name: &str, status: &str) -> Value {
        for _ in 0..500 {
            let answer = self.ask(&format!("GET /v1/calls/{name}"), b"").await;
            if answer.status == 200 && answer.json()["status"] == status {
                return answer.json();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("call {name} did not become {status} in 5 s");
    }
}

fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Code and reason of the close frame that a socket ends with.
async fn closing(mut socket: TcpStream) -> (u16, String) {
    let mut received = Vec::new();
    socket.read_to_end(&mut received).await.unwrap();
    assert_eq!(received[0], 0x88);
    (u16::from_be_bytes([received[2], received[3]]), String::from_utf8(received[4..].to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_runs_from_webhook_to_record() {
    let running = start(|_| {}).await;
    let token = running.announce("CA1").await;
    let mut media = running.open_media("CA1", &token).await;
    let record = running.call_with_status("CA1", "in-progress").await;
    assert_eq!(record["stream_id"], "MZ1");
    assert_eq!(running.ask("GET /health", b"").await.json()["active_calls"], 1);
    let stop = r#"{"event":"stop","sequenceNumber":"2","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}"#;
    media.write_all(&frame(stop)).await.unwrap();
    let record = running.call_with_status("CA1", "completed").await;
    assert_eq!(record["end_reason"], "caller-hangup");
    let id = record["id"].as_str().unwrap();
    let timeline = running.ask(&format!("GET /v1/calls/{id}/timeline"), b"").await.json();
    let kinds: Vec<_> = timeline["events"].as_array().unwrap().iter().map(|e| e["kind"].as_str()).collect();
    assert_eq!(kinds.first(), Some(&Some("started")), "{timeline}");
    assert_eq!(kinds.last(), Some(&Some("ended")), "{timeline}");

    let wav = running
        .ask(record["links"]["recording"].as_str().map(|l| format!("GET {l}")).unwrap().as_str(), b"")
        .await;
    assert_eq!((wav.status, wav.header("content-type")), (200, Some("audio/wav")));
    assert_eq!(&wav.body[..4], b"RIFF");
    let part = running.ask(&format!("GET /v1/calls/{id}/recording\nrange: bytes=0-3"), b"").await;
    assert_eq!((part.status, part.text()), (206, "RIFF"));
    let beyond = running.ask(&format!("GET /v1/calls/{id}/recording\nrange: bytes=999999-"), b"").await;
    assert_eq!((beyond.status, &beyond.json()["error"]["code"]), (416, &"INVALID_REQUEST".into()));
    let journal = running.ask(&format!("GET /v1/calls/{id}/journal"), b"").await;
    assert_eq!(journal.status, 200);
    running.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_a_call() {
    let running = start(|_| {}).await;
    let token = running.announce("CA1").await;
    let _media = running.open_media("CA1", &token).await;
    running.call_with_status("CA1", "in-progress").await;
    assert_eq!(running.ask("POST /v1/calls/CA1/hangup", b"").await.status, 202);
    assert_eq!(running.call_with_status("CA1", "completed").await["end_reason"], "operator");
    assert_eq!(running.ask("POST /v1/calls/CA1/hangup", b"").await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_calls_and_completes_their_records() {
    let running = start(|_| {}).await;
    let token = running.announce("CA1").await;
    let _media = running.open_media("CA1", &token).await;
    running.call_with_status("CA1", "in-progress").await;
    running.server.shutdown().await;
    let store = Store::open(running._dir.path(), UnixMs::now()).unwrap();
    assert_eq!(store.restarted(), 0);
    assert_eq!(store.record("CA1").await.unwrap().unwrap().end_reason.as_deref(), Some("shutdown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_socket_without_its_own_fresh_token_is_closed_with_the_reason() {
    let running = start(|_| {}).await;
    let (code, reason) = closing(running.open_media("CA1", "guess").await).await;
    assert_eq!((code, reason.as_str()), (1008, "the token is not known"));
    let token = running.announce("CA1").await;
    let (_, reason) = closing(running.open_media("CA2", &token).await).await;
    assert!(reason.contains("another call"), "{reason}");
    let _media = running.open_media("CA1", &token).await;
    running.call_with_status("CA1", "in-progress").await;
    let (_, reason) = closing(running.open_media("CA1", &token).await).await;
    assert!(reason.contains("used before"), "{reason}");
    assert_eq!(running.ask("GET /v1/calls", b"").await.json()["calls"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_media_needs_no_webhook() {
    let running = start(|settings| settings.media_auth = MediaAuth::Open).await;
    let _media = running.open_media("CA7", "").await;
    running.call_with_status("CA7", "in-progress").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_answers_as_the_contract_shows() {
    let running = start(|settings| {
        settings.public_url = Some(PublicUrl { tls: true, authority: "voice.example.com".into() });
        // Else /v1 would be shut: a public URL says that others than this machine come in.
        settings.insecure = true;
    })
    .await;
    for (base, ask) in [
        ("", "POST /api/callbot/incoming-call\ncontent-type: application/x-www-form-urlencoded"),
        (
            "/callbot",
            "POST /callbot/api/callbot/incoming-call\ncontent-type: application/x-www-form-urlencoded",
        ),
        ("", "GET /api/callbot/incoming-call?CallSid=CA1&From=%2B1&To=%2B2"),
    ] {
        let body: &[u8] = if ask.starts_with("POST") { b"CallSid=CA1&From=%2B1&To=%2B2" } else { b"" };
        let answer = running.ask(ask, body).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/xml")), "{ask}");
        let url = format!(r#"<Stream url="wss://voice.example.com{base}/api/callbot/audio-stream">"#);
        assert!(answer.text().contains(&url), "{}", answer.text());
        assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
    }
    let record = running.ask("GET /v1/calls/CA1", b"").await.json();
    assert_eq!((&record["from"], &record["to"]), (&"+1".into(), &"+2".into()));
    assert_eq!(record["direction"], "inbound");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_has_the_one_shape() {
    let running = start(|_| {}).await;
    let form = "content-type: application/x-www-form-urlencoded";
    let huge = vec![b'a'; 70_000];
    for (head, body, status, code) in [
        ("GET /nowhere".to_owned(), &b""[..], 404, "NOT_FOUND"),
        ("GET /health/".to_owned(), b"", 404, "NOT_FOUND"),
        ("DELETE /health".to_owned(), b"", 405, "METHOD_NOT_ALLOWED"),
        (format!("POST /api/callbot/incoming-call\n{form}"), b"From=1", 400, "INVALID_REQUEST"),
        (format!("POST /api/callbot/incoming-call\n{form}"), b"CallSid=%zz", 400, "INVALID_REQUEST"),
        (format!("POST /api/callbot/incoming-call\n{form}"), &huge, 413, "INVALID_REQUEST"),
        (
            "POST /api/callbot/incoming-call\ncontent-type: application/json".into(),
            b"{}",
            415,
            "INVALID_REQUEST",
        ),
        ("GET /api/callbot/incoming-call?CallSid=CA1\nhost: a\"b".into(), b"", 400, "INVALID_REQUEST"),
        (format!("POST /api/callbot/call-status\n{form}"), b"CallSid=CA1", 400, "INVALID_REQUEST"),
        ("GET /api/callbot/audio-stream".into(), b"", 426, "INVALID_REQUEST"),
        ("GET /v1/calls?limit=0".into(), b"", 400, "INVALID_REQUEST"),
        ("GET /v1/calls?cursor=a%20b".into(), b"", 400, "INVALID_REQUEST"),
        ("GET /v1/calls/CA9".into(), b"", 404, "NOT_FOUND"),
        ("GET /v1/calls/%FF".into(), b"", 400, "INVALID_REQUEST"),
        ("GET /v1/calls/CA9/recording".into(), b"", 404, "NOT_FOUND"),
    ] {
        let answer = running.ask(&head, body).await;
        assert_eq!(answer.status, status, "{head}: {}", answer.text());
        let json = answer.json();
        assert_eq!(json["error"]["code"], code, "{head}");
        assert!(json["error"]["details"].is_object() && json["timestamp"].is_string(), "{head}");
        assert_eq!(answer.header("x-request-id"), json["request_id"].as_str(), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_webhooks_are_let_in_and_others_are_not() {
    let running = start(|settings| {
        settings.twilio_auth_token = Some(Secret::new("key"));
        settings.public_url = Some(PublicUrl { tls: true, authority: "voice.example.com".into() });
    })
    .await;
    let fields = [("CallSid".to_owned(), "CA1".to_owned())];
    let url = "https://voice.example.com/api/callbot/incoming-call";
    let good = signature::sign("key", url, &fields);
    let bad = signature::sign("other", url, &fields);
    let form = "content-type: application/x-www-form-urlencoded";
    for (signature, status) in [
        (format!("\nx-twilio-signature: {good}"), 200),
        (format!("\nx-twilio-signature: {bad}"), 403),
        (String::new(), 403),
    ] {
        let head = format!("POST /api/callbot/incoming-call\n{form}{signature}");
        assert_eq!(running.ask(&head, b"CallSid=CA1").await.status, status, "{signature}");
    }
    let query = "/api/callbot/incoming-call?CallSid=CA2";
    let signed = signature::sign("key", &format!("https://voice.example.com{query}"), &[]);
    let answer = running.ask(&format!("GET {query}\nx-twilio-signature: {signed}"), b"").await;
    assert_eq!(answer.status, 200);
    let socket = "GET /api/callbot/audio-stream\nx-twilio-signature: wrong";
    assert_eq!(running.ask(socket, b"").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_opens_to_bearer_tokens_where_there_are_any() {
    let running =
        start(|settings| settings.bearer_tokens = vec![Secret::new("one"), Secret::new("two")]).await;
    for (header, status) in [
        ("", 401),
        ("\nauthorization: Bearer two", 200),
        ("\nauthorization: bearer one", 200),
        ("\nauthorization: Bearer three", 401),
        ("\nauthorization: Basic one", 401),
    ] {
        let answer = running.ask(&format!("GET /v1/calls{header}"), b"").await;
        assert_eq!(answer.status, status, "{header}");
    }
    assert_eq!(running.ask("GET /health", b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_given_page_by_page() {
    let running = start(|_| {}).await;
    for sid in ["CA1", "CA2", "CA3"] {
        running.announce(sid).await;
    }
    let first = running.ask("GET /v1/calls?limit=2", b"").await.json();
    let sids = |page: &Value| {
        let calls = page["calls"].as_array().unwrap().iter();
        calls.map(|call| call["carrier_call_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sids(&first), ["CA3", "CA2"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = running.ask(&format!("GET /v1/calls?limit=2&cursor={cursor}"), b"").await.json();
    assert_eq!(sids(&second), ["CA1"]);
    assert!(second["next_cursor"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_callback_ends_a_call_that_never_had_media() {
    let running = start(|_| {}).await;
    running.announce("CA1").await;
    let answer = running
        .post_form("/api/callbot/call-status", "CallSid=CA1&CallStatus=no-answer&SequenceNumber=1")
        .await;
    assert_eq!((answer.status, answer.body.len(), answer.header("content-type")), (200, 0, None));
    let late = "CallSid=CA1&CallStatus=ringing&SequenceNumber=0";
    assert_eq!(running.post_form("/api/callbot/call-status", late).await.status, 200);
    let record = running.call_with_status("CA1", "no-answer").await;
    assert_eq!(record["end_reason"], "no-media");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_lacks_is_said_with_what_to_do() {
    let running = start(|_| {}).await;
    let dir = tempfile::tempdir().unwrap();
    let taken = Settings { listen: running.server.address(), ..Settings::local(dir.path().into()) };
    let text = Server::start(taken).await.err().unwrap().to_string();
    assert!(text.contains("--listen"), "{text}");
    let same_folder = Settings { speech: Speech::Canned, ..Settings::local(running._dir.path().into()) };
    let text = Server::start(same_folder).await.err().unwrap().to_string();
    assert!(text.contains("another offhook"), "{text}");
    let unknown = Settings { scenario: "nothing".into(), ..Settings::local(dir.path().into()) };
    let text = Server::start(unknown).await.err().unwrap().to_string();
    assert!(text.contains("nothing"), "{text}");
}

/// A log socket, or the status that it was refused with.
async fn open_log(running: &Running) -> Result<TcpStream, u16> {
    let mut socket = TcpStream::connect(running.server.address()).await.unwrap();
    let request = "GET /api/logs/stream HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    match String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().parse().unwrap() {
        101 => Ok(socket),
        status => Err(status),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_end_to_how_many_read_the_log_and_all_are_told_of_a_shutdown() {
    let running = start(|settings| settings.rate_limits = false).await;
    let mut readers = Vec::new();
    for _ in 0..256 {
        readers.push(open_log(&running).await.unwrap());
    }
    assert_eq!(open_log(&running).await.err(), Some(503));
    readers.pop();
    // A place is free once the server has seen that its reader is gone.
    let again = async {
        loop {
            match open_log(&running).await {
                Ok(socket) => return socket,
                Err(status) => assert_eq!(status, 503),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    readers.push(tokio::time::timeout(Duration::from_secs(60), again).await.unwrap());
    let shutdown = tokio::spawn(running.server.shutdown());
    for reader in readers {
        let (code, reason) = closing(reader).await;
        assert_eq!((code, reason.as_str()), (1001, "the server stops"));
    }
    shutdown.await.unwrap();
}
