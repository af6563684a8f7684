//! The ears and voices that the settings name, in their order.

use std::sync::Arc;
use std::time::Duration;

use offhook_engine::speech::TextToSpeech;
use offhook_engine::speech::stt::pocketsphinx::Pocketsphinx;

use super::hearing;
use super::local::{LocalEars, LocalVoice};
use crate::integrations::cartesia::{self, Cartesia};
use crate::integrations::deepgram::{self, Deepgram, Flux, FluxOptions};
use crate::integrations::elevenlabs::{self, ElevenLabs, Transport};
use crate::integrations::google::{self, Credentials, Google, GoogleEars, GoogleEarsOptions, ServiceAccount};
use crate::integrations::openai::speech::{self, Speech};
use crate::integrations::openai::transcription::{self, Transcription};
use crate::integrations::vendor::{Ears, Voice};
use crate::settings::{EarsChoice, GoogleSpeech, Secret, Settings, VendorSettings, VoiceChoice};

/// The model that speaks by OpenAI's protocol, where none is named.
const OPENAI_SPEECH: &str = "gpt-4o-mini-tts";
/// The model that transcribes by OpenAI's protocol, where none is named.
const OPENAI_TRANSCRIPTION: &str = "gpt-4o-mini-transcribe";
/// How long it may take: less than a call waits for final words.
const TRANSCRIBED_WITHIN: Duration = Duration::from_millis(2_200);
/// The language that Google speaks and understands where none is named.
const GOOGLE_LANGUAGE: &str = "en-US";
/// The model of ElevenLabs that speaks where none is named: the one that begins soonest.
const ELEVENLABS_MODEL: &str = "eleven_flash_v2_5";
/// The model of Cartesia that speaks where none is named.
const CARTESIA_MODEL: &str = "sonic-3";
/// The voice that speaks by OpenAI's protocol, where none is named.
const OPENAI_VOICE: &str = "alloy";

/// Who listens, in order; none if the settings name nobody. A recogniser of this machine that is not installed is done without.
/// An error says what to do.
pub fn ears(settings: &Settings) -> Result<Vec<Arc<dyn Ears>>, String> {
    let vendors = &settings.vendors;
    let mut ears: Vec<Arc<dyn Ears>> = Vec::new();
    for choice in &vendors.ears {
        ears.push(match choice {
            EarsChoice::Deepgram => Arc::new(nova(&vendors.deepgram)?),
            EarsChoice::Flux => Arc::new(flux(&vendors.deepgram)?),
            EarsChoice::Google => Arc::new(google_ears(&vendors.google, &vendors.google_speech)?),
            EarsChoice::OpenAi => Arc::new(transcription(&vendors.openai)?),
            EarsChoice::Local => match Pocketsphinx::load() {
                Ok(recogniser) => local_ears(recogniser, settings),
                Err(error) => {
                    tracing::warn!(%error, "no recogniser on this machine: the others stand alone");
                    continue;
                }
            },
        });
    }
    Ok(ears)
}

/// The recogniser of this machine.
pub(super) fn local_ears(recogniser: Arc<Pocketsphinx>, settings: &Settings) -> Arc<dyn Ears> {
    let (of_calls, suppress_noise) = (recogniser.clone(), settings.noise_suppression);
    let of_a_call = Box::new(move || hearing(Box::new(of_calls.recogniser()), suppress_noise));
    Arc::new(LocalEars { of_a_call, recogniser })
}

/// Who speaks, in order; none if the settings name nobody. `local` is the last in any case.
pub fn voices(settings: &Settings, local: Arc<dyn TextToSpeech>) -> Result<Vec<Arc<dyn Voice>>, String> {
    let vendors = &settings.vendors;
    let mut voices: Vec<Arc<dyn Voice>> = Vec::new();
    // Nobody is asked after the one that is always there.
    for choice in vendors.voices.iter().take_while(|choice| **choice != VoiceChoice::Local) {
        voices.push(match choice {
            VoiceChoice::OpenAi => Arc::new(openai_speech(&vendors.openai)?),
            VoiceChoice::ElevenLabs => Arc::new(elevenlabs(&vendors.elevenlabs)?),
            VoiceChoice::Cartesia => Arc::new(cartesia(&vendors.cartesia)?),
            VoiceChoice::Google => Arc::new(google(&vendors.google)?),
            VoiceChoice::Local => break,
        });
    }
    if !voices.is_empty() {
        voices.push(Arc::new(LocalVoice::plain(local)));
    }
    Ok(voices)
}

