//! What an ended call was about: its intent, how it was meant, and its keywords.
//!
//! With the user's add-on and key, a model says so; without them, or if it cannot be asked in a few tries, a lexicon and a
//! keyword extractor of this machine do ([`local`]). Each row says which. A job of the queue does it, never a call's own threads.

pub mod local;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::account_calls::EndedCall;
use super::booked::{BookedAppointment, Source, quality};
use super::jobs::{Job, Lane, NewJob, Outcome, Policy, Work};
use super::phone::E164;
use super::time::UnixMs;
use super::user_model::{ModelError, UserModel};
use super::user_settings::{UserSetting, UserSettings};
use crate::hex;
use crate::integrations::http::HttpClient;
use crate::integrations::twilio::numbers::{self, TwilioAccount};
use crate::settings::PublicUrl;
use crate::store::{Store, StoreError};

/// What kind of job it is.
pub const KIND: &str = "call-analysis";

/// What calls are for.
pub const INTENTS: [&str; 8] =
    ["booking", "cancellation", "complaint", "support", "billing", "sales", "inquiry", "other"];

/// How many keywords a call has at most.
pub const KEYWORDS_MAX: usize = 5;

/// As much of what was said as is looked at, in characters: an hour of talk has some 50,000.
const SAID_MAX: usize = 20_000;

/// How often a model is asked before this machine says what it can.
const MODEL_TRIES: u32 = 4;

/// What a call was about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// One of [`INTENTS`].
    pub intent: String,
    /// How content the customer was, from -1 to 1.
    pub sentiment: f64,
    /// Its subjects.
    pub keywords: Vec<Mention>,
}

/// One subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Mention {
    /// In lower case.
    pub keyword: String,
    /// How it was meant, from -1 to 1.
    pub sentiment: f64,
}

/// All that was found in what was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What it was about.
    pub analysis: Analysis,
    /// In a sentence or two.
    pub summary: Option<String>,
    /// An appointment that was agreed on, by a clock of which nobody knows where it hangs; and what for.
    pub appointment: Option<(DateTime, String)>,
}

/// An analysis, to be written down.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAnalysis {
    /// The call: its id in `account_calls`.
    pub call: String,
    /// What was found.
    pub found: Found,
    /// Who says so.
    pub source: Source,
    /// The appointment that was found.
    pub appointment: Option<BookedAppointment>,
    /// When.
    pub at: UnixMs,
}

/// The job of an ended call. `call`: its id in `account_calls`.
pub fn job(owner: &str, call: &str, at: UnixMs) -> NewJob {
    // One user's many calls hold up no other's.
    let lane = Lane::unordered(format!("{KIND} {owner}"));
    NewJob { kind: KIND, key: call.to_owned(), lane, payload: json!({ "call": call }), at }
}

/// Looks at ended calls.
pub struct CallAnalyses {
    store: Arc<Store>,
    settings: Arc<UserSettings>,
    model: UserModel,
    twilio: (HttpClient, PublicUrl),
    /// By whose clock appointments are taken to be.
    zone: TimeZone,
}

impl CallAnalyses {
    /// `twilio`: where its API is asked. `zone`: by whose clock appointments are taken to be.
    pub fn new(
        store: Arc<Store>,
        settings: Arc<UserSettings>,
        model: UserModel,
        twilio: (HttpClient, PublicUrl),
        zone: TimeZone,
    ) -> Self {
        Self { store, settings, model, twilio, zone }
    }

