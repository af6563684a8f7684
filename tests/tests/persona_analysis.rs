//! How a persona speaks, found out over real sockets: doubles of yt-dlp, ffmpeg, recognisers and a model.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::time::Duration;

use hyper::Method;
use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{Asked, FakeVendors, Vendor};
use offhook_tests::Server;
use offhook_tests::desk::google_client;
use offhook_tests::echome::{Owner, Programs, nothing_left, profile, server, variables};
use serde_json::{Value, json};
use tokio::time::sleep;

/// As yt-dlp is to be found, but that it notes how often it fetches: a letter each time.
const FETCHES: &str = "while [ $# -gt 0 ]; do case $1 in --paths) out=$2;; esac; shift; done\n\
                       here=$(dirname \"$0\"); printf x >> \"$here/fetches\"\n\
                       while [ ! -e \"$here/go\" ]; do sleep 0.05; done\n\
                       cp \"$here/speech.wav\" \"$out/video.wav\"; echo \"$out/video.wav\"\n";

/// A server's outside: its programs, and doubles of the vendors.
struct Outside {
    fakes: FakeVendors,
    programs: Programs,
    paths: [String; 2],
    bases: [String; 3],
}

impl Outside {
    async fn new() -> Self {
        let (fakes, programs) = (FakeVendors::start().await, Programs::in_place());
        programs.write("yt-dlp", FETCHES);
        programs.go();
        let paths = [programs.path("yt-dlp"), programs.path("ffmpeg")];
        let bases =
            [Vendor::ElevenLabs, Vendor::OpenAi, Vendor::Deepgram].map(|vendor| fakes.base_url(vendor));
        Self { fakes, programs, paths, bases }
    }

