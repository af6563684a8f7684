//! What the agent says, in order, on time.
//!
//! In: utterances, and their audio as the voice gives it, ready for the leg. Out: messages, paced to run a short lead
//! ahead of real time: far enough to ride out the network's jitter, near enough that `clear` has little to take back and
//! what was *heard* stays known. A message holds `message_ms` of audio, since carriers buffer and each one costs a write;
//! where the caller hears nothing yet, the first holds 20 ms. After each utterance goes a mark, which the carrier returns
//! once all before it was played, or at once when it is told to clear; so a mark that was outstanding at a clear proves
//! nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use offhook_codecs::g711;

use super::echo::Echo;
use super::event::EventKind;
use super::input::{UtteranceId, WordStart};
use super::ledger::Entry;
use super::output::{Output, Outputs, Span};
use super::receive::{FRAME, FRAME_MS, ms_of, samples_of};
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
    mark: Option<Mark>,
    /// True if the agent speaks it itself: no voice knows of it.
    own: bool,
}

/// What became of an agent's turn.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The words that were wholly heard.
    pub(super) heard: String,
    /// The rest.
    pub(super) unheard: String,
    /// Where they part is reckoned from the length of what was said.
    pub(super) estimated: bool,
    /// Samples that were heard of what the agent spoke itself.
    pub(super) spoken_heard: u32,
}

/// A mark that was sent after an utterance.
#[derive(Clone, Copy)]
struct Mark {
    number: u32,
    sent_at: CallTime,
}

pub(super) struct Playout {
    queue: VecDeque<Saying>,
    /// When all that was sent will have been played.
    play_until: CallTime,
    stopped: bool,
    /// The next message goes on after a stop: it rises from silence.
    rises: bool,
    marks: u32,
    /// Marks below this number were outstanding at a clear, or came back.
    marks_settled: u32,
    underruns: Tally,
    last_gap_ms: u32,
}

