//! What the routes work with: settings, store, calls, engine, and whether there is room for one more call.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use axum::http::HeaderValue;
use jiff::tz::TimeZone;
use offhook_engine::agent::Agent;
use offhook_engine::leg::LegEnd;
use offhook_engine::speech::{Ears, Voice};
use offhook_engine::{CallHandle, CallId, CallSink, Engine, EngineError, EngineSettings, NewCall, NewLeg};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::appointments;
use super::metrics::HttpCounts;
use super::rate_limit::RateLimiter;
use super::{StartError, told};
use crate::domain::accounts::Accounts;
use crate::domain::api_keys::ApiKeys;
use crate::domain::authorizations::Authorizations;
use crate::domain::billing::Billing;
use crate::domain::cache::Cache;
use crate::domain::call_analysis::CallAnalyses;
use crate::domain::calls::{Busy, Calls};
use crate::domain::catalogue::{Catalogues, Embedder};
use crate::domain::crm::Crms;
use crate::domain::crm::sync::CrmSync;
use crate::domain::deliveries::Webhooks;
use crate::domain::deliveries::send::SendWebhook;
use crate::domain::ended_calls::EndedCalls;
use crate::domain::inbound_webhooks::InboundWebhooks;
use crate::domain::jobs::{Clock, Work, Worker};
use crate::domain::keys::Keys;
use crate::domain::line_desks::{LineDesk, LineDesks};
use crate::domain::lines::Line;
use crate::domain::personas::analysis::Analysis;
use crate::domain::personas::answers::Answers;
use crate::domain::personas::bots::Bots;
use crate::domain::personas::cloning::Cloning;
use crate::domain::personas::media::Media;
use crate::domain::personas::on_call::{OnCall, OnCalls};
use crate::domain::personas::sound::Sounds;
use crate::domain::services::{PACE, Probe, Services};
use crate::domain::simulations::Simulations;
use crate::domain::spans::Traces;
use crate::domain::speech::{Answering, Clones, OfCall, PersonaVoices, Transcribers};
use crate::domain::time::UnixMs;
use crate::domain::token::Signer;
use crate::domain::user_jobs::UserJobs;
use crate::domain::user_model::UserModel;
use crate::domain::user_settings::UserSettings;
use crate::integrations::elevenlabs::ElevenLabsProbe;
use crate::integrations::google::{Hosts, OAuth};
use crate::integrations::http::HttpClient;
use crate::integrations::openai::embeddings::Embeddings;
use crate::integrations::otlp::Exporter;
use crate::integrations::twilio::TwilioProbe;
use crate::integrations::webhook::WebhookSender;
use crate::settings::{Environment, GoogleClient, Secret, Settings};
use crate::store::Store;
use crate::systems::callbot::log_stream::LogStreams;
use crate::systems::{dashboard, echome, frontdesk};

