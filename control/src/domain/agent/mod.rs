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

mod greeted;
mod history;

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use offhook_engine::agent::{Agent, AgentAction, AgentError, Answering, Clauses};
use offhook_engine::call::{Part, Prompt, Then};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::domain::failover::{Place, Places, ServiceTally, Switch};
use crate::integrations::openai::chat::Asking;
use crate::integrations::openai::{Chat, Reply, ToolCall, Waits};
use crate::integrations::tools::{Desk, Outcome, Shop, Tools};
use crate::integrations::vendor::VendorError;
use crate::settings::{OpenAiSettings, Transfer};
pub use greeted::Greeted;
use history::History;
pub(super) use history::INTERRUPTED;

/// How often in one turn a model may use tools before it has to answer.
pub(super) const ROUNDS: usize = 4;

/// What a model is told that goes on where another one broke off.
const GO_ON: &str = "[The line broke in the middle of your answer. Go on with the very next word, as if nothing had happened, and \
    repeat nothing.]";

/// What is written down of a call that is put through: to whom.
pub const TRANSFERRED_TO: &str = "transferred_to";

/// What is written down of keys that the agent pressed: which.
const KEYS_PRESSED: &str = "keys_pressed";

/// After the agent's turn, the caller may speak, or press keys up to `#` or a pause.
pub(super) const LISTEN: Then = Then::Listen { keys_max: 20 };

/// A caller who was silent so often in a row is gone, and nobody pays for more.
pub(super) const SILENCES_MAX: u32 = 4;

/// A model with what it is told and may do, shared by all calls.
#[derive(Debug)]
pub struct Model {
    chats: Places<Chat>,
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

    /// So many more were written.
    pub(super) fn write(&self, tokens: u64) {
        self.written.fetch_add(tokens, Ordering::Relaxed);
    }

    /// Of what was written, nobody heard so many.
    pub(super) fn waste(&self, tokens: u64) {
        self.wasted.fetch_add(tokens, Ordering::Relaxed);
    }
}

/// `prompt`, and what a model has to know for its tools in a call that begins now.
pub(super) fn prompt_with(prompt: &str, tools: &Tools) -> String {
    match tools.desk() {
        Some(desk) => format!("{prompt}\n\n{}", desk.told()),
        None => prompt.to_owned(),
    }
}

/// Does what a model wants done; what the call has to know of it, it is told.
/// `on`: the id of the call.
pub(super) async fn use_tool(tools: &Tools, call: &ToolCall, on: &str, out: &mut dyn Answering) -> Outcome {
    let mut outcome = tools.call(call, on).await;
    if let Some(value) = outcome.transfers_to.take() {
        // Whatever the caller hears of it: it is what was decided.
        let _ = out.act(AgentAction::Record { key: TRANSFERRED_TO.into(), value });
    }
    if let Some(keys) = outcome.presses.take() {
        let _ = out.act(AgentAction::Record { key: KEYS_PRESSED.into(), value: keys.clone() });
        let _ = out.act(AgentAction::Press(keys));
    }
    outcome
}

impl Model {
    /// A model by the settings, which is asked on `runtime`. An error says what to do.
    /// `transfers`: whom it may put calls through to.
    pub fn new(
        settings: &OpenAiSettings,
        transfers: &[Transfer],
        waits: Waits,
        runtime: Handle,
    ) -> Result<Self, String> {
        if settings.base.is_exposed() && settings.key.is_some() {
            tracing::warn!(
                base = %settings.base, "the model is asked without TLS: whoever is on the way there can read the key"
            );
        }
        let first = Asking {
            base: settings.base.clone(),
            key: settings.key.clone(),
            model: settings.model.clone(),
            temperature: settings.temperature,
            max_tokens: settings.max_tokens,
            max_tokens_field: settings.max_tokens_field.clone(),
            waits,
        };
        let others = settings.fallbacks.iter().map(|fallback| {
            let is_elsewhere = fallback.base.as_ref().is_some_and(|base| *base != first.base);
            Asking {
                base: fallback.base.clone().unwrap_or_else(|| first.base.clone()),
                // A key is for whom it was given for.
                key: fallback.key.clone().or_else(|| first.key.clone().filter(|_| !is_elsewhere)),
                model: fallback.model.clone(),
                max_tokens_field: fallback
                    .max_tokens_field
                    .clone()
                    .unwrap_or_else(|| first.max_tokens_field.clone()),
                ..first.clone()
            }
        });
        let chats: Vec<(Arc<str>, Arc<Chat>)> = std::iter::once(first.clone())
            .chain(others)
            .map(|asking| Ok((asking.model.as_str().into(), Arc::new(Chat::new(asking)?))))
            .collect::<Result<_, String>>()?;
        Ok(Self {
            chats: Places::new(Part::Agent, chats),
            tools: Tools::new(&settings.tools, transfers)?.with_keys(settings.presses_keys)?,
            prompt: settings.prompt.clone(),
            greeting: settings.greeting.clone(),
            runtime,
            counts: TokenCounts::default(),
        })
    }

