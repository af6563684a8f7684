//! Bots at Telegram over real sockets: what a double of Telegram posts, and what it gets in answer.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use offhook_codecs::{SampleRate, ogg};
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Vendor, is_cloned};
use offhook_tests::desk::google_client;
use offhook_tests::echome::{BASE, Owner, Programs, server, variables};
use offhook_tests::{Answer, Server};
use serde_json::{Value, json};
use tokio::time::sleep;

const TOKEN: &str = "123456:abcdefghijklmnopqrstuvwxyz012345678";
const CHAT: i64 = 4_503_599_627_370_495;

/// A server with a bot, whose owner has a persona with a voice.
struct House {
    fakes: FakeVendors,
    programs: Programs,
    server: Server,
    bearer: String,
    persona: String,
    secret: String,
}

/// What the server is told of the doubles.
fn told<'a>(paths: &'a [String; 2], urls: &'a [String; 3]) -> Vec<(&'a str, &'a str)> {
    let more = [
        ("OFFHOOK_OPENAI_BASE_URL", urls[1].as_str()),
        ("OPENAI_API_KEY", "k"),
        ("OFFHOOK_TELEGRAM_BASE_URL", &urls[2]),
        ("OFFHOOK_PUBLIC_URL", "https://voice.example.com"),
    ];
    [&variables(paths, &urls[0])[..], &more].concat()
}

impl House {
    async fn new() -> Self {
        let fakes = FakeVendors::start().await;
        let programs = Programs::in_place();
        programs.go();
        let (paths, urls) = (Self::paths(&programs), Self::urls(&fakes));
        let server = server(&told(&paths, &urls)).await;
        let owner = Owner::of(&server).await;
        let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
        let status = owner.status(&job, &["completed", "failed"]).await;
        assert_eq!(status["status"], "completed", "{status:#}");
        let key = json!({ "service": "telegram", "api_key": TOKEN });
        let set = owner.ask(Method::POST, "/api/settings/api-keys", &key).await;
        assert_eq!(set.status, 200, "{}", set.text());
        let hook = fakes.telegram_sent().remove(0);
        assert_eq!(hook["url"], "https://voice.example.com/echome/webhook/telegram");
        let secret = hook["secret_token"].as_str().unwrap().to_owned();
        let bearer = owner.bearer.clone();
        Self { fakes, programs, server, bearer, persona, secret }
    }

    fn paths(programs: &Programs) -> [String; 2] {
        [programs.path("yt-dlp"), programs.path("ffmpeg")]
    }

    fn urls(fakes: &FakeVendors) -> [String; 3] {
        [Vendor::ElevenLabs, Vendor::OpenAi, Vendor::Telegram].map(|vendor| fakes.base_url(vendor))
    }

    /// Ends the server as `kill -9` does, and starts it again.
    async fn restart(&mut self) {
        self.server.kill();
        let (paths, urls) = (Self::paths(&self.programs), Self::urls(&self.fakes));
        let settings = [&google_client()[..], &told(&paths, &urls)].concat();
        let data: Arc<_> = self.server.data();
        self.server = Server::start_on(data, &["--speech", "keypad"], &settings).await;
    }