/// The key, or what stands for one with a server that wants none.
fn key(vendor: &VendorSettings) -> Secret {
    vendor.key.clone().unwrap_or_else(|| Secret::new("none"))
}

fn option(vendor: &VendorSettings, name: &str, default: &str) -> String {
    vendor.option(name).unwrap_or(default).to_owned()
}

fn nova(vendor: &VendorSettings) -> Result<Deepgram, String> {
    let default = deepgram::Options::new(vendor.base.clone(), key(vendor));
    Deepgram::new(deepgram::Options {
        model: option(vendor, "model", &default.model),
        language: option(vendor, "language", &default.language),
        ..default
    })
}

fn flux(vendor: &VendorSettings) -> Result<Flux, String> {
    let default = FluxOptions::new(vendor.base.clone(), key(vendor));
    let language = vendor.option("language").map(str::to_owned);
    let model = option(vendor, "flux_model", &default.model);
    // Only the model of many languages takes hints.
    let language_hints = language.filter(|_| model.ends_with("multi")).into_iter().collect();
    Flux::new(FluxOptions { model, language_hints, ..default })
}

fn elevenlabs(vendor: &VendorSettings) -> Result<ElevenLabs, String> {
    let transport = match vendor.option("transport") {
        None | Some("socket") => Transport::Socket,
        Some("http") => Transport::Http,
        Some(other) => {
            return Err(format!("OFFHOOK_ELEVENLABS_TRANSPORT is {other:?}: write socket, or http"));
        }
    };
    ElevenLabs::new(elevenlabs::Options {
        base: vendor.base.clone(),
        key: key(vendor),
        voice: option(vendor, "voice", ""),
        model: option(vendor, "model", ELEVENLABS_MODEL),
        language: vendor.option("language").map(str::to_owned),
        speed: None,
        transport,
    })
}

fn cartesia(vendor: &VendorSettings) -> Result<Cartesia, String> {
    Cartesia::new(cartesia::Options {
        base: vendor.base.clone(),
        key: key(vendor),
        version: option(vendor, "version", cartesia::VERSION),
        voice: option(vendor, "voice", ""),
        model: option(vendor, "model", CARTESIA_MODEL),
        language: vendor.option("language").map(str::to_owned),
        speed: None,
    })
}

fn transcription(vendor: &VendorSettings) -> Result<Transcription, String> {
    Transcription::new(transcription::Options {
        base: vendor.base.clone(),
        key: vendor.key.clone(),
        model: option(vendor, "transcription_model", OPENAI_TRANSCRIPTION),
        language: vendor.option("language").map(str::to_owned),
        prompt: None,
        answer_within: TRANSCRIBED_WITHIN,
    })
}

/// A key is what an operator pasted: that of an API, or the JSON file of a service account.
fn google_credentials(vendor: &VendorSettings) -> Result<Credentials, String> {
    let key = key(vendor);
    Ok(match key.reveal().trim_start().starts_with('{') {
        true => Credentials::Account(ServiceAccount::from_json(key.reveal())?),
        false => Credentials::Key(key),
    })
}

fn google(vendor: &VendorSettings) -> Result<Google, String> {
    Google::new(google::Options {
        base: vendor.base.clone(),
        credentials: google_credentials(vendor)?,
        language: option(vendor, "language", GOOGLE_LANGUAGE),
        voice: vendor.option("voice").map(str::to_owned),
        speed: None,
    })
}

fn google_ears(vendor: &VendorSettings, speech: &GoogleSpeech) -> Result<GoogleEars, String> {
    let default = GoogleEarsOptions::new(speech.base.clone(), google_credentials(vendor)?);
    GoogleEars::new(GoogleEarsOptions {
        language: option(vendor, "language", GOOGLE_LANGUAGE),
        model: option(vendor, "model", &default.model),
        rotate_after: speech.rotate_after,
        rotate_by: speech.rotate_after.mul_f64(1.2),
        ..default
    })
}

fn openai_speech(vendor: &VendorSettings) -> Result<Speech, String> {
    Speech::new(speech::Options {
        base: vendor.base.clone(),
        key: vendor.key.clone(),
        model: option(vendor, "speech_model", OPENAI_SPEECH),
        voice: option(vendor, "voice", OPENAI_VOICE),
        instructions: None,
        speed: None,
    })
}
