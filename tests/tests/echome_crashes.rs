//! A voice is made though the server is killed in any stage of it: the job goes on at the stage that was under way, and what was made
//! before is not made again.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::path::Path;
use std::time::Duration;

use offhook_fixtures::vendors::faults::Fault;
use offhook_fixtures::vendors::{FakeVendors, Vendor, is_cloned};
use offhook_tests::Server;
use offhook_tests::desk::google_client;
use offhook_tests::echome::{Owner, Programs, left, sound, variables};
use offhook_tests::server::PATIENCE;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const FLAGS: [&str; 2] = ["--speech", "keypad"];
const VIDEO: &str = "dQw4w9WgXcQ";

/// Programs that note each start in a file, and wait while a file says so.
fn programs() -> Programs {
    let programs = Programs::in_place();
    programs.write(
        "yt-dlp",
        "while [ $# -gt 0 ]; do case $1 in --paths) out=$2;; esac; shift; done\n\
         here=$(dirname \"$0\"); echo fetch >> \"$here/started\"\n\
         echo half > \"$out/video.wav.part\"\n\
         while [ -e \"$here/hold-fetch\" ]; do sleep 0.05; done\n\
         cp \"$here/speech.wav\" \"$out/video.wav\"; echo \"$out/video.wav\"\n",
    );
    programs.write(
        "ffmpeg",
        "here=$(dirname \"$0\"); while [ $# -gt 1 ]; do case $1 in -i) in=$2;; esac; shift; done\n\
         echo extract >> \"$here/started\"; echo half > \"$1\"\n\
         while [ -e \"$here/hold-extract\" ]; do sleep 0.05; done\n\
         cp \"$in\" \"$1\"\n",
    );
    programs
}

struct House {
    fakes: FakeVendors,
    programs: Programs,
}

impl House {
    async fn build() -> Self {
        Self { fakes: FakeVendors::start().await, programs: programs() }
    }

    async fn server(&self, before: Option<Server>) -> Server {
        let paths = [self.programs.path("yt-dlp"), self.programs.path("ffmpeg")];
        let elevenlabs = self.fakes.base_url(Vendor::ElevenLabs);
        let variables = [&google_client()[..], &variables(&paths, &elevenlabs)].concat();
        match before {
            Some(dead) => Server::start_on(dead.data(), &FLAGS, &variables).await,
            None => Server::start_with(&FLAGS, &variables).await,
        }
    }

    /// How often a program was started.
    fn started(&self, what: &str) -> usize {
        let started = std::fs::read_to_string(self.programs.path("started")).unwrap_or_default();
        started.lines().filter(|line| *line == what).count()
    }

    fn hold(&self, what: &str, is_held: bool) {
        let path = self.programs.path(&format!("hold-{what}"));
        match is_held {
            true => std::fs::write(path, "").unwrap(),
            false => std::fs::remove_file(path).unwrap(),
        }
    }

    /// How often ElevenLabs was asked for this.
    fn asked(&self, path: &str) -> usize {
        self.fakes.requests().iter().filter(|asked| asked.path.contains(path)).count()
    }
}

async fn until(what: &str, there: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < give_up, "it never came to that: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The server is killed, and another one goes on with the job to its end: the voice is there, it is the maker's, and nothing is left.
async fn goes_on(house: &House, mut server: Server, bearer: String, job: &str, release: impl Fn()) -> Value {
    server.kill();
    let data = server.data();
    let server = house.server(Some(server)).await;
    release();
    let owner = Owner { server: &server, bearer };
    let status = owner.status(job, &["completed", "failed"]).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    let made = house.fakes.made_voices();
    let voice = &status["result"]["voice_id"];
    assert!(made.iter().any(|made| *voice == json!(made.id)), "{voice} is none of {made:?}");
    let url = status["result"]["audio_sample_url"].as_str().unwrap();
    assert!(is_cloned(&sound(&server, url).await, 8_000));
    until("the job's folder is gone", || left(&server).is_empty()).await;
    assert!(Path::new(data.path()).is_dir());
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_video_is_fetched() {
    let house = House::build().await;
    house.hold("fetch", true);
    let server = house.server(None).await;
    let owner = Owner::of(&server).await;
    let (job, _) = owner.clone(VIDEO).await;
    until("yt-dlp runs", || house.started("fetch") == 1).await;
    let bearer = owner.bearer.clone();
    let again = || house.hold("fetch", false);
    goes_on(&house, server, bearer, &job, again).await;
    assert_eq!(
        (house.started("fetch"), house.started("extract"), house.fakes.made_voices().len()),
        (2, 1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_sound_is_extracted() {
    let house = House::build().await;
    house.hold("extract", true);
    let server = house.server(None).await;
    let owner = Owner::of(&server).await;
    let (job, _) = owner.clone(VIDEO).await;
    until("ffmpeg runs", || house.started("extract") == 1).await;
    let stage = owner.get(&format!("/api/voice/status/{job}")).await;
    assert_eq!(stage["stage"], "extracting_audio", "{stage:#}");
    let bearer = owner.bearer.clone();
    // Both ffmpegs end at once: the one of the dead server harms nobody.
    goes_on(&house, server, bearer, &job, || house.hold("extract", false)).await;
    assert_eq!((house.started("fetch"), house.started("extract")), (1, 2), "what was fetched is there");
    assert_eq!(house.fakes.made_voices().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_maker_is_asked_for_a_voice() {
    let house = House::build().await;
    house.fakes.fail("/elevenlabs/v1/voices/add", 1, Fault::parse("latency=60s").unwrap());
    let server = house.server(None).await;
    let owner = Owner::of(&server).await;
    let (job, _) = owner.clone(VIDEO).await;
    until("ElevenLabs is asked", || house.asked("/v1/voices/add") == 1).await;
    let bearer = owner.bearer.clone();
    let status = goes_on(&house, server, bearer, &job, || {}).await;
    assert_eq!((house.started("fetch"), house.started("extract")), (1, 1), "its speech was chosen before");
    assert_eq!(house.asked("/v1/voices/add"), 2);
    assert!(status["result"]["duration_seconds"].as_u64().unwrap() >= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_voice_says_its_first_sentence() {
    let house = House::build().await;
    house.fakes.fail("/elevenlabs/v1/text-to-speech", 1, Fault::parse("latency=60s").unwrap());
    let server = house.server(None).await;
    let owner = Owner::of(&server).await;
    let (job, _) = owner.clone(VIDEO).await;
    until("the voice is asked", || house.asked("/v1/text-to-speech") == 1).await;
    let bearer = owner.bearer.clone();
    goes_on(&house, server, bearer, &job, || {}).await;
    assert_eq!((house.started("fetch"), house.started("extract")), (1, 1));
    assert_eq!(house.asked("/v1/voices/add"), 1, "the voice that was made is the one that is kept");
}