/// What the routes work with.
pub struct App {
    /// How the server runs.
    pub settings: Settings,
    /// What is kept.
    pub store: Arc<Store>,
    /// What is announced or running.
    pub calls: Arc<Calls>,
    /// Charges calls on lines.
    pub billing: Billing,
    /// When the server started.
    pub started: Instant,
    /// How the outside services stand.
    pub services: Arc<Services>,
    /// Answered requests.
    pub http: HttpCounts,
    /// Who watches the log.
    pub log_streams: LogStreams,
    /// What answers calls.
    pub answering: Arc<Answering>,
    /// The voices of callers'; none: nobody's is copied.
    pub clones: Option<Arc<Clones>>,
    /// Calls that the server places to itself.
    pub simulations: Arc<Simulations>,
    /// Counts requests by client.
    pub limiter: RateLimiter,
    /// Where spans of calls are made and sent, if they are.
    pub tracing: Option<Tracing>,
    /// People's consents.
    pub authorizations: Authorizations,
    /// Where the appointments of lines are.
    pub line_desks: LineDesks,
    /// People who sign in by password.
    pub accounts: Accounts,
    /// CRMs that users connect.
    pub crms: Arc<Crms>,
    /// Addresses that users want to be told at.
    pub webhooks: Webhooks,
    /// Where calls are reported to from outside.
    pub inbound_webhooks: InboundWebhooks,
    /// What users set for themselves.
    pub user_settings: Arc<UserSettings>,
    /// Users' keys of services.
    pub api_keys: Arc<ApiKeys>,
    /// Work that users wait for.
    pub user_jobs: Arc<UserJobs>,
    /// Voices that speak for personas.
    pub persona_voices: Arc<PersonaVoices>,
    /// Products, and what is said of them.
    pub catalogues: Catalogues,
    /// Answers of personas.
    pub answers: Arc<Answers>,
    /// Users' bots at Telegram.
    pub bots: Arc<Bots>,
    /// Personas on lines.
    pub on_calls: OnCalls,
    /// Sound that was made for users.
    pub media: Arc<Media>,
    /// The model that is asked in users' names.
    pub user_model: UserModel,
    /// What users asked for a moment ago.
    pub cache: Cache,
    /// Asks outside services.
    pub web: HttpClient,
    /// Does what is done beside calls.
    pub(super) jobs: Arc<Worker>,
    /// Signs the tokens of FrontDesk; none: nobody can sign in.
    pub frontdesk_signer: Option<Signer>,
    /// Signs the sessions of Echo Me; none: nobody can sign in.
    pub echome_signer: Option<Signer>,
    /// Known to this process, and to who may read its data folder.
    pub simulator_token: Secret,
    draining: AtomicBool,
    /// None once the server stops: no call is taken on then.
    engine: RwLock<Option<Engine>>,
}

/// From the engine's events to a collector.
#[derive(Clone)]
pub struct Tracing {
    /// Makes spans.
    pub traces: Arc<Traces>,
    /// Sends them.
    pub exporter: Arc<Exporter>,
}

/// The file under the data folder that has [`App::simulator_token`], while the server runs.
pub const SIMULATOR_TOKEN_FILE: &str = "simulator.token";

