//! `offhook doctor`: checks what a server needs, and says what is missing and what to do about it.

mod outgoing;

use std::future::Future;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use offhook_engine::call::Failure;
use offhook_engine::speech::stt::pocketsphinx::Pocketsphinx;
use offhook_engine::speech::tts::flite::Flite;

use crate::domain::agent::Model;
use crate::domain::speech::{LOCAL, load_scenario, vendors};
use crate::domain::speech_to_speech::Duplex;
use crate::domain::time::Span;
use crate::integrations::google::calendar::CalendarError;
use crate::integrations::openai::Waits;
use crate::integrations::threecx::ThreeCx;
use crate::integrations::vendor::{Spoken, VendorError, Voice};
use crate::integrations::video::VideoError;
use crate::settings::{AgentChoice, Environment, Flags, MediaAuth, Settings, Speech};
use crate::{server, store};

/// How long one vendor may take to say that it is there, and to speak a word.
const VENDOR: Duration = Duration::from_secs(10);

/// What the command is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line is one check: `ok` works, `note` works but may surprise, `FAIL` stops `offhook serve`.
Vendors that are configured are asked; each voice speaks one word, which costs what a word costs.
The exit status is 0 unless something failed. Secrets are named, never printed.

Examples:
  offhook doctor                          check ./offhook.toml and the environment
  offhook doctor --config other.toml      check another file
  offhook doctor --listen 0.0.0.0:8080    check what a flag would change")]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let report = match Settings::load(&args.flags, &|name| std::env::var(name).ok()) {
        Ok(settings) => examine(&settings),
        Err(error) => vec![Finding::fail("settings", error.to_string())],
    };
    let mut out = io::stdout().lock();
    for finding in &report {
        // Whoever closed our output does not want the rest.
        if writeln!(out, "{:<5} {:<11} {}", finding.verdict.word(), finding.what, finding.text).is_err() {
            break;
        }
    }
    if report.iter().any(|finding| finding.verdict == Verdict::Fail) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Note,
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Fail => "FAIL",
        }
    }
}

#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    what: &'static str,
    text: String,
}

impl Finding {
    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, what, text: text.into() }
    }

    fn note(what: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, what, text: text.into() }
    }

    fn fail(what: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, what, text: text.into() }
    }
}

fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![
        Finding::ok("settings", format!("{} settings can be used", settings.environment.as_str())),
        data_folder(settings),
        address(settings.listen, "--listen"),
    ];
    let own = settings.systems.iter().filter_map(|(name, place)| Some((name, place.listen?)));
    findings.extend(own.map(|(name, listen)| address(listen, &format!("listen in [systems.{name}]"))));
    findings.extend([
        public_url(settings),
        twilio(settings),
        tokens(settings),
        media(settings),
        scenario(settings),
        agent(settings),
        voice(),
        recogniser(settings),
    ]);
    findings.extend(settings.appointments.as_ref().map(|_| calendar(settings)));
    findings.extend(vendors(settings));
    findings.extend(threecx(settings));
    findings.extend(outgoing::outgoing(settings));
    findings.extend(videos(settings));
    findings.extend([limits(settings), traces(settings), open_files()]);
    findings
}

/// What fetches the sound of videos, of which personas' voices are made, and what reads it.
fn videos(settings: &Settings) -> [Finding; 2] {
    const NAMES: [&str; 2] = ["yt-dlp", "ffmpeg"];
    let tools = &settings.echome.tools;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return NAMES.map(|name| Finding::note(name, error.to_string())),
    };
    let found = |name, version: Result<String, VideoError>| match version {
        Ok(version) => Finding::ok(name, format!("version {version}")),
        Err(error) => Finding::note(name, format!("{error}; Echo Me makes voices of videos with it")),
    };
    let [yt_dlp, ffmpeg] = [runtime.block_on(tools.version()), runtime.block_on(tools.ffmpeg_version())];
    [found(NAMES[0], yt_dlp), found(NAMES[1], ffmpeg)]
}

