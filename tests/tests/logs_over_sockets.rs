//! The log over the built binary: the latest entries and their filters, the live socket, and readers that do not read.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use offhook_tests::server::PATIENCE;
use offhook_tests::{RawCall, Server};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A socket that the log comes out of.
struct LogStream(WebSocketStream<TcpStream>);

/// How large a receive buffer is where a reader is meant to fall behind.
const SMALL: u32 = 16 * 1024;

impl LogStream {
    async fn open(server: &Server, query: &str) -> Self {
        Self::open_with(server, query, None).await
    }

    async fn open_with(server: &Server, query: &str, receive_buffer: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("a socket can be told");
        }
        let tcp = socket.connect(server.address()).await.expect("the server listens");
        let url = format!("ws://{}/api/logs/stream{query}", server.address());
        let (socket, response) =
            tokio_tungstenite::client_async(url, tcp).await.expect("the server takes sockets");
        assert_eq!(response.status(), 101);
        Self(socket)
    }

    async fn message(&mut self) -> Option<Message> {
        match timeout(PATIENCE, self.0.next()).await.expect("something comes") {
            Some(Ok(message)) => Some(message),
            _ => None,
        }
    }

    /// The next entry.
    async fn entry(&mut self) -> Value {
        loop {
            match self.message().await {
                Some(Message::Text(text)) => {
                    let entry: Value = serde_json::from_str(&text).expect("one JSON object per frame");
                    assert_documented(&entry);
                    return entry;
                }
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no entry but {other:?}"),
            }
        }
    }

    /// Entries up to and with the first for which `last` is true.
    async fn entries_until(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut entries = Vec::new();
        loop {
            let entry = self.entry().await;
            let enough = last(&entry);
            entries.push(entry);
            if enough {
                return entries;
            }
        }
    }

    /// What the server closes with.
    async fn closing(&mut self) -> Option<CloseFrame> {
        loop {
            match self.message().await {
                Some(Message::Close(frame)) => return frame,
                Some(_) => {}
                None => return None,
            }
        }
    }
}

/// Checks that an entry has the documented keys and types.
fn assert_documented(entry: &Value) {
    let keys: Vec<_> = entry.as_object().expect("an entry is an object").keys().collect();
    assert_eq!(keys, ["timestamp", "level", "message", "call_id", "module"]);
    let timestamp = entry["timestamp"].as_str().unwrap_or_default();
    assert!(timestamp.len() == 20 && timestamp.ends_with('Z'), "{entry}");
    assert!(
        ["DEBUG", "INFO", "WARNING", "ERROR"].contains(&entry["level"].as_str().unwrap_or_default()),
        "{entry}"
    );
    assert!(entry["message"].is_string() && entry["module"].is_string(), "{entry}");
    assert!(entry["call_id"].is_string() || entry["call_id"].is_null(), "{entry}");
}

fn says(entry: &Value, text: &str) -> bool {
    entry["message"].as_str().is_some_and(|message| message.contains(text))
}

async fn latest(server: &Server, query: &str) -> Value {
    let answer = server.get(&format!("/api/logs/latest{query}")).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json"),
        "{}",
        answer.text()
    );
    let latest = answer.json();
    let keys: Vec<_> = latest.as_object().expect("the answer is an object").keys().collect();
    assert_eq!(keys, ["logs", "total_lines", "filtered_lines"]);
    latest["logs"].as_array().expect("the answer has logs").iter().for_each(assert_documented);
    latest
}

/// Waits until the log holds what was logged before: an entry reaches it a moment after the answer.
async fn latest_when(server: &Server, query: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let latest = latest(server, query).await;
            if wanted(&latest) {
                return latest;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("{query}: the log stays without what is wanted"))
}

