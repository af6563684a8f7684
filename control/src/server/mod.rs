//! The HTTP server: starts all that serves, routes requests, and stops in order.

pub mod admission;
mod listen;
pub mod logs;
pub mod metrics;
mod middleware;
pub mod upgrade;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use offhook_engine::{CallHandle, CallId, Engine, EngineError, EngineSettings, NewCall, NewLeg};
use tokio::net::TcpListener;

use crate::domain::calls::Calls;
use crate::domain::speech::Answering;
use crate::domain::time::UnixMs;
use crate::settings::{Environment, Settings};
use crate::store::Store;
use crate::systems::{callbot, native};

/// How often announced calls without media are looked through.
const EXPIRY_EVERY: Duration = Duration::from_secs(5);

/// A server that is listening, with its engine and its store.
pub struct Server {
    app: Arc<App>,
    address: SocketAddr,
    listener: listen::Listening,
    expiry: tokio::task::JoinHandle<()>,
}

/// What the routes work with.
pub struct App {
    /// How the server runs.
    pub settings: Settings,
    /// What is kept.
    pub store: Arc<Store>,
    /// What is announced or running.
    pub calls: Arc<Calls>,
    /// When the server started.
    pub started: Instant,
    /// Answered requests.
    pub http: metrics::HttpCounts,
    answering: Answering,
    /// None once the server stops: no call is taken on then.
    engine: RwLock<Option<Engine>>,
}

/// Why a server could not start. Displays as what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl Server {
    /// Opens the store, starts the engine and listens.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        settings.check().map_err(told)?;
        let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
            StartError(format!(
                "cannot listen on {}: {error}; choose another address with --listen (port 0 takes any free port)",
                settings.listen
            ))
        })?;
        let address = listener.local_addr().map_err(told)?;
        // Loading speech and opening the store reads files.
        let app = tokio::task::spawn_blocking(move || App::start(settings)).await.map_err(told)??;
        let app = Arc::new(app);
        warn_of_openness(&app.settings);
        let listener = listen::Listening::start(listener, router(&app));
        let expiry = tokio::spawn({
            let calls = app.calls.clone();
            async move {
                let mut every = tokio::time::interval(EXPIRY_EVERY);
                loop {
                    every.tick().await;
                    calls.expire(Instant::now(), UnixMs::now());
                }
            }
        });
        Ok(Self { app, address, listener, expiry })
    }

    /// Where it listens; with port 0 in the settings, the port that it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is told to stop (SIGINT or SIGTERM), then ends the calls and completes their records.
    pub async fn run(self) -> Result<(), StartError> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).map_err(told)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted: ending calls"),
            _ = terminate.recv() => tracing::info!("told to stop: ending calls"),
        }
        self.shutdown().await;
        Ok(())
    }

    /// Ends all calls, completes their records, and closes the store.
    pub async fn shutdown(self) {
        self.expiry.abort();
        self.listener.stop_accepting();
        let app = self.app;
        let stop_engine = {
            let app = app.clone();
            move || {
                let engine = app.engine.write().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(engine) = engine {
                    engine.shutdown();
                }
            }
        };
        // Waits for the calls' last journal blocks, and then for the last commit.
        let _ = tokio::task::spawn_blocking(stop_engine).await;
        self.listener.finish().await;
        let _ = tokio::task::spawn_blocking(move || app.store.close()).await;
    }
}

impl App {
    /// Opens the store, loads speech and starts the engine.
    fn start(settings: Settings) -> Result<Self, StartError> {
        let answering = Answering::from_settings(&settings).map_err(StartError)?;
        let store = Arc::new(Store::open(&settings.data_dir, UnixMs::now()).map_err(told)?);
        if store.restarted() > 0 {
            tracing::warn!(
                calls = store.restarted(),
                "calls of a dead process were closed as engine-restarted"
            );
        }
        let calls = Arc::new(Calls::new(store.clone(), &settings.data_dir, answering.scenario_name()));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let engine_settings = EngineSettings {
            media_threads: settings.media_threads.unwrap_or(cores),
            speech_threads: cores,
            pin_threads: false,
            journal_dir: settings.journals(),
            recording_dir: settings.recordings(),
        };
        let engine = Engine::start(engine_settings, calls.clone()).map_err(|error| {
            StartError(format!("the engine cannot start: {error}; check the data folder and --data-dir"))
        })?;
        Ok(Self::new(settings, store, calls, answering, Some(engine)))
    }

    fn new(
        settings: Settings,
        store: Arc<Store>,
        calls: Arc<Calls>,
        answering: Answering,
        engine: Option<Engine>,
    ) -> Self {
        Self {
            settings,
            store,
            calls,
            started: Instant::now(),
            http: Default::default(),
            answering,
            engine: RwLock::new(engine),
        }
    }

    /// Gives a media socket and its call to the engine.
    pub fn hand_over(&self, leg: NewLeg, call: CallId) -> Result<CallHandle, EngineError> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let engine = engine.as_ref().ok_or(EngineError::ShuttingDown)?;
        let (recogniser, voice, agent) = self.answering.for_a_call();
        let settings = self.settings.call.clone();
        let answered_unix_us = UnixMs::now().0.unsigned_abs() * 1_000;
        engine.hand_over(leg, NewCall { id: call, recogniser, voice, agent, settings, answered_unix_us })
    }
}

fn router(app: &Arc<App>) -> Router {
    Router::new()
        .merge(callbot::routes(""))
        .merge(callbot::routes("/callbot"))
        .merge(native::routes(app))
        .with_state(app.clone())
        .layer(axum::middleware::from_fn(middleware::around))
}

fn warn_of_openness(settings: &Settings) {
    if settings.insecure && !settings.listen.ip().is_loopback() {
        tracing::warn!(
            "listening beyond this machine with --insecure: whoever reaches it can read all calls"
        );
    }
    if settings.environment == Environment::Production && settings.twilio_auth_token.is_none() {
        tracing::warn!("TWILIO_AUTH_TOKEN is not set: in production all of Twilio's webhooks are refused");
    }
}

fn told(error: impl std::fmt::Display) -> StartError {
    StartError(error.to_string())
}

#[cfg(test)]
mod tests;
