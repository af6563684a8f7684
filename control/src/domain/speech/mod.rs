//! What answers a call: ears, a voice and a mind, chosen once at the start and made anew for each call.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use offhook_engine::agent::Agent;
use offhook_engine::agent::scenario::{Goal, Scenario};
use offhook_engine::agent::scripted::ScriptedAgent;
use offhook_engine::speech::canned::{CannedAgent, CannedEars, CannedVoice};
use offhook_engine::speech::denoise::Denoised;
use offhook_engine::speech::stt::none::NoRecogniser;
use offhook_engine::speech::stt::pocketsphinx::Pocketsphinx;
use offhook_engine::speech::tts::flite::Flite;
use offhook_engine::speech::{Ears, SpeechToText, TextToSpeech, Voice};

mod clones;
mod lines;
mod local;
mod persona_voices;
mod recognisers;
mod transcribers;
mod unspoken;
pub mod vendors;
mod voices;

pub use clones::{Clones, LOCAL as STAND_INS, OfCall};
use lines::OfLines;
pub use local::LOCAL;
use local::LocalVoice;
pub use persona_voices::PersonaVoices;
pub use recognisers::Recognisers;
pub use transcribers::{Transcribers, is_final};
pub use voices::Voices;

use super::agent::{Model, ModelAgent, TokenCounts};
use super::failover::ServiceTally;
use super::speech_to_speech::Duplex;
use crate::integrations::http::HttpClient;
use crate::integrations::openai::Waits;
use crate::integrations::tools::Desk;
use crate::settings::{AgentChoice, Settings, Speech};
use crate::store::Store;
use tokio::runtime::Handle;

/// What answers calls.
pub struct Answering {
    ears: Listeners,
    voice: Speakers,
    minds: Minds,
    /// What lines have of their own; none where all is canned.
    lines: Option<OfLines>,
}

enum Listeners {
    /// Keys alone.
    None,
    Local {
        recogniser: Arc<Pocketsphinx>,
        suppress_noise: bool,
    },
    Canned,
    /// Several, in turn.
    InTurn(Arc<Recognisers>),
}

enum Speakers {
    Here(Arc<dyn TextToSpeech>),
    /// Several, in turn.
    InTurn(Arc<Voices>),
}

enum Minds {
    Scripted {
        /// By name: the shipped ones, and the configured one.
        scenarios: BTreeMap<Arc<str>, Arc<Scenario>>,
        configured: Arc<str>,
    },
    Model(Arc<Model>),
    /// It hears and speaks itself. The voice above is for what others have it say: an apology, an operator's words.
    Duplex(Arc<Duplex>),
    Canned,
}

/// The name that records have for calls with canned speech.
const CANNED: &str = "canned";

/// The name that records have for calls that a model answers.
const OPENAI: &str = "openai";

/// The name that records have for calls that a model answers which hears and speaks itself.
const REALTIME: &str = "realtime";

impl Answering {
    /// Loads what the settings ask for. A recogniser that is not installed is done without, and said so in the log; all
    /// else that is missing is an error, which says what to do. `desk`: appointments that a model may see to.
    pub fn from_settings(settings: &Settings, desk: Option<Desk>) -> Result<Self, String> {
        if settings.speech == Speech::Canned {
            let voice = Speakers::Here(Arc::new(CannedVoice));
            return Ok(Self { ears: Listeners::Canned, voice, minds: Minds::Canned, lines: None });
        }
        let configured = load_scenario(&settings.scenario)?;
        let shipped = Scenario::shipped_names().filter_map(Scenario::shipped);
        let name: Arc<str> = configured.name().into();
        let mut scenarios: BTreeMap<Arc<str>, Arc<Scenario>> =
            shipped.map(|scenario| (scenario.name().into(), Arc::new(scenario))).collect();
        scenarios.insert(name.clone(), Arc::new(configured));
        let voice = Arc::new(Flite::new().map_err(|error| error.to_string())?);
        let lines = Some(OfLines::new(settings, voice.clone()));
        let others = vendors::voices(settings, voice.clone())?;
        let voice = if others.is_empty() {
            Speakers::Here(voice)
        } else {
            Speakers::InTurn(Arc::new(Voices::new(others, settings.vendors.voice_waits, runtime()?)))
        };
        // Who hears for itself needs no ears.
        let hears_itself = settings.agent == AgentChoice::Realtime;
        let others = if hears_itself { Vec::new() } else { vendors::ears(settings)? };
        let ears = match settings.speech {
            _ if hears_itself => Listeners::None,
            _ if !others.is_empty() => {
                let words_wait = settings.vendors.ears_words;
                Listeners::InTurn(Arc::new(Recognisers::new(others, words_wait, runtime()?)))
            }
            Speech::Local => match Pocketsphinx::load() {
                Ok(recogniser) => Listeners::Local { recogniser, suppress_noise: settings.noise_suppression },
                Err(error) => {
                    tracing::warn!(%error, "no recogniser: callers are led to the keypad");
                    Listeners::None
                }
            },
            Speech::Keypad | Speech::Canned => Listeners::None,
        };
        let minds = match settings.agent {
            AgentChoice::Scenario => Minds::Scripted { scenarios, configured: name },
            AgentChoice::OpenAi => {
                if !matches!(ears, Listeners::InTurn(_)) {
                    tracing::warn!(
                        "the local recogniser knows only what a scenario expects: with OFFHOOK_AGENT=openai, callers are \
                         understood by keypad alone; OFFHOOK_EARS names ears that understand anything"
                    );
                }
                Minds::Model(model(settings, desk)?)
            }
            AgentChoice::Realtime => {
                Minds::Duplex(Arc::new(Duplex::new(settings, (desk, None), Waits::default(), runtime()?)?))
            }
        };
        Ok(Self { ears, voice, minds, lines })
    }

