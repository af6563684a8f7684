//! What does it cost to have a vendor speak for a second?
//!
//! A hundred calls at once on one thread, each with a line of its own, have a sentence spoken by the doubles of `fixtures` on
//! another thread, eight times as fast as it is heard. The time is that thread's CPU time, for one call and one second of
//! speech: the request, the audio read from loopback without TLS, decoded and brought to 8 kHz µ-law where it is not, the words
//! placed where the vendor places them. Beside it stands what it asks of the allocator. The voice of this machine says the
//! same, which takes all that a vendor's computers do elsewhere.

#![expect(clippy::print_stdout, reason = "the allocations are what a reader comes for, too")]

mod vendors;

use std::ops::ControlFlow;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use offhook::integrations::cartesia::{self, Cartesia};
use offhook::integrations::elevenlabs::{self, ElevenLabs, Transport};
use offhook::integrations::google::{self, Credentials, Google};
use offhook::integrations::openai::speech::{self, Speech};
use offhook::integrations::vendor::{Spoken, Voice, VoiceLine};
use offhook::settings::Secret;
use offhook_codecs::g711;
use offhook_engine::speech::render;
use offhook_engine::speech::tts::flite::Flite;
use offhook_fixtures::alloc::CountingAllocator;
use offhook_fixtures::vendors::{CHARACTER_MS, Vendor, count_words};
use tokio::runtime::Runtime;
use vendors::{doubles, group, measure, runtime};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const CALLS: usize = 100;
const TEXT: &str = "We open at nine in the morning, and close at five.";
/// How long the doubles take to say it.
const SECONDS: f64 = (TEXT.len() * CHARACTER_MS) as f64 / 1_000.0;
/// What costs are told of.
const SECOND: &str = "a second of speech";

/// Calls that are spoken to.
struct Calls {
    runtime: Runtime,
    lines: Vec<Box<dyn VoiceLine>>,
}

impl Calls {
    fn begin(voice: impl Voice) -> Self {
        let runtime = runtime();
        let lines = runtime.block_on(async {
            let mut lines: Vec<_> = (0..CALLS).map(|_| voice.line()).collect();
            for line in &mut lines {
                line.warm().await.expect("the double has no faults");
            }
            let mut samples = Vec::new();
            let mut spoken = |piece: Spoken| samples.extend(piece.ulaw.into_iter().map(g711::ulaw_to_linear));
            lines[0].speak(TEXT, &mut spoken).await.expect("the double has no faults");
            assert_eq!(count_words(&samples, 8_000), TEXT.split(' ').count(), "{}", voice.name());
            lines
        });
        Self { runtime, lines }
    }

    /// The sentence on each call.
    fn round(&mut self) {
        let speaking = self.lines.iter_mut().map(|line| async {
            let mut bytes = 0;
            let mut spoken = |piece: Spoken| bytes += piece.ulaw.len();
            line.speak(TEXT, &mut spoken).await.expect("the double has no faults");
            // ElevenLabs is sent a blank behind the text, which is said too; and a resampler may add less than 10 ms.
            let more = bytes as f64 / 8_000.0 - SECONDS;
            assert!((-0.01..CHARACTER_MS as f64 / 1_000.0 + 0.01).contains(&more), "{bytes} bytes");
        });
        self.runtime.block_on(join_all(speaking));
    }
}

fn voices(c: &mut Criterion) {
    let (base_of, _) = doubles();
    let key = || Secret::new("any");
    let elevenlabs = |transport| {
        let (base, voice, model) = (base_of(Vendor::ElevenLabs), "v".into(), "eleven_flash_v2_5".into());
        let (language, speed) = (None, None);
        let options = elevenlabs::Options { base, key: key(), voice, model, language, speed, transport };
        Calls::begin(ElevenLabs::new(options).expect("the voice is one"))
    };
    let cartesia = Cartesia::new(cartesia::Options {
        base: base_of(Vendor::Cartesia),
        key: key(),
        version: cartesia::VERSION.into(),
        voice: "v".into(),
        model: "sonic-3".into(),
        language: None,
        speed: None,
    });
    let openai = Speech::new(speech::Options {
        base: base_of(Vendor::OpenAi),
        key: Some(key()),
        model: "gpt-4o-mini-tts".into(),
        voice: "alloy".into(),
        instructions: None,
        speed: None,
    });
    let google = Google::new(google::Options {
        base: base_of(Vendor::Google),
        credentials: Credentials::Key(key()),
        language: "en-US".into(),
        voice: None,
        speed: None,
    });
    let mut group = group(c, "voices");
    // Each begins when it is measured: a connection that waits for the others would be closed.
    let mut of = |name, mut calls: Calls| {
        measure(&mut group, name, SECOND, CALLS as f64 * SECONDS, || calls.round());
    };
    of("ElevenLabs, socket", elevenlabs(Transport::Socket));
    of("ElevenLabs, HTTP", elevenlabs(Transport::Http));
    of("Cartesia", Calls::begin(cartesia.expect("the key is one")));
    of("OpenAI", Calls::begin(openai.expect("the key is one")));
    of("Google", Calls::begin(google.expect("the key is one")));
    let flite = Arc::new(Flite::new().expect("it is inside"));
    let say = || {
        let mut bytes = 0;
        let spoken = render(&*flite, TEXT, &mut |ulaw| {
            bytes += ulaw.len();
            ControlFlow::Continue(())
        });
        assert_eq!(spoken.expect("it speaks").len(), TEXT.split(' ').count());
        bytes
    };
    let seconds = say() as f64 / 8_000.0;
    measure(&mut group, "flite", SECOND, seconds, || {
        say();
    });
    group.finish();
}

criterion_group!(benches, voices);
criterion_main!(benches);