impl App {
    /// Opens the store, loads speech and starts the engine, for a server that listens at `address`.
    pub(super) fn start(settings: Settings, address: SocketAddr) -> Result<Self, StartError> {
        let store = Arc::new(Store::open(&settings.data_dir, UnixMs::now()).map_err(told)?);
        let desk = appointments::desk(&settings, &store).map_err(StartError)?;
        let answering = Arc::new(Answering::from_settings(&settings, desk).map_err(StartError)?);
        if store.restarted() > 0 {
            tracing::warn!(
                calls = store.restarted(),
                "calls of a dead process were closed as engine-restarted"
            );
        }
        let keys = Arc::new(Keys::load(&settings).map_err(StartError)?);
        check_keys(&store, &keys, settings.forget_secrets)?;
        let scenario = answering.scenario_named(None).unwrap_or_default();
        let calls = Calls::new(store.clone(), &settings.data_dir, &scenario);
        let calls = Arc::new(calls.with_owner(settings.dashboard.calls_owner.as_deref()));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let engine_settings = EngineSettings {
            media_threads: settings.media_threads.unwrap_or(cores),
            speech_threads: cores,
            pin_threads: false,
            journal_dir: settings.journals(),
            recording_dir: settings.recordings(),
        };
        let http = HttpClient::new().map_err(told)?;
        let clones = answering.clones(&settings, store.clone(), &http).map_err(StartError)?;
        let tracing = Exporter::from_settings(&settings, &http).map(|exporter| {
            let exporter = Arc::new(exporter);
            Tracing { traces: Arc::new(Traces::new(calls.clone(), exporter.clone())), exporter }
        });
        let sink: Arc<dyn CallSink> = match &tracing {
            Some(tracing) => tracing.traces.clone(),
            None => calls.clone(),
        };
        let engine = Engine::start(engine_settings, sink).map_err(|error| {
            StartError(format!("the engine cannot start: {error}; check the data folder and --data-dir"))
        })?;
        let simulator_token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        write_token(&settings.data_dir.join(SIMULATOR_TOKEN_FILE), &simulator_token).map_err(|error| {
            StartError(format!("cannot write {SIMULATOR_TOKEN_FILE} in the data folder: {error}"))
        })?;
        let simulator_token = Secret::new(simulator_token);
        let goals = answering.clone();
        let simulations = Arc::new(Simulations::new(
            store.clone(),
            address,
            simulator_token.clone(),
            Box::new(move |scenario, outcome| goals.goal_of(scenario, outcome)),
        ));
        let google = google(&settings)?;
        let authorizations = Authorizations::new(store.clone(), keys.clone(), google.clone());
        let line_desks = LineDesks::new(
            &settings,
            store.clone(),
            keys.clone(),
            google,
            appointments::fallback(&settings).map_err(StartError)?,
            appointments::number_of(&store),
        );
        let accounts = Accounts::new(&settings, store.clone(), keys.signer(dashboard::NAME));
        let crms = Arc::new(Crms::new(&settings.crm, store.clone(), keys.clone()).map_err(StartError)?);
        let sender = WebhookSender::new(settings.crm.allow_private_destinations).map_err(told)?;
        let webhooks = Webhooks::new(store.clone(), keys.clone(), sender.clone());
        let in_development = settings.environment == Environment::Development;
        let inbound_webhooks = InboundWebhooks::new(store.clone(), keys.clone(), in_development);
        let user_settings = Arc::new(UserSettings::new(store.clone(), keys.clone()));
        let api_keys = Arc::new(ApiKeys::new(&settings, store.clone(), user_settings.clone(), http.clone()));
        let user_jobs = Arc::new(UserJobs::new(store.clone()));
        let persona_voices = Arc::new(Answering::persona_voices(&settings, &http).map_err(StartError)?);
        let media = Arc::new(Media::new(&settings.data_dir, keys.signer("echome-media")));
        let embedder = Embeddings::from_settings(&settings).map_err(StartError)?;
        let embedder = embedder.map(|embedder| Arc::new(embedder) as Arc<dyn Embedder>);
        let catalogues = Catalogues::new(store.clone(), &settings.data_dir, embedder);
        let sounds = Sounds::new(settings.echome.tools.clone());
        let cloning = Cloning::new(
            store.clone(),
            user_jobs.clone(),
            api_keys.clone(),
            sounds.clone(),
            persona_voices.clone(),
            media.clone(),
            &settings.data_dir,
        );
        let on_calls =
            OnCalls::new(store.clone(), api_keys.clone(), persona_voices.clone(), catalogues.clone());
        let user_model = UserModel::new(http.clone(), &settings.openai);
        let analysis = Analysis::new(
            store.clone(),
            user_jobs.clone(),
            api_keys.clone(),
            (sounds, Transcribers::of_calls(&answering, &settings).map_err(StartError)?),
            user_model.clone(),
            &settings.data_dir,
        );
        let idle = settings.echome.conversation_idle;
        let answers = Arc::new(Answers::new(
            store.clone(),
            catalogues.clone(),
            api_keys.clone(),
            (persona_voices.clone(), media.clone()),
            user_model.clone(),
            idle,
        ));
        let bots = Arc::new(Bots::new(store.clone(), api_keys.clone(), answers.clone(), media.clone(), idle));
        let zone = settings.appointments.as_ref().map_or(TimeZone::UTC, |wanted| wanted.rules.zone.clone());
        let analyses = CallAnalyses::new(
            store.clone(),
            user_settings.clone(),
            user_model.clone(),
            (http.clone(), settings.twilio_base_url.clone()),
            zone,
        );
        let mut works = works(&settings, address, &store, &keys, &crms, sender);
        works.push(Arc::new(analyses));
        works.push(Arc::new(cloning));
        works.push(bots.clone());
        works.push(Arc::new(analysis));
        works.push(catalogues.work());
        let jobs = Arc::new(Worker::new(store.clone(), works, clock()));
        let services = Arc::new(Services::new(probes(&settings, &http), PACE, UnixMs::now()));
        Ok(Self {
            settings,
            services,
            http: HttpCounts::default(),
            log_streams: LogStreams::default(),
            billing: Billing::new(store.clone(), calls.clone()),
            store,
            calls,
            started: Instant::now(),
            answering,
            clones,
            simulations,
            limiter: RateLimiter::default(),
            tracing,
            authorizations,
            line_desks,
            accounts,
            crms,
            webhooks,
            inbound_webhooks,
            api_keys,
            user_jobs,
            persona_voices,
            answers,
            bots,
            on_calls,
            media,
            catalogues,
            user_settings,
            user_model,
            cache: Cache::default(),
            web: http,
            jobs,
            frontdesk_signer: keys.signer(frontdesk::NAME),
            echome_signer: keys.signer(echome::NAME),
            simulator_token,
            draining: AtomicBool::new(false),
            engine: RwLock::new(Some(engine)),
        })
    }

