//! The agent that asks a model: what it writes is spoken as it comes, and what nobody wants any more is not written.
//!
//! ```text
//!  caller's turn ─► history ─► model ──► text ─► clauses ─► voice
//!                      ▲         │
//!                      └─ tools ◄┘   at most ROUNDS times
//! ```
//!
//! One generation is under way per call at most. When a turn is called off, its request is dropped with its connection, and
//! the model stops. What the history keeps of it is what the caller heard; what tools did stays, since it was done.

mod history;

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use offhook_engine::agent::{Agent, AgentAction, AgentError, Answering, Clauses};
use offhook_engine::call::{Prompt, Then};
use tokio::runtime::Handle;

use crate::integrations::openai::chat::Asking;
use crate::integrations::openai::{Chat, Waits};
use crate::integrations::tools::Tools;
use crate::integrations::vendor::VendorError;
use crate::settings::OpenAiSettings;
use history::History;

/// How often in one turn a model may use tools before it has to answer.
const ROUNDS: usize = 4;

/// After the agent's turn, the caller may speak, or press keys up to `#` or a pause.
const LISTEN: Then = Then::Listen { keys_max: 20 };

/// A caller who was silent so often in a row is gone, and nobody pays for more.
const SILENCES_MAX: u32 = 4;

/// A model with what it is told and may do, shared by all calls.
#[derive(Debug)]
pub struct Model {
    chat: Chat,
    tools: Tools,
    prompt: String,
    greeting: String,
    runtime: Handle,
    counts: TokenCounts,
}

/// What models wrote. A token is counted for each piece that a model streams, which is what most of them send.
#[derive(Debug, Default)]
pub struct TokenCounts {
    written: AtomicU64,
    wasted: AtomicU64,
}

impl TokenCounts {
    /// All of them.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Those that no caller heard.
    pub fn wasted(&self) -> u64 {
        self.wasted.load(Ordering::Relaxed)
    }
}

impl Model {
    /// A model by the settings, which is asked on `runtime`. An error says what to do.
    pub fn new(settings: &OpenAiSettings, waits: Waits, runtime: Handle) -> Result<Self, String> {
        if settings.base.is_exposed() && settings.key.is_some() {
            tracing::warn!(
                base = %settings.base, "the model is asked without TLS: whoever is on the way there can read the key"
            );
        }
        let chat = Chat::new(Asking {
            base: settings.base.clone(),
            key: settings.key.clone(),
            model: settings.model.clone(),
            temperature: settings.temperature,
            max_tokens: settings.max_tokens,
            max_tokens_field: settings.max_tokens_field.clone(),
            waits,
        })?;
        Ok(Self {
            chat,
            tools: Tools::new(&settings.tools)?,
            prompt: settings.prompt.clone(),
            greeting: settings.greeting.clone(),
            runtime,
            counts: TokenCounts::default(),
        })
    }

    /// What it wrote.
    pub fn counts(&self) -> &TokenCounts {
        &self.counts
    }

    /// Looks whether the model's server is there and takes the key; leaves a connection for whoever asks next.
    pub fn check(&self) -> impl Future<Output = Result<(), VendorError>> + Send + '_ {
        self.chat.warm()
    }

    /// Does that in the background, and warns if it is not.
    pub fn check_soon(self: &Arc<Self>) {
        let model = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Err(error) = model.check().await {
                tracing::warn!(
                    %error,
                    "the agent's model cannot be asked: look at OPENAI_API_KEY and OFFHOOK_OPENAI_BASE_URL, or run \
                     offhook doctor"
                );
            }
        });
    }
}

/// A model's side of one call.
#[derive(Debug)]
pub struct ModelAgent {
    model: Arc<Model>,
    history: History,
    /// Tokens of the latest turn.
    tokens: u64,
}

impl ModelAgent {
    /// An agent at the beginning of a call.
    pub fn new(model: Arc<Model>) -> Self {
        Self { model, history: History::default(), tokens: 0 }
    }

    /// Says it in pieces, and nothing of it asks the model.
    fn say(&mut self, text: &str, out: &mut dyn Answering) {
        let mut mouth = Mouth::new(out);
        let _ = mouth.more(text);
        mouth.end();
        self.history.said(text.to_owned());
    }

