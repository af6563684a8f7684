//! Order and gaps, then decoding: the carrier's pieces of audio become a stream of 20 ms frames without holes.
//!
//! In: payloads of any size with the carrier's counts. Out: frames of 160 samples; what was lost is concealed, what
//! comes twice, late or ahead of time is dropped. Late and lost are settled here, for good: no later stage sees counts.
//!
//! Carriers speak over TCP, which keeps order, so a piece is never waited for: that would buy nothing and cost delay.
//! Twilio's arrival is bursty (gaps of over 200 ms were measured with no audio lost), so a gap in *arrival* is no loss;
//! only the carrier's own counts are.

use std::time::Duration;

use offhook_codecs::conceal::{Concealer, HISTORY};
use offhook_codecs::g711;

use super::event::EventKind;
use super::input::Media;
use super::recent::Recent;
use super::settings::CallSettings;
use super::tally::Tally;
use super::time::CallTime;
use crate::prefetch::Prefetch;

/// Samples of a frame: 20 ms at 8 kHz.
pub(super) const FRAME: usize = 160;
/// How long a frame lasts.
pub(super) const FRAME_MS: u32 = 20;

/// A piece whose count is this far behind is a carrier that began to count anew, not a late piece.
const RECOUNT: u32 = 50;

/// 20 ms of the caller, both ways of writing it. Room for it is the asker's, since it is done with at once: what stays with
/// the call is [`Recent`].
pub(super) struct Frame {
    pub(super) ulaw: [u8; FRAME],
    pub(super) pcm: [i16; FRAME],
}

impl Frame {
    pub(super) const EMPTY: Self = Self { ulaw: [0xFF; FRAME], pcm: [0; FRAME] };
}

/// What is left to do of one accepted piece of audio.
pub(super) struct Piece<'a> {
    lost_samples: usize,
    payload: &'a [u8],
}

pub(super) struct Receive {
    concealer: Concealer,
    recent: Recent,
    /// The beginning of a frame that has not come whole.
    partial: [u8; FRAME],
    filled: usize,
    /// When audio first came.
    first_at: Option<CallTime>,
    /// All samples since then, received and lost.
    samples: u64,
    last_chunk: Option<u32>,
    next_timestamp_ms: Option<u32>,
    last_len: usize,
    gaps: Tally,
    stale: Tally,
    ahead: Tally,
    empty: Tally,
    dropped_samples: u64,
}

impl Prefetch for Receive {
    fn prefetch(&mut self) {
        self.recent.prefetch();
    }
}

impl Receive {
    /// `recent_ms`: how much of the newest audio is asked for later.
    pub(super) fn new(recent_ms: u32) -> Self {
        Self {
            concealer: Concealer::new(),
            recent: Recent::new(samples_of(recent_ms).max(HISTORY)),
            partial: [0xFF; FRAME],
            filled: 0,
            first_at: None,
            samples: 0,
            last_chunk: None,
            next_timestamp_ms: None,
            last_len: FRAME,
            gaps: Tally::default(),
            stale: Tally::default(),
            ahead: Tally::default(),
            empty: Tally::default(),
            dropped_samples: 0,
        }
    }

