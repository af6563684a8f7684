//! While one call's agent, the log and the sink all hang, every other call's audio leaves on time.
//!
//! Nothing here races with the machine: what hangs, hangs until the test lets it go, which it does only after the other
//! calls were sent more than two seconds of audio. A media thread that waited for any of it would wait for ever.

use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use offhook_codecs::SampleRate;
use offhook_engine::agent::{Agent, AgentAction, AgentError, Answering};
use offhook_engine::call::{CallSettings, Event, Prompt, Then, WordStart};
use offhook_engine::speech::stt::none::NoRecogniser;
use offhook_engine::speech::{Ears, SpeechError, TextToSpeech, Voice};
use offhook_engine::{CallHandle, CallId, CallSink, Engine, EngineSettings, Finished, NewCall, NewLeg};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// Longer than any test here lasts: a tenth of a second per letter.
const STORY: &str =
    "A story that goes on and on, so that there is always something to send, whatever else may happen.";
/// Audio messages that each caller gets while all else hangs: 2.2 s.
const FRAMES: usize = 110;

/// What hangs: says so, and waits until the other end of the gate is dropped.
#[derive(Clone)]
struct Hanging {
    says: Sender<()>,
    gate: Receiver<()>,
}

/// The test's end of [`Hanging`].
struct Held {
    hangs: Receiver<()>,
    gate: Option<Sender<()>>,
}

fn hanging() -> (Hanging, Held) {
    let (says, hangs) = unbounded();
    let (opens, gate) = bounded(0);
    (Hanging { says, gate }, Held { hangs, gate: Some(opens) })
}

impl Hanging {
    fn hang(&self) {
        let _ = self.says.send(());
        let _ = self.gate.recv();
    }
}

impl Held {
    /// Waits until somebody hangs.
    fn hangs(&self) {
        self.hangs.recv_timeout(Duration::from_secs(20)).expect("it gets to where it hangs");
    }

    fn let_go(&mut self) {
        self.gate = None;
    }
}

/// Answers at once, on the speech thread that it shares with all others.
struct Storyteller;

impl Agent for Storyteller {
    fn answers_at_once(&self) -> bool {
        true
    }

    fn answer(&mut self, _: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
        let _ = out.act(AgentAction::Say(STORY.into()));
        Ok(Then::Listen { keys_max: 0 })
    }

    fn forget_last(&mut self) {}
}

/// Waits for something before it answers.
struct Waiting(Hanging);

impl Agent for Waiting {
    fn answer(&mut self, _: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
        self.0.hang();
        let _ = out.act(AgentAction::Say("Here I am.".into()));
        Ok(Then::Listen { keys_max: 0 })
    }

    fn forget_last(&mut self) {}
}

struct Hum;

impl TextToSpeech for Hum {
    fn sample_rate(&self) -> SampleRate {
        SampleRate::HZ_8000
    }

    fn synthesize(
        &self,
        text: &str,
        on_audio: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<Vec<WordStart>, SpeechError> {
        for _ in text.chars() {
            let _ = on_audio(&[1_000; 800]);
        }
        Ok(Vec::new())
    }
}

/// A voice that fails, which is logged.
struct Mute;

impl TextToSpeech for Mute {
    fn sample_rate(&self) -> SampleRate {
        SampleRate::HZ_8000
    }

    fn synthesize(
        &self,
        _: &str,
        _: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
    ) -> Result<Vec<WordStart>, SpeechError> {
        Err(SpeechError::Failed("it lost its voice".into()))
    }
}

struct HangingSink {
    hanging: Hanging,
    finished: Sender<String>,
}

impl CallSink for HangingSink {
    fn on_event(&self, _: &CallId, _: &Event) {
        self.hanging.hang();
    }

    fn on_finished(&self, call: &CallId, _: &Finished) {
        let _ = self.finished.send(call.to_string());
    }

