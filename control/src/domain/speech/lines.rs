//! What answers the calls of a line: ears, voice and mind as its assistant says, as far as this server has them.
//!
//! Whatever an assistant asks for that is not configured here (a vendor without a key) is done without: the call has what
//! all calls of this server have. What the assistant names comes first, and the server's own order behind it, so that a vendor
//! that fails is left as on any other call.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use offhook_engine::agent::Agent;
use offhook_engine::speech::{Ears, TextToSpeech, Voice};

use super::{Answering, Minds, Recognisers, Voices, runtime, vendors};
use crate::domain::agent::{Greeted, Model, ModelAgent};
use crate::domain::line_desks::LineDesk;
use crate::domain::lines::{Assistant, Tool, VoiceProvider};
use crate::domain::speech_to_speech::Duplex;
use crate::integrations::openai::Waits;
use crate::integrations::tools::{Desk, DeskTool, SEARCH_PRODUCTS, Shop};
use crate::settings::{EarsChoice, FallbackModel, OpenAiSettings, Settings, VoiceChoice};

/// How many different ones are kept of each part.
const KEPT: usize = 256;

/// The part of a model's name that says whose it is, as routers of models have it.
const OPENAI_PREFIX: &str = "openai/";

/// What answers calls of lines, made at the first call that needs it.
pub(super) struct OfLines {
    settings: Settings,
    voice: Arc<dyn TextToSpeech>,
    ears: Kept<String, Arc<Recognisers>>,
    voices: Kept<(VoiceProvider, String), Arc<Voices>>,
    models: Kept<Mind, Arc<Model>>,
    duplexes: Kept<Mind, Arc<Duplex>>,
}

/// All that makes one model differ from another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Mind {
    model: String,
    prompt: String,
    greeting: String,
    tools: Vec<&'static str>,
    /// Where its appointments are.
    desk: Option<String>,
    /// Whose products it may look for.
    shop: Option<String>,
}

impl OfLines {
    /// `voice`: the one of this machine.
    pub(super) fn new(settings: &Settings, voice: Arc<dyn TextToSpeech>) -> Self {
        let settings = settings.clone();
        Self {
            settings,
            voice,
            ears: Kept::default(),
            voices: Kept::default(),
            models: Kept::default(),
            duplexes: Kept::default(),
        }
    }

    fn ears(&self, assistant: &Assistant) -> Option<Ears> {
        let model = &assistant.stt_model;
        let choice = if model.starts_with("flux") { EarsChoice::Flux } else { EarsChoice::Deepgram };
        let vendors = &self.settings.vendors;
        let is_deepgrams = ["nova", "flux", "enhanced", "base"].iter().any(|name| model.starts_with(name));
        if !is_deepgrams || !(vendors.deepgram.key.is_some() || vendors.ears.contains(&choice)) {
            return None;
        }
        let ears = self.ears.get(model.clone(), || {
            let mut settings = self.settings.clone();
            let option = if choice == EarsChoice::Flux { "flux_model" } else { "model" };
            settings.vendors.deepgram = settings.vendors.deepgram.with_option(option, model);
            put_first(&mut settings.vendors.ears, choice);
            Ok(Arc::new(Recognisers::new(vendors::ears(&settings)?, settings.vendors.ears_words, runtime()?)))
        });
        ears.map(|ears| ears.for_a_call())
    }

    fn voice(&self, assistant: &Assistant) -> Option<Voice> {
        let vendors = &self.settings.vendors;
        let (choice, vendor) = match assistant.tts_provider {
            VoiceProvider::Cartesia => (VoiceChoice::Cartesia, &vendors.cartesia),
            VoiceProvider::ElevenLabs => (VoiceChoice::ElevenLabs, &vendors.elevenlabs),
        };
        let named = !assistant.tts_voice.is_empty() || vendor.option("voice").is_some();
        if !named || !(vendor.key.is_some() || vendors.voices.contains(&choice)) {
            return None;
        }
        let voices = self.voices.get((assistant.tts_provider, assistant.tts_voice.clone()), || {
            let mut settings = self.settings.clone();
            if !assistant.tts_voice.is_empty() {
                let vendor = match choice {
                    VoiceChoice::Cartesia => &mut settings.vendors.cartesia,
                    _ => &mut settings.vendors.elevenlabs,
                };
                *vendor = vendor.with_option("voice", &assistant.tts_voice);
            }
            put_first(&mut settings.vendors.voices, choice);
            let voices = vendors::voices(&settings, self.voice.clone())?;
            Ok(Arc::new(Voices::new(voices, settings.vendors.voice_waits, runtime()?)))
        });
        voices.map(|voices| voices.for_a_call())
    }

