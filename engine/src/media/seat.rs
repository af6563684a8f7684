//! One call on its media thread: its leg, its graph, its link to the speech session, its journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::clock;
use super::post::OwnedCommand;
use crate::call::{
    Call, CallTime, Command, EndReason, Event, EventKind, Input, Media, Output, Outputs, mark_name,
};
use crate::journal::Appender;
use crate::leg::{Arrival, Closed, Filled, Flushed, Inbox, Leg, Received};
use crate::prefetch::Prefetch;
use crate::speech::link::{Answer, CallEnd, Request};

/// Messages read from one socket per round, so that one call cannot hold up the others.
const MESSAGES_PER_ROUND: usize = 64;
/// How long a closed leg may take to take its last bytes and to say goodbye.
const LINGER: Duration = Duration::from_secs(2);
/// How soon to offer the journal's end again if the writer has no room.
const JOURNAL_RETRY: Duration = Duration::from_millis(100);

/// All that a call needs on its media thread, made elsewhere.
pub(crate) struct NewSeat {
    pub(crate) number: u64,
    pub(crate) leg: Leg,
    pub(crate) call: Call,
    /// Whether the other side is told of messages that could not be used.
    pub(crate) tells_faults: bool,
    pub(crate) speech: CallEnd,
    pub(crate) journal: Appender,
    /// Set once the call is over.
    pub(crate) over: Arc<AtomicBool>,
}

/// What steps need and no call keeps: one of each per thread.
pub(super) struct Scratch {
    pub(super) outputs: Outputs,
    pub(super) inbox: Inbox,
    pub(super) payload: Vec<u8>,
    pub(super) frames_in: u64,
    pub(super) frames_out: u64,
    pub(super) sends_held_up: u64,
    pub(super) speech_overflows: u64,
    pub(super) speech_dropped_bytes: u64,
}

pub(crate) struct Seat {
    number: u64,
    leg: Leg,
    call: Call,
    tells_faults: bool,
    speech: CallEnd,
    journal: Appender,
    over: Arc<AtomicBool>,
    answered: Instant,
    /// Why and when the call ended.
    ended: Option<(EndReason, Instant)>,
    journal_done: bool,
    /// True once the other side has closed its end: what is left to read ends with that.
    closing: bool,
    /// True once the other side is gone, or its goodbye has come.
    leg_done: bool,
}

impl Prefetch for Seat {
    fn prefetch(&mut self) {
        self.leg.prefetch();
        self.call.prefetch();
        self.speech.prefetch();
        self.journal.prefetch();
    }
}

impl Seat {
    /// A call that is answered once it sits on its thread.
    pub(crate) fn new(new: NewSeat) -> Self {
        let NewSeat { number, leg, call, tells_faults, speech, journal, over } = new;
        Self {
            number,
            leg,
            call,
            tells_faults,
            speech,
            journal,
            over,
            answered: clock::now(),
            ended: None,
            journal_done: false,
            closing: false,
            leg_done: false,
        }
    }

