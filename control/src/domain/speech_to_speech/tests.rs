//! A talk with the double of OpenAI, over real sockets, as a call has it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::mpsc as blocking;
use std::time::Duration;

use crossbeam_channel::Receiver;
use offhook_engine::agent::{AgentAction, AgentError, Answering, Wanted};
use offhook_engine::call::{Failure, Prompt, Then};
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{CHARACTER_MS, FakeVendors, Limits, Vendor};
use serde_json::{Value, json};

use super::*;
use crate::domain::agent::LISTEN;
use crate::settings::Secret;

const LONG: Duration = Duration::from_secs(20);
const PATH: &str = "/openai/v1/realtime";

fn duplex(fakes: &FakeVendors, waits: Waits) -> Arc<Duplex> {
    let mut settings = Settings::local("unused".into());
    settings.openai.base = fakes.base_url(Vendor::OpenAi).parse().unwrap();
    settings.openai.key = Some(Secret::new("sk-of-the-test"));
    settings.openai.prompt = "Be brief.".into();
    settings.openai.greeting = "Hello.".into();
    Arc::new(Duplex::new(&settings, (None, None), waits, Handle::current()).unwrap())
}

/// As long as any machine needs.
fn patient() -> Waits {
    Waits { connect: LONG, first: LONG, next: LONG }
}

/// A call's side of the talk.
struct Call {
    duplex: Arc<Duplex>,
    ears: Box<dyn EarsApart>,
    agent: Option<Box<dyn Agent>>,
    reports: Receiver<Report>,
    /// Words that came while something else was waited for.
    heard: VecDeque<(UtteranceId, String)>,
    utterances: u32,
}

/// Passes on what the agent does.
struct Mouth {
    does: blocking::Sender<AgentAction>,
    wanted: Wanted,
}

impl Answering for Mouth {
    fn act(&mut self, action: AgentAction) -> ControlFlow<()> {
        let _ = self.does.send(action);
        if self.wanted.is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }
}

type Answered = (Box<dyn Agent>, Result<Then, AgentError>);

/// A turn of the agent under way.
struct Turn {
    does: blocking::Receiver<AgentAction>,
    wanted: Wanted,
    thread: std::thread::JoinHandle<Answered>,
}

/// What came of a turn.
#[derive(Debug, Default)]
struct Came {
    words: String,
    samples: usize,
    others: Vec<AgentAction>,
}

impl Came {
    fn take(&mut self, action: AgentAction) {
        match action {
            AgentAction::Speak { text, audio, .. } => {
                self.words.push_str(&text);
                self.samples += audio.len();
            }
            other => self.others.push(other),
        }
    }
}

impl Call {
    fn new(duplex: Arc<Duplex>) -> Self {
        let (ears, agent) = duplex.for_a_call("c1");
        let Ears::Apart(make) = ears else { panic!("it hears elsewhere") };
        let (to_here, reports) = Reports::unattended();
        Self {
            duplex,
            ears: make(to_here),
            agent: Some(agent),
            reports,
            heard: VecDeque::new(),
            utterances: 0,
        }
    }

