//! Who speaks on a call, and who goes on when one fails.
//!
//! Each call has a task that speaks one text after the other. A voice that fails, stalls, or is slower than the caller
//! listens, is left for the next one in the order of the settings, for the rest of the call; the next begins at the first
//! word that the caller has not got. The last one works on this machine, so that there is always one.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use offhook_engine::call::{Failure, Part, UtteranceId};
use offhook_engine::speech::Voice as OfTheCall;
use offhook_engine::speech::apart::{Report, Reports, VoiceApart};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::LOCAL;
use super::unspoken::Unspoken;
use crate::domain::failover::{Places, ServiceTally};
use crate::integrations::vendor::{CONNECT, Spoken, VendorError, Voice, VoiceLine};
use crate::settings::VoiceWaits;

/// Samples of one text, at most: ten minutes. Who gives more has lost its way.
const SAMPLES_MAX: usize = 10 * 60 * 8_000;

/// The voices of all calls, in the order in which they are asked.
pub struct Voices {
    places: Places<dyn Voice>,
    waits: VoiceWaits,
    runtime: Handle,
}

impl Voices {
    /// Voices that are asked in this order, on `runtime`. There must be at least one; the last is asked however it did.
    pub fn new(voices: Vec<Arc<dyn Voice>>, waits: VoiceWaits, runtime: Handle) -> Self {
        let places = Places::new(Part::Voice, voices.into_iter().map(|voice| (voice.name().into(), voice)));
        Self { places, waits, runtime }
    }

    /// The voice of one call.
    pub fn for_a_call(self: &Arc<Self>) -> OfTheCall {
        self.for_a_call_with(Others::never())
    }

    /// The voice of one call, until there are others: from the next text on, those speak.
    pub(super) fn for_a_call_until(
        self: &Arc<Self>,
        others: watch::Receiver<Option<Arc<Voices>>>,
    ) -> OfTheCall {
        self.for_a_call_with(Others(Some(others)))
    }

    fn for_a_call_with(self: &Arc<Self>, mut others: Others) -> OfTheCall {
        let voices = Arc::clone(self);
        OfTheCall::Apart(Box::new(move |reports| {
            let (orders, inbox) = mpsc::unbounded_channel();
            let runtime = voices.runtime.clone();
            let voices = others.known().unwrap_or(voices);
            runtime.spawn(Speaker { voices, others, reports, at: 0, line: None }.run(inbox));
            Box::new(Orders(orders))
        }))
    }

    /// True if the voice of this machine is the only one.
    pub(super) fn is_local(&self) -> bool {
        self.places.is_only() && self.places.at(0).service.name() == LOCAL
    }

    /// What each did so far.
    pub fn tallies(&self) -> impl Iterator<Item = ServiceTally> + '_ {
        self.places.tallies()
    }
}

/// What a call's voice is told.
enum Order {
    Speak { utterance: UtteranceId, text: String },
    Cancel(UtteranceId),
}

/// The call's end of it.
struct Orders(mpsc::UnboundedSender<Order>);

impl VoiceApart for Orders {
    fn speak(&mut self, utterance: UtteranceId, text: String) {
        let _ = self.0.send(Order::Speak { utterance, text });
    }

    fn cancel(&mut self, utterance: UtteranceId) {
        let _ = self.0.send(Order::Cancel(utterance));
    }
}

/// Other voices that a call may get.
struct Others(Option<watch::Receiver<Option<Arc<Voices>>>>);

impl Others {
    const fn never() -> Self {
        Self(None)
    }

    /// Those that are there, once.
    fn known(&mut self) -> Option<Arc<Voices>> {
        let known = self.0.as_ref()?.borrow().clone()?;
        self.0 = None;
        Some(known)
    }

    /// Waits for them.
    async fn come(&mut self) -> Arc<Voices> {
        loop {
            if let Some(known) = self.known() {
                return known;
            }
            let is_over = match &mut self.0 {
                Some(others) => others.changed().await.is_err(),
                None => true,
            };
            if is_over {
                std::future::pending().await
            }
        }
    }
}

/// The task's end of it.
struct Speaker {
    voices: Arc<Voices>,
    /// Who takes over, once they are there.
    others: Others,
    reports: Reports,
    /// Who speaks on this call. Only goes up: a call does not change its voice twice for nothing.
    at: usize,
    line: Option<Box<dyn VoiceLine>>,
}

/// A text that waits to be spoken.
struct Waiting {
    utterance: UtteranceId,
    text: String,
}