    fn model(&self, assistant: &Assistant, desk: Option<LineDesk>, shop: Option<Shop>) -> Option<Arc<Model>> {
        self.models.get(Mind::of(assistant, desk.as_ref(), shop.as_ref()), || {
            let openai = openai(&self.settings.openai, assistant);
            let transfers = &self.settings.transfers.to;
            let model = Model::new(&openai, transfers, Waits::default(), runtime()?)?;
            let model = model.with_desk(desk_for(assistant, &openai, desk))?;
            Ok(Arc::new(model.with_shop(shop_for(&openai, shop))?))
        })
    }

    fn duplex(
        &self,
        assistant: &Assistant,
        desk: Option<LineDesk>,
        shop: Option<Shop>,
    ) -> Option<Arc<Duplex>> {
        self.duplexes.get(Mind::of(assistant, desk.as_ref(), shop.as_ref()), || {
            let mut settings = self.settings.clone();
            settings.openai = openai(&self.settings.openai, assistant);
            let desk = desk_for(assistant, &settings.openai, desk);
            let shop = shop_for(&settings.openai, shop);
            Ok(Arc::new(Duplex::new(&settings, (desk, shop), Waits::default(), runtime()?)?))
        })
    }
}

impl Mind {
    fn of(assistant: &Assistant, desk: Option<&LineDesk>, shop: Option<&Shop>) -> Self {
        Self {
            model: assistant.llm_model.clone(),
            prompt: assistant.prompt.clone(),
            greeting: assistant.greeting.clone(),
            tools: assistant.tools.iter().map(|tool| tool.as_str()).collect(),
            desk: desk.map(|desk| desk.key.clone()),
            shop: shop.map(|shop| shop.owner().to_owned()),
        }
    }
}

/// The server's settings for a model, as an assistant changes them.
fn openai(server: &OpenAiSettings, assistant: &Assistant) -> OpenAiSettings {
    let mut openai = server.clone();
    // A router of models knows them by whose they are; OpenAI itself, and who speaks its protocol, by their name alone.
    let routed = server.base.to_string().contains("openrouter");
    let model = assistant.llm_model.as_str();
    let model = if routed { model } else { model.strip_prefix(OPENAI_PREFIX).unwrap_or(model) };
    if model != server.model {
        let configured = FallbackModel {
            base: None,
            key: None,
            model: server.model.clone(),
            max_tokens_field: Some(server.max_tokens_field.clone()),
        };
        openai.fallbacks.insert(0, configured);
        openai.model = model.to_owned();
    }
    if !assistant.prompt.trim().is_empty() {
        openai.prompt = format!("{}\n\n{}", server.prompt, assistant.prompt);
    }
    if !assistant.greeting.trim().is_empty() {
        openai.greeting.clone_from(&assistant.greeting);
    }
    let is_off = |name: &str| Tool::from_text(name).is_some_and(|tool| !assistant.tools.contains(&tool));
    openai.tools.retain(|tool| !is_off(&tool.name));
    openai
}

/// The line's appointments, as far as an assistant may see to them.
fn desk_for(assistant: &Assistant, openai: &OpenAiSettings, desk: Option<LineDesk>) -> Option<Desk> {
    let tools = desk_tools(assistant, openai);
    let LineDesk { appointments, number_of, .. } = desk.filter(|_| !tools.is_empty())?;
    Some(Desk::new(appointments, &tools, number_of))
}

/// The products. Where the operator declared a tool of the same name, that one is meant.
fn shop_for(openai: &OpenAiSettings, shop: Option<Shop>) -> Option<Shop> {
    shop.filter(|_| openai.tools.iter().all(|tool| tool.name != SEARCH_PRODUCTS))
}

/// The tools of a desk that an assistant may use. Where the operator declared one of the same name, that one is meant.
fn desk_tools(assistant: &Assistant, openai: &OpenAiSettings) -> Vec<DeskTool> {
    let declared = |name: &str| openai.tools.iter().any(|tool| tool.name == name);
    let named = assistant.tools.iter().map(|tool| tool.as_str()).filter(|name| !declared(name));
    named.filter_map(DeskTool::named).collect()
}

