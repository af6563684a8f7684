//! Who listens and who speaks on calls, in which order they are asked, and all that their services need.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::agent::BaseUrl;
use super::layers::Layers;
use super::values::{Millis, Secret};
use super::{Settings, SettingsError, Speech, crm};

/// Ears that a call can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarsChoice {
    /// Deepgram's live recognition.
    Deepgram,
    /// Deepgram's turn-based recognition, which also says when a turn is over.
    Flux,
    /// Google Cloud's streaming recognition.
    Google,
    /// Transcription of finished utterances by OpenAI's protocol.
    OpenAi,
    /// The recogniser of this machine.
    Local,
}

impl FromStr for EarsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "deepgram" => Ok(Self::Deepgram),
            "flux" => Ok(Self::Flux),
            "google" => Ok(Self::Google),
            "openai" => Ok(Self::OpenAi),
            "local" => Ok(Self::Local),
            _ => Err("write one or more of deepgram, flux, google, openai, local, in the order in which they are asked, \
                      with commas between them"
                .into()),
        }
    }
}

/// Voices that a call can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoiceChoice {
    /// ElevenLabs.
    ElevenLabs,
    /// Cartesia.
    Cartesia,
    /// Speech by OpenAI's protocol.
    OpenAi,
    /// Google Cloud.
    Google,
    /// The voice of this machine.
    Local,
}

impl FromStr for VoiceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "elevenlabs" => Ok(Self::ElevenLabs),
            "cartesia" => Ok(Self::Cartesia),
            "openai" => Ok(Self::OpenAi),
            "google" => Ok(Self::Google),
            "local" => Ok(Self::Local),
            _ => Err("write one or more of elevenlabs, cartesia, openai, google, local, in the order in which they are \
                      asked, with commas between them"
                .into()),
        }
    }
}

/// Several, in order, each once.
struct InOrder<T>(Vec<T>);

impl<T: FromStr<Err = String> + PartialEq> FromStr for InOrder<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut list: Vec<T> = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let item = item.parse()?;
            if !list.contains(&item) {
                list.push(item);
            }
        }
        Ok(Self(list))
    }
}

/// One vendor's service. Model, voice and language are the vendor's own names, which are not checked here: vendors add to them.
#[derive(Clone, Debug)]
pub struct VendorSettings {
    /// Where it is.
    pub base: BaseUrl,
    /// The key for it. Default none.
    pub key: Option<Secret>,
    /// The rest, by name, as far as it was set: `model`, `voice`, `language`, …
    options: BTreeMap<&'static str, String>,
}

impl VendorSettings {
    /// The same with another value of an option.
    #[must_use]
    pub fn with_option(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.clone();
        other.options.insert(name, value.to_owned());
        other
    }

    /// An option by its name; none if it was not set.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }
}

/// A vendor as settings know it.
struct Vendor {
    name: &'static str,
    base: &'static str,
    key: &'static str,
    options: &'static [&'static str],
}

const DEEPGRAM: Vendor = Vendor {
    name: "deepgram",
    base: "https://api.deepgram.com",
    key: "DEEPGRAM_API_KEY",
    options: &["model", "language", "flux_model"],
};
const ELEVENLABS: Vendor = Vendor {
    name: "elevenlabs",
    base: "https://api.elevenlabs.io",
    key: "ELEVENLABS_API_KEY",
    options: &["model", "voice", "language", "transport"],
};
const CARTESIA: Vendor = Vendor {
    name: "cartesia",
    base: "https://api.cartesia.ai",
    key: "CARTESIA_API_KEY",
    options: &["model", "voice", "language", "version"],
};
const GOOGLE: Vendor = Vendor {
    name: "google",
    base: "https://texttospeech.googleapis.com",
    key: "GOOGLE_API_KEY",
    options: &["voice", "language", "client_id", "client_secret", "model", "speech_base_url", "rotate_ms"],
};
/// Where Google's recogniser is, unless its services are elsewhere.
const GOOGLE_SPEECH: &str = "https://speech.googleapis.com";
/// How long a stream to it may be used, in ms: it would be ended after 305 s, and a pause is awaited for up to a fifth of it.
const GOOGLE_ROTATE_MS: RangeInclusive<u64> = 1_000..=250_000;
/// Address and key are those of the agent's model.
const OPENAI: Vendor = Vendor {
    name: "openai",
    base: super::OPENAI_API,
    key: "OPENAI_API_KEY",
    options: &[
        "speech_model",
        "voice",
        "transcription_model",
        "language",
        "realtime_model",
        "realtime_voice",
        "embedding_model",
        "embedding_dimensions",
    ],
};

