use offhook_codecs::g711;
use offhook_engine::call::UtteranceId;
use offhook_engine::speech::apart::{Report, Reports};
use offhook_engine::speech::stt::none::NoRecogniser;
use offhook_fixtures::vendors::{FakeVendors, Vendor};

use super::testing::spoken;
use super::*;
use crate::domain::speech::Answering;

const CALLER: &str = "+31612345678";

struct Fixture {
    clones: Arc<Clones>,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

/// With a key, ElevenLabs of the double is asked.
fn fixture(fakes: Option<&FakeVendors>, more: &str) -> Option<Fixture> {
    let dir = tempfile::tempdir().unwrap();
    let vendor = fakes.map_or_else(String::new, |fakes| {
        format!("[vendors.elevenlabs]\nbase_url = '{}'\napi_key = 'k'\n", fakes.base_url(Vendor::ElevenLabs))
    });
    let text = format!("speech = 'keypad'\n{vendor}[voiceclone]\nspeech_seconds = 3\n{more}");
    let settings = Settings::from_text(&text).unwrap();
    let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
    let answering = Answering::from_settings(&settings, None).unwrap();
    let clones = answering.clones(&settings, store.clone(), &HttpClient::new().unwrap()).unwrap()?;
    Some(Fixture { clones, store, _dir: dir })
}

/// A call whose ears and voice are the test's to use.
struct OneCall {
    ears: Box<dyn offhook_engine::speech::SpeechToText>,
    voice: Box<dyn offhook_engine::speech::apart::VoiceApart>,
    reports: crossbeam_channel::Receiver<Report>,
    of_call: Arc<OfCall>,
    said: u32,
}

impl Fixture {
    fn call(&self, id: &str) -> OneCall {
        let of_call = self.clones.answers(&CallId::new(id).unwrap());
        let (ears, voice) =
            of_call.on(Ears::Here(Box::new(NoRecogniser)), Voice::Here(self.clones.local.clone()));
        let (Ears::Here(ears), Voice::Apart(make)) = (ears, voice) else { panic!("as they were made") };
        let (to, reports) = Reports::unattended();
        OneCall { ears, voice: make(to), reports, of_call, said: 0 }
    }

    async fn cached(&self) -> Option<ClonedVoice> {
        self.clones.voice_of(CALLER, UnixMs::now()).await.unwrap()
    }

