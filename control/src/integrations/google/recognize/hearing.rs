//! One stream to Google, and the utterance that is being heard on it.
//!
//! Google counts from the beginning of the stream's audio, and an utterance may begin anywhere in that, or go on from one stream
//! on the next. So places in an utterance are counted in bytes of its own, and what Google says is moved there.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use offhook_codecs::g711;
use offhook_engine::call::UtteranceId;
use tokio::time::Instant;

use super::super::grpc::Stream;
use super::super::messages::{Output, Request};
use crate::integrations::vendor::Heard;

/// Bytes of 8 kHz µ-law in one second.
const BYTES_PER_SECOND: f64 = 8_000.0;
/// Bytes of one message: 100 ms, as Google advises; an utterance's last may be shorter, and what waits goes in longer ones.
const MESSAGE_MIN: usize = 800;
const MESSAGE_MAX: usize = 8_000;
/// Bytes of an utterance that are kept while they are not final: a minute, twice what a turn may last. Full: the oldest are
/// dropped, and could not be heard again by another stream.
const KEPT_MAX: usize = 60 * 8_000;
/// What is louder may be speech: −42 dBFS. To take noise for some costs no more than a stream.
const LOUD: u16 = 250;
/// Google counts in frames of its own: 100 ms, in bytes.
const NEAR: u64 = 800;

/// A stream.
pub(super) struct Hearing {
    pub(super) stream: Stream,
    pub(super) opened: Instant,
    /// Its connection was there before, and may have died unnoticed.
    pub(super) is_reused: bool,
    /// When audio was last sent.
    pub(super) last_sent: Instant,
    /// Bytes of audio that were sent: Google's clock.
    sent: u64,
    pub(super) open: Option<Utterance>,
    /// All was sent.
    pub(super) closing: Option<Closing>,
    /// Google's number for it.
    pub(super) request: i64,
}

/// What is waited for at the end of a stream.
pub(super) struct Closing {
    /// Until when.
    pub(super) due: Instant,
    /// Up to where the utterance was heard when that was settled.
    covered: u64,
}

impl Hearing {
    pub(super) fn new(stream: Stream, is_reused: bool) -> Self {
        let now = Instant::now();
        let (open, closing) = (None, None);
        Self { stream, opened: now, is_reused, last_sent: now, sent: 0, open, closing, request: 0 }
    }

    /// An utterance begins here, or goes on.
    pub(super) fn begin(&mut self, mut utterance: Utterance) {
        utterance.sent_to = utterance.kept_from;
        utterance.offset = self.sent as i64 - utterance.sent_to as i64;
        utterance.interim.clear();
        self.open = Some(utterance);
    }

    /// Sends what waits of the utterance, as long as it is at least `least` bytes. False if it is not taken.
    pub(super) async fn send(&mut self, least: usize) -> bool {
        let Some(open) = &mut self.open else { return true };
        loop {
            let unsent = &open.audio[(open.sent_to - open.kept_from) as usize..];
            if unsent.len() < least.max(1) {
                return true;
            }
            let piece = &unsent[..unsent.len().min(MESSAGE_MAX)];
            let length = piece.len() as u64;
            let audio_content = Bytes::copy_from_slice(piece);
            if !self.stream.send(&Request { audio_content, ..Request::default() }).await {
                return false;
            }
            open.sent_to += length;
            self.sent += length;
            self.last_sent = Instant::now();
        }
    }

    /// Sends what there is of the utterance, in whole messages.
    pub(super) async fn send_whole(&mut self) -> bool {
        self.send(MESSAGE_MIN).await
    }

    /// Says that all was sent: now what was said becomes final.
    pub(super) fn close(&mut self, wait: Duration) {
        self.stream.finish();
        self.closing = Some(Closing { due: Instant::now() + wait, covered: self.covered() });
    }

    /// Waits once more, if something was heard meanwhile: whoever waits for the words knows how long that makes sense.
    pub(super) fn wait_on(&mut self, wait: Duration) -> bool {
        let covered = self.covered();
        let Some(closing) = self.closing.as_mut().filter(|closing| covered > closing.covered) else {
            return false;
        };
        *closing = Closing { due: Instant::now() + wait, covered };
        true
    }

