//! Text to what the leg takes: spoken, resampled and encoded once, where it is made, and kept for the next call that
//! says the same.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use offhook_codecs::resample::Resampler;
use offhook_codecs::{SampleRate, g711};

use super::{SpeechError, TextToSpeech};
use crate::call::WordStart;

/// The first piece of an utterance: 100 ms, so that it can start.
const FIRST_PIECE: usize = 800;
/// Later pieces: 1 s.
const PIECE: usize = 8_000;
/// Prompts that are kept: some 17 minutes of speech.
const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An utterance as the leg takes it: 8 kHz µ-law, in pieces.
struct Rendered {
    pieces: Vec<Arc<[u8]>>,
    words: Arc<[WordStart]>,
}

/// A voice, by its address, and a text.
type Key = (usize, String);

/// A prompt that is kept, and the voice that spoke it: while that is held, no other voice gets its address.
struct Kept {
    rendered: Rendered,
    _voice: Weak<dyn TextToSpeech>,
}

/// What one speech thread has spoken lately. Not shared: a second thread that says the same speaks it again, which
/// costs less than a lock.
#[derive(Default)]
pub(super) struct Renderer {
    kept: BTreeMap<Key, Kept>,
    oldest_first: VecDeque<Key>,
    bytes: usize,
}

impl Renderer {
    /// Speaks `text`, handing on pieces as they are made.
    pub(super) fn speak(
        &mut self,
        voice: &Arc<dyn TextToSpeech>,
        text: &str,
        take: &mut dyn FnMut(Arc<[u8]>),
    ) -> Result<Arc<[WordStart]>, SpeechError> {
        let key = (Arc::as_ptr(voice).cast::<()>() as usize, text.to_owned());
        if let Some(Kept { rendered, .. }) = self.kept.get(&key) {
            rendered.pieces.iter().for_each(|piece| take(Arc::clone(piece)));
            return Ok(Arc::clone(&rendered.words));
        }
        let mut pieces: Vec<Arc<[u8]>> = Vec::new();
        let words = render(&**voice, text, &mut |ulaw| {
            let piece: Arc<[u8]> = ulaw.into();
            take(Arc::clone(&piece));
            pieces.push(piece);
            ControlFlow::Continue(())
        })?;
        let rendered = Rendered { pieces, words: Arc::clone(&words) };
        self.keep(key, Kept { rendered, _voice: Arc::downgrade(voice) });
        Ok(words)
    }

    fn keep(&mut self, key: Key, kept: Kept) {
        self.bytes += size(&key, &kept.rendered);
        self.oldest_first.push_back(key.clone());
        self.kept.insert(key, kept);
        while self.bytes > CACHE_BYTES_MAX {
            let Some(oldest) = self.oldest_first.pop_front() else { break };
            self.bytes -= self.kept.remove(&oldest).map_or(0, |kept| size(&oldest, &kept.rendered));
        }
    }
}

/// What keeping it costs, in bytes: also that of a text for which the voice gave nothing.
fn size((_, text): &Key, rendered: &Rendered) -> usize {
    const OVERHEAD: usize = 256;
    let audio: usize = rendered.pieces.iter().map(|piece| piece.len()).sum();
    audio + size_of_val(&*rendered.words) + 2 * text.len() + OVERHEAD
}

/// Has `voice` speak `text`, and hands on 8 kHz µ-law as it is made, a short piece first, until that breaks. Returns where the
/// words begin, at that rate.
pub fn render(
    voice: &dyn TextToSpeech,
    text: &str,
    take: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
) -> Result<Arc<[WordStart]>, SpeechError> {
    let rate = voice.sample_rate();
    let mut resampler =
        Resampler::new(rate, SampleRate::HZ_8000).map_err(|e| SpeechError::Failed(e.to_string()))?;
    let mut pcm = Vec::new();
    let mut want = FIRST_PIECE;
    let mut emit = |pcm: &mut Vec<i16>, all: bool| {
        loop {
            let n = if all { pcm.len().min(want) } else { want };
            if n == 0 || pcm.len() < n {
                return ControlFlow::Continue(());
            }
            want = PIECE;
            let mut ulaw = vec![0; n];
            g711::encode_ulaw(&pcm[..n], &mut ulaw);
            pcm.drain(..n);
            take(ulaw)?;
        }
    };
    let mut flow = ControlFlow::Continue(());
    let words = voice.synthesize(text, &mut |samples| {
        resampler.process(samples, &mut pcm);
        flow = emit(&mut pcm, false);
        flow
    })?;
    if flow.is_continue() {
        resampler.finish(&mut pcm);
        let _ = emit(&mut pcm, true);
    }
    let at_leg_rate = |word: &WordStart| WordStart {
        sample: (u64::from(word.sample) * 8_000 / u64::from(rate.hz())) as u32,
        ..*word
    };
    Ok(words.iter().map(at_leg_rate).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// One second of a constant per letter, at 16 kHz.
    #[derive(Default)]
    struct Letters(AtomicUsize);

    impl TextToSpeech for Letters {
        fn sample_rate(&self) -> SampleRate {
            SampleRate::HZ_16000
        }

        fn synthesize(
            &self,
            text: &str,
            on_audio: &mut dyn FnMut(&[i16]) -> ControlFlow<()>,
        ) -> Result<Vec<WordStart>, SpeechError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            for letter in text.bytes() {
                let _ = on_audio(&[i16::from(letter) * 100; 16_000]);
            }
            Ok(vec![WordStart { text_offset: 1, sample: 16_000 }])
        }
    }

    #[test]
    fn what_was_said_before_is_not_spoken_again() {
        let letters = Arc::new(Letters::default());
        let voice: Arc<dyn TextToSpeech> = letters.clone();
        let mut renderer = Renderer::default();
        let mut heard: [Vec<u8>; 2] = Default::default();
        for heard in &mut heard {
            let words = renderer.speak(&voice, "ab", &mut |piece| heard.extend_from_slice(&piece)).unwrap();
            assert_eq!(*words, [WordStart { text_offset: 1, sample: 8_000 }]);
        }
        assert_eq!(letters.0.load(Ordering::Relaxed), 1);
        assert_eq!(heard[0], heard[1]);
        assert_eq!(heard[0].len(), 16_000, "two seconds at the leg's rate");
    }

    #[test]
    fn the_first_piece_is_short() {
        let voice: Arc<dyn TextToSpeech> = Arc::new(Letters::default());
        let mut sizes = Vec::new();
        Renderer::default().speak(&voice, "abc", &mut |piece| sizes.push(piece.len())).unwrap();
        assert_eq!(sizes, [800, 8_000, 8_000, 7_200]);
    }
}