    async fn turn(&mut self, out: &mut dyn Answering) -> Result<Then, AgentError> {
        let model = Arc::clone(&self.model);
        let (mut ends, mut said) = (false, false);
        for round in 0..=ROUNDS {
            // The last time it may only speak.
            let tools = if round < ROUNDS && !ends { model.tools.offered() } else { &[] };
            let messages = self.history.for_model(&model.prompt);
            let mut mouth = Mouth::new(out);
            let (history, tokens) = (&mut self.history, &mut self.tokens);
            let mut on_text = |text: &str| {
                *tokens += 1;
                model.counts.written.fetch_add(1, Ordering::Relaxed);
                history.more(text);
                mouth.more(text)
            };
            let reply = model.chat.reply(&messages, tools, &mut on_text).await;
            let reply = reply.map_err(|VendorError { why, detail }| AgentError { why, detail })?;
            mouth.end();
            said |= !reply.text.trim().is_empty();
            if reply.calls.is_empty() || tools.is_empty() {
                self.history.said(reply.text);
                break;
            }
            self.history.called(&reply);
            let count = reply.calls.len();
            for (place, call) in reply.calls.iter().enumerate() {
                let outcome = model.tools.call(call).await;
                self.history.answered(count - 1 - place, outcome.text);
                ends |= outcome.ends_call;
            }
            if ends && said {
                break;
            }
        }
        if !said {
            tracing::warn!("the agent's model wrote nothing to say");
        }
        Ok(if ends { Then::HangUp } else { LISTEN })
    }
}

impl Agent for ModelAgent {
    fn answer(&mut self, prompt: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
        self.tokens = 0;
        let model = Arc::clone(&self.model);
        if *prompt == Prompt::CallStarted {
            // A connection is made while the greeting plays.
            model.check_soon();
            if !model.greeting.trim().is_empty() {
                self.history.begin(None);
                self.say(&model.greeting, out);
                return Ok(LISTEN);
            }
        }
        if matches!(prompt, Prompt::Silence(SILENCES_MAX..)) {
            return Ok(Then::HangUp);
        }
        self.history.begin(Some(told(prompt)));
        let called_off = out.wanted().called_off();
        let turn = model.runtime.block_on(async {
            tokio::select! {
                biased;
                () = called_off => None,
                turn = self.turn(out) => Some(turn),
            }
        });
        turn.unwrap_or_else(|| {
            self.history.break_off();
            Ok(LISTEN)
        })
    }

    fn forget_last(&mut self) {
        self.history.forget_last();
        self.waste(1.0);
    }

    fn was_cut(&mut self, heard: &str) {
        let share = self.history.was_cut(heard);
        self.waste(1.0 - share);
    }
}

impl ModelAgent {
    /// Of the latest turn's tokens, such a share was for nothing.
    fn waste(&mut self, share: f64) {
        let wasted = (std::mem::take(&mut self.tokens) as f64 * share).round() as u64;
        self.model.counts.wasted.fetch_add(wasted, Ordering::Relaxed);
    }
}

/// What the caller did, in words for the model. What stands in brackets was not said.
fn told(prompt: &Prompt) -> String {
    match prompt {
        Prompt::CallStarted => "[The call begins: greet the caller.]".into(),
        Prompt::Said(text) => text.clone(),
        Prompt::Keyed(keys) => format!("[The caller pressed the keys {keys}.]"),
        Prompt::NotUnderstood => "[The caller said something that the recogniser did not understand.]".into(),
        Prompt::Silence(1) => "[The caller says nothing.]".into(),
        Prompt::Silence(_) => "[The caller still says nothing.]".into(),
    }
}

/// Passes text on to the voice, piece by piece.
struct Mouth<'a> {
    clauses: Clauses,
    /// What has no letter or digit waits for what it belongs to: a dash is nothing to speak.
    held: String,
    out: &'a mut dyn Answering,
}

impl<'a> Mouth<'a> {
    fn new(out: &'a mut dyn Answering) -> Self {
        Self { clauses: Clauses::new(), held: String::new(), out }
    }

    fn more(&mut self, text: &str) -> ControlFlow<()> {
        self.clauses.push(text);
        while let Some(piece) = self.clauses.next_piece() {
            self.say(&piece)?;
        }
        ControlFlow::Continue(())
    }

    fn end(mut self) {
        if let Some(rest) = self.clauses.rest() {
            let _ = self.say(&rest);
        }
    }

    fn say(&mut self, piece: &str) -> ControlFlow<()> {
        self.held.push_str(piece);
        if !self.held.contains(char::is_alphanumeric) {
            return ControlFlow::Continue(());
        }
        let text = std::mem::take(&mut self.held).trim().to_owned();
        self.out.act(AgentAction::Say(text))
    }
}

#[cfg(test)]
mod tests;