    fn covered(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.covered)
    }

    /// Ends the utterance: its words so far are the last. None if there is none.
    pub(super) fn finish(&mut self) -> Option<Heard> {
        let open = self.open.take()?;
        Some(Heard { utterance: open.id, text: open.text(), is_final: true })
    }
}

/// An utterance without final words.
pub(super) struct Utterance {
    pub(super) id: UtteranceId,
    /// Its audio from `kept_from` on: what is not final yet, and what is not sent yet.
    audio: BytesMut,
    kept_from: u64,
    /// Up to where the present stream has it.
    sent_to: u64,
    /// What to add to a place in it for the place on the stream.
    offset: i64,
    /// Where its last loud sample is.
    loud_until: u64,
    /// Up to where anything was said of it.
    covered: u64,
    finals: String,
    interim: String,
    /// What was last told of it.
    told: String,
    /// All of it is there.
    pub(super) has_ended: bool,
}

impl Utterance {
    pub(super) fn new(id: UtteranceId) -> Self {
        Self {
            id,
            audio: BytesMut::new(),
            kept_from: 0,
            sent_to: 0,
            offset: 0,
            loud_until: 0,
            covered: 0,
            finals: String::new(),
            interim: String::new(),
            told: String::new(),
            has_ended: false,
        }
    }

    /// Takes more of its audio.
    pub(super) fn take(&mut self, ulaw: &[u8]) {
        let at = self.kept_from + self.audio.len() as u64;
        let is_loud = |&code: &u8| g711::ulaw_to_linear(code).unsigned_abs() > LOUD;
        if let Some(last) = ulaw.iter().rposition(is_loud) {
            self.loud_until = at + last as u64;
        }
        self.audio.extend_from_slice(ulaw);
        let beyond = self.audio.len().saturating_sub(KEPT_MAX) as u64;
        self.drop_until((self.kept_from + beyond).min(self.sent_to));
    }

    /// Whether no audio of it has come.
    pub(super) fn is_empty(&self) -> bool {
        self.kept_from == 0 && self.audio.is_empty()
    }

    /// Takes results. True if some were final.
    pub(super) fn hear(&mut self, results: &[Output]) -> bool {
        let mut has_finals = false;
        let mut interim = None;
        for result in results {
            let end = match result.result_end_time {
                Some(time) => {
                    let time_bytes = Duration::from(time).as_secs_f64() * BYTES_PER_SECOND;
                    (time_bytes.round() as i64).saturating_sub(self.offset).clamp(0, self.sent_to as i64)
                        as u64
                }
                None => self.sent_to,
            };
            // Of audio before it, or that has its words.
            if end <= self.kept_from {
                continue;
            }
            self.covered = self.covered.max(end);
            if result.is_final {
                has_finals = true;
                append(&mut self.finals, result.transcript());
                self.drop_until(end);
            } else {
                // What is likely to stay, and what is not: together they are one text.
                interim.get_or_insert_with(String::new).push_str(result.transcript());
            }
        }
        if has_finals || interim.is_some() {
            self.interim = interim.unwrap_or_default();
        }
        has_finals
    }

    fn drop_until(&mut self, place: u64) {
        self.audio.advance((place - self.kept_from) as usize);
        self.kept_from = place;
    }

    /// Whether it has ended, and all that was said in it is final.
    pub(super) fn is_settled(&self) -> bool {
        self.has_ended
            && self.interim.trim().is_empty()
            && !self.finals.is_empty()
            && self.kept_from + NEAR >= self.loud_until
    }

    /// What there is to tell that was not told. A beginning of that is none: a new stream has first to hear again what the
    /// one before it heard.
    pub(super) fn news(&mut self) -> Option<Heard> {
        let text = self.text();
        if text.is_empty()
            || text == self.told
            || text.len() < self.told.len() && self.told.starts_with(&text)
        {
            return None;
        }
        self.told.clone_from(&text);
        Some(Heard { utterance: self.id, text, is_final: false })
    }