impl Playout {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::with_capacity(2),
            play_until: CallTime::ZERO,
            stopped: false,
            rises: false,
            marks: 0,
            marks_settled: 0,
            underruns: Tally::default(),
            last_gap_ms: 0,
        }
    }

    /// Puts an utterance at the end of the queue; its audio follows.
    pub(super) fn add(&mut self, utterance: UtteranceId, text: String) {
        self.push(utterance, text, false);
    }

    /// As [`Playout::add`], where the agent speaks itself: words follow too.
    pub(super) fn add_own(&mut self, utterance: UtteranceId) {
        self.push(utterance, String::new(), true);
    }

    fn push(&mut self, utterance: UtteranceId, text: String, own: bool) {
        let entry = Entry::new(utterance, text);
        self.queue.push_back(Saying { entry, audio: Vec::new(), cursor: (0, 0), mark: None, own });
    }

    /// Audio of an utterance. True if it is waited for: that of one which is complete, or not in the queue (any more),
    /// is left where it is.
    pub(super) fn audio(&mut self, utterance: UtteranceId, audio: &Arc<[u8]>, words: &[WordStart]) -> bool {
        let Some(saying) = self.find_incomplete(utterance, false) else { return false };
        saying.entry.place(words);
        saying.push_audio(audio);
        true
    }

    /// More of what the agent speaks itself.
    pub(super) fn own(&mut self, utterance: UtteranceId, text: &str, audio: &Arc<[u8]>) {
        if let Some(saying) = self.find_incomplete(utterance, true) {
            saying.entry.append(text);
            saying.push_audio(audio);
        }
    }

    /// The agent speaks no more of this itself; `failed`: though not all of it was spoken.
    pub(super) fn end_own(&mut self, utterance: UtteranceId, failed: bool) {
        if let Some(saying) = self.find_incomplete(utterance, true) {
            saying.end(failed, &[]);
        }
    }

    /// All audio of an utterance was given; `failed`: though not all of the utterance. True if it was waited for.
    pub(super) fn audio_end(&mut self, utterance: UtteranceId, failed: bool, words: &[WordStart]) -> bool {
        let Some(saying) = self.find_incomplete(utterance, false) else { return false };
        saying.end(failed, words);
        true
    }

    /// Sends what is due at `now`. True if any audio was sent.
    pub(super) fn pump(
        &mut self,
        now: CallTime,
        settings: &CallSettings,
        echo: &mut Echo,
        out: &mut Outputs,
    ) -> bool {
        if self.stopped {
            return false;
        }
        let lead = ms(settings.lead_ms);
        let mut sent_any = false;
        for saying in &mut self.queue {
            while self.play_until < now + lead {
                let gap = now.since(self.play_until);
                let samples_max = if gap.is_zero() { message_samples(settings) } else { FRAME };
                let Some(audio) = send_message(saying, samples_max, out) else { break };
                let samples = audio.len();
                if std::mem::take(&mut self.rises) {
                    rise(out.audio_mut(audio));
                }
                if saying.entry.sent > samples && !gap.is_zero() {
                    self.last_gap_ms = gap.as_millis() as u32;
                    if let Some(count) = self.underruns.count() {
                        out.event(now, EventKind::Underrun { gap_ms: self.last_gap_ms, count });
                    }
                }
                echo.on_sent(self.play_until.max(now), out.audio(audio));
                self.play_until = self.play_until.max(now) + Duration::from_micros(samples as u64 * 125);
                saying.entry.ends_at = self.play_until;
                sent_any = true;
            }
            if !saying.entry.all_sent() {
                break;
            }
            // An utterance for which the voice gave nothing has nothing to mark.
            if saying.mark.is_none() && saying.entry.received > 0 {
                saying.mark = Some(Mark { number: self.marks, sent_at: now });
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
        (next.ready(FRAME).is_some() && !self.stopped)
            .then(|| self.play_until - ms(settings.lead_ms) + ms(FRAME_MS + 5))
    }

    /// A mark came back.
    pub(super) fn mark_back(&mut self, mark: u32, out: &mut Outputs) -> MarkEcho {
        if mark >= self.marks {
            return MarkEcho::Unknown;
        }
        let Some(at) =
            self.queue.iter().position(|saying| saying.mark.is_some_and(|sent| sent.number == mark))
        else {
            return if mark < self.marks_settled { MarkEcho::Cut } else { MarkEcho::Unknown };
        };
        if self.queue[at].is_over() {
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
        self.queue.iter().filter(|saying| !saying.is_over()).find_map(|saying| {
            let mark = saying.mark?;
            let played_at = saying.entry.ends_at.max(mark.sent_at);
            Some((mark.number, played_at + ms(settings.mark_grace_ms)))
        })
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

    /// When the agent fell silent for the caller: once all was played, or at the stop; `now` while it still speaks.
    pub(super) fn fell_silent(&self, now: CallTime) -> CallTime {
        self.play_until.min(now)
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
        self.queue.iter().all(Saying::is_over)
    }

    /// True while more audio may come of what is queued.
    fn awaits_audio(&self) -> bool {
        self.queue.iter().any(|saying| !saying.entry.complete)
    }

    /// True while the voice owes audio.
    pub(super) fn awaits_voice(&self) -> bool {
        self.queue.iter().any(|saying| !saying.entry.complete && !saying.own)
    }

    /// Gives up on the voice: what it has given is all there will be. The utterances that are cut short by this.
    pub(super) fn give_up_audio(&mut self) -> impl Iterator<Item = UtteranceId> + '_ {
        self.queue.iter_mut().filter(|saying| !saying.entry.complete && !saying.own).map(|saying| {
            saying.entry.give_up();
            saying.entry.utterance
        })
    }

    /// Stops at once: has the carrier drop what it holds, and takes back what was not heard.
    pub(super) fn stop(&mut self, now: CallTime, out: &mut Outputs) {
        self.stopped = true;
        self.marks_settled = self.marks;
        out.push(Output::Clear);
        for saying in &mut self.queue {
            if saying.is_over() {
                continue;
            }
            saying.entry.heard_at(now);
            saying.entry.rewind();
            saying.mark = None;
            saying.cursor = seek(&saying.audio, saying.entry.sent);
        }
        self.play_until = now;
    }

    /// What is left to say, in ms: all that the voice has given and the caller has not heard, as far as it goes; more than
    /// that if the voice is still at it.
    pub(super) fn unheard_ms(&self) -> u32 {
        if self.awaits_audio() {
            return u32::MAX;
        }
        ms_of(self.queue.iter().map(|saying| saying.entry.received - saying.entry.sent).sum())
    }

    /// Goes on with the first word that was not wholly heard.
    pub(super) fn resume(&mut self, now: CallTime) {
        self.stopped = false;
        self.rises = true;
        self.play_until = now;
    }

    /// Ends the agent's turn: what was heard of it, what was not, and an empty queue. Utterances whose audio is not
    /// complete are cancelled.
    pub(super) fn take_turn(&mut self, now: CallTime, out: &mut Outputs) -> Said {
        let mut said = Said::default();
        for saying in &mut self.queue {
            saying.entry.heard_at(now);
            // A text without sound, such as a dash, was heard with what stands before it.
            let silent = saying.entry.received == 0 && !said.unheard.is_empty();
            let (head, tail) =
                if silent { ("", saying.entry.text.as_str()) } else { saying.entry.split_text() };
            said.estimated |= !tail.is_empty() && saying.entry.is_placed_by_length();
            join(&mut said.heard, head.trim_start());
            join(&mut said.unheard, tail.trim());
            if saying.own {
                said.spoken_heard += saying.entry.furthest() as u32;
            } else if !saying.entry.complete {
                out.push(Output::CancelSynthesis { utterance: saying.entry.utterance });
            }
            for audio in saying.audio.drain(..) {
                out.push_spent(audio);
            }
        }
        self.queue.clear();
        self.stopped = false;
        self.rises = false;
        self.marks_settled = self.marks;
        said
    }

    /// Tells how many underruns there were, if the latest were not told.
    pub(super) fn tell_underruns(&mut self, now: CallTime, out: &mut Outputs) {
        if let Some(count) = self.underruns.untold() {
            out.event(now, EventKind::Underrun { gap_ms: self.last_gap_ms, count });
        }
    }

    /// What is queued, in order.
    #[cfg(test)]
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.queue.iter().map(|saying| &saying.entry)
    }

    fn find_incomplete(&mut self, utterance: UtteranceId, own: bool) -> Option<&mut Saying> {
        self.queue
            .iter_mut()
            .find(|saying| saying.entry.utterance == utterance && saying.own == own && !saying.entry.complete)
    }
}

impl Saying {
    /// An empty piece would be waited for: nothing of it is sent, so that no mark says that it was heard.
    fn push_audio(&mut self, audio: &Arc<[u8]>) {
        if !audio.is_empty() {
            self.entry.received += audio.len();
            self.audio.push(Arc::clone(audio));
        }
    }

    fn end(&mut self, failed: bool, words: &[WordStart]) {
        if failed {
            self.entry.give_up();
        } else {
            self.entry.complete(words);
        }
    }

    /// True once all of it was heard and its audio was let go: the clock may say the first before a mark does the second.
    fn is_over(&self) -> bool {
        self.entry.all_heard() && self.audio.is_empty()
    }

    /// How many samples the next message holds, at most `samples_max`: whole frames, and at the end what is left. `None`
    /// if the voice has not given enough.
    fn ready(&self, samples_max: usize) -> Option<usize> {
        let left = self.entry.received - self.entry.sent;
        let whole = if self.entry.complete { left } else { left / FRAME * FRAME };
        (whole > 0).then(|| whole.min(samples_max))
    }
}

/// How many samples a message may hold: from a frame to a second of them.
fn message_samples(settings: &CallSettings) -> usize {
    samples_of(settings.message_ms.clamp(FRAME_MS, 1_000))
}

/// Sends the next message of an utterance, if enough of it is there; what it holds.
fn send_message(saying: &mut Saying, samples_max: usize, out: &mut Outputs) -> Option<Span> {
    let samples = saying.ready(samples_max)?;
    let entry = &mut saying.entry;
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
    Some(audio)
}

/// How long speech takes to rise from silence where it is taken up again: 8 ms.
const RISE: usize = 64;

/// Has the first [`RISE`] samples of 8 kHz µ-law rise from silence, so that they do not begin with a click.
fn rise(ulaw: &mut [u8]) {
    for (code, at) in ulaw.iter_mut().zip(0..RISE as i32) {
        let sample = i32::from(g711::ulaw_to_linear(*code)) * at / RISE as i32;
        *code = g711::linear_to_ulaw(sample as i16);
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What may happen to a playout.
    #[derive(Clone, Debug)]
    enum Op {
        Add,
        Audio(usize),
        End {
            failed: bool,
        },
        Pass {
            ms: u32,
        },
        /// A mark that the carrier has reached comes back.
        HonestMark,
        /// Any mark at all.
        AnyMark(u32),
        Stop,
        Resume,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            1 => Just(Op::Add),
            4 => (0..3_000usize).prop_map(Op::Audio),
            2 => prop::bool::weighted(0.1).prop_map(|failed| Op::End { failed }),
            8 => (0..200u32).prop_map(|ms| Op::Pass { ms }),
            3 => Just(Op::HonestMark),
            1 => (0..6u32).prop_map(Op::AnyMark),
            1 => Just(Op::Stop),
            2 => Just(Op::Resume),
        ]
    }

    /// One message that the carrier holds.
    enum Held {
        Audio { utterance: UtteranceId, samples: usize },
        Mark(u32),
    }

    /// Plays what it is sent, in order, in real time.
    #[derive(Default)]
    struct Carrier {
        held: VecDeque<Held>,
        played: BTreeMap<UtteranceId, usize>,
        reached: Vec<u32>,
    }

    impl Carrier {
        fn play(&mut self, mut samples: usize) {
            while let Some(held) = self.held.front_mut() {
                match held {
                    Held::Mark(mark) => self.reached.push(*mark),
                    Held::Audio { samples: 0, .. } => {}
                    Held::Audio { .. } if samples == 0 => return,
                    Held::Audio { utterance, samples: left } => {
                        let n = samples.min(*left);
                        *left -= n;
                        samples -= n;
                        *self.played.entry(*utterance).or_default() += n;
                        continue;
                    }
                }
                self.held.pop_front();
            }
        }
    }

    struct Bench {
        playout: Playout,
        carrier: Carrier,
        settings: CallSettings,
        now: CallTime,
        heard: BTreeMap<UtteranceId, usize>,
        utterances: u32,
        honest: bool,
    }

    impl Bench {
        fn take(&mut self, op: &Op) {
            let mut out = Outputs::default();
            let newest = UtteranceId(self.utterances);
            match op {
                Op::Add => {
                    self.utterances += 1;
                    self.playout.add(UtteranceId(self.utterances), "one two three".into());
                }
                Op::Audio(samples) => {
                    self.playout.audio(newest, &vec![0x55; *samples].into(), &[]);
                }
                Op::End { failed } => {
                    self.playout.audio_end(newest, *failed, &[]);
                }
                Op::Pass { ms: length } => {
                    self.now += ms(*length);
                    self.carrier.play(*length as usize * 8);
                }
                Op::HonestMark => {
                    if let Some(mark) = self.carrier.reached.pop() {
                        self.playout.mark_back(mark, &mut out);
                    }
                }
                Op::AnyMark(mark) if !self.honest => {
                    self.playout.mark_back(*mark, &mut out);
                }
                Op::AnyMark(_) => {}
                Op::Stop => {
                    if !self.playout.is_stopped() {
                        self.playout.stop(self.now, &mut out);
                        self.carrier.held.clear();
                        self.heard.clear();
                        for saying in &self.playout.queue {
                            self.carrier.played.insert(saying.entry.utterance, saying.entry.sent);
                        }
                    }
                }
                Op::Resume => self.playout.resume(self.now.max(self.playout.play_until)),
            }
            self.playout.pump(self.now, &self.settings, &mut Echo::new(true), &mut out);
            for output in out.iter() {
                match *output {
                    Output::Media { utterance, audio } => {
                        self.carrier.held.push_back(Held::Audio { utterance, samples: audio.len() });
                    }
                    Output::Mark { mark } => self.carrier.held.push_back(Held::Mark(mark)),
                    _ => {}
                }
            }
            self.carrier.play(0);
            self.check();
        }

        fn check(&mut self) {
            for saying in &mut self.playout.queue {
                let entry = &mut saying.entry;
                let heard = entry.heard_at(self.now);
                assert!(heard <= entry.sent && entry.sent <= entry.received, "{entry:?}");
                let before = self.heard.insert(entry.utterance, heard).unwrap_or_default();
                assert!(heard >= before, "heard went back from {before}: {entry:?}");
                if self.honest {
                    let played = self.carrier.played.get(&entry.utterance).copied().unwrap_or_default();
                    assert!(heard <= played, "only {played} samples were played: {entry:?}");
                }
                let (head, tail) = entry.split_text();
                assert_eq!([head, tail].concat().replace(' ', ""), "onetwothree");
            }
            if let Some(due) = self.playout.due_at(&self.settings) {
                assert!(due > self.now, "what was due has just been sent");
            }
        }
    }

    fn run(ops: &[Op], honest: bool) {
        let mut bench = Bench {
            playout: Playout::new(),
            carrier: Carrier::default(),
            settings: CallSettings::default(),
            now: CallTime::from_millis(1_000),
            heard: BTreeMap::new(),
            utterances: 0,
            honest,
        };
        ops.iter().for_each(|op| bench.take(op));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_more_counts_as_heard_than_an_honest_carrier_played(ops in vec(op(), 1..150)) {
            run(&ops, true);
        }

        #[test]
        fn heard_stays_within_sent_whatever_marks_come(ops in vec(op(), 1..150)) {
            run(&ops, false);
        }
    }

    #[test]
    fn a_mark_that_left_late_is_given_its_time() {
        let (mut playout, mut out) = (Playout::new(), Outputs::default());
        let settings = CallSettings::default();
        playout.add(UtteranceId(1), "one".into());
        playout.audio(UtteranceId(1), &vec![0x55; 160].into(), &[]);
        let mut echo = Echo::new(true);
        playout.pump(CallTime::ZERO, &settings, &mut echo, &mut out);
        let late = CallTime::from_millis(9_000);
        playout.audio_end(UtteranceId(1), false, &[]);
        playout.pump(late, &settings, &mut echo, &mut out);
        assert_eq!(playout.mark_due(&settings), Some((0, late + ms(settings.mark_grace_ms))));
    }

    #[test]
    fn what_the_voice_never_said_was_not_heard() {
        let (mut playout, mut out) = (Playout::new(), Outputs::default());
        playout.add(UtteranceId(1), "one two".into());
        playout.audio_end(UtteranceId(1), true, &[]);
        assert!(playout.all_heard(), "nothing is waited for");
        let nothing = Said { unheard: "one two".into(), ..Said::default() };
        assert_eq!(playout.take_turn(CallTime::ZERO, &mut out), nothing);
    }
}
