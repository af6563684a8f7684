//! Accepts connections and serves each with hyper, so that a media socket can be taken out of it.
//!
//! What a slow client costs is bounded: so many connections per address, so much time to send a request's head and to take
//! an answer, so many bytes of head.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::connections::{Connections, Permit};
use super::sites::{Place, Sites};

/// How long a client may take to send a request's head, the first as well as the next on the same connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long what was sent may stay unacknowledged: a client that does not read is gone then.
const UNREAD_TIME_MAX: Duration = Duration::from_secs(30);

/// Requests that one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 128;

/// How long requests may take to finish once the server stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// A listener with its connections.
pub(super) struct Listening {
    stop: watch::Sender<bool>,
    stopped: mpsc::Receiver<()>,
}

impl Listening {
    pub(super) fn start(
        listener: TcpListener,
        place: Place,
        sites: Arc<Sites>,
        connections: Arc<Connections>,
        trusted: Vec<ipnet::IpNet>,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (done, stopped) = mpsc::channel(1);
        let serving = Serving { place, sites, connections, trusted, builder: builder() };
        tokio::spawn(async move {
            serving.run(listener, stopping).await;
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

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    builder
}

struct Serving {
    place: Place,
    sites: Arc<Sites>,
    connections: Arc<Connections>,
    trusted: Vec<ipnet::IpNet>,
    builder: Builder<TokioExecutor>,
}

impl Serving {
    async fn run(self, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let mut refused: u64 = 0;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|stop| *stop) => break,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, as a rule: give calls time to end, and say so.
                    tracing::error!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let trusted = self.trusted.iter().any(|range| range.contains(&peer.ip().to_canonical()));
            let permit = if trusted { Some(Permit::uncounted()) } else { self.connections.open(peer.ip()) };
            let Some(permit) = permit else {
                refused += 1;
                // Each would be a flood of its own.
                if refused.is_power_of_two() {
                    tracing::warn!(client = %peer.ip(), refused, "connections were refused: their address has too many");
                }
                continue;
            };
            match prepare(&socket) {
                Ok(local) => self.serve(socket, peer, local, permit, &graceful),
                Err(error) => tracing::debug!(%error, "a connection went before it was served"),
            }
        }
        drop(listener);
        let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
    }

    fn serve(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
        permit: Permit,
        graceful: &GracefulShutdown,
    ) {
        let (place, sites) = (self.place, self.sites.clone());
        let spoke = Arc::new(AtomicBool::new(false));
        let heard = spoke.clone();
        let counted = permit.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            heard.store(true, Ordering::Relaxed);
            sites.clone().answer(place, peer, local, permit.clone(), request.map(Body::new))
        });
        let connection =
            self.builder.serve_connection_with_upgrades(TokioIo::new(socket), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _counted = counted;
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(error, "a connection broke");
                },
                () = silence(&spoke) => tracing::debug!(client = %peer.ip(), "a connection that said nothing was closed"),
            }
        });
    }
}

/// Frames are small and must not wait for one another; who does not read, or is gone without a word, is let go.
fn prepare(socket: &TcpStream) -> std::io::Result<SocketAddr> {
    socket.set_nodelay(true)?;
    let options = socket2::SockRef::from(socket);
    options.set_tcp_user_timeout(Some(UNREAD_TIME_MAX))?;
    options.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
    socket.local_addr()
}

/// Ends when a connection has not asked for anything in time. hyper's own limit begins only once it knows which version
/// of HTTP is spoken, which a client can keep it from.
async fn silence(spoke: &AtomicBool) {
    tokio::time::sleep(HEAD_TIME_MAX).await;
    if spoke.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
