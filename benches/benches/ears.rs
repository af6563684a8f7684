//! What does it cost to have a vendor hear a second of a caller's speech?
//!
//! A hundred calls at once on one thread, each a frame every 20 ms as on a telephone, against the doubles of `fixtures` on
//! another thread. The time is that thread's CPU time, for one call and one second of speech: the frames in the client's
//! queue, its messages over loopback without TLS, the results read. Silence costs next to nothing: it is not sent. Beside it
//! stands what it asks of the allocator, of which 50 times are the frames themselves. The recogniser of this machine, where
//! there is one, hears an answer by a grammar.

#![expect(clippy::print_stdout, reason = "the allocations are what a reader comes for, too")]

mod vendors;

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use offhook::integrations::deepgram::{Deepgram, Flux, FluxOptions, Options};
use offhook::integrations::google::{Credentials, GoogleEars, GoogleEarsOptions};
use offhook::integrations::openai::transcription::{self, Transcription};
use offhook::integrations::vendor::{Caller, Ears, Heard};
use offhook::settings::Secret;
use offhook_codecs::{g711, pcm};
use offhook_engine::agent::Expectation;
use offhook_engine::call::UtteranceId;
use offhook_engine::speech::SpeechToText;
use offhook_engine::speech::stt::Recognisers;
use offhook_fixtures::alloc::CountingAllocator;
use offhook_fixtures::answers::PEOPLE;
use offhook_fixtures::sounds::{person, samples};
use offhook_fixtures::vendors::Vendor;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use vendors::{doubles, group, measure, runtime};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const CALLS: usize = 100;
/// Of speech, in each round.
const SECONDS: usize = 2;
const FRAME: usize = 160;
const FRAME_TIME: Duration = Duration::from_millis(20);
const SPEECH_DBFS: f32 = -25.0;
/// What costs are told of.
const SECOND: &str = "a second of speech";

/// Calls that are listened to.
struct Calls {
    runtime: Runtime,
    calls: Vec<(mpsc::Sender<Caller>, mpsc::UnboundedReceiver<Heard>)>,
    speech: Vec<u8>,
    utterance: u32,
    /// Words that the double hears in an utterance.
    words: usize,
}

/// The doubles of streaming recognisers count aloud, a number each half second.
const COUNTED: usize = 2 * SECONDS;

impl Calls {
    fn begin(ears: impl Ears + 'static, words: usize) -> Self {
        let ears: Arc<dyn Ears> = Arc::new(ears);
        let runtime = runtime();
        let call = |_| {
            let (tell, mut told) = mpsc::channel(256);
            let (give, heard) = mpsc::unbounded_channel();
            let ears = ears.clone();
            runtime.spawn(async move {
                let mut pass = |words| give.send(words).expect("it is read");
                ears.listen(&mut told, &mut pass).await.expect("the double has no faults");
            });
            (tell, heard)
        };
        let calls = (0..CALLS).map(call).collect();
        let tone = |n: usize| (n as f32 * 400.0 * std::f32::consts::TAU / 8_000.0).sin() * 6_000.0;
        let speech = (0..SECONDS * 50 * FRAME).map(|n| g711::linear_to_ulaw(tone(n) as i16)).collect();
        Self { runtime, calls, speech, utterance: 0, words }
    }

    /// An utterance on each call, from its beginning to its last words.
    fn round(&mut self) {
        self.utterance += 1;
        let utterance = UtteranceId(self.utterance);
        let (calls, speech, words) = (&mut self.calls, &self.speech, self.words);
        self.runtime.block_on(async {
            let mut tick = interval(FRAME_TIME);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for (tell, _) in calls.iter() {
                tell.send(Caller::Starts(utterance)).await.expect("it listens");
            }
            for frame in speech.chunks(FRAME) {
                tick.tick().await;
                for (tell, _) in calls.iter() {
                    tell.send(Caller::Audio(frame.to_vec())).await.expect("it listens");
                }
            }
            for (tell, _) in calls.iter() {
                let speech_ms = 1_000 * SECONDS as u32;
                tell.send(Caller::Ends { utterance, speech_ms }).await.expect("it listens");
            }
            for (_, heard) in calls.iter_mut() {
                loop {
                    let heard = heard.recv().await.expect("it listens");
                    assert_eq!(heard.utterance, utterance);
                    if heard.is_final {
                        assert_eq!(heard.text.split(' ').count(), words, "{}", heard.text);
                        break;
                    }
                }
            }
        });
    }
}

/// The recogniser of this machine, and an answer for it.
struct Local {
    ear: Box<dyn SpeechToText>,
    ulaw: Vec<u8>,
    words: &'static str,
}

impl Local {
    fn new(recognisers: &Recognisers) -> Self {
        let (name, grammar, words) = PEOPLE[0];
        let mut ear = recognisers.recogniser();
        ear.expect(&Expectation { grammar: grammar.into(), speech_ms_max: 3_000 });
        let mut sound = person(name, SPEECH_DBFS);
        sound.resize(sound.len() + samples(200), 0.0);
        let ulaw = sound.into_iter().map(|s| g711::linear_to_ulaw(pcm::from_float(s))).collect();
        Self { ear, ulaw, words }
    }

    fn round(&mut self) {
        self.ear.start();
        for frame in self.ulaw.chunks(FRAME) {
            self.ear.audio(frame);
        }
        assert_eq!(self.ear.end(self.ulaw.len() as u32 / 8).text, self.words);
    }
}

fn ears(c: &mut Criterion) {
    let (base_of, grpc) = doubles();
    let (key, wait) = (|| Secret::new("any"), Duration::from_secs(30));
    let deepgram = || base_of(Vendor::Deepgram);
    let nova = Deepgram::new(Options { finalize_wait: wait, ..Options::new(deepgram(), key()) });
    let flux = Flux::new(FluxOptions { silence_max: wait, ..FluxOptions::new(deepgram(), key()) });
    let google = GoogleEarsOptions::new(grpc, Credentials::Key(key()));
    let google = GoogleEars::new(GoogleEarsOptions { finalize_wait: wait, ..google });
    let openai = Transcription::new(transcription::Options {
        base: base_of(Vendor::OpenAi),
        key: Some(key()),
        model: "gpt-4o-mini-transcribe".into(),
        language: None,
        prompt: None,
        answer_within: wait,
    });
    let vendors = [
        ("Deepgram", Calls::begin(nova.expect("the key is one"), COUNTED)),
        ("Flux", Calls::begin(flux.expect("the key is one"), COUNTED)),
        ("Google", Calls::begin(google.expect("the key is one"), COUNTED)),
        // The double says hello to everything.
        ("OpenAI, transcription", Calls::begin(openai.expect("the key is one"), 1)),
    ];
    let mut group = group(c, "ears");
    for (name, mut calls) in vendors {
        measure(&mut group, name, SECOND, (CALLS * SECONDS) as f64, || calls.round());
    }
    match Recognisers::detect() {
        Recognisers::None { reason } => println!("What the local recogniser costs cannot be told: {reason}"),
        recognisers => {
            let mut local = Local::new(&recognisers);
            let seconds = local.ulaw.len() as f64 / 8_000.0;
            measure(&mut group, "pocketsphinx", SECOND, seconds, || local.round());
        }
    }
    group.finish();
}

criterion_group!(benches, ears);
criterion_main!(benches);
