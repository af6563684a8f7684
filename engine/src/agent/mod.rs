//! Minds: what to say next, and what to expect in return.

mod answer;
mod answering;
mod clauses;
pub mod scenario;
pub mod scripted;
mod words;

pub use answering::{AgentError, Answering, Wanted};
pub use clauses::Clauses;
pub use scenario::{Scenario, ScenarioError};
pub use scripted::ScriptedAgent;

use std::sync::Arc;

use crate::call::{Failure, Prompt, Then};

/// An agent of one call. Lives on one thread.
pub trait Agent: Send {
    /// True if it answers within microseconds, as a script does: it is asked on its call's speech thread then, which other
    /// calls share. An agent that may wait for anything says false, and gets a thread of its own; then only its own call
    /// waits for it, for as long as `agent_wait_ms` says.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// Answers `prompt`: passes on what to say, record and expect as soon as it has it, and says what follows; or why it
    /// cannot. An error ends the call. Once the turn is called off, what it returns reaches nobody: it should return soon,
    /// as only then can it be told anything else.
    fn answer(&mut self, prompt: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError>;

    /// The last answer was not heard at all, and the caller went on talking: go back to before it, whether it was given whole
    /// or called off. The next prompt
    /// holds all that the caller said.
    fn forget_last(&mut self);

    /// The last answer was cut off: the caller heard only `heard` of it; and of what the agent spoke itself, `spoken_heard`
    /// samples at 8 kHz.
    fn was_cut(&mut self, heard: &str, spoken_heard: u32) {
        let _ = (heard, spoken_heard);
    }
}

/// One thing that an agent does in its turn, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentAction {
    /// Say a sentence.
    Say(String),
    /// Say more of an utterance oneself, without the call's voice: words and audio as they come, which need not match piece by
    /// piece.
    Speak {
        /// More of its words, with the blanks between them.
        text: String,
        /// More of its audio: 8 kHz µ-law.
        audio: Arc<[u8]>,
        /// True if that is all of it. Any other thing to say ends it too, as does the end of the turn.
        is_last: bool,
    },
    /// Press keys, such as a menu wants: `0`-`9`, `*`, `#`, `A`-`D`; others are passed over. The caller hears the tones.
    Press(String),
    /// Write something down.
    Record {
        /// What it is: `company_size`.
        key: String,
        /// Its value: `200`. Empty: what was written under this key before is taken back.
        value: String,
    },
    /// From here on, expect this.
    Expect(Expectation),
    /// Another service goes on with the answer: for the timeline.
    Switch {
        /// Which failed.
        from: String,
        /// Which goes on; none if nobody is left.
        to: Option<String>,
        /// Why.
        why: Failure,
    },
}

/// What a question may be answered with, for the recogniser. Tight grammars are the ones that work: see
/// [`speech::stt::pocketsphinx`](crate::speech::stt::pocketsphinx).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// A JSGF grammar without its header: rules, one of them `public <answer>`. Empty: nothing spoken is expected.
    ///
    /// [JSpeech Grammar Format, W3C Note 5 June 2000](https://www.w3.org/TR/2000/NOTE-jsgf-20000605/).
    pub grammar: String,
    /// Speech longer than this is no answer, in ms: a grammar never rejects, so length must.
    pub speech_ms_max: u32,
}
