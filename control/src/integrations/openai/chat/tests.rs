//! Against a server on a real socket that does what each test tells it.

use std::sync::atomic::Ordering;

use super::*;
use crate::integrations::openai::fake::{Fake, Step, calls, delta, done, event, says, text};

const KEY: &str = "sk-very-secret";

fn chat(url: &str, waits: Waits) -> Chat {
    Chat::new(Asking {
        base: url.parse().unwrap(),
        key: Some(Secret::new(KEY)),
        model: "m".into(),
        temperature: Some(0.5),
        max_tokens: 7,
        max_tokens_field: "max_tokens".into(),
        waits,
    })
    .unwrap()
}

/// As long as no test takes.
fn patient() -> Waits {
    let long = Duration::from_secs(20);
    Waits { connect: long, first: long, next: long }
}

fn messages() -> [Value; 1] {
    [json!({"role": "user", "content": "hello"})]
}

async fn reply(chat: &Chat) -> (Result<Reply, VendorError>, Vec<String>) {
    let mut texts = Vec::new();
    let mut on_text = |text: &str| {
        texts.push(text.to_owned());
        ControlFlow::Continue(())
    };
    let reply = chat.reply(&messages(), &[], &mut on_text).await;
    (reply, texts)
}

/// The error that a server gets which does this whenever it is asked.
async fn fault(steps: &[Step], waits: Waits) -> VendorError {
    let fake = Fake::new(vec![steps.to_vec(); 2]).await;
    let error = reply(&chat(&fake.url, waits)).await.0.unwrap_err();
    assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    error
}

#[tokio::test]
async fn text_comes_as_it_is_written_and_the_request_says_what_is_wanted() {
    let mut fake = Fake::new([says(&["Hel", "lo, ", "you."])]).await;
    let (reply, texts) = reply(&chat(&fake.url, patient())).await;
    assert_eq!(texts, ["Hel", "lo, ", "you."]);
    assert_eq!(reply.unwrap(), Reply { text: "Hello, you.".into(), calls: Vec::new() });
    let asked = fake.next_asked().await;
    assert!(asked.head.starts_with("post /v1/chat/completions "), "{}", asked.head);
    assert!(asked.head.contains(&format!("authorization: bearer {KEY}\r\n")));
    let wanted = json!({
        "model": "m", "messages": messages(), "stream": true, "max_tokens": 7, "temperature": 0.5
    });
    assert_eq!(asked.body, wanted);
}

