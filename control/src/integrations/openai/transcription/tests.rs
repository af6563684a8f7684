use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{BAD_KEY, FakeVendors, Vendor};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::integrations::openai::fake::{Fake, Step};
use crate::integrations::testing::again;

const KEY: &str = "sk-0123456789abcdef";
/// Nothing here takes longer, unless it hangs.
const LONG: Duration = Duration::from_secs(20);

fn options(fakes: &FakeVendors) -> Options {
    options_at(&fakes.base_url(Vendor::OpenAi))
}

fn options_at(url: &str) -> Options {
    Options {
        base: url.parse().unwrap(),
        key: Some(Secret::new(KEY)),
        model: "whisper-1".into(),
        language: Some("en".into()),
        prompt: None,
        answer_within: LONG,
    }
}

/// Waits until a request came to a path that ends so, and was answered if that is asked for.
async fn came(fakes: &FakeVendors, end: &str, is_answered: bool) {
    for _ in 0..2_000 {
        let mut requests = fakes.requests().into_iter();
        if requests.any(|asked| asked.path.ends_with(end) && (asked.status.is_some() || !is_answered)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody asked for {end}: {:?}", fakes.requests());
}

struct Call {
    tell: mpsc::Sender<Caller>,
    heard: UnboundedReceiver<Heard>,
    task: JoinHandle<Result<(), VendorError>>,
}

fn call(options: Options) -> Call {
    let ears = Transcription::new(options).unwrap();
    let (tell, mut told) = mpsc::channel(64);
    let (give, heard) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        ears.listen(&mut told, &mut |words| give.send(words).expect("the test listens")).await
    });
    Call { tell, heard, task }
}

impl Call {
    async fn did(&self, did: Caller) {
        // Ears that failed take nothing more, which the test learns from what they return.
        let _ = self.tell.send(did).await;
    }

    async fn says(&self, utterance: u32, ulaw: Vec<u8>) {
        let utterance = UtteranceId(utterance);
        self.did(Caller::Starts(utterance)).await;
        if !ulaw.is_empty() {
            self.did(Caller::Audio(ulaw)).await;
        }
        self.did(Caller::Ends { utterance, speech_ms: 500 }).await;
    }

    async fn next(&mut self) -> (u32, String) {
        let heard = timeout(LONG, self.heard.recv()).await.expect("words in time").expect("ears that listen");
        assert!(heard.is_final, "there are none before");
        (heard.utterance.0, heard.text)
    }

    async fn ended(self) -> Result<(), VendorError> {
        drop(self.tell);
        timeout(LONG, self.task).await.expect("an end in time").expect("no panic")
    }

    async fn failed(self) -> VendorError {
        let ended = timeout(LONG, self.task).await.expect("an end in time").expect("no panic");
        ended.expect_err("the call is not over")
    }
}

#[tokio::test]
async fn each_utterance_is_asked_for_once_on_a_connection_that_was_there_before() {
    let fakes = FakeVendors::start().await;
    fakes.transcribe(["Book a table.", " Thank you.\n"]);
    let mut call = call(options(&fakes));
    came(&fakes, "models", true).await;
    call.says(1, vec![0x10; 8_000]).await;
    assert_eq!(call.next().await, (1, "Book a table.".into()));
    call.says(2, vec![0x10; 80]).await;
    assert_eq!(call.next().await, (2, "Thank you.".into()), "a short one is filled up");
    call.says(3, Vec::new()).await;
    assert_eq!(call.next().await, (3, String::new()), "of nothing there are no words");
    call.ended().await.unwrap();

    let asked = fakes.requests();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    let transcriptions = "/openai/v1/audio/transcriptions";
    assert_eq!(paths, ["/openai/v1/models", transcriptions, transcriptions]);
    assert!(asked.iter().all(|one| one.connection == asked[0].connection), "{asked:?}");
    assert_eq!(asked[1].header("authorization"), Some("Bearer …cdef"));
    let form = asked[1].body.as_str().unwrap();
    for (name, value) in [("model", "whisper-1"), ("language", "en"), ("response_format", "json")] {
        assert!(form.contains(&format!("name=\"{name}\"\r\n\r\n{value}\r\n")), "{name}");
    }
    assert!(!form.contains("prompt"));
}

#[tokio::test]
async fn each_fault_has_its_name() {
    for (text, why) in [
        ("status=400", Failure::Refused),
        ("status=401", Failure::Unauthorised),
        ("status=402", Failure::Unpaid),
        ("status=429", Failure::Busy),
        ("status=500", Failure::Faulty),
        ("latency=5s", Failure::Slow),
    ] {
        let fakes = FakeVendors::start().await;
        fakes.fail("/openai/v1/audio", 1, Fault::parse(text).unwrap());
        let call = call(Options { answer_within: Duration::from_millis(500), ..options(&fakes) });
        call.says(1, vec![0x10; 8_000]).await;
        let error = call.failed().await;
        assert_eq!(error.why, why, "{text}: {error}");
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_with_the_first_words_and_a_server_that_is_not_there_before() {
    let fakes = FakeVendors::start().await;
    let options = Options { key: Some(Secret::new(BAD_KEY)), ..options(&fakes) };
    // It may be a key for this alone, and not for the list that is looked at for its connection.
    let speaks = call(options.clone());
    speaks.says(1, vec![0x10; 8_000]).await;
    assert_eq!(speaks.failed().await.why, Failure::Unauthorised);
    assert_eq!(Transcription::new(options).unwrap().check().await.unwrap_err().why, Failure::Unauthorised);
    let url = fakes.base_url(Vendor::OpenAi);
    drop(fakes);
    let options = options_at(&url);
    assert_eq!(call(options).failed().await.why, Failure::Unreachable);
}

#[tokio::test]
async fn an_answer_without_a_text_is_malformed() {
    for body in ["{", "[]", "{\"words\": \"hello\"}"] {
        let mut fake = Fake::new([vec![Step::Answer(200, "", body.into())]]).await;
        let call = call(Options { prompt: Some("Offhook".into()), ..options_at(&fake.url) });
        call.says(1, vec![0x10; 8_000]).await;
        assert_eq!(call.failed().await.why, Failure::Malformed, "{body}");
        let asked = fake.next_asked().await;
        assert!(asked.head.starts_with("post /v1/audio/transcriptions"), "{}", asked.head);
    }
}

#[tokio::test]
async fn words_come_in_the_order_in_which_they_were_said_and_to_want_no_more_ends_the_request() {
    let fakes = FakeVendors::start().await;
    fakes.fail("/openai/v1/audio", 1, Fault::parse("latency=1s").unwrap());
    fakes.transcribe(["Please", "stop."]);
    let mut call = call(options(&fakes));
    call.says(1, vec![0x10; 8_000]).await;
    came(&fakes, "transcriptions", false).await;
    call.says(2, vec![0x10; 8_000]).await;
    assert_eq!(call.next().await, (1, "Please".into()));
    assert_eq!(call.next().await, (2, "stop.".into()));
    call.task.abort();
    assert!(call.task.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_connection_that_broke_is_replaced_for_the_next_utterance() {
    let fakes = FakeVendors::start().await;
    let address = fakes.url().trim_start_matches("http://").parse().unwrap();
    let mut call = call(options(&fakes));
    call.says(1, vec![0x10; 8_000]).await;
    assert_eq!(call.next().await, (1, "hello".into()));
    drop(fakes);
    let _fakes = again(address).await;
    call.says(2, vec![0x10; 8_000]).await;
    assert_eq!(call.next().await, (2, "hello".into()));
    call.ended().await.unwrap();
}
