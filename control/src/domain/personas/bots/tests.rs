use offhook_codecs::{SampleRate, ogg};
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Vendor};
use serde_json::Value;

use super::*;
use crate::domain::api_keys::KeyService;
use crate::domain::catalogue::Catalogues;
use crate::domain::keys::Keys;
use crate::domain::personas::PersonaVoice;
use crate::domain::speech::Answering;
use crate::domain::user_jobs::UserJobKind;
use crate::domain::user_model::UserModel;
use crate::domain::user_settings::UserSettings;
use crate::domain::users::GoogleIdentity;
use crate::integrations::http::HttpClient;
use crate::settings::Settings;

const TOKEN: &str = "123456:abcdefghijklmnopqrstuvwxyz012345678";
const BOT: i64 = 123_456;
const CHAT: i64 = 4_503_599_627_370_495;
const IDLE: Duration = Duration::from_secs(1_800);

struct House {
    fakes: FakeVendors,
    store: Arc<Store>,
    bots: Bots,
    media: Arc<Media>,
    owner: String,
    _dir: tempfile::TempDir,
}

/// A bot whose owner has a persona with a voice.
async fn house() -> House {
    let fakes = FakeVendors::start().await;
    let dir = tempfile::tempdir().unwrap();
    let base = |vendor| fakes.base_url(vendor);
    let text = format!(
        "openai_base_url = '{}'\nopenai_api_key = 'k'\ntelegram_base_url = '{}'\n
         [vendors.elevenlabs]\nbase_url = '{}'\napi_key = 'k'",
        base(Vendor::OpenAi),
        base(Vendor::Telegram),
        base(Vendor::ElevenLabs)
    );
    let settings = Settings::from_text(&text).unwrap();
    let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
    let keys = Arc::new(Keys::load(&Settings::local(dir.path().into())).unwrap());
    let identity =
        GoogleIdentity { sub: "1".into(), email: "a@example.com".into(), name: None, picture: None };
    let owner = store.sign_in(identity, UnixMs(1)).await.unwrap().id;
    let http = HttpClient::new().unwrap();
    let kept = Arc::new(UserSettings::new(store.clone(), keys));
    let keys = Arc::new(ApiKeys::new(&settings, store.clone(), kept, http.clone()));
    keys.set(&owner, KeyService::Telegram, TOKEN, None, UnixMs(5)).await.unwrap();
    let now = UnixMs(10);
    let (id, job) = store.add_persona(&owner, "John".into(), "v".into(), "en".into(), now).await.unwrap();
    let voice =
        PersonaVoice { id: "21m00Tcm4TlvDq8ikWAM".into(), maker: "elevenlabs".into(), sample: String::new() };
    let persona = store.persona(&owner, &id).await.unwrap();
    let analysis = UserJobKind::PersonaAnalysis.id_after(&job);
    assert!(store.persona_cloned(&persona, voice, &job, json!({}), &analysis, now).await.unwrap());
    let media = Arc::new(Media::new(dir.path(), None));
    let voices = Arc::new(Answering::persona_voices(&settings, &http).unwrap());
    let answers = Answers::new(
        store.clone(),
        Catalogues::new(store.clone(), dir.path(), None),
        keys.clone(),
        (voices, media.clone()),
        UserModel::new(http, &settings.openai),
        IDLE,
    );
    let bots = Bots::new(store.clone(), keys, Arc::new(answers), media.clone(), IDLE);
    House { fakes, store, bots, media, owner, _dir: dir }
}

impl House {
    /// The job of an update, as the queue gives it.
    async fn job(&self, update: i64, text: Option<&str>) -> Job {
        let written = Written { chat: CHAT, from: 7, name: "Alice".into(), text: text.map(str::to_owned) };
        let bot = KnownBot { owner: self.owner.clone(), bot: BOT };
        for _ in 0..2 {
            self.bots.take(bot.clone(), update, written.clone(), UnixMs::now()).await.unwrap();
        }
        let mut claimed = self.store.claim_jobs(vec![KIND], UnixMs::now(), 9).await.unwrap().jobs;
        assert_eq!(claimed.len(), 1, "once");
        claimed.remove(0)
    }

