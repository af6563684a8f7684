//! Calls over real sockets, without a control plane.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

use offhook_codecs::SampleRate;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::*;
use crate::agent::{AgentAction, AgentError, Answering};
use crate::call::{EventKind, Prompt, Then, WordStart};
use crate::leg::Departure;
use crate::speech::stt::none::NoRecogniser;
use crate::speech::{Ears, SpeechError, SpeechToText, TextToSpeech, Voice};

/// Says hello, and then nothing.
struct Greeter;

impl Agent for Greeter {
    fn answer(&mut self, prompt: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
        if *prompt == Prompt::CallStarted {
            let _ = out.act(AgentAction::Say("hello".into()));
        }
        Ok(Then::Listen { keys_max: 1 })
    }

    fn forget_last(&mut self) {}
}

/// A tenth of a second per letter.
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

struct Broken;

impl SpeechToText for Broken {
    fn expect(&mut self, _: &crate::agent::Expectation) {}
    fn start(&mut self) {
        panic!("this recogniser always breaks");
    }
    fn audio(&mut self, _: &[u8]) -> Option<crate::speech::Transcript> {
        None
    }
    fn end(&mut self, _: u32) -> crate::speech::Transcript {
        unreachable!("it never starts")
    }
}

enum Told {
    Event(String, EventKind),
    Finished(String, Finished),
}

struct Sink(mpsc::Sender<Told>);

impl CallSink for Sink {
    fn on_event(&self, call: &CallId, event: &Event) {
        let _ = self.0.send(Told::Event(call.to_string(), event.kind.clone()));
    }
    fn on_finished(&self, call: &CallId, finished: &Finished) {
        let _ = self.0.send(Told::Finished(call.to_string(), finished.clone()));
    }
    fn on_loss(&self, call: &CallId, what: &str) {
        panic!("{call}: {what}");
    }
}

struct House {
    engine: Engine,
    told: mpsc::Receiver<Told>,
    events: BTreeMap<String, Vec<EventKind>>,
    _dir: tempfile::TempDir,
}

impl House {
    fn open(media_threads: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (tell, told) = mpsc::channel();
        let settings = EngineSettings {
            media_threads,
            speech_threads: 1,
            pin_threads: false,
            journal_dir: dir.path().join("journals"),
            recording_dir: dir.path().join("recordings"),
        };
        let engine = Engine::start(settings, Arc::new(Sink(tell))).unwrap();
        Self { engine, told, events: BTreeMap::new(), _dir: dir }
    }

    fn call(&self, id: &str, recogniser: Box<dyn SpeechToText>) -> (Carrier, CallHandle) {
        new_call(&self.engine, id, recogniser)
    }

    /// Waits until `call` is finished.
    fn finished(&mut self, call: &str) -> Finished {
        loop {
            match self.told.recv_timeout(Duration::from_secs(20)).expect("every call is finished") {
                Told::Event(call, kind) => self.events.entry(call).or_default().push(kind),
                Told::Finished(id, finished) if id == call => return finished,
                Told::Finished(..) => {}
            }
        }
    }
}

fn a_call(id: &str, recogniser: Box<dyn SpeechToText>) -> NewCall {
    NewCall {
        id: CallId::new(id).unwrap(),
        ears: Ears::Here(recogniser),
        voice: Voice::Here(Arc::new(Hum)),
        agent: Box::new(Greeter),
        settings: Arc::new(CallSettings { vad_mode: 0, ..CallSettings::default() }),
        answered_unix_us: 0,
    }
}

fn new_call(engine: &Engine, id: &str, recogniser: Box<dyn SpeechToText>) -> (Carrier, CallHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let carrier = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    carrier.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let new = a_call(id, recogniser);
    let handle = engine.hand_over(NewLeg { socket, already_read: Vec::new() }, new).unwrap();
    let mut carrier = Carrier { socket: WebSocket::from_raw_socket(carrier, Role::Client, None), chunk: 0 };
    carrier.say(
        r#"{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"accountSid":"AC1","streamSid":"MZ1",
        "callSid":"CA1","mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}"#,
    );
    (carrier, handle)
}

