//! Voices that speak for personas: made of a recording, and heard outside of calls.

use std::sync::Arc;
use std::time::Duration;

use offhook_codecs::resample::Resampler;
use offhook_codecs::wav::Reader;
use offhook_codecs::{SampleRate, g711};
use offhook_engine::call::{Failure, UtteranceId};
use offhook_engine::speech::apart::{Report, Reports};
use offhook_engine::speech::{TextToSpeech, Voice};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::clones::{self, ELEVENLABS, LOCAL};
use super::voices::Voices;
use crate::domain::personas::PersonaVoice;
use crate::integrations::elevenlabs::VoiceMaker;
use crate::integrations::http::HttpClient;
use crate::integrations::vendor::VendorError;
use crate::settings::{Secret, Settings};

/// How long a text of a few sentences may take until all of it is spoken.
const SAID_WITHIN: Duration = Duration::from_secs(60);

/// Makes and asks voices.
pub struct PersonaVoices {
    settings: Settings,
    http: HttpClient,
    local: Arc<dyn TextToSpeech>,
    runtime: Handle,
}

impl PersonaVoices {
    /// `local`: the voice of this machine, which stands in where none can be made.
    pub(super) fn new(
        settings: &Settings,
        http: &HttpClient,
        local: Arc<dyn TextToSpeech>,
        runtime: Handle,
    ) -> Self {
        Self { settings: settings.clone(), http: http.clone(), local, runtime }
    }

    /// Makes a voice of speech: a WAV file of one channel at 16 kHz. `key`: of the owner's account at ElevenLabs; without it
    /// the server's, and without that a stand-in. Returns the voice's id and its maker.
    pub async fn make(
        &self,
        name: &str,
        wav: Vec<u8>,
        key: Option<&Secret>,
    ) -> Result<(String, &'static str), VendorError> {
        if let Some(account) = self.account(key)? {
            return Ok((account.make_of_file(name, &wav).await?, ELEVENLABS));
        }
        let measured = spawn_blocking(move || clones::stand_in_of(&telephone(&wav)?)).await;
        let measured = measured.map_err(|error| VendorError::new(Failure::Panicked, error.to_string()))?;
        let none = || VendorError::new(Failure::Refused, "no pitch was found in the speech");
        Ok((measured.ok_or_else(none)?, LOCAL))
    }

    /// A voice for a call. Who speaks there in its place, should it fail, the settings name.
    pub fn for_a_call(&self, voice: &PersonaVoice, key: Option<&Secret>) -> Result<Voice, String> {
        let mut settings = self.settings.clone();
        if let Some(key) = key {
            settings.vendors.elevenlabs.key = Some(key.clone());
        }
        let is_stand_in = voice.maker == LOCAL;
        let voices = clones::voices_of(&settings, &self.local, is_stand_in, &voice.id)?;
        let voices = Voices::new(voices, settings.vendors.voice_waits, self.runtime.clone());
        Ok(Arc::new(voices).for_a_call())
    }

    /// What a voice makes of a text: 8 kHz µ-law.
    pub async fn speak(
        &self,
        voice: &PersonaVoice,
        key: Option<&Secret>,
        text: &str,
    ) -> Result<Vec<u8>, VendorError> {
        let unsaid = |detail: String| VendorError::new(Failure::Unsaid, detail);
        let voice = self.for_a_call(voice, key).map_err(|error| VendorError::new(Failure::Refused, error))?;
        let Voice::Apart(make) = voice else {
            return Err(unsaid("the voice is on no call".into()));
        };
        let (to_here, reports) = Reports::unattended();
        let mut speaker = make(to_here);
        speaker.speak(UtteranceId(0), text.to_owned());
        let heard = spawn_blocking(move || {
            let mut ulaw = Vec::new();
            let give_up = std::time::Instant::now() + SAID_WITHIN;
            loop {
                match reports.recv_deadline(give_up) {
                    Ok(Report::Audio { audio, .. }) => ulaw.extend_from_slice(&audio),
                    Ok(Report::AudioEnd { failed: false, .. }) => return Ok(ulaw),
                    Ok(Report::AudioEnd { failed: true, .. }) => {
                        return Err(unsaid("nobody could speak".into()));
                    }
                    // Whoever takes over does not speak with this voice.
                    Ok(Report::Switched { from, why, .. }) => {
                        let detail = format!("{from} does not speak: {}", why.as_str());
                        return Err(VendorError::new(why, detail));
                    }
                    Ok(_) => {}
                    Err(_) => {
                        let detail = format!("no end of the speech within {} s", SAID_WITHIN.as_secs());
                        return Err(VendorError::new(Failure::Slow, detail));
                    }
                }
            }
        });
        let heard = heard.await.map_err(|error| VendorError::new(Failure::Panicked, error.to_string()))?;
        drop(speaker);
        heard
    }

    /// Has the maker forget a voice. One that stays there is told in the log.
    pub async fn take_away(&self, voice: &PersonaVoice, key: Option<&Secret>) {
        if voice.maker != ELEVENLABS {
            return;
        }
        let removed = match self.account(key) {
            Ok(Some(account)) => account.remove(&voice.id).await,
            Ok(None) => Err(VendorError::new(Failure::Unauthorised, "there is no key any more")),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::error!(%error, voice = voice.id, "a voice stays at ElevenLabs: take it away there by hand");
        }
    }

    fn account(&self, key: Option<&Secret>) -> Result<Option<VoiceMaker>, VendorError> {
        let vendor = &self.settings.vendors.elevenlabs;
        let Some(key) = key.or(vendor.key.as_ref()) else { return Ok(None) };
        let account = VoiceMaker::new(self.http.clone(), vendor.base.clone(), key.clone());
        account.map(Some).map_err(|error| VendorError::new(Failure::Unauthorised, error))
    }
}

/// A WAV file at 16 kHz as 8 kHz µ-law.
fn telephone(wav: &[u8]) -> Option<Vec<u8>> {
    let samples = Reader::new(std::io::Cursor::new(wav)).ok()?.read_mono().ok()?;
    let mut resampler = Resampler::new(SampleRate::HZ_16000, SampleRate::HZ_8000).ok()?;
    let mut narrow = Vec::new();
    resampler.process(&samples, &mut narrow);
    resampler.finish(&mut narrow);
    Some(narrow.iter().map(|&sample| g711::linear_to_ulaw(sample)).collect())
}
