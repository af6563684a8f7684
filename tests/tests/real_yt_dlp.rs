//! Voices made of videos by the real yt-dlp and ffmpeg, of a page that a double of a site serves on loopback.
//!
//! yt-dlp is the one on `PATH`, else PyPI's in a virtual environment of its own under `target`; ffmpeg is the one on `PATH`, else the one
//! in PyPI's `imageio-ffmpeg`. Where neither can be had, the tests say so and are passed over.

#![expect(clippy::unwrap_used, reason = "what these tests ask for must be there, or they fail")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use hyper::Method;
use offhook_codecs::{SampleRate, ogg, opus};
use offhook_fixtures::vendors::{FakeVendors, Vendor, is_cloned};
use offhook_fixtures::videos::VideoSite;
use offhook_tests::desk::google_client;
use offhook_tests::echome::{BASE, Owner, left, sound, variables};
use offhook_tests::server::PATIENCE;
use offhook_tests::{Server, audio};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const FLAGS: [&str; 2] = ["--speech", "keypad"];
const VIDEO: &str = "dQw4w9WgXcQ";

/// yt-dlp and ffmpeg; none, and it is said why, where they cannot be had.
fn tools() -> Option<[String; 2]> {
    static TOOLS: OnceLock<Result<[String; 2], String>> = OnceLock::new();
    match TOOLS.get_or_init(found) {
        Ok(tools) => Some(tools.clone()),
        Err(why) => {
            // Not `println!`: what that says is shown of tests that fail alone.
            let _ = writeln!(std::io::stderr(), "skipped, no voice is made by the real programs: {why}");
            None
        }
    }
}

