//! A decision of turn-taking as a record: what was decided, by which rule, which other rule came nearest, and what the
//! call saw when it decided.
//!
//! A rule compares one number with one threshold, in the direction that its [`Reason`] says ([`Reason::relation`]), or
//! is a plain fact. Of the rules that could have decided in its place, the record keeps the one that lacked the fewest
//! milliseconds: it is the setting to look at when the decision was wrong.

use serde::{Deserialize, Serialize};

/// A decision, with what it was made on. All `_ms` are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What was decided.
    pub decision: Decision,
    /// The rule that fired.
    pub reason: Reason,
    /// What was measured against its threshold; 0 if the rule is a fact.
    pub measured_ms: u32,
    /// Its threshold; 0 if the rule is a fact.
    pub threshold_ms: u32,
    /// The rule that came nearest to deciding in its place, if another was in play.
    #[serde(default)]
    pub nearest: Option<Nearest>,
    /// What the call saw. None in records of versions that did not keep it.
    #[serde(default)]
    pub seen: Option<Seen>,
}

impl Decided {
    /// `decision` by `rule`. `others`: the rules that could have decided in its place.
    pub(super) fn new(decision: Decision, rule: Rule, others: &[Rule], seen: Seen) -> Self {
        let nearest = others.iter().min_by_key(|other| other.missing_ms()).map(Rule::as_nearest);
        let Rule { reason, measured_ms, threshold_ms } = rule;
        Self { decision, reason, measured_ms, threshold_ms, nearest, seen: Some(seen) }
    }

    /// The rule that fired.
    pub fn rule(&self) -> Rule {
        Rule { reason: self.reason, measured_ms: self.measured_ms, threshold_ms: self.threshold_ms }
    }
}

/// One rule of turn-taking at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which.
    pub reason: Reason,
    /// What was measured, in ms.
    pub measured_ms: u32,
    /// Against what, in ms.
    pub threshold_ms: u32,
}

impl Rule {
    /// A rule that compares.
    pub const fn new(reason: Reason, measured_ms: u32, threshold_ms: u32) -> Self {
        Self { reason, measured_ms, threshold_ms }
    }

    /// A rule that needs no number.
    pub const fn fact(reason: Reason) -> Self {
        Self::new(reason, 0, 0)
    }

    /// A wait of `ms` that is over.
    pub const fn waited(reason: Reason, ms: u32) -> Self {
        Self::new(reason, ms, ms)
    }

    /// By how much the measurement would have to change for the rule to hold, in ms; 0 if it holds.
    pub fn missing_ms(&self) -> u32 {
        let (measured, threshold) = (self.measured_ms, self.threshold_ms);
        match self.reason.relation() {
            Relation::Fact => 0,
            Relation::AtLeast => threshold.saturating_sub(measured),
            Relation::Over => (threshold.saturating_add(1)).saturating_sub(measured),
            Relation::Under => (measured.saturating_add(1)).saturating_sub(threshold),
            Relation::AtMost => measured.saturating_sub(threshold),
        }
    }

    /// True if the measurement stands to the threshold as the rule wants it.
    pub fn holds(&self) -> bool {
        self.missing_ms() == 0
    }

    fn as_nearest(&self) -> Nearest {
        let Self { reason, measured_ms, threshold_ms } = *self;
        Nearest { reason, measured_ms, threshold_ms, missing_ms: self.missing_ms() }
    }
}

/// A rule that did not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// Which.
    pub reason: Reason,
    /// What was measured against its threshold.
    pub measured_ms: u32,
    /// Its threshold.
    pub threshold_ms: u32,
    /// How far it was from firing. 0: it held as well, but the other one comes first.
    pub missing_ms: u32,
}

/// What the call saw when it decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Speech in the caller's turn so far; 0 if the caller has none.
    pub speech_ms: u32,
    /// Silence since the last of it, in the caller's own audio.
    pub silence_ms: u32,
    /// Whether any words of that turn were understood.
    pub words: bool,
    /// What the agent was doing.
    pub agent: AgentDoes,
}

/// What the agent is doing, as a decision sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentDoes {
    /// It listens: it was not asked, or all that it said was heard.
    Listens,
    /// It was asked, and nothing of the answer has left yet.
    Thinks,
    /// It has the floor.
    Speaks,
    /// It was stopped, and may go on.
    Paused,
}

/// What turn-taking can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The caller takes the floor from the agent: playout stopped and cleared.
    BargeIn,
    /// The agent keeps the floor though the caller made a sound.
    KeepFloor,
    /// It was no interruption: the agent goes on from the first unheard word.
    Resume,
    /// The caller's interruption stands: the rest of the agent's turn is dropped.
    Yield,
    /// The caller's turn is over.
    TurnOver,
    /// What the caller said is not a turn: wait on.
    Ignore,
    /// The caller has been silent too long.
    NoInput,
    /// Goodbye was heard: hang up.
    HangUp,
    /// What somebody owed did not come in time, and is waited for no longer.
    GiveUp,
    /// The caller's turn is probably over: the agent is asked already, and its answer held until the turn is over.
    AskEarly,
}