/// Google's recogniser, beside what it shares with Google's voices.
#[derive(Clone, Debug)]
pub struct GoogleSpeech {
    /// Where it is: an origin of gRPC. Default: `https://speech.googleapis.com`, or where Google's other services are said to be.
    pub base: BaseUrl,
    /// After how long a stream to it is left for a new one, in the next pause, or a fifth later without one. Default 240 s.
    pub rotate_after: Duration,
}

impl Default for GoogleSpeech {
    fn default() -> Self {
        let base = GOOGLE_SPEECH.parse().expect("the vendor's own address can be read");
        Self { base, rotate_after: Duration::from_secs(240) }
    }
}

/// How long is waited for a voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceWaits {
    /// For the first audio of a text, a connection included. Default 2.5 s.
    pub first: Duration,
    /// From audio to audio. Default 2 s.
    pub next: Duration,
    /// How long the caller may have heard nothing in the middle of a text. Default 500 ms.
    pub dry: Duration,
}

impl Default for VoiceWaits {
    fn default() -> Self {
        let [first, next, dry] = [2_500, 2_000, 500].map(Duration::from_millis);
        Self { first, next, dry }
    }
}

/// Ears and voices of vendors.
#[derive(Clone, Debug)]
pub struct SpeechVendors {
    /// Who listens, in the order in which they are asked. Default none: as `speech` says.
    pub ears: Vec<EarsChoice>,
    /// Who speaks, likewise. After the last one, the voice of this machine. Default none: that alone.
    pub voices: Vec<VoiceChoice>,
    /// Deepgram.
    pub deepgram: VendorSettings,
    /// ElevenLabs.
    pub elevenlabs: VendorSettings,
    /// Cartesia.
    pub cartesia: VendorSettings,
    /// Google Cloud.
    pub google: VendorSettings,
    /// Google Cloud's recogniser.
    pub google_speech: GoogleSpeech,
    /// Speech and transcription of OpenAI, or of who speaks its protocol.
    pub openai: VendorSettings,
    /// How long is waited for a voice.
    pub voice_waits: VoiceWaits,
    /// How long final words may take after the end of an utterance; none: as long as each of the ears usually needs. Default
    /// none.
    pub ears_words: Option<Duration>,
}

impl SpeechVendors {
    /// Where all of Google's services are, if not at Google: `google_base_url`, as far as it was set.
    pub fn google_base(&self) -> Option<&BaseUrl> {
        (self.google.base.to_string() != GOOGLE.base).then_some(&self.google.base)
    }

    /// The vendor whose service has this name: both of Deepgram's are Deepgram's.
    pub fn named(&self, service: &str) -> Option<&VendorSettings> {
        match service {
            "deepgram" | "flux" => Some(&self.deepgram),
            "elevenlabs" => Some(&self.elevenlabs),
            "cartesia" => Some(&self.cartesia),
            "google" => Some(&self.google),
            "openai" => Some(&self.openai),
            _ => None,
        }
    }
}

impl Default for SpeechVendors {
    fn default() -> Self {
        let vendor = |vendor: &Vendor| VendorSettings {
            base: vendor.base.parse().expect("the vendors' own addresses can be read"),
            key: None,
            options: BTreeMap::new(),
        };
        Self {
            ears: Vec::new(),
            voices: Vec::new(),
            deepgram: vendor(&DEEPGRAM),
            elevenlabs: vendor(&ELEVENLABS),
            cartesia: vendor(&CARTESIA),
            google: vendor(&GOOGLE),
            google_speech: GoogleSpeech::default(),
            openai: vendor(&OPENAI),
            voice_waits: VoiceWaits::default(),
            ears_words: None,
        }
    }
}

pub(super) fn read(layers: &Layers<'_>) -> Result<SpeechVendors, SettingsError> {
    let all = [&DEEPGRAM, &ELEVENLABS, &CARTESIA, &GOOGLE, &OPENAI];
    let known: Vec<_> =
        all.map(|vendor| (vendor.name, vendor.options)).into_iter().chain(crm::TABLES).collect();
    layers.vendors(&known)?;
    let default = SpeechVendors::default();
    let millis = |name: &str, default: Duration| {
        let read = layers.read::<Millis>(name, None)?;
        Ok::<_, SettingsError>(read.map_or(default, |time| time.0))
    };
    Ok(SpeechVendors {
        ears: layers.read::<InOrder<EarsChoice>>("ears", None)?.map_or_else(Vec::new, |list| list.0),
        voices: layers.read::<InOrder<VoiceChoice>>("voices", None)?.map_or_else(Vec::new, |list| list.0),
        deepgram: vendor(layers, &DEEPGRAM, default.deepgram)?,
        elevenlabs: vendor(layers, &ELEVENLABS, default.elevenlabs)?,
        cartesia: vendor(layers, &CARTESIA, default.cartesia)?,
        google_speech: google_speech(layers)?,
        google: vendor(layers, &GOOGLE, default.google)?,
        openai: vendor(layers, &OPENAI, default.openai)?,
        voice_waits: VoiceWaits {
            first: millis("voice_first_ms", default.voice_waits.first)?,
            next: millis("voice_next_ms", default.voice_waits.next)?,
            dry: millis("voice_dry_ms", default.voice_waits.dry)?,
        },
        ears_words: layers.read::<Millis>("ears_words_ms", None)?.map(|time| time.0),
    })
}

