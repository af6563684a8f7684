//! What happened on all calls together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::{Distribution, Histogram};
use crate::call::{Decision, EndReason, EventKind, Fault, Reason, Speaker, Spender, Stage};

/// Counts of a whole engine. The journal's writer counts what events tell, so that no media thread does; the rest are
/// rare and added where they happen.
#[derive(Debug, Default)]
pub struct Counts {
    ended: [AtomicU64; EndReason::ALL.len()],
    stages: [Histogram; Stage::ALL.len()],
    spent: [Histogram; Spender::ALL.len()],
    response: Histogram,
    barge_ins: AtomicU64,
    interruptions: AtomicU64,
    coughs: AtomicU64,
    back_channels: AtomicU64,
    echoes: AtomicU64,
    self_interruptions: AtomicU64,
    faults: [AtomicU64; Fault::ALL.len()],
    underruns: AtomicU64,
    marks_missing: AtomicU64,
    recogniser_timeouts: AtomicU64,
    agent_failures: AtomicU64,
    voice_failures: AtomicU64,
    characters_unheard: AtomicU64,
    pub(crate) speech_panics: AtomicU64,
    pub(crate) journal_refused_chunks: AtomicU64,
    pub(crate) journal_lost_records: AtomicU64,
    pub(crate) files_given_up: AtomicU64,
}

/// [`Counts`] as they stood at one moment, from the engine's start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Calls that ended, by reason.
    pub ended: Vec<(EndReason, u64)>,
    /// Where the time went of every turn of the agent that answered the caller, stage by stage.
    pub stages: Vec<(Stage, Distribution)>,
    /// The same time by who spent it.
    pub spent: Vec<(Spender, Distribution)>,
    /// The response times of the same turns: the sums of their stages.
    pub response: Distribution,
    /// How often a caller took the floor from the agent, by voice or by key.
    pub barge_ins: u64,
    /// How often the interruption stood: words followed, or long speech, or a key.
    pub interruptions: u64,
    /// How often it was a cough: the agent went on.
    pub coughs: u64,
    /// How often it was "mm-hm" or the like: the agent went on.
    pub back_channels: u64,
    /// How often the agent's own voice came back and was recognised before it stopped the agent.
    pub echoes: u64,
    /// How often the agent was stopped by its own voice come back, and went on.
    pub self_interruptions: u64,
    /// Messages of a carrier that could not be used, by what is wrong with them.
    pub faults: Vec<(Fault, u64)>,
    /// Gaps that a caller heard in the agent's speech, because the next audio was not there in time.
    pub underruns: u64,
    /// Marks that did not come back in time.
    pub marks_missing: u64,
    /// Utterances for which the recogniser gave nothing in time.
    pub recogniser_timeouts: u64,
    /// Turns for which the agent failed, or took too long: each ended its call.
    pub agent_failures: u64,
    /// Sentences for which the voice failed, or took too long.
    pub voice_failures: u64,
    /// Characters of the agent's that were to be spoken and that no caller heard, as the agent was cut off.
    pub characters_unheard: u64,
    /// Panics of recognisers, voices and agents.
    pub speech_panics: u64,
    /// How often the way to the journal's writer was full: the chunk waited with its media thread.
    pub journal_refused_chunks: u64,
    /// Records that had to be dropped because of that: the journal and the recording lack them.
    pub journal_lost_records: u64,
    /// Journals and recordings that could not be written (any further).
    pub files_given_up: u64,
}

/// What was counted of one call already, where its events carry totals and not each of them is told.
#[derive(Debug, Default)]
pub(crate) struct CallTotals {
    faults: BTreeMap<Fault, u32>,
    underruns: u32,
}

impl Counts {
    /// Counts what an event tells. `totals`: those of its call.
    pub(crate) fn event(&self, kind: &EventKind, totals: &mut CallTotals) {
        match *kind {
            EventKind::Decided(decided) => self.decision(decided.decision, decided.reason),
            EventKind::Responded(response) => {
                for (stage, us) in response.stages() {
                    self.stages[stage as usize].record_times(us, 1);
                }
                for (spender, us) in response.spent() {
                    self.spent[spender as usize].record_times(us, 1);
                }
                self.response.record_times(response.response_us, 1);
            }
            EventKind::Fault { fault, count } => {
                let before = totals.faults.insert(fault, count).unwrap_or_default();
                bump(&self.faults[fault as usize], count.saturating_sub(before).into());
            }
            EventKind::Underrun { count, .. } => {
                let before = std::mem::replace(&mut totals.underruns, count);
                bump(&self.underruns, count.saturating_sub(before).into());
            }
            EventKind::MarkMissing { .. } => bump(&self.marks_missing, 1),
            EventKind::AgentFailed { .. } => bump(&self.agent_failures, 1),
            EventKind::VoiceFailed { .. } => bump(&self.voice_failures, 1),
            EventKind::Turn(ref turn) if turn.speaker == Speaker::Agent => {
                bump(&self.characters_unheard, turn.unheard.chars().count() as u64);
            }
            _ => {}
        }
    }

    fn decision(&self, decision: Decision, reason: Reason) {
        match (decision, reason) {
            (Decision::BargeIn, Reason::KeyPressed) => {
                bump(&self.barge_ins, 1);
                bump(&self.interruptions, 1);
            }
            (Decision::BargeIn, _) => bump(&self.barge_ins, 1),
            (Decision::Yield, _) => bump(&self.interruptions, 1),
            (Decision::Resume, Reason::Echo) => bump(&self.self_interruptions, 1),
            (Decision::Resume, Reason::BackChannel) => bump(&self.back_channels, 1),
            (Decision::KeepFloor, Reason::Echo) => bump(&self.echoes, 1),
            (Decision::Resume, _) => bump(&self.coughs, 1),
            (_, Reason::RecogniserSilent) => bump(&self.recogniser_timeouts, 1),
            _ => {}
        }
    }

