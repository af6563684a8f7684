//! A conversation in virtual time, journalled as a media thread would: what soaks run by the thousand, and where the
//! journal's fuzzer begins.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use offhook_engine::call::{
    Call, CallSettings, CallTime, EndReason, Input, Media, Output, Outputs, Prompt, Then, UtteranceId,
    mark_name,
};
use offhook_engine::journal::{Appender, Journal, Writer, read};
use offhook_engine::sim::voiced;
use offhook_engine::{CallId, CallSink, Finished};

/// Has no use for what it is told.
struct Deaf;

impl CallSink for Deaf {
    fn on_event(&self, _: &CallId, _: &offhook_engine::call::Event) {}
    fn on_finished(&self, _: &CallId, _: &Finished) {}
    fn on_loss(&self, call: &CallId, what: &str) {
        panic!("{}: {what}", call.as_str());
    }
}

/// A writer with its folders under `folder`.
pub fn writer(folder: &Path) -> Writer {
    Writer::start(&folder.join("journals"), &folder.join("recordings"), Arc::new(Deaf))
        .expect("the folder can be written to")
}

/// Holds one conversation of `length` in virtual time, at full speed, and journals it as the call `name`: the caller speaks
/// for one second in four, the agent answers with two seconds of sound, and is sometimes talked over.
pub fn converse(writer: &Writer, name: &str, length: Duration) {
    let settings = CallSettings { vad_mode: 0, ..CallSettings::default() };
    let call = CallId::new(name).expect("a name of letters");
    let appender = writer.open(call, settings.clone(), 0).expect("the writer runs");
    let mut line = Line {
        call: Call::new(settings),
        appender,
        out: Outputs::default(),
        now: CallTime::ZERO,
        answers: Vec::new(),
        voice: (0..16_000u32).map(|n| (n * 31 % 127) as u8).collect(),
        over: false,
    };
    line.give(Input::Start { stream: "MZ1", format_ok: true });
    let speech = voiced(Duration::from_secs(1));
    let frames = (length.as_millis() / 20) as u32;
    for n in 0..frames {
        line.now = CallTime::from_millis(u64::from(n) * 20 + 20);
        let at = (n % 200 * 160) as usize;
        let payload = speech.get(at..at + 160).unwrap_or(&[0xFF; 160]);
        line.give(Input::Media(Media { chunk: Some(n + 1), timestamp_ms: Some(n * 20), payload }));
        line.answer();
        line.give(Input::Tick);
    }
    line.give(Input::Stop);
    while !line.appender.finish(line.now, EndReason::CallerHangup) {
        std::thread::yield_now();
    }
}

struct Line {
    call: Call,
    appender: Appender,
    out: Outputs,
    now: CallTime,
    /// What the others have yet to react to.
    answers: Vec<Output>,
    voice: Arc<[u8]>,
    over: bool,
}

impl Line {
    fn give(&mut self, input: Input<'_>) {
        if self.over {
            return;
        }
        self.appender.input(self.now, &input);
        self.call.handle(self.now, input, &mut self.out);
        for output in self.out.iter() {
            self.appender.output(self.now, output, &self.out);
        }
        let list = self.out.take_list();
        self.over |= list.iter().any(|output| matches!(output, Output::Close { .. }));
        self.answers.extend(list);
        self.out.give_back(Vec::with_capacity(16));
        for audio in self.out.take_spent() {
            self.appender.spent(audio);
        }
        if self.appender.due(self.now) {
            self.appender.hand_over(self.now);
        }
    }

    /// The agent, the voice, the recogniser and the carrier, who are all quick.
    fn answer(&mut self) {
        while !self.answers.is_empty() {
            for output in std::mem::take(&mut self.answers) {
                match output {
                    Output::AskAgent { turn, prompt } => {
                        let text = match prompt {
                            Prompt::Said(said) => format!("You said: {said}."),
                            _ => "We open at nine, and close at five.".to_owned(),
                        };
                        self.give(Input::AgentSays { turn, text: &text });
                        self.give(Input::AgentDone { turn, then: Then::Listen { keys_max: 0 } });
                    }
                    Output::Synthesize { utterance, .. } => self.speak(utterance),
                    Output::UtteranceEnded { utterance, .. } => {
                        let text = if utterance.0 % 3 == 0 { "" } else { "two hundred" };
                        self.give(Input::Transcript { utterance, text, is_final: true });
                    }
                    Output::Mark { mark } => self.give(Input::Mark { name: mark_name(mark).as_str() }),
                    _ => {}
                }
            }
        }
    }

    fn speak(&mut self, utterance: UtteranceId) {
        let audio = Arc::clone(&self.voice);
        self.give(Input::AgentAudio { utterance, audio: &audio, words: &[] });
        self.give(Input::AgentAudioEnd { utterance, failed: false, words: &[] });
    }
}

/// The journal of a conversation of `length`, as bytes of a file.
pub fn recorded(length: Duration) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let writer = writer(folder.path());
    converse(&writer, "CA1", length);
    writer.shutdown();
    std::fs::read(folder.path().join("journals/CA1.journal")).expect("the journal was written")
}

/// The journal of the call `name` that was written under `folder`.
pub fn journal_of(folder: &Path, name: &str) -> Journal {
    read(&folder.join(format!("journals/{name}.journal"))).expect("the journal was written whole")
}