fn google_speech(layers: &Layers<'_>) -> Result<GoogleSpeech, SettingsError> {
    let default = GoogleSpeech::default();
    let base = match layers.read("google_speech_base_url", None)? {
        None => layers.read("google_base_url", None)?,
        base => base,
    };
    let rotate_after = layers.read::<Rotate>("google_rotate_ms", None)?.map(|time| time.0);
    Ok(GoogleSpeech {
        base: base.unwrap_or(default.base),
        rotate_after: rotate_after.unwrap_or(default.rotate_after),
    })
}

struct Rotate(Duration);

impl FromStr for Rotate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = (GOOGLE_ROTATE_MS.start(), GOOGLE_ROTATE_MS.end());
        let ms = text.parse().ok().filter(|ms| GOOGLE_ROTATE_MS.contains(ms));
        ms.map(|ms| Self(Duration::from_millis(ms))).ok_or_else(|| format!("write {least} to {most}, in ms"))
    }
}

fn vendor(
    layers: &Layers<'_>,
    vendor: &Vendor,
    default: VendorSettings,
) -> Result<VendorSettings, SettingsError> {
    let base = layers.read(&format!("{}_base_url", vendor.name), None)?;
    let option = |name: &&'static str| {
        let given = layers.text(&format!("{}_{name}", vendor.name), None)?;
        Some((*name, given.text.trim().to_owned())).filter(|(_, text)| !text.is_empty())
    };
    Ok(VendorSettings {
        base: base.unwrap_or(default.base),
        key: layers.secret(&format!("{}_api_key", vendor.name), vendor.key),
        options: vendor.options.iter().filter_map(option).collect(),
    })
}

