//! What the agent says, in order, on time.
//!
//! In: utterances, and their audio as the voice gives it, ready for the leg. Out: messages of 20 ms, paced to run
//! a short lead ahead of real time: far enough to ride out the network's jitter, near enough that `clear` has little
//! to take back and what was *heard* stays known. After each utterance goes a mark, which the carrier returns once all
//! before it was played, or at once when it is told to clear; so a mark that was outstanding at a clear proves nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::event::EventKind;
use super::input::{UtteranceId, WordStart};
use super::ledger::Entry;
use super::output::{Output, Outputs};
use super::receive::{FRAME, FRAME_MS};
use super::settings::{CallSettings, ms};
use super::tally::Tally;
use super::time::CallTime;

/// What a mark that came back means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkEcho {
    /// Its utterance was played.
    Played,
    /// It was cut off by a clear: nothing is proved.
    Cut,
    /// Not one of ours, or here already.
    Unknown,
}

struct Saying {
    entry: Entry,
    audio: Vec<Arc<[u8]>>,
    /// Where in `audio` the first sample stands that was not sent: piece, and offset in it.
    cursor: (usize, usize),
    mark: Option<u32>,
}

pub(super) struct Playout {
    queue: VecDeque<Saying>,
    /// When all that was sent will have been played.
    play_until: CallTime,
    stopped: bool,
    marks: u32,
    /// Marks below this number were outstanding at a clear, or came back.
    marks_settled: u32,
    underruns: Tally,
}

impl Playout {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::with_capacity(8),
            play_until: CallTime::ZERO,
            stopped: false,
            marks: 0,
            marks_settled: 0,
            underruns: Tally::default(),
        }
    }

    /// Puts an utterance at the end of the queue; its audio follows.
    pub(super) fn add(&mut self, utterance: UtteranceId, text: String) {
        let entry = Entry::new(utterance, text);
        self.queue.push_back(Saying { entry, audio: Vec::new(), cursor: (0, 0), mark: None });
    }

    /// Audio of an utterance. That of one which is not in the queue (any more) is left where it is.
    pub(super) fn audio(&mut self, utterance: UtteranceId, audio: &Arc<[u8]>) {
        if let Some(saying) = self.find(utterance)
            && !saying.entry.complete
        {
            saying.entry.received += audio.len();
            saying.audio.push(Arc::clone(audio));
        }
    }

    /// All audio of an utterance was given. True if it is in the queue.
    pub(super) fn audio_end(&mut self, utterance: UtteranceId, words: &[WordStart]) -> bool {
        let Some(saying) = self.find(utterance) else { return false };
        saying.entry.complete(words);
        true
    }

    /// Sends what is due at `now`. True if any audio was sent.
    pub(super) fn pump(&mut self, now: CallTime, settings: &CallSettings, out: &mut Outputs) -> bool {
        if self.stopped {
            return false;
        }
        let lead = ms(settings.lead_ms);
        let mut sent_any = false;
        for saying in &mut self.queue {
            while self.play_until < now + lead {
                let Some(samples) = send_frame(saying, out) else { break };
                let gap = now.since(self.play_until);
                if saying.entry.sent > samples && !gap.is_zero() && saying.mark.is_none() {
                    if let Some(count) = self.underruns.count() {
                        let kind = EventKind::Underrun { gap_ms: gap.as_millis() as u32, count };
                        out.event(now, kind);
                    }
                }
                self.play_until = self.play_until.max(now) + Duration::from_micros(samples as u64 * 125);
                saying.entry.ends_at = self.play_until;
                sent_any = true;
            }
            if !saying.entry.all_sent() {
                break;
            }
            // An utterance for which the voice gave nothing has nothing to mark.
            if saying.mark.is_none() && saying.entry.received > 0 {
                saying.mark = Some(self.marks);
                out.push(Output::Mark { mark: self.marks });
                self.marks += 1;
            }
        }
        sent_any
    }

    /// The next moment at which something must be sent though no frame comes in to carry it: one frame past its due
    /// time, so that in the ordinary run the caller's frames are the clock and this never wakes anyone.
    pub(super) fn due_at(&self, settings: &CallSettings) -> Option<CallTime> {
        let next = self.queue.iter().find(|saying| !saying.entry.all_sent())?;
        let ready = next.entry.received > next.entry.sent;
        (ready && !self.stopped).then(|| self.play_until - ms(settings.lead_ms) + ms(FRAME_MS + 5))
    }

    /// A mark came back.
    pub(super) fn mark_back(&mut self, mark: u32, out: &mut Outputs) -> MarkEcho {
        if mark >= self.marks {
            return MarkEcho::Unknown;
        }
        let Some(at) = self.queue.iter().position(|saying| saying.mark == Some(mark)) else {
            return if mark < self.marks_settled { MarkEcho::Cut } else { MarkEcho::Unknown };
        };
        if self.queue[at].entry.all_heard() && self.queue[at].audio.is_empty() {
            return MarkEcho::Unknown;
        }
        // The carrier plays in order: what stands before was played too.
        for saying in self.queue.iter_mut().take(at + 1) {
            finish(saying, out);
        }
        MarkEcho::Played
    }

    /// The first utterance whose mark is outstanding, and when it should be back at the latest.
    pub(super) fn mark_due(&self, settings: &CallSettings) -> Option<(u32, CallTime)> {
        self.queue
            .iter()
            .filter(|saying| !saying.entry.all_heard() || !saying.audio.is_empty())
            .find_map(|saying| Some((saying.mark?, saying.entry.ends_at + ms(settings.mark_grace_ms))))
    }

    /// Takes all that the clock says was played as heard, marks or not.
    pub(super) fn believe_clock(&mut self, now: CallTime, out: &mut Outputs) {
        for saying in &mut self.queue {
            if saying.entry.all_sent() && saying.mark.is_some() && saying.entry.ends_at <= now {
                finish(saying, out);
            }
        }
    }

    /// True while the caller hears us, by the clock.
    pub(super) fn is_audible(&self, now: CallTime) -> bool {
        !self.stopped && self.play_until > now
    }

    /// True between [`Playout::stop`] and [`Playout::resume`] or [`Playout::take_turn`].
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// True if nothing is queued that was not sent.
    pub(super) fn all_sent(&self) -> bool {
        self.queue.iter().all(|saying| saying.entry.all_sent())
    }

    /// True if all that is queued was heard.
    pub(super) fn all_heard(&self) -> bool {
        self.queue.iter().all(|saying| saying.entry.all_heard() && saying.audio.is_empty())
    }

    /// True while the voice owes audio.
    pub(super) fn awaits_audio(&self) -> bool {
        self.queue.iter().any(|saying| !saying.entry.complete)
    }

    /// Gives up on the voice: what it has given is all there will be. The utterances that are cut short by this.
    pub(super) fn give_up_audio(&mut self) -> impl Iterator<Item = UtteranceId> + '_ {
        self.queue.iter_mut().filter(|saying| !saying.entry.complete).map(|saying| {
            saying.entry.complete(&[]);
            saying.entry.utterance
        })
    }

    /// Stops at once: has the carrier drop what it holds, and takes back what was not heard.
    pub(super) fn stop(&mut self, now: CallTime, out: &mut Outputs) {
        self.stopped = true;
        self.marks_settled = self.marks;
        out.push(Output::Clear);
        for saying in &mut self.queue {
            if saying.entry.all_heard() && saying.audio.is_empty() {
                continue;
            }
            saying.entry.heard_at(now);
            saying.entry.rewind();
            saying.mark = None;
            saying.cursor = seek(&saying.audio, saying.entry.sent);
        }
        self.play_until = now;
    }

    /// Goes on with the first word that was not wholly heard.
    pub(super) fn resume(&mut self, now: CallTime) {
        self.stopped = false;
        self.play_until = now;
    }

    /// Ends the agent's turn: what was heard of it, what was not, and an empty queue. Utterances whose audio is not
    /// complete are cancelled.
    pub(super) fn take_turn(&mut self, now: CallTime, out: &mut Outputs) -> (String, String) {
        let (mut heard, mut unheard) = (String::new(), String::new());
        for saying in &mut self.queue {
            saying.entry.heard_at(now);
            let (head, tail) = saying.entry.split_text();
            join(&mut heard, head);
            join(&mut unheard, tail);
            if !saying.entry.complete {
                out.push(Output::CancelSynthesis { utterance: saying.entry.utterance });
            }
            for audio in saying.audio.drain(..) {
                out.push_spent(audio);
            }
        }
        self.queue.clear();
        self.stopped = false;
        self.marks_settled = self.marks;
        (heard, unheard)
    }

    fn find(&mut self, utterance: UtteranceId) -> Option<&mut Saying> {
        self.queue.iter_mut().find(|saying| saying.entry.utterance == utterance)
    }
}

