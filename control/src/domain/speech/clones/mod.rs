//! Agents that speak with the voice of whoever they speak to.
//!
//! ```text
//!  webhook ─► is the caller's voice cached? ─ yes ─► it speaks from the first word on
//!                         │ no
//!  the greeting is spoken in the server's voice; what the caller says is collected ([`overheard`], [`sample`])
//!                         │ enough
//!  a voice is made of it, beside the call ─► cached ─► it speaks from the next sentence on
//! ```
//!
//! Who makes it is ElevenLabs, if callers have agreed to that and there is a key; else the voice of this machine stands in, at
//! the caller's pitch and pace ([`stand_in`]).

mod overheard;
mod sample;
mod stand_in;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use offhook_engine::CallId;
use offhook_engine::call::Failure;
use offhook_engine::speech::{Ears, TextToSpeech, Voice};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::lines::put_first;
use super::local::LocalVoice;
use super::voices::Voices;
use super::{runtime, vendors};
use crate::domain::failover::Breaker;
use crate::domain::time::UnixMs;
use crate::domain::voiceclone::ClonedVoice;
use crate::integrations::elevenlabs::VoiceMaker;
use crate::integrations::http::HttpClient;
use crate::integrations::vendor::{VendorError, Voice as OneVoice};
use crate::settings::{CloneConsent, Settings, VoiceChoice};
use crate::store::{Store, StoreError};
use overheard::Collector;
use stand_in::StandIn;

/// The maker of stand-ins, as it stands in records.
pub const LOCAL: &str = "local";
/// The maker of voices, as it stands in records.
pub(super) const ELEVENLABS: &str = "elevenlabs";
/// How a stand-in is called on a call's timeline.
const STAND_IN: &str = "stand-in";
/// How often a voice that is not used any more is tried to be taken away, and after how long the next time.
const REMOVALS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(60)];
/// Expired voices that are taken away at a time.
const EXPIRED_MAX: usize = 100;

/// Who makes voices.
enum Maker {
    ElevenLabs(Box<VoiceMaker>),
    StandIn,
}

/// All callers' voices.
pub struct Clones {
    store: Arc<Store>,
    settings: Settings,
    maker: Maker,
    /// For voices of ElevenLabs', whoever makes new ones now.
    remover: Option<VoiceMaker>,
    /// What speaks before there is a voice.
    default: Arc<Voices>,
    local: Arc<dyn TextToSpeech>,
    breaker: Breaker,
    /// Callers whose voice is being made.
    making: Mutex<HashSet<String>>,
    calls: Mutex<HashMap<CallId, Weak<OfCall>>>,
    runtime: Handle,
}

/// The caller's voice on one call.
pub struct OfCall {
    call: CallId,
    clones: Weak<Clones>,
    /// Speaks from the next text on, once it is there.
    voice: watch::Sender<Option<Arc<Voices>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// With whose voice the agent of this call is to speak.
    caller: Option<String>,
    /// Whether the voice need not be made.
    made: bool,
    /// Enough of the caller's speech, while nobody wants it.
    speech: Option<Vec<u8>>,
}

