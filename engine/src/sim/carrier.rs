//! A carrier made of numbers: plays what it is sent in real time, returns marks, drops what it holds on `clear`.

use std::collections::VecDeque;
use std::time::Duration;

use super::voice;
use crate::call::{CallTime, UtteranceId};

#[derive(Debug, PartialEq)]
enum Held {
    Sample(u8),
    Mark(String),
}

#[derive(Debug, Default)]
pub(super) struct Carrier {
    held: VecDeque<Held>,
    played_to: CallTime,
    /// What was played, in stretches that end at a mark or at a clear.
    heard: Vec<Stretch>,
}

#[derive(Debug, Default)]
struct Stretch {
    samples: Vec<u8>,
    cut_in_a_word: bool,
}

impl Carrier {
    pub(super) fn queue(&mut self, _: UtteranceId, ulaw: &[u8]) {
        self.held.extend(ulaw.iter().copied().map(Held::Sample));
    }

    pub(super) fn mark(&mut self, name: &str) {
        self.held.push_back(Held::Mark(name.into()));
    }

    /// When the first mark will be reached, if one is held.
    pub(super) fn next_mark_at(&self, now: CallTime) -> Option<CallTime> {
        let samples = self.held.iter().position(|held| matches!(held, Held::Mark(_)))?;
        Some(self.played_to.max(now) + Duration::from_micros(samples as u64 * 125))
    }

    /// Plays on to `now`; the marks that were reached.
    pub(super) fn play_to(&mut self, now: CallTime) -> Vec<String> {
        let mut budget = now.since(self.played_to).as_micros() as u64 / 125;
        let mut marks = Vec::new();
        loop {
            match self.held.front() {
                Some(Held::Mark(_)) => {
                    if let Some(Held::Mark(name)) = self.held.pop_front() {
                        marks.push(name);
                        self.heard.push(Stretch::default());
                    }
                }
                Some(Held::Sample(sample)) if budget > 0 => {
                    budget -= 1;
                    let sample = *sample;
                    self.held.pop_front();
                    if self.heard.is_empty() {
                        self.heard.push(Stretch::default());
                    }
                    if let Some(stretch) = self.heard.last_mut() {
                        stretch.samples.push(sample);
                    }
                }
                _ => break,
            }
        }
        self.played_to = now;
        marks
    }

    /// Drops what is held; the marks that were in it.
    pub(super) fn clear(&mut self, now: CallTime) -> Vec<String> {
        let mut marks = self.play_to(now);
        let next = self.held.iter().find_map(|held| match held {
            Held::Sample(sample) => Some(*sample),
            Held::Mark(_) => None,
        });
        if let Some(stretch) = self.heard.last_mut() {
            stretch.cut_in_a_word = next.is_some_and(|sample| sample != b' ');
        }
        for held in self.held.drain(..) {
            if let Held::Mark(name) = held {
                marks.push(name);
            }
        }
        self.heard.push(Stretch::default());
        marks
    }

    /// What was heard, in whole words.
    pub(super) fn heard(&self) -> String {
        let mut text = String::new();
        for stretch in &self.heard {
            let mut words = voice::understand(&stretch.samples);
            if stretch.cut_in_a_word {
                words.truncate(words.rfind(' ').map_or(0, |at| at + 1));
            }
            let words = words.trim();
            if !text.is_empty() && !words.is_empty() {
                text.push(' ');
            }
            text.push_str(words);
        }
        text
    }
}
