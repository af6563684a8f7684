//! What goes wrong at a vendor, and what becomes of the call: each fault at each stage, against doubles over real sockets.
//!
//! Whatever happens, the next vendor finishes the work, and no word is lost or there twice. The tables say as what each fault
//! is known, which is what the timeline tells.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use futures_util::future::join_all;
use offhook::domain::agent::{Model, ModelAgent};
use offhook::domain::speech::vendors::{ears, voices};
use offhook::domain::speech::{Recognisers, Voices};
use offhook::integrations::openai::Waits;
use offhook::settings::{Settings, VoiceWaits};
use offhook_codecs::g711;
use offhook_engine::agent::{Agent, AgentAction, Answering, Wanted};
use offhook_engine::call::{Failure, Prompt, UtteranceId};
use offhook_engine::speech::apart::{Report, Reports};
use offhook_engine::speech::{Ears, Voice, canned::CannedVoice};
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Limits, Vendor};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

/// No row takes longer.
const LONG: Duration = Duration::from_secs(30);

fn fault(text: &str) -> Fault {
    Fault::parse(text).unwrap()
}

/// Settings of a server whose vendors are the doubles.
fn settings(fakes: &FakeVendors, more: &str) -> Settings {
    let mut text = more.to_owned();
    for vendor in [Vendor::Deepgram, Vendor::ElevenLabs, Vendor::Cartesia, Vendor::OpenAi, Vendor::Google] {
        let (name, base) = (vendor.name(), fakes.base_url(vendor));
        text += &format!("\n[vendors.{name}]\nbase_url = '{base}'\napi_key = 'k'\n");
        if matches!(vendor, Vendor::ElevenLabs | Vendor::Cartesia) {
            text += "voice = 'v1'\n";
        }
        if vendor == Vendor::Google {
            text += &format!("speech_base_url = '{}'\n", fakes.grpc_url());
        }
    }
    Settings::from_text(&text).unwrap()
}