    /// The caller says something that lasts so long.
    fn says(&mut self, length: Duration) -> UtteranceId {
        self.utterances += 1;
        let utterance = UtteranceId(self.utterances);
        self.ears.start(utterance);
        let speech = offhook_engine::sim::voiced(length);
        speech.chunks(160).for_each(|frame| self.ears.audio(frame));
        self.ears.end(utterance, length.as_millis() as u32);
        loop {
            match self.reports.recv_timeout(LONG).unwrap() {
                Report::Understood { utterance: understood } => {
                    assert_eq!(understood, utterance);
                    return utterance;
                }
                Report::Words { utterance, text, is_final: true } => self.heard.push_back((utterance, text)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn ask(&mut self, prompt: Prompt) -> Turn {
        let (say, does) = blocking::channel();
        let wanted = Wanted::default();
        let mut mouth = Mouth { does: say, wanted: wanted.clone() };
        let mut agent = self.agent.take().unwrap();
        let thread = std::thread::spawn(move || {
            let then = agent.answer(&prompt, &mut mouth);
            (agent, then)
        });
        Turn { does, wanted, thread }
    }

    /// The whole of a turn.
    fn answer(&mut self, prompt: Prompt) -> (Result<Then, AgentError>, Came) {
        let turn = self.ask(prompt);
        let mut came = Came::default();
        turn.does.iter().for_each(|action| came.take(action));
        let (agent, then) = turn.thread.join().unwrap();
        self.agent = Some(agent);
        (then, came)
    }

    /// Nobody wants the rest of a turn.
    fn call_off(&mut self, turn: Turn) {
        turn.wanted.call_off();
        let (agent, then) = turn.thread.join().unwrap();
        assert_eq!(then, Ok(LISTEN));
        self.agent = Some(agent);
    }

    fn agent(&mut self) -> &mut dyn Agent {
        &mut **self.agent.as_mut().unwrap()
    }

    fn words(&mut self) -> (UtteranceId, String) {
        if let Some(heard) = self.heard.pop_front() {
            return heard;
        }
        match self.reports.recv_timeout(LONG).unwrap() {
            Report::Words { utterance, text, is_final: true } => (utterance, text),
            other => panic!("{other:?}"),
        }
    }
}

/// What was sent on each socket, without audio.
fn sent(fakes: &FakeVendors) -> Vec<Vec<Value>> {
    let sockets = fakes.requests().into_iter().filter(|asked| asked.path == PATH);
    let of_one = |asked: offhook_fixtures::vendors::Asked| {
        let is_audio = |text: &&Value| text["type"] == "input_audio_buffer.append";
        asked.texts().into_iter().filter(|text| !is_audio(text)).cloned().collect()
    };
    sockets.map(of_one).collect()
}

/// Waits until the sockets have got what is looked for.
async fn until<T>(fakes: &FakeVendors, look: impl Fn(&[Vec<Value>]) -> Option<T>) -> T {
    for _ in 0..2_000 {
        if let Some(found) = look(&sent(fakes)) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came: {:#?}", sent(fakes));
}

fn kinds(socket: &[Value]) -> Vec<&str> {
    socket.iter().map(|text| text["type"].as_str().unwrap()).collect()
}

fn count(socket: &[Value], kind: &str) -> usize {
    kinds(socket).iter().filter(|it| **it == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_greeted_heard_and_answered_in_one_session() {
    let fakes = FakeVendors::start().await;
    fakes.answer(&json!({"content": "Hello."})).unwrap();
    fakes.answer(&json!({"content": "Of course, at nine."})).unwrap();
    fakes.transcribe(["A table, please."]);
    let mut call = Call::new(duplex(&fakes, patient()));
    let (then, came) = call.answer(Prompt::CallStarted);
    assert_eq!((then, came.words.as_str()), (Ok(LISTEN), "Hello."));
    assert_eq!(came.samples, "Hello.".len() * CHARACTER_MS * 8);
    let utterance = call.says(Duration::from_millis(900));
    let (then, came) = call.answer(Prompt::Spoke);
    assert_eq!((then, came.words.as_str()), (Ok(LISTEN), "Of course, at nine."));
    assert_eq!(call.words(), (utterance, "A table, please.".into()));
    let sockets = sent(&fakes);
    assert_eq!(
        kinds(&sockets[0]),
        ["session.update", "response.create", "input_audio_buffer.commit", "response.create"]
    );
    let session = &sockets[0][0]["session"];
    assert_eq!((&session["instructions"], &session["type"]), (&json!("Be brief."), &json!("realtime")));
    assert_eq!(session["audio"]["input"]["turn_detection"], Value::Null);
    for way in ["input", "output"] {
        assert_eq!(session["audio"][way]["format"], json!({"type": "audio/pcmu"}));
    }
    assert_eq!(session["tools"][0]["name"], "end_call", "a tool stands in no layer of its own");
    assert!(sockets[0][1]["response"]["instructions"].as_str().unwrap().ends_with("Hello."));
    let asked = &fakes.requests()[0];
    assert_eq!(asked.parameter("model"), Some(MODEL));
    assert_eq!(asked.header("openai-beta"), None, "the interface of today");
    let heard: usize = asked.texts().iter().filter_map(|text| text["audio"].as_str()).map(str::len).sum();
    assert!((9_600..9_800).contains(&heard), "all of the 7,200 bytes, once: {heard} of base64");
    assert!(call.duplex.counts().written() > 0);
    assert_eq!(call.duplex.counts().wasted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_interrupted_is_cancelled_and_cut_to_the_millisecond_that_was_heard() {
    let fakes = FakeVendors::with(Limits { voice_speed: 2.0, ..Limits::default() }).await;
    fakes.answer(&json!({"content": "We open at nine and we close at five, but not on Sundays."})).unwrap();
    let mut call = Call::new(duplex(&fakes, patient()));
    call.says(Duration::from_millis(600));
    let turn = call.ask(Prompt::Spoke);
    let mut came = Came::default();
    while came.samples < 8_000 {
        came.take(turn.does.recv_timeout(LONG).unwrap());
    }
    call.call_off(turn);
    call.agent().was_cut("We open", 5_604);
    let cut = |sockets: &[Vec<Value>]| {
        let socket = sockets.first()?;
        socket.iter().find(|text| text["type"] == "conversation.item.truncate").cloned()
    };
    let cut = until(&fakes, cut).await;
    assert_eq!((&cut["audio_end_ms"], &cut["content_index"]), (&json!(700), &json!(0)));
    let socket = sent(&fakes).remove(0);
    assert_eq!(count(&socket, "response.cancel"), 1);
    // The next answer is asked for once that one has ended, and not refused.
    fakes.answer(&json!({"content": "At nine."})).unwrap();
    call.says(Duration::from_millis(600));
    let (then, came) = call.answer(Prompt::Spoke);
    assert_eq!((then, came.words.as_str()), (Ok(LISTEN), "At nine."));
    let counts = call.duplex.counts();
    assert!(counts.wasted() > 0 && counts.wasted() < counts.written(), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_which_nothing_was_heard_is_deleted() {
    let fakes = FakeVendors::with(Limits { voice_speed: 2.0, ..Limits::default() }).await;
    fakes.answer(&json!({"content": "We open at nine and we close at five."})).unwrap();
    let mut call = Call::new(duplex(&fakes, patient()));
    call.says(Duration::from_millis(600));
    let turn = call.ask(Prompt::Spoke);
    let _ = turn.does.recv_timeout(LONG).unwrap();
    call.call_off(turn);
    call.agent().forget_last();
    let deleted =
        |sockets: &[Vec<Value>]| (count(sockets.first()?, "conversation.item.delete") == 1).then_some(());
    until(&fakes, deleted).await;
    assert_eq!(count(&sent(&fakes)[0], "conversation.item.truncate"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_used_and_their_answers_spoken() {
    let fakes = FakeVendors::start().await;
    fakes
        .answer(
            &json!({"content": "One moment.", "tool_calls": [{"name": "nothing", "arguments": {"a": 1}}]}),
        )
        .unwrap();
    fakes
        .answer(&json!({"content": "Goodbye.", "tool_calls": [{"name": "end_call", "arguments": {}}]}))
        .unwrap();
    let mut call = Call::new(duplex(&fakes, patient()));
    call.says(Duration::from_millis(600));
    let (then, came) = call.answer(Prompt::Spoke);
    assert_eq!((then, came.words.as_str()), (Ok(Then::HangUp), "One moment.Goodbye."));
    let socket = sent(&fakes).remove(0);
    let output = socket.iter().find(|text| text["item"]["type"] == "function_call_output").unwrap();
    assert!(output["item"]["output"].as_str().unwrap().contains("no such tool"), "{output}");
    assert_eq!(count(&socket, "response.create"), 2, "after goodbye nobody is asked: {socket:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_that_was_no_turn_is_forgotten_when_the_caller_speaks() {
    let fakes = FakeVendors::start().await;
    let mut call = Call::new(duplex(&fakes, patient()));
    let _ = call.answer(Prompt::CallStarted);
    call.says(Duration::from_millis(500));
    tokio::time::sleep(Duration::from_millis(300)).await;
    call.says(Duration::from_millis(600));
    let _ = call.answer(Prompt::Spoke);
    let socket = sent(&fakes).remove(0);
    let kinds = kinds(&socket);
    assert_eq!(
        kinds[2..],
        ["input_audio_buffer.clear", "input_audio_buffer.commit", "response.create"],
        "{kinds:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_goes_away_before_an_answer_is_opened_anew_and_knows_what_was_said() {
    let fakes = FakeVendors::start().await;
    // It closes in place of the first piece of its second answer.
    let first = "Hello.".len() * CHARACTER_MS * 8;
    let close = Fault { close: Some((1001, first + 1)), ..Fault::default() };
    fakes.fail(PATH, 1, close);
    fakes.answer(&json!({"content": "Hello."})).unwrap();
    fakes.answer(&json!({"content": "Never heard."})).unwrap();
    fakes.answer(&json!({"content": "Of course."})).unwrap();
    let mut call = Call::new(duplex(&fakes, patient()));
    let _ = call.answer(Prompt::CallStarted);
    call.says(Duration::from_millis(900));
    let (then, came) = call.answer(Prompt::Spoke);
    assert_eq!(then, Ok(LISTEN));
    assert!(["Of course.", "Never heard."].contains(&came.words.as_str()), "{}", came.words);
    let sockets = sent(&fakes);
    assert_eq!(sockets.len(), 2);
    let said = sockets[1].iter().find(|text| text["type"] == "conversation.item.create").unwrap();
    assert_eq!(said["item"]["content"], json!([{"type": "output_text", "text": "Hello."}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_ends_in_an_error_that_says_what_it_was() {
    for (fault, why, sessions) in [
        ("status=401", Failure::Unauthorised, 1),
        ("status=402", Failure::Unpaid, 1),
        ("status=429", Failure::Busy, 1),
        ("status=500", Failure::Faulty, 1),
        // Part of it was passed on: nobody can go on in the middle of a word.
        ("close=1011@8000", Failure::Faulty, 1),
        ("stall_after=8000", Failure::Slow, 1),
        ("malformed@8000", Failure::Malformed, 1),
        // Nothing of it was: it is asked for once more.
        ("stall_after=1", Failure::Slow, 2),
    ] {
        let fakes = FakeVendors::start().await;
        fakes.fail(PATH, 10, Fault::parse(fault).unwrap());
        for _ in 0..3 {
            fakes.answer(&json!({"content": "We open at nine and we close at five."})).unwrap();
        }
        let waits =
            Waits { first: Duration::from_millis(1_500), next: Duration::from_millis(1_500), ..patient() };
        let mut call = Call::new(duplex(&fakes, waits));
        if sessions == 1 && fault.starts_with("status") {
            // What was opened before anybody asked.
            until(&fakes, |_| (!fakes.requests().is_empty()).then_some(())).await;
        }
        call.says(Duration::from_millis(600));
        let (then, _) = call.answer(Prompt::Spoke);
        let error = then.unwrap_err();
        assert_eq!(error.why, why, "{fault}: {error}");
        assert!(!error.detail.contains("sk-of-the-test"), "{error}");
        if !fault.starts_with("status") {
            let opened = fakes.requests().iter().filter(|asked| asked.path == PATH).count();
            assert_eq!(opened, sessions, "{fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_after_a_failure_is_answered_again() {
    let fakes = FakeVendors::start().await;
    fakes.fail(PATH, 1, Fault::parse("close=1011@2000").unwrap());
    fakes.answer(&json!({"content": "We open at nine."})).unwrap();
    fakes.answer(&json!({"content": "We open at nine."})).unwrap();
    let mut call = Call::new(duplex(&fakes, patient()));
    assert!(call.answer(Prompt::CallStarted).0.is_err());
    let (then, came) = call.answer(Prompt::Keyed("1".into()));
    assert_eq!((then, came.words.as_str()), (Ok(LISTEN), "We open at nine."));
    assert_eq!(call.duplex.tallies().next().unwrap().failures, 1);
    let told = sent(&fakes).pop().unwrap();
    let keys = told.iter().filter(|text| text["item"]["content"][0]["type"] == "input_text").count();
    assert_eq!(keys, 1, "told once: {told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_ends_with_its_call() {
    let fakes = FakeVendors::start().await;
    let mut call = Call::new(duplex(&fakes, patient()));
    let _ = call.answer(Prompt::CallStarted);
    drop(call);
    until(&fakes, |_| (fakes.requests()[0].ended == Some("client")).then_some(())).await;
}
