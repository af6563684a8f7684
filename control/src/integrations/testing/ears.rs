//! What the tests of all ears do: play a call, and look at what was heard of it.

use std::sync::Arc;
use std::time::Duration;

use offhook_codecs::g711;
use offhook_engine::call::UtteranceId;
use offhook_fixtures::vendors::{Asked, FakeVendors};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::integrations::vendor::{Caller, Ears, Heard, VendorError};

/// Nothing here takes longer, unless it hangs.
pub(in crate::integrations) const PATIENCE: Duration = Duration::from_secs(20);

/// µ-law of stretches, loud or silent, each so many milliseconds long.
pub(in crate::integrations) fn ulaw(stretches: &[(bool, usize)]) -> Vec<u8> {
    let mut audio = Vec::new();
    for &(is_loud, ms) in stretches {
        let amplitude = if is_loud { 6_000.0 } else { 0.0 };
        let step = 400.0 * std::f32::consts::TAU / 8_000.0;
        audio.extend((0..ms * 8).map(|n| g711::linear_to_ulaw(((n as f32 * step).sin() * amplitude) as i16)));
    }
    audio
}

/// The only request, once its socket has ended.
pub(in crate::integrations) async fn only_request(fakes: &FakeVendors) -> Asked {
    for _ in 0..500 {
        let mut all = fakes.requests();
        if all.len() == 1 && all[0].ended.is_some() {
            return all.remove(0);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the socket did not end: {:?}", fakes.requests());
}

/// A call that is listened to.
pub(in crate::integrations) struct Call {
    tell: mpsc::Sender<Caller>,
    heard: mpsc::UnboundedReceiver<Heard>,
    task: JoinHandle<Result<(), VendorError>>,
}

impl Call {
    pub(in crate::integrations) fn begin(ears: impl Ears + 'static) -> Self {
        let ears = Arc::new(ears);
        let (tell, mut told) = mpsc::channel(4_096);
        let (give, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut pass = |words: Heard| give.send(words).expect("the test listens");
            ears.listen(&mut told, &mut pass).await
        });
        Self { tell, heard, task }
    }

    pub(in crate::integrations) async fn did(&self, did: Caller) {
        // Ears that failed take nothing more, which the test learns from what they return.
        let _ = self.tell.send(did).await;
    }

    pub(in crate::integrations) async fn starts(&self, utterance: u32) {
        self.did(Caller::Starts(UtteranceId(utterance))).await;
    }

    /// In frames of 20 ms, as a phone does, but at once.
    pub(in crate::integrations) async fn speaks(&self, stretches: &[(bool, usize)]) {
        for frame in ulaw(stretches).chunks(160) {
            self.did(Caller::Audio(frame.to_vec())).await;
        }
    }

    pub(in crate::integrations) async fn ends(&self, utterance: u32) {
        self.did(Caller::Ends { utterance: UtteranceId(utterance), speech_ms: 1_000 }).await;
    }

    /// A whole utterance.
    pub(in crate::integrations) async fn says(&self, utterance: u32, stretches: &[(bool, usize)]) {
        self.starts(utterance).await;
        self.speaks(stretches).await;
        self.ends(utterance).await;
    }

    pub(in crate::integrations) async fn next(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.recv()).await.expect("words in time").expect("ears that listen")
    }

    /// What was heard of an utterance, all others before it left out: text by text, the final one last.
    pub(in crate::integrations) async fn words_of(&mut self, utterance: u32) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let Heard { utterance: id, text, is_final } = self.next().await;
            if id == UtteranceId(utterance) {
                texts.push(text);
                if is_final {
                    return texts;
                }
            }
        }
    }

    /// The final words of an utterance.
    pub(in crate::integrations) async fn last_words_of(&mut self, utterance: u32) -> String {
        self.words_of(utterance).await.pop().expect("the final ones at least")
    }

    /// Nothing was heard that was not asked for yet.
    pub(in crate::integrations) fn assert_silent(&mut self) {
        assert_eq!(self.heard.try_recv().ok(), None);
    }

    /// How listening ended by itself.
    pub(in crate::integrations) async fn failed(self) -> VendorError {
        let ended = timeout(PATIENCE, self.task).await.expect("an end in time").expect("no panic");
        ended.expect_err("the call is not over")
    }

    /// The call is over.
    pub(in crate::integrations) async fn hang_up(self) -> Result<(), VendorError> {
        drop(self.tell);
        timeout(PATIENCE, self.task).await.expect("an end in time").expect("no panic")
    }

    /// Nobody wants to listen any more, from one moment to the next.
    pub(in crate::integrations) async fn abandon(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