    /// Gives a media socket and its call to the engine.
    /// `line`: whose assistant answers it, if anybody's, and who does in its place.
    pub fn hand_over(
        &self,
        leg: NewLeg,
        call: CallId,
        scenario: &str,
        line: Option<(&Line, Option<LineDesk>, Option<OnCall>)>,
    ) -> Result<CallHandle, EngineError> {
        let (answering, id) = (&self.answering, call.as_str());
        let speech = match line {
            Some((_, desk, Some(OnCall { assistant, voice, shop }))) => {
                let (ears, _, agent) = answering.for_a_line(scenario, id, &assistant, desk, Some(shop));
                (ears, voice, agent)
            }
            Some((line, desk, None)) => answering.for_a_line(scenario, id, &line.assistant, desk, None),
            None => answering.for_a_call(scenario, id),
        };
        self.take_on(call, speech, |engine, new| engine.hand_over(leg, new))
    }

    /// As [`App::hand_over`], for a call whose connection stays on this runtime: see [`Engine::hand_over_remote`].
    /// `clone`: the caller's own voice, if the agent may come to speak with it.
    pub fn hand_over_remote(
        &self,
        stream_id: &str,
        wake: Box<dyn Fn() + Send>,
        call: CallId,
        scenario: &str,
        clone: Option<&Arc<OfCall>>,
    ) -> Result<(CallHandle, LegEnd), EngineError> {
        let (ears, voice, agent) = self.answering.for_a_call(scenario, call.as_str());
        let (ears, voice) = match clone {
            Some(clone) => clone.on(ears, voice),
            None => (ears, voice),
        };
        self.take_on(call, (ears, voice, agent), |engine, new| engine.hand_over_remote(stream_id, wake, new))
    }

    fn take_on<T>(
        &self,
        call: CallId,
        (ears, voice, agent): (Ears, Voice, Box<dyn Agent>),
        hand_over: impl FnOnce(&Engine, NewCall) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let engine = self.engine();
        let engine = engine.as_ref().ok_or(EngineError::ShuttingDown)?;
        let settings = Arc::clone(&self.settings.call);
        let answered_unix_us = UnixMs::now().0.unsigned_abs() * 1_000;
        if let Some(tracing) = &self.tracing {
            tracing.traces.answered(&call, answered_unix_us);
        }
        let new = NewCall { id: call.clone(), ears, voice, agent, settings, answered_unix_us };
        let taken = hand_over(engine, new);
        if let (Err(_), Some(tracing)) = (&taken, &self.tracing) {
            tracing.traces.not_taken(&call);
        }
        taken
    }