    fn on_loss(&self, call: &CallId, what: &str) {
        panic!("{call}: {what}");
    }
}

/// A log whose reader does not read.
struct HangingLog(Hanging);

impl tracing::Subscriber for HangingLog {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.hang();
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

struct Caller {
    socket: WebSocket<TcpStream>,
    chunk: u32,
    _handle: CallHandle,
}

impl Caller {
    fn new(engine: &Engine, id: &str, agent: Box<dyn Agent>, voice: Arc<dyn TextToSpeech>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let carrier = listener.local_addr().and_then(TcpStream::connect).expect("it listens");
        carrier.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout above zero");
        let (socket, _) = listener.accept().expect("somebody connected");
        let new = NewCall {
            id: CallId::new(id).expect("a name"),
            ears: Ears::Here(Box::new(NoRecogniser)),
            voice: Voice::Here(voice),
            agent,
            // However slow the machine: no call here ends for want of anything.
            settings: Arc::new(CallSettings {
                agent_wait_ms: 600_000,
                media_timeout_ms: 600_000,
                // A frame for a frame, so that the agent's audio is the clock.
                message_ms: 20,
                ..CallSettings::default()
            }),
            answered_unix_us: 0,
        };
        let handle =
            engine.hand_over(NewLeg { socket, already_read: Vec::new() }, new).expect("room for a call");
        let socket = WebSocket::from_raw_socket(carrier, Role::Client, None);
        let mut caller = Self { socket, chunk: 0, _handle: handle };
        caller.say(
            r#"{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"accountSid":"AC1","streamSid":"MZ1",
            "callSid":"CA1","mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}"#,
        );
        caller.frame();
        caller
    }

    fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the leg is open");
    }

    fn frame(&mut self) {
        self.chunk += 1;
        let payload = "/".repeat(214) + "8=";
        self.say(&format!(
            r#"{{"event":"media","streamSid":"MZ1","media":{{"chunk":"{}","payload":"{payload}"}}}}"#,
            self.chunk
        ));
    }

    /// Sends one frame and waits for one: the agent's audio is the clock.
    fn exchange_a_frame(&mut self) {
        self.frame();
        let message = self.socket.read().expect("audio comes while all else hangs");
        assert!(message.to_text().is_ok_and(|text| text.contains(r#""event":"media""#)), "{message}");
    }

    fn hang_up(&mut self) {
        self.say(r#"{"event":"stop","streamSid":"MZ1"}"#);
    }
}

#[test]
fn agent_log_and_sink_hang_and_no_other_call_has_a_late_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, held_agent) = hanging();
    let (log, held_log) = hanging();
    let (sink, held_sink) = hanging();
    tracing::subscriber::set_global_default(HangingLog(log)).unwrap();
    let (finish, finished) = unbounded();
    let settings = EngineSettings {
        media_threads: 1,
        speech_threads: 1,
        pin_threads: false,
        journal_dir: dir.path().join("journals"),
        recording_dir: dir.path().join("recordings"),
    };
    let engine = Engine::start(settings, Arc::new(HangingSink { hanging: sink, finished: finish })).unwrap();

    // Dropped before the engine, which waits for its writer, should the test fail.
    let (mut held_agent, mut held_log, mut held_sink) = (held_agent, held_log, held_sink);

    let mut waiting = Caller::new(&engine, "waiting", Box::new(Waiting(agent)), Arc::new(Hum));
    held_agent.hangs();
    held_sink.hangs();
    // One agent waits; others, on the same speech thread, are asked and answer.
    let mut others: Vec<Caller> = ["one", "two", "three"]
        .map(|id| Caller::new(&engine, id, Box::new(Storyteller), Arc::new(Hum)))
        .into();
    others.iter_mut().for_each(Caller::exchange_a_frame);
    // From here on the log, and with it the one speech thread, hangs too.
    let mut mute = Caller::new(&engine, "mute", Box::new(Storyteller), Arc::new(Mute));
    held_log.hangs();

    let before = engine.measures().media_threads[0].clone();
    for _ in 0..FRAMES {
        others.iter_mut().for_each(Caller::exchange_a_frame);
    }
    let thread = engine.measures().media_threads[0].clone();
    let sent = thread.frames_out - before.frames_out;
    assert!(sent >= (others.len() * (FRAMES - 10)) as u64, "{sent} frames");
    assert!(thread.lateness.count() > before.lateness.count());
    // As long as all that hangs: a machine that stalls for less has proved nothing against the engine.
    let late = thread.lateness.longer_than(Duration::from_secs(2));
    assert_eq!(late, 0, "{:?}", thread.lateness);

    held_agent.let_go();
    held_log.let_go();
    held_sink.let_go();
    waiting.exchange_a_frame();
    others.iter_mut().chain([&mut waiting, &mut mute]).for_each(Caller::hang_up);
    let mut ended: Vec<String> = (0..5)
        .map(|_| finished.recv_timeout(Duration::from_secs(20)).expect("every record is completed"))
        .collect();
    ended.sort_unstable();
    assert_eq!(ended, ["mute", "one", "three", "two", "waiting"]);
    let counted = engine.measures().counted;
    assert_eq!((counted.voice_failures, counted.journal_lost_records), (1, 0), "{counted:?}");
    engine.shutdown();
}
