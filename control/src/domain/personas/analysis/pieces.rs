//! What of a recording is written down: its speech, in pieces that recognisers take, without the pauses between.

use std::ops::Range;

use super::super::speech::{FRAME, stretches, voiced};
use crate::integrations::video::RATE_HZ;

/// A piece is no longer, in samples: 30 s, for which all recognisers are made.
const PIECE_MAX: usize = 30 * RATE_HZ as usize;
/// Of a pause no more is kept than this, in samples: 600 ms, by which sentences are told apart.
const PAUSE_MAX: usize = RATE_HZ as usize * 600 / 1_000;
/// A stretch that is shorter is no word, in frames: 150 ms.
const WORD_FRAMES: usize = 5;
/// How much of a recording is written down, in samples: the first 15 minutes of speech, and the last 5. Who has more to say says
/// it in the same manner.
const BEGINNING: usize = 15 * 60 * RATE_HZ as usize;
const END: usize = 5 * 60 * RATE_HZ as usize;

/// Parts of a recording that are heard as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Piece(Vec<Range<usize>>);

impl Piece {
    fn len(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    /// Its sound, of the recording's `samples`.
    pub(super) fn of(&self, samples: &[i16]) -> Vec<i16> {
        self.0.iter().filter_map(|range| samples.get(range.clone())).flatten().copied().collect()
    }
}

/// The pieces of a recording, in order; none if nobody speaks. Takes some ms for each second.
pub(super) fn pieces(samples: &[i16]) -> Vec<Piece> {
    let stretches: Vec<Range<usize>> = stretches(&voiced(samples), WORD_FRAMES)
        .into_iter()
        .map(|(from, to)| {
            // Half a pause on both sides belongs to it: words begin and end more softly than the detection hears.
            let from = (from * FRAME).saturating_sub(PAUSE_MAX / 2);
            from..(to * FRAME + PAUSE_MAX / 2).min(samples.len())
        })
        .collect();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut until = 0;
    for stretch in chosen(stretches) {
        let stretch = stretch.start.max(until)..stretch.end.max(until);
        until = stretch.end;
        match pieces.last_mut() {
            Some(piece) if piece.len() + stretch.len() <= PIECE_MAX => piece.0.push(stretch),
            _ => pieces.push(Piece(vec![stretch])),
        }
    }
    pieces
}

/// All of them, or those of the beginning and the end.
fn chosen(stretches: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut before = 0;
    let all: usize = stretches.iter().map(Range::len).sum();
    stretches
        .into_iter()
        .filter(|stretch| {
            let (from, to) = (before, before + stretch.len());
            before = to;
            to <= BEGINNING || from + END >= all
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use offhook_engine::speech::TextToSpeech;
    use offhook_engine::speech::tts::flite::Flite;

    use super::*;

    #[test]
    fn speech_is_cut_into_pieces_without_its_pauses_and_nothing_of_it_is_lost() {
        let mut speech = Vec::new();
        let text = "We open at nine in the morning, and we close at five in the afternoon.";
        let _ = Flite::new().unwrap().synthesize(text, &mut |piece| {
            speech.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
        let pause = vec![0; 5 * 16_000];
        let recording: Vec<i16> = (0..20).flat_map(|_| [&speech[..], &pause].concat()).collect();
        let pieces = pieces(&recording);
        let sounds: Vec<Vec<i16>> = pieces.iter().map(|piece| piece.of(&recording)).collect();
        assert!(sounds.iter().all(|sound| sound.len() <= PIECE_MAX), "{pieces:?}");
        let loud = |samples: &[i16]| samples.iter().filter(|sample| sample.unsigned_abs() > 1_000).count();
        let kept: usize = sounds.iter().map(|sound| loud(sound)).sum();
        assert!(kept * 100 >= loud(&recording) * 98, "{kept} of {}", loud(&recording));
        let all: usize = sounds.iter().map(Vec::len).sum();
        assert!(all <= 20 * (speech.len() + 2 * PAUSE_MAX), "{all} of {}", recording.len());
        assert_eq!(super::pieces(&pause), []);
        assert_eq!(super::pieces(&[]), []);
    }

    #[test]
    fn of_a_long_recording_the_beginning_and_the_end_are_taken() {
        let minute = 60 * RATE_HZ as usize;
        let stretches: Vec<_> = (0..50).map(|n| n * minute..(n + 1) * minute).collect();
        let taken = chosen(stretches.clone());
        assert_eq!(taken.len(), 20);
        assert_eq!((&taken[14], &taken[15]), (&stretches[14], &stretches[45]));
        assert_eq!(chosen(stretches[..20].to_vec()).len(), 20);
    }
}
