//! The call's timeline: what happened, and why, with the numbers that decided it.

use serde::{Deserialize, Serialize};

use super::decision::Decided;
use super::failure::{Failure, Part};
use super::input::{Fault, TurnId, UtteranceId};
use super::output::Prompt;
use super::time::CallTime;

/// One entry of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, counted from the answer.
    pub at: CallTime,
    /// What.
    pub kind: EventKind,
}

/// What happened. Each decision carries the numbers that it was made on. All `_ms` are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The stream began.
    Started {
        /// The carrier's name for it.
        stream: String,
    },
    /// The caller's first audio came: the greeting may start.
    MediaFlows,
    /// The caller began to speak.
    SpeechStarted {
        /// The utterance.
        utterance: UtteranceId,
    },
    /// The caller fell silent. Not yet the end of the turn.
    SpeechEnded {
        /// The utterance.
        utterance: UtteranceId,
        /// Speech in it so far.
        speech_ms: u32,
    },
    /// The recogniser has words that may still change.
    Interim {
        /// The utterance.
        utterance: UtteranceId,
        /// The words.
        text: String,
    },
    /// The recogniser's last word on an utterance.
    Final {
        /// The utterance.
        utterance: UtteranceId,
        /// The words; empty if there are none.
        text: String,
        /// From the end of the utterance to here.
        wait_ms: u32,
    },
    /// A decision of turn-taking.
    Decided(Decided),
    /// The caller pressed a key.
    Key {
        /// Which.
        digit: char,
    },
    /// The agent was asked.
    AgentAsked {
        /// The turn.
        turn: TurnId,
        /// What it answers to.
        prompt: Prompt,
    },
    /// The agent failed to answer, or took too long.
    AgentFailed {
        /// The turn that it was asked with.
        turn: TurnId,
        /// Why.
        #[serde(default)]
        why: Failure,
    },
    /// The voice failed, or took too long.
    VoiceFailed {
        /// The utterance.
        utterance: UtteranceId,
    },
    /// Of several services that can serve the call, another one does from here on.
    Switched {
        /// What they do for it.
        part: Part,
        /// Which of them failed.
        from: String,
        /// Which of them goes on; none if there is no other.
        to: Option<String>,
        /// Why.
        why: Failure,
    },
    /// The first audio of an agent's turn left.
    AgentSpeaks {
        /// The turn.
        turn: TurnId,
        /// From the caller's last speech (or key) to here; none for a greeting or after silence.
        response_ms: Option<u32>,
    },
    /// The agent wrote something down.
    Recorded {
        /// What it is.
        key: String,
        /// Its value.
        value: String,
    },
    /// A turn is over.
    Turn(Turn),
    /// A message from the leg could not be used. The first few of each kind are told, then each doubling, and at the end
    /// of the call the last.
    Fault {
        /// What is wrong with it.
        fault: Fault,
        /// How many of this kind there were so far.
        count: u32,
    },
    /// The carrier's counts jumped: audio is missing, and was concealed as far as the limit allows.
    Gap {
        /// How much is missing.
        missing_ms: u32,
        /// How much of that was filled.
        concealed_ms: u32,
        /// How many gaps there were so far.
        count: u32,
    },
    /// The carrier's count of messages did not go up by one.
    OutOfSequence {
        /// The number that was due.
        expected: u32,
        /// The number that came.
        got: u32,
        /// How often that happened so far.
        count: u32,
    },
    /// A piece of audio came again, or too late to be played: it was dropped.
    Stale {
        /// How many such pieces there were so far.
        count: u32,
    },
    /// More audio came than time has passed: the excess was dropped.
    AheadOfTime {
        /// How far ahead it was.
        ahead_ms: u32,
        /// How much was dropped so far.
        dropped_ms: u32,
        /// How many such pieces there were so far.
        count: u32,
    },
    /// A payload was empty.
    EmptyPayload {
        /// How many there were so far.
        count: u32,
    },
    /// No audio came for a while, though the stream is open.
    MediaStalled {
        /// Since the last audio.
        silent_ms: u32,
    },
    /// Audio flows again.
    MediaResumed {
        /// How long it was away.
        silent_ms: u32,
    },
    /// The caller heard a gap: the next audio was not there in time. Told as faults are.
    Underrun {
        /// How long the gap was.
        gap_ms: u32,
        /// How many there were so far.
        count: u32,
    },
    /// A mark came back that we do not wait for.
    UnknownMark {
        /// How many there were so far.
        count: u32,
    },
    /// A mark did not come back in time; its audio is taken as played, by the clock.
    MarkMissing {
        /// The mark's number.
        mark: u32,
    },
    /// The ring to the recogniser was full: it missed audio.
    SpeechDropped {
        /// How much it missed so far.
        dropped_ms: u32,
    },
    /// The call is over.
    Ended {
        /// Why.
        reason: EndReason,
    },
    /// The first audio of a turn left that answers the caller: where its response time went.
    Responded(Response),
}

/// A response time and its stages, each the difference of two moments of the call that follow each other, in µs. Their
/// sum is the response time, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The agent's turn.
    pub turn: TurnId,
    /// From the caller's last speech (or key) to the decision that the caller's turn is over, or probably over.
    pub endpointing_us: u64,
    /// From there to the final words, or to the end of the wait for them. Zero for keys.
    pub transcript_us: u64,
    /// From there, when the agent is asked, to its first sentence.
    pub agent_us: u64,
    /// From there to the first synthesized audio.
    pub voice_us: u64,
    /// From there to the end of the caller's turn, where the agent was asked early; else zero.
    pub held_us: u64,
    /// From there to the first audio message to the caller.
    pub playout_us: u64,
    /// From the caller's last speech (or key) to the first audio message.
    pub response_us: u64,
}