    fn owner(&self) -> Owner<'_> {
        Owner { server: &self.server, bearer: self.bearer.clone() }
    }

    async fn post(&self, path: &str, secret: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("x-telegram-bot-api-secret-token", secret)];
        self.server.ask(Method::POST, &format!("{BASE}{path}"), &headers, &body.to_string()).await
    }

    async fn writes(&self, update: i64, text: &str) {
        let answer = self.post("/webhook/telegram", &self.secret, &written(update, text)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json(), json!({ "ok": true, "message": "Message processed" }));
    }

    /// Method and text of what was sent to the chat, apart from what is for show.
    fn sent(&self) -> Vec<(String, String)> {
        let text = |sent: &Value| {
            let text = sent["text"].as_str().or(sent["caption"].as_str()).unwrap_or_default();
            (sent["method"].as_str().unwrap().to_owned(), text.to_owned())
        };
        let sent = self.fakes.telegram_sent();
        sent.iter()
            .filter(|sent| sent["method"] == "sendVoice" || sent["method"] == "sendMessage")
            .map(text)
            .collect()
    }

    /// The same, once there is so much of it.
    async fn sent_when(&self, count: usize) -> Vec<(String, String)> {
        for _ in 0..1_200 {
            let sent = self.sent();
            if sent.len() >= count {
                return sent;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?} is not {count} messages in a minute", self.sent());
    }

    /// Bodies of what the model was asked.
    fn asked(&self) -> Vec<Value> {
        let asked = self.fakes.requests().into_iter();
        asked.filter(|asked| asked.path.ends_with("/chat/completions")).map(|asked| asked.body).collect()
    }

    async fn client(&self) -> Value {
        self.owner().get("/api/clients").await["clients"][0].clone()
    }
}

fn written(update: i64, text: &str) -> Value {
    json!({
        "update_id": update,
        "message": {
            "message_id": update, "date": 1_708_257_600, "text": text,
            "from": { "id": CHAT, "is_bot": false, "first_name": "Alice", "username": "alice_johnson" },
            "chat": { "id": CHAT, "type": "private" },
        },
    })
}