    /// Counts the end of a call.
    pub(crate) fn ended(&self, reason: EndReason) {
        bump(&self.ended[reason as usize], 1);
    }

    /// What was counted so far.
    pub fn read(&self) -> Counted {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Counted {
            ended: EndReason::ALL.into_iter().zip(self.ended.iter().map(of)).collect(),
            stages: Stage::ALL.into_iter().zip(self.stages.iter().map(Histogram::read)).collect(),
            spent: Spender::ALL.into_iter().zip(self.spent.iter().map(Histogram::read)).collect(),
            response: self.response.read(),
            barge_ins: of(&self.barge_ins),
            interruptions: of(&self.interruptions),
            coughs: of(&self.coughs),
            back_channels: of(&self.back_channels),
            echoes: of(&self.echoes),
            self_interruptions: of(&self.self_interruptions),
            faults: Fault::ALL.into_iter().zip(self.faults.iter().map(of)).collect(),
            underruns: of(&self.underruns),
            marks_missing: of(&self.marks_missing),
            recogniser_timeouts: of(&self.recogniser_timeouts),
            agent_failures: of(&self.agent_failures),
            voice_failures: of(&self.voice_failures),
            characters_unheard: of(&self.characters_unheard),
            speech_panics: of(&self.speech_panics),
            journal_refused_chunks: of(&self.journal_refused_chunks),
            journal_lost_records: of(&self.journal_lost_records),
            files_given_up: of(&self.files_given_up),
        }
    }
}

/// Adds to a number that several threads may write.
pub(crate) fn bump(number: &AtomicU64, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{CallSettings, Input, UtteranceId};
    use crate::sim::{Reply, Sim};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn counted<'a>(events: impl IntoIterator<Item = &'a EventKind>) -> Counted {
        let (counts, mut totals) = (Counts::default(), CallTotals::default());
        events.into_iter().for_each(|kind| counts.event(kind, &mut totals));
        counts.read()
    }

    fn of(sim: &Sim) -> Counted {
        counted(sim.events().iter().map(|event| &event.kind))
    }

    #[test]
    fn stages_add_up_to_the_response_times_of_all_turns() {
        let mut sim = Sim::answered(["Size?", "Budget?", "Thanks."].map(Reply::say));
        sim.run_until_idle();
        for words in ["two", "twenty"] {
            sim.caller_says(words, ms(400));
            sim.run_until_idle();
        }
        let counted = of(&sim);
        assert_eq!(counted.response.count(), 2);
        let stages: Duration = counted.stages.iter().map(|(_, stage)| stage.sum()).sum();
        assert_eq!(stages, counted.response.sum());
        let spent: Duration = counted.spent.iter().map(|(_, spent)| spent.sum()).sum();
        assert_eq!(spent, counted.response.sum());
    }

    #[test]
    fn a_cough_and_an_interruption_are_told_apart() {
        let mut sim = Sim::answered([Reply::say("We open at nine."), Reply::say("Yes?")]);
        sim.run_for(ms(500));
        sim.caller_coughs(ms(180));
        sim.run_for(ms(900));
        sim.caller_says("stop", ms(400));
        sim.run_until_idle();
        let counted = of(&sim);
        assert_eq!((counted.barge_ins, counted.interruptions, counted.coughs), (2, 1, 1));
    }

    #[test]
    fn all_of_a_flood_is_counted_though_few_are_told() {
        let mut sim = Sim::answered([]);
        (0..21).for_each(|_| sim.fault(Fault::NotBase64));
        let told = sim.events().iter().filter(|e| matches!(e.kind, EventKind::Fault { .. })).count();
        assert_eq!(told, 6);
        sim.input(Input::Stop);
        let faults = of(&sim).faults;
        assert!(faults.contains(&(Fault::NotBase64, 21)) && faults.contains(&(Fault::TooLarge, 0)));
    }

    #[test]
    fn every_underrun_is_counted() {
        let mut sim =
            Sim::with(CallSettings { voice_wait_ms: 60_000, ..CallSettings::default() }, [Reply::say("Hm.")]);
        sim.world.voice_delay = Duration::from_secs(100);
        sim.run_for(ms(100));
        let audio = vec![0x55; 160].into();
        for _ in 0..6 {
            sim.input(Input::AgentAudio { utterance: UtteranceId(1), audio: &audio, words: &[] });
            sim.run_for(ms(400));
        }
        sim.input(Input::Stop);
        assert_eq!(of(&sim).underruns, 5, "the first one was not late");
    }

    #[test]
    fn what_no_caller_heard_is_counted_in_characters() {
        let mut sim = Sim::answered([Reply::say("One two three four five six seven."), Reply::say("Yes?")]);
        sim.run_for(ms(900));
        assert_eq!(of(&sim).characters_unheard, 0);
        sim.caller_says("stop", ms(600));
        sim.run_until_idle();
        let unheard: usize = sim.turn_records().iter().map(|turn| turn.unheard.chars().count()).sum();
        assert!((5..34).contains(&unheard), "{unheard}");
        assert_eq!(of(&sim).characters_unheard, unheard as u64);
    }

    #[test]
    fn reasons_and_faults_stand_at_their_places() {
        assert!(EndReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(Fault::ALL.iter().enumerate().all(|(at, fault)| *fault as usize == at));
        assert!(Stage::ALL.iter().enumerate().all(|(at, stage)| *stage as usize == at));
    }
}