    async fn until_cached(&self) -> ClonedVoice {
        for _ in 0..1_000 {
            if let Some(voice) = self.cached().await {
                return voice;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no voice was made");
    }
}

impl OneCall {
    /// The caller talks for some four seconds.
    fn talks(&mut self) {
        let said: Vec<u8> = spoken(1.4).iter().map(|&sample| g711::linear_to_ulaw(sample)).collect();
        self.ears.start();
        for piece in [&[0xff; 1_600][..], &said, &[0xff; 5_600]].concat().chunks(800) {
            let _ = self.ears.audio(piece);
        }
        let _ = self.ears.end(60_000);
    }

    /// What the agent's voice makes of a text.
    async fn says(&mut self, text: &str) -> Vec<i16> {
        let utterance = UtteranceId(self.said);
        self.said += 1;
        self.voice.speak(utterance, text.into());
        let (reports, mut ulaw) = (self.reports.clone(), Vec::new());
        let spoken = spawn_blocking(move || {
            loop {
                match reports.recv_timeout(Duration::from_secs(20)).unwrap() {
                    Report::Audio { audio, .. } => ulaw.extend_from_slice(&audio),
                    Report::AudioEnd { failed, .. } => {
                        assert!(!failed);
                        return ulaw;
                    }
                    _ => {}
                }
            }
        });
        spoken.await.unwrap().iter().map(|&code| g711::ulaw_to_linear(code)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_hears_the_own_voice_from_the_next_sentence_on_and_on_the_next_call_from_the_first() {
    let fakes = FakeVendors::start().await;
    let fixture = fixture(Some(&fakes), "consent = 'given'").unwrap();
    let mut first = fixture.call("01");
    fixture.clones.want(&CallId::new("01").unwrap(), CALLER, None);
    assert!(!first.says("Good day.").await.is_empty(), "it speaks, whoever's voice that is");
    assert!(fakes.requests().is_empty(), "with the voice of this machine");
    first.talks();
    let voice = fixture.until_cached().await;
    assert_eq!((voice.maker.as_str(), voice.call.as_deref()), (ELEVENLABS, Some("01")));
    let made = fakes.made_voices();
    assert_eq!((made.len(), &made[0].id), (1, &voice.voice_id));
    assert!(made[0].speech.len() > 3 * 16_000, "three seconds of speech");
    assert!(!made[0].name.contains("612345678"), "{}", made[0].name);
    while first.of_call.voice.borrow().is_none() {
        tokio::task::yield_now().await;
    }
    assert!(offhook_fixtures::vendors::is_cloned(&first.says("Here you are.").await, 8_000));

    let mut second = fixture.call("02");
    fixture.clones.want(&CallId::new("02").unwrap(), CALLER, Some(&voice));
    assert!(offhook_fixtures::vendors::is_cloned(&second.says("Good day again.").await, 8_000));
    second.talks();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fakes.made_voices().len(), 1, "it is there already");

    assert!(fixture.clones.forget(CALLER, UnixMs::now()).await.unwrap());
    while !fakes.made_voices().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fixture.cached().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_webhook_told_of_is_left_alone_until_one_does() {
    let fakes = FakeVendors::start().await;
    let fixture = fixture(Some(&fakes), "consent = 'given'").unwrap();
    let mut call = fixture.call("01");
    call.talks();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((fakes.made_voices(), fixture.cached().await), (vec![], None));
    fixture.clones.want(&CallId::new("01").unwrap(), CALLER, None);
    fixture.until_cached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_stand_in_speaks_and_is_called_one() {
    let fixture = fixture(None, "consent = 'given'").unwrap();
    let mut call = fixture.call("01");
    fixture.clones.want(&CallId::new("01").unwrap(), CALLER, None);
    let plain = call.says("We open at nine.").await;
    call.talks();
    let voice = fixture.until_cached().await;
    assert_eq!(voice.maker, LOCAL);
    assert!(voice.voice_id.starts_with("local-"), "{}", voice.voice_id);
    while call.of_call.voice.borrow().is_none() {
        tokio::task::yield_now().await;
    }
    assert_ne!(call.says("We open at nine.").await, plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_consent_nobody_listens_and_without_a_plain_voice_nobody_stands_in() {
    let fakes = FakeVendors::start().await;
    assert!(fixture(Some(&fakes), "consent = 'none'").is_none());
    let local = fixture(Some(&fakes), "consent = 'local'").unwrap();
    assert_eq!(local.clones.maker(), LOCAL, "a key is no consent");
    let dir = tempfile::tempdir().unwrap();
    let text = "voices = 'cartesia'\nspeech = 'keypad'\n[vendors.cartesia]\napi_key = 'k'\nvoice = 'a'";
    let settings = Settings::from_text(text).unwrap();
    let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
    let answering = Answering::from_settings(&settings, None).unwrap();
    assert!(answering.clones(&settings, store, &HttpClient::new().unwrap()).unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maker_that_fails_leaves_the_voice_as_it_is_and_the_next_call_tries_again() {
    let fakes = FakeVendors::start().await;
    let fixture = fixture(Some(&fakes), "consent = 'given'").unwrap();
    let busy = offhook_fixtures::vendors::faults::Fault { status: Some(503), ..Default::default() };
    fakes.fail("/elevenlabs/v1/voices/add", 1, busy);
    let mut first = fixture.call("01");
    fixture.clones.want(&CallId::new("01").unwrap(), CALLER, None);
    let before = first.says("As you like.").await;
    first.talks();
    while fakes.requests().iter().all(|asked| asked.status != Some(503)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((first.says("As you like.").await, fixture.cached().await), (before, None));
    let mut second = fixture.call("02");
    fixture.clones.want(&CallId::new("02").unwrap(), CALLER, None);
    second.talks();
    fixture.until_cached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_has_expired_is_taken_away() {
    let fakes = FakeVendors::start().await;
    let fixture = fixture(Some(&fakes), "consent = 'given'").unwrap();
    let mut call = fixture.call("01");
    fixture.clones.want(&CallId::new("01").unwrap(), CALLER, None);
    call.talks();
    let voice = fixture.until_cached().await;
    fixture.clones.expire(UnixMs(voice.expires.0 - 1)).await;
    assert_eq!(fakes.made_voices().len(), 1);
    fixture.clones.expire(voice.expires).await;
    while !fakes.made_voices().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fixture.store.voice_of(CALLER, UnixMs(voice.expires.0 - 1)).await.unwrap(), None);
}