fn data_folder(settings: &Settings) -> Finding {
    match store::check(&settings.data_dir) {
        Ok(()) => Finding::ok("data", format!("{} can be written to", settings.data_dir.display())),
        Err(error) => Finding::fail("data", error.to_string()),
    }
}

fn address(address: SocketAddr, setting: &str) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("address", format!("{address} is free")),
        Err(error) => Finding::fail(
            "address",
            format!("cannot listen on {address}: {error}; choose another with {setting}"),
        ),
    }
}

fn limits(settings: &Settings) -> Finding {
    if settings.rate_limits {
        Finding::ok("limits", "requests are limited per client and minute")
    } else {
        Finding::note("limits", "OFFHOOK_RATE_LIMITS is off: for load tests only")
    }
}

fn traces(settings: &Settings) -> Finding {
    match &settings.otlp_endpoint {
        Some(endpoint) => Finding::ok("traces", format!("spans of calls go to {endpoint}")),
        None => Finding::ok("traces", "none: OTEL_EXPORTER_OTLP_ENDPOINT is not set"),
    }
}

/// A call needs its socket and two files; the server raises its limit as far as the system lets it.
fn open_files() -> Finding {
    const FILES_PER_CALL: u64 = 3;
    match rlimit::Resource::NOFILE.get() {
        Ok((_, most)) if most / FILES_PER_CALL < 1_000 => Finding::note(
            "files",
            format!(
                "{most} files may be open at once: enough for {} calls; raise it with ulimit -n",
                most / FILES_PER_CALL
            ),
        ),
        Ok((_, most)) => Finding::ok("files", format!("{most} may be open at once")),
        Err(error) => Finding::note("files", format!("the limit of open files cannot be read: {error}")),
    }
}

fn public_url(settings: &Settings) -> Finding {
    match &settings.public_url {
        Some(url) if url.tls => Finding::ok("public URL", url.to_string()),
        Some(url) => Finding::note("public URL", format!("{url}: Twilio streams to https origins only")),
        None => Finding::note(
            "public URL",
            "OFFHOOK_PUBLIC_URL is not set: taken from each request. A carrier needs it, such as https://voice.example.com",
        ),
    }
}

fn twilio(settings: &Settings) -> Finding {
    match (&settings.twilio_auth_token, settings.environment) {
        (Some(_), _) => Finding::ok("webhooks", "TWILIO_AUTH_TOKEN is set: signatures are checked"),
        (None, Environment::Development) => {
            Finding::note("webhooks", "TWILIO_AUTH_TOKEN is not set: anyone may announce calls")
        }
        (None, Environment::Production) => Finding::fail(
            "webhooks",
            "TWILIO_AUTH_TOKEN is not set: in production all webhooks are refused; set it to the account's auth token",
        ),
    }
}

fn tokens(settings: &Settings) -> Finding {
    match settings.bearer_tokens.len() {
        0 if settings.api_is_open() => {
            Finding::note("/v1", "OFFHOOK_BEARER_TOKENS is not set: open to whoever reaches the server")
        }
        0 => Finding::note("/v1", "closed: set OFFHOOK_BEARER_TOKENS to open it to who has one"),
        count => Finding::ok("/v1", format!("OFFHOOK_BEARER_TOKENS is set: {count} opens it")),
    }
}

fn media(settings: &Settings) -> Finding {
    match settings.media_auth {
        MediaAuth::Announced => Finding::ok("media", "only calls that a webhook announced are let in"),
        MediaAuth::Open => {
            Finding::note("media", "OFFHOOK_MEDIA_AUTH=open: anyone on this machine is let in")
        }
    }
}

fn scenario(settings: &Settings) -> Finding {
    if settings.speech == Speech::Canned {
        return Finding::note("scenario", "none: speech is canned");
    }
    match load_scenario(&settings.scenario) {
        Ok(scenario) => Finding::ok("scenario", format!("{} ({})", scenario.name(), scenario.title())),
        Err(text) => Finding::fail("scenario", text),
    }
}