    /// Its words so far.
    fn text(&self) -> String {
        let mut text = self.finals.clone();
        append(&mut text, &self.interim);
        text
    }
}

/// Adds a text behind another.
fn append(text: &mut String, more: &str) {
    let more = more.trim();
    if !text.is_empty() && !more.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

#[cfg(test)]
mod tests {
    use super::super::super::messages::Alternative;
    use super::*;

    fn result(end_ms: u64, transcript: &str, is_final: bool) -> Output {
        let alternatives = vec![Alternative { transcript: transcript.into() }];
        Output { alternatives, is_final, result_end_time: Some(Duration::from_millis(end_ms).into()) }
    }

    /// An utterance of so many milliseconds, all sent, that begins at `offset_ms` of the stream.
    fn utterance(ms: usize, offset_ms: i64) -> Utterance {
        let mut utterance = Utterance::new(UtteranceId(7));
        utterance.take(&vec![0x55; ms * 8]);
        utterance.sent_to = ms as u64 * 8;
        utterance.offset = offset_ms * 8;
        utterance
    }

    #[test]
    fn interims_replace_each_other_and_finals_are_appended() {
        let mut utterance = utterance(3_000, 10_000);
        let mut told = Vec::new();
        for results in [
            vec![result(10_500, "I", false)],
            vec![result(11_000, "I need", false), result(11_000, " hell", false)],
            vec![],
            vec![result(11_500, "I need help. ", true)],
            vec![result(12_000, " Now", false)],
            vec![result(12_900, " Now, please.", true)],
        ] {
            utterance.hear(&results);
            told.extend(utterance.news().map(|heard| heard.text));
        }
        let all = ["I", "I need hell", "I need help.", "I need help. Now", "I need help. Now, please."];
        assert_eq!(told, all);
        assert!(!utterance.is_settled());
        utterance.has_ended = true;
        assert!(utterance.is_settled(), "100 ms of what is loud may be nothing");
    }

    #[test]
    fn what_is_final_is_kept_no_longer_and_the_rest_is_heard_again() {
        let mut utterance = utterance(3_000, -500);
        assert!(utterance.hear(&[result(1_000, "one two", true)]), "1.5 s of the utterance");
        assert_eq!((utterance.kept_from, utterance.audio.len()), (12_000, 12_000));
        // Once more the same, and what is before the utterance, are not its words.
        assert!(!utterance.hear(&[result(1_000, "one two", true), result(0, "so", false)]));
        utterance.hear(&[result(2_000, "three four", false)]);
        assert_eq!(utterance.news().unwrap().text, "one two three four");
        // Another stream begins to hear it from 1.5 s on.
        utterance.interim.clear();
        utterance.offset = -12_000;
        utterance.hear(&[result(500, "three", false)]);
        assert_eq!(utterance.news(), None, "no word is taken back that comes again");
        utterance.hear(&[result(1_400, "three four five", true)]);
        assert_eq!(utterance.news().unwrap().text, "one two three four five");
        assert_eq!(utterance.kept_from, 23_200);
    }

    #[test]
    fn times_that_cannot_be_are_none() {
        let mut utterance = utterance(1_000, 0);
        let mut wrong = result(0, "a", false);
        wrong.result_end_time = Some(Duration::MAX.into());
        utterance.hear(&[wrong.clone()]);
        assert_eq!(utterance.covered, 8_000);
        wrong.result_end_time = None;
        wrong.is_final = true;
        utterance.hear(&[wrong]);
        assert_eq!((utterance.text().as_str(), utterance.audio.len()), ("a", 0));
    }

    #[test]
    fn a_minute_is_kept_of_what_is_not_final() {
        let mut utterance = utterance(60_000, 0);
        utterance.take(&[0x55; 1_600]);
        assert_eq!((utterance.audio.len(), utterance.kept_from), (480_000, 1_600));
        let unsent = utterance.audio.len() as u64 + utterance.kept_from - utterance.sent_to;
        assert_eq!(unsent, 1_600, "what is not sent stays");
    }
}
