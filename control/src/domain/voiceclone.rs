//! Callers' voices that were cloned, the webhooks around them, and what all that came to.

use std::sync::Arc;
use std::time::Instant;

use offhook_engine::CallId;

use super::call::StatusReport;
use super::calls::{AnnounceError, Calls, Incoming};
use super::phone::E164;
use super::speech::{Clones, OfCall};
use super::time::UnixMs;
use crate::store::{Store, StoreError};

/// A voice of a caller's, as it is cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClonedVoice {
    /// Whose: `+31612345678`.
    pub caller: String,
    /// The maker's name for it.
    pub voice_id: String,
    /// `elevenlabs`, or `local` for a stand-in.
    pub maker: String,
    /// The call that it was made of.
    pub call: Option<String>,
    /// When it was there.
    pub created: UnixMs,
    /// How long the making took.
    pub creation_ms: u64,
    /// It is not used from then on.
    pub expires: UnixMs,
}

/// Whether a caller's voice was found in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It was.
    Hit,
    /// It was not.
    Miss,
}

impl Lookup {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
        }
    }
}

/// A webhook that is acted on unless it is a repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Who sent it: `threecx`, `elevenlabs`.
    pub source: &'static str,
    /// What repetitions have in common.
    pub event: String,
    /// When it came.
    pub at: UnixMs,
    /// Our call, if it is one of ours.
    pub call: Option<String>,
    /// Whether the caller's voice was cached; none if it was not looked for.
    pub lookup: Option<Lookup>,
    /// JSON, as it came.
    pub body: String,
    /// JSON, as it is to be answered.
    pub answer: String,
}

/// What became of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The answer to give: of a repetition, that to the first.
    pub answer: String,
    /// False if it is a repetition.
    pub is_new: bool,
}

/// What was counted since the database was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CloneFigures {
    /// Voices that were made.
    pub clones: u64,
    /// Calls whose caller's voice was cached.
    pub hits: u64,
    /// Calls whose caller's voice was not.
    pub misses: u64,
    /// How long making a voice took, in ms; none if none was made.
    pub creation_ms_average: Option<f64>,
    /// Calls that a webhook told of and that were taken.
    pub calls: u64,
}

impl CloneFigures {
    /// Hits among all look-ups, from 0 to 1; 0 without any.
    pub fn hit_rate(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            looked => self.hits as f64 / looked as f64,
        }
    }
}

/// A call that a webhook tells of.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// The carrier's name for it.
    pub carrier_call_id: String,
    /// The caller, as the webhook has it.
    pub from: String,
    /// The number that was called; empty if unknown.
    pub to: String,
    /// The webhook's body.
    pub body: String,
}

/// A call that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Our name for it.
    pub call: CallId,
    /// Whether the caller's voice was cached.
    pub lookup: Lookup,
    /// That voice.
    pub voice: Option<ClonedVoice>,
    /// Who makes voices; none: nobody's is copied.
    pub maker: Option<&'static str>,
}

/// Why a webhook could not be acted on.
#[derive(Debug, thiserror::Error)]
pub enum VoiceCloneError {
    /// The database takes or gives nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The call cannot be announced.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
}

/// Who sends webhooks of calls that come in.
const THREECX: &str = "threecx";

/// What repetitions of the webhook have in common that tells of a call.
pub fn incoming_call(carrier_call_id: &str) -> String {
    format!("{carrier_call_id} IncomingCall")
}