async fn next(reports: &Receiver<Report>) -> Report {
    let waiting = async {
        loop {
            match reports.try_recv() {
                Ok(report) => return report,
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(LONG, waiting).await.expect("something is reported")
}

const TEXT: &str = "One two three four five six seven eight nine ten.";

/// Where the words of [`TEXT`] begin.
fn starts() -> Vec<u32> {
    TEXT.match_indices(' ').map(|(at, _)| at as u32 + 1).fold(vec![0], |mut all, at| {
        all.push(at);
        all
    })
}

/// Has a text spoken by `first`, which meets `fault`, and then `second`. Why it was changed, and the places of the words.
async fn spoken(first: &str, second: &str, fault: Fault) -> (Option<Failure>, Vec<u32>) {
    let fakes = FakeVendors::with(Limits { voice_speed: 4.0, ..Limits::default() }).await;
    let path = |name: &str| match name {
        "openai" => "/openai/v1/audio/speech".to_owned(),
        "elevenlabs" => "/elevenlabs/v1/text-to-speech".to_owned(),
        "cartesia" => "/cartesia/tts".to_owned(),
        _ => "/google/v1/text".to_owned(),
    };
    fakes.fail(&path(first), 1, fault);
    let settings = settings(&fakes, &format!("voices = '{first},{second}'"));
    let [first, next, dry] = [700, 1_000, 300].map(Duration::from_millis);
    let chosen = voices(&settings, Arc::new(CannedVoice)).unwrap();
    let voices = Arc::new(Voices::new(chosen, VoiceWaits { first, next, dry }, Handle::current()));
    let (to_here, reports) = Reports::unattended();
    let Voice::Apart(make) = voices.for_a_call() else { panic!("vendors are apart") };
    let mut call = make(to_here);
    call.speak(UtteranceId(1), TEXT.into());
    let (mut why, mut placed) = (None, Vec::new());
    loop {
        match self::next(&reports).await {
            Report::Audio { words, .. } => {
                for word in words {
                    if placed.last().is_none_or(|last| *last < word.text_offset) {
                        placed.push(word.text_offset);
                    }
                }
            }
            Report::Switched { why: failure, to, .. } => {
                assert!(why.replace(failure).is_none(), "once is enough: {failure:?} to {to:?}");
            }
            Report::AudioEnd { failed, .. } => {
                assert!(!failed);
                return (why, placed);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_a_voice_the_next_one_says_the_rest() {
    // A fault, and as what it is known; none: the connection is there before the first word, so that nobody notices.
    let table = [
        ("status=401", Some(Failure::Unauthorised)),
        ("status=402", Some(Failure::Unpaid)),
        ("status=429", Some(Failure::Busy)),
        ("status=500", Some(Failure::Faulty)),
        ("latency=1500ms", None),
        ("stall_after=4000", Some(Failure::Slow)),
        ("close=1011@4000", Some(Failure::Faulty)),
        ("malformed@4000", Some(Failure::Malformed)),
        ("slow=0.3", Some(Failure::Slow)),
    ];
    let rows = [("elevenlabs", "cartesia"), ("cartesia", "elevenlabs")]
        .into_iter()
        .flat_map(|(first, second)| table.map(|(text, why)| (first, second, text, why)));
    let rows = rows.map(|(first, second, text, wanted)| async move {
        let (why, placed) = spoken(first, second, fault(text)).await;
        assert_eq!(why, wanted, "{first}: {text}");
        assert_eq!(placed, starts(), "{first}: {text}");
    });
    join_all(rows).await;
}

/// A caller who says something, heard by `first`, which meets `fault`, and then `second`. Why it was changed, and the words.
async fn heard(first: &str, second: &str, fault: Fault) -> (Option<Failure>, String) {
    let fakes = FakeVendors::with(Limits { deepgram_speed: 50.0, ..Limits::default() }).await;
    let path = match first {
        "deepgram" => "/deepgram/v1/listen",
        "flux" => "/deepgram/v2/listen",
        "google" => "/google.cloud.speech.v1.Speech/",
        _ => "/openai/v1/audio/transcriptions",
    };
    fakes.fail(path, 1, fault);
    // Ears that stall have taken what they were to hear.
    fakes.deepgram(["I would like to book a table."; 2]);
    fakes.google(["I would like to book a table."; 2]);
    let settings = settings(&fakes, &format!("ears = '{first},{second}'"));
    let chosen = ears(&settings).unwrap();
    let ears = Arc::new(Recognisers::new(chosen, None, Handle::current()));
    let (to_here, reports) = Reports::unattended();
    let Ears::Apart(make) = ears.for_a_call() else { panic!("vendors are apart") };
    let mut call = make(to_here);
    call.start(UtteranceId(1));
    let step = 400.0 * std::f32::consts::TAU / 8_000.0;
    let tone: Vec<u8> =
        (0..8_000).map(|n| g711::linear_to_ulaw(((n as f32 * step).sin() * 6_000.0) as i16)).collect();
    // And the silence that ends a turn.
    for frame in tone.chunks(160).chain([&[0xFF_u8; 160][..]; 35]) {
        call.audio(frame);
        sleep(Duration::from_millis(20)).await;
    }
    call.end(UtteranceId(1), 1_000);
    let mut why = None;
    loop {
        match next(&reports).await {
            Report::Words { text, is_final: true, .. } => return (why, text),
            Report::Words { .. } => {}
            Report::Switched { why: failure, to, .. } => {
                assert!(why.replace(failure).is_none(), "once is enough: {failure:?} to {to:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_ears_the_next_ones_hear_it_all() {
    // As what it is known at Deepgram, and at Google: which has no status for who has not paid, does not answer a stream before
    // there are words, and ends one for no reason that is told.
    let table = [
        ("status=401", Failure::Unauthorised, Failure::Unauthorised),
        ("status=402", Failure::Unpaid, Failure::Refused),
        ("status=429", Failure::Busy, Failure::Busy),
        ("status=500", Failure::Faulty, Failure::Faulty),
        ("latency=4s", Failure::Unreachable, Failure::Slow),
        ("stall_after=4000", Failure::Slow, Failure::Slow),
        ("close=1011@4000", Failure::Faulty, Failure::BrokenOff),
        ("malformed@4000", Failure::Malformed, Failure::Malformed),
    ];
    let rows = [("deepgram", "flux"), ("flux", "google"), ("google", "deepgram")].into_iter().flat_map(
        |(first, second)| {
            table.map(|(text, deepgram, google)| {
                (first, second, text, if first == "google" { google } else { deepgram })
            })
        },
    );
    let rows = rows.map(|(first, second, text, wanted)| async move {
        let (why, words) = heard(first, second, fault(text)).await;
        assert_eq!(why, Some(wanted), "{first}: {text}");
        assert_eq!(words, "I would like to book a table.", "{first}: {text}");
    });
    join_all(rows).await;
}

/// Keeps what an agent says, and who took over from whom.
#[derive(Default)]
struct Ear {
    said: Vec<String>,
    switched: Vec<(String, Failure)>,
}

impl Answering for Ear {
    fn act(&mut self, action: AgentAction) -> ControlFlow<()> {
        match action {
            AgentAction::Say(text) => self.said.push(text),
            AgentAction::Switch { from, why, .. } => self.switched.push((from, why)),
            other => panic!("{other:?}"),
        }
        ControlFlow::Continue(())
    }

    fn wanted(&self) -> Wanted {
        Wanted::default()
    }
}

/// The answer of a model that meets `fault` as often as it tries, and of the one behind it.
async fn answered(fault: Fault, tries: usize, rest: &str) -> Ear {
    let fakes = FakeVendors::start().await;
    fakes.fail("/openai/v1/chat", tries, fault);
    for content in ["Of course, for tomorrow at nine.", rest] {
        fakes.answer(&json!({ "content": content })).unwrap();
    }
    let base = fakes.base_url(Vendor::OpenAi);
    let text = format!(
        "agent = 'openai'\nopenai_base_url = '{base}'\nopenai_api_key = 'k'\nopenai_model = 'first'\n\
         [[fallback_models]]\nmodel = 'second'"
    );
    let settings = Settings::from_text(&text).unwrap();
    let [connect, first, next] = [2_000, 700, 700].map(Duration::from_millis);
    let model = Model::new(&settings.openai, &[], Waits { connect, first, next }, Handle::current()).unwrap();
    let mut agent = ModelAgent::new(Arc::new(model), "c1");
    let turn = tokio::task::spawn_blocking(move || {
        let mut ear = Ear::default();
        agent.answer(&Prompt::Said("Can I book a table?".into()), &mut ear).unwrap();
        ear
    });
    timeout(LONG, turn).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_a_model_the_next_one_finishes_the_answer() {
    let whole = "Of course, for tomorrow at nine.";
    // The fault, how often it is met (what may be chance is tried twice), what is left to say, and as what it is known.
    let table = [
        ("status=401", 1, whole, Failure::Unauthorised),
        ("status=402", 1, whole, Failure::Unpaid),
        ("status=429", 1, whole, Failure::Busy),
        ("status=500", 2, whole, Failure::Faulty),
        ("latency=1500ms", 1, whole, Failure::Slow),
        ("stall_after=20", 1, "tomorrow at nine.", Failure::BrokenOff),
        ("close=1011@20", 1, "tomorrow at nine.", Failure::BrokenOff),
        ("malformed@20", 1, "tomorrow at nine.", Failure::Malformed),
    ];
    let rows = table.map(|(text, tries, rest, wanted)| async move {
        let ear = answered(fault(text), tries, rest).await;
        assert_eq!(ear.switched, [("first".to_owned(), wanted)], "{text}");
        assert_eq!(ear.said.join(" "), whole, "{text}");
    });
    join_all(rows).await;
}