/// Asks the model's server, if a model is to answer.
fn agent(settings: &Settings) -> Finding {
    let openai = &settings.openai;
    if settings.agent == AgentChoice::Scenario || settings.speech == Speech::Canned {
        return Finding::ok("agent", "asks no model");
    }
    let asked = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let handle = runtime.handle().clone();
        let (name, looked, begun);
        if settings.agent == AgentChoice::Realtime {
            let duplex = Duplex::new(settings, (None, None), Waits::default(), handle)?;
            begun = Instant::now();
            (name, looked) = (duplex.name().to_owned(), runtime.block_on(duplex.check()));
        } else {
            let model = Model::new(openai, &settings.transfers.to, Waits::default(), handle)?;
            begun = Instant::now();
            (name, looked) = (openai.model.clone(), runtime.block_on(model.check()));
        }
        Ok::<_, String>((name, looked.map(|()| begun.elapsed())))
    };
    let base = &openai.base;
    let (name, looked) = match asked() {
        Err(error) => return Finding::fail("agent", error),
        Ok(asked) => asked,
    };
    match looked {
        Ok(time) if openai.key.is_some() => Finding::ok(
            "agent",
            format!("{name} at {base}: key accepted, answered after {} ms", time.as_millis()),
        ),
        Ok(time) => {
            Finding::ok("agent", format!("{name} at {base}: no key, answered after {} ms", time.as_millis()))
        }
        Err(error) => Finding::note(
            "agent",
            format!("{base}: {error}. Calls will fail; look at OPENAI_API_KEY and OFFHOOK_OPENAI_BASE_URL."),
        ),
    }
}

/// Looks into the calendar that appointments go to.
fn calendar(settings: &Settings) -> Finding {
    const WHAT: &str = "calendar";
    let (calendar, account) = match server::appointments::google(settings) {
        Ok(Some(found)) => found,
        Ok(None) => return Finding::ok(WHAT, "appointments are in the database"),
        Err(error) => return Finding::fail(WHAT, error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Finding::fail(WHAT, error.to_string()),
    };
    let (begun, from) = (Instant::now(), Timestamp::now());
    let day = Span { from, to: from + SignedDuration::from_hours(24) };
    let id = calendar.id();
    match runtime.block_on(calendar.events(day)) {
        Ok(_) => Finding::ok(
            WHAT,
            format!("{id}: seen by {account}, answered after {} ms", begun.elapsed().as_millis()),
        ),
        Err(CalendarError::Hidden(_)) => Finding::note(
            WHAT,
            format!("{id} is not seen by {account}: share it with that address, to make changes to events"),
        ),
        Err(error) => Finding::note(WHAT, format!("{id}: {error}. Nothing can be booked until it answers.")),
    }
}

/// Asks the ears and voices that calls ask in turn.
fn vendors(settings: &Settings) -> Vec<Finding> {
    if settings.speech == Speech::Canned {
        return Vec::new();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::fail("vendors", error.to_string())],
    };
    runtime.block_on(async {
        let ears = vendors::ears(settings);
        let voices = match Flite::new() {
            Ok(local) => vendors::voices(settings, Arc::new(local)),
            // Told on its own line.
            Err(_) => Ok(Vec::new()),
        };
        let mut findings = Vec::new();
        match ears {
            Err(error) => findings.push(Finding::fail("ears", error)),
            Ok(ears) => {
                for (place, ears) in ears.iter().enumerate() {
                    findings.push(
                        asked("ears", place, ears.name(), settings, async {
                            ears.check().await.map(|()| None)
                        })
                        .await,
                    );
                }
            }
        }
        match voices {
            Err(error) => findings.push(Finding::fail("voices", error)),
            Ok(voices) => {
                for (place, voice) in voices.iter().enumerate() {
                    let spoken = async {
                        voice.check().await?;
                        first_audio(&**voice).await.map(Some)
                    };
                    findings.push(asked("voices", place, voice.name(), settings, spoken).await);
                }
            }
        }
        findings
    })
}