    /// Whether one more call can be taken, without harm to those that run.
    pub fn has_room(&self) -> Result<(), Busy> {
        if self.is_draining() {
            return Err(Busy::Draining);
        }
        if let Some(most) = self.settings.calls_max.filter(|most| self.calls.expected() >= *most) {
            return Err(Busy::Full(most));
        }
        let engine = self.engine();
        let Some(engine) = &*engine else { return Ok(()) };
        Busy::judge(engine.lateness().p99, engine.record_backlog(), self.settings.overload_lateness)
    }

    /// The engine, while it runs.
    pub(super) fn engine(&self) -> RwLockReadGuard<'_, Option<Engine>> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once new calls are refused because the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Refuses new calls from here on.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True if `shown` is the token of this process.
    pub(super) fn is_simulator(&self, shown: Option<&HeaderValue>) -> bool {
        shown.is_some_and(|shown| shown.as_bytes().ct_eq(self.simulator_token.reveal().as_bytes()).into())
    }

    /// Ends all calls and waits until their records are complete. Blocks.
    pub(super) fn stop_engine(&self) {
        let engine = self.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(engine) = engine {
            engine.shutdown();
        }
    }

    /// Commits what waits and closes the store. Blocks.
    pub(super) fn close(&self) {
        self.store.close();
        // The next start writes a new one: what is left of this one opens nothing.
        let _ = std::fs::remove_file(self.settings.data_dir.join(SIMULATOR_TOKEN_FILE));
    }
}

/// The client that asks people for consent, if one is configured.
fn google(settings: &Settings) -> Result<Option<Arc<OAuth>>, StartError> {
    let Some(GoogleClient { id, secret }) = &settings.frontdesk.google else { return Ok(None) };
    let hosts = Hosts::at(settings.vendors.google_base());
    OAuth::new(hosts, id, secret.clone()).map(|google| Some(Arc::new(google))).map_err(StartError)
}

/// Refuses to start with another master key than the database knows. Called where threads may wait.
fn check_keys(store: &Store, keys: &Keys, forget: bool) -> Result<(), StartError> {
    let runtime = tokio::runtime::Handle::try_current().map_err(told)?;
    let lost = runtime.block_on(store.check_keys(keys, forget)).map_err(told)?.map_err(StartError)?;
    if lost > 0 {
        tracing::warn!(lost, "connections with calendars and CRMs were removed: their key is lost");
    }
    Ok(())
}

/// What is done beside the calls. `address`: where the server listens.
fn works(
    settings: &Settings,
    address: SocketAddr,
    store: &Arc<Store>,
    keys: &Arc<Keys>,
    crms: &Arc<Crms>,
    sender: WebhookSender,
) -> Vec<Arc<dyn Work>> {
    let retry = settings.crm.retry;
    let below = |origin: String| format!("{origin}{}", dashboard::SYSTEM.bases[0]);
    // Others can follow a link only to where the operator says that others reach this server.
    let public = settings.public_url.as_ref().map(|url| below(url.to_string()));
    let base = public.clone().unwrap_or_else(|| below(format!("http://{address}")));
    vec![
        Arc::new(EndedCalls::new(store.clone(), clock(), retry)),
        Arc::new(CrmSync::new(crms.clone(), store.clone(), clock(), retry, public)),
        Arc::new(SendWebhook::new(store.clone(), keys.clone(), sender, clock(), retry, base)),
    ]
}

/// The machine's.
fn clock() -> Clock {
    Arc::new(UnixMs::now)
}

/// A probe for each outside service that is configured.
fn probes(settings: &Settings, http: &HttpClient) -> Vec<Box<dyn Probe>> {
    let twilio = TwilioProbe::from_settings(settings, http);
    let elevenlabs = ElevenLabsProbe::from_settings(settings, http);
    let twilio = twilio.map(|probe| Box::new(probe) as Box<dyn Probe>);
    twilio.into_iter().chain(elevenlabs.map(|probe| Box::new(probe) as Box<dyn Probe>)).collect()
}

/// Writes a file that its owner alone may read.
fn write_token(path: &Path, token: &str) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(token.as_bytes())
}