impl Answering {
    /// Ears, voice and mind for one call of a line, by its id. `scenario`: what an agent without a model goes through. `desk`:
    /// where the line's appointments are. `shop`: products that a model may look for.
    pub fn for_a_line(
        &self,
        scenario: &str,
        call: &str,
        assistant: &Assistant,
        desk: Option<LineDesk>,
        shop: Option<Shop>,
    ) -> (Ears, Voice, Box<dyn Agent>) {
        let (ears, voice, agent) = self.for_a_call(scenario, call);
        let Some(lines) = &self.lines else { return (ears, voice, Greeted::by(&assistant.greeting, agent)) };
        let agent: Box<dyn Agent> = match &self.minds {
            Minds::Model(_) => match lines.model(assistant, desk, shop) {
                Some(model) => Box::new(ModelAgent::new(model, call)),
                None => agent,
            },
            // It hears and speaks itself, whoever else the assistant names.
            Minds::Duplex(_) => {
                return match lines.duplex(assistant, desk, shop) {
                    Some(duplex) => {
                        let (ears, agent) = duplex.for_a_call(call);
                        (ears, voice, agent)
                    }
                    None => (ears, voice, agent),
                };
            }
            Minds::Scripted { .. } | Minds::Canned => Greeted::by(&assistant.greeting, agent),
        };
        (lines.ears(assistant).unwrap_or(ears), lines.voice(assistant).unwrap_or(voice), agent)
    }
}

/// Puts one first, and the others behind it as they were.
pub(super) fn put_first<T: PartialEq>(all: &mut Vec<T>, first: T) {
    all.retain(|other| *other != first);
    all.insert(0, first);
}

/// What was made once is kept, with all that is known of its services.
struct Kept<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    /// The one for this key; made if it is not there. None if it cannot be made, which the log tells.
    fn get(&self, key: K, make: impl FnOnce() -> Result<V, String>) -> Option<V> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(&key) {
            return Some(known.clone());
        }
        let made = make().inspect_err(|error| {
            tracing::warn!(error, "what an assistant asks for is not to be had: the server's own is taken");
        });
        let made = made.ok()?;
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, made.clone());
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assistant() -> Assistant {
        Assistant {
            prompt: "You are a receptionist.".into(),
            greeting: "Acme, good morning.".into(),
            llm_model: "openai/gpt-4o".into(),
            stt_model: "nova-2-phonecall".into(),
            tts_provider: VoiceProvider::Cartesia,
            tts_voice: String::new(),
            tools: vec![Tool::GetAvailableSlots],
        }
    }

    #[test]
    fn a_model_is_told_what_its_assistant_says_and_may_do_what_is_enabled() {
        let tool = |name: &str| {
            let text = format!(
                "[[tools]]\nname = '{name}'\ndescription = 'x'\nurl = 'http://x/'\nparameters = {{type = 'object'}}"
            );
            Settings::from_text(&text).unwrap().openai.tools.remove(0)
        };
        let tools = ["get_available_slots", "book_appointment", "weather"].map(tool).to_vec();
        let server = OpenAiSettings { tools, ..OpenAiSettings::default() };
        let made = openai(&server, &assistant());
        assert_eq!(made.model, "gpt-4o");
        assert_eq!(made.fallbacks[0].model, server.model, "what the server has stands behind it");
        assert!(made.prompt.starts_with(&server.prompt) && made.prompt.ends_with("You are a receptionist."));
        assert_eq!(made.greeting, "Acme, good morning.");
        let names: Vec<_> = made.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["get_available_slots", "weather"]);
        let plain = Assistant { prompt: String::new(), greeting: " ".into(), ..assistant() };
        let made = openai(&server, &plain);
        assert_eq!((made.prompt, made.greeting), (server.prompt.clone(), server.greeting.clone()));
        let routed = OpenAiSettings { base: "https://openrouter.ai/api/v1".parse().unwrap(), ..server };
        assert_eq!(openai(&routed, &assistant()).model, "openai/gpt-4o");
    }

    #[test]
    fn what_was_made_is_made_once() {
        let kept = Kept::default();
        assert_eq!(kept.get(1, || Ok("a")), Some("a"));
        assert_eq!(kept.get(1, || Err("it is there".into())), Some("a"));
        assert_eq!(kept.get(2, || Err("no key".into())), None);
        assert_eq!(kept.get(2, || Ok("b")), Some("b"), "what failed is tried again");
    }
}
