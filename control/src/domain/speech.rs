//! What answers a call: ears, a voice and a mind, chosen once at the start and made anew for each call.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use offhook_engine::agent::Agent;
use offhook_engine::agent::scenario::{Goal, Scenario};
use offhook_engine::agent::scripted::ScriptedAgent;
use offhook_engine::speech::canned::{CannedAgent, CannedEars, CannedVoice};
use offhook_engine::speech::stt::none::NoRecogniser;
use offhook_engine::speech::stt::pocketsphinx::Pocketsphinx;
use offhook_engine::speech::tts::flite::Flite;
use offhook_engine::speech::{SpeechToText, TextToSpeech};

use crate::settings::{Settings, Speech};

/// What answers calls.
pub struct Answering {
    ears: Ears,
    voice: Arc<dyn TextToSpeech>,
    minds: Minds,
}

enum Ears {
    /// Keys alone.
    None,
    Local(Arc<Pocketsphinx>),
    Canned,
}

enum Minds {
    Scripted {
        /// By name: the shipped ones, and the configured one.
        scenarios: BTreeMap<Arc<str>, Arc<Scenario>>,
        configured: Arc<str>,
    },
    Canned,
}

/// The name that records have for calls with canned speech.
const CANNED: &str = "canned";

impl Answering {
    /// Loads what the settings ask for. A recogniser that is not installed is done without, and said so in the log; all
    /// else that is missing is an error, which says what to do.
    pub fn from_settings(settings: &Settings) -> Result<Self, String> {
        if settings.speech == Speech::Canned {
            return Ok(Self { ears: Ears::Canned, voice: Arc::new(CannedVoice), minds: Minds::Canned });
        }
        let configured = load_scenario(&settings.scenario)?;
        let shipped = Scenario::shipped_names().filter_map(Scenario::shipped);
        let name: Arc<str> = configured.name().into();
        let mut scenarios: BTreeMap<Arc<str>, Arc<Scenario>> =
            shipped.map(|scenario| (scenario.name().into(), Arc::new(scenario))).collect();
        scenarios.insert(name.clone(), Arc::new(configured));
        let voice = Flite::new().map_err(|error| error.to_string())?;
        let ears = match settings.speech {
            Speech::Local => match Pocketsphinx::load() {
                Ok(recogniser) => Ears::Local(recogniser),
                Err(error) => {
                    tracing::warn!(%error, "no recogniser: callers are led to the keypad");
                    Ears::None
                }
            },
            Speech::Keypad | Speech::Canned => Ears::None,
        };
        Ok(Self { ears, voice: Arc::new(voice), minds: Minds::Scripted { scenarios, configured: name } })
    }

    /// The name of a scenario that is there, or of the configured one if none is asked for. Canned speech goes through none,
    /// whatever is asked for.
    pub fn scenario_named(&self, asked: Option<&str>) -> Option<Arc<str>> {
        match (&self.minds, asked) {
            (Minds::Scripted { configured, .. }, None) => Some(configured.clone()),
            (Minds::Scripted { scenarios, .. }, Some(name)) => {
                scenarios.get_key_value(name).map(|(name, _)| name.clone())
            }
            (Minds::Canned, _) => Some(CANNED.into()),
        }
    }

    /// What a call that went through `scenario` reached, by the outcome that was recorded.
    pub fn goal_of(&self, scenario: &str, outcome: &str) -> Option<Goal> {
        match &self.minds {
            Minds::Scripted { scenarios, .. } => scenarios.get(scenario)?.goal_of(outcome),
            Minds::Canned => None,
        }
    }

    /// Ears, voice and mind for one call.
    pub fn for_a_call(
        &self,
        scenario: &str,
    ) -> (Box<dyn SpeechToText>, Arc<dyn TextToSpeech>, Box<dyn Agent>) {
        let ears: Box<dyn SpeechToText> = match &self.ears {
            Ears::None => Box::new(NoRecogniser),
            Ears::Local(recogniser) => Box::new(recogniser.recogniser()),
            Ears::Canned => Box::new(CannedEars),
        };
        let mind: Box<dyn Agent> = match &self.minds {
            Minds::Scripted { scenarios, configured } => {
                let scenario = scenarios.get(scenario).unwrap_or_else(|| &scenarios[configured]);
                Box::new(ScriptedAgent::new(scenario.clone()))
            }
            Minds::Canned => Box::new(CannedAgent),
        };
        (ears, self.voice.clone(), mind)
    }
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
    use super::*;

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