    /// Asks Twilio whose number it was, with the user's own account. What it does not know stays unknown.
    async fn look_up_name(&self, call: &EndedCall) -> Result<(), StoreError> {
        let (None, Some(number)) = (&call.customer_name, &call.customer_phone) else { return Ok(()) };
        let mut set = self.settings.of(&call.owner).await?;
        let own = set.remove(&UserSetting::TwilioAccountSid).zip(set.remove(&UserSetting::TwilioAuthToken));
        let (Some((sid, token)), Some(number)) = (own, E164::parse(number)) else { return Ok(()) };
        let account = TwilioAccount { sid: sid.reveal().to_owned(), token };
        let (client, base) = &self.twilio;
        match numbers::caller_name(client, base, &account, number.as_str()).await {
            Ok(Some(name)) => self.store.name_customer(&call.id, name).await,
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::warn!(call_id = call.id, %error, "whose number it was could not be looked up");
                Ok(())
            }
        }
    }

    async fn analyse(&self, call: &str, tries: u32) -> Result<Option<ModelError>, StoreError> {
        let Some(call) = self.store.ended_call(call).await? else { return Ok(None) };
        let addons = self.store.addons(&call.owner).await?;
        if addons.twilio_enhanced_caller_id {
            self.look_up_name(&call).await?;
        }
        let said = Said::of(&call);
        if said.is_empty() {
            return Ok(None);
        }
        let key = match addons.openai_analysis {
            true => self.settings.one(&call.owner, UserSetting::OpenAiApiKey).await?,
            false => None,
        };
        let mut by_model = None;
        if let Some(key) = key {
            match self.model.analyse(&key, &said.all(), addons.appointments_by_ai).await {
                Ok(found) => by_model = Some(found),
                Err(ModelError::Failed(error)) if tries < MODEL_TRIES => {
                    return Ok(Some(ModelError::Failed(error)));
                }
                Err(error) => {
                    tracing::warn!(call_id = call.id, %error, "a call is looked at without a model")
                }
            }
        }
        let (found, source) = match by_model {
            Some(found) => (found, Source::Model),
            None => (Found { analysis: local::analyse(said).await, ..Found::default() }, Source::Local),
        };
        let appointment = found.appointment.clone().and_then(|found| self.appointment(&call, found));
        let new = NewAnalysis { call: call.id, found, source, appointment, at: UnixMs::now() };
        self.store.write_analysis(new).await?;
        Ok(None)
    }

    fn appointment(&self, call: &EndedCall, (at, kind): (DateTime, String)) -> Option<BookedAppointment> {
        let at = at.to_zoned(self.zone.clone()).ok()?.timestamp();
        let hash = digest(&SHA256, format!("{} {}", call.id, at.as_millisecond()).as_bytes());
        let phone = call.customer_phone.clone().unwrap_or_default();
        Some(BookedAppointment {
            id: format!("of{}", hex::encode(&hash.as_ref()[..20])),
            call: call.id.clone(),
            quality: quality(&phone, &kind),
            phone,
            starts: UnixMs(at.as_millisecond()),
            zone: self.zone.iana_name().unwrap_or("UTC").to_owned(),
            kind,
            source: Source::Model,
            booked: call.ended,
        })
    }
}

impl Work for CallAnalyses {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn policy(&self) -> Policy {
        Policy {
            base: Duration::from_secs(5),
            factor: 4.0,
            cap: Duration::from_secs(600),
            tries_max: Some(MODEL_TRIES + 1),
            give_up_after: Duration::from_secs(24 * 3_600),
        }
    }

    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        async move {
            let later = |reason: String| Outcome::Later { reason, after: None, holds_lane: false };
            match self.analyse(&job.key, job.tries).await {
                Ok(None) => Outcome::Done,
                Ok(Some(error)) => later(error.to_string()),
                Err(error) => later(error.to_string()),
            }
        }
        .boxed()
    }
}

/// What was said on a call, as far as it is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What is known of it in a few sentences.
    pub summary: String,
    /// Who said what, line by line.
    pub lines: Vec<(Speaker, String)>,
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Who called, or was called.
    Customer,
    /// What answered.
    Agent,
}

impl Said {
    /// What was said on an ended call.
    pub fn of(call: &EndedCall) -> Self {
        let mut left = SAID_MAX;
        let lines = call.transcript.iter().filter_map(|item| {
            let text = item["message"].as_str().or_else(|| item["content"].as_str())?.trim();
            let speaker = match item["role"].as_str()? {
                "user" | "customer" => Speaker::Customer,
                "assistant" | "bot" | "agent" => Speaker::Agent,
                _ => return None,
            };
            let text: String = text.chars().take(left).collect();
            left -= text.chars().count();
            (!text.is_empty()).then_some((speaker, text))
        });
        let lines = lines.collect();
        let summary = call.summary.as_deref().unwrap_or_default().chars().take(SAID_MAX).collect();
        Self { summary, lines }
    }

    /// True if there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.summary.is_empty() && self.lines.is_empty()
    }

    /// As it is shown to a model.
    fn all(&self) -> String {
        let mut all = String::new();
        if !self.summary.is_empty() {
            all += &format!("Summary: {}\n", self.summary);
        }
        for (speaker, text) in &self.lines {
            let who = if *speaker == Speaker::Customer { "Customer" } else { "Agent" };
            all += &format!("{who}: {text}\n");
        }
        all
    }
}

/// A line of a transcript, for tests.
#[cfg(test)]
pub(crate) fn line(role: &str, message: &str) -> serde_json::Value {
    json!({ "role": role, "message": message })
}

#[cfg(test)]
mod tests;