impl Speaker {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        self.begin().await;
        let mut queue: VecDeque<Waiting> = VecDeque::new();
        loop {
            while queue.is_empty() {
                tokio::select! {
                    biased;
                    order = inbox.recv() => match order {
                        Some(order) => take_order(order, &mut queue),
                        None => return,
                    },
                    others = self.others.come() => self.hand_over_to(others).await,
                }
            }
            if let Some(others) = self.others.known() {
                self.hand_over_to(others).await;
            }
            let Some(Waiting { utterance, text }) = queue.pop_front() else { continue };
            let mut speaking = pin!(self.speak(utterance, &text));
            loop {
                tokio::select! {
                    biased;
                    order = inbox.recv() => match order {
                        None => return,
                        // With that, the vendor is told.
                        Some(Order::Cancel(cancelled)) if cancelled == utterance => break,
                        Some(order) => take_order(order, &mut queue),
                    },
                    () = &mut speaking => break,
                }
            }
        }
    }

    /// Finds who speaks first on this call.
    async fn begin(&mut self) {
        self.at = self.voices.places.first(|switch| {
            self.reports.report(switch.into());
        });
        self.warm().await;
    }

    /// Others speak from here on.
    async fn hand_over_to(&mut self, others: Arc<Voices>) {
        self.voices = others;
        self.line = None;
        self.begin().await;
    }

    /// Has a voice be there before the first word, whoever can. What is to be said waits for the connection in any case.
    async fn warm(&mut self) {
        loop {
            let error = match timeout(CONNECT, self.line().warm()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(_) => VendorError::new(Failure::Unreachable, "no connection in time"),
            };
            if !self.change(&error) {
                return;
            }
        }
    }

    /// Another voice goes on; false if there is none.
    fn change(&mut self, error: &VendorError) -> bool {
        self.line = None;
        let (next, switch) = self.voices.places.after(self.at, error);
        self.reports.report(switch.into());
        if let Some(next) = next {
            self.at = next;
        }
        next.is_some()
    }

    fn line(&mut self) -> &mut Box<dyn VoiceLine> {
        let voice = &self.voices.places.at(self.at).service;
        self.line.get_or_insert_with(|| voice.line())
    }

    /// Speaks all of `text`, whoever can.
    async fn speak(&mut self, utterance: UtteranceId, text: &str) {
        let mut unspoken = Unspoken::new(text);
        loop {
            self.voices.places.at(self.at).ask(unspoken.rest().chars().count());
            let Err(error) = self.attempt(utterance, &mut unspoken).await else {
                self.voices.places.at(self.at).worked();
                self.reports.report(Report::AudioEnd { utterance, failed: false });
                return;
            };
            unspoken.break_off();
            if !self.change(&error) {
                self.reports.report(Report::AudioEnd { utterance, failed: true });
                return;
            }
        }
    }

    /// Has the present voice speak what is left, and passes it on.
    async fn attempt(
        &mut self,
        utterance: UtteranceId,
        unspoken: &mut Unspoken<'_>,
    ) -> Result<(), VendorError> {
        let waits = self.voices.waits;
        let reports = self.reports.clone();
        let pass = |Spoken { ulaw, words }: Spoken| {
            if !ulaw.is_empty() || !words.is_empty() {
                reports.report(Report::Audio { utterance, audio: ulaw.into(), words });
            }
        };
        let (give, mut came) = mpsc::unbounded_channel();
        let mut spoken = |piece: Spoken| {
            let _ = give.send(piece);
        };
        let before = unspoken.samples();
        let mut pace = Pace::new(waits);
        let mut speaking = pin!(self.line().speak(unspoken.rest(), &mut spoken));
        loop {
            let ended = tokio::select! {
                biased;
                Some(piece) = came.recv() => {
                    pace.came(piece.ulaw.len());
                    pass(unspoken.take(piece));
                    if unspoken.samples() - before > SAMPLES_MAX {
                        return Err(VendorError::new(Failure::Malformed, "audio without an end"));
                    }
                    continue;
                }
                ended = &mut speaking => ended,
                () = sleep_until(pace.deadline()) => Err(pace.error()),
            };
            while let Ok(piece) = came.try_recv() {
                pass(unspoken.take(piece));
            }
            ended?;
            let says_something = unspoken.rest().contains(char::is_alphanumeric);
            if unspoken.samples() == before && says_something {
                return Err(VendorError::new(Failure::Malformed, "no audio for a text"));
            }
            pass(unspoken.finish());
            return Ok(());
        }
    }
}

fn take_order(order: Order, queue: &mut VecDeque<Waiting>) {
    match order {
        Order::Speak { utterance, text } => queue.push_back(Waiting { utterance, text }),
        Order::Cancel(cancelled) => queue.retain(|waiting| waiting.utterance != cancelled),
    }
}

/// Whether audio comes as fast as it is listened to.
struct Pace {
    waits: VoiceWaits,
    begun: Instant,
    first: Option<Instant>,
    latest: Instant,
    samples: usize,
}

impl Pace {
    fn new(waits: VoiceWaits) -> Self {
        let now = Instant::now();
        Self { waits, begun: now, first: None, latest: now, samples: 0 }
    }

    fn came(&mut self, samples: usize) {
        if samples == 0 {
            return;
        }
        self.latest = Instant::now();
        self.first.get_or_insert(self.latest);
        self.samples += samples;
    }

    /// When no more is waited, if nothing comes until then.
    fn deadline(&self) -> Instant {
        let Some(first) = self.first else { return self.begun + self.waits.first };
        let played = first + Duration::from_micros(self.samples as u64 * 125);
        (played + self.waits.dry).min(self.latest + self.waits.next)
    }

    fn error(&self) -> VendorError {
        let (why, detail) = match self.first {
            None => (Failure::Slow, format!("no audio within {} s", self.waits.first.as_secs_f32())),
            Some(first) if self.latest + self.waits.next <= Instant::now() => {
                let came_s = (self.latest - first).as_secs_f32();
                (
                    Failure::BrokenOff,
                    format!("no further audio within {} s, after {came_s} s", self.waits.next.as_secs_f32()),
                )
            }
            Some(_) => (Failure::Slow, "its audio comes slower than it is played".into()),
        };
        VendorError::new(why, detail)
    }
}

#[cfg(test)]
mod tests;
