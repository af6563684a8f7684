//! Who understands the caller on a call, and who goes on when one fails.
//!
//! Each call has a task that passes the caller's speech on and keeps the utterances that have no final words yet. Ears that fail,
//! or owe the final words too long, are left for the next ones in the order of the settings, for the rest of the call; the
//! next hear those utterances from their beginnings.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use offhook_engine::agent::Expectation;
use offhook_engine::call::{Failure, Part, UtteranceId};
use offhook_engine::speech::Ears as OfTheCall;
use offhook_engine::speech::apart::{EarsApart, Report, Reports};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::domain::failover::{Places, ServiceTally};
use crate::integrations::vendor::{Caller, Ears, Heard, VendorError};

/// Bytes of an utterance that are kept for the next ears: a minute, twice what a turn may last. What is beyond is not replayed.
const KEPT_MAX: usize = 60 * 8_000;
/// How much of a kept utterance is told at once: 100 ms.
const PIECE: usize = 800;
/// What ears may not have taken yet: room for all that is kept, and for a second of speech beside it.
const UNTAKEN_MAX: usize = OPEN_MAX * (KEPT_MAX / PIECE + 2) + 64;
/// So many utterances may wait for their final words.
const OPEN_MAX: usize = 4;
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The ears of all calls, in the order in which they are asked.
pub struct Recognisers {
    places: Places<dyn Ears>,
    /// How long final words may take, whoever owes them.
    words_wait: Option<Duration>,
    runtime: Handle,
}

impl Recognisers {
    /// Ears that are asked in this order, on `runtime`. There must be at least one; the last are asked however they did.
    /// `words_wait`: how long final words may take; none: as long as each of them usually needs.
    pub fn new(ears: Vec<Arc<dyn Ears>>, words_wait: Option<Duration>, runtime: Handle) -> Self {
        Self {
            words_wait,
            places: Places::new(Part::Ears, ears.into_iter().map(|ears| (ears.name().into(), ears))),
            runtime,
        }
    }

    /// The ears of one call.
    pub fn for_a_call(self: &Arc<Self>) -> OfTheCall {
        let ears = Arc::clone(self);
        OfTheCall::Apart(Box::new(move |reports| {
            let (tell, inbox) = mpsc::unbounded_channel();
            let runtime = ears.runtime.clone();
            runtime
                .spawn(Listener { ears, reports, at: 0, expected: None, open: VecDeque::new() }.run(inbox));
            Box::new(Tells(tell))
        }))
    }

    /// What each did so far.
    pub fn tallies(&self) -> impl Iterator<Item = ServiceTally> + '_ {
        self.places.tallies()
    }
}

/// The call's end of it.
struct Tells(mpsc::UnboundedSender<Caller>);

impl EarsApart for Tells {
    fn expect(&mut self, expectation: &Expectation) {
        let _ = self.0.send(Caller::Expected(expectation.clone()));
    }

    fn start(&mut self, utterance: UtteranceId) {
        let _ = self.0.send(Caller::Starts(utterance));
    }

    fn audio(&mut self, ulaw: &[u8]) {
        if !ulaw.is_empty() {
            let _ = self.0.send(Caller::Audio(ulaw.to_vec()));
        }
    }

    fn end(&mut self, utterance: UtteranceId, speech_ms: u32) {
        let _ = self.0.send(Caller::Ends { utterance, speech_ms });
    }
}

/// The task's end of it.
struct Listener {
    ears: Arc<Recognisers>,
    reports: Reports,
    /// Who listens on this call. Only goes up.
    at: usize,
    expected: Option<Expectation>,
    /// Utterances without final words, in order: all but the last have ended.
    open: VecDeque<Open>,
}

/// An utterance without final words.
struct Open {
    utterance: UtteranceId,
    audio: Vec<u8>,
    /// Once it has ended: how much of it was speech, in ms.
    speech_ms: Option<u32>,
    /// Until when its final words may come.
    due: Option<Instant>,
}

/// Why ears listen no more.
enum Ended {
    CallOver,
    Failed(VendorError),
    /// While nobody spoke, after they had worked: it is tried again.
    Idle,
}

