//! Recordings for ears that know no files: said to them as on a call, a little faster than it was spoken.

use std::pin::pin;
use std::time::Duration;

use offhook_codecs::resample::Resampler;
use offhook_codecs::{SampleRate, g711};
use offhook_engine::call::{Failure, UtteranceId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::vendor::{Caller, Ears, Heard, Recording, VendorError};

/// Bytes of 8 kHz µ-law that are said at once: 100 ms.
const PIECE: usize = 800;
/// Bytes of µ-law in a millisecond.
const BYTES_PER_MS: usize = 8;
/// How long that takes. Deepgram listens at 1.25 times real time at most.
const PACE: Duration = Duration::from_millis(85);
/// How long the last words may take: many times what a call waits for them.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// What ears may not have taken yet: 3 s.
const UNTAKEN_MAX: usize = 40;

/// Says a recording to `ears` as on a call, and gives all final words. Ears that take a turn for over before the end of the
/// recording hear the rest of it as the next.
pub(super) async fn said_on_a_call<E: Ears + ?Sized>(
    ears: &E,
    recording: Recording<'_>,
) -> Result<String, VendorError> {
    let ulaw = narrow(recording.samples)?;
    let (tell, mut told) = mpsc::channel(UNTAKEN_MAX);
    let (give, mut came) = mpsc::unbounded_channel();
    let mut heard = |words: Heard| {
        let _ = give.send(words);
    };
    let mut listening = pin!(ears.listen(&mut told, &mut heard));
    let say = |did| {
        let slow = |_| VendorError::new(Failure::Slow, "it does not take the audio");
        tell.try_send(did).map_err(slow)
    };
    let mut pieces = ulaw.chunks(PIECE);
    let (mut utterance, mut said) = (UtteranceId(1), 0);
    let mut words: Vec<String> = Vec::new();
    let mut due = Instant::now();
    let mut has_ended = false;
    say(Caller::Starts(utterance))?;
    loop {
        tokio::select! {
            biased;
            Some(heard) = came.recv() => {
                if !heard.is_final || heard.utterance != utterance {
                    continue;
                }
                words.push(heard.text);
                if has_ended {
                    words.retain(|text| !text.trim().is_empty());
                    return Ok(words.join(" "));
                }
                (utterance, said) = (UtteranceId(utterance.0 + 1), 0);
                say(Caller::Starts(utterance))?;
            }
            ended = &mut listening => return Err(match ended {
                Ok(()) => VendorError::new(Failure::BrokenOff, "it ended by itself"),
                Err(error) => error,
            }),
            () = sleep_until(due) => match pieces.next() {
                Some(piece) => {
                    said += piece.len();
                    due += PACE;
                    say(Caller::Audio(piece.to_vec()))?;
                }
                None if has_ended => {
                    let detail = format!("no final words within {} s", LAST_WORDS.as_secs());
                    return Err(VendorError::new(Failure::Slow, detail));
                }
                None => {
                    has_ended = true;
                    due += LAST_WORDS;
                    let speech_ms = u32::try_from(said / BYTES_PER_MS).unwrap_or(u32::MAX);
                    say(Caller::Ends { utterance, speech_ms })?;
                }
            },
        }
    }
}

fn narrow(samples: &[i16]) -> Result<Vec<u8>, VendorError> {
    let resampler = Resampler::new(SampleRate::HZ_16000, SampleRate::HZ_8000);
    let mut resampler = resampler.map_err(|error| VendorError::new(Failure::Unsaid, error.to_string()))?;
    let mut narrow = Vec::with_capacity(samples.len() / 2 + 1);
    resampler.process(samples, &mut narrow);
    resampler.finish(&mut narrow);
    Ok(narrow.iter().map(|&sample| g711::linear_to_ulaw(sample)).collect())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    /// Says how much of each utterance it was told, of which none is longer than two seconds; or fails at once.
    struct Counts(bool);

    impl Ears for Counts {
        fn name(&self) -> &'static str {
            "counts"
        }

        fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
            async { Ok(()) }.boxed()
        }

        fn listen<'a>(
            &'a self,
            caller: &'a mut mpsc::Receiver<Caller>,
            heard: &'a mut (dyn FnMut(Heard) + Send),
        ) -> BoxFuture<'a, Result<(), VendorError>> {
            async move {
                if self.0 {
                    return Err(VendorError::new(Failure::Unauthorised, "no"));
                }
                let (mut utterance, mut bytes) = (UtteranceId(0), 0);
                while let Some(did) = caller.recv().await {
                    let is_final = match did {
                        Caller::Starts(id) => {
                            (utterance, bytes) = (id, 0);
                            false
                        }
                        Caller::Audio(ulaw) => {
                            bytes += ulaw.len();
                            bytes == 16_000
                        }
                        Caller::Ends { speech_ms, .. } => speech_ms as usize == bytes / BYTES_PER_MS,
                        Caller::Expected(_) => false,
                    };
                    heard(Heard { utterance, text: bytes.to_string(), is_final });
                }
                Ok(())
            }
            .boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ears_without_files_hear_all_of_a_recording_however_soon_they_take_a_turn_for_over() {
        let samples = vec![900; 16_000 * 3];
        let recording = Recording { samples: &samples, language: "en" };
        let begun = Instant::now();
        let words = Counts(false).transcribe(recording).await.unwrap();
        let bytes: Vec<u32> = words.split(' ').map(|bytes| bytes.parse().unwrap()).collect();
        assert_eq!((bytes.len(), bytes[0]), (2, 16_000), "{words}");
        assert!((7_900..=8_100).contains(&bytes[1]), "{words}");
        assert!(begun.elapsed() >= Duration::from_millis(2_500), "no faster than they listen");
        let refused = Counts(true).transcribe(recording).await.unwrap_err();
        assert_eq!(refused.why, Failure::Unauthorised);
    }
}