/// The rule that led to a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Speech lasted as long as barge-in needs: five in six frames of the barge-in window.
    SustainedSpeech,
    /// The caller fell silent (or silent enough) before speech had lasted as long as barge-in needs.
    ShortSound,
    /// A key was pressed.
    KeyPressed,
    /// Words followed.
    WordsFollowed,
    /// There was no more speech than a cough has (and no words followed, if this is what decided).
    NoWordsFollowed,
    /// The agent says goodbye, which is not interrupted.
    Goodbye,
    /// The caller was silent for as long as the threshold says.
    Silence,
    /// The caller spoke for as long as one turn may last.
    TooLong,
    /// The audio stopped coming.
    MediaStalled,
    /// The last key of an answer, or one that ends it.
    KeysComplete,
    /// The recogniser gave nothing in time.
    RecogniserSilent,
    /// Too little speech to be words.
    TooShort,
    /// Too much speech to be a cough, though no words were understood.
    LongSpeech,
    /// The last mark came back.
    LastMark,
    /// A mark did not come back, and its time is over.
    MarkTimeout,
    /// A pause after keys.
    KeysPause,
    /// Enough speech to be held for words, though none were understood.
    EnoughSpeech,
    /// The agent gave nothing in time.
    AgentSilent,
    /// The voice gave nothing in time.
    VoiceSilent,
    /// It was the agent's own voice, sent back by the caller's telephone.
    Echo,
    /// It may be the agent's own voice, which is found out first; for no longer than this.
    PerhapsEcho,
    /// Words that say "go on", while the agent had at least that much yet to say.
    BackChannel,
    /// The caller was silent for as long as the threshold says after words that no turn ends with.
    SilenceUnfinished,
    /// The caller was silent for as long as the threshold says for one who makes long pauses.
    SilenceOfHesitant,
    /// The caller was silent for as long as the threshold says while keys are being typed.
    SilenceWhileTyping,
    /// The caller was silent for long enough after words that do not seem unfinished to ask the agent already.
    SilenceProbablyOver,
    /// The recogniser takes the caller's turn for over.
    RecogniserEnds,
}

/// How a rule compares what it measures with its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It does not: it is a fact.
    Fact,
    /// `≥`
    AtLeast,
    /// `>`
    Over,
    /// `<`
    Under,
    /// `≤`
    AtMost,
}

impl Reason {
    /// How this rule compares.
    pub const fn relation(self) -> Relation {
        match self {
            Self::KeyPressed
            | Self::WordsFollowed
            | Self::Goodbye
            | Self::KeysComplete
            | Self::LastMark
            | Self::Echo
            | Self::RecogniserEnds => Relation::Fact,
            Self::SustainedSpeech
            | Self::ShortSound
            | Self::Silence
            | Self::TooLong
            | Self::MediaStalled
            | Self::RecogniserSilent
            | Self::MarkTimeout
            | Self::KeysPause
            | Self::EnoughSpeech
            | Self::AgentSilent
            | Self::VoiceSilent
            | Self::BackChannel
            | Self::SilenceUnfinished
            | Self::SilenceOfHesitant
            | Self::SilenceWhileTyping
            | Self::SilenceProbablyOver => Relation::AtLeast,
            Self::LongSpeech => Relation::Over,
            Self::TooShort | Self::PerhapsEcho => Relation::Under,
            Self::NoWordsFollowed => Relation::AtMost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen = Seen { speech_ms: 0, silence_ms: 0, words: false, agent: AgentDoes::Listens };

    #[test]
    fn what_is_missing_is_the_least_change_that_makes_a_rule_hold() {
        for reason in [Reason::Silence, Reason::LongSpeech, Reason::TooShort, Reason::NoWordsFollowed] {
            for measured_ms in 0..8 {
                for threshold_ms in 1..7 {
                    let missing_ms = Rule::new(reason, measured_ms, threshold_ms).missing_ms();
                    let changes = |by: u32| {
                        [measured_ms.checked_add(by), measured_ms.checked_sub(by)].into_iter().flatten()
                    };
                    let least = (0..20).find(|&by| {
                        changes(by).any(|changed| Rule::new(reason, changed, threshold_ms).holds())
                    });
                    assert_eq!(Some(missing_ms), least, "{reason:?} {measured_ms} {threshold_ms}");
                }
            }
        }
    }

    #[test]
    fn nearest_is_the_rule_that_lacks_least() {
        let silence = Rule::new(Reason::Silence, 100, 700);
        let too_long = Rule::new(Reason::TooLong, 29_900, 30_000);
        let decided = Decided::new(
            Decision::BargeIn,
            Rule::new(Reason::SustainedSpeech, 100, 100),
            &[silence, too_long],
            SEEN,
        );
        let nearest = decided.nearest.unwrap();
        assert_eq!((nearest.reason, nearest.missing_ms), (Reason::TooLong, 100));
        assert_eq!(Decided::new(Decision::HangUp, Rule::fact(Reason::LastMark), &[], SEEN).nearest, None);
    }
}
