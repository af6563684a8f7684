//! What a carrier does with what it is sent: plays it in order, in real time, and drops what it holds on `clear`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::call::{CallTime, UtteranceId};

struct Held {
    starts: CallTime,
    utterance: UtteranceId,
    from: usize,
    samples: usize,
}

#[derive(Default)]
pub(super) struct Carrier {
    held: VecDeque<Held>,
    until: CallTime,
    /// How far each utterance was played, in samples.
    played: BTreeMap<UtteranceId, usize>,
    /// Marks, and when all before them will have been played.
    marks: Vec<(CallTime, u32)>,
}

impl Carrier {
    pub(super) fn audio(&mut self, now: CallTime, utterance: UtteranceId, from: usize, samples: usize) {
        let starts = self.until.max(now);
        self.held.push_back(Held { starts, utterance, from, samples });
        self.until = starts + Duration::from_micros(samples as u64 * 125);
    }

    /// Takes a mark; when it will be reached.
    pub(super) fn mark(&mut self, now: CallTime, mark: u32) -> CallTime {
        let reached = self.until.max(now);
        self.marks.push((reached, mark));
        reached
    }

    /// Drops what was not played; the marks in it.
    pub(super) fn clear(&mut self, now: CallTime) -> Vec<u32> {
        self.play(now);
        self.held.clear();
        self.until = now;
        self.marks.retain(|(reached, _)| *reached > now);
        self.marks.drain(..).map(|(_, mark)| mark).collect()
    }

    pub(super) fn play(&mut self, now: CallTime) {
        while let Some(held) = self.held.front() {
            let passed = (now.since(held.starts).as_micros() / 125) as usize;
            let played = self.played.entry(held.utterance).or_default();
            *played = (*played).max(held.from + passed.min(held.samples));
            if passed < held.samples {
                break;
            }
            self.held.pop_front();
        }
    }

    pub(super) fn played(&self, utterance: UtteranceId) -> usize {
        self.played.get(&utterance).copied().unwrap_or_default()
    }
}