    /// The call is answered: its time begins.
    pub(super) fn answer(&mut self, now: Instant) {
        self.answered = now;
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn leg(&mut self) -> &mut Leg {
        &mut self.leg
    }

    /// Reads the socket once. `closing`: the other side has closed it, so its end is to be read too. True if more may be
    /// waiting there.
    pub(super) fn on_readable(&mut self, now: Instant, closing: bool, scratch: &mut Scratch) -> bool {
        if self.leg_done {
            return false;
        }
        // Taken out for the moment, since what they hold is borrowed by the inputs.
        let mut inbox = std::mem::take(&mut scratch.inbox);
        let mut payload = std::mem::take(&mut scratch.payload);
        let filled = self.leg.fill(&mut inbox);
        self.closing |= closing;
        for _ in 0..MESSAGES_PER_ROUND {
            let Some(received) = self.leg.receive(&mut inbox) else { break };
            match received {
                Received::Text(text) => {
                    let Some(reading) = self.leg.read(text, &mut payload) else { continue };
                    for input in reading.inputs() {
                        scratch.frames_in += u64::from(matches!(input, Input::Media(_)));
                        self.step(now, input, scratch);
                    }
                }
                Received::Fault(fault) => self.step(now, Input::Fault(fault), scratch),
                Received::Nothing => {}
                Received::Broken(fault) => {
                    self.step(now, Input::Fault(fault), scratch);
                    // The stream cannot be picked up again in the middle of a frame.
                    let reason = EndReason::ProtocolError;
                    self.step(now, Input::Command(Command::HangUp { reason }), scratch);
                    self.leg_done = true;
                }
                Received::Closed => self.lose_leg(now, scratch),
            }
            if self.leg_done {
                break;
            }
        }
        let more = self.leg.keep(&mut inbox);
        scratch.inbox = inbox;
        scratch.payload = payload;
        if filled == Filled::Closed && !more && !self.leg_done {
            self.lose_leg(now, scratch);
        }
        !self.leg_done && (more || self.closing || filled != Filled::Drained)
    }

    /// Takes what a leg that is served elsewhere tells. The first of it is that the stream begins.
    pub(super) fn on_arrivals(&mut self, now: Instant, scratch: &mut Scratch) {
        if let Some(stream) = self.leg.begin() {
            self.step(now, Input::Start { stream: &stream, format_ok: true }, scratch);
        }
        while !self.leg_done
            && let Some(arrival) = self.leg.next_arrival()
        {
            match arrival {
                Arrival::Audio { chunk, ulaw } => {
                    scratch.frames_in += 1;
                    let media = Media { chunk: Some(chunk), timestamp_ms: None, payload: &ulaw };
                    self.step(now, Input::Media(media), scratch);
                }
                Arrival::Key(digit) => self.step(now, Input::Dtmf { digit }, scratch),
                Arrival::Mark(mark) => {
                    self.step(now, Input::Mark { name: mark_name(mark).as_str() }, scratch);
                }
                Arrival::Stop => self.step(now, Input::Stop, scratch),
                Arrival::Lost => self.lose_leg(now, scratch),
            }
        }
    }

    /// Takes what the speech session answers.
    pub(super) fn on_answers(&mut self, now: Instant, scratch: &mut Scratch) {
        while let Some(answer) = self.speech.next_answer() {
            let input = match &answer {
                Answer::Transcript { utterance, text, is_final } => {
                    Input::Transcript { utterance: *utterance, text, is_final: *is_final }
                }
                Answer::Says { turn, text } => Input::AgentSays { turn: *turn, text },
                Answer::Understood { utterance } => Input::Understood { utterance: *utterance },
                Answer::Speaks { turn, text, audio, is_last } => {
                    Input::AgentSpeaks { turn: *turn, text, audio, is_last: *is_last }
                }
                Answer::Records { key, value } => Input::AgentRecords { key, value },
                Answer::Done { turn, then } => Input::AgentDone { turn: *turn, then: *then },
                Answer::Failed { turn, why } => Input::AgentFailed { turn: *turn, why: *why },
                Answer::Audio { utterance, audio, words } => {
                    Input::AgentAudio { utterance: *utterance, audio, words }
                }
                Answer::Switched(switch) => Input::Switched {
                    part: switch.part,
                    from: &switch.from,
                    to: switch.to.as_deref(),
                    why: switch.why,
                },
                Answer::AudioEnd { utterance, failed, words } => {
                    Input::AgentAudioEnd { utterance: *utterance, failed: *failed, words }
                }
            };
            self.step(now, input, scratch);
        }
    }

    pub(super) fn on_command(&mut self, now: Instant, command: &OwnedCommand, scratch: &mut Scratch) {
        let command = match command {
            OwnedCommand::HangUp { reason } => Command::HangUp { reason: *reason },
            OwnedCommand::Say { text } => Command::Say { text },
            #[cfg(test)]
            OwnedCommand::Panic => panic!("a call was told to panic"),
        };
        self.step(now, Input::Command(command), scratch);
    }

    /// Does what is due. The journal's chunk goes with [`Seat::flush`], which follows.
    pub(super) fn on_due(&mut self, now: Instant, scratch: &mut Scratch) {
        let at = self.time(now);
        if let Some((reason, _)) = self.ended {
            self.finish_journal(at, reason);
            return;
        }
        if self.call.next_deadline().is_some_and(|(due, _)| due <= at) {
            self.step(now, Input::Tick, scratch);
        }
    }

    /// When [`Seat::on_due`] has something to do.
    pub(super) fn next_due(&self, now: Instant) -> Instant {
        if let Some((_, ended)) = self.ended {
            return if self.journal_done { ended + LINGER } else { now + JOURNAL_RETRY };
        }
        let call = self.call.next_deadline().map(|(at, _)| at);
        // A running call always has a deadline: without audio it times out.
        let due = [call, self.journal.next_due()].into_iter().flatten().min();
        self.answered + Duration::from_micros(due.map_or(u32::MAX.into(), CallTime::as_micros))
    }

    /// Wakes the speech session if it was asked for something: it can work while other calls are served.
    pub(super) fn hurry_speech(&mut self, now: Instant) {
        self.speech.hurry(now);
    }

    /// Writes what the call sent, once per wake-up, and wakes its speech session if there is reason to.
    pub(super) fn flush(&mut self, now: Instant, scratch: &mut Scratch) {
        self.speech.settle(now);
        // What the socket does not take goes out once it says that it is writable.
        match self.leg.flush() {
            Ok(Flushed::All) => {}
            Ok(Flushed::Waiting) => scratch.sends_held_up += 1,
            Err(Closed) => self.lose_leg(now, scratch),
        }
        let at = self.time(now);
        if self.ended.is_none() && self.journal.due(at) {
            self.journal.hand_over(at);
        }
    }

    /// True once nothing is left to be done for this call.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        let Some((_, ended)) = self.ended else { return false };
        self.journal_done && (self.leg_done || now >= ended + LINGER)
    }