impl Clones {
    /// None if nobody's voice is to be copied. `default`: what speaks before there is a voice. `local`: the voice of this machine.
    pub(super) fn new(
        settings: &Settings,
        store: Arc<Store>,
        http: &HttpClient,
        default: Arc<Voices>,
        local: Arc<dyn TextToSpeech>,
    ) -> Result<Option<Arc<Self>>, String> {
        let vendor = &settings.vendors.elevenlabs;
        let account = || {
            let key = vendor.key.clone()?;
            Some(VoiceMaker::new(http.clone(), vendor.base.clone(), key))
        };
        let account = account().transpose()?;
        let maker = match (settings.voiceclone.consent, &account) {
            (CloneConsent::None, _) => return Ok(None),
            (CloneConsent::Given, Some(account)) => Maker::ElevenLabs(Box::new(account.clone())),
            // Nobody wants to hear a stand-in instead of a vendor's voice.
            _ if default.is_local() => Maker::StandIn,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Self {
            store,
            settings: settings.clone(),
            maker,
            remover: account,
            default,
            local,
            breaker: Breaker::default(),
            making: Mutex::default(),
            calls: Mutex::default(),
            runtime: runtime()?,
        })))
    }

    /// The voice that is cached for a caller and may be used: another maker's may not, as callers have not agreed to it, or there
    /// is no key.
    pub async fn voice_of(&self, caller: &str, now: UnixMs) -> Result<Option<ClonedVoice>, StoreError> {
        let cached = self.store.voice_of(caller, now).await?;
        Ok(cached.filter(|voice| voice.maker == self.maker()))
    }

    /// The maker of the voices that are used.
    pub fn maker(&self) -> &'static str {
        match self.maker {
            Maker::ElevenLabs(_) => ELEVENLABS,
            Maker::StandIn => LOCAL,
        }
    }

    /// A call is answered, whose agent may come to speak with the voice of its caller: see [`Clones::want`].
    pub fn answers(self: &Arc<Self>, call: &CallId) -> Arc<OfCall> {
        let of_call = Arc::new(OfCall {
            call: call.clone(),
            clones: Arc::downgrade(self),
            voice: watch::Sender::new(None),
            state: Mutex::default(),
        });
        let mut calls = lock(&self.calls);
        calls.retain(|_, call| call.strong_count() > 0);
        calls.insert(call.clone(), Arc::downgrade(&of_call));
        of_call
    }

    /// The agent of a call that was answered is to speak with the voice of `caller`. `cached`: that voice, if there is one.
    pub fn want(&self, call: &CallId, caller: &str, cached: Option<&ClonedVoice>) {
        let of_call = lock(&self.calls).get(call).and_then(Weak::upgrade);
        if let Some(of_call) = of_call {
            of_call.want(self, caller, cached);
        }
    }

    /// A caller's voice is not to be used any more. False if there was none that could be.
    pub async fn forget(&self, caller: &str, now: UnixMs) -> Result<bool, StoreError> {
        let dropped = self.store.drop_voice(caller, now).await?;
        let could_be_used = dropped.as_ref().is_some_and(|voice| voice.expires > now);
        if let Some(voice) = dropped {
            self.take_away(voice);
        }
        Ok(could_be_used)
    }

    /// Takes voices away that have expired.
    pub async fn expire(&self, now: UnixMs) {
        match self.store.drop_expired_voices(now, EXPIRED_MAX).await {
            Ok(expired) => expired.into_iter().for_each(|voice| self.take_away(voice)),
            Err(error) => tracing::error!(%error, "expired voices cannot be looked for"),
        }
    }

    /// Has the maker forget a voice.
    fn take_away(&self, voice: ClonedVoice) {
        if voice.maker != ELEVENLABS {
            return;
        }
        let Some(account) = self.remover.clone() else {
            tracing::warn!(
                voice = voice.voice_id,
                "a voice stays at ElevenLabs: there is no key to take it away"
            );
            return;
        };
        self.runtime.spawn(async move {
            for wait in REMOVALS {
                tokio::time::sleep(wait).await;
                match account.remove(&voice.voice_id).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(%error, voice = voice.voice_id, "a voice is still at ElevenLabs");
                    }
                }
            }
            tracing::error!(
                voice = voice.voice_id,
                "a voice stays at ElevenLabs: take it away there by hand"
            );
        });
    }

    /// What speaks with this voice first.
    fn voices(&self, voice: &ClonedVoice) -> Result<Arc<Voices>, String> {
        let is_stand_in = matches!(self.maker, Maker::StandIn);
        let voices = voices_of(&self.settings, &self.local, is_stand_in, &voice.voice_id)?;
        Ok(Arc::new(Voices::new(voices, self.settings.vendors.voice_waits, self.runtime.clone())))
    }

    /// Makes a voice of a caller's speech, and caches it.
    async fn make(&self, call: &CallId, caller: &str, speech: Vec<u8>) -> Result<ClonedVoice, VendorError> {
        let begun = Instant::now();
        let voice_id = match &self.maker {
            Maker::ElevenLabs(account) => {
                self.breaker.admits(begun).map_err(|why| VendorError::new(why, "it failed before"))?;
                // The account's list is no place for telephone numbers.
                let made = account.make(&format!("Caller of {call}"), &speech).await;
                match &made {
                    Ok(_) => self.breaker.worked(),
                    Err(error) => {
                        self.breaker.failed(error.why, Instant::now());
                    }
                }
                made?
            }
            Maker::StandIn => {
                let measured = spawn_blocking(move || stand_in_of(&speech)).await;
                let measured =
                    measured.map_err(|error| VendorError::new(Failure::Panicked, error.to_string()))?;
                let none = || VendorError::new(Failure::Refused, "no pitch was found in the speech");
                measured.ok_or_else(none)?
            }
        };
        let created = UnixMs::now();
        let life = self.settings.voiceclone.cache.as_millis() as i64;
        let voice = ClonedVoice {
            caller: caller.to_owned(),
            voice_id,
            maker: self.maker().to_owned(),
            call: Some(call.to_string()),
            created,
            creation_ms: begun.elapsed().as_millis() as u64,
            expires: UnixMs(created.0 + life),
        };
        match self.store.voice_cloned(voice.clone()).await {
            Ok(replaced) => replaced.into_iter().for_each(|old| self.take_away(old)),
            Err(error) => {
                self.take_away(voice);
                return Err(VendorError::new(Failure::Faulty, format!("it cannot be kept: {error}")));
            }
        }
        Ok(voice)
    }
}

