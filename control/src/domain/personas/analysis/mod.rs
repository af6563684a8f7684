//! The job that finds out what somebody said in videos, and how they speak.
//!
//! ```text
//! videos ─fetch→ sound ─choose→ speech in pieces ─recogniser→ transcript ─model, or counted→ profile
//! ```
//!
//! It follows on the making of a voice, and may be asked for again with more videos. What a stage made stands in the job's own
//! folder: after a crash it goes on there, and no piece that was written down is asked for twice. The profile is made of all that
//! is known then. With a key of the owner's, or the server's, a model makes it; without one, or when it cannot be asked, what can
//! be counted is, and the rest stays empty: the persona says which way it was made.

mod counted;
mod modelled;
mod pieces;
mod transcript;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use self::modelled::Modelled;
use self::transcript::Transcripts;
use super::sound::Sounds;
use super::work::{Stopped, Task, Workshop};
use super::{Analysed, MergeStrategy, Persona, ProfileSource, Words};
use crate::domain::api_keys::{ApiKeys, KeyService};
use crate::domain::jobs::{Job, Outcome, Policy, Work};
use crate::domain::speech::Transcribers;
use crate::domain::time::UnixMs;
use crate::domain::user_jobs::{UnderWay, UserJob, UserJobKind, UserJobs};
use crate::domain::user_model::{ModelError, UserModel};
use crate::integrations::video::Video;
use crate::store::Store;

/// How often a model is asked before this machine counts what it can.
const MODEL_TRIES: u32 = 4;
/// The longest transcript, in characters: twenty hours of talk. Of a longer one the beginning falls away.
const TRANSCRIPT_MAX: usize = 1_000_000;

/// Analyses personas.
pub struct Analysis {
    shop: Workshop,
    keys: Arc<ApiKeys>,
    transcripts: Transcripts,
    model: UserModel,
}

impl Analysis {
    /// `data_dir`: where jobs have their folders.
    pub fn new(
        store: Arc<Store>,
        jobs: Arc<UserJobs>,
        keys: Arc<ApiKeys>,
        (sounds, transcribers): (Sounds, Transcribers),
        model: UserModel,
        data_dir: &Path,
    ) -> Self {
        let shop = Workshop::new(store, jobs, data_dir);
        Self { shop, keys, transcripts: Transcripts::new(sounds, transcribers), model }
    }

    async fn analyse(
        &self,
        job: &UserJob,
        doing: &UnderWay,
        folder: &Path,
        tries: u32,
    ) -> Result<(), Stopped> {
        let persona = self.shop.persona_of(job).await?;
        let known = self.shop.store.persona_words(&persona.id).await?;
        let plan = Plan::of(&job.metadata, &persona, known);
        let mut words = plan.kept;
        if !plan.videos.is_empty() {
            let language = &persona.language;
            let new = self.transcripts.of(doing, &plan.videos, language, folder).await?;
            words.transcript = [words.transcript, new].join("\n\n").trim().to_owned();
            words.videos.extend(plan.videos.iter().map(|video| video.id().to_owned()));
        }
        bound(&mut words.transcript);
        doing.stage("extracting_persona", 85).await?;
        let made = self.profile(&persona, words.transcript.clone(), tries);
        let (Modelled { profile, role }, source) =
            doing.unless_cancelled(made).await.ok_or(Stopped::Cancelled)??;
        let result = json!({
            "persona_id": persona.id,
            "profile_source": source.as_str(),
            "videos": words.videos,
            "words": counted::count_words(&words.transcript),
        });
        let found = Analysed { persona: persona.id, words, profile, source, role };
        // All that follows on an analysis stands in this transaction.
        let is_wanted = self.shop.store.persona_analysed(found, &job.id, result, UnixMs::now()).await?;
        if is_wanted { Ok(()) } else { Err(Stopped::Cancelled) }
    }