/// What no single setting can know.
pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let SpeechVendors { ears, voices, deepgram, elevenlabs, cartesia, google, openai, .. } =
        &settings.vendors;
    if settings.speech == Speech::Canned && !(ears.is_empty() && voices.is_empty()) {
        return Err(SettingsError::Together(
            "with --speech canned nobody listens and nobody is asked to speak: leave OFFHOOK_EARS and OFFHOOK_VOICES \
             away, or say local."
                .into(),
        ));
    }
    let hears = |choice: EarsChoice| ears.contains(&choice);
    let speaks = |choice: VoiceChoice| voices.contains(&choice);
    let wanted = [
        (&DEEPGRAM, deepgram, hears(EarsChoice::Deepgram) || hears(EarsChoice::Flux)),
        (&ELEVENLABS, elevenlabs, speaks(VoiceChoice::ElevenLabs)),
        (&CARTESIA, cartesia, speaks(VoiceChoice::Cartesia)),
        (&GOOGLE, google, hears(EarsChoice::Google) || speaks(VoiceChoice::Google)),
        (&OPENAI, openai, hears(EarsChoice::OpenAi) || speaks(VoiceChoice::OpenAi)),
    ];
    for (vendor, given, is_wanted) in wanted {
        if is_wanted && given.key.is_none() && given.base.to_string() == vendor.base {
            let Vendor { name, key, .. } = vendor;
            return Err(SettingsError::Together(format!(
                "{name} is to serve calls, and there is no key for it: set {key}, or take {name} out of OFFHOOK_EARS and \
                 OFFHOOK_VOICES."
            )));
        }
    }
    for (vendor, given, is_wanted) in [
        (&ELEVENLABS, elevenlabs, speaks(VoiceChoice::ElevenLabs)),
        (&CARTESIA, cartesia, speaks(VoiceChoice::Cartesia)),
    ] {
        if is_wanted && given.option("voice").is_none() {
            let name = vendor.name;
            return Err(SettingsError::Together(format!(
                "{name} speaks with a voice that you choose: set OFFHOOK_{}_VOICE to its id.",
                name.to_uppercase()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Flags;
    use super::*;

    fn with(environment: &[(&str, &str)], file: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offhook.toml");
        std::fs::write(&path, file).unwrap();
        let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Settings::load(&Flags { config: Some(path), ..Flags::default() }, &lookup).map_err(|e| e.to_string())
    }

    #[test]
    fn vendors_are_asked_in_the_order_in_which_they_stand() {
        let settings = with(
            &[
                ("OFFHOOK_EARS", "deepgram, local,deepgram"),
                ("OFFHOOK_VOICES", "cartesia,elevenlabs"),
                ("DEEPGRAM_API_KEY", "hush"),
                ("ELEVENLABS_API_KEY", "hush"),
                ("CARTESIA_API_KEY", "hush"),
                ("OFFHOOK_CARTESIA_VOICE", "c"),
                ("OFFHOOK_VOICE_NEXT_MS", "900"),
            ],
            "[vendors.elevenlabs]\nvoice = 'e'\nbase_url = 'http://127.0.0.1:9/elevenlabs'\n[vendors.cartesia]\nvoice = 'x'",
        )
        .unwrap();
        let vendors = &settings.vendors;
        assert_eq!(vendors.ears, [EarsChoice::Deepgram, EarsChoice::Local]);
        assert_eq!(vendors.voices, [VoiceChoice::Cartesia, VoiceChoice::ElevenLabs]);
        assert_eq!(vendors.elevenlabs.option("voice"), Some("e"));
        assert_eq!(vendors.elevenlabs.base.to_string(), "http://127.0.0.1:9/elevenlabs");
        assert_eq!(vendors.cartesia.option("voice"), Some("c"), "the environment wins");
        assert_eq!(vendors.voice_waits.next, Duration::from_millis(900));
        assert!(!format!("{settings:?}").contains("hush"));
    }

    #[test]
    fn a_vendor_that_is_to_serve_calls_needs_its_key_and_its_voice() {
        for (environment, wanted) in [
            (&[("OFFHOOK_EARS", "deepgram")][..], "DEEPGRAM_API_KEY"),
            (&[("OFFHOOK_EARS", "flux")], "DEEPGRAM_API_KEY"),
            (&[("OFFHOOK_EARS", "google")], "GOOGLE_API_KEY"),
            (&[("OFFHOOK_VOICES", "google")], "GOOGLE_API_KEY"),
            (&[("OFFHOOK_VOICES", "openai,local")], "OPENAI_API_KEY"),
            (&[("OFFHOOK_VOICES", "elevenlabs"), ("ELEVENLABS_API_KEY", "k")], "OFFHOOK_ELEVENLABS_VOICE"),
            (&[("OFFHOOK_VOICES", "cartesia"), ("CARTESIA_API_KEY", "k")], "OFFHOOK_CARTESIA_VOICE"),
            (&[("OFFHOOK_EARS", "parrot")], "deepgram"),
            (&[("OFFHOOK_VOICES", "parrot")], "elevenlabs"),
            (&[("OFFHOOK_EARS", "local"), ("OFFHOOK_SPEECH", "canned")], "canned"),
        ] {
            let text = with(environment, "").unwrap_err();
            assert!(text.contains(wanted), "{environment:?}: {text}");
        }
        // A server of one's own may want none.
        let own =
            [("OFFHOOK_EARS", "deepgram"), ("OFFHOOK_DEEPGRAM_BASE_URL", "http://127.0.0.1:9/deepgram")];
        assert!(with(&own, "").is_ok());
    }

    #[test]
    fn googles_recogniser_is_where_it_is_said_to_be() {
        let speech = |environment: &[(&str, &str)], file: &str| {
            with(environment, file).map(|settings| {
                let GoogleSpeech { base, rotate_after } = settings.vendors.google_speech;
                (base.to_string(), rotate_after.as_millis())
            })
        };
        assert_eq!(speech(&[], "").unwrap(), (GOOGLE_SPEECH.to_owned(), 240_000));
        let file = "[vendors.google]\nbase_url = 'http://127.0.0.1:8'\nrotate_ms = '90000'";
        assert_eq!(speech(&[], file).unwrap(), ("http://127.0.0.1:8".to_owned(), 90_000));
        let own = [("OFFHOOK_GOOGLE_SPEECH_BASE_URL", "http://127.0.0.1:9")];
        assert_eq!(speech(&own, file).unwrap().0, "http://127.0.0.1:9");
        for wrong in ["0", "300000", "soon"] {
            let text = speech(&[("OFFHOOK_GOOGLE_ROTATE_MS", wrong)], "").unwrap_err();
            assert!(text.contains("OFFHOOK_GOOGLE_ROTATE_MS") && text.contains("250000"), "{text}");
        }
    }

    #[test]
    fn a_misspelt_vendor_or_option_in_the_file_is_told() {
        let text = with(&[], "[vendors.deepgran]\nmodel = 'x'").unwrap_err();
        assert!(text.contains("deepgran") && text.contains("deepgram"), "{text}");
        let text = with(&[], "[vendors.deepgram]\nmodell = 'x'").unwrap_err();
        assert!(text.contains("modell") && text.contains("flux_model"), "{text}");
    }
}