struct Carrier {
    socket: WebSocket<TcpStream>,
    chunk: u32,
}

impl Carrier {
    fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    fn frame(&mut self) {
        self.chunk += 1;
        let payload = "/".repeat(214) + "8=";
        self.say(&format!(
            r#"{{"event":"media","streamSid":"MZ1","media":{{"chunk":"{}","payload":"{payload}"}}}}"#,
            self.chunk
        ));
    }

    /// Waits for a mark, and returns it. Caller audio goes on.
    fn answer_mark(&mut self) {
        let mark = self.hear("mark");
        self.say(&mark);
    }

    /// Sends caller audio until the call has said `event`; the text that said it.
    fn hear(&mut self, event: &str) -> String {
        let wanted = format!(r#""event":"{event}""#);
        loop {
            self.frame();
            let message = self.socket.read().unwrap();
            if let Message::Text(text) = message
                && text.contains(&wanted)
            {
                return text.to_string();
            }
        }
    }
}

#[test]
fn a_panic_in_one_call_ends_that_call_alone() {
    let mut house = House::open(1);
    let (mut broken, broken_handle) = house.call("broken", Box::new(NoRecogniser));
    let (mut sound, _handle) = house.call("sound", Box::new(NoRecogniser));
    broken.hear("media");
    sound.hear("media");

    broken_handle.make_it_panic();
    let finished = house.finished("broken");
    assert_eq!(finished.reason, EndReason::EngineFault);
    assert!(finished.journal.is_some_and(|path| path.exists()), "its record is complete");

    sound.hear("mark");
    sound.say(r#"{"event":"stop","streamSid":"MZ1"}"#);
    assert_eq!(house.finished("sound").reason, EndReason::CallerHangup);
    house.engine.shutdown();
}

#[test]
fn a_recogniser_that_panics_ends_its_call_alone() {
    let mut house = House::open(1);
    let (mut broken, _handle) = house.call("broken", Box::new(Broken));
    let (mut sound, _other) = house.call("sound", Box::new(NoRecogniser));
    let mark = broken.hear("mark");
    broken.say(&mark);
    let speech = crate::sim::voiced(Duration::from_secs(1));
    for frame in speech.chunks(160) {
        let mut message = Vec::new();
        offhook_codecs::wire::twilio::write_media(&mut message, "MZ1", frame);
        broken.say(std::str::from_utf8(&message).unwrap());
    }
    sound.hear("mark");
    sound.say(r#"{"event":"stop","streamSid":"MZ1"}"#);
    assert_eq!(house.finished("sound").reason, EndReason::CallerHangup);
    broken.say(r#"{"event":"stop","streamSid":"MZ1"}"#);
    house.finished("broken");
    house.engine.shutdown();
}

/// A connection that is served elsewhere: its end of the call's leg, and word of what the call wants.
struct Elsewhere {
    end: LegEnd,
    woken: mpsc::Receiver<()>,
}

impl Elsewhere {
    fn open(house: &House, id: &str) -> (Self, CallHandle) {
        let (wake, woken) = mpsc::channel();
        let wake = Box::new(move || {
            let _ = wake.send(());
        });
        let new = a_call(id, Box::new(NoRecogniser));
        let (handle, end) = house.engine.hand_over_remote("7/1", wake, new).unwrap();
        (Self { end, woken }, handle)
    }

    /// Sends caller audio until the call wants something that is as wanted; what came before it.
    fn until(&mut self, wanted: impl Fn(&Departure) -> bool) -> (Vec<Departure>, Departure) {
        let mut before = Vec::new();
        let give_up = media::now() + Duration::from_secs(20);
        loop {
            while let Some(departure) = self.end.next_departure() {
                if wanted(&departure) {
                    return (before, departure);
                }
                before.push(departure);
            }
            assert!(media::now() < give_up, "it does not come: {before:?}");
            // 16-bit silence, cut in the middle of a sample.
            self.end.audio(&[0; 101]);
            self.end.audio(&[0; 219]);
            let _ = self.woken.recv_timeout(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_call_whose_connection_stays_elsewhere_is_a_call() {
    let mut house = House::open(1);
    let (mut carrier, handle) = Elsewhere::open(&house, "elsewhere");
    let (audio, mark) = carrier.until(|departure| matches!(departure, Departure::Mark(_)));
    let samples: usize = audio
        .iter()
        .map(|departure| match departure {
            Departure::Audio(piece) => piece.ulaw().len(),
            other => panic!("only audio comes before the mark: {other:?}"),
        })
        .sum();
    assert_eq!(samples, 5 * 800, "all of hello");
    let Departure::Mark(mark) = mark else { unreachable!() };
    carrier.end.mark(mark).unwrap();
    handle.command(Command::Say { text: "one moment" }).unwrap();
    carrier.until(|departure| matches!(departure, Departure::Audio(_)));
    carrier.end.key('1').unwrap();
    carrier.until(|departure| *departure == Departure::Clear);
    carrier.end.stop().unwrap();
    let (_, close) = carrier.until(|departure| matches!(departure, Departure::Close(_)));
    assert_eq!(close, Departure::Close(EndReason::CallerHangup));
    assert_eq!(house.finished("elsewhere").reason, EndReason::CallerHangup);
    let started = EventKind::Started { stream: "7/1".into() };
    assert!(house.events["elsewhere"].contains(&started));
    while !carrier.end.is_over() {
        carrier.woken.recv_timeout(Duration::from_secs(20)).expect("word of the end");
    }
    house.engine.shutdown();
}

#[test]
fn a_connection_elsewhere_that_is_dropped_is_a_leg_that_is_lost() {
    let mut house = House::open(1);
    let (mut carrier, _handle) = Elsewhere::open(&house, "lost");
    carrier.until(|departure| matches!(departure, Departure::Audio(_)));
    drop(carrier);
    assert_eq!(house.finished("lost").reason, EndReason::LegLost);
    house.engine.shutdown();
}

/// Passes on nothing until it is let go, and then losses only.
struct HangingSink {
    gate: crossbeam_channel::Receiver<()>,
    told: mpsc::Sender<String>,
}

impl CallSink for HangingSink {
    fn on_event(&self, _: &CallId, _: &Event) {
        let _ = self.gate.recv();
    }
    fn on_finished(&self, _: &CallId, finished: &Finished) {
        let _ = self.told.send(finished.reason.as_str().into());
    }
    fn on_loss(&self, _: &CallId, what: &str) {
        let _ = self.told.send(what.into());
    }
}

#[test]
fn what_a_sink_that_hangs_costs_is_counted_and_media_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (open_gate, gate) = crossbeam_channel::bounded(0);
    let (tell, told) = mpsc::channel();
    let sink = Arc::new(HangingSink { gate, told: tell });
    // Two chunks may wait, where thousands may otherwise, so that the test need not last for minutes.
    let writer = Writer::start_with_room(2, dir.path(), dir.path(), sink).unwrap();
    let settings = EngineSettings {
        media_threads: 1,
        speech_threads: 1,
        pin_threads: false,
        journal_dir: dir.path().into(),
        recording_dir: dir.path().into(),
    };
    let engine = Engine::start_with(writer, &settings).unwrap();
    // Dropped before the engine, which waits for its writer, should the test fail.
    let open_gate = open_gate;
    let (mut carrier, handle) = new_call(&engine, "told", Box::new(NoRecogniser));
    carrier.hear("media");
    // Two seconds of audio fill a chunk. All that comes at once is journalled, though most of it is ahead of time.
    (0..1_000).for_each(|_| carrier.frame());
    while engine.measures().counted.journal_lost_records == 0 {
        handle.command(Command::Say { text: "still there" }).unwrap();
        carrier.answer_mark();
    }
    let counted = engine.measures().counted;
    assert!(counted.journal_refused_chunks > 0, "{counted:?}");
    assert_eq!(engine.record_backlog(), 1.0, "who asks whether there is room for a call is told of it");
    drop(open_gate);
    carrier.answer_mark();
    handle.command(Command::HangUp { reason: EndReason::Operator }).unwrap();
    let loss = told.recv_timeout(Duration::from_secs(20)).expect("the loss is told");
    assert!(loss.contains("records of the journal and recording are missing"), "{loss}");
    engine.shutdown();
    assert_eq!(told.iter().last().as_deref(), Some("operator"));
}

#[test]
fn measures_tell_what_a_call_was_and_how_late_it_was() {
    let mut house = House::open(1);
    assert_eq!(house.engine.lateness(), crate::measure::Lateness::default());
    let (mut carrier, _handle) = house.call("measured", Box::new(NoRecogniser));
    carrier.hear("mark");
    let thread = house.engine.measures().media_threads.remove(0);
    assert_eq!((thread.name.as_str(), thread.calls), ("media-0", 1));
    assert!(thread.frames_in > 0 && thread.frames_out > 0 && thread.wake_ups > 0 && !thread.busy.is_zero());
    assert!(thread.lateness.count() > 0);
    assert!(!house.engine.lateness().p99.is_zero());
    carrier.say(r#"{"event":"media","streamSid":"MZ1","media":{"payload":"?"}}"#);
    carrier.say(r#"{"event":"stop","streamSid":"MZ1"}"#);
    house.finished("measured");
    let counted = house.engine.measures().counted;
    assert!(counted.ended.contains(&(EndReason::CallerHangup, 1)));
    assert!(counted.faults.contains(&(crate::call::Fault::NotBase64, 1)), "{:?}", counted.faults);
    house.engine.shutdown();
}

#[test]
fn shutdown_ends_running_calls_with_complete_records() {
    let mut house = House::open(2);
    let (mut carrier, handle) = house.call("running", Box::new(NoRecogniser));
    carrier.hear("media");
    assert_eq!(house.engine.active_calls(), 1);
    std::mem::replace(&mut house.engine, House::open(1).engine).shutdown();
    let finished = house.finished("running");
    assert_eq!(finished.reason, EndReason::Shutdown);
    assert!(finished.recording.is_some_and(|path| path.exists()));
    assert!(handle.is_over());
    assert!(handle.command(Command::Say { text: "hello" }).is_err());
}

#[test]
fn what_is_said_from_outside_is_heard() {
    let mut house = House::open(1);
    let (mut carrier, handle) = house.call("told", Box::new(NoRecogniser));
    let mark = carrier.hear("mark");
    carrier.say(&mark);
    handle.command(Command::Say { text: "one moment" }).unwrap();
    carrier.hear("media");
    handle.command(Command::HangUp { reason: EndReason::Operator }).unwrap();
    assert_eq!(house.finished("told").reason, EndReason::Operator);
    house.engine.shutdown();
}

#[test]
fn a_socket_that_dies_without_closing_leaves_a_complete_record() {
    let mut house = House::open(1);
    let (mut carrier, _handle) = house.call("lost", Box::new(NoRecogniser));
    carrier.hear("media");
    drop(carrier);
    let finished = house.finished("lost");
    assert_eq!(finished.reason, EndReason::LegLost);
    assert!(
        house.events["lost"]
            .iter()
            .any(|kind| matches!(kind, EventKind::Turn(turn) if !turn.unheard.is_empty()))
    );
    house.engine.shutdown();
}

#[test]
fn a_binary_frame_is_counted_and_a_broken_frame_ends_the_call() {
    let mut house = House::open(1);
    let (mut carrier, _handle) = house.call("odd", Box::new(NoRecogniser));
    carrier.hear("media");
    carrier.socket.send(Message::binary(vec![1, 2, 3])).unwrap();
    carrier.say("not json");
    // An opcode that RFC 6455 reserves.
    std::io::Write::write_all(carrier.socket.get_mut(), &[0x83, 0x80, 0, 0, 0, 0]).unwrap();
    assert_eq!(house.finished("odd").reason, EndReason::ProtocolError);
    use crate::call::Fault;
    for fault in [Fault::BinaryFrame, Fault::NotAMessage, Fault::Protocol] {
        let told = EventKind::Fault { fault, count: 1 };
        assert!(house.events["odd"].contains(&told), "{fault:?}");
    }
    house.engine.shutdown();
}