    /// Voices that speak for personas.
    pub fn persona_voices(settings: &Settings, http: &HttpClient) -> Result<PersonaVoices, String> {
        let local: Arc<dyn TextToSpeech> = Arc::new(Flite::new().map_err(|error| error.to_string())?);
        Ok(PersonaVoices::new(settings, http, local, runtime()?))
    }

    /// The voices of callers', for those agents that speak with one of the voices above: not where all is canned, nor for a
    /// model that speaks itself. None if nobody's voice is to be copied.
    pub fn clones(
        &self,
        settings: &Settings,
        store: Arc<Store>,
        http: &HttpClient,
    ) -> Result<Option<Arc<Clones>>, String> {
        if matches!(self.minds, Minds::Canned | Minds::Duplex(_)) {
            return Ok(None);
        }
        let local: Arc<dyn TextToSpeech> = Arc::new(Flite::new().map_err(|error| error.to_string())?);
        let default = match &self.voice {
            Speakers::InTurn(voices) => voices.clone(),
            Speakers::Here(voice) => {
                let voice: Arc<dyn crate::integrations::vendor::Voice> =
                    Arc::new(LocalVoice::plain(voice.clone()));
                Arc::new(Voices::new(vec![voice], settings.vendors.voice_waits, runtime()?))
            }
        };
        Clones::new(settings, store, http, default, local)
    }

    /// The name of a scenario that is there, or of the configured one if none is asked for. Canned speech goes through none,
    /// whatever is asked for.
    pub fn scenario_named(&self, asked: Option<&str>) -> Option<Arc<str>> {
        match (&self.minds, asked) {
            (Minds::Scripted { configured, .. }, None) => Some(configured.clone()),
            (Minds::Scripted { scenarios, .. }, Some(name)) => {
                scenarios.get_key_value(name).map(|(name, _)| name.clone())
            }
            (Minds::Model(_), _) => Some(OPENAI.into()),
            (Minds::Duplex(_), _) => Some(REALTIME.into()),
            (Minds::Canned, _) => Some(CANNED.into()),
        }
    }

    /// What a call that went through `scenario` reached, by the outcome that was recorded.
    pub fn goal_of(&self, scenario: &str, outcome: &str) -> Option<Goal> {
        match &self.minds {
            Minds::Scripted { scenarios, .. } => scenarios.get(scenario)?.goal_of(outcome),
            Minds::Model(_) | Minds::Duplex(_) | Minds::Canned => None,
        }
    }

    /// What the model wrote, where one answers.
    pub fn tokens(&self) -> Option<&TokenCounts> {
        match &self.minds {
            Minds::Model(model) => Some(model.counts()),
            Minds::Duplex(duplex) => Some(duplex.counts()),
            Minds::Scripted { .. } | Minds::Canned => None,
        }
    }

    /// What each of the services did so far that calls ask in turn.
    pub fn tallies(&self) -> Vec<ServiceTally> {
        let mut tallies = Vec::new();
        if let Listeners::InTurn(ears) = &self.ears {
            tallies.extend(ears.tallies());
        }
        if let Speakers::InTurn(voices) = &self.voice {
            tallies.extend(voices.tallies());
        }
        match &self.minds {
            Minds::Model(model) => tallies.extend(model.tallies()),
            Minds::Duplex(duplex) => tallies.extend(duplex.tallies()),
            Minds::Scripted { .. } | Minds::Canned => {}
        }
        tallies
    }

