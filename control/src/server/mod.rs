//! The HTTP server: starts all that serves, routes requests, and stops in order.

pub mod admission;
mod app;
pub mod appointments;
pub mod arrival;
pub mod connections;
mod docs;
mod listen;
pub mod logs;
pub mod metrics;
pub mod middleware;
pub mod openapi;
pub mod rate_limit;
mod sites;
pub mod system;
mod threecx;
pub mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::domain::billing::TICK;
use crate::domain::time::UnixMs;
use crate::integrations::threecx::ThreeCx;
use crate::settings::{Environment, Settings};
use crate::systems::{callbot, dashboard, echome, frontdesk, native, voiceclone};
pub use app::{App, SIMULATOR_TOKEN_FILE};
use connections::Connections;
use listen::Listening;
pub use sites::SIMULATOR_HEADER;
use sites::{Place, Sites};
use system::System;
use threecx::ThreeCxCalls;

/// Every system that is served. The first one answers what belongs to none.
static SYSTEMS: [&System; 6] = [
    &callbot::SYSTEM,
    &native::SYSTEM,
    &frontdesk::SYSTEM,
    &voiceclone::SYSTEM,
    &dashboard::SYSTEM,
    &echome::SYSTEM,
];

/// How often what is over is looked for: announced calls without media, windows of limits.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How often voices that have expired, and files that are old, are looked for.
const VOICES_EVERY: Duration = Duration::from_secs(600);

/// How often a server that drains looks whether its calls are over.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// A server that is listening, with its engine and its store.
pub struct Server {
    app: Arc<App>,
    address: SocketAddr,
    own_addresses: Vec<(&'static str, SocketAddr)>,
    listeners: Vec<Listening>,
    sweeper: tokio::task::JoinHandle<()>,
    asking: tokio::task::JoinHandle<()>,
    exporting: Option<tokio::task::JoinHandle<()>>,
    billing: tokio::task::JoinHandle<()>,
    counting: tokio::task::JoinHandle<()>,
    working: (watch::Sender<bool>, tokio::task::JoinHandle<()>),
    threecx: Option<ThreeCxCalls>,
}

/// Why a server could not start. Displays as what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl Server {
    /// Opens the store, starts the engine and listens. Media threads get the priority of the thread that polls this.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        settings.check().map_err(told)?;
        // A call is a socket and two files; the customary limit of 1,024 files is for other programs.
        if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
        let listener = listen_on(settings.listen, "--listen")?;
        let address = listener.local_addr().map_err(told)?;
        let app = on_a_thread(move || App::start(settings, address)).await?;
        let app = Arc::new(app);
        warn_of_openness(&app.settings);
        let sites = Sites::new(&app, &SYSTEMS);
        let connections = Connections::new(app.settings.connections_per_address);
        let start = |listener, place| {
            let trusted = app.settings.trusted_proxies.clone();
            Listening::start(listener, place, sites.clone(), connections.clone(), trusted)
        };
        let mut listeners = vec![start(listener, Place::Main)];
        let mut own_addresses = Vec::new();
        for (place, name, listen) in sites.own_listeners() {
            let listener = listen_on(listen, &format!("listen in [systems.{name}]"))?;
            own_addresses.push((name, listener.local_addr().map_err(told)?));
            listeners.push(start(listener, place));
        }
        let sweeper = tokio::spawn(sweep(app.clone()));
        let asking = tokio::spawn({
            let services = app.services.clone();
            async move { services.keep_asking().await }
        });
        let billing = tokio::spawn(keep_charging(app.clone()));
        let counting = tokio::spawn(keep_counting(app.clone()));
        let (stop, stopped) = watch::channel(false);
        let working = (stop, tokio::spawn(app.jobs.clone().keep_working(stopped)));
        let exporting = app.tracing.as_ref().map(|tracing| {
            let exporter = tracing.exporter.clone();
            tokio::spawn(async move { exporter.keep_exporting().await })
        });
        let threecx = app.settings.threecx.clone().map(ThreeCx::new).transpose().map_err(told)?;
        let threecx = threecx.map(|client| ThreeCxCalls::start(app.clone(), client));
        Ok(Self {
            app,
            address,
            own_addresses,
            listeners,
            sweeper,
            asking,
            exporting,
            billing,
            counting,
            working,
            threecx,
        })
    }

    /// Where it listens; with port 0 in the settings, the port that it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where systems listen that have a listener of their own, by their names.
    pub fn own_addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.own_addresses
    }

    /// Serves until it is told to stop, then ends the calls and completes their records.
    ///
    /// SIGTERM: new calls are refused, running ones go on until they are over, or until [`Settings::drain`] is. SIGINT, or a
    /// second signal: they are ended at once.
    pub async fn run(self) -> Result<(), StartError> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(told)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted: ending calls"),
            _ = terminate.recv() => self.drain(&mut interrupt, &mut terminate).await,
        }
        self.shutdown().await;
        Ok(())
    }

    async fn drain(&self, interrupt: &mut Signal, terminate: &mut Signal) {
        let app = &self.app;
        app.drain();
        // Tests have no claim to the time that callers get.
        app.simulations.stop_all().await;
        let time = app.settings.drain;
        tracing::info!(
            calls = app.calls.running(),
            seconds = time.as_secs(),
            "told to stop: new calls are refused, running ones may end"
        );
        let all_over = async {
            while app.calls.unfinished(Instant::now()) > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        tokio::select! {
            () = all_over => tracing::info!("all calls are over"),
            () = tokio::time::sleep(time) => {
                tracing::warn!(calls = app.calls.running(), "the time to drain is over: ending calls");
            }
            _ = interrupt.recv() => tracing::info!("interrupted: ending calls"),
            _ = terminate.recv() => tracing::info!("told to stop again: ending calls"),
        }
    }

    /// Ends all calls, completes their records, and closes the store.
    pub async fn shutdown(self) {
        self.sweeper.abort();
        self.billing.abort();
        self.counting.abort();
        self.asking.abort();
        self.app.drain();
        self.app.simulations.stop_all().await;
        self.listeners.iter().for_each(Listening::stop_accepting);
        self.threecx.iter().for_each(ThreeCxCalls::stop);
        let app = self.app.clone();
        // Waits for the calls' last journal blocks, and then for the last commit.
        let _ = tokio::task::spawn_blocking(move || app.stop_engine()).await;
        if let Some(threecx) = self.threecx {
            threecx.finish().await;
        }
        // After the calls: what follows from their ends is written down, and done at the next start if it is not done by now.
        let (stop, working) = self.working;
        stop.send_replace(true);
        let _ = working.await;
        if let (Some(tracing), Some(exporting)) = (&self.app.tracing, self.exporting) {
            tracing.exporter.finish(exporting).await;
        }
        self.app.log_streams.stop().await;
        for listener in self.listeners {
            listener.finish().await;
        }
        let _ = tokio::task::spawn_blocking(move || self.app.close()).await;
    }
}