/// Takes a call that 3CX's webhook tells of: announces it, so that its media is known for it, and looks for its caller's voice,
/// with which its agent is to speak. `answer` makes what the webhook is answered; a repetition gets the first answer, and
/// nothing is announced.
pub async fn take(
    calls: &Calls,
    store: &Store,
    clones: Option<&Arc<Clones>>,
    new: NewCall,
    scenario: Arc<str>,
    answer: impl Fn(&Taken) -> String,
) -> Result<Seen, VoiceCloneError> {
    let event = incoming_call(&new.carrier_call_id);
    if let Some(answer) = store.seen_webhook(THREECX, &event).await? {
        return Ok(Seen { answer, is_new: false });
    }
    let at = UnixMs::now();
    let caller = number(&new.from);
    let voice = match (&caller, clones) {
        (Some(caller), Some(clones)) => clones.voice_of(caller, at).await?,
        _ => None,
    };
    let incoming = Incoming {
        carrier: THREECX,
        carrier_call_id: new.carrier_call_id,
        from: caller.clone().unwrap_or(new.from),
        to: number(&new.to).unwrap_or(new.to),
        direction: String::new(),
        scenario,
        on_line: None,
    };
    // Of several that come at once all name the same call.
    let (call, _) = calls.announce(incoming, Instant::now(), at).await?;
    let lookup = if voice.is_some() { Lookup::Hit } else { Lookup::Miss };
    let taken = Taken { call, lookup, voice, maker: clones.map(|clones| clones.maker()) };
    let webhook = Webhook {
        source: THREECX,
        event,
        at,
        call: Some(taken.call.to_string()),
        lookup: Some(lookup),
        body: new.body,
        answer: answer(&taken),
    };
    let seen = store.see_webhook(webhook).await?;
    if let (Some(clones), Some(caller)) = (clones, caller) {
        clones.want(&taken.call, &caller, taken.voice.as_ref());
    }
    Ok(seen)
}

/// The media of a call is here: its caller's voice, with which its agent is to speak if a webhook told of it, or tells of it
/// while this is kept.
pub async fn answers(
    store: &Store,
    clones: &Arc<Clones>,
    call: &CallId,
    carrier_call_id: &str,
) -> Result<Arc<OfCall>, StoreError> {
    // First this: a webhook is written down before it looks for the call.
    let of_call = clones.answers(call);
    if store.seen_webhook(THREECX, &incoming_call(carrier_call_id)).await?.is_some() {
        let caller = store.record(carrier_call_id).await?.and_then(|record| number(&record.from));
        if let Some(caller) = caller {
            let cached = clones.voice_of(&caller, UnixMs::now()).await?;
            clones.want(call, &caller, cached.as_ref());
        }
    }
    Ok(of_call)
}

/// Word that a call of a voice provider's agent is over.
#[derive(Clone, Debug)]
pub struct PostCall {
    /// What repetitions have in common.
    pub event: String,
    /// The provider's name for the call.
    pub call_id: String,
    /// The carrier's name for it, if the provider was told.
    pub carrier_call_id: Option<String>,
    /// How long it lasted.
    pub duration_s: Option<u32>,
    /// All that was said of it.
    pub body: serde_json::Map<String, serde_json::Value>,
}

/// Writes down that a call is over, once, and closes the record of the call that the carrier announced, if there is one and it
/// has no media here. Of a call that nobody knows it is written down all the same.
pub async fn post_call(calls: &Calls, store: &Store, post_call: PostCall) -> Result<(), VoiceCloneError> {
    let at = UnixMs::now();
    let record = match &post_call.carrier_call_id {
        Some(carrier_call_id) => store.record(carrier_call_id).await?,
        None => None,
    };
    let webhook = Webhook {
        source: "elevenlabs",
        event: post_call.event,
        at,
        call: record.map(|record| record.call.to_string()),
        lookup: None,
        body: serde_json::Value::Object(post_call.body).to_string(),
        answer: String::new(),
    };
    let seen = store.see_webhook(webhook).await?;
    if let (true, Some(carrier_call_id)) = (seen.is_new, post_call.carrier_call_id) {
        let duration_s = post_call.duration_s;
        let report =
            StatusReport { carrier_call_id, status: "completed".into(), sequence: None, duration_s, at };
        calls.report(report).await?;
    }
    Ok(())
}

