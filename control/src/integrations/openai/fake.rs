//! A server on a real socket that does exactly what a test tells it, request by request.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// One thing that the server does in answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A whole answer: status, headers with their line ends, body.
    Answer(u16, &'static str, String),
    /// The head of a stream.
    Head,
    /// Bytes of it.
    Raw(String),
    /// The end of it. The connection stays.
    End,
    /// Waits until the test lets it go on.
    Gate,
    /// Does nothing until the client is gone, and tells the test.
    Stall,
    /// Closes the connection.
    Close,
}

/// A request that came.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `POST /v1/chat/completions`, and the headers, in lower case.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Value,
}

/// The server.
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) asked: mpsc::UnboundedReceiver<Asked>,
    /// Clients that went away while the server stalled.
    pub(crate) gone: mpsc::UnboundedReceiver<()>,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) connections: Arc<AtomicUsize>,
}

struct House {
    script: Mutex<VecDeque<Vec<Step>>>,
    asked: mpsc::UnboundedSender<Asked>,
    gone: mpsc::UnboundedSender<()>,
    gate: Arc<Semaphore>,
}

impl Fake {
    /// Answers each request but that for the models with the next of `script`, and what is beyond it with 404.
    pub(crate) async fn new(script: impl IntoIterator<Item = Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ((tell, asked), (leave, gone)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let gate = Arc::new(Semaphore::new(0));
        let script = Mutex::new(script.into_iter().collect());
        let house = Arc::new(House { script, asked: tell, gone: leave, gate: gate.clone() });
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let house = house.clone();
                tokio::spawn(async move { house.serve(BufReader::new(socket)).await });
            }
        });
        Self { url, asked, gone, gate, connections }
    }

    pub(crate) async fn next_asked(&mut self) -> Asked {
        self.asked.recv().await.expect("the server is there")
    }
}

impl House {
    /// Returns when the connection is over.
    async fn serve(&self, mut socket: BufReader<TcpStream>) -> Option<()> {
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if socket.read_line(&mut head).await.ok()? == 0 {
                    return None;
                }
            }
            let lower = head.to_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            socket.read_exact(&mut body).await.ok()?;
            let steps = if head.starts_with("GET /v1/models") {
                vec![Step::Answer(200, "", "{\"data\":[]}".into())]
            } else {
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let _ = self.asked.send(Asked { head: lower, body });
                let next = self.script.lock().unwrap().pop_front();
                next.unwrap_or_else(|| vec![Step::Answer(404, "", String::new())])
            };
            for step in steps {
                let bytes = match step {
                    Step::Answer(status, headers, body) => format!(
                        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}",
                        body.len()
                    ),
                    Step::Head => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                                   transfer-encoding: chunked\r\n\r\n"
                        .to_owned(),
                    Step::Raw(bytes) => format!("{:x}\r\n{bytes}\r\n", bytes.len()),
                    Step::End => "0\r\n\r\n".to_owned(),
                    Step::Gate => {
                        self.gate.acquire().await.unwrap().forget();
                        continue;
                    }
                    Step::Stall => {
                        let _ = socket.read_u8().await;
                        let _ = self.gone.send(());
                        return None;
                    }
                    Step::Close => return None,
                };
                socket.get_mut().write_all(bytes.as_bytes()).await.ok()?;
            }
        }
    }
}

/// An event.
pub(crate) fn event(data: &Value) -> Step {
    Step::Raw(format!("data: {data}\n\n"))
}

/// An event with this delta.
pub(crate) fn delta(delta: Value) -> Step {
    event(&json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
}

/// An event with this text.
pub(crate) fn text(text: &str) -> Step {
    delta(json!({ "content": text }))
}

/// What ends a stream, as servers of today do it.
pub(crate) fn done(reason: &str) -> [Step; 4] {
    [
        event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})),
        event(&json!({"choices": [], "usage": {"completion_tokens": 3}})),
        Step::Raw("data: [DONE]\n\n".into()),
        Step::End,
    ]
}

/// A whole stream: its texts, then its end.
pub(crate) fn says(texts: &[&str]) -> Vec<Step> {
    let role = delta(json!({"role": "assistant", "content": ""}));
    let comment = Step::Raw(": PROCESSING\n\n".into());
    [Step::Head, comment, role].into_iter().chain(texts.iter().map(|t| text(t))).chain(done("stop")).collect()
}

/// A whole stream: one tool call, in three pieces.
pub(crate) fn calls(name: &str, arguments: &str) -> Vec<Step> {
    let (first, second) = arguments.split_at(arguments.len() / 2);
    let piece = |piece: &str| delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}));
    let begin = json!({"tool_calls": [{
        "index": 0, "id": "call_a", "type": "function", "function": {"name": name, "arguments": ""}
    }]});
    let steps = [Step::Head, delta(begin), piece(first), piece(second)];
    steps.into_iter().chain(done("tool_calls")).collect()
}