/// What speaks with a voice of this id first, and behind it whom the settings name.
pub(super) fn voices_of(
    settings: &Settings,
    local: &Arc<dyn TextToSpeech>,
    is_stand_in: bool,
    voice_id: &str,
) -> Result<Vec<Arc<dyn OneVoice>>, String> {
    if is_stand_in {
        let stand_in = StandIn::named(voice_id).ok_or("a stand-in of an unknown kind")?;
        let voice = stand_in.voice().map_err(|error| error.to_string())?;
        return Ok(vec![Arc::new(LocalVoice { voice, name: STAND_IN })]);
    }
    let mut settings = settings.clone();
    settings.vendors.elevenlabs = settings.vendors.elevenlabs.with_option("voice", voice_id);
    put_first(&mut settings.vendors.voices, VoiceChoice::ElevenLabs);
    vendors::voices(&settings, local.clone())
}

/// The name of the stand-in for whoever speaks so, 8 kHz µ-law. None if no pitch can be found in it.
pub(super) fn stand_in_of(ulaw: &[u8]) -> Option<String> {
    StandIn::of(ulaw).map(StandIn::id)
}

impl OfCall {
    /// The ears of the call, overheard, and its voice, which becomes the caller's.
    /// It lasts as long as this is kept.
    pub fn on(self: &Arc<Self>, ears: Ears, voice: Voice) -> (Ears, Voice) {
        let Some(clones) = self.clones.upgrade() else { return (ears, voice) };
        let others = self.voice.subscribe();
        let least = clones.settings.voiceclone.speech;
        let this = self.clone();
        let ears = Collector::new(least, Box::new(move |speech| this.heard(speech))).behind(ears);
        (ears, clones.default.for_a_call_until(others))
    }

    fn want(self: &Arc<Self>, clones: &Clones, caller: &str, cached: Option<&ClonedVoice>) {
        if let Some(cached) = cached {
            self.speak_with(clones, cached);
        }
        let mut state = lock(&self.state);
        state.caller.get_or_insert_with(|| caller.to_owned());
        state.made |= cached.is_some();
        let speech = state.speech.take();
        drop(state);
        if let Some(speech) = speech {
            self.heard(speech);
        }
    }

    /// There is enough of the caller's speech. Waits for nothing.
    fn heard(self: &Arc<Self>, speech: Vec<u8>) {
        let Some(clones) = self.clones.upgrade() else { return };
        let mut state = lock(&self.state);
        let Some(caller) = state.caller.clone() else {
            state.speech = Some(speech);
            return;
        };
        if std::mem::replace(&mut state.made, true) {
            return;
        }
        drop(state);
        let this = self.clone();
        clones.runtime.clone().spawn(async move { this.make(&clones, &caller, speech).await });
    }

    async fn make(&self, clones: &Clones, caller: &str, speech: Vec<u8>) {
        let call = &self.call;
        // Somebody who calls twice at once is copied once.
        if !lock(&clones.making).insert(caller.to_owned()) {
            return;
        }
        let made = clones.make(call, caller, speech).await;
        lock(&clones.making).remove(caller);
        match made {
            Ok(voice) => {
                let ClonedVoice { maker, creation_ms, .. } = &voice;
                let what =
                    if maker == LOCAL { "a stand-in for a caller's voice" } else { "a caller's voice" };
                tracing::info!(call_id = %call, maker, creation_ms, "{what} was made");
                self.speak_with(clones, &voice);
            }
            Err(error) => {
                tracing::warn!(call_id = %call, %error, "no voice could be made of a caller's speech: the agent's stays as it is");
            }
        }
    }

    fn speak_with(&self, clones: &Clones, voice: &ClonedVoice) {
        match clones.voices(voice) {
            Ok(voices) => {
                let _ = self.voice.send_replace(Some(voices));
            }
            Err(error) => tracing::warn!(call_id = %self.call, error, "a caller's voice cannot be used"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