/// A telephone number in one form, `+31612345678`: with its country, whether written with `+` or `00`. None if it is not one.
pub fn number(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix("00").map_or_else(|| text.to_owned(), |rest| format!("+{rest}"));
    E164::parse(&text).map(|number| number.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form_however_it_is_written() {
        for written in ["+31612345678", "0031612345678", " +31 6 1234-5678 ", "+31(6)12345678"] {
            assert_eq!(number(written).as_deref(), Some("+31612345678"), "{written}");
        }
        for none in ["", "anonymous", "0612345678", "+", "00", "100", "+31612345678901234"] {
            assert_eq!(number(none), None, "{none}");
        }
    }

    struct Fixture {
        calls: Calls,
        store: Arc<Store>,
        _dir: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
        let calls = Calls::new(store.clone(), dir.path(), "s");
        Fixture { calls, store, _dir: dir }
    }

    fn new_call(carrier_call_id: &str) -> NewCall {
        NewCall {
            carrier_call_id: carrier_call_id.into(),
            from: "+31612345678".into(),
            to: "+31201234567".into(),
            body: "{}".into(),
        }
    }

    impl Fixture {
        async fn take(&self, carrier_call_id: &str) -> (String, bool) {
            let answer = |taken: &Taken| format!("{} {:?}", taken.call, taken.voice);
            let seen = take(&self.calls, &self.store, None, new_call(carrier_call_id), "s".into(), answer)
                .await
                .unwrap();
            (seen.answer, seen.is_new)
        }
    }

    fn incoming(carrier_call_id: &str) -> Incoming {
        Incoming {
            carrier: "threecx",
            carrier_call_id: carrier_call_id.into(),
            from: String::new(),
            to: String::new(),
            direction: String::new(),
            scenario: "s".into(),
            on_line: None,
        }
    }

    #[tokio::test]
    async fn a_webhook_and_its_media_are_one_call_whichever_comes_first() {
        let fixture = fixture();
        let (answer, _) = fixture.take("1001").await;
        let admitted = fixture.calls.fetched(incoming("1001"), UnixMs(1)).await;
        assert!(answer.starts_with(admitted.call.as_str()), "{answer}");

        let admitted = fixture.calls.fetched(incoming("1002"), UnixMs(1)).await;
        let (answer, is_new) = fixture.take("1002").await;
        assert!(is_new && answer.starts_with(admitted.call.as_str()), "{answer}");
        assert_eq!(fixture.store.calls(9, None).await.unwrap().len(), 2);
        assert_eq!(fixture.calls.expected(), 0, "nothing is waited for that is here already");
    }

    #[tokio::test]
    async fn ten_deliveries_at_once_are_one_call_and_one_look_up() {
        let fixture = fixture();
        let all = futures_util::future::join_all((0..10).map(|_| fixture.take("1001"))).await;
        assert_eq!(all.iter().filter(|(_, is_new)| *is_new).count(), 1);
        assert!(all.iter().all(|(answer, _)| *answer == all[0].0), "{all:?}");
        let figures = fixture.store.clone_figures().await.unwrap();
        assert_eq!((figures.calls, figures.misses), (1, 1));
        assert_eq!(fixture.store.calls(9, None).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn word_of_an_end_closes_the_record_of_a_call_whose_media_was_elsewhere_and_is_kept_of_any_call() {
        let fixture = fixture();
        fixture.take("1001").await;
        let over = |carrier_call_id: &str| PostCall {
            event: format!("conv_{carrier_call_id} completed"),
            call_id: format!("conv_{carrier_call_id}"),
            carrier_call_id: Some(carrier_call_id.into()),
            duration_s: Some(120),
            body: serde_json::Map::new(),
        };
        for _ in 0..2 {
            post_call(&fixture.calls, &fixture.store, over("1001")).await.unwrap();
            post_call(&fixture.calls, &fixture.store, over("unknown")).await.unwrap();
        }
        let record = fixture.store.record("1001").await.unwrap().unwrap();
        assert!(record.ended.is_some());
        assert_eq!(record.carrier_duration_s, Some(120));
        assert!(fixture.store.seen_webhook("elevenlabs", "conv_unknown completed").await.unwrap().is_some());
    }
}