fn found() -> Result<[String; 2], String> {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("yt-dlp");
    let yt_dlp = match on_path("yt-dlp") {
        Some(path) => path,
        None => installed(&own, "yt-dlp")?.join("bin/yt-dlp"),
    };
    let ffmpeg = match on_path("ffmpeg") {
        Some(path) => path,
        None => {
            let program = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
            let python = installed(&own, "imageio-ffmpeg")?.join("bin/python");
            said(Command::new(python).args(["-c", program]))?.trim().into()
        }
    };
    for (program, argument) in [(&yt_dlp, "--version"), (&ffmpeg, "-version")] {
        said(Command::new(program).arg(argument))?;
    }
    Ok([yt_dlp, ffmpeg].map(|path| path.to_str().unwrap().to_owned()))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Installs a package of PyPI's into a virtual environment, unless it is there.
fn installed(environment: &Path, package: &str) -> Result<PathBuf, String> {
    let pip = environment.join("bin/pip");
    if !pip.is_file() {
        said(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    }
    said(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", package]))?;
    Ok(environment.to_owned())
}

/// What a program says, if it ends well.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{command:?}: {}", text(&output.stderr))),
    }
}

/// Speech as a site has it: Ogg with Opus.
fn speech() -> Vec<u8> {
    let samples = audio::wide_speech(Duration::from_secs(25));
    ogg::encode(Vec::new(), &samples, SampleRate::HZ_16000, &opus::Settings::default(), &[]).unwrap()
}

struct House {
    fakes: FakeVendors,
    site: VideoSite,
    variables: Vec<(String, String)>,
}

impl House {
    async fn build(tools: &[String; 2]) -> Self {
        let (fakes, site) = (FakeVendors::start().await, VideoSite::start().await);
        let (elevenlabs, url) = (fakes.base_url(Vendor::ElevenLabs), site.url());
        let all =
            [&google_client()[..], &variables(tools, &elevenlabs), &[("OFFHOOK_VIDEO_URL", url.as_str())]];
        let owned = all.concat().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { variables: owned.collect(), fakes, site }
    }

    fn borrowed(&self) -> Vec<(&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    async fn server(&self) -> Server {
        Server::start_with(&FLAGS, &self.borrowed()).await
    }

    /// Waits until the file of a video is asked for.
    async fn file_is_asked_for(&self, id: &str) {
        let path = format!("/file/{id}");
        let give_up = Instant::now() + PATIENCE;
        while !self.site.asked().contains(&path) {
            assert!(Instant::now() < give_up, "yt-dlp asked for {:?} alone", self.site.asked());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The programs that run with a server's data folder among their arguments.
fn running_for(server: &Server) -> Vec<String> {
    let folder = server.data().path().join("work").to_str().unwrap().to_owned();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let commands = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let texts = commands.map(|command| String::from_utf8_lossy(&command).replace('\0', " "));
    texts.filter(|command| command.contains(&folder)).collect()
}

/// Waits until no program runs and no job has a folder any more.
async fn all_is_tidy(server: &Server) {
    let give_up = Instant::now() + PATIENCE;
    while !running_for(server).is_empty() || !left(server).is_empty() {
        assert!(Instant::now() < give_up, "{:?} {:?}", running_for(server), left(server));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_is_made_of_the_video_of_a_page() {
    let Some(tools) = tools() else { return };
    let house = House::build(&tools).await;
    house.site.add(VIDEO, "audio/ogg", speech());
    let server = house.server().await;
    let owner = Owner::of(&server).await;
    let (job, persona) = owner.clone(VIDEO).await;
    let status = owner.status(&job, &["completed", "failed"]).await;
    assert_eq!((&status["status"], &status["result"]["persona_id"]), (&json!("completed"), &json!(persona)));
    assert!(house.site.asked().contains(&format!("/file/{VIDEO}")), "{:?}", house.site.asked());
    let made = house.fakes.made_voices();
    assert_eq!((made.len(), &status["result"]["voice_id"]), (1, &json!(made[0].id)));
    assert!(made[0].speech.len() > 10 * 32_000, "ten seconds of speech at 16 kHz");
    let sample = sound(&server, status["result"]["audio_sample_url"].as_str().unwrap()).await;
    assert!(is_cloned(&sample, 8_000), "in the voice that was made");
    all_is_tidy(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_video_fails_with_its_code() {
    let Some(tools) = tools() else { return };
    let house = House::build(&tools).await;
    house.site.add_page("pagealone00");
    house.site.add("nosound0000", "audio/ogg", &b"this is no sound"[..]);
    let server = house.server().await;
    let owner = Owner::of(&server).await;
    for (video, code, words) in [
        ("removed0000", "video_unavailable", "404"),
        ("pagealone00", "job_failed", "Unsupported URL"),
        ("nosound0000", "job_failed", "sound cannot be read"),
    ] {
        let (job, _) = owner.clone(video).await;
        let status = owner.status(&job, &["completed", "failed"]).await;
        assert_eq!(status["error"]["code"], code, "{video}: {status:#}");
        let message = status["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{video}: {message}");
    }
    assert!(house.fakes.made_voices().is_empty());
    all_is_tidy(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_called_off_ends_its_program_and_leaves_nothing() {
    let Some(tools) = tools() else { return };
    let house = House::build(&tools).await;
    house.site.add(VIDEO, "audio/ogg", speech());
    house.site.hold(true);
    let server = house.server().await;
    let owner = Owner::of(&server).await;
    let (job, _) = owner.clone(VIDEO).await;
    house.file_is_asked_for(VIDEO).await;
    assert!(!running_for(&server).is_empty(), "it is looked for in the right place");
    let cancelled = owner.ask(Method::POST, &format!("/api/jobs/{job}/cancel"), &Value::Null).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    all_is_tidy(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_after_the_server_was_killed_while_yt_dlp_fetched() {
    let Some(tools) = tools() else { return };
    let house = House::build(&tools).await;
    house.site.add(VIDEO, "audio/ogg", speech());
    house.site.hold(true);
    let mut server = house.server().await;
    let owner = Owner::of(&server).await;
    let (job, _) = owner.clone(VIDEO).await;
    house.file_is_asked_for(VIDEO).await;
    let bearer = owner.bearer.clone();
    server.kill();
    house.site.hold(false);
    let server = Server::start_on(server.data(), &FLAGS, &house.borrowed()).await;
    let owner = Owner { server: &server, bearer };
    let status = owner.status(&job, &["completed", "failed"]).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    assert_eq!(house.fakes.made_voices().len(), 1, "once");
    all_is_tidy(&server).await;
    let url = status["result"]["audio_sample_url"].as_str().unwrap();
    assert!(url.contains(BASE) && is_cloned(&sound(&server, url).await, 8_000));
}