    /// What a persona's words tell.
    async fn profile(
        &self,
        persona: &Persona,
        transcript: String,
        tries: u32,
    ) -> Result<(Modelled, ProfileSource), Stopped> {
        let text = transcript.clone();
        let counted = tokio::task::spawn_blocking(move || counted::profile(&text)).await?;
        let own = self.keys.of(&persona.owner, KeyService::OpenAi).await?;
        if let Some(access) = self.model.access(own) {
            match modelled::profile(&self.model, &access, &transcript, &counted).await {
                Ok(made) => return Ok((made, ProfileSource::Model)),
                Err(ModelError::Failed(error)) if tries < MODEL_TRIES => {
                    return Err(Stopped::Later(format!("the model: {error}")));
                }
                Err(error) => {
                    tracing::warn!(persona = persona.id, %error, "a persona is analysed without a model");
                }
            }
        }
        Ok((Modelled { profile: counted, role: None }, ProfileSource::Counted))
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Words that stay.
    kept: Words,
    /// Videos whose words are added.
    videos: Vec<Video>,
}

impl Plan {
    /// `known`: what the persona is known to have said. Without any of it, its own video comes first.
    fn of(metadata: &Value, persona: &Persona, known: Words) -> Self {
        let additional = metadata["additional_youtube_urls"].as_array().into_iter().flatten();
        let mut additional: Vec<Video> =
            additional.filter_map(|url| Video::of_url(url.as_str().unwrap_or_default())).collect();
        let strategy = metadata["merge_strategy"].as_str().and_then(MergeStrategy::from_text);
        let replaces = strategy == Some(MergeStrategy::Replace) && !additional.is_empty();
        let kept = if replaces { Words::default() } else { known };
        if kept.transcript.is_empty() && !replaces {
            additional.splice(0..0, Video::of_url(&persona.video));
        }
        let mut videos: Vec<Video> = Vec::new();
        for video in additional {
            // The same words twice would count twice.
            if !videos.contains(&video) && !kept.videos.iter().any(|id| id == video.id()) {
                videos.push(video);
            }
        }
        Self { kept, videos }
    }
}

/// Cuts the beginning off, if there is too much.
fn bound(transcript: &mut String) {
    let count = transcript.chars().count();
    if count > TRANSCRIPT_MAX {
        *transcript = transcript.chars().skip(count - TRANSCRIPT_MAX).collect();
    }
}

/// One try.
struct Attempt<'s>(&'s Analysis, u32);

impl Task for Attempt<'_> {
    fn attempt<'a>(
        &'a self,
        job: &'a UserJob,
        doing: &'a UnderWay,
        folder: &'a Path,
    ) -> BoxFuture<'a, Result<(), Stopped>> {
        self.0.analyse(job, doing, folder, self.1).boxed()
    }
}

impl Work for Analysis {
    fn kind(&self) -> &'static str {
        UserJobKind::PersonaAnalysis.as_str()
    }

    fn policy(&self) -> Policy {
        Policy {
            base: Duration::from_secs(10),
            factor: 4.0,
            cap: Duration::from_secs(600),
            tries_max: Some(MODEL_TRIES + 1),
            give_up_after: Duration::from_secs(24 * 3_600),
        }
    }

    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome> {
        async move { self.shop.work_on(&Attempt(self, job.tries), job).await }.boxed()
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> BoxFuture<'a, ()> {
        self.shop.give_up(job, reason).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://youtu.be/dQw4w9WgXcQ";
    const OTHER: &str = "https://www.youtube.com/watch?v=other000000";

    fn persona() -> Persona {
        Persona {
            id: "p".into(),
            owner: "o".into(),
            name: "John".into(),
            role: None,
            video: OWN.into(),
            language: "en".into(),
            voice: None,
            profile: serde_json::Map::new(),
            overrides: serde_json::Map::new(),
            created: UnixMs(0),
            updated: UnixMs(0),
        }
    }

    /// The words that stay, and the videos that are added.
    fn planned(urls: &[&str], strategy: &str, known: &Words) -> (String, Vec<String>) {
        let metadata = json!({ "additional_youtube_urls": urls, "merge_strategy": strategy });
        let Plan { kept, videos } = Plan::of(&metadata, &persona(), known.clone());
        (kept.transcript, videos.iter().map(|video| video.id().to_owned()).collect())
    }

    #[test]
    fn what_is_added_replaced_or_looked_at_anew_is_as_the_strategy_says() {
        let known = Words { transcript: "Hello.".into(), videos: vec!["dQw4w9WgXcQ".into()] };
        let (none, own, other) = (Words::default(), "dQw4w9WgXcQ", "other000000");
        for (urls, strategy, known, kept, videos) in [
            (&[][..], "append", &none, "", &[own][..]),
            (&[OTHER], "append", &none, "", &[own, other]),
            (&[OTHER, OTHER], "append", &known, "Hello.", &[other]),
            (&[OWN], "append", &known, "Hello.", &[]),
            (&[], "append", &known, "Hello.", &[]),
            (&[OTHER], "replace", &known, "", &[other]),
            (&[OWN], "replace", &known, "", &[own]),
            (&[], "replace", &known, "Hello.", &[]),
            (&[], "replace", &none, "", &[own]),
            (&["nonsense"], "nonsense", &known, "Hello.", &[]),
        ] {
            let planned = planned(urls, strategy, known);
            let ids: Vec<&str> = planned.1.iter().map(String::as_str).collect();
            assert_eq!((planned.0.as_str(), ids.as_slice()), (kept, videos), "{urls:?} {strategy}");
        }
    }

    #[test]
    fn of_a_transcript_that_is_too_long_the_end_stays() {
        let mut long = format!("first {} last", "\u{e9}".repeat(TRANSCRIPT_MAX));
        bound(&mut long);
        assert!(long.ends_with(" last") && long.chars().count() == TRANSCRIPT_MAX);
    }
}