/// A server whose log holds all that its start had to say, so that what comes next comes from the test.
async fn start() -> Server {
    let server = Server::start(&["--speech", "canned"]).await;
    latest_when(&server, "", |latest| {
        let text = latest.to_string();
        text.contains("answering calls") && text.contains("path=/health")
    })
    .await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_entries_are_cut_and_filtered_as_documented() {
    let server = start().await;
    for number in 0..5 {
        server.get(&format!("/nowhere/{number}")).await;
    }
    let all = latest_when(&server, "", |latest| {
        latest["logs"].as_array().unwrap().last().is_some_and(|last| says(last, "/nowhere/4"))
    })
    .await;
    let held = all["total_lines"].as_u64().unwrap();
    assert_eq!(all["filtered_lines"], held, "nothing is filtered");
    assert_eq!(all["logs"].as_array().unwrap().len() as u64, held, "fewer than a hundred are held");

    let two = latest(&server, "?lines=2").await;
    let last = two["logs"].as_array().unwrap();
    assert!(last.len() == 2 && says(&last[0], "/nowhere/3") && says(&last[1], "/nowhere/4"), "{two:#}");
    assert_eq!((&two["total_lines"], &two["filtered_lines"]), (&json!(held), &json!(held)));
    assert_eq!(latest(&server, "?lines=123456789012345678901234567890").await["total_lines"], held);

    let mut call = RawCall::open(&server).await;
    call.hang_up().await;
    server.record(&call.call_sid).await;
    let info = latest_when(&server, "?level=INFO&lines=1000", |latest| {
        latest["logs"].as_array().unwrap().iter().any(|entry| says(entry, "call ended"))
    })
    .await;
    assert!(info["logs"].as_array().unwrap().iter().all(|entry| entry["level"] == "INFO"));
    let errors = latest(&server, "?level=ERROR").await;
    assert_eq!((&errors["logs"], &errors["filtered_lines"]), (&json!([]), &json!(0)));
    assert!(errors["total_lines"].as_u64() > Some(held));

    let later = latest(&server, "?since=2999-01-01T00:00:00Z").await;
    assert_eq!(later["filtered_lines"], 0);
    let held = later["total_lines"].as_u64().unwrap();
    for since in
        ["2000-01-01T00:00:00Z", "2000-01-01T00:00:00.5%2B02:00", "2000-01-01T00:00:00", "2000-01-01"]
    {
        let query = format!("?since={since}&lines=1");
        assert!(latest(&server, &query).await["filtered_lines"].as_u64() >= Some(held), "{since}");
    }
    let prefixed = server.get("/callbot/api/logs/latest?lines=1").await;
    assert_eq!(prefixed.json()["logs"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_cannot_be_used_are_named() {
    let server = start().await;
    for (query, parameter) in [
        ("lines=0", "lines"),
        ("lines=-5", "lines"),
        ("lines=many", "lines"),
        ("lines=1.5", "lines"),
        ("lines=", "lines"),
        ("level=info", "level"),
        ("level=TRACE", "level"),
        ("since=yesterday", "since"),
        ("since=2024-02-30T00:00:00Z", "since"),
    ] {
        let answer = server.get(&format!("/api/logs/latest?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        let error = answer.json();
        assert_eq!(error["error"]["code"], "INVALID_REQUEST", "{query}");
        assert_eq!(error["error"]["details"]["parameter"], parameter, "{query}");
    }
    let answer = server.get("/api/logs/stream?level=LOUD").await;
    assert_eq!(
        (answer.status, answer.json()["error"]["details"]["parameter"].as_str()),
        (400, Some("level"))
    );
    assert_eq!(server.get("/api/logs/stream").await.status, 426, "a socket is no page");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_the_log_does_not_fill_it() {
    let server = start().await;
    let mut stream = LogStream::open(&server, "").await;
    for _ in 0..20 {
        latest(&server, "").await;
        server.get("/callbot/api/logs/latest").await;
    }
    server.get("/the/end").await;
    let entries = stream.entries_until(|entry| says(entry, "path=/the/end")).await;
    assert!(!entries.iter().any(|entry| says(entry, "/api/logs/")), "{entries:#?}");
    let held = latest_when(&server, "", |latest| latest.to_string().contains("/the/end")).await;
    assert!(!held.to_string().contains("/api/logs/"), "{held:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calls_lines_come_live_with_its_name() {
    let server = start().await;
    server.get("/before").await;
    latest_when(&server, "", |latest| latest.to_string().contains("/before")).await;
    let mut stream = LogStream::open(&server, "").await;
    let mut warnings = LogStream::open(&server, "?level=WARNING").await;
    let mut call = RawCall::open(&server).await;
    server.record_when(&call.call_sid, |record| record["status"] == "in-progress").await;
    call.hang_up().await;
    let entries = stream.entries_until(|entry| says(entry, "call ended")).await;
    assert!(!entries.iter().any(|entry| says(entry, "/before")), "what was before is not told: {entries:#?}");
    let id = server.record(&call.call_sid).await["id"].clone();
    for text in ["call announced", "call answered", "call ended reason=caller-hangup duration_ms="] {
        let entry = entries
            .iter()
            .find(|entry| says(entry, text))
            .unwrap_or_else(|| panic!("no {text}: {entries:#?}"));
        assert_eq!((&entry["call_id"], &entry["level"]), (&id, &json!("INFO")), "{entry}");
    }
    let ended = entries.last().unwrap();
    assert_eq!(ended["module"], "calls");

    let mut stranger = RawCall::open(&server).await;
    let announced = stranger.call_sid.clone();
    stranger.hang_up().await;
    server.record(&announced).await;
    // The first warning that there is: all those lines before were of another level.
    let mut turned_away = offhook_tests::Announced::to(&server).await;
    turned_away.token = "guess".into();
    let mut raw = RawCall::connect(&turned_away).await;
    raw.connected().await;
    raw.start(Some("guess")).await;
    let warning = warnings.entry().await;
    assert!(says(&warning, "turned away") && warning["level"] == "WARNING", "{warning}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_told_what_it_missed_and_others_miss_nothing() {
    let server = start().await;
    let mut slow = LogStream::open_with(&server, "", Some(SMALL)).await;
    let mut quick = LogStream::open(&server, "").await;
    let padding = "x".repeat(3_900);
    // Some 12 MB of entries, far more than the ring and the sockets hold, in steps that a reader who reads can follow.
    let mut sent = 0_u64;
    for step in 0..30 {
        for number in 0..50 {
            server.get(&format!("/{step}/{number}/{padding}")).await;
            sent += 1;
        }
        let last = format!("path=/{step}/49/");
        let entries = quick.entries_until(|entry| says(entry, &last)).await;
        assert_eq!(entries.len(), 50, "one line for each request, and none missed");
    }
    server.get("/the/end").await;
    let entries = slow.entries_until(|entry| says(entry, "path=/the/end")).await;
    let (told, lines): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| says(entry, "log lines were missed"));
    assert!(!told.is_empty(), "{} lines came, and nothing is said of the others", lines.len());
    let mut missed = 0;
    for entry in told {
        assert_eq!(
            (&entry["level"], &entry["module"], &entry["call_id"]),
            (&json!("WARNING"), &json!("logs"), &json!(null))
        );
        let message = entry["message"].as_str().unwrap();
        missed += message
            .strip_suffix(" log lines were missed: this reader is too slow")
            .unwrap()
            .parse::<u64>()
            .unwrap();
    }
    assert_eq!(lines.len() as u64 + missed, sent + 1, "every line came or was counted");
    let held = latest(&server, "?lines=1000").await;
    assert!(!held.to_string().contains("were missed"), "it is nobody else's business");
    assert!(held["total_lines"].as_u64() < Some(sent), "the log's memory is bounded in bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_sends_is_ignored_within_bounds() {
    let server = start().await;
    let mut stream = LogStream::open(&server, "").await;
    stream.0.send(Message::text("hello")).await.unwrap();
    stream.0.send(Message::binary(vec![0; 100])).await.unwrap();
    stream.0.send(Message::Ping(b"there?".to_vec().into())).await.unwrap();
    let pong = Message::Pong(b"there?".to_vec().into());
    while let Some(message) = stream.message().await
        && message != pong
    {
        assert!(matches!(message, Message::Text(_)), "no pong, but {message:?}");
    }
    server.get("/after").await;
    stream.entries_until(|entry| says(entry, "path=/after")).await;
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
    stream.0.close(Some(goodbye.clone())).await.unwrap();
    assert_eq!(stream.closing().await, Some(goodbye), "a close is answered");

    let mut stream = LogStream::open(&server, "").await;
    stream.0.send(Message::text("x".repeat(10_000))).await.unwrap();
    assert_eq!(stream.closing().await.map(|frame| u16::from(frame.code)), Some(1009));

    let mut stream = LogStream::open(&server, "").await;
    for _ in 0..200 {
        // Once the server has closed, the rest cannot be sent.
        let _ = stream.0.send(Message::text("x".repeat(1_000))).await;
    }
    let closing = stream.closing().await.map(|frame| u16::from(frame.code));
    assert!(matches!(closing, Some(1008) | None), "{closing:?}");
    assert_eq!(server.get("/health").await.status, 200, "it goes on serving");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_lines_are_the_entries_and_their_values() {
    let mut server = start().await;
    let mut call = RawCall::open(&server).await;
    call.hang_up().await;
    let id = server.record(&call.call_sid).await["id"].clone();
    latest_when(&server, "", |latest| latest.to_string().contains("call ended")).await;
    let path = server.data().path().join("logs/offhook.log");
    let ended = timeout(PATIENCE, async {
        loop {
            let written = std::fs::read_to_string(&path).unwrap();
            let lines = written.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = lines.into_iter().find(|line| says(line, "call ended")) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
    let ended = ended.await.expect("the file gets the line");
    assert_eq!(
        (&ended["call_id"], &ended["module"], &ended["level"]),
        (&id, &json!("calls"), &json!("INFO"))
    );
    assert!(
        ended["fields"]["duration_ms"].is_u64() && ended["fields"]["reason"] == "caller-hangup",
        "{ended}"
    );
    server.kill();
}