    /// Ends a call whose step panicked. Nothing of its graph is used again.
    pub(super) fn condemn(&mut self, now: Instant) {
        let reason = EndReason::EngineFault;
        let at = self.time(now);
        if self.ended.is_none() {
            let outputs = Outputs::default();
            let event = Event { at, kind: EventKind::Ended { reason } };
            self.journal.output(at, &Output::Event(event), &outputs);
            self.leg.send_close(reason);
            self.end(now, reason);
        }
        let _ = self.leg.flush();
        self.leg_done = true;
    }

    fn lose_leg(&mut self, now: Instant, scratch: &mut Scratch) {
        self.leg_done = true;
        self.step(now, Input::LegLost, scratch);
    }

    /// One step of the call, and a second one if the first found no room for the caller's audio.
    fn step(&mut self, now: Instant, input: Input<'_>, scratch: &mut Scratch) {
        if self.ended.is_some() {
            return;
        }
        let at = self.time(now);
        let dropped = self.take(now, at, input, scratch);
        if dropped > 0 {
            scratch.speech_overflows += 1;
            scratch.speech_dropped_bytes += u64::from(dropped);
            self.take(now, at, Input::SpeechDropped { bytes: dropped }, scratch);
        }
    }

    /// The input is journalled and handled, and what follows is carried out. Returns as [`Seat::carry_out`].
    fn take(&mut self, now: Instant, at: CallTime, input: Input<'_>, scratch: &mut Scratch) -> u32 {
        self.journal.input(at, &input);
        self.call.handle(at, input, &mut scratch.outputs);
        self.carry_out(now, at, scratch)
    }

    /// Returns how many bytes of caller audio found no room on the way to the recogniser.
    fn carry_out(&mut self, now: Instant, at: CallTime, scratch: &mut Scratch) -> u32 {
        let mut dropped = 0;
        let mut list = scratch.outputs.take_list();
        for output in list.drain(..) {
            self.journal.output(at, &output, &scratch.outputs);
            match output {
                Output::Media { audio, .. } => {
                    scratch.frames_out += 1;
                    self.leg.send_media(scratch.outputs.audio(audio));
                }
                Output::Mark { mark } => self.leg.send_mark(mark),
                Output::Clear => self.leg.send_clear(),
                Output::CallerAudio { audio } => {
                    dropped += self.speech.send_audio(scratch.outputs.audio(audio)) as u32;
                }
                Output::UtteranceStarted { utterance } => {
                    self.speech.send(Request::UtteranceStarted(utterance));
                }
                Output::UtteranceEnded { utterance, speech_ms } => {
                    self.speech.send(Request::UtteranceEnded { utterance, speech_ms });
                }
                Output::AskAgent { turn, prompt } => self.speech.send(Request::AskAgent { turn, prompt }),
                Output::CancelAgent { turn } => self.speech.send(Request::CancelAgent { turn }),
                Output::AgentHeard { turn, text, spoken_heard } => {
                    self.speech.send(Request::AgentHeard { turn, text, spoken_heard });
                }
                Output::Synthesize { utterance, text } => {
                    self.speech.send(Request::Synthesize { utterance, text });
                }
                // Told by the journal, and the first fault of its kind to the sender too.
                Output::Event(event) => {
                    if let EventKind::Fault { fault, count: 1 } = event.kind
                        && self.tells_faults
                    {
                        self.leg.send_fault(fault);
                    }
                }
                Output::CancelSynthesis { utterance } => {
                    self.speech.send(Request::CancelSynthesis { utterance });
                }
                Output::Close { reason } => {
                    self.leg.send_close(reason);
                    self.end(now, reason);
                }
            }
        }
        scratch.outputs.give_back(list);
        for audio in scratch.outputs.take_spent() {
            self.journal.spent(audio);
        }
        dropped
    }

    fn end(&mut self, now: Instant, reason: EndReason) {
        self.ended = Some((reason, now));
        self.over.store(true, Ordering::Release);
        self.finish_journal(self.time(now), reason);
    }

    fn finish_journal(&mut self, at: CallTime, reason: EndReason) {
        self.journal_done = self.journal_done || self.journal.finish(at, reason);
    }

    fn time(&self, now: Instant) -> CallTime {
        CallTime::from_micros(now.saturating_duration_since(self.answered).as_micros() as u64)
    }
}