impl Listener {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Caller>) {
        self.at = self.ears.places.first(|switch| {
            self.reports.report(switch.into());
        });
        loop {
            match self.listen(&mut inbox).await {
                Ended::CallOver => return,
                Ended::Idle => {}
                Ended::Failed(error) => {
                    let (next, switch) = self.ears.places.after(self.at, &error);
                    self.reports.report(switch.into());
                    match next {
                        Some(next) => self.at = next,
                        None => return self.hear_nothing(inbox).await,
                    }
                }
            }
        }
    }

    /// Has the present ears listen until they end, or the call.
    async fn listen(&mut self, inbox: &mut mpsc::UnboundedReceiver<Caller>) -> Ended {
        let ears = Arc::clone(&self.ears.places.at(self.at).service);
        let (tell, mut told) = mpsc::channel(UNTAKEN_MAX);
        let words_wait = self.ears.words_wait.unwrap_or_else(|| ears.words_wait());
        self.replay(&tell, words_wait);
        let (give, mut came) = mpsc::unbounded_channel();
        let mut heard = |words: Heard| {
            let _ = give.send(words);
        };
        let mut has_worked = false;
        let mut listening = pin!(ears.listen(&mut told, &mut heard));
        let error = loop {
            let due = self.open.iter().filter_map(|open| open.due).min();
            tokio::select! {
                biased;
                Some(words) = came.recv() => {
                    has_worked = true;
                    self.pass(words);
                }
                did = inbox.recv() => match did {
                    None => {
                        drop(tell);
                        let _ = timeout(GOODBYE, listening).await;
                        return Ended::CallOver;
                    }
                    Some(did) => {
                        if self.note(&did, words_wait) && tell.try_send(did).is_err() {
                            break VendorError::new(Failure::Slow, "it does not take the caller's audio");
                        }
                    }
                },
                ended = &mut listening => {
                    while let Ok(words) = came.try_recv() {
                        has_worked = true;
                        self.pass(words);
                    }
                    break match ended {
                        Ok(()) => VendorError::new(Failure::BrokenOff, "it ended by itself"),
                        Err(error) => error,
                    };
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let wait_s = words_wait.as_secs_f32();
                    break VendorError::new(Failure::Slow, format!("no final words within {wait_s} s"));
                }
            }
        };
        if self.open.is_empty() && has_worked { Ended::Idle } else { Ended::Failed(error) }
    }

    /// Tells new ears what they missed.
    fn replay(&mut self, tell: &mpsc::Sender<Caller>, wait: Duration) {
        let place = self.ears.places.at(self.at);
        let expected = self.expected.clone().map(Caller::Expected);
        let mut all: Vec<Caller> = expected.into_iter().collect();
        let mut replayed = Duration::ZERO;
        for open in &mut self.open {
            all.push(Caller::Starts(open.utterance));
            all.extend(open.audio.chunks(PIECE).map(|piece| Caller::Audio(piece.to_vec())));
            // Some take speech hardly faster than it is spoken.
            replayed += Duration::from_micros(open.audio.len() as u64 * 100);
            if let Some(speech_ms) = open.speech_ms {
                all.push(Caller::Ends { utterance: open.utterance, speech_ms });
                open.due = Some(Instant::now() + wait + replayed);
            }
            place.ask(open.audio.len());
        }
        for did in all {
            // There is room for all of it.
            let _ = tell.try_send(did);
        }
    }

    /// Keeps what the caller does. False if ears need not hear of it: the utterance has its final words.
    fn note(&mut self, did: &Caller, wait: Duration) -> bool {
        match did {
            Caller::Expected(expectation) => self.expected = Some(expectation.clone()),
            Caller::Starts(utterance) => {
                // One that has not ended is forgotten; one that has may still get its words.
                self.open.retain(|open| open.speech_ms.is_some());
                if self.open.len() == OPEN_MAX {
                    self.open.pop_front();
                }
                let (audio, utterance) = (Vec::new(), *utterance);
                self.open.push_back(Open { utterance, audio, speech_ms: None, due: None });
            }
            Caller::Audio(ulaw) => {
                let Some(open) = self.speaking() else { return false };
                let room = KEPT_MAX.saturating_sub(open.audio.len());
                open.audio.extend_from_slice(&ulaw[..ulaw.len().min(room)]);
                self.ears.places.at(self.at).ask(ulaw.len());
            }
            Caller::Ends { utterance, speech_ms } => {
                let Some(open) = self.speaking().filter(|open| open.utterance == *utterance) else {
                    return false;
                };
                open.speech_ms = Some(*speech_ms);
                open.due = Some(Instant::now() + wait);
            }
        }
        true
    }

    /// The utterance that has not ended, if there is one.
    fn speaking(&mut self) -> Option<&mut Open> {
        self.open.back_mut().filter(|open| open.speech_ms.is_none())
    }

    /// Passes words on.
    fn pass(&mut self, heard: Heard) {
        let Heard { utterance, text, is_final } = heard;
        // What comes late must not become words of the next.
        let Some(at) = self.open.iter().position(|open| open.utterance == utterance) else { return };
        if is_final {
            self.open.remove(at);
            self.ears.places.at(self.at).worked();
        }
        self.reports.report(Report::Words { utterance, text, is_final });
    }

    /// Nobody is left: no utterance has words, which the call hears at once.
    async fn hear_nothing(mut self, mut inbox: mpsc::UnboundedReceiver<Caller>) {
        let nothing = |utterance| Report::Words { utterance, text: String::new(), is_final: true };
        for open in self.open.drain(..).filter(|open| open.speech_ms.is_some()) {
            self.reports.report(nothing(open.utterance));
        }
        while let Some(did) = inbox.recv().await {
            if let Caller::Ends { utterance, .. } = did {
                self.reports.report(nothing(utterance));
            }
        }
    }
}

#[cfg(test)]
mod tests;