    /// Ears, voice and mind for one call, by its id.
    pub fn for_a_call(&self, scenario: &str, call: &str) -> (Ears, Voice, Box<dyn Agent>) {
        let voice = match &self.voice {
            Speakers::Here(voice) => Voice::Here(Arc::clone(voice)),
            Speakers::InTurn(voices) => voices.for_a_call(),
        };
        let ears = match &self.ears {
            Listeners::None => Ears::Here(Box::new(NoRecogniser)),
            Listeners::Local { recogniser, suppress_noise } => {
                Ears::Here(hearing(Box::new(recogniser.recogniser()), *suppress_noise))
            }
            Listeners::Canned => Ears::Here(Box::new(CannedEars)),
            Listeners::InTurn(ears) => ears.for_a_call(),
        };
        let mind: Box<dyn Agent> = match &self.minds {
            Minds::Scripted { scenarios, configured } => {
                let scenario = scenarios.get(scenario).unwrap_or_else(|| &scenarios[configured]);
                Box::new(ScriptedAgent::new(scenario.clone()))
            }
            Minds::Model(model) => Box::new(ModelAgent::new(Arc::clone(model), call)),
            Minds::Canned => Box::new(CannedAgent),
            Minds::Duplex(duplex) => {
                let (ears, mind) = duplex.for_a_call(call);
                return (ears, voice, mind);
            }
        };
        (ears, voice, mind)
    }
}

/// The model that the settings name. Whether it can be asked, the log tells soon.
fn model(settings: &Settings, desk: Option<Desk>) -> Result<Arc<Model>, String> {
    let model = Model::new(&settings.openai, &settings.transfers.to, Waits::default(), runtime()?)?;
    let model = Arc::new(model.with_desk(desk)?);
    model.check_soon();
    Ok(model)
}

/// Where what waits for vendors runs.
fn runtime() -> Result<Handle, String> {
    Handle::try_current().map_err(|error| error.to_string())
}

/// The recogniser as it is, or with less noise before it.
fn hearing(recogniser: Box<dyn SpeechToText>, suppress_noise: bool) -> Box<dyn SpeechToText> {
    if suppress_noise { Box::new(Denoised::new(recogniser)) } else { recogniser }
}

/// A shipped scenario by its name, or one from a file: what has a dot or a slash is a file.
pub fn load_scenario(name: &str) -> Result<Scenario, String> {
    if let Some(scenario) = Scenario::shipped(name) {
        return Ok(scenario);
    }
    if name.contains(['/', '.']) {
        return Scenario::load(Path::new(name)).map_err(|error| error.to_string());
    }
    let shipped: Vec<_> = Scenario::shipped_names().collect();
    Err(format!(
        "there is no scenario {name:?}; shipped are: {}. A scenario of your own is given as a file: --scenario ./{name}.toml",
        shipped.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use offhook_engine::agent::Expectation;
    use offhook_engine::speech::Transcript;

    use super::*;

    /// Says which bytes it heard last.
    struct Ear;

    impl SpeechToText for Ear {
        fn expect(&mut self, _: &Expectation) {}

        fn start(&mut self) {}

        fn audio(&mut self, ulaw: &[u8]) -> Option<Transcript> {
            Some(Transcript { text: format!("{ulaw:?}"), is_final: false })
        }

        fn end(&mut self, _: u32) -> Transcript {
            Transcript { text: String::new(), is_final: true }
        }
    }

    #[test]
    fn a_recogniser_hears_every_byte_as_it_came_unless_noise_is_suppressed() {
        let every: Vec<u8> = (0..=255).chain(0..=255).collect();
        for suppress_noise in [false, true] {
            let mut ear = hearing(Box::new(Ear), suppress_noise);
            ear.start();
            let heard = ear.audio(&every).unwrap().text;
            assert_eq!(heard == format!("{every:?}"), !suppress_noise);
        }
    }

    #[test]
    fn the_default_scenario_is_shipped() {
        let scenario = load_scenario(crate::settings::DEFAULT_SCENARIO).unwrap();
        assert_eq!(scenario.name(), crate::settings::DEFAULT_SCENARIO);
    }

    #[test]
    fn an_unknown_scenario_is_answered_with_those_that_there_are() {
        let text = load_scenario("nothing").err().unwrap();
        assert!(
            text.contains(crate::settings::DEFAULT_SCENARIO) && text.contains("./nothing.toml"),
            "{text}"
        );
        let text = load_scenario("./nothing.toml").err().unwrap();
        assert!(text.contains("nothing.toml"), "{text}");
    }
}
