use super::*;
use crate::domain::account_calls::{CallReport, Outcome as Ended, Stage};
use crate::domain::addons::Addon;
use crate::domain::figures::Count;
use crate::domain::inbound_webhooks::InboundWebhooks;
use crate::domain::keys::Keys;
use crate::domain::lines::Page;
use crate::domain::user_settings::SettingChanges;
use crate::integrations::http::HttpClient;
use crate::integrations::openai::fake::{Fake, Step};
use crate::settings::{OpenAiSettings, Settings};

struct Fixture {
    store: Arc<Store>,
    analyses: CallAnalyses,
    settings: Arc<UserSettings>,
    owner: String,
    call: String,
    _dir: tempfile::TempDir,
}

/// A user with a call that ended, and a model at this server.
async fn fixture(url: &str) -> Fixture {
    with_twilio(url, "http://127.0.0.1:9").await
}

async fn with_twilio(url: &str, twilio: &str) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
    let keys = Arc::new(Keys::load(&Settings::local(dir.path().into())).unwrap());
    let pat =
        store.add_account("pat@example.com", "Pat", "h".into(), false, UnixMs(1)).await.unwrap().unwrap();
    let webhooks = InboundWebhooks::new(store.clone(), keys.clone(), true);
    let (webhook, _) = webhooks.create(&pat.id, "w", UnixMs(2)).await.unwrap();
    let report = CallReport {
        id: "c".into(),
        stage: Stage::Ended,
        customer_phone: Some("+15005550009".into()),
        ended_reason: Some("customer-ended-call".into()),
        outcome: Some(Ended {
            transcript: vec![
                line("assistant", "Hello"),
                line("user", "I love the haircut. I want to book an appointment."),
            ],
            ..Ended::default()
        }),
        ..CallReport::default()
    };
    webhooks.take(&webhook, report, UnixMs(1_770_000_000_000)).await.unwrap();
    let call = store.ended_calls(&pat.id, Page::default()).await.unwrap().remove(0).id;
    let model = OpenAiSettings { base: url.parse().unwrap(), ..OpenAiSettings::default() };
    let model = UserModel::new(HttpClient::new().unwrap(), &model);
    let settings = Arc::new(UserSettings::new(store.clone(), keys));
    let zone = TimeZone::get("Europe/Amsterdam").unwrap();
    let twilio = (HttpClient::new().unwrap(), twilio.parse().unwrap());
    let analyses = CallAnalyses::new(store.clone(), settings.clone(), model, twilio, zone);
    Fixture { store, analyses, settings, owner: pat.id, call, _dir: dir }
}

impl Fixture {
    async fn run(&self, tries: u32) -> Outcome {
        let NewJob { key, payload, .. } = job(&self.owner, &self.call, UnixMs(1));
        let job = Job {
            id: 1,
            kind: KIND.into(),
            key,
            lane: String::new(),
            payload,
            progress: json!({}),
            tries,
            created: UnixMs(1),
        };
        self.analyses.run(&job).await
    }

    async fn intents(&self) -> Vec<Count> {
        self.store.calls_by_intent(&self.owner).await.unwrap()
    }

    async fn has_key(&self) {
        let key = SettingChanges::from([(UserSetting::OpenAiApiKey, Some("sk".into()))]);
        self.settings.change(&self.owner, key, UnixMs(3)).await.unwrap();
    }
}

fn count(name: &str, calls: u64) -> Count {
    Count { name: name.into(), calls }
}

fn says(intent: &str) -> Vec<Step> {
    let analysis = json!({
        "intent": intent, "sentiment": 0.5, "summary": "Wants a haircut.",
        "keywords": [{ "keyword": "haircut", "sentiment": 0.9 }, { "keyword": "haircut", "sentiment": 0.1 }],
        "appointment": { "date": "2026-03-02", "time": "14:00", "type": "haircut" },
    });
    let message = json!({ "role": "assistant", "content": analysis.to_string() });
    let body = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] });
    vec![Step::Answer(200, "content-type: application/json\r\n", body.to_string())]
}

fn fails() -> Vec<Step> {
    vec![Step::Answer(500, "", "{}".into())]
}