    /// The settings of a server in it. `ears`: `OFFHOOK_EARS`. `model`: whether there is a key for it.
    fn settings<'a>(&'a self, ears: &'a str, model: bool) -> Vec<(&'a str, &'a str)> {
        let mut settings = variables(&self.paths, &self.bases[0]).to_vec();
        settings.extend([
            ("OFFHOOK_OPENAI_BASE_URL", self.bases[1].as_str()),
            ("OFFHOOK_DEEPGRAM_BASE_URL", &self.bases[2]),
            ("DEEPGRAM_API_KEY", "k"),
            ("OFFHOOK_EARS", ears),
        ]);
        if model {
            settings.push(("OPENAI_API_KEY", "sk-test"));
        }
        settings
    }

    fn fetches(&self) -> usize {
        std::fs::read(self.programs.path("fetches")).map_or(0, |letters| letters.len())
    }

    /// What was asked at paths that end so.
    fn asked(&self, path: &str) -> Vec<Asked> {
        self.fakes.requests().into_iter().filter(|asked| asked.path.ends_with(path)).collect()
    }

    /// Waits until a path that ends so was asked so often.
    async fn was_asked(&self, path: &str, times: usize) {
        for _ in 0..600 {
            if self.asked(path).len() >= times {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("{path} is not asked {times} times");
    }

    /// What the model was last shown.
    fn shown_last(&self) -> String {
        let asked = self.asked("/v1/chat/completions");
        asked.last().unwrap().body["messages"][1]["content"].as_str().unwrap().to_owned()
    }
}

/// The id of the analysis that follows on the making of a voice.
fn analysis_after(job: &str) -> String {
    job.replace("job_voice_", "job_persona_")
}

/// A job, once `wanted` is true of it.
async fn job_when(owner: &Owner<'_>, job: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..600 {
        let answer = owner.ask(Method::GET, &format!("/api/jobs/{job}"), &Value::Null).await;
        // The first analysis is there once the voice is.
        if answer.status == 200 && wanted(&answer.json()) {
            return answer.json();
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{job} stays as it is");
}

async fn over(owner: &Owner<'_>, job: &str) -> Value {
    job_when(owner, job, |seen| ["completed", "failed"].contains(&seen["status"].as_str().unwrap())).await
}

/// Has a persona analysed; the job.
async fn reanalyze(owner: &Owner<'_>, persona: &str, body: &Value) -> String {
    let started = owner.ask(Method::POST, &format!("/api/persona/{persona}/reanalyze"), body).await;
    assert_eq!(started.status, 202, "{}", started.text());
    let started = started.json();
    assert_eq!(
        (&started["status"], &started["message"]),
        (&json!("pending"), &json!("Persona re-analysis started"))
    );
    started["job_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persona_is_analysed_once_it_has_its_voice_and_anew_when_asked() {
    let outside = Outside::new().await;
    let fakes = &outside.fakes;
    fakes.transcribe(["Hey there! Um, let me tell you. Take care!"]);
    fakes.answer(&json!({ "content": profile("Let me tell you").to_string() })).unwrap();
    let server = server(&outside.settings("openai", true)).await;
    let owner = Owner::of(&server).await;
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    let seen = over(&owner, &analysis_after(&job)).await;
    assert_eq!(
        (&seen["status"], &seen["type"]),
        (&json!("completed"), &json!("persona_analysis")),
        "{seen:#}"
    );
    assert_eq!(
        (&seen["metadata"]["profile_source"], &seen["metadata"]["persona_id"]),
        (&json!("model"), &json!(persona))
    );
    assert_eq!(outside.fetches(), 1, "what was fetched for the voice is heard");
    let seen = owner.get(&format!("/api/persona/{persona}")).await;
    assert_eq!((&seen["role"], &seen["status"]), (&json!("Founder"), &json!("active")));
    let mut found = profile("Let me tell you");
    found.as_object_mut().unwrap().remove("role");
    assert_eq!(seen["profile"]["auto_extracted"], found);
    nothing_left(&server).await;

    let overrides = json!({ "manual_overrides": { "dos": ["Ask first"] } });
    let changed = owner.ask(Method::PATCH, &format!("/api/persona/{persona}"), &overrides).await;
    assert_eq!(changed.status, 200);
    for (body, said, stays, fetches) in [
        (json!({ "additional_youtube_urls": ["https://youtu.be/another0000"] }), "More of me.", true, 2),
        (
            json!({ "additional_youtube_urls": ["https://youtu.be/new00000000"], "merge_strategy": "replace" }),
            "Only this.",
            false,
            3,
        ),
    ] {
        fakes.transcribe([said]);
        fakes.answer(&json!({ "content": profile(said).to_string() })).unwrap();
        let job = reanalyze(&owner, &persona, &body).await;
        assert_eq!(over(&owner, &job).await["status"], "completed");
        let shown = outside.shown_last();
        assert_eq!((shown.contains(said), shown.contains("Hey there!")), (true, stays), "{shown}");
        assert_eq!(outside.fetches(), fetches);
    }
    fakes.answer(&json!({ "content": profile("Anew").to_string() })).unwrap();
    let job = reanalyze(&owner, &persona, &Value::Null).await;
    let seen = over(&owner, &job).await;
    assert_eq!((&seen["metadata"]["videos"], outside.fetches()), (&json!(["new00000000"]), 3));
    let seen = owner.get(&format!("/api/persona/{persona}")).await;
    assert_eq!(seen["profile"]["auto_extracted"]["speech_patterns"]["catchphrases"], json!(["Anew"]));
    assert_eq!(
        seen["profile"]["manual_overrides"]["dos"],
        json!(["Ask first"]),
        "what the owner says stands"
    );
    nothing_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_it_is_counted_and_without_a_recogniser_it_is_said_what_is_missing() {
    let outside = Outside::new().await;
    outside.fakes.deepgram(["Hello everyone. Um, this pen is, um, good. Thanks for watching!"]);
    let server_with_ears = server(&outside.settings("deepgram", false)).await;
    let owner = Owner::of(&server_with_ears).await;
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    let seen = over(&owner, &analysis_after(&job)).await;
    assert_eq!(seen["metadata"]["profile_source"], "counted", "{seen:#}");
    let found = owner.get(&format!("/api/persona/{persona}")).await["profile"]["auto_extracted"].clone();
    assert_eq!(found["speech_patterns"]["filler_words"], json!(["um"]));
    assert_eq!(found["greeting_closing"]["typical_greetings"], json!(["Hello everyone."]));
    assert_eq!(found["greeting_closing"]["typical_closings"], json!(["Thanks for watching!"]));
    assert_eq!((&found["tone"]["energy"], &found["selling_style"]["approach"]), (&json!(""), &json!("")));

    // A recogniser that does not accept the key ends it, and what was found stays.
    outside.fakes.fail("/deepgram/v1/listen", 1, Fault { status: Some(401), ..Fault::default() });
    let more = json!({ "additional_youtube_urls": ["https://youtu.be/another0000"] });
    let seen = over(&owner, &reanalyze(&owner, &persona, &more).await).await;
    assert_eq!(
        (&seen["status"], &seen["metadata"]["error"]["code"]),
        (&json!("failed"), &json!("external_api_error")),
        "{seen:#}"
    );
    let stays = owner.get(&format!("/api/persona/{persona}")).await["profile"]["auto_extracted"].clone();
    assert_eq!(stays, found);

    let server_without = server(&variables(&outside.paths, &outside.bases[0])).await;
    let owner = Owner::of(&server_without).await;
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    let seen = over(&owner, &analysis_after(&job)).await;
    let error = &seen["metadata"]["error"];
    assert_eq!((&seen["status"], &error["code"]), (&json!("failed"), &json!("job_failed")), "{seen:#}");
    assert!(error["message"].as_str().unwrap().contains("OFFHOOK_EARS"), "{error}");
    assert_eq!(owner.get(&format!("/api/persona/{persona}")).await["status"], "active", "it has its voice");
    nothing_left(&server_without).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_analysed_is_refused_and_says_why() {
    let outside = Outside::new().await;
    outside.programs.write("yt-dlp", "echo 'ERROR: [youtube] x: Private video' >&2; exit 1\n");
    let server = server(&outside.settings("openai", true)).await;
    let owner = Owner::of(&server).await;
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    owner.status(&job, &["failed"]).await;
    let other = "persona_01a21773-6777-72b0-b6bb-6a2c0c6b0eb4";
    for (persona, body, status, error) in [
        (persona.as_str(), json!({}), 409, "conflict"),
        (&persona, json!({ "additional_youtube_urls": ["https://vimeo.com/1"] }), 400, "invalid_url"),
        (&persona, json!({ "merge_strategy": "mix" }), 400, "invalid_input"),
        (&persona, json!({ "additional_youtube_urls": "x" }), 400, "invalid_input"),
        (other, json!({}), 404, "resource_not_found"),
    ] {
        let refused = owner.ask(Method::POST, &format!("/api/persona/{persona}/reanalyze"), &body).await;
        assert_eq!((refused.status, &refused.json()["error"]), (status, &json!(error)), "{}", refused.text());
    }
}

/// A fault that holds a request up for longer than a test takes.
fn held() -> Fault {
    Fault { latency: Duration::from_secs(120), ..Fault::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_that_is_called_off_ends_at_once_and_leaves_nothing() {
    let outside = Outside::new().await;
    outside.fakes.fail("/openai/v1/audio/transcriptions", 1, held());
    let server = server(&outside.settings("openai", true)).await;
    let owner = Owner::of(&server).await;
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    let analysis = analysis_after(&job);
    outside.was_asked("/v1/audio/transcriptions", 1).await;
    let seen = owner.get(&format!("/api/jobs/{analysis}")).await;
    assert_eq!(seen["status"], "processing", "{seen:#}");
    let cancelled = owner.ask(Method::POST, &format!("/api/jobs/{analysis}/cancel"), &Value::Null).await;
    assert_eq!((cancelled.status, &cancelled.json()["status"]), (200, &json!("cancelled")));
    nothing_left(&server).await;
    let seen = owner.get(&format!("/api/persona/{persona}")).await;
    assert_eq!(seen["profile"]["auto_extracted"]["tone"]["energy"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_goes_on_at_its_stage_after_the_server_was_killed() {
    let outside = Outside::new().await;
    let settings = outside.settings("openai", true);
    outside.fakes.fail("/openai/v1/audio/transcriptions", 1, held());
    let mut first = server(&settings).await;
    let owner = Owner::of(&first).await;
    let (job, persona) = owner.clone("dQw4w9WgXcQ").await;
    let analysis = analysis_after(&job);
    // In the middle of writing down what is said.
    outside.was_asked("/v1/audio/transcriptions", 1).await;
    let seen = owner.get(&format!("/api/jobs/{analysis}")).await;
    assert_eq!(seen["metadata"]["stage"], "transcribing_speech", "{seen:#}");
    let bearer = owner.bearer.clone();
    first.kill();
    outside.fakes.transcribe(["Hey there!"]);
    // In the middle of asking the model.
    outside.fakes.fail("/openai/v1/chat/completions", 1, held());
    let all = [&google_client()[..], &settings].concat();
    let mut second = Server::start_on(first.data(), &["--speech", "keypad"], &all).await;
    let owner = Owner { server: &second, bearer: bearer.clone() };
    outside.was_asked("/v1/chat/completions", 1).await;
    let seen = owner.get(&format!("/api/jobs/{analysis}")).await;
    assert_eq!(seen["metadata"]["stage"], "extracting_persona", "{seen:#}");
    second.kill();
    let written_down = outside.asked("/v1/audio/transcriptions").len();
    outside.fakes.answer(&json!({ "content": profile("Hey").to_string() })).unwrap();
    let third = Server::start_on(first.data(), &["--speech", "keypad"], &all).await;
    let owner = Owner { server: &third, bearer: bearer.clone() };
    let seen = over(&owner, &analysis).await;
    assert_eq!(
        (&seen["status"], &seen["metadata"]["profile_source"]),
        (&json!("completed"), &json!("model"))
    );
    assert_eq!(outside.asked("/v1/audio/transcriptions").len(), written_down, "it is written down once");
    assert_eq!(outside.fetches(), 1, "it is fetched once");
    nothing_left(&third).await;

    // In the middle of fetching.
    std::fs::remove_file(outside.programs.path("go")).unwrap();
    let more = json!({ "additional_youtube_urls": ["https://youtu.be/another0000"] });
    let again = reanalyze(&owner, &persona, &more).await;
    while outside.fetches() < 2 {
        sleep(Duration::from_millis(20)).await;
    }
    let mut third = third;
    third.kill();
    outside.programs.go();
    outside.fakes.transcribe(["More of me."]);
    outside.fakes.answer(&json!({ "content": profile("More").to_string() })).unwrap();
    let fourth = Server::start_on(first.data(), &["--speech", "keypad"], &all).await;
    let owner = Owner { server: &fourth, bearer };
    assert_eq!(over(&owner, &again).await["status"], "completed");
    assert!(outside.shown_last().contains("Hey there!"), "with what was known");
    nothing_left(&fourth).await;
}