fn voice(text: &str) -> (String, String) {
    ("sendVoice".into(), text.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_answered_in_the_cloned_voice_once_and_a_reset_forgets_what_was_said() {
    let house = House::new().await;
    house.fakes.answer(&json!({ "content": "Yes, green ones.", "to": "pens" })).unwrap();
    house.writes(1, "Do you have pens?").await;
    assert_eq!(house.sent_when(1).await, [voice("Yes, green ones.")]);
    let heard = ogg::decode(&house.fakes.telegram_voices()[0][..], SampleRate::HZ_8000, 60_000).unwrap();
    assert!(is_cloned(&heard, 8_000), "in the voice that was made");
    let client = house.client().await;
    assert_eq!(
        (&client["name"], &client["telegram_id"], &client["total_conversations"]),
        (&json!("Alice"), &json!(CHAT.to_string()), &json!(1))
    );

    // Ten at once, and one more below /api: none of them is done again.
    let update = written(1, "Do you have pens?");
    let again = || house.post("/webhook/telegram", &house.secret, &update);
    let below_api = house.post("/api/webhook/telegram", &house.secret, &update);
    let all = tokio::join!(
        again(),
        again(),
        again(),
        again(),
        again(),
        again(),
        again(),
        again(),
        again(),
        again(),
        below_api
    );
    assert_eq!((all.0.status, all.9.status, all.10.status), (200, 200, 200));
    house.fakes.answer(&json!({ "content": "Two dollars.", "to": "cost" })).unwrap();
    house.writes(2, "What do they cost?").await;
    assert_eq!(house.sent_when(2).await[1..], [voice("Two dollars.")]);
    let told: Vec<_> = house.asked()[1]["messages"].as_array().unwrap()[2..].to_vec();
    let texts: Vec<_> = told.iter().map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(texts, ["Do you have pens?", "Yes, green ones.", "What do they cost?"]);

    house.writes(3, "/reset").await;
    house.writes(4, "And now?").await;
    let sent = house.sent_when(4).await;
    assert!(sent[2].1.starts_with("Let us begin anew"), "{sent:?}");
    assert_eq!(house.asked()[2]["messages"].as_array().unwrap().len(), 3, "nothing is left of before");
    house.writes(5, "/start").await;
    let sent = house.sent_when(5).await;
    assert!(sent[4].1.starts_with("Hello Alice! I am John Sales Expert."), "{sent:?}");
    assert_eq!(house.client().await["total_conversations"], 2);
    let path = format!("/api/voice/{}", house.persona);
    assert_eq!(house.owner().ask(Method::DELETE, &path, &Value::Null).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_is_refused_and_what_is_not_for_the_bot_is_left_alone() {
    let house = House::new().await;
    for secret in ["", "guess", &house.secret[1..]] {
        for path in ["/webhook/telegram", "/api/webhook/telegram"] {
            let refused = house.post(path, secret, &written(1, "hi")).await;
            assert_eq!((refused.status, &refused.json()["error"]), (401, &json!("unauthorized")));
        }
    }
    let huge = "x".repeat(300 * 1024);
    for (body, status) in [
        (json!([]), 400),
        (json!({}), 400),
        (json!({ "update_id": "7" }), 400),
        (json!({ "update_id": 7, "message": "hi" }), 400),
        (written(7, &huge), 413),
    ] {
        let refused = house.post("/webhook/telegram", &house.secret, &body).await;
        assert_eq!((refused.status, refused.json().as_object().unwrap().len()), (status, 5));
    }
    let mut group = written(8, "hi");
    group["message"]["chat"] = json!({ "id": -100, "type": "group" });
    let mut edited = written(9, "hi");
    edited["edited_message"] = edited["message"].take();
    for ignored in [group, edited, json!({ "update_id": 10, "poll": { "id": "1" } })] {
        let answer = house.post("/webhook/telegram", &house.secret, &ignored).await;
        assert_eq!((answer.status, &answer.json()["ok"]), (200, &json!(true)), "{ignored}");
    }
    let mut silent = written(11, "");
    silent["message"]["voice"] = json!({ "file_id": "f", "duration": 3 });
    assert_eq!(house.post("/webhook/telegram", &house.secret, &silent).await.status, 200);
    let sent = house.sent_when(1).await;
    assert!(sent.len() == 1 && sent[0].1.starts_with("I can only read text"), "{sent:?}");
    assert!(house.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_waited_for_and_whoever_blocked_the_bot_is_left_in_peace() {
    let house = House::new().await;
    let refuse = |status| {
        let fault = Fault { status: Some(status), ..Fault::default() };
        house.fakes.fail(&format!("/telegram/bot{TOKEN}/sendVoice"), 1, fault);
    };
    refuse(429);
    let began = std::time::Instant::now();
    house.writes(1, "one").await;
    house.writes(2, "two").await;
    let sent = house.sent_when(2).await;
    assert!(sent[0].1.contains("one") && sent[1].1.contains("two"), "in order: {sent:?}");
    assert!(began.elapsed() >= Duration::from_secs(5), "as long as Telegram asked for");
    refuse(403);
    house.writes(3, "three").await;
    house.writes(4, "four").await;
    let sent = house.sent_when(3).await;
    assert!(sent.len() == 3 && sent[2].1.contains("four"), "{sent:?}");
    assert_eq!(house.asked().len(), 4, "each is asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_a_crash_is_answered_once_after_it() {
    let mut house = House::new().await;
    house.fakes.fail("/openai/v1/chat", 1, Fault::parse("latency=60s").unwrap());
    house.writes(1, "Do you have pens?").await;
    while house.asked().is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
    house.restart().await;
    house.writes(1, "Do you have pens?").await;
    let sent = house.sent_when(1).await;
    assert_eq!((sent.len(), sent[0].0.as_str()), (1, "sendVoice"));
    house.writes(2, "More?").await;
    house.writes(3, "Thanks").await;
    // Once the third is sent, it is noted that the two before it were: the next start does not send them again.
    assert_eq!(house.sent_when(3).await.len(), 3);
    house.restart().await;
    house.writes(1, "Do you have pens?").await;
    house.writes(4, "Bye").await;
    let is_last = |sent: &[(String, String)]| sent.last().is_some_and(|(_, text)| text.contains("Bye"));
    while !is_last(&house.sent_when(3).await) {
        sleep(Duration::from_millis(50)).await;
    }
    let sent = house.sent();
    for text in ["pens", "More", "Bye"] {
        let times = sent.iter().filter(|(_, sent)| sent.contains(text)).count();
        assert_eq!(times, 1, "{text}: {sent:?}");
    }
    assert_eq!(house.client().await["total_conversations"], 1, "it is one conversation still");
}