/// Connections that may wait to be accepted: a burst of calls must not wait for a second packet. The system may allow fewer.
const BACKLOG: u32 = 4_096;

/// Does what takes a while, as loading speech and opening the store, on a thread of its own. The runtime's threads have given
/// way to media threads, and what they start inherits that; this one begins as whoever polls.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let runtime = Handle::current();
    let (done, result) = oneshot::channel();
    let run = move || {
        let _runtime = runtime.enter();
        let _ = done.send(work());
    };
    std::thread::Builder::new().name("start".to_owned()).spawn(run).map_err(told)?;
    result.await.map_err(|_| StartError("the server's start ended in a fault".to_owned()))?
}

fn listen_on(address: SocketAddr, setting: &str) -> Result<TcpListener, StartError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // So that a restart need not wait for the last connections of the process before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| {
        StartError(format!(
            "cannot listen on {address}: {error}; choose another address with {setting} (port 0 takes any free port)"
        ))
    })
}

async fn sweep(app: Arc<App>) {
    if let Err(error) = app.catalogues.sweep().await {
        tracing::error!(%error, "what is left of uploads of a dead process stays");
    }
    let mut every = tokio::time::interval(SWEEP_EVERY);
    let mut voices = tokio::time::interval(VOICES_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {
                app.calls.expire(Instant::now(), UnixMs::now());
                app.limiter.sweep(Instant::now());
                end_idle_conversations(&app).await;
            }
            _ = voices.tick() => {
                app.answers.remove_old_files().await;
                if let Some(clones) = &app.clones {
                    clones.expire(UnixMs::now()).await;
                }
            }
        }
    }
}

async fn end_idle_conversations(app: &App) {
    let idle = app.settings.echome.conversation_idle;
    loop {
        match app.store.end_idle_conversations(idle, UnixMs::now()).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return tracing::error!(%error, "conversations that are over could not be ended yet");
            }
        }
    }
}

/// Goes on with what nobody waits for: hours that are over are counted, and reported calls closed of whose end nobody tells.
async fn keep_counting(app: Arc<App>) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let now = UnixMs::now();
        loop {
            match app.store.count_hours(now).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(%error, "hours could not be counted yet");
                    break;
                }
            }
        }
        if let Err(error) = app.store.sweep_reported_calls(now).await {
            tracing::error!(%error, "reported calls could not be looked through yet");
        }
    }
}

async fn keep_charging(app: Arc<App>) {
    let mut every = tokio::time::interval(TICK);
    // After a pause, what was missed is charged at once.
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        app.billing.tick(Instant::now(), UnixMs::now()).await;
    }
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
    if !settings.rate_limits {
        tracing::warn!("rate limits are off (OFFHOOK_RATE_LIMITS): this is for load tests");
    }
}

fn told(error: impl std::fmt::Display) -> StartError {
    StartError(error.to_string())
}

#[cfg(test)]
mod tests;
