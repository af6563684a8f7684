use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn sending(url: &str) -> Sending<'_> {
    Sending { url, event: "call.ended", delivery: "d1", signature: "t=1,v1=ab" }
}

/// A server that answers one connection with these bytes, and gives what was asked.
async fn answering(bytes: impl Into<Vec<u8>>) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let bytes = bytes.into();
    let serving = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"{}") {
            let mut some = [0; 1_024];
            let count = socket.read(&mut some).await.unwrap();
            asked.extend_from_slice(&some[..count]);
        }
        socket.write_all(&bytes).await.unwrap();
        String::from_utf8(asked).unwrap()
    });
    (url, serving)
}

async fn post(url: &str) -> Result<Answered, SendError> {
    WebhookSender::new(true).unwrap().post(sending(url), Bytes::from_static(b"{}")).await
}

#[tokio::test]
async fn a_delivery_says_what_it_is_and_is_taken_by_any_success() {
    let (url, serving) = answering("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok").await;
    let answered = post(&url).await.unwrap();
    assert_eq!((answered.status.as_u16(), answered.text.as_str(), answered.refusal), (202, "ok", None));
    let asked = serving.await.unwrap().to_lowercase();
    for line in [
        "post /hook http/1.1",
        "content-type: application/json",
        "x-webhook-event: call.ended",
        "x-webhook-id: d1",
        "x-webhook-signature: t=1,v1=ab",
    ] {
        assert!(asked.lines().any(|given| given == line), "{line}: {asked}");
    }
}

#[tokio::test]
async fn a_refusal_is_none_and_a_redirect_is_not_followed() {
    let (url, _) = answering("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nlate").await;
    let answered = post(&url).await.unwrap();
    assert_eq!(answered.refusal.as_deref(), Some("status 503"));
    assert_eq!((answered.text.as_str(), answered.after), ("late", Some(Duration::from_secs(7))));
    let (url, _) = answering(
        "HTTP/1.1 307 Elsewhere\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let refusal = post(&url).await.unwrap().refusal.unwrap();
    assert!(refusal.contains("not followed") && refusal.contains("169.254.169.254"), "{refusal}");
}

#[tokio::test]
async fn of_an_endless_answer_the_beginning_is_enough() {
    let (url, _) = answering(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000))).await;
    let answered = post(&url).await.unwrap();
    assert_eq!((answered.refusal, answered.text.len()), (None, ANSWER_CHARACTERS));
}

#[tokio::test]
async fn nothing_is_sent_inside() {
    let sender = WebhookSender::new(false).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "0", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}/hook");
        assert!(sender.check(&url).await.is_err_and(|why| why.contains("public")), "{host}");
        let error = sender.post(sending(&url), Bytes::from_static(b"{}")).await.unwrap_err();
        assert!(matches!(error, SendError::Forbidden(_)), "{host}: {error}");
    }
    let connected = timeout(Duration::ZERO, listener.accept()).await;
    assert!(connected.is_err(), "and nobody was asked");
}

#[tokio::test]
async fn what_is_no_place_to_post_to_is_told() {
    let sender = WebhookSender::new(true).unwrap();
    for url in
        ["", "example.com/x", "ftp://example.com", "javascript:alert(1)", "http://", "/hook", "https:///x"]
    {
        assert!(sender.check(url).await.unwrap_err().contains("https://example.com/webhook"), "{url}");
    }
    assert!(sender.check("https://user:hush@example.com/").await.unwrap_err().contains("password"));
    assert_eq!(sender.check("http://no-such-host.invalid/hook").await, Ok(()), "it may be known later");
}

#[tokio::test]
async fn who_does_not_answer_is_told_as_such() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = post(&format!("http://{closed}/")).await.unwrap_err();
    assert!(
        matches!(&error, SendError::Unanswered(why) if why.to_lowercase().contains("refused")),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_too_slow_is_given_up_after_ten_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    assert_eq!(post(&url).await.unwrap_err(), SendError::Unanswered("no answer within 10 s".into()));
}