/// Asks the 3CX system for the calls at its route point, if there is one whose calls are to be answered.
fn threecx(settings: &Settings) -> Option<Finding> {
    let threecx = settings.threecx.clone()?;
    let (base, dn) = (threecx.base.clone(), threecx.dn.clone());
    let asked = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let client = ThreeCx::new(threecx).map_err(|error| error.to_string())?;
        let calls = runtime.map_err(|error| error.to_string())?.block_on(client.participants());
        calls.map(|calls| calls.len()).map_err(|error| error.to_string())
    };
    Some(match asked() {
        Ok(calls) => Finding::ok("3cx", format!("{base}: let in, {calls} calls at {dn}")),
        Err(error) => {
            Finding::note("3cx", format!("{base}: {error}. Its calls are not answered until that is so."))
        }
    })
}

/// How long a voice takes to the first audio of a word, on a connection that is there.
async fn first_audio(voice: &dyn Voice) -> Result<Duration, VendorError> {
    let mut line = voice.line();
    line.warm().await?;
    let begun = Instant::now();
    let mut first = None;
    let mut spoken = |piece: Spoken| {
        if !piece.ulaw.is_empty() {
            first.get_or_insert_with(|| begun.elapsed());
        }
    };
    line.speak("Hello.", &mut spoken).await?;
    first.ok_or_else(|| VendorError::new(Failure::Malformed, "no audio for a word"))
}

/// What came of asking one service. `asking`: gives the time to its first audio, if it speaks.
async fn asked(
    what: &'static str,
    place: usize,
    name: &str,
    settings: &Settings,
    asking: impl Future<Output = Result<Option<Duration>, VendorError>>,
) -> Finding {
    if name == LOCAL {
        return Finding::ok(what, format!("{}: local, on this machine", place + 1));
    }
    let vendor = settings.vendors.named(name);
    let (base, key) = vendor.map_or((String::new(), "no key"), |vendor| {
        let base = match (what, name) {
            ("ears", "google") => &settings.vendors.google_speech.base,
            _ => &vendor.base,
        };
        (format!(" at {base}"), if vendor.key.is_some() { "key accepted" } else { "no key" })
    });
    let begun = Instant::now();
    let came = tokio::time::timeout(VENDOR, asking).await;
    let took = begun.elapsed().as_millis();
    let place = place + 1;
    match came {
        Ok(Ok(None)) => Finding::ok(what, format!("{place}: {name}{base}: {key}, answered after {took} ms")),
        Ok(Ok(Some(first))) => Finding::ok(
            what,
            format!("{place}: {name}{base}: {key}, first audio after {} ms", first.as_millis()),
        ),
        Ok(Err(error)) => Finding::note(
            what,
            format!("{place}: {name}{base}: {}: {error}. Calls will ask the next one.", error.why.as_str()),
        ),
        Err(_) => Finding::note(
            what,
            format!(
                "{place}: {name}{base}: nothing within {} s. Calls will ask the next one.",
                VENDOR.as_secs()
            ),
        ),
    }
}

fn voice() -> Finding {
    match Flite::new() {
        Ok(_) => Finding::ok("voice", "built in"),
        Err(error) => Finding::fail("voice", error.to_string()),
    }
}

fn recogniser(settings: &Settings) -> Finding {
    if settings.speech != Speech::Local {
        return Finding::note("recogniser", "not asked for: callers answer with keys");
    }
    match Pocketsphinx::load() {
        Ok(_) if settings.noise_suppression => {
            Finding::ok("recogniser", "pocketsphinx, behind noise suppression (OFFHOOK_NOISE_SUPPRESSION=on)")
        }
        Ok(_) => Finding::ok("recogniser", "pocketsphinx"),
        Err(error) => Finding::note("recogniser", format!("{error} Callers answer with keys until then.")),
    }
}

