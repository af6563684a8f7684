//! Who writes down recordings: the ears that calls have, asked outside of any call.

use std::sync::Arc;

use offhook_engine::call::Failure;

use super::{Answering, Listeners, vendors};
use crate::integrations::vendor::{Ears, Recording, VendorError};
use crate::settings::Settings;

/// Ears, in the order in which they are asked.
pub struct Transcribers(Vec<Arc<dyn Ears>>);

impl Transcribers {
    /// Those that the settings name, also for a model that needs none on calls; without any, the recogniser of this machine, where
    /// calls have it. An error says what to do.
    pub fn of_calls(answering: &Answering, settings: &Settings) -> Result<Self, String> {
        match &answering.ears {
            Listeners::Local { recogniser, .. } => {
                Ok(Self(vec![vendors::local_ears(recogniser.clone(), settings)]))
            }
            Listeners::None | Listeners::InTurn(_) => Ok(Self(vendors::ears(settings)?)),
            Listeners::Canned => Ok(Self(Vec::new())),
        }
    }

    /// These.
    #[cfg(test)]
    pub fn of(ears: Vec<Arc<dyn Ears>>) -> Self {
        Self(ears)
    }

    /// True if there is nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said in a recording; empty if nobody says anything. The error is that of whoever may do better another time, if
    /// there is one, and names them.
    pub async fn words_of(&self, recording: Recording<'_>) -> Result<String, VendorError> {
        let mut failed = VendorError::new(Failure::Refused, "there is no recogniser");
        for ears in &self.0 {
            match ears.transcribe(recording).await {
                Ok(words) => return Ok(words),
                Err(error) => {
                    let error = VendorError::new(error.why, format!("{}: {}", ears.name(), error.detail));
                    tracing::warn!(%error, "a recording is not written down");
                    if is_final(failed.why) {
                        failed = error;
                    }
                }
            }
        }
        Err(failed)
    }
}

/// Whether it will be so another time too.
pub fn is_final(why: Failure) -> bool {
    matches!(why, Failure::Unauthorised | Failure::Unpaid | Failure::Refused)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use tokio::sync::mpsc;

    use super::*;
    use crate::integrations::vendor::{Caller, Heard};

    struct Says(Result<&'static str, Failure>);

    impl Ears for Says {
        fn name(&self) -> &'static str {
            "says"
        }

        fn check(&self) -> BoxFuture<'_, Result<(), VendorError>> {
            async { Ok(()) }.boxed()
        }

        fn listen<'a>(
            &'a self,
            _: &'a mut mpsc::Receiver<Caller>,
            _: &'a mut (dyn FnMut(Heard) + Send),
        ) -> BoxFuture<'a, Result<(), VendorError>> {
            async { Ok(()) }.boxed()
        }

        fn transcribe<'a>(&'a self, _: Recording<'a>) -> BoxFuture<'a, Result<String, VendorError>> {
            let said = self.0.map(str::to_owned).map_err(|why| VendorError::new(why, "no"));
            async move { said }.boxed()
        }
    }

    #[tokio::test]
    async fn who_fails_is_followed_by_the_next_and_who_may_do_better_is_named() {
        let recording = Recording { samples: &[0; 160], language: "en" };
        let ask = async |said: &[Result<&'static str, Failure>]| {
            let ears = said.iter().map(|said| Arc::new(Says(*said)) as Arc<dyn Ears>).collect();
            Transcribers::of(ears).words_of(recording).await
        };
        assert_eq!(ask(&[Err(Failure::Busy), Ok("hello")]).await.unwrap(), "hello");
        for order in [[Failure::Unauthorised, Failure::Busy], [Failure::Busy, Failure::Refused]] {
            let error = ask(&order.map(Err)).await.unwrap_err();
            assert_eq!((error.why, error.detail.as_str()), (Failure::Busy, "says: no"));
        }
        assert!(is_final(ask(&[]).await.unwrap_err().why));
    }
}
