//! Accepts connections and serves each with hyper, so that a media socket can be taken out of it.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// How long a client may take to send a request's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// How long requests may take to finish once the server stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// A listener with its connections.
pub(super) struct Listening {
    stop: watch::Sender<bool>,
    stopped: mpsc::Receiver<()>,
}

impl Listening {
    pub(super) fn start(listener: TcpListener, router: Router) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (done, stopped) = mpsc::channel(1);
        tokio::spawn(async move {
            serve(listener, router, stopping).await;
            drop(done);
        });
        Self { stop, stopped }
    }

    /// Takes no more connections, and tells those that are open to finish.
    pub(super) fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until all requests are answered, or have had time enough.
    pub(super) async fn finish(mut self) {
        self.stop_accepting();
        let _ = self.stopped.recv().await;
    }
}

async fn serve(listener: TcpListener, router: Router, mut stopping: watch::Receiver<bool>) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                // Out of file descriptors, as a rule: give calls time to end, and say so.
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Frames are small and must not wait for one another.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection went before it was served");
            continue;
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection broke");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
}
