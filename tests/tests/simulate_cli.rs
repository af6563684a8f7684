//! `offhook simulate` as its users run it: the built binary, against a server of ours and against a bot that is none.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::path::{Path, PathBuf};
use std::process::Output;

use futures_util::{SinkExt, StreamExt};
use offhook_codecs::wire::Event;
use offhook_codecs::wire::twilio;
use offhook_tests::server::run;
use offhook_tests::{Server, audio};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// Callers who speak first, say one thing, and hang up soon after the answer.
const CALLERS: &str = r#"
name = "brief"
title = "Callers who say hello"

[manners]
patience = "1500ms"
linger = "300ms"

[[caller]]
name = "says_hello"
steps = [{ wav = "CLIP" }]
"#;

/// An agent with one question, for those who answer by key.
const AGENT: &str = r#"
name = "colours"
title = "A question of colours"
greeting = "Hi."

[[question]]
id = "colour"
ask = "Red or blue?"

[[question.choice]]
value = "red"
say = ["red"]
key = "1"

[[question.choice]]
value = "blue"
say = ["blue"]
key = "2"

[[outcome]]
value = "warm"
when = { colour = "red" }
say = "Bye."

[[outcome]]
value = "cold"
say = "Bye."
"#;

/// Two kinds who get what they should, and one of whom too much is expected.
const ANSWERERS: &str = r#"
name = "answerers"
title = "Callers who like a colour"

[[caller]]
name = "likes_red"
steps = [{ keys = "1" }]
expect = { outcome = "warm", colour = "red" }

[[caller]]
name = "likes_blue"
steps = [{ keys = "2" }]
expect = { outcome = "cold" }

[[caller]]
name = "is_misjudged"
steps = [{ keys = "2" }]
expect = { outcome = "warm" }
"#;

struct Simulated {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Simulated {
    /// True if the machine was too busy to measure anything: then no verdict was given, which is right, and all there is to see.
    fn was_too_busy(&self) -> bool {
        let busy = self.stdout.contains("No verdict: 1 % of the caller's own frames")
            || self.stdout.contains("No verdict: the caller itself kept");
        assert!(!busy || self.code == Some(3), "{self}");
        busy
    }

    fn assert_code(&self, code: i32) -> &Self {
        assert!(self.code == Some(code) || self.was_too_busy(), "wanted {code}\n{self}");
        self
    }

    fn assert_says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stdout.contains(part) || self.stderr.contains(part), "{part} is not in\n{self}");
        }
        self
    }
}