#[tokio::test]
async fn without_add_on_or_key_the_words_are_looked_at_here_and_nobody_is_asked() {
    let fake = Fake::new([]).await;
    let of = fixture(&fake.url).await;
    of.has_key().await;
    assert_eq!(of.run(1).await, Outcome::Done);
    assert_eq!(of.run(1).await, Outcome::Done, "again changes nothing");
    assert_eq!(of.intents().await, [count("booking", 1)]);
    let keywords = of.store.keywords(&of.owner).await.unwrap();
    let haircut = keywords.iter().find(|keyword| keyword.keyword == "haircut").unwrap();
    assert_eq!((haircut.calls, haircut.positive, haircut.negative), (1, 1, 0));
    assert_eq!(of.store.analysis_source(&of.call).await.unwrap(), Some(Source::Local));
    assert_eq!(fake.connections.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(of.store.booked(&of.owner, Page::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn with_both_a_model_says_so_and_finds_appointments_where_that_is_switched_on() {
    let fake = Fake::new([says("sales"), says("sales")]).await;
    let of = fixture(&fake.url).await;
    of.has_key().await;
    of.store.switch_addon(&of.owner, Addon::OpenAiAnalysis, true, UnixMs(3)).await.unwrap();
    of.store.switch_addon(&of.owner, Addon::AppointmentsByAi, true, UnixMs(3)).await.unwrap();
    assert_eq!(of.run(1).await, Outcome::Done);
    assert_eq!(of.run(1).await, Outcome::Done, "of one call it is said once");
    assert_eq!(of.intents().await, [count("sales", 1)]);
    assert_eq!(of.store.analysis_source(&of.call).await.unwrap(), Some(Source::Model));
    let ended = of.store.ended_call(&of.call).await.unwrap().unwrap();
    assert_eq!(ended.summary.as_deref(), Some("Wants a haircut."));
    let booked = of.store.booked(&of.owner, Page::default()).await.unwrap();
    assert_eq!(booked.len(), 1);
    assert_eq!((booked[0].call.as_str(), booked[0].phone.as_str()), ("c", "+15005550009"));
    assert_eq!(booked[0].clock(), ("2026-03-02".into(), "2:00 PM".into()));
}

#[tokio::test]
async fn a_model_that_fails_is_asked_again_later_and_not_for_ever() {
    let fake = Fake::new([fails(), fails(), says("sales")]).await;
    let of = fixture(&fake.url).await;
    of.has_key().await;
    of.store.switch_addon(&of.owner, Addon::OpenAiAnalysis, true, UnixMs(3)).await.unwrap();
    assert!(matches!(of.run(1).await, Outcome::Later { .. }));
    assert!(of.intents().await.is_empty());
    assert_eq!(of.run(MODEL_TRIES).await, Outcome::Done);
    assert_eq!(of.store.analysis_source(&of.call).await.unwrap(), Some(Source::Local));
}

#[tokio::test]
async fn whose_number_it_was_is_asked_where_that_is_switched_on_and_nobody_knows() {
    let api = offhook_fixtures::twilio::TwilioApi::start("AC1", "t").await;
    let of = with_twilio("http://127.0.0.1:9", &api.base_url()).await;
    let account = SettingChanges::from([
        (UserSetting::TwilioAccountSid, Some("AC1".into())),
        (UserSetting::TwilioAuthToken, Some("t".into())),
    ]);
    of.settings.change(&of.owner, account, UnixMs(3)).await.unwrap();
    let name = async || of.store.ended_call(&of.call).await.unwrap().unwrap().customer_name;
    assert_eq!(of.run(1).await, Outcome::Done);
    assert_eq!((name().await, api.asked().len()), (None, 0), "it is switched off");
    of.store.switch_addon(&of.owner, Addon::TwilioEnhancedCallerId, true, UnixMs(3)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(of.run(1).await, Outcome::Done);
    }
    assert_eq!(name().await.as_deref(), Some("CALLER 0009"));
    assert_eq!(api.asked().len(), 1, "who is known is not asked for");
}

#[tokio::test]
async fn of_a_call_without_words_nothing_is_said() {
    let of = fixture("http://127.0.0.1:9").await;
    let call = EndedCall { transcript: Vec::new(), ..of.store.ended_call(&of.call).await.unwrap().unwrap() };
    assert!(Said::of(&call).is_empty());
    let long = EndedCall { transcript: vec![line("user", &"word ".repeat(10_000)); 3], ..call };
    let said = Said::of(&long);
    assert!(said.all().chars().count() < SAID_MAX + 100);
}