/// A stage of the response time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// See [`Response::endpointing_us`].
    Endpointing,
    /// See [`Response::transcript_us`].
    Transcript,
    /// See [`Response::agent_us`].
    Agent,
    /// See [`Response::voice_us`].
    Voice,
    /// See [`Response::held_us`].
    Held,
    /// See [`Response::playout_us`].
    Playout,
}

impl Stage {
    /// In the order in which they follow each other.
    pub const ALL: [Self; 6] =
        [Self::Endpointing, Self::Transcript, Self::Agent, Self::Voice, Self::Held, Self::Playout];

    /// As it stands in metrics: `endpointing`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Endpointing => "endpointing",
            Self::Transcript => "transcript",
            Self::Agent => "agent",
            Self::Voice => "voice",
            Self::Held => "held",
            Self::Playout => "playout",
        }
    }

    /// Who spends the time of this stage.
    ///
    /// A vendor's stage is all of the wait for it, as the call sees it: the way to its thread and back is in there.
    pub const fn spender(self) -> Spender {
        match self {
            Self::Endpointing | Self::Held => Spender::Silence,
            Self::Transcript | Self::Agent | Self::Voice => Spender::Vendor,
            Self::Playout => Spender::Engine,
        }
    }
}

/// Who spends a part of the response time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spender {
    /// The silence (or the pause after keys) that ends the caller's turn: as long as the settings want it.
    Silence,
    /// The recogniser, the agent and the voice.
    Vendor,
    /// The engine itself.
    Engine,
}

impl Spender {
    /// In the order in which [`Response::spent`] gives them.
    pub const ALL: [Self; 3] = [Self::Silence, Self::Vendor, Self::Engine];

    /// As it stands in metrics: `vendor`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Vendor => "vendor",
            Self::Engine => "engine",
        }
    }
}

impl Response {
    /// The stages in order, in µs.
    pub fn stages(&self) -> [(Stage, u64); 6] {
        let us = [
            self.endpointing_us,
            self.transcript_us,
            self.agent_us,
            self.voice_us,
            self.held_us,
            self.playout_us,
        ];
        std::array::from_fn(|at| (Stage::ALL[at], us[at]))
    }

    /// Those of them that people are told of: only what was asked for early is held.
    pub fn told_stages(&self) -> impl Iterator<Item = (Stage, u64)> {
        self.stages().into_iter().filter(|(stage, us)| *stage != Stage::Held || *us > 0)
    }

    /// The same time by who spent it, in µs. The sum is that of the stages: the response time.
    pub fn spent(&self) -> [(Spender, u64); 3] {
        let mut spent = Spender::ALL.map(|spender| (spender, 0));
        for (stage, us) in self.stages() {
            spent[stage.spender() as usize].1 += us;
        }
        spent
    }
}

/// Who spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The human.
    Caller,
    /// Ours.
    Agent,
}

/// What was said between two changes of the floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The turn.
    pub turn: TurnId,
    /// Who.
    pub speaker: Speaker,
    /// When it began.
    pub started: CallTime,
    /// When it was over.
    pub ended: CallTime,
    /// What was said; of the agent, what was heard of it.
    pub text: String,
    /// What the agent would have said, where it was cut off.
    pub unheard: String,
    /// True if where it was cut off is reckoned from its length, since the voice placed no words.
    pub estimated: bool,
    /// How it came in: by voice or by keys.
    pub by: By,
    /// From the caller's last speech (or key) to the agent's first audio; none for a greeting, and for the caller.
    pub response_ms: Option<u32>,
}

/// How a turn came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Spoken.
    Voice,
    /// Typed on the telephone.
    Keypad,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// The agent said goodbye.
    AgentHangup,
    /// The carrier ended the stream: the caller hung up.
    CallerHangup,
    /// The socket died without a word.
    LegLost,
    /// No audio came for too long.
    MediaTimeout,
    /// The carrier sent what this leg cannot take.
    UnsupportedMedia,
    /// The carrier broke the protocol beyond repair.
    ProtocolError,
    /// The agent gave no answer.
    AgentFailed,
    /// Somebody asked for it through the API.
    Operator,
    /// The server is shutting down.
    Shutdown,
    /// A bug of ours; only this call was ended.
    EngineFault,
    /// The engine died with this call on it, and found it at its next start.
    EngineRestarted,
}

impl EndReason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::AgentHangup,
        Self::CallerHangup,
        Self::LegLost,
        Self::MediaTimeout,
        Self::UnsupportedMedia,
        Self::ProtocolError,
        Self::AgentFailed,
        Self::Operator,
        Self::Shutdown,
        Self::EngineFault,
        Self::EngineRestarted,
    ];

    /// As it stands in records: `caller-hangup`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentHangup => "agent-hangup",
            Self::CallerHangup => "caller-hangup",
            Self::LegLost => "leg-lost",
            Self::MediaTimeout => "media-timeout",
            Self::UnsupportedMedia => "unsupported-media",
            Self::ProtocolError => "protocol-error",
            Self::AgentFailed => "agent-failed",
            Self::Operator => "operator",
            Self::Shutdown => "shutdown",
            Self::EngineFault => "engine-fault",
            Self::EngineRestarted => "engine-restarted",
        }
    }
}