#[tokio::test]
async fn one_connection_does_for_warming_and_for_one_reply_after_the_other() {
    let fake = Fake::new([says(&["one"]), says(&["two"]), says(&["three"])]).await;
    let chat = chat(&fake.url, patient());
    chat.warm().await.unwrap();
    for _ in 0..3 {
        assert!(reply(&chat).await.0.is_ok());
        // What is left of the stream is read in the background.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(fake.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn tool_calls_are_put_together_beside_text() {
    let mut steps = calls("look", "{\"day\": \"monday\"}");
    steps.insert(1, text("One moment."));
    let fake = Fake::new([steps]).await;
    let reply = reply(&chat(&fake.url, patient())).await.0.unwrap();
    assert_eq!(reply.text, "One moment.");
    let call =
        ToolCall { id: "call_a".into(), name: "look".into(), arguments: "{\"day\": \"monday\"}".into() };
    assert_eq!(reply.calls, [call]);
}

#[tokio::test]
async fn each_refusal_has_its_reason() {
    let body = |code: &str| {
        json!({"error": {"message": format!("it says {KEY} is bad"), "type": code, "code": code}}).to_string()
    };
    for (status, code, why) in [
        (401, "invalid_api_key", Failure::Unauthorised),
        (403, "forbidden", Failure::Unauthorised),
        (402, "credits", Failure::Unpaid),
        (429, "rate_limit_exceeded", Failure::Busy),
        (429, "insufficient_quota", Failure::Unpaid),
        (404, "model_not_found", Failure::Refused),
        (500, "server_error", Failure::Faulty),
        (503, "loading", Failure::Faulty),
    ] {
        let headers = "x-request-id: r7\r\nretry-after: 3\r\n";
        let error = fault(&[Step::Answer(status, headers, body(code))], patient()).await;
        assert_eq!(error.why, why, "{error}");
        let text = error.to_string();
        assert!(text.contains(&status.to_string()) && text.contains(code), "{text}");
        assert!(text.contains("r7") && text.contains("retry-after 3"), "{text}");
    }
    let flat = json!({"object": "error", "message": "flat", "code": 400}).to_string();
    let error = fault(&[Step::Answer(400, "", flat)], patient()).await;
    assert_eq!((error.why, error.to_string().as_str()), (Failure::Refused, "status 400, 400: flat"));
    let error = fault(&[Step::Answer(502, "", "<html>".into())], patient()).await;
    assert_eq!(error.to_string(), "status 502");
}

#[tokio::test]
async fn every_silence_has_an_end() {
    let short = Duration::from_millis(60);
    let first = Waits { first: short, ..patient() };
    assert_eq!(fault(&[Step::Stall], first).await.why, Failure::Slow, "before the head");
    assert_eq!(fault(&[Step::Head, Step::Stall], first).await.why, Failure::Slow, "before the first word");
    let next = Waits { next: short, ..patient() };
    let error = fault(&[Step::Head, text("Hello"), Step::Stall], next).await;
    assert_eq!(error.why, Failure::BrokenOff, "in the middle");
    // Nor does what is no word keep it waiting.
    let alive = || std::iter::repeat_n(delta(json!({"reasoning": "hm"})), 3);
    let steps: Vec<Step> = [Step::Head].into_iter().chain(alive()).chain([Step::Stall]).collect();
    assert_eq!(fault(&steps, first).await.why, Failure::Slow);
}

#[tokio::test]
async fn what_is_no_reply_is_told_from_one_that_breaks_off() {
    for (steps, why) in [
        (vec![Step::Head, Step::Raw("data: {\"cho\n\n".into()), Step::End], Failure::Malformed),
        (vec![Step::Answer(200, "", "<html>hello</html>".into())], Failure::Malformed),
        (vec![Step::Head, Step::Raw("x".repeat(300_000)), Step::End], Failure::Malformed),
        (vec![Step::Head, text("Hello"), Step::Close], Failure::BrokenOff),
        (vec![Step::Head, text("Hello"), Step::End], Failure::BrokenOff),
        (vec![Step::Close], Failure::BrokenOff),
        (
            vec![Step::Head, text("x"), event(&json!({"error": {"code": 502, "message": KEY}}))],
            Failure::Faulty,
        ),
        (vec![Step::Head, event(&json!({"error": {"code": "insufficient_quota"}}))], Failure::Unpaid),
    ] {
        assert_eq!(fault(&steps, patient()).await.why, why, "{steps:?}");
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = reply(&chat(&format!("http://{closed}"), patient())).await.0.unwrap_err();
    assert_eq!(error.why, Failure::Unreachable, "{error}");
}

#[tokio::test]
async fn what_fails_before_the_first_word_is_tried_once_more_and_nothing_after_it() {
    let fails = || vec![Step::Answer(500, "", String::new())];
    let fake = Fake::new([fails(), says(&["Hello."])]).await;
    assert_eq!(reply(&chat(&fake.url, patient())).await.0.unwrap().text, "Hello.");
    let fake = Fake::new([vec![Step::Head, text("Hello"), Step::Close], says(&["Hello."])]).await;
    let (result, texts) = reply(&chat(&fake.url, patient())).await;
    assert_eq!((result.unwrap_err().why, texts.len()), (Failure::BrokenOff, 1));
    let busy = vec![Step::Answer(429, "", String::new())];
    let mut fake = Fake::new([busy, says(&["Hello."])]).await;
    assert_eq!(reply(&chat(&fake.url, patient())).await.0.unwrap_err().why, Failure::Busy);
    fake.next_asked().await;
    assert!(fake.asked.try_recv().is_err(), "who has too much to do is not asked again");
}

#[tokio::test]
async fn to_drop_a_reply_closes_the_request_at_the_server() {
    for steps in [vec![Step::Stall], vec![Step::Head, text("Hello"), Step::Stall]] {
        let mut fake = Fake::new([steps]).await;
        let chat = chat(&fake.url, patient());
        tokio::select! {
            _ = reply(&chat) => panic!("there is no end to it"),
            _ = fake.next_asked() => {}
        }
        fake.gone.recv().await.unwrap();
    }
}

#[tokio::test]
async fn who_breaks_off_gets_what_there_was_and_the_server_is_told() {
    let mut fake = Fake::new([vec![Step::Head, text("one"), text("two"), Step::Stall]]).await;
    let chat = chat(&fake.url, patient());
    let reply = chat.reply(&messages(), &[], &mut |_| ControlFlow::Break(())).await.unwrap();
    assert_eq!(reply.text, "one");
    fake.gone.recv().await.unwrap();
}

#[tokio::test]
async fn a_stream_may_end_without_saying_so_once_its_reply_is_complete() {
    let [finish, ..] = done("stop");
    let fake = Fake::new([vec![Step::Head, text("Hello."), finish, Step::End]]).await;
    assert_eq!(reply(&chat(&fake.url, patient())).await.0.unwrap().text, "Hello.");
}

#[tokio::test]
async fn what_a_model_thinks_is_not_said() {
    for (texts, wanted) in [
        (&["<thi", "nk>Let me", " see</th", "ink>Hello"][..], "Hello"),
        (&["\n<think>é", "é</think>", "Hi <think>"], "Hi <think>"),
        (&["<b>Hi"], "<b>Hi"),
    ] {
        let fake = Fake::new([says(texts)]).await;
        assert_eq!(reply(&chat(&fake.url, patient())).await.0.unwrap().text, wanted);
    }
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_known_before_it_is_needed() {
    let error = chat("http://127.0.0.1:1", patient()).warm().await.unwrap_err();
    assert!(!error.to_string().is_empty());
    let chat = chat("http://127.0.0.1:1", patient());
    let body =
        json!({"error": {"code": "invalid_api_key", "message": format!("Incorrect: {KEY}")}}).to_string();
    let error = chat.refused(StatusCode::UNAUTHORIZED, &HeaderMap::new(), body.as_bytes());
    assert_eq!(error.to_string(), "status 401, invalid_api_key");
    assert!(!format!("{chat:?}").contains(KEY));
}