impl std::fmt::Display for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit status {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

/// A folder with `callers.toml`, and the binary run in it.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new(callers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clip = audio::clip_file("hello");
        let callers = callers.replace("CLIP", clip.to_str().unwrap());
        std::fs::write(folder.path().join("callers.toml"), callers).unwrap();
        Self { folder }
    }

    async fn simulate(&self, args: &[&str]) -> Simulated {
        let folder: PathBuf = self.folder.path().into();
        let args: Vec<String> = ["simulate"].iter().chain(args).map(|arg| arg.to_string()).collect();
        let ran = tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            run(&folder, &args, &[])
        });
        let Output { status, stdout, stderr } = ran.await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Simulated { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_holds_is_told_as_table_json_and_junit() {
    let server = Server::start(&["--speech", "canned"]).await;
    let desk = Desk::new(CALLERS);
    let base = server.base();
    let told = desk
        .simulate(&[
            &base,
            "--calls",
            "3",
            "--duration",
            "2s",
            "--scenario",
            "./callers.toml",
            "--slo",
            "failed=0,calls>=3,response_p95<1000s",
            "--json",
            "out.json",
            "--junit",
            "out.xml",
        ])
        .await;
    told.assert_code(0).assert_says(&[
        "3 calls at once for 2 s · brief (Callers who say hello)",
        "setup time",
        "first audio",
        "response time",
        "barge-in to clear",
        "own lateness",
        "underruns",
        "p99",
        "0 failed",
        "failed=0 held: 0",
    ]);
    let json: Value = serde_json::from_str(&desk.read("out.json")).unwrap();
    assert_eq!((&json["scenario"], &json["calls"]["failed"]), (&"brief".into(), &0.into()), "{json:#}");
    let placed = json["calls"]["placed"].as_u64().unwrap();
    assert!(placed >= 3 && json["calls"]["completed"] == placed, "{json:#}");
    assert_eq!(json["per_call"].as_array().unwrap().len() as u64, placed);
    assert_eq!(json["times_ms"]["response"]["count"], placed, "one answer in each call: {json:#}");
    assert_eq!(json["peak_calls"], 3);
    assert!(json["times_ms"]["response"]["p95"].as_f64().unwrap() > 0.0);
    let junit = desk.read("out.xml");
    assert!(junit.contains("name=\"failed=0\"") && junit.contains("name=\"says_hello\""), "{junit}");
    assert!(told.was_too_busy() || junit.contains("failures=\"0\" errors=\"0\""), "{junit}");
    for call in json["per_call"].as_array().unwrap() {
        let record = server.record(call["call_sid"].as_str().unwrap()).await;
        assert_eq!(record["end_reason"], "caller-hangup", "{record:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_status_tells_whether_the_objective_held() {
    let server = Server::start(&["--speech", "canned"]).await;
    let desk = Desk::new(CALLERS);
    let base = server.base();
    let once = [base.as_str(), "--calls", "1", "--once", "--scenario", "./callers.toml"];
    let missed = desk.simulate(&[&once[..], &["--slo", "completed=0", "--junit", "out.xml"]].concat()).await;
    missed.assert_code(1).assert_says(&["completed=0 did not hold: 1"]);
    assert!(missed.was_too_busy() || missed.stdout.contains("The objective did NOT hold."), "{missed}");
    assert!(missed.was_too_busy() || desk.read("out.xml").contains("failures=\"1\""));
    let unknown = desk.simulate(&[&once[..], &["--slo", "barge_in_p95<1s", "--json", "-"]].concat()).await;
    unknown.assert_code(3).assert_says(&["No verdict", "barge_in_p95<1000ms was not measured"]);
    let json: Value = serde_json::from_str(&unknown.stdout).expect("standard output is JSON alone");
    assert_eq!(json["verdict"], "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_begin_says_what_to_do() {
    let desk = Desk::new(
        "name = \"brief\"\ntitle = \"x\"\n\n[[caller]]\nname = \"a\"\nsteps = [{ shout = \"x\" }]\n",
    );
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    for (args, parts) in [
        (&["--scenario", "nothing_like_it"][..], &["no caller scenario", "barge_in_storm"][..]),
        (&["--scenario", "./callers.toml"], &["./callers.toml", "line 6", "shout"]),
        (&["--slo", "response<1s"], &["response_p95 (one of p50", "Shares of calls"]),
        (&["--calls", "0"], &["at least one"]),
        (&["--calls", "100000000"], &["open files", "fewer calls"]),
        (&[], &["nothing answers at", "offhook serve"]),
        (&["--calls", "many"], &["invalid value 'many'"]),
    ] {
        let told = desk.simulate(&[&[nobody.as_str()], args].concat()).await;
        assert_eq!(told.code, Some(2), "{told}");
        told.assert_says(parts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_read_from_the_server_and_compared_with_what_callers_should_get() {
    let desk = Desk::new(ANSWERERS);
    std::fs::write(desk.path("agent.toml"), AGENT).unwrap();
    let agent = desk.path("agent.toml");
    let server = Server::start(&["--speech", "keypad", "--scenario", agent.to_str().unwrap()]).await;
    let told = desk
        .simulate(&[
            &server.base(),
            "--calls",
            "3",
            "--once",
            "--scenario",
            "./callers.toml",
            "--junit",
            "out.xml",
        ])
        .await;
    told.assert_code(1).assert_says(&[
        "warm:                1 of 2 who should, 0 of 1 who should not",
        "cold:                1 of 1 who should, 1 of 2 who should not",
        "everything as expected in 2 of 3 calls",
        "(is_misjudged): outcome is cold and not warm",
        "unexpected=0 did not hold: 1",
    ]);
    let junit = desk.read("out.xml");
    assert!(junit.contains("recorded outcome = cold, not warm"), "{junit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_tells_the_most_calls_that_held() {
    let server = Server::start(&["--speech", "canned"]).await;
    let desk = Desk::new(CALLERS);
    let told = desk
        .simulate(&[
            &server.base(),
            "--find-capacity",
            "--calls",
            "1",
            "--max-calls",
            "2",
            "--duration",
            "1s",
            "--scenario",
            "./callers.toml",
            "--slo",
            "failed=0",
            "--json",
            "out.json",
        ])
        .await;
    told.assert_says(&["Capacity: ", "calls per core of the server: ", "memory per call: "]);
    let json: Value = serde_json::from_str(&desk.read("out.json")).unwrap();
    if json["capacity"]["caller_was_limit"].is_null() {
        assert_eq!(told.code, Some(0), "{told}");
        assert_eq!(json["capacity"]["calls"], 2, "{json:#}");
        told.assert_says(&["Capacity: 2 calls at once", "No limit was found"]);
    } else {
        assert_eq!(told.code, Some(3), "{told}");
    }
}

/// A bot written by hand that is not Offhook: it waits until its caller has spoken, and says the same back.
///
/// Its answer to the webhook has what real bots put there: verbs before `<Connect>`, and a wss:// address made of the Host header.
struct EchoBot {
    address: String,
}

impl EchoBot {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let host = address.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, host.clone()));
            }
        });
        Self { address }
    }
}

async fn serve(mut tcp: TcpStream, host: String) {
    let mut seen = vec![0; 16 * 1024];
    let length = tcp.peek(&mut seen).await.unwrap_or(0);
    if seen[..length].starts_with(b"GET /media") {
        return echo(tcp).await;
    }
    let mut request = String::new();
    while !request.contains("\r\n\r\n") {
        match tcp.read(&mut seen).await {
            Ok(read) if read > 0 => request.push_str(&String::from_utf8_lossy(&seen[..read])),
            _ => return,
        }
    }
    let (status, body) = match request.split_whitespace().nth(1) {
        Some("/voice") => (
            "200 OK",
            format!(
                "<?xml version=\"1.0\"?><Response><Start><Stream url=\"wss://{host}/listen-only\"/></Start><Say>One \
                 moment.</Say><Connect><Stream url=\"wss://{host}/media\"/></Connect></Response>"
            ),
        ),
        Some("/busy") => ("429 Too Many Requests", "slow down".into()),
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let reply = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let _ = tcp.write_all(reply.as_bytes()).await;
}

/// Silent frames after which a caller has finished: 300 ms.
const QUIET_FRAMES: usize = 15;

async fn echo(tcp: TcpStream) {
    let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
    let (mut stream, mut said, mut quiet) = (String::new(), Vec::new(), 0);
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let message = twilio::parse(&text).unwrap();
        match message.event {
            Event::Start(_) => stream = message.stream.unwrap().into_owned(),
            Event::Media(media) => {
                let mut ulaw = [0; 160];
                twilio::decode_base64(&media.payload, &mut ulaw).unwrap();
                let voiced = ulaw.iter().any(|&byte| offhook::caller::ear::is_loud(byte));
                quiet = if voiced { 0 } else { quiet + 1 };
                if voiced || !said.is_empty() {
                    said.extend(ulaw);
                }
            }
            _ => {}
        }
        if !said.is_empty() && quiet >= QUIET_FRAMES {
            let mut text = Vec::new();
            twilio::write_media(&mut text, &stream, &said);
            said.clear();
            socket.send(Message::text(String::from_utf8(text).unwrap())).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_is_not_ours_is_tested_alike() {
    let bot = EchoBot::start().await;
    let desk = Desk::new(CALLERS);
    let base = format!("http://{}", bot.address);
    let args = [base.as_str(), "--status-path", "none", "--scenario", "./callers.toml"];
    let told = desk
        .simulate(
            &[&args[..], &["--calls", "4", "--duration", "2s", "--path", "/voice", "--json", "out.json"]]
                .concat(),
        )
        .await;
    told.assert_code(0).assert_says(&["0 failed", "Objective failed=0\n"]);
    assert!(!told.stdout.contains("What the agent recorded"), "{told}");
    let json: Value = serde_json::from_str(&desk.read("out.json")).unwrap();
    let placed = &json["calls"]["placed"];
    assert!(placed.as_u64().unwrap() >= 4 && json["calls"]["completed"] == *placed, "{json:#}");
    assert_eq!(json["times_ms"]["response"]["came"], *placed, "each caller is echoed once: {json:#}");
    let fastest = json["times_ms"]["response"]["min"].as_f64().unwrap();
    assert!(fastest > 280.0, "no answer comes before the bot gives it: {fastest} ms");
    assert_eq!((&json["outcomes"], &json["counts"]["faults"]), (&Value::Null, &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_are_grouped_by_reason_with_what_to_do() {
    let bot = EchoBot::start().await;
    let desk = Desk::new(CALLERS);
    let base = format!("http://{}", bot.address);
    let args = [base.as_str(), "--once", "--calls", "3", "--scenario", "./callers.toml", "--path"];
    let busy = desk.simulate(&[&args[..], &["/busy"]].concat()).await;
    busy.assert_code(1).assert_says(&[
        "3 of 3 calls failed",
        "3 × ",
        "/busy answered 429",
        "OFFHOOK_RATE_LIMITS=off",
    ]);
    let lost = desk.simulate(&[&args[..], &["/nowhere"]].concat()).await;
    lost.assert_code(1).assert_says(&["/nowhere answered 404", "--path"]);
}