    /// The same with appointments, if there are any. The error says that a tool of theirs is there already.
    pub fn with_desk(self, desk: Option<Desk>) -> Result<Self, String> {
        Ok(Self { tools: self.tools.with_desk(desk)?, ..self })
    }

    /// The same with products, if there are any. The error says that a tool of theirs is there already.
    pub fn with_shop(self, shop: Option<Shop>) -> Result<Self, String> {
        Ok(Self { tools: self.tools.with_shop(shop)?, ..self })
    }

    /// What it is told before a call that begins now.
    fn prompt(&self) -> String {
        prompt_with(&self.prompt, &self.tools)
    }

    /// What it wrote.
    pub fn counts(&self) -> &TokenCounts {
        &self.counts
    }

    /// What each of its models did so far.
    pub fn tallies(&self) -> impl Iterator<Item = ServiceTally> + '_ {
        self.chats.tallies()
    }

    /// Looks whether the first model's server is there and takes the key; leaves a connection for whoever asks next.
    pub fn check(&self) -> impl Future<Output = Result<(), VendorError>> + Send + '_ {
        self.chats.at(0).service.warm()
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
    /// The id of the call.
    call: String,
    /// What the model is told before it.
    prompt: String,
    history: History,
    /// Who is asked on this call. Only goes up.
    at: Option<usize>,
    /// Tokens of the latest turn.
    tokens: u64,
}

impl ModelAgent {
    /// An agent at the beginning of the call of this id.
    pub fn new(model: Arc<Model>, call: &str) -> Self {
        let prompt = model.prompt();
        Self { model, call: call.to_owned(), prompt, history: History::default(), at: None, tokens: 0 }
    }

    /// Says it in pieces, and nothing of it asks the model.
    fn say(&mut self, text: &str, out: &mut dyn Answering) {
        let mut mouth = Mouth::new(out);
        let _ = mouth.more(text);
        mouth.end();
        self.history.said(text.to_owned());
    }

    /// A reply, of the first model that can give it or go on with it.
    async fn reply(&mut self, tools: &[Value], mouth: &mut Mouth<'_>) -> Result<Reply, AgentError> {
        let model = Arc::clone(&self.model);
        loop {
            let at = *self.at.get_or_insert_with(|| model.chats.first(|switch| mouth.tell(switch)));
            let error = match self.attempt(model.chats.at(at), tools, mouth).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let (next, switch) = model.chats.after(at, &error);
            if !model.chats.is_only() {
                mouth.tell(switch);
            }
            let Some(next) = next else { return Err(AgentError { why: error.why, detail: error.detail }) };
            self.at = Some(next);
            self.history.take_back(mouth.cut_word());
        }
    }

    /// Has one model reply, or go on with what another one has begun.
    async fn attempt(
        &mut self,
        place: &Place<Chat>,
        tools: &[Value],
        mouth: &mut Mouth<'_>,
    ) -> Result<Reply, VendorError> {
        if !self.history.draft().is_empty() && !self.history.draft().ends_with(char::is_whitespace) {
            self.history.more(" ");
        }
        let begun = self.history.draft().to_owned();
        let mut messages = self.history.for_model(&self.prompt);
        if !begun.is_empty() {
            messages.push(json!({"role": "assistant", "content": begun}));
            messages.push(json!({"role": "user", "content": GO_ON}));
        }
        place.ask(1);
        let (history, tokens, counts) = (&mut self.history, &mut self.tokens, &self.model.counts);
        let mut on_text = |text: &str| {
            *tokens += 1;
            counts.write(1);
            // What goes on begins with a word of its own.
            let goes_on = !begun.is_empty() && history.draft().len() == begun.len();
            let text = if goes_on { text.trim_start() } else { text };
            history.more(text);
            mouth.more(text)
        };
        let reply = place.service.reply(&messages, tools, &mut on_text).await?;
        place.worked();
        let text = if begun.is_empty() { reply.text } else { begun + reply.text.trim_start() };
        Ok(Reply { text, ..reply })
    }

