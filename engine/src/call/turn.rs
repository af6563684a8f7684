//! The caller's turn: from the first speech until silence has lasted long enough.
//!
//! A turn is one utterance for the recogniser, however many pauses it holds: "two … hundred" is one answer, and
//! a grammar that heard its halves apart would understand neither. Silence is counted in the caller's own audio, so
//! that late packets do not end a turn; only when audio stops coming altogether does the clock end it.

use super::decision::{Reason, Rule};
use super::dialogue::Cause;
use super::endpointing::Wait;
use super::input::{TurnId, UtteranceId};
use super::receive::FRAME_MS;
use super::settings::CallSettings;
use super::time::CallTime;

/// The caller's turn, while it lasts and until its words are there.
#[derive(Debug)]
pub(super) struct CallerTurn {
    pub(super) turn: TurnId,
    /// The newest of its utterances.
    pub(super) utterance: UtteranceId,
    first_utterance: UtteranceId,
    pub(super) started: CallTime,
    /// When the last voiced frame came.
    pub(super) last_voiced: CallTime,
    /// What was understood of it so far.
    pub(super) text: String,
    /// What the caller had said before, where the agent's answer to that was never heard.
    pub(super) carried: String,
    /// Speech in it so far, in ms.
    pub(super) speech_ms: u32,
    /// What of that was in its earlier utterances.
    earlier_speech_ms: u32,
    /// Set once the utterance was closed and its final words are awaited.
    pub(super) awaits_final: Option<CallTime>,
    silence_ms: u32,
    length_ms: u32,
    /// The most speech that counted for barge-in at once while the agent had the floor, in ms.
    pub(super) sustained_ms: u32,
    /// True if the agent has heard it itself: its words come later, if at all.
    pub(super) unworded: bool,
    /// True if more must come after its words so far.
    pub(super) unfinished: bool,
    /// True if the newest utterance has words so far.
    pub(super) interim: bool,
    /// True if the newest utterance was closed early, as the turn is probably over.
    pub(super) asked_early: bool,
}

/// Why an utterance is over, and what else could have ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) rule: Rule,
    pub(super) other: Rule,
}

impl CallerTurn {
    pub(super) fn new(turn: TurnId, utterance: UtteranceId, now: CallTime, speech_ms: u32) -> Self {
        Self {
            turn,
            utterance,
            first_utterance: utterance,
            started: now,
            last_voiced: now,
            text: String::new(),
            carried: String::new(),
            speech_ms,
            earlier_speech_ms: 0,
            awaits_final: None,
            silence_ms: 0,
            length_ms: 0,
            sustained_ms: 0,
            unworded: false,
            unfinished: false,
            interim: false,
            asked_early: false,
        }
    }

    /// Takes one frame of an open utterance. `wait`: how much silence ends it.
    pub(super) fn frame(
        &mut self,
        now: CallTime,
        voiced: bool,
        wait: Wait,
        settings: &CallSettings,
    ) -> Option<Over> {
        self.length_ms += FRAME_MS;
        if voiced {
            self.last_voiced = now;
            self.speech_ms += FRAME_MS;
            self.silence_ms = 0;
        } else {
            self.silence_ms += FRAME_MS;
        }
        let [silence, too_long] = self.ends(wait, settings);
        if silence.holds() {
            Some(Over { rule: silence, other: too_long })
        } else if too_long.holds() {
            Some(Over { rule: too_long, other: silence })
        } else {
            None
        }
    }

    /// What can end an open utterance, as things stand: silence, and the length of the turn.
    pub(super) fn ends(&self, wait: Wait, settings: &CallSettings) -> [Rule; 2] {
        [
            Rule::new(wait.reason, self.silence_ms, wait.ms),
            Rule::new(Reason::TooLong, self.length_ms, settings.turn_ms_max),
        ]
    }

    /// Whether the turn is probably over, though less silence has passed than `wait`: there are words, nothing says that more
    /// must come, and it was silent for long enough to ask the agent.
    pub(super) fn probably_over(&self, wait: Wait, settings: &CallSettings) -> Option<Over> {
        let early_ms = settings.early_silence_ms;
        let waits_for_no_more = matches!(wait.reason, Reason::Silence | Reason::SilenceOfHesitant);
        if early_ms == 0 || early_ms >= wait.ms || !self.interim || !waits_for_no_more {
            return None;
        }
        let rule = Rule::new(Reason::SilenceProbablyOver, self.silence_ms, early_ms);
        rule.holds().then(|| Over { rule, other: self.ends(wait, settings)[0] })
    }

    /// Silence since the last speech, in ms.
    pub(super) fn silence_ms(&self) -> u32 {
        self.silence_ms
    }

    /// The caller goes on after the utterance was closed: a new one begins in the same turn.
    /// `speech_ms`: speech that has come since.
    pub(super) fn reopen(&mut self, utterance: UtteranceId, now: CallTime, speech_ms: u32) {
        self.utterance = utterance;
        self.awaits_final = None;
        (self.interim, self.asked_early) = (false, false);
        self.earlier_speech_ms = self.speech_ms;
        self.speech_ms += speech_ms;
        self.last_voiced = now;
        self.silence_ms = 0;
        self.sustained_ms = 0;
    }

    /// Speech in its newest utterance so far, in ms.
    pub(super) fn utterance_speech_ms(&self) -> u32 {
        self.speech_ms - self.earlier_speech_ms
    }

    /// True if `utterance` belongs to this turn, and not to one before it.
    pub(super) fn holds(&self, utterance: UtteranceId) -> bool {
        (self.first_utterance..=self.utterance).contains(&utterance)
    }

    /// More words were understood.
    pub(super) fn understood(&mut self, words: &str) {
        append_words(&mut self.text, words);
    }

    /// Its end, as the cause of an answer that is asked for at `now`.
    pub(super) fn cause(&self, now: CallTime) -> Cause {
        Cause { last: self.last_voiced, over_at: self.awaits_final.unwrap_or(now) }
    }

    /// True if anything of it was understood, or of what it goes on from.
    pub(super) fn has_words(&self) -> bool {
        !self.text.is_empty() || !self.carried.is_empty()
    }

    /// All that the caller said, with what the agent never answered.
    pub(super) fn whole_text(&self) -> String {
        let mut text = self.carried.clone();
        append_words(&mut text, &self.text);
        text
    }
}

fn append_words(text: &mut String, words: &str) {
    let words = words.trim();
    if !text.is_empty() && !words.is_empty() {
        text.push(' ');
    }
    text.push_str(words);
}