#[cfg(test)]
mod tests {
    use offhook_fixtures::vendors::{FakeVendors, Vendor};
    use serde_json::json;

    use super::*;
    use crate::settings::{Secret, ThreeCxSettings};

    fn verdict(report: &[Finding], what: &str) -> Verdict {
        report.iter().find(|finding| finding.what == what).unwrap().verdict
    }

    #[test]
    fn a_fresh_machine_has_nothing_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let report = examine(&Settings::local(dir.path().join("data")));
        assert!(report.iter().all(|finding| finding.verdict != Verdict::Fail), "{report:?}");
        assert_eq!(verdict(&report, "data"), Verdict::Ok);
    }

    #[test]
    fn what_stops_a_server_fails() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = Settings {
            listen: taken.local_addr().unwrap(),
            scenario: "nothing".into(),
            environment: Environment::Production,
            ..Settings::local(file)
        };
        let report = examine(&settings);
        for what in ["data", "address", "scenario", "webhooks"] {
            assert_eq!(verdict(&report, what), Verdict::Fail, "{what}: {report:?}");
        }
    }

    #[test]
    fn a_model_is_asked_whether_it_is_there_and_its_key_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut settings = Settings { agent: AgentChoice::OpenAi, ..Settings::local(dir.path().into()) };
        settings.openai.base = format!("http://{closed}").parse().unwrap();
        settings.openai.key = Some(Secret::new("hush"));
        let report = examine(&settings);
        assert_eq!(verdict(&report, "agent"), Verdict::Note);
        let text = format!("{report:?}");
        assert!(text.contains("OPENAI_API_KEY") && !text.contains("hush"), "{text}");
    }

    #[test]
    fn a_calendar_is_looked_into_and_told_whom_to_share_it_with() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let fakes = runtime.block_on(FakeVendors::start());
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), fakes.google_account().to_string()).unwrap();
        let mut settings = Settings::from_text(&format!(
            "google_application_credentials = '{}'\n[appointments]\nzone = 'UTC'\ngoogle_calendar = 'a@b.example'\n\
             [vendors.google]\nbase_url = '{}'",
            key.path().display(),
            fakes.base_url(Vendor::Google)
        ))
        .unwrap();
        fakes.google_set("calendar", &json!({"calendar": "a@b.example"})).unwrap();
        let (found, account) = (calendar(&settings), fakes.google_account()["client_email"].clone());
        let account = account.as_str().unwrap();
        assert_eq!(found.verdict, Verdict::Note, "{found:?}");
        assert!(found.text.contains("share it") && found.text.contains(account), "{found:?}");
        fakes.google_set("calendar", &json!({"calendar": "a@b.example", "shared_with": [account]})).unwrap();
        assert_eq!(calendar(&settings).verdict, Verdict::Ok);
        settings.google_credentials = Some("/nowhere/key.json".into());
        let found = calendar(&settings);
        assert!(found.verdict == Verdict::Fail && found.text.contains("/nowhere/key.json"), "{found:?}");
    }

    #[test]
    fn a_3cx_system_is_asked_whether_it_lets_us_in_and_its_secret_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let base = format!("http://{closed}").parse().unwrap();
        let threecx = Some(ThreeCxSettings {
            base,
            client_id: "900".into(),
            client_secret: Secret::new("hush"),
            dn: "900".into(),
        });
        let report = examine(&Settings { threecx, ..Settings::local(dir.path().into()) });
        assert_eq!(verdict(&report, "3cx"), Verdict::Note);
        let text = format!("{report:?}");
        assert!(text.contains("cannot be reached") && !text.contains("hush"), "{text}");
    }

    #[test]
    fn secrets_are_counted_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            twilio_auth_token: Some(Secret::new("hush")),
            bearer_tokens: vec![Secret::new("quiet")],
            ..Settings::local(dir.path().into())
        };
        let report = format!("{:?}", examine(&settings));
        assert!(!report.contains("hush") && !report.contains("quiet"), "{report}");
    }
}