    /// What is noted of a job.
    async fn progress(&self, job: &Job) -> Value {
        self.store.progress_of(job.id).await.unwrap()
    }

    async fn run(&self, job: &Job) -> Outcome {
        let outcome = self.bots.run(job).await;
        self.store.end_try(job.id, crate::domain::jobs::Verdict::Done, UnixMs::now()).await.unwrap();
        outcome
    }

    /// Method and text of what was sent, apart from what is for show.
    fn sent(&self) -> Vec<(String, String)> {
        let text = |sent: &Value| {
            let text = sent["text"].as_str().or(sent["caption"].as_str()).unwrap_or_default();
            (sent["method"].as_str().unwrap().to_owned(), text.to_owned())
        };
        let sent = self.fakes.telegram_sent();
        sent.iter().filter(|sent| sent["method"] != "sendChatAction").map(text).collect()
    }

    /// The next requests of a method meet a refusal.
    fn refuse(&self, method: &str, status: u16) {
        let path = format!("/telegram/bot{TOKEN}/{method}");
        self.fakes.fail(&path, 1, Fault { status: Some(status), ..Fault::default() });
    }

    fn says(&self, text: &str) {
        self.fakes.answer(&json!({ "content": text })).unwrap();
    }
}

fn voice(text: &str) -> (String, String) {
    ("sendVoice".into(), text.into())
}

fn message(text: &str) -> (String, String) {
    ("sendMessage".into(), text.into())
}

