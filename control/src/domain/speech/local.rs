//! The voice and the recogniser of this machine, where vendors stand before them: what is left when nobody else answers.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use offhook_engine::call::{Failure, UtteranceId};
use offhook_engine::speech::stt::pocketsphinx::Pocketsphinx;
use offhook_engine::speech::{SpeechToText, TextToSpeech, render};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, spawn_blocking};

use crate::integrations::vendor::{Caller, Ears, Heard, Recording, Spoken, VendorError, Voice, VoiceLine};

/// The name of both.
pub const LOCAL: &str = "local";

/// A voice of this machine.
#[derive(Clone)]
pub(super) struct LocalVoice {
    pub(super) voice: Arc<dyn TextToSpeech>,
    /// How it is called on timelines.
    pub(super) name: &'static str,
}

impl LocalVoice {
    /// The one that all calls of this machine have.
    pub(super) fn plain(voice: Arc<dyn TextToSpeech>) -> Self {
        Self { voice, name: LOCAL }
    }
}

impl Voice for LocalVoice {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
        async { Ok(()) }.boxed()
    }

    fn line(&self) -> Box<dyn VoiceLine> {
        Box::new(self.clone())
    }
}

impl VoiceLine for LocalVoice {
    fn warm(&mut self) -> BoxFuture<'_, Result<(), VendorError>> {
        async { Ok(()) }.boxed()
    }

    fn speak<'a>(
        &'a mut self,
        text: &'a str,
        spoken: &'a mut (dyn FnMut(Spoken) + Send),
    ) -> BoxFuture<'a, Result<(), VendorError>> {
        async move {
            // One piece ahead: who does not listen any more stops it.
            let (give, mut came) = mpsc::channel(1);
            let (voice, text) = (Arc::clone(&self.voice), text.to_owned());
            let speaking = spawn_blocking(move || speak(&*voice, &text, &give));
            while let Some(piece) = came.recv().await {
                spoken(piece);
            }
            speaking.await.map_err(|error| panicked(&error))?
        }
        .boxed()
    }
}

fn speak(voice: &dyn TextToSpeech, text: &str, give: &mpsc::Sender<Spoken>) -> Result<(), VendorError> {
    let pass = |ulaw, words| match give.blocking_send(Spoken { ulaw, words }) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    let words = render(voice, text, &mut |ulaw| pass(ulaw, Vec::new()))
        .map_err(|error| VendorError::new(Failure::Faulty, error.to_string()))?;
    let _ = pass(Vec::new(), words.to_vec());
    Ok(())
}

fn panicked(error: &JoinError) -> VendorError {
    VendorError::new(Failure::Panicked, error.to_string())
}

/// A recogniser of this machine.
pub(super) struct LocalEars {
    /// Makes one for a call.
    pub(super) of_a_call: Box<dyn Fn() -> Box<dyn SpeechToText> + Send + Sync>,
    /// Writes recordings down.
    pub(super) recogniser: Arc<Pocketsphinx>,
}

/// A recording takes a core for half as long as it lasts: calls have the others.
static WRITING_DOWN: Semaphore = Semaphore::const_new(1);

impl Ears for LocalEars {
    fn name(&self) -> &'static str {
        LOCAL
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
            let mut recogniser = Some((self.of_a_call)());
            let mut utterance = UtteranceId::default();
            while let Some(did) = caller.recv().await {
                if let Caller::Starts(started) = did {
                    utterance = started;
                }
                let Some(mut ear) = recogniser.take() else { return Ok(()) };
                // What it makes of 20 ms may take as long.
                let (ear, words) = spawn_blocking(move || {
                    let words = hear(&mut *ear, did);
                    (ear, words)
                })
                .await
                .map_err(|error| panicked(&error))?;
                recogniser = Some(ear);
                if let Some((text, is_final)) = words {
                    heard(Heard { utterance, text, is_final });
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn transcribe<'a>(&'a self, recording: Recording<'a>) -> BoxFuture<'a, Result<String, VendorError>> {
        async move {
            if !recording.language.to_ascii_lowercase().starts_with("en") {
                let detail = "the recogniser of this machine knows English alone";
                return Err(VendorError::new(Failure::Refused, detail));
            }
            let closed = |_| VendorError::new(Failure::Unsaid, "nobody writes down any more");
            let _turn = WRITING_DOWN.acquire().await.map_err(closed)?;
            // Gone with this future: then nobody wants the words.
            let wanted = Arc::new(());
            let wants = Arc::downgrade(&wanted);
            let (recogniser, samples) = (self.recogniser.clone(), recording.samples.to_vec());
            let written = spawn_blocking(move || {
                let goes_on = || wants.strong_count() > 0;
                recogniser.dictation().map(|mut dictation| dictation.write_down(&samples, &goes_on))
            });
            let written = written.await.map_err(|error| panicked(&error))?;
            written.map_err(|error| VendorError::new(Failure::Refused, error.to_string()))
        }
        .boxed()
    }
}

fn hear(ear: &mut dyn SpeechToText, did: Caller) -> Option<(String, bool)> {
    match did {
        Caller::Starts(_) => ear.start(),
        Caller::Audio(ulaw) => return ear.audio(&ulaw).map(|words| (words.text, false)),
        Caller::Ends { speech_ms, .. } => return Some((ear.end(speech_ms).text, true)),
        Caller::Expected(expectation) => ear.expect(&expectation),
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use offhook_engine::speech::stt::none::NoRecogniser;
    use offhook_engine::speech::tts::flite::Flite;

    use super::*;

    /// Nothing here takes longer, unless it hangs.
    const PATIENCE: Duration = Duration::from_secs(120);

    #[tokio::test]
    async fn a_recording_is_written_down_in_english_alone() {
        // Where the library is absent, there are no such ears.
        let Ok(recogniser) = Pocketsphinx::load() else { return };
        let ears = LocalEars { of_a_call: Box::new(|| Box::new(NoRecogniser)), recogniser };
        let mut samples = Vec::new();
        let text = "We open at nine in the morning, and we close at five in the afternoon.";
        let _ = Flite::new().unwrap().synthesize(text, &mut |piece| {
            samples.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
        let recording = |language| Recording { samples: &samples, language };
        let heard = tokio::time::timeout(PATIENCE, ears.transcribe(recording("en-US"))).await;
        let heard = heard.unwrap().unwrap();
        let found = ["open", "nine", "morning", "close", "five", "afternoon"];
        let found = found.iter().filter(|word| heard.contains(**word)).count();
        assert!(found >= 3, "{heard}");
        let refused = ears.transcribe(recording("nl")).await.unwrap_err();
        assert_eq!(refused.why, Failure::Refused);
    }
}