    /// Judges one piece by its counts. What is left of it comes out of [`Receive::next_frame`].
    pub(super) fn accept<'a>(
        &mut self,
        now: CallTime,
        media: &Media<'a>,
        settings: &CallSettings,
        tell: &mut dyn FnMut(EventKind),
    ) -> Piece<'a> {
        let nothing = Piece { lost_samples: 0, payload: &[] };
        if self.is_stale(media) {
            if let Some(count) = self.stale.count() {
                tell(EventKind::Stale { count });
            }
            return nothing;
        }
        let missing = self.missing_samples(media);
        if media.chunk.is_some() {
            self.last_chunk = media.chunk;
        }
        if let Some(timestamp) = media.timestamp_ms {
            self.next_timestamp_ms = Some(timestamp.saturating_add(ms_of(media.payload.len())));
        }
        if media.payload.is_empty() {
            if let Some(count) = self.empty.count() {
                tell(EventKind::EmptyPayload { count });
            }
            return nothing;
        }
        self.last_len = media.payload.len();
        let room = self.room(now, settings);
        let lost_samples = missing.min(samples_of(settings.conceal_ms_max)).min(room);
        if missing > 0
            && let Some(count) = self.gaps.count()
        {
            tell(EventKind::Gap { missing_ms: ms_of(missing), concealed_ms: ms_of(lost_samples), count });
        }
        let payload = self.within_time(media.payload, room - lost_samples, settings, tell);
        self.samples += (lost_samples + payload.len()) as u64;
        Piece { lost_samples, payload }
    }

    /// Puts the next whole frame of `piece`, and of what earlier pieces left over, into `frame`. False if there is not
    /// enough for one.
    pub(super) fn next_frame(&mut self, piece: &mut Piece<'_>, frame: &mut Frame) -> bool {
        if self.filled == 0 && piece.lost_samples == 0 && !self.concealer.will_change_next() {
            // The ordinary way: a message is a frame.
            let Some((whole, tail)) = piece.payload.split_first_chunk() else {
                return self.fill_partial(piece, frame);
            };
            frame.ulaw = *whole;
            piece.payload = tail;
        } else if !self.fill_partial(piece, frame) {
            return false;
        }
        g711::decode_ulaw(&frame.ulaw, &mut frame.pcm);
        self.recent.push(&frame.ulaw);
        true
    }

    /// The newest `ms` of what came out of [`Receive::next_frame`], in two parts, the older first.
    pub(super) fn recent_ms(&self, ms: u32) -> (&[u8], &[u8]) {
        self.recent.newest_ms(ms)
    }

    /// Puts together a frame of what was lost and what came, or as much of it as there is.
    fn fill_partial(&mut self, piece: &mut Piece<'_>, frame: &mut Frame) -> bool {
        if piece.lost_samples > 0 {
            let range = self.filled..FRAME.min(self.filled + piece.lost_samples);
            let pcm = &mut frame.pcm[range.clone()];
            let (recent, partial) = (&self.recent, &self.partial[..self.filled]);
            self.concealer.conceal(pcm, |before| history(recent, partial, before));
            g711::encode_ulaw(pcm, &mut self.partial[range.clone()]);
            piece.lost_samples -= range.len();
            self.filled = range.end;
        }
        if self.filled < FRAME && !piece.payload.is_empty() {
            let (head, tail) = piece.payload.split_at(piece.payload.len().min(FRAME - self.filled));
            let range = self.filled..self.filled + head.len();
            if self.concealer.will_change_next() {
                let pcm = &mut frame.pcm[range.clone()];
                g711::decode_ulaw(head, pcm);
                self.concealer.resume(pcm);
                g711::encode_ulaw(pcm, &mut self.partial[range.clone()]);
            } else {
                self.partial[range.clone()].copy_from_slice(head);
            }
            self.filled = range.end;
            piece.payload = tail;
        }
        if self.filled < FRAME {
            return false;
        }
        self.filled = 0;
        frame.ulaw = self.partial;
        true
    }

    fn is_stale(&self, media: &Media<'_>) -> bool {
        match (media.chunk, self.last_chunk) {
            (Some(chunk), Some(last)) => chunk <= last && last - chunk < RECOUNT,
            _ => false,
        }
    }

    /// How many samples the carrier counted that never came. Timestamps say it best; without them, the chunk count.
    fn missing_samples(&self, media: &Media<'_>) -> usize {
        if let (Some(timestamp), Some(next)) = (media.timestamp_ms, self.next_timestamp_ms) {
            let ahead_ms = timestamp.saturating_sub(next);
            // Carriers stamp on their own clock: less than a frame is its grain, not a loss.
            return if ahead_ms >= FRAME_MS { samples_of(ahead_ms) } else { 0 };
        }
        match (media.chunk, self.last_chunk) {
            (Some(chunk), Some(last)) if chunk > last => {
                (chunk - last - 1) as usize * self.last_len.min(8 * FRAME)
            }
            _ => 0,
        }
    }

    /// How many samples may come before audio runs ahead of the time that has passed by more than the limit.
    fn room(&mut self, now: CallTime, settings: &CallSettings) -> usize {
        let first_at = *self.first_at.get_or_insert(now);
        let passed = now.since(first_at) + Duration::from_millis(settings.ahead_ms_max.into());
        (passed.as_micros() as u64 / 125).saturating_sub(self.samples) as usize
    }

    /// Cuts off what there is no room for.
    fn within_time<'a>(
        &mut self,
        payload: &'a [u8],
        room: usize,
        settings: &CallSettings,
        tell: &mut dyn FnMut(EventKind),
    ) -> &'a [u8] {
        if payload.len() <= room {
            return payload;
        }
        let (kept, dropped) = payload.split_at(room);
        self.dropped_samples += dropped.len() as u64;
        if let Some(count) = self.ahead.count() {
            tell(EventKind::AheadOfTime {
                ahead_ms: settings.ahead_ms_max.saturating_add(ms_of(dropped.len())),
                dropped_ms: (self.dropped_samples / 8) as u32,
                count,
            });
        }
        kept
    }
}

/// What was heard last: the newest frames, and the beginning of the next; silence where nothing came before.
fn history(recent: &Recent, partial: &[u8], before: &mut [i16; HISTORY]) {
    let from_recent = HISTORY - partial.len();
    let (older, newer) = recent.newest(from_recent);
    let (silence, heard) = before.split_at_mut(from_recent - older.len() - newer.len());
    silence.fill(0);
    let (first, rest) = heard.split_at_mut(older.len());
    let (second, third) = rest.split_at_mut(newer.len());
    g711::decode_ulaw(older, first);
    g711::decode_ulaw(newer, second);
    g711::decode_ulaw(partial, third);
}

/// How many samples `ms` milliseconds hold at 8 kHz.
pub(super) const fn samples_of(ms: u32) -> usize {
    ms as usize * 8
}

/// How many whole milliseconds `samples` last at 8 kHz; at most [`u32::MAX`].
pub(super) const fn ms_of(samples: usize) -> u32 {
    let ms = samples / 8;
    if ms > u32::MAX as usize { u32::MAX } else { ms as u32 }
}