#[test]
fn a_command_is_known_by_its_first_word_whatever_stands_behind_it() {
    assert_eq!(command("/start"), Some("start"));
    assert_eq!(command(" /Reset@fake_bot now"), Some("reset"));
    assert_eq!(command("/start payload_1"), Some("start"));
    for unknown in ["/", "/dance", "/ help", "/starts"] {
        assert_eq!(command(unknown), Some("help"), "{unknown}");
    }
    assert_eq!(command("Do you have pens and/or paper?"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_by_voice_with_its_text_below() {
    let house = house().await;
    house.says("Yes, we do.");
    let job = house.job(1, Some("Do you have pens?")).await;
    assert_eq!(house.run(&job).await, Outcome::Done);
    assert_eq!(house.sent(), [voice("Yes, we do.")]);
    let heard = ogg::decode(&house.fakes.telegram_voices()[0][..], SampleRate::HZ_8000, 60_000).unwrap();
    assert!(heard.len() > 4_000, "{}", heard.len());
    // Once more, as if nobody knew: nobody is asked again, and it is told what it is to do.
    let asked = house.fakes.requests().iter().filter(|asked| asked.path.contains("/chat/")).count();
    let again = Job { progress: house.progress(&job).await, ..job };
    assert_eq!(house.bots.run(&again).await, Outcome::Done);
    assert_eq!(house.sent().len(), 1, "it is known that it was sent");
    let then = house.fakes.requests().iter().filter(|asked| asked.path.contains("/chat/")).count();
    assert_eq!(then, asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_stands_beside_its_voice_and_what_was_sent_of_it_is_not_sent_again() {
    let house = house().await;
    let long = "We have very many pens. ".repeat(60);
    house.says(&long);
    house.refuse("sendMessage", 500);
    let job = house.job(1, Some("Do you have pens?")).await;
    assert!(matches!(house.bots.run(&job).await, Outcome::Later { after: None, .. }));
    assert_eq!(house.sent(), [voice("")]);
    let again = Job { progress: house.progress(&job).await, ..job };
    assert_eq!(house.run(&again).await, Outcome::Done);
    assert_eq!(house.sent(), [voice(""), message(long.trim())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_cannot_be_made_or_is_not_taken_becomes_a_text() {
    let house = house().await;
    house.says("Yes.");
    let no = Fault { status: Some(500), ..Fault::default() };
    house.fakes.fail("/elevenlabs/v1/text-to-speech", 9, no);
    let job = house.job(1, Some("Do you have pens?")).await;
    assert_eq!(house.run(&job).await, Outcome::Done);
    assert_eq!(house.sent(), [message("Yes.")]);
    house.fakes.forget_faults();
    house.says("Still yes.");
    house.refuse("sendVoice", 400);
    let job = house.job(2, Some("And now?")).await;
    assert_eq!(house.run(&job).await, Outcome::Done);
    assert_eq!(house.sent()[1..], [message("Still yes.")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_telegram_does_not_want_now_is_sent_later_and_who_blocked_the_bot_is_noted() {
    let house = house().await;
    house.says("Yes.");
    house.refuse("sendVoice", 429);
    let job = house.job(1, Some("Do you have pens?")).await;
    let after = Some(Duration::from_secs(5));
    let outcome = house.run(&job).await;
    assert!(
        matches!(&outcome, Outcome::Later { after: said, holds_lane: true, .. } if *said == after),
        "{outcome:?}"
    );
    let made = house.progress(&job).await;
    assert!(house.media.read(made["file"].as_str().unwrap()).is_ok(), "the voice is there: {made}");
    house.refuse("sendVoice", 403);
    let again = Job { progress: made, ..job };
    assert_eq!(house.bots.run(&again).await, Outcome::Done);
    assert!(house.sent().is_empty());
    let customers = house.store.customers(&house.owner, None, crate::domain::lines::Page::default());
    let customer = customers.await.unwrap().items.remove(0);
    assert!(customer.metadata["telegram_blocked_at"].is_string());
    assert_eq!((customer.telegram_id.as_deref(), customer.conversations), (Some("7"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_what_is_no_text_are_answered_in_words() {
    let house = house().await;
    let mut expected = Vec::new();
    for (update, text, begins) in [
        (1, Some("/start"), "Hello Alice! I am John."),
        (2, Some("/help"), "Write your question"),
        (3, Some("/unknown"), "Write your question"),
        (4, None, "I can only read text"),
        (5, Some("/reset"), "Let us begin anew"),
    ] {
        let job = house.job(update, text).await;
        assert_eq!(house.run(&job).await, Outcome::Done);
        let sent = house.sent();
        expected.push(begins);
        assert_eq!(sent.len(), expected.len());
        assert!(sent[sent.len() - 1].1.starts_with(begins), "{sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_answer_that_does_not_come_is_told_so() {
    let house = house().await;
    let broken = Fault { status: Some(503), ..Fault::default() };
    house.fakes.fail("/openai/v1/chat", 1, broken);
    let job = house.job(1, Some("Do you have pens?")).await;
    assert!(matches!(house.run(&job).await, Outcome::Later { .. }), "it may be there again soon");
    house.bots.gave_up(&job, "nobody answers").await;
    assert_eq!(house.sent(), [message(SORRY)]);
    house.fakes.fail("/openai/v1/chat", 1, Fault { status: Some(401), ..Fault::default() });
    let job = house.job(2, Some("Do you have pens?")).await;
    assert_eq!(house.run(&job).await, Outcome::Done, "no patience helps against a wrong key");
    assert_eq!(house.sent()[1..], [message(SORRY)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_is_connected_no_more_answers_nothing() {
    let house = house().await;
    let job = house.job(1, Some("Do you have pens?")).await;
    assert!(house.bots.keys.delete(&house.owner, KeyService::Telegram, UnixMs(9)).await.unwrap());
    let sent = house.sent();
    assert_eq!(house.run(&job).await, Outcome::Done);
    assert_eq!(house.sent(), sent);
    assert_eq!(
        house.bots.run(&Job { payload: json!({ "x": 1 }), ..job }).await,
        Outcome::Dead { reason: "a payload of another kind".into() }
    );
}
