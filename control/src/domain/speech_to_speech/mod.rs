//! An agent that hears and speaks itself: one model in place of recogniser, model and voice.
//!
//! ```text
//!  caller's audio ─► HearingEars ─┐                     ┌► Report::Understood, the caller's words
//!                                 ├► Talk ═ session ═► ─┤
//!  the agent's turn ─► Speaker ───┘  (one task a call)  └► Speaker: audio, words, tools ─► call
//! ```
//!
//! Whose turn it is, the call decides as for every other agent: it ends the caller's turn, and interrupts the agent's within
//! milliseconds, where a server far away would take a round trip. So the session detects no turns; it is told what was said,
//! asked to answer, and told to the millisecond how much of its answer was heard.

mod agent;
mod memory;
mod talk;

use std::sync::Arc;

use offhook_engine::agent::{Agent, Expectation};
use offhook_engine::call::{Part, UtteranceId};
use offhook_engine::speech::Ears;
use offhook_engine::speech::apart::{EarsApart, Report, Reports};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::agent::TokenCounts;
use super::failover::{Places, ServiceTally};
use crate::integrations::openai::Waits;
use crate::integrations::openai::realtime::{self, Realtime};
use crate::integrations::tools::{Desk, Shop, Tools};
use crate::integrations::vendor::VendorError;
use crate::settings::Settings;
use agent::Speaker;
use talk::{Order, Talk};

/// The model where none is named.
const MODEL: &str = "gpt-realtime-2";
/// Its voice where none is named.
const VOICE: &str = "marin";
/// Who writes down what the caller said, where nobody is named.
const TRANSCRIPTION: &str = "gpt-4o-mini-transcribe";
/// Audio takes about twenty times the tokens of its words.
const TOKENS_OF_AUDIO: u32 = 20;

/// A model that hears and speaks, with what it is told and may do, shared by all calls.
pub struct Duplex {
    service: Places<Realtime>,
    name: String,
    tools: Tools,
    prompt: String,
    greeting: String,
    waits: Waits,
    runtime: Handle,
    counts: TokenCounts,
}

impl Duplex {
    /// A model by the settings, asked on `runtime`. `desk`, `shop`: appointments that it may see to, and products that it may look
    /// for. An error says what to do.
    pub fn new(
        settings: &Settings,
        (desk, shop): (Option<Desk>, Option<Shop>),
        waits: Waits,
        runtime: Handle,
    ) -> Result<Self, String> {
        let (openai, vendor) = (&settings.openai, &settings.vendors.openai);
        let option = |name: &str, default: &str| vendor.option(name).unwrap_or(default).to_owned();
        let tools = Tools::new(&openai.tools, &settings.transfers.to)?
            .with_keys(openai.presses_keys)?
            .with_desk(desk)?
            .with_shop(shop)?;
        let name = option("realtime_model", MODEL);
        let service = Realtime::new(realtime::Options {
            base: openai.base.clone(),
            key: openai.key.clone(),
            model: name.clone(),
            voice: option("realtime_voice", VOICE),
            transcription_model: option("transcription_model", TRANSCRIPTION),
            tools: tools.offered().to_vec(),
            max_tokens: openai.max_tokens.saturating_mul(TOKENS_OF_AUDIO),
        })?;
        Ok(Self {
            service: Places::new(Part::Agent, [(name.as_str().into(), Arc::new(service))]),
            name,
            tools,
            prompt: openai.prompt.clone(),
            greeting: openai.greeting.clone(),
            waits,
            runtime,
            counts: TokenCounts::default(),
        })
    }

    /// The model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it wrote.
    pub fn counts(&self) -> &TokenCounts {
        &self.counts
    }

    /// What it did so far.
    pub fn tallies(&self) -> impl Iterator<Item = ServiceTally> + '_ {
        self.service.tallies()
    }

    /// Looks whether its server is there and takes the key, at no cost.
    pub fn check(&self) -> impl Future<Output = Result<(), VendorError>> + Send + '_ {
        self.service.at(0).service.check()
    }

    /// Its ears and its mind for the call of this id. A session is opened as soon as the call has the ears.
    pub fn for_a_call(self: &Arc<Self>, call: &str) -> (Ears, Box<dyn Agent>) {
        let (orders, inbox) = mpsc::unbounded_channel();
        let duplex = Arc::clone(self);
        let ears = Ears::Apart(Box::new({
            let orders = orders.clone();
            move |reports: Reports| {
                let runtime = duplex.runtime.clone();
                runtime.spawn(Talk::new(duplex, inbox, reports.clone()).run());
                Box::new(HearingEars { orders, reports })
            }
        }));
        (ears, Box::new(Speaker::new(Arc::clone(self), call, orders)))
    }
}

/// What hands the caller's audio on.
struct HearingEars {
    orders: mpsc::UnboundedSender<Order>,
    reports: Reports,
}

impl EarsApart for HearingEars {
    fn expect(&mut self, _: &Expectation) {}

    fn start(&mut self, _: UtteranceId) {
        let _ = self.orders.send(Order::Starts);
    }

    fn audio(&mut self, ulaw: &[u8]) {
        let _ = self.orders.send(Order::Audio(ulaw.to_vec()));
    }

    fn end(&mut self, utterance: UtteranceId, _: u32) {
        let _ = self.orders.send(Order::Ends(utterance));
        // Whether to answer is the call's to say; what was said, the model has heard.
        self.reports.report(Report::Understood { utterance });
    }
}

impl Drop for HearingEars {
    /// The call is over, whatever its agent is still at.
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Goodbye);
    }
}

#[cfg(test)]
mod tests;