    async fn turn(&mut self, out: &mut dyn Answering) -> Result<Then, AgentError> {
        let model = Arc::clone(&self.model);
        let (mut ends, mut said) = (false, false);
        for round in 0..=ROUNDS {
            // The last time it may only speak.
            let tools = if round < ROUNDS && !ends { model.tools.offered() } else { &[] };
            let mut mouth = Mouth::new(out);
            let reply = self.reply(tools, &mut mouth).await?;
            mouth.end();
            said |= !reply.text.trim().is_empty();
            if reply.calls.is_empty() || tools.is_empty() {
                self.history.said(reply.text);
                break;
            }
            self.history.called(&reply);
            let count = reply.calls.len();
            for (place, call) in reply.calls.iter().enumerate() {
                let outcome = use_tool(&model.tools, call, &self.call, out).await;
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

    fn was_cut(&mut self, heard: &str, _: u32) {
        let share = self.history.was_cut(heard);
        self.waste(1.0 - share);
    }
}

impl ModelAgent {
    /// Of the latest turn's tokens, such a share was for nothing.
    fn waste(&mut self, share: f64) {
        let wasted = (std::mem::take(&mut self.tokens) as f64 * share).round() as u64;
        self.model.counts.waste(wasted);
    }
}

/// What the caller did, in words for the model. What stands in brackets was not said.
pub(super) fn told(prompt: &Prompt) -> String {
    match prompt {
        Prompt::CallStarted => "[The call begins: greet the caller.]".into(),
        Prompt::Said(text) => text.clone(),
        Prompt::Keyed(keys) => format!("[The caller pressed the keys {keys}.]"),
        // It goes by words, and has none.
        Prompt::NotUnderstood | Prompt::Spoke => {
            "[The caller said something that the recogniser did not understand.]".into()
        }
        Prompt::Silence(1) => "[The caller says nothing.]".into(),
        Prompt::Silence(_) => "[The caller still says nothing.]".into(),
    }
}

/// Passes text on to the voice, piece by piece.
struct Mouth<'a> {
    clauses: Clauses,
    /// What has no letter or digit waits for what it belongs to: a dash is nothing to speak.
    held: String,
    /// Nobody wants to hear more.
    unwanted: bool,
    out: &'a mut dyn Answering,
}

impl<'a> Mouth<'a> {
    fn new(out: &'a mut dyn Answering) -> Self {
        Self { clauses: Clauses::new(), held: String::new(), unwanted: false, out }
    }

    fn more(&mut self, text: &str) -> ControlFlow<()> {
        self.clauses.push(text);
        while let Some(piece) = self.clauses.next_piece() {
            self.say(&piece)?;
        }
        ControlFlow::Continue(())
    }

    /// What writes broke off: the word that it ended with is taken back. How many bytes that is.
    fn cut_word(&mut self) -> usize {
        self.clauses.cut_word()
    }

    /// Another model goes on.
    fn tell(&mut self, Switch { from, to, why, .. }: Switch) {
        let (from, to) = (from.to_string(), to.map(|to| to.to_string()));
        let _ = self.out.act(AgentAction::Switch { from, to, why });
    }

    fn end(mut self) {
        if let Some(rest) = self.clauses.rest() {
            let _ = self.say(&rest);
        }
    }

    fn say(&mut self, piece: &str) -> ControlFlow<()> {
        if self.unwanted {
            return ControlFlow::Break(());
        }
        self.held.push_str(piece);
        if !self.held.contains(char::is_alphanumeric) {
            return ControlFlow::Continue(());
        }
        let text = std::mem::take(&mut self.held).trim().to_owned();
        let said = self.out.act(AgentAction::Say(text));
        self.unwanted = said.is_break();
        said
    }
}

#[cfg(test)]
mod tests;