/// Sends the next message of an utterance, if enough of it is there; how many samples it holds.
fn send_frame(saying: &mut Saying, out: &mut Outputs) -> Option<usize> {
    let entry = &mut saying.entry;
    let ready = entry.received - entry.sent;
    if ready == 0 || (ready < FRAME && !entry.complete) {
        return None;
    }
    let samples = ready.min(FRAME);
    let mut audio = out.push_bytes(&[]);
    let mut left = samples;
    while left > 0 {
        let (piece, offset) = saying.cursor;
        let bytes = &saying.audio[piece][offset..];
        if bytes.is_empty() {
            saying.cursor = (piece + 1, 0);
            continue;
        }
        let n = bytes.len().min(left);
        out.extend_span(&mut audio, &bytes[..n]);
        saying.cursor.1 += n;
        left -= n;
    }
    entry.sent += samples;
    out.push(Output::Media { utterance: entry.utterance, audio });
    Some(samples)
}

/// Heard to its end: its audio is not needed again.
fn finish(saying: &mut Saying, out: &mut Outputs) {
    saying.entry.hear_all_sent();
    for audio in saying.audio.drain(..) {
        out.push_spent(audio);
    }
}

/// Where sample `sample` stands in pieces of audio.
fn seek(audio: &[Arc<[u8]>], sample: usize) -> (usize, usize) {
    let mut rest = sample;
    for (piece, bytes) in audio.iter().enumerate() {
        if rest < bytes.len() {
            return (piece, rest);
        }
        rest -= bytes.len();
    }
    (audio.len(), 0)
}

fn join(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}
